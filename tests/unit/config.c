/*
 * The daemon's configuration: where values come from, which one wins, and what is said of wrong
 * ones.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config_internal.h"
#include "io/logger.h"
#include "vow/client.h"

#define ARGUMENTS_MAX 16

/* What is read: NULL-terminated lists, and the text of a file. */
struct sources {
  const char *flags[ARGUMENTS_MAX];
  const char *environment[ARGUMENTS_MAX];
  const char *file;
};

#define FLAGS(...)      (&(struct sources){.flags = {__VA_ARGS__}})
#define VARIABLES(...)  (&(struct sources){.environment = {__VA_ARGS__}})
#define FILE_TEXT(text) (&(struct sources){.file = text})

static char file_path[64];

static void write_file(const char *text) {
  snprintf(file_path, sizeof file_path, "/tmp/vow-config-test-%d", (int)getpid());
  FILE *file = fopen(file_path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static enum vow_error load(const struct sources *sources, struct vow_config *out,
                           char why[VOW_CONFIG_WHY_BYTES]) {
  char *argv[ARGUMENTS_MAX + 4] = {strdup("vowd")};
  char *environment[ARGUMENTS_MAX + 1] = {NULL};
  int argc = 1;
  if (sources->file != NULL) {
    write_file(sources->file);
    argv[argc++] = strdup("--config");
    argv[argc++] = strdup(file_path);
  }
  for (int i = 0; sources->flags[i] != NULL; i++) argv[argc++] = strdup(sources->flags[i]);
  for (int i = 0; sources->environment[i] != NULL; i++) {
    environment[i] = strdup(sources->environment[i]);
  }
  why[0] = '\0';
  enum vow_error error = vow_config_load(out, argc, argv, environment, why);
  for (int i = 0; i < argc; i++) free(argv[i]);
  for (int i = 0; environment[i] != NULL; i++) free(environment[i]);
  if (sources->file != NULL) unlink(file_path);
  return error;
}

static void load_ok(const struct sources *sources, struct vow_config *out) {
  char why[VOW_CONFIG_WHY_BYTES];
  if (load(sources, out, why) != VOW_OK) fail_msg("refused: %s", why);
}

/* Each word must be in the sentence that refuses the configuration. */
static void load_fails(const struct sources *sources, const char *const *words) {
  struct vow_config config;
  char why[VOW_CONFIG_WHY_BYTES];
  if (load(sources, &config, why) != VOW_E_CONFIG) fail_msg("accepted; expected %s", words[0]);
  for (; *words != NULL; words++) {
    if (strstr(why, *words) == NULL) fail_msg("\"%s\" is not in: %s", *words, why);
  }
}
#define FAILS(sources, ...) load_fails(sources, (const char *const[]){__VA_ARGS__, NULL})

static void defaults(void **state) {
  /* Without any source every option has its default. */
  (void)state;
  struct vow_config config;
  load_ok(FILE_TEXT(NULL), &config);
  assert_string_equal(config.listen, "127.0.0.1:7800");
  assert_int_equal(config.retention_age_ms, 7 * 24 * 3600 * 1000ULL);
  assert_int_equal(config.retention_count, 1000000);
  assert_int_equal(config.log_level, VOW_LEVEL_INFO);
  assert_int_equal(config.participant_count, 0);
  assert_null(config.file);
  assert_int_equal(config.action, VOW_CONFIG_SERVE);
  vow_config_fini(&config);
}

static void precedence(void **state) {
  /* A flag goes before a variable, a variable before the file, the file before the default. */
  (void)state;
  struct vow_config config;
  struct sources sources = {
      .file = "prepare_timeout_ms = 1\nretry_max_ms=20000\nrequest_timeout_ms = 2\n",
      .environment = {"VOW_PREPARE_TIMEOUT_MS=3", "VOW_REQUEST_TIMEOUT_MS=4"},
      .flags = {"--prepare-timeout-ms", "5"}};
  load_ok(&sources, &config);
  assert_int_equal(config.prepare_timeout_ms, 5);
  assert_int_equal(config.request_timeout_ms, 4);
  assert_int_equal(config.retry_max_ms, 20000);
  assert_int_equal(config.wait_timeout_ms, 30000);
  assert_non_null(config.file);
  vow_config_fini(&config);
}

static void default_timeouts_end_in_their_order(void **state) {
  /* A participant that hangs is given up before the waiting client is answered "not yet", and that
   * comes before the client gives up: so it is told "aborted", and not "unknown". */
  (void)state;
  struct vow_config config;
  load_ok(FLAGS(NULL), &config);
  assert_true(config.prepare_timeout_ms < config.wait_timeout_ms);
  assert_true(config.wait_timeout_ms < VOW_CLIENT_TIMEOUT_MS);
  vow_config_fini(&config);
}

static void file_by_variable(void **state) {
  /* VOW_CONFIG names the file where no flag does. */
  (void)state;
  struct vow_config config;
  char variable[128];
  write_file("# a comment\n\n; another\n  # and ; one\nlog_format = json\nlog = a;b\n");
  snprintf(variable, sizeof variable, "VOW_CONFIG=%s", file_path);
  load_ok(VARIABLES(variable), &config);
  assert_int_equal(config.log_format, VOW_FORMAT_JSON);
  assert_string_equal(config.log, "a;b");
  vow_config_fini(&config);
  unlink(file_path);
  FAILS(VARIABLES(variable), file_path, "No such file");
}

static void wrong_values(void **state) {
  /* A wrong value is refused with its key, itself, where it stands and what is allowed. */
  (void)state;
  FAILS(FLAGS("--prepare-timeout-ms", "soon"), "flag --prepare-timeout-ms", "\"soon\"",
        "1 to 86400000");
  FAILS(FLAGS("--prepare-timeout-ms=0"), "\"0\"", "1 to 86400000");
  FAILS(FLAGS("--retention-count", "-1"), "\"-1\"");
  FAILS(FLAGS("--retention-count", "99999999999999999999999"), "0 to");
  FAILS(VARIABLES("VOW_LOG_LEVEL=loud"), "variable VOW_LOG_LEVEL", "log_level", "\"loud\"",
        "error, warn, info or debug");
  FAILS(FILE_TEXT("\n\nlog_format = xml\n"), "line 3 of ", file_path, "\"xml\"", "text or json");
  FAILS(FLAGS("--log", ""), "flag --log", "text of 1 to");
  /* Printed as a file, these would be read as the log of another name. */
  FAILS(VARIABLES("VOW_LOG=vow.log\r"), "variable VOW_LOG", "without control characters");
  FAILS(FLAGS("--log", " vow.log"), "flag --log", "without spaces at its ends");
  FAILS(FLAGS("--log", "vow.log "), "without spaces at its ends");
  FAILS(FLAGS("--log", "vow\x7f.log"), "without control characters");
  FAILS(FLAGS("--advertise-url", "ftp://x"),
        "advertise_url cannot be \"ftp://x\": the URL must begin with");
  FAILS(FLAGS("--retry-min-ms", "40000"), "retry_min_ms (40000)", "retry_max_ms (30000)");
  FAILS(FLAGS("--limits-transaction-timeout-ms", "5"), "transaction_timeout_ms (60000)");
}

static void wrong_flags(void **state) {
  /* Flags that do not exist or lack their value, and words that are no flags, are refused. */
  (void)state;
  FAILS(FLAGS("--colour", "red"), "--colour", "not a flag");
  FAILS(FLAGS("--listen"), "--listen", "needs a value");
  FAILS(FLAGS("--check-config=yes"), "--check-config=yes");
  FAILS(FLAGS("start"), "\"start\"");
  FAILS(FLAGS("-x"), "-x");
}

static void wrong_files(void **state) {
  /* A file with unknown keys, sections, bare words, repeated keys or lines that are too long is
   * refused, and the line is named. */
  (void)state;
  char longline[1200] = "log = ";
  memset(longline + 6, 'x', 1000);
  FAILS(FILE_TEXT("listen = 127.0.0.1:1\ncolour = red\n"), "line 2", "\"colour\"");
  FAILS(FILE_TEXT("[server]\nlisten = 127.0.0.1:1\n"), "line 2", "section");
  FAILS(FILE_TEXT("\nlisten\n"), "line 2", "key = value");
  FAILS(FILE_TEXT("log = a\nlog = b\n"), "line 2", "log is set a second time", "first in line 1");
  FAILS(FILE_TEXT("log = a ; b.log\n"), "line 1", "cut off at its \";\"", "VOW_");
  FAILS(FILE_TEXT("log = a\n  log_level = debug\n"), "line 2", "indented");
  FAILS(FILE_TEXT("log = a\n  b\n"), "line 2", "indented");
  FAILS(FILE_TEXT("log = a\t; b.log\n"), "line 1", "cut off at its \";\"");
  FAILS(FLAGS("--config", "/tmp"), "cannot read the configuration file /tmp: Is a directory");
  FAILS(FILE_TEXT(longline), "line 1", "longer than");
  FAILS(FLAGS("--config", "/nonexistent/vowd.conf"), "/nonexistent/vowd.conf");
}

static void unknown_variables(void **state) {
  /* A VOW_ variable that is no option is ignored with a warning; others are nobody's business. */
  (void)state;
  struct vow_config config;
  struct sources sources = {.environment = {"VOW_COLOUR=red", "PATH=/bin", "VOW_=x", "VOW_log=x",
                                            "VOW_FAILPOINT=x=kill"}};
  load_ok(&sources, &config);
  assert_non_null(strstr(vow_buf_text(&config.warnings), "VOW_COLOUR is not an option"));
  assert_non_null(strstr(vow_buf_text(&config.warnings), "VOW_log"));
  assert_null(strstr(vow_buf_text(&config.warnings), "FAILPOINT"));
  assert_string_equal(config.log, "vow.log");
  vow_config_fini(&config);
}

static void participants(void **state) {
  /* Participants are named in any source; the strongest names them all; URLs are normalized. */
  (void)state;
  struct vow_config config;
  struct sources sources = {.file =
                                "participant = b=http://b:1/\nparticipant = a=HTTP://A:80/x/\n"};
  load_ok(&sources, &config);
  assert_int_equal(config.participant_count, 2);
  assert_string_equal(vow_config_participant_url(&config, "a"), "http://a/x");
  assert_string_equal(vow_config_participant_url(&config, "b"), "http://b:1");
  assert_null(vow_config_participant_url(&config, "c"));
  vow_config_fini(&config);

  sources.environment[0] = "VOW_PARTICIPANT=c=http://c  d=http://d";
  load_ok(&sources, &config);
  assert_int_equal(config.participant_count, 2);
  assert_null(vow_config_participant_url(&config, "a"));
  assert_string_equal(vow_config_participant_url(&config, "d"), "http://d");
  vow_config_fini(&config);

  FAILS(FILE_TEXT("participant = a=http://x\nparticipant = a=http://y\n"), "line 2",
        "\"a\" is named twice", "http://x", "http://y");
  FAILS(FLAGS("--participant", "http://x"), "NAME=URL");
  FAILS(FLAGS("--participant", "a b=http://x"), "NAME=URL");
  FAILS(FLAGS("--participant", "=http://x"), "NAME=URL");
  FAILS(FLAGS("--participant", "a=x"), "participant cannot be \"a=x\": the URL must begin with");
}

static void actions(void **state) {
  /* Help and version need no valid configuration; checking does. */
  (void)state;
  struct vow_config config;
  load_ok(FLAGS("--help", "--log-level", "loud"), &config);
  assert_int_equal(config.action, VOW_CONFIG_HELP);
  vow_config_fini(&config);
  load_ok(FLAGS("--version", "--config", "/nonexistent"), &config);
  assert_int_equal(config.action, VOW_CONFIG_VERSION);
  vow_config_fini(&config);
  load_ok(FLAGS("--check-config"), &config);
  assert_int_equal(config.action, VOW_CONFIG_CHECK);
  vow_config_fini(&config);
  FAILS(FLAGS("--check-config", "--log-level", "loud"), "loud");
}

static char *read_whole(const char *path) {
  FILE *file = fopen(path, "r");
  if (file == NULL) fail_msg("cannot open %s", path);
  char *text = calloc(1, 65536);
  assert_true(fread(text, 1, 65535, file) > 0);
  fclose(file);
  return text;
}

static void sample_file(void **state) {
  /* deploy/config/vowd.conf is what `vowd --print-config` prints without any configuration. */
  (void)state;
  struct vow_config config;
  struct vow_buf text;
  vow_buf_init(&text, 65536);
  load_ok(FILE_TEXT(NULL), &config);
  vow_config_print(&config, &text);
  char *sample = read_whole(VOW_SAMPLE_CONFIG);
  assert_string_equal(sample, vow_buf_text(&text));
  free(sample);
  vow_buf_fini(&text);
  vow_config_fini(&config);
}

static void printed_file_reads_back(void **state) {
  /* What is printed says the same when it is read, with and without its comments taken away. */
  (void)state;
  struct vow_config first, second;
  struct vow_buf once, twice;
  vow_buf_init(&once, 65536);
  vow_buf_init(&twice, 65536);
  struct sources sources = {.flags = {"--log-level", "debug", "--listen", "[::1]:80",
                                      "--participant", "a=http://a", "--retention-count=7",
                                      "--advertise-url", "HTTP://X/"}};
  load_ok(&sources, &first);
  vow_config_print(&first, &once);
  load_ok(FILE_TEXT(vow_buf_text(&once)), &second);
  assert_int_equal(second.log_level, VOW_LEVEL_DEBUG);
  assert_string_equal(second.advertise_url, "http://x");
  vow_config_print(&second, &twice);
  assert_string_equal(vow_buf_text(&once), vow_buf_text(&twice));
  vow_config_fini(&first);
  vow_config_fini(&second);
  vow_buf_fini(&once);
  vow_buf_fini(&twice);
}

static void help_names_everything(void **state) {
  /* Every option is in the help, as a flag. */
  (void)state;
  struct vow_buf text;
  char flag[64];
  vow_buf_init(&text, 65536);
  vow_config_help(&text);
  for (unsigned i = 0; i < vow_option_count; i++) {
    snprintf(flag, sizeof flag, "--%s ", vow_options[i].key);
    for (char *c = flag; *c != '\0'; c++) {
      if (*c == '_') *c = '-';
    }
    if (strstr(vow_buf_text(&text), flag) == NULL) fail_msg("%s is not in the help", flag);
  }
  vow_buf_fini(&text);
}

static void reload(void **state) {
  /* A reload takes what may change, names what may not, and leaves that as it was. */
  (void)state;
  struct vow_config config, fresh;
  struct vow_buf changed, ignored;
  vow_buf_init(&changed, 4096);
  vow_buf_init(&ignored, 4096);
  load_ok(FILE_TEXT(NULL), &config);
  struct sources sources = {.flags = {"--listen", "127.0.0.1:1", "--prepare-timeout-ms", "7",
                                      "--log-level", "error", "--participant", "a=http://a"}};
  load_ok(&sources, &fresh);
  vow_config_reload(&config, &fresh, &changed, &ignored);
  assert_string_equal(config.listen, "127.0.0.1:7800");
  assert_int_equal(config.prepare_timeout_ms, 7);
  assert_int_equal(config.log_level, VOW_LEVEL_ERROR);
  assert_string_equal(vow_config_participant_url(&config, "a"), "http://a");
  assert_string_equal(vow_buf_text(&ignored),
                      "listen from \"127.0.0.1:7800\" to \"127.0.0.1:1\"\n");
  assert_non_null(strstr(vow_buf_text(&changed), "prepare_timeout_ms from \"20000\" to \"7\"\n"));
  assert_non_null(strstr(vow_buf_text(&changed), "log_level from \"info\" to \"error\"\n"));
  assert_non_null(strstr(vow_buf_text(&changed), "participant from 0 to 1 entries\n"));

  load_ok(&sources, &fresh);
  vow_buf_reset(&changed);
  vow_buf_reset(&ignored);
  vow_config_reload(&config, &fresh, &changed, &ignored);
  assert_string_equal(vow_buf_text(&changed), "");
  vow_buf_fini(&changed);
  vow_buf_fini(&ignored);
  vow_config_fini(&config);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(defaults),
      cmocka_unit_test(precedence),
      cmocka_unit_test(default_timeouts_end_in_their_order),
      cmocka_unit_test(file_by_variable),
      cmocka_unit_test(wrong_values),
      cmocka_unit_test(wrong_flags),
      cmocka_unit_test(wrong_files),
      cmocka_unit_test(unknown_variables),
      cmocka_unit_test(participants),
      cmocka_unit_test(actions),
      cmocka_unit_test(sample_file),
      cmocka_unit_test(printed_file_reads_back),
      cmocka_unit_test(help_names_everything),
      cmocka_unit_test(reload),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
