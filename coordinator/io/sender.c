/*
 * HTTP out, on curl's multi-socket interface. See sender.h.
 *
 * How the two loops meet: curl says which sockets it wants watched (on_socket) and when it wants to
 * be called at the latest (on_timer); libuv watches and calls curl_multi_socket_action. Finished
 * transfers are collected after each such call, never inside vow_sender_submit.
 *
 * Invariants:
 *   1. A transfer is in `active` from submit until its done() returns; then its easy handle, with
 *      everything in it that does not depend on the request, is kept for the next.
 *   2. A watch of a socket we opened lives as long as the socket. When curl has no use for it any
 *      more, it goes on until the socket has something to say: nearly always the next request
 *      comes first, and a kept connection costs no handle and no system call a request. Other
 *      sockets are watched from ADD to REMOVE, for nobody tells when they are closed: those that
 *      curl makes for itself (its resolver's), and ours that have not connected. Libuv aborts
 *      when it is to begin watching a socket that is closed.
 *   3. Memory: transfers are bounded by who submits; an answer by answer_bytes_max.
 */
#include "sender.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sender_internal.h"

#define TRANSFERS_KEPT   256
#define BUFFER_KEPT      (16u * 1024) /* a larger buffer is not kept with its transfer */
#define EXPIRE_AFTER_S   60L          /* an idle connection older than this is not reused */
#define CURL_BUFFER      (16L * 1024)
#define USER_AGENT_BYTES 64

/* ---- bytes ---- */

static bool bytes_append(struct bytes *b, const char *data, size_t size) {
  size_t need = b->size + size + 1;
  if (need > b->capacity) {
    size_t capacity = b->capacity ? b->capacity : 512;
    while (capacity < need) capacity *= 2;
    char *grown = realloc(b->data, capacity);
    if (grown == NULL) return false;
    b->data = grown;
    b->capacity = capacity;
  }
  memcpy(b->data + b->size, data, size);
  b->size += size;
  b->data[b->size] = '\0';
  return true;
}

static void bytes_reset(struct bytes *b) {
  b->size = 0;
  if (b->capacity <= BUFFER_KEPT) return;
  free(b->data);
  *b = (struct bytes){0};
}

/* ---- transfers ---- */

static void transfer_free(struct transfer *t) {
  curl_slist_free_all(t->headers);
  curl_easy_cleanup(t->easy);
  free(t->body.data);
  free(t->answer.data);
  free(t);
}

static void transfer_unlink(struct transfer *t) {
  struct vow_sender *sender = t->sender;
  *(t->prev != NULL ? &t->prev->next : &sender->active) = t->next;
  if (t->next != NULL) t->next->prev = t->prev;
  t->prev = t->next = NULL;
}

static void transfer_release(struct transfer *t) {
  struct vow_sender *sender = t->sender;
  if (sender->free_count >= TRANSFERS_KEPT) {
    transfer_free(t);
    return;
  }
  curl_slist_free_all(t->headers);
  t->headers = NULL;
  bytes_reset(&t->body);
  bytes_reset(&t->answer);
  t->answer_too_large = t->refused_socket = t->no_descriptor = false;
  t->next = sender->free;
  sender->free = t;
  sender->free_count++;
}

static size_t on_answer(char *data, size_t one, size_t size, void *context) {
  struct transfer *t = context;
  (void)one;
  if (size > t->sender->config.answer_bytes_max - t->answer.size) {
    t->answer_too_large = true;
    return 0;
  }
  return bytes_append(&t->answer, data, size) ? size : 0;
}

static curl_socket_t on_open(void *context, curlsocktype purpose, struct curl_sockaddr *address);
static int on_close(void *context, curl_socket_t fd);

/* Options that are the same for every request. */
static bool set_common(struct vow_sender *sender, CURL *easy, struct transfer *t) {
  CURLcode code = CURLE_OK;
#define SET(option, value) \
  if (code == CURLE_OK) code = curl_easy_setopt(easy, option, value)
  SET(CURLOPT_PRIVATE, t);
  SET(CURLOPT_WRITEFUNCTION, on_answer);
  SET(CURLOPT_WRITEDATA, t);
  SET(CURLOPT_ERRORBUFFER, t->curl_error);
  SET(CURLOPT_NOSIGNAL, 1L);
  /* Else the loop would wait for a lookup that is given up, for as long as that takes. */
  SET(CURLOPT_QUICK_EXIT, 1L);
  SET(CURLOPT_TCP_NODELAY, 1L);
  SET(CURLOPT_TCP_KEEPALIVE, 1L);
  SET(CURLOPT_FOLLOWLOCATION, 0L);
  SET(CURLOPT_PROTOCOLS_STR, "http,https");
  SET(CURLOPT_PROXY, "");
  SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
  SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  SET(CURLOPT_CONNECTTIMEOUT_MS, (long)sender->config.connect_timeout_ms);
  SET(CURLOPT_MAXAGE_CONN, EXPIRE_AFTER_S);
  SET(CURLOPT_BUFFERSIZE, CURL_BUFFER);
  SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
  SET(CURLOPT_OPENSOCKETDATA, t);
  SET(CURLOPT_CLOSESOCKETFUNCTION, on_close);
  SET(CURLOPT_CLOSESOCKETDATA, sender);
#undef SET
  return code == CURLE_OK;
}

static struct transfer *transfer_take(struct vow_sender *sender) {
  struct transfer *t = sender->free;
  if (t != NULL) {
    sender->free = t->next;
    sender->free_count--;
    t->next = NULL;
    return t;
  }
  t = calloc(1, sizeof *t);
  if (t == NULL) return NULL;
  t->sender = sender;
  t->easy = curl_easy_init();
  if (t->easy != NULL && set_common(sender, t->easy, t)) return t;
  transfer_free(t);
  return NULL;
}

static bool append_header(struct curl_slist **list, const char *header) {
  struct curl_slist *grown = curl_slist_append(*list, header);
  if (grown == NULL) return false;
  *list = grown;
  return true;
}

static bool set_headers(struct transfer *t, const struct vow_sender_request *request) {
  struct vow_sender *sender = t->sender;
  struct curl_slist *common = request->body == NULL ? sender->common : sender->common_body;
  if (request->headers != NULL && request->headers[0] != NULL) {
    for (; common != NULL; common = common->next) {
      if (!append_header(&t->headers, common->data)) return false;
    }
    for (const char *const *h = request->headers; *h != NULL; h++) {
      if (!append_header(&t->headers, *h)) return false;
    }
    common = t->headers;
  }
  return curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, common) == CURLE_OK;
}

/* Sets every option that an earlier request may have left different. */
static bool set_request(struct transfer *t, const struct vow_sender_request *request) {
  CURL *easy = t->easy;
  bool get = strcmp(request->method, "GET") == 0 && request->body == NULL;
  bool post = strcmp(request->method, "POST") == 0;
  if (request->body && !bytes_append(&t->body, request->body, request->body_bytes)) return false;
  t->timeout_ms = request->timeout_ms;
  t->ask_header = request->ask_header;
  t->curl_error[0] = '\0';
  if (curl_easy_setopt(easy, CURLOPT_URL, request->url) != CURLE_OK ||
      curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms) != CURLE_OK ||
      curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, get || post ? NULL : request->method) !=
          CURLE_OK) {
    return false;
  }
  if (get) {
    if (curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L) != CURLE_OK) return false;
  } else if (curl_easy_setopt(easy, CURLOPT_POST, 1L) != CURLE_OK ||
             curl_easy_setopt(easy, CURLOPT_POSTFIELDS, t->body.size ? t->body.data : "") !=
                 CURLE_OK ||
             curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->body.size) !=
                 CURLE_OK) {
    return false;
  }
  return set_headers(t, request);
}

enum vow_error vow_sender_submit(struct vow_sender *sender,
                                 const struct vow_sender_request *request) {
  struct transfer *t = transfer_take(sender);
  if (t == NULL) return VOW_E_NO_MEMORY;
  t->done = request->done;
  t->context = request->context;
  if (!set_request(t, request) || curl_multi_add_handle(sender->multi, t->easy) != CURLM_OK) {
    transfer_release(t);
    return VOW_E_NO_MEMORY;
  }
  t->next = sender->active;
  if (t->next != NULL) t->next->prev = t;
  sender->active = t;
  sender->counts.inflight++;
  sender->counts.requests++;
  sender->counts.bytes_out += t->body.size;
  return VOW_OK;
}

/* ---- what became of a transfer ---- */

static void count(struct vow_sender_counts *counts, const struct vow_sender_answer *answer) {
  counts->inflight--;
  counts->bytes_in += answer->body_bytes;
  if (answer->error == VOW_E_UNREACHABLE) counts->unreachable++;
  if (answer->error == VOW_E_TIMEOUT) counts->timeouts++;
  if (answer->error == VOW_E_PROTOCOL) counts->garbage++;
}

static const char *header_of(CURL *easy, const char *name) {
  struct curl_header *found = NULL;
  if (name == NULL) return "";
  return curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &found) == CURLHE_OK ? found->value : "";
}

static void finish(struct transfer *t, CURLcode code) {
  struct vow_sender *sender = t->sender;
  char why[VOW_SENDER_WHY_BYTES] = "";
  long status = 0;
  struct vow_sender_answer answer = {.why = why, .content_type = "", .header = "", .body = ""};

  if (code == CURLE_OK) {
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    answer.status = (int)status;
    answer.content_type = header_of(t->easy, "Content-Type");
    answer.header = header_of(t->easy, t->ask_header);
    if (t->answer.size > 0) answer.body = t->answer.data;
    answer.body_bytes = t->answer.size;
  } else {
    answer.error = vow_sender_explain(t, code, why);
    answer.not_sent = vow_sender_nothing_left(t);
    answer.not_secure = vow_sender_was_insecure(t, code);
  }
  count(&sender->counts, &answer);
  t->done(t->context, &answer);
  curl_multi_remove_handle(sender->multi, t->easy);
  transfer_unlink(t);
  transfer_release(t);
}

static void collect(struct vow_sender *sender) {
  CURLMsg *message;
  int left;
  while ((message = curl_multi_info_read(sender->multi, &left)) != NULL) {
    char *private = NULL;
    if (message->msg != CURLMSG_DONE) continue;
    CURLcode code = message->data.result; /* the message dies with the handle */
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
    finish((struct transfer *)(void *)private, code);
  }
}

/* ---- the two loops ---- */

/* Curl that has run out of memory in here sets no timer, and may divide by zero the next time. */
static void act(struct vow_sender *sender, curl_socket_t fd, int events) {
  int running;
  CURLMcode code = curl_multi_socket_action(sender->multi, fd, events, &running);
  if (code != CURLM_OK && sender->config.failed != NULL)
    sender->config.failed(sender->config.context, curl_multi_strerror(code));
  collect(sender);
}

static void on_timeout(uv_timer_t *timer) {
  act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

void vow_sender_flush(struct vow_sender *sender) {
  const uv_timer_t *timer = &sender->timer;
  if (!uv_is_active((const uv_handle_t *)timer) || uv_timer_get_due_in(timer) > 0) return;
  uv_timer_stop(&sender->timer);
  act(sender, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timer(CURLM *multi, long wait_ms, void *context) {
  struct vow_sender *sender = context;
  (void)multi;
  if (wait_ms < 0) {
    uv_timer_stop(&sender->timer);
  } else {
    uv_timer_start(&sender->timer, on_timeout, (uint64_t)wait_ms, 0);
  }
  return 0;
}

static void on_event(uv_poll_t *poll, int status, int events) {
  struct watch *watch = poll->data;
  int flags = 0;
  if (status < 0) watch->active = 0; /* libuv has stopped it */
  if (watch->wanted == 0) { /* mostly closed by the other side: curl will see when it wants it */
    uv_poll_stop(poll);
    watch->active = 0;
    return;
  }
  if (status < 0) flags |= CURL_CSELECT_ERR;
  if (events & UV_READABLE) flags |= CURL_CSELECT_IN;
  if (events & UV_WRITABLE) flags |= CURL_CSELECT_OUT;
  act(watch->sender, watch->fd, flags);
}

static void sender_free(struct vow_sender *sender) {
  curl_slist_free_all(sender->common);
  curl_slist_free_all(sender->common_body);
  free(sender->watches);
  free(sender);
  curl_global_cleanup();
}

static void handle_closed(struct vow_sender *sender) {
  if (--sender->handles_open == 0) sender_free(sender);
}

static void on_timer_closed(uv_handle_t *handle) {
  handle_closed(handle->data);
}

static void on_watch_closed(uv_handle_t *handle) {
  struct watch *watch = handle->data;
  struct vow_sender *sender = watch->sender;
  free(watch);
  handle_closed(sender);
}

static struct watch *watch_of(struct vow_sender *sender, curl_socket_t fd) {
  return (size_t)fd < sender->watch_count ? sender->watches[fd] : NULL;
}

static void watch_close(struct watch *watch) {
  watch->sender->watches[watch->fd] = NULL;
  uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
}

static struct watch *watch_new(struct vow_sender *sender, curl_socket_t fd, bool ours) {
  if ((size_t)fd >= sender->watch_count) {
    size_t grown_count = (size_t)fd * 2 + 64;
    struct watch **grown = realloc(sender->watches, grown_count * sizeof(struct watch *));
    if (grown == NULL) return NULL;
    memset(grown + sender->watch_count, 0,
           (grown_count - sender->watch_count) * sizeof(struct watch *));
    sender->watches = grown;
    sender->watch_count = grown_count;
  }
  struct watch *old = sender->watches[fd];
  if (old != NULL) watch_close(old); /* of a socket that is gone */
  struct watch *watch = calloc(1, sizeof *watch);
  if (watch == NULL) return NULL;
  if (uv_poll_init(sender->loop, &watch->poll, fd) != 0) {
    free(watch);
    return NULL;
  }
  watch->poll.data = watch;
  watch->sender = sender;
  watch->fd = fd;
  watch->ours = ours;
  sender->watches[fd] = watch;
  sender->handles_open++;
  return watch;
}

static curl_socket_t on_open(void *context, curlsocktype purpose, struct curl_sockaddr *address) {
  struct transfer *t = context;
  (void)purpose;
  int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  t->no_descriptor = fd < 0 && (errno == EMFILE || errno == ENFILE);
  if (fd < 0) return CURL_SOCKET_BAD;
  if (watch_new(t->sender, fd, true) != NULL) return fd;
  close(fd);
  t->refused_socket = true;
  return CURL_SOCKET_BAD;
}

static int on_close(void *context, curl_socket_t fd) {
  struct watch *watch = watch_of(context, fd);
  if (watch != NULL) watch_close(watch);
  return close(fd);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *unused) {
  struct vow_sender *sender = context;
  struct watch *watch = watch_of(sender, fd);
  (void)easy, (void)unused;
  if (what == CURL_POLL_REMOVE) {
    if (watch == NULL) return 0;
    watch->wanted = 0;
    if (!watch->ours || !watch->connected) watch_close(watch);
    return 0;
  }
  if (watch == NULL) watch = watch_new(sender, fd, false);
  if (watch == NULL) return -1;
  watch->wanted =
      (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
  watch->connected |= (watch->wanted & UV_READABLE) != 0;
  if (watch->wanted == watch->active) return 0;
  if (uv_poll_start(&watch->poll, watch->wanted, on_event) != 0) return -1;
  watch->active = watch->wanted;
  return 0;
}

/* ---- open and close ---- */

static bool set_multi(struct vow_sender *sender) {
  const struct vow_sender_config *config = &sender->config;
  CURLM *multi = sender->multi;
  return curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
         curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, sender) == CURLM_OK &&
         curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer) == CURLM_OK &&
         curl_multi_setopt(multi, CURLMOPT_TIMERDATA, sender) == CURLM_OK &&
         curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING) == CURLM_OK &&
         curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)config->connections_max) ==
             CURLM_OK &&
         curl_multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS,
                           (long)config->connections_per_host_max) == CURLM_OK &&
         curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)config->idle_connections_max) ==
             CURLM_OK;
}

/* The headers of all requests are made once; as an option curl would print the user agent anew for
 * each. */
static bool set_up(struct vow_sender *sender) {
  char user_agent[USER_AGENT_BYTES];
  snprintf(user_agent, sizeof user_agent, "User-Agent: %s", sender->config.user_agent);
  sender->config.user_agent = NULL;
  sender->multi = curl_multi_init();
  return sender->multi != NULL && set_multi(sender) && append_header(&sender->common, user_agent) &&
         append_header(&sender->common_body, user_agent) &&
         append_header(&sender->common, "Accept: application/json") &&
         append_header(&sender->common, "Content-Type:") && /* curl's own for an empty POST */
         append_header(&sender->common_body, "Accept: application/json") &&
         append_header(&sender->common_body, "Content-Type: application/json") &&
         append_header(&sender->common_body, "Expect:");
}

enum vow_error vow_sender_open(struct vow_sender **out, struct uv_loop_s *loop,
                               const struct vow_sender_config *config) {
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return VOW_E_NO_MEMORY;
  struct vow_sender *sender = calloc(1, sizeof *sender);
  if (sender == NULL) {
    curl_global_cleanup();
    return VOW_E_NO_MEMORY;
  }
  sender->loop = loop;
  sender->config = *config;
  if (!set_up(sender)) {
    if (sender->multi != NULL) curl_multi_cleanup(sender->multi);
    sender_free(sender);
    return VOW_E_NO_MEMORY;
  }
  uv_timer_init(loop, &sender->timer);
  sender->timer.data = sender;
  sender->handles_open = 1;
  *out = sender;
  return VOW_OK;
}

void vow_sender_close(struct vow_sender *sender) {
  if (sender == NULL) return;
  for (struct transfer *t = sender->active, *next; t != NULL; t = next) {
    next = t->next;
    curl_multi_remove_handle(sender->multi, t->easy);
    transfer_free(t);
  }
  for (struct transfer *t = sender->free, *next; t != NULL; t = next) {
    next = t->next;
    transfer_free(t);
  }
  curl_multi_cleanup(sender->multi); /* closes kept connections, and with them their watches */
  for (size_t fd = 0; fd < sender->watch_count; fd++) {
    if (sender->watches[fd] != NULL) watch_close(sender->watches[fd]);
  }
  uv_close((uv_handle_t *)&sender->timer, on_timer_closed);
}

void vow_sender_counts(const struct vow_sender *sender, struct vow_sender_counts *out) {
  *out = sender->counts;
}
