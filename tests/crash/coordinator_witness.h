/*
 * The witness file of the coordinator's log (coordinator/io/witness.h) under crashes. Its writes
 * and syncs are the disk's like all others, so an image keeps, drops or tears them together with
 * the log's. What must hold of each image:
 *
 *   - a log that is whole is in no quarantine, whatever became of the file, unless it was restored
 *     from a backup (coordinator_operator.h);
 *   - a start reads from it what stands there: the newest line that is whole, or none;
 *   - it knows what was told, unless the power failed; and then still what a clean end has synced,
 *     unless a line is torn;
 *   - an older log beside it, as if somebody had copied one back, is in quarantine exactly if the
 *     file knows of more.
 */
#ifndef VOW_TESTS_CRASH_COORDINATOR_WITNESS_H
#define VOW_TESTS_CRASH_COORDINATOR_WITNESS_H

#include "io/log.h"

/* ---- while the story is played ---- */

/* The log has told this, and no power cut may take it out of the file any more. */
void witness_note_synced(struct vow_log_position told);
/* No process has the log open: a copy is kept of it. `incarnation` was its last. */
void witness_keep_copy(const char *path, uint64_t incarnation);
void witness_forget(void);

/* ---- judging what the disk in use holds ---- */

/* Before a start changes it. */
void witness_look(void);
/* Of the start that came after witness_look. `told`: by a process that died with the power on. */
bool witness_judge(const struct vow_log_info *info, struct vow_log_position told, uint32_t cut);
/* Puts a copy in the place of the log, beside the file as it was looked at, and starts on it. */
bool witness_judge_copy(const struct vow_log_config *config, uint32_t cut);

/* The mistake: what is only about to be written is told to the file already. */
void witness_write_early(struct vow_log_position at);

#endif
