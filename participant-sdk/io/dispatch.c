/*
 * HTTP to messages and back: routes, limits and what is wrong with a request, in problem details.
 * The own server and the mounted form both come through here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "known.h"
#include "media.h"
#include "participant_internal.h"
#include "url.h"

#define ANSWER_BYTES_MAX   ((size_t)16 << 10) /* to one message */
#define IN_DOUBT_BYTES_MAX ((size_t)64 << 20)
#define RETRY_AFTER_S      1

static const char json_type[] = "application/json";
static const char problem_type[] = "application/problem+json";

/* Takes the body out of the buffer; without memory there is a status and no body. */
static void respond(const struct vow_participant *p, int status, const char *type,
                    struct vow_buf *buf, struct vow_http_response *response) {
  size_t bytes = 0;
  char *body = vow_buf_take(buf, &bytes);
  *response = (struct vow_http_response){.status = body ? status : 500,
                                         .content_type = body ? type : NULL,
                                         .body = body,
                                         .body_bytes = bytes,
                                         .batch_max = p->options.batch_max};
  vow_buf_fini(buf);
}

static void respond_problem(const struct vow_participant *p, enum vow_error error,
                            const char *detail, struct vow_log_position seen,
                            struct vow_http_response *response) {
  struct vow_buf buf;
  struct vow_jsonw w;
  int status = vow_error_http_status(error);
  vow_buf_init(&buf, ANSWER_BYTES_MAX);
  vow_jsonw_init(&w, &buf);
  vow_problem_begin(&w, error, detail && *detail ? detail : NULL);
  vow_log_position_write(&w, "seen", seen, false);
  vow_jsonw_end(&w);
  respond(p, status, problem_type, &buf, response);
  if (status == 503) response->retry_after_s = RETRY_AFTER_S;
}

void vow_dispatch_problem(const struct vow_participant *p, enum vow_error error, const char *detail,
                          struct vow_http_response *response) {
  respond_problem(p, error, detail, (struct vow_log_position){0}, response);
}

/* ---- routes ---- */

enum route_kind { ROUTE_MESSAGE, ROUTE_BATCH, ROUTE_IN_DOUBT, ROUTE_KNOWN };

struct route {
  const char *path;
  const char *method;
  enum route_kind kind;
  enum vow_message_type type; /* of MESSAGE */
};

static const struct route routes[] = {
    {"/prepare", "POST", ROUTE_MESSAGE, VOW_MESSAGE_PREPARE},
    {"/commit", "POST", ROUTE_MESSAGE, VOW_MESSAGE_COMMIT},
    {"/abort", "POST", ROUTE_MESSAGE, VOW_MESSAGE_ABORT},
    {"/forget", "POST", ROUTE_MESSAGE, VOW_MESSAGE_FORGET},
    {VOW_BATCH_PATH, "POST", ROUTE_BATCH, 0},
    {"/in-doubt", "GET", ROUTE_IN_DOUBT, 0},
    {VOW_KNOWN_PATH, "POST", ROUTE_KNOWN, 0},
};

static const struct route *find_route(const struct vow_participant *p, const char *path) {
  for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
    bool offered = routes[i].kind != ROUTE_BATCH || p->options.batch_max > 1;
    if (offered && strcmp(routes[i].path, path) == 0) return &routes[i];
  }
  return NULL;
}

/* ---- what is on disk ---- */

static void answer_in_doubt(struct vow_participant *p, struct vow_http_response *response) {
  struct vow_buf buf;
  vow_buf_init(&buf, IN_DOUBT_BYTES_MAX);
  if (vow_known_in_doubt(p, &buf) == VOW_OK) {
    respond(p, 200, json_type, &buf, response);
  } else {
    vow_dispatch_problem(p, VOW_E_NO_MEMORY, NULL, response);
  }
}

static void answer_known(struct vow_participant *p, const struct vow_http_request *request,
                         struct vow_http_response *response) {
  char why[VOW_JSON_WHY_BYTES];
  struct vow_buf buf;
  vow_buf_init(&buf, IN_DOUBT_BYTES_MAX);
  enum vow_error error =
      vow_known_answer(p, request->body ? request->body : "", request->body_bytes, &buf, why);
  if (error == VOW_OK) {
    respond(p, 200, json_type, &buf, response);
  } else {
    vow_buf_fini(&buf);
    vow_dispatch_problem(p, error, why, response);
  }
}

/* ---- messages ---- */

static bool is_allowed(const struct vow_participant *p, const char *coordinator) {
  if (!p->allowed) return true;
  for (char *const *allowed = p->allowed; *allowed; allowed++) {
    if (strcmp(*allowed, coordinator) == 0) return true;
  }
  return false;
}

/* The coordinator's URL in its normal form, if it may coordinate. */
static enum vow_error take_coordinator(const struct vow_participant *p, const char *given,
                                       char coordinator[VOW_URL_BYTES_MAX + 1],
                                       char why[VOW_JSON_WHY_BYTES]) {
  enum vow_error error = vow_url_normalize(given, coordinator, why, VOW_JSON_WHY_BYTES);
  if (error || is_allowed(p, coordinator)) return error;
  (void)snprintf(why, VOW_JSON_WHY_BYTES, "%.200s is not in coordinator_allow", coordinator);
  return VOW_E_FORBIDDEN;
}

static void on_exchange(void *context) {
  struct vow_dispatch *dispatch = context;
  if (atomic_fetch_sub(&dispatch->missing, 1) == 1) dispatch->done(dispatch->context);
}

static void expect(struct vow_dispatch *dispatch, struct vow_exchange *exchanges, uint32_t count) {
  dispatch->exchanges = exchanges;
  dispatch->count = count;
  atomic_init(&dispatch->missing, count);
  for (uint32_t i = 0; i < count; i++) {
    exchanges[i].done = on_exchange;
    exchanges[i].context = dispatch;
  }
}

static enum vow_error take_message(struct vow_participant *p, enum vow_message_type type,
                                   const struct vow_http_request *request,
                                   struct vow_dispatch *dispatch, char why[VOW_JSON_WHY_BYTES]) {
  struct vow_json *document = NULL;
  struct vow_message message;
  char coordinator[VOW_URL_BYTES_MAX + 1];
  enum vow_error error = vow_message_decode(type, request->body ? request->body : "",
                                            request->body_bytes, &message, &document, why);
  if (error) return error;
  error = take_coordinator(p, message.coordinator, coordinator, why);
  if (!error) {
    message.coordinator = coordinator;
    expect(dispatch, &dispatch->single, 1);
    vow_engine_messages(p, &message, dispatch->exchanges, 1);
  }
  vow_json_free(document);
  return error;
}

/* ---- batches ---- */

/* A batch being read. All its messages are of one coordinator, the first one's. */
struct reading {
  struct vow_participant *p;
  const char *given; /* by the first; NULL: not seen yet */
  char coordinator[VOW_URL_BYTES_MAX + 1];
  enum vow_error forbidden;
  char why[VOW_JSON_WHY_BYTES];
};

static enum vow_error check_coordinator(struct reading *reading, struct vow_message *message,
                                        char why[VOW_JSON_WHY_BYTES]) {
  if (!reading->given) {
    reading->given = message->coordinator;
    reading->forbidden =
        take_coordinator(reading->p, reading->given, reading->coordinator, reading->why);
  }
  if (strcmp(reading->given, message->coordinator) != 0) {
    (void)snprintf(why, VOW_JSON_WHY_BYTES, "all messages of a batch have the same coordinator");
    return VOW_E_INVALID_REQUEST;
  }
  if (reading->forbidden) (void)snprintf(why, VOW_JSON_WHY_BYTES, "%s", reading->why);
  message->coordinator = reading->coordinator;
  return reading->forbidden;
}

static void read_batch(struct vow_participant *p, struct vow_json *document,
                       const struct vow_json_node *array, struct vow_message *messages,
                       struct vow_exchange *exchanges, uint32_t count) {
  struct reading reading = {.p = p};
  struct vow_message common = {.type = 0};
  char why[VOW_JSON_WHY_BYTES] = "";
  enum vow_error unreadable = vow_batch_log_read(document, &common.log, &common.log_ask, why);
  for (uint32_t i = 0; i < count; i++) {
    enum vow_error error = unreadable;
    if (!error)
      error = vow_batch_message_read(document, array, i, reading.given, &messages[i], why);
    messages[i].log = common.log;
    messages[i].log_ask = common.log_ask;
    if (!error) error = check_coordinator(&reading, &messages[i], why);
    if (!error && messages[i].payload_bytes > p->options.body_bytes_max) {
      error = VOW_E_BODY_TOO_LARGE;
      (void)snprintf(why, sizeof why, "at most %zu bytes", p->options.body_bytes_max);
    }
    exchanges[i].error = error;
    if (error) (void)snprintf(exchanges[i].text, sizeof exchanges[i].text, "%s", why);
  }
  vow_engine_messages(p, messages, exchanges, count);
}

static enum vow_error take_batch(struct vow_participant *p, const struct vow_http_request *request,
                                 struct vow_dispatch *dispatch, char why[VOW_JSON_WHY_BYTES]) {
  struct vow_json *document = NULL;
  const struct vow_json_node *array = NULL;
  enum vow_error error = vow_batch_decode(request->body ? request->body : "", request->body_bytes,
                                          &document, &array, why);
  if (error) return error;
  uint32_t count = (uint32_t)vow_json_array_length(array);
  struct vow_exchange *exchanges = calloc(count, sizeof *exchanges);
  struct vow_message *messages = calloc(count, sizeof *messages);
  if (exchanges && messages) {
    dispatch->batch = true;
    expect(dispatch, exchanges, count);
    read_batch(p, document, array, messages, exchanges, count);
  } else {
    free(exchanges);
    error = VOW_E_NO_MEMORY;
    (void)snprintf(why, VOW_JSON_WHY_BYTES, "out of memory");
  }
  free(messages);
  vow_json_free(document);
  return error;
}

/* ---- requests ---- */

/* What is wrong with the request before its body is looked at. */
static enum vow_error check(const struct vow_participant *p, const struct route *route,
                            const struct vow_http_request *request, char *why, size_t why_bytes) {
  why[0] = '\0';
  if (!route) {
    (void)snprintf(why, why_bytes,
                   "a participant has /prepare, /commit, /abort, /forget, /in-doubt, /known%s",
                   p->options.batch_max > 1 ? " and /batch" : "");
    return VOW_E_ROUTE_NOT_FOUND;
  }
  if (strcmp(request->method, route->method) != 0) {
    (void)snprintf(why, why_bytes, "%s takes %s", route->path, route->method);
    return VOW_E_METHOD_NOT_ALLOWED;
  }
  if (route->kind == ROUTE_IN_DOUBT) return VOW_OK;
  size_t bytes_max = p->options.body_bytes_max;
  if (route->kind == ROUTE_BATCH && bytes_max < VOW_BATCH_BYTES_MAX)
    bytes_max = VOW_BATCH_BYTES_MAX;
  if (request->body_bytes > bytes_max) {
    (void)snprintf(why, why_bytes, "at most %zu bytes", bytes_max);
    return VOW_E_BODY_TOO_LARGE;
  }
  return vow_media_is_json(request->content_type) ? VOW_OK : VOW_E_NOT_ACCEPTABLE_TYPE;
}

bool vow_dispatch_start(struct vow_participant *p, const struct vow_http_request *request,
                        struct vow_dispatch *dispatch, struct vow_http_response *response) {
  char why[VOW_JSON_WHY_BYTES];
  const struct route *route = find_route(p, request->path);
  enum vow_error error = check(p, route, request, why, sizeof why);
  if (!error && route->kind == ROUTE_IN_DOUBT) {
    answer_in_doubt(p, response);
    return true;
  }
  if (!error && route->kind == ROUTE_KNOWN) {
    answer_known(p, request, response);
    return true;
  }
  if (!error) {
    error = route->kind == ROUTE_BATCH ? take_batch(p, request, dispatch, why)
                                       : take_message(p, route->type, request, dispatch, why);
  }
  if (!error) return false;
  vow_dispatch_problem(p, error, why, response);
  if (error == VOW_E_METHOD_NOT_ALLOWED) response->allow = route->method;
  return true;
}

static const char *detail_of(const struct vow_exchange *exchange,
                             char detail[VOW_DETAIL_BYTES + 32]) {
  bool state = exchange->error == VOW_E_ILLEGAL_STATE;
  (void)snprintf(detail, VOW_DETAIL_BYTES + 32, "%s%s", state ? "the branch's state is " : "",
                 exchange->text);
  return *detail ? detail : NULL;
}

static void finish_batch(const struct vow_participant *p, const struct vow_dispatch *dispatch,
                         struct vow_http_response *response) {
  struct vow_log_position seen = {0};
  struct vow_buf buf;
  struct vow_jsonw w;
  vow_buf_init(&buf, dispatch->count * ANSWER_BYTES_MAX);
  vow_batch_replies_begin(&w, &buf);
  for (uint32_t i = 0; i < dispatch->count; i++) {
    char detail[VOW_DETAIL_BYTES + 32];
    struct vow_exchange *exchange = &dispatch->exchanges[i];
    if (vow_log_position_compare(exchange->reply.seen, seen) > 0) seen = exchange->reply.seen;
    exchange->reply.seen = (struct vow_log_position){0}; /* it stands once */
    if (exchange->error) {
      vow_batch_problem_write(&w, exchange->error, detail_of(exchange, detail));
    } else {
      vow_batch_reply_write(&w, exchange->type, &exchange->reply);
    }
  }
  vow_batch_end_seen(&w, seen);
  respond(p, 200, json_type, &buf, response);
}

void vow_dispatch_finish(const struct vow_participant *p, const struct vow_dispatch *dispatch,
                         struct vow_http_response *response) {
  const struct vow_exchange *exchange = &dispatch->exchanges[0];
  char detail[VOW_DETAIL_BYTES + 32];
  struct vow_buf buf;
  if (dispatch->batch) {
    finish_batch(p, dispatch, response);
    return;
  }
  if (exchange->error) {
    respond_problem(p, exchange->error, detail_of(exchange, detail), exchange->reply.seen,
                    response);
    return;
  }
  vow_buf_init(&buf, ANSWER_BYTES_MAX);
  vow_message_reply_encode(exchange->type, &exchange->reply, &buf);
  respond(p, 200, json_type, &buf, response);
}

void vow_dispatch_fini(struct vow_dispatch *dispatch) {
  if (dispatch->batch) free(dispatch->exchanges);
}
