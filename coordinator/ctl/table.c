/*
 * Tables for people. See table.h.
 *
 * Invariant: cells are filled row by row; a row that is not complete at flush is printed as far as
 * it goes. Every cell's text has been made safe before it is measured.
 */
#include "table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "text.h"

#define GAP            2
#define WIDTH_FALLBACK 80
#define FACT_INDENT    14
#define FACT_BYTES_MAX (1U << 20)
/* A line that cannot show this much of its last column is left long: cutting it to nothing would
 * say less than wrapping. */
#define LAST_COLUMN_MIN 12

static const char *const colours[] = {
    [CTL_PLAIN] = "",         [CTL_GOOD] = "\033[32m", [CTL_WARN] = "\033[33m",
    [CTL_BAD] = "\033[1;31m", [CTL_FAINT] = "\033[2m", [CTL_BOLD] = "\033[1m",
};

void ctl_terminal_of(FILE *stream, struct ctl_terminal *out) {
  const char *term = getenv("TERM");
  const char *no_color = getenv("NO_COLOR");
  struct winsize size = {0};
  struct ctl_terminal terminal = {0};
  terminal.tty = isatty(fileno(stream)) == 1;
  if (terminal.tty) {
    bool known = ioctl(fileno(stream), TIOCGWINSZ, &size) == 0;
    terminal.width = known && size.ws_col > 0 ? size.ws_col : WIDTH_FALLBACK;
    terminal.height = known && size.ws_row > 0 ? size.ws_row : 24;
    /* no-color.org: present and not empty, whatever its value. */
    terminal.colour = (no_color == NULL || *no_color == '\0') && term != NULL && *term != '\0' &&
                      strcmp(term, "dumb") != 0;
  }
  *out = terminal;
}

void ctl_paint(struct vow_buf *buf, const struct ctl_terminal *terminal, enum ctl_colour colour,
               const char *text) {
  bool paint = terminal->colour && colour != CTL_PLAIN;
  if (paint) vow_buf_puts(buf, colours[colour]);
  vow_buf_puts(buf, text);
  if (paint) vow_buf_puts(buf, "\033[0m");
}

void ctl_fact(struct vow_buf *buf, const struct ctl_terminal *terminal, const char *key,
              enum ctl_colour colour, const char *value) {
  struct vow_buf safe;
  if (value == NULL) return;
  vow_buf_init(&safe, FACT_BYTES_MAX);
  ctl_safe_append(&safe, value);
  vow_buf_printf(buf, "%-*s", FACT_INDENT, key);
  ctl_paint(buf, terminal, colour, vow_buf_text(&safe));
  vow_buf_puts(buf, "\n");
  if (safe.error == VOW_E_NO_MEMORY) buf->error = safe.error;
  vow_buf_fini(&safe);
}

void ctl_table_init(struct ctl_table *table, const struct ctl_terminal *terminal,
                    const char *const *titles, unsigned columns) {
  memset(table, 0, sizeof *table);
  table->terminal = terminal;
  table->titles = titles;
  table->columns = columns;
  for (unsigned i = 0; titles != NULL && i < columns; i++) table->widths[i] = ctl_width(titles[i]);
}

static void drop_cells(struct ctl_table *table) {
  for (size_t i = 0; i < table->count; i++) free(table->cells[i].text);
  table->count = 0;
}

void ctl_table_fini(struct ctl_table *table) {
  if (table == NULL) return;
  drop_cells(table);
  free(table->cells);
  table->cells = NULL;
  table->capacity = 0;
}

static bool make_room(struct ctl_table *table) {
  if (table->count < table->capacity) return true;
  size_t capacity = table->capacity == 0 ? 64 : table->capacity * 2;
  struct ctl_cell *cells = reallocarray(table->cells, capacity, sizeof *cells);
  if (cells == NULL) return false;
  table->cells = cells;
  table->capacity = capacity;
  return true;
}

void ctl_table_cell(struct ctl_table *table, enum ctl_colour colour, const char *text) {
  struct vow_buf safe;
  if (table->error != VOW_OK) return;
  vow_buf_init(&safe, CTL_LINE_BYTES_MAX);
  ctl_safe_append(&safe, text == NULL ? "-" : text);
  /* Past the limit the text is cut, not lost: the buffer keeps what fitted. */
  char *copy = safe.error == VOW_E_NO_MEMORY ? NULL : strdup(vow_buf_text(&safe));
  vow_buf_fini(&safe);
  if (copy == NULL || !make_room(table)) {
    free(copy);
    table->error = VOW_E_NO_MEMORY;
    return;
  }
  size_t width = ctl_width(copy);
  size_t column = table->count % table->columns;
  if (width > table->widths[column]) table->widths[column] = width;
  table->cells[table->count++] = (struct ctl_cell){.text = copy, .colour = colour};
}

void ctl_table_cellf(struct ctl_table *table, enum ctl_colour colour, const char *format, ...) {
  char *text = NULL;
  va_list args;
  va_start(args, format);
  int bytes = vasprintf(&text, format, args);
  va_end(args);
  if (bytes < 0) {
    table->error = VOW_E_NO_MEMORY;
    return;
  }
  ctl_table_cell(table, colour, text);
  free(text);
}

static void pad(struct vow_buf *out, size_t columns) {
  for (size_t i = 0; i < columns; i++) vow_buf_puts(out, " ");
}

/* The last column takes what is left of the line; text that does not fit ends in an ellipsis. */
static void put_last(struct vow_buf *out, const struct ctl_table *table, size_t used,
                     enum ctl_colour colour, const char *text) {
  unsigned width = table->terminal->width;
  size_t room = width > used ? width - used : 0;
  if (width == 0 || room < LAST_COLUMN_MIN || ctl_width(text) <= room) {
    ctl_paint(out, table->terminal, colour, text);
    return;
  }
  char *cut = strndup(text, ctl_prefix_bytes(text, room - 1));
  ctl_paint(out, table->terminal, colour, cut == NULL ? "" : cut);
  if (cut == NULL) out->error = VOW_E_NO_MEMORY;
  free(cut);
  vow_buf_puts(out, "…");
}

/* Writes the cell of column `i`, of `count` in this row, at column *used of the line. */
static void put_cell(struct vow_buf *out, const struct ctl_table *table, size_t i, size_t count,
                     size_t *used, enum ctl_colour colour, const char *text) {
  size_t fill = table->widths[i] - ctl_width(text);
  bool right = (table->right >> i & 1) != 0;
  bool last = i + 1 == count;
  if (i == 0) pad(out, table->indent);
  if (right) pad(out, fill);
  if (last && !right) {
    put_last(out, table, *used, colour, text);
  } else {
    ctl_paint(out, table->terminal, colour, text);
  }
  if (last) {
    vow_buf_puts(out, "\n");
  } else {
    pad(out, (right ? 0 : fill) + GAP);
  }
  *used += table->widths[i] + GAP;
}

static void put_heading(struct vow_buf *out, const struct ctl_table *table) {
  size_t used = table->indent;
  for (unsigned i = 0; i < table->columns; i++) {
    put_cell(out, table, i, table->columns, &used, CTL_BOLD, table->titles[i]);
  }
}

static void put_row(struct vow_buf *out, const struct ctl_table *table,
                    const struct ctl_cell *cells, size_t count) {
  size_t used = table->indent;
  for (size_t i = 0; i < count; i++) {
    put_cell(out, table, i, count, &used, cells[i].colour, cells[i].text);
  }
}

void ctl_table_flush(struct ctl_table *table, struct vow_buf *out) {
  if (table->titles != NULL && !table->heading_done) put_heading(out, table);
  table->heading_done = true;
  for (size_t at = 0; at < table->count; at += table->columns) {
    size_t left = table->count - at;
    put_row(out, table, table->cells + at, left < table->columns ? left : table->columns);
  }
  if (table->error != VOW_OK) out->error = table->error;
  drop_cells(table);
}
