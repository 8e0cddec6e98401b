/*
 * A log that lends: what is forced, alone and short is left to the owner's thread, all else is the
 * log thread's, and whoever has it, nothing stays behind.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

#include "log_fixture.h"

static struct fixture *in_wake;
static pthread_t owner;
static bool written_here;       /* `wake` was called on the owner's thread */
static void (*meanwhile)(void); /* what the owner does there, once; NULL: nothing */

static void wake(void *context) {
  (void)context;
  if (!pthread_equal(pthread_self(), owner)) return;
  void (*now)(void) = meanwhile;
  written_here = true;
  meanwhile = NULL;
  if (now != NULL) now();
}

static void open_lending(struct fixture *f) {
  f->config.lend_max_us = 1000000; /* however slow this machine is */
  f->config.wake = wake;
  meanwhile = NULL;
  owner = pthread_self();
  in_wake = f;
  fixture_open(f);
}

static uint64_t append_some(struct fixture *f, uint32_t from, uint32_t count, bool forced) {
  for (uint32_t n = from; n < from + count; n++) append_more(f, n, VOW_TXN_COMMITTING, 0, forced);
  return f->position;
}

/* The log thread is on its way to sleep: until it is there nothing is left to the owner. What has
 * been tried meanwhile is written by it. */
static uint64_t append_left_to_owner(struct fixture *f) {
  uint64_t deadline = fixture_now_ms() + DEADLINE_MS;
  while (fixture_now_ms() < deadline) {
    append_some(f, 1, 1, true);
    if (vow_log_flush(f->log, 0)) return f->position;
    wait_durable(f, f->position);
  }
  fail_msg("nothing is left to the owner");
  return 0;
}

/* Until it is the owner that writes, and does `then` while the connection is lent: the log thread
 * may have woken up by itself in between, and been faster. */
static void write_as_owner(struct fixture *f, void (*then)(void)) {
  uint64_t deadline = fixture_now_ms() + DEADLINE_MS;
  for (written_here = false; !written_here;) {
    assert_true(fixture_now_ms() < deadline);
    append_left_to_owner(f);
    meanwhile = then;
    vow_log_write(f->log);
    meanwhile = NULL;
    if (!written_here) wait_durable(f, f->position);
  }
}

static void what_is_alone_is_written_by_its_owner_before_it_returns(void **state) {
  struct fixture *f = *state;
  open_lending(f);
  for (uint32_t i = 0; i < 30; i++) {
    write_as_owner(f, NULL);
    vow_log_poll(f->log, &f->progress);
    assert_int_equal(f->progress.durable, f->position);
  }
  assert_int_equal(find_state(f, 1), VOW_TXN_COMMITTING);
}

static void a_log_that_does_not_lend_writes_itself(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  for (uint32_t i = 0; i < 30; i++) {
    append_some(f, 1, 1, true);
    assert_false(vow_log_flush(f->log, 0));
    wait_durable(f, f->position);
  }
}

static void what_expects_company_is_not_left_to_the_owner(void **state) {
  struct fixture *f = *state;
  open_lending(f);
  write_as_owner(f, NULL);
  append_some(f, 1, 1, true);
  assert_false(vow_log_flush(f->log, 100));
  wait_durable(f, f->position);
}

static void many_records_are_not_left_to_the_owner(void **state) {
  struct fixture *f = *state;
  f->config.ahead_min = 1000;
  open_lending(f);
  write_as_owner(f, NULL);
  append_some(f, 1, 33, true);
  assert_false(vow_log_flush(f->log, 0));
  wait_durable(f, f->position);
}

static void what_is_not_forced_is_not_left_to_the_owner(void **state) {
  struct fixture *f = *state;
  f->config.lazy_flush_ms = 1;
  open_lending(f);
  append_some(f, 1, 1, false);
  assert_false(vow_log_flush(f->log, 0));
  wait_durable(f, f->position);
}

static void more_after_it_goes_to_the_thread_with_it(void **state) {
  struct fixture *f = *state;
  f->config.ahead_min = 1000;
  open_lending(f);
  append_left_to_owner(f);
  append_some(f, 2, 40, true);
  assert_false(vow_log_flush(f->log, 0));
  wait_durable(f, f->position);
  vow_log_write(f->log); /* finds nothing to do */
  vow_log_poll(f->log, &f->progress);
  assert_int_equal(f->progress.durable, f->position);
}

/* While the deputy has the loop, the first thread may begin to write in the middle of a step. */
static void a_step_that_is_not_over_is_not_written(void **state) {
  struct fixture *f = *state;
  f->config.ahead_min = 1000;
  open_lending(f);
  append_left_to_owner(f);
  append_some(f, 2, 1, true);
  vow_log_write(f->log);
  vow_log_poll(f->log, &f->progress);
  assert_true(f->progress.durable < f->position);
  append_some(f, 3, 1, true);
  (void)vow_log_flush(f->log, 0);
  vow_log_write(f->log);
  wait_durable(f, f->position);
}

static void an_owner_that_never_writes_loses_nothing(void **state) {
  struct fixture *f = *state;
  open_lending(f);
  append_left_to_owner(f);
  fixture_close(f);
  fixture_open(f);
  assert_int_equal(find_state(f, 1), VOW_TXN_COMMITTING);
}

/* ---- while it is lent ---- */

static void append_forced(void) {
  append_some(in_wake, 7, 1, true);
  assert_false(vow_log_flush(in_wake->log, 0));
}

static void what_comes_while_it_is_lent_is_the_threads(void **state) {
  struct fixture *f = *state;
  open_lending(f);
  for (uint32_t i = 0; i < 30; i++) {
    write_as_owner(f, append_forced);
    wait_durable(f, f->position);
  }
  assert_int_equal(find_state(f, 7), VOW_TXN_COMMITTING);
}

static sem_t writing;

/* The deputy's thread has the loop then, and is the log's owner. */
static void *append_from_another_thread(void *context) {
  struct fixture *f = context;
  sem_wait(&writing);
  for (uint32_t i = 0; i < 20; i++) {
    append_some(f, 7 + i, 1, true);
    (void)vow_log_flush(f->log, 0);
  }
  return NULL;
}

static void another_thread_may_append_meanwhile(void **state) {
  struct fixture *f = *state;
  open_lending(f);
  sem_init(&writing, 0, 0);
  for (uint32_t i = 0; i < 30; i++) {
    pthread_t thread;
    append_left_to_owner(f);
    assert_int_equal(pthread_create(&thread, NULL, append_from_another_thread, f), 0);
    sem_post(&writing);
    vow_log_write(f->log);
    assert_int_equal(pthread_join(thread, NULL), 0);
    vow_log_write(f->log);
    wait_durable(f, f->position);
  }
  sem_destroy(&writing);
}

static void on_row(void *context, const struct vow_log_result *result) {
  enum vow_txn_state *found = context;
  assert_int_equal(result->error, VOW_OK);
  *found = result->count == 1 ? result->rows[0].state : 0;
}

static enum vow_txn_state found;

static bool is_found(struct fixture *f) {
  (void)f;
  return found != 0;
}

static void ask_for_one(void) {
  struct vow_log_query query = {
      .type = VOW_LOG_QUERY_FIND, .id = nth_id(1), .done = on_row, .context = &found};
  assert_int_equal(vow_log_query(in_wake->log, &query), VOW_OK);
}

static void a_query_waits_until_it_is_given_back(void **state) {
  struct fixture *f = *state;
  open_lending(f);
  for (uint32_t i = 0; i < 30; i++) {
    found = 0;
    write_as_owner(f, ask_for_one);
    wait_until(f, is_found);
    assert_int_equal(found, VOW_TXN_COMMITTING);
  }
}

static void shrink_the_wal(void) {
  struct vow_log_config config = in_wake->config;
  config.wal_bytes_max = 1;
  vow_log_reconfigure(in_wake->log, &config);
}

static void limits_that_change_meanwhile_apply_once_it_is_given_back(void **state) {
  struct fixture *f = *state;
  open_lending(f);
  uint64_t before = counts(f).checkpoints;
  write_as_owner(f, shrink_the_wal);
  append_some(f, 1, 1, true);
  assert_false(vow_log_flush(f->log, 0)); /* the WAL is too large, and that takes long */
  wait_durable(f, f->position);
  write_as_owner(f, NULL); /* it is not any more; tells what was counted, too */
  assert_true(counts(f).checkpoints > before);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_new, fixture_drop)
  const struct CMUnitTest tests[] = {
      TEST(what_is_alone_is_written_by_its_owner_before_it_returns),
      TEST(a_log_that_does_not_lend_writes_itself),
      TEST(what_expects_company_is_not_left_to_the_owner),
      TEST(many_records_are_not_left_to_the_owner),
      TEST(what_is_not_forced_is_not_left_to_the_owner),
      TEST(more_after_it_goes_to_the_thread_with_it),
      TEST(a_step_that_is_not_over_is_not_written),
      TEST(an_owner_that_never_writes_loses_nothing),
      TEST(what_comes_while_it_is_lent_is_the_threads),
      TEST(another_thread_may_append_meanwhile),
      TEST(a_query_waits_until_it_is_given_back),
      TEST(limits_that_change_meanwhile_apply_once_it_is_given_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
