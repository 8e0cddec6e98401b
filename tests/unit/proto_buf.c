/*
 * Tests of the growing buffer (proto/buf.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"

/* A new buffer owns nothing, reads as "", and can be finished at once. */
static void starts_empty(void **state) {
  struct vow_buf buf;

  (void)state;
  vow_buf_init(&buf, 10);
  assert_null(buf.data);
  assert_string_equal(vow_buf_text(&buf), "");
  vow_buf_fini(&buf);
  vow_buf_fini(&buf);
  vow_buf_fini(NULL);
}

/* What is appended is there in order, with a NUL behind it, however it came in. */
static void appends(void **state) {
  struct vow_buf buf;

  (void)state;
  vow_buf_init(&buf, 1000);
  vow_buf_append(&buf, "ab\0c", 4);
  vow_buf_append(&buf, NULL, 0);
  vow_buf_puts(&buf, "de");
  vow_buf_printf(&buf, "%d-%s", 42, "x");
  assert_int_equal(buf.error, VOW_OK);
  assert_int_equal(buf.bytes, 10);
  assert_memory_equal(buf.data, "ab\0cde42-x", 11);
  vow_buf_fini(&buf);
}

/* The limit counts bytes without the NUL: exactly the limit fits, one more fails and adds nothing.
 */
static void the_limit_is_exact(void **state) {
  struct vow_buf buf;

  (void)state;
  vow_buf_init(&buf, 5);
  vow_buf_puts(&buf, "12345");
  assert_int_equal(buf.error, VOW_OK);
  assert_true(buf.capacity <= 6);
  vow_buf_puts(&buf, "");
  assert_int_equal(buf.error, VOW_OK);
  vow_buf_puts(&buf, "6");
  assert_int_equal(buf.error, VOW_E_LIMIT_EXCEEDED);
  assert_string_equal(vow_buf_text(&buf), "12345");
  vow_buf_fini(&buf);

  vow_buf_init(&buf, 5);
  vow_buf_printf(&buf, "%s", "123456");
  assert_int_equal(buf.error, VOW_E_LIMIT_EXCEEDED);
  assert_int_equal(buf.bytes, 0);
  vow_buf_fini(&buf);

  vow_buf_init(&buf, 0);
  vow_buf_puts(&buf, "");
  assert_int_equal(buf.error, VOW_OK);
  vow_buf_puts(&buf, "x");
  assert_int_equal(buf.error, VOW_E_LIMIT_EXCEEDED);
  vow_buf_fini(&buf);
}

/* A failed buffer stays failed and ignores what would fit, until it is reset. */
static void failure_sticks(void **state) {
  struct vow_buf buf;

  (void)state;
  vow_buf_init(&buf, 4);
  vow_buf_puts(&buf, "12");
  vow_buf_puts(&buf, "345");
  vow_buf_puts(&buf, "3");
  vow_buf_append(&buf, "3", 1);
  vow_buf_printf(&buf, "%d", 3);
  assert_int_equal(buf.error, VOW_E_LIMIT_EXCEEDED);
  assert_string_equal(vow_buf_text(&buf), "12");
  vow_buf_reset(&buf);
  assert_int_equal(buf.error, VOW_OK);
  assert_string_equal(vow_buf_text(&buf), "");
  vow_buf_puts(&buf, "1234");
  assert_string_equal(vow_buf_text(&buf), "1234");
  vow_buf_fini(&buf);
}

/* What printf itself refuses (here a wide character that the C locale lacks) fails the buffer. */
static void printf_that_fails(void **state) {
  struct vow_buf buf;

  (void)state;
  vow_buf_init(&buf, 100);
  vow_buf_puts(&buf, "x");
  vow_buf_printf(&buf, "%ls", L"\x20ac");
  assert_int_equal(buf.error, VOW_E_LIMIT_EXCEEDED);
  assert_string_equal(vow_buf_text(&buf), "x");
  vow_buf_fini(&buf);
}

/* A size that would overflow is past any limit, not a small allocation. */
static void sizes_do_not_overflow(void **state) {
  volatile size_t most = SIZE_MAX; /* a size that the compiler knew it would warn of */
  struct vow_buf buf;

  (void)state;
  vow_buf_init(&buf, SIZE_MAX);
  vow_buf_append(&buf, "x", 1);
  vow_buf_append(&buf, "y", most - 1);
  assert_int_equal(buf.error, VOW_E_LIMIT_EXCEEDED);
  assert_string_equal(vow_buf_text(&buf), "x");
  vow_buf_reset(&buf);
  vow_buf_append(&buf, "y", most);
  assert_int_equal(buf.error, VOW_E_LIMIT_EXCEEDED);
  vow_buf_reset(&buf);
  vow_buf_append(&buf, "y", most / 2);
  assert_int_equal(buf.error, VOW_E_LIMIT_EXCEEDED);
  vow_buf_fini(&buf);
}

/* Take hands over the memory, leaves an empty buffer that works, and gives "" for an empty one. */
static void take_hands_over(void **state) {
  struct vow_buf buf;
  size_t bytes = 99;

  (void)state;
  vow_buf_init(&buf, 1000);
  char *text = vow_buf_take(&buf, &bytes);
  assert_string_equal(text, "");
  assert_int_equal(bytes, 0);
  free(text);
  vow_buf_puts(&buf, "abc");
  text = vow_buf_take(&buf, &bytes);
  assert_string_equal(text, "abc");
  assert_int_equal(bytes, 3);
  assert_int_equal(buf.bytes, 0);
  assert_null(buf.data);
  vow_buf_puts(&buf, "again");
  assert_string_equal(vow_buf_text(&buf), "again");
  assert_string_equal(text, "abc");
  free(text);
  text = vow_buf_take(&buf, NULL);
  assert_string_equal(text, "again");
  free(text);
  vow_buf_fini(&buf);
}

/* A failed buffer gives NULL, frees what it had, leaves *bytes_out alone and still says why. */
static void take_of_a_failed_buffer(void **state) {
  struct vow_buf buf;
  size_t bytes = 99;

  (void)state;
  vow_buf_init(&buf, 3);
  vow_buf_puts(&buf, "abc");
  vow_buf_puts(&buf, "d");
  assert_null(vow_buf_take(&buf, &bytes));
  assert_int_equal(bytes, 99);
  assert_null(buf.data);
  assert_int_equal(buf.error, VOW_E_LIMIT_EXCEEDED);
}

/* A megabyte in odd steps arrives unharmed, and memory stays within twice of it. */
static void grows_far(void **state) {
  struct vow_buf buf;
  char piece[61];
  size_t total = 0;

  (void)state;
  vow_buf_init(&buf, 1 << 20);
  for (unsigned i = 0; total + sizeof piece <= (1 << 20); i++) {
    size_t bytes = i % sizeof piece;
    memset(piece, (int)('a' + i % 26), bytes);
    vow_buf_append(&buf, piece, bytes);
    total += bytes;
  }
  assert_int_equal(buf.error, VOW_OK);
  assert_int_equal(buf.bytes, total);
  assert_int_equal(strlen(buf.data), total);
  assert_true(buf.capacity <= (1 << 20) + 1);
  vow_buf_fini(&buf);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(starts_empty),       cmocka_unit_test(appends),
      cmocka_unit_test(the_limit_is_exact), cmocka_unit_test(failure_sticks),
      cmocka_unit_test(printf_that_fails),  cmocka_unit_test(sizes_do_not_overflow),
      cmocka_unit_test(take_hands_over),    cmocka_unit_test(take_of_a_failed_buffer),
      cmocka_unit_test(grows_far),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
