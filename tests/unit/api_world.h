/*
 * The whole daemon but for its process: server, API, driver, core and log on one loop, with a
 * participant and a client beside them on it.
 */
#ifndef VOW_TEST_API_WORLD_H
#define VOW_TEST_API_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "api/api.h"
#include "id.h"
#include "io/sender.h"

#define WORLD_DEADLINE_MS 20000
#define WORLD_HELD_MAX    256

struct api_world {
  int failed_exit; /* exit code of the process when the driver fails */
  char folder[64], log_path[96], url[96], participant_url[96];
  uv_loop_t loop;
  struct vow_config config;
  struct vow_logger logger;
  struct vow_api *api;
  struct vow_server *server, *participant;
  struct vow_driver *driver;
  uint32_t linger_us;
  struct vow_sender *client;
  /* the participant */
  bool hold_prepare, hold_commit;
  struct vow_server_request *held[WORLD_HELD_MAX];
  unsigned held_count, prepares, commits, aborts;
  bool batches;  /* it takes them */
  unsigned both; /* batches with both prepares and commits */
};

struct api_answer {
  bool there;
  int status;
  char *body; /* owned */
};

/* `flags` as on vowd's command line, NULL-terminated; NULL: none. */
struct api_world *api_world_new(const char *const *flags);
struct api_world *api_world_new_lingering(uint32_t linger_us);
void api_world_free(struct api_world *w); /* and its folder */
/* Ends server and driver as they are, and starts them again on the same log. */
void api_world_restart(struct api_world *w);
void api_world_turn(struct api_world *w);
void api_world_release(
    struct api_world *w); /* lets what the participant holds go, and holds no more */

#define API_WAIT(w, condition)                                                        \
  do {                                                                                \
    uint64_t wait_end = uv_hrtime() / 1000000 + WORLD_DEADLINE_MS;                    \
    while (!(condition)) {                                                            \
      if (uv_hrtime() / 1000000 > wait_end) fail_msg("waited too long: " #condition); \
      api_world_turn(w);                                                              \
    }                                                                                 \
  } while (0)

/* `header` may be NULL. */
void api_submit(struct api_world *w, struct api_answer *answer, const char *method,
                const char *path, const char *body, const char *header);
void api_ask(struct api_world *w, struct api_answer *answer, const char *method, const char *path,
             const char *body);
void api_answer_free(struct api_answer *answer);
/* The text after "member":" in a body; fails the test when there is none. */
const char *api_member(const struct api_answer *answer, const char *member, char out[128]);
/* The body of a one-shot with two branches at the participant. */
const char *api_one_shot(const struct api_world *w, char out[512]);
/* Begins one and returns its id. */
void api_begin(struct api_world *w, char id[VOW_ID_TEXT_BYTES]);

#endif
