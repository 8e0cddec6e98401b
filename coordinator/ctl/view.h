/*
 * A transaction as people see it, read from the JSON that the API, the log and the export share
 * (io/txn_json.h). Unknown members are ignored, so an older vowctl can look at a newer daemon.
 */
#ifndef VOW_CTL_VIEW_H
#define VOW_CTL_VIEW_H

#include "json.h"
#include "table.h"

#define CTL_OUTPUT_BYTES_MAX ((size_t)1 << 30) /* of one table or document in memory */
#define CTL_STRING_BYTES_MAX ((size_t)1 << 20) /* of one member that is read */

/* Strings are borrowed from the document; NULL where a member is missing. */
struct ctl_txn_view {
  const struct vow_json_node *node;
  struct vow_id id;
  char id_text[VOW_ID_TEXT_BYTES];
  const char *state, *outcome, *heuristic, *reason, *traceparent;
  uint64_t created_ms, deadline_ms, ended_ms; /* 0: missing */
  bool delegated, forgotten;
  uint64_t history_dropped;
  const struct vow_json_node *metadata, *branches, *history; /* the latter two may be NULL */
};

struct ctl_branch_view {
  uint64_t number, attempts, last_error_ms;
  const char *name, *url, *state, *vote, *outcome, *last_error;
  bool resolved;
};

/* Ends the reading of one object of an answer: unknown members are fine, and what is wrong is the
 * answerer's fault, VOW_E_PROTOCOL with a sentence. */
enum vow_error ctl_read_end(struct vow_json_object *o, char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;

/* VOW_E_PROTOCOL with a sentence when the node is not a transaction (or branch). */
enum vow_error ctl_txn_view_read(const struct vow_json_node *node, struct ctl_txn_view *out,
                                 char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;
enum vow_error ctl_branch_view_read(const struct vow_json_node *node, struct ctl_branch_view *out,
                                    char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;

bool ctl_branch_ended(const struct ctl_branch_view *branch);
bool ctl_txn_open(const struct ctl_txn_view *txn);
enum ctl_colour ctl_state_colour(const char *state);

/* How many of its branches have ended, of how many, and the newest error of the others. */
struct ctl_branch_sum {
  size_t ended, all;
  char error[1024];
};
void ctl_branch_sum(const struct vow_json_node *branches, struct ctl_branch_sum *out);

/* The table of a list: one row a transaction. */
#define CTL_LIST_COLUMNS 6
extern const char *const ctl_list_titles[];
void ctl_list_row(struct ctl_table *table, const struct ctl_txn_view *txn, uint64_t now_ms);

/* Everything about one transaction. */
enum vow_error ctl_show_append(struct vow_buf *out, const struct ctl_terminal *terminal,
                               const struct vow_json_node *node, uint64_t now_ms,
                               char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;

/* Its state in a line and its branches in a table: what a prompt shows. */
enum vow_error ctl_brief_append(struct vow_buf *out, const struct ctl_terminal *terminal,
                                const struct vow_json_node *node, uint64_t now_ms,
                                char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;

#endif
