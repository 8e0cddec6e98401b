/*
 * What a recovery does with an open transaction of the log, as the core will do it
 * (proto/README.md, "The coordinator's states"). Only `check` and `recover --dry-run` need it in
 * words; the recovery itself runs the core. Pure.
 */
#ifndef VOW_CTL_PLAN_H
#define VOW_CTL_PLAN_H

#include "core/txn.h"
#include "json.h"
#include "message.h"

enum ctl_plan {
  CTL_PLAN_ABORT = 1, /* it is undecided or aborted: its branches are told to abort */
  CTL_PLAN_COMMIT,    /* it is decided: commit is pushed until everybody has acknowledged */
  CTL_PLAN_ASK,       /* the commit was handed to its only branch: that one is asked */
  CTL_PLAN_FORGET,    /* an operator let go of it: participants are being told */
  CTL_PLAN_UNKNOWN, /* all that is left are branches whose participants did not know them when they
                       were told to commit: they are asked once more, then it is an operator's */
  CTL_PLAN_OPERATOR /* it is over; its heuristic outcome waits for an operator */
};

enum ctl_plan ctl_plan_of(const struct vow_txn *txn);
bool ctl_plan_branch_done(const struct vow_branch *branch); /* it is told nothing more */
const char *ctl_plan_name(enum ctl_plan plan);              /* "abort", … for JSON */
const char *ctl_plan_text(enum ctl_plan plan);              /* half a sentence */

/* What to do about a log in quarantine before it is recovered from. */
#define CTL_RECONCILE_FIRST "Reconcile it first: `vowctl reconcile --log FILE`."

/* What to do about branches that their participants do not know. */
#define CTL_UNKNOWN_ADVICE                                                                      \
  "Restore the participant's data or do its work by hand, start vowd, then `vowctl resolve ID " \
  "--branch N`."

/* The message this branch gets; false: none. */
bool ctl_plan_message(const struct vow_txn *txn, const struct vow_branch *branch,
                      enum vow_message_type *out);

/* The transaction as an object: the list's entry with `plan` and `messages` beside it. */
void ctl_plan_write(struct vow_jsonw *w, const struct vow_txn *txn);

#endif
