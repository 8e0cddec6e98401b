/*
 * Plays inputs without a fuzzer: each file of the folders that are named, once. So the corpora and
 * the regressions run in every build, with any compiler.
 *
 *   fuzz_replay_TARGET FILE-OR-FOLDER...
 */
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

#define PATH_BYTES_MAX  4096
#define INPUT_BYTES_MAX (1U << 20)

static unsigned played;

/* An input is played from memory that ends where it ends, so that a sanitizer sees who reads on. */
static void play_file(const char *path) {
  static uint8_t room[INPUT_BYTES_MAX];
  FILE *file = fopen(path, "rb");
  must(file != NULL);
  size_t bytes = fread(room, 1, sizeof room, file);
  must(feof(file));
  must(fclose(file) == 0);
  uint8_t *input = malloc(bytes + (bytes == 0));
  must(input != NULL);
  memcpy(input, room, bytes);
  fprintf(stderr, "%s\n", path);
  (void)LLVMFuzzerTestOneInput(input, bytes);
  free(input);
  played++;
}

static void play(const char *path) {
  struct stat st;
  must(stat(path, &st) == 0);
  if (!S_ISDIR(st.st_mode)) {
    play_file(path);
    return;
  }
  const struct dirent *entry;
  DIR *folder = opendir(path);
  must(folder != NULL);
  while ((entry = readdir(folder)) != NULL) {
    char file[PATH_BYTES_MAX];
    if (entry->d_name[0] == '.') continue;
    must(snprintf(file, sizeof file, "%s/%s", path, entry->d_name) < (int)sizeof file);
    play_file(file);
  }
  must(closedir(folder) == 0);
}

int main(int argc, char **argv) {
  (void)LLVMFuzzerInitialize(&argc, &argv);
  (void)LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
  for (int i = 1; i < argc; i++) play(argv[i]);
  printf("%u inputs\n", played);
  return played > 0 ? 0 : 1;
}
