/*
 * What is known of the coordinator's log while its story is played, and the judgement of what is
 * found after a crash: which image of which transaction was given to the log at which position, how
 * far the log has called itself durable, and where batches ended. A log that is opened after a
 * crash names a position; it must be one where a batch ended, at or above what was called durable,
 * and what the log then holds must be exactly the newest images up to it. What stands above a
 * position that an opened log has shown is no longer possible.
 *
 * Purged rows are the one freedom: an ended transaction may be missing if the rules of purging
 * allow it.
 */
#ifndef VOW_TESTS_CRASH_COORDINATOR_MODEL_H
#define VOW_TESTS_CRASH_COORDINATOR_MODEL_H

#include "io/log.h"

#define TXNS_MAX           512
#define MODEL_NEVER        UINT32_MAX
#define MODEL_KEPT_HISTORY 6 /* what purging leaves */

struct model_image {
  uint32_t txn;
  uint64_t position, digest;
  enum vow_txn_state state;
  bool ended, kept;
  uint32_t from, until; /* possible at cuts in this range */
};

struct model_mark { /* what was told to others by then */
  uint32_t at;
  uint64_t durable, incarnation;
};

/* ---- the story ---- */

void model_forget(void);
void model_note_start(const struct vow_log_info *info); /* the first one says what the log is */
void model_note_mark(uint64_t durable, uint64_t incarnation);
/* Given to the log, and not written yet. */
void model_note_image(uint32_t txn, uint64_t position, const struct vow_txn *image);
void model_note_ceiling(uint64_t position, struct vow_id id);
void model_note_boundary(uint64_t position); /* a batch may end here */
/* What stands above it has not happened and never will. */
void model_exclude_above(uint64_t position);

struct model_mark model_told(uint32_t cut);
struct model_mark model_told_last(void);
struct vow_id model_ceiling(uint64_t position, uint32_t cut);
uint32_t model_txn_count(void); /* numbers of transactions with an image are below it */
/* The image that was noted last by then, possible or not; NULL: there was none. */
const struct model_image *model_last_image(uint32_t txn, uint32_t cut);
/* There was one up to the position that was possible then. */
bool model_had_image(uint32_t txn, uint64_t position, uint32_t cut);
/* As the log that was judged last has it; NULL: it has not. */
const struct model_image *model_newest_image(uint32_t txn);

/* ---- judging; false: wrong() has told it ---- */

bool model_judge_head(const struct vow_log_info *info, uint32_t cut);
/* Of a log that runs its thread, or does not. */
bool model_judge_content(struct vow_log *log, uint64_t position, uint32_t cut);
bool model_check(struct vow_log *log); /* the log's own check of everything */
/* Where a backup is made. `*works`: it is there now. */
bool model_back_up(struct vow_log *log, const char *path, bool *works);

#endif
