/*
 * Time and threads that repeat. The linker sends the code under test here for its clock, its thread
 * and its waiting (see CMakeLists.txt). Time stands still unless it is moved. The log's thread
 * runs only while turns_run() waits for it, until it waits for something in its turn; so one of
 * the two runs at a time, and the same seed gives the same story. A thread that the log's thread
 * starts is run on the spot.
 */
#ifndef VOW_TESTS_TURNS_H
#define VOW_TESTS_TURNS_H

#include <stdbool.h>
#include <stdint.h>

uint64_t turns_now_ms(void); /* Unix time and monotonic time are the same here */
void turns_set_ms(uint64_t now_ms);
/* Lets the log's thread do what is due now. False: there is none, or it has ended. */
bool turns_run(void);
/* Moves time to when the thread wants to go on, and lets it. */
bool turns_run_when_due(void);

#endif
