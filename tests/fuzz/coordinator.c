/*
 * The coordinator's core. The first byte says which of two worlds the choices go to: one in which
 * everybody keeps the protocol and everything must end (tests/unit/core_random.c), or this one, in
 * which clients, operators and participants say anything that can be said, and the driver makes
 * every mistake that the core promises to refuse. Both have the checks of core_world.h: nothing
 * leaves before it is durable, no outcome changes, no commit without its votes, each token is
 * answered once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "core_random.h"
#include "core_world.h"
#include "fuzz.h"

#define STEPS_MAX 120
#define TXNS_MAX  40
#define KEYS      3

static struct choices c;
static struct world *w;

/* ---- clients and operators ---- */

static uint32_t some_txn(void) {
  if (w->id_count == 0) return 0;
  uint32_t back = choose(&c, 6);
  return back >= w->id_count ? 1 : w->id_count - back;
}

static bool key_is_in_log(const char *key) {
  for (uint32_t i = 0; i < w->log_count; i++) {
    const char *had = w->log[i].kind == VOW_RECORD_TXN ? w->log[i].image.idempotency_key : NULL;
    if (had != NULL && strcmp(had, key) == 0) return true;
  }
  return false;
}

static const char *const branch_lists[] = {
    "",   "a",       "a b",  "a+ b+ c+",         "a b a", "x@a+", "x@a+ y@a+ z@a",
    "a+", "_@a _@b", "b+ a", "a b c d e f g h i"};

static void a_begin(void) {
  struct vow_event event = {0};
  char key[4];
  unsigned flags = choose_byte(&c);

  if (w->id_count >= TXNS_MAX) return;
  event.u.begin.commit = flags & 1;
  event.u.begin.no_wait = flags & 2;
  if (flags & 4) event.u.begin.timeout_ms = choose_byte(&c) * 40U;
  if (flags & 8) event.u.begin.metadata = "{\"who\":1}";
  if (flags & 16)
    event.u.begin.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  if (flags & 32) {
    (void)snprintf(key, sizeof key, "k%u", choose(&c, KEYS));
    /* The driver looks into the log first and answers from there. */
    if (vow_core_find_key(w->core, key) == NULL && key_is_in_log(key)) return;
    event.u.begin.idempotency_key = key;
    event.u.begin.request_hash[0] = (uint8_t)(flags & 64);
  }
  (void)begin_with(w, &event, branch_lists[choose(&c, sizeof branch_lists / sizeof *branch_lists)]);
}

static void a_resolve(void) {
  uint32_t txn = some_txn();
  const struct vow_txn *image = world_find(w, txn);
  /* Of a delegated branch an operator says what it did, and is believed. */
  if (image != NULL) w->overruled[txn - 1] |= image->delegated;
  uint32_t branch = choose(&c, 4);
  (void)resolve(w, txn, branch, (enum vow_outcome)choose(&c, VOW_OUTCOME_HEURISTIC_HAZARD + 1));
}

/* ---- participants ---- */

/* An answer that the codec would take for one to this message. */
static struct vow_message_reply any_answer(enum vow_message_type type) {
  struct vow_message_reply reply = {0};
  if (type == VOW_MESSAGE_PREPARE) {
    reply.vote = (enum vow_vote)(VOW_VOTE_NONE + 1 + choose(&c, 3));
    enum vow_outcome outcome = (enum vow_outcome)choose(&c, VOW_OUTCOME_HEURISTIC_HAZARD + 1);
    bool aborted = outcome == VOW_OUTCOME_ABORTED;
    if (reply.vote == (aborted ? VOW_VOTE_ABORT : VOW_VOTE_COMMIT)) reply.outcome = outcome;
    if (choose_flag(&c)) reply.reason = "because";
  } else if (type != VOW_MESSAGE_FORGET) {
    reply.outcome = (enum vow_outcome)(1 + choose(&c, VOW_OUTCOME_HEURISTIC_HAZARD));
  }
  return reply;
}

static struct world_send *some_send(void) {
  uint32_t skip = choose(&c, 8);
  struct world_send *found = NULL;
  for (uint32_t i = 0; i < w->send_count; i++) {
    if (w->sends[i].done) continue;
    found = &w->sends[i];
    if (skip-- == 0) break;
  }
  return found;
}

/* Several messages, and none of them has its answer yet. */
static bool is_whole_batch(const struct world_send *send) {
  unsigned waiting = 0, done = 0;
  for (uint32_t i = 0; i < w->send_count; i++) {
    if (w->sends[i].request != send->request) continue;
    waiting += !w->sends[i].done;
    done += w->sends[i].done;
  }
  return waiting > 1 && done == 0;
}

/* Abort asks a delegate what it did. One that says that it committed, and was never asked to, is
 * believed even where an abort has been told. */
static void believe(const struct world_send *send) {
  const struct vow_txn *image = vow_core_find(w->core, send->id);
  if (image == NULL || !image->delegated || send->type != VOW_MESSAGE_ABORT) return;
  for (uint32_t i = 0; i < w->id_count; i++) {
    if (vow_id_compare(w->ids[i], send->id) == 0) w->overruled[i] = true;
  }
}

/* All messages of a request come back as this. */
static void answer_request(uint64_t request, enum vow_reply_kind kind) {
  for (uint32_t i = 0; i < w->send_count; i++) {
    if (w->sends[i].request != request || w->sends[i].done) continue;
    world_reply(w, &w->sends[i], kind, (struct vow_message_reply){0}, false);
  }
}

static void a_reply(void) {
  struct world_send *send = some_send();
  if (send == NULL) return;
  believe(send);
  unsigned kind = choose_byte(&c);
  if (kind % 16 == 15 && is_whole_batch(send)) {
    answer_request(send->request, kind & 16 ? VOW_REPLY_NOT_A_BATCH : VOW_REPLY_ENDPOINT_DOWN);
  } else if (kind % 16 < 8) {
    world_reply(w, send, VOW_REPLY_ANSWERED, any_answer(send->type), false);
  } else {
    enum vow_reply_kind failure = (enum vow_reply_kind)(VOW_REPLY_ENDPOINT_DOWN + kind % 4);
    send->timed_out = kind & 32;
    world_reply(w, send, failure, (struct vow_message_reply){0}, kind & 16);
  }
}

/* ---- the driver ---- */

static void a_reconfiguration(void) {
  w->config.transactions_max = 1 + choose(&c, 8);
  w->config.branches_max = 1 + choose(&c, 8);
  w->config.ends_together = w->config.branches_max / 2;
  w->config.ends_wait_ms = w->config.branches_max;
  w->config.waiters_max = 1 + choose(&c, 3);
  w->config.inflight_per_endpoint_max = 1 + choose(&c, 3);
  w->config.history_max = 10 + choose(&c, 60);
  w->config.prepare_timeout_ms = 1 + choose_byte(&c) * 40U;
  struct vow_event event = {.type = VOW_EVENT_CONFIG, .u.config = &w->config};
  world_must(w, &event);
}

/* The core refuses what a driver must not do, and nothing changes. */
static void a_mistake(void) {
  struct vow_txn image = {.created_ms = 1};
  struct vow_event event = {.type = VOW_EVENT_DURABLE, .u.position = w->position + 1};
  switch (choose(&c, 5)) {
    case 0:
      event = (struct vow_event){.type = VOW_EVENT_REPLY, .u.reply.request = UINT64_MAX};
      break;
    case 1:
      event = (struct vow_event){.type = VOW_EVENT_LOAD_BEGIN};
      break;
    case 2:
      event = (struct vow_event){.type = VOW_EVENT_LOAD, .u.load = &image};
      break;
    case 3:
      event = (struct vow_event){.type = VOW_EVENT_LOAD_END};
      break;
    default:
      break;
  }
  assert_int_equal(world_step(w, &event), VOW_E_INVALID_ARGUMENT);
}

/* Somebody has seen the log further than it came, or not. What was only presumed may be taken back:
 * who asked too early was told it. */
static void a_witness(void) {
  struct vow_event event = {.type = VOW_EVENT_WITNESS};
  event.u.witness.seen = (struct vow_log_position){choose(&c, 5), choose_byte(&c) * 4U};
  event.u.witness.by = "somebody";
  for (uint32_t i = 0; i < w->id_count; i++) w->overruled[i] = true;
  world_must(w, &event);
  assert_true(!vow_core_quarantined(w->core) || vow_id_is_nil(vow_core_finished_below(w->core)));
}

static bool quarantine_is_in_log(void) {
  for (uint32_t i = 0; i < w->log_count; i++) {
    if (w->log[i].kind == VOW_RECORD_QUARANTINE) return true;
  }
  return false;
}

/* The process dies, and starts again on what its log has kept. */
static void a_crash(void) {
  const uint32_t room = sizeof w->known / sizeof *w->known;
  if (w->incarnation > 0 && w->known_count < room)
    w->known[w->known_count++] = (struct vow_incarnation){w->incarnation, w->durable};
  w->incarnation++;
  w->quarantined = quarantine_is_in_log();
  crash(w, choose_byte(&c));
}

static void the_process(void) {
  struct vow_event event = {.type = VOW_EVENT_LOG_REFUSES};
  switch (choose(&c, 9)) {
    case 0:
      event.u.log_refuses = choose_flag(&c) ? VOW_E_LOG_FULL : VOW_OK;
      world_must(w, &event);
      break;
    case 1:
      event.type = VOW_EVENT_DRAIN;
      world_must(w, &event);
      break;
    case 2:
      a_reconfiguration();
      break;
    case 3:
      a_mistake();
      break;
    case 4:
      w->wall_ms += choose_byte(&c) * 1000U;
      w->wall_ms -= choose_byte(&c) * 1000U;
      break;
    case 5:
      w->offer = choose(&c, 5);
      break;
    case 6:
      a_witness();
      break;
    default:
      a_crash();
  }
}

static void time_passes(void) {
  static const uint64_t waits_ms[] = {1, 50, 200, 1100, 5000, 21000, 61000};
  wait_ms(w, waits_ms[choose(&c, sizeof waits_ms / sizeof *waits_ms)]);
}

/* ---- the whole ---- */

static void any_step(void) {
  switch (choose(&c, 14)) {
    case 0:
      a_begin();
      break;
    case 1:
      (void)enlist(w, some_txn(), choose_flag(&c) ? "d+" : "e@a");
      break;
    case 2:
      (void)(choose_flag(&c) ? commit(w, some_txn()) : commit_no_wait(w, some_txn()));
      break;
    case 3:
      (void)abort_txn(w, some_txn());
      break;
    case 4:
      a_resolve();
      break;
    case 5:
      (void)forget(w, some_txn());
      break;
    case 6:
      if (w->token > 0) cancel(w, 1 + choose_byte(&c) % w->token);
      break;
    case 7:
      if (unsynced(w) > 0) sync_to(w, w->durable + 1 + choose(&c, 4) % unsynced(w));
      break;
    case 8:
      the_process();
      break;
    case 9:
      time_passes();
      break;
    case 10:
      sync(w);
      break;
    default:
      a_reply();
  }
}

static void anything_goes(void) {
  w = world_new();
  w->long_run = true;
  for (unsigned i = 0; i < STEPS_MAX && c.left > 0; i++) any_step();
  w->quarantined = quarantine_is_in_log();
  crash(w, ~UINT64_C(0)); /* whatever was said, what was written of it can be read */
  world_free(w);
  w = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  c = (struct choices){data, bytes};
  if (choose_flag(&c)) {
    anything_goes();
  } else {
    core_random_play_choices(c.at, c.left);
    core_random_free();
  }
  return 0;
}
