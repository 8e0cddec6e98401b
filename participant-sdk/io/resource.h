/*
 * What a database resource gives the participant, so that the effect on the database and the vote
 * (or the tombstone) share one database transaction. The participant's log lives in the resource's
 * database and owns the one connection; the hooks run on it, inside the log's open write
 * transaction, each within a savepoint of its own that is rolled back when the hook fails. Several
 * branches share one transaction and one sync (group commit).
 */
#ifndef VOW_SDK_RESOURCE_H
#define VOW_SDK_RESOURCE_H

#include "vow/participant.h"

struct sqlite3;

struct vow_resource {
  void *context;
  const char *path; /* of the database; the log opens it */
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
