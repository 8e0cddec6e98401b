/*
 * The daemon's configuration: the first byte says how many of the lines that follow are flags and
 * how many variables; the rest is the file. What is taken is printed as a file that says the same;
 * what is refused is refused with a sentence.
 */
#include "config.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

#define LISTS_MAX     6
#define OUT_BYTES_MAX ((size_t)1 << 20)

/* A file without a name, written anew for each input. */
static void write_file(int fd, const void *data, size_t bytes) {
  must(ftruncate(fd, 0) == 0);
  must(pwrite(fd, data, bytes, 0) == (ssize_t)bytes);
}

/* The next line, as text of its own; what is behind it stays. */
static char *take_line(const char **text, size_t *left) {
  const char *end = memchr(*text, '\n', *left);
  size_t bytes = end == NULL ? *left : (size_t)(end - *text);
  char *line = copy_text(*text, bytes);
  *text += bytes + (end != NULL);
  *left -= bytes + (end != NULL);
  return line;
}

static void free_all(char **list) {
  for (; *list != NULL; list++) free(*list);
}

/* What it prints reads as the same configuration. */
static void printed_and_read_again(const struct vow_config *config, int fd, char *path) {
  char why[VOW_CONFIG_WHY_BYTES] = "", program[] = "vowd", flag[] = "--config";
  char *argv[] = {program, flag, path, NULL};
  struct vow_config again = {0};
  struct vow_buf file, once, twice;

  vow_buf_init(&file, OUT_BYTES_MAX);
  vow_buf_init(&once, OUT_BYTES_MAX);
  vow_buf_init(&twice, OUT_BYTES_MAX);
  vow_config_print(config, &file);
  vow_config_list(config, &once);
  must(file.error == VOW_OK && once.error == VOW_OK);
  write_file(fd, vow_buf_text(&file), file.bytes);
  if (vow_config_load(&again, 3, argv, NULL, why) == VOW_OK) {
    vow_config_list(&again, &twice);
    must(strcmp(vow_buf_text(&once), vow_buf_text(&twice)) == 0);
    vow_config_fini(&again);
  } else {
    /* A flag or a variable may hold what a file cannot; then the file says so. */
    must(strlen(why) > 10);
  }
  vow_buf_fini(&file);
  vow_buf_fini(&once);
  vow_buf_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  static int fd = -1;
  static char path[40];
  char why[VOW_CONFIG_WHY_BYTES] = "", program[] = "vowd", flag[] = "--config";
  char *argv[LISTS_MAX + 4] = {program, flag, path}, *environment[LISTS_MAX + 1] = {NULL};
  struct vow_config config = {0};

  if (bytes == 0) return 0;
  if (fd < 0) fd = memfd_create("vow.conf", MFD_CLOEXEC);
  must(fd >= 0);
  (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  unsigned flags = data[0] % LISTS_MAX, variables = data[0] / LISTS_MAX % LISTS_MAX;
  const char *text = (const char *)data + 1;
  size_t left = bytes - 1;
  for (unsigned i = 0; i < flags; i++) argv[3 + i] = take_line(&text, &left);
  for (unsigned i = 0; i < variables; i++) environment[i] = take_line(&text, &left);
  write_file(fd, text, left);
  /* Another file than ours would make the run depend on what lies about. */
  bool elsewhere = false;
  for (unsigned i = 0; i < flags; i++) elsewhere |= strncmp(argv[3 + i], "--c", 3) == 0;
  if (!elsewhere) {
    enum vow_error error = vow_config_load(&config, 3 + (int)flags, argv, environment, why);
    must(error == VOW_OK || (error == VOW_E_CONFIG && strlen(why) > 10));
    if (error == VOW_OK && config.action == VOW_CONFIG_SERVE)
      printed_and_read_again(&config, fd, path);
    if (error == VOW_OK) vow_config_fini(&config);
  }
  free_all(argv + 3);
  free_all(environment);
  return 0;
}
