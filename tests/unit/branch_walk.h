/*
 * Random walks of the participant's core. A seed draws what happens (branch_walk_main.c), or the
 * choices are given, a byte each (tests/fuzz). A walk fails the test by itself.
 */
#ifndef VOW_TEST_BRANCH_WALK_H
#define VOW_TEST_BRANCH_WALK_H

#include <stddef.h>
#include <stdint.h>

void branch_walk(uint64_t seed);
void branch_walk_choices(const uint8_t *choices, size_t count);
uint32_t branch_walk_seen(void); /* bits of enum vow_pbranch_state, over all walks */

#endif
