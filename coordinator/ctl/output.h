/*
 * Standard output. Whatever vowctl prints there goes through here, so that the first write that
 * fails is known with its reason: what has failed later may not know it.
 */
#ifndef VOW_CTL_OUTPUT_H
#define VOW_CTL_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

void ctl_put_text(const char *text, size_t bytes);
void ctl_putf(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Empties the buffer, too. */
void ctl_put(struct vow_buf *buf);

/* Writes what is buffered. An errno of the first write that failed: whoever reads has gone, or
 * there is no room, and the rest is not worth making. 0: all has arrived. */
int ctl_put_flush(void);
/* Whether memory was out for some of it. */
bool ctl_put_failed(void);

#endif
