/*
 * The streaming JSON writer of json.h. Everyone who writes JSON calls it.
 * Invariant: as long as the buffer has not failed, what is in it, closed by the open levels'
 * brackets, is valid JSON (given that raw text was) in valid UTF-8.
 */
#include <assert.h>
#include <string.h>

#include "json.h"
#include "utf8.h"

void vow_jsonw_init(struct vow_jsonw *w, struct vow_buf *buf) {
  *w = (struct vow_jsonw){.buf = buf};
}

/* The short escape where JSON has one, so that a value never grows by being parsed and written. */
static void put_escape(struct vow_buf *buf, unsigned char c) {
  static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";

  const char *found = c != '\0' ? strchr(plain, c) : NULL;
  if (found) {
    vow_buf_printf(buf, "\\%c", letters[found - plain]);
  } else {
    vow_buf_printf(buf, "\\u%04x", c);
  }
}

/* ASCII that stands for itself: nearly everything that is written. */
static bool is_plain(unsigned char c) {
  return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* How many bytes from the start on can be copied as they are. */
static size_t plain_run(const char *text, size_t bytes) {
  size_t i = 0;
  while (i < bytes) {
    if (is_plain((unsigned char)text[i])) {
      i++;
      continue;
    }
    size_t sequence = vow_utf8_sequence(text + i, bytes - i);
    if (sequence < 2) break;
    i += sequence;
  }
  return i;
}

/* Between the quotes. */
static void put_characters(struct vow_buf *buf, const char *text, size_t bytes) {
  while (bytes > 0) {
    size_t plain = plain_run(text, bytes);
    vow_buf_append(buf, text, plain);
    if (plain == bytes) return;
    if (vow_utf8_sequence(text + plain, bytes - plain) == 0) {
      vow_buf_append(buf, "\xef\xbf\xbd", 3);
    } else {
      put_escape(buf, (unsigned char)text[plain]);
    }
    text += plain + 1;
    bytes -= plain + 1;
  }
}

static void put_quoted(struct vow_buf *buf, const char *text, size_t bytes) {
  vow_buf_append(buf, "\"", 1);
  put_characters(buf, text, bytes);
  vow_buf_append(buf, "\"", 1);
}

/* What comes before a value: the comma and the key. */
static void put_prefix(struct vow_jsonw *w, const char *key) {
  bool comma = false;
  if (w->depth > 0) {
    uint32_t level = UINT32_C(1) << (w->depth - 1);
    assert(((w->is_array & level) != 0) == (key == NULL));
    comma = w->has_item & level;
    w->has_item |= level;
  }
  if (!key) {
    if (comma) vow_buf_append(w->buf, ",", 1);
    return;
  }
  vow_buf_append(w->buf, &",\""[!comma], 1 + (size_t)comma);
  put_characters(w->buf, key, strlen(key));
  vow_buf_append(w->buf, "\":", 2);
}

static void open_level(struct vow_jsonw *w, const char *key, bool is_array) {
  if (w->buf->error != VOW_OK) return;
  if (w->depth == VOW_JSON_DEPTH_MAX) {
    w->buf->error = VOW_E_LIMIT_EXCEEDED;
    return;
  }
  put_prefix(w, key);
  vow_buf_append(w->buf, is_array ? "[" : "{", 1);
  uint32_t level = UINT32_C(1) << w->depth++;
  w->has_item &= ~level;
  w->is_array = is_array ? w->is_array | level : w->is_array & ~level;
}

void vow_jsonw_object(struct vow_jsonw *w, const char *key) {
  open_level(w, key, false);
}

void vow_jsonw_array(struct vow_jsonw *w, const char *key) {
  open_level(w, key, true);
}

void vow_jsonw_end(struct vow_jsonw *w) {
  /* A failed buffer has stopped counting levels, so the ends that follow may be too many. */
  if (w->buf->error != VOW_OK) return;
  assert(w->depth > 0);
  w->depth--;
  vow_buf_append(w->buf, w->is_array & (UINT32_C(1) << w->depth) ? "]" : "}", 1);
}

void vow_jsonw_string(struct vow_jsonw *w, const char *key, const char *value) {
  if (value) vow_jsonw_string_n(w, key, value, strlen(value));
}

void vow_jsonw_string_n(struct vow_jsonw *w, const char *key, const char *value, size_t bytes) {
  if (!value || w->buf->error != VOW_OK) return;
  put_prefix(w, key);
  put_quoted(w->buf, value, bytes);
}

void vow_jsonw_raw(struct vow_jsonw *w, const char *key, const char *json, size_t bytes) {
  if (!json || w->buf->error != VOW_OK) return;
  put_prefix(w, key);
  vow_buf_append(w->buf, json, bytes);
}

void vow_jsonw_uint(struct vow_jsonw *w, const char *key, uint64_t value) {
  char text[20];
  size_t at = sizeof text;

  if (w->buf->error != VOW_OK) return;
  put_prefix(w, key);
  do {
    text[--at] = (char)('0' + value % 10);
    value /= 10;
  } while (value > 0);
  vow_buf_append(w->buf, text + at, sizeof text - at);
}

void vow_jsonw_bool(struct vow_jsonw *w, const char *key, bool value) {
  vow_jsonw_raw(w, key, value ? "true" : "false", value ? 4 : 5);
}

void vow_jsonw_id(struct vow_jsonw *w, const char *key, struct vow_id id) {
  char text[VOW_ID_TEXT_BYTES];

  vow_id_format(id, text);
  vow_jsonw_string_n(w, key, text, VOW_ID_TEXT_BYTES - 1);
}

/* Days since 1970-01-01 as a date of the Gregorian calendar. Years are counted from March, so that
 * the leap day is the last of its year, and in eras of 400 years, which are all alike. */
static void date_of_days(uint64_t days, unsigned *year, unsigned *month, unsigned *day) {
  uint64_t shifted = days + 719468; /* from 0000-03-01 */
  uint64_t era = shifted / 146097;
  unsigned of_era = (unsigned)(shifted % 146097);
  unsigned year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  unsigned of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  unsigned from_march = (5 * of_year + 2) / 153;

  *day = of_year - (153 * from_march + 2) / 5 + 1;
  *month = from_march < 10 ? from_march + 3 : from_march - 9;
  *year = (unsigned)(year_of_era + era * 400) + (*month <= 2 ? 1 : 0);
}

static void put_digits(char *text, int digits, unsigned value) {
  for (; digits > 0; value /= 10) text[--digits] = (char)('0' + value % 10);
}

void vow_jsonw_time(struct vow_jsonw *w, const char *key, uint64_t unix_ms) {
  static const uint64_t last_ms = UINT64_C(253402300799999); /* RFC 3339 ends with the year 9999 */
  unsigned year, month, day;

  if (w->buf->error != VOW_OK) return;
  if (unix_ms > last_ms) unix_ms = last_ms;
  date_of_days(unix_ms / 86400000, &year, &month, &day);
  unsigned ms = (unsigned)(unix_ms % 86400000);
  put_prefix(w, key);
  char text[] = "\"0000-00-00T00:00:00.000Z\"";
  put_digits(text + 1, 4, year);
  put_digits(text + 6, 2, month);
  put_digits(text + 9, 2, day);
  put_digits(text + 12, 2, ms / 3600000);
  put_digits(text + 15, 2, ms / 60000 % 60);
  put_digits(text + 18, 2, ms / 1000 % 60);
  put_digits(text + 21, 3, ms % 1000);
  vow_buf_append(w->buf, text, sizeof text - 1);
}
