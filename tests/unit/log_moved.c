/* A log that is moved, deleted or replaced while it is open wants no new transactions, keeps what
 * is open, and goes on when the same file is back. */
#include "log_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool moved_there(struct fixture *f) {
  return f->progress.refuses == VOW_E_LOG_MOVED;
}

static bool well_there(struct fixture *f) {
  return f->progress.refuses == VOW_OK;
}

static void name(char out[128], const struct fixture *f, const char *suffix) {
  snprintf(out, 128, "%s%s", f->path, suffix);
}

static void move(const struct fixture *f, const char *from, const char *to) {
  char old[128], new[128];
  name(old, f, from);
  name(new, f, to);
  assert_int_equal(rename(old, new), 0);
}

static void open_with_one(struct fixture *f) {
  fixture_open(f);
  wait_durable(f, append_nth(f, 1, VOW_TXN_COMMITTING, 0, true));
  assert_int_equal(f->progress.refuses, VOW_OK);
}

/* A write finds it out, and is durable all the same. */
static void write_and_notice(struct fixture *f) {
  wait_durable(f, append_nth(f, 2, VOW_TXN_COMMITTING, 0, true));
  wait_until(f, moved_there);
  wait_durable(f, append_nth(f, 3, VOW_TXN_COMMITTING, 0, true));
}

static void a_moved_log_goes_on_when_it_is_back(void **state) {
  struct fixture *f = *state;
  open_with_one(f);
  move(f, "", ".aside");
  write_and_notice(f);
  move(f, ".aside", "");
  wait_until(f, well_there);
  fixture_close(f);
  fixture_open(f);
  for (uint32_t n = 1; n <= 3; n++) assert_int_equal(find_state(f, n), VOW_TXN_COMMITTING);
}

static void so_does_its_folder(void **state) {
  struct fixture *f = *state;
  char aside[80];
  snprintf(aside, sizeof aside, "%s.aside", f->folder);
  open_with_one(f);
  assert_int_equal(rename(f->folder, aside), 0);
  write_and_notice(f);
  assert_int_equal(rename(aside, f->folder), 0);
  wait_until(f, well_there);
}

/* Closed in good order it is whole where it lies, and needs nothing of what stayed behind. */
static void a_moved_log_is_whole_once_it_is_closed(void **state) {
  struct fixture *f = *state;
  char why[VOW_LOG_WHY_BYTES];
  open_with_one(f);
  move(f, "", ".aside");
  write_and_notice(f);
  fixture_close(f);
  strcat(f->path, ".aside");
  assert_int_equal(fixture_try(f, why), VOW_OK);
  for (uint32_t n = 1; n <= 3; n++) assert_int_equal(find_state(f, n), VOW_TXN_COMMITTING);
}

static void a_deleted_log_is_noticed(void **state) {
  struct fixture *f = *state;
  open_with_one(f);
  assert_int_equal(unlink(f->path), 0);
  write_and_notice(f);
}

static void so_is_a_deleted_write_ahead_log(void **state) {
  struct fixture *f = *state;
  char wal[128];
  name(wal, f, "-wal");
  open_with_one(f);
  assert_int_equal(unlink(wal), 0);
  write_and_notice(f);
}

/* The name alone does not do. */
static void another_file_in_its_place_is_noticed(void **state) {
  struct fixture *f = *state;
  open_with_one(f);
  move(f, "", ".aside");
  int fd = open(f->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  close(fd);
  write_and_notice(f);
  move(f, ".aside", "");
  wait_until(f, well_there);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_moved_log_goes_on_when_it_is_back, fixture_new,
                                      fixture_drop),
      cmocka_unit_test_setup_teardown(so_does_its_folder, fixture_new, fixture_drop),
      cmocka_unit_test_setup_teardown(a_moved_log_is_whole_once_it_is_closed, fixture_new,
                                      fixture_drop),
      cmocka_unit_test_setup_teardown(a_deleted_log_is_noticed, fixture_new, fixture_drop),
      cmocka_unit_test_setup_teardown(so_is_a_deleted_write_ahead_log, fixture_new, fixture_drop),
      cmocka_unit_test_setup_teardown(another_file_in_its_place_is_noticed, fixture_new,
                                      fixture_drop)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
