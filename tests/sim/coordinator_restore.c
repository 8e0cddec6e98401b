/*
 * Backups of a coordinator's log, and who notices that an older one is in its place: the tool that
 * restored it, the file beside the log, the participants, who have all seen the log further. With
 * none of them to tell nothing can be promised.
 */
#include <string.h>

#include "sim.h"

static int node_of(const struct sim_coordinator *c) {
  return SIM_COORDINATOR + (int)c->number;
}

bool sim_some_log_is_lost(const struct sim *s) {
  for (uint32_t i = 0; i < s->coordinator_count; i++) {
    if (s->c[i].lost) return true;
  }
  return false;
}

/* The list of starts is bounded: the oldest of them are taken for known. */
static void remember_start(struct sim_disk *disk) {
  if (disk->incarnation == 0) return;
  if (disk->known_count == SIM_KNOWN_MAX) {
    disk->known[0] = (struct vow_incarnation){.number = 0, .until = disk->known[1].number};
    memmove(&disk->known[1], &disk->known[2], (SIM_KNOWN_MAX - 2) * sizeof *disk->known);
    disk->known_count--;
  }
  disk->known[disk->known_count++] =
      (struct vow_incarnation){.number = disk->incarnation, .until = disk->position};
}

void sim_c_begin_incarnation(struct sim *s, struct sim_coordinator *c) {
  struct sim_disk *disk = &c->disk;
  remember_start(disk);
  bool known =
      c->witness.incarnation == 0 || vow_log_knows(disk->known, disk->known_count, c->witness);
  if (!known) {
    sim_check(s, c->lost, SIM_PEACE, "the file beside c%u's log knows more than the log",
              c->number);
    sim_say(s, node_of(c), "---- quarantine: the file beside its log knows more ----");
    disk->quarantined = true;
  }
  if (disk->quarantined) sim_probe(s, SIM_PROBE_QUARANTINE);
  c->incarnations += 1 + sim_draw(s, 1000);
  disk->incarnation = c->incarnations;
}

void sim_c_witness(struct sim *s, struct sim_coordinator *c, struct vow_log_position seen) {
  struct vow_event event = {.type = VOW_EVENT_WITNESS,
                            .u.witness = {.seen = seen, .by = "who asks"}};
  if (seen.incarnation != 0) sim_c_step(s, c, &event);
}

/* ---- backups ---- */

static void copy_disk(const struct sim *s, struct sim_disk *to, const struct sim_disk *from) {
  sim_c_drop_rows(s, to->table);
  *to = *from;
  for (uint32_t i = 0; i < s->txn_count; i++) {
    if (from->table[i].used) to->table[i].image = sim_image_copy(&from->table[i].image);
  }
}

/* What it said and did is not to be had again, nor judged: an operator must look at all of it. */
static void give_up(struct sim *s, struct sim_coordinator *c) {
  c->unwitnessed = true;
  for (uint32_t i = 0; i < s->txn_count; i++) {
    if (s->txns[i].coordinator != c->number) continue;
    s->txns[i].meddled = s->txns[i].overruled = true;
  }
}

static void bring_back(struct sim *s, struct sim_coordinator *c) {
  bool by_tool = sim_chance(s, 400), file_stays = sim_chance(s, 700);
  struct vow_log_position now = {c->disk.incarnation, c->disk.position};

  if (c->core != NULL) sim_c_crash(s, c, SIM_KILLED);
  sim_c_lose_log(s, c, SIM_POWER_CUT, false);
  sim_say(s, node_of(c), "---- a backup takes the place of its log: %llu instead of %llu%s ----",
          (unsigned long long)c->backup.position, (unsigned long long)now.position,
          by_tool ? ", as vowctl does it" : "");
  c->lost = true;
  copy_disk(s, &c->disk, &c->backup);
  if (by_tool) c->disk.quarantined = true;
  if (!by_tool && !file_stays) {
    c->witness = (struct vow_log_position){0};
    give_up(s, c);
  }
}

void sim_c_restore(struct sim *s, struct sim_coordinator *c) {
  if (c->has_backup && !c->lost) {
    bring_back(s, c);
  } else if (!c->has_backup) {
    copy_disk(s, &c->backup, &c->disk);
    c->has_backup = true;
  }
}
