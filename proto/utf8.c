/*
 * UTF-8 sequences by their first byte. Called by json_parse.c and jsonw.c.
 */
#include "utf8.h"

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
