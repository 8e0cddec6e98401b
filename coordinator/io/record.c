/*
 * The record codec. A record is JSON, so that it can be looked at, but short: it is what a batch
 * that is forced to the disk consists of, and each transaction is written twice.
 *
 *     [[created, updated, deadline, ended], state, branches, history, more]
 *     a branch: [number, state, vote, outcome, attempts, name, url, more]
 *     an entry of the history: [time, kind, branch, count, detail]
 *
 * Times are milliseconds since the transaction was created, `created` itself those since 1970; the
 * difference wraps, as a clock may be set back. What can be one of few is the number of its
 * enumerator, and so is a detail that is just a vote or an outcome. What is at the end of an array
 * is left out where it says nothing, and what is rare is in `more`, an object, under the names that
 * answers have for it (txn_json.h).
 *
 * Before format 7 the whole record was an object with those names, and is read to this day: a
 * history is not rewritten by an upgrade.
 *
 * Writing streams into the caller's buffer without a tree, because it runs once for every logged
 * change. Reading is strict: a member, a word or a number that this version does not know makes the
 * record corrupt, so that nothing is half understood after a restart.
 *
 * What is left out: the id, which is the row's; payloads (never stored); `core` pointers; and
 * `decision_durable`, which follows from the place it is read from: a decision that stands in the
 * log is durable.
 */
#include "io/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "message.h"

/* ---- writing ---- */

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

/* Votes are numbered from 1, outcomes go on behind them. */
#define WORDS (VOW_VOTE_ABORT + VOW_OUTCOME_HEURISTIC_HAZARD)

static const char *word(unsigned number) {
  return number <= VOW_VOTE_ABORT ? vow_vote_name((enum vow_vote)number)
                                  : vow_outcome_name((enum vow_outcome)(number - VOW_VOTE_ABORT));
}

/* 0: it is none. */
static unsigned word_number(const struct vow_history *entry) {
  if (entry->detail == NULL || !entry->detail_static) return 0;
  for (unsigned number = 1; number <= WORDS; number++) {
    if (strcmp(entry->detail, word(number)) == 0) return number;
  }
  return 0;
}

static void write_entry(struct vow_jsonw *w, const struct vow_history *entry, uint64_t created_ms) {
  unsigned number = word_number(entry);
  const uint64_t numbers[] = {entry->time_ms - created_ms, entry->kind, entry->branch, entry->count,
                              number};
  bool counted = entry->detail != NULL || entry->count > 1;
  size_t count = number != 0 ? 5 : counted ? 4 : entry->branch != 0 ? 3 : 2;
  vow_jsonw_row(w, NULL, numbers, count, number != 0 ? NULL : entry->detail);
}

static void write_branch_more(struct vow_jsonw *w, const struct vow_branch *branch) {
  if (branch->last_error == NULL && branch->last_error_ms == 0 && !branch->resolved) return;
  vow_jsonw_object(w, NULL);
  vow_jsonw_string(w, "last_error", branch->last_error);
  if (branch->last_error_ms != 0) vow_jsonw_time(w, "last_error_at", branch->last_error_ms);
  write_flag(w, "resolved", branch->resolved);
  vow_jsonw_end(w);
}

static void write_branch(struct vow_jsonw *w, const struct vow_branch *branch) {
  vow_jsonw_array(w, NULL);
  vow_jsonw_uint(w, NULL, branch->number);
  vow_jsonw_uint(w, NULL, branch->state);
  vow_jsonw_uint(w, NULL, branch->vote);
  vow_jsonw_uint(w, NULL, branch->outcome);
  vow_jsonw_uint(w, NULL, branch->attempts);
  vow_jsonw_string(w, NULL, branch->name);
  vow_jsonw_string(w, NULL, branch->url);
  write_branch_more(w, branch);
  vow_jsonw_end(w);
}

static void write_more(struct vow_jsonw *w, const struct vow_txn *txn) {
  bool flags = txn->delegated || txn->forgotten || txn->presumed;
  bool texts = txn->reason != NULL || txn->metadata != NULL || txn->traceparent != NULL ||
               txn->idempotency_key != NULL;
  if (!flags && !texts && txn->heuristic == VOW_HEURISTIC_NONE && txn->history_dropped == 0) return;
  vow_jsonw_object(w, NULL);
  vow_jsonw_string(w, "heuristic", vow_heuristic_name(txn->heuristic));
  vow_jsonw_string(w, "reason", txn->reason);
  write_flag(w, "delegated", txn->delegated);
  write_flag(w, "forgotten", txn->forgotten);
  write_flag(w, "presumed", txn->presumed);
  if (txn->metadata != NULL) vow_jsonw_raw(w, "metadata", txn->metadata, strlen(txn->metadata));
  vow_jsonw_string(w, "traceparent", txn->traceparent);
  if (txn->idempotency_key != NULL) {
    vow_jsonw_string(w, "idempotency_key", txn->idempotency_key);
    write_hash(w, "request_hash", txn->request_hash);
  }
  if (txn->history_dropped > 0) vow_jsonw_uint(w, "history_dropped", txn->history_dropped);
  vow_jsonw_end(w);
}

void vow_record_write(struct vow_buf *out, const struct vow_txn *txn) {
  const uint64_t times[] = {txn->created_ms, txn->updated_ms - txn->created_ms,
                            txn->deadline_ms - txn->created_ms, txn->ended_ms - txn->created_ms};
  struct vow_jsonw w;
  vow_jsonw_init(&w, out);
  vow_jsonw_array(&w, NULL);
  vow_jsonw_row(&w, NULL, times, txn->ended_ms == 0 ? 3 : 4, NULL);
  vow_jsonw_uint(&w, NULL, txn->state);
  vow_jsonw_array(&w, NULL);
  for (uint32_t i = 0; i < txn->branch_count; i++) write_branch(&w, &txn->branches[i]);
  vow_jsonw_end(&w);
  vow_jsonw_array(&w, NULL);
  for (uint32_t i = 0; i < txn->history_count; i++) {
    write_entry(&w, &txn->history[i], txn->created_ms);
  }
  vow_jsonw_end(&w);
  write_more(&w, txn);
  vow_jsonw_end(&w);
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

static void read_branch_more(struct reader *r, struct vow_branch *branch) {
  read_string(r, "last_error", VOW_JSON_OPTIONAL, &branch->last_error);
  vow_json_get_time(&r->o, "last_error_at", VOW_JSON_OPTIONAL, &branch->last_error_ms);
  vow_json_get_bool(&r->o, "resolved", VOW_JSON_OPTIONAL, &branch->resolved);
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

static void read_more(struct reader *r, struct vow_txn *txn) {
  READ_WORD(r, "heuristic", VOW_JSON_OPTIONAL, vow_heuristic_parse, &txn->heuristic);
  read_string(r, "reason", VOW_JSON_OPTIONAL, &txn->reason);
  vow_json_get_bool(&r->o, "delegated", VOW_JSON_OPTIONAL, &txn->delegated);
  vow_json_get_bool(&r->o, "forgotten", VOW_JSON_OPTIONAL, &txn->forgotten);
  vow_json_get_bool(&r->o, "presumed", VOW_JSON_OPTIONAL, &txn->presumed);
  read_metadata(r, txn);
  read_string(r, "traceparent", VOW_JSON_OPTIONAL, &txn->traceparent);
  read_request(r, txn);
  read_u32(r, "history_dropped", VOW_JSON_OPTIONAL, 1, UINT32_MAX, &txn->history_dropped);
}

static enum vow_error end(struct reader *r, char why[VOW_JSON_WHY_BYTES]) {
  enum vow_error error = vow_json_object_end(&r->o);
  if (error != VOW_OK) memcpy(why, r->o.why, sizeof r->o.why);
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

/* A text that there must be. */
static bool read_text(const struct vow_json_node *array, size_t index, char **out,
                      bool *no_memory) {
  const char *text = vow_json_string_value(vow_json_array_at(array, index));
  if (text == NULL) return false;
  *out = strdup(text);
  if (*out == NULL) *no_memory = true;
  return true;
}

static enum vow_error read_branch(const struct vow_json_node *node, struct vow_branch *branch,
                                  bool *no_memory, char why[VOW_JSON_WHY_BYTES]) {
  uint64_t number, state, vote, outcome, attempts;
  size_t items = vow_json_array_length(node); /* 0: it is no array */
  if (items < 7 || items > 8 || !read_item(node, 0, 1, UINT32_MAX, 0, &number) ||
      !read_item(node, 1, VOW_BRANCH_ENLISTED, VOW_BRANCH_UNKNOWN, 0, &state) ||
      !read_item(node, 2, VOW_VOTE_NONE, VOW_VOTE_ABORT, 0, &vote) ||
      !read_item(node, 3, VOW_OUTCOME_NONE, VOW_OUTCOME_HEURISTIC_HAZARD, 0, &outcome) ||
      !read_item(node, 4, 0, UINT32_MAX, 0, &attempts) ||
      !read_text(node, 5, &branch->name, no_memory) ||
      !read_text(node, 6, &branch->url, no_memory)) {
    snprintf(why, VOW_JSON_WHY_BYTES,
             "one of its branches is not [number, state, vote, outcome, attempts, name, url] as "
             "this version writes it");
    return VOW_E_LOG_CORRUPT;
  }
  branch->number = (uint32_t)number;
  branch->state = (enum vow_branch_state)state;
  branch->vote = (enum vow_vote)vote;
  branch->outcome = (enum vow_outcome)outcome;
  branch->attempts = (uint32_t)attempts;
  if (items == 7) return VOW_OK;
  struct reader r;
  begin(&r, vow_json_array_at(node, 7), "branches[]", no_memory);
  read_branch_more(&r, branch);
  return end(&r, why);
}

static enum vow_error read_branch_before_7(const struct vow_json_node *node,
                                           struct vow_branch *branch, bool *no_memory,
                                           char why[VOW_JSON_WHY_BYTES]) {
  struct reader r;
  begin(&r, node, "branches[]", no_memory);
  read_u32(&r, "branch", VOW_JSON_REQUIRED, 1, UINT32_MAX, &branch->number);
  read_string(&r, "name", VOW_JSON_REQUIRED, &branch->name);
  read_string(&r, "url", VOW_JSON_REQUIRED, &branch->url);
  READ_WORD(&r, "state", VOW_JSON_REQUIRED, vow_branch_state_parse, &branch->state);
  READ_WORD(&r, "vote", VOW_JSON_OPTIONAL, vow_vote_parse, &branch->vote);
  READ_WORD(&r, "outcome", VOW_JSON_OPTIONAL, vow_outcome_parse, &branch->outcome);
  read_u32(&r, "attempts", VOW_JSON_REQUIRED, 0, UINT32_MAX, &branch->attempts);
  read_branch_more(&r, branch);
  return end(&r, why);
}

/* A text, or the number of a word, which is at most `words`. */
static bool read_detail(const struct vow_json_node *node, unsigned words, struct vow_history *entry,
                        bool *no_memory) {
  uint64_t number = 0;
  const char *text = vow_json_string_value(node);
  if (text != NULL) {
    entry->detail = strdup(text);
    if (entry->detail == NULL) *no_memory = true;
    return true;
  }
  if (!vow_json_uint_value(node, &number) || number < 1 || number > words) return false;
  entry->detail = word((unsigned)number);
  entry->detail_static = true;
  return true;
}

static bool read_entry(const struct vow_json_node *node, unsigned words, uint64_t created_ms,
                       struct vow_history *entry, bool *no_memory) {
  uint64_t since_ms, kind, branch, count;
  size_t items = vow_json_array_length(node);
  if (items < 2 || items > 5 || !read_item(node, 0, 0, UINT64_MAX, 0, &since_ms) ||
      !read_item(node, 1, VOW_HISTORY_BEGUN, VOW_HISTORY_LAST, 0, &kind) ||
      !read_item(node, 2, 0, UINT32_MAX, 0, &branch) ||
      !read_item(node, 3, 1, UINT16_MAX, 1, &count)) {
    return false;
  }
  entry->time_ms = created_ms + since_ms;
  entry->kind = (uint8_t)kind;
  entry->branch = (uint32_t)branch;
  entry->count = (uint16_t)count;
  return items < 5 || read_detail(vow_json_array_at(node, 4), words, entry, no_memory);
}

static enum vow_error read_history(const struct vow_json_node *node, unsigned words,
                                   uint64_t created_ms, struct vow_history *entry, bool *no_memory,
                                   char why[VOW_JSON_WHY_BYTES]) {
  if (read_entry(node, words, created_ms, entry, no_memory)) return VOW_OK;
  snprintf(why, VOW_JSON_WHY_BYTES,
           "an entry of its history is not [time, kind, branch, count, detail] as this version "
           "writes it");
  return VOW_E_LOG_CORRUPT;
}

/* What is read one by one, after the rest. */
struct arrays {
  const struct vow_json_node *branches, *history;
  bool before_7;
};

static bool read_times(const struct vow_json_node *times, struct vow_txn *txn) {
  uint64_t updated, deadline, ended;
  size_t items = vow_json_array_length(times);
  if (items < 3 || items > 4 || !read_item(times, 0, 0, UINT64_MAX, 0, &txn->created_ms) ||
      !read_item(times, 1, 0, UINT64_MAX, 0, &updated) ||
      !read_item(times, 2, 0, UINT64_MAX, 0, &deadline) ||
      !read_item(times, 3, 0, UINT64_MAX, 0 - txn->created_ms, &ended)) {
    return false;
  }
  txn->updated_ms = txn->created_ms + updated;
  txn->deadline_ms = txn->created_ms + deadline;
  txn->ended_ms = txn->created_ms + ended;
  return true;
}

static enum vow_error read_head(const struct vow_json_node *root, struct vow_txn *txn,
                                struct arrays *arrays, bool *no_memory,
                                char why[VOW_JSON_WHY_BYTES]) {
  uint64_t state;
  size_t items = vow_json_array_length(root);
  if (items < 4 || items > 5 || !read_times(vow_json_array_at(root, 0), txn) ||
      !read_item(root, 1, VOW_TXN_ACTIVE, VOW_TXN_ABORTED, 0, &state) ||
      !vow_json_is_array(vow_json_array_at(root, 2)) ||
      !vow_json_is_array(vow_json_array_at(root, 3))) {
    snprintf(why, VOW_JSON_WHY_BYTES,
             "it is not [times, state, branches, history] as this version writes it");
    return VOW_E_LOG_CORRUPT;
  }
  txn->state = (enum vow_txn_state)state;
  arrays->branches = vow_json_array_at(root, 2);
  arrays->history = vow_json_array_at(root, 3);
  if (items == 4) return VOW_OK;
  struct reader r;
  begin(&r, vow_json_array_at(root, 4), "", no_memory);
  read_more(&r, txn);
  return end(&r, why);
}

static enum vow_error read_head_before_7(const struct vow_json_node *root, struct vow_txn *txn,
                                         struct arrays *arrays, bool *no_memory,
                                         char why[VOW_JSON_WHY_BYTES]) {
  struct reader r;
  struct vow_id id;
  begin(&r, root, "", no_memory);
  if (vow_json_get_id(&r.o, "id", VOW_JSON_REQUIRED, &id) && vow_id_compare(id, txn->id) != 0)
    vow_json_object_fail(&r.o, "id", "is that of another transaction");
  READ_WORD(&r, "state", VOW_JSON_REQUIRED, vow_txn_state_parse, &txn->state);
  vow_json_get_time(&r.o, "created", VOW_JSON_REQUIRED, &txn->created_ms);
  vow_json_get_time(&r.o, "updated", VOW_JSON_OPTIONAL, &txn->updated_ms);
  vow_json_get_time(&r.o, "deadline", VOW_JSON_OPTIONAL, &txn->deadline_ms);
  vow_json_get_time(&r.o, "ended", VOW_JSON_OPTIONAL, &txn->ended_ms);
  read_more(&r, txn);
  vow_json_get_array(&r.o, "branches", VOW_JSON_REQUIRED, ITEMS_MAX, &arrays->branches);
  vow_json_get_array(&r.o, "history", VOW_JSON_REQUIRED, ITEMS_MAX, &arrays->history);
  arrays->before_7 = true;
  return end(&r, why);
}

static enum vow_error read_arrays(const struct arrays *arrays, struct vow_txn *txn, bool *no_memory,
                                  char why[VOW_JSON_WHY_BYTES]) {
  enum vow_error error = VOW_OK;
  size_t branch_count = vow_json_array_length(arrays->branches);
  size_t history_count = vow_json_array_length(arrays->history);
  if (branch_count > 0) txn->branches = calloc(branch_count, sizeof *txn->branches);
  if (history_count > 0) txn->history = calloc(history_count, sizeof *txn->history);
  if ((branch_count > 0 && txn->branches == NULL) || (history_count > 0 && txn->history == NULL)) {
    *no_memory = true;
    return VOW_OK;
  }
  /* The counts go up first: what a failed read has taken so far is freed with the rest. */
  for (size_t i = 0; error == VOW_OK && i < branch_count; i++) {
    const struct vow_json_node *node = vow_json_array_at(arrays->branches, i);
    struct vow_branch *branch = &txn->branches[txn->branch_count++];
    error = arrays->before_7 ? read_branch_before_7(node, branch, no_memory, why)
                             : read_branch(node, branch, no_memory, why);
  }
  for (size_t i = 0; error == VOW_OK && i < history_count; i++) {
    struct vow_history *entry = &txn->history[txn->history_count++];
    error = read_history(vow_json_array_at(arrays->history, i), arrays->before_7 ? 0 : WORDS,
                         txn->created_ms, entry, no_memory, why);
  }
  return error;
}

enum vow_error vow_record_read(struct vow_id id, const char *text, size_t bytes,
                               struct vow_txn *out, char why[VOW_JSON_WHY_BYTES]) {
  struct vow_txn txn = {.id = id};
  struct vow_json *json = NULL;
  struct arrays arrays = {.before_7 = false};
  bool no_memory = false;
  enum vow_error error = vow_json_parse(&json, text, bytes, why);
  const struct vow_json_node *root = error == VOW_OK ? vow_json_root(json) : NULL;
  if (error == VOW_OK) {
    error = vow_json_is_object(root) ? read_head_before_7(root, &txn, &arrays, &no_memory, why)
                                     : read_head(root, &txn, &arrays, &no_memory, why);
  }
  if (error == VOW_OK && !no_memory) error = read_arrays(&arrays, &txn, &no_memory, why);
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
