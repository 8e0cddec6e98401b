/*
 * The loop's deputy: a second thread that turns the loop while the first one is away, doing
 * something short that may, seldom, take long. So what is done on the loop's thread to spare two
 * changes of threads can not keep everybody waiting.
 *
 * Only one thread turns the loop at a time, and each finds what the other left, so what runs on the
 * loop needs no locks. Threads: vow_deputy_cover, open and close belong to the thread that runs the
 * loop.
 */
#ifndef VOW_COORDINATOR_DEPUTY_H
#define VOW_COORDINATOR_DEPUTY_H

#include <stdbool.h>

#include "vow/error.h"

struct uv_loop_s;
struct vow_deputy;

#define VOW_DEPUTY_AFTER_US 1000 /* until then the loop stands still */

/* VOW_E_NO_MEMORY: also no descriptor or no thread. */
enum vow_error vow_deputy_open(struct vow_deputy **out, struct uv_loop_s *loop) VOW_MUST_CHECK;
/* To be run down by the loop like any handle: it frees itself with its last turn. NULL is fine. */
void vow_deputy_close(struct vow_deputy *deputy);

/* Does work(context), which may block, outside of the loop: between two calls of uv_run. Returns
 * when it is done and the loop is the caller's again. True: the deputy has turned it meanwhile;
 * what there was to see may have changed, uv_stop may have been called and taken, and perhaps
 * nothing is left to turn. */
bool vow_deputy_cover(struct vow_deputy *deputy, void (*work)(void *context), void *context);
/* On the loop: whether it is the deputy that turns it, so that the other thread is at work. */
bool vow_deputy_covers(struct vow_deputy *deputy);

#endif
