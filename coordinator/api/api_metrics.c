/*
 * GET /metrics: Prometheus' text format, version 0.0.4.
 */
#include <stdio.h>

#include "api_internal.h"

static void head(struct vow_buf *out, const char *name, const char *type, const char *help) {
  vow_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(struct vow_buf *out, const char *name, const char *type, const char *help,
                uint64_t value) {
  head(out, name, type, help);
  vow_buf_printf(out, "%s %llu\n", name, (unsigned long long)value);
}

static void labelled(struct vow_buf *out, const char *name, const char *label, const char *word,
                     uint64_t value) {
  vow_buf_printf(out, "%s{%s=\"%s\"} %llu\n", name, label, word, (unsigned long long)value);
}

static void put_transactions(struct vow_buf *out, const struct vow_core_counts *counts) {
  head(out, "vow_transactions_open", "gauge", "Transactions that have not ended, by state.");
  for (int state = VOW_TXN_ACTIVE; state <= VOW_TXN_ABORTED; state++) {
    labelled(out, "vow_transactions_open", "state", vow_txn_state_name((enum vow_txn_state)state),
             counts->open[state]);
  }
  one(out, "vow_transactions_open_heuristic", "gauge",
      "Transactions with a heuristic outcome that wait for an operator.", counts->open_heuristic);
  one(out, "vow_transactions_begun_total", "counter", "Transactions begun.", counts->begun);
  head(out, "vow_transactions_total", "counter", "Transactions decided, by outcome.");
  labelled(out, "vow_transactions_total", "outcome", "committed", counts->committed);
  labelled(out, "vow_transactions_total", "outcome", "aborted", counts->aborted);
  head(out, "vow_heuristic_total", "counter", "Heuristic outcomes, by kind.");
  for (int h = VOW_HEURISTIC_COMMIT; h <= VOW_HEURISTIC_HAZARD; h++) {
    labelled(out, "vow_heuristic_total", "kind", vow_heuristic_name((enum vow_heuristic)h),
             counts->heuristic[h]);
  }
  one(out, "vow_recovering", "gauge", "Transactions of the last run that have not ended yet.",
      counts->recovering);
  one(out, "vow_held_back", "gauge", "Those that wait until the log is reconciled.",
      counts->held_back);
  one(out, "vow_recovered_total", "counter",
      "Transactions of the last run that have ended since the start.", counts->recovered);
}

static void put_messages(struct vow_buf *out, const struct vow_core_counts *counts,
                         const struct vow_driver_status *status) {
  one(out, "vow_endpoints", "gauge", "Participants' URLs that are known.", counts->endpoints);
  one(out, "vow_endpoints_down", "gauge", "Those that do not answer.", counts->endpoints_down);
  one(out, "vow_messages_total", "counter", "Messages sent to participants.", status->messages);
  one(out, "vow_requests_total", "counter",
      "Requests to participants; a batch is one and carries several messages.",
      status->sender.requests);
  one(out, "vow_messages_queued", "gauge", "Messages that wait for their participant.",
      counts->messages_queued);
  one(out, "vow_requests_inflight", "gauge", "Requests to participants under way.",
      counts->requests_inflight);
  head(out, "vow_requests_failed_total", "counter",
       "Requests to participants that got no answer, by why.");
  labelled(out, "vow_requests_failed_total", "why", "unreachable", status->sender.unreachable);
  labelled(out, "vow_requests_failed_total", "why", "timeout", status->sender.timeouts);
  labelled(out, "vow_requests_failed_total", "why", "protocol", status->sender.garbage);
}

static void put_log(struct vow_buf *out, struct vow_driver *driver,
                    const struct vow_driver_status *status) {
  struct vow_log_counts counts;
  vow_driver_log_counts(driver, &counts);
  one(out, "vow_log_position", "counter", "Position up to which the log is durable.",
      status->durable);
  one(out, "vow_log_records_total", "counter", "Records written.", counts.records);
  one(out, "vow_log_batches_total", "counter", "Batches they were written in.", counts.batches);
  one(out, "vow_log_syncs_total", "counter", "Syncs of the log.", counts.syncs);
  one(out, "vow_log_joined_total", "counter",
      "Records spared because a newer one of the same transaction came before the sync.",
      counts.joined);
  one(out, "vow_log_queued", "gauge", "Records that wait for the next sync.", counts.queued);
  one(out, "vow_log_checkpoints_total", "counter", "Checkpoints.", counts.checkpoints);
  one(out, "vow_log_checkpoint_failures_total", "counter", "Checkpoints that failed.",
      counts.checkpoint_failures);
  one(out, "vow_log_witness_failures_total", "counter", "Writes of the witness file that failed.",
      counts.witness_failures);
  one(out, "vow_log_purged_total", "counter", "Ended transactions removed by age or count.",
      counts.purged);
  one(out, "vow_log_wal_bytes", "gauge", "Size of the write-ahead log.", counts.wal_bytes);
  one(out, "vow_log_database_bytes", "gauge", "Size of the database.", counts.database_bytes);
  one(out, "vow_log_space_low", "gauge", "1 when new transactions are refused for want of room.",
      status->log_refuses == VOW_E_LOG_FULL);
  one(out, "vow_log_moved", "gauge", "1 when the log is not at its path: act before vowd ends.",
      status->log_refuses == VOW_E_LOG_MOVED);
}

static void put_server(struct vow_buf *out, const struct vow_api *api) {
  struct vow_server_counts counts;
  vow_server_counts(api->server, &counts);
  one(out, "vow_http_connections", "gauge", "Clients' connections.", counts.connections);
  one(out, "vow_http_requests_waiting", "gauge", "Requests that wait for their answer.",
      counts.requests_waiting);
  one(out, "vow_http_requests_total", "counter", "Requests begun.", counts.requests);
  one(out, "vow_http_hangups_total", "counter", "Clients that left before their answer.",
      counts.hangups);
  one(out, "vow_http_body_bytes", "gauge", "Of requests, held: 512 MiB are the limit.",
      counts.body_bytes);
  one(out, "vow_http_answer_bytes", "gauge",
      "Of long answers on their way to clients: 64 MiB are the limit.", counts.answer_bytes);
  head(out, "vow_http_answers_total", "counter", "Answers, by class of the status.");
  for (unsigned digit = 2; digit <= 5; digit++) {
    char class[4];
    snprintf(class, sizeof class, "%uxx", digit);
    labelled(out, "vow_http_answers_total", "class", class, api->answers[digit]);
  }
}

void vow_api_metrics(struct vow_api_call *call) {
  struct vow_api *api = call->api;
  struct vow_core_counts counts;
  struct vow_driver_status status;
  vow_core_counts(vow_driver_core(api->driver), &counts);
  vow_driver_status(api->driver, &status);
  (void)vow_api_write(call);
  struct vow_buf *out = &api->out;
  head(out, "vow_info", "gauge", "The version, as a label.");
  labelled(out, "vow_info", "version", VOW_VERSION, 1);
  one(out, "vow_start_time_seconds", "gauge", "When the process started, as Unix time.",
      api->started_ms / 1000);
  one(out, "vow_log_starts", "gauge", "Starts on this log, counted.", status.log.starts);
  one(out, "vow_quarantined", "gauge",
      "1 when the log may have lost records and waits for an operator: nothing is begun.",
      status.log.quarantined_ms != 0);
  put_transactions(out, &counts);
  put_messages(out, &counts, &status);
  put_log(out, api->driver, &status);
  put_server(out, api);
  if (out->error != VOW_OK) {
    vow_api_problem(call, out->error, NULL);
    return;
  }
  vow_api_answer_text(call, "text/plain; version=0.0.4; charset=utf-8", out->data, out->bytes);
}
