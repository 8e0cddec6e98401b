/* The HTTP server of api_stubs.h: requests, and what must hold of their answers. */
#include "api_stubs.h"

#include <string.h>

#include "core/core.h"
#include "fuzz.h"
#include "message.h"

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

const char *vow_request_header_fault(const struct vow_server_request *request) {
  (void)request;
  return NULL;
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

bool vow_request_body_has_no_room(const struct vow_server_request *request) {
  return request->no_room;
}

void vow_request_set_data(struct vow_server_request *request, void *data) {
  must(!request->gone);
  request->data = data;
}

void *vow_request_data(const struct vow_server_request *request) {
  return request->data;
}

void vow_request_add_header(struct vow_server_request *request, const char *name,
                            const char *value) {
  must(strpbrk(name, "\r\n: ") == NULL && strpbrk(value, "\r\n") == NULL); /* it stays one */
  must(!request->answered && !request->gone);
  request->added += strlen(name) + strlen(value) + 2;
  must(request->added <= VOW_REQUEST_HEADERS_BYTES);
}

static void must_be_a_problem(int status, const char *body, size_t body_bytes) {
  enum vow_error error = vow_problem_decode(body, body_bytes, NULL, 0);
  must(error != VOW_E_PROTOCOL && vow_error_http_status(error) == status);
}

/* An answer comes once; JSON is JSON, and a problem is one of ours, with its own status. */
void vow_request_answer(struct vow_server_request *request, int status, const char *content_type,
                        const char *body, size_t body_bytes) {
  char why[VOW_JSON_WHY_BYTES];
  struct vow_json *json = NULL;

  must(!request->answered && !request->gone);
  must(status >= 200 && status <= 599);
  must(!request->too_large || status == 413);
  must(!request->no_room || request->too_large || status == 503);
  request->answered = true;
  request->status = status;
  if (content_type == NULL || strstr(content_type, "json") == NULL) return;
  must(vow_json_parse(&json, body, body_bytes, why) == VOW_OK);
  if (strstr(content_type, "problem") != NULL) must_be_a_problem(status, body, body_bytes);
  stub_told(vow_json_root(json));
  vow_json_free(json);
}

uint64_t vow_server_answer_bytes(const struct vow_server *server) {
  (void)server;
  return 0;
}

void vow_server_counts(const struct vow_server *server, struct vow_server_counts *out) {
  (void)server;
  *out = (struct vow_server_counts){.connections = 1};
}
