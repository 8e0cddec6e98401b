/*
 * The books around the branches: limits, watermarks and purges, pauses between questions, moving
 * coordinators, and memory that runs out at every allocation.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/pcore.h"
#include "failing_memory.h"

#define HERE  "http://here"
#define THERE "http://there"

/* ---- memory that runs out ---- */

static long allocations_left = -1; /* negative: never out */

bool allocation_fails(void) {
  return allocations_left >= 0 && allocations_left-- == 0;
}

/* ---- the world ---- */

struct world {
  struct vow_pcore *core;
  uint64_t now_ms;
  uint64_t random;
  struct vow_pactions actions;
};

static int setup(void **state) {
  struct world *w = calloc(1, sizeof *w);
  struct vow_pconfig config = {.branches_max = 100000,
                               .preparing_max = 100000,
                               .tombstones_max = 100000,
                               .coordinators_max = 2,
                               .inquiry_min_ms = 100,
                               .inquiry_max_ms = 1000};
  w->now_ms = 1000;
  if (vow_pcore_new(&w->core, &config)) return 1;
  *state = w;
  return 0;
}

static int teardown(void **state) {
  struct world *w = *state;
  allocations_left = -1;
  vow_pcore_free(w->core);
  free(w);
  return 0;
}

static struct vow_id id_of(uint32_t n) {
  struct vow_id id = {{0x01, 0x93, 0, 0, 0, 0, 0x70, 0, 0x80}};
  for (int i = 0; i < 4; i++) id.bytes[12 + i] = (uint8_t)(n >> (24 - 8 * i));
  return id;
}

static enum vow_error step(struct world *w, struct vow_pevent event) {
  event.now_ms = w->now_ms;
  event.random = w->random += 0x9E3779B97F4A7C15U;
  return vow_pcore_step(w->core, &event, &w->actions);
}

static void must_step(struct world *w, struct vow_pevent event) {
  assert_int_equal(step(w, event), VOW_OK);
}

static void send(struct world *w, enum vow_message_type type, uint32_t n, const char *coordinator,
                 uint32_t below) {
  struct vow_message message = {.type = type,
                                .transaction = id_of(n),
                                .branch = 1,
                                .coordinator = coordinator,
                                .finished_below = id_of(below),
                                .payload = "{}",
                                .payload_bytes = 2};
  struct vow_pevent event = {.type = VOW_PEVENT_MESSAGE};
  event.u.message.token = n;
  event.u.message.message = &message;
  must_step(w, event);
}

static const struct vow_paction *find_action(const struct world *w, enum vow_paction_type type) {
  for (uint32_t i = 0; i < w->actions.count; i++) {
    if (w->actions.items[i].type == type) return &w->actions.items[i];
  }
  return NULL;
}

static enum vow_error error_of(const struct world *w) {
  const struct vow_paction *reply = find_action(w, VOW_PACTION_REPLY);
  assert_non_null(reply);
  return reply->u.reply.error;
}

/* The record that the last step asked for is on disk. */
static void log_it(struct world *w) {
  const struct vow_paction *log = find_action(w, VOW_PACTION_LOG);
  assert_non_null(log);
  struct vow_pevent event = {.type = VOW_PEVENT_LOGGED,
                             .transaction = log->u.log.record.transaction,
                             .branch = log->u.log.record.branch};
  event.u.logged.position = log->u.log.position;
  must_step(w, event);
}

static void prepare(struct world *w, uint32_t n, const char *coordinator, uint32_t below) {
  send(w, VOW_MESSAGE_PREPARE, n, coordinator, below);
  struct vow_pevent voted = {.type = VOW_PEVENT_VOTED, .transaction = id_of(n), .branch = 1};
  voted.u.voted.vote = VOW_VOTE_COMMIT;
  must_step(w, voted);
}

static void prepared(struct world *w, uint32_t n, const char *coordinator) {
  prepare(w, n, coordinator, 0);
  log_it(w);
}

static void finish(struct world *w, uint32_t n, enum vow_message_type type) {
  send(w, type, n, HERE, 0);
  must_step(w,
            (struct vow_pevent){.type = VOW_PEVENT_FINISHED, .transaction = id_of(n), .branch = 1});
  log_it(w);
}

static struct vow_pcounts counts(const struct world *w) {
  struct vow_pcounts out;
  vow_pcore_counts(w->core, &out);
  return out;
}

/* ---- watermarks ---- */

static void a_purge_rides_on_a_record_and_takes_a_few_tombstones(void **state) {
  struct world *w = *state;
  const uint32_t count = VOW_PCORE_PURGE_MAX + 10;
  for (uint32_t n = 1; n <= count; n++) {
    prepared(w, n, HERE);
    finish(w, n, VOW_MESSAGE_COMMIT);
  }
  assert_int_equal(counts(w).tombstones, count);
  send(w, VOW_MESSAGE_COMMIT, 1, HERE, count); /* the watermark passes; nothing is written */
  assert_null(find_action(w, VOW_PACTION_PURGE));
  prepare(w, 1000, HERE, count);
  const struct vow_paction *purge = find_action(w, VOW_PACTION_PURGE);
  assert_non_null(purge);
  assert_int_equal(purge->u.purge.count, VOW_PCORE_PURGE_MAX);
  assert_int_equal(vow_id_compare(purge->u.purge.finished_below, id_of(count)), 0);
  for (uint32_t i = 0; i < VOW_PCORE_PURGE_MAX; i++)
    assert_int_equal(purge->u.purge.rows[i], i + 1); /* as they came */
  log_it(w);
  prepare(w, 1001, HERE, count);
  assert_int_equal(find_action(w, VOW_PACTION_PURGE)->u.purge.count, 9);
  log_it(w);
  assert_int_equal(counts(w).tombstones, 1); /* the one at the watermark stays */
  prepare(w, 1002, HERE, count);
  assert_null(find_action(w, VOW_PACTION_PURGE));
}

/* A reconciliation opens again what the watermark had passed: its commit is taken, its tombstone
 * stays until the watermark passes it anew, and no prepare below the highest is taken till then. */
static void what_is_opened_again_is_kept(void **state) {
  struct world *w = *state;
  prepared(w, 10, HERE);
  prepared(w, 20, HERE);
  send(w, VOW_MESSAGE_COMMIT, 20, HERE, 15); /* whoever was left out is taken for done */
  send(w, VOW_MESSAGE_COMMIT, 10, HERE, 10); /* and is back */
  must_step(
      w, (struct vow_pevent){.type = VOW_PEVENT_FINISHED, .transaction = id_of(10), .branch = 1});
  log_it(w);
  prepare(w, 30, HERE, 10);
  assert_null(find_action(w, VOW_PACTION_PURGE));
  log_it(w);
  send(w, VOW_MESSAGE_COMMIT, 10, HERE, 10);
  assert_int_equal(error_of(w), VOW_OK);
  send(w, VOW_MESSAGE_PREPARE, 12, HERE, 10);
  assert_int_equal(find_action(w, VOW_PACTION_REPLY)->u.reply.reply.vote, VOW_VOTE_ABORT);
  prepare(w, 31, HERE, 25);
  assert_int_equal(find_action(w, VOW_PACTION_PURGE)->u.purge.count, 1);
}

static void a_watermark_never_goes_back(void **state) {
  struct world *w = *state;
  prepared(w, 50, HERE);
  send(w, VOW_MESSAGE_PREPARE, 51, HERE, 40);
  send(w, VOW_MESSAGE_PREPARE, 52, HERE, 20);
  assert_int_equal(vow_id_compare(vow_pcore_finished_below(w->core, HERE), id_of(40)), 0);
  send(w, VOW_MESSAGE_PREPARE, 30, HERE, 20);
  assert_int_equal(find_action(w, VOW_PACTION_REPLY)->u.reply.reply.vote, VOW_VOTE_ABORT);
}

static void each_coordinator_has_its_own_watermark(void **state) {
  struct world *w = *state;
  prepared(w, 50, HERE);
  send(w, VOW_MESSAGE_PREPARE, 51, HERE, 40);
  send(w, VOW_MESSAGE_PREPARE, 30, THERE, 0);
  assert_non_null(find_action(w, VOW_PACTION_CALL));
}

/* The forget of a heuristic outcome is the message that writes at once. */
static void a_message_from_an_address_never_heard_of_is_recorded_for_the_coordinator_of_the_branch(
    void **state) {
  struct world *w = *state;
  prepared(w, 1, HERE);
  struct vow_pevent event = {.type = VOW_PEVENT_OPERATE, .transaction = id_of(1), .branch = 1};
  event.u.operate.token = 1;
  event.u.operate.outcome = VOW_OUTCOME_HEURISTIC_ABORT;
  must_step(w, event);
  log_it(w);
  send(w, VOW_MESSAGE_FORGET, 1, THERE, 0);
  const struct vow_paction *log = find_action(w, VOW_PACTION_LOG);
  assert_non_null(log);
  assert_non_null(log->u.log.record.coordinator);
  assert_string_equal(log->u.log.record.coordinator, HERE);
}

static void a_branch_follows_its_coordinator_to_another_address(void **state) {
  struct world *w = *state;
  prepared(w, 1, HERE);
  prepared(w, 2, THERE);
  send(w, VOW_MESSAGE_PREPARE, 1, THERE, 0);
  const struct vow_pbranch *b = vow_pcore_find(w->core, id_of(1), 1);
  assert_string_equal(vow_pbranch_coordinator(b), THERE);
}

/* ---- limits ---- */

static void coordinators_are_limited(void **state) {
  struct world *w = *state;
  prepared(w, 1, HERE);
  prepared(w, 2, THERE);
  send(w, VOW_MESSAGE_PREPARE, 3, "http://third", 0);
  assert_int_equal(error_of(w), VOW_E_OVERLOADED);
  /* What makes no branch needs no place. */
  send(w, VOW_MESSAGE_COMMIT, 4, "http://third", 0);
  assert_int_equal(error_of(w), VOW_E_UNKNOWN_BRANCH);
}

static void restart_with(struct world *w, struct vow_pconfig config) {
  vow_pcore_free(w->core);
  config.coordinators_max = 2;
  config.inquiry_min_ms = config.inquiry_max_ms = 1000;
  config.purge_every = 9; /* while there is room */
  assert_int_equal(vow_pcore_new(&w->core, &config), VOW_OK);
}

static void past_each_limit_what_is_new_is_told_to_come_again(void **state) {
  struct world *w = *state;
  restart_with(w, (struct vow_pconfig){.branches_max = 2, .preparing_max = 1, .tombstones_max = 1});
  send(w, VOW_MESSAGE_PREPARE, 1, HERE, 0);
  send(w, VOW_MESSAGE_PREPARE, 2, HERE, 0); /* while the first waits for its callback */
  assert_int_equal(error_of(w), VOW_E_OVERLOADED);
  send(w, VOW_MESSAGE_ABORT, 2, HERE, 0); /* an abort waits for nobody's prepare */
  assert_non_null(find_action(w, VOW_PACTION_CALL));
  send(w, VOW_MESSAGE_PREPARE, 3, HERE, 0);
  assert_int_equal(error_of(w), VOW_E_OVERLOADED);
  must_step(w,
            (struct vow_pevent){.type = VOW_PEVENT_FINISHED, .transaction = id_of(2), .branch = 1});
  log_it(w);
  assert_int_equal(counts(w).tombstones, 1);
  restart_with(w, (struct vow_pconfig){.branches_max = 2, .preparing_max = 2, .tombstones_max = 1});
  prepared(w, 2, HERE);
  finish(w, 2, VOW_MESSAGE_ABORT);
  send(w, VOW_MESSAGE_PREPARE, 3, HERE, 0);
  assert_int_equal(error_of(w), VOW_E_OVERLOADED);
  /* The watermark makes room, without any record but those of who takes it. */
  prepare(w, 3, HERE, 3);
  assert_non_null(find_action(w, VOW_PACTION_PURGE));
}

/* The oldest transaction holds the watermark, and with it every tombstone: while its abort were
 * refused for want of room, neither could ever go. */
static void the_abort_that_tombstones_wait_for_finds_room(void **state) {
  struct world *w = *state;
  restart_with(w, (struct vow_pconfig){.branches_max = 1, .preparing_max = 1, .tombstones_max = 1});
  prepared(w, 2, HERE);
  finish(w, 2, VOW_MESSAGE_COMMIT);
  prepare(w, 4, HERE, 3); /* takes the room of 2, and fills the branches as well */
  log_it(w);
  send(w, VOW_MESSAGE_ABORT, 3, HERE, 3);
  assert_non_null(find_action(w, VOW_PACTION_CALL));
  finish(w, 4, VOW_MESSAGE_ABORT);
  send(w, VOW_MESSAGE_ABORT, 5, HERE, 3); /* and past the tombstones */
  assert_non_null(find_action(w, VOW_PACTION_CALL));
}

static void past_the_waiters_of_a_branch_a_request_is_told_to_come_again(void **state) {
  struct world *w = *state;
  for (int i = 0; i < VOW_PBRANCH_WAITERS_MAX; i++) {
    send(w, VOW_MESSAGE_PREPARE, 1, HERE, 0);
    assert_null(find_action(w, VOW_PACTION_REPLY));
  }
  send(w, VOW_MESSAGE_ABORT, 1, HERE, 0);
  assert_int_equal(error_of(w), VOW_E_INTERNAL); /* of this branch: other branches go on */
}

static void a_full_disk_lets_nothing_begin_and_everything_end(void **state) {
  struct world *w = *state;
  prepared(w, 1, HERE);
  struct vow_message message = {
      .type = VOW_MESSAGE_PREPARE, .transaction = id_of(2), .branch = 1, .coordinator = HERE};
  struct vow_pevent event = {.type = VOW_PEVENT_MESSAGE};
  event.u.message.token = 1;
  event.u.message.message = &message;
  event.u.message.refused = "full";
  must_step(w, event);
  const struct vow_paction *reply = find_action(w, VOW_PACTION_REPLY);
  assert_int_equal(reply->u.reply.reply.vote, VOW_VOTE_ABORT);
  assert_string_equal(reply->u.reply.reply.reason, "full");
  /* In one phase a vote to abort would have to be kept. */
  message.one_phase = true;
  must_step(w, event);
  assert_int_equal(error_of(w), VOW_E_INTERNAL);
  message.transaction = id_of(1);
  message.type = VOW_MESSAGE_COMMIT;
  must_step(w, event);
  assert_int_equal(find_action(w, VOW_PACTION_CALL)->u.call, VOW_MESSAGE_COMMIT);
}

static void many_branches_are_found_again(void **state) {
  struct world *w = *state;
  const uint32_t count = 5000;
  for (uint32_t n = 1; n <= count; n++) prepared(w, n * 7919, HERE);
  assert_int_equal(counts(w).in_doubt, count);
  for (uint32_t n = 1; n <= count; n++) {
    assert_non_null(vow_pcore_find(w->core, id_of(n * 7919), 1));
    assert_null(vow_pcore_find(w->core, id_of(n * 7919), 2));
  }
  uint32_t listed = 0;
  const struct vow_pbranch *b = NULL;
  while ((b = vow_pcore_next(w->core, b)) != NULL) listed += vow_pbranch_in_doubt(b);
  assert_int_equal(listed, count);
}

/* ---- questions ---- */

static uint32_t tick(struct world *w, uint64_t now_ms) {
  w->now_ms = now_ms;
  must_step(w, (struct vow_pevent){.type = VOW_PEVENT_TICK});
  uint32_t asks = 0;
  for (uint32_t i = 0; i < w->actions.count; i++) {
    asks += w->actions.items[i].type == VOW_PACTION_ASK;
  }
  return asks;
}

static void pauses_grow_to_their_limit_with_jitter(void **state) {
  struct world *w = *state;
  assert_int_equal(vow_pcore_next_deadline(w->core), UINT64_MAX);
  prepared(w, 1, HERE);
  uint64_t before = w->now_ms, due = vow_pcore_next_deadline(w->core);
  assert_in_range(due - before, 100, 125);
  assert_int_equal(tick(w, due - 1), 0);
  uint32_t longest_ms = 100;
  for (int i = 0; i < 8; i++) {
    assert_int_equal(tick(w, due), 1);
    longest_ms = longest_ms * 2 > 1000 ? 1000 : longest_ms * 2;
    before = due;
    due = vow_pcore_next_deadline(w->core);
    assert_in_range(due - before, longest_ms / 2, longest_ms);
  }
}

static void branches_do_not_ask_in_step(void **state) {
  struct world *w = *state;
  uint64_t least = UINT64_MAX, most = 0;
  for (uint32_t n = 1; n <= 50; n++) prepared(w, n, HERE);
  (void)tick(w, w->now_ms + 200);
  for (uint32_t n = 1; n <= 50; n++) {
    uint64_t due_ms = vow_pcore_find(w->core, id_of(n), 1)->due_ms;
    least = due_ms < least ? due_ms : least;
    most = due_ms > most ? due_ms : most;
  }
  assert_true(most - least > 20);
}

static void ask_failed(struct world *w, const char *coordinator) {
  struct vow_pevent event = {.type = VOW_PEVENT_ASK_FAILED};
  event.u.coordinator.url = coordinator;
  must_step(w, event);
}

static void a_coordinator_that_does_not_answer_is_left_alone_and_others_are_not(void **state) {
  struct world *w = *state;
  prepared(w, 1, HERE);
  prepared(w, 2, THERE);
  assert_int_equal(tick(w, 2000), 2);
  for (int i = 0; i < 6; i++) ask_failed(w, HERE); /* a quiet time of 500 to 1000 ms */
  ask_failed(w, "http://nobody");
  assert_int_equal(tick(w, 2210), 1);
  assert_string_equal(vow_pbranch_coordinator(find_action(w, VOW_PACTION_ASK)->branch), THERE);
  assert_int_equal(tick(w, 3000), 2);
  /* An answer, whatever it says, ends the quiet time. */
  ask_failed(w, HERE);
  struct vow_pevent answered = {.type = VOW_PEVENT_ANSWERED, .transaction = id_of(1), .branch = 1};
  answered.u.answer.outcome = VOW_INQUIRY_UNDECIDED;
  must_step(w, answered);
  assert_int_equal(tick(w, 3900), 2);
}

static void a_tick_is_bounded_and_the_next_is_due_at_once(void **state) {
  struct world *w = *state;
  for (uint32_t n = 1; n <= VOW_PCORE_TICK_MAX + 5; n++) prepared(w, n, HERE);
  assert_int_equal(tick(w, 5000), VOW_PCORE_TICK_MAX);
  assert_true(vow_pcore_next_deadline(w->core) <= 5000);
  assert_int_equal(tick(w, 5000), 5);
}

/* ---- start ---- */

static void load(struct world *w, uint32_t n, enum vow_precord_kind kind) {
  struct vow_precord record = {
      .kind = kind, .transaction = id_of(n), .branch = 1, .coordinator = HERE, .reason = "why"};
  struct vow_pevent event = {.type = VOW_PEVENT_LOAD};
  event.u.load = &record;
  must_step(w, event);
}

static void what_is_loaded_goes_on_where_it_was(void **state) {
  struct world *w = *state;
  struct vow_pevent watermark = {.type = VOW_PEVENT_LOAD_COORDINATOR};
  watermark.u.coordinator.url = HERE;
  watermark.u.coordinator.finished_below = id_of(200);
  must_step(w, watermark);
  for (uint32_t kind = VOW_PRECORD_INTENT; kind <= VOW_PRECORD_FORGOTTEN; kind++)
    load(w, 100 + kind, (enum vow_precord_kind)kind);
  struct vow_pcounts c = counts(w);
  assert_int_equal(c.unfinished, 3);
  assert_int_equal(c.in_doubt, 1);
  assert_int_equal(c.tombstones, 4);
  assert_int_equal(c.heuristics, 1);
  assert_int_equal(c.committed + c.aborted + c.heuristic, 0); /* of this run */
  assert_int_equal(tick(w, w->now_ms), 1);
  assert_int_equal(w->actions.count, 3); /* one question, a commit and an abort */
  must_step(w, (struct vow_pevent){.type = VOW_PEVENT_FINISHED,
                                   .transaction = id_of(100 + VOW_PRECORD_DECIDED),
                                   .branch = 1});
  assert_null(find_action(w, VOW_PACTION_PURGE)); /* the coordinator may have gone below it since */
  log_it(w);
  send(w, VOW_MESSAGE_PREPARE, 9, HERE, 0);
  assert_int_equal(find_action(w, VOW_PACTION_REPLY)->u.reply.reply.vote, VOW_VOTE_ABORT);
  send(w, VOW_MESSAGE_PREPARE, 100 + VOW_PRECORD_ABORTED, HERE, 0);
  assert_string_equal(find_action(w, VOW_PACTION_REPLY)->u.reply.reply.reason, "why");
}

/* ---- memory ---- */

static void without_memory_a_message_is_refused_and_changes_nothing(void **state) {
  long n = 0;
  for (bool passed = false; !passed; n++) {
    void *fresh = NULL;
    assert_int_equal(setup(&fresh), 0);
    struct world *w = fresh;
    allocations_left = n;
    send(w, VOW_MESSAGE_PREPARE, 1, HERE, 0);
    passed = allocations_left >= 0;
    allocations_left = -1;
    if (!passed) assert_int_equal(error_of(w), VOW_E_NO_MEMORY);
    assert_int_equal(vow_pcore_find(w->core, id_of(1), 1) != NULL, passed);
    assert_int_equal(counts(w).unfinished, passed);
    (void)teardown(&fresh);
  }
  /* The coordinator, its URL, two heaps, the branch, what it has while it lives, the payload; and
   * the time that none was missing. */
  assert_int_equal(n, 7 + 1);
  (void)state;
}

static void without_memory_a_tombstone_answers_as_long_as_nothing_is_to_be_written(void **state) {
  struct world *w = *state;
  send(w, VOW_MESSAGE_PREPARE, 1, HERE, 0);
  struct vow_pevent voted = {.type = VOW_PEVENT_VOTED, .transaction = id_of(1), .branch = 1};
  voted.u.voted.vote = VOW_VOTE_READ_ONLY;
  must_step(w, voted);
  allocations_left = 0;
  send(w, VOW_MESSAGE_ABORT, 1, HERE, 0);
  assert_int_equal(error_of(w), VOW_E_NO_MEMORY);
  allocations_left = -1;
  send(w, VOW_MESSAGE_ABORT, 1, HERE, 0);
  assert_int_equal(find_action(w, VOW_PACTION_LOG)->u.log.record.kind, VOW_PRECORD_ABORTED);
}

static void without_memory_the_table_grows_in_its_chains(void **state) {
  struct world *w = *state;
  for (uint32_t n = 1; n <= 256; n++) prepared(w, n, HERE);
  /* The 257th wants a larger table and larger heaps first; only the table may fail. */
  for (long at = 0; at < 10; at++) {
    allocations_left = at;
    send(w, VOW_MESSAGE_PREPARE, 257, HERE, 0);
    allocations_left = -1;
    if (vow_pcore_find(w->core, id_of(257), 1)) break;
    assert_int_equal(error_of(w), VOW_E_NO_MEMORY);
  }
  for (uint32_t n = 1; n <= 257; n++) assert_non_null(vow_pcore_find(w->core, id_of(n), 1));
}

static void without_memory_there_is_no_core_and_nothing_is_loaded(void **state) {
  struct world *w = *state;
  struct vow_pconfig config = {.branches_max = 1};
  struct vow_pcore *core = NULL;
  for (long n = 0; n < 2; n++) {
    allocations_left = n;
    assert_int_equal(vow_pcore_new(&core, &config), VOW_E_NO_MEMORY);
    assert_null(core);
  }
  struct vow_precord record = {
      .kind = VOW_PRECORD_PREPARED, .transaction = id_of(1), .branch = 1, .coordinator = HERE};
  struct vow_pevent event = {.type = VOW_PEVENT_LOAD};
  event.u.load = &record;
  allocations_left = 0;
  assert_int_equal(step(w, event), VOW_E_NO_MEMORY);
  event.type = VOW_PEVENT_LOAD_COORDINATOR;
  event.u.coordinator.url = HERE;
  allocations_left = 1;
  assert_int_equal(step(w, event), VOW_E_NO_MEMORY);
  event.type = VOW_PEVENT_LOAD_SEEN;
  allocations_left = 1;
  assert_int_equal(step(w, event), VOW_E_NO_MEMORY);
}

/* It goes on being asked at the old address, which is no worse than before. */
static void without_memory_a_branch_stays_with_the_address_it_had(void **state) {
  struct world *w = *state;
  prepared(w, 1, HERE);
  prepared(w, 2, THERE);
  uint32_t there = 2; /* until the heap of THERE has to grow to take one more */
  for (bool stays = false; !stays; there++) {
    assert_true(there < 100);
    allocations_left = 0;
    send(w, VOW_MESSAGE_PREPARE, 1, THERE, 0);
    allocations_left = -1;
    const struct vow_pbranch *b = vow_pcore_find(w->core, id_of(1), 1);
    stays = strcmp(vow_pbranch_coordinator(b), HERE) == 0;
    assert_int_equal(find_action(w, VOW_PACTION_REPLY)->u.reply.reply.vote, VOW_VOTE_COMMIT);
    if (stays) break;
    send(w, VOW_MESSAGE_PREPARE, 1, HERE, 0); /* back, and THERE gets another */
    prepared(w, there + 1, THERE);
  }
}

#define test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      test(a_purge_rides_on_a_record_and_takes_a_few_tombstones),
      test(what_is_opened_again_is_kept),
      test(a_watermark_never_goes_back),
      test(each_coordinator_has_its_own_watermark),
      test(a_message_from_an_address_never_heard_of_is_recorded_for_the_coordinator_of_the_branch),
      test(a_branch_follows_its_coordinator_to_another_address),
      test(coordinators_are_limited),
      test(past_each_limit_what_is_new_is_told_to_come_again),
      test(the_abort_that_tombstones_wait_for_finds_room),
      test(past_the_waiters_of_a_branch_a_request_is_told_to_come_again),
      test(a_full_disk_lets_nothing_begin_and_everything_end),
      test(many_branches_are_found_again),
      test(pauses_grow_to_their_limit_with_jitter),
      test(branches_do_not_ask_in_step),
      test(a_coordinator_that_does_not_answer_is_left_alone_and_others_are_not),
      test(a_tick_is_bounded_and_the_next_is_due_at_once),
      test(what_is_loaded_goes_on_where_it_was),
      test(without_memory_a_message_is_refused_and_changes_nothing),
      test(without_memory_a_tombstone_answers_as_long_as_nothing_is_to_be_written),
      test(without_memory_the_table_grows_in_its_chains),
      test(without_memory_there_is_no_core_and_nothing_is_loaded),
      test(without_memory_a_branch_stays_with_the_address_it_had),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
