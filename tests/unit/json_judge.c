/* Two parsers over one text; see json_judge.h. */
#include "json_judge.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_node.h"

static bool same(const struct vow_json_node *ours, json_t *theirs);

static bool same_number(const struct vow_json_node *ours, json_t *theirs) {
  if (json_is_integer(theirs)) return strtoll(ours->text, NULL, 10) == json_integer_value(theirs);
  return json_is_real(theirs) && strtod(ours->text, NULL) == json_real_value(theirs);
}

static bool same_items(const struct vow_json_node *ours, json_t *theirs) {
  if (json_array_size(theirs) != ours->count) return false;
  for (uint32_t i = 0; i < ours->count; i++) {
    if (!same(&ours->items[i], json_array_get(theirs, i))) return false;
  }
  return true;
}

static bool same_members(const struct vow_json_node *ours, json_t *theirs) {
  void *iterator = json_object_iter(theirs); /* in the order of the text */

  if (json_object_size(theirs) != ours->count) return false;
  for (uint32_t i = 0; i < ours->count; i++) {
    if (strcmp(ours->items[i].key, json_object_iter_key(iterator)) != 0) return false;
    if (!same(&ours->items[i], json_object_iter_value(iterator))) return false;
    iterator = json_object_iter_next(theirs, iterator);
  }
  return true;
}

static bool same(const struct vow_json_node *ours, json_t *theirs) {
  switch (ours->type) {
    case VOW_JSON_NULL:
      return json_is_null(theirs);
    case VOW_JSON_FALSE:
      return json_is_false(theirs);
    case VOW_JSON_TRUE:
      return json_is_true(theirs);
    case VOW_JSON_NUMBER:
      return same_number(ours, theirs);
    case VOW_JSON_STRING:
      return json_is_string(theirs) && strcmp(ours->text, json_string_value(theirs)) == 0;
    case VOW_JSON_ARRAY:
      return json_is_array(theirs) && same_items(ours, theirs);
    case VOW_JSON_OBJECT:
      return json_is_object(theirs) && same_members(ours, theirs);
  }
  return false;
}

/* What we take and they do not, or the other way round, for a reason that is known. */
static bool may_differ(const char *why, const json_error_t *error) {
  if (strstr(why, "nested deeper")) return true;
  enum json_error_code code = json_error_code(error);
  return code == json_error_numeric_overflow; /* our numbers are texts, of any size */
}

bool json_judge(const char *text, size_t bytes, bool *valid_out,
                char complaint[JSON_JUDGE_COMPLAINT_BYTES]) {
  char why[VOW_JSON_WHY_BYTES] = "";
  struct vow_json *ours = NULL;
  json_error_t error = {0};
  bool agreed = true;

  bool valid = vow_json_parse(&ours, text, bytes, why) == VOW_OK;
  if (!valid && memchr(text, '\0', bytes) != NULL) {
    *valid_out = false; /* theirs takes a NUL behind a number for the end of the text */
    return true;
  }
  json_t *theirs = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
  if (valid != (theirs != NULL) && !may_differ(why, &error)) {
    (void)snprintf(complaint, JSON_JUDGE_COMPLAINT_BYTES, "ours: %s\ntheirs: %s",
                   valid ? "valid" : why, theirs ? "valid" : error.text);
    agreed = false;
  } else if (valid && theirs && !same(vow_json_root(ours), theirs)) {
    (void)snprintf(complaint, JSON_JUDGE_COMPLAINT_BYTES, "read differently");
    agreed = false;
  }
  *valid_out = valid;
  vow_json_free(ours);
  json_decref(theirs);
  return agreed;
}
