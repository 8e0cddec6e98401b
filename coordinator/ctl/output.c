/*
 * Standard output. See output.h.
 */
#include "output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static int put_errno;   /* of the first write that failed */
static bool put_failed; /* for want of memory */

static void note_failure(bool failed) {
  if (failed && put_errno == 0) put_errno = errno == 0 ? EIO : errno;
}

void ctl_put_text(const char *text, size_t bytes) {
  errno = 0;
  note_failure(fwrite(text, 1, bytes, stdout) != bytes);
}

void ctl_putf(const char *format, ...) {
  va_list args;
  va_start(args, format);
  errno = 0;
  note_failure(vprintf(format, args) < 0);
  va_end(args);
}

void ctl_put(struct vow_buf *buf) {
  if (buf->error == VOW_E_NO_MEMORY) put_failed = true;
  ctl_put_text(vow_buf_text(buf), buf->bytes);
  vow_buf_reset(buf);
}

int ctl_put_flush(void) {
  errno = 0;
  note_failure(fflush(stdout) != 0 || ferror(stdout) != 0);
  return put_errno;
}

bool ctl_put_failed(void) {
  return put_failed;
}
