/*
 * URL syntax and normal form (url.h). Pure; anyone may call.
 * Invariant: a normal form is normal: normalizing it again gives the same text.
 */
#include "url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define HOST_BYTES_MAX 253 /* of a DNS name (RFC 1035) */

/* One URL on its way from `at` to `out`. Only an IPv6 address can be longer in its normal form than
 * it was, so there is always room. */
struct parse {
  const char *at;
  char *why;
  size_t why_bytes;
  size_t bytes; /* of `out` */
  char out[VOW_URL_BYTES_MAX + INET6_ADDRSTRLEN];
};

static void put(struct parse *p, const char *text, size_t bytes) {
  memcpy(p->out + p->bytes, text, bytes);
  p->bytes += bytes;
}

__attribute__((format(printf, 2, 3))) static enum vow_error refuse(struct parse *p,
                                                                   const char *format, ...) {
  va_list args;

  va_start(args, format);
  (void)vsnprintf(p->why, p->why_bytes, format, args);
  va_end(args);
  return VOW_E_INVALID_URL;
}

static bool is_alpha(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static char lower(char c) {
  return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Of a hex digit. */
static char upper(char c) {
  return c >= 'a' ? (char)(c - 'a' + 'A') : c;
}

/* What is wrong with characters that no part of a URL may hold; VOW_OK if there are none. */
static enum vow_error check_characters(struct parse *p, const char *url) {
  const char *c = url;

  while (*c > ' ' && *c < 0x7f && *c != '?' && *c != '#') c++;
  unsigned at = (unsigned)(c - url) + 1;
  if (*c == '\0') return VOW_OK;
  if (*c == ' ') return refuse(p, "the URL has a space at character %u: write it as %%20", at);
  if (*c == '?') return refuse(p, "the URL must not have a query (\"?\"): paths are added to it");
  if (*c == '#') return refuse(p, "the URL must not have a fragment (\"#\")");
  if ((unsigned char)*c < 0x80) {
    return refuse(p, "the URL has a control character at character %u", at);
  }
  return refuse(p, "the URL has a character that is not ASCII at byte %u: percent-encode it", at);
}

static enum vow_error take_scheme(struct parse *p, const char **default_port) {
  if (strncasecmp(p->at, "http://", 7) == 0) {
    p->at += 7;
    *default_port = "80";
    put(p, "http://", 7);
    return VOW_OK;
  }
  if (strncasecmp(p->at, "https://", 8) == 0) {
    p->at += 8;
    *default_port = "443";
    put(p, "https://", 8);
    return VOW_OK;
  }
  return refuse(p, "the URL must begin with http:// or https://");
}

static enum vow_error take_ipv6(struct parse *p) {
  char text[INET6_ADDRSTRLEN];
  struct in6_addr address;

  const char *close = strchr(p->at, ']');
  if (!close) return refuse(p, "the IPv6 address in the URL has no closing \"]\"");
  size_t bytes = (size_t)(close - p->at) - 1;
  bool fits = bytes > 0 && bytes < sizeof text;
  if (fits) {
    memcpy(text, p->at + 1, bytes);
    text[bytes] = '\0';
  }
  if (!fits || inet_pton(AF_INET6, text, &address) != 1) {
    return refuse(p, "what is between \"[\" and \"]\" in the URL is not an IPv6 address");
  }
  (void)inet_ntop(AF_INET6, &address, text, sizeof text);
  put(p, "[", 1);
  put(p, text, strlen(text));
  put(p, "]", 1);
  p->at = close + 1;
  return VOW_OK;
}

/* A DNS name or an IPv4 address: labels of letters, digits, "-" and "_", a dot at the end allowed.
 */
static enum vow_error take_name(struct parse *p) {
  size_t bytes = strcspn(p->at, ":/");
  size_t label = 0;

  if (bytes == 0) return refuse(p, "the URL has no host");
  if (bytes > HOST_BYTES_MAX) {
    return refuse(p, "the host of the URL has %zu bytes, at most %d are allowed", bytes,
                  HOST_BYTES_MAX);
  }
  for (size_t i = 0; i < bytes; i++) {
    char c = lower(p->at[i]);
    if (c == '.') {
      if (label == 0) return refuse(p, "the host of the URL has an empty part between dots");
      label = 0;
    } else if (is_alpha(c) || is_digit(c) || c == '-' || c == '_') {
      label++;
    } else {
      return refuse(p,
                    "the host of the URL has the character \"%c\": letters, digits, \".\", \"-\", "
                    "\"_\" and IPv6 addresses in [] are allowed",
                    c);
    }
    p->out[p->bytes++] = c;
  }
  p->at += bytes;
  return VOW_OK;
}

static enum vow_error take_host(struct parse *p) {
  const char *end = p->at + strcspn(p->at, "/");
  if (memchr(p->at, '@', (size_t)(end - p->at))) {
    return refuse(p, "the URL must not have a user name or password (\"@\" before the host)");
  }
  return *p->at == '[' ? take_ipv6(p) : take_name(p);
}

static enum vow_error take_port(struct parse *p, const char *default_port) {
  unsigned long port = 0;

  if (*p->at != ':') return VOW_OK;
  const char *digits = p->at + 1;
  size_t count = strcspn(digits, "/");
  bool valid = true; /* no digits are 0 */
  for (size_t i = 0; valid && i < count && port <= 65535; i++) {
    valid = is_digit(digits[i]);
    port = port * 10 + (unsigned long)(digits[i] - '0');
  }
  if (!valid || port < 1 || port > 65535) {
    return refuse(p, "the port of the URL must be a number from 1 to 65535");
  }
  while (count > 1 && *digits == '0') digits++, count--; /* "080" is 80 */
  bool is_default = strlen(default_port) == count && memcmp(digits, default_port, count) == 0;
  if (!is_default) {
    put(p, ":", 1);
    put(p, digits, count);
  }
  p->at = digits + count;
  return VOW_OK;
}

/* "." and ".." name another URL than they seem to, and libraries resolve them differently. */
static bool is_dot_segment(const char *segment, size_t bytes) {
  size_t dots = 0;

  for (size_t i = 0; i < bytes; dots++) {
    if (segment[i] == '.') {
      i++;
    } else if (bytes - i >= 3 && strncasecmp(segment + i, "%2e", 3) == 0) {
      i += 3;
    } else {
      return false;
    }
  }
  return dots == 1 || dots == 2;
}

static enum vow_error take_path(struct parse *p) {
  size_t bytes = strlen(p->at);

  if (bytes > 0 && *p->at != '/') {
    return refuse(p, "after the host of the URL a port (\":\") or a path (\"/\") is expected");
  }
  while (bytes > 0 && p->at[bytes - 1] == '/') bytes--;
  for (size_t i = 0; i < bytes; i++) {
    char c = p->at[i];
    if (c == '%') {
      if (bytes - i < 3 || !is_hex(p->at[i + 1]) || !is_hex(p->at[i + 2])) {
        return refuse(p, "\"%%\" in the path of the URL must be followed by two hex digits");
      }
      const char escape[] = {'%', upper(p->at[i + 1]), upper(p->at[i + 2])};
      put(p, escape, sizeof escape);
      i += 2;
      continue;
    }
    if (!is_alpha(c) && !is_digit(c) && !strchr("-._~!$&'()*+,;=:@/", c)) {
      return refuse(p, "the path of the URL has the character \"%c\": percent-encode it", c);
    }
    if (c == '/' && is_dot_segment(p->at + i + 1, strcspn(p->at + i + 1, "/"))) {
      return refuse(p, "the path of the URL must not have \".\" or \"..\" as a part");
    }
    p->out[p->bytes++] = c;
  }
  return VOW_OK;
}

static enum vow_error take_all(struct parse *p, const char *url) {
  const char *default_port = "";

  if (strnlen(url, VOW_URL_BYTES_MAX + 1) > VOW_URL_BYTES_MAX) {
    return refuse(p, "the URL is longer than %d bytes", VOW_URL_BYTES_MAX);
  }
  enum vow_error error = check_characters(p, url);
  if (error == VOW_OK) error = take_scheme(p, &default_port);
  if (error == VOW_OK) error = take_host(p);
  if (error == VOW_OK) error = take_port(p, default_port);
  if (error == VOW_OK) error = take_path(p);
  return error;
}

enum vow_error vow_url_normalize(const char *url, char *out, char *why, size_t why_bytes) {
  struct parse p;

  p.at = url;
  p.why = why;
  p.why_bytes = why_bytes;
  p.bytes = 0;
  if (!url) return refuse(&p, "there is no URL");
  enum vow_error error = take_all(&p, url);
  if (error == VOW_OK && p.bytes > VOW_URL_BYTES_MAX) {
    error = refuse(&p, "the URL is longer than %d bytes", VOW_URL_BYTES_MAX);
  }
  if (error != VOW_OK) return error;
  memcpy(out, p.out, p.bytes);
  out[p.bytes] = '\0';
  return VOW_OK;
}
