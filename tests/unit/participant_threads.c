/*
 * Many threads, few branches, every message twice and in any order: each branch still ends one way,
 * and each callback has its effect once. Made for the thread sanitizer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "participant_fixture.h"

enum { THREADS = 8, BRANCHES = 24, MESSAGES = 150 };

struct sender {
  pthread_t thread;
  struct fixture *f;
  uint32_t random;
};

/* What each branch was seen to be. */
static atomic_int committed[BRANCHES + 1], aborted[BRANCHES + 1], voted[BRANCHES + 1];

static uint32_t next(struct sender *sender) {
  return (sender->random = sender->random * 1664525 + 1013904223) >> 8;
}

static void note(unsigned n, const struct answer *answer) {
  if (strstr(answer->body, "\"vote\":\"commit\"")) atomic_fetch_add(&voted[n], 1);
  if (strstr(answer->body, "\"outcome\":\"committed\"")) atomic_fetch_add(&committed[n], 1);
  if (strstr(answer->body, "\"outcome\":\"aborted\"")) atomic_fetch_add(&aborted[n], 1);
}

/* The coordinator of branch n decides by its number, and decides commit only after a vote. */
static void send_one(struct sender *sender, unsigned n) {
  struct answer answer;
  uint32_t choice = next(sender) % 8;
  bool commits = n % 2 == 0;
  if (choice < 4) {
    answer = send_message(sender->f, "prepare", n, n % 8 == 0 ? ONE_PHASE : "");
  } else if (!commits) {
    answer = send_message(sender->f, "abort", n, "");
  } else if (atomic_load(&voted[n]) > 0) {
    answer = send_message(sender->f, "commit", n, "");
  } else {
    answer = send_raw(sender->f, "GET", "/in-doubt", NULL, NULL);
  }
  note(n, &answer);
  if (answer.status != 200 && answer.status != 503 && answer.status != 409) {
    (void)fprintf(stderr, "branch %u: %d %s\n", n, answer.status, answer.body);
    abort();
  }
}

static void *run_sender(void *context) {
  struct sender *sender = context;
  struct vow_participant_stats stats;
  for (int i = 0; i < MESSAGES; i++) {
    send_one(sender, next(sender) % BRANCHES + 1);
    if (i % 16 == 0) vow_participant_stats(sender->f->participant, &stats);
  }
  return NULL;
}

static void start_senders(struct fixture *f, struct sender senders[THREADS]) {
  for (unsigned i = 0; i < THREADS; i++) {
    senders[i] = (struct sender){.f = f, .random = i * 7919 + 1};
    assert_int_equal(pthread_create(&senders[i].thread, NULL, run_sender, &senders[i]), 0);
  }
}

static void join_senders(struct sender senders[THREADS]) {
  for (unsigned i = 0; i < THREADS; i++) pthread_join(senders[i].thread, NULL);
}

static void every_branch_ends_one_way_whatever_arrives_when(void **state) {
  struct fixture *f = *state;
  struct sender senders[THREADS];
  fixture_open(f);
  start_senders(f, senders);
  join_senders(senders);
  int commits = 0;
  for (unsigned n = 1; n <= BRANCHES; n++) {
    const char *last = n % 2 == 0 ? "commit" : "abort";
    if (n % 2 == 0) expect(send_message(f, "prepare", n, ""), 200, VOTE_COMMIT);
    struct answer answer = send_message(f, last, n, "");
    note(n, &answer);
    assert_int_equal(answer.status, 200);
    assert_true((committed[n] > 0) != (aborted[n] > 0));
    commits += committed[n] > 0;
  }
  assert_int_equal(f->app->commits, commits);
  assert_int_equal(f->app->same_branch_overlaps, 0);
  fixture_reopen(f);
  struct vow_participant_stats stats;
  vow_participant_stats(f->participant, &stats);
  assert_int_equal(stats.prepared, 0);
  assert_int_equal(stats.tombstones, BRANCHES);
}

static void callbacks_overlap_up_to_their_limit_and_no_further(void **state) {
  struct fixture *f = *state;
  struct sender senders[THREADS];
  f->options.callback_threads = 3;
  fixture_open(f);
  app_hold(f->app, true);
  start_senders(f, senders);
  app_await_waiting(f->app, 3);
  app_hold(f->app, false);
  join_senders(senders);
  assert_int_equal(f->app->running_most, 3);
}

static void without_threads_callbacks_run_on_the_caller_s(void **state) {
  struct fixture *f = *state;
  f->options.callback_threads = 0;
  for (int intents = 0; intents <= 1; intents++) {
    unsigned n = (unsigned)intents + 1;
    f->options.prepare_leaves_nothing = !intents;
    fixture_open(f);
    expect(send_message(f, "prepare", n, ""), 200, VOTE_COMMIT);
    assert_true(pthread_equal(f->app->thread, pthread_self()));
    memset(&f->app->thread, 0, sizeof f->app->thread);
    expect(send_message(f, "commit", n, ""), 200, COMMITTED);
    assert_true(pthread_equal(f->app->thread, pthread_self()));
    fixture_close(f);
  }
}

static int setup(void **state) {
  memset(committed, 0, sizeof committed);
  memset(aborted, 0, sizeof aborted);
  memset(voted, 0, sizeof voted);
  return fixture_setup(state);
}

#define test(function) cmocka_unit_test_setup_teardown(function, setup, fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      test(every_branch_ends_one_way_whatever_arrives_when),
      test(callbacks_overlap_up_to_their_limit_and_no_further),
      test(without_threads_callbacks_run_on_the_caller_s),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
