/*
 * The kinds of bodies that proto/vectors has (its README names them), and for each what both the
 * test of the vectors and the fuzzer do with one.
 */
#ifndef VOW_TEST_CODEC_KINDS_H
#define VOW_TEST_CODEC_KINDS_H

#include "batch.h"
#include "known.h"

struct codec_kind {
  const char *name;
  /* Decodes a body and, if it is valid, writes it anew. */
  enum vow_error (*run)(const char *text, size_t bytes, struct vow_buf *again, char *why);
  bool is_answer; /* refused as PROTOCOL */
};

#define CODEC_KIND_COUNT 17
extern const struct codec_kind codec_kinds[CODEC_KIND_COUNT];

#endif
