/* What a participant answers: the rules P1 to P9 of proto/README.md, and bad input. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "participant_fixture.h"

static void a_branch_is_prepared_and_committed_once(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ",\"payload\":{\"amount\":12.50}"), 200, VOTE_COMMIT);
  assert_string_equal(f->app->payload, "{\"amount\":12.50}");
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
  assert_string_equal(f->app->payload, "{\"amount\":12.50}");
  assert_int_equal(f->app->prepares, 1);
  assert_int_equal(f->app->commits, 1);
  assert_int_equal(f->app->aborts, 0);
}

static void a_message_that_comes_twice_gets_the_first_answer_and_has_no_effect(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  for (int i = 0; i < 3; i++) expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  for (int i = 0; i < 3; i++) expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  expect(send_message(f, "prepare", 2, ""), 200, VOTE_COMMIT);
  for (int i = 0; i < 3; i++) expect(send_message(f, "abort", 2, ""), 200, ABORTED);
  assert_int_equal(f->app->prepares, 2);
  assert_int_equal(f->app->commits, 1);
  assert_int_equal(f->app->aborts, 1);
}

static void a_vote_to_abort_names_its_reason_every_time(void **state) {
  struct fixture *f = *state;
  const char *vote = "{\"vote\":\"abort\",\"reason\":\"no money\"}";
  fixture_open(f);
  f->app->vote = VOW_VOTE_ABORT;
  expect(send_message(f, "prepare", 1, ""), 200, vote);
  f->app->vote = VOW_VOTE_COMMIT;
  expect(send_message(f, "prepare", 1, ""), 200, vote);
  fixture_reopen(f);
  expect(send_message(f, "prepare", 1, ""), 200, vote);
  expect(send_message(f, "abort", 1, ""), 200, ABORTED);
  assert_int_equal(f->app->prepares, 1);
  assert_int_equal(f->app->aborts, 0);
}

static void a_read_only_vote_is_the_end_of_it(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  f->app->vote = VOW_VOTE_READ_ONLY;
  expect(send_message(f, "prepare", 1, ""), 200, "{\"vote\":\"read-only\"}");
  f->app->vote = VOW_VOTE_COMMIT;
  expect(send_message(f, "prepare", 1, ""), 200, "{\"vote\":\"read-only\"}");
  expect(send_message(f, "abort", 1, ""), 200, ABORTED);
  expect_part(send_message(f, "prepare", 1, ""), 200, "\"vote\":\"abort\"");
  assert_int_equal(f->app->prepares, 1);
  assert_int_equal(f->app->commits + f->app->aborts, 0);
}

static void what_is_not_a_vote_is_a_vote_to_abort_and_undone(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  f->app->vote = (enum vow_vote)17;
  expect_part(send_message(f, "prepare", 1, ""), 200, "\"vote\":\"abort\"");
  assert_int_equal(f->app->aborts, 1);
}

static void an_abort_that_overtakes_its_prepare_is_remembered_through_a_restart(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  expect(send_message(f, "abort", 1, ""), 200, ABORTED);
  /* The application may have worked for the branch before it was asked to prepare. */
  assert_int_equal(f->app->aborts, 1);
  expect_part(send_message(f, "prepare", 1, ""), 200, "\"vote\":\"abort\"");
  fixture_reopen(f);
  expect_part(send_message(f, "prepare", 1, ""), 200, "\"vote\":\"abort\"");
  expect_part(send_message(f, "prepare", 1, ONE_PHASE), 200, "\"outcome\":\"aborted\"");
  assert_int_equal(f->app->prepares, 0);
}

static void tombstones_go_when_the_watermark_passes_and_it_stands_in_for_them(void **state) {
  struct fixture *f = *state;
  struct vow_participant_stats stats;
  f->options.tombstones_max = 3; /* while there is room, they may stay */
  fixture_open(f);
  for (unsigned n = 1; n <= 3; n++) {
    expect(send_message(f, "prepare", n, ""), 200, VOTE_COMMIT);
    expect(send_message(f, "commit", n, ""), 200, COMMITTED);
  }
  vow_participant_stats(f->participant, &stats);
  assert_int_equal(stats.tombstones, 3);
  expect(send_below(f, "prepare", 9, 3), 200, VOTE_COMMIT);
  expect(send_below(f, "commit", 9, 3), 200, COMMITTED);
  for (int run = 0; run < 2; run++) {
    vow_participant_stats(f->participant, &stats);
    assert_int_equal(stats.tombstones, 2); /* 3 and 9 */
    expect_part(send_message(f, "prepare", 1, ""), 200, "already ended");
    expect_part(send_message(f, "abort", 1, ""), 404, "urn:vow:unknown-branch");
    expect_part(send_message(f, "commit", 1, ""), 404, "urn:vow:unknown-branch");
    expect(send_message(f, "commit", 3, ""), 200, COMMITTED);
    fixture_reopen(f);
  }
  assert_int_equal(f->app->prepares, 4);
  assert_int_equal(f->app->aborts, 0);
}

static void commit_for_a_branch_nobody_knows_is_never_success(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  expect_part(send_message(f, "commit", 1, ""), 404, "urn:vow:unknown-branch");
  assert_int_equal(f->app->commits, 0);
}

static void commit_after_abort_is_answered_with_the_truth(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  expect(send_message(f, "abort", 1, ""), 200, ABORTED);
  expect(send_message(f, "commit", 1, ""), 200, "{\"outcome\":\"heuristic-abort\"}");
  expect(send_message(f, "forget", 1, ""), 200, "{}");
}

static void one_phase_commits_at_once_and_abort_tells_so(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  const char *done = "{\"vote\":\"commit\",\"outcome\":\"committed\"}";
  expect(send_message(f, "prepare", 1, ONE_PHASE), 200, done);
  expect(send_message(f, "prepare", 1, ONE_PHASE), 200, done);
  fixture_reopen(f);
  expect(send_message(f, "prepare", 1, ONE_PHASE), 200, done);
  expect(send_message(f, "abort", 1, ""), 200, COMMITTED);
  assert_int_equal(f->app->prepares, 1);
  assert_int_equal(f->app->commits, 1);
  assert_int_equal(f->app->aborts, 0);
  f->app->vote = VOW_VOTE_ABORT;
  expect(send_message(f, "prepare", 2, ONE_PHASE), 200,
         "{\"vote\":\"abort\",\"outcome\":\"aborted\",\"reason\":\"no money\"}");
}

static void a_one_phase_commit_that_fails_is_tried_again_and_never_aborted(void **state) {
  struct fixture *f = *state;
  f->options.inquiry_min_ms = 60000; /* not by itself */
  f->options.inquiry_max_ms = 60000;
  fixture_open(f);
  f->app->commit_error = VOW_E_DATABASE;
  expect_part(send_message(f, "prepare", 1, ONE_PHASE), 500, "not now");
  expect_part(send_message(f, "abort", 1, ""), 500, "not now");
  fixture_close(f);
  f->app->commit_error = VOW_OK;
  fixture_open(f);
  expect(send_message(f, "abort", 1, ""), 200, COMMITTED);
  assert_int_equal(f->app->aborts, 0);
}

static void a_callback_that_fails_is_called_again_when_the_message_comes_again(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  f->app->commit_error = VOW_E_DATABASE;
  expect_part(send_message(f, "commit", 1, ""), 500, "not now");
  f->app->commit_error = VOW_E_OVERLOADED;
  expect_part(send_message(f, "commit", 1, ""), 503, "not now");
  f->app->commit_error = VOW_OK;
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
  assert_int_equal(f->app->commits, 3);
  expect(send_message(f, "prepare", 2, ""), 200, VOTE_COMMIT);
  f->app->abort_error = VOW_E_INTERNAL;
  expect_part(send_message(f, "abort", 2, ""), 500, "not now");
  f->app->abort_error = VOW_OK;
  expect(send_message(f, "abort", 2, ""), 200, ABORTED);
}

static void an_operators_word_is_kept_until_it_is_forgotten(void **state) {
  struct fixture *f = *state;
  f->options.tombstones_max = 2; /* so that the watermark takes what it may */
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  assert_int_equal(
      vow_participant_heuristic(f->participant, id_of(1), 1, VOW_OUTCOME_HEURISTIC_ABORT), VOW_OK);
  fixture_reopen(f);
  expect(send_message(f, "commit", 1, ""), 200, "{\"outcome\":\"heuristic-abort\"}");
  expect(send_below(f, "prepare", 9, 5), 200, VOTE_COMMIT); /* the watermark alone is not enough */
  expect(send_below(f, "abort", 9, 5), 200, ABORTED);
  expect(send_message(f, "abort", 1, ""), 200, "{\"outcome\":\"heuristic-abort\"}");
  expect(send_message(f, "forget", 1, ""), 200, "{}");
  expect(send_below(f, "abort", 10, 5), 200, ABORTED);
  expect_part(send_message(f, "commit", 1, ""), 404, "unknown-branch");
  expect(send_message(f, "forget", 1, ""), 200, "{}");
  assert_int_equal(f->app->commits, 0);
}

/* By itself the vote would mean that nothing has happened yet, and a client be told "committed". */
static void who_asks_in_one_phase_is_told_an_operators_word(void **state) {
  static const struct {
    enum vow_outcome outcome;
    const char *answer;
  } cases[] = {
      {VOW_OUTCOME_HEURISTIC_COMMIT, "{\"vote\":\"commit\",\"outcome\":\"heuristic-commit\"}"},
      {VOW_OUTCOME_HEURISTIC_ABORT, "{\"vote\":\"commit\",\"outcome\":\"heuristic-abort\"}"},
      {VOW_OUTCOME_HEURISTIC_MIXED, "{\"vote\":\"commit\",\"outcome\":\"heuristic-mixed\"}"},
      {VOW_OUTCOME_HEURISTIC_HAZARD, "{\"vote\":\"commit\",\"outcome\":\"heuristic-hazard\"}"}};
  struct fixture *f = *state;
  f->app->commit_error = VOW_E_DATABASE;
  f->options.inquiry_min_ms = 60000; /* the callback comes again only when it is asked for */
  f->options.inquiry_max_ms = 60000;
  fixture_open(f);
  for (unsigned i = 0; i < 4; i++) {
    expect_part(send_message(f, "prepare", i + 1, ONE_PHASE), 500, "not now");
    assert_int_equal(vow_participant_heuristic(f->participant, id_of(i + 1), 1, cases[i].outcome),
                     VOW_OK);
    expect(send_message(f, "prepare", i + 1, ONE_PHASE), 200, cases[i].answer);
    expect(send_message(f, "prepare", i + 1, ""), 200, VOTE_COMMIT);
  }
  fixture_reopen(f);
  for (unsigned i = 0; i < 4; i++) {
    expect(send_message(f, "prepare", i + 1, ONE_PHASE), 200, cases[i].answer);
    expect(send_message(f, "forget", i + 1, ""), 200, "{}");
    expect(send_message(f, "prepare", i + 1, ONE_PHASE), 200, cases[i].answer);
  }
}

static void an_operator_cannot_settle_what_is_not_prepared(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  struct vow_participant *p = f->participant;
  const enum vow_outcome outcome = VOW_OUTCOME_HEURISTIC_MIXED;
  assert_int_equal(vow_participant_heuristic(p, id_of(1), 1, outcome), VOW_E_UNKNOWN_BRANCH);
  assert_int_equal(vow_participant_heuristic(p, "nonsense", 1, outcome), VOW_E_INVALID_ID);
  assert_int_equal(vow_participant_heuristic(p, id_of(1), 1, VOW_OUTCOME_COMMITTED),
                   VOW_E_INVALID_ARGUMENT);
  expect(send_message(f, "abort", 1, ""), 200, ABORTED);
  assert_int_equal(vow_participant_heuristic(p, id_of(1), 1, outcome), VOW_E_ILLEGAL_STATE);
}

static void forget_is_refused_while_a_branch_is_in_doubt(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  expect_part(send_message(f, "forget", 1, ""), 409, "state is prepared");
}

static void what_is_in_doubt_can_be_listed_in_order(void **state) {
  struct fixture *f = *state;
  char list[512];
  fixture_open(f);
  for (unsigned n = 3; n >= 1; n--) {
    expect(send_message(f, "prepare", n, ""), 200, VOTE_COMMIT);
  }
  expect(send_message(f, "commit", 2, ""), 200, COMMITTED);
  (void)snprintf(list, sizeof list,
                 "{\"branches\":[{\"transaction\":\"%s\",\"branch\":1,"
                 "\"coordinator\":\"" COORDINATOR
                 "\"},"
                 "{\"transaction\":\"%s\",\"branch\":1,\"coordinator\":\"" COORDINATOR "\"}]}",
                 id_of(1), id_of(3));
  expect(send_raw(f, "GET", "/in-doubt", NULL, NULL), 200, list);
}

static void a_coordinator_that_is_not_allowed_is_refused(void **state) {
  struct fixture *f = *state;
  f->options.coordinator_allow = "http://other:1, HTTP://Else/";
  fixture_open(f);
  expect_part(send_message(f, "prepare", 1, ""), 403, "urn:vow:forbidden");
  fixture_close(f);
  f->options.coordinator_allow = "http://other:1," COORDINATOR "/";
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  assert_int_equal(f->app->prepares, 1);
}

/* One whose address changed 64 times over the years is still let in by name, as the refusal says.
 */
static void the_limit_of_coordinators_yields_to_a_list(void **state) {
  struct fixture *f = *state;
  char url[64];
  f->coordinator = url;
  fixture_open(f);
  for (unsigned n = 1; n <= 65; n++) {
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", n);
    if (n <= 64) expect(send_message(f, "abort", n, ""), 200, ABORTED);
  }
  expect_part(send_message(f, "prepare", 65, ""), 503, "name those that may coordinate");
  fixture_reopen(f);
  expect_part(send_message(f, "prepare", 65, ""), 503, "name those that may coordinate");
  fixture_close(f);
  f->options.coordinator_allow = url;
  fixture_open(f);
  expect(send_message(f, "prepare", 65, ""), 200, VOTE_COMMIT);
}

static void bad_requests_get_a_problem_that_says_what_to_mend(void **state) {
  struct fixture *f = *state;
  const char *json = "application/json";
  char deep[4096] = "";
  fixture_open(f);
  expect_part(send_raw(f, "POST", "/prepare", json, "{"), 400, "urn:vow:invalid-json");
  expect_part(send_raw(f, "POST", "/prepare", json, "[]"), 400, "urn:vow:invalid-request");
  expect_part(send_raw(f, "POST", "/prepare", json, "{}"), 400, "transaction");
  expect_part(send_raw(f, "POST", "/prepare", json, NULL), 400, "urn:vow:invalid-json");
  expect_part(send_raw(f, "POST", "/prepare", "text/plain", "{}"), 415, "media-type");
  expect_part(send_raw(f, "POST", "/prepare", NULL, "{}"), 415, "media-type");
  expect_part(send_raw(f, "POST", "/prepare", "Application/JSON; charset=utf-8", "{}"), 400, "");
  expect_part(send_raw(f, "GET", "/prepare", NULL, NULL), 405, "takes POST");
  expect_part(send_raw(f, "POST", "/in-doubt", json, "{}"), 405, "takes GET");
  expect_part(send_raw(f, "POST", "/nothing", json, "{}"), 404, "urn:vow:route-not-found");
  expect_part(send_message(f, "commit", 1, ",\"branch\":2"), 400, "branch");
  for (int i = 0; i < 1000; i++) strcat(deep, "[");
  expect_part(send_raw(f, "POST", "/prepare", json, deep), 400, "urn:vow:invalid-json");
  expect_part(send_raw(f, "POST", "/abort", json,
                       "{\"transaction\":\"01935e2a\",\"branch\":1,\"coordinator\":\"http://a\","
                       "\"finished_below\":\"01935e2a-0000-7000-8000-000000000001\"}"),
              400, "transaction");
  expect_part(send_raw(f, "POST", "/abort", json,
                       "{\"transaction\":\"01935e2a-0000-7000-8000-000000000001\",\"branch\":1,"
                       "\"coordinator\":\"ftp://a\","
                       "\"finished_below\":\"01935e2a-0000-7000-8000-000000000001\"}"),
              400, "http");
  assert_int_equal(f->app->prepares + f->app->aborts, 0);
}

static void a_body_over_the_limit_is_refused(void **state) {
  struct fixture *f = *state;
  f->options.body_bytes_max = 300;
  fixture_open(f);
  char payload[400];
  (void)snprintf(payload, sizeof payload, ",\"payload\":\"%0200d\"", 0);
  expect_part(send_message(f, "prepare", 1, payload), 413, "at most 300 bytes");
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
}

static void past_the_limit_of_branches_prepare_is_told_to_come_again(void **state) {
  struct fixture *f = *state;
  f->options.branches_max = 2;
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  expect(send_message(f, "prepare", 2, ""), 200, VOTE_COMMIT);
  expect_part(send_message(f, "prepare", 3, ""), 503, "limit of unfinished");
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
  expect(send_message(f, "prepare", 3, ""), 200, VOTE_COMMIT);
}

static void past_the_limit_of_tombstones_prepare_is_told_to_come_again(void **state) {
  struct fixture *f = *state;
  f->options.tombstones_max = 1;
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
  expect_part(send_message(f, "prepare", 2, ""), 503, "wait until their coordinator");
}

static enum vow_vote complain_at_length(void *context, const struct vow_work *work,
                                        struct vow_reason *reason) {
  (void)context;
  (void)work;
  vow_reason_set(reason, "%0198d\xE2\x82\xAC and more", 0); /* the euro does not fit */
  return VOW_VOTE_ABORT;
}

static void a_long_reason_is_cut_at_a_whole_character(void **state) {
  struct fixture *f = *state;
  char vote[256];
  f->options.prepare = complain_at_length;
  fixture_open(f);
  (void)snprintf(vote, sizeof vote, "{\"vote\":\"abort\",\"reason\":\"%0198d\"}", 0);
  expect(send_message(f, "prepare", 1, ""), 200, vote);
}

static void options_that_make_no_sense_are_refused(void **state) {
  struct fixture *f = *state;
  const struct vow_participant_options good = f->options;
  f->options.log_path = NULL;
  fixture_refuses(f, VOW_E_INVALID_ARGUMENT, "give log_path or sqlite");
  f->options = good;
  f->options.commit = NULL;
  fixture_refuses(f, VOW_E_INVALID_ARGUMENT, "prepare and commit");
  f->options = good;
  f->options.callback_threads = 1025;
  fixture_refuses(f, VOW_E_INVALID_ARGUMENT, "callback_threads");
  f->options = good;
  f->options.inquiry_max_ms = 1;
  fixture_refuses(f, VOW_E_INVALID_ARGUMENT, "inquiry_min_ms");
  f->options = good;
  f->options.coordinator_allow = "http://a,nonsense";
  fixture_refuses(f, VOW_E_INVALID_URL, "");
  static char list[65538];
  memset(list, ',', sizeof list - 1);
  f->options.coordinator_allow = list;
  fixture_refuses(f, VOW_E_INVALID_ARGUMENT, "coordinator_allow may be 64 KiB long");
  f->options = good;
  f->options.size = 0;
  fixture_refuses(f, VOW_E_INVALID_ARGUMENT, "options_init");
}

#define test(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      test(a_branch_is_prepared_and_committed_once),
      test(a_message_that_comes_twice_gets_the_first_answer_and_has_no_effect),
      test(a_vote_to_abort_names_its_reason_every_time),
      test(a_read_only_vote_is_the_end_of_it),
      test(what_is_not_a_vote_is_a_vote_to_abort_and_undone),
      test(an_abort_that_overtakes_its_prepare_is_remembered_through_a_restart),
      test(tombstones_go_when_the_watermark_passes_and_it_stands_in_for_them),
      test(commit_for_a_branch_nobody_knows_is_never_success),
      test(commit_after_abort_is_answered_with_the_truth),
      test(one_phase_commits_at_once_and_abort_tells_so),
      test(a_one_phase_commit_that_fails_is_tried_again_and_never_aborted),
      test(a_callback_that_fails_is_called_again_when_the_message_comes_again),
      test(an_operators_word_is_kept_until_it_is_forgotten),
      test(who_asks_in_one_phase_is_told_an_operators_word),
      test(an_operator_cannot_settle_what_is_not_prepared),
      test(forget_is_refused_while_a_branch_is_in_doubt),
      test(what_is_in_doubt_can_be_listed_in_order),
      test(a_coordinator_that_is_not_allowed_is_refused),
      test(the_limit_of_coordinators_yields_to_a_list),
      test(bad_requests_get_a_problem_that_says_what_to_mend),
      test(a_body_over_the_limit_is_refused),
      test(past_the_limit_of_branches_prepare_is_told_to_come_again),
      test(past_the_limit_of_tombstones_prepare_is_told_to_come_again),
      test(a_long_reason_is_cut_at_a_whole_character),
      test(options_that_make_no_sense_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
