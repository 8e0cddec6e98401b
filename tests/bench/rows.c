/*
 * See rows.h. A failure of the database ends the program: it is a yardstick, not a service.
 */
#include "rows.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct list {
  struct row *first, *last;
};

struct rows {
  int wake_fd;
  sqlite3 *db; /* the thread's, once it runs */
  sqlite3_stmt *begin, *insert, *commit;
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t wanted;
  /* under the mutex */
  struct list queue, durable;
  struct rows_counts counts;
  bool stopping;
};

static void append(struct list *list, struct row *first, struct row *last) {
  if (list->first) {
    list->last->next = first;
  } else {
    list->first = first;
  }
  list->last = last;
}

static void step(struct rows *rows, sqlite3_stmt *statement) {
  sqlite3_step(statement);
  if (sqlite3_reset(statement) == SQLITE_OK) return;
  fprintf(stderr, "rows: %s\n", sqlite3_errmsg(rows->db));
  exit(1);
}

static uint64_t write_all(struct rows *rows, const struct row *row) {
  uint64_t count = 0;
  step(rows, rows->begin);
  for (; row; row = row->next) {
    sqlite3_bind_text(rows->insert, 1, row->id, -1, SQLITE_STATIC);
    sqlite3_bind_text(rows->insert, 2, row->text, -1, SQLITE_STATIC);
    step(rows, rows->insert);
    count++;
  }
  step(rows, rows->commit);
  return count;
}

static void *serve(void *argument) {
  struct rows *rows = argument;
  uint64_t one = 1;
  pthread_mutex_lock(&rows->mutex);
  for (;;) {
    while (!rows->queue.first && !rows->stopping) pthread_cond_wait(&rows->wanted, &rows->mutex);
    struct list taken = rows->queue;
    if (!taken.first) break;
    rows->queue.first = NULL;
    pthread_mutex_unlock(&rows->mutex);
    uint64_t count = write_all(rows, taken.first);
    pthread_mutex_lock(&rows->mutex);
    append(&rows->durable, taken.first, taken.last);
    rows->counts.rows += count;
    rows->counts.syncs++;
    if (write(rows->wake_fd, &one, sizeof one) < 0) perror("rows: eventfd");
  }
  pthread_mutex_unlock(&rows->mutex);
  return NULL;
}

void rows_put(struct rows *rows, struct row *row) {
  row->next = NULL;
  pthread_mutex_lock(&rows->mutex);
  bool sleeps = !rows->queue.first;
  append(&rows->queue, row, row);
  pthread_mutex_unlock(&rows->mutex);
  if (sleeps) pthread_cond_signal(&rows->wanted);
}

struct row *rows_take(struct rows *rows) {
  pthread_mutex_lock(&rows->mutex);
  struct row *first = rows->durable.first;
  rows->durable.first = NULL;
  pthread_mutex_unlock(&rows->mutex);
  return first;
}

void rows_counts(struct rows *rows, struct rows_counts *out) {
  pthread_mutex_lock(&rows->mutex);
  *out = rows->counts;
  pthread_mutex_unlock(&rows->mutex);
}

static int prepare(struct rows *rows, const char *sql, sqlite3_stmt **out) {
  return sqlite3_prepare_v3(rows->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
}

static bool open_database(struct rows *rows, const char *path) {
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  int rc = sqlite3_open_v2(path, &rows->db, flags, NULL);
  if (rc == SQLITE_OK) {
    /* As vow's log has it: a checkpoint every 16 MiB. */
    rc = sqlite3_exec(rows->db,
                      "PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                      "PRAGMA locking_mode=EXCLUSIVE; PRAGMA wal_autocheckpoint=2048;"
                      "CREATE TABLE decision(id TEXT NOT NULL, text TEXT NOT NULL)",
                      NULL, NULL, NULL);
  }
  if (rc == SQLITE_OK) rc = prepare(rows, "BEGIN IMMEDIATE", &rows->begin);
  if (rc == SQLITE_OK) rc = prepare(rows, "INSERT INTO decision VALUES(?1, ?2)", &rows->insert);
  if (rc == SQLITE_OK) rc = prepare(rows, "COMMIT", &rows->commit);
  if (rc != SQLITE_OK) fprintf(stderr, "rows: %s: %s\n", path, sqlite3_errmsg(rows->db));
  return rc == SQLITE_OK;
}

static void close_database(struct rows *rows) {
  sqlite3_finalize(rows->begin);
  sqlite3_finalize(rows->insert);
  sqlite3_finalize(rows->commit);
  sqlite3_close(rows->db);
  free(rows);
}

struct rows *rows_open(const char *path, int wake_fd) {
  struct rows *rows = calloc(1, sizeof *rows);
  if (!rows) return NULL;
  rows->wake_fd = wake_fd;
  pthread_mutex_init(&rows->mutex, NULL);
  pthread_cond_init(&rows->wanted, NULL);
  if (open_database(rows, path) && pthread_create(&rows->thread, NULL, serve, rows) == 0) {
    return rows;
  }
  close_database(rows);
  return NULL;
}

void rows_close(struct rows *rows) {
  if (!rows) return;
  pthread_mutex_lock(&rows->mutex);
  rows->stopping = true;
  pthread_mutex_unlock(&rows->mutex);
  pthread_cond_signal(&rows->wanted);
  pthread_join(rows->thread, NULL);
  close_database(rows);
}
