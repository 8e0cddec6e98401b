/*
 * The coordinator's log under crashes: the lives of the processes that write it. What is asked of a
 * log that is found is in coordinator_model.h, of the witness file beside it in
 * coordinator_witness.h, and of its backups and of what an operator does with them in
 * coordinator_operator.h.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator_model.h"
#include "coordinator_operator.h"
#include "coordinator_txn.h"
#include "coordinator_witness.h"
#include "io/log.h"
#include "side.h"
#include "tests/lib/log_format_5.h"
#include "turns.h"

#define OPEN_MAX     8
#define RECORDS_FEW  5
#define RECORDS_MANY 24
#define COPY_EVERY   8 /* operations: behind these, an older log is put back as well */

static struct {
  struct txn_state txns[TXNS_MAX];
  uint32_t txn_count, copy_count;
  struct vow_log *log;
  struct vow_log_config config;
  struct vow_log_progress progress;
  uint64_t position;    /* of the newest record */
  uint32_t records_max; /* of a group, at times */
  bool patient;         /* some groups wait, behind what is due meanwhile */
  bool lazy;            /* this one does */
  bool sweeping;        /* one call of the disk fails */
  bool healed;          /* and what that call did is over */
  bool was_cut;         /* the power failed since the last process */
  bool is_full;         /* the disk has become full, and what did not fit may still wait */
  bool explained;       /* why the log did not open */
  bool operated;        /* backups are kept, and the log is lost and restored from one */
} story;

/* ---- giving records to the log ---- */

static bool append(struct vow_action *action) {
  action->type = VOW_ACTION_LOG;
  action->u.log.position = ++story.position;
  enum vow_error error = vow_log_append(story.log, action);
  vow_log_flush(story.log, 0);
  return error == VOW_OK || wrong("append: %s", vow_error_text(error));
}

static bool append_record(uint32_t n, bool forced, bool first) {
  struct txn_state *state = &story.txns[n];
  struct vow_txn txn;
  struct vow_action action = {
      .u.log = {
          .record = VOW_RECORD_TXN, .forced = forced && !story.lazy, .first = first, .txn = &txn}};
  txn_fill(&txn, n, state);
  bool ok = append(&action);
  model_note_image(n, story.position, &txn);
  vow_txn_fini(&txn);
  return ok;
}

static bool append_txn(uint32_t n, bool forced) {
  return append_record(n, forced, false);
}

static bool append_ceiling(void) {
  struct vow_id id = vow_id_make(UINT64_C(1800000000000) + story.position, 1, 1);
  struct vow_action action = {
      .u.log = {.record = VOW_RECORD_ID_CEILING, .forced = !story.lazy, .ceiling = id}};
  bool ok = append(&action);
  model_note_ceiling(story.position, id);
  return ok;
}

static bool begin_txn(void) {
  if (story.txn_count == TXNS_MAX) abort();
  uint32_t n = story.txn_count++;
  struct txn_state *state = &story.txns[n];
  *state = (struct txn_state){.keyed = n % 3 == 0};
  bool decided = draw(4) > 0;
  state->state = decided ? VOW_TXN_COMMITTING : VOW_TXN_PREPARING;
  return append_record(n, decided, true);
}

/* Moves an open transaction towards its end, or an ended heuristic one into oblivion. */
static bool move_txn(uint32_t n) {
  struct txn_state *state = &story.txns[n];
  if (state->lost) return true;
  if (state->ended) {
    if (state->heuristic == VOW_HEURISTIC_NONE || state->forgotten) return true;
    state->forgotten = true;
    return append_txn(n, true);
  }
  if (state->state == VOW_TXN_PREPARING) {
    bool abort = draw(2) == 0;
    state->state = abort ? VOW_TXN_ABORTED : VOW_TXN_COMMITTING;
    state->ended = abort;
    return append_txn(n, !abort || state->keyed);
  }
  bool aborting = state->state == VOW_TXN_ABORTING; /* as a reconciliation found */
  state->state = aborting ? VOW_TXN_ABORTED : VOW_TXN_COMMITTED;
  state->ended = true;
  if (draw(8) == 0) state->heuristic = VOW_HEURISTIC_MIXED;
  return append_txn(n, false);
}

/* Few are open at a time, so that what is found can be judged quickly. */
static bool write_something(void) {
  uint32_t kind = draw(10), open = 0, oldest = 0;
  if (kind == 0) return append_ceiling();
  for (uint32_t n = story.txn_count; n-- > 0;) {
    if (story.txns[n].ended || story.txns[n].lost) continue;
    oldest = n;
    open++;
  }
  if (open == 0 || (kind < 6 && open < OPEN_MAX)) return begin_txn();
  return move_txn(oldest + draw(story.txn_count - oldest));
}

/* Called on the log's thread the moment that something is told. */
static void on_wake(void *context) {
  (void)context;
  vow_log_poll(story.log, &story.progress);
  struct model_mark last = model_told_last();
  if (story.progress.durable > last.durable)
    model_note_mark(story.progress.durable, last.incarnation);
}

/* ---- judging ---- */

/* Something was made to go wrong in this process, so it may fail. */
static bool is_forgiven(void) {
  if (disk_faults.seed != 0) return disk_faults.fail_sync == 0;
  return story.sweeping && disk_faults.fail_call == 0 && !story.healed;
}

/* Told by a process that died with the power on: what the witness file still knows, too. */
static struct vow_log_position told_with_power(void) {
  struct model_mark told = model_told_last();
  if (story.was_cut || story.sweeping) return (struct vow_log_position){0};
  return (struct vow_log_position){told.incarnation, told.durable};
}

static bool judge_log(uint32_t cut, struct vow_log_position told) {
  struct vow_log_info info;
  vow_log_info(story.log, &info);
  if (!model_judge_head(&info, cut) || !model_judge_content(story.log, info.position, cut))
    return false;
  /* The call that failed may be the one that was to read it. */
  bool unread = story.sweeping && is_forgiven() && info.quarantined_ms == 0;
  if (!unread && !witness_judge(&info, told, cut)) return false;
  return cut % 8 != 0 || model_check(story.log) || (story.sweeping && is_forgiven());
}

/* ---- a process's life ---- */

static void configure(uint64_t wal_bytes_max) {
  story.config = (struct vow_log_config){.path = OPERATOR_LOG,
                                         .create = true,
                                         .lazy_flush_ms = 1000,
                                         .ahead_min = 1,
                                         .wal_bytes_max = wal_bytes_max,
                                         .retention_age_ms = UINT64_C(1) << 40,
                                         .retention_count = MODEL_KEPT_HISTORY,
                                         .purge_step = 3,
                                         .advertise_url = "http://127.0.0.1:7800",
                                         .wake = on_wake};
}

static bool open_log(void) {
  char text[VOW_LOG_WHY_BYTES];
  witness_look();
  enum vow_error error = vow_log_open(&story.log, &story.config, text);
  if (error == VOW_OK) return true;
  story.log = NULL;
  story.explained = strlen(text) > 20;
  return wrong("the log does not open: %s", text);
}

/* The process ends without another word to the disk. */
static void kill_log(void) {
  disk_faults.dead = true;
  vow_log_close(story.log);
  story.log = NULL;
  disk_faults.dead = false;
}

static bool open_and_judge(uint32_t cut, struct vow_log_position told) {
  if (!open_log()) return false;
  if (judge_log(cut, told)) return true;
  kill_log();
  return false;
}

/* A start that fails says why, and the next one works. */
static bool open_somehow(void) {
  story.explained = false; /* it may have opened, and be wrong */
  if (!open_and_judge(side_now(), told_with_power())) {
    if (!is_forgiven() || !story.explained) return false;
    disk_faults.seed = 0;
    story.healed = true;
    if (!open_and_judge(side_now(), told_with_power())) return false;
  }
  disk_faults.fail_sync = 0;
  disk_faults.seed = 0;
  story.healed = disk_faults.fail_call == 0;
  return true;
}

/* What a process may do in more than one way. The rows of records are written before they are due
 * or not; SQLite's cache is large enough for them or writes pages before the COMMIT; and records
 * wait, also behind purges and checkpoints, or some of each group are due at once. */
static void choose_ways(void) {
  story.config.ahead_min = draw(2); /* 0: as in production */
  sqlite_memory_make_small(draw(2) == 0);
  story.records_max = draw(2) == 0 ? RECORDS_MANY : RECORDS_FEW;
  story.patient = draw(2) == 0;
  story.config.lazy_flush_ms = story.patient ? 60000 : 1000;
}

/* From here on others may rely on what the log has shown. */
static bool begin_process(void) {
  struct vow_log_info info;
  if (!story.sweeping) choose_ways();
  if (!open_somehow()) return false;
  vow_log_info(story.log, &info);
  model_note_start(&info);
  story.position = info.position;
  for (uint32_t n = 0; n < story.txn_count; n++) {
    /* What was lost goes on from what is there, as it was judged just now. */
    const struct model_image *image = model_newest_image(n);
    story.txns[n].lost = image == NULL;
    if (image == NULL) continue;
    story.txns[n].state = image->state;
    story.txns[n].ended = image->ended;
  }
  story.progress = (struct vow_log_progress){.durable = info.position};
  return vow_log_start(story.log) == VOW_OK || wrong("the thread does not start");
}

static bool write_group(void) {
  uint32_t count = 1 + draw(draw(4) == 0 ? story.records_max : RECORDS_FEW);
  uint64_t before = story.position;
  story.lazy = story.patient && draw(2) == 0;
  for (uint32_t i = 0; i < count; i++) {
    if (!write_something()) return false;
  }
  if (mistake == MISTAKE_EARLY_REVEAL && story.position > before)
    model_note_mark(story.position, model_told_last().incarnation);
  if (mistake == MISTAKE_EARLY_WITNESS)
    witness_write_early((struct vow_log_position){model_told_last().incarnation, story.position});
  model_note_boundary(story.position);
  if (draw(6) == 0)
    turns_run_when_due();
  else
    turns_run();
  return true;
}

/* For a while, or until make_room(). */
static void fill_disk(void) {
  disk_faults.full_after = (int)draw(8);
  disk_faults.full_for = 1 + (int)draw(8);
  story.is_full = true;
}

/* What waits for room is written. */
static void make_room(void) {
  disk_faults.full_for = 0;
  if (story.is_full) turns_run_when_due();
  story.is_full = false;
}

/* The question may be what the log fails at. */
static bool look_at_content(void) {
  if (model_judge_content(story.log, story.position, side_now())) return true;
  return story.sweeping ? is_forgiven() : story.progress.error != VOW_OK && disk_faults.seed != 0;
}

/* Kept, or taken away again: what is left of it by a cut is looked at in any case. */
static bool copy_log(void) {
  bool works = true;
  if (!operator_back_up(story.log, story.position, &works)) return false;
  if (!story.operated) operator_remove_backup();
  return works || is_forgiven();
}

static bool wants_copy(enum end end) {
  if (story.operated) return story.progress.error == VOW_OK && draw(3) == 0;
  return end != END_FAILED_SYNC && draw(40) == 0;
}

static bool live(enum end end, uint32_t groups) {
  if (end == END_FAILED_SYNC) disk_faults.seed = draw_seed() | 1;
  uint32_t failing = draw(3);
  for (uint32_t i = 0; i < groups && story.progress.error == VOW_OK; i++) {
    if (end == END_FAILED_SYNC && i == failing) disk_faults.fail_sync = 1 + (int)draw(4);
    if (end != END_FAILED_SYNC && draw(6) == 0) fill_disk();
    if (!write_group()) return false;
    if (story.is_full && draw(3) == 0) continue; /* the next group waits behind this one */
    make_room();
    if (story.progress.error == VOW_OK && draw(5) == 0 && !look_at_content()) return false;
    if (story.progress.error == VOW_OK && draw(story.patient ? 4 : 12) == 0)
      turns_run_when_due(); /* idle: tidies */
    if (wants_copy(end) && !copy_log()) return false;
  }
  if (end == END_CLOSE) make_room();
  if (story.progress.error != VOW_OK && end != END_FAILED_SYNC)
    return wrong("the log failed: %s", story.progress.why);
  if (story.progress.error != VOW_OK && mistake == MISTAKE_FAILED_IS_ABORT)
    model_exclude_above(story.progress.durable);
  return true;
}

static void close_log(void) {
  model_note_boundary(story.position);
  vow_log_close(story.log); /* what fails here is for the next start to say */
  story.log = NULL;
  struct model_mark told = model_told_last();
  if (!story.sweeping)
    witness_note_synced((struct vow_log_position){told.incarnation, told.durable});
}

static void end_process(enum end end) {
  if (end == END_CLOSE)
    close_log();
  else
    kill_log();
  disk_faults.full_for = 0; /* the next one has room */
  story.is_full = false;
  if (end == END_CUT) disk_cut_now(draw_seed());
  story.was_cut = end == END_CUT;
  if (!operator_has_restored(side_now()))
    witness_keep_copy(OPERATOR_LOG, model_told_last().incarnation);
  disk_faults.fail_sync = end == END_FAILED_SYNC && draw(3) == 0 ? 1 + (int)draw(3) : 0;
}

/* What an operator does between two processes. */
static bool operate(uint32_t life) {
  if (operator_has_backup() && (life == 2 || draw(3) == 0)) {
    bool witness_lost;
    if (!operator_restore(&witness_lost)) return false;
    story.was_cut |= witness_lost;
  }
  while (operator_waits() && draw(3) > 0) {
    if (!operator_reconcile()) return false;
  }
  return true;
}

/* A log that was closed cleanly is made one of format 5, in one step. The next start upgrades it.
 */
static bool make_old_log(void) {
  static const char make[] = "PRAGMA locking_mode=EXCLUSIVE; BEGIN;" MAKE_FORMAT_5 "COMMIT";
  sqlite3 *db = NULL;
  if (disk_find(OPERATOR_LOG "-wal") >= 0) return true; /* what closed it failed */
  int failing = disk_faults.fail_call;
  disk_faults.fail_call = 0;
  int code = sqlite3_open(OPERATOR_LOG, &db);
  if (code == SQLITE_OK) code = sqlite3_exec(db, make, NULL, NULL, NULL);
  if (sqlite3_close(db) != SQLITE_OK || disk_find(OPERATOR_LOG "-wal") >= 0) code = SQLITE_BUSY;
  disk_faults.fail_call = failing;
  return code == SQLITE_OK || wrong("the log cannot be made an old one");
}

static bool play_operated(void) {
  uint32_t lives = 3 + draw(2);
  bool ok = true;
  story.operated = true;
  configure(120000);
  for (uint32_t i = 0; ok && i < lives; i++) {
    enum end end = draw_end();
    ok = (i == 0 || operate(i)) && begin_process() && live(end, 2 + draw(4));
    if (!ok) break;
    bool whole = end == END_CLOSE && story.progress.error == VOW_OK;
    end_process(end);
    if (whole && draw(2) == 0) operator_copy_closed(story.position);
  }
  return ok;
}

static bool play(uint64_t seed) {
  /* A frame's header lies across two sectors only where the WAL is long. */
  bool is_long = seed % 4 == 0;
  configure(is_long ? 400000 : 120000);
  uint32_t lives = 3 + draw(3), groups = is_long ? 30 : 10;
  bool ok = true;
  for (uint32_t i = 0; ok && i < lives; i++) {
    enum end end = draw_end();
    ok = begin_process() && live(end, 3 + draw(groups));
    if (!ok) break;
    bool whole = end == END_CLOSE && story.progress.error == VOW_OK;
    end_process(end);
    if (whole && draw(4) > 0) ok = make_old_log();
  }
  return ok;
}

bool side_play(uint64_t seed) {
  bool ok = seed % 4 == 1 ? play_operated() : play(seed);
  if (story.log != NULL) kill_log();
  disk_faults.fail_sync = disk_faults.full_for = 0;
  return ok;
}

static bool live_swept(void) {
  for (uint32_t i = 0; i < 5 && story.progress.error == VOW_OK; i++) {
    if (!write_group()) return false;
    if (story.progress.error == VOW_OK && !look_at_content()) return false;
    if (story.progress.error == VOW_OK && i == 2 && !copy_log()) return false;
    if (story.progress.error == VOW_OK && i == 3) {
      turns_set_ms(turns_now_ms() + 60000); /* quiet for long: it tidies */
      turns_run();
    }
  }
  return story.progress.error == VOW_OK || is_forgiven() ||
         wrong("the log failed: %s", story.progress.why);
}

bool side_sweep(uint32_t call, bool *reached) {
  static const enum end ends[] = {END_CLOSE, END_KILL, END_CLOSE};
  story.sweeping = true;
  configure(120000);
  disk_faults.fail_call = (int)call;
  bool ok = true;
  story.records_max = RECORDS_FEW;
  for (size_t i = 0; ok && i < sizeof ends / sizeof *ends; i++) {
    ok = begin_process() && live_swept();
    if (ok) end_process(ends[i]);
    if (ok && i == 0) ok = make_old_log();
  }
  *reached = disk_faults.fail_call == 0;
  disk_faults.fail_call = 0;
  ok = ok && begin_process();
  if (story.log != NULL) kill_log();
  return ok;
}

bool side_judge(uint32_t cut) {
  uint32_t as_of = cut;
  sqlite_memory_make_small(cut % 2 == 0);
  if (!operator_judge_backups(cut)) return false;
  enum operator_found found = operator_look(&as_of);
  if (found != OPERATOR_LOG_THERE) return found == OPERATOR_HALF_AWAY;
  if (!open_and_judge(as_of, (struct vow_log_position){0})) return false;
  kill_log();
  if (operator_has_restored(cut)) return operator_judge_again(cut);
  return cut % COPY_EVERY != 0 || witness_judge_copy(&story.config, cut);
}

void side_forget(void) {
  memset(&story, 0, sizeof story);
  witness_forget();
  operator_forget();
  model_forget();
}
