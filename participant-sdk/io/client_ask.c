/*
 * The client's requests: which connection they go over, what their answers mean, and asking for an
 * outcome until there is one. Called by client.c only, from any thread.
 *
 * What must hold: an error that sounds as if nothing had happened is given only if nothing has
 * happened. As soon as one try may have reached the coordinator, the outcome is its to tell, and
 * until it does the answer is OUTCOME_UNKNOWN.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client_internal.h"
#include "message.h"

#define ANSWER_BYTES_MAX ((size_t)16 << 20)
#define PAUSE_MIN_MS     20
#define PAUSE_MAX_MS     1000

/* ---- time ---- */

static uint64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void sleep_ms(uint64_t ms) {
  struct timespec left = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
  nanosleep(&left, NULL); /* woken early, we ask early */
}

uint64_t vow_client_deadline(struct vow_client *client) {
  return now_ms() + atomic_load(&client->timeout_ms);
}

/* ---- connections ---- */

static enum vow_error borrow(struct vow_client *client, struct vow_http **out) {
  struct vow_http *http = NULL;
  pthread_mutex_lock(&client->lock);
  if (client->idle_count) http = client->idle[--client->idle_count];
  pthread_mutex_unlock(&client->lock);
  if (!http) return vow_http_open(out, NULL);
  *out = http;
  return VOW_OK;
}

static void give_back(struct vow_client *client, struct vow_http *http) {
  pthread_mutex_lock(&client->lock);
  bool kept = client->idle_count < VOW_CLIENT_IDLE_MAX;
  if (kept) client->idle[client->idle_count++] = http;
  pthread_mutex_unlock(&client->lock);
  if (!kept) vow_http_close(http);
}

/* ---- one request ---- */

void vow_client_answer_fini(struct vow_client_answer *answer) {
  vow_json_free(answer->json);
  free(answer->text);
  *answer = (struct vow_client_answer){0};
}

static void read_success(const struct vow_http_answer *http, struct vow_client_answer *answer) {
  char why[VOW_JSON_WHY_BYTES];
  enum vow_error error = vow_json_parse(&answer->json, http->body, http->body_bytes, why);
  if (error == VOW_OK && vow_json_is_object(vow_json_root(answer->json))) return;
  answer->error = error == VOW_E_NO_MEMORY ? error : VOW_E_PROTOCOL;
  answer->lost = true;
  snprintf(answer->why, sizeof answer->why, "the answer (status %d) is not a JSON object",
           http->status);
}

/* A refusal in vow's own words is believed, except that after an error inside the coordinator the
 * work may have been done. Anybody else's error page says nothing about it, unless it blames the
 * request. */
static void read_failure(const struct vow_http_answer *http, struct vow_client_answer *answer) {
  answer->error = vow_problem_decode(http->body, http->body_bytes, answer->why, sizeof answer->why);
  answer->lost = http->status >= 500 && http->status != 503 && http->status != 507;
  if (answer->error != VOW_E_PROTOCOL) {
    char why[VOW_JSON_WHY_BYTES];
    if (vow_json_parse(&answer->json, http->body, http->body_bytes, why)) answer->json = NULL;
    return;
  }
  answer->lost = http->status < 400 || http->status >= 500;
  snprintf(answer->why, sizeof answer->why, "something that is not vowd answered with status %d",
           http->status);
}

void vow_client_request(struct vow_client *client, const struct vow_client_call *call,
                        uint64_t deadline_ms, bool raw, struct vow_client_answer *answer) {
  struct vow_http *http = NULL;
  struct vow_http_answer got;
  uint64_t now = now_ms();
  *answer = (struct vow_client_answer){0};
  answer->error = borrow(client, &http);
  if (answer->error) {
    snprintf(answer->why, sizeof answer->why, "%s", vow_error_text(answer->error));
    return;
  }
  struct vow_http_call out = {.method = call->method,
                              .url = call->url,
                              .headers = call->headers,
                              .body = call->body,
                              .body_bytes = call->body_bytes,
                              .timeout_ms = deadline_ms > now ? (uint32_t)(deadline_ms - now) : 1,
                              .once = raw,
                              .answer_bytes_max = ANSWER_BYTES_MAX};
  answer->error = vow_http_call(http, &out, &got, &answer->lost, answer->why, sizeof answer->why);
  if (answer->error == VOW_OK) {
    answer->lost = false;
    answer->status = got.status;
    answer->retry_after_s = got.retry_after_s;
    if (raw) {
      answer->text = strndup(got.body, got.body_bytes);
      if (!answer->text) answer->error = VOW_E_NO_MEMORY;
      answer->cut = answer->text && strlen(answer->text) < got.body_bytes;
    } else if (got.status >= 200 && got.status < 300) {
      read_success(&got, answer);
    } else {
      read_failure(&got, answer);
    }
  }
  give_back(client, http);
}

/* ---- asking until there is an answer ---- */

/* The coordinator has said what became of it, or that it will have nothing to do with it. */
static bool is_final(const struct vow_client_answer *answer, bool asked) {
  if (answer->error == VOW_OK) return answer->status != 202;
  if (answer->lost) return false;
  if (answer->error == VOW_E_HEURISTIC) return true;
  enum vow_error_class class_ = vow_error_class(answer->error);
  return !asked || class_ == VOW_CLASS_ABORT || class_ == VOW_CLASS_USAGE;
}

static void not_known(struct vow_client_answer *answer) {
  char why[VOW_CLIENT_WHY_BYTES];
  snprintf(why, sizeof why, "%s", answer->why[0] ? answer->why : "it is still being decided");
  answer->error = VOW_E_OUTCOME_UNKNOWN;
  snprintf(answer->why, sizeof answer->why, "the outcome is not known yet, ask again: %.400s", why);
}

/* What may have committed is not a wrong request because the coordinator has purged it since. */
static void gone(struct vow_client_answer *answer) {
  char why[VOW_CLIENT_WHY_BYTES];
  snprintf(why, sizeof why, "%s", answer->why);
  answer->error = VOW_E_OUTCOME_UNKNOWN;
  snprintf(answer->why, sizeof answer->why, "the coordinator no longer knows the outcome: %.400s",
           why);
}

void vow_client_ask(struct vow_client *client, const struct vow_client_call *call,
                    uint64_t deadline_ms, bool *asked, struct vow_client_answer *answer) {
  for (uint64_t pause = PAUSE_MIN_MS;; pause = pause < PAUSE_MAX_MS ? 2 * pause : PAUSE_MAX_MS) {
    vow_client_request(client, call, deadline_ms, false, answer);
    if (*asked && answer->error == VOW_E_UNKNOWN_TRANSACTION) {
      gone(answer);
      return;
    }
    *asked |= answer->lost || answer->status == 202;
    if (is_final(answer, *asked)) {
      *asked = false;
      return;
    }
    uint64_t wait = (uint64_t)answer->retry_after_s * 1000;
    if (wait < pause) wait = pause;
    if (now_ms() + wait >= deadline_ms) {
      not_known(answer);
      return;
    }
    vow_client_answer_fini(answer);
    sleep_ms(wait);
  }
}
