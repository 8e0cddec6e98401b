/*
 * Reading. Every query is a bounded piece of work: a page has limits for its rows, for its bytes
 * and for the rows it may look at, so that a write never waits long behind a reader. Rows are
 * verified and decoded here, on the log thread, and cross to the loop as finished images.
 */
#include <stdlib.h>
#include <string.h>

#include "io/log_internal.h"
#include "json.h"

#define PAGE_ROWS_MAX  1000u
#define PAGE_BYTES_MAX (1u << 20) /* of records; one row more than this still makes a page */

/* ---- the queries themselves ---- */

static char *take_copy(char **at, const char *text) {
  if (text == NULL) return NULL;
  size_t bytes = strlen(text) + 1;
  char *copy = memcpy(*at, text, bytes);
  *at += bytes;
  return copy;
}

static size_t text_bytes(const char *text) {
  return text == NULL ? 0 : strlen(text) + 1;
}

struct log_query *log_query_copy(const struct vow_log_query *query) {
  size_t ids_bytes =
      query->type == VOW_LOG_QUERY_FIND_MANY ? query->id_count * sizeof *query->ids : 0;
  size_t bytes = sizeof(struct log_query) + ids_bytes + text_bytes(query->key) +
                 text_bytes(query->participant) + text_bytes(query->path);
  struct log_query *copy = calloc(1, bytes);
  if (copy == NULL) return NULL;
  char *at = (char *)(copy + 1);
  copy->q = *query;
  if (ids_bytes > 0) {
    copy->q.ids = memcpy(at, query->ids, ids_bytes);
    at += ids_bytes;
  }
  copy->q.key = take_copy(&at, query->key);
  copy->q.participant = take_copy(&at, query->participant);
  copy->q.path = take_copy(&at, query->path);
  return copy;
}

static void free_rows(struct log_query *query) {
  for (uint32_t i = 0; i < query->result.count; i++) vow_txn_fini(&query->result.rows[i]);
  free(query->result.rows);
  query->result.rows = NULL;
  query->result.count = 0;
}

void log_query_free(struct log_query *query) {
  if (query == NULL) return;
  free_rows(query);
  free(query);
}

void log_query_push(struct log_query_list *list, struct log_query *query) {
  query->next = NULL;
  if (list->first == NULL)
    list->first = query;
  else
    list->last->next = query;
  list->last = query;
}

struct log_query *log_query_pop(struct log_query_list *list) {
  struct log_query *query = list->first;
  if (query != NULL) list->first = query->next;
  return query;
}

void log_query_fail(struct log_query *query, enum vow_error error, const char *why) {
  free_rows(query);
  log_explain(query->why, "%s", why);
  query->result.error = error;
  query->result.why = query->why;
}

/* ---- running them ---- */

static void fail_sqlite(struct vow_log *log, struct log_query *query, int rc) {
  char why[VOW_LOG_WHY_BYTES];
  enum vow_error error = log_sqlite_error(log, rc, "reading it", why);
  log_query_fail(query, error, why);
}

static bool allocate_rows(struct log_query *query, uint32_t count) {
  query->result.rows = calloc(count == 0 ? 1 : count, sizeof *query->result.rows);
  if (query->result.rows == NULL) log_query_fail(query, VOW_E_NO_MEMORY, "out of memory");
  return query->result.rows != NULL;
}

static struct vow_id column_id(sqlite3_stmt *row) {
  struct vow_id id = {{0}};
  const void *bytes = sqlite3_column_blob(row, LOG_COLUMN_ID);
  if (bytes != NULL && sqlite3_column_bytes(row, LOG_COLUMN_ID) == 16) memcpy(id.bytes, bytes, 16);
  return id;
}

/* Nil is before all of them. */
static void bind_place(const struct vow_log *log, sqlite3_stmt *row, const struct vow_id *id) {
  log_row_bind_place(row, id, vow_id_is_nil(*id) ? INT64_MIN : log_place(log, *id));
}

/* What leads behind a bad row of an open transaction, although it may be the id that is damaged. */
static struct vow_id bad_id(const struct vow_log *log, sqlite3_stmt *row) {
  struct vow_id id = column_id(row);
  int64_t place = sqlite3_column_int64(row, LOG_COLUMN_POSITION);
  bool leads = log->format < LOG_FORMAT_PLACES || log_place_of(id) == place;
  return leads ? id : log_place_id(place);
}

static uint32_t page_limit(const struct log_query *query) {
  uint32_t limit = query->q.limit;
  return limit == 0 || limit > PAGE_ROWS_MAX ? PAGE_ROWS_MAX : limit;
}

/* A row that cannot be read ends the page before it; only when it comes first is it the answer, and
 * `next` is its id, so that a tool may report it and step over it. */
static void run_open_page(struct vow_log *log, struct log_query *query) {
  char why[VOW_LOG_WHY_BYTES];
  sqlite3_stmt *row = log->statements[LOG_OPEN_PAGE];
  struct vow_log_result *result = &query->result;
  uint32_t limit = page_limit(query);
  size_t bytes = 0;
  int rc;
  if (!allocate_rows(query, limit)) return;
  bind_place(log, row, &query->q.id);
  result->next = query->q.id;
  while ((rc = sqlite3_step(row)) == SQLITE_ROW) {
    result->more = true;
    if (result->count == limit || bytes > PAGE_BYTES_MAX) break;
    enum vow_error error = log_row_read(row, &result->rows[result->count], why);
    if (error != VOW_OK && result->count > 0) break;
    result->next = error == VOW_OK ? column_id(row) : bad_id(log, row);
    if (error != VOW_OK) {
      log_query_fail(query, error, why);
      break;
    }
    result->count++;
    result->more = false;
    bytes += (size_t)sqlite3_column_bytes(row, LOG_COLUMN_RECORD);
  }
  if (rc != SQLITE_ROW && rc != SQLITE_DONE) fail_sqlite(log, query, rc);
  sqlite3_reset(row);
}

static void run_find(struct vow_log *log, struct log_query *query, sqlite3_stmt *row) {
  char why[VOW_LOG_WHY_BYTES];
  int rc = sqlite3_step(row);
  if (rc == SQLITE_ROW && allocate_rows(query, 1)) {
    enum vow_error error = log_row_read(row, query->result.rows, why);
    if (error == VOW_OK)
      query->result.count = 1;
    else
      log_query_fail(query, error, why);
    query->result.history_only =
        error == VOW_E_LOG_CORRUPT && sqlite3_column_int64(row, LOG_COLUMN_ENDED) != 0;
  }
  if (rc != SQLITE_ROW && rc != SQLITE_DONE) fail_sqlite(log, query, rc);
  sqlite3_reset(row);
}

static void run_find_many(struct vow_log *log, struct log_query *query) {
  char why[VOW_LOG_WHY_BYTES];
  sqlite3_stmt *row = log->statements[LOG_FIND];
  if (!allocate_rows(query, query->q.id_count)) return;
  query->result.count = query->q.id_count;
  for (uint32_t i = 0; query->result.error == VOW_OK && i < query->q.id_count; i++) {
    bind_place(log, row, &query->q.ids[i]);
    int rc = sqlite3_step(row);
    enum vow_error error = VOW_OK;
    if (rc == SQLITE_ROW) error = log_row_read(row, &query->result.rows[i], why);
    if (error != VOW_OK) log_query_fail(query, error, why);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) fail_sqlite(log, query, rc);
    sqlite3_reset(row);
  }
}

/* ---- lists ---- */

/* `"bank"` as the writer puts it. A record without that text has no such branch, which spares
 * decoding it; one with it is decoded and looked at. */
static bool needle_init(struct vow_buf *needle, const char *participant) {
  struct vow_jsonw w;
  vow_buf_init(needle, LOG_RECORD_BYTES_MAX);
  vow_jsonw_init(&w, needle);
  vow_jsonw_string(&w, NULL, participant);
  return needle->error == VOW_OK;
}

static bool has_participant(const struct vow_txn *txn, const char *participant) {
  for (uint32_t i = 0; i < txn->branch_count; i++) {
    const struct vow_branch *branch = &txn->branches[i];
    if (strcmp(branch->name, participant) == 0 || strcmp(branch->url, participant) == 0)
      return true;
  }
  return false;
}

static bool columns_match(sqlite3_stmt *row, const struct vow_log_query *q,
                          const struct vow_buf *needle) {
  if (q->state != 0 && sqlite3_column_int64(row, LOG_COLUMN_STATE) != (int64_t)q->state)
    return false;
  bool heuristic = sqlite3_column_int64(row, LOG_COLUMN_HEURISTIC) != 0;
  if (q->heuristic >= 0 && heuristic != (q->heuristic > 0)) return false;
  if (q->ended_before_ms != 0 &&
      (uint64_t)sqlite3_column_int64(row, LOG_COLUMN_ENDED) >= q->ended_before_ms)
    return false;
  if (q->participant == NULL) return true;
  const void *text = sqlite3_column_text(row, LOG_COLUMN_RECORD);
  size_t bytes = (size_t)sqlite3_column_bytes(row, LOG_COLUMN_RECORD);
  return text != NULL && memmem(text, bytes, needle->data, needle->bytes) != NULL;
}

/* One row of a list. A damaged one is counted and passed over: history is for reading, and what is
 * left of it is worth showing. */
static void list_row(struct log_query *query, sqlite3_stmt *row, const struct vow_buf *needle,
                     size_t *bytes) {
  char why[VOW_LOG_WHY_BYTES];
  struct vow_log_result *result = &query->result;
  struct vow_txn txn = {0};
  if (!columns_match(row, &query->q, needle)) return;
  enum vow_error error = log_row_read(row, &txn, why);
  if (error == VOW_E_LOG_CORRUPT) {
    if (result->rows_bad++ == 0) log_explain(query->why, "%s", why);
    result->why = query->why;
  } else if (error != VOW_OK) {
    log_query_fail(query, error, why);
  } else if (query->q.participant != NULL && !has_participant(&txn, query->q.participant)) {
    vow_txn_fini(&txn);
  } else {
    result->rows[result->count++] = txn;
    *bytes += (size_t)sqlite3_column_bytes(row, LOG_COLUMN_RECORD);
  }
}

static void run_list(struct vow_log *log, struct log_query *query) {
  static const uint8_t newest[17] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  sqlite3_stmt *row = log->statements[LOG_LIST];
  struct vow_log_result *result = &query->result;
  struct vow_buf needle = {0};
  uint32_t limit = page_limit(query), scanned = 0;
  size_t bytes = 0;
  int rc = SQLITE_DONE;
  result->next = query->q.id;
  if (!allocate_rows(query, limit)) return;
  if (query->q.participant != NULL && !needle_init(&needle, query->q.participant)) {
    log_query_fail(query, VOW_E_NO_MEMORY, "out of memory");
    goto out;
  }
  if (vow_id_is_nil(query->q.id))
    sqlite3_bind_blob(row, 1, newest, sizeof newest, SQLITE_STATIC);
  else
    sqlite3_bind_blob(row, 1, query->q.id.bytes, 16, SQLITE_STATIC);
  while (result->error == VOW_OK && (rc = sqlite3_step(row)) == SQLITE_ROW) {
    result->more =
        result->count == limit || scanned++ == LOG_LIST_SCAN_MAX || bytes > PAGE_BYTES_MAX;
    if (result->more) break;
    struct vow_id id = column_id(row);
    if (!vow_id_is_nil(id)) result->next = id; /* else it is damaged, and leads nowhere */
    list_row(query, row, &needle, &bytes);
  }
  if (result->error == VOW_OK && rc != SQLITE_ROW && rc != SQLITE_DONE) fail_sqlite(log, query, rc);
out:
  sqlite3_reset(row);
  vow_buf_fini(&needle);
}

static void run_check(struct vow_log *log, struct log_query *query) {
  char why[VOW_LOG_WHY_BYTES];
  enum vow_error error = log_check_all(log, &query->result, why);
  if (error != VOW_OK) log_query_fail(query, error, why);
}

void log_query_run(struct vow_log *log, struct log_query *query) {
  sqlite3_stmt *find = log->statements[LOG_FIND], *find_key = log->statements[LOG_FIND_KEY];
  query->result.purged_to = log->head.purged_to;
  switch (query->q.type) {
    case VOW_LOG_QUERY_OPEN_PAGE:
      run_open_page(log, query);
      return;
    case VOW_LOG_QUERY_FIND:
      bind_place(log, find, &query->q.id);
      run_find(log, query, find);
      return;
    case VOW_LOG_QUERY_FIND_KEY:
      sqlite3_bind_text(find_key, 1, query->q.key, -1, SQLITE_STATIC);
      run_find(log, query, find_key);
      return;
    case VOW_LOG_QUERY_FIND_MANY:
      run_find_many(log, query);
      return;
    case VOW_LOG_QUERY_LIST:
      run_list(log, query);
      return;
    case VOW_LOG_QUERY_CHECK:
      run_check(log, query);
      return;
    case VOW_LOG_QUERY_BACKUP:
      break;
  }
  log_query_fail(query, VOW_E_INVALID_ARGUMENT, "no such query");
}
