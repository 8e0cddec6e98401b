/*
 * The shape of UTF-8 (RFC 3629), for the JSON reader, which refuses what is not, and for the
 * writer, which replaces it. Pure.
 */
#ifndef VOW_PROTO_UTF8_H
#define VOW_PROTO_UTF8_H

#include <stddef.h>

/* The bytes of the valid sequence at the start of `left` bytes (at least one), or 0. */
size_t vow_utf8_sequence(const char *text, size_t left);

#endif
