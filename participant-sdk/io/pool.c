/*
 * See pool.h. Threads wake one another: whoever gives tasks wakes one thread, and a thread that has
 * come up and leaves tasks behind wakes the next. So slow callbacks have all threads within
 * moments, and quick ones are done by a thread or two, without a wake-up for each.
 */
#include "pool.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

struct lane {
  struct vow_pool_task *first;
  struct vow_pool_task **end;
};

struct vow_pool {
  pthread_mutex_t lock;
  sem_t wake; /* not a condition: who comes back from that takes the lock as one of several, and
                 then releases it with a system call for nobody */
  struct lane urgent, normal; /* guarded by lock, as are the next three */
  bool stopping;
  bool waking;   /* a thread was woken and has not come up yet: it will look at the lanes */
  uint32_t idle; /* threads that sleep */
  uint32_t thread_count;
  pthread_t threads[];
};

static void push(struct lane *lane, struct vow_pool_task *task) {
  task->next = NULL;
  *lane->end = task;
  lane->end = &task->next;
}

static struct vow_pool_task *pop(struct lane *lane) {
  struct vow_pool_task *task = lane->first;
  if (!task) return NULL;
  lane->first = task->next;
  if (!lane->first) lane->end = &lane->first;
  return task;
}

/* Releases the lock, and wakes a thread if there is something for it to do. */
static void unlock_and_wake(struct vow_pool *pool) {
  bool wake = (pool->urgent.first || pool->normal.first) && pool->idle > 0 && !pool->waking;
  if (wake) {
    pool->waking = true;
    pool->idle--;
  }
  pthread_mutex_unlock(&pool->lock);
  if (wake) sem_post(&pool->wake);
}

/* With the lock held, as on return. */
static void sleep_until_woken(struct vow_pool *pool) {
  pool->idle++;
  pthread_mutex_unlock(&pool->lock);
  while (sem_wait(&pool->wake) != 0) continue; /* a signal */
  pthread_mutex_lock(&pool->lock);
  pool->waking = false;
}

/* NULL: the pool is stopping. */
static struct vow_pool_task *next_task(struct vow_pool *pool) {
  struct vow_pool_task *task = NULL;
  pthread_mutex_lock(&pool->lock);
  while (!pool->stopping) {
    task = pop(&pool->urgent);
    if (!task) task = pop(&pool->normal);
    if (task) break;
    sleep_until_woken(pool);
  }
  unlock_and_wake(pool);
  return task;
}

static void *run_thread(void *context) {
  struct vow_pool *pool = context;
  struct vow_pool_task *task = NULL;
  while ((task = next_task(pool)) != NULL) task->run(task);
  return NULL;
}

enum vow_error vow_pool_start(struct vow_pool **out, uint32_t threads) {
  struct vow_pool *pool = calloc(1, sizeof *pool + threads * sizeof(pthread_t));
  if (!pool) return VOW_E_NO_MEMORY;
  pthread_mutex_init(&pool->lock, NULL);
  sem_init(&pool->wake, 0, 0);
  pool->urgent.end = &pool->urgent.first;
  pool->normal.end = &pool->normal.first;
  while (pool->thread_count < threads) {
    if (pthread_create(&pool->threads[pool->thread_count], NULL, run_thread, pool) != 0) {
      vow_pool_stop(pool);
      vow_pool_free(pool);
      return VOW_E_NO_MEMORY;
    }
    pool->thread_count++;
  }
  *out = pool;
  return VOW_OK;
}

void vow_pool_give(struct vow_pool *pool, struct vow_pool_task *tasks) {
  struct vow_pool_task *next = NULL;
  pthread_mutex_lock(&pool->lock);
  bool stopping = pool->stopping;
  for (struct vow_pool_task *task = tasks; task; task = next) {
    next = task->next;
    if (!stopping) push(task->urgent ? &pool->urgent : &pool->normal, task);
  }
  unlock_and_wake(pool);
  for (; stopping && tasks; tasks = next) {
    next = tasks->next;
    tasks->drop(tasks);
  }
}

void vow_pool_stop(struct vow_pool *pool) {
  if (!pool) return;
  pthread_mutex_lock(&pool->lock);
  pool->stopping = true;
  for (; pool->idle > 0; pool->idle--) sem_post(&pool->wake);
  pthread_mutex_unlock(&pool->lock);
  for (uint32_t i = 0; i < pool->thread_count; i++) pthread_join(pool->threads[i], NULL);
  struct vow_pool_task *task = NULL;
  while ((task = pop(&pool->urgent)) || (task = pop(&pool->normal))) task->drop(task);
}

void vow_pool_free(struct vow_pool *pool) {
  if (!pool) return;
  sem_destroy(&pool->wake);
  pthread_mutex_destroy(&pool->lock);
  free(pool);
}
