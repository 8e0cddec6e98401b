/*
 * Which presumptions of a start a late witness takes back, and which stand: those that are written,
 * those that have ended, and what nobody presumed. The core is driven by hand, from records as the
 * log may hold them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core_config.h"

#define NOW  70 /* the incarnation of this start */
#define WALL UINT64_C(1700000000000)

static struct vow_core *core;
static uint64_t position, answered_with;
static struct vow_id ceiling; /* of ids that may be issued, as the core has logged it */
static bool answered, quarantine_logged;

struct sent {
  uint64_t request;
  enum vow_message_type type;
  uint32_t branch;
};
static struct sent sent[32];
static unsigned sent_count;

static void step(struct vow_event event) {
  struct vow_actions actions = {0};

  event.now_ms = 1000;
  event.wall_ms = WALL;
  assert_int_equal(vow_core_step(core, &event, &actions), VOW_OK);
  for (uint32_t i = 0; i < actions.count; i++) {
    const struct vow_action *action = &actions.items[i];
    if (action->type == VOW_ACTION_LOG) {
      position = action->u.log.position;
      quarantine_logged |= action->u.log.record == VOW_RECORD_QUARANTINE;
      if (action->u.log.record == VOW_RECORD_ID_CEILING) ceiling = action->u.log.ceiling;
    } else if (action->type == VOW_ACTION_ANSWER) {
      answered = true;
      answered_with = (uint64_t)action->u.answer.error;
    } else {
      assert_true(sent_count < 32);
      sent[sent_count++] = (struct sent){action->u.send.request, action->u.send.messages[0].type,
                                         action->u.send.messages[0].branch->number};
    }
  }
}

static void sync(void) {
  step((struct vow_event){.type = VOW_EVENT_DURABLE, .u.position = position});
}

static struct vow_id id_of(uint8_t n) {
  return vow_id_make(WALL - 1000, n, 1);
}

static void start(bool quarantined) {
  static const struct vow_incarnation known[] = {{0, 9}, {50, 2}, {60, 8}};
  struct vow_event event = {.type = VOW_EVENT_LOAD_BEGIN};

  position = 5;
  sent_count = 0;
  quarantine_logged = false;
  assert_int_equal(vow_core_new(&core, &core_config), VOW_OK);
  event.u.load_begin.position = position;
  event.u.load_begin.id_floor = vow_id_floor(WALL, 0);
  event.u.load_begin.incarnation = NOW;
  event.u.load_begin.known = known;
  event.u.load_begin.known_count = 3;
  static struct vow_id_gap gaps[2];
  gaps[0] = (struct vow_id_gap){id_of(20), id_of(30)};
  gaps[1] = (struct vow_id_gap){id_of(40), id_of(50)};
  event.u.load_begin.gaps = gaps;
  event.u.load_begin.gap_count = 2;
  event.u.load_begin.quarantined = quarantined;
  event.u.load_begin.presume_from = id_of(1);
  step(event);
}

static void load_as(enum vow_txn_state state, uint8_t n, const char *key, bool delegated,
                    uint32_t branches) {
  static const char *const names[] = {"a", "b"}, *const urls[] = {"http://a", "http://b"};
  enum vow_branch_state branch_state = state == VOW_TXN_PREPARING    ? VOW_BRANCH_PREPARING
                                       : state == VOW_TXN_COMMITTING ? VOW_BRANCH_PREPARED
                                                                     : VOW_BRANCH_ABORTING;
  struct vow_txn image = {.id = id_of(n),
                          .state = state,
                          .delegated = delegated,
                          .branch_count = branches,
                          .created_ms = WALL - 1000,
                          .deadline_ms = WALL + 1000};
  image.idempotency_key = key == NULL ? NULL : strdup(key);
  image.branches = calloc(branches, sizeof(*image.branches));
  assert_non_null(image.branches);
  for (uint32_t i = 0; i < branches; i++) {
    image.branches[i] = (struct vow_branch){
        .number = i + 1, .state = branch_state, .name = strdup(names[i]), .url = strdup(urls[i])};
  }
  step((struct vow_event){.type = VOW_EVENT_LOAD, .u.load = &image});
  vow_txn_fini(&image);
}

/* The record of a transaction that was preparing. */
static void load(uint8_t n, const char *key, bool delegated, uint32_t branches) {
  load_as(VOW_TXN_PREPARING, n, key, delegated, branches);
}

static void loaded(void) {
  step((struct vow_event){.type = VOW_EVENT_LOAD_END});
}

static void witness(uint64_t incarnation, uint64_t at) {
  struct vow_event event = {.type = VOW_EVENT_WITNESS};
  event.u.witness.seen = (struct vow_log_position){incarnation, at};
  event.u.witness.by = "somebody";
  step(event);
}

/* The oldest message to this branch is answered with this outcome. */
static void answer(uint32_t branch, enum vow_message_type type, enum vow_outcome outcome) {
  struct vow_event event = {.type = VOW_EVENT_REPLY, .u.reply.count = 1};
  unsigned i = 0;

  while (i < sent_count && (sent[i].branch != branch || sent[i].type != type)) i++;
  assert_true(i < sent_count);
  event.u.reply.request = sent[i].request;
  sent[i].request = 0;
  sent[i].branch = 0;
  event.u.reply.results = calloc(1, sizeof(*event.u.reply.results));
  assert_non_null(event.u.reply.results);
  event.u.reply.results[0].kind = VOW_REPLY_ANSWERED;
  event.u.reply.results[0].reply.outcome = outcome;
  step(event);
  free(event.u.reply.results);
}

static enum vow_outcome told(uint8_t n) {
  const struct vow_txn *txn = vow_core_find(core, id_of(n));
  assert_non_null(txn);
  return vow_txn_outcome(txn);
}

static int teardown(void **state) {
  (void)state;
  vow_core_free(core);
  core = NULL;
  return 0;
}

/* What is written nowhere is undecided again, also where a delegate was being asked. */
static void presumptions_are_taken_back(void **state) {
  (void)state;
  start(false);
  load(1, NULL, false, 2);
  load(2, NULL, true, 1);
  loaded();
  assert_int_equal(told(1), VOW_OUTCOME_ABORTED);
  witness(60, 9);
  assert_true(quarantine_logged);
  assert_int_equal(told(1), VOW_OUTCOME_NONE);
  assert_int_equal(told(2), VOW_OUTCOME_NONE);
  unsigned before = sent_count;
  struct vow_event late = {.type = VOW_EVENT_ENLIST, .token = 1, .id = id_of(1)};
  late.u.enlist = (struct vow_event_branch){.name = "c", .url = "http://c"};
  step(late);
  assert_true(answered && answered_with != VOW_OK);
  assert_int_equal(sent_count, before);
}

/* A presumption is written nowhere, also under a key; an operator's word is. */
static void what_is_written_stands(void **state) {
  (void)state;
  start(false);
  load(1, "key", false, 2);
  load(2, NULL, true, 1);
  loaded();
  struct vow_event resolve = {.type = VOW_EVENT_RESOLVE, .token = 1, .id = id_of(2)};
  resolve.u.operate.outcome = VOW_OUTCOME_ABORTED;
  resolve.u.operate.branch = 1;
  resolve.u.operate.reason = "seen";
  step(resolve);
  witness(60, 9);
  sync();
  assert_int_equal(told(1), VOW_OUTCOME_NONE);
  assert_int_equal(told(2), VOW_OUTCOME_ABORTED);
}

static unsigned sent_of(enum vow_message_type type) {
  unsigned count = 0;
  for (unsigned i = 0; i < sent_count; i++) count += sent[i].type == type;
  return count;
}

/* What the log says is decided is told, and pushed no more: it may have ended in the time that is
 * lost, and its participants may have forgotten it. What they answer to what is under way says as
 * little. */
static void what_was_decided_is_pushed_no_more(void **state) {
  static const enum vow_txn_state states[] = {VOW_TXN_COMMITTING, VOW_TXN_ABORTING};
  (void)state;
  for (int i = 0; i < 2; i++) {
    enum vow_message_type type = i == 0 ? VOW_MESSAGE_COMMIT : VOW_MESSAGE_ABORT;
    enum vow_outcome outcome = i == 0 ? VOW_OUTCOME_COMMITTED : VOW_OUTCOME_ABORTED;
    start(false);
    load_as(states[i], 1, NULL, false, 2);
    load_as(states[i], 2, NULL, false, 1);
    loaded();
    sync();
    for (int k = 0; k < 2; k++) answer(1, type, outcome); /* of each */
    assert_int_equal(sent_of(type), 3);
    witness(60, 9);
    sync();
    struct vow_core_counts counts;
    vow_core_counts(core, &counts);
    assert_int_equal(counts.parked, 1); /* the other one has ended in this run */
    answer(2, type, VOW_OUTCOME_HEURISTIC_HAZARD);
    const struct vow_txn *txn = vow_core_find(core, id_of(1));
    assert_int_equal(txn->state, states[i]);
    assert_int_equal(txn->heuristic, VOW_HEURISTIC_NONE);
    const char *last = txn->history[txn->history_count - 1].detail;
    assert_non_null(strstr(last, "not sent again until the log is reconciled"));
    assert_int_equal(told(1), outcome);
    assert_int_equal(sent_of(type), 3);
    vow_core_free(core);
    core = NULL;
  }
}

/* An abort that a participant overruled waits for an operator, and ends when it is forgotten. */
static void what_has_ended_stands(void **state) {
  (void)state;
  start(false);
  load(1, NULL, false, 2);
  load(2, NULL, false, 2);
  loaded();
  for (int i = 0; i < 2; i++) answer(1, VOW_MESSAGE_ABORT, VOW_OUTCOME_HEURISTIC_COMMIT);
  for (int i = 0; i < 2; i++) answer(2, VOW_MESSAGE_ABORT, VOW_OUTCOME_ABORTED);
  sync();
  struct vow_event forget = {.type = VOW_EVENT_FORGET, .token = 1, .id = id_of(1)};
  forget.u.operate.reason = "seen";
  step(forget);
  sync();
  answer(1, VOW_MESSAGE_FORGET, VOW_OUTCOME_NONE);
  assert_int_not_equal(vow_core_find(core, id_of(1))->ended_ms, 0); /* not durable yet */
  witness(60, 9);
  assert_true(quarantine_logged);
  assert_int_equal(told(1), VOW_OUTCOME_ABORTED);
  assert_int_equal(told(2), VOW_OUTCOME_ABORTED);
}

static void ask_again(uint64_t token, const char *key) {
  struct vow_event event = {.type = VOW_EVENT_BEGIN, .token = token};
  event.u.begin.idempotency_key = key;
  event.u.begin.commit = true;
  answered = false;
  step(event);
}

/* A client that waits for a delegate, which is being asked, hears at once that nobody can tell. */
static void whoever_waits_is_told(void **state) {
  (void)state;
  start(false);
  load(1, NULL, true, 1);
  loaded();
  sync();
  answered = false;
  step((struct vow_event){.type = VOW_EVENT_COMMIT, .token = 1, .id = id_of(1)});
  assert_false(answered);
  witness(60, 9);
  assert_true(answered);
  assert_int_equal(answered_with, VOW_E_QUARANTINED);
}

/* So does who repeats a begin with its key: neither that it is under way, nor that it aborted. */
static void a_key_that_is_held_back_is_told_so(void **state) {
  (void)state;
  start(true);
  load(1, "key", false, 2);
  loaded();
  sync();
  ask_again(1, "key");
  assert_true(answered);
  assert_int_equal(answered_with, VOW_E_QUARANTINED);
  ask_again(2, "another");
  assert_true(answered);
  assert_int_equal(answered_with, VOW_E_QUARANTINED);
}

/* A log knows how far each of its starts came, and takes the word of any before those it lists. */
static void a_log_knows_its_own_past(void **state) {
  (void)state;
  start(false);
  loaded();
  witness(9, 1000);
  witness(50, 2);
  witness(60, 8);
  witness(NOW, 5);
  assert_false(vow_core_quarantined(core));
  witness(10, 0);
  assert_true(vow_core_quarantined(core));
}

/* An id from before what was once lost, and one that was not issued yet, is nobody's to presume. */
static void only_ids_of_its_own_are_presumed(void **state) {
  (void)state;
  start(false);
  loaded();
  sync();
  assert_false(vow_core_may_presume(core, id_of(0)));
  assert_true(vow_core_may_presume(core, id_of(1)));
  struct vow_id last = vow_id_floor(vow_id_unix_ms(ceiling) - 1, 0);
  assert_true(vow_core_may_presume(core, last));
  assert_false(vow_core_may_presume(core, ceiling));
  witness(60, 9);
  assert_false(vow_core_may_presume(core, id_of(1)));
}

/* Nor is one from between two starts, which none of them has issued: another log has, or this one
 * in a time that it has lost. (What it has lost of the time below its ceiling it cannot tell from
 * what was never decided; there only a witness helps.) */
static void ids_that_no_start_has_issued_are_not_presumed(void **state) {
  static const struct {
    uint8_t n;
    bool issued;
  } ids[] = {{2, true},  {19, true},  {20, false}, {29, false}, {30, true},
             {39, true}, {40, false}, {49, false}, {50, true},  {60, true}};
  (void)state;
  start(false);
  loaded();
  for (unsigned i = 0; i < sizeof ids / sizeof *ids; i++) {
    assert_int_equal(vow_core_never_issued(core, id_of(ids[i].n)), !ids[i].issued);
    assert_int_equal(vow_core_may_presume(core, id_of(ids[i].n)), ids[i].issued);
  }
  assert_false(vow_id_in_gap(NULL, 0, id_of(1)));
}

/* In quarantine from the start on, what was undecided stays so, and no branch comes to it. */
static void in_quarantine_nothing_is_presumed(void **state) {
  (void)state;
  start(true);
  load(1, NULL, false, 2);
  loaded();
  assert_int_equal(told(1), VOW_OUTCOME_NONE);
  assert_true(vow_core_held_back(core, id_of(1)));
  assert_false(vow_core_held_back(core, id_of(2))); /* which nobody began */
  assert_int_equal(sent_count, 0);
  answered = false;
  struct vow_event enlist = {.type = VOW_EVENT_ENLIST, .token = 1, .id = id_of(1)};
  enlist.u.enlist = (struct vow_event_branch){.name = "c", .url = "http://c"};
  step(enlist);
  assert_true(answered && answered_with != VOW_OK);
}

int main(void) {
#define TEST(name) cmocka_unit_test_teardown(name, teardown)
  const struct CMUnitTest tests[] = {
      TEST(presumptions_are_taken_back),
      TEST(what_is_written_stands),
      TEST(what_has_ended_stands),
      TEST(what_was_decided_is_pushed_no_more),
      TEST(a_log_knows_its_own_past),
      TEST(only_ids_of_its_own_are_presumed),
      TEST(ids_that_no_start_has_issued_are_not_presumed),
      TEST(whoever_waits_is_told),
      TEST(a_key_that_is_held_back_is_told_so),
      TEST(in_quarantine_nothing_is_presumed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
