/*
 * What is done to one transaction: enlist, commit, abort, resolve, forget. What is open goes to the
 * core; what has ended is answered from the log; what nobody knows was presumably aborted.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_internal.h"

#define REASON_BYTES_MAX 1000

/* A refusal of the core, with the transaction it is about. */
static bool refused(struct vow_api_call *call, const struct vow_action *action) {
  call->token = 0;
  if (action->u.answer.error == VOW_OK && action->u.answer.txn != NULL) return false;
  enum vow_error error = action->u.answer.error == VOW_OK ? VOW_E_INTERNAL : action->u.answer.error;
  vow_api_problem_of(call, error, action->u.answer.detail, action->u.answer.txn);
  return true;
}

/* Reads a body that has nothing in it. */
static bool read_nothing(struct vow_api_call *call) {
  struct vow_json_object object;
  bool present;
  if (!vow_api_read_body(call, true, &object, &present)) return false;
  return !present || vow_api_end_body(call, &object);
}

/* ---- commit ---- */

static void on_commit(void *context, const struct vow_action *action) {
  struct vow_api_call *call = context;
  if (refused(call, action)) return;
  if (action->u.answer.pending) {
    vow_api_location(call, call->id);
    vow_api_transaction(call, 202, action->u.answer.txn);
  } else {
    vow_api_commit_outcome(call, action->u.answer.txn);
  }
}

static void commit_found(struct vow_api_call *call, const struct vow_txn *txn) {
  if (vow_api_in_core(call)) {
    struct vow_event event = {.type = VOW_EVENT_COMMIT, .id = call->id};
    event.u.finish.no_wait = vow_api_prefers_async(call);
    vow_api_submit(call, &event, on_commit);
  } else if (txn != NULL) {
    vow_api_commit_outcome(call, txn);
  } else if (vow_api_is_presumed(call)) {
    vow_api_presumed_aborted(call);
  } else {
    vow_api_unknown(call);
  }
}

void vow_api_commit(struct vow_api_call *call) {
  if (read_nothing(call)) vow_api_find(call, commit_found);
}

/* ---- abort ---- */

static void on_abort(void *context, const struct vow_action *action) {
  struct vow_api_call *call = context;
  if (refused(call, action)) return;
  const struct vow_txn *txn = action->u.answer.txn;
  if (action->u.answer.pending && txn->delegated) {
    vow_api_problem(call, VOW_E_OUTCOME_UNKNOWN,
                    "its only branch was asked to commit in one phase and has not answered, so "
                    "nobody can tell yet; ask again");
  } else if (action->u.answer.pending) {
    vow_api_problem(call, VOW_E_OVERLOADED, "the abort waits for its record; ask again");
  } else {
    vow_api_transaction(call, 200, txn);
  }
}

static void abort_found(struct vow_api_call *call, const struct vow_txn *txn) {
  if (vow_api_in_core(call)) {
    struct vow_event event = {.type = VOW_EVENT_ABORT, .id = call->id};
    vow_api_submit(call, &event, on_abort);
  } else if (txn != NULL && vow_txn_outcome(txn) == VOW_OUTCOME_ABORTED) {
    vow_api_transaction(call, 200, txn);
  } else if (txn != NULL) {
    vow_api_problem_of(call, VOW_E_ILLEGAL_STATE,
                       "the transaction is committed: the decision cannot be taken back", txn);
  } else if (vow_api_is_presumed(call)) {
    struct vow_jsonw *w = vow_api_write(call);
    vow_jsonw_object(w, NULL);
    vow_jsonw_id(w, "id", call->id);
    vow_jsonw_string(w, "state", vow_txn_state_name(VOW_TXN_ABORTED));
    vow_jsonw_bool(w, "presumed", true);
    vow_jsonw_end(w);
    vow_api_answer(call, 200);
  } else {
    vow_api_unknown(call);
  }
}

void vow_api_abort(struct vow_api_call *call) {
  if (read_nothing(call)) vow_api_find(call, abort_found);
}

/* ---- enlist ---- */

static void on_enlist(void *context, const struct vow_action *action) {
  struct vow_api_call *call = context;
  if (refused(call, action)) return;
  const struct vow_txn *txn = action->u.answer.txn;
  uint32_t number = action->u.answer.branch;
  if (number == 0 || number > txn->branch_count) {
    vow_api_problem(call, VOW_E_INTERNAL, "the core names no branch");
    return;
  }
  vow_txn_json_write_branch(vow_api_write(call), NULL, &txn->branches[number - 1]);
  vow_api_answer(call, action->u.answer.created ? 201 : 200);
}

static void enlist_found(struct vow_api_call *call, const struct vow_txn *txn) {
  if (vow_api_in_core(call)) {
    struct vow_event event = {.type = VOW_EVENT_ENLIST, .id = call->id};
    event.u.enlist = call->branches.items[0];
    vow_api_submit(call, &event, on_enlist);
  } else if (txn != NULL) {
    bool aborted = vow_txn_outcome(txn) == VOW_OUTCOME_ABORTED;
    vow_api_problem_of(call, aborted ? VOW_E_ABORTED : VOW_E_ILLEGAL_STATE,
                       aborted ? NULL
                               : "the transaction is committed: branches are enlisted before "
                                 "commit is asked",
                       txn);
  } else if (vow_api_is_presumed(call)) {
    vow_api_presumed_aborted(call);
  } else {
    vow_api_unknown(call);
  }
}

/* False: the call was answered. */
static bool read_enlist(struct vow_api_call *call) {
  struct vow_api_branches *branches = &call->branches;
  struct vow_json_object object;
  bool present;
  size_t bytes;
  (void)vow_request_body(call->request, &bytes);
  if (vow_api_branches_init(branches, 1, bytes) != VOW_OK) {
    vow_api_problem(call, VOW_E_NO_MEMORY, NULL);
    return false;
  }
  if (!vow_api_read_body(call, false, &object, &present)) return false;
  enum vow_error error = vow_api_read_branch(call->api, &object, branches);
  if (error == VOW_OK) error = vow_api_branches_end(branches);
  if (error == VOW_OK) return true;
  vow_api_problem(call, error, object.why[0] == '\0' ? NULL : object.why);
  return false;
}

void vow_api_enlist(struct vow_api_call *call) {
  if (read_enlist(call)) vow_api_find(call, enlist_found);
}

/* ---- resolve and forget ---- */

struct operation {
  enum vow_event_type type;
  enum vow_outcome outcome;
  uint64_t branch;
  const char *reason; /* borrowed from the document */
};

static void on_operated(void *context, const struct vow_action *action) {
  struct vow_api_call *call = context;
  if (refused(call, action)) return;
  if (action->u.answer.pending) {
    vow_api_problem(call, VOW_E_OVERLOADED, "it waits for its record to reach the disk; ask again");
  } else {
    vow_api_transaction_whole(call, action->u.answer.txn);
  }
}

static void note_operation(struct vow_api_call *call, const struct operation *operation) {
  struct vow_logger *logger = call->api->logger;
  bool resolve = operation->type == VOW_EVENT_RESOLVE;
  if (!vow_logger_begin(logger, VOW_LEVEL_WARN, resolve ? "resolve" : "forget",
                        "an operator asks to %s a transaction", resolve ? "resolve" : "forget")) {
    return;
  }
  vow_logger_id(logger, "transaction", call->id);
  if (operation->branch != 0) vow_logger_uint(logger, "branch", operation->branch);
  if (resolve) vow_logger_text(logger, "outcome", vow_outcome_name(operation->outcome));
  vow_logger_text(logger, "reason", operation->reason);
  vow_logger_end(logger);
}

/* Was it done already? Then asking for it again is answered alike: the first answer may have been
 * 503 or lost. */
static bool is_done(const struct operation *operation, const struct vow_txn *txn) {
  if (operation->type == VOW_EVENT_FORGET) return txn->forgotten;
  bool committed = operation->outcome == VOW_OUTCOME_COMMITTED;
  if (operation->branch == 0) return committed == (txn->state == VOW_TXN_COMMITTED);
  const struct vow_branch *branch = &txn->branches[operation->branch - 1];
  bool branch_committed =
      branch->outcome == VOW_OUTCOME_COMMITTED || branch->outcome == VOW_OUTCOME_HEURISTIC_COMMIT;
  return branch->resolved && committed == branch_committed;
}

/* Of a transaction that has ended nothing more can be resolved or forgotten. */
static void operate_on_ended(struct vow_api_call *call, const struct operation *operation,
                             const struct vow_txn *txn) {
  if (operation->branch > txn->branch_count) {
    vow_api_problem(call, VOW_E_UNKNOWN_BRANCH, "the transaction has no branch of this number");
  } else if (is_done(operation, txn)) {
    vow_api_transaction_whole(call, txn);
  } else {
    char detail[128];
    snprintf(detail, sizeof detail, "the transaction is %s, and nothing of it is open",
             vow_txn_state_name(txn->state));
    vow_api_problem_of(call, VOW_E_ILLEGAL_STATE, detail, txn);
  }
}

static void operate_found(struct vow_api_call *call, const struct vow_txn *txn) {
  const struct operation *operation = call->more;
  if (vow_api_in_core(call)) {
    struct vow_event event = {.type = operation->type, .id = call->id};
    event.u.operate.outcome = operation->outcome;
    event.u.operate.branch = (uint32_t)operation->branch;
    event.u.operate.reason = operation->reason;
    note_operation(call, operation);
    vow_api_submit(call, &event, on_operated);
  } else if (txn != NULL) {
    operate_on_ended(call, operation, txn);
  } else {
    vow_api_unknown(call);
  }
}

static void read_outcome(struct vow_json_object *object, enum vow_outcome *out) {
  const char *word = NULL;
  if (!vow_json_get_string(object, "outcome", VOW_JSON_REQUIRED, 32, &word) || word == NULL) return;
  if (strcmp(word, "committed") == 0) {
    *out = VOW_OUTCOME_COMMITTED;
  } else if (strcmp(word, "aborted") == 0) {
    *out = VOW_OUTCOME_ABORTED;
  } else {
    vow_json_object_fail(object, "outcome", "must be \"committed\" or \"aborted\"");
  }
}

static void operate(struct vow_api_call *call, enum vow_event_type type) {
  struct vow_json_object object;
  bool present;
  struct operation *operation = calloc(1, sizeof *operation);
  if (operation == NULL) {
    vow_api_problem(call, VOW_E_NO_MEMORY, NULL);
    return;
  }
  call->more = operation;
  call->free_more = free;
  operation->type = type;
  if (!vow_api_read_body(call, false, &object, &present)) return;
  if (type == VOW_EVENT_RESOLVE) {
    read_outcome(&object, &operation->outcome);
    vow_json_get_uint(&object, "branch", VOW_JSON_OPTIONAL, 1, UINT32_MAX, &operation->branch);
  }
  if (vow_json_get_string(&object, "reason", VOW_JSON_REQUIRED, REASON_BYTES_MAX,
                          &operation->reason) &&
      operation->reason != NULL && operation->reason[0] == '\0') {
    vow_json_object_fail(&object, "reason", "must not be empty: it is kept for whoever asks why");
  }
  if (vow_api_end_body(call, &object)) vow_api_find(call, operate_found);
}

void vow_api_resolve(struct vow_api_call *call) {
  operate(call, VOW_EVENT_RESOLVE);
}

void vow_api_forget(struct vow_api_call *call) {
  operate(call, VOW_EVENT_FORGET);
}
