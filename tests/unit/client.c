/*
 * The client against a coordinator that says what the test wrote. The rule: an error that sounds as
 * if nothing had happened is given only if nothing has happened.
 */
#include "vow/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka.h wants some of those first. */
#include <cmocka.h>

#include "client_server.h"
#include "slow_lookup.h"

#define ID          "0192f000-0000-7000-8000-000000000001"
#define OTHER       "0192f000-0000-7000-8000-000000000002"
#define TRANSACTION "{\"id\":\"" ID "\",\"state\":\"active\",\"branches\":[]}"
#define COMMITTED \
  "{\"id\":\"" ID "\",\"state\":\"committing\",\"outcome\":\"committed\",\"branches\":[]}"
#define PENDING "{\"id\":\"" ID "\",\"state\":\"preparing\",\"branches\":[]}"
#define PROBLEM(slug, detail) \
  "{\"type\":\"urn:vow:" slug "\",\"title\":\"t\",\"status\":409,\"detail\":\"" detail "\"}"
#define ABORTED                                                                               \
  "{\"type\":\"urn:vow:transaction-aborted\",\"title\":\"t\",\"status\":409,\"detail\":\"no " \
  "funds\","                                                                                  \
  "\"outcome\":\"aborted\",\"transaction\":{\"id\":\"" OTHER "\",\"state\":\"aborted\"}}"

static struct client_server server;
static struct vow_client *client;
static struct vow_transaction *transaction;

#define SCRIPT(...)                                                                 \
  do {                                                                              \
    const struct script_line said_[] = {__VA_ARGS__};                               \
    client_server_script(&server, said_, (unsigned)(sizeof said_ / sizeof *said_)); \
  } while (0)

static int setup(void **state) {
  (void)state;
  client_server_start(&server);
  if (vow_client_open(&client, server.url)) return -1;
  vow_client_set_timeout(client, 5000);
  return vow_join(client, ID, &transaction) ? -1 : 0;
}

static int teardown(void **state) {
  (void)state;
  vow_transaction_free(transaction);
  vow_client_close(client);
  client_server_stop(&server);
  return 0;
}

static void asked(unsigned n, const char *head, const char *rest) {
  assert_true(n < client_server_asked(&server));
  if (strncmp(server.requests[n], head, strlen(head)) != 0 || !strstr(server.requests[n], rest)) {
    fail_msg("request %u is: %s\nnot: %s … %s", n, server.requests[n], head, rest);
  }
}

static void says(const char *text) {
  if (!strstr(vow_transaction_error(transaction), text)) {
    fail_msg("the error is \"%s\", not \"%s\"", vow_transaction_error(transaction), text);
  }
}

/* ---- begin, join, enlist ---- */

/* A transaction that was begun has the coordinator's id. */
static void begin_takes_the_id(void **state) {
  (void)state;
  struct vow_transaction *begun = NULL;
  SCRIPT({201, TRANSACTION, 0});
  assert_int_equal(vow_begin(client, 1500, &begun), VOW_OK);
  assert_string_equal(vow_transaction_id(begun), ID);
  assert_string_equal(vow_transaction_error(begun), "");
  asked(0, "POST /v1/transactions HTTP", "{\"timeout_ms\":1500}");
  vow_transaction_free(begun);
}

/* What the coordinator refuses is told by its type; the sentence is the coordinator's. */
static void begin_tells_why_not(void **state) {
  (void)state;
  struct vow_transaction *begun = NULL;
  static const struct {
    struct script_line line;
    enum vow_error error;
  } cases[] = {
      {{503, PROBLEM("overloaded", "too much"), 0}, VOW_E_OVERLOADED},
      {{503, PROBLEM("loading", "wait"), 1}, VOW_E_LOADING},
      {{507, PROBLEM("log-full", "make room"), 1}, VOW_E_LOG_FULL},
      {{422, PROBLEM("limit-exceeded", "timeout_ms"), 0}, VOW_E_LIMIT_EXCEEDED},
      {{201, "{}", 0}, VOW_E_PROTOCOL},
      {{201, "[]", 0}, VOW_E_PROTOCOL},
      {{201, "no", 0}, VOW_E_PROTOCOL},
      {{404, "<html>", 0}, VOW_E_PROTOCOL},
      {{302, "{}", 0}, VOW_E_PROTOCOL},
      {{0, NULL, 0}, VOW_E_UNREACHABLE},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    client_server_script(&server, &cases[i].line, 1);
    assert_int_equal(vow_begin(client, 0, &begun), cases[i].error);
    assert_true(strlen(vow_client_error()) > 0);
  }
  assert_null(begun);
}

/* Without a coordinator, begin says so at once. */
static void nobody_there(void **state) {
  (void)state;
  struct vow_client *lost = NULL;
  struct vow_transaction *begun = NULL;
  assert_int_equal(vow_client_open(&lost, "http://127.0.0.1:1"), VOW_OK);
  assert_int_equal(vow_begin(lost, 0, &begun), VOW_E_UNREACHABLE);
  assert_int_equal(vow_error_class(VOW_E_UNREACHABLE), VOW_CLASS_RETRY);
  assert_int_equal(vow_join(lost, ID, &begun), VOW_OK);
  assert_int_equal(vow_commit(begun), VOW_E_UNREACHABLE);
  assert_int_equal(vow_abort(begun), VOW_E_UNREACHABLE);
  vow_transaction_free(begun);
  vow_client_close(lost);
}

/* A name server that is silent holds a call no longer than its timeout. */
static void a_slow_lookup_is_not_waited_for(void **state) {
  (void)state;
  struct vow_client *lost = NULL;
  struct vow_transaction *begun = NULL;
  assert_int_equal(vow_client_open(&lost, "http://" SLOW_NAME ":7800"), VOW_OK);
  vow_client_set_timeout(lost, 1000);
  assert_int_equal(vow_begin(lost, 0, &begun), VOW_E_TIMEOUT);
  assert_true(slow_lookup_waits());
  vow_client_close(lost);
  assert_true(slow_lookup_waits());
  slow_lookup_end();
}

/* Bad arguments are found before anything is sent. */
static void bad_arguments_are_not_sent(void **state) {
  (void)state;
  struct vow_client *none = NULL;
  struct vow_transaction *begun = NULL;
  uint32_t branch = 77;
  SCRIPT({500, "", 0});
  assert_int_equal(vow_client_open(&none, "ftp://x"), VOW_E_INVALID_URL);
  assert_int_equal(vow_client_open(&none, NULL), VOW_E_INVALID_URL);
  assert_int_equal(vow_join(client, "nonsense", &begun), VOW_E_INVALID_ID);
  assert_int_equal(vow_join(client, NULL, &begun), VOW_E_INVALID_ID);
  assert_int_equal(vow_enlist(transaction, "nowhere", NULL, NULL, &branch), VOW_E_INVALID_URL);
  assert_int_equal(vow_enlist(transaction, NULL, NULL, NULL, &branch), VOW_E_INVALID_URL);
  assert_int_equal(vow_enlist(transaction, "http://b", NULL, "{\"a\":1", &branch),
                   VOW_E_INVALID_JSON);
  says("the payload: ");
  assert_int_equal(vow_enlist(transaction, "http://b", NULL, "1}, {\"url\":\"http://c\"", &branch),
                   VOW_E_INVALID_JSON);
  struct vow_branch_spec spec = {.url = "http://b"};
  assert_int_equal(vow_one_shot(client, "a b", 0, &spec, 1, NULL), VOW_E_INVALID_ARGUMENT);
  assert_int_equal(branch, 77);
  assert_int_equal(client_server_asked(&server), 0);
}

/* What the thread was told last is gone when a call has succeeded. */
static void success_leaves_no_sentence(void **state) {
  (void)state;
  struct vow_client *second = NULL;
  struct vow_transaction *joined = NULL;
  assert_int_equal(vow_client_open(&second, "ftp://x"), VOW_E_INVALID_URL);
  assert_string_not_equal(vow_client_error(), "");
  assert_int_equal(vow_client_open(&second, server.url), VOW_OK);
  assert_string_equal(vow_client_error(), "");
  assert_int_equal(vow_client_open(&second, NULL), VOW_E_INVALID_URL);
  assert_string_not_equal(vow_client_error(), "");
  assert_int_equal(vow_join(second, ID, &joined), VOW_OK);
  assert_string_equal(vow_client_error(), "");
  vow_transaction_free(joined);
  vow_client_close(second);
}

/* Enlisting sends URL, name and payload, and gives the branch's number. */
static void enlist_gives_the_branch(void **state) {
  (void)state;
  uint32_t branch = 0;
  SCRIPT({201, "{\"branch\":3,\"name\":\"n\",\"url\":\"http://b\"}", 0},
         {409, PROBLEM("name-conflict", "n is taken"), 0});
  assert_int_equal(vow_enlist(transaction, "HTTP://B:80/", "n", "{\"amount\": 1.10}", &branch),
                   VOW_OK);
  assert_int_equal(branch, 3);
  asked(0, "POST /v1/transactions/" ID "/branches HTTP",
        "{\"url\":\"http://b\",\"name\":\"n\",\"payload\":{\"amount\": 1.10}}");
  assert_int_equal(vow_enlist(transaction, "http://c", "n", NULL, NULL), VOW_E_NAME_CONFLICT);
  says("n is taken");
}

/* An enlistment without a name that is asked again after its answer was lost is the same branch. */
static void enlisting_again_makes_no_second_branch(void **state) {
  (void)state;
  char name[2][64];
  SCRIPT({0, NULL, 0}, {201, "{\"branch\":1}", 0}, {201, "{\"branch\":2}", 0});
  assert_int_equal(vow_enlist(transaction, "http://b", NULL, NULL, NULL), VOW_E_UNREACHABLE);
  assert_int_equal(vow_enlist(transaction, "http://b", NULL, NULL, NULL), VOW_OK);
  assert_int_equal(vow_enlist(transaction, "http://b", NULL, NULL, NULL), VOW_OK);
  for (int i = 0; i < 2; i++) {
    const char *at = strstr(server.requests[i + 1], "\"name\":");
    assert_non_null(at);
    snprintf(name[i], sizeof name[i], "%.40s", at);
  }
  assert_non_null(strstr(server.requests[0], name[0]));
  assert_string_not_equal(name[0], name[1]);
}

/* ---- commit ---- */

/* Committed is committed, also while participants are still being told. */
static void commit_is_committed(void **state) {
  (void)state;
  SCRIPT({200, COMMITTED, 0});
  assert_int_equal(vow_commit(transaction), VOW_OK);
  asked(0, "POST /v1/transactions/" ID "/commit HTTP", "");
  assert_string_equal(vow_transaction_error(transaction), "");
}

/* The coordinator's refusals come with their class and its words. */
static void commit_tells_why_not(void **state) {
  (void)state;
  SCRIPT({409, ABORTED, 0}, {409, PROBLEM("heuristic-outcome", "branch 2 broke its promise"), 0},
         {404, PROBLEM("unknown-transaction", "purged"), 0}, {503, PROBLEM("loading", "wait"), 0});
  assert_int_equal(vow_commit(transaction), VOW_E_ABORTED);
  says("no funds");
  assert_int_equal(vow_commit(transaction), VOW_E_HEURISTIC);
  says("broke its promise");
  assert_int_equal(vow_commit(transaction), VOW_E_UNKNOWN_TRANSACTION);
  assert_int_equal(vow_commit(transaction), VOW_E_LOADING);
  assert_int_equal(client_server_asked(&server), 4);
}

/* A lost reply is asked for again until it is there, through a restart of the coordinator. */
static void a_lost_reply_is_asked_for_again(void **state) {
  (void)state;
  SCRIPT({0, NULL, 0}, {500, PROBLEM("internal-error", "oops"), 0}, {502, "<html>", 0},
         {200, "half", 0}, {503, PROBLEM("loading", "wait"), 0}, {202, PENDING, 0},
         {200, COMMITTED, 0});
  assert_int_equal(vow_commit(transaction), VOW_OK);
  assert_int_equal(client_server_asked(&server), 7);
  SCRIPT({0, NULL, 0}, {409, ABORTED, 0});
  assert_int_equal(vow_commit(transaction), VOW_E_ABORTED);
}

/* Whatever may have reached the coordinator and was not answered is unknown, and stays so for later
 * calls until there is an answer. */
static void without_an_answer_the_outcome_is_unknown(void **state) {
  (void)state;
  static const struct script_line lines[] = {
      {0, NULL, 0},   {-1, NULL, 0},         {202, PENDING, 0},  {500, "", 0},
      {200, "{}", 0}, {200, TRANSACTION, 0}, {504, "<html>", 0}, {429, "{}", 0},
  };
  vow_client_set_timeout(client, 150);
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    struct vow_transaction *one = NULL;
    bool blamed = lines[i].status == 429; /* a proxy turned it away: nothing happened */
    client_server_script(&server, &lines[i], 1);
    assert_int_equal(vow_join(client, ID, &one), VOW_OK);
    assert_int_equal(vow_commit(one), blamed ? VOW_E_PROTOCOL : VOW_E_OUTCOME_UNKNOWN);
    SCRIPT({503, PROBLEM("loading", "wait"), 0});
    assert_int_equal(vow_commit(one), blamed ? VOW_E_LOADING : VOW_E_OUTCOME_UNKNOWN);
    SCRIPT({409, ABORTED, 0});
    assert_int_equal(vow_commit(one), VOW_E_ABORTED);
    SCRIPT({503, PROBLEM("loading", "wait"), 0});
    assert_int_equal(vow_commit(one), VOW_E_LOADING);
    vow_transaction_free(one);
  }
  assert_int_equal(vow_error_class(VOW_E_OUTCOME_UNKNOWN), VOW_CLASS_RETRY);
}

/* A coordinator that dies over a request on a kept connection has perhaps done it, although the
 * connection that curl makes at once for a second try is refused. */
static void a_kept_connection_hides_no_first_try(void **state) {
  (void)state;
  struct vow_transaction *begun = NULL;
  SCRIPT({201, TRANSACTION, 0}, {-2, NULL, 0});
  vow_client_set_timeout(client, 300);
  assert_int_equal(vow_begin(client, 0, &begun), VOW_OK);
  assert_int_equal(vow_commit(begun), VOW_E_OUTCOME_UNKNOWN);
  assert_int_equal(client_server_asked(&server), 2);
  assert_int_equal(server.connection_count, 1);
  assert_int_equal(vow_commit(transaction), VOW_E_UNREACHABLE); /* this one was never sent */
  vow_transaction_free(begun);
}

/* A transaction that was purged before its lost answer could be asked for may have committed: the
 * request is not called wrong, now or later, and asking on is left to the caller. */
static void what_was_purged_meanwhile_may_have_committed(void **state) {
  (void)state;
  SCRIPT({0, NULL, 0}, {404, PROBLEM("unknown-transaction", "it may have committed"), 0});
  assert_int_equal(vow_commit(transaction), VOW_E_OUTCOME_UNKNOWN);
  says("it may have committed");
  assert_int_equal(client_server_asked(&server), 2);
  assert_int_equal(vow_commit(transaction), VOW_E_OUTCOME_UNKNOWN);
}

/* A coordinator that asks for patience longer than the timeout is not waited for. */
static void retry_after_is_respected(void **state) {
  (void)state;
  vow_client_set_timeout(client, 1000);
  SCRIPT({202, PENDING, 30}, {200, COMMITTED, 0});
  assert_int_equal(vow_commit(transaction), VOW_E_OUTCOME_UNKNOWN);
  assert_int_equal(client_server_asked(&server), 1);
  assert_int_equal(vow_commit(transaction), VOW_OK);
}

/* ---- abort ---- */

/* Abort is done when it is said, fails when the transaction is committed, and may be unknown. */
static void abort_has_three_ends(void **state) {
  (void)state;
  SCRIPT({200, "{\"id\":\"" ID "\",\"state\":\"aborting\"}", 0}, {409, ABORTED, 0},
         {409, PROBLEM("illegal-state", "it is committed"), 0}, {0, NULL, 0});
  assert_int_equal(vow_abort(transaction), VOW_OK);
  asked(0, "POST /v1/transactions/" ID "/abort HTTP", "");
  assert_int_equal(vow_abort(transaction), VOW_OK);
  assert_int_equal(vow_abort(transaction), VOW_E_ILLEGAL_STATE);
  says("it is committed");
  assert_int_equal(vow_abort(transaction), VOW_E_OUTCOME_UNKNOWN);
}

/* ---- call ---- */

/* A service that dies over a call has perhaps done its work, so the call is not made once more
 * behind the caller's back, although it came over a kept connection. */
static void a_call_is_made_once(void **state) {
  (void)state;
  char url[128];
  int status = 0;
  snprintf(url, sizeof url, "%s/orders", server.url);
  SCRIPT({200, "{}", 0}, {0, NULL, 0}, {200, "{}", 0});
  assert_int_equal(vow_call(transaction, url, "{}", &status, NULL), VOW_OK);
  assert_int_equal(vow_call(transaction, url, "{}", &status, NULL), VOW_E_UNREACHABLE);
  says("the connection broke");
  assert_int_equal(client_server_asked(&server), 2);
  assert_int_equal(server.connection_count, 1); /* which was kept */
  assert_int_equal(vow_call(transaction, url, "{}", &status, NULL), VOW_OK);
}

/* A service that is called under the transaction sees its id; its answer is passed on as it is. */
static void call_passes_the_answer_on(void **state) {
  (void)state;
  char url[128];
  int status = 0;
  char *body = NULL;
  snprintf(url, sizeof url, "%s/orders?x=1", server.url);
  SCRIPT({418, "teapot", 0}, {200, "", 0}, {0, NULL, 0});
  assert_int_equal(vow_call(transaction, url, "{\"n\":1}", &status, &body), VOW_OK);
  assert_int_equal(status, 418);
  assert_string_equal(body, "teapot");
  free(body);
  asked(0, "POST /orders?x=1 HTTP", "Vow-Transaction: " ID);
  asked(0, "POST", "{\"n\":1}");
  assert_int_equal(vow_call(transaction, url, NULL, NULL, NULL), VOW_OK);
  assert_int_equal(vow_call(transaction, url, NULL, &status, &body), VOW_E_UNREACHABLE);
  assert_int_equal(status, 418);
  assert_int_equal(vow_call(transaction, "http://127.0.0.1:1/", NULL, NULL, NULL),
                   VOW_E_UNREACHABLE);
  assert_int_equal(vow_call(transaction, NULL, NULL, NULL, NULL), VOW_E_INVALID_URL);
}

/* What cannot be handed over as a text is not cut short; who does not ask for it has no trouble. */
static void an_answer_with_a_nul_is_no_text(void **state) {
  (void)state;
  int status = 0;
  char *body = NULL;
  server.nul = true;
  SCRIPT({200, "{\"cut\":1}", 0});
  assert_int_equal(vow_call(transaction, server.url, NULL, &status, NULL), VOW_OK);
  assert_int_equal(status, 200);
  assert_int_equal(vow_call(transaction, server.url, NULL, NULL, &body), VOW_E_PROTOCOL);
  assert_non_null(strstr(vow_client_error(), "(status 200) has a NUL byte in it"));
  assert_null(body);
}

/* ---- one-shot ---- */

static const struct vow_branch_spec branches[] = {
    {"http://a", "debit", "{\"amount\":-1}"},
    {"http://b", NULL, NULL},
};

/* One request does it all, under the caller's key. */
static void one_shot_does_it_all(void **state) {
  (void)state;
  struct vow_transaction *done = NULL;
  SCRIPT({200, COMMITTED, 0});
  assert_int_equal(vow_one_shot(client, "order-7", 900, branches, 2, &done), VOW_OK);
  assert_string_equal(vow_transaction_id(done), ID);
  vow_transaction_free(done);
  asked(0, "POST /v1/transactions HTTP", "Idempotency-Key: order-7\r\n");
  asked(
      0, "POST",
      "{\"commit\":true,\"timeout_ms\":900,\"branches\":[{\"url\":\"http://a\",\"name\":\"debit\","
      "\"payload\":{\"amount\":-1}},{\"url\":\"http://b\"}]}");
}

/* Without a key there is nothing to ask again with, so the call is refused before it is sent. */
static void one_shot_needs_a_key(void **state) {
  (void)state;
  SCRIPT({200, COMMITTED, 0});
  const char *const none[] = {NULL, ""};
  for (unsigned i = 0; i < 2; i++) {
    assert_int_equal(vow_one_shot(client, none[i], 0, branches, 2, NULL), VOW_E_INVALID_ARGUMENT);
    assert_int_equal(vow_error_class(VOW_E_INVALID_ARGUMENT), VOW_CLASS_USAGE);
    assert_non_null(strstr(vow_client_error(), "give a key of your own"));
  }
  assert_int_equal(client_server_asked(&server), 0);
}

/* A lost reply is asked for again under the same key. */
static void one_shot_is_repeated_under_one_key(void **state) {
  (void)state;
  SCRIPT({0, NULL, 0}, {503, PROBLEM("loading", "wait"), 0}, {202, PENDING, 0}, {409, ABORTED, 0});
  struct vow_transaction *done = NULL;
  assert_int_equal(vow_one_shot(client, "order-8", 0, branches, 2, &done), VOW_E_ABORTED);
  assert_string_equal(vow_transaction_id(done), OTHER);
  assert_string_equal(vow_transaction_error(done), "no funds");
  vow_transaction_free(done);
  assert_int_equal(client_server_asked(&server), 4);
  for (unsigned i = 0; i < 4; i++) asked(i, "POST", "Idempotency-Key: order-8\r\n");
}

/* Its failures tell what happened: nothing, abort, or nobody knows. */
static void one_shot_tells_why_not(void **state) {
  (void)state;
  struct vow_transaction *done = NULL;
  SCRIPT({503, PROBLEM("overloaded", "too much"), 0},
         {422, PROBLEM("idempotency-key-reused", "other body"), 0}, {202, PENDING, 0});
  assert_int_equal(vow_one_shot(client, "k", 0, branches, 2, &done), VOW_E_OVERLOADED);
  assert_null(done);
  assert_string_equal(vow_client_error(), "too much");
  assert_int_equal(vow_one_shot(client, "k", 0, branches, 2, NULL), VOW_E_KEY_CONFLICT);
  vow_client_set_timeout(client, 1500);
  assert_int_equal(vow_one_shot(client, "k", 0, branches, 2, &done), VOW_E_OUTCOME_UNKNOWN);
  assert_string_equal(vow_transaction_id(done), ID);
  SCRIPT({503, PROBLEM("loading", "wait"), 0});
  assert_int_equal(vow_commit(done), VOW_E_OUTCOME_UNKNOWN);
  SCRIPT({200, COMMITTED, 0});
  assert_int_equal(vow_commit(done), VOW_OK);
  vow_transaction_free(done);
  SCRIPT({0, NULL, 0});
  assert_int_equal(vow_one_shot(client, "k", 0, branches, 2, &done), VOW_E_OUTCOME_UNKNOWN);
  assert_null(done);
}

/* ---- threads ---- */

static void *begin_many(void *context) {
  int *failed = context;
  for (int i = 0; i < 20; i++) {
    struct vow_transaction *begun = NULL;
    if (vow_begin(client, 0, &begun) != VOW_OK) ++*failed;
    vow_transaction_free(begun);
  }
  return NULL;
}

/* Threads share a client, and its connections are used again. */
static void threads_share_a_client(void **state) {
  (void)state;
  pthread_t threads[8];
  int failed[8] = {0};
  SCRIPT({201, TRANSACTION, 0});
  for (int i = 0; i < 8; i++) {
    assert_int_equal(pthread_create(&threads[i], NULL, begin_many, &failed[i]), 0);
  }
  for (int i = 0; i < 8; i++) {
    pthread_join(threads[i], NULL);
    assert_int_equal(failed[i], 0);
  }
  assert_int_equal(client_server_asked(&server), 160);
  assert_true(server.connection_count <= 8);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(begin_takes_the_id),
      TEST(begin_tells_why_not),
      TEST(nobody_there),
      TEST(a_slow_lookup_is_not_waited_for),
      TEST(bad_arguments_are_not_sent),
      TEST(success_leaves_no_sentence),
      TEST(enlist_gives_the_branch),
      TEST(enlisting_again_makes_no_second_branch),
      TEST(commit_is_committed),
      TEST(commit_tells_why_not),
      TEST(a_lost_reply_is_asked_for_again),
      TEST(without_an_answer_the_outcome_is_unknown),
      TEST(a_kept_connection_hides_no_first_try),
      TEST(what_was_purged_meanwhile_may_have_committed),
      TEST(retry_after_is_respected),
      TEST(a_call_is_made_once),
      TEST(abort_has_three_ends),
      TEST(call_passes_the_answer_on),
      TEST(an_answer_with_a_nul_is_no_text),
      TEST(one_shot_does_it_all),
      TEST(one_shot_needs_a_key),
      TEST(one_shot_is_repeated_under_one_key),
      TEST(one_shot_tells_why_not),
      TEST(threads_share_a_client),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
