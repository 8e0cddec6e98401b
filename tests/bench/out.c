/*
 * See out.h. What keeps it cheap: connections and easy handles are kept, options that stay the same
 * are set once, a socket that curl forgets and watches again in the same turn of the loop costs no
 * system call, and what passes a limit waits in a queue: curl grows slow with many connections.
 */
#include "out.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_BYTES 512
#define SOCKETS_MAX  65536
/* Measured: 16 to 64 are equally good, 256 takes half as much CPU again. */
#define INFLIGHT_MAX  64
#define IDLE_KEPT_MAX 4096L

struct post {
  CURL *easy;
  void (*done)(void *context, const char *answer);
  void *context;
  size_t answer_bytes;
  char answer[ANSWER_BYTES];
  struct post *next; /* in out->free, or waiting */
};

struct socket {
  uint32_t wanted, watched; /* by curl, by epoll */
  bool changed;             /* is in out->changes */
};

struct out {
  CURLM *multi;
  int epoll_fd;
  struct curl_slist *headers;
  struct post *free;
  struct post *waiting, *waiting_last;
  unsigned inflight;
  uint64_t due_ms; /* when curl wants to be called; UINT64_MAX: it does not */
  struct socket *sockets;
  int *changes; /* descriptors whose watch may have to change */
  int change_count;
};

static uint64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- what curl asks for ---- */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *unused) {
  struct out *out = context;
  struct socket *socket = &out->sockets[fd];
  (void)easy, (void)unused;
  socket->wanted = what == CURL_POLL_REMOVE ? 0
                                            : (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
                                                  (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
  if (socket->changed) return 0;
  socket->changed = true;
  out->changes[out->change_count++] = (int)fd;
  return 0;
}

static int on_timer(CURLM *multi, long wait_ms, void *context) {
  struct out *out = context;
  (void)multi;
  out->due_ms = wait_ms < 0 ? UINT64_MAX : now_ms() + (uint64_t)wait_ms;
  return 0;
}

static int on_close(void *context, curl_socket_t fd) {
  struct out *out = context;
  out->sockets[fd].wanted = out->sockets[fd].watched = 0; /* epoll forgets closed descriptors */
  return close(fd);
}

static void watch(struct out *out, int fd) {
  struct socket *socket = &out->sockets[fd];
  socket->changed = false;
  /* A kept connection stays watched for reading: its next request will want that. */
  if (socket->wanted == 0 || socket->wanted == socket->watched) return;
  struct epoll_event event = {.events = socket->wanted, .data = {.fd = fd}};
  epoll_ctl(out->epoll_fd, socket->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
  socket->watched = socket->wanted;
}

/* ---- requests ---- */

static size_t on_answer(char *data, size_t one, size_t bytes, void *context) {
  struct post *post = context;
  (void)one;
  size_t room = sizeof post->answer - 1 - post->answer_bytes;
  size_t kept = bytes < room ? bytes : room;
  memcpy(post->answer + post->answer_bytes, data, kept);
  post->answer_bytes += kept;
  return bytes;
}

static struct post *post_new(struct out *out) {
  struct post *post = calloc(1, sizeof *post);
  if (post) post->easy = curl_easy_init();
  if (!post || !post->easy) {
    free(post);
    return NULL;
  }
  curl_easy_setopt(post->easy, CURLOPT_PRIVATE, post);
  curl_easy_setopt(post->easy, CURLOPT_WRITEFUNCTION, on_answer);
  curl_easy_setopt(post->easy, CURLOPT_WRITEDATA, post);
  curl_easy_setopt(post->easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(post->easy, CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(post->easy, CURLOPT_PROXY, "");
  curl_easy_setopt(post->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(post->easy, CURLOPT_HTTPHEADER, out->headers);
  curl_easy_setopt(post->easy, CURLOPT_POST, 1L);
  curl_easy_setopt(post->easy, CURLOPT_TIMEOUT_MS, 10000L);
  curl_easy_setopt(post->easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
  curl_easy_setopt(post->easy, CURLOPT_CLOSESOCKETDATA, out);
  return post;
}

static bool start(struct out *out, struct post *post) {
  out->inflight++;
  return curl_multi_add_handle(out->multi, post->easy) == CURLM_OK;
}

bool out_post(struct out *out, const char *url, const char *body, size_t body_bytes,
              void (*done)(void *context, const char *answer), void *context) {
  struct post *post = out->free;
  if (post) out->free = post->next;
  if (!post) post = post_new(out);
  if (!post) return false;
  post->done = done;
  post->context = context;
  post->answer_bytes = 0;
  curl_easy_setopt(post->easy, CURLOPT_URL, url);
  curl_easy_setopt(post->easy, CURLOPT_POSTFIELDS, body);
  curl_easy_setopt(post->easy, CURLOPT_POSTFIELDSIZE, (long)body_bytes);
  if (out->inflight < INFLIGHT_MAX) return start(out, post);
  post->next = NULL;
  if (out->waiting) {
    out->waiting_last->next = post;
  } else {
    out->waiting = post;
  }
  out->waiting_last = post;
  return true;
}

static void collect(struct out *out) {
  CURLMsg *message;
  int left;
  while ((message = curl_multi_info_read(out->multi, &left)) != NULL) {
    struct post *post = NULL;
    long status = 0;
    bool answered = message->data.result == CURLE_OK;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &post);
    curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &status);
    curl_multi_remove_handle(out->multi, post->easy);
    out->inflight--;
    post->answer[post->answer_bytes] = '\0';
    post->done(post->context, answered && status == 200 ? post->answer : NULL);
    post->next = out->free;
    out->free = post;
    struct post *next = out->waiting;
    if (!next || out->inflight >= INFLIGHT_MAX) continue;
    out->waiting = next->next;
    if (!start(out, next)) abort();
  }
}

void out_event(struct out *out, int fd, uint32_t events) {
  struct socket *socket = &out->sockets[fd];
  int running, what = (events & EPOLLIN ? CURL_CSELECT_IN : 0) |
                      (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                      (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
  if (socket->wanted == 0) { /* the other side has closed a kept connection; curl will notice */
    epoll_ctl(out->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    socket->watched = 0;
    return;
  }
  curl_multi_socket_action(out->multi, fd, what, &running);
  collect(out);
}

int out_run(struct out *out) {
  int running;
  while (out->due_ms <= now_ms()) {
    out->due_ms = UINT64_MAX;
    curl_multi_socket_action(out->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(out);
  }
  while (out->change_count > 0) watch(out, out->changes[--out->change_count]);
  if (out->due_ms == UINT64_MAX) return -1;
  uint64_t wait_ms = out->due_ms - now_ms();
  return (int64_t)wait_ms < 0 ? 0 : wait_ms < 60000 ? (int)wait_ms : 60000;
}

/* ---- open and close ---- */

struct out *out_open(int epoll_fd) {
  struct out *out = calloc(1, sizeof *out);
  if (!out) return NULL;
  out->epoll_fd = epoll_fd;
  out->due_ms = UINT64_MAX;
  out->multi = curl_multi_init();
  out->sockets = calloc(SOCKETS_MAX, sizeof *out->sockets);
  out->changes = calloc(SOCKETS_MAX, sizeof *out->changes);
  out->headers = curl_slist_append(NULL, "Content-Type: application/json");
  /* Without this, curl asks before it sends a larger body, and waits for the answer. */
  if (out->headers) curl_slist_append(out->headers, "Expect:");
  if (!out->multi || !out->sockets || !out->changes || !out->headers) {
    out_close(out);
    return NULL;
  }
  curl_multi_setopt(out->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(out->multi, CURLMOPT_SOCKETDATA, out);
  curl_multi_setopt(out->multi, CURLMOPT_TIMERFUNCTION, on_timer);
  curl_multi_setopt(out->multi, CURLMOPT_TIMERDATA, out);
  curl_multi_setopt(out->multi, CURLMOPT_MAXCONNECTS, IDLE_KEPT_MAX);
  return out;
}

void out_close(struct out *out) {
  if (!out) return;
  while (out->free) {
    struct post *post = out->free;
    out->free = post->next;
    curl_easy_cleanup(post->easy);
    free(post);
  }
  if (out->multi) curl_multi_cleanup(out->multi);
  curl_slist_free_all(out->headers);
  free(out->sockets);
  free(out->changes);
  free(out);
}
