/*
 * The participant's vote log under crashes: in a file of its own, and inside an application's
 * database (beside a WAL, and beside a rollback journal) with the real SQLite resource. The
 * workload keeps a digest of everything that must be found after each batch: every record, every
 * watermark, every balance of the application, every changeset of a prepared branch. What is found
 * after a crash must be the state after one whole batch, at or behind the last that was reported as
 * done. A state is no longer possible once an opened log has shown another one.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/log.h"
#include "participant_digest.h"
#include "side.h"
#include "tests/lib/old_log.h"
#include "turns.h"
#include "vow/sqlite.h"

#define LOG_PATH     DISK_FOLDER "/votes.db"
#define COORDINATOR  "http://127.0.0.1:1" /* where nobody answers */
#define BRANCHES_MAX 512
#define STATES_MAX   256
#define OPEN_MAX     6
#define ROWS         64 /* of the application's table */
#define NEVER        UINT32_MAX

enum mode { MODE_OWN, MODE_WAL, MODE_JOURNAL, MODE_COUNT };

/* ---- the model ---- */

/* What the log is to say of one branch, and what the application's database is to hold. */
struct entry {
  enum vow_precord_kind kind; /* NONE: nothing */
  bool payload, applied;
};

struct content {
  struct entry branches[BRANCHES_MAX];
  uint32_t watermark; /* branches below are purged; 0: none was */
};

struct state {
  uint64_t digest;
  uint32_t from, until; /* possible at cuts in this range */
  uint32_t told_at;     /* from this cut on it, or a later one, must be there */
};

static struct {
  enum mode mode;
  struct content content; /* with everything that was submitted */
  struct content before;  /* this batch */
  struct state states[STATES_MAX];
  struct content history[STATES_MAX]; /* of each state */
  uint32_t state_count, branch_count;
  uint32_t started;        /* before this cut there was no log */
  uint32_t old, old_below; /* branches that a log of version 1 had at first; its watermark */
  struct vow_log *log;
  struct vow_sqlite *adapter;
  bool broken;
  bool batch_done;
  bool explained; /* why the log did not open */
  bool sweeping;  /* one call of the disk fails; batches have one job each */
} model;

static struct vow_id id_of(uint32_t branch) {
  return vow_id_make(UINT64_C(1800000000000) + branch, 1, branch * UINT64_C(7919) + 1);
}

/* Those of the old log get theirs, in order, when it is taken over. */
static uint64_t row_of(uint32_t branch) {
  return branch < model.old ? branch - model.old_below + 1 : branch + 1;
}

/* ---- branches, made from a number ---- */

/* Some are so long that they need pages of their own. */
static const char *payload_of(uint32_t branch) {
  static char text[8192];
  int bytes = snprintf(text, sizeof text,
                       "INSERT INTO ledger VALUES(%u, %u);"
                       "UPDATE account SET balance = balance + %u WHERE id = %u;--",
                       branch, branch * 3, branch + 1, branch % ROWS);
  size_t more = branch % 11 == 5 ? 6000 : branch % 3 * 100;
  memset(text + bytes, 'x', more);
  text[(size_t)bytes + more] = '\0';
  return text;
}

/* The work of the application: its payload is its SQL. */
static enum vow_vote run_payload(void *context, struct sqlite3 *db, const struct vow_work *work,
                                 struct vow_reason *reason) {
  (void)context;
  (void)reason;
  int code = sqlite3_exec(db, work->payload, NULL, NULL, NULL);
  return code == SQLITE_OK ? VOW_VOTE_COMMIT : VOW_VOTE_ABORT;
}

static uint64_t content_digest(const struct content *content) {
  int64_t balances[ROWS] = {0};
  uint64_t sum = content->watermark == 0 ? 0 : number_digest("watermark", content->watermark, 0);
  for (uint32_t n = 0; n < model.branch_count; n++) {
    const struct entry *entry = &content->branches[n];
    struct vow_id id = id_of(n);
    char text[VOW_ID_TEXT_BYTES];
    vow_id_format(id, text);
    if (entry->kind != VOW_PRECORD_NONE)
      sum += record_digest(&id, row_of(n), entry->kind, entry->payload ? payload_of(n) : NULL);
    if (model.mode == MODE_OWN) continue;
    if (entry->kind == VOW_PRECORD_PREPARED) sum += changeset_digest(text);
    if (!entry->applied) continue;
    balances[n % ROWS] += n + 1;
    sum += number_digest("ledger", n, n * 3);
  }
  for (uint64_t i = 0; model.mode != MODE_OWN && i < ROWS; i++)
    sum += number_digest("account", i, balances[i]);
  return sum;
}

/* ---- states ---- */

static void note_state(uint32_t from) {
  if (model.state_count == STATES_MAX) abort();
  uint32_t n = model.state_count++;
  model.history[n] = model.content;
  model.states[n] = (struct state){
      .digest = content_digest(&model.content), .from = from, .until = NEVER, .told_at = NEVER};
}

static void tell_newest(void) {
  uint32_t *at = &model.states[model.state_count - 1].told_at;
  if (*at == NEVER) *at = side_now();
}

/* The state of this digest at this cut; -1: none. */
static int find_state(uint64_t digest, uint32_t cut) {
  for (uint32_t i = model.state_count; i-- > 0;) {
    const struct state *state = &model.states[i];
    if (state->from > cut || cut >= state->until) continue;
    if (state->digest == digest) return (int)i;
    if (state->told_at <= cut) return -1; /* nothing older may be there */
  }
  return -1;
}

static void exclude_all_but(int kept) {
  for (uint32_t i = 0; i < model.state_count; i++) {
    if ((int)i != kept && model.states[i].until == NEVER) model.states[i].until = side_now();
  }
}

/* ---- what the log tells ---- */

static void on_called(void *context, struct vow_log_job *job, enum vow_vote vote,
                      enum vow_error error, const char *reason) {
  uint32_t n = (uint32_t)job->position;
  struct entry *entry = &model.content.branches[n];
  (void)context;
  (void)reason;
  job->type = VOW_LOG_RECORD;
  if (job->call != VOW_MESSAGE_PREPARE && error != VOW_OK) { /* not done: it would come again */
    job->type = VOW_LOG_NOTHING;
    return;
  }
  if (job->call == VOW_MESSAGE_PREPARE && vote == VOW_VOTE_COMMIT)
    *entry = (struct entry){.kind = VOW_PRECORD_PREPARED, .payload = true};
  else if (job->call == VOW_MESSAGE_COMMIT && error == VOW_OK)
    *entry = (struct entry){.kind = VOW_PRECORD_COMMITTED, .applied = true};
  else
    *entry = (struct entry){.kind = VOW_PRECORD_ABORTED};
  job->record.kind = entry->kind;
  if (!entry->payload) {
    job->record.payload = NULL;
    job->record.payload_bytes = 0;
  }
}

/* Nothing of a job that was refused is there, nor of the purge that came with it. */
static void take_back(const struct vow_log_job *job) {
  model.content.branches[job->position] = model.before.branches[job->position];
  if (job->purge_count == 0) return;
  for (uint32_t n = model.before.watermark; n < model.content.watermark; n++)
    model.content.branches[n] = model.before.branches[n];
  model.content.watermark = model.before.watermark;
}

static void on_done(void *context, const struct vow_log_job *jobs, const char *why) {
  (void)context;
  (void)why;
  model.batch_done = true;
  for (; jobs != NULL; jobs = jobs->next) {
    if (jobs->error != VOW_OK) take_back(jobs);
  }
}

static void on_broken(void *context, enum vow_error error, const char *why) {
  (void)context;
  (void)error;
  (void)why;
  model.broken = true;
}

/* ---- giving jobs to the log ---- */

/* What jobs point to stays until they are done. */
static struct {
  struct vow_plive live[16];
  struct vow_pbranch branch[16];
  char *payload[16];
  uint32_t count;
} held;

static void free_held(void) {
  for (uint32_t i = 0; i < held.count; i++) free(held.payload[i]);
  held.count = 0;
}

static struct vow_log_job *new_job(uint32_t n, enum vow_precord_kind kind, bool payload) {
  struct vow_log_job *job = vow_log_job_new(VOW_LOG_RECORD);
  uint32_t slot = held.count++;
  if (job == NULL || slot >= 16) abort();
  held.payload[slot] = strdup(payload_of(n));
  job->position = n;
  job->forced = true;
  job->record = (struct vow_precord){.kind = kind,
                                     .transaction = id_of(n),
                                     .branch = 1,
                                     .row = row_of(n),
                                     .coordinator = COORDINATOR,
                                     .payload = payload ? held.payload[slot] : NULL,
                                     .payload_bytes = payload ? strlen(held.payload[slot]) : 0};
  held.live[slot] = (struct vow_plive){.payload = held.payload[slot],
                                       .payload_bytes = strlen(held.payload[slot])};
  held.branch[slot] =
      (struct vow_pbranch){.transaction = id_of(n), .number = 1, .live = &held.live[slot]};
  job->branch = &held.branch[slot];
  return job;
}

static struct vow_log_job *record_job(uint32_t n, enum vow_precord_kind kind, bool payload) {
  model.content.branches[n] = (struct entry){.kind = kind, .payload = payload};
  return new_job(n, kind, payload);
}

static struct vow_log_job *call_job(uint32_t n, enum vow_message_type call) {
  struct vow_log_job *job = new_job(n, VOW_PRECORD_NONE, call == VOW_MESSAGE_PREPARE);
  job->type = VOW_LOG_CALL;
  job->call = call;
  return job;
}

static struct vow_log_job *prepare_job(void) {
  if (model.branch_count == BRANCHES_MAX) abort();
  uint32_t n = model.branch_count++;
  if (model.mode != MODE_OWN) return call_job(n, VOW_MESSAGE_PREPARE);
  return record_job(n, draw(5) == 0 ? VOW_PRECORD_INTENT : VOW_PRECORD_PREPARED, true);
}

static bool is_open(uint32_t n) {
  enum vow_precord_kind kind = model.content.branches[n].kind;
  return kind == VOW_PRECORD_PREPARED || kind == VOW_PRECORD_INTENT;
}

static struct vow_log_job *end_job(uint32_t n) {
  bool commit = draw(3) > 0;
  if (model.mode != MODE_OWN) return call_job(n, commit ? VOW_MESSAGE_COMMIT : VOW_MESSAGE_ABORT);
  if (model.content.branches[n].kind == VOW_PRECORD_INTENT)
    return record_job(n, VOW_PRECORD_PREPARED, true);
  return record_job(n, commit ? VOW_PRECORD_COMMITTED : VOW_PRECORD_ABORTED, false);
}

/* The watermark passes what has ended, a few at a time, in the transaction of another record. */
static void add_purge(struct vow_log_job *job, uint32_t below) {
  uint32_t from = model.content.watermark, to = from;
  while (to < below && to < from + 8 && !is_open(to)) to++;
  if (to == from) return;
  job->purge_rows = calloc(to - from, sizeof *job->purge_rows);
  if (job->purge_rows == NULL) abort();
  job->purge_coordinator = COORDINATOR;
  job->purge_below = id_of(to);
  for (uint32_t n = from; n < to; n++) {
    job->purge_rows[job->purge_count++] = row_of(n);
    model.content.branches[n].kind = VOW_PRECORD_NONE;
  }
  model.content.watermark = to;
}

/* One a branch, which has one record on its way; at times many, some of which share a statement. */
static struct vow_log_job *some_jobs(void) {
  uint32_t wanted = model.sweeping ? 1 : 1 + draw(draw(4) == 0 ? 14 : 5);
  uint32_t oldest = model.branch_count, open = 0, highest = model.branch_count;
  struct vow_log_job *jobs = NULL;
  for (uint32_t n = model.branch_count; n-- > 0;) {
    if (!is_open(n)) continue;
    oldest = n;
    open++;
  }
  for (uint32_t i = 0, n = oldest; i < wanted; i++) {
    while (n < highest && (!is_open(n) || draw(3) == 0)) n++;
    struct vow_log_job *job = n < highest && draw(OPEN_MAX) < open ? end_job(n++) : prepare_job();
    bool may_purge = !model.sweeping || job->type == VOW_LOG_RECORD;
    if (i == 0 && may_purge && draw(3) == 0) add_purge(job, oldest);
    job->next = jobs;
    jobs = job;
  }
  return jobs;
}

static void write_group(void) {
  uint32_t from = side_now();
  model.before = model.content;
  struct vow_log_job *jobs = some_jobs();
  model.batch_done = false;
  if (vow_log_submit(model.log, jobs, 0)) vow_log_proceed(model.log);
  if (mistake == MISTAKE_EARLY_REVEAL && model.mode == MODE_OWN) {
    note_state(from);
    tell_newest();
    turns_run();
  } else {
    turns_run();
    note_state(from);
  }
  if (model.batch_done) tell_newest();
  if (model.broken && mistake == MISTAKE_FAILED_IS_ABORT)
    model.states[model.state_count - 1].until = side_now();
  free_held();
}

/* ---- opening, and what is found ---- */

static enum vow_error load_coordinator(void *context, const char *url, struct vow_id below) {
  uint64_t *sum = context;
  uint32_t n = 0;
  while (n < model.branch_count && vow_id_compare(id_of(n), below) != 0) n++;
  *sum += strcmp(url, COORDINATOR) == 0 ? number_digest("watermark", n, 0) : 1;
  return VOW_OK;
}

static enum vow_error load_record(void *context, const struct vow_precord *record) {
  uint64_t *sum = context;
  *sum += record_digest(&record->transaction, record->row, record->kind, record->payload);
  return VOW_OK;
}

static int add_number(void *context, int count, char **values, char **names) {
  (void)count;
  *(uint64_t *)context +=
      number_digest(names[0], strtoull(values[0], NULL, 10), strtoll(values[1], NULL, 10));
  return 0;
}

static int add_changeset(void *context, int count, char **values, char **names) {
  (void)count;
  (void)names;
  *(uint64_t *)context += changeset_digest(values[0]);
  return 0;
}

/* Run by the resource on the log's connection when it opens. */
static enum vow_error read_application(void *context, sqlite3 *db) {
  int code =
      sqlite3_exec(db, "SELECT id AS account, balance FROM account;", add_number, context, NULL);
  if (code == SQLITE_OK)
    code = sqlite3_exec(db, "SELECT id AS ledger, amount FROM ledger;", add_number, context, NULL);
  if (code == SQLITE_OK)
    code = sqlite3_exec(db, "SELECT \"transaction\" FROM vow_changeset;", add_changeset, context,
                        NULL);
  if (code == SQLITE_ERROR) code = SQLITE_OK; /* at the first start the table is still to be made */
  return code == SQLITE_OK ? VOW_OK : VOW_E_DATABASE;
}

static void close_log(bool killed) {
  disk_faults.dead = killed;
  if (model.log != NULL) vow_log_stop(model.log);
  vow_log_close(model.log);
  vow_sqlite_close(model.adapter);
  disk_faults.dead = false;
  model.log = NULL;
  model.adapter = NULL;
  free_held();
}

static enum vow_error open_log(uint64_t *sum) {
  char text[512] = "";
  struct vow_log_loader loader = {
      .context = sum, .coordinator = load_coordinator, .record = load_record};
  struct vow_sqlite_options options;
  enum vow_error error = VOW_OK;
  *sum = 0;
  vow_sqlite_options_init(&options);
  options.path = LOG_PATH;
  options.work = run_payload;
  options.setup = read_application;
  options.context = sum;
  if (model.mode != MODE_OWN) error = vow_sqlite_open(&model.adapter, &options, text, sizeof text);
  if (error == VOW_OK) {
    const struct vow_resource *resource =
        model.mode == MODE_OWN ? NULL : vow_sqlite_resource(model.adapter);
    error = vow_log_open(&model.log, LOG_PATH, resource, &loader, text, sizeof text);
  }
  if (error == VOW_OK) return error;
  model.log = NULL;
  vow_sqlite_close(model.adapter);
  model.adapter = NULL;
  model.explained = strlen(text) > 20;
  (void)wrong("the log does not open: %s", text);
  return error;
}

/* Where two states differ, for whoever reads the failure. */
static void explain_difference(uint32_t cut) {
  char open[512] = "";
  size_t used = 0;
  for (uint32_t i = model.state_count; i-- > 0;) {
    if (model.states[i].from > cut || cut >= model.states[i].until) continue;
    const struct content *content = &model.history[i];
    for (uint32_t n = 0; n < BRANCHES_MAX && used < sizeof open - 16; n++) {
      if (content->branches[n].kind == VOW_PRECORD_PREPARED)
        used += (size_t)snprintf(open + used, sizeof open - used, " %u", n);
    }
    (void)wrong(
        "what is found is the state after no batch; last possible: batch %u, watermark %u,"
        " open:%s",
        i, content->watermark, open);
    return;
  }
  (void)wrong("nothing that is found was possible at all");
}

/* ---- a process's life ---- */

static bool make_application(void) {
  sqlite3 *db = NULL;
  bool wal = model.mode == MODE_WAL;
  const char *journal = wal ? "PRAGMA journal_mode=WAL" : "PRAGMA journal_mode=DELETE";
  static const char schema[] =
      "CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);"
      "CREATE TABLE ledger(id INTEGER PRIMARY KEY, amount INTEGER NOT NULL);"
      "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 63)"
      " INSERT INTO account SELECT i, 0 FROM n;";
  int code = sqlite3_open(LOG_PATH, &db);
  if (code == SQLITE_OK) code = sqlite3_exec(db, journal, NULL, NULL, NULL);
  if (code == SQLITE_OK) code = sqlite3_exec(db, schema, NULL, NULL, NULL);
  sqlite3_close(db);
  disk_sync_folder();
  return code == SQLITE_OK || wrong("the application's database cannot be made");
}

/* The run begins with a log of version 1. In an application's database no branch of it is open: the
 * changes that go with it are the adapter's. */
static bool make_old_log(void) {
  sqlite3 *db = NULL;
  if (sqlite3_open(LOG_PATH, &db) != SQLITE_OK) return wrong("the old log cannot be made");
  if (model.mode == MODE_OWN) sqlite3_exec(db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL);
  sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
  old_log_make(db);
  model.old = model.branch_count = 2 + draw(12);
  model.old_below = model.content.watermark = draw(model.old);
  for (uint32_t n = model.old_below; n < model.old; n++) {
    static const enum vow_precord_kind kinds[] = {VOW_PRECORD_COMMITTED, VOW_PRECORD_ABORTED,
                                                  VOW_PRECORD_INTENT, VOW_PRECORD_PREPARED};
    enum vow_precord_kind kind = kinds[draw(model.mode == MODE_OWN ? 4 : 2)];
    bool payload = kind <= VOW_PRECORD_PREPARED;
    model.content.branches[n] = (struct entry){.kind = kind, .payload = payload};
    struct vow_precord record = {.kind = kind,
                                 .transaction = id_of(n),
                                 .branch = 1,
                                 .coordinator = COORDINATOR,
                                 .payload = payload ? payload_of(n) : NULL,
                                 .payload_bytes = payload ? strlen(payload_of(n)) : 0};
    old_log_put(db, &record);
  }
  if (model.old_below > 0) old_log_put_watermark(db, COORDINATOR, id_of(model.old_below));
  int code = sqlite3_exec(db, "COMMIT;", NULL, NULL, NULL); /* mistakes.c looks for "COMMIT" */
  sqlite3_close(db);
  disk_sync_folder();
  note_state(side_now());
  tell_newest();
  model.started = side_now();
  return code == SQLITE_OK || wrong("the old log cannot be made");
}

/* The state that was found; -1: it is none. */
static int judge_sum(uint64_t sum, uint32_t cut) {
  int state = find_state(sum, cut);
  if (state < 0) explain_difference(cut);
  return state;
}

static const struct vow_log_hooks hooks = {
    .called = on_called, .done = on_done, .broken = on_broken};

/* Opens until it works: a start whose sync fails is refused. Then others rely on what it shows. */
static bool begin_process(void) {
  uint64_t sum = 0;
  bool first = model.state_count == 0;
  if (first) note_state(0);
  bool forgiven = disk_faults.seed != 0 || model.sweeping;
  enum vow_error error = open_log(&sum);
  if (error != VOW_OK && forgiven && model.explained) error = open_log(&sum);
  if (error != VOW_OK) return false;
  disk_faults.fail_sync = 0;
  disk_faults.seed = 0;
  model.broken = false;
  if (first) model.started = side_now();
  int state = judge_sum(sum, side_now());
  if (state < 0) return false;
  exclude_all_but(state);
  model.content = model.history[state];
  note_state(side_now());
  tell_newest();
  return vow_log_start(model.log, &hooks, false) == VOW_OK || wrong("the thread does not start");
}

static void live(enum end end, uint32_t groups) {
  if (end == END_FAILED_SYNC) disk_faults.seed = draw_seed() | 1;
  uint32_t failing = draw(3);
  for (uint32_t i = 0; i < groups && !model.broken; i++) {
    if (end == END_FAILED_SYNC && i == failing) disk_faults.fail_sync = 1 + (int)draw(3);
    write_group();
  }
}

static void end_process(enum end end) {
  close_log(end != END_CLOSE);
  if (end == END_CUT) disk_cut_now(draw_seed());
  disk_faults.fail_sync = end == END_FAILED_SYNC && draw(3) == 0 ? 1 + (int)draw(3) : 0;
}

bool side_play(uint64_t seed) {
  uint64_t any = seed;
  sqlite_memory_make_small(disk_random(&any) % 2 == 0);
  model.mode = (enum mode)(seed % MODE_COUNT);
  bool ok = model.mode == MODE_OWN || make_application();
  if (ok && draw(3) == 0) ok = make_old_log();
  uint32_t lives = 3 + draw(3);
  for (uint32_t i = 0; ok && i < lives; i++) {
    enum end end = draw_end();
    ok = begin_process();
    if (!ok) break;
    live(end, 4 + draw(10));
    ok = !model.broken || end == END_FAILED_SYNC || wrong("the log broke");
    end_process(end);
  }
  if (model.log != NULL) close_log(true);
  disk_faults.fail_sync = 0;
  disk_faults.seed = 0;
  return ok;
}

/* In each mode the life of a new log, and the first start on a log of version 1, by turns. */
bool side_sweep(uint32_t call, bool *reached) {
  enum { LIVES = 2 * MODE_COUNT };
  static uint32_t ended; /* lives that have no call of this number any more */
  uint32_t life = (call - 1) % LIVES;
  model.mode = (enum mode)(life % MODE_COUNT);
  model.sweeping = true;
  bool ok = (model.mode == MODE_OWN || make_application()) && (life < MODE_COUNT || make_old_log());
  disk_faults.fail_call = 1 + (int)((call - 1) / LIVES);
  for (int i = 0; ok && i < (life < MODE_COUNT ? 3 : 1); i++) {
    if (!(ok = begin_process())) break;
    live(END_CLOSE, 6);
    ok = !model.broken || disk_faults.fail_call == 0 || wrong("the log broke");
    end_process(i == 1 ? END_KILL : END_CLOSE);
  }
  if (disk_faults.fail_call != 0) ended |= 1u << life;
  *reached = ended != (1u << LIVES) - 1;
  disk_faults.fail_call = 0;
  model.sweeping = false;
  ok = ok && begin_process();
  if (model.log != NULL) close_log(true);
  return ok;
}

bool side_judge(uint32_t cut) {
  uint64_t sum = 0;
  /* Before that the application's database is in the making, or the old log. */
  if (cut < model.started && (model.mode != MODE_OWN || model.old > 0)) return true;
  if (open_log(&sum) != VOW_OK) return false;
  close_log(true);
  return judge_sum(sum, cut) >= 0;
}

void side_forget(void) {
  memset(&model, 0, sizeof model);
}
