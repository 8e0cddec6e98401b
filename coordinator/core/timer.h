/*
 * Timers in an intrusive pairing heap: setting one allocates nothing, so it cannot fail; the first
 * is at hand. Private to the core.
 */
#ifndef VOW_CORE_TIMER_H
#define VOW_CORE_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#define CORE_NEVER UINT64_MAX

struct core_timer {
  uint64_t due_ms;
  struct core_timer *child;    /* the first of those that are due later */
  struct core_timer *next;     /* the next child of the same parent */
  struct core_timer *previous; /* the child before it, or the parent of the first child */
  uint8_t owner;               /* what it is a member of: enum core_timer_owner */
  bool armed;
};

struct core_timers {
  struct core_timer *first; /* the one that is due first, or NULL */
};

/* Arms it for due_ms, whether it was armed or not; CORE_NEVER disarms it. */
void core_timer_set(struct core_timers *timers, struct core_timer *timer, uint64_t due_ms);
void core_timer_clear(struct core_timers *timers, struct core_timer *timer);

#endif
