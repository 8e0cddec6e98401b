/*
 * Whatever comes into a heap, moves in it and leaves it: the first is on top, and each branch knows
 * its place. Those that have left are the first of all, so that one that is still looked at shows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/heap.h"

#define BRANCHES 200 /* more than the room that is made at first */
#define STEPS    40000

static struct vow_pbranch branches[BRANCHES];
static bool is_in[BRANCHES];
static struct vow_pheap heap;

static bool number_before(const struct vow_pbranch *a, const struct vow_pbranch *b) {
  return a->number < b->number;
}

static uint32_t draw(uint32_t below) {
  static uint64_t bits = 1;
  bits = bits * UINT64_C(6364136223846793005) + 1442695040888963407;
  return (uint32_t)(bits >> 33) % below;
}

static void check(void) {
  const struct vow_pbranch *first = NULL;
  uint32_t count = 0;

  for (uint32_t i = 0; i < BRANCHES; i++) {
    const struct vow_pbranch *branch = &branches[i];
    if (!is_in[i]) continue;
    count++;
    assert_true(branch->heap_index < heap.count && heap.items[branch->heap_index] == branch);
    if (first == NULL || branch->number < first->number) first = branch;
  }
  assert_int_equal(heap.count, count);
  const struct vow_pbranch *top = vow_pheap_top(&heap);
  assert_true(first == NULL ? top == NULL : top->number == first->number);
}

static void step(uint32_t i) {
  struct vow_pbranch *branch = &branches[i];

  if (!is_in[i]) {
    branch->number = 1 + draw(1000);
    assert_int_equal(vow_pheap_reserve(&heap, heap.count + 1), VOW_OK);
    vow_pheap_push(&heap, branch);
    is_in[i] = true;
  } else if (draw(2) == 0) {
    branch->number = 1 + draw(1000);
    vow_pheap_moved(&heap, branch);
  } else {
    vow_pheap_remove(&heap, branch);
    branch->number = 0;
    is_in[i] = false;
  }
}

static void the_first_is_always_on_top(void **state) {
  (void)state;
  heap.before = number_before;
  for (uint32_t i = 0; i < STEPS; i++) {
    step(draw(i < STEPS / 2 ? BRANCHES : 5)); /* many, and few */
    check();
  }
  vow_pheap_fini(&heap);
  assert_null(vow_pheap_top(&heap));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(the_first_is_always_on_top)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
