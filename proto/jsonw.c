/*
 * The streaming JSON writer of json.h. Everyone who writes JSON calls it.
 * Invariant: as long as the buffer has not failed, what is in it, closed by the open levels'
 * brackets, is valid JSON (given that raw text was) in valid UTF-8.
 */
#include <assert.h>
#include <string.h>

#include "json.h"
#include "plain.h"
#include "utf8.h"

/* The top is like an array, with one item. */
#define LEVEL_TOP UINT64_C(1)
#define LEVEL_MAX (LEVEL_TOP << VOW_JSON_DEPTH_MAX)

void vow_jsonw_init(struct vow_jsonw *w, struct vow_buf *buf) {
  *w = (struct vow_jsonw){.buf = buf,
                          .level = LEVEL_TOP,
                          .is_array = LEVEL_TOP,
                          .in_array = true,
                          .date = "1970-01-01"};
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

/* How many bytes from the start on can be copied as they are. */
static size_t plain_run(const char *text, size_t bytes) {
  size_t i = 0;
  while (i < bytes) {
    if (vow_is_plain((unsigned char)text[i])) {
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

/* Less than eight bytes, without a call. What is copied second may overlap. */
static inline bool copy_few_plain(char *to, const char *from, size_t bytes) {
  bool plain = true;

  if (bytes >= 4) {
    uint64_t eight = vow_four_bytes(from, from + bytes - 4);
    uint32_t low = (uint32_t)eight, high = (uint32_t)(eight >> 32);
    memcpy(to, &low, 4);
    memcpy(to + bytes - 4, &high, 4);
    return vow_odd_bytes(eight) == 0;
  }
  for (size_t i = 0; i < bytes; i++) {
    to[i] = from[i];
    plain &= vow_is_plain((unsigned char)from[i]);
  }
  return plain;
}

/* From eight bytes to sixteen. */
static inline bool copy_some_plain(char *to, const char *from, size_t bytes) {
  uint64_t first = vow_eight_bytes(from), last = vow_eight_bytes(from + bytes - 8);

  memcpy(to, &first, 8);
  memcpy(to + bytes - 8, &last, 8);
  return (vow_odd_bytes(first) | vow_odd_bytes(last)) == 0;
}

__attribute__((noinline)) static bool copy_many_plain(char *to, const char *from, size_t bytes) {
  bool plain = true;

  for (; bytes > 16; to += 16, from += 16, bytes -= 16) plain &= copy_some_plain(to, from, 16);
  return plain & copy_some_plain(to + bytes - 16, from + bytes - 16, 16); /* may overlap */
}

/* Copies a text if it is plain; else it may have copied some of it. UTF-8 does not count: it must
 * be looked at. */
static inline bool copy_plain(char *to, const char *from, size_t bytes) {
  if (bytes < 8) return copy_few_plain(to, from, bytes);
  return bytes <= 16 ? copy_some_plain(to, from, bytes) : copy_many_plain(to, from, bytes);
}

static void put_quoted(struct vow_buf *buf, const char *text, size_t bytes) {
  char *at = vow_buf_extend(buf, bytes + 2);
  if (!at) return;
  at[0] = '"';
  if (copy_plain(at + 1, text, bytes)) {
    at[1 + bytes] = '"';
    return;
  }
  buf->bytes -= bytes + 1; /* it does not get shorter, so all of that is needed */
  put_characters(buf, text, bytes);
  vow_buf_append(buf, "\"", 1);
}

#define SHORT_KEY_BYTES 16

/* What comes before a value, where room must be made, or the key may be long or need escapes. */
__attribute__((cold, noinline)) static char *begin_item_slowly(struct vow_jsonw *w,
                                                               struct vow_jsonw_key key,
                                                               size_t bytes) {
  struct vow_buf *buf = w->buf;
  if (buf->error != VOW_OK) return NULL;
  assert(w->in_array == (key.bytes == 0));
  if (w->comma) vow_buf_append(buf, ",", 1);
  w->comma = true;
  if (key.bytes > 0) {
    put_quoted(buf, key.text, key.bytes - 3);
    vow_buf_append(buf, ":", 1);
  }
  return vow_buf_extend(buf, bytes);
}

/* Copies are not wanted where branches are counted: each would have to take them all. */
#ifdef VOW_COVERAGE
#define INLINE inline
#else
#define INLINE inline __attribute__((always_inline))
#endif

/* What comes before a value: the comma and the key; and room for a value of `bytes`. Returns where
 * the caller puts that at once, or NULL if the buffer has failed. Inline, and with nothing but rare
 * calls in it, since an item takes little more than a call. */
static INLINE char *begin_item(struct vow_jsonw *w, struct vow_jsonw_key key, size_t bytes) {
  struct vow_buf *buf = w->buf;
  size_t comma = w->comma, all = comma + key.bytes + bytes;
  bool has_room = buf->error == VOW_OK && all < buf->capacity - buf->bytes;
  if (!has_room || key.bytes > SHORT_KEY_BYTES + 3 || w->keys_of_others) {
    return begin_item_slowly(w, key, bytes);
  }
  assert(w->in_array == (key.bytes == 0));
  w->comma = true;
  char *at = buf->data + buf->bytes;
  buf->bytes += all;
  *at = ','; /* there, or else written over at once */
  at[all] = '\0';
  at += comma;
  if (key.bytes > 0) {
    at[0] = '"';
    (void)copy_plain(at + 1, key.text, key.bytes - 3);
    at += key.bytes;
    memcpy(at - 2, "\":", 2);
  }
  return at;
}

/* Fails the buffer if no level can be opened any more. */
static inline void check_depth(struct vow_jsonw *w) {
  if (w->level == LEVEL_MAX && w->buf->error == VOW_OK) w->buf->error = VOW_E_LIMIT_EXCEEDED;
}

void vow_jsonw_put_level(struct vow_jsonw *w, struct vow_jsonw_key key, bool is_array) {
  check_depth(w);
  char *at = begin_item(w, key, 1);
  if (!at) return;
  *at = is_array ? '[' : '{';
  w->level <<= 1;
  w->is_array = is_array ? w->is_array | w->level : w->is_array & ~w->level;
  w->in_array = is_array;
  w->comma = false;
}

void vow_jsonw_end(struct vow_jsonw *w) {
  /* A failed buffer has stopped counting levels, so the ends that follow may be too many. */
  if (w->buf->error != VOW_OK) return;
  assert(w->level > LEVEL_TOP);
  vow_buf_append(w->buf, w->in_array ? "]" : "}", 1);
  w->level >>= 1;
  w->in_array = (w->is_array & w->level) != 0;
  w->comma = true;
}

void vow_jsonw_put_string(struct vow_jsonw *w, struct vow_jsonw_key key, const char *value,
                          size_t bytes) {
  char *at = begin_item(w, key, bytes + 2);
  if (!at) return;
  at[0] = '"';
  if (copy_plain(at + 1, value, bytes)) {
    at[1 + bytes] = '"';
    return;
  }
  w->buf->bytes -= bytes + 2; /* it does not get shorter, so all of that is needed */
  put_quoted(w->buf, value, bytes);
}

void vow_jsonw_put_raw(struct vow_jsonw *w, struct vow_jsonw_key key, const char *json,
                       size_t bytes) {
  char *at = begin_item(w, key, bytes);
  if (at) memcpy(at, json, bytes);
}

void vow_jsonw_members(struct vow_jsonw *w, const char *object, size_t bytes) {
  assert(w->buf->error != VOW_OK || !w->in_array);
  char *at = vow_buf_extend(w->buf, w->comma + bytes - 2);
  if (!at) return;
  if (w->comma) *at++ = ',';
  memcpy(at, object + 1, bytes - 2);
  w->comma = true;
}

/* Most numbers have few. */
static inline size_t count_digits(uint64_t value) {
  size_t count = 1;
  for (uint64_t next = 10; value >= next; next *= 10) {
    count++;
    if (next > UINT64_MAX / 10) break;
  }
  return count;
}

/* Writes the digits so that they end at `end`; returns where they begin. */
static inline char *put_digits(char *end, uint64_t value) {
  for (; value >= 10; value /= 10) *--end = (char)('0' + value % 10);
  *--end = (char)('0' + value);
  return end;
}

void vow_jsonw_put_uint(struct vow_jsonw *w, struct vow_jsonw_key key, uint64_t value) {
  size_t count = count_digits(value);
  char *at = begin_item(w, key, count);
  if (at) put_digits(at + count, value);
}

void vow_jsonw_put_row(struct vow_jsonw *w, struct vow_jsonw_key key, const uint64_t *values,
                       size_t count, const char *text, size_t text_bytes) {
  size_t bytes = count + 1; /* the brackets and commas */
  for (size_t i = 0; i < count; i++) bytes += count_digits(values[i]);
  if (text) bytes += text_bytes + 3;
  assert(count > 0);
  check_depth(w);
  char *at = begin_item(w, key, bytes);
  if (!at) return;
  char *end = at + bytes;
  bool plain = true;
  *--end = ']';
  if (text) {
    *--end = '"';
    end -= text_bytes;
    plain = copy_plain(end, text, text_bytes);
    *--end = '"';
    *--end = ',';
  }
  for (size_t i = count; i-- > 0;) {
    end = put_digits(end, values[i]);
    *--end = i > 0 ? ',' : '[';
  }
  if (plain) return;
  w->buf->bytes -= text_bytes + 3; /* as for a string */
  put_quoted(w->buf, text, text_bytes);
  vow_buf_append(w->buf, "]", 1);
}

void vow_jsonw_put_id(struct vow_jsonw *w, struct vow_jsonw_key key, struct vow_id id) {
  char *at = begin_item(w, key, VOW_ID_TEXT_BYTES + 1);
  if (!at) return;
  at[0] = '"';
  vow_id_format(id, at + 1);
  at[VOW_ID_TEXT_BYTES] = '"'; /* where the format puts its NUL */
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

static inline void put_two(char *at, unsigned value) {
#define ROW(ten) ten "0" ten "1" ten "2" ten "3" ten "4" ten "5" ten "6" ten "7" ten "8" ten "9"
  static const char digits[] =
      ROW("0") ROW("1") ROW("2") ROW("3") ROW("4") ROW("5") ROW("6") ROW("7") ROW("8") ROW("9");
#undef ROW
  memcpy(at, digits + 2 * value, 2);
}

/* Most times that a writer gets are of one day, so it remembers the last. */
static void remember_date(struct vow_jsonw *w, uint64_t days) {
  unsigned year, month, day;

  if (w->date_days == days) return;
  date_of_days(days, &year, &month, &day);
  put_two(w->date, year / 100);
  put_two(w->date + 2, year % 100);
  put_two(w->date + 5, month);
  put_two(w->date + 8, day);
  w->date_days = days;
}

void vow_jsonw_put_time(struct vow_jsonw *w, struct vow_jsonw_key key, uint64_t unix_ms) {
  static const uint64_t last_ms = UINT64_C(253402300799999); /* RFC 3339 ends with the year 9999 */
  static const char shape[] = "\"0000-00-00T00:00:00.000Z\"";

  char *at = begin_item(w, key, sizeof shape - 1);
  if (!at) return;
  if (unix_ms > last_ms) unix_ms = last_ms;
  remember_date(w, unix_ms / 86400000);
  unsigned ms = (unsigned)(unix_ms % 86400000);
  memcpy(at, shape, sizeof shape - 1);
  memcpy(at + 1, w->date, sizeof w->date - 1);
  put_two(at + 12, ms / 3600000);
  put_two(at + 15, ms / 60000 % 60);
  put_two(at + 18, ms / 1000 % 60);
  at[21] = (char)('0' + ms / 100 % 10);
  put_two(at + 22, ms % 100);
}
