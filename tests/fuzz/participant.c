/*
 * The participant's core. The first byte says which of two worlds the choices go to: one with a
 * coordinator that keeps the protocol (tests/unit/branch_walk.c), where every branch must end, or
 * this one, where coordinators and operators say anything, watermarks move at will, and callbacks,
 * records and the process fail. What must hold here: a promise or an outcome is answered only when
 * it is on the disk, each request is answered once, one callback runs for a branch at most, no
 * prepare goes beyond a limit, and what does not fit a branch is refused without a change.
 */
#include <string.h>

#include "branch_walk.h"
#include "core/pcore.h"
#include "fuzz.h"

enum { IDS = 4, BRANCHES = 2, COORDINATORS = 3, TOKENS = 512, QUEUE = 64, STEPS = 200 };

static const char *const coordinator_urls[COORDINATORS] = {"http://c", "http://d", "http://e"};

/* What goes to the disk, in order; with a shared transaction (atomic) a callback does, too. */
struct job {
  bool is_call, is_save;
  unsigned seat;
  enum vow_message_type call;
  struct vow_precord record; /* its payload and reason are the core's until it is reported */
  struct vow_log_position seen;
  uint64_t position;
  bool forced;
  bool purges;
  const char *purge_coordinator;
  struct vow_id purge_below;
  uint64_t purged[VOW_PCORE_PURGE_MAX];
  uint32_t purged_count;
};

/* A row of the log that is not the branch's any more: its purge was lost. */
struct leftover {
  enum vow_precord_kind kind;
  enum vow_outcome outcome;
  unsigned coordinator;
  uint64_t row;
};

/* A branch as disk and application know it. */
struct seat {
  enum vow_precord_kind disk;
  enum vow_outcome outcome;
  unsigned coordinator;
  uint64_t row;   /* on the disk */
  uint64_t given; /* to its last record */
  struct leftover left;
  bool calling; /* a callback runs (not atomic: there it is a job) */
  enum vow_message_type call;
  bool asked;
};

static struct participant {
  struct vow_pcore *core;
  struct vow_pconfig config;
  struct seat seats[IDS * BRANCHES];
  struct vow_id watermarks[COORDINATORS]; /* on the disk */
  struct vow_log_position seen[COORDINATORS];
  uint64_t highest_row;
  struct job queue[QUEUE];
  unsigned queued;
  struct job *in_transaction;
  uint64_t durable[QUEUE * 8]; /* positions of this run that were reported */
  unsigned durable_count;
  uint8_t token_seat[TOKENS]; /* seat + 1; 0: answered */
  enum vow_message_type token_type[TOKENS];
  unsigned tokens;
  uint64_t now_ms;
} p;
static struct choices c;

static struct vow_id id_of(unsigned n) {
  struct vow_id id = {{0x01, 0x93, 0, 0, 0, 0, 0x70, 0, 0x80}};
  id.bytes[15] = (uint8_t)n;
  return id;
}

static unsigned seat_of(struct vow_id id, uint32_t branch) {
  must(id.bytes[15] < IDS && branch >= 1 && branch <= BRANCHES);
  return (unsigned)id.bytes[15] * BRANCHES + branch - 1;
}

static void name(struct vow_pevent *event, unsigned seat) {
  event->transaction = id_of(seat / BRANCHES);
  event->branch = seat % BRANCHES + 1;
}

static unsigned coordinator_of(const char *url) {
  unsigned n = 0;
  while (n < COORDINATORS && strcmp(coordinator_urls[n], url) != 0) n++;
  must(n < COORDINATORS);
  return n;
}

/* ---- what leaves the core ---- */

static bool is_durable(uint64_t position) {
  for (unsigned i = 0; i < p.durable_count; i++) {
    if (p.durable[i] == position) return true;
  }
  return false;
}

/* It had nothing to commit. That record is not forced: to lose it changes nothing. */
static bool only_read(unsigned seat) {
  const struct vow_pbranch *branch =
      vow_pcore_find(p.core, id_of(seat / BRANCHES), seat % BRANCHES + 1);
  return branch != NULL && branch->state == VOW_PBRANCH_READ_ONLY;
}

/* V1, P2: what is said of a branch stands on the disk. */
static void on_reply(const struct vow_paction *action) {
  uint64_t token = action->u.reply.token;
  const struct vow_message_reply *reply = &action->u.reply.reply;
  must(token > 0 && token <= p.tokens && p.token_seat[token] != 0);
  unsigned seat = p.token_seat[token] - 1U;
  enum vow_precord_kind disk = p.seats[seat].disk;
  p.token_seat[token] = 0;
  must(action->u.reply.type == p.token_type[token]);
  must(action->u.reply.after == 0 || is_durable(action->u.reply.after));
  if (action->u.reply.error != VOW_OK) return;
  /* An answer says what its message asks for. */
  must((reply->vote != VOW_VOTE_NONE) == (action->u.reply.type == VOW_MESSAGE_PREPARE));
  if (action->u.reply.type == VOW_MESSAGE_COMMIT || action->u.reply.type == VOW_MESSAGE_ABORT)
    must(reply->outcome != VOW_OUTCOME_NONE);
  if (reply->vote == VOW_VOTE_COMMIT) {
    must(disk == VOW_PRECORD_PREPARED || disk == VOW_PRECORD_DECIDED ||
         disk == VOW_PRECORD_COMMITTED || disk == VOW_PRECORD_HEURISTIC ||
         disk == VOW_PRECORD_FORGOTTEN);
  }
  if (reply->outcome == VOW_OUTCOME_COMMITTED)
    must(disk == VOW_PRECORD_COMMITTED || disk == VOW_PRECORD_READ_ONLY || only_read(seat));
  if (reply->outcome == VOW_OUTCOME_ABORTED) must(disk == VOW_PRECORD_ABORTED);
  if (reply->outcome <= VOW_OUTCOME_ABORTED) return;
  if (disk == VOW_PRECORD_ABORTED) { /* told to commit it */
    must(reply->outcome == VOW_OUTCOME_HEURISTIC_ABORT);
  } else {
    must(disk == VOW_PRECORD_HEURISTIC || disk == VOW_PRECORD_FORGOTTEN);
    must(reply->outcome == p.seats[seat].outcome);
  }
}

static void enqueue(const struct job *job) {
  if (p.in_transaction) {
    *p.in_transaction = *job;
  } else {
    must(p.queued < QUEUE);
    p.queue[p.queued++] = *job;
  }
}

static void on_call(const struct vow_paction *action) {
  unsigned n = seat_of(action->branch->transaction, action->branch->number);
  struct seat *seat = &p.seats[n];
  must(!seat->calling);
  if (action->u.call == VOW_MESSAGE_COMMIT && !p.config.atomic)
    must(seat->disk == VOW_PRECORD_PREPARED || seat->disk == VOW_PRECORD_DECIDED);
  if (p.config.atomic) {
    struct job job = {.is_call = true, .seat = n, .call = action->u.call};
    enqueue(&job);
    return;
  }
  seat->calling = true;
  seat->call = action->u.call;
}

static void on_log(const struct vow_paction *action) {
  struct job job = {.record = action->u.log.record,
                    .seen = action->u.log.seen,
                    .position = action->u.log.position,
                    .forced = action->u.log.forced};
  job.seat = seat_of(job.record.transaction, job.record.branch);
  must(job.position != 0 && job.record.coordinator != NULL);
  /* The branch's row, or a new one: nobody else has it, or had. */
  must(job.record.row == p.seats[job.seat].given || job.record.row > p.highest_row);
  if (job.record.row > p.highest_row) p.highest_row = job.record.row;
  p.seats[job.seat].given = job.record.row;
  enqueue(&job);
}

static void on_purge(const struct vow_paction *action) {
  struct job *job = p.in_transaction ? p.in_transaction : &p.queue[p.queued - 1];
  must(p.in_transaction || p.queued > 0);
  must(!job->is_call && !job->purges); /* it belongs to the record before it */
  job->purges = true;
  job->purge_coordinator = action->u.purge.coordinator;
  job->purge_below = action->u.purge.finished_below;
  job->purged_count = action->u.purge.count;
  memcpy(job->purged, action->u.purge.rows, job->purged_count * sizeof job->purged[0]);
}

static void on_save(const struct vow_paction *action) {
  struct job job = {.is_save = true,
                    .position = action->u.save.position,
                    .forced = true,
                    .purges = true,
                    .purge_coordinator = action->u.save.coordinator,
                    .purge_below = action->u.save.finished_below};
  must(!p.in_transaction);
  enqueue(&job);
}

static enum vow_error step(struct vow_pevent *event) {
  struct vow_pactions actions;
  event->now_ms = p.now_ms;
  event->random = p.now_ms * 31;
  enum vow_error error = vow_pcore_step(p.core, event, &actions);
  must(error == VOW_OK || actions.count == 0);
  for (uint32_t i = 0; i < actions.count; i++) {
    const struct vow_paction *action = &actions.items[i];
    switch (action->type) {
      case VOW_PACTION_CALL:
        on_call(action);
        break;
      case VOW_PACTION_LOG:
        on_log(action);
        break;
      case VOW_PACTION_PURGE:
        on_purge(action);
        break;
      case VOW_PACTION_SAVE:
        on_save(action);
        break;
      case VOW_PACTION_REPLY:
        on_reply(action);
        break;
      case VOW_PACTION_ASK:
        p.seats[seat_of(action->branch->transaction, action->branch->number)].asked = true;
        break;
    }
  }
  return error;
}

/* ---- the disk ---- */

static void delete_row(uint64_t row) {
  for (unsigned n = 0; n < IDS * BRANCHES; n++) {
    if (p.seats[n].row == row) p.seats[n].disk = VOW_PRECORD_NONE;
    if (p.seats[n].left.row == row) p.seats[n].left.kind = VOW_PRECORD_NONE;
  }
}

static void raise_watermark(const struct job *job) {
  struct vow_id *watermark = &p.watermarks[coordinator_of(job->purge_coordinator)];
  if (vow_id_compare(*watermark, job->purge_below) < 0) *watermark = job->purge_below;
}

static void write_job(const struct job *job) {
  if (job->purges) raise_watermark(job);
  if (job->is_save) return;
  struct seat *seat = &p.seats[job->seat];
  if (seat->disk != VOW_PRECORD_NONE && seat->row != job->record.row)
    seat->left = (struct leftover){seat->disk, seat->outcome, seat->coordinator, seat->row};
  seat->row = job->record.row;
  seat->disk = job->record.kind;
  seat->outcome = job->record.outcome;
  seat->coordinator = coordinator_of(job->record.coordinator);
  if (job->seen.incarnation != 0) p.seen[seat->coordinator] = job->seen;
  for (uint32_t i = 0; job->purges && i < job->purged_count; i++) delete_row(job->purged[i]);
}

static void report_call(unsigned seat, enum vow_message_type call, bool failed) {
  struct vow_pevent event = {.type = VOW_PEVENT_FINISHED};
  name(&event, seat);
  if (call == VOW_MESSAGE_PREPARE) {
    static const enum vow_vote votes[] = {VOW_VOTE_COMMIT, VOW_VOTE_READ_ONLY, VOW_VOTE_ABORT};
    event.type = VOW_PEVENT_VOTED;
    event.u.voted.vote = failed ? VOW_VOTE_ABORT : votes[choose(&c, 6) % 5 % 3];
    if (event.u.voted.vote == VOW_VOTE_ABORT) event.u.voted.reason = "no";
  } else {
    event.u.finished.error = failed ? VOW_E_DATABASE : VOW_OK;
    event.u.finished.reason = failed ? "busy" : NULL;
  }
  must(step(&event) == VOW_OK);
}

/* Takes the first job. `dies`: the process ends before anybody hears of it. */
static void run_log(bool fails, bool dies) {
  if (p.queued == 0) return;
  struct job job = p.queue[0];
  memmove(&p.queue[0], &p.queue[1], --p.queued * sizeof p.queue[0]);
  while (job.is_call) { /* it runs in the transaction of its record */
    unsigned seat = job.seat;
    enum vow_message_type call = job.call;
    job = (struct job){.seat = seat};
    p.in_transaction = &job;
    report_call(seat, call, fails && choose_flag(&c));
    p.in_transaction = NULL;
  }
  if (job.record.kind == VOW_PRECORD_NONE && !job.is_save) return;
  if (!fails) write_job(&job);
  if (!job.forced || dies) return;
  struct vow_pevent event = {.type = fails ? VOW_PEVENT_NOT_LOGGED : VOW_PEVENT_LOGGED};
  if (!job.is_save) name(&event, job.seat);
  event.u.logged.position = job.position;
  event.u.logged.error = VOW_E_OVERLOADED;
  event.u.logged.why = "busy";
  if (!fails && p.durable_count < sizeof p.durable / sizeof *p.durable)
    p.durable[p.durable_count++] = job.position;
  must(step(&event) == VOW_OK);
}

/* ---- what comes in ---- */

static void send(void) {
  unsigned seat = choose(&c, IDS * BRANCHES), flags = choose_byte(&c);
  if (p.tokens + 1 >= TOKENS) return;
  struct vow_message message = {.type = (enum vow_message_type)(1 + choose(&c, 4)),
                                .transaction = id_of(seat / BRANCHES),
                                .branch = seat % BRANCHES + 1,
                                .coordinator = coordinator_urls[flags % 8 % COORDINATORS]};
  if (flags & 8) message.finished_below = id_of(choose(&c, IDS));
  if (message.type == VOW_MESSAGE_PREPARE) {
    message.timeout_ms = 1000;
    message.one_phase = flags & 16;
    if (flags & 32) message.payload = "{\"pay\":1}";
    message.payload_bytes = message.payload ? strlen(message.payload) : 0;
  }
  if (choose_flag(&c)) {
    message.log.incarnation = 1 + choose(&c, 3);
    message.log.position = choose(&c, 8);
    message.log_ask = choose_flag(&c);
  }
  struct vow_pevent event = {.type = VOW_PEVENT_MESSAGE};
  name(&event, seat);
  event.u.message.token = ++p.tokens;
  event.u.message.message = &message;
  event.u.message.refused = (flags & 192) == 192 ? "the disk is full" : NULL;
  p.token_seat[p.tokens] = (uint8_t)(seat + 1);
  p.token_type[p.tokens] = message.type;
  struct vow_pcounts before, after;
  vow_pcore_counts(p.core, &before);
  must(step(&event) == VOW_OK);
  vow_pcore_counts(p.core, &after);
  if (message.type != VOW_MESSAGE_PREPARE) return; /* an abort has room of its own */
  must(after.unfinished <= before.unfinished || after.unfinished <= p.config.branches_max);
  must(after.preparing <= before.preparing || after.preparing <= p.config.preparing_max);
}

static void operate(void) {
  unsigned seat = choose(&c, IDS * BRANCHES);
  if (p.tokens + 1 >= TOKENS) return;
  struct vow_pevent event = {.type = VOW_PEVENT_OPERATE};
  name(&event, seat);
  event.u.operate.token = ++p.tokens;
  event.u.operate.outcome = (enum vow_outcome)(VOW_OUTCOME_HEURISTIC_COMMIT + choose(&c, 4));
  p.token_seat[p.tokens] = (uint8_t)(seat + 1);
  p.token_type[p.tokens] = (enum vow_message_type)0;
  must(step(&event) == VOW_OK);
}

static void run_callback(bool fails) {
  unsigned n = choose(&c, IDS * BRANCHES);
  for (unsigned i = 0; i < IDS * BRANCHES && !p.seats[n].calling; i++)
    n = (n + 1) % (IDS * BRANCHES);
  if (!p.seats[n].calling) return;
  p.seats[n].calling = false;
  report_call(n, p.seats[n].call, fails);
}

static void answer_inquiry(void) {
  unsigned n = choose(&c, IDS * BRANCHES);
  for (unsigned i = 0; i < IDS * BRANCHES && !p.seats[n].asked; i++) n = (n + 1) % (IDS * BRANCHES);
  if (!p.seats[n].asked) return;
  p.seats[n].asked = false;
  struct vow_pevent event = {.type = VOW_PEVENT_ANSWERED};
  name(&event, n);
  event.u.answer.outcome = (enum vow_inquiry_answer)choose(&c, 4);
  if (choose_flag(&c)) {
    event.type = VOW_PEVENT_ASK_FAILED;
    event.u.coordinator.url = coordinator_urls[choose(&c, COORDINATORS)];
  }
  must(step(&event) == VOW_OK);
}

static void tick(uint64_t ms) {
  p.now_ms += ms;
  struct vow_pevent event = {.type = VOW_PEVENT_TICK};
  must(step(&event) == VOW_OK);
}

/* A result that nobody waits for is refused. */
static void a_mistake(void) {
  unsigned n = choose(&c, IDS * BRANCHES);
  bool running = p.seats[n].calling;
  for (unsigned i = 0; i < p.queued; i++) running |= p.queue[i].seat == n;
  if (running) return;
  struct vow_pevent event = {.type = (enum vow_pevent_type)(VOW_PEVENT_VOTED + choose(&c, 4))};
  name(&event, n);
  if (event.type == VOW_PEVENT_VOTED) event.u.voted.vote = VOW_VOTE_COMMIT;
  if (event.type >= VOW_PEVENT_LOGGED) event.u.logged.position = UINT64_MAX;
  must(step(&event) == VOW_E_ILLEGAL_STATE);
}

/* ---- death and life ---- */

static void load(unsigned n) {
  const struct seat *seat = &p.seats[n];
  struct vow_pevent event = {.type = VOW_PEVENT_LOAD};
  struct vow_precord record = {.kind = seat->disk,
                               .outcome = seat->outcome,
                               .coordinator = coordinator_urls[seat->coordinator],
                               .row = seat->row};
  name(&event, n);
  record.transaction = event.transaction;
  record.branch = event.branch;
  event.u.load = &record;
  must(step(&event) == VOW_OK);
  if (p.highest_row < seat->row) p.highest_row = seat->row;
}

/* The older row comes first, and the later counts. */
static void load_all(unsigned n) {
  struct seat *seat = &p.seats[n];
  struct seat latest = *seat;
  if (seat->left.kind != VOW_PRECORD_NONE) {
    seat->disk = seat->left.kind;
    seat->outcome = seat->left.outcome;
    seat->coordinator = seat->left.coordinator;
    seat->row = seat->left.row;
    load(n);
    if (latest.disk == VOW_PRECORD_NONE) seat->left.kind = VOW_PRECORD_NONE;
  }
  if (latest.disk != VOW_PRECORD_NONE) {
    *seat = latest;
    load(n);
  }
  seat->given = seat->row;
}

static void start(void) {
  must(vow_pcore_new(&p.core, &p.config) == VOW_OK);
  p.highest_row = 0;
  for (unsigned n = 0; n < COORDINATORS; n++) {
    struct vow_pevent event = {.type = VOW_PEVENT_LOAD_COORDINATOR};
    event.u.coordinator.url = coordinator_urls[n];
    event.u.coordinator.finished_below = p.watermarks[n];
    if (!vow_id_is_nil(p.watermarks[n])) must(step(&event) == VOW_OK);
    event.type = VOW_PEVENT_LOAD_SEEN;
    event.u.coordinator.seen = p.seen[n];
    if (p.seen[n].incarnation != 0) must(step(&event) == VOW_OK);
  }
  for (unsigned n = 0; n < IDS * BRANCHES; n++) {
    p.seats[n].calling = p.seats[n].asked = false;
    load_all(n);
  }
}

static void die(void) {
  unsigned reached = choose(&c, p.queued + 1);
  if (p.config.atomic && reached > 1) reached = 1;
  for (unsigned i = 0; i < reached; i++) run_log(false, true);
  memset(p.token_seat, 0, sizeof p.token_seat); /* nobody hears any more */
  vow_pcore_free(p.core);
  p.queued = p.durable_count = 0;
  start();
}

/* ---- the whole ---- */

static void any_step(void) {
  switch (choose(&c, 12)) {
    case 0:
    case 1:
    case 2:
      send();
      break;
    case 3:
    case 4:
      run_callback(false);
      break;
    case 5:
    case 6:
      run_log(false, false);
      break;
    case 7:
      run_callback(true);
      break;
    case 8:
      run_log(true, false);
      break;
    case 9:
      answer_inquiry();
      tick(choose_byte(&c));
      break;
    case 10:
      operate();
      break;
    default:
      if (choose(&c, 4) == 0) die();
      a_mistake();
  }
}

/* Once everything works, whoever asked is answered. */
static void all_are_answered(void) {
  c.left = 0;
  for (unsigned i = 0; i < 40 * IDS * BRANCHES; i++) {
    run_callback(false);
    run_log(false, false);
    if (i % 16 == 0) tick(200);
  }
  for (unsigned i = 1; i <= p.tokens; i++) must(p.token_seat[i] == 0);
}

static void anything_goes(void) {
  memset(&p, 0, sizeof p);
  unsigned flags = choose_byte(&c);
  p.now_ms = 1;
  p.config = (struct vow_pconfig){.atomic = flags & 1,
                                  .intent = (flags & 3) == 2,
                                  .branches_max = 1 + (flags >> 2) % 4 * 3,
                                  .preparing_max = 1 + (flags >> 4) % 2 * 9,
                                  .tombstones_max = 1 + (flags >> 5) % 2 * 9,
                                  .coordinators_max = COORDINATORS - (flags >> 6) % 2,
                                  .purge_every = (flags >> 7) * 3,
                                  .inquiry_min_ms = 10,
                                  .inquiry_max_ms = 100};
  start();
  for (unsigned i = 0; i < STEPS && c.left > 0; i++) any_step();
  all_are_answered();
  vow_pcore_free(p.core);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  c = (struct choices){data, bytes};
  if (choose_flag(&c)) {
    anything_goes();
  } else {
    branch_walk_choices(c.at, c.left);
  }
  return 0;
}
