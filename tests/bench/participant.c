/*
 * A participant on libvow, for the bench. It does what an application would, and little of it.
 *
 *     participant --log FILE --listen HOST:PORT [--effects FILE] [--hold]
 *     participant --db FILE --listen HOST:PORT --accounts N [--hold]
 *
 * With --log the callbacks do nothing but note each commit in the effects file: the votes are as
 * durable as anybody's. With --db every branch moves money on an account, under the SQLite adapter.
 * With --hold commits are refused, and nobody is asked for outcomes, until SIGUSR2:
 * so promises are kept open.
 *
 * SIGUSR1 prints vow_participant_stats as JSON; SIGTERM does, too, and ends it.
 */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vow/participant.h>
#include <vow/sqlite.h>

#define ACCOUNT_FIRST    10000000LL
#define BRANCHES_MAX     1000000u
#define TOMBSTONES_MAX   4000000u
#define EFFECTS_MAX      (8u << 20)
#define TRANSACTION_TEXT 36

/* One for each commit callback, in a file that is mapped: what is written there survives the death
 * of the process, at the cost of a memcpy. The rest of the file is zero. */
struct effect {
  char transaction[TRANSACTION_TEXT];
  uint32_t branch;
};

static struct effect *effects; /* NULL: none are noted */
static _Atomic uint32_t effect_next;
static _Atomic int hold;

/* ---- callbacks ---- */

static enum vow_vote prepare(void *context, const struct vow_work *work,
                             struct vow_reason *reason) {
  (void)context, (void)work, (void)reason;
  return VOW_VOTE_COMMIT;
}

static enum vow_error commit(void *context, const struct vow_work *work,
                             struct vow_reason *reason) {
  (void)context;
  if (atomic_load_explicit(&hold, memory_order_relaxed)) {
    vow_reason_set(reason, "held");
    return VOW_E_INTERNAL;
  }
  if (!effects) return VOW_OK;
  uint32_t at = atomic_fetch_add(&effect_next, 1);
  if (at >= EFFECTS_MAX) abort();
  memcpy(effects[at].transaction, work->transaction, TRANSACTION_TEXT);
  effects[at].branch = work->branch;
  return VOW_OK;
}

static int map_effects(const char *path) {
  size_t bytes = EFFECTS_MAX * sizeof *effects;
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0) return -1;
  void *mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (mapped == MAP_FAILED) return -1;
  effects = mapped;
  while (effect_next < EFFECTS_MAX && effects[effect_next].transaction[0]) effect_next++;
  return 0;
}

/* ---- accounts in SQLite ---- */

static sqlite3_stmt *move_money;

static enum vow_vote work_sqlite(void *context, sqlite3 *db, const struct vow_work *work,
                                 struct vow_reason *reason) {
  (void)context;
  long long account = 0, amount = 0;
  if (!work->payload ||
      sscanf(work->payload, "{\"account\":%lld,\"amount\":%lld", &account, &amount) != 2) {
    vow_reason_set(reason, "the payload must be {\"account\":N,\"amount\":N}");
    return VOW_VOTE_ABORT;
  }
  if (!move_money &&
      sqlite3_prepare_v3(db,
                         "UPDATE account SET balance = balance + ?2, moves = moves + 1"
                         " WHERE id = ?1",
                         -1, SQLITE_PREPARE_PERSISTENT, &move_money, NULL) != SQLITE_OK) {
    return VOW_VOTE_ABORT;
  }
  sqlite3_bind_int64(move_money, 1, account);
  sqlite3_bind_int64(move_money, 2, amount);
  sqlite3_step(move_money);
  if (sqlite3_reset(move_money) != SQLITE_OK || sqlite3_changes(db) != 1) {
    vow_reason_set(reason, "%s", sqlite3_errmsg(db));
    return VOW_VOTE_ABORT;
  }
  return VOW_VOTE_COMMIT;
}

static void teardown_sqlite(void *context, sqlite3 *db) {
  (void)context, (void)db;
  sqlite3_finalize(move_money);
  move_money = NULL;
}

/* Makes the table and its accounts, unless they are there. */
static int make_accounts(const char *path, long long count) {
  sqlite3 *db = NULL;
  char *sql = sqlite3_mprintf(
      "PRAGMA journal_mode = WAL; BEGIN IMMEDIATE;"
      "CREATE TABLE IF NOT EXISTS account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL,"
      " moves INTEGER NOT NULL) STRICT;"
      "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < %lld)"
      " INSERT OR IGNORE INTO account SELECT %lld + i, 0, 0 FROM n; COMMIT",
      count, ACCOUNT_FIRST);
  int rc = sqlite3_open(path, &db);
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
  if (rc != SQLITE_OK) fprintf(stderr, "participant: %s: %s\n", path, sqlite3_errmsg(db));
  sqlite3_free(sql);
  sqlite3_close(db);
  return rc == SQLITE_OK ? 0 : -1;
}

/* ---- the process ---- */

static void print_stats(struct vow_participant *participant) {
  struct vow_participant_stats stats;
  vow_participant_stats(participant, &stats);
  printf(
      "{\"prepared\":%llu,\"tombstones\":%llu,\"committed\":%llu,\"aborted\":%llu,"
      "\"log_syncs\":%llu,\"log_records\":%llu,\"inquiries\":%llu}\n",
      (unsigned long long)stats.prepared, (unsigned long long)stats.tombstones,
      (unsigned long long)stats.committed, (unsigned long long)stats.aborted,
      (unsigned long long)stats.log_syncs, (unsigned long long)stats.log_records,
      (unsigned long long)stats.inquiries);
  fflush(stdout);
}

static void serve(struct vow_participant *participant, const sigset_t *signals) {
  int number = 0;
  while (sigwait(signals, &number) == 0) {
    if (number == SIGUSR2) {
      hold = 0;
    } else {
      print_stats(participant);
    }
    if (number == SIGTERM || number == SIGINT) return;
  }
}

static int run(const char *log, const char *db, const char *address, const sigset_t *signals) {
  char why[256] = "";
  enum vow_error error = VOW_OK;
  struct vow_sqlite *sqlite = NULL;
  struct vow_participant *participant = NULL;
  struct vow_sqlite_options sqlite_options;
  struct vow_participant_options options;
  vow_participant_options_init(&options);
  options.branches_max = BRANCHES_MAX;
  options.tombstones_max = TOMBSTONES_MAX;
  options.callback_threads = 0; /* they never wait */
  if (hold) options.inquiry_min_ms = options.inquiry_max_ms = 3600000;
  if (db) {
    vow_sqlite_options_init(&sqlite_options);
    sqlite_options.path = db;
    sqlite_options.work = work_sqlite;
    sqlite_options.teardown = teardown_sqlite;
    error = vow_sqlite_open(&sqlite, &sqlite_options, why, sizeof why);
    options.sqlite = sqlite;
  } else {
    options.log_path = log;
    options.prepare = prepare;
    options.commit = commit;
    options.prepare_leaves_nothing = 1;
  }
  if (!error) error = vow_participant_open(&participant, &options, why, sizeof why);
  if (!error) error = vow_participant_listen(participant, address, why, sizeof why);
  if (error) {
    fprintf(stderr, "participant: %s: %s\n", vow_error_text(error), why);
  } else {
    printf("participant listens on http://127.0.0.1:%u\n", vow_participant_port(participant));
    fflush(stdout);
    serve(participant, signals);
  }
  vow_participant_close(participant);
  vow_sqlite_close(sqlite);
  return error ? 1 : 0;
}

int main(int count, char **arguments) {
  static const struct option table[] = {
      {"log", required_argument, NULL, 'l'},
      {"db", required_argument, NULL, 'd'},
      {"listen", required_argument, NULL, 'a'},
      {"effects", required_argument, NULL, 'e'},
      {"accounts", required_argument, NULL, 'n'},
      {"hold", no_argument, NULL, 'h'},
      {NULL, 0, NULL, 0},
  };
  const char *log = NULL, *db = NULL, *address = NULL, *effects_path = NULL;
  long long accounts = 1;
  for (int letter; (letter = getopt_long(count, arguments, "", table, NULL)) != -1;) {
    if (letter == 'l') log = optarg;
    if (letter == 'd') db = optarg;
    if (letter == 'a') address = optarg;
    if (letter == 'e') effects_path = optarg;
    if (letter == 'n') accounts = strtoll(optarg, NULL, 10);
    if (letter == 'h') hold = 1;
    if (letter == '?') return 2;
  }
  if (!address || !log == !db || optind != count) {
    fputs("usage: participant --log FILE | --db FILE --listen HOST:PORT (see participant.c)\n",
          stderr);
    return 2;
  }
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGUSR1);
  sigaddset(&signals, SIGUSR2);
  pthread_sigmask(SIG_BLOCK, &signals, NULL);
  if (db && make_accounts(db, accounts) != 0) return 1;
  if (effects_path && map_effects(effects_path) != 0) {
    perror(effects_path);
    return 1;
  }
  return run(log, db, address, &signals);
}
