/* The rows of the vote log: what is written is what it always was, and a purge takes its keys and
 * nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "io/log_internal.h"

#define COORDINATOR "http://127.0.0.1:7800"
#define IDS         60
#define BRANCHES    3

struct world {
  struct vow_log log;
  bool there[IDS + 1][BRANCHES + 1]; /* rows */
  uint64_t random;
  unsigned apart_ms;
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

/* ---- checksums ---- */

static void put_payload_of(struct world *w, size_t bytes) {
  static char text[3000];
  for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + i % 26);
  struct vow_precord record = {.kind = VOW_PRECORD_PREPARED,
                               .transaction = id_of(1),
                               .branch = 1,
                               .coordinator = COORDINATOR,
                               .payload = text,
                               .payload_bytes = bytes};
  assert_int_equal(vow_log_put(&w->log, &record), SQLITE_OK);
}

/* Else a participant that was updated would call its own log damaged. The numbers are of the first
 * version; the sizes are those around which the ways part, here or in XXH3. */
static void the_checksum_of_a_record_is_what_it_always_was(void **state) {
  static const struct {
    size_t bytes;
    int64_t checksum;
  } known[] = {
      {0, 6988643931605974301},    {1, -8074387505862862094},   {24, 1117065823178102756},
      {100, -2015245303145104764}, {200, 1778824052032660391},  {400, 118135277045345239},
      {512, 1486784861783823596},  {513, 7439169225210572468},  {700, -3799159410716436369},
      {1024, 8344719335151482588}, {3000, 3238434602895313609},
  };
  struct world *w = *state;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    put_payload_of(w, known[i].bytes);
    assert_int_equal(ask(w, "SELECT length(payload) FROM vow_branch"), known[i].bytes);
    assert_int_equal(ask(w, "SELECT checksum FROM vow_branch"), known[i].checksum);
  }
}

static void the_checksum_of_a_tombstone_is_what_it_always_was(void **state) {
  struct world *w = *state;
  struct vow_precord record = {.kind = VOW_PRECORD_ABORTED,
                               .transaction = id_of(7),
                               .branch = 3,
                               .outcome = VOW_OUTCOME_ABORTED,
                               .coordinator = COORDINATOR,
                               .reason = "no seat is left"};
  assert_int_equal(vow_log_put(&w->log, &record), SQLITE_OK);
  assert_int_equal(ask(w, "SELECT checksum FROM vow_branch"), -2797405301657166006);
  assert_int_equal(ask(w, "SELECT payload IS NULL FROM vow_branch"), 1);
}

static void the_checksums_of_a_coordinator_are_what_they_always_were(void **state) {
  struct world *w = *state;
  struct vow_log_job job = {.purge_coordinator = COORDINATOR, .purge_below = id_of(9)};
  struct vow_log_position seen = {.incarnation = 3, .position = 1234};
  assert_int_equal(vow_log_purge(&w->log, &job), SQLITE_OK);
  assert_int_equal(ask(w, "SELECT checksum FROM vow_coordinator"), 1638515423404869138);
  assert_int_equal(vow_log_put_seen(&w->log, COORDINATOR, seen), SQLITE_OK);
  assert_int_equal(ask(w, "SELECT checksum FROM vow_seen"), 9124625444237054644);
}

/* ---- purges ---- */

static unsigned draw(struct world *w, unsigned below) {
  w->random = w->random * 6364136223846793005U + 1442695040888963407U;
  return (unsigned)(w->random >> 33) % below;
}

/* Ids in the same order, but made some milliseconds apart. */
static struct vow_id id_in(const struct world *w, unsigned n) {
  struct vow_id id = id_of(n);
  id.bytes[5] = (uint8_t)(n * w->apart_ms);
  return id;
}

static void put(struct world *w, unsigned n, uint32_t branch) {
  struct vow_precord record = {.kind = VOW_PRECORD_COMMITTED,
                               .transaction = id_in(w, n),
                               .branch = branch,
                               .coordinator = COORDINATOR};
  assert_int_equal(vow_log_put(&w->log, &record), SQLITE_OK);
  w->there[n][branch] = true;
}

static void fill(struct world *w) {
  for (unsigned n = 1; n <= IDS; n++) {
    for (uint32_t branch = 1; branch <= BRANCHES; branch++) put(w, n, branch);
  }
}

static void add_key(struct world *w, struct vow_log_job *job, unsigned n, uint32_t branch) {
  job->purge_keys[job->purge_count++] = (struct vow_precord_key){id_in(w, n), branch};
  w->there[n][branch] = false;
}

/* In `of` of a hundred ids, the branches of one in any order. */
static void purge_some(struct world *w, unsigned of) {
  struct vow_precord_key keys[IDS * BRANCHES];
  struct vow_log_job job = {
      .purge_coordinator = COORDINATOR, .purge_below = id_in(w, IDS), .purge_keys = keys};
  for (unsigned n = 1; n <= IDS; n++) {
    if (draw(w, 100) >= of) continue;
    uint32_t first = draw(w, BRANCHES), count = 1 + draw(w, BRANCHES);
    for (uint32_t i = 0; i < count; i++) add_key(w, &job, n, 1 + (first + i) % BRANCHES);
  }
  assert_int_equal(vow_log_purge(&w->log, &job), SQLITE_OK);
}

static void expect_rows(struct world *w) {
  sqlite3_stmt *row = NULL;
  const char *sql = "SELECT transaction_id, branch FROM vow_branch ORDER BY transaction_id, branch";
  assert_int_equal(sqlite3_prepare_v2(w->log.db, sql, -1, &row, NULL), SQLITE_OK);
  for (unsigned n = 1; n <= IDS; n++) {
    for (uint32_t branch = 1; branch <= BRANCHES; branch++) {
      if (!w->there[n][branch]) continue;
      assert_int_equal(sqlite3_step(row), SQLITE_ROW);
      assert_memory_equal(sqlite3_column_blob(row, 0), id_in(w, n).bytes, 16);
      assert_int_equal(sqlite3_column_int64(row, 1), branch);
    }
  }
  assert_int_equal(sqlite3_step(row), SQLITE_DONE);
  assert_int_equal(sqlite3_finalize(row), SQLITE_OK);
}

/* Also of rows that are not there. The application may have set that rows come the other way. */
static void purge_often(struct world *w) {
  for (int round = 0; round < 200; round++) {
    if (round == 100) run_sql(w, "PRAGMA reverse_unordered_selects=ON");
    if (round % 4 == 0) fill(w);
    purge_some(w, draw(w, 100));
    expect_rows(w);
  }
}

static void a_purge_takes_its_keys_and_leaves_what_lies_between(void **state) {
  purge_often(*state);
}

/* Each is looked for then. */
static void so_does_one_of_rows_far_apart(void **state) {
  struct world *w = *state;
  w->apart_ms = 255 / IDS;
  purge_often(w);
}

int main(void) {
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      test(the_checksum_of_a_record_is_what_it_always_was),
      test(the_checksum_of_a_tombstone_is_what_it_always_was),
      test(the_checksums_of_a_coordinator_are_what_they_always_were),
      test(a_purge_takes_its_keys_and_leaves_what_lies_between),
      test(so_does_one_of_rows_far_apart),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
