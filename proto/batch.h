/*
 * Several messages to one participant in one request, and their answers. A message or an answer is
 * in a batch what it is alone (message.h), with the member `type`, or `status`. The codec goes
 * through a batch one by one, so that one that is wrong spoils no other.
 * Source: proto/README.md, "Batches".
 */
#ifndef VOW_PROTO_BATCH_H
#define VOW_PROTO_BATCH_H

#include "message.h"

#define VOW_BATCH_PATH         "/batch"
#define VOW_BATCH_HEADER       "Vow-Batch" /* a participant takes this many messages at once */
#define VOW_BATCH_MESSAGES_MAX 128
#define VOW_BATCH_BYTES_MAX    ((size_t)512 << 10) /* of the request's body */

/* ---- the request: {messages: [...], log?} ---- */

void vow_batch_begin(struct vow_jsonw *w, struct vow_buf *out);
/* `traceparent` (W3C; NULL: none) is what goes into a header when the message travels alone. */
void vow_batch_message_write(struct vow_jsonw *w, const struct vow_message *message,
                             const char *traceparent);
/* What a message says of the log is one for all of them and stands once; all zero: nothing. */
void vow_batch_end_log(struct vow_jsonw *w, struct vow_log_position log, bool ask);

/* What stands beside `messages` or `replies`; left alone where nothing does. */
enum vow_error vow_batch_log_read(const struct vow_json *document, struct vow_log_position *log,
                                  bool *ask, char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;
enum vow_error vow_batch_seen_read(const struct vow_json *document, struct vow_log_position *seen,
                                   char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;

/* *messages is the array, of 1 to VOW_BATCH_MESSAGES_MAX. VOW_E_INVALID_JSON,
 * VOW_E_INVALID_REQUEST, VOW_E_LIMIT_EXCEEDED, VOW_E_NO_MEMORY, with a sentence. */
enum vow_error vow_batch_decode(const char *text, size_t bytes, struct vow_json **document,
                                const struct vow_json_node **messages,
                                char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;
/* The message at `index`, each once. What it points to lives as long as the document. `url`: the
 * coordinator of one that was read before, which is most likely that of this one; or NULL. */
enum vow_error vow_batch_message_read(struct vow_json *document,
                                      const struct vow_json_node *messages, size_t index,
                                      const char *url, struct vow_message *out,
                                      char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;

/* ---- the answer: {replies: [...], seen?}, in the order of the messages ---- */

void vow_batch_replies_begin(struct vow_jsonw *w, struct vow_buf *out);
void vow_batch_reply_write(struct vow_jsonw *w, enum vow_message_type type,
                           const struct vow_message_reply *reply);
/* One that failed: what would have been the body of its problem, and so its status. */
void vow_batch_problem_write(struct vow_jsonw *w, enum vow_error error, const char *detail);
void vow_batch_end_seen(struct vow_jsonw *w, struct vow_log_position seen); /* all zero: nothing */

/* VOW_E_PROTOCOL with a sentence, also when there are not `count` replies. */
enum vow_error vow_batch_replies_decode(const char *text, size_t bytes, size_t count,
                                        struct vow_json **document,
                                        const struct vow_json_node **replies,
                                        char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;

struct vow_batch_reply {
  int status;
  struct vow_message_reply reply; /* of status 200 */
  enum vow_error problem;         /* of another; VOW_E_PROTOCOL: none of ours */
  const char *detail;             /* of a problem; or NULL */
};
/* The reply at `index`, to a message of this type. VOW_E_PROTOCOL with a sentence. */
enum vow_error vow_batch_reply_read(const struct vow_json_node *replies, size_t index,
                                    enum vow_message_type type, struct vow_batch_reply *out,
                                    char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;

#endif
