/* What a participant keeps and returns of its coordinator's log (P10), what it takes from a log
 * that has lost records (P11), and what it tells of its own disk. */
#include <stdio.h>
#include <string.h>

#include "client_server.h"
#include "participant_fixture.h"

#define LOG(incarnation, position) \
  ",\"log\":{\"incarnation\":" #incarnation ",\"position\":" #position "}"
#define ASK(incarnation, position) \
  ",\"log\":{\"incarnation\":" #incarnation ",\"position\":" #position ",\"ask\":true}"
#define SEEN(incarnation, position) \
  "\"seen\":{\"incarnation\":" #incarnation ",\"position\":" #position "}"

/* The highest is kept, by incarnation and then position, and comes back with every answer; what the
 * coordinator only asks with is not kept. */
static void the_highest_is_returned(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ASK(5, 9)), 200, VOTE_COMMIT);
  expect(send_message(f, "prepare", 1, LOG(5, 10)), 200, "{" SEEN(5, 10) ",\"vote\":\"commit\"}");
  expect(send_message(f, "prepare", 1, LOG(5, 8)), 200, "{" SEEN(5, 10) ",\"vote\":\"commit\"}");
  expect(send_message(f, "prepare", 1, LOG(4, 20)), 200, "{" SEEN(5, 10) ",\"vote\":\"commit\"}");
  expect(send_message(f, "prepare", 1, ASK(6, 10)), 200, "{" SEEN(5, 10) ",\"vote\":\"commit\"}");
  expect(send_message(f, "prepare", 1, ""), 200, "{" SEEN(5, 10) ",\"vote\":\"commit\"}");
  expect(send_message(f, "commit", 1, LOG(6, 10)), 200,
         "{" SEEN(6, 10) ",\"outcome\":\"committed\"}");
  expect_part(send_message(f, "commit", 2, ""), 404, SEEN(6, 10));
  expect_part(send_raw(f, "GET", "/in-doubt", NULL, ""), 200,
              "\"seen\":[{\"coordinator\":\"" COORDINATOR "\",\"incarnation\":6,\"position\":10}]");
}

/* It goes to the disk with the vote, without a sync of its own. */
static void it_is_kept_with_what_is_written_anyway(void **state) {
  struct fixture *f = *state;
  struct vow_participant_stats before, after;
  fixture_open(f);
  vow_participant_stats(f->participant, &before);
  expect_part(send_message(f, "prepare", 1, LOG(5, 10)), 200, VOTE_COMMIT + 1);
  vow_participant_stats(f->participant, &after);
  assert_int_equal(after.log_syncs, before.log_syncs + (f->options.prepare_leaves_nothing ? 1 : 2));
  fixture_reopen(f);
  expect_part(send_message(f, "prepare", 1, ""), 200, SEEN(5, 10));
}

/* A later start that has not come as far has lost records: nothing is taken from it but a commit,
 * and of what is over it says nothing. */
static void nothing_is_taken_from_a_log_that_lost_records(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  expect_part(send_message(f, "prepare", 1, LOG(5, 10)), 200, "commit");
  expect_part(send_message(f, "prepare", 2, LOG(5, 11)), 200, "commit");
  expect_part(send_message(f, "abort", 2, LOG(7, 10)), 503, "urn:vow:log-behind");
  expect_part(send_message(f, "abort", 2, ASK(7, 10)), 503, SEEN(5, 11));
  expect_part(send_message(f, "prepare", 3, LOG(7, 10)), 503, "urn:vow:log-behind");
  expect_part(send_message(f, "forget", 2, LOG(7, 10)), 503, "urn:vow:log-behind");
  assert_int_equal(f->app->aborts, 0);
  assert_int_equal(f->app->prepares, 2);
  expect_part(send_message(f, "commit", 4, LOG(7, 10)), 503, "urn:vow:log-behind");
  expect_part(send_message(f, "commit", 1, LOG(7, 10)), 200, COMMITTED + 1);
  expect_part(send_message(f, "prepare", 1, ""), 200, SEEN(5, 11)); /* its tombstone is there */
}

/* The watermark of a log that lags behind what was seen is not believed. */
static void a_lagging_log_moves_no_watermark(void **state) {
  struct fixture *f = *state;
  char body[1024];
  fixture_open(f);
  expect_part(send_message(f, "prepare", 1, LOG(5, 10)), 200, "commit");
  expect_part(send_message(f, "commit", 1, LOG(5, 11)), 200, COMMITTED + 1);
  fixture_message(f, body, sizeof body, "commit", 1, id_of(9), LOG(7, 10));
  expect_part(send_raw(f, "POST", "/commit", "application/json", body), 200, COMMITTED + 1);
  fixture_message(f, body, sizeof body, "prepare", 4, id_of(9), LOG(5, 10));
  expect_part(send_raw(f, "POST", "/prepare", "application/json", body), 200, VOTE_COMMIT + 1);
  fixture_message(f, body, sizeof body, "prepare", 6, id_of(9), ASK(7, 90));
  expect_part(send_raw(f, "POST", "/prepare", "application/json", body), 200, VOTE_COMMIT + 1);
  fixture_message(f, body, sizeof body, "prepare", 5, id_of(9), LOG(5, 11));
  expect_part(send_raw(f, "POST", "/prepare", "application/json", body), 200, "already ended");
}

/* An inquiry says what was seen, so that a coordinator learns it before it answers. */
static void inquiries_say_it(void **state) {
  struct fixture *f = *state;
  static struct client_server coordinator;
  struct script_line line = {503, "{}", 0};
  client_server_start(&coordinator);
  client_server_script(&coordinator, &line, 1);
  f->coordinator = coordinator.url;
  f->options.inquiry_min_ms = 20;
  f->options.inquiry_max_ms = 40;
  fixture_open(f);
  expect_part(send_message(f, "prepare", 1, LOG(5, 10)), 200, "commit");
  eventually(client_server_asked(&coordinator) >= 1);
  assert_non_null(strstr(coordinator.requests[0], SEEN(5, 10)));
  fixture_close(f);
  client_server_stop(&coordinator);
}

/* In a batch both stand once, beside the messages and the replies. */
static void of_a_batch_they_stand_once(void **state) {
  struct fixture *f = *state;
  char body[2048], one[1024], two[1024];
  fixture_open(f);
  fixture_message(f, one, sizeof one, "prepare", 1, NO_WATERMARK, ",\"type\":\"prepare\"");
  fixture_message(f, two, sizeof two, "prepare", 2, NO_WATERMARK, ",\"type\":\"prepare\"");
  (void)snprintf(body, sizeof body, "{\"messages\":[%s,%s]" LOG(5, 10) "}", one, two);
  expect(send_raw(f, "POST", "/batch", "application/json", body), 200,
         "{\"replies\":[{\"status\":200,\"vote\":\"commit\"},{\"status\":200,\"vote\":\"commit\"}]"
         "," SEEN(5, 10) "}");
  (void)snprintf(body, sizeof body, "{\"messages\":[%s]" LOG(6, 9) "}", one);
  expect_part(send_raw(f, "POST", "/batch", "application/json", body), 200, "urn:vow:log-behind");
  (void)snprintf(body, sizeof body, "{\"messages\":[%s],\"log\":[]}", one);
  expect_part(send_raw(f, "POST", "/batch", "application/json", body), 200, "urn:vow:invalid-");
}

/* What is on disk is told to whoever reconciles; what is not, isn't. */
static void what_is_on_disk_is_told(void **state) {
  struct fixture *f = *state;
  char body[512], expected[1024];
  fixture_open(f);
  expect_part(send_message(f, "prepare", 1, LOG(5, 10)), 200, "commit");
  expect_part(send_message(f, "commit", 1, ""), 200, COMMITTED + 1);
  expect_part(send_message(f, "prepare", 2, ""), 200, "commit");
  expect_part(send_message(f, "abort", 3, ""), 200, ABORTED + 1);
  (void)snprintf(body, sizeof body,
                 "{\"coordinator\":\"" COORDINATOR "/\",\"transactions\":[\"%s\",\"%s\",\"%s\",",
                 id_of(3), id_of(2), id_of(1));
  (void)snprintf(body + strlen(body), sizeof body - strlen(body), "\"%s\",", id_of(4));
  (void)snprintf(body + strlen(body), sizeof body - strlen(body), "\"%s\"]}", id_of(2));
  int used = snprintf(expected, sizeof expected,
                      "{\"finished_below\":\"" NO_WATERMARK
                      "\",\"newest\":\"%s\"," SEEN(5, 10) ",\"branches\":[",
                      id_of(3));
  static const char *const states[] = {"committed", "prepared", "aborted"};
  for (unsigned n = 1; n <= 3; n++) {
    used += snprintf(expected + used, sizeof expected - (size_t)used,
                     "%s{\"transaction\":\"%s\",\"branch\":1,\"state\":\"%s\"}", n > 1 ? "," : "",
                     id_of(n), states[n - 1]);
  }
  (void)snprintf(expected + used, sizeof expected - (size_t)used, "]}");
  expect(send_raw(f, "POST", "/known", "application/json", body), 200, expected);
  expect_part(send_raw(f, "POST", "/known", "application/json", "{\"transactions\":[]}"), 400,
              "coordinator is missing");
}

static struct answer ask_known(struct fixture *f, unsigned n) {
  char body[256];
  (void)snprintf(body, sizeof body,
                 "{\"coordinator\":\"" COORDINATOR "\",\"transactions\":[\"%s\"]}", id_of(n));
  return send_raw(f, "POST", "/known", "application/json", body);
}

/* An abort is told as such where the coordinator said so, also after a restart; what aborted by
 * itself has only refused. */
static void who_aborted_is_told(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  expect_part(send_message(f, "prepare", 1, ""), 200, "commit");
  expect_part(send_message(f, "abort", 1, ""), 200, ABORTED + 1);
  expect_part(send_message(f, "abort", 2, ""), 200, ABORTED + 1);
  f->app->vote = VOW_VOTE_ABORT;
  expect_part(send_message(f, "prepare", 3, ""), 200, "abort");
  for (int start = 0; start < 2; start++) {
    expect_part(ask_known(f, 1), 200, "\"aborted\"");
    expect_part(ask_known(f, 2), 200, "\"aborted\"");
    expect_part(ask_known(f, 3), 200, "\"refused\"");
    fixture_reopen(f);
  }
}

struct committer {
  struct fixture *f;
  unsigned n;
  struct answer got;
};

static void *commit_one(void *context) {
  struct committer *c = context;
  c->got = send_message(c->f, "commit", c->n, "");
  return NULL;
}

/* While a branch is being committed it is not called prepared: a decision to abort might be built
 * on that. Of others it is told as ever. */
static void a_commit_under_way_is_not_told_as_a_promise(void **state) {
  struct fixture *f = *state;
  struct committer committer = {.f = f, .n = 1};
  pthread_t thread;
  fixture_open(f);
  expect_part(send_message(f, "prepare", 1, ""), 200, "commit");
  expect_part(send_message(f, "prepare", 2, ""), 200, "commit");
  app_hold(f->app, true);
  assert_int_equal(pthread_create(&thread, NULL, commit_one, &committer), 0);
  app_await_waiting(f->app, 1);
  expect_part(ask_known(f, 1), 503, "ask again");
  expect_part(ask_known(f, 2), 200, "\"prepared\"");
  app_hold(f->app, false);
  assert_int_equal(pthread_join(thread, NULL), 0);
  expect_part(committer.got, 200, "committed");
  expect_part(ask_known(f, 1), 200, "\"committed\"");
}

#define MANY 65 /* one more than there is room for at first */

/* Nor where many are asked for, whichever of them it is. */
static void a_commit_under_way_among_many(void **state) {
  struct fixture *f = *state;
  char ids[MANY * 40] = "", body[sizeof ids + 200];
  size_t at = 0;
  fixture_open(f);
  for (unsigned n = 1; n <= MANY; n++) {
    expect_part(send_message(f, "prepare", n, ""), 200, "commit");
    at += (size_t)snprintf(ids + at, sizeof ids - at, "%s\"%s\"", n > 1 ? "," : "", id_of(n));
  }
  (void)snprintf(body, sizeof body, "{\"coordinator\":\"" COORDINATOR "\",\"transactions\":[%s]}",
                 ids);
  for (unsigned n = 1; n <= MANY; n++) {
    struct committer committer = {.f = f, .n = n};
    pthread_t thread;
    app_hold(f->app, true);
    assert_int_equal(pthread_create(&thread, NULL, commit_one, &committer), 0);
    app_await_waiting(f->app, 1);
    expect_part(send_raw(f, "POST", "/known", "application/json", body), 503, "ask again");
    app_hold(f->app, false);
    assert_int_equal(pthread_join(thread, NULL), 0);
    expect_part(committer.got, 200, "committed");
  }
}

static void vote_read_only_and_die(struct fixture *f) {
  f->app->vote = VOW_VOTE_READ_ONLY;
  expect_part(send_message(f, "prepare", 1, ""), 200, "read-only");
  (void)send_message(f, "commit", 2, "");
}

/* A vote read-only is not forced. Where a crash takes it away and leaves that there was a prepare,
 * the branch aborts, and others may have committed: that is told as a refusal. */
static void a_read_only_vote_that_was_lost_is_no_abort(void **state) {
  struct fixture *f = *state;
  fixture_killed_at(f, "commit.received", vote_read_only_and_die);
  fixture_open(f);
  eventually(f->app->aborts == 1);
  eventually(strstr(ask_known(f, 1).body, "\"preparing\"") == NULL);
  expect_part(ask_known(f, 1), 200, "\"refused\"");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
  const struct CMUnitTest tests[] = {
      TEST(the_highest_is_returned),
      TEST(it_is_kept_with_what_is_written_anyway),
      TEST(nothing_is_taken_from_a_log_that_lost_records),
      TEST(a_lagging_log_moves_no_watermark),
      TEST(inquiries_say_it),
      TEST(of_a_batch_they_stand_once),
      TEST(what_is_on_disk_is_told),
      TEST(who_aborted_is_told),
      TEST(a_commit_under_way_is_not_told_as_a_promise),
      TEST(a_commit_under_way_among_many),
      TEST(a_read_only_vote_that_was_lost_is_no_abort),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
