/*
 * The words both sides of the protocol share. They reach the wire by name; logs keep their numbers,
 * which never change. Source of the rules: proto/README.md.
 */
#ifndef VOW_TYPES_H
#define VOW_TYPES_H

#include <vow/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A participant's answer to prepare. */
enum vow_vote {
  VOW_VOTE_NONE = 0,      /* not voted yet; never sent */
  VOW_VOTE_COMMIT = 1,    /* a vow: this branch will commit if told to, through any crash */
  VOW_VOTE_READ_ONLY = 2, /* nothing to commit or undo; this branch is done */
  VOW_VOTE_ABORT = 3      /* this transaction must not commit; this branch is done */
};

/* How a branch, or a transaction, ended. */
enum vow_outcome {
  VOW_OUTCOME_NONE = 0, /* it has not */
  VOW_OUTCOME_COMMITTED = 1,
  VOW_OUTCOME_ABORTED = 2,
  VOW_OUTCOME_HEURISTIC_COMMIT = 3, /* committed by the participant itself or by an operator */
  VOW_OUTCOME_HEURISTIC_ABORT = 4,
  VOW_OUTCOME_HEURISTIC_MIXED = 5, /* partly committed, partly aborted */
  VOW_OUTCOME_HEURISTIC_HAZARD = 6 /* nobody knows; somebody must look */
};

/* The wire's words: "commit", "read-only", "abort", and "committed", "aborted", "heuristic-commit",
 * … Never NULL. */
VOW_PUBLIC const char *vow_vote_name(enum vow_vote vote);
VOW_PUBLIC const char *vow_outcome_name(enum vow_outcome outcome);

#ifdef __cplusplus
}
#endif
#endif
