/* See deputy.h. */
#include "io/deputy.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <uv.h>

/*
 *   HOME ──cover begins──> AWAY ──the timer goes off──> COVERED
 *    ^                      │                              │
 *    └───cover ends in time─┴──the loop is given back──────┘
 */
enum whereabouts { HOME, AWAY, COVERED };

struct vow_deputy {
  uv_loop_t *loop;
  uv_async_t back; /* ends the deputy's turns */
  pthread_t thread;
  int timer_fd; /* goes off when somebody is away for too long, or at the end */

  pthread_mutex_t mutex;
  pthread_cond_t given_back;
  enum whereabouts whereabouts;
  bool wanted; /* the deputy is to give the loop back */
  bool ending;
};

static void set_timer(const struct vow_deputy *deputy, long after_ns) {
  struct itimerspec at = {.it_value.tv_nsec = after_ns};
  (void)timerfd_settime(deputy->timer_fd, 0, &at, NULL);
}

/* ---- the deputy's thread ---- */

static void on_back(uv_async_t *back) {
  uv_stop(back->loop);
}

/* False: it has ended. */
static bool wait_for_timer(struct vow_deputy *deputy) {
  uint64_t times;
  while (read(deputy->timer_fd, &times, sizeof times) < 0 && errno == EINTR) {
  }
  pthread_mutex_lock(&deputy->mutex);
  bool ending = deputy->ending;
  pthread_mutex_unlock(&deputy->mutex);
  return !ending;
}

/* The loop may have been stopped for something else: then it goes on. */
static bool give_back(struct vow_deputy *deputy, bool alive) {
  pthread_mutex_lock(&deputy->mutex);
  bool back = deputy->wanted || !alive;
  if (back) {
    deputy->whereabouts = HOME;
    deputy->wanted = false;
    pthread_cond_signal(&deputy->given_back);
  }
  pthread_mutex_unlock(&deputy->mutex);
  return back;
}

static void *deputise(void *context) {
  struct vow_deputy *deputy = context;
  while (wait_for_timer(deputy)) {
    pthread_mutex_lock(&deputy->mutex);
    bool away = deputy->whereabouts == AWAY; /* else: back just in time */
    if (away) deputy->whereabouts = COVERED;
    pthread_mutex_unlock(&deputy->mutex);
    while (away) {
      bool alive = uv_run(deputy->loop, UV_RUN_DEFAULT) != 0;
      away = !give_back(deputy, alive);
    }
  }
  return NULL;
}

/* ---- the loop's thread ---- */

bool vow_deputy_cover(struct vow_deputy *deputy, void (*work)(void *context), void *context) {
  pthread_mutex_lock(&deputy->mutex);
  deputy->whereabouts = AWAY;
  pthread_mutex_unlock(&deputy->mutex);
  set_timer(deputy, VOW_DEPUTY_AFTER_US * 1000L);
  work(context);
  set_timer(deputy, 0);
  pthread_mutex_lock(&deputy->mutex);
  bool covered = deputy->whereabouts != AWAY;
  if (deputy->whereabouts == COVERED) {
    deputy->wanted = true;
    uv_async_send(&deputy->back);
  }
  while (deputy->whereabouts == COVERED) {
    pthread_cond_wait(&deputy->given_back, &deputy->mutex);
  }
  deputy->whereabouts = HOME;
  pthread_mutex_unlock(&deputy->mutex);
  return covered;
}

bool vow_deputy_covers(struct vow_deputy *deputy) {
  pthread_mutex_lock(&deputy->mutex);
  bool covers = deputy->whereabouts == COVERED;
  pthread_mutex_unlock(&deputy->mutex);
  return covers;
}

static void deputy_free(struct vow_deputy *deputy) {
  if (deputy->timer_fd >= 0) close(deputy->timer_fd);
  pthread_cond_destroy(&deputy->given_back);
  pthread_mutex_destroy(&deputy->mutex);
  free(deputy);
}

static void on_closed(uv_handle_t *back) {
  deputy_free(back->data);
}

static bool start_thread(struct vow_deputy *deputy) {
  sigset_t all, before;
  sigfillset(&all); /* signals are the loop's */
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = pthread_create(&deputy->thread, NULL, deputise, deputy) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return started;
}

enum vow_error vow_deputy_open(struct vow_deputy **out, struct uv_loop_s *loop) {
  struct vow_deputy *deputy = calloc(1, sizeof *deputy);
  if (deputy == NULL) return VOW_E_NO_MEMORY;
  deputy->loop = loop;
  pthread_mutex_init(&deputy->mutex, NULL);
  pthread_cond_init(&deputy->given_back, NULL);
  deputy->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  if (deputy->timer_fd < 0 || uv_async_init(loop, &deputy->back, on_back) != 0) {
    deputy_free(deputy);
    return VOW_E_NO_MEMORY;
  }
  deputy->back.data = deputy;
  uv_unref((uv_handle_t *)&deputy->back);
  if (!start_thread(deputy)) {
    uv_close((uv_handle_t *)&deputy->back, on_closed);
    return VOW_E_NO_MEMORY;
  }
  *out = deputy;
  return VOW_OK;
}

void vow_deputy_close(struct vow_deputy *deputy) {
  if (deputy == NULL) return;
  pthread_mutex_lock(&deputy->mutex);
  deputy->ending = true;
  pthread_mutex_unlock(&deputy->mutex);
  set_timer(deputy, 1);
  pthread_join(deputy->thread, NULL);
  uv_close((uv_handle_t *)&deputy->back, on_closed);
}
