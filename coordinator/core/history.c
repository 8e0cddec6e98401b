/*
 * What happened to a transaction, bounded: at the limit the oldest failed attempt gives way, and
 * when there is none the oldest entry. Entries are for people; losing one for want of memory is
 * counted (history_dropped) and changes nothing else.
 */
#include <stdlib.h>
#include <string.h>

#include "core_internal.h"

/* How far back an equal failure is looked for: as many branches may fail in turn. */
#define FAILURES_COMPARED 16

bool core_history_reserve(const struct vow_core *core, struct core_txn *txn, uint32_t more) {
  uint32_t needed = txn->image.history_count + more;
  uint32_t capacity = txn->history_capacity;

  if (needed > core->config.history_max) needed = core->config.history_max;
  if (needed <= capacity) return true;
  capacity *= 2; /* which is enough from the decision to the end, mostly */
  if (capacity < needed) capacity = needed;
  struct vow_history *history = realloc(txn->image.history, capacity * sizeof(*history));
  if (history == NULL) return false;
  txn->image.history = history;
  txn->history_capacity = capacity;
  return true;
}

static void free_detail(const struct vow_history *entry) {
  union {
    const char *text;
    char *owned;
  } detail = {.text = entry->detail};
  if (!entry->detail_static) free(detail.owned);
}

static void drop_one(struct vow_txn *image) {
  uint32_t index = 0;

  for (uint32_t i = 0; i < image->history_count; i++) {
    if (image->history[i].kind == VOW_HISTORY_ATTEMPT_FAILED) {
      index = i;
      break;
    }
  }
  free_detail(&image->history[index]);
  image->history_count--;
  image->history_dropped++;
  memmove(&image->history[index], &image->history[index + 1],
          (image->history_count - index) * sizeof(image->history[0]));
}

static bool equal_texts(const char *a, const char *b) {
  return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* The same failure of the same branch among the failures at the end, or NULL. */
static struct vow_history *find_equal(const struct vow_txn *image,
                                      const struct vow_history *entry) {
  for (uint32_t back = 1; back <= FAILURES_COMPARED && back <= image->history_count; back++) {
    struct vow_history *last = &image->history[image->history_count - back];
    if (last->kind != VOW_HISTORY_ATTEMPT_FAILED) return NULL;
    if (last->branch == entry->branch && equal_texts(last->detail, entry->detail)) return last;
  }
  return NULL;
}

static void add(struct vow_core *core, struct core_txn *txn, const struct vow_history *entry) {
  struct vow_txn *image = &txn->image;
  struct vow_history *same =
      entry->kind == VOW_HISTORY_ATTEMPT_FAILED ? find_equal(image, entry) : NULL;

  if (same != NULL) {
    if (same->count < UINT16_MAX) same->count++;
    same->time_ms = entry->time_ms;
    free_detail(entry);
    return;
  }
  while (image->history_count >= core->config.history_max) drop_one(image);
  if (!core_history_reserve(core, txn, 1)) {
    free_detail(entry);
    image->history_dropped++;
    return;
  }
  image->history[image->history_count++] = *entry;
}

void core_history(struct vow_core *core, struct core_txn *txn, uint32_t branch,
                  enum vow_history_kind kind, const char *constant) {
  struct vow_history entry = {.time_ms = core->wall_ms,
                              .detail = constant,
                              .branch = branch,
                              .count = 1,
                              .kind = (uint8_t)kind,
                              .detail_static = true};
  add(core, txn, &entry);
}

void core_history_decided_before(struct vow_core *core, struct core_txn *txn, uint64_t time_ms) {
  for (uint32_t i = 0; i < txn->image.history_count; i++) {
    if (txn->image.history[i].kind == VOW_HISTORY_DECIDED) return;
  }
  struct vow_history entry = {.time_ms = time_ms,
                              .detail = "commit",
                              .count = 1,
                              .kind = VOW_HISTORY_DECIDED,
                              .detail_static = true};
  add(core, txn, &entry);
}

void core_history_text(struct vow_core *core, struct core_txn *txn, uint32_t branch,
                       enum vow_history_kind kind, char *owned) {
  struct vow_history entry = {.time_ms = core->wall_ms,
                              .detail = owned,
                              .branch = branch,
                              .count = 1,
                              .kind = (uint8_t)kind};
  add(core, txn, &entry);
}
