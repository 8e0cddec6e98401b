/*
 * Durations, ages, and text that is safe and measured for a terminal.
 *
 * Participants choose names, URLs and error texts, so what they write must not reach the terminal
 * as control sequences. Widths come from wcwidth(), which needs a UTF-8 locale: main() sets one.
 */
#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#include "utf8.h"

struct unit {
  const char *name;
  uint64_t ms;
};

/* Largest first: the order in which a duration is written and read. */
static const struct unit units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};
#define UNIT_COUNT (sizeof units / sizeof units[0])

static bool digit(char c) {
  return c >= '0' && c <= '9';
}

/* Reads digits; false when there are none or they do not fit. */
static bool read_number(const char **at, uint64_t *out) {
  uint64_t value = 0;
  const char *p = *at;
  if (!digit(*p)) return false;
  for (; digit(*p); p++) {
    if (__builtin_mul_overflow(value, UINT64_C(10), &value)) return false;
    if (__builtin_add_overflow(value, (uint64_t)(*p - '0'), &value)) return false;
  }
  *at = p;
  *out = value;
  return true;
}

/* The unit that stands at *at, among those from `first` on. */
static bool read_unit(const char **at, size_t first, size_t *out) {
  size_t letters = strspn(*at, "abcdefghijklmnopqrstuvwxyz");
  for (size_t i = first; i < UNIT_COUNT; i++) {
    if (letters == strlen(units[i].name) && strncmp(*at, units[i].name, letters) == 0) {
      *at += letters;
      *out = i;
      return true;
    }
  }
  return false;
}

bool ctl_duration_parse(const char *text, uint64_t *out_ms) {
  uint64_t total = 0;
  size_t first = 0;
  if (*text == '\0') return false;
  while (*text != '\0') {
    uint64_t number;
    size_t unit;
    if (!read_number(&text, &number) || !read_unit(&text, first, &unit)) return false;
    if (__builtin_mul_overflow(number, units[unit].ms, &number)) return false;
    if (__builtin_add_overflow(total, number, &total)) return false;
    first = unit + 1;
  }
  *out_ms = total;
  return true;
}

bool ctl_uint_parse(const char *text, uint64_t min, uint64_t max, uint64_t *out) {
  uint64_t value;
  if (!read_number(&text, &value) || *text != '\0' || value < min || value > max) return false;
  *out = value;
  return true;
}

void ctl_duration_format(uint64_t ms, char out[CTL_DURATION_BYTES]) {
  size_t i = 0;
  while (i + 1 < UNIT_COUNT && ms < units[i].ms) i++;
  uint64_t big = ms / units[i].ms;
  uint64_t small = i + 1 < UNIT_COUNT ? ms % units[i].ms / units[i + 1].ms : 0;
  /* "12s" says enough: milliseconds beside whole seconds are noise. */
  if (small == 0 || i + 2 >= UNIT_COUNT) {
    snprintf(out, CTL_DURATION_BYTES, "%" PRIu64 "%s", big, units[i].name);
  } else {
    snprintf(out, CTL_DURATION_BYTES, "%" PRIu64 "%s%" PRIu64 "%s", big, units[i].name, small,
             units[i + 1].name);
  }
}

void ctl_time_format(uint64_t unix_ms, char out[CTL_TIME_BYTES]) {
  time_t seconds = (time_t)(unix_ms / 1000);
  struct tm utc;
  char date[24];
  if (gmtime_r(&seconds, &utc) == NULL ||
      strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &utc) == 0) {
    snprintf(out, CTL_TIME_BYTES, "%" PRIu64 " ms", unix_ms);
    return;
  }
  snprintf(out, CTL_TIME_BYTES, "%s.%03uZ", date, (unsigned)(unix_ms % 1000));
}

void ctl_bytes_format(uint64_t bytes, char out[CTL_DURATION_BYTES]) {
  static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t i = 0;
  double value = (double)bytes;
  for (; value >= 1024 && i + 1 < sizeof names / sizeof names[0]; i++) value /= 1024;
  snprintf(out, CTL_DURATION_BYTES, i == 0 ? "%.0f %s" : "%.1f %s", value, names[i]);
}

uint64_t ctl_now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void ctl_safe_append(struct vow_buf *buf, const char *text) {
  vow_utf8_append_safe(buf, text, "");
}

/* Columns of one character: 0 where it combines with the one before. */
static size_t columns(uint32_t c) {
  int width = wcwidth((wchar_t)c);
  return width < 0 ? 1 : (size_t)width;
}

size_t ctl_width(const char *text) {
  size_t width = 0;
  while (*text != '\0') {
    uint32_t c;
    size_t bytes = vow_utf8_decode(text, &c);
    width += bytes == 0 ? 1 : columns(c);
    text += bytes == 0 ? 1 : bytes;
  }
  return width;
}

size_t ctl_prefix_bytes(const char *text, size_t width) {
  size_t at = 0;
  while (text[at] != '\0') {
    uint32_t c;
    size_t bytes = vow_utf8_decode(text + at, &c);
    size_t wide = bytes == 0 ? 1 : columns(c);
    if (wide > width) break;
    width -= wide;
    at += bytes == 0 ? 1 : bytes;
  }
  return at;
}

#define WORD_MAX 40

static unsigned min3(unsigned a, unsigned b, unsigned c) {
  unsigned least = a < b ? a : b;
  return least < c ? least : c;
}

unsigned ctl_edit_distance(const char *a, const char *b) {
  unsigned rows[3][WORD_MAX + 1];
  unsigned *before = rows[0], *last = rows[1], *now = rows[2];
  size_t b_bytes = strnlen(b, WORD_MAX + 1);
  if (b_bytes > WORD_MAX || strnlen(a, WORD_MAX + 1) > WORD_MAX) return WORD_MAX;
  for (unsigned j = 0; j <= b_bytes; j++) last[j] = before[j] = j;
  for (unsigned i = 1; a[i - 1] != '\0'; i++) {
    now[0] = i;
    for (unsigned j = 1; j <= b_bytes; j++) {
      unsigned same = a[i - 1] == b[j - 1] ? 0 : 1;
      now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + same);
      bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped && before[j - 2] + 1 < now[j]) now[j] = before[j - 2] + 1;
    }
    unsigned *oldest = before;
    before = last;
    last = now;
    now = oldest;
  }
  return last[b_bytes];
}
