/*
 * Digests of what a participant's log and its application's database hold. They are added up, so
 * that the order in which things are found does not matter.
 */
#ifndef VOW_TESTS_CRASH_PARTICIPANT_DIGEST_H
#define VOW_TESTS_CRASH_PARTICIPANT_DIGEST_H

#include <stdint.h>

#include "proto/id.h"

uint64_t record_digest(const struct vow_id *id, uint64_t row, uint32_t kind, const char *payload);
uint64_t number_digest(const char *what, uint64_t a, int64_t b);
uint64_t changeset_digest(const char *transaction);

#endif
