/* The rows of the vote log: what is written is what it always was, what was changed is noticed, and
 * a purge takes its rows and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "io/log_internal.h"

#define COORDINATOR "http://127.0.0.1:7800"
#define ROWS        180

struct world {
  struct vow_log log;
  bool there[ROWS + 1];
  uint64_t random;
};

static void run_sql(struct world *w, const char *sql) {
  assert_int_equal(sqlite3_exec(w->log.db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static int setup(void **state) {
  static struct world world;
  world = (struct world){.random = 1};
  assert_int_equal(sqlite3_open(":memory:", &world.log.db), SQLITE_OK);
  run_sql(&world, vow_log_schema);
  assert_int_equal(vow_log_prepare_statements(&world.log), VOW_OK);
  *state = &world;
  return 0;
}

static int teardown(void **state) {
  struct world *w = *state;
  vow_log_finalize_statements(&w->log);
  assert_int_equal(sqlite3_close(w->log.db), SQLITE_OK);
  return 0;
}

static struct vow_id id_of(unsigned n) {
  struct vow_id id = {{1}};
  id.bytes[15] = (uint8_t)n;
  return id;
}

static int64_t ask(struct world *w, const char *sql) {
  sqlite3_stmt *row = NULL;
  assert_int_equal(sqlite3_prepare_v2(w->log.db, sql, -1, &row, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_step(row), SQLITE_ROW);
  int64_t value = sqlite3_column_int64(row, 0);
  assert_int_equal(sqlite3_finalize(row), SQLITE_OK);
  return value;
}

/* ---- records ---- */

static void put_record(struct world *w, const struct vow_precord *record) {
  assert_int_equal(vow_log_put(&w->log, record), SQLITE_OK);
}

static bool holds(struct world *w, const char *hex) {
  char sql[400];
  (void)snprintf(sql, sizeof sql, "SELECT lower(hex(record)) = '%s' FROM vow_branch", hex);
  return ask(w, sql) == 1;
}

/* Else a participant that was updated would call its own log damaged. */
static void a_record_is_written_as_it_always_was(void **state) {
  struct world *w = *state;
  struct vow_precord record = {.kind = VOW_PRECORD_PREPARED,
                               .transaction = id_of(7),
                               .branch = 0x01020304,
                               .row = 5,
                               .coordinator = "http://c",
                               .payload = "{}",
                               .payload_bytes = 2};
  put_record(w, &record);
  assert_true(holds(
      w, "ad6c596672e15d760100000000000000000000000000000701020304020002687474703a2f2f63007b7d00"));
  record.kind = VOW_PRECORD_ABORTED;
  record.outcome = VOW_OUTCOME_ABORTED;
  record.payload = NULL;
  record.payload_bytes = 0;
  record.reason = "full";
  put_record(w, &record);
  assert_int_equal(ask(w, "SELECT count(*) FROM vow_branch WHERE row = 5"), 1);
  assert_true(holds(w,
                    "feb475e13bcde07c0100000000000000000000000000000701020304050201687474703a2f2f63"
                    "0066756c6c00"));
}

/* What is read back; the record's texts are gone when this returns. */
struct found {
  unsigned count;
  struct vow_precord last;
  char payload[3000];
};

static enum vow_error on_record(void *context, const struct vow_precord *record) {
  struct found *found = context;
  found->count++;
  found->last = *record;
  if (record->payload) memcpy(found->payload, record->payload, record->payload_bytes + 1);
  return VOW_OK;
}

static enum vow_error read_back(struct world *w, struct found *found, char why[200]) {
  struct vow_log_loader loader = {.context = found, .record = on_record};
  *found = (struct found){.count = 0};
  return vow_log_read(&w->log, &loader, why, 200);
}

/* Of all sizes, those around which the ways part in XXH3 among them; with any bytes in it. */
static void a_payload_comes_back_whole(void **state) {
  static const size_t sizes[] = {0, 1, 24, 100, 190, 200, 209, 210, 240, 512, 1024, 2999};
  static char text[3000];
  struct world *w = *state;
  struct found found;
  char why[200] = "";
  for (size_t i = 0; i < sizeof text; i++) text[i] = (char)(i % 26 ? 'a' + i % 26 : 0);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    struct vow_precord record = {.kind = VOW_PRECORD_PREPARED,
                                 .transaction = id_of(1),
                                 .branch = 1,
                                 .row = 1,
                                 .coordinator = COORDINATOR,
                                 .payload = text,
                                 .payload_bytes = sizes[i]};
    put_record(w, &record);
    assert_int_equal(read_back(w, &found, why), VOW_OK);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.last.row, 1);
    assert_int_equal(found.last.payload_bytes, sizes[i]);
    assert_memory_equal(found.payload, text, sizes[i]);
  }
}

/* Whatever is done to a row, also to move it to another number, whole as it is. */
static void a_row_that_was_changed_is_noticed(void **state) {
  static const char *const changes[] = {
      "UPDATE vow_branch SET row = row + 1",
      "UPDATE vow_branch SET row = -row",
      "UPDATE vow_branch SET record = x''",
      "UPDATE vow_branch SET record = substr(record, 1, 30)",
      "UPDATE vow_branch SET record = substr(record, 1, length(record) - 1)",
      "UPDATE vow_branch SET record = CAST(record AS TEXT)",
      "UPDATE vow_branch SET record = 1",
      "UPDATE vow_branch SET record = zeroblob(40)",
      "INSERT INTO vow_branch SELECT row + 1, record FROM vow_branch",
  };
  struct world *w = *state;
  struct vow_precord record = {.kind = VOW_PRECORD_PREPARED,
                               .transaction = id_of(7),
                               .branch = 1,
                               .row = 1,
                               .coordinator = COORDINATOR};
  struct found found;
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    char why[200] = "";
    run_sql(w, "DELETE FROM vow_branch");
    put_record(w, &record);
    run_sql(w, changes[i]);
    assert_int_equal(read_back(w, &found, why), VOW_E_LOG_CORRUPT);
    assert_non_null(strstr(why, "is damaged (checksum); restore the file"));
  }
}

/* Also if its checksum is right: behind the highest there is always a next one. */
static void a_row_of_an_impossible_number_is_noticed(void **state) {
  static const uint64_t highest = INT64_MAX / 2;
  const struct {
    uint64_t row;
    enum vow_error error;
  } cases[] = {{1, VOW_OK},
               {highest, VOW_OK},
               {0, VOW_E_LOG_CORRUPT},
               {highest + 1, VOW_E_LOG_CORRUPT},
               {UINT64_MAX, VOW_E_LOG_CORRUPT}};
  struct world *w = *state;
  struct found found;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct vow_precord record = {.kind = VOW_PRECORD_PREPARED,
                                 .transaction = id_of(7),
                                 .branch = 1,
                                 .row = cases[i].row,
                                 .coordinator = COORDINATOR};
    char why[200] = "";
    run_sql(w, "DELETE FROM vow_branch");
    put_record(w, &record);
    assert_int_equal(read_back(w, &found, why), cases[i].error);
  }
}

static enum vow_error refuse_record(void *context, const struct vow_precord *record) {
  (void)context, (void)record;
  return VOW_E_LOG_CORRUPT;
}

/* The core says so. */
static void a_second_record_of_a_branch_is_explained(void **state) {
  struct world *w = *state;
  struct vow_log_loader loader = {.record = refuse_record};
  char why[256] = "";
  struct vow_precord record = {.kind = VOW_PRECORD_PREPARED,
                               .transaction = id_of(7),
                               .branch = 3,
                               .row = 1,
                               .coordinator = COORDINATOR};
  put_record(w, &record);
  assert_int_equal(vow_log_read(&w->log, &loader, why, sizeof why), VOW_E_LOG_CORRUPT);
  assert_non_null(strstr(why, "there are two records of branch 3 of transaction 01000000-0000"));
}

/* ---- checksums ---- */

static void the_checksums_of_a_coordinator_are_what_they_always_were(void **state) {
  struct world *w = *state;
  struct vow_log_job job = {.purge_coordinator = COORDINATOR, .purge_below = id_of(9)};
  struct vow_log_position seen = {.incarnation = 3, .position = 1234};
  assert_int_equal(vow_log_purge(&w->log, &job), SQLITE_OK);
  assert_int_equal(ask(w, "SELECT checksum FROM vow_coordinator"), 1638515423404869138);
  assert_int_equal(vow_log_put_seen(&w->log, COORDINATOR, seen), SQLITE_OK);
  assert_int_equal(ask(w, "SELECT checksum FROM vow_seen"), 9124625444237054644);
}

/* A callback's record is written before what was queued while it ran. */
static void neither_watermark_nor_position_goes_back(void **state) {
  static const struct {
    unsigned below;
    struct vow_log_position seen;
  } writes[] = {{5, {2, 50}}, {9, {3, 20}}, {7, {3, 19}}, {9, {2, 99}}, {2, {1, 1}}};
  struct world *w = *state;
  for (size_t i = 0; i < sizeof writes / sizeof *writes; i++) {
    struct vow_log_job job = {.purge_coordinator = COORDINATOR,
                              .purge_below = id_of(writes[i].below)};
    assert_int_equal(vow_log_purge(&w->log, &job), SQLITE_OK);
    assert_int_equal(vow_log_put_seen(&w->log, COORDINATOR, writes[i].seen), SQLITE_OK);
  }
  assert_int_equal(ask(w, "SELECT checksum FROM vow_coordinator"), 1638515423404869138);
  assert_int_equal(ask(w, "SELECT incarnation * 100 + position FROM vow_seen"), 320);
}

/* ---- purges ---- */

static unsigned draw(struct world *w, unsigned below) {
  w->random = w->random * 6364136223846793005U + 1442695040888963407U;
  return (unsigned)(w->random >> 33) % below;
}

static void fill(struct world *w) {
  struct vow_precord record = {
      .kind = VOW_PRECORD_COMMITTED, .branch = 1, .coordinator = COORDINATOR};
  for (unsigned n = 1; n <= ROWS; n++) {
    record.transaction = id_of(n);
    record.row = n;
    put_record(w, &record);
    w->there[n] = true;
  }
}

/* Of a hundred rows `of`, in any order. */
static void purge_some(struct world *w, unsigned of) {
  uint64_t rows[ROWS];
  struct vow_log_job job = {
      .purge_coordinator = COORDINATOR, .purge_below = id_of(ROWS), .purge_rows = rows};
  for (unsigned n = 1; n <= ROWS; n++) {
    if (draw(w, 100) >= of) continue;
    unsigned at = draw(w, ++job.purge_count);
    rows[job.purge_count - 1] = rows[at];
    rows[at] = n;
    w->there[n] = false;
  }
  assert_int_equal(vow_log_purge(&w->log, &job), SQLITE_OK);
}

static void expect_rows(struct world *w) {
  sqlite3_stmt *row = NULL;
  const char *sql = "SELECT row FROM vow_branch ORDER BY row";
  assert_int_equal(sqlite3_prepare_v2(w->log.db, sql, -1, &row, NULL), SQLITE_OK);
  for (unsigned n = 1; n <= ROWS; n++) {
    if (!w->there[n]) continue;
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int64(row, 0), n);
  }
  assert_int_equal(sqlite3_step(row), SQLITE_DONE);
  assert_int_equal(sqlite3_finalize(row), SQLITE_OK);
}

/* Also of rows that are not there. The application may have set that rows come the other way. */
static void a_purge_takes_its_rows_and_leaves_what_lies_between(void **state) {
  struct world *w = *state;
  for (int round = 0; round < 200; round++) {
    if (round == 100) run_sql(w, "PRAGMA reverse_unordered_selects=ON");
    if (round % 4 == 0) fill(w);
    purge_some(w, draw(w, 101));
    expect_rows(w);
  }
}

int main(void) {
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      test(a_record_is_written_as_it_always_was),
      test(a_payload_comes_back_whole),
      test(a_row_that_was_changed_is_noticed),
      test(a_row_of_an_impossible_number_is_noticed),
      test(a_second_record_of_a_branch_is_explained),
      test(the_checksums_of_a_coordinator_are_what_they_always_were),
      test(neither_watermark_nor_position_goes_back),
      test(a_purge_takes_its_rows_and_leaves_what_lies_between),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
