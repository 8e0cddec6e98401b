/*
 * Branches as requests describe them, for begin and enlist. See api_internal.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_internal.h"
#include "url.h"

enum vow_error vow_api_branches_init(struct vow_api_branches *branches, size_t count,
                                     size_t body_bytes) {
  *branches = (struct vow_api_branches){0};
  /* An escape that is written anew may be longer than it was, but not six times. */
  vow_buf_init(&branches->texts, 6 * body_bytes + count * (VOW_URL_BYTES_MAX + 1) + 64);
  branches->items = malloc((count + 1) * sizeof *branches->items);
  return branches->items == NULL ? VOW_E_NO_MEMORY : VOW_OK;
}

void vow_api_branches_fini(struct vow_api_branches *branches) {
  free(branches->items);
  vow_buf_fini(&branches->texts);
}

/* Fails the object with a sentence that names the member, and gives the error that goes with it. */
static enum vow_error fail(struct vow_json_object *object, enum vow_error error, const char *key,
                           const char *why) {
  vow_json_object_fail(object, key, "%s", why);
  return error;
}

/* Requests name the same few participants again and again, mostly in the normal form: such a URL is
 * remembered, at a place that follows from its end, where URLs differ. */
static enum vow_error normalize(struct vow_api *api, const char *url, char *out, char *why,
                                size_t why_bytes) {
  size_t bytes = strlen(url);
  if (bytes < 2 || bytes >= API_URL_KEPT_BYTES) {
    return vow_url_normalize(url, out, why, why_bytes);
  }
  unsigned end = (unsigned)(url[bytes - 1] + 10 * url[bytes - 2]);
  char *kept = api->normal_urls[end % API_URLS_KEPT];
  if (memcmp(kept, url, bytes + 1) == 0) {
    memcpy(out, url, bytes + 1);
    return VOW_OK;
  }
  enum vow_error error = vow_url_normalize(url, out, why, why_bytes);
  if (error == VOW_OK && strcmp(out, url) == 0) memcpy(kept, url, bytes + 1);
  return error;
}

/* Appends the URL with its NUL. */
static enum vow_error read_target(struct vow_api *api, struct vow_json_object *object,
                                  const char **name, struct vow_buf *url_out) {
  const char *asked = NULL, *participant = NULL, *found;
  char url[VOW_URL_BYTES_MAX + 1], why[200];
  enum vow_error error = VOW_OK;
  vow_json_get_string(object, "url", VOW_JSON_OPTIONAL, 64 * 1024, &asked);
  vow_json_get_string(object, "participant", VOW_JSON_OPTIONAL, API_NAME_BYTES_MAX, &participant);
  vow_json_get_string(object, "name", VOW_JSON_OPTIONAL, API_NAME_BYTES_MAX, name);
  if (object->error != VOW_OK) return object->error;
  if ((asked == NULL) == (participant == NULL)) {
    return fail(object, VOW_E_INVALID_REQUEST, asked == NULL ? "url" : "participant",
                "is one of url and participant, of which exactly one must be given");
  }
  if (*name != NULL && !vow_api_is_name(*name)) {
    return fail(object, VOW_E_INVALID_REQUEST, "name",
                "must have 1 to 128 letters, digits and the characters . _ : -");
  }
  if (asked != NULL) {
    error = normalize(api, asked, url, why, sizeof why);
    if (error != VOW_OK) {
      vow_json_object_fail(object, "url", "cannot be used: %s", why);
      return error;
    }
    found = url;
  } else {
    found = vow_config_participant_url(api->config, participant);
    if (found == NULL) {
      snprintf(why, sizeof why, "\"%s\" is not configured", participant);
      return fail(object, VOW_E_UNKNOWN_PARTICIPANT, "participant", why);
    }
    if (*name == NULL) *name = participant;
  }
  vow_buf_append(url_out, found, strlen(found) + 1);
  return VOW_OK;
}

enum vow_error vow_api_read_branch(struct vow_api *api, struct vow_json_object *object,
                                   struct vow_api_branches *branches) {
  struct vow_event_branch branch = {0};
  const struct vow_json_node *payload = NULL;
  enum vow_error error = read_target(api, object, &branch.name, &branches->texts);
  if (error != VOW_OK) return error;
  if (vow_json_get_any(object, "payload", VOW_JSON_OPTIONAL, &payload) && payload != NULL) {
    size_t before = branches->texts.bytes;
    vow_json_dump(payload, &branches->texts);
    branch.payload_bytes = branches->texts.bytes - before;
    vow_buf_append(&branches->texts, "", 1);
  }
  error = vow_json_object_end(object);
  if (error == VOW_OK) branches->items[branches->count++] = branch;
  return error;
}

enum vow_error vow_api_branches_end(struct vow_api_branches *branches) {
  const char *at = branches->texts.data;
  if (branches->texts.error != VOW_OK) return branches->texts.error;
  for (uint32_t i = 0; i < branches->count; i++) {
    struct vow_event_branch *branch = &branches->items[i];
    branch->url = at;
    at += strlen(at) + 1;
    if (branch->payload_bytes == 0) continue; /* no JSON value is empty */
    branch->payload = at;
    at += branch->payload_bytes + 1;
  }
  return VOW_OK;
}
