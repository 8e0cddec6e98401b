/*
 * What participants answer to `vowctl reconcile` in the story of the coordinator's log: there are
 * two, and the first knows how every transaction was decided.
 */
#ifndef VOW_TESTS_CRASH_COORDINATOR_PARTICIPANTS_H
#define VOW_TESTS_CRASH_COORDINATOR_PARTICIPANTS_H

#include <stdbool.h>

#include "id.h"
#include "position.h"

#define PARTICIPANTS "http://127.0.0.1:7001/bank-0,http://127.0.0.1:7001/bank-1"

struct participants {
  bool silent; /* the first does not answer */
  uint32_t now;
  struct vow_log_position lost; /* the log had come so far when it was lost, */
  uint64_t position;            /* and is back here, */
  uint32_t back;                /* since then */
};
void participants_set(struct participants answers);
uint32_t participants_txn_number(struct vow_id id);

#endif
