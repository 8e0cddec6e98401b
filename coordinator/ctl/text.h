/*
 * Text for people: durations, ages, times, and strings of others made safe for a terminal. Pure
 * but for the C library's tables of character widths. Everybody in ctl may call.
 */
#ifndef VOW_CTL_TEXT_H
#define VOW_CTL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

#define CTL_DURATION_BYTES 24
#define CTL_TIME_BYTES     32
#define CTL_LINE_BYTES_MAX 8192 /* of one cell or message; longer text is cut */

/* "250ms", "90s", "5m", "1h30m", "2d": a number and a unit, one or several, larger units first.
 * False (and *out_ms untouched) when it is none, or does not fit 64 bits. */
bool ctl_duration_parse(const char *text, uint64_t *out_ms);

/* A decimal number within limits, digits only. */
bool ctl_uint_parse(const char *text, uint64_t min, uint64_t max, uint64_t *out);

/* The two largest units: "412ms", "3m12s", "2d4h". */
void ctl_duration_format(uint64_t ms, char out[CTL_DURATION_BYTES]);

/* "2026-03-01 12:00:07.250Z". */
void ctl_time_format(uint64_t unix_ms, char out[CTL_TIME_BYTES]);

/* "312 B", "1.2 MiB". */
void ctl_bytes_format(uint64_t bytes, char out[CTL_DURATION_BYTES]);

uint64_t ctl_now_ms(void); /* Unix time */

/* Appends `text` so that no terminal acts on it: control characters, bytes that are not UTF-8, and
 * characters that reorder a line are written as \n, \t, \xNN or \u{NNNN}. */
void ctl_safe_append(struct vow_buf *buf, const char *text);

/* Columns that the text takes on a terminal. The text has been made safe. */
size_t ctl_width(const char *text);

/* The longest prefix of at most `width` columns; returns its bytes. Never cuts a character or
 * parts it from the marks that combine with it. */
size_t ctl_prefix_bytes(const char *text, size_t width);

/* Letters to change, leave out, put in or swap to get from a to b: for "did you mean". */
unsigned ctl_edit_distance(const char *a, const char *b);

#endif
