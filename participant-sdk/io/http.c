/*
 * See http.h. Each handle is one curl easy handle on a multi handle of its own: that is what lets
 * another thread wake it up (curl_multi_wakeup), which curl_easy_perform does not.
 */
#include "http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "buf.h"

#define POLL_MS 1000

struct vow_http {
  CURL *easy;
  CURLM *multi;
  atomic_bool cancelled;
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

enum vow_error vow_http_open(struct vow_http **out) {
  pthread_once(&global_once, global_init);
  if (global_code != CURLE_OK) return VOW_E_INTERNAL;
  struct vow_http *http = calloc(1, sizeof *http);
  if (!http) return VOW_E_NO_MEMORY;
  atomic_init(&http->cancelled, false);
  vow_buf_init(&http->body, 0);
  http->easy = curl_easy_init();
  http->multi = curl_multi_init();
  if (!http->easy || !http->multi) {
    vow_http_close(http);
    return VOW_E_NO_MEMORY;
  }
  *out = http;
  return VOW_OK;
}

void vow_http_close(struct vow_http *http) {
  if (!http) return;
  if (http->easy) curl_easy_cleanup(http->easy);
  if (http->multi) curl_multi_cleanup(http->multi);
  vow_buf_fini(&http->body);
  free(http);
}

void vow_http_cancel(struct vow_http *http) {
  atomic_store(&http->cancelled, true);
  curl_multi_wakeup(http->multi);
}

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

static bool set_options(struct vow_http *http, const struct vow_http_call *call,
                        struct curl_slist *headers) {
  CURL *easy = http->easy;
  curl_easy_reset(easy); /* keeps the connections */
  CURLcode code = curl_easy_setopt(easy, CURLOPT_URL, call->url);
  if (code) return false;
  bool post = strcmp(call->method, "POST") == 0;
  code |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  code |= curl_easy_setopt(easy, CURLOPT_PROXY, "");
  code |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  /* Else whoever gives up would wait for a name to be looked up, for as long as that takes. */
  code |= curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
  code |= curl_easy_setopt(easy, CURLOPT_USERAGENT, "libvow/" VOW_VERSION);
  code |= curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
  code |= curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)call->timeout_ms);
  code |= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
  code |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
  code |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, http);
  code |= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, http->curl_error);
  if (post) {
    code |= curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_bytes);
    code |= curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body ? call->body : "");
  } else {
    code |= curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    code |= curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method);
  }
  return code == CURLE_OK;
}

/* Runs the transfer to its end. CURLE_ABORTED_BY_CALLBACK: cancelled. */
static CURLcode perform(struct vow_http *http) {
  CURLcode result = CURLE_FAILED_INIT;
  if (curl_multi_add_handle(http->multi, http->easy) != CURLM_OK) return CURLE_OUT_OF_MEMORY;
  for (;;) {
    int running = 0;
    CURLMcode code = curl_multi_perform(http->multi, &running);
    if (code != CURLM_OK || !running) break;
    if (atomic_load(&http->cancelled)) {
      result = CURLE_ABORTED_BY_CALLBACK;
      break;
    }
    if (curl_multi_poll(http->multi, NULL, 0, POLL_MS, NULL) != CURLM_OK) break;
  }
  int left = 0;
  const CURLMsg *message = curl_multi_info_read(http->multi, &left);
  if (message && message->msg == CURLMSG_DONE) result = message->data.result;
  curl_multi_remove_handle(http->multi, http->easy);
  return result;
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

/* Whether a byte of the request left. Curl tries again on a fresh connection when a kept one turns
 * out dead, and the first try may have been read; so it is not the kind of the failure that counts
 * but the bytes of all tries. */
static bool anything_left(struct vow_http *http) {
  long bytes = 0;
  return curl_easy_getinfo(http->easy, CURLINFO_REQUEST_SIZE, &bytes) != CURLE_OK || bytes != 0;
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

enum vow_error vow_http_call(struct vow_http *http, const struct vow_http_call *call,
                             struct vow_http_answer *answer, bool *maybe_sent, char *why,
                             size_t why_bytes) {
  bool sent = false;
  enum vow_error error = VOW_E_NO_MEMORY;
  CURLcode code = CURLE_OUT_OF_MEMORY;
  vow_buf_fini(&http->body);
  vow_buf_init(&http->body, call->answer_bytes_max);
  http->curl_error[0] = '\0';
  struct curl_slist *headers = make_headers(call);
  if (!headers || !set_options(http, call, headers)) goto out;
  if (atomic_load(&http->cancelled)) {
    code = CURLE_ABORTED_BY_CALLBACK;
    error = VOW_E_TIMEOUT;
    goto out;
  }
  code = perform(http);
  error = error_of(code);
  sent = code == CURLE_OK || anything_left(http);
  if (http->body.error == VOW_E_NO_MEMORY) error = VOW_E_NO_MEMORY;
  if (error == VOW_OK) read_answer(http, answer);
out:
  if (error && why && why_bytes > 0) {
    if (http->body.error == VOW_E_LIMIT_EXCEEDED) {
      snprintf(why, why_bytes, "%s answered more than %zu bytes", call->url,
               call->answer_bytes_max);
    } else {
      const char *text = http->curl_error[0] ? http->curl_error : curl_easy_strerror(code);
      snprintf(why, why_bytes, "%s: %s", call->url, text);
    }
  }
  if (maybe_sent) *maybe_sent = sent;
  curl_slist_free_all(headers);
  return error;
}
