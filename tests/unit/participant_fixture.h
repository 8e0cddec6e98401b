/*
 * A participant under test: a folder of its own, callbacks that do as they are told and count, and
 * messages in one line. What the callbacks count is in shared memory, so that a child that is
 * killed leaves it behind. With VOW_TEST_NO_THREADS in the environment callbacks have no threads
 * unless a test asks for some.
 */
#ifndef VOW_TESTS_PARTICIPANT_FIXTURE_H
#define VOW_TESTS_PARTICIPANT_FIXTURE_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vow/participant.h"

#define COORDINATOR  "http://127.0.0.1:1" /* where nobody answers */
#define NO_WATERMARK "01000000-0000-7000-8000-000000000000"

/* The application. */
struct app {
  atomic_int prepares, commits, aborts; /* calls */
  atomic_int running, running_most;     /* callbacks at once */
  atomic_int same_branch_overlaps;      /* must stay 0 */
  atomic_int nap_us;                    /* what each callback takes */
  _Atomic(enum vow_vote) vote;
  _Atomic(enum vow_error) commit_error, abort_error;
  char payload[256]; /* of the last call */
  pthread_t thread;  /* the same */
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool hold;   /* callbacks wait while this is set */
  int waiting; /* how many do */
  uint32_t in_branch[64];
};

struct fixture {
  char folder[64];
  char path[128]; /* of the log */
  struct app *app;
  const char *coordinator; /* in messages; COORDINATOR unless a test says otherwise */
  struct vow_participant_options options;
  struct vow_participant *participant; /* NULL: not open */
};

struct answer {
  int status;
  char body[1024];
};

int fixture_setup(void **state);
int fixture_teardown(void **state);

void fixture_open(struct fixture *f);
void fixture_close(struct fixture *f);
void fixture_reopen(struct fixture *f);
/* Opening must fail with this error and a sentence that has `said` in it. */
void fixture_refuses(struct fixture *f, enum vow_error error, const char *said);

/* What each callback does first: counts, and waits while it is to wait. */
void app_enter(struct app *app, const struct vow_work *work);
/* Callbacks stop before they return, until let go; and wait until `count` of them do. */
void app_hold(struct app *app, bool hold);
void app_await_waiting(struct app *app, int count);

/* The n-th transaction; ids grow with n. Static, overwritten by the fourth call after. */
const char *id_of(unsigned n);

/* POST /<type> for branch 1 of the n-th transaction; `more` is JSON members with a comma in front,
 * or
 * "". finished_below is below all ids. */
struct answer send_message(struct fixture *f, const char *type, unsigned n, const char *more);
/* The body of such a message. */
void fixture_message(const struct fixture *f, char *body, size_t bytes, const char *type,
                     unsigned n, const char *below, const char *more);
struct answer send_below(struct fixture *f, const char *type, unsigned n, unsigned below);
struct answer send_all(struct fixture *f, const char *type, unsigned n, unsigned below,
                       const char *more);
struct answer send_raw(struct fixture *f, const char *method, const char *path,
                       const char *content_type, const char *body);

#define expect(answer_, status_, body_)      \
  do {                                       \
    struct answer got = (answer_);           \
    assert_string_equal(got.body, (body_));  \
    assert_int_equal(got.status, (status_)); \
  } while (0)
/* The status, and a part of the body. */
#define expect_part(answer_, status_, part_)                                \
  do {                                                                      \
    struct answer got = (answer_);                                          \
    if (!strstr(got.body, (part_))) assert_string_equal(got.body, (part_)); \
    assert_int_equal(got.status, (status_));                                \
  } while (0)

#define VOTE_COMMIT "{\"vote\":\"commit\"}"
#define COMMITTED   "{\"outcome\":\"committed\"}"
#define ABORTED     "{\"outcome\":\"aborted\"}"
#define ONE_PHASE   ",\"one_phase\":true"

/* Waits until the condition holds, at most ten seconds. */
#define eventually(condition)                                              \
  do {                                                                     \
    uint64_t deadline = fixture_now_ms() + 10000;                          \
    while (!(condition) && fixture_now_ms() < deadline) fixture_breathe(); \
    assert_true(condition);                                                \
  } while (0)
uint64_t fixture_now_ms(void);
void fixture_breathe(void);

/* Runs `scenario` in a child that is armed with the fail point, and checks that it was killed
 * there. */
void fixture_killed_at(struct fixture *f, const char *failpoint,
                       void (*scenario)(struct fixture *f));

#endif
