/*
 * Endpoints: one queue, one state and one retry clock for each participant URL, so that a dead one
 * costs one probe at a time and delays nobody else.
 *
 *        a request fails                    the delay is over, a message is queued
 *   up ------------------> down, waiting ------------------------------------------> down, probing
 *    ^                          ^                the probe fails                          |
 *    |                          +---------------------------------------------------------+
 *    +------------------------------- the probe is answered ------------------------------+
 *
 * Requests that left before the failure that took it down (an older epoch) say nothing new: their
 * failures are part of the same outage, and their answers do not end it.
 *
 * A message that never gets an answer must not hold up the rest. If the endpoint has answered
 * others since that message left, it is up, and the message is tried again by itself. Else it takes
 * the endpoint down: it goes to the end of the queue, so that the next probe carries another one,
 * and a second probe leaves beside one that has had no answer for retry_min_ms.
 *
 * Batches. A participant offers with its answers how many messages it takes at once. To one that
 * does, two requests are under way at a time, and what queues up meanwhile leaves as one; the
 * second leaves when as many are queued as the first carries. So where little is to be
 * done nothing waits, and where much is, one message does not run ahead of many that would have
 * shared its request and its sync. One slow callback must not hold up the rest: a request that has
 * taken long counts no more, and others leave in its place, up to the limit of requests. Together
 * they carry two full batches at most, and single messages beyond that: that bounds what the
 * participant has to do at once. Every request for a branch whose last one failed is single, too,
 * so that it spoils no batch twice.
 */
#include <stdlib.h>
#include <string.h>

#include "core_internal.h"

static struct core_endpoint *new_endpoint(const char *url) {
  struct core_endpoint *endpoint = calloc(1, sizeof(*endpoint));

  if (endpoint == NULL) return NULL;
  endpoint->url = strdup(url);
  if (endpoint->url == NULL) {
    free(endpoint);
    return NULL;
  }
  core_list_init(&endpoint->queue);
  endpoint->timer.owner = CORE_TIMER_ENDPOINT;
  core_list_init(&endpoint->under_way);
  endpoint->batch_max = 1;
  return endpoint;
}

void core_endpoint_free(struct core_endpoint *endpoint) {
  free(endpoint->url);
  free(endpoint->last_error);
  free(endpoint);
}

struct core_endpoint *core_endpoint_acquire(struct vow_core *core, const char *url) {
  struct core_tree_node *node = core_tree_find(&core->by_url, url);
  struct core_endpoint *endpoint;

  if (node != NULL) {
    endpoint = core_container(node, struct core_endpoint, by_url);
  } else {
    endpoint = new_endpoint(url);
    if (endpoint == NULL) return NULL;
    core_tree_insert(&core->by_url, endpoint->url, &endpoint->by_url);
  }
  if (node != NULL && endpoint->branches == 0) {
    core_list_remove(&endpoint->place);
    core->idle_count--;
  }
  endpoint->branches++;
  return endpoint;
}

static void drop_oldest_idle(struct vow_core *core) {
  struct core_endpoint *endpoint = core_container(core->idle.next, struct core_endpoint, place);

  core_list_remove(&endpoint->place);
  core->idle_count--;
  core_tree_remove(&core->by_url, endpoint->url, &endpoint->by_url);
  core_endpoint_free(endpoint);
}

void core_endpoint_release(struct vow_core *core, struct core_endpoint *endpoint) {
  if (--endpoint->branches > 0) return;
  CORE_ASSERT(endpoint->inflight == 0 && endpoint->queued == 0);
  /* Nothing will probe it any more, so "down" would stay for ever, and nobody waits for it. */
  core->counts.endpoints_down -= endpoint->down;
  core_timer_clear(&core->timers, &endpoint->timer);
  if (endpoint->down) endpoint->batch_refused = false; /* as when a probe is answered */
  endpoint->down = false;
  endpoint->failures_in_row = 0;
  free(endpoint->last_error);
  endpoint->last_error = NULL;
  core_list_remove(&endpoint->place);
  core_list_insert_before(&core->idle, &endpoint->place);
  core->idle_count++;
  if (core->idle_count > CORE_ENDPOINTS_IDLE_MAX) drop_oldest_idle(core);
}

static bool has_slot(const struct vow_core *core, const struct core_endpoint *endpoint) {
  uint32_t quick = endpoint->inflight - endpoint->slow;

  if (endpoint->inflight >= core->config.inflight_per_endpoint_max) return false;
  if (endpoint->batch_max == 1 || quick == 0) return true;
  return quick < CORE_SLOTS && endpoint->queued >= endpoint->messages - endpoint->slow_messages;
}

/* From when on another may leave beside the first. */
static uint64_t second_probe_ms(const struct vow_core *core, const struct core_endpoint *endpoint) {
  return endpoint->probed_ms + core->config.retry_min_ms;
}

bool core_endpoint_may_send(const struct vow_core *core, const struct core_endpoint *endpoint) {
  if (endpoint->queued == 0 || !has_slot(core, endpoint)) return false;
  if (!endpoint->down) return true;
  if (endpoint->timer.armed || endpoint->probes == CORE_PROBES) return false;
  return endpoint->probes == 0 || core->now_ms >= second_probe_ms(core, endpoint);
}

uint32_t core_endpoint_batch(const struct core_endpoint *endpoint) {
  uint32_t room = CORE_SLOTS * endpoint->batch_max, max = endpoint->batch_max, count = 0;
  const struct core_list *link = endpoint->queue.next;
  size_t payload_bytes = 0;

  room = endpoint->messages < room ? room - endpoint->messages : 1;
  if (max > room) max = room;
  for (; count < max && link != &endpoint->queue; link = link->next, count++) {
    struct core_task *task = core_container(link, struct core_task, link);
    const struct vow_branch *branch = core_branch(task);
    if (branch->state == VOW_BRANCH_PREPARING) payload_bytes += branch->payload_bytes;
    if (task->alone) return count > 0 ? count : 1;
    if (count > 0 && payload_bytes > CORE_BATCH_PAYLOAD_MAX) break;
  }
  return count;
}

/* The oldest request under way that is not slow yet; NULL: there is none. */
static struct core_request *oldest_quick(struct core_endpoint *endpoint) {
  struct core_list *link = endpoint->under_way.next;

  for (; link != &endpoint->under_way; link = link->next) {
    struct core_request *request = core_container(link, struct core_request, link);
    if (!request->slow) return request;
  }
  return NULL;
}

/* Messages that wait for a slot get one when a request has become slow, and a second probe when the
 * first has. */
static void await_slot(struct vow_core *core, struct core_endpoint *endpoint) {
  if (endpoint->queued == 0 || endpoint->timer.armed) return;
  if (endpoint->inflight >= core->config.inflight_per_endpoint_max) return;
  if (endpoint->down) {
    if (endpoint->probes == CORE_PROBES) return;
    core_timer_set(&core->timers, &endpoint->timer, second_probe_ms(core, endpoint));
    return;
  }
  const struct core_request *next = oldest_quick(endpoint);
  CORE_ASSERT(next != NULL); /* else there were a slot */
  core_timer_set(&core->timers, &endpoint->timer, next->sent_ms + CORE_PATIENCE_MS);
}

static void mark_slow(const struct vow_core *core, struct core_endpoint *endpoint) {
  for (struct core_request *request = oldest_quick(endpoint);
       request != NULL && request->sent_ms + CORE_PATIENCE_MS <= core->now_ms;
       request = oldest_quick(endpoint)) {
    request->slow = true;
    endpoint->slow++;
    endpoint->slow_messages += request->count;
  }
}

void core_endpoint_kick(struct vow_core *core, struct core_endpoint *endpoint) {
  if (core_list_linked(&endpoint->place)) return;
  mark_slow(core, endpoint);
  if (core_endpoint_may_send(core, endpoint)) {
    core_list_insert_before(&core->ready, &endpoint->place);
  } else {
    await_slot(core, endpoint);
  }
}

void core_endpoint_sent(struct vow_core *core, struct core_request *request) {
  struct core_endpoint *endpoint = request->endpoint;

  request->sent_ms = core->now_ms;
  core_list_insert_before(&endpoint->under_way, &request->link);
  endpoint->inflight++;
  endpoint->messages += request->count;
  if (!endpoint->down) return;
  endpoint->probes++;
  endpoint->probed_ms = core->now_ms;
}

bool core_endpoint_answers(const struct core_endpoint *endpoint,
                           const struct core_request *request) {
  return !endpoint->down && endpoint->answered_ms > request->sent_ms;
}

void core_endpoint_returned(struct core_request *request) {
  struct core_endpoint *endpoint = request->endpoint;

  core_list_remove(&request->link);
  endpoint->inflight--;
  endpoint->messages -= request->count;
  if (!request->slow) return;
  endpoint->slow--;
  endpoint->slow_messages -= request->count;
}

void core_endpoint_refused_batch(struct core_endpoint *endpoint) {
  endpoint->batch_refused = true;
  endpoint->batch_max = 1; /* at once: the answer may be of an older epoch, which offers nothing */
}

/* What an answer shows of an endpoint that is up. */
static void adapt(struct vow_core *core, struct core_endpoint *endpoint, uint32_t batch_max) {
  core_timer_clear(&core->timers, &endpoint->timer);
  if (batch_max > VOW_BATCH_MESSAGES_MAX) batch_max = VOW_BATCH_MESSAGES_MAX;
  endpoint->batch_max = batch_max == 0 || endpoint->batch_refused ? 1 : batch_max;
}

void core_endpoint_answered(struct vow_core *core, struct core_endpoint *endpoint, uint64_t epoch,
                            uint32_t batch_max) {
  endpoint->answered_ms = core->now_ms;
  if (epoch == endpoint->epoch) {
    if (endpoint->down) {
      core->counts.endpoints_down--;
      endpoint->batch_refused = false;
    }
    adapt(core, endpoint, batch_max);
    endpoint->down = false;
    endpoint->failures_in_row = 0;
    free(endpoint->last_error);
    endpoint->last_error = NULL;
  }
  core_endpoint_kick(core, endpoint);
}

void core_endpoint_failed(struct vow_core *core, struct core_endpoint *endpoint, uint64_t epoch,
                          const char *error) {
  if (epoch == endpoint->epoch) {
    if (!endpoint->down) core->counts.endpoints_down++;
    endpoint->down = true;
    endpoint->probes = 0;
    endpoint->batch_max = 1; /* until it offers batches again */
    endpoint->epoch++;
    endpoint->failures_in_row++;
    free(endpoint->last_error);
    endpoint->last_error = core_text("%s", error);
    core_timer_set(&core->timers, &endpoint->timer,
                   core->now_ms + core_backoff_ms(core, endpoint->failures_in_row));
  }
  core_endpoint_kick(core, endpoint);
}

bool core_task_message(const struct core_task *task, enum vow_message_type *out) {
  const struct vow_branch *branch = core_branch(task);

  switch (branch->state) {
    case VOW_BRANCH_PREPARING:
      *out = VOW_MESSAGE_PREPARE;
      return true;
    case VOW_BRANCH_COMMITTING:
    case VOW_BRANCH_UNKNOWN:
      *out = VOW_MESSAGE_COMMIT;
      return true;
    case VOW_BRANCH_ABORTING:
      *out = VOW_MESSAGE_ABORT;
      return true;
    case VOW_BRANCH_HEURISTIC:
      *out = VOW_MESSAGE_FORGET;
      return task->txn->forgetting && !branch->resolved;
    default:
      return false;
  }
}

void core_task_stop(struct vow_core *core, struct core_task *task) {
  if (task->state == CORE_TASK_INFLIGHT) return;
  if (task->state == CORE_TASK_QUEUED) {
    core_list_remove(&task->link);
    task->endpoint->queued--;
    core->counts.messages_queued--;
  }
  core_timer_clear(&core->timers, &task->timer);
  task->state = CORE_TASK_IDLE;
}

void core_task_push(struct vow_core *core, struct core_task *task) {
  if (task->state == CORE_TASK_INFLIGHT || task->state == CORE_TASK_QUEUED) return;
  core_timer_clear(&core->timers, &task->timer);
  task->state = CORE_TASK_QUEUED;
  core_list_insert_before(&task->endpoint->queue, &task->link);
  task->endpoint->queued++;
  core->counts.messages_queued++;
  core_endpoint_kick(core, task->endpoint);
}

void core_task_delay(struct vow_core *core, struct core_task *task, uint64_t delay_ms) {
  CORE_ASSERT(task->state == CORE_TASK_IDLE);
  task->state = CORE_TASK_WAITING;
  core_timer_set(&core->timers, &task->timer, core->now_ms + delay_ms);
}

bool vow_core_messages_can_wait(const struct vow_core *core) {
  const struct core_list *place = core->ready.next;
  uint32_t decisions = 0, others = 0;

  for (; place != &core->ready; place = place->next) {
    const struct core_endpoint *endpoint = core_container(place, struct core_endpoint, place);
    const struct core_list *link = endpoint->queue.next;
    if (endpoint->batch_max == 1) return false;
    for (; link != &endpoint->queue; link = link->next) {
      const struct core_task *task = core_container(link, struct core_task, link);
      enum vow_message_type type;
      bool due = core_task_message(task, &type);
      CORE_ASSERT(due);
      if (task->alone) return false;
      bool decision = type == VOW_MESSAGE_COMMIT || type == VOW_MESSAGE_ABORT;
      *(decision ? &decisions : &others) += 1;
      if (decisions > CORE_FEW || others > CORE_FEW) return false;
    }
  }
  return others < decisions;
}

bool vow_core_endpoint_is_down(const struct vow_core *core, const char *url) {
  const struct core_tree_node *node = core_tree_find(&core->by_url, url);
  return node != NULL && core_container(node, const struct core_endpoint, by_url)->down;
}

bool vow_core_endpoint_at(const struct vow_core *core, uint32_t index, uint64_t now_ms,
                          struct vow_endpoint_view *out) {
  const struct core_tree_node *node = core_tree_at(&core->by_url, index);
  if (node == NULL) return false;

  const struct core_endpoint *endpoint = core_container(node, struct core_endpoint, by_url);
  bool waits = endpoint->down && endpoint->probes == 0 && endpoint->timer.armed &&
               endpoint->timer.due_ms > now_ms;
  *out = (struct vow_endpoint_view){
      .url = endpoint->url,
      .up = !endpoint->down,
      .inflight = endpoint->inflight,
      .queued = endpoint->queued,
      .branches = endpoint->branches,
      .failures_in_row = endpoint->failures_in_row,
      .retry_in_ms = waits ? endpoint->timer.due_ms - now_ms : 0,
      .last_error = endpoint->last_error,
  };
  return true;
}
