/* Who writes the vote log: the thread that returns the last result, where it can, and else the
 * log's own; never two, and whoever it is, the rules of the log hold. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fault_vfs.h"
#include "io/log_internal.h"

#define COORDINATOR "http://127.0.0.1:7800"
#define LONG_US     60000000U /* nothing that waits as long as a sync comes to be due */

enum { VOTE = 1, PATIENT, LAZY };

struct world {
  char folder[64], path[96];
  struct vow_log *log;
  pthread_t tester;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  int done, led; /* jobs; of them, reported on the tester's thread; guarded by lock, as are the next
                  */
  int broken;
  int job_when_done; /* submitted inside the next report; 0: none */
  bool hold;         /* reports wait while this is set */
  int holding;
  enum vow_log_turn turn_when_done;
};

/* ---- jobs and reports ---- */

static struct vow_log_job *new_job(int kind) {
  static uint8_t last;
  struct vow_log_job *job = vow_log_job_new(VOW_LOG_RECORD);
  assert_non_null(job);
  job->record =
      (struct vow_precord){.kind = VOW_PRECORD_PREPARED, .branch = 1, .coordinator = COORDINATOR};
  job->record.transaction.bytes[15] = ++last;
  job->record.row = last;
  job->forced = kind != LAZY;
  job->patient = kind == PATIENT;
  return job;
}

/* As a worker does that returns the result of one of `callbacks` under way. */
static enum vow_log_turn give(struct world *w, int kind, int callbacks) {
  return vow_log_submit(w->log, new_job(kind), callbacks, true);
}

static void wake_if_needed(struct world *w, enum vow_log_turn turn) {
  assert_int_not_equal(turn, VOW_LOG_LEADS);
  if (turn == VOW_LOG_WAKES) vow_log_wake(w->log);
}

static void on_done(void *context, const struct vow_log_job *jobs, const char *why) {
  struct world *w = context;
  (void)why;
  pthread_mutex_lock(&w->lock);
  w->holding++;
  pthread_cond_broadcast(&w->changed);
  while (w->hold) pthread_cond_wait(&w->changed, &w->lock);
  w->holding--;
  for (; jobs; jobs = jobs->next) {
    w->done += jobs->written;
    w->led += jobs->written && pthread_equal(pthread_self(), w->tester);
  }
  int kind = w->job_when_done;
  w->job_when_done = 0;
  if (kind) w->turn_when_done = give(w, kind, 0);
  pthread_cond_broadcast(&w->changed);
  pthread_mutex_unlock(&w->lock);
}

static void on_broken(void *context, enum vow_error error, const char *why) {
  struct world *w = context;
  assert_int_not_equal(error, VOW_OK);
  assert_true(strlen(why) > 0);
  w->broken += pthread_equal(pthread_self(), w->tester) ? 1 : 100;
}

/* Waits until *what is as much, at most ten seconds. */
static void await(struct world *w, const int *what, int count) {
  struct timespec until;
  (void)clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += 10;
  pthread_mutex_lock(&w->lock);
  while (*what < count) {
    if (pthread_cond_timedwait(&w->changed, &w->lock, &until) != 0) break;
  }
  assert_int_equal(*what, count);
  pthread_mutex_unlock(&w->lock);
}

/* The same, for what the log's lock guards. */
static void await_log(struct world *w, const bool *what, bool value) {
  time_t until = time(NULL) + 10;
  for (bool is = !value; is != value;) {
    pthread_mutex_lock(&w->log->lock);
    is = *what;
    pthread_mutex_unlock(&w->log->lock);
    assert_true(time(NULL) < until);
    (void)sched_yield();
  }
}

static void expect(struct world *w, int done, int led, uint64_t syncs) {
  struct vow_log_counts counts;
  await(w, &w->done, done);
  assert_int_equal(w->led, led);
  vow_log_counts(w->log, &counts);
  assert_int_equal(counts.records, done);
  assert_int_equal(counts.syncs, syncs);
}

/* What is worth a wait waits until it is told otherwise. */
static void given_a_sync_takes_long(struct world *w) {
  pthread_mutex_lock(&w->log->lock);
  w->log->sync_us = w->log->took_us = LONG_US;
  pthread_mutex_unlock(&w->log->lock);
}

/* ---- tests ---- */

static void who_returns_the_last_result_writes_them_all(void **state) {
  struct world *w = *state;
  given_a_sync_takes_long(w);
  assert_int_equal(vow_log_submit(w->log, NULL, 3, false), VOW_LOG_RESTS);
  wake_if_needed(w, give(w, VOTE, -1));
  wake_if_needed(w, give(w, VOTE, -1));
  assert_int_equal(give(w, VOTE, -1), VOW_LOG_LEADS);
  vow_log_lead(w->log);
  expect(w, 3, 3, 1);
}

/* Others may join them until it has come up. */
static void many_are_left_to_the_thread(void **state) {
  struct world *w = *state;
  given_a_sync_takes_long(w);
  assert_int_equal(vow_log_submit(w->log, NULL, 4, false), VOW_LOG_RESTS);
  for (int i = 0; i < 4; i++) wake_if_needed(w, give(w, VOTE, -1));
  expect(w, 4, 0, 1);
}

/* As a vote to abort needs none. */
static void a_last_result_without_a_record_writes_those_of_others(void **state) {
  struct world *w = *state;
  given_a_sync_takes_long(w);
  assert_int_equal(vow_log_submit(w->log, NULL, 2, false), VOW_LOG_RESTS);
  wake_if_needed(w, give(w, VOTE, -1));
  assert_int_equal(vow_log_submit(w->log, NULL, -1, true), VOW_LOG_LEADS);
  vow_log_lead(w->log);
  expect(w, 1, 1, 1);
}

static void who_cannot_lead_has_the_thread_write(void **state) {
  struct world *w = *state;
  wake_if_needed(w, vow_log_submit(w->log, new_job(VOTE), 0, false));
  expect(w, 1, 0, 1);
}

static void callbacks_that_take_long_are_not_waited_for(void **state) {
  struct world *w = *state;
  assert_int_equal(vow_log_submit(w->log, NULL, 2, false), VOW_LOG_RESTS);
  wake_if_needed(w, give(w, VOTE, -1));
  expect(w, 1, 0, 1);
}

static void a_patient_record_shares_the_sync_of_a_vote_that_is_led(void **state) {
  struct world *w = *state;
  given_a_sync_takes_long(w);
  wake_if_needed(w, give(w, PATIENT, 0));
  assert_int_equal(give(w, VOTE, 0), VOW_LOG_LEADS);
  vow_log_lead(w->log);
  expect(w, 2, 2, 1);
}

static void a_record_that_is_not_forced_is_nobody_s_to_lead(void **state) {
  struct world *w = *state;
  wake_if_needed(w, give(w, LAZY, 0));
  assert_int_equal(give(w, VOTE, 0), VOW_LOG_LEADS);
  vow_log_lead(w->log);
  expect(w, 2, 2, 1);
}

/* What came while one led is the thread's, whether it waits for company or not. */
static void nobody_else_leads_meanwhile(void **state) {
  struct world *w = *state;
  for (int kind = VOTE; kind <= PATIENT; kind++) {
    w->job_when_done = kind;
    assert_int_equal(give(w, VOTE, 0), VOW_LOG_LEADS);
    vow_log_lead(w->log);
    assert_int_equal(w->turn_when_done, VOW_LOG_RESTS);
    expect(w, 2 * kind, kind, 2 * (uint64_t)kind);
    await_log(w, &w->log->writing, false);
  }
}

static void *lead(void *context) {
  struct world *w = context;
  vow_log_lead(w->log);
  return NULL;
}

static void *stop(void *context) {
  struct world *w = context;
  vow_log_stop(w->log);
  return NULL;
}

static void a_stop_waits_for_who_leads(void **state) {
  struct world *w = *state;
  pthread_t leader, stopper;
  w->hold = true;
  assert_int_equal(give(w, VOTE, 0), VOW_LOG_LEADS);
  assert_int_equal(pthread_create(&leader, NULL, lead, w), 0);
  await(w, &w->holding, 1);
  assert_int_equal(give(w, VOTE, 0), VOW_LOG_RESTS);
  assert_int_equal(pthread_create(&stopper, NULL, stop, w), 0);
  await_log(w, &w->log->stopping, true);
  await(w, &w->holding, 1); /* the thread has not begun to write */
  pthread_mutex_lock(&w->lock);
  w->hold = false;
  pthread_cond_broadcast(&w->changed);
  pthread_mutex_unlock(&w->lock);
  pthread_join(leader, NULL);
  pthread_join(stopper, NULL);
  expect(w, 2, 0, 2);
}

static void a_leader_s_failed_commit_breaks_the_log(void **state) {
  struct world *w = *state;
  fault_vfs_set(FAULT_WAL_SYNC);
  assert_int_equal(give(w, VOTE, 0), VOW_LOG_LEADS);
  vow_log_lead(w->log);
  fault_vfs_set(FAULT_NONE);
  assert_int_equal(w->broken, 1);
  assert_int_equal(give(w, VOTE, 0), VOW_LOG_LEADS);
  vow_log_lead(w->log);
  wake_if_needed(w, vow_log_submit(w->log, new_job(VOTE), 0, false));
  vow_log_stop(w->log);
  assert_int_equal(w->broken, 1);
  assert_int_equal(w->done, 0);
}

/* ---- fixture ---- */

static enum vow_error no_coordinator(void *context, const char *url, struct vow_id below) {
  (void)context, (void)url, (void)below;
  return VOW_OK;
}

static enum vow_error no_record(void *context, const struct vow_precord *record) {
  (void)context, (void)record;
  return VOW_OK;
}

static int setup(void **state) {
  static struct world world;
  struct vow_log_loader loader = {.coordinator = no_coordinator, .record = no_record};
  char why[256] = "";
  fault_vfs_set(FAULT_NONE);
  world = (struct world){.folder = "/tmp/vow-lead-XXXXXX", .tester = pthread_self()};
  assert_non_null(mkdtemp(world.folder));
  (void)snprintf(world.path, sizeof world.path, "%s/votes", world.folder);
  pthread_mutex_init(&world.lock, NULL);
  pthread_cond_init(&world.changed, NULL);
  assert_int_equal(vow_log_open(&world.log, world.path, NULL, &loader, why, sizeof why), VOW_OK);
  struct vow_log_hooks hooks = {.context = &world, .done = on_done, .broken = on_broken};
  assert_int_equal(vow_log_start(world.log, &hooks), VOW_OK);
  *state = &world;
  return 0;
}

static int teardown(void **state) {
  struct world *w = *state;
  char wal[128];
  vow_log_stop(w->log);
  vow_log_close(w->log);
  pthread_cond_destroy(&w->changed);
  pthread_mutex_destroy(&w->lock);
  (void)snprintf(wal, sizeof wal, "%s-wal", w->path);
  (void)unlink(wal);
  (void)unlink(w->path);
  return rmdir(w->folder);
}

#define test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      test(who_returns_the_last_result_writes_them_all),
      test(many_are_left_to_the_thread),
      test(a_last_result_without_a_record_writes_those_of_others),
      test(who_cannot_lead_has_the_thread_write),
      test(callbacks_that_take_long_are_not_waited_for),
      test(a_patient_record_shares_the_sync_of_a_vote_that_is_led),
      test(a_record_that_is_not_forced_is_nobody_s_to_lead),
      test(nobody_else_leads_meanwhile),
      test(a_stop_waits_for_who_leads),
      test(a_leader_s_failed_commit_breaks_the_log),
  };
  fault_vfs_install();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
