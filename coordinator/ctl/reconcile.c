/*
 * The command `reconcile`: asks the participants of a log that may have lost records what they have
 * on disk, decides what follows from it, and with --apply writes that into the log in one
 * transaction, which also ends the quarantine when nothing is left open. Killed at any moment it
 * has done all of it or nothing, and may be run again. It drives nobody: the daemon, or `vowctl
 * recover`, does that with the decisions it finds in the log.
 */
#include "reconcile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "offline.h"
#include "prompt.h"
#include "reconcile_report.h"
#include "text.h"
#include "url.h"
#include "words.h"

#define PAGE_ROWS 200

/* ---- the words of the command line ---- */

static enum ctl_exit add_url(struct ctl_reconciliation *r, const char *word,
                             char url[VOW_URL_BYTES_MAX + 1]) {
  char why[256];
  if (vow_url_normalize(word, url, why, sizeof why) != VOW_OK) {
    return ctl_fail(CTL_EXIT_USAGE, "Addresses stand one after the other, with commas between.",
                    "\"%.200s\" cannot be used: %s.", word, why);
  }
  return ctl_places_add(&r->places, url) ? CTL_EXIT_OK : ctl_no_memory();
}

static enum ctl_exit take_url(void *context, const char *word) {
  char url[VOW_URL_BYTES_MAX + 1];
  return add_url(context, word, url);
}

static enum ctl_exit take_without(void *context, const char *word) {
  struct ctl_reconciliation *r = context;
  char url[VOW_URL_BYTES_MAX + 1];
  enum ctl_exit code = add_url(r, word, url);
  if (code != CTL_EXIT_OK) return code;
  for (size_t i = 0; i < r->places.count; i++) {
    if (strcmp(r->places.items[i].url, url) == 0) r->places.items[i].left_out = true;
  }
  return CTL_EXIT_OK;
}

/* ---- what the log says ---- */

/* Whoever has a branch that was settled by hand may be gone for good. But where the abort was only
 * presumed then, it may know that it had committed. */
static enum ctl_exit add_urls(struct ctl_reconciliation *r, const struct vow_txn *txn) {
  for (uint32_t i = 0; i < txn->branch_count; i++) {
    const struct vow_branch *branch = &txn->branches[i];
    bool asked = !branch->resolved || txn->presumed;
    if (asked && !ctl_places_add(&r->places, branch->url)) return ctl_no_memory();
  }
  return CTL_EXIT_OK;
}

static enum ctl_exit take_urls(void *context, struct vow_txn *txn) {
  return add_urls(context, txn);
}

static enum ctl_exit take_open(void *context, struct vow_txn *txn) {
  return ctl_reconcile_add_open(context, txn) ? CTL_EXIT_OK : ctl_no_memory();
}

struct history {
  struct ctl_reconciliation *r;
  struct vow_id next;
  bool more;
  enum ctl_exit code;
};

static void take_ended(void *context, const struct vow_log_result *result) {
  struct history *history = context;
  history->more = result->more;
  history->next = result->next;
  history->r->damaged += result->rows_bad;
  if (result->error != VOW_OK) history->code = ctl_log_fail(result->error, result->why);
  for (uint32_t i = 0; history->code == CTL_EXIT_OK && i < result->count; i++) {
    history->code = add_urls(history->r, &result->rows[i]);
  }
}

/* All of it: whoever it names last may be named by a transaction of long ago. */
static enum ctl_exit read_history(struct ctl_reconciliation *r) {
  struct history history = {.r = r, .more = true};
  while (history.more) {
    struct vow_id before = history.next;
    struct vow_log_query query = {.type = VOW_LOG_QUERY_LIST,
                                  .id = before,
                                  .limit = PAGE_ROWS,
                                  .heuristic = -1,
                                  .done = take_ended,
                                  .context = &history};
    enum vow_error error = vow_log_query_now(r->log, &query);
    if (error != VOW_OK) return ctl_log_fail(error, vow_error_text(error));
    if (history.code != CTL_EXIT_OK) return history.code;
    bool moves = vow_id_is_nil(before) ? !vow_id_is_nil(history.next)
                                       : vow_id_compare(history.next, before) < 0;
    if (history.more && !moves) {
      return ctl_log_fail(VOW_E_LOG_CORRUPT, "the log's history cannot be read in order");
    }
  }
  return CTL_EXIT_OK;
}

struct lookup {
  enum vow_txn_state state; /* 0: there is no record */
  enum ctl_exit code;
};

static void take_row(void *context, const struct vow_log_result *result) {
  struct lookup *lookup = context;
  if (result->error != VOW_OK) {
    lookup->code = ctl_log_fail(result->error, result->why);
  } else if (result->count > 0) {
    lookup->state = result->rows[0].state;
  }
}

/* The state of its record; 0: there is none. */
static enum ctl_exit look_up(struct ctl_reconciliation *r, struct vow_id id,
                             struct lookup *lookup) {
  struct vow_log_query query = {
      .type = VOW_LOG_QUERY_FIND, .id = id, .done = take_row, .context = lookup};
  enum vow_error error = vow_log_query_now(r->log, &query);
  return error == VOW_OK ? lookup->code : ctl_log_fail(error, vow_error_text(error));
}

static enum ctl_exit add_one(struct ctl_reconciliation *r, struct vow_id id) {
  struct lookup lookup = {.state = 0};
  if (!ctl_reconcile_concerns(r, id, 0) || ctl_cases_find(&r->cases, id) != NULL)
    return CTL_EXIT_OK;
  enum ctl_exit code = look_up(r, id, &lookup);
  if (code != CTL_EXIT_OK) return code;
  if (!ctl_reconcile_concerns(r, id, lookup.state)) return CTL_EXIT_OK;
  return ctl_cases_add(&r->cases, id, NULL) ? CTL_EXIT_OK : ctl_no_memory();
}

/* What somebody has in doubt; in order, so that each comes behind those before it. */
static enum ctl_exit add_in_doubt(struct ctl_reconciliation *r) {
  enum ctl_exit code = CTL_EXIT_OK;
  size_t count = 0, all = 0;
  for (size_t i = 0; i < r->places.count; i++) all += r->places.items[i].in_doubt.count;
  struct vow_id *ids = calloc(all + 1, sizeof *ids);
  if (ids == NULL) return ctl_no_memory();
  for (size_t i = 0; i < r->places.count; i++) {
    const struct vow_known_reply *told = &r->places.items[i].in_doubt;
    for (size_t j = 0; j < told->count; j++) ids[count++] = told->branches[j].transaction;
  }
  qsort(ids, count, sizeof *ids, vow_id_order);
  for (size_t i = 0; code == CTL_EXIT_OK && i < count; i++) code = add_one(r, ids[i]);
  free(ids);
  return code;
}

/* ---- deciding ---- */

/* Whoever runs it again, as it was killed, says again what has to be decided: that may be written
 * already, and is no mistake then. */
static enum ctl_exit no_case(struct ctl_reconciliation *r, struct vow_id id, const char *word,
                             enum ctl_verdict verdict) {
  struct lookup lookup = {.state = 0};
  enum ctl_exit code = look_up(r, id, &lookup);
  bool committed = lookup.state == VOW_TXN_COMMITTING || lookup.state == VOW_TXN_COMMITTED;
  bool aborted = lookup.state == VOW_TXN_ABORTING || lookup.state == VOW_TXN_ABORTED;
  if (code != CTL_EXIT_OK || (verdict == CTL_VERDICT_COMMIT ? committed : aborted)) return code;
  if (committed || aborted) {
    return ctl_fail(CTL_EXIT_REFUSED, "A decision is for good.",
                    "%s cannot end this way: the log knows that it was %s.", word,
                    committed ? "committed" : "aborted");
  }
  return ctl_fail(CTL_EXIT_NOT_FOUND, "Run it without this id: it lists what has to be decided.",
                  "%s is not in doubt anywhere, and the log knows nothing of it.", word);
}

static enum ctl_exit operator_says(struct ctl_reconciliation *r, const char *word,
                                   enum ctl_verdict verdict) {
  struct vow_id id;
  if (!vow_id_parse(word, &id)) {
    return ctl_fail(CTL_EXIT_USAGE, "Ids stand one after the other, with commas between.",
                    "\"%.100s\" is not a transaction id.", word);
  }
  switch (ctl_reconcile_say(r, id, verdict)) {
    case CTL_WORD_NO_CASE:
      return no_case(r, id, word, verdict);
    case CTL_WORD_REFUSED:
      return ctl_fail(CTL_EXIT_REFUSED,
                      "What a participant has done cannot be undone by a decision.",
                      "%s cannot end this way: %s.", word, ctl_cases_find(&r->cases, id)->why);
    case CTL_WORD_TOO_EARLY:
      return ctl_fail(
          CTL_EXIT_REFUSED,
          "Bring them back first: one of them may have committed it. --without URL goes on "
          "without one that never comes back.",
          "%zu participants do not tell what they know of %s.", r->silent, word);
    case CTL_WORD_TAKEN:
      break;
  }
  return CTL_EXIT_OK;
}

static enum ctl_exit says_commit(void *context, const char *word) {
  return operator_says(context, word, CTL_VERDICT_COMMIT);
}

static enum ctl_exit says_abort(void *context, const char *word) {
  return operator_says(context, word, CTL_VERDICT_ABORT);
}

static enum ctl_exit decide(struct ctl_reconciliation *r) {
  ctl_reconcile_judge(r);
  enum ctl_exit code = ctl_each_word(r->args->text[CTL_OPT_COMMIT_IDS], r, says_commit);
  if (code == CTL_EXIT_OK) code = ctl_each_word(r->args->text[CTL_OPT_ABORT_IDS], r, says_abort);
  ctl_reconcile_count(r);
  return code;
}

/* What participants call this coordinator, in the form in which they keep it. */
static enum ctl_exit name_coordinator(struct ctl_reconciliation *r) {
  char why[256];
  const char *said = r->args->text[CTL_OPT_ADVERTISE_URL];
  if (said == NULL) said = r->info.advertise_url;
  if (said[0] == '\0') said = "http://127.0.0.1:7800";
  if (vow_url_normalize(said, r->coordinator, why, sizeof why) == VOW_OK) return CTL_EXIT_OK;
  return ctl_fail(CTL_EXIT_USAGE, "It is what advertise_url was in the daemon's configuration.",
                  "\"%.200s\" cannot be used: %s.", said, why);
}

static enum ctl_exit survey(struct ctl_reconciliation *r) {
  const struct ctl_args *args = r->args;
  struct ctl_open_reader urls = {.take = take_urls, .context = r};
  struct ctl_open_reader open = {.take = take_open, .context = r};
  vow_log_info(r->log, &r->info);
  enum ctl_exit code = name_coordinator(r);
  if (code == CTL_EXIT_OK) code = ctl_read_open(r->log, &urls);
  if (code == CTL_EXIT_OK) code = read_history(r);
  if (code == CTL_EXIT_OK) code = ctl_each_word(args->text[CTL_OPT_PARTICIPANTS], r, take_url);
  if (code == CTL_EXIT_OK) code = ctl_each_word(args->text[CTL_OPT_WITHOUT], r, take_without);
  if (code != CTL_EXIT_OK) return code;
  uint64_t timeout_ms = args->number[CTL_OPT_ANSWER];
  code = ctl_ask_in_doubt(&r->places, r->coordinator, timeout_ms);
  if (code != CTL_EXIT_OK) return code;
  ctl_reconcile_listen(r, ctl_now_ms());
  code = ctl_read_open(r->log, &open);
  if (code == CTL_EXIT_OK) code = add_in_doubt(r);
  if (code == CTL_EXIT_OK) code = ctl_ask_known(&r->places, &r->cases, r->coordinator, timeout_ms);
  return code == CTL_EXIT_OK ? decide(r) : code;
}

/* ---- writing ---- */

static enum ctl_exit apply(struct ctl_reconciliation *r) {
  char why[VOW_LOG_WHY_BYTES];
  enum ctl_exit code = CTL_EXIT_OK;
  struct vow_log_reconciled written = {.count = 0};
  struct vow_txn *txns = calloc(r->cases.count + 1, sizeof *txns);
  if (txns == NULL || !ctl_reconcile_write(r, ctl_now_ms(), txns, &written)) code = ctl_no_memory();
  if (code == CTL_EXIT_OK && (written.count > 0 || written.suspected != NULL)) {
    enum vow_error error = vow_log_reconcile(r->log, &written, why);
    if (error != VOW_OK) code = ctl_log_fail(error, why);
  }
  r->applied = code == CTL_EXIT_OK;
  r->left = r->applied && written.leave;
  for (uint32_t i = 0; i < written.count; i++) vow_txn_fini(&txns[i]);
  free(txns);
  return code;
}

static enum ctl_exit confirm(const struct ctl_reconciliation *r) {
  char text[512];
  snprintf(text, sizeof text,
           "%zu transactions are decided as listed, for good%s. No daemon may run on this log.\n",
           r->cases.count - r->open - r->known,
           r->info.quarantined_ms != 0 && r->open == 0 && r->silent == 0
               ? ", and the log leaves quarantine"
               : "");
  return ctl_ask(r->args, text);
}

enum ctl_exit ctl_reconcile(const struct ctl_args *args) {
  struct ctl_reconciliation r = {.args = args, .apply = ctl_given(args, CTL_OPT_APPLY)};
  struct vow_log_config config = {.path = args->text[CTL_OPT_LOG],
                                  .read_only = !r.apply,
                                  .retention_age_ms = UINT64_MAX,
                                  .retention_count = UINT64_MAX};
  char why[VOW_LOG_WHY_BYTES];
  enum ctl_exit code = r.apply ? ctl_may_ask(args) : CTL_EXIT_OK;
  if (code != CTL_EXIT_OK) return code;
  enum vow_error error = vow_log_open(&r.log, &config, why);
  if (error != VOW_OK) return ctl_log_fail(error, why);
  code = survey(&r);
  if (code == CTL_EXIT_OK && r.apply) {
    ctl_reconcile_preview(&r);
    code = confirm(&r);
    if (code == CTL_EXIT_OK) code = apply(&r);
  }
  if (code == CTL_EXIT_OK) code = ctl_reconcile_print(&r);
  vow_log_close(r.log);
  ctl_reconcile_fini(&r);
  return code;
}
