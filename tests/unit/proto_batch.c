/*
 * Batches as bodies: each message and each reply is judged alone, what is wrong is named by its
 * place, and the limits hold.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "batch.h"
#include "url.h"

#define COMMON                                                                             \
  "\"transaction\":\"01935e2a-7c3b-7000-8a51-3f1f6c0d9b11\",\"coordinator\":\"http://c\"," \
  "\"finished_below\":\"01935e2a-7bd0-7000-8000-000000000000\""
#define URL          "http://c" /* the coordinator in COMMON */
#define GOOD(branch) "{\"type\":\"commit\"," COMMON ",\"branch\":" #branch "}"
#define PAID(branch, payload)                                                                     \
  "{\"type\":\"prepare\"," COMMON ",\"branch\":" #branch ",\"timeout_ms\":5,\"payload\":" payload \
  "}"

struct batch {
  struct vow_json *document;
  const struct vow_json_node *messages;
  char why[VOW_JSON_WHY_BYTES];
};

static void decode(struct batch *b, const char *text) {
  *b = (struct batch){.why = ""};
  if (vow_batch_decode(text, strlen(text), &b->document, &b->messages, b->why) != VOW_OK) {
    fail_msg("%s", b->why);
  }
}

static void refused(struct batch *b, size_t index, const char *why) {
  struct vow_message message = {.branch = 99};
  assert_int_equal(vow_batch_message_read(b->document, b->messages, index, URL, &message, b->why),
                   VOW_E_INVALID_REQUEST);
  assert_string_equal(b->why, why);
  assert_int_equal(message.branch, 99);
}

static uint32_t taken(struct batch *b, size_t index) {
  struct vow_message message;
  if (vow_batch_message_read(b->document, b->messages, index, URL, &message, b->why) != VOW_OK) {
    fail_msg("%s", b->why);
  }
  return message.branch;
}

/* What is wrong with one message is said with its place, and spoils no other. */
static void each_message_is_judged_alone(void **state) {
  struct batch b;
  (void)state;
  decode(&b, "{\"messages\":[" GOOD(1) ",{},7,{\"type\":\"commit\"," COMMON ",\"branch\":0}," GOOD(
                 5) ",{\"type\":\"undo\"," COMMON ",\"branch\":6},{\"type\":\"prepare\"," COMMON
                    ",\"branch\":7}]}");
  assert_int_equal(vow_json_array_length(b.messages), 7);
  assert_int_equal(taken(&b, 0), 1);
  refused(&b, 1, "messages[1].type is missing");
  refused(&b, 2, "messages[2] must be an object, not a number");
  refused(&b, 3, "messages[3].branch must be a whole number from 1 to 4294967295");
  assert_int_equal(taken(&b, 4), 5);
  refused(&b, 5, "messages[5].type must be \"prepare\", \"commit\", \"abort\" or \"forget\"");
  refused(&b, 6, "messages[6].timeout_ms is missing");
  vow_json_free(b.document);
}

/* Who said which coordinator before changes nothing about what the next one may be. */
static void each_coordinator_is_judged(void **state) {
  static const char text[] =
      "{\"messages\":[{\"type\":\"commit\",\"branch\":1,"
      "\"transaction\":\"01935e2a-7c3b-7000-8a51-3f1f6c0d9b11\",\"coordinator\":\"c\","
      "\"finished_below\":\"01935e2a-7bd0-7000-8000-000000000000\"},{\"type\":\"commit\","
      "\"branch\":2,"
      "\"transaction\":\"01935e2a-7c3b-7000-8a51-3f1f6c0d9b11\",\"coordinator\":\"HTTP://d/\","
      "\"finished_below\":\"01935e2a-7bd0-7000-8000-000000000000\"}]}";
  struct batch b;
  (void)state;
  decode(&b, text);
  refused(&b, 0,
          "messages[0].coordinator must be a URL: the URL must begin with http:// or https://");
  assert_int_equal(taken(&b, 1), 2);
  vow_json_free(b.document);
}

/* Payloads stay where they are while others are read: each has its text until the document goes. */
static void payloads_stay(void **state) {
  struct vow_message message[3];
  struct batch b;
  (void)state;
  decode(&b, "{\"messages\":[" PAID(1, "\"a\"") "," PAID(2, "[ 1.50 , \"\\u0041\\/\" ]") "," PAID(
                 3, "7") "]}");
  for (size_t i = 0; i < 3; i++) {
    assert_int_equal(
        vow_batch_message_read(b.document, b.messages, i, i > 0 ? message[0].coordinator : NULL,
                               &message[i], b.why),
        VOW_OK);
  }
  assert_string_equal(message[0].payload, "\"a\"");
  assert_string_equal(message[1].payload, "[1.50,\"A/\"]");
  assert_int_equal(message[1].payload_bytes, strlen("[1.50,\"A/\"]"));
  assert_string_equal(message[2].payload, "7");
  vow_json_free(b.document);
}

/* 128 messages are taken, one more is not, and none at all isn't, either. */
static void a_batch_has_1_to_128_messages(void **state) {
  char why[VOW_JSON_WHY_BYTES] = "";
  const struct vow_json_node *messages = NULL;
  struct vow_json *document = NULL;
  struct vow_buf text;
  (void)state;
  for (unsigned count = 127; count <= 129; count++) {
    vow_buf_init(&text, VOW_BATCH_BYTES_MAX);
    vow_buf_puts(&text, "{\"messages\":[1");
    for (unsigned i = 1; i < count; i++) vow_buf_puts(&text, ",1");
    vow_buf_puts(&text, "]}");
    enum vow_error error =
        vow_batch_decode(vow_buf_text(&text), text.bytes, &document, &messages, why);
    vow_buf_fini(&text);
    assert_int_equal(error, count <= 128 ? VOW_OK : VOW_E_LIMIT_EXCEEDED);
    if (error == VOW_OK) vow_json_free(document);
  }
  assert_non_null(strstr(why, "messages"));
  static const char empty[] = "{\"messages\":[]}";
  assert_int_equal(vow_batch_decode(empty, sizeof empty - 1, &document, &messages, why),
                   VOW_E_INVALID_REQUEST);
  assert_string_equal(why, "messages must not be empty");
}

/* The largest batch that a coordinator sends fits the bytes that a participant takes. */
static void the_largest_batch_fits(void **state) {
  char coordinator[VOW_URL_BYTES_MAX + 1], trace[257];
  struct vow_jsonw w;
  struct vow_buf text;
  size_t bytes = (size_t)128 << 10; /* of all payloads */
  char *payload = malloc(bytes + 1);
  (void)state;
  assert_non_null(payload);
  memset(payload, '7', bytes);
  memset(coordinator, 'c', sizeof coordinator - 1);
  memcpy(coordinator, "http://", 7);
  memset(trace, 't', sizeof trace - 1);
  coordinator[VOW_URL_BYTES_MAX] = trace[256] = '\0';
  vow_buf_init(&text, VOW_BATCH_BYTES_MAX);
  vow_batch_begin(&w, &text);
  for (uint32_t i = 0; i < VOW_BATCH_MESSAGES_MAX; i++) {
    struct vow_message message = {.type = VOW_MESSAGE_PREPARE,
                                  .branch = UINT32_MAX,
                                  .coordinator = coordinator,
                                  .payload = payload,
                                  .payload_bytes = bytes / VOW_BATCH_MESSAGES_MAX,
                                  .timeout_ms = UINT32_MAX,
                                  .one_phase = true};
    vow_batch_message_write(&w, &message, trace);
  }
  vow_batch_end_log(&w, (struct vow_log_position){VOW_LOG_NUMBER_MAX, VOW_LOG_NUMBER_MAX}, true);
  assert_int_equal(text.error, VOW_OK);
  vow_buf_fini(&text);
  free(payload);
}

/* What messages have in common may be written once for all of them; the text is the same. */
static void common_members_are_the_same_text(void **state) {
  struct vow_buf texts[2], common;
  struct vow_message message = {.type = VOW_MESSAGE_COMMIT,
                                .branch = 7,
                                .transaction = vow_id_floor(5, 6),
                                .finished_below = vow_id_floor(3, 4),
                                .coordinator = "http://a/\"b\""};
  (void)state;
  vow_buf_init(&common, 1024);
  vow_message_write_common(&message, &common);
  assert_string_equal(vow_buf_text(&common),
                      "{\"coordinator\":\"http://a/\\\"b\\\"\","
                      "\"finished_below\":\"00000000-0003-7004-8000-000000000000\"}");
  for (int i = 0; i < 2; i++) {
    struct vow_jsonw w;
    vow_buf_init(&texts[i], 4096);
    message.common = i == 0 ? NULL : common.data;
    message.common_bytes = i == 0 ? 0 : common.bytes;
    vow_batch_begin(&w, &texts[i]);
    vow_batch_message_write(&w, &message, "00-1-2-01");
    vow_batch_message_write(&w, &message, NULL);
    vow_batch_end_log(&w, (struct vow_log_position){1, 2}, false);
    assert_int_equal(texts[i].error, VOW_OK);
  }
  assert_string_equal(texts[0].data, texts[1].data);
  vow_buf_fini(&texts[0]);
  vow_buf_fini(&texts[1]);
  vow_buf_fini(&common);
}

static enum vow_error decode_replies(const char *text, size_t count, struct batch *b) {
  *b = (struct batch){.why = ""};
  return vow_batch_replies_decode(text, strlen(text), count, &b->document, &b->messages, b->why);
}

/* As many replies as messages, or the answer says nothing. */
static void a_wrong_count_is_no_answer(void **state) {
  static const char text[] = "{\"replies\":[{\"status\":200},{\"status\":200}]}";
  struct batch b;
  (void)state;
  for (size_t count = 1; count <= 3; count++) {
    enum vow_error error = decode_replies(text, count, &b);
    assert_int_equal(error, count == 2 ? VOW_OK : VOW_E_PROTOCOL);
    if (error == VOW_OK) {
      vow_json_free(b.document);
    } else {
      assert_non_null(strstr(b.why, "replies must be as many as the messages: "));
    }
  }
}

/* A reply is what it is alone, and its status says what it is; a wrong one spoils no other. */
static void each_reply_is_judged_alone(void **state) {
  struct vow_batch_reply reply = {.status = 0};
  struct batch b;
  (void)state;
  assert_int_equal(
      decode_replies("{\"replies\":[{\"status\":200,\"vote\":\"commit\"},{\"vote\":\"commit\"},"
                     "{\"status\":404,\"type\":\"urn:vow:unknown-branch\",\"title\":\"no\"},"
                     "{\"status\":503},{\"status\":200,\"outcome\":\"committed\"},[]]}",
                     6, &b),
      VOW_OK);
  assert_int_equal(vow_batch_reply_read(b.messages, 0, VOW_MESSAGE_PREPARE, &reply, b.why), VOW_OK);
  assert_int_equal(reply.reply.vote, VOW_VOTE_COMMIT);
  assert_int_equal(vow_batch_reply_read(b.messages, 1, VOW_MESSAGE_PREPARE, &reply, b.why),
                   VOW_E_PROTOCOL);
  assert_string_equal(b.why, "replies[1].status is missing");
  assert_int_equal(reply.status, 200); /* untouched */
  assert_int_equal(vow_batch_reply_read(b.messages, 2, VOW_MESSAGE_COMMIT, &reply, b.why), VOW_OK);
  assert_int_equal(reply.status, 404);
  assert_int_equal(reply.problem, VOW_E_UNKNOWN_BRANCH);
  assert_string_equal(reply.detail, "no");
  assert_int_equal(vow_batch_reply_read(b.messages, 3, VOW_MESSAGE_COMMIT, &reply, b.why), VOW_OK);
  assert_int_equal(reply.problem, VOW_E_PROTOCOL);
  assert_null(reply.detail);
  assert_int_equal(vow_batch_reply_read(b.messages, 4, VOW_MESSAGE_PREPARE, &reply, b.why),
                   VOW_E_PROTOCOL);
  assert_string_equal(b.why, "replies[4].vote is missing");
  assert_int_equal(vow_batch_reply_read(b.messages, 4, VOW_MESSAGE_COMMIT, &reply, b.why), VOW_OK);
  assert_int_equal(reply.reply.outcome, VOW_OUTCOME_COMMITTED);
  assert_int_equal(vow_batch_reply_read(b.messages, 5, VOW_MESSAGE_FORGET, &reply, b.why),
                   VOW_E_PROTOCOL);
  vow_json_free(b.document);
}

/* A batch is written as documented: type first, the trace where the header would be, and in
 * replies the status. */
static void batches_are_written_as_documented(void **state) {
  struct vow_message message = {.type = VOW_MESSAGE_ABORT, .branch = 2, .coordinator = "http://c"};
  struct vow_message_reply reply = {.outcome = VOW_OUTCOME_ABORTED};
  struct vow_buf text;
  struct vow_jsonw w;
  (void)state;
  vow_buf_init(&text, 4096);
  vow_batch_begin(&w, &text);
  vow_batch_message_write(&w, &message, "00-1-2-01");
  vow_batch_end_log(&w, (struct vow_log_position){0}, false);
  assert_non_null(
      strstr(text.data, "{\"messages\":[{\"type\":\"abort\",\"traceparent\":\"00-1-2-01\""));
  vow_buf_reset(&text);
  vow_batch_replies_begin(&w, &text);
  vow_batch_reply_write(&w, VOW_MESSAGE_ABORT, &reply);
  vow_batch_reply_write(&w, VOW_MESSAGE_FORGET, &reply);
  vow_batch_problem_write(&w, VOW_E_UNKNOWN_BRANCH, NULL);
  vow_batch_end_seen(&w, (struct vow_log_position){0});
  assert_non_null(
      strstr(text.data,
             "{\"replies\":[{\"status\":200,\"outcome\":\"aborted\"},{\"status\":200},{\"type\":"
             "\"urn:vow:unknown-branch\","));
  vow_buf_fini(&text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_message_is_judged_alone),
      cmocka_unit_test(each_coordinator_is_judged),
      cmocka_unit_test(payloads_stay),
      cmocka_unit_test(a_batch_has_1_to_128_messages),
      cmocka_unit_test(the_largest_batch_fits),
      cmocka_unit_test(common_members_are_the_same_text),
      cmocka_unit_test(a_wrong_count_is_no_answer),
      cmocka_unit_test(each_reply_is_judged_alone),
      cmocka_unit_test(batches_are_written_as_documented),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
