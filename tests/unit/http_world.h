/*
 * A loop with the coordinator's server and sender on it, for tests of either.
 */
#ifndef VOW_TEST_HTTP_WORLD_H
#define VOW_TEST_HTTP_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "io/sender.h"
#include "io/server.h"

#define DEADLINE_MS      10000
#define BODY_BYTES_MAX   20480
#define BODIES_BYTES_MAX 50000
#define ANSWER_MAX       8192

/* Its server answers by path: /echo, /hold (kept in `held` until the test answers), /big?n=,
 * /none; anything else is described. */
struct world {
  uv_loop_t loop;
  struct vow_server *server;
  struct vow_sender *sender;
  char base[128];
  unsigned handled, gone;
  struct vow_server_request *held[600]; /* of /hold */
  unsigned held_count;
};

struct world *world_new(uint32_t connections_max);
void world_free(struct world *w);
int world_setup(void **state);
int world_teardown(void **state);

uint64_t now_ms(void);
/* One turn of the loop that waits at most 20 ms. */
void turn(struct world *w);

#define WAIT_UNTIL(w, condition)                                         \
  do {                                                                   \
    uint64_t wait_end = now_ms() + DEADLINE_MS;                          \
    while (!(condition)) {                                               \
      if (now_ms() > wait_end) fail_msg("waited too long: " #condition); \
      turn(w);                                                           \
    }                                                                    \
  } while (0)

struct reply {
  bool there;
  enum vow_error error;
  bool not_sent;
  int status;
  char why[VOW_SENDER_WHY_BYTES];
  char type[64];
  char body[ANSWER_MAX * 2];
  size_t bytes;
};

void on_done(void *context, const struct vow_sender_answer *answer);
void submit(struct world *w, struct reply *reply, const char *method, const char *url,
            const char *body, uint32_t timeout_ms);
/* Submits to the world's own server and waits for the reply. */
void ask(struct world *w, struct reply *reply, const char *method, const char *path,
         const char *body);
void answer_text(struct vow_server_request *request, int status, const char *text);
void handle(void *context, struct vow_server_request *request);
void gone(void *context, struct vow_server_request *request);

#endif
