/* The driver of api_stubs.h, with its log and the participants. */
#include <string.h>

#include "api_stubs.h"
#include "core/core.h"
#include "fuzz.h"
#include "io/record.h"
#include "json_node.h"
#include "message.h"

#define PENDING_MAX 256
#define QUERIES_MAX 64
#define SENDS_MAX   1024
#define ROUNDS_MAX  400
#define ROWS_MAX    16
#define WALL_MS     UINT64_C(1700000000000) /* when this run began */

/* ---- the driver ---- */

struct pending {
  uint64_t token;
  void (*done)(void *context, const struct vow_action *answer);
  void *context;
};

struct send {
  uint64_t request;
  uint32_t count;
  enum vow_message_type types[128];
};

struct row {
  struct vow_id id;
  char *text; /* owned */
  size_t bytes;
  uint64_t committed_at; /* position of the first record that says so; 0: none does */
  enum vow_outcome told;
};

struct vow_driver {
  struct vow_core *core;
  struct row rows[ROWS_MAX];
  unsigned row_count;
  uint64_t now_ms, token, position, durable;
  struct pending pending[PENDING_MAX];
  unsigned pending_count;
  struct send *sends; /* the one table for all inputs: to clear it takes longer than to play one */
  unsigned send_count;
  struct vow_log_query queries[QUERIES_MAX];
  unsigned query_count;
  struct vow_id latest;
};

static struct vow_driver *the_driver; /* for the log, which is a part of it */

static struct row *find_row(struct vow_driver *driver, struct vow_id id) {
  for (unsigned i = 0; i < driver->row_count; i++) {
    if (vow_id_compare(driver->rows[i].id, id) == 0) return &driver->rows[i];
  }
  return NULL;
}

/* The last record of a transaction is its row, as text, like in the real log. */
static void on_log(struct vow_driver *driver, const struct vow_action *action) {
  struct vow_buf text;

  driver->position = action->u.log.position;
  if (action->u.log.record != VOW_RECORD_TXN) return;
  enum vow_txn_state state = action->u.log.txn->state;
  struct row *row = find_row(driver, action->u.log.txn->id);
  must(row != NULL || driver->row_count < ROWS_MAX);
  if (row == NULL) row = &driver->rows[driver->row_count++];
  free(row->text);
  vow_buf_init(&text, (size_t)1 << 20);
  vow_record_write(&text, action->u.log.txn);
  row->id = action->u.log.txn->id;
  if (row->committed_at == 0 && (state == VOW_TXN_COMMITTING || state == VOW_TXN_COMMITTED))
    row->committed_at = driver->position;
  row->text = vow_buf_take(&text, &row->bytes);
  must(row->text != NULL);
}

static void on_send(struct vow_driver *driver, const struct vow_action *action) {
  must(driver->send_count < SENDS_MAX);
  struct send *send = &driver->sends[driver->send_count++];
  *send = (struct send){.request = action->u.send.request, .count = action->u.send.count};
  for (uint32_t i = 0; i < send->count; i++) send->types[i] = action->u.send.messages[i].type;
}

static void on_answer(struct vow_driver *driver, const struct vow_action *action) {
  for (unsigned i = 0; i < driver->pending_count; i++) {
    if (driver->pending[i].token != action->u.answer.token) continue;
    struct pending pending = driver->pending[i];
    driver->pending[i] = driver->pending[--driver->pending_count];
    if (action->u.answer.created && action->u.answer.txn != NULL)
      driver->latest = action->u.answer.txn->id;
    pending.done(pending.context, action);
    return;
  }
  must(!"an answer that nobody waits for");
}

static enum vow_error step(struct vow_driver *driver, struct vow_event *event) {
  struct vow_actions actions = {0};
  event->now_ms = driver->now_ms;
  event->wall_ms = WALL_MS + driver->now_ms;
  event->random = driver->now_ms * 0x9E3779B97F4A7C15 + driver->token;
  enum vow_error error = vow_core_step(driver->core, event, &actions);
  if (error != VOW_OK) return error;
  for (uint32_t i = 0; i < actions.count; i++) {
    const struct vow_action *action = &actions.items[i];
    must(action->after <= driver->durable); /* D1 */
    if (action->type == VOW_ACTION_LOG) on_log(driver, action);
    if (action->type == VOW_ACTION_SEND) on_send(driver, action);
    if (action->type == VOW_ACTION_ANSWER) on_answer(driver, action);
  }
  return VOW_OK;
}

static void step_must(struct vow_driver *driver, struct vow_event *event) {
  must(step(driver, event) == VOW_OK);
}

enum vow_error vow_driver_request(struct vow_driver *driver, struct vow_event *event,
                                  void (*done)(void *context, const struct vow_action *answer),
                                  void *context, uint64_t *token_out) {
  must(driver->pending_count < PENDING_MAX);
  uint64_t token = ++driver->token;
  driver->pending[driver->pending_count++] = (struct pending){token, done, context};
  event->token = token;
  must(step(driver, event) == VOW_OK);
  *token_out = 0;
  for (unsigned i = 0; i < driver->pending_count; i++) {
    if (driver->pending[i].token == token) *token_out = token;
  }
  return VOW_OK;
}

void vow_driver_cancel(struct vow_driver *driver, uint64_t token) {
  struct vow_event event = {.type = VOW_EVENT_CANCEL, .token = token};
  for (unsigned i = 0; i < driver->pending_count; i++) {
    if (driver->pending[i].token != token) continue;
    driver->pending[i] = driver->pending[--driver->pending_count];
    step_must(driver, &event);
    return;
  }
}

const struct vow_core *vow_driver_core(const struct vow_driver *driver) {
  return driver->core;
}

struct vow_log *vow_driver_log(const struct vow_driver *driver) {
  (void)driver;
  return NULL; /* the functions below have no need of it */
}

void vow_driver_status(const struct vow_driver *driver, struct vow_driver_status *out) {
  *out = (struct vow_driver_status){.durable = driver->durable,
                                    .requests_open = driver->pending_count,
                                    .log = {.starts = 1, .incarnation = 1, .created_ms = 1}};
}

void vow_driver_witness(struct vow_driver *driver, struct vow_log_position seen, const char *by) {
  struct vow_event event = {.type = VOW_EVENT_WITNESS};
  if (seen.incarnation == 0) return;
  event.u.witness.seen = seen;
  event.u.witness.by = by;
  step_must(driver, &event);
}

void vow_driver_write_ends(struct vow_driver *driver) {
  struct vow_event event = {.type = VOW_EVENT_WRITE_ENDS};
  step_must(driver, &event);
}

/* ---- the log ---- */

void vow_driver_log_counts(const struct vow_driver *driver, struct vow_log_counts *out) {
  (void)driver;
  *out = (struct vow_log_counts){.records = 1};
}

enum vow_error vow_log_query(struct vow_log *log, const struct vow_log_query *query) {
  (void)log;
  if (the_driver->query_count == QUERIES_MAX) return VOW_E_OVERLOADED;
  the_driver->queries[the_driver->query_count++] = *query;
  return VOW_OK;
}

static void read_row(const struct row *row, struct vow_txn *out) {
  char why[VOW_JSON_WHY_BYTES];
  must(vow_record_read(row->id, row->text, row->bytes, out, why) == VOW_OK);
}

/* Of another run, from before this one: of ids with an odd last byte there is such a row, and of
 * the key "old". */
static bool is_old(const struct vow_log_query *query) {
  struct vow_id id = query->id;
  if (query->type == VOW_LOG_QUERY_FIND_KEY) return strcmp(query->key, "old") == 0;
  return query->type == VOW_LOG_QUERY_FIND && vow_id_unix_ms(id) < WALL_MS && (id.bytes[15] & 1);
}

static struct vow_txn an_old_row(struct vow_id id) {
  struct vow_txn row = {.id = id,
                        .state = VOW_TXN_COMMITTED,
                        .decision_durable = true,
                        .created_ms = WALL_MS - 2000,
                        .ended_ms = WALL_MS - 1000,
                        .branch_count = 1,
                        .history_count = 1};
  row.idempotency_key = strdup("old");
  row.metadata = strdup("{\"a\":1}");
  row.branches = calloc(1, sizeof *row.branches);
  row.history = calloc(1, sizeof *row.history);
  must(row.idempotency_key && row.metadata && row.branches && row.history);
  row.branches[0] = (struct vow_branch){.number = 1,
                                        .vote = VOW_VOTE_COMMIT,
                                        .state = VOW_BRANCH_COMMITTED,
                                        .outcome = VOW_OUTCOME_COMMITTED,
                                        .name = strdup("b"),
                                        .url = strdup("http://b")};
  row.history[0] = (struct vow_history){
      .time_ms = row.created_ms, .detail = strdup("asked"), .count = 1, .kind = VOW_HISTORY_BEGUN};
  return row;
}

static bool fits(const struct vow_log_query *query, const struct vow_txn *row) {
  if (query->type == VOW_LOG_QUERY_FIND) return vow_id_compare(row->id, query->id) == 0;
  if (query->type == VOW_LOG_QUERY_FIND_KEY)
    return row->idempotency_key != NULL && strcmp(row->idempotency_key, query->key) == 0;
  if (query->type == VOW_LOG_QUERY_LIST)
    return row->ended_ms != 0 &&
           (vow_id_is_nil(query->id) || vow_id_compare(row->id, query->id) < 0);
  for (uint32_t i = 0; query->type == VOW_LOG_QUERY_FIND_MANY && i < query->id_count; i++) {
    if (vow_id_compare(row->id, query->ids[i]) == 0) return true;
  }
  return false;
}

/* Newest first; the filters of lists are the real log's. */
static void answer_query(const struct vow_driver *driver, const struct vow_log_query *query) {
  struct vow_txn rows[ROWS_MAX + 1] = {{.branch_count = 0}};
  struct vow_log_result result = {.error = VOW_OK, .rows = rows};

  must(driver->position == driver->durable);
  for (unsigned i = driver->row_count; i-- > 0 && result.count < query->limit;) {
    read_row(&driver->rows[i], &rows[result.count]);
    if (fits(query, &rows[result.count])) {
      result.count++;
    } else {
      vow_txn_fini(&rows[result.count]);
    }
  }
  if (is_old(query)) rows[result.count++] = an_old_row(query->id);
  query->done(query->context, &result);
  for (uint32_t i = 0; i <= ROWS_MAX; i++) vow_txn_fini(&rows[i]);
}

static void answer_queries(struct vow_driver *driver) {
  struct vow_log_query waiting[QUERIES_MAX];
  unsigned count = driver->query_count;
  memcpy(waiting, driver->queries, count * sizeof *waiting);
  driver->query_count = 0;
  for (unsigned i = 0; i < count; i++) answer_query(driver, &waiting[i]);
}

static const char *text_of(const struct vow_json_node *object, const char *key) {
  struct vow_json_object o;
  const char *text = NULL;
  vow_json_object_begin(&o, object, NULL);
  return vow_json_get_string(&o, key, VOW_JSON_OPTIONAL, SIZE_MAX, &text) ? text : NULL;
}

/* Of an earlier run, or without a branch that could have work. */
static bool needs_no_record(struct vow_id id, const struct vow_json_node *told) {
  const struct vow_json_node *branches = vow_json_member(told, "branches", 0);
  const struct vow_txn *txn = vow_core_find(the_driver->core, id);
  if (vow_id_unix_ms(id) < WALL_MS) return true;
  return branches != NULL ? vow_json_array_length(branches) == 0
                          : txn != NULL && txn->branch_count == 0;
}

/* D1: a commit is told when its record is durable. AC2: an outcome of a transaction that has a
 * record, once told in any answer, stays. */
static void one_told(const struct vow_json_node *told) {
  struct vow_id id;
  if (!vow_json_is_object(told)) return;
  const char *name = text_of(told, "id"), *word = text_of(told, "state");
  if (name == NULL) name = text_of(told, "transaction");
  if (word == NULL) word = text_of(told, "outcome");
  if (name == NULL || word == NULL || !vow_id_parse(name, &id)) return;
  struct row *row = find_row(the_driver, id);
  bool committed = strncmp(word, "committ", 7) == 0, aborted = strncmp(word, "abort", 5) == 0;
  bool durable = row != NULL && row->committed_at != 0 && row->committed_at <= the_driver->durable;
  must(!committed || durable || needs_no_record(id, told));
  if (row == NULL || (!committed && !aborted)) return;
  enum vow_outcome outcome = committed ? VOW_OUTCOME_COMMITTED : VOW_OUTCOME_ABORTED;
  must(row->told == VOW_OUTCOME_NONE || row->told == outcome);
  row->told = outcome;
}

static void all_told(const struct vow_json_node *list) {
  for (size_t i = 0; list != NULL && i < vow_json_array_length(list); i++) {
    one_told(vow_json_array_at(list, i));
  }
}

void stub_told(const struct vow_json_node *answer) {
  one_told(answer);
  if (!vow_json_is_object(answer)) return;
  const struct vow_json_node *inside = vow_json_member(answer, "transaction", 0); /* of a problem */
  if (inside != NULL) one_told(inside);
  all_told(vow_json_member(answer, "transactions", 0));
  all_told(vow_json_member(answer, "outcomes", 0));
}

/* ---- time ---- */

static void answer_send(struct vow_driver *driver, enum vow_vote vote) {
  struct send send = driver->sends[--driver->send_count];
  struct vow_event event = {.type = VOW_EVENT_REPLY, .u.reply.request = send.request};
  event.u.reply.count = send.count;
  event.u.reply.results = calloc(send.count, sizeof *event.u.reply.results);
  must(event.u.reply.results != NULL);
  for (uint32_t i = 0; i < send.count; i++) {
    struct vow_message_reply reply = {0};
    event.u.reply.results[i].kind = VOW_REPLY_ANSWERED;
    if (send.types[i] == VOW_MESSAGE_PREPARE) reply.vote = vote;
    if (send.types[i] == VOW_MESSAGE_COMMIT) reply.outcome = VOW_OUTCOME_COMMITTED;
    if (send.types[i] == VOW_MESSAGE_ABORT) reply.outcome = VOW_OUTCOME_ABORTED;
    event.u.reply.results[i].reply = reply;
  }
  step_must(driver, &event);
  free(event.u.reply.results);
}

static bool waits(const struct vow_driver *driver) {
  return driver->query_count > 0 || driver->send_count > 0 || driver->pending_count > 0 ||
         driver->position > driver->durable;
}

static void time_passes(struct vow_driver *driver) {
  uint64_t due_ms = vow_core_next_deadline(driver->core);
  struct vow_event event = {.type = VOW_EVENT_TICK};
  if (due_ms != UINT64_MAX && due_ms > driver->now_ms) driver->now_ms = due_ms;
  step_must(driver, &event);
}

void stub_settle(struct vow_driver *driver, enum vow_vote vote, bool syncs) {
  for (unsigned round = 0; waits(driver); round++) {
    must(round < ROUNDS_MAX); /* whoever asks is answered */
    if (syncs && driver->position > driver->durable) {
      struct vow_event event = {.type = VOW_EVENT_DURABLE};
      event.u.position = driver->durable = driver->position;
      step_must(driver, &event);
    } else if (syncs && driver->query_count > 0) {
      answer_queries(driver);
    } else if (driver->send_count > 0 && vote != VOW_VOTE_NONE) {
      answer_send(driver, vote);
    } else if (syncs && driver->pending_count > 0) {
      time_passes(driver);
    } else {
      return; /* nobody waits for those who are silent */
    }
  }
}

struct vow_id stub_latest(const struct vow_driver *driver) {
  return driver->latest;
}

struct vow_driver *stub_driver_new(const struct vow_core_config *config) {
  static struct send sends[SENDS_MAX];
  struct vow_driver *driver = calloc(1, sizeof *driver);
  struct vow_event event = {.type = VOW_EVENT_LOAD_BEGIN};
  must(driver != NULL);
  driver->sends = sends;
  driver->now_ms = 1000;
  the_driver = driver;
  must(vow_core_new(&driver->core, config) == VOW_OK);
  step_must(driver, &event);
  event = (struct vow_event){.type = VOW_EVENT_LOAD_END};
  step_must(driver, &event);
  stub_settle(driver, VOW_VOTE_COMMIT, true);
  return driver;
}

void stub_driver_free(struct vow_driver *driver) {
  vow_core_free(driver->core);
  for (unsigned i = 0; i < driver->row_count; i++) free(driver->rows[i].text);
  free(driver);
}
