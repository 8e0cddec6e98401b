/*
 * GET /v1/transactions: open transactions from the core and ended ones from the log, merged, newest
 * first, in pages.
 *
 * The cursor is the id of the last one that was listed (or looked at): a page holds ids below it.
 * Each transaction is listed once: it has one place in the order of ids, and within a page the open
 * ones are taken down before the log is asked, so that one which ends meanwhile is in one of the
 * two, or in both and then taken once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_internal.h"

struct open_entry {
  struct vow_id id;
  size_t at, bytes; /* in list.open_text */
};

struct list {
  struct vow_api *api;
  struct vow_id before; /* nil: from the newest */
  uint64_t limit;
  enum vow_txn_state state;
  bool has_state;
  int heuristic; /* -1: any */
  const char *participant;
  uint64_t at_or_before_ms; /* of the begin, or the end; 0: any */
  struct vow_buf open_text;
  struct open_entry *open; /* owned; newest first */
  uint32_t open_count;
  struct vow_id open_floor; /* the last one that was looked at */
  bool open_more;           /* there are older ones, which were not */
};

static void list_free(void *more) {
  struct list *list = more;
  list->api->page_bytes -= list->open_text.bytes;
  vow_buf_fini(&list->open_text);
  free(list->open);
  free(list);
}

/* ---- what is asked ---- */

static bool refuse(struct vow_api_call *call, const char *detail) {
  vow_api_problem(call, VOW_E_INVALID_REQUEST, detail);
  return false;
}

static bool read_words(struct vow_api_call *call, struct list *list) {
  const char *state = vow_api_query_text(call, "state");
  const char *heuristic = vow_api_query_text(call, "heuristic");
  const char *cursor = vow_api_query_text(call, "cursor");
  list->participant = vow_api_query_text(call, "participant");
  if (state != NULL && !(list->has_state = vow_txn_state_parse(state, &list->state))) {
    return refuse(call,
                  "state must be active, preparing, committing, committed, aborting or aborted");
  }
  list->heuristic = heuristic == NULL                 ? -1
                    : strcmp(heuristic, "true") == 0  ? 1
                    : strcmp(heuristic, "false") == 0 ? 0
                                                      : 2;
  if (list->heuristic == 2) return refuse(call, "heuristic must be true or false");
  if (list->participant != NULL &&
      (list->participant[0] == '\0' || strlen(list->participant) > 1024)) {
    return refuse(call, "participant must have 1 to 1024 bytes");
  }
  if (cursor != NULL && (!vow_id_parse(cursor, &list->before) || vow_id_is_nil(list->before))) {
    return refuse(call, "cursor must be a next_cursor that this route has answered");
  }
  return true;
}

/* False: the call was answered. */
static bool read_query(struct vow_api_call *call, struct list *list) {
  uint64_t older_than_ms = UINT64_MAX, now_ms = vow_api_wall_ms();
  list->limit = API_LIMIT_DEFAULT;
  if (!read_words(call, list) ||
      !vow_api_query_uint(call, "limit", 1, API_LIMIT_MAX, &list->limit) ||
      !vow_api_query_uint(call, "older_than_ms", 0, INT64_MAX / 1024, &older_than_ms)) {
    return false;
  }
  if (older_than_ms != UINT64_MAX) {
    list->at_or_before_ms = older_than_ms < now_ms ? now_ms - older_than_ms : 1;
  }
  return true;
}

static bool has_participant(const struct vow_txn *txn, const char *participant) {
  for (uint32_t i = 0; i < txn->branch_count; i++) {
    if (strcmp(txn->branches[i].name, participant) == 0 ||
        strcmp(txn->branches[i].url, participant) == 0) {
      return true;
    }
  }
  return false;
}

static bool fits(const struct list *list, const struct vow_txn *txn) {
  uint64_t since_ms = txn->ended_ms != 0 ? txn->ended_ms : txn->created_ms;
  if (list->has_state && vow_txn_shown_state(txn) != list->state) return false;
  if (list->heuristic >= 0 && (txn->heuristic != VOW_HEURISTIC_NONE) != list->heuristic) {
    return false;
  }
  if (list->at_or_before_ms != 0 && since_ms > list->at_or_before_ms) return false;
  return list->participant == NULL || has_participant(txn, list->participant);
}

/* ---- the open ones ---- */

/* Walks from the newest below `before`; what fits is written down as it is now. A page that has
 * found little after a while is short, or empty. */
static enum vow_error take_open(struct vow_api_call *call, struct list *list) {
  const struct vow_core *core = vow_driver_core(call->api->driver);
  struct vow_jsonw w;
  uint32_t looked = 0;
  list->open = calloc(list->limit, sizeof *list->open);
  if (list->open == NULL) return VOW_E_NO_MEMORY;
  const struct vow_txn *txn =
      vow_core_prev(core, vow_id_is_nil(list->before) ? NULL : &list->before);
  for (; txn != NULL; txn = vow_core_prev(core, &txn->id)) {
    bool full = list->open_count == list->limit || list->open_text.bytes > API_PAGE_BYTES_MAX;
    bool wanted = fits(list, txn);
    list->open_more = looked++ == API_LIST_SCAN_MAX || (wanted && full);
    if (list->open_more) break;
    list->open_floor = txn->id;
    if (!wanted) continue;
    struct open_entry *entry = &list->open[list->open_count++];
    entry->id = txn->id;
    entry->at = list->open_text.bytes;
    vow_jsonw_init(&w, &list->open_text);
    vow_txn_json_write(&w, NULL, txn, VOW_TXN_JSON_SUMMARY);
    entry->bytes = list->open_text.bytes - entry->at;
  }
  list->api->page_bytes += list->open_text.bytes;
  return list->open_text.error;
}

/* ---- the page ---- */

/* Two lists that are in order become one. Below `floor` the log was not looked at, or the open ones
 * were not; what is there belongs to the next page. */
struct merge {
  const struct list *list;
  const struct vow_log_result *ended;
  struct vow_id floor;
  bool more;
  uint32_t open_at, ended_at;
  uint64_t written;
  struct vow_id last;
};

static bool merge_step(struct merge *m, struct vow_jsonw *w) {
  const struct open_entry *open =
      m->open_at < m->list->open_count ? &m->list->open[m->open_at] : NULL;
  const struct vow_txn *ended = m->ended_at < m->ended->count ? &m->ended->rows[m->ended_at] : NULL;
  if (open == NULL && ended == NULL) return false;
  int order = open == NULL ? -1 : ended == NULL ? 1 : vow_id_compare(open->id, ended->id);
  struct vow_id id = order > 0 ? open->id : ended->id;
  if (m->more && vow_id_compare(id, m->floor) < 0) return false;
  if (m->written == m->list->limit || w->buf->bytes > API_PAGE_BYTES_MAX) {
    m->more = true;
    m->floor = m->last;
    return false;
  }
  if (order > 0) {
    vow_jsonw_raw(w, NULL, m->list->open_text.data + open->at, open->bytes);
  } else {
    vow_txn_json_write(w, NULL, ended, VOW_TXN_JSON_SUMMARY);
  }
  m->open_at += order >= 0;
  m->ended_at += order <= 0;
  m->last = id;
  m->written++;
  return true;
}

static void answer_page(struct vow_api_call *call, const struct vow_log_result *ended) {
  const struct list *list = call->more;
  struct merge m = {.list = list, .ended = ended, .floor = ended->next, .more = ended->more};
  if (list->open_more) {
    if (!m.more || vow_id_compare(list->open_floor, m.floor) > 0) m.floor = list->open_floor;
    m.more = true;
  }
  struct vow_jsonw *w = vow_api_write(call);
  vow_jsonw_object(w, NULL);
  vow_jsonw_array(w, "transactions");
  while (merge_step(&m, w)) continue;
  vow_jsonw_end(w);
  if (m.more) vow_jsonw_id(w, "next_cursor", m.floor);
  if (ended->rows_bad > 0) vow_jsonw_uint(w, "damaged", ended->rows_bad);
  vow_jsonw_end(w);
  vow_api_answer(call, 200);
}

static void on_rows(void *context, const struct vow_log_result *result) {
  struct vow_api_call *call = context;
  if (call->request == NULL) {
    vow_api_call_free(call);
  } else if (result->error != VOW_OK) {
    vow_api_problem(call, result->error, result->why);
  } else {
    answer_page(call, result);
  }
}

void vow_api_list(struct vow_api_call *call) {
  struct list *list = calloc(1, sizeof *list);
  if (list == NULL) {
    vow_api_problem(call, VOW_E_NO_MEMORY, NULL);
    return;
  }
  vow_buf_init(&list->open_text, (size_t)API_PAGE_BYTES_MAX * 16);
  list->api = call->api;
  call->more = list;
  call->free_more = list_free;
  if (!read_query(call, list)) return;
  /* Before it is made, which holds the loop up. */
  if (list->limit > API_LIMIT_DEFAULT && !vow_api_has_room(call, call->api->page_bytes)) return;
  if (vow_core_loading(vow_driver_core(call->api->driver))) {
    vow_api_problem(call, VOW_E_LOADING, "the log is still being read; ask again");
    return;
  }
  enum vow_error error = take_open(call, list);
  if (error != VOW_OK) {
    vow_api_problem(call, error, NULL);
    return;
  }
  if (list->has_state && list->state != VOW_TXN_COMMITTED && list->state != VOW_TXN_ABORTED) {
    answer_page(call, &(struct vow_log_result){0});
    return;
  }
  struct vow_log_query query = {.type = VOW_LOG_QUERY_LIST,
                                .id = list->before,
                                .limit = (uint32_t)list->limit,
                                .state = list->has_state ? (uint32_t)list->state : 0,
                                .heuristic = list->heuristic,
                                .participant = list->participant};
  if (list->at_or_before_ms != 0) query.ended_before_ms = list->at_or_before_ms + 1;
  vow_api_query(call, &query, on_rows);
}
