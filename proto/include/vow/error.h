/*
 * The errors of vow: one table for the coordinator, the SDK, the wire and the documentation.
 *
 * Every fallible function of vow returns `enum vow_error`. Outputs are written last and are left
 * untouched on failure. The class says what the caller does next; it is stable, as are the numbers
 * and the slugs:
 *
 *   RETRY  nothing is wrong with the request; ask again later, the same way
 *   ABORT  this transaction cannot commit; start a new one if the work still matters
 *   USAGE  the request is wrong; asking again gives the same answer
 *   FATAL  this process or installation needs attention before anything else is tried
 *
 * On the wire an error is application/problem+json (RFC 9457) whose `type` is "urn:vow:" followed
 * by the slug.
 */
#ifndef VOW_ERROR_H
#define VOW_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define VOW_MUST_CHECK __attribute__((warn_unused_result))
#define VOW_PUBLIC     __attribute__((visibility("default")))
#else
#define VOW_MUST_CHECK
#define VOW_PUBLIC
#endif

/* X(number, NAME, CLASS, http status, slug, text). Numbers are never reused. */
/* clang-format off */
#define VOW_ERROR_TABLE(X) \
  X( 0, OK,                     NONE,  200, "ok",                     "success") \
  X( 1, NO_MEMORY,              FATAL, 500, "out-of-memory",          "out of memory") \
  X( 2, INTERNAL,               FATAL, 500, "internal-error",         "internal error") \
  X( 3, INVALID_ARGUMENT,       USAGE, 400, "invalid-argument",       "invalid argument") \
  X( 4, INVALID_JSON,           USAGE, 400, "invalid-json",           "the body is not valid JSON") \
  X( 5, INVALID_REQUEST,        USAGE, 400, "invalid-request",        "the request does not have the documented shape") \
  X( 6, INVALID_ID,             USAGE, 400, "invalid-id",             "not a transaction id (a UUID is expected)") \
  X( 7, INVALID_URL,            USAGE, 400, "invalid-url",            "not an http or https URL that can be used") \
  X( 8, ROUTE_NOT_FOUND,        USAGE, 404, "route-not-found",        "no such route") \
  X( 9, METHOD_NOT_ALLOWED,     USAGE, 405, "method-not-allowed",     "this route does not take this method") \
  X(10, NOT_ACCEPTABLE_TYPE,    USAGE, 415, "unsupported-media-type", "the body must be application/json") \
  X(11, BODY_TOO_LARGE,         USAGE, 413, "body-too-large",         "the body is larger than the limit") \
  X(12, LIMIT_EXCEEDED,         USAGE, 422, "limit-exceeded",         "a documented limit is exceeded") \
  X(13, UNKNOWN_TRANSACTION,    USAGE, 404, "unknown-transaction",    "no such transaction is known here") \
  X(14, UNKNOWN_BRANCH,         FATAL, 404, "unknown-branch",         "no such branch is known here") \
  X(15, UNKNOWN_PARTICIPANT,    USAGE, 404, "unknown-participant",    "no participant of this name is configured") \
  X(16, ILLEGAL_STATE,          USAGE, 409, "illegal-state",          "the transaction's state does not allow this") \
  X(17, NAME_CONFLICT,          USAGE, 409, "name-conflict",          "the name is already used by another branch") \
  X(18, KEY_CONFLICT,           USAGE, 422, "idempotency-key-reused", "the Idempotency-Key was used with another request") \
  X(19, ABORTED,                ABORT, 409, "transaction-aborted",    "the transaction is aborted") \
  X(20, HEURISTIC,              FATAL, 409, "heuristic-outcome",      "a participant ended its branch against the decision") \
  X(21, OVERLOADED,             RETRY, 503, "overloaded",             "a limit of concurrent work is reached") \
  X(22, LOADING,                RETRY, 503, "loading",                "the log is still being read") \
  X(23, DRAINING,               RETRY, 503, "draining",               "the daemon is shutting down") \
  X(24, LOG_FULL,               RETRY, 507, "log-full",               "the disk of the transaction log has too little room") \
  X(25, LOG_LOCKED,             FATAL, 503, "log-locked",             "the log is in use by another process") \
  X(26, LOG_CORRUPT,            FATAL, 500, "log-corrupt",            "the log is damaged") \
  X(27, LOG_VERSION,            FATAL, 500, "log-version",            "the log was written by another version") \
  X(28, LOG_IO,                 FATAL, 500, "log-io",                 "the log cannot be read or written") \
  X(29, LOG_READ_ONLY,          FATAL, 500, "log-read-only",          "the log cannot be written: read-only") \
  X(30, UNREACHABLE,            RETRY, 502, "unreachable",            "the other side cannot be reached") \
  X(31, TIMEOUT,                RETRY, 504, "timeout",                "no answer within the time allowed") \
  X(32, PROTOCOL,               FATAL, 502, "protocol-error",         "the other side's answer is not of the protocol") \
  X(33, OUTCOME_UNKNOWN,        RETRY, 504, "outcome-unknown",        "the reply was lost; ask for the outcome again") \
  X(34, CONFLICT,               ABORT, 409, "conflict",               "a row is locked by a prepared transaction") \
  X(35, CANNOT_CAPTURE,         USAGE, 409, "cannot-capture",         "this change cannot be prepared") \
  X(36, CONFIG,                 USAGE, 500, "invalid-configuration",  "the configuration is not valid") \
  X(37, ADDRESS_IN_USE,         FATAL, 500, "address-in-use",         "the address is in use by another process") \
  X(38, DATABASE,               FATAL, 500, "database-error",         "the database reports an error") \
  X(39, FORBIDDEN,              USAGE, 403, "forbidden",              "this coordinator is not one that may coordinate here") \
  X(40, BACKUP_EXISTS,          USAGE, 409, "backup-exists",          "there is something at the backup's path already") \
  X(41, BACKUP_IO,              USAGE, 500, "backup-failed",          "the backup cannot be written there") \
  X(42, QUARANTINED,            RETRY, 503, "quarantined",            "the log may have lost records and waits for an operator") \
  X(43, LOG_BEHIND,             RETRY, 503, "log-behind",             "the coordinator's log lacks what it has told before") \
  X(44, LOG_MOVED,              RETRY, 503, "log-moved",              "the file of the transaction log is no longer at its path")
/* clang-format on */

enum vow_error {
#define VOW_ERROR_ENUM(number, name, class_, status, slug, text) VOW_E_##name = number,
  VOW_ERROR_TABLE(VOW_ERROR_ENUM)
#undef VOW_ERROR_ENUM
      VOW_OK = 0
};

enum vow_error_class {
  VOW_CLASS_NONE = 0,
  VOW_CLASS_RETRY = 1,
  VOW_CLASS_ABORT = 2,
  VOW_CLASS_USAGE = 3,
  VOW_CLASS_FATAL = 4
};

/* One English sentence without a final stop; never NULL. Never blocks; any thread. */
VOW_PUBLIC const char *vow_error_text(enum vow_error error);

/* What the caller does next. Never blocks; any thread. */
VOW_PUBLIC enum vow_error_class vow_error_class(enum vow_error error);

/* The HTTP status that carries this error, and the stable slug of its problem type. Never NULL. */
VOW_PUBLIC int vow_error_http_status(enum vow_error error);
VOW_PUBLIC const char *vow_error_slug(enum vow_error error);

/* The error of this slug (with or without the "urn:vow:" in front), or VOW_E_PROTOCOL when it is
 * none of ours. */
VOW_PUBLIC enum vow_error vow_error_from_slug(const char *slug);

#ifdef __cplusplus
}
#endif
#endif
