/*
 * The growing buffer of buf.h. Pure but for malloc; one owner at a time.
 * Invariants: bytes <= limit; capacity - 1 <= limit where there is any; when data is not NULL,
 * bytes < capacity and data[bytes] is NUL; when
 * error is set, bytes does not change any more.
 */
#include "buf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN 256

void vow_buf_init(struct vow_buf *buf, size_t limit_bytes) {
  *buf = (struct vow_buf){.limit = limit_bytes};
}

void vow_buf_fini(struct vow_buf *buf) {
  if (!buf) return;
  free(buf->data);
  *buf = (struct vow_buf){.limit = buf->limit};
}

void vow_buf_reset(struct vow_buf *buf) {
  buf->bytes = 0;
  buf->error = VOW_OK;
  if (buf->data) buf->data[0] = '\0';
}

/* Makes room for `more` bytes and the NUL; false: the buffer has failed (or had before). */
static bool reserve(struct vow_buf *buf, size_t more) {
  if (buf->error != VOW_OK) return false;
  /* No object is larger than PTRDIFF_MAX, and doubling stays below SIZE_MAX. */
  if (more > buf->limit - buf->bytes || more >= PTRDIFF_MAX - buf->bytes) {
    buf->error = VOW_E_LIMIT_EXCEEDED;
    return false;
  }
  size_t need = buf->bytes + more + 1;
  if (need <= buf->capacity) return true;

  size_t capacity = buf->capacity > 0 ? buf->capacity : CAPACITY_MIN;
  while (capacity < need) capacity *= 2;
  if (capacity - 1 > buf->limit) capacity = buf->limit + 1; /* need - 1 <= limit, so it suffices */
  char *data = realloc(buf->data, capacity);
  if (!data) {
    buf->error = VOW_E_NO_MEMORY;
    return false;
  }
  buf->data = data;
  buf->capacity = capacity;
  return true;
}

void vow_buf_reserve(struct vow_buf *buf, size_t bytes) {
  (void)reserve(buf, bytes);
}

char *vow_buf_extend_slowly(struct vow_buf *buf, size_t bytes) {
  if (!reserve(buf, bytes)) return NULL;
  char *at = buf->data + buf->bytes;
  buf->bytes += bytes;
  at[bytes] = '\0';
  return at;
}

void vow_buf_puts(struct vow_buf *buf, const char *text) {
  vow_buf_append(buf, text, strlen(text));
}

void vow_buf_printf(struct vow_buf *buf, const char *format, ...) {
  va_list args, again;

  if (buf->error != VOW_OK) return;
  va_start(args, format);
  va_copy(again, args);
  int bytes = vsnprintf(NULL, 0, format, args);
  va_end(args);
  if (bytes < 0) {
    buf->error = VOW_E_LIMIT_EXCEEDED; /* longer than an int can say, or not writable */
  } else if (reserve(buf, (size_t)bytes)) {
    (void)vsnprintf(buf->data + buf->bytes, (size_t)bytes + 1, format, again);
    buf->bytes += (size_t)bytes;
  }
  va_end(again);
}

char *vow_buf_take(struct vow_buf *buf, size_t *bytes_out) {
  char *data = NULL;

  if (reserve(buf, 0)) { /* also gives an empty buffer its NUL */
    data = buf->data;
    data[buf->bytes] = '\0';
    if (bytes_out) *bytes_out = buf->bytes;
  } else {
    free(buf->data);
  }
  buf->data = NULL;
  buf->bytes = 0;
  buf->capacity = 0;
  return data;
}

const char *vow_buf_text(const struct vow_buf *buf) {
  return buf->data ? buf->data : "";
}
