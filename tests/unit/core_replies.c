/*
 * Every state of a branch against every answer: what becomes of the branch, of its transaction, and
 * what is sent again. This is the table of proto/README.md, "How the coordinator reads an answer",
 * with the answers that come too late, and those that make no sense.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core_world.h"

/* ---- states: each leaves a message to branch a of t1 under way, and an empty trace ---- */

static void preparing(struct world *w) {
  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  yes(w, "b");
}

/* The prepare is still out when the transaction aborts. */
static void late(struct world *w) {
  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  no(w, "b", "no money");
}

/* The same, and the branch worked before prepare. */
static void late_worked(struct world *w) {
  begin(w, "a b+");
  commit_no_wait(w, T1);
  no(w, "b", "no money");
}

static void aborting(struct world *w) {
  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  yes(w, "a");
  no(w, "b", "no money");
}

/* It was never heard of: the abort is the first message. */
static void aborting_unheard(struct world *w) {
  begin(w, "a");
  abort_txn(w, T1);
}

static void committing(struct world *w) {
  preparing(w);
  yes(w, "a");
  sync(w);
  acknowledge(w, "b", VOW_OUTCOME_COMMITTED);
}

static void lost(struct world *w) {
  committing(w);
  unknown(w, "a");
  sync(w);
  wait_ms(w, 1600);
}

static void delegated(struct world *w) {
  begin(w, "a+");
  commit_no_wait(w, T1);
  sync(w);
}

static void delegated_late(struct world *w) {
  delegated(w);
  abort_txn(w, T1);
}

static void delegated_asked(struct world *w) {
  delegated_late(w);
  down(w, "a");
  wait_ms(w, 200);
}

static void forgetting(struct world *w) {
  committing(w);
  acknowledge(w, "a", VOW_OUTCOME_HEURISTIC_ABORT);
  sync(w);
  forget(w, T1);
  sync(w);
}

static void settled(struct world *w) {
  committing(w);
  resolve(w, T1, 1, VOW_OUTCOME_ABORTED);
  sync(w);
}

/* ---- answers ---- */

static void votes_yes(struct world *w) {
  yes(w, "a");
}

static void votes_read_only(struct world *w) {
  read_only(w, "a");
}

static void votes_no(struct world *w) {
  no(w, "a", "no");
}

static void votes_yes_committed(struct world *w) {
  answer(w, "a", VOW_VOTE_COMMIT, VOW_OUTCOME_COMMITTED);
}

static void votes_yes_aborted(struct world *w) {
  answer(w, "a", VOW_VOTE_COMMIT, VOW_OUTCOME_ABORTED);
}

static void votes_no_aborted(struct world *w) {
  answer(w, "a", VOW_VOTE_ABORT, VOW_OUTCOME_ABORTED);
}

static void votes_no_committed(struct world *w) {
  answer(w, "a", VOW_VOTE_ABORT, VOW_OUTCOME_COMMITTED);
}

static void votes_read_only_committed(struct world *w) {
  answer(w, "a", VOW_VOTE_READ_ONLY, VOW_OUTCOME_COMMITTED);
}

static void votes_yes_hazard(struct world *w) {
  answer(w, "a", VOW_VOTE_COMMIT, VOW_OUTCOME_HEURISTIC_HAZARD);
}

static void votes_yes_heuristic_commit(struct world *w) {
  answer(w, "a", VOW_VOTE_COMMIT, VOW_OUTCOME_HEURISTIC_COMMIT);
}

static void votes_no_hazard(struct world *w) {
  answer(w, "a", VOW_VOTE_ABORT, VOW_OUTCOME_HEURISTIC_HAZARD);
}

static void says_nothing(struct world *w) {
  acknowledge(w, "a", VOW_OUTCOME_NONE);
}

static void says_committed(struct world *w) {
  acknowledge(w, "a", VOW_OUTCOME_COMMITTED);
}

static void says_aborted(struct world *w) {
  acknowledge(w, "a", VOW_OUTCOME_ABORTED);
}

static void says_heuristic_commit(struct world *w) {
  acknowledge(w, "a", VOW_OUTCOME_HEURISTIC_COMMIT);
}

static void says_heuristic_abort(struct world *w) {
  acknowledge(w, "a", VOW_OUTCOME_HEURISTIC_ABORT);
}

static void says_mixed(struct world *w) {
  acknowledge(w, "a", VOW_OUTCOME_HEURISTIC_MIXED);
}

static void says_hazard(struct world *w) {
  acknowledge(w, "a", VOW_OUTCOME_HEURISTIC_HAZARD);
}

static void is_down(struct world *w) {
  down(w, "a");
}

static void is_not_reached(struct world *w) {
  not_delivered(w, "a");
}

static void fails(struct world *w) {
  failed(w, "a");
}

static void refuses(struct world *w) {
  refused(w, "a");
}

static void knows_nothing(struct world *w) {
  unknown(w, "a");
}

struct act {
  const char *name;
  void (*run)(struct world *w);
};

/* The answers, in the order of their table. */
enum {
  VOTES_YES,
  VOTES_READ_ONLY,
  VOTES_NO,
  VOTES_YES_COMMITTED,
  VOTES_YES_ABORTED,
  VOTES_NO_ABORTED,
  VOTES_NO_COMMITTED,
  VOTES_READ_ONLY_COMMITTED,
  VOTES_YES_HAZARD,
  VOTES_YES_HEURISTIC_COMMIT,
  VOTES_NO_HAZARD,
  SAYS_NOTHING,
  SAYS_COMMITTED,
  SAYS_ABORTED,
  SAYS_HEURISTIC_COMMIT,
  SAYS_HEURISTIC_ABORT,
  SAYS_MIXED,
  SAYS_HAZARD,
  IS_DOWN,
  IS_NOT_REACHED,
  FAILS,
  REFUSES,
  KNOWS_NOTHING,
};

static const struct act states[] = {
    {"preparing", preparing},
    {"late", late},
    {"late, worked", late_worked},
    {"aborting", aborting},
    {"aborting, unheard", aborting_unheard},
    {"committing", committing},
    {"lost", lost},
    {"delegated", delegated},
    {"delegated, late", delegated_late},
    {"delegated, asked", delegated_asked},
    {"forgetting", forgetting},
    {"settled", settled},
};

static const struct act answers[] = {
    [VOTES_YES] = {"votes yes", votes_yes},
    [VOTES_READ_ONLY] = {"votes read-only", votes_read_only},
    [VOTES_NO] = {"votes no", votes_no},
    [VOTES_YES_COMMITTED] = {"votes yes, committed", votes_yes_committed},
    [VOTES_YES_ABORTED] = {"votes yes, aborted", votes_yes_aborted},
    [VOTES_NO_ABORTED] = {"votes no, aborted", votes_no_aborted},
    [VOTES_NO_COMMITTED] = {"votes no, committed", votes_no_committed},
    [VOTES_READ_ONLY_COMMITTED] = {"votes read-only, committed", votes_read_only_committed},
    [VOTES_YES_HAZARD] = {"votes yes, hazard", votes_yes_hazard},
    [VOTES_YES_HEURISTIC_COMMIT] = {"votes yes, heuristic-commit", votes_yes_heuristic_commit},
    [VOTES_NO_HAZARD] = {"votes no, hazard", votes_no_hazard},
    [SAYS_NOTHING] = {"says nothing", says_nothing},
    [SAYS_COMMITTED] = {"says committed", says_committed},
    [SAYS_ABORTED] = {"says aborted", says_aborted},
    [SAYS_HEURISTIC_COMMIT] = {"says heuristic-commit", says_heuristic_commit},
    [SAYS_HEURISTIC_ABORT] = {"says heuristic-abort", says_heuristic_abort},
    [SAYS_MIXED] = {"says mixed", says_mixed},
    [SAYS_HAZARD] = {"says hazard", says_hazard},
    [IS_DOWN] = {"is down", is_down},
    [IS_NOT_REACHED] = {"is not reached", is_not_reached},
    [FAILS] = {"fails", fails},
    [REFUSES] = {"refuses", refuses},
    [KNOWS_NOTHING] = {"knows nothing", knows_nothing},
};

#define STATES  (sizeof(states) / sizeof(states[0]))
#define ANSWERS (sizeof(answers) / sizeof(answers[0]))

/* One row a state. An answer that is not in its row has the effect of a refusal: it makes no sense
 * as an answer to what was asked. */
static const char *const expected[STATES][ANSWERS] = {
    /* preparing */
    {
        [VOTES_YES] = "log! committing; => committing [a prepared, b prepared] | send commit a; "
                      "send commit b; ",
        [VOTES_READ_ONLY] =
            "log! committing; => committing [a read-only, b prepared] | send commit b; ",
        [VOTES_NO] = "send abort b; => aborting [a aborted, b aborting]",
        [VOTES_NO_ABORTED] = "send abort b; => aborting [a aborted, b aborting]",
        [IS_DOWN] = "=> preparing [a preparing, b prepared] | send prepare a; ",
        [IS_NOT_REACHED] = "=> preparing [a preparing, b prepared] | send prepare a; ",
        [FAILS] = "=> preparing [a preparing, b prepared] | send prepare a; ",
        [REFUSES] = "send abort a; send abort b; => aborting [a aborting, b aborting]",
        [KNOWS_NOTHING] = "send abort b; => aborting [a aborted, b aborting]",
    },
    /* late */
    {
        [VOTES_READ_ONLY] = "log aborted ended; => aborted [a read-only, b aborted]",
        [VOTES_NO] = "log aborted ended; => aborted [a aborted, b aborted]",
        [VOTES_NO_ABORTED] = "log aborted ended; => aborted [a aborted, b aborted]",
        [IS_DOWN] = "=> aborting [a aborting, b aborted] | send abort a; ",
        [IS_NOT_REACHED] = "log aborted ended; => aborted [a aborted, b aborted]",
        [REFUSES] = "send abort a; => aborting [a aborting, b aborted]",
        [KNOWS_NOTHING] = "log aborted ended; => aborted [a aborted, b aborted]",
    },
    /* late, worked */
    {
        [VOTES_READ_ONLY] = "log aborted ended; => aborted [a read-only, b aborted]",
        [VOTES_NO] = "log aborted ended; => aborted [a aborted, b aborted]",
        [VOTES_NO_ABORTED] = "log aborted ended; => aborted [a aborted, b aborted]",
        [IS_DOWN] = "=> aborting [a aborting, b aborted] | send abort a; ",
        [IS_NOT_REACHED] = "=> aborting [a aborting, b aborted] | send abort a; ",
        [REFUSES] = "send abort a; => aborting [a aborting, b aborted]",
        [KNOWS_NOTHING] = "log aborted ended; => aborted [a aborted, b aborted]",
    },
    /* aborting */
    {
        [VOTES_YES_COMMITTED] = "log! aborted heuristic-mixed; => aborted heuristic-mixed [a "
                                "heuristic-commit, b aborted]",
        [VOTES_YES_ABORTED] = "log aborted ended; => aborted [a aborted, b aborted]",
        [VOTES_NO_ABORTED] = "log aborted ended; => aborted [a aborted, b aborted]",
        [VOTES_NO_COMMITTED] = "log! aborted heuristic-mixed; => aborted heuristic-mixed [a "
                               "heuristic-commit, b aborted]",
        [VOTES_READ_ONLY_COMMITTED] = "log! aborted heuristic-mixed; => aborted heuristic-mixed [a "
                                      "heuristic-commit, b aborted]",
        [VOTES_YES_HAZARD] = "log! aborted heuristic-hazard; => aborted heuristic-hazard [a "
                             "heuristic-hazard, b aborted]",
        [VOTES_NO_HAZARD] = "log! aborted heuristic-hazard; => aborted heuristic-hazard [a "
                            "heuristic-hazard, b aborted]",
        [VOTES_YES_HEURISTIC_COMMIT] = "log! aborted heuristic-mixed; => aborted heuristic-mixed "
                                       "[a heuristic-commit, b aborted]",
        [SAYS_COMMITTED] = "log! aborted heuristic-mixed; => aborted heuristic-mixed [a "
                           "heuristic-commit, b aborted]",
        [SAYS_ABORTED] = "log aborted ended; => aborted [a aborted, b aborted]",
        [SAYS_HEURISTIC_COMMIT] = "log! aborted heuristic-mixed; => aborted heuristic-mixed [a "
                                  "heuristic-commit, b aborted]",
        [SAYS_HEURISTIC_ABORT] = "log! aborted heuristic-abort; => aborted heuristic-abort [a "
                                 "heuristic-abort, b aborted]",
        [SAYS_MIXED] = "log! aborted heuristic-mixed; => aborted heuristic-mixed [a "
                       "heuristic-mixed, b aborted]",
        [SAYS_HAZARD] = "log! aborted heuristic-hazard; => aborted heuristic-hazard [a "
                        "heuristic-hazard, b aborted]",
        [REFUSES] = "=> aborting [a aborting, b aborted] | send abort a; ",
        [KNOWS_NOTHING] = "log aborted ended; => aborted [a aborted, b aborted]",
    },
    /* aborting, unheard */
    {
        [VOTES_YES_COMMITTED] =
            "log! aborted heuristic-commit; => aborted heuristic-commit [a heuristic-commit]",
        [VOTES_NO_COMMITTED] =
            "log! aborted heuristic-commit; => aborted heuristic-commit [a heuristic-commit]",
        [VOTES_READ_ONLY_COMMITTED] =
            "log! aborted heuristic-commit; => aborted heuristic-commit [a heuristic-commit]",
        [VOTES_YES_HAZARD] =
            "log! aborted heuristic-hazard; => aborted heuristic-hazard [a heuristic-hazard]",
        [VOTES_NO_HAZARD] =
            "log! aborted heuristic-hazard; => aborted heuristic-hazard [a heuristic-hazard]",
        [VOTES_YES_HEURISTIC_COMMIT] =
            "log! aborted heuristic-commit; => aborted heuristic-commit [a heuristic-commit]",
        [SAYS_COMMITTED] =
            "log! aborted heuristic-commit; => aborted heuristic-commit [a heuristic-commit]",
        [SAYS_HEURISTIC_COMMIT] =
            "log! aborted heuristic-commit; => aborted heuristic-commit [a heuristic-commit]",
        [SAYS_HEURISTIC_ABORT] =
            "log! aborted heuristic-abort; => aborted heuristic-abort [a heuristic-abort]",
        [SAYS_MIXED] =
            "log! aborted heuristic-mixed; => aborted heuristic-mixed [a heuristic-mixed]",
        [SAYS_HAZARD] =
            "log! aborted heuristic-hazard; => aborted heuristic-hazard [a heuristic-hazard]",
        [IS_DOWN] = "=> aborting [a aborting] | send abort a; ",
        [IS_NOT_REACHED] = "=> aborting [a aborting] | send abort a; ",
        [FAILS] = "=> aborting [a aborting] | send abort a; ",
        [REFUSES] = "log aborted ended; => aborted [a aborted]",
    },
    /* committing */
    {
        [VOTES_YES_COMMITTED] = "log committed ended; => committed [a committed, b committed]",
        [VOTES_YES_ABORTED] = "log! committed heuristic-mixed; => committed heuristic-mixed [a "
                              "heuristic-abort, b committed]",
        [VOTES_NO_ABORTED] = "log! committed heuristic-mixed; => committed heuristic-mixed [a "
                             "heuristic-abort, b committed]",
        [VOTES_NO_COMMITTED] = "log committed ended; => committed [a committed, b committed]",
        [VOTES_READ_ONLY_COMMITTED] =
            "log committed ended; => committed [a committed, b committed]",
        [VOTES_YES_HAZARD] = "log! committed heuristic-hazard; => committed heuristic-hazard [a "
                             "heuristic-hazard, b committed]",
        [VOTES_NO_HAZARD] = "log! committed heuristic-hazard; => committed heuristic-hazard [a "
                            "heuristic-hazard, b committed]",
        [VOTES_YES_HEURISTIC_COMMIT] = "log! committed heuristic-commit; => committed "
                                       "heuristic-commit [a heuristic-commit, b committed]",
        [SAYS_COMMITTED] = "log committed ended; => committed [a committed, b committed]",
        [SAYS_ABORTED] = "log! committed heuristic-mixed; => committed heuristic-mixed [a "
                         "heuristic-abort, b committed]",
        [SAYS_HEURISTIC_COMMIT] = "log! committed heuristic-commit; => committed heuristic-commit "
                                  "[a heuristic-commit, b committed]",
        [SAYS_HEURISTIC_ABORT] = "log! committed heuristic-mixed; => committed heuristic-mixed [a "
                                 "heuristic-abort, b committed]",
        [SAYS_MIXED] = "log! committed heuristic-mixed; => committed heuristic-mixed [a "
                       "heuristic-mixed, b committed]",
        [SAYS_HAZARD] = "log! committed heuristic-hazard; => committed heuristic-hazard [a "
                        "heuristic-hazard, b committed]",
        [REFUSES] = "=> committing [a committing, b committed] | send commit a; ",
        [KNOWS_NOTHING] = "log! committing heuristic-hazard; => committing heuristic-hazard [a "
                          "unknown, b committed]",
    },
    /* lost */
    {
        [VOTES_YES_COMMITTED] = "log! committed ended; => committed [a committed, b committed]",
        [VOTES_YES_ABORTED] = "log! committed heuristic-mixed; => committed heuristic-mixed [a "
                              "heuristic-abort, b committed]",
        [VOTES_NO_ABORTED] = "log! committed heuristic-mixed; => committed heuristic-mixed [a "
                             "heuristic-abort, b committed]",
        [VOTES_NO_COMMITTED] = "log! committed ended; => committed [a committed, b committed]",
        [VOTES_READ_ONLY_COMMITTED] =
            "log! committed ended; => committed [a committed, b committed]",
        [VOTES_YES_HAZARD] = "log! committed heuristic-hazard; => committed heuristic-hazard [a "
                             "heuristic-hazard, b committed]",
        [VOTES_NO_HAZARD] = "log! committed heuristic-hazard; => committed heuristic-hazard [a "
                            "heuristic-hazard, b committed]",
        [VOTES_YES_HEURISTIC_COMMIT] = "log! committed heuristic-commit; => committed "
                                       "heuristic-commit [a heuristic-commit, b committed]",
        [SAYS_COMMITTED] = "log! committed ended; => committed [a committed, b committed]",
        [SAYS_ABORTED] = "log! committed heuristic-mixed; => committed heuristic-mixed [a "
                         "heuristic-abort, b committed]",
        [SAYS_HEURISTIC_COMMIT] = "log! committed heuristic-commit; => committed heuristic-commit "
                                  "[a heuristic-commit, b committed]",
        [SAYS_HEURISTIC_ABORT] = "log! committed heuristic-mixed; => committed heuristic-mixed [a "
                                 "heuristic-abort, b committed]",
        [SAYS_MIXED] = "log! committed heuristic-mixed; => committed heuristic-mixed [a "
                       "heuristic-mixed, b committed]",
        [SAYS_HAZARD] = "log! committed heuristic-hazard; => committed heuristic-hazard [a "
                        "heuristic-hazard, b committed]",
        [REFUSES] = "=> committing heuristic-hazard [a unknown, b committed] | send commit a; ",
        [KNOWS_NOTHING] = "=> committing heuristic-hazard [a unknown, b committed]",
    },
    /* delegated */
    {
        [VOTES_YES] = "log! committing; => committing [a prepared] | send commit a; ",
        [VOTES_READ_ONLY] = "log! committed delegated ended; => committed [a read-only]",
        [VOTES_NO] = "log aborted delegated ended; => aborted [a aborted]",
        [VOTES_YES_COMMITTED] = "log committed delegated ended; => committed [a committed]",
        [VOTES_NO_ABORTED] = "log aborted delegated ended; => aborted [a aborted]",
        [VOTES_YES_HAZARD] = "log! aborted delegated heuristic-hazard; => aborted heuristic-hazard "
                             "[a heuristic-hazard]",
        [VOTES_NO_HAZARD] = "log! aborted delegated heuristic-hazard; => aborted heuristic-hazard "
                            "[a heuristic-hazard]",
        [VOTES_YES_HEURISTIC_COMMIT] = "log! committed delegated heuristic-commit; => committed "
                                       "heuristic-commit [a heuristic-commit]",
        [IS_DOWN] = "=> preparing [a preparing] | send prepare a one-phase; ",
        [IS_NOT_REACHED] = "=> preparing [a preparing] | send prepare a one-phase; ",
        [FAILS] = "=> preparing [a preparing] | send prepare a one-phase; ",
        [REFUSES] = "send abort a; => preparing [a aborting]",
    },
    /* delegated, late */
    {
        [VOTES_YES] = "answer #3 ok aborting; send abort a; => aborting [a aborting]",
        [VOTES_READ_ONLY] =
            "log! committed delegated ended; => committed [a read-only] | answer #3 illegal-state "
            "committed: the transaction is committed: the decision cannot be taken back; ",
        [VOTES_NO] = "log aborted delegated ended; answer #3 ok aborted; => aborted [a aborted]",
        [VOTES_YES_COMMITTED] =
            "log committed delegated ended; answer #3 illegal-state committed: the transaction is "
            "committed: the decision cannot be taken back; => committed [a committed]",
        [VOTES_NO_ABORTED] =
            "log aborted delegated ended; answer #3 ok aborted; => aborted [a aborted]",
        [VOTES_YES_HAZARD] = "log! aborted delegated heuristic-hazard; answer #3 heuristic-outcome "
                             "aborted; => aborted heuristic-hazard [a heuristic-hazard]",
        [VOTES_NO_HAZARD] = "log! aborted delegated heuristic-hazard; answer #3 heuristic-outcome "
                            "aborted; => aborted heuristic-hazard [a heuristic-hazard]",
        [VOTES_YES_HEURISTIC_COMMIT] =
            "log! committed delegated heuristic-commit; answer #3 illegal-state committed: the "
            "transaction is committed: the decision cannot be taken back; => committed "
            "heuristic-commit [a heuristic-commit]",
        [IS_DOWN] = "=> preparing [a aborting] | send abort a; ",
        [IS_NOT_REACHED] = "log aborted ended; answer #3 ok aborted; => aborted [a aborted]",
        [REFUSES] = "send abort a; => preparing [a aborting]",
    },
    /* delegated, asked */
    {
        [VOTES_YES_COMMITTED] =
            "log committed delegated ended; answer #3 illegal-state committed: the transaction is "
            "committed: the decision cannot be taken back; => committed [a committed]",
        [VOTES_YES_ABORTED] =
            "log aborted delegated ended; answer #3 ok aborted; => aborted [a aborted]",
        [VOTES_NO_ABORTED] =
            "log aborted delegated ended; answer #3 ok aborted; => aborted [a aborted]",
        [VOTES_NO_COMMITTED] =
            "log committed delegated ended; answer #3 illegal-state committed: the transaction is "
            "committed: the decision cannot be taken back; => committed [a committed]",
        [VOTES_READ_ONLY_COMMITTED] =
            "log committed delegated ended; answer #3 illegal-state committed: the transaction is "
            "committed: the decision cannot be taken back; => committed [a committed]",
        [VOTES_YES_HAZARD] = "log! aborted delegated heuristic-hazard; answer #3 heuristic-outcome "
                             "aborted; => aborted heuristic-hazard [a heuristic-hazard]",
        [VOTES_NO_HAZARD] = "log! aborted delegated heuristic-hazard; answer #3 heuristic-outcome "
                            "aborted; => aborted heuristic-hazard [a heuristic-hazard]",
        [VOTES_YES_HEURISTIC_COMMIT] =
            "log! committed delegated heuristic-commit; answer #3 illegal-state committed: the "
            "transaction is committed: the decision cannot be taken back; => committed "
            "heuristic-commit [a heuristic-commit]",
        [SAYS_COMMITTED] =
            "log committed delegated ended; answer #3 illegal-state committed: the transaction is "
            "committed: the decision cannot be taken back; => committed [a committed]",
        [SAYS_ABORTED] =
            "log aborted delegated ended; answer #3 ok aborted; => aborted [a aborted]",
        [SAYS_HEURISTIC_COMMIT] =
            "log! committed delegated heuristic-commit; answer #3 illegal-state committed: the "
            "transaction is committed: the decision cannot be taken back; => committed "
            "heuristic-commit [a heuristic-commit]",
        [SAYS_HEURISTIC_ABORT] = "log! aborted delegated heuristic-abort; answer #3 ok aborted; => "
                                 "aborted heuristic-abort [a heuristic-abort]",
        [SAYS_MIXED] = "log! aborted delegated heuristic-mixed; answer #3 heuristic-outcome "
                       "aborted; => aborted heuristic-mixed [a heuristic-mixed]",
        [SAYS_HAZARD] = "log! aborted delegated heuristic-hazard; answer #3 heuristic-outcome "
                        "aborted; => aborted heuristic-hazard [a heuristic-hazard]",
        [REFUSES] = "=> preparing [a aborting] | send abort a; ",
        [KNOWS_NOTHING] =
            "log aborted delegated ended; answer #3 ok aborted; => aborted [a aborted]",
    },
    /* forgetting */
    {
        [IS_DOWN] =
            "=> committed heuristic-mixed [a heuristic-abort, b committed] | send forget a; ",
        [IS_NOT_REACHED] =
            "=> committed heuristic-mixed [a heuristic-abort, b committed] | send forget a; ",
        [FAILS] = "=> committed heuristic-mixed [a heuristic-abort, b committed] | send forget a; ",
        [REFUSES] = "log committed heuristic-mixed forgotten ended; => committed heuristic-mixed "
                    "[a heuristic-abort, b committed]",
    },
    /* settled */
    {
        [REFUSES] = "=> committed heuristic-mixed [a heuristic-abort, b committed]",
    },
};

/* "send prepare t1/a\n" becomes "send prepare a; ". */
static void tidy(const struct world *w, char *out) {
  for (const char *c = w->trace; *c != '\0'; c++) {
    if (strncmp(c, "t1", 2) == 0) c += 3;
    if (*c == '\n') {
      out += sprintf(out, "; ");
    } else {
      *out++ = *c;
    }
  }
  *out = '\0';
}

/* Whether it is to be noted for people: who does not know a branch has nothing to abort or forget.
 */
static bool is_failure(const struct world *w, size_t answered) {
  enum vow_message_type asked = w->sends[w->send_count - 1].type;

  if (answered < IS_DOWN || world_find(w, T1)->branches[0].resolved) return false;
  if (asked == VOW_MESSAGE_FORGET) return answered < REFUSES;
  return asked != VOW_MESSAGE_ABORT || answered < KNOWS_NOTHING;
}

/* What the answer does, the state it leaves, and what follows within two seconds, or, when it is
 * settled, once the log is synced. */
static void play(struct world *w, size_t state, size_t answered, char *out) {
  states[state].run(w);
  world_forget_trace(w);
  bool failure = is_failure(w, answered);
  w->wall_ms += 7;
  answers[answered].run(w);
  if (failure) assert_int_equal(world_find(w, T1)->branches[0].last_error_ms, w->wall_ms);
  tidy(w, out);
  out += strlen(out);
  out += sprintf(out, "=> %s", picture(w, T1));
  world_forget_trace(w);
  sync(w);
  wait_ms(w, 900);
  if (w->trace_bytes == 0) return;
  out += sprintf(out, " | ");
  tidy(w, out);
}

static void every_branch_takes_every_answer(void **state) {
  static char seen[4096];

  for (size_t s = 0; s < STATES; s++) {
    for (size_t a = 0; a < ANSWERS; a++) {
      struct world *w = world_new();
      *state = w;
      const char *wanted = expected[s][a] == NULL ? expected[s][REFUSES] : expected[s][a];
      play(w, s, a, seen);
      if (strcmp(seen, wanted) != 0) {
        fail_msg("%s, %s:\nexpected: %s\nbut was:  %s", states[s].name, answers[a].name, wanted,
                 seen);
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
      cmocka_unit_test_teardown(every_branch_takes_every_answer, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
