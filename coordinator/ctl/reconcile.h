/*
 * Reconciling a log that may have lost records with its participants: what they have on disk
 * (reconcile_ask.c), what follows from it (reconcile_judge.c for one transaction, reconcile_whole.c
 * for the log), and the command (reconcile.c).
 *
 * The library vow_reconcile is what is pure of it: no files, no network, no clock. The simulator
 * plays the same code.
 */
#ifndef VOW_CTL_RECONCILE_H
#define VOW_CTL_RECONCILE_H

#include "args.h"
#include "io/log.h"
#include "known.h"
#include "url.h"

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
  bool over;        /* it is open, but had ended everywhere, and participants have forgotten how */
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

/* What a participant says of a branch, if it is of one of the cases. False: no memory. */
bool ctl_cases_report(struct ctl_cases *cases, size_t place,
                      const struct vow_known_branch *branch) VOW_MUST_CHECK;

/* Asks every participant that is not left out what is in doubt, or what it knows of the cases.
 * `coordinator` is what participants call it. Want of memory here is said and ends it: it does not
 * make a participant one that is silent. */
enum ctl_exit ctl_ask_in_doubt(struct ctl_places *places, const char *coordinator,
                               uint64_t timeout_ms);
enum ctl_exit ctl_ask_known(struct ctl_places *places, struct ctl_cases *cases,
                            const char *coordinator, uint64_t timeout_ms);

/* What follows from the reports of a case. Pure. */
void ctl_judge(struct ctl_case *item, const struct ctl_places *places);
const char *ctl_verdict_name(enum ctl_verdict verdict);
/* The record of a decided case: COMMITTING or ABORTING. Takes what item->txn owns. */
enum vow_error ctl_reconcile_image(struct ctl_case *item, const struct ctl_places *places,
                                   uint64_t now_ms, struct vow_txn *out) VOW_MUST_CHECK;

/* ---- the whole ---- */

struct ctl_reconciliation {
  const struct ctl_args *args;
  struct vow_log *log;
  struct vow_log_info info;
  char coordinator[VOW_URL_BYTES_MAX + 1]; /* as participants call it */
  struct ctl_places places;
  struct ctl_cases cases;
  struct vow_incarnation *judged; /* owned */
  uint32_t judged_count;
  uint64_t damaged; /* rows of the history that cannot be read; whom they name is not known */
  size_t known;     /* cases that the log has decided */
  size_t open;      /* cases that a person has to decide */
  size_t silent;    /* participants that did not answer and are not left out */
  bool apply;       /* else nothing is written */
  bool applied;
  bool left; /* the log has left quarantine */
};

/* Pure, in the order in which they are called; where it says so, false is: no memory. */

/* A participant may be the first to know that the log has lost records: then it is suspected from
 * now on. To be called when all have told what is in doubt. */
void ctl_reconcile_listen(struct ctl_reconciliation *r, uint64_t now_ms);
/* Adds what the log has, if it has not ended; takes what `txn` owns then. False: no memory. */
bool ctl_reconcile_add_open(struct ctl_reconciliation *r, struct vow_txn *txn) VOW_MUST_CHECK;
/* Is what somebody has in doubt one of those of which the log may lack the record? The rest the
 * daemon answers. `state` is the log's, 0 if it has no record. */
bool ctl_reconcile_concerns(const struct ctl_reconciliation *r, struct vow_id id,
                            enum vow_txn_state state);
/* Judges all cases, when all have told what they know of them. */
void ctl_reconcile_judge(struct ctl_reconciliation *r);
/* A person decides one: CTL_VERDICT_COMMIT or CTL_VERDICT_ABORT. */
enum ctl_word {
  CTL_WORD_TAKEN,
  CTL_WORD_NO_CASE,  /* the log knows how it ended, or nobody has it in doubt */
  CTL_WORD_REFUSED,  /* what a participant has done forbids it */
  CTL_WORD_TOO_EARLY /* somebody who does not tell may have committed it */
};
enum ctl_word ctl_reconcile_say(struct ctl_reconciliation *r, struct vow_id id,
                                enum ctl_verdict verdict) VOW_MUST_CHECK;
/* Counts what is left open, when everybody has spoken. */
void ctl_reconcile_count(struct ctl_reconciliation *r);
/* What is to be written. `txns` has room for all cases; what it then owns is the caller's, also
 * after false: no memory. */
bool ctl_reconcile_write(struct ctl_reconciliation *r, uint64_t now_ms, struct vow_txn *txns,
                         struct vow_log_reconciled *out) VOW_MUST_CHECK;
void ctl_reconcile_fini(struct ctl_reconciliation *r);

#endif
