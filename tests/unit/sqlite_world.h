/*
 * Drives the SQLite resource as the participant's log does, against a database file in a directory
 * of its own: one connection, a write transaction around each hook, a savepoint within. Shared by
 * the sqlite_adapter tests. The log is left out on purpose: what these tests say holds for any
 * caller that keeps the contract of io/resource.h.
 */
#ifndef VOW_TEST_SQLITE_WORLD_H
#define VOW_TEST_SQLITE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants those first. */
#include <cmocka.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/reason.h"
#include "io/resource.h"
#include "vow/sqlite.h"

#define LOCKED "is locked by a prepared transaction; see table vow_lock"

struct world {
  char folder[64];
  char path[96];
  struct vow_sqlite_options options;
  struct vow_sqlite *adapter;
  const struct vow_resource *resource;
  sqlite3 *db;     /* the log's connection */
  sqlite3 *other;  /* somebody else's */
  const char *sql; /* what the work does */
  enum vow_vote answer;
  int work_rc;
  char work_error[256];
  struct vow_reason reason;
};

void sql(sqlite3 *db, const char *text);
/* The statement must fail with this text in its error. */
void sql_fails(sqlite3 *db, const char *text, const char *expected);
/* All rows as "a|b\nc|d", NULL as "-". The caller frees. */
char *rows(sqlite3 *db, const char *query);
void expect(sqlite3 *db, const char *query, const char *expected);
struct vow_work work_of(int transaction);
void attach(struct world *w);
/* The same, as far as it comes; detach afterwards. */
enum vow_error try_attach(struct world *w, char *why, size_t why_bytes);
void detach(struct world *w);
struct world *world_new_with(const char *schema, const char *journal, int foreign_keys);
struct world *world_new(const char *schema);
void world_free(struct world *w);
/* One hook in a transaction of its own, as the log runs it when only one branch is at hand. */
enum vow_vote prepare_open(struct world *w, int transaction, const char *text);
enum vow_vote prepare(struct world *w, int transaction, const char *text);
void prepared(struct world *w, int transaction, const char *text);
/* The branch must vote abort, with this text in its reason. */
void refused(struct world *w, int transaction, const char *text, const char *expected);
enum vow_error finish_open(struct world *w, int transaction, bool commit);
enum vow_error finish(struct world *w, int transaction, bool commit);
void committed(struct world *w, int transaction);
void aborted(struct world *w, int transaction);
/* Nothing of any branch is left behind. */
void at_rest(struct world *w);

#endif
