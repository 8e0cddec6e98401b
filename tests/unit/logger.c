/*
 * The daemon's log lines.
 */
#include "io/logger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct capture {
  struct vow_logger logger;
  int pipe[2];
  char text[8192];
};

static int setup(void **state) {
  struct capture *c = calloc(1, sizeof *c);
  assert_int_equal(pipe(c->pipe), 0);
  vow_logger_init(&c->logger, c->pipe[1]);
  *state = c;
  return 0;
}

static int teardown(void **state) {
  struct capture *c = *state;
  vow_logger_fini(&c->logger);
  close(c->pipe[0]);
  close(c->pipe[1]);
  free(c);
  return 0;
}

/* What was written since the last call; there must be something. */
static const char *written(struct capture *c) {
  ssize_t n = read(c->pipe[0], c->text, sizeof c->text - 1);
  assert_true(n > 0);
  c->text[n] = '\0';
  return c->text;
}

static void text_lines(void **state) {
  /* A line has time, level, message and fields; what could fake a line or move a cursor is escaped.
   */
  struct capture *c = *state;
  struct vow_id id = vow_id_make(0x0193000000000000 >> 16, 1, 2);
  assert_true(
      vow_logger_begin(&c->logger, VOW_LEVEL_WARN, "endpoint-down", "down: %s", "a\nb\033"));
  vow_logger_text(&c->logger, "url", "http://a");
  vow_logger_text(&c->logger, "why", "connection refused by \"a\"");
  vow_logger_text(&c->logger, "none", NULL);
  vow_logger_uint(&c->logger, "n", 7);
  vow_logger_id(&c->logger, "transaction", id);
  vow_logger_end(&c->logger);
  const char *line = written(c);
  assert_int_equal(line[4], '-');
  assert_int_equal(line[23], 'Z');
  assert_non_null(strstr(
      line, "Z warn  down: a\\nb\\x1b url=http://a why=\"connection refused by \\\"a\\\"\" "));
  assert_non_null(strstr(line, " n=7 transaction=0"));
  assert_null(strstr(line, "none"));
  assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void values_cannot_be_forged(void **state) {
  /* What a participant or a client wrote stays inside its quotes, and does nothing to a terminal.
   */
  struct capture *c = *state;
  assert_true(vow_logger_begin(&c->logger, VOW_LEVEL_WARN, "endpoint-down", "x%s",
                               "\xc2\x9b"
                               "2J"));
  vow_logger_text(&c->logger, "why", "no\" level=error transaction=\"7");
  vow_logger_text(&c->logger, "path", "a\\");
  vow_logger_text(&c->logger, "bidi",
                  "\xe2\x80\xae"
                  "drawkcab");
  vow_logger_text(&c->logger, "raw", "\xff\n");
  vow_logger_text(&c->logger, "name", "Z\xc3\xbcrich");
  vow_logger_end(&c->logger);
  assert_non_null(
      strstr(written(c),
             " warn  x\\u{009b}2J why=\"no\\\" level=error transaction=\\\"7\""
             " path=\"a\\\\\" bidi=\\u{202e}drawkcab raw=\\xff\\n name=Z\xc3\xbcrich\n"));
}

static void json_lines(void **state) {
  /* As JSON each line is one object that parses, with the event's stable word. */
  struct capture *c = *state;
  char why[VOW_JSON_WHY_BYTES];
  struct vow_json *json;
  c->logger.format = VOW_FORMAT_JSON;
  assert_true(vow_logger_begin(&c->logger, VOW_LEVEL_ERROR, "hazard", "\"x\"\n\xff"));
  vow_logger_text(&c->logger, "why", "a\\b");
  vow_logger_uint(&c->logger, "n", 1);
  vow_logger_end(&c->logger);
  const char *line = written(c);
  assert_int_equal(vow_json_parse(&json, line, strlen(line), why), VOW_OK);
  assert_non_null(strstr(line, "\"event\":\"hazard\""));
  assert_non_null(strstr(line, "\"level\":\"error\""));
  vow_json_free(json);
}

static void levels(void **state) {
  /* What is less important than the level is not written. */
  struct capture *c = *state;
  c->logger.level = VOW_LEVEL_WARN;
  assert_false(vow_logger_begin(&c->logger, VOW_LEVEL_INFO, "x", "x"));
  vow_logger_say(&c->logger, VOW_LEVEL_DEBUG, "x", "debug");
  vow_logger_say(&c->logger, VOW_LEVEL_WARN, "x", "warning %d", 1);
  assert_non_null(strstr(written(c), "warn  warning 1\n"));
}

static void long_texts_are_cut(void **state) {
  /* A text without end does not make a line without end, and the line stays one line. */
  struct capture *c = *state;
  char *text = calloc(1, 100001);
  memset(text, 'x', 100000);
  vow_logger_say(&c->logger, VOW_LEVEL_ERROR, "x", "%s", text);
  const char *line = written(c);
  assert_true(strlen(line) < 2 * VOW_LOGGER_VALUE_BYTES);
  assert_int_equal(line[strlen(line) - 1], '\n');
  free(text);
}

static void rate(void **state) {
  /* At most so many in ten seconds; the rest is counted. */
  (void)state;
  struct vow_logger_rate rate = {0};
  assert_true(vow_logger_allow(&rate, 2, 1000));
  assert_true(vow_logger_allow(&rate, 2, 1001));
  assert_false(vow_logger_allow(&rate, 2, 1002));
  assert_false(vow_logger_allow(&rate, 2, 10999));
  assert_int_equal(rate.suppressed, 2);
  assert_true(vow_logger_allow(&rate, 2, 11000));
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {T(text_lines), T(values_cannot_be_forged), T(json_lines),
                                     T(levels),     T(long_texts_are_cut),      T(rate)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
