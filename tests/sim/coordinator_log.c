/*
 * A coordinator's log: a row a transaction, one database transaction for all that is queued, one
 * sync. What was still queued is gone after a crash. The transaction that was being written is
 * whole or not there, for a torn one does not pass its checksums; after a kill, or a COMMIT that
 * failed, it may be whole in the page cache only, and a power cut takes it from there. So a start
 * syncs the log before it believes it (log rule 3).
 */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

static int node_of(const struct sim_coordinator *c) {
  return SIM_COORDINATOR + (int)c->number;
}

/* ---- images ---- */

static char *copy_text(const char *text) {
  if (text == NULL) return NULL;
  char *copy = strdup(text);
  if (copy == NULL) abort();
  return copy;
}

/* As the log would keep it: no payloads. The history means nothing here and is left out. */
struct vow_txn sim_image_copy(const struct vow_txn *from) {
  struct vow_txn image = *from;
  image.decision_durable = false;
  image.metadata = copy_text(from->metadata);
  image.idempotency_key = copy_text(from->idempotency_key);
  image.traceparent = copy_text(from->traceparent);
  image.reason = copy_text(from->reason);
  image.history = NULL;
  image.history_count = 0;
  image.branches = calloc(from->branch_count + 1, sizeof *image.branches);
  if (image.branches == NULL) abort();
  for (uint32_t i = 0; i < from->branch_count; i++) {
    image.branches[i] = from->branches[i];
    image.branches[i].name = copy_text(from->branches[i].name);
    image.branches[i].name_behind_url = false;
    image.branches[i].url = copy_text(from->branches[i].url);
    image.branches[i].payload = NULL;
    image.branches[i].payload_bytes = 0;
    image.branches[i].last_error = copy_text(from->branches[i].last_error);
  }
  return image;
}

static void set_row(struct sim_row *row, const struct vow_txn *image) {
  if (row->used) vow_txn_fini(&row->image);
  row->used = true;
  row->image = *image;
}

static void drop_batch(const struct sim *s, struct sim_batch *batch) {
  for (uint32_t i = 0; batch->count > 0 && i < s->txn_count; i++) {
    if (batch->rows[i].used) vow_txn_fini(&batch->rows[i].image);
    batch->rows[i].used = false;
  }
  batch->count = batch->decisions = 0;
  batch->position = 0;
  batch->forced = batch->quarantine = batch->reconciles = batch->leaves = false;
  batch->seen = (struct vow_log_position){0};
  batch->judged_count = 0;
  batch->ceiling = (struct vow_id){{0}};
}

static void take_reconciliation(struct sim_batch *into, const struct sim_batch *from) {
  into->reconciles = true;
  into->leaves = from->leaves;
  into->presume_from = from->presume_from;
  into->judged_count = from->judged_count;
  memcpy(into->judged, from->judged, sizeof into->judged);
}

/* The newer one goes into the older one, and is empty then. */
static void merge(const struct sim *s, struct sim_batch *into, struct sim_batch *from) {
  for (uint32_t i = 0; from->count > 0 && i < s->txn_count; i++) {
    if (!from->rows[i].used) continue;
    set_row(&into->rows[i], &from->rows[i].image);
    from->rows[i].used = false;
  }
  into->count += from->count;
  into->decisions += from->decisions;
  if (from->position > into->position) into->position = from->position;
  if (vow_id_compare(from->ceiling, into->ceiling) > 0) into->ceiling = from->ceiling;
  into->forced |= from->forced;
  into->quarantine |= from->quarantine;
  if (from->quarantine) into->seen = from->seen;
  if (from->reconciles) take_reconciliation(into, from);
  drop_batch(s, from);
}

/* ---- what is on the disk ---- */

/* A heuristic outcome that nobody has forgotten, and a commit whose branch was settled by hand. */
static bool is_kept(const struct vow_txn *image) {
  if (image->heuristic != VOW_HEURISTIC_NONE && !image->forgotten) return true;
  for (uint32_t i = 0; image->state == VOW_TXN_COMMITTED && i < image->branch_count; i++) {
    if (image->branches[i].resolved) return true;
  }
  return false;
}

/* The one that ended first of those that may go; NULL: no more than may stay. */
static struct sim_row *oldest(struct sim *s, struct sim_coordinator *c, uint32_t *txn) {
  struct sim_row *found = NULL;
  uint32_t ended = 0;
  for (uint32_t i = 0; i < s->txn_count; i++) {
    struct sim_row *row = &c->disk.table[i];
    if (!row->used || row->image.ended_ms == 0) continue;
    ended++;
    if (is_kept(&row->image)) continue;
    if (found != NULL && row->image.ended_ms >= found->image.ended_ms) continue;
    found = row;
    *txn = i;
  }
  return ended > c->retention_count ? found : NULL;
}

static void purge(struct sim *s, struct sim_coordinator *c) {
  struct sim_row *row;
  uint32_t txn = 0;
  while ((row = oldest(s, c, &txn)) != NULL) {
    bool commit = row->image.state == VOW_TXN_COMMITTED;
    if (commit && vow_id_compare(row->image.id, c->disk.purged_to) > 0)
      c->disk.purged_to = row->image.id;
    sim_say(s, node_of(c), "purges t%u, which had %s", txn, vow_txn_state_name(row->image.state));
    vow_txn_fini(&row->image);
    row->used = false;
    sim_purged(s, txn);
  }
}

uint32_t sim_c_open_rows(const struct sim *s, const struct sim_coordinator *c) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < s->txn_count; i++) {
    count += c->disk.table[i].used && c->disk.table[i].image.ended_ms == 0;
  }
  return count;
}

/* The batch is on the disk. */
static void write_batch(struct sim *s, struct sim_coordinator *c, struct sim_batch *batch) {
  if (batch->position == 0) return;
  uint32_t before = sim_c_open_rows(s, c);
  for (uint32_t i = 0; batch->count > 0 && i < s->txn_count; i++) {
    if (!batch->rows[i].used) continue;
    enum vow_txn_state state = batch->rows[i].image.state;
    set_row(&c->disk.table[i], &batch->rows[i].image);
    batch->rows[i].used = false;
    if (batch->reconciles) s->txns[i].committed = false; /* that decision was lost for good */
    s->txns[i].committed |= state == VOW_TXN_COMMITTING || state == VOW_TXN_COMMITTED;
    s->txns[i].dirty = true;
  }
  if (batch->position > c->disk.position) c->disk.position = batch->position;
  if (vow_id_compare(batch->ceiling, c->disk.ceiling) > 0) c->disk.ceiling = batch->ceiling;
  c->disk.quarantined |= batch->quarantine;
  if (batch->quarantine) c->disk.seen = batch->seen;
  if (!batch->reconciles) sim_check_open(s, c, before, sim_c_open_rows(s, c));
  if (batch->leaves) sim_c_leave_quarantine(s, c, batch);
  drop_batch(s, batch);
  purge(s, c);
}

const struct vow_txn *sim_c_row(const struct sim *s, uint32_t txn) {
  const struct sim_row *row = &s->c[s->txns[txn].coordinator].disk.table[txn];
  return row->used ? &row->image : NULL;
}

/* Ids are above the time at which the log was made: older ones are not of this log. */
void sim_c_create_log(struct sim *s, struct sim_coordinator *c) {
  c->created_ms = sim_wall_ms(s);
  if (s->mistake != SIM_MISTAKE_NO_FLOOR) c->disk.ceiling = vow_id_floor(c->created_ms, 0);
}

void sim_c_drop_rows(const struct sim *s, struct sim_row *rows) {
  for (uint32_t i = 0; i < s->txn_count; i++) {
    if (rows[i].used) vow_txn_fini(&rows[i].image);
    rows[i].used = false;
  }
}

void sim_c_drop_log(const struct sim *s, struct sim_coordinator *c) {
  sim_c_drop_rows(s, c->disk.table);
  sim_c_drop_rows(s, c->backup.table);
  drop_batch(s, &c->cached);
  drop_batch(s, &c->queue);
  drop_batch(s, &c->writing);
  drop_batch(s, &c->zombie);
}

/* ---- writing ---- */

static void sync_in(struct sim *s, struct sim_coordinator *c, uint64_t delay_ms) {
  if (s->now_ms + delay_ms >= c->sync_due_ms) return;
  c->sync_due_ms = s->now_ms + delay_ms;
  sim_at(s, delay_ms, SIM_C_SYNC, node_of(c))->life = c->life;
}

/* Nobody has said no yet. */
static bool hopes_to_commit(const struct vow_txn *image) {
  for (uint32_t i = 0; i < image->branch_count; i++) {
    if (image->branches[i].vote == VOW_VOTE_ABORT) return false;
  }
  return image->state == VOW_TXN_PREPARING && !image->delegated;
}

/* The log looks for no older row then (io/log_write.c). */
static void check_first(struct sim *s, const struct sim_coordinator *c, uint32_t txn) {
  bool had = c->disk.table[txn].used || c->writing.rows[txn].used || c->queue.rows[txn].used;
  sim_check(s, !had, SIM_CONTRACT, "t%u has a record before its first", txn);
}

static void append_image(struct sim *s, struct sim_coordinator *c,
                         const struct vow_action *action) {
  const struct vow_txn *image = action->u.log.txn;
  struct sim_batch *queue = &c->queue;

  sim_see(s, c, image);
  uint32_t txn = sim_txn_of(s, image->id);
  sim_check_decision(s, image);
  if (action->u.log.first) check_first(s, c, txn);
  sim_say(s, node_of(c), "log%s t%u %s%s", action->u.log.forced ? "!" : "", txn,
          vow_txn_state_name(image->state), image->ended_ms ? ", ended" : "");
  sim_check(s, image->history_count <= c->config.history_max, SIM_B1,
            "t%u has %u entries of history", txn, image->history_count);
  if (image->heuristic != VOW_HEURISTIC_NONE) sim_probe(s, SIM_PROBE_HEURISTIC);
  if (image->forgotten) sim_probe(s, SIM_PROBE_FORGOTTEN);
  queue->count++;
  const struct vow_txn *row = sim_c_row(s, txn);
  bool decides = image->state == VOW_TXN_COMMITTING;
  if (decides && (row == NULL || row->state != VOW_TXN_COMMITTING)) queue->decisions++;
  if (s->mistake == SIM_MISTAKE_KEY_LOST && image->state >= VOW_TXN_ABORTING &&
      image->idempotency_key != NULL && row == NULL) {
    return;
  }
  struct vow_txn copy = sim_image_copy(image);
  if (s->mistake == SIM_MISTAKE_DECIDE_EARLY && hopes_to_commit(image)) {
    copy.state = VOW_TXN_COMMITTING;
    sim_check_decision(s, &copy);
  }
  set_row(&queue->rows[txn], &copy);
}

void sim_c_append(struct sim *s, struct sim_coordinator *c, const struct vow_action *action) {
  sim_check(s, action->u.log.position == c->last_position + 1, SIM_CONTRACT,
            "a record's position does not follow the last");
  c->last_position = c->queue.position = action->u.log.position;
  c->queue.forced |= action->u.log.forced;
  if (action->u.log.record == VOW_RECORD_ID_CEILING) {
    c->queue.ceiling = action->u.log.ceiling;
  } else if (action->u.log.record == VOW_RECORD_QUARANTINE) {
    sim_say(s, node_of(c), "---- quarantine: %s has seen its log at %llu.%llu ----",
            action->u.log.by, (unsigned long long)action->u.log.seen.incarnation,
            (unsigned long long)action->u.log.seen.position);
    sim_check(s, c->restores > 0, SIM_PEACE,
              "c%u goes into quarantine, and its log has lost nothing", c->number);
    sim_probe(s, SIM_PROBE_WITNESSED);
    c->queue.quarantine = true;
    c->queue.seen = action->u.log.seen;
  } else {
    append_image(s, c, action);
  }
  if (!c->syncing) sync_in(s, c, action->u.log.forced ? sim_draw(s, 3) : c->lazy_ms);
}

/* Takes all that is queued. */
void sim_c_sync(struct sim *s, struct sim_coordinator *c) {
  c->sync_due_ms = UINT64_MAX;
  if (c->syncing || c->queue.position == 0) return;
  if (c->queue.count >= 4) sim_probe(s, SIM_PROBE_GROUP);
  if (c->queue.decisions >= 8) sim_probe(s, SIM_PROBE_EIGHT);
  merge(s, &c->writing, &c->queue);
  c->syncing = true;
  uint64_t sync_ms = 1 + sim_draw(s, c->sync_ms);
  if (sim_fault(s, SIM_FAULT_SLOW, 100)) sync_ms += sim_draw(s, 3000);
  sim_at(s, sync_ms, SIM_C_SYNCED, node_of(c))->life = c->life;
}

static void end_sync(struct sim *s, struct sim_coordinator *c) {
  c->syncing = false;
  if (c->cached.position != 0) {
    /* A mistake's log: nothing is safe behind what is not. */
    c->disk.position = c->writing.position;
    merge(s, &c->cached, &c->writing);
  } else {
    write_batch(s, c, &c->writing);
  }
  c->witness = (struct vow_log_position){c->disk.incarnation, c->disk.position};
}

void sim_c_synced(struct sim *s, struct sim_coordinator *c) {
  if (sim_fault(s, SIM_FAULT_SYNC_C, 30)) {
    sim_c_crash(s, c, SIM_FAILED_SYNC);
    return;
  }
  struct vow_event event = {.type = VOW_EVENT_DURABLE, .u.position = c->writing.position};
  end_sync(s, c);
  if (event.u.position > c->told_durable) {
    c->told_durable = event.u.position;
    uint32_t life = c->life;
    sim_c_step(s, c, &event);
    if (c->life != life) return;
  }
  if (c->queue.position != 0) sync_in(s, c, c->queue.forced ? sim_draw(s, 3) : c->lazy_ms);
}

/* ---- a reconciliation ---- */

/* What coordinator/io/log_reconcile.c writes, in one transaction. */
void sim_c_reconcile(struct sim *s, struct sim_coordinator *c,
                     const struct vow_log_reconciled *written) {
  struct sim_batch *batch = &c->writing;
  batch->position = c->disk.position + written->count;
  batch->count = written->count;
  batch->reconciles = true;
  for (uint32_t i = 0; i < written->count; i++) {
    if (s->mistake == SIM_MISTAKE_HALF && i % 2 == 0) continue;
    struct vow_txn copy = sim_image_copy(&written->txns[i]);
    set_row(&batch->rows[sim_txn_of(s, copy.id)], &copy);
  }
  if (written->leave) {
    sim_c_plan_leaving(s, c, written);
  } else if (written->suspected != NULL) {
    batch->quarantine = true;
    batch->seen = written->seen;
  }
  c->syncing = true;
}

void sim_c_reconciled(struct sim *s, struct sim_coordinator *c) {
  if (c->writing.leaves) sim_probe(s, SIM_PROBE_RECONCILED);
  if (!c->writing.leaves && !c->writing.quarantine) sim_probe(s, SIM_PROBE_AGAIN);
  end_sync(s, c);
}

/* ---- dying, and coming back ---- */

/* Taken for lost now, it shows at the next start but one. */
static void keep_as_zombie(const struct sim *s, struct sim_coordinator *c) {
  struct vow_id ceiling = c->writing.ceiling;
  if (vow_id_compare(ceiling, c->disk.ceiling) > 0) c->disk.ceiling = ceiling;
  if (c->writing.position > c->disk.position) c->disk.position = c->writing.position;
  merge(s, &c->zombie, &c->writing);
}

static void lose_writing(struct sim *s, struct sim_coordinator *c, enum sim_death death,
                         bool keep) {
  if (death == SIM_POWER_CUT) {
    sim_probe(s, keep ? SIM_PROBE_POWER_KEPT : SIM_PROBE_TORN);
    if (keep) write_batch(s, c, &c->writing);
  } else if (keep) {
    merge(s, &c->cached, &c->writing);
  }
}

void sim_c_lose_log(struct sim *s, struct sim_coordinator *c, enum sim_death death, bool keep) {
  write_batch(s, c, &c->zombie);
  if (c->cached.position != 0 && death == SIM_POWER_CUT) {
    if (!keep) sim_probe(s, SIM_PROBE_CACHE_LOST);
    if (keep) write_batch(s, c, &c->cached);
    drop_batch(s, &c->cached);
  }
  if (s->mistake == SIM_MISTAKE_SYNC_IS_ABORT && c->syncing) {
    keep_as_zombie(s, c);
  } else if (c->syncing) {
    lose_writing(s, c, death, keep);
  }
  drop_batch(s, &c->writing);
  drop_batch(s, &c->queue);
  c->syncing = false;
  c->sync_due_ms = UINT64_MAX;
}

bool sim_c_settle(struct sim *s, struct sim_coordinator *c) {
  if (c->cached.position == 0) return true;
  if (s->mistake == SIM_MISTAKE_NO_SETTLE) {
    c->disk.position = c->cached.position;
    if (vow_id_compare(c->cached.ceiling, c->disk.ceiling) > 0) c->disk.ceiling = c->cached.ceiling;
    return true;
  }
  if (sim_fault(s, SIM_FAULT_SYNC_C, 200)) {
    sim_say(s, node_of(c), "---- it cannot sync its log, and ends ----");
    sim_probe(s, SIM_PROBE_SETTLE_FAILED);
    return false;
  }
  write_batch(s, c, &c->cached);
  return true;
}
