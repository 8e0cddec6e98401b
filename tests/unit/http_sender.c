/*
 * The coordinator's sender: with the server on the same loop, and with peers that misbehave.
 */
#include <arpa/inet.h>

#include <poll.h>

#include "../lib/descriptors.h"
#include "http_world.h"
#include "slow_lookup.h"

/* ---- tests: the two with each other ---- */

static void echoes(void **state) {
  /* A body, a header and the content type travel there and back. */
  struct world *w = *state;
  struct reply reply = {0};
  const char *headers[] = {"X-Test: one", NULL};
  char url[256];
  snprintf(url, sizeof url, "%s/echo", w->base);
  struct vow_sender_request request = {.method = "POST",
                                       .url = url,
                                       .body = "{\"a\":1}",
                                       .body_bytes = 7,
                                       .headers = headers,
                                       .timeout_ms = 5000,
                                       .done = on_done,
                                       .context = &reply};
  assert_int_equal(vow_sender_submit(w->sender, &request), VOW_OK);
  WAIT_UNTIL(w, reply.there);
  assert_int_equal(reply.error, VOW_OK);
  assert_int_equal(reply.status, 200);
  assert_string_equal(reply.body, "{\"a\":1}");
  assert_string_equal(reply.type, "application/json");
}

static void describes(void **state) {
  /* Method, path as sent and decoded query reach the handler. */
  struct world *w = *state;
  struct reply reply;
  ask(w, &reply, "GET", "/v1/a%20b?a=x%2fy&b", NULL);
  assert_string_equal(reply.body, "GET /v1/a%20b a=x/y names=a,b");
  ask(w, &reply, "GET", "/v1/a?c=1", NULL);
  assert_string_equal(reply.body, "GET /v1/a a=- names=c,-");
  ask(w, &reply, "DELETE", "/v1%00/a", NULL);
  assert_string_equal(reply.body, "DELETE /v1%00/a a=- names=-,-");
}

static void empty_answers(void **state) {
  /* An answer without a body is empty and has no type; a POST without a body is possible. */
  struct world *w = *state;
  struct reply reply;
  ask(w, &reply, "POST", "/none", NULL);
  assert_int_equal(reply.error, VOW_OK);
  assert_int_equal(reply.status, 204);
  assert_int_equal(reply.bytes, 0);
  assert_string_equal(reply.type, "");
}

static void handles_are_reused(void **state) {
  /* What one request sets does not show in the next: method, body and headers are its own. */
  struct world *w = *state;
  struct reply reply;
  for (int i = 0; i < 3; i++) {
    ask(w, &reply, "POST", "/echo", "[1]");
    assert_string_equal(reply.body, "[1]");
    ask(w, &reply, "GET", "/x", NULL);
    assert_string_equal(reply.body, "GET /x a=- names=-,-");
    ask(w, &reply, "PUT", "/x", "[]");
    assert_string_equal(reply.body, "PUT /x a=- names=-,-");
    ask(w, &reply, "POST", "/echo", NULL);
    assert_string_equal(reply.body, "");
  }
  struct vow_server_counts counts;
  vow_server_counts(w->server, &counts);
  assert_int_equal(counts.connections, 1);
  assert_int_equal(counts.requests, 12);
  assert_int_equal(counts.requests_open, 0);
}

static void many_wait(void **state) {
  /* Hundreds of requests wait at once and each gets its own answer, in any order. */
  struct world *w = *state;
  enum { N = 500 };
  struct reply *replies = calloc(N, sizeof *replies);
  char url[256], text[32];
  snprintf(url, sizeof url, "%s/hold", w->base);
  for (unsigned i = 0; i < N; i++) submit(w, &replies[i], "POST", url, "{}", 9000);
  WAIT_UNTIL(w, w->held_count == N);
  for (unsigned i = 0; i < N; i++) {
    snprintf(text, sizeof text, "%u", i);
    answer_text(w->held[(i * 7) % N], 200, text);
  }
  uint64_t sum = 0;
  for (unsigned i = 0; i < N; i++) {
    WAIT_UNTIL(w, replies[i].there);
    assert_int_equal(replies[i].status, 200);
    sum += (uint64_t)atoi(replies[i].body);
  }
  assert_int_equal(sum, N * (N - 1) / 2);
  assert_int_equal(w->gone, 0);
  free(replies);
}

static void large_answers(void **state) {
  /* An answer up to the limit arrives whole; one byte more is a protocol error that says so. */
  struct world *w = *state;
  struct reply reply;
  char path[64];
  snprintf(path, sizeof path, "/big?n=%d", ANSWER_MAX);
  ask(w, &reply, "GET", path, NULL);
  assert_int_equal(reply.error, VOW_OK);
  assert_int_equal(reply.bytes, ANSWER_MAX);
  snprintf(path, sizeof path, "/big?n=%d", ANSWER_MAX + 1);
  ask(w, &reply, "GET", path, NULL);
  assert_int_equal(reply.error, VOW_E_PROTOCOL);
  assert_non_null(strstr(reply.why, "larger than 8192 bytes"));
}

static void deadline(void **state) {
  /* A request that is not answered in time ends with a timeout, and the server hears of it. */
  struct world *w = *state;
  struct reply reply;
  char url[256];
  snprintf(url, sizeof url, "%s/hold", w->base);
  submit(w, &reply, "POST", url, "{}", 100);
  WAIT_UNTIL(w, reply.there);
  assert_int_equal(reply.error, VOW_E_TIMEOUT);
  assert_non_null(strstr(reply.why, "within 100 ms"));
  WAIT_UNTIL(w, w->gone == 1);
  assert_null(w->held[0]);
}

/* ---- tests: bad peers of the sender ---- */

/* Listens and, once something has been read, sends `answer` and closes; NULL: never answers. */
struct peer {
  uv_tcp_t listener;
  bool keeps;    /* the connection, after its first answer */
  bool vanishes; /* closes the listener at the second request, and the connection unanswered */
  unsigned served;
  uv_stream_t *kept; /* the connection that it has kept; or NULL */
  char kept_answer[128];
  const char *answer;
  char url[64];
};

static void slow_lookup(void **state) {
  /* A name server that is silent holds up neither the loop nor the request past its time. */
  struct world *w = *state;
  struct reply reply, other;
  submit(w, &reply, "GET", "http://" SLOW_NAME ":7001/x", NULL, 200);
  WAIT_UNTIL(w, slow_lookup_waits());
  ask(w, &other, "POST", "/echo", "[1]");
  assert_string_equal(other.body, "[1]");
  WAIT_UNTIL(w, reply.there);
  assert_int_equal(reply.error, VOW_E_TIMEOUT);
  assert_true(reply.not_sent);
  assert_true(slow_lookup_waits());
  slow_lookup_end();
}

static void free_stream(uv_handle_t *handle) {
  free(handle);
}

static void peer_wrote(uv_write_t *write, int status) {
  (void)status;
  uv_close((uv_handle_t *)write->handle, free_stream);
  free(write);
}

static void peer_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf) {
  static char scratch[4096];
  (void)handle, (void)size;
  *buf = uv_buf_init(scratch, sizeof scratch);
}

static void peer_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  struct peer *peer = stream->data;
  (void)buf;
  if (n < 0) {
    uv_close((uv_handle_t *)stream, free_stream);
    return;
  }
  if (n == 0 || peer->answer == NULL) return;
  if (peer->vanishes && peer->served == 1) {
    uv_close((uv_handle_t *)&peer->listener, NULL);
    uv_close((uv_handle_t *)stream, free_stream);
    return;
  }
  peer->served++;
  if (peer->keeps) {
    uv_buf_t whole = uv_buf_init(peer->kept_answer, (unsigned)strlen(peer->kept_answer));
    assert_int_equal(uv_try_write(stream, &whole, 1), (int)whole.len);
    peer->kept = stream;
    return;
  }
  uv_read_stop(stream);
  uv_write_t *write = calloc(1, sizeof *write);
  char text[256];
  snprintf(text, sizeof text, "%s", peer->answer);
  uv_buf_t out = uv_buf_init(text, (unsigned)strlen(text));
  uv_try_write(stream, &out, 1);
  out.len = 0;
  uv_write(write, stream, &out, 1, peer_wrote);
}

static void peer_connected(uv_stream_t *listener, int status) {
  uv_tcp_t *stream = calloc(1, sizeof *stream);
  (void)status;
  uv_tcp_init(listener->loop, stream);
  stream->data = listener->data;
  assert_int_equal(uv_accept(listener, (uv_stream_t *)stream), 0);
  uv_read_start((uv_stream_t *)stream, peer_alloc, peer_read);
}

static void peer_open(struct world *w, struct peer *peer, const char *answer) {
  struct sockaddr_in address;
  int bytes = sizeof address;
  peer->answer = answer;
  uv_tcp_init(&w->loop, &peer->listener);
  peer->listener.data = peer;
  uv_ip4_addr("127.0.0.1", 0, &address);
  uv_tcp_bind(&peer->listener, (struct sockaddr *)&address, 0);
  assert_int_equal(uv_listen((uv_stream_t *)&peer->listener, 16, peer_connected), 0);
  uv_tcp_getsockname(&peer->listener, (struct sockaddr *)&address, &bytes);
  snprintf(peer->url, sizeof peer->url, "http://127.0.0.1:%d/x", ntohs(address.sin_port));
}

static void peer_close(struct world *w, struct peer *peer) {
  uv_close((uv_handle_t *)&peer->listener, NULL);
  turn(w);
}

static void bad_peer(struct world *w, const char *sent, enum vow_error error, const char *why) {
  struct peer peer = {0};
  struct reply reply;
  peer_open(w, &peer, sent);
  submit(w, &reply, "POST", peer.url, "{}", 300);
  WAIT_UNTIL(w, reply.there);
  if (reply.error != error || strstr(reply.why, why) == NULL) {
    fail_msg("\"%s\" gave %d \"%s\"", sent ? sent : "(nothing)", reply.error, reply.why);
  }
  peer_close(w, &peer);
}

static void bad_peers(void **state) {
  /* Each way a server can misbehave ends in its own error with a sentence. */
  struct world *w = *state;
  bad_peer(w, NULL, VOW_E_TIMEOUT, "no answer from 127.0.0.1");
  bad_peer(w, "", VOW_E_UNREACHABLE, "closed the connection");
  bad_peer(w, "garbage garbage garbage\r\n\r\n", VOW_E_PROTOCOL, "not HTTP");
  bad_peer(w, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", VOW_E_UNREACHABLE, "closed");
  bad_peer(w, "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nabc", VOW_E_UNREACHABLE, "closed");
  bad_peer(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", VOW_E_UNREACHABLE,
           "closed");
}

static void descriptors_run_out(void **state) {
  /* That no descriptor is left is not laid at the peer's door. */
  struct world *w = *state;
  struct reply reply;
  char url[256];
  turn(w);
  struct rlimit limit = leave_no_descriptor();
  snprintf(url, sizeof url, "%s/x", w->base);
  submit(w, &reply, "GET", url, NULL, 2000);
  WAIT_UNTIL(w, reply.there);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
  assert_int_equal(reply.error, VOW_E_UNREACHABLE);
  assert_true(reply.not_sent);
  assert_non_null(strstr(reply.why, "no descriptor is left to connect to 127.0.0.1:"));
  ask(w, &reply, "GET", "/x", NULL);
  assert_int_equal(reply.status, 200);
}

static void refused(void **state) {
  /* Nobody listens there, the name does not exist, the scheme is not ours: no connection. */
  struct world *w = *state;
  struct peer peer = {0};
  struct reply reply;
  peer_open(w, &peer, "");
  peer_close(w, &peer);
  submit(w, &reply, "POST", peer.url, "{}", 2000);
  WAIT_UNTIL(w, reply.there);
  assert_int_equal(reply.error, VOW_E_UNREACHABLE);
  assert_non_null(strstr(reply.why, "connection refused by 127.0.0.1:"));
  submit(w, &reply, "POST", "http://no.such.name.invalid/x", "{}", 8000);
  WAIT_UNTIL(w, reply.there);
  assert_true(reply.error == VOW_E_UNREACHABLE || reply.error == VOW_E_TIMEOUT);
  submit(w, &reply, "GET", "file:///etc/passwd", NULL, 2000);
  WAIT_UNTIL(w, reply.there);
  assert_int_not_equal(reply.error, VOW_OK);
  assert_int_equal(reply.bytes, 0);
}

static void not_sent(void **state) {
  /* Only a request of which no byte left is called not sent: not one that curl sent on a kept
   * connection that died under it, even though the second try was refused. */
  struct world *w = *state;
  struct peer peer = {.keeps = true, .vanishes = true};
  struct reply reply;
  snprintf(peer.kept_answer, sizeof peer.kept_answer,
           "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
  peer_open(w, &peer, "");
  submit(w, &reply, "POST", peer.url, "{}", 5000);
  WAIT_UNTIL(w, reply.there);
  assert_int_equal(reply.status, 200);
  submit(w, &reply, "POST", peer.url, "{}", 5000);
  WAIT_UNTIL(w, reply.there);
  assert_int_equal(reply.error, VOW_E_UNREACHABLE);
  assert_false(reply.not_sent);
  submit(w, &reply, "POST", peer.url, "{}", 5000);
  WAIT_UNTIL(w, reply.there);
  assert_int_equal(reply.error, VOW_E_UNREACHABLE);
  assert_true(reply.not_sent);
  bad_peer(w, NULL, VOW_E_TIMEOUT, "no answer from 127.0.0.1");
}

static void late_to_connect(void **state) {
  /* The time to connect is over before the loop has begun to watch the socket, as after a pause of
   * the process: that is a timeout, and the next request finds its way. */
  struct world *w = *state;
  struct reply reply;
  char url[256];
  snprintf(url, sizeof url, "%s/echo", w->base);
  for (int i = 0; i < 3; i++) {
    submit(w, &reply, "POST", url, "{}", 20);
    vow_sender_flush(w->sender);
    poll(NULL, 0, 50);
    WAIT_UNTIL(w, reply.there);
    assert_int_equal(reply.error, VOW_E_TIMEOUT);
  }
  ask(w, &reply, "POST", "/echo", "[1]");
  assert_string_equal(reply.body, "[1]");
}

static void closed_while_kept(void **state) {
  /* A kept connection that the other side closes keeps the loop busy for a moment only, and the
   * next request takes another. */
  struct world *w = *state;
  struct peer peer = {.keeps = true};
  struct reply reply;
  struct pollfd loop = {.fd = uv_backend_fd(&w->loop), .events = POLLIN};
  snprintf(peer.kept_answer, sizeof peer.kept_answer,
           "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
  peer_open(w, &peer, "");
  submit(w, &reply, "POST", peer.url, "{}", 5000);
  WAIT_UNTIL(w, reply.there);
  uv_close((uv_handle_t *)peer.kept, free_stream);
  for (int i = 0; i < 5; i++) turn(w);
  WAIT_UNTIL(w, poll(&loop, 1, 0) == 0);
  submit(w, &reply, "POST", peer.url, "{}", 5000);
  WAIT_UNTIL(w, reply.there);
  assert_int_equal(reply.status, 200);
  assert_int_equal(peer.served, 2);
  uv_close((uv_handle_t *)peer.kept, free_stream);
  peer_close(w, &peer);
}

static void no_redirects(void **state) {
  /* A redirect is an answer like any other: it is not followed. */
  struct world *w = *state;
  struct peer peer = {0};
  struct reply reply;
  char answer[256];
  snprintf(answer, sizeof answer,
           "HTTP/1.1 302 Found\r\nLocation: %s/echo\r\nContent-Length: 0\r\n\r\n", w->base);
  peer_open(w, &peer, answer);
  submit(w, &reply, "POST", peer.url, "{}", 2000);
  WAIT_UNTIL(w, reply.there);
  assert_int_equal(reply.status, 302);
  assert_int_equal(w->handled, 0);
  peer_close(w, &peer);
}

static void dropped_at_close(void **state) {
  /* Closing the sender and the server with requests under way calls no done() and leaks nothing. */
  struct world *w = *state;
  struct reply replies[4];
  char url[256];
  snprintf(url, sizeof url, "%s/hold", w->base);
  for (unsigned i = 0; i < 4; i++) submit(w, &replies[i], "POST", url, "{}", 5000);
  WAIT_UNTIL(w, w->held_count == 3 || w->held_count == 4);
  vow_sender_close(w->sender);
  w->sender = NULL;
  unsigned waiting = w->held_count;
  vow_server_close(w->server);
  w->server = NULL;
  for (unsigned i = 0; i < 4; i++) assert_false(replies[i].there);
  assert_int_equal(w->gone, waiting);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
  const struct CMUnitTest tests[] = {
      T(echoes),
      T(describes),
      T(empty_answers),
      T(handles_are_reused),
      T(many_wait),
      T(large_answers),
      T(deadline),
      T(bad_peers),
      T(descriptors_run_out),
      T(refused),
      T(not_sent),
      T(closed_while_kept),
      T(no_redirects),
      T(dropped_at_close),
      T(slow_lookup),
      T(late_to_connect),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
