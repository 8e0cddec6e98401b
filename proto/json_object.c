/*
 * The typed reader of objects: json.h, `struct vow_json_object`. Everyone who decodes JSON calls
 * it. Invariants: only the first problem is kept; after it no getter writes anything; each sentence
 * begins with the place it speaks of.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "json_node.h"

int vow_json_object_place(const struct vow_json_object *o, const char *key, char *out,
                          size_t bytes) {
  if (o->array) {
    return snprintf(out, bytes, "%s[%zu]%s%s", o->array, o->index, key ? "." : "", key ? key : "");
  }
  if (!key) return snprintf(out, bytes, "%s", o->path[0] ? o->path : "the body");
  return snprintf(out, bytes, "%s%s%s", o->path, o->path[0] ? "." : "", key);
}

void vow_json_object_fail(struct vow_json_object *o, const char *key, const char *format, ...) {
  va_list args;

  if (o->error != VOW_OK) return;
  o->error = VOW_E_INVALID_REQUEST;
  int used = vow_json_object_place(o, key, o->why, sizeof o->why);
  if (used < 0 || (size_t)used + 2 > sizeof o->why) return;
  o->why[used++] = ' ';
  va_start(args, format);
  (void)vsnprintf(o->why + used, sizeof o->why - (size_t)used, format, args);
  va_end(args);
}

static void begin(struct vow_json_object *o, const struct vow_json_node *node) {
  /* Its arrays are not cleared: this is done for every object of every message. */
  o->node = node;
  o->path[0] = '\0';
  o->array = NULL;
  o->known_count = 0;
  o->next = 0;
  o->read = 0;
  o->unknown_is_fine = false;
  o->error = VOW_OK;
  o->why[0] = '\0';
}

static void check_kind(struct vow_json_object *o) {
  if (vow_json_is_object(o->node)) return;
  vow_json_object_fail(o, NULL, "must be an object, not %s", vow_json_kind(o->node));
}

void vow_json_object_begin(struct vow_json_object *o, const struct vow_json_node *node,
                           const char *path) {
  begin(o, node);
  if (path) {
    size_t bytes = strnlen(path, sizeof o->path - 1);
    memcpy(o->path, path, bytes);
    o->path[bytes] = '\0';
  }
  check_kind(o);
}

void vow_json_object_begin_item(struct vow_json_object *o, const struct vow_json_node *array,
                                const char *name, size_t index) {
  begin(o, vow_json_array_at(array, index));
  o->array = name;
  o->index = index;
  check_kind(o);
}

/* The member, and notes that its key is known. NULL: there is nothing to read. */
static const struct vow_json_node *member(struct vow_json_object *o, const char *key,
                                          bool required) {
  if (o->error != VOW_OK) return NULL;
  if (o->known_count == sizeof o->known / sizeof o->known[0]) {
    vow_json_object_fail(o, key, "is one member more than this program can read of an object");
    o->error = VOW_E_INTERNAL;
    return NULL;
  }
  o->known[o->known_count++] = key;
  /* Members are mostly asked for in the order in which they were written. */
  const struct vow_json_node *node = vow_json_member(o->node, key, o->next);
  if (!node) {
    if (required) vow_json_object_fail(o, key, "is missing");
    return NULL;
  }
  ptrdiff_t index = node - o->node->items;
  if (index < 64) o->read |= UINT64_C(1) << index;
  o->next = (uint32_t)index + 1;
  return node;
}

bool vow_json_get_string(struct vow_json_object *o, const char *key, bool required,
                         size_t bytes_max, const char **out) {
  const struct vow_json_node *node = member(o, key, required);

  if (!node) return false;
  const char *value = vow_json_string_value(node);
  if (!value) {
    vow_json_object_fail(o, key, "must be a string, not %s", vow_json_kind(node));
    return false;
  }
  if (node->count > bytes_max) {
    vow_json_object_fail(o, key, "must have at most %zu bytes, it has %zu", bytes_max,
                         (size_t)node->count);
    return false;
  }
  *out = value;
  return true;
}

bool vow_json_get_uint(struct vow_json_object *o, const char *key, bool required, uint64_t min,
                       uint64_t max, uint64_t *out) {
  const struct vow_json_node *node = member(o, key, required);
  uint64_t value;

  if (!node) return false;
  if (node->type != VOW_JSON_NUMBER) {
    vow_json_object_fail(o, key, "must be a whole number, not %s", vow_json_kind(node));
    return false;
  }
  if (!vow_json_uint_value(node, &value) || value < min || value > max) {
    vow_json_object_fail(o, key, "must be a whole number from %llu to %llu",
                         (unsigned long long)min, (unsigned long long)max);
    return false;
  }
  *out = value;
  return true;
}

bool vow_json_get_bool(struct vow_json_object *o, const char *key, bool required, bool *out) {
  const struct vow_json_node *node = member(o, key, required);

  if (!node) return false;
  if (node->type != VOW_JSON_TRUE && node->type != VOW_JSON_FALSE) {
    vow_json_object_fail(o, key, "must be true or false, not %s", vow_json_kind(node));
    return false;
  }
  *out = node->type == VOW_JSON_TRUE;
  return true;
}

/* A string that is to be parsed further; it is short, so its length is not reported. */
static const char *short_string(struct vow_json_object *o, const char *key, bool required,
                                const char *what) {
  const struct vow_json_node *node = member(o, key, required);

  if (!node) return NULL;
  const char *value = vow_json_string_value(node);
  if (!value) vow_json_object_fail(o, key, "must be %s, not %s", what, vow_json_kind(node));
  return value;
}

bool vow_json_get_id(struct vow_json_object *o, const char *key, bool required,
                     struct vow_id *out) {
  static const char what[] = "a UUID (36 characters, 8-4-4-4-12)";
  const char *value = short_string(o, key, required, what);

  if (!value) return false;
  if (vow_id_parse(value, out)) return true;
  vow_json_object_fail(o, key, "must be %s", what);
  return false;
}

/* Exactly `count` digits. */
static bool take_digits(const char **text, int count, unsigned *out) {
  unsigned value = 0;

  for (int i = 0; i < count; i++) {
    if ((*text)[i] < '0' || (*text)[i] > '9') return false;
    value = value * 10 + (unsigned)((*text)[i] - '0');
  }
  *text += count;
  *out = value;
  return true;
}

static bool take_byte(const char **text, char c) {
  if (**text != c) return false;
  (*text)++;
  return true;
}

/* The fraction of a second in ms, what is finer is dropped; none: 0. */
static bool take_fraction(const char **text, unsigned *ms) {
  unsigned value = 0, digits = 0;

  if (take_byte(text, '.')) {
    for (; **text >= '0' && **text <= '9'; (*text)++, digits++) {
      if (digits < 3) value = value * 10 + (unsigned)(**text - '0');
    }
    if (digits == 0) return false;
    for (; digits < 3; digits++) value *= 10;
  }
  *ms = value;
  return true;
}

static bool date_is_valid(unsigned year, unsigned month, unsigned day) {
  static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

  if (year < 1970 || month < 1 || month > 12 || day < 1) return false;
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return day <= days[month - 1] + (month == 2 && leap ? 1u : 0u);
}

/* Days from 1970-01-01 to a valid date; years begin with March here, so that leap days end them. */
static uint64_t days_of_date(unsigned year, unsigned month, unsigned day) {
  unsigned shifted = month <= 2 ? year - 1 : year;
  unsigned from_march = month <= 2 ? month + 9 : month - 3;

  uint64_t days = UINT64_C(365) * shifted + shifted / 4 - shifted / 100 + shifted / 400;
  return days + (153 * from_march + 2) / 5 + day - 1 - 719468;
}

static bool parse_time(const char *text, uint64_t *unix_ms_out) {
  unsigned year, month, day, hour, minute, second, ms;

  bool shape =
      take_digits(&text, 4, &year) && take_byte(&text, '-') && take_digits(&text, 2, &month) &&
      take_byte(&text, '-') && take_digits(&text, 2, &day) && take_byte(&text, 'T') &&
      take_digits(&text, 2, &hour) && take_byte(&text, ':') && take_digits(&text, 2, &minute) &&
      take_byte(&text, ':') && take_digits(&text, 2, &second) && take_fraction(&text, &ms) &&
      take_byte(&text, 'Z') && *text == '\0';
  if (!shape || !date_is_valid(year, month, day)) return false;
  if (hour > 23 || minute > 59 || second > 59) return false;
  uint64_t seconds = hour * UINT64_C(3600) + minute * UINT64_C(60) + second;
  *unix_ms_out = (days_of_date(year, month, day) * 86400 + seconds) * 1000 + ms;
  return true;
}

bool vow_json_get_time(struct vow_json_object *o, const char *key, bool required,
                       uint64_t *unix_ms_out) {
  static const char what[] = "a UTC time such as \"2026-01-31T23:59:59.999Z\"";
  const char *value = short_string(o, key, required, what);

  if (!value) return false;
  if (parse_time(value, unix_ms_out)) return true;
  vow_json_object_fail(o, key, "must be %s", what);
  return false;
}

bool vow_json_get_any(struct vow_json_object *o, const char *key, bool required,
                      const struct vow_json_node **out) {
  const struct vow_json_node *node = member(o, key, required);

  if (!node) return false;
  if (vow_json_depth(node) > VOW_JSON_VALUE_DEPTH_MAX) {
    vow_json_object_fail(o, key, "must not be nested deeper than %d levels",
                         VOW_JSON_VALUE_DEPTH_MAX);
    return false;
  }
  *out = node;
  return true;
}

bool vow_json_get_object(struct vow_json_object *o, const char *key, bool required,
                         const struct vow_json_node **out) {
  const struct vow_json_node *node = NULL;

  if (!vow_json_get_any(o, key, required, &node)) return false;
  if (!vow_json_is_object(node)) {
    vow_json_object_fail(o, key, "must be an object, not %s", vow_json_kind(node));
    return false;
  }
  *out = node;
  return true;
}

bool vow_json_get_array(struct vow_json_object *o, const char *key, bool required, size_t items_max,
                        const struct vow_json_node **out) {
  const struct vow_json_node *node = member(o, key, required);

  if (!node) return false;
  if (node->type != VOW_JSON_ARRAY) {
    vow_json_object_fail(o, key, "must be an array, not %s", vow_json_kind(node));
    return false;
  }
  size_t items = vow_json_array_length(node);
  if (items > items_max) {
    vow_json_object_fail(o, key, "must have at most %zu items, it has %zu", items_max, items);
    o->error = VOW_E_LIMIT_EXCEEDED;
    return false;
  }
  *out = node;
  return true;
}

void vow_json_object_ignore_unknown(struct vow_json_object *o) {
  o->unknown_is_fine = true;
}

/* Says which member is unknown, and which there are. */
static void fail_unknown(struct vow_json_object *o, const char *key) {
  char shown[VOW_JSON_SHOWN_KEY_BYTES], known[120] = "";
  size_t used = 0;

  vow_json_show_key(key, shown);
  for (unsigned i = 0; i < o->known_count; i++) {
    int n = snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "", o->known[i]);
    if (n < 0 || (size_t)n >= sizeof known - used) {
      (void)snprintf(known + used, sizeof known - used, "%s", "");
      break;
    }
    used += (size_t)n;
  }
  vow_json_object_fail(o, NULL, "has a member \"%s\" that is not known here (known: %s)", shown,
                       used > 0 ? known : "none");
}

enum vow_error vow_json_object_end(struct vow_json_object *o) {
  if (o->unknown_is_fine) return o->error;
  /* Fewer members than `read` has bits can be known, so none is asked for behind its end. */
  for (uint32_t i = 0; o->error == VOW_OK && i < o->node->count; i++) {
    if ((o->read >> i & 1) == 0) fail_unknown(o, o->node->items[i].key);
  }
  return o->error;
}
