/*
 * Tests of the shape of UTF-8, and of what is made safe for a terminal or a line (proto/utf8.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "utf8.h"

static void assert_character(const char *text, size_t bytes, uint32_t value) {
  uint32_t out = 0;
  assert_int_equal(vow_utf8_decode(text, &out), bytes);
  assert_int_equal(out, value);
}

static void assert_none(const char *text) {
  uint32_t out = 4711;
  assert_int_equal(vow_utf8_decode(text, &out), 0);
  assert_int_equal(out, 4711);
}

/* The first and the last character of each length are read. */
static void each_length(void **state) {
  (void)state;
  assert_character("a", 1, 'a');
  assert_character("\x7f", 1, 0x7f);
  assert_character("\xc2\x80", 2, 0x80);
  assert_character("\xdf\xbf", 2, 0x7ff);
  assert_character("\xe0\xa0\x80", 3, 0x800);
  assert_character("\xed\x9f\xbf", 3, 0xd7ff);
  assert_character("\xee\x80\x80", 3, 0xe000);
  assert_character("\xef\xbf\xbf", 3, 0xffff);
  assert_character("\xf0\x90\x80\x80", 4, 0x10000);
  assert_character("\xf1\x80\x80\x80x", 4, 0x40000);
  assert_character("\xf4\x8f\xbf\xbf", 4, 0x10ffff);
}

/* What is longer than it must be, a surrogate, past the end of Unicode, cut off, or out of place is
 * none. */
static void no_utf8(void **state) {
  static const char *const texts[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2\xc0",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xe1\x80",
                                      "\xe1\x80\x7f",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf1\x80\x80",
                                      "\xf1\x80\xc0\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff"};
  (void)state;
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) assert_none(texts[i]);
}

static void assert_safe(const char *text, const char *expected) {
  struct vow_buf out;
  vow_buf_init(&out, 1000);
  vow_utf8_append_safe(&out, text, "\"\\");
  assert_string_equal(vow_buf_text(&out), expected);
  vow_buf_fini(&out);
}

/* Nothing that a terminal acts on, or that makes a line look like another, gets through. */
static void made_safe(void **state) {
  (void)state;
  assert_safe("plain \xc3\xa9", "plain \xc3\xa9");
  assert_safe("a \"b\" \\", "a \\\"b\\\" \\\\");
  assert_safe("\n\r\t\x1b[31m", "\\n\\r\\t\\x1b[31m");
  assert_safe("\x7f\xc2\x9b", "\\x7f\\u{009b}");
  assert_safe("\xff\xc3", "\\xff\\xc3");
  /* The first and the last of each range, and their neighbours. */
  assert_safe("\xe2\x80\x8a\xe2\x80\x8b\xe2\x80\x8f\xe2\x80\x90",
              "\xe2\x80\x8a\\u{200b}\\u{200f}\xe2\x80\x90");
  assert_safe("\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xae\xe2\x80\xaf",
              "\xe2\x80\xa7\\u{2028}\\u{202e}\xe2\x80\xaf");
  assert_safe("\xe2\x81\x9f\xe2\x81\xa0\xe2\x81\xaf\xe2\x81\xb0",
              "\xe2\x81\x9f\\u{2060}\\u{206f}\xe2\x81\xb0");
  assert_safe("\xef\xbb\xbf", "\\u{feff}");
  assert_safe("\xf3\xa0\x80\x80\xf3\xa0\xbf\xbf\xf3\xa1\x80\x80",
              "\\u{e0000}\\u{e0fff}\xf3\xa1\x80\x80");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_length),
      cmocka_unit_test(no_utf8),
      cmocka_unit_test(made_safe),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
