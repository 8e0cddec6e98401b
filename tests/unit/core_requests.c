/*
 * What clients may ask, and what they are told when they may not: begins, enlisting, keys, limits,
 * and a daemon that is loading, draining or short of disk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
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

/* ---- begin ---- */

/* A transaction keeps what it was begun with, until nobody needs it. */
static void begin_keeps_what_it_is_given(void **state) {
  struct world *w = *state;
  struct vow_event event = {.u.begin = {.timeout_ms = 1234,
                                        .metadata = "{\"order\":1}",
                                        .idempotency_key = "key",
                                        .request_hash = {7},
                                        .traceparent = "00-11-22-01"}};

  begin_with(w, &event, "a+ b");
  const struct vow_txn *t = world_find(w, T1);
  assert_string_equal(t->metadata, "{\"order\":1}");
  assert_string_equal(t->idempotency_key, "key");
  assert_int_equal(t->request_hash[0], 7);
  assert_string_equal(t->traceparent, "00-11-22-01");
  assert_int_equal(t->created_ms, w->wall_ms);
  assert_int_equal(t->deadline_ms, w->wall_ms + 1234);
  assert_int_equal(t->branch_count, 2);
  assert_int_equal(t->branches[0].number, 1);
  assert_string_equal(t->branches[0].url, "http://a");
  assert_string_equal(t->branches[0].payload, "{\"pay\":1}");
  assert_int_equal(t->branches[0].payload_bytes, 9);
  assert_null(t->branches[1].payload);
  assert_ptr_equal(vow_core_find_key(w->core, "key"), t);
  assert_null(vow_core_find_key(w->core, "other"));
  commit(w, T1);
  yes(w, "a");
  assert_null(t->branches[0].payload);
  assert_int_equal(t->branches[0].payload_bytes, 0);
}

/* A branch without a name is called by its number. */
static void branches_are_named_by_number(void **state) {
  struct world *w = *state;

  begin(w, "_@x _@y");
  assert_string_equal(world_find(w, T1)->branches[0].name, "1");
  assert_string_equal(world_find(w, T1)->branches[1].name, "2");
  begin(w, "2 _@x");
  expect(w, "answer #1 ok t1 active created",
         "answer #2 name-conflict: two branches have the same name");
}

/* Two branches of one begin never share a name, whatever their URLs. */
static void names_are_unique(void **state) {
  struct world *w = *state;

  begin(w, "a a");
  begin(w, "a@x a@y");
  expect(w, "answer #1 name-conflict: two branches have the same name",
         "answer #2 name-conflict: two branches have the same name");
}

static void begin_has_limits(void **state) {
  struct world *w = *state;
  struct vow_event event = {.u.begin.timeout_ms = 600001};

  begin_with(w, &event, "a");
  expect(w,
         "answer #1 limit-exceeded: timeout_ms is at most 600000 (limits_transaction_timeout_ms)");
  begin(w, "a b c d e f g h i");
  expect(w, "answer #2 limit-exceeded: a transaction has at most 8 branches (limits_branches)");
  for (int i = 0; i < 200; i++) begin(w, "");
  world_forget_trace(w);
  begin(w, "");
  expect(w,
         "answer #203 overloaded: 200 transactions are open, and no more may be "
         "(limits_transactions)");
  abort_txn(w, T1);
  sync(w);
  world_forget_trace(w);
  begin(w, "");
  expect(w, "answer #205 ok t201 active created");
}

/* While the disk is low, and from the moment the daemon drains, nothing is begun; the rest goes on.
 */
static void begins_are_refused_first(void **state) {
  struct world *w = *state;
  struct vow_event refuses = {.type = VOW_EVENT_LOG_REFUSES, .u.log_refuses = VOW_E_LOG_FULL};
  struct vow_event drain = {.type = VOW_EVENT_DRAIN};

  begin(w, "a b");
  world_must(w, &refuses);
  begin(w, "");
  expect(w, "answer #1 ok t1 active created", "answer #2 log-full");
  refuses.u.log_refuses = VOW_OK;
  world_must(w, &refuses);
  begin(w, "");
  expect(w, "answer #3 ok t2 active created");
  world_must(w, &drain);
  begin(w, "");
  enlist(w, T1, "c");
  commit(w, T1);
  expect(w,
         "answer #4 draining: it is being stopped and takes no new transactions; try again when it "
         "is back",
         "answer #5 ok t1 active branch 3 created", "send prepare t1/a", "send prepare t1/b",
         "send prepare t1/c");
}

/* Before the log is read nothing is begun; while it is read, nothing under a key; then everything.
 */
static void loading_is_waited_for(void **state) {
  struct world *w = *state;
  struct vow_event event = {.u.begin.idempotency_key = "k"};
  struct vow_event load = {.type = VOW_EVENT_LOAD_BEGIN};

  vow_core_free(w->core);
  assert_int_equal(vow_core_new(&w->core, &w->config), VOW_OK);
  assert_true(vow_core_loading(w->core));
  load.type = VOW_EVENT_LOAD_END;
  assert_int_equal(world_step(w, &load), VOW_E_INVALID_ARGUMENT);
  load.type = VOW_EVENT_LOAD_BEGIN;
  begin(w, "");
  expect(w, "answer #1 loading");
  load.u.load_begin.position = w->position;
  load.u.load_begin.id_floor = w->ceiling;
  world_must(w, &load);
  sync(w);
  begin_with(w, &event, "");
  begin(w, "");
  expect(w, "log! ceiling", "answer #2 loading", "answer #3 ok t1 active created");
  load = (struct vow_event){.type = VOW_EVENT_LOAD_END};
  world_must(w, &load);
  assert_false(vow_core_loading(w->core));
  begin_with(w, &event, "");
  expect(w, "answer #4 ok t2 active created");
}

/* ---- enlist ---- */

static void enlisting_twice_is_enlisting_once(void **state) {
  struct world *w = *state;

  begin(w, "a");
  enlist(w, T1, "b");
  enlist(w, T1, "b");
  enlist(w, T1, "a");
  enlist(w, T1, "b@elsewhere");
  enlist(w, T1, "b+");
  enlist(w, T1, "_@b");
  expect(w, "answer #1 ok t1 active created", "answer #2 ok t1 active branch 2 created",
         "answer #3 ok t1 active branch 2", "answer #4 ok t1 active branch 1",
         "answer #5 name-conflict t1 active: the branch of this name has another URL",
         "answer #6 name-conflict t1 active: the branch of this name has another payload, which is "
         "kept",
         "answer #7 ok t1 active branch 3 created");
  assert_string_equal(world_find(w, T1)->branches[2].name, "3");
}

/* A payload that nobody would carry out is not taken in silence. */
static void enlisting_again_with_another_payload_is_a_conflict(void **state) {
  struct world *w = *state;

  struct vow_event event = {
      .type = VOW_EVENT_ENLIST,
      .u.enlist = {.name = "a", .url = "http://a", .payload = "{\"pay\":2}", .payload_bytes = 9}};

  begin(w, "a+ b");
  enlist(w, T1, "a+");
  enlist(w, T1, "a");
  enlist(w, T1, "b+");
  expect(w, "answer #1 ok t1 active created", "answer #2 ok t1 active branch 1",
         "answer #3 name-conflict t1 active: the branch of this name has another payload, which is "
         "kept",
         "answer #4 name-conflict t1 active: the branch of this name has another payload, which is "
         "kept");
  assert_int_equal(world_find(w, T1)->branch_count, 2);
  event.id = world_id(w, T1);
  event.token = ++w->token; /* as long, and not the same */
  world_must(w, &event);
  expect_some(w, "answer #5 name-conflict t1 active: the branch of this name has another payload");
}

/* An unnamed branch whose number is somebody's name is not that branch. */
static void a_number_may_be_taken(void **state) {
  struct world *w = *state;

  begin(w, "2@x");
  enlist(w, T1, "_@x");
  expect(w, "answer #1 ok t1 active created",
         "answer #2 name-conflict t1 active: the name of a branch without one is its number: it is "
         "taken");
}

static void enlisting_has_a_limit(void **state) {
  struct world *w = *state;

  begin(w, "a b c d e f g");
  enlist(w, T1, "h");
  enlist(w, T1, "i");
  enlist(w, T1, "h");
  expect(
      w, "answer #1 ok t1 active created", "answer #2 ok t1 active branch 8 created",
      "answer #3 limit-exceeded t1 active: a transaction has at most 8 branches (limits_branches)",
      "answer #4 ok t1 active branch 8");
}

/* Branches that were enlisted one by one are asked like all others. */
static void enlisted_branches_are_asked(void **state) {
  struct world *w = *state;

  begin(w, "");
  enlist(w, T1, "a+");
  enlist(w, T1, "b+");
  enlist(w, T1, "c+");
  world_forget_trace(w);
  commit(w, T1);
  expect(w, "send prepare t1/a", "send prepare t1/b", "send prepare t1/c");
}

/* ---- clients that wait ---- */

static void waiters_have_a_limit(void **state) {
  struct world *w = *state;

  begin(w, "a b");
  for (int i = 0; i < 4; i++) commit(w, T1);
  world_forget_trace(w);
  commit(w, T1);
  expect(w,
         "answer #6 overloaded: 4 clients wait for this transaction, and no more may "
         "(limits_waiters)");
}

/* A request without a name for itself, or with one that is in use, is the driver's mistake. */
static void tokens_are_names(void **state) {
  struct world *w = *state;
  struct vow_event event = {.type = VOW_EVENT_COMMIT, .token = 0};

  assert_int_equal(world_step(w, &event), VOW_E_INVALID_ARGUMENT);
  begin(w, "a b");
  event.token = commit(w, T1);
  assert_int_equal(world_step(w, &event), VOW_E_INVALID_ARGUMENT);
}

/* ---- keys ---- */

static uint64_t begin_keyed(struct world *w, const char *key, uint8_t hash, const char *branches) {
  struct vow_event event = {
      .u.begin = {.idempotency_key = key, .request_hash = {hash}, .commit = true}};
  return begin_with(w, &event, branches);
}

/* The same key and request is the same transaction, and the same answer for everyone. */
static void a_key_names_one_transaction(void **state) {
  struct world *w = *state;

  begin_keyed(w, "k", 1, "a+ b+");
  begin_keyed(w, "k", 1, "a+ b+");
  begin_keyed(w, "k", 2, "a+");
  begin_keyed(w, "other", 1, "c+ d+");
  expect(w, "send prepare t1/a", "send prepare t1/b",
         "answer #3 idempotency-key-reused: the key was used with a request whose body is "
         "different; use a new key for a new request",
         "send prepare t2/c", "send prepare t2/d");
  yes(w, "a");
  yes(w, "b");
  sync(w);
  expect(w, "log! t1 committing", "answer #1 ok t1 committing created",
         "answer #2 ok t1 committing", "send commit t1/a", "send commit t1/b");
  begin_keyed(w, "k", 1, "a+ b+");
  expect(w, "answer #5 ok t1 committing");
}

/* A begin without commit is answered with the transaction as it is. */
static void an_interactive_begin_may_be_repeated(void **state) {
  struct world *w = *state;
  struct vow_event event = {.u.begin.idempotency_key = "k"};

  begin_with(w, &event, "a b");
  event = (struct vow_event){.u.begin.idempotency_key = "k"};
  begin_with(w, &event, "a b");
  commit_no_wait(w, T1);
  world_forget_trace(w);
  event = (struct vow_event){.u.begin.idempotency_key = "k"};
  begin_with(w, &event, "a b");
  expect(w, "answer #4 ok t1 preparing");
  no(w, "a", NULL);
  event = (struct vow_event){.u.begin.idempotency_key = "k"};
  begin_with(w, &event, "a b");
  expect(w, "log! t1 aborting"); /* C8 */
  sync(w);
  expect(w, "answer #5 ok t1 aborting");
}

static void waiters_of_a_key_have_a_limit(void **state) {
  struct world *w = *state;

  for (int i = 0; i < 5; i++) begin_keyed(w, "k", 1, "a+ b+");
  expect(w, "send prepare t1/a", "send prepare t1/b",
         "answer #5 overloaded: 4 clients wait for this transaction, and no more may "
         "(limits_waiters)");
}

/* C8: whatever a key was answered is durable first. */
static void keyed_outcomes_are_forced(void **state) {
  struct world *w = *state;

  begin_keyed(w, "reads", 1, "a+");
  sync(w);
  read_only(w, "a");
  expect(w, "log! t1 preparing delegated", "send prepare t1/a one-phase",
         "log! t1 committed delegated ended");
  begin_keyed(w, "empty", 1, "");
  expect(w, "log! t2 committed ended");
  begin_keyed(w, "no", 1, "a+ b+");
  no(w, "a", NULL);
  expect(w, "send prepare t3/a", "send prepare t3/b", "log! t3 aborting");
  sync(w);
  expect(w, "answer #1 ok t1 committed created", "answer #2 ok t2 committed created",
         "answer #3 transaction-aborted t3 aborting created: branch 'a' voted abort");
}

/* ---- mistakes of a driver ---- */

static void nonsense_is_refused(void **state) {
  struct world *w = *state;
  struct vow_event event = {.type = VOW_EVENT_REPLY, .u.reply.request = 4711};

  assert_int_equal(world_step(w, &event), VOW_E_INVALID_ARGUMENT);
  begin(w, "a");
  commit(w, T1);
  sync(w);
  event.u.reply.request = w->sends[0].request;
  event.u.reply.count = 2;
  assert_int_equal(world_step(w, &event), VOW_E_INVALID_ARGUMENT);
  event.u.reply.count = 1;
  for (int kind = 0; kind <= 7; kind += 7) {
    event.u.reply.results = test_calloc(1, sizeof(*event.u.reply.results));
    event.u.reply.results[0].kind = (enum vow_reply_kind)kind;
    assert_int_equal(world_step(w, &event), VOW_E_INVALID_ARGUMENT);
    test_free(event.u.reply.results);
  }
  event = (struct vow_event){.type = VOW_EVENT_DURABLE, .u.position = w->position + 1};
  assert_int_equal(world_step(w, &event), VOW_E_INVALID_ARGUMENT);
  event = (struct vow_event){.type = VOW_EVENT_DURABLE, .u.position = 1}; /* old news */
  assert_int_equal(world_step(w, &event), VOW_OK);
  event = (struct vow_event){.type = (enum vow_event_type)99};
  assert_int_equal(world_step(w, &event), VOW_E_INVALID_ARGUMENT);
  event = (struct vow_event){.type = VOW_EVENT_LOAD_BEGIN};
  assert_int_equal(world_step(w, &event), VOW_E_INVALID_ARGUMENT);
  event = (struct vow_event){.type = VOW_EVENT_LOAD_END};
  assert_int_equal(world_step(w, &event), VOW_E_INVALID_ARGUMENT);
}

/* Who begins again under a key is told of a decision when it is durable, and need not wait for a
 * delegation that is not. */
static void a_begin_again_depends_on_what_it_tells(void **state) {
  struct world *w = *state;
  struct vow_event event = {.u.begin.idempotency_key = "k"};

  begin_with(w, &event, "a+");
  commit_no_wait(w, T1);
  world_forget_trace(w);
  event = (struct vow_event){.u.begin.idempotency_key = "k"};
  begin_with(w, &event, "a+");
  expect(w, "answer #3 ok t1 preparing");
  sync(w);
  yes(w, "a");
  world_forget_trace(w);
  event = (struct vow_event){.u.begin.idempotency_key = "k"};
  begin_with(w, &event, "a+");
  expect(w, "");
  sync(w);
  expect(w, "answer #4 ok t1 committing", "send commit t1/a");
}

static void config_must_make_sense(void **state) {
  struct world *w = *state;
  struct vow_core *core = NULL;
#define BAD(member, value)                                                    \
  do {                                                                        \
    struct vow_core_config config = w->config;                                \
    struct vow_event event = {.type = VOW_EVENT_CONFIG, .u.config = &config}; \
    config.member = (value);                                                  \
    assert_int_equal(vow_core_new(&core, &config), VOW_E_CONFIG);             \
    assert_int_equal(world_step(w, &event), VOW_E_CONFIG);                    \
    assert_null(core);                                                        \
  } while (0)
  BAD(transaction_timeout_ms, 0);
  BAD(prepare_timeout_ms, 0);
  BAD(transaction_timeout_max_ms, w->config.transaction_timeout_ms - 1);
  BAD(retry_min_ms, 0);
  BAD(retry_max_ms, w->config.retry_min_ms - 1);
  BAD(transactions_max, 0);
  BAD(branches_max, 0);
  BAD(waiters_max, 0);
  BAD(inflight_per_endpoint_max, 0);
  BAD(history_max, 0);
  BAD(id_reserve_ms, 0);
  struct vow_event event = {.type = VOW_EVENT_CONFIG, .u.config = &w->config};
  w->config.retry_max_ms = w->config.retry_min_ms; /* always the same */
  world_must(w, &event);
  vow_core_free(NULL);
}

/* ---- what can be read ---- */

static void counts_add_up(void **state) {
  struct world *w = *state;
  struct vow_core_counts counts;

  begin(w, "a");
  begin_one_shot(w, "a b");
  begin_one_shot(w, "");
  begin_one_shot(w, "a b");
  no(w, "b", NULL);
  vow_core_counts(w->core, &counts);
  assert_int_equal(counts.begun, 4);
  assert_int_equal(counts.open[VOW_TXN_ACTIVE], 1);
  assert_int_equal(counts.open[VOW_TXN_PREPARING], 1);
  assert_int_equal(counts.open[VOW_TXN_ABORTING], 1);
  assert_int_equal(counts.open[VOW_TXN_COMMITTED], 0); /* ended; only its record is awaited */
  assert_int_equal(counts.committed, 1);
  assert_int_equal(counts.aborted, 1);
  assert_int_equal(counts.endpoints, 2);
  assert_int_equal(counts.endpoints_down, 0);
  assert_int_equal(counts.requests_inflight, 3);
  assert_int_equal(counts.messages_queued, 0);
}

/* Lists go by id, from either end. */
static void transactions_are_listed_by_id(void **state) {
  struct world *w = *state;
  const struct vow_id nil = {{0}};

  for (int i = 0; i < 50; i++) begin(w, "");
  const struct vow_txn *t = vow_core_next(w->core, nil);
  for (uint32_t i = 1; i <= 50; i++) {
    assert_non_null(t);
    assert_int_equal(vow_id_compare(t->id, world_id(w, i)), 0);
    struct vow_id next = t->id;
    next.bytes[15]++;
    t = vow_core_next(w->core, next);
  }
  assert_null(t);
  t = vow_core_prev(w->core, NULL);
  for (uint32_t i = 50; i >= 1; i--) {
    assert_non_null(t);
    assert_int_equal(vow_id_compare(t->id, world_id(w, i)), 0);
    struct vow_id before = t->id;
    t = vow_core_prev(w->core, &before);
  }
  assert_null(t);
}

/* An empty list ends at once. */
static void nothing_is_listed_of_nothing(void **state) {
  struct world *w = *state;
  const struct vow_id nil = {{0}};

  assert_null(vow_core_next(w->core, nil));
  assert_null(vow_core_prev(w->core, NULL));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(begin_keeps_what_it_is_given),
      TEST(branches_are_named_by_number),
      TEST(names_are_unique),
      TEST(begin_has_limits),
      TEST(begins_are_refused_first),
      TEST(loading_is_waited_for),
      TEST(enlisting_twice_is_enlisting_once),
      TEST(enlisting_again_with_another_payload_is_a_conflict),
      TEST(a_number_may_be_taken),
      TEST(enlisting_has_a_limit),
      TEST(enlisted_branches_are_asked),
      TEST(waiters_have_a_limit),
      TEST(tokens_are_names),
      TEST(a_key_names_one_transaction),
      TEST(an_interactive_begin_may_be_repeated),
      TEST(waiters_of_a_key_have_a_limit),
      TEST(keyed_outcomes_are_forced),
      TEST(nonsense_is_refused),
      TEST(a_begin_again_depends_on_what_it_tells),
      TEST(config_must_make_sense),
      TEST(counts_add_up),
      TEST(transactions_are_listed_by_id),
      TEST(nothing_is_listed_of_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
