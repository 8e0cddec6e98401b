/*
 * Runs the codec over every file of proto/vectors (see its README): the valid ones are decoded,
 * written and read back without a change, the invalid ones are refused with a sentence.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "batch.h"

#define IDS_MAX 16

/* Decodes a body of one kind and, if it is valid, writes it anew. */
typedef enum vow_error (*run_fn)(const char *text, size_t bytes, struct vow_buf *again, char *why);

static enum vow_error run_message(enum vow_message_type type, const char *text, size_t bytes,
                                  struct vow_buf *again, char *why) {
  struct vow_json *document = NULL;
  struct vow_message message;

  enum vow_error error = vow_message_decode(type, text, bytes, &message, &document, why);
  if (error != VOW_OK) return error;
  assert_int_equal(message.type, type);
  vow_message_encode(&message, again);
  vow_json_free(document);
  return VOW_OK;
}

static enum vow_error run_reply(enum vow_message_type type, const char *text, size_t bytes,
                                struct vow_buf *again, char *why) {
  struct vow_json *document = NULL;
  struct vow_message_reply reply;

  enum vow_error error = vow_message_reply_decode(type, text, bytes, &reply, &document, why);
  if (error != VOW_OK) return error;
  vow_message_reply_encode(type, &reply, again);
  vow_json_free(document);
  return VOW_OK;
}

#define RUN_MESSAGE(name, type)                                                                   \
  static enum vow_error run_##name(const char *text, size_t bytes, struct vow_buf *again,         \
                                   char *why) {                                                   \
    return run_message(type, text, bytes, again, why);                                            \
  }                                                                                               \
  static enum vow_error run_##name##_reply(const char *text, size_t bytes, struct vow_buf *again, \
                                           char *why) {                                           \
    return run_reply(type, text, bytes, again, why);                                              \
  }
RUN_MESSAGE(prepare, VOW_MESSAGE_PREPARE)
RUN_MESSAGE(commit, VOW_MESSAGE_COMMIT)
RUN_MESSAGE(abort, VOW_MESSAGE_ABORT)
RUN_MESSAGE(forget, VOW_MESSAGE_FORGET)

/* All messages of a batch, which are read one by one. */
static enum vow_error run_batch(const char *text, size_t bytes, struct vow_buf *again, char *why) {
  static struct vow_message messages[VOW_BATCH_MESSAGES_MAX];
  const struct vow_json_node *array = NULL;
  struct vow_json *document = NULL;
  struct vow_jsonw w;

  enum vow_error error = vow_batch_decode(text, bytes, &document, &array, why);
  if (error != VOW_OK) return error;
  size_t count = vow_json_array_length(array);
  vow_batch_begin(&w, again);
  for (size_t i = 0; i < count && error == VOW_OK; i++) {
    error = vow_batch_message_read(document, array, i, &messages[i], why);
  }
  for (size_t i = 0; i < count && error == VOW_OK; i++) {
    vow_batch_message_write(&w, &messages[i], NULL);
  }
  if (error == VOW_OK) vow_batch_end(&w);
  vow_json_free(document);
  return error;
}

/* How many replies there are, for a coordinator that had sent as many messages. */
static size_t count_replies(const char *text, size_t bytes) {
  const struct vow_json_node *array = NULL;
  char why[VOW_JSON_WHY_BYTES];
  struct vow_json_object o;
  struct vow_json *document = NULL;

  if (vow_json_parse(&document, text, bytes, why) != VOW_OK) return 1;
  vow_json_object_begin(&o, vow_json_root(document), NULL);
  bool found = vow_json_get_array(&o, "replies", VOW_JSON_REQUIRED, SIZE_MAX, &array);
  size_t count = found ? vow_json_array_length(array) : 1;
  vow_json_free(document);
  return count;
}

static enum vow_error run_batch_reply(const char *text, size_t bytes, struct vow_buf *again,
                                      char *why) {
  const struct vow_json_node *array = NULL;
  struct vow_json *document = NULL;
  struct vow_jsonw w;
  size_t count = count_replies(text, bytes);

  enum vow_error error = vow_batch_replies_decode(text, bytes, count, &document, &array, why);
  if (error != VOW_OK) return error;
  vow_batch_replies_begin(&w, again);
  for (size_t i = 0; i < count && error == VOW_OK; i++) {
    struct vow_batch_reply reply;
    error = vow_batch_reply_read(array, i, VOW_MESSAGE_PREPARE, &reply, why);
    if (error == VOW_OK && reply.status == 200) {
      vow_batch_reply_write(&w, VOW_MESSAGE_PREPARE, &reply.reply);
    } else if (error == VOW_OK) {
      vow_batch_problem_write(&w, reply.problem, reply.detail);
    }
  }
  if (error == VOW_OK) vow_batch_end(&w);
  vow_json_free(document);
  return error;
}

static enum vow_error run_inquiry(const char *text, size_t bytes, struct vow_buf *again,
                                  char *why) {
  struct vow_id ids[IDS_MAX];
  size_t count = 0;

  enum vow_error error = vow_inquiry_request_decode(text, bytes, ids, IDS_MAX, &count, why);
  if (error == VOW_OK) vow_inquiry_request_encode(ids, count, again);
  return error;
}

static enum vow_error run_inquiry_reply(const char *text, size_t bytes, struct vow_buf *again,
                                        char *why) {
  struct vow_inquiry_result results[IDS_MAX];
  size_t count = 0;

  enum vow_error error = vow_inquiry_reply_decode(text, bytes, results, IDS_MAX, &count, why);
  if (error == VOW_OK) vow_inquiry_reply_encode(results, count, again);
  return error;
}

static enum vow_error run_outcome(const char *text, size_t bytes, struct vow_buf *again,
                                  char *why) {
  struct vow_inquiry_result result;
  struct vow_jsonw w;

  enum vow_error error = vow_inquiry_result_decode(text, bytes, &result, why);
  if (error != VOW_OK) return error;
  vow_jsonw_init(&w, again);
  vow_inquiry_result_write(&w, &result);
  return VOW_OK;
}

static enum vow_error run_problem(const char *text, size_t bytes, struct vow_buf *again,
                                  char *why) {
  struct vow_jsonw w;
  char detail[200] = "";

  enum vow_error error = vow_problem_decode(text, bytes, detail, sizeof detail);
  if (error == VOW_E_PROTOCOL) {
    (void)strcpy(why, "a problem's decoder gives no sentence");
    assert_string_equal(detail, "");
    return error;
  }
  assert_string_not_equal(detail, "");
  vow_jsonw_init(&w, again);
  vow_problem_begin(&w, error, detail);
  vow_jsonw_end(&w);
  return VOW_OK;
}

static const struct kind {
  const char *name;
  run_fn run;
  bool is_answer; /* refused as PROTOCOL */
} KINDS[] = {
    {"prepare", run_prepare, false},
    {"commit", run_commit, false},
    {"abort", run_abort, false},
    {"forget", run_forget, false},
    {"prepare-reply", run_prepare_reply, true},
    {"commit-reply", run_commit_reply, true},
    {"abort-reply", run_abort_reply, true},
    {"forget-reply", run_forget_reply, true},
    {"batch", run_batch, false},
    {"batch-reply", run_batch_reply, true},
    {"inquiry", run_inquiry, false},
    {"inquiry-reply", run_inquiry_reply, true},
    {"outcome", run_outcome, true},
    {"problem", run_problem, true},
};
#define KIND_COUNT (sizeof KINDS / sizeof KINDS[0])

static const struct kind *kind_of(const char *file) {
  size_t bytes = strcspn(file, ".");

  for (size_t i = 0; i < KIND_COUNT; i++) {
    if (strlen(KINDS[i].name) == bytes && memcmp(KINDS[i].name, file, bytes) == 0) return &KINDS[i];
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

static void check_valid(const struct kind *kind, const char *file, const struct vow_buf *text) {
  struct vow_buf once, twice;
  char why[VOW_JSON_WHY_BYTES] = "";

  vow_buf_init(&once, 1 << 20);
  vow_buf_init(&twice, 1 << 20);
  if (kind->run(vow_buf_text(text), text->bytes, &once, why) != VOW_OK)
    fail_msg("%s: %s", file, why);
  if (kind->run(once.data, once.bytes, &twice, why) != VOW_OK)
    fail_msg("%s, written: %s", file, why);
  assert_string_equal(once.data, twice.data);
  vow_buf_fini(&once);
  vow_buf_fini(&twice);
}

static void check_invalid(const struct kind *kind, const char *file, const struct vow_buf *text) {
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
static void check_folder(const char *folder,
                         void (*check)(const struct kind *, const char *, const struct vow_buf *)) {
  unsigned seen[KIND_COUNT] = {0};
  char path[1024];
  const struct dirent *entry;

  (void)snprintf(path, sizeof path, "%s/%s", VOW_VECTORS_DIR, folder);
  DIR *dir = opendir(path);
  assert_non_null(dir);
  while ((entry = readdir(dir)) != NULL) {
    struct vow_buf text;
    if (entry->d_name[0] == '.') continue;
    const struct kind *kind = kind_of(entry->d_name);
    vow_buf_init(&text, 1 << 20);
    read_vector(folder, entry->d_name, &text);
    check(kind, entry->d_name, &text);
    vow_buf_fini(&text);
    seen[kind - KINDS]++;
  }
  assert_int_equal(closedir(dir), 0);
  for (size_t i = 0; i < KIND_COUNT; i++) {
    if (seen[i] == 0) fail_msg("%s has no %s", path, KINDS[i].name);
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
