/*
 * XXH3 behind two functions. The values reach the disk, so the algorithm is part of the log's
 * format. The only file of the coordinator that includes xxhash.h.
 */
#include "io/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t vow_hash64(const void *data, size_t bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(data, bytes, seed);
}

void vow_hash128(const void *data, size_t bytes, uint8_t out[16]) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, bytes));
  for (size_t i = 0; i < 16; i++) out[i] = canonical.digest[i];
}
