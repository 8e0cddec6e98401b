/* See turns.h. */
#include "turns.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>

static uint64_t now_ms = UINT64_C(1800000000000);
static sem_t for_thread, for_owner;
static bool running; /* there is a thread of the log */
static bool on_thread;
static uint64_t due_ms; /* when it wants to go on by itself; UINT64_MAX: never */
static pthread_t thread, none;
static void *(*body)(void *);

int __real_pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*start)(void *),
                          void *argument);
int __real_pthread_join(pthread_t joined, void **result);
int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*start)(void *),
                          void *argument);
int __wrap_pthread_join(pthread_t joined, void **result);
int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);
int __wrap_pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                  const struct timespec *until);
int __real_sem_wait(sem_t *semaphore);
int __wrap_sem_wait(sem_t *semaphore);
int __wrap_sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);

uint64_t turns_now_ms(void) {
  return now_ms;
}

void turns_set_ms(uint64_t ms) {
  now_ms = ms;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *out) {
  (void)clock;
  *out = (struct timespec){.tv_sec = (time_t)(now_ms / 1000),
                           .tv_nsec = (long)(now_ms % 1000) * 1000000};
  return 0;
}

static void take_turn(sem_t *turn) {
  while (__real_sem_wait(turn) != 0) continue;
}

bool turns_run(void) {
  if (!running) return false;
  on_thread = true;
  sem_post(&for_thread);
  take_turn(&for_owner);
  on_thread = false;
  return running;
}

bool turns_run_when_due(void) {
  if (running && due_ms != UINT64_MAX && due_ms > now_ms) now_ms = due_ms;
  return turns_run();
}

static void *run_thread(void *argument) {
  take_turn(&for_thread);
  void *result = body(argument);
  running = false;
  sem_post(&for_owner);
  return result;
}

int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*start)(void *),
                          void *argument) {
  if (on_thread || running) {
    start(argument);
    *out = none;
    return 0;
  }
  body = start;
  due_ms = UINT64_MAX;
  running = true;
  sem_init(&for_thread, 0, 0);
  sem_init(&for_owner, 0, 0);
  int failed = __real_pthread_create(&thread, attributes, run_thread, argument);
  running = failed == 0;
  *out = thread;
  return failed;
}

int __wrap_pthread_join(pthread_t joined, void **result) {
  if (pthread_equal(joined, none)) return 0;
  while (turns_run()) continue;
  return __real_pthread_join(joined, result);
}

static void wait_for_turn(void) {
  sem_post(&for_owner);
  take_turn(&for_thread);
}

static void wait_until(const struct timespec *until) {
  due_ms = (uint64_t)until->tv_sec * 1000 + (uint64_t)until->tv_nsec / 1000000;
  if (due_ms > now_ms) wait_for_turn();
}

/* The coordinator's log sleeps on a condition, the participant's on a semaphore. */
int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex) {
  (void)condition;
  due_ms = UINT64_MAX;
  pthread_mutex_unlock(mutex);
  wait_for_turn();
  pthread_mutex_lock(mutex);
  return 0;
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                  const struct timespec *until) {
  (void)condition;
  pthread_mutex_unlock(mutex);
  wait_until(until);
  pthread_mutex_lock(mutex);
  return due_ms <= now_ms ? ETIMEDOUT : 0;
}

int __wrap_sem_wait(sem_t *semaphore) {
  (void)semaphore;
  due_ms = UINT64_MAX;
  wait_for_turn();
  return 0;
}

int __wrap_sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until) {
  (void)semaphore;
  (void)clock;
  wait_until(until);
  if (due_ms > now_ms) return 0;
  errno = ETIMEDOUT;
  return -1;
}
