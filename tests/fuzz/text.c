/*
 * Small texts of others: URLs, ids, durations, media types, text for a terminal, and what vowctl
 * shows of a transaction that a daemon told it about. The first byte says which.
 */
#include "text.h"

#include <string.h>

#include "fuzz.h"
#include "media.h"
#include "url.h"
#include "utf8.h"
#include "view.h"

#define OUT_BYTES_MAX ((size_t)8 << 20)

/* The normal form is one: it is taken, and stays as it is. */
static void a_url(const char *text) {
  char once[VOW_URL_BYTES_MAX + 1], twice[VOW_URL_BYTES_MAX + 1], why[256] = "";

  if (vow_url_normalize(text, once, why, sizeof why) != VOW_OK) {
    must(strlen(why) > 10);
    return;
  }
  must(vow_url_normalize(once, twice, why, sizeof why) == VOW_OK);
  must(strcmp(once, twice) == 0);
  must(strncmp(once, "http://", 7) == 0 || strncmp(once, "https://", 8) == 0);
  must(strpbrk(once, "?# \t\r\n\"<>\\^`{|}") == NULL);
  const char *host = strstr(once, "://") + 3;
  must(strcspn(host, "/") > 0 && memchr(host, '@', strcspn(host, "/")) == NULL);
  must(once[strlen(once) - 1] != '/');
}

static bool looks_like_an_id(const char *text) {
  size_t bytes = strlen(text);
  for (size_t i = 0; i < bytes; i++) {
    bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : strchr("0123456789abcdefABCDEF", text[i]) == NULL) return false;
  }
  return bytes == 36;
}

static void an_id(const char *text) {
  char back[VOW_ID_TEXT_BYTES];
  struct vow_id id, again;

  must(vow_id_parse(text, &id) == looks_like_an_id(text));
  if (!vow_id_parse(text, &id)) return;
  vow_id_format(id, back);
  must(strlen(text) == 36 && strcasecmp(text, back) == 0);
  must(vow_id_parse(back, &again) && vow_id_compare(id, again) == 0);
  if (vow_id_is_v7(id)) {
    struct vow_id floor = vow_id_floor(vow_id_unix_ms(id), vow_id_counter(id));
    must(vow_id_compare(floor, id) <= 0);
  }
}

/* Nothing that a terminal acts on, and only UTF-8. `lines`: line feeds are its own. */
static void must_be_safe(const char *text, bool lines) {
  while (*text != '\0') {
    uint32_t c = 0;
    size_t bytes = vow_utf8_decode(text, &c);
    must(bytes > 0);
    must(c >= 0x20 || (lines && c == '\n'));
    must(c != 0x7F && (c < 0x80 || c >= 0xA0));
    must(!(c >= 0x202A && c <= 0x202E) && !(c >= 0x2066 && c <= 0x2069));
    text += bytes;
  }
}

static void a_line(const char *text) {
  struct vow_buf out;
  vow_buf_init(&out, OUT_BYTES_MAX);
  vow_utf8_append_safe(&out, text, "\"");
  must_be_safe(vow_buf_text(&out), false);
  vow_buf_reset(&out);
  ctl_safe_append(&out, text);
  must_be_safe(vow_buf_text(&out), false);
  for (size_t width = 0; width < 12; width++) {
    size_t bytes = ctl_prefix_bytes(vow_buf_text(&out), width);
    must(bytes <= out.bytes);
    char *prefix = copy_text(vow_buf_text(&out), bytes);
    must_be_safe(prefix, false); /* no character is cut */
    must(ctl_width(prefix) <= width);
    free(prefix);
  }
  vow_buf_fini(&out);
}

/* What is shown are the largest units: less than one of the second is left out, and of whole
 * seconds what is less than one. */
static void a_duration(const char *text) {
  char back[CTL_DURATION_BYTES], once_more[CTL_DURATION_BYTES];
  uint64_t ms = 0, again = 0;
  if (!ctl_duration_parse(text, &ms)) return;
  ctl_duration_format(ms, back);
  uint64_t left_out = ms < 1000 ? 0 : ms < 60000 ? 999 : ms / 24;
  must(ctl_duration_parse(back, &again) && again <= ms && ms - again <= left_out);
  ctl_duration_format(again, once_more);
  must(strcmp(back, once_more) == 0);
}

/* It is JSON whatever is said of it, unless that is a charset. */
static void a_media_type(const char *text) {
  static const char json[] = "application/json";
  size_t bytes = strlen(json);
  bool named = strncasecmp(text, json, bytes) == 0, is = vow_media_is_json(text);
  must(!is || named);
  if (!named) return;
  const char *rest = text + bytes + strspn(text + bytes, " \t");
  must(*rest == '\0' || *rest == ';' || !is);
  if ((*rest == '\0' || *rest == ';') && strcasestr(rest, "charset") == NULL) must(is);
}

/* Whatever a daemon says, what is shown of it is safe. */
static void a_view(const char *text, size_t bytes) {
  static const struct ctl_terminal terminal = {.width = 60};
  char why[VOW_JSON_WHY_BYTES] = "";
  struct vow_json *json = NULL;
  struct vow_buf out;

  if (vow_json_parse(&json, text, bytes, why) != VOW_OK) return;
  vow_buf_init(&out, OUT_BYTES_MAX);
  enum vow_error error = ctl_show_append(&out, &terminal, vow_json_root(json), 1700000000000, why);
  must(error == VOW_OK || strlen(why) > 10);
  must_be_safe(vow_buf_text(&out), true);
  vow_buf_reset(&out);
  error = ctl_brief_append(&out, &terminal, vow_json_root(json), 1700000000000, why);
  must(error == VOW_OK || strlen(why) > 10);
  must_be_safe(vow_buf_text(&out), true);
  vow_buf_fini(&out);
  vow_json_free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  if (bytes == 0) return 0;
  char *text = copy_text(data + 1, bytes - 1);
  switch (*data % 6) {
    case 0:
      a_url(text);
      break;
    case 1:
      an_id(text);
      break;
    case 2:
      a_line(text);
      break;
    case 3:
      a_duration(text);
      break;
    case 5:
      a_media_type(text);
      break;
    default:
      a_view((const char *)data + 1, bytes - 1);
  }
  free(text);
  return 0;
}
