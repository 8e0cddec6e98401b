/* See heap.h. */
#include "heap.h"

#include <assert.h>
#include <stdlib.h>

#define CAPACITY_FIRST 64

void vow_pheap_fini(struct vow_pheap *heap) {
  free(heap->items);
  heap->items = NULL;
  heap->count = heap->capacity = 0;
}

enum vow_error vow_pheap_reserve(struct vow_pheap *heap, uint32_t count) {
  if (count <= heap->capacity) return VOW_OK;
  uint32_t capacity = heap->capacity ? heap->capacity : CAPACITY_FIRST;
  while (capacity < count) capacity *= 2;
  struct vow_pbranch **items = realloc(heap->items, capacity * sizeof(struct vow_pbranch *));
  if (!items) return VOW_E_NO_MEMORY;
  heap->items = items;
  heap->capacity = capacity;
  return VOW_OK;
}

static void put(struct vow_pheap *heap, uint32_t index, struct vow_pbranch *branch) {
  heap->items[index] = branch;
  branch->heap_index = index;
}

static void rise(struct vow_pheap *heap, uint32_t index) {
  struct vow_pbranch *branch = heap->items[index];
  while (index > 0) {
    uint32_t parent = (index - 1) / 2;
    if (!heap->before(branch, heap->items[parent])) break;
    put(heap, index, heap->items[parent]);
    index = parent;
  }
  put(heap, index, branch);
}

static void sink(struct vow_pheap *heap, uint32_t index) {
  struct vow_pbranch *branch = heap->items[index];
  for (;;) {
    uint32_t child = 2 * index + 1;
    if (child >= heap->count) break;
    if (child + 1 < heap->count && heap->before(heap->items[child + 1], heap->items[child])) {
      child++;
    }
    if (!heap->before(heap->items[child], branch)) break;
    put(heap, index, heap->items[child]);
    index = child;
  }
  put(heap, index, branch);
}

void vow_pheap_push(struct vow_pheap *heap, struct vow_pbranch *branch) {
  assert(heap->count < heap->capacity);
  put(heap, heap->count++, branch);
  rise(heap, heap->count - 1);
}

void vow_pheap_moved(struct vow_pheap *heap, struct vow_pbranch *branch) {
  rise(heap, branch->heap_index);
  sink(heap, branch->heap_index);
}

void vow_pheap_remove(struct vow_pheap *heap, struct vow_pbranch *branch) {
  uint32_t index = branch->heap_index;
  assert(index < heap->count && heap->items[index] == branch);
  struct vow_pbranch *last = heap->items[--heap->count];
  if (last == branch) return;
  put(heap, index, last);
  vow_pheap_moved(heap, last);
}

struct vow_pbranch *vow_pheap_top(const struct vow_pheap *heap) {
  return heap->count > 0 ? heap->items[0] : NULL;
}
