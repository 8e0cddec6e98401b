/*
 * HTTP to messages and back: routes, limits and what is wrong with a request, in problem details.
 * The own server and the mounted form both come through here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "participant_internal.h"
#include "url.h"

#define ANSWER_BYTES_MAX   ((size_t)16 << 10)
#define IN_DOUBT_BYTES_MAX ((size_t)64 << 20)
#define RETRY_AFTER_S      1

static const char json_type[] = "application/json";
static const char problem_type[] = "application/problem+json";

/* Takes the body out of the buffer; without memory there is a status and no body. */
static void respond(int status, const char *type, struct vow_buf *buf,
                    struct vow_http_response *response) {
  size_t bytes = 0;
  char *body = vow_buf_take(buf, &bytes);
  *response = (struct vow_http_response){.status = body ? status : 500,
                                         .content_type = body ? type : NULL,
                                         .body = body,
                                         .body_bytes = bytes};
  vow_buf_fini(buf);
}

void vow_dispatch_problem(enum vow_error error, const char *detail,
                          struct vow_http_response *response) {
  struct vow_buf buf;
  struct vow_jsonw w;
  int status = vow_error_http_status(error);
  vow_buf_init(&buf, ANSWER_BYTES_MAX);
  vow_jsonw_init(&w, &buf);
  vow_problem_begin(&w, error, detail && *detail ? detail : NULL);
  vow_jsonw_end(&w);
  respond(status, problem_type, &buf, response);
  if (status == 503) response->retry_after_s = RETRY_AFTER_S;
}

/* ---- routes ---- */

struct route {
  const char *path;
  const char *method;
  enum vow_message_type type; /* 0: in-doubt */
};

static const struct route routes[] = {
    {"/prepare", "POST", VOW_MESSAGE_PREPARE},
    {"/commit", "POST", VOW_MESSAGE_COMMIT},
    {"/abort", "POST", VOW_MESSAGE_ABORT},
    {"/forget", "POST", VOW_MESSAGE_FORGET},
    {"/in-doubt", "GET", 0},
};

static const struct route *find_route(const char *path) {
  for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
    if (strcmp(routes[i].path, path) == 0) return &routes[i];
  }
  return NULL;
}

/* "application/json", in either case, with or without parameters. */
static bool is_json(const char *content_type) {
  size_t bytes = sizeof json_type - 1;
  if (!content_type || strncasecmp(content_type, json_type, bytes) != 0) return false;
  const char *rest = content_type + bytes;
  rest += strspn(rest, " \t");
  return *rest == '\0' || *rest == ';';
}

/* ---- what is in doubt ---- */

static int compare_keys(const void *a_, const void *b_) {
  const struct vow_precord_key *a = a_, *b = b_;
  int order = vow_id_compare(a->transaction, b->transaction);
  return order ? order : (a->branch > b->branch) - (a->branch < b->branch);
}

/* The branches in doubt, in order; NULL: no memory. */
static struct vow_precord_key *copy_in_doubt(struct vow_participant *p, size_t *count) {
  struct vow_pcounts counts;
  size_t n = 0;
  pthread_mutex_lock(&p->lock);
  vow_pcore_counts(p->core, &counts);
  struct vow_precord_key *keys = calloc(counts.in_doubt + 1, sizeof *keys);
  const struct vow_pbranch *b = keys ? vow_pcore_next_in_doubt(p->core, NULL) : NULL;
  for (; b && n < counts.in_doubt; b = vow_pcore_next_in_doubt(p->core, b)) {
    keys[n++] = (struct vow_precord_key){b->transaction, b->number};
  }
  pthread_mutex_unlock(&p->lock);
  if (keys) qsort(keys, n, sizeof *keys, compare_keys);
  *count = n;
  return keys;
}

static void answer_in_doubt(struct vow_participant *p, struct vow_http_response *response) {
  struct vow_buf buf;
  struct vow_jsonw w;
  size_t count = 0;
  struct vow_precord_key *keys = copy_in_doubt(p, &count);
  if (!keys) {
    vow_dispatch_problem(VOW_E_NO_MEMORY, NULL, response);
    return;
  }
  vow_buf_init(&buf, IN_DOUBT_BYTES_MAX);
  vow_jsonw_init(&w, &buf);
  vow_jsonw_object(&w, NULL);
  vow_jsonw_array(&w, "branches");
  for (size_t i = 0; i < count; i++) {
    vow_jsonw_object(&w, NULL);
    vow_jsonw_id(&w, "transaction", keys[i].transaction);
    vow_jsonw_uint(&w, "branch", keys[i].branch);
    vow_jsonw_end(&w);
  }
  vow_jsonw_end(&w);
  vow_jsonw_end(&w);
  free(keys);
  respond(200, json_type, &buf, response);
}

/* ---- messages ---- */

static bool is_allowed(const struct vow_participant *p, const char *coordinator) {
  if (!p->allowed) return true;
  for (char *const *allowed = p->allowed; *allowed; allowed++) {
    if (strcmp(*allowed, coordinator) == 0) return true;
  }
  return false;
}

static enum vow_error take_message(struct vow_participant *p, enum vow_message_type type,
                                   const struct vow_http_request *request,
                                   struct vow_exchange *exchange, char why[VOW_JSON_WHY_BYTES]) {
  struct vow_json *document = NULL;
  struct vow_message message;
  char coordinator[VOW_URL_BYTES_MAX + 1];
  enum vow_error error = vow_message_decode(type, request->body ? request->body : "",
                                            request->body_bytes, &message, &document, why);
  if (error) return error;
  error = vow_url_normalize(message.coordinator, coordinator, why, VOW_JSON_WHY_BYTES);
  if (!error && !is_allowed(p, coordinator)) {
    (void)snprintf(why, VOW_JSON_WHY_BYTES, "%.200s is not in coordinator_allow", coordinator);
    error = VOW_E_FORBIDDEN;
  }
  if (!error) {
    message.coordinator = coordinator;
    vow_engine_message(p, &message, exchange);
  }
  vow_json_free(document);
  return error;
}

/* What is wrong with the request before its body is looked at. */
static enum vow_error check(const struct vow_participant *p, const struct route *route,
                            const struct vow_http_request *request, char *why, size_t why_bytes) {
  why[0] = '\0';
  if (!route) {
    (void)snprintf(why, why_bytes,
                   "a participant has /prepare, /commit, /abort, /forget and"
                   " /in-doubt");
    return VOW_E_ROUTE_NOT_FOUND;
  }
  if (strcmp(request->method, route->method) != 0) {
    (void)snprintf(why, why_bytes, "%s takes %s", route->path, route->method);
    return VOW_E_METHOD_NOT_ALLOWED;
  }
  if (!route->type) return VOW_OK;
  if (request->body_bytes > p->options.body_bytes_max) {
    (void)snprintf(why, why_bytes, "at most %zu bytes", p->options.body_bytes_max);
    return VOW_E_BODY_TOO_LARGE;
  }
  return is_json(request->content_type) ? VOW_OK : VOW_E_NOT_ACCEPTABLE_TYPE;
}

bool vow_dispatch_start(struct vow_participant *p, const struct vow_http_request *request,
                        struct vow_exchange *exchange, struct vow_http_response *response) {
  char why[VOW_JSON_WHY_BYTES];
  const struct route *route = find_route(request->path);
  enum vow_error error = check(p, route, request, why, sizeof why);
  if (!error && !route->type) {
    answer_in_doubt(p, response);
    return true;
  }
  if (!error) error = take_message(p, route->type, request, exchange, why);
  if (!error) return false;
  vow_dispatch_problem(error, why, response);
  if (error == VOW_E_METHOD_NOT_ALLOWED) response->allow = route->method;
  return true;
}

void vow_dispatch_finish(const struct vow_exchange *exchange, struct vow_http_response *response) {
  char detail[VOW_DETAIL_BYTES + 32];
  struct vow_buf buf;
  if (exchange->error) {
    bool state = exchange->error == VOW_E_ILLEGAL_STATE;
    (void)snprintf(detail, sizeof detail, "%s%s", state ? "the branch's state is " : "",
                   exchange->text);
    vow_dispatch_problem(exchange->error, detail, response);
    return;
  }
  vow_buf_init(&buf, ANSWER_BYTES_MAX);
  vow_message_reply_encode(exchange->type, &exchange->reply, &buf);
  respond(200, json_type, &buf, response);
}
