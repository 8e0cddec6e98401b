/*
 * The n-th allocation of the core fails, for each n: a request that fails has changed nothing and
 * succeeds when it is repeated; nothing else fails, and the story ends as it ends with memory
 * enough. The linker puts the functions below in the place of the allocator's (see CMakeLists.txt).
 */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core_world.h"

/* ---- the allocator, while the core is at work ---- */

static bool in_core;
static uint64_t allocations; /* of the core, so far */
static uint64_t fail_from, fail_count;
static bool actions_are_short; /* there is no memory for a longer list of them */
static int64_t live_bytes;     /* taken and not given back */

static bool fails(void) {
  if (!in_core) return false;
  allocations++;
  return allocations >= fail_from && allocations < fail_from + fail_count;
}

static void *counted(void *memory) {
  if (in_core) live_bytes += (int64_t)malloc_usable_size(memory);
  return memory;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
char *__real_strdup(const char *text);
void __real_free(void *memory);
enum vow_error __real_vow_core_step(struct vow_core *core, const struct vow_event *event,
                                    struct vow_actions *actions);
enum vow_error __real_vow_core_new(struct vow_core **out, const struct vow_core_config *config);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
char *__wrap_strdup(const char *text);
void __wrap_free(void *memory);
enum vow_error __wrap_vow_core_step(struct vow_core *core, const struct vow_event *event,
                                    struct vow_actions *actions);
enum vow_error __wrap_vow_core_new(struct vow_core **out, const struct vow_core_config *config);

void *__wrap_malloc(size_t bytes) {
  return fails() ? NULL : counted(__real_malloc(bytes));
}

void *__wrap_calloc(size_t count, size_t bytes) {
  return fails() ? NULL : counted(__real_calloc(count, bytes));
}

void *__wrap_realloc(void *old, size_t bytes) {
  if (fails() || (in_core && actions_are_short && bytes % sizeof(struct vow_action) == 0)) {
    return NULL;
  }
  if (in_core) live_bytes -= (int64_t)malloc_usable_size(old);
  return counted(__real_realloc(old, bytes));
}

char *__wrap_strdup(const char *text) {
  return fails() ? NULL : counted(__real_strdup(text));
}

void __wrap_free(void *memory) {
  if (in_core) live_bytes -= (int64_t)malloc_usable_size(memory);
  __real_free(memory);
}

enum vow_error __wrap_vow_core_step(struct vow_core *core, const struct vow_event *event,
                                    struct vow_actions *actions) {
  in_core = true;
  enum vow_error error = __real_vow_core_step(core, event, actions);
  in_core = false;
  return error;
}

enum vow_error __wrap_vow_core_new(struct vow_core **out, const struct vow_core_config *config) {
  in_core = true;
  enum vow_error error = __real_vow_core_new(out, config);
  in_core = false;
  return error;
}

/* ---- the story ---- */

/* Stories whose only growth of the list of actions is for a certain kind of action. */
static void two_actions_at_once(struct world *w, int kind) {
  struct vow_event event = {.u.begin.timeout_ms = 100};

  switch (kind) {
    case 0: /* the second is an answer */
      begin_one_shot(w, "");
      break;
    case 1: /* a record */
      begin_with(w, &event, "a+");
      event = (struct vow_event){.u.begin.timeout_ms = 100};
      begin_with(w, &event, "b+");
      wait_ms(w, 100);
      break;
    case 2: /* a message */
      begin_one_shot(w, "a+ b+");
      break;
    default: /* an answer, and another transaction behind it */
      w->wall_ms += 86400000;
      begin(w, "a+");
      begin(w, "b+");
      sync(w);
      break;
  }
}

static void first_part(struct world *w) {
  struct vow_event keyed = {
      .u.begin = {.idempotency_key = "key", .metadata = "{}", .traceparent = "00", .commit = true}};
  char many[1024] = "";

  begin(w, "a1@a+ b1@b"); /* t1 commits */
  enlist(w, T1, "c1@c+");
  for (int i = 0; i < 3; i++) enlist(w, T1, "_@d");
  begin_with(w, &keyed, "a2@a+ b2@e+"); /* t2 aborts, under a key */
  keyed = (struct vow_event){.u.begin = {.idempotency_key = "key", .commit = true}};
  begin_with(w, &keyed, "a2@a+ b2@e+");
  begin_one_shot(w, "a3@a+"); /* t3 is delegated */
  commit(w, T1);
  for (unsigned i = 0; i < 8; i++) sprintf(many + strlen(many), "m%u@m%u+ ", i, i);
  for (unsigned i = 0; i < 6; i++) begin_one_shot(w, many); /* t4 to t9: many messages a step */
  sync(w);
  yes(w, "a1");
  failed(w, "b1");
  wait_ms(w, 100);
  failed(w, "b1");
  no(w, "a2", "no money");
  down(w, "b2");
  wait_ms(w, 1200);
  yes(w, "b1");
  yes(w, "c1");
  read_only(w, "4");
  read_only(w, "5");
  read_only(w, "6");
  sync(w);
  abort_txn(w, 4);
  resolve(w, 5, 0, VOW_OUTCOME_ABORTED);
  sync(w);
}

static void second_part(struct world *w) {
  acknowledge(w, "b1", VOW_OUTCOME_HEURISTIC_ABORT);
  unknown(w, "c1");
  acknowledge(w, "a1", VOW_OUTCOME_COMMITTED);
  answer(w, "a3", VOW_VOTE_COMMIT, VOW_OUTCOME_COMMITTED);
  resolve(w, T1, 3, VOW_OUTCOME_COMMITTED);
  sync(w);
  forget(w, T1);
  sync(w);
  crash(w, UINT64_MAX);
  sync(w);
}

/* Everything that is asked is answered, and what nobody commits times out, until nothing is left.
 */
static void last_part(struct world *w) {
  const struct vow_id nil = {{0}};

  for (int round = 0; round < 150 && vow_core_next(w->core, nil) != NULL; round++) {
    for (uint32_t i = 0; i < w->send_count; i++) {
      struct world_send *send = &w->sends[i];
      if (send->done) continue;
      struct vow_message_reply reply = {.outcome = VOW_OUTCOME_ABORTED};
      if (send->type == VOW_MESSAGE_COMMIT) reply.outcome = VOW_OUTCOME_COMMITTED;
      if (send->type == VOW_MESSAGE_PREPARE) reply.vote = VOW_VOTE_ABORT;
      world_reply(w, send, VOW_REPLY_ANSWERED, reply, false);
    }
    sync(w);
    wait_ms(w, 500);
  }
  assert_null(vow_core_next(w->core, nil));
}

/* ---- comparing ends ---- */

static int compare_lines(const void *a, const void *b) {
  const char *const *x = a, *const *y = b;
  return strcmp(*x, *y);
}

/* The lines in any order, without the details that memory was too short for, and without what
 * travelled together: a request that found no memory leaves later, with others. */
static char *sorted(const char *trace) {
  char *text = __real_strdup(trace), *save = NULL;
  const char *lines[2048];
  size_t count = 0, bytes = 0;

  for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
    char *detail = strstr(line, ": ");
    if (detail != NULL) *detail = '\0';
    if (strncmp(line, "with ", 5) == 0) memcpy(line, "send", 4);
    assert_true(count < 2048);
    lines[count++] = line;
  }
  qsort(lines, count, sizeof(lines[0]), compare_lines);
  char *out = __real_calloc(strlen(trace) + 2, 1);
  for (size_t i = 0; i < count; i++) bytes += (size_t)sprintf(out + bytes, "%s\n", lines[i]);
  free(text);
  return out;
}

#define STORIES            6
#define STORY_WITH_BATCHES 5 /* the whole story, with participants that take batches */

static char *tell(int story) {
  uint64_t armed = fail_from;
  fail_from = UINT64_MAX;
  struct world *w = world_new_bare();
  vow_core_free(w->core);
  w->memory_is_short = true;
  fail_from = armed;
  allocations = 0;
  world_load(w);
  sync(w);
  if (story == STORY_WITH_BATCHES) w->offer = 4;
  if (story >= STORY_WITH_BATCHES - 1) {
    first_part(w);
    second_part(w);
  } else {
    two_actions_at_once(w, story);
  }
  last_part(w);
  for (uint64_t token = 1; token <= w->token; token++) assert_int_equal(w->answered[token], 1);
  char *end = sorted(w->trace);
  world_free(w);
  return end;
}

static void sweep(int story, uint64_t burst) {
  fail_from = UINT64_MAX;
  fail_count = 0;
  char *whole = tell(story);
  uint64_t last = allocations;
  assert_true(last >= 6);
  fail_count = burst;
  for (fail_from = 1; fail_from <= last; fail_from++) {
    char *end = tell(story);
    if (strcmp(end, whole) != 0) {
      fprintf(stderr, "expected:\n%sbut was:\n%s", whole, end);
      fail_msg("it ends otherwise when allocation %llu fails", (unsigned long long)fail_from);
    }
    free(end);
  }
  free(whole);
}

static void one_failure_changes_nothing(void **state) {
  (void)state;
  for (int story = 0; story < STORIES; story++) sweep(story, 1);
}

static void failures_in_a_row_change_nothing(void **state) {
  (void)state;
  for (int story = 0; story < STORIES; story++) sweep(story, 7);
}

/* Memory is not short; T1 is to commit. */
static struct world *world_with_a_decision(void) {
  fail_from = UINT64_MAX;
  struct world *w = world_new();
  begin_one_shot(w, "a+ b+");
  yes(w, "a");
  yes(w, "b");
  sync(w);
  return w;
}

/* Many transactions time out: the records of their ends come before what follows, and there is no
 * memory for more. */
static void lack_actions(struct world *w) {
  struct vow_event more = {.type = VOW_EVENT_BEGIN, .u.begin.timeout_ms = 500};

  for (int i = 0; i < 40; i++) begin_with(w, &more, "");
  sync(w);
  actions_are_short = true;
  w->now_ms += 500;
  tick(w);
}

/* What an operator did finds no memory for its record. Who does the same again waits for it, too.
 */
static void an_act_is_told_when_its_record_is_durable(void **state) {
  (void)state;
  struct world *w = world_with_a_decision();
  acknowledge(w, "a", VOW_OUTCOME_HEURISTIC_ABORT);
  acknowledge(w, "b", VOW_OUTCOME_COMMITTED);
  sync(w);
  lack_actions(w);
  uint64_t first = forget(w, T1), again = forget(w, T1);
  actions_are_short = false;
  assert_true(world_find(w, T1)->forgotten);
  assert_int_equal(vow_core_next_deadline(w->core), 0);
  tick(w);
  assert_int_equal(w->answered[first], 0);
  assert_int_equal(w->answered[again], 0);
  sync(w);
  assert_int_equal(w->answered[first], 1);
  assert_int_equal(w->answered[again], 1);
  world_free(w);
}

/* Of many who wait for an outcome some find no memory for their answers, and get them later. */
static void answers_come_as_memory_allows(void **state) {
  enum { CLIENTS = 16 };

  (void)state;
  struct world *w = world_new();
  struct vow_event config = {.type = VOW_EVENT_CONFIG, .u.config = &w->config};
  w->config.waiters_max = CLIENTS;
  world_must(w, &config);
  begin(w, "a+ b+");
  for (int i = 0; i < CLIENTS; i++) (void)commit(w, T1);
  yes(w, "a");
  yes(w, "b");
  actions_are_short = true;
  sync(w);
  actions_are_short = false;
  assert_int_equal(w->answered[w->token], 0);
  assert_int_equal(vow_core_next_deadline(w->core), 0);
  tick(w);
  for (uint64_t token = 2; token <= w->token; token++) assert_int_equal(w->answered[token], 1);
  world_free(w);
}

/* A quarantine that begins meanwhile takes nothing of it away. */
static void an_act_outlives_the_begin_of_a_quarantine(void **state) {
  struct vow_event event = {.type = VOW_EVENT_WITNESS};

  (void)state;
  struct world *w = world_with_a_decision();
  w->incarnation = 70;
  crash(w, UINT64_MAX);
  sync(w); /* its ids: so each begin is answered at once */
  lack_actions(w);
  uint64_t first = resolve(w, T1, 1, VOW_OUTCOME_COMMITTED);
  actions_are_short = false;
  event.u.witness.seen = (struct vow_log_position){65, 1};
  event.u.witness.by = "somebody";
  world_must(w, &event);
  assert_true(vow_core_quarantined(w->core));
  uint64_t again = resolve(w, T1, 1, VOW_OUTCOME_COMMITTED);
  assert_int_equal(w->answered[first], 0);
  assert_int_equal(w->answered[again], 0);
  sync(w);
  assert_int_equal(w->answered[first], 1);
  assert_int_equal(w->answered[again], 1);
  crash(w, 0);
  assert_true(world_find(w, T1)->branches[0].resolved);
  world_free(w);
}

/* Ends that waited for one another are more than there is memory for. */
static void ends_are_written_as_memory_allows(void **state) {
  enum { COUNT = 40 };
  struct vow_event write = {.type = VOW_EVENT_WRITE_ENDS};

  (void)state;
  struct world *w = world_new();
  struct vow_event config = {.type = VOW_EVENT_CONFIG, .u.config = &w->config};
  w->config.ends_together = COUNT + 1;
  world_must(w, &config);
  for (uint32_t txn = T1; txn <= COUNT; txn++) {
    begin(w, "");
    abort_txn(w, txn);
  }
  sync(w);
  assert_non_null(world_find(w, T1));
  actions_are_short = true;
  assert_int_equal(world_step(w, &write), VOW_OK);
  actions_are_short = false;
  sync(w);
  assert_null(world_find(w, T1));
  assert_non_null(world_find(w, COUNT));
  tick(w);
  sync(w);
  assert_null(world_find(w, COUNT));
  world_free(w);
}

/* Also where there are enough of them, and are no longer when some have been written. */
static void enough_ends_are_written_as_memory_allows(void **state) {
  enum { COUNT = 8 };

  (void)state;
  struct world *w = world_new();
  struct vow_event config = {.type = VOW_EVENT_CONFIG, .u.config = &w->config};
  w->config.ends_together = COUNT;
  world_must(w, &config);
  for (uint32_t txn = T1; txn <= COUNT; txn++) {
    begin(w, txn < COUNT ? "" : "a b");
    abort_txn(w, txn);
  }
  acknowledge(w, "a", VOW_OUTCOME_ABORTED);
  actions_are_short = true;
  acknowledge(w, "b", VOW_OUTCOME_ABORTED);
  actions_are_short = false;
  sync(w);
  assert_null(world_find(w, T1));
  assert_non_null(world_find(w, COUNT));
  sync(w);
  assert_null(world_find(w, COUNT));
  world_free(w);
}

static void vote_all(struct world *w) {
  while (under_way(w, "a")) yes(w, "a");
  while (under_way(w, "b")) yes(w, "b");
  sync(w);
}

/* An open transaction of two branches takes well under 1,500 bytes, with its messages under way and
 * its client waiting. */
static void a_transaction_is_small(void **state) {
  (void)state;
  fail_from = UINT64_MAX;
  struct world *w = world_new();
  struct vow_event config = {.type = VOW_EVENT_CONFIG, .u.config = &w->config};

  w->config.inflight_per_endpoint_max = 1000;
  world_must(w, &config);
  begin_one_shot(w, "a b"); /* the endpoints stay */
  for (int round = 0; round < 2; round++) {
    live_bytes = 0; /* in the second round: what the first has grown is there already */
    for (uint32_t i = 0; i < 50; i++) begin_one_shot(w, "a b");
    int64_t preparing = live_bytes / 50;
    vote_all(w);
    int64_t committing = live_bytes / 50;
    if (round == 1) {
      print_message("%lld bytes preparing, %lld committing\n", (long long)preparing,
                    (long long)committing);
      assert_true(preparing < 1400);
      assert_true(committing < 1400);
    }
    for (uint32_t i = 0; i < w->send_count; i++) {
      if (w->sends[i].done) continue;
      world_reply(w, &w->sends[i], VOW_REPLY_ANSWERED,
                  (struct vow_message_reply){.outcome = VOW_OUTCOME_COMMITTED}, false);
    }
    sync(w);
    tick(w); /* frees what the last step dropped */
    if (round == 1) assert_true(live_bytes <= 0);
  }
  world_free(w);
}

/* A start that finds no memory for what the log knows of its past has not begun, and may again. */
static void a_start_may_be_tried_again(void **state) {
  const struct vow_incarnation known = {2, 0};
  const struct vow_id_gap gap = {{{0}}, {{1}}};
  struct vow_event event = {.type = VOW_EVENT_LOAD_BEGIN, .now_ms = 1, .wall_ms = 1700000000000};
  struct vow_actions actions = {0};

  (void)state;
  fail_from = UINT64_MAX;
  struct world *w = world_new_bare();
  event.u.load_begin.incarnation = 3;
  event.u.load_begin.known = &known;
  event.u.load_begin.known_count = 1;
  event.u.load_begin.gaps = &gap;
  event.u.load_begin.gap_count = 1;
  for (uint64_t nth = 1; nth <= 2; nth++) {
    fail_from = allocations + nth;
    fail_count = 1;
    assert_int_equal(vow_core_step(w->core, &event, &actions), VOW_E_NO_MEMORY);
  }
  assert_int_equal(vow_core_step(w->core, &event, &actions), VOW_OK);
  fail_from = UINT64_MAX;
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_failure_changes_nothing),
      cmocka_unit_test(failures_in_a_row_change_nothing),
      cmocka_unit_test(an_act_is_told_when_its_record_is_durable),
      cmocka_unit_test(answers_come_as_memory_allows),
      cmocka_unit_test(an_act_outlives_the_begin_of_a_quarantine),
      cmocka_unit_test(ends_are_written_as_memory_allows),
      cmocka_unit_test(enough_ends_are_written_as_memory_allows),
      cmocka_unit_test(a_transaction_is_small),
      cmocka_unit_test(a_start_may_be_tried_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
