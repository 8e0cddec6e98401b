/*
 * The recovery itself: the daemon's own driver (core, log, sender) without its HTTP server, on the
 * log of a dead daemon, until all that was in doubt has ended. See recover.h.
 *
 * It may be stopped at any moment: every end is in the log or is found again by the next run.
 *
 * Progress goes to standard error: a bar on a terminal, else a line for each transaction that ended
 * and for each participant that goes away or comes back.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "io/driver.h"
#include "io/record.h"
#include "offline.h"
#include "recover.h"
#include "text.h"

#define LOOK_MS          100 /* between two looks at what has ended, and two drawings of the bar */
#define BAR_COLUMNS      24
#define TEXT_BYTES       256
#define RECORD_BYTES_MAX ((size_t)1 << 30)

struct run {
  const struct ctl_args *args;
  const char *advertise_url; /* where the participants believe the coordinator to be */
  struct ctl_report *report; /* its results are in the order of the ids */
  uint64_t starts;           /* of the log before this one */
  struct vow_driver *driver;
  struct ctl_terminal terminal; /* of standard error */
  uv_loop_t loop;
  uv_timer_t look;
  uv_signal_t interrupt, terminate;
  uint64_t started_ms; /* of the loop's clock */
  uint64_t started_wall_ms;
  size_t to_do, ended;
  bool stop;
  char trouble[TEXT_BYTES]; /* the participant that failed last, and why */
};

static uint64_t loop_ms(const struct run *run) {
  return uv_now(&run->loop);
}

/* ---- what became of a transaction ---- */

/* A copy that outlives the core's image, through the text that the log itself would keep. */
static enum vow_error copy_txn(const struct vow_txn *txn, struct vow_txn *out) {
  char why[VOW_JSON_WHY_BYTES];
  struct vow_buf text;
  vow_buf_init(&text, RECORD_BYTES_MAX);
  vow_record_write(&text, txn);
  enum vow_error error = text.error;
  if (error == VOW_OK) error = vow_record_read(txn->id, vow_buf_text(&text), text.bytes, out, why);
  if (error == VOW_OK) out->decision_durable = txn->decision_durable;
  vow_buf_fini(&text);
  return error;
}

static void keep_image(struct ctl_result *result, const struct vow_txn *txn) {
  struct vow_txn copy;
  /* Without memory the older image stays: the report is then behind, not wrong. */
  if (copy_txn(txn, &copy) != VOW_OK) return;
  vow_txn_fini(&result->txn);
  result->txn = copy;
}

static struct ctl_result *find_result(const struct run *run, struct vow_id id) {
  size_t low = 0, high = run->report->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = vow_id_compare(run->report->results[middle].txn.id, id);
    if (order == 0) return &run->report->results[middle];
    if (order < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return NULL;
}

static void say(const struct run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void say(const struct run *run, const char *format, ...) {
  char text[2 * TEXT_BYTES];
  struct vow_buf safe;
  va_list args;
  if (run->terminal.tty) return;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  vow_buf_init(&safe, CTL_LINE_BYTES_MAX);
  ctl_safe_append(&safe, text);
  fprintf(stderr, "%s\n", vow_buf_text(&safe));
  vow_buf_fini(&safe);
}

static void end_result(struct run *run, struct ctl_result *result, const struct vow_txn *txn) {
  char id[VOW_ID_TEXT_BYTES];
  const char *heuristic = vow_heuristic_name(txn->heuristic);
  keep_image(result, txn);
  run->ended += !result->ended;
  result->ended = true;
  result->unknown = txn->state == VOW_TXN_COMMITTING;
  vow_id_format(txn->id, id);
  say(run, "%s %s%s%s (%zu of %zu)", id, vow_txn_state_name(txn->state),
      heuristic == NULL ? "" : ", heuristic ", heuristic == NULL ? "" : heuristic, run->ended,
      run->to_do);
}

/* ---- the bar ---- */

static void draw(const struct run *run) {
  char took[CTL_DURATION_BYTES], bar[BAR_COLUMNS + 1];
  struct vow_buf line;
  size_t full = run->to_do == 0 ? BAR_COLUMNS : run->ended * BAR_COLUMNS / run->to_do;
  if (!run->terminal.tty) return;
  memset(bar, '-', BAR_COLUMNS);
  memset(bar, '#', full);
  bar[BAR_COLUMNS] = '\0';
  ctl_duration_format(loop_ms(run) - run->started_ms, took);
  vow_buf_init(&line, CTL_LINE_BYTES_MAX);
  vow_buf_printf(&line, "[%s] %zu/%zu ended, %s", bar, run->ended, run->to_do, took);
  if (run->trouble[0] != '\0') vow_buf_puts(&line, "; ");
  ctl_safe_append(&line, run->trouble);
  size_t bytes = ctl_prefix_bytes(vow_buf_text(&line), run->terminal.width - 1);
  fprintf(stderr, "\r%.*s\033[K", (int)bytes, vow_buf_text(&line));
  fflush(stderr);
  vow_buf_fini(&line);
}

/* ---- what the driver tells ---- */

static void on_note(void *context, const struct vow_driver_note *note) {
  struct run *run = context;
  struct ctl_result *result;
  switch (note->type) {
    case VOW_NOTE_ENDED:
      result = find_result(run, note->id);
      if (result != NULL && (!result->ended || result->unknown)) end_result(run, result, note->txn);
      return;
    case VOW_NOTE_ENDPOINT_DOWN:
      snprintf(run->trouble, sizeof run->trouble, "%s: %s", note->url, note->why);
      say(run, "%s is down: %s", note->url, note->why);
      return;
    case VOW_NOTE_ENDPOINT_UP:
      run->trouble[0] = '\0';
      say(run, "%s is up again", note->url);
      return;
    case VOW_NOTE_HEURISTIC:
      say(run, "branch %u at %s ended by itself: %s", note->branch, note->url,
          vow_outcome_name(note->outcome));
      return;
    case VOW_NOTE_UNKNOWN_BRANCH:
      say(run, "branch %u at %s: told to commit, it does not know the branch", note->branch,
          note->url);
      return;
    case VOW_NOTE_QUARANTINE:
      snprintf(run->report->quarantine, sizeof run->report->quarantine, "%s", note->why);
      run->stop = true;
      return;
    default:
      return;
  }
}

/* Nothing more can become durable, so nothing more may be told (log rule 2); the next run reads in
 * the log what has ended. */
static void on_failed(void *context, enum vow_error error, const char *why) {
  struct run *run = context;
  if (run->terminal.tty) fputs("\r\033[K", stderr);
  enum ctl_exit code = ctl_log_fail(error, why);
  fflush(stderr);
  _exit((int)code);
}

/* ---- looking, and stopping ---- */

/* All that is left are branches that their participants do not know, and said so in this run or
 * could not be asked: asking again and again does not help. */
static bool only_unknown_left(const struct run *run, const struct vow_txn *txn) {
  if (ctl_plan_of(txn) != CTL_PLAN_UNKNOWN) return false;
  for (uint32_t i = 0; i < txn->branch_count; i++) {
    const struct vow_branch *branch = &txn->branches[i];
    if (!ctl_plan_branch_done(branch) && branch->last_error_ms < run->started_wall_ms) return false;
  }
  return true;
}

/* Over, as far as a recovery goes: nothing is left, or only an operator's word. */
static bool over(const struct run *run, const struct vow_txn *txn) {
  if (only_unknown_left(run, txn)) return true;
  if (txn->state != VOW_TXN_COMMITTED && txn->state != VOW_TXN_ABORTED) return false;
  return txn->ended_ms != 0 || (txn->heuristic != VOW_HEURISTIC_NONE && !txn->forgotten);
}

static void look(struct run *run) {
  const struct vow_core *core = vow_driver_core(run->driver);
  if (vow_core_loading(core)) return;
  for (size_t i = 0; i < run->report->count; i++) {
    struct ctl_result *result = &run->report->results[i];
    if (result->ended) continue;
    const struct vow_txn *txn = vow_core_find(core, result->txn.id);
    if (txn == NULL) {
      /* It ended between the reading of the log and its opening: somebody else was at work. */
      result->ended = true;
      run->ended++;
    } else if (over(run, txn)) {
      end_result(run, result, txn);
    }
  }
}

static void on_look(uv_timer_t *timer) {
  struct run *run = timer->data;
  uint64_t timeout_ms = run->args->number[CTL_OPT_TIMEOUT];
  look(run);
  draw(run);
  if (run->ended == run->to_do) {
    run->stop = true;
  } else if (loop_ms(run) - run->started_ms >= timeout_ms) {
    run->report->timed_out = run->stop = true;
  }
}

static void on_signal(uv_signal_t *handle, int number) {
  struct run *run = handle->data;
  (void)number;
  run->report->interrupted = run->stop = true;
}

/* ---- opening and closing ---- */

/* A participant that hangs is asked more than once before the time is over, and is named. */
static uint32_t request_timeout_ms(const struct ctl_args *args) {
  uint64_t third_ms = args->number[CTL_OPT_TIMEOUT] / 3;
  return (uint32_t)(third_ms > 10000 ? 10000 : third_ms == 0 ? 1 : third_ms);
}

/* Patience is the core's business: pauses between tries stay short, since somebody waits here.
 * Limits that only concern new transactions do not matter. History is kept: only a daemon purges.
 */
static struct vow_driver_config config_of(struct run *run) {
  return (struct vow_driver_config){
      .core = {.transaction_timeout_ms = 60000,
               .transaction_timeout_max_ms = 86400000,
               .prepare_timeout_ms = 30000,
               .wait_timeout_ms = 30000,
               .retry_min_ms = 100,
               .retry_max_ms = 3000,
               .preparing_record_after_ms = 1000,
               .transactions_max = UINT32_MAX,
               .branches_max = UINT32_MAX,
               .waiters_max = 1,
               .inflight_per_endpoint_max = 16,
               .history_max = 200,
               .id_reserve_ms = 10000},
      .log = {.path = run->args->text[CTL_OPT_LOG],
              .lazy_flush_ms = 100,
              .wal_bytes_max = 16U << 20,
              .retention_age_ms = UINT64_MAX,
              .retention_count = UINT64_MAX,
              .purge_step = 1},
      .sender = {.connections_max = 256,
                 .connections_per_host_max = 16,
                 .idle_connections_max = 64,
                 .answer_bytes_max = 1U << 20,
                 .connect_timeout_ms = 3000,
                 .user_agent = "vowctl/" VOW_VERSION},
      .advertise_url = run->advertise_url,
      .request_timeout_ms = request_timeout_ms(run->args),
      .note = on_note,
      .failed = on_failed,
      .context = run,
  };
}

/* Participants ask there, and keep a watermark for each address: what the daemon itself wrote down
 * is believed, unless somebody insists. */
static const char *advertise_url_of(const struct ctl_args *args, const struct ctl_work *work) {
  const char *given = args->text[CTL_OPT_ADVERTISE_URL];
  if (given == NULL) {
    return work->advertise_url[0] == '\0' ? "http://127.0.0.1:7800" : work->advertise_url;
  }
  if (work->advertise_url[0] != '\0' && strcmp(given, work->advertise_url) != 0) {
    fprintf(stderr, "vowctl: participants are told that the coordinator is %s; the log says %s.\n",
            given, work->advertise_url);
  }
  return given;
}

/* While somebody was asked a daemon may have run, and left more than was shown: it would not be in
 * the report, and everything that is would be over too soon. */
static enum ctl_exit check_same(const struct run *run) {
  struct vow_driver_status status;
  vow_driver_status(run->driver, &status);
  if (status.log.starts == run->starts + 1) return CTL_EXIT_OK;
  return ctl_fail(CTL_EXIT_ATTENTION, "Run it again: it shows what is in doubt now.",
                  "the log %s has been in use since it was looked at; nothing was sent.",
                  run->args->text[CTL_OPT_LOG]);
}

static enum ctl_exit open_run(struct run *run) {
  char why[VOW_LOG_WHY_BYTES];
  struct vow_driver_config config = config_of(run);
  int failed = uv_timer_init(&run->loop, &run->look) | uv_signal_init(&run->loop, &run->interrupt) |
               uv_signal_init(&run->loop, &run->terminate);
  run->look.data = run->interrupt.data = run->terminate.data = run;
  if (failed == 0) {
    failed = uv_timer_start(&run->look, on_look, 0, LOOK_MS) |
             uv_signal_start(&run->interrupt, on_signal, SIGINT) |
             uv_signal_start(&run->terminate, on_signal, SIGTERM);
  }
  if (failed != 0) {
    return ctl_fail(CTL_EXIT_FAILED, "Free memory or file handles, then try again.",
                    "timers and signals cannot be used.");
  }
  enum vow_error error = vow_driver_open(&run->driver, &run->loop, &config, why);
  return error == VOW_OK ? check_same(run) : ctl_log_fail(error, why);
}

/* Flushes the log, too: ends that were not synced yet are afterwards. */
static void close_run(struct run *run) {
  uv_handle_t *const handles[] = {(uv_handle_t *)&run->look, (uv_handle_t *)&run->interrupt,
                                  (uv_handle_t *)&run->terminate};
  for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++) {
    if (handles[i]->loop != NULL) uv_close(handles[i], NULL);
  }
  vow_driver_close(run->driver);
  uv_run(&run->loop, UV_RUN_DEFAULT);
  uv_loop_close(&run->loop);
}

/* The images of what is left, with their last errors. */
static void keep_rest(struct run *run) {
  const struct vow_core *core = vow_driver_core(run->driver);
  for (size_t i = 0; i < run->report->count; i++) {
    struct ctl_result *result = &run->report->results[i];
    const struct vow_txn *txn = result->ended ? NULL : vow_core_find(core, result->txn.id);
    if (txn != NULL) keep_image(result, txn);
  }
}

enum ctl_exit ctl_recover_run(const struct ctl_args *args, struct ctl_work *work,
                              struct ctl_report *report) {
  struct run run = {.args = args, .report = report, .starts = work->starts, .to_do = work->to_do};
  enum ctl_exit code = ctl_report_of(work, report);
  if (code != CTL_EXIT_OK) return code;
  ctl_terminal_of(stderr, &run.terminal);
  run.advertise_url = advertise_url_of(args, work);
  if (uv_loop_init(&run.loop) != 0) {
    return ctl_fail(CTL_EXIT_FAILED, "Free memory or file handles, then try again.",
                    "the event loop cannot be made.");
  }
  uv_update_time(&run.loop);
  run.started_ms = loop_ms(&run);
  run.started_wall_ms = ctl_now_ms();
  code = open_run(&run);
  while (code == CTL_EXIT_OK && !run.stop) uv_run(&run.loop, UV_RUN_ONCE);
  if (code == CTL_EXIT_OK) {
    keep_rest(&run);
    report->duration_ms = loop_ms(&run) - run.started_ms;
  }
  close_run(&run);
  if (run.terminal.tty) fputs("\r\033[K", stderr);
  return code;
}
