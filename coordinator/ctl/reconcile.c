/*
 * The command `reconcile`: asks the participants of a log that may have lost records what they have
 * on disk, decides what follows from it, and with --apply writes that into the log in one
 * transaction, which also ends the quarantine when nothing is left open. Killed at any moment it
 * has done all of it or nothing, and may be run again. It drives nobody: the daemon, or `vowctl
 * recover`, does that with the decisions it finds in the log.
 */
#include "reconcile.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "offline.h"
#include "prompt.h"
#include "reconcile_report.h"
#include "text.h"
#include "url.h"

#define HISTORY_PAGES_MAX 500 /* of the history, the newest pages are looked through for URLs */
#define PAGE_ROWS         200
#define IDS_AHEAD_MS      60000 /* ids of the lost log may have run a little ahead of the clock */
#define IDS_AHEAD_MAX_MS  (UINT64_C(366) * 24 * 3600 * 1000)

static enum ctl_exit no_memory(void) {
  return ctl_log_fail(VOW_E_NO_MEMORY, "out of memory");
}

/* ---- the words of the command line ---- */

/* Calls `take` for each item of a list with commas. */
static enum ctl_exit each_word(const char *list, struct ctl_reconciliation *r,
                               enum ctl_exit (*take)(struct ctl_reconciliation *, const char *)) {
  enum ctl_exit code = CTL_EXIT_OK;
  char *copy = list == NULL ? NULL : strdup(list), *rest = copy, *word;
  if (list != NULL && copy == NULL) return no_memory();
  while (code == CTL_EXIT_OK && (word = strsep(&rest, ",")) != NULL) {
    word += strspn(word, " ");
    if (*word != '\0') code = take(r, word);
  }
  free(copy);
  return code;
}

static enum ctl_exit take_url(struct ctl_reconciliation *r, const char *word) {
  char url[VOW_URL_BYTES_MAX + 1], why[256];
  if (vow_url_normalize(word, url, why, sizeof why) != VOW_OK) {
    return ctl_fail(CTL_EXIT_USAGE, "Addresses stand one after the other, with commas between.",
                    "\"%.200s\" cannot be used: %s.", word, why);
  }
  return ctl_places_add(&r->places, url) ? CTL_EXIT_OK : no_memory();
}

static enum ctl_exit take_without(struct ctl_reconciliation *r, const char *word) {
  enum ctl_exit code = take_url(r, word);
  char url[VOW_URL_BYTES_MAX + 1], why[256];
  if (code != CTL_EXIT_OK) return code;
  if (vow_url_normalize(word, url, why, sizeof why) != VOW_OK) return CTL_EXIT_USAGE;
  for (size_t i = 0; i < r->places.count; i++) {
    if (strcmp(r->places.items[i].url, url) == 0) r->places.items[i].left_out = true;
  }
  return CTL_EXIT_OK;
}

/* ---- what the log says ---- */

static enum ctl_exit add_urls(struct ctl_reconciliation *r, const struct vow_txn *txn) {
  for (uint32_t i = 0; i < txn->branch_count; i++) {
    const struct vow_branch *branch = &txn->branches[i];
    if (!branch->resolved && !ctl_places_add(&r->places, branch->url)) return no_memory();
  }
  return CTL_EXIT_OK;
}

static enum ctl_exit take_urls(void *context, struct vow_txn *txn) {
  return add_urls(context, txn);
}

/* Of undecided ones the log may have lost the decision, of decided ones the end. */
static enum ctl_exit take_open(void *context, struct vow_txn *txn) {
  struct ctl_reconciliation *r = context;
  bool ended = txn->state == VOW_TXN_COMMITTED || txn->state == VOW_TXN_ABORTED;
  if (ended || r->info.quarantined_ms == 0) return CTL_EXIT_OK;
  return ctl_cases_add(&r->cases, txn->id, txn) ? CTL_EXIT_OK : no_memory();
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
  if (result->error != VOW_OK) history->code = ctl_log_fail(result->error, result->why);
  for (uint32_t i = 0; history->code == CTL_EXIT_OK && i < result->count; i++) {
    history->code = add_urls(history->r, &result->rows[i]);
  }
}

static enum ctl_exit read_history(struct ctl_reconciliation *r) {
  struct history history = {.r = r, .more = true};
  for (unsigned page = 0; page < HISTORY_PAGES_MAX && history.more; page++) {
    struct vow_log_query query = {.type = VOW_LOG_QUERY_LIST,
                                  .id = history.next,
                                  .limit = PAGE_ROWS,
                                  .heuristic = -1,
                                  .done = take_ended,
                                  .context = &history};
    enum vow_error error = vow_log_query_now(r->log, &query);
    if (error != VOW_OK) return ctl_log_fail(error, vow_error_text(error));
    if (history.code != CTL_EXIT_OK) return history.code;
  }
  return CTL_EXIT_OK;
}

/* Is it one of those of which the log may lack the record? The rest the daemon answers. */
static bool may_be_lost(const struct ctl_reconciliation *r, struct vow_id id) {
  return r->info.quarantined_ms != 0 || vow_id_compare(id, r->info.presume_from) < 0 ||
         vow_id_unix_ms(id) < r->info.created_ms;
}

struct lookup {
  bool known; /* the log says positively how it ended, or will */
  enum ctl_exit code;
};

static void take_row(void *context, const struct vow_log_result *result) {
  struct lookup *lookup = context;
  if (result->error != VOW_OK) {
    lookup->code = ctl_log_fail(result->error, result->why);
  } else if (result->count > 0) {
    lookup->known =
        result->rows[0].state != VOW_TXN_ACTIVE && result->rows[0].state != VOW_TXN_PREPARING;
  }
}

static enum ctl_exit add_in_doubt(struct ctl_reconciliation *r, struct vow_id id) {
  struct lookup lookup = {.known = false};
  if (!may_be_lost(r, id) || ctl_cases_find(&r->cases, id) != NULL) return CTL_EXIT_OK;
  struct vow_log_query query = {
      .type = VOW_LOG_QUERY_FIND, .id = id, .done = take_row, .context = &lookup};
  enum vow_error error = vow_log_query_now(r->log, &query);
  if (error != VOW_OK) return ctl_log_fail(error, vow_error_text(error));
  if (lookup.code != CTL_EXIT_OK || lookup.known) return lookup.code;
  return ctl_cases_add(&r->cases, id, NULL) ? CTL_EXIT_OK : no_memory();
}

/* ---- deciding ---- */

static enum ctl_exit operator_says(struct ctl_reconciliation *r, const char *word,
                                   enum ctl_verdict verdict) {
  struct vow_id id;
  if (!vow_id_parse(word, &id)) {
    return ctl_fail(CTL_EXIT_USAGE, "Ids stand one after the other, with commas between.",
                    "\"%.100s\" is not a transaction id.", word);
  }
  struct ctl_case *item = ctl_cases_find(&r->cases, id);
  if (item == NULL) {
    return ctl_fail(CTL_EXIT_NOT_FOUND, "Run it without this id: it lists what has to be decided.",
                    "%s is not in doubt anywhere, or the log knows how it ended.", word);
  }
  bool fits = item->verdict == CTL_VERDICT_OPEN || item->verdict == verdict ||
              (item->verdict == CTL_VERDICT_CONFLICT && verdict == CTL_VERDICT_COMMIT);
  if (!fits) {
    return ctl_fail(CTL_EXIT_REFUSED, "What a participant has done cannot be undone by a decision.",
                    "%s cannot end this way: %s.", word, item->why);
  }
  if (item->verdict == CTL_VERDICT_OPEN && r->silent > 0) {
    return ctl_fail(
        CTL_EXIT_REFUSED,
        "Bring them back first: one of them may have committed it. --without URL goes on "
        "without one that never comes back.",
        "%zu participants do not tell what they know of %s.", r->silent, word);
  }
  item->by_operator |= item->verdict != verdict;
  item->verdict = verdict;
  return CTL_EXIT_OK;
}

static enum ctl_exit says_commit(struct ctl_reconciliation *r, const char *word) {
  return operator_says(r, word, CTL_VERDICT_COMMIT);
}

static enum ctl_exit says_abort(struct ctl_reconciliation *r, const char *word) {
  return operator_says(r, word, CTL_VERDICT_ABORT);
}

static enum ctl_exit decide(struct ctl_reconciliation *r) {
  for (size_t i = 0; i < r->cases.count; i++) ctl_judge(&r->cases.items[i], &r->places);
  for (size_t i = 0; i < r->places.count; i++) {
    r->silent += !r->places.items[i].answered && !r->places.items[i].left_out;
  }
  enum ctl_exit code = each_word(r->args->text[CTL_OPT_COMMIT_IDS], r, says_commit);
  if (code == CTL_EXIT_OK) code = each_word(r->args->text[CTL_OPT_ABORT_IDS], r, says_abort);
  for (size_t i = 0; i < r->cases.count; i++) {
    enum ctl_verdict verdict = r->cases.items[i].verdict;
    r->open += verdict == CTL_VERDICT_OPEN || verdict == CTL_VERDICT_CONFLICT;
    r->known += verdict == CTL_VERDICT_KNOWN;
  }
  return code;
}

/* A participant may be the first to know that the log has lost records. */
static void listen_to_witnesses(struct ctl_reconciliation *r) {
  for (size_t i = 0; i < r->places.count && r->info.quarantined_ms == 0; i++) {
    const struct ctl_place *place = &r->places.items[i];
    struct vow_log_position seen = place->in_doubt.seen;
    if (seen.incarnation == 0 || seen.incarnation == r->info.incarnation ||
        vow_log_knows(r->info.known, r->info.known_count, seen)) {
      continue;
    }
    r->info.quarantined_ms = ctl_now_ms();
    r->info.seen = seen;
    snprintf(r->info.why, sizeof r->info.why,
             "%.200s has seen it at position %" PRIu64 " of incarnation %" PRIu64
             ", where it never was",
             place->url, seen.position, seen.incarnation);
  }
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
  if (code == CTL_EXIT_OK) code = each_word(args->text[CTL_OPT_PARTICIPANTS], r, take_url);
  if (code == CTL_EXIT_OK) code = each_word(args->text[CTL_OPT_WITHOUT], r, take_without);
  if (code != CTL_EXIT_OK) return code;
  uint64_t timeout_ms = args->number[CTL_OPT_ANSWER];
  ctl_ask_in_doubt(&r->places, r->coordinator, timeout_ms);
  listen_to_witnesses(r);
  code = ctl_read_open(r->log, &open);
  for (size_t i = 0; i < r->places.count; i++) {
    const struct vow_known_reply *told = &r->places.items[i].in_doubt;
    for (size_t j = 0; code == CTL_EXIT_OK && j < told->count; j++) {
      code = add_in_doubt(r, told->branches[j].transaction);
    }
  }
  if (code == CTL_EXIT_OK) code = ctl_ask_known(&r->places, &r->cases, r->coordinator, timeout_ms);
  return code == CTL_EXIT_OK ? decide(r) : code;
}

/* ---- writing ---- */

/* What witnesses have seen is known to the log from now on: the furthest of each start. */
static bool judged(struct ctl_reconciliation *r, struct vow_log_position seen) {
  if (seen.incarnation == 0 || vow_log_knows(r->info.known, r->info.known_count, seen)) return true;
  for (uint32_t i = 0; i < r->judged_count; i++) {
    if (r->judged[i].number != seen.incarnation) continue;
    if (r->judged[i].until < seen.position) r->judged[i].until = seen.position;
    return true;
  }
  struct vow_incarnation *more = reallocarray(r->judged, r->judged_count + 1, sizeof *more);
  if (more == NULL) return false;
  r->judged = more;
  more[r->judged_count++] = (struct vow_incarnation){seen.incarnation, seen.position};
  return true;
}

static bool judge_witnesses(struct ctl_reconciliation *r) {
  bool ok = judged(r, r->info.seen) && judged(r, r->info.witnessed);
  for (size_t i = 0; ok && i < r->places.count; i++) {
    ok = judged(r, r->places.items[i].in_doubt.seen) && judged(r, r->places.items[i].known.seen);
  }
  return ok;
}

/* An id from further ahead is none that this coordinator has issued. */
static void go_above(uint64_t *ms, uint64_t now_ms, struct vow_id id) {
  uint64_t at_ms = vow_id_unix_ms(id);
  if (at_ms > *ms && at_ms < now_ms + IDS_AHEAD_MAX_MS) *ms = at_ms;
}

/* Whatever the lost log may have issued. A log that was reconciled before runs ahead of the clock,
 * and watermarks say how far it came: below them participants refuse every prepare. */
static struct vow_id ids_above(const struct ctl_reconciliation *r) {
  uint64_t now_ms = ctl_now_ms(), ms = now_ms;
  for (size_t i = 0; i < r->places.count; i++) {
    go_above(&ms, now_ms, r->places.items[i].known.finished_below);
  }
  for (size_t i = 0; i < r->cases.count; i++) go_above(&ms, now_ms, r->cases.items[i].id);
  return vow_id_floor(ms + IDS_AHEAD_MS, 0);
}

static enum ctl_exit apply(struct ctl_reconciliation *r) {
  char why[VOW_LOG_WHY_BYTES];
  enum ctl_exit code = CTL_EXIT_OK;
  struct vow_log_reconciled written = {.ids_above = ids_above(r)};
  struct vow_txn *txns = calloc(r->cases.count + 1, sizeof *txns);
  if (txns == NULL || !judge_witnesses(r)) {
    free(txns);
    return no_memory();
  }
  for (size_t i = 0; code == CTL_EXIT_OK && i < r->cases.count; i++) {
    struct ctl_case *item = &r->cases.items[i];
    if (item->verdict == CTL_VERDICT_OPEN || item->verdict == CTL_VERDICT_CONFLICT) continue;
    enum vow_error error =
        ctl_reconcile_image(item, &r->places, ctl_now_ms(), &txns[written.count]);
    if (error == VOW_OK) written.count++;
    if (error != VOW_OK) code = no_memory();
  }
  written.txns = txns;
  written.leave = r->info.quarantined_ms != 0 && r->open == 0 && r->silent == 0;
  if (r->info.quarantined_ms != 0) written.suspected = r->info.why;
  written.seen = r->info.seen;
  written.judged = r->judged;
  written.judged_count = r->judged_count;
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
  ctl_places_fini(&r.places);
  ctl_cases_fini(&r.cases);
  free(r.judged);
  return code;
}
