/*
 * Tests of the error table and of the words of votes and outcomes (proto/error.c), and that the
 * OpenAPI files speak of exactly these errors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"
#include "vow/error.h"
#include "vow/types.h"

struct row {
  int number;
  const char *name;
  enum vow_error_class class_;
  int status;
  const char *slug;
  const char *text;
};

static const struct row ROWS[] = {
#define ROW(number, name, class_, status, slug, text) \
  {number, #name, VOW_CLASS_##class_, status, slug, text},
    VOW_ERROR_TABLE(ROW)
#undef ROW
};

#define ROW_COUNT (sizeof ROWS / sizeof ROWS[0])

/* Each row of the table is what the functions answer for its number. */
static void each_row_is_answered(void **state) {
  (void)state;
  for (size_t i = 0; i < ROW_COUNT; i++) {
    enum vow_error error = (enum vow_error)ROWS[i].number;
    assert_string_equal(vow_error_text(error), ROWS[i].text);
    assert_string_equal(vow_error_slug(error), ROWS[i].slug);
    assert_int_equal(vow_error_class(error), ROWS[i].class_);
    assert_int_equal(vow_error_http_status(error), ROWS[i].status);
    assert_int_equal(vow_error_from_slug(ROWS[i].slug), error);
  }
}

/* Numbers, names, slugs and texts are unique. */
static void rows_are_unique(void **state) {
  (void)state;
  for (size_t i = 0; i < ROW_COUNT; i++) {
    for (size_t j = 0; j < i; j++) {
      assert_int_not_equal(ROWS[i].number, ROWS[j].number);
      assert_string_not_equal(ROWS[i].name, ROWS[j].name);
      assert_string_not_equal(ROWS[i].slug, ROWS[j].slug);
      assert_string_not_equal(ROWS[i].text, ROWS[j].text);
    }
  }
}

/* Slugs are lower case with dashes, texts have no final stop, and statuses say that it failed. */
static void rows_are_well_formed(void **state) {
  (void)state;
  for (size_t i = 0; i < ROW_COUNT; i++) {
    const char *slug = ROWS[i].slug, *text = ROWS[i].text;
    assert_int_equal(strspn(slug, "abcdefghijklmnopqrstuvwxyz-"), strlen(slug));
    assert_true(strlen(slug) < 40);
    assert_int_not_equal(text[strlen(text) - 1], '.');
    if (ROWS[i].number == VOW_OK) continue;
    assert_in_range(ROWS[i].status, 400, 599);
    assert_int_not_equal(ROWS[i].class_, VOW_CLASS_NONE);
  }
}

/* A number that is not in the table is an internal error, whatever it is. */
static void unknown_number_is_internal(void **state) {
  (void)state;
  enum vow_error beyond = (enum vow_error)ROW_COUNT;
  enum vow_error far = (enum vow_error)100000;
  assert_string_equal(vow_error_slug(beyond), "internal-error");
  assert_string_equal(vow_error_text(far), vow_error_text(VOW_E_INTERNAL));
  assert_int_equal(vow_error_http_status(far), 500);
  assert_int_equal(vow_error_class(far), VOW_CLASS_FATAL);
}

/* A slug is found with and without its URN prefix; one of somebody else's is a protocol error. */
static void slugs_are_found(void **state) {
  (void)state;
  assert_int_equal(vow_error_from_slug("urn:vow:log-full"), VOW_E_LOG_FULL);
  assert_int_equal(vow_error_from_slug("log-full"), VOW_E_LOG_FULL);
  static const char *const others[] = {"",        "urn:vow:",  "urn:other:log-full",
                                       "log-ful", "log-fulls", "urn:vow:urn:vow:loading",
                                       "LOADING"};
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    assert_int_equal(vow_error_from_slug(others[i]), VOW_E_PROTOCOL);
  }
  assert_int_equal(vow_error_from_slug(NULL), VOW_E_PROTOCOL);
}

/* Votes and outcomes have the wire's words, and a value beyond them still has one. */
static void words_are_those_of_the_wire(void **state) {
  (void)state;
  assert_string_equal(vow_vote_name(VOW_VOTE_NONE), "none");
  assert_string_equal(vow_vote_name(VOW_VOTE_COMMIT), "commit");
  assert_string_equal(vow_vote_name(VOW_VOTE_READ_ONLY), "read-only");
  assert_string_equal(vow_vote_name(VOW_VOTE_ABORT), "abort");
  assert_string_equal(vow_vote_name((enum vow_vote)77), "invalid");
  assert_string_equal(vow_outcome_name(VOW_OUTCOME_NONE), "none");
  assert_string_equal(vow_outcome_name(VOW_OUTCOME_COMMITTED), "committed");
  assert_string_equal(vow_outcome_name(VOW_OUTCOME_ABORTED), "aborted");
  assert_string_equal(vow_outcome_name(VOW_OUTCOME_HEURISTIC_COMMIT), "heuristic-commit");
  assert_string_equal(vow_outcome_name(VOW_OUTCOME_HEURISTIC_ABORT), "heuristic-abort");
  assert_string_equal(vow_outcome_name(VOW_OUTCOME_HEURISTIC_MIXED), "heuristic-mixed");
  assert_string_equal(vow_outcome_name(VOW_OUTCOME_HEURISTIC_HAZARD), "heuristic-hazard");
  assert_string_equal(vow_outcome_name((enum vow_outcome)77), "invalid");
}

static void read_whole(const char *path, struct vow_buf *out) {
  char chunk[4096];
  size_t got;

  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  while ((got = fread(chunk, 1, sizeof chunk, file)) > 0) vow_buf_append(out, chunk, got);
  assert_int_equal(fclose(file), 0);
  assert_int_equal(out->error, VOW_OK);
}

/* vow.yaml lists each problem type of the table once in its enum, and no other. */
static void openapi_lists_these_errors(void **state) {
  struct vow_buf yaml;
  size_t listed = 0;

  (void)state;
  vow_buf_init(&yaml, 1 << 20);
  read_whole(VOW_OPENAPI_DIR "/vow.yaml", &yaml);
  for (size_t i = 0; i < ROW_COUNT; i++) {
    char item[80];
    (void)snprintf(item, sizeof item, "            - urn:vow:%s\n", ROWS[i].slug);
    const char *found = strstr(vow_buf_text(&yaml), item);
    assert_int_equal(found != NULL, ROWS[i].number != VOW_OK);
  }
  for (const char *at = vow_buf_text(&yaml); (at = strstr(at, " - urn:vow:")) != NULL; at++)
    listed++;
  assert_int_equal(listed, ROW_COUNT - 1);
  vow_buf_fini(&yaml);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_row_is_answered),
      cmocka_unit_test(rows_are_unique),
      cmocka_unit_test(rows_are_well_formed),
      cmocka_unit_test(unknown_number_is_internal),
      cmocka_unit_test(slugs_are_found),
      cmocka_unit_test(words_are_those_of_the_wire),
      cmocka_unit_test(openapi_lists_these_errors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
