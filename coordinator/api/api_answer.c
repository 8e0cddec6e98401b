/*
 * Answers: JSON bodies, problems, and what they say of a transaction. See api_internal.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_internal.h"
#include "message.h"

#define OUT_KEPT_BYTES (1024u * 1024) /* a larger scratch buffer is given back */

const char vow_api_no_memory[] =
    "{\"type\":\"urn:vow:out-of-memory\",\"title\":\"out of memory\",\"status\":500}";

static void send(struct vow_api_call *call, int status, const char *content_type, const char *text,
                 size_t bytes) {
  struct vow_server_request *request = call->request;
  call->api->answers[status / 100 % 6]++;
  vow_api_call_free(call); /* the request is the server's after its answer */
  vow_request_answer(request, status, content_type, text, bytes);
}

struct vow_jsonw *vow_api_write(struct vow_api_call *call) {
  struct vow_api *api = call->api;
  vow_buf_reset(&api->out);
  vow_jsonw_init(&api->writer, &api->out);
  return &api->writer;
}

bool vow_api_has_room(struct vow_api_call *call, uint64_t bytes) {
  if (vow_server_answer_bytes(call->api->server) + bytes <= API_ANSWERS_BYTES_MAX) return true;
  vow_api_problem(
      call, VOW_E_OVERLOADED,
      "long answers of 64 MiB are on their way to clients, who have to read them first; "
      "ask again, or for less (limit)");
  return false;
}

static void send_out(struct vow_api_call *call, int status, const char *content_type) {
  struct vow_buf *out = &call->api->out;
  bool is_long =
      call->route != NULL && call->route->is_long && out->bytes >= VOW_SERVER_SHORT_BYTES;
  if (out->error == VOW_OK && is_long && !vow_api_has_room(call, out->bytes)) return;
  if (out->error != VOW_OK) {
    send(call, 500, "application/problem+json", vow_api_no_memory, strlen(vow_api_no_memory));
  } else {
    send(call, status, content_type, out->data, out->bytes);
  }
  if (out->capacity > OUT_KEPT_BYTES) vow_buf_fini(out);
}

void vow_api_answer(struct vow_api_call *call, int status) {
  send_out(call, status, "application/json");
}

void vow_api_answer_text(struct vow_api_call *call, const char *content_type, const char *text,
                         size_t bytes) {
  send(call, 200, content_type, text, bytes);
}

void vow_api_transaction(struct vow_api_call *call, int status, const struct vow_txn *txn) {
  vow_txn_json_write(vow_api_write(call), NULL, txn, VOW_TXN_JSON_SUMMARY);
  vow_api_answer(call, status);
}

void vow_api_transaction_whole(struct vow_api_call *call, const struct vow_txn *txn) {
  vow_txn_json_write(vow_api_write(call), NULL, txn, VOW_TXN_JSON_WHOLE);
  vow_api_answer(call, 200);
}

/* ---- problems ---- */

static bool is_of_the_log(enum vow_error error) {
  return error == VOW_E_LOG_FULL || error == VOW_E_LOG_MOVED;
}

static const char *retry_after(enum vow_error error) {
  return is_of_the_log(error) ? "10" : error == VOW_E_DRAINING ? "5" : "1";
}

static void note_refused(struct vow_api_call *call, enum vow_error error, const char *detail) {
  struct vow_api *api = call->api;
  if (error != VOW_E_OVERLOADED && !is_of_the_log(error)) return;
  if (!vow_logger_allow(&api->refused, 5, vow_api_wall_ms())) return;
  if (!vow_logger_begin(api->logger, VOW_LEVEL_WARN, "refused", "a request was refused: %s",
                        detail != NULL ? detail : vow_error_text(error))) {
    return;
  }
  vow_logger_text(api->logger, "problem", vow_error_slug(error));
  if (api->refused.suppressed > 0)
    vow_logger_uint(api->logger, "unwritten", api->refused.suppressed);
  api->refused.suppressed = 0;
  vow_logger_end(api->logger);
}

static struct vow_jsonw *problem_begin(struct vow_api_call *call, enum vow_error error,
                                       const char *detail) {
  int status = vow_error_http_status(error);
  struct vow_jsonw *w = vow_api_write(call);
  note_refused(call, error, detail);
  if (status == 503 || status == 507) {
    vow_request_add_header(call->request, "Retry-After", retry_after(error));
  }
  vow_problem_begin(w, error, detail);
  return w;
}

static void problem_end(struct vow_api_call *call, enum vow_error error) {
  vow_jsonw_end(&call->api->writer);
  send_out(call, vow_error_http_status(error), "application/problem+json");
}

void vow_api_problem(struct vow_api_call *call, enum vow_error error, const char *detail) {
  vow_api_problem_of(call, error, detail, NULL);
}

/* A sentence where the core gives none. */
static const char *default_detail(const struct vow_config *config, enum vow_error error,
                                  const struct vow_txn *txn, char *out, size_t bytes) {
  if (error == VOW_E_LOADING) return "the log is still being read; ask again in a moment";
  if (error == VOW_E_LOG_MOVED) return VOW_LOG_MOVED_WHY;
  if (error == VOW_E_LOG_FULL) {
    unsigned long long reserve = config->disk_reserve_bytes;
    snprintf(out, bytes,
             "the log's disk needs %llu bytes free beside the %llu (disk_reserve_bytes) that are "
             "kept for transactions that are open; make room there, and it goes on by itself",
             VOW_LOG_SPACE_AGAIN(reserve), reserve);
    return out;
  }
  if (txn == NULL) return NULL;
  if (error == VOW_E_ABORTED || error == VOW_E_HEURISTIC) return txn->reason;
  if (error != VOW_E_ILLEGAL_STATE) return NULL;
  snprintf(out, bytes, "the transaction is %s", vow_txn_state_name(vow_txn_shown_state(txn)));
  return out;
}

void vow_api_problem_of(struct vow_api_call *call, enum vow_error error, const char *detail,
                        const struct vow_txn *txn) {
  char text[192];
  if (detail == NULL) {
    detail = default_detail(call->api->config, error, txn, text, sizeof text);
  }
  struct vow_jsonw *w = problem_begin(call, error, detail);
  if (txn != NULL && error == VOW_E_ILLEGAL_STATE) {
    vow_jsonw_string(w, "state", vow_txn_state_name(vow_txn_shown_state(txn)));
  }
  if (txn != NULL && (error == VOW_E_ABORTED || error == VOW_E_HEURISTIC)) {
    enum vow_outcome outcome = vow_txn_outcome(txn);
    vow_jsonw_string(w, "reason", txn->reason);
    if (outcome != VOW_OUTCOME_NONE) vow_jsonw_string(w, "outcome", vow_outcome_name(outcome));
    vow_txn_json_write(w, "transaction", txn, VOW_TXN_JSON_WHOLE);
  }
  problem_end(call, error);
}

void vow_api_presumed_aborted(struct vow_api_call *call) {
  struct vow_jsonw *w = problem_begin(
      call, VOW_E_ABORTED, "there is no record of it, so it was aborted before it was decided");
  vow_jsonw_string(w, "outcome", vow_outcome_name(VOW_OUTCOME_ABORTED));
  vow_jsonw_bool(w, "presumed", true);
  problem_end(call, VOW_E_ABORTED);
}

void vow_api_unknown(struct vow_api_call *call) {
  const char *detail = "it is another coordinator's: this log never issued its id";
  if (vow_core_quarantined(vow_driver_core(call->api->driver))) {
    vow_api_problem(call, VOW_E_QUARANTINED,
                    "the log may have lost its record: until an operator has run `vowctl "
                    "reconcile` nobody can tell what became of it");
    return;
  }
  if (vow_api_is_presumed(call)) {
    detail = "there is no record of it, so it was aborted before it was decided";
  } else if (vow_api_was_lost(call->api, call->id)) {
    detail =
        "this log has lost records of its time once and was reconciled: it may have committed, "
        "been aborted or never been";
  } else if (vow_api_is_of_this_log(call->api, call->id)) {
    detail = "it is older than the kept history: it may have committed, been aborted or never been";
  }
  vow_api_problem(call, VOW_E_UNKNOWN_TRANSACTION, detail);
}

void vow_api_location(struct vow_api_call *call, struct vow_id id) {
  char location[sizeof "/v1/transactions/" + VOW_ID_TEXT_BYTES] = "/v1/transactions/";
  vow_id_format(id, location + strlen(location));
  vow_request_add_header(call->request, "Location", location);
}

void vow_api_commit_outcome(struct vow_api_call *call, const struct vow_txn *txn) {
  enum vow_error error = vow_txn_commit_error(txn);
  if (error == VOW_OK) {
    vow_api_transaction(call, 200, txn);
  } else {
    vow_api_problem_of(call, error, NULL, txn);
  }
}
