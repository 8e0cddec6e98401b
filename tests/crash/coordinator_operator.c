/* See coordinator_operator.h. */
#include "coordinator_operator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "coordinator_model.h"
#include "coordinator_participants.h"
#include "coordinator_witness.h"
#include "side.h"
#include "turns.h"

#define WAL          OPERATOR_LOG "-wal"
#define WITNESS      OPERATOR_LOG "-witness"
#define RESTORES_MAX 8
#define ENDS_MAX     64
#define BACKUPS_MAX  64
#define AGAIN_EVERY  4 /* operations: behind these, a reconciliation is run again */
#define HOUR_MS      3600000

static struct {
  struct backup {
    char path[DISK_NAME_BYTES];
    uint64_t position, incarnation;
    uint32_t from, done, until; /* in the making, there, removed */
  } backups[BACKUPS_MAX];
  uint32_t backup_count;
  struct restore {
    struct backup of;
    uint32_t from, done;
    int64_t log, wal;             /* the files that were moved away; -1: there was none */
    struct vow_log_position lost; /* the furthest that the log had come */
  } restores[RESTORES_MAX];
  uint32_t restore_count;
  struct ending { /* of a quarantine: a batch that may have been written */
    uint64_t position;
    uint32_t from, until;
    struct vow_incarnation judged[4];
    uint32_t judged_count;
  } ends[ENDS_MAX];
  uint32_t end_count;
  struct span { /* a reconciliation was being written */
    uint32_t from, done;
  } written[ENDS_MAX];
  uint32_t written_count;
  bool waits;
  bool judging;              /* nothing is noted */
  char said[SIDE_WHY_BYTES]; /* by the last command */
  char late_name[DISK_NAME_BYTES];
  struct vow_log *late; /* the mistake: it is marked under its own name */
} model;

/* ---- commands ---- */

/* What it prints is kept, not shown. */
static enum ctl_exit run_quietly(enum ctl_exit (*run)(const struct ctl_args *),
                                 const struct ctl_args *args) {
  FILE *out = stdout, *err = stderr;
  char *text = NULL;
  size_t bytes = 0;
  FILE *memory = open_memstream(&text, &bytes);
  if (memory == NULL) abort();
  stdout = stderr = memory;
  enum ctl_exit code = run(args);
  stdout = out;
  stderr = err;
  fclose(memory);
  snprintf(model.said, sizeof model.said, "%s", text);
  free(text);
  return code;
}

static enum ctl_exit run_restore(const char *backup) {
  struct ctl_args args = {.operand = backup};
  args.text[CTL_OPT_LOG] = OPERATOR_LOG;
  if (mistake == MISTAKE_NO_RESTORE_SYNC) disk_faults.lie_about_folder = true;
  if (mistake == MISTAKE_UNSYNCED_RESTORE) disk_faults.lie_about_file = ".restoring-";
  enum ctl_exit code = run_quietly(ctl_restore, &args);
  disk_faults.lie_about_folder = mistake == MISTAKE_NO_FOLDER_SYNC;
  disk_faults.lie_about_file = NULL;
  return code;
}

static enum ctl_exit run_reconcile(bool silent, uint32_t now) {
  struct ctl_args args = {.given = CTL_BIT(CTL_OPT_APPLY) | CTL_BIT(CTL_OPT_YES)};
  args.text[CTL_OPT_LOG] = OPERATOR_LOG;
  args.text[CTL_OPT_PARTICIPANTS] = PARTICIPANTS;
  const struct restore *last = &model.restores[model.restore_count - 1];
  while (last->done > now) last--;
  participants_set((struct participants){.silent = silent,
                                         .now = now,
                                         .lost = last->lost,
                                         .position = last->of.position,
                                         .back = last->done});
  return run_quietly(ctl_reconcile, &args);
}

/* One sync may be made to fail; then it says so, and once more does it. */
static bool run_struck(enum ctl_exit (*run)(const void *), const void *argument,
                       enum ctl_exit expected) {
  if (disk_faults.fail_sync == 0 && draw(2) == 0) disk_faults.fail_sync = 1 + (int)draw(8);
  bool armed = disk_faults.fail_sync > 0;
  disk_faults.seed = draw_seed() | 1;
  enum ctl_exit code = run(argument);
  bool struck = armed && disk_faults.fail_sync == 0;
  disk_faults.fail_sync = 0;
  disk_faults.seed = 0;
  if (code != expected && struck) {
    if (code != CTL_EXIT_FAILED || strlen(model.said) < 40)
      return wrong("it ends with %d where a sync fails: %s", (int)code, model.said);
    code = run(argument);
  }
  return code == expected || wrong("vowctl ends with %d: %s", (int)code, model.said);
}

/* ---- backups ---- */

/* NULL: there was none yet. */
static struct backup *last_backup(void) {
  return model.backup_count == 0 ? NULL : &model.backups[model.backup_count - 1];
}

void operator_remove_backup(void) {
  struct backup *backup = last_backup();
  if (backup == NULL || backup->until != MODEL_NEVER) return;
  backup->until = side_now();
  disk_remove(backup->path);
}

static struct backup *begin_backup(uint64_t position) {
  operator_remove_backup();
  if (model.backup_count == BACKUPS_MAX) abort();
  struct backup *backup = &model.backups[model.backup_count++];
  *backup = (struct backup){.position = position,
                            .incarnation = model_told_last().incarnation,
                            .from = side_now(),
                            .done = MODEL_NEVER,
                            .until = MODEL_NEVER};
  snprintf(backup->path, sizeof backup->path, DISK_FOLDER "/copy-%u", model.backup_count);
  return backup;
}

bool operator_back_up(struct vow_log *log, uint64_t position, bool *works) {
  struct backup *backup = begin_backup(position);
  if (mistake == MISTAKE_UNSYNCED_BACKUP) disk_faults.lie_about_file = ".partial-";
  bool ok = model_back_up(log, backup->path, works);
  disk_faults.lie_about_file = NULL;
  if (ok && *works) backup->done = side_now();
  return ok;
}

bool operator_has_backup(void) {
  const struct backup *backup = last_backup();
  return backup != NULL && backup->done != MODEL_NEVER && backup->until == MODEL_NEVER;
}

void operator_copy_closed(uint64_t position) {
  uint8_t part[65536];
  int64_t log = disk_find(OPERATOR_LOG);
  if (log < 0 || disk_find(WAL) >= 0) return;
  struct backup *backup = begin_backup(position);
  uint32_t copy = disk_create(backup->path);
  uint64_t bytes = disk_size((uint32_t)log);
  for (uint64_t at = 0; at < bytes; at += sizeof part) {
    size_t length = bytes - at < sizeof part ? (size_t)(bytes - at) : sizeof part;
    disk_read((uint32_t)log, part, length, at);
    disk_write(copy, part, length, at);
  }
  (void)disk_sync(copy);
  disk_sync_folder();
  backup->from = backup->done = side_now(); /* halves of it are not vow's */
}

static bool judge_backup(const struct backup *backup, uint32_t cut) {
  struct vow_log_config config = {.path = backup->path, .read_only = true};
  struct vow_log_info info;
  struct vow_log *log = NULL;
  char why[VOW_LOG_WHY_BYTES];
  if (cut < backup->from || cut >= backup->until) return true;
  if (disk_find(backup->path) < 0)
    return cut < backup->done || wrong("a backup is gone that was called done");
  if (cut > backup->done && cut % 16 != 0) return true;
  if (vow_log_open(&log, &config, why) != VOW_OK) return wrong("a backup does not open: %s", why);
  vow_log_info(log, &info);
  bool ok = info.position == backup->position ||
            wrong("a backup is at position %llu, and was made at %llu",
                  (unsigned long long)info.position, (unsigned long long)backup->position);
  ok = ok && model_judge_content(log, info.position, backup->from) && model_check(log);
  vow_log_close(log);
  return ok;
}

bool operator_judge_backups(uint32_t cut) {
  for (uint32_t i = 0; i < model.backup_count; i++) {
    if (!judge_backup(&model.backups[i], cut)) return false;
  }
  return true;
}

/* ---- restoring ---- */

static enum ctl_exit restore_it(const void *backup) {
  return run_restore(backup);
}

/* As the runbook has it; `mv` syncs nothing. */
static void move_away(const char *path) {
  char to[DISK_NAME_BYTES];
  snprintf(to, sizeof to, DISK_FOLDER "/lost-%u%s", model.restore_count,
           strcmp(path, WAL) == 0 ? "-wal" : "");
  disk_rename(path, to);
}

bool operator_restore(bool *witness_lost) {
  struct model_mark told = model_told_last();
  if (model.restore_count == RESTORES_MAX) abort();
  struct restore *restore = &model.restores[model.restore_count];
  *restore = (struct restore){.of = *last_backup(),
                              .from = side_now(),
                              .done = MODEL_NEVER,
                              .log = disk_find(OPERATOR_LOG),
                              .wal = disk_find(WAL),
                              .lost = {told.incarnation, told.durable}};
  model.restore_count++;
  move_away(OPERATOR_LOG);
  move_away(WAL);
  *witness_lost = draw(3) == 0;
  if (*witness_lost) {
    witness_note_synced((struct vow_log_position){0});
    disk_remove(WITNESS);
  }
  if (draw(2) == 0) disk_sync_folder();
  turns_set_ms(turns_now_ms() + HOUR_MS);
  if (!run_struck(restore_it, restore->of.path, CTL_EXIT_OK)) return false;
  restore->done = side_now();
  model_exclude_above(restore->of.position);
  for (uint32_t i = 0; i < model.end_count; i++) {
    struct ending *end = &model.ends[i];
    if (end->position > restore->of.position && end->until == MODEL_NEVER) end->until = side_now();
  }
  model_note_mark(restore->of.position, told.incarnation);
  return model.waits = true;
}

bool operator_has_restored(uint32_t cut) {
  return model.restore_count > 0 && model.restores[0].from <= cut;
}

bool operator_waits(void) {
  return model.waits;
}

/* ---- reconciling ---- */

static enum ctl_exit reconcile_it(const void *silent) {
  return run_reconcile(silent != NULL, side_now());
}

bool operator_reconcile(void) {
  bool silent = draw(4) == 0;
  if (model.written_count == ENDS_MAX) abort();
  struct span *span = &model.written[model.written_count++];
  *span = (struct span){side_now(), MODEL_NEVER};
  bool ok = run_struck(reconcile_it, silent ? "" : NULL, silent ? CTL_EXIT_ATTENTION : CTL_EXIT_OK);
  span->done = side_now();
  if (!silent) model.waits = false;
  return ok;
}

static uint64_t larger(uint64_t a, uint64_t b) {
  return a > b ? a : b;
}

/* Beyond all that anybody has seen, and all that is written. */
static uint64_t end_position(const struct vow_log_reconciled *what, const struct vow_log_info *info,
                             uint64_t position) {
  for (uint32_t i = 0; i < what->judged_count; i++)
    position = larger(position, what->judged[i].until);
  return larger(larger(position, what->position_above), info->seen.position) + 1;
}

static void note_end(const struct vow_log_reconciled *what, const struct vow_log_info *info,
                     uint64_t position) {
  struct vow_id ceiling = info->id_from;
  if (model.end_count == ENDS_MAX) abort();
  struct ending *end = &model.ends[model.end_count++];
  *end = (struct ending){.position = position, .from = side_now(), .until = MODEL_NEVER};
  for (uint32_t i = 0; i < what->judged_count && i < 4; i++)
    end->judged[end->judged_count++] = what->judged[i];
  if (vow_id_compare(what->ids_above, ceiling) > 0) ceiling = what->ids_above;
  model_note_ceiling(position, ceiling);
}

/* What is about to be written, of a log that has shown where it stands. */
static void note_written(const struct vow_log *log, const struct vow_log_reconciled *what) {
  struct vow_log_info info;
  vow_log_info(log, &info);
  uint64_t position = info.position;
  model_exclude_above(position);
  for (uint32_t i = 0; i < model.end_count; i++) {
    struct ending *end = &model.ends[i];
    if (end->position > position && end->until == MODEL_NEVER) end->until = side_now();
  }
  model_note_mark(position, info.incarnation);
  for (uint32_t i = 0; i < what->count; i++)
    model_note_image(participants_txn_number(what->txns[i].id), ++position, &what->txns[i]);
  if (what->leave) {
    position = end_position(what, &info, position);
    note_end(what, &info, position);
  }
  model_note_boundary(position);
}

/* ---- judging ---- */

static bool is_possible(const struct ending *end, uint64_t position, uint32_t cut) {
  return end->from <= cut && cut < end->until && end->position <= position;
}

static bool is_judged(struct vow_log_position at, uint64_t position, uint32_t cut) {
  for (uint32_t i = 0; i < model.end_count; i++) {
    const struct ending *end = &model.ends[i];
    if (!is_possible(end, position, cut)) continue;
    for (uint32_t j = 0; j < end->judged_count; j++) {
      if (end->judged[j].number == at.incarnation && at.position <= end->judged[j].until)
        return true;
    }
  }
  return false;
}

bool operator_expects_quarantine(uint64_t position, struct vow_log_position witnessed,
                                 uint32_t cut) {
  const struct restore *last = NULL;
  bool ended = false, unknown = false;
  for (uint32_t i = 0; i < model.restore_count && model.restores[i].done <= cut; i++) {
    last = &model.restores[i];
    struct vow_log_position came = {last->of.incarnation, last->of.position};
    unknown |= vow_log_position_compare(witnessed, came) > 0 &&
               witnessed.incarnation <= last->lost.incarnation;
  }
  for (uint32_t i = 0; last != NULL && i < model.end_count; i++)
    ended |= model.ends[i].from >= last->done && is_possible(&model.ends[i], position, cut);
  return last != NULL && (!ended || (unknown && !is_judged(witnessed, position, cut)));
}

bool operator_expects_mark(uint32_t cut) {
  return model.restore_count > 0 && model.restores[0].done <= cut &&
         (model.end_count == 0 || model.ends[0].from > cut);
}

static enum ctl_exit restore_again(const struct restore *restore) {
  move_away(WAL); /* a part of the old log that came back */
  return run_restore(restore->of.path);
}

enum operator_found operator_look(uint32_t *cut) {
  const struct restore *restore = NULL;
  for (uint32_t i = 0; i < model.restore_count; i++) {
    if (model.restores[i].from <= *cut && *cut < model.restores[i].done)
      restore = &model.restores[i];
  }
  if (restore == NULL) return OPERATOR_LOG_THERE;
  int64_t log = disk_find(OPERATOR_LOG);
  if (log == restore->log)
    return disk_find(WAL) == restore->wal ? OPERATOR_LOG_THERE : OPERATOR_HALF_AWAY;
  if (log < 0 && restore_again(restore) != CTL_EXIT_OK) {
    (void)wrong("the restore that was cut off is not done again: %s", model.said);
    return OPERATOR_WRONG;
  }
  *cut = restore->done;
  return OPERATOR_LOG_THERE;
}

static bool is_cut_off(uint32_t cut) {
  for (uint32_t i = 0; i < model.written_count; i++) {
    if (model.written[i].from < cut && cut < model.written[i].done) return true;
  }
  return false;
}

bool operator_judge_again(uint32_t cut) {
  struct vow_log_config config = {.path = OPERATOR_LOG, .read_only = true};
  struct vow_log_info info;
  struct vow_log *log = NULL;
  char why[VOW_LOG_WHY_BYTES];
  if (cut % AGAIN_EVERY != 0 || !is_cut_off(cut)) return true;
  model.judging = true;
  enum ctl_exit code = run_reconcile(false, cut);
  model.judging = false;
  if (code != CTL_EXIT_OK)
    return wrong("the reconciliation that was cut off is not done again: %s", model.said);
  if (vow_log_open(&log, &config, why) != VOW_OK)
    return wrong("a log that was reconciled does not open: %s", why);
  vow_log_info(log, &info);
  bool ok = (info.quarantined_ms == 0 || wrong("a log that was reconciled is in quarantine")) &&
            model_check(log);
  vow_log_close(log);
  return ok;
}

void operator_forget(void) {
  memset(&model, 0, sizeof model);
}

/* ---- what the commands call, and mistakes ---- */

#define WRAPPED(result, name, ...)   \
  result __real_##name(__VA_ARGS__); \
  result __wrap_##name(__VA_ARGS__); \
  result __wrap_##name(__VA_ARGS__)

/* First the end of the quarantine, then the decisions. */
static enum vow_error write_twice(struct vow_log *log, const struct vow_log_reconciled *what,
                                  char why[VOW_LOG_WHY_BYTES]);

WRAPPED(enum vow_error, vow_log_reconcile, struct vow_log *log,
        const struct vow_log_reconciled *what, char why[VOW_LOG_WHY_BYTES]) {
  if (!model.judging) note_written(log, what);
  if (mistake == MISTAKE_TWO_WRITES && what->leave) return write_twice(log, what, why);
  return __real_vow_log_reconcile(log, what, why);
}

static enum vow_error write_twice(struct vow_log *log, const struct vow_log_reconciled *what,
                                  char why[VOW_LOG_WHY_BYTES]) {
  struct vow_log_reconciled end = *what, decisions = *what;
  end.count = 0;
  decisions.leave = false;
  decisions.suspected = NULL;
  enum vow_error error = __real_vow_log_reconcile(log, &end, why);
  return error == VOW_OK ? __real_vow_log_reconcile(log, &decisions, why) : error;
}

/* The copy has the log's name while it is being marked. */
WRAPPED(enum vow_error, vow_log_open, struct vow_log **out, const struct vow_log_config *config,
        char why[VOW_LOG_WHY_BYTES]) {
  struct vow_log_config named = *config;
  if (mistake != MISTAKE_LATE_MARK || config->restored_from == NULL)
    return __real_vow_log_open(out, config, why);
  disk_rename(config->path, OPERATOR_LOG);
  named.path = OPERATOR_LOG;
  enum vow_error error = __real_vow_log_open(out, &named, why);
  if (error == VOW_OK) {
    model.late = *out;
  } else {
    disk_rename(OPERATOR_LOG, config->path);
    disk_remove(WAL);
  }
  snprintf(model.late_name, sizeof model.late_name, "%s", config->path);
  return error;
}

WRAPPED(void, vow_log_close, struct vow_log *log) {
  bool late = log != NULL && log == model.late;
  __real_vow_log_close(log);
  if (late) disk_rename(OPERATOR_LOG, model.late_name);
  model.late = late ? NULL : model.late;
}
