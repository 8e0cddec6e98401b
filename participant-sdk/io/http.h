/*
 * A small HTTP client: the SDK's only door to curl. The client side (client.c) makes one call after
 * the other and waits for each; the inquiry thread has several under way.
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
struct vow_http_group; /* handles whose calls one thread waits for */

struct vow_http_call {
  const char *method; /* GET, POST */
  const char *url;
  const char *const *headers; /* "Name: value", NULL-terminated; NULL: none */
  const char *body;           /* NULL: none; else sent as application/json */
  size_t body_bytes;
  uint32_t timeout_ms; /* of the whole call */
  bool once; /* never sent a second time; else it is, when a kept connection turns out dead */
  size_t answer_bytes_max;
};

struct vow_http_answer {
  int status;
  const char *body; /* never NULL; this and content_type are borrowed until the next call */
  size_t body_bytes;
  const char *content_type; /* "" if there is none */
  uint32_t retry_after_s;   /* 0: not said */
};

enum vow_error vow_http_group_open(struct vow_http_group **out) VOW_MUST_CHECK;
void vow_http_group_close(struct vow_http_group *group); /* its handles are closed; NULL is fine */
/* Goes on with what is under way, until a call has ended, somebody wakes it, or wait_ms are over.
 * False: for want of memory curl cannot; end all that is under way. */
bool vow_http_group_wait(struct vow_http_group *group, int wait_ms) VOW_MUST_CHECK;
/* Ends the wait, or the next one. False: cannot, there was no descriptor for it. Any thread. */
bool vow_http_group_wake(struct vow_http_group *group);

/* In this group, or (NULL) in one of its own. */
enum vow_error vow_http_open(struct vow_http **out, struct vow_http_group *group) VOW_MUST_CHECK;
void vow_http_close(struct vow_http *http); /* gives up what is under way; NULL is fine */

/* VOW_OK: there is a status, whichever. INVALID_URL. UNREACHABLE: no connection was made, or it
 * broke. TIMEOUT. PROTOCOL: the answer is not HTTP, is cut short or is larger than the limit. `why`
 * (may be NULL) gets a sentence, and *maybe_sent (may be NULL) tells whether the other side can
 * have seen the request: where it is false, nothing has happened there. Blocks: at most timeout_ms.
 */
enum vow_error vow_http_call(struct vow_http *http, const struct vow_http_call *call,
                             struct vow_http_answer *answer, bool *maybe_sent, char *why,
                             size_t why_bytes) VOW_MUST_CHECK;

/* The same in two halves, with vow_http_group_wait in between. What `call` points to must stay
 * until the end. An error of begin: there is no call. End before the call has ended gives it up:
 * TIMEOUT. */
enum vow_error vow_http_begin(struct vow_http *http, const struct vow_http_call *call, char *why,
                              size_t why_bytes) VOW_MUST_CHECK;
bool vow_http_has_ended(const struct vow_http *http);
enum vow_error vow_http_end(struct vow_http *http, struct vow_http_answer *answer, bool *maybe_sent,
                            char *why, size_t why_bytes) VOW_MUST_CHECK;

#endif
