/*
 * The JSON parser: recursive descent, at most VOW_JSON_DEPTH_MAX deep, over text that is counted
 * first, so that all memory is asked for at once. Called through vow_json_parse.
 *
 * Memory: nodes of open arrays and objects wait on `stack`; when one closes they move to `nodes`,
 * in a row. Neither can hold more than there are values in the text, and count_values() never
 * counts too few. The document has a copy of the text, and what is read is read there: a string
 * stays where it is, and a NUL takes the place of the quote that closes it, or of what is in front
 * of that where escapes were longer than what they stand for. Behind the copy there are NULs, which
 * no JSON has, so nobody asks where it ends before looking at the next byte.
 */
#include <assert.h>
#include <endian.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_node.h"
#include "plain.h"
#include "utf8.h"

struct parser {
  char *at;        /* in the copy */
  const char *end; /* of it: the first of NULS */
  char *to;        /* of a string that is being read: where its next byte goes, <= at */
  unsigned depth;
  struct vow_json_node *nodes; /* the next free one */
  struct vow_json_node *stack; /* all of it */
  size_t stack_count;
  size_t values_max; /* room in `nodes` and in `stack` */
  const char *what;  /* is wrong, at `at`; NULL: nothing yet */
  char words[100];   /* where `what` is made up */
};

/* As many bytes as are looked at together. */
#define NULS sizeof(uint64_t)

static bool refuse(struct parser *p, const char *what) {
  p->what = what;
  return false;
}

static void skip_space(struct parser *p) {
  while (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r') p->at++;
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* ---- strings ---- */

static bool take_hex(struct parser *p, unsigned *out) {
  unsigned code = 0;

  for (int i = 0; i < 4; i++) {
    char c = *p->at;
    unsigned digit;
    if (is_digit(c)) {
      digit = (unsigned)(c - '0');
    } else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) {
      digit = (unsigned)(c | 0x20) - 'a' + 10;
    } else {
      return refuse(p, "four hex digits are expected after \\u");
    }
    code = code << 4 | digit;
    p->at++;
  }
  *out = code;
  return true;
}

static void put_character(struct parser *p, unsigned code) {
  if (code < 0x80) {
    *p->to++ = (char)code;
    return;
  }
  if (code < 0x800) {
    *p->to++ = (char)(0xc0 | code >> 6);
  } else {
    if (code < 0x10000) {
      *p->to++ = (char)(0xe0 | code >> 12);
    } else {
      *p->to++ = (char)(0xf0 | code >> 18);
      *p->to++ = (char)(0x80 | (code >> 12 & 0x3f));
    }
    *p->to++ = (char)(0x80 | (code >> 6 & 0x3f));
  }
  *p->to++ = (char)(0x80 | (code & 0x3f));
}

/* What follows \u. Above U+FFFF it takes two of them. */
static bool take_code(struct parser *p) {
  unsigned code, low;

  if (!take_hex(p, &code)) return false;
  if (code == 0) return refuse(p, "a string holds U+0000, which is not allowed,");
  if (code >= 0xd800 && code <= 0xdbff) {
    if (p->at[0] != '\\' || p->at[1] != 'u') return refuse(p, "a surrogate stands alone");
    p->at += 2;
    if (!take_hex(p, &low)) return false;
    if (low < 0xdc00 || low > 0xdfff) return refuse(p, "a surrogate stands alone");
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  } else if (code >= 0xdc00 && code <= 0xdfff) {
    return refuse(p, "a surrogate stands alone");
  }
  put_character(p, code);
  return true;
}

static bool take_escape(struct parser *p) {
  static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";

  p->at++; /* the backslash */
  char c = *p->at;
  if (c == 'u') {
    p->at++;
    return take_code(p);
  }
  const char *found = c != '\0' ? strchr(letters, c) : NULL;
  if (!found) return refuse(p, "this escape is not one of JSON's");
  *p->to++ = meant[found - letters];
  p->at++;
  return true;
}

/* Behind the ASCII that stands for itself: nearly all of a string. */
static inline char *skip_plain(char *at) {
  for (;; at += sizeof(uint64_t)) {
    uint64_t odd = vow_odd_bytes(le64toh(vow_eight_bytes(at)));
    if (odd != 0) return at + __builtin_ctzll(odd) / 8;
  }
}

/* Bytes that go into the string as they are. */
static void take_bytes(struct parser *p, size_t bytes) {
  memmove(p->to, p->at, bytes);
  p->to += bytes;
  p->at += bytes;
}

/* What is not plain and does not close the string. */
static bool take_odd(struct parser *p) {
  if (p->at == p->end) return refuse(p, "a string is not closed");
  if (*p->at == '\\') return take_escape(p);
  if ((unsigned char)*p->at < 0x20) return refuse(p, "a control character must be escaped");
  size_t bytes = vow_utf8_sequence(p->at, (size_t)(p->end - p->at));
  if (bytes == 0) return refuse(p, "a string is not valid UTF-8");
  take_bytes(p, bytes);
  return true;
}

/* The rest of a string that is not plain, up to its quote. Apart, so that a plain one pays for none
 * of it. */
__attribute__((noinline)) static bool take_rest(struct parser *p) {
  do {
    if (!take_odd(p)) return false;
    take_bytes(p, (size_t)(skip_plain(p->at) - p->at));
  } while (*p->at != '"');
  return true;
}

/* Its NUL is at `to`. */
static bool take_string(struct parser *p, const char **out) {
  *out = p->at + 1; /* behind the quote */
  p->at = p->to = skip_plain(p->at + 1);
  if (*p->at != '"' && !take_rest(p)) return false;
  p->at++;
  *p->to = '\0';
  return true;
}

/* ---- numbers and words ---- */

static bool skip_digits(struct parser *p) {
  const char *start = p->at;

  while (is_digit(*p->at)) p->at++;
  return p->at > start;
}

static bool skip_number(struct parser *p) {
  if (*p->at == '-') p->at++;
  if (*p->at == '0') {
    p->at++;
  } else if (!skip_digits(p)) {
    return false;
  }
  if (*p->at == '.') {
    p->at++;
    if (!skip_digits(p)) return false;
  }
  if (*p->at == 'e' || *p->at == 'E') {
    p->at++;
    if (*p->at == '+' || *p->at == '-') p->at++;
    if (!skip_digits(p)) return false;
  }
  /* "01", "1-2" and "1.2.3" go on where a number must not */
  char c = *p->at;
  return !is_digit(c) && c != '+' && c != '-' && c != '.' && c != 'e' && c != 'E';
}

static bool take_number(struct parser *p, struct vow_json_node *node) {
  node->text = p->at;
  if (!skip_number(p)) return refuse(p, "this is not how JSON writes a number,");
  node->count = (uint32_t)(p->at - node->text);
  return true;
}

static bool take_word(struct parser *p, struct vow_json_node *node) {
  static const struct {
    const char *word;
    size_t bytes;
    enum vow_json_type type;
  } words[] = {
      {"null", 4, VOW_JSON_NULL}, {"false", 5, VOW_JSON_FALSE}, {"true", 4, VOW_JSON_TRUE}};

  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    if (memcmp(p->at, words[i].word, words[i].bytes) != 0) continue;
    node->type = words[i].type;
    p->at += words[i].bytes;
    return true;
  }
  return refuse(p, "a JSON value is expected");
}

/* ---- arrays and objects ---- */

static int compare_keys(const void *a, const void *b) {
  const struct vow_json_node *left = a, *right = b;

  return strcmp(left->key, right->key);
}

static bool same_key(const struct vow_json_node *a, const struct vow_json_node *b) {
  return a->key[0] == b->key[0] && strcmp(a->key, b->key) == 0;
}

#define FEW_MEMBERS 12

/* NULL: there are none. Few members are held against each other, many are sorted by their keys, so
 * that equal ones are neighbours. */
static const char *find_duplicate(struct vow_json_node *members, size_t count) {
  for (size_t i = 1; count <= FEW_MEMBERS && i < count; i++) {
    for (size_t j = 0; j < i; j++) {
      if (same_key(&members[i], &members[j])) return members[i].key;
    }
  }
  if (count <= FEW_MEMBERS) return NULL;
  qsort(members, count, sizeof members[0], compare_keys);
  for (size_t i = 1; i < count; i++) {
    if (same_key(&members[i - 1], &members[i])) return members[i].key;
  }
  return NULL;
}

/* Moves what is on the stack from `base` on to the node that is closed. */
static bool close_items(struct parser *p, struct vow_json_node *node, size_t base) {
  size_t count = p->stack_count - base;

  memcpy(p->nodes, p->stack + base, count * sizeof p->nodes[0]);
  node->items = p->nodes;
  node->count = (uint32_t)count;
  p->nodes += count;
  p->stack_count = base;
  if (node->type != VOW_JSON_OBJECT) return true;
  /* The copies that are left above the stack's end may be put out of order. */
  const char *key = find_duplicate(p->stack + base, count);
  if (!key) return true;
  char shown[VOW_JSON_SHOWN_KEY_BYTES];
  vow_json_show_key(key, shown);
  (void)snprintf(p->words, sizeof p->words, "the key \"%s\" is there twice in the object that ends",
                 shown);
  return refuse(p, p->words);
}

static bool take_value(struct parser *p, struct vow_json_node *node);

static bool take_item(struct parser *p, bool member) {
  /* The items of this one come to lie above it, and are gone when it is complete. */
  assert(p->stack_count < p->values_max);
  struct vow_json_node *item = &p->stack[p->stack_count++];

  *item = (struct vow_json_node){.key = NULL};
  skip_space(p);
  if (member) {
    if (*p->at != '"') return refuse(p, "a key in double quotes is expected");
    if (!take_string(p, &item->key)) return false;
    skip_space(p);
    if (*p->at != ':') return refuse(p, "\":\" is expected");
    p->at++;
    skip_space(p);
  }
  return take_value(p, item);
}

/* An array or object up to its closing bracket. */
static bool take_items(struct parser *p, struct vow_json_node *node) {
  bool object = node->type == VOW_JSON_OBJECT;
  char close = object ? '}' : ']';
  size_t base = p->stack_count;

  if (p->depth == VOW_JSON_DEPTH_MAX) {
    (void)snprintf(p->words, sizeof p->words, "nested deeper than %d levels", VOW_JSON_DEPTH_MAX);
    return refuse(p, p->words);
  }
  p->depth++;
  p->at++; /* the bracket */
  skip_space(p);
  if (*p->at != close) {
    if (!take_item(p, object)) return false;
    for (skip_space(p); *p->at == ','; skip_space(p)) {
      p->at++;
      if (!take_item(p, object)) return false;
    }
    if (*p->at != close) {
      return refuse(p, object ? "\",\" or \"}\" is expected" : "\",\" or \"]\" is expected");
    }
  }
  p->at++;
  p->depth--;
  return close_items(p, node, base);
}

static bool take_value(struct parser *p, struct vow_json_node *node) {
  char c = *p->at;

  if (c == '{' || c == '[') {
    node->type = c == '{' ? VOW_JSON_OBJECT : VOW_JSON_ARRAY;
    return take_items(p, node);
  }
  if (c == '"') {
    node->type = VOW_JSON_STRING;
    if (!take_string(p, &node->text)) return false;
    node->count = (uint32_t)(p->to - node->text);
    return true;
  }
  if (c == '-' || is_digit(c)) {
    node->type = VOW_JSON_NUMBER;
    return take_number(p, node);
  }
  return take_word(p, node);
}

/* ---- the whole ---- */

/* At least as many as there are values before the first error: one at the top, one behind each
 * opening bracket, one behind each comma. Those in strings count, too, since a loop that only adds
 * up bytes is what compilers do for 16 of them at once. */
static size_t count_values(const char *text, size_t bytes) {
  const size_t at_once = 15 * 16; /* their sum fits a byte */
  size_t count = 1;

  for (size_t i = 0; i < bytes;) {
    size_t end = bytes - i < at_once ? bytes : i + at_once;
    uint8_t some = 0;
    for (; i < end; i++) some += text[i] == ',' || text[i] == '[' || text[i] == '{';
    count += some;
  }
  return count;
}

/* Writes "what is wrong at line L, column C". A column counts characters. */
static void say_why(const char *what, const char *text, size_t at, char why[VOW_JSON_WHY_BYTES]) {
  size_t line = 1, column = 1;

  for (size_t i = 0; i < at; i++) {
    if (text[i] == '\n') {
      line++;
      column = 1;
    } else if (((unsigned char)text[i] & 0xc0) != 0x80) {
      column++;
    }
  }
  (void)snprintf(why, VOW_JSON_WHY_BYTES, "%s at line %zu, column %zu", what, line, column);
}

static bool take_document(struct parser *p, struct vow_json_node *root) {
  skip_space(p);
  if (!take_value(p, root)) return false;
  skip_space(p);
  if (p->at < p->end) return refuse(p, "the value is complete, but more text follows");
  return true;
}

#define FEW_VALUES 64

enum vow_error vow_json_parse(struct vow_json **out, const char *text, size_t bytes,
                              char why[VOW_JSON_WHY_BYTES]) {
  struct vow_json_node few[FEW_VALUES]; /* spares most texts the memory for a stack */
  struct parser p = {.depth = 0};

  if (bytes > INT_MAX) { /* far below what a count of nodes or a product of sizes can hold */
    (void)snprintf(why, VOW_JSON_WHY_BYTES, "the text is too long: %zu bytes", bytes);
    return VOW_E_INVALID_JSON;
  }
  p.values_max = count_values(text, bytes);
  struct vow_json *json =
      malloc(sizeof *json + p.values_max * sizeof json->nodes[0] + bytes + NULS);
  bool are_many = p.values_max > FEW_VALUES;
  struct vow_json_node *many = are_many ? malloc(p.values_max * sizeof many[0]) : NULL;
  p.stack = are_many ? many : few;
  if (!json || !p.stack) {
    free(json);
    free(many);
    (void)snprintf(why, VOW_JSON_WHY_BYTES, "out of memory");
    return VOW_E_NO_MEMORY;
  }
  p.nodes = json->nodes;
  char *copy = (char *)(json->nodes + p.values_max);
  if (bytes > 0) memcpy(copy, text, bytes);
  memset(copy + bytes, '\0', NULS);
  p.at = copy;
  p.end = copy + bytes;
  json->root = (struct vow_json_node){.key = NULL};
  bool taken = take_document(&p, &json->root);
  free(many);
  if (!taken) {
    say_why(p.what, text, (size_t)(p.at - copy), why);
    free(json);
    return VOW_E_INVALID_JSON;
  }
  vow_buf_init(&json->kept, bytes + 1);
  *out = json;
  return VOW_OK;
}
