/*
 * UUIDv7 as 16 bytes. Pure; anyone may call.
 * Invariant: ids made with growing (unix_ms, counter12) grow under memcmp, whatever the random
 * bits.
 */
#include "id.h"

#include <string.h>

#define UNIX_MS_MAX ((UINT64_C(1) << 48) - 1)

struct vow_id vow_id_make(uint64_t unix_ms, uint16_t counter12, uint64_t random) {
  struct vow_id id;

  if (unix_ms > UNIX_MS_MAX) unix_ms = UNIX_MS_MAX;
  for (int i = 0; i < 6; i++) id.bytes[i] = (uint8_t)(unix_ms >> (40 - 8 * i));
  id.bytes[6] = (uint8_t)(0x70 | ((counter12 >> 8) & 0x0f));
  id.bytes[7] = (uint8_t)counter12;
  for (int i = 0; i < 8; i++) id.bytes[8 + i] = (uint8_t)(random >> (56 - 8 * i));
  id.bytes[8] = (uint8_t)(0x80 | (id.bytes[8] & 0x3f));
  return id;
}

struct vow_id vow_id_floor(uint64_t unix_ms, uint16_t counter12) {
  return vow_id_make(unix_ms, counter12, 0);
}

uint64_t vow_id_unix_ms(struct vow_id id) {
  uint64_t unix_ms = 0;

  for (int i = 0; i < 6; i++) unix_ms = unix_ms << 8 | id.bytes[i];
  return unix_ms;
}

uint16_t vow_id_counter(struct vow_id id) {
  return (uint16_t)((id.bytes[6] & 0x0f) << 8 | id.bytes[7]);
}

bool vow_id_is_v7(struct vow_id id) {
  return id.bytes[6] >> 4 == 7 && id.bytes[8] >> 6 == 2;
}

bool vow_id_is_nil(struct vow_id id) {
  for (int i = 0; i < 16; i++) {
    if (id.bytes[i] != 0) return false;
  }
  return true;
}

int vow_id_compare(struct vow_id a, struct vow_id b) {
  return memcmp(a.bytes, b.bytes, sizeof a.bytes);
}

int vow_id_order(const void *a, const void *b) {
  return vow_id_compare(*(const struct vow_id *)a, *(const struct vow_id *)b);
}

/* As below, without branches. */
static void write_digits(const uint8_t bytes[16], char digits[32]) {
  for (int i = 0; i < 16; i++) {
    digits[2 * i] = (char)(bytes[i] >> 4);
    digits[2 * i + 1] = (char)(bytes[i] & 0x0f);
  }
  for (int i = 0; i < 32; i++) {
    digits[i] = (char)(digits[i] + (digits[i] < 10 ? '0' : 'a' - 10));
  }
}

void vow_id_format(struct vow_id id, char text[VOW_ID_TEXT_BYTES]) {
  char digits[32];

  write_digits(id.bytes, digits);
  memcpy(text, digits, 8);
  memcpy(text + 9, digits + 8, 4);
  memcpy(text + 14, digits + 12, 4);
  memcpy(text + 19, digits + 16, 4);
  memcpy(text + 24, digits + 20, 12);
  text[8] = text[13] = text[18] = text[23] = '-';
  text[36] = '\0';
}

/* Puts the values of hex digits in their place; false: there is something else among them. It has
 * no branches, so that compilers look at many digits at once. */
static bool read_digits(unsigned char digits[32]) {
  unsigned valid = 1;

  for (int i = 0; i < 32; i++) {
    unsigned char digit = (unsigned char)(digits[i] - '0');
    unsigned char letter = (unsigned char)((digits[i] | 0x20) - 'a');
    valid &= (unsigned)(digit < 10) | (unsigned)(letter < 6);
    digits[i] = (unsigned char)(digit < 10 ? digit : letter + 10);
  }
  return valid != 0;
}

bool vow_id_parse(const char *text, struct vow_id *out) {
  unsigned char digits[32];

  if (!text || strnlen(text, VOW_ID_TEXT_BYTES) != VOW_ID_TEXT_BYTES - 1) return false;
  if (text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-') return false;
  memcpy(digits, text, 8);
  memcpy(digits + 8, text + 9, 4);
  memcpy(digits + 12, text + 14, 4);
  memcpy(digits + 16, text + 19, 4);
  memcpy(digits + 20, text + 24, 12);
  if (!read_digits(digits)) return false;
  for (int i = 0; i < 16; i++) {
    out->bytes[i] = (uint8_t)(digits[2 * i] << 4 | digits[2 * i + 1]);
  }
  return true;
}
