/* The SQLite resource: capture, locks, apply; what others see meanwhile; what is refused. */
#include "sqlite_harness.h"

static const char accounts[] =
    "CREATE TABLE account(id TEXT PRIMARY KEY, balance INTEGER NOT NULL CHECK(balance >= 0));"
    "INSERT INTO account VALUES('a', 100), ('b', 100), ('c', 100);";

/* What the work changes is invisible until commit, and then there. */
static void commit_makes_the_work_visible(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  prepared(w, 1, "UPDATE account SET balance = balance - 30 WHERE id = 'a'");
  expect(w->other, "SELECT balance FROM account WHERE id = 'a'", "100");
  committed(w, 1);
  expect(w->other, "SELECT balance FROM account WHERE id = 'a'", "70");
  at_rest(w);
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(commit_makes_the_work_visible),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
