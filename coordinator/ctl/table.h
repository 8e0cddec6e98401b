/*
 * Tables for people: aligned columns, the last one cut to the terminal's width, colour where it is
 * wanted. Rows are collected and printed together, because a column is as wide as its widest cell.
 *
 * A program that reads vowctl uses --json; when standard output is not a terminal nothing is cut
 * and nothing coloured.
 */
#ifndef VOW_CTL_TABLE_H
#define VOW_CTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "buf.h"

#define CTL_COLUMNS_MAX 10

enum ctl_colour { CTL_PLAIN = 0, CTL_GOOD, CTL_WARN, CTL_BAD, CTL_FAINT, CTL_BOLD };

/* What standard output can do. */
struct ctl_terminal {
  bool tty;
  bool colour;
  unsigned width; /* 0: unlimited */
  unsigned height;
};
void ctl_terminal_of(FILE *stream, struct ctl_terminal *out);

/* Appends the text in this colour, or plain where colours are off. */
void ctl_paint(struct vow_buf *buf, const struct ctl_terminal *terminal, enum ctl_colour colour,
               const char *text);

/* One line "key  value"; the value is made safe. NULL: nothing is written. */
void ctl_fact(struct vow_buf *buf, const struct ctl_terminal *terminal, const char *key,
              enum ctl_colour colour, const char *value);

struct ctl_cell {
  char *text; /* owned, safe for a terminal; NULL: empty */
  enum ctl_colour colour;
};

struct ctl_table {
  const struct ctl_terminal *terminal;
  const char *const *titles; /* borrowed; NULL-terminated; NULL: no heading */
  unsigned columns;
  unsigned indent;
  unsigned right; /* one bit a column: numbers stand at its right edge */
  size_t widths[CTL_COLUMNS_MAX];
  struct ctl_cell *cells; /* row by row */
  size_t count, capacity;
  bool heading_done;
  enum vow_error error; /* VOW_OK or VOW_E_NO_MEMORY; then nothing more is added */
};

void ctl_table_init(struct ctl_table *table, const struct ctl_terminal *terminal,
                    const char *const *titles, unsigned columns);
void ctl_table_fini(struct ctl_table *table);

/* The next cell, row by row from the left. The text is copied and made safe; NULL is "-". */
void ctl_table_cell(struct ctl_table *table, enum ctl_colour colour, const char *text);
void ctl_table_cellf(struct ctl_table *table, enum ctl_colour colour, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Appends the heading (once) and all rows to `out`, and forgets the rows. Widths are kept, so that
 * a second page lines up with the first. */
void ctl_table_flush(struct ctl_table *table, struct vow_buf *out);

#endif
