/* What the programs that play seeds take for one: a number, or "today". */
#ifndef VOW_TEST_SEED_H
#define VOW_TEST_SEED_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SEED_DAY UINT64_C(10000000) /* so many seeds each day has of its own, beyond CI's */

/* "today.half" begins with the second half of them. False: it is no seed. */
static inline bool seed_parse(const char *text, uint64_t *out) {
  char *end = NULL;
  uint64_t day = (uint64_t)time(NULL) / 86400 * SEED_DAY;
  if (strcmp(text, "today") == 0) {
    *out = day;
  } else if (strcmp(text, "today.half") == 0) {
    *out = day + SEED_DAY / 2;
  } else {
    *out = strtoull(text, &end, 10);
    return end != text && *end == '\0';
  }
  return true;
}

#endif
