/*
 * What coordinator and participant say to each other: messages and answers, alone and in batches,
 * inquiries, problems. The first byte says what kind of body the rest is. What is taken is written
 * and taken again as the same, and another reader finds the same in it; what is refused is refused
 * as its kind is, with a sentence.
 */
#include <string.h>

#include "codec_judge.h"
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

/* The words of a problem are cut where there is no room for them. */
static void a_problem_is_cut(const char *text, size_t bytes) {
  char detail[32] = "";
  must(vow_problem_decode(text, bytes, detail, sizeof detail) != VOW_OK);
  must(strlen(detail) < sizeof detail);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  char why[VOW_JSON_WHY_BYTES] = "", complaint[CODEC_JUDGE_COMPLAINT_BYTES] = "";
  struct vow_buf once, twice;

  if (bytes == 0) return 0;
  const struct codec_kind *kind = &codec_kinds[*data % CODEC_KIND_COUNT];
  const char *text = (const char *)data + 1;
  if (strcmp(kind->name, "problem") == 0) a_problem_is_cut(text, bytes - 1);
  vow_buf_init(&once, TEXT_BYTES_MAX);
  vow_buf_init(&twice, TEXT_BYTES_MAX);
  enum vow_error error = kind->run(text, bytes - 1, &once, why);
  if (error == VOW_OK) {
    must(once.error == VOW_OK);
    must(kind->run(vow_buf_text(&once), once.bytes, &twice, why) == VOW_OK);
    must(once.bytes == twice.bytes && strcmp(vow_buf_text(&once), vow_buf_text(&twice)) == 0);
    if (!codec_judge(kind->name, text, bytes - 1, vow_buf_text(&once), complaint)) {
      fprintf(stderr, "%s: %s\n", kind->name, complaint);
      must(!"another reader finds the same");
    }
  } else {
    must(is_refusal(kind, error) && strlen(why) > 10);
  }
  vow_buf_fini(&once);
  vow_buf_fini(&twice);
  return 0;
}
