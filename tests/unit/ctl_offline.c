/*
 * The commands on the log of a dead daemon, run in this process on logs made for the purpose: what
 * they print, in which order, and that they leave the file as it was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "args.h"
#include "json.h"
#include "log_fixture.h"

#define WORDS_MAX  16
#define TEXT_BYTES (4U << 20)

struct world {
  struct fixture log;
  char *out; /* what the last command printed; owned */
  char *err;
};

static int setup(void **state) {
  struct world *world = calloc(1, sizeof *world);
  world->out = calloc(1, TEXT_BYTES);
  world->err = calloc(1, TEXT_BYTES);
  fixture_setup(&world->log);
  *state = world;
  return 0;
}

static int teardown(void **state) {
  struct world *world = *state;
  fixture_teardown(&world->log);
  free(world->out);
  free(world->err);
  free(world);
  return 0;
}

/* ---- running a command ---- */

struct capture {
  int target, saved, file;
};

static void begin(struct capture *capture, FILE *stream) {
  fflush(stream);
  capture->target = fileno(stream);
  capture->saved = dup(capture->target);
  capture->file = memfd_create("capture", 0);
  dup2(capture->file, capture->target);
}

static void end(struct capture *capture, FILE *stream, char *text) {
  fflush(stream);
  dup2(capture->saved, capture->target);
  ssize_t bytes = pread(capture->file, text, TEXT_BYTES - 1, 0);
  text[bytes < 0 ? 0 : bytes] = '\0';
  close(capture->saved);
  close(capture->file);
}

/* Runs "vowctl WORDS --log the-log". */
static enum ctl_exit run(struct world *world, const char *const *words) {
  static char copies[WORDS_MAX + 4][160];
  char *argv[WORDS_MAX + 4];
  struct ctl_args args;
  struct capture out, err;
  int argc = 0;
  snprintf(copies[argc++], sizeof copies[0], "vowctl");
  for (; *words != NULL; words++) snprintf(copies[argc++], sizeof copies[0], "%s", *words);
  snprintf(copies[argc++], sizeof copies[0], "--log");
  snprintf(copies[argc++], sizeof copies[0], "%s", world->log.path);
  for (int i = 0; i < argc; i++) argv[i] = copies[i];
  argv[argc] = NULL;
  begin(&out, stdout);
  begin(&err, stderr);
  enum ctl_exit code = ctl_args_parse(argc, argv, &args);
  if (code == CTL_EXIT_OK) code = args.command->run(&args);
  end(&out, stdout, world->out);
  end(&err, stderr, world->err);
  return code;
}

#define RUN(world, ...) run(world, (const char *const[]){__VA_ARGS__, NULL})

static size_t count_lines(const char *text) {
  size_t lines = 0;
  for (; *text != '\0'; text++) lines += *text == '\n';
  return lines;
}

/* ---- logs ---- */

static void open_txn(struct world *world, uint32_t n, enum vow_txn_state state) {
  append_nth(&world->log, n, state, 0, false);
}

static void ended_txn(struct world *world, uint32_t n, enum vow_txn_state state) {
  append_nth(&world->log, n, state, fixture_now_ms() - 1000, false);
}

/* 600 transactions, every third of them open: more than a page of either kind. */
static void make_mixed_log(struct world *world) {
  fixture_open(&world->log);
  for (uint32_t n = 1; n <= 600; n++) {
    if (n % 3 == 0) {
      open_txn(world, n, n % 2 == 0 ? VOW_TXN_COMMITTING : VOW_TXN_PREPARING);
    } else {
      ended_txn(world, n, n % 2 == 0 ? VOW_TXN_COMMITTED : VOW_TXN_ABORTED);
    }
  }
  fixture_close(&world->log);
}

static void one_ended_log(struct world *world) {
  fixture_open(&world->log);
  ended_txn(world, 1, VOW_TXN_COMMITTED);
  fixture_close(&world->log);
}

/* ---- tests ---- */

static void a_list_mixes_open_and_ended_ones_newest_first(void **state) {
  struct world *world = *state;
  make_mixed_log(world);
  assert_int_equal(RUN(world, "list", "--all"), CTL_EXIT_OK);
  assert_int_equal(count_lines(world->out), 601);
  const char *line = strchr(world->out, '\n') + 1;
  for (uint32_t n = 600; n >= 1; n--) {
    char id[VOW_ID_TEXT_BYTES];
    vow_id_format(nth_id(n), id);
    if (strncmp(line, id, strlen(id)) != 0) fail_msg("transaction %u is not where it belongs", n);
    line = strchr(line, '\n') + 1;
  }
}

static void a_list_stops_at_its_limit(void **state) {
  struct world *world = *state;
  make_mixed_log(world);
  assert_int_equal(RUN(world, "list"), CTL_EXIT_OK);
  assert_int_equal(count_lines(world->out), 51);
  assert_int_equal(RUN(world, "list", "--limit", "1"), CTL_EXIT_OK);
  assert_int_equal(count_lines(world->out), 2);
  assert_int_equal(RUN(world, "list", "--limit", "333"), CTL_EXIT_OK);
  assert_int_equal(count_lines(world->out), 334);
}

static void filters_concern_open_and_ended_ones(void **state) {
  struct world *world = *state;
  make_mixed_log(world);
  assert_int_equal(RUN(world, "list", "--all", "--state", "committing"), CTL_EXIT_OK);
  assert_int_equal(count_lines(world->out), 101);
  assert_int_equal(RUN(world, "list", "--all", "--state", "aborted"), CTL_EXIT_OK);
  assert_int_equal(count_lines(world->out), 201);
  assert_int_equal(RUN(world, "list", "--all", "--participant", "bank-b"), CTL_EXIT_OK);
  assert_int_equal(count_lines(world->out), 601);
  assert_int_equal(RUN(world, "list", "--participant", "http://127.0.0.1:7001/bank-a"),
                   CTL_EXIT_OK);
  assert_int_equal(count_lines(world->out), 51);
  assert_int_equal(RUN(world, "list", "--participant", "nobody"), CTL_EXIT_OK);
  assert_string_equal(world->out, "no transactions\n");
  assert_int_equal(RUN(world, "list", "--heuristic"), CTL_EXIT_OK);
  assert_string_equal(world->out, "no transactions\n");
  /* The open ones are years old, the others ended a second ago. */
  assert_int_equal(RUN(world, "list", "--all", "--older-than", "1h"), CTL_EXIT_OK);
  assert_int_equal(count_lines(world->out), 201);
}

static void json_is_one_document(void **state) {
  struct world *world = *state;
  char why[VOW_JSON_WHY_BYTES];
  struct vow_json *json;
  struct vow_json_object o;
  const struct vow_json_node *items = NULL;
  make_mixed_log(world);
  assert_int_equal(RUN(world, "list", "--all", "--json"), CTL_EXIT_OK);
  assert_int_equal(vow_json_parse(&json, world->out, strlen(world->out), why), VOW_OK);
  vow_json_object_begin(&o, vow_json_root(json), "");
  vow_json_get_array(&o, "transactions", VOW_JSON_REQUIRED, 1000, &items);
  assert_int_equal(vow_json_object_end(&o), VOW_OK);
  assert_int_equal(vow_json_array_length(items), 600);
  vow_json_free(json);
}

static void an_export_has_a_document_a_line_with_history(void **state) {
  struct world *world = *state;
  make_mixed_log(world);
  assert_int_equal(RUN(world, "export"), CTL_EXIT_OK);
  assert_int_equal(count_lines(world->out), 600);
  for (char *line = strtok(world->out, "\n"); line != NULL; line = strtok(NULL, "\n")) {
    char why[VOW_JSON_WHY_BYTES];
    struct vow_json *json;
    assert_int_equal(vow_json_parse(&json, line, strlen(line), why), VOW_OK);
    assert_non_null(strstr(line, "\"history\":[{"));
    vow_json_free(json);
  }
  assert_int_equal(RUN(world, "export", "--limit", "7", "--state", "aborted"), CTL_EXIT_OK);
  assert_int_equal(count_lines(world->out), 7);
}

static void one_transaction_is_shown_with_branches_and_history(void **state) {
  struct world *world = *state;
  char id[VOW_ID_TEXT_BYTES];
  one_ended_log(world);
  vow_id_format(nth_id(1), id);
  assert_int_equal(RUN(world, "show", id), CTL_EXIT_OK);
  assert_non_null(strstr(world->out, id));
  assert_non_null(strstr(world->out, "bank-b"));
  assert_non_null(strstr(world->out, "commit-asked"));
  vow_id_format(nth_id(2), id);
  assert_int_equal(RUN(world, "show", id), CTL_EXIT_NOT_FOUND);
  assert_non_null(strstr(world->err, id));
}

static void a_log_at_rest_is_sound_and_needs_nothing(void **state) {
  struct world *world = *state;
  one_ended_log(world);
  assert_int_equal(RUN(world, "check"), CTL_EXIT_OK);
  assert_non_null(strstr(world->out, "sound; 1 transactions checked"));
  assert_string_equal(world->err, "");
  assert_int_equal(RUN(world, "recover", "--dry-run"), CTL_EXIT_OK);
  /* Nothing to do is done without asking anybody. */
  assert_int_equal(RUN(world, "recover", "--yes"), CTL_EXIT_OK);
  assert_non_null(strstr(world->out, "0 of 0 transactions ended"));
}

static void what_is_in_doubt_is_listed_with_its_plan(void **state) {
  struct world *world = *state;
  make_mixed_log(world);
  assert_int_equal(RUN(world, "check"), CTL_EXIT_ATTENTION);
  assert_non_null(strstr(world->out, "200 in doubt, 0 wait for an operator, 400 ended"));
  assert_non_null(strstr(world->out, "push its commit"));
  assert_non_null(strstr(world->out, "abort it"));
  assert_non_null(strstr(world->err, "transactions are in doubt: 200"));
  assert_int_equal(RUN(world, "recover", "--dry-run"), CTL_EXIT_ATTENTION);
  assert_int_equal(count_lines(world->out), 200 * 3 + 2);
  assert_non_null(strstr(world->out, "http://127.0.0.1:7001/bank-a/commit"));
  assert_non_null(strstr(world->out, "http://127.0.0.1:7001/bank-b/abort"));
}

static void a_log_in_use_is_refused(void **state) {
  static const char *const commands[] = {"list", "check", "export"};
  enum { COUNT = sizeof commands / sizeof commands[0] };
  struct world *world = *state;
  pid_t children[COUNT];
  int go[2];
  char byte = 0;
  assert_int_equal(pipe(go), 0);
  fflush(stdout);
  /* From other processes: a process does not keep itself out. They begin before the log has a
   * thread, whose locks they would inherit, and wait until it is open. */
  for (size_t i = 0; i < COUNT; i++) {
    children[i] = fork();
    if (children[i] == 0) _exit(read(go[0], &byte, 1) == 1 ? (int)RUN(world, commands[i]) : 99);
  }
  fixture_open(&world->log);
  assert_int_equal(write(go[1], "012", COUNT), COUNT);
  close(go[0]);
  close(go[1]);
  for (size_t i = 0; i < COUNT; i++) {
    int status = 0;
    assert_int_equal(waitpid(children[i], &status, 0), children[i]);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), CTL_EXIT_LOG_LOCKED);
  }
}

/* Changes one byte of the records, which their checksums find. */
static void damage(const char *path, const char *needle, char by) {
  FILE *file = fopen(path, "r+");
  char *text = malloc(TEXT_BYTES);
  assert_non_null(file);
  assert_non_null(text);
  size_t bytes = fread(text, 1, TEXT_BYTES, file);
  char *at = memmem(text, bytes, needle, strlen(needle));
  assert_non_null(at);
  fseek(file, at - text, SEEK_SET);
  fputc(by, file);
  fclose(file);
  free(text);
}

static void a_damaged_row_is_found_named_and_stepped_over(void **state) {
  struct world *world = *state;
  char id[VOW_ID_TEXT_BYTES];
  fixture_open(&world->log);
  for (uint32_t n = 1; n <= 5; n++) open_txn(world, n, VOW_TXN_COMMITTING);
  ended_txn(world, 6, VOW_TXN_COMMITTED);
  fixture_close(&world->log);
  vow_id_format(nth_id(3), id);
  damage(world->log.path, "[[1700000000003,", '{');
  assert_int_equal(RUN(world, "check"), CTL_EXIT_LOG_DAMAGED);
  assert_non_null(strstr(world->err, id));
  assert_non_null(strstr(world->out, "1 of 6 transactions are bad"));
  assert_null(strstr(world->err, "vowctl check")); /* that is what was done just now */
  assert_int_equal(count_lines(strstr(world->out, "RECOVER WOULD")), 1 + 4);
  assert_int_equal(RUN(world, "check", "--json"), CTL_EXIT_LOG_DAMAGED);
  assert_non_null(strstr(world->out, "\"sound\":false"));
  assert_non_null(strstr(world->out, "\"damaged\":[{\"id\":"));
  assert_int_equal(RUN(world, "list"), CTL_EXIT_LOG_DAMAGED);
  assert_int_equal(count_lines(world->out), 1 + 5);
  assert_int_equal(RUN(world, "recover", "--dry-run"), CTL_EXIT_LOG_DAMAGED);
  assert_int_equal(RUN(world, "recover", "--yes"), CTL_EXIT_LOG_DAMAGED);
}

static void what_is_no_log_is_told_apart(void **state) {
  struct world *world = *state;
  assert_int_equal(RUN(world, "check"), CTL_EXIT_FAILED); /* there is no file yet */
  assert_non_null(strstr(world->err, "No such file"));
  FILE *file = fopen(world->log.path, "w");
  fputs("this is a text, and not a log at all", file);
  fclose(file);
  assert_int_equal(RUN(world, "check"), CTL_EXIT_LOG_DAMAGED);
  assert_int_equal(RUN(world, "recover", "--yes"), CTL_EXIT_LOG_DAMAGED);
}

static char *whole_file(const char *path, size_t *bytes) {
  FILE *file = fopen(path, "r");
  char *text = malloc(TEXT_BYTES);
  assert_non_null(file);
  *bytes = fread(text, 1, TEXT_BYTES, file);
  fclose(file);
  return text;
}

static void looking_leaves_the_log_as_it_was(void **state) {
  struct world *world = *state;
  size_t before_bytes, after_bytes;
  make_mixed_log(world);
  char *before = whole_file(world->log.path, &before_bytes);
  RUN(world, "list", "--all");
  RUN(world, "check");
  RUN(world, "export");
  RUN(world, "recover", "--dry-run");
  char *after = whole_file(world->log.path, &after_bytes);
  assert_int_equal(before_bytes, after_bytes);
  assert_memory_equal(before, after, before_bytes);
  free(before);
  free(after);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_list_mixes_open_and_ended_ones_newest_first),
      TEST(a_list_stops_at_its_limit),
      TEST(filters_concern_open_and_ended_ones),
      TEST(json_is_one_document),
      TEST(an_export_has_a_document_a_line_with_history),
      TEST(one_transaction_is_shown_with_branches_and_history),
      TEST(a_log_at_rest_is_sound_and_needs_nothing),
      TEST(what_is_in_doubt_is_listed_with_its_plan),
      TEST(a_log_in_use_is_refused),
      TEST(a_damaged_row_is_found_named_and_stepped_over),
      TEST(what_is_no_log_is_told_apart),
      TEST(looking_leaves_the_log_as_it_was),
  };
  unsetenv("VOW_URL");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
