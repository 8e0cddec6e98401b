/*
 * A transaction as JSON: the log's record, the API's view, and the export are the same text,
 * written and read here. Pure. Called by the log (read), the daemon (write), vowctl (both).
 */
#ifndef VOW_COORDINATOR_RECORD_H
#define VOW_COORDINATOR_RECORD_H

#include "core/txn.h"
#include "json.h"

enum vow_record_detail {
  VOW_RECORD_SUMMARY, /* an entry of a list: everything but the history */
  VOW_RECORD_VIEW,    /* GET of one: with history */
  VOW_RECORD_LOG      /* what the log keeps: with history, idempotency key and request hash. Never a
                         payload. */
};

void vow_record_write(struct vow_jsonw *w, const char *key, const struct vow_txn *txn,
                      enum vow_record_detail detail);
/* Its parts, as answers show them alone. */
void vow_record_write_branch(struct vow_jsonw *w, const char *key, const struct vow_branch *branch);
void vow_record_write_history(struct vow_jsonw *w, const char *key,
                              const struct vow_history *entry);

/* Reads a VOW_RECORD_LOG text. *out is the caller's: vow_txn_fini it. VOW_E_LOG_CORRUPT with a
 * sentence. */
enum vow_error vow_record_read(const char *text, size_t bytes, struct vow_txn *out,
                               char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;

#endif
