/*
 * Texts of vowctl: durations, ages, sizes, and text of others made safe and measured.
 */
#include "text.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void durations_are_read_with_their_units(void **state) {
  static const struct {
    const char *text;
    uint64_t ms;
  } good[] = {
      {"0ms", 0},       {"250ms", 250},    {"90s", 90000},     {"5m", 300000},
      {"2h", 7200000},  {"3d", 259200000}, {"1h30m", 5400000}, {"1d1h1m1s1ms", 90061001},
      {"1m5ms", 60005}, {"00010s", 10000},
  };
  (void)state;
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    uint64_t ms = 77;
    assert_true(ctl_duration_parse(good[i].text, &ms));
    assert_int_equal(ms, good[i].ms);
  }
}

static void what_is_no_duration_is_refused_and_changes_nothing(void **state) {
  static const char *const bad[] = {
      "",
      "5",
      "m",
      "5x",
      "-5s",
      " 5s",
      "5s ",
      "5 s",
      "5m1h",
      "1s1s",
      "1.5h",
      "5mss",
      "5sm",
      "5msec",
      "+5s",
      "5M",
      "99999999999999999999s",
      "18446744073709551615s",
      "213503982334d23h59m59s9999999999ms",
  };
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    uint64_t ms = 77;
    if (ctl_duration_parse(bad[i], &ms)) fail_msg("\"%s\" was taken for a duration", bad[i]);
    assert_int_equal(ms, 77);
  }
}

static void a_duration_is_written_with_its_two_largest_units(void **state) {
  static const struct {
    uint64_t ms;
    const char *text;
  } cases[] = {
      {0, "0ms"},      {999, "999ms"},    {1000, "1s"},        {1999, "1s"},
      {60000, "1m"},   {192000, "3m12s"}, {3600000, "1h"},     {3660000, "1h1m"},
      {3601000, "1h"}, {86400000, "1d"},  {187200000, "2d4h"}, {UINT64_MAX, "213503982334d14h"},
  };
  char text[CTL_DURATION_BYTES];
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    ctl_duration_format(cases[i].ms, text);
    assert_string_equal(text, cases[i].text);
  }
}

static void numbers_are_digits_within_limits(void **state) {
  static const char *const bad[] = {"", "-1", "1a", " 1", "0x10", "11", "18446744073709551616"};
  uint64_t value = 77;
  (void)state;
  assert_true(ctl_uint_parse("10", 1, 10, &value));
  assert_int_equal(value, 10);
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    assert_false(ctl_uint_parse(bad[i], 1, 10, &value));
  }
  assert_false(ctl_uint_parse("0", 1, 10, &value));
  assert_int_equal(value, 10);
}

static void times_are_utc_with_milliseconds(void **state) {
  char text[CTL_TIME_BYTES];
  (void)state;
  ctl_time_format(UINT64_C(1767225599007), text);
  assert_string_equal(text, "2025-12-31 23:59:59.007Z");
  ctl_time_format(UINT64_MAX, text); /* further than a calendar goes: still a text */
  assert_true(strlen(text) > 0);
}

static void sizes_are_written_in_binary_units(void **state) {
  char text[CTL_DURATION_BYTES];
  (void)state;
  ctl_bytes_format(0, text);
  assert_string_equal(text, "0 B");
  ctl_bytes_format(1023, text);
  assert_string_equal(text, "1023 B");
  ctl_bytes_format(1536, text);
  assert_string_equal(text, "1.5 KiB");
  ctl_bytes_format(UINT64_C(5) << 40, text);
  assert_string_equal(text, "5.0 TiB");
}

static void assert_safe(const char *text, const char *expected) {
  struct vow_buf buf;
  vow_buf_init(&buf, CTL_LINE_BYTES_MAX);
  ctl_safe_append(&buf, text);
  assert_string_equal(vow_buf_text(&buf), expected);
  vow_buf_fini(&buf);
}

static void text_of_others_cannot_act_on_the_terminal(void **state) {
  (void)state;
  assert_safe("plain, Zürich, 日本, 🏦", "plain, Zürich, 日本, 🏦");
  assert_safe("\033[2Jgone", "\\x1b[2Jgone");
  assert_safe("two\nlines\r\t\a\x7f", "two\\nlines\\r\\t\\x07\\x7f");
  assert_safe(
      "\xc2\x9b"
      "31m",
      "\\u{009b}31m"); /* CSI as one C1 character */
  assert_safe(
      "\xe2\x80\xae"
      "drawkcab",
      "\\u{202e}drawkcab"); /* right-to-left override */
  assert_safe("\xff\xc3", "\\xff\\xc3");
  assert_safe("\xc0\xaf", "\\xc0\\xaf");                   /* overlong */
  assert_safe("\xed\xa0\x80", "\\xed\\xa0\\x80");          /* surrogate */
  assert_safe("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"); /* past the last character */
}

static void text_that_is_too_long_is_cut_between_characters(void **state) {
  struct vow_buf buf;
  (void)state;
  vow_buf_init(&buf, 4);
  ctl_safe_append(&buf, "abcü");
  assert_string_equal(vow_buf_text(&buf), "abc");
  vow_buf_fini(&buf);
}

static void widths_count_columns_and_not_bytes(void **state) {
  (void)state;
  assert_int_equal(ctl_width(""), 0);
  assert_int_equal(ctl_width("Zürich"), 6);
  assert_int_equal(ctl_width("日本"), 4);
  assert_int_equal(ctl_width("e\xcc\x81"), 1); /* e with a combining acute */
}

static void a_prefix_never_cuts_a_character(void **state) {
  (void)state;
  assert_int_equal(ctl_prefix_bytes("Zürich", 2), 3);
  assert_int_equal(ctl_prefix_bytes("日本", 3), 3);
  assert_int_equal(ctl_prefix_bytes("e\xcc\x81x", 1), 3);
  assert_int_equal(ctl_prefix_bytes("abc", 0), 0);
  assert_int_equal(ctl_prefix_bytes("abc", 9), 3);
}

static void near_words_have_a_small_distance(void **state) {
  (void)state;
  assert_int_equal(ctl_edit_distance("list", "list"), 0);
  assert_int_equal(ctl_edit_distance("lst", "list"), 1);
  assert_int_equal(ctl_edit_distance("lsit", "list"), 1);
  assert_int_equal(ctl_edit_distance("", "list"), 4);
  assert_int_equal(ctl_edit_distance("show", "forget"), 6);
  /* Longer than any name of ours: far away, and nothing is written past the end. */
  assert_true(ctl_edit_distance("a-word-that-is-much-longer-than-any-option-of-ours", "list") > 9);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(durations_are_read_with_their_units),
      cmocka_unit_test(what_is_no_duration_is_refused_and_changes_nothing),
      cmocka_unit_test(a_duration_is_written_with_its_two_largest_units),
      cmocka_unit_test(numbers_are_digits_within_limits),
      cmocka_unit_test(times_are_utc_with_milliseconds),
      cmocka_unit_test(sizes_are_written_in_binary_units),
      cmocka_unit_test(text_of_others_cannot_act_on_the_terminal),
      cmocka_unit_test(text_that_is_too_long_is_cut_between_characters),
      cmocka_unit_test(widths_count_columns_and_not_bytes),
      cmocka_unit_test(a_prefix_never_cuts_a_character),
      cmocka_unit_test(near_words_have_a_small_distance),
  };
  setlocale(LC_CTYPE, "C.UTF-8");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
