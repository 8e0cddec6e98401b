/*
 * The commands `list` and `show`, which ask the daemon or, with --log, read the log of a dead one.
 * Both sources give the same JSON (io/txn_json.h), so both look the same.
 *
 * A list is printed page by page: neither the table nor the JSON document is held in memory whole.
 */
#include "list.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "offline.h"
#include "output.h"
#include "text.h"

#define PAGE_MAX      1000
#define PATH_BYTES    96
#define NOTHING_FOUND "no transactions\n"

void ctl_lister_init(struct ctl_lister *lister, const struct ctl_args *args, bool lines) {
  memset(lister, 0, sizeof *lister);
  lister->json = ctl_given(args, CTL_OPT_JSON);
  lister->lines = lines;
  lister->left = ctl_given(args, CTL_OPT_ALL) || (lines && !ctl_given(args, CTL_OPT_LIMIT))
                     ? UINT64_MAX
                     : args->number[CTL_OPT_LIMIT];
  lister->now_ms = ctl_now_ms();
  ctl_terminal_of(stdout, &lister->terminal);
  vow_buf_init(&lister->out, CTL_OUTPUT_BYTES_MAX);
  ctl_table_init(&lister->table, &lister->terminal, ctl_list_titles, CTL_LIST_COLUMNS);
  if (lister->json) vow_buf_puts(&lister->out, "{\"transactions\":[");
}

void ctl_lister_fini(struct ctl_lister *lister) {
  ctl_table_fini(&lister->table);
  vow_buf_fini(&lister->out);
}

enum vow_error ctl_lister_add(struct ctl_lister *lister, const struct vow_json_node *node,
                              char why[VOW_JSON_WHY_BYTES]) {
  struct ctl_txn_view txn;
  if (lister->left == 0) return VOW_OK;
  enum vow_error error = ctl_txn_view_read(node, &txn, why);
  if (error != VOW_OK) return error;
  lister->left--;
  lister->count++;
  if (lister->json || lister->lines) {
    if (lister->json && lister->count > 1) vow_buf_puts(&lister->out, ",");
    vow_json_dump(node, &lister->out);
    if (lister->lines) vow_buf_puts(&lister->out, "\n");
    return lister->out.error;
  }
  ctl_list_row(&lister->table, &txn, lister->now_ms);
  return lister->table.error;
}

bool ctl_lister_page(struct ctl_lister *lister) {
  if (!lister->json && !lister->lines && lister->count > 0) {
    ctl_table_flush(&lister->table, &lister->out);
  }
  ctl_put(&lister->out);
  /* Whoever reads may have seen enough: then the rest is not worth fetching. */
  return ctl_put_flush() == 0 && lister->left > 0;
}

void ctl_lister_end(struct ctl_lister *lister, const char *next_cursor) {
  ctl_lister_page(lister);
  if (lister->json) {
    struct vow_buf cursor;
    vow_buf_init(&cursor, CTL_LINE_BYTES_MAX);
    struct vow_jsonw w;
    vow_jsonw_init(&w, &cursor);
    vow_jsonw_object(&w, NULL);
    vow_jsonw_string(&w, "next_cursor", next_cursor);
    vow_jsonw_end(&w);
    /* The array is closed by hand, so the member behind it stands without its own brace. */
    if (cursor.error == VOW_OK)
      ctl_putf("]%s%s\n", next_cursor == NULL ? "" : ",", vow_buf_text(&cursor) + 1);
    lister->out.error = cursor.error;
    ctl_put(&lister->out);
    vow_buf_fini(&cursor);
  } else if (!lister->lines && lister->count == 0) {
    ctl_putf(NOTHING_FOUND);
  } else if (!lister->lines && next_cursor != NULL && lister->terminal.tty) {
    ctl_putf("There are more: --limit N or --all.\n");
  }
}

/* ---- online ---- */

/* The path of a page, with its filters. */
static void page_path(struct vow_buf *path, const struct ctl_args *args, uint64_t left,
                      const char *cursor) {
  vow_buf_printf(path, "/v1/transactions?limit=%" PRIu64, left < PAGE_MAX ? left : PAGE_MAX);
  if (ctl_given(args, CTL_OPT_STATE)) {
    vow_buf_printf(path, "&state=%s", args->text[CTL_OPT_STATE]);
  }
  if (ctl_given(args, CTL_OPT_PARTICIPANT)) {
    vow_buf_puts(path, "&participant=");
    ctl_query_append(path, args->text[CTL_OPT_PARTICIPANT]);
  }
  if (ctl_given(args, CTL_OPT_HEURISTIC)) vow_buf_puts(path, "&heuristic=true");
  if (ctl_given(args, CTL_OPT_OLDER_THAN)) {
    vow_buf_printf(path, "&older_than_ms=%" PRIu64, args->number[CTL_OPT_OLDER_THAN]);
  }
  if (cursor[0] != '\0') {
    vow_buf_puts(path, "&cursor=");
    ctl_query_append(path, cursor);
  }
}

enum vow_error ctl_page_read(const struct vow_json_node *root, const struct vow_json_node **items,
                             const char **next_cursor, char why[VOW_JSON_WHY_BYTES]) {
  struct vow_json_object o;
  vow_json_object_begin(&o, root, "");
  vow_json_get_array(&o, "transactions", VOW_JSON_REQUIRED, PAGE_MAX, items);
  vow_json_get_string(&o, "next_cursor", VOW_JSON_OPTIONAL, CTL_CURSOR_BYTES - 1, next_cursor);
  return ctl_read_end(&o, why);
}

/* How many rows of a page the daemon left out because they are damaged. */
static uint64_t page_damaged(const struct vow_json_node *root) {
  struct vow_json_object o;
  uint64_t damaged = 0;
  vow_json_object_begin(&o, root, "");
  vow_json_object_ignore_unknown(&o);
  vow_json_get_uint(&o, "damaged", VOW_JSON_OPTIONAL, 0, UINT64_MAX, &damaged);
  return vow_json_object_end(&o) == VOW_OK ? damaged : 0;
}

/* Fetches one page and adds it; `cursor` moves on to the next, "" when there is none. */
static enum ctl_exit online_page(struct ctl_client *client, const struct ctl_args *args,
                                 struct ctl_lister *lister, char cursor[CTL_CURSOR_BYTES],
                                 uint64_t *damaged) {
  char why[VOW_JSON_WHY_BYTES];
  const struct vow_json_node *items = NULL;
  const char *next_cursor = NULL;
  struct ctl_reply reply = {0};
  struct vow_buf path;
  enum ctl_exit code = CTL_EXIT_OK;
  vow_buf_init(&path, CTL_LINE_BYTES_MAX);
  page_path(&path, args, lister->left, cursor);
  if (path.error != VOW_OK) {
    code = ctl_no_memory();
    goto out;
  }
  ctl_client_call(client, "GET", vow_buf_text(&path), NULL, &reply);
  if (reply.error != VOW_OK) {
    code = ctl_client_fail(client, args, &reply);
    goto out;
  }
  enum vow_error error = ctl_page_read(vow_json_root(reply.json), &items, &next_cursor, why);
  for (size_t i = 0; error == VOW_OK && i < vow_json_array_length(items); i++) {
    error = ctl_lister_add(lister, vow_json_array_at(items, i), why);
  }
  if (error == VOW_E_PROTOCOL) {
    code = ctl_client_strange(client, why);
  } else if (error != VOW_OK) {
    code = ctl_fail(CTL_EXIT_FAILED, "Ask for fewer with --limit.", "the list is too large: %s.",
                    vow_error_text(error));
  }
  *damaged += page_damaged(vow_json_root(reply.json));
  if (code == CTL_EXIT_OK && next_cursor != NULL && strcmp(cursor, next_cursor) == 0 &&
      *cursor != '\0') {
    code = ctl_client_strange(client, "its list does not move on");
  }
  snprintf(cursor, CTL_CURSOR_BYTES, "%s", next_cursor == NULL ? "" : next_cursor);
out:
  ctl_reply_fini(&reply);
  vow_buf_fini(&path);
  return code;
}

static enum ctl_exit list_online(const struct ctl_args *args) {
  char cursor[CTL_CURSOR_BYTES] = "";
  struct ctl_client client;
  struct ctl_lister lister;
  bool more = true;
  uint64_t damaged = 0;
  ctl_lister_init(&lister, args, false);
  enum ctl_exit code = ctl_client_open(&client, args);
  while (code == CTL_EXIT_OK && more) {
    code = online_page(&client, args, &lister, cursor, &damaged);
    /* A page may be empty and still not the last: the daemon bounds its search. */
    more = code == CTL_EXIT_OK && cursor[0] != '\0' && ctl_lister_page(&lister);
  }
  if (code == CTL_EXIT_OK) ctl_lister_end(&lister, cursor[0] == '\0' ? NULL : cursor);
  if (code == CTL_EXIT_OK && damaged > 0) {
    code = ctl_fail(CTL_EXIT_LOG_DAMAGED,
                    "The daemon's own log names them (damaged-row); the runbook says what to do.",
                    "left out, since their rows in the log are damaged: %" PRIu64 ".", damaged);
  }
  ctl_lister_fini(&lister);
  ctl_client_close(&client);
  return code;
}

enum ctl_exit ctl_list(const struct ctl_args *args) {
  if (!ctl_given(args, CTL_OPT_LOG)) return list_online(args);
  return ctl_one_source(args) ? ctl_offline_list(args, false) : CTL_EXIT_USAGE;
}

/* ---- show ---- */

bool ctl_one_source(const struct ctl_args *args) {
  if (!ctl_given(args, CTL_OPT_URL)) return true;
  (void)ctl_fail(CTL_EXIT_USAGE, "Name a daemon or a log, not both.",
                 "--url and --log exclude each other.");
  return false;
}

enum ctl_exit ctl_show_print(const struct ctl_args *args, const struct vow_json_node *node) {
  char why[VOW_JSON_WHY_BYTES] = "out of memory";
  struct ctl_terminal terminal;
  struct vow_buf out;
  enum ctl_exit code = CTL_EXIT_OK;
  enum vow_error error = VOW_OK;
  ctl_terminal_of(stdout, &terminal);
  vow_buf_init(&out, CTL_OUTPUT_BYTES_MAX);
  if (ctl_given(args, CTL_OPT_JSON)) {
    vow_json_dump(node, &out);
    vow_buf_puts(&out, "\n");
  } else {
    error = ctl_show_append(&out, &terminal, node, ctl_now_ms(), why);
  }
  if (error == VOW_E_NO_MEMORY) {
    code = ctl_no_memory();
  } else if (error != VOW_OK) {
    code = ctl_fail(CTL_EXIT_UNREACHABLE, "Check the version of vowd; --json shows it unchanged.",
                    "the transaction cannot be shown: %s.", why);
  }
  if (code == CTL_EXIT_OK) ctl_put(&out);
  vow_buf_fini(&out);
  return code;
}

static enum vow_error read_shown(void *context, const struct vow_json_node *root,
                                 struct vow_buf *out, char why[VOW_JSON_WHY_BYTES]) {
  struct ctl_terminal terminal;
  (void)context;
  ctl_terminal_of(stdout, &terminal);
  return ctl_show_append(out, &terminal, root, ctl_now_ms(), why);
}

static enum ctl_exit show_online(const struct ctl_args *args) {
  char id[VOW_ID_TEXT_BYTES], path[PATH_BYTES];
  vow_id_format(args->id, id);
  snprintf(path, sizeof path, "/v1/transactions/%s", id);
  return ctl_client_ask(args, "GET", path, NULL, read_shown, NULL);
}

enum ctl_exit ctl_show(const struct ctl_args *args) {
  if (!ctl_given(args, CTL_OPT_LOG)) return show_online(args);
  return ctl_one_source(args) ? ctl_offline_show(args) : CTL_EXIT_USAGE;
}
