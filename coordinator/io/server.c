/*
 * HTTP in, on libmicrohttpd in external epoll mode. See server.h.
 *
 * How the two loops meet: microhttpd keeps its sockets in an epoll set of its own, whose descriptor
 * is polled by libuv. Whatever calls for microhttpd's attention (that descriptor, its timeout, an
 * answer to a suspended request) only kicks; it then runs once for all of them, right after libuv
 * has handed out its events (check) or, for what timers did, right before it waits (prepare). An
 * idle handle keeps libuv from waiting while a run is due.
 *
 * Life of a request:
 *
 *   URI read ──> READING ──complete──> HANDED ──answer──> ANSWERED ──sent──> completed()
 *                   │                     │ client left, server closes
 *                   └──connection lost──> completed()     └──> GONE ──> completed()
 *
 * Invariants:
 *   1. A request is freed in completed() and nowhere else; microhttpd calls it once for each.
 *   2. A connection is suspended exactly while its request is HANDED and handle() has returned.
 *   3. gone() is called once for each HANDED request that is never answered.
 *   4. Microhttpd does not look at a suspended socket, so after HANGUP_WATCH_MS libuv does.
 *   5. Whoever waits to be accepted while there is room is accepted within ACCEPT_WATCH_MS, or once
 *      there is a descriptor.
 */
#include "server.h"

#include <ctype.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "server_internal.h"

#define HEAD_BYTES_MAX          (16u * 1024) /* of a request line and headers, as they are kept */
#define HEAD_ITEM_BYTES         64           /* for each header and parameter, beside its text */
#define CONNECTION_MEMORY_BYTES (HEAD_BYTES_MAX + 1024) /* with the head of the answer */
#define DRAIN_BYTES_MIN         (16u * 1024 * 1024)     /* of a refused body; past it we hang up */
#define REQUESTS_KEPT           256
#define HANGUP_WATCH_MS         250
#define ACCEPT_WATCH_MS         1000
#define HANDLES                 7

/* ---- requests ---- */

static struct vow_server_request *request_new(struct vow_server *server,
                                              struct MHD_Connection *connection) {
  struct vow_server_request *request = server->free;
  if (request != NULL) {
    server->free = request->next;
    server->free_count--;
    request->next = NULL;
  } else if ((request = calloc(1, sizeof *request)) == NULL) {
    return NULL;
  }
  request->server = server;
  request->connection = connection;
  server->counts.requests_open++;
  server->counts.requests++;
  return request;
}

static void request_free(struct vow_server_request *request) {
  free(request->body);
  free(request);
}

static void drop_body(struct vow_server_request *request) {
  free(request->body);
  request->body = NULL;
  request->body_bytes = request->body_capacity = 0;
  request->server->counts.body_bytes -= request->held_bytes;
  request->held_bytes = 0;
}

static void request_release(struct vow_server_request *request) {
  struct vow_server *server = request->server;
  server->counts.body_bytes -= request->held_bytes;
  server->counts.answer_bytes -= request->answer_bytes;
  if (request->response != NULL) MHD_destroy_response(request->response);
  free(request->encoded_path);
  server->counts.requests_open--;
  if (server->free_count >= REQUESTS_KEPT || request->body_capacity > VOW_SERVER_SHORT_BYTES) {
    request_free(request);
    return;
  }
  char *body = request->body;
  size_t capacity = request->body_capacity;
  memset(request, 0, sizeof *request);
  request->body = body;
  request->body_capacity = capacity;
  request->next = server->free;
  server->free = request;
  server->free_count++;
}

bool vow_server_append_body(struct vow_server_request *request, const char *data, size_t bytes) {
  size_t need = request->body_bytes + bytes + 1;
  if (need > request->body_capacity) {
    size_t capacity = request->body_capacity ? request->body_capacity : 1024;
    while (capacity < need) capacity *= 2;
    char *body = realloc(request->body, capacity);
    if (body == NULL) return false;
    request->body = body;
    request->body_capacity = capacity;
  }
  memmove(request->body + request->body_bytes, data, bytes);
  request->body_bytes += bytes;
  request->body[request->body_bytes] = '\0';
  return true;
}

static size_t drain_bytes_max(const struct vow_server *server) {
  size_t four = server->config.body_bytes_max * 4;
  return four > DRAIN_BYTES_MIN ? four : DRAIN_BYTES_MIN;
}

/* ---- suspended requests and clients that leave ---- */

static void kick(struct vow_server *server);
static void on_hangup_timer(uv_timer_t *timer);
static void on_accept_timer(uv_timer_t *timer);

static void waiting_append(struct vow_server *server, struct vow_server_request *request) {
  request->handed_ms = uv_now(server->loop);
  request->prev = server->waiting_tail;
  request->next = NULL;
  if (server->waiting_tail != NULL) {
    server->waiting_tail->next = request;
  } else {
    server->waiting_head = request;
  }
  server->waiting_tail = request;
  server->counts.requests_waiting++;
  if (!uv_is_active((uv_handle_t *)&server->hangup_timer)) {
    uv_timer_start(&server->hangup_timer, on_hangup_timer, HANGUP_WATCH_MS, 0);
  }
}

static void waiting_remove(struct vow_server *server, struct vow_server_request *request) {
  if (request->prev != NULL) {
    request->prev->next = request->next;
  } else {
    server->waiting_head = request->next;
  }
  if (request->next != NULL) {
    request->next->prev = request->prev;
  } else {
    server->waiting_tail = request->prev;
  }
  request->prev = request->next = NULL;
  server->counts.requests_waiting--;
}

static void free_handle(uv_handle_t *handle) {
  free(handle);
}

void vow_server_wake(struct vow_server_request *request) {
  struct vow_server *server = request->server;
  waiting_remove(server, request);
  if (request->hangup != NULL) {
    uv_close((uv_handle_t *)request->hangup, free_handle);
    request->hangup = NULL;
  }
  request->suspended = false;
  MHD_resume_connection(request->connection);
  kick(server);
}

static void tell_gone(struct vow_server_request *request) {
  struct vow_server *server = request->server;
  request->state = GONE;
  server->counts.hangups++;
  if (server->config.gone != NULL) server->config.gone(server->config.context, request);
}

static void on_hangup(uv_poll_t *poll, int status, int events) {
  struct vow_server_request *request = poll->data;
  if (status == 0 && (events & UV_DISCONNECT) == 0) return;
  tell_gone(request);
  vow_server_wake(request);
}

static void watch(struct vow_server_request *request) {
  const union MHD_ConnectionInfo *info =
      MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  uv_poll_t *poll = info == NULL ? NULL : calloc(1, sizeof *poll);
  if (poll == NULL) return; /* the wait is bounded anyway */
  if (uv_poll_init(request->server->loop, poll, info->connect_fd) != 0) {
    free(poll);
    return;
  }
  poll->data = request;
  request->hangup = poll;
  uv_poll_start(poll, UV_DISCONNECT, on_hangup);
}

/* Watched requests are at the head of the list, for it is in the order of their age. The timer
 * comes rarely, so walking over them is cheap. */
static void on_hangup_timer(uv_timer_t *timer) {
  struct vow_server *server = timer->data;
  uint64_t now = uv_now(server->loop);
  struct vow_server_request *request = server->waiting_head;
  for (; request != NULL; request = request->next) {
    if (request->hangup != NULL) continue;
    if (now - request->handed_ms < HANGUP_WATCH_MS) break;
    watch(request);
  }
  if (request != NULL) {
    uv_timer_start(timer, on_hangup_timer, HANGUP_WATCH_MS, 0);
  }
}

/* ---- microhttpd's callbacks ---- */

/* Microhttpd leaves alone what is no escape, and lets one of NUL end the value. */
static bool escapes_are_valid(const char *query) {
  for (const char *at = query; (at = strchr(at, '%')) != NULL; at += 3) {
    if (!isxdigit((unsigned char)at[1]) || !isxdigit((unsigned char)at[2])) return false;
    if (at[1] == '0' && at[2] == '0') return false;
  }
  return true;
}

static void *on_uri(void *context, const char *uri, struct MHD_Connection *connection) {
  struct vow_server_request *request = request_new(context, connection);
  size_t bytes = strcspn(uri, "?");
  if (request == NULL) return NULL;
  for (const char *item = uri + bytes; *item != '\0'; item += strcspn(item + 1, "&") + 1) {
    request->head_bytes += HEAD_ITEM_BYTES;
  }
  request->head_bytes += strlen(uri);
  request->query_malformed = !escapes_are_valid(uri + bytes);
  if (memchr(uri, '%', bytes) == NULL) return request;
  request->encoded_path = strndup(uri, bytes);
  if (request->encoded_path != NULL) return request;
  request_release(request);
  return NULL;
}

static enum MHD_Result queue_answer(struct vow_server_request *request) {
  enum MHD_Result result =
      MHD_queue_response(request->connection, (unsigned)request->status, request->response);
  MHD_destroy_response(request->response);
  request->response = NULL;
  return result;
}

/* Hands the request up. It may be answered before this returns. */
static enum MHD_Result hand_over(struct vow_server_request *request) {
  struct vow_server *server = request->server;
  if (server->closing) return MHD_NO;
  request->state = HANDED;
  server->config.handle(server->config.context, request);
  if (request->state == ANSWERED) {
    return request->response == NULL ? MHD_NO : queue_answer(request);
  }
  request->suspended = true;
  MHD_suspend_connection(request->connection);
  waiting_append(server, request);
  return MHD_YES;
}

/* Microhttpd takes the first of two lengths, waits for the end of the connection where a body comes
 * in any other way than chunked, and keeps the space of "Idempotency-Key : 1" in a name that nobody
 * asks for. A proxy may read such a request otherwise: where it ends, or what it is. */
static enum MHD_Result check_header(void *context, enum MHD_ValueKind kind, const char *name,
                                    size_t name_bytes, const char *value, size_t value_bytes) {
  static const char *const once[] = {MHD_HTTP_HEADER_CONTENT_LENGTH,
                                     MHD_HTTP_HEADER_TRANSFER_ENCODING, "Idempotency-Key"};
  struct vow_server_request *request = context;
  (void)kind;
  request->head_bytes += name_bytes + strlen(": \r\n") + value_bytes + HEAD_ITEM_BYTES;
  if (name_bytes > 0 && (name[name_bytes - 1] == ' ' || name[name_bytes - 1] == '\t')) {
    request->header_fault = "the name of a header ends with a space";
  }
  for (unsigned i = 0; i < sizeof once / sizeof *once; i++) {
    if ((name[0] | 0x20) != (once[i][0] | 0x20) || strcasecmp(name, once[i]) != 0) continue;
    if (request->headers_seen & 1u << i) {
      request->header_fault =
          "Content-Length, Transfer-Encoding and Idempotency-Key may each "
          "stand there once";
    }
    request->headers_seen |= (unsigned char)(1u << i);
  }
  if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0 &&
      (value == NULL || strcasecmp(value, "chunked") != 0)) {
    request->header_fault = "Transfer-Encoding can only be chunked";
  }
  if ((request->headers_seen & 3) == 3) {
    request->header_fault = "Content-Length and Transfer-Encoding exclude each other";
  }
  return request->header_fault == NULL ? MHD_YES : MHD_NO;
}

/* The headers are there. A body that will be refused, and that the client either has not sent yet
 * (it expects a 100) or that is too large even to be thrown away, is refused now; microhttpd closes
 * the connection after the answer. Other bodies are read, so that the client can read our answer.
 */
static enum MHD_Result start(struct vow_server_request *request) {
  struct vow_server *server = request->server;
  const char *length = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND,
                                                   MHD_HTTP_HEADER_CONTENT_LENGTH);
  unsigned long long bytes = length == NULL ? 0 : strtoull(length, NULL, 10);
  request->started = true;
  MHD_get_connection_values_n(request->connection, MHD_HEADER_KIND, check_header, request);
  if (request->head_bytes > HEAD_BYTES_MAX) {
    request->header_fault =
        "a request line and headers may have 16 KiB, each header and parameter counted with "
        "64 bytes more than its text";
  }
  if (request->header_fault != NULL) {
    vow_request_add_header(request, MHD_HTTP_HEADER_CONNECTION, "close");
    return hand_over(request);
  }
  if (bytes <= server->config.body_bytes_max) return MHD_YES;
  request->too_large = true;
  bool expects = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND,
                                             MHD_HTTP_HEADER_EXPECT) != NULL;
  if (!expects && bytes <= drain_bytes_max(server)) return MHD_YES;
  return hand_over(request);
}

/* Who sends a long body slowly holds it for long, and there may be one on each connection. */
static bool body_has_room(const struct vow_server_request *request, size_t bytes) {
  const struct vow_server *server = request->server;
  return request->body_bytes + bytes <= VOW_SERVER_SHORT_BYTES ||
         server->counts.body_bytes + bytes <= server->config.bodies_bytes_max;
}

static enum MHD_Result take_body(struct vow_server_request *request, const char *data,
                                 size_t *bytes) {
  struct vow_server *server = request->server;
  size_t size = *bytes;
  if (!request->too_large && !request->no_room) {
    request->too_large = size > server->config.body_bytes_max - request->body_bytes;
    request->no_room = !request->too_large && !body_has_room(request, size);
    request->dropped_bytes = request->body_bytes;
  }
  if (request->too_large || request->no_room) {
    drop_body(request);
    request->dropped_bytes += size;
    if (request->dropped_bytes > drain_bytes_max(server)) return MHD_NO;
  } else if (!vow_server_append_body(request, data, size)) {
    return MHD_NO;
  } else {
    request->held_bytes += size;
    server->counts.body_bytes += size;
  }
  *bytes = 0;
  return MHD_YES;
}

static enum MHD_Result on_access(void *context, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *bytes, void **state) {
  (void)context, (void)connection, (void)version;
  struct vow_server_request *request = *state;
  if (request == NULL) return MHD_NO; /* no memory for it */
  if (!request->started) {
    request->method = method;
    request->path = request->encoded_path != NULL ? request->encoded_path : url;
    return start(request);
  }
  if (*bytes > 0) return take_body(request, data, bytes);
  if (request->state == READING) return hand_over(request);
  return request->response == NULL ? MHD_NO : queue_answer(request);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code) {
  (void)context, (void)connection, (void)code;
  struct vow_server_request *request = *state;
  if (request == NULL) return;
  *state = NULL;
  if (request->state == HANDED) tell_gone(request);
  request_release(request);
}

/* Microhttpd stops listening at the connection limit, or when descriptors run out, and starts again
 * in the run after the one that closed a connection, but does not ask for that run. */
static void on_connection(void *context, struct MHD_Connection *connection, void **state,
                          enum MHD_ConnectionNotificationCode code) {
  struct vow_server *server = context;
  (void)connection, (void)state;
  if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
    server->connection_closed = true;
  } else if (!server->closing && !uv_is_active((uv_handle_t *)&server->accept_timer)) {
    uv_timer_start(&server->accept_timer, on_accept_timer, ACCEPT_WATCH_MS, 0);
  }
}

/* ---- the two loops ---- */

static void on_idle(uv_idle_t *idle) {
  (void)idle;
}

static void kick(struct vow_server *server) {
  if (server->run_due || server->closing) return;
  server->run_due = true;
  uv_idle_start(&server->idle, on_idle);
}

static void on_timeout(uv_timer_t *timer) {
  kick(timer->data);
}

static unsigned connections_of(const struct vow_server *server) {
  const union MHD_DaemonInfo *info =
      MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
  return info == NULL ? 0 : info->num_connections;
}

/* Whoever has run out of descriptors once would otherwise not listen again while all that are
 * connected stay: so microhttpd gets a connection that it must close. With none it tries again by
 * itself. */
static void on_accept_timer(uv_timer_t *timer) {
  struct vow_server *server = timer->data;
  struct sockaddr_in nobody = {.sin_family = AF_INET};
  unsigned connections = connections_of(server);
  if (server->quiesced || connections == 0) return;
  uv_timer_start(timer, on_accept_timer, ACCEPT_WATCH_MS, 0);
  struct pollfd waiting = {.fd = server->listen_fd, .events = POLLIN};
  if (connections >= server->config.connections_max || poll(&waiting, 1, 0) != 1) return;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return; /* there is none yet */
  (void)!MHD_add_connection(server->daemon, fd, (struct sockaddr *)&nobody, sizeof nobody);
  kick(server);
}

static void on_readable(uv_poll_t *poll, int status, int events) {
  (void)status, (void)events;
  kick(poll->data);
}

static void run(struct vow_server *server) {
  server->run_due = false;
  uv_idle_stop(&server->idle);
  server->connection_closed = false;
  MHD_run(server->daemon);
  if (server->connection_closed) kick(server);
  MHD_UNSIGNED_LONG_LONG wait_ms;
  if (MHD_get_timeout(server->daemon, &wait_ms) != MHD_YES) {
    uv_timer_stop(&server->timeout);
  } else if (wait_ms == 0) {
    kick(server);
  } else if (!uv_is_active((uv_handle_t *)&server->timeout) ||
             uv_timer_get_due_in(&server->timeout) > wait_ms) {
    /* A timer that is early only asks again; so it is moved when it would be late. */
    uv_timer_start(&server->timeout, on_timeout, wait_ms, 0);
  }
}

static void on_prepare(uv_prepare_t *prepare) {
  struct vow_server *server = prepare->data;
  if (server->run_due) run(server);
}

static void on_check(uv_check_t *check) {
  struct vow_server *server = check->data;
  if (server->run_due) run(server);
}

/* ---- open and close ---- */

static void server_free(struct vow_server *server) {
  while (server->free != NULL) {
    struct vow_server_request *request = server->free;
    server->free = request->next;
    request_free(request);
  }
  free(server);
}

static void on_handle_closed(uv_handle_t *handle) {
  struct vow_server *server = handle->data;
  if (--server->handles_open == 0) server_free(server);
}

static bool attach(struct vow_server *server, uv_loop_t *loop) {
  const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
  if (info == NULL || uv_poll_init(loop, &server->poll, info->epoll_fd) != 0) return false;
  uv_timer_init(loop, &server->timeout);
  uv_timer_init(loop, &server->hangup_timer);
  uv_timer_init(loop, &server->accept_timer);
  uv_prepare_init(loop, &server->prepare);
  uv_check_init(loop, &server->check);
  uv_idle_init(loop, &server->idle);
  server->handles_open = HANDLES;
  server->poll.data = server->timeout.data = server->hangup_timer.data = server;
  server->accept_timer.data = server;
  server->prepare.data = server->check.data = server->idle.data = server;
  uv_poll_start(&server->poll, UV_READABLE, on_readable);
  uv_prepare_start(&server->prepare, on_prepare);
  uv_check_start(&server->check, on_check);
  return true;
}

enum vow_error vow_server_open(struct vow_server **out, struct uv_loop_s *loop,
                               const struct vow_server_config *config, char *why,
                               size_t why_bytes) {
  int fd = -1;
  struct vow_server *server = calloc(1, sizeof *server);
  if (server == NULL) return VOW_E_NO_MEMORY;
  server->loop = loop;
  server->config = *config;
  server->config.listen = NULL; /* borrowed for this call only */
  enum vow_error error = vow_server_listen(config->listen, &fd, server->address,
                                           sizeof server->address, why, why_bytes);
  if (error != VOW_OK) {
    free(server);
    return error;
  }
  server->daemon = MHD_start_daemon(
      MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_access, server,
      MHD_OPTION_LISTEN_SOCKET, (MHD_socket)fd, MHD_OPTION_CONNECTION_LIMIT,
      (unsigned)config->connections_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
      (size_t)CONNECTION_MEMORY_BYTES, MHD_OPTION_CONNECTION_TIMEOUT,
      (unsigned)((config->idle_timeout_ms + 999) / 1000), MHD_OPTION_NOTIFY_COMPLETED, on_completed,
      server, MHD_OPTION_URI_LOG_CALLBACK, on_uri, server, MHD_OPTION_NOTIFY_CONNECTION,
      on_connection, server, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
  server->listen_fd = fd;
  if (server->daemon == NULL) close(fd);
  if (server->daemon == NULL || !attach(server, loop)) {
    snprintf(why, why_bytes,
             "the HTTP server cannot start: out of memory or of descriptors; give this "
             "process more");
    if (server->daemon != NULL) MHD_stop_daemon(server->daemon);
    free(server);
    return VOW_E_NO_MEMORY;
  }
  *out = server;
  return VOW_OK;
}

const char *vow_server_address(const struct vow_server *server) {
  return server->address;
}

void vow_server_quiesce(struct vow_server *server) {
  if (server->quiesced) return;
  server->quiesced = true;
  int fd = MHD_quiesce_daemon(server->daemon);
  if (fd != MHD_INVALID_SOCKET) close(fd);
}

void vow_server_close(struct vow_server *server) {
  if (server == NULL) return;
  MHD_run(server->daemon); /* lets answers out that were given in this turn of the loop */
  server->closing = true;
  while (server->waiting_head != NULL) {
    struct vow_server_request *request = server->waiting_head;
    tell_gone(request);
    vow_server_wake(request);
  }
  uv_close((uv_handle_t *)&server->poll, on_handle_closed);
  uv_close((uv_handle_t *)&server->timeout, on_handle_closed);
  uv_close((uv_handle_t *)&server->hangup_timer, on_handle_closed);
  uv_close((uv_handle_t *)&server->accept_timer, on_handle_closed);
  uv_close((uv_handle_t *)&server->prepare, on_handle_closed);
  uv_close((uv_handle_t *)&server->check, on_handle_closed);
  uv_close((uv_handle_t *)&server->idle, on_handle_closed);
  MHD_run(server->daemon); /* microhttpd refuses to stop while a connection is suspended */
  MHD_stop_daemon(server->daemon);
  server->daemon = NULL;
}

uint64_t vow_server_answer_bytes(const struct vow_server *server) {
  return server->counts.answer_bytes;
}

void vow_server_counts(const struct vow_server *server, struct vow_server_counts *out) {
  *out = server->counts;
  out->connections = connections_of(server);
}
