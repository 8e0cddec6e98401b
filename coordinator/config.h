/*
 * The daemon's configuration: one table says what there is; flags, environment, file, help, the
 * sample file and the messages about wrong values all follow from it.
 *
 * Sources, the stronger first: flag `--like-this`, variable `VOW_LIKE_THIS`, line `like_this =
 * value` of the file, default. Called by main.c, and by the tests.
 */
#ifndef VOW_COORDINATOR_CONFIG_H
#define VOW_COORDINATOR_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "vow/error.h"

/* X(KIND, key, default, min, max, reload, help)
 * KIND is TEXT (min..max bytes), NUMBER (min..max), LEVEL or FORMAT (words). `reload` says whether
 * SIGHUP may change it. The table's order is that of the help and of the sample file. */
/* clang-format off */
#define VOW_CONFIG_TABLE(X) \
  X(TEXT, listen, "127.0.0.1:7800", 3, 80, false, \
    "Address and port of the HTTP interface. There is no authentication: keep it on the loopback " \
    "address, or put a proxy in front of it. Port 0 takes any free one, which the log names.") \
  X(TEXT, log, "vow.log", 1, 4000, false, \
    "The transaction log, an SQLite database. It is made when it is missing; its folder must exist.") \
  X(TEXT, advertise_url, "", 0, 1024, false, \
    "The URL at which participants reach this daemon to ask for outcomes. Empty: http:// and the " \
    "address that it listens on.") \
  X(NUMBER, transaction_timeout_ms, "60000", 1, 86400000, true, \
    "A transaction that names no timeout of its own aborts when it is not decided after this time.") \
  X(NUMBER, prepare_timeout_ms, "20000", 1, 86400000, true, \
    "Votes are awaited this long after commit was asked; then the transaction aborts. Keep it below " \
    "wait_timeout_ms: a client that waits is then told that it aborted, and why.") \
  X(NUMBER, request_timeout_ms, "10000", 1, 3600000, true, \
    "One message to a participant is answered within this time or counts as failed.") \
  X(NUMBER, connect_timeout_ms, "3000", 1, 3600000, false, \
    "A connection to a participant is made within this time or counts as failed.") \
  X(NUMBER, wait_timeout_ms, "30000", 1, 3600000, true, \
    "A client that waits for an outcome is answered 202 after this time; the transaction goes on. " \
    "Clients should wait longer than this.") \
  X(NUMBER, idle_timeout_ms, "60000", 1000, 3600000, false, \
    "A client's connection on which nothing happens is closed after this time.") \
  X(NUMBER, drain_timeout_ms, "10000", 0, 3600000, true, \
    "At SIGTERM open transactions get this long to end. Those that do not are recovered at the next start.") \
  X(NUMBER, retry_min_ms, "100", 1, 3600000, true, \
    "The first pause before a participant that failed is tried again. Pauses double, with jitter.") \
  X(NUMBER, retry_max_ms, "30000", 1, 3600000, true, \
    "The longest such pause.") \
  X(NUMBER, retention_age_ms, "604800000", 0, 31536000000000, true, \
    "Ended transactions are kept as history for this long (7 days). An idempotency key counts only while its transaction is kept: afterwards the same request is a new one.") \
  X(NUMBER, retention_count, "1000000", 0, 1000000000000, true, \
    "And at most this many of them: at 1000 transactions a second, the last quarter of an hour, and their keys.") \
  X(NUMBER, disk_reserve_bytes, "67108864", 0, 1099511627776, true, \
    "So much room is kept, in a file beside the log, for open transactions to end. New ones are refused unless as much again is free.") \
  X(NUMBER, limits_body_bytes, "1048576", 1024, 67108864, false, \
    "The largest request body.") \
  X(NUMBER, limits_answer_bytes, "1048576", 1024, 67108864, false, \
    "The largest answer of a participant that is read.") \
  X(NUMBER, limits_connections, "8000", 1, 1000000, false, \
    "Clients' connections at once. Further ones wait in the kernel's queue.") \
  X(NUMBER, limits_outbound_connections, "2000", 1, 100000, false, \
    "Connections to participants at once.") \
  X(NUMBER, limits_transactions, "100000", 1, 10000000, true, \
    "Open transactions at once. Past it a begin is answered 503.") \
  X(NUMBER, limits_branches, "1000", 1, 1000, true, \
    "Branches of one transaction.") \
  X(NUMBER, limits_waiters, "64", 1, 100000, true, \
    "Clients that wait for the outcome of one transaction.") \
  X(NUMBER, limits_inflight_per_endpoint, "16", 1, 10000, true, \
    "Requests under way to one participant at once. To one that takes batches there are fewer, but while it is slow.") \
  X(NUMBER, limits_metadata_bytes, "4096", 2, 65536, true, \
    "A transaction's metadata as compact JSON.") \
  X(NUMBER, limits_history, "200", 10, 10000, true, \
    "History entries kept of one transaction.") \
  X(NUMBER, limits_transaction_timeout_ms, "3600000", 1, 86400000, true, \
    "The longest timeout that a client may ask for.") \
  X(LEVEL, log_level, "info", 0, 0, true, \
    "The least important events that are written to standard error.") \
  X(FORMAT, log_format, "text", 0, 0, true, \
    "How they are written: for people, or one JSON object a line.")
/* clang-format on */

struct vow_config_participant {
  char *name; /* owned */
  char *url;  /* owned; normal form */
};

/* Actions that a flag can ask for instead of serving. */
enum vow_config_action {
  VOW_CONFIG_SERVE = 0,
  VOW_CONFIG_HELP,
  VOW_CONFIG_VERSION,
  VOW_CONFIG_CHECK,
  VOW_CONFIG_PRINT
};

#define VOW_CONFIG_FIELD_TEXT   char *
#define VOW_CONFIG_FIELD_NUMBER uint64_t
#define VOW_CONFIG_FIELD_LEVEL  uint64_t /* enum vow_logger_level */
#define VOW_CONFIG_FIELD_FORMAT uint64_t /* enum vow_logger_format */

struct vow_config {
  /* One member an option, named by its key. */
#define VOW_CONFIG_MEMBER(kind, key, fallback, min, max, reload, help) VOW_CONFIG_FIELD_##kind key;
  VOW_CONFIG_TABLE(VOW_CONFIG_MEMBER)
#undef VOW_CONFIG_MEMBER
  struct vow_config_participant *participants; /* owned; names are unique */
  uint32_t participant_count;
  char *file;              /* owned; NULL: none was read */
  struct vow_buf warnings; /* one sentence a line */
  enum vow_config_action action;
};

#define VOW_CONFIG_PARTICIPANTS_MAX 1000
#define VOW_CONFIG_WHY_BYTES        512

/* Reads all sources. `environment` is a NULL-terminated list of "NAME=value". VOW_E_CONFIG with a
 * sentence that names the key, the value, where it came from and what is allowed; VOW_E_NO_MEMORY.
 * Blocks: reads the file. */
enum vow_error vow_config_load(struct vow_config *out, int argc, char *const *argv,
                               char *const *environment,
                               char why[VOW_CONFIG_WHY_BYTES]) VOW_MUST_CHECK;
void vow_config_fini(struct vow_config *config);

/* The text of --help; every option and its value; and the file that says the same as `config`, in
 * which options that have their default are commented out. */
void vow_config_help(struct vow_buf *out);
void vow_config_list(const struct vow_config *config, struct vow_buf *out);
void vow_config_print(const struct vow_config *config, struct vow_buf *out);

/* For SIGHUP: takes over from `fresh` what may change while the daemon runs, and leaves the rest of
 * `config` as it is. Appends one line for each changed option to `changed`, and for each that needs
 * a restart to `ignored`. `fresh` is emptied. */
void vow_config_reload(struct vow_config *config, struct vow_config *fresh, struct vow_buf *changed,
                       struct vow_buf *ignored);

/* The URL of a configured participant, or NULL. */
const char *vow_config_participant_url(const struct vow_config *config, const char *name);

#endif
