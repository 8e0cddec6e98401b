/* When an allocation of SQLite's fails as a vote log is opened, that is what is said: not that the
 * log is damaged, foreign or of another version, for which people would restore an older one. */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "participant_fixture.h"

#define BRANCHES      20
#define PAYLOAD_BYTES 6000 /* more than a page: SQLite copies it to hand it out */

static sqlite3_mem_methods real;
static long fail_at; /* the allocation that fails, counted down; 0: none */

static bool fails(void) {
  return fail_at != 0 && --fail_at == 0;
}

static void *failing_malloc(int bytes) {
  return fails() ? NULL : real.xMalloc(bytes);
}

static void *failing_realloc(void *memory, int bytes) {
  return fails() ? NULL : real.xRealloc(memory, bytes);
}

static void given_a_large_log(struct fixture *f) {
  char more[PAYLOAD_BYTES + 32] = ",\"payload\":\"", body[PAYLOAD_BYTES + 512];
  size_t bytes = strlen(more);
  memset(more + bytes, 'x', PAYLOAD_BYTES);
  strcpy(more + bytes + PAYLOAD_BYTES, "\"");
  fixture_open(f);
  for (unsigned n = 1; n <= BRANCHES; n++) {
    fixture_message(f, body, sizeof body, "prepare", n, NO_WATERMARK, more);
    expect(send_raw(f, "POST", "/prepare", "application/json", body), 200, VOTE_COMMIT);
  }
  fixture_close(f);
}

static void a_log_is_not_called_damaged_for_want_of_memory(void **state) {
  struct fixture *f = *state;
  given_a_large_log(f);
  long refused = 0;
  bool failed = true;
  for (long n = 1; failed; n++) {
    char why[256] = "";
    struct vow_participant *p = NULL;
    fail_at = n;
    enum vow_error error = vow_participant_open(&p, &f->options, why, sizeof why);
    failed = fail_at == 0;
    fail_at = 0;
    /* SQLite does not always say why it could not open or read something. */
    bool true_word = error == VOW_OK || error == VOW_E_NO_MEMORY || error == VOW_E_LOG_IO;
    if (!true_word) fail_msg("allocation %ld: %s: %s", n, vow_error_text(error), why);
    assert_true(error == VOW_OK || why[0] != '\0');
    refused += error != VOW_OK;
    vow_participant_close(p);
  }
  assert_true(refused > 50);
  fixture_open(f);
  for (unsigned n = 1; n <= BRANCHES; n++) {
    expect(send_message(f, "commit", n, ""), 200, COMMITTED);
  }
}

int main(void) {
  sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real);
  sqlite3_mem_methods failing = real;
  failing.xMalloc = failing_malloc;
  failing.xRealloc = failing_realloc;
  sqlite3_config(SQLITE_CONFIG_MALLOC, &failing);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_log_is_not_called_damaged_for_want_of_memory, fixture_setup,
                                      fixture_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
