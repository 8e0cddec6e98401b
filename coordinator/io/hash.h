/*
 * Hashes against accidents, not against attackers: checksums of log rows, fingerprints of requests
 * that carry an Idempotency-Key. XXH3 runs at the speed of memory, which is why a checksum of every
 * row costs nothing that can be measured. Pure; anybody in coordinator/ may call.
 */
#ifndef VOW_COORDINATOR_HASH_H
#define VOW_COORDINATOR_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Chains: the hash of one piece is the seed of the next. */
uint64_t vow_hash64(const void *data, size_t bytes, uint64_t seed);
/* Canonical (big-endian) bytes, so that it may be stored. */
void vow_hash128(const void *data, size_t bytes, uint8_t out[16]);

#endif
