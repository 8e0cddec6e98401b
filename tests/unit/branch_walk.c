/*
 * The walks of branch_walk.h: the participant's core between a coordinator, a disk and an
 * application that each do what they may: messages come late, twice and in any order, callbacks and
 * records fail, the process dies between any two steps and finds on its disk any of what was being
 * written. After the walk everything works, and everything must end.
 */
#include "branch_walk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/pcore.h"

enum { BRANCHES = 3, STEPS = 250, HEALING_STEPS = 4000, TOKENS = 4096, QUEUE = 64 };

enum mode { PLAIN, QUICK, ATOMIC };
enum app_state { APP_NOTHING, APP_HELD, APP_APPLIED, APP_UNDONE };
enum decision { UNDECIDED, COMMITTED, ABORTED };

/* A callback, or a record; at most one a branch. */
struct job {
  bool is_call;
  enum vow_message_type call;
  struct vow_precord record;
  uint64_t position;
  bool forced;
};

struct branch {
  /* the coordinator's side */
  bool one_phase;
  bool asking; /* one phase: abort asks */
  enum decision decision;
  bool acknowledged;
  bool read_only;
  /* the application and the disk */
  enum app_state app;
  enum vow_precord_kind disk;
  uint64_t row;
  /* the participant's drivers */
  bool calling; /* plain: a callback runs */
  enum vow_message_type call;
  /* what was told to anybody */
  bool told_committed, told_aborted;
  bool asked; /* the core wants to know the outcome */
};

struct world {
  uint64_t seed, random;
  const uint8_t *choices; /* come first; borrowed */
  size_t choices_left;
  enum mode mode;
  bool healing;
  struct vow_pcore *core;
  uint64_t now_ms;
  struct branch branches[BRANCHES + 1];
  struct job queue[QUEUE]; /* first in, first out */
  unsigned queued;
  struct job *in_transaction; /* atomic: what a result continues */
  /* requests: the branch of each token, 0 when it is answered */
  uint8_t token_branch[TOKENS];
  enum vow_message_type token_type[TOKENS];
  unsigned tokens;
};

static struct world w;
static uint32_t seen; /* states, over all walks */

#define must(condition)                                                                  \
  do {                                                                                   \
    if (!(condition)) fail_msg("seed %llu: %s", (unsigned long long)w.seed, #condition); \
  } while (0)

static uint32_t dice(uint32_t sides) {
  if (w.choices_left > 0 && sides <= 256) {
    w.choices_left--;
    return *w.choices++ % sides;
  }
  w.random = w.random * 6364136223846793005U + 1442695040888963407U;
  return (uint32_t)(w.random >> 33) % sides;
}

static bool fails(void) {
  return !w.healing && dice(6) == 0;
}

static struct vow_id id_of(unsigned n) {
  struct vow_id id = {{0x01, 0x93, 0, 0, 0, 0, 0x70, 0, 0x80}};
  id.bytes[15] = (uint8_t)n;
  return id;
}

static unsigned number_of(struct vow_id id) {
  return id.bytes[15];
}

static void act(const struct vow_pactions *actions);

static void step(struct vow_pevent *event) {
  struct vow_pactions actions;
  event->now_ms = w.now_ms;
  event->random = dice(1 << 30);
  must(vow_pcore_step(w.core, event, &actions) == VOW_OK);
  for (unsigned n = 1; n <= BRANCHES; n++) {
    const struct vow_pbranch *b = vow_pcore_find(w.core, id_of(n), 1);
    seen |= 1U << (b ? b->state : VOW_PBRANCH_NONE);
  }
  act(&actions);
}

/* ---- the coordinator ---- */

static void send(unsigned n, enum vow_message_type type) {
  if (w.tokens + 1 >= TOKENS) return;
  struct vow_message message = {
      .type = type,
      .transaction = id_of(n),
      .branch = 1,
      .coordinator = "http://c",
      .one_phase = type == VOW_MESSAGE_PREPARE && w.branches[n].one_phase};
  struct vow_pevent event = {.type = VOW_PEVENT_MESSAGE};
  event.u.message.token = ++w.tokens;
  event.u.message.message = &message;
  w.token_branch[w.tokens] = (uint8_t)n;
  w.token_type[w.tokens] = type;
  step(&event);
}

/* Something it may send now; a message that it sent before may come again at any time. */
static void coordinate(unsigned n) {
  struct branch *b = &w.branches[n];
  bool late = !w.healing && dice(4) == 0; /* a prepare that was delayed until now */
  if (b->decision == UNDECIDED || late) {
    bool gives_up = b->decision == UNDECIDED && dice(12) == 0 && !w.healing;
    if (gives_up && b->one_phase) b->asking = true;
    if (gives_up && !b->one_phase) b->decision = ABORTED;
    send(n, b->asking && !late ? VOW_MESSAGE_ABORT : VOW_MESSAGE_PREPARE);
  } else if (!b->read_only && (!b->acknowledged || dice(3) == 0)) {
    send(n, b->decision == COMMITTED ? VOW_MESSAGE_COMMIT : VOW_MESSAGE_ABORT);
  }
}

static void hear_vote(struct branch *b, const struct vow_message_reply *reply) {
  if (b->decision != UNDECIDED) return;
  bool told = reply->outcome != VOW_OUTCOME_NONE;
  if (reply->vote == VOW_VOTE_ABORT) {
    b->decision = ABORTED;
    b->acknowledged = true;
  } else if (reply->vote == VOW_VOTE_READ_ONLY) {
    b->decision = COMMITTED;
    b->read_only = true;
  } else if (!b->asking || told) {
    b->decision = COMMITTED;
    b->acknowledged = told;
  }
}

static void hear_outcome(struct branch *b, enum vow_outcome outcome) {
  enum decision truth = outcome == VOW_OUTCOME_COMMITTED ? COMMITTED : ABORTED;
  if (b->decision == UNDECIDED) b->decision = truth;
  must(b->decision == truth);
  b->acknowledged = true;
}

/* ---- what leaves the participant ---- */

static void on_reply(const struct vow_paction *action) {
  uint64_t token = action->u.reply.token;
  unsigned n = w.token_branch[token];
  must(n != 0); /* each request is answered once */
  w.token_branch[token] = 0;
  struct branch *b = &w.branches[n];
  const struct vow_message_reply *reply = &action->u.reply.reply;
  if (action->u.reply.error) return;
  must(reply->outcome <= VOW_OUTCOME_ABORTED); /* nobody broke the promise */
  must(w.token_type[token] == VOW_MESSAGE_PREPARE || reply->outcome != VOW_OUTCOME_NONE);
  if (reply->outcome == VOW_OUTCOME_COMMITTED) {
    must(b->disk == VOW_PRECORD_COMMITTED || b->disk == VOW_PRECORD_READ_ONLY || b->read_only);
    b->told_committed = true;
  }
  if (reply->outcome == VOW_OUTCOME_ABORTED) {
    must(b->disk == VOW_PRECORD_ABORTED);
    b->told_aborted = true;
  }
  must(!b->told_committed || !b->told_aborted);
  if (w.token_type[token] == VOW_MESSAGE_PREPARE) {
    if (reply->vote == VOW_VOTE_COMMIT) {
      must(b->disk == VOW_PRECORD_PREPARED || b->disk == VOW_PRECORD_COMMITTED);
    }
    if (dice(3) > 0 || w.healing) hear_vote(b, reply);
  } else if (dice(3) > 0 || w.healing) {
    hear_outcome(b, reply->outcome);
  }
}

/* ---- the application ---- */

/* The effect of a callback, before its result is known to anybody. */
static void apply(struct branch *b, enum vow_message_type call) {
  switch (call) {
    case VOW_MESSAGE_PREPARE:
      must(b->app != APP_APPLIED);
      must(!b->told_aborted);
      b->app = APP_HELD;
      break;
    case VOW_MESSAGE_COMMIT:
      must(b->app == APP_HELD || b->app == APP_APPLIED);
      must(b->decision == COMMITTED || b->disk == VOW_PRECORD_DECIDED || w.in_transaction);
      b->app = APP_APPLIED;
      break;
    default:
      must(b->app != APP_APPLIED);
      must(b->decision != COMMITTED || b->read_only);
      b->app = APP_UNDONE;
  }
}

static void report(unsigned n, enum vow_message_type call, bool failed) {
  struct vow_pevent event = {.transaction = id_of(n), .branch = 1};
  if (call == VOW_MESSAGE_PREPARE) {
    event.type = VOW_PEVENT_VOTED;
    event.u.voted.vote = failed ? VOW_VOTE_ABORT : VOW_VOTE_COMMIT;
    if (!failed && n == BRANCHES && w.seed % 4 == 0) event.u.voted.vote = VOW_VOTE_READ_ONLY;
    if (event.u.voted.vote != VOW_VOTE_COMMIT) w.branches[n].app = APP_NOTHING;
  } else {
    event.type = VOW_PEVENT_FINISHED;
    event.u.finished.error = failed ? VOW_E_DATABASE : VOW_OK;
  }
  step(&event);
}

static void run_callback(unsigned n) {
  struct branch *b = &w.branches[n];
  if (!b->calling) return;
  enum vow_message_type call = b->call;
  bool failed = fails();
  if (!failed || dice(2)) apply(b, call);  /* it may fail after it has done its work */
  if (!w.healing && dice(10) == 0) return; /* it still runs */
  b->calling = false;
  report(n, call, failed);
}

/* ---- the disk ---- */

static void enqueue(const struct job *job) {
  must(w.queued < QUEUE);
  w.queue[w.queued++] = *job;
}

static void on_call(const struct vow_paction *action) {
  struct branch *b = &w.branches[number_of(action->branch->transaction)];
  if (w.mode != ATOMIC) {
    must(!b->calling); /* never two at once */
    b->calling = true;
    b->call = action->u.call;
    return;
  }
  struct job job = {.is_call = true, .call = action->u.call};
  job.record.transaction = action->branch->transaction;
  if (w.in_transaction) {
    *w.in_transaction = job;
  } else {
    enqueue(&job);
  }
}

static void on_log(const struct vow_paction *action) {
  struct job job = {.record = action->u.log.record,
                    .position = action->u.log.position,
                    .forced = action->u.log.forced};
  if (w.in_transaction) {
    *w.in_transaction = job;
  } else {
    enqueue(&job);
  }
}

static void act(const struct vow_pactions *actions) {
  /* The next step overwrites them, and answering leads to one. */
  struct vow_paction copy[64];
  must(actions->count <= 64);
  memcpy(copy, actions->items, actions->count * sizeof copy[0]);
  uint32_t count = actions->count;
  for (uint32_t i = 0; i < count; i++) {
    switch (copy[i].type) {
      case VOW_PACTION_CALL:
        on_call(&copy[i]);
        break;
      case VOW_PACTION_LOG:
        on_log(&copy[i]);
        break;
      case VOW_PACTION_REPLY:
        on_reply(&copy[i]);
        break;
      case VOW_PACTION_ASK:
        w.branches[number_of(copy[i].branch->transaction)].asked = true;
        break;
      case VOW_PACTION_PURGE:
      case VOW_PACTION_SAVE:
        must(false); /* there is no watermark here */
    }
  }
}

static void tell_logged(const struct job *job, bool written) {
  if (!job->forced) return;
  struct vow_pevent event = {.type = written ? VOW_PEVENT_LOGGED : VOW_PEVENT_NOT_LOGGED,
                             .transaction = job->record.transaction,
                             .branch = 1};
  event.u.logged.position = job->position;
  event.u.logged.error = VOW_E_OVERLOADED;
  event.u.logged.why = "busy";
  step(&event);
}

/* Hooks run in the transaction of their record; what they did stays or goes with it. */
static void run_hooks(struct job *job, struct branch *b) {
  unsigned n = number_of(job->record.transaction);
  while (job->is_call) {
    enum vow_message_type call = job->call;
    enum app_state before = b->app;
    bool failed = fails();
    *job = (struct job){.record.kind = VOW_PRECORD_NONE};
    job->record.transaction = id_of(n);
    w.in_transaction = job;
    apply(b, call);
    if (failed) b->app = before;
    report(n, call, failed);
    w.in_transaction = NULL;
  }
}

/* Takes the first job of the queue. `dies`: the process ends right after. */
static void run_log(bool dies) {
  if (w.queued == 0) return;
  struct job job = w.queue[0];
  memmove(&w.queue[0], &w.queue[1], --w.queued * sizeof w.queue[0]);
  struct branch *b = &w.branches[number_of(job.record.transaction)];
  enum app_state before = b->app;
  run_hooks(&job, b);
  bool written = job.record.kind != VOW_PRECORD_NONE && !fails();
  if (written) {
    b->disk = job.record.kind;
    b->row = job.record.row;
  } else if (w.mode == ATOMIC) {
    b->app = before;
  }
  if (!dies && job.record.kind != VOW_PRECORD_NONE) tell_logged(&job, written);
}

/* ---- death and life ---- */

static void start(void) {
  struct vow_pconfig config = {.atomic = w.mode == ATOMIC,
                               .intent = w.mode == PLAIN,
                               .branches_max = BRANCHES,
                               .preparing_max = BRANCHES,
                               .tombstones_max = BRANCHES + 1,
                               .coordinators_max = 1,
                               .inquiry_min_ms = 10,
                               .inquiry_max_ms = 100};
  must(vow_pcore_new(&w.core, &config) == VOW_OK);
  for (unsigned n = 1; n <= BRANCHES; n++) {
    struct branch *b = &w.branches[n];
    b->calling = false;
    b->asked = false;
    struct vow_precord record = {.kind = b->disk,
                                 .transaction = id_of(n),
                                 .branch = 1,
                                 .row = b->row,
                                 .coordinator = "http://c"};
    struct vow_pevent event = {.type = VOW_PEVENT_LOAD};
    event.u.load = &record;
    if (b->disk != VOW_PRECORD_NONE) step(&event);
  }
}

static void die(void) {
  /* Of what was on its way some more may have reached the disk. */
  unsigned reached = dice(w.queued + 1);
  if (w.mode == ATOMIC) reached = reached > 1 ? 1 : reached;
  for (unsigned i = 0; i < reached; i++) run_log(true);
  for (unsigned n = 1; n <= BRANCHES; n++) {
    struct branch *b = &w.branches[n];
    if (b->calling && dice(2)) apply(b, b->call); /* died with the work done */
    /* Without an intent record, what was held and not voted for is said to vanish. */
    if (w.mode == QUICK && b->disk == VOW_PRECORD_NONE) b->app = APP_NOTHING;
  }
  vow_pcore_free(w.core);
  w.queued = 0;
  memset(w.token_branch, 0, sizeof w.token_branch);
  start();
}

static void tick(void) {
  w.now_ms += dice(150);
  struct vow_pevent event = {.type = VOW_PEVENT_TICK};
  step(&event);
}

static void answer_inquiry(unsigned n) {
  struct branch *b = &w.branches[n];
  if (!b->asked) return;
  b->asked = false;
  static const enum vow_inquiry_answer answers[] = {
      [UNDECIDED] = VOW_INQUIRY_UNDECIDED,
      [COMMITTED] = VOW_INQUIRY_COMMITTED,
      [ABORTED] = VOW_INQUIRY_ABORTED,
  };
  struct vow_pevent event = {.type = VOW_PEVENT_ANSWERED, .transaction = id_of(n), .branch = 1};
  event.u.answer.outcome = fails() ? VOW_INQUIRY_UNKNOWN : answers[b->decision];
  step(&event);
}

static void walk_once(void) {
  unsigned n = dice(BRANCHES) + 1;
  switch (dice(w.healing ? 5 : 6)) {
    case 0:
      coordinate(n);
      break;
    case 1:
      run_callback(n);
      break;
    case 2:
      run_log(false);
      break;
    case 3:
      tick();
      break;
    case 4:
      answer_inquiry(n);
      break;
    default:
      if (dice(8) == 0) die();
  }
}

/* ---- the end ---- */

static bool at_rest(void) {
  struct vow_pcounts counts;
  vow_pcore_counts(w.core, &counts);
  if (counts.unfinished > 0 || w.queued > 0) return false;
  for (unsigned n = 1; n <= BRANCHES; n++) {
    const struct branch *b = &w.branches[n];
    if (b->decision == UNDECIDED || (!b->acknowledged && !b->read_only)) return false;
  }
  for (unsigned i = 1; i <= w.tokens; i++) {
    if (w.token_branch[i]) return false;
  }
  return true;
}

static void check_ends(void) {
  for (unsigned n = 1; n <= BRANCHES; n++) {
    const struct branch *b = &w.branches[n];
    must(b->app != APP_HELD);
    if (b->read_only) continue;
    must((b->app == APP_APPLIED) == (b->decision == COMMITTED));
    must(b->disk != VOW_PRECORD_COMMITTED || b->decision == COMMITTED);
  }
}

static void heal(void) {
  w.healing = true;
  for (int i = 0; i < HEALING_STEPS && !at_rest(); i++) walk_once();
  must(at_rest());
  check_ends();
  vow_pcore_free(w.core);
  w.core = NULL;
}

static void begin(uint64_t seed) {
  w = (struct world){.seed = seed, .random = seed * 0x9E3779B97F4A7C15U, .now_ms = 1};
  w.mode = (enum mode)(seed % 3);
}

void branch_walk(uint64_t seed) {
  begin(seed);
  for (unsigned n = 1; n <= BRANCHES; n++) w.branches[n].one_phase = dice(2);
  start();
  for (int i = 0; i < STEPS; i++) walk_once();
  heal();
}

void branch_walk_choices(const uint8_t *choices, size_t count) {
  begin(count == 0 ? 0 : choices[0]);
  w.choices = choices;
  w.choices_left = count;
  for (unsigned n = 1; n <= BRANCHES; n++) w.branches[n].one_phase = dice(2);
  start();
  for (int i = 0; i < STEPS && w.choices_left > 0; i++) walk_once();
  w.choices_left = 0;
  heal();
}

uint32_t branch_walk_seen(void) {
  return seen;
}
