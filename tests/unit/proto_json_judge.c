/*
 * Holds the JSON parser against another one (json_judge.h): both read the vectors, and what chance
 * makes of them, alike. The seed is fixed; a disagreement prints its text.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"
#include "json_judge.h"

static long rounds = 60000; /* or VOW_JSON_ROUNDS */

static uint32_t random_state = 20260131;

static uint32_t pick(uint32_t below) {
  random_state = random_state * 1664525 + 1013904223;
  return (uint32_t)((uint64_t)(random_state >> 8) * below >> 24);
}

static void judge(const char *text, size_t bytes, unsigned *taken) {
  char complaint[JSON_JUDGE_COMPLAINT_BYTES];
  bool valid;

  if (!json_judge(text, bytes, &valid, complaint))
    fail_msg("%.*s\n%s", (int)bytes, text, complaint);
  *taken += valid;
}

/* ---- texts ---- */

#define TEXTS_MAX 400

static struct vow_buf texts[TEXTS_MAX];
static size_t text_count;

static void add_folder(const char *folder) {
  char path[1024], chunk[4096];
  const struct dirent *entry;
  size_t got;

  DIR *dir = opendir(folder);
  assert_non_null(dir);
  while ((entry = readdir(dir)) != NULL) {
    if (entry->d_name[0] == '.') continue;
    assert_true(text_count < TEXTS_MAX);
    struct vow_buf *text = &texts[text_count++];
    vow_buf_init(text, 1 << 20);
    (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    while ((got = fread(chunk, 1, sizeof chunk, file)) > 0) vow_buf_append(text, chunk, got);
    assert_int_equal(fclose(file), 0);
  }
  assert_int_equal(closedir(dir), 0);
}

static int load_texts(void **state) {
  (void)state;
  add_folder(VOW_VECTORS_DIR "/valid");
  add_folder(VOW_VECTORS_DIR "/invalid");
  const char *text = getenv("VOW_JSON_ROUNDS");
  if (text != NULL) rounds = strtol(text, NULL, 10);
  return text_count > 100 ? 0 : -1;
}

static int free_texts(void **state) {
  (void)state;
  for (size_t i = 0; i < text_count; i++) vow_buf_fini(&texts[i]);
  return 0;
}

/* Both read each vector alike. */
static void vectors_alike(void **state) {
  unsigned taken = 0;

  (void)state;
  for (size_t i = 0; i < text_count; i++) judge(vow_buf_text(&texts[i]), texts[i].bytes, &taken);
  assert_true(taken > 50);
}

static const char *const PIECES[] = {
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\"a\"",
    "\"b\":",
    "0",
    "1",
    "-",
    "-0",
    "1.5",
    "1e5",
    "2E-3",
    "1e999",
    "01",
    "12345678901234567890",
    "true",
    "false",
    "null",
    "nul",
    "\\u0041",
    "\\u0000",
    "\\ud83d\\ude00",
    "\\ud83d",
    "\\n",
    "\\x",
    " ",
    "\n",
    "\t",
    "\x7f",
    "\xc3\xa9",
    "\xc3",
    "\xed\xa0\x80",
    "\xf0\x9f\x98\x80",
    "\xff",
    "/",
    "[]",
    "{}",
    "\"\"",
    "{\"a\":1}",
    "\x01",
    ".",
    "e",
    "+",
};

static const char *a_piece(void) {
  return PIECES[pick(sizeof PIECES / sizeof PIECES[0])];
}

/* Both read texts made of the pieces of JSON in any order alike. */
static void pieces_alike(void **state) {
  unsigned taken = 0;
  struct vow_buf text;

  (void)state;
  vow_buf_init(&text, 1 << 16);
  for (long round = 0; round < rounds; round++) {
    vow_buf_reset(&text);
    for (uint32_t i = 1 + pick(8); i > 0; i--) vow_buf_puts(&text, a_piece());
    judge(text.data, text.bytes, &taken);
  }
  vow_buf_fini(&text);
  assert_true(taken > rounds / 100);
}

/* Puts one to three pieces, single bytes or cuts into a copy of a vector. */
static void mutate(const struct vow_buf *from, struct vow_buf *to) {
  uint32_t at = pick((uint32_t)from->bytes + 1);
  uint32_t skipped = pick(3) == 0 ? pick(4) : 0;

  vow_buf_reset(to);
  vow_buf_append(to, vow_buf_text(from), at);
  if (pick(3) > 0) {
    vow_buf_puts(to, a_piece());
  } else {
    char byte = (char)(1 + pick(255));
    vow_buf_append(to, &byte, 1);
  }
  if (at + skipped < from->bytes) {
    vow_buf_append(to, from->data + at + skipped, from->bytes - at - skipped);
  }
}

/* Both read vectors with something put into them alike. */
static void mutants_alike(void **state) {
  struct vow_buf a, b;
  unsigned taken = 0;

  (void)state;
  vow_buf_init(&a, 1 << 20);
  vow_buf_init(&b, 1 << 20);
  for (long round = 0; round < rounds; round++) {
    mutate(&texts[pick((uint32_t)text_count)], &a);
    judge(a.data, a.bytes, &taken);
    mutate(&a, &b);
    judge(b.data, b.bytes, &taken);
  }
  vow_buf_fini(&a);
  vow_buf_fini(&b);
  assert_true(taken > rounds / 10);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(vectors_alike),
      cmocka_unit_test(pieces_alike),
      cmocka_unit_test(mutants_alike),
  };
  return cmocka_run_group_tests(tests, load_texts, free_texts);
}
