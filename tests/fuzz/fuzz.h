/*
 * What the targets share. A target is one function over the bytes of an input; it returns where all
 * is as it must be and ends the process where it is not. libFuzzer calls it in the build "fuzz",
 * replay.c in all others.
 */
#ifndef VOW_FUZZ_H
#define VOW_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* The oracle: aborts with the place and the condition. Not assert(), whose text would be the same
 * for a defect of the product. */
#define must(condition)                                                          \
  do {                                                                           \
    if (!(condition)) {                                                          \
      fprintf(stderr, "%s:%d: must hold: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                                   \
    }                                                                            \
  } while (0)

/* A part of an input as a text, which the caller frees. */
static inline char *copy_text(const void *data, size_t bytes) {
  char *text = malloc(bytes + 1);
  must(text != NULL);
  memcpy(text, data, bytes);
  text[bytes] = '\0';
  return text;
}

/* The bytes of an input as choices, one after the other; zeros when there are none left. */
struct choices {
  const uint8_t *at;
  size_t left;
};

static inline uint8_t choose_byte(struct choices *c) {
  if (c->left == 0) return 0;
  c->left--;
  return *c->at++;
}

static inline uint32_t choose(struct choices *c, uint32_t below) {
  return choose_byte(c) % below;
}

static inline bool choose_flag(struct choices *c) {
  return (choose_byte(c) & 1) != 0;
}

#endif
