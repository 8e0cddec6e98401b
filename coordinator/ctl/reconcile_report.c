/*
 * What a reconciliation has found and done: sentences, or one JSON document. See
 * reconcile_report.h.
 */
#include "reconcile_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "output.h"
#include "text.h"
#include "view.h"

/* ---- for programs ---- */

static void place_json(struct vow_jsonw *w, const struct ctl_place *place) {
  struct vow_log_position seen =
      place->known.seen.incarnation != 0 ? place->known.seen : place->in_doubt.seen;
  vow_jsonw_object(w, NULL);
  vow_jsonw_string(w, "url", place->url);
  vow_jsonw_bool(w, "answered", place->answered);
  vow_jsonw_bool(w, "left_out", place->left_out);
  vow_jsonw_bool(w, "tells", place->tells);
  if (place->why[0] != '\0') vow_jsonw_string(w, "error", place->why);
  if (place->answered) {
    vow_jsonw_uint(w, "in_doubt", place->in_doubt.count);
    vow_jsonw_uint(w, "in_doubt_of_others", place->in_doubt.of_others);
  }
  vow_log_position_write(w, "seen", seen, false);
  vow_jsonw_end(w);
}

static void case_json(struct vow_jsonw *w, const struct ctl_reconciliation *r,
                      const struct ctl_case *item) {
  vow_jsonw_object(w, NULL);
  vow_jsonw_id(w, "transaction", item->id);
  vow_jsonw_string(w, "verdict", ctl_verdict_name(item->verdict));
  vow_jsonw_bool(w, "by_operator", item->by_operator);
  vow_jsonw_bool(w, "over", item->over);
  vow_jsonw_string(w, "why", item->why);
  vow_jsonw_array(w, "branches");
  for (size_t i = 0; i < item->count; i++) {
    vow_jsonw_object(w, NULL);
    vow_jsonw_uint(w, "branch", item->items[i].branch);
    vow_jsonw_string(w, "url", r->places.items[item->items[i].place].url);
    vow_jsonw_string(w, "state", vow_known_state_name(item->items[i].state));
    vow_jsonw_end(w);
  }
  vow_jsonw_end(w);
  vow_jsonw_end(w);
}

static void print_json(const struct ctl_reconciliation *r) {
  struct vow_buf out;
  struct vow_jsonw w;
  vow_buf_init(&out, CTL_OUTPUT_BYTES_MAX);
  vow_jsonw_init(&w, &out);
  vow_jsonw_object(&w, NULL);
  vow_jsonw_string(&w, "log", r->args->text[CTL_OPT_LOG]);
  vow_jsonw_string(&w, "coordinator", r->coordinator);
  vow_jsonw_bool(&w, "quarantined", r->info.quarantined_ms != 0 && !r->left);
  if (r->info.quarantined_ms != 0) vow_jsonw_string(&w, "why", r->info.why);
  vow_jsonw_bool(&w, "applied", r->applied);
  vow_jsonw_bool(&w, "left_quarantine", r->left);
  vow_jsonw_uint(&w, "known", r->known);
  vow_jsonw_uint(&w, "undecided", r->open);
  vow_jsonw_uint(&w, "silent", r->silent);
  vow_jsonw_uint(&w, "damaged", r->damaged);
  vow_jsonw_array(&w, "participants");
  for (size_t i = 0; i < r->places.count; i++) place_json(&w, &r->places.items[i]);
  vow_jsonw_end(&w);
  vow_jsonw_array(&w, "transactions");
  for (size_t i = 0; i < r->cases.count; i++) {
    if (r->cases.items[i].verdict != CTL_VERDICT_KNOWN) case_json(&w, r, &r->cases.items[i]);
  }
  vow_jsonw_end(&w);
  vow_jsonw_end(&w);
  vow_buf_puts(&out, "\n");
  ctl_put(&out);
  vow_buf_fini(&out);
}

/* ---- for people ---- */

static void place_text(struct vow_buf *out, const struct ctl_place *place) {
  vow_buf_puts(out, "  ");
  ctl_safe_append(out, place->url);
  if (place->left_out) {
    vow_buf_puts(out, "  left out, as you say\n");
  } else if (!place->answered) {
    vow_buf_puts(out, "  DOES NOT TELL: ");
    ctl_safe_append(out, place->why);
    vow_buf_puts(out, "\n");
  } else {
    vow_buf_printf(out, "  %zu branches in doubt%s", place->in_doubt.count,
                   place->tells ? "" : "; it cannot tell what has ended");
    if (place->in_doubt.of_others > 0) {
      vow_buf_printf(out, "; %zu more ask other coordinators", place->in_doubt.of_others);
    }
    vow_buf_puts(out, "\n");
  }
}

static void case_text(struct vow_buf *out, const struct ctl_reconciliation *r,
                      const struct ctl_case *item) {
  char id[VOW_ID_TEXT_BYTES];
  vow_id_format(item->id, id);
  vow_buf_printf(out, "%s  %s%s: ", id, ctl_verdict_name(item->verdict),
                 item->by_operator ? ", as you say" : "");
  ctl_safe_append(out, item->why);
  vow_buf_puts(out, "\n");
  for (size_t i = 0; i < item->count; i++) {
    vow_buf_printf(out, "  branch %u  %-9s  ", item->items[i].branch,
                   vow_known_state_name(item->items[i].state));
    ctl_safe_append(out, r->places.items[item->items[i].place].url);
    vow_buf_puts(out, "\n");
  }
}

static void append_text(struct vow_buf *out, const struct ctl_reconciliation *r) {
  if (r->info.quarantined_ms != 0) {
    vow_buf_puts(out, "quarantine: ");
    ctl_safe_append(out, r->info.why);
    vow_buf_puts(out, "\n");
  } else {
    vow_buf_puts(out, "the log is not in quarantine\n");
  }
  vow_buf_puts(out, "participants asked:\n");
  for (size_t i = 0; i < r->places.count; i++) place_text(out, &r->places.items[i]);
  if (r->damaged > 0) {
    vow_buf_printf(out,
                   "  damaged rows of the history: %" PRIu64
                   "; whom they name is NOT KNOWN. Name all that are "
                   "missing here with --participants URL,URL\n",
                   r->damaged);
  }
  if (r->cases.count > r->known) vow_buf_puts(out, "\n");
  for (size_t i = 0; i < r->cases.count; i++) {
    if (r->cases.items[i].verdict != CTL_VERDICT_KNOWN) case_text(out, r, &r->cases.items[i]);
  }
}

void ctl_reconcile_preview(const struct ctl_reconciliation *r) {
  struct vow_buf out;
  if (ctl_given(r->args, CTL_OPT_YES)) return;
  vow_buf_init(&out, CTL_OUTPUT_BYTES_MAX);
  append_text(&out, r);
  fprintf(stderr, "%s\n", vow_buf_text(&out));
  vow_buf_fini(&out);
}

static void print_text(const struct ctl_reconciliation *r) {
  struct vow_buf out;
  vow_buf_init(&out, CTL_OUTPUT_BYTES_MAX);
  append_text(&out, r);
  vow_buf_printf(&out, "\n%zu transactions: %zu decided, %zu need an operator; %s\n",
                 r->cases.count - r->known, r->cases.count - r->known - r->open, r->open,
                 r->left      ? "written, and the log has left quarantine"
                 : r->applied ? "what is decided is written"
                              : "nothing was written");
  ctl_put(&out);
  vow_buf_fini(&out);
}

/* The command that decides the first open case, to be completed by whoever has found out. */
static enum ctl_exit say_open(const struct ctl_reconciliation *r) {
  char id[VOW_ID_TEXT_BYTES] = "", todo[512];
  const struct ctl_case *first = NULL, *conflict = NULL;
  for (size_t i = 0; first == NULL && i < r->cases.count; i++) {
    const struct ctl_case *item = &r->cases.items[i];
    if (item->verdict == CTL_VERDICT_CONFLICT) conflict = item;
    if (item->verdict == CTL_VERDICT_OPEN) first = item;
  }
  if (first != NULL) {
    vow_id_format(first->id, id);
    snprintf(todo, sizeof todo,
             "Find out what the client was told, then: vowctl reconcile --log %.200s --commit %s "
             "--apply (or --abort %s); several ids stand with commas between, or in a file: @FILE.",
             r->args->text[CTL_OPT_LOG], id, id);
  } else {
    if (conflict != NULL) vow_id_format(conflict->id, id);
    snprintf(todo, sizeof todo,
             "Put right the data of who has aborted, then: vowctl reconcile --log %.200s --commit "
             "%s --apply.",
             r->args->text[CTL_OPT_LOG], id);
  }
  return ctl_fail(CTL_EXIT_ATTENTION, todo, "%zu transactions need an operator's decision.",
                  r->open);
}

enum ctl_exit ctl_reconcile_print(const struct ctl_reconciliation *r) {
  if (ctl_given(r->args, CTL_OPT_JSON)) {
    print_json(r);
  } else {
    print_text(r);
  }
  if (r->silent > 0) {
    return ctl_fail(CTL_EXIT_ATTENTION,
                    "Bring them back and run it again; --without URL goes on without one that "
                    "never comes back.",
                    "%zu participants do not tell what is in doubt.", r->silent);
  }
  if (r->open > 0) return say_open(r);
  bool something = r->info.quarantined_ms != 0 || r->cases.count > r->known;
  if (!r->applied && something) {
    return ctl_fail(CTL_EXIT_ATTENTION,
                    "Are all participants listed? Others are named with --participants URL,URL. "
                    "Then run it again with --apply.",
                    "everything can be decided; nothing was written.");
  }
  return CTL_EXIT_OK;
}
