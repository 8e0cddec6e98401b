/*
 * The coordinator's log under crashes. The workload keeps a model: which image of which transaction
 * was given to the log at which position, and how far the log has called itself durable. A log that
 * is opened after a crash names a position; it must be one where a batch ended, at or above what
 * was called durable, and what the log then holds must be exactly the newest images up to it. An
 * image is no longer possible once an opened log has shown a lower position.
 *
 * Purged rows are the one freedom: an ended transaction may be missing if the rules of purging
 * allow it. What is asked of the witness file beside the log is in coordinator_witness.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator_txn.h"
#include "coordinator_witness.h"
#include "io/log.h"
#include "side.h"
#include "turns.h"

#define LOG_PATH     DISK_FOLDER "/vow.log"
#define TXNS_MAX     512
#define IMAGES_MAX   2048
#define MARKS_MAX    4096
#define NEVER        UINT32_MAX
#define KEPT_HISTORY 6
#define OPEN_MAX     8
#define COPY_EVERY   8 /* operations: behind these, an older log is put back as well */

/* ---- the model ---- */

struct image {
  uint32_t txn;
  uint64_t position, digest;
  enum vow_txn_state state;
  bool ended, kept;
  uint32_t from, until; /* possible at cuts in this range */
};

struct ceiling {
  struct vow_id id;
  uint64_t position;
  uint32_t from, until;
};

struct boundary { /* a batch may have ended here */
  uint64_t position;
  uint32_t from, until;
};

struct mark { /* what was told to others by then */
  uint32_t at;
  uint64_t durable, incarnation;
};

static struct {
  struct image images[IMAGES_MAX];
  struct ceiling ceilings[MARKS_MAX];
  struct boundary boundaries[MARKS_MAX];
  struct mark marks[MARKS_MAX];
  struct txn_state txns[TXNS_MAX];
  uint32_t image_count, ceiling_count, boundary_count, mark_count, txn_count, copy_count;
  struct vow_log *log;
  struct vow_log_config config;
  struct vow_log_progress progress;
  uint64_t position; /* of the newest record */
  uint64_t created_ms;
  struct vow_id first_ceiling; /* of the log as it was made */
  bool sweeping;               /* one call of the disk fails */
  bool healed;                 /* and what that call did is over */
  bool was_cut;                /* the power failed since the last process */
  bool explained;              /* why the log did not open */
} model;

static void note_mark(uint64_t durable, uint64_t incarnation) {
  if (model.mark_count == MARKS_MAX) abort();
  model.marks[model.mark_count++] =
      (struct mark){.at = side_now(), .durable = durable, .incarnation = incarnation};
}

static struct mark mark_at(uint32_t cut) {
  struct mark mark = {0};
  for (uint32_t i = 0; i < model.mark_count && model.marks[i].at <= cut; i++) mark = model.marks[i];
  return mark;
}

static bool is_possible(uint32_t from, uint32_t until, uint32_t cut) {
  return from <= cut && cut < until;
}

/* What stands above `position` has not happened and never will. */
static void exclude_above(uint64_t position) {
  uint32_t now = side_now();
  for (uint32_t i = 0; i < model.image_count; i++) {
    struct image *image = &model.images[i];
    if (image->position > position && image->until == NEVER) image->until = now;
  }
  for (uint32_t i = 0; i < model.ceiling_count; i++) {
    struct ceiling *ceiling = &model.ceilings[i];
    if (ceiling->position > position && ceiling->until == NEVER) ceiling->until = now;
  }
  for (uint32_t i = 0; i < model.boundary_count; i++) {
    struct boundary *boundary = &model.boundaries[i];
    if (boundary->position > position && boundary->until == NEVER) boundary->until = now;
  }
}

static void note_boundary(void) {
  struct boundary *last = &model.boundaries[model.boundary_count];
  if (model.boundary_count > 0 && last[-1].position == model.position && last[-1].until == NEVER)
    return;
  if (model.boundary_count == MARKS_MAX) abort();
  *last = (struct boundary){.position = model.position, .from = side_now(), .until = NEVER};
  model.boundary_count++;
}

/* ---- giving records to the log ---- */

static bool append(struct vow_action *action) {
  action->type = VOW_ACTION_LOG;
  action->u.log.position = ++model.position;
  enum vow_error error = vow_log_append(model.log, action);
  return error == VOW_OK || wrong("append: %s", vow_error_text(error));
}

static bool append_txn(uint32_t n, bool forced) {
  struct txn_state *state = &model.txns[n];
  struct vow_txn txn;
  struct vow_action action = {.u.log = {.record = VOW_RECORD_TXN, .forced = forced, .txn = &txn}};
  txn_fill(&txn, n, state);
  bool ok = append(&action);
  if (model.image_count == IMAGES_MAX) abort();
  model.images[model.image_count++] =
      (struct image){.txn = n,
                     .position = model.position,
                     .digest = txn_digest(&txn),
                     .ended = state->ended,
                     .state = state->state,
                     .kept = state->heuristic != VOW_HEURISTIC_NONE && !state->forgotten,
                     .from = side_now(),
                     .until = NEVER};
  vow_txn_fini(&txn);
  return ok;
}

static bool append_ceiling(void) {
  struct vow_id id = vow_id_make(UINT64_C(1800000000000) + model.position, 1, 1);
  struct vow_action action = {
      .u.log = {.record = VOW_RECORD_ID_CEILING, .forced = true, .ceiling = id}};
  bool ok = append(&action);
  if (model.ceiling_count == MARKS_MAX) abort();
  model.ceilings[model.ceiling_count++] =
      (struct ceiling){.id = id, .position = model.position, .from = side_now(), .until = NEVER};
  return ok;
}

static bool begin_txn(void) {
  if (model.txn_count == TXNS_MAX) abort();
  uint32_t n = model.txn_count++;
  struct txn_state *state = &model.txns[n];
  *state = (struct txn_state){.keyed = n % 3 == 0};
  bool decided = draw(4) > 0;
  state->state = decided ? VOW_TXN_COMMITTING : VOW_TXN_PREPARING;
  return append_txn(n, decided);
}

/* Moves an open transaction towards its end, or an ended heuristic one into oblivion. */
static bool move_txn(uint32_t n) {
  struct txn_state *state = &model.txns[n];
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
  state->state = VOW_TXN_COMMITTED;
  state->ended = true;
  if (draw(8) == 0) state->heuristic = VOW_HEURISTIC_MIXED;
  return append_txn(n, false);
}

/* Few are open at a time, so that what is found can be judged quickly. */
static bool write_something(void) {
  uint32_t kind = draw(10), open = 0, oldest = 0;
  if (kind == 0) return append_ceiling();
  for (uint32_t n = model.txn_count; n-- > 0;) {
    if (model.txns[n].ended || model.txns[n].lost) continue;
    oldest = n;
    open++;
  }
  if (open == 0 || (kind < 6 && open < OPEN_MAX)) return begin_txn();
  return move_txn(oldest + draw(model.txn_count - oldest));
}

/* Called on the log's thread the moment that something is told. */
static void on_wake(void *context) {
  (void)context;
  vow_log_poll(model.log, &model.progress);
  struct mark last = mark_at(NEVER - 1);
  if (model.progress.durable > last.durable) note_mark(model.progress.durable, last.incarnation);
}

/* ---- judging ---- */

struct rows {
  struct vow_txn rows[TXNS_MAX];
  uint32_t count;
  struct vow_id purged_to;
  enum vow_error error;
  bool done;
  char why[VOW_LOG_WHY_BYTES];
};

static void take_rows(void *context, const struct vow_log_result *result) {
  struct rows *out = context;
  out->done = true;
  out->error = result->error;
  if (result->error == VOW_OK && result->rows_bad > 0) out->error = VOW_E_LOG_CORRUPT;
  out->purged_to = result->purged_to;
  snprintf(out->why, sizeof out->why, "%s", result->why == NULL ? "" : result->why);
  for (uint32_t i = 0; i < result->count && out->count < TXNS_MAX; i++) {
    out->rows[out->count++] = result->rows[i];
    result->rows[i] = (struct vow_txn){0};
  }
}

/* One set of rows is enough: they are asked for and judged one at a time. */
static struct rows *new_rows(void) {
  static struct rows rows;
  rows.count = 0;
  return &rows;
}

static void free_rows(struct rows *rows) {
  for (uint32_t i = 0; i < rows->count; i++) vow_txn_fini(&rows->rows[i]);
  rows->count = 0;
}

/* On a log that runs its thread, or at once. */
static bool ask(struct vow_log *log, struct vow_log_query query, struct rows *out) {
  out->done = false;
  query.done = take_rows;
  query.context = out;
  if (vow_log_query_now(log, &query) != VOW_OK) {
    if (vow_log_query(log, &query) != VOW_OK) return wrong("the log takes no query");
    turns_run();
  }
  if (!out->done) return wrong("a query was not answered");
  return out->error == VOW_OK || wrong("a query was answered: %s", out->why);
}

/* The newest possible image of each transaction up to the position; NULL: there is none. */
static const struct image *newest[TXNS_MAX];

static void find_newest(uint64_t position, uint32_t cut) {
  memset(newest, 0, sizeof newest);
  for (uint32_t i = 0; i < model.image_count; i++) {
    const struct image *image = &model.images[i];
    if (image->position <= position && is_possible(image->from, image->until, cut))
      newest[image->txn] = image;
  }
}

static const struct vow_txn *find_row(const struct rows *rows, uint32_t txn) {
  struct vow_id id = txn_id(txn);
  for (uint32_t i = 0; i < rows->count; i++) {
    if (vow_id_compare(rows->rows[i].id, id) == 0) return &rows->rows[i];
  }
  return NULL;
}

/* Purging leaves KEPT_HISTORY, takes the oldest ends first, and names the commits that it took.
 * What is there and ended before must have come after that. */
static bool may_be_purged(const struct image *image, const struct rows *rows) {
  uint32_t left = 0;
  if (!image->ended || image->kept) return false;
  for (uint32_t i = 0; i < model.txn_count; i++) {
    const struct image *other = newest[i];
    if (other == NULL || !other->ended || find_row(rows, i) == NULL) continue;
    left++;
    if (!other->kept && i < image->txn && other->position < image->position) return false;
  }
  if (left < KEPT_HISTORY) return false;
  return image->state != VOW_TXN_COMMITTED ||
         vow_id_compare(rows->purged_to, txn_id(image->txn)) >= 0;
}

static bool judge_rows(const struct rows *rows, uint64_t position, uint32_t cut) {
  uint32_t known = 0;
  find_newest(position, cut);
  for (uint32_t n = 0; n < model.txn_count; n++) {
    const struct image *image = newest[n];
    const struct vow_txn *row = find_row(rows, n);
    if (image == NULL && row != NULL)
      return wrong("transaction %u is there at position %llu, and was not yet given to the log", n,
                   (unsigned long long)position);
    if (image == NULL) continue;
    if (row == NULL && !may_be_purged(image, rows))
      return wrong("transaction %u is gone: position %llu is there, and its record was at %llu", n,
                   (unsigned long long)position, (unsigned long long)image->position);
    if (row != NULL && txn_digest(row) != image->digest)
      return wrong("transaction %u is %s, not as it was written at position %llu", n,
                   vow_txn_state_name(row->state), (unsigned long long)image->position);
    known += row != NULL;
  }
  return known == rows->count ||
         wrong("the log has %u rows, and %u of them are known", rows->count, known);
}

static bool judge_content(struct vow_log *log, uint64_t position, uint32_t cut) {
  struct rows *rows = new_rows();
  bool ok =
      ask(log, (struct vow_log_query){.type = VOW_LOG_QUERY_OPEN_PAGE}, rows) &&
      ask(log, (struct vow_log_query){.type = VOW_LOG_QUERY_LIST, .limit = 1000, .heuristic = -1},
          rows);
  ok = ok && judge_rows(rows, position, cut);
  free_rows(rows);
  return ok;
}

static bool judge_head(const struct vow_log_info *info, uint32_t cut) {
  struct mark told = mark_at(cut);
  struct vow_id ceiling = model.first_ceiling;
  bool at_boundary = info->position == 0;
  for (uint32_t i = 0; i < model.boundary_count; i++) {
    const struct boundary *boundary = &model.boundaries[i];
    at_boundary |=
        boundary->position == info->position && is_possible(boundary->from, boundary->until, cut);
  }
  for (uint32_t i = 0; i < model.ceiling_count; i++) {
    const struct ceiling *c = &model.ceilings[i];
    if (c->position <= info->position && is_possible(c->from, c->until, cut)) ceiling = c->id;
  }
  if (info->position < told.durable)
    return wrong("the log is back at position %llu, and %llu was called durable",
                 (unsigned long long)info->position, (unsigned long long)told.durable);
  if (!at_boundary)
    return wrong("position %llu is there, where no batch ended",
                 (unsigned long long)info->position);
  if (info->incarnation <= told.incarnation)
    return wrong("incarnation %llu was used before", (unsigned long long)info->incarnation);
  if (told.incarnation > 0 && vow_id_compare(info->id_ceiling, ceiling) != 0)
    return wrong("the ceiling of ids is not the last one up to position %llu",
                 (unsigned long long)info->position);
  if (told.incarnation > 0 && info->created_ms != model.created_ms)
    return wrong("the log is another one");
  return true;
}

/* Something was made to go wrong in this process, so it may fail. */
static bool is_forgiven(void) {
  if (disk_faults.seed != 0) return disk_faults.fail_sync == 0;
  return model.sweeping && disk_faults.fail_call == 0 && !model.healed;
}

/* Told by a process that died with the power on: what the witness file still knows, too. */
static struct vow_log_position told_with_power(void) {
  struct mark told = mark_at(NEVER - 1);
  if (model.was_cut || model.sweeping) return (struct vow_log_position){0};
  return (struct vow_log_position){told.incarnation, told.durable};
}

static bool judge_log(uint32_t cut, struct vow_log_position told) {
  struct vow_log_info info;
  vow_log_info(model.log, &info);
  if (!judge_head(&info, cut) || !judge_content(model.log, info.position, cut)) return false;
  /* The call that failed may be the one that was to read it. */
  bool unread = model.sweeping && is_forgiven() && info.quarantined_ms == 0;
  if (!unread && !witness_judge(&info, told, cut)) return false;
  if (cut % 8 != 0) return true;
  struct rows *rows = new_rows();
  bool ok = ask(model.log, (struct vow_log_query){.type = VOW_LOG_QUERY_CHECK}, rows);
  free_rows(rows);
  return ok || (model.sweeping && is_forgiven());
}

/* ---- a process's life ---- */

static void configure(uint64_t wal_bytes_max) {
  model.config = (struct vow_log_config){.path = LOG_PATH,
                                         .create = true,
                                         .lazy_flush_ms = 1000,
                                         .wal_bytes_max = wal_bytes_max,
                                         .retention_age_ms = UINT64_C(1) << 40,
                                         .retention_count = KEPT_HISTORY,
                                         .purge_step = 3,
                                         .advertise_url = "http://127.0.0.1:7800",
                                         .wake = on_wake};
}

static bool open_log(void) {
  char text[VOW_LOG_WHY_BYTES];
  witness_look();
  enum vow_error error = vow_log_open(&model.log, &model.config, text);
  if (error == VOW_OK) return true;
  model.log = NULL;
  model.explained = strlen(text) > 20;
  return wrong("the log does not open: %s", text);
}

/* The process ends without another word to the disk. */
static void kill_log(void) {
  disk_faults.dead = true;
  vow_log_close(model.log);
  model.log = NULL;
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
  model.explained = false; /* it may have opened, and be wrong */
  if (!open_and_judge(side_now(), told_with_power())) {
    if (!is_forgiven() || !model.explained) return false;
    disk_faults.seed = 0;
    model.healed = true;
    if (!open_and_judge(side_now(), told_with_power())) return false;
  }
  disk_faults.fail_sync = 0;
  disk_faults.seed = 0;
  model.healed = disk_faults.fail_call == 0;
  return true;
}

/* From here on others may rely on what the log has shown. */
static bool begin_process(void) {
  struct vow_log_info info;
  if (!open_somehow()) return false;
  vow_log_info(model.log, &info);
  if (mark_at(NEVER - 1).incarnation == 0) {
    model.created_ms = info.created_ms;
    model.first_ceiling = info.id_ceiling;
  }
  exclude_above(info.position);
  model.position = info.position;
  note_mark(info.position, info.incarnation);
  for (uint32_t n = 0; n < model.txn_count; n++) { /* what was lost goes on from what is there */
    const struct image *image = newest[n];         /* as it was judged just now */
    model.txns[n].lost = image == NULL;
    if (image == NULL) continue;
    model.txns[n].state = image->state;
    model.txns[n].ended = image->ended;
  }
  model.progress = (struct vow_log_progress){.durable = info.position};
  return vow_log_start(model.log) == VOW_OK || wrong("the thread does not start");
}

static bool write_group(void) {
  uint32_t count = 1 + draw(5);
  uint64_t before = model.position;
  for (uint32_t i = 0; i < count; i++) {
    if (!write_something()) return false;
  }
  if (mistake == MISTAKE_EARLY_REVEAL && model.position > before)
    note_mark(model.position, mark_at(NEVER - 1).incarnation);
  if (mistake == MISTAKE_EARLY_WITNESS)
    witness_write_early((struct vow_log_position){mark_at(NEVER - 1).incarnation, model.position});
  note_boundary();
  if (draw(6) == 0)
    turns_run_when_due();
  else
    turns_run();
  return true;
}

/* The question may be what the log fails at. */
static bool look_at_content(void) {
  if (judge_content(model.log, model.position, side_now())) return true;
  return model.sweeping ? is_forgiven() : model.progress.error != VOW_OK && disk_faults.seed != 0;
}

static bool copy_log(void) {
  char path[DISK_NAME_BYTES];
  snprintf(path, sizeof path, DISK_FOLDER "/copy-%u", ++model.copy_count);
  struct rows *rows = new_rows();
  struct vow_log_query query = {.type = VOW_LOG_QUERY_BACKUP, .path = path};
  rows->done = false;
  query.done = take_rows;
  query.context = rows;
  bool ok = vow_log_query(model.log, &query) == VOW_OK || wrong("the log takes no query");
  for (int i = 0; ok && !rows->done && i < 100; i++) turns_run();
  if (ok && !rows->done) ok = wrong("the backup does not end");
  if (ok && rows->error != VOW_OK && !is_forgiven()) ok = wrong("the backup failed: %s", rows->why);
  free_rows(rows);
  disk_remove(path);
  return ok;
}

static bool live(enum end end, uint32_t groups) {
  if (end == END_FAILED_SYNC) disk_faults.seed = draw_seed() | 1;
  uint32_t failing = draw(3);
  for (uint32_t i = 0; i < groups && model.progress.error == VOW_OK; i++) {
    if (end == END_FAILED_SYNC && i == failing) disk_faults.fail_sync = 1 + (int)draw(4);
    if (!write_group()) return false;
    if (model.progress.error == VOW_OK && draw(5) == 0 && !look_at_content()) return false;
    if (model.progress.error == VOW_OK && draw(12) == 0) turns_run_when_due(); /* idle: tidies */
    if (end != END_FAILED_SYNC && draw(40) == 0 && !copy_log()) return false;
  }
  if (model.progress.error != VOW_OK && end != END_FAILED_SYNC)
    return wrong("the log failed: %s", model.progress.why);
  if (model.progress.error != VOW_OK && mistake == MISTAKE_FAILED_IS_ABORT)
    exclude_above(model.progress.durable);
  return true;
}

static void close_log(void) {
  note_boundary();
  vow_log_close(model.log); /* what fails here is for the next start to say */
  model.log = NULL;
  struct mark told = mark_at(NEVER - 1);
  if (!model.sweeping)
    witness_note_synced((struct vow_log_position){told.incarnation, told.durable});
}

static void end_process(enum end end) {
  if (end == END_CLOSE)
    close_log();
  else
    kill_log();
  if (end == END_CUT) disk_cut_now(draw_seed());
  model.was_cut = end == END_CUT;
  witness_keep_copy(LOG_PATH, mark_at(NEVER - 1).incarnation);
  disk_faults.fail_sync = end == END_FAILED_SYNC && draw(3) == 0 ? 1 + (int)draw(3) : 0;
}

bool side_play(uint64_t seed) {
  /* A frame's header lies across two sectors only where the WAL is long. */
  bool is_long = seed % 4 == 0;
  configure(is_long ? 400000 : 120000);
  uint32_t lives = 3 + draw(3), groups = is_long ? 30 : 10;
  bool ok = true;
  for (uint32_t i = 0; ok && i < lives; i++) {
    enum end end = draw_end();
    ok = begin_process() && live(end, 3 + draw(groups));
    if (ok) end_process(end);
  }
  if (model.log != NULL) kill_log();
  disk_faults.fail_sync = 0;
  return ok;
}

static bool live_swept(void) {
  for (uint32_t i = 0; i < 5 && model.progress.error == VOW_OK; i++) {
    if (!write_group()) return false;
    if (model.progress.error == VOW_OK && !look_at_content()) return false;
    if (model.progress.error == VOW_OK && i == 2 && !copy_log()) return false;
    if (model.progress.error == VOW_OK && i == 3) {
      turns_set_ms(turns_now_ms() + 60000); /* quiet for long: it tidies */
      turns_run();
    }
  }
  return model.progress.error == VOW_OK || is_forgiven() ||
         wrong("the log failed: %s", model.progress.why);
}

bool side_sweep(uint32_t call, bool *reached) {
  static const enum end ends[] = {END_CLOSE, END_KILL, END_CLOSE};
  model.sweeping = true;
  configure(120000);
  disk_faults.fail_call = (int)call;
  bool ok = true;
  for (size_t i = 0; ok && i < sizeof ends / sizeof *ends; i++) {
    ok = begin_process() && live_swept();
    if (ok) end_process(ends[i]);
  }
  *reached = disk_faults.fail_call == 0;
  disk_faults.fail_call = 0;
  ok = ok && begin_process();
  if (model.log != NULL) kill_log();
  return ok;
}

bool side_judge(uint32_t cut) {
  if (!open_and_judge(cut, (struct vow_log_position){0})) return false;
  kill_log();
  return cut % COPY_EVERY != 0 || witness_judge_copy(&model.config, cut);
}

void side_forget(void) {
  memset(&model, 0, sizeof model);
  witness_forget();
}
