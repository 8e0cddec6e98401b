/*
 * HTTP in: libmicrohttpd driven by a libuv loop (external epoll). server.c is the only file of the
 * coordinator that includes microhttpd. It knows nothing of transactions: it reads a whole request
 * within limits, hands it up, and sends what it is told to, now or later (the connection is
 * suspended meanwhile).
 *
 * Threads: the loop's.
 */
#ifndef VOW_COORDINATOR_SERVER_H
#define VOW_COORDINATOR_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vow/error.h"

struct uv_loop_s;
struct vow_server;
struct vow_server_request; /* one HTTP exchange */

/* Bodies and answers up to this are short: they are taken where others have no room, and a buffer
 * of this size stays with a request for reuse. */
#define VOW_SERVER_SHORT_BYTES (16u * 1024)

struct vow_server_config {
  const char *listen;       /* "127.0.0.1:7800", "[::1]:7800", port 0: any free one */
  uint32_t connections_max; /* further ones wait in the listen queue */
  uint32_t idle_timeout_ms; /* of a connection that sends nothing; rounded up to seconds */
  size_t body_bytes_max;
  uint64_t bodies_bytes_max; /* of all at once; short ones are taken beyond it */
  /* A complete request. It must be answered exactly once, now or later, unless `gone` says that the
   * client hung up. */
  void (*handle)(void *context, struct vow_server_request *request);
  void (*gone)(void *context,
               struct vow_server_request *request); /* last word: it must not be touched after it */
  void *context;
};

/* Whether the text has the form of `listen`. */
bool vow_server_is_address(const char *listen);

/* VOW_E_ADDRESS_IN_USE, VOW_E_CONFIG (not an address that can be used) with a sentence in why. */
enum vow_error vow_server_open(struct vow_server **out, struct uv_loop_s *loop,
                               const struct vow_server_config *config, char *why,
                               size_t why_bytes) VOW_MUST_CHECK;
const char *vow_server_address(
    const struct vow_server *server);               /* "127.0.0.1:7800", with the real port */
void vow_server_quiesce(struct vow_server *server); /* stop accepting; what is open goes on */
/* Requests that are still open get gone(). Closes its loop handles (run the loop until they are
 * closed), then frees. NULL is fine. */
void vow_server_close(struct vow_server *server);

struct vow_server_counts {
  uint64_t connections;      /* open now */
  uint64_t requests_open;    /* begun and not completely answered */
  uint64_t requests_waiting; /* handed up and not answered */
  uint64_t requests;         /* since the start */
  uint64_t hangups;          /* clients that left before their answer */
  uint64_t body_bytes;       /* of requests, held now */
  uint64_t answer_bytes;     /* of long answers that are not sent completely */
};
void vow_server_counts(const struct vow_server *server, struct vow_server_counts *out);
uint64_t vow_server_answer_bytes(const struct vow_server *server); /* that one alone */

const char *vow_request_method(const struct vow_server_request *request);
/* As it was sent, without the query; never NULL. It is not decoded, so that an encoded slash or NUL
 * cannot make one part of it look like two, or end it. */
const char *vow_request_path(const struct vow_server_request *request);
const char *vow_request_query(const struct vow_server_request *request,
                              const char *name); /* decoded; or NULL */
/* It holds an escape that is none, or one of NUL, which would end a value early. */
bool vow_request_query_is_malformed(const struct vow_server_request *request);
/* Names of all query parameters one by one; NULL past the last. */
const char *vow_request_query_name(const struct vow_server_request *request, unsigned index);
const char *vow_request_header(const struct vow_server_request *request,
                               const char *name); /* or NULL */
/* What is wrong with its headers, in a sentence, or NULL. Then there is no body and the connection
 * ends with the answer: answer 400, before handle() returns. */
const char *vow_request_header_fault(const struct vow_server_request *request);
/* Who sent it: "127.0.0.1:40102", "[::1]:40102", or "?" where nobody can tell. */
#define VOW_PEER_BYTES 80
void vow_request_peer(const struct vow_server_request *request, char out[VOW_PEER_BYTES]);
const char *vow_request_body(const struct vow_server_request *request, size_t *bytes);
/* Then the body is empty: answer 413, before handle() returns. */
bool vow_request_body_too_large(const struct vow_server_request *request);
/* The bodies of others leave no room for it. Then it is empty: answer 503. */
bool vow_request_body_has_no_room(const struct vow_server_request *request);

void vow_request_set_data(struct vow_server_request *request, void *data); /* the handler's own */
void *vow_request_data(const struct vow_server_request *request);

#define VOW_REQUEST_HEADERS_BYTES 256 /* of one answer: names and values, each with its NUL */

/* Adds a header to the coming answer; copies. There must be room for it: names and values are the
 * program's own, so they are as long as it makes them. */
void vow_request_add_header(struct vow_server_request *request, const char *name,
                            const char *value);
/* Copies the body. content_type NULL: no body. Never blocks. After it the request is the server's
 * alone: it must not be touched again, and gone() is not called for it. */
void vow_request_answer(struct vow_server_request *request, int status, const char *content_type,
                        const char *body, size_t body_bytes);

#endif
