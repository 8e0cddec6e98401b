/*
 * Batches at a participant, in the mounted form: each message is judged and answered by itself,
 * what is wrong with all of it is a problem, and the offer is on every answer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "participant_fixture.h"

#define JSON "application/json"

struct reply {
  int status;
  uint32_t batch_max;
  char *body; /* owned */
};

static struct reply post(struct fixture *f, const char *path, const char *type, const char *body) {
  struct vow_http_response response;
  struct vow_http_request request = {.method = "POST",
                                     .path = path,
                                     .content_type = type,
                                     .body = body,
                                     .body_bytes = strlen(body)};
  enum vow_error error = vow_participant_handle(f->participant, &request, &response);
  assert_int_equal(error == VOW_OK, response.status == 200);
  assert_non_null(response.body);
  return (struct reply){response.status, response.batch_max, response.body};
}

/* ---- bodies ---- */

struct batch {
  char text[1 << 16];
  size_t bytes;
  unsigned count;
};

static void add(struct batch *b, const char *object) {
  if (b->count++ == 0) b->bytes = (size_t)snprintf(b->text, sizeof b->text, "{\"messages\":[");
  b->bytes += (size_t)snprintf(b->text + b->bytes, sizeof b->text - b->bytes, "%s%s",
                               b->count == 1 ? "" : ",", object);
  assert_true(b->bytes + 3 < sizeof b->text);
}

/* For branch 1 of the n-th transaction. */
static void add_message(const struct fixture *f, struct batch *b, const char *type, unsigned n,
                        const char *more) {
  char body[1024], object[1100];
  fixture_message(f, body, sizeof body, type, n, NO_WATERMARK, more);
  (void)snprintf(object, sizeof object, "{\"type\":\"%s\",%s", type, body + 1);
  add(b, object);
}

static struct reply send_batch(struct fixture *f, struct batch *b) {
  (void)snprintf(b->text + b->bytes, sizeof b->text - b->bytes, "]}");
  struct reply reply = post(f, "/batch", JSON, b->text);
  b->count = 0;
  return reply;
}

static void expect_reply(struct reply reply, int status, const char *body) {
  assert_string_equal(reply.body, body);
  assert_int_equal(reply.status, status);
  vow_free(reply.body);
}

/* The parts stand in the body, in this order. */
static void expect_parts(struct reply reply, int status, const char *const *parts) {
  const char *from = reply.body;
  for (; *parts; parts++) {
    const char *found = strstr(from, *parts);
    if (!found) fail_msg("%s is not in, or not in this order: %s", *parts, reply.body);
    from = found + strlen(*parts);
  }
  assert_int_equal(reply.status, status);
  vow_free(reply.body);
}
#define parts(...) ((const char *const[]){__VA_ARGS__, NULL})

#define REPLIES(text) "{\"replies\":[" text "]}"
#define VOTED         "{\"status\":200,\"vote\":\"commit\"}"
#define DONE          "{\"status\":200,\"outcome\":\"committed\"}"

/* ---- tests ---- */

static void a_batch_is_answered_message_by_message(void **state) {
  static struct batch b;
  struct fixture *f = *state;
  fixture_open(f);
  for (unsigned n = 1; n <= 3; n++) add_message(f, &b, "prepare", n, ",\"payload\":7");
  expect_reply(send_batch(f, &b), 200, REPLIES(VOTED "," VOTED "," VOTED));
  add_message(f, &b, "commit", 1, "");
  add_message(f, &b, "prepare", 4, ",\"traceparent\":\"00-1-2-01\"");
  add_message(f, &b, "abort", 2, "");
  add_message(f, &b, "commit", 3, "");
  expect_reply(send_batch(f, &b), 200,
               REPLIES(DONE "," VOTED ",{\"status\":200,\"outcome\":\"aborted\"}," DONE));
  assert_int_equal(f->app->prepares, 4);
  assert_int_equal(f->app->commits, 2);
  fixture_reopen(f);
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
  expect(send_message(f, "commit", 4, ""), 200, COMMITTED);
}

static void *send_batch_thread(void *context) {
  static struct batch b;
  struct fixture *f = context;
  for (unsigned n = 1; n <= 5; n++) add_message(f, &b, "prepare", n, "");
  expect_reply(send_batch(f, &b), 200, REPLIES(VOTED "," VOTED "," VOTED "," VOTED "," VOTED));
  return NULL;
}

/* None returns before all have been called. */
static void slow_callbacks_of_a_batch_run_at_the_same_time(void **state) {
  struct fixture *f = *state;
  pthread_t sender;
  f->options.callback_threads = 5;
  fixture_open(f);
  app_hold(f->app, true);
  assert_int_equal(pthread_create(&sender, NULL, send_batch_thread, f), 0);
  app_await_waiting(f->app, 5);
  app_hold(f->app, false);
  pthread_join(sender, NULL);
}

static void what_is_wrong_with_one_message_spoils_no_other(void **state) {
  static struct batch b;
  struct fixture *f = *state;
  fixture_open(f);
  add_message(f, &b, "prepare", 1, "");
  add(&b, "{}");
  add_message(f, &b, "commit", 2, "");
  add(&b, "7");
  add_message(f, &b, "undo", 3, "");
  add_message(f, &b, "prepare", 4, "");
  expect_parts(send_batch(f, &b), 200,
               parts(VOTED, "\"status\":400,\"detail\":\"messages[1].type is missing\"",
                     "urn:vow:unknown-branch", "\"status\":404", "messages[3] must be an object",
                     "messages[4].type must be", VOTED));
  assert_int_equal(f->app->prepares, 2);
}

static void all_messages_have_the_coordinator_of_the_first(void **state) {
  static struct batch b;
  struct fixture *f = *state;
  fixture_open(f);
  add(&b, "{\"coordinator\":\"http://127.0.0.1:9999\"}"); /* is none, so it is not the first */
  add_message(f, &b, "prepare", 1, "");
  f->coordinator = "http://127.0.0.1:7801";
  add_message(f, &b, "prepare", 2, "");
  f->coordinator = COORDINATOR;
  add_message(f, &b, "prepare", 3, "");
  expect_parts(send_batch(f, &b), 200,
               parts("\"status\":400", VOTED, "\"status\":400", "the same coordinator", VOTED));
  assert_int_equal(f->app->prepares, 2);
}

static void who_may_not_coordinate_is_told_so_for_each_message(void **state) {
  static struct batch b;
  struct fixture *f = *state;
  f->options.coordinator_allow = "http://127.0.0.1:2";
  fixture_open(f);
  add_message(f, &b, "prepare", 1, "");
  add_message(f, &b, "commit", 2, "");
  expect_parts(send_batch(f, &b), 200,
               parts("\"status\":403", "coordinator_allow", "\"status\":403", "coordinator_allow"));
  assert_int_equal(f->app->prepares, 0);
}

/* The same branch twice: a second prepare gets the first's vote, and a commit that came too early
 * is told so. */
static void a_branch_may_be_there_twice(void **state) {
  static struct batch b;
  struct fixture *f = *state;
  fixture_open(f);
  add_message(f, &b, "prepare", 1, "");
  add_message(f, &b, "prepare", 1, "");
  expect_reply(send_batch(f, &b), 200, REPLIES(VOTED "," VOTED));
  assert_int_equal(f->app->prepares, 1);
  add_message(f, &b, "commit", 1, "");
  add_message(f, &b, "commit", 1, "");
  add_message(f, &b, "prepare", 1, "");
  expect_reply(send_batch(f, &b), 200, REPLIES(DONE "," DONE "," VOTED));
  assert_int_equal(f->app->commits, 1);
  add_message(f, &b, "prepare", 2, "");
  add_message(f, &b, "commit", 2, "");
  expect_parts(send_batch(f, &b), 200, parts(VOTED, "\"status\":409", "the branch's state is"));
}

static void a_batch_that_is_none_is_refused_as_a_whole(void **state) {
  static struct batch b;
  struct fixture *f = *state;
  fixture_open(f);
  expect_parts(post(f, "/batch", JSON, "{\"messages\":[]}"), 400, parts("must not be empty"));
  expect_parts(post(f, "/batch", JSON, "{\"messages\":"), 400, parts("urn:vow:invalid-json"));
  expect_parts(post(f, "/batch", JSON, "[]"), 400, parts("urn:vow:invalid-request"));
  expect_parts(post(f, "/batch", "text/plain", "{}"), 415, parts("urn:vow:"));
  for (unsigned n = 1; n <= 129; n++) add_message(f, &b, "prepare", n, "");
  expect_parts(send_batch(f, &b), 422, parts("urn:vow:limit-exceeded", "messages"));
  assert_int_equal(f->app->prepares, 0);
  expect_part(send_raw(f, "GET", "/batch", NULL, NULL), 405, "/batch takes POST");
}

/* 128 messages at once, also when body_bytes_max is for one. */
static void the_largest_number_is_taken(void **state) {
  static struct batch b;
  struct fixture *f = *state;
  f->options.body_bytes_max = 1024;
  fixture_open(f);
  for (unsigned n = 1; n <= 128; n++) add_message(f, &b, "prepare", n, "");
  struct reply reply = send_batch(f, &b);
  assert_int_equal(reply.status, 200);
  unsigned votes = 0;
  for (const char *at = reply.body; (at = strstr(at, VOTED)) != NULL; at++) votes++;
  assert_int_equal(votes, 128);
  vow_free(reply.body);
}

/* What is too large alone is too large in a batch, and only that. */
static void a_payload_has_its_limit_in_a_batch_too(void **state) {
  static struct batch b;
  struct fixture *f = *state;
  char more[600] = ",\"payload\":\"";
  size_t start = strlen(more);
  memset(more + start, 'x', 500);
  (void)strcpy(more + start + 500, "\"");
  f->options.body_bytes_max = 500;
  fixture_open(f);
  add_message(f, &b, "prepare", 1, more);
  add_message(f, &b, "prepare", 2, "");
  expect_parts(send_batch(f, &b), 200, parts("\"status\":413", "at most 500 bytes", VOTED));
  assert_int_equal(f->app->prepares, 1);
}

static void too_large_is_refused(void **state) {
  struct fixture *f = *state;
  size_t bytes = (size_t)512 << 10;
  char *body = malloc(bytes + 2);
  assert_non_null(body);
  memset(body, ' ', bytes + 1);
  body[bytes + 1] = '\0';
  f->options.body_bytes_max = 1024;
  fixture_open(f);
  expect_parts(post(f, "/batch", JSON, body), 413, parts("at most 524288 bytes"));
  expect_parts(post(f, "/prepare", JSON, body), 413, parts("at most 1024 bytes"));
  free(body);
}

static void the_offer_is_on_every_answer(void **state) {
  static const struct {
    const char *path, *type, *body;
  } asked[] = {{"/prepare", JSON, "{}"}, {"/nowhere", JSON, "{}"},
               {"/batch", JSON, "{}"},   {"/commit", "x/y", "{}"},
               {"/in-doubt", JSON, ""},  {"/batch", JSON, "{\"messages\":[{}]}"}};
  struct fixture *f = *state;
  f->options.batch_max = 7;
  for (uint32_t max = 7;; max = 0) {
    f->options.batch_max = max;
    fixture_open(f);
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
      struct reply reply = post(f, asked[i].path, asked[i].type, asked[i].body);
      assert_int_equal(reply.batch_max, max);
      vow_free(reply.body);
    }
    fixture_close(f);
    if (max == 0) return;
  }
}

static void without_an_offer_there_is_no_such_route(void **state) {
  struct fixture *f = *state;
  f->options.batch_max = 0;
  fixture_open(f);
  expect_part(send_raw(f, "POST", "/batch", JSON, "{\"messages\":[{}]}"), 404,
              "a participant has /prepare, /commit, /abort, /forget, /in-doubt, /known\"");
  fixture_close(f);
  f->options.batch_max = 2;
  fixture_open(f);
  expect_part(send_raw(f, "POST", "/nowhere", JSON, "{}"), 404, "/known and /batch");
}

static void an_offer_of_one_or_too_many_is_a_mistake(void **state) {
  struct fixture *f = *state;
  f->options.batch_max = 1;
  fixture_refuses(f, VOW_E_INVALID_ARGUMENT, "batch_max");
  f->options.batch_max = 129;
  fixture_refuses(f, VOW_E_INVALID_ARGUMENT, "batch_max");
}

/* Callbacks of one batch run side by side, and its answer waits for the last. */
static void callbacks_of_a_batch_run_at_once(void **state) {
  static struct batch b;
  struct fixture *f = *state;
  f->options.callback_threads = 4;
  fixture_open(f);
  for (unsigned n = 1; n <= 12; n++) add_message(f, &b, "prepare", n, "");
  expect_parts(send_batch(f, &b), 200, parts(VOTED, VOTED, VOTED, VOTED));
  assert_int_equal(f->app->prepares, 12);
}

static void vote_in_a_batch(struct fixture *f) {
  static struct batch b;
  for (unsigned n = 1; n <= 3; n++) add_message(f, &b, "prepare", n, "");
  (void)send_batch(f, &b);
}

/* Killed before the answer to a batch leaves, nobody heard a vote: each branch has its own, or was
 * aborted at the start, and all can be told to abort. */
static void a_batch_that_was_killed_may_be_aborted(void **state) {
  static struct batch b;
  struct fixture *f = *state;
  fixture_killed_at(f, "vote.before_reply", vote_in_a_batch);
  fixture_open(f);
  for (unsigned n = 1; n <= 3; n++) add_message(f, &b, "prepare", n, "");
  expect_parts(send_batch(f, &b), 200, parts(VOTED)); /* the one that it died for */
  for (unsigned n = 1; n <= 3; n++) add_message(f, &b, "abort", n, "");
  expect_parts(
      send_batch(f, &b), 200,
      parts("\"outcome\":\"aborted\"", "\"outcome\":\"aborted\"", "\"outcome\":\"aborted\""));
  assert_int_equal(f->app->commits, 0);
}

#define test(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      test(a_batch_is_answered_message_by_message),
      test(slow_callbacks_of_a_batch_run_at_the_same_time),
      test(what_is_wrong_with_one_message_spoils_no_other),
      test(all_messages_have_the_coordinator_of_the_first),
      test(who_may_not_coordinate_is_told_so_for_each_message),
      test(a_branch_may_be_there_twice),
      test(a_batch_that_is_none_is_refused_as_a_whole),
      test(the_largest_number_is_taken),
      test(a_payload_has_its_limit_in_a_batch_too),
      test(too_large_is_refused),
      test(the_offer_is_on_every_answer),
      test(without_an_offer_there_is_no_such_route),
      test(an_offer_of_one_or_too_many_is_a_mistake),
      test(callbacks_of_a_batch_run_at_once),
      test(a_batch_that_was_killed_may_be_aborted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
