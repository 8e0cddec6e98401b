/*
 * What the two halves of the client share: client.c (transactions, the public functions) and
 * client_ask.c (one request to the coordinator, and asking until there is an answer). Nobody else
 * includes this.
 */
#ifndef VOW_SDK_CLIENT_INTERNAL_H
#define VOW_SDK_CLIENT_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "http.h"
#include "json.h"
#include "url.h"
#include "vow/client.h"

#define VOW_CLIENT_WHY_BYTES 512
#define VOW_CLIENT_IDLE_MAX  16 /* connections kept for the next call */

struct vow_client {
  char url[VOW_URL_BYTES_MAX + 1];
  atomic_uint timeout_ms;
  pthread_mutex_t lock;
  struct vow_http *idle[VOW_CLIENT_IDLE_MAX]; /* owned; guarded by lock, as is the count */
  unsigned idle_count;
};

struct vow_client_call {
  const char *method;
  const char *url;
  const char *const *headers; /* NULL-terminated, or NULL */
  const char *body;           /* JSON, or NULL */
  size_t body_bytes;
};

/* How a call went. */
struct vow_client_answer {
  enum vow_error error; /* of the transport, or of the problem that was answered */
  int status;           /* 0: none */
  bool lost;            /* the other side may have done what was asked, and we have not heard */
  uint32_t retry_after_s;
  struct vow_json *json; /* owned; what the coordinator said */
  char *text;            /* owned; the body as it came, if it was asked for */
  bool cut;              /* text ends at a NUL byte, the body does not */
  char why[VOW_CLIENT_WHY_BYTES];
};

void vow_client_answer_fini(struct vow_client_answer *answer);

/* When a call that begins now must end, on the clock of vow_client_ask. */
uint64_t vow_client_deadline(struct vow_client *client);

/* One request; never longer than until the deadline. With `raw`, a service's rather than the
 * coordinator's, any status is success, the body is kept as text, and the request is sent once. */
void vow_client_request(struct vow_client *client, const struct vow_client_call *call,
                        uint64_t deadline_ms, bool raw, struct vow_client_answer *answer);

/* Asks for an outcome until there is one, at most until the deadline; the call must be safe to
 * repeat. *asked says whether an earlier try may have reached the coordinator, and is kept for the
 * next. What was certainly never sent, or was refused, is answered at once. answer->error is VOW_OK
 * only with the coordinator's final answer; OUTCOME_UNKNOWN when there is none, or when it has
 * purged what an earlier try may have committed. */
void vow_client_ask(struct vow_client *client, const struct vow_client_call *call,
                    uint64_t deadline_ms, bool *asked, struct vow_client_answer *answer);

#endif
