/*
 * The coordinator's server and clients that misbehave.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/descriptors.h"
#include "http_world.h"

/* ---- raw bytes to the server ---- */

static int raw_connect(struct world *w) {
  struct sockaddr_in to = {.sin_family = AF_INET};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons((uint16_t)atoi(strrchr(vow_server_address(w->server), ':') + 1));
  assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
  return fd;
}

/* Sends everything while the loop turns. False when the server closed the connection. */
static bool raw_send(struct world *w, int fd, const char *data, size_t bytes) {
  uint64_t end = now_ms() + DEADLINE_MS;
  while (bytes > 0) {
    ssize_t n = send(fd, data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
      data += n;
      bytes -= (size_t)n;
    } else if (errno != EAGAIN) {
      return false;
    }
    assert_true(now_ms() < end);
    turn(w);
  }
  return true;
}

/* Reads until the text `until` has come, or (NULL) until the server closes. */
static void raw_read(struct world *w, int fd, const char *until, char *out, size_t out_bytes) {
  uint64_t end = now_ms() + DEADLINE_MS;
  size_t have = 0;
  out[0] = '\0';
  for (;;) {
    ssize_t n = recv(fd, out + have, out_bytes - have - 1, MSG_DONTWAIT);
    if (n > 0) {
      have += (size_t)n;
      out[have] = '\0';
    }
    if (until != NULL && strstr(out, until) != NULL) return;
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
      if (until == NULL) return;
      fail_msg("closed before \"%s\" came: %s", until, out);
    }
    if (now_ms() > end) fail_msg("waited too long for \"%s\": %s", until ? until : "EOF", out);
    turn(w);
  }
}

static void raw_puts(struct world *w, int fd, const char *text) {
  assert_true(raw_send(w, fd, text, strlen(text)));
}

/* ---- tests: bad clients of the server ---- */

static void bodies_too_large(void **state) {
  /* A body over the limit is a 413 whether its length is announced, chunked or expected, and the
   * client can read the answer. */
  struct world *w = *state;
  char out[2048], head[256];
  char *body = malloc(BODY_BYTES_MAX + 1);
  memset(body, 'x', BODY_BYTES_MAX + 1);

  int fd = raw_connect(w);
  snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
           BODY_BYTES_MAX + 1);
  raw_puts(w, fd, head);
  assert_true(raw_send(w, fd, body, BODY_BYTES_MAX + 1));
  raw_read(w, fd, "too large", out, sizeof out);
  assert_non_null(strstr(out, "413"));

  /* The same connection goes on, with the largest body that is allowed. */
  snprintf(head, sizeof head, "POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
           BODY_BYTES_MAX);
  raw_puts(w, fd, head);
  assert_true(raw_send(w, fd, body, BODY_BYTES_MAX));
  WAIT_UNTIL(w, w->held_count == 1);
  size_t bytes;
  vow_request_body(w->held[0], &bytes);
  assert_int_equal(bytes, BODY_BYTES_MAX);
  answer_text(w->held[0], 200, "fits");
  raw_read(w, fd, "fits", out, sizeof out);

  raw_puts(w, fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 11; i++) {
    raw_puts(w, fd, "800\r\n");
    assert_true(raw_send(w, fd, body, 0x800));
    raw_puts(w, fd, "\r\n");
  }
  raw_puts(w, fd, "0\r\n\r\n");
  raw_read(w, fd, "too large", out, sizeof out);
  close(fd);

  fd = raw_connect(w);
  raw_puts(w, fd,
           "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
           "1000000\r\n\r\n");
  raw_read(w, fd, NULL, out, sizeof out);
  assert_non_null(strstr(out, "413"));
  assert_null(strstr(out, "100 Continue"));
  close(fd);

  fd = raw_connect(w);
  raw_puts(w, fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\nab");
  raw_read(w, fd, NULL, out, sizeof out);
  assert_non_null(strstr(out, "413"));
  close(fd);
  free(body);
}

/* Begins a body of BODY_BYTES_MAX, and sends that much of it. */
static int raw_body(struct world *w, const char *path, size_t bytes) {
  static const char body[BODY_BYTES_MAX] = "x";
  char head[128];
  int fd = raw_connect(w);
  snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", path,
           BODY_BYTES_MAX);
  raw_puts(w, fd, head);
  assert_true(raw_send(w, fd, body, bytes));
  return fd;
}

static void many_long_bodies(void **state) {
  /* Bodies that are sent slowly have a limit together. Past it a long one is read, refused and not
   * kept; a short one is taken. When they are gone there is room again. */
  struct world *w = *state;
  struct vow_server_counts counts = {0};
  char out[2048];
  int slow[2];
  for (int i = 0; i < 2; i++) slow[i] = raw_body(w, "/hold", BODY_BYTES_MAX - 1);
  WAIT_UNTIL(
      w, (vow_server_counts(w->server, &counts), counts.body_bytes == 2 * (BODY_BYTES_MAX - 1)));

  int fd = raw_body(w, "/hold", BODY_BYTES_MAX);
  raw_read(w, fd, "no room", out, sizeof out);
  assert_non_null(strstr(out, "503"));
  vow_server_counts(w->server, &counts);
  assert_int_equal(counts.body_bytes, 2 * (BODY_BYTES_MAX - 1));
  raw_puts(w, fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nshort");
  raw_read(w, fd, "short", out, sizeof out);
  assert_non_null(strstr(out, "200"));

  close(slow[0]);
  WAIT_UNTIL(w, (vow_server_counts(w->server, &counts), counts.body_bytes == BODY_BYTES_MAX - 1));
  int late = raw_body(w, "/hold", BODY_BYTES_MAX);
  WAIT_UNTIL(w, w->held_count == 1);
  answer_text(w->held[0], 200, "fits");
  raw_read(w, late, "fits", out, sizeof out);
  close(slow[1]);
  close(fd);
  close(late);
  WAIT_UNTIL(w, (vow_server_counts(w->server, &counts), counts.body_bytes == 0));
}

static void answers_nobody_reads(void **state) {
  /* What is still to be sent of long answers is counted until they are sent or their client leaves.
   */
  struct world *w = *state;
  struct vow_server_counts counts = {0};
  enum { ANSWER_BYTES = 8 * 1024 * 1024 };
  int fd = raw_connect(w);
  static char answer[ANSWER_BYTES];
  memset(answer, 'x', sizeof answer);
  raw_puts(w, fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
  WAIT_UNTIL(w, w->held_count == 1);
  vow_request_answer(w->held[0], 200, "text/plain", answer, sizeof answer);
  for (int i = 0; i < 5; i++) turn(w);
  vow_server_counts(w->server, &counts);
  assert_int_equal(counts.answer_bytes, ANSWER_BYTES);
  close(fd);
  WAIT_UNTIL(w, (vow_server_counts(w->server, &counts), counts.answer_bytes == 0));
}

static void endless_body(void **state) {
  /* A chunked body without an end is cut off by hanging up, not read for ever. */
  struct world *w = *state;
  static char chunk[1024 * 1024];
  int fd = raw_connect(w);
  unsigned sent = 0;
  memset(chunk, 'x', sizeof chunk);
  raw_puts(w, fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  while (sent < 64 && raw_send(w, fd, "100000\r\n", 8) && raw_send(w, fd, chunk, sizeof chunk) &&
         raw_send(w, fd, "\r\n", 2)) {
    sent++;
  }
  assert_in_range(sent, 15, 40);
  assert_int_equal(w->handled, 0);
  close(fd);
}

static void malformed_requests(void **state) {
  /* What is not HTTP, or has too long a head, is answered with 4xx or hung up on; the next client
   * is served. */
  struct world *w = *state;
  static const char *const bad[] = {
      "hello\r\n\r\n",
      "GET\r\n\r\n",
      "\r\n\r\n\r\nGET / HTTP/9.9\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1x\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
      "GET /x HTTP/1.1\r\nno colon here\r\n\r\n",
  };
  struct reply reply;
  char out[4096];
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    int fd = raw_connect(w);
    raw_puts(w, fd, bad[i]);
    shutdown(fd, SHUT_WR);
    raw_read(w, fd, NULL, out, sizeof out);
    if (out[0] != '\0' && strstr(out, "HTTP/1.") == NULL) fail_msg("%s gave %s", bad[i], out);
    close(fd);
  }
  int fd = raw_connect(w);
  static char head[64 * 1024];
  memset(head, 'h', sizeof head);
  raw_puts(w, fd, "GET /x HTTP/1.1\r\nHost: x\r\nX-Long: ");
  raw_send(w, fd, head, sizeof head);
  raw_read(w, fd, "431", out, sizeof out);
  close(fd);
  ask(w, &reply, "GET", "/x", NULL);
  assert_int_equal(reply.status, 200);
}

/* A request whose line and headers, each header counted with 64 bytes more, have so many. */
static void ask_with_head(struct world *w, unsigned headers, size_t bytes, const char *expected) {
  char head[20 * 1024], out[4096];
  size_t left = bytes - 64 * (headers + 1), each = (left - 200) / headers;
  size_t used = (size_t)snprintf(head, sizeof head, "GET /x HTTP/1.1\r\nHost: x\r\n");
  for (unsigned i = 1; i <= headers; i++) {
    size_t line = i < headers ? each : left - used - 2;
    int name = snprintf(head + used, sizeof head - used, "X-%u: ", i);
    memset(head + used + name, 'h', line - (size_t)name - 2);
    memcpy(head + used + line - 2, "\r\n", 2);
    used += line;
  }
  memcpy(head + used, "\r\n", 2);
  int fd = raw_connect(w);
  raw_send(w, fd, head, used + 2);
  raw_read(w, fd, expected, out, sizeof out);
  close(fd);
}

static void longest_head(void **state) {
  /* A head may have 16 KiB. A longer one is refused while there is room for an answer that says so,
   * and after that by microhttpd. Whatever is taken is answered. */
  struct world *w = *state;
  for (unsigned headers = 1; headers <= 60; headers += 59) {
    ask_with_head(w, headers, 16 * 1024 - 50, "HTTP/1.1 200");
    ask_with_head(w, headers, 16 * 1024 + 50, "HTTP/1.1 400");
    ask_with_head(w, headers, 17 * 1024 - 300, "HTTP/1.1 400");
    ask_with_head(w, headers, 17 * 1024 + 100, "HTTP/1.1 431");
  }
  /* A request line alone, too, in which there need not be a header. */
  char line[17 * 1024], out[4096];
  snprintf(line, sizeof line, "GET /%0*d HTTP/1.0\r\n\r\n", 16 * 1024 + 50, 0);
  int fd = raw_connect(w);
  raw_puts(w, fd, line);
  raw_read(w, fd, " 400 ", out, sizeof out);
  close(fd);
}

static void body_cut_short(void **state) {
  /* A client that announces more than it sends and leaves is forgotten; nothing is handed up. */
  struct world *w = *state;
  int fd = raw_connect(w);
  raw_puts(w, fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nshort");
  turn(w);
  close(fd);
  struct vow_server_counts counts = {.connections = 1};
  WAIT_UNTIL(w, (vow_server_counts(w->server, &counts), counts.connections == 0));
  assert_int_equal(counts.requests_open, 0);
  assert_int_equal(w->handled, 0);
  assert_int_equal(w->gone, 0);
}

static void leaves_while_waiting(void **state) {
  /* A client that leaves while its request waits is noticed, and its connection is closed. */
  struct world *w = *state;
  int fd = raw_connect(w);
  raw_puts(w, fd, "POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
  WAIT_UNTIL(w, w->held_count == 1);
  assert_ptr_equal(vow_request_data(w->held[0]), w);
  close(fd);
  WAIT_UNTIL(w, w->gone == 1);
  struct vow_server_counts counts = {.connections = 1};
  WAIT_UNTIL(w, (vow_server_counts(w->server, &counts), counts.connections == 0));
  assert_int_equal(counts.requests_waiting, 0);
  assert_int_equal(counts.hangups, 1);
}

static void pipelined(void **state) {
  /* Requests that arrive in one packet are answered in their order, also when the first waits. */
  struct world *w = *state;
  char out[4096];
  int fd = raw_connect(w);
  raw_puts(w, fd,
           "POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
           "GET /second HTTP/1.1\r\nHost: x\r\n\r\n"
           "HEAD /third HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  WAIT_UNTIL(w, w->held_count == 1);
  assert_int_equal(w->handled, 1);
  answer_text(w->held[0], 200, "first");
  raw_read(w, fd, NULL, out, sizeof out);
  assert_non_null(strstr(out, "first"));
  assert_true(strstr(out, "GET /second") > strstr(out, "first"));
  assert_null(strstr(out, "HEAD /third"));
  assert_int_equal(w->handled, 3);
  close(fd);
}

static void connection_limit(void **state) {
  /* Past the connection limit a client waits its turn and is served when another leaves. */
  (void)state;
  struct world *w = world_new(2);
  char out[2048];
  const char *get = "GET /x HTTP/1.1\r\nHost: x\r\n\r\n";
  int a = raw_connect(w), b = raw_connect(w), c = raw_connect(w);
  raw_puts(w, a, get);
  raw_puts(w, b, get);
  raw_read(w, a, "GET /x", out, sizeof out);
  raw_read(w, b, "GET /x", out, sizeof out);
  raw_puts(w, c, get);
  for (int i = 0; i < 5; i++) turn(w);
  assert_int_equal(w->handled, 2);
  close(a);
  raw_read(w, c, "GET /x", out, sizeof out);
  close(b);
  close(c);
  world_free(w);
}

static void descriptors_run_out(void **state) {
  /* Who came while there was no descriptor is served once there is one, though nobody leaves. */
  struct world *w = *state;
  char out[2048];
  const char *get = "GET /x HTTP/1.1\r\nHost: x\r\n\r\n";
  if (!descriptors_can_run_out()) skip();
  int kept = raw_connect(w), late = raw_connect(w);
  raw_puts(w, kept, get);
  WAIT_UNTIL(w, w->handled == 1);
  close(late);
  for (int i = 0; i < 5; i++) turn(w);

  late = raw_connect(w);
  struct rlimit limit = leave_no_descriptor();
  raw_puts(w, late, get);
  for (int i = 0; i < 5; i++) turn(w);
  assert_int_equal(w->handled, 1);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
  raw_read(w, late, "GET /x", out, sizeof out);
  close(late);
  close(kept);
}

static void quiesced(void **state) {
  /* After quiesce nobody new gets in, what waits is answered, and the connection then closes. */
  struct world *w = *state;
  char out[2048];
  int fd = raw_connect(w);
  raw_puts(w, fd, "POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
  WAIT_UNTIL(w, w->held_count == 1);
  vow_server_quiesce(w->server);
  struct reply reply;
  char url[256];
  snprintf(url, sizeof url, "%s/x", w->base);
  submit(w, &reply, "GET", url, NULL, 2000);
  WAIT_UNTIL(w, reply.there);
  assert_int_equal(reply.error, VOW_E_UNREACHABLE);
  answer_text(w->held[0], 200, "late");
  raw_read(w, fd, NULL, out, sizeof out);
  assert_non_null(strstr(out, "late"));
  close(fd);
}

static void bad_addresses(void **state) {
  /* An address that cannot be listened on is refused with a sentence that says what to do. */
  struct world *w = *state;
  struct vow_server *server = NULL;
  static const char *const bad[] = {"",           "7800",         ":7800",           "127.0.0.1",
                                    "127.0.0.1:", "127.0.0.1:x",  "127.0.0.1:65536", "[::1:80",
                                    "::1:80",     "999.1.1.1:80", "127.0.0.1:-1"};
  struct vow_server_config config = {
      .connections_max = 1, .idle_timeout_ms = 1, .handle = handle, .gone = gone, .context = w};
  char why[256];
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    config.listen = bad[i];
    why[0] = '\0';
    assert_int_equal(vow_server_open(&server, &w->loop, &config, why, sizeof why), VOW_E_CONFIG);
    assert_true(strlen(why) > 20);
  }
  config.listen = "192.0.2.1:0"; /* nobody's: it is for documents */
  assert_int_equal(vow_server_open(&server, &w->loop, &config, why, sizeof why), VOW_E_CONFIG);
  assert_non_null(strstr(why, "no interface of this machine has it"));
  config.listen = vow_server_address(w->server);
  assert_int_equal(vow_server_open(&server, &w->loop, &config, why, sizeof why),
                   VOW_E_ADDRESS_IN_USE);
  assert_non_null(strstr(why, "in use"));
  assert_null(server);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
  const struct CMUnitTest tests[] = {
      T(bodies_too_large),   T(endless_body),
      T(many_long_bodies),   T(answers_nobody_reads),
      T(malformed_requests), T(longest_head),
      T(body_cut_short),     T(leaves_while_waiting),
      T(pipelined),          cmocka_unit_test(connection_limit),
      T(quiesced),           T(descriptors_run_out),
      T(bad_addresses),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
