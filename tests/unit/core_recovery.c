/*
 * Crashes: at every step of a commit, with every subset of the unsynced records kept, a restarted
 * core ends what it finds, tells nobody anything else than before, and floods nobody.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core_world.h"

static int setup(void **state) {
  *state = world_new();
  return 0;
}

static int teardown(void **state) {
  world_free(*state);
  return 0;
}

static void restart(struct world *w, uint64_t kept) {
  world_forget_trace(w);
  crash(w, kept);
}

/* ---- what each kind of record becomes ---- */

/* Without a record there is nothing to remember: presumed abort. */
static void what_was_not_recorded_is_over(void **state) {
  struct world *w = *state;

  begin(w, "a b");
  begin(w, "a b");
  commit_no_wait(w, T2);
  yes(w, "a");
  restart(w, 0);
  expect(w, "log! ceiling");
  expect_picture(w, T1, "gone");
  expect_picture(w, T2, "gone");
  assert_int_equal(vow_id_compare(vow_core_finished_below(w->core), world_id(w, T2)) > 0, 1);
}

/* A record of a transaction that was preparing lets its participants be told. */
static void preparing_becomes_aborting(void **state) {
  struct world *w = *state;
  struct vow_core_counts counts;

  begin(w, "a+ b+ c+");
  commit_no_wait(w, T1);
  yes(w, "a");
  read_only(w, "b");
  wait_ms(w, 1000);
  restart(w, 1);
  expect(w, "log! ceiling", "send abort t1/a", "send abort t1/c");
  expect_picture(w, T1, "aborting [a aborting, b read-only, c aborting]");
  assert_string_equal(world_find(w, T1)->reason, "the coordinator restarted before a decision");
  vow_core_counts(w->core, &counts);
  assert_int_equal(counts.recovering, 1);
  assert_int_equal(counts.recovered, 0);
  acknowledge(w, "a", VOW_OUTCOME_ABORTED);
  unknown(w, "c");
  expect(w, "log t1 aborted ended");
  sync(w);
  begin(w, "a"); /* which is none of those */
  abort_txn(w, T2);
  acknowledge(w, "a", VOW_OUTCOME_ABORTED);
  expect_picture(w, T2, "aborted [a aborted]");
  vow_core_counts(w->core, &counts);
  assert_int_equal(counts.recovering, 0);
  assert_int_equal(counts.recovered, 1);
}

/* What has ended is presumed no more, and so its record says: the next start reads it again. */
static void an_end_is_no_presumption(void **state) {
  struct world *w = *state;
  struct vow_core_counts counts;

  begin_one_shot(w, "a+ b+");
  wait_ms(w, 1000);
  restart(w, 1);
  sync(w);
  acknowledge(w, "a", VOW_OUTCOME_COMMITTED);
  acknowledge(w, "b", VOW_OUTCOME_ABORTED);
  sync(w);
  restart(w, 0);
  expect_picture(w, T1, "aborted heuristic-mixed [a heuristic-commit, b aborted]");
  vow_core_counts(w->core, &counts);
  assert_int_equal(counts.recovering, 0); /* it only waits to be forgotten */
  assert_int_equal(counts.open_heuristic, 1);
}

/* A record without branches has nobody to be told. */
static void an_empty_record_ends(void **state) {
  struct world *w = *state;
  struct vow_event event = {.type = VOW_EVENT_LOAD_BEGIN};

  begin(w, "");
  struct vow_txn image = world_copy_image(world_find(w, T1));
  w->log[w->log_count++] =
      (struct world_record){.kind = VOW_RECORD_TXN, .image = world_copy_image(&image)};
  vow_core_free(w->core);
  assert_int_equal(vow_core_new(&w->core, &w->config), VOW_OK);
  event.u.load_begin.position = w->position;
  event.u.load_begin.id_floor = w->ceiling;
  world_must(w, &event);
  world_forget_trace(w);
  event = (struct vow_event){.type = VOW_EVENT_LOAD, .u.load = &image};
  world_must(w, &event);
  expect(w, "log t1 aborted ended");
}

/* What is yet to be read counts: a core that is restarted again and again while clients begin does
 * not gather more than it may hold. */
static void records_to_come_count_towards_the_limit(void **state) {
  struct world *w = *state;
  struct vow_event event = {.type = VOW_EVENT_LOAD_BEGIN};

  begin(w, "a+");
  struct vow_txn image = world_copy_image(world_find(w, T1));
  w->config.transactions_max = 2;
  vow_core_free(w->core);
  assert_int_equal(vow_core_new(&w->core, &w->config), VOW_OK);
  event.u.load_begin.position = w->position;
  event.u.load_begin.id_floor = w->ceiling;
  event.u.load_begin.open = 1;
  world_must(w, &event);
  sync(w);
  world_forget_trace(w);
  begin(w, "b+");
  expect(w, "answer #2 ok t2 active created");
  begin(w, "c+");
  expect(w,
         "answer #3 overloaded: 2 transactions are open, and no more may be (limits_transactions)");
  event = (struct vow_event){.type = VOW_EVENT_LOAD, .u.load = &image};
  world_must(w, &event);
  world_forget_trace(w);
  begin(w, "d+");
  expect(w,
         "answer #4 overloaded: 2 transactions are open, and no more may be (limits_transactions)");
}

static void committing_goes_on(void **state) {
  struct world *w = *state;

  begin(w, "a+ b+ c+");
  commit_no_wait(w, T1);
  yes(w, "a");
  read_only(w, "b");
  yes(w, "c");
  restart(w, 1); /* durable, though nobody had been told so */
  expect(w, "log! ceiling", "send commit t1/a", "send commit t1/c");
  commit(w, T1);
  expect(w, "answer #3 ok t1 committing");
  acknowledge(w, "a", VOW_OUTCOME_COMMITTED);
  acknowledge(w, "c", VOW_OUTCOME_COMMITTED);
  expect(w, "log t1 committed ended");
}

/* A commit whose end was lost is sent once more to all. */
static void a_lost_end_is_repeated(void **state) {
  struct world *w = *state;

  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  yes(w, "a");
  yes(w, "b");
  sync(w);
  acknowledge(w, "a", VOW_OUTCOME_COMMITTED);
  acknowledge(w, "b", VOW_OUTCOME_COMMITTED);
  restart(w, 0);
  expect(w, "log! ceiling", "send commit t1/a", "send commit t1/b");
}

static void a_delegation_is_asked_about(void **state) {
  struct world *w = *state;

  begin(w, "a+");
  commit_no_wait(w, T1);
  restart(w, 1);
  expect(w, "log! ceiling", "send abort t1/a");
  commit(w, T1);
  acknowledge(w, "a", VOW_OUTCOME_COMMITTED);
  expect(w, "log t1 committed delegated ended", "answer #3 ok t1 committed");
}

/* So is one that was being asked already. */
static void asking_goes_on(void **state) {
  struct world *w = *state;

  begin(w, "a+");
  commit_no_wait(w, T1);
  sync(w);
  struct vow_txn image = world_copy_image(world_find(w, T1));
  vow_core_free(w->core);
  assert_int_equal(vow_core_new(&w->core, &w->config), VOW_OK);
  image.branches[0].state = VOW_BRANCH_ABORTING;
  struct vow_event event = {.type = VOW_EVENT_LOAD_BEGIN};
  event.u.load_begin.position = w->position;
  event.u.load_begin.id_floor = w->ceiling;
  world_must(w, &event);
  world_forget_trace(w);
  event = (struct vow_event){.type = VOW_EVENT_LOAD, .u.load = &image};
  world_must(w, &event);
  expect(w, "send abort t1/a");
  assert_null(image.branches); /* the core took it */
}

static void aborting_goes_on(void **state) {
  struct world *w = *state;

  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  yes(w, "a");
  no(w, "b", "no money");
  failed(w, "a");
  wait_ms(w, 1000);
  restart(w, 1);
  expect(w, "log! ceiling", "send abort t1/a");
  assert_string_equal(world_find(w, T1)->reason, "branch 'b' voted abort: no money");
}

/* A hazard stays one, and its commit is asked for again. */
static void a_lost_branch_stays_lost(void **state) {
  struct world *w = *state;

  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  yes(w, "a");
  yes(w, "b");
  sync(w);
  acknowledge(w, "b", VOW_OUTCOME_COMMITTED);
  unknown(w, "a");
  restart(w, 1);
  expect(w, "log! ceiling", "send commit t1/a");
  expect_picture(w, T1, "committing heuristic-hazard [a unknown, b committed]");
}

/* A heuristic outcome waits for its operator through restarts; a forget goes on after one. */
static void what_waits_for_an_operator_is_kept(void **state) {
  struct world *w = *state;
  struct vow_core_counts counts;

  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  yes(w, "a");
  yes(w, "b");
  sync(w);
  acknowledge(w, "a", VOW_OUTCOME_HEURISTIC_ABORT);
  acknowledge(w, "b", VOW_OUTCOME_COMMITTED);
  sync(w);
  restart(w, 0);
  expect(w, "log! ceiling");
  vow_core_counts(w->core, &counts);
  assert_int_equal(counts.open_heuristic, 1);
  assert_int_equal(counts.recovering, 0);
  forget(w, T1);
  expect(w, "log! t1 committed heuristic-mixed forgotten");
  restart(w, 1 << 1); /* it was written, and nobody was told */
  expect(w, "log! ceiling", "send forget t1/a");
  vow_core_counts(w->core, &counts);
  assert_int_equal(counts.open_heuristic, 0);
  unknown(w, "a");
  expect(w, "log t1 committed heuristic-mixed forgotten ended");
}

/* A key is found again, and so is its answer. */
static void a_key_holds_across_a_crash(void **state) {
  struct world *w = *state;
  struct vow_event event = {.u.begin = {.idempotency_key = "k", .commit = true}};

  begin_with(w, &event, "a+ b+");
  yes(w, "a");
  yes(w, "b");
  restart(w, 1);
  world_forget_trace(w);
  event = (struct vow_event){.u.begin = {.idempotency_key = "k", .commit = true}};
  begin_with(w, &event, "a+ b+");
  expect(w, "answer #2 ok t1 committing");
  event =
      (struct vow_event){.u.begin = {.idempotency_key = "k", .request_hash = {1}, .commit = true}};
  begin_with(w, &event, "a+");
  expect(w,
         "answer #3 idempotency-key-reused: the key was used with a request whose body is "
         "different; use a new key for a new request");
}

/* Recovery waits in the endpoints' queues. */
static void recovery_floods_nobody(void **state) {
  struct world *w = *state;
  struct vow_endpoint_view view;

  for (uint32_t i = 1; i <= 20; i++) {
    char branches[64];
    (void)snprintf(branches, sizeof(branches), "a%u@a+ b%u@b+", i, i);
    begin(w, branches);
    commit_no_wait(w, i);
    (void)snprintf(branches, sizeof(branches), "a%u", i);
    yes(w, branches);
    (void)snprintf(branches, sizeof(branches), "b%u", i);
    yes(w, branches);
  }
  restart(w, UINT64_MAX);
  expect(w, "log! ceiling", "send commit t1/a1", "send commit t1/b1", "send commit t2/a2",
         "send commit t2/b2");
  assert_true(vow_core_endpoint_at(w->core, 0, w->now_ms, &view));
  assert_int_equal(view.inflight, 2);
  assert_int_equal(view.queued, 18);
}

/* ---- while it loads ---- */

/* Nothing is declared over before all that is open has been read. */
static void nothing_is_finished_while_loading(void **state) {
  struct world *w = *state;
  struct vow_event event = {.type = VOW_EVENT_LOAD_BEGIN};
  struct vow_id nil = {{0}};

  begin(w, "a b");
  vow_core_free(w->core);
  assert_int_equal(vow_core_new(&w->core, &w->config), VOW_OK);
  assert_int_equal(vow_id_compare(vow_core_finished_below(w->core), nil), 0);
  event.u.load_begin.position = w->position;
  event.u.load_begin.id_floor = w->ceiling;
  world_must(w, &event);
  assert_int_equal(vow_id_compare(vow_core_finished_below(w->core), nil), 0);
  sync(w);
  world_forget_trace(w);
  begin_one_shot(w, "a b"); /* it may commit meanwhile */
  yes(w, "a");
  yes(w, "b");
  expect(w, "send prepare t2/a", "send prepare t2/b", "log! t2 committing");
  assert_int_equal(vow_id_compare(vow_core_finished_below(w->core), nil), 0);
  event = (struct vow_event){.type = VOW_EVENT_LOAD_END};
  world_must(w, &event);
  assert_int_equal(vow_id_compare(vow_core_finished_below(w->core), world_id(w, T2)), 0);
}

static enum vow_error load(struct world *w, struct vow_txn *image) {
  struct vow_event event = {.type = VOW_EVENT_LOAD, .u.load = image};
  return world_step(w, &event);
}

/* A record that no core can have written is refused, and left to the caller. */
static void nonsense_in_the_log_is_refused(void **state) {
  struct world *w = *state;
  struct vow_event event = {.type = VOW_EVENT_LOAD_BEGIN};

  begin(w, "a b");
  commit_no_wait(w, T1);
  wait_ms(w, 1000);
  struct vow_txn image = world_copy_image(world_find(w, T1));
  assert_int_equal(load(w, &image), VOW_E_INVALID_ARGUMENT); /* it is not loading */
  vow_core_free(w->core);
  assert_int_equal(vow_core_new(&w->core, &w->config), VOW_OK);
  assert_int_equal(load(w, &image), VOW_E_INVALID_ARGUMENT); /* it has not begun to */
  event.u.load_begin.position = w->position;
  event.u.load_begin.id_floor = w->ceiling;
  world_must(w, &event);
#define CORRUPT(change, undo)                             \
  do {                                                    \
    change;                                               \
    assert_int_equal(load(w, &image), VOW_E_LOG_CORRUPT); \
    undo;                                                 \
  } while (0)
  CORRUPT(image.state = (enum vow_txn_state)0, image.state = VOW_TXN_PREPARING);
  CORRUPT(image.state = (enum vow_txn_state)7, image.state = VOW_TXN_PREPARING);
  CORRUPT(image.state = VOW_TXN_COMMITTING, image.state = VOW_TXN_PREPARING);
  CORRUPT(image.delegated = true, image.delegated = false);
  CORRUPT(image.presumed = true, image.presumed = false);
  CORRUPT(image.forgotten = true, image.forgotten = false);
  image.heuristic = VOW_HEURISTIC_MIXED; /* only what has ended is forgotten */
  CORRUPT(image.forgotten = true, image.forgotten = false);
  image.heuristic = VOW_HEURISTIC_NONE;
  CORRUPT(image.branches[1].number = 3, image.branches[1].number = 2);
  CORRUPT(image.branches[1].state = (enum vow_branch_state)0,
          image.branches[1].state = VOW_BRANCH_PREPARING);
  CORRUPT(image.branches[1].state = (enum vow_branch_state)11,
          image.branches[1].state = VOW_BRANCH_PREPARING);
  CORRUPT(image.branches[1].state = VOW_BRANCH_ABORTING,
          image.branches[1].state = VOW_BRANCH_PREPARING);
  char *text = image.branches[0].name;
  CORRUPT(image.branches[0].name = NULL, image.branches[0].name = text);
  text = image.branches[0].url;
  CORRUPT(image.branches[0].url = NULL, image.branches[0].url = text);
  image.ended_ms = 1;
  assert_int_equal(load(w, &image), VOW_E_INVALID_ARGUMENT);
  image.ended_ms = 0;

  char key[] = "k";
  image.idempotency_key = key;
  struct vow_txn again = world_copy_image(&image);
  struct vow_txn other = world_copy_image(&image);
  image.idempotency_key = NULL;
  vow_txn_fini(&image);
  image = world_copy_image(&again);
  assert_int_equal(load(w, &image), VOW_OK);
  again.idempotency_key[0] = 'l';
  assert_int_equal(load(w, &again), VOW_E_LOG_CORRUPT); /* the same id twice */
  other.id.bytes[15]++;
  assert_int_equal(load(w, &other), VOW_E_LOG_CORRUPT); /* the same key twice */
  vow_txn_fini(&again);
  vow_txn_fini(&other);
}

/* Whoever has the only branch's commit in hand says how it ended: until then no vote of it stands.
 */
static void a_delegation_has_not_ended(void **state) {
  static const enum vow_branch_state wrong[] = {VOW_BRANCH_PREPARED, VOW_BRANCH_READ_ONLY};
  struct world *w = *state;

  begin(w, "a+");
  commit_no_wait(w, T1);
  struct vow_txn image = world_copy_image(world_find(w, T1));
  assert_true(image.delegated && vow_core_may_load(&image));
  image.branches[0].state = VOW_BRANCH_ABORTING;
  assert_true(vow_core_may_load(&image));
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    image.branches[0].state = wrong[i];
    assert_false(vow_core_may_load(&image));
  }
  image.state = VOW_TXN_ACTIVE;
  image.branches[0].state = VOW_BRANCH_ENLISTED;
  assert_false(vow_core_may_load(&image));
  image.delegated = false;
  assert_true(vow_core_may_load(&image));
  image.state = VOW_TXN_COMMITTED;
  image.branches[0].state = VOW_BRANCH_HEURISTIC;
  image.forgotten = true;
  assert_false(vow_core_may_load(&image));
  image.heuristic = VOW_HEURISTIC_ABORT;
  assert_true(vow_core_may_load(&image));
  image.state = VOW_TXN_ABORTED;
  assert_true(vow_core_may_load(&image));
  vow_txn_fini(&image);
}

/* ---- at every step, with every subset ---- */

/* A short life of three transactions: one commits, one aborts, one is delegated. Each call makes
 * one step; false at the end. */
static bool a_step(struct world *w, int step) {
  switch (step) {
    case 0:
      begin_one_shot(w, "a1@a+ b1@b+");
      return true;
    case 1:
      begin_one_shot(w, "a2@a+ b2@b");
      return true;
    case 2:
      begin_one_shot(w, "c3@c+");
      return true;
    case 3:
      yes(w, "a1");
      return true;
    case 4:
      wait_ms(w, 1000); /* records of what is preparing */
      return true;
    case 5:
      yes(w, "b1");
      return true;
    case 6:
      no(w, "a2", "no");
      return true;
    case 7:
      sync(w);
      return true;
    case 8:
      acknowledge(w, "a1", VOW_OUTCOME_COMMITTED);
      return true;
    case 9:
      answer(w, "c3", VOW_VOTE_COMMIT, VOW_OUTCOME_COMMITTED);
      return true;
    case 10:
      acknowledge(w, "b1", VOW_OUTCOME_COMMITTED);
      return true;
    case 11:
      yes(w, "b2");
      return true;
    case 12:
      acknowledge(w, "b2", VOW_OUTCOME_ABORTED);
      return true;
    default:
      return false;
  }
}

/* Everything answers as a participant with a memory would; nothing may be left. */
static void end_all(struct world *w, bool c3_committed) {
  const struct vow_id nil = {{0}};

  for (int round = 0; round < 20 && vow_core_next(w->core, nil) != NULL; round++) {
    for (uint32_t i = 0; i < w->send_count; i++) {
      struct world_send *send = &w->sends[i];
      if (send->done) continue;
      bool commit = send->type == VOW_MESSAGE_COMMIT;
      assert_true(commit || send->type == VOW_MESSAGE_ABORT);
      if (strcmp(send->branch, "c3") == 0 && c3_committed) commit = true;
      world_reply(w, send, VOW_REPLY_ANSWERED,
                  (struct vow_message_reply){.outcome = commit ? VOW_OUTCOME_COMMITTED
                                                               : VOW_OUTCOME_ABORTED},
                  false);
    }
    sync(w);
  }
  assert_null(vow_core_next(w->core, nil));
  assert_int_equal(unsynced(w), 0);
}

static void a_crash_at_any_step_is_survived(void **state) {
  (void)state;
  bool more = true;

  for (int last = 0; more; last++) {
    uint32_t subsets = 1;
    for (uint32_t kept = 0; kept < subsets; kept++) {
      struct world *w = world_new();
      for (int step = 0; step <= last && more; step++) more = a_step(w, step);
      subsets = 1U << unsynced(w);
      crash(w, kept);
      sync(w);
      end_all(w, last >= 9);
      world_free(w);
    }
  }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(what_was_not_recorded_is_over),
      TEST(preparing_becomes_aborting),
      TEST(an_end_is_no_presumption),
      TEST(an_empty_record_ends),
      TEST(records_to_come_count_towards_the_limit),
      TEST(committing_goes_on),
      TEST(a_lost_end_is_repeated),
      TEST(a_delegation_is_asked_about),
      TEST(asking_goes_on),
      TEST(aborting_goes_on),
      TEST(a_lost_branch_stays_lost),
      TEST(what_waits_for_an_operator_is_kept),
      TEST(a_key_holds_across_a_crash),
      TEST(recovery_floods_nobody),
      TEST(nothing_is_finished_while_loading),
      TEST(nonsense_in_the_log_is_refused),
      TEST(a_delegation_has_not_ended),
      TEST(a_crash_at_any_step_is_survived),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
