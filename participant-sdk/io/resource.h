/*
 * What a database resource gives the participant, so that the effect on the database and the vote
 * (or the tombstone) share one database transaction. The participant's log lives in the resource's
 * database and owns the one connection; the hooks run on it, one at a time, called by whoever
 * writes the log, inside its open transaction. Several branches share one transaction and one sync
 * (group commit).
 *
 * Each hook runs within a savepoint of its own. It is rolled back when the hook does not say COMMIT
 * or VOW_OK, when it leaves a deferred foreign key violated, and when nothing could be recorded. A
 * branch that is committed in one phase gets prepare and commit in the same transaction. Because
 * the record is part of it, a hook is never called again for what it has done: a crash undoes both
 * or none.
 *
 * A hook must not begin, commit or roll back the transaction, nor touch savepoints that are not its
 * own. When the database rolls the transaction back by itself (disk full, out of memory) every
 * branch of it is told that it was not done.
 */
#ifndef VOW_SDK_RESOURCE_H
#define VOW_SDK_RESOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "vow/participant.h"

struct sqlite3;

struct vow_resource {
  void *context;
  const char *path;         /* of the database; it must exist; the log opens it */
  uint32_t busy_timeout_ms; /* wait this long for other writers; then a prepare votes abort, and a
                               commit or abort is answered 503 and comes again */
  /* Called once when the log has opened its connection: make tables, set up authorizer-free state.
   */
  enum vow_error (*attach)(void *context, struct sqlite3 *db, char *why, size_t why_bytes);
  /* COMMIT: the prepared work is in the open transaction. READ_ONLY, ABORT: nothing of it is. */
  enum vow_vote (*prepare)(void *context, struct sqlite3 *db, const struct vow_work *work,
                           struct vow_reason *reason);
  enum vow_error (*commit)(void *context, struct sqlite3 *db, const struct vow_work *work,
                           struct vow_reason *reason);
  enum vow_error (*abort)(void *context, struct sqlite3 *db, const struct vow_work *work,
                          struct vow_reason *reason);
  void (*detach)(void *context); /* before the connection is closed */
};

/* A resource's own view of itself (resources/sqlite.c implements it for struct vow_sqlite). */
const struct vow_resource *vow_sqlite_resource(struct vow_sqlite *sqlite);

#endif
