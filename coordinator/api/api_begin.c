/*
 * POST /v1/transactions: begin, and the whole transaction in one request.
 *
 * With an Idempotency-Key it is looked for in the core, then in the log, and begun only when
 * neither has the key. Questions to the log are answered in their order and the core looks at its
 * own keys again, so two requests with one key cannot both begin: the second finds what the first
 * began.
 */
#include <stdio.h>
#include <string.h>

#include "api_internal.h"
#include "io/hash.h"

#define TRACEPARENT_BYTES 55 /* version 00 */

/* ---- headers ---- */

static bool is_hex(const char *text, size_t bytes, bool *zero) {
  *zero = true;
  for (size_t i = 0; i < bytes; i++) {
    if (strchr("0123456789abcdef", text[i]) == NULL || text[i] == '\0') return false;
    *zero = *zero && text[i] == '0';
  }
  return true;
}

/* W3C Trace Context: 00-32 hex-16 hex-2 hex, ids not all zero. Later versions are not passed on,
 * since what follows in them is not known to be harmless. */
static const char *read_traceparent(const struct vow_api_call *call) {
  bool zero_version, zero_trace, zero_parent, zero_flags;
  const char *t = vow_request_header(call->request, "traceparent");
  if (t == NULL || strlen(t) != TRACEPARENT_BYTES) return NULL;
  if (t[2] != '-' || t[35] != '-' || t[52] != '-') return NULL;
  if (!is_hex(t, 2, &zero_version) || !is_hex(t + 3, 32, &zero_trace) ||
      !is_hex(t + 36, 16, &zero_parent) || !is_hex(t + 53, 2, &zero_flags)) {
    return NULL;
  }
  return zero_version && !zero_trace && !zero_parent ? t : NULL;
}

/* False: the call was answered. */
static bool read_key(struct vow_api_call *call, const char **out) {
  const char *key = vow_request_header(call->request, "Idempotency-Key");
  *out = key;
  if (key == NULL) return true;
  size_t bytes = strlen(key);
  bool valid = bytes >= 1 && bytes <= API_KEY_BYTES_MAX;
  for (size_t i = 0; valid && i < bytes; i++) valid = key[i] >= '!' && key[i] <= '~';
  if (valid) return true;
  vow_api_problem(call, VOW_E_INVALID_REQUEST,
                  "the header Idempotency-Key must have 1 to 255 visible ASCII characters");
  return false;
}

/* ---- body ---- */

static enum vow_error read_metadata(struct vow_api_call *call, const struct vow_json_node *metadata,
                                    char *why) {
  size_t max = (size_t)call->api->config->limits_metadata_bytes;
  vow_buf_init(&call->begin.metadata, max);
  if (metadata == NULL) return VOW_OK;
  vow_json_dump(metadata, &call->begin.metadata);
  if (call->begin.metadata.error == VOW_E_LIMIT_EXCEEDED) {
    snprintf(why, VOW_JSON_WHY_BYTES, "metadata must have at most %zu bytes as compact JSON", max);
  }
  return call->begin.metadata.error;
}

static enum vow_error read_branches(struct vow_api_call *call, const struct vow_json_node *array,
                                    char *why) {
  size_t count = array == NULL ? 0 : vow_json_array_length(array), body_bytes;
  (void)vow_request_body(call->request, &body_bytes);
  enum vow_error error = vow_api_branches_init(&call->branches, count, body_bytes);
  for (size_t i = 0; error == VOW_OK && i < count; i++) {
    struct vow_json_object object;
    vow_json_object_begin_item(&object, array, "branches", i);
    error = vow_api_read_branch(call->api, &object, &call->branches);
    if (error != VOW_OK) memcpy(why, object.why, VOW_JSON_WHY_BYTES);
  }
  return error == VOW_OK ? vow_api_branches_end(&call->branches) : error;
}

/* False: the call was answered with what is wrong. */
static bool read_request(struct vow_api_call *call) {
  struct vow_json_object object;
  const struct vow_json_node *metadata = NULL, *branches = NULL;
  char why[VOW_JSON_WHY_BYTES] = "";
  bool present;
  if (!vow_api_read_body(call, true, &object, &present)) return false;
  if (present) {
    vow_json_get_uint(&object, "timeout_ms", VOW_JSON_OPTIONAL, 1, API_TIMEOUT_MS_MAX,
                      &call->begin.timeout_ms);
    vow_json_get_object(&object, "metadata", VOW_JSON_OPTIONAL, &metadata);
    vow_json_get_array(&object, "branches", VOW_JSON_OPTIONAL,
                       (size_t)call->api->config->limits_branches, &branches);
    vow_json_get_bool(&object, "commit", VOW_JSON_OPTIONAL, &call->commit);
    if (!vow_api_end_body(call, &object)) return false;
  }
  enum vow_error error = read_metadata(call, metadata, why);
  if (error == VOW_OK) error = read_branches(call, branches, why);
  if (error == VOW_OK) return true;
  vow_api_problem(call, error, why[0] == '\0' ? NULL : why);
  return false;
}

/* ---- answers ---- */

/* Which two of the request's branches have one name; the core only says that there are such. */
static void name_conflict(struct vow_api_call *call) {
  const struct vow_api_branches *branches = &call->branches;
  char detail[256];
  for (uint32_t i = 0; i < branches->count; i++) {
    for (uint32_t j = 0; branches->items[i].name != NULL && j < branches->count; j++) {
      const char *other = branches->items[j].name;
      char number[16];
      snprintf(number, sizeof number, "%u", j + 1); /* the name of one that has none */
      if (i == j || strcmp(branches->items[i].name, other == NULL ? number : other) != 0) continue;
      snprintf(detail, sizeof detail, "branches[%u] and branches[%u] have the same name, \"%s\"",
               i < j ? i : j, i < j ? j : i, branches->items[i].name);
      vow_api_problem(call, VOW_E_NAME_CONFLICT, detail);
      return;
    }
  }
  vow_api_problem(call, VOW_E_NAME_CONFLICT, "two branches have the same name");
}

static void on_begun(void *context, const struct vow_action *action) {
  struct vow_api_call *call = context;
  const struct vow_txn *txn = action->u.answer.txn;
  enum vow_error error = action->u.answer.error;
  if (error == VOW_E_NAME_CONFLICT) {
    name_conflict(call);
    return;
  }
  if (error != VOW_OK || txn == NULL) {
    vow_api_problem_of(call, error == VOW_OK ? VOW_E_INTERNAL : error, action->u.answer.detail,
                       txn);
    return;
  }
  vow_api_location(call, txn->id);
  if (action->u.answer.pending) {
    vow_api_transaction(call, 202, txn);
  } else if (call->commit) {
    vow_api_commit_outcome(call, txn);
  } else {
    vow_api_transaction(call, action->u.answer.created ? 201 : 200, txn);
  }
}

static void submit(struct vow_api_call *call) {
  const struct vow_api_begin *begin = &call->begin;
  struct vow_event event = {.type = VOW_EVENT_BEGIN};
  event.u.begin.timeout_ms = (uint32_t)begin->timeout_ms;
  event.u.begin.metadata = begin->metadata.data;
  event.u.begin.idempotency_key = begin->key;
  memcpy(event.u.begin.request_hash, begin->hash, sizeof begin->hash);
  event.u.begin.traceparent = begin->traceparent;
  event.u.begin.branches = call->branches.items;
  event.u.begin.branch_count = call->branches.count;
  event.u.begin.commit = call->commit;
  event.u.begin.no_wait = vow_api_prefers_async(call);
  vow_api_submit(call, &event, on_begun);
}

/* The key is of a transaction that the core does not have. Should the log's answer have it open, it
 * was not loaded yet, or it has ended since. */
static void answer_again(struct vow_api_call *call, const struct vow_txn *txn) {
  if (memcmp(txn->request_hash, call->begin.hash, sizeof call->begin.hash) != 0) {
    vow_api_problem(call, VOW_E_KEY_CONFLICT,
                    "the key was used with a request whose body is different; use a new key for "
                    "a new request");
  } else if (txn->ended_ms == 0) {
    bool loading = vow_core_loading(vow_driver_core(call->api->driver));
    vow_api_problem(call, VOW_E_LOADING,
                    loading ? "the log is still being read; ask again"
                            : "the transaction of this key has just ended; ask again");
  } else {
    vow_api_location(call, txn->id);
    if (call->commit) {
      vow_api_commit_outcome(call, txn);
    } else {
      vow_api_transaction(call, 200, txn);
    }
  }
}

static void on_key(void *context, const struct vow_log_result *result) {
  struct vow_api_call *call = context;
  if (call->request == NULL) {
    vow_api_call_free(call);
    return;
  }
  const struct vow_core *core = vow_driver_core(call->api->driver);
  if (result->error != VOW_OK) {
    vow_api_problem(call, result->error, result->why);
  } else if (result->count > 0 && vow_core_find_key(core, call->begin.key) == NULL) {
    answer_again(call, &result->rows[0]);
  } else {
    submit(call);
  }
}

void vow_api_begin(struct vow_api_call *call) {
  size_t bytes;
  struct vow_api_begin *begin = &call->begin;
  begin->traceparent = read_traceparent(call);
  if (!read_key(call, &begin->key) || !read_request(call)) return;
  if (begin->key == NULL) {
    submit(call);
    return;
  }
  const char *body = vow_request_body(call->request, &bytes);
  vow_hash128(body, bytes, begin->hash);
  if (vow_core_find_key(vow_driver_core(call->api->driver), begin->key) != NULL) {
    submit(call);
    return;
  }
  struct vow_log_query query = {.type = VOW_LOG_QUERY_FIND_KEY, .key = begin->key, .limit = 1};
  vow_api_query(call, &query, on_key);
}
