/*
 * The command `watch`: looks at the daemon again and again. On a terminal the view is redrawn;
 * otherwise each change is a line, and with --json each look is one. The daemon may go away and
 * come back meanwhile: that is shown, not an error, once the first look has worked.
 *
 * A transaction that begins and ends between two looks is not seen; the history has it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "list.h"
#include "output.h"
#include "status.h"
#include "text.h"
#include "view.h"

#define SHOWN_MAX   1000 /* transactions of one state in a look */
#define PAGES_MAX   100  /* of one state */
#define PATH_BYTES  96
#define STATE_BYTES 48

/* What is asked for in a look, in the order it is shown: what hangs comes first. */
static const struct {
  const char *filter;
  enum ctl_open count;
} queries[] = {
    {"heuristic=true", CTL_OPEN_HEURISTIC}, {"state=committing", CTL_OPEN_COMMITTING},
    {"state=aborting", CTL_OPEN_ABORTING},  {"state=preparing", CTL_OPEN_PREPARING},
    {"state=active", CTL_OPEN_ACTIVE},
};
#define QUERY_COUNT (sizeof queries / sizeof queries[0])

struct item {
  struct vow_id id;
  char state[STATE_BYTES]; /* with the heuristic, and how many branches have ended */
};

struct page {
  struct ctl_reply reply;
  struct page *next;
};

/* One look. The replies own what the views borrow. */
struct look {
  struct ctl_reply status_reply;
  struct page *pages; /* owned */
  struct ctl_status status;
  struct ctl_txn_view *txns; /* owned; as shown */
  struct item *items;        /* owned; the same, sorted by id, for comparing */
  size_t count;
  uint64_t time_ms;
  struct ctl_reply *failed; /* NULL: all went well */
};

struct watch {
  struct ctl_client client;
  const struct ctl_args *args;
  struct ctl_terminal terminal;
  uv_signal_t interrupt, terminate;
  uv_timer_t timer;
  bool tick;
  uint64_t looks;
  struct item *before; /* owned; of the look before */
  size_t before_count;
  char condition[160]; /* the last line about the daemon */
};

static void look_fini(struct look *look) {
  ctl_reply_fini(&look->status_reply);
  while (look->pages != NULL) {
    struct page *page = look->pages;
    look->pages = page->next;
    ctl_reply_fini(&page->reply);
    free(page);
  }
  free(look->txns);
  free(look->items);
}

static int by_id(const void *a, const void *b) {
  return vow_id_compare(((const struct item *)a)->id, ((const struct item *)b)->id);
}

/* ---- looking ---- */

static bool already_there(const struct look *look, struct vow_id id) {
  for (size_t i = 0; i < look->count; i++) {
    if (vow_id_compare(look->txns[i].id, id) == 0) return true;
  }
  return false;
}

static void add_item(struct look *look, const struct ctl_txn_view *txn) {
  struct ctl_branch_sum sum;
  struct item *item = &look->items[look->count];
  ctl_branch_sum(txn->branches, &sum);
  item->id = txn->id;
  snprintf(item->state, sizeof item->state, "%.12s %zu/%zu%s%.8s", txn->state, sum.ended, sum.all,
           txn->heuristic == NULL ? "" : " heuristic ",
           txn->heuristic == NULL ? "" : txn->heuristic);
  look->txns[look->count++] = *txn;
}

/* The next page of one kind of open transaction; `cursor` moves on, "" when there is none. */
static enum vow_error look_page(struct watch *watch, struct look *look, size_t query, size_t room,
                                char cursor[CTL_CURSOR_BYTES], char why[VOW_JSON_WHY_BYTES]) {
  const struct vow_json_node *items = NULL;
  const char *next_cursor = NULL;
  struct vow_buf path;
  struct page *page = calloc(1, sizeof *page);
  vow_buf_init(&path, CTL_LINE_BYTES_MAX);
  vow_buf_printf(&path, "/v1/transactions?limit=%zu&%s", room, queries[query].filter);
  if (*cursor != '\0') vow_buf_puts(&path, "&cursor=");
  ctl_query_append(&path, cursor);
  if (page == NULL || path.error != VOW_OK) {
    snprintf(why, VOW_JSON_WHY_BYTES, "out of memory");
    vow_buf_fini(&path);
    free(page);
    return VOW_E_NO_MEMORY;
  }
  page->next = look->pages;
  look->pages = page;
  ctl_client_call(&watch->client, "GET", vow_buf_text(&path), NULL, &page->reply);
  vow_buf_fini(&path);
  if (page->reply.error != VOW_OK) {
    look->failed = &page->reply;
    return page->reply.error;
  }
  enum vow_error error = ctl_page_read(vow_json_root(page->reply.json), &items, &next_cursor, why);
  for (size_t i = 0; error == VOW_OK && i < vow_json_array_length(items); i++) {
    struct ctl_txn_view txn;
    error = ctl_txn_view_read(vow_json_array_at(items, i), &txn, why);
    if (error != VOW_OK || txn.forgotten) continue;
    /* One that moves on between two queries answers to both. */
    bool wanted = ctl_txn_open(&txn) || txn.heuristic != NULL;
    if (wanted && !already_there(look, txn.id)) add_item(look, &txn);
  }
  snprintf(cursor, CTL_CURSOR_BYTES, "%s", next_cursor == NULL ? "" : next_cursor);
  return error;
}

/* Asks for one kind of open transaction, of which there are `expected`: a page may be empty, and
 * those behind it not. */
static enum vow_error look_query(struct watch *watch, struct look *look, size_t query,
                                 uint64_t expected, char why[VOW_JSON_WHY_BYTES]) {
  char cursor[CTL_CURSOR_BYTES] = "";
  size_t before = look->count, wanted = expected < SHOWN_MAX ? (size_t)expected : SHOWN_MAX;
  enum vow_error error = VOW_OK;
  for (unsigned pages = 0; error == VOW_OK && pages < PAGES_MAX; pages++) {
    size_t found = look->count - before;
    if (found >= wanted || (pages > 0 && *cursor == '\0')) break;
    error = look_page(watch, look, query, SHOWN_MAX - found, cursor, why);
  }
  return error;
}

/* VOW_E_PROTOCOL with `why`, or another error with look->failed set. */
static enum vow_error look_at(struct watch *watch, struct look *look,
                              char why[VOW_JSON_WHY_BYTES]) {
  memset(look, 0, sizeof *look);
  look->time_ms = ctl_now_ms();
  look->txns = calloc(SHOWN_MAX * QUERY_COUNT, sizeof *look->txns);
  look->items = calloc(SHOWN_MAX * QUERY_COUNT, sizeof *look->items);
  if (look->txns == NULL || look->items == NULL) {
    snprintf(why, VOW_JSON_WHY_BYTES, "out of memory");
    return VOW_E_NO_MEMORY;
  }
  ctl_client_call(&watch->client, "GET", "/v1/status", NULL, &look->status_reply);
  if (look->status_reply.error != VOW_OK) {
    look->failed = &look->status_reply;
    return look->failed->error;
  }
  enum vow_error error =
      ctl_status_read(vow_json_root(look->status_reply.json), &look->status, why);
  if (error == VOW_OK && look->status.loading) return VOW_OK;
  for (size_t i = 0; error == VOW_OK && i < QUERY_COUNT; i++) {
    error = look_query(watch, look, i, look->status.open[queries[i].count], why);
  }
  qsort(look->items, look->count, sizeof *look->items, by_id);
  return error;
}

/* ---- as a screen ---- */

static unsigned count_lines(const struct vow_buf *text) {
  unsigned lines = 0;
  for (size_t i = 0; i < text->bytes; i++) lines += text->data[i] == '\n';
  return lines;
}

/* Over what was there before, so that nothing flickers: each line ends what the old one left, and
 * the last one clears the rest. */
static void redraw(const struct vow_buf *text) {
  ctl_putf("\033[H");
  for (const char *line = vow_buf_text(text); *line != '\0';) {
    size_t bytes = strcspn(line, "\n");
    ctl_putf("%.*s\033[K\n", (int)bytes, line);
    line += bytes + (line[bytes] == '\n');
  }
  ctl_putf("\033[J");
}

static void table_append(struct vow_buf *out, const struct watch *watch, const struct look *look) {
  struct ctl_table table;
  unsigned used = count_lines(out) + 3; /* its heading, "and more", the cursor */
  size_t room = watch->terminal.height > used ? watch->terminal.height - used : 1;
  ctl_table_init(&table, &watch->terminal, ctl_list_titles, CTL_LIST_COLUMNS);
  for (size_t i = 0; i < look->count && i < room; i++) {
    ctl_list_row(&table, &look->txns[i], look->time_ms);
  }
  ctl_table_flush(&table, out);
  if (look->count > room) vow_buf_printf(out, "and %zu more\n", look->count - room);
  ctl_table_fini(&table);
}

static void draw(struct watch *watch, const struct look *look, const char *trouble) {
  char time[CTL_TIME_BYTES];
  struct vow_buf out;
  vow_buf_init(&out, CTL_OUTPUT_BYTES_MAX);
  ctl_terminal_of(stdout, &watch->terminal); /* the window may have changed its size */
  ctl_time_format(look->time_ms, time);
  vow_buf_printf(&out, "%s  %s  (Ctrl-C ends)\n", time, watch->client.base);
  if (trouble != NULL) {
    ctl_fact(&out, &watch->terminal, "daemon", CTL_BAD, trouble);
  } else {
    ctl_status_append(&out, &watch->terminal, &look->status, look->time_ms);
    vow_buf_puts(&out, "\n");
    table_append(&out, watch, look);
  }
  redraw(&out);
  vow_buf_fini(&out);
}

/* ---- as lines ---- */

static void say(const struct look *look, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void say(const struct look *look, const char *format, ...) {
  char time[CTL_TIME_BYTES], text[512];
  struct vow_buf safe;
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  vow_buf_init(&safe, CTL_LINE_BYTES_MAX);
  ctl_time_format(look->time_ms, time);
  vow_buf_printf(&safe, "%s ", time);
  ctl_safe_append(&safe, text);
  vow_buf_puts(&safe, "\n");
  ctl_put(&safe);
  vow_buf_fini(&safe);
}

/* What is said of the daemon itself, when it differs from what was said last. */
static void say_condition(struct watch *watch, const struct look *look, const char *trouble) {
  char text[sizeof watch->condition];
  const struct ctl_status *status = &look->status;
  if (trouble != NULL) {
    snprintf(text, sizeof text, "daemon: %s", trouble);
  } else {
    snprintf(text, sizeof text, "daemon %s, %" PRIu64 " to recover, %" PRIu64 " participants down",
             status->loading    ? "loading"
             : status->draining ? "draining"
             : status->ready    ? "ready"
                                : "not ready",
             status->recovering, status->endpoints[1]);
  }
  if (strcmp(text, watch->condition) == 0) return;
  memcpy(watch->condition, text, sizeof text);
  say(look, "%s", text);
}

/* How a transaction ended that is no longer among the open ones. */
static void say_gone(struct watch *watch, const struct look *look, struct vow_id id) {
  char path[PATH_BYTES], text[VOW_ID_TEXT_BYTES], why[VOW_JSON_WHY_BYTES];
  struct ctl_txn_view txn;
  struct ctl_reply reply;
  vow_id_format(id, text);
  snprintf(path, sizeof path, "/v1/transactions/%s", text);
  ctl_client_call(&watch->client, "GET", path, NULL, &reply);
  if (reply.error == VOW_OK && ctl_txn_view_read(vow_json_root(reply.json), &txn, why) == VOW_OK) {
    say(look, "%s %s%s%s", text, txn.state, txn.reason == NULL ? "" : ": ",
        txn.reason == NULL ? "" : txn.reason);
  } else {
    say(look, "%s is over", text);
  }
  ctl_reply_fini(&reply);
}

/* Both lists are sorted by id, so one walk finds what came, changed and went. */
static void say_changes(struct watch *watch, const struct look *look) {
  size_t old = 0, now = 0;
  while (old < watch->before_count || now < look->count) {
    char text[VOW_ID_TEXT_BYTES];
    int order = old == watch->before_count ? 1
                : now == look->count       ? -1
                                     : vow_id_compare(watch->before[old].id, look->items[now].id);
    if (watch->client.interrupted) return;
    if (order < 0) {
      say_gone(watch, look, watch->before[old].id);
    } else if (order > 0 || strcmp(watch->before[old].state, look->items[now].state) != 0) {
      vow_id_format(look->items[now].id, text);
      say(look, "%s %s", text, look->items[now].state);
    }
    old += order <= 0;
    now += order >= 0;
  }
}

/* As compact JSON: what the daemon sends may have line breaks. */
static void write_node(struct vow_jsonw *w, const char *key, const struct vow_json_node *node) {
  struct vow_buf text;
  vow_buf_init(&text, CTL_OUTPUT_BYTES_MAX);
  vow_json_dump(node, &text);
  vow_jsonw_raw(w, key, vow_buf_text(&text), text.bytes);
  vow_buf_fini(&text);
}

static void print_json(const struct look *look, const char *trouble) {
  struct vow_buf out;
  struct vow_jsonw w;
  vow_buf_init(&out, CTL_OUTPUT_BYTES_MAX);
  vow_jsonw_init(&w, &out);
  vow_jsonw_object(&w, NULL);
  vow_jsonw_time(&w, "time", look->time_ms);
  vow_jsonw_string(&w, "error", trouble);
  if (trouble == NULL) {
    write_node(&w, "status", vow_json_root(look->status_reply.json));
    vow_jsonw_array(&w, "transactions");
    for (size_t i = 0; i < look->count; i++) write_node(&w, NULL, look->txns[i].node);
    vow_jsonw_end(&w);
  }
  vow_jsonw_end(&w);
  vow_buf_puts(&out, "\n");
  ctl_put(&out);
  vow_buf_fini(&out);
}

/* ---- again and again ---- */

static void on_signal(uv_signal_t *handle, int number) {
  (void)number;
  ((struct watch *)handle->data)->client.interrupted = true;
}

static void on_timer(uv_timer_t *handle) {
  ((struct watch *)handle->data)->tick = true;
  uv_stop(handle->loop); /* else it would wait once more before it returns */
}

static enum ctl_exit start(struct watch *watch) {
  uv_loop_t *loop = &watch->client.loop;
  uint64_t interval_ms = watch->args->number[CTL_OPT_INTERVAL];
  int failed = uv_signal_init(loop, &watch->interrupt) | uv_signal_init(loop, &watch->terminate) |
               uv_timer_init(loop, &watch->timer);
  watch->interrupt.data = watch->terminate.data = watch->timer.data = watch;
  if (failed == 0) {
    failed = uv_signal_start(&watch->interrupt, on_signal, SIGINT) |
             uv_signal_start(&watch->terminate, on_signal, SIGTERM) |
             uv_timer_start(&watch->timer, on_timer, interval_ms, interval_ms);
  }
  if (failed == 0) return CTL_EXIT_OK;
  return ctl_fail(CTL_EXIT_FAILED, "Free memory or file handles, then try again.",
                  "timers and signals cannot be used.");
}

static void stop(struct watch *watch) {
  uv_handle_t *const handles[] = {(uv_handle_t *)&watch->interrupt,
                                  (uv_handle_t *)&watch->terminate, (uv_handle_t *)&watch->timer};
  for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++) {
    if (handles[i]->loop != NULL) uv_close(handles[i], NULL);
  }
}

static void show(struct watch *watch, struct look *look, const char *trouble) {
  if (ctl_given(watch->args, CTL_OPT_JSON)) {
    print_json(look, trouble);
    return;
  }
  if (watch->terminal.tty) {
    draw(watch, look, trouble);
    return;
  }
  say_condition(watch, look, trouble);
  if (trouble != NULL || look->status.loading) return;
  say_changes(watch, look);
  free(watch->before);
  watch->before = look->items;
  watch->before_count = look->count;
  look->items = NULL;
}

/* One look, shown. Only the first may end the program: later the daemon may come back. */
static enum ctl_exit step(struct watch *watch) {
  char why[VOW_JSON_WHY_BYTES] = "";
  struct look look;
  enum ctl_exit code = CTL_EXIT_OK;
  enum vow_error error = look_at(watch, &look, why);
  if (watch->client.interrupted) goto out;
  const char *trouble = error == VOW_OK ? NULL : look.failed != NULL ? look.failed->detail : why;
  if (error != VOW_OK && watch->looks == 0) {
    code = look.failed != NULL        ? ctl_client_fail(&watch->client, watch->args, look.failed)
           : error == VOW_E_NO_MEMORY ? ctl_no_memory()
                                      : ctl_client_strange(&watch->client, why);
    goto out;
  }
  if (trouble != NULL && trouble[0] == '\0') trouble = vow_error_text(error);
  watch->looks++;
  show(watch, &look, trouble);
out:
  look_fini(&look);
  return code;
}

enum ctl_exit ctl_watch(const struct ctl_args *args) {
  struct watch watch = {.args = args};
  ctl_terminal_of(stdout, &watch.terminal);
  enum ctl_exit code = ctl_client_open(&watch.client, args);
  if (code == CTL_EXIT_OK) code = start(&watch);
  while (code == CTL_EXIT_OK && !watch.client.interrupted) {
    code = step(&watch);
    bool last = ctl_given(args, CTL_OPT_COUNT) && watch.looks >= args->number[CTL_OPT_COUNT];
    if (code != CTL_EXIT_OK || last || ctl_put_flush() != 0) break;
    while (!watch.tick && !watch.client.interrupted) uv_run(&watch.client.loop, UV_RUN_ONCE);
    watch.tick = false;
  }
  stop(&watch);
  ctl_client_close(&watch.client);
  free(watch.before);
  return code;
}
