/* The kinds of bodies of codec_kinds.h, each with its decoder and its encoder. */
#include "codec_kinds.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define IDS_MAX 16

static enum vow_error run_message(enum vow_message_type type, const char *text, size_t bytes,
                                  struct vow_buf *again, char *why) {
  struct vow_json *document = NULL;
  struct vow_message message;

  enum vow_error error = vow_message_decode(type, text, bytes, &message, &document, why);
  if (error != VOW_OK) return error;
  assert_int_equal(message.type, type);
  vow_message_encode(&message, again);
  vow_json_free(document);
  return VOW_OK;
}

static enum vow_error run_reply(enum vow_message_type type, const char *text, size_t bytes,
                                struct vow_buf *again, char *why) {
  struct vow_json *document = NULL;
  struct vow_message_reply reply;

  enum vow_error error = vow_message_reply_decode(type, text, bytes, &reply, &document, why);
  if (error != VOW_OK) return error;
  vow_message_reply_encode(type, &reply, again);
  vow_json_free(document);
  return VOW_OK;
}

#define RUN_MESSAGE(name, type)                                                                   \
  static enum vow_error run_##name(const char *text, size_t bytes, struct vow_buf *again,         \
                                   char *why) {                                                   \
    return run_message(type, text, bytes, again, why);                                            \
  }                                                                                               \
  static enum vow_error run_##name##_reply(const char *text, size_t bytes, struct vow_buf *again, \
                                           char *why) {                                           \
    return run_reply(type, text, bytes, again, why);                                              \
  }
RUN_MESSAGE(prepare, VOW_MESSAGE_PREPARE)
RUN_MESSAGE(commit, VOW_MESSAGE_COMMIT)
RUN_MESSAGE(abort, VOW_MESSAGE_ABORT)
RUN_MESSAGE(forget, VOW_MESSAGE_FORGET)

/* All messages of a batch, which are read one by one. */
static enum vow_error run_batch(const char *text, size_t bytes, struct vow_buf *again, char *why) {
  static struct vow_message messages[VOW_BATCH_MESSAGES_MAX];
  struct vow_log_position log = {0};
  bool ask = false;
  const struct vow_json_node *array = NULL;
  struct vow_json *document = NULL;
  struct vow_jsonw w;

  enum vow_error error = vow_batch_decode(text, bytes, &document, &array, why);
  if (error != VOW_OK) return error;
  size_t count = vow_json_array_length(array);
  vow_batch_begin(&w, again);
  error = vow_batch_log_read(document, &log, &ask, why);
  for (size_t i = 0; i < count && error == VOW_OK; i++) {
    error = vow_batch_message_read(document, array, i, i > 0 ? messages[0].coordinator : NULL,
                                   &messages[i], why);
  }
  for (size_t i = 0; i < count && error == VOW_OK; i++) {
    vow_batch_message_write(&w, &messages[i], NULL);
  }
  if (error == VOW_OK) vow_batch_end_log(&w, log, ask);
  vow_json_free(document);
  return error;
}

/* How many replies there are, for a coordinator that had sent as many messages. */
static size_t count_replies(const char *text, size_t bytes) {
  const struct vow_json_node *array = NULL;
  char why[VOW_JSON_WHY_BYTES];
  struct vow_json_object o;
  struct vow_json *document = NULL;

  if (vow_json_parse(&document, text, bytes, why) != VOW_OK) return 1;
  vow_json_object_begin(&o, vow_json_root(document), NULL);
  bool found = vow_json_get_array(&o, "replies", VOW_JSON_REQUIRED, SIZE_MAX, &array);
  size_t count = found ? vow_json_array_length(array) : 1;
  vow_json_free(document);
  return count;
}

static enum vow_error run_batch_reply(const char *text, size_t bytes, struct vow_buf *again,
                                      char *why) {
  const struct vow_json_node *array = NULL;
  struct vow_json *document = NULL;
  struct vow_log_position seen = {0};
  struct vow_jsonw w;
  size_t count = count_replies(text, bytes);

  enum vow_error error = vow_batch_replies_decode(text, bytes, count, &document, &array, why);
  if (error != VOW_OK) return error;
  vow_batch_replies_begin(&w, again);
  for (size_t i = 0; i < count && error == VOW_OK; i++) {
    struct vow_batch_reply reply;
    error = vow_batch_reply_read(array, i, VOW_MESSAGE_PREPARE, &reply, why);
    if (error == VOW_OK && reply.status == 200) {
      vow_batch_reply_write(&w, VOW_MESSAGE_PREPARE, &reply.reply);
    } else if (error == VOW_OK) {
      vow_batch_problem_write(&w, reply.problem, reply.detail);
    }
  }
  if (error == VOW_OK) error = vow_batch_seen_read(document, &seen, why);
  if (error == VOW_OK) vow_batch_end_seen(&w, seen);
  vow_json_free(document);
  return error;
}

static enum vow_error run_inquiry(const char *text, size_t bytes, struct vow_buf *again,
                                  char *why) {
  struct vow_id ids[IDS_MAX];
  struct vow_log_position seen = {0};
  size_t count = 0;

  enum vow_error error = vow_inquiry_request_decode(text, bytes, ids, IDS_MAX, &count, &seen, why);
  if (error == VOW_OK) vow_inquiry_request_encode(ids, count, seen, again);
  return error;
}

static enum vow_error run_known(const char *text, size_t bytes, struct vow_buf *again, char *why) {
  static struct vow_id ids[VOW_KNOWN_IDS_MAX];
  struct vow_known_request request = {.ids = ids};
  struct vow_json *document = NULL;

  enum vow_error error = vow_known_request_decode(text, bytes, &request, &document, why);
  if (error != VOW_OK) return error;
  vow_known_request_encode(&request, again);
  vow_json_free(document);
  return VOW_OK;
}

static enum vow_error run_known_reply(const char *text, size_t bytes, struct vow_buf *again,
                                      char *why) {
  struct vow_known_reply reply;

  enum vow_error error = vow_known_reply_decode(text, bytes, &reply, why);
  if (error != VOW_OK) return error;
  vow_known_reply_encode(&reply, again);
  free(reply.branches);
  return VOW_OK;
}

/* There is no encoder of libvow's for it that stands alone. */
static enum vow_error run_in_doubt(const char *text, size_t bytes, struct vow_buf *again,
                                   char *why) {
  static const char coordinator[] = "http://c:7800";
  struct vow_known_reply reply;
  struct vow_jsonw w;

  enum vow_error error = vow_in_doubt_decode(text, bytes, coordinator, &reply, why);
  if (error != VOW_OK) return error;
  vow_jsonw_init(&w, again);
  vow_jsonw_object(&w, NULL);
  vow_jsonw_array(&w, "branches");
  for (size_t i = 0; i < reply.count; i++) {
    vow_jsonw_object(&w, NULL);
    vow_jsonw_id(&w, "transaction", reply.branches[i].transaction);
    vow_jsonw_uint(&w, "branch", reply.branches[i].branch);
    vow_jsonw_end(&w);
  }
  vow_jsonw_end(&w);
  if (reply.seen.incarnation != 0) {
    vow_jsonw_array(&w, "seen");
    vow_jsonw_object(&w, NULL);
    vow_jsonw_string(&w, "coordinator", coordinator);
    vow_jsonw_uint(&w, "incarnation", reply.seen.incarnation);
    vow_jsonw_uint(&w, "position", reply.seen.position);
    vow_jsonw_end(&w);
    vow_jsonw_end(&w);
  }
  vow_jsonw_end(&w);
  free(reply.branches);
  return VOW_OK;
}

static enum vow_error run_inquiry_reply(const char *text, size_t bytes, struct vow_buf *again,
                                        char *why) {
  struct vow_inquiry_result results[IDS_MAX];
  struct vow_log_position log = {0};
  size_t count = 0;

  enum vow_error error = vow_inquiry_reply_decode(text, bytes, results, IDS_MAX, &count, &log, why);
  if (error == VOW_OK) vow_inquiry_reply_encode(results, count, log, again);
  return error;
}

static enum vow_error run_outcome(const char *text, size_t bytes, struct vow_buf *again,
                                  char *why) {
  struct vow_inquiry_result result;
  struct vow_log_position log = {0};
  struct vow_jsonw w;

  enum vow_error error = vow_inquiry_result_decode(text, bytes, &result, &log, why);
  if (error != VOW_OK) return error;
  vow_jsonw_init(&w, again);
  vow_inquiry_result_write(&w, &result, log);
  return VOW_OK;
}

static enum vow_error run_problem(const char *text, size_t bytes, struct vow_buf *again,
                                  char *why) {
  struct vow_jsonw w;
  char detail[4096] = ""; /* more than the words of any body that is played */

  enum vow_error error = vow_problem_decode(text, bytes, detail, sizeof detail);
  if (error == VOW_E_PROTOCOL) {
    (void)strcpy(why, "a problem's decoder gives no sentence");
    assert_string_equal(detail, "");
    return error;
  }
  vow_jsonw_init(&w, again);
  vow_problem_begin(&w, error, detail);
  vow_jsonw_end(&w);
  return VOW_OK;
}

const struct codec_kind codec_kinds[CODEC_KIND_COUNT] = {
    {"prepare", run_prepare, false},
    {"commit", run_commit, false},
    {"abort", run_abort, false},
    {"forget", run_forget, false},
    {"prepare-reply", run_prepare_reply, true},
    {"commit-reply", run_commit_reply, true},
    {"abort-reply", run_abort_reply, true},
    {"forget-reply", run_forget_reply, true},
    {"batch", run_batch, false},
    {"batch-reply", run_batch_reply, true},
    {"inquiry", run_inquiry, false},
    {"inquiry-reply", run_inquiry_reply, true},
    {"outcome", run_outcome, true},
    {"problem", run_problem, true},
    {"known", run_known, false},
    {"known-reply", run_known_reply, true},
    {"in-doubt", run_in_doubt, true},
};
