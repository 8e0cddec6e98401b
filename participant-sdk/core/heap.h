/*
 * A binary heap of branches; each branch knows its place, so that it can be taken out from
 * anywhere. The order is the caller's. Pure.
 */
#ifndef VOW_SDK_HEAP_H
#define VOW_SDK_HEAP_H

#include "branch.h"

struct vow_pheap {
  struct vow_pbranch **items;
  uint32_t count;
  uint32_t capacity;
  bool (*before)(const struct vow_pbranch *a, const struct vow_pbranch *b);
};

void vow_pheap_fini(struct vow_pheap *heap);
/* Makes room for `count` branches in all, so that no later push fails. */
enum vow_error vow_pheap_reserve(struct vow_pheap *heap, uint32_t count) VOW_MUST_CHECK;
void vow_pheap_push(struct vow_pheap *heap, struct vow_pbranch *branch);
void vow_pheap_remove(struct vow_pheap *heap, struct vow_pbranch *branch);
void vow_pheap_moved(struct vow_pheap *heap, struct vow_pbranch *branch); /* its key changed */
struct vow_pbranch *vow_pheap_top(const struct vow_pheap *heap);          /* NULL: empty */

#endif
