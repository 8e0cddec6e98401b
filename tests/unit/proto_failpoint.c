/* Fail points: what arms them, what they do when they strike, and that a spec which is not
 * understood ends the process with a sentence, since a test that arms nothing proves nothing. */
#include "failpoint.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#ifdef VOW_FAILPOINTS

/* Runs `body` in a child with what it prints to stderr in `said`; its wait status. */
static int in_a_child(void (*body)(const char *), const char *argument, char said[512]) {
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  pid_t child = fork();
  assert_int_not_equal(child, -1);
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    signal(SIGABRT, SIG_DFL);
    body(argument);
    _exit(0);
  }
  close(ends[1]);
  size_t bytes = 0;
  for (ssize_t n; bytes < 511 && (n = read(ends[0], said + bytes, 511 - bytes)) > 0;)
    bytes += (size_t)n;
  said[bytes] = '\0';
  close(ends[0]);
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  return status;
}

static void arm(const char *spec) {
  vow_failpoint_arm(spec);
}

static void what_is_not_understood_ends_the_process(void **state) {
  static const char *const wrong[][2] = {
      {"nowhere=kill", "no fail point has this name"},
      {"decision.sent=explode", "expected name="},
      {"decision.sent", "expected name="},
      {"=kill", "expected name="},
      {"decision.sent=kill:0", "expected name="},
      {"decision.sent=kill:2x", "expected name="},
      {"decision.sent=kill:", "expected name="},
      {"decision.sent=kill 2", "expected name="},
      {"decision.sent=delay", "expected name="},
      {"decision.sent=delay-5", "expected name="},
      {"decision.sent=error", "nothing can fail here"},
      {"recover.row=kill,recover.row=kill,recover.row=kill,recover.row=kill,recover.row=kill",
       "too many"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    char said[512];
    int status = in_a_child(arm, wrong[i][0], said);
    if (!WIFSIGNALED(status) || !strstr(said, wrong[i][1])) fail_msg("%s: %s", wrong[i][0], said);
  }
}

static void pass_once(const char *spec) {
  vow_failpoint_arm(spec);
  (void)vow_failpoint_hit("decision.sent");
}

static void hit_what_is_not_listed(const char *name) {
  (void)vow_failpoint_hit(name);
}

static void they_kill_and_say_so(void **state) {
  char said[512];
  (void)state;
  int status = in_a_child(pass_once, "decision.sent=kill", said);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  assert_string_equal(said, "VOW_FAILPOINT: decision.sent strikes\n");
  status = in_a_child(pass_once, "decision.sent=kill:2", said);
  assert_true(WIFEXITED(status));
  assert_string_equal(said, "");
  status = in_a_child(hit_what_is_not_listed, "nowhere", said);
  assert_true(WIFSIGNALED(status) && strstr(said, "not in the table"));
}

static void a_stopped_process_goes_on_when_it_is_told(void **state) {
  (void)state;
  pid_t child = fork();
  if (child == 0) {
    pass_once("decision.sent=stop");
    _exit(7);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, WUNTRACED), child);
  assert_true(WIFSTOPPED(status));
  kill(child, SIGCONT);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

static void a_step_fails_at_the_pass_that_was_said_and_no_other(void **state) {
  (void)state;
  vow_failpoint_arm("ack.received=error:2,votes.all_in=delay1,recover.row=error");
  assert_false(vow_failpoint_hit("ack.received"));
  assert_true(vow_failpoint_hit("ack.received"));
  assert_false(vow_failpoint_hit("ack.received"));
  assert_false(vow_failpoint_hit("votes.all_in"));
  assert_true(vow_failpoint_hit("recover.row"));
  vow_failpoint_arm(NULL);
  assert_false(vow_failpoint_hit("recover.row"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_not_understood_ends_the_process),
      cmocka_unit_test(they_kill_and_say_so),
      cmocka_unit_test(a_stopped_process_goes_on_when_it_is_told),
      cmocka_unit_test(a_step_fails_at_the_pass_that_was_said_and_no_other),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
/* Without them the macros cost nothing and never fail. */
static void they_are_nothing(void **state) {
  (void)state;
  VOW_FAILPOINT("nowhere");
  assert_false(VOW_FAILPOINT_FAILS("nowhere"));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(they_are_nothing)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
