/*
 * Lists that the command line gives. See words.h.
 */
#include "words.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define AFTER_AT "After @ stands the path of a text file, with one word a line or commas between."

static enum ctl_exit fail(const char *path, const char *why) {
  return ctl_fail(CTL_EXIT_FAILED, AFTER_AT, "the list \"%.300s\" cannot be read: %s.", path, why);
}

/* All of a file, with a NUL behind it. A pipe or a terminal is none: nobody waits here. */
static enum ctl_exit read_file(const char *path, char **out) {
  struct stat file;
  enum ctl_exit code = CTL_EXIT_OK;
  char *text = NULL;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 || fstat(fd, &file) != 0) {
    code = fail(path, strerror(errno));
  } else if (!S_ISREG(file.st_mode)) {
    code = fail(path, "it is not a file");
  } else if (file.st_size > CTL_WORDS_FILE_BYTES_MAX) {
    code = fail(path, "it is larger than 64 MiB");
  } else if ((text = malloc((size_t)file.st_size + 1)) == NULL) {
    code = ctl_no_memory();
  } else {
    size_t bytes = 0;
    ssize_t more = 1;
    while (more > 0 && bytes < (size_t)file.st_size) {
      more = read(fd, text + bytes, (size_t)file.st_size - bytes);
      if (more > 0) bytes += (size_t)more;
    }
    text[bytes] = '\0';
    if (more < 0) {
      code = fail(path, strerror(errno));
    } else if (strlen(text) < bytes) {
      code = fail(path, "it is not text");
    }
  }
  if (fd >= 0) close(fd);
  if (code != CTL_EXIT_OK) {
    free(text);
    return code;
  }
  *out = text;
  return CTL_EXIT_OK;
}

enum ctl_exit ctl_each_word(const char *list, void *context,
                            enum ctl_exit (*take)(void *context, const char *word)) {
  enum ctl_exit code = CTL_EXIT_OK;
  char *copy = NULL, *word;
  if (list == NULL) return CTL_EXIT_OK;
  if (*list == '@') {
    code = read_file(list + 1, &copy);
  } else if ((copy = strdup(list)) == NULL) {
    code = ctl_no_memory();
  }
  char *rest = copy;
  while (code == CTL_EXIT_OK && (word = strsep(&rest, ", \t\r\n")) != NULL) {
    if (*word != '\0') code = take(context, word);
  }
  free(copy);
  return code;
}
