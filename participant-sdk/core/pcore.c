/*
 * See pcore.h: takes the events, finds the branch each is for, and keeps the books around it. A
 * branch that waits for something is in the heap `due`, by time; a tombstone is in the heap of its
 * coordinator, by id, from which the watermark takes it; every other branch is in none.
 */
#include "pcore.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "pcore_internal.h"

#define BUCKETS_FIRST 256

static bool due_before(const struct vow_pbranch *a, const struct vow_pbranch *b) {
  return a->due_ms < b->due_ms;
}

enum vow_error vow_pcore_new(struct vow_pcore **out, const struct vow_pconfig *config) {
  struct vow_pcore *core = calloc(1, sizeof *core);
  if (!core) return VOW_E_NO_MEMORY;
  core->buckets = calloc(BUCKETS_FIRST, sizeof(struct vow_pbranch *));
  if (!core->buckets) {
    free(core);
    return VOW_E_NO_MEMORY;
  }
  core->bucket_count = BUCKETS_FIRST;
  core->config = *config;
  core->due.before = due_before;
  *out = core;
  return VOW_OK;
}

void vow_pcore_free(struct vow_pcore *core) {
  if (!core) return;
  vow_ptable_free(core);
  free(core);
}

/* ---- books ---- */

/* One phase in one database transaction is among them until it has committed: where its commit
 * callback fails it votes after all. */
static bool is_preparing(const struct vow_pbranch *b) {
  return b->state == VOW_PBRANCH_INTENT_WRITING || b->state == VOW_PBRANCH_PREPARING ||
         b->state == VOW_PBRANCH_VOTE_WRITING ||
         (b->state == VOW_PBRANCH_COMMITTING && b->durable == VOW_PRECORD_NONE);
}

/* Takes a branch out of the gauges before a step (sign -1), and puts it back after it (+1). */
static void count(struct vow_pcore *core, const struct vow_pbranch *b, int sign) {
  if (b->state == VOW_PBRANCH_NONE) return;
  uint64_t one = (uint64_t)(int64_t)sign;
  if (vow_pbranch_is_tombstone(b)) {
    core->counts.tombstones += one;
  } else if (b->state == VOW_PBRANCH_HEURISTIC) {
    core->counts.heuristics += one;
  } else {
    core->counts.unfinished += one;
  }
  if (is_preparing(b)) core->counts.preparing += one;
  if (vow_pbranch_in_doubt(b)) core->counts.in_doubt += one;
}

static void count_end(struct vow_pcore *core, const struct vow_pbranch *b) {
  if (b->state == VOW_PBRANCH_COMMITTED) core->counts.committed++;
  if (b->state == VOW_PBRANCH_ABORTED) core->counts.aborted++;
  if (b->state == VOW_PBRANCH_HEURISTIC) core->counts.heuristic++;
}

static struct vow_pheap *heap_of(struct vow_pcore *core, struct vow_pbranch *b) {
  switch (b->heap) {
    case HEAP_DUE:
      return &core->due;
    case HEAP_TOMBSTONES:
      return &b->coordinator->tombstones;
    default:
      return NULL;
  }
}

static void take_out(struct vow_pcore *core, struct vow_pbranch *b) {
  struct vow_pheap *heap = heap_of(core, b);
  if (heap) vow_pheap_remove(heap, b);
  b->heap = HEAP_NONE;
}

static void put_back(struct vow_pcore *core, struct vow_pbranch *b) {
  if (vow_pbranch_waits(b)) {
    b->heap = HEAP_DUE;
  } else if (vow_pbranch_is_tombstone(b)) {
    b->heap = HEAP_TOMBSTONES;
  }
  struct vow_pheap *heap = heap_of(core, b);
  if (heap) vow_pheap_push(heap, b);
}

/* Between begin() and end() a branch may change in every way. */
static void begin(struct vow_pcore *core, struct vow_pbranch *b) {
  count(core, b, -1);
  take_out(core, b);
}

/* It ends only now: a watermark that has passed it before came from a log that had lost it. It
 * stays until one that comes later passes it (P11). */
static void outlive_watermark(const struct vow_pbranch *b) {
  struct vow_pcoordinator *c = b->coordinator;
  if (!vow_pbranch_is_tombstone(b)) return;
  if (vow_id_compare(b->transaction, c->over_below) < 0) c->over_below = b->transaction;
}

static void end(struct vow_pcore *core, struct vow_pbranch *b, uint8_t state_before) {
  if (b->state == VOW_PBRANCH_NONE) {
    vow_ptable_drop(core, b);
    return;
  }
  if (vow_pbranch_is_ended(b)) vow_ptable_free_live(b);
  if (b->state != state_before) {
    count_end(core, b);
    outlive_watermark(b);
  }
  count(core, b, 1);
  put_back(core, b);
}

/* A tombstone that the watermark has passed; NULL: none. The newest watermark counts, which after a
 * reconciliation may be below the highest: what was reconciled is open again. */
static struct vow_pbranch *purgeable(const struct vow_pcoordinator *coordinator) {
  struct vow_pbranch *b = coordinator ? vow_pheap_top(&coordinator->tombstones) : NULL;
  return b && vow_id_compare(b->transaction, coordinator->over_below) < 0 ? b : NULL;
}

/* A purge costs as much as the record it rides on, however few it takes, so they gather first, if
 * there is room for them. Those left behind by a full one need not. */
static bool is_purge_due(const struct vow_pcore *core, const struct vow_pcoordinator *coordinator) {
  bool gathered = coordinator->unpurged >= core->config.purge_every;
  return gathered || core->counts.tombstones >= core->config.tombstones_max;
}

/* A few of them, with a record that is written anyway. */
static void purge(struct vow_pcore *core, struct vow_pcoordinator *coordinator, uint64_t position) {
  uint32_t n = 0;
  coordinator->unpurged++;
  if (!is_purge_due(core, coordinator)) return;
  while (n < VOW_PCORE_PURGE_MAX) {
    struct vow_pbranch *b = purgeable(coordinator);
    if (!b) break;
    core->purged[n++] = b->row;
    begin(core, b);
    vow_ptable_drop(core, b);
  }
  if (n < VOW_PCORE_PURGE_MAX) coordinator->unpurged = 0;
  if (n == 0) return;
  assert(core->step.count < core->step.capacity);
  struct vow_paction *action = &core->step.actions[core->step.count++];
  *action = (struct vow_paction){.type = VOW_PACTION_PURGE};
  action->u.purge.coordinator = coordinator->url;
  action->u.purge.finished_below = coordinator->finished_below;
  action->u.purge.rows = core->purged;
  action->u.purge.count = n;
  vow_psave_ride(coordinator, position);
}

/* What was seen of the coordinator's log is kept with what is written anyway. Should that write
 * fail, a later one brings more. */
static void complete_record(struct vow_pcoordinator *coordinator, struct vow_paction *action) {
  action->u.log.record.coordinator = coordinator->url;
  if (vow_log_position_compare(coordinator->seen, coordinator->seen_logged) <= 0) return;
  action->u.log.seen = coordinator->seen;
  coordinator->seen_logged = coordinator->seen;
}

/* Names the coordinator in the records of this step and what was seen of it in the replies, and
 * lets a purge ride along. NULL: it was never heard of. */
static void complete(struct vow_pcore *core, struct vow_pcoordinator *coordinator) {
  uint64_t forced = 0;
  if (!coordinator) return;
  for (uint32_t i = 0; i < core->step.count; i++) {
    struct vow_paction *action = &core->step.actions[i];
    if (action->type == VOW_PACTION_REPLY) action->u.reply.seen = coordinator->seen;
    if (action->type != VOW_PACTION_LOG) continue;
    complete_record(coordinator, action);
    if (action->u.log.forced) forced = action->u.log.position;
  }
  if (forced != 0) purge(core, coordinator, forced);
}

void vow_pcore_reply_error(struct vow_pcore *core, uint64_t token, enum vow_message_type type,
                           enum vow_error error, const char *detail) {
  struct vow_paction *action = &core->step.actions[core->step.count++];
  *action = (struct vow_paction){.type = VOW_PACTION_REPLY};
  action->u.reply.token = token;
  action->u.reply.type = type;
  action->u.reply.error = error;
  action->u.reply.detail = detail;
}

/* ---- messages ---- */

/* What keeps a branch nobody knows from being taken in; VOW_OK: nothing. Tombstones that can be
 * purged are no obstacle: the records of the new branch will take them along. An abort has room of
 * its own: were it refused for the tombstones, they would wait for it, and it for them. */
static enum vow_error limits(const struct vow_pcore *core, const struct vow_pcoordinator *c,
                             enum vow_message_type type, const char **detail) {
  const struct vow_pconfig *config = &core->config;
  uint64_t extra = type == VOW_MESSAGE_ABORT ? VOW_PCORE_ABORTS_EXTRA : 0;
  if (core->counts.unfinished >= config->branches_max + extra) {
    *detail = "the limit of unfinished branches is reached";
  } else if (core->counts.tombstones >= config->tombstones_max + extra && !purgeable(c)) {
    *detail = "too many finished branches wait until their coordinator has moved on";
  } else if (type == VOW_MESSAGE_PREPARE && core->counts.preparing >= config->preparing_max) {
    *detail = "too many branches wait for their prepare callback";
  } else {
    return VOW_OK;
  }
  return VOW_E_OVERLOADED;
}

static void pass(struct vow_pcoordinator *c, struct vow_id below) {
  c->over_below = below;
  if (vow_id_compare(c->finished_below, below) < 0) c->finished_below = below;
}

static enum vow_error meet_coordinator(struct vow_pcore *core, const struct vow_message *message,
                                       bool stale, struct vow_pcoordinator **out,
                                       const char **detail) {
  if (!*out && core->coordinator_count >= core->config.coordinators_max) {
    *detail = "too many coordinators: name those that may coordinate (coordinator_allow)";
    return VOW_E_OVERLOADED;
  }
  if (!*out && vow_ptable_add_coordinator(core, message->coordinator, out)) return VOW_E_NO_MEMORY;
  if (!stale) pass(*out, message->finished_below);
  return VOW_OK;
}

static struct vow_pbranch *take_in(struct vow_pcore *core, const struct vow_message *message,
                                   bool stale, struct vow_pcoordinator *coordinator,
                                   uint64_t token) {
  const char *detail = NULL;
  struct vow_pbranch *b = NULL;
  enum vow_error error = limits(core, coordinator, message->type, &detail);
  if (!error) error = meet_coordinator(core, message, stale, &coordinator, &detail);
  if (!error) {
    struct vow_precord record = {.transaction = message->transaction,
                                 .branch = message->branch,
                                 .payload = message->payload,
                                 .payload_bytes = message->payload_bytes};
    error = vow_ptable_add(core, coordinator, &record, &b);
  }
  if (error) vow_pcore_reply_error(core, token, message->type, error, detail);
  return b;
}

/* A later start of the coordinator is behind what an earlier one has told: its log has lost
 * records. Within one start a lower position is only an older message. */
static bool is_behind(const struct vow_pcoordinator *c, const struct vow_message *message) {
  return message->log.incarnation > c->seen.incarnation && message->log.position < c->seen.position;
}

/* A log that lags behind what was seen of it says nothing about what is over: an older message, or
 * a log that has lost records. The watermark of one that did not lag has been taken already. */
static bool is_stale(const struct vow_pcoordinator *c, const struct vow_message *message) {
  if (message->log_ask) return true; /* the coordinator has not heard yet what was seen of it */
  if (!c || message->log.incarnation == 0) return false;
  return is_behind(c, message) || vow_log_position_compare(message->log, c->seen) < 0;
}

/* Before the first reply of this start the coordinator asks: it has to hear of what was seen first,
 * and may not hear this reply. */
static void see(struct vow_pcoordinator *c, const struct vow_message *message) {
  if (!c || is_stale(c, message)) return;
  if (vow_log_position_compare(message->log, c->seen) > 0) c->seen = message->log;
}

/* Returns whom the branch's records name; NULL: nobody, for there is no branch. */
static struct vow_pcoordinator *take_message(struct vow_pcore *core, const struct vow_pevent *event,
                                             struct vow_pcoordinator *c, bool stale) {
  const struct vow_message *message = event->u.message.message;
  struct vow_pwaiter waiter = {
      .token = event->u.message.token, .type = message->type, .one_phase = message->one_phase};
  struct vow_id below = message->finished_below;
  if (c && !stale) pass(c, below);
  if (c) below = c->finished_below;

  struct vow_pbranch *b = vow_ptable_find(core, message->transaction, message->branch);
  if (!b) {
    bool over = vow_id_compare(message->transaction, below) < 0;
    if (c && over && vow_psave_holds(core, c, message->transaction, &waiter)) return NULL;
    if (vow_pbranch_unknown(&core->step, &waiter, over, event->u.message.refused)) return NULL;
    b = take_in(core, message, stale, c, waiter.token);
    if (!b) return NULL;
  }
  if (vow_pbranch_needs_live(b, waiter.type) && vow_ptable_make_live(b, NULL, 0)) {
    vow_pcore_reply_error(core, waiter.token, waiter.type, VOW_E_NO_MEMORY, NULL);
    return NULL;
  }
  uint8_t before = b->state;
  begin(core, b);
  /* A coordinator that came back under another address is asked there. */
  if (c) vow_ptable_adopt(b, c);
  vow_pbranch_message(b, &core->step, &waiter);
  struct vow_pcoordinator *coordinator = b->coordinator;
  end(core, b, before);
  return coordinator;
}

static void on_message(struct vow_pcore *core, const struct vow_pevent *event) {
  const struct vow_message *message = event->u.message.message;
  struct vow_pcoordinator *c = vow_ptable_find_coordinator(core, message->coordinator);
  struct vow_pcoordinator *of_branch = NULL;
  bool stale = is_stale(c, message);
  /* A commit is told only of a decision that is durable, so it holds whatever else was lost. But
   * one of a branch that is not here any more has been acknowledged, and the log has lost that. */
  bool commit = message->type == VOW_MESSAGE_COMMIT &&
                vow_ptable_find(core, message->transaction, message->branch) != NULL;
  if (c && !commit && is_behind(c, message)) {
    vow_pcore_reply_error(
        core, event->u.message.token, message->type, VOW_E_LOG_BEHIND,
        "this participant has seen it further: nothing was done; see `vowctl status`");
  } else {
    see(c, message);
    of_branch = take_message(core, event, c, stale);
  }
  if (!c) {
    c = vow_ptable_find_coordinator(core, message->coordinator);
    see(c, message);
  }
  /* The branch of another coordinator, told by one that was never heard of: it keeps its own. */
  complete(core, c ? c : of_branch);
}

static void on_operate(struct vow_pcore *core, const struct vow_pevent *event) {
  struct vow_pbranch *b = vow_ptable_find(core, event->transaction, event->branch);
  if (!b) {
    vow_pcore_reply_error(core, event->u.operate.token, 0, VOW_E_UNKNOWN_BRANCH, NULL);
    return;
  }
  uint8_t before = b->state;
  begin(core, b);
  vow_pbranch_operate(b, &core->step, event->u.operate.token, event->u.operate.outcome);
  end(core, b, before);
  complete(core, b->coordinator);
}

/* ---- results ---- */

static enum vow_error apply(struct vow_pbranch *b, struct vow_pstep *step,
                            const struct vow_pevent *event) {
  switch (event->type) {
    case VOW_PEVENT_VOTED:
      return vow_pbranch_voted(b, step, event->u.voted.vote, event->u.voted.reason);
    case VOW_PEVENT_FINISHED:
      return vow_pbranch_finished(b, step, event->u.finished.error, event->u.finished.reason);
    case VOW_PEVENT_LOGGED:
      return vow_pbranch_logged(b, step, event->u.logged.position);
    case VOW_PEVENT_NOT_LOGGED:
      return vow_pbranch_not_logged(b, step, event->u.logged.position, event->u.logged.error,
                                    event->u.logged.why);
    default:
      return VOW_E_ILLEGAL_STATE;
  }
}

static enum vow_error on_result(struct vow_pcore *core, const struct vow_pevent *event) {
  struct vow_pcoordinator *saved = vow_psave_find(core, event);
  if (saved && saved->save.alone) {
    vow_psave_settle(core, saved, event);
    return VOW_OK;
  }
  struct vow_pbranch *b = vow_ptable_find(core, event->transaction, event->branch);
  if (!b || !b->live) return VOW_E_ILLEGAL_STATE;
  uint8_t before = b->state;
  struct vow_pcoordinator *coordinator = b->coordinator;
  begin(core, b);
  enum vow_error error = apply(b, &core->step, event);
  end(core, b, before);
  complete(core, coordinator);
  if (saved && !error) vow_psave_settle(core, saved, event);
  return error;
}

/* Has the log that answered judged all that was seen of it? It has what the question said, and what
 * was seen of this very start. Of another start something may have been seen since the question
 * left, by a late message, that this log has lost: positions do not show it once it has written
 * again (P11). */
static bool is_judged(const struct vow_pcoordinator *c, const struct vow_pevent *event) {
  return vow_log_position_compare(event->u.answer.told, c->seen) == 0 ||
         event->u.answer.log.incarnation == c->seen.incarnation;
}

static void on_answered(struct vow_pcore *core, const struct vow_pevent *event) {
  struct vow_pbranch *b = vow_ptable_find(core, event->transaction, event->branch);
  enum vow_inquiry_answer outcome = event->u.answer.outcome;
  if (!b) return;
  if (!is_judged(b->coordinator, event)) {
    if (outcome == VOW_INQUIRY_ABORTED) outcome = VOW_INQUIRY_UNKNOWN; /* it is asked again */
  } else if (vow_log_position_compare(event->u.answer.log, b->coordinator->seen) > 0) {
    b->coordinator->seen = event->u.answer.log;
  }
  b->coordinator->retry_ms = 0;
  b->coordinator->quiet_until_ms = 0;
  uint8_t before = b->state;
  begin(core, b);
  vow_pbranch_answered(b, &core->step, outcome);
  end(core, b, before);
}

static void on_ask_failed(struct vow_pcore *core, const struct vow_pevent *event) {
  struct vow_pcoordinator *c = vow_ptable_find_coordinator(core, event->u.coordinator.url);
  if (!c) return;
  uint32_t max_ms = core->config.inquiry_max_ms, last_ms = c->retry_ms;
  uint32_t next_ms = last_ms > max_ms / 2 ? max_ms : last_ms * 2;
  c->retry_ms = last_ms == 0 ? core->config.inquiry_min_ms : next_ms;
  c->quiet_until_ms =
      event->now_ms + c->retry_ms / 2 + event->random % ((uint64_t)c->retry_ms / 2 + 1);
}

static void on_tick(struct vow_pcore *core, const struct vow_pevent *event) {
  for (uint32_t n = 0; n < VOW_PCORE_TICK_MAX; n++) {
    struct vow_pbranch *b = vow_pheap_top(&core->due);
    if (!b || b->due_ms > event->now_ms) return;
    uint64_t quiet_until_ms = b->coordinator->quiet_until_ms;
    begin(core, b);
    if (b->state == VOW_PBRANCH_PREPARED && quiet_until_ms > event->now_ms) {
      b->due_ms = quiet_until_ms;
    } else {
      vow_pbranch_due(b, &core->step);
    }
    end(core, b, b->state);
  }
}

/* ---- start ---- */

static enum vow_error load_coordinator(struct vow_pcore *core, const char *url,
                                       struct vow_pcoordinator **out) {
  *out = vow_ptable_find_coordinator(core, url);
  return *out ? VOW_OK : vow_ptable_add_coordinator(core, url, out);
}

/* A purge that was lost with its transaction leaves a row, and the branch may have come again
 * since, from a coordinator that knows nothing of the watermark: the later row counts. That of the
 * tombstone is found, and purged, at a later start. */
static enum vow_error make_way(struct vow_pcore *core, const struct vow_precord *record) {
  struct vow_pbranch *b = vow_ptable_find(core, record->transaction, record->branch);
  if (!b) return VOW_OK;
  if (!vow_pbranch_is_tombstone(b) || b->row >= record->row) return VOW_E_LOG_CORRUPT;
  begin(core, b);
  vow_ptable_drop(core, b);
  return VOW_OK;
}

static enum vow_error on_load(struct vow_pcore *core, const struct vow_precord *record) {
  struct vow_pcoordinator *coordinator = NULL;
  struct vow_pbranch *b = NULL;
  enum vow_error error = make_way(core, record);
  if (!error) error = load_coordinator(core, record->coordinator, &coordinator);
  if (!error) error = vow_ptable_add(core, coordinator, record, &b);
  if (error) return error;
  if (core->row < record->row) core->row = record->row;
  vow_pbranch_load(b, &core->step, record->kind, record->outcome);
  end(core, b, b->state);
  return VOW_OK;
}

static enum vow_error on_load_coordinator(struct vow_pcore *core, const struct vow_pevent *event) {
  struct vow_pcoordinator *c = NULL;
  enum vow_error error = load_coordinator(core, event->u.coordinator.url, &c);
  if (error) return error;
  /* What is over it has to tell anew. */
  c->finished_below = c->saved_below = event->u.coordinator.finished_below;
  return VOW_OK;
}

static enum vow_error on_load_seen(struct vow_pcore *core, const struct vow_pevent *event) {
  struct vow_pcoordinator *c = NULL;
  enum vow_error error = load_coordinator(core, event->u.coordinator.url, &c);
  if (error) return error;
  c->seen = c->seen_logged = event->u.coordinator.seen;
  return VOW_OK;
}

/* ---- the step ---- */

static enum vow_error dispatch(struct vow_pcore *core, const struct vow_pevent *event) {
  switch (event->type) {
    case VOW_PEVENT_MESSAGE:
      on_message(core, event);
      return VOW_OK;
    case VOW_PEVENT_OPERATE:
      on_operate(core, event);
      return VOW_OK;
    case VOW_PEVENT_ANSWERED:
      on_answered(core, event);
      return VOW_OK;
    case VOW_PEVENT_ASK_FAILED:
      on_ask_failed(core, event);
      return VOW_OK;
    case VOW_PEVENT_TICK:
      on_tick(core, event);
      return VOW_OK;
    case VOW_PEVENT_LOAD:
      return on_load(core, event->u.load);
    case VOW_PEVENT_LOAD_COORDINATOR:
      return on_load_coordinator(core, event);
    case VOW_PEVENT_LOAD_SEEN:
      return on_load_seen(core, event);
    default:
      return on_result(core, event);
  }
}

enum vow_error vow_pcore_step(struct vow_pcore *core, const struct vow_pevent *event,
                              struct vow_pactions *actions) {
  core->step = (struct vow_pstep){
      .config = &core->config,
      .now_ms = event->now_ms,
      .random = event->random,
      .position = &core->position,
      .row = &core->row,
      .actions = core->actions,
      .capacity = ACTIONS_MAX,
  };
  enum vow_error error = dispatch(core, event);
  *actions = (struct vow_pactions){.items = core->actions, .count = core->step.count};
  return error;
}

/* ---- reading ---- */

uint64_t vow_pcore_next_deadline(const struct vow_pcore *core) {
  const struct vow_pbranch *b = vow_pheap_top(&core->due);
  return b ? b->due_ms : UINT64_MAX;
}

const struct vow_pbranch *vow_pcore_find(const struct vow_pcore *core, struct vow_id transaction,
                                         uint32_t branch) {
  return vow_ptable_find(core, transaction, branch);
}

const struct vow_pbranch *vow_pcore_next(const struct vow_pcore *core,
                                         const struct vow_pbranch *last) {
  return vow_ptable_next(core, last);
}

const struct vow_pbranch *vow_pcore_next_of(const struct vow_pcore *core, struct vow_id transaction,
                                            const struct vow_pbranch *last) {
  return vow_ptable_next_of(core, transaction, last);
}

struct vow_log_position vow_pcore_seen(const struct vow_pcore *core, const char *coordinator) {
  const struct vow_pcoordinator *c = vow_ptable_find_coordinator(core, coordinator);
  return c ? c->seen : (struct vow_log_position){0};
}

bool vow_pcore_coordinator_at(const struct vow_pcore *core, uint32_t index, const char **url,
                              struct vow_log_position *seen) {
  const struct vow_pcoordinator *c = core->coordinators;
  while (c && index-- > 0) c = c->next;
  if (!c) return false;
  *url = c->url;
  *seen = c->seen;
  return true;
}

struct vow_id vow_pcore_finished_below(const struct vow_pcore *core, const char *coordinator) {
  const struct vow_pcoordinator *c = vow_ptable_find_coordinator(core, coordinator);
  return c ? c->finished_below : (struct vow_id){{0}};
}

struct vow_id vow_pcore_newest(const struct vow_pcore *core, const char *coordinator) {
  const struct vow_pcoordinator *c = vow_ptable_find_coordinator(core, coordinator);
  return c ? c->newest : (struct vow_id){{0}};
}

const char *vow_pbranch_coordinator(const struct vow_pbranch *branch) {
  return branch->coordinator->url;
}

void vow_pcore_counts(const struct vow_pcore *core, struct vow_pcounts *out) {
  *out = core->counts;
}
