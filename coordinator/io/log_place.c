/*
 * Where the row of an open transaction stands: its place is the first 63 bits of its id that tell
 * ids apart (time, counter, and three of the random bits), as an integer. So the table is in the
 * order of the ids and written at its end, and needs no index, which would cost each transaction
 * two more B-tree changes.
 *
 * Two ids of one log never share time and counter. But after records were lost, ids that were
 * issued twice may meet in a reconciliation. The row of one whose place is taken is a stray: it
 * stands at the next free place, and is remembered here. All of them are known: `log_verify` reads
 * every open row, and after that each passes through here.
 *
 * Bound: one a transaction that is open, so `limits_transactions`. There are none or a few: they
 * are looked for one by one.
 */
#include <stdlib.h>

#include "io/log_internal.h"

int64_t log_place_of(struct vow_id id) {
  uint64_t place = vow_id_unix_ms(id) << 15 | (uint64_t)vow_id_counter(id) << 3;
  return (int64_t)(place | (id.bytes[8] >> 3 & 7));
}

struct vow_id log_place_id(int64_t place) {
  uint64_t bits = (uint64_t)place;
  return vow_id_make(bits >> 15, (uint16_t)(bits >> 3 & 0xfff), (bits & 7) << 59);
}

static struct log_stray *find(const struct vow_log *log, struct vow_id id) {
  for (uint32_t i = 0; i < log->stray_count; i++) {
    if (vow_id_compare(log->strays[i].id, id) == 0) return &log->strays[i];
  }
  return NULL;
}

int64_t log_place(const struct vow_log *log, struct vow_id id) {
  const struct log_stray *stray = find(log, id);
  return stray == NULL ? log_place_of(id) : stray->place;
}

bool log_place_set(struct vow_log *log, struct vow_id id, int64_t place) {
  struct log_stray *stray = find(log, id);
  if (stray == NULL && place == log_place_of(id)) return true;
  if (stray == NULL) {
    struct log_stray *strays = reallocarray(log->strays, log->stray_count + 1, sizeof *strays);
    if (strays == NULL) return false;
    log->strays = strays;
    stray = &strays[log->stray_count++];
  }
  *stray = (struct log_stray){.id = id, .place = place};
  return true;
}

void log_place_forget(struct vow_log *log, struct vow_id id) {
  struct log_stray *stray = find(log, id);
  if (stray != NULL) *stray = log->strays[--log->stray_count];
}
