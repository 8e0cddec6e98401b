/*
 * What a reconciliation is about, what it decides and what it writes, all transactions together.
 * Pure. See reconcile.h; what follows for one transaction is in reconcile_judge.c.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "reconcile.h"

#define IDS_AHEAD_MS     60000 /* ids of the lost log may have run a little ahead of the clock */
#define IDS_AHEAD_MAX_MS (UINT64_C(366) * 24 * 3600 * 1000)

/* ---- what it is about ---- */

static bool is_news(const struct ctl_reconciliation *r, struct vow_log_position seen) {
  return seen.incarnation != 0 && seen.incarnation != r->info.incarnation &&
         !vow_log_knows(r->info.known, r->info.known_count, seen);
}

/* Ids are issued below a durable ceiling (C6), and by each start from its own time on, so one above
 * the ceiling or between two starts was issued by what is lost. What was reconciled once is known.
 */
static bool has_lost_id(const struct ctl_reconciliation *r, const struct ctl_place *place) {
  for (size_t i = 0; i < place->in_doubt.count; i++) {
    struct vow_id id = place->in_doubt.branches[i].transaction;
    if (vow_id_compare(id, r->info.presume_from) < 0) continue;
    if (vow_id_compare(id, r->info.id_ceiling) >= 0 ||
        vow_id_in_gap(r->info.gaps, r->info.gap_count, id)) {
      return true;
    }
  }
  return false;
}

void ctl_reconcile_listen(struct ctl_reconciliation *r, uint64_t now_ms) {
  for (size_t i = 0; i < r->places.count && r->info.quarantined_ms == 0; i++) {
    const struct ctl_place *place = &r->places.items[i];
    struct vow_log_position seen = place->in_doubt.seen;
    if (is_news(r, seen)) {
      r->info.quarantined_ms = now_ms;
      r->info.seen = seen;
      snprintf(r->info.why, sizeof r->info.why,
               "%.200s has seen it at position %" PRIu64 " of incarnation %" PRIu64
               ", where it never was",
               place->url, seen.position, seen.incarnation);
    } else if (has_lost_id(r, place)) {
      r->info.quarantined_ms = now_ms;
      snprintf(r->info.why, sizeof r->info.why,
               "%.200s has a branch in doubt whose id the log has never issued", place->url);
    }
  }
}

/* Of undecided ones the log may have lost the decision, of decided ones the end. */
bool ctl_reconcile_add_open(struct ctl_reconciliation *r, struct vow_txn *txn) {
  bool ended = txn->state == VOW_TXN_COMMITTED || txn->state == VOW_TXN_ABORTED;
  if (ended || r->info.quarantined_ms == 0) return true;
  return ctl_cases_add(&r->cases, txn->id, txn);
}

bool ctl_reconcile_concerns(const struct ctl_reconciliation *r, struct vow_id id,
                            enum vow_txn_state state) {
  bool may_be_lost = r->info.quarantined_ms != 0 || vow_id_compare(id, r->info.presume_from) < 0 ||
                     vow_id_unix_ms(id) < r->info.created_ms;
  bool decided = state != 0 && state != VOW_TXN_ACTIVE && state != VOW_TXN_PREPARING;
  return may_be_lost && !decided;
}

/* ---- deciding ---- */

void ctl_reconcile_judge(struct ctl_reconciliation *r) {
  r->silent = 0;
  for (size_t i = 0; i < r->cases.count; i++) ctl_judge(&r->cases.items[i], &r->places);
  for (size_t i = 0; i < r->places.count; i++) {
    r->silent += !r->places.items[i].answered && !r->places.items[i].left_out;
  }
}

enum ctl_word ctl_reconcile_say(struct ctl_reconciliation *r, struct vow_id id,
                                enum ctl_verdict verdict) {
  struct ctl_case *item = ctl_cases_find(&r->cases, id);
  if (item == NULL) return CTL_WORD_NO_CASE;
  if (item->verdict == CTL_VERDICT_KNOWN) { /* perhaps by this word, before the tool was killed */
    bool committed = item->txn.state == VOW_TXN_COMMITTING;
    return committed == (verdict == CTL_VERDICT_COMMIT) ? CTL_WORD_TAKEN : CTL_WORD_REFUSED;
  }
  bool fits = item->verdict == CTL_VERDICT_OPEN || item->verdict == verdict ||
              (item->verdict == CTL_VERDICT_CONFLICT && verdict == CTL_VERDICT_COMMIT);
  if (!fits) return CTL_WORD_REFUSED;
  if (item->verdict == CTL_VERDICT_OPEN && r->silent > 0) return CTL_WORD_TOO_EARLY;
  item->by_operator |= item->verdict != verdict;
  item->verdict = verdict;
  return CTL_WORD_TAKEN;
}

static bool is_open(const struct ctl_case *item) {
  return item->verdict == CTL_VERDICT_OPEN || item->verdict == CTL_VERDICT_CONFLICT;
}

void ctl_reconcile_count(struct ctl_reconciliation *r) {
  r->open = r->known = 0;
  for (size_t i = 0; i < r->cases.count; i++) {
    r->open += is_open(&r->cases.items[i]);
    r->known += r->cases.items[i].verdict == CTL_VERDICT_KNOWN;
  }
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

/* Participants take nothing from a log that is behind what they have seen, also where the start in
 * which they saw it is so old that it is no longer known by itself. */
static uint64_t position_above(const struct ctl_reconciliation *r) {
  uint64_t position = r->info.witnessed.position;
  for (size_t i = 0; i < r->places.count; i++) {
    const struct ctl_place *place = &r->places.items[i];
    if (place->in_doubt.seen.position > position) position = place->in_doubt.seen.position;
    if (place->known.seen.position > position) position = place->known.seen.position;
  }
  return position;
}

/* An id from further ahead is none that this coordinator has issued. */
static void go_above(uint64_t *ms, uint64_t now_ms, struct vow_id id) {
  uint64_t at_ms = vow_id_unix_ms(id);
  if (at_ms > *ms && at_ms < now_ms + IDS_AHEAD_MAX_MS) *ms = at_ms;
}

/* Whatever the lost log may have issued. A log that was reconciled before, or started again and
 * again, runs ahead of the clock, and the clock may have been put back. How far it came say those
 * who heard of its transactions, and watermarks: below them participants refuse every prepare. */
static struct vow_id ids_above(const struct ctl_reconciliation *r, uint64_t now_ms) {
  uint64_t ms = now_ms;
  for (size_t i = 0; i < r->places.count; i++) {
    go_above(&ms, now_ms, r->places.items[i].known.finished_below);
    go_above(&ms, now_ms, r->places.items[i].known.newest);
  }
  for (size_t i = 0; i < r->cases.count; i++) go_above(&ms, now_ms, r->cases.items[i].id);
  return vow_id_floor(ms + IDS_AHEAD_MS, 0);
}

bool ctl_reconcile_write(struct ctl_reconciliation *r, uint64_t now_ms, struct vow_txn *txns,
                         struct vow_log_reconciled *out) {
  bool quarantined = r->info.quarantined_ms != 0;
  uint32_t count = 0;
  if (!judge_witnesses(r)) return false;
  struct vow_id above = ids_above(r, now_ms);
  *out = (struct vow_log_reconciled){.txns = txns};
  for (size_t i = 0; i < r->cases.count; i++) {
    struct ctl_case *item = &r->cases.items[i];
    if (is_open(item)) continue;
    if (ctl_reconcile_image(item, &r->places, now_ms, &txns[count]) != VOW_OK) return false;
    out->count = ++count;
  }
  out->leave = quarantined && r->open == 0 && r->silent == 0;
  out->suspected = quarantined ? r->info.why : NULL;
  out->seen = r->info.seen;
  out->judged = r->judged;
  out->judged_count = r->judged_count;
  out->position_above = position_above(r);
  out->ids_above = above;
  return true;
}

void ctl_reconcile_fini(struct ctl_reconciliation *r) {
  ctl_places_fini(&r->places);
  ctl_cases_fini(&r->cases);
  free(r->judged);
  r->judged = NULL;
  r->judged_count = 0;
}
