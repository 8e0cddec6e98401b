/*
 * Reconciling a log that may have lost records with its participants: what they have on disk
 * (reconcile_ask.c), what follows from it (reconcile_judge.c), and the command (reconcile.c).
 */
#ifndef VOW_CTL_RECONCILE_H
#define VOW_CTL_RECONCILE_H

#include "args.h"
#include "io/log.h"
#include "known.h"

#define CTL_WHY_BYTES 320

/* A participant that is asked. */
struct ctl_place {
  char *url;                       /* owned; normal form */
  bool left_out;                   /* the operator goes on without it */
  bool answered;                   /* it has told what is in doubt */
  bool tells;                      /* it has told what else it knows of the cases */
  char why[CTL_WHY_BYTES];         /* why not */
  struct vow_known_reply in_doubt; /* owned */
  struct vow_known_reply known;    /* owned; of the cases */
};

struct ctl_places {
  struct ctl_place *items; /* owned */
  size_t count;
};

/* What one participant says of one branch of a case. */
struct ctl_report_item {
  size_t place;
  uint32_t branch;
  enum vow_known_state state;
};

enum ctl_verdict {
  CTL_VERDICT_COMMIT = 1,
  CTL_VERDICT_ABORT,
  CTL_VERDICT_OPEN,     /* what is known allows both: an operator has to find out */
  CTL_VERDICT_CONFLICT, /* one has committed and another aborted: it is broken already */
  CTL_VERDICT_KNOWN     /* the log has decided it; some branches have ended since */
};

/* A transaction that the log does not positively know, or knows as decided and not ended. */
struct ctl_case {
  struct vow_id id;
  struct vow_txn txn;            /* owned; as the log has it; no branches: it has not */
  struct ctl_report_item *items; /* owned */
  size_t count;
  enum ctl_verdict verdict;
  bool by_operator; /* the verdict is the operator's word */
  char why[CTL_WHY_BYTES];
};

struct ctl_cases {
  struct ctl_case *items; /* owned; by id */
  size_t count;
};

void ctl_places_fini(struct ctl_places *places);
void ctl_cases_fini(struct ctl_cases *cases);
/* False: no memory. One that is there already is not added again. */
bool ctl_places_add(struct ctl_places *places, const char *url) VOW_MUST_CHECK;
bool ctl_cases_add(struct ctl_cases *cases, struct vow_id id, struct vow_txn *txn) VOW_MUST_CHECK;
struct ctl_case *ctl_cases_find(const struct ctl_cases *cases, struct vow_id id);

/* Asks every participant that is not left out what is in doubt, or what it knows of the cases.
 * `coordinator` is what participants call it. */
void ctl_ask_in_doubt(struct ctl_places *places, const char *coordinator, uint64_t timeout_ms);
enum ctl_exit ctl_ask_known(struct ctl_places *places, struct ctl_cases *cases,
                            const char *coordinator, uint64_t timeout_ms);

/* What follows from the reports of a case. Pure. */
void ctl_judge(struct ctl_case *item, const struct ctl_places *places);
const char *ctl_verdict_name(enum ctl_verdict verdict);
/* The record of a decided case: COMMITTING or ABORTING. Takes what item->txn owns. */
enum vow_error ctl_reconcile_image(struct ctl_case *item, const struct ctl_places *places,
                                   uint64_t now_ms, struct vow_txn *out) VOW_MUST_CHECK;

#endif
