/*
 * What is plain in a JSON string: ASCII that stands for itself, nearly all that strings hold. It is
 * looked at eight bytes at a time. For json_parse.c and jsonw.c.
 */
#ifndef VOW_PROTO_PLAIN_H
#define VOW_PROTO_PLAIN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline bool vow_is_plain(unsigned char c) {
  return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

static inline uint64_t vow_eight_bytes(const char *text) {
  uint64_t eight;

  memcpy(&eight, text, sizeof eight);
  return eight;
}

/* Twice four, which may overlap. */
static inline uint64_t vow_four_bytes(const char *first, const char *second) {
  uint32_t low, high;

  memcpy(&low, first, sizeof low);
  memcpy(&high, second, sizeof high);
  return low | (uint64_t)high << 32;
}

#define VOW_EACH_BYTE(byte) (UINT64_C(0x0101010101010101) * (byte))

/* 0: all eight are plain. Else the lowest bit that is set is the top bit of the lowest byte that is
 * not. It is set in one that is not ASCII, or by subtracting 0x20 from what is less, or 1 from what
 * was a quote or a backslash. A borrow can make a higher byte look odd, but only out of one that
 * is. */
static inline uint64_t vow_odd_bytes(uint64_t eight) {
  uint64_t odd = eight | (eight - VOW_EACH_BYTE(0x20)) |
                 ((eight ^ VOW_EACH_BYTE('"')) - VOW_EACH_BYTE(1)) |
                 ((eight ^ VOW_EACH_BYTE('\\')) - VOW_EACH_BYTE(1));

  return odd & VOW_EACH_BYTE(0x80);
}

#endif
