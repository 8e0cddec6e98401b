/*
 * The messages between coordinator and participant, and the outcome inquiry, as structs and as
 * JSON. Both sides use this one codec, so neither can misread the other. Strings in decoded structs
 * are borrowed from the `struct vow_json` that the decoder hands back; the caller frees that.
 * Unknown members of a message or an answer are ignored: the other side may be newer. An inquiry is
 * asked of an API and refuses them.
 * Source: proto/README.md, "Messages to a participant".
 */
#ifndef VOW_PROTO_MESSAGE_H
#define VOW_PROTO_MESSAGE_H

#include "json.h"
#include "position.h"
#include "vow/types.h"

enum vow_message_type {
  VOW_MESSAGE_PREPARE = 1,
  VOW_MESSAGE_COMMIT = 2,
  VOW_MESSAGE_ABORT = 3,
  VOW_MESSAGE_FORGET = 4
};

/* The last path segment, "prepare" and so on; never NULL. And back: false if it is none of them. */
const char *vow_message_type_name(enum vow_message_type type);
bool vow_message_type_parse(const char *name, enum vow_message_type *out);

/* The words of the wire back; false if it is none of them. "none" is never on the wire. */
bool vow_vote_parse(const char *name, enum vow_vote *out);
bool vow_outcome_parse(const char *name, enum vow_outcome *out);

struct vow_message {
  enum vow_message_type type;
  struct vow_id transaction;
  uint32_t branch; /* from 1 */
  struct vow_id finished_below;
  const char *coordinator; /* base URL to ask for the outcome */
  const char *payload;     /* prepare only: compact JSON, or NULL */
  size_t payload_bytes;
  uint32_t timeout_ms;         /* prepare only */
  bool one_phase;              /* prepare only */
  bool log_ask;                /* say what you have seen, and keep `log` not yet */
  struct vow_log_position log; /* of the coordinator; nothing from one that does not say */
  const char *common;          /* to write: by vow_message_write_common; or NULL */
  size_t common_bytes;
};

struct vow_message_reply {
  enum vow_vote vote;       /* of prepare, else NONE */
  enum vow_outcome outcome; /* of commit and abort, and of a prepare done in one phase; else NONE.
                             * Any word is read in answer to commit and abort: the core judges it */
  const char *reason; /* or NULL; as long as the other side made it: cut it before keeping it */
  struct vow_log_position seen; /* of the coordinator's log; of a batch beside `replies` */
};

/* The members of a message, into the object that is open. */
void vow_message_write(struct vow_jsonw *w, const struct vow_message *message);
void vow_message_encode(const struct vow_message *message, struct vow_buf *out);
/* What messages of one moment have in common, `coordinator` and `finished_below`, as an object: to
 * be written once for all of them. */
void vow_message_write_common(const struct vow_message *message, struct vow_buf *out);
/* A message out of a document, which must not be freed before it; `o` has begun to read it, and
 * ignores what is unknown. `url`, if not NULL, is a coordinator of another message: the same again
 * is not judged anew. */
enum vow_error vow_message_read(enum vow_message_type type, struct vow_json *document,
                                struct vow_json_object *o, const char *url, struct vow_message *out,
                                char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;
enum vow_error vow_message_decode(enum vow_message_type type, const char *text, size_t bytes,
                                  struct vow_message *out, struct vow_json **document,
                                  char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;

void vow_message_reply_write(struct vow_jsonw *w, enum vow_message_type type,
                             const struct vow_message_reply *reply);
void vow_message_reply_encode(enum vow_message_type type, const struct vow_message_reply *reply,
                              struct vow_buf *out);
/* VOW_E_PROTOCOL with a sentence when it is not a valid answer to `type` (a vote where an outcome
 * is due, …). */
enum vow_error vow_message_reply_read(enum vow_message_type type, struct vow_json_object *o,
                                      struct vow_message_reply *out,
                                      char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;
enum vow_error vow_message_reply_decode(enum vow_message_type type, const char *text, size_t bytes,
                                        struct vow_message_reply *out, struct vow_json **document,
                                        char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;

/* The answer to an outcome inquiry. */
enum vow_inquiry_answer {
  VOW_INQUIRY_UNKNOWN =
      0, /* the coordinator cannot tell (its log may have lost records): keep waiting */
  VOW_INQUIRY_UNDECIDED = 1,
  VOW_INQUIRY_COMMITTED = 2,
  VOW_INQUIRY_ABORTED = 3
};
const char *vow_inquiry_answer_name(enum vow_inquiry_answer answer);
bool vow_inquiry_answer_parse(const char *name, enum vow_inquiry_answer *out);

struct vow_inquiry_result {
  struct vow_id transaction;
  enum vow_inquiry_answer answer;
  bool presumed;
  bool purged; /* presumed, and so old that a commit may have been purged: exact only for a branch
                  in doubt */
};

/* One result as an object: {transaction, outcome, presumed?, purged?, log?}; `log` is that of an
 * answer that consists of this one, else nothing. */
void vow_inquiry_result_write(struct vow_jsonw *w, const struct vow_inquiry_result *result,
                              struct vow_log_position log);
/* POST /v1/outcomes: {transactions: [...], seen?} -> {outcomes: [...], log?}. Decoders fill at most
 * `max` entries and *count; more is VOW_E_LIMIT_EXCEEDED. */
void vow_inquiry_request_encode(const struct vow_id *ids, size_t count,
                                struct vow_log_position seen, struct vow_buf *out);
/* *seen is left alone where the participant does not say. */
enum vow_error vow_inquiry_request_decode(const char *text, size_t bytes, struct vow_id *ids,
                                          size_t max, size_t *count, struct vow_log_position *seen,
                                          char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;
/* The answer of GET …/outcome. VOW_E_PROTOCOL with a sentence. */
enum vow_error vow_inquiry_result_decode(const char *text, size_t bytes,
                                         struct vow_inquiry_result *out,
                                         struct vow_log_position *log,
                                         char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;
void vow_inquiry_reply_encode(const struct vow_inquiry_result *results, size_t count,
                              struct vow_log_position log, struct vow_buf *out);
/* *log is left alone where the coordinator does not say how far its log has come. */
enum vow_error vow_inquiry_reply_decode(const char *text, size_t bytes,
                                        struct vow_inquiry_result *results, size_t max,
                                        size_t *count, struct vow_log_position *log,
                                        char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;

/* application/problem+json: {type, title, status, detail?, …}. `detail` may be NULL. Leaves the
 * object open between begin and end so that the caller can add members of its own. */
void vow_problem_begin(struct vow_jsonw *w, enum vow_error error, const char *detail);
/* VOW_E_* of a problem body; VOW_E_PROTOCOL when it is not one of ours. `detail` (may be NULL) gets
 * a copy of the problem's own words, or is left alone when the body is not one of ours. */
enum vow_error vow_problem_decode(const char *text, size_t bytes, char *detail,
                                  size_t detail_bytes);
/* The same of a value of a document. *detail is borrowed from it, or untouched. */
enum vow_error vow_problem_read(const struct vow_json_node *node, const char **detail);

/* The error of an answer that cannot be read: whatever is wrong with it, it is not of the protocol,
 * unless there was no memory or no room for it. */
enum vow_error vow_error_of_answer(enum vow_error error);

#endif
