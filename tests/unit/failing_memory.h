/*
 * Allocations that fail: a test made with vow_failing_memory() in CMakeLists.txt is asked before
 * each one of its own and of the code under test. Those of shared libraries go on as ever.
 */
#ifndef VOW_TEST_FAILING_MEMORY_H
#define VOW_TEST_FAILING_MEMORY_H

#include <stdbool.h>

/* The test's; of any thread. */
bool allocation_fails(void);

#endif
