/*
 * What is kept of a transaction for people: its history, its errors, its reasons, all bounded.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core_world.h"

static int setup(void **state) {
  *state = world_new();
  return 0;
}

static int teardown(void **state) {
  world_free(*state);
  return 0;
}

/* "begun; commit-asked; prepare-sent 1; vote 1 commit; …", with "x3" where it happened in a row. */
static const char *history(const struct vow_txn *t) {
  static char text[8192];
  char *out = text;

  for (uint32_t i = 0; i < t->history_count; i++) {
    const struct vow_history *h = &t->history[i];
    out += sprintf(out, "%s%s", i == 0 ? "" : "; ", vow_history_kind_name(h->kind));
    if (h->branch != 0) out += sprintf(out, " %u", h->branch);
    if (h->count > 1) out += sprintf(out, " x%u", h->count);
    if (h->detail != NULL) out += sprintf(out, " (%s)", h->detail);
  }
  return text;
}

static void a_commit_tells_its_story(void **state) {
  struct world *w = *state;

  begin(w, "a+");
  enlist(w, T1, "b+");
  commit_no_wait(w, T1);
  yes(w, "a");
  failed(w, "b");
  wait_ms(w, 100);
  answer(w, "b", VOW_VOTE_READ_ONLY, VOW_OUTCOME_NONE);
  assert_string_equal(history(world_find(w, T1)),
                      "begun; enlisted 2; commit-asked; prepare-sent 1; prepare-sent 2; "
                      "vote 1 (commit); attempt-failed 2 (it failed); vote 2 (read-only)");
  sync(w);
  w->wall_ms += 7;
  acknowledge(w, "a", VOW_OUTCOME_COMMITTED);
  const struct vow_txn *t = world_find(w, T1);
  assert_non_null(strstr(history(t),
                         "vote 2 (read-only); decided (commit); decision-sent 1 (commit); "
                         "acknowledged 1 (committed); ended"));
  assert_int_equal(t->history[0].time_ms, t->created_ms);
  assert_int_equal(t->history[t->history_count - 1].time_ms, w->wall_ms);
  assert_int_equal(t->updated_ms, w->wall_ms);
  assert_int_equal(t->ended_ms, w->wall_ms);
  assert_int_equal(t->branches[1].attempts, 2);
  assert_string_equal(t->branches[1].last_error, "it failed");
}

static void an_abort_tells_its_story(void **state) {
  struct world *w = *state;

  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  yes(w, "a");
  wait_ms(w, 5000);
  acknowledge(w, "a", VOW_OUTCOME_HEURISTIC_COMMIT);
  no(w, "b", "no money");
  forget(w, T1);
  sync(w);
  acknowledge(w, "a", VOW_OUTCOME_NONE);
  assert_string_equal(
      history(world_find(w, T1)),
      "begun; commit-asked; prepare-sent 1; prepare-sent 2; vote 1 (commit); timed-out; "
      "decided (abort: no vote from branch 'b' in time); decision-sent 1 (abort); "
      "heuristic 1 (heuristic-commit); vote 2 (abort: no money); forgotten (seen); "
      "decision-sent 1 (forget); ended");
}

static void operators_and_restarts_are_in_it(void **state) {
  struct world *w = *state;

  begin(w, "a+");
  commit_no_wait(w, T1);
  sync(w);
  crash(w, 0);
  abort_txn(w, T1);
  resolve(w, T1, 1, VOW_OUTCOME_ABORTED);
  sync(w);
  assert_string_equal(history(world_find(w, T1)),
                      "begun; commit-asked; delegated; recovered (undecided: its branch is asked); "
                      "decision-sent 1 (abort); abort-asked; resolved 1 (aborted: by hand); ended; "
                      "decided (abort: the coordinator restarted before a decision)");
}

/* The moment of a decision is known after a crash, too, whether its record says so or a later one.
 */
static void decisions_are_in_it_once(void **state) {
  struct world *w = *state;

  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  yes(w, "a");
  yes(w, "b");
  crash(w, 1);
  assert_non_null(strstr(history(world_find(w, T1)),
                         "vote 2 (commit); decided (commit); "
                         "recovered (committing: the commit is sent again)"));
  sync(w);
  unknown(w, "a"); /* the next record */
  assert_non_null(strstr(history(world_find(w, T1)),
                         "attempt-failed 1 (it failed); "
                         "heuristic 1 (told to commit, it does not know the branch)"));
  crash(w, 1);
  const char *first = strstr(history(world_find(w, T1)), "decided");
  assert_non_null(first);
  assert_null(strstr(first + 1, "decided"));
}

/* What cannot be read counts as a no, and people are told what was wrong with it. */
static void nonsense_is_called_so(void **state) {
  struct world *w = *state;

  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  answer(w, "a", VOW_VOTE_READ_ONLY, VOW_OUTCOME_COMMITTED);
  const struct vow_branch *branch = world_find(w, T1)->branches;
  assert_int_equal(branch->vote, VOW_VOTE_ABORT);
  assert_string_equal(branch->last_error, "the answer does not fit the question");
}

/* Failures that repeat are counted, though several branches fail in turn. */
static void repeated_failures_are_counted(void **state) {
  struct world *w = *state;

  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  yes(w, "a");
  yes(w, "b");
  sync(w);
  for (int i = 0; i < 3; i++) {
    failed(w, "a");
    failed(w, "b");
    wait_ms(w, 1600);
  }
  assert_non_null(strstr(history(world_find(w, T1)),
                         "; attempt-failed 1 x3 (it failed); attempt-failed 2 x3 (it failed)"));
  acknowledge(w, "b", VOW_OUTCOME_COMMITTED);
  for (int i = 0; i < 70000; i++) {
    failed(w, "a");
    wait_ms(w, 1600);
    w->sends[0] = w->sends[w->send_count - 1]; /* the world need not remember more */
    w->send_count = 1;
    world_forget_trace(w);
  }
  assert_non_null(strstr(history(world_find(w, T1)), "attempt-failed 1 x65535"));
}

/* At the bound failed attempts go first, then whatever is oldest. */
static void history_is_bounded(void **state) {
  struct world *w = *state;
  struct vow_event event = {.type = VOW_EVENT_CONFIG, .u.config = &w->config};

  w->config.history_max = 6;
  world_must(w, &event);
  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  failed(w, "b");
  yes(w, "a");
  assert_string_equal(history(world_find(w, T1)),
                      "begun; commit-asked; prepare-sent 1; prepare-sent 2; "
                      "attempt-failed 2 (it failed); vote 1 (commit)");
  abort_txn(w, T1);
  assert_string_equal(history(world_find(w, T1)),
                      "prepare-sent 2; vote 1 (commit); abort-asked; "
                      "decided (abort: a client asked to abort it); decision-sent 1 (abort); "
                      "decision-sent 2 (abort)");
  assert_int_equal(world_find(w, T1)->history_dropped, 4);
}

static void fail_with(struct world *w, const char *branch, const char *error) {
  struct vow_event event = {.type = VOW_EVENT_REPLY, .u.reply.count = 1};

  for (uint32_t i = 0; i < w->send_count; i++) {
    if (w->sends[i].done || strcmp(w->sends[i].branch, branch) != 0) continue;
    event.u.reply.request = w->sends[i].request;
    event.u.reply.results = test_calloc(1, sizeof(*event.u.reply.results));
    event.u.reply.results[0].kind = VOW_REPLY_BRANCH_FAILED;
    event.u.reply.results[0].error = error;
    w->sends[i].done = true;
    world_must(w, &event);
    test_free(event.u.reply.results);
    return;
  }
  fail();
}

static uint32_t count_failures(const struct vow_txn *t, const char *error) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < t->history_count; i++) {
    const char *detail = t->history[i].detail;
    count += detail != NULL && strcmp(detail, error) == 0;
  }
  return count;
}

/* An equal failure is looked for among the last ones only. */
static void failures_are_compared_with_the_last(void **state) {
  struct world *w = *state;
  char error[32];

  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  yes(w, "a");
  yes(w, "b");
  sync(w);
  for (int i = 0; i < 18; i++) {
    (void)snprintf(error, sizeof(error), "error %d", i % 17);
    fail_with(w, "a", error);
    wait_ms(w, 1600);
  }
  assert_int_equal(count_failures(world_find(w, T1), "error 0"), 2);
  fail_with(w, "a", "error 16");
  assert_int_equal(count_failures(world_find(w, T1), "error 16"), 1);
}

/* A history of one entry holds the newest. */
static void one_entry_is_a_history(void **state) {
  struct world *w = *state;
  struct vow_event event = {.type = VOW_EVENT_CONFIG, .u.config = &w->config};

  w->config.history_max = 1;
  world_must(w, &event);
  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  fail_with(w, "b", "one");
  wait_ms(w, 200);
  fail_with(w, "b", "two");
  assert_string_equal(history(world_find(w, T1)), "attempt-failed 2 (two)");
}

/* A text that is no text is cut, too. */
static void garbage_is_bounded(void **state) {
  struct world *w = *state;
  char error[2048];

  memset(error, 0x80, sizeof(error) - 1);
  error[sizeof(error) - 1] = '\0';
  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  fail_with(w, "b", error);
  assert_string_equal(world_find(w, T1)->branches[1].last_error, "");
}

static void reply_with(struct world *w, const char *reason) {
  world_reply(w, &w->sends[0], VOW_REPLY_ANSWERED,
              (struct vow_message_reply){.vote = VOW_VOTE_ABORT, .reason = reason}, false);
}

/* A reason of any length is cut to a bound, between two characters. */
static void reasons_are_bounded(void **state) {
  (void)state;
  char reason[4096];

  for (unsigned shift = 0; shift < 4; shift++) {
    struct world *w = world_new();
    memset(reason, 'x', shift);
    for (unsigned i = 0; i < 1000; i++) memcpy(reason + shift + 3 * i, "\xE2\x82\xAC", 4);
    begin(w, "a+ b+");
    commit_no_wait(w, T1);
    reply_with(w, reason);
    const char *kept = world_find(w, T1)->reason;
    const char *euros = strstr(kept, "\xE2\x82\xAC");
    size_t bytes = strlen(euros);
    assert_true(strlen(kept) < 1024 && strlen(kept) > 1016);
    assert_int_equal(bytes % 3, 0);
    world_free(w);
  }
}

/* Plain text is cut exactly at the bound. */
static void plain_reasons_are_bounded(void **state) {
  struct world *w = *state;
  char reason[4096];

  memset(reason, 'x', sizeof(reason) - 1);
  reason[sizeof(reason) - 1] = '\0';
  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  reply_with(w, reason);
  assert_int_equal(strlen(world_find(w, T1)->reason), 1023);
}

/* One that is a byte too long loses its last character as a whole. */
static void the_last_character_goes_whole(void **state) {
  struct world *w = *state;
  char reason[1024];

  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  size_t bytes = 1024 - strlen("branch 'a' voted abort: ");
  memset(reason, 'x', bytes);
  memcpy(reason + bytes - 2, "\xC3\xA4", 3);
  reply_with(w, reason);
  assert_int_equal(strlen(world_find(w, T1)->reason), 1022);
}

/* Whoever gives no sentence with an error gets one made. */
static void errors_always_say_something(void **state) {
  struct world *w = *state;
  struct vow_event event = {.type = VOW_EVENT_REPLY, .u.reply.count = 1};

  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  event.u.reply.request = w->sends[0].request;
  void *results = test_calloc(1, sizeof(*event.u.reply.results));
  event.u.reply.results = results;
  event.u.reply.results[0].kind = VOW_REPLY_REFUSED;
  w->sends[0].done = true;
  world_must(w, &event);
  test_free(results);
  assert_string_equal(world_find(w, T1)->reason, "branch 'a' refused: no reason was given");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(a_commit_tells_its_story),
      TEST(an_abort_tells_its_story),
      TEST(operators_and_restarts_are_in_it),
      TEST(decisions_are_in_it_once),
      TEST(nonsense_is_called_so),
      TEST(repeated_failures_are_counted),
      TEST(history_is_bounded),
      TEST(failures_are_compared_with_the_last),
      TEST(one_entry_is_a_history),
      TEST(garbage_is_bounded),
      TEST(reasons_are_bounded),
      TEST(plain_reasons_are_bounded),
      TEST(the_last_character_goes_whole),
      TEST(errors_always_say_something),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
