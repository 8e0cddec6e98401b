/*
 * A growing byte buffer with a mandatory limit. After the first failure (out of memory, limit) it
 * stays failed and ignores what is appended, so that a writer checks once at its end. The contents
 * are always NUL-terminated.
 */
#ifndef VOW_PROTO_BUF_H
#define VOW_PROTO_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "vow/error.h"

struct vow_buf {
  char *data; /* owned; NULL until the first append */
  size_t bytes;
  size_t capacity;
  size_t limit;
  enum vow_error error; /* VOW_OK, VOW_E_NO_MEMORY or VOW_E_LIMIT_EXCEEDED */
};

void vow_buf_init(struct vow_buf *buf, size_t limit_bytes);
void vow_buf_fini(struct vow_buf *buf);
void vow_buf_reset(struct vow_buf *buf); /* empty again, keeps the memory, clears the error */
/* Room for `bytes` more, so that appending them moves nothing and cannot fail. */
void vow_buf_reserve(struct vow_buf *buf, size_t bytes);
__attribute__((cold)) char *vow_buf_extend_slowly(struct vow_buf *buf, size_t bytes);
void vow_buf_puts(struct vow_buf *buf, const char *text);
void vow_buf_printf(struct vow_buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
char *vow_buf_take(struct vow_buf *buf,
                   size_t *bytes_out); /* the caller frees; NULL if failed; buf is empty then */
const char *vow_buf_text(const struct vow_buf *buf); /* never NULL */

/* These two are here, since everything that is written comes through them, a few bytes at a time.
 */

/* Makes the contents `bytes` longer and returns where the new ones begin, for the caller to fill at
 * once. NULL if the buffer has failed. */
static inline char *vow_buf_extend(struct vow_buf *buf, size_t bytes) {
  /* Room that is there is within the limit; `bytes` < `capacity` once there is any. */
  if (buf->error != VOW_OK || bytes >= buf->capacity - buf->bytes) {
    return vow_buf_extend_slowly(buf, bytes);
  }
  char *at = buf->data + buf->bytes;
  buf->bytes += bytes;
  at[bytes] = '\0';
  return at;
}

static inline void vow_buf_append(struct vow_buf *buf, const void *data, size_t bytes) {
  char *at = vow_buf_extend(buf, bytes);
  if (at && bytes > 0) memcpy(at, data, bytes);
}

#endif
