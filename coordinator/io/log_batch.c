/*
 * The queue of the log: a list of entries with a hash table over their ids, so that a transaction
 * that changes again before it was taken costs one row, not two. One of these is filled by the loop
 * under the mutex while the log thread writes those that it has taken. Entries keep their buffers,
 * so a steady load allocates nothing.
 *
 * Bound: one entry a transaction, so in each at most as many as the core keeps open plus those that
 * ended while it was filled.
 *
 * Invariants: slot_mask + 1 is a power of two and more than twice `count`; entries[i].slot is where
 * the table names entry i; `position` is the largest of all records ever put since the last reset.
 */
#include <stdlib.h>
#include <string.h>

#include "io/log_internal.h"

#define ENTRIES_MIN 64u

void log_entry_fini(struct log_entry *entry) {
  free(entry->key);
  entry->key = NULL;
  vow_buf_fini(&entry->record);
}

static uint32_t hash_id(struct vow_id id) {
  uint64_t a, b;
  memcpy(&a, id.bytes, 8);
  memcpy(&b, id.bytes + 8, 8);
  uint64_t mixed = (a ^ (b * 0x9e3779b97f4a7c15u)) * 0xd6e8feb86659fd93u;
  return (uint32_t)(mixed >> 32);
}

/* The slot that names `id`, or the free one where it belongs. */
static uint32_t find_slot(const struct log_batch *batch, struct vow_id id) {
  uint32_t slot = hash_id(id) & batch->slot_mask;
  while (batch->slots[slot] != 0 &&
         vow_id_compare(batch->entries[batch->slots[slot] - 1].id, id) != 0)
    slot = (slot + 1) & batch->slot_mask;
  return slot;
}

static enum vow_error grow(struct log_batch *batch) {
  uint32_t capacity = batch->capacity == 0 ? ENTRIES_MIN : batch->capacity * 2;
  uint32_t *slots = calloc((size_t)capacity * 4, sizeof *slots);
  if (slots == NULL) return VOW_E_NO_MEMORY;
  struct log_entry *entries = realloc(batch->entries, capacity * sizeof *entries);
  if (entries == NULL) {
    free(slots);
    return VOW_E_NO_MEMORY;
  }
  for (uint32_t i = batch->capacity; i < capacity; i++) {
    entries[i] = (struct log_entry){0};
    vow_buf_init(&entries[i].record, LOG_RECORD_BYTES_MAX);
  }
  free(batch->slots);
  batch->entries = entries;
  batch->capacity = capacity;
  batch->slots = slots;
  batch->slot_mask = capacity * 4 - 1;
  for (uint32_t i = 0; i < batch->count; i++) {
    entries[i].slot = find_slot(batch, entries[i].id);
    slots[entries[i].slot] = i + 1;
  }
  return VOW_OK;
}

enum vow_error log_batch_put(struct log_batch *batch, struct log_entry *entry) {
  if (batch->count == batch->capacity) {
    enum vow_error error = grow(batch);
    if (error != VOW_OK) return error;
  }
  uint32_t slot = find_slot(batch, entry->id);
  bool joins = batch->slots[slot] != 0;
  if (!joins) batch->slots[slot] = ++batch->count;
  struct log_entry *place = &batch->entries[batch->slots[slot] - 1];
  struct log_entry old = *place;
  *place = *entry;
  place->first |= joins && old.first; /* which is not written now */
  place->slot = slot;
  *entry = old;
  return VOW_OK;
}

void log_batch_reset(struct log_batch *batch) {
  for (uint32_t i = 0; i < batch->count; i++) {
    struct log_entry *entry = &batch->entries[i];
    batch->slots[entry->slot] = 0;
    free(entry->key);
    entry->key = NULL;
    if (i < LOG_ENTRIES_KEPT && entry->record.capacity <= LOG_ENTRY_BYTES_KEPT) {
      vow_buf_reset(&entry->record);
    } else {
      vow_buf_fini(&entry->record);
      vow_buf_init(&entry->record, LOG_RECORD_BYTES_MAX);
    }
  }
  batch->count = 0;
  batch->position = batch->since_ms = 0;
  batch->forced = batch->has_ceiling = batch->has_trust = false;
}

void log_batch_fini(struct log_batch *batch) {
  for (uint32_t i = 0; i < batch->capacity; i++) log_entry_fini(&batch->entries[i]);
  free(batch->entries);
  free(batch->slots);
  *batch = (struct log_batch){0};
}
