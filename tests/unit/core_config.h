/* The limits and times that tests of the coordinator's core begin with: small enough to be reached.
 */
#ifndef VOW_TESTS_CORE_CONFIG_H
#define VOW_TESTS_CORE_CONFIG_H

#include "core/core.h"

static const struct vow_core_config core_config = {.transaction_timeout_ms = 60000,
                                                   .transaction_timeout_max_ms = 600000,
                                                   .prepare_timeout_ms = 5000,
                                                   .wait_timeout_ms = 20000,
                                                   .retry_min_ms = 100,
                                                   .retry_max_ms = 1600,
                                                   .preparing_record_after_ms = 1000,
                                                   .transactions_max = 200,
                                                   .branches_max = 8,
                                                   .waiters_max = 4,
                                                   .inflight_per_endpoint_max = 2,
                                                   .history_max = 64,
                                                   .id_reserve_ms = 10000};

#endif
