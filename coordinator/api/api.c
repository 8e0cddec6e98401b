/*
 * The API's frame: routes, the life of a call, finding a transaction. See api.h.
 *
 * A call lives from vow_api_handle to its answer. When the client hangs up before, a call that the
 * core has not answered is cancelled and freed; one that waits for the log stays, without its
 * request, until the log answers.
 */
#include "api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "api_internal.h"
#include "media.h"

/* Answers are bounded by what is shown in them: one transaction with all its branches, or a page.
 */
#define ANSWER_BYTES_MAX (64u * 1024 * 1024)

enum { SHORT, LONG }; /* is_long */

static const struct vow_api_route routes[] = {
    {"POST", "/v1/transactions", vow_api_begin, SHORT, {NULL}},
    {"GET",
     "/v1/transactions",
     vow_api_list,
     LONG,
     {"state", "participant", "heuristic", "older_than_ms", "limit", "cursor", NULL}},
    {"POST", "/v1/transactions/{id}/commit", vow_api_commit, SHORT, {NULL}},
    {"POST", "/v1/transactions/{id}/branches", vow_api_enlist, SHORT, {NULL}},
    {"GET", "/v1/transactions/{id}", vow_api_get, LONG, {NULL}},
    {"GET", "/v1/transactions/{id}/outcome", vow_api_outcome, SHORT, {"seen", NULL}},
    {"POST", "/v1/outcomes", vow_api_outcomes, SHORT, {NULL}},
    {"POST", "/v1/transactions/{id}/abort", vow_api_abort, SHORT, {NULL}},
    {"GET",
     "/v1/transactions/{id}/history",
     vow_api_history,
     LONG,
     {"kind", "branch", "limit", "cursor", NULL}},
    {"POST", "/v1/transactions/{id}/resolve", vow_api_resolve, SHORT, {NULL}},
    {"POST", "/v1/transactions/{id}/forget", vow_api_forget, SHORT, {NULL}},
    {"GET", "/v1/participants", vow_api_participants, LONG, {NULL}},
    {"GET", "/v1/status", vow_api_status, SHORT, {NULL}},
    {"POST", "/v1/backup", vow_api_backup, SHORT, {NULL}},
    {"GET", "/healthz", vow_api_healthz, SHORT, {NULL}},
    {"GET", "/readyz", vow_api_readyz, SHORT, {NULL}},
    {"GET", "/metrics", vow_api_metrics, SHORT, {NULL}},
    {"GET", "/openapi.yaml", vow_api_openapi, SHORT, {NULL}},
};
#define ROUTE_COUNT (sizeof routes / sizeof *routes)

/* ---- routes ---- */

/* Whether the path is of this pattern; *id is then where the part "{id}" begins, or NULL. */
static bool match(const char *pattern, const char *path, const char **id) {
  *id = NULL;
  while (*pattern != '\0') {
    if (*pattern == '{') {
      *id = path;
      path += strcspn(path, "/");
      if (path == *id) return false;
      pattern += strlen("{id}");
    } else if (*pattern++ != *path++) {
      return false;
    }
  }
  return *path == '\0';
}

static bool same_method(const char *asked, const char *method) {
  if (strcmp(asked, "HEAD") == 0) asked = "GET";
  return strcmp(asked, method) == 0;
}

/* "GET, HEAD, POST" of all routes with this path. */
static void list_methods(const char *path, char out[64]) {
  const char *id;
  out[0] = '\0';
  for (size_t i = 0; i < ROUTE_COUNT; i++) {
    if (!match(routes[i].path, path, &id)) continue;
    if (out[0] != '\0') strncat(out, ", ", 63 - strlen(out));
    strncat(out, routes[i].method, 63 - strlen(out));
    if (strcmp(routes[i].method, "GET") == 0) strncat(out, ", HEAD", 63 - strlen(out));
  }
}

/* ---- calls ---- */

void vow_api_call_free(struct vow_api_call *call) {
  if (call->request != NULL) vow_request_set_data(call->request, NULL);
  if (call->free_more != NULL) call->free_more(call->more);
  vow_api_branches_fini(&call->branches);
  vow_buf_fini(&call->begin.metadata);
  vow_json_free(call->document);
  free(call);
}

static struct vow_api_call *call_new(struct vow_api *api, struct vow_server_request *request) {
  struct vow_api_call *call = calloc(1, sizeof *call);
  if (call == NULL) return NULL;
  call->api = api;
  call->request = request;
  vow_request_set_data(request, call);
  return call;
}

void vow_api_gone(void *context, struct vow_server_request *request) {
  struct vow_api *api = context;
  struct vow_api_call *call = vow_request_data(request);
  if (call == NULL) return;
  call->request = NULL;
  if (call->token == 0) return; /* the log's answer ends it */
  uint64_t token = call->token;
  vow_api_call_free(call);
  vow_driver_cancel(api->driver, token);
}

void vow_api_submit(struct vow_api_call *call, struct vow_event *event,
                    void (*done)(void *call, const struct vow_action *answer)) {
  uint64_t token = 0;
  enum vow_error error = vow_driver_request(call->api->driver, event, done, call, &token);
  if (error != VOW_OK) {
    vow_api_problem(call, error, NULL);
  } else if (token != 0) {
    call->token = token; /* only then is the call still there */
  }
}

/* Lists go on without the rows, so nobody else would say it. */
static void note_damaged(struct vow_api *api, const struct vow_log_result *result) {
  if (result->error != VOW_E_LOG_CORRUPT && result->rows_bad == 0) return;
  if (!vow_logger_allow(&api->damaged, 5, vow_api_wall_ms())) return;
  if (!vow_logger_begin(api->logger, VOW_LEVEL_ERROR, "damaged-row",
                        "a row of the log is damaged and not shown; the runbook says what to do")) {
    return;
  }
  vow_logger_text(api->logger, "why", result->why);
  if (result->rows_bad > 1) vow_logger_uint(api->logger, "rows", result->rows_bad);
  if (api->damaged.suppressed > 0)
    vow_logger_uint(api->logger, "unwritten", api->damaged.suppressed);
  api->damaged.suppressed = 0;
  vow_logger_end(api->logger);
}

static void on_read(void *context, const struct vow_log_result *result) {
  struct vow_api_call *call = context;
  note_damaged(call->api, result);
  call->read(call, result);
}

void vow_api_query(struct vow_api_call *call, struct vow_log_query *query,
                   void (*done)(void *call, const struct vow_log_result *result)) {
  call->read = done;
  query->done = on_read;
  query->context = call;
  enum vow_error error = vow_log_query(vow_driver_log(call->api->driver), query);
  if (error == VOW_E_OVERLOADED) {
    vow_api_problem(call, error, "as many questions as the daemon allows wait for the log");
  } else if (error != VOW_OK) {
    vow_api_problem(call, error, NULL);
  }
}

/* ---- finding a transaction ---- */

bool vow_api_in_core(const struct vow_api_call *call) {
  return vow_core_find(vow_driver_core(call->api->driver), call->id) != NULL;
}

static void on_found(void *context, const struct vow_log_result *result) {
  struct vow_api_call *call = context;
  if (call->request == NULL) {
    vow_api_call_free(call);
    return;
  }
  if (result->error != VOW_OK) {
    vow_api_problem(call, result->error, result->why);
    return;
  }
  const struct vow_core *core = vow_driver_core(call->api->driver);
  const struct vow_txn *txn = vow_core_find(core, call->id); /* it may have been loaded meanwhile */
  if (txn == NULL && result->count > 0) txn = &result->rows[0];
  bool ended = txn != NULL && txn->ended_ms != 0;
  call->purged_to = result->purged_to;
  if (!ended && vow_core_loading(core) && vow_core_find(core, call->id) == NULL) {
    vow_api_problem(call, VOW_E_LOADING, "the log is still being read; ask again");
  } else {
    call->found(call, txn);
  }
}

void vow_api_find(struct vow_api_call *call,
                  void (*then)(struct vow_api_call *call, const struct vow_txn *txn)) {
  const struct vow_txn *txn = vow_core_find(vow_driver_core(call->api->driver), call->id);
  if (txn != NULL) {
    then(call, txn);
    return;
  }
  call->found = then;
  struct vow_log_query query = {.type = VOW_LOG_QUERY_FIND, .id = call->id, .limit = 1};
  vow_api_query(call, &query, on_found);
}

bool vow_api_is_of_this_log(const struct vow_api *api, struct vow_id id) {
  struct vow_driver_status status;
  vow_driver_status(api->driver, &status);
  return vow_id_is_v7(id) && vow_id_unix_ms(id) >= status.log.created_ms &&
         vow_core_may_presume(vow_driver_core(api->driver), id);
}

bool vow_api_was_lost(const struct vow_api *api, struct vow_id id) {
  struct vow_driver_status status;
  vow_driver_status(api->driver, &status);
  return vow_id_is_v7(id) && vow_id_compare(id, status.log.presume_from) < 0;
}

bool vow_api_is_presumed(const struct vow_api_call *call) {
  return vow_api_is_of_this_log(call->api, call->id) &&
         vow_id_compare(call->id, call->purged_to) > 0;
}

/* ---- taking a request ---- */

/* Answers a path that is no route, or a route that does not take the method. */
static void refuse_path(struct vow_api_call *call, const char *path) {
  char methods[64], detail[192];
  list_methods(path, methods);
  if (methods[0] == '\0') {
    vow_api_problem(call, VOW_E_ROUTE_NOT_FOUND, "GET /openapi.yaml lists the routes");
    return;
  }
  vow_request_add_header(call->request, "Allow", methods);
  snprintf(detail, sizeof detail, "it takes %s, not %.40s", methods,
           vow_request_method(call->request));
  vow_api_problem(call, VOW_E_METHOD_NOT_ALLOWED, detail);
}

/* False: the call was answered, for the query cannot be decoded, or a parameter is not of the route
 * or stands twice. */
static bool check_query(struct vow_api_call *call) {
  const char *name;
  char detail[192];
  unsigned seen = 0;
  if (vow_request_query_is_malformed(call->request)) {
    vow_api_problem(call, VOW_E_INVALID_REQUEST,
                    "the query holds a % that is not followed by two hexadecimal digits, or %00");
    return false;
  }
  for (unsigned i = 0; (name = vow_request_query_name(call->request, i)) != NULL; i++) {
    unsigned at = 0;
    while (call->route->query[at] != NULL && strcmp(call->route->query[at], name) != 0) at++;
    bool known = call->route->query[at] != NULL, again = (seen & 1u << at) != 0;
    seen |= 1u << at;
    if (known && !again) continue;
    snprintf(detail, sizeof detail, "the query parameter \"%.100s\" %s", name,
             known ? "stands there twice" : "does not exist here");
    vow_api_problem(call, VOW_E_INVALID_REQUEST, detail);
    return false;
  }
  return true;
}

/* False: the call was answered, for the path holds no id where one belongs. */
static bool take_id(struct vow_api_call *call, const char *id) {
  char text[VOW_ID_TEXT_BYTES], detail[128];
  size_t bytes = strcspn(id, "/");
  if (bytes < sizeof text) {
    memcpy(text, id, bytes);
    text[bytes] = '\0';
    if (vow_id_parse(text, &call->id)) return true;
  }
  snprintf(detail, sizeof detail,
           "\"%.*s\" is not a UUID such as 01935e2a-7c3b-7000-8a51-3f1f6c0d9b11",
           (int)(bytes > 60 ? 60 : bytes), id);
  vow_api_problem(call, VOW_E_INVALID_ID, detail);
  return false;
}

void vow_api_handle(void *context, struct vow_server_request *request) {
  struct vow_api *api = context;
  const char *path = vow_request_path(request), *method = vow_request_method(request), *id = NULL;
  struct vow_api_call *call = call_new(api, request);
  if (call == NULL) {
    vow_request_answer(request, 500, "application/problem+json", vow_api_no_memory,
                       strlen(vow_api_no_memory));
    return;
  }
  if (vow_request_header_fault(request) != NULL) {
    vow_api_problem(call, VOW_E_INVALID_REQUEST, vow_request_header_fault(request));
    return;
  }
  if (vow_request_body_too_large(request)) {
    char detail[96];
    snprintf(detail, sizeof detail, "at most %llu bytes are allowed",
             (unsigned long long)api->config->limits_body_bytes);
    vow_api_problem(call, VOW_E_BODY_TOO_LARGE, detail);
    return;
  }
  if (vow_request_body_has_no_room(request)) {
    vow_api_problem(
        call, VOW_E_OVERLOADED,
        "the bodies of other requests take all the room there is (512 MiB together); send "
        "it again later");
    return;
  }
  for (size_t i = 0; i < ROUTE_COUNT && call->route == NULL; i++) {
    if (same_method(method, routes[i].method) && match(routes[i].path, path, &id)) {
      call->route = &routes[i];
    }
  }
  if (call->route == NULL) {
    refuse_path(call, path);
  } else if (check_query(call) && (id == NULL || take_id(call, id))) {
    call->route->handle(call);
  }
}

/* ---- reading ---- */

bool vow_api_read_body(struct vow_api_call *call, bool may_be_empty, struct vow_json_object *out,
                       bool *present) {
  size_t bytes;
  char why[VOW_JSON_WHY_BYTES];
  const char *body = vow_request_body(call->request, &bytes);
  *present = bytes > 0;
  if (bytes == 0 && may_be_empty) return true;
  if (bytes == 0) {
    vow_api_problem(call, VOW_E_INVALID_REQUEST, "a body with a JSON object is missing");
    return false;
  }
  if (!vow_media_is_json(vow_request_header(call->request, "Content-Type"))) {
    vow_api_problem(call, VOW_E_NOT_ACCEPTABLE_TYPE,
                    "send the header \"Content-Type: application/json\", and JSON in UTF-8");
    return false;
  }
  enum vow_error error = vow_json_parse(&call->document, body, bytes, why);
  if (error != VOW_OK) {
    vow_api_problem(call, error, error == VOW_E_NO_MEMORY ? NULL : why);
    return false;
  }
  vow_json_object_begin(out, vow_json_root(call->document), "");
  return true;
}

bool vow_api_end_body(struct vow_api_call *call, struct vow_json_object *object) {
  enum vow_error error = vow_json_object_end(object);
  if (error == VOW_OK) return true;
  vow_api_problem(call, error, object->why);
  return false;
}

const char *vow_api_query_text(const struct vow_api_call *call, const char *name) {
  const char *one, *text = vow_request_query(call->request, name);
  if (text != NULL) return text;
  for (unsigned i = 0; (one = vow_request_query_name(call->request, i)) != NULL; i++) {
    if (strcmp(one, name) == 0) return "";
  }
  return NULL;
}

bool vow_api_query_uint(struct vow_api_call *call, const char *name, uint64_t min, uint64_t max,
                        uint64_t *out) {
  char detail[192];
  const char *text = vow_api_query_text(call, name);
  if (text == NULL) return true;
  if (text[0] != '\0' && strspn(text, "0123456789") == strlen(text) && strlen(text) <= 19) {
    uint64_t number = strtoull(text, NULL, 10);
    if (number >= min && number <= max) {
      *out = number;
      return true;
    }
  }
  snprintf(detail, sizeof detail, "%s must be a whole number from %llu to %llu", name,
           (unsigned long long)min, (unsigned long long)max);
  vow_api_problem(call, VOW_E_INVALID_REQUEST, detail);
  return false;
}

/* RFC 7240: a list of preferences, each perhaps with "=value" and ";parameters". */
bool vow_api_prefers_async(const struct vow_api_call *call) {
  static const char word[] = "respond-async";
  const char *at = vow_request_header(call->request, "Prefer");
  while (at != NULL && *at != '\0') {
    at += strspn(at, " \t,");
    size_t bytes = strcspn(at, " \t,;=");
    if (bytes == sizeof word - 1 && strncasecmp(at, word, bytes) == 0) return true;
    at += strcspn(at, ",");
  }
  return false;
}

static bool may_be_in_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == ':' || c == '-';
}

bool vow_api_is_name(const char *name) {
  size_t bytes = 0;
  while (may_be_in_name(name[bytes])) bytes++;
  return bytes >= 1 && bytes <= API_NAME_BYTES_MAX && name[bytes] == '\0';
}

uint64_t vow_api_wall_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- the API itself ---- */

enum vow_error vow_api_new(struct vow_api **out, const struct vow_config *config,
                           struct vow_logger *logger) {
  struct vow_api *api = calloc(1, sizeof *api);
  if (api == NULL) return VOW_E_NO_MEMORY;
  api->config = config;
  api->logger = logger;
  api->started_ms = vow_api_wall_ms();
  vow_buf_init(&api->out, ANSWER_BYTES_MAX);
  *out = api;
  return VOW_OK;
}

void vow_api_free(struct vow_api *api) {
  if (api == NULL) return;
  vow_buf_fini(&api->out);
  free(api);
}

void vow_api_attach(struct vow_api *api, struct vow_driver *driver, struct vow_server *server) {
  api->driver = driver;
  api->server = server;
}

void vow_api_set_draining(struct vow_api *api) {
  api->draining = true;
}
