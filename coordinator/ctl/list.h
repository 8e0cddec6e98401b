/*
 * Printing transactions one after another, as a table, as one JSON document or as JSON lines, with
 * a limit. Used by `list` on both of its sources and by `export`.
 */
#ifndef VOW_CTL_LIST_H
#define VOW_CTL_LIST_H

#include "args.h"
#include "view.h"

#define CTL_CURSOR_BYTES 256

struct ctl_lister {
  bool json;     /* one document */
  bool lines;    /* one document a line */
  uint64_t left; /* how many more are wanted */
  uint64_t count;
  uint64_t now_ms;
  struct ctl_terminal terminal;
  struct ctl_table table;
  struct vow_buf out;
};

void ctl_lister_init(struct ctl_lister *lister, const struct ctl_args *args, bool lines);
void ctl_lister_fini(struct ctl_lister *lister);

/* Adds a transaction unless the limit is reached. VOW_E_PROTOCOL with a sentence when it is none.
 */
enum vow_error ctl_lister_add(struct ctl_lister *lister, const struct vow_json_node *node,
                              char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;
/* Prints what was added. False: nobody reads on, or the limit is reached. */
bool ctl_lister_page(struct ctl_lister *lister);
/* Prints the rest; `next_cursor` is NULL when there is no more. */
void ctl_lister_end(struct ctl_lister *lister, const char *next_cursor);

/* One page of GET /v1/transactions. Borrowed from the document. */
enum vow_error ctl_page_read(const struct vow_json_node *root, const struct vow_json_node **items,
                             const char **next_cursor, char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;

/* False, and said so, when both --url and --log are given. */
bool ctl_one_source(const struct ctl_args *args);

/* One transaction as `show` prints it. */
enum ctl_exit ctl_show_print(const struct ctl_args *args, const struct vow_json_node *node);

#endif
