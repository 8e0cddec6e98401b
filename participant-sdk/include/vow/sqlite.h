/*
 * libvow, SQLite resource: the embedded default for a participant whose work is SQL on a SQLite
 * database.
 *
 * You give one callback that runs your SQL. It runs at prepare, inside a transaction of ours; what
 * it changed is captured (as a changeset of SQLite's session extension), rolled back, and stored in
 * the same database together with locks on the rows and with the vote, in one SQLite transaction.
 * At commit the changeset is applied and the locks are dropped, again in one transaction. Until
 * then everybody else sees the old rows, and whoever tries to change a locked row, from any
 * connection and any process, gets SQLITE_CONSTRAINT_TRIGGER with the message "vow: a row of … is
 * locked by a prepared transaction; see table vow_lock". A branch that meets a locked row votes
 * abort. Several branches can be prepared at once, as long as they touch different rows.
 *
 * What can't be captured is refused at prepare with a sentence (vote abort): tables without a
 * primary key, a NULL in a primary key, schema changes, virtual and temporary tables, generated
 * columns, unique indexes on expressions or with the application's own collations, and, with
 * foreign keys on, deleting or re-keying a row that other tables refer to.
 *
 * Isolation: what the callback writes is protected from the prepare on. What it only reads is not,
 * and may change before commit. Make what must hold at commit part of a row you write (as an
 * account's balance is, with its CHECK).
 *
 * What vow keeps in your database: tables, and triggers on the tables that took part, whose names
 * begin with "vow_". See participant-sdk/README.md for what the triggers cannot see. Beside it lies
 * an empty file, its name and "-vow.lock", by which a second participant is refused: it is not a
 * leftover, and must not be removed while one runs.
 */
#ifndef VOW_SQLITE_H
#define VOW_SQLITE_H

#include <stddef.h>
#include <stdint.h>
#include <vow/participant.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sqlite3;
struct vow_sqlite;

/* Runs the branch's SQL on `db` (inside a transaction: no BEGIN, COMMIT or ROLLBACK; savepoints are
 * fine). VOW_VOTE_COMMIT, VOW_VOTE_ABORT with a reason, or VOW_VOTE_READ_ONLY. A COMMIT vote that
 * changed nothing becomes READ_ONLY; an ABORT without a reason gets SQLite's last error for one. A
 * failed statement followed by a COMMIT vote is a prepared branch without that statement: check
 * what sqlite3_step returns.
 *
 * Be quick: the call holds the database's write lock, and other branches wait. Use no other
 * connection to the same database. Calls come one at a time, from vow's threads or, with 0
 * `callback_threads`, those that call vow_participant_handle; finalize what you prepare before you
 * return, or keep it until `teardown`. */
typedef enum vow_vote (*vow_sqlite_work_fn)(void *context, struct sqlite3 *db,
                                            const struct vow_work *work, struct vow_reason *reason);

/* Called once on the connection that the work will run on, before it is used: the place for
 * application-defined functions and collations. Not for SQL. Anything but VOW_OK fails the open,
 * and so does another value of PRAGMA synchronous, wal_autocheckpoint or foreign_keys (which has an
 * option), a journal_mode OFF or MEMORY, a transaction that is left open, or a temporary trigger on
 * a table of the database: SQLite fires those at prepare and again at commit, and cannot be told
 * not to. */
typedef enum vow_error (*vow_sqlite_setup_fn)(void *context, struct sqlite3 *db);

/* Called before that connection is closed. Statements that the work keeps from one call to the next
 * (they save compiling them, which is most of what a short work costs) are finalized here. */
typedef void (*vow_sqlite_teardown_fn)(void *context, struct sqlite3 *db);

struct vow_sqlite_options {
  size_t size;      /* set by _init */
  const char *path; /* the application's database; must exist and have its tables. WAL mode is
                       recommended. */
  vow_sqlite_work_fn work;
  vow_sqlite_setup_fn setup;       /* or NULL */
  vow_sqlite_teardown_fn teardown; /* or NULL */
  void *context;
  uint32_t busy_timeout_ms;   /* wait for other writers of the database; default 5000 */
  size_t changeset_bytes_max; /* of one branch; default 16 MiB */
  uint32_t rows_max;          /* rows locked by one branch; default 100000 */
  int foreign_keys;           /* enforce them while the work runs; default 0, as in SQLite */
};
VOW_PUBLIC void vow_sqlite_options_init(struct vow_sqlite_options *options);

/* Looks whether the database can be used. Give the result to vow_participant_options.sqlite, and
 * close it after the participant; vow_participant_open makes vow's tables and is where a second
 * process that takes part with the same database gets LOG_LOCKED. Blocks: on disk. Owns: *out is
 * the caller's. Errors: INVALID_ARGUMENT, DATABASE, LOG_*; `why` (may be NULL) gets a sentence. */
VOW_PUBLIC enum vow_error vow_sqlite_open(struct vow_sqlite **out,
                                          const struct vow_sqlite_options *options, char *why,
                                          size_t why_bytes) VOW_MUST_CHECK;
VOW_PUBLIC void vow_sqlite_close(struct vow_sqlite *resource); /* NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
