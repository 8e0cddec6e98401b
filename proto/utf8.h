/*
 * The shape of UTF-8 (RFC 3629), for the JSON reader, which refuses what is not, and for the
 * writer, which replaces it; and texts of others made safe for a terminal or a line of a log. Pure.
 */
#ifndef VOW_PROTO_UTF8_H
#define VOW_PROTO_UTF8_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"

/* The bytes of the valid sequence at the start of `left` bytes (at least one), or 0. */
size_t vow_utf8_sequence(const char *text, size_t left);

/* The character at the start of a NUL-terminated text that is not empty; returns its bytes, or 0
 * (and *out untouched) when what stands there is not UTF-8. */
size_t vow_utf8_decode(const char *text, uint32_t *out);

/* Appends `text` so that no terminal acts on it and no line looks like another: control characters,
 * bytes that are not UTF-8, and characters that hide or reorder others are written as \n, \t, \r,
 * \xNN or \u{NNNN}. Characters of `quoted` (ASCII) get a backslash in front. */
void vow_utf8_append_safe(struct vow_buf *buf, const char *text, const char *quoted);

#endif
