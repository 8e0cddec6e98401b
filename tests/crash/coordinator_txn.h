/* Transactions of the coordinator's workload, made from a number, and a digest of what they say. */
#ifndef VOW_TESTS_CRASH_COORDINATOR_TXN_H
#define VOW_TESTS_CRASH_COORDINATOR_TXN_H

#include "core/txn.h"

struct txn_state {
  enum vow_txn_state state;
  enum vow_heuristic heuristic;
  bool ended, keyed, forgotten;
  bool lost; /* a crash came before any record of it was written */
};

struct vow_id txn_id(uint32_t n); /* larger n, larger id */
/* A few have long reasons, which need pages of their own. *txn is the caller's: vow_txn_fini it. */
void txn_fill(struct vow_txn *txn, uint32_t n, const struct txn_state *state);
uint64_t txn_digest(const struct vow_txn *txn);

#endif
