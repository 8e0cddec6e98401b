/*
 * Fails each allocation of the codec once: the n-th one, for n = 1 until an operation needs fewer.
 * Whatever fails, the answer is "out of memory" and nothing else, outputs stay untouched, and
 * nothing leaks (the sanitizers look).
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
#include "failing_memory.h"
#include "known.h"

static unsigned long fail_at; /* counts down; 0: never */
static bool failed;

bool allocation_fails(void) {
  if (fail_at == 0 || --fail_at > 0) return false;
  failed = true;
  return true;
}

static const char TEXT[] =
    "{\"transaction\":\"01935e2a-7c3b-7000-8a51-3f1f6c0d9b11\",\"branch\":1,\"coordinator\":\"http:"
    "//c\","
    "\"finished_below\":\"01935e2a-7bd0-7000-8000-000000000000\",\"timeout_ms\":5,"
    "\"payload\":{\"a\":[1.50,2,\"x\",{\"b\":null,\"c\":true}],\"d\":\"\\u00e9\"}}";

/* Runs `operation` with each allocation failing in turn; it says whether it succeeded. */
static void fail_each(bool (*operation)(void)) {
  unsigned long n = 0;
  bool succeeded;

  do {
    fail_at = ++n;
    failed = false;
    succeeded = operation();
    fail_at = 0;
    assert_int_equal(succeeded, !failed);
    assert_true(n < 10000);
  } while (!succeeded);
  assert_true(n > 1); /* it does allocate, so something was failed */
}

static bool parse_text(const char *text) {
  struct vow_json *json = NULL;
  char why[VOW_JSON_WHY_BYTES] = "";

  enum vow_error error = vow_json_parse(&json, text, strlen(text), why);
  if (error != VOW_OK) {
    assert_int_equal(error, VOW_E_NO_MEMORY);
    assert_null(json);
    assert_true(strlen(why) > 5);
  }
  vow_json_free(json);
  return error == VOW_OK;
}

static bool parse(void) {
  return parse_text(TEXT);
}

/* So many values that they need memory of their own while they are read. */
static bool parse_many(void) {
  char text[1000];

  memset(text, ',', sizeof text);
  for (size_t i = 1; i < sizeof text; i += 2) text[i] = '1';
  text[0] = '[';
  text[sizeof text - 2] = ']';
  text[sizeof text - 1] = '\0';
  return parse_text(text);
}

static bool decode_message(void) {
  struct vow_message message = {.branch = 99};
  struct vow_json *document = NULL;
  char why[VOW_JSON_WHY_BYTES] = "";

  enum vow_error error =
      vow_message_decode(VOW_MESSAGE_PREPARE, TEXT, strlen(TEXT), &message, &document, why);
  if (error != VOW_OK) {
    assert_int_equal(error, VOW_E_NO_MEMORY);
    assert_int_equal(message.branch, 99);
    assert_null(document);
    assert_true(strlen(why) > 5);
  }
  vow_json_free(document);
  return error == VOW_OK;
}

static bool decode_reply(void) {
  static const char text[] = "{\"outcome\":\"committed\",\"x\":[1.5]}";
  struct vow_message_reply reply = {.outcome = VOW_OUTCOME_NONE};
  struct vow_json *document = NULL;
  char why[VOW_JSON_WHY_BYTES] = "";

  enum vow_error error =
      vow_message_reply_decode(VOW_MESSAGE_COMMIT, text, strlen(text), &reply, &document, why);
  if (error != VOW_OK) {
    assert_int_equal(error, VOW_E_NO_MEMORY);
    assert_int_equal(reply.outcome, VOW_OUTCOME_NONE);
  }
  vow_json_free(document);
  return error == VOW_OK;
}

static bool decode_problem(void) {
  static const char text[] = "{\"type\":\"urn:vow:unknown-branch\",\"detail\":\"x\"}";
  char detail[20] = "before";

  enum vow_error error = vow_problem_decode(text, strlen(text), detail, sizeof detail);
  if (error != VOW_E_UNKNOWN_BRANCH) {
    assert_int_equal(error, VOW_E_NO_MEMORY);
    assert_string_equal(detail, "before");
  }
  return error == VOW_E_UNKNOWN_BRANCH;
}

static bool decode_inquiry(void) {
  static const char text[] = "{\"transactions\":[\"01935e2a-7c3b-7000-8a51-3f1f6c0d9b11\"]}";
  struct vow_id ids[4];
  char why[VOW_JSON_WHY_BYTES];
  struct vow_log_position seen = {0};
  size_t count = 99;

  enum vow_error error = vow_inquiry_request_decode(text, strlen(text), ids, 4, &count, &seen, why);
  if (error != VOW_OK) {
    assert_int_equal(error, VOW_E_NO_MEMORY);
    assert_int_equal(count, 99);
  }
  return error == VOW_OK;
}

/* Each message is read by itself; the second has a payload, as the first has. */
static bool decode_batch(void) {
  char text[1024], why[VOW_JSON_WHY_BYTES] = "";
  const struct vow_json_node *messages = NULL;
  struct vow_message message = {.branch = 99};
  struct vow_json *document = NULL;

  (void)snprintf(text, sizeof text,
                 "{\"messages\":[{\"type\":\"prepare\",%s,{\"type\":\"prepare\",%s]}", TEXT + 1,
                 TEXT + 1);
  enum vow_error error = vow_batch_decode(text, strlen(text), &document, &messages, why);
  if (error != VOW_OK) assert_null(document);
  for (size_t i = 0; i < 2 && error == VOW_OK; i++) {
    error = vow_batch_message_read(document, messages, i, NULL, &message, why);
  }
  if (error != VOW_OK) {
    assert_int_equal(error, VOW_E_NO_MEMORY);
    assert_true(strlen(why) > 5);
  }
  vow_json_free(document);
  return error == VOW_OK;
}

static bool decode_batch_replies(void) {
  static const char text[] =
      "{\"replies\":[{\"status\":200,\"vote\":\"commit\"},{\"status\":500}]}";
  const struct vow_json_node *replies = NULL;
  struct vow_json *document = NULL;
  char why[VOW_JSON_WHY_BYTES] = "";

  enum vow_error error = vow_batch_replies_decode(text, strlen(text), 2, &document, &replies, why);
  if (error != VOW_OK) {
    assert_int_equal(error, VOW_E_NO_MEMORY);
    assert_null(document);
    assert_null(replies);
  }
  vow_json_free(document);
  return error == VOW_OK;
}

static bool decode_known(void) {
  static const char text[] =
      "{\"finished_below\":\"01935e2a-7bd0-7000-8000-000000000000\",\"branches\":[]}";
  struct vow_known_reply reply = {.count = 99};
  char why[VOW_JSON_WHY_BYTES] = "";

  enum vow_error error = vow_known_reply_decode(text, strlen(text), &reply, why);
  if (error != VOW_OK) {
    assert_int_equal(error, VOW_E_NO_MEMORY);
    assert_int_equal(reply.count, 99);
    assert_true(strlen(why) > 5);
  } else {
    free(reply.branches);
  }
  return error == VOW_OK;
}

static bool write_buffer(void) {
  struct vow_buf buf;
  size_t bytes = 99;

  vow_buf_init(&buf, 1 << 20);
  for (int i = 0; i < 300; i++) vow_buf_printf(&buf, "%d,", i);
  enum vow_error error = buf.error;
  char *text = vow_buf_take(&buf, &bytes);
  assert_int_equal(text == NULL, error != VOW_OK);
  if (error != VOW_OK) {
    assert_int_equal(error, VOW_E_NO_MEMORY);
    assert_int_equal(bytes, 99);
  }
  free(text);
  return error == VOW_OK;
}

static void parse_without_memory(void **state) {
  (void)state;
  fail_each(parse);
  fail_each(parse_many);
}
static void decode_message_without_memory(void **state) {
  (void)state;
  fail_each(decode_message);
}
static void decode_reply_without_memory(void **state) {
  (void)state;
  fail_each(decode_reply);
}
static void decode_problem_without_memory(void **state) {
  (void)state;
  fail_each(decode_problem);
}
static void decode_inquiry_without_memory(void **state) {
  (void)state;
  fail_each(decode_inquiry);
}
static void decode_batch_without_memory(void **state) {
  (void)state;
  fail_each(decode_batch);
}
static void decode_batch_replies_without_memory(void **state) {
  (void)state;
  fail_each(decode_batch_replies);
}
static bool read_position(void) {
  static const char text[] = "{\"seen\":{\"incarnation\":7,\"position\":5}}";
  struct vow_log_position seen = {9, 9};

  enum vow_error error = vow_log_position_of_answer(text, strlen(text), &seen);
  if (error != VOW_OK) assert_int_equal(error, VOW_E_NO_MEMORY);
  assert_int_equal(seen.position, error == VOW_OK ? 5 : 0);
  return error == VOW_OK;
}

/* Who has told something is not taken for one that has told nothing. */
static void read_position_without_memory(void **state) {
  (void)state;
  fail_each(read_position);
}
static void decode_known_without_memory(void **state) {
  (void)state;
  fail_each(decode_known);
}

static void write_buffer_without_memory(void **state) {
  (void)state;
  fail_each(write_buffer);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(parse_without_memory),
      cmocka_unit_test(decode_message_without_memory),
      cmocka_unit_test(decode_reply_without_memory),
      cmocka_unit_test(decode_problem_without_memory),
      cmocka_unit_test(decode_inquiry_without_memory),
      cmocka_unit_test(decode_batch_without_memory),
      cmocka_unit_test(decode_batch_replies_without_memory),
      cmocka_unit_test(read_position_without_memory),
      cmocka_unit_test(decode_known_without_memory),
      cmocka_unit_test(write_buffer_without_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
