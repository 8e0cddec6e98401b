/* On a disk that is really full, or really read-only, the log says so, keeps what it promised, and
 * goes on when there is room. The disk is a small tmpfs in a mount namespace of this program's own;
 * where none can be made the tests are skipped (log_faults.c plays the same on a disk of its own
 * making). */
#include "log_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static bool mounted;

static bool write_text(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
  if (fd >= 0) close(fd);
  return ok;
}

/* Mounts made from here on are seen by this process only and end with it. */
static bool enter_namespace(void) {
  char map[64];
  unsigned uid = getuid(), gid = getgid();
  if (unshare(uid == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0) return false;
  if (uid != 0) {
    snprintf(map, sizeof map, "0 %u 1", uid);
    if (!write_text("/proc/self/uid_map", map)) return false;
    if (!write_text("/proc/self/setgroups", "deny")) return false;
    snprintf(map, sizeof map, "0 %u 1", gid);
    if (!write_text("/proc/self/gid_map", map)) return false;
  }
  return mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0;
}

static int setup(void **state) {
  *state = calloc(1, sizeof(struct fixture));
  fixture_setup(*state);
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  fixture_close(f);
  while (umount(f->folder) == 0) continue;
  fixture_teardown(f);
  free(f);
  return 0;
}

static void mount_small(struct fixture *f, const char *options) {
  if (!mounted) {
    print_message("skipped: no tmpfs can be mounted here\n");
    skip();
  }
  assert_int_equal(mount("tmpfs", f->folder, "tmpfs", MS_NOSUID | MS_NODEV, options), 0);
}

static void remount(struct fixture *f, unsigned long flags) {
  assert_int_equal(mount("tmpfs", f->folder, "tmpfs", MS_REMOUNT | flags, NULL), 0);
}

/* Somebody else's file takes all the room but `left` bytes. */
static void fill_disk(struct fixture *f, size_t left) {
  char path[128], block[4096] = {1};
  snprintf(path, sizeof path, "%s/somebody-elses", f->folder);
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  while (write(fd, block, sizeof block) == (ssize_t)sizeof block) continue;
  assert_int_equal(errno, ENOSPC);
  struct stat st;
  assert_int_equal(fstat(fd, &st), 0);
  assert_int_equal(ftruncate(fd, st.st_size - (off_t)left), 0);
  close(fd);
}

static void make_room(struct fixture *f) {
  char path[128];
  snprintf(path, sizeof path, "%s/somebody-elses", f->folder);
  assert_int_equal(unlink(path), 0);
}

static bool low_there(struct fixture *f) {
  return f->progress.refuses == VOW_E_LOG_FULL;
}

static bool well_there(struct fixture *f) {
  return f->progress.refuses == VOW_OK && f->progress.durable == f->position;
}

static void check_open_rows(struct fixture *f, uint32_t count) {
  fixture_close(f);
  fixture_open(f);
  for (uint32_t n = 1; n <= count; n++) assert_int_equal(find_state(f, n), VOW_TXN_COMMITTING);
}

static void begins_are_refused_before_decisions_are(void **state) {
  struct fixture *f = *state;
  char reserve[128];
  snprintf(reserve, sizeof reserve, "%s-reserve", f->path);
  mount_small(f, "size=8m");
  f->config.reserve_bytes = 1 << 20;
  fixture_open(f);
  wait_durable(f, append_nth(f, 1, VOW_TXN_COMMITTING, 0, true));
  assert_int_equal(f->progress.refuses, VOW_OK);
  uint32_t n = 1;
  fill_disk(f, 768 << 10); /* less than the reserve is left: the early sign */
  wait_durable(f, append_nth(f, ++n, VOW_TXN_COMMITTING, 0, true));
  wait_until(f, low_there);
  assert_int_equal(access(reserve, F_OK), 0);
  fill_disk(f, 0); /* and now nothing: the reserve itself is used */
  while (n < 80) wait_durable(f, append_nth(f, ++n, VOW_TXN_COMMITTING, 0, true));
  assert_int_equal(access(reserve, F_OK), -1);
  assert_int_equal(f->progress.refuses, VOW_E_LOG_FULL);
  make_room(f);
  wait_until(f, well_there);
  check_open_rows(f, n);
}

static void when_even_the_reserve_is_gone_the_log_waits(void **state) {
  struct fixture *f = *state;
  mount_small(f, "size=8m");
  f->config.reserve_bytes = 256 << 10;
  fixture_open(f);
  uint32_t n = 0;
  fill_disk(f, 0);
  while (n < 2000) append_nth(f, ++n, VOW_TXN_COMMITTING, 0, true);
  wait_until(f, low_there);
  assert_int_equal(f->progress.error, VOW_OK);
  make_room(f);
  wait_until(f, well_there);
  check_open_rows(f, n);
}

static void a_log_on_a_full_disk_does_not_start_and_says_why(void **state) {
  struct fixture *f = *state;
  char why[VOW_LOG_WHY_BYTES] = "";
  mount_small(f, "size=2m");
  fill_disk(f, 0);
  assert_int_equal(fixture_try(f, why), VOW_E_LOG_FULL);
  make_room(f);
  fixture_open(f);
  wait_durable(f, append_nth(f, 1, VOW_TXN_COMMITTING, 0, true));
  fixture_close(f);
  fill_disk(f, 0);
  assert_int_equal(fixture_try(f, why), VOW_E_LOG_FULL);
  assert_non_null(strstr(why, "free some space"));
  make_room(f);
  check_open_rows(f, 1);
}

static void a_disk_too_small_for_a_log_is_told(void **state) {
  struct fixture *f = *state;
  char why[VOW_LOG_WHY_BYTES] = "";
  mount_small(f, "size=8k");
  assert_int_equal(fixture_try(f, why), VOW_E_LOG_FULL);
  assert_non_null(strstr(why, "cannot make the log"));
  assert_non_null(strstr(why, "free some space"));
}

static void a_backup_to_a_full_disk_fails_and_the_log_goes_on(void **state) {
  struct fixture *f = *state;
  struct fixture other;
  struct answer answer;
  char path[128];
  fixture_setup(&other);
  mount_small(&other, "size=256k");
  snprintf(path, sizeof path, "%s/copy", other.folder);
  fixture_open(f);
  for (uint32_t n = 1; n <= 1000; n++) append_nth(f, n, VOW_TXN_COMMITTING, 0, false);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_BACKUP, .path = path}, &answer);
  assert_int_equal(answer.result.error, VOW_E_BACKUP_IO);
  assert_non_null(strstr(answer.why, path));
  assert_non_null(strstr(answer.why, "make room there"));
  answer_fini(&answer);
  assert_int_equal(rmdir(path), -1);
  assert_int_equal(errno, ENOENT);
  wait_durable(f, append_nth(f, 1001, VOW_TXN_COMMITTING, 0, true));
  assert_int_equal(f->progress.error, VOW_OK);
  umount(other.folder);
  fixture_teardown(&other);
}

static void leave_a_wal(void *context) {
  struct fixture *f = context;
  fixture_open(f);
  wait_durable(f, append_nth(f, 2, VOW_TXN_COMMITTING, 0, true));
  kill(getpid(), SIGKILL);
}

static void a_read_only_disk_is_refused_to_a_daemon_and_fine_for_reading(void **state) {
  struct fixture *f = *state;
  char why[VOW_LOG_WHY_BYTES] = "";
  mount_small(f, "size=8m");
  remount(f, MS_RDONLY);
  assert_int_equal(fixture_try(f, why), VOW_E_LOG_READ_ONLY); /* cannot be made */
  remount(f, 0);
  fixture_open(f);
  wait_durable(f, append_nth(f, 1, VOW_TXN_COMMITTING, 0, true));
  fixture_close(f);
  remount(f, MS_RDONLY);
  assert_int_equal(fixture_try(f, why), VOW_E_LOG_READ_ONLY);
  assert_non_null(strstr(why, f->path));
  f->config.read_only = true;
  fixture_open_only(f);
  assert_int_equal(find_state(f, 1), VOW_TXN_COMMITTING);
  fixture_close(f);
  remount(f, 0);
  f->config.read_only = false;
  in_child(leave_a_wal, f);
  remount(f, MS_RDONLY);
  f->config.read_only = true;
  assert_int_equal(fixture_try(f, why), VOW_E_LOG_READ_ONLY); /* it would not see transaction 2 */
  assert_non_null(strstr(why, "copy both files"));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(begins_are_refused_before_decisions_are),
      TEST(when_even_the_reserve_is_gone_the_log_waits),
      TEST(a_log_on_a_full_disk_does_not_start_and_says_why),
      TEST(a_disk_too_small_for_a_log_is_told),
      TEST(a_backup_to_a_full_disk_fails_and_the_log_goes_on),
      TEST(a_read_only_disk_is_refused_to_a_daemon_and_fine_for_reading),
  };
  mounted = enter_namespace();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
