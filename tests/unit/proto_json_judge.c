/*
 * Holds the JSON parser against another one: jansson, by people who do not know ours. Both read the
 * same texts, the vectors and what chance makes of them, and must agree on what is JSON and on what
 * it says. The seed is fixed; a disagreement prints its text.
 */
#include <dirent.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "json.h"
#include "json_node.h"

#define ROUNDS 60000

static uint32_t random_state = 20260131;

static uint32_t pick(uint32_t below) {
  random_state = random_state * 1664525 + 1013904223;
  return (uint32_t)((uint64_t)(random_state >> 8) * below >> 24);
}

static bool same(const struct vow_json_node *ours, json_t *theirs);

static bool same_number(const struct vow_json_node *ours, json_t *theirs) {
  if (json_is_integer(theirs)) return strtoll(ours->text, NULL, 10) == json_integer_value(theirs);
  return json_is_real(theirs) && strtod(ours->text, NULL) == json_real_value(theirs);
}

static bool same_items(const struct vow_json_node *ours, json_t *theirs) {
  if (json_array_size(theirs) != ours->count) return false;
  for (uint32_t i = 0; i < ours->count; i++) {
    if (!same(&ours->items[i], json_array_get(theirs, i))) return false;
  }
  return true;
}

static bool same_members(const struct vow_json_node *ours, json_t *theirs) {
  void *iterator = json_object_iter(theirs); /* in the order of the text */

  if (json_object_size(theirs) != ours->count) return false;
  for (uint32_t i = 0; i < ours->count; i++) {
    if (strcmp(ours->items[i].key, json_object_iter_key(iterator)) != 0) return false;
    if (!same(&ours->items[i], json_object_iter_value(iterator))) return false;
    iterator = json_object_iter_next(theirs, iterator);
  }
  return true;
}

static bool same(const struct vow_json_node *ours, json_t *theirs) {
  switch (ours->type) {
    case VOW_JSON_NULL:
      return json_is_null(theirs);
    case VOW_JSON_FALSE:
      return json_is_false(theirs);
    case VOW_JSON_TRUE:
      return json_is_true(theirs);
    case VOW_JSON_NUMBER:
      return same_number(ours, theirs);
    case VOW_JSON_STRING:
      return json_is_string(theirs) && strcmp(ours->text, json_string_value(theirs)) == 0;
    case VOW_JSON_ARRAY:
      return json_is_array(theirs) && same_items(ours, theirs);
    case VOW_JSON_OBJECT:
      return json_is_object(theirs) && same_members(ours, theirs);
  }
  return false;
}

/* What we take and they do not, or the other way round, for a reason that is known. */
static bool may_differ(const char *why, const json_error_t *error) {
  if (strstr(why, "nested deeper")) return true;
  enum json_error_code code = json_error_code(error);
  return code == json_error_numeric_overflow; /* our numbers are texts, of any size */
}

static void judge(const char *text, size_t bytes, unsigned *taken) {
  char why[VOW_JSON_WHY_BYTES] = "";
  struct vow_json *ours = NULL;
  json_error_t error = {0};

  bool valid = vow_json_parse(&ours, text, bytes, why) == VOW_OK;
  json_t *theirs = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
  if (valid != (theirs != NULL) && !may_differ(why, &error)) {
    fail_msg("%.*s\nours: %s\ntheirs: %s", (int)bytes, text, valid ? "valid" : why,
             theirs ? "valid" : error.text);
  }
  if (valid && theirs && !same(vow_json_root(ours), theirs)) {
    fail_msg("read differently: %.*s", (int)bytes, text);
  }
  if (valid) (*taken)++;
  vow_json_free(ours);
  json_decref(theirs);
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
  for (int round = 0; round < ROUNDS; round++) {
    vow_buf_reset(&text);
    for (uint32_t i = 1 + pick(8); i > 0; i--) vow_buf_puts(&text, a_piece());
    judge(text.data, text.bytes, &taken);
  }
  vow_buf_fini(&text);
  assert_true(taken > ROUNDS / 100);
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
  for (int round = 0; round < ROUNDS; round++) {
    mutate(&texts[pick((uint32_t)text_count)], &a);
    judge(a.data, a.bytes, &taken);
    mutate(&a, &b);
    judge(b.data, b.bytes, &taken);
  }
  vow_buf_fini(&a);
  vow_buf_fini(&b);
  assert_true(taken > ROUNDS / 10);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(vectors_alike),
      cmocka_unit_test(pieces_alike),
      cmocka_unit_test(mutants_alike),
  };
  return cmocka_run_group_tests(tests, load_texts, free_texts);
}
