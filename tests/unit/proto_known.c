/*
 * Tests of what a coordinator asks a participant about transactions, and of the answers
 * (proto/known.c); what is on the wire is in proto/vectors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "known.h"

#define T      "\"01935e2a-7c3b-7000-8a51-3f1f6c0d9b11\""
#define BELOW  "\"finished_below\":\"01935e2a-7bd0-7000-8000-000000000000\""
#define BRANCH "{\"transaction\":" T ",\"branch\":1,\"state\":\"prepared\"}"

/* Each state has a word that is read back; what is no state has none. */
static void states_have_words(void **state) {
  enum vow_known_state out = VOW_KNOWN_PREPARED;

  (void)state;
  for (int i = VOW_KNOWN_PREPARING; i <= VOW_KNOWN_REFUSED; i++) {
    assert_true(vow_known_state_parse(vow_known_state_name((enum vow_known_state)i), &out));
    assert_int_equal(out, i);
  }
  assert_string_equal(vow_known_state_name((enum vow_known_state)(VOW_KNOWN_REFUSED + 1)),
                      "invalid");
  assert_string_equal(vow_known_state_name((enum vow_known_state)(VOW_KNOWN_PREPARING - 1)),
                      "invalid");
  assert_false(vow_known_state_parse("invalid", &out));
}

static void refuse_request(const char *text, enum vow_error expected, const char *words) {
  static struct vow_id ids[VOW_KNOWN_IDS_MAX];
  struct vow_known_request request = {.ids = ids};
  struct vow_json *document = NULL;
  char why[VOW_JSON_WHY_BYTES] = "";

  assert_int_equal(vow_known_request_decode(text, strlen(text), &request, &document, why),
                   expected);
  assert_null(document);
  if (strstr(why, words) == NULL) fail_msg("%s: %s", text, why);
}

/* A question that is no JSON, or asks for what is no id, is refused with the place. */
static void requests_are_refused(void **state) {
  (void)state;
  refuse_request("{", VOW_E_INVALID_JSON, "line 1");
  refuse_request("{\"coordinator\":\"http://c\",\"transactions\":[" T ",1]}", VOW_E_INVALID_REQUEST,
                 "transactions[1]");
  refuse_request("{\"coordinator\":\"http://c\",\"transactions\":[\"x\"]}", VOW_E_INVALID_REQUEST,
                 "transactions[0]");
}

static void refuse_reply(const char *text, const char *words) {
  struct vow_known_reply reply = {.count = 4711};
  char why[VOW_JSON_WHY_BYTES] = "";

  assert_int_equal(vow_known_reply_decode(text, strlen(text), &reply, why), VOW_E_PROTOCOL);
  assert_int_equal(reply.count, 4711);
  if (strstr(why, words) == NULL) fail_msg("%s: %s", text, why);
}

/* An answer is read as a whole or not at all: its first wrong branch is named. */
static void answers_are_refused(void **state) {
  (void)state;
  refuse_reply("", "");
  refuse_reply("{" BELOW ",\"branches\":[" BRANCH ",{\"transaction\":1}," BRANCH "]}",
               "branches[1]");
  refuse_reply("{" BELOW ",\"branches\":[{\"transaction\":" T ",\"branch\":1}]}", "state");
}

/* Of an answer to in-doubt, the position is that of the coordinator that asks. */
static void in_doubt_is_read_for_one_coordinator(void **state) {
  const char *text = "{\"branches\":[" BRANCH
                     "],\"seen\":["
                     "{\"coordinator\":\"http://a\",\"incarnation\":1,\"position\":2},"
                     "{\"coordinator\":\"http://b\",\"incarnation\":3,\"position\":4}]}";
  struct vow_known_reply reply = {0};
  char why[VOW_JSON_WHY_BYTES] = "";

  (void)state;
  assert_int_equal(vow_in_doubt_decode(text, strlen(text), "http://b", &reply, why), VOW_OK);
  assert_int_equal(reply.count, 1);
  assert_int_equal(reply.branches[0].state, VOW_KNOWN_PREPARED);
  assert_int_equal(reply.seen.incarnation, 3);
  assert_int_equal(reply.seen.position, 4);
  free(reply.branches);
}

/* What is in doubt for another coordinator is that one's to end: it is counted and left out. */
static void in_doubt_of_another_coordinator_is_left_out(void **state) {
  const char *text =
      "{\"branches\":[{\"transaction\":" T
      ",\"branch\":1,\"coordinator\":\"http://a\"},"
      "{\"transaction\":" T ",\"branch\":2,\"coordinator\":\"http://b\"}," BRANCH "]}";
  struct vow_known_reply reply = {0};
  char why[VOW_JSON_WHY_BYTES] = "";

  (void)state;
  assert_int_equal(vow_in_doubt_decode(text, strlen(text), "http://b", &reply, why), VOW_OK);
  assert_int_equal(reply.count, 2);
  assert_int_equal(reply.branches[0].branch, 2);
  assert_null(reply.branches[0].coordinator);
  assert_int_equal(reply.of_others, 1);
  free(reply.branches);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(states_have_words),
      cmocka_unit_test(requests_are_refused),
      cmocka_unit_test(answers_are_refused),
      cmocka_unit_test(in_doubt_is_read_for_one_coordinator),
      cmocka_unit_test(in_doubt_of_another_coordinator_is_left_out),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
