/*
 * Tables of vowctl: columns line up, the last is cut to the terminal, colours only where wanted.
 */
#include "table.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const titles[] = {"NAME", "N", "NOTE", NULL};

static void assert_flushed(struct ctl_table *table, const char *expected) {
  struct vow_buf out;
  vow_buf_init(&out, 1 << 16);
  ctl_table_flush(table, &out);
  assert_string_equal(vow_buf_text(&out), expected);
  vow_buf_fini(&out);
}

static void fill(struct ctl_table *table, const char *name, const char *number, const char *note) {
  ctl_table_cell(table, CTL_PLAIN, name);
  ctl_table_cell(table, CTL_PLAIN, number);
  ctl_table_cell(table, CTL_BAD, note);
}

static void columns_are_as_wide_as_their_widest_cell(void **state) {
  struct ctl_terminal terminal = {0};
  struct ctl_table table;
  (void)state;
  ctl_table_init(&table, &terminal, titles, 3);
  table.right = 1U << 1;
  fill(&table, "Zürich", "7", "fine");
  fill(&table, "日本", "1234", NULL);
  assert_flushed(&table,
                 "NAME       N  NOTE\n"
                 "Zürich     7  fine\n"
                 "日本    1234  -\n");
  ctl_table_fini(&table);
}

static void a_second_page_lines_up_and_has_no_heading(void **state) {
  struct ctl_terminal terminal = {0};
  struct ctl_table table;
  (void)state;
  ctl_table_init(&table, &terminal, titles, 3);
  fill(&table, "a-long-name", "1", "x");
  assert_flushed(&table, "NAME         N  NOTE\na-long-name  1  x\n");
  fill(&table, "b", "2", "y");
  assert_flushed(&table, "b            2  y\n");
  ctl_table_fini(&table);
}

static void the_last_column_is_cut_to_the_terminal(void **state) {
  struct ctl_terminal terminal = {.width = 28};
  struct ctl_table table;
  (void)state;
  ctl_table_init(&table, &terminal, titles, 3);
  fill(&table, "bank", "1", "connection refüsed by somebody");
  fill(&table, "bank", "2", "exactly nineteen !!");
  assert_flushed(&table,
                 "NAME  N  NOTE\n"
                 "bank  1  connection refüsed…\n"
                 "bank  2  exactly nineteen !!\n");
  ctl_table_fini(&table);
}

static void without_a_terminal_nothing_is_cut(void **state) {
  struct ctl_terminal terminal = {.width = 0};
  struct ctl_table table;
  char note[400];
  (void)state;
  memset(note, 'x', sizeof note - 1);
  note[sizeof note - 1] = '\0';
  ctl_table_init(&table, &terminal, NULL, 1);
  ctl_table_cell(&table, CTL_PLAIN, note);
  struct vow_buf out;
  vow_buf_init(&out, 1 << 16);
  ctl_table_flush(&table, &out);
  assert_int_equal(out.bytes, sizeof note);
  vow_buf_fini(&out);
  ctl_table_fini(&table);
}

static void colours_stand_around_the_text_and_do_not_move_columns(void **state) {
  struct ctl_terminal terminal = {.colour = true};
  struct ctl_table table;
  (void)state;
  ctl_table_init(&table, &terminal, NULL, 2);
  ctl_table_cell(&table, CTL_GOOD, "ab");
  ctl_table_cell(&table, CTL_PLAIN, "x");
  ctl_table_cell(&table, CTL_PLAIN, "abcd");
  ctl_table_cell(&table, CTL_PLAIN, "y");
  assert_flushed(&table, "\033[32mab\033[0m    x\nabcd  y\n");
  ctl_table_fini(&table);
}

static void cells_are_made_safe(void **state) {
  struct ctl_terminal terminal = {0};
  struct ctl_table table;
  (void)state;
  ctl_table_init(&table, &terminal, NULL, 1);
  ctl_table_cellf(&table, CTL_PLAIN, "%s", "evil\033[2J\nname");
  assert_flushed(&table, "evil\\x1b[2J\\nname\n");
  ctl_table_fini(&table);
}

static void an_unfinished_row_is_printed_as_far_as_it_goes(void **state) {
  struct ctl_terminal terminal = {0};
  struct ctl_table table;
  (void)state;
  ctl_table_init(&table, &terminal, NULL, 3);
  table.indent = 2;
  ctl_table_cell(&table, CTL_PLAIN, "only");
  assert_flushed(&table, "  only\n");
  ctl_table_fini(&table);
  ctl_table_fini(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
      cmocka_unit_test(a_second_page_lines_up_and_has_no_heading),
      cmocka_unit_test(the_last_column_is_cut_to_the_terminal),
      cmocka_unit_test(without_a_terminal_nothing_is_cut),
      cmocka_unit_test(colours_stand_around_the_text_and_do_not_move_columns),
      cmocka_unit_test(cells_are_made_safe),
      cmocka_unit_test(an_unfinished_row_is_printed_as_far_as_it_goes),
  };
  setlocale(LC_CTYPE, "C.UTF-8");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
