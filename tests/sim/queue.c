/*
 * Events by virtual time, random bits, the trace and its hash, and how a run fails. The heap holds
 * indices of events; equal times keep the order in which they were asked for.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

/* ---- chance ---- */

static uint64_t next_random(uint64_t *state) {
  uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
  z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
  return z ^ z >> 31;
}

uint64_t sim_random(struct sim *s) {
  return next_random(&s->random_state);
}

uint64_t sim_draw(struct sim *s, uint64_t below) {
  return sim_random(s) % below;
}

bool sim_chance(struct sim *s, uint32_t per_mille) {
  return sim_draw(s, 1000) < per_mille;
}

/* Each fault has a stream of its own, so that the others stay what they were when one is left out.
 */
bool sim_fault(struct sim *s, enum sim_fault fault, uint32_t per_mille) {
  if (s->healed || (s->faults >> fault & 1) == 0) return false;
  return next_random(&s->fault_random[fault]) % 1000 < per_mille * s->heat / 1000;
}

const struct sim_crash *sim_crash_due(const struct sim *s, int node, uint32_t action) {
  for (uint32_t i = 0; i < SIM_CRASHES_MAX; i++) {
    const struct sim_crash *crash = &s->set.crashes[i];
    if (crash->action == action && crash->node == node) return crash;
  }
  return NULL;
}

/* ---- events ---- */

/* Where ids come from a tiny space the clock stands. */
uint64_t sim_wall_ms(const struct sim *s) {
  bool stands = (s->faults >> SIM_FAULT_TINY & 1) != 0;
  return (uint64_t)((int64_t)(UINT64_C(1763000000000) + (stands ? 0 : s->now_ms)) +
                    s->wall_offset_ms);
}

static bool before(const struct sim *s, uint16_t a, uint16_t b) {
  const struct sim_event *x = &s->events[a], *y = &s->events[b];
  return x->at_ms < y->at_ms || (x->at_ms == y->at_ms && x->order < y->order);
}

static void push(struct sim *s, uint16_t event) {
  uint32_t at = s->heap_count++;
  while (at > 0 && before(s, event, s->heap[(at - 1) / 2])) {
    s->heap[at] = s->heap[(at - 1) / 2];
    at = (at - 1) / 2;
  }
  s->heap[at] = event;
}

static uint16_t pop(struct sim *s) {
  uint16_t first = s->heap[0], last = s->heap[--s->heap_count];
  uint32_t at = 0;
  for (;;) {
    uint32_t child = 2 * at + 1;
    if (child >= s->heap_count) break;
    if (child + 1 < s->heap_count && before(s, s->heap[child + 1], s->heap[child])) child++;
    if (!before(s, s->heap[child], last)) break;
    s->heap[at] = s->heap[child];
    at = child;
  }
  s->heap[at] = last;
  return first;
}

struct sim_event *sim_at(struct sim *s, uint64_t delay_ms, enum sim_event_kind kind, int node) {
  uint16_t index;
  if (s->free_count > 0) {
    index = s->free_events[--s->free_count];
  } else if (s->fresh_count < SIM_EVENTS_MAX) {
    index = (uint16_t)s->fresh_count++;
  } else {
    sim_fail(s, SIM_B1, "more events than a run may have");
  }
  struct sim_event *event = &s->events[index];
  *event = (struct sim_event){
      .at_ms = s->now_ms + delay_ms, .order = ++s->order, .kind = kind, .node = node};
  push(s, index);
  return event;
}

static uint32_t life_of(const struct sim *s, int node) {
  if (node < SIM_PARTICIPANT) return s->c[node - SIM_COORDINATOR].life;
  if (node < SIM_CLIENTS) return s->p[node - SIM_PARTICIPANT].life;
  return node == SIM_OPERATOR ? s->tool.life : 0;
}

/* What belongs to a paused node waits for it, in order. */
bool sim_next(struct sim *s, struct sim_event *out) {
  while (s->heap_count > 0) {
    uint16_t index = pop(s);
    struct sim_event *event = &s->events[index];
    if (event->life != 0 && event->life != life_of(s, event->node)) {
      s->free_events[s->free_count++] = index;
      continue;
    }
    if (event->at_ms > s->now_ms) s->now_ms = event->at_ms;
    if (s->paused_until_ms[event->node] > s->now_ms) {
      event->at_ms = s->paused_until_ms[event->node];
      push(s, index);
      continue;
    }
    *out = *event;
    s->free_events[s->free_count++] = index;
    sim_mix(s, s->now_ms << 16 ^ (uint64_t)event->kind << 8 ^ (uint64_t)event->node);
    sim_mix(s, event->index);
    return true;
  }
  return false;
}

/* ---- the trace ---- */

void sim_mix(struct sim *s, uint64_t bits) {
  s->hash = (s->hash ^ bits) * UINT64_C(0x9E3779B97F4A7C15);
  s->hash ^= s->hash >> 29;
}

/* Line by line, so that what was said is there when a core stops itself. */
void sim_say(struct sim *s, int node, const char *format, ...) {
  static const char *const names[SIM_NODES] = {"c0", "c1", "c2", "p0", "p1", "p2",
                                               "p3", "p4", "p5", "--", "op"};
  char line[512];
  va_list arguments;
  if (!s->telling) return;
  va_start(arguments, format);
  (void)vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  printf("%7llu.%03llu  %-2s  %s\n", (unsigned long long)(s->now_ms / 1000),
         (unsigned long long)(s->now_ms % 1000), names[node], line);
  fflush(stdout);
}

void sim_probe(struct sim *s, enum sim_probe probe) {
  s->probes[probe]++;
}

/* ---- failing ---- */

static void note(struct sim *s, enum sim_property property, const char *format, va_list arguments) {
  s->failed |= UINT32_C(1) << property;
  if (s->verdict != SIM_OK) return;
  s->property = property;
  s->verdict = property == SIM_AC5 ? SIM_LIVENESS : property == SIM_ALIVE ? SIM_CRASH : SIM_SAFETY;
  int head = snprintf(s->why, sizeof s->why, "%s: ", sim_properties[property].name);
  (void)vsnprintf(s->why + head, sizeof s->why - (size_t)head, format, arguments);
  sim_say(s, SIM_CLIENTS, "FAILED  %s", s->why);
}

void sim_fail(struct sim *s, enum sim_property property, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  note(s, property, format, arguments);
  va_end(arguments);
  longjmp(s->ended, 1);
}

void sim_check(struct sim *s, bool holds, enum sim_property property, const char *format, ...) {
  va_list arguments;
  if (holds) return;
  va_start(arguments, format);
  note(s, property, format, arguments);
  va_end(arguments);
  if (!s->collecting || !sim_property_goes_on[property]) longjmp(s->ended, 1);
}
