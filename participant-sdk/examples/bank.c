/*
 * A bank: accounts in SQLite, money moved under two-phase commit.
 *
 *     bank --db FILE --listen HOST:PORT [--init COUNT BALANCE] [--threads COUNT]
 *                                takes part; prints where it listens
 *     bank --db FILE --sum       prints what all accounts hold together
 *     bank --db FILE --check     0 if the books are in order
 *
 * A branch's payload is {"account": 7, "amount": -25}. All that the bank does for two-phase commit
 * is the function `work`: it runs at prepare, and vow keeps what it did, invisible and locked,
 * until the coordinator has decided. What must hold at commit stands in a row that the work writes:
 * the balance, which may not become negative.
 */
#include <getopt.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vow/participant.h>
#include <vow/sqlite.h>

static const char schema[] =
    "PRAGMA journal_mode = WAL;"
    "BEGIN IMMEDIATE;"
    "CREATE TABLE IF NOT EXISTS account(id INTEGER PRIMARY KEY, start INTEGER NOT NULL,"
    " balance INTEGER NOT NULL CHECK(balance >= 0)) STRICT;"
    "CREATE TABLE IF NOT EXISTS ledger(\"transaction\" TEXT, branch INTEGER, account INTEGER NOT "
    "NULL,"
    " delta INTEGER NOT NULL, PRIMARY KEY(\"transaction\", branch)) STRICT, WITHOUT ROWID;";

/* ---- taking part ---- */

/* Runs one statement with ?1 the transaction, ?2 the branch and ?3 the payload. */
static int run(sqlite3 *db, const char *sql, const struct vow_work *work) {
  sqlite3_stmt *statement = NULL;
  int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
  if (rc != SQLITE_OK) return rc;
  sqlite3_bind_text(statement, 1, work->transaction, -1, SQLITE_STATIC);
  sqlite3_bind_int64(statement, 2, work->branch);
  sqlite3_bind_text(statement, 3, work->payload, -1, SQLITE_STATIC);
  sqlite3_step(statement);
  return sqlite3_finalize(statement);
}

static enum vow_vote work(void *context, sqlite3 *db, const struct vow_work *work,
                          struct vow_reason *reason) {
  (void)context;
  if (!work->payload) {
    vow_reason_set(reason, "a payload is needed: {\"account\": 7, \"amount\": -25}");
    return VOW_VOTE_ABORT;
  }
  int rc = run(db,
               "UPDATE account SET balance = balance + json_extract(?3, '$.amount')"
               " WHERE id = json_extract(?3, '$.account')",
               work);
  if (rc == SQLITE_OK && sqlite3_changes(db) == 0) {
    vow_reason_set(reason, "no such account");
    return VOW_VOTE_ABORT;
  }
  if (rc == SQLITE_OK) {
    rc = run(db,
             "INSERT INTO ledger(\"transaction\", branch, account, delta)"
             " VALUES(?1, ?2, json_extract(?3, '$.account'), json_extract(?3, '$.amount'))",
             work);
  }
  if (rc == SQLITE_OK) return VOW_VOTE_COMMIT;
  if (sqlite3_extended_errcode(db) == SQLITE_CONSTRAINT_CHECK) {
    vow_reason_set(reason, "insufficient funds");
  } else {
    vow_reason_set(reason, "%s", sqlite3_errmsg(db));
  }
  return VOW_VOTE_ABORT;
}

/* Serves until a signal says stop. */
static int serve(const char *path, const char *address, struct vow_participant_options *options) {
  char why[256] = "";
  struct vow_sqlite *database = NULL;
  struct vow_participant *participant = NULL;
  struct vow_sqlite_options sqlite_options;
  sigset_t stop;
  int signal_number = 0;

  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  sigaddset(&stop, SIGINT);
  pthread_sigmask(SIG_BLOCK, &stop, NULL);

  vow_sqlite_options_init(&sqlite_options);
  sqlite_options.path = path;
  sqlite_options.work = work;
  enum vow_error error = vow_sqlite_open(&database, &sqlite_options, why, sizeof why);
  if (error) goto out;
  options->sqlite = database;
  error = vow_participant_open(&participant, options, why, sizeof why);
  if (error) goto out;
  error = vow_participant_listen(participant, address, why, sizeof why);
  if (error) goto out;
  printf("bank %s listens on http://%.*s:%u\n", path, (int)(strrchr(address, ':') - address),
         address, vow_participant_port(participant));
  fflush(stdout);
  sigwait(&stop, &signal_number);
out:
  if (error) fprintf(stderr, "bank: %s: %s\n", vow_error_text(error), why);
  vow_participant_close(participant);
  vow_sqlite_close(database);
  return error ? 1 : 0;
}

/* ---- the books ---- */

static sqlite3 *open_database(const char *path, int flags) {
  sqlite3 *db = NULL;
  if (sqlite3_open_v2(path, &db, flags, NULL) != SQLITE_OK) {
    fprintf(stderr, "bank: %s: %s\n", path, db ? sqlite3_errmsg(db) : "out of memory");
    sqlite3_close(db);
    return NULL;
  }
  sqlite3_busy_timeout(db, 5000);
  return db;
}

/* Makes the tables and, if there are none yet, the accounts; all or nothing. */
static int init(const char *path, long long count, long long balance) {
  sqlite3 *db = open_database(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  if (!db) return 1;
  char *fill = sqlite3_mprintf(
      "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < %lld)"
      "INSERT INTO account SELECT id, %lld, %lld FROM n"
      " WHERE NOT EXISTS(SELECT 1 FROM account); COMMIT",
      count, balance, balance);
  int rc = sqlite3_exec(db, schema, NULL, NULL, NULL);
  if (rc == SQLITE_OK) rc = fill ? sqlite3_exec(db, fill, NULL, NULL, NULL) : SQLITE_NOMEM;
  if (rc != SQLITE_OK) {
    fprintf(stderr, "bank: %s: %s\n", path, fill ? sqlite3_errmsg(db) : "out of memory");
  }
  sqlite3_free(fill);
  sqlite3_close(db);
  return rc == SQLITE_OK ? 0 : 1;
}

static int print_row(void *context, int columns, char **values, char **names) {
  int *rows = context;
  (void)columns;
  (void)names;
  ++*rows;
  puts(values[0]);
  return 0;
}

/* Prints the rows of a query of one column. Their number, or -1. */
static int print_rows(sqlite3 *db, const char *sql) {
  int rows = 0;
  if (sqlite3_exec(db, sql, print_row, &rows, NULL) == SQLITE_OK) return rows;
  fprintf(stderr, "bank: %s\n", sqlite3_errmsg(db));
  return -1;
}

static int sum(const char *path) {
  sqlite3 *db = open_database(path, SQLITE_OPEN_READWRITE);
  if (!db) return 1;
  int rows = print_rows(db, "SELECT coalesce(sum(balance), 0) FROM account");
  sqlite3_close(db);
  return rows == 1 ? 0 : 1;
}

/* Each account holds what the ledger says, and nothing is prepared. Every row is a complaint. */
static int check(const char *path) {
  sqlite3 *db = open_database(path, SQLITE_OPEN_READWRITE);
  if (!db) return 1;
  int rows = print_rows(
      db,
      "SELECT 'account ' || id || ' holds ' || balance || ', the ledger says ' || (start + moved)"
      " FROM (SELECT id, balance, start, (SELECT coalesce(sum(delta), 0) FROM ledger"
      "   WHERE account = id) AS moved FROM account) WHERE balance <> start + moved"
      " UNION ALL SELECT 'transaction ' || \"transaction\" || ' is prepared and not ended'"
      "   FROM vow_changeset"
      " UNION ALL SELECT 'transaction ' || \"transaction\" || ' has a lock on ' || tbl || ' ' || k1"
      "   FROM vow_lock");
  sqlite3_close(db);
  return rows == 0 ? 0 : 1;
}

static int usage(void) {
  fputs(
      "usage: bank --db FILE --listen HOST:PORT [--init COUNT BALANCE] [--threads COUNT]\n"
      "       bank --db FILE --sum | --check\n",
      stderr);
  return 2;
}

int main(int count, char **arguments) {
  static const struct option table[] = {
      {"db", required_argument, NULL, 'd'},
      {"listen", required_argument, NULL, 'l'},
      {"init", required_argument, NULL, 'i'},
      {"sum", no_argument, NULL, 's'},
      {"check", no_argument, NULL, 'c'},
      {"threads", required_argument, NULL, 't'},
      {NULL, 0, NULL, 0},
  };
  const char *path = NULL;
  const char *address = NULL;
  char *end = NULL;
  struct vow_participant_options options;
  vow_participant_options_init(&options);
  unsigned long threads = options.callback_threads;
  long long accounts = 0;
  long long balance = 0;
  int what = 0;
  for (int option = 0; (option = getopt_long(count, arguments, "", table, NULL)) != -1;) {
    if (option == 'd') path = optarg;
    if (option == 'l') address = optarg;
    if (option == 't') threads = strtoul(optarg, &end, 10);
    if (option == 's' || option == 'c') what = option;
    if (option == '?') return usage();
    if (option == 'i') {
      accounts = strtoll(optarg, NULL, 10);
      if (accounts < 1 || optind >= count) return usage();
      balance = strtoll(arguments[optind++], NULL, 10);
    }
  }
  if (!path || optind != count || (end && *end) || threads > 1024) return usage();
  if (what == 's') return sum(path);
  if (what == 'c') return check(path);
  if (accounts && init(path, accounts, balance) != 0) return 1;
  if (!address) return accounts ? 0 : usage();
  if (!strrchr(address, ':')) return usage();
  options.callback_threads = (uint32_t)threads;
  return serve(path, address, &options);
}
