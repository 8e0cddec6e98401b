/*
 * Backups of a coordinator's log, and who notices that an older one is in its place: the tool that
 * restored it, the file beside the log, the participants that have seen the log further. Where the
 * file is gone, or was put back together with the log, participants may be slow to speak, and some
 * have nothing to say. Until then what has begun since the backup is safe all the same: its ids lie
 * in a gap between those of two starts. Of the rest nothing can be promised.
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

/* What coordinator/io/log_trust.c keeps: the starts before have issued no ids at or above the
 * ceiling, and this one issues them from its own time on. What a start has left that issued none
 * ends where ids go on now. */
static void keep_gap(struct sim *s, struct sim_coordinator *c) {
  struct sim_disk *disk = &c->disk;
  struct vow_id now = vow_id_floor(sim_wall_ms(s), 0);
  struct vow_id_gap gap = {.from = disk->ceiling, .below = now}, *last = NULL;
  if (vow_id_compare(now, gap.from) < 0 || s->mistake == SIM_MISTAKE_NO_FLOOR) gap.below = gap.from;
  bool empty = vow_id_compare(gap.from, gap.below) == 0;
  c->id_from = gap.below;
  if (disk->gap_count > 0) last = &disk->gaps[disk->gap_count - 1];
  bool same = last != NULL && vow_id_compare(last->from, gap.from) == 0;
  if (same && !(empty && s->mistake == SIM_MISTAKE_GAP_STAYS)) disk->gap_count--;
  if (empty) return;
  if (disk->gap_count == SIM_GAPS_MAX) {
    memmove(&disk->gaps[0], &disk->gaps[1], --disk->gap_count * sizeof gap);
  }
  disk->gaps[disk->gap_count++] = gap;
}

/* What this start would believe though it has changed since. Nothing shows that the log has lost
 * it: no quarantine, and of what it lacks no gap in which the id lies, as it was issued below the
 * ceiling that the backup has, or ahead of the clock. */
static void give_up(struct sim *s, const struct sim_coordinator *c) {
  const struct sim_disk *disk = &c->disk;
  for (uint32_t i = 0; i < s->txn_count; i++) {
    struct sim_txn *txn = &s->txns[i];
    if (txn->coordinator != c->number || !txn->behind) continue;
    bool unknown = vow_id_compare(txn->id, disk->presume_from) < 0 ||
                   vow_id_in_gap(disk->gaps, disk->gap_count, txn->id);
    if (!disk->table[i].used && unknown) continue;
    txn->unpromised = txn->meddled = txn->overruled = true;
    sim_purged(s, i);
  }
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
  keep_gap(s, c);
  if (disk->quarantined) sim_probe(s, SIM_PROBE_QUARANTINE);
  if (!disk->quarantined) give_up(s, c);
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

static bool are_alike(const struct vow_txn *a, const struct vow_txn *b) {
  bool alike = a->state == b->state && a->updated_ms == b->updated_ms &&
               a->ended_ms == b->ended_ms && a->branch_count == b->branch_count;
  for (uint32_t i = 0; alike && i < a->branch_count; i++) {
    alike = a->branches[i].state == b->branches[i].state;
  }
  return alike;
}

/* What the backup has is not the last that became of it. */
static void note_behind(struct sim *s, const struct sim_coordinator *c) {
  for (uint32_t i = 0; i < s->txn_count; i++) {
    const struct sim_row *then = &c->backup.table[i], *now = &c->disk.table[i];
    struct sim_txn *txn = &s->txns[i];
    if (txn->coordinator != c->number || (then->used && then->image.ended_ms != 0)) continue;
    if (then->used && now->used && are_alike(&then->image, &now->image)) continue;
    txn->behind |= then->used || now->used || txn->committed || txn->once_behind;
    txn->once_behind |= txn->behind;
  }
}

void sim_c_put_back(struct sim *s, struct sim_coordinator *c) {
  bool by_tool = sim_chance(s, 400), file_stays = sim_chance(s, 500);
  struct vow_log_position now = {c->disk.incarnation, c->disk.position};

  if (sim_tool_works_on(s, c)) sim_tool_kill(s, SIM_POWER_CUT, false);
  if (c->core != NULL) sim_c_crash(s, c, SIM_KILLED);
  sim_c_lose_log(s, c, SIM_POWER_CUT, false);
  sim_say(s, node_of(c), "---- a backup takes the place of its log: %llu instead of %llu%s ----",
          (unsigned long long)c->backup.position, (unsigned long long)now.position,
          by_tool ? ", as vowctl does it" : "");
  if (++c->restores == 2) sim_probe(s, SIM_PROBE_RESTORED_TWICE);
  lose_keys(s, c);
  note_behind(s, c);
  copy_disk(s, &c->disk, &c->backup);
  if (by_tool) c->disk.quarantined = true;
  if (by_tool && sim_chance(s, 700)) sim_at(s, sim_draw(s, 20), SIM_TOOL_ACTS, SIM_OPERATOR)->a = 1;
  if (by_tool || file_stays) return;
  c->witness = sim_chance(s, 300) ? (struct vow_log_position){0} : c->backup_witness;
}

void sim_c_restore(struct sim *s, struct sim_coordinator *c) {
  if (c->has_backup && sim_chance(s, 700)) {
    sim_c_put_back(s, c);
  } else {
    copy_disk(s, &c->backup, &c->disk);
    c->backup_witness = c->witness;
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
  if (s->mistake == SIM_MISTAKE_LOW_IDS || vow_id_compare(batch->presume_from, c->id_from) < 0)
    batch->presume_from = c->id_from;
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
    sim_check(s, txn->unpromised || c->unheard || !has_left_traces(s, i), SIM_C12,
              "t%u would be presumed to have aborted", i);
    if (c->unheard) txn->unpromised = txn->meddled = txn->overruled = true;
  }
}

void sim_c_leave_quarantine(struct sim *s, struct sim_coordinator *c,
                            const struct sim_batch *batch) {
  for (uint32_t i = 0; i < batch->judged_count; i++) know_start(&c->disk, batch->judged[i]);
  c->disk.quarantined = false;
  c->disk.seen = (struct vow_log_position){0};
  c->disk.presume_from = batch->presume_from;
  check_presumption(s, c);
  for (uint32_t i = 0; i < s->txn_count; i++) {
    if (s->txns[i].coordinator == c->number) s->txns[i].behind = false;
  }
  sim_say(s, node_of(c), "---- its log leaves quarantine ----");
}
