/*
 * The containers of the core, held against the simplest thing that does the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/list.h"
#include "core/timer.h"
#include "core/tree.h"

#define ITEMS 300
#define STEPS 20000

static uint64_t lots = 1;

static uint32_t draw(uint32_t below) {
  lots = lots * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (uint32_t)(lots >> 33) % below;
}

/* ---- tree ---- */

struct entry {
  struct core_tree_node node;
  uint32_t key;
  bool in;
};

static int compare(const void *key, const struct core_tree_node *node) {
  const uint32_t *a = key;
  uint32_t b = core_container(node, const struct entry, node)->key;
  return (*a > b) - (*a < b);
}

static void check_tree(const struct core_tree *tree, const struct entry *entries) {
  uint32_t count = 0;

  for (uint32_t i = 0; i < ITEMS; i++) {
    const struct core_tree_node *node = core_tree_find(tree, &entries[i].key);
    assert_ptr_equal(node, entries[i].in ? &entries[i].node : NULL);
    if (!entries[i].in) continue;
    assert_ptr_equal(core_tree_at(tree, count), node);
    count++;
  }
  assert_int_equal(core_tree_count(tree), count);
  assert_null(core_tree_at(tree, count));
}

static uint32_t depth(const struct core_tree_node *node) {
  if (node == NULL) return 0;
  uint32_t left = depth(node->left), right = depth(node->right);
  return 1 + (left > right ? left : right);
}

/* A tree holds what was inserted and not removed, in order, and finds the neighbours of a gap. */
static void trees_hold_and_order(void **state) {
  (void)state;
  static struct entry entries[ITEMS];
  struct core_tree tree = {.compare = compare};

  for (uint32_t i = 0; i < ITEMS; i++) entries[i].key = 2 * i;
  for (int step = 0; step < STEPS; step++) {
    struct entry *entry = &entries[draw(ITEMS)];
    if (entry->in) {
      core_tree_remove(&tree, &entry->key, &entry->node);
    } else {
      core_tree_insert(&tree, &entry->key, &entry->node);
    }
    entry->in = !entry->in;
    if (step % 100 == 0) check_tree(&tree, entries);
  }
  for (uint32_t key = 0; key < 2 * ITEMS; key++) {
    uint32_t next = (key + 1) / 2;
    while (next < ITEMS && !entries[next].in) next++;
    assert_ptr_equal(core_tree_at_least(&tree, &key), next < ITEMS ? &entries[next].node : NULL);
    uint32_t last = (key + 1) / 2;
    while (last > 0 && !entries[last - 1].in) last--;
    assert_ptr_equal(core_tree_below(&tree, &key), last > 0 ? &entries[last - 1].node : NULL);
  }
}

/* Keys that come in order, as ids do, do not make a list of it. */
static void trees_stay_flat(void **state) {
  (void)state;
  static struct entry entries[10000];
  struct core_tree tree = {.compare = compare};

  for (uint32_t i = 0; i < 10000; i++) {
    entries[i].key = i;
    core_tree_insert(&tree, &entries[i].key, &entries[i].node);
  }
  assert_true(depth(tree.root) < 50);
}

/* ---- timers ---- */

/* The first timer is always one that is due first, however often they are set and cleared. */
static void timers_come_in_order(void **state) {
  (void)state;
  static struct core_timer timers[ITEMS];
  struct core_timers heap = {NULL};

  for (int step = 0; step < STEPS; step++) {
    struct core_timer *timer = &timers[draw(ITEMS)];
    if (draw(3) == 0) {
      core_timer_clear(&heap, timer);
    } else {
      core_timer_set(&heap, timer, draw(50) == 0 ? CORE_NEVER : draw(1000));
    }
    uint64_t first = CORE_NEVER;
    for (uint32_t i = 0; i < ITEMS; i++) {
      if (timers[i].armed && timers[i].due_ms < first) first = timers[i].due_ms;
    }
    if (first == CORE_NEVER) {
      assert_null(heap.first);
    } else {
      assert_int_equal(heap.first->due_ms, first);
    }
  }
  uint64_t last = 0;
  while (heap.first != NULL) {
    assert_true(heap.first->due_ms >= last);
    last = heap.first->due_ms;
    core_timer_clear(&heap, heap.first);
  }
}

/* ---- lists ---- */

static void lists_keep_their_order(void **state) {
  (void)state;
  struct core_list head, nodes[3] = {{NULL, NULL}, {NULL, NULL}, {NULL, NULL}};

  core_list_init(&head);
  assert_true(core_list_empty(&head));
  for (int i = 0; i < 3; i++) core_list_insert_before(&head, &nodes[i]);
  assert_ptr_equal(head.next, &nodes[0]);
  core_list_remove(&nodes[1]);
  assert_false(core_list_linked(&nodes[1]));
  core_list_remove(&nodes[1]);
  assert_ptr_equal(nodes[0].next, &nodes[2]);
  core_list_insert_before(&nodes[0], &nodes[1]);
  assert_ptr_equal(head.next, &nodes[1]);
  for (int i = 0; i < 3; i++) core_list_remove(&nodes[i]);
  assert_true(core_list_empty(&head));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(trees_hold_and_order),
      cmocka_unit_test(trees_stay_flat),
      cmocka_unit_test(timers_come_in_order),
      cmocka_unit_test(lists_keep_their_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
