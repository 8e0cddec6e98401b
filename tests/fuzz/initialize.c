/*
 * Before the first input. The worlds of tests/unit check with cmocka; outside of its runner a check
 * that fails must end the process at once, with a stack.
 */
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  return setenv("CMOCKA_TEST_ABORT", "1", 1);
}
