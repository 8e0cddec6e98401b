/*
 * The schedules of core_random.h: clients, operators, participants, a network that loses answers
 * and delivers late, a log that syncs late and forgets at a crash. Then everything heals, and
 * everything must end.
 */
#include "core_random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core_world.h"

#define STEPS       250
#define ENDPOINTS   4
#define SEATS_MAX   512
#define GHOSTS_MAX  32
#define KEYS        4
#define HEAL_ROUNDS 400
#define TXNS_A_RUN  120

enum trouble {
  LOST_ANSWERS = 1,
  NOT_DELIVERED = 2,
  FAILURES = 4,
  GARBAGE = 8,
  CRASHES = 16,
  GHOSTS = 32,
  CLOCK_JUMPS = 64,
  NO_VOTES = 128,
  CLIENT_ABORTS = 256,
  HEURISTICS = CORE_RANDOM_HEURISTICS,
  SLOWNESS = 1024 /* time passes while messages are out */
};

enum seat_state { PREPARED = 1, COMMITTED, ABORTED, HEURISTIC };

/* A branch as its participant knows it. */
struct seat {
  struct vow_id id;
  uint32_t branch;
  enum seat_state state;
  enum vow_outcome outcome; /* of HEURISTIC */
};

struct participant {
  struct seat seats[SEATS_MAX];
  uint32_t count;
  struct vow_id watermark;
};

/* What the participants did for a transaction, whatever they have forgotten since. */
struct ledger {
  bool committed, aborted, broken;
};

struct run {
  struct world *w;
  uint64_t state;         /* of the generator */
  const uint8_t *choices; /* come first; borrowed */
  size_t choices_left;
  unsigned troubles;
  struct participant participants[ENDPOINTS];
  struct ledger ledgers[WORLD_TXNS_MAX];
  struct world_send ghosts[GHOSTS_MAX];
  uint32_t ghost_count;
  uint8_t key_of_token[WORLD_SENDS_MAX]; /* 1..KEYS, or 0 */
  bool key_told[KEYS];                   /* the outcome */
};

static struct run run;

/* The next choice: one byte where that is enough, so that a change of one changes one choice. */
static uint64_t choose(uint64_t below) {
  uint64_t value = 0;
  for (uint64_t most = below - 1; run.choices_left > 0; most >>= 8) {
    value = value << 8 | *run.choices++;
    run.choices_left--;
    if (most < 256) break;
  }
  return value % below;
}

static uint64_t draw(uint64_t below) {
  if (run.choices_left > 0) return choose(below);
  run.state = run.state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (run.state >> 33) % below;
}

static bool chance(unsigned percent) {
  return draw(100) < percent;
}

static bool trouble(enum trouble kind, unsigned percent) {
  return (run.troubles & kind) != 0 && chance(percent);
}

static uint32_t txn_of(struct vow_id id) {
  for (uint32_t i = 0; i < run.w->id_count; i++) {
    if (vow_id_compare(run.w->ids[i], id) == 0) return i;
  }
  fail_msg("an id that was never begun");
  return 0;
}

/* ---- participants ---- */

/* A fixed choice for each branch, so that a repeated prepare would vote the same. */
static unsigned nature(struct vow_id id, uint32_t branch) {
  uint64_t bits = branch * UINT64_C(0x9E3779B97F4A7C15);
  for (int i = 0; i < 16; i++) bits = (bits ^ id.bytes[i]) * UINT64_C(0x100000001B3);
  return (unsigned)((bits >> 32) % 100);
}

static void settle(struct seat *seat, enum seat_state state) {
  struct ledger *ledger = &run.ledgers[txn_of(seat->id)];

  seat->state = state;
  ledger->committed |= state == COMMITTED;
  ledger->aborted |= state == ABORTED;
  if (!ledger->broken) assert_false(ledger->committed && ledger->aborted); /* AC1 */
}

static struct seat *find_seat(struct participant *p, struct vow_id id, uint32_t branch) {
  for (uint32_t i = 0; i < p->count; i++) {
    if (p->seats[i].branch == branch && vow_id_compare(p->seats[i].id, id) == 0) {
      return &p->seats[i];
    }
  }
  return NULL;
}

static struct seat *add_seat(struct participant *p, struct vow_id id, uint32_t branch) {
  assert_true(p->count < SEATS_MAX);
  struct seat *seat = &p->seats[p->count++];
  *seat = (struct seat){.id = id, .branch = branch};
  return seat;
}

static void raise_watermark(struct participant *p, struct vow_id watermark) {
  if (vow_id_compare(watermark, p->watermark) <= 0) return;
  p->watermark = watermark;
  for (uint32_t i = 0; i < p->count;) {
    struct seat *seat = &p->seats[i];
    bool below = vow_id_compare(seat->id, watermark) < 0;
    bool lost = run.ledgers[txn_of(seat->id)].broken;
    /* Only a ghost of a crashed coordinator can have prepared what is over. */
    if (below && seat->state == PREPARED && !lost) {
      assert_true((run.troubles & CRASHES) != 0);
      settle(seat, ABORTED);
    }
    if (below && seat->state != HEURISTIC) {
      *seat = p->seats[--p->count];
    } else {
      i++;
    }
  }
}

static struct vow_message_reply prepare(struct participant *p, const struct world_send *send) {
  struct vow_message_reply reply = {.vote = VOW_VOTE_ABORT};
  struct seat *seat = find_seat(p, send->id, send->number);
  unsigned kind = nature(send->id, send->number);

  if (seat == NULL && vow_id_compare(send->id, p->watermark) < 0) return reply;
  if (seat == NULL && kind < 10) {
    reply.vote = VOW_VOTE_READ_ONLY;
    return reply;
  }
  if (seat == NULL) {
    seat = add_seat(p, send->id, send->number);
    if ((run.troubles & NO_VOTES) != 0 && kind > 85) {
      settle(seat, ABORTED);
    } else if (send->one_phase && kind < 60) {
      settle(seat, COMMITTED);
    } else {
      seat->state = PREPARED;
    }
  }
  if (seat->state == ABORTED) return reply;
  reply.vote = VOW_VOTE_COMMIT;
  if (seat->state == COMMITTED && send->one_phase) reply.outcome = VOW_OUTCOME_COMMITTED;
  if (seat->state == HEURISTIC && send->one_phase) reply.outcome = seat->outcome;
  return reply;
}

/* Commit and abort; false: it does not know the branch. */
static bool decide(struct participant *p, const struct world_send *send, bool commit,
                   struct vow_message_reply *reply) {
  struct seat *seat = find_seat(p, send->id, send->number);
  bool below = vow_id_compare(send->id, p->watermark) < 0;

  if (seat == NULL) {
    if (commit) return false;
    reply->outcome = VOW_OUTCOME_ABORTED;
    if (!below) settle(add_seat(p, send->id, send->number), ABORTED);
    return true;
  }
  if (seat->state == PREPARED) settle(seat, commit ? COMMITTED : ABORTED);
  if (seat->state == HEURISTIC) {
    reply->outcome = seat->outcome;
  } else {
    reply->outcome = seat->state == COMMITTED ? VOW_OUTCOME_COMMITTED : VOW_OUTCOME_ABORTED;
  }
  return true;
}

static void forget_seat(struct participant *p, const struct world_send *send) {
  struct seat *seat = find_seat(p, send->id, send->number);
  if (seat != NULL && seat->state == HEURISTIC) *seat = p->seats[--p->count];
}

static struct participant *participant_of(const struct world_send *send) {
  return &run.participants[send->url[strlen("http://")] - 'a'];
}

/* The participant takes the message; false: it answers 404. */
static bool deliver(const struct world_send *send, struct vow_message_reply *reply) {
  struct participant *p = participant_of(send);
  bool known = true;

  memset(reply, 0, sizeof(*reply));
  raise_watermark(p, send->finished_below);
  switch (send->type) {
    case VOW_MESSAGE_PREPARE:
      *reply = prepare(p, send);
      break;
    case VOW_MESSAGE_COMMIT:
      known = decide(p, send, true, reply);
      /* Without broken promises a commit always finds its branch. */
      assert_true(known || run.ledgers[txn_of(send->id)].broken);
      break;
    case VOW_MESSAGE_ABORT:
      known = decide(p, send, false, reply);
      break;
    case VOW_MESSAGE_FORGET:
      forget_seat(p, send);
      break;
  }
  return known;
}

static const struct vow_txn *in_log(struct vow_id id) {
  for (uint32_t i = run.w->log_count; i-- > 0;) {
    const struct world_record *record = &run.w->log[i];
    if (record->kind == VOW_RECORD_TXN && vow_id_compare(record->image.id, id) == 0) {
      return &record->image;
    }
  }
  return NULL;
}

/* P7: a branch in doubt asks, as the daemon would answer. */
static void ask(struct seat *seat) {
  const struct vow_txn *open = vow_core_find(run.w->core, seat->id);
  const struct vow_txn *ended = in_log(seat->id);
  uint32_t number = txn_of(seat->id);
  bool committed = false;

  if (seat->state != PREPARED) return;
  if (open != NULL) {
    if (vow_txn_outcome(open) == VOW_OUTCOME_NONE) return;
    committed = vow_txn_outcome(open) == VOW_OUTCOME_COMMITTED;
  } else if (ended != NULL) {
    committed = ended->state == VOW_TXN_COMMITTED || ended->state == VOW_TXN_COMMITTING;
  }
  enum vow_outcome outcome = committed ? VOW_OUTCOME_COMMITTED : VOW_OUTCOME_ABORTED;
  if (run.w->told[number] != VOW_OUTCOME_NONE && !run.w->overruled[number])
    assert_int_equal(run.w->told[number], outcome);
  run.w->told[number] = outcome;
  settle(seat, committed ? COMMITTED : ABORTED);
}

static void ask_all(void) {
  for (int p = 0; p < ENDPOINTS; p++) {
    for (uint32_t i = 0; i < run.participants[p].count; i++) ask(&run.participants[p].seats[i]);
  }
}

/* ---- the network ---- */

static struct world_send *random_send(void) {
  uint32_t open = 0;
  for (uint32_t i = 0; i < run.w->send_count; i++) open += !run.w->sends[i].done;
  if (open == 0) return NULL;
  uint64_t pick = draw(open);
  for (uint32_t i = 0; i < run.w->send_count; i++) {
    if (!run.w->sends[i].done && pick-- == 0) return &run.w->sends[i];
  }
  return NULL;
}

static void network(bool healed) {
  struct world_send *send = random_send();
  struct vow_message_reply reply = {0};
  enum vow_reply_kind kind = VOW_REPLY_ANSWERED;

  if (send == NULL) return;
  if (!healed && trouble(NOT_DELIVERED, 20)) {
    world_reply(run.w, send, VOW_REPLY_ENDPOINT_DOWN, reply, chance(50));
    return;
  }
  if (!healed && trouble(FAILURES, 10)) {
    world_reply(run.w, send, VOW_REPLY_BRANCH_FAILED, reply, false);
    return;
  }
  if (!deliver(send, &reply)) kind = VOW_REPLY_UNKNOWN_BRANCH;
  if (!healed && trouble(LOST_ANSWERS, 20)) {
    world_time_out(run.w, send);
    return;
  }
  if (!healed && trouble(LOST_ANSWERS, 20)) kind = VOW_REPLY_ENDPOINT_DOWN;
  if (!healed && trouble(GARBAGE, 10)) kind = VOW_REPLY_REFUSED;
  world_reply(run.w, send, kind, reply, false);
}

static void raise_ghost(void) {
  struct vow_message_reply reply;
  if (run.ghost_count == 0) return;
  struct world_send ghost = run.ghosts[--run.ghost_count];
  if (ghost.type == VOW_MESSAGE_COMMIT) { /* it may find nothing: all may be over by now */
    raise_watermark(participant_of(&ghost), ghost.finished_below);
    (void)decide(participant_of(&ghost), &ghost, true, &reply);
  } else {
    (void)deliver(&ghost, &reply);
  }
}

/* ---- clients and operators ---- */

static void a_branch(char *text, size_t bytes, unsigned number) {
  (void)snprintf(text, bytes, "n%u@%c%s ", number, (int)('a' + (int)draw(ENDPOINTS)),
                 chance(50) ? "+" : "");
}

static bool key_is_in_log(const char *key) {
  for (uint32_t i = 0; i < run.w->log_count; i++) {
    const struct world_record *record = &run.w->log[i];
    if (record->kind != VOW_RECORD_TXN || record->image.idempotency_key == NULL) continue;
    if (strcmp(record->image.idempotency_key, key) == 0) return true;
  }
  return false;
}

static void begin_random(void) {
  struct vow_event event = {.type = VOW_EVENT_BEGIN};
  char branches[128] = "", key[8];
  uint32_t number = (uint32_t)draw(KEYS);

  if (run.w->id_count >= TXNS_A_RUN) return;
  unsigned count = (unsigned)draw(4);
  for (unsigned i = 0; i < count; i++) {
    a_branch(branches + strlen(branches), sizeof(branches) - strlen(branches), i + 1);
  }
  event.u.begin.commit = chance(60);
  event.u.begin.no_wait = chance(20);
  if (trouble(SLOWNESS, 30)) event.u.begin.timeout_ms = 1 + (uint32_t)draw(3000);
  if (chance(20)) {
    (void)snprintf(key, sizeof(key), "k%u", number);
    event.u.begin.commit = true;
    event.u.begin.idempotency_key = key;
    if (vow_core_find_key(run.w->core, key) == NULL) {
      if (key_is_in_log(key)) return;     /* the driver answers from the log */
      assert_false(run.key_told[number]); /* C8: what was told is kept */
    }
    run.key_of_token[run.w->token + 1] = (uint8_t)(number + 1);
  }
  (void)begin_with(run.w, &event, branches);
}

static uint32_t random_txn(void) {
  if (run.w->id_count == 0) return 0;
  uint32_t back = (uint32_t)draw(8);
  return back >= run.w->id_count ? 1 : run.w->id_count - back;
}

static void client(void) {
  uint32_t txn = random_txn();
  char branch[32];

  if (txn == 0 || chance(40)) {
    begin_random();
  } else if (chance(50)) {
    (void)(chance(80) ? commit(run.w, txn) : commit_no_wait(run.w, txn));
  } else if (chance(60)) {
    a_branch(branch, sizeof(branch), 5 + (unsigned)draw(3));
    (void)enlist(run.w, txn, branch);
  } else if (trouble(CLIENT_ABORTS, 60)) {
    (void)abort_txn(run.w, txn);
  } else {
    cancel(run.w, 1 + draw(run.w->token));
  }
}

static void operator_settles(const struct vow_txn *txn, bool patient) {
  uint32_t number = txn_of(txn->id) + 1;

  for (uint32_t i = 0; i < txn->branch_count; i++) {
    if (txn->branches[i].state != VOW_BRANCH_UNKNOWN && patient) continue;
    run.ledgers[number - 1].broken = true;
    /* Of a delegated branch an operator says what it did; this one says anything. */
    run.w->overruled[number - 1] |= txn->delegated;
    (void)resolve(run.w, number, i + 1, chance(50) ? VOW_OUTCOME_COMMITTED : VOW_OUTCOME_ABORTED);
    return;
  }
  (void)forget(run.w, number);
}

static void break_promise(void) {
  struct participant *p = &run.participants[draw(ENDPOINTS)];
  if (p->count == 0) return;
  struct seat *seat = &p->seats[draw(p->count)];
  if (seat->state != PREPARED) return;
  run.ledgers[txn_of(seat->id)].broken = true;
  if (chance(30)) {
    *seat = p->seats[--p->count]; /* it lost its disk */
    return;
  }
  seat->state = HEURISTIC;
  seat->outcome = (enum vow_outcome)(VOW_OUTCOME_HEURISTIC_COMMIT + draw(4));
}

static void operators(void) {
  const struct vow_txn *txn = vow_core_find(run.w->core, world_id(run.w, random_txn()));

  if (chance(50)) {
    break_promise();
  } else if (txn != NULL && chance(70)) {
    operator_settles(txn, chance(70));
  } else if (txn != NULL) {
    (void)resolve(run.w, txn_of(txn->id) + 1, 0, VOW_OUTCOME_ABORTED);
  }
}

/* ---- the process ---- */

static void die(void) {
  for (uint32_t i = 0; i < run.w->send_count; i++) {
    if (run.w->sends[i].done || run.ghost_count == GHOSTS_MAX) continue;
    if ((run.troubles & GHOSTS) != 0) run.ghosts[run.ghost_count++] = run.w->sends[i];
  }
  world_line(run.w, "---- crash ----");
  crash(run.w, draw(1U << 31));
}

static void log_thread(void) {
  uint32_t waiting = unsynced(run.w);
  if (waiting > 0) sync_to(run.w, run.w->durable + 1 + draw(waiting));
}

static void time_passes(void) {
  if (trouble(CLOCK_JUMPS, 30)) run.w->wall_ms += draw(100000) - 50000;
  wait_ms(run.w, draw(chance(10) ? 8000 : 300));
}

static void note_keys(void) {
  for (uint64_t token = 1; token <= run.w->token; token++) {
    if (run.key_of_token[token] != 0 && run.w->outcome[token] != VOW_OUTCOME_NONE) {
      run.key_told[run.key_of_token[token] - 1] = true;
    }
  }
}

static void any_step(void) {
  uint64_t pick = draw(100);

  run.w->more = chance(30);
  if (pick < 30) {
    client();
  } else if (pick < 65) {
    network(false);
  } else if (pick < 85) {
    log_thread();
  } else if (pick < 90) {
    if (trouble(SLOWNESS, 100)) time_passes();
  } else if (pick < 93) {
    if (trouble(HEURISTICS, 100)) operators();
  } else if (pick < 95) {
    raise_ghost();
  } else if (pick < 97) {
    ask_all();
  } else if (trouble(CRASHES, 40)) {
    die();
  }
  note_keys();
}

/* ---- the whole ---- */

static bool all_over(void) {
  const struct vow_id nil = {{0}};
  if (vow_core_next(run.w->core, nil) != NULL || unsynced(run.w) > 0) return false;
  for (int p = 0; p < ENDPOINTS; p++) {
    for (uint32_t i = 0; i < run.participants[p].count; i++) {
      if (run.participants[p].seats[i].state == PREPARED) return false;
    }
  }
  return true;
}

/* AC5, O1: no more troubles; everything ends. */
static void heal(void) {
  const struct vow_id nil = {{0}};

  run.w->more = false;
  while (run.ghost_count > 0) raise_ghost();
  for (int round = 0; round < HEAL_ROUNDS; round++) {
    if (all_over()) return;
    log_thread();
    while (random_send() != NULL) network(true);
    sync(run.w);
    wait_ms(run.w, 500);
    ask_all();
    const struct vow_txn *txn = vow_core_next(run.w->core, nil);
    if (txn != NULL && txn->heuristic != VOW_HEURISTIC_NONE) operator_settles(txn, true);
  }
  fail_msg("something never ended: t1.. %s", picture(run.w, 1));
}

static void check_answers(void) {
  for (uint64_t token = 1; token <= run.w->token; token++) {
    assert_int_equal(run.w->answered[token], 1);
  }
}

/* Where nobody breaks a promise, no outcome is heuristic. */
static void check_heuristics(void) {
  if ((run.troubles & HEURISTICS) != 0) return;
  for (uint32_t i = 0; i < run.w->log_count; i++) {
    assert_int_equal(run.w->log[i].image.heuristic, VOW_HEURISTIC_NONE);
  }
}

/* AC4: where nothing goes wrong and nobody says no, what was asked to commit commits. */
static void check_commits(void) {
  if (run.troubles != 0) return;
  for (uint32_t i = 0; i < run.w->log_count; i++) {
    const struct vow_txn *image = &run.w->log[i].image;
    for (uint32_t h = 0; image->state >= VOW_TXN_ABORTING && h < image->history_count; h++) {
      assert_int_not_equal(image->history[h].kind, VOW_HISTORY_COMMIT_ASKED);
    }
  }
}

static void start(unsigned offer) {
  world_free(run.w);
  run = (struct run){.w = world_new()};
  run.w->offer = offer; /* batches, or none */
  run.w->long_run = true;
}

static void end(void) {
  heal();
  check_answers();
  check_heuristics();
  check_commits();
}

void core_random_play(uint64_t seed, unsigned troubles) {
  start((unsigned)(seed % 3 * 3));
  run.state = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
  run.troubles = (unsigned)draw(2 * SLOWNESS) & troubles;
  for (int step = 0; step < STEPS; step++) any_step();
  end();
}

void core_random_play_choices(const uint8_t *choices, size_t count) {
  start(count == 0 ? 0 : choices[0] % 3 * 3);
  run.choices = choices;
  run.choices_left = count;
  run.troubles = (unsigned)draw(2 * SLOWNESS);
  for (int step = 0; step < STEPS && run.choices_left > 0; step++) any_step();
  run.choices_left = 0;
  end();
}

const char *core_random_trace(void) {
  return run.w == NULL ? "" : run.w->trace;
}

void core_random_free(void) {
  world_free(run.w);
  run.w = NULL;
}
