/*
 * What the files of the SQLite resource share. Nobody else includes this.
 *
 *   sqlite.c            the public functions and the hooks: capture at prepare, apply or drop later
 *   sqlite_statement.c  vow's tables, statements on them, failures in words
 *   sqlite_authorize.c  what the work may not do
 *   sqlite_table.c      what is known of one table: columns, keys, foreign keys
 *   sqlite_guard.c      the persistent triggers, and the memory of which tables have them
 *   sqlite_change.c     reading a changeset
 *   sqlite_complete.c   completing one where rows lack columns
 *   sqlite_lock.c       the locks of a captured change
 *   sqlite_apply.c      carrying a changeset out
 *
 * All of it runs on the one connection of the participant's log, inside its write transaction, on
 * one thread at a time.
 *
 * Tables in the application's database:
 *   vow_changeset  one row a prepared branch: what it will do
 *   vow_lock       one row a key (primary, or of a unique index) that a prepared branch relies on
 *   vow_guard      one row: the schema version at which every guard was seen to be in place
 *
 * Invariants:
 *   G1  A table with rows in vow_lock has the guard triggers that its present schema asks for, as
 * far as SQLite lets triggers survive; they are made in the transaction that makes the first lock.
 *   G2  A branch's changeset and locks appear and vanish in one transaction.
 *   G3  Everything a changeset reads when it is applied (old values, absence of a key, a parent
 * row) is covered by a lock from the prepare on. G4  What is remembered in memory about the schema
 * is used only if vow_guard holds the very row that was written with it: a rollback takes both
 * back.
 */
#ifndef VOW_SDK_SQLITE_INTERNAL_H
#define VOW_SDK_SQLITE_INTERNAL_H

#define SQLITE_ENABLE_SESSION        1
#define SQLITE_ENABLE_PREUPDATE_HOOK 1
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "io/resource.h"
#include "vow/sqlite.h"

#define VOW_SQLITE_WHY_BYTES       256
#define VOW_SQLITE_KEY_COLUMNS_MAX 8 /* as many as vow_lock has */
#define VOW_SQLITE_UPDATES_CACHED  4 /* statements a table, one for each set of columns */
#define VOW_SQLITE_PRIMARY_KEY     "PRIMARY KEY" /* its name in vow_lock.idx */

/* How a key is relied on; stored in vow_lock.mode. */
enum vow_sqlite_mode {
  VOW_SQLITE_REFERENCED = 1, /* a prepared row refers to it: it may change, but keep its keys */
  VOW_SQLITE_UPDATED = 2,    /* its row will change and keep this key */
  VOW_SQLITE_MOVED = 3       /* the key will appear, vanish, or belong to another row */
};

/* The primary key (always the first) or a unique index. */
struct vow_sqlite_key {
  char *name; /* as in vow_lock.idx */
  int columns[VOW_SQLITE_KEY_COLUMNS_MAX];
  char *collations[VOW_SQLITE_KEY_COLUMNS_MAX];
  int column_count;
  bool partial;          /* has a WHERE: treated as if every write moved its key */
  sqlite3_stmt *holders; /* who has locked this key */
};

/* A foreign key of the table. */
struct vow_sqlite_reference {
  struct vow_sqlite_table *parent;         /* NULL: there is no such table */
  int columns[VOW_SQLITE_KEY_COLUMNS_MAX]; /* of ours */
  int targets[VOW_SQLITE_KEY_COLUMNS_MAX]; /* of the parent's */
  int column_count;
  sqlite3_stmt *find; /* all columns of the parent's row by the values of ours */
};

struct vow_sqlite_table {
  struct vow_sqlite_table *next;
  char *name;
  char *refusal; /* a sentence, when its changes cannot be prepared; then nothing below is filled */
  char **columns;
  bool *referenced; /* a column that another table's foreign key refers to */
  int column_count;
  bool nullable;    /* SQLite would allow a NULL in the primary key */
  bool has_default; /* a column has one */
  bool autoincrement;
  const char
      *rowid; /* the name of a rowid that is no column; NULL: there is none, or it has none */
  bool is_parent;
  bool has_partial_key;
  bool guarded;        /* the triggers were seen in place */
  bool self_contained; /* no trigger is on it but the guards, and with foreign keys on no foreign
                          key leads from it or to it */
  struct vow_sqlite_key *keys;
  int key_count;
  struct vow_sqlite_reference *references;
  int reference_count;
  bool references_loaded;
  sqlite3_stmt *read, *insert, *delete_;
  struct {
    uint64_t columns;
    sqlite3_stmt *statement;
  } updates[VOW_SQLITE_UPDATES_CACHED];
  unsigned update_next;
  /* Scratch, one borrowed value or NULL a column: the change at hand, and a row that it refers to.
   */
  sqlite3_value **old, **new_, **other;
};

enum vow_sqlite_statement {
  VOW_SQLITE_SAVEPOINT,
  VOW_SQLITE_ROLLBACK_TO,
  VOW_SQLITE_RELEASE,
  VOW_SQLITE_SCHEMA_VERSION,
  VOW_SQLITE_GUARD_READ,
  VOW_SQLITE_GUARD_WRITE,
  VOW_SQLITE_CHANGESET_READ,
  VOW_SQLITE_CHANGESET_WRITE,
  VOW_SQLITE_CHANGESET_DELETE,
  VOW_SQLITE_LOCK_WRITE,
  VOW_SQLITE_LOCKS_DELETE,
  VOW_SQLITE_SEQUENCE_ADD,
  VOW_SQLITE_SEQUENCE_RAISE,
  VOW_SQLITE_STATEMENT_COUNT
};

struct vow_sqlite_names {
  char **items; /* owned */
  size_t count;
};

struct vow_sqlite {
  struct vow_sqlite_options options;
  char *path;
  struct vow_resource resource;
  sqlite3 *db; /* the log's; NULL while detached */
  sqlite3_stmt *statements[VOW_SQLITE_STATEMENT_COUNT];

  struct vow_sqlite_table *tables;     /* those that were looked at */
  struct vow_sqlite_names untouchable; /* virtual tables and what is inside them, sorted */
  int64_t guard_mark; /* of the vow_guard row that belongs to what is remembered; 0: nothing is */

  bool set_up;     /* the application's setup has run, its teardown has not */
  bool enforced;   /* triggers are on, and foreign keys if they are wanted */
  bool working;    /* the application's callback is running: the authorizer is strict */
  bool overflowed; /* the work changed more than may be captured */
  sqlite3_session *session;
  struct vow_sqlite_names touched; /* tables the work wrote to */
  enum vow_error touched_error;

  char why[VOW_SQLITE_WHY_BYTES]; /* a sentence on the last failure */
};

/* One row of a changeset; its values are in table->old and table->new_, as far as the changeset
 * holds them: an UPDATE holds the primary key (old only) and what changes (both). */
struct vow_sqlite_change {
  struct vow_sqlite_table *table;
  int op;           /* SQLITE_INSERT, SQLITE_UPDATE, SQLITE_DELETE */
  int column_count; /* that the table had at prepare; at most table->column_count */
};

/* ---- sqlite_statement.c ---- */
enum vow_error vow_sqlite_install(struct vow_sqlite *sq) VOW_MUST_CHECK; /* vow's tables */
void vow_sqlite_statements_finalize(struct vow_sqlite *sq);
/* Notes the sentence and returns `error`. */
enum vow_error vow_sqlite_fail(struct vow_sqlite *sq, enum vow_error error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The error of SQLite's result code (VOW_OK for SQLITE_OK), with SQLite's words in the sentence. */
enum vow_error vow_sqlite_failed(struct vow_sqlite *sq, int rc, const char *doing) VOW_MUST_CHECK;
enum vow_error vow_sqlite_too_large(struct vow_sqlite *sq) VOW_MUST_CHECK;
enum vow_error vow_sqlite_exec(struct vow_sqlite *sq, const char *sql) VOW_MUST_CHECK;
/* These two take the text over (made by sqlite3_mprintf; NULL: out of memory). */
enum vow_error vow_sqlite_exec_made(struct vow_sqlite *sq, char *sql) VOW_MUST_CHECK;
enum vow_error vow_sqlite_prepare_made(struct vow_sqlite *sq, char *sql,
                                       sqlite3_stmt **out) VOW_MUST_CHECK;
/* *row_out is true with a row. The caller resets. */
enum vow_error vow_sqlite_step(struct vow_sqlite *sq, sqlite3_stmt *statement,
                               bool *row_out) VOW_MUST_CHECK;
/* Steps a statement that returns no row, and resets it. */
enum vow_error vow_sqlite_run(struct vow_sqlite *sq, sqlite3_stmt *statement) VOW_MUST_CHECK;
/* One of vow's own statements, prepared at its first use. Borrowed. */
enum vow_error vow_sqlite_statement(struct vow_sqlite *sq, enum vow_sqlite_statement which,
                                    sqlite3_stmt **out) VOW_MUST_CHECK;
enum vow_error vow_sqlite_run_plain(struct vow_sqlite *sq,
                                    enum vow_sqlite_statement which) VOW_MUST_CHECK;
/* With the branch bound to its first two parameters (borrowed from `work`). */
enum vow_error vow_sqlite_branch_statement(struct vow_sqlite *sq, enum vow_sqlite_statement which,
                                           const struct vow_work *work,
                                           sqlite3_stmt **out) VOW_MUST_CHECK;
enum vow_error vow_sqlite_run_branch(struct vow_sqlite *sq, enum vow_sqlite_statement which,
                                     const struct vow_work *work) VOW_MUST_CHECK;
enum vow_error vow_sqlite_names_add(struct vow_sqlite *sq, struct vow_sqlite_names *names,
                                    const char *name) VOW_MUST_CHECK;
void vow_sqlite_names_fini(struct vow_sqlite_names *names);

/* ---- sqlite_authorize.c ---- */
enum vow_error vow_sqlite_authorize(struct vow_sqlite *sq) VOW_MUST_CHECK; /* once a connection */
enum vow_error vow_sqlite_untouchable_load(struct vow_sqlite *sq) VOW_MUST_CHECK;
bool vow_sqlite_is_untouchable(const struct vow_sqlite *sq, const char *name);

/* ---- sqlite_table.c ---- */
/* What is known of a table; reads the schema the first time. Borrowed until the next forget. *out
 * is NULL when there is no such table. */
enum vow_error vow_sqlite_table_get(struct vow_sqlite *sq, const char *name,
                                    struct vow_sqlite_table **out) VOW_MUST_CHECK;
enum vow_error vow_sqlite_references_load(struct vow_sqlite *sq,
                                          struct vow_sqlite_table *table) VOW_MUST_CHECK;
void vow_sqlite_tables_forget(struct vow_sqlite *sq);
/* "SELECT <all columns> FROM <table>". */
void vow_sqlite_select_columns(sqlite3_str *sql, const struct vow_sqlite_table *table);
/* Appends "name(column KEY,column)\n" with the first `columns` of them. */
void vow_sqlite_table_describe(const struct vow_sqlite_table *table, int columns,
                               struct vow_buf *out);

/* ---- sqlite_guard.c ---- */
/* Called first in every hook: when the schema changed since the guards were last seen in place,
 * puts them in place again and forgets what was known. */
enum vow_error vow_sqlite_guard_refresh(struct vow_sqlite *sq) VOW_MUST_CHECK;
enum vow_error vow_sqlite_guard_table(struct vow_sqlite *sq,
                                      struct vow_sqlite_table *table) VOW_MUST_CHECK;
/* Whether the table has no other triggers. */
enum vow_error vow_sqlite_guard_is_alone(struct vow_sqlite *sq,
                                         const struct vow_sqlite_table *table,
                                         bool *out) VOW_MUST_CHECK;
/* CANNOT_CAPTURE if a row of the table has a NULL in its primary key. */
enum vow_error vow_sqlite_guard_check_nulls(struct vow_sqlite *sq,
                                            struct vow_sqlite_table *table) VOW_MUST_CHECK;
/* "tbl = … AND idx = … AND k1 = …": the locks on a key. `row` is "NEW" or "OLD", or NULL for
 * parameters ?1, ?2, … */
void vow_sqlite_match(sqlite3_str *sql, const struct vow_sqlite_table *table,
                      const struct vow_sqlite_key *key, const char *row);

/* ---- sqlite_change.c: reading a changeset ---- */
/* The iterator's present change. Its values are borrowed until the iterator moves on. */
enum vow_error vow_sqlite_change_load(struct vow_sqlite *sq, sqlite3_changeset_iter *iterator,
                                      struct vow_sqlite_change *out) VOW_MUST_CHECK;
/* Whether the database is as it was when the change was captured: an INSERT's row is not there,
 * that of an UPDATE or DELETE is, with the old values. CONFLICT if not. Fills in the columns that
 * do not change, from the row; the caller resets table->read after success. */
enum vow_error vow_sqlite_change_meet(struct vow_sqlite *sq,
                                      const struct vow_sqlite_change *change) VOW_MUST_CHECK;
/* " WHERE key1 = ?n AND …": the row of a primary key, from this parameter on. */
void vow_sqlite_where_primary_key(sqlite3_str *sql, const struct vow_sqlite_table *table,
                                  int parameter);
/* True if the update may take a key away from the row or give it another. */
bool vow_sqlite_key_moves(const struct vow_sqlite_table *table, const struct vow_sqlite_key *key);
/* Appends what the changeset relies on: a line for each of its tables.
 * *self_contained (or NULL): all of them are. */
enum vow_error vow_sqlite_describe(struct vow_sqlite *sq, const struct vow_buf *changeset,
                                   struct vow_buf *out, bool *self_contained) VOW_MUST_CHECK;

/* ---- sqlite_complete.c ---- */
/* Corrects what the session took down of rows that lack a column; runs on the state without the
 * work, with the session still there. */
enum vow_error vow_sqlite_complete(struct vow_sqlite *sq, struct vow_buf *changeset) VOW_MUST_CHECK;

/* ---- sqlite_lock.c ---- */
/* A session tells primary keys apart byte by byte. If the work replaced one by another that SQLite
 * takes for equal (1 and 1.0), the changeset does not fit the rows that it was taken from. */
enum vow_error vow_sqlite_rewritten_key(struct vow_sqlite *sq,
                                        const struct vow_sqlite_table *table) VOW_MUST_CHECK;
/* Locks everything that a changeset relies on; runs on the state without it. */
enum vow_error vow_sqlite_lock_changeset(struct vow_sqlite *sq, const struct vow_work *work,
                                         const struct vow_buf *changeset) VOW_MUST_CHECK;

/* ---- sqlite_apply.c ---- */
/* Triggers, and foreign keys if the options want them, on or off. To switch them makes SQLite
 * compile every statement of the connection anew: so a commit leaves them as they are where they
 * make no difference, else off, and the next prepare switches them on. */
enum vow_error vow_sqlite_enforce(struct vow_sqlite *sq, bool on) VOW_MUST_CHECK;
/* Carries the changeset out, without the application's triggers and foreign keys: what they did at
 * prepare is part of it. They stay on where its tables are self-contained. The branch's own locks
 * must be gone. */
enum vow_error vow_sqlite_apply(struct vow_sqlite *sq, const struct vow_buf *changeset,
                                bool self_contained) VOW_MUST_CHECK;

#endif
