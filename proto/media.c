/*
 * Content-Type. See media.h.
 */
#include "media.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#define BLANKS " \t"

static bool is_word(const char *text, size_t bytes, const char *word) {
  return bytes == strlen(word) && strncasecmp(text, word, bytes) == 0;
}

/* False: it is a charset, and not one whose bytes are UTF-8. */
static bool parameter_fits(const char *parameter, size_t bytes) {
  static const char charset[] = "charset=";
  size_t head = sizeof charset - 1;
  if (bytes < head || strncasecmp(parameter, charset, head) != 0) return true;
  parameter += head;
  bytes -= head;
  while (bytes > 0 && strchr(BLANKS, parameter[bytes - 1])) bytes--;
  if (bytes >= 2 && parameter[0] == '"' && parameter[bytes - 1] == '"') {
    parameter++;
    bytes -= 2;
  }
  return is_word(parameter, bytes, "utf-8") || is_word(parameter, bytes, "us-ascii");
}

bool vow_media_is_json(const char *content_type) {
  static const char json[] = "application/json";
  if (!content_type || strncasecmp(content_type, json, sizeof json - 1) != 0) return false;
  const char *rest = content_type + sizeof json - 1;
  rest += strspn(rest, BLANKS);
  while (*rest == ';') {
    rest++;
    rest += strspn(rest, BLANKS);
    size_t bytes = strcspn(rest, ";");
    if (!parameter_fits(rest, bytes)) return false;
    rest += bytes;
  }
  return *rest == '\0';
}
