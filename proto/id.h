/*
 * Transaction ids: UUIDv7 (RFC 9562, section 5.7), kept as 16 bytes in network order so that memcmp
 * is time order. 48 bits of Unix milliseconds, 12 bits of a counter within the millisecond, 62
 * random bits. Pure: time and random bits are given by the caller. Everybody may call.
 */
#ifndef VOW_PROTO_ID_H
#define VOW_PROTO_ID_H

#include <stdbool.h>
#include <stdint.h>

#define VOW_ID_TEXT_BYTES 37 /* with the final NUL */

struct vow_id {
  uint8_t bytes[16];
};

struct vow_id vow_id_make(uint64_t unix_ms, uint16_t counter12, uint64_t random);
/* The smallest id of a millisecond: what `finished_below` is when nothing is open. */
struct vow_id vow_id_floor(uint64_t unix_ms, uint16_t counter12);
uint64_t vow_id_unix_ms(struct vow_id id);
uint16_t vow_id_counter(struct vow_id id);
bool vow_id_is_v7(struct vow_id id);
bool vow_id_is_nil(struct vow_id id);
int vow_id_compare(struct vow_id a, struct vow_id b); /* <0, 0, >0 as memcmp */
int vow_id_order(const void *a, const void *b);       /* the same, for qsort and bsearch */

void vow_id_format(struct vow_id id, char text[VOW_ID_TEXT_BYTES]); /* lower case, 8-4-4-4-12 */
/* Any UUID in 8-4-4-4-12 form, either case, exactly 36 characters. False (and *out untouched)
 * otherwise. */
bool vow_id_parse(const char *text, struct vow_id *out);

#endif
