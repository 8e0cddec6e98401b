/*
 * See batch.h. The members of a message and of an answer are message.c's.
 */
#include "batch.h"

#include <stdio.h>

static void begin(struct vow_jsonw *w, struct vow_buf *out, const char *key) {
  vow_jsonw_init(w, out);
  vow_jsonw_object(w, NULL);
  vow_jsonw_array(w, key);
}

void vow_batch_end_log(struct vow_jsonw *w, struct vow_log_position log, bool ask) {
  vow_jsonw_end(w);
  vow_log_position_write(w, "log", log, ask);
  vow_jsonw_end(w);
}

void vow_batch_end_seen(struct vow_jsonw *w, struct vow_log_position seen) {
  vow_jsonw_end(w);
  vow_log_position_write(w, "seen", seen, false);
  vow_jsonw_end(w);
}

static enum vow_error read_position(const struct vow_json *document, const char *key,
                                    struct vow_log_position *out, bool *ask,
                                    char why[VOW_JSON_WHY_BYTES]) {
  struct vow_json_object o;

  vow_json_object_begin(&o, vow_json_root(document), NULL);
  vow_json_object_ignore_unknown(&o);
  vow_log_position_get(&o, key, out, ask);
  enum vow_error error = vow_json_object_end(&o);
  if (error != VOW_OK) (void)snprintf(why, VOW_JSON_WHY_BYTES, "%s", o.why);
  return error;
}

enum vow_error vow_batch_log_read(const struct vow_json *document, struct vow_log_position *log,
                                  bool *ask, char why[VOW_JSON_WHY_BYTES]) {
  return read_position(document, "log", log, ask, why);
}

enum vow_error vow_batch_seen_read(const struct vow_json *document, struct vow_log_position *seen,
                                   char why[VOW_JSON_WHY_BYTES]) {
  return vow_error_of_answer(read_position(document, "seen", seen, NULL, why));
}

/* ---- requests ---- */

void vow_batch_begin(struct vow_jsonw *w, struct vow_buf *out) {
  begin(w, out, "messages");
}

void vow_batch_message_write(struct vow_jsonw *w, const struct vow_message *message,
                             const char *traceparent) {
  vow_jsonw_object(w, NULL);
  vow_jsonw_string(w, "type", vow_message_type_name(message->type));
  vow_jsonw_string(w, "traceparent", traceparent);
  vow_message_write(w, message);
  vow_jsonw_end(w);
}

enum vow_error vow_batch_decode(const char *text, size_t bytes, struct vow_json **document,
                                const struct vow_json_node **messages,
                                char why[VOW_JSON_WHY_BYTES]) {
  const struct vow_json_node *array = NULL;
  struct vow_json_object o;
  struct vow_json *json = NULL;

  enum vow_error error = vow_json_parse(&json, text, bytes, why);
  if (error != VOW_OK) return error;
  vow_json_object_begin(&o, vow_json_root(json), NULL);
  vow_json_object_ignore_unknown(&o);
  if (vow_json_get_array(&o, "messages", VOW_JSON_REQUIRED, VOW_BATCH_MESSAGES_MAX, &array) &&
      vow_json_array_length(array) == 0) {
    vow_json_object_fail(&o, "messages", "must not be empty");
  }
  error = vow_json_object_end(&o);
  if (error != VOW_OK) {
    (void)snprintf(why, VOW_JSON_WHY_BYTES, "%s", o.why);
    vow_json_free(json);
    return error;
  }
  *document = json;
  *messages = array;
  return VOW_OK;
}

enum vow_error vow_batch_message_read(struct vow_json *document,
                                      const struct vow_json_node *messages, size_t index,
                                      const char *url, struct vow_message *out,
                                      char why[VOW_JSON_WHY_BYTES]) {
  enum vow_message_type type = VOW_MESSAGE_FORGET;
  const char *name = NULL;
  struct vow_json_object o;

  vow_json_object_begin_item(&o, messages, "messages", index);
  vow_json_object_ignore_unknown(&o);
  if (vow_json_get_string(&o, "type", VOW_JSON_REQUIRED, SIZE_MAX, &name) &&
      !vow_message_type_parse(name, &type)) {
    vow_json_object_fail(&o, "type", "must be \"prepare\", \"commit\", \"abort\" or \"forget\"");
  }
  return vow_message_read(type, document, &o, url, out, why);
}

/* ---- answers ---- */

void vow_batch_replies_begin(struct vow_jsonw *w, struct vow_buf *out) {
  begin(w, out, "replies");
}

void vow_batch_reply_write(struct vow_jsonw *w, enum vow_message_type type,
                           const struct vow_message_reply *reply) {
  vow_jsonw_object(w, NULL);
  vow_jsonw_uint(w, "status", 200);
  vow_message_reply_write(w, type, reply);
  vow_jsonw_end(w);
}

void vow_batch_problem_write(struct vow_jsonw *w, enum vow_error error, const char *detail) {
  vow_problem_begin(w, error, detail);
  vow_jsonw_end(w);
}

enum vow_error vow_batch_replies_decode(const char *text, size_t bytes, size_t count,
                                        struct vow_json **document,
                                        const struct vow_json_node **replies,
                                        char why[VOW_JSON_WHY_BYTES]) {
  const struct vow_json_node *array = NULL;
  struct vow_json_object o;
  struct vow_json *json = NULL;

  enum vow_error error = vow_json_parse(&json, text, bytes, why);
  if (error != VOW_OK) return vow_error_of_answer(error);
  vow_json_object_begin(&o, vow_json_root(json), NULL);
  vow_json_object_ignore_unknown(&o);
  if (vow_json_get_array(&o, "replies", VOW_JSON_REQUIRED, SIZE_MAX, &array) &&
      vow_json_array_length(array) != count) {
    vow_json_object_fail(&o, "replies", "must be as many as the messages: %zu", count);
  }
  error = vow_json_object_end(&o);
  if (error != VOW_OK) {
    (void)snprintf(why, VOW_JSON_WHY_BYTES, "%s", o.why);
    vow_json_free(json);
    return vow_error_of_answer(error);
  }
  *document = json;
  *replies = array;
  return VOW_OK;
}

enum vow_error vow_batch_reply_read(const struct vow_json_node *replies, size_t index,
                                    enum vow_message_type type, struct vow_batch_reply *out,
                                    char why[VOW_JSON_WHY_BYTES]) {
  struct vow_batch_reply reply = {.status = 0};
  uint64_t status = 0;
  struct vow_json_object o;

  vow_json_object_begin_item(&o, replies, "replies", index);
  vow_json_object_ignore_unknown(&o);
  vow_json_get_uint(&o, "status", VOW_JSON_REQUIRED, 100, 599, &status);
  enum vow_error error = vow_json_object_end(&o);
  if (error != VOW_OK) {
    (void)snprintf(why, VOW_JSON_WHY_BYTES, "%s", o.why);
    return vow_error_of_answer(error);
  }
  reply.status = (int)status;
  if (status == 200) {
    error = vow_message_reply_read(type, &o, &reply.reply, why);
  } else {
    reply.problem = vow_problem_read(o.node, &reply.detail);
  }
  if (error == VOW_OK) *out = reply;
  return error;
}
