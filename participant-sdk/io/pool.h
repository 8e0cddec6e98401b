/*
 * The threads that run the application's callbacks. What ends a branch goes before what begins one:
 * a pile of prepares must not keep locks from being released.
 *
 * Each task is given once and done once, except those that are dropped by stop. Any thread may
 * give.
 */
#ifndef VOW_SDK_POOL_H
#define VOW_SDK_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "vow/error.h"

struct vow_pool;

struct vow_pool_task {
  void (*run)(struct vow_pool_task *task); /* frees the task */
  void (*drop)(struct vow_pool_task *task);
  bool urgent; /* it ends a branch */
  struct vow_pool_task *next;
};

enum vow_error vow_pool_start(struct vow_pool **out, uint32_t threads) VOW_MUST_CHECK;
/* Takes a list of tasks, by their `next`. */
void vow_pool_give(struct vow_pool *pool, struct vow_pool_task *tasks);
/* Waits for the tasks that run; drops the others, and whatever is given later. */
void vow_pool_stop(struct vow_pool *pool); /* NULL is fine */
void vow_pool_free(struct vow_pool *pool); /* after stop; NULL is fine */

#endif
