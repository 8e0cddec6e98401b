/*
 * Tests of parsing JSON, of values, and of writing them back (proto/json_parse.c, proto/json.c).
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "json.h"
#include "json_node.h"

/* Parsed and written back; the text is in `out`. */
static void dump_of(const char *text, size_t bytes, struct vow_buf *out) {
  char why[VOW_JSON_WHY_BYTES] = "";
  struct vow_json *json = NULL;

  vow_buf_init(out, 1 << 22);
  if (vow_json_parse(&json, text, bytes, why) != VOW_OK) fail_msg("%.60s: %s", text, why);
  vow_json_dump(vow_json_root(json), out);
  vow_json_free(json);
  assert_int_equal(out->error, VOW_OK);
}

static void assert_dump(const char *text, const char *expected) {
  struct vow_buf out;

  dump_of(text, strlen(text), &out);
  assert_string_equal(vow_buf_text(&out), expected);
  vow_buf_fini(&out);
}

static void assert_refused_bytes(const char *text, size_t bytes, const char *words) {
  char why[VOW_JSON_WHY_BYTES] = "";
  struct vow_json *untouched = (struct vow_json *)why, *json = untouched;

  if (vow_json_parse(&json, text, bytes, why) != VOW_E_INVALID_JSON)
    fail_msg("%s: not refused", text);
  assert_ptr_equal(json, untouched);
  if (!strstr(why, words)) fail_msg("%s: \"%s\" does not say \"%s\"", text, why, words);
}

static void assert_refused(const char *text, const char *words) {
  assert_refused_bytes(text, strlen(text), words);
}

/* Any kind of value may stand at the top. */
static void any_value_at_the_top(void **state) {
  (void)state;
  assert_dump(" { } ", "{}");
  assert_dump("[\n]", "[]");
  assert_dump("\"x\"", "\"x\"");
  assert_dump("7", "7");
  assert_dump("-1.5e3", "-1.5e3");
  assert_dump("true", "true");
  assert_dump("\tfalse\r\n", "false");
  assert_dump("null", "null");
}

/* Members keep their order, white space goes. */
static void order_is_kept(void **state) {
  (void)state;
  assert_dump("{ \"z\" : 1 , \"a\" : [ 1 , { \"y\" : null , \"b\" : { } } ] }",
              "{\"z\":1,\"a\":[1,{\"y\":null,\"b\":{}}]}");
}

/* Each valid number keeps its exact text, whatever its size: money is not rounded on the way. */
static void numbers_keep_their_text(void **state) {
  static const char *const numbers[] = {
      "0",
      "-0",
      "0.0",
      "-0.0",
      "19.90",
      "0.1",
      "1.10",
      "100.00",
      "1e2",
      "1E+2",
      "1e-2",
      "0e0",
      "-1.5E-300",
      "999999999999999999",
      "1000000000000000000",
      "9223372036854775807",
      "9223372036854775808",
      "-9223372036854775808",
      "-9223372036854775809",
      "18446744073709551615",
      "18446744073709551616",
      "123456789012345678901234567890123456789012345678901234567890",
      "1e400",
      "1e-400",
      "0.1000000000000000055511151231257827",
      "-999999999999999999",
      "1e99999999999999999999"};
  char text[200], expected[200];

  (void)state;
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    assert_dump(numbers[i], numbers[i]);
    (void)snprintf(text, sizeof text, "{ \"a\": [%s , %s], \"b\":%s}", numbers[i], numbers[i],
                   numbers[i]);
    (void)snprintf(expected, sizeof expected, "{\"a\":[%s,%s],\"b\":%s}", numbers[i], numbers[i],
                   numbers[i]);
    assert_dump(text, expected);
  }
}

/* What only looks like a number is refused. */
static void bad_numbers(void **state) {
  static const char *const numbers[] = {"01",       "-",   "+1",   ".5",    "1.",    "1e",  "1e+",
                                        "--1",      "-01", "1.e2", "0x1",   "1.5.2", "1-2", "1.5-2",
                                        "Infinity", "NaN", "-a",   "1e1.5", "1 2",   "00.5"};
  (void)state;
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    char text[32];
    assert_refused(numbers[i], "line 1");
    (void)snprintf(text, sizeof text, "[1.25,%s]", numbers[i]);
    assert_refused(text, "line 1");
  }
}

/* Strings keep their characters: escapes are resolved, surrogate pairs joined, and written anew. */
static void strings_keep_their_characters(void **state) {
  (void)state;
  assert_dump("\"\\u00e9\\u0041\\/\\ud83d\\ude00\"",
              "\"\xc3\xa9"
              "A/\xf0\x9f\x98\x80\"");
  assert_dump("\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\"", "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\"");
  assert_dump("\"\\u007f\\u0080\\u07ff\\u0800\\u0fff\\uffff\\ud800\\udc00\\udbff\\uDFFF\"",
              "\"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xe0\xbf\xbf\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f"
              "\xbf\xbf\"");
  assert_dump("{\"\\u006bey\":\"\"}", "{\"key\":\"\"}");
  assert_dump("\"1.5\"", "\"1.5\"");
  assert_dump("[\"[{\",1.5,\"}]\\\"\"]", "[\"[{\",1.5,\"}]\\\"\"]");
}

/* What does not stand for itself is found at each place of a string, whatever is before it. */
static void odd_characters_at_each_place(void **state) {
  static const struct {
    const char *text, *written; /* NULL: it is refused */
  } odd[] = {{"\"", NULL},   {"\\n", "\\n"}, {"\xc3\xa9", "\xc3\xa9"},
             {"\x1f", NULL}, {"\\", NULL},   {"\\ud83d\\ude00", "\xf0\x9f\x98\x80"},
             {"\x80", NULL}, {"\xff", NULL}, {"\x7f", "\x7f"}};
  static const char before[] = "~ !#[]^_`{}/0";

  (void)state;
  for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
    for (size_t at = 0; at < 20; at++) {
      char text[64] = "\"", expected[64] = "\"";
      for (size_t j = 0; j < at; j++) text[j + 1] = expected[j + 1] = before[j % 13];
      (void)snprintf(text + at + 1, sizeof text - at - 1, "%sz\"", odd[i].text);
      (void)snprintf(expected + at + 1, sizeof expected - at - 1, "%sz\"",
                     odd[i].written ? odd[i].written : "");
      if (odd[i].written) {
        assert_dump(text, expected);
      } else {
        assert_refused(text, "line 1");
      }
    }
  }
}

/* A string that looks like a number, or begins with an odd byte, is still a string. */
static void strings_stay_strings(void **state) {
  struct vow_json *json = NULL;
  char why[VOW_JSON_WHY_BYTES];
  uint64_t number = 1;

  (void)state;
  assert_dump("\"\x7fn5\"", "\"\x7fn5\"");
  assert_dump("\"\\u007fn5\"", "\"\x7fn5\"");
  assert_dump("\"\\u007Fn5\"", "\"\x7fn5\"");
  assert_dump("[\"\x7fs\",\"\x7f\",\"\x7f\x7f\",1.0]", "[\"\x7fs\",\"\x7f\",\"\x7f\x7f\",1.0]");
  assert_dump("{\"\x7fn5\":\"\x7fn5\" , \"\\u007fn6\" : 1.0}",
              "{\"\x7fn5\":\"\x7fn5\",\"\x7fn6\":1.0}");
  assert_dump("\"\\u0001\x7fn5\"", "\"\\u0001\x7fn5\"");

  static const char forged[] = "\"\x7fn5\"";
  assert_int_equal(vow_json_parse(&json, forged, strlen(forged), why), VOW_OK);
  assert_string_equal(vow_json_kind(vow_json_root(json)), "a string");
  assert_string_equal(vow_json_string_value(vow_json_root(json)), "\x7fn5");
  assert_false(vow_json_uint_value(vow_json_root(json), &number));
  vow_json_free(json);
}

/* Text that is not JSON is refused with line and column. */
static void broken_text(void **state) {
  (void)state;
  assert_refused("", "a JSON value is expected at line 1, column 1");
  assert_refused("   ", "line 1");
  assert_refused("{", "line 1, column");
  assert_refused("{\"a\":1,}", "line 1");
  assert_refused("[1,]", "line 1");
  assert_refused("{\"a\" 1}", "line 1");
  assert_refused("{a:1}", "line 1");
  assert_refused("{'a':1}", "line 1");
  assert_refused("{1:1}", "line 1");
  assert_refused("nul", "line 1");
  assert_refused("\"abc", "line 1");
  assert_refused("\"a\nb\"", "line 1");
  assert_refused("\"\\x\"", "line 1");
  assert_refused("\"\\u12g4\"", "line 1");
  assert_refused("\"\\", "line 1");
  assert_refused("/* c */ 1", "line 1");
  assert_refused("}", "line 1");
  assert_refused("]]]]", "line 1");
  assert_refused("\xef\xbb\xbf{}", "line 1");
  assert_refused("{\n \"a\": 1.5,\n  \"b\": x\n}", "line 3");
  assert_refused("[1.5,\n\"\xc3\xa9\xc3\xa9\", x]", "line 2, column 7");
  assert_refused("[1,\n\"\xc3\xa9\xc3\xa9\", x]", "line 2, column 7");
}

/* A text that is too long to be counted is refused before a byte of it is read. */
static void text_past_all_bounds(void **state) {
  (void)state;
  assert_refused_bytes("1", (size_t)INT_MAX + 1, "too long: 2147483648 bytes");
}

/* Something after the value is refused, also when it is a value. */
static void trailing_garbage(void **state) {
  (void)state;
  assert_refused("{} {}", "more text follows");
  assert_refused("1 x", "more text follows");
  assert_refused("[]]", "more text follows");
  assert_refused("1.5 1.5", "more text follows");
  assert_refused_bytes("{}\0", 3, "line 1");
}

/* A key twice in one object is refused; in different objects it is fine. */
static void duplicate_keys(void **state) {
  (void)state;
  assert_refused("{\"a\":1,\"a\":1}", "is there twice");
  assert_refused("{\"a\":1,\"\\u0061\":2}", "is there twice");
  assert_refused("[{\"x\":{\"a\":1.5,\"b\":2,\"a\":1}}]", "is there twice");
  assert_dump("{\"a\":{\"a\":{\"a\":1}}}", "{\"a\":{\"a\":{\"a\":1}}}");
  /* So many that they are sorted to be held against each other; they stay in their order. */
  const char *many =
      "{\"o\":1,\"n\":1,\"m\":1,\"l\":1,\"k\":1,\"j\":1,\"i\":1,\"h\":1,\"g\":1,"
      "\"f\":1,\"e\":1,\"d\":1,\"c\":1,\"b\":1,\"a\":1}";
  assert_dump(many, many);
  assert_refused(
      "{\"o\":1,\"n\":1,\"m\":1,\"l\":1,\"k\":1,\"j\":1,\"i\":1,\"h\":1,\"g\":1,\"f\":1,"
      "\"e\":1,\"d\":1,\"c\":1,\"b\":1,\"n\":1}",
      "is there twice");
}

/* NUL is refused, raw and escaped, in values and in keys. */
static void nul_is_refused(void **state) {
  (void)state;
  assert_refused("\"\\u0000\"", "U+0000");
  assert_refused("{\"a\\u0000b\":1}", "U+0000");
  assert_refused_bytes("\"a\0b\"", 5, "line 1");
  assert_refused_bytes("\0", 1, "line 1");
  assert_refused_bytes("[1.5,\0]", 7, "line 1");
}

/* Invalid UTF-8 and lone surrogates are refused, in values, in keys and outside of strings. */
static void invalid_utf8(void **state) {
  static const char *const bad[] = {"\"\xff\"",
                                    "\"\x80\"",
                                    "\"\xc3\"",
                                    "\"\xc0\xaf\"",
                                    "\"\xe0\x9f\xbf\"",
                                    "\"\xed\xa0\x80\"",
                                    "\"\xf4\x90\x80\x80\"",
                                    "\"\xf5\x80\x80\x80\"",
                                    "{\"\xff\":1}",
                                    "\xff",
                                    "[1.5,\"\xfe\"]",
                                    "\"\\ud800\"",
                                    "\"\\udc00\"",
                                    "\"\\ud800x\"",
                                    "\"\\ud800",
                                    "\"\\ud800\\",
                                    "\"\\ud800\\n\"",
                                    "\"\\ud800\\u\"",
                                    "\"\\ud800\\u0041\"",
                                    "\"\\ud800\\ue000\""};
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) assert_refused(bad[i], "line 1");
}

static void put_nested(struct vow_buf *out, unsigned levels, const char *open, const char *close) {
  vow_buf_reset(out);
  for (unsigned i = 0; i < levels; i++) vow_buf_puts(out, open);
  for (unsigned i = 0; i < levels; i++) vow_buf_puts(out, close);
}

/* 32 levels are parsed, 33 are refused, and a million are refused without recursing. */
static void depth_is_limited(void **state) {
  struct vow_buf text;

  (void)state;
  vow_buf_init(&text, 1 << 22);
  put_nested(&text, VOW_JSON_DEPTH_MAX, "[", "]");
  assert_dump(vow_buf_text(&text), vow_buf_text(&text));
  put_nested(&text, VOW_JSON_DEPTH_MAX + 1, "[", "]");
  assert_refused(vow_buf_text(&text), "nested deeper than 32 levels at line 1, column 33");
  put_nested(&text, 1000000, "[", "");
  assert_refused(vow_buf_text(&text), "nested deeper");
  put_nested(&text, 500000, "{\"a\":[", "");
  assert_refused(vow_buf_text(&text), "nested deeper");
  vow_buf_reset(&text);
  vow_buf_puts(&text, "[");
  for (int i = 0; i < 100; i++) vow_buf_puts(&text, "[\"[[[[\\\"[[[\",{}],");
  vow_buf_puts(&text, "0]");
  struct vow_buf out;
  dump_of(text.data, text.bytes,
          &out); /* brackets in strings, and many of them side by side, are no depth */
  assert_int_equal(out.bytes, text.bytes);
  vow_buf_fini(&out);
  vow_buf_fini(&text);
}

/* The depth of a value counts its levels; a scalar has none. */
static void depth_of_a_value(void **state) {
  static const struct {
    const char *text;
    unsigned depth;
  } cases[] = {{"1", 0},     {"[]", 1},           {"{}", 1},
               {"[1,2]", 1}, {"[[],[[]],[]]", 3}, {"{\"a\":{},\"b\":[{\"c\":1}],\"d\":0}", 3}};
  char why[VOW_JSON_WHY_BYTES];

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct vow_json *json = NULL;
    assert_int_equal(vow_json_parse(&json, cases[i].text, strlen(cases[i].text), why), VOW_OK);
    assert_int_equal(vow_json_depth(vow_json_root(json)), cases[i].depth);
    vow_json_free(json);
  }
}

/* A megabyte of one string, of small numbers, or of small objects comes through whole. */
static void huge_texts(void **state) {
  struct vow_buf text, out;

  (void)state;
  vow_buf_init(&text, 1 << 22);
  vow_buf_puts(&text, "\"");
  for (int i = 0; i < 1 << 16; i++) vow_buf_puts(&text, "0123456789abcdef");
  vow_buf_puts(&text, "\"");
  dump_of(text.data, text.bytes, &out);
  assert_string_equal(out.data, text.data);
  vow_buf_fini(&out);

  vow_buf_reset(&text);
  vow_buf_puts(&text, "[");
  for (int i = 0; i < 100000; i++) vow_buf_puts(&text, "1,0.5,{},");
  vow_buf_puts(&text, "1]");
  dump_of(text.data, text.bytes, &out);
  assert_string_equal(out.data, text.data);
  vow_buf_fini(&out);
  vow_buf_fini(&text);
}

/* A value never grows by being parsed and written back, so the limit of a body holds for both. */
static void a_value_does_not_grow(void **state) {
  static const char *const texts[] = {"\"\\b\\f\\n\\r\\t\\/\\\\\\\"\"", "\"\\u0001\\u001f\\u00e9\"",
                                      "[1.0,-0,\"\x7f\"]", "{\"\x7f\":\"\\u007f\"}"};
  (void)state;
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    struct vow_buf out;
    dump_of(texts[i], strlen(texts[i]), &out);
    assert_true(out.bytes <= strlen(texts[i]));
    vow_buf_fini(&out);
  }
}

/* A dump into a buffer that is too small fails there, and nowhere else. */
static void dump_respects_the_limit(void **state) {
  static const char text[] = "{\"a\":[1,2.5,\"x\",true,null]}";
  char why[VOW_JSON_WHY_BYTES];
  struct vow_json *json = NULL;

  (void)state;
  assert_int_equal(vow_json_parse(&json, text, strlen(text), why), VOW_OK);
  for (size_t limit = 0; limit <= sizeof text; limit++) {
    struct vow_buf out;
    vow_buf_init(&out, limit);
    vow_json_dump(vow_json_root(json), &out);
    assert_int_equal(out.error, limit < strlen(text) ? VOW_E_LIMIT_EXCEEDED : VOW_OK);
    vow_buf_fini(&out);
  }
  vow_json_free(json);
}

/* A document keeps the latest text that was asked of it. */
static void keeps_a_text(void **state) {
  static const char text[] = "[ {\"a\" : 1.50} , [ ] ]";
  char why[VOW_JSON_WHY_BYTES];
  struct vow_json *json = NULL;
  const char *kept = NULL;
  size_t bytes = 0;

  (void)state;
  assert_int_equal(vow_json_parse(&json, text, strlen(text), why), VOW_OK);
  const struct vow_json_node *root = vow_json_root(json);
  assert_int_equal(vow_json_keep_text(json, vow_json_array_at(root, 0), &kept, &bytes), VOW_OK);
  assert_string_equal(kept, "{\"a\":1.50}");
  assert_int_equal(bytes, 10);
  assert_int_equal(vow_json_keep_text(json, vow_json_array_at(root, 1), &kept, &bytes), VOW_OK);
  assert_string_equal(kept, "[]");
  assert_int_equal(bytes, 2);
  vow_json_free(json);
  vow_json_free(NULL);
}

/* Kinds are named for sentences, and wrong questions to a value get no answer. */
static void kinds(void **state) {
  static const char text[] =
      "[{},[],\"s\",true,false,null,1,1.5,-1,18446744073709551615,18446744073709551616]";
  static const char *const kinds[] = {"an object", "an array", "a string", "a boolean",
                                      "a boolean", "null",     "a number", "a number",
                                      "a number",  "a number", "a number"};
  char why[VOW_JSON_WHY_BYTES];
  struct vow_json *json = NULL;

  (void)state;
  assert_int_equal(vow_json_parse(&json, text, strlen(text), why), VOW_OK);
  const struct vow_json_node *root = vow_json_root(json);
  assert_int_equal(vow_json_array_length(root), 11);
  for (size_t i = 0; i < 11; i++) {
    const struct vow_json_node *node = vow_json_array_at(root, i);
    uint64_t number = 77;
    assert_string_equal(vow_json_kind(node), kinds[i]);
    assert_int_equal(vow_json_is_object(node), i == 0);
    assert_int_equal(vow_json_is_array(node), i == 1);
    assert_int_equal(vow_json_string_value(node) != NULL, i == 2);
    assert_int_equal(vow_json_uint_value(node, &number), i == 6 || i == 9);
    assert_int_equal(number, i == 6 ? 1 : i == 9 ? UINT64_MAX : 77);
    assert_int_equal(vow_json_array_length(node), 0);
    assert_null(vow_json_member(node, "a", 0));
  }
  assert_null(vow_json_array_at(root, 11));
  vow_json_free(json);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(any_value_at_the_top),
      cmocka_unit_test(order_is_kept),
      cmocka_unit_test(numbers_keep_their_text),
      cmocka_unit_test(bad_numbers),
      cmocka_unit_test(strings_keep_their_characters),
      cmocka_unit_test(odd_characters_at_each_place),
      cmocka_unit_test(strings_stay_strings),
      cmocka_unit_test(broken_text),
      cmocka_unit_test(trailing_garbage),
      cmocka_unit_test(text_past_all_bounds),
      cmocka_unit_test(duplicate_keys),
      cmocka_unit_test(nul_is_refused),
      cmocka_unit_test(invalid_utf8),
      cmocka_unit_test(depth_is_limited),
      cmocka_unit_test(depth_of_a_value),
      cmocka_unit_test(huge_texts),
      cmocka_unit_test(a_value_does_not_grow),
      cmocka_unit_test(dump_respects_the_limit),
      cmocka_unit_test(keeps_a_text),
      cmocka_unit_test(kinds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
