/*
 * What each side of the protocol gives the crash test: a workload on its real log, and a judge of
 * what is found after a crash. coordinator.c and participant.c implement it, each for a program of
 * its own.
 */
#ifndef VOW_TESTS_CRASH_SIDE_H
#define VOW_TESTS_CRASH_SIDE_H

#include "disk.h"
#include "mistakes.h"

#define SIDE_WHY_BYTES 1024

/* Plays the workload of this seed on the disk in use. False: what it saw itself was wrong already.
 */
bool side_play(uint64_t seed, char why[SIDE_WHY_BYTES]);
/* How many of the disk's operations have been done so far; side_play marks what it knows by it. */
uint32_t side_now(void);
/* Opens what the disk in use holds after a crash that came behind the first `cut` operations of
 * what was played, and judges what is found. */
bool side_judge(uint32_t cut, char why[SIDE_WHY_BYTES]);
/* A fixed life of the log (made, written, read, tidied, copied, closed, killed, opened) in which
 * this call of the disk fails, once. What it called durable must be there at the end. `reached` is
 * false when there were fewer calls. */
bool side_sweep(uint32_t call, bool *reached, char why[SIDE_WHY_BYTES]);
void side_forget(void); /* what was played */

#endif
