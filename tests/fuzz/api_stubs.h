/*
 * What stands under the API where it is fuzzed: an HTTP server without sockets, a driver with the
 * real core, a log and participants that answer when they are asked to. The names of the functions
 * are those of coordinator/io; no file of it that talks to the world is linked.
 */
#ifndef VOW_FUZZ_API_STUBS_H
#define VOW_FUZZ_API_STUBS_H

#include "io/driver.h"
#include "io/server.h"
#include "json.h"

#define STUB_PAIRS_MAX 16

struct stub_pair {
  char *name, *value; /* borrowed from the request's text; value is NULL where there is none */
};

/* One request, and what came of it. */
struct vow_server_request {
  char *text; /* owned; everything below points into it */
  const char *method, *path, *body;
  size_t body_bytes;
  bool too_large, no_room, query_malformed;
  struct stub_pair query[STUB_PAIRS_MAX], headers[STUB_PAIRS_MAX];
  unsigned query_count, header_count;
  size_t added; /* bytes of the answer's headers */
  void *data;
  bool answered, gone;
  int status;
};

/* A request out of the bytes of an input; NULL: they are none. The caller frees it. */
struct vow_server_request *stub_request(const uint8_t *data, size_t bytes, struct vow_id latest);
void stub_request_free(struct vow_server_request *request);

struct vow_driver *stub_driver_new(const struct vow_core_config *config);
void stub_driver_free(struct vow_driver *driver);
/* The log syncs and answers questions, participants answer `vote`, and where nothing else can
 * happen time passes; until nobody waits. VOW_VOTE_NONE: participants are silent. Without `syncs`
 * participants alone do anything. */
void stub_settle(struct vow_driver *driver, enum vow_vote vote, bool syncs);
/* What an answer says of transactions. */
void stub_told(const struct vow_json_node *answer);
struct vow_id stub_latest(const struct vow_driver *driver); /* transaction that was begun */

#endif
