/*
 * Looking at transactions one by one: the whole, its history, its outcome; and outcomes in bulk,
 * for participants in doubt.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_internal.h"
#include "message.h"

/* ---- one transaction ---- */

static void get_found(struct vow_api_call *call, const struct vow_txn *txn) {
  if (txn == NULL) {
    vow_api_unknown(call);
  } else {
    vow_api_transaction_whole(call, txn);
  }
}

void vow_api_get(struct vow_api_call *call) {
  vow_api_find(call, get_found);
}

/* ---- history ---- */

struct history_query {
  uint64_t branch; /* 0: any */
  uint64_t limit, from;
  enum vow_history_kind kind;
  bool has_kind;
};

/* The cursor is the number of the next entry, counted with those that were dropped. */
static void history_found(struct vow_api_call *call, const struct vow_txn *txn) {
  const struct history_query *query = call->more;
  uint64_t written = 0;
  if (txn == NULL) {
    vow_api_unknown(call);
    return;
  }
  struct vow_jsonw *w = vow_api_write(call);
  vow_jsonw_object(w, NULL);
  vow_jsonw_array(w, "history");
  uint64_t i = query->from > txn->history_dropped ? query->from - txn->history_dropped : 0;
  for (; i < txn->history_count && written < query->limit; i++) {
    const struct vow_history *entry = &txn->history[i];
    if (query->has_kind && entry->kind != query->kind) continue;
    if (query->branch != 0 && entry->branch != query->branch) continue;
    vow_txn_json_write_history(w, NULL, entry);
    written++;
  }
  vow_jsonw_end(w);
  if (i < txn->history_count) {
    char cursor[32];
    i += txn->history_dropped;
    snprintf(cursor, sizeof cursor, "h%llu", (unsigned long long)i);
    vow_jsonw_string(w, "next_cursor", cursor);
  }
  vow_jsonw_end(w);
  vow_api_answer(call, 200);
}

/* False: the call was answered. */
static bool read_history_query(struct vow_api_call *call, struct history_query *query) {
  const char *kind = vow_api_query_text(call, "kind");
  const char *cursor = vow_api_query_text(call, "cursor");
  if (!vow_api_query_uint(call, "branch", 1, UINT32_MAX, &query->branch) ||
      !vow_api_query_uint(call, "limit", 1, API_LIMIT_MAX, &query->limit)) {
    return false;
  }
  if (kind != NULL) {
    query->has_kind = vow_history_kind_parse(kind, &query->kind);
    if (!query->has_kind) {
      vow_api_problem(call, VOW_E_INVALID_REQUEST,
                      "kind must be a kind of history entry, such as vote or decided");
      return false;
    }
  }
  if (cursor == NULL) return true;
  size_t digits = cursor[0] == 'h' ? strspn(cursor + 1, "0123456789") : 0;
  if (digits == 0 || digits > 10 || cursor[1 + digits] != '\0') {
    vow_api_problem(call, VOW_E_INVALID_REQUEST,
                    "cursor must be a next_cursor that this route has answered");
    return false;
  }
  query->from = strtoull(cursor + 1, NULL, 10);
  return true;
}

void vow_api_history(struct vow_api_call *call) {
  struct history_query *query = calloc(1, sizeof *query);
  if (query == NULL) {
    vow_api_problem(call, VOW_E_NO_MEMORY, NULL);
    return;
  }
  query->limit = API_LIMIT_DEFAULT;
  call->more = query;
  call->free_more = free;
  if (read_history_query(call, query)) vow_api_find(call, history_found);
}

/* ---- outcomes ---- */

#define FOREIGN_LINES_MAX 10
#define NEVER_ISSUED                                                                        \
  "somebody asks for a transaction of a time when this log was not running: it is another " \
  "coordinator's, or this log has lost records and has to be reconciled; it is answered "   \
  "\"unknown\""
#define NOT_RECONCILED                                                                         \
  "somebody asks for a transaction of before this log was reconciled, and there is no record " \
  "of it: if a participant is in doubt of it, stop vowd and reconcile again; it is answered "  \
  "\"unknown\""

/* Whoever may send a request is believed (C11), so that it must be seen who it was. */
static void witness(struct vow_api_call *call, struct vow_log_position seen,
                    const struct vow_id *ids, size_t count) {
  char peer[VOW_PEER_BYTES], id[VOW_ID_TEXT_BYTES] = "nothing", by[256];
  vow_request_peer(call->request, peer);
  if (count > 0) vow_id_format(ids[0], id);
  snprintf(by, sizeof by, "a participant that asks from %s for %s%s", peer, id,
           count > 1 ? " and others" : "");
  vow_driver_witness(call->api->driver, seen, by);
}

/* Nobody is in quarantine for that: a request may have gone astray. But if not, records are lost.
 */
static void note_foreign(struct vow_api_call *call, struct vow_id id) {
  struct vow_logger *logger = call->api->logger;
  struct vow_logger_rate *rate = &call->api->foreign;
  char peer[VOW_PEER_BYTES];
  bool lost = vow_api_was_lost(call->api, id);
  if (!lost && !vow_core_never_issued(vow_driver_core(call->api->driver), id)) return;
  if (!vow_logger_allow(rate, FOREIGN_LINES_MAX, vow_api_wall_ms())) return;
  if (!vow_logger_begin(logger, VOW_LEVEL_WARN, lost ? "not-reconciled" : "never-issued", "%s",
                        lost ? NOT_RECONCILED : NEVER_ISSUED)) {
    return;
  }
  vow_request_peer(call->request, peer);
  vow_logger_id(logger, "transaction", id);
  vow_logger_text(logger, "by", peer);
  if (rate->suppressed > 0) vow_logger_uint(logger, "unwritten", rate->suppressed);
  rate->suppressed = 0;
  vow_logger_end(logger);
}

/* What may be said of a transaction that the core or the log has. */
static enum vow_inquiry_answer answer_of(const struct vow_core *core, const struct vow_txn *txn) {
  if (vow_core_held_back(core, txn->id)) return VOW_INQUIRY_UNKNOWN;
  switch (vow_txn_outcome(txn)) {
    case VOW_OUTCOME_COMMITTED:
      return VOW_INQUIRY_COMMITTED;
    case VOW_OUTCOME_ABORTED:
      return VOW_INQUIRY_ABORTED;
    default:
      return VOW_INQUIRY_UNDECIDED;
  }
}

/* What may be said of one that neither has. A commit is kept until every branch has acknowledged
 * it, and for ever if one was settled by hand instead, so whoever is in doubt and asks is in doubt
 * of an abort. Of anybody else that is not so, below what was purged: it is marked. */
static void presume(struct vow_api_call *call, struct vow_id purged_to,
                    struct vow_inquiry_result *result) {
  bool ours = vow_api_is_of_this_log(call->api, result->transaction);
  result->answer = ours ? VOW_INQUIRY_ABORTED : VOW_INQUIRY_UNKNOWN;
  result->presumed = ours;
  result->purged = ours && vow_id_compare(result->transaction, purged_to) <= 0;
  if (!ours) note_foreign(call, result->transaction);
}

static void outcome_found(struct vow_api_call *call, const struct vow_txn *txn) {
  const struct vow_core *core = vow_driver_core(call->api->driver);
  struct vow_inquiry_result result = {.transaction = call->id};
  if (txn == NULL) {
    presume(call, call->purged_to, &result);
  } else {
    result.answer = answer_of(core, txn);
  }
  vow_inquiry_result_write(vow_api_write(call), &result, vow_core_log(core));
  vow_api_answer(call, 200);
}

/* "INCARNATION.POSITION". False: the call was answered. */
static bool take_seen(struct vow_api_call *call) {
  const char *text = vow_api_query_text(call, "seen");
  struct vow_log_position seen = {0};
  char end;
  if (text == NULL) return true;
  bool shape =
      strspn(text, "0123456789.") == strlen(text) && strlen(text) <= 33 &&
      sscanf(text, "%" SCNu64 ".%" SCNu64 "%c", &seen.incarnation, &seen.position, &end) == 2;
  if (!shape || seen.incarnation == 0 || seen.incarnation > VOW_LOG_NUMBER_MAX ||
      seen.position > VOW_LOG_NUMBER_MAX) {
    vow_api_problem(call, VOW_E_INVALID_REQUEST,
                    "seen must be the incarnation and the position of the log, with a dot between");
    return false;
  }
  witness(call, seen, &call->id, 1);
  return true;
}

void vow_api_outcome(struct vow_api_call *call) {
  if (take_seen(call)) vow_api_find(call, outcome_found);
}

struct inquiry {
  struct vow_id ids[API_LIMIT_MAX];
  struct vow_inquiry_result results[API_LIMIT_MAX];
  struct vow_id missing[API_LIMIT_MAX];
  uint32_t missing_at[API_LIMIT_MAX]; /* where its result belongs */
  size_t count;
  uint32_t missing_count;
  struct vow_log_position seen; /* by who asks */
};

static void answer_inquiry(struct vow_api_call *call) {
  const struct inquiry *inquiry = call->more;
  vow_api_write(call);
  vow_inquiry_reply_encode(inquiry->results, inquiry->count,
                           vow_core_log(vow_driver_core(call->api->driver)), &call->api->out);
  vow_api_answer(call, 200);
}

/* The rows are in the order of the ids that were asked, state 0 where there is none. */
static void on_outcomes(void *context, const struct vow_log_result *result) {
  struct vow_api_call *call = context;
  if (call->request == NULL) {
    vow_api_call_free(call);
    return;
  }
  if (result->error != VOW_OK) {
    vow_api_problem(call, result->error, result->why);
    return;
  }
  struct inquiry *inquiry = call->more;
  const struct vow_core *core = vow_driver_core(call->api->driver);
  for (uint32_t i = 0; i < inquiry->missing_count; i++) {
    struct vow_inquiry_result *out = &inquiry->results[inquiry->missing_at[i]];
    const struct vow_txn *txn = vow_core_find(core, inquiry->missing[i]);
    const struct vow_txn *row = i < result->count ? &result->rows[i] : NULL;
    if (txn == NULL && row != NULL && row->state != 0 && row->ended_ms != 0) txn = row;
    if (txn != NULL) {
      out->answer = answer_of(core, txn);
    } else if (vow_core_loading(core) || (row != NULL && row->state != 0)) {
      vow_api_problem(call, VOW_E_LOADING, "the log is still being read; ask again");
      return;
    } else {
      presume(call, result->purged_to, out);
    }
  }
  answer_inquiry(call);
}

static void ask_core(struct vow_api_call *call, struct inquiry *inquiry) {
  const struct vow_core *core = vow_driver_core(call->api->driver);
  for (uint32_t i = 0; i < inquiry->count; i++) {
    const struct vow_txn *txn = vow_core_find(core, inquiry->ids[i]);
    inquiry->results[i].transaction = inquiry->ids[i];
    if (txn != NULL) {
      inquiry->results[i].answer = answer_of(core, txn);
      continue;
    }
    inquiry->missing_at[inquiry->missing_count] = i;
    inquiry->missing[inquiry->missing_count++] = inquiry->ids[i];
  }
}

/* False: the call was answered. */
static bool read_inquiry(struct vow_api_call *call, struct inquiry *inquiry) {
  struct vow_json_object object; /* reads nothing of it; it checks what every body has to be */
  bool present;
  size_t bytes;
  char why[VOW_JSON_WHY_BYTES];
  if (!vow_api_read_body(call, false, &object, &present)) return false;
  const char *body = vow_request_body(call->request, &bytes);
  enum vow_error error = vow_inquiry_request_decode(body, bytes, inquiry->ids, API_LIMIT_MAX,
                                                    &inquiry->count, &inquiry->seen, why);
  if (error == VOW_OK) {
    witness(call, inquiry->seen, inquiry->ids, inquiry->count);
    return true;
  }
  vow_api_problem(call, error, why);
  return false;
}

void vow_api_outcomes(struct vow_api_call *call) {
  struct inquiry *inquiry = calloc(1, sizeof *inquiry);
  if (inquiry == NULL) {
    vow_api_problem(call, VOW_E_NO_MEMORY, NULL);
    return;
  }
  call->more = inquiry;
  call->free_more = free;
  if (!read_inquiry(call, inquiry)) return;
  ask_core(call, inquiry);
  if (inquiry->missing_count == 0) {
    answer_inquiry(call);
    return;
  }
  struct vow_log_query query = {.type = VOW_LOG_QUERY_FIND_MANY,
                                .ids = inquiry->missing,
                                .id_count = inquiry->missing_count,
                                .limit = inquiry->missing_count};
  vow_api_query(call, &query, on_outcomes);
}
