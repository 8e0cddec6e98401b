/*
 * The record codec. Writing streams into the caller's buffer without a tree, because it runs once
 * for every logged change. Reading is strict: a member, a word or a number that this version does
 * not know makes the record corrupt, so that nothing is half understood after a restart.
 *
 * What is left out: payloads (never stored), `core` pointers, and `decision_durable`, which follows
 * from the place it is read from: a decision that stands in the log is durable.
 */
#include "io/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"

/* ---- writing ---- */

static void write_time(struct vow_jsonw *w, const char *key, uint64_t unix_ms) {
  if (unix_ms != 0) vow_jsonw_time(w, key, unix_ms);
}

static void write_flag(struct vow_jsonw *w, const char *key, bool value) {
  if (value) vow_jsonw_bool(w, key, true);
}

static void write_hash(struct vow_jsonw *w, const char *key, const uint8_t hash[16]) {
  static const char digits[] = "0123456789abcdef";
  char text[33];
  for (size_t i = 0; i < 16; i++) {
    text[2 * i] = digits[hash[i] >> 4];
    text[2 * i + 1] = digits[hash[i] & 15];
  }
  text[32] = '\0';
  vow_jsonw_string(w, key, text);
}

void vow_record_write_branch(struct vow_jsonw *w, const char *key,
                             const struct vow_branch *branch) {
  vow_jsonw_object(w, key);
  vow_jsonw_uint(w, "branch", branch->number);
  vow_jsonw_string(w, "name", branch->name);
  vow_jsonw_string(w, "url", branch->url);
  vow_jsonw_string(w, "state", vow_branch_state_name(branch->state));
  if (branch->vote != VOW_VOTE_NONE) vow_jsonw_string(w, "vote", vow_vote_name(branch->vote));
  if (branch->outcome != VOW_OUTCOME_NONE)
    vow_jsonw_string(w, "outcome", vow_outcome_name(branch->outcome));
  vow_jsonw_uint(w, "attempts", branch->attempts);
  vow_jsonw_string(w, "last_error", branch->last_error);
  write_time(w, "last_error_at", branch->last_error_ms);
  write_flag(w, "resolved", branch->resolved);
  vow_jsonw_end(w);
}

void vow_record_write_history(struct vow_jsonw *w, const char *key,
                              const struct vow_history *entry) {
  vow_jsonw_object(w, key);
  vow_jsonw_time(w, "time", entry->time_ms);
  vow_jsonw_string(w, "kind", vow_history_kind_name((enum vow_history_kind)entry->kind));
  if (entry->branch != 0) vow_jsonw_uint(w, "branch", entry->branch);
  if (entry->count > 1) vow_jsonw_uint(w, "count", entry->count);
  vow_jsonw_string(w, "detail", entry->detail);
  vow_jsonw_end(w);
}

/* In the log an entry is [milliseconds since the transaction was created, kind, branch, count,
 * detail], without what is at its end and says nothing: there are a dozen of them, and each is
 * written twice. The difference wraps, as a clock may be set back. */
static void write_compact(struct vow_jsonw *w, const struct vow_history *entry,
                          uint64_t created_ms) {
  const uint64_t numbers[] = {entry->time_ms - created_ms, entry->kind, entry->branch,
                              entry->count};
  bool counted = entry->detail != NULL || entry->count > 1;
  vow_jsonw_row(w, NULL, numbers, counted ? 4 : entry->branch != 0 ? 3 : 2, entry->detail);
}

static void write_history(struct vow_jsonw *w, const struct vow_txn *txn,
                          enum vow_record_detail detail) {
  vow_jsonw_array(w, "history");
  for (uint32_t i = 0; i < txn->history_count; i++) {
    if (detail == VOW_RECORD_LOG) {
      write_compact(w, &txn->history[i], txn->created_ms);
    } else {
      vow_record_write_history(w, NULL, &txn->history[i]);
    }
  }
  vow_jsonw_end(w);
  if (txn->history_dropped > 0) vow_jsonw_uint(w, "history_dropped", txn->history_dropped);
}

static void write_head(struct vow_jsonw *w, const struct vow_txn *txn,
                       enum vow_record_detail detail) {
  vow_jsonw_id(w, "id", txn->id);
  enum vow_txn_state state = detail == VOW_RECORD_LOG ? txn->state : vow_txn_shown_state(txn);
  vow_jsonw_string(w, "state", vow_txn_state_name(state));
  enum vow_outcome outcome = vow_txn_outcome(txn);
  if (detail != VOW_RECORD_LOG && outcome != VOW_OUTCOME_NONE)
    vow_jsonw_string(w, "outcome", vow_outcome_name(outcome));
  vow_jsonw_string(w, "heuristic", vow_heuristic_name(txn->heuristic));
  vow_jsonw_string(w, "reason", txn->reason);
  vow_jsonw_time(w, "created", txn->created_ms);
  write_time(w, "updated", txn->updated_ms);
  write_time(w, "deadline", txn->deadline_ms);
  write_time(w, "ended", txn->ended_ms);
  write_flag(w, "delegated", txn->delegated);
  write_flag(w, "forgotten", txn->forgotten);
  if (txn->metadata != NULL) vow_jsonw_raw(w, "metadata", txn->metadata, strlen(txn->metadata));
  vow_jsonw_string(w, "traceparent", txn->traceparent);
  if (detail == VOW_RECORD_LOG) write_flag(w, "presumed", txn->presumed);
  if (detail == VOW_RECORD_LOG && txn->idempotency_key != NULL) {
    vow_jsonw_string(w, "idempotency_key", txn->idempotency_key);
    write_hash(w, "request_hash", txn->request_hash);
  }
}

void vow_record_write(struct vow_jsonw *w, const char *key, const struct vow_txn *txn,
                      enum vow_record_detail detail) {
  vow_jsonw_object(w, key);
  write_head(w, txn, detail);
  vow_jsonw_array(w, "branches");
  for (uint32_t i = 0; i < txn->branch_count; i++) {
    vow_record_write_branch(w, NULL, &txn->branches[i]);
  }
  vow_jsonw_end(w);
  if (detail != VOW_RECORD_SUMMARY) write_history(w, txn, detail);
  vow_jsonw_end(w);
}

/* ---- reading ---- */

/* The whole record is in memory already, so no string of it needs a limit of its own. */
#define STRING_BYTES_MAX SIZE_MAX
#define ITEMS_MAX        UINT32_MAX

static bool parse_hash(const char *text, uint8_t out[16]) {
  uint8_t hash[16] = {0};
  if (strlen(text) != 32) return false;
  for (size_t i = 0; i < 32; i++) {
    char c = text[i];
    int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return false;
    hash[i / 2] = (uint8_t)(hash[i / 2] << 4 | digit);
  }
  memcpy(out, hash, 16);
  return true;
}

/* Everything below reads into a zeroed struct that the caller frees on failure; `no_memory` is kept
 * apart because a reader can only report what is wrong with the text. */
struct reader {
  struct vow_json_object o;
  bool *no_memory;
};

static void begin(struct reader *r, const struct vow_json_node *node, const char *path,
                  bool *no_memory) {
  vow_json_object_begin(&r->o, node, path);
  r->no_memory = no_memory;
}

static void read_string(struct reader *r, const char *key, bool required, char **out) {
  const char *text = NULL;
  if (!vow_json_get_string(&r->o, key, required, STRING_BYTES_MAX, &text) || text == NULL) return;
  *out = strdup(text);
  if (*out == NULL) *r->no_memory = true;
}

static void read_u32(struct reader *r, const char *key, bool required, uint64_t min, uint64_t max,
                     uint32_t *out) {
  uint64_t value = *out;
  if (vow_json_get_uint(&r->o, key, required, min, max, &value)) *out = (uint32_t)value;
}

/* Reads a word of a fixed set: `parse` is one of the name tables. */
#define READ_WORD(r, key, required, parse, out)                                                    \
  do {                                                                                             \
    const char *word_ = NULL;                                                                      \
    if (vow_json_get_string(&(r)->o, key, required, STRING_BYTES_MAX, &word_) && word_ &&          \
        !parse(word_, out))                                                                        \
      vow_json_object_fail(&(r)->o, key, "is \"%.40s\", which this version does not know", word_); \
  } while (0)

static enum vow_error read_branch(const struct vow_json_node *node, struct vow_branch *branch,
                                  bool *no_memory, char why[VOW_JSON_WHY_BYTES]) {
  struct reader r;
  begin(&r, node, "branches[]", no_memory);
  read_u32(&r, "branch", VOW_JSON_REQUIRED, 1, UINT32_MAX, &branch->number);
  read_string(&r, "name", VOW_JSON_REQUIRED, &branch->name);
  read_string(&r, "url", VOW_JSON_REQUIRED, &branch->url);
  READ_WORD(&r, "state", VOW_JSON_REQUIRED, vow_branch_state_parse, &branch->state);
  READ_WORD(&r, "vote", VOW_JSON_OPTIONAL, vow_vote_parse, &branch->vote);
  READ_WORD(&r, "outcome", VOW_JSON_OPTIONAL, vow_outcome_parse, &branch->outcome);
  read_u32(&r, "attempts", VOW_JSON_REQUIRED, 0, UINT32_MAX, &branch->attempts);
  read_string(&r, "last_error", VOW_JSON_OPTIONAL, &branch->last_error);
  vow_json_get_time(&r.o, "last_error_at", VOW_JSON_OPTIONAL, &branch->last_error_ms);
  vow_json_get_bool(&r.o, "resolved", VOW_JSON_OPTIONAL, &branch->resolved);
  enum vow_error error = vow_json_object_end(&r.o);
  if (error != VOW_OK) memcpy(why, r.o.why, sizeof r.o.why);
  return error;
}

/* The number at `index`, or `missing` where the array ends before it. */
static bool read_item(const struct vow_json_node *array, size_t index, uint64_t min, uint64_t max,
                      uint64_t missing, uint64_t *out) {
  uint64_t value = missing;
  if (index < vow_json_array_length(array) &&
      !vow_json_uint_value(vow_json_array_at(array, index), &value)) {
    return false;
  }
  *out = value;
  return value >= min && value <= max;
}

static bool read_compact(const struct vow_json_node *node, uint64_t created_ms,
                         struct vow_history *entry, bool *no_memory) {
  uint64_t since_ms, kind, branch, count;
  size_t items = vow_json_array_length(node); /* 0: it is no array */
  const char *detail = items > 4 ? vow_json_string_value(vow_json_array_at(node, 4)) : NULL;
  if (items < 2 || items > 5 || (items > 4 && detail == NULL) ||
      !read_item(node, 0, 0, UINT64_MAX, 0, &since_ms) ||
      !read_item(node, 1, VOW_HISTORY_BEGUN, VOW_HISTORY_LAST, 0, &kind) ||
      !read_item(node, 2, 0, UINT32_MAX, 0, &branch) ||
      !read_item(node, 3, 1, UINT16_MAX, 1, &count)) {
    return false;
  }
  entry->time_ms = created_ms + since_ms;
  entry->kind = (uint8_t)kind;
  entry->branch = (uint32_t)branch;
  entry->count = (uint16_t)count;
  entry->detail = detail == NULL ? NULL : strdup(detail);
  if (detail != NULL && entry->detail == NULL) *no_memory = true;
  return true;
}

static enum vow_error read_history(const struct vow_json_node *node, uint64_t created_ms,
                                   struct vow_history *entry, bool *no_memory,
                                   char why[VOW_JSON_WHY_BYTES]) {
  if (read_compact(node, created_ms, entry, no_memory)) return VOW_OK;
  snprintf(why, VOW_JSON_WHY_BYTES,
           "an entry of its history is not [ms, kind, branch, count, detail] as this version "
           "writes it");
  return VOW_E_LOG_CORRUPT;
}

static void read_metadata(struct reader *r, struct vow_txn *txn) {
  const struct vow_json_node *node = NULL;
  if (!vow_json_get_object(&r->o, "metadata", VOW_JSON_OPTIONAL, &node) || node == NULL) return;
  struct vow_buf buf;
  vow_buf_init(&buf, STRING_BYTES_MAX);
  vow_json_dump(node, &buf);
  txn->metadata = vow_buf_take(&buf, NULL);
  vow_buf_fini(&buf);
  if (txn->metadata == NULL) *r->no_memory = true;
}

static void read_request(struct reader *r, struct vow_txn *txn) {
  read_string(r, "idempotency_key", VOW_JSON_OPTIONAL, &txn->idempotency_key);
  READ_WORD(r, "request_hash", txn->idempotency_key != NULL, parse_hash, txn->request_hash);
}

/* The members of the transaction itself; its arrays are handed back to be read one by one. */
static enum vow_error read_head(const struct vow_json_node *root, struct vow_txn *txn,
                                const struct vow_json_node **branches,
                                const struct vow_json_node **history, bool *no_memory,
                                char why[VOW_JSON_WHY_BYTES]) {
  struct reader r;
  begin(&r, root, "", no_memory);
  vow_json_get_id(&r.o, "id", VOW_JSON_REQUIRED, &txn->id);
  READ_WORD(&r, "state", VOW_JSON_REQUIRED, vow_txn_state_parse, &txn->state);
  READ_WORD(&r, "heuristic", VOW_JSON_OPTIONAL, vow_heuristic_parse, &txn->heuristic);
  read_string(&r, "reason", VOW_JSON_OPTIONAL, &txn->reason);
  vow_json_get_time(&r.o, "created", VOW_JSON_REQUIRED, &txn->created_ms);
  vow_json_get_time(&r.o, "updated", VOW_JSON_OPTIONAL, &txn->updated_ms);
  vow_json_get_time(&r.o, "deadline", VOW_JSON_OPTIONAL, &txn->deadline_ms);
  vow_json_get_time(&r.o, "ended", VOW_JSON_OPTIONAL, &txn->ended_ms);
  vow_json_get_bool(&r.o, "delegated", VOW_JSON_OPTIONAL, &txn->delegated);
  vow_json_get_bool(&r.o, "forgotten", VOW_JSON_OPTIONAL, &txn->forgotten);
  vow_json_get_bool(&r.o, "presumed", VOW_JSON_OPTIONAL, &txn->presumed);
  read_metadata(&r, txn);
  read_string(&r, "traceparent", VOW_JSON_OPTIONAL, &txn->traceparent);
  read_request(&r, txn);
  vow_json_get_array(&r.o, "branches", VOW_JSON_REQUIRED, ITEMS_MAX, branches);
  vow_json_get_array(&r.o, "history", VOW_JSON_REQUIRED, ITEMS_MAX, history);
  read_u32(&r, "history_dropped", VOW_JSON_OPTIONAL, 1, UINT32_MAX, &txn->history_dropped);
  enum vow_error error = vow_json_object_end(&r.o);
  if (error != VOW_OK) memcpy(why, r.o.why, sizeof r.o.why);
  return error;
}

static enum vow_error read_arrays(const struct vow_json_node *branches,
                                  const struct vow_json_node *history, struct vow_txn *txn,
                                  bool *no_memory, char why[VOW_JSON_WHY_BYTES]) {
  enum vow_error error = VOW_OK;
  size_t branch_count = vow_json_array_length(branches);
  size_t history_count = vow_json_array_length(history);
  if (branch_count > 0) txn->branches = calloc(branch_count, sizeof *txn->branches);
  if (history_count > 0) txn->history = calloc(history_count, sizeof *txn->history);
  if ((branch_count > 0 && txn->branches == NULL) || (history_count > 0 && txn->history == NULL)) {
    *no_memory = true;
    return VOW_OK;
  }
  /* The counts go up first: what a failed read has taken so far is freed with the rest. */
  for (size_t i = 0; error == VOW_OK && i < branch_count; i++) {
    struct vow_branch *branch = &txn->branches[txn->branch_count++];
    error = read_branch(vow_json_array_at(branches, i), branch, no_memory, why);
  }
  for (size_t i = 0; error == VOW_OK && i < history_count; i++) {
    struct vow_history *entry = &txn->history[txn->history_count++];
    error = read_history(vow_json_array_at(history, i), txn->created_ms, entry, no_memory, why);
  }
  return error;
}

enum vow_error vow_record_read(const char *text, size_t bytes, struct vow_txn *out,
                               char why[VOW_JSON_WHY_BYTES]) {
  struct vow_txn txn = {0};
  struct vow_json *json = NULL;
  const struct vow_json_node *branches = NULL, *history = NULL;
  bool no_memory = false;
  enum vow_error error = vow_json_parse(&json, text, bytes, why);
  if (error == VOW_OK)
    error = read_head(vow_json_root(json), &txn, &branches, &history, &no_memory, why);
  if (error == VOW_OK && !no_memory) error = read_arrays(branches, history, &txn, &no_memory, why);
  vow_json_free(json);
  if (no_memory) error = VOW_E_NO_MEMORY;
  if (error != VOW_OK) {
    vow_txn_fini(&txn);
    return error == VOW_E_NO_MEMORY ? error : VOW_E_LOG_CORRUPT;
  }
  txn.decision_durable = txn.state >= VOW_TXN_COMMITTING && !txn.presumed;
  *out = txn;
  return VOW_OK;
}
