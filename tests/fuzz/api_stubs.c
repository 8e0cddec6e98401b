/* See api_stubs.h. */
#include "api_stubs.h"

#include <string.h>

#include "core/core.h"
#include "fuzz.h"
#include "message.h"

#define PENDING_MAX 256
#define QUERIES_MAX 64
#define SENDS_MAX   1024
#define ROUNDS_MAX  400

/* ---- requests ---- */

/* Cuts "a=b&c" at its separators, in place. */
static unsigned cut(char *text, char between, char inside, struct stub_pair out[STUB_PAIRS_MAX]) {
  unsigned count = 0;
  while (text != NULL && *text != '\0' && count < STUB_PAIRS_MAX) {
    char *next = strchr(text, between), *value;
    if (next != NULL) *next++ = '\0';
    value = strchr(text, inside);
    if (value != NULL) *value++ = '\0';
    while (value != NULL && *value == ' ') value++;
    out[count++] = (struct stub_pair){text, value};
    text = next;
  }
  return count;
}

/* "@" in the path stands for the transaction that was begun last. */
static void put_path(struct vow_buf *out, const char *path, size_t bytes, struct vow_id latest) {
  char id[VOW_ID_TEXT_BYTES];
  vow_id_format(latest, id);
  for (size_t i = 0; i < bytes; i++) {
    if (path[i] == '@') {
      vow_buf_puts(out, id);
    } else {
      vow_buf_append(out, &path[i], 1);
    }
  }
}

struct vow_server_request *stub_request(const uint8_t *data, size_t bytes, struct vow_id latest) {
  const char *text = (const char *)data, *end = memchr(data, '\n', bytes);
  const char *space = end == NULL ? NULL : memchr(data, ' ', (size_t)(end - text));
  if (space == NULL || memchr(data, '\0', (size_t)(end - text)) != NULL) return NULL;
  struct vow_server_request *request = calloc(1, sizeof *request);
  struct vow_buf all;

  must(request != NULL);
  vow_buf_init(&all, (size_t)4 << 20);
  vow_buf_append(&all, text, (size_t)(space - text));
  vow_buf_append(&all, "", 1);
  size_t path_at = all.bytes;
  put_path(&all, space + 1, (size_t)(end - space - 1), latest);
  vow_buf_append(&all, "", 1);
  size_t headers_at = all.bytes;
  const char *headers_end = memmem(end, (size_t)(text + bytes - end), "\n\n", 2);
  const char *body = headers_end == NULL ? text + bytes : headers_end + 2;
  if (headers_end != NULL && headers_end > end)
    vow_buf_append(&all, end + 1, (size_t)(headers_end - end - 1));
  vow_buf_append(&all, "", 1);
  size_t body_at = all.bytes;
  vow_buf_append(&all, body, (size_t)(text + bytes - body));
  request->body_bytes = all.bytes - body_at;
  vow_buf_append(&all, "", 1);
  request->text = vow_buf_take(&all, NULL);
  must(request->text != NULL);
  request->method = request->text;
  request->path = request->text + path_at;
  request->body = request->text + body_at;
  char *query = strchr(request->text + path_at, '?');
  if (query != NULL) *query++ = '\0';
  request->query_malformed = query != NULL && strchr(query, '%') != NULL;
  request->query_count = cut(query, '&', '=', request->query);
  request->header_count = cut(request->text + headers_at, '\n', ':', request->headers);
  return request;
}

void stub_request_free(struct vow_server_request *request) {
  free(request->text);
  free(request);
}

const char *vow_request_method(const struct vow_server_request *request) {
  return request->method;
}

const char *vow_request_path(const struct vow_server_request *request) {
  return request->path;
}

static const char *find(const struct stub_pair *pairs, unsigned count, const char *name) {
  for (unsigned i = 0; i < count; i++) {
    if (strcasecmp(pairs[i].name, name) == 0) return pairs[i].value;
  }
  return NULL;
}

const char *vow_request_query(const struct vow_server_request *request, const char *name) {
  return find(request->query, request->query_count, name);
}

const char *vow_request_query_name(const struct vow_server_request *request, unsigned index) {
  return index < request->query_count ? request->query[index].name : NULL;
}

bool vow_request_query_is_malformed(const struct vow_server_request *request) {
  return request->query_malformed;
}

const char *vow_request_header(const struct vow_server_request *request, const char *name) {
  return find(request->headers, request->header_count, name);
}

void vow_request_peer(const struct vow_server_request *request, char out[VOW_PEER_BYTES]) {
  (void)request;
  strcpy(out, "?");
}

const char *vow_request_body(const struct vow_server_request *request, size_t *bytes) {
  *bytes = request->body_bytes;
  return request->body;
}

bool vow_request_body_too_large(const struct vow_server_request *request) {
  return request->too_large;
}

void vow_request_set_data(struct vow_server_request *request, void *data) {
  must(!request->gone);
  request->data = data;
}

void *vow_request_data(const struct vow_server_request *request) {
  return request->data;
}

enum vow_error vow_request_add_header(struct vow_server_request *request, const char *name,
                                      const char *value) {
  must(strpbrk(name, "\r\n: ") == NULL && strpbrk(value, "\r\n") == NULL); /* it stays one */
  must(!request->answered && !request->gone);
  return ++request->added > VOW_REQUEST_HEADERS_MAX ? VOW_E_LIMIT_EXCEEDED : VOW_OK;
}

/* An answer comes once; JSON is JSON, and a problem is one of ours. */
void vow_request_answer(struct vow_server_request *request, int status, const char *content_type,
                        const char *body, size_t body_bytes) {
  char why[VOW_JSON_WHY_BYTES];
  struct vow_json *json = NULL;

  must(!request->answered && !request->gone);
  must(status >= 200 && status <= 599);
  request->answered = true;
  request->status = status;
  if (content_type == NULL || strstr(content_type, "json") == NULL) return;
  must(vow_json_parse(&json, body, body_bytes, why) == VOW_OK);
  if (strstr(content_type, "problem") != NULL)
    must(vow_problem_decode(body, body_bytes, NULL, 0) != VOW_E_PROTOCOL);
  vow_json_free(json);
}

void vow_server_counts(const struct vow_server *server, struct vow_server_counts *out) {
  (void)server;
  *out = (struct vow_server_counts){.connections = 1};
}

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

struct vow_driver {
  struct vow_core *core;
  uint64_t now_ms, token, position, durable;
  struct pending pending[PENDING_MAX];
  unsigned pending_count;
  struct send *sends;
  unsigned send_count;
  struct vow_log_query queries[QUERIES_MAX];
  unsigned query_count;
  struct vow_id latest;
};

static struct vow_driver *the_driver; /* for the log, which is a part of it */

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
  event->wall_ms = UINT64_C(1700000000000) + driver->now_ms;
  event->random = driver->now_ms * 0x9E3779B97F4A7C15 + driver->token;
  enum vow_error error = vow_core_step(driver->core, event, &actions);
  if (error != VOW_OK) return error;
  for (uint32_t i = 0; i < actions.count; i++) {
    const struct vow_action *action = &actions.items[i];
    must(action->after <= driver->durable); /* D1 */
    if (action->type == VOW_ACTION_LOG) driver->position = action->u.log.position;
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

/* ---- the log ---- */

void vow_log_counts(struct vow_log *log, struct vow_log_counts *out) {
  (void)log;
  *out = (struct vow_log_counts){.records = 1};
}

enum vow_error vow_log_query(struct vow_log *log, const struct vow_log_query *query) {
  (void)log;
  if (the_driver->query_count == QUERIES_MAX) return VOW_E_OVERLOADED;
  the_driver->queries[the_driver->query_count++] = *query;
  return VOW_OK;
}

/* A row of the history, as the log would have read it. */
static struct vow_txn an_ended_row(struct vow_id id) {
  struct vow_txn row = {.id = id,
                        .state = VOW_TXN_COMMITTED,
                        .decision_durable = true,
                        .created_ms = UINT64_C(1700000000000),
                        .ended_ms = UINT64_C(1700000001000),
                        .branch_count = 1,
                        .history_count = 1};
  row.idempotency_key = strdup("k");
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

/* Of ids with an odd last byte an ended row is there, and of every key. */
static void answer_query(const struct vow_log_query *query) {
  struct vow_log_result result = {.error = VOW_OK};
  struct vow_txn row = {0};
  bool there = query->type == VOW_LOG_QUERY_FIND_KEY || query->type == VOW_LOG_QUERY_LIST ||
               (query->type == VOW_LOG_QUERY_FIND && (query->id.bytes[15] & 1) != 0);

  if (there) {
    row = an_ended_row(query->type == VOW_LOG_QUERY_FIND ? query->id : vow_id_make(1, 2, 3));
    result.rows = &row;
    result.count = 1;
  }
  query->done(query->context, &result);
  vow_txn_fini(&row);
}

static void answer_queries(struct vow_driver *driver) {
  struct vow_log_query waiting[QUERIES_MAX];
  unsigned count = driver->query_count;
  memcpy(waiting, driver->queries, count * sizeof *waiting);
  driver->query_count = 0;
  for (unsigned i = 0; i < count; i++) answer_query(&waiting[i]);
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

void stub_settle(struct vow_driver *driver, enum vow_vote vote) {
  for (unsigned round = 0; waits(driver); round++) {
    must(round < ROUNDS_MAX); /* whoever asks is answered */
    if (driver->position > driver->durable) {
      struct vow_event event = {.type = VOW_EVENT_DURABLE};
      event.u.position = driver->durable = driver->position;
      step_must(driver, &event);
    }
    answer_queries(driver);
    while (driver->send_count > 0) answer_send(driver, vote);
    uint64_t due_ms = vow_core_next_deadline(driver->core);
    if (!waits(driver) || due_ms == UINT64_MAX) continue;
    if (due_ms > driver->now_ms) driver->now_ms = due_ms;
    struct vow_event event = {.type = VOW_EVENT_TICK};
    step_must(driver, &event);
  }
}

struct vow_id stub_latest(const struct vow_driver *driver) {
  return driver->latest;
}

struct vow_driver *stub_driver_new(const struct vow_core_config *config) {
  struct vow_driver *driver = calloc(1, sizeof *driver);
  struct vow_event event = {.type = VOW_EVENT_LOAD_BEGIN};
  must(driver != NULL);
  driver->sends = calloc(SENDS_MAX, sizeof *driver->sends);
  must(driver->sends != NULL);
  driver->now_ms = 1000;
  the_driver = driver;
  must(vow_core_new(&driver->core, config) == VOW_OK);
  step_must(driver, &event);
  event = (struct vow_event){.type = VOW_EVENT_LOAD_END};
  step_must(driver, &event);
  stub_settle(driver, VOW_VOTE_COMMIT);
  return driver;
}

void stub_driver_free(struct vow_driver *driver) {
  vow_core_free(driver->core);
  free(driver->sends);
  free(driver);
}
