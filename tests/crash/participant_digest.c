/* See participant_digest.h. */
#include "participant_digest.h"

#include <string.h>

static uint64_t mix(uint64_t hash, const void *data, size_t bytes) {
  const uint8_t *at = data;
  for (size_t i = 0; i < bytes; i++) hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
  return hash;
}

uint64_t record_digest(const struct vow_id *id, uint64_t row, uint32_t kind, const char *payload) {
  uint64_t hash = mix(UINT64_C(0xcbf29ce484222325), id->bytes, sizeof id->bytes);
  hash = mix(hash, &row, sizeof row);
  hash = mix(hash, &kind, sizeof kind);
  return payload == NULL ? mix(hash, "none", 5) : mix(hash, payload, strlen(payload) + 1);
}

uint64_t number_digest(const char *what, uint64_t a, int64_t b) {
  uint64_t hash = mix(UINT64_C(0xcbf29ce484222325), what, strlen(what) + 1);
  hash = mix(hash, &a, sizeof a);
  return mix(hash, &b, sizeof b);
}

uint64_t changeset_digest(const char *transaction) {
  return mix(UINT64_C(0xcbf29ce484222325), transaction, strlen(transaction) + 1);
}
