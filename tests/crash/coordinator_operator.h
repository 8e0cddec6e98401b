/*
 * The operator of the coordinator's log under crashes: backups, a log that is lost and restored
 * from one (`vowctl restore`), and reconciled with its participants (`vowctl reconcile --apply`).
 * The commands are the real ones; what participants answer is made up from the story. What must
 * hold of each image:
 *
 *   - under a backup's name there is nothing, or the whole log as it was then; nothing only until
 *     it was called done;
 *   - under the log's name there is the old log as the operator left it, nothing, or the whole
 *     backup, marked as one and in quarantine; only that once the restore was called done. Where
 *     there is nothing, the same command again does it;
 *   - what a reconciliation writes is there whole or not at all; the log is out of quarantine
 *     exactly if it is there and was all; and the same command again does it.
 */
#ifndef VOW_TESTS_CRASH_COORDINATOR_OPERATOR_H
#define VOW_TESTS_CRASH_COORDINATOR_OPERATOR_H

#include "disk.h"
#include "io/log.h"

#define OPERATOR_LOG DISK_FOLDER "/vow.log"

/* ---- while the story is played; false: wrong() has told it ---- */

/* By the log's process, which has been given records up to `position`. The one before is removed.
 * `*works`: it is done. */
bool operator_back_up(struct vow_log *log, uint64_t position, bool *works);
void operator_remove_backup(void);
bool operator_has_backup(void);
/* A log that was closed at `position` is copied by hand. */
void operator_copy_closed(uint64_t position);

/* No process has the log open. It is lost, and restored from the backup; with it its witness file,
 * if *witness_lost comes back set. A sync may fail on the way: it is tried again. */
bool operator_restore(bool *witness_lost);
bool operator_has_restored(uint32_t cut); /* or was about to */
bool operator_waits(void);                /* the log is in quarantine */
bool operator_reconcile(void);
void operator_forget(void);

/* ---- judging what the disk in use holds ---- */

bool operator_judge_backups(uint32_t cut);
/* Whether the log that is found at `position`, beside a witness file that says `witnessed`, is to
 * be in quarantine. */
bool operator_expects_quarantine(uint64_t position, struct vow_log_position witnessed,
                                 uint32_t cut);
/* And say that it was restored: it did not come to another reason meanwhile. */
bool operator_expects_mark(uint32_t cut);

enum operator_found {
  OPERATOR_WRONG,     /* wrong() has told it */
  OPERATOR_HALF_AWAY, /* the operator's moving away was cut off: that is not vow's */
  OPERATOR_LOG_THERE  /* to be judged, as of *cut: while the log is being put back, after that */
};
enum operator_found operator_look(uint32_t *cut);
/* The log was closed again: what was cut off is done once more. */
bool operator_judge_again(uint32_t cut);

#endif
