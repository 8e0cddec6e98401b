/*
 * What a participant durably knows of transactions: asked by an operator's tool when the
 * coordinator's log has lost records, and optional. What is not on its disk it does not tell.
 * Source: proto/README.md, "Messages to a participant".
 */
#ifndef VOW_PROTO_KNOWN_H
#define VOW_PROTO_KNOWN_H

#include "position.h"
#include "vow/types.h"

#define VOW_KNOWN_PATH    "/known"
#define VOW_KNOWN_IDS_MAX 1000 /* of one request */

enum vow_known_state {
  VOW_KNOWN_PREPARING = 1, /* heard of, and no vote is durable */
  VOW_KNOWN_PREPARED = 2,  /* voted commit: in doubt */
  VOW_KNOWN_COMMITTED = 3,
  VOW_KNOWN_ABORTED = 4, /* told so by the coordinator */
  VOW_KNOWN_READ_ONLY = 5,
  VOW_KNOWN_HEURISTIC = 6, /* ended by hand: says nothing about the decision */
  VOW_KNOWN_REFUSED = 7    /* aborted by itself; may have voted read-only, and forgotten it */
};
const char *vow_known_state_name(enum vow_known_state state); /* "prepared", …; never NULL */
bool vow_known_state_parse(const char *name, enum vow_known_state *out);

/* POST {url}/known: {coordinator, transactions: [...]} */
struct vow_known_request {
  const char *coordinator; /* whose watermark and position are meant; as in messages */
  struct vow_id *ids;      /* of the reader: room for VOW_KNOWN_IDS_MAX */
  size_t count;
};
void vow_known_request_encode(const struct vow_known_request *request, struct vow_buf *out);
/* The coordinator is borrowed from the document. */
enum vow_error vow_known_request_decode(const char *text, size_t bytes,
                                        struct vow_known_request *request,
                                        struct vow_json **document,
                                        char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;

/* -> {branches: [{transaction, branch, state}], finished_below, newest?, seen?}. A transaction at
 * or above `finished_below` without a branch in the answer is one the participant has no record of.
 */
struct vow_known_branch {
  struct vow_id transaction;
  uint32_t branch;
  enum vow_known_state state;
  const char *coordinator; /* in-doubt, when written: whose it is; borrowed */
};
struct vow_known_reply {
  struct vow_known_branch *branches; /* of a decoded reply: owned, free() it */
  size_t count;
  struct vow_id finished_below; /* what is below it may have been forgotten */
  struct vow_id newest;         /* id of this coordinator that was heard of; nil: not told */
  struct vow_log_position seen;
  size_t of_others; /* in-doubt: branches of other coordinators, which are left out */
};
void vow_known_reply_encode(const struct vow_known_reply *reply, struct vow_buf *out);
/* VOW_E_PROTOCOL with a sentence, VOW_E_NO_MEMORY. */
enum vow_error vow_known_reply_decode(const char *text, size_t bytes, struct vow_known_reply *out,
                                      char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;

/* GET {url}/in-doubt -> {branches: [{transaction, branch, coordinator?}], seen?: [{coordinator,
 * …}]}: read as a reply with a nil watermark whose states are PREPARED, and what was seen of
 * `coordinator`. Branches that are said to be another's are counted only: they are not ours to end.
 */
enum vow_error vow_in_doubt_decode(const char *text, size_t bytes, const char *coordinator,
                                   struct vow_known_reply *out,
                                   char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;

#endif
