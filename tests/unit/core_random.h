/*
 * Random schedules of the coordinator's core, in the world of core_world.h. Each switches a random
 * subset of the troubles off; then everything heals, and everything must end. A seed draws what
 * happens (core_random_main.c), or the choices are given, a byte or a few each (tests/fuzz). The
 * world fails the test by itself.
 */
#ifndef VOW_TEST_CORE_RANDOM_H
#define VOW_TEST_CORE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Of the troubles: participants break promises and lose state, and operators settle. */
#define CORE_RANDOM_HEURISTICS 512U
#define CORE_RANDOM_ALL        (~0U)

/* Each frees the world of the one before. */
void core_random_play(uint64_t seed, unsigned troubles);
void core_random_play_choices(const uint8_t *choices, size_t count);
const char *core_random_trace(void); /* of the last one */
void core_random_free(void);

#endif
