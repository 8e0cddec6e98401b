/*
 * A small blocking HTTP client: the SDK's only door to curl. The inquiry thread and the client side
 * (client.c) use it.
 *
 * A handle keeps its connection and reuses it. It serves one call at a time; a caller with several
 * threads has several handles. http and https only; no redirects, no proxy, no signals.
 */
#ifndef VOW_SDK_HTTP_H
#define VOW_SDK_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vow/error.h"

struct vow_http;

struct vow_http_call {
  const char *method; /* GET, POST */
  const char *url;
  const char *const *headers; /* "Name: value", NULL-terminated; NULL: none */
  const char *body;           /* NULL: none; else sent as application/json */
  size_t body_bytes;
  uint32_t timeout_ms; /* of the whole call */
  size_t answer_bytes_max;
};

struct vow_http_answer {
  int status;
  const char *body; /* never NULL; this and content_type are borrowed until the next call */
  size_t body_bytes;
  const char *content_type; /* "" if there is none */
  uint32_t retry_after_s;   /* 0: not said */
};

enum vow_error vow_http_open(struct vow_http **out) VOW_MUST_CHECK;
void vow_http_close(struct vow_http *http); /* NULL is fine */

/* VOW_OK: there is a status, whichever. INVALID_URL. UNREACHABLE: no connection was made, or it
 * broke. TIMEOUT. PROTOCOL: the answer is not HTTP, is cut short or is larger than the limit. `why`
 * (may be NULL) gets a sentence, and *maybe_sent (may be NULL) tells whether the other side can
 * have seen the request: where it is false, nothing has happened there. Blocks: at most timeout_ms.
 */
enum vow_error vow_http_call(struct vow_http *http, const struct vow_http_call *call,
                             struct vow_http_answer *answer, bool *maybe_sent, char *why,
                             size_t why_bytes) VOW_MUST_CHECK;

/* Ends the call that is under way, and every later one, with TIMEOUT. Any thread. */
void vow_http_cancel(struct vow_http *http);

#endif
