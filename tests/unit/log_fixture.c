/* See log_fixture.h. Used by the tests of the log only. */
#include "log_fixture.h"

#include <fcntl.h>
#include <ftw.h>
#include <semaphore.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static sem_t woken;

static void wake(void *context) {
  (void)context;
  sem_post(&woken);
}

static uint64_t monotonic_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t fixture_now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void fixture_setup(struct fixture *f) {
  *f = (struct fixture){0};
  sem_init(&woken, 0, 0);
  strcpy(f->folder, "/tmp/vow-log-XXXXXX");
  assert_non_null(mkdtemp(f->folder));
  snprintf(f->path, sizeof f->path, "%s/vow.log", f->folder);
  f->config = (struct vow_log_config){.path = f->path,
                                      .create = true,
                                      .lazy_flush_ms = 60000,
                                      .ahead_min = 2,
                                      .wal_bytes_max = 1 << 20,
                                      .retention_age_ms = 24 * HOUR_MS,
                                      .retention_count = 1000000,
                                      .purge_step = 100,
                                      .wake = wake};
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
  (void)st;
  (void)type;
  (void)ftw;
  return remove(path);
}

void fixture_teardown(struct fixture *f) {
  fixture_close(f);
  nftw(f->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
  sem_destroy(&woken);
}

enum vow_error fixture_try(struct fixture *f, char why[VOW_LOG_WHY_BYTES]) {
  enum vow_error error = vow_log_open(&f->log, &f->config, why);
  if (error == VOW_OK) {
    struct vow_log_info info;
    vow_log_info(f->log, &info);
    f->position = info.position;
  }
  return error;
}

void fixture_open_only(struct fixture *f) {
  char why[VOW_LOG_WHY_BYTES];
  if (fixture_try(f, why) != VOW_OK) fail_msg("the log does not open: %s", why);
}

void fixture_open(struct fixture *f) {
  fixture_open_only(f);
  assert_int_equal(vow_log_start(f->log), VOW_OK);
}

void fixture_close(struct fixture *f) {
  vow_log_close(f->log);
  f->log = NULL;
}

/* ---- transactions ---- */

struct vow_id nth_id(uint32_t n) {
  return vow_id_make(UINT64_C(1700000000000) + n, (uint16_t)(n & 0xfff), n * UINT64_C(7919));
}

void set_text(char **place, const char *text) {
  free(*place);
  *place = strdup(text);
  assert_non_null(*place);
}

static void add_branch(struct vow_txn *txn, const char *name, enum vow_branch_state state) {
  struct vow_branch *branch = &txn->branches[txn->branch_count++];
  char url[64];
  snprintf(url, sizeof url, "http://127.0.0.1:7001/%s", name);
  branch->number = txn->branch_count;
  branch->state = state;
  branch->vote = VOW_VOTE_COMMIT;
  branch->attempts = 2;
  set_text(&branch->name, name);
  set_text(&branch->url, url);
}

static const enum vow_branch_state branch_states[] = {
    [VOW_TXN_ACTIVE] = VOW_BRANCH_ENLISTED,     [VOW_TXN_PREPARING] = VOW_BRANCH_PREPARED,
    [VOW_TXN_COMMITTING] = VOW_BRANCH_PREPARED, [VOW_TXN_COMMITTED] = VOW_BRANCH_COMMITTED,
    [VOW_TXN_ABORTING] = VOW_BRANCH_ABORTING,   [VOW_TXN_ABORTED] = VOW_BRANCH_ABORTED,
};

struct vow_txn nth_txn(uint32_t n, enum vow_txn_state state, uint64_t ended_ms) {
  struct vow_txn txn = {.id = nth_id(n),
                        .state = state,
                        .created_ms = UINT64_C(1700000000000) + n,
                        .updated_ms = UINT64_C(1700000000500) + n,
                        .deadline_ms = UINT64_C(1700000060000) + n,
                        .ended_ms = ended_ms};
  txn.branches = calloc(2, sizeof *txn.branches);
  txn.history = calloc(3, sizeof *txn.history);
  assert_non_null(txn.branches);
  assert_non_null(txn.history);
  add_branch(&txn, "bank-a", branch_states[state]);
  add_branch(&txn, "bank-b", branch_states[state]);
  static const enum vow_history_kind kinds[] = {VOW_HISTORY_BEGUN, VOW_HISTORY_COMMIT_ASKED,
                                                VOW_HISTORY_DECIDED};
  for (uint32_t i = 0; i < 3; i++) {
    txn.history[i] = (struct vow_history){
        .time_ms = UINT64_C(1700000000000) + i, .kind = (uint8_t)kinds[i], .count = 1};
  }
  txn.history_count = 3;
  return txn;
}

static uint64_t append_unflushed(struct fixture *f, const struct vow_txn *txn, bool forced,
                                 bool first) {
  struct vow_action action = {.type = VOW_ACTION_LOG};
  action.u.log.record = VOW_RECORD_TXN;
  action.u.log.position = f->position + 1;
  action.u.log.forced = forced;
  action.u.log.first = first;
  action.u.log.txn = txn;
  assert_int_equal(vow_log_append(f->log, &action), VOW_OK);
  return ++f->position;
}

static uint64_t append_record(struct fixture *f, const struct vow_txn *txn, bool forced,
                              bool first) {
  uint64_t position = append_unflushed(f, txn, forced, first);
  vow_log_flush(f->log, 0);
  return position;
}

uint64_t append_more(struct fixture *f, uint32_t n, enum vow_txn_state state, uint64_t ended_ms,
                     bool forced) {
  struct vow_txn txn = nth_txn(n, state, ended_ms);
  uint64_t position = append_unflushed(f, &txn, forced, false);
  vow_txn_fini(&txn);
  return position;
}

uint64_t append(struct fixture *f, const struct vow_txn *txn, bool forced) {
  return append_record(f, txn, forced, false);
}

uint64_t append_first(struct fixture *f, uint32_t n, enum vow_txn_state state, uint64_t ended_ms) {
  struct vow_txn txn = nth_txn(n, state, ended_ms);
  uint64_t position = append_record(f, &txn, false, true);
  vow_txn_fini(&txn);
  return position;
}

uint64_t append_nth(struct fixture *f, uint32_t n, enum vow_txn_state state, uint64_t ended_ms,
                    bool forced) {
  struct vow_txn txn = nth_txn(n, state, ended_ms);
  uint64_t position = append(f, &txn, forced);
  vow_txn_fini(&txn);
  return position;
}

/* ---- waiting ---- */

void wait_until(struct fixture *f, bool (*there)(struct fixture *f)) {
  uint64_t deadline = monotonic_ms() + DEADLINE_MS;
  vow_log_poll(f->log, &f->progress);
  while (!there(f)) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_nsec += 20000000;
    if (at.tv_nsec >= 1000000000) {
      at.tv_sec++;
      at.tv_nsec -= 1000000000;
    }
    sem_timedwait(&woken, &at);
    vow_log_poll(f->log, &f->progress);
    if (monotonic_ms() > deadline) fail_msg("waited in vain; the log says: %s", f->progress.why);
  }
}

static uint64_t awaited;

static bool durable_there(struct fixture *f) {
  if (f->progress.error != VOW_OK) fail_msg("the log failed: %s", f->progress.why);
  return f->progress.durable >= awaited;
}

void wait_durable(struct fixture *f, uint64_t position) {
  awaited = position;
  wait_until(f, durable_there);
}

static bool failed_there(struct fixture *f) {
  return f->progress.error != VOW_OK;
}

void wait_failed(struct fixture *f) {
  wait_until(f, failed_there);
}

struct vow_log_counts counts(struct fixture *f) {
  struct vow_log_counts out;
  vow_log_counts(f->log, &out);
  return out;
}

void write_until_purged(struct fixture *f, uint64_t rows) {
  uint64_t end = fixture_now_ms() + DEADLINE_MS;
  while (counts(f).purged < rows) {
    if (fixture_now_ms() > end) fail_msg("waited too long for a purge");
    wait_durable(f, append_nth(f, 5000, VOW_TXN_COMMITTING, 0, true));
  }
}

/* ---- queries ---- */

static void take_answer(void *context, const struct vow_log_result *result) {
  struct answer *answer = context;
  answer->done = true;
  answer->result = *result;
  snprintf(answer->why, sizeof answer->why, "%s", result->why == NULL ? "" : result->why);
  answer->result.why = answer->why;
  answer->result.rows = calloc(result->count + 1, sizeof *result->rows);
  assert_non_null(answer->result.rows);
  for (uint32_t i = 0; i < result->count; i++) {
    answer->result.rows[i] = result->rows[i];
    result->rows[i] = (struct vow_txn){0};
  }
}

static struct answer *expected;

static bool answer_there(struct fixture *f) {
  (void)f;
  return expected->done;
}

void ask(struct fixture *f, struct vow_log_query query, struct answer *out) {
  *out = (struct answer){0};
  query.done = take_answer;
  query.context = out;
  if (vow_log_query_now(f->log, &query) == VOW_OK) return;
  assert_int_equal(vow_log_query(f->log, &query), VOW_OK);
  expected = out;
  wait_until(f, answer_there);
}

void answer_fini(struct answer *answer) {
  for (uint32_t i = 0; i < answer->result.count; i++) vow_txn_fini(&answer->result.rows[i]);
  free(answer->result.rows);
  *answer = (struct answer){0};
}

enum vow_txn_state find_state(struct fixture *f, uint32_t n) {
  struct answer answer;
  enum vow_txn_state state = (enum vow_txn_state)0;
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_FIND, .id = nth_id(n)}, &answer);
  if (answer.result.error != VOW_OK) fail_msg("find: %s", answer.why);
  if (answer.result.count == 1) state = answer.result.rows[0].state;
  answer_fini(&answer);
  return state;
}

void fixture_change(struct fixture *f, const char *sql) {
  sqlite3 *db = NULL;
  char *message = NULL;
  assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
  if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK) fail_msg("%s", message);
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

int in_child(void (*body)(void *context), void *context) {
  int status;
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    body(context);
    _exit(0);
  }
  assert_int_equal(waitpid(pid, &status, 0), pid);
  return status;
}

int fixture_new(void **state) {
  *state = calloc(1, sizeof(struct fixture));
  fixture_setup(*state);
  return 0;
}

int fixture_drop(void **state) {
  fixture_teardown(*state);
  free(*state);
  return 0;
}
