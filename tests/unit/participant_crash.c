/*
 * What a participant is after it was killed at a named step: every fail point of the SDK but the
 * one that needs a coordinator (participant_inquiry.c).
 */
#include <stdio.h>
#include <string.h>

#include "failpoint.h"
#include "participant_fixture.h"

#define VOTE_ABORT "\"vote\":\"abort\""

static void prepare(struct fixture *f) {
  (void)send_message(f, "prepare", 1, "");
}

static void prepare_in_one_phase(struct fixture *f) {
  (void)send_message(f, "prepare", 1, ONE_PHASE);
}

static void commit(struct fixture *f) {
  (void)send_message(f, "commit", 1, "");
}

static void abort_(struct fixture *f) {
  (void)send_message(f, "abort", 1, "");
}

static void nothing(struct fixture *f) {
  (void)f;
}

/* Branch 1 is prepared, and no participant is open. */
static void given_prepared(struct fixture *f) {
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  fixture_close(f);
}

static void prepare_received(void **state) {
  struct fixture *f = *state;
  fixture_killed_at(f, "prepare.received", prepare);
  fixture_open(f);
  expect_part(send_message(f, "commit", 1, ""), 404, "unknown-branch");
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  assert_int_equal(f->app->aborts, 0);
}

/* The application's work is there and no vote: it is undone without anybody asking. */
static void undone_after(struct fixture *f, const char *failpoint,
                         void (*scenario)(struct fixture *)) {
  fixture_killed_at(f, failpoint, scenario);
  fixture_open(f);
  eventually(f->app->aborts == 1);
  expect_part(send_message(f, "prepare", 1, ""), 200, VOTE_ABORT);
  expect_part(send_message(f, "prepare", 1, ONE_PHASE), 200, "\"outcome\":\"aborted\"");
  expect(send_message(f, "abort", 1, ""), 200, ABORTED);
  assert_int_equal(f->app->prepares, 1);
  assert_int_equal(f->app->commits, 0);
  assert_int_equal(f->app->aborts, 1);
}

static void prepare_after_callback(void **state) {
  undone_after(*state, "prepare.after_callback", prepare);
}

static void votes_before_log(void **state) {
  undone_after(*state, "votes.before_log", prepare);
}

static void votes_before_log_in_one_phase(void **state) {
  undone_after(*state, "votes.before_log", prepare_in_one_phase);
}

static void nothing_is_undone_where_prepare_leaves_nothing(void **state) {
  struct fixture *f = *state;
  f->options.prepare_leaves_nothing = 1;
  fixture_killed_at(f, "prepare.after_callback", prepare);
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  assert_int_equal(f->app->prepares, 2);
  assert_int_equal(f->app->aborts, 0);
}

/* The vote is durable, whether or not anybody heard it. */
static void in_doubt_after(struct fixture *f, const char *failpoint,
                           void (*scenario)(struct fixture *), int commits) {
  struct vow_participant_stats stats;
  fixture_killed_at(f, failpoint, scenario);
  fixture_open(f);
  vow_participant_stats(f->participant, &stats);
  assert_int_equal(stats.prepared, 1);
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
  assert_int_equal(f->app->prepares, 1);
  assert_int_equal(f->app->commits, commits);
  assert_int_equal(f->app->aborts, 0);
}

static void votes_after_log(void **state) {
  in_doubt_after(*state, "votes.after_log", prepare, 1);
}

static void vote_before_reply(void **state) {
  in_doubt_after(*state, "vote.before_reply", prepare, 1);
}

static void commit_received(void **state) {
  given_prepared(*state);
  in_doubt_after(*state, "commit.received", commit, 1);
}

/* The callback has run and nobody knows: it runs again. */
static void commit_after_callback(void **state) {
  given_prepared(*state);
  in_doubt_after(*state, "commit.after_callback", commit, 2);
}

static void commit_before_log(void **state) {
  given_prepared(*state);
  in_doubt_after(*state, "commit.before_log", commit, 2);
}

static void recover_row(void **state) {
  given_prepared(*state);
  in_doubt_after(*state, "recover.row", nothing, 1);
}

static void committed_after(struct fixture *f, const char *failpoint) {
  given_prepared(f);
  fixture_killed_at(f, failpoint, commit);
  fixture_open(f);
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
  expect(send_message(f, "abort", 1, ""), 200, COMMITTED);
  assert_int_equal(f->app->commits, 1);
  assert_int_equal(f->app->aborts, 0);
}

static void commit_after_log(void **state) {
  committed_after(*state, "commit.after_log");
}

static void ack_before_reply(void **state) {
  committed_after(*state, "ack.before_reply");
}

static void aborted_after(struct fixture *f, const char *failpoint, int aborts) {
  given_prepared(f);
  fixture_killed_at(f, failpoint, abort_);
  fixture_open(f);
  expect(send_message(f, "abort", 1, ""), 200, ABORTED);
  expect_part(send_message(f, "prepare", 1, ""), 200, VOTE_ABORT);
  assert_int_equal(f->app->aborts, aborts);
  assert_int_equal(f->app->commits, 0);
}

static void abort_received(void **state) {
  aborted_after(*state, "abort.received", 1);
}

static void abort_before_log(void **state) {
  aborted_after(*state, "abort.before_log", 2);
}

static void abort_after_log(void **state) {
  aborted_after(*state, "abort.after_log", 1);
}

/* In one phase the decision is here, and durable before its callback: no abort gets in between. */
static void committed_in_one_phase_after(struct fixture *f, const char *failpoint, int commits) {
  fixture_killed_at(f, failpoint, prepare_in_one_phase);
  fixture_open(f);
  expect(send_message(f, "abort", 1, ""), 200, COMMITTED);
  expect(send_message(f, "prepare", 1, ONE_PHASE), 200,
         "{\"vote\":\"commit\",\"outcome\":\"committed\"}");
  assert_int_equal(f->app->prepares, 1);
  assert_int_equal(f->app->commits, commits);
  assert_int_equal(f->app->aborts, 0);
}

static void votes_after_log_in_one_phase(void **state) {
  committed_in_one_phase_after(*state, "votes.after_log", 1);
}

static void commit_after_callback_in_one_phase(void **state) {
  committed_in_one_phase_after(*state, "commit.after_callback", 2);
}

static void commit_before_log_in_one_phase(void **state) {
  committed_in_one_phase_after(*state, "commit.before_log", 2);
}

static void commit_after_log_in_one_phase(void **state) {
  committed_in_one_phase_after(*state, "commit.after_log", 1);
}

static void vote_before_reply_in_one_phase(void **state) {
  committed_in_one_phase_after(*state, "vote.before_reply", 1);
}

static void a_one_phase_decision_is_carried_out_without_anybody_asking(void **state) {
  struct fixture *f = *state;
  fixture_killed_at(f, "votes.after_log", prepare_in_one_phase);
  fixture_open(f);
  eventually(f->app->commits == 1);
}

/* A lost tombstone would let a delayed one-phase prepare commit what was acknowledged as aborted.
 */
static void an_acknowledged_abort_of_the_unknown_survives(void **state) {
  struct fixture *f = *state;
  fixture_killed_at(f, "ack.before_reply", abort_);
  fixture_open(f);
  expect_part(send_message(f, "prepare", 1, ONE_PHASE), 200, "\"outcome\":\"aborted\"");
  assert_int_equal(f->app->prepares, 0);
}

static void abort_below_the_watermark(struct fixture *f) {
  (void)send_below(f, "prepare", 9, 5);
  (void)send_message(f, "abort", 3, "");
}

/* The same of one that was answered as ended because its id is below the watermark. */
static void what_was_answered_as_ended_stays_so(void **state) {
  struct fixture *f = *state;
  fixture_killed_at(f, "ack.before_reply", abort_below_the_watermark);
  fixture_open(f);
  expect_part(send_message(f, "prepare", 3, ONE_PHASE), 200, "already ended");
  assert_int_equal(f->app->prepares, 1);
}

#define at(failpoint, function) \
  { failpoint ": " #function, function, fixture_setup, fixture_teardown, NULL }

static const struct CMUnitTest tests[] = {
    at("prepare.received", prepare_received),
    at("prepare.after_callback", prepare_after_callback),
    at("prepare.after_callback", nothing_is_undone_where_prepare_leaves_nothing),
    at("votes.before_log", votes_before_log),
    at("votes.before_log", votes_before_log_in_one_phase),
    at("votes.after_log", votes_after_log),
    at("votes.after_log", votes_after_log_in_one_phase),
    at("votes.after_log", a_one_phase_decision_is_carried_out_without_anybody_asking),
    at("vote.before_reply", vote_before_reply),
    at("vote.before_reply", vote_before_reply_in_one_phase),
    at("commit.received", commit_received),
    at("commit.after_callback", commit_after_callback),
    at("commit.after_callback", commit_after_callback_in_one_phase),
    at("commit.before_log", commit_before_log),
    at("commit.before_log", commit_before_log_in_one_phase),
    at("commit.after_log", commit_after_log),
    at("commit.after_log", commit_after_log_in_one_phase),
    at("ack.before_reply", ack_before_reply),
    at("ack.before_reply", an_acknowledged_abort_of_the_unknown_survives),
    at("ack.before_reply", what_was_answered_as_ended_stays_so),
    at("abort.received", abort_received),
    at("abort.before_log", abort_before_log),
    at("abort.after_log", abort_after_log),
    at("recover.row", recover_row),
};

/* A fail point that is added to the table needs a test here. */
static bool is_tested(const char *failpoint) {
  for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
    size_t bytes = strlen(failpoint);
    if (strncmp(tests[i].name, failpoint, bytes) == 0 && tests[i].name[bytes] == ':') return true;
  }
  return strcmp(failpoint, "inquiry.answered") == 0;
}

int main(void) {
#define CHECK(name, when, error) \
  if (!is_tested(name)) return (void)fprintf(stderr, "%s has no test\n", name), 1;
  VOW_FAILPOINT_PARTICIPANT_TABLE(CHECK)
#undef CHECK
  return cmocka_run_group_tests(tests, NULL, NULL);
}
