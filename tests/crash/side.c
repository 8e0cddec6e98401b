/* See side.h: what both sides draw dice and tell failures with. */
#include "side.h"

#include <stdarg.h>
#include <stdio.h>

static uint64_t dice;
static char *why;

void side_begin(uint64_t seed, char out[SIDE_WHY_BYTES]) {
  dice = seed;
  why = out;
}

uint32_t draw(uint32_t below) {
  return (uint32_t)(draw_seed() % below);
}

uint64_t draw_seed(void) {
  return disk_random(&dice);
}

enum end draw_end(void) {
  return draw(2) == 0 ? END_FAILED_SYNC : (enum end)draw(3);
}

bool wrong(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(why, SIDE_WHY_BYTES, format, arguments);
  va_end(arguments);
  return false;
}
