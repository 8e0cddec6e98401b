/*
 * A pass over JSON text before the parser sees it, for json.c only. It does two things the parser
 * cannot: it finds nesting that is too deep without recursing, and it marks the tokens whose text
 * must survive. A number that is not a plain integer of at most 18 digits would come back from the
 * parser as a double or not at all; it is handed over as a string instead, "<mark>n" and the
 * number's text. A string that begins with the mark itself gets "<mark>s" in front, so the two
 * cannot be confused. Most texts need no mark and are parsed as they are.
 *
 * Pure syntax; text that is not JSON passes through and is left for the parser to refuse.
 */
#ifndef VOW_PROTO_JSON_SCAN_H
#define VOW_PROTO_JSON_SCAN_H

#include "buf.h"

#define VOW_JSON_MARK        '\x7f'
#define VOW_JSON_MARK_NUMBER 'n'
#define VOW_JSON_MARK_STRING 's'

struct vow_json_scan {
  size_t marks;       /* tokens that need one */
  bool too_deep;      /* the bracket at `too_deep_at` opens level depth_max + 1 */
  size_t too_deep_at; /* offset */
};

void vow_json_scan(const char *text, size_t bytes, unsigned depth_max, struct vow_json_scan *out);

/* Appends the text with its marks: at most three times as long. */
void vow_json_mark(const char *text, size_t bytes, struct vow_buf *out);

/* Where offset `marked` of the marked text is in the text itself: for error messages. */
size_t vow_json_unmark_offset(const char *text, size_t bytes, size_t marked);

#endif
