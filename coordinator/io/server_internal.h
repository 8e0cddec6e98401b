/*
 * What the files of the server share. Nobody else includes it.
 *
 *   server.c          the loop, microhttpd's callbacks, open and close
 *   server_request.c  what the handler sees of a request, and its answer
 *   server_listen.c   the listening socket
 */
#ifndef VOW_COORDINATOR_SERVER_INTERNAL_H
#define VOW_COORDINATOR_SERVER_INTERNAL_H

#include <microhttpd.h>
#include <uv.h>

#include "server.h"

enum request_state { READING, HANDED, ANSWERED, GONE };

struct vow_server_request {
  struct vow_server *server;
  struct MHD_Connection *connection;
  struct MHD_Response *response; /* owned until it is queued; ANSWERED without one: hang up */
  enum request_state state;
  int status;
  bool started;            /* the access handler has seen it */
  bool suspended;          /* see invariant 2 */
  bool too_large, no_room; /* the body is thrown away */
  const char *method;
  const char *path;
  bool query_malformed;
  size_t head_bytes;          /* of its line and headers, as microhttpd keeps them */
  unsigned char headers_seen; /* those that may stand there once */
  const char *header_fault;   /* static; or NULL */
  char *encoded_path;         /* owned; only where microhttpd's decoding would change it */
  char *body;                 /* owned; NUL-terminated; when answered, perhaps that of the answer */
  size_t body_bytes, body_capacity;
  size_t dropped_bytes;                    /* of a body that is thrown away */
  size_t held_bytes, answer_bytes;         /* what it adds to the counts of these names */
  char headers[VOW_REQUEST_HEADERS_BYTES]; /* of the answer: "name\0value\0name\0value\0" */
  size_t headers_bytes;
  void *data;
  uint64_t handed_ms;
  uv_poll_t *hangup;                      /* owned; NULL: not watched */
  struct vow_server_request *prev, *next; /* in server->waiting, or next alone in server->free */
};

struct vow_server {
  uv_loop_t *loop;
  struct MHD_Daemon *daemon;
  struct vow_server_config config;
  char address[80];
  uv_poll_t poll;
  uv_timer_t timeout;
  uv_timer_t hangup_timer;
  uv_timer_t accept_timer; /* runs while there are connections */
  int listen_fd;           /* microhttpd's; not once quiesced */
  uv_prepare_t prepare;
  uv_check_t check;
  uv_idle_t idle;
  unsigned handles_open;
  bool run_due, closing, quiesced, connection_closed;
  struct vow_server_request *waiting_head, *waiting_tail; /* HANDED and suspended, oldest first */
  struct vow_server_request *free;
  unsigned free_count;
  struct vow_server_counts counts;
};

/* False when memory is short. `data` may be the body itself, while that is empty. */
bool vow_server_append_body(struct vow_server_request *request, const char *data,
                            size_t bytes) VOW_MUST_CHECK;

/* Takes a suspended request back: it is watched no longer and microhttpd will look at it again. */
void vow_server_wake(struct vow_server_request *request);

/* A listening socket for "host:port", and the address it really has. VOW_E_ADDRESS_IN_USE or
 * VOW_E_CONFIG with a sentence in `why`. Blocks: to look up a name that is not a number. */
enum vow_error vow_server_listen(const char *listen_text, int *out, char *address,
                                 size_t address_bytes, char *why, size_t why_bytes) VOW_MUST_CHECK;

#endif
