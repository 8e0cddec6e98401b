/* See coordinator_model.h. */
#include "coordinator_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator_txn.h"
#include "side.h"
#include "turns.h"

#define IMAGES_MAX 2048
#define MARKS_MAX  4096

struct ceiling {
  struct vow_id id;
  uint64_t position;
  uint32_t from, until;
};

struct boundary {
  uint64_t position;
  uint32_t from, until;
};

static struct {
  struct model_image images[IMAGES_MAX];
  struct ceiling ceilings[MARKS_MAX];
  struct boundary boundaries[MARKS_MAX];
  struct model_mark marks[MARKS_MAX];
  uint32_t image_count, ceiling_count, boundary_count, mark_count, txn_count;
  uint64_t created_ms;
  struct vow_id first_ceiling; /* of the log as it was made */
} model;

/* ---- the story ---- */

void model_forget(void) {
  memset(&model, 0, sizeof model);
}

void model_note_start(const struct vow_log_info *info) {
  if (model_told_last().incarnation == 0) {
    model.created_ms = info->created_ms;
    model.first_ceiling = info->id_ceiling;
  }
  model_exclude_above(info->position);
  model_note_mark(info->position, info->incarnation);
}

void model_note_mark(uint64_t durable, uint64_t incarnation) {
  if (model.mark_count == MARKS_MAX) abort();
  model.marks[model.mark_count++] =
      (struct model_mark){.at = side_now(), .durable = durable, .incarnation = incarnation};
}

void model_note_image(uint32_t txn, uint64_t position, const struct vow_txn *image) {
  if (model.image_count == IMAGES_MAX) abort();
  if (txn >= model.txn_count) model.txn_count = txn + 1;
  model.images[model.image_count++] =
      (struct model_image){.txn = txn,
                           .position = position,
                           .digest = txn_digest(image),
                           .ended = image->ended_ms != 0,
                           .state = image->state,
                           .kept = image->heuristic != VOW_HEURISTIC_NONE && !image->forgotten,
                           .from = side_now(),
                           .until = MODEL_NEVER};
}

void model_note_ceiling(uint64_t position, struct vow_id id) {
  if (model.ceiling_count == MARKS_MAX) abort();
  model.ceilings[model.ceiling_count++] =
      (struct ceiling){.id = id, .position = position, .from = side_now(), .until = MODEL_NEVER};
}

void model_note_boundary(uint64_t position) {
  struct boundary *last = &model.boundaries[model.boundary_count];
  if (model.boundary_count > 0 && last[-1].position == position && last[-1].until == MODEL_NEVER)
    return;
  if (model.boundary_count == MARKS_MAX) abort();
  *last = (struct boundary){.position = position, .from = side_now(), .until = MODEL_NEVER};
  model.boundary_count++;
}

void model_exclude_above(uint64_t position) {
  uint32_t now = side_now();
  for (uint32_t i = 0; i < model.image_count; i++) {
    struct model_image *image = &model.images[i];
    if (image->position > position && image->until == MODEL_NEVER) image->until = now;
  }
  for (uint32_t i = 0; i < model.ceiling_count; i++) {
    struct ceiling *ceiling = &model.ceilings[i];
    if (ceiling->position > position && ceiling->until == MODEL_NEVER) ceiling->until = now;
  }
  for (uint32_t i = 0; i < model.boundary_count; i++) {
    struct boundary *boundary = &model.boundaries[i];
    if (boundary->position > position && boundary->until == MODEL_NEVER) boundary->until = now;
  }
}

struct model_mark model_told(uint32_t cut) {
  struct model_mark mark = {0};
  for (uint32_t i = 0; i < model.mark_count && model.marks[i].at <= cut; i++) mark = model.marks[i];
  return mark;
}

struct model_mark model_told_last(void) {
  return model_told(MODEL_NEVER - 1);
}

static bool is_possible(uint32_t from, uint32_t until, uint32_t cut) {
  return from <= cut && cut < until;
}

struct vow_id model_ceiling(uint64_t position, uint32_t cut) {
  struct vow_id ceiling = model.first_ceiling;
  for (uint32_t i = 0; i < model.ceiling_count; i++) {
    const struct ceiling *c = &model.ceilings[i];
    if (c->position <= position && is_possible(c->from, c->until, cut)) ceiling = c->id;
  }
  return ceiling;
}

uint32_t model_txn_count(void) {
  return model.txn_count;
}

const struct model_image *model_last_image(uint32_t txn, uint32_t cut) {
  for (uint32_t i = model.image_count; i-- > 0;) {
    if (model.images[i].txn == txn && model.images[i].from <= cut) return &model.images[i];
  }
  return NULL;
}

bool model_had_image(uint32_t txn, uint64_t position, uint32_t cut) {
  for (uint32_t i = 0; i < model.image_count; i++) {
    const struct model_image *image = &model.images[i];
    if (image->txn == txn && image->position <= position &&
        is_possible(image->from, image->until, cut))
      return true;
  }
  return false;
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
static const struct model_image *newest[TXNS_MAX];

static void find_newest(uint64_t position, uint32_t cut) {
  memset(newest, 0, sizeof newest);
  for (uint32_t i = 0; i < model.image_count; i++) {
    const struct model_image *image = &model.images[i];
    if (image->position <= position && is_possible(image->from, image->until, cut))
      newest[image->txn] = image;
  }
}

const struct model_image *model_newest_image(uint32_t txn) {
  return newest[txn];
}

static const struct vow_txn *find_row(const struct rows *rows, uint32_t txn) {
  struct vow_id id = txn_id(txn);
  for (uint32_t i = 0; i < rows->count; i++) {
    if (vow_id_compare(rows->rows[i].id, id) == 0) return &rows->rows[i];
  }
  return NULL;
}

/* What was durable when the transaction of this image ended: of an earlier batch. */
static uint64_t durable_before_end(const struct model_image *image, uint32_t cut) {
  const struct model_image *end = NULL;
  for (const struct model_image *i = model.images; i <= image; i++) {
    if (i->txn != image->txn || !is_possible(i->from, i->until, cut)) continue;
    end = !i->ended ? NULL : end == NULL ? i : end;
  }
  return end == NULL ? 0 : model_told(end->from).durable;
}

/* Purging leaves MODEL_KEPT_HISTORY, takes the oldest ends first, and names the commits that it
 * took. What is there must not have ended, for good, in a batch before that of the other's end. (Of
 * two that end in one batch either may come first.) */
static bool may_be_purged(const struct model_image *image, const struct rows *rows, uint32_t cut) {
  uint64_t before = durable_before_end(image, cut);
  uint32_t left = 0;
  if (!image->ended || image->kept) return false;
  for (uint32_t i = 0; i < model.txn_count; i++) {
    const struct model_image *other = newest[i];
    if (other == NULL || !other->ended || find_row(rows, i) == NULL) continue;
    left++;
    if (!other->kept && other->position <= before) return false;
  }
  if (left < MODEL_KEPT_HISTORY) return false;
  return image->state != VOW_TXN_COMMITTED ||
         vow_id_compare(rows->purged_to, txn_id(image->txn)) >= 0;
}

static bool judge_rows(const struct rows *rows, uint64_t position, uint32_t cut) {
  uint32_t known = 0;
  find_newest(position, cut);
  for (uint32_t n = 0; n < model.txn_count; n++) {
    const struct model_image *image = newest[n];
    const struct vow_txn *row = find_row(rows, n);
    if (image == NULL && row != NULL)
      return wrong("transaction %u is there at position %llu, and was not yet given to the log", n,
                   (unsigned long long)position);
    if (image == NULL) continue;
    if (row == NULL && !may_be_purged(image, rows, cut))
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

bool model_judge_content(struct vow_log *log, uint64_t position, uint32_t cut) {
  struct rows *rows = new_rows();
  bool ok =
      ask(log, (struct vow_log_query){.type = VOW_LOG_QUERY_OPEN_PAGE}, rows) &&
      ask(log, (struct vow_log_query){.type = VOW_LOG_QUERY_LIST, .limit = 1000, .heuristic = -1},
          rows);
  ok = ok && judge_rows(rows, position, cut);
  free_rows(rows);
  return ok;
}

bool model_judge_head(const struct vow_log_info *info, uint32_t cut) {
  struct model_mark told = model_told(cut);
  bool at_boundary = info->position == 0;
  for (uint32_t i = 0; i < model.boundary_count; i++) {
    const struct boundary *boundary = &model.boundaries[i];
    at_boundary |=
        boundary->position == info->position && is_possible(boundary->from, boundary->until, cut);
  }
  if (info->position < told.durable)
    return wrong("the log is back at position %llu, and %llu was called durable",
                 (unsigned long long)info->position, (unsigned long long)told.durable);
  if (!at_boundary)
    return wrong("position %llu is there, where no batch ended",
                 (unsigned long long)info->position);
  if (info->incarnation <= told.incarnation)
    return wrong("incarnation %llu was used before", (unsigned long long)info->incarnation);
  if (told.incarnation > 0 &&
      vow_id_compare(info->id_ceiling, model_ceiling(info->position, cut)) != 0)
    return wrong("the ceiling of ids is not the last one up to position %llu",
                 (unsigned long long)info->position);
  if (told.incarnation > 0 && info->created_ms != model.created_ms)
    return wrong("the log is another one");
  return true;
}

bool model_check(struct vow_log *log) {
  struct rows *rows = new_rows();
  bool ok = ask(log, (struct vow_log_query){.type = VOW_LOG_QUERY_CHECK}, rows);
  free_rows(rows);
  return ok;
}

bool model_back_up(struct vow_log *log, const char *path, bool *works) {
  struct rows *rows = new_rows();
  struct vow_log_query query = {
      .type = VOW_LOG_QUERY_BACKUP, .path = path, .done = take_rows, .context = rows};
  rows->done = false;
  bool ok = vow_log_query(log, &query) == VOW_OK || wrong("the log takes no query");
  for (int i = 0; ok && !rows->done && i < 100; i++) turns_run();
  if (ok && !rows->done) ok = wrong("the backup does not end");
  *works = ok && rows->error == VOW_OK;
  if (ok && !*works && disk_find(path) >= 0 && strstr(rows->why, "is there") == NULL)
    ok = wrong("a backup that failed has its name, and it is said: %s", rows->why);
  if (ok && !*works) (void)wrong("the backup failed: %s", rows->why);
  free_rows(rows);
  return ok;
}
