/*
 * The thread that ticks the core and asks coordinators for the outcome of branches in doubt, all
 * that are due at once in one request a coordinator. What it cannot learn it asks again later; when
 * that is, the core says.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "buf.h"
#include "failpoint.h"
#include "http.h"
#include "participant_internal.h"
#include "url.h"

#define IDS_PER_REQUEST_MAX 1000 /* the coordinator takes no more */
#define ANSWER_BYTES_MAX    ((size_t)1 << 20)

struct vow_inquiry {
  struct vow_participant *p;
  struct vow_http *http;
  pthread_t thread;
  bool started;
  bool stopping;                  /* guarded by the participant's lock */
  struct vow_question *questions; /* room for VOW_PCORE_TICK_MAX */
  struct vow_id *ids;
  struct vow_inquiry_result *results;
  struct vow_log_position told; /* with the question: what was seen of the log */
  struct vow_log_position log;  /* with the answer: how far it has come; or nothing */
};

/* ---- one request ---- */

static const struct vow_inquiry_result *find_result(const struct vow_inquiry *inquiry, size_t count,
                                                    size_t guess, struct vow_id id) {
  if (guess < count && vow_id_compare(inquiry->results[guess].transaction, id) == 0) {
    return &inquiry->results[guess];
  }
  for (size_t i = 0; i < count; i++) {
    if (vow_id_compare(inquiry->results[i].transaction, id) == 0) return &inquiry->results[i];
  }
  return NULL;
}

/* The answers of a coordinator, or VOW_E_* if there are none. */
static enum vow_error call(struct vow_inquiry *inquiry, const char *coordinator, size_t id_count,
                           size_t *result_count) {
  char url[VOW_URL_BYTES_MAX + sizeof "/v1/outcomes"];
  char why[VOW_JSON_WHY_BYTES];
  struct vow_http_answer answer;
  struct vow_buf body;
  vow_buf_init(&body, ANSWER_BYTES_MAX);
  inquiry->told = vow_engine_seen(inquiry->p, coordinator);
  inquiry->log = (struct vow_log_position){0};
  vow_inquiry_request_encode(inquiry->ids, id_count, inquiry->told, &body);
  strcpy(stpcpy(url, coordinator), "/v1/outcomes");
  struct vow_http_call request = {.method = "POST",
                                  .url = url,
                                  .body = vow_buf_text(&body),
                                  .body_bytes = body.bytes,
                                  .timeout_ms = inquiry->p->options.request_timeout_ms,
                                  .answer_bytes_max = ANSWER_BYTES_MAX};
  enum vow_error error = body.error;
  if (!error) error = vow_http_call(inquiry->http, &request, &answer, NULL, NULL, 0);
  if (!error && answer.status != 200) error = VOW_E_PROTOCOL;
  if (!error) {
    error = vow_inquiry_reply_decode(answer.body, answer.body_bytes, inquiry->results,
                                     IDS_PER_REQUEST_MAX, result_count, &inquiry->log, why);
  }
  vow_buf_fini(&body);
  return error;
}

static void ask(struct vow_inquiry *inquiry, struct vow_question *questions, size_t count) {
  size_t result_count = 0;
  for (size_t i = 0; i < count; i++) inquiry->ids[i] = questions[i].key.transaction;
  if (call(inquiry, questions[0].coordinator, count, &result_count) != VOW_OK ||
      VOW_FAILPOINT_FAILS("inquiry.answered")) {
    vow_engine_ask_failed(inquiry->p, questions[0].coordinator);
    return;
  }
  for (size_t i = 0; i < count; i++) {
    const struct vow_inquiry_result *result =
        find_result(inquiry, result_count, i, questions[i].key.transaction);
    if (!result) continue;
    questions[i].answered = true;
    questions[i].answer = result->answer;
  }
  vow_engine_answered(inquiry->p, questions, count, inquiry->log, inquiry->told);
}

/* ---- the thread ---- */

/* Equal URLs are the same string: the core has one of each. */
static int by_coordinator(const void *a, const void *b) {
  return strcmp(((const struct vow_question *)a)->coordinator,
                ((const struct vow_question *)b)->coordinator);
}

static void ask_all(struct vow_inquiry *inquiry, size_t count) {
  struct vow_question *questions = inquiry->questions;
  qsort(questions, count, sizeof *questions, by_coordinator);
  size_t from = 0;
  while (from < count) {
    size_t to = from;
    while (to < count && to - from < IDS_PER_REQUEST_MAX &&
           questions[to].coordinator == questions[from].coordinator) {
      to++;
    }
    ask(inquiry, questions + from, to - from);
    from = to;
  }
}

static void wait_until(struct vow_participant *p, uint64_t due_ms) {
  p->tick_due_ms = due_ms;
  if (due_ms == UINT64_MAX) {
    pthread_cond_wait(&p->ticked, &p->lock);
    return;
  }
  struct timespec at = {.tv_sec = (time_t)(due_ms / 1000),
                        .tv_nsec = (long)(due_ms % 1000) * 1000000};
  (void)pthread_cond_timedwait(&p->ticked, &p->lock, &at);
}

/* False: stop. */
static bool wait_for_tick(struct vow_inquiry *inquiry) {
  struct vow_participant *p = inquiry->p;
  pthread_mutex_lock(&p->lock);
  for (;;) {
    uint64_t due_ms = p->failed ? UINT64_MAX : vow_pcore_next_deadline(p->core);
    if (inquiry->stopping || due_ms <= vow_engine_now_ms()) break;
    wait_until(p, due_ms);
  }
  p->tick_due_ms = 0; /* awake: nobody needs to wake it */
  bool go_on = !inquiry->stopping;
  pthread_mutex_unlock(&p->lock);
  return go_on;
}

static void *run_thread(void *context) {
  struct vow_inquiry *inquiry = context;
  while (wait_for_tick(inquiry)) {
    uint32_t count = vow_engine_tick(inquiry->p, inquiry->questions);
    ask_all(inquiry, count);
  }
  return NULL;
}

enum vow_error vow_inquiry_start(struct vow_inquiry **out, struct vow_participant *p) {
  struct vow_inquiry *inquiry = calloc(1, sizeof *inquiry);
  if (!inquiry) return VOW_E_NO_MEMORY;
  inquiry->p = p;
  inquiry->questions = calloc(VOW_PCORE_TICK_MAX, sizeof *inquiry->questions);
  inquiry->ids = calloc(IDS_PER_REQUEST_MAX, sizeof *inquiry->ids);
  inquiry->results = calloc(IDS_PER_REQUEST_MAX, sizeof *inquiry->results);
  enum vow_error error = VOW_E_NO_MEMORY;
  if (!inquiry->questions || !inquiry->ids || !inquiry->results) goto out;
  error = vow_http_open(&inquiry->http);
  if (error) goto out;
  if (pthread_create(&inquiry->thread, NULL, run_thread, inquiry) != 0) {
    error = VOW_E_NO_MEMORY;
    goto out;
  }
  inquiry->started = true;
  *out = inquiry;
out:
  if (error) vow_inquiry_stop(inquiry);
  return error;
}

void vow_inquiry_stop(struct vow_inquiry *inquiry) {
  if (!inquiry) return;
  if (inquiry->started) {
    pthread_mutex_lock(&inquiry->p->lock);
    inquiry->stopping = true;
    pthread_cond_signal(&inquiry->p->ticked);
    pthread_mutex_unlock(&inquiry->p->lock);
    vow_http_cancel(inquiry->http);
    pthread_join(inquiry->thread, NULL);
  }
  vow_http_close(inquiry->http);
  free(inquiry->questions);
  free(inquiry->ids);
  free(inquiry->results);
  free(inquiry);
}
