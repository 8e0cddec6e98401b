/*
 * The second half of a step: brings every touched transaction forward and emits the actions, in
 * this order: the id ceiling, then for each transaction its record, its answers and, when nobody
 * needs it any more, its end; then the messages of the endpoints that may send.
 *
 * Invariant: an action is emitted only when its `after` is durable. Whatever finds no memory stays
 * where it is and is emitted by a later step, which core.deferred asks for.
 */
#include <stdlib.h>

#include "core_internal.h"

static struct vow_action *add_action(struct vow_core *core) {
  if (core->action_count == core->action_capacity) {
    uint32_t capacity = core->action_capacity * 2;
    struct vow_action *actions = realloc(core->actions, capacity * sizeof(*actions));
    if (actions == NULL) return NULL;
    core->actions = actions;
    core->action_capacity = capacity;
  }
  return &core->actions[core->action_count++];
}

/* The first action of a step always fits. */
static struct vow_action *first_action(struct vow_core *core) {
  CORE_ASSERT(core->action_count == 0);
  core->action_count = 1;
  return core->actions;
}

void core_answer(struct vow_core *core, uint64_t token, enum vow_error error, const char *detail,
                 const struct core_txn *txn) {
  struct vow_action *action = first_action(core);

  *action = (struct vow_action){.type = VOW_ACTION_ANSWER};
  action->u.answer.token = token;
  action->u.answer.error = error;
  action->u.answer.detail = detail;
  action->u.answer.txn = txn == NULL ? NULL : &txn->image;
}

/* ---- records ---- */

/* Before anything else: no step that asks for a ceiling has answered before. */
static void emit_ceiling(struct vow_core *core) {
  if (!core->ceiling_wanted) return;
  struct vow_action *action = first_action(core);

  core->ceiling_wanted = false;
  core->ceiling_position = ++core->position;
  *action = (struct vow_action){.type = VOW_ACTION_LOG};
  action->u.log.record = VOW_RECORD_ID_CEILING;
  action->u.log.position = core->position;
  action->u.log.forced = core->ceiling_forced;
  action->u.log.ceiling = vow_id_floor(core->next_ceiling_ms, 0);
}

static bool emit_quarantine(struct vow_core *core) {
  if (!core->quarantine_wanted) return true;
  struct vow_action *action = add_action(core);
  if (action == NULL) return false;

  core->quarantine_wanted = false;
  *action = (struct vow_action){.type = VOW_ACTION_LOG};
  action->u.log.record = VOW_RECORD_QUARANTINE;
  action->u.log.position = ++core->position;
  action->u.log.forced = true;
  action->u.log.seen = core->seen;
  action->u.log.by = core->seen_by;
  return true;
}

/* Operators wait for the record of what they did. */
static void set_waiters_position(struct core_txn *txn) {
  for (struct core_list *link = txn->waiters.next; link != &txn->waiters; link = link->next) {
    struct core_waiter *waiter = core_container(link, struct core_waiter, link);
    if (waiter->position == CORE_NEXT_RECORD) waiter->position = txn->logged;
  }
}

static bool emit_record(struct vow_core *core, struct core_txn *txn) {
  if (txn->record == CORE_RECORD_NONE) return true;
  struct vow_action *action = add_action(core);
  if (action == NULL) return false;
  if (txn->ending) {
    core_list_remove(&txn->place);
    core->ending_count--;
    txn->ending = false;
  }
  txn->image.presumed = txn->presumed && txn->image.state == VOW_TXN_ABORTING;
  txn->logged = ++core->position;
  txn->record_ms = CORE_NEVER;
  core_rearm(core, txn);
  if (txn->record == CORE_RECORD_DECISION) txn->decided = txn->logged;
  if (!core_list_linked(&txn->place)) {
    txn->awaited = txn->logged;
    core_list_insert_before(&core->unsynced, &txn->place);
  }
  *action = (struct vow_action){.type = VOW_ACTION_LOG};
  action->u.log.record = VOW_RECORD_TXN;
  action->u.log.position = txn->logged;
  action->u.log.forced = txn->record >= CORE_RECORD_FORCED;
  action->u.log.first = !txn->recorded;
  action->u.log.txn = &txn->image;
  txn->recorded = true;
  txn->record = CORE_RECORD_NONE;
  set_waiters_position(txn);
  return true;
}

/* Those that waited for one another, once there are enough or it is time. */
static bool emit_ends(struct vow_core *core) {
  bool enough = core->ending_count >= core->config.ends_together;

  if (!enough && !core->ends_due && !core->draining) return true;
  while (!core_list_empty(&core->ending)) {
    struct core_txn *txn = core_container(core->ending.next, struct core_txn, place);
    txn->record = CORE_RECORD_LAZY;
    core->ends_due = true;
    if (!emit_record(core, txn)) return false;
  }
  core->ends_due = false;
  return true;
}

/* ---- answers ---- */

static bool emit_answers(struct vow_core *core, struct core_txn *txn) {
  struct core_list *link = txn->waiters.next;

  while (link != &txn->waiters) {
    struct core_waiter *waiter = core_container(link, struct core_waiter, link);
    struct vow_action answer;
    link = link->next;
    if (!core_waiter_answer(core, waiter, &answer)) continue;
    CORE_ASSERT(answer.after <= core->durable);
    struct vow_action *action = add_action(core);
    if (action == NULL) return false;
    *action = answer;
    core_waiter_end(core, waiter);
  }
  return true;
}

/* ---- messages ---- */

static void announce(struct vow_core *core, struct core_task *task, enum vow_message_type type) {
  static const char *const words[] = {[VOW_MESSAGE_PREPARE] = NULL,
                                      [VOW_MESSAGE_COMMIT] = "commit",
                                      [VOW_MESSAGE_ABORT] = "abort",
                                      [VOW_MESSAGE_FORGET] = "forget"};

  if (task->announced) return;
  task->announced = true;
  core_history(core, task->txn, core_branch(task)->number,
               type == VOW_MESSAGE_PREPARE ? VOW_HISTORY_PREPARE_SENT : VOW_HISTORY_DECISION_SENT,
               words[type]);
}

/* A request with room for so many messages; NULL when memory is short. */
static struct core_request *new_request(struct core_endpoint *endpoint, uint32_t room) {
  struct core_request *request = calloc(
      1, sizeof(*request) + room * (sizeof(struct core_task *) + sizeof(*request->messages)));

  if (request == NULL) return NULL;
  request->messages = (struct vow_action_message *)(void *)(request->tasks + room);
  request->endpoint = endpoint;
  request->epoch = endpoint->epoch;
  return request;
}

/* Moves the first task of the queue into the request. Returns the position its message depends on.
 */
static uint64_t take_task(struct vow_core *core, struct core_request *request) {
  struct core_task *task = core_container(request->endpoint->queue.next, struct core_task, link);
  struct core_txn *txn = task->txn;
  enum vow_message_type type;
  bool due = core_task_message(task, &type);
  CORE_ASSERT(due);

  core_task_stop(core, task);
  task->state = CORE_TASK_INFLIGHT;
  txn->inflight++;
  core_branch(task)->attempts++;
  announce(core, task, type);
  struct vow_action_message *message = &request->messages[request->count];
  *message =
      (struct vow_action_message){.txn = &txn->image, .branch = core_branch(task), .type = type};
  request->tasks[request->count++] = task;
  if (type == VOW_MESSAGE_PREPARE) {
    bool late = core->now_ms >= txn->deadline_ms;
    message->timeout_ms = late ? 1 : (uint32_t)(txn->deadline_ms - core->now_ms);
    message->one_phase = txn->image.delegated;
  }
  /* Nothing is decided yet where a prepare hands nothing over. */
  return type == VOW_MESSAGE_ABORT ? 0 : txn->decided;
}

static bool send(struct vow_core *core, struct core_endpoint *endpoint,
                 struct vow_id finished_below) {
  uint32_t count = core_endpoint_batch(endpoint);
  struct core_request *request = new_request(endpoint, count);
  if (request == NULL) return false;
  struct vow_action *action = add_action(core);
  if (action == NULL) {
    free(request);
    return false;
  }
  uint64_t after = 0;
  request->number = ++core->last_request;
  while (request->count < count) {
    uint64_t position = take_task(core, request);
    if (position > after) after = position;
  }
  CORE_ASSERT(after <= core->durable);
  core_tree_insert(&core->by_number, &request->number, &request->by_number);
  core_endpoint_sent(core, request);
  *action = (struct vow_action){.type = VOW_ACTION_SEND, .after = after};
  action->u.send.request = request->number;
  action->u.send.url = endpoint->url;
  action->u.send.messages = request->messages;
  action->u.send.count = request->count;
  /* Whoever has not said what it saw of the log forgets nothing for it: should the log turn out to
   * lack records, what participants remember is all there is. */
  bool heard = core->incarnation == 0 || endpoint->introduced;
  action->u.send.finished_below = heard ? finished_below : (struct vow_id){{0}};
  action->u.send.log = (struct vow_log_position){core->incarnation, core->durable};
  action->u.send.log_ask = !endpoint->introduced || core->quarantined;
  return true;
}

static void emit_messages(struct vow_core *core) {
  struct vow_id finished_below = vow_core_finished_below(core);

  while (!core_list_empty(&core->ready)) {
    struct core_endpoint *endpoint = core_container(core->ready.next, struct core_endpoint, place);
    while (core_endpoint_may_send(core, endpoint)) {
      if (!send(core, endpoint, finished_below)) {
        core->deferred = true;
        return;
      }
    }
    core_list_remove(&endpoint->place);
    core_endpoint_kick(core, endpoint); /* what is left waits for a slot */
  }
}

/* ---- the whole ---- */

/* The actions of this step may still point to it: it is freed by the next. */
static void drop(struct vow_core *core, struct core_txn *txn) {
  CORE_ASSERT(core_list_empty(&txn->waiters));
  core_tree_remove(&core->by_id, &txn->image.id, &txn->by_id);
  if (txn->image.idempotency_key != NULL) {
    core_tree_remove(&core->by_key, txn->image.idempotency_key, &txn->by_key);
  }
  core_timer_clear(&core->timers, &txn->timer);
  core_txn_leave_endpoints(core, txn); /* now: the next step may be long in coming */
  core_list_insert_before(&core->dead, &txn->place);
}

static bool bring_forward(struct vow_core *core, struct core_txn *txn) {
  core_txn_advance(core, txn);
  if (!emit_record(core, txn) || !emit_answers(core, txn)) return false;
  if (core_txn_over(core, txn)) drop(core, txn);
  return true;
}

void core_flush(struct vow_core *core, bool more) {
  struct core_list again;

  emit_ceiling(core);
  core->deferred = !emit_quarantine(core);
  core_list_init(&again);
  while (!core_list_empty(&core->dirty)) {
    struct core_txn *txn = core_container(core->dirty.next, struct core_txn, dirty);
    bool done = bring_forward(core, txn);
    core_list_remove(&txn->dirty);
    if (!done) core_list_insert_before(&again, &txn->dirty);
  }
  core->deferred |= !core_list_empty(&again) || !emit_ends(core);
  while (!core_list_empty(&again)) {
    struct core_list *node = again.next;
    core_list_remove(node);
    core_list_insert_before(&core->dirty, node);
  }
  if (!more) emit_messages(core);
}
