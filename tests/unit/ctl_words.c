/*
 * Lists of the command line, given there or in a file.
 */
#include "words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/vow-words-XXXXXX";
static char file[64], list[80];

static int setup(void **state) {
  (void)state;
  if (mkdtemp(folder) == NULL) return -1;
  snprintf(file, sizeof file, "%s/list", folder);
  snprintf(list, sizeof list, "@%s", file);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  (void)remove(file);
  return rmdir(folder);
}

static void write_file(const char *text, size_t bytes) {
  FILE *out = fopen(file, "w");
  assert_non_null(out);
  assert_int_equal(fwrite(text, 1, bytes, out), bytes);
  assert_int_equal(fclose(out), 0);
}

/* The words one after the other, with a bar behind each; "stop" is refused. */
static enum ctl_exit take(void *context, const char *word) {
  char *all = context;
  if (strcmp(word, "stop") == 0) return CTL_EXIT_NOT_FOUND;
  strcat(all, word);
  strcat(all, "|");
  return CTL_EXIT_OK;
}

static void expect(const char *given, enum ctl_exit code, const char *words) {
  char all[512] = "";
  assert_int_equal(ctl_each_word(given, all, take), code);
  assert_string_equal(all, words);
}

static void words_stand_between_commas(void **state) {
  (void)state;
  expect(NULL, CTL_EXIT_OK, "");
  expect("", CTL_EXIT_OK, "");
  expect("a", CTL_EXIT_OK, "a|");
  expect("a,b,,c, d ,", CTL_EXIT_OK, "a|b|c|d|");
  expect("a,stop,b", CTL_EXIT_NOT_FOUND, "a|");
}

static void a_file_may_have_one_on_each_line(void **state) {
  static const char text[] = "a\nb,c\r\n\n\td\n  e";
  (void)state;
  write_file(text, strlen(text));
  expect(list, CTL_EXIT_OK, "a|b|c|d|e|");
  write_file("", 0);
  expect(list, CTL_EXIT_OK, "");
  write_file("a\nstop\nb\n", 9);
  expect(list, CTL_EXIT_NOT_FOUND, "a|");
  expect("a,@b", CTL_EXIT_OK, "a|@b|"); /* only at the beginning */
}

/* Nothing is taken from what is no list, and nobody waits for it. */
static void what_is_no_text_file_is_refused(void **state) {
  char at_folder[80];
  (void)state;
  snprintf(at_folder, sizeof at_folder, "@%s", folder);
  expect("@", CTL_EXIT_FAILED, "");
  expect("@/nowhere/at/all", CTL_EXIT_FAILED, "");
  expect(at_folder, CTL_EXIT_FAILED, "");
  write_file("a\n\0b\n", 5);
  expect(list, CTL_EXIT_FAILED, "");
  assert_int_equal(truncate(file, CTL_WORDS_FILE_BYTES_MAX + 1), 0);
  expect(list, CTL_EXIT_FAILED, "");
  assert_int_equal(remove(file), 0);
  assert_int_equal(mkfifo(file, 0600), 0);
  expect(list, CTL_EXIT_FAILED, "");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(words_stand_between_commas),
      cmocka_unit_test(a_file_may_have_one_on_each_line),
      cmocka_unit_test(what_is_no_text_file_is_refused),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
