/*
 * The API where timing matters: requests that race, clients that leave, transactions that end
 * between two pages. What one request after the other does is tested from outside (tests/e2e).
 */
#include "api_world.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault_vfs.h"

static int setup(void **state) {
  *state = api_world_new(NULL);
  return 0;
}

static int teardown(void **state) {
  api_world_free(*state);
  return 0;
}

static void expect(struct api_world *w, const char *method, const char *path, const char *body,
                   int status, const char *words) {
  struct api_answer answer;
  api_ask(w, &answer, method, path, body);
  if (answer.status != status || strstr(answer.body, words) == NULL) {
    fail_msg("%s %s: %d %s", method, path, answer.status, answer.body);
  }
  api_answer_free(&answer);
}

/* ---- keys ---- */

static void one_key_begins_once(void **state) {
  /* Many requests with one key, all under way at once, are one transaction that is done once. */
  struct api_world *w = *state;
  enum { N = 40 };
  struct api_answer answers[N];
  char body[512], first[128], other[128];
  for (unsigned i = 0; i < N; i++) {
    api_submit(w, &answers[i], "POST", "/v1/transactions", api_one_shot(w, body),
               "Idempotency-Key: k1");
  }
  for (unsigned i = 0; i < N; i++) API_WAIT(w, answers[i].there);
  api_member(&answers[0], "id", first);
  for (unsigned i = 0; i < N; i++) {
    assert_int_equal(answers[i].status, 200);
    assert_string_equal(api_member(&answers[i], "id", other), first);
    api_answer_free(&answers[i]);
  }
  assert_int_equal(w->prepares, 2);
}

static void key_outlives_a_restart(void **state) {
  /* The same key after a restart gets the first outcome; with another body it is refused. */
  struct api_world *w = *state;
  struct api_answer answer;
  char body[512], first[128], again[128];
  for (int round = 0; round < 3; round++) {
    api_submit(w, &answer, "POST", "/v1/transactions", api_one_shot(w, body),
               "Idempotency-Key: k2");
    API_WAIT(w, answer.there);
    assert_int_equal(answer.status, 200);
    api_member(&answer, "id", round == 0 ? first : again);
    if (round > 0) assert_string_equal(first, again);
    api_answer_free(&answer);
    if (round == 0) api_world_restart(w);
  }
  assert_int_equal(w->prepares, 2);
  api_submit(w, &answer, "POST", "/v1/transactions", "{}", "Idempotency-Key: k2");
  API_WAIT(w, answer.there);
  assert_int_equal(answer.status, 422);
  assert_non_null(strstr(answer.body, "idempotency-key-reused"));
  api_answer_free(&answer);
}

/* The second question for a key, which is asked, and answered, when the test says so. */
static struct {
  unsigned asked;
  bool wanted, answered;
  struct vow_log *log;
  struct vow_log_query query;
  struct vow_log_result result;
  struct vow_txn row;
} late;

enum vow_error __real_vow_log_query(struct vow_log *log, const struct vow_log_query *query);
enum vow_error __wrap_vow_log_query(struct vow_log *log, const struct vow_log_query *query);

enum vow_error __wrap_vow_log_query(struct vow_log *log, const struct vow_log_query *query) {
  if (!late.wanted || query->type != VOW_LOG_QUERY_FIND_KEY || ++late.asked != 2)
    return __real_vow_log_query(log, query);
  late.log = log;
  late.query = *query;
  return VOW_OK;
}

static void on_late(void *context, const struct vow_log_result *result) {
  (void)context;
  late.result = *result;
  late.answered = true;
  if (result->count == 0) return;
  late.row = result->rows[0];
  result->rows[0] = (struct vow_txn){0};
  late.result.rows = &late.row;
}

static void key_of_what_ended_since(void **state) {
  /* The log had it open when it was asked, and the core has let it go when the answer comes. */
  struct api_world *w = *state;
  struct api_answer first, again;
  char body[512], id[128], other[128];
  late.wanted = w->hold_commit = true;
  api_submit(w, &first, "POST", "/v1/transactions", api_one_shot(w, body), "Idempotency-Key: k3");
  api_submit(w, &again, "POST", "/v1/transactions", body, "Idempotency-Key: k3");
  API_WAIT(w, late.asked == 2 && w->held_count == 2);
  struct vow_log_query query = late.query;
  query.done = on_late;
  assert_int_equal(__real_vow_log_query(late.log, &query), VOW_OK);
  API_WAIT(w, late.answered);
  assert_int_equal(late.result.count, 1);
  assert_int_equal(late.row.ended_ms, 0);
  api_world_release(w);
  API_WAIT(w, first.there && vow_core_find_key(vow_driver_core(w->driver), "k3") == NULL);
  late.query.done(late.query.context, &late.result);
  vow_txn_fini(&late.row);
  API_WAIT(w, again.there);
  assert_int_equal(again.status, 503);
  assert_non_null(strstr(again.body, "urn:vow:loading"));
  assert_non_null(strstr(again.body, "has just ended"));
  api_answer_free(&again);
  api_submit(w, &again, "POST", "/v1/transactions", body, "Idempotency-Key: k3");
  API_WAIT(w, again.there);
  assert_int_equal(again.status, 200);
  assert_string_equal(api_member(&again, "id", id), api_member(&first, "id", other));
  assert_int_equal(w->prepares, 2);
  api_answer_free(&again);
  api_answer_free(&first);
}

/* ---- clients that leave ---- */

static int raw_request(struct api_world *w, const char *method, const char *path,
                       const char *body) {
  char text[1024];
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  to.sin_port = htons((uint16_t)atoi(strrchr(w->url, ':') + 1));
  assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
  snprintf(text, sizeof text,
           "%s %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
           "%zu\r\n\r\n%s",
           method, path, strlen(body), body);
  assert_int_equal(send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
  return fd;
}

static uint64_t requests_open(const struct api_world *w) {
  struct vow_driver_status status;
  vow_driver_status(w->driver, &status);
  return status.requests_open;
}

static void client_leaves(void **state) {
  /* A client that leaves is not waited for, and its transaction commits all the same. */
  struct api_world *w = *state;
  char body[512];
  w->hold_prepare = true;
  int fd = raw_request(w, "POST", "/v1/transactions", api_one_shot(w, body));
  API_WAIT(w, w->held_count == 2);
  assert_int_equal(requests_open(w), 1);
  close(fd);
  API_WAIT(w, requests_open(w) == 0);
  api_world_release(w);
  API_WAIT(w, w->commits == 2);
  expect(w, "GET", "/v1/transactions?limit=1", NULL, 200, "\"outcome\":\"committed\"");
}

static void closing_with_questions_under_way(void **state) {
  /* The daemon can end while requests wait for the log, the core and participants. */
  struct api_world *w = *state;
  struct api_answer answers[30];
  char body[512], id[VOW_ID_TEXT_BYTES], path[128];
  api_begin(w, id);
  snprintf(path, sizeof path, "/v1/transactions/%.8s-0000-7000-8000-000000000000", id);
  w->hold_prepare = true;
  for (unsigned i = 0; i < 30; i += 3) {
    api_submit(w, &answers[i], "GET", path, NULL, NULL);
    api_submit(w, &answers[i + 1], "POST", "/v1/transactions", api_one_shot(w, body), NULL);
    api_submit(w, &answers[i + 2], "GET", "/v1/transactions", NULL, NULL);
  }
  struct vow_server_counts counts = {0};
  API_WAIT(w, (vow_server_counts(w->server, &counts), counts.requests >= 10));
  api_world_restart(w);
  vow_sender_close(w->client);
  w->client = NULL;
  api_world_turn(w);
  for (unsigned i = 0; i < 30; i++) api_answer_free(&answers[i]);
}

/* ---- lists ---- */

/* Takes the ids of one page, newest first, and its cursor ("" at the end). */
static unsigned page(struct api_world *w, const char *cursor, unsigned limit, char ids[][40],
                     char next[128]) {
  struct api_answer answer;
  char path[256];
  unsigned count = 0;
  snprintf(path, sizeof path, "/v1/transactions?limit=%u%s%s", limit, cursor[0] ? "&cursor=" : "",
           cursor);
  api_ask(w, &answer, "GET", path, NULL);
  assert_int_equal(answer.status, 200);
  for (const char *at = answer.body; (at = strstr(at, "{\"id\":\"")) != NULL; at++) {
    assert_true(count < limit);
    snprintf(ids[count++], 40, "%.36s", at + 7);
  }
  next[0] = '\0';
  if (strstr(answer.body, "\"next_cursor\"") != NULL) api_member(&answer, "next_cursor", next);
  api_answer_free(&answer);
  return count;
}

static void finish(struct api_world *w, const char *id, const char *how) {
  char path[128];
  snprintf(path, sizeof path, "/v1/transactions/%s/%s", id, how);
  expect(w, "POST", path, NULL, 200, id);
}

static void pages_while_they_end(void **state) {
  /* Newest first and each once, open and ended ones mixed, also when some end between pages. */
  struct api_world *w = *state;
  enum { N = 40 };
  char ids[N][VOW_ID_TEXT_BYTES], seen[N + 8][40], cursor[128] = "";
  for (unsigned i = 0; i < N; i++) {
    api_begin(w, ids[i]);
    if (i % 3 == 0) finish(w, ids[i], "abort");
  }
  for (unsigned limit = 1; limit <= 7; limit += 3) {
    unsigned count = 0, pages = 0;
    cursor[0] = '\0';
    do {
      count += page(w, cursor, limit, &seen[count], cursor);
      unsigned i = (limit * 13 + pages * 5) % N; /* an open one here and there */
      if (pages++ % 2 == 0 && i % 3 == 1) finish(w, ids[i], "abort");
      assert_true(count <= N && pages < 200);
    } while (cursor[0] != '\0');
    assert_int_equal(count, N);
    for (unsigned i = 0; i < N; i++) assert_string_equal(seen[i], ids[N - 1 - i]);
  }
}

static void a_page_looks_at_so_many(void **state) {
  /* One that fits behind many that do not: an empty page first, and the search goes on. */
  struct api_world *w = *state;
  enum { MANY = 5200 };
  static const char filter[] = "/v1/transactions?state=active&limit=5&participant=rare";
  char id[VOW_ID_TEXT_BYTES], rare[VOW_ID_TEXT_BYTES], path[256], cursor[128];
  struct api_answer answer;
  api_begin(w, rare);
  snprintf(path, sizeof path, "/v1/transactions/%s/branches", rare);
  expect(w, "POST", path, "{\"url\":\"http://127.0.0.1:1\",\"name\":\"rare\"}", 201, "rare");
  for (unsigned i = 0; i < MANY; i++) api_begin(w, id);
  api_ask(w, &answer, "GET", filter, NULL);
  assert_int_equal(answer.status, 200);
  assert_non_null(strstr(answer.body, "\"transactions\":[]"));
  api_member(&answer, "next_cursor", cursor);
  api_answer_free(&answer);
  snprintf(path, sizeof path, "%s&cursor=%s", filter, cursor);
  api_ask(w, &answer, "GET", path, NULL);
  assert_non_null(strstr(answer.body, rare));
  assert_null(strstr(answer.body, "next_cursor"));
  api_answer_free(&answer);
}

/* ---- limits of waiting ---- */

static void waiting_has_limits(void **state) {
  /* Who waits too long is answered 202 with the place to look, and too many are not let wait. */
  (void)state;
  const char *flags[] = {"--wait-timeout-ms=300", "--limits-waiters=2", NULL};
  struct api_world *w = api_world_new(flags);
  struct api_answer first, more[3];
  char body[512], id[128], path[160];
  w->hold_prepare = true;
  api_submit(w, &first, "POST", "/v1/transactions", api_one_shot(w, body),
             "Prefer: handling=strict, Respond-Async; wait=5");
  API_WAIT(w, first.there);
  assert_int_equal(first.status, 202);
  snprintf(path, sizeof path, "/v1/transactions/%s/commit", api_member(&first, "id", id));
  for (unsigned i = 0; i < 3; i++) api_submit(w, &more[i], "POST", path, "{}", NULL);
  unsigned pending = 0, refused = 0;
  for (unsigned i = 0; i < 3; i++) {
    API_WAIT(w, more[i].there);
    pending += more[i].status == 202;
    refused += more[i].status == 503 && strstr(more[i].body, "urn:vow:overloaded") != NULL;
    api_answer_free(&more[i]);
  }
  assert_int_equal(pending, 2);
  assert_int_equal(refused, 1);
  api_world_release(w);
  expect(w, "POST", path, NULL, 200, "committed");
  api_answer_free(&first);
  api_world_free(w);
}

static void operators_are_told_what_is_durable(void **state) {
  /* An act by hand whose record cannot reach the disk is not answered as done, and is done once the
   * disk has room. */
  (void)state;
  const char *flags[] = {"--wait-timeout-ms=300", NULL};
  fault_vfs_install();
  struct api_world *w = api_world_new(flags);
  struct api_answer answer;
  char body[512], id[128], path[160];
  const char *act = "{\"outcome\":\"committed\",\"branch\":1,\"reason\":\"by hand\"}";
  w->hold_commit = true;
  api_ask(w, &answer, "POST", "/v1/transactions", api_one_shot(w, body));
  assert_int_equal(answer.status, 200);
  snprintf(path, sizeof path, "/v1/transactions/%s/resolve", api_member(&answer, "id", id));
  api_answer_free(&answer);
  fault_vfs_set(FAULT_FULL);
  expect(w, "POST", path, act, 503, "urn:vow:overloaded");
  fault_vfs_set(FAULT_NONE);
  int status = 0;
  for (int tries = 0; tries < 50 && status != 200; tries++) {
    api_ask(w, &answer, "POST", path, act);
    status = answer.status;
    api_answer_free(&answer);
  }
  assert_int_equal(status, 200);
  api_world_release(w);
  api_world_free(w);
}

static void draining(void **state) {
  /* A daemon that drains refuses new transactions and ends the open ones. */
  struct api_world *w = *state;
  char id[VOW_ID_TEXT_BYTES];
  api_begin(w, id);
  vow_api_set_draining(w->api);
  vow_driver_drain(w->driver);
  expect(w, "POST", "/v1/transactions", "{}", 503,
         "takes no new transactions; try again when it is back");
  expect(w, "GET", "/readyz", NULL, 503, "shutting down");
  expect(w, "GET", "/healthz", NULL, 200, "ok");
  finish(w, id, "commit");
}

/* ---- URLs ---- */

static void urls_become_normal_each_time(void **state) {
  /* Whatever URLs came before, also such as end alike. */
  static const char *const asked[][2] = {{"http://one:1/x", "http://one:1/x"},
                                         {"http://ONE:1/x", "http://one:1/x"},
                                         {"http://one:1/x/", "http://one:1/x"},
                                         {"http://two:1/x", "http://two:1/x"},
                                         {"http://one:80/x", "http://one/x"}};
  struct api_world *w = *state;
  char body[512], url[256], expected[256], path[180];
  memset(path, 'x', sizeof path);
  path[sizeof path - 1] = '\0';
  for (unsigned round = 0; round < 2; round++) {
    for (unsigned i = 0; i < sizeof asked / sizeof *asked; i++) {
      for (unsigned is_long = 0; is_long < 2; is_long++) {
        if (is_long && i == 2) continue; /* its slash is not at the end then */
        snprintf(url, sizeof url, "%s%s", asked[i][0], is_long ? path : "");
        snprintf(expected, sizeof expected, "\"url\":\"%s%s\"", asked[i][1], is_long ? path : "");
        snprintf(body, sizeof body, "{\"branches\":[{\"url\":\"%s\"}]}", url);
        expect(w, "POST", "/v1/transactions", body, 201, expected);
      }
    }
    expect(w, "POST", "/v1/transactions", "{\"branches\":[{\"url\":\"x\"}]}", 400, "http");
    expect(w, "POST", "/v1/transactions", "{\"branches\":[{\"url\":\"\"}]}", 400, "http");
  }
}

/* ---- outcomes ---- */

static void commit_one(struct api_world *w) {
  char body[512];
  expect(w, "POST", "/v1/transactions", api_one_shot(w, body), 200, "committed");
}

/* A client that begins its next transaction when it has the answer to the last: the commits of that
 * one leave with the prepares of the next, and not before, for a minute. */
static void decisions_wait_for_company(void **state) {
  struct api_world *w = api_world_new_lingering(60000000);
  (void)state;
  w->batches = true;
  for (unsigned n = 1; n <= 5; n++) {
    commit_one(w);
    for (unsigned turns = 0; turns < 10; turns++) api_world_turn(w);
    assert_int_equal(w->prepares, 2 * n);
    assert_int_equal(w->commits, 2 * (n - 1));
    assert_int_equal(w->both, n - 1);
  }
  api_world_free(w);
}

/* Where nobody comes they leave when that time is over, and soon without it. */
static void decisions_without_company_leave(void **state) {
  struct api_world *w = api_world_new_lingering(200000);
  uint64_t begun_ns = uv_hrtime();
  (void)state;
  w->batches = true;
  for (unsigned n = 1; n <= 20; n++) {
    commit_one(w);
    API_WAIT(w, w->commits == 2 * n);
  }
  assert_int_equal(w->both, 0);
  assert_in_range((uv_hrtime() - begun_ns) / 1000000, 800, 3900);
  api_world_free(w);
}

/* Company they can not share a request with is none. */
static void single_messages_wait_for_nobody(void **state) {
  struct api_world *w = api_world_new_lingering(60000000);
  (void)state;
  commit_one(w);
  API_WAIT(w, w->commits == 2);
  api_world_free(w);
}

static void outcomes_of_all_kinds(void **state) {
  /* In one question: decided, ended, alive, of this log but unknown, and of no log of ours. */
  struct api_world *w = *state;
  struct api_answer answer;
  char open[VOW_ID_TEXT_BYTES], ended[VOW_ID_TEXT_BYTES], body[512], gone[VOW_ID_TEXT_BYTES],
      id[128];
  const char *foreign = "01900000-0000-7000-8000-000000000001";
  api_begin(w, ended);
  finish(w, ended, "abort");
  api_begin(w, open);
  struct vow_id never_seen;
  assert_true(vow_id_parse(open, &never_seen));
  never_seen.bytes[15] ^= 1;
  vow_id_format(never_seen, gone);
  api_ask(w, &answer, "POST", "/v1/transactions", api_one_shot(w, body));
  api_member(&answer, "id", id);
  api_answer_free(&answer);
  snprintf(body, sizeof body, "{\"transactions\":[\"%s\",\"%s\",\"%s\",\"%s\",\"%s\"]}", id, ended,
           open, foreign, gone);
  api_ask(w, &answer, "POST", "/v1/outcomes", body);
  char expected[768];
  snprintf(expected, sizeof expected,
           "{\"outcomes\":[{\"transaction\":\"%s\",\"outcome\":\"committed\"},"
           "{\"transaction\":\"%s\",\"outcome\":\"aborted\"},"
           "{\"transaction\":\"%s\",\"outcome\":\"undecided\"},"
           "{\"transaction\":\"%s\",\"outcome\":\"unknown\"},"
           "{\"transaction\":\"%s\",\"outcome\":\"aborted\",\"presumed\":true}],"
           "\"log\":{\"incarnation\":",
           id, ended, open, foreign, gone);
  assert_memory_equal(answer.body, expected, strlen(expected));
  api_answer_free(&answer);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      T(one_key_begins_once),
      T(key_outlives_a_restart),
      T(key_of_what_ended_since),
      T(client_leaves),
      T(pages_while_they_end),
      T(a_page_looks_at_so_many),
      T(closing_with_questions_under_way),
      T(draining),
      T(urls_become_normal_each_time),
      T(outcomes_of_all_kinds),
      cmocka_unit_test(decisions_wait_for_company),
      cmocka_unit_test(decisions_without_company_leave),
      cmocka_unit_test(single_messages_wait_for_nobody),
      cmocka_unit_test(waiting_has_limits),
      cmocka_unit_test(operators_are_told_what_is_durable),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
