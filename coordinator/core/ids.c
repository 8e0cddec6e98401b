/*
 * Ids and how far they may go (C6). An id is issued only below a ceiling that is durable, so a
 * restarted core, which begins at the ceiling, never repeats one, whatever the clock does
 * meanwhile. Ids take their time from the clock when it is ahead of the newest id, and count on
 * when it is not.
 */
#include "core_internal.h"

#define COUNTER_MAX 0xFFF

/* The time and counter of the id after the newest. */
static void next_id(const struct vow_core *core, uint64_t *ms, uint16_t *counter) {
  *ms = core->id_ms;
  *counter = (uint16_t)(core->id_counter + 1);
  if (core->id_counter == COUNTER_MAX) {
    *ms = core->id_ms + 1;
    *counter = 0;
  }
}

/* Asks for a ceiling ahead of `ms`. One that somebody waits for is forced, even if the same one is
 * already riding along unforced. */
static void want_ceiling(struct vow_core *core, uint64_t ms, bool forced) {
  if (ms + core->config.id_reserve_ms > core->next_ceiling_ms) {
    core->next_ceiling_ms = ms + core->config.id_reserve_ms;
  }
  core->ceiling_forced |= forced;
  core->ceiling_wanted = true;
}

void core_ids_load(struct vow_core *core, struct vow_id floor) {
  core->id_ms = vow_id_unix_ms(floor);
  core->id_counter = vow_id_counter(floor);
  core->ceiling = floor;
  want_ceiling(core, core->wall_ms > core->id_ms ? core->wall_ms : core->id_ms, true);
}

bool core_ids_issue(struct vow_core *core, struct vow_id *out) {
  uint64_t ms;
  uint16_t counter;

  next_id(core, &ms, &counter);
  if (core->wall_ms > ms) {
    ms = core->wall_ms;
    counter = 0;
  }
  if (ms >= vow_id_unix_ms(core->ceiling)) {
    /* One on its way may be too low by now: the next is asked for when it is there. */
    if (!core->ceiling_forced) want_ceiling(core, ms, true);
    return false;
  }
  if (core->next_ceiling_ms - ms < core->config.id_reserve_ms / 2) want_ceiling(core, ms, false);
  core->id_ms = ms;
  core->id_counter = counter;
  *out = vow_id_make(ms, counter, core_random(core));
  return true;
}

void core_ids_durable(struct vow_core *core) {
  if (core->ceiling_position == 0 || core->durable < core->ceiling_position) return;
  core->ceiling = vow_id_floor(core->next_ceiling_ms, 0);
  core->ceiling_after = core->ceiling_position;
  core->ceiling_position = 0;
  core->ceiling_forced = false;
}

/* Nothing is over for good before everything that is open is loaded, or while some of it may be
 * missing. */
struct vow_id vow_core_finished_below(const struct vow_core *core) {
  const struct vow_id nil = {{0}};
  const struct core_tree_node *first = core_tree_at(&core->by_id, 0);
  uint64_t ms;
  uint16_t counter;

  if (core->loading || core->quarantined) return nil;
  if (first != NULL) {
    const struct core_txn *txn = core_container(first, struct core_txn, by_id);
    return txn->image.id;
  }
  next_id(core, &ms, &counter);
  return vow_id_floor(ms, counter);
}
