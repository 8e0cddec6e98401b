/*
 * Tests of the typed reader of objects (proto/json_object.c): each wrong type, each limit, and the
 * sentences people get to read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "json.h"

struct reading {
  struct vow_json *json;
  struct vow_json_object o;
};

static void begin(struct reading *r, const char *text, const char *path) {
  char why[VOW_JSON_WHY_BYTES] = "";

  if (vow_json_parse(&r->json, text, strlen(text), why) != VOW_OK) fail_msg("%s: %s", text, why);
  vow_json_object_begin(&r->o, vow_json_root(r->json), path);
}

static void end(struct reading *r) {
  vow_json_free(r->json);
}

static void assert_ends(struct reading *r, enum vow_error error, const char *why) {
  assert_int_equal(vow_json_object_end(&r->o), error);
  if (error != VOW_OK) assert_string_equal(r->o.why, why);
  end(r);
}

/* One getter of each type: true if it read `key`. */
static bool get_string(struct vow_json_object *o, const char *key, bool required) {
  const char *out = NULL;
  return vow_json_get_string(o, key, required, 100, &out);
}
static bool get_uint(struct vow_json_object *o, const char *key, bool required) {
  uint64_t out = 0;
  return vow_json_get_uint(o, key, required, 0, UINT64_MAX, &out);
}
static bool get_bool(struct vow_json_object *o, const char *key, bool required) {
  bool out = false;
  return vow_json_get_bool(o, key, required, &out);
}
static bool get_id(struct vow_json_object *o, const char *key, bool required) {
  struct vow_id out;
  return vow_json_get_id(o, key, required, &out);
}
static bool get_time(struct vow_json_object *o, const char *key, bool required) {
  uint64_t out = 0;
  return vow_json_get_time(o, key, required, &out);
}
static bool get_object(struct vow_json_object *o, const char *key, bool required) {
  const struct vow_json_node *out = NULL;
  return vow_json_get_object(o, key, required, &out);
}
static bool get_array(struct vow_json_object *o, const char *key, bool required) {
  const struct vow_json_node *out = NULL;
  return vow_json_get_array(o, key, required, 10, &out);
}
static bool get_any(struct vow_json_object *o, const char *key, bool required) {
  const struct vow_json_node *out = NULL;
  return vow_json_get_any(o, key, required, &out);
}

struct getter {
  bool (*get)(struct vow_json_object *o, const char *key, bool required);
  const char *what; /* in the sentence */
  unsigned takes;   /* bit i: VALUES[i] */
};

static const char *const VALUES[] = {"{}", "[]", "\"s\"", "true", "null", "1", "1.5"};
static const char *const KINDS[] = {"an object", "an array", "a string", "a boolean",
                                    "null",      "a number", "a number"};
#define VALUE_COUNT 7

static const struct getter GETTERS[] = {
    {get_string, "a string", 1 << 2},
    {get_uint, "a whole number", 1 << 5},
    {get_bool, "true or false", 1 << 3},
    {get_id, "a UUID (36 characters, 8-4-4-4-12)", 0},
    {get_time, "a UTC time such as \"2026-01-31T23:59:59.999Z\"", 0},
    {get_object, "an object", 1 << 0},
    {get_array, "an array", 1 << 1},
    {get_any, "anything", 0x7f},
};
#define GETTER_COUNT (sizeof GETTERS / sizeof GETTERS[0])

/* Each getter takes values of its type and refuses each other type by name, with the place. */
static void each_wrong_type(void **state) {
  (void)state;
  for (size_t g = 0; g < GETTER_COUNT; g++) {
    for (size_t v = 0; v < VALUE_COUNT; v++) {
      struct reading r;
      char text[40], why[200];
      bool takes = GETTERS[g].takes & 1u << v;
      (void)snprintf(text, sizeof text, "{\"k\":%s}", VALUES[v]);
      begin(&r, text, "branches[2]");
      assert_int_equal(GETTERS[g].get(&r.o, "k", VOW_JSON_REQUIRED), takes);
      bool of_type =
          (g == 1 && v >= 5) || ((g == 3 || g == 4) && v == 2); /* right type, wrong value */
      if (g == 1 && v == 6) {
        (void)snprintf(why, sizeof why,
                       "branches[2].k must be a whole number from 0 to 18446744073709551615");
      } else if (of_type) {
        (void)snprintf(why, sizeof why, "branches[2].k must be %s", GETTERS[g].what);
      } else {
        (void)snprintf(why, sizeof why, "branches[2].k must be %s, not %s", GETTERS[g].what,
                       KINDS[v]);
      }
      assert_ends(&r, takes ? VOW_OK : VOW_E_INVALID_REQUEST, why);
    }
  }
}

/* A member that is missing is an error only where it is required. */
static void missing_members(void **state) {
  (void)state;
  for (size_t g = 0; g < GETTER_COUNT; g++) {
    struct reading r;
    begin(&r, "{}", NULL);
    assert_false(GETTERS[g].get(&r.o, "k", VOW_JSON_OPTIONAL));
    assert_ends(&r, VOW_OK, NULL);
    begin(&r, "{}", NULL);
    assert_false(GETTERS[g].get(&r.o, "k", VOW_JSON_REQUIRED));
    assert_ends(&r, VOW_E_INVALID_REQUEST, "k is missing");
  }
}

/* Outputs are left alone when there is nothing to read or it is wrong. */
static void outputs_are_left_alone(void **state) {
  struct vow_id id = vow_id_make(1, 2, 3);
  const char *string = "before";
  uint64_t number = 5, time = 6;
  bool flag = true;
  struct reading r;

  (void)state;
  begin(&r, "{\"s\":1}", NULL);
  vow_json_get_string(&r.o, "none", VOW_JSON_OPTIONAL, 5, &string);
  vow_json_get_uint(&r.o, "none2", VOW_JSON_OPTIONAL, 0, 9, &number);
  vow_json_get_string(&r.o, "s", VOW_JSON_REQUIRED, 5, &string);
  vow_json_get_bool(&r.o, "s", VOW_JSON_REQUIRED, &flag);
  vow_json_get_id(&r.o, "s", VOW_JSON_REQUIRED, &id);
  vow_json_get_time(&r.o, "s", VOW_JSON_REQUIRED, &time);
  assert_string_equal(string, "before");
  assert_int_equal(number, 5);
  assert_int_equal(time, 6);
  assert_true(flag);
  assert_int_equal(vow_id_compare(id, vow_id_make(1, 2, 3)), 0);
  assert_ends(&r, VOW_E_INVALID_REQUEST, "s must be a string, not a number");
}

/* Strings count bytes, not characters; the limit itself fits. */
static void string_limits(void **state) {
  const char *out = NULL;
  struct reading r;

  (void)state;
  begin(&r, "{\"s\":\"\xc3\xa9\xc3\xa9\"}", NULL);
  assert_true(vow_json_get_string(&r.o, "s", VOW_JSON_REQUIRED, 4, &out));
  assert_string_equal(out, "\xc3\xa9\xc3\xa9");
  assert_ends(&r, VOW_OK, NULL);
  begin(&r, "{\"s\":\"\xc3\xa9\xc3\xa9\"}", NULL);
  assert_false(vow_json_get_string(&r.o, "s", VOW_JSON_REQUIRED, 3, &out));
  assert_ends(&r, VOW_E_INVALID_REQUEST, "s must have at most 3 bytes, it has 4");
}

/* Whole numbers are taken from min to max, and nothing around them. */
static void number_limits(void **state) {
  static const struct {
    const char *text;
    bool taken;
  } cases[] = {{"1", true},
               {"86400000", true},
               {"0", false},
               {"86400001", false},
               {"-1", false},
               {"1.0", false},
               {"1e3", false},
               {"-0", false},
               {"18446744073709551616", false},
               {"99999999999999999999999", false}};
  uint64_t out;

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct reading r;
    char text[60];
    (void)snprintf(text, sizeof text, "{\"n\":%s}", cases[i].text);
    begin(&r, text, NULL);
    assert_int_equal(vow_json_get_uint(&r.o, "n", VOW_JSON_REQUIRED, 1, 86400000, &out),
                     cases[i].taken);
    assert_ends(&r, cases[i].taken ? VOW_OK : VOW_E_INVALID_REQUEST,
                "n must be a whole number from 1 to 86400000");
  }
}

/* The whole range of 64 bits can be read. */
static void numbers_of_64_bits(void **state) {
  static const uint64_t numbers[] = {0,         999999999999999999, 1000000000000000000,
                                     INT64_MAX, UINT64_C(1) << 63,  UINT64_MAX};

  (void)state;
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    struct reading r;
    char text[60];
    uint64_t out = 1;
    (void)snprintf(text, sizeof text, "{\"n\":%llu}", (unsigned long long)numbers[i]);
    begin(&r, text, NULL);
    assert_true(vow_json_get_uint(&r.o, "n", VOW_JSON_REQUIRED, 0, UINT64_MAX, &out));
    assert_int_equal(out, numbers[i]);
    assert_ends(&r, VOW_OK, NULL);
  }
}

/* Arrays are limited by items: more is a limit exceeded, and the sentence has both numbers. */
static void array_limits(void **state) {
  const struct vow_json_node *out = NULL;
  struct reading r;

  (void)state;
  begin(&r, "{\"a\":[1,2,3]}", NULL);
  assert_true(vow_json_get_array(&r.o, "a", VOW_JSON_REQUIRED, 3, &out));
  assert_int_equal(vow_json_array_length(out), 3);
  assert_ends(&r, VOW_OK, NULL);
  begin(&r, "{\"a\":[1,2,3]}", NULL);
  assert_false(vow_json_get_array(&r.o, "a", VOW_JSON_REQUIRED, 2, &out));
  assert_ends(&r, VOW_E_LIMIT_EXCEEDED, "a must have at most 2 items, it has 3");
}

/* A value that travels on inside other documents leaves room for their levels. */
static void value_depth_limit(void **state) {
  char text[100];

  (void)state;
  for (int levels = VOW_JSON_VALUE_DEPTH_MAX; levels <= VOW_JSON_VALUE_DEPTH_MAX + 1; levels++) {
    const struct vow_json_node *out = NULL;
    struct reading r;
    bool fits = levels == VOW_JSON_VALUE_DEPTH_MAX;
    (void)snprintf(text, sizeof text, "{\"v\":{\"x\":%.*s%.*s}}", levels - 1,
                   "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", levels - 1,
                   "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
    begin(&r, text, NULL);
    assert_int_equal(vow_json_get_any(&r.o, "v", VOW_JSON_REQUIRED, &out), fits);
    assert_ends(&r, fits ? VOW_OK : VOW_E_INVALID_REQUEST,
                "v must not be nested deeper than 24 levels");
    begin(&r, text, NULL);
    assert_int_equal(vow_json_get_object(&r.o, "v", VOW_JSON_REQUIRED, &out), fits);
    assert_ends(&r, fits ? VOW_OK : VOW_E_INVALID_REQUEST,
                "v must not be nested deeper than 24 levels");
  }
}

/* Times: RFC 3339 in UTC, with or without a fraction, of days that exist. */
static void times(void **state) {
  static const struct {
    const char *text;
    int64_t ms; /* -1: refused */
  } cases[] = {{"1970-01-01T00:00:00Z", 0},
               {"1970-01-01T00:00:00.5Z", 500},
               {"1970-01-01T00:00:00.07Z", 70},
               {"2000-02-29T00:00:00.000Z", 951782400000},
               {"2026-01-31T23:59:59.999Z", 1769903999999},
               {"2026-01-31T23:59:59.999999999Z", 1769903999999},
               {"9999-12-31T23:59:59.999Z", 253402300799999},
               {"1969-12-31T23:59:59Z", -1},
               {"2026-02-29T00:00:00Z", -1},
               {"2100-02-29T00:00:00Z", -1},
               {"2026-00-01T00:00:00Z", -1},
               {"2026-13-01T00:00:00Z", -1},
               {"2026-01-00T00:00:00Z", -1},
               {"2026-04-31T00:00:00Z", -1},
               {"2026-01-01T24:00:00Z", -1},
               {"2026-01-01T00:60:00Z", -1},
               {"2026-01-01T00:00:60Z", -1},
               {"2026-01-01T00:00:00.Z", -1},
               {"2026-01-01T00:00:00", -1},
               {"2026-01-01T00:00:00+00:00", -1},
               {"2026-01-01 00:00:00Z", -1},
               {"2026-01-01T00:00Z", -1},
               {"2026-01-01", -1},
               {"2026-01-01T00:00:00Zx", -1},
               {"x026-01-01T00:00:00Z", -1},
               {"", -1}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct reading r;
    char text[80];
    uint64_t out = 7;
    (void)snprintf(text, sizeof text, "{\"t\":\"%s\"}", cases[i].text);
    begin(&r, text, NULL);
    bool taken = vow_json_get_time(&r.o, "t", VOW_JSON_REQUIRED, &out);
    if (taken != (cases[i].ms >= 0)) fail_msg("%s", cases[i].text);
    assert_int_equal(out, taken ? cases[i].ms : 7);
    assert_ends(&r, taken ? VOW_OK : VOW_E_INVALID_REQUEST,
                "t must be a UTC time such as \"2026-01-31T23:59:59.999Z\"");
  }
}

/* A time with any one of its characters changed to one beside the digits, or cut off there, is
 * refused. */
static void broken_times(void **state) {
  static const char good[] = "{\"t\":\"2026-01-31T23:59:59.999Z\"}";

  (void)state;
  for (size_t i = 6; i < 30; i++) {
    for (const char *c = "/:\""; *c; c++) {
      struct reading r;
      char text[60];
      uint64_t out = 7;
      (void)snprintf(text, sizeof text, "%s", good);
      if (text[i] == *c) continue;
      (void)snprintf(text + i, sizeof text - i, "%c%s", *c, *c == '"' ? "}" : good + i + 1);
      begin(&r, text, NULL);
      assert_false(vow_json_get_time(&r.o, "t", VOW_JSON_REQUIRED, &out));
      assert_int_equal(out, 7);
      end(&r);
    }
  }
}

/* Ids are read in either case. */
static void ids(void **state) {
  struct vow_id out = {{0}};
  struct reading r;

  (void)state;
  begin(&r, "{\"id\":\"017F22E2-79b0-7cc3-98c4-dc0c0c07398f\"}", NULL);
  assert_true(vow_json_get_id(&r.o, "id", VOW_JSON_REQUIRED, &out));
  assert_int_equal(vow_id_unix_ms(out), UINT64_C(0x017F22E279B0));
  assert_ends(&r, VOW_OK, NULL);
}

/* A member nobody asked for is refused by name, with those that are known, unless unknown ones are
 * fine. */
static void unknown_members(void **state) {
  struct reading r;

  (void)state;
  begin(&r, "{\"a\":true,\"b\":1}", NULL);
  get_bool(&r.o, "a", VOW_JSON_REQUIRED);
  get_bool(&r.o, "z", VOW_JSON_OPTIONAL);
  assert_ends(&r, VOW_E_INVALID_REQUEST,
              "the body has a member \"b\" that is not known here (known: a, z)");
  begin(&r, "{\"b\":1}", "branches[0]");
  assert_ends(&r, VOW_E_INVALID_REQUEST,
              "branches[0] has a member \"b\" that is not known here (known: none)");
  begin(&r, "{\"line\\nbreak\\u007f\":1}", NULL);
  assert_ends(&r, VOW_E_INVALID_REQUEST,
              "the body has a member \"line?break?\" that is not known here (known: none)");
  begin(&r, "{\"a\":true,\"b\":1}", NULL);
  vow_json_object_ignore_unknown(&r.o);
  get_bool(&r.o, "a", VOW_JSON_REQUIRED);
  assert_ends(&r, VOW_OK, NULL);
}

/* Members are found in any order, however many there are, and then what is unknown among them. */
static void many_members(void **state) {
  static const unsigned order[] = {0, 2, 79, 1, 78, 64, 63, 4};
  char keys[sizeof order / sizeof order[0]][8];
  struct reading r;
  struct vow_buf text;

  (void)state;
  vow_buf_init(&text, 4096);
  for (int i = 0; i < 80; i++) vow_buf_printf(&text, "%s\"m%d\":%d", i > 0 ? "," : "{", i, i);
  vow_buf_puts(&text, "}");
  begin(&r, vow_buf_text(&text), NULL);
  for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
    uint64_t value = 99;
    (void)snprintf(keys[i], sizeof keys[i], "m%u", order[i]);
    assert_true(vow_json_get_uint(&r.o, keys[i], VOW_JSON_REQUIRED, 0, 80, &value));
    assert_int_equal(value, order[i]);
  }
  assert_false(get_uint(&r.o, "m", VOW_JSON_OPTIONAL));
  assert_int_equal(vow_json_object_end(&r.o), VOW_E_INVALID_REQUEST);
  assert_non_null(strstr(r.o.why, "has a member \"m3\""));
  end(&r);
  vow_buf_fini(&text);
}

/* A long unknown key, long known keys, and a long path are cut, not overrun. */
static void long_words(void **state) {
  static const char *const keys[] = {
      "k1_______________________________________", "k2_______________________________________",
      "k3_______________________________________", "k4_______________________________________"};
  char text[400], path[300];
  struct reading r;

  (void)state;
  memset(path, 'p', sizeof path);
  path[sizeof path - 1] = '\0';
  (void)snprintf(text, sizeof text, "{\"%s\":1}", path);
  begin(&r, text, path);
  for (size_t i = 0; i < 4; i++) get_bool(&r.o, keys[i], VOW_JSON_OPTIONAL);
  assert_int_equal(vow_json_object_end(&r.o), VOW_E_INVALID_REQUEST);
  assert_true(strlen(r.o.why) < VOW_JSON_WHY_BYTES);
  assert_non_null(strstr(r.o.why, "ppp has a member \"ppp"));
  end(&r);
}

/* Only the first problem is told, whatever comes after it. */
static void the_first_problem_stays(void **state) {
  struct reading r;

  (void)state;
  begin(&r, "{\"a\":1,\"b\":2,\"c\":3}", NULL);
  get_uint(&r.o, "a", VOW_JSON_REQUIRED);
  get_string(&r.o, "b", VOW_JSON_REQUIRED);
  get_bool(&r.o, "c", VOW_JSON_REQUIRED);
  get_bool(&r.o, "d", VOW_JSON_REQUIRED);
  vow_json_object_fail(&r.o, "e", "is odd");
  assert_ends(&r, VOW_E_INVALID_REQUEST, "b must be a string, not a number");
}

/* A caller's own complaint names the place as the reader's do. */
static void complaints_of_callers(void **state) {
  struct reading r;

  (void)state;
  begin(&r, "{}", "branches[1]");
  vow_json_object_fail(&r.o, "url", "is %s", "odd");
  assert_ends(&r, VOW_E_INVALID_REQUEST, "branches[1].url is odd");
  begin(&r, "{}", "branches[1]");
  vow_json_object_fail(&r.o, NULL, "is %d", 7);
  assert_ends(&r, VOW_E_INVALID_REQUEST, "branches[1] is 7");
  begin(&r, "{}", "");
  vow_json_object_fail(&r.o, NULL, "is empty");
  assert_ends(&r, VOW_E_INVALID_REQUEST, "the body is empty");

  char key[300]; /* leaves no room for what is wrong with it */
  memset(key, 'k', sizeof key);
  key[sizeof key - 1] = '\0';
  begin(&r, "{}", NULL);
  vow_json_object_fail(&r.o, key, "is odd");
  key[VOW_JSON_WHY_BYTES - 1] = '\0';
  assert_ends(&r, VOW_E_INVALID_REQUEST, key);
}

/* What is no object at all is refused at the start, and nothing can be read from it. */
static void not_an_object(void **state) {
  (void)state;
  for (size_t v = 1; v < VALUE_COUNT; v++) {
    struct reading r;
    char why[100];
    begin(&r, VALUES[v], NULL);
    assert_false(get_any(&r.o, "a", VOW_JSON_REQUIRED));
    (void)snprintf(why, sizeof why, "the body must be an object, not %s", KINDS[v]);
    assert_ends(&r, VOW_E_INVALID_REQUEST, why);
  }
}

/* A reader that asks for more members than there is room for is told that it is wrong. */
static void too_many_known_members(void **state) {
  static char keys[40][16];
  struct reading r;

  (void)state;
  begin(&r, "{}", NULL);
  for (int i = 0; i < 40; i++) {
    (void)snprintf(keys[i], sizeof keys[i], "k%d", i);
    get_any(&r.o, keys[i], VOW_JSON_OPTIONAL);
  }
  assert_int_equal(vow_json_object_end(&r.o), VOW_E_INTERNAL);
  end(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_wrong_type),
      cmocka_unit_test(missing_members),
      cmocka_unit_test(outputs_are_left_alone),
      cmocka_unit_test(string_limits),
      cmocka_unit_test(number_limits),
      cmocka_unit_test(numbers_of_64_bits),
      cmocka_unit_test(array_limits),
      cmocka_unit_test(value_depth_limit),
      cmocka_unit_test(times),
      cmocka_unit_test(broken_times),
      cmocka_unit_test(ids),
      cmocka_unit_test(unknown_members),
      cmocka_unit_test(many_members),
      cmocka_unit_test(long_words),
      cmocka_unit_test(the_first_problem_stays),
      cmocka_unit_test(complaints_of_callers),
      cmocka_unit_test(not_an_object),
      cmocka_unit_test(too_many_known_members),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
