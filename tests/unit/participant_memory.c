/* When an allocation fails as a vote log is opened, that is what is said: not that the log is
 * damaged, foreign or of another version, for which people would restore an older one. When one
 * fails as records are written, no more and no less of them is there than is said. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failing_memory.h"
#include "io/log.h"
#include "participant_fixture.h"
#include "tests/lib/old_log.h"

#define BRANCHES      20
#define PAYLOAD_BYTES 6000 /* more than a page: SQLite copies it to hand it out */

static sqlite3_mem_methods real;
static long fail_sqlite, fail_ours; /* the allocation that fails, counted down; 0: none */

static bool fails(long *countdown) {
  return *countdown != 0 && --*countdown == 0;
}

static void *failing_malloc(int bytes) {
  return fails(&fail_sqlite) ? NULL : real.xMalloc(bytes);
}

static void *failing_realloc(void *memory, int bytes) {
  return fails(&fail_sqlite) ? NULL : real.xRealloc(memory, bytes);
}

bool allocation_fails(void) {
  return fails(&fail_ours);
}

static void given_a_large_log(struct fixture *f) {
  char more[PAYLOAD_BYTES + 32] = ",\"payload\":\"", body[PAYLOAD_BYTES + 512];
  size_t bytes = strlen(more);
  memset(more + bytes, 'x', PAYLOAD_BYTES);
  strcpy(more + bytes + PAYLOAD_BYTES, "\"");
  fixture_open(f);
  for (unsigned n = 1; n <= BRANCHES; n++) {
    fixture_message(f, body, sizeof body, "prepare", n, NO_WATERMARK, more);
    expect(send_raw(f, "POST", "/prepare", "application/json", body), 200, VOTE_COMMIT);
  }
  fixture_close(f);
}

static void a_log_is_not_called_damaged_for_want_of_memory(void **state) {
  struct fixture *f = *state;
  given_a_large_log(f);
  long refused = 0;
  bool failed = true;
  for (long n = 1; failed; n++) {
    char why[256] = "";
    struct vow_participant *p = NULL;
    fail_sqlite = n;
    enum vow_error error = vow_participant_open(&p, &f->options, why, sizeof why);
    failed = fail_sqlite == 0;
    fail_sqlite = 0;
    /* SQLite does not always say why it could not open or read something. */
    bool true_word = error == VOW_OK || error == VOW_E_NO_MEMORY || error == VOW_E_LOG_IO;
    if (!true_word) fail_msg("allocation %ld: %s: %s", n, vow_error_text(error), why);
    assert_true(error == VOW_OK || why[0] != '\0');
    refused += error != VOW_OK;
    vow_participant_close(p);
  }
  assert_true(refused > 50);
  fixture_open(f);
  for (unsigned n = 1; n <= BRANCHES; n++) {
    expect(send_message(f, "commit", n, ""), 200, COMMITTED);
  }
}

/* ---- the first start on a log of version 1 ---- */

/* In UTF-16, as an application's database may be: then SQLite needs memory to hand out a text. */
static void given_a_large_old_log(const struct fixture *f) {
  static char payload[PAYLOAD_BYTES + 1];
  sqlite3 *db = NULL;
  memset(payload, 'x', PAYLOAD_BYTES);
  assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
  static const char begin[] = "PRAGMA encoding='UTF-16'; PRAGMA journal_mode=WAL; BEGIN";
  assert_int_equal(sqlite3_exec(db, begin, NULL, NULL, NULL), SQLITE_OK);
  old_log_make(db);
  for (unsigned n = 1; n <= BRANCHES; n++) {
    struct vow_precord record = {.kind = VOW_PRECORD_PREPARED,
                                 .branch = 1,
                                 .coordinator = COORDINATOR,
                                 .payload = payload,
                                 .payload_bytes = n % 2 ? PAYLOAD_BYTES : n};
    assert_true(vow_id_parse(id_of(n), &record.transaction));
    old_log_put(db, &record);
  }
  assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static enum vow_error add_record(void *context, const struct vow_precord *record) {
  *(size_t *)context += record->payload_bytes;
  return VOW_OK;
}

static enum vow_error no_coordinator(void *context, const char *url, struct vow_id below) {
  (void)context, (void)url, (void)below;
  return VOW_E_LOG_CORRUPT; /* there is none */
}

/* *payloads: the bytes of all. */
static enum vow_error try_open(const struct fixture *f, size_t *payloads, char why[256]) {
  struct vow_log *log = NULL;
  struct vow_log_loader loader = {
      .context = payloads, .record = add_record, .coordinator = no_coordinator};
  *payloads = 0;
  enum vow_error error = vow_log_open(&log, f->path, NULL, &loader, why, 256);
  if (!error) vow_log_close(log);
  return error;
}

/* False: there is no such allocation. */
static bool survives(const struct fixture *f, long *countdown, long n, long *refused) {
  char why[256] = "";
  size_t payloads = 0;
  given_a_large_old_log(f);
  *countdown = n;
  enum vow_error error = try_open(f, &payloads, why);
  bool failed = *countdown == 0;
  *countdown = 0;
  bool true_word = error == VOW_OK || error == VOW_E_NO_MEMORY ||
                   (error == VOW_E_LOG_IO && countdown == &fail_sqlite);
  if (!true_word) fail_msg("allocation %ld: %s: %s", n, vow_error_text(error), why);
  *refused += error != VOW_OK;
  assert_int_equal(try_open(f, &payloads, why), VOW_OK);
  size_t evens = BRANCHES / 2;
  assert_int_equal(payloads, evens * PAYLOAD_BYTES + evens * (evens + 1));
  assert_int_equal(remove(f->path), 0);
  return failed;
}

static void an_old_log_is_not_called_damaged_for_want_of_memory(void **state) {
  struct fixture *f = *state;
  long refused = 0, refused_ours = 0;
  for (long n = 1; survives(f, &fail_sqlite, n, &refused); n++) n += n / 100;
  for (long n = 1; survives(f, &fail_ours, n, &refused_ours); n++) continue;
  assert_true(refused > 100);
  assert_true(refused_ours >= 4); /* the log, its path, its folder, the records */
}

/* ---- records that are written together ---- */

enum { TOGETHER = 2 * 8 + 3 }; /* as many statements for several at once, and some alone */

struct together {
  uint64_t first; /* row */
  bool there[TOGETHER], told[TOGETHER];
  enum vow_error broken;
};

static enum vow_error on_watermark(void *context, const char *url, struct vow_id below) {
  (void)context;
  (void)url;
  (void)below;
  return VOW_OK;
}

static enum vow_error on_row(void *context, const struct vow_precord *record) {
  struct together *t = context;
  if (record->row >= t->first) t->there[record->row - t->first] = true;
  return VOW_OK;
}

static void on_done(void *context, const struct vow_log_job *jobs, const char *why) {
  struct together *t = context;
  (void)why;
  for (; jobs; jobs = jobs->next) t->told[jobs->record.row - t->first] = jobs->error == VOW_OK;
}

static void on_broken(void *context, enum vow_error error, const char *why) {
  struct together *t = context;
  (void)why;
  t->broken = error;
}

static struct vow_log *open_log(const struct fixture *f, struct together *t) {
  const struct vow_log_loader loader = {
      .context = t, .coordinator = on_watermark, .record = on_row};
  struct vow_log *log = NULL;
  char why[256];
  assert_int_equal(vow_log_open(&log, f->path, NULL, &loader, why, sizeof why), VOW_OK);
  return log;
}

static struct vow_log_job *jobs_from(uint64_t first) {
  struct vow_log_job *jobs = NULL;
  for (uint64_t row = first + TOGETHER; row-- > first;) {
    struct vow_log_job *job = vow_log_job_new(VOW_LOG_RECORD);
    job->forced = true;
    job->record = (struct vow_precord){.kind = VOW_PRECORD_COMMITTED,
                                       .transaction = {{1}},
                                       .branch = (uint32_t)row,
                                       .row = row,
                                       .coordinator = "http://c"};
    job->next = jobs;
    jobs = job;
  }
  return jobs;
}

/* False: no allocation failed. */
static bool write_together(const struct fixture *f, struct together *t, long *countdown, long n) {
  const struct vow_log_hooks hooks = {.context = t, .done = on_done, .broken = on_broken};
  struct vow_log *log = open_log(f, t);
  struct vow_log_job *jobs = jobs_from(t->first);
  assert_int_equal(vow_log_start(log, &hooks, false), VOW_OK);
  *countdown = n;
  if (vow_log_submit(log, jobs, 0)) vow_log_proceed(log);
  vow_log_stop(log);
  bool failed = *countdown == 0;
  *countdown = 0;
  vow_log_close(log);
  vow_log_close(open_log(f, t));
  return failed;
}

static void of_records_written_together_all_that_is_told_is_true(void **state) {
  const struct fixture *f = *state;
  struct together t = {.first = 1};
  unsigned all = 0;
  bool failed = true;
  for (long n = 0; failed; n++) {
    bool ours = n == 0;
    failed = write_together(f, &t, ours ? &fail_ours : &fail_sqlite, ours ? 1 : n);
    unsigned told = 0;
    for (unsigned i = 0; i < TOGETHER; i++) {
      if (!t.broken) assert_int_equal(t.told[i], t.there[i]);
      told += t.told[i];
    }
    assert_true(!t.broken || (t.broken == VOW_E_NO_MEMORY && told == 0)); /* in COMMIT */
    assert_true(!ours || (failed && told == TOGETHER)); /* each alone, where not together */
    all += failed && told == TOGETHER;
    t = (struct together){.first = t.first + TOGETHER};
  }
  assert_true(all > 1);
}

int main(void) {
  sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real);
  sqlite3_mem_methods failing = real;
  failing.xMalloc = failing_malloc;
  failing.xRealloc = failing_realloc;
  sqlite3_config(SQLITE_CONFIG_MALLOC, &failing);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_log_is_not_called_damaged_for_want_of_memory, fixture_setup,
                                      fixture_teardown),
      cmocka_unit_test_setup_teardown(an_old_log_is_not_called_damaged_for_want_of_memory,
                                      fixture_setup, fixture_teardown),
      cmocka_unit_test_setup_teardown(of_records_written_together_all_that_is_told_is_true,
                                      fixture_setup, fixture_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
