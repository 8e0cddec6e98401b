/*
 * HTTP requests out: libcurl's multi interface on a libuv loop. sender.c is the only file of the
 * coordinator that includes curl. Connections are kept and reused; every request has a deadline; an
 * answer larger than the limit is cut off and reported. Redirects are not followed, proxies of the
 * environment are not used, and only http and https are spoken. Used by the daemon (messages to
 * participants) and by vowctl (its REST calls).
 *
 * Threads: the loop's. Everything in a request is copied.
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
  uint32_t connections_max; /* all together; what does not fit waits, its deadline running */
  uint32_t connections_per_host_max;
  uint32_t idle_connections_max; /* kept for reuse */
  size_t answer_bytes_max;
  uint32_t connect_timeout_ms;
  const char *user_agent; /* a short one, as "vowd/0.1.0" */
  /* Curl cannot go on, and the sender may not be used any more. Does not return. May be NULL. */
  void (*failed)(void *context, const char *why);
  void *context;
};

struct vow_sender_answer;

struct vow_sender_request {
  const char *method; /* GET, POST */
  const char *url;
  const char *body; /* NULL: none; sent as application/json */
  size_t body_bytes;
  const char *const *headers; /* "Name: value", NULL-terminated; NULL: none */
  const char *ask_header;     /* of the answer, to be handed out; NULL: none. It must be static */
  uint32_t timeout_ms;
  void (*done)(void *context, const struct vow_sender_answer
                                  *answer); /* exactly once, from the loop, never inside submit */
  void *context;
};

#define VOW_SENDER_WHY_BYTES 256

struct vow_sender_answer {
  /* VOW_OK: there is a status. Else UNREACHABLE (no connection, or lost before the whole answer
   * came), TIMEOUT, PROTOCOL (not HTTP, too large), NO_MEMORY (here: the answer is lost). */
  enum vow_error error;
  bool not_sent;   /* the request certainly never reached the other side: no byte of it left */
  bool not_secure; /* UNREACHABLE for what TLS found: a certificate, this side's or the other's */
  const char *why; /* a sentence when error, else "" */
  int status;
  const char *content_type; /* or "" */
  const char *header;       /* the value of ask_header; or "" */
  const char *body;         /* never NULL; NUL-terminated */
  size_t body_bytes;
};

/* VOW_E_NO_MEMORY. */
enum vow_error vow_sender_open(struct vow_sender **out, struct uv_loop_s *loop,
                               const struct vow_sender_config *config) VOW_MUST_CHECK;
/* Never blocks; done() may submit again. VOW_E_NO_MEMORY: done() will not be called. */
enum vow_error vow_sender_submit(struct vow_sender *sender,
                                 const struct vow_sender_request *request) VOW_MUST_CHECK;
/* Sends what was submitted now, rather than with the loop's next turn. Not from within done(). */
void vow_sender_flush(struct vow_sender *sender);
/* Drops what is under way without calling done; closes its loop handles (run the loop until they
 * are closed), then frees. Not from within done(). NULL is fine. */
void vow_sender_close(struct vow_sender *sender);

struct vow_sender_counts {
  uint64_t inflight;    /* now */
  uint64_t requests;    /* since the start; so are the next */
  uint64_t unreachable; /* by how they ended, when without a status */
  uint64_t timeouts;
  uint64_t garbage;
  uint64_t bytes_out, bytes_in; /* of bodies */
};
void vow_sender_counts(const struct vow_sender *sender, struct vow_sender_counts *out);

#endif
