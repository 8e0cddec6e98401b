/* See histogram.h. */
#include "histogram.h"

#define STEPS (UINT64_C(1) << HISTOGRAM_STEP_BITS)

/* Values below STEPS have a bucket each; above, the leading one and the next bits choose. */
static unsigned bucket_of(uint64_t value) {
  if (value < STEPS) return (unsigned)value;
  unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_STEP_BITS;
  return ((shift + 1) << HISTOGRAM_STEP_BITS) + (unsigned)((value >> shift) - STEPS);
}

static uint64_t top_of(unsigned bucket) {
  unsigned row = bucket >> HISTOGRAM_STEP_BITS;
  uint64_t step = bucket & (STEPS - 1);
  if (row == 0) return step;
  return ((STEPS + step + 1) << (row - 1)) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t value) {
  histogram->count++;
  histogram->sum += value;
  if (value > histogram->max) histogram->max = value;
  histogram->buckets[bucket_of(value)]++;
}

uint64_t histogram_quantile(const struct histogram *histogram, double part) {
  uint64_t wanted = (uint64_t)((double)histogram->count * part), seen = 0;
  for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
    seen += histogram->buckets[i];
    if (seen > wanted || (seen == histogram->count && seen > 0)) {
      uint64_t top = top_of(i);
      return top < histogram->max ? top : histogram->max;
    }
  }
  return 0;
}
