/*
 * The daemon. See daemon.h.
 *
 * The end, when a signal asks for it: new transactions are refused (503 draining), everything else
 * goes on; once no transaction is open and nobody waits, or when drain_timeout_ms is over, the
 * server is closed, then the driver, which writes what is queued and closes the log. What has not
 * ended by then is in the log and is recovered at the next start. A second signal skips the wait.
 *
 * The end, when the log fails: the reason is logged and the process exits at once, telling nobody
 * anything (log rule 2). The next start reads the log and knows.
 */
#include "daemon.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "api/api.h"
#include "io/deputy.h"
#include "io/driver.h"
#include "io/logger.h"
#include "io/server.h"
#include "notes.h"
#include "url.h"

#define DRAIN_POLL_MS             20
#define RECOVERY_MS               10000 /* between two lines about its progress */
#define GIVE_MORE                 "give this process more"
#define NO_MEMORY                 "out of memory; " GIVE_MORE
#define BODIES_BYTES_MAX          (512u * 1024 * 1024) /* of requests, together */
#define LAZY_FLUSH_MS             50
#define ENDS_TOGETHER             16
#define LINGER_US                 100  /* about what a request costs both sides */
#define LEND_MAX_US               1000 /* a slower disk hides two changes of threads */
#define WAL_BYTES_MAX             (16u * 1024 * 1024)
#define PURGE_STEP                500
#define PREPARING_RECORD_AFTER_MS 1000
#define ID_RESERVE_MS             10000
#define IDLE_OUTBOUND_MAX         512
#define DESCRIPTORS_BESIDE        64 /* log, loop, standard streams, listening, resolver */

struct vow_daemon {
  uv_loop_t loop;
  struct vow_config config;
  struct vow_logger logger;
  struct vow_server *server;
  struct vow_deputy *deputy;
  struct vow_driver *driver;
  struct vow_api *api;
  uv_signal_t term, interrupt, hangup;
  uv_timer_t drain, recovery;
  uint64_t drain_end_ms;
  bool draining, stopped;
  char advertise_url[VOW_URL_BYTES_MAX + 1];
  int argc;
  char *const *argv;
  char *const *environment;
  struct vow_notes notes;
  uint32_t clients_max, outbound_max; /* connections; see share_descriptors */
};

/* ---- what the driver has to tell ---- */

/* Every now and then, as long as something of the last run is open. */
static void on_recovery(uv_timer_t *timer) {
  struct vow_daemon *daemon = timer->data;
  struct vow_core_counts counts;
  vow_core_counts(vow_driver_core(daemon->driver), &counts);
  uint64_t left = counts.recovering - counts.parked;
  if (left == 0) {
    uv_timer_stop(timer);
    return;
  }
  vow_logger_say(&daemon->logger, VOW_LEVEL_INFO, "recovering",
                 "%llu transactions of the last run have ended, %llu are still driven to their end",
                 (unsigned long long)counts.recovered, (unsigned long long)left);
}

/* Without it a log that has lost its end is noticed only when a participant says so. */
static void say_witness(struct vow_daemon *daemon, const struct vow_log_info *log) {
  bool first = log->known_count == 0;
  if (log->witness == LOG_WITNESS_READ || (log->witness == LOG_WITNESS_MISSING && first)) return;
  vow_logger_say(
      &daemon->logger, VOW_LEVEL_WARN, "witness-missing",
      "the witness file beside the log %s; if the log was moved, it belongs with it, and "
      "from now on there is a new one",
      log->witness == LOG_WITNESS_MISSING ? "is missing" : "cannot be read");
}

static void on_note(void *context, const struct vow_driver_note *note) {
  struct vow_daemon *daemon = context;
  vow_notes_say(&daemon->notes, note);
  if (note->type == VOW_NOTE_LOADED && note->number > 0)
    uv_timer_start(&daemon->recovery, on_recovery, RECOVERY_MS, RECOVERY_MS);
}

/* What there is to do about a lack of memory, where the reason does not say it. */
static const char *advice(enum vow_error error, const char *why) {
  return error == VOW_E_NO_MEMORY && strstr(why, GIVE_MORE) == NULL ? "; " GIVE_MORE : "";
}

static void on_failed(void *context, enum vow_error error, const char *why) {
  struct vow_daemon *daemon = context;
  vow_logger_say(&daemon->logger, VOW_LEVEL_ERROR, "failed",
                 "vowd ends at once, and nothing is lost: %s (%s)%s", why, vow_error_text(error),
                 advice(error, why));
  _exit(VOW_EXIT_FAILURE);
}

/* ---- configuration for the parts ---- */

static void core_config(const struct vow_config *config, struct vow_core_config *out) {
  *out = (struct vow_core_config){
      .transaction_timeout_ms = (uint32_t)config->transaction_timeout_ms,
      .transaction_timeout_max_ms = (uint32_t)config->limits_transaction_timeout_ms,
      .prepare_timeout_ms = (uint32_t)config->prepare_timeout_ms,
      .wait_timeout_ms = (uint32_t)config->wait_timeout_ms,
      .retry_min_ms = (uint32_t)config->retry_min_ms,
      .retry_max_ms = (uint32_t)config->retry_max_ms,
      .preparing_record_after_ms = PREPARING_RECORD_AFTER_MS,
      .ends_together = ENDS_TOGETHER,
      .ends_wait_ms = LAZY_FLUSH_MS,
      .transactions_max = (uint32_t)config->limits_transactions,
      .branches_max = (uint32_t)config->limits_branches,
      .waiters_max = (uint32_t)config->limits_waiters,
      .inflight_per_endpoint_max = (uint32_t)config->limits_inflight_per_endpoint,
      .history_max = (uint32_t)config->limits_history,
      .id_reserve_ms = ID_RESERVE_MS};
}

static void driver_config(struct vow_daemon *daemon, struct vow_driver_config *out) {
  const struct vow_config *config = &daemon->config;
  *out = (struct vow_driver_config){.advertise_url = daemon->advertise_url,
                                    .request_timeout_ms = (uint32_t)config->request_timeout_ms,
                                    .linger_us = LINGER_US,
                                    .note = on_note,
                                    .failed = on_failed,
                                    .context = daemon};
  core_config(config, &out->core);
  out->log = (struct vow_log_config){.path = config->log,
                                     .lend_max_us = LEND_MAX_US,
                                     .create = true,
                                     .lazy_flush_ms = LAZY_FLUSH_MS,
                                     .wal_bytes_max = WAL_BYTES_MAX,
                                     .reserve_bytes = config->disk_reserve_bytes,
                                     .retention_age_ms = config->retention_age_ms,
                                     .retention_count = config->retention_count,
                                     .purge_step = PURGE_STEP,
                                     .advertise_url = daemon->advertise_url};
  out->sender =
      (struct vow_sender_config){.connections_max = daemon->outbound_max,
                                 .connections_per_host_max = daemon->outbound_max,
                                 .idle_connections_max = IDLE_OUTBOUND_MAX,
                                 .answer_bytes_max = (size_t)config->limits_answer_bytes,
                                 .connect_timeout_ms = (uint32_t)config->connect_timeout_ms,
                                 .user_agent = "vowd/" VOW_VERSION};
}

/* As many descriptors as the system gives: each connection is one. Where it gives too few, clients
 * and participants share them as they would share enough: else idle clients could take them all,
 * and no decision would be told any more. */
static void share_descriptors(struct vow_daemon *daemon) {
  struct rlimit limit;
  uint64_t clients = daemon->config.limits_connections;
  uint64_t outbound = daemon->config.limits_outbound_connections, wanted = clients + outbound;
  daemon->clients_max = (uint32_t)clients;
  daemon->outbound_max = (uint32_t)outbound;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  uint64_t given = limit.rlim_max;
  if (given >= wanted + DESCRIPTORS_BESIDE) return;
  uint64_t room = given > DESCRIPTORS_BESIDE * 2 ? given - DESCRIPTORS_BESIDE : given / 2;
  clients = room * clients / wanted;
  if (clients == 0) clients = 1;
  outbound = room > clients ? room - clients : 1;
  daemon->clients_max = (uint32_t)clients;
  daemon->outbound_max = (uint32_t)outbound;
  vow_logger_say(&daemon->logger, VOW_LEVEL_WARN, "descriptors",
                 "limits_connections and limits_outbound_connections need %llu descriptors, the "
                 "system allows %llu, so they are %llu and %llu: raise LimitNOFILE or ulimit -n",
                 (unsigned long long)wanted + DESCRIPTORS_BESIDE, (unsigned long long)given,
                 (unsigned long long)clients, (unsigned long long)outbound);
}

static bool is_loopback(const char *listen) {
  return strncmp(listen, "127.", 4) == 0 || strncmp(listen, "[::1]", 5) == 0 ||
         strncmp(listen, "localhost:", 10) == 0;
}

/* ---- the end ---- */

/* Without a handler they would end the process by signal, and a second one is no failure. */
static const int handled[] = {SIGTERM, SIGINT, SIGHUP};
#define HANDLED (sizeof handled / sizeof *handled)

static void hold_signals(void) {
  sigset_t held;
  sigemptyset(&held);
  for (size_t i = 0; i < HANDLED; i++) sigaddset(&held, handled[i]);
  pthread_sigmask(SIG_BLOCK, &held, NULL);
}

static void stop(struct vow_daemon *daemon) {
  if (daemon->stopped) return;
  daemon->stopped = true;
  hold_signals();
  vow_server_quiesce(daemon->server);
  vow_server_close(daemon->server);
  vow_driver_close(daemon->driver);
  uv_close((uv_handle_t *)&daemon->drain, NULL);
  uv_close((uv_handle_t *)&daemon->recovery, NULL);
  uv_close((uv_handle_t *)&daemon->term, NULL);
  uv_close((uv_handle_t *)&daemon->interrupt, NULL);
  uv_close((uv_handle_t *)&daemon->hangup, NULL);
  /* libuv has let go of them: a thread that the resolver still has may not end by one either. */
  for (size_t i = 0; i < HANDLED; i++) signal(handled[i], SIG_IGN);
}

/* Those with a heuristic outcome wait for a person, and not for us. */
static uint64_t count_open(const struct vow_daemon *daemon) {
  struct vow_core_counts counts;
  vow_core_counts(vow_driver_core(daemon->driver), &counts);
  return counts.open[VOW_TXN_ACTIVE] + counts.open[VOW_TXN_PREPARING] +
         counts.open[VOW_TXN_COMMITTING] + counts.open[VOW_TXN_ABORTING];
}

static void say_stopping(struct vow_daemon *daemon, uint64_t open, uint64_t parked) {
  struct vow_driver_status status;
  vow_driver_status(daemon->driver, &status);
  if (status.log_refuses == VOW_E_LOG_MOVED) {
    vow_logger_say(
        &daemon->logger, VOW_LEVEL_ERROR, "log-moved",
        "stopping while the log is not at its path: if it was moved, move it back before "
        "the next start; if it was deleted, it is lost now; the runbook says what to do");
  }
  if (parked > 0 || vow_core_quarantined(vow_driver_core(daemon->driver))) {
    vow_logger_say(&daemon->logger, VOW_LEVEL_WARN, "stopping",
                   "stopping in quarantine with %llu transactions open; %llu of earlier runs wait "
                   "until the log is reconciled: run `vowctl reconcile --log %s` before the next "
                   "start",
                   (unsigned long long)open, (unsigned long long)parked, daemon->config.log);
    return;
  }
  vow_logger_say(
      &daemon->logger, open > 0 ? VOW_LEVEL_WARN : VOW_LEVEL_INFO, "stopping",
      "stopping with %llu transactions open: at the next start what is decided is driven "
      "to its end, and the rest has aborted",
      (unsigned long long)open);
}

static void on_drain(uv_timer_t *timer) {
  struct vow_daemon *daemon = timer->data;
  struct vow_server_counts server;
  vow_server_counts(daemon->server, &server);
  struct vow_core_counts counts;
  vow_core_counts(vow_driver_core(daemon->driver), &counts);
  uint64_t open = count_open(daemon) - counts.parked; /* those end with no waiting */
  bool over = uv_now(&daemon->loop) >= daemon->drain_end_ms;
  if (!over && (open > 0 || server.requests_waiting > 0)) return;
  if (vow_deputy_covers(daemon->deputy)) return; /* somebody is writing the log */
  say_stopping(daemon, open, counts.parked);
  stop(daemon);
}

static void on_stop_signal(uv_signal_t *handle, int number) {
  struct vow_daemon *daemon = handle->data;
  if (daemon->draining) {
    vow_logger_say(&daemon->logger, VOW_LEVEL_WARN, "stopping",
                   "a second signal: stopping at once");
    daemon->drain_end_ms = 0;
  } else {
    daemon->draining = true;
    vow_logger_say(&daemon->logger, VOW_LEVEL_INFO, "draining",
                   "signal %d: new transactions are refused; open ones get %llu ms to end", number,
                   (unsigned long long)daemon->config.drain_timeout_ms);
    vow_api_set_draining(daemon->api);
    vow_driver_drain(daemon->driver);
    daemon->drain_end_ms = uv_now(&daemon->loop) + daemon->config.drain_timeout_ms;
  }
  uv_timer_start(&daemon->drain, on_drain, 0, DRAIN_POLL_MS);
}

/* ---- reload ---- */

static void say_lines(struct vow_daemon *daemon, enum vow_logger_level level, const char *event,
                      const char *what, const struct vow_buf *lines) {
  const char *line = vow_buf_text(lines);
  while (*line != '\0') {
    size_t bytes = strcspn(line, "\n");
    vow_logger_say(&daemon->logger, level, event, "%s%.*s", what, (int)bytes, line);
    line += bytes + (line[bytes] == '\n');
  }
}

static void apply(struct vow_daemon *daemon) {
  struct vow_driver_config config;
  daemon->logger.level = (enum vow_logger_level)daemon->config.log_level;
  daemon->logger.format = (enum vow_logger_format)daemon->config.log_format;
  driver_config(daemon, &config);
  vow_driver_reconfigure(daemon->driver, &config);
}

static void on_reload(uv_signal_t *handle, int number) {
  struct vow_daemon *daemon = handle->data;
  struct vow_config fresh;
  struct vow_buf changed, ignored;
  char why[VOW_CONFIG_WHY_BYTES] = "";
  (void)number;
  enum vow_error error =
      vow_config_load(&fresh, daemon->argc, daemon->argv, daemon->environment, why);
  if (error != VOW_OK) {
    vow_logger_say(&daemon->logger, VOW_LEVEL_ERROR, "reload-failed",
                   "the configuration stays as it was: %s", why);
    return;
  }
  vow_buf_init(&changed, 256 * 1024);
  vow_buf_init(&ignored, 256 * 1024);
  vow_config_reload(&daemon->config, &fresh, &changed, &ignored);
  apply(daemon);
  vow_logger_say(&daemon->logger, VOW_LEVEL_INFO, "reloaded", "the configuration was read again");
  say_lines(daemon, VOW_LEVEL_INFO, "option-changed", "changed: ", &changed);
  say_lines(daemon, VOW_LEVEL_WARN, "option-ignored", "needs a restart: ", &ignored);
  if (changed.error != VOW_OK || ignored.error != VOW_OK) {
    vow_logger_say(&daemon->logger, VOW_LEVEL_WARN, "reloaded",
                   "there are changes that are not listed here: " NO_MEMORY);
  }
  vow_buf_fini(&changed);
  vow_buf_fini(&ignored);
}

/* ---- the start ---- */

static void init_handles(struct vow_daemon *daemon) {
  sigset_t hangup;
  uv_signal_init(&daemon->loop, &daemon->term);
  uv_signal_init(&daemon->loop, &daemon->interrupt);
  uv_signal_init(&daemon->loop, &daemon->hangup);
  uv_timer_init(&daemon->loop, &daemon->drain);
  uv_timer_init(&daemon->loop, &daemon->recovery);
  daemon->term.data = daemon->interrupt.data = daemon->hangup.data = daemon;
  daemon->drain.data = daemon->recovery.data = daemon;
  uv_signal_start(&daemon->term, on_stop_signal, SIGTERM);
  uv_signal_start(&daemon->interrupt, on_stop_signal, SIGINT);
  uv_signal_start(&daemon->hangup, on_reload, SIGHUP);
  sigemptyset(&hangup);
  sigaddset(&hangup, SIGHUP);
  pthread_sigmask(SIG_UNBLOCK, &hangup, NULL); /* main has held it back */
}

static int open_server(struct vow_daemon *daemon) {
  char why[256] = NO_MEMORY;
  const struct vow_config *config = &daemon->config;
  enum vow_error error = vow_api_new(&daemon->api, config, &daemon->logger);
  struct vow_server_config server = {.listen = config->listen,
                                     .connections_max = daemon->clients_max,
                                     .idle_timeout_ms = (uint32_t)config->idle_timeout_ms,
                                     .body_bytes_max = (size_t)config->limits_body_bytes,
                                     .bodies_bytes_max = BODIES_BYTES_MAX,
                                     .handle = vow_api_handle,
                                     .gone = vow_api_gone,
                                     .context = daemon->api};
  if (error == VOW_OK)
    error = vow_server_open(&daemon->server, &daemon->loop, &server, why, sizeof why);
  if (error == VOW_OK) return VOW_EXIT_OK;
  vow_logger_say(&daemon->logger, VOW_LEVEL_ERROR, "cannot-listen", "%s", why);
  return VOW_EXIT_FAILURE;
}

static int open_deputy(struct vow_daemon *daemon) {
  if (vow_deputy_open(&daemon->deputy, &daemon->loop) == VOW_OK) return VOW_EXIT_OK;
  vow_logger_say(&daemon->logger, VOW_LEVEL_ERROR, "cannot-start",
                 "no thread for the loop's deputy; " GIVE_MORE);
  return VOW_EXIT_FAILURE;
}

static int open_driver(struct vow_daemon *daemon) {
  struct vow_driver_config config;
  char why[VOW_LOG_WHY_BYTES] = NO_MEMORY;
  if (daemon->config.advertise_url[0] != '\0') {
    snprintf(daemon->advertise_url, sizeof daemon->advertise_url, "%s",
             daemon->config.advertise_url);
  } else {
    snprintf(daemon->advertise_url, sizeof daemon->advertise_url, "http://%s",
             vow_server_address(daemon->server));
  }
  driver_config(daemon, &config);
  enum vow_error error = vow_driver_open(&daemon->driver, &daemon->loop, &config, why);
  if (error == VOW_OK) {
    vow_api_attach(daemon->api, daemon->driver, daemon->server);
    return VOW_EXIT_OK;
  }
  vow_logger_say(&daemon->logger, VOW_LEVEL_ERROR, "cannot-open-log", "%s%s", why,
                 advice(error, why));
  return VOW_EXIT_FAILURE;
}

static void say_started(struct vow_daemon *daemon) {
  struct vow_driver_status status;
  struct vow_logger *logger = &daemon->logger;
  const char *address = vow_server_address(daemon->server);
  vow_driver_status(daemon->driver, &status);
  if (!is_loopback(daemon->config.listen)) {
    vow_logger_say(logger, VOW_LEVEL_WARN, "no-authentication",
                   "%s is not a loopback address and there is no authentication: whoever reaches "
                   "it can commit, abort and resolve",
                   address);
  }
  if (strstr(daemon->advertise_url, "//0.0.0.0:") || strstr(daemon->advertise_url, "//[::]:")) {
    vow_logger_say(logger, VOW_LEVEL_WARN, "no-advertise-url",
                   "participants are told to ask at %s, which leads nowhere: set advertise_url",
                   daemon->advertise_url);
  }
  if (status.log.quarantined_ms != 0) vow_notes_say_quarantine(&daemon->notes, status.log.why);
  say_witness(daemon, &status.log);
  if (vow_logger_begin(logger, VOW_LEVEL_INFO, "started", "vowd " VOW_VERSION)) {
    vow_logger_text(logger, "log", daemon->config.log);
    vow_logger_uint(logger, "starts", status.log.starts);
    vow_logger_uint(logger, "incarnation", status.log.incarnation);
    vow_logger_uint(logger, "position", status.log.position);
    vow_logger_uint(logger, "open", status.log.open);
    vow_logger_text(logger, "advertise_url", daemon->advertise_url);
    vow_logger_end(logger);
  }
  /* Scripts wait for this line, so it does not depend on the level. */
  enum vow_logger_level level = logger->level;
  if (logger->level < VOW_LEVEL_INFO) logger->level = VOW_LEVEL_INFO;
  if (vow_logger_begin(logger, VOW_LEVEL_INFO, "listening", "listening on %s", address)) {
    vow_logger_text(logger, "address", address);
    vow_logger_end(logger);
  }
  logger->level = level;
}

static void write_log(void *context) {
  vow_driver_write(context);
}

/* Until every handle is closed. The deputy may have been stopped for a write, too. */
static void run(struct vow_daemon *daemon) {
  while (uv_run(&daemon->loop, UV_RUN_DEFAULT) != 0) {
    if (daemon->stopped) continue;
    while (vow_deputy_cover(daemon->deputy, write_log, daemon->driver)) {
    }
  }
}

static int serve(struct vow_daemon *daemon) {
  int code = open_server(daemon);
  if (code == VOW_EXIT_OK) code = open_deputy(daemon);
  if (code == VOW_EXIT_OK) code = open_driver(daemon);
  if (code != VOW_EXIT_OK) {
    daemon->stopped = true;
    vow_server_close(daemon->server);
    return code;
  }
  init_handles(daemon);
  say_started(daemon);
  run(daemon);
  vow_logger_say(&daemon->logger, VOW_LEVEL_INFO, "stopped", "stopped");
  return VOW_EXIT_OK;
}

/* Where libuv cannot grow what it has it calls abort, which tells nobody why. */
static void *grow_or_end(void *old, size_t bytes) {
  static const char why[] = "vowd ends at once, and nothing is lost: " NO_MEMORY "\n";
  void *grown = realloc(old, bytes);
  if (grown != NULL || bytes == 0) return grown;
  (void)!write(STDERR_FILENO, why, sizeof why - 1); /* perhaps nobody listens */
  _exit(VOW_EXIT_FAILURE);
}

int vow_daemon_run(struct vow_config *config, int argc, char *const *argv,
                   char *const *environment) {
  uv_replace_allocator(malloc, grow_or_end, calloc, free);
  struct vow_daemon *daemon = calloc(1, sizeof *daemon);
  if (daemon == NULL || uv_loop_init(&daemon->loop) != 0) {
    fprintf(stderr, "vowd: " NO_MEMORY "\n");
    free(daemon);
    vow_config_fini(config);
    return VOW_EXIT_FAILURE;
  }
  daemon->config = *config;
  memset(config, 0, sizeof *config);
  daemon->argc = argc;
  daemon->argv = argv;
  daemon->environment = environment;
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN); /* the write fails, and the log says why */
  vow_logger_init(&daemon->logger, STDERR_FILENO);
  daemon->notes = (struct vow_notes){
      .logger = &daemon->logger, .loop = &daemon->loop, .config = &daemon->config};
  daemon->logger.level = (enum vow_logger_level)daemon->config.log_level;
  daemon->logger.format = (enum vow_logger_format)daemon->config.log_format;
  say_lines(daemon, VOW_LEVEL_WARN, "configuration", "", &daemon->config.warnings);
  share_descriptors(daemon);
  int code = serve(daemon);
  vow_deputy_close(daemon->deputy);
  run(daemon);
  uv_loop_close(&daemon->loop);
  vow_api_free(daemon->api);
  vow_logger_fini(&daemon->logger);
  vow_config_fini(&daemon->config);
  free(daemon);
  return code;
}
