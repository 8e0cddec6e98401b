/*
 * See known.h. Pure.
 */
#include "known.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"

static const char *const words[] = {
    [VOW_KNOWN_PREPARING] = "preparing", [VOW_KNOWN_PREPARED] = "prepared",
    [VOW_KNOWN_COMMITTED] = "committed", [VOW_KNOWN_ABORTED] = "aborted",
    [VOW_KNOWN_READ_ONLY] = "read-only", [VOW_KNOWN_HEURISTIC] = "heuristic",
    [VOW_KNOWN_REFUSED] = "refused",
};

const char *vow_known_state_name(enum vow_known_state state) {
  return state >= VOW_KNOWN_PREPARING && state <= VOW_KNOWN_REFUSED ? words[state] : "invalid";
}

bool vow_known_state_parse(const char *name, enum vow_known_state *out) {
  for (int i = VOW_KNOWN_PREPARING; i <= VOW_KNOWN_REFUSED; i++) {
    if (strcmp(words[i], name) == 0) {
      *out = (enum vow_known_state)i;
      return true;
    }
  }
  return false;
}

/* ---- the request ---- */

void vow_known_request_encode(const struct vow_known_request *request, struct vow_buf *out) {
  struct vow_jsonw w;

  vow_jsonw_init(&w, out);
  vow_jsonw_object(&w, NULL);
  vow_jsonw_string(&w, "coordinator", request->coordinator);
  vow_jsonw_array(&w, "transactions");
  for (size_t i = 0; i < request->count; i++) vow_jsonw_id(&w, NULL, request->ids[i]);
  vow_jsonw_end(&w);
  vow_jsonw_end(&w);
}

static void read_ids(struct vow_json_object *o, const struct vow_json_node *array,
                     struct vow_id *ids) {
  for (size_t i = 0; i < vow_json_array_length(array); i++) {
    const char *text = vow_json_string_value(vow_json_array_at(array, i));
    char place[40];
    if (text && vow_id_parse(text, &ids[i])) continue;
    (void)snprintf(place, sizeof place, "transactions[%zu]", i);
    vow_json_object_fail(o, place, "must be a UUID (36 characters, 8-4-4-4-12)");
    return;
  }
}

enum vow_error vow_known_request_decode(const char *text, size_t bytes,
                                        struct vow_known_request *request,
                                        struct vow_json **document, char why[VOW_JSON_WHY_BYTES]) {
  const struct vow_json_node *array = NULL;
  struct vow_json_object o;
  struct vow_json *json = NULL;

  enum vow_error error = vow_json_parse(&json, text, bytes, why);
  if (error != VOW_OK) return error;
  vow_json_object_begin(&o, vow_json_root(json), NULL);
  vow_json_object_ignore_unknown(&o);
  vow_json_get_string(&o, "coordinator", VOW_JSON_REQUIRED, SIZE_MAX, &request->coordinator);
  if (vow_json_get_array(&o, "transactions", VOW_JSON_REQUIRED, VOW_KNOWN_IDS_MAX, &array)) {
    read_ids(&o, array, request->ids);
  }
  error = vow_json_object_end(&o);
  if (error != VOW_OK) {
    (void)snprintf(why, VOW_JSON_WHY_BYTES, "%s", o.why);
    vow_json_free(json);
    return error;
  }
  request->count = vow_json_array_length(array);
  *document = json;
  return VOW_OK;
}

/* ---- the reply ---- */

void vow_known_reply_encode(const struct vow_known_reply *reply, struct vow_buf *out) {
  struct vow_jsonw w;

  vow_jsonw_init(&w, out);
  vow_jsonw_object(&w, NULL);
  vow_jsonw_id(&w, "finished_below", reply->finished_below);
  if (!vow_id_is_nil(reply->newest)) vow_jsonw_id(&w, "newest", reply->newest);
  vow_log_position_write(&w, "seen", reply->seen, false);
  vow_jsonw_array(&w, "branches");
  for (size_t i = 0; i < reply->count; i++) {
    const struct vow_known_branch *branch = &reply->branches[i];
    vow_jsonw_object(&w, NULL);
    vow_jsonw_id(&w, "transaction", branch->transaction);
    vow_jsonw_uint(&w, "branch", branch->branch);
    vow_jsonw_string(&w, "state", vow_known_state_name(branch->state));
    vow_jsonw_end(&w);
  }
  vow_jsonw_end(&w);
  vow_jsonw_end(&w);
}

static enum vow_error read_branch(const struct vow_json_node *node, size_t index, bool states,
                                  struct vow_known_branch *out, char why[VOW_JSON_WHY_BYTES]) {
  struct vow_json_object o;
  const char *state = NULL;
  uint64_t number = 0;
  char path[40];

  (void)snprintf(path, sizeof path, "branches[%zu]", index);
  vow_json_object_begin(&o, node, path);
  vow_json_object_ignore_unknown(&o);
  vow_json_get_id(&o, "transaction", VOW_JSON_REQUIRED, &out->transaction);
  vow_json_get_uint(&o, "branch", VOW_JSON_REQUIRED, 1, UINT32_MAX, &number);
  out->branch = (uint32_t)number;
  out->state = VOW_KNOWN_PREPARED;
  out->coordinator = NULL;
  if (!states) {
    vow_json_get_string(&o, "coordinator", VOW_JSON_OPTIONAL, SIZE_MAX, &out->coordinator);
  } else if (vow_json_get_string(&o, "state", VOW_JSON_REQUIRED, SIZE_MAX, &state) &&
             !vow_known_state_parse(state, &out->state)) {
    vow_json_object_fail(&o, "state",
                         "must be \"preparing\", \"prepared\", \"committed\", \"aborted\", "
                         "\"read-only\", \"heuristic\" or \"refused\"");
  }
  enum vow_error error = vow_json_object_end(&o);
  if (error != VOW_OK) (void)snprintf(why, VOW_JSON_WHY_BYTES, "%s", o.why);
  return error;
}

/* Of several coordinators' logs the one that is meant. */
static void read_seen(struct vow_json_object *o, const char *coordinator,
                      struct vow_log_position *out) {
  const struct vow_json_node *array = NULL;

  if (!vow_json_get_array(o, "seen", VOW_JSON_OPTIONAL, SIZE_MAX, &array)) return;
  for (size_t i = 0; i < vow_json_array_length(array); i++) {
    struct vow_log_position at = {0};
    struct vow_json_object item;
    const char *url = NULL;
    vow_json_object_begin(&item, vow_json_array_at(array, i), "seen");
    vow_json_object_ignore_unknown(&item);
    vow_json_get_string(&item, "coordinator", VOW_JSON_REQUIRED, SIZE_MAX, &url);
    vow_json_get_uint(&item, "incarnation", VOW_JSON_REQUIRED, 1, VOW_LOG_NUMBER_MAX,
                      &at.incarnation);
    vow_json_get_uint(&item, "position", VOW_JSON_REQUIRED, 0, VOW_LOG_NUMBER_MAX, &at.position);
    if (vow_json_object_end(&item) != VOW_OK) {
      vow_json_object_fail(o, "seen", "must have coordinator, incarnation and position");
    } else if (strcmp(url, coordinator) == 0) {
      *out = at;
    }
  }
}

/* `coordinator`: of an answer to in-doubt; NULL: to known. */
static enum vow_error read_reply(const struct vow_json_node *root, const char *coordinator,
                                 struct vow_known_reply *reply, char why[VOW_JSON_WHY_BYTES]) {
  const struct vow_json_node *array = NULL;
  struct vow_json_object o;

  vow_json_object_begin(&o, root, NULL);
  vow_json_object_ignore_unknown(&o);
  if (coordinator) {
    read_seen(&o, coordinator, &reply->seen);
  } else {
    vow_json_get_id(&o, "finished_below", VOW_JSON_REQUIRED, &reply->finished_below);
    vow_json_get_id(&o, "newest", VOW_JSON_OPTIONAL, &reply->newest);
    vow_log_position_get(&o, "seen", &reply->seen, NULL);
  }
  vow_json_get_array(&o, "branches", VOW_JSON_REQUIRED, SIZE_MAX, &array);
  enum vow_error error = vow_json_object_end(&o);
  if (error != VOW_OK) {
    (void)snprintf(why, VOW_JSON_WHY_BYTES, "%s", o.why);
    return error;
  }
  reply->count = vow_json_array_length(array);
  reply->branches = calloc(reply->count + 1, sizeof *reply->branches);
  if (!reply->branches) {
    (void)snprintf(why, VOW_JSON_WHY_BYTES, "out of memory");
    return VOW_E_NO_MEMORY;
  }
  size_t given = reply->count;
  reply->count = 0;
  for (size_t i = 0; i < given && error == VOW_OK; i++) {
    struct vow_known_branch *branch = &reply->branches[reply->count];
    error = read_branch(vow_json_array_at(array, i), i, !coordinator, branch, why);
    const char *of = coordinator ? branch->coordinator : NULL;
    bool others = of && strcmp(of, coordinator) != 0;
    branch->coordinator = NULL; /* it goes with the document */
    reply->of_others += others;
    reply->count += !others;
  }
  return error;
}

static enum vow_error decode(const char *text, size_t bytes, const char *coordinator,
                             struct vow_known_reply *out, char why[VOW_JSON_WHY_BYTES]) {
  struct vow_known_reply reply = {0};
  struct vow_json *json = NULL;

  enum vow_error error = vow_json_parse(&json, text, bytes, why);
  if (error == VOW_OK) error = read_reply(vow_json_root(json), coordinator, &reply, why);
  vow_json_free(json);
  if (error == VOW_OK) {
    *out = reply;
  } else {
    free(reply.branches);
  }
  return vow_error_of_answer(error);
}

enum vow_error vow_known_reply_decode(const char *text, size_t bytes, struct vow_known_reply *out,
                                      char why[VOW_JSON_WHY_BYTES]) {
  return decode(text, bytes, NULL, out, why);
}

enum vow_error vow_in_doubt_decode(const char *text, size_t bytes, const char *coordinator,
                                   struct vow_known_reply *out, char why[VOW_JSON_WHY_BYTES]) {
  return decode(text, bytes, coordinator, out, why);
}
