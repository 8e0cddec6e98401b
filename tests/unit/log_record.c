/* A transaction that was written as a record and read back is the same transaction. */
#include "io/record.h"
#include "io/txn_json.h"
#include "log_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct vow_buf text;

static const char *write_record(const struct vow_txn *txn) {
  vow_buf_reset(&text);
  vow_record_write(&text, txn);
  assert_int_equal(text.error, VOW_OK);
  return vow_buf_text(&text);
}

static const char *show(const struct vow_txn *txn, enum vow_txn_json_detail detail) {
  struct vow_jsonw w;
  vow_buf_reset(&text);
  vow_jsonw_init(&w, &text);
  vow_txn_json_write(&w, NULL, txn, detail);
  assert_int_equal(text.error, VOW_OK);
  return vow_buf_text(&text);
}

static struct vow_txn read_record(struct vow_id id, const char *record) {
  char why[VOW_JSON_WHY_BYTES] = "";
  struct vow_txn txn = {0};
  if (vow_record_read(id, record, strlen(record), &txn, why) != VOW_OK) fail_msg("%s", why);
  return txn;
}

static struct vow_txn again(const struct vow_txn *txn) {
  return read_record(txn->id, write_record(txn));
}

static struct vow_txn full_txn(void) {
  struct vow_txn txn = nth_txn(7, VOW_TXN_COMMITTED, 1700000009000);
  txn.heuristic = VOW_HEURISTIC_MIXED;
  txn.delegated = txn.forgotten = true;
  txn.history_dropped = 12;
  set_text(&txn.metadata, "{\"order\":4711,\"tags\":[\"a\",{\"deep\":null}]}");
  set_text(&txn.idempotency_key, "key \"7\" \xc3\xa9");
  for (int i = 0; i < 16; i++) txn.request_hash[i] = (uint8_t)(i * 17);
  set_text(&txn.traceparent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  set_text(&txn.reason, "bank-b voted abort:\n\ttoo little");
  txn.branches[0].outcome = VOW_OUTCOME_HEURISTIC_ABORT;
  txn.branches[0].state = VOW_BRANCH_HEURISTIC;
  set_text(&txn.branches[0].last_error, "connection refused");
  txn.branches[0].last_error_ms = 1700000001234;
  txn.branches[1].resolved = true;
  txn.branches[1].vote = VOW_VOTE_READ_ONLY;
  txn.history[1].branch = 2;
  txn.history[1].count = 17;
  txn.history[1].detail = strdup("connect: timed out");
  return txn;
}

static void check_same_branch(const struct vow_branch *a, const struct vow_branch *b) {
  assert_int_equal(a->number, b->number);
  assert_string_equal(a->name, b->name);
  assert_string_equal(a->url, b->url);
  assert_int_equal(a->vote, b->vote);
  assert_int_equal(a->state, b->state);
  assert_int_equal(a->outcome, b->outcome);
  assert_int_equal(a->attempts, b->attempts);
  assert_string_equal(a->last_error ? a->last_error : "-", b->last_error ? b->last_error : "-");
  assert_int_equal(a->last_error_ms, b->last_error_ms);
  assert_int_equal(a->resolved, b->resolved);
  assert_null(b->payload);
}

/* `b` was read, and `a` is full_txn(). */
static void check_same(const struct vow_txn *a, const struct vow_txn *b) {
  assert_int_equal(vow_id_compare(a->id, b->id), 0);
  assert_int_equal(a->state, b->state);
  assert_int_equal(a->heuristic, b->heuristic);
  assert_true(b->decision_durable && b->delegated && b->forgotten);
  assert_int_equal(a->created_ms, b->created_ms);
  assert_int_equal(a->updated_ms, b->updated_ms);
  assert_int_equal(a->deadline_ms, b->deadline_ms);
  assert_int_equal(a->ended_ms, b->ended_ms);
  assert_string_equal(a->metadata, b->metadata);
  assert_string_equal(a->idempotency_key, b->idempotency_key);
  assert_memory_equal(a->request_hash, b->request_hash, 16);
  assert_string_equal(a->traceparent, b->traceparent);
  assert_string_equal(a->reason, b->reason);
  assert_int_equal(b->branch_count, 2);
  check_same_branch(&a->branches[0], &b->branches[0]);
  check_same_branch(&a->branches[1], &b->branches[1]);
  assert_int_equal(b->history_count, 3);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(a->history[i].time_ms, b->history[i].time_ms);
    assert_int_equal(a->history[i].kind, b->history[i].kind);
    assert_int_equal(a->history[i].count, b->history[i].count);
    assert_int_equal(a->history[i].branch, b->history[i].branch);
  }
  assert_string_equal(b->history[1].detail, "connect: timed out");
  assert_false(b->history[1].detail_static);
  assert_int_equal(b->history_dropped, 12);
}

static void every_field_survives(void **state) {
  (void)state;
  struct vow_txn a = full_txn();
  set_text(&a.branches[0].payload, "{\"secret\":1}");
  a.branches[0].payload_bytes = 12;
  assert_null(strstr(write_record(&a), "secret"));
  struct vow_txn b = again(&a);
  check_same(&a, &b);
  vow_txn_fini(&a);
  vow_txn_fini(&b);
}

/* What is not rare has no names and says nothing twice: a batch of such is what is forced. */
static void an_ordinary_record_is_short(void **state) {
  (void)state;
  struct vow_txn a = nth_txn(7, VOW_TXN_COMMITTED, 1700000000507);
  for (uint32_t i = 0; i < a.branch_count; i++) a.branches[i].outcome = VOW_OUTCOME_COMMITTED;
  a.history[2].detail = "commit";
  a.history[2].detail_static = true;
  assert_string_equal(write_record(&a),
                      "[[1700000000007,500,60000,500],4,"
                      "[[1,6,1,1,2,\"bank-a\",\"http://127.0.0.1:7001/bank-a\"],"
                      "[2,6,1,1,2,\"bank-b\",\"http://127.0.0.1:7001/bank-b\"]],"
                      "[[18446744073709551609,1],[18446744073709551610,3],"
                      "[18446744073709551611,8,0,1,1]]]");
  vow_txn_fini(&a);
}

/* Each vote and outcome that a detail may be is a number in the record, and the text is not owned
 * when it is read. A text that is equal to one, but owned, stays a text. */
static void words_have_numbers(void **state) {
  (void)state;
  static const char *const words[] = {"commit",          "read-only",       "abort",
                                      "committed",       "aborted",         "heuristic-commit",
                                      "heuristic-abort", "heuristic-mixed", "heuristic-hazard"};
  struct vow_history entry = {.time_ms = 1, .kind = VOW_HISTORY_VOTE, .count = 1};
  struct vow_txn a = {.id = nth_id(1), .state = VOW_TXN_PREPARING, .created_ms = 1};
  a.history = &entry;
  a.history_count = 1;
  for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
    char expected[48];
    entry.detail = words[i];
    for (int owned = 0; owned < 2; owned++) {
      entry.detail_static = owned == 0;
      if (entry.detail_static) {
        snprintf(expected, sizeof expected, "[[0,6,0,1,%u]]", i + 1);
      } else {
        snprintf(expected, sizeof expected, "[[0,6,0,1,\"%s\"]]", words[i]);
      }
      assert_non_null(strstr(write_record(&a), expected));
      struct vow_txn b = again(&a);
      assert_string_equal(b.history[0].detail, words[i]);
      assert_int_equal(b.history[0].detail_static, owned == 0);
      vow_txn_fini(&b);
    }
  }
}

/* What is in a log is read by the next version, too: no number gets another meaning. */
static void numbers_stay(void **state) {
  (void)state;
  static const char *const states[] = {"active",    "preparing", "committing",
                                       "committed", "aborting",  "aborted"};
  static const char *const branch_states[] = {"enlisted",   "preparing", "prepared", "read-only",
                                              "committing", "committed", "aborting", "aborted",
                                              "heuristic",  "unknown"};
  static const char *const kinds[] = {
      "begun",     "enlisted", "commit-asked",  "abort-asked",  "prepare-sent",   "vote",
      "delegated", "decided",  "decision-sent", "acknowledged", "attempt-failed", "heuristic",
      "recovered", "resolved", "forgotten",     "ended",        "timed-out"};
  for (int i = 0; i < 6; i++)
    assert_string_equal(vow_txn_state_name((enum vow_txn_state)(i + 1)), states[i]);
  for (int i = 0; i < 10; i++)
    assert_string_equal(vow_branch_state_name((enum vow_branch_state)(i + 1)), branch_states[i]);
  for (int i = 0; i < VOW_HISTORY_LAST; i++)
    assert_string_equal(vow_history_kind_name((enum vow_history_kind)(i + 1)), kinds[i]);
}

/* A clock that is set back, a saturated count, a detail without a branch. */
static void odd_history_survives(void **state) {
  (void)state;
  struct vow_history entries[] = {
      {.time_ms = 5, .kind = VOW_HISTORY_BEGUN, .count = 1},
      {.time_ms = 2000, .kind = VOW_HISTORY_LAST, .count = UINT16_MAX, .branch = UINT32_MAX},
      {.time_ms = 1000, .kind = VOW_HISTORY_DECIDED, .count = 1, .detail = "abort: \"why\""},
      {.time_ms = 1001, .kind = VOW_HISTORY_PREPARE_SENT, .count = 1, .branch = 2},
  };
  struct vow_txn a = {.id = nth_id(1), .state = VOW_TXN_PREPARING, .created_ms = 1000};
  a.history = entries;
  a.history_count = sizeof entries / sizeof *entries;
  struct vow_txn b = again(&a);
  assert_int_equal(b.history_count, a.history_count);
  for (uint32_t i = 0; i < a.history_count; i++) {
    assert_int_equal(b.history[i].time_ms, entries[i].time_ms);
    assert_int_equal(b.history[i].kind, entries[i].kind);
    assert_int_equal(b.history[i].count, entries[i].count);
    assert_int_equal(b.history[i].branch, entries[i].branch);
  }
  assert_null(b.history[0].detail);
  assert_string_equal(b.history[2].detail, "abort: \"why\"");
  vow_txn_fini(&b);
}

static void what_is_not_set_stays_unset(void **state) {
  (void)state;
  struct vow_txn a = {.id = nth_id(1), .state = VOW_TXN_PREPARING, .created_ms = 1700000000000};
  struct vow_txn b = again(&a);
  assert_memory_equal(&a, &b, sizeof a);
  vow_txn_fini(&b);
}

static void a_decision_that_is_read_is_durable(void **state) {
  (void)state;
  for (int s = VOW_TXN_ACTIVE; s <= VOW_TXN_ABORTED; s++) {
    struct vow_txn a = {.id = nth_id(1), .state = (enum vow_txn_state)s, .created_ms = 1};
    struct vow_txn b = again(&a);
    assert_int_equal(b.state, s);
    assert_int_equal(b.decision_durable, s >= VOW_TXN_COMMITTING);
    assert_false(b.presumed);
    vow_txn_fini(&b);
  }
  struct vow_txn a = {.id = nth_id(1), .state = VOW_TXN_ABORTING, .created_ms = 1};
  a.presumed = a.decision_durable = true;
  assert_null(strstr(show(&a, VOW_TXN_JSON_WHOLE), "presumed"));
  struct vow_txn b = again(&a);
  assert_true(b.presumed);
  assert_false(b.decision_durable); /* which is none */
  vow_txn_fini(&b);
}

static void bytes_that_are_not_text_do_not_spoil_a_record(void **state) {
  (void)state;
  struct vow_txn a = nth_txn(1, VOW_TXN_COMMITTING, 0);
  set_text(&a.branches[0].last_error, "\xff\xfe HTTP \x01\x1f\x7f\xc3");
  struct vow_txn b = again(&a);
  assert_string_equal(b.branches[0].last_error,
                      "\xef\xbf\xbd\xef\xbf\xbd HTTP \x01\x1f\x7f\xef\xbf\xbd");
  vow_txn_fini(&a);
  vow_txn_fini(&b);
}

static void lists_have_no_history_and_views_no_key(void **state) {
  (void)state;
  struct vow_txn a = full_txn();
  a.decision_durable = true;
  assert_null(strstr(show(&a, VOW_TXN_JSON_SUMMARY), "\"history\""));
  assert_null(strstr(vow_buf_text(&text), "idempotency_key"));
  assert_non_null(strstr(vow_buf_text(&text), "\"outcome\":\"committed\",\"heuristic\""));
  assert_non_null(strstr(show(&a, VOW_TXN_JSON_WHOLE), "\"history\""));
  assert_null(strstr(vow_buf_text(&text), "request_hash"));
  a.decision_durable = false;
  a.state = VOW_TXN_COMMITTING;
  assert_non_null(strstr(show(&a, VOW_TXN_JSON_WHOLE), "\"state\":\"preparing\""));
  vow_txn_fini(&a);
}

static void expect_refused(const char *record, const char *named) {
  char why[VOW_JSON_WHY_BYTES] = "";
  struct vow_txn txn, untouched;
  memset(&txn, 0x5a, sizeof txn);
  untouched = txn;
  assert_int_equal(vow_record_read(nth_id(7), record, strlen(record), &txn, why),
                   VOW_E_LOG_CORRUPT);
  if (strstr(why, named) == NULL) fail_msg("\"%s\" does not name \"%s\"", why, named);
  assert_memory_equal(&txn, &untouched, sizeof txn);
}

/* Every one of these is a record with one thing wrong. */
static void damaged_records_are_refused_with_a_sentence(void **state) {
  (void)state;
#define HEAD "[[9,0,9],1,"
#define RECORD(head) \
  { "[" head ",[],[]]", "[times, state," }
#define BRANCH(branch, name) \
  { HEAD "[" branch "],[]]", name }
#define HISTORY(entry) \
  { HEAD "[],[" entry "]]", "history" }
#define MORE(more, name) \
  { HEAD "[],[]," more "]", name }
  static const char *const good = HEAD "[[1,1,0,0,0,\"a\",\"http://a\"]],[[0,1]]]";
  static const char *const bad[][2] = {
      {"", ""},
      {HEAD "[],[]", "line 1"},
      {"7", "[times, state,"},
      {HEAD "[]]", "[times, state,"},
      {HEAD "[],[],{},1]", "[times, state,"},
      {HEAD "{},[]]", "[times, state,"},
      {HEAD "[],{}]", "[times, state,"},
      RECORD("9,1"),
      RECORD("[9,0],1"),
      RECORD("[9,0,9,1,1],1"),
      RECORD("[\"9\",0,9],1"),
      RECORD("[9,-1,9],1"),
      RECORD("[9,0,18446744073709551616],1"),
      RECORD("[9,0,9,null],1"),
      RECORD("[9,0,9],0"),
      RECORD("[9,0,9],7"),
      RECORD("[9,0,9],\"active\""),
      BRANCH("{}", "branches"),
      BRANCH("[1,1,0,0,0,\"a\"]", "branches"),
      BRANCH("[1,1,0,0,0,\"a\",\"http://a\",{},1]", "branches"),
      BRANCH("[0,1,0,0,0,\"a\",\"http://a\"]", "branches"),
      BRANCH("[1,0,0,0,0,\"a\",\"http://a\"]", "branches"),
      BRANCH("[1,11,0,0,0,\"a\",\"http://a\"]", "branches"),
      BRANCH("[1,1,4,0,0,\"a\",\"http://a\"]", "branches"),
      BRANCH("[1,1,0,7,0,\"a\",\"http://a\"]", "branches"),
      BRANCH("[1,1,0,0,4294967296,\"a\",\"http://a\"]", "branches"),
      BRANCH("[1,1,0,0,0,1,\"http://a\"]", "branches"),
      BRANCH("[1,1,0,0,0,\"a\",null]", "branches"),
      BRANCH("[1,1,0,0,0,\"a\",\"http://a\",7]", "object"),
      BRANCH("[1,1,0,0,0,\"a\",\"http://a\",{\"new\":1}]", "new"),
      HISTORY("{}"),
      HISTORY("[7]"),
      HISTORY("[-1,1]"),
      HISTORY("[0,0]"),
      HISTORY("[0,18]"),
      HISTORY("[0,1,4294967296]"),
      HISTORY("[0,1,1,0]"),
      HISTORY("[0,1,1,65536]"),
      HISTORY("[0,1,1,1,0]"),
      HISTORY("[0,1,1,1,10]"),
      HISTORY("[0,1,1,1,null]"),
      HISTORY("[0,1,1,1,\"a\",1]"),
      MORE("7", "object"),
      MORE("{\"new\":1}", "new"),
      MORE("{\"heuristic\":\"maybe\"}", "maybe"),
      MORE("{\"metadata\":[]}", "metadata"),
      MORE("{\"idempotency_key\":\"k\"}", "request_hash"),
      MORE("{\"idempotency_key\":\"k\",\"request_hash\":\"zz\"}", "request_hash"),
  };
  struct vow_txn txn = read_record(nth_id(7), good);
  vow_txn_fini(&txn);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) expect_refused(bad[i][0], bad[i][1]);
}

/* ---- before format 7 ---- */

#define ID      "\"id\":\"018bcfe5-6807-7007-8000-00000000d889\","
#define CREATED "\"created\":\"2023-11-14T22:13:20.007Z\","
#define ARRAYS  "\"branches\":[],\"history\":[]"

/* As that version wrote what `every_field_survives` has. */
static const char *const old_record =
    "{" ID
    "\"state\":\"committed\",\"heuristic\":\"mixed\","
    "\"reason\":\"bank-b voted abort:\\n\\ttoo little\"," CREATED
    "\"updated\":\"2023-11-14T22:13:20.507Z\",\"deadline\":\"2023-11-14T22:14:20.007Z\","
    "\"ended\":\"2023-11-14T22:13:29.000Z\",\"delegated\":true,\"forgotten\":true,"
    "\"metadata\":{\"order\":4711,\"tags\":[\"a\",{\"deep\":null}]},"
    "\"traceparent\":\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\","
    "\"idempotency_key\":\"key \\\"7\\\" \xc3\xa9\","
    "\"request_hash\":\"00112233445566778899aabbccddeeff\",\"branches\":["
    "{\"branch\":1,\"name\":\"bank-a\",\"url\":\"http://127.0.0.1:7001/bank-a\","
    "\"state\":\"heuristic\",\"vote\":\"commit\",\"outcome\":\"heuristic-abort\",\"attempts\":2,"
    "\"last_error\":\"connection refused\",\"last_error_at\":\"2023-11-14T22:13:21.234Z\"},"
    "{\"branch\":2,\"name\":\"bank-b\",\"url\":\"http://127.0.0.1:7001/bank-b\","
    "\"state\":\"committed\",\"vote\":\"read-only\",\"attempts\":2,\"resolved\":true}],"
    "\"history\":[[18446744073709551609,1],[18446744073709551610,3,2,17,\"connect: timed out\"],"
    "[18446744073709551611,8]],\"history_dropped\":12}";

static void a_record_of_before_is_read(void **state) {
  (void)state;
  struct vow_txn a = full_txn(), b = read_record(a.id, old_record);
  check_same(&a, &b);
  vow_txn_fini(&a);
  vow_txn_fini(&b);
}

static void damaged_records_of_before_are_refused_with_a_sentence(void **state) {
  (void)state;
#define OLD_BRANCH "\"branch\":1,\"name\":\"a\",\"url\":\"http://a\",\"attempts\":0"
  static const char *const good = "{" ID "\"state\":\"active\"," CREATED ARRAYS "}";
  static const char *const bad[][2] = {
      {"{" ID "\"state\":\"active\"," CREATED ARRAYS, "line 1"},
      {"{\"state\":\"active\"," CREATED ARRAYS "}", "id"},
      {"{\"id\":\"018bcfe5-6807-7007-8000-00000000d888\",\"state\":\"active\"," CREATED ARRAYS "}",
       "another transaction"},
      {"{" ID "\"state\":\"dreaming\"," CREATED ARRAYS "}", "dreaming"},
      {"{" ID "\"state\":\"active\"," ARRAYS "}", "created"},
      {"{" ID "\"state\":\"active\"," CREATED "\"branches\":[]}", "history"},
      {"{" ID "\"state\":\"active\"," CREATED ARRAYS ",\"new\":1}", "new"},
      {"{" ID "\"state\":\"active\"," CREATED "\"branches\":[{" OLD_BRANCH "}],\"history\":[]}",
       "state"},
      {"{" ID "\"state\":\"active\"," CREATED "\"branches\":[{" OLD_BRANCH
       ",\"state\":\"prepared\",\"vote\":\"maybe\"}],\"history\":[]}",
       "maybe"},
      {"{" ID "\"state\":\"active\"," CREATED "\"branches\":[],\"history\":[[7]]}", "history"},
      {"{" ID "\"state\":\"active\"," CREATED "\"branches\":[],\"history\":[[0,1,0,1,1]]}",
       "history"},
  };
  struct vow_txn txn = read_record(nth_id(7), good);
  vow_txn_fini(&txn);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) expect_refused(bad[i][0], bad[i][1]);
}

static void ten_thousand_branches_survive(void **state) {
  (void)state;
  struct vow_txn a = {.id = nth_id(1), .state = VOW_TXN_COMMITTING, .created_ms = 1};
  a.branches = calloc(10000, sizeof *a.branches);
  assert_non_null(a.branches);
  for (a.branch_count = 0; a.branch_count < 10000; a.branch_count++) {
    struct vow_branch *branch = &a.branches[a.branch_count];
    branch->number = a.branch_count + 1;
    branch->state = VOW_BRANCH_COMMITTING;
    set_text(&branch->name, "one of many");
    set_text(&branch->url, "http://many.example:8080/participant");
  }
  struct vow_txn b = again(&a);
  assert_int_equal(b.branch_count, 10000);
  assert_int_equal(b.branches[9999].number, 10000);
  vow_txn_fini(&a);
  vow_txn_fini(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_field_survives),
      cmocka_unit_test(an_ordinary_record_is_short),
      cmocka_unit_test(words_have_numbers),
      cmocka_unit_test(numbers_stay),
      cmocka_unit_test(odd_history_survives),
      cmocka_unit_test(what_is_not_set_stays_unset),
      cmocka_unit_test(a_decision_that_is_read_is_durable),
      cmocka_unit_test(bytes_that_are_not_text_do_not_spoil_a_record),
      cmocka_unit_test(lists_have_no_history_and_views_no_key),
      cmocka_unit_test(damaged_records_are_refused_with_a_sentence),
      cmocka_unit_test(a_record_of_before_is_read),
      cmocka_unit_test(damaged_records_of_before_are_refused_with_a_sentence),
      cmocka_unit_test(ten_thousand_branches_survive),
  };
  vow_buf_init(&text, 64 << 20);
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  vow_buf_fini(&text);
  return failed;
}
