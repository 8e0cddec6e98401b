/* Names are compared by what stat(2) says of them: device and inode. */
#include "files.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

static const char *const SUFFIXES[] = {"", "-wal"};
#define COUNT 2

static bool find(const char *path, int nth, struct stat *out) {
  char name[PATH_MAX + 8];
  snprintf(name, sizeof name, "%s%s", path, SUFFIXES[nth]);
  return stat(name, out) == 0;
}

void vow_files_note(struct vow_files *files, const char *path) {
  struct stat st;
  *files = (struct vow_files){0};
  for (int n = 0; n < COUNT; n++) {
    if (!find(path, n, &st)) continue;
    files->of[n].device = st.st_dev;
    files->of[n].inode = st.st_ino;
  }
}

bool vow_files_moved(const struct vow_files *files, const char *path) {
  struct stat st;
  bool moved = false;
  for (int n = 0; n < COUNT; n++) {
    if (files->of[n].inode == 0) continue;
    moved |= find(path, n, &st)
                 ? st.st_dev != files->of[n].device || st.st_ino != files->of[n].inode
                 : errno == ENOENT || errno == ENOTDIR;
  }
  return moved;
}
