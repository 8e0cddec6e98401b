/*
 * What the files of the sender share: sender.c (the two loops, transfers) and sender_failure.c
 * (what a failed transfer is called). Only these include curl in the coordinator.
 */
#ifndef VOW_COORDINATOR_SENDER_INTERNAL_H
#define VOW_COORDINATOR_SENDER_INTERNAL_H

#include <curl/curl.h>
#include <uv.h>

#include "sender.h"

struct bytes {
  char *data; /* owned; NUL-terminated */
  size_t size, capacity;
};

struct transfer {
  struct vow_sender *sender;
  CURL *easy;
  struct curl_slist *headers; /* owned; NULL: the sender's common ones are used */
  struct bytes body, answer;
  bool answer_too_large;
  bool refused_socket; /* to curl, for want of memory: that it cannot connect is about that */
  bool no_descriptor;  /* was left when curl last wanted a socket */
  uint32_t timeout_ms;
  const char *ask_header;
  char curl_error[CURL_ERROR_SIZE]; /* what curl says of a failure beyond its code; often "" */
  void (*done)(void *context, const struct vow_sender_answer *answer);
  void *context;
  struct transfer *prev, *next; /* in sender->active, or next alone in sender->free */
};

struct watch {
  uv_poll_t poll;
  struct vow_sender *sender;
  curl_socket_t fd;
  bool ours;      /* see invariant 2 of sender.c */
  bool connected; /* curl has waited for an answer on it */
  int wanted;     /* by curl, as libuv's events; 0: nothing */
  int active;     /* what libuv watches for; 0: nothing */
};

struct vow_sender {
  uv_loop_t *loop;
  CURLM *multi;
  struct vow_sender_config config;
  uv_timer_t timer;
  struct curl_slist *common;      /* headers of every request; owned */
  struct curl_slist *common_body; /* and of those with a body */
  struct watch **watches;         /* owned, and so is each; by descriptor; or NULL */
  size_t watch_count;
  struct transfer *active, *free;
  unsigned free_count;
  unsigned handles_open;
  struct vow_sender_counts counts;
};

/* What to call the failure of a transfer that ended with `code`; the sentence goes to `why`. */
enum vow_error vow_sender_explain(const struct transfer *t, CURLcode code,
                                  char why[VOW_SENDER_WHY_BYTES]);
/* It ended with `code` since TLS would not do, here or at the other side. */
bool vow_sender_was_insecure(const struct transfer *t, CURLcode code);
/* Not a byte of the request has left this process. */
bool vow_sender_nothing_left(const struct transfer *t);

#endif
