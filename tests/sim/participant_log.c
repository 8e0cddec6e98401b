/*
 * A participant's vote log: jobs in order, one database transaction for all that are queued, one
 * sync. With `atomic` the callbacks run inside it, and work and record come and go together. A
 * transaction can be refused by the disk as a whole (then its records certainly are not there), or
 * its COMMIT fails and nobody knows: then the log is broken until the process starts again.
 */
#include <string.h>

#include "sim.h"

static int node_of(const struct sim_participant *p) {
  return SIM_PARTICIPANT + (int)p->number;
}

static void sync_in(struct sim *s, struct sim_participant *p, uint64_t delay_ms) {
  if (s->now_ms + delay_ms >= p->sync_due_ms) return;
  p->sync_due_ms = s->now_ms + delay_ms;
  sim_at(s, delay_ms, SIM_P_SYNC, node_of(p))->life = p->life;
}

/* A mistake says that it is durable while it is queued. */
static void tell_early(struct sim *s, struct sim_participant *p, const struct sim_job *job) {
  struct vow_pevent event = {.type = VOW_PEVENT_LOGGED,
                             .transaction = s->txns[job->txn].id,
                             .branch = job->branch,
                             .u.logged.position = job->position};
  sim_p_step(s, p, &event, NULL);
}

static bool lies(const struct sim *s, const struct sim_job *job) {
  if (job->type != SIM_JOB_RECORD || !job->forced) return false;
  if (s->mistake == SIM_MISTAKE_VOTE_FIRST) return job->record.kind == VOW_PRECORD_PREPARED;
  return s->mistake == SIM_MISTAKE_ACK_FIRST && job->record.kind == VOW_PRECORD_COMMITTED;
}

void sim_p_submit(struct sim *s, struct sim_participant *p, const struct sim_job *job) {
  if (p->queue.count == SIM_JOBS_MAX) {
    sim_fail(s, SIM_B1, "more jobs than p%u's log may have", p->number);
  }
  struct sim_job *queued = &p->queue.items[p->queue.count++];
  *queued = *job;
  queued->told_early = lies(s, job);
  if (!p->syncing) sync_in(s, p, job->forced ? sim_draw(s, 3) : 1000);
  if (queued->told_early) tell_early(s, p, job);
}

/* ---- inside the transaction ---- */

/* One callback of the resource; its savepoint is undone unless it did what it was asked. */
static void run_call(struct sim *s, struct sim_participant *p, struct sim_job *job) {
  struct vow_pevent event = {
      .type = VOW_PEVENT_FINISHED, .transaction = s->txns[job->txn].id, .branch = job->branch};
  enum vow_message_type call = job->call;
  int work = job->work;

  if (call == VOW_MESSAGE_PREPARE) {
    event.type = VOW_PEVENT_VOTED;
    event.u.voted.vote = sim_db_vote(s, job->txn, job->branch);
    if (event.u.voted.vote == VOW_VOTE_COMMIT) work = SIM_WORK_PREPARED;
  } else if (sim_fault(s, SIM_FAULT_CALLBACK, 200)) {
    event.u.finished.error = VOW_E_OVERLOADED;
    event.u.finished.reason = "not now";
  } else {
    work = call == VOW_MESSAGE_COMMIT ? SIM_WORK_COMMITTED : SIM_WORK_NONE;
  }
  sim_say(s, node_of(p), "calls %s for t%u/%u in the transaction", vow_message_type_name(call),
          job->txn, job->branch);
  job->type = SIM_JOB_NOTHING;
  job->position = 0;
  job->work = work;
  sim_p_step(s, p, &event, job);
}

static void move_jobs(struct sim_jobs *to, struct sim_jobs *from) {
  memcpy(to->items, from->items, from->count * sizeof *from->items);
  to->count = from->count;
  from->count = 0;
}

static void begin_commit(struct sim *s, struct sim_participant *p) {
  uint64_t sync_ms = 1 + sim_draw(s, 6);
  if (sim_fault(s, SIM_FAULT_SLOW, 60)) sync_ms += sim_draw(s, 3000);
  p->committing = true;
  sim_at(s, sync_ms, SIM_P_SYNCED, node_of(p))->life = p->life;
}

/* Those that are left of the transaction. What comes while one takes its time is queued behind it,
 * and written after its record. */
static void run_calls(struct sim *s, struct sim_participant *p) {
  uint32_t life = p->life;
  while (p->reached < p->writing.count) {
    if (p->writing.items[p->reached].type != SIM_JOB_CALL) {
      p->reached++;
    } else if (sim_fault(s, SIM_FAULT_LONG, 900)) {
      sim_at(s, sim_draw(s, 4000), SIM_P_CALLED, node_of(p))->life = life;
      return;
    } else {
      run_call(s, p, &p->writing.items[p->reached]);
      if (p->life != life) return;
    }
  }
  begin_commit(s, p);
}

void sim_p_sync(struct sim *s, struct sim_participant *p) {
  p->sync_due_ms = UINT64_MAX;
  if (p->syncing || p->broken || p->queue.count == 0) return;
  if (p->queue.count >= 4) sim_probe(s, SIM_PROBE_GROUP);
  move_jobs(&p->writing, &p->queue);
  p->syncing = true;
  p->reached = 0;
  run_calls(s, p);
}

void sim_p_called(struct sim *s, struct sim_participant *p) {
  uint32_t life = p->life;
  run_call(s, p, &p->writing.items[p->reached]);
  if (p->life == life) run_calls(s, p);
}

/* ---- the end of a transaction ---- */

static void change_work(struct sim *s, struct sim_participant *p, const struct sim_job *job) {
  enum sim_work before = p->work[job->txn][job->branch - 1];
  if (job->work < 0) return;
  if (job->work == SIM_WORK_NONE) {
    sim_db_abort(s, p, job->txn, job->branch);
    return;
  }
  /* In one phase both are in one transaction. */
  if (job->work == SIM_WORK_PREPARED || before == SIM_WORK_NONE) {
    bool one_phase = job->work == SIM_WORK_COMMITTED && s->txns[job->txn].one_phase;
    if (job->work == SIM_WORK_PREPARED || one_phase) sim_db_prepare(s, p, job->txn, job->branch);
  }
  if (job->work == SIM_WORK_COMMITTED) sim_db_commit(s, p, job->txn, job->branch);
}

/* A record replaces the row of its number, which is its branch's and nobody else's. */
static void check_row(struct sim *s, struct sim_participant *p, const struct sim_job *job) {
  sim_check(s, job->record.row > 0, SIM_CONTRACT, "p%u writes a record without a row", p->number);
  for (uint32_t t = 0; t < s->txn_count; t++) {
    for (uint32_t b = 0; b < s->txns[t].branch_count; b++) {
      bool own = t == job->txn && b + 1 == job->branch;
      bool same = p->log[t][b].kind != VOW_PRECORD_NONE && p->log[t][b].row == job->record.row;
      sim_check(s, own || !same, SIM_CONTRACT, "p%u writes t%u/%u over t%u/%u", p->number, job->txn,
                job->branch, t, b + 1);
    }
  }
}

static void delete_row(struct sim *s, struct sim_participant *p, uint64_t row) {
  for (uint32_t t = 0; t < s->txn_count; t++) {
    for (uint32_t b = 0; b < s->txns[t].branch_count; b++) {
      if (p->log[t][b].row != row) continue;
      struct vow_id *purged = &p->purged[s->txns[t].coordinator];
      if (vow_id_compare(*purged, s->txns[t].id) < 0) *purged = s->txns[t].id;
      p->log[t][b] = (struct sim_record){.kind = VOW_PRECORD_NONE};
    }
  }
}

/* P4: for each tombstone that went a watermark stands on the disk. */
static void check_purged(struct sim *s, const struct sim_participant *p) {
  for (uint32_t i = 0; i < s->coordinator_count; i++) {
    bool none = vow_id_is_nil(p->purged[i]);
    sim_check(s, none || vow_id_compare(p->purged[i], p->watermark[i]) < 0, SIM_P4,
              "p%u has purged a tombstone of c%u, and no watermark stands in for it", p->number, i);
  }
}

/* One that was queued while a callback ran may be older than that of the callback's record. */
static void raise_watermark(const struct sim *s, struct sim_participant *p,
                            const struct sim_job *job) {
  struct vow_id *watermark = &p->watermark[job->purge_of];
  bool back = vow_id_compare(job->purge_below, *watermark) < 0;
  if (!back || s->mistake == SIM_MISTAKE_WATERMARK_BACK) *watermark = job->purge_below;
}

/* The same of what was seen of the coordinator's log. */
static void raise_seen(const struct sim *s, struct sim_participant *p, const struct sim_job *job) {
  struct vow_log_position *seen = &p->seen[job->purge_of];
  struct vow_log_position *newest = &p->seen_newest[job->purge_of];
  if (job->seen.incarnation == 0) return;
  bool back = vow_log_position_compare(job->seen, *seen) < 0;
  if (!back || s->mistake == SIM_MISTAKE_SEEN_BACK) *seen = job->seen;
  if (vow_log_position_compare(job->seen, *newest) > 0) *newest = job->seen;
}

/* P10: the highest that was ever written stands on the disk. */
static void check_seen(struct sim *s, const struct sim_participant *p) {
  for (uint32_t i = 0; i < s->coordinator_count; i++) {
    sim_check(s, vow_log_position_compare(p->seen[i], p->seen_newest[i]) == 0, SIM_P10,
              "p%u keeps less than it has seen of the log of c%u", p->number, i);
  }
}

static void write_all(struct sim *s, struct sim_participant *p) {
  for (uint32_t i = 0; i < p->writing.count; i++) {
    struct sim_job *job = &p->writing.items[i];
    job->written = job->type == SIM_JOB_RECORD || job->type == SIM_JOB_WATERMARK;
    if (job->type == SIM_JOB_WATERMARK && s->mistake != SIM_MISTAKE_MEMORY_ONLY) {
      raise_watermark(s, p, job);
    }
    if (job->type != SIM_JOB_RECORD) continue;
    check_row(s, p, job);
    p->log[job->txn][job->branch - 1] = job->record;
    s->txns[job->txn].dirty = true;
    raise_seen(s, p, job);
    if (p->config.atomic) change_work(s, p, job);
    if (job->purge_count == 0) continue;
    raise_watermark(s, p, job);
    for (uint32_t k = 0; k < job->purge_count; k++) delete_row(s, p, job->purge[k]);
  }
  check_purged(s, p);
  check_seen(s, p);
}

static void report(struct sim *s, struct sim_participant *p) {
  uint32_t life = p->life, count = p->writing.count;
  p->writing.count = 0;
  p->syncing = p->committing = false;
  /* Nothing is written before this is done: what these steps queue waits. */
  for (uint32_t i = 0; i < count && p->life == life; i++) {
    const struct sim_job *job = &p->writing.items[i];
    struct vow_pevent event = {.type = job->written ? VOW_PEVENT_LOGGED : VOW_PEVENT_NOT_LOGGED,
                               .branch = job->branch};
    bool waits = job->type == SIM_JOB_RECORD || job->type == SIM_JOB_WATERMARK;
    if (!waits || !job->forced || job->told_early) continue;
    if (job->type == SIM_JOB_RECORD) event.transaction = s->txns[job->txn].id;
    event.u.logged.position = job->position;
    event.u.logged.error = job->written ? VOW_OK : VOW_E_LOG_FULL;
    event.u.logged.why = "the disk is full";
    sim_p_step(s, p, &event, NULL);
  }
  if (p->life == life && p->queue.count > 0) sync_in(s, p, sim_draw(s, 3));
}

/* Everybody who waits is told an error; nothing more is heard until the process is started again.
 */
static void fail_log(struct sim *s, struct sim_participant *p) {
  sim_say(s, node_of(p), "---- its COMMIT failed: it stops answering ----");
  p->broken = true;
  sim_at(s, 1 + sim_draw(s, 4000), SIM_P_START, node_of(p))->life = p->life;
  for (uint32_t i = 0; i < SIM_REQUESTS_MAX; i++) {
    if (!p->requests[i].open) continue;
    p->requests[i].open = false;
    if (p->requests[i].type == 0) continue;
    sim_send_reply(s, &p->requests[i], &(struct sim_reply){.kind = VOW_REPLY_BRANCH_FAILED});
  }
}

void sim_p_synced(struct sim *s, struct sim_participant *p) {
  if (sim_fault(s, SIM_FAULT_SYNC_P, 30)) {
    fail_log(s, p);
    return; /* still `syncing`: whether it is there, the next start tells */
  }
  if (sim_fault(s, SIM_FAULT_FULL_P, 60)) {
    sim_say(s, node_of(p), "the disk is full: nothing was written");
  } else {
    write_all(s, p);
  }
  report(s, p);
}

void sim_p_lose_log(struct sim *s, struct sim_participant *p, bool keep) {
  if (p->committing && keep) write_all(s, p);
  p->syncing = p->committing = false;
  p->writing.count = 0;
  p->queue.count = 0;
}
