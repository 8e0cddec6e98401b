/*
 * The public calls of a participant: options, opening and closing, the mounted form, the operator's
 * word, figures. What happens in between is engine.c's.
 */
#include "vow/participant.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "batch.h"
#include "participant_internal.h"
#include "reason.h"
#include "url.h"

#define DRAIN_MS          5000
#define LAST_ANSWERS_MS   1000  /* for the network to take them */
#define PREPARING_MAX     10000 /* prepares that wait for a callback or for the disk */
#define COORDINATORS_MAX  64    /* unless a list names them */
#define PURGE_EVERY       32
#define THREADS_MAX       1024
#define BODY_BYTES_MAX    ((size_t)64 << 20)
#define ALLOWED_BYTES_MAX 65536

void vow_free(void *memory) {
  free(memory);
}

void vow_reason_set(struct vow_reason *reason, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(reason->text, sizeof reason->text, format, arguments);
  va_end(arguments);
  if (length <= VOW_REASON_BYTES_MAX) return;
  /* Not in the middle of a character: drop the continuation bytes and what they continue. */
  size_t end = VOW_REASON_BYTES_MAX;
  while (end > 0 && ((unsigned char)reason->text[end - 1] & 0xC0) == 0x80) end--;
  if (end > 0 && ((unsigned char)reason->text[end - 1] & 0xC0) == 0xC0) end--;
  if (((unsigned char)reason->text[VOW_REASON_BYTES_MAX - 1] & 0x80) != 0) {
    reason->text[end] = '\0';
  }
}

/* Writes `text`, or what there is to say of the error. */
static void tell(char *why, size_t why_bytes, enum vow_error error, const char *text) {
  if (!why || why_bytes == 0) return;
  (void)snprintf(why, why_bytes, "%s", text[0] ? text : vow_error_text(error));
}

/* ---- options ---- */

void vow_participant_options_init(struct vow_participant_options *options) {
  *options = (struct vow_participant_options){
      .size = sizeof *options,
      .callback_threads = 4,
      .connections_max = 1000,
      .body_bytes_max = (size_t)1 << 20,
      .branches_max = 100000,
      .tombstones_max = 1000000,
      .inquiry_min_ms = 1000,
      .inquiry_max_ms = 30000,
      .request_timeout_ms = 5000,
      .batch_max = 64,
  };
}

/* The caller may have been built against an older or a newer struct. */
static enum vow_error copy_options(const struct vow_participant_options *given,
                                   struct vow_participant_options *out, char *why,
                                   size_t why_bytes) {
  if (given->size < offsetof(struct vow_participant_options, callback_threads)) {
    (void)snprintf(why, why_bytes, "call vow_participant_options_init first");
    return VOW_E_INVALID_ARGUMENT;
  }
  vow_participant_options_init(out);
  memcpy(out, given, given->size < sizeof *out ? given->size : sizeof *out);
  out->size = sizeof *out;
  return VOW_OK;
}

static const char *complaint(const struct vow_participant_options *o, bool resource) {
  bool callbacks = o->prepare || o->commit || o->abort;
  if (resource && o->log_path) return "give log_path or sqlite, not both";
  if (resource && callbacks) return "with sqlite, prepare, commit and abort must be NULL";
  if (!resource && (!o->log_path || !*o->log_path)) return "give log_path or sqlite";
  if (!resource && (!o->prepare || !o->commit)) return "prepare and commit are needed";
  if (o->callback_threads > THREADS_MAX) return "callback_threads may be 1024 at most";
  if (o->connections_max < 1) return "connections_max must be at least 1";
  if (o->body_bytes_max < 1 || o->body_bytes_max > BODY_BYTES_MAX) {
    return "body_bytes_max must be 1 to 64 MiB";
  }
  if (o->branches_max < 1 || o->tombstones_max < 1) {
    return "branches_max and tombstones_max must be at least 1";
  }
  if (o->inquiry_min_ms < 1 || o->inquiry_max_ms < o->inquiry_min_ms) {
    return "inquiry_min_ms must be at least 1 and at most inquiry_max_ms";
  }
  if (o->request_timeout_ms < 1) return "request_timeout_ms must be at least 1";
  if (o->batch_max == 1 || o->batch_max > VOW_BATCH_MESSAGES_MAX) {
    return "batch_max must be 0, for none, or 2 to 128";
  }
  if (o->coordinator_allow && strlen(o->coordinator_allow) > ALLOWED_BYTES_MAX) {
    return "coordinator_allow may be 64 KiB long";
  }
  return NULL;
}

static enum vow_error parse_allowed(struct vow_participant *p, char *why, size_t why_bytes) {
  const char *list = p->options.coordinator_allow;
  if (!list) return VOW_OK;
  char *copy = strdup(list);
  p->allowed = calloc(strlen(list) / 2 + 2, sizeof *p->allowed);
  enum vow_error error = copy && p->allowed ? VOW_OK : VOW_E_NO_MEMORY;
  char *rest = NULL;
  size_t count = 0;
  for (char *item = copy ? strtok_r(copy, ", ", &rest) : NULL; item && !error;
       item = strtok_r(NULL, ", ", &rest)) {
    char url[VOW_URL_BYTES_MAX + 1];
    error = vow_url_normalize(item, url, why, why_bytes);
    if (!error && !(p->allowed[count++] = strdup(url))) error = VOW_E_NO_MEMORY;
  }
  free(copy);
  p->options.coordinator_allow = NULL; /* the caller's; not looked at again */
  return error;
}

/* ---- open ---- */

static enum vow_error make_core(struct vow_participant *p) {
  struct vow_pconfig config = {
      .atomic = p->resource,
      .intent = !p->resource && !p->options.prepare_leaves_nothing,
      .branches_max = p->options.branches_max,
      .preparing_max = PREPARING_MAX,
      .tombstones_max = p->options.tombstones_max,
      /* What an old address has left on disk must not keep out whom the list names. */
      .coordinators_max = p->allowed ? UINT32_MAX : COORDINATORS_MAX,
      .purge_every = PURGE_EVERY,
      .inquiry_min_ms = p->options.inquiry_min_ms,
      .inquiry_max_ms = p->options.inquiry_max_ms,
  };
  p->questions = calloc(VOW_PCORE_TICK_MAX, sizeof *p->questions);
  return p->questions ? vow_pcore_new(&p->core, &config) : VOW_E_NO_MEMORY;
}

static enum vow_error start_threads(struct vow_participant *p) {
  struct vow_log_hooks hooks;
  enum vow_error error = VOW_OK;
  uint32_t threads = p->options.callback_threads;
  if (!p->resource && threads > 0) error = vow_pool_start(&p->pool, threads);
  vow_engine_log_hooks(p, &hooks);
  if (!error) error = vow_log_start(p->log, &hooks, threads == 0);
  if (!error) error = vow_inquiry_start(p);
  return error;
}

static void init_locks(struct vow_participant *p) {
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_mutex_init(&p->lock, NULL);
  pthread_cond_init(&p->idle, &monotonic);
  pthread_condattr_destroy(&monotonic);
}

static enum vow_error open_parts(struct vow_participant *p, const struct vow_resource *resource,
                                 char *why, size_t why_bytes) {
  struct vow_log_loader loader;
  const char *wrong = complaint(&p->options, resource != NULL);
  if (wrong) {
    (void)snprintf(why, why_bytes, "%s", wrong);
    return VOW_E_INVALID_ARGUMENT;
  }
  p->resource = resource != NULL;
  enum vow_error error = parse_allowed(p, why, why_bytes);
  if (!error) error = make_core(p);
  if (error) return error;
  vow_engine_load_hooks(p, &loader);
  error = vow_log_open(&p->log, p->options.log_path, resource, &loader, why, why_bytes);
  return error ? error : start_threads(p);
}

enum vow_error vow_participant_open_with(struct vow_participant **out,
                                         const struct vow_participant_options *options,
                                         const struct vow_resource *resource, char *why,
                                         size_t why_bytes) {
  char text[VOW_DETAIL_BYTES] = "";
  struct vow_participant *p = calloc(1, sizeof *p);
  enum vow_error error = p ? VOW_OK : VOW_E_NO_MEMORY;
  if (!error) error = copy_options(options, &p->options, text, sizeof text);
  if (!error) {
    init_locks(p);
    if (getrandom(&p->random_state, sizeof p->random_state, GRND_NONBLOCK) < 0) {
      p->random_state = vow_engine_now_ms();
    }
    error = open_parts(p, resource, text, sizeof text);
    if (error) {
      vow_participant_close(p);
      p = NULL;
    }
  }
  if (error) {
    tell(why, why_bytes, error, text);
    free(p);
    return error;
  }
  *out = p;
  return VOW_OK;
}

enum vow_error vow_participant_open(struct vow_participant **out,
                                    const struct vow_participant_options *options, char *why,
                                    size_t why_bytes) {
  const struct vow_resource *resource =
      options->sqlite ? vow_sqlite_resource(options->sqlite) : NULL;
  return vow_participant_open_with(out, options, resource, why, why_bytes);
}

enum vow_error vow_participant_listen(struct vow_participant *p, const char *address, char *why,
                                      size_t why_bytes) {
  char text[VOW_DETAIL_BYTES] = "";
  struct vow_server *server = NULL;
  enum vow_error error = VOW_E_ILLEGAL_STATE;
  /* Looked at first: else its own address would be called somebody else's. */
  if (vow_participant_port(p) == 0) {
    error = vow_server_open(&server, p, address, text, sizeof text);
  }
  if (!error) {
    pthread_mutex_lock(&p->lock);
    bool first = !p->server;
    if (first) p->server = server;
    pthread_mutex_unlock(&p->lock);
    if (!first) {
      vow_server_quiesce(server);
      vow_server_close(server, 0);
      error = VOW_E_ILLEGAL_STATE;
    }
  }
  if (error == VOW_E_ILLEGAL_STATE) {
    (void)snprintf(text, sizeof text, "this participant listens already");
  }
  if (error) tell(why, why_bytes, error, text);
  return error;
}

uint16_t vow_participant_port(struct vow_participant *p) {
  pthread_mutex_lock(&p->lock);
  uint16_t port = p->server ? vow_server_port(p->server) : 0;
  pthread_mutex_unlock(&p->lock);
  return port;
}

/* ---- requests of the application ---- */

/* Waits on the caller's thread. */
struct waiting {
  struct vow_dispatch dispatch; /* of a request, or */
  struct vow_exchange exchange; /* of an operator's word */
  pthread_mutex_t lock;
  pthread_cond_t done;
  bool is_done;
};

static void on_done(void *context) {
  struct waiting *waiting = context;
  pthread_mutex_lock(&waiting->lock);
  waiting->is_done = true;
  pthread_cond_signal(&waiting->done);
  pthread_mutex_unlock(&waiting->lock);
}

static void begin_waiting(struct waiting *waiting) {
  memset(waiting, 0, sizeof *waiting);
  waiting->dispatch.done = waiting->exchange.done = on_done;
  waiting->dispatch.context = waiting->exchange.context = waiting;
  pthread_mutex_init(&waiting->lock, NULL);
  pthread_cond_init(&waiting->done, NULL);
}

static void wait_for(struct waiting *waiting) {
  pthread_mutex_lock(&waiting->lock);
  while (!waiting->is_done) pthread_cond_wait(&waiting->done, &waiting->lock);
  pthread_mutex_unlock(&waiting->lock);
}

static void end_waiting(struct waiting *waiting) {
  pthread_cond_destroy(&waiting->done);
  pthread_mutex_destroy(&waiting->lock);
}

enum vow_error vow_participant_handle(struct vow_participant *p,
                                      const struct vow_http_request *request,
                                      struct vow_http_response *response) {
  struct waiting waiting;
  begin_waiting(&waiting);
  if (!vow_dispatch_start(p, request, &waiting.dispatch, response)) {
    wait_for(&waiting);
    vow_dispatch_finish(p, &waiting.dispatch, response);
  }
  vow_dispatch_fini(&waiting.dispatch);
  end_waiting(&waiting);
  if (response->status == 200) return VOW_OK;
  return response->body ? vow_problem_decode(response->body, response->body_bytes, NULL, 0)
                        : VOW_E_NO_MEMORY;
}

enum vow_error vow_participant_heuristic(struct vow_participant *p, const char *transaction,
                                         uint32_t branch, enum vow_outcome outcome) {
  struct vow_precord_key key = {.branch = branch};
  struct waiting waiting;
  if (outcome < VOW_OUTCOME_HEURISTIC_COMMIT || outcome > VOW_OUTCOME_HEURISTIC_HAZARD) {
    return VOW_E_INVALID_ARGUMENT;
  }
  if (!transaction || !vow_id_parse(transaction, &key.transaction)) return VOW_E_INVALID_ID;
  begin_waiting(&waiting);
  vow_engine_operate(p, &key, outcome, &waiting.exchange);
  wait_for(&waiting);
  enum vow_error error = waiting.exchange.error;
  end_waiting(&waiting);
  return error;
}

void vow_participant_stats(struct vow_participant *p, struct vow_participant_stats *out) {
  struct vow_pcounts counts;
  struct vow_log_counts log;
  vow_log_counts(p->log, &log);
  pthread_mutex_lock(&p->lock);
  vow_pcore_counts(p->core, &counts);
  uint64_t inquiries = p->inquiries;
  pthread_mutex_unlock(&p->lock);
  *out = (struct vow_participant_stats){
      .prepared = counts.in_doubt,
      .tombstones = counts.tombstones + counts.heuristics,
      .committed = counts.committed,
      .aborted = counts.aborted,
      .heuristic = counts.heuristic,
      .log_syncs = log.syncs,
      .log_records = log.records,
      .inquiries = inquiries,
  };
}

/* ---- close ---- */

/* Takes nothing new, and gives what is under way some time. */
static void drain(struct vow_participant *p, uint64_t deadline_ms) {
  struct timespec deadline = {.tv_sec = (time_t)(deadline_ms / 1000),
                              .tv_nsec = (long)(deadline_ms % 1000) * 1000000};
  if (p->server) vow_server_quiesce(p->server);
  pthread_mutex_lock(&p->lock);
  p->draining = true;
  while (p->pending) {
    if (pthread_cond_timedwait(&p->idle, &p->lock, &deadline) != 0) break;
  }
  pthread_mutex_unlock(&p->lock);
  vow_engine_dismiss(p, VOW_E_DRAINING, "this participant is shutting down");
}

void vow_participant_close(struct vow_participant *p) {
  if (!p) return;
  drain(p, vow_engine_now_ms() + DRAIN_MS);
  /* Callbacks that return now still get their record; what it leads to is left to the next open. */
  vow_inquiry_stop(p->inquiry);
  vow_pool_stop(p->pool);
  if (p->log) vow_log_stop(p->log);
  vow_server_close(p->server, vow_engine_now_ms() + LAST_ANSWERS_MS);
  vow_log_close(p->log);
  vow_pool_free(p->pool);
  vow_inquiry_free(p->inquiry);
  vow_pcore_free(p->core);
  free(p->questions);
  for (char **allowed = p->allowed; allowed && *allowed; allowed++) free(*allowed);
  free(p->allowed);
  pthread_cond_destroy(&p->idle);
  pthread_mutex_destroy(&p->lock);
  free(p);
}
