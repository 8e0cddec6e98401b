/* The participant's own HTTP server: what comes over the network, and what must not hold up others.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/descriptors.h"
#include "io/participant_internal.h"
#include "participant_fixture.h"

static void serve(struct fixture *f) {
  char why[256] = "";
  if (vow_participant_listen(f->participant, "127.0.0.1:0", why, sizeof why)) fail_msg("%s", why);
  assert_int_not_equal(vow_participant_port(f->participant), 0);
}

static void connect_socket(const struct fixture *f, int fd) {
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons(vow_participant_port(f->participant))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
}

static int connect_to(const struct fixture *f) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  connect_socket(f, fd);
  return fd;
}

static void put(int fd, const char *text, size_t bytes) {
  while (bytes > 0) {
    ssize_t sent = send(fd, text, bytes, MSG_NOSIGNAL);
    if (sent <= 0) return; /* the other side has heard enough */
    text += sent;
    bytes -= (size_t)sent;
  }
}

/* Everything until the other side closes, at most ten seconds. */
static void get_all(int fd, char *out, size_t bytes) {
  size_t have = 0;
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  while (have + 1 < bytes && poll(&ready, 1, 10000) == 1) {
    ssize_t got = recv(fd, out + have, bytes - 1 - have, 0);
    if (got <= 0) break;
    have += (size_t)got;
  }
  out[have] = '\0';
  (void)close(fd);
}

/* One request on a connection of its own; `out` gets head and body. */
static void exchange(const struct fixture *f, const char *method, const char *path,
                     const char *body, char *out, size_t bytes) {
  char head[256];
  size_t body_bytes = body ? strlen(body) : 0;
  int length = snprintf(head, sizeof head,
                        "%s %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                        "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                        method, path, body_bytes);
  int fd = connect_to(f);
  put(fd, head, (size_t)length);
  if (body) put(fd, body, body_bytes);
  get_all(fd, out, bytes);
}

static void message(const struct fixture *f, const char *type, unsigned n, char *out,
                    size_t bytes) {
  char path[32], body[512];
  (void)snprintf(path, sizeof path, "/%s", type);
  fixture_message(f, body, sizeof body, type, n, NO_WATERMARK, "");
  exchange(f, "POST", path, body, out, bytes);
}

#define expect_in(text, part)                                 \
  do {                                                        \
    if (!strstr(text, part)) assert_string_equal(text, part); \
  } while (0)

static void a_transaction_goes_over_the_network(void **state) {
  struct fixture *f = *state;
  char out[2048];
  fixture_open(f);
  serve(f);
  message(f, "prepare", 1, out, sizeof out);
  expect_in(out, "HTTP/1.1 200 ");
  expect_in(out, "Content-Type: application/json\r\n");
  expect_in(out, "\r\n\r\n" VOTE_COMMIT);
  exchange(f, "GET", "/in-doubt", NULL, out, sizeof out);
  expect_in(out, id_of(1));
  message(f, "commit", 1, out, sizeof out);
  expect_in(out, "\r\n\r\n" COMMITTED);
}

static void what_is_wrong_is_said_in_problems(void **state) {
  struct fixture *f = *state;
  char out[2048];
  f->options.branches_max = 1;
  fixture_open(f);
  serve(f);
  exchange(f, "GET", "/prepare", NULL, out, sizeof out);
  expect_in(out, "HTTP/1.1 405 ");
  expect_in(out, "Allow: POST\r\n");
  expect_in(out, "Content-Type: application/problem+json\r\n");
  exchange(f, "POST", "/nowhere", "{}", out, sizeof out);
  expect_in(out, "HTTP/1.1 404 ");
  exchange(f, "POST", "/commit?x=1", "{}", out, sizeof out);
  expect_in(out, "HTTP/1.1 400 ");
  message(f, "prepare", 1, out, sizeof out);
  message(f, "prepare", 2, out, sizeof out);
  expect_in(out, "HTTP/1.1 503 ");
  expect_in(out, "Retry-After: 1\r\n");
}

/* A batch comes over the network as a message does, and every answer offers to take them. */
static void batches_are_offered_and_taken(void **state) {
  struct fixture *f = *state;
  char out[2048], one[512], body[1200];
  f->options.batch_max = 20;
  fixture_open(f);
  serve(f);
  exchange(f, "GET", "/in-doubt", NULL, out, sizeof out);
  expect_in(out, "Vow-Batch: 20\r\n");
  exchange(f, "POST", "/nowhere", "{}", out, sizeof out);
  expect_in(out, "Vow-Batch: 20\r\n");
  fixture_message(f, one, sizeof one, "prepare", 1, NO_WATERMARK, "");
  (void)snprintf(body, sizeof body, "{\"messages\":[{\"type\":\"prepare\",%s,{}]}", one + 1);
  exchange(f, "POST", "/batch", body, out, sizeof out);
  expect_in(out, "HTTP/1.1 200 ");
  expect_in(out, "Vow-Batch: 20\r\n");
  expect_in(out, "{\"replies\":[{\"status\":200,\"vote\":\"commit\"},{\"type\":");
}

static void a_body_past_the_limit_is_cut_off(void **state) {
  struct fixture *f = *state;
  char out[2048];
  size_t bytes = (size_t)3 << 20;
  char *body = malloc(bytes + 1);
  memset(body, ' ', bytes);
  body[bytes] = '\0';
  fixture_open(f);
  serve(f);
  exchange(f, "POST", "/prepare", body, out, sizeof out);
  expect_in(out, "HTTP/1.1 413 ");
  expect_in(out, "urn:vow:body-too-large");
  expect_in(out, "at most 1048576 bytes");
  free(body);
  message(f, "prepare", 1, out, sizeof out);
  expect_in(out, VOTE_COMMIT);
}

static void half_a_request_holds_up_nobody(void **state) {
  struct fixture *f = *state;
  char out[2048];
  fixture_open(f);
  serve(f);
  int half = connect_to(f);
  put(half, "POST /prepare HTTP/1.1\r\nContent-Le", 34);
  int gone = connect_to(f);
  put(gone, "POST /prepare HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{", 56);
  (void)close(gone);
  message(f, "prepare", 1, out, sizeof out);
  expect_in(out, VOTE_COMMIT);
  (void)close(half);
}

static void ask_in_doubt(int fd) {
  static const char get[] = "GET /in-doubt HTTP/1.1\r\nHost: a\r\n\r\n";
  put(fd, get, sizeof get - 1);
}

/* Whether there is an answer on the connection within that time. */
static bool is_answered(int fd, int wait_ms) {
  char out[2048];
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  return poll(&ready, 1, wait_ms) == 1 && recv(fd, out, sizeof out, 0) > 0;
}

/* Who came while there was no descriptor is served once there is one, though nobody leaves. */
static void descriptors_run_out(void **state) {
  struct fixture *f = *state;
  bool served = false;
  if (!descriptors_can_run_out()) skip();
  fixture_open(f);
  serve(f);
  int kept = connect_to(f);
  ask_in_doubt(kept);
  assert_true(is_answered(kept, 10000));
  int late = socket(AF_INET, SOCK_STREAM, 0);
  struct rlimit limit = leave_no_descriptor();
  connect_socket(f, late);
  ask_in_doubt(late);
  assert_false(is_answered(late, 100));
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
  for (int i = 0; i < 200 && !served; i++) {
    ask_in_doubt(kept);
    assert_true(is_answered(kept, 10000));
    served = is_answered(late, 50);
  }
  assert_true(served);
  (void)close(late);
  (void)close(kept);
}

/* ---- requests that wait ---- */

struct sender {
  pthread_t thread;
  struct fixture *f;
  const char *type;
  unsigned n;
  atomic_bool done;
  char out[2048];
};

static void *run_sender(void *context) {
  struct sender *sender = context;
  message(sender->f, sender->type, sender->n, sender->out, sizeof sender->out);
  atomic_store(&sender->done, true);
  return NULL;
}

static void start(struct sender *sender, struct fixture *f, const char *type, unsigned n) {
  memset(sender, 0, sizeof *sender);
  sender->f = f;
  sender->type = type;
  sender->n = n;
  assert_int_equal(pthread_create(&sender->thread, NULL, run_sender, sender), 0);
}

static void a_callback_that_blocks_holds_up_nobody_else(void **state) {
  struct fixture *f = *state;
  struct sender blocked[3];
  char out[2048];
  f->options.callback_threads = 1;
  fixture_open(f);
  serve(f);
  expect(send_message(f, "prepare", 8, ""), 200, VOTE_COMMIT);
  expect(send_message(f, "abort", 8, ""), 200, ABORTED);
  app_hold(f->app, true);
  for (unsigned i = 0; i < 3; i++) start(&blocked[i], f, "prepare", i + 1);
  app_await_waiting(f->app, 1);
  exchange(f, "GET", "/in-doubt", NULL, out, sizeof out);
  expect_in(out, "200 OK");
  message(f, "abort", 8, out, sizeof out);
  expect_in(out, ABORTED);
  message(f, "commit", 9, out, sizeof out);
  expect_in(out, "unknown-branch");
  app_hold(f->app, false);
  for (int i = 0; i < 3; i++) {
    pthread_join(blocked[i].thread, NULL);
    expect_in(blocked[i].out, VOTE_COMMIT);
  }
  assert_int_equal(f->app->running_most, 1);
}

static void a_second_prepare_waits_for_the_first_and_gets_its_vote(void **state) {
  struct fixture *f = *state;
  struct sender senders[4];
  fixture_open(f);
  serve(f);
  app_hold(f->app, true);
  for (int i = 0; i < 4; i++) start(&senders[i], f, "prepare", 1);
  app_await_waiting(f->app, 1);
  app_hold(f->app, false);
  for (int i = 0; i < 4; i++) {
    pthread_join(senders[i].thread, NULL);
    expect_in(senders[i].out, VOTE_COMMIT);
  }
  assert_int_equal(f->app->prepares, 1);
}

static void an_abort_while_the_callback_runs_is_carried_out_after_it(void **state) {
  struct fixture *f = *state;
  struct sender prepare, abort_;
  fixture_open(f);
  serve(f);
  app_hold(f->app, true);
  start(&prepare, f, "prepare", 1);
  app_await_waiting(f->app, 1);
  expect_part(send_message(f, "commit", 1, ""), 409, "state is preparing");
  start(&abort_, f, "abort", 1);
  app_hold(f->app, false);
  pthread_join(prepare.thread, NULL);
  pthread_join(abort_.thread, NULL);
  expect_in(abort_.out, ABORTED);
  expect(send_message(f, "abort", 1, ""), 200, ABORTED);
  assert_int_equal(f->app->commits, 0);
  assert_int_equal(f->app->aborts, 1);
}

static int answered(struct sender *senders, int count) {
  int result = 0;
  for (int i = 0; i < count; i++) result += atomic_load(&senders[i].done);
  return result;
}

static void past_the_waiters_of_a_branch_the_rest_is_told_to_come_again(void **state) {
  struct fixture *f = *state;
  enum { COUNT = 12, WAITERS_MAX = 8 };
  struct sender senders[COUNT];
  int refused = 0, voted = 0;
  fixture_open(f);
  serve(f);
  app_hold(f->app, true);
  for (int i = 0; i < COUNT; i++) start(&senders[i], f, "prepare", 1);
  eventually(answered(senders, COUNT) == COUNT - WAITERS_MAX);
  app_hold(f->app, false);
  for (int i = 0; i < COUNT; i++) {
    pthread_join(senders[i].thread, NULL);
    refused += strstr(senders[i].out, " 500 ") != NULL;
    voted += strstr(senders[i].out, VOTE_COMMIT) != NULL;
  }
  assert_int_equal(refused, COUNT - WAITERS_MAX);
  assert_int_equal(voted, WAITERS_MAX);
  assert_int_equal(f->app->prepares, 1);
}

/* ---- opening and closing ---- */

static void an_address_that_cannot_be_had_is_named(void **state) {
  struct fixture *f = *state;
  char why[256] = "", taken[64];
  fixture_open(f);
  serve(f);
  (void)snprintf(taken, sizeof taken, "127.0.0.1:%u", vow_participant_port(f->participant));
  const char *const again[] = {"127.0.0.1:0", taken, ""};
  for (size_t i = 0; i < sizeof again / sizeof again[0]; i++) {
    assert_int_equal(vow_participant_listen(f->participant, again[i], why, sizeof why),
                     VOW_E_ILLEGAL_STATE);
    expect_in(why, "listens already");
  }
  struct fixture second = *f;
  char path[160];
  (void)snprintf(path, sizeof path, "%s-second", f->path);
  second.options.log_path = path;
  fixture_open(&second);
  assert_int_equal(vow_participant_listen(second.participant, taken, why, sizeof why),
                   VOW_E_ADDRESS_IN_USE);
  expect_in(why, taken);
  const char *const wrong[] = {"",           "7001", "127.0.0.1",
                               "127.0.0.1:", "a:b",  "127.0.0.1:99999",
                               "::1:7001",   "[::1", "no.such.host.invalid:1"};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    assert_int_equal(vow_participant_listen(second.participant, wrong[i], why, sizeof why),
                     VOW_E_INVALID_ARGUMENT);
  }
  fixture_close(&second);
}

static void *close_participant(void *context) {
  fixture_close(context);
  return NULL;
}

static void closing_lets_what_is_under_way_end(void **state) {
  struct fixture *f = *state;
  struct sender sender;
  pthread_t closer;
  fixture_open(f);
  serve(f);
  app_hold(f->app, true);
  start(&sender, f, "prepare", 1);
  app_await_waiting(f->app, 1);
  assert_int_equal(pthread_create(&closer, NULL, close_participant, f), 0);
  app_hold(f->app, false);
  pthread_join(sender.thread, NULL);
  pthread_join(closer, NULL);
  expect_in(sender.out, VOTE_COMMIT);
  fixture_open(f);
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
}

static void closing_waits_five_seconds_and_then_says_so(void **state) {
  struct fixture *f = *state;
  struct sender sender;
  pthread_t closer;
  fixture_open(f);
  serve(f);
  app_hold(f->app, true);
  start(&sender, f, "prepare", 1);
  app_await_waiting(f->app, 1);
  assert_int_equal(pthread_create(&closer, NULL, close_participant, f), 0);
  pthread_join(sender.thread, NULL);
  expect_in(sender.out, "urn:vow:draining");
  app_hold(f->app, false);
  pthread_join(closer, NULL);
  /* The vote was made durable all the same, and is in doubt. */
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  assert_int_equal(f->app->prepares, 1);
}

/* ---- without threads for callbacks ---- */

static void callbacks_run_on_the_server_s_thread(void **state) {
  struct fixture *f = *state;
  char out[2048];
  f->options.callback_threads = 0;
  fixture_open(f);
  serve(f);
  message(f, "prepare", 1, out, sizeof out);
  expect_in(out, VOTE_COMMIT);
  pthread_t server = f->app->thread;
  message(f, "commit", 1, out, sizeof out);
  expect_in(out, COMMITTED);
  assert_true(pthread_equal(f->app->thread, server));
  assert_false(pthread_equal(server, pthread_self()));
}

static bool is_dismissed(struct vow_participant *p) {
  pthread_mutex_lock(&p->lock);
  bool dismissed = p->deaf;
  pthread_mutex_unlock(&p->lock);
  return dismissed;
}

/* It is called by who writes the log, once the intent is there. */
static void closing_waits_for_a_callback_on_the_server_s_thread(void **state) {
  struct fixture *f = *state;
  struct sender sender;
  pthread_t closer;
  f->options.callback_threads = 0;
  fixture_open(f);
  serve(f);
  app_hold(f->app, true);
  start(&sender, f, "prepare", 1);
  app_await_waiting(f->app, 1);
  assert_int_equal(pthread_create(&closer, NULL, close_participant, f), 0);
  eventually(is_dismissed(f->participant));
  app_hold(f->app, false);
  pthread_join(sender.thread, NULL);
  expect_in(sender.out, "urn:vow:draining");
  pthread_join(closer, NULL);
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  assert_int_equal(f->app->prepares, 1);
}

#define test(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      test(a_transaction_goes_over_the_network),
      test(what_is_wrong_is_said_in_problems),
      test(batches_are_offered_and_taken),
      test(a_body_past_the_limit_is_cut_off),
      test(half_a_request_holds_up_nobody),
      test(descriptors_run_out),
      test(a_callback_that_blocks_holds_up_nobody_else),
      test(a_second_prepare_waits_for_the_first_and_gets_its_vote),
      test(an_abort_while_the_callback_runs_is_carried_out_after_it),
      test(past_the_waiters_of_a_branch_the_rest_is_told_to_come_again),
      test(an_address_that_cannot_be_had_is_named),
      test(closing_lets_what_is_under_way_end),
      test(closing_waits_five_seconds_and_then_says_so),
      test(callbacks_run_on_the_server_s_thread),
      test(closing_waits_for_a_callback_on_the_server_s_thread),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
