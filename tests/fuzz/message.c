/*
 * What coordinator and participant say to each other: messages and answers, alone and in batches,
 * inquiries, problems. The first byte says what kind of body the rest is. What is taken is written
 * and taken again as the same; what is refused is refused as its kind is, with a sentence.
 */
#include <string.h>

#include "codec_kinds.h"
#include "fuzz.h"

#define TEXT_BYTES_MAX ((size_t)1 << 20)

/* An answer has no limit but one: who asks for outcomes has room for as many as it asked for. */
static bool is_refusal(const struct codec_kind *kind, enum vow_error error) {
  if (error == VOW_E_LIMIT_EXCEEDED && strcmp(kind->name, "inquiry-reply") == 0) return true;
  if (kind->is_answer) return error == VOW_E_PROTOCOL;
  return error == VOW_E_INVALID_JSON || error == VOW_E_INVALID_REQUEST ||
         error == VOW_E_LIMIT_EXCEEDED;
}

/* A problem is read for its error; its words are cut, and no words are no matter. */
static void read_problem(const char *text, size_t bytes) {
  char detail[32] = "";
  struct vow_jsonw w;
  struct vow_buf again;

  enum vow_error error = vow_problem_decode(text, bytes, detail, sizeof detail);
  must(error != VOW_OK && strlen(detail) < sizeof detail);
  if (error == VOW_E_PROTOCOL) return;
  vow_buf_init(&again, TEXT_BYTES_MAX);
  vow_jsonw_init(&w, &again);
  vow_problem_begin(&w, error, detail);
  vow_jsonw_end(&w);
  must(vow_problem_decode(vow_buf_text(&again), again.bytes, NULL, 0) == error);
  vow_buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  char why[VOW_JSON_WHY_BYTES] = "";
  struct vow_buf once, twice;

  if (bytes == 0) return 0;
  const struct codec_kind *kind = &codec_kinds[*data % CODEC_KIND_COUNT];
  const char *text = (const char *)data + 1;
  if (strcmp(kind->name, "problem") == 0) {
    read_problem(text, bytes - 1);
    return 0;
  }
  vow_buf_init(&once, TEXT_BYTES_MAX);
  vow_buf_init(&twice, TEXT_BYTES_MAX);
  enum vow_error error = kind->run(text, bytes - 1, &once, why);
  if (error == VOW_OK) {
    must(once.error == VOW_OK);
    must(kind->run(vow_buf_text(&once), once.bytes, &twice, why) == VOW_OK);
    must(once.bytes == twice.bytes && strcmp(vow_buf_text(&once), vow_buf_text(&twice)) == 0);
  } else {
    must(is_refusal(kind, error) && strlen(why) > 10);
  }
  vow_buf_fini(&once);
  vow_buf_fini(&twice);
  return 0;
}
