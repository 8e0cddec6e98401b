/*
 * The coordinator's log: a row a transaction, one database transaction for all that is queued, one
 * sync. A crash keeps the transaction that was being written as a whole, or not at all; what was
 * still queued is gone. A COMMIT that failed ends the process, and may have happened all the same.
 */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

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
    image.branches[i].url = copy_text(from->branches[i].url);
    image.branches[i].payload = NULL;
    image.branches[i].payload_bytes = 0;
    image.branches[i].last_error = copy_text(from->branches[i].last_error);
  }
  return image;
}

static void set_row(struct sim_row *row, struct vow_txn *image) {
  if (row->used) vow_txn_fini(&row->image);
  row->used = true;
  row->image = *image;
}

static void drop_rows(struct sim *s, struct sim_batch *batch) {
  for (uint32_t i = 0; i < s->txn_count; i++) {
    if (batch->rows[i].used) vow_txn_fini(&batch->rows[i].image);
    batch->rows[i].used = false;
  }
  batch->count = 0;
  batch->position = 0;
  batch->forced = false;
  batch->ceiling = (struct vow_id){{0}};
}

/* The batch is on the disk. */
static void write_batch(struct sim *s, struct sim_batch *batch) {
  for (uint32_t i = 0; i < s->txn_count; i++) {
    if (!batch->rows[i].used) continue;
    set_row(&s->c.table[i], &batch->rows[i].image);
    batch->rows[i].used = false;
  }
  if (batch->position > s->c.position) s->c.position = batch->position;
  if (vow_id_compare(batch->ceiling, s->c.ceiling) > 0) s->c.ceiling = batch->ceiling;
  drop_rows(s, batch);
}

const struct vow_txn *sim_c_row(const struct sim *s, uint32_t txn) {
  return s->c.table[txn].used ? &s->c.table[txn].image : NULL;
}

/* ---- writing ---- */

static void sync_in(struct sim *s, uint64_t delay_ms) {
  if (s->now_ms + delay_ms >= s->c.sync_due_ms) return;
  s->c.sync_due_ms = s->now_ms + delay_ms;
  sim_at(s, delay_ms, SIM_C_SYNC, SIM_COORDINATOR)->life = s->c.life;
}

void sim_c_append(struct sim *s, const struct vow_action *action) {
  struct sim_batch *queue = &s->c.queue;
  sim_check(s, action->u.log.position == s->c.last_position + 1, "contract",
            "a record's position does not follow the last");
  s->c.last_position = queue->position = action->u.log.position;
  queue->forced |= action->u.log.forced;
  if (action->u.log.record == VOW_RECORD_ID_CEILING) {
    queue->ceiling = action->u.log.ceiling;
  } else {
    const struct vow_txn *image = action->u.log.txn;
    uint32_t txn = sim_txn_of(s, image->id);
    sim_see(s, image);
    sim_check_decision(s, image);
    sim_say(s, SIM_COORDINATOR, "log%s t%u %s%s", action->u.log.forced ? "!" : "", txn,
            vow_txn_state_name(image->state), image->ended_ms ? ", ended" : "");
    bool lost = s->mutant == SIM_MUTANT_KEY_LOST && image->state >= VOW_TXN_ABORTING &&
                image->idempotency_key != NULL && sim_c_row(s, txn) == NULL;
    struct vow_txn copy = sim_image_copy(image);
    if (lost) {
      vow_txn_fini(&copy);
    } else {
      set_row(&queue->rows[txn], &copy);
    }
    queue->count++;
    if (image->heuristic != VOW_HEURISTIC_NONE) sim_probe(s, SIM_PROBE_HEURISTIC);
    if (image->forgotten) sim_probe(s, SIM_PROBE_FORGOTTEN);
  }
  if (!s->c.syncing) sync_in(s, action->u.log.forced ? sim_draw(s, 3) : s->c.lazy_ms);
}

/* Takes all that is queued. */
void sim_c_sync(struct sim *s) {
  s->c.sync_due_ms = UINT64_MAX;
  if (s->c.syncing || s->c.queue.position == 0) return;
  if (s->c.queue.count >= 4) sim_probe(s, SIM_PROBE_GROUP);
  for (uint32_t i = 0; i < s->txn_count; i++) {
    s->c.writing.rows[i] = s->c.queue.rows[i];
    s->c.queue.rows[i].used = false;
  }
  s->c.writing.position = s->c.queue.position;
  s->c.writing.ceiling = s->c.queue.ceiling;
  s->c.writing.forced = s->c.queue.forced;
  s->c.queue.count = 0;
  s->c.queue.position = 0;
  s->c.queue.forced = false;
  s->c.queue.ceiling = (struct vow_id){{0}};
  s->c.syncing = true;
  uint64_t sync_ms = 1 + sim_draw(s, 6);
  if (sim_fault(s, SIM_FAULT_SLOW, 100)) sync_ms += sim_draw(s, 3000);
  sim_at(s, sync_ms, SIM_C_SYNCED, SIM_COORDINATOR)->life = s->c.life;
}

void sim_c_synced(struct sim *s) {
  if (sim_fault(s, SIM_FAULT_SYNC_C, 30)) {
    sim_c_crash(s, true);
    return;
  }
  struct vow_event event = {.type = VOW_EVENT_DURABLE, .u.position = s->c.writing.position};
  s->c.syncing = false;
  write_batch(s, &s->c.writing);
  if (event.u.position > s->c.told_durable) {
    s->c.told_durable = event.u.position;
    uint32_t life = s->c.life;
    sim_c_step(s, &event);
    if (s->c.life != life) return;
  }
  if (s->c.queue.position != 0) sync_in(s, s->c.queue.forced ? sim_draw(s, 3) : s->c.lazy_ms);
}

void sim_c_lose_log(struct sim *s, bool keep_writing) {
  write_batch(s, &s->c.zombie);
  if (s->mutant == SIM_MUTANT_SYNC_IS_ABORT && s->c.syncing) {
    /* Taken for lost now, it shows at the next start. */
    for (uint32_t i = 0; i < s->txn_count; i++) {
      s->c.zombie.rows[i] = s->c.writing.rows[i];
      s->c.writing.rows[i].used = false;
    }
    if (vow_id_compare(s->c.writing.ceiling, s->c.ceiling) > 0) {
      s->c.ceiling = s->c.writing.ceiling;
    }
    if (s->c.writing.position > s->c.position) s->c.position = s->c.writing.position;
    drop_rows(s, &s->c.writing);
  } else if (s->c.syncing && keep_writing) {
    write_batch(s, &s->c.writing);
  } else {
    drop_rows(s, &s->c.writing);
  }
  drop_rows(s, &s->c.queue);
  s->c.syncing = false;
  s->c.sync_due_ms = UINT64_MAX;
}
