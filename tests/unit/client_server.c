/* See client_server.h. A thread for each connection; they end when their socket is shut down. */
#include "client_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
/* cmocka.h wants some of those first. */
#include <cmocka.h>

/* One whole request; false at the end of the connection. */
static bool read_request(int fd, char *text) {
  size_t length = 0;
  size_t wanted = 0;
  text[0] = '\0';
  while (!wanted || length < wanted) {
    ssize_t got = recv(fd, text + length, REQUEST_MAX - 1 - length, 0);
    if (got <= 0) return false;
    length += (size_t)got;
    text[length] = '\0';
    const char *end = strstr(text, "\r\n\r\n");
    if (!end || wanted) continue;
    const char *field = strcasestr(text, "\r\nContent-Length:");
    wanted = (size_t)(end + 4 - text) + (field ? strtoul(field + 17, NULL, 10) : 0);
  }
  return true;
}

static bool answer(int fd, const struct script_line *line, bool nul) {
  char text[REQUEST_MAX];
  char retry[48] = "";
  const char *body = line->body ? line->body : "";
  if (line->retry_after_s) {
    snprintf(retry, sizeof retry, "Retry-After: %u\r\n", line->retry_after_s);
  }
  int length = snprintf(
      text, sizeof text, "HTTP/1.1 %d Said\r\nContent-Type: %s\r\n%sContent-Length: %zu\r\n\r\n%s",
      line->status, line->status < 400 ? "application/json" : "application/problem+json", retry,
      strlen(body) + nul, body);
  length += nul;
  return send(fd, text, (size_t)length, MSG_NOSIGNAL) == length;
}

static void *serve(void *context) {
  struct client_connection *connection = context;
  struct client_server *server = connection->server;
  char text[REQUEST_MAX];
  bool more = true;
  while (more && read_request(connection->socket, text)) {
    pthread_mutex_lock(&server->lock);
    unsigned n = server->asked++;
    unsigned last = server->script_length - 1;
    struct script_line line = server->script[n < last ? n : last];
    bool nul = server->nul;
    if (n < SCRIPT_MAX) memcpy(server->requests[n], text, sizeof text);
    while (server->held) pthread_cond_wait(&server->released, &server->lock);
    pthread_mutex_unlock(&server->lock);
    if (line.status > 0) more = answer(connection->socket, &line, nul);
    if (line.status == -2) shutdown(server->listener, SHUT_RDWR);
    if (line.status == 0 || line.status == -2) more = false;
  }
  shutdown(connection->socket, SHUT_RDWR);
  return NULL;
}

static void *listen_on(void *context) {
  struct client_server *server = context;
  for (;;) {
    int fd = accept(server->listener, NULL, NULL);
    if (fd < 0) return NULL;
    pthread_mutex_lock(&server->lock);
    unsigned n = server->connection_count++;
    if (n >= sizeof server->connections / sizeof *server->connections) abort();
    struct client_connection *connection = &server->connections[n];
    *connection = (struct client_connection){.server = server, .socket = fd};
    if (pthread_create(&connection->thread, NULL, serve, connection) != 0) abort();
    pthread_mutex_unlock(&server->lock);
  }
}

void client_server_start(struct client_server *server) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  memset(server, 0, sizeof *server);
  server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_true(server->listener >= 0);
  assert_int_equal(bind(server->listener, (struct sockaddr *)&address, length), 0);
  assert_int_equal(listen(server->listener, 16), 0);
  assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &length), 0);
  server->port = ntohs(address.sin_port);
  snprintf(server->url, sizeof server->url, "http://127.0.0.1:%u", server->port);
  assert_int_equal(pthread_mutex_init(&server->lock, NULL), 0);
  assert_int_equal(pthread_cond_init(&server->released, NULL), 0);
  assert_int_equal(pthread_create(&server->thread, NULL, listen_on, server), 0);
}

void client_server_stop(struct client_server *server) {
  client_server_hold(server, false);
  shutdown(server->listener, SHUT_RDWR);
  pthread_join(server->thread, NULL);
  close(server->listener);
  for (unsigned i = 0; i < server->connection_count; i++) {
    shutdown(server->connections[i].socket, SHUT_RDWR);
    pthread_join(server->connections[i].thread, NULL);
    close(server->connections[i].socket);
  }
  pthread_cond_destroy(&server->released);
  pthread_mutex_destroy(&server->lock);
}

void client_server_script(struct client_server *server, const struct script_line *lines,
                          unsigned count) {
  assert_true(count > 0 && count <= SCRIPT_MAX);
  pthread_mutex_lock(&server->lock);
  memcpy(server->script, lines, count * sizeof *lines);
  server->script_length = count;
  server->asked = 0;
  memset(server->requests, 0, sizeof server->requests);
  pthread_mutex_unlock(&server->lock);
}

void client_server_hold(struct client_server *server, bool held) {
  pthread_mutex_lock(&server->lock);
  server->held = held;
  pthread_cond_broadcast(&server->released);
  pthread_mutex_unlock(&server->lock);
}

unsigned client_server_asked(struct client_server *server) {
  pthread_mutex_lock(&server->lock);
  unsigned asked = server->asked;
  pthread_mutex_unlock(&server->lock);
  return asked;
}
