/*
 * The JSON parser: recursive descent, at most VOW_JSON_DEPTH_MAX deep, over text that is counted
 * first, so that all memory is asked for at once. Called through vow_json_parse.
 *
 * Memory: nodes of open arrays and objects wait on `stack`; when one closes they move to `nodes`,
 * in a row. Neither can hold more than there are values in the text, and count_values() never
 * counts too few. Texts go to `texts` with a NUL each: a string has two quotes to make room for it,
 * a number the byte behind it or the end, so one byte more than the text has is enough.
 */
#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_node.h"
#include "utf8.h"

struct parser {
  const char *text;
  size_t bytes;
  size_t at; /* <= bytes */
  unsigned depth;
  struct vow_json_node *nodes; /* the next free one */
  struct vow_json_node *stack; /* all of it */
  size_t stack_count;
  size_t values_max; /* room in `nodes` and in `stack` */
  char *texts;       /* the next free byte */
  const char *what;  /* is wrong, at `at`; NULL: nothing yet */
  char words[100];   /* where `what` is made up */
};

static bool refuse(struct parser *p, const char *what) {
  p->what = what;
  return false;
}

/* The byte to be read next; NUL, which no JSON has, at the end. */
static char peek(const struct parser *p) {
  return p->at < p->bytes ? p->text[p->at] : '\0';
}

static void skip_space(struct parser *p) {
  while (peek(p) == ' ' || peek(p) == '\t' || peek(p) == '\n' || peek(p) == '\r') p->at++;
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* ---- strings ---- */

static bool take_hex(struct parser *p, unsigned *out) {
  unsigned code = 0;

  for (int i = 0; i < 4; i++) {
    char c = peek(p);
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
    *p->texts++ = (char)code;
    return;
  }
  if (code < 0x800) {
    *p->texts++ = (char)(0xc0 | code >> 6);
  } else {
    if (code < 0x10000) {
      *p->texts++ = (char)(0xe0 | code >> 12);
    } else {
      *p->texts++ = (char)(0xf0 | code >> 18);
      *p->texts++ = (char)(0x80 | (code >> 12 & 0x3f));
    }
    *p->texts++ = (char)(0x80 | (code >> 6 & 0x3f));
  }
  *p->texts++ = (char)(0x80 | (code & 0x3f));
}

/* What follows \u. Above U+FFFF it takes two of them. */
static bool take_code(struct parser *p) {
  unsigned code, low;

  if (!take_hex(p, &code)) return false;
  if (code == 0) return refuse(p, "a string holds U+0000, which is not allowed,");
  if (code >= 0xd800 && code <= 0xdbff) {
    bool pair = peek(p) == '\\' && p->at + 1 < p->bytes && p->text[p->at + 1] == 'u';
    if (!pair) return refuse(p, "a surrogate stands alone");
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
  char c = peek(p);
  if (c == 'u') {
    p->at++;
    return take_code(p);
  }
  const char *found = c != '\0' ? strchr(letters, c) : NULL;
  if (!found) return refuse(p, "this escape is not one of JSON's");
  *p->texts++ = meant[found - letters];
  p->at++;
  return true;
}

/* ASCII that stands for itself, as much as there is: nearly all of a string. */
static void take_plain(struct parser *p) {
  size_t from = p->at, at = from;

  while (at < p->bytes) {
    unsigned char c = (unsigned char)p->text[at];
    if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\') break;
    at++;
  }
  memcpy(p->texts, p->text + from, at - from);
  p->texts += at - from;
  p->at = at;
}

static bool take_string(struct parser *p, const char **out) {
  const char *start = p->texts;

  p->at++; /* the quote */
  for (take_plain(p); peek(p) != '"'; take_plain(p)) {
    if (p->at == p->bytes) return refuse(p, "a string is not closed");
    if (peek(p) == '\\') {
      if (!take_escape(p)) return false;
      continue;
    }
    if ((unsigned char)peek(p) < 0x20) return refuse(p, "a control character must be escaped");
    size_t bytes = vow_utf8_sequence(p->text + p->at, p->bytes - p->at);
    if (bytes == 0) return refuse(p, "a string is not valid UTF-8");
    memcpy(p->texts, p->text + p->at, bytes);
    p->texts += bytes;
    p->at += bytes;
  }
  p->at++;
  *p->texts++ = '\0';
  *out = start;
  return true;
}

/* ---- numbers and words ---- */

static bool skip_digits(struct parser *p) {
  size_t start = p->at;

  while (is_digit(peek(p))) p->at++;
  return p->at > start;
}

static bool skip_number(struct parser *p) {
  if (peek(p) == '-') p->at++;
  if (peek(p) == '0') {
    p->at++;
  } else if (!skip_digits(p)) {
    return false;
  }
  if (peek(p) == '.') {
    p->at++;
    if (!skip_digits(p)) return false;
  }
  if (peek(p) == 'e' || peek(p) == 'E') {
    p->at++;
    if (peek(p) == '+' || peek(p) == '-') p->at++;
    if (!skip_digits(p)) return false;
  }
  /* "01", "1-2" and "1.2.3" go on where a number must not */
  return !is_digit(peek(p)) && !(peek(p) != '\0' && strchr("+-.eE", peek(p)));
}

static bool take_number(struct parser *p, const char **out) {
  size_t start = p->at;

  if (!skip_number(p)) return refuse(p, "this is not how JSON writes a number,");
  size_t bytes = p->at - start;
  memcpy(p->texts, p->text + start, bytes);
  p->texts[bytes] = '\0';
  *out = p->texts;
  p->texts += bytes + 1;
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
    if (p->bytes - p->at < words[i].bytes) continue;
    if (memcmp(p->text + p->at, words[i].word, words[i].bytes) != 0) continue;
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

#define FEW_MEMBERS 12

/* NULL: there are none. Few members are held against each other, many are sorted by their keys, so
 * that equal ones are neighbours. */
static const char *find_duplicate(struct vow_json_node *members, size_t count) {
  for (size_t i = 1; count <= FEW_MEMBERS && i < count; i++) {
    for (size_t j = 0; j < i; j++) {
      if (strcmp(members[i].key, members[j].key) == 0) return members[i].key;
    }
  }
  if (count <= FEW_MEMBERS) return NULL;
  qsort(members, count, sizeof members[0], compare_keys);
  for (size_t i = 1; i < count; i++) {
    if (strcmp(members[i - 1].key, members[i].key) == 0) return members[i].key;
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
  struct vow_json_node item = {.key = NULL};

  skip_space(p);
  if (member) {
    if (peek(p) != '"') return refuse(p, "a key in double quotes is expected");
    if (!take_string(p, &item.key)) return false;
    skip_space(p);
    if (peek(p) != ':') return refuse(p, "\":\" is expected");
    p->at++;
    skip_space(p);
  }
  if (!take_value(p, &item)) return false;
  assert(p->stack_count < p->values_max);
  p->stack[p->stack_count++] = item;
  return true;
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
  if (peek(p) != close) {
    if (!take_item(p, object)) return false;
    for (skip_space(p); peek(p) == ','; skip_space(p)) {
      p->at++;
      if (!take_item(p, object)) return false;
    }
    if (peek(p) != close) {
      return refuse(p, object ? "\",\" or \"}\" is expected" : "\",\" or \"]\" is expected");
    }
  }
  p->at++;
  p->depth--;
  return close_items(p, node, base);
}

static bool take_value(struct parser *p, struct vow_json_node *node) {
  char c = peek(p);

  if (c == '{' || c == '[') {
    node->type = c == '{' ? VOW_JSON_OBJECT : VOW_JSON_ARRAY;
    return take_items(p, node);
  }
  if (c == '"') {
    node->type = VOW_JSON_STRING;
    return take_string(p, &node->text);
  }
  if (c == '-' || is_digit(c)) {
    node->type = VOW_JSON_NUMBER;
    return take_number(p, &node->text);
  }
  return take_word(p, node);
}

/* ---- the whole ---- */

/* At least as many as there are values before the first error: one at the top, one behind each
 * opening bracket, one behind each comma. */
static size_t count_values(const char *text, size_t bytes) {
  size_t count = 1;
  bool in_string = false;

  for (size_t i = 0; i < bytes; i++) {
    if (in_string) {
      if (text[i] == '\\')
        i++;
      else if (text[i] == '"')
        in_string = false;
    } else if (text[i] == '"') {
      in_string = true;
    } else if (text[i] == ',' || text[i] == '[' || text[i] == '{') {
      count++;
    }
  }
  return count;
}

/* Writes "what is wrong at line L, column C". A column counts characters. */
static void say_why(const struct parser *p, char why[VOW_JSON_WHY_BYTES]) {
  size_t line = 1, column = 1;

  for (size_t i = 0; i < p->at; i++) {
    if (p->text[i] == '\n') {
      line++;
      column = 1;
    } else if (((unsigned char)p->text[i] & 0xc0) != 0x80) {
      column++;
    }
  }
  (void)snprintf(why, VOW_JSON_WHY_BYTES, "%s at line %zu, column %zu", p->what, line, column);
}

static bool take_document(struct parser *p, struct vow_json_node *root) {
  skip_space(p);
  if (!take_value(p, root)) return false;
  skip_space(p);
  if (p->at < p->bytes) return refuse(p, "the value is complete, but more text follows");
  return true;
}

enum vow_error vow_json_parse(struct vow_json **out, const char *text, size_t bytes,
                              char why[VOW_JSON_WHY_BYTES]) {
  struct parser p = {.text = text, .bytes = bytes};

  if (bytes > INT_MAX) { /* far below what a count of nodes or a product of sizes can hold */
    (void)snprintf(why, VOW_JSON_WHY_BYTES, "the text is too long: %zu bytes", bytes);
    return VOW_E_INVALID_JSON;
  }
  p.values_max = count_values(text, bytes);
  struct vow_json *json = malloc(sizeof *json + p.values_max * sizeof json->nodes[0] + bytes + 1);
  p.stack = malloc(p.values_max * sizeof p.stack[0]);
  if (!json || !p.stack) {
    free(json);
    free(p.stack);
    (void)snprintf(why, VOW_JSON_WHY_BYTES, "out of memory");
    return VOW_E_NO_MEMORY;
  }
  p.nodes = json->nodes;
  p.texts = (char *)(json->nodes + p.values_max);
  json->root = (struct vow_json_node){.key = NULL};
  bool taken = take_document(&p, &json->root);
  free(p.stack);
  if (!taken) {
    say_why(&p, why);
    free(json);
    return VOW_E_INVALID_JSON;
  }
  vow_buf_init(&json->kept, bytes + 1);
  *out = json;
  return VOW_OK;
}
