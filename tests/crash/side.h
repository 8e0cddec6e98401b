/*
 * What each side of the protocol gives the crash test: a workload on its real log, and a judge of
 * what is found after a crash. coordinator.c and participant.c implement it, each for a program of
 * its own. What both of them draw dice and tell failures with is in side.c.
 */
#ifndef VOW_TESTS_CRASH_SIDE_H
#define VOW_TESTS_CRASH_SIDE_H

#include "disk.h"
#include "mistakes.h"

#define SIDE_WHY_BYTES 1024

/* ---- each side's own; false: something was wrong, and wrong() has told it ---- */

/* Plays the workload of this seed on the disk in use. */
bool side_play(uint64_t seed);
/* Opens what the disk in use holds after a crash that came behind the first `cut` operations of
 * what was played, and judges what is found. */
bool side_judge(uint32_t cut);
/* A fixed life of the log (made, written, read, tidied, copied, closed, killed, opened) in which
 * this call of the disk fails, once. What it called durable must be there at the end. `reached` is
 * false when there were fewer calls. */
bool side_sweep(uint32_t call, bool *reached);
void side_forget(void); /* what was played */

/* ---- side.c ---- */

/* How a process ends. FAILED_SYNC: it is killed as well, unless a sync that failed ended it. */
enum end { END_CLOSE, END_KILL, END_CUT, END_FAILED_SYNC };

/* Before all of the above: what is drawn from now on, and where wrong() tells it. */
void side_begin(uint64_t seed, char out[SIDE_WHY_BYTES]);
uint32_t draw(uint32_t below);
uint64_t draw_seed(void); /* for whoever draws on */
enum end draw_end(void);
/* Is false. */
bool wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* images.c: how many of the disk's operations have been done so far; side_play marks what it knows
 * by it. */
uint32_t side_now(void);

#endif
