/*
 * The command line of vowctl: what is taken, what is refused, and what a refusal says.
 */
#include "args.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define ID        "0190f2c4-7a1b-7c3d-8e4f-5a6b7c8d9e0f"
#define WORDS_MAX 16

/* Parses "vowctl" and the words; what it prints to standard error comes back in `said`. */
static enum ctl_exit parse(struct ctl_args *args, char said[2048], const char *const *words) {
  static char copies[WORDS_MAX][160]; /* what is parsed is borrowed */
  char *argv[WORDS_MAX + 2] = {copies[0]};
  int argc = 1;
  strcpy(copies[0], "vowctl");
  for (; words[argc - 1] != NULL; argc++) {
    assert_true(argc < WORDS_MAX);
    snprintf(copies[argc], sizeof copies[argc], "%s", words[argc - 1]);
    argv[argc] = copies[argc];
  }
  int saved = dup(STDERR_FILENO), file = memfd_create("said", 0);
  fflush(stderr);
  dup2(file, STDERR_FILENO);
  enum ctl_exit code = ctl_args_parse(argc, argv, args);
  fflush(stderr);
  dup2(saved, STDERR_FILENO);
  ssize_t bytes = pread(file, said, 2047, 0);
  said[bytes < 0 ? 0 : bytes] = '\0';
  close(saved);
  close(file);
  return code;
}

#define PARSE(args, said, ...) parse(args, said, (const char *const[]){__VA_ARGS__, NULL})

#define ASSERT_REFUSED(text, ...)                                        \
  do {                                                                   \
    struct ctl_args args_ = {0};                                         \
    char said_[2048];                                                    \
    assert_int_equal(PARSE(&args_, said_, __VA_ARGS__), CTL_EXIT_USAGE); \
    if (strstr(said_, text) == NULL) fail_msg("not in: %s", said_);      \
    assert_null(args_.command);                                          \
  } while (0)

static void options_stand_before_and_behind_the_command(void **state) {
  struct ctl_args args;
  char said[2048];
  (void)state;
  enum ctl_exit code = PARSE(&args, said, "--url", "http://h:1", "list", "--state=aborted",
                             "--older-than", "1h30m", "--json");
  assert_int_equal(code, CTL_EXIT_OK);
  assert_string_equal(args.command->name, "list");
  assert_true(ctl_given(&args, CTL_OPT_JSON));
  assert_false(ctl_given(&args, CTL_OPT_ALL));
  assert_int_equal(args.number[CTL_OPT_OLDER_THAN], 5400000);
  assert_int_equal(args.number[CTL_OPT_LIMIT], 50); /* not given: from the table */
  assert_int_equal(args.number[CTL_OPT_WAIT], 60000);
  assert_string_equal(said, "");
}

static void an_operand_may_stand_among_the_options(void **state) {
  struct ctl_args args;
  char said[2048];
  (void)state;
  enum ctl_exit code = PARSE(&args, said, "resolve", "--outcome", "committed", ID, "--reason",
                             "booked by hand", "--branch", "2");
  assert_int_equal(code, CTL_EXIT_OK);
  assert_int_equal(args.number[CTL_OPT_BRANCH], 2);
  assert_int_equal(args.id.bytes[15], 0x0f);
}

static void both_timeouts_have_one_name(void **state) {
  struct ctl_args args;
  char said[2048];
  (void)state;
  assert_int_equal(PARSE(&args, said, "recover", "--log", "f", "--timeout", "10m"), CTL_EXIT_OK);
  assert_int_equal(args.number[CTL_OPT_TIMEOUT], 600000);
  assert_int_equal(PARSE(&args, said, "status", "--timeout", "2s"), CTL_EXIT_OK);
  assert_int_equal(args.number[CTL_OPT_WAIT], 2000);
}

static void the_environment_stands_between_flag_and_default(void **state) {
  struct ctl_args args;
  char said[2048];
  (void)state;
  setenv("VOW_URL", "http://from-environment:1", 1);
  assert_int_equal(PARSE(&args, said, "status"), CTL_EXIT_OK);
  assert_string_equal(args.text[CTL_OPT_URL], "http://from-environment:1");
  assert_false(ctl_given(&args, CTL_OPT_URL));
  assert_int_equal(PARSE(&args, said, "status", "--url", "http://flag:2"), CTL_EXIT_OK);
  assert_string_equal(args.text[CTL_OPT_URL], "http://flag:2");
  setenv("VOW_URL", "", 1);
  assert_int_equal(PARSE(&args, said, "status"), CTL_EXIT_OK);
  assert_string_equal(args.text[CTL_OPT_URL], "http://127.0.0.1:7800");
  setenv("VOW_URL", "localhost", 1);
  ASSERT_REFUSED("VOW_URL \"localhost\"", "status");
  unsetenv("VOW_URL");
}

static void help_and_version_win_over_what_else_is_wrong(void **state) {
  struct ctl_args args;
  char said[2048];
  (void)state;
  assert_int_equal(PARSE(&args, said, "--help"), CTL_EXIT_OK);
  assert_string_equal(args.command->name, "help");
  assert_null(args.operand);
  assert_int_equal(PARSE(&args, said, "resolve", "-h"), CTL_EXIT_OK);
  assert_string_equal(args.command->name, "help");
  assert_string_equal(args.operand, "resolve");
  assert_int_equal(PARSE(&args, said, "list", "-V"), CTL_EXIT_OK);
  assert_null(args.command);
  assert_int_equal(PARSE(&args, said, "list", "--json", "-hV"), CTL_EXIT_OK);
  assert_null(args.command);
}

static void unknown_words_name_themselves_and_the_nearest(void **state) {
  (void)state;
  ASSERT_REFUSED("\"lits\" is not a command; did you mean list?", "lits");
  ASSERT_REFUSED("\"frobnicate\" is not a command.", "frobnicate");
  ASSERT_REFUSED("--stat is not an option of list; did you mean --state?", "list", "--stat=x");
  ASSERT_REFUSED("--colour is not an option of list.", "list", "--colour");
  ASSERT_REFUSED("-x is not an option of list.", "list", "-x");
  ASSERT_REFUSED("--jsno is not an option; did you mean --json?", "--jsno", "list");
  ASSERT_REFUSED("is not an option", "list",
                 "--a-name-that-is-longer-than-any-that-there-could-be");
}

static void names_of_options_are_not_cut_short(void **state) {
  (void)state;
  ASSERT_REFUSED("--ye is not an option of abort; did you mean --yes?", "abort", ID, "--ye");
  ASSERT_REFUSED("--older is not an option of list; did you mean --older-than?", "list", "--older",
                 "5m");
}

static void an_option_of_another_command_is_refused(void **state) {
  (void)state;
  ASSERT_REFUSED("--yes is not an option of list", "list", "--yes");
  ASSERT_REFUSED("--url is not an option of check", "--url", "http://h", "check", "--log", "f");
}

static void values_are_checked_before_anything_happens(void **state) {
  (void)state;
  ASSERT_REFUSED("--limit must be a number from 1 to", "list", "--limit", "0");
  ASSERT_REFUSED("--older-than must be a duration", "list", "--older-than", "5");
  ASSERT_REFUSED("--interval must be a duration from 50ms to 1h, not \"1ms\"", "watch",
                 "--interval", "1ms");
  ASSERT_REFUSED("--state must be active, preparing, committing, committed, aborting or aborted",
                 "list", "--state", "done");
  ASSERT_REFUSED("--url \"ftp://h\" cannot be used", "status", "--url", "ftp://h");
  ASSERT_REFUSED("--participant must not be empty", "list", "--participant", "");
  ASSERT_REFUSED("--limit needs a value: --limit N", "list", "--limit");
  ASSERT_REFUSED("--json takes no value", "list", "--json=yes");
  ASSERT_REFUSED("--limit is given twice", "list", "--limit", "1", "--limit", "2");
}

static void operands_are_checked(void **state) {
  (void)state;
  ASSERT_REFUSED("\"0190f2c4\" is not a transaction id", "show", "0190f2c4");
  ASSERT_REFUSED("is not a transaction id", "show", ID "0");
  ASSERT_REFUSED("is not a transaction id", "commit", "0190f2c4-7a1b-7c3d-8e4f-5a6b7c8d9e0g");
  ASSERT_REFUSED("show needs ID", "show");
  ASSERT_REFUSED("\"more\" is one word too many", "show", ID, "more");
  ASSERT_REFUSED("\"extra\" is one word too many", "status", "extra");
  ASSERT_REFUSED("PATH must not be empty", "backup", "");
}

static void what_a_command_needs_is_asked_for(void **state) {
  (void)state;
  ASSERT_REFUSED("resolve needs --outcome OUTCOME", "resolve", ID, "--reason", "x");
  ASSERT_REFUSED("forget needs --reason TEXT", "forget", ID);
  ASSERT_REFUSED("check needs --log FILE", "check");
  ASSERT_REFUSED("a command is missing", "--json");
}

static void a_reason_has_a_limit(void **state) {
  char reason[1100];
  char *argv[] = {
      (char[]){"vowctl"}, (char[]){"forget"}, (char[]){ID}, (char[]){"--reason"}, reason, NULL};
  struct ctl_args args;
  (void)state;
  memset(reason, 'r', 1000);
  reason[1000] = '\0';
  assert_int_equal(ctl_args_parse(5, argv, &args), CTL_EXIT_OK);
  reason[1000] = 'r';
  reason[1001] = '\0';
  assert_int_equal(ctl_args_parse(5, argv, &args), CTL_EXIT_USAGE);
}

static void the_table_is_whole(void **state) {
  (void)state;
  for (unsigned i = 0; i < ctl_command_count; i++) {
    const struct ctl_command *command = &ctl_commands[i];
    assert_non_null(command->run);
    assert_non_null(command->summary);
    assert_non_null(command->details);
    assert_non_null(command->examples[0]);
    assert_int_equal(command->required & ~command->options, 0);
    assert_ptr_equal(ctl_command_find(command->name), command);
  }
  for (unsigned id = 0; id < CTL_OPTION_COUNT; id++) {
    const struct ctl_option *option = &ctl_options[id];
    assert_non_null(option->name);
    assert_non_null(option->help);
    assert_int_equal(option->value == NULL, option->kind == CTL_FLAG);
    assert_int_equal(option->choices != NULL, option->kind == CTL_CHOICE);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(options_stand_before_and_behind_the_command),
      cmocka_unit_test(an_operand_may_stand_among_the_options),
      cmocka_unit_test(both_timeouts_have_one_name),
      cmocka_unit_test(the_environment_stands_between_flag_and_default),
      cmocka_unit_test(help_and_version_win_over_what_else_is_wrong),
      cmocka_unit_test(unknown_words_name_themselves_and_the_nearest),
      cmocka_unit_test(names_of_options_are_not_cut_short),
      cmocka_unit_test(an_option_of_another_command_is_refused),
      cmocka_unit_test(values_are_checked_before_anything_happens),
      cmocka_unit_test(operands_are_checked),
      cmocka_unit_test(what_a_command_needs_is_asked_for),
      cmocka_unit_test(a_reason_has_a_limit),
      cmocka_unit_test(the_table_is_whole),
  };
  unsetenv("VOW_URL");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
