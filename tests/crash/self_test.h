/* Whether the disk of disk.h is what it says. `real` is SQLite's own VFS. */
#ifndef VOW_TESTS_CRASH_SELF_TEST_H
#define VOW_TESTS_CRASH_SELF_TEST_H

#include <sqlite3.h>
#include <stdbool.h>

bool self_test(sqlite3_vfs *real);

#endif
