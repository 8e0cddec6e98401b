/*
 * The branches and coordinators of a participant: a hash table that owns them. Room for every heap
 * is made when a branch comes in, so that nothing fails later.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "pcore_internal.h"

/* The branches of one transaction are in one bucket: there are few, and they are asked for
 * together.
 */
static uint32_t hash(struct vow_id id) {
  uint64_t half[2];
  memcpy(half, id.bytes, sizeof half);
  uint64_t bits = half[0] * 0x9E3779B97F4A7C15U ^ half[1];
  return (uint32_t)((bits ^ bits >> 32) * 0x9E3779B97F4A7C15U >> 32);
}

static struct vow_pbranch **bucket_of(const struct vow_pcore *core, struct vow_id id) {
  return &core->buckets[hash(id) & (core->bucket_count - 1)];
}

struct vow_pbranch *vow_ptable_find(const struct vow_pcore *core, struct vow_id id,
                                    uint32_t number) {
  struct vow_pbranch *b = *bucket_of(core, id);
  while (b && (b->number != number || vow_id_compare(b->transaction, id) != 0)) b = b->next;
  return b;
}

const struct vow_pbranch *vow_ptable_next(const struct vow_pcore *core,
                                          const struct vow_pbranch *last) {
  uint32_t bucket = 0;
  const struct vow_pbranch *b = NULL;
  if (last) {
    bucket = (hash(last->transaction) & (core->bucket_count - 1)) + 1;
    b = last->next;
  }
  while (!b && bucket < core->bucket_count) b = core->buckets[bucket++];
  return b;
}

const struct vow_pbranch *vow_ptable_next_of(const struct vow_pcore *core, struct vow_id id,
                                             const struct vow_pbranch *last) {
  const struct vow_pbranch *b = last ? last->next : *bucket_of(core, id);
  while (b && vow_id_compare(b->transaction, id) != 0) b = b->next;
  return b;
}

/* Twice the buckets; when there is no memory for them the chains grow instead. */
static void grow(struct vow_pcore *core) {
  uint32_t old_count = core->bucket_count;
  struct vow_pbranch **old = core->buckets;
  struct vow_pbranch **buckets = calloc(2 * (size_t)old_count, sizeof(struct vow_pbranch *));
  if (!buckets) return;
  core->buckets = buckets;
  core->bucket_count = 2 * old_count;
  for (uint32_t i = 0; i < old_count; i++) {
    while (old[i]) {
      struct vow_pbranch *b = old[i];
      old[i] = b->next;
      struct vow_pbranch **bucket = bucket_of(core, b->transaction);
      b->next = *bucket;
      *bucket = b;
    }
  }
  free(old);
}

void vow_ptable_free_live(struct vow_pbranch *b) {
  if (b->live) free(b->live->payload);
  free(b->live);
  b->live = NULL;
}

static void free_branch(struct vow_pbranch *b) {
  vow_ptable_free_live(b);
  free(b->reason);
  free(b);
}

void vow_ptable_drop(struct vow_pcore *core, struct vow_pbranch *b) {
  struct vow_pbranch **link = bucket_of(core, b->transaction);
  while (*link != b) link = &(*link)->next;
  *link = b->next;
  core->branch_count--;
  b->coordinator->branch_count--;
  free_branch(b);
}

enum vow_error vow_ptable_make_live(struct vow_pbranch *b, const char *payload,
                                    size_t payload_bytes) {
  struct vow_plive *live = calloc(1, sizeof *live);
  if (!live) return VOW_E_NO_MEMORY;
  if (payload) {
    live->payload = malloc(payload_bytes + 1);
    if (!live->payload) {
      free(live);
      return VOW_E_NO_MEMORY;
    }
    memcpy(live->payload, payload, payload_bytes);
    live->payload[payload_bytes] = '\0';
    live->payload_bytes = payload_bytes;
  }
  b->live = live;
  return VOW_OK;
}

static void count_for(struct vow_pcoordinator *coordinator, const struct vow_pbranch *b) {
  coordinator->branch_count++;
  if (vow_id_compare(b->transaction, coordinator->newest) > 0) coordinator->newest = b->transaction;
}

enum vow_error vow_ptable_add(struct vow_pcore *core, struct vow_pcoordinator *coordinator,
                              const struct vow_precord *record, struct vow_pbranch **out) {
  uint32_t count = core->branch_count + 1;
  if (vow_pheap_reserve(&core->due, count)) return VOW_E_NO_MEMORY;
  if (vow_pheap_reserve(&coordinator->tombstones, coordinator->branch_count + 1)) {
    return VOW_E_NO_MEMORY;
  }
  struct vow_pbranch *b = calloc(1, sizeof *b);
  if (!b) return VOW_E_NO_MEMORY;
  b->transaction = record->transaction;
  b->number = record->branch;
  b->row = record->row;
  b->coordinator = coordinator;
  if (vow_ptable_make_live(b, record->payload, record->payload_bytes)) {
    free_branch(b);
    return VOW_E_NO_MEMORY;
  }
  if (record->reason) b->reason = strdup(record->reason);
  if (core->branch_count >= core->bucket_count) grow(core);
  struct vow_pbranch **bucket = bucket_of(core, b->transaction);
  b->next = *bucket;
  *bucket = b;
  core->branch_count = count;
  count_for(coordinator, b);
  *out = b;
  return VOW_OK;
}

void vow_ptable_adopt(struct vow_pbranch *b, struct vow_pcoordinator *coordinator) {
  if (b->coordinator == coordinator) return;
  if (vow_pheap_reserve(&coordinator->tombstones, coordinator->branch_count + 1)) return;
  b->coordinator->branch_count--;
  count_for(coordinator, b);
  b->coordinator = coordinator;
}

struct vow_pcoordinator *vow_ptable_find_coordinator(const struct vow_pcore *core,
                                                     const char *url) {
  struct vow_pcoordinator *c = core->coordinators;
  while (c && strcmp(c->url, url) != 0) c = c->next;
  return c;
}

static bool id_before(const struct vow_pbranch *a, const struct vow_pbranch *b) {
  return vow_id_compare(a->transaction, b->transaction) < 0;
}

enum vow_error vow_ptable_add_coordinator(struct vow_pcore *core, const char *url,
                                          struct vow_pcoordinator **out) {
  struct vow_pcoordinator *c = calloc(1, sizeof *c);
  if (!c) return VOW_E_NO_MEMORY;
  c->url = strdup(url);
  if (!c->url) {
    free(c);
    return VOW_E_NO_MEMORY;
  }
  c->tombstones.before = id_before;
  c->next = core->coordinators;
  core->coordinators = c;
  core->coordinator_count++;
  *out = c;
  return VOW_OK;
}

void vow_ptable_free(struct vow_pcore *core) {
  for (uint32_t i = 0; i < core->bucket_count; i++) {
    while (core->buckets[i]) {
      struct vow_pbranch *b = core->buckets[i];
      core->buckets[i] = b->next;
      free_branch(b);
    }
  }
  free(core->buckets);
  while (core->coordinators) {
    struct vow_pcoordinator *c = core->coordinators;
    core->coordinators = c->next;
    vow_pheap_fini(&c->tombstones);
    free(c->url);
    free(c);
  }
  vow_pheap_fini(&core->due);
}
