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

/* The list of starts is bounded: the oldest of them are taken for known. */
static void remember_start(struct sim_disk *disk) {
  if (disk->incarnation == 0) return;
  while (disk->known_count >= SIM_KNOWN_MAX) {
    disk->known[0] = (struct vow_incarnation){.number = 0, .until = disk->known[1].number};
    memmove(&disk->known[1], &disk->known[2], (disk->known_count - 2) * sizeof *disk->known);
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
    sim_check(s, c->restores > 0, SIM_PEACE, "the file beside c%u's log knows more than the log",
              c->number);
    sim_say(s, node_of(c), "---- quarantine: the file beside its log knows more ----");
    disk->quarantined = true;
    disk->seen = c->witness;
  }
  if (disk->quarantined) sim_probe(s, SIM_PROBE_QUARANTINE);
  c->incarnations += 1 + sim_draw(s, 1000);
  disk->incarnation = c->incarnations;
  c->witness = (struct vow_log_position){disk->incarnation, disk->position};
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

/* A key whose transaction the backup lacks is gone, and may begin another one. */
static void lose_keys(struct sim *s, const struct sim_coordinator *c) {
  for (uint32_t i = 0; i < s->txn_count; i++) {
    if (s->txns[i].coordinator == c->number && !c->backup.table[i].used) sim_purged(s, i);
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

  if (sim_tool_works_on(s, c)) sim_tool_kill(s, SIM_POWER_CUT, false);
  if (c->core != NULL) sim_c_crash(s, c, SIM_KILLED);
  sim_c_lose_log(s, c, SIM_POWER_CUT, false);
  sim_say(s, node_of(c), "---- a backup takes the place of its log: %llu instead of %llu%s ----",
          (unsigned long long)c->backup.position, (unsigned long long)now.position,
          by_tool ? ", as vowctl does it" : "");
  c->lost = true;
  if (++c->restores == 2) sim_probe(s, SIM_PROBE_RESTORED_TWICE);
  lose_keys(s, c);
  copy_disk(s, &c->disk, &c->backup);
  if (by_tool) c->disk.quarantined = true;
  if (by_tool && sim_chance(s, 700)) sim_at(s, sim_draw(s, 20), SIM_TOOL_ACTS, SIM_OPERATOR)->a = 1;
  if (!by_tool && !file_stays) {
    c->witness = (struct vow_log_position){0};
    give_up(s, c);
  }
}

void sim_c_restore(struct sim *s, struct sim_coordinator *c) {
  if (c->has_backup && sim_chance(s, 700)) {
    bring_back(s, c);
  } else {
    copy_disk(s, &c->backup, &c->disk);
    c->has_backup = true;
  }
}

/* ---- a reconciliation ends it ---- */

static void go_beyond(const struct sim *s, struct sim_batch *batch, uint64_t position) {
  if (s->mistake == SIM_MISTAKE_STAYS_BEHIND) return;
  if (position > batch->position) batch->position = position;
}

/* The log will be ahead of all that its witnesses have seen, and its ids of all that were issued.
 */
void sim_c_plan_leaving(struct sim *s, struct sim_coordinator *c,
                        const struct vow_log_reconciled *written) {
  struct sim_batch *batch = &c->writing;
  sim_check(s, written->judged_count <= SIM_JUDGED_MAX, SIM_B1, "%u starts were seen",
            written->judged_count);
  for (uint32_t i = 0; i < written->judged_count; i++) {
    batch->judged[i] = written->judged[i];
    go_beyond(s, batch, written->judged[i].until);
  }
  go_beyond(s, batch, written->position_above);
  go_beyond(s, batch, c->disk.seen.position);
  batch->position++;
  batch->judged_count = written->judged_count;
  batch->presume_from = written->ids_above;
  if (s->mistake == SIM_MISTAKE_LOW_IDS || vow_id_compare(batch->presume_from, c->disk.ceiling) < 0)
    batch->presume_from = c->disk.ceiling;
  batch->ceiling = batch->presume_from;
  batch->leaves = true;
}

/* In the place of what was known of that start, or in order among the others. */
static void know_start(struct sim_disk *disk, struct vow_incarnation start) {
  uint32_t at = 0;
  while (at < disk->known_count && disk->known[at].number < start.number) at++;
  if (at == disk->known_count || disk->known[at].number != start.number) {
    memmove(&disk->known[at + 1], &disk->known[at], (disk->known_count - at) * sizeof *disk->known);
    disk->known_count++;
  }
  disk->known[at] = start;
}

static bool has_left_traces(const struct sim *s, uint32_t index) {
  const struct sim_txn *txn = &s->txns[index];
  for (uint32_t b = 0; b < txn->branch_count; b++) {
    enum vow_precord_kind kind = sim_record_of(s, index, b + 1)->kind;
    bool may_commit = kind == VOW_PRECORD_PREPARED || kind == VOW_PRECORD_DECIDED;
    if (txn->branches[b].applied > 0 || may_commit) return true;
  }
  return false;
}

/* C12: nothing of the time before is presumed to have aborted, unless nobody promised anything. Of
 * what a participant has that was left out nothing is known. */
static void check_presumption(struct sim *s, const struct sim_coordinator *c) {
  for (uint32_t i = 0; i < s->txn_count; i++) {
    struct sim_txn *txn = &s->txns[i];
    bool below = vow_id_compare(txn->id, c->disk.presume_from) < 0;
    if (txn->coordinator != c->number || below || c->disk.table[i].used) continue;
    sim_check(s, c->unwitnessed || c->unheard || !has_left_traces(s, i), SIM_C12,
              "t%u would be presumed to have aborted", i);
    if (c->unheard) txn->meddled = txn->overruled = true;
  }
}

void sim_c_leave_quarantine(struct sim *s, struct sim_coordinator *c,
                            const struct sim_batch *batch) {
  for (uint32_t i = 0; i < batch->judged_count; i++) know_start(&c->disk, batch->judged[i]);
  c->disk.quarantined = false;
  c->disk.seen = (struct vow_log_position){0};
  c->disk.presume_from = batch->presume_from;
  c->lost = false;
  check_presumption(s, c);
  sim_say(s, node_of(c), "---- its log leaves quarantine ----");
}
