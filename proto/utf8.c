/*
 * UTF-8 sequences by their first byte. Called by json_parse.c, jsonw.c, the daemon's logger and
 * vowctl.
 */
#include "utf8.h"

#include <string.h>

size_t vow_utf8_sequence(const char *text, size_t left) {
  const unsigned char *s = (const unsigned char *)text;
  unsigned char low = 0x80, high = 0xbf; /* what the second byte may be */
  size_t bytes;

  if (s[0] < 0x80) return 1;
  if (s[0] >= 0xc2 && s[0] <= 0xdf) {
    bytes = 2;
  } else if (s[0] >= 0xe0 && s[0] <= 0xef) {
    bytes = 3;
    if (s[0] == 0xe0) low = 0xa0;  /* shorter forms exist */
    if (s[0] == 0xed) high = 0x9f; /* surrogates */
  } else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
    bytes = 4;
    if (s[0] == 0xf0) low = 0x90;
    if (s[0] == 0xf4) high = 0x8f; /* past U+10FFFF */
  } else {
    return 0;
  }
  if (left < bytes || s[1] < low || s[1] > high) return 0;
  for (size_t i = 2; i < bytes; i++) {
    if (s[i] < 0x80 || s[i] > 0xbf) return 0;
  }
  return bytes;
}

size_t vow_utf8_decode(const char *text, uint32_t *out) {
  const unsigned char *s = (const unsigned char *)text;
  size_t bytes = vow_utf8_sequence(text, strnlen(text, 4));

  if (bytes == 0) return 0;
  uint32_t value = bytes == 1 ? s[0] : s[0] & (0xffU >> (bytes + 1));
  for (size_t i = 1; i < bytes; i++) value = value << 6 | (s[i] & 0x3fU);
  *out = value;
  return bytes;
}

/* Characters that move the cursor, or make a line look different from what it says. */
static bool dangerous(uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) ||
         (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
         (c >= 0xe0000 && c <= 0xe0fff);
}

static void append_escaped(struct vow_buf *buf, uint32_t c) {
  if (c == '\n') {
    vow_buf_puts(buf, "\\n");
  } else if (c == '\t') {
    vow_buf_puts(buf, "\\t");
  } else if (c == '\r') {
    vow_buf_puts(buf, "\\r");
  } else {
    vow_buf_printf(buf, c < 0x80 ? "\\x%02x" : "\\u{%04x}", (unsigned)c);
  }
}

void vow_utf8_append_safe(struct vow_buf *buf, const char *text, const char *quoted) {
  while (*text != '\0') {
    uint32_t c;
    size_t bytes = vow_utf8_decode(text, &c);
    if (bytes == 0) {
      vow_buf_printf(buf, "\\x%02x", (unsigned)(unsigned char)*text);
      bytes = 1;
    } else if (dangerous(c)) {
      append_escaped(buf, c);
    } else {
      if (strchr(quoted, *text) != NULL) vow_buf_puts(buf, "\\");
      vow_buf_append(buf, text, bytes);
    }
    text += bytes;
  }
}
