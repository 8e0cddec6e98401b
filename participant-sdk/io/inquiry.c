/*
 * The thread that ticks the core and asks coordinators for the outcome of branches in doubt, all
 * that are due at once in one request a coordinator. What it cannot learn it asks again later; when
 * that is, the core says.
 *
 * It waits for the answers before the next tick, for one more tick would only bring questions for
 * whom it is asking. But not for long: a coordinator that hangs is left to it, while the others are
 * asked. What comes due for it meanwhile is kept, and asked as soon as it has answered: else a slow
 * one would be asked only about the few branches that are due just then.
 *
 * While as many are asked as there are places, the others stand in line. Whoever hangs leaves its
 * place after request_timeout_ms, so everybody's turn comes.
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
#define REQUESTS_MAX        64 /* under way at a time */
#define PATIENCE_MS         500
#define WAIT_MAX_MS         60000
#define NO_MEMORY_PAUSE_MS  10

_Static_assert(VOW_PCORE_TICK_MAX <= IDS_PER_REQUEST_MAX, "all of a tick fit in one request");

/* What one coordinator is being asked. */
struct inquiry_request {
  struct vow_http *http;
  struct vow_http_call call;
  const char *coordinator;        /* NULL: nobody */
  struct vow_question *questions; /* owned, as is the text of the call */
  size_t count;
  struct vow_question *waiting; /* came due since; owned, room for IDS_PER_REQUEST_MAX; or NULL */
  size_t waiting_count;
  struct vow_buf body;
  char url[VOW_URL_BYTES_MAX + sizeof "/v1/outcomes"];
  struct vow_log_position told; /* with the questions: what was seen of the log */
  uint64_t since_ms;
};

/* Who found no place. */
struct in_line {
  struct in_line *next;
  size_t count;
  struct vow_question questions[];
};

struct vow_inquiry {
  struct vow_participant *p;
  struct vow_http_group *group;
  pthread_t thread;
  bool started;
  bool stopping;                  /* guarded by the participant's lock */
  struct vow_question *questions; /* of the last tick; room for VOW_PCORE_TICK_MAX */
  struct vow_id *ids;
  struct vow_inquiry_result *results;
  struct inquiry_request requests[REQUESTS_MAX];
  struct in_line *line; /* empty while there is a place; one of each coordinator */
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

/* Their count, or VOW_E_* if there are none. *log: how far the coordinator's log has come. */
static enum vow_error read_answer(struct vow_inquiry *inquiry, struct inquiry_request *r,
                                  size_t *count, struct vow_log_position *log) {
  char why[VOW_JSON_WHY_BYTES];
  struct vow_http_answer answer;
  enum vow_error error = vow_http_end(r->http, &answer, NULL, NULL, 0);
  if (error) return error;
  if (answer.status != 200) return VOW_E_PROTOCOL;
  return vow_inquiry_reply_decode(answer.body, answer.body_bytes, inquiry->results,
                                  IDS_PER_REQUEST_MAX, count, log, why);
}

static void forget(struct inquiry_request *r) {
  free(r->questions);
  free(r->waiting);
  r->questions = r->waiting = NULL;
  r->waiting_count = 0;
  r->coordinator = NULL;
  vow_buf_fini(&r->body);
}

/* True: there was an answer. */
static bool pass_answer_on(struct vow_inquiry *inquiry, struct inquiry_request *r) {
  struct vow_log_position log = {0};
  size_t result_count = 0;
  if (read_answer(inquiry, r, &result_count, &log) != VOW_OK ||
      VOW_FAILPOINT_FAILS("inquiry.answered")) {
    vow_engine_ask_failed(inquiry->p, r->coordinator);
    return false;
  }
  for (size_t i = 0; i < r->count; i++) {
    struct vow_question *question = &r->questions[i];
    const struct vow_inquiry_result *result =
        find_result(inquiry, result_count, i, question->key.transaction);
    if (!result) continue;
    question->answered = true;
    question->answer = result->answer;
  }
  vow_engine_answered(inquiry->p, r->questions, r->count, log, r->told);
  return true;
}

static enum vow_error begin(struct vow_inquiry *inquiry, struct inquiry_request *r,
                            const struct vow_question *questions, size_t count) {
  enum vow_error error = VOW_OK;
  if (!r->http) error = vow_http_open(&r->http, inquiry->group);
  if (error) return error;
  r->questions = calloc(count, sizeof *r->questions);
  if (!r->questions) return VOW_E_NO_MEMORY;
  memcpy(r->questions, questions, count * sizeof *questions);
  r->count = count;
  for (size_t i = 0; i < count; i++) inquiry->ids[i] = questions[i].key.transaction;
  r->told = vow_engine_seen(inquiry->p, questions[0].coordinator);
  vow_buf_init(&r->body, ANSWER_BYTES_MAX);
  vow_inquiry_request_encode(inquiry->ids, count, r->told, &r->body);
  if (r->body.error) return r->body.error;
  strcpy(stpcpy(r->url, questions[0].coordinator), "/v1/outcomes");
  r->call = (struct vow_http_call){.method = "POST",
                                   .url = r->url,
                                   .body = vow_buf_text(&r->body),
                                   .body_bytes = r->body.bytes,
                                   .timeout_ms = inquiry->p->options.request_timeout_ms,
                                   .answer_bytes_max = ANSWER_BYTES_MAX};
  return vow_http_begin(r->http, &r->call, NULL, 0);
}

static bool is_among(const struct vow_question *questions, size_t count,
                     const struct vow_precord_key *key) {
  for (size_t i = 0; i < count; i++) {
    if (questions[i].key.branch == key->branch &&
        vow_id_compare(questions[i].key.transaction, key->transaction) == 0) {
      return true;
    }
  }
  return false;
}

/* What is left out here is due again, as the core has it. */
static void postpone(struct inquiry_request *r, const struct vow_question *questions,
                     size_t count) {
  if (!r->waiting) r->waiting = calloc(IDS_PER_REQUEST_MAX, sizeof *r->waiting);
  if (!r->waiting) return;
  for (size_t i = 0; i < count && r->waiting_count < IDS_PER_REQUEST_MAX; i++) {
    const struct vow_precord_key *key = &questions[i].key;
    if (is_among(r->questions, r->count, key)) continue;
    if (is_among(r->waiting, r->waiting_count, key)) continue;
    r->waiting[r->waiting_count++] = questions[i];
  }
}

/* What is left out here is due again, too. */
static void stand_in_line(struct vow_inquiry *inquiry, const struct vow_question *questions,
                          size_t count) {
  struct in_line **end = &inquiry->line;
  for (; *end; end = &(*end)->next) {
    if ((*end)->questions[0].coordinator == questions[0].coordinator) return;
  }
  struct in_line *last = calloc(1, sizeof *last + count * sizeof *questions);
  if (!last) return;
  last->count = count;
  memcpy(last->questions, questions, count * sizeof *questions);
  *end = last;
}

/* Nobody is asked twice at a time. */
static void ask(struct vow_inquiry *inquiry, const struct vow_question *questions, size_t count) {
  const char *coordinator = questions[0].coordinator;
  struct inquiry_request *vacant = NULL;
  for (unsigned i = 0; i < REQUESTS_MAX; i++) {
    struct inquiry_request *r = &inquiry->requests[i];
    if (r->coordinator == coordinator) {
      postpone(r, questions, count);
      return;
    }
    if (!r->coordinator && !vacant) vacant = r;
  }
  if (!vacant) {
    stand_in_line(inquiry, questions, count);
  } else if (begin(inquiry, vacant, questions, count) == VOW_OK) {
    vacant->coordinator = coordinator;
    vacant->since_ms = vow_engine_now_ms();
  } else {
    forget(vacant);
    vow_engine_ask_failed(inquiry->p, coordinator);
  }
}

static bool has_place(const struct vow_inquiry *inquiry) {
  for (unsigned i = 0; i < REQUESTS_MAX; i++) {
    if (!inquiry->requests[i].coordinator) return true;
  }
  return false;
}

static void serve_line(struct vow_inquiry *inquiry) {
  while (inquiry->line && has_place(inquiry)) {
    struct in_line *first = inquiry->line;
    inquiry->line = first->next;
    ask(inquiry, first->questions, first->count);
    free(first);
  }
}

static void finish(struct vow_inquiry *inquiry, struct inquiry_request *r) {
  bool answered = pass_answer_on(inquiry, r);
  struct vow_question *waiting = r->waiting;
  size_t count = r->waiting_count;
  r->waiting = NULL;
  forget(r);
  serve_line(inquiry);
  if (answered && count) ask(inquiry, waiting, count);
  free(waiting);
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
    while (to < count && questions[to].coordinator == questions[from].coordinator) to++;
    ask(inquiry, questions + from, to - from);
    from = to;
  }
}

static void finish_ended(struct vow_inquiry *inquiry, bool all) {
  for (unsigned i = 0; i < REQUESTS_MAX; i++) {
    struct inquiry_request *r = &inquiry->requests[i];
    if (r->coordinator && (all || vow_http_has_ended(r->http))) finish(inquiry, r);
  }
}

/* Until when the next tick waits for answers; 0: it does not. */
static uint64_t patient_until_ms(const struct vow_inquiry *inquiry) {
  uint64_t until_ms = 0;
  for (unsigned i = 0; i < REQUESTS_MAX; i++) {
    const struct inquiry_request *r = &inquiry->requests[i];
    if (r->coordinator && r->since_ms + PATIENCE_MS > until_ms)
      until_ms = r->since_ms + PATIENCE_MS;
  }
  return until_ms;
}

/* When the next tick is due, as far as the thread has to know: it is woken if that is earlier. */
static uint64_t next_tick_ms(struct vow_inquiry *inquiry, bool *stopping) {
  struct vow_participant *p = inquiry->p;
  uint64_t patient_ms = patient_until_ms(inquiry);
  pthread_mutex_lock(&p->lock);
  uint64_t due_ms = p->failed ? UINT64_MAX : vow_pcore_next_deadline(p->core);
  if (due_ms < patient_ms) due_ms = patient_ms;
  p->tick_due_ms = due_ms;
  *stopping = inquiry->stopping;
  pthread_mutex_unlock(&p->lock);
  return due_ms;
}

static void pause_for_memory(void) {
  struct timespec pause = {.tv_nsec = NO_MEMORY_PAUSE_MS * 1000000L};
  (void)nanosleep(&pause, NULL);
}

static void *run_thread(void *context) {
  struct vow_inquiry *inquiry = context;
  bool stopping = false;
  for (;;) {
    uint64_t due_ms = next_tick_ms(inquiry, &stopping);
    if (stopping) return NULL;
    uint64_t now_ms = vow_engine_now_ms();
    uint64_t wait_ms = due_ms <= now_ms ? 0 : due_ms - now_ms;
    if (!wait_ms) ask_all(inquiry, vow_engine_tick(inquiry->p, inquiry->questions));
    if (wait_ms > WAIT_MAX_MS) wait_ms = WAIT_MAX_MS;
    bool able = vow_http_group_wait(inquiry->group, (int)wait_ms);
    finish_ended(inquiry, !able);
    if (!able) pause_for_memory();
  }
}

static enum vow_error make_room(struct vow_inquiry *inquiry) {
  inquiry->questions = calloc(VOW_PCORE_TICK_MAX, sizeof *inquiry->questions);
  inquiry->ids = calloc(IDS_PER_REQUEST_MAX, sizeof *inquiry->ids);
  inquiry->results = calloc(IDS_PER_REQUEST_MAX, sizeof *inquiry->results);
  if (!inquiry->questions || !inquiry->ids || !inquiry->results) return VOW_E_NO_MEMORY;
  enum vow_error error = vow_http_group_open(&inquiry->group);
  if (error) return error;
  return vow_http_group_wake(inquiry->group) ? VOW_OK : VOW_E_NO_MEMORY;
}

enum vow_error vow_inquiry_start(struct vow_participant *p) {
  struct vow_inquiry *inquiry = calloc(1, sizeof *inquiry);
  if (!inquiry) return VOW_E_NO_MEMORY;
  inquiry->p = p;
  p->inquiry = inquiry; /* before its first tick, which may lead to a wake-up */
  enum vow_error error = make_room(inquiry);
  if (error) return error;
  if (pthread_create(&inquiry->thread, NULL, run_thread, inquiry) != 0) return VOW_E_NO_MEMORY;
  inquiry->started = true;
  return VOW_OK;
}

void vow_inquiry_wake(struct vow_inquiry *inquiry) {
  (void)vow_http_group_wake(inquiry->group);
}

void vow_inquiry_stop(struct vow_inquiry *inquiry) {
  if (!inquiry || !inquiry->started) return;
  pthread_mutex_lock(&inquiry->p->lock);
  inquiry->stopping = true;
  pthread_mutex_unlock(&inquiry->p->lock);
  vow_inquiry_wake(inquiry);
  pthread_join(inquiry->thread, NULL);
  inquiry->started = false;
}

void vow_inquiry_free(struct vow_inquiry *inquiry) {
  if (!inquiry) return;
  for (unsigned i = 0; i < REQUESTS_MAX; i++) {
    vow_http_close(inquiry->requests[i].http);
    forget(&inquiry->requests[i]);
  }
  while (inquiry->line) {
    struct in_line *first = inquiry->line;
    inquiry->line = first->next;
    free(first);
  }
  vow_http_group_close(inquiry->group);
  free(inquiry->questions);
  free(inquiry->ids);
  free(inquiry->results);
  free(inquiry);
}
