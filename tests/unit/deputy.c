/*
 * The loop's deputy turns the loop while its thread is away for long, never at the same time as it,
 * and gives it back.
 */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>
#include <uv.h>

#include "io/deputy.h"

#define DEADLINE_S 20

static uv_loop_t loop;
static uv_timer_t timer;
static struct vow_deputy *deputy;
static pthread_t home;
static sem_t ticked;
static int turning;   /* threads that are in a callback; guarded by nothing, as on the loop */
static int ticks;     /* likewise */
static int elsewhere; /* ticks on the deputy's thread; likewise */

static void on_tick(uv_timer_t *tick) {
  (void)tick;
  assert_int_equal(turning++, 0);
  ticks++;
  bool here = pthread_equal(pthread_self(), home);
  assert_int_equal(vow_deputy_covers(deputy), !here);
  if (!here) elsewhere++;
  sem_post(&ticked);
  turning--;
}

static void wait_for_tick(void) {
  struct timespec at;
  clock_gettime(CLOCK_REALTIME, &at);
  at.tv_sec += DEADLINE_S;
  assert_int_equal(sem_timedwait(&ticked, &at), 0);
}

static int begin(void **state) {
  (void)state;
  home = pthread_self();
  turning = ticks = elsewhere = 0;
  sem_init(&ticked, 0, 0);
  assert_int_equal(uv_loop_init(&loop), 0);
  assert_int_equal(uv_timer_init(&loop, &timer), 0);
  assert_int_equal(vow_deputy_open(&deputy, &loop), VOW_OK);
  return 0;
}

static int end(void **state) {
  (void)state;
  if (!uv_is_closing((uv_handle_t *)&timer)) uv_close((uv_handle_t *)&timer, NULL);
  vow_deputy_close(deputy);
  while (uv_run(&loop, UV_RUN_DEFAULT) != 0) {
  }
  assert_int_equal(uv_loop_close(&loop), 0);
  sem_destroy(&ticked);
  return 0;
}

static void wait_for_three(void *context) {
  (void)context;
  for (int i = 0; i < 3; i++) wait_for_tick();
}

static void the_loop_turns_while_work_takes_long(void **state) {
  (void)state;
  uv_timer_start(&timer, on_tick, 1, 1);
  assert_true(vow_deputy_cover(deputy, wait_for_three, NULL));
  assert_true(elsewhere >= 3);
  int before = elsewhere;
  for (int i = 0; i < 3; i++) uv_run(&loop, UV_RUN_ONCE);
  assert_int_equal(elsewhere, before);
}

static void work_of_all_lengths(void *context) {
  long *us = context;
  struct timespec length = {.tv_nsec = *us * 1000};
  nanosleep(&length, NULL);
}

static void only_one_thread_turns_at_a_time(void **state) {
  (void)state;
  uv_timer_start(&timer, on_tick, 0, 1);
  for (long i = 0; i < 400; i++) {
    long us = i * 37 % 2000;
    (void)vow_deputy_cover(deputy, work_of_all_lengths, &us);
    int before = ticks;
    uv_run(&loop, UV_RUN_ONCE);
    assert_true(ticks >= before);
  }
  assert_true(elsewhere > 0);
  assert_true(elsewhere < ticks);
}

static void close_timer(uv_timer_t *tick) {
  uv_close((uv_handle_t *)tick, NULL);
  sem_post(&ticked);
}

static void wait_once(void *context) {
  (void)context;
  wait_for_tick();
}

static void a_loop_that_ends_meanwhile_is_given_back(void **state) {
  (void)state;
  uv_timer_start(&timer, close_timer, 0, 0);
  (void)vow_deputy_cover(deputy, wait_once, NULL);
  while (uv_run(&loop, UV_RUN_DEFAULT) != 0) {
  }
  assert_int_equal(uv_loop_alive(&loop), 0);
}

static void stop_the_loop(uv_timer_t *tick) {
  uv_stop(tick->loop);
  sem_post(&ticked);
}

static void a_stop_that_the_deputy_took_is_told(void **state) {
  (void)state;
  uv_timer_start(&timer, stop_the_loop, 0, 0);
  assert_true(vow_deputy_cover(deputy, wait_once, NULL));
}

static void nothing(void *context) {
  (void)context;
}

static void work_that_takes_no_time_is_done_and_the_loop_stays(void **state) {
  (void)state;
  int alone = 0;
  for (int i = 0; i < 10000; i++) alone += !vow_deputy_cover(deputy, nothing, NULL);
  assert_true(alone > 0);
  uv_timer_start(&timer, on_tick, 0, 0);
  uv_run(&loop, UV_RUN_ONCE);
  assert_int_equal(ticks, 1);
  assert_int_equal(elsewhere, 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
  const struct CMUnitTest tests[] = {
      TEST(the_loop_turns_while_work_takes_long),
      TEST(only_one_thread_turns_at_a_time),
      TEST(a_loop_that_ends_meanwhile_is_given_back),
      TEST(a_stop_that_the_deputy_took_is_told),
      TEST(work_that_takes_no_time_is_done_and_the_loop_stays),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
