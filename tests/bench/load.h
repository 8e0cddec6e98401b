/*
 * What the files of the load generator share: load.c (options, report), load_run.c (connections
 * and time), load_request.c (the bytes of requests, and what answers say).
 *
 * Each client is one kept connection in a closed loop: the next transaction begins when the last
 * is answered. Request bytes are made once a client; only account numbers and ids are written into
 * them later, always in the same number of digits.
 */
#ifndef VOW_BENCH_LOAD_H
#define VOW_BENCH_LOAD_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "histogram.h"

#define CLIENTS_MAX      4096
#define PARTICIPANTS_MAX 64
#define BRANCHES_MAX     64
#define STEPS_MAX        (BRANCHES_MAX + 2)
#define ID_BYTES         36
#define ACCOUNT_FIRST    10000000u /* account numbers have eight digits */

enum load_mode {
  LOAD_ONESHOT,     /* the whole transaction in one request */
  LOAD_INTERACTIVE, /* begin, enlist each branch, commit */
  LOAD_PROTOTYPE,   /* as ONESHOT, to whoever takes any POST */
  LOAD_HOLD         /* begin with branches, and leave it open */
};

struct load_options {
  const char *host; /* "127.0.0.1:7800" */
  const char *participants[PARTICIPANTS_MAX];
  unsigned participant_count, branches, clients, accounts, timeout_ms;
  unsigned pause_ms;                      /* of a client between two transactions */
  uint64_t warmup_ms, duration_ms, count; /* 0: no bound */
  enum load_mode mode;
  const volatile sig_atomic_t *stop; /* set: the window ends now */
  bool tolerant;                     /* refusals and broken connections are counted, not an error */
  FILE *ids;                         /* ids of what was answered committed, one a line; or NULL */
};

/* ---- load_request.c ---- */

struct load_step {
  char *bytes; /* owned */
  size_t size;
  size_t id_at;                     /* where the transaction's id goes; 0: nowhere */
  size_t accounts_at[BRANCHES_MAX]; /* where account numbers go */
  unsigned account_count;
  int status; /* of a good answer */
};

/* The requests of one transaction, in order. Returns how many, 0: out of memory. */
unsigned load_steps_make(const struct load_options *options, unsigned client,
                         struct load_step steps[STEPS_MAX]);
void load_step_fill(struct load_step *step, const char id[ID_BYTES], unsigned *account,
                    const struct load_options *options);

enum load_verdict {
  LOAD_MORE, /* not all of it is here */
  LOAD_GOOD,
  LOAD_REFUSED, /* aborted, not known yet, or asked to come again: not committed as far as told */
  LOAD_BAD
};
/* Looks at what has been read of an answer (NUL-terminated). `last` is set in the step that tells
 * the outcome. *id gets the transaction's, if there is one. */
enum load_verdict load_answer(const char *text, size_t size, const struct load_step *step,
                              bool tells_outcome, char id[ID_BYTES]);

/* ---- load_run.c ---- */

struct load_result {
  struct histogram latency;                    /* of the measured window, in ns */
  uint64_t window_ns;                          /* how long it was */
  uint64_t committed, refused, broken, errors; /* of the whole run */
  char sample[512];                            /* of the first error */
};

/* Runs it. Prints "begin" and "end" at the borders of the window. False: it could not begin. */
bool load_run(const struct load_options *options, struct load_result *result);

#endif
