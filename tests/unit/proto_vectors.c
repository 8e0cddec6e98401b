/*
 * Runs the codec over every file of proto/vectors (see its README): the valid ones are decoded,
 * written and read back without a change, another reader finds the same in both, and the invalid
 * ones are refused with a sentence.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "codec_judge.h"
#include "codec_kinds.h"

static const struct codec_kind *kind_of(const char *file) {
  size_t bytes = strcspn(file, ".");

  for (size_t i = 0; i < CODEC_KIND_COUNT; i++) {
    if (strlen(codec_kinds[i].name) == bytes && memcmp(codec_kinds[i].name, file, bytes) == 0)
      return &codec_kinds[i];
  }
  fail_msg("%s: no such kind of vector", file);
  return NULL;
}

static void read_vector(const char *folder, const char *file, struct vow_buf *out) {
  char path[1024], chunk[4096];
  size_t got;

  (void)snprintf(path, sizeof path, "%s/%s/%s", VOW_VECTORS_DIR, folder, file);
  FILE *stream = fopen(path, "rb");
  assert_non_null(stream);
  while ((got = fread(chunk, 1, sizeof chunk, stream)) > 0) vow_buf_append(out, chunk, got);
  assert_int_equal(fclose(stream), 0);
  assert_int_equal(out->error, VOW_OK);
}

static void check_valid(const struct codec_kind *kind, const char *file,
                        const struct vow_buf *text) {
  struct vow_buf once, twice;
  char why[VOW_JSON_WHY_BYTES] = "", complaint[CODEC_JUDGE_COMPLAINT_BYTES] = "";

  vow_buf_init(&once, 1 << 20);
  vow_buf_init(&twice, 1 << 20);
  if (kind->run(vow_buf_text(text), text->bytes, &once, why) != VOW_OK)
    fail_msg("%s: %s", file, why);
  if (kind->run(once.data, once.bytes, &twice, why) != VOW_OK)
    fail_msg("%s, written: %s", file, why);
  if (!codec_judge(kind->name, vow_buf_text(text), text->bytes, vow_buf_text(&once), complaint))
    fail_msg("%s: %s", file, complaint);
  assert_string_equal(once.data, twice.data);
  vow_buf_fini(&once);
  vow_buf_fini(&twice);
}

static void check_invalid(const struct codec_kind *kind, const char *file,
                          const struct vow_buf *text) {
  char why[VOW_JSON_WHY_BYTES] = "";
  struct vow_buf again;

  vow_buf_init(&again, 1 << 20);
  enum vow_error error = kind->run(vow_buf_text(text), text->bytes, &again, why);
  bool refused = kind->is_answer ? error == VOW_E_PROTOCOL
                                 : error == VOW_E_INVALID_JSON || error == VOW_E_INVALID_REQUEST;
  if (!refused) fail_msg("%s: %s, not refused", file, vow_error_slug(error));
  if (strlen(why) < 10) fail_msg("%s: \"%s\" is no sentence", file, why);
  vow_buf_fini(&again);
}

/* Runs `check` over a folder; each kind must have a file there. */
static void check_folder(const char *folder, void (*check)(const struct codec_kind *, const char *,
                                                           const struct vow_buf *)) {
  unsigned seen[CODEC_KIND_COUNT] = {0};
  char path[1024];
  const struct dirent *entry;

  (void)snprintf(path, sizeof path, "%s/%s", VOW_VECTORS_DIR, folder);
  DIR *dir = opendir(path);
  assert_non_null(dir);
  while ((entry = readdir(dir)) != NULL) {
    struct vow_buf text;
    if (entry->d_name[0] == '.') continue;
    const struct codec_kind *kind = kind_of(entry->d_name);
    vow_buf_init(&text, 1 << 20);
    read_vector(folder, entry->d_name, &text);
    check(kind, entry->d_name, &text);
    vow_buf_fini(&text);
    seen[kind - codec_kinds]++;
  }
  assert_int_equal(closedir(dir), 0);
  for (size_t i = 0; i < CODEC_KIND_COUNT; i++) {
    if (seen[i] == 0) fail_msg("%s has no %s", path, codec_kinds[i].name);
  }
}

/* Each valid vector is taken, and what is written of it reads back as the same. */
static void valid_vectors(void **state) {
  (void)state;
  check_folder("valid", check_valid);
}

/* Each invalid vector is refused with the error of its kind and with a sentence. */
static void invalid_vectors(void **state) {
  (void)state;
  check_folder("invalid", check_invalid);
}

/* A valid vector cut off anywhere is refused: there is no place where it would read as something
 * else. */
static void cut_off_vectors_are_refused(void **state) {
  static const char *const files[] = {"prepare.payload-object.json",
                                      "prepare-reply.one-phase-committed.json",
                                      "commit-reply.heuristic-abort.json",
                                      "inquiry-reply.each.json",
                                      "problem.full.json",
                                      "batch.each.json",
                                      "batch-reply.mixed.json"};
  (void)state;
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
    struct vow_buf text, cut;
    vow_buf_init(&text, 1 << 20);
    vow_buf_init(&cut, 1 << 20);
    read_vector("valid", files[i], &text);
    for (size_t bytes = 0; bytes < text.bytes; bytes++) {
      vow_buf_reset(&cut);
      vow_buf_append(&cut, text.data, bytes);
      check_invalid(kind_of(files[i]), files[i], &cut);
    }
    vow_buf_fini(&text);
    vow_buf_fini(&cut);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(valid_vectors),
      cmocka_unit_test(invalid_vectors),
      cmocka_unit_test(cut_off_vectors_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
