/*
 * libvow, client side: begin, enlist, commit, abort, and one-shot transactions against a vowd.
 *
 * Errors are sorted by what you do next; see vow_error_class(): RETRY (ask again, the same way),
 * ABORT (this transaction is or must be aborted; start another), USAGE (mend the program), FATAL
 * (call somebody).
 *
 * VOW_E_OUTCOME_UNKNOWN from a commit means that the reply was lost: the transaction may have
 * committed or not. Call vow_commit again, as often as you like, also after restarting your
 * program: it answers the same once it answers. A commit whose reply is lost is asked again by the
 * library, too, for as long as the timeout allows, so a coordinator that restarts is not noticed.
 *
 * Threads: a client may be shared by threads; a transaction belongs to one thread at a time. All
 * calls block, at most their timeout.
 */
#ifndef VOW_CLIENT_H
#define VOW_CLIENT_H

#include <stddef.h>
#include <stdint.h>
#include <vow/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vow_client;
struct vow_transaction;

/* `url` is the coordinator's ("http://127.0.0.1:7800"). Blocks: no. Errors: INVALID_URL, NO_MEMORY.
 */
VOW_PUBLIC enum vow_error vow_client_open(struct vow_client **out, const char *url) VOW_MUST_CHECK;
VOW_PUBLIC void vow_client_close(struct vow_client *client); /* NULL is fine */
/* Of each request from here on; 0: the default of 45 s, which is longer than vowd waits for votes
 * (prepare_timeout_ms, 20 s) and for an outcome (wait_timeout_ms, 30 s) unless it is told
 * otherwise. With less, a participant that hangs makes an outcome "unknown" that is about to be
 * "aborted". */
#define VOW_CLIENT_TIMEOUT_MS 45000
VOW_PUBLIC void vow_client_set_timeout(struct vow_client *client, uint32_t timeout_ms);

/* Begins a transaction; it aborts by itself after timeout_ms (0: the coordinator's default). Owns:
 * *out is the caller's, see vow_transaction_free. Errors: UNREACHABLE, TIMEOUT, OVERLOADED,
 * LOADING, DRAINING, LOG_FULL, PROTOCOL. */
VOW_PUBLIC enum vow_error vow_begin(struct vow_client *client, uint32_t timeout_ms,
                                    struct vow_transaction **out) VOW_MUST_CHECK;
/* Takes up a transaction by id: another process began it, or this one before a restart. No request
 * is made. INVALID_ID. */
VOW_PUBLIC enum vow_error vow_join(struct vow_client *client, const char *id,
                                   struct vow_transaction **out) VOW_MUST_CHECK;
VOW_PUBLIC void vow_transaction_free(
    struct vow_transaction *transaction); /* ends nothing; NULL is fine */

/* One sentence on the last failure in this thread, also where there is no transaction to ask; "" if
 * the last call succeeded. Borrowed until the thread's next call. */
VOW_PUBLIC const char *vow_client_error(void);

VOW_PUBLIC const char *vow_transaction_id(const struct vow_transaction *transaction); /* borrowed */
/* One sentence on the last failure, with the coordinator's own words; "" if there was none.
 * Borrowed until the next call. */
VOW_PUBLIC const char *vow_transaction_error(const struct vow_transaction *transaction);

/* Adds a branch at `url`. `name` is unique in the transaction; NULL: one is made up. `payload` is
 * JSON handed over with prepare, or NULL. The same call again is the same branch, also after an
 * error that asks for another try; the same name with another URL or payload is NAME_CONFLICT.
 * Errors: INVALID_URL, INVALID_JSON, NAME_CONFLICT, ILLEGAL_STATE, ABORTED, UNKNOWN_TRANSACTION,
 * and those of vow_begin.
 */
VOW_PUBLIC enum vow_error vow_enlist(struct vow_transaction *transaction, const char *url,
                                     const char *name, const char *payload,
                                     uint32_t *branch_out) VOW_MUST_CHECK;

/* Calls a service under the transaction: POSTs JSON to `url` with the header `Vow-Transaction:
 * <id>`, so that it can enlist. *status_out and *body_out (vow_free it; may be NULL) get its
 * answer, whatever the status. The request is sent once, at most: after UNREACHABLE or TIMEOUT the
 * service may have done its work, and whoever calls again may have it done twice. Errors:
 * UNREACHABLE, TIMEOUT, INVALID_URL; PROTOCOL when the body is asked for and has a NUL byte in it,
 * which no JSON has. */
VOW_PUBLIC enum vow_error vow_call(struct vow_transaction *transaction, const char *url,
                                   const char *body, int *status_out,
                                   char **body_out) VOW_MUST_CHECK;

/* Blocks: until the outcome is known, at most the timeout. VOW_OK: committed, durably. ABORTED:
 * aborted; vow_transaction_error says why. HEURISTIC: a participant broke its promise; an operator
 * sees it, too. OUTCOME_UNKNOWN: ask again; if the sentence says that the coordinator no longer
 * knows, its history was purged before it could be asked, and only the participants know. */
VOW_PUBLIC enum vow_error vow_commit(struct vow_transaction *transaction) VOW_MUST_CHECK;
/* VOW_OK: aborted, or will be as nothing else is possible. ILLEGAL_STATE: it is committed.
 * OUTCOME_UNKNOWN: ask again, as it may yet commit where commit was asked. UNREACHABLE: likewise;
 * where commit was not asked it aborts at its timeout by itself. */
VOW_PUBLIC enum vow_error vow_abort(struct vow_transaction *transaction) VOW_MUST_CHECK;

/* One-shot: begin, enlist all, commit, in one request. */
struct vow_branch_spec {
  const char *url;
  const char *name;    /* or NULL */
  const char *payload; /* JSON or NULL */
};
/* `key` (1 to 255 visible ASCII characters) is one of yours that no other transaction has, such as
 * an order number; NULL or "" is INVALID_ARGUMENT. It makes the call safe to repeat
 * (Idempotency-Key): after OUTCOME_UNKNOWN, UNREACHABLE or TIMEOUT call again with the same key and
 * the same timeout and branches, byte for byte, also after your program has crashed, and it is done
 * once (*out may have another id after the coordinator crashed: the first has aborted then). The
 * coordinator knows the key for as long as it keeps the transaction in its history (7 days, unless
 * retention_age_ms or retention_count say otherwise); later the same key begins a new one. After
 * ABORTED the same key is answered ABORTED: to try again needs another, such as the order number
 * with the count of the try, which you keep. Errors as vow_commit and vow_enlist. *out (may be
 * NULL) is as of vow_begin when the transaction is known, else NULL. */
VOW_PUBLIC enum vow_error vow_one_shot(struct vow_client *client, const char *key,
                                       uint32_t timeout_ms, const struct vow_branch_spec *branches,
                                       size_t branch_count,
                                       struct vow_transaction **out) VOW_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
