/*
 * The disk loses what it should lose, keeps what it should keep, and looks to SQLite as the real
 * one does.
 */
#include "self_test.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"

#define FILE_A DISK_FOLDER "/a"

static int failures;

static void check(bool ok, const char *sentence) {
  if (ok) return;
  failures++;
  printf("not so: %s\n", sentence);
}

struct story {
  struct disk *disk, *left;
  struct disk_history history;
  uint32_t file;
};

static struct story begin(void) {
  struct story s = {.disk = disk_new(), .left = disk_new()};
  return s;
}

static void end(struct story *s) {
  disk_free(s->disk);
  disk_free(s->left);
  disk_history_free(&s->history);
}

/* The first byte of each of the file's first two sectors after a cut; '-': it has none. */
static const char *after(struct story *s, const uint8_t *fates) {
  static char text[3];
  disk_after_cut(s->disk, fates, 1, s->left);
  disk_use(s->left, NULL);
  int64_t file = disk_find(FILE_A);
  for (uint64_t i = 0; i < 2; i++) {
    uint8_t byte = '-';
    if (file >= 0 && disk_size((uint32_t)file) > i * DISK_SECTOR)
      disk_read((uint32_t)file, &byte, 1, i * DISK_SECTOR);
    text[i] = (char)byte;
  }
  disk_use(s->disk, &s->history);
  return text;
}

static void fill(struct story *s, char byte, uint64_t at, size_t bytes) {
  char data[2 * DISK_SECTOR];
  memset(data, byte, sizeof data);
  disk_write(s->file, data, bytes, at);
}

static void what_is_synced_survives_and_nothing_else_must(void) {
  struct story s = begin();
  const uint8_t none[8] = {0}, all[8] = {1, 1, 1, 1, 1, 1, 1, 1}, second[8] = {0, 1};
  disk_use(s.disk, &s.history);
  s.file = disk_create(FILE_A);
  fill(&s, 'x', 0, 2 * DISK_SECTOR);
  check(disk_sync(s.file), "a sync works");
  check(strcmp(after(&s, none), "--") == 0, "a file whose folder was not synced may vanish");
  disk_sync_folder();
  check(strcmp(after(&s, none), "xx") == 0, "what was synced is there");
  fill(&s, 'y', 0, DISK_SECTOR);
  fill(&s, 'z', DISK_SECTOR, DISK_SECTOR);
  check(strcmp(after(&s, none), "xx") == 0, "what was not synced may be lost");
  check(strcmp(after(&s, all), "yz") == 0, "or be there");
  check(strcmp(after(&s, second), "xz") == 0, "a later write may survive an earlier one");
  disk_truncate(s.file, DISK_SECTOR);
  check(strcmp(after(&s, none), "xx") == 0, "a truncation may be lost");
  check(strcmp(after(&s, all), "y-") == 0, "or not");
  end(&s);
}

static void a_failed_sync_forgets_what_it_did_not_write(void) {
  struct story s = begin();
  const uint8_t all[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  uint8_t byte = 0;
  bool lost = false;
  disk_use(s.disk, &s.history);
  s.file = disk_create(FILE_A);
  disk_sync_folder();
  for (int i = 0; i < 16 && !lost; i++) {
    fill(&s, 'x', 0, DISK_SECTOR);
    (void)disk_sync(s.file);
    fill(&s, 'y', 0, DISK_SECTOR);
    disk_faults.fail_sync = 1;
    disk_faults.seed = (uint64_t)i;
    check(!disk_sync(s.file), "a sync that is to fail fails");
    disk_read(s.file, &byte, 1, 0);
    check(byte == 'y', "the cache shows what the failed sync was to write");
    check(disk_sync(s.file), "the next sync works");
    lost = after(&s, all)[0] == 'x';
  }
  check(lost, "and does not write what the failed one has forgotten");
  end(&s);
}

static void replaying_gives_the_same_disk(void) {
  struct story s = begin();
  const uint8_t none[8] = {0};
  struct disk *again = disk_new();
  char first[3];
  disk_use(s.disk, &s.history);
  s.file = disk_create(FILE_A);
  disk_sync_folder();
  fill(&s, 'x', 0, 2 * DISK_SECTOR);
  (void)disk_sync(s.file);
  fill(&s, 'y', 0, 100);
  disk_cut_now(3);
  memcpy(first, after(&s, none), sizeof first);
  for (uint32_t i = 0; i < s.history.count; i++) disk_replay(again, s.history.ops[i]);
  struct disk *old = s.disk;
  s.disk = again;
  check(strcmp(after(&s, none), first) == 0, "a replay ends where the original ended");
  disk_free(old);
  end(&s);
}

/* Compared with a real file: these two numbers decide how SQLite pads and syncs. */
static void sqlite_sees_the_device_that_it_sees_elsewhere(sqlite3_vfs *real) {
  struct story s = begin();
  sqlite3_vfs *ours = sqlite3_vfs_find(NULL);
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_DELETEONCLOSE;
  sqlite3_file *a = calloc(1, (size_t)real->szOsFile), *b = calloc(1, (size_t)ours->szOsFile);
  disk_use(s.disk, &s.history);
  int opened = real->xOpen(real, NULL, a, flags | SQLITE_OPEN_TEMP_DB, NULL);
  (void)ours->xOpen(ours, FILE_A, b, flags | SQLITE_OPEN_MAIN_DB, NULL);
  check(opened == SQLITE_OK, "a real file can be opened");
  if (opened == SQLITE_OK) {
    check(a->pMethods->xSectorSize(a) == b->pMethods->xSectorSize(b), "sectors are as large");
    check(a->pMethods->xDeviceCharacteristics(a) == b->pMethods->xDeviceCharacteristics(b),
          "the device promises the same");
    a->pMethods->xClose(a);
  }
  b->pMethods->xClose(b);
  free(a);
  free(b);
  end(&s);
}

bool self_test(sqlite3_vfs *real) {
  what_is_synced_survives_and_nothing_else_must();
  a_failed_sync_forgets_what_it_did_not_write();
  replaying_gives_the_same_disk();
  sqlite_sees_the_device_that_it_sees_elsewhere(real);
  return failures == 0;
}
