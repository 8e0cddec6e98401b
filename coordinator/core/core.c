/*
 * The core's entry points: its life, the step, and what may be read from outside. See core.h for
 * what the driver owes it, and core_internal.h for how a step runs.
 */
#include "core_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACTIONS_AT_FIRST 1 /* there is always room for one: emit.c counts on it */

/* ---- small things ---- */

/* The event's bits, mixed with a counter (the finalizer of splitmix64). */
uint64_t core_random(struct vow_core *core) {
  uint64_t z = core->random + ++core->random_uses * UINT64_C(0x9E3779B97F4A7C15);

  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}

uint64_t core_backoff_ms(struct vow_core *core, uint64_t failures) {
  uint64_t delay_ms = core->config.retry_min_ms;

  while (--failures > 0 && delay_ms < core->config.retry_max_ms) delay_ms *= 2;
  if (delay_ms > core->config.retry_max_ms) delay_ms = core->config.retry_max_ms;
  return delay_ms - core_random(core) % (delay_ms / 2 + 1);
}

char *core_text(const char *format, ...) {
  char text[CORE_TEXT_BYTES_MAX];
  va_list arguments;

  va_start(arguments, format);
  int bytes = vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  if ((size_t)bytes >= sizeof(text)) { /* no character of UTF-8 is left in halves */
    size_t end = sizeof(text) - 1;
    while (end > 0 && ((unsigned char)text[end - 1] & 0xC0) == 0x80) end--;
    if (end > 0 && (unsigned char)text[end - 1] >= 0xC0) end--;
    text[end] = '\0';
  }
  return strdup(text);
}

struct core_txn *core_find(const struct vow_core *core, struct vow_id id) {
  struct core_tree_node *node = core_tree_find(&core->by_id, &id);
  return node == NULL ? NULL : core_container(node, struct core_txn, by_id);
}

/* ---- orders ---- */

static int compare_id(const void *key, const struct core_tree_node *node) {
  const struct vow_id *id = key;
  return vow_id_compare(*id, core_container(node, const struct core_txn, by_id)->image.id);
}

static int compare_key(const void *key, const struct core_tree_node *node) {
  return strcmp(key, core_container(node, const struct core_txn, by_key)->image.idempotency_key);
}

static int compare_url(const void *key, const struct core_tree_node *node) {
  return strcmp(key, core_container(node, const struct core_endpoint, by_url)->url);
}

static int compare_numbers(uint64_t a, uint64_t b) {
  return (a > b) - (a < b);
}

static int compare_token(const void *key, const struct core_tree_node *node) {
  const uint64_t *token = key;
  return compare_numbers(*token, core_container(node, const struct core_waiter, by_token)->token);
}

static int compare_number(const void *key, const struct core_tree_node *node) {
  const uint64_t *number = key;
  return compare_numbers(*number,
                         core_container(node, const struct core_request, by_number)->number);
}

/* ---- life ---- */

static bool config_is_valid(const struct vow_core_config *config) {
  return config->transaction_timeout_ms > 0 && config->prepare_timeout_ms > 0 &&
         config->transaction_timeout_max_ms >= config->transaction_timeout_ms &&
         config->retry_min_ms > 0 && config->retry_max_ms >= config->retry_min_ms &&
         config->transactions_max > 0 && config->branches_max > 0 && config->waiters_max > 0 &&
         config->inflight_per_endpoint_max > 0 && config->history_max > 0 &&
         config->id_reserve_ms > 0;
}

enum vow_error vow_core_new(struct vow_core **out, const struct vow_core_config *config) {
  if (!config_is_valid(config)) return VOW_E_CONFIG;
  struct vow_core *core = calloc(1, sizeof(*core));
  if (core == NULL) return VOW_E_NO_MEMORY;
  core->actions = calloc(ACTIONS_AT_FIRST, sizeof(*core->actions));
  if (core->actions == NULL) {
    free(core);
    return VOW_E_NO_MEMORY;
  }
  core->action_capacity = ACTIONS_AT_FIRST;
  core->config = *config;
  core->loading = true;
  core->by_id.compare = compare_id;
  core->by_key.compare = compare_key;
  core->by_token.compare = compare_token;
  core->by_url.compare = compare_url;
  core->by_number.compare = compare_number;
  core_list_init(&core->dirty);
  core_list_init(&core->held);
  core_list_init(&core->unsynced);
  core_list_init(&core->ending);
  core_list_init(&core->dead);
  core_list_init(&core->ready);
  core_list_init(&core->idle);
  *out = core;
  return VOW_OK;
}

/* Frees what the last step dropped: its actions may have pointed to it until now. */
static void bury(struct vow_core *core) {
  while (!core_list_empty(&core->dead)) {
    struct core_txn *txn = core_container(core->dead.next, struct core_txn, place);
    core_list_remove(&txn->place);
    core_txn_free(core, txn);
  }
}

/* For the end only: nothing is kept in order. */
static void free_txn(struct core_txn *txn) {
  while (!core_list_empty(&txn->waiters)) {
    struct core_list *link = txn->waiters.next;
    core_list_remove(link);
    free(core_container(link, struct core_waiter, link));
  }
  vow_txn_fini(&txn->image);
  free(txn);
}

static void free_tree(struct core_tree_node *node, void (*free_node)(struct core_tree_node *)) {
  if (node == NULL) return;
  free_tree(node->left, free_node);
  free_tree(node->right, free_node);
  free_node(node);
}

static void free_by_id(struct core_tree_node *node) {
  free_txn(core_container(node, struct core_txn, by_id));
}

static void free_by_url(struct core_tree_node *node) {
  core_endpoint_free(core_container(node, struct core_endpoint, by_url));
}

static void free_by_number(struct core_tree_node *node) {
  free(core_container(node, struct core_request, by_number));
}

void vow_core_free(struct vow_core *core) {
  if (core == NULL) return;
  bury(core);
  while (!core_list_empty(&core->held)) {
    struct core_txn *txn = core_container(core->held.next, struct core_txn, place);
    core_list_remove(&txn->place);
    free_txn(txn);
  }
  free_tree(core->by_id.root, free_by_id);
  free_tree(core->by_url.root, free_by_url);
  free_tree(core->by_number.root, free_by_number);
  free(core->known);
  free(core->gaps);
  free(core->actions);
  free(core);
}

/* ---- the step ---- */

static void release_held(struct vow_core *core) {
  while (!core_list_empty(&core->held)) {
    struct core_txn *txn = core_container(core->held.next, struct core_txn, place);
    if (!core_txn_issue(core, txn)) return;
  }
}

/* Keeps core.unsynced in order: one whose newest record is not durable yet goes back in. */
static void await_newest(struct vow_core *core, struct core_txn *txn) {
  struct core_list *place = &core->unsynced;

  txn->awaited = txn->logged;
  while (place->prev != &core->unsynced &&
         core_container(place->prev, struct core_txn, place)->awaited > txn->awaited) {
    place = place->prev;
  }
  core_list_insert_before(place, &txn->place);
}

static enum vow_error durable(struct vow_core *core, uint64_t position) {
  if (position > core->position) return VOW_E_INVALID_ARGUMENT;
  if (position <= core->durable) return VOW_OK;
  core->durable = position;
  core_ids_durable(core);
  release_held(core);
  while (!core_list_empty(&core->unsynced)) {
    struct core_txn *txn = core_container(core->unsynced.next, struct core_txn, place);
    if (txn->awaited > position) break;
    core_list_remove(&txn->place);
    if (txn->logged > position) await_newest(core, txn);
    core_touch(core, txn);
  }
  return VOW_OK;
}

static void tick(struct vow_core *core) {
  while (core->timers.first != NULL && core->timers.first->due_ms <= core->now_ms) {
    struct core_timer *timer = core->timers.first;
    core_timer_clear(&core->timers, timer);
    switch ((enum core_timer_owner)timer->owner) {
      case CORE_TIMER_TXN:
        core_txn_expire(core, core_container(timer, struct core_txn, timer));
        break;
      case CORE_TIMER_TASK:
        core_task_push(core, core_container(timer, struct core_task, timer));
        break;
      case CORE_TIMER_ENDPOINT:
        core_endpoint_kick(core, core_container(timer, struct core_endpoint, timer));
        break;
      case CORE_TIMER_WAITER:
        core_container(timer, struct core_waiter, timer)->expired = true;
        core_touch(core, core_container(timer, struct core_waiter, timer)->txn);
        break;
    }
  }
}

/* A pause that was drawn under a larger limit is drawn anew: it may be an hour. */
static void shorten(struct vow_core *core, struct core_timer *timer) {
  if (!timer->armed || timer->due_ms <= core->now_ms + core->config.retry_max_ms) return;
  core_timer_set(&core->timers, timer, core->now_ms + core_backoff_ms(core, UINT64_MAX));
}

static void shorten_pauses(struct vow_core *core) {
  for (uint32_t i = 0; i < core_tree_count(&core->by_id); i++) {
    struct core_txn *txn = core_container(core_tree_at(&core->by_id, i), struct core_txn, by_id);
    for (uint32_t n = 0; n < txn->image.branch_count; n++) shorten(core, &txn->tasks[n].timer);
  }
}

static enum vow_error configure(struct vow_core *core, const struct vow_core_config *config) {
  if (!config_is_valid(config)) return VOW_E_CONFIG;
  bool shorter = config->retry_max_ms < core->config.retry_max_ms;
  core->config = *config;
  if (shorter) shorten_pauses(core);
  for (uint32_t i = 0; i < core_tree_count(&core->by_url); i++) {
    struct core_endpoint *endpoint =
        core_container(core_tree_at(&core->by_url, i), struct core_endpoint, by_url);
    if (shorter) shorten(core, &endpoint->timer);
    core_endpoint_kick(core, endpoint);
  }
  return VOW_OK;
}

static enum vow_error request(struct vow_core *core, const struct vow_event *event) {
  if (event->token == 0 || core_tree_find(&core->by_token, &event->token) != NULL) {
    return VOW_E_INVALID_ARGUMENT;
  }
  switch (event->type) {
    case VOW_EVENT_BEGIN:
      return core_begin(core, event);
    case VOW_EVENT_ENLIST:
      return core_enlist(core, event);
    case VOW_EVENT_COMMIT:
      return core_commit(core, event);
    case VOW_EVENT_ABORT:
      return core_abort(core, event);
    case VOW_EVENT_RESOLVE:
      return core_resolve(core, event);
    default:
      return core_forget(core, event);
  }
}

static enum vow_error take(struct vow_core *core, const struct vow_event *event) {
  switch (event->type) {
    case VOW_EVENT_BEGIN:
    case VOW_EVENT_ENLIST:
    case VOW_EVENT_COMMIT:
    case VOW_EVENT_ABORT:
    case VOW_EVENT_RESOLVE:
    case VOW_EVENT_FORGET:
      return request(core, event);
    case VOW_EVENT_REPLY:
      return core_reply(core, event);
    case VOW_EVENT_DURABLE:
      return durable(core, event->u.position);
    case VOW_EVENT_TICK:
      tick(core);
      return VOW_OK;
    case VOW_EVENT_CANCEL:
      core_cancel(core, event->token);
      return VOW_OK;
    case VOW_EVENT_WITNESS:
      core_witness(core, event->u.witness.seen, event->u.witness.by);
      return VOW_OK;
    case VOW_EVENT_LOAD_BEGIN:
      return core_load_begin(core, event);
    case VOW_EVENT_LOAD:
      return core_load(core, event);
    case VOW_EVENT_LOAD_END:
      return core_load_end(core);
    case VOW_EVENT_LOG_REFUSES:
      core->log_refuses = event->u.log_refuses;
      return VOW_OK;
    case VOW_EVENT_DRAIN:
      core->draining = true;
      return VOW_OK;
    case VOW_EVENT_WRITE_ENDS:
      core->ends_due = true;
      return VOW_OK;
    case VOW_EVENT_CONFIG:
      return configure(core, event->u.config);
  }
  return VOW_E_INVALID_ARGUMENT;
}

enum vow_error vow_core_step(struct vow_core *core, const struct vow_event *event,
                             struct vow_actions *actions) {
  bury(core);
  core->action_count = 0;
  core->now_ms = event->now_ms;
  core->wall_ms = event->wall_ms < CORE_WALL_MS_MAX ? event->wall_ms : CORE_WALL_MS_MAX;
  core->random = event->random;
  enum vow_error error = take(core, event);
  if (error != VOW_OK) return error;
  core_flush(core, event->more);
  actions->items = core->actions;
  actions->count = core->action_count;
  return VOW_OK;
}

uint64_t vow_core_next_deadline(const struct vow_core *core) {
  if (core->deferred) return 0;
  if (!core_list_empty(&core->ready)) return core->now_ms;
  return core->timers.first == NULL ? CORE_NEVER : core->timers.first->due_ms;
}

/* ---- reading ---- */

const struct vow_txn *vow_core_find(const struct vow_core *core, struct vow_id id) {
  const struct core_txn *txn = core_find(core, id);
  return txn == NULL ? NULL : &txn->image;
}

const struct vow_txn *vow_core_find_key(const struct vow_core *core, const char *idempotency_key) {
  const struct core_tree_node *node = core_tree_find(&core->by_key, idempotency_key);
  if (node == NULL) return NULL;
  const struct core_txn *txn = core_container(node, struct core_txn, by_key);
  return txn->held ? NULL : &txn->image;
}

const struct vow_txn *vow_core_next(const struct vow_core *core, struct vow_id from) {
  const struct core_tree_node *node = core_tree_at_least(&core->by_id, &from);
  return node == NULL ? NULL : &core_container(node, const struct core_txn, by_id)->image;
}

const struct vow_txn *vow_core_prev(const struct vow_core *core, const struct vow_id *before) {
  uint32_t count = core_tree_count(&core->by_id);
  const struct core_tree_node *node;

  if (before != NULL) {
    node = core_tree_below(&core->by_id, before);
  } else {
    node = count == 0 ? NULL : core_tree_at(&core->by_id, count - 1);
  }
  return node == NULL ? NULL : &core_container(node, const struct core_txn, by_id)->image;
}

bool vow_core_loading(const struct vow_core *core) {
  return core->loading;
}

uint64_t vow_core_awaits_votes(const struct vow_core *core) {
  uint64_t preparing = core->counts.open[VOW_TXN_PREPARING], held_back = core->counts.held_back;
  return preparing > held_back ? preparing - held_back : 0;
}

void vow_core_counts(const struct vow_core *core, struct vow_core_counts *out) {
  *out = core->counts;
  out->requests_inflight = core_tree_count(&core->by_number);
  out->endpoints = core_tree_count(&core->by_url);
  out->ends_waiting = core->ending_count;
}
