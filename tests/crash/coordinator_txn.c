/* See coordinator_txn.h. */
#include "coordinator_txn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "turns.h"

struct vow_id txn_id(uint32_t txn) {
  return vow_id_make(UINT64_C(1800000000000) + txn, (uint16_t)(txn & 0xfff),
                     txn * UINT64_C(7919) + 1);
}

static char *text_of(uint32_t bytes, uint32_t n) {
  char *text = malloc(bytes + 1);
  if (text == NULL) abort();
  for (uint32_t i = 0; i < bytes; i++) text[i] = (char)('a' + (i * 7 + n) % 26);
  text[bytes] = '\0';
  return text;
}

static char *numbered(const char *word, uint32_t n) {
  char *text = NULL;
  if (asprintf(&text, "%s-%u", word, n) < 0) abort();
  return text;
}

void txn_fill(struct vow_txn *txn, uint32_t n, const struct txn_state *state) {
  *txn = (struct vow_txn){.id = txn_id(n),
                          .state = state->state,
                          .heuristic = state->heuristic,
                          .forgotten = state->forgotten,
                          .created_ms = UINT64_C(1800000000000) + n,
                          .updated_ms = turns_now_ms()};
  if (state->ended) txn->ended_ms = UINT64_C(1800000000000) + n * 1000;
  if (state->keyed) {
    txn->idempotency_key = numbered("key", n);
    memset(txn->request_hash, (int)n, sizeof txn->request_hash);
  }
  uint32_t count = 1 + n % 2;
  txn->branches = calloc(count, sizeof *txn->branches);
  if (txn->branches == NULL) abort();
  for (uint32_t i = 0; i < count; i++) {
    struct vow_branch *branch = &txn->branches[i];
    branch->number = i + 1;
    branch->state = state->ended ? VOW_BRANCH_COMMITTED : VOW_BRANCH_PREPARED;
    branch->vote = VOW_VOTE_COMMIT;
    branch->name = numbered("bank", i);
    branch->url = numbered("http://127.0.0.1:7001/bank", i);
  }
  txn->branch_count = count;
  txn->reason = text_of(n % 17 == 3 ? 9000 : 10 + n % 7 * 40, n);
}

static uint64_t mix(uint64_t hash, const void *data, size_t bytes) {
  const uint8_t *at = data;
  for (size_t i = 0; i < bytes; i++) hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
  return hash;
}

static uint64_t mix_text(uint64_t hash, const char *text) {
  return text == NULL ? mix(hash, "\0n", 2) : mix(hash, text, strlen(text) + 1);
}

static uint64_t mix_number(uint64_t hash, uint64_t number) {
  return mix(hash, &number, sizeof number);
}

uint64_t txn_digest(const struct vow_txn *txn) {
  uint64_t hash = mix(UINT64_C(0xcbf29ce484222325), txn->id.bytes, sizeof txn->id.bytes);
  hash = mix_number(hash, (uint64_t)txn->state << 8 | (uint64_t)txn->heuristic);
  hash = mix_number(hash, txn->forgotten);
  hash = mix_number(hash, txn->created_ms);
  hash = mix_number(hash, txn->updated_ms);
  hash = mix_number(hash, txn->ended_ms);
  hash = mix_text(hash, txn->reason);
  hash = mix_text(hash, txn->idempotency_key);
  for (uint32_t i = 0; i < txn->branch_count; i++) {
    const struct vow_branch *branch = &txn->branches[i];
    hash = mix_number(hash, (uint64_t)branch->number << 16 | (uint64_t)branch->state << 8 |
                                (uint64_t)branch->vote);
    hash = mix_text(hash, branch->name);
    hash = mix_text(hash, branch->url);
  }
  return hash;
}
