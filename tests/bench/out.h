/*
 * Requests out, one a message: libcurl's multi-socket interface on an epoll descriptor of the
 * caller's. Used by the prototype and by `floor out`; nothing of vow is in it.
 *
 * Threads: one, the owner's.
 */
#ifndef VOW_BENCH_OUT_H
#define VOW_BENCH_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct out;

/* What curl watches is registered with `epoll_fd`, with the descriptor as data.fd. NULL: out of
 * memory. */
struct out *out_open(int epoll_fd);
void out_close(struct out *out); /* NULL is fine; nothing may be under way */

/* POSTs JSON. `url` and `body` are borrowed until `done`, which gets the text of an answer of
 * status 200 (cut off at a few hundred bytes), else NULL. False: out of memory. */
bool out_post(struct out *out, const char *url, const char *body, size_t body_bytes,
              void (*done)(void *context, const char *answer), void *context);

void out_event(struct out *out, int fd, uint32_t events);
/* Before each wait: starts what was posted and does what is due. Returns how many milliseconds may
 * be waited, -1: any. */
int out_run(struct out *out);

#endif
