/*
 * HTTP in: libmicrohttpd with one thread of its own, the only file of the SDK that includes it. A
 * request whose answer is not there yet has its connection suspended and holds no thread, so
 * callbacks that block, and a disk that is slow, keep nobody else waiting: unless there are no
 * threads for callbacks, and this one does it all.
 */
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "batch.h"
#include "participant_internal.h"

#define BACKLOG         512
#define IDLE_TIMEOUT_S  120
#define ACCEPT_WATCH_MS 1000

struct vow_server {
  struct vow_participant *p;
  struct MHD_Daemon *daemon;
  int listen_fd; /* -1: the daemon owns it */
  uint16_t port;
  uint64_t looked_ms; /* at who waits to be accepted; the server's thread owns it */
  pthread_mutex_t lock;
  pthread_cond_t quiet;
  uint32_t requests; /* being read or answered; guarded by lock, as is the next */
  bool quiesced;
};

/* One HTTP exchange. The server's thread owns it; only `completed` and `suspended` are shared. */
struct request {
  struct vow_server *server;
  struct MHD_Connection *connection;
  struct vow_buf body;
  bool started;
  struct vow_dispatch dispatch;
  pthread_mutex_t lock;
  bool completed; /* guarded by lock, as is the next */
  bool suspended;
};

/* ---- answers ---- */

static enum MHD_Result queue(struct MHD_Connection *connection,
                             struct vow_http_response *response) {
  struct MHD_Response *mhd = MHD_create_response_from_buffer(
      response->body_bytes, response->body,
      response->body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
  if (!mhd) {
    free(response->body);
    return MHD_NO;
  }
  char seconds[16];
  (void)snprintf(seconds, sizeof seconds, "%u", (unsigned)response->retry_after_s);
  if (response->content_type) {
    (void)MHD_add_response_header(mhd, "Content-Type", response->content_type);
  }
  if (response->allow) (void)MHD_add_response_header(mhd, "Allow", response->allow);
  char batch[16];
  (void)snprintf(batch, sizeof batch, "%u", (unsigned)response->batch_max);
  if (response->batch_max) (void)MHD_add_response_header(mhd, VOW_BATCH_HEADER, batch);
  if (response->retry_after_s) (void)MHD_add_response_header(mhd, "Retry-After", seconds);
  enum MHD_Result result = MHD_queue_response(connection, (unsigned)response->status, mhd);
  MHD_destroy_response(mhd);
  return result;
}

/* From any thread, once the exchange is answered. */
static void on_done(void *context) {
  struct request *request = context;
  pthread_mutex_lock(&request->lock);
  request->completed = true;
  if (request->suspended) MHD_resume_connection(request->connection);
  pthread_mutex_unlock(&request->lock);
}

/* True: the answer is there. False: the connection sleeps until it is. */
static bool await(struct request *request) {
  pthread_mutex_lock(&request->lock);
  bool completed = request->completed;
  if (!completed && !request->suspended) {
    request->suspended = true;
    MHD_suspend_connection(request->connection);
  }
  pthread_mutex_unlock(&request->lock);
  return completed;
}

/* ---- requests ---- */

static enum MHD_Result start(struct request *request, const char *method, const char *path) {
  struct vow_http_response response;
  struct MHD_Connection *connection = request->connection;
  struct vow_http_request http = {
      .method = method,
      .path = path,
      .content_type = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Type"),
      .body = vow_buf_text(&request->body),
      /* What was cut off is longer than any limit, which its refusal then names. */
      .body_bytes = request->body.error ? SIZE_MAX : request->body.bytes,
  };
  request->started = true;
  request->dispatch.done = on_done;
  request->dispatch.context = request;
  if (request->body.error == VOW_E_NO_MEMORY) {
    vow_dispatch_problem(request->server->p, VOW_E_NO_MEMORY, NULL, &response);
    return queue(connection, &response);
  }
  if (vow_dispatch_start(request->server->p, &http, &request->dispatch, &response)) {
    return queue(connection, &response);
  }
  if (!await(request)) return MHD_YES;
  vow_dispatch_finish(request->server->p, &request->dispatch, &response);
  return queue(connection, &response);
}

static struct request *new_request(struct vow_server *server, struct MHD_Connection *connection) {
  struct request *request = calloc(1, sizeof *request);
  if (!request) return NULL;
  request->server = server;
  request->connection = connection;
  const struct vow_participant_options *options = &server->p->options;
  bool batches = options->batch_max > 0 && options->body_bytes_max < VOW_BATCH_BYTES_MAX;
  vow_buf_init(&request->body, batches ? VOW_BATCH_BYTES_MAX : options->body_bytes_max);
  pthread_mutex_init(&request->lock, NULL);
  pthread_mutex_lock(&server->lock);
  server->requests++;
  pthread_mutex_unlock(&server->lock);
  return request;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *upload, size_t *upload_bytes, void **slot) {
  (void)version;
  struct request *request = *slot;
  if (!request) {
    *slot = new_request(context, connection);
    return *slot ? MHD_YES : MHD_NO;
  }
  if (*upload_bytes > 0) {
    vow_buf_append(&request->body, upload, *upload_bytes);
    *upload_bytes = 0;
    return MHD_YES;
  }
  if (!request->started) return start(request, method, path);
  if (!await(request)) return MHD_YES;
  struct vow_http_response response;
  vow_dispatch_finish(request->server->p, &request->dispatch, &response);
  return queue(connection, &response);
}

/* Microhttpd that has run out of descriptors does not accept again until a connection ends, and
 * those that are there may all be kept: so where somebody waits, it gets one that it must close. */
static void accept_again(struct vow_server *server) {
  struct pollfd waiting = {.fd = server->listen_fd, .events = POLLIN};
  struct sockaddr_in nobody = {.sin_family = AF_INET};
  uint64_t now_ms = vow_engine_now_ms();
  if (now_ms - server->looked_ms < ACCEPT_WATCH_MS) return;
  server->looked_ms = now_ms;
  if (poll(&waiting, 1, 0) != 1) return;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return; /* there is none yet */
  (void)!MHD_add_connection(server->daemon, fd, (struct sockaddr *)&nobody, sizeof nobody);
}

static void on_end(void *context, struct MHD_Connection *connection, void **slot,
                   enum MHD_RequestTerminationCode code) {
  (void)connection;
  (void)code;
  struct vow_server *server = context;
  struct request *request = *slot;
  if (!request) return;
  *slot = NULL;
  vow_buf_fini(&request->body);
  /* Whoever answered it may still be inside on_done. */
  pthread_mutex_lock(&request->lock);
  pthread_mutex_unlock(&request->lock);
  pthread_mutex_destroy(&request->lock);
  vow_dispatch_fini(&request->dispatch);
  free(request);
  pthread_mutex_lock(&server->lock);
  if (!server->quiesced) accept_again(server);
  if (--server->requests == 0) pthread_cond_signal(&server->quiet);
  pthread_mutex_unlock(&server->lock);
}

/* ---- the socket ---- */

/* "host:port" or "[address]:port" into its parts. */
static bool split(const char *address, char host[256], const char **port) {
  const char *colon = strrchr(address, ':');
  if (!colon || colon[1] == '\0') return false;
  bool brackets = address[0] == '[' && colon > address && colon[-1] == ']';
  const char *from = brackets ? address + 1 : address;
  size_t bytes = (size_t)(colon - from) - brackets;
  if (bytes == 0 || bytes >= 256 || (!brackets && memchr(from, ':', bytes))) return false;
  memcpy(host, from, bytes);
  host[bytes] = '\0';
  *port = colon + 1;
  return strspn(*port, "0123456789") == strlen(*port) && strtoul(*port, NULL, 10) <= UINT16_MAX;
}

static int open_socket(const struct addrinfo *where) {
  int yes = 1;
  int fd = socket(where->ai_family, where->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                  where->ai_protocol);
  if (fd < 0) return -1;
  (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(fd, where->ai_addr, where->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) return fd;
  int saved = errno;
  (void)close(fd);
  errno = saved;
  return -1;
}

static enum vow_error listen_on(struct vow_server *server, const char *address, char *why,
                                size_t why_bytes) {
  char host[256];
  const char *port = NULL;
  struct addrinfo *found = NULL;
  struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
  if (!split(address, host, &port)) {
    (void)snprintf(why, why_bytes, "\"%.200s\" is not host:port, as in 127.0.0.1:7001", address);
    return VOW_E_INVALID_ARGUMENT;
  }
  int code = getaddrinfo(host, port, &hints, &found);
  if (code) {
    (void)snprintf(why, why_bytes, "%.200s: %s", host, gai_strerror(code));
    return VOW_E_INVALID_ARGUMENT;
  }
  server->listen_fd = -1;
  for (struct addrinfo *where = found; where && server->listen_fd < 0; where = where->ai_next) {
    server->listen_fd = open_socket(where);
  }
  int saved = errno;
  freeaddrinfo(found);
  if (server->listen_fd >= 0) return VOW_OK;
  (void)snprintf(why, why_bytes, "cannot listen on %.200s: %s", address, strerror(saved));
  return saved == EADDRINUSE ? VOW_E_ADDRESS_IN_USE : VOW_E_INVALID_ARGUMENT;
}

static uint16_t port_of(int fd) {
  struct sockaddr_storage address;
  socklen_t bytes = sizeof address;
  char port[16] = "0";
  if (getsockname(fd, (struct sockaddr *)&address, &bytes) == 0) {
    (void)getnameinfo((struct sockaddr *)&address, bytes, NULL, 0, port, sizeof port,
                      NI_NUMERICSERV);
  }
  return (uint16_t)strtoul(port, NULL, 10);
}

/* ---- open and close ---- */

static struct MHD_Daemon *start_daemon(struct vow_server *server) {
  return MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
                          on_request, server, MHD_OPTION_LISTEN_SOCKET, server->listen_fd,
                          MHD_OPTION_CONNECTION_LIMIT, (unsigned)server->p->options.connections_max,
                          MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_TIMEOUT_S,
                          MHD_OPTION_NOTIFY_COMPLETED, on_end, server, MHD_OPTION_END);
}

enum vow_error vow_server_open(struct vow_server **out, struct vow_participant *p,
                               const char *address, char *why, size_t why_bytes) {
  struct vow_server *server = calloc(1, sizeof *server);
  if (!server) return VOW_E_NO_MEMORY;
  server->p = p;
  enum vow_error error = listen_on(server, address, why, why_bytes);
  if (error) {
    free(server);
    return error;
  }
  pthread_mutex_init(&server->lock, NULL);
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&server->quiet, &monotonic);
  pthread_condattr_destroy(&monotonic);
  server->port = port_of(server->listen_fd);
  server->daemon = start_daemon(server);
  if (!server->daemon) {
    (void)snprintf(why, why_bytes, "cannot start the HTTP server");
    server->listen_fd = -1; /* the daemon has closed it, or else it is lost */
    vow_server_close(server, 0);
    return VOW_E_INTERNAL;
  }
  *out = server;
  return VOW_OK;
}

uint16_t vow_server_port(const struct vow_server *server) {
  return server->port;
}

void vow_server_quiesce(struct vow_server *server) {
  pthread_mutex_lock(&server->lock);
  server->quiesced = true;
  pthread_mutex_unlock(&server->lock);
  (void)MHD_quiesce_daemon(server->daemon);
}

void vow_server_close(struct vow_server *server, uint64_t deadline_ms) {
  if (!server) return;
  struct timespec deadline = {.tv_sec = (time_t)(deadline_ms / 1000),
                              .tv_nsec = (long)(deadline_ms % 1000) * 1000000};
  pthread_mutex_lock(&server->lock);
  while (server->requests > 0) {
    if (pthread_cond_timedwait(&server->quiet, &server->lock, &deadline) != 0) break;
  }
  pthread_mutex_unlock(&server->lock);
  if (server->daemon) MHD_stop_daemon(server->daemon);
  if (server->listen_fd >= 0) (void)close(server->listen_fd);
  pthread_cond_destroy(&server->quiet);
  pthread_mutex_destroy(&server->lock);
  free(server);
}
