/*
 * Tests of messages, replies, inquiries and problems as structs (proto/message.c). Their JSON is
 * tested file by file in proto_vectors.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "message.h"

#define ID    "01935e2a-7c3b-7000-8a51-3f1f6c0d9b11"
#define BELOW "01935e2a-7bd0-7000-8000-000000000000"
#define HEAD               \
  "{\"transaction\":\"" ID \
  "\",\"branch\":3,\"coordinator\":\"http://c:7800\",\"finished_below\":\"" BELOW "\""

static struct vow_id id_of(const char *text) {
  struct vow_id id = {{0}};

  assert_true(vow_id_parse(text, &id));
  return id;
}

static struct vow_message a_message(enum vow_message_type type) {
  return (struct vow_message){.type = type,
                              .transaction = id_of(ID),
                              .branch = 3,
                              .finished_below = id_of(BELOW),
                              .coordinator = "http://c:7800"};
}

static void assert_encodes(const struct vow_message *message, const char *text) {
  struct vow_buf out;

  vow_buf_init(&out, 1 << 16);
  vow_message_encode(message, &out);
  assert_int_equal(out.error, VOW_OK);
  assert_string_equal(vow_buf_text(&out), text);
  vow_buf_fini(&out);
}

/* The words of types, votes, outcomes and answers are read back as what they were written for. */
static void words_round_trip(void **state) {
  (void)state;
  for (int i = VOW_MESSAGE_PREPARE; i <= VOW_MESSAGE_FORGET; i++) {
    enum vow_message_type out = 0;
    assert_true(vow_message_type_parse(vow_message_type_name((enum vow_message_type)i), &out));
    assert_int_equal(out, i);
  }
  for (int i = VOW_VOTE_COMMIT; i <= VOW_VOTE_ABORT; i++) {
    enum vow_vote out = VOW_VOTE_NONE;
    assert_true(vow_vote_parse(vow_vote_name((enum vow_vote)i), &out));
    assert_int_equal(out, i);
  }
  for (int i = VOW_OUTCOME_COMMITTED; i <= VOW_OUTCOME_HEURISTIC_HAZARD; i++) {
    enum vow_outcome out = VOW_OUTCOME_NONE;
    assert_true(vow_outcome_parse(vow_outcome_name((enum vow_outcome)i), &out));
    assert_int_equal(out, i);
  }
  for (int i = VOW_INQUIRY_UNKNOWN; i <= VOW_INQUIRY_ABORTED; i++) {
    enum vow_inquiry_answer out = VOW_INQUIRY_UNKNOWN;
    assert_true(
        vow_inquiry_answer_parse(vow_inquiry_answer_name((enum vow_inquiry_answer)i), &out));
    assert_int_equal(out, i);
  }
}

/* Other words are none, "none" and "invalid" least of all; outputs are left alone. */
static void other_words_are_none(void **state) {
  static const char *const words[] = {"",         "none",    "invalid",  "Commit",
                                      "prepared", "commit ", "heuristic"};
  enum vow_message_type type = VOW_MESSAGE_ABORT;
  enum vow_vote vote = VOW_VOTE_ABORT;
  enum vow_outcome outcome = VOW_OUTCOME_ABORTED;
  enum vow_inquiry_answer answer = VOW_INQUIRY_ABORTED;

  (void)state;
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    assert_false(vow_message_type_parse(words[i], &type));
    assert_false(vow_vote_parse(words[i], &vote));
    assert_false(vow_outcome_parse(words[i], &outcome));
    assert_false(vow_inquiry_answer_parse(words[i], &answer));
  }
  assert_int_equal(type, VOW_MESSAGE_ABORT);
  assert_int_equal(vote, VOW_VOTE_ABORT);
  assert_int_equal(outcome, VOW_OUTCOME_ABORTED);
  assert_int_equal(answer, VOW_INQUIRY_ABORTED);
  assert_string_equal(vow_message_type_name((enum vow_message_type)9), "invalid");
  assert_string_equal(vow_inquiry_answer_name((enum vow_inquiry_answer)9), "invalid");
}

/* Only a prepare carries the payload, the time-out and one_phase. */
static void encoding_of_messages(void **state) {
  static const char payload[] = "{\"amount\":19.90}";
  struct vow_message m = a_message(VOW_MESSAGE_COMMIT);

  (void)state;
  m.payload = payload;
  m.payload_bytes = strlen(payload);
  m.timeout_ms = 500;
  m.one_phase = true;
  assert_encodes(&m, HEAD "}");
  m.type = VOW_MESSAGE_FORGET;
  assert_encodes(&m, HEAD "}");
  m.type = VOW_MESSAGE_PREPARE;
  assert_encodes(&m, HEAD ",\"timeout_ms\":500,\"one_phase\":true,\"payload\":{\"amount\":19.90}}");
  m.payload = NULL;
  m.one_phase = false;
  assert_encodes(&m, HEAD ",\"timeout_ms\":500}");
}

/* A decoded prepare has each field, and its payload is compact and borrowed from the document. */
static void decoding_of_a_prepare(void **state) {
  static const char text[] = HEAD
      ", \"timeout_ms\" : 500, \"one_phase\":true, \"payload\": { \"a\" : [ 1.50 , \"x\" ] } }";
  struct vow_json *document = NULL;
  struct vow_message m;
  char why[VOW_JSON_WHY_BYTES];

  (void)state;
  assert_int_equal(vow_message_decode(VOW_MESSAGE_PREPARE, text, strlen(text), &m, &document, why),
                   VOW_OK);
  assert_int_equal(m.type, VOW_MESSAGE_PREPARE);
  assert_int_equal(vow_id_compare(m.transaction, id_of(ID)), 0);
  assert_int_equal(vow_id_compare(m.finished_below, id_of(BELOW)), 0);
  assert_int_equal(m.branch, 3);
  assert_int_equal(m.timeout_ms, 500);
  assert_true(m.one_phase);
  assert_string_equal(m.coordinator, "http://c:7800");
  assert_string_equal(m.payload, "{\"a\":[1.50,\"x\"]}");
  assert_int_equal(m.payload_bytes, strlen(m.payload));
  vow_json_free(document);
}

/* Without a payload there is none, which is not the payload null. */
static void no_payload_is_not_null(void **state) {
  static const char none[] = HEAD ",\"timeout_ms\":1}",
                    null[] = HEAD ",\"timeout_ms\":1,\"payload\":null}";
  struct vow_json *document = NULL;
  struct vow_message m;
  char why[VOW_JSON_WHY_BYTES];

  (void)state;
  assert_int_equal(vow_message_decode(VOW_MESSAGE_PREPARE, none, strlen(none), &m, &document, why),
                   VOW_OK);
  assert_null(m.payload);
  assert_int_equal(m.payload_bytes, 0);
  vow_json_free(document);
  assert_int_equal(vow_message_decode(VOW_MESSAGE_PREPARE, null, strlen(null), &m, &document, why),
                   VOW_OK);
  assert_string_equal(m.payload, "null");
  vow_json_free(document);
}

static void assert_message_refused(enum vow_message_type type, const char *text,
                                   const char *sentence) {
  struct vow_message m = a_message(VOW_MESSAGE_ABORT);
  struct vow_json *document = NULL;
  char why[VOW_JSON_WHY_BYTES] = "";

  assert_int_equal(vow_message_decode(type, text, strlen(text), &m, &document, why),
                   VOW_E_INVALID_REQUEST);
  assert_string_equal(why, sentence);
  assert_int_equal(m.type, VOW_MESSAGE_ABORT);
  assert_null(document);
}

/* A commit must not fail because the coordinator is newer. */
static void newer_messages_are_taken(void **state) {
  static const char text[] = HEAD ",\"newer\":{\"incarnation\":3}}";
  struct vow_json *document = NULL;
  struct vow_message m;
  char why[VOW_JSON_WHY_BYTES];

  (void)state;
  assert_int_equal(vow_message_decode(VOW_MESSAGE_COMMIT, text, strlen(text), &m, &document, why),
                   VOW_OK);
  vow_json_free(document);
}

/* How far the log has come is written and read back, in messages, answers and inquiries; who does
 * not say leaves it alone; half of it is refused, with its place. */
static void positions_round_trip(void **state) {
  struct vow_message back, message = a_message(VOW_MESSAGE_COMMIT);
  struct vow_message_reply reply = {.outcome = VOW_OUTCOME_COMMITTED, .seen = {7, 5}};
  struct vow_log_position seen = {0};
  struct vow_id ids[2] = {message.transaction};
  struct vow_json *document = NULL;
  struct vow_buf out;
  char why[VOW_JSON_WHY_BYTES] = "";
  size_t count = 0;

  (void)state;
  message.log = (struct vow_log_position){7, 9};
  message.log_ask = true;
  assert_encodes(&message, HEAD ",\"log\":{\"incarnation\":7,\"position\":9,\"ask\":true}}");
  vow_buf_init(&out, 1 << 16);
  vow_message_encode(&message, &out);
  assert_int_equal(
      vow_message_decode(VOW_MESSAGE_COMMIT, out.data, out.bytes, &back, &document, why), VOW_OK);
  assert_int_equal(vow_log_position_compare(back.log, message.log), 0);
  assert_true(back.log_ask);
  vow_json_free(document);
  vow_buf_reset(&out);
  vow_message_reply_encode(VOW_MESSAGE_FORGET, &reply, &out);
  assert_string_equal(vow_buf_text(&out), "{\"seen\":{\"incarnation\":7,\"position\":5}}");
  assert_int_equal(vow_log_position_of_answer(out.data, out.bytes, &seen), VOW_OK);
  assert_int_equal(seen.position, 5);
  assert_int_equal(vow_log_position_of_answer("{\"seen\":7}", 10, &seen), VOW_OK);
  assert_int_equal(seen.incarnation, 0);
  assert_int_equal(vow_log_position_of_answer("<html>", 6, &seen), VOW_OK);
  assert_int_equal(seen.incarnation, 0);
  vow_buf_reset(&out);
  vow_inquiry_request_encode(ids, 1, reply.seen, &out);
  assert_int_equal(vow_inquiry_request_decode(out.data, out.bytes, ids, 2, &count, &seen, why),
                   VOW_OK);
  assert_int_equal(vow_log_position_compare(seen, reply.seen), 0);
  vow_buf_fini(&out);
  assert_message_refused(VOW_MESSAGE_COMMIT, HEAD ",\"log\":{\"incarnation\":7}}",
                         "log.position is missing");
  assert_message_refused(VOW_MESSAGE_COMMIT, HEAD ",\"log\":[]}",
                         "log must be an object, not an array");
}

/* A message that is refused says where, and leaves the outputs alone. */
static void refused_messages_say_where(void **state) {
  (void)state;
  assert_message_refused(VOW_MESSAGE_PREPARE, "[]", "the body must be an object, not an array");
  assert_message_refused(VOW_MESSAGE_PREPARE, "{}", "transaction is missing");
  assert_message_refused(VOW_MESSAGE_PREPARE, HEAD "}", "timeout_ms is missing");
  assert_message_refused(VOW_MESSAGE_COMMIT, "{\"transaction\":\"x\"}",
                         "transaction must be a UUID (36 characters, 8-4-4-4-12)");
  assert_message_refused(
      VOW_MESSAGE_COMMIT,
      "{\"transaction\":\"" ID "\",\"branch\":1,\"coordinator\":\"http://a@b\"}",
      "coordinator must be a URL: the URL must not have a user name or password (\"@\" before "
      "the host)");
}

static void assert_reply(enum vow_message_type type, struct vow_message_reply reply,
                         const char *text) {
  struct vow_json *document = NULL;
  struct vow_message_reply back;
  struct vow_buf out;
  char why[VOW_JSON_WHY_BYTES];

  vow_buf_init(&out, 1000);
  vow_message_reply_encode(type, &reply, &out);
  assert_string_equal(vow_buf_text(&out), text);
  assert_int_equal(vow_message_reply_decode(type, out.data, out.bytes, &back, &document, why),
                   VOW_OK);
  if (type == VOW_MESSAGE_FORGET) reply = (struct vow_message_reply){0};
  assert_int_equal(back.vote, reply.vote);
  assert_int_equal(back.outcome, reply.outcome);
  assert_int_equal(back.reason != NULL, reply.reason != NULL);
  if (reply.reason) assert_string_equal(back.reason, reply.reason);
  vow_json_free(document);
  vow_buf_fini(&out);
}

/* Replies have the members of their message, and are read back as they were. */
static void replies_round_trip(void **state) {
  (void)state;
  assert_reply(VOW_MESSAGE_PREPARE, (struct vow_message_reply){.vote = VOW_VOTE_READ_ONLY},
               "{\"vote\":\"read-only\"}");
  assert_reply(VOW_MESSAGE_PREPARE,
               (struct vow_message_reply){.vote = VOW_VOTE_ABORT, .reason = "no \"funds\""},
               "{\"vote\":\"abort\",\"reason\":\"no \\\"funds\\\"\"}");
  assert_reply(
      VOW_MESSAGE_PREPARE,
      (struct vow_message_reply){.vote = VOW_VOTE_COMMIT, .outcome = VOW_OUTCOME_COMMITTED},
      "{\"vote\":\"commit\",\"outcome\":\"committed\"}");
  for (int i = VOW_OUTCOME_COMMITTED; i <= VOW_OUTCOME_HEURISTIC_HAZARD; i++) {
    char text[60];
    enum vow_outcome outcome = (enum vow_outcome)i;
    (void)snprintf(text, sizeof text, "{\"outcome\":\"%s\"}", vow_outcome_name(outcome));
    assert_reply(VOW_MESSAGE_COMMIT, (struct vow_message_reply){.outcome = outcome}, text);
    assert_reply(VOW_MESSAGE_ABORT, (struct vow_message_reply){.outcome = outcome}, text);
  }
  assert_reply(VOW_MESSAGE_FORGET,
               (struct vow_message_reply){
                   .vote = VOW_VOTE_COMMIT, .outcome = VOW_OUTCOME_ABORTED, .reason = "x"},
               "{}");
}

/* What is no answer to this message is a protocol error with a sentence, and outputs are left
 * alone. */
static void wrong_replies_say_where(void **state) {
  static const struct {
    enum vow_message_type type;
    const char *text, *why;
  } cases[] = {
      {VOW_MESSAGE_PREPARE, "{\"outcome\":\"committed\"}", "vote is missing"},
      {VOW_MESSAGE_PREPARE, "{\"vote\":\"ok\"}",
       "vote must be \"commit\", \"read-only\" or \"abort\""},
      {VOW_MESSAGE_PREPARE, "{\"vote\":\"read-only\",\"outcome\":\"committed\"}",
       "outcome of a prepare must be \"aborted\" with the vote abort, and with the vote commit "
       "\"committed\" or the truth about a heuristic end"},
      {VOW_MESSAGE_COMMIT, "{\"vote\":\"commit\"}", "outcome is missing"},
      {VOW_MESSAGE_ABORT, "{\"outcome\":\"gone\"}",
       "outcome must be \"committed\", \"aborted\" or \"heuristic-\" with commit, abort, mixed or "
       "hazard"},
      {VOW_MESSAGE_FORGET, "null", "the body must be an object, not null"},
      {VOW_MESSAGE_COMMIT, "ok", "a JSON value is expected at line 1, column 1"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct vow_message_reply reply = {.vote = VOW_VOTE_ABORT};
    struct vow_json *document = NULL;
    char why[VOW_JSON_WHY_BYTES] = "";
    assert_int_equal(vow_message_reply_decode(cases[i].type, cases[i].text, strlen(cases[i].text),
                                              &reply, &document, why),
                     VOW_E_PROTOCOL);
    assert_string_equal(why, cases[i].why);
    assert_int_equal(reply.vote, VOW_VOTE_ABORT);
    assert_null(document);
  }
}

#define MANY 1000

/* A thousand ids fit a request of a thousand; one more is a limit exceeded, not an overrun. */
static void inquiry_limits(void **state) {
  static struct vow_id ids[MANY + 1], back[MANY + 1];
  struct vow_log_position seen = {0};
  size_t count = 77;
  struct vow_buf out;
  char why[VOW_JSON_WHY_BYTES];

  (void)state;
  for (unsigned i = 0; i <= MANY; i++) ids[i] = vow_id_make(i, 0, i);
  vow_buf_init(&out, 1 << 20);
  vow_inquiry_request_encode(ids, MANY, seen, &out);
  assert_int_equal(vow_inquiry_request_decode(out.data, out.bytes, back, MANY, &count, &seen, why),
                   VOW_OK);
  assert_int_equal(count, MANY);
  assert_memory_equal(ids, back, MANY * sizeof ids[0]);
  vow_buf_reset(&out);
  vow_inquiry_request_encode(ids, MANY + 1, seen, &out);
  count = 77;
  assert_int_equal(vow_inquiry_request_decode(out.data, out.bytes, back, MANY, &count, &seen, why),
                   VOW_E_LIMIT_EXCEEDED);
  assert_string_equal(why, "transactions must have at most 1000 items, it has 1001");
  assert_int_equal(count, 77);
  vow_buf_fini(&out);
}

/* A list with one bad id writes none of the good ones. */
static void a_bad_id_spoils_the_list(void **state) {
  static const char text[] = "{\"transactions\":[\"" ID "\",\"nonsense\",\"" ID "\"]}";
  struct vow_id ids[4] = {{{0}}};
  struct vow_log_position seen = {0};
  size_t count = 77;
  char why[VOW_JSON_WHY_BYTES];

  (void)state;
  assert_int_equal(vow_inquiry_request_decode(text, strlen(text), ids, 4, &count, &seen, why),
                   VOW_E_INVALID_REQUEST);
  assert_string_equal(why, "transactions[1] must be a UUID (36 characters, 8-4-4-4-12)");
  assert_int_equal(count, 77);
  assert_true(vow_id_is_nil(ids[0]));
}

/* Results of an inquiry are read back; too many or a broken one leave the outputs alone. */
static void inquiry_replies(void **state) {
  static const char broken[] =
      "{\"outcomes\":[{\"transaction\":\"" ID "\",\"outcome\":\"committed\"},{},{}]}";
  struct vow_inquiry_result results[2] = {
      {.transaction = id_of(ID), .answer = VOW_INQUIRY_COMMITTED},
      {.transaction = id_of(BELOW),
       .answer = VOW_INQUIRY_ABORTED,
       .presumed = true,
       .purged = true}};
  struct vow_log_position log = {5, 9}, read = {1, 2};
  struct vow_inquiry_result back[3] = {{.answer = VOW_INQUIRY_UNDECIDED}};
  size_t count = 77;
  struct vow_buf out;
  char why[VOW_JSON_WHY_BYTES];

  (void)state;
  vow_buf_init(&out, 1000);
  vow_inquiry_reply_encode(results, 2, log, &out);
  assert_string_equal(vow_buf_text(&out),
                      "{\"outcomes\":[{\"transaction\":\"" ID
                      "\",\"outcome\":\"committed\"},"
                      "{\"transaction\":\"" BELOW
                      "\",\"outcome\":\"aborted\",\"presumed\":true,\"purged\":true}],"
                      "\"log\":{\"incarnation\":5,\"position\":9}}");
  assert_int_equal(vow_inquiry_reply_decode(out.data, out.bytes, back, 1, &count, &read, why),
                   VOW_E_LIMIT_EXCEEDED);
  assert_int_equal(vow_inquiry_reply_decode(broken, strlen(broken), back, 3, &count, &read, why),
                   VOW_E_PROTOCOL);
  assert_string_equal(why, "outcomes[1].transaction is missing");
  assert_int_equal(count, 77);
  assert_int_equal(read.incarnation, 1);
  assert_int_equal(back[0].answer, VOW_INQUIRY_UNDECIDED);
  assert_int_equal(vow_inquiry_reply_decode(out.data, out.bytes, back, 2, &count, &read, why),
                   VOW_OK);
  assert_int_equal(count, 2);
  assert_int_equal(back[0].answer, VOW_INQUIRY_COMMITTED);
  assert_false(back[0].presumed);
  assert_int_equal(back[1].answer, VOW_INQUIRY_ABORTED);
  assert_true(back[1].presumed && back[1].purged && !back[0].purged);
  assert_int_equal(vow_log_position_compare(read, log), 0);
  assert_int_equal(vow_id_compare(back[1].transaction, id_of(BELOW)), 0);
  vow_buf_fini(&out);
}

/* Each error of the table becomes a problem and is read back, with its detail or else its title. */
static void problems_round_trip(void **state) {
  static const enum vow_error errors[] = {
#define ROW(number, name, class_, status, slug, text) VOW_E_##name,
      VOW_ERROR_TABLE(ROW)
#undef ROW
  };

  (void)state;
  for (size_t i = 1; i < sizeof errors / sizeof errors[0]; i++) {
    for (int with_detail = 0; with_detail < 2; with_detail++) {
      struct vow_buf out;
      struct vow_jsonw w;
      char detail[100] = "before";
      vow_buf_init(&out, 1000);
      vow_jsonw_init(&w, &out);
      vow_problem_begin(&w, errors[i], with_detail ? "it is \"so\"" : NULL);
      vow_jsonw_bool(&w, "extra", true);
      vow_jsonw_end(&w);
      assert_int_equal(vow_problem_decode(out.data, out.bytes, detail, sizeof detail), errors[i]);
      /* protocol-error is one of ours, too, but cannot be told from a body that is none of ours */
      const char *expected = with_detail ? "it is \"so\"" : vow_error_text(errors[i]);
      assert_string_equal(detail, errors[i] == VOW_E_PROTOCOL ? "before" : expected);
      assert_int_equal(vow_problem_decode(out.data, out.bytes, NULL, 0), errors[i]);
      assert_int_equal(vow_problem_decode(out.data, out.bytes, detail, 0), errors[i]);
      vow_buf_fini(&out);
    }
  }
}

/* The shape of a problem, and a detail that is longer than the caller's room. */
static void the_shape_of_a_problem(void **state) {
  struct vow_buf out;
  struct vow_jsonw w;
  char detail[6];

  (void)state;
  vow_buf_init(&out, 1000);
  vow_jsonw_init(&w, &out);
  vow_problem_begin(&w, VOW_E_ILLEGAL_STATE, "committed already");
  vow_jsonw_string(&w, "state", "committed");
  vow_jsonw_end(&w);
  assert_string_equal(vow_buf_text(&out),
                      "{\"type\":\"urn:vow:illegal-state\",\"title\":\"the transaction's state "
                      "does not allow this\","
                      "\"status\":409,\"detail\":\"committed already\",\"state\":\"committed\"}");
  assert_int_equal(vow_problem_decode(out.data, out.bytes, detail, sizeof detail),
                   VOW_E_ILLEGAL_STATE);
  assert_string_equal(detail, "commi");
  vow_buf_fini(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(words_round_trip),       cmocka_unit_test(other_words_are_none),
      cmocka_unit_test(encoding_of_messages),   cmocka_unit_test(decoding_of_a_prepare),
      cmocka_unit_test(no_payload_is_not_null), cmocka_unit_test(newer_messages_are_taken),
      cmocka_unit_test(positions_round_trip),   cmocka_unit_test(refused_messages_say_where),
      cmocka_unit_test(replies_round_trip),     cmocka_unit_test(wrong_replies_say_where),
      cmocka_unit_test(inquiry_limits),         cmocka_unit_test(a_bad_id_spoils_the_list),
      cmocka_unit_test(inquiry_replies),        cmocka_unit_test(problems_round_trip),
      cmocka_unit_test(the_shape_of_a_problem),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
