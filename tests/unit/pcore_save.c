/*
 * What is below the watermark and unknown has ended, and a crash does not undo that: whoever
 * concludes an end from the answer gets it only when the watermark is on the participant's disk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/pcore.h"

#define HERE  "http://here"
#define THERE "http://there"

static struct vow_pcore *core;
static struct vow_pactions actions;
static struct vow_id on_disk; /* the watermark of HERE */

static void start(void) {
  struct vow_pconfig config = {.branches_max = 100,
                               .preparing_max = 100,
                               .tombstones_max = 100,
                               .coordinators_max = 4,
                               .inquiry_min_ms = 100,
                               .inquiry_max_ms = 1000};
  assert_int_equal(vow_pcore_new(&core, &config), VOW_OK);
}

static int setup(void **state) {
  (void)state;
  on_disk = (struct vow_id){{0}};
  start();
  return 0;
}

static int teardown(void **state) {
  (void)state;
  vow_pcore_free(core);
  return 0;
}

static struct vow_id id_of(uint8_t n) {
  return vow_id_make(n, 0, 0);
}

static void must_step(struct vow_pevent event) {
  assert_int_equal(vow_pcore_step(core, &event, &actions), VOW_OK);
}

static void send_to(const char *coordinator, enum vow_message_type type, bool one_phase, uint8_t n,
                    uint8_t below) {
  struct vow_message message = {.type = type,
                                .transaction = id_of(n),
                                .branch = 1,
                                .coordinator = coordinator,
                                .one_phase = one_phase,
                                .finished_below = id_of(below)};
  message.log.incarnation = 1;
  message.log.position = below;
  struct vow_pevent event = {.type = VOW_PEVENT_MESSAGE};
  event.u.message.token = n;
  event.u.message.message = &message;
  must_step(event);
}

static void send(enum vow_message_type type, uint8_t n, uint8_t below) {
  send_to(HERE, type, false, n, below);
}

static void send_one_phase(uint8_t n, uint8_t below) {
  send_to(HERE, VOW_MESSAGE_PREPARE, true, n, below);
}

static const struct vow_paction *find_action(enum vow_paction_type type) {
  for (uint32_t i = 0; i < actions.count; i++) {
    if (actions.items[i].type == type) return &actions.items[i];
  }
  return NULL;
}

/* The one action of the last step. */
static const struct vow_paction *only(enum vow_paction_type type) {
  assert_int_equal(actions.count, 1);
  assert_int_equal(actions.items[0].type, type);
  return &actions.items[0];
}

static void assert_comes_again(void) {
  assert_int_equal(only(VOW_PACTION_REPLY)->u.reply.error, VOW_E_INTERNAL);
}

static void assert_refused(const struct vow_paction *action) {
  assert_int_equal(action->type, VOW_PACTION_REPLY);
  if (action->u.reply.type == VOW_MESSAGE_ABORT) {
    assert_int_equal(action->u.reply.error, VOW_E_UNKNOWN_BRANCH);
  } else {
    assert_int_equal(action->u.reply.error, VOW_OK);
    assert_int_equal(action->u.reply.reply.vote, VOW_VOTE_ABORT);
  }
}

static struct vow_pevent report(enum vow_pevent_type type, uint64_t position) {
  struct vow_pevent event = {.type = type};
  event.u.logged.position = position;
  event.u.logged.error = VOW_E_LOG_FULL;
  event.u.logged.why = "the disk is full";
  return event;
}

/* The watermark that the last step wants is on disk. Returns its position. */
static uint64_t save_it(uint8_t below) {
  const struct vow_paction *save = find_action(VOW_PACTION_SAVE);
  assert_non_null(save);
  assert_string_equal(save->u.save.coordinator, HERE);
  on_disk = save->u.save.finished_below;
  assert_int_equal(vow_id_compare(on_disk, id_of(below)), 0);
  uint64_t position = save->u.save.position;
  must_step(report(VOW_PEVENT_LOGGED, position));
  return position;
}

static void crash(void) {
  vow_pcore_free(core);
  start();
  struct vow_pevent event = {.type = VOW_PEVENT_LOAD_COORDINATOR};
  event.u.coordinator.url = HERE;
  event.u.coordinator.finished_below = on_disk;
  if (!vow_id_is_nil(on_disk)) must_step(event);
}

/* A message of an older log whose ids have begun again, or a late one. */
static void a_late_prepare_commits_nothing_that_was_answered_as_ended(void **state) {
  static const enum vow_message_type types[] = {VOW_MESSAGE_PREPARE, VOW_MESSAGE_ABORT};
  (void)state;
  for (size_t i = 0; i < 2; i++) {
    send(VOW_MESSAGE_PREPARE, 20, 10);
    send_to(HERE, types[i], types[i] == VOW_MESSAGE_PREPARE, 5, 10);
    if (!find_action(VOW_PACTION_REPLY)) (void)save_it(10);
    assert_refused(only(VOW_PACTION_REPLY));
    crash();
    send_one_phase(5, 0);
    assert_refused(only(VOW_PACTION_REPLY));
    on_disk = (struct vow_id){{0}};
    crash();
  }
}

static void the_answer_waits_for_the_disk(void **state) {
  (void)state;
  send(VOW_MESSAGE_PREPARE, 20, 10);
  send_one_phase(5, 10);
  assert_int_equal(only(VOW_PACTION_SAVE)->u.save.position, 1);
  assert_int_equal(save_it(10), 1);
  assert_int_equal(only(VOW_PACTION_REPLY)->u.reply.after, 1);
  assert_int_equal(actions.items[0].u.reply.seen.position, 10);
}

/* One write for all that ask meanwhile, and none for those that ask later, until it moves. */
static void a_flood_of_late_messages_writes_once(void **state) {
  (void)state;
  send(VOW_MESSAGE_PREPARE, 20, 10);
  send_one_phase(1, 10);
  for (uint8_t n = 2; n <= VOW_PBRANCH_WAITERS_MAX; n++) {
    send(VOW_MESSAGE_ABORT, n, 10);
    assert_int_equal(actions.count, 0);
  }
  send(VOW_MESSAGE_ABORT, 9, 10);
  assert_comes_again();
  must_step(report(VOW_PEVENT_LOGGED, 1));
  assert_int_equal(actions.count, VOW_PBRANCH_WAITERS_MAX);
  for (uint32_t i = 0; i < actions.count; i++) assert_refused(&actions.items[i]);
  for (uint8_t n = 1; n < 10; n++) {
    send_one_phase(n, 10);
    assert_refused(only(VOW_PACTION_REPLY));
  }
  send_one_phase(12, 15); /* it has moved */
  assert_non_null(only(VOW_PACTION_SAVE));
  send(VOW_MESSAGE_ABORT, 9, 15);
  assert_refused(only(VOW_PACTION_REPLY));
}

static void a_watermark_that_was_loaded_is_on_disk(void **state) {
  (void)state;
  on_disk = id_of(10);
  crash();
  send_one_phase(9, 10);
  assert_refused(only(VOW_PACTION_REPLY));
}

/* What moved on after the write began waits for the next. */
static void what_the_write_under_way_does_not_cover_comes_again(void **state) {
  (void)state;
  send(VOW_MESSAGE_PREPARE, 20, 10);
  send_one_phase(5, 10);
  send_one_phase(12, 15);
  assert_comes_again();
  must_step(report(VOW_PEVENT_LOGGED, 1));
  assert_refused(only(VOW_PACTION_REPLY));
  send_one_phase(12, 15);
  (void)save_it(15);
  assert_refused(only(VOW_PACTION_REPLY));
}

static void where_nothing_is_concluded_nothing_is_written(void **state) {
  static const enum vow_message_type types[] = {VOW_MESSAGE_PREPARE, VOW_MESSAGE_COMMIT,
                                                VOW_MESSAGE_FORGET};
  (void)state;
  send(VOW_MESSAGE_PREPARE, 20, 10);
  for (size_t i = 0; i < 3; i++) {
    send(types[i], 5, 10);
    assert_non_null(only(VOW_PACTION_REPLY));
  }
}

static void a_write_that_failed_is_tried_again_with_the_next_message(void **state) {
  (void)state;
  send(VOW_MESSAGE_PREPARE, 20, 10);
  send_one_phase(5, 10);
  must_step(report(VOW_PEVENT_NOT_LOGGED, 1));
  assert_comes_again();
  assert_string_equal(actions.items[0].u.reply.detail, "the disk is full");
  assert_int_equal(actions.items[0].u.reply.seen.position, 10);
  send_one_phase(5, 10);
  (void)save_it(10);
  assert_refused(only(VOW_PACTION_REPLY));
}

static struct vow_pevent of_branch(struct vow_pevent event, uint8_t n) {
  event.transaction = id_of(n);
  event.branch = 1;
  return event;
}

/* Leaves a tombstone, and lets the record of the next branch purge it. Returns its position. */
static uint64_t purge_one(void) {
  send(VOW_MESSAGE_ABORT, 1, 0);
  must_step(of_branch((struct vow_pevent){.type = VOW_PEVENT_FINISHED}, 1));
  must_step(of_branch(report(VOW_PEVENT_LOGGED, 1), 1));
  send(VOW_MESSAGE_PREPARE, 20, 10);
  struct vow_pevent voted = {.type = VOW_PEVENT_VOTED};
  voted.u.voted.vote = VOW_VOTE_COMMIT;
  must_step(of_branch(voted, 20));
  assert_non_null(find_action(VOW_PACTION_PURGE));
  return find_action(VOW_PACTION_LOG)->u.log.position;
}

/* It goes with a purge, and then costs no write of its own. */
static void a_purge_brings_the_watermark_along(void **state) {
  struct vow_pevent event;
  (void)state;
  uint64_t position = purge_one();
  send(VOW_MESSAGE_ABORT, 1, 10); /* neither tombstone nor watermark may be there after a crash */
  assert_int_equal(actions.count, 0);
  event = of_branch(report(VOW_PEVENT_LOGGED, position), 7); /* not its branch */
  assert_int_equal(vow_pcore_step(core, &event, &actions), VOW_E_ILLEGAL_STATE);
  send_to(THERE, VOW_MESSAGE_PREPARE, false, 30, 0);
  event = of_branch(report(VOW_PEVENT_LOGGED, position), 30);
  assert_int_equal(vow_pcore_step(core, &event, &actions), VOW_E_ILLEGAL_STATE);
  assert_int_equal(actions.count, 0);
  must_step(of_branch(report(VOW_PEVENT_LOGGED, position), 20));
  assert_int_equal(actions.count, 2); /* the vote, and this */
  assert_refused(&actions.items[1]);
  assert_int_equal(actions.items[1].u.reply.after, position);
  send_one_phase(9, 10);
  assert_refused(only(VOW_PACTION_REPLY));
}

static void a_purge_that_failed_brings_nothing(void **state) {
  (void)state;
  uint64_t position = purge_one();
  must_step(of_branch(report(VOW_PEVENT_NOT_LOGGED, position), 20));
  send(VOW_MESSAGE_ABORT, 1, 10);
  (void)save_it(10);
  assert_refused(only(VOW_PACTION_REPLY));
}

/* Two writes at once: of the second nothing is believed, as it may be that only the first is there.
 */
static void a_purge_beside_a_write_changes_nothing(void **state) {
  (void)state;
  send(VOW_MESSAGE_PREPARE, 25, 1);
  send_to(HERE, VOW_MESSAGE_ABORT, false, 0, 1);
  uint64_t position = only(VOW_PACTION_SAVE)->u.save.position;
  send(VOW_MESSAGE_ABORT, 2, 1);
  must_step(of_branch((struct vow_pevent){.type = VOW_PEVENT_FINISHED}, 2));
  must_step(of_branch(report(VOW_PEVENT_LOGGED, position + 1), 2));
  send(VOW_MESSAGE_PREPARE, 20, 10);
  struct vow_pevent voted = {.type = VOW_PEVENT_VOTED};
  voted.u.voted.vote = VOW_VOTE_COMMIT;
  must_step(of_branch(voted, 20));
  assert_non_null(find_action(VOW_PACTION_PURGE));
  must_step(report(VOW_PEVENT_LOGGED, position));
  assert_refused(only(VOW_PACTION_REPLY));
  send_one_phase(5, 10);
  (void)save_it(10);
  assert_refused(only(VOW_PACTION_REPLY));
}

static void a_report_of_no_write_is_refused(void **state) {
  (void)state;
  send(VOW_MESSAGE_PREPARE, 20, 10);
  for (uint64_t position = 0; position < 3; position++) {
    struct vow_pevent event = report(VOW_PEVENT_LOGGED, position);
    assert_int_equal(vow_pcore_step(core, &event, &actions), VOW_E_ILLEGAL_STATE);
  }
}

#define test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      test(a_late_prepare_commits_nothing_that_was_answered_as_ended),
      test(the_answer_waits_for_the_disk),
      test(a_flood_of_late_messages_writes_once),
      test(a_watermark_that_was_loaded_is_on_disk),
      test(what_the_write_under_way_does_not_cover_comes_again),
      test(where_nothing_is_concluded_nothing_is_written),
      test(a_write_that_failed_is_tried_again_with_the_next_message),
      test(a_purge_brings_the_watermark_along),
      test(a_purge_that_failed_brings_nothing),
      test(a_purge_beside_a_write_changes_nothing),
      test(a_report_of_no_write_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
