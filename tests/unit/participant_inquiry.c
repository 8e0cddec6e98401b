/* A branch in doubt asks its coordinator until it is told, and believes nothing but an outcome. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client_server.h"
#include "failing_memory.h"
#include "participant_fixture.h"
#include "slow_lookup.h"

struct world {
  struct fixture *f;
  struct client_server coordinator;
};

static struct world world;

/* ---- allocations ---- */

static pthread_t main_thread;
static atomic_long until_failure; /* of all threads but this one; 0 and below: none fails */

bool allocation_fails(void) {
  if (atomic_load(&until_failure) <= 0 || pthread_equal(pthread_self(), main_thread)) return false;
  return atomic_fetch_sub(&until_failure, 1) == 1;
}

static int setup(void **state) {
  (void)fixture_setup(state);
  memset(&world, 0, sizeof world);
  world.f = *state;
  client_server_start(&world.coordinator);
  world.f->coordinator = world.coordinator.url;
  world.f->options.inquiry_min_ms = 20;
  world.f->options.inquiry_max_ms = 40;
  return 0;
}

static int teardown(void **state) {
  int result = fixture_teardown(state);
  client_server_stop(&world.coordinator);
  return result;
}

static const char *outcome(unsigned n, const char *word) {
  static char bodies[8][160];
  static unsigned turn;
  char *body = bodies[turn++ % 8];
  (void)snprintf(body, sizeof bodies[0],
                 "{\"outcomes\":[{\"transaction\":\"%s\",\"outcome\":\"%s\"}]}", id_of(n), word);
  return body;
}

static uint64_t in_doubt(void) {
  struct vow_participant_stats stats;
  vow_participant_stats(world.f->participant, &stats);
  return stats.prepared;
}

static void who_is_told_that_it_committed_commits(void **state) {
  struct fixture *f = *state;
  struct script_line line = {200, outcome(1, "committed"), 0};
  client_server_script(&world.coordinator, &line, 1);
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ",\"payload\":[1,2]"), 200, VOTE_COMMIT);
  eventually(in_doubt() == 0);
  assert_int_equal(f->app->commits, 1);
  assert_string_equal(f->app->payload, "[1,2]");
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
  assert_int_equal(f->app->commits, 1);
  assert_non_null(strstr(world.coordinator.requests[0], "POST /v1/outcomes "));
  assert_non_null(strstr(world.coordinator.requests[0], id_of(1)));
}

static void who_is_told_that_it_aborted_aborts(void **state) {
  struct fixture *f = *state;
  struct script_line line = {200, outcome(1, "aborted"), 0};
  client_server_script(&world.coordinator, &line, 1);
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  eventually(in_doubt() == 0);
  assert_int_equal(f->app->aborts, 1);
  assert_int_equal(f->app->commits, 0);
}

static void nothing_but_an_outcome_ends_the_doubt(void **state) {
  struct fixture *f = *state;
  struct script_line lines[] = {
      {200, outcome(1, "undecided"), 0},
      {200, outcome(1, "unknown"), 0},
      {500, "{}", 0},
      {503, "{}", 1},
      {404, "{\"type\":\"urn:vow:unknown-transaction\",\"status\":404}", 0},
      {200, "garbage", 0},
      {200, "{\"outcomes\":[]}", 0},
      {200, outcome(2, "aborted"), 0}, /* of another transaction */
      {0, NULL, 0},                    /* cut off */
      {200, outcome(1, "committed"), 0},
  };
  client_server_script(&world.coordinator, lines, 10);
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  uint64_t deadline_ms = fixture_now_ms() + 10000;
  while (client_server_asked(&world.coordinator) < 9 && fixture_now_ms() < deadline_ms) {
    assert_int_equal(f->app->commits + f->app->aborts, 0);
    fixture_breathe();
  }
  eventually(f->app->commits == 1);
  assert_int_equal(f->app->aborts, 0);
}

static void after_a_restart_the_first_question_comes_at_once_and_is_one(void **state) {
  struct fixture *f = *state;
  enum { COUNT = 20 };
  static char body[COUNT * 120];
  char *end = body + sprintf(body, "{\"outcomes\":[");
  f->options.inquiry_min_ms = 60000;
  f->options.inquiry_max_ms = 60000;
  fixture_open(f);
  for (unsigned n = 1; n <= COUNT; n++) {
    expect(send_message(f, "prepare", n, ""), 200, VOTE_COMMIT);
    end += sprintf(end, "%s{\"transaction\":\"%s\",\"outcome\":\"%s\"}", n > 1 ? "," : "",
                   id_of(COUNT + 1 - n), n % 2 ? "committed" : "aborted");
  }
  (void)strcpy(end, "]}");
  struct script_line line = {200, body, 0};
  client_server_script(&world.coordinator, &line, 1);
  assert_int_equal(client_server_asked(&world.coordinator), 0);
  fixture_reopen(f);
  eventually(in_doubt() == 0);
  assert_int_equal(client_server_asked(&world.coordinator), 1);
  assert_int_equal(f->app->commits, COUNT / 2);
  assert_int_equal(f->app->aborts, COUNT / 2);
}

static void prepare_and_wait(struct fixture *f) {
  (void)send_message(f, "prepare", 1, "");
  app_hold(f->app, true);
  app_await_waiting(f->app, 1);
}

static void killed_with_the_answer_in_hand_it_asks_again(void **state) {
#ifdef __SANITIZE_THREAD__
  skip(); /* the coordinator's threads are there already, and it wants no fork after that */
#endif
  struct fixture *f = *state;
  struct script_line line = {200, outcome(1, "committed"), 0};
  client_server_script(&world.coordinator, &line, 1);
  fixture_killed_at(f, "inquiry.answered", prepare_and_wait);
  app_hold(f->app, false);
  fixture_open(f);
  eventually(f->app->commits == 1);
  assert_int_equal(client_server_asked(&world.coordinator), 2);
  assert_int_equal(f->app->aborts, 0);
}

/* Neither questions to others nor the callbacks that are called again. */
static void a_coordinator_that_never_answers_holds_up_nobody(void **state) {
  struct fixture *f = *state;
  struct client_server other;
  struct script_line hangs = {-1, NULL, 0}, tells = {200, outcome(2, "committed"), 0};
  client_server_start(&other);
  client_server_script(&world.coordinator, &hangs, 1);
  client_server_script(&other, &tells, 1);
  f->options.request_timeout_ms = 60000;
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  eventually(client_server_asked(&world.coordinator) == 1);
  f->coordinator = other.url;
  f->app->commit_error = VOW_E_DATABASE;
  expect(send_message(f, "prepare", 2, ""), 200, VOTE_COMMIT);
  eventually(f->app->commits >= 3);
  f->app->commit_error = VOW_OK;
  eventually(in_doubt() == 1);
  expect(send_message(f, "prepare", 3, ""), 200, VOTE_COMMIT);
  eventually(client_server_asked(&other) >= 2);
  assert_int_equal(client_server_asked(&world.coordinator), 1); /* it has its question */
  fixture_close(f);
  client_server_stop(&other);
}

/* All of them, and nothing that it is being asked already. */
static void what_comes_due_while_a_coordinator_is_slow_is_asked_next(void **state) {
  struct fixture *f = *state;
  enum { COUNT = 20 };
  struct vow_participant_stats stats = {0};
  struct script_line lines[] = {{200, outcome(1, "committed"), 0}, {200, "{\"outcomes\":[]}", 0}};
  client_server_script(&world.coordinator, lines, 2);
  client_server_hold(&world.coordinator, true);
  f->options.inquiry_max_ms = 60000;
  f->options.request_timeout_ms = 60000;
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  eventually(client_server_asked(&world.coordinator) == 1);
  for (unsigned n = 2; n <= COUNT; n++) {
    expect(send_message(f, "prepare", n, ""), 200, VOTE_COMMIT);
  }
  eventually((vow_participant_stats(f->participant, &stats), stats.inquiries >= 5 * COUNT));
  client_server_hold(&world.coordinator, false);
  eventually(client_server_asked(&world.coordinator) >= 2);
  for (unsigned n = 2; n <= COUNT; n++) {
    assert_non_null(strstr(world.coordinator.requests[1], id_of(n)));
  }
  assert_null(strstr(world.coordinator.requests[1], id_of(1)));
  eventually(f->app->commits == 1);
}

/* More of them than are asked at a time. Nor does it count as a failure that there was no place. */
static void who_finds_no_place_is_asked_when_there_is_one(void **state) {
  enum { HANGING = 64 };
  static char urls[HANGING + 1][80], allow[sizeof urls];
  struct fixture *f = *state;
  struct client_server other;
  struct script_line hangs = {-1, NULL, 0}, tells = {200, outcome(HANGING + 1, "committed"), 0};
  char *end = allow;
  client_server_start(&other);
  client_server_script(&world.coordinator, &hangs, 1);
  client_server_script(&other, &tells, 1);
  for (unsigned n = 0; n <= HANGING; n++) {
    if (n < HANGING) {
      (void)snprintf(urls[n], sizeof urls[n], "%s/%u", world.coordinator.url, n);
    } else { /* the last in their order */
      (void)snprintf(urls[n], sizeof urls[n], "http://localhost:%u", other.port);
    }
    end += sprintf(end, "%s%s", n ? "," : "", urls[n]);
  }
  f->options.coordinator_allow = allow;
  f->options.inquiry_min_ms = f->options.inquiry_max_ms = 60000;
  f->options.request_timeout_ms = 1000;
  fixture_open(f);
  for (unsigned n = 0; n <= HANGING; n++) {
    f->coordinator = urls[n];
    expect(send_message(f, "prepare", n + 1, ""), 200, VOTE_COMMIT);
  }
  fixture_reopen(f); /* then all of them are asked at once */
  eventually(f->app->commits == 1);
  eventually(in_doubt() == HANGING);
  fixture_close(f);
  client_server_stop(&other);
}

static void a_coordinator_that_never_answers_does_not_hold_up_closing(void **state) {
  struct fixture *f = *state;
  struct script_line line = {-1, NULL, 0};
  client_server_script(&world.coordinator, &line, 1);
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  eventually(client_server_asked(&world.coordinator) == 1);
  uint64_t before_ms = fixture_now_ms();
  fixture_close(f);
  assert_true(fixture_now_ms() - before_ms < 3000);
}

/* Nor does a name server that is silent. */
static void a_name_that_is_looked_up_does_not_hold_up_closing(void **state) {
  struct fixture *f = *state;
  f->coordinator = "http://" SLOW_NAME ":7800";
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  eventually(slow_lookup_waits());
  fixture_close(f);
  assert_true(slow_lookup_waits());
  slow_lookup_end();
}

static void a_callback_that_fails_after_the_answer_is_called_again(void **state) {
  struct fixture *f = *state;
  struct script_line line = {200, outcome(1, "committed"), 0};
  client_server_script(&world.coordinator, &line, 1);
  fixture_open(f);
  f->app->commit_error = VOW_E_DATABASE;
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  eventually(f->app->commits >= 3);
  f->app->commit_error = VOW_OK;
  eventually(in_doubt() == 0);
}

/* Whichever allocation of a question fails. Those of a few questions are counted. */
static void without_memory_it_asks_again(void **state) {
  struct fixture *f = *state;
  main_thread = pthread_self();
  fixture_open(f);
  for (unsigned n = 1; n <= 20; n++) {
    struct script_line waits = {200, outcome(n, "undecided"), 0};
    struct script_line ends = {200, outcome(n, "committed"), 0};
    client_server_script(&world.coordinator, &waits, 1);
    expect(send_message(f, "prepare", n, ""), 200, VOTE_COMMIT);
    atomic_store(&until_failure, (long)n);
    eventually(atomic_load(&until_failure) <= 0);
    client_server_script(&world.coordinator, &ends, 1);
    eventually(in_doubt() == 0);
    assert_int_equal(f->app->aborts, 0);
  }
}

#define test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      test(who_is_told_that_it_committed_commits),
      test(who_is_told_that_it_aborted_aborts),
      test(nothing_but_an_outcome_ends_the_doubt),
      test(after_a_restart_the_first_question_comes_at_once_and_is_one),
      test(killed_with_the_answer_in_hand_it_asks_again),
      test(a_coordinator_that_never_answers_holds_up_nobody),
      test(what_comes_due_while_a_coordinator_is_slow_is_asked_next),
      test(who_finds_no_place_is_asked_when_there_is_one),
      test(a_coordinator_that_never_answers_does_not_hold_up_closing),
      test(a_name_that_is_looked_up_does_not_hold_up_closing),
      test(a_callback_that_fails_after_the_answer_is_called_again),
      test(without_memory_it_asks_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
