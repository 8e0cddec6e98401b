/*
 * Tests of transaction ids (proto/id.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "id.h"

/* The example of RFC 9562, appendix A.6: its fields are where the RFC says. */
static void rfc_example(void **state) {
  char text[VOW_ID_TEXT_BYTES];

  (void)state;
  struct vow_id id = vow_id_make(UINT64_C(0x017F22E279B0), 0xCC3, UINT64_C(0x18C4DC0C0C07398F));
  vow_id_format(id, text);
  assert_string_equal(text, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
  assert_int_equal(vow_id_unix_ms(id), UINT64_C(0x017F22E279B0));
  assert_int_equal(vow_id_counter(id), 0xCC3);
  assert_true(vow_id_is_v7(id));
  assert_false(vow_id_is_nil(id));
}

/* The order of ids is the order of (time, counter), whatever the random bits are. */
static void order_is_time_order(void **state) {
  static const struct {
    uint64_t ms;
    uint16_t counter;
  } steps[] = {{0, 0},      {0, 1},      {0, 0x0ff},         {0, 0x100},
               {0, 0xfff},  {1, 0},      {255, 0xfff},       {256, 0},
               {65535, 17}, {65536, 16}, {1700000000000, 5}, {(UINT64_C(1) << 48) - 1, 0xfff}};
  size_t count = sizeof steps / sizeof steps[0];

  (void)state;
  for (size_t i = 0; i + 1 < count; i++) {
    struct vow_id low = vow_id_make(steps[i].ms, steps[i].counter, UINT64_MAX);
    struct vow_id high = vow_id_make(steps[i + 1].ms, steps[i + 1].counter, 0);
    assert_true(vow_id_compare(low, high) < 0);
    assert_true(vow_id_compare(high, low) > 0);
    assert_int_equal(vow_id_compare(low, low), 0);
    assert_true(vow_id_order(&low, &high) < 0);
    assert_true(vow_id_order(&high, &low) > 0);
  }
}

/* The floor of a millisecond and counter is at or below each id made with them, and above the ones
 * before. */
static void floor_is_the_smallest(void **state) {
  (void)state;
  struct vow_id floor = vow_id_floor(1700000000000, 7);
  assert_true(vow_id_compare(floor, vow_id_make(1700000000000, 7, 0)) <= 0);
  assert_true(vow_id_compare(floor, vow_id_make(1700000000000, 7, UINT64_MAX)) < 0);
  assert_true(vow_id_compare(floor, vow_id_make(1700000000000, 6, UINT64_MAX)) > 0);
  assert_true(vow_id_is_v7(floor));
}

/* Time and counter past their fields do not spill into others. */
static void fields_do_not_spill(void **state) {
  (void)state;
  struct vow_id late = vow_id_make(UINT64_MAX, 0, 0);
  assert_int_equal(vow_id_unix_ms(late), (UINT64_C(1) << 48) - 1);
  struct vow_id counted = vow_id_make(1, 0xffff, 0);
  assert_int_equal(vow_id_counter(counted), 0xfff);
  assert_int_equal(vow_id_unix_ms(counted), 1);
  assert_true(vow_id_is_v7(counted));
}

/* What is formatted is parsed back, also in upper case. */
static void text_round_trip(void **state) {
  char text[VOW_ID_TEXT_BYTES];
  struct vow_id back;

  (void)state;
  for (uint64_t i = 0; i < 200; i++) {
    struct vow_id id =
        vow_id_make(i * 7919 * 104729, (uint16_t)(i * 31), i * UINT64_C(0x9e3779b97f4a7c15));
    vow_id_format(id, text);
    assert_true(vow_id_parse(text, &back));
    assert_int_equal(vow_id_compare(id, back), 0);
    for (char *c = text; *c; c++) {
      if (*c >= 'a' && *c <= 'f') *c = (char)(*c - 'a' + 'A');
    }
    assert_true(vow_id_parse(text, &back));
    assert_int_equal(vow_id_compare(id, back), 0);
  }
}

/* Any UUID is parsed, also the nil one and other versions; only version 7 says that it is one. */
static void other_uuids_are_ids_too(void **state) {
  struct vow_id id;

  (void)state;
  assert_true(vow_id_parse("00000000-0000-0000-0000-000000000000", &id));
  assert_true(vow_id_is_nil(id));
  assert_false(vow_id_is_v7(id));
  assert_true(vow_id_parse("ffffffff-ffff-ffff-ffff-ffffffffffff", &id));
  assert_false(vow_id_is_v7(id));
  assert_true(vow_id_parse("f47ac10b-58cc-4372-a567-0e02b2c3d479", &id));
  assert_false(vow_id_is_v7(id));
  assert_true(vow_id_parse("017f22e2-79b0-7cc3-18c4-dc0c0c07398f", &id)); /* variant of NCS */
  assert_false(vow_id_is_v7(id));
}

/* Text that is not exactly a UUID is refused and *out is left alone. */
static void other_text_is_refused(void **state) {
  static const char good[] = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
  static const char *const bad[] = {"",
                                    "0",
                                    "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
                                    "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0",
                                    "017f22e279b07cc398c4dc0c0c07398f",
                                    "017f22e2-79b0-7cc3-98c4_dc0c0c07398f",
                                    " 017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
                                    "017f22e2-79b0-7cc3-98c4-dc0c0c07398f ",
                                    "{017f22e2-79b0-7cc3-98c4-dc0c0c07398f}",
                                    "urn:uuid:017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
                                    "017f22e-279b0-7cc3-98c4-dc0c0c07398f",
                                    "../../etc/passwd"};
  struct vow_id id = vow_id_make(1, 2, 3), before = id;
  char text[VOW_ID_TEXT_BYTES];

  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    assert_false(vow_id_parse(bad[i], &id));
    assert_int_equal(vow_id_compare(id, before), 0);
  }
  assert_false(vow_id_parse(NULL, &id));
  for (size_t i = 0; i < sizeof good - 1; i++) {
    memcpy(text, good, sizeof good);
    text[i] = 'g';
    assert_false(vow_id_parse(text, &id));
    text[i] = '\0'; /* cut off at each place */
    assert_false(vow_id_parse(text, &id));
  }
  assert_int_equal(vow_id_compare(id, before), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rfc_example),           cmocka_unit_test(order_is_time_order),
      cmocka_unit_test(floor_is_the_smallest), cmocka_unit_test(fields_do_not_spill),
      cmocka_unit_test(text_round_trip),       cmocka_unit_test(other_uuids_are_ids_too),
      cmocka_unit_test(other_text_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
