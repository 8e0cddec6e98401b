/*
 * Every state of a transaction against every request, and time: what is answered, what is done, and
 * what state that leaves. A request that is not legal gives the documented error and changes
 * nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core_world.h"

/* ---- states: each leaves t1, of branches a and b, with an empty trace ---- */

static void active(struct world *w) {
  begin(w, "a+ b+");
}

static void preparing(struct world *w) {
  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  yes(w, "a");
}

static void deciding(struct world *w) {
  preparing(w);
  yes(w, "b");
}

static void committing(struct world *w) {
  deciding(w);
  sync(w);
}

static void unknown_branch(struct world *w) {
  committing(w);
  unknown(w, "a");
  sync(w);
}

static void committed(struct world *w) {
  committing(w);
  acknowledge(w, "a", VOW_OUTCOME_COMMITTED);
  acknowledge(w, "b", VOW_OUTCOME_COMMITTED);
}

static void committed_heuristic(struct world *w) {
  committing(w);
  acknowledge(w, "a", VOW_OUTCOME_HEURISTIC_ABORT);
  acknowledge(w, "b", VOW_OUTCOME_COMMITTED);
  sync(w);
}

static void forgetting(struct world *w) {
  committed_heuristic(w);
  forget(w, T1);
  sync(w);
}

static void aborting(struct world *w) {
  preparing(w);
  no(w, "b", "no money");
}

static void aborted(struct world *w) {
  aborting(w);
  acknowledge(w, "a", VOW_OUTCOME_ABORTED);
}

static void aborted_heuristic(struct world *w) {
  aborting(w);
  acknowledge(w, "a", VOW_OUTCOME_HEURISTIC_COMMIT);
  sync(w);
}

static void aborting_keyed(struct world *w) {
  struct vow_event event = {.u.begin = {.idempotency_key = "key", .commit = true, .no_wait = true}};
  begin_with(w, &event, "a+ b+");
  yes(w, "a");
  no(w, "b", "no money");
}

static void delegated(struct world *w) {
  begin(w, "a+");
  commit_no_wait(w, T1);
}

static void delegated_sent(struct world *w) {
  delegated(w);
  sync(w);
}

static void delegated_asked(struct world *w) {
  delegated_sent(w);
  wait_ms(w, 5000);
  down(w, "a");
}

static void gone(struct world *w) {
  aborted(w);
  sync(w);
}

static void loading(struct world *w) {
  struct vow_event event = {.type = VOW_EVENT_LOAD_BEGIN};
  vow_core_free(w->core);
  assert_int_equal(vow_core_new(&w->core, &w->config), VOW_OK);
  event.u.load_begin.position = w->position;
  event.u.load_begin.id_floor = w->ceiling;
  world_must(w, &event);
  sync(w);
}

/* ---- requests ---- */

static void do_enlist(struct world *w) {
  enlist(w, T1, "c+");
}

static void do_commit(struct world *w) {
  commit(w, T1);
}

static void do_commit_no_wait(struct world *w) {
  commit_no_wait(w, T1);
}

static void do_abort(struct world *w) {
  abort_txn(w, T1);
}

static void do_resolve_commit(struct world *w) {
  resolve(w, T1, 0, VOW_OUTCOME_COMMITTED);
}

static void do_resolve_abort(struct world *w) {
  resolve(w, T1, 0, VOW_OUTCOME_ABORTED);
}

static void do_settle_commit(struct world *w) {
  resolve(w, T1, 1, VOW_OUTCOME_COMMITTED);
}

static void do_settle_abort(struct world *w) {
  resolve(w, T1, 1, VOW_OUTCOME_ABORTED);
}

static void do_forget(struct world *w) {
  forget(w, T1);
}

static void do_time(struct world *w) {
  wait_ms(w, 60000);
}

struct act {
  const char *name;
  void (*run)(struct world *w);
};

static const struct act states[] = {
    {"active", active},
    {"preparing", preparing},
    {"deciding", deciding},
    {"committing", committing},
    {"unknown branch", unknown_branch},
    {"committed", committed},
    {"committed heuristic", committed_heuristic},
    {"forgetting", forgetting},
    {"aborting", aborting},
    {"aborted", aborted},
    {"aborted heuristic", aborted_heuristic},
    {"aborting keyed", aborting_keyed},
    {"delegated", delegated},
    {"delegated sent", delegated_sent},
    {"delegated asked", delegated_asked},
    {"gone", gone},
    {"loading", loading},
};

static const struct act requests[] = {
    {"enlist", do_enlist},
    {"commit", do_commit},
    {"commit no-wait", do_commit_no_wait},
    {"abort", do_abort},
    {"resolve commit", do_resolve_commit},
    {"resolve abort", do_resolve_abort},
    {"settle commit", do_settle_commit},
    {"settle abort", do_settle_abort},
    {"forget", do_forget},
    {"time", do_time},
};

#define STATES   (sizeof(states) / sizeof(states[0]))
#define REQUESTS (sizeof(requests) / sizeof(requests[0]))

/* One row a state, one column a request, in the order of the tables above. */
static const char *const expected[STATES][REQUESTS] = {
    /* active */
    {
        /* enlist */ "answer ok active branch 3 created; => active [a enlisted, b enlisted, c "
                     "enlisted]",
        /* commit */ "send prepare a; send prepare b; => preparing [a preparing, b preparing]",
        /* commit no-wait */
        "answer ok preparing pending; send prepare a; send prepare b; => preparing [a preparing, b "
        "preparing]",
        /* abort */ "log aborted ended; answer ok aborted; => aborted [a aborted, b aborted]",
        /* resolve commit */ "answer illegal-state active; ",
        /* resolve abort */
        "log! aborted ended; | answer ok aborted; => aborted [a aborted, b aborted]",
        /* settle commit */ "answer illegal-state active; ",
        /* settle abort */ "answer illegal-state active; ",
        /* forget */ "answer illegal-state active; ",
        /* time */ "log aborted ended; => aborted [a aborted, b aborted]",
    },
    /* preparing */
    {
        /* enlist */ "answer illegal-state preparing; ",
        /* commit */ "",
        /* commit no-wait */ "answer ok preparing pending; ",
        /* abort */ "answer ok aborting; send abort a; => aborting [a aborting, b aborting]",
        /* resolve commit */ "answer illegal-state preparing; ",
        /* resolve abort */
        "log! aborting; send abort a; | answer ok aborting; => aborting [a aborting, b aborting]",
        /* settle commit */ "answer illegal-state preparing; ",
        /* settle abort */ "answer illegal-state preparing; ",
        /* forget */ "answer illegal-state preparing; ",
        /* time */
        "log preparing; send abort a; log aborting; => aborting [a aborting, b aborting]",
    },
    /* deciding */
    {
        /* enlist */ "answer illegal-state preparing; | send commit a; send commit b; ",
        /* commit */ "| answer ok committing; send commit a; send commit b; ",
        /* commit no-wait */ "answer ok preparing pending; | send commit a; send commit b; ",
        /* abort */ "| answer illegal-state committing; send commit a; send commit b; ",
        /* resolve commit */ "answer illegal-state preparing; | send commit a; send commit b; ",
        /* resolve abort */ "answer illegal-state preparing; | send commit a; send commit b; ",
        /* settle commit */ "answer illegal-state preparing; | send commit a; send commit b; ",
        /* settle abort */ "answer illegal-state preparing; | send commit a; send commit b; ",
        /* forget */ "answer illegal-state preparing; | send commit a; send commit b; ",
        /* time */ "| send commit a; send commit b; ",
    },
    /* committing */
    {
        /* enlist */ "answer illegal-state committing; ",
        /* commit */ "answer ok committing; ",
        /* commit no-wait */ "answer ok committing; ",
        /* abort */ "answer illegal-state committing; ",
        /* resolve commit */ "answer ok committing; ",
        /* resolve abort */ "answer illegal-state committing; ",
        /* settle commit */
        "log! committing; | answer ok committing; => committing [a committed, b committing]",
        /* settle abort */
        "log! committing heuristic-abort; | answer ok committing; => committing heuristic-abort [a "
        "heuristic-abort, b committing]",
        /* forget */ "answer illegal-state committing; ",
        /* time */ "",
    },
    /* unknown branch */
    {
        /* enlist */ "answer illegal-state committing; ",
        /* commit */ "answer ok committing; ",
        /* commit no-wait */ "answer ok committing; ",
        /* abort */ "answer illegal-state committing; ",
        /* resolve commit */ "answer ok committing; ",
        /* resolve abort */ "answer illegal-state committing; ",
        /* settle commit */
        "log! committing; | answer ok committing; => committing [a committed, b committing]",
        /* settle abort */
        "log! committing heuristic-abort; | answer ok committing; => committing heuristic-abort [a "
        "heuristic-abort, b committing]",
        /* forget */ "answer illegal-state committing; ",
        /* time */ "send commit a; ",
    },
    /* committed */
    {
        /* enlist */ "answer illegal-state committed; ",
        /* commit */ "answer ok committed; ",
        /* commit no-wait */ "answer ok committed; ",
        /* abort */ "answer illegal-state committed; ",
        /* resolve commit */ "| answer ok committed; ",
        /* resolve abort */ "answer illegal-state committed; ",
        /* settle commit */ "answer illegal-state committed; ",
        /* settle abort */ "answer illegal-state committed; ",
        /* forget */ "answer illegal-state committed; ",
        /* time */ "",
    },
    /* committed heuristic */
    {
        /* enlist */ "answer illegal-state committed; ",
        /* commit */ "answer ok committed; ",
        /* commit no-wait */ "answer ok committed; ",
        /* abort */ "answer illegal-state committed; ",
        /* resolve commit */ "answer ok committed; ",
        /* resolve abort */ "answer illegal-state committed; ",
        /* settle commit */ "answer illegal-state committed; ",
        /* settle abort */ "answer illegal-state committed; ",
        /* forget */
        "log! committed heuristic-mixed forgotten; | answer ok committed; send forget a; ",
        /* time */ "",
    },
    /* forgetting */
    {
        /* enlist */ "answer illegal-state committed; ",
        /* commit */ "answer ok committed; ",
        /* commit no-wait */ "answer ok committed; ",
        /* abort */ "answer illegal-state committed; ",
        /* resolve commit */ "answer ok committed; ",
        /* resolve abort */ "answer illegal-state committed; ",
        /* settle commit */ "answer illegal-state committed; ",
        /* settle abort */ "answer illegal-state committed; ",
        /* forget */ "answer ok committed; ",
        /* time */ "",
    },
    /* aborting */
    {
        /* enlist */ "answer transaction-aborted aborting; ",
        /* commit */ "answer transaction-aborted aborting; ",
        /* commit no-wait */ "answer transaction-aborted aborting; ",
        /* abort */ "answer ok aborting; ",
        /* resolve commit */ "answer illegal-state aborting; ",
        /* resolve abort */ "answer ok aborting; ",
        /* settle commit */
        "log! aborted heuristic-mixed; | answer ok aborted; => aborted heuristic-mixed [a "
        "heuristic-commit, b aborted]",
        /* settle abort */
        "log! aborted ended; | answer ok aborted; => aborted [a aborted, b aborted]",
        /* forget */ "answer illegal-state aborting; ",
        /* time */ "log aborting; ",
    },
    /* aborted */
    {
        /* enlist */ "answer transaction-aborted aborted; ",
        /* commit */ "answer transaction-aborted aborted; ",
        /* commit no-wait */ "answer transaction-aborted aborted; ",
        /* abort */ "answer ok aborted; ",
        /* resolve commit */ "answer illegal-state aborted; ",
        /* resolve abort */ "| answer ok aborted; ",
        /* settle commit */ "answer illegal-state aborted; ",
        /* settle abort */ "answer illegal-state aborted; ",
        /* forget */ "answer illegal-state aborted; ",
        /* time */ "",
    },
    /* aborted heuristic */
    {
        /* enlist */ "answer transaction-aborted aborted; ",
        /* commit */ "answer transaction-aborted aborted; ",
        /* commit no-wait */ "answer transaction-aborted aborted; ",
        /* abort */ "answer ok aborted; ",
        /* resolve commit */ "answer illegal-state aborted; ",
        /* resolve abort */ "answer ok aborted; ",
        /* settle commit */ "answer illegal-state aborted; ",
        /* settle abort */ "answer illegal-state aborted; ",
        /* forget */ "log! aborted heuristic-mixed forgotten; | answer ok aborted; send forget a; ",
        /* time */ "",
    },
    /* aborting keyed */
    {
        /* enlist */ "answer illegal-state preparing; ",
        /* commit */ "| answer transaction-aborted aborting; ",
        /* commit no-wait */ "answer ok preparing pending; ",
        /* abort */ "| answer ok aborting; ",
        /* resolve commit */ "answer illegal-state preparing; ",
        /* resolve abort */ "answer illegal-state preparing; ",
        /* settle commit */ "answer illegal-state preparing; ",
        /* settle abort */ "answer illegal-state preparing; ",
        /* forget */ "answer illegal-state preparing; ",
        /* time */ "",
    },
    /* delegated */
    {
        /* enlist */ "answer illegal-state preparing; | send prepare a one-phase; ",
        /* commit */ "| send prepare a one-phase; ",
        /* commit no-wait */ "answer ok preparing pending; | send prepare a one-phase; ",
        /* abort */ "log aborted ended; answer ok aborted; => aborted [a aborted]",
        /* resolve commit */ "answer illegal-state preparing; | send prepare a one-phase; ",
        /* resolve abort */ "answer illegal-state preparing; | send prepare a one-phase; ",
        /* settle commit */
        "log! committed delegated ended; | answer ok committed; => committed [a committed]",
        /* settle abort */
        "log! aborted delegated ended; | answer ok aborted; => aborted [a aborted]",
        /* forget */ "answer illegal-state preparing; | send prepare a one-phase; ",
        /* time */ "log aborted ended; => aborted [a aborted]",
    },
    /* delegated sent */
    {
        /* enlist */ "answer illegal-state preparing; ",
        /* commit */ "",
        /* commit no-wait */ "answer ok preparing pending; ",
        /* abort */ "=> preparing [a aborting]",
        /* resolve commit */ "answer illegal-state preparing; ",
        /* resolve abort */ "answer illegal-state preparing; ",
        /* settle commit */
        "log! committed delegated ended; | answer ok committed; => committed [a committed]",
        /* settle abort */
        "log! aborted delegated ended; | answer ok aborted; => aborted [a aborted]",
        /* forget */ "answer illegal-state preparing; ",
        /* time */ "=> preparing [a aborting]",
    },
    /* delegated asked */
    {
        /* enlist */ "answer illegal-state preparing; ",
        /* commit */ "",
        /* commit no-wait */ "answer ok preparing pending; ",
        /* abort */ "",
        /* resolve commit */ "answer illegal-state preparing; ",
        /* resolve abort */ "answer illegal-state preparing; ",
        /* settle commit */
        "log! committed delegated ended; | answer ok committed; => committed [a committed]",
        /* settle abort */
        "log! aborted delegated ended; | answer ok aborted; => aborted [a aborted]",
        /* forget */ "answer illegal-state preparing; ",
        /* time */ "send abort a; ",
    },
    /* gone */
    {
        /* enlist */ "answer unknown-transaction; ",
        /* commit */ "answer unknown-transaction; ",
        /* commit no-wait */ "answer unknown-transaction; ",
        /* abort */ "answer unknown-transaction; ",
        /* resolve commit */ "answer unknown-transaction; ",
        /* resolve abort */ "answer unknown-transaction; ",
        /* settle commit */ "answer unknown-transaction; ",
        /* settle abort */ "answer unknown-transaction; ",
        /* forget */ "answer unknown-transaction; ",
        /* time */ "",
    },
    /* loading */
    {
        /* enlist */ "answer loading; ",
        /* commit */ "answer loading; ",
        /* commit no-wait */ "answer loading; ",
        /* abort */ "answer loading; ",
        /* resolve commit */ "answer loading; ",
        /* resolve abort */ "answer loading; ",
        /* settle commit */ "answer loading; ",
        /* settle abort */ "answer loading; ",
        /* forget */ "answer loading; ",
        /* time */ "",
    },
};

/* "answer #3 ok t1 committing\n" becomes "answer ok committing; ". What a detail says is checked
 * apart: a request that is illegal in a state is told the state, of the transaction or of the
 * branch. */
static void tidy(const struct world *w, char *out) {
  for (const char *line = w->trace; *line != '\0'; line = strchr(line, '\n') + 1) {
    const char *end = strchr(line, '\n');
    const char *detail = memmem(line, (size_t)(end - line), ": ", 2);
    if (memmem(line, (size_t)(end - line), "illegal-state t1 ", 17) != NULL) {
      char state[32];
      assert_int_equal(sscanf(line, "answer #%*u illegal-state t1 %31[a-z]", state), 1);
      assert_non_null(detail);
      bool named = memmem(detail, (size_t)(end - detail), state, strlen(state)) != NULL ||
                   memmem(detail, (size_t)(end - detail), "the branch", 10) != NULL;
      assert_true(named);
    }
    if (detail != NULL) end = detail;
    for (const char *c = line; c < end; c++) {
      if (*c == '#') c = strchr(c, ' ') + 1;
      if (strncmp(c, "t1", 2) == 0) c += 3;
      *out++ = *c;
    }
    out += sprintf(out, "; ");
  }
  *out = '\0';
}

/* What the request does; " | " and what follows when the log is synced; " => " and the state it
 * leaves, if that is another. */
static void play(struct world *w, size_t state, size_t request, char *out) {
  char before[256];

  states[state].run(w);
  world_forget_trace(w);
  (void)snprintf(before, sizeof(before), "%s", picture(w, T1));
  requests[request].run(w);
  tidy(w, out);
  world_forget_trace(w);
  char after[256];
  (void)snprintf(after, sizeof(after), "%s", picture(w, T1));
  sync(w);
  if (w->trace_bytes > 0) {
    out += strlen(out);
    out += sprintf(out, "| ");
    tidy(w, out);
  }
  if (strcmp(before, after) != 0) sprintf(out + strlen(out), "=> %s", after);
}

static void every_state_takes_every_request(void **state) {
  char seen[4096];

  for (size_t s = 0; s < STATES; s++) {
    for (size_t r = 0; r < REQUESTS; r++) {
      struct world *w = world_new();
      *state = w;
      play(w, s, r, seen);
      if (strcmp(seen, expected[s][r]) != 0) {
        fail_msg("%s, %s:\nexpected: %s\nbut was:  %s", states[s].name, requests[r].name,
                 expected[s][r], seen);
      }
      world_free(w);
      *state = NULL;
    }
  }
}

static int teardown(void **state) {
  world_free(*state);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(every_state_takes_every_request, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
