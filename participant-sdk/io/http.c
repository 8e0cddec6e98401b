/*
 * See http.h. A handle is one curl easy handle, a group one multi handle: that is what lets another
 * thread wake it up (curl_multi_wakeup), which curl_easy_perform does not.
 */
#include "http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "buf.h"

#define POLL_MS 1000

struct vow_http_group {
  CURLM *multi;
  int under_way; /* calls that have begun and not ended */
};

struct vow_http {
  struct vow_http_group *group;
  bool group_is_own;
  CURL *easy;
  const struct vow_http_call *call; /* under way, borrowed; NULL: none is */
  struct curl_slist *headers;       /* its own */
  bool ended;                       /* with `code` */
  CURLcode code;
  struct vow_buf body;
  char content_type[128];
  char curl_error[CURL_ERROR_SIZE];
};

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_code;

static void global_init(void) {
  global_code = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static size_t on_body(char *data, size_t size, size_t count, void *context) {
  struct vow_http *http = context;
  vow_buf_append(&http->body, data, size * count);
  return http->body.error ? 0 : size * count;
}

/* ---- groups ---- */

enum vow_error vow_http_group_open(struct vow_http_group **out) {
  pthread_once(&global_once, global_init);
  if (global_code != CURLE_OK) return VOW_E_INTERNAL;
  struct vow_http_group *group = calloc(1, sizeof *group);
  if (!group) return VOW_E_NO_MEMORY;
  group->multi = curl_multi_init();
  if (!group->multi) {
    free(group);
    return VOW_E_NO_MEMORY;
  }
  *out = group;
  return VOW_OK;
}

void vow_http_group_close(struct vow_http_group *group) {
  if (!group) return;
  curl_multi_cleanup(group->multi);
  free(group);
}

bool vow_http_group_wake(struct vow_http_group *group) {
  return curl_multi_wakeup(group->multi) == CURLM_OK;
}

static void take_out(struct vow_http *http, CURLcode code) {
  http->ended = true;
  http->code = code;
  http->group->under_way--;
  curl_multi_remove_handle(http->group->multi, http->easy);
}

static bool go_on(struct vow_http_group *group, bool *ended) {
  const CURLMsg *message;
  int running = 0, left = 0;
  if (curl_multi_perform(group->multi, &running) != CURLM_OK) return false;
  while ((message = curl_multi_info_read(group->multi, &left)) != NULL) {
    char *private = NULL;
    if (message->msg != CURLMSG_DONE) continue;
    CURLcode code = message->data.result; /* the message dies with the handle */
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
    take_out((struct vow_http *)(void *)private, code);
    *ended = true;
  }
  return running >= group->under_way;
}

bool vow_http_group_wait(struct vow_http_group *group, int wait_ms) {
  bool ended = false;
  if (!go_on(group, &ended)) return false;
  if (ended) return true;
  return curl_multi_poll(group->multi, NULL, 0, wait_ms, NULL) == CURLM_OK && go_on(group, &ended);
}

/* ---- handles ---- */

enum vow_error vow_http_open(struct vow_http **out, struct vow_http_group *group) {
  enum vow_error error = VOW_OK;
  struct vow_http *http = calloc(1, sizeof *http);
  if (!http) return VOW_E_NO_MEMORY;
  http->group = group;
  http->group_is_own = !group;
  vow_buf_init(&http->body, 0);
  if (!group) error = vow_http_group_open(&http->group);
  if (!error) http->easy = curl_easy_init();
  if (!error && !http->easy) error = VOW_E_NO_MEMORY;
  if (error) {
    vow_http_close(http);
    return error;
  }
  *out = http;
  return VOW_OK;
}

void vow_http_close(struct vow_http *http) {
  if (!http) return;
  if (http->call && !http->ended) take_out(http, CURLE_ABORTED_BY_CALLBACK);
  if (http->easy) curl_easy_cleanup(http->easy);
  if (http->group_is_own) vow_http_group_close(http->group);
  curl_slist_free_all(http->headers);
  vow_buf_fini(&http->body);
  free(http);
}

/* ---- a call ---- */

/* The request's headers as curl wants them; NULL when memory is out. */
static struct curl_slist *make_headers(const struct vow_http_call *call) {
  /* An empty Expect keeps curl from waiting for "100 Continue" before a body of some size. */
  struct curl_slist *list = curl_slist_append(NULL, "Expect:");
  const char *const none[] = {NULL};
  bool failed = !list;
  if (call->body && !failed) {
    struct curl_slist *longer = curl_slist_append(list, "Content-Type: application/json");
    failed = !longer;
  }
  for (const char *const *header = call->headers ? call->headers : none; *header && !failed;
       header++) {
    failed = !curl_slist_append(list, *header);
  }
  if (!failed) return list;
  curl_slist_free_all(list);
  return NULL;
}

/* Whether a byte of the request left. Curl tries again on a fresh connection when a kept one turns
 * out dead, and the first try may have been read; so it is not the kind of the failure that counts
 * but the bytes of all tries. */
static bool anything_left(struct vow_http *http) {
  long bytes = 0;
  return curl_easy_getinfo(http->easy, CURLINFO_REQUEST_SIZE, &bytes) != CURLE_OK || bytes != 0;
}

/* No socket, no second try. */
static curl_socket_t on_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address) {
  struct vow_http *http = context;
  (void)purpose;
  if (anything_left(http)) return CURL_SOCKET_BAD;
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static bool set_options(struct vow_http *http, const struct vow_http_call *call) {
  CURL *easy = http->easy;
  curl_easy_reset(easy); /* keeps the connections */
  CURLcode code = curl_easy_setopt(easy, CURLOPT_URL, call->url);
  if (code) return false;
  bool post = strcmp(call->method, "POST") == 0;
  code |= curl_easy_setopt(easy, CURLOPT_PRIVATE, http);
  code |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  code |= curl_easy_setopt(easy, CURLOPT_PROXY, "");
  code |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  /* Else whoever gives up would wait for a name to be looked up, for as long as that takes. */
  code |= curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
  code |= curl_easy_setopt(easy, CURLOPT_USERAGENT, "libvow/" VOW_VERSION);
  code |= curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
  code |= curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)call->timeout_ms);
  code |= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, http->headers);
  code |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
  code |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, http);
  code |= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, http->curl_error);
  if (call->once) {
    code |= curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    code |= curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, http);
  }
  if (post) {
    code |= curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_bytes);
    code |= curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body ? call->body : "");
  } else {
    code |= curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    code |= curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method);
  }
  return code == CURLE_OK;
}

static enum vow_error error_of(CURLcode code) {
  switch (code) {
    case CURLE_OK:
      return VOW_OK;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return VOW_E_INVALID_URL;
    case CURLE_OUT_OF_MEMORY:
      return VOW_E_NO_MEMORY;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
      return VOW_E_UNREACHABLE;
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_ABORTED_BY_CALLBACK:
      return VOW_E_TIMEOUT;
    default:
      return VOW_E_PROTOCOL;
  }
}

static void read_answer(struct vow_http *http, struct vow_http_answer *answer) {
  long status = 0;
  curl_off_t retry_after_s = 0;
  const char *type = NULL;
  curl_easy_getinfo(http->easy, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(http->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
  curl_easy_getinfo(http->easy, CURLINFO_CONTENT_TYPE, &type);
  snprintf(http->content_type, sizeof http->content_type, "%s", type ? type : "");
  *answer = (struct vow_http_answer){
      .status = (int)status,
      .body = vow_buf_text(&http->body),
      .body_bytes = http->body.bytes,
      .content_type = http->content_type,
      .retry_after_s = retry_after_s > UINT32_MAX ? UINT32_MAX : (uint32_t)retry_after_s,
  };
}

static void explain(struct vow_http *http, const struct vow_http_call *call, char *why,
                    size_t why_bytes) {
  if (!why || why_bytes == 0) return;
  if (http->body.error == VOW_E_LIMIT_EXCEEDED) {
    snprintf(why, why_bytes, "%s answered more than %zu bytes", call->url, call->answer_bytes_max);
  } else if (call->once && http->code == CURLE_COULDNT_CONNECT && anything_left(http)) {
    snprintf(why, why_bytes, "%s: the connection broke before there was an answer", call->url);
  } else {
    const char *text = http->curl_error[0] ? http->curl_error : curl_easy_strerror(http->code);
    snprintf(why, why_bytes, "%s: %s", call->url, text);
  }
}

enum vow_error vow_http_begin(struct vow_http *http, const struct vow_http_call *call, char *why,
                              size_t why_bytes) {
  vow_buf_fini(&http->body);
  vow_buf_init(&http->body, call->answer_bytes_max);
  http->curl_error[0] = '\0';
  http->ended = false;
  http->code = CURLE_OUT_OF_MEMORY;
  http->headers = make_headers(call);
  if (http->headers && set_options(http, call) &&
      curl_multi_add_handle(http->group->multi, http->easy) == CURLM_OK) {
    http->call = call;
    http->group->under_way++;
    return VOW_OK;
  }
  explain(http, call, why, why_bytes);
  curl_slist_free_all(http->headers);
  http->headers = NULL;
  return VOW_E_NO_MEMORY;
}

bool vow_http_has_ended(const struct vow_http *http) {
  return http->ended;
}

enum vow_error vow_http_end(struct vow_http *http, struct vow_http_answer *answer, bool *maybe_sent,
                            char *why, size_t why_bytes) {
  if (!http->ended) take_out(http, CURLE_ABORTED_BY_CALLBACK);
  enum vow_error error = error_of(http->code);
  if (maybe_sent) *maybe_sent = http->code == CURLE_OK || anything_left(http);
  if (http->body.error == VOW_E_NO_MEMORY) error = VOW_E_NO_MEMORY;
  if (error == VOW_OK) {
    read_answer(http, answer);
  } else {
    explain(http, http->call, why, why_bytes);
  }
  curl_slist_free_all(http->headers);
  http->headers = NULL;
  http->call = NULL;
  return error;
}

enum vow_error vow_http_call(struct vow_http *http, const struct vow_http_call *call,
                             struct vow_http_answer *answer, bool *maybe_sent, char *why,
                             size_t why_bytes) {
  if (maybe_sent) *maybe_sent = false;
  enum vow_error error = vow_http_begin(http, call, why, why_bytes);
  if (error) return error;
  while (!http->ended) {
    if (!vow_http_group_wait(http->group, POLL_MS) && !http->ended) {
      take_out(http, CURLE_OUT_OF_MEMORY);
    }
  }
  return vow_http_end(http, answer, maybe_sent, why, why_bytes);
}
