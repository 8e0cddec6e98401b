/*
 * What clients ask: begin, enlist, commit, abort. A request that can't be met is answered at once
 * and changes nothing. Memory is taken before anything changes, so VOW_E_NO_MEMORY means the same.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core_internal.h"

#define TOO_MANY_BRANCHES "a transaction has at most %u branches (limits_branches)"
#define TOO_MANY_WAITERS  "%u clients wait for this transaction, and no more may (limits_waiters)"

/* Answers at once with an error. */
static enum vow_error refuse(struct vow_core *core, uint64_t token, enum vow_error error,
                             const char *detail, const struct core_txn *txn) {
  core_answer(core, token, error, detail, txn);
  return VOW_OK;
}

/* A sentence with a number in it. It is good until the next event, as the answer is. */
static const char *with_number(struct vow_core *core, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static const char *with_number(struct vow_core *core, const char *format, ...) {
  va_list arguments;

  va_start(arguments, format);
  (void)vsnprintf(core->detail, sizeof(core->detail), format, arguments);
  va_end(arguments);
  return core->detail;
}

/* The entries up to the decision, where all goes well: it is begun and asked to commit, and perhaps
 * delegated; each branch is sent a message and answers. Memory for them is taken once. */
static uint32_t entries_of(uint32_t branch_count) {
  return 3 + 2 * branch_count;
}

enum vow_error core_refuse_unknown(struct vow_core *core, uint64_t token) {
  return refuse(core, token, core->loading ? VOW_E_LOADING : VOW_E_UNKNOWN_TRANSACTION, NULL, NULL);
}

/* ---- branches ---- */

/* The name of one that has none. */
static void write_number(uint32_t number, char out[16]) {
  (void)snprintf(out, 16, "%u", number);
}

static bool name_branch(struct vow_branch *branch, const struct vow_event_branch *from) {
  char number[16];
  const char *name = from->name;

  if (name == NULL) {
    write_number(branch->number, number);
    name = number;
  }
  size_t url_bytes = strlen(from->url) + 1, name_bytes = strlen(name) + 1;
  branch->url = malloc(url_bytes + name_bytes);
  if (branch->url == NULL) return false;
  memcpy(branch->url, from->url, url_bytes);
  branch->name = memcpy(branch->url + url_bytes, name, name_bytes);
  branch->name_behind_url = true;
  return true;
}

/* False when memory is short; nothing has changed then. There is room for the branch. */
static bool add_branch(struct vow_core *core, struct core_txn *txn,
                       const struct vow_event_branch *from) {
  struct vow_branch branch = {.number = txn->image.branch_count + 1, .state = VOW_BRANCH_ENLISTED};
  struct core_task task = {.txn = txn, .timer.owner = CORE_TIMER_TASK};

  if (!name_branch(&branch, from)) return false;
  if (from->payload != NULL) {
    branch.payload = malloc(from->payload_bytes + 1);
    if (branch.payload == NULL) goto fail;
    memcpy(branch.payload, from->payload, from->payload_bytes);
    branch.payload[from->payload_bytes] = '\0';
    branch.payload_bytes = from->payload_bytes;
  }
  task.endpoint = core_endpoint_acquire(core, from->url);
  if (task.endpoint == NULL) goto fail;
  txn->tasks[txn->image.branch_count] = task;
  txn->image.branches[txn->image.branch_count++] = branch;
  return true;

fail:
  free(branch.url);
  free(branch.payload);
  return false;
}

/* The branch that a new one would be confused with, or NULL. */
static const struct vow_branch *find_name(const struct vow_txn *image, const char *name) {
  char number[16];

  if (name == NULL) {
    write_number(image->branch_count + 1, number);
    name = number;
  }
  for (uint32_t i = 0; i < image->branch_count; i++) {
    if (strcmp(image->branches[i].name, name) == 0) return &image->branches[i];
  }
  return NULL;
}

/* ---- begin ---- */

static char *copy(const char *text, bool *failed) {
  if (text == NULL) return NULL;
  char *owned = strdup(text);
  *failed |= owned == NULL;
  return owned;
}

static enum vow_error build(struct vow_core *core, const struct vow_event *event,
                            struct core_txn *txn) {
  bool failed = false;

  txn->image.metadata = copy(event->u.begin.metadata, &failed);
  txn->image.idempotency_key = copy(event->u.begin.idempotency_key, &failed);
  txn->image.traceparent = copy(event->u.begin.traceparent, &failed);
  memcpy(txn->image.request_hash, event->u.begin.request_hash, sizeof(txn->image.request_hash));
  txn->one_shot = event->u.begin.commit;
  txn->timeout_ms = event->u.begin.timeout_ms;
  if (txn->timeout_ms == 0) txn->timeout_ms = core->config.transaction_timeout_ms;
  uint32_t entries = txn->one_shot ? entries_of(event->u.begin.branch_count) : 1;
  if (failed || !core_history_reserve(core, txn, entries) ||
      !core_txn_reserve_branches(txn, event->u.begin.branch_count)) {
    return VOW_E_NO_MEMORY;
  }
  for (uint32_t i = 0; i < event->u.begin.branch_count; i++) {
    const struct vow_event_branch *branch = &event->u.begin.branches[i];
    if (find_name(&txn->image, branch->name) != NULL) return VOW_E_NAME_CONFLICT;
    if (!add_branch(core, txn, branch)) return VOW_E_NO_MEMORY;
  }
  return VOW_OK;
}

/* Why a new transaction cannot be begun; VOW_OK if it can. */
static enum vow_error check_begin(struct vow_core *core, const struct vow_event *event,
                                  const char **detail) {
  const struct vow_core_config *config = &core->config;

  if (event->u.begin.timeout_ms > config->transaction_timeout_max_ms) {
    *detail = with_number(core, "timeout_ms is at most %u (limits_transaction_timeout_ms)",
                          config->transaction_timeout_max_ms);
    return VOW_E_LIMIT_EXCEEDED;
  }
  if (event->u.begin.branch_count > config->branches_max) {
    *detail = with_number(core, TOO_MANY_BRANCHES, config->branches_max);
    return VOW_E_LIMIT_EXCEEDED;
  }
  if (!core->begun || (core->loading && event->u.begin.idempotency_key != NULL)) {
    return VOW_E_LOADING;
  }
  if (core->quarantined) {
    *detail = CORE_QUARANTINE_DETAIL;
    return VOW_E_QUARANTINED;
  }
  if (core->draining) {
    *detail = "it is being stopped and takes no new transactions; try again when it is back";
    return VOW_E_DRAINING;
  }
  if (core->log_refuses != VOW_OK) return core->log_refuses; /* its details are not known here */
  if (core_tree_count(&core->by_id) + core->held_count + core->to_load >=
      config->transactions_max) {
    *detail =
        with_number(core, "%u transactions are open, and no more may be (limits_transactions)",
                    config->transactions_max);
    return VOW_E_OVERLOADED;
  }
  return VOW_OK;
}

static enum vow_error begin_new(struct vow_core *core, const struct vow_event *event,
                                struct core_waiter *waiter) {
  const char *detail = NULL;
  struct core_txn *txn = NULL;
  enum vow_error error = check_begin(core, event, &detail);

  if (error == VOW_OK) {
    txn = core_txn_alloc();
    error = txn == NULL ? VOW_E_NO_MEMORY : build(core, event, txn);
    if (error == VOW_E_NAME_CONFLICT) detail = "two branches have the same name";
  }
  if (error != VOW_OK) {
    if (txn != NULL) core_txn_free(core, txn);
    free(waiter);
    if (error == VOW_E_NO_MEMORY) return error;
    return refuse(core, event->token, error, detail, NULL);
  }
  waiter->created = true;
  core_txn_enter(core, txn);
  core_waiter_attach(core, txn, waiter);
  /* Behind those that wait already: ids are given in the order of begins. */
  if (core->held_count == 1) (void)!core_txn_issue(core, txn);
  return VOW_OK;
}

/* The key is in use: the same request gets the same transaction. */
static enum vow_error begin_again(struct vow_core *core, const struct vow_event *event,
                                  struct core_txn *txn, struct core_waiter *waiter) {
  enum vow_error error = VOW_OK;
  const char *detail = NULL;

  if (memcmp(txn->image.request_hash, event->u.begin.request_hash,
             sizeof(txn->image.request_hash)) != 0) {
    error = VOW_E_KEY_CONFLICT;
    detail =
        "the key was used with a request whose body is different; use a new key for a new request";
  } else if (txn->waiting >= core->config.waiters_max) {
    error = VOW_E_OVERLOADED;
    detail = with_number(core, TOO_MANY_WAITERS, core->config.waiters_max);
  }
  if (error != VOW_OK) {
    free(waiter);
    return refuse(core, event->token, error, detail, NULL);
  }
  core_waiter_attach(core, txn, waiter);
  return VOW_OK;
}

enum vow_error core_begin(struct vow_core *core, const struct vow_event *event) {
  const char *key = event->u.begin.idempotency_key;
  struct core_waiter *waiter =
      core_waiter_new(event->token, event->u.begin.commit ? CORE_WAIT_COMMIT : CORE_WAIT_BEGIN);
  struct core_tree_node *node = key == NULL ? NULL : core_tree_find(&core->by_key, key);

  if (waiter == NULL) return VOW_E_NO_MEMORY;
  waiter->expired = event->u.begin.commit && event->u.begin.no_wait;
  if (node == NULL) return begin_new(core, event, waiter);
  return begin_again(core, event, core_container(node, struct core_txn, by_key), waiter);
}

/* ---- enlist ---- */

static const char *const too_late_to_enlist[] = {
    [VOW_TXN_PREPARING] =
        "the transaction is preparing: branches are enlisted before commit is asked",
    [VOW_TXN_COMMITTING] =
        "the transaction is committing: branches are enlisted before commit is asked",
    [VOW_TXN_COMMITTED] =
        "the transaction is committed: branches are enlisted before commit is asked",
};

static enum vow_error check_enlist(struct vow_core *core, const struct core_txn *txn,
                                   const char **detail) {
  enum vow_txn_state state = vow_txn_shown_state(&txn->image);

  if (core_is_held_back(txn)) {
    *detail = CORE_QUARANTINE_DETAIL;
    return VOW_E_QUARANTINED;
  }
  if (state == VOW_TXN_ABORTING || state == VOW_TXN_ABORTED) {
    *detail = txn->image.reason;
    return VOW_E_ABORTED;
  }
  if (state != VOW_TXN_ACTIVE) {
    *detail = too_late_to_enlist[state];
    return VOW_E_ILLEGAL_STATE;
  }
  if (txn->image.branch_count >= core->config.branches_max) {
    *detail = with_number(core, TOO_MANY_BRANCHES, core->config.branches_max);
    return VOW_E_LIMIT_EXCEEDED;
  }
  return VOW_OK;
}

static uint32_t grown(const struct core_txn *txn) {
  uint32_t capacity = txn->branch_capacity;
  if (txn->image.branch_count < capacity) return capacity;
  return capacity + (capacity < 2 ? 1 : capacity / 2);
}

/* Why `asked` is not the branch that has its name already; NULL: it is. */
static const char *differs(const struct vow_branch *same, const struct vow_event_branch *asked) {
  if (asked->name == NULL) return "the name of a branch without one is its number: it is taken";
  if (strcmp(same->url, asked->url) != 0) return "the branch of this name has another URL";
  bool payload_equal =
      same->payload_bytes == asked->payload_bytes &&
      (same->payload_bytes == 0 || memcmp(same->payload, asked->payload, same->payload_bytes) == 0);
  return payload_equal ? NULL : "the branch of this name has another payload, which is kept";
}

enum vow_error core_enlist(struct vow_core *core, const struct vow_event *event) {
  const struct vow_event_branch *asked = &event->u.enlist;
  struct core_txn *txn = core_find(core, event->id);
  const char *detail = NULL;

  if (txn == NULL) return core_refuse_unknown(core, event->token);
  const struct vow_branch *same = find_name(&txn->image, asked->name);
  enum vow_error error = check_enlist(core, txn, &detail);
  if (same != NULL && (error == VOW_OK || error == VOW_E_LIMIT_EXCEEDED)) {
    detail = differs(same, asked);
    error = detail == NULL ? VOW_OK : VOW_E_NAME_CONFLICT;
  }
  if (error != VOW_OK) return refuse(core, event->token, error, detail, txn);
  if (same == NULL) {
    if (!core_txn_reserve_branches(txn, grown(txn))) return VOW_E_NO_MEMORY;
    if (!core_history_reserve(core, txn, 1)) return VOW_E_NO_MEMORY;
    if (!add_branch(core, txn, asked)) return VOW_E_NO_MEMORY;
    core_history(core, txn, txn->image.branch_count, VOW_HISTORY_ENLISTED, NULL);
    txn->image.updated_ms = core->wall_ms;
  }
  core_answer(core, event->token, VOW_OK, NULL, txn);
  core->actions[0].u.answer.branch = same == NULL ? txn->image.branch_count : same->number;
  core->actions[0].u.answer.created = same == NULL;
  return VOW_OK;
}

/* ---- commit and abort ---- */

/* An abort has room of its own, and so has an operator: else those that wait for a commit, and ask
 * again for ever, would keep everybody from ending it. */
static uint64_t waiters_max(const struct vow_core *core, enum core_wait wait) {
  return (uint64_t)core->config.waiters_max + VOW_CORE_WAITERS_EXTRA * (wait - CORE_WAIT_COMMIT);
}

struct core_txn *core_wait_on(struct vow_core *core, const struct vow_event *event,
                              enum core_wait wait, uint64_t position, enum vow_error *error) {
  struct core_txn *txn = core_find(core, event->id);

  *error = VOW_OK;
  if (txn == NULL) {
    *error = core_refuse_unknown(core, event->token);
    return NULL;
  }
  if (core_is_held_back(txn)) {
    *error = refuse(core, event->token, VOW_E_QUARANTINED, CORE_QUARANTINE_DETAIL, NULL);
    return NULL;
  }
  if (txn->waiting >= waiters_max(core, wait)) {
    *error = refuse(core, event->token, VOW_E_OVERLOADED,
                    with_number(core, TOO_MANY_WAITERS, txn->waiting), NULL);
    return NULL;
  }
  struct core_waiter *waiter = NULL;
  bool begins = txn->image.state == VOW_TXN_ACTIVE;
  if (core_history_reserve(core, txn, begins ? entries_of(txn->image.branch_count) : 4))
    waiter = core_waiter_new(event->token, wait);
  if (waiter == NULL) {
    *error = VOW_E_NO_MEMORY;
    return NULL;
  }
  waiter->position = position;
  if (wait != CORE_WAIT_RECORD) waiter->expired = event->u.finish.no_wait;
  core_waiter_attach(core, txn, waiter);
  return txn;
}

enum vow_error core_commit(struct vow_core *core, const struct vow_event *event) {
  enum vow_error error;
  struct core_txn *txn = core_wait_on(core, event, CORE_WAIT_COMMIT, 0, &error);

  if (txn != NULL && txn->image.state == VOW_TXN_ACTIVE) core_txn_prepare(core, txn);
  return error;
}

enum vow_error core_abort(struct vow_core *core, const struct vow_event *event) {
  char *reason = core_text("a client asked to abort it");
  if (reason == NULL) return VOW_E_NO_MEMORY;

  enum vow_error error;
  struct core_txn *txn = core_wait_on(core, event, CORE_WAIT_ABORT, 0, &error);
  if (txn == NULL || txn->image.state > VOW_TXN_PREPARING) {
    free(reason);
    return error;
  }
  core_history(core, txn, 0, VOW_HISTORY_ABORT_ASKED, NULL);
  core_txn_abort(core, txn, reason);
  return VOW_OK;
}
