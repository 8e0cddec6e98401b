/*
 * Tests of URL syntax and normal form (proto/url.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "url.h"

#define WHY_BYTES 200

static void assert_normal(const char *url, const char *normal) {
  char out[VOW_URL_BYTES_MAX + 1], again[VOW_URL_BYTES_MAX + 1], why[WHY_BYTES] = "";

  if (vow_url_normalize(url, out, why, sizeof why) != VOW_OK) fail_msg("%s: %s", url, why);
  assert_string_equal(out, normal);
  assert_int_equal(vow_url_normalize(out, again, why, sizeof why), VOW_OK);
  assert_string_equal(again, normal);
}

/* Refused, with words in the sentence, and *out is left alone. */
static void assert_refused(const char *url, const char *words) {
  char out[VOW_URL_BYTES_MAX + 1] = "untouched", why[WHY_BYTES] = "";

  if (vow_url_normalize(url, out, why, sizeof why) != VOW_E_INVALID_URL)
    fail_msg("%s: not refused", url);
  assert_string_equal(out, "untouched");
  if (!strstr(why, words)) fail_msg("%s: \"%s\" does not say \"%s\"", url, why, words);
  if (url && *url) assert_int_not_equal(why[strlen(why) - 1], '.');
}

/* Scheme and host go to lower case, default ports and final slashes go, the path stays. */
static void normal_form(void **state) {
  (void)state;
  assert_normal("http://a", "http://a");
  assert_normal("http://a/", "http://a");
  assert_normal("HTTP://Bank-1.Example.COM/Path", "http://bank-1.example.com/Path");
  assert_normal("hTTpS://a:443/x//", "https://a/x");
  assert_normal("http://a:80", "http://a");
  assert_normal("http://a:0080", "http://a");
  assert_normal("http://a:443", "http://a:443");
  assert_normal("http://a:81", "http://a:81");
  assert_normal("https://a:80", "https://a:80");
  assert_normal("http://127.0.0.1:7001///", "http://127.0.0.1:7001");
  assert_normal("http://a_b-c.d.:65535/v1", "http://a_b-c.d.:65535/v1");
  assert_normal("http://a:1/x//y", "http://a:1/x//y");
  assert_normal("http://a/%c3%a9%2F", "http://a/%C3%A9%2F");
  assert_normal("http://a/-._~!$&'()*+,;=:@/x", "http://a/-._~!$&'()*+,;=:@/x");
  assert_normal("http://a/x@y", "http://a/x@y");
  assert_normal("http://a/...", "http://a/...");
  assert_normal("http://a/.x", "http://a/.x");
}

/* IPv6 literals have one form. */
static void ipv6(void **state) {
  (void)state;
  assert_normal("http://[::1]", "http://[::1]");
  assert_normal("http://[0:0:0:0:0:0:0:1]:80/", "http://[::1]");
  assert_normal("https://[2001:DB8::00FF]:8443/x", "https://[2001:db8::ff]:8443/x");
  assert_normal("http://[::ffff:127.0.0.1]:1", "http://[::ffff:127.0.0.1]:1");
  assert_refused("http://[::1", "closing");
  assert_refused("http://[]", "not an IPv6 address");
  assert_refused("http://[::g]", "not an IPv6 address");
  assert_refused("http://[127.0.0.1]", "not an IPv6 address");
  assert_refused("http://[fe80::1%25eth0]", "not an IPv6 address");
  assert_refused("http://[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa]",
                 "not an IPv6 address");
  assert_refused("http://[::1]x", "expected");
  assert_refused("http://::1", "no host");
  assert_refused("http://fe80::1", "port");
}

/* Only http and https, with //. */
static void schemes(void **state) {
  (void)state;
  static const char *const bad[] = {"",          "a",
                                    "//a",       "http:a",
                                    "http:/a",   "http",
                                    "ftp://a",   "file:///etc/passwd",
                                    "httpx://a", "unix:///sock",
                                    "https:/a"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    assert_refused(bad[i], "http:// or https://");
  assert_refused(NULL, "no URL");
}

/* A host is there, and is a name of letters, digits, dots, dashes and underscores. */
static void hosts(void **state) {
  char url[400], host[300];

  (void)state;
  assert_refused("http://", "no host");
  assert_refused("http:///x", "no host");
  assert_refused("http://:80", "no host");
  assert_refused("http://.", "empty part");
  assert_refused("http://a..b", "empty part");
  assert_refused("http://.a", "empty part");
  assert_refused("http://a%41", "character \"%\"");
  assert_refused("http://a,b", "character \",\"");
  assert_refused("http://a\\b", "character \"\\\"");
  assert_refused("http://a]b", "character \"]\"");
  memset(host, 'a', sizeof host);
  host[253] = '\0';
  (void)snprintf(url, sizeof url, "http://%s", host);
  assert_normal(url, url);
  (void)snprintf(url, sizeof url, "http://%sb", host);
  assert_refused(url, "at most 253");
}

/* User information is refused, as it would end up in logs; an @ in the path is none. */
static void user_information(void **state) {
  (void)state;
  assert_refused("http://user@a", "user name");
  assert_refused("http://user:secret@a/x", "user name");
  assert_refused("http://@a", "user name");
  assert_refused("http://a@[::1]", "user name");
}

/* Ports run from 1 to 65535. */
static void ports(void **state) {
  static const char *const bad[] = {
      "http://a:",      "http://a:/",     "http://a:0",
      "http://a:65536", "http://a:99999", "http://a:184467440737095516160",
      "http://a:-1",    "http://a:+80",   "http://a:8a",
      "http://a:80:80", "http://[::1]:",  "http://a:0x50"};
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) assert_refused(bad[i], "from 1 to 65535");
  assert_normal("http://a:1", "http://a:1");
  assert_normal("http://a:65535", "http://a:65535");
}

/* Queries and fragments are refused: the message's name is appended to the path. */
static void queries_and_fragments(void **state) {
  (void)state;
  assert_refused("http://a?", "query");
  assert_refused("http://a/x?y=1", "query");
  assert_refused("http://a/#", "fragment");
  assert_refused("http://a#x?y", "fragment");
}

/* Spaces, control characters and what is not ASCII are named with their place. */
static void characters(void **state) {
  (void)state;
  assert_refused("http://a b", "space at character 9");
  assert_refused(" http://a", "space at character 1");
  assert_refused("http://a/\r\nHost: x", "control character at character 10");
  assert_refused("http://a/\x7f", "control character at character 10");
  assert_refused("http://a/\xc3\xa9", "not ASCII at byte 10");
  assert_refused("http://a/<", "character \"<\"");
  assert_refused("http://a/\"", "character \"\"\"");
  assert_refused("http://a/{}", "character \"{\"");
  assert_refused("http://a/a|b", "character \"|\"");
}

/* Percent signs come with two hex digits; dot segments are refused in each spelling. */
static void paths(void **state) {
  (void)state;
  assert_refused("http://a/%", "two hex digits");
  assert_refused("http://a/%4", "two hex digits");
  assert_refused("http://a/%4/", "two hex digits");
  static const char *const bad[] = {"%g0", "%0g", "%G0", "%0G", "%/0", "%:0", "%@0", "%`0", "%0z"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    char url[32];
    (void)snprintf(url, sizeof url, "http://a/%s", bad[i]);
    assert_refused(url, "two hex digits");
  }
  assert_normal("http://a/%aF%0f%A9%fA%9a", "http://a/%AF%0F%A9%FA%9A");
  static const char *const dots[] = {"http://a/.",       "http://a/..",      "http://a/x/../y",
                                     "http://a/./y",     "http://a/%2e",     "http://a/%2E%2e",
                                     "http://a/x/.%2e/", "http://a/x/%2e./y"};
  for (size_t i = 0; i < sizeof dots / sizeof dots[0]; i++) assert_refused(dots[i], "\"..\"");
}

/* 1024 bytes are fine, 1025 are not, and neither is a normal form that would grow past them. */
static void length(void **state) {
  char url[VOW_URL_BYTES_MAX + 2];

  (void)state;
  memset(url, 'x', sizeof url);
  memcpy(url, "http://a/", 9);
  url[VOW_URL_BYTES_MAX] = '\0';
  assert_normal(url, url);
  url[VOW_URL_BYTES_MAX] = 'x';
  url[VOW_URL_BYTES_MAX + 1] = '\0';
  assert_refused(url, "longer than 1024");
  memset(url, 'x', sizeof url);
  memcpy(url, "http://[::1:203]/", 17); /* written as ::0.1.2.3, two longer */
  url[VOW_URL_BYTES_MAX] = '\0';
  assert_refused(url, "longer than 1024");
}

/* A buffer for the sentence that is small is filled and not overrun. */
static void small_why(void **state) {
  char out[VOW_URL_BYTES_MAX + 1], why[12] = "...........";

  (void)state;
  assert_int_equal(vow_url_normalize("ftp://x", out, why, 8), VOW_E_INVALID_URL);
  assert_string_equal(why, "the URL");
  assert_memory_equal(why + 8, "...", 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(normal_form),
      cmocka_unit_test(ipv6),
      cmocka_unit_test(schemes),
      cmocka_unit_test(hosts),
      cmocka_unit_test(user_information),
      cmocka_unit_test(ports),
      cmocka_unit_test(queries_and_fragments),
      cmocka_unit_test(characters),
      cmocka_unit_test(paths),
      cmocka_unit_test(length),
      cmocka_unit_test(small_why),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
