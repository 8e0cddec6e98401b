/*
 * Tests of the JSON writer (proto/jsonw.c). Where it matters, the parser's reading of the text is
 * the judge; proto_json_judge.c judges the parser.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "json.h"

struct fixture {
  struct vow_buf buf;
  struct vow_jsonw w;
};

static int set_up(void **state) {
  static struct fixture f;

  vow_buf_init(&f.buf, 1 << 16);
  vow_jsonw_init(&f.w, &f.buf);
  *state = &f;
  return 0;
}

static int tear_down(void **state) {
  struct fixture *f = *state;

  vow_buf_fini(&f->buf);
  return 0;
}

static void assert_text(struct fixture *f, const char *text) {
  assert_int_equal(f->buf.error, VOW_OK);
  assert_string_equal(vow_buf_text(&f->buf), text);
}

/* Objects and arrays nest, and commas stand between items only. */
static void commas_and_nesting(void **state) {
  struct fixture *f = *state;

  vow_jsonw_object(&f->w, NULL);
  vow_jsonw_array(&f->w, "a");
  vow_jsonw_end(&f->w);
  vow_jsonw_array(&f->w, "b");
  vow_jsonw_uint(&f->w, NULL, 1);
  vow_jsonw_object(&f->w, NULL);
  vow_jsonw_end(&f->w);
  vow_jsonw_array(&f->w, NULL);
  vow_jsonw_uint(&f->w, NULL, 2);
  vow_jsonw_end(&f->w);
  vow_jsonw_end(&f->w);
  vow_jsonw_object(&f->w, "c");
  vow_jsonw_bool(&f->w, "t", true);
  vow_jsonw_bool(&f->w, "f", false);
  vow_jsonw_end(&f->w);
  vow_jsonw_string(&f->w, "d", "");
  vow_jsonw_end(&f->w);
  assert_text(f, "{\"a\":[],\"b\":[1,{},[2]],\"c\":{\"t\":true,\"f\":false},\"d\":\"\"}");
}

/* A scalar may stand alone. */
static void scalar_at_the_top(void **state) {
  struct fixture *f = *state;

  vow_jsonw_string(&f->w, NULL, "x");
  assert_text(f, "\"x\"");
}

/* NULL for a string or for raw text writes nothing, not even the comma. */
static void null_is_left_out(void **state) {
  struct fixture *f = *state;

  vow_jsonw_object(&f->w, NULL);
  vow_jsonw_string(&f->w, "a", NULL);
  vow_jsonw_uint(&f->w, "b", 0);
  vow_jsonw_string_n(&f->w, "c", NULL, 5);
  vow_jsonw_raw(&f->w, "d", NULL, 0);
  vow_jsonw_raw(&f->w, "e", "[1.50]", 6);
  vow_jsonw_end(&f->w);
  assert_text(f, "{\"b\":0,\"e\":[1.50]}");
}

/* Numbers are written to their last digit at both ends of their range. */
static void numbers_at_their_ends(void **state) {
  struct fixture *f = *state;

  vow_jsonw_array(&f->w, NULL);
  vow_jsonw_uint(&f->w, NULL, UINT64_MAX);
  vow_jsonw_uint(&f->w, NULL, 0);
  vow_jsonw_end(&f->w);
  assert_text(f, "[18446744073709551615,0]");
}

/* A row is an array of numbers, perhaps with a text behind them, which is a string like any other.
 */
static void rows(void **state) {
  static const uint64_t numbers[] = {0, 10, UINT64_MAX, 7};
  struct fixture *f = *state;

  vow_jsonw_array(&f->w, NULL);
  vow_jsonw_row(&f->w, NULL, numbers, 4, NULL);
  vow_jsonw_row(&f->w, NULL, numbers, 1, "");
  vow_jsonw_object(&f->w, NULL);
  vow_jsonw_row(&f->w, "a", numbers, 2, "x");
  vow_jsonw_row(&f->w, "b", numbers, 1, "a longer text, \"quoted\"");
  vow_jsonw_uint(&f->w, "c", 1);
  vow_jsonw_end(&f->w);
  vow_jsonw_row(&f->w, NULL, numbers, 1, "\xff");
  vow_jsonw_end(&f->w);
  assert_text(f,
              "[[0,10,18446744073709551615,7],[0,\"\"],{\"a\":[0,10,\"x\"],"
              "\"b\":[0,\"a longer text, \\\"quoted\\\"\"],\"c\":1},[0,\"\xef\xbf\xbd\"]]");
}

/* Members of an object that is JSON already stand before, between and behind others. */
static void members(void **state) {
  static const char object[] = "{\"a\":1,\"b\":[]}";
  struct fixture *f = *state;

  vow_jsonw_array(&f->w, NULL);
  for (int before = 0; before < 2; before++) {
    vow_jsonw_object(&f->w, NULL);
    if (before) vow_jsonw_bool(&f->w, "x", true);
    vow_jsonw_members(&f->w, object, strlen(object));
    if (before) vow_jsonw_bool(&f->w, "y", true);
    vow_jsonw_end(&f->w);
  }
  vow_jsonw_end(&f->w);
  assert_text(f, "[{\"a\":1,\"b\":[]},{\"x\":true,\"a\":1,\"b\":[],\"y\":true}]");
}

/* Quotes, backslashes and control characters are escaped, in values and in keys of others. */
static void escapes(void **state) {
  struct fixture *f = *state;

  f->w.keys_of_others = true;
  vow_jsonw_object(&f->w, NULL);
  vow_jsonw_string(&f->w, "k\"\n", "\"\\/\b\f\n\r\t\x01\x1f\x7f");
  vow_jsonw_string_n(&f->w, "n", "a\0b", 3);
  vow_jsonw_end(&f->w);
  assert_text(f,
              "{\"k\\\"\\n\":\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\",\"n\":\"a\\u0000b\"}");
}

/* Valid UTF-8 of each length passes unchanged; each byte that is not part of any becomes U+FFFD. */
static void utf8(void **state) {
#define R "\xef\xbf\xbd"
  static const struct {
    const char *in, *out;
  } cases[] = {
      {"\x7f\xc2\x80\xdf\xbf", "\x7f\xc2\x80\xdf\xbf"},
      {"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf",
       "\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"},
      {"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"},
      {"\x80", R},
      {"\xff", R},
      {"a\xc3", "a" R},  /* cut off */
      {"\xc3(", R "("},  /* no continuation */
      {"\xc0\xaf", R R}, /* longer than needed */
      {"\xc1\xbf", R R},
      {"\xe0\x9f\xbf", R R R},
      {"\xf0\x8f\xbf\xbf", R R R R},
      {"\xed\xa0\x80", R R R},       /* a surrogate */
      {"\xf4\x90\x80\x80", R R R R}, /* past the last */
      {"\xf5\x80\x80\x80", R R R R},
      {"\xe2\x82", R R},
      {"\xe2\x82\"", R R "\\\""},
      {"\xf0\x9f\x98", R R R},
      {"\xf0\x9f\x98x", R R R "x"},
      {"\xe2(\xa1", R "(" R},
  };
#undef R
  struct fixture *f = *state;
  char expected[64];

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    vow_buf_reset(&f->buf);
    vow_jsonw_init(&f->w, &f->buf);
    vow_jsonw_string(&f->w, NULL, cases[i].in);
    (void)snprintf(expected, sizeof expected, "\"%s\"", cases[i].out);
    assert_text(f, expected);
  }
}

/* Each byte that needs an escape, and each that does not, is seen wherever it stands in a string of
 * any length. */
static void each_byte_in_each_place(void **state) {
  struct fixture *f = *state;

  for (unsigned byte = 1; byte < 0x80; byte++) {
    char one[8], text[20], expected[40];
    bool odd = byte < 0x20 || byte == '"' || byte == '\\';
    (void)snprintf(one, sizeof one, "\\u%04x", byte);
    const char *found = strchr("\"\"\\\\\bb\ff\nn\rr\tt", (int)byte);
    if (odd && found) (void)snprintf(one, sizeof one, "\\%c", found[1]);
    if (!odd) (void)snprintf(one, sizeof one, "%c", (int)byte);
    for (int bytes = 1; bytes < (int)sizeof text; bytes++) {
      for (int at = 0; at < bytes; at++) {
        memset(text, '!', sizeof text); /* next to the quote */
        text[at] = (char)byte;
        (void)snprintf(expected, sizeof expected, "\"%.*s%s%.*s\"", at, "!!!!!!!!!!!!!!!!!!!!", one,
                       bytes - at - 1, "!!!!!!!!!!!!!!!!!!!!");
        vow_buf_reset(&f->buf);
        vow_jsonw_init(&f->w, &f->buf);
        vow_jsonw_string_n(&f->w, NULL, text, (size_t)bytes);
        assert_text(f, expected);
      }
    }
  }
}

/* A key may have any length. */
static void keys_of_each_length(void **state) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
  struct fixture *f = *state;

  for (int bytes = 0; bytes < (int)sizeof letters; bytes++) {
    char key[sizeof letters] = "", expected[2 * sizeof letters + 16];
    memcpy(key, letters, (size_t)bytes);
    (void)snprintf(expected, sizeof expected, "{\"%s\":1,\"%s\":2}", key, key);
    vow_buf_reset(&f->buf);
    vow_jsonw_init(&f->w, &f->buf);
    vow_jsonw_object(&f->w, NULL);
    vow_jsonw_uint(&f->w, key, 1);
    vow_jsonw_uint(&f->w, key, 2);
    vow_jsonw_end(&f->w);
    assert_text(f, expected);
  }
}

/* Whatever bytes a string has, what is written is JSON that a strict parser takes. */
static void any_bytes_make_valid_json(void **state) {
  struct fixture *f = *state;
  uint32_t random = 1;
  char why[VOW_JSON_WHY_BYTES], bytes[40];

  for (int round = 0; round < 2000; round++) {
    size_t count = (size_t)round % sizeof bytes;
    for (size_t i = 0; i < count; i++) {
      random = random * 1664525 + 1013904223;
      bytes[i] = (char)(random >> 24);
      if (bytes[i] == '\0') bytes[i] = ' '; /* U+0000 is valid JSON, but refused by our parser */
    }
    vow_buf_reset(&f->buf);
    vow_jsonw_init(&f->w, &f->buf);
    vow_jsonw_string_n(&f->w, NULL, bytes, count);
    struct vow_json *json = NULL;
    assert_int_equal(vow_json_parse(&json, f->buf.data, f->buf.bytes, why), VOW_OK);
    vow_json_free(json);
  }
}

/* Times are RFC 3339 in UTC with milliseconds, right across leap days and centuries. */
static void times(void **state) {
  static const struct {
    uint64_t ms;
    const char *text;
  } cases[] = {
      {0, "\"1970-01-01T00:00:00.000Z\""},
      {999, "\"1970-01-01T00:00:00.999Z\""},
      {UINT64_C(951782399999), "\"2000-02-28T23:59:59.999Z\""},
      {UINT64_C(951782400000), "\"2000-02-29T00:00:00.000Z\""},
      {UINT64_C(951868800000), "\"2000-03-01T00:00:00.000Z\""},
      {UINT64_C(1704067199001), "\"2023-12-31T23:59:59.001Z\""},
      {UINT64_C(1709164800000), "\"2024-02-29T00:00:00.000Z\""},
      {UINT64_C(4107542400000), "\"2100-03-01T00:00:00.000Z\""},
      {UINT64_C(253402300799999), "\"9999-12-31T23:59:59.999Z\""},
      {UINT64_C(253402300800000), "\"9999-12-31T23:59:59.999Z\""},
      {UINT64_MAX, "\"9999-12-31T23:59:59.999Z\""},
  };
  struct fixture *f = *state;

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    vow_buf_reset(&f->buf);
    vow_jsonw_init(&f->w, &f->buf);
    vow_jsonw_time(&f->w, NULL, cases[i].ms);
    assert_text(f, cases[i].text);
  }
}

/* A writer writes each of its times with its own date. */
static void times_of_one_writer(void **state) {
  struct fixture *f = *state;

  vow_jsonw_array(&f->w, NULL);
  vow_jsonw_time(&f->w, NULL, 86399999);
  vow_jsonw_time(&f->w, NULL, 86400000);
  vow_jsonw_time(&f->w, NULL, 86400001);
  vow_jsonw_time(&f->w, NULL, 0);
  vow_jsonw_end(&f->w);
  assert_text(f,
              "[\"1970-01-01T23:59:59.999Z\",\"1970-01-02T00:00:00.000Z\","
              "\"1970-01-02T00:00:00.001Z\",\"1970-01-01T00:00:00.000Z\"]");
}

/* Each day from 1970 to 2500 is written and read back as itself. */
static void each_day_round_trips(void **state) {
  struct fixture *f = *state;
  char why[VOW_JSON_WHY_BYTES];

  for (uint64_t day = 0; day < 365 * 530; day += day % 400 < 395 ? 1 : 23) {
    uint64_t ms = day * 86400000 + day * 7919 % 86400000, back = 0;
    struct vow_json *json = NULL;
    struct vow_json_object o;
    vow_buf_reset(&f->buf);
    vow_jsonw_init(&f->w, &f->buf);
    vow_jsonw_object(&f->w, NULL);
    vow_jsonw_time(&f->w, "t", ms);
    vow_jsonw_end(&f->w);
    assert_int_equal(vow_json_parse(&json, f->buf.data, f->buf.bytes, why), VOW_OK);
    vow_json_object_begin(&o, vow_json_root(json), NULL);
    assert_true(vow_json_get_time(&o, "t", VOW_JSON_REQUIRED, &back));
    assert_int_equal(back, ms);
    vow_json_free(json);
  }
}

/* Levels up to the limit are fine, with different brackets at each; one more fails the buffer. */
static void depth_is_limited(void **state) {
  struct fixture *f = *state;
  char why[VOW_JSON_WHY_BYTES];
  struct vow_json *json = NULL;

  for (int i = 0; i < VOW_JSON_DEPTH_MAX / 2; i++) {
    vow_jsonw_array(&f->w, i == 0 ? NULL : "k");
    vow_jsonw_object(&f->w, NULL);
  }
  for (int i = 0; i < VOW_JSON_DEPTH_MAX; i++) vow_jsonw_end(&f->w);
  assert_int_equal(f->buf.error, VOW_OK);
  assert_int_equal(vow_json_parse(&json, f->buf.data, f->buf.bytes, why), VOW_OK);
  vow_json_free(json);

  for (int row = 0; row < 2; row++) {
    vow_buf_reset(&f->buf);
    vow_jsonw_init(&f->w, &f->buf);
    for (int i = 0; i < VOW_JSON_DEPTH_MAX; i++) vow_jsonw_array(&f->w, NULL);
    assert_int_equal(f->buf.error, VOW_OK);
    if (row) {
      vow_jsonw_row(&f->w, NULL, &(uint64_t){1}, 1, NULL);
    } else {
      vow_jsonw_array(&f->w, NULL);
    }
    assert_int_equal(f->buf.error, VOW_E_LIMIT_EXCEEDED);
    vow_jsonw_row(&f->w, NULL, &(uint64_t){1}, 1, NULL);
    vow_jsonw_array(&f->w, NULL);
    for (int i = 0; i < 2 * VOW_JSON_DEPTH_MAX; i++) vow_jsonw_end(&f->w); /* harmless */
  }
}

/* When the buffer is full everything after is ignored, and the ends of its levels do no harm. */
static void full_buffer(void **state) {
  struct vow_buf small;
  struct vow_jsonw w;

  (void)state;
  vow_buf_init(&small, 8);
  vow_jsonw_init(&w, &small);
  vow_jsonw_object(&w, NULL);
  vow_jsonw_string(&w, "key", "value");
  vow_jsonw_uint(&w, "a", 1);
  vow_jsonw_bool(&w, "a", true);
  vow_jsonw_time(&w, "a", 1);
  vow_jsonw_array(&w, "b");
  vow_jsonw_end(&w);
  vow_jsonw_end(&w);
  assert_int_equal(small.error, VOW_E_LIMIT_EXCEEDED);
  vow_buf_fini(&small);
}

/* One item of each kind behind another. */
static void write_item(struct vow_jsonw *w, int kind) {
  static const uint64_t number = 12;

  if (kind == 0) vow_jsonw_string(w, "k", "plain");
  if (kind == 1) vow_jsonw_string(w, "k", "\n");
  if (kind == 2) vow_jsonw_uint(w, "k", number);
  if (kind == 3) vow_jsonw_bool(w, "k", true);
  if (kind == 4) vow_jsonw_id(w, "k", vow_id_floor(1, 1));
  if (kind == 5) vow_jsonw_time(w, "k", 1);
  if (kind == 6) vow_jsonw_array(w, "k");
  if (kind == 7) vow_jsonw_row(w, "k", &number, 1, NULL);
  if (kind == 8) vow_jsonw_row(w, "k", &number, 1, "plain");
  if (kind == 9) vow_jsonw_row(w, "k", &number, 1, "\n");
  if (kind == 10) vow_jsonw_members(w, "{\"k\":1}", 7);
}

/* An item needs room for its own bytes and no more; where one is missing, the buffer fails. */
static void the_limit_is_exact(void **state) {
  (void)state;
  for (int kind = 0; kind < 11; kind++) {
    for (int others = 0; others < 2; others++) {
      size_t limit = 0;
      for (bool fits = false; !fits; limit++) {
        struct vow_buf buf;
        struct vow_jsonw w;
        vow_buf_init(&buf, limit);
        vow_jsonw_init(&w, &buf);
        w.keys_of_others = others;
        vow_jsonw_object(&w, NULL);
        vow_jsonw_uint(&w, "a", 1);
        write_item(&w, kind);
        fits = buf.error == VOW_OK;
        assert_int_equal(fits ? VOW_OK : VOW_E_LIMIT_EXCEEDED, buf.error);
        assert_true(buf.bytes <= limit && (!fits || buf.bytes == limit));
        vow_buf_fini(&buf);
      }
    }
  }
}

/* Ids are written in lower case. */
static void ids(void **state) {
  struct fixture *f = *state;

  vow_jsonw_id(&f->w, NULL,
               vow_id_make(UINT64_C(0x017F22E279B0), 0xCC3, UINT64_C(0x18C4DC0C0C07398F)));
  assert_text(f, "\"017f22e2-79b0-7cc3-98c4-dc0c0c07398f\"");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(commas_and_nesting),
      TEST(scalar_at_the_top),
      TEST(null_is_left_out),
      TEST(numbers_at_their_ends),
      TEST(rows),
      TEST(members),
      TEST(escapes),
      TEST(utf8),
      TEST(each_byte_in_each_place),
      TEST(keys_of_each_length),
      TEST(any_bytes_make_valid_json),
      TEST(times),
      TEST(times_of_one_writer),
      TEST(each_day_round_trips),
      TEST(depth_is_limited),
      TEST(full_buffer),
      TEST(the_limit_is_exact),
      TEST(ids),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
