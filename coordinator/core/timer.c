/*
 * The pairing heap of timer.h. Invariant: no child is due before its parent. Only the core calls
 * it.
 */
#include "timer.h"

#include <stddef.h>

/* Makes the one that is due later the first child of the other. */
static struct core_timer *meld(struct core_timer *a, struct core_timer *b) {
  if (a == NULL) return b;
  if (b == NULL) return a;
  if (b->due_ms < a->due_ms) {
    struct core_timer *swap = a;
    a = b;
    b = swap;
  }
  b->previous = a;
  b->next = a->child;
  if (a->child != NULL) a->child->previous = b;
  a->child = b;
  return a;
}

/* One heap of a list of siblings: melds neighbours in pairs, then the pairs from the last to the
 * first. */
static struct core_timer *meld_siblings(struct core_timer *first) {
  struct core_timer *pairs = NULL;
  struct core_timer *heap = NULL;

  while (first != NULL) {
    struct core_timer *second = first->next;
    struct core_timer *rest = second == NULL ? NULL : second->next;
    struct core_timer *pair = meld(first, second);
    pair->next = pairs;
    pairs = pair;
    first = rest;
  }
  while (pairs != NULL) {
    struct core_timer *rest = pairs->next;
    heap = meld(heap, pairs);
    pairs = rest;
  }
  if (heap != NULL) {
    heap->next = NULL;
    heap->previous = NULL;
  }
  return heap;
}

void core_timer_clear(struct core_timers *timers, struct core_timer *timer) {
  if (!timer->armed) return;
  struct core_timer *children = meld_siblings(timer->child);
  if (timer == timers->first) {
    timers->first = children;
  } else {
    if (timer->previous->child == timer) {
      timer->previous->child = timer->next;
    } else {
      timer->previous->next = timer->next;
    }
    if (timer->next != NULL) timer->next->previous = timer->previous;
    timers->first = meld(timers->first, children);
  }
  timer->child = NULL;
  timer->next = NULL;
  timer->previous = NULL;
  timer->armed = false;
}

void core_timer_set(struct core_timers *timers, struct core_timer *timer, uint64_t due_ms) {
  core_timer_clear(timers, timer);
  timer->due_ms = due_ms;
  if (due_ms == CORE_NEVER) return;
  timer->armed = true;
  timers->first = meld(timers->first, timer);
}
