/*
 * A transaction as JSON, as it is shown: the API's answers, vowctl's lists and exports. What the
 * log keeps of it is record.h. Pure.
 */
#ifndef VOW_COORDINATOR_TXN_JSON_H
#define VOW_COORDINATOR_TXN_JSON_H

#include "core/txn.h"
#include "json.h"

enum vow_txn_json_detail {
  VOW_TXN_JSON_SUMMARY, /* an entry of a list: everything but the history */
  VOW_TXN_JSON_WHOLE    /* GET of one: with history */
};

void vow_txn_json_write(struct vow_jsonw *w, const char *key, const struct vow_txn *txn,
                        enum vow_txn_json_detail detail);
/* Its parts, as answers show them alone. */
void vow_txn_json_write_branch(struct vow_jsonw *w, const char *key,
                               const struct vow_branch *branch);
void vow_txn_json_write_history(struct vow_jsonw *w, const char *key,
                                const struct vow_history *entry);

#endif
