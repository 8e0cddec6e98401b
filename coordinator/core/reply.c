/*
 * What an answer of a participant, or its absence, means for its branch. The table of
 * proto/README.md, "How the coordinator reads an answer", is this file.
 *
 * A message may come back when the branch no longer waits for it: a vote may find the transaction
 * aborting, anything may find the branch settled by an operator. The branch's state decides what is
 * still heard. core_reply is the only entry.
 */
#include <stdlib.h>

#include "core_internal.h"

/* One result of a SEND, with what was asked. */
struct answer {
  enum vow_message_type to;
  bool one_phase;
  enum vow_reply_kind kind;
  enum vow_vote vote;
  enum vow_outcome outcome;
  const char *reason;
  const char *error; /* never NULL unless ANSWERED */
  bool not_delivered;
};

static bool is_heuristic(enum vow_outcome outcome) {
  return outcome >= VOW_OUTCOME_HEURISTIC_COMMIT;
}

/* Undecided, and the commit was handed to this branch: its word is the decision (C4). */
static bool is_delegate(const struct core_task *task) {
  return task->txn->image.state == VOW_TXN_PREPARING && task->txn->image.delegated;
}

/* ---- what most answers come down to ---- */

static void note_failure(struct vow_core *core, struct core_task *task, const char *error) {
  struct vow_branch *branch = core_branch(task);

  free(branch->last_error);
  branch->last_error = core_text("%s", error);
  branch->last_error_ms = core->wall_ms;
  core_history_text(core, task->txn, branch->number, VOW_HISTORY_ATTEMPT_FAILED,
                    core_text("%s", error));
}

static void retry(struct vow_core *core, struct core_task *task) {
  if (task->failures < UINT16_MAX) task->failures++;
  core_task_delay(core, task, core_backoff_ms(core, task->failures));
}

/* A transaction that was still undecided aborts. One that was to be asked keeps its first reason.
 */
static void abort_for(struct vow_core *core, struct core_task *task, const char *what,
                      const char *why) {
  struct vow_txn *image = &task->txn->image;

  if (image->state != VOW_TXN_PREPARING) return;
  if (image->reason == NULL) {
    image->reason = core_text("branch '%s' %s%s%s", core_branch(task)->name, what,
                              why == NULL ? "" : ": ", why == NULL ? "" : why);
  }
  core_txn_abort_now(core, task->txn);
}

static void end_branch(struct vow_core *core, struct core_task *task, enum vow_branch_state state,
                       enum vow_outcome outcome) {
  enum vow_history_kind kind =
      state == VOW_BRANCH_HEURISTIC ? VOW_HISTORY_HEURISTIC : VOW_HISTORY_ACKNOWLEDGED;

  core_history(core, task->txn, core_branch(task)->number, kind, vow_outcome_name(outcome));
  core_branch_end(core, task, state, outcome);
}

/* The only branch told how it ended: that is the transaction's outcome. Of a mixed end or a hazard
 * nobody may say that it committed. */
static void end_delegate(struct vow_core *core, struct core_task *task, enum vow_outcome outcome) {
  CORE_ASSERT(is_delegate(task));
  switch (outcome) {
    case VOW_OUTCOME_COMMITTED:
      end_branch(core, task, VOW_BRANCH_COMMITTED, outcome);
      return;
    case VOW_OUTCOME_HEURISTIC_COMMIT:
      end_branch(core, task, VOW_BRANCH_HEURISTIC, outcome);
      return;
    case VOW_OUTCOME_ABORTED:
      end_branch(core, task, VOW_BRANCH_ABORTED, outcome);
      break;
    default:
      end_branch(core, task, VOW_BRANCH_HEURISTIC, outcome);
      break;
  }
  abort_for(core, task, "ended", vow_outcome_name(outcome));
}

/* ---- prepare ---- */

static void record_vote(struct vow_core *core, struct core_task *task, enum vow_vote vote,
                        const char *reason) {
  struct vow_branch *branch = core_branch(task);

  branch->vote = vote;
  if (reason == NULL) {
    core_history(core, task->txn, branch->number, VOW_HISTORY_VOTE, vow_vote_name(vote));
  } else {
    core_history_text(core, task->txn, branch->number, VOW_HISTORY_VOTE,
                      core_text("%s: %s", vow_vote_name(vote), reason));
  }
}

static void voted_commit(struct vow_core *core, struct core_task *task) {
  /* A delegate that ignored one_phase has committed nothing: two phases from here on. */
  task->txn->image.delegated = false;
  if (core_branch(task)->state == VOW_BRANCH_PREPARING) {
    core_branch_prepared(core, task);
  } else {
    abort_for(core, task, "voted too late", NULL);
    core_task_push(core, task);
  }
}

static void vote(struct vow_core *core, struct core_task *task, const struct answer *answer) {
  record_vote(core, task, answer->vote, answer->reason);
  /* An outcome `aborted` says no more than the vote, which has the reason. */
  bool ended = answer->outcome != VOW_OUTCOME_NONE && answer->outcome != VOW_OUTCOME_ABORTED;
  if (ended) { /* so it was asked in one phase */
    end_delegate(core, task, answer->outcome);
  } else if (answer->vote == VOW_VOTE_COMMIT) {
    voted_commit(core, task);
  } else if (answer->vote == VOW_VOTE_READ_ONLY) {
    core_branch_end(core, task, VOW_BRANCH_READ_ONLY, VOW_OUTCOME_NONE);
  } else {
    core_branch_end(core, task, VOW_BRANCH_ABORTED, VOW_OUTCOME_ABORTED);
    abort_for(core, task, "voted abort", answer->reason);
  }
}

/* It counts as a vote abort, but what could not be read may have been a yes: abort follows. Nor is
 * it proof of anything if the commit was handed over. */
static void refuse_prepare(struct vow_core *core, struct core_task *task,
                           const struct answer *answer) {
  note_failure(core, task, answer->error);
  if (is_delegate(task)) {
    core_txn_abort(core, task->txn,
                   core_text("branch '%s' refused: %s", core_branch(task)->name, answer->error));
    core_task_push(core, task);
    return;
  }
  core_branch(task)->vote = VOW_VOTE_ABORT;
  if (answer->kind == VOW_REPLY_UNKNOWN_BRANCH) {
    core_branch_end(core, task, VOW_BRANCH_ABORTED, VOW_OUTCOME_ABORTED);
  }
  abort_for(core, task, "refused", answer->error);
  if (core_branch(task)->state == VOW_BRANCH_ABORTING) core_task_push(core, task);
}

/* It arrived too late to matter, but may have been received: abort follows. If it certainly never
 * arrived, the branch can hold no vote and, with its payload still here, no work. */
static void fail_late_prepare(struct vow_core *core, struct core_task *task) {
  if (task->may_hold_vote) {
    core_task_push(core, task);
  } else if (is_delegate(task)) {
    task->txn->image.delegated = false;
    abort_for(core, task, "cannot be reached", NULL);
  } else if (core_branch(task)->payload == NULL) {
    core_task_push(core, task);
  } else {
    core_branch_end(core, task, VOW_BRANCH_ABORTED, VOW_OUTCOME_ABORTED);
  }
}

static void fail_prepare(struct vow_core *core, struct core_task *task,
                         const struct answer *answer) {
  note_failure(core, task, answer->error);
  if (core_branch(task)->state == VOW_BRANCH_ABORTING) {
    fail_late_prepare(core, task);
  } else if (answer->kind == VOW_REPLY_BRANCH_FAILED) {
    retry(core, task);
  } else {
    core_task_push(core, task);
  }
}

static void on_prepare(struct vow_core *core, struct core_task *task, const struct answer *answer) {
  if (!answer->not_delivered) task->may_hold_vote = true;
  switch (answer->kind) {
    case VOW_REPLY_ANSWERED:
      vote(core, task, answer);
      break;
    case VOW_REPLY_ENDPOINT_DOWN:
    case VOW_REPLY_NOT_A_BATCH:
    case VOW_REPLY_BRANCH_FAILED:
      fail_prepare(core, task, answer);
      break;
    case VOW_REPLY_REFUSED:
    case VOW_REPLY_UNKNOWN_BRANCH:
      refuse_prepare(core, task, answer);
      break;
  }
}

/* ---- commit, abort, forget ---- */

/* A branch that does not know its commit is asked again, but seldom: only an operator can help. */
static void lost_branch(struct vow_core *core, struct core_task *task, const char *error) {
  note_failure(core, task, error);
  if (core_branch(task)->state == VOW_BRANCH_COMMITTING) {
    core_history(core, task->txn, core_branch(task)->number, VOW_HISTORY_HEURISTIC,
                 "told to commit, it does not know the branch");
    core_branch_end(core, task, VOW_BRANCH_UNKNOWN, VOW_OUTCOME_NONE);
  }
  core_task_delay(core, task, core->config.retry_max_ms);
}

static void on_commit(struct vow_core *core, struct core_task *task, const struct answer *answer) {
  switch (answer->kind) {
    case VOW_REPLY_ANSWERED:
      if (answer->outcome == VOW_OUTCOME_COMMITTED) {
        end_branch(core, task, VOW_BRANCH_COMMITTED, answer->outcome);
      } else {
        bool aborted = answer->outcome == VOW_OUTCOME_ABORTED;
        end_branch(core, task, VOW_BRANCH_HEURISTIC,
                   aborted ? VOW_OUTCOME_HEURISTIC_ABORT : answer->outcome);
      }
      break;
    case VOW_REPLY_ENDPOINT_DOWN:
    case VOW_REPLY_NOT_A_BATCH:
      note_failure(core, task, answer->error);
      core_task_push(core, task);
      break;
    case VOW_REPLY_BRANCH_FAILED:
    case VOW_REPLY_REFUSED:
      note_failure(core, task, answer->error);
      retry(core, task);
      break;
    case VOW_REPLY_UNKNOWN_BRANCH:
      lost_branch(core, task, answer->error);
      break;
  }
}

static void told_abort(struct vow_core *core, struct core_task *task, enum vow_outcome outcome) {
  if (is_delegate(task)) {
    end_delegate(core, task, outcome);
  } else if (outcome == VOW_OUTCOME_ABORTED) {
    end_branch(core, task, VOW_BRANCH_ABORTED, outcome);
  } else {
    bool committed = outcome == VOW_OUTCOME_COMMITTED;
    end_branch(core, task, VOW_BRANCH_HEURISTIC,
               committed ? VOW_OUTCOME_HEURISTIC_COMMIT : outcome);
  }
}

static void on_abort(struct vow_core *core, struct core_task *task, const struct answer *answer) {
  switch (answer->kind) {
    case VOW_REPLY_ANSWERED:
      told_abort(core, task, answer->outcome);
      break;
    case VOW_REPLY_UNKNOWN_BRANCH:
      told_abort(core, task, VOW_OUTCOME_ABORTED);
      break;
    case VOW_REPLY_ENDPOINT_DOWN:
    case VOW_REPLY_NOT_A_BATCH:
      note_failure(core, task, answer->error);
      core_task_push(core, task);
      break;
    case VOW_REPLY_REFUSED:
    case VOW_REPLY_BRANCH_FAILED:
      note_failure(core, task, answer->error);
      if (task->heard || is_delegate(task)) {
        retry(core, task);
      } else { /* whoever refused every message about a branch holds no vote of it */
        told_abort(core, task, VOW_OUTCOME_ABORTED);
      }
      break;
  }
}

/* Whoever does not know the branch, or takes no forget, has nothing to forget. */
static void on_forget(struct vow_core *core, struct core_task *task, const struct answer *answer) {
  switch (answer->kind) {
    case VOW_REPLY_ENDPOINT_DOWN:
    case VOW_REPLY_NOT_A_BATCH:
      note_failure(core, task, answer->error);
      core_task_push(core, task);
      break;
    case VOW_REPLY_BRANCH_FAILED:
      note_failure(core, task, answer->error);
      retry(core, task);
      break;
    case VOW_REPLY_ANSWERED:
    case VOW_REPLY_REFUSED:
    case VOW_REPLY_UNKNOWN_BRANCH:
      task->txn->pending--;
      break;
  }
}

/* ---- reading ---- */

/* Does the answer fit what was asked? The codec sees to its shape, not to its sense. */
static bool makes_sense(const struct answer *answer) {
  enum vow_outcome outcome = answer->outcome;
  enum vow_vote vote = answer->vote;

  if (answer->to == VOW_MESSAGE_FORGET) return true;
  if (answer->to != VOW_MESSAGE_PREPARE) return outcome != VOW_OUTCOME_NONE;
  if (vote == VOW_VOTE_NONE) return false;
  if (outcome == VOW_OUTCOME_NONE) return true;
  if (outcome == VOW_OUTCOME_ABORTED) return vote == VOW_VOTE_ABORT;
  if (!answer->one_phase) return false;
  return is_heuristic(outcome) || vote == VOW_VOTE_COMMIT;
}

static void hear(struct vow_core *core, struct core_task *task, const struct answer *answer) {
  if (answer->kind != VOW_REPLY_REFUSED && !answer->not_delivered) task->heard = true;
  switch (answer->to) {
    case VOW_MESSAGE_PREPARE:
      on_prepare(core, task, answer);
      break;
    case VOW_MESSAGE_COMMIT:
      on_commit(core, task, answer);
      break;
    case VOW_MESSAGE_ABORT:
      on_abort(core, task, answer);
      break;
    case VOW_MESSAGE_FORGET:
      on_forget(core, task, answer);
      break;
  }
}

static struct answer read_result(const struct core_request *request, const struct vow_event *event,
                                 uint32_t index) {
  struct answer answer = {
      .to = request->messages[index].type,
      .one_phase = request->messages[index].one_phase,
      .kind = event->u.reply.results[index].kind,
      .vote = event->u.reply.results[index].reply.vote,
      .outcome = event->u.reply.results[index].reply.outcome,
      .reason = event->u.reply.results[index].reply.reason,
      .error = event->u.reply.results[index].error,
  };

  if (answer.kind == VOW_REPLY_ANSWERED && !makes_sense(&answer)) {
    answer.kind = VOW_REPLY_REFUSED;
    answer.error = "the answer does not fit the question";
  }
  if (answer.kind == VOW_REPLY_ENDPOINT_DOWN && event->u.reply.results[index].timed_out &&
      core_endpoint_answers(request->endpoint, request)) {
    answer.kind = VOW_REPLY_BRANCH_FAILED;
  }
  if (answer.error == NULL) answer.error = "no reason was given";
  if (event->u.reply.results[index].kind == VOW_REPLY_ENDPOINT_DOWN) {
    answer.not_delivered = event->u.reply.results[index].not_delivered;
  }
  return answer;
}

static bool is_valid(const struct core_request *request, const struct vow_event *event) {
  if (event->u.reply.count != request->count) return false;
  for (uint32_t i = 0; i < request->count; i++) {
    enum vow_reply_kind kind = event->u.reply.results[i].kind;
    if (kind < VOW_REPLY_ANSWERED || kind > VOW_REPLY_NOT_A_BATCH) return false;
    if (kind == VOW_REPLY_NOT_A_BATCH && request->count == 1) return false;
  }
  return true;
}

enum vow_error core_reply(struct vow_core *core, const struct vow_event *event) {
  uint64_t number = event->u.reply.request;
  struct core_tree_node *node = core_tree_find(&core->by_number, &number);
  if (node == NULL) return VOW_E_INVALID_ARGUMENT;
  struct core_request *request = core_container(node, struct core_request, by_number);
  if (!is_valid(request, event)) return VOW_E_INVALID_ARGUMENT;

  struct core_endpoint *endpoint = request->endpoint;
  const char *down = NULL;
  bool answered = false;
  core_witness(core, event->u.reply.seen, endpoint->url);
  core_tree_remove(&core->by_number, &number, node);
  core_endpoint_returned(request);
  for (uint32_t i = 0; i < request->count; i++) {
    struct core_task *task = request->tasks[i];
    struct answer answer = read_result(request, event, i);
    enum vow_reply_kind kind = event->u.reply.results[i].kind;
    enum vow_message_type due;
    task->state = CORE_TASK_IDLE;
    task->alone = kind == VOW_REPLY_ENDPOINT_DOWN && (task->alone || !answer.not_delivered);
    task->txn->inflight--;
    core_touch(core, task->txn);
    if (!task->txn->parked && core_task_message(task, &due)) hear(core, task, &answer);
    /* These two it has written itself, and beside them what it has seen. */
    endpoint->introduced |= kind == VOW_REPLY_ANSWERED || kind == VOW_REPLY_UNKNOWN_BRANCH;
    if (answer.kind == VOW_REPLY_ENDPOINT_DOWN) down = answer.error;
    answered |= kind != VOW_REPLY_ENDPOINT_DOWN;
    if (kind == VOW_REPLY_NOT_A_BATCH) core_endpoint_refused_batch(endpoint);
  }
  if (down != NULL) {
    core_endpoint_failed(core, endpoint, request->epoch, down);
  } else if (answered) {
    core_endpoint_answered(core, endpoint, request->epoch, event->u.reply.batch_max);
  } else {
    core_endpoint_kick(core, endpoint);
  }
  free(request);
  return VOW_OK;
}
