/*
 * What the tests of the log share: a folder that disappears, transactions made from a number, and
 * calls that wait for the log thread with a deadline. A failure ends the test through cmocka.
 */
#ifndef VOW_TESTS_LOG_FIXTURE_H
#define VOW_TESTS_LOG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/log.h"
#include "tests/lib/log_format_5.h"

#define DEADLINE_MS 20000
#define HOUR_MS     UINT64_C(3600000)

struct fixture {
  char folder[64];
  char path[96];
  struct vow_log_config config; /* may be changed before open */
  struct vow_log *log;
  uint64_t position; /* of the newest record appended */
  struct vow_log_progress progress;
};

void fixture_setup(struct fixture *f); /* a new folder, nothing opened */
/* One on the heap, around each test of a group. */
int fixture_new(void **state);
int fixture_drop(void **state);
void fixture_teardown(struct fixture *f); /* closes, removes the folder */
void fixture_open(struct fixture *f);     /* opens and starts; must succeed */
void fixture_open_only(struct fixture *f);
enum vow_error fixture_try(struct fixture *f, char why[VOW_LOG_WHY_BYTES]); /* open only */
void fixture_close(struct fixture *f);
uint64_t fixture_now_ms(void);

/* The id of transaction n: larger n, larger id. */
struct vow_id nth_id(uint32_t n);
/* A transaction with two branches; its key, if wanted, is "key-n". ended_ms 0: open. */
struct vow_txn nth_txn(uint32_t n, enum vow_txn_state state, uint64_t ended_ms);
void set_text(char **place, const char *text);

/* Appends; returns the position. `txn` stays the caller's. */
uint64_t append(struct fixture *f, const struct vow_txn *txn, bool forced);
/* As the first record of its transaction. */
uint64_t append_first(struct fixture *f, uint32_t n, enum vow_txn_state state, uint64_t ended_ms);
uint64_t append_nth(struct fixture *f, uint32_t n, enum vow_txn_state state, uint64_t ended_ms,
                    bool forced);
/* The same without vow_log_flush: more of the step follows. */
uint64_t append_more(struct fixture *f, uint32_t n, enum vow_txn_state state, uint64_t ended_ms,
                     bool forced);
void wait_durable(struct fixture *f, uint64_t position);
void wait_failed(struct fixture *f);
/* Keeps writing until so many rows are purged. */
void write_until_purged(struct fixture *f, uint64_t rows);
/* Polls until the function says so. */
void wait_until(struct fixture *f, bool (*there)(struct fixture *f));
struct vow_log_counts counts(struct fixture *f);

struct answer {
  bool done;
  struct vow_log_result result; /* its rows are taken over; answer_fini */
  char why[VOW_LOG_WHY_BYTES];
};
/* Runs the query and waits for its answer, on the log thread or at once. */
void ask(struct fixture *f, struct vow_log_query query, struct answer *out);
void answer_fini(struct answer *answer);
/* The state of transaction n in the log; 0: not there. */
enum vow_txn_state find_state(struct fixture *f, uint32_t n);

/* Runs SQL on the closed log, as a stray hand would. */
void fixture_change(struct fixture *f, const char *sql);

/* Runs `body` in a child that ends by itself or is killed with SIGKILL; returns its wait status. */
int in_child(void (*body)(void *context), void *context);

#endif
