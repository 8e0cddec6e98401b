/*
 * The core under its lock: events go in, and the actions that come out are carried out here.
 * Nothing blocks while the lock is held; without threads for callbacks, what comes after that may.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "failpoint.h"
#include "participant_internal.h"
#include "reason.h"

/* One step: what it answered, and, inside a transaction of the log, the job that it continues. */
struct step {
  struct vow_participant *p;
  struct vow_exchange *answered;
  struct vow_log_job *job;
  struct vow_log_job *last_record;          /* a purge belongs to it */
  struct vow_log_job *jobs, **end;          /* for the log, all at once: they share a sync */
  bool proceeds;                            /* the log asked for it */
  struct vow_pool_task *tasks, **tasks_end; /* for the pool, all at once; or for this thread */
  int callbacks;                            /* how many more of them are under way */
};

uint64_t vow_engine_now_ms(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* splitmix64: pauses need to differ, not to be secret. */
static uint64_t next_random(struct vow_participant *p) {
  uint64_t z = p->random_state += 0x9E3779B97F4A7C15U;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
  z = (z ^ z >> 27) * 0x94D049BB133111EBU;
  return z ^ z >> 31;
}

/* ---- exchanges ---- */

static void enter(struct vow_participant *p, struct vow_exchange *exchange) {
  exchange->previous = NULL;
  exchange->next = p->pending;
  if (p->pending) p->pending->previous = exchange;
  p->pending = exchange;
}

/* Moves it from the pending to the answered. */
static void settle(struct step *step, struct vow_exchange *exchange, enum vow_error error,
                   const char *text) {
  struct vow_participant *p = step->p;
  if (exchange->previous) exchange->previous->next = exchange->next;
  if (exchange->next) exchange->next->previous = exchange->previous;
  if (p->pending == exchange) p->pending = exchange->next;
  if (!p->pending) pthread_cond_broadcast(&p->idle);
  exchange->error = error;
  exchange->text[0] = '\0';
  if (text) (void)snprintf(exchange->text, sizeof exchange->text, "%s", text);
  exchange->next = step->answered;
  step->answered = exchange;
}

static void settle_all(struct step *step, enum vow_error error, const char *why) {
  while (step->p->pending) settle(step, step->p->pending, error, why);
}

static void give_job(struct step *step, struct vow_log_job *job) {
  if (!step->jobs) step->end = &step->jobs;
  *step->end = job;
  step->end = &job->next;
}

static void complete(struct vow_exchange *answered) {
  while (answered) {
    struct vow_exchange *exchange = answered;
    answered = exchange->next;
    bool fails = false;
    if (exchange->type == VOW_MESSAGE_PREPARE) fails = VOW_FAILPOINT_FAILS("vote.before_reply");
    if (exchange->type == VOW_MESSAGE_COMMIT || exchange->type == VOW_MESSAGE_ABORT) {
      fails = VOW_FAILPOINT_FAILS("ack.before_reply");
    }
    if (fails) exchange->error = VOW_E_INTERNAL;
    exchange->done(exchange->context);
  }
}

/* Releases the lock and hands over what came of the steps: to the log before the lock is released,
 * since its order counts, and to the others after that, so that they need not wait for the lock. */
static void hand_over(struct step *step) {
  struct vow_participant *p = step->p;
  if (step->jobs || step->callbacks != 0) {
    step->proceeds |= vow_log_submit(p->log, step->jobs, step->callbacks);
  }
  pthread_mutex_unlock(&p->lock);
  complete(step->answered);
}

static void run_tasks(struct step *step);

static void leave(struct step *step) {
  struct vow_participant *p = step->p;
  hand_over(step);
  if (step->tasks && p->pool) vow_pool_give(p->pool, step->tasks);
  if (step->tasks && !p->pool) run_tasks(step);
  if (step->proceeds) vow_log_proceed(p->log);
}

static void fail(struct step *step, enum vow_error error, const char *why) {
  struct vow_participant *p = step->p;
  if (p->failed) return;
  /* Always a 500, which concludes nothing: what could not be written may have been written. Other
   * errors the coordinator would take for a vote to abort. */
  p->failed = vow_error_http_status(error) == 500 ? error : VOW_E_LOG_IO;
  (void)snprintf(p->failed_why, sizeof p->failed_why,
                 "the vote log failed; restart this participant: %s", why);
  settle_all(step, p->failed, p->failed_why);
  p->deaf = true;
}

/* ---- actions ---- */

struct callback_task {
  struct vow_pool_task task;
  struct vow_participant *p;
  enum vow_message_type call;
  struct vow_precord_key key;
  struct vow_work work; /* its payload stays while the callback runs */
  char transaction[VOW_ID_TEXT_BYTES];
};

static void run_task(struct vow_pool_task *task);

static void drop_callback(struct vow_pool_task *pool_task) {
  struct callback_task *task = (struct callback_task *)pool_task;
  struct vow_log *log = task->p->log;
  if (vow_log_submit(log, NULL, -1)) vow_log_proceed(log);
  free(task);
}

static void give_callback(struct step *step, const struct vow_paction *action) {
  const struct vow_pbranch *branch = action->branch;
  struct callback_task *task = calloc(1, sizeof *task);
  if (!task) {
    fail(step, VOW_E_NO_MEMORY, "out of memory");
    return;
  }
  task->task.run = run_task;
  task->task.drop = drop_callback;
  task->p = step->p;
  task->call = action->u.call;
  task->key = (struct vow_precord_key){branch->transaction, branch->number};
  vow_id_format(branch->transaction, task->transaction);
  task->work.transaction = task->transaction;
  task->work.branch = branch->number;
  task->work.payload = branch->live->payload;
  task->work.payload_bytes = branch->live->payload_bytes;
  task->task.urgent = task->call != VOW_MESSAGE_PREPARE;
  step->callbacks++;
  if (!step->tasks) step->tasks_end = &step->tasks;
  *step->tasks_end = &task->task;
  step->tasks_end = &task->task.next;
}

static void do_call(struct step *step, const struct vow_paction *action) {
  if (!step->p->resource) {
    give_callback(step, action);
    return;
  }
  struct vow_log_job *job = step->job ? step->job : vow_log_job_new(VOW_LOG_CALL);
  if (!job) {
    fail(step, VOW_E_NO_MEMORY, "out of memory");
    return;
  }
  job->type = VOW_LOG_CALL;
  job->call = action->u.call;
  job->branch = action->branch;
  job->forced = true;
  if (!step->job) give_job(step, job);
}

static void do_log(struct step *step, const struct vow_paction *action) {
  struct vow_log_job *job = step->job ? step->job : vow_log_job_new(VOW_LOG_RECORD);
  if (!job) {
    fail(step, VOW_E_NO_MEMORY, "out of memory");
    return;
  }
  job->type = VOW_LOG_RECORD;
  job->record = action->u.log.record;
  job->position = action->u.log.position;
  job->forced = action->u.log.forced;
  /* Of a branch that had voted, everybody else has been told how it ends. */
  bool ends = job->record.kind == VOW_PRECORD_COMMITTED || job->record.kind == VOW_PRECORD_ABORTED;
  job->patient = job->forced && ends && action->branch->durable == VOW_PRECORD_PREPARED;
  job->seen = action->u.log.seen;
  step->last_record = job;
}

/* Without memory the rows stay until the next start finds them; the watermark is stored. */
static void do_purge(struct step *step, const struct vow_paction *action) {
  struct vow_log_job *job = step->last_record;
  assert(job);
  if (!job) return;
  job->purge_coordinator = action->u.purge.coordinator;
  job->purge_below = action->u.purge.finished_below;
  size_t bytes = action->u.purge.count * sizeof *job->purge_rows;
  if (!(job->purge_rows = malloc(bytes))) return;
  memcpy(job->purge_rows, action->u.purge.rows, bytes);
  job->purge_count = action->u.purge.count;
}

static void do_save(struct step *step, const struct vow_paction *action) {
  struct vow_log_job *job = vow_log_job_new(VOW_LOG_WATERMARK);
  if (!job) {
    fail(step, VOW_E_NO_MEMORY, "out of memory");
    return;
  }
  job->position = action->u.save.position;
  job->forced = true;
  job->purge_coordinator = action->u.save.coordinator;
  job->purge_below = action->u.save.finished_below;
  give_job(step, job);
}

static void do_reply(struct step *step, const struct vow_paction *action) {
  struct vow_participant *p = step->p;
  assert(action->u.reply.after <= p->durable_position);
  if (p->deaf) return;
  struct vow_exchange *exchange = (struct vow_exchange *)(uintptr_t)action->u.reply.token;
  exchange->reply = action->u.reply.reply;
  exchange->reply.seen = action->u.reply.seen;
  enum vow_error error = action->u.reply.error;
  settle(step, exchange, error, error ? action->u.reply.detail : exchange->reply.reason);
  exchange->reply.reason = !error && exchange->text[0] ? exchange->text : NULL;
}

static void do_ask(struct vow_participant *p, const struct vow_paction *action) {
  assert(p->question_count < VOW_PCORE_TICK_MAX);
  p->questions[p->question_count++] = (struct vow_question){
      .coordinator = vow_pbranch_coordinator(action->branch),
      .key = {action->branch->transaction, action->branch->number},
  };
}

static void act(struct step *step, const struct vow_pactions *actions) {
  for (uint32_t i = 0; i < actions->count && !step->p->failed; i++) {
    const struct vow_paction *action = &actions->items[i];
    switch (action->type) {
      case VOW_PACTION_CALL:
        do_call(step, action);
        break;
      case VOW_PACTION_LOG:
        do_log(step, action);
        break;
      case VOW_PACTION_PURGE:
        do_purge(step, action);
        break;
      case VOW_PACTION_SAVE:
        do_save(step, action);
        break;
      case VOW_PACTION_REPLY:
        do_reply(step, action);
        break;
      case VOW_PACTION_ASK:
        do_ask(step->p, action);
        break;
    }
  }
  if (step->last_record && !step->job) give_job(step, step->last_record);
}

/* ---- steps ---- */

static void run(struct step *step, struct vow_pevent *event) {
  struct vow_participant *p = step->p;
  if (p->failed) return;
  event->now_ms = vow_engine_now_ms();
  event->random = next_random(p);
  step->last_record = NULL;
  struct vow_pactions actions;
  enum vow_error error = vow_pcore_step(p->core, event, &actions);
  assert(error == VOW_OK);
  if (error) return; /* an event that does not fit changes nothing */
  act(step, &actions);
  if (vow_pcore_next_deadline(p->core) < p->tick_due_ms) {
    p->tick_due_ms = 0;
    vow_inquiry_wake(p->inquiry);
  }
}

/* One event, with the lock taken and released around it; perhaps what `returned` callbacks did. */
static void run_alone(struct vow_participant *p, struct vow_pevent *event, int returned) {
  struct step step = {.p = p, .callbacks = -returned};
  pthread_mutex_lock(&p->lock);
  run(&step, event);
  leave(&step);
}

/* A request is entered and handed to the core, or refused. */
static void run_request(struct step *step, struct vow_exchange *exchange,
                        struct vow_pevent *event) {
  struct vow_participant *p = step->p;
  enter(p, exchange);
  if (p->failed) {
    settle(step, exchange, p->failed, p->failed_why);
  } else if (p->draining) {
    settle(step, exchange, VOW_E_DRAINING, "this participant is shutting down");
  } else {
    run(step, event);
  }
}

/* True: it is answered with an error. */
static bool pass_failpoint(enum vow_message_type type) {
  switch (type) {
    case VOW_MESSAGE_PREPARE:
      return VOW_FAILPOINT_FAILS("prepare.received");
    case VOW_MESSAGE_COMMIT:
      return VOW_FAILPOINT_FAILS("commit.received");
    case VOW_MESSAGE_ABORT:
      return VOW_FAILPOINT_FAILS("abort.received");
    default:
      return false;
  }
}

/* One that is wrong is among the answered at once. */
static void run_message(struct step *step, const struct vow_message *message, const char *refused,
                        struct vow_exchange *exchange) {
  if (exchange->error) {
    exchange->next = step->answered;
    step->answered = exchange;
    return;
  }
  struct vow_pevent event = {.type = VOW_PEVENT_MESSAGE};
  exchange->type = message->type;
  event.u.message.token = (uintptr_t)exchange;
  event.u.message.message = message;
  event.u.message.refused = refused;
  run_request(step, exchange, &event);
}

void vow_engine_messages(struct vow_participant *p, const struct vow_message *messages,
                         struct vow_exchange *exchanges, uint32_t count) {
  const char *refused = vow_log_refuses(p->log, vow_engine_now_ms());
  struct step step = {.p = p};
  for (uint32_t i = 0; i < count; i++) {
    if (exchanges[i].error || !pass_failpoint(messages[i].type)) continue;
    exchanges[i].error = VOW_E_INTERNAL;
  }
  pthread_mutex_lock(&p->lock);
  for (uint32_t i = 0; i < count; i++) run_message(&step, &messages[i], refused, &exchanges[i]);
  leave(&step);
}

void vow_engine_operate(struct vow_participant *p, const struct vow_precord_key *key,
                        enum vow_outcome outcome, struct vow_exchange *exchange) {
  struct vow_pevent event = {.type = VOW_PEVENT_OPERATE};
  event.transaction = key->transaction;
  event.branch = key->branch;
  event.u.operate.token = (uintptr_t)exchange;
  event.u.operate.outcome = outcome;
  struct step step = {.p = p};
  pthread_mutex_lock(&p->lock);
  run_request(&step, exchange, &event);
  leave(&step);
}

uint32_t vow_engine_tick(struct vow_participant *p, struct vow_question *questions) {
  struct step step = {.p = p};
  struct vow_pevent event = {.type = VOW_PEVENT_TICK};
  pthread_mutex_lock(&p->lock);
  p->question_count = 0;
  run(&step, &event);
  uint32_t count = p->question_count;
  memcpy(questions, p->questions, count * sizeof *questions);
  p->inquiries += count;
  leave(&step);
  return count;
}

struct vow_log_position vow_engine_seen(struct vow_participant *p, const char *coordinator) {
  pthread_mutex_lock(&p->lock);
  struct vow_log_position seen = vow_pcore_seen(p->core, coordinator);
  pthread_mutex_unlock(&p->lock);
  return seen;
}

void vow_engine_answered(struct vow_participant *p, const struct vow_question *questions,
                         size_t count, struct vow_log_position log, struct vow_log_position told) {
  struct step step = {.p = p};
  pthread_mutex_lock(&p->lock);
  for (size_t i = 0; i < count; i++) {
    if (!questions[i].answered) continue;
    struct vow_pevent event = {.type = VOW_PEVENT_ANSWERED};
    event.transaction = questions[i].key.transaction;
    event.branch = questions[i].key.branch;
    event.u.answer.outcome = questions[i].answer;
    event.u.answer.log = log;
    event.u.answer.told = told;
    run(&step, &event);
  }
  leave(&step);
}

void vow_engine_ask_failed(struct vow_participant *p, const char *coordinator) {
  struct vow_pevent event = {.type = VOW_PEVENT_ASK_FAILED};
  event.u.coordinator.url = coordinator;
  run_alone(p, &event, 0);
}

void vow_engine_dismiss(struct vow_participant *p, enum vow_error error, const char *why) {
  struct step step = {.p = p};
  pthread_mutex_lock(&p->lock);
  p->draining = true;
  settle_all(&step, error, why);
  p->deaf = true;
  leave(&step);
}

/* ---- callbacks ---- */

static struct vow_pevent result_event(const struct vow_precord_key *key, enum vow_message_type call,
                                      enum vow_vote vote, enum vow_error error,
                                      const char *reason) {
  struct vow_pevent event = {.transaction = key->transaction, .branch = key->branch};
  if (call == VOW_MESSAGE_PREPARE) {
    event.type = VOW_PEVENT_VOTED;
    event.u.voted.vote = vote;
    event.u.voted.reason = reason;
  } else {
    event.type = VOW_PEVENT_FINISHED;
    event.u.finished.error = error;
    event.u.finished.reason = reason;
  }
  return event;
}

static struct vow_pevent call_back(const struct callback_task *task, struct vow_reason *reason) {
  const struct vow_participant_options *options = &task->p->options;
  enum vow_vote vote = VOW_VOTE_NONE;
  enum vow_error error = VOW_OK;
  if (task->call == VOW_MESSAGE_PREPARE) {
    vote = options->prepare(options->context, &task->work, reason);
    if (VOW_FAILPOINT_FAILS("prepare.after_callback")) vote = VOW_VOTE_ABORT;
  } else if (task->call == VOW_MESSAGE_COMMIT) {
    error = options->commit(options->context, &task->work, reason);
    if (VOW_FAILPOINT_FAILS("commit.after_callback")) error = VOW_E_DATABASE;
  } else if (options->abort) {
    error = options->abort(options->context, &task->work, reason);
  }
  return result_event(&task->key, task->call, vote, error, reason->text);
}

/* Of the pool. */
static void run_task(struct vow_pool_task *pool_task) {
  struct callback_task *task = (struct callback_task *)pool_task;
  struct vow_reason reason = {.text = ""};
  struct vow_pevent event = call_back(task, &reason);
  run_alone(task->p, &event, 1);
  free(task);
}

/* On this thread, one after the other. What comes of one may be the next. */
static void run_tasks(struct step *step) {
  while (step->tasks) {
    struct callback_task *task = (struct callback_task *)step->tasks;
    struct vow_reason reason = {.text = ""};
    struct vow_pevent event = call_back(task, &reason);
    *step = (struct step){.p = step->p,
                          .proceeds = step->proceeds,
                          .tasks = task->task.next,
                          .tasks_end = step->tasks_end,
                          .callbacks = -1};
    pthread_mutex_lock(&step->p->lock);
    run(step, &event);
    hand_over(step);
    free(task);
  }
}

/* ---- the log's reports ---- */

/* Inside the log's transaction. */
static void on_called(void *context, struct vow_log_job *job, enum vow_vote vote,
                      enum vow_error error, const char *reason) {
  struct vow_participant *p = context;
  struct vow_precord_key key = {job->branch->transaction, job->branch->number};
  struct vow_pevent event = result_event(&key, job->call, vote, error, reason);
  struct step step = {.p = p, .job = job};
  job->type = VOW_LOG_NOTHING;
  job->position = 0;
  pthread_mutex_lock(&p->lock);
  run(&step, &event);
  leave(&step);
}

static void on_done(void *context, const struct vow_log_job *jobs, const char *why) {
  struct vow_participant *p = context;
  struct step step = {.p = p};
  pthread_mutex_lock(&p->lock);
  for (const struct vow_log_job *job = jobs; job; job = job->next) {
    if (job->written && job->position > p->durable_position) p->durable_position = job->position;
  }
  for (const struct vow_log_job *job = jobs; job; job = job->next) {
    bool writes = job->type == VOW_LOG_RECORD || job->type == VOW_LOG_WATERMARK;
    if (!writes || !job->forced) continue;
    struct vow_pevent event = {
        .type = job->written ? VOW_PEVENT_LOGGED : VOW_PEVENT_NOT_LOGGED,
        .transaction = job->record.transaction,
        .branch = job->record.branch,
    };
    event.u.logged.position = job->position;
    event.u.logged.error = job->error;
    event.u.logged.why = why;
    run(&step, &event);
  }
  leave(&step);
}

static void on_broken(void *context, enum vow_error error, const char *why) {
  struct vow_participant *p = context;
  struct step step = {.p = p};
  pthread_mutex_lock(&p->lock);
  fail(&step, error, why);
  leave(&step);
}

void vow_engine_log_hooks(struct vow_participant *p, struct vow_log_hooks *hooks) {
  *hooks = (struct vow_log_hooks){
      .context = p, .called = on_called, .done = on_done, .broken = on_broken};
}

/* ---- start ---- */

static enum vow_error load(struct vow_participant *p, struct vow_pevent *event) {
  struct vow_pactions actions;
  event->now_ms = vow_engine_now_ms();
  return vow_pcore_step(p->core, event, &actions);
}

static enum vow_error on_load_coordinator(void *context, const char *url,
                                          struct vow_id finished_below) {
  struct vow_pevent event = {.type = VOW_PEVENT_LOAD_COORDINATOR};
  event.u.coordinator.url = url;
  event.u.coordinator.finished_below = finished_below;
  return load(context, &event);
}

static enum vow_error on_load_seen(void *context, const char *url, struct vow_log_position seen) {
  struct vow_pevent event = {.type = VOW_PEVENT_LOAD_SEEN};
  event.u.coordinator.url = url;
  event.u.coordinator.seen = seen;
  return load(context, &event);
}

static enum vow_error on_load_record(void *context, const struct vow_precord *record) {
  if (VOW_FAILPOINT_FAILS("recover.row")) return VOW_E_LOG_IO;
  struct vow_pevent event = {.type = VOW_PEVENT_LOAD};
  event.u.load = record;
  return load(context, &event);
}

void vow_engine_load_hooks(struct vow_participant *p, struct vow_log_loader *loader) {
  *loader = (struct vow_log_loader){.context = p,
                                    .coordinator = on_load_coordinator,
                                    .seen = on_load_seen,
                                    .record = on_load_record};
}
