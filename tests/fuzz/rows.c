/*
 * The rows of the participant's log. An input is a table: each row is one that the log wrote, one
 * with a number that no record has under a right checksum, one that is anything under a right
 * checksum, or one whose columns hold anything. What comes back is what was written, and all of it
 * where nothing was damaged; else the table is refused. The core that loads what was taken must
 * know it and be able to go on from it.
 */
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/pcore.h"
#include "fuzz.h"
#include "io/log_internal.h"

#define ROWS_MAX 6

/* log.c is not part of this: nothing here fails in SQLite. */
enum vow_error vow_log_error_of(int code) {
  fprintf(stderr, "SQLite: %d\n", code);
  must(!"SQLite failed");
  return VOW_E_INTERNAL;
}

#define TEXT_BYTES_MAX 20
#define IDS            4
#define BRANCHES       3
#define KEYS           (IDS * BRANCHES)
#define ROWS           (2 * KEYS) /* those of the second half are of the branches of the first */

/* A record that the log was given, with its texts. */
struct kept {
  bool there, found;
  struct vow_precord record;
  char coordinator[TEXT_BYTES_MAX + 1], payload[TEXT_BYTES_MAX + 1], reason[TEXT_BYTES_MAX + 1];
};

struct table {
  struct vow_pcore *core;
  struct kept kept[ROWS + 1];
  bool honest;  /* the log wrote every row */
  bool crafted; /* some are anything under a right checksum */
};

/* One database for all inputs, emptied before each: to open one takes longer than to use it. */
static struct vow_log the_log;

static void open_log(void) {
  if (the_log.db != NULL) return;
  must(sqlite3_open(":memory:", &the_log.db) == SQLITE_OK);
  must(sqlite3_exec(the_log.db, vow_log_schema, NULL, NULL, NULL) == SQLITE_OK);
  must(vow_log_prepare_statements(&the_log) == VOW_OK);
}

static void begin(struct table *t) {
  static const struct vow_pconfig config = {.branches_max = 2,
                                            .preparing_max = 2,
                                            .tombstones_max = 8,
                                            .coordinators_max = 4,
                                            .inquiry_min_ms = 10,
                                            .inquiry_max_ms = 100};
  const char *empty = "DELETE FROM vow_branch; DELETE FROM vow_coordinator; DELETE FROM vow_seen";
  *t = (struct table){.honest = true};
  open_log();
  must(sqlite3_exec(the_log.db, empty, NULL, NULL, NULL) == SQLITE_OK);
  must(vow_pcore_new(&t->core, &config) == VOW_OK);
}

/* A text in the room of the caller; NULL: none. */
static const char *choose_text(struct choices *c, char room[TEXT_BYTES_MAX + 1]) {
  size_t bytes = choose_byte(c);
  if (bytes == 0 || bytes > TEXT_BYTES_MAX) return NULL;
  for (size_t i = 0; i < bytes; i++) room[i] = (char)(choose_byte(c) | 1);
  room[bytes] = '\0';
  return room;
}

static void name(struct vow_precord *record, unsigned row) {
  record->row = row;
  record->transaction.bytes[15] = (uint8_t)((row - 1) % KEYS / BRANCHES);
  record->branch = 1 + (row - 1) % BRANCHES;
}

/* A row as the log writes it. */
static void put_honest(struct table *t, struct choices *c) {
  unsigned row = 1 + choose(c, ROWS);
  struct kept *kept = &t->kept[row];
  struct vow_precord *record = &kept->record;

  *kept = (struct kept){.there = true};
  name(record, row);
  record->kind = (enum vow_precord_kind)(1 + choose(c, 8));
  record->outcome = (enum vow_outcome)choose(c, VOW_OUTCOME_HEURISTIC_HAZARD + 1);
  record->coordinator = choose_text(c, kept->coordinator);
  if (record->coordinator == NULL) record->coordinator = strcpy(kept->coordinator, "http://c");
  record->payload = choose_text(c, kept->payload);
  record->payload_bytes = record->payload == NULL ? 0 : strlen(record->payload);
  record->reason = choose_text(c, kept->reason);
  must(vow_log_put(&the_log, record) == SQLITE_OK);
}

/* A branch has two rows only where the purge of the first was lost. */
static bool has_two(const struct table *t) {
  for (unsigned row = 1; row <= KEYS; row++) {
    enum vow_precord_kind kind = t->kept[row].record.kind;
    bool ended = kind >= VOW_PRECORD_COMMITTED && kind != VOW_PRECORD_HEURISTIC;
    if (t->kept[row].there && t->kept[row + KEYS].there && !ended) return true;
  }
  return false;
}

/* A row with a right checksum that no log writes, as an older version's mistake might be. */
static void put_wrong(struct table *t, struct choices *c) {
  static const struct vow_precord wrong[] = {
      {.kind = VOW_PRECORD_NONE, .branch = 1},
      {.kind = (enum vow_precord_kind)(VOW_PRECORD_FORGOTTEN + 1), .branch = 1},
      {.kind = VOW_PRECORD_PREPARED, .branch = 0},
      {.kind = VOW_PRECORD_PREPARED,
       .branch = 1,
       .outcome = (enum vow_outcome)(VOW_OUTCOME_HEURISTIC_HAZARD + 1)}};
  struct vow_precord record = wrong[choose(c, sizeof wrong / sizeof *wrong)];

  record.row = 1 + choose(c, ROWS);
  record.transaction.bytes[15] = (uint8_t)choose(c, IDS);
  record.coordinator = "http://c";
  must(vow_log_put(&the_log, &record) == SQLITE_OK);
  t->honest = false;
}

/* A row that is anything, under a right checksum. */
static void put_crafted(struct table *t, struct choices *c) {
  unsigned char blob[64] = {0};
  XXH64_canonical_t sum;
  unsigned row = 1 + choose(c, ROWS);
  size_t bytes = sizeof sum + choose(c, sizeof blob - sizeof sum);
  sqlite3_stmt *put = the_log.statements[VOW_LOG_PUT];
  for (size_t i = sizeof sum; i < bytes; i++) blob[i] = choose_byte(c);
  XXH64_canonicalFromHash(&sum, XXH3_64bits_withSeed(blob + sizeof sum, bytes - sizeof sum, row));
  memcpy(blob, sum.digest, sizeof sum);
  must(sqlite3_bind_int64(put, 1, row) == SQLITE_OK);
  must(sqlite3_bind_blob(put, 2, blob, (int)bytes, SQLITE_TRANSIENT) == SQLITE_OK);
  must(vow_log_run(&the_log, VOW_LOG_PUT) == SQLITE_OK);
  t->honest = false;
  t->crafted = true;
}

/* A purge: tombstones go, one or many; the watermark that stands in for them comes. */
static void put_watermark(struct table *t, struct choices *c) {
  char url[TEXT_BYTES_MAX + 1];
  struct vow_log_job job = {.purge_coordinator = choose_text(c, url)};
  uint64_t rows[ROWS] = {0};
  unsigned step = 1 + choose(c, 3);

  if (job.purge_coordinator == NULL) job.purge_coordinator = "http://c";
  for (unsigned row = ROWS - choose(c, ROWS); row >= step; row -= step) {
    rows[job.purge_count++] = row;
    t->kept[row].there = false;
  }
  job.purge_below.bytes[15] = (uint8_t)choose(c, IDS);
  job.purge_rows = rows;
  must(vow_log_purge(&the_log, &job) == SQLITE_OK);
}

/* A position of a coordinator's log. */
static void put_seen(struct choices *c) {
  char url[TEXT_BYTES_MAX + 1];
  const char *coordinator = choose_text(c, url);
  struct vow_log_position seen = {.incarnation = 1U + choose_byte(c), .position = choose_byte(c)};
  must(vow_log_put_seen(&the_log, coordinator ? coordinator : "http://c", seen) == SQLITE_OK);
}

static void bind_any(sqlite3_stmt *put, int column, struct choices *c, char *room) {
  int code = SQLITE_OK;
  size_t bytes = choose(c, 24);
  for (size_t i = 0; i < bytes; i++) room[i] = (char)choose_byte(c);
  switch (bytes == 0 ? 4 : choose(c, 4)) {
    case 0:
      code = sqlite3_bind_int64(put, column,
                                ((int64_t)choose_byte(c) - 2) * (INT64_C(1) << choose(c, 40)));
      break;
    case 1:
      code = sqlite3_bind_text(put, column, room, (int)bytes, SQLITE_TRANSIENT);
      break;
    case 2:
      code = sqlite3_bind_blob(put, column, room, (int)bytes, SQLITE_TRANSIENT);
      break;
    case 3:
      code = sqlite3_bind_double(put, column, (double)choose_byte(c) * 1e17);
      break;
    default: /* NULL */
      break;
  }
  must(code == SQLITE_OK);
}

/* One column of a row, or all of a new row, become anything. */
static void damage(struct table *t, struct choices *c) {
  static const char *const changes[] = {"UPDATE vow_branch SET row = ?",
                                        "UPDATE vow_branch SET record = ?",
                                        "UPDATE vow_seen SET position = ?",
                                        "REPLACE INTO vow_seen VALUES(?,?,?,?)",
                                        "UPDATE vow_coordinator SET finished_below = ?",
                                        "UPDATE vow_coordinator SET url = ?",
                                        "REPLACE INTO vow_branch VALUES(?,?)",
                                        "REPLACE INTO vow_coordinator VALUES(?,?,?)"};
  char room[32];
  sqlite3_stmt *change = NULL;
  const char *sql = changes[choose(c, sizeof changes / sizeof *changes)];
  must(sqlite3_prepare_v2(the_log.db, sql, -1, &change, NULL) == SQLITE_OK);
  for (int i = 1; i <= sqlite3_bind_parameter_count(change); i++) bind_any(change, i, c, room);
  (void)sqlite3_step(change); /* a constraint may refuse it */
  sqlite3_finalize(change);
  t->honest = false;
}

static bool step(struct table *t, struct vow_pevent *event) {
  struct vow_pactions actions;
  enum vow_error error = vow_pcore_step(t->core, event, &actions);
  must(error == VOW_OK || error == VOW_E_LOG_CORRUPT);
  for (uint32_t i = 0; i < actions.count; i++) must(actions.items[i].type != VOW_PACTION_REPLY);
  return error == VOW_OK;
}

static enum vow_error on_coordinator(void *context, const char *url, struct vow_id finished_below) {
  struct vow_pevent event = {.type = VOW_PEVENT_LOAD_COORDINATOR};
  event.u.coordinator.url = url;
  event.u.coordinator.finished_below = finished_below;
  struct table *t = context;
  if (step(t, &event))
    must(vow_id_compare(vow_pcore_finished_below(t->core, url), finished_below) == 0);
  return VOW_OK;
}

static enum vow_error on_seen(void *context, const char *url, struct vow_log_position seen) {
  struct vow_pevent event = {.type = VOW_PEVENT_LOAD_SEEN};
  event.u.coordinator.url = url;
  event.u.coordinator.seen = seen;
  (void)step(context, &event);
  return VOW_OK;
}

static bool same_text(const char *a, const char *b) {
  return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_record(const struct vow_precord *a, const struct vow_precord *b) {
  return a->kind == b->kind && a->outcome == b->outcome && a->branch == b->branch &&
         vow_id_compare(a->transaction, b->transaction) == 0 &&
         a->payload_bytes == b->payload_bytes && same_text(a->coordinator, b->coordinator) &&
         same_text(a->payload, b->payload) && same_text(a->reason, b->reason);
}

/* What was crafted may make sense. */
static bool makes_sense(const struct vow_precord *record) {
  return record->kind >= VOW_PRECORD_INTENT && record->kind <= VOW_PRECORD_FORGOTTEN &&
         record->branch > 0 && strlen(record->coordinator) < 64 &&
         (record->reason == NULL || strlen(record->reason) < 64) &&
         (record->payload == NULL || record->payload[record->payload_bytes] == '\0');
}

static enum vow_error on_record(void *context, const struct vow_precord *record) {
  struct table *t = context;
  struct vow_pevent event = {.type = VOW_PEVENT_LOAD, .u.load = record};
  must(record->row >= 1);
  struct kept *kept = record->row <= ROWS ? &t->kept[record->row] : NULL;
  bool known = kept != NULL && kept->there && same_record(&kept->record, record);
  must(known || (t->crafted && makes_sense(record)));
  if (known) kept->found = true;
  event.transaction = record->transaction;
  event.branch = record->branch;
  if (!step(t, &event)) return VOW_E_LOG_CORRUPT;
  must(vow_pcore_find(t->core, record->transaction, record->branch) != NULL);
  return VOW_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  struct choices c = {data, bytes};
  struct table t;
  char why[256] = "";

  begin(&t);
  for (unsigned i = 0; i < ROWS_MAX && c.left > 0; i++) {
    unsigned kind = choose(&c, 11);
    if (!t.honest && kind < 7) kind = 8; /* the log has not written to what was damaged */
    if (kind < 5) put_honest(&t, &c);
    if (kind == 5) put_watermark(&t, &c);
    if (kind == 6) put_seen(&c);
    if (kind == 7) put_wrong(&t, &c);
    if (kind == 8 || kind == 9) damage(&t, &c);
    if (kind == 10) put_crafted(&t, &c);
  }
  struct vow_log_loader loader = {
      .context = &t, .coordinator = on_coordinator, .seen = on_seen, .record = on_record};
  enum vow_error error = vow_log_read(&the_log, &loader, why, sizeof why);
  must(error == VOW_OK || (error == VOW_E_LOG_CORRUPT && strlen(why) > 10));
  if (t.honest) must((error == VOW_OK) == !has_two(&t));
  for (unsigned row = 1; t.honest && error == VOW_OK && row <= ROWS; row++) {
    must(t.kept[row].found == t.kept[row].there); /* each has come back */
  }
  struct vow_pevent tick = {.type = VOW_PEVENT_TICK, .now_ms = 1000};
  (void)step(&t, &tick);
  vow_pcore_free(t.core);
  return 0;
}
