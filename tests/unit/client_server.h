/*
 * A coordinator that says what the test wrote: a tiny HTTP server on a free loopback port that
 * answers the n-th request with the n-th line of a script, and remembers what it was asked. For
 * tests of the client.
 */
#ifndef VOW_TEST_CLIENT_SERVER_H
#define VOW_TEST_CLIENT_SERVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define SCRIPT_MAX  16
#define REQUEST_MAX 8192

struct script_line {
  int status; /* 0: read the request and cut the connection; -1: read it and never answer; -2: read
                 it, cut the connection and refuse all others, as a process does that is killed */
  const char *body;
  uint32_t retry_after_s;
};

struct client_connection {
  struct client_server *server;
  int socket;
  pthread_t thread;
};

struct client_server {
  int listener;
  uint16_t port;
  char url[64];
  pthread_t thread;
  pthread_mutex_t lock; /* of all below */
  pthread_cond_t released;
  bool held; /* requests are read, and answered once it is false */
  struct client_connection connections[96];
  unsigned connection_count;
  struct script_line script[SCRIPT_MAX];
  unsigned script_length;
  bool nul;       /* each body has a NUL byte at its end */
  unsigned asked; /* requests so far; past the script's end its last line is said again */
  char requests[SCRIPT_MAX][REQUEST_MAX]; /* head and body as they came */
};

void client_server_start(struct client_server *server);
void client_server_stop(struct client_server *server);
/* What to say from here on; forgets the requests. */
void client_server_script(struct client_server *server, const struct script_line *lines,
                          unsigned count);
void client_server_hold(struct client_server *server, bool held);
unsigned client_server_asked(struct client_server *server);

#endif
