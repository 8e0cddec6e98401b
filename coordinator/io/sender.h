/*
 * HTTP requests out: libcurl's multi interface on a libuv loop. The only file of the coordinator
 * that includes curl. Connections are kept and reused; every request has a deadline; an answer
 * larger than the limit is cut off and reported. Used by the daemon (messages to participants) and
 * by vowctl (its REST calls).
 *
 * Threads: the loop's. Bodies are copied.
 */
#ifndef VOW_COORDINATOR_SENDER_H
#define VOW_COORDINATOR_SENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vow/error.h"

struct uv_loop_s;
struct vow_sender;

struct vow_sender_config {
  uint32_t connections_max; /* all together */
  uint32_t connections_per_host_max;
  uint32_t idle_connections_max; /* kept for reuse */
  size_t answer_bytes_max;
  uint32_t connect_timeout_ms;
  const char *user_agent;
};

struct vow_sender_answer;

struct vow_sender_request {
  const char *method; /* GET, POST */
  const char *url;
  const char *body; /* NULL: none; sent as application/json */
  size_t body_bytes;
  const char *const *headers; /* "Name: value", NULL-terminated; NULL: none */
  uint32_t timeout_ms;
  void (*done)(void *context, const struct vow_sender_answer
                                  *answer); /* exactly once, from the loop, never inside submit */
  void *context;
};

struct vow_sender_answer {
  enum vow_error error; /* VOW_OK: there is a status; else UNREACHABLE, TIMEOUT, PROTOCOL (too
                           large, not HTTP) */
  const char *why;      /* a sentence when error */
  int status;
  const char *content_type; /* or "" */
  const char *body;         /* never NULL */
  size_t body_bytes;
};

enum vow_error vow_sender_open(struct vow_sender **out, struct uv_loop_s *loop,
                               const struct vow_sender_config *config) VOW_MUST_CHECK;
enum vow_error vow_sender_submit(struct vow_sender *sender,
                                 const struct vow_sender_request *request) VOW_MUST_CHECK;
/* Drops what is under way without calling done; closes its loop handles (run the loop until they
 * are closed), then frees. */
void vow_sender_close(struct vow_sender *sender);

#endif
