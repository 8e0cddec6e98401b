/*
 * Every situation a branch can be in, times every event: the next state and the actions are those
 * of branch_core.table, one line a pair, to be read by people. What does not fit a state is refused
 * and changes nothing. `test_branch_core --print` writes the table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"
#include "core/pcore.h"

#define COORDINATOR "http://c"
#define TOKEN       100 /* of the event under test; those before it have 1 and up */

static const struct vow_id id = {
    {0x01, 0x93, 0x5e, 0x2a, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 9}};

struct world {
  struct vow_pcore *core;
  uint64_t now_ms;
  uint64_t position; /* of the last record that was asked for */
  uint64_t token;
  struct vow_pactions actions;
};

/* ---- events ---- */

static enum vow_error step(struct world *w, struct vow_pevent event) {
  event.now_ms = w->now_ms;
  event.random = 42;
  event.transaction = id;
  event.branch = 1;
  enum vow_error error = vow_pcore_step(w->core, &event, &w->actions);
  for (uint32_t i = 0; i < w->actions.count; i++) {
    if (w->actions.items[i].type == VOW_PACTION_LOG) {
      w->position = w->actions.items[i].u.log.position;
    }
  }
  return error;
}

static enum vow_error message(struct world *w, enum vow_message_type type, bool one_phase) {
  struct vow_message m = {.type = type,
                          .transaction = id,
                          .branch = 1,
                          .coordinator = COORDINATOR,
                          .payload = "{}",
                          .payload_bytes = 2,
                          .one_phase = one_phase};
  struct vow_pevent event = {.type = VOW_PEVENT_MESSAGE};
  event.u.message.token = w->token;
  event.u.message.message = &m;
  return step(w, event);
}

static enum vow_error voted(struct world *w, enum vow_vote vote) {
  struct vow_pevent event = {.type = VOW_PEVENT_VOTED};
  event.u.voted.vote = vote;
  event.u.voted.reason = vote == VOW_VOTE_ABORT ? "no money" : NULL;
  return step(w, event);
}

static enum vow_error finished(struct world *w, enum vow_error error) {
  struct vow_pevent event = {.type = VOW_PEVENT_FINISHED};
  event.u.finished.error = error;
  event.u.finished.reason = error ? "not now" : NULL;
  return step(w, event);
}

static enum vow_error logged(struct world *w, enum vow_pevent_type type, uint64_t position) {
  struct vow_pevent event = {.type = type};
  event.u.logged.position = position;
  event.u.logged.error = VOW_E_LOG_FULL;
  event.u.logged.why = "disk full";
  return step(w, event);
}

static enum vow_error answered(struct world *w, enum vow_inquiry_answer answer) {
  struct vow_pevent event = {.type = VOW_PEVENT_ANSWERED};
  event.u.answer.outcome = answer;
  return step(w, event);
}

static enum vow_error operate(struct world *w, enum vow_outcome outcome) {
  struct vow_pevent event = {.type = VOW_PEVENT_OPERATE};
  event.u.operate.token = w->token;
  event.u.operate.outcome = outcome;
  return step(w, event);
}

static enum vow_error tick(struct world *w) {
  w->now_ms += 1000000;
  return step(w, (struct vow_pevent){.type = VOW_PEVENT_TICK});
}

/* Each event by the name it has in the table and in the recipes. */
static enum vow_error happen(struct world *w, const char *name) {
  if (!strcmp(name, "prepare")) return message(w, VOW_MESSAGE_PREPARE, false);
  if (!strcmp(name, "prepare-1")) return message(w, VOW_MESSAGE_PREPARE, true);
  if (!strcmp(name, "commit")) return message(w, VOW_MESSAGE_COMMIT, false);
  if (!strcmp(name, "abort")) return message(w, VOW_MESSAGE_ABORT, false);
  if (!strcmp(name, "forget")) return message(w, VOW_MESSAGE_FORGET, false);
  if (!strcmp(name, "voted-commit")) return voted(w, VOW_VOTE_COMMIT);
  if (!strcmp(name, "voted-read-only")) return voted(w, VOW_VOTE_READ_ONLY);
  if (!strcmp(name, "voted-abort")) return voted(w, VOW_VOTE_ABORT);
  if (!strcmp(name, "voted-nonsense")) return voted(w, (enum vow_vote)9);
  if (!strcmp(name, "finished")) return finished(w, VOW_OK);
  if (!strcmp(name, "failed")) return finished(w, VOW_E_DATABASE);
  if (!strcmp(name, "logged")) return logged(w, VOW_PEVENT_LOGGED, w->position);
  if (!strcmp(name, "not-logged")) return logged(w, VOW_PEVENT_NOT_LOGGED, w->position);
  if (!strcmp(name, "logged-other")) return logged(w, VOW_PEVENT_LOGGED, w->position + 1);
  if (!strcmp(name, "told-committed")) return answered(w, VOW_INQUIRY_COMMITTED);
  if (!strcmp(name, "told-aborted")) return answered(w, VOW_INQUIRY_ABORTED);
  if (!strcmp(name, "told-undecided")) return answered(w, VOW_INQUIRY_UNDECIDED);
  if (!strcmp(name, "told-unknown")) return answered(w, VOW_INQUIRY_UNKNOWN);
  if (!strcmp(name, "due")) return tick(w);
  if (!strcmp(name, "operate-commit")) return operate(w, VOW_OUTCOME_HEURISTIC_COMMIT);
  if (!strcmp(name, "operate-mixed")) return operate(w, VOW_OUTCOME_HEURISTIC_MIXED);
  fail_msg("no event %s", name);
  return VOW_E_INTERNAL;
}

static const char *const events[] = {
    "prepare",
    "prepare-1",
    "commit",
    "abort",
    "forget",
    "voted-commit",
    "voted-read-only",
    "voted-abort",
    "voted-nonsense",
    "finished",
    "failed",
    "logged",
    "not-logged",
    "logged-other",
    "told-committed",
    "told-aborted",
    "told-undecided",
    "told-unknown",
    "due",
    "operate-commit",
    "operate-mixed",
};

/* ---- situations ---- */

enum mode { PLAIN, QUICK /* no intent record */, ATOMIC };

/* How each comes about: events in a row, from nothing. */
static const struct situation {
  const char *name;
  enum mode mode;
  const char *recipe;
} situations[] = {
    {"none", PLAIN, ""},
    {"none, no intent", QUICK, ""},
    {"none, atomic", ATOMIC, ""},
    {"intent-writing", PLAIN, "prepare"},
    {"intent-writing, abort asked", PLAIN, "prepare abort"},
    {"preparing", PLAIN, "prepare logged"},
    {"preparing, abort asked", PLAIN, "prepare logged abort"},
    {"preparing, one phase", PLAIN, "prepare-1 logged"},
    {"preparing, no intent", QUICK, "prepare"},
    {"preparing, atomic", ATOMIC, "prepare"},
    {"preparing, atomic, one phase", ATOMIC, "prepare-1"},
    {"preparing, atomic, abort asked", ATOMIC, "prepare abort"},
    {"vote-writing", PLAIN, "prepare logged voted-commit"},
    {"vote-writing, abort asked", PLAIN, "prepare logged voted-commit abort"},
    {"vote-writing, no intent", QUICK, "prepare voted-commit"},
    {"vote-writing, atomic", ATOMIC, "prepare voted-commit"},
    {"vote-writing, after a failed one phase", ATOMIC, "prepare-1 voted-commit abort failed"},
    {"prepared", PLAIN, "prepare logged voted-commit logged"},
    {"prepared, atomic", ATOMIC, "prepare voted-commit logged"},
    {"decision-writing", PLAIN, "prepare-1 logged voted-commit"},
    {"committing", PLAIN, "prepare logged voted-commit logged commit"},
    {"committing, told", PLAIN, "prepare logged voted-commit logged told-committed"},
    {"committing, one phase", PLAIN, "prepare-1 logged voted-commit logged"},
    {"committing, atomic, one phase", ATOMIC, "prepare-1 voted-commit"},
    {"commit-due", PLAIN, "prepare-1 logged voted-commit logged failed"},
    {"commit-writing", PLAIN, "prepare logged voted-commit logged commit finished"},
    {"commit-writing, one phase", PLAIN, "prepare-1 logged voted-commit logged finished"},
    {"commit-writing, atomic, one phase", ATOMIC, "prepare-1 voted-commit finished"},
    {"committed", PLAIN, "prepare logged voted-commit logged commit finished logged"},
    {"aborting, unknown", PLAIN, "abort"},
    {"aborting, intent", PLAIN, "prepare logged abort voted-commit"},
    {"aborting, prepared", PLAIN, "prepare logged voted-commit logged abort"},
    {"aborting, atomic", ATOMIC, "prepare abort voted-commit"},
    {"abort-due, unknown", PLAIN, "abort failed"},
    {"abort-due, intent", PLAIN, "prepare logged abort voted-commit failed"},
    {"abort-writing, unknown", PLAIN, "abort finished"},
    {"abort-writing, no", PLAIN, "prepare logged voted-abort"},
    {"abort-writing, no, one phase", QUICK, "prepare-1 voted-abort"},
    {"abort-writing, prepared", PLAIN, "prepare logged voted-commit logged abort finished"},
    {"abort-writing, read-only", PLAIN, "prepare logged voted-read-only abort"},
    {"aborted", PLAIN, "prepare logged voted-abort logged"},
    {"read-only-writing", PLAIN, "prepare-1 logged voted-read-only"},
    {"read-only-writing, abort asked", PLAIN, "prepare-1 logged voted-read-only abort"},
    {"read-only", PLAIN, "prepare logged voted-read-only"},
    {"heuristic-calling", ATOMIC, "prepare voted-commit logged operate-commit"},
    {"heuristic-writing", PLAIN, "prepare logged voted-commit logged operate-commit"},
    {"heuristic-writing, decided", PLAIN,
     "prepare-1 logged voted-commit logged failed operate-mixed"},
    {"heuristic", PLAIN, "prepare logged voted-commit logged operate-mixed logged"},
    {"heuristic, forget failed", PLAIN,
     "prepare logged voted-commit logged operate-mixed logged forget not-logged"},
    {"forget-writing", PLAIN, "prepare logged voted-commit logged operate-mixed logged forget"},
    {"forgotten", PLAIN, "prepare logged voted-commit logged operate-mixed logged forget logged"},
};

static void open_world(struct world *w, const struct situation *situation) {
  struct vow_pconfig config = {.atomic = situation->mode == ATOMIC,
                               .intent = situation->mode == PLAIN,
                               .branches_max = 10,
                               .preparing_max = 10,
                               .tombstones_max = 10,
                               .coordinators_max = 2,
                               .inquiry_min_ms = 100,
                               .inquiry_max_ms = 1000};
  *w = (struct world){.now_ms = 1000};
  assert_int_equal(vow_pcore_new(&w->core, &config), VOW_OK);
  char recipe[160];
  (void)snprintf(recipe, sizeof recipe, "%s", situation->recipe);
  char *rest = NULL;
  for (char *name = strtok_r(recipe, " ", &rest); name; name = strtok_r(NULL, " ", &rest)) {
    w->token++;
    assert_int_equal(happen(w, name), VOW_OK);
  }
  w->token = TOKEN;
}

static void open_recipe(struct world *w, enum mode mode, const char *recipe) {
  struct situation situation = {"", mode, recipe};
  open_world(w, &situation);
}

static const char *state_of(const struct world *w) {
  const struct vow_pbranch *b = vow_pcore_find(w->core, id, 1);
  return vow_pbranch_state_name(b ? (enum vow_pbranch_state)b->state : VOW_PBRANCH_NONE);
}

/* ---- the table ---- */

static void describe_reply(struct vow_buf *out, const struct vow_paction *action) {
  const struct vow_message_reply *reply = &action->u.reply.reply;
  vow_buf_printf(out, " %s", action->u.reply.token == TOKEN ? "answer" : "answer-earlier");
  if (action->u.reply.error) {
    vow_buf_printf(out, "(%s)", vow_error_slug(action->u.reply.error));
    return;
  }
  vow_buf_printf(out, "(%s%s%s)", reply->vote ? vow_vote_name(reply->vote) : "",
                 reply->vote && reply->outcome ? " " : "",
                 reply->outcome ? vow_outcome_name(reply->outcome) : "");
}

static void describe(struct vow_buf *out, const struct vow_paction *action) {
  static const char *const records[] = {"",          "intent",    "prepared",
                                        "decided",   "committed", "aborted",
                                        "read-only", "heuristic", "forgotten"};
  switch (action->type) {
    case VOW_PACTION_CALL:
      vow_buf_printf(out, " call(%s)", vow_message_type_name(action->u.call));
      break;
    case VOW_PACTION_LOG:
      assert_string_equal(action->u.log.record.coordinator, COORDINATOR);
      vow_buf_printf(out, " %s(%s)", action->u.log.forced ? "force" : "write",
                     records[action->u.log.record.kind]);
      break;
    case VOW_PACTION_PURGE:
      vow_buf_puts(out, " purge");
      break;
    case VOW_PACTION_SAVE:
      vow_buf_puts(out, " save");
      break;
    case VOW_PACTION_REPLY:
      describe_reply(out, action);
      break;
    case VOW_PACTION_ASK:
      vow_buf_puts(out, " ask");
      break;
  }
}

/* One pair, as its line in the table. */
static void describe_pair(struct vow_buf *out, const struct situation *situation,
                          const char *event) {
  struct world w;
  open_world(&w, situation);
  char before[32];
  (void)snprintf(before, sizeof before, "%s", state_of(&w));
  enum vow_error error = happen(&w, event);
  vow_buf_printf(out, "%-40s %-16s ", situation->name, event);
  if (error) {
    /* Refused: nothing changed, and nothing is to be done. */
    assert_int_equal(error, VOW_E_ILLEGAL_STATE);
    assert_string_equal(state_of(&w), before);
    assert_int_equal(w.actions.count, 0);
    vow_buf_puts(out, "refused");
  } else {
    vow_buf_puts(out, strcmp(state_of(&w), before) == 0 ? "." : state_of(&w));
  }
  for (uint32_t i = 0; i < w.actions.count; i++) describe(out, &w.actions.items[i]);
  vow_buf_puts(out, "\n");
  vow_pcore_free(w.core);
}

static void make_table(struct vow_buf *out) {
  vow_buf_init(out, 1 << 20);
  for (size_t s = 0; s < sizeof situations / sizeof situations[0]; s++) {
    for (size_t e = 0; e < sizeof events / sizeof events[0]; e++) {
      describe_pair(out, &situations[s], events[e]);
    }
    vow_buf_puts(out, "\n");
  }
  assert_int_equal(out->error, VOW_OK);
}

static void every_state_meets_every_event_as_the_table_says(void **state) {
  (void)state;
  struct vow_buf got;
  char wanted[256], *rest = NULL;
  make_table(&got);
  FILE *table = fopen(VOW_BRANCH_TABLE, "r");
  assert_non_null(table);
  char *line = got.data;
  for (; fgets(wanted, sizeof wanted, table) != NULL; line = rest) {
    rest = strchr(line, '\n');
    assert_non_null(rest);
    *rest++ = '\0';
    wanted[strcspn(wanted, "\n")] = '\0';
    assert_string_equal(line, wanted);
  }
  assert_string_equal(line, "");
  (void)fclose(table);
  vow_buf_fini(&got);
}

static void every_state_is_one_of_the_situations(void **state) {
  (void)state;
  bool seen[VOW_PBRANCH_STATE_COUNT] = {false};
  for (size_t s = 0; s < sizeof situations / sizeof situations[0]; s++) {
    struct world w;
    open_world(&w, &situations[s]);
    const struct vow_pbranch *b = vow_pcore_find(w.core, id, 1);
    seen[b ? b->state : VOW_PBRANCH_NONE] = true;
    vow_pcore_free(w.core);
  }
  for (int i = 0; i < VOW_PBRANCH_STATE_COUNT; i++) assert_true(seen[i]);
}

/* Whoever reconciles a log is told what is on the disk: of an abort also whether the coordinator
 * said so; only a vote read-only needs no record. */
static void what_is_known_of_a_branch_is_what_is_on_its_disk(void **state) {
  static const struct {
    struct vow_pbranch branch;
    enum vow_known_state known;
  } cases[] = {
      {{.durable = VOW_PRECORD_NONE}, VOW_KNOWN_PREPARING},
      {{.durable = VOW_PRECORD_INTENT}, VOW_KNOWN_PREPARING},
      {{.durable = VOW_PRECORD_NONE, .state = VOW_PBRANCH_READ_ONLY}, VOW_KNOWN_READ_ONLY},
      {{.durable = VOW_PRECORD_READ_ONLY}, VOW_KNOWN_READ_ONLY},
      {{.durable = VOW_PRECORD_PREPARED}, VOW_KNOWN_PREPARED},
      {{.durable = VOW_PRECORD_DECIDED}, VOW_KNOWN_COMMITTED},
      {{.durable = VOW_PRECORD_COMMITTED}, VOW_KNOWN_COMMITTED},
      {{.durable = VOW_PRECORD_ABORTED}, VOW_KNOWN_REFUSED},
      {{.durable = VOW_PRECORD_ABORTED, .outcome = VOW_OUTCOME_ABORTED}, VOW_KNOWN_ABORTED},
      {{.durable = VOW_PRECORD_HEURISTIC}, VOW_KNOWN_HEURISTIC},
      {{.durable = VOW_PRECORD_FORGOTTEN}, VOW_KNOWN_HEURISTIC}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(vow_pbranch_known(&cases[i].branch), cases[i].known);
  }
}

/* Whoever is asked in these situations does not know yet: the commit that may come would be taken
 * for a promise. */
static void a_commit_that_is_under_way_is_known_as_such(void **state) {
  static const struct {
    const char *recipe;
    bool may_commit;
  } cases[] = {{"prepare", false},
               {"prepare logged", false},
               {"prepare-1", true},
               {"prepare-1 logged", true},
               {"prepare-1 logged voted-commit", true},
               {"prepare-1 logged voted-commit logged", false}, /* that it commits is on the disk */
               {"prepare logged voted-commit logged", false},
               {"prepare logged voted-commit logged commit", true},
               {"prepare logged voted-commit logged commit finished", true},
               {"prepare logged voted-commit logged commit finished logged", false}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct world w;
    open_recipe(&w, PLAIN, cases[i].recipe);
    assert_int_equal(vow_pbranch_may_commit(vow_pcore_find(w.core, id, 1)), cases[i].may_commit);
    vow_pcore_free(w.core);
  }
}

/* ---- what comes of it ---- */

static const struct vow_message_reply *answer_of(const struct world *w, enum vow_error *error) {
  for (uint32_t i = 0; i < w->actions.count; i++) {
    const struct vow_paction *action = &w->actions.items[i];
    if (action->type != VOW_PACTION_REPLY || action->u.reply.token != TOKEN) continue;
    *error = action->u.reply.error;
    return &action->u.reply.reply;
  }
  return NULL;
}

/* What the branch waits for from its driver; NULL: nothing. */
static const char *next_result(const struct world *w, bool fails) {
  const char *name = state_of(w);
  if (strstr(name, "-writing")) return fails ? "not-logged" : "logged";
  if (strcmp(name, "preparing") == 0) return fails ? "voted-nonsense" : "voted-commit";
  bool calling = strcmp(name, "committing") == 0 || strcmp(name, "aborting") == 0 ||
                 strcmp(name, "heuristic-calling") == 0;
  if (!calling) return NULL;
  return fails ? "failed" : "finished";
}

/* Also if the first thing that it waits for fails. */
static void whoever_asks_is_answered_once(void **state) {
  static const char *const asked[] = {"prepare", "prepare-1", "commit", "abort", "forget"};
  (void)state;
  for (size_t n = 0; n < 2 * sizeof situations / sizeof situations[0]; n++) {
    const struct situation *situation = &situations[n / 2];
    for (size_t e = 0; e < sizeof asked / sizeof asked[0]; e++) {
      struct world w;
      enum vow_error error;
      open_world(&w, situation);
      assert_int_equal(happen(&w, asked[e]), VOW_OK);
      int answers = answer_of(&w, &error) != NULL;
      const char *result = next_result(&w, n % 2 == 1);
      for (; result; result = next_result(&w, false)) {
        assert_int_equal(happen(&w, result), VOW_OK);
        answers += answer_of(&w, &error) != NULL;
      }
      if (answers != 1) fail_msg("%s, %s: %d answers", situation->name, asked[e], answers);
      vow_pcore_free(w.core);
    }
  }
}

/* To the vote alone the coordinator would commit in two phases, and tell its client so. */
static void who_asks_in_one_phase_waits_for_the_operators_word(void **state) {
  struct world w;
  enum vow_error error = VOW_E_INTERNAL;
  (void)state;
  open_recipe(&w, PLAIN, "prepare-1 logged voted-commit logged failed operate-mixed");
  assert_int_equal(happen(&w, "prepare-1"), VOW_OK);
  assert_null(answer_of(&w, &error));
  assert_int_equal(happen(&w, "logged"), VOW_OK);
  const struct vow_message_reply *answer = answer_of(&w, &error);
  assert_non_null(answer);
  assert_int_equal(error, VOW_OK);
  assert_int_equal(answer->vote, VOW_VOTE_COMMIT);
  assert_int_equal(answer->outcome, VOW_OUTCOME_HEURISTIC_MIXED);
  vow_pcore_free(w.core);
}

/* Where the promise stands, and in one phase, a vote to abort would be believed. */
static void what_failed_is_no_vote_to_abort(void **state) {
  static const struct {
    const char *recipe, *events[2];
  } cases[] = {{"prepare logged voted-commit logged abort", {"failed"}},
               {"prepare-1 logged", {"voted-nonsense", "failed"}}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct world w;
    enum vow_error error = VOW_OK;
    open_recipe(&w, PLAIN, cases[i].recipe);
    assert_int_equal(happen(&w, "prepare"), VOW_OK);
    for (int k = 0; k < 2 && cases[i].events[k]; k++) {
      assert_null(answer_of(&w, &error));
      assert_int_equal(happen(&w, cases[i].events[k]), VOW_OK);
    }
    assert_non_null(answer_of(&w, &error));
    assert_int_equal(vow_error_http_status(error), 500);
    vow_pcore_free(w.core);
  }
}

/* After a durable yes nobody but the coordinator aborts, however it is learned. */
static void an_abort_is_the_coordinators_or_a_refusal(void **state) {
  static const struct {
    const char *recipe;
    enum vow_known_state known;
  } cases[] = {
      {"prepare logged voted-commit logged told-aborted finished logged", VOW_KNOWN_ABORTED},
      {"prepare logged voted-commit logged abort finished logged", VOW_KNOWN_ABORTED},
      {"prepare logged abort voted-commit finished logged", VOW_KNOWN_ABORTED},
      {"abort finished logged", VOW_KNOWN_ABORTED},
      {"prepare logged voted-nonsense finished logged", VOW_KNOWN_REFUSED},
      {"prepare logged voted-abort logged", VOW_KNOWN_REFUSED}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct world w;
    open_recipe(&w, PLAIN, cases[i].recipe);
    assert_int_equal(vow_pbranch_known(vow_pcore_find(w.core, id, 1)), cases[i].known);
    vow_pcore_free(w.core);
  }
}

static void an_operators_word_that_failed_leaves_no_trace(void **state) {
  struct world w;
  (void)state;
  open_recipe(&w, ATOMIC, "prepare voted-commit logged operate-commit failed commit finished");
  assert_int_equal(w.actions.items[0].type, VOW_PACTION_LOG);
  assert_int_equal(w.actions.items[0].u.log.record.kind, VOW_PRECORD_COMMITTED);
  assert_int_equal(w.actions.items[0].u.log.record.outcome, VOW_OUTCOME_NONE);
  vow_pcore_free(w.core);
}

static void each_end_is_counted_as_what_it_is(void **state) {
  static const struct {
    const char *recipe;
    uint64_t committed, aborted, heuristic;
  } cases[] = {{"prepare logged voted-commit logged commit finished logged", 1, 0, 0},
               {"prepare logged voted-commit logged abort finished logged", 0, 1, 0},
               {"prepare logged voted-abort logged", 0, 1, 0},
               {"prepare logged voted-read-only", 0, 0, 0},
               {"prepare logged voted-commit logged operate-mixed logged forget logged", 0, 0, 1}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct world w;
    struct vow_pcounts counts;
    open_recipe(&w, PLAIN, cases[i].recipe);
    vow_pcore_counts(w.core, &counts);
    assert_int_equal(counts.committed, cases[i].committed);
    assert_int_equal(counts.aborted, cases[i].aborted);
    assert_int_equal(counts.heuristic, cases[i].heuristic);
    vow_pcore_free(w.core);
  }
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--print") == 0) {
    struct vow_buf table;
    make_table(&table);
    (void)fputs(vow_buf_text(&table), stdout);
    vow_buf_fini(&table);
    return 0;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_state_meets_every_event_as_the_table_says),
      cmocka_unit_test(every_state_is_one_of_the_situations),
      cmocka_unit_test(what_is_known_of_a_branch_is_what_is_on_its_disk),
      cmocka_unit_test(a_commit_that_is_under_way_is_known_as_such),
      cmocka_unit_test(whoever_asks_is_answered_once),
      cmocka_unit_test(who_asks_in_one_phase_waits_for_the_operators_word),
      cmocka_unit_test(what_failed_is_no_vote_to_abort),
      cmocka_unit_test(an_abort_is_the_coordinators_or_a_refusal),
      cmocka_unit_test(an_operators_word_that_failed_leaves_no_trace),
      cmocka_unit_test(each_end_is_counted_as_what_it_is),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
