/*
 * The driver. See driver.h; messages to participants are the business of driver_send.c.
 *
 * Invariants:
 *   1. The core is stepped by vow_driver_step alone and never from within a step.
 *   2. An action is carried out only when the position it names is durable; checked in every build.
 *   3. A token is the number of a slot and its generation, so a stale one finds nothing.
 *   4. Messages to participants are made up once a turn of the loop, when what it brought is in the
 *      core and those whom it answered have been answered: the messages of many transactions share
 *      a request. The loop does not wait before that; a few decisions may stay for some turns.
 */
#include "driver.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "driver_internal.h"
#include "failpoint.h"

#define LOAD_PAGE    256
#define PENDING_NONE UINT32_MAX
#define HANDLES      4
#define LONELY_MAX   4
#define LONELY_TRIES 32
#define DEFERRED_MS  10 /* until a core that lacked memory tries again */
#define PENDING_MAX  (1u << 20)
#define BODY_BYTES_MAX \
  (80u * 1024 * 1024) /* the largest payload a request may bring, and a frame */
#define RANDOM_IN_STOCK (sizeof((struct vow_driver *)0)->random / sizeof(uint64_t))

struct vow_driver_pending {
  void (*done)(void *context, const struct vow_action *answer);
  void *context;
  uint64_t token; /* 0: free */
  uint32_t next_free;
  enum vow_event_type type;
  bool commits; /* its answer tells a decision */
};

static uint64_t read_clock_ms(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void vow_driver_fail(struct vow_driver *driver, enum vow_error error, const char *why) {
  driver->config.failed(driver->config.context, error, why);
  abort(); /* nothing may happen after this */
}

void vow_driver_note(struct vow_driver *driver, const struct vow_driver_note *note) {
  if (driver->config.note != NULL) driver->config.note(driver->config.context, note);
}

static uint64_t take_random(struct vow_driver *driver) {
  if (driver->random_left == 0) {
    ssize_t got;
    do {
      got = getrandom(driver->random, sizeof driver->random, 0);
    } while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof driver->random) {
      vow_driver_fail(driver, VOW_E_INTERNAL, "the kernel gives no random bits");
    }
    driver->random_left = RANDOM_IN_STOCK;
  }
  return driver->random[--driver->random_left];
}

/* ---- requests that wait for the core ---- */

static bool pending_grow(struct vow_driver *driver) {
  uint32_t capacity = driver->pending_capacity ? driver->pending_capacity * 2 : 64;
  if (capacity > PENDING_MAX) return false;
  struct vow_driver_pending *grown = realloc(driver->pending, capacity * sizeof *grown);
  if (grown == NULL) return false;
  for (uint32_t i = driver->pending_capacity; i < capacity; i++) {
    grown[i] =
        (struct vow_driver_pending){.next_free = i + 1 < capacity ? i + 1 : driver->pending_free};
  }
  driver->pending_free = driver->pending_capacity;
  driver->pending = grown;
  driver->pending_capacity = capacity;
  return true;
}

static struct vow_driver_pending *pending_take(struct vow_driver *driver) {
  if (driver->pending_free == PENDING_NONE && !pending_grow(driver)) return NULL;
  uint32_t index = driver->pending_free;
  struct vow_driver_pending *pending = &driver->pending[index];
  driver->pending_free = pending->next_free;
  driver->generation++;
  if (driver->generation == 0) driver->generation = 1;
  pending->token = (uint64_t)driver->generation << 32 | index;
  driver->pending_open++;
  return pending;
}

static struct vow_driver_pending *pending_find(struct vow_driver *driver, uint64_t token) {
  uint32_t index = (uint32_t)token;
  if (token == 0 || index >= driver->pending_capacity) return NULL;
  struct vow_driver_pending *pending = &driver->pending[index];
  return pending->token == token ? pending : NULL;
}

static void pending_release(struct vow_driver *driver, struct vow_driver_pending *pending) {
  pending->token = 0;
  pending->next_free = driver->pending_free;
  driver->pending_free = (uint32_t)(pending - driver->pending);
  driver->pending_open--;
}

/* ---- carrying out ---- */

static void note_quarantine(struct vow_driver *driver, const struct vow_action *action) {
  snprintf(driver->info.why, sizeof driver->info.why,
           "%.200s has seen it at position %" PRIu64 " of incarnation %" PRIu64
           ", where it never was",
           action->u.log.by, action->u.log.seen.position, action->u.log.seen.incarnation);
  driver->info.quarantined_ms = read_clock_ms(CLOCK_REALTIME);
  driver->info.seen = action->u.log.seen;
  vow_driver_note(
      driver, &(struct vow_driver_note){
                  .type = VOW_NOTE_QUARANTINE, .url = action->u.log.by, .why = driver->info.why});
}

static void carry_out_log(struct vow_driver *driver, const struct vow_action *action) {
  const struct vow_txn *txn = action->u.log.txn;
  bool decision = action->u.log.record == VOW_RECORD_TXN && action->u.log.forced &&
                  txn->state == VOW_TXN_COMMITTING;
  enum vow_error error = vow_log_append(driver->log, action);
  if (decision && VOW_FAILPOINT_FAILS("decision.before_log")) error = VOW_E_NO_MEMORY;
  if (error != VOW_OK) vow_driver_fail(driver, error, "a record cannot be queued for the log");
  if (action->u.log.record == VOW_RECORD_QUARANTINE) note_quarantine(driver, action);
  if (action->u.log.record == VOW_RECORD_TXN && txn->ended_ms != 0) {
    vow_driver_note(driver,
                    &(struct vow_driver_note){.type = VOW_NOTE_ENDED, .txn = txn, .id = txn->id});
  }
}

static void carry_out_answer(struct vow_driver *driver, const struct vow_action *action) {
  struct vow_driver_pending *found = pending_find(driver, action->u.answer.token);
  if (found == NULL) return; /* cancelled */
  struct vow_driver_pending pending = *found;
  pending_release(driver, found);
  if (pending.type == VOW_EVENT_BEGIN) VOW_FAILPOINT("begin.before_answer");
  if (pending.commits) VOW_FAILPOINT("decision.before_answer");
  pending.done(pending.context, action);
}

static void carry_out(struct vow_driver *driver, const struct vow_actions *actions) {
  for (uint32_t i = 0; i < actions->count; i++) {
    const struct vow_action *action = &actions->items[i];
    if (action->after > driver->durable) {
      vow_driver_fail(driver, VOW_E_INTERNAL, "an action came before its record was durable");
    }
    switch (action->type) {
      case VOW_ACTION_LOG:
        carry_out_log(driver, action);
        break;
      case VOW_ACTION_SEND:
        vow_driver_send(driver, action);
        break;
      case VOW_ACTION_ANSWER:
        carry_out_answer(driver, action);
        break;
    }
  }
}

/* ---- steps ---- */

static void on_tick(uv_timer_t *timer);

/* That it is active keeps the loop from waiting. */
static void on_idle(uv_idle_t *idle) {
  (void)idle;
}

/* A timer that is early finds nothing to do and is armed anew; so it is only moved to the front.
 * What is overdue comes with the end of the turn. A core that lacks memory is due at 0, and again
 * at once: the loop has to turn in between, for a timer that is always due keeps libuv from
 * everything else. */
static void arm_tick(struct vow_driver *driver, uint64_t now_ms) {
  uint64_t due_ms = vow_core_next_deadline(driver->core);
  if (due_ms != 0 && due_ms <= now_ms) {
    uv_idle_start(&driver->idle, on_idle);
    return;
  }
  if (due_ms >= driver->tick_ms) return;
  driver->tick_ms = due_ms;
  uv_update_time(driver->loop);
  uint64_t wait_ms = due_ms > now_ms ? due_ms - now_ms : 0;
  uv_timer_start(&driver->tick, on_tick, due_ms == 0 ? DEFERRED_MS : wait_ms, 0);
}

static enum vow_error step(struct vow_driver *driver, struct vow_event *event) {
  struct vow_actions actions = {0};
  if (driver->in_step) vow_driver_fail(driver, VOW_E_INTERNAL, "a step within a step");
  event->now_ms = read_clock_ms(CLOCK_MONOTONIC);
  event->wall_ms = read_clock_ms(CLOCK_REALTIME);
  event->random = take_random(driver);
  event->more = event->type != VOW_EVENT_TICK;
  driver->in_step = true;
  enum vow_error error = vow_core_step(driver->core, event, &actions);
  if (error == VOW_OK) carry_out(driver, &actions);
  if (vow_log_flush(driver->log, vow_core_awaits_votes(driver->core))) uv_stop(driver->loop);
  driver->in_step = false;
  arm_tick(driver, event->now_ms);
  return error;
}

static void note_recovery(struct vow_driver *driver) {
  struct vow_core_counts counts;
  if (!driver->recovering || driver->loading) return;
  vow_core_counts(driver->core, &counts);
  if (counts.recovering > 0) return;
  driver->recovering = false;
  vow_driver_note(
      driver, &(struct vow_driver_note){.type = VOW_NOTE_RECOVERED, .number = counts.recovered});
}

void vow_driver_step(struct vow_driver *driver, struct vow_event *event) {
  enum vow_error error = step(driver, event);
  if (error != VOW_OK) vow_driver_fail(driver, error, "a step of the core failed");
  note_recovery(driver);
}

static void on_tick(uv_timer_t *timer) {
  struct vow_driver *driver = timer->data;
  struct vow_event event = {.type = VOW_EVENT_TICK};
  driver->tick_ms = UINT64_MAX;
  if (vow_core_next_deadline(driver->core) > read_clock_ms(CLOCK_MONOTONIC)) {
    arm_tick(driver, read_clock_ms(CLOCK_MONOTONIC));
    return;
  }
  vow_driver_step(driver, &event);
}

/* Whether a few decisions stay for company: the client that has just had its answer mostly asks for
 * its next transaction at once, and then that one's prepare and this one's commit share a request.
 * They stay for about as long as what that saves takes, which costs at most twice of what knowing
 * the future would; the loop turns meanwhile and reads what comes. Where nobody came several times
 * in a row, it is tried again now and then only. */
static bool linger(struct vow_driver *driver) {
  if (!vow_core_messages_can_wait(driver->core)) {
    if (driver->linger_until_ns != 0) driver->lonely = 0;
    driver->linger_until_ns = 0;
    return false;
  }
  uint64_t now_ns = uv_hrtime();
  if (driver->linger_until_ns == 0) {
    if (driver->lonely >= LONELY_MAX && ++driver->lonely % LONELY_TRIES != 0) return false;
    driver->linger_until_ns = now_ns + driver->config.linger_us * UINT64_C(1000);
  }
  if (now_ns < driver->linger_until_ns) {
    (void)sched_yield(); /* whoever they wait for may need this processor */
    return true;
  }
  driver->linger_until_ns = 0;
  driver->lonely++;
  return false;
}

/* The loop is about to wait, or would be if there were nothing to send. */
static void on_prepare(uv_prepare_t *prepare) {
  struct vow_driver *driver = prepare->data;
  struct vow_event event = {.type = VOW_EVENT_TICK};
  if (!uv_is_active((uv_handle_t *)&driver->idle)) return;
  if (!driver->closing && linger(driver)) return;
  uv_idle_stop(&driver->idle);
  if (driver->closing) return;
  vow_driver_step(driver, &event);
  vow_sender_flush(driver->sender);
}

/* ---- what the log says ---- */

static void note_checkpoints(struct vow_driver *driver) {
  struct vow_log_counts counts;
  vow_log_counts(driver->log, &counts);
  if (counts.checkpoint_failures == driver->checkpoint_failures) return;
  driver->checkpoint_failures = counts.checkpoint_failures;
  vow_driver_note(driver, &(struct vow_driver_note){.type = VOW_NOTE_CHECKPOINT_FAILED,
                                                    .number = counts.checkpoint_failures});
}

static void take_refusal(struct vow_driver *driver, enum vow_error refuses) {
  if (refuses == driver->log_refuses) return;
  driver->log_refuses = refuses;
  struct vow_event event = {.type = VOW_EVENT_LOG_REFUSES, .u.log_refuses = refuses};
  vow_driver_step(driver, &event);
  vow_driver_note(driver,
                  &(struct vow_driver_note){.type = VOW_NOTE_LOG_REFUSES, .error = refuses});
}

static void on_wake(uv_async_t *async) {
  struct vow_driver *driver = async->data;
  struct vow_log_progress progress = {0};
  if (driver->closing) return;
  vow_log_poll(driver->log, &progress);
  if (progress.error != VOW_OK) vow_driver_fail(driver, progress.error, progress.why);
  if (progress.durable > driver->durable) {
    driver->durable = progress.durable;
    struct vow_event event = {.type = VOW_EVENT_DURABLE, .u.position = progress.durable};
    vow_driver_step(driver, &event);
  }
  take_refusal(driver, progress.refuses);
  note_checkpoints(driver);
}

/* On the log's thread, or in vow_driver_write. */
static void wake(void *context) {
  struct vow_driver *driver = context;
  uv_async_send(&driver->wake);
}

void vow_driver_write(struct vow_driver *driver) {
  vow_log_write(driver->log);
}

/* ---- recovery ---- */

static void load_page(struct vow_driver *driver, struct vow_id after);

static void load_end(struct vow_driver *driver) {
  struct vow_event event = {.type = VOW_EVENT_LOAD_END};
  driver->loading = false;
  vow_driver_note(driver,
                  &(struct vow_driver_note){.type = VOW_NOTE_LOADED, .number = driver->loaded});
  vow_driver_step(driver, &event);
  VOW_FAILPOINT("recover.done");
}

/* Transactions of this run are in the log by now, too; their ids are not below the ceiling that the
 * last run left, and the core has them. */
static void on_page(void *context, const struct vow_log_result *result) {
  struct vow_driver *driver = context;
  if (driver->closing) return;
  if (result->error != VOW_OK) vow_driver_fail(driver, result->error, result->why);
  bool more = result->more;
  for (uint32_t i = 0; i < result->count; i++) {
    if (vow_id_compare(result->rows[i].id, driver->info.id_ceiling) >= 0) {
      more = false;
      break;
    }
    struct vow_event event = {.type = VOW_EVENT_LOAD, .u.load = &result->rows[i]};
    driver->loaded++;
    vow_driver_step(driver, &event);
    if (VOW_FAILPOINT_FAILS("recover.row"))
      vow_driver_fail(driver, VOW_E_LOG_IO, "a row cannot be read");
  }
  if (more) {
    load_page(driver, result->next);
  } else {
    load_end(driver);
  }
}

static void load_page(struct vow_driver *driver, struct vow_id after) {
  struct vow_log_query query = {.type = VOW_LOG_QUERY_OPEN_PAGE,
                                .id = after,
                                .limit = LOAD_PAGE,
                                .done = on_page,
                                .context = driver};
  enum vow_error error = vow_log_query(driver->log, &query);
  if (error != VOW_OK) vow_driver_fail(driver, error, "the log cannot be read");
}

static void load_begin(struct vow_driver *driver) {
  struct vow_event event = {.type = VOW_EVENT_LOAD_BEGIN};
  event.u.load_begin.position = driver->info.position;
  event.u.load_begin.id_floor = driver->info.id_from;
  event.u.load_begin.open = driver->info.open;
  event.u.load_begin.incarnation = driver->info.incarnation;
  event.u.load_begin.known = driver->info.known;
  event.u.load_begin.known_count = driver->info.known_count;
  event.u.load_begin.quarantined = driver->info.quarantined_ms != 0;
  event.u.load_begin.presume_from = driver->info.presume_from;
  event.u.load_begin.gaps = driver->info.gaps;
  event.u.load_begin.gap_count = driver->info.gap_count;
  driver->loading = driver->recovering = true;
  vow_driver_step(driver, &event);
  load_page(driver, (struct vow_id){{0}});
}

/* ---- what clients ask ---- */

enum vow_error vow_driver_request(struct vow_driver *driver, struct vow_event *event,
                                  void (*done)(void *context, const struct vow_action *answer),
                                  void *context, uint64_t *token_out) {
  struct vow_driver_pending *pending = pending_take(driver);
  if (pending == NULL) return VOW_E_NO_MEMORY;
  uint64_t token = pending->token;
  pending->done = done;
  pending->context = context;
  pending->type = event->type;
  pending->commits =
      event->type == VOW_EVENT_COMMIT || (event->type == VOW_EVENT_BEGIN && event->u.begin.commit);
  event->token = token;
  enum vow_error error = step(driver, event);
  pending = pending_find(driver, token);
  if (error != VOW_OK) {
    if (pending != NULL) pending_release(driver, pending);
    return error;
  }
  *token_out = pending == NULL ? 0 : token;
  note_recovery(driver);
  return VOW_OK;
}

void vow_driver_cancel(struct vow_driver *driver, uint64_t token) {
  struct vow_driver_pending *pending = pending_find(driver, token);
  struct vow_event event = {.type = VOW_EVENT_CANCEL, .token = token};
  if (pending == NULL) return;
  pending_release(driver, pending);
  vow_driver_step(driver, &event);
}

void vow_driver_witness(struct vow_driver *driver, struct vow_log_position seen, const char *by) {
  struct vow_event event = {.type = VOW_EVENT_WITNESS};
  if (seen.incarnation == 0) return;
  event.u.witness.seen = seen;
  event.u.witness.by = by;
  vow_driver_step(driver, &event);
}

void vow_driver_drain(struct vow_driver *driver) {
  struct vow_event event = {.type = VOW_EVENT_DRAIN};
  vow_driver_step(driver, &event);
}

void vow_driver_log_counts(const struct vow_driver *driver, struct vow_log_counts *out) {
  struct vow_core_counts core;
  vow_core_counts(driver->core, &core);
  vow_log_counts(driver->log, out);
  out->queued += core.ends_waiting;
}

void vow_driver_write_ends(struct vow_driver *driver) {
  struct vow_event event = {.type = VOW_EVENT_WRITE_ENDS};
  vow_driver_step(driver, &event);
}

void vow_driver_reconfigure(struct vow_driver *driver, const struct vow_driver_config *config) {
  struct vow_event event = {.type = VOW_EVENT_CONFIG, .u.config = &driver->config.core};
  driver->config.core = config->core;
  driver->config.request_timeout_ms = config->request_timeout_ms;
  vow_log_reconfigure(driver->log, &config->log);
  vow_driver_step(driver, &event);
}

const struct vow_core *vow_driver_core(const struct vow_driver *driver) {
  return driver->core;
}

struct vow_log *vow_driver_log(const struct vow_driver *driver) {
  return driver->log;
}

void vow_driver_status(const struct vow_driver *driver, struct vow_driver_status *out) {
  *out = (struct vow_driver_status){.log_refuses = driver->log_refuses,
                                    .durable = driver->durable,
                                    .messages = driver->messages,
                                    .requests_open = driver->pending_open,
                                    .log = driver->info};
  vow_sender_counts(driver->sender, &out->sender);
}

/* ---- open and close ---- */

static void driver_free(struct vow_driver *driver) {
  vow_core_free(driver->core);
  vow_driver_free_down(driver);
  vow_buf_fini(&driver->body);
  vow_buf_fini(&driver->common);
  free(driver->pending);
  free(driver->advertise_url);
  free(driver);
}

static void on_handle_closed(uv_handle_t *handle) {
  struct vow_driver *driver = handle->data;
  if (--driver->handles_open == 0) driver_free(driver);
}

static void on_sender_failed(void *context, const char *why) {
  char text[128];
  snprintf(text, sizeof text, "curl cannot go on: %s; give this process more memory", why);
  vow_driver_fail(context, VOW_E_NO_MEMORY, text);
}

/* Everything that can fail without a loop handle. */
static enum vow_error open_parts(struct vow_driver *driver, char why[VOW_LOG_WHY_BYTES]) {
  snprintf(why, VOW_LOG_WHY_BYTES, "out of memory; give this process more");
  driver->advertise_url = strdup(driver->config.advertise_url);
  if (driver->advertise_url == NULL) return VOW_E_NO_MEMORY;
  enum vow_error error = vow_core_new(&driver->core, &driver->config.core);
  if (error != VOW_OK) return error;
  error = vow_log_open(&driver->log, &driver->config.log, why);
  if (error != VOW_OK) return error;
  vow_log_info(driver->log, &driver->info);
  driver->durable = driver->info.position;
  return vow_sender_open(&driver->sender, driver->loop, &driver->config.sender);
}

enum vow_error vow_driver_open(struct vow_driver **out, struct uv_loop_s *loop,
                               const struct vow_driver_config *config,
                               char why[VOW_LOG_WHY_BYTES]) {
  struct vow_driver *driver = calloc(1, sizeof *driver);
  if (driver == NULL) return VOW_E_NO_MEMORY;
  driver->loop = loop;
  driver->config = *config;
  driver->config.log.wake = wake;
  driver->config.log.wake_context = driver;
  driver->config.sender.failed = on_sender_failed;
  driver->config.sender.context = driver;
  driver->pending_free = PENDING_NONE;
  driver->tick_ms = UINT64_MAX;
  vow_buf_init(&driver->body, BODY_BYTES_MAX);
  vow_buf_init(&driver->common, BODY_BYTES_MAX);
  uv_timer_init(loop, &driver->tick);
  uv_async_init(loop, &driver->wake, on_wake);
  uv_idle_init(loop, &driver->idle);
  uv_prepare_init(loop, &driver->prepare);
  uv_prepare_start(&driver->prepare, on_prepare);
  driver->tick.data = driver->wake.data = driver;
  driver->idle.data = driver->prepare.data = driver;
  driver->handles_open = HANDLES;
  enum vow_error error = open_parts(driver, why);
  if (error == VOW_OK) error = vow_log_start(driver->log);
  if (error != VOW_OK) {
    vow_driver_close(driver);
    return error;
  }
  load_begin(driver);
  *out = driver;
  return VOW_OK;
}

/* On a full disk all is safe where it is; whatever else goes wrong must not look like a good end.
 */
static void close_log(struct vow_driver *driver) {
  char why[VOW_LOG_WHY_BYTES];
  enum vow_error error = driver->log ? vow_log_finish(driver->log, why) : VOW_OK;
  if (error != VOW_OK && error != VOW_E_LOG_FULL)
    driver->config.failed(driver->config.context, error, why);
  vow_log_close(driver->log);
  driver->log = NULL;
}

void vow_driver_close(struct vow_driver *driver) {
  if (driver == NULL) return;
  driver->closing = true;
  vow_sender_close(driver->sender);
  vow_driver_drop_exchanges(driver);
  close_log(driver);
  uv_close((uv_handle_t *)&driver->tick, on_handle_closed);
  uv_close((uv_handle_t *)&driver->wake, on_handle_closed);
  uv_close((uv_handle_t *)&driver->idle, on_handle_closed);
  uv_close((uv_handle_t *)&driver->prepare, on_handle_closed);
}
