/*
 * All crash images of one recording, and the order in which they come: image number i of seed s is
 * always the same one.
 */
#ifndef VOW_TESTS_CRASH_IMAGES_H
#define VOW_TESTS_CRASH_IMAGES_H

#include <stdbool.h>
#include <stdint.h>

struct images_options {
  uint64_t limit; /* judge at most so many */
  int64_t only;   /* this one, and tell about it; -1: all */
};

struct images_result {
  uint64_t images;
  bool ok;
  int64_t failed; /* the image; -1: the workload itself saw it */
  char why[1024];
};

/* Every call of the disk fails once; the number of calls. 0: what went wrong is in `out`. */
uint32_t images_sweep(uint32_t first, struct images_result *out);
void images_run(uint64_t seed, const struct images_options *options, struct images_result *out);

#endif
