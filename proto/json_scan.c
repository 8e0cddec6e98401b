/*
 * The scan of json_scan.h: a lexer without a grammar. Only json.c calls it.
 * Invariant: for valid JSON the tokens are exactly the parser's; a number token that it would not
 * take as valid JSON, and everything else that is wrong, is never changed.
 */
#include "json_scan.h"

#include <string.h>

#define PLAIN_DIGITS_MAX 18 /* any such integer fits 64 bits */

enum token_kind {
  TOKEN_BYTE, /* white space, punctuation, letters: one byte at a time */
  TOKEN_OPEN,
  TOKEN_CLOSE,
  TOKEN_STRING,
  TOKEN_NUMBER
};

struct token {
  enum token_kind kind;
  size_t begin, end;
};

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static bool is_number_byte(char c) {
  return is_digit(c) || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

static size_t string_end(const char *text, size_t bytes, size_t at) {
  for (at++; at < bytes && text[at] != '"'; at++) {
    if (text[at] == '\\' && at + 1 < bytes) at++;
  }
  return at < bytes ? at + 1 : bytes;
}

/* The token at `at`, which is before the end. */
static struct token token_at(const char *text, size_t bytes, size_t at) {
  struct token token = {.kind = TOKEN_BYTE, .begin = at, .end = at + 1};

  switch (text[at]) {
    case '{':
    case '[':
      token.kind = TOKEN_OPEN;
      break;
    case '}':
    case ']':
      token.kind = TOKEN_CLOSE;
      break;
    case '"':
      token.kind = TOKEN_STRING;
      token.end = string_end(text, bytes, at);
      break;
    default:
      if (text[at] != '-' && !is_digit(text[at])) break;
      token.kind = TOKEN_NUMBER;
      while (token.end < bytes && is_number_byte(text[token.end])) token.end++;
  }
  return token;
}

/* Digits from `at` on; how many. */
static size_t digits_at(const char *text, size_t end, size_t at) {
  size_t count = 0;

  while (at + count < end && is_digit(text[at + count])) count++;
  return count;
}

/* A valid JSON number that is not a plain integer. */
static bool number_needs_mark(const char *text, const struct token *token) {
  size_t at = token->begin, end = token->end;
  bool negative = text[at] == '-', plain = true;

  if (negative) at++;
  size_t digits = digits_at(text, end, at);
  if (digits == 0 || (digits > 1 && text[at] == '0')) return false;
  if (digits > PLAIN_DIGITS_MAX || (negative && text[at] == '0')) plain = false; /* -0 is not 0 */
  at += digits;
  if (at < end && text[at] == '.') {
    digits = digits_at(text, end, at + 1);
    if (digits == 0) return false;
    at += 1 + digits;
    plain = false;
  }
  if (at < end && (text[at] == 'e' || text[at] == 'E')) {
    at++;
    if (at < end && (text[at] == '+' || text[at] == '-')) at++;
    digits = digits_at(text, end, at);
    if (digits == 0) return false;
    at += digits;
    plain = false;
  }
  return at == end && !plain;
}

static bool is_key(const char *text, size_t bytes, const struct token *token) {
  size_t at = token->end;

  while (at < bytes && memchr(" \t\r\n", text[at], 4)) at++;
  return at < bytes && text[at] == ':';
}

/* A value (not a key) whose first character is the mark, plain or escaped. */
static bool string_needs_mark(const char *text, size_t bytes, const struct token *token) {
  const char *content = text + token->begin + 1;
  size_t left = token->end - token->begin - 1;

  bool marked = left >= 1 && content[0] == VOW_JSON_MARK;
  bool escaped =
      left >= 6 && memcmp(content, "\\u007", 5) == 0 && (content[5] == 'f' || content[5] == 'F');
  return (marked || escaped) && !is_key(text, bytes, token);
}

static bool needs_mark(const char *text, size_t bytes, const struct token *token) {
  if (token->kind == TOKEN_NUMBER) return number_needs_mark(text, token);
  if (token->kind == TOKEN_STRING) return string_needs_mark(text, bytes, token);
  return false;
}

void vow_json_scan(const char *text, size_t bytes, unsigned depth_max, struct vow_json_scan *out) {
  struct vow_json_scan scan = {0};
  unsigned depth = 0;

  for (size_t at = 0; at < bytes && !scan.too_deep;) {
    struct token token = token_at(text, bytes, at);
    if (needs_mark(text, bytes, &token)) scan.marks++;
    if (token.kind == TOKEN_OPEN && ++depth > depth_max) {
      scan.too_deep = true;
      scan.too_deep_at = at;
    }
    if (token.kind == TOKEN_CLOSE && depth > 0) depth--;
    at = token.end;
  }
  *out = scan;
}

static void put_marked(const char *text, const struct token *token, struct vow_buf *out) {
  if (token->kind == TOKEN_NUMBER) {
    const char open[] = {'"', VOW_JSON_MARK, VOW_JSON_MARK_NUMBER};
    vow_buf_append(out, open, sizeof open);
    vow_buf_append(out, text + token->begin, token->end - token->begin);
    vow_buf_append(out, "\"", 1);
  } else {
    const char open[] = {'"', VOW_JSON_MARK, VOW_JSON_MARK_STRING};
    vow_buf_append(out, open, sizeof open);
    vow_buf_append(out, text + token->begin + 1, token->end - token->begin - 1);
  }
}

void vow_json_mark(const char *text, size_t bytes, struct vow_buf *out) {
  size_t copied = 0;

  for (size_t at = 0; at < bytes;) {
    struct token token = token_at(text, bytes, at);
    if (needs_mark(text, bytes, &token)) {
      vow_buf_append(out, text + copied, token.begin - copied);
      put_marked(text, &token, out);
      copied = token.end;
    }
    at = token.end;
  }
  vow_buf_append(out, text + copied, bytes - copied);
}

size_t vow_json_unmark_offset(const char *text, size_t bytes, size_t marked) {
  size_t added = 0; /* by the marks so far */

  for (size_t at = 0; at < bytes && at + added < marked;) {
    struct token token = token_at(text, bytes, at);
    if (needs_mark(text, bytes, &token)) {
      size_t grows = token.kind == TOKEN_NUMBER ? 4 : 2;
      if (token.end + added + grows >= marked) return token.end;
      added += grows;
    }
    at = token.end;
  }
  size_t offset = marked > added ? marked - added : 0;
  return offset < bytes ? offset : bytes;
}
