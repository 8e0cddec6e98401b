/*
 * Reading a log whose daemon is dead: list, show and export. See offline.h.
 *
 * The order of a list is the API's: newest first. The log gives ended transactions that way, in
 * pages; the open ones are read first, and put in between by their ids.
 */
#include "offline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/txn_json.h"
#include "list.h"
#include "output.h"
#include "text.h"

#define PAGE_ROWS 200

enum ctl_exit ctl_log_fail(enum vow_error error, const char *why) {
  switch (error) {
    case VOW_E_LOG_LOCKED:
      return ctl_fail(CTL_EXIT_LOG_LOCKED,
                      "While a daemon holds the log use the commands without --log; they ask it.",
                      "%s.", why);
    case VOW_E_LOG_CORRUPT:
      return ctl_fail(
          CTL_EXIT_LOG_DAMAGED,
          "Keep the file as it is, and restore from the newest backup; the runbook says "
          "how.",
          "%s.", why);
    case VOW_E_LOG_VERSION:
      return ctl_fail(CTL_EXIT_LOG_DAMAGED, "Use the vowctl that came with the daemon.", "%s.",
                      why);
    default:
      return ctl_fail(CTL_EXIT_FAILED, "Run it again when that is mended.", "%s.", why);
  }
}

enum ctl_exit ctl_history_fail(const char *why) {
  return ctl_fail(CTL_EXIT_LOG_DAMAGED,
                  "A backup in the log's place would lose more. `vowctl check` says whether the "
                  "rest is whole; the runbook says more of a damaged row of the history.",
                  "%s.", why);
}

enum ctl_exit ctl_log_open(const struct ctl_args *args, struct vow_log **out) {
  char why[VOW_LOG_WHY_BYTES];
  struct vow_log_config config = {.path = args->text[CTL_OPT_LOG], .read_only = true};
  enum vow_error error = vow_log_open(out, &config, why);
  return error == VOW_OK ? CTL_EXIT_OK : ctl_log_fail(error, why);
}

/* ---- the open ones ---- */

struct open_page {
  const struct ctl_open_reader *reader;
  enum ctl_exit code;
  struct vow_id next;
  bool more;
};

static void take_open_page(void *context, const struct vow_log_result *result) {
  struct open_page *page = context;
  page->next = result->next;
  page->more = result->more;
  if (result->error != VOW_OK) {
    /* One damaged row is an answer of its own, with its id in `next`. */
    bool row = result->error == VOW_E_LOG_CORRUPT && !vow_id_is_nil(result->next);
    if (row && page->reader->bad != NULL) {
      page->reader->bad(page->reader->context, result->next, result->why);
      page->more = true;
    } else {
      page->code = ctl_log_fail(result->error, result->why);
    }
    return;
  }
  for (uint32_t i = 0; page->code == CTL_EXIT_OK && i < result->count; i++) {
    page->code = page->reader->take(page->reader->context, &result->rows[i]);
  }
}

enum ctl_exit ctl_read_open(struct vow_log *log, const struct ctl_open_reader *reader) {
  struct open_page page = {.reader = reader, .more = true};
  while (page.code == CTL_EXIT_OK && page.more) {
    struct vow_id after = page.next;
    struct vow_log_query query = {.type = VOW_LOG_QUERY_OPEN_PAGE,
                                  .id = after,
                                  .limit = PAGE_ROWS,
                                  .done = take_open_page,
                                  .context = &page};
    enum vow_error error = vow_log_query_now(log, &query);
    if (error != VOW_OK) return ctl_log_fail(error, vow_error_text(error));
    /* A page that does not move on would be asked for again for ever. */
    if (page.more && vow_id_compare(page.next, after) <= 0) {
      return ctl_log_fail(VOW_E_LOG_CORRUPT, "the log's open transactions cannot be read in order");
    }
  }
  return page.code;
}

/* ---- list and export ---- */

struct source {
  const struct ctl_args *args;
  struct ctl_lister lister;
  enum vow_txn_json_detail detail;
  uint64_t before_ms;   /* only what is older; 0: any */
  struct vow_txn *open; /* owned; by id, oldest first */
  size_t open_count, open_capacity;
  size_t open_left; /* those below it have not been printed */
  struct vow_id next;
  bool more;
  uint64_t bad;
  enum ctl_exit code;
};

static bool has_participant(const struct vow_txn *txn, const char *participant) {
  for (uint32_t i = 0; i < txn->branch_count; i++) {
    const struct vow_branch *branch = &txn->branches[i];
    if (strcmp(branch->name, participant) == 0 || strcmp(branch->url, participant) == 0) {
      return true;
    }
  }
  return false;
}

static bool wanted(const struct source *source, const struct vow_txn *txn) {
  const struct ctl_args *args = source->args;
  if (ctl_given(args, CTL_OPT_STATE) &&
      strcmp(vow_txn_state_name(txn->state), args->text[CTL_OPT_STATE]) != 0) {
    return false;
  }
  if (ctl_given(args, CTL_OPT_PARTICIPANT) &&
      !has_participant(txn, args->text[CTL_OPT_PARTICIPANT])) {
    return false;
  }
  if (ctl_given(args, CTL_OPT_HEURISTIC) && txn->heuristic == VOW_HEURISTIC_NONE) return false;
  return source->before_ms == 0 || txn->created_ms < source->before_ms;
}

static enum ctl_exit keep_open(void *context, struct vow_txn *txn) {
  struct source *source = context;
  if (!wanted(source, txn)) return CTL_EXIT_OK;
  if (source->open_count == source->open_capacity) {
    size_t capacity = source->open_capacity == 0 ? 64 : source->open_capacity * 2;
    struct vow_txn *open = reallocarray(source->open, capacity, sizeof *open);
    if (open == NULL) return ctl_no_memory();
    source->open = open;
    source->open_capacity = capacity;
  }
  source->open[source->open_count++] = *txn;
  memset(txn, 0, sizeof *txn);
  return CTL_EXIT_OK;
}

static void count_bad(void *context, struct vow_id id, const char *why) {
  struct source *source = context;
  (void)id;
  (void)ctl_log_fail(VOW_E_LOG_CORRUPT, why);
  source->bad++;
}

/* Through JSON and back, so that an offline list is printed by the code that prints the API's. */
static enum ctl_exit print_txn(struct source *source, const struct vow_txn *txn) {
  char why[VOW_JSON_WHY_BYTES] = "out of memory";
  struct vow_json *json = NULL;
  struct vow_buf text;
  struct vow_jsonw w;
  vow_buf_init(&text, CTL_OUTPUT_BYTES_MAX);
  vow_jsonw_init(&w, &text);
  vow_txn_json_write(&w, NULL, txn, source->detail);
  enum vow_error error = text.error;
  if (error == VOW_OK) error = vow_json_parse(&json, vow_buf_text(&text), text.bytes, why);
  if (error == VOW_OK) error = ctl_lister_add(&source->lister, vow_json_root(json), why);
  vow_json_free(json);
  vow_buf_fini(&text);
  if (error == VOW_E_NO_MEMORY) return ctl_no_memory();
  return error == VOW_OK ? CTL_EXIT_OK : ctl_fail(CTL_EXIT_FAILED, NULL, "%s.", why);
}

/* Prints the open ones that are newer than `id`; all that are left if it is NULL. */
static enum ctl_exit print_open(struct source *source, const struct vow_id *id) {
  enum ctl_exit code = CTL_EXIT_OK;
  while (code == CTL_EXIT_OK && source->open_left > 0) {
    const struct vow_txn *txn = &source->open[source->open_left - 1];
    if (id != NULL && vow_id_compare(txn->id, *id) < 0) break;
    code = print_txn(source, txn);
    source->open_left--;
  }
  return code;
}

static void take_ended_page(void *context, const struct vow_log_result *result) {
  struct source *source = context;
  if (result->error != VOW_OK) {
    source->code = ctl_log_fail(result->error, result->why);
    return;
  }
  if (result->rows_bad > 0) (void)ctl_history_fail(result->why);
  source->bad += result->rows_bad;
  source->next = result->next;
  source->more = result->more;
  for (uint32_t i = 0; source->code == CTL_EXIT_OK && i < result->count; i++) {
    source->code = print_open(source, &result->rows[i].id);
    if (source->code == CTL_EXIT_OK) source->code = print_txn(source, &result->rows[i]);
  }
}

static enum ctl_exit print_ended(struct source *source, struct vow_log *log) {
  const struct ctl_args *args = source->args;
  enum vow_txn_state state = 0;
  if (ctl_given(args, CTL_OPT_STATE)) vow_txn_state_parse(args->text[CTL_OPT_STATE], &state);
  source->more = true;
  while (source->code == CTL_EXIT_OK && source->more) {
    struct vow_id before = source->next;
    struct vow_log_query query = {.type = VOW_LOG_QUERY_LIST,
                                  .id = before,
                                  .limit = PAGE_ROWS,
                                  .state = state,
                                  .heuristic = ctl_given(args, CTL_OPT_HEURISTIC) ? 1 : -1,
                                  .participant = args->text[CTL_OPT_PARTICIPANT],
                                  .ended_before_ms = source->before_ms,
                                  .done = take_ended_page,
                                  .context = source};
    enum vow_error error = vow_log_query_now(log, &query);
    if (error != VOW_OK) return ctl_log_fail(error, vow_error_text(error));
    bool stuck = !vow_id_is_nil(before) && vow_id_compare(source->next, before) >= 0;
    if (source->more && stuck) {
      return ctl_log_fail(VOW_E_LOG_CORRUPT, "the log's history cannot be read in order");
    }
    if (!ctl_lister_page(&source->lister)) break;
  }
  return source->code;
}

static void source_fini(struct source *source) {
  for (size_t i = 0; i < source->open_count; i++) vow_txn_fini(&source->open[i]);
  free(source->open);
  ctl_lister_fini(&source->lister);
}

enum ctl_exit ctl_offline_list(const struct ctl_args *args, bool lines) {
  struct source source = {.args = args};
  struct vow_log *log = NULL;
  uint64_t age_ms = args->number[CTL_OPT_OLDER_THAN], now_ms = ctl_now_ms();
  source.detail = lines ? VOW_TXN_JSON_WHOLE : VOW_TXN_JSON_SUMMARY;
  if (ctl_given(args, CTL_OPT_OLDER_THAN)) source.before_ms = now_ms > age_ms ? now_ms - age_ms : 1;
  ctl_lister_init(&source.lister, args, lines);
  enum ctl_exit code = ctl_log_open(args, &log);
  if (code != CTL_EXIT_OK) goto out;
  struct ctl_open_reader reader = {.take = keep_open, .bad = count_bad, .context = &source};
  code = ctl_read_open(log, &reader);
  source.open_left = source.open_count;
  if (code == CTL_EXIT_OK) code = print_ended(&source, log);
  bool goes_on = source.lister.left > 0 && ctl_put_flush() == 0;
  if (code == CTL_EXIT_OK && goes_on) code = print_open(&source, NULL);
  if (code != CTL_EXIT_OK) goto out;
  ctl_lister_end(&source.lister, NULL);
  if (source.bad > 0) code = CTL_EXIT_LOG_DAMAGED; /* each was reported as it was met */
out:
  source_fini(&source);
  vow_log_close(log);
  return code;
}

enum ctl_exit ctl_export(const struct ctl_args *args) {
  return ctl_offline_list(args, true);
}

/* ---- show ---- */

struct found {
  const struct ctl_args *args;
  enum ctl_exit code;
};

static enum ctl_exit show_txn(const struct ctl_args *args, const struct vow_txn *txn) {
  char why[VOW_JSON_WHY_BYTES] = "out of memory";
  struct vow_json *json = NULL;
  struct vow_buf text;
  struct vow_jsonw w;
  enum ctl_exit code;
  vow_buf_init(&text, CTL_OUTPUT_BYTES_MAX);
  vow_jsonw_init(&w, &text);
  vow_txn_json_write(&w, NULL, txn, VOW_TXN_JSON_WHOLE);
  enum vow_error error = text.error;
  if (error == VOW_OK) error = vow_json_parse(&json, vow_buf_text(&text), text.bytes, why);
  if (error == VOW_OK) {
    code = ctl_show_print(args, vow_json_root(json));
  } else if (error == VOW_E_NO_MEMORY) {
    code = ctl_no_memory();
  } else {
    code = ctl_fail(CTL_EXIT_FAILED, NULL, "the transaction cannot be shown: %s.", why);
  }
  vow_json_free(json);
  vow_buf_fini(&text);
  return code;
}

static void take_found(void *context, const struct vow_log_result *result) {
  struct found *found = context;
  if (result->error != VOW_OK) {
    found->code = result->history_only ? ctl_history_fail(result->why)
                                       : ctl_log_fail(result->error, result->why);
  } else if (result->count == 0) {
    char id[VOW_ID_TEXT_BYTES];
    vow_id_format(found->args->id, id);
    found->code =
        ctl_fail(CTL_EXIT_NOT_FOUND,
                 "If this log's daemon began it, it was aborted, or its history is purged.",
                 "the log has no transaction %s.", id);
  } else {
    found->code = show_txn(found->args, &result->rows[0]);
  }
}

enum ctl_exit ctl_offline_show(const struct ctl_args *args) {
  struct found found = {.args = args};
  struct vow_log *log = NULL;
  enum ctl_exit code = ctl_log_open(args, &log);
  if (code != CTL_EXIT_OK) return code;
  struct vow_log_query query = {
      .type = VOW_LOG_QUERY_FIND, .id = args->id, .done = take_found, .context = &found};
  enum vow_error error = vow_log_query_now(log, &query);
  code = error == VOW_OK ? found.code : ctl_log_fail(error, vow_error_text(error));
  vow_log_close(log);
  return code;
}
