/*
 * What follows from what participants have on disk. Pure. See reconcile.h.
 *
 * The rules, and why they hold:
 *
 *   some branch has committed    commit. A branch commits only when it is told to, and that is told
 *                                only of a durable decision (C1); or in one phase, where it is the
 *                                decision (C4).
 *   else, some told to abort     abort. That is told only of what ends so, never of what was told
 *                                to commit.
 *   both                         somebody was told wrongly already; a person must look.
 *   neither                      both are possible: the decision may have been made, told to the
 *                                client and lost. Only a person can find out whether it was.
 *
 * That a participant has no record of a transaction proves nothing: a vote read-only is not forced
 * and may have been lost in a crash, and what is below the watermark is forgotten. That one has
 * refused it proves as little: it may have voted read-only, crashed, and found only that it had
 * begun to prepare, or been asked once more. A heuristic end says what somebody did by hand, not
 * what was decided.
 *
 * Of what the log knows as decided nothing is decided anew; but what has ended since is taken note
 * of. Where it says aborted and a branch has committed, it had forgotten that decision: a conflict.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reconcile.h"

#define UNREPORTED_URL "http://unreported.invalid"

const char *ctl_verdict_name(enum ctl_verdict verdict) {
  static const char *const names[] = {[CTL_VERDICT_COMMIT] = "commit",
                                      [CTL_VERDICT_ABORT] = "abort",
                                      [CTL_VERDICT_OPEN] = "undecided",
                                      [CTL_VERDICT_CONFLICT] = "conflict",
                                      [CTL_VERDICT_KNOWN] = "known"};
  return names[verdict];
}

static const struct ctl_report_item *find_state(const struct ctl_case *item,
                                                enum vow_known_state state) {
  for (size_t i = 0; i < item->count; i++) {
    if (item->items[i].state == state) return &item->items[i];
  }
  return NULL;
}

/* Who says that it is over: a watermark passes only what every branch has acknowledged (C5). */
static const struct ctl_place *find_over(const struct ctl_case *item,
                                         const struct ctl_places *places) {
  for (size_t i = 0; i < places->count; i++) {
    const struct ctl_place *place = &places->items[i];
    if (place->tells && vow_id_compare(item->id, place->known.finished_below) < 0) return place;
  }
  return NULL;
}

/* What nobody's disk decides: what a person has to find out. */
static void judge_open(struct ctl_case *item, const struct ctl_places *places) {
  const struct ctl_place *forgetful = find_over(item, places);
  const struct ctl_report_item *refusal = find_state(item, VOW_KNOWN_REFUSED);
  const struct ctl_report_item *unvoted =
      refusal != NULL ? refusal : find_state(item, VOW_KNOWN_PREPARING);
  item->verdict = CTL_VERDICT_OPEN;
  item->over = forgetful != NULL;
  if (forgetful != NULL) {
    snprintf(
        item->why, sizeof item->why,
        "%.120s knows that it has ended, and has forgotten how: look whether its data are there",
        forgetful->url);
  } else if (unvoted != NULL) {
    snprintf(item->why, sizeof item->why,
             "%.120s has %s branch %u: that is an abort, unless it had voted read-only and lost "
             "that in a crash: was a client told that it committed?",
             places->items[unvoted->place].url, refusal != NULL ? "refused" : "only begun with",
             unvoted->branch);
  } else {
    snprintf(item->why, sizeof item->why,
             "nobody who was asked has committed or aborted it: was a client told?");
  }
}

void ctl_judge(struct ctl_case *item, const struct ctl_places *places) {
  const struct ctl_report_item *committed = find_state(item, VOW_KNOWN_COMMITTED);
  const struct ctl_report_item *aborted = find_state(item, VOW_KNOWN_ABORTED);
  const struct ctl_report_item *proof = committed != NULL ? committed : aborted;
  bool aborting = item->txn.state == VOW_TXN_ABORTING && !item->txn.presumed;
  item->by_operator = item->over = false;
  if (aborting && committed != NULL) {
    item->verdict = CTL_VERDICT_CONFLICT;
    snprintf(item->why, sizeof item->why,
             "the log says aborted, and %.200s has committed branch %u",
             places->items[committed->place].url, committed->branch);
  } else if (aborting || item->txn.state == VOW_TXN_COMMITTING) {
    item->verdict = CTL_VERDICT_KNOWN;
    snprintf(item->why, sizeof item->why, "the log knows it: %s",
             vow_txn_state_name(item->txn.state));
  } else if (committed != NULL && aborted != NULL) {
    item->verdict = CTL_VERDICT_CONFLICT;
    snprintf(item->why, sizeof item->why, "%.120s has committed and %.120s has aborted",
             places->items[committed->place].url, places->items[aborted->place].url);
  } else if (proof != NULL) {
    item->verdict = committed != NULL ? CTL_VERDICT_COMMIT : CTL_VERDICT_ABORT;
    snprintf(item->why, sizeof item->why, "%.200s has %s branch %u",
             places->items[proof->place].url,
             committed != NULL ? "committed" : "been told to abort", proof->branch);
  } else {
    judge_open(item, places);
  }
}

/* ---- the record ---- */

static bool reported(const struct ctl_case *item, uint32_t branch,
                     const struct ctl_report_item **out) {
  for (size_t i = 0; i < item->count; i++) {
    if (item->items[i].branch != branch) continue;
    *out = &item->items[i];
    return true;
  }
  return false;
}

static uint32_t highest_branch(const struct ctl_case *item) {
  uint32_t highest = 0;
  for (size_t i = 0; i < item->count; i++) {
    if (item->items[i].branch > highest) highest = item->items[i].branch;
  }
  return highest;
}

/* Of what the log does not have, the branches that were reported, and in between some of which
 * only the number is known. Should their participants come and ask, the record answers them: a
 * commit with a branch that was settled by hand is kept for good (C10). */
static enum vow_error make_branches(struct ctl_case *item, const struct ctl_places *places) {
  struct vow_txn *txn = &item->txn;
  uint32_t count = highest_branch(item);
  txn->branches = calloc((size_t)count + 1, sizeof *txn->branches);
  if (txn->branches == NULL) return VOW_E_NO_MEMORY;
  for (uint32_t i = 0; i < count; i++) {
    const struct ctl_report_item *report = NULL;
    struct vow_branch *branch = &txn->branches[i];
    bool is_reported = reported(item, i + 1, &report);
    branch->number = i + 1;
    branch->resolved = !is_reported;
    branch->url = strdup(is_reported ? places->items[report->place].url : UNREPORTED_URL);
    if (asprintf(&branch->name, "%u", i + 1) < 0) branch->name = NULL;
    txn->branch_count = i + 1;
    if (branch->name == NULL || branch->url == NULL) return VOW_E_NO_MEMORY;
  }
  txn->id = item->id;
  txn->created_ms = txn->deadline_ms = vow_id_unix_ms(item->id);
  return VOW_OK;
}

static void end_branch(struct vow_branch *branch, bool commit) {
  branch->state = commit ? VOW_BRANCH_COMMITTED : VOW_BRANCH_ABORTED;
  branch->outcome = commit ? VOW_OUTCOME_COMMITTED : VOW_OUTCOME_ABORTED;
}

/* Its participant has it on disk that the branch ended as decided; or has no record of it any more,
 * and a watermark above it, which comes only after the end. To tell it again might find nobody who
 * remembers. */
static bool has_ended(const struct ctl_case *item, const struct ctl_places *places,
                      const struct vow_branch *branch, bool commit) {
  const struct ctl_report_item *report = NULL;
  if (reported(item, branch->number, &report)) {
    if (report->state == VOW_KNOWN_REFUSED) return !commit;
    return report->state == (commit ? VOW_KNOWN_COMMITTED : VOW_KNOWN_ABORTED);
  }
  for (size_t i = 0; i < places->count; i++) {
    const struct ctl_place *place = &places->items[i];
    if (!place->tells || strcmp(place->url, branch->url) != 0) continue;
    return vow_id_compare(item->id, place->known.finished_below) < 0;
  }
  return false;
}

/* A commit was decided, so whoever refused its branch, or has no vote for it on the disk, had voted
 * read-only and forgotten it, as whoever says so may do at any time: there is nothing to commit,
 * and nothing to report. But of one that had voted commit, as the log knows, the promise is lost:
 * it is told, answers that it has aborted, and that is seen. */
static bool has_only_read(const struct ctl_case *item, const struct vow_branch *branch) {
  const struct ctl_report_item *report = NULL;
  if (branch->vote == VOW_VOTE_COMMIT || !reported(item, branch->number, &report)) return false;
  return report->state == VOW_KNOWN_REFUSED || report->state == VOW_KNOWN_PREPARING ||
         report->state == VOW_KNOWN_READ_ONLY;
}

/* Of whoever does not tell nothing is known: it may be heard by the next reconciliation, and have
 * only read. */
static bool has_promised(const struct ctl_case *item, const struct vow_branch *branch) {
  const struct ctl_report_item *report = NULL;
  if (!reported(item, branch->number, &report)) return false;
  return report->state == VOW_KNOWN_PREPARED || report->state == VOW_KNOWN_COMMITTED;
}

static void decide_branch(const struct ctl_case *item, const struct ctl_places *places,
                          struct vow_branch *branch, bool commit) {
  switch (branch->state) {
    case VOW_BRANCH_READ_ONLY:
    case VOW_BRANCH_COMMITTED:
    case VOW_BRANCH_HEURISTIC:
      return;
    case VOW_BRANCH_ABORTED:
      if (!commit) return;
      if (!branch->resolved) break;         /* it is told, and answers what it has done */
      branch->state = VOW_BRANCH_HEURISTIC; /* an operator did it while an abort was presumed */
      branch->outcome = VOW_OUTCOME_HEURISTIC_ABORT;
      return;
    default:
      break;
  }
  free(branch->payload);
  branch->payload = NULL;
  branch->payload_bytes = 0;
  branch->outcome = VOW_OUTCOME_NONE;
  if (commit && has_only_read(item, branch)) {
    branch->vote = VOW_VOTE_READ_ONLY;
    branch->state = VOW_BRANCH_READ_ONLY;
    return;
  }
  if (commit && has_promised(item, branch)) branch->vote = VOW_VOTE_COMMIT;
  branch->state = commit ? VOW_BRANCH_PREPARED : VOW_BRANCH_ABORTING;
  if (branch->resolved || has_ended(item, places, branch, commit)) end_branch(branch, commit);
}

/* Whoever asks why it ended so finds it in its history. */
static enum vow_error add_history(struct vow_txn *txn, const struct ctl_case *item, bool commit,
                                  uint64_t now_ms) {
  char *detail = NULL;
  struct vow_history *history =
      reallocarray(txn->history, txn->history_count + 1, sizeof *txn->history);
  if (history == NULL) return VOW_E_NO_MEMORY;
  txn->history = history;
  if (asprintf(&detail, "%s: reconciled, %s%s", commit ? "committed" : "aborted",
               item->by_operator ? "an operator decided; " : "", item->why) < 0) {
    return VOW_E_NO_MEMORY;
  }
  history[txn->history_count++] = (struct vow_history){
      .time_ms = now_ms, .detail = detail, .count = 1, .kind = VOW_HISTORY_RESOLVED};
  return VOW_OK;
}

enum vow_error ctl_reconcile_image(struct ctl_case *item, const struct ctl_places *places,
                                   uint64_t now_ms, struct vow_txn *out) {
  struct vow_txn *txn = &item->txn;
  bool known = item->verdict == CTL_VERDICT_KNOWN;
  bool commit = known ? txn->state == VOW_TXN_COMMITTING : item->verdict == CTL_VERDICT_COMMIT;
  enum vow_error error = txn->branch_count == 0 && !known ? make_branches(item, places) : VOW_OK;
  if (error == VOW_OK && !known) error = add_history(txn, item, commit, now_ms);
  if (error != VOW_OK) return error;
  for (uint32_t i = 0; i < txn->branch_count; i++) {
    decide_branch(item, places, &txn->branches[i], commit);
  }
  if (known) {
    *out = *txn;
    memset(txn, 0, sizeof *txn);
    return VOW_OK;
  }
  txn->state = commit ? VOW_TXN_COMMITTING : VOW_TXN_ABORTING;
  txn->delegated = txn->presumed = false;
  txn->heuristic = vow_txn_merge_heuristics(txn);
  txn->updated_ms = now_ms;
  free(txn->reason);
  txn->reason = NULL;
  if (!commit && asprintf(&txn->reason, "reconciled: %s", item->why) < 0) {
    txn->reason = NULL;
    return VOW_E_NO_MEMORY;
  }
  *out = *txn;
  memset(txn, 0, sizeof *txn);
  return VOW_OK;
}
