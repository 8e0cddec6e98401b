/* The world of core_world.h: its trace, its rules, and what it does with actions. */
#include "core_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core_config.h"

#define WALL_AT_START UINT64_C(1700000000000)

/* ---- the trace ---- */

void world_line(struct world *w, const char *format, ...) {
  va_list arguments;
  if (w->long_run && w->trace_bytes > sizeof(w->trace) - 1024) {
    w->trace_bytes -= sizeof(w->trace) / 2;
    memmove(w->trace, w->trace + sizeof(w->trace) / 2, w->trace_bytes + 1);
  }
  size_t room = sizeof(w->trace) - w->trace_bytes;
  va_start(arguments, format);
  int bytes = vsnprintf(w->trace + w->trace_bytes, room, format, arguments);
  va_end(arguments);
  assert_true(bytes >= 0 && (size_t)bytes + 2 < room);
  w->trace_bytes += (size_t)bytes;
  w->trace[w->trace_bytes++] = '\n';
  w->trace[w->trace_bytes] = '\0';
}

void world_forget_trace(struct world *w) {
  w->trace_bytes = 0;
  w->trace[0] = '\0';
}

void world_expect(struct world *w, const char *file, int at, const char *const *lines) {
  char expected[sizeof(w->trace)] = "";
  size_t bytes = 0;

  for (; *lines != NULL; lines++) {
    if (**lines == '\0') continue;
    bytes += (size_t)snprintf(expected + bytes, sizeof(expected) - bytes, "%s\n", *lines);
  }
  if (strcmp(expected, w->trace) != 0) {
    fprintf(stderr, "expected:\n%sbut was:\n%s", expected, w->trace);
    _fail(file, at);
  }
  world_forget_trace(w);
}

void world_expect_some(struct world *w, const char *file, int at, const char *text) {
  if (strstr(w->trace, text) == NULL) {
    fprintf(stderr, "expected somewhere:\n%s\nbut was:\n%s", text, w->trace);
    _fail(file, at);
  }
  world_forget_trace(w);
}

/* ---- names ---- */

struct vow_id world_id(const struct world *w, uint32_t txn) {
  const struct vow_id nil = {{0}};
  if (txn == 0 || txn > w->id_count) return nil;
  return w->ids[txn - 1];
}

const struct vow_txn *world_find(const struct world *w, uint32_t txn) {
  return vow_core_find(w->core, world_id(w, txn));
}

static uint32_t number_of(const struct world *w, struct vow_id id) {
  for (uint32_t i = 0; i < w->id_count; i++) {
    if (vow_id_compare(w->ids[i], id) == 0) return i + 1;
  }
  fail_msg("an id that the core does not hold");
  return 0;
}

static struct vow_id after(struct vow_id id) {
  for (int i = 15; i >= 0 && ++id.bytes[i] == 0;) i--;
  return id;
}

/* Gives new transactions their numbers, and holds their ids against C6. */
static void number_new(struct world *w) {
  const struct vow_id nil = {{0}};
  struct vow_id from = w->id_count == 0 ? nil : after(w->ids[w->id_count - 1]);
  const struct vow_txn *txn;

  while ((txn = vow_core_next(w->core, from)) != NULL) {
    assert_true(w->id_count < WORLD_TXNS_MAX);
    assert_true(vow_id_compare(txn->id, w->ceiling) < 0);
    assert_true(vow_id_compare(txn->id, w->finished_below) >= 0);
    w->ids[w->id_count++] = txn->id;
    from = after(txn->id);
  }
}

/* ---- the rules ---- */

/* Where a commit of this transaction is durable; 0: nowhere. */
static uint64_t commit_durable_at(const struct world *w, struct vow_id id, bool delegated) {
  for (uint32_t i = 0; i < w->log_count; i++) {
    const struct world_record *record = &w->log[i];
    if (record->kind != VOW_RECORD_TXN || record->position > w->durable) continue;
    if (vow_id_compare(record->image.id, id) != 0) continue;
    if (delegated && record->image.delegated) return record->position;
    if (record->image.state == VOW_TXN_COMMITTING || record->image.state == VOW_TXN_COMMITTED) {
      return record->position;
    }
  }
  return 0;
}

/* Of what only read the outcome means nothing, and no record keeps it (C3). */
static bool depends_on_commit(const struct vow_txn *image) {
  if (image->delegated) return true;
  for (uint32_t i = 0; i < image->branch_count; i++) {
    if (image->branches[i].state != VOW_BRANCH_READ_ONLY) return true;
  }
  return false;
}

/* AC2 and D1 of everything that is shown of a transaction. */
static void check_shown(struct world *w, const struct vow_txn *image) {
  uint32_t number = number_of(w, image->id);
  enum vow_outcome outcome = vow_txn_outcome(image);

  if (outcome == VOW_OUTCOME_NONE) return;
  if (outcome == VOW_OUTCOME_COMMITTED && depends_on_commit(image)) {
    assert_true(commit_durable_at(w, image->id, image->delegated) != 0);
  }
  enum vow_outcome *told = &w->told[number - 1];
  if (depends_on_commit(image) && !w->overruled[number - 1]) {
    assert_true(*told == VOW_OUTCOME_NONE || *told == outcome);
  }
  if (depends_on_commit(image)) *told = outcome;
}

/* AC3: a commit is written only over votes that allow it, or by an operator's hand. */
static void check_votes(const struct vow_txn *image) {
  if (image->state != VOW_TXN_COMMITTING && image->state != VOW_TXN_COMMITTED) return;
  for (uint32_t i = 0; i < image->branch_count; i++) {
    const struct vow_branch *branch = &image->branches[i];
    bool voted = branch->vote == VOW_VOTE_COMMIT || branch->vote == VOW_VOTE_READ_ONLY;
    assert_true(voted || image->delegated || branch->resolved);
  }
}

static void check_watermark(struct world *w, struct vow_id finished_below) {
  const struct vow_id nil = {{0}};
  const struct vow_txn *first = vow_core_next(w->core, nil);

  if (first != NULL) assert_true(vow_id_compare(finished_below, first->id) <= 0);
  for (uint32_t i = 0; i < w->send_count; i++) {
    if (w->sends[i].done) continue;
    assert_true(vow_id_compare(finished_below, w->sends[i].id) <= 0);
  }
  if (vow_id_compare(finished_below, w->finished_below) > 0) w->finished_below = finished_below;
}

/* ---- actions ---- */

/* If not, the log looks for no older row. */
static bool has_record(const struct world *w, struct vow_id id) {
  for (uint32_t i = 0; i + 1 < w->log_count; i++) {
    const struct world_record *record = &w->log[i];
    if (record->kind != VOW_RECORD_TXN) continue;
    if (vow_id_compare(record->image.id, id) == 0) return true;
  }
  return false;
}

static void take_log(struct world *w, const struct vow_action *action) {
  assert_true(action->u.log.position == w->position + 1);
  assert_true(w->log_count < WORLD_LOG_MAX);
  w->position++;
  struct world_record *record = &w->log[w->log_count++];
  *record = (struct world_record){.position = w->position,
                                  .forced = action->u.log.forced,
                                  .kind = action->u.log.record,
                                  .ceiling = action->u.log.ceiling};
  const char *mark = record->forced ? "!" : "";
  if (record->kind == VOW_RECORD_ID_CEILING) {
    world_line(w, "log%s ceiling", mark);
    return;
  }
  if (record->kind == VOW_RECORD_QUARANTINE) {
    world_line(w, "log%s quarantine: %llu.%llu by %s", mark,
               (unsigned long long)action->u.log.seen.incarnation,
               (unsigned long long)action->u.log.seen.position, action->u.log.by);
    return;
  }
  const struct vow_txn *image = action->u.log.txn;
  record->image = world_copy_image(image);
  assert_int_equal(action->u.log.first, !has_record(w, image->id));
  check_votes(image);
  world_line(w, "log%s t%u %s%s%s%s%s%s", mark, number_of(w, image->id),
             vow_txn_state_name(image->state), image->delegated ? " delegated" : "",
             image->heuristic == VOW_HEURISTIC_NONE ? "" : " heuristic-",
             image->heuristic == VOW_HEURISTIC_NONE ? "" : vow_heuristic_name(image->heuristic),
             image->forgotten ? " forgotten" : "", image->ended_ms != 0 ? " ended" : "");
}

static void take_send(struct world *w, const struct vow_action *action) {
  check_watermark(w, action->u.send.finished_below);
  for (uint32_t i = 0; i < action->u.send.count; i++) {
    const struct vow_action_message *message = &action->u.send.messages[i];
    const struct vow_txn *txn = message->txn;
    assert_true(w->send_count < WORLD_SENDS_MAX);
    struct world_send *send = &w->sends[w->send_count++];
    *send = (struct world_send){.request = action->u.send.request,
                                .id = txn->id,
                                .number = message->branch->number,
                                .finished_below = action->u.send.finished_below,
                                .type = message->type,
                                .timeout_ms = message->timeout_ms,
                                .one_phase = message->one_phase,
                                .log = action->u.send.log,
                                .log_ask = action->u.send.log_ask};
    assert_string_equal(action->u.send.url, message->branch->url);
    (void)snprintf(send->url, sizeof(send->url), "%s", message->branch->url);
    (void)snprintf(send->branch, sizeof(send->branch), "%s", message->branch->name);
    if (message->type == VOW_MESSAGE_COMMIT || message->one_phase) {
      uint64_t at = commit_durable_at(w, txn->id, message->one_phase);
      assert_true(at > 0 && action->after >= at);
    }
    assert_true(message->type == VOW_MESSAGE_PREPARE ? message->timeout_ms > 0
                                                     : message->timeout_ms == 0);
    world_line(w, "%s %s t%u/%s%s", i == 0 ? "send" : "with", vow_message_type_name(message->type),
               number_of(w, txn->id), message->branch->name,
               message->one_phase ? " one-phase" : "");
  }
}

static void take_answer(struct world *w, const struct vow_action *action) {
  const struct vow_txn *txn = action->u.answer.txn;
  uint64_t token = action->u.answer.token;
  char branch[32] = "", shown[64] = "";

  assert_true(token > 0 && token <= w->token && token < WORLD_SENDS_MAX);
  assert_int_equal(w->answered[token], 0);
  w->answered[token] = 1;
  w->answered_after = action->after;
  if (txn != NULL) {
    check_shown(w, txn);
    w->outcome[token] = vow_txn_outcome(txn);
    (void)snprintf(shown, sizeof(shown), " t%u %s", number_of(w, txn->id),
                   vow_txn_state_name(vow_txn_shown_state(txn)));
  }
  if (action->u.answer.branch != 0) {
    (void)snprintf(branch, sizeof(branch), " branch %u", action->u.answer.branch);
  }
  world_line(w, "answer #%llu %s%s%s%s%s%s%s", (unsigned long long)token,
             vow_error_slug(action->u.answer.error), shown, branch,
             action->u.answer.created ? " created" : "", action->u.answer.pending ? " pending" : "",
             action->u.answer.detail == NULL ? "" : ": ",
             action->u.answer.detail == NULL ? "" : action->u.answer.detail);
}

enum vow_error world_step(struct world *w, struct vow_event *event) {
  struct vow_actions actions;

  event->now_ms = w->now_ms;
  event->wall_ms = w->wall_ms;
  event->random = ++w->random * UINT64_C(0x9E3779B97F4A7C15);
  event->more = w->more && event->type != VOW_EVENT_TICK;
  enum vow_error error = vow_core_step(w->core, event, &actions);
  if (error != VOW_OK) return error;
  number_new(w);
  for (uint32_t i = 0; i < actions.count; i++) {
    const struct vow_action *action = &actions.items[i];
    assert_true(action->after <= w->durable);
    switch (action->type) {
      case VOW_ACTION_LOG:
        take_log(w, action);
        break;
      case VOW_ACTION_SEND:
        take_send(w, action);
        break;
      case VOW_ACTION_ANSWER:
        take_answer(w, action);
        break;
    }
  }
  check_watermark(w, vow_core_finished_below(w->core));
  return VOW_OK;
}

#define TRIES_MAX 20

/* A request or a LOAD that failed for want of memory has changed nothing and may be repeated; what
 * could not be emitted comes with the next tick, which is asked for at once. */
static enum vow_error step_until_it_fits(struct world *w, struct vow_event *event) {
  enum vow_error error = VOW_E_NO_MEMORY;

  for (int i = 0; i < TRIES_MAX && error == VOW_E_NO_MEMORY; i++) {
    error = world_step(w, event);
    if (error == VOW_E_NO_MEMORY) assert_true(event->token != 0 || event->type == VOW_EVENT_LOAD);
  }
  for (int i = 0; i < TRIES_MAX && vow_core_next_deadline(w->core) == 0; i++) {
    struct vow_event tick = {.type = VOW_EVENT_TICK};
    assert_int_equal(world_step(w, &tick), VOW_OK);
  }
  return error;
}

void world_must(struct world *w, struct vow_event *event) {
  enum vow_error error = w->memory_is_short ? step_until_it_fits(w, event) : world_step(w, event);
  if (error != VOW_OK) fail_msg("the step failed: %s", vow_error_text(error));
}

/* ---- life ---- */

struct world *world_new_bare(void) {
  struct world *w = calloc(1, sizeof(*w));

  assert_non_null(w);
  w->config = core_config;
  w->now_ms = 1000;
  w->wall_ms = WALL_AT_START;
  w->log = calloc(WORLD_LOG_MAX, sizeof(*w->log));
  w->sends = calloc(WORLD_SENDS_MAX, sizeof(*w->sends));
  assert_non_null(w->log);
  assert_non_null(w->sends);
  assert_int_equal(vow_core_new(&w->core, &w->config), VOW_OK);
  return w;
}

struct world *world_new(void) {
  struct world *w = world_new_bare();

  vow_core_free(w->core);
  world_load(w);
  sync(w);
  world_forget_trace(w);
  return w;
}

void world_free(struct world *w) {
  if (w == NULL) return;
  vow_core_free(w->core);
  for (uint32_t i = 0; i < w->log_count; i++) vow_txn_fini(&w->log[i].image);
  free(w->log);
  free(w->sends);
  free(w);
}

/* ---- pictures ---- */

const char *picture(const struct world *w, uint32_t txn) {
  static char text[1024];
  const struct vow_txn *image = world_find(w, txn);
  size_t bytes;

  if (image == NULL) return "gone";
  bytes = (size_t)snprintf(
      text, sizeof(text), "%s%s%s [", vow_txn_state_name(image->state),
      image->heuristic == VOW_HEURISTIC_NONE ? "" : " heuristic-",
      image->heuristic == VOW_HEURISTIC_NONE ? "" : vow_heuristic_name(image->heuristic));
  for (uint32_t i = 0; i < image->branch_count; i++) {
    const struct vow_branch *branch = &image->branches[i];
    const char *word = vow_branch_state_name(branch->state);
    if (branch->state == VOW_BRANCH_HEURISTIC) word = vow_outcome_name(branch->outcome);
    bytes += (size_t)snprintf(text + bytes, sizeof(text) - bytes, "%s%s %s", i == 0 ? "" : ", ",
                              branch->name, word);
  }
  (void)snprintf(text + bytes, sizeof(text) - bytes, "]");
  return text;
}

void world_expect_picture(struct world *w, const char *file, int at, uint32_t txn,
                          const char *text) {
  const char *seen = picture(w, txn);
  if (strcmp(seen, text) == 0) return;
  fprintf(stderr, "expected: t%u %s\nbut was:  t%u %s\n", txn, text, txn, seen);
  _fail(file, at);
}

struct vow_endpoint_view world_endpoint(const struct world *w, const char *url) {
  struct vow_endpoint_view out;

  for (uint32_t i = 0; vow_core_endpoint_at(w->core, i, w->now_ms, &out); i++) {
    if (strcmp(out.url, url) == 0) return out;
  }
  fail_msg("no endpoint %s", url);
  return out;
}
