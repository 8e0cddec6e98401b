/*
 * What the log keeps of a transaction: all but its id, which is the row's, and payloads, which are
 * never stored. Pure. Called by the log, and by vowctl for copies.
 */
#ifndef VOW_COORDINATOR_RECORD_H
#define VOW_COORDINATOR_RECORD_H

#include "buf.h"
#include "core/txn.h"
#include "json.h"

/* Appends; what failed is the buffer's error. */
void vow_record_write(struct vow_buf *out, const struct vow_txn *txn);

/* Reads what that wrote, or a version before it. *out is the caller's: vow_txn_fini it.
 * VOW_E_LOG_CORRUPT with a sentence. */
enum vow_error vow_record_read(struct vow_id id, const char *text, size_t bytes,
                               struct vow_txn *out, char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;

#endif
