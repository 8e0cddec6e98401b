/*
 * An intrusive doubly linked list. A head points to itself when it is empty; a node that is in no
 * list is all zero, so it may be moved in memory. Private to the core.
 */
#ifndef VOW_CORE_LIST_H
#define VOW_CORE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct core_list {
  struct core_list *prev;
  struct core_list *next;
};

/* The object that `pointer` is the member of. */
#define core_container(pointer, type, member) \
  ((type *)((uintptr_t)(pointer)-offsetof(type, member)))

static inline void core_list_init(struct core_list *head) {
  head->prev = head;
  head->next = head;
}

static inline bool core_list_empty(const struct core_list *head) {
  return head->next == head;
}

static inline bool core_list_linked(const struct core_list *node) {
  return node->next != NULL;
}

/* Before the head is the end of the list. */
static inline void core_list_insert_before(struct core_list *place, struct core_list *node) {
  node->prev = place->prev;
  node->next = place;
  place->prev->next = node;
  place->prev = node;
}

static inline void core_list_remove(struct core_list *node) {
  if (!core_list_linked(node)) return;
  node->prev->next = node->next;
  node->next->prev = node->prev;
  node->prev = NULL;
  node->next = NULL;
}

#endif
