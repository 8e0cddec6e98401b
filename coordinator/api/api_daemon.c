/*
 * The daemon about itself: participants, status, health, readiness, backup, the OpenAPI file.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "api_internal.h"

#define BACKUP_PATH_BYTES_MAX 4000

/* The OpenAPI file itself, put here by the assembler; CMake names it. */
extern const char vow_api_openapi_text[];
extern const char vow_api_openapi_end[];
__asm__(
    ".section .rodata\n"
    ".global vow_api_openapi_text\n"
    ".global vow_api_openapi_end\n"
    "vow_api_openapi_text:\n"
    ".incbin \"" VOW_OPENAPI_FILE
    "\"\n"
    "vow_api_openapi_end:\n"
    ".byte 0\n"
    ".previous\n");

void vow_api_openapi(struct vow_api_call *call) {
  vow_api_answer_text(call, "application/yaml", vow_api_openapi_text,
                      (size_t)(vow_api_openapi_end - vow_api_openapi_text));
}

/* ---- participants ---- */

static uint64_t monotonic_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static const char *configured_name(const struct vow_config *config, const char *url) {
  for (uint32_t i = 0; i < config->participant_count; i++) {
    if (strcmp(config->participants[i].url, url) == 0) return config->participants[i].name;
  }
  return NULL;
}

static void write_participant(struct vow_jsonw *w, const char *name,
                              const struct vow_endpoint_view *view, const char *state) {
  vow_jsonw_object(w, NULL);
  vow_jsonw_string(w, "name", name);
  vow_jsonw_string(w, "url", view->url);
  vow_jsonw_string(w, "state", state);
  vow_jsonw_uint(w, "branches", view->branches);
  vow_jsonw_uint(w, "queued", view->queued);
  vow_jsonw_uint(w, "inflight", view->inflight);
  vow_jsonw_uint(w, "failures_in_row", view->failures_in_row);
  if (!view->up) vow_jsonw_uint(w, "retry_in_ms", view->retry_in_ms);
  vow_jsonw_string(w, "last_error", view->last_error);
  vow_jsonw_end(w);
}

/* The configured ones that the core has no endpoint for. `known` has a flag for each. */
static void write_idle(struct vow_jsonw *w, const struct vow_config *config, const bool *known) {
  for (uint32_t i = 0; i < config->participant_count; i++) {
    if (known[i]) continue;
    struct vow_endpoint_view view = {.url = config->participants[i].url, .up = true};
    write_participant(w, config->participants[i].name, &view, "idle");
  }
}

void vow_api_participants(struct vow_api_call *call) {
  const struct vow_config *config = call->api->config;
  const struct vow_core *core = vow_driver_core(call->api->driver);
  struct vow_endpoint_view view;
  uint64_t now_ms = monotonic_ms();
  bool *known = calloc(config->participant_count + 1, sizeof *known);
  if (known == NULL) {
    vow_api_problem(call, VOW_E_NO_MEMORY, NULL);
    return;
  }
  struct vow_jsonw *w = vow_api_write(call);
  vow_jsonw_object(w, NULL);
  vow_jsonw_array(w, "participants");
  for (uint32_t i = 0; vow_core_endpoint_at(core, i, now_ms, &view); i++) {
    for (uint32_t j = 0; j < config->participant_count; j++) {
      if (strcmp(config->participants[j].url, view.url) == 0) known[j] = true;
    }
    bool idle = view.up && view.branches == 0;
    write_participant(w, configured_name(config, view.url), &view,
                      !view.up ? "down"
                      : idle   ? "idle"
                               : "up");
  }
  write_idle(w, config, known);
  vow_jsonw_end(w);
  vow_jsonw_end(w);
  free(known);
  vow_api_answer(call, 200);
}

/* ---- health ---- */

void vow_api_healthz(struct vow_api_call *call) {
  struct vow_jsonw *w = vow_api_write(call);
  vow_jsonw_object(w, NULL);
  vow_jsonw_string(w, "status", "ok");
  vow_jsonw_end(w);
  vow_api_answer(call, 200);
}

#define QUARANTINE_TODO \
  "stop vowd, run `vowctl reconcile --log %s`, and start vowd again; the runbook says how"
#define QUARANTINE_REASON "quarantine: the log may have lost records; " QUARANTINE_TODO
#define TODO_BYTES        4200 /* the log's path is at most 4000 */

/* Why new transactions are refused, or NULL; some reasons are written into `room`. */
static const char *why_not_ready(const struct vow_api *api, char room[TODO_BYTES]) {
  struct vow_driver_status status;
  vow_driver_status(api->driver, &status);
  if (status.log_refuses == VOW_E_LOG_MOVED) return VOW_LOG_MOVED_WHY;
  if (api->draining) return "the daemon is shutting down";
  if (vow_core_loading(vow_driver_core(api->driver))) return "the log is still being read";
  if (status.log.quarantined_ms != 0) {
    snprintf(room, TODO_BYTES, QUARANTINE_REASON, api->config->log);
    return room;
  }
  if (status.log_refuses != VOW_OK) return "the disk of the log is nearly full";
  return NULL;
}

void vow_api_readyz(struct vow_api_call *call) {
  struct vow_core_counts counts;
  char room[TODO_BYTES];
  const char *why = why_not_ready(call->api, room);
  vow_core_counts(vow_driver_core(call->api->driver), &counts);
  struct vow_jsonw *w = vow_api_write(call);
  vow_jsonw_object(w, NULL);
  vow_jsonw_bool(w, "ready", why == NULL);
  vow_jsonw_string(w, "reason", why);
  vow_jsonw_uint(w, "recovering", counts.recovering);
  vow_jsonw_uint(w, "recovered", counts.recovered);
  vow_jsonw_end(w);
  if (why != NULL) vow_request_add_header(call->request, "Retry-After", "1");
  vow_api_answer(call, why == NULL ? 200 : 503);
}

/* ---- status ---- */

static void write_transactions(struct vow_jsonw *w, const struct vow_core_counts *counts) {
  vow_jsonw_object(w, "open");
  for (int state = VOW_TXN_ACTIVE; state <= VOW_TXN_ABORTED; state++) {
    vow_jsonw_uint(w, vow_txn_state_name((enum vow_txn_state)state), counts->open[state]);
  }
  vow_jsonw_uint(w, "heuristic", counts->open_heuristic);
  vow_jsonw_end(w);
  vow_jsonw_object(w, "totals");
  vow_jsonw_uint(w, "begun", counts->begun);
  vow_jsonw_uint(w, "committed", counts->committed);
  vow_jsonw_uint(w, "aborted", counts->aborted);
  vow_jsonw_object(w, "heuristic");
  for (int h = VOW_HEURISTIC_COMMIT; h <= VOW_HEURISTIC_HAZARD; h++) {
    vow_jsonw_uint(w, vow_heuristic_name((enum vow_heuristic)h), counts->heuristic[h]);
  }
  vow_jsonw_end(w);
  vow_jsonw_end(w);
  vow_jsonw_object(w, "endpoints");
  vow_jsonw_uint(w, "total", counts->endpoints);
  vow_jsonw_uint(w, "down", counts->endpoints_down);
  vow_jsonw_uint(w, "requests_inflight", counts->requests_inflight);
  vow_jsonw_uint(w, "messages_queued", counts->messages_queued);
  vow_jsonw_end(w);
}

static void write_log(struct vow_jsonw *w, struct vow_driver *driver, uint64_t durable) {
  struct vow_log_counts counts;
  vow_driver_log_counts(driver, &counts);
  vow_jsonw_object(w, "log");
  vow_jsonw_uint(w, "position", durable);
  vow_jsonw_uint(w, "records", counts.records);
  vow_jsonw_uint(w, "batches", counts.batches);
  vow_jsonw_uint(w, "syncs", counts.syncs);
  vow_jsonw_uint(w, "joined", counts.joined);
  vow_jsonw_uint(w, "checkpoints", counts.checkpoints);
  vow_jsonw_uint(w, "checkpoint_failures", counts.checkpoint_failures);
  vow_jsonw_uint(w, "witness_failures", counts.witness_failures);
  vow_jsonw_uint(w, "purged", counts.purged);
  vow_jsonw_uint(w, "wal_bytes", counts.wal_bytes);
  vow_jsonw_uint(w, "database_bytes", counts.database_bytes);
  vow_jsonw_uint(w, "queued", counts.queued);
  vow_jsonw_end(w);
}

static void write_quarantine(struct vow_jsonw *w, const struct vow_log_info *log, const char *path,
                             uint64_t held_back) {
  char todo[TODO_BYTES];
  if (log->quarantined_ms == 0) return;
  snprintf(todo, sizeof todo, QUARANTINE_TODO, path);
  vow_jsonw_object(w, "quarantine");
  vow_jsonw_time(w, "since", log->quarantined_ms);
  vow_jsonw_string(w, "why", log->why);
  vow_log_position_write(w, "seen", log->seen, false);
  vow_jsonw_uint(w, "held_back", held_back);
  vow_jsonw_string(w, "todo", todo);
  vow_jsonw_end(w);
}

static void write_limits(struct vow_jsonw *w, const struct vow_config *config) {
  vow_jsonw_object(w, "limits");
  vow_jsonw_uint(w, "body_bytes_max", config->limits_body_bytes);
  vow_jsonw_uint(w, "branches_max", config->limits_branches);
  vow_jsonw_uint(w, "metadata_bytes_max", config->limits_metadata_bytes);
  vow_jsonw_uint(w, "transactions_max", config->limits_transactions);
  vow_jsonw_uint(w, "waiters_max", config->limits_waiters);
  vow_jsonw_uint(w, "history_max", config->limits_history);
  vow_jsonw_uint(w, "transaction_timeout_ms", config->transaction_timeout_ms);
  vow_jsonw_uint(w, "transaction_timeout_max_ms", config->limits_transaction_timeout_ms);
  vow_jsonw_uint(w, "prepare_timeout_ms", config->prepare_timeout_ms);
  vow_jsonw_uint(w, "wait_timeout_ms", config->wait_timeout_ms);
  vow_jsonw_end(w);
}

void vow_api_status(struct vow_api_call *call) {
  struct vow_api *api = call->api;
  struct vow_core_counts counts;
  char room[TODO_BYTES];
  struct vow_driver_status status;
  const struct vow_core *core = vow_driver_core(api->driver);
  vow_core_counts(core, &counts);
  vow_driver_status(api->driver, &status);
  struct vow_jsonw *w = vow_api_write(call);
  vow_jsonw_object(w, NULL);
  vow_jsonw_string(w, "version", VOW_VERSION);
  vow_jsonw_time(w, "started", api->started_ms);
  vow_jsonw_uint(w, "starts", status.log.starts);
  vow_jsonw_uint(w, "incarnation", status.log.incarnation);
  vow_jsonw_bool(w, "ready", why_not_ready(api, room) == NULL);
  vow_jsonw_bool(w, "loading", vow_core_loading(core));
  vow_jsonw_bool(w, "draining", api->draining);
  vow_jsonw_bool(w, "log_space_low", status.log_refuses == VOW_E_LOG_FULL);
  vow_jsonw_bool(w, "log_moved", status.log_refuses == VOW_E_LOG_MOVED);
  write_quarantine(w, &status.log, api->config->log, counts.held_back);
  vow_jsonw_uint(w, "recovering", counts.recovering);
  vow_jsonw_uint(w, "recovered", counts.recovered);
  write_transactions(w, &counts);
  write_log(w, api->driver, status.durable);
  write_limits(w, api->config);
  vow_jsonw_end(w);
  vow_api_answer(call, 200);
}

/* ---- backup ---- */

static void on_backup(void *context, const struct vow_log_result *result) {
  struct vow_api_call *call = context;
  const char *path = call->more;
  struct stat st;
  if (call->request == NULL) {
    vow_api_call_free(call);
    return;
  }
  if (result->error == VOW_OK && stat(path, &st) == 0) {
    struct vow_jsonw *w = vow_api_write(call);
    vow_jsonw_object(w, NULL);
    vow_jsonw_string(w, "path", path);
    vow_jsonw_uint(w, "bytes", (uint64_t)st.st_size);
    vow_jsonw_end(w);
    vow_api_answer(call, 200);
    return;
  }
  enum vow_error error = result->error == VOW_OK ? VOW_E_BACKUP_IO : result->error;
  const char *why = result->error == VOW_OK ? "it was written, and is not there now" : result->why;
  if (vow_logger_begin(call->api->logger, VOW_LEVEL_WARN, "backup-failed", "the backup failed")) {
    vow_logger_text(call->api->logger, "path", path);
    vow_logger_text(call->api->logger, "why", why);
    vow_logger_end(call->api->logger);
  }
  vow_api_problem(call, error, why);
}

/* False: the call was answered. */
static bool read_backup(struct vow_api_call *call) {
  struct vow_json_object object;
  struct stat st;
  bool present;
  const char *path = NULL;
  if (!vow_api_read_body(call, false, &object, &present)) return false;
  if (vow_json_get_string(&object, "path", VOW_JSON_REQUIRED, BACKUP_PATH_BYTES_MAX, &path) &&
      path != NULL && (path[0] != '/' || path[1] == '\0')) {
    vow_json_object_fail(&object, "path", "must be an absolute path of a file that does not exist");
  }
  if (!vow_api_end_body(call, &object)) return false;
  assert(path != NULL); /* it is required */
  if (lstat(path, &st) == 0) {
    vow_api_problem(call, VOW_E_BACKUP_EXISTS,
                    "there is something at this path, and it is never overwritten; name another");
    return false;
  }
  call->more = strdup(path);
  call->free_more = free;
  if (call->more != NULL) return true;
  vow_api_problem(call, VOW_E_NO_MEMORY, NULL);
  return false;
}

void vow_api_backup(struct vow_api_call *call) {
  if (!read_backup(call)) return;
  struct vow_log_query query = {.type = VOW_LOG_QUERY_BACKUP, .path = call->more};
  vow_logger_say(call->api->logger, VOW_LEVEL_INFO, "backup", "a backup of the log is asked for");
  vow_driver_write_ends(call->api->driver);
  vow_api_query(call, &query, on_backup);
}
