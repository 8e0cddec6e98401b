/*
 * A request as its handler sees it, and its answer. See server.h.
 */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server_internal.h"

const char *vow_request_method(const struct vow_server_request *request) {
  return request->method;
}

const char *vow_request_path(const struct vow_server_request *request) {
  return request->path;
}

const char *vow_request_query(const struct vow_server_request *request, const char *name) {
  return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

bool vow_request_query_is_malformed(const struct vow_server_request *request) {
  return request->query_malformed;
}

struct nth {
  unsigned left;
  const char *name;
};

static enum MHD_Result pick_nth(void *context, enum MHD_ValueKind kind, const char *name,
                                const char *value) {
  (void)kind, (void)value;
  struct nth *nth = context;
  if (nth->left-- > 0) return MHD_YES;
  nth->name = name;
  return MHD_NO;
}

const char *vow_request_query_name(const struct vow_server_request *request, unsigned index) {
  struct nth nth = {.left = index};
  MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, pick_nth, &nth);
  return nth.name;
}

const char *vow_request_header(const struct vow_server_request *request, const char *name) {
  return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

const char *vow_request_header_fault(const struct vow_server_request *request) {
  return request->header_fault;
}

void vow_request_peer(const struct vow_server_request *request, char out[VOW_PEER_BYTES]) {
  char host[VOW_PEER_BYTES - 12], port[8];
  const union MHD_ConnectionInfo *info =
      MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
  const struct sockaddr *address = info == NULL ? NULL : info->client_addr;
  socklen_t bytes = sizeof(struct sockaddr_in6);
  if (address != NULL && address->sa_family == AF_INET) bytes = sizeof(struct sockaddr_in);
  if (address == NULL || getnameinfo(address, bytes, host, sizeof host, port, sizeof port,
                                     NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    snprintf(out, VOW_PEER_BYTES, "?");
    return;
  }
  snprintf(out, VOW_PEER_BYTES, strchr(host, ':') == NULL ? "%s:%s" : "[%s]:%s", host, port);
}

const char *vow_request_body(const struct vow_server_request *request, size_t *bytes) {
  *bytes = request->body_bytes;
  return request->body_bytes == 0 ? "" : request->body;
}

bool vow_request_body_too_large(const struct vow_server_request *request) {
  return request->too_large;
}

bool vow_request_body_has_no_room(const struct vow_server_request *request) {
  return request->no_room;
}

void vow_request_set_data(struct vow_server_request *request, void *data) {
  request->data = data;
}

void *vow_request_data(const struct vow_server_request *request) {
  return request->data;
}

void vow_request_add_header(struct vow_server_request *request, const char *name,
                            const char *value) {
  size_t name_bytes = strlen(name) + 1, value_bytes = strlen(value) + 1;
  if (name_bytes + value_bytes > sizeof request->headers - request->headers_bytes) abort();
  memcpy(request->headers + request->headers_bytes, name, name_bytes);
  memcpy(request->headers + request->headers_bytes + name_bytes, value, value_bytes);
  request->headers_bytes += name_bytes + value_bytes;
}

/* A body that is not long is kept where the request's was, with the request; nobody reads that any
 * more but the handler that may give it back. */
static struct MHD_Response *response_with(struct vow_server_request *request, const char *body,
                                          size_t bytes) {
  union {
    const void *in;
    void *out;
  } copied = {.in = body}; /* the API lacks a const that MUST_COPY implies */
  if (bytes >= VOW_SERVER_SHORT_BYTES) {
    request->answer_bytes = bytes;
    request->server->counts.answer_bytes += bytes;
    return MHD_create_response_from_buffer(bytes, copied.out, MHD_RESPMEM_MUST_COPY);
  }
  request->body_bytes = 0;
  if (!vow_server_append_body(request, body, bytes)) return NULL;
  return MHD_create_response_from_buffer(bytes, request->body, MHD_RESPMEM_PERSISTENT);
}

static struct MHD_Response *make_response(struct vow_server_request *request,
                                          const char *content_type, const char *body,
                                          size_t body_bytes) {
  struct MHD_Response *response = response_with(request, body == NULL ? "" : body, body_bytes);
  if (response == NULL) return NULL;
  bool ok = content_type == NULL ||
            MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
  if (request->server->quiesced) {
    ok = ok && MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
  }
  const char *name = request->headers, *end = name + request->headers_bytes;
  while (name < end) {
    const char *value = name + strlen(name) + 1;
    ok = ok && MHD_add_response_header(response, name, value);
    name = value + strlen(value) + 1;
  }
  if (ok) return response;
  MHD_destroy_response(response);
  return NULL;
}

void vow_request_answer(struct vow_server_request *request, int status, const char *content_type,
                        const char *body, size_t body_bytes) {
  request->response =
      make_response(request, content_type, body, content_type == NULL ? 0 : body_bytes);
  request->status = status;
  request->state = ANSWERED;
  if (request->suspended) vow_server_wake(request);
}
