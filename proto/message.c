/*
 * The messages of message.h as JSON and back. Both sides of the protocol call it, so that neither
 * can misread the other. Source: proto/README.md, "Messages to a participant".
 * Invariant: what an encoder writes, its decoder reads back as the same struct.
 */
#include "message.h"

#include <stdio.h>
#include <string.h>

#include "url.h"

/* The enumerator of a word; a name function gives the words of first..last. */
#define PARSE_WORD(name, out, first, last, name_of, type) \
  do {                                                    \
    for (int i = (first); i <= (int)(last); i++) {        \
      if (strcmp(name_of((type)i), name) == 0) {          \
        *(out) = (type)i;                                 \
        return true;                                      \
      }                                                   \
    }                                                     \
    return false;                                         \
  } while (0)

const char *vow_message_type_name(enum vow_message_type type) {
  switch (type) {
    case VOW_MESSAGE_PREPARE:
      return "prepare";
    case VOW_MESSAGE_COMMIT:
      return "commit";
    case VOW_MESSAGE_ABORT:
      return "abort";
    case VOW_MESSAGE_FORGET:
      return "forget";
  }
  return "invalid";
}

bool vow_message_type_parse(const char *name, enum vow_message_type *out) {
  PARSE_WORD(name, out, VOW_MESSAGE_PREPARE, VOW_MESSAGE_FORGET, vow_message_type_name,
             enum vow_message_type);
}

bool vow_vote_parse(const char *name, enum vow_vote *out) {
  PARSE_WORD(name, out, VOW_VOTE_COMMIT, VOW_VOTE_ABORT, vow_vote_name, enum vow_vote);
}

bool vow_outcome_parse(const char *name, enum vow_outcome *out) {
  PARSE_WORD(name, out, VOW_OUTCOME_COMMITTED, VOW_OUTCOME_HEURISTIC_HAZARD, vow_outcome_name,
             enum vow_outcome);
}

const char *vow_inquiry_answer_name(enum vow_inquiry_answer answer) {
  switch (answer) {
    case VOW_INQUIRY_UNKNOWN:
      return "unknown";
    case VOW_INQUIRY_UNDECIDED:
      return "undecided";
    case VOW_INQUIRY_COMMITTED:
      return "committed";
    case VOW_INQUIRY_ABORTED:
      return "aborted";
  }
  return "invalid";
}

bool vow_inquiry_answer_parse(const char *name, enum vow_inquiry_answer *out) {
  PARSE_WORD(name, out, VOW_INQUIRY_UNKNOWN, VOW_INQUIRY_ABORTED, vow_inquiry_answer_name,
             enum vow_inquiry_answer);
}

/* ---- messages ---- */

static void write_common(struct vow_jsonw *w, const struct vow_message *message) {
  vow_jsonw_string(w, "coordinator", message->coordinator);
  vow_jsonw_id(w, "finished_below", message->finished_below);
}

void vow_message_write_common(const struct vow_message *message, struct vow_buf *out) {
  struct vow_jsonw w;

  vow_jsonw_init(&w, out);
  vow_jsonw_object(&w, NULL);
  write_common(&w, message);
  vow_jsonw_end(&w);
}

void vow_message_write(struct vow_jsonw *w, const struct vow_message *message) {
  vow_jsonw_id(w, "transaction", message->transaction);
  vow_jsonw_uint(w, "branch", message->branch);
  if (message->common) {
    vow_jsonw_members(w, message->common, message->common_bytes);
  } else {
    write_common(w, message);
  }
  vow_log_position_write(w, "log", message->log, message->log_ask);
  if (message->type == VOW_MESSAGE_PREPARE) {
    vow_jsonw_uint(w, "timeout_ms", message->timeout_ms);
    if (message->one_phase) vow_jsonw_bool(w, "one_phase", true);
    vow_jsonw_raw(w, "payload", message->payload, message->payload_bytes);
  }
}

void vow_message_encode(const struct vow_message *message, struct vow_buf *out) {
  struct vow_jsonw w;

  vow_jsonw_init(&w, out);
  vow_jsonw_object(&w, NULL);
  vow_message_write(&w, message);
  vow_jsonw_end(&w);
}

static void get_coordinator(struct vow_json_object *o, const char *url, const char **out) {
  char normal[VOW_URL_BYTES_MAX + 1], why[VOW_JSON_WHY_BYTES];

  if (!vow_json_get_string(o, "coordinator", VOW_JSON_REQUIRED, VOW_URL_BYTES_MAX, out)) return;
  if (url && strcmp(*out, url) == 0) return;
  if (vow_url_normalize(*out, normal, why, sizeof why) == VOW_OK) return;
  vow_json_object_fail(o, "coordinator", "must be a URL: %s", why);
}

static enum vow_error read_members(struct vow_json_object *o, const char *url,
                                   struct vow_message *m, const struct vow_json_node **payload,
                                   char why[VOW_JSON_WHY_BYTES]) {
  uint64_t branch = 0, timeout_ms = 0;

  vow_json_get_id(o, "transaction", VOW_JSON_REQUIRED, &m->transaction);
  vow_json_get_uint(o, "branch", VOW_JSON_REQUIRED, 1, UINT32_MAX, &branch);
  get_coordinator(o, url, &m->coordinator);
  vow_json_get_id(o, "finished_below", VOW_JSON_REQUIRED, &m->finished_below);
  vow_log_position_get(o, "log", &m->log, &m->log_ask);
  if (m->type == VOW_MESSAGE_PREPARE) {
    vow_json_get_uint(o, "timeout_ms", VOW_JSON_REQUIRED, 1, UINT32_MAX, &timeout_ms);
    vow_json_get_bool(o, "one_phase", VOW_JSON_OPTIONAL, &m->one_phase);
    vow_json_get_any(o, "payload", VOW_JSON_OPTIONAL, payload);
  }
  enum vow_error error = vow_json_object_end(o);
  if (error != VOW_OK) {
    (void)snprintf(why, VOW_JSON_WHY_BYTES, "%s", o->why);
    return error;
  }
  m->branch = (uint32_t)branch;
  m->timeout_ms = (uint32_t)timeout_ms;
  return VOW_OK;
}

enum vow_error vow_message_read(enum vow_message_type type, struct vow_json *document,
                                struct vow_json_object *o, const char *url, struct vow_message *out,
                                char why[VOW_JSON_WHY_BYTES]) {
  struct vow_message message = {.type = type};
  const struct vow_json_node *payload = NULL;

  enum vow_error error = read_members(o, url, &message, &payload, why);
  if (error == VOW_OK && payload) {
    error = vow_json_keep_text(document, payload, &message.payload, &message.payload_bytes);
    if (error != VOW_OK) (void)snprintf(why, VOW_JSON_WHY_BYTES, "out of memory");
  }
  if (error == VOW_OK) *out = message;
  return error;
}

enum vow_error vow_message_decode(enum vow_message_type type, const char *text, size_t bytes,
                                  struct vow_message *out, struct vow_json **document,
                                  char why[VOW_JSON_WHY_BYTES]) {
  struct vow_json_object o;
  struct vow_json *json = NULL;

  enum vow_error error = vow_json_parse(&json, text, bytes, why);
  if (error != VOW_OK) return error;
  vow_json_object_begin(&o, vow_json_root(json), NULL);
  vow_json_object_ignore_unknown(&o);
  error = vow_message_read(type, json, &o, NULL, out, why);
  if (error != VOW_OK) {
    vow_json_free(json);
    return error;
  }
  *document = json;
  return VOW_OK;
}

/* ---- replies ---- */

void vow_message_reply_write(struct vow_jsonw *w, enum vow_message_type type,
                             const struct vow_message_reply *reply) {
  vow_log_position_write(w, "seen", reply->seen, false);
  if (type == VOW_MESSAGE_FORGET) return;
  if (type == VOW_MESSAGE_PREPARE) {
    vow_jsonw_string(w, "vote", vow_vote_name(reply->vote));
  }
  if (reply->outcome != VOW_OUTCOME_NONE) {
    vow_jsonw_string(w, "outcome", vow_outcome_name(reply->outcome));
  }
  vow_jsonw_string(w, "reason", reply->reason);
}

void vow_message_reply_encode(enum vow_message_type type, const struct vow_message_reply *reply,
                              struct vow_buf *out) {
  struct vow_jsonw w;

  vow_jsonw_init(&w, out);
  vow_jsonw_object(&w, NULL);
  vow_message_reply_write(&w, type, reply);
  vow_jsonw_end(&w);
}

static void get_vote(struct vow_json_object *o, enum vow_vote *out) {
  const char *name = NULL;

  if (!vow_json_get_string(o, "vote", VOW_JSON_REQUIRED, SIZE_MAX, &name)) return;
  if (!vow_vote_parse(name, out)) {
    vow_json_object_fail(o, "vote", "must be \"commit\", \"read-only\" or \"abort\"");
  }
}

static void get_outcome(struct vow_json_object *o, bool required, enum vow_outcome *out) {
  const char *name = NULL;

  if (!vow_json_get_string(o, "outcome", required, SIZE_MAX, &name)) return;
  if (!vow_outcome_parse(name, out)) {
    vow_json_object_fail(o, "outcome",
                         "must be \"committed\", \"aborted\" or \"heuristic-\" with commit, abort, "
                         "mixed or hazard");
  }
}

/* What may stand beside a vote: how a branch that was asked to commit in one phase has ended. */
static bool one_phase_fits(const struct vow_message_reply *reply) {
  switch (reply->outcome) {
    case VOW_OUTCOME_NONE:
      return true;
    case VOW_OUTCOME_ABORTED:
      return reply->vote == VOW_VOTE_ABORT;
    default:
      return reply->vote == VOW_VOTE_COMMIT;
  }
}

static void read_reply(struct vow_json_object *o, enum vow_message_type type,
                       struct vow_message_reply *reply) {
  vow_log_position_get(o, "seen", &reply->seen, NULL);
  if (type == VOW_MESSAGE_FORGET) return;
  if (type == VOW_MESSAGE_PREPARE) get_vote(o, &reply->vote);
  get_outcome(o, type != VOW_MESSAGE_PREPARE, &reply->outcome);
  vow_json_get_string(o, "reason", VOW_JSON_OPTIONAL, SIZE_MAX, &reply->reason);
  if (o->error != VOW_OK || type != VOW_MESSAGE_PREPARE) return;
  if (!one_phase_fits(reply)) {
    vow_json_object_fail(
        o, "outcome",
        "of a prepare must be \"aborted\" with the vote abort, and with the vote commit "
        "\"committed\" or the truth about a heuristic end");
  }
}

enum vow_error vow_error_of_answer(enum vow_error error) {
  return error == VOW_OK || error == VOW_E_NO_MEMORY || error == VOW_E_LIMIT_EXCEEDED
             ? error
             : VOW_E_PROTOCOL;
}

enum vow_error vow_message_reply_read(enum vow_message_type type, struct vow_json_object *o,
                                      struct vow_message_reply *out, char why[VOW_JSON_WHY_BYTES]) {
  struct vow_message_reply reply = {0};

  read_reply(o, type, &reply);
  enum vow_error error = vow_json_object_end(o);
  if (error != VOW_OK) {
    (void)snprintf(why, VOW_JSON_WHY_BYTES, "%s", o->why);
    return vow_error_of_answer(error);
  }
  *out = reply;
  return VOW_OK;
}

enum vow_error vow_message_reply_decode(enum vow_message_type type, const char *text, size_t bytes,
                                        struct vow_message_reply *out, struct vow_json **document,
                                        char why[VOW_JSON_WHY_BYTES]) {
  struct vow_json_object o;
  struct vow_json *json = NULL;

  enum vow_error error = vow_json_parse(&json, text, bytes, why);
  if (error != VOW_OK) return vow_error_of_answer(error);
  vow_json_object_begin(&o, vow_json_root(json), NULL);
  vow_json_object_ignore_unknown(&o);
  error = vow_message_reply_read(type, &o, out, why);
  if (error != VOW_OK) {
    vow_json_free(json);
    return error;
  }
  *document = json;
  return VOW_OK;
}

/* ---- outcome inquiries ---- */

void vow_inquiry_result_write(struct vow_jsonw *w, const struct vow_inquiry_result *result,
                              struct vow_log_position log) {
  vow_jsonw_object(w, NULL);
  vow_jsonw_id(w, "transaction", result->transaction);
  vow_jsonw_string(w, "outcome", vow_inquiry_answer_name(result->answer));
  if (result->presumed) vow_jsonw_bool(w, "presumed", true);
  if (result->purged) vow_jsonw_bool(w, "purged", true);
  vow_log_position_write(w, "log", log, false);
  vow_jsonw_end(w);
}

void vow_inquiry_request_encode(const struct vow_id *ids, size_t count,
                                struct vow_log_position seen, struct vow_buf *out) {
  struct vow_jsonw w;

  vow_jsonw_init(&w, out);
  vow_jsonw_object(&w, NULL);
  vow_jsonw_array(&w, "transactions");
  for (size_t i = 0; i < count; i++) vow_jsonw_id(&w, NULL, ids[i]);
  vow_jsonw_end(&w);
  vow_log_position_write(&w, "seen", seen, false);
  vow_jsonw_end(&w);
}

void vow_inquiry_reply_encode(const struct vow_inquiry_result *results, size_t count,
                              struct vow_log_position log, struct vow_buf *out) {
  const struct vow_log_position nothing = {0};
  struct vow_jsonw w;

  vow_jsonw_init(&w, out);
  vow_jsonw_object(&w, NULL);
  vow_jsonw_array(&w, "outcomes");
  for (size_t i = 0; i < count; i++) vow_inquiry_result_write(&w, &results[i], nothing);
  vow_jsonw_end(&w);
  vow_log_position_write(&w, "log", log, false);
  vow_jsonw_end(&w);
}

/* Checks the ids with `ids` NULL, else fills it. */
static void read_ids(struct vow_json_object *o, const struct vow_json_node *array,
                     struct vow_id *ids) {
  size_t items = vow_json_array_length(array);

  for (size_t i = 0; i < items && o->error == VOW_OK; i++) {
    const struct vow_json_node *item = vow_json_array_at(array, i);
    struct vow_id id;
    if (vow_id_parse(vow_json_string_value(item), &id)) {
      if (ids) ids[i] = id;
      continue;
    }
    char place[40];
    (void)snprintf(place, sizeof place, "transactions[%zu]", i);
    vow_json_object_fail(o, place, "must be a UUID (36 characters, 8-4-4-4-12)");
  }
}

enum vow_error vow_inquiry_request_decode(const char *text, size_t bytes, struct vow_id *ids,
                                          size_t max, size_t *count, struct vow_log_position *seen,
                                          char why[VOW_JSON_WHY_BYTES]) {
  const struct vow_json_node *array = NULL;
  struct vow_log_position said = *seen;
  struct vow_json_object o;
  struct vow_json *json = NULL;

  enum vow_error error = vow_json_parse(&json, text, bytes, why);
  if (error != VOW_OK) return error;
  vow_json_object_begin(&o, vow_json_root(json), NULL);
  if (vow_json_get_array(&o, "transactions", VOW_JSON_REQUIRED, max, &array)) {
    read_ids(&o, array, NULL);
  }
  vow_log_position_get(&o, "seen", &said, NULL);
  error = vow_json_object_end(&o);
  if (error == VOW_OK) {
    read_ids(&o, array, ids);
    *count = vow_json_array_length(array);
    *seen = said;
  } else {
    (void)snprintf(why, VOW_JSON_WHY_BYTES, "%s", o.why);
  }
  vow_json_free(json);
  return error;
}

/* `log` NULL: it stands elsewhere. */
static enum vow_error read_result(const struct vow_json_node *node, const char *path,
                                  struct vow_inquiry_result *out, struct vow_log_position *log,
                                  char why[VOW_JSON_WHY_BYTES]) {
  struct vow_inquiry_result result = {0};
  struct vow_log_position at = {0};
  const char *name = NULL;
  struct vow_json_object o;

  vow_json_object_begin(&o, node, path);
  vow_json_object_ignore_unknown(&o);
  vow_json_get_id(&o, "transaction", VOW_JSON_REQUIRED, &result.transaction);
  if (vow_json_get_string(&o, "outcome", VOW_JSON_REQUIRED, SIZE_MAX, &name) &&
      !vow_inquiry_answer_parse(name, &result.answer)) {
    vow_json_object_fail(&o, "outcome",
                         "must be \"committed\", \"aborted\", \"undecided\" or \"unknown\"");
  }
  vow_json_get_bool(&o, "presumed", VOW_JSON_OPTIONAL, &result.presumed);
  vow_json_get_bool(&o, "purged", VOW_JSON_OPTIONAL, &result.purged);
  if (log != NULL) vow_log_position_get(&o, "log", &at, NULL);
  enum vow_error error = vow_json_object_end(&o);
  if (error != VOW_OK) {
    (void)snprintf(why, VOW_JSON_WHY_BYTES, "%s", o.why);
    return error;
  }
  *out = result;
  if (at.incarnation != 0) *log = at;
  return VOW_OK;
}

enum vow_error vow_inquiry_result_decode(const char *text, size_t bytes,
                                         struct vow_inquiry_result *out,
                                         struct vow_log_position *log,
                                         char why[VOW_JSON_WHY_BYTES]) {
  struct vow_json *json = NULL;

  enum vow_error error = vow_json_parse(&json, text, bytes, why);
  if (error == VOW_OK) error = read_result(vow_json_root(json), NULL, out, log, why);
  vow_json_free(json);
  return vow_error_of_answer(error);
}

static enum vow_error read_results(const struct vow_json_node *array,
                                   struct vow_inquiry_result *results,
                                   char why[VOW_JSON_WHY_BYTES]) {
  enum vow_error error = VOW_OK;
  size_t items = vow_json_array_length(array);

  for (size_t i = 0; i < items && error == VOW_OK; i++) {
    char path[40];
    struct vow_inquiry_result ignored;
    (void)snprintf(path, sizeof path, "outcomes[%zu]", i);
    error =
        read_result(vow_json_array_at(array, i), path, results ? &results[i] : &ignored, NULL, why);
  }
  return error;
}

enum vow_error vow_inquiry_reply_decode(const char *text, size_t bytes,
                                        struct vow_inquiry_result *results, size_t max,
                                        size_t *count, struct vow_log_position *log,
                                        char why[VOW_JSON_WHY_BYTES]) {
  const struct vow_json_node *array = NULL;
  struct vow_log_position at = *log;
  struct vow_json_object o;
  struct vow_json *json = NULL;

  enum vow_error error = vow_json_parse(&json, text, bytes, why);
  if (error != VOW_OK) return vow_error_of_answer(error);
  vow_json_object_begin(&o, vow_json_root(json), NULL);
  vow_json_object_ignore_unknown(&o);
  vow_json_get_array(&o, "outcomes", VOW_JSON_REQUIRED, max, &array);
  vow_log_position_get(&o, "log", &at, NULL);
  error = vow_json_object_end(&o);
  if (error != VOW_OK) {
    (void)snprintf(why, VOW_JSON_WHY_BYTES, "%s", o.why);
  } else {
    error = read_results(array, NULL, why);
  }
  if (error == VOW_OK) error = read_results(array, results, why);
  if (error == VOW_OK) {
    *count = vow_json_array_length(array);
    *log = at;
  }
  vow_json_free(json);
  return vow_error_of_answer(error);
}

/* ---- problems ---- */

void vow_problem_begin(struct vow_jsonw *w, enum vow_error error, const char *detail) {
  char type[64];

  (void)snprintf(type, sizeof type, "urn:vow:%s", vow_error_slug(error));
  vow_jsonw_object(w, NULL);
  vow_jsonw_string(w, "type", type);
  vow_jsonw_string(w, "title", vow_error_text(error));
  vow_jsonw_uint(w, "status", (uint64_t)vow_error_http_status(error));
  vow_jsonw_string(w, "detail", detail);
}

/* The type's error; PROTOCOL if it is none of ours. "ok" is in the table and is no problem. */
static enum vow_error problem_of_type(const char *type) {
  static const char prefix[] = "urn:vow:";

  if (strncmp(type, prefix, sizeof prefix - 1) != 0) return VOW_E_PROTOCOL;
  enum vow_error error = vow_error_from_slug(type);
  return error == VOW_OK ? VOW_E_PROTOCOL : error;
}

enum vow_error vow_problem_read(const struct vow_json_node *node, const char **detail) {
  const char *type = NULL, *said = NULL;
  struct vow_json_object o;

  vow_json_object_begin(&o, node, NULL);
  vow_json_object_ignore_unknown(&o);
  vow_json_get_string(&o, "type", VOW_JSON_REQUIRED, SIZE_MAX, &type);
  vow_json_get_string(&o, "title", VOW_JSON_OPTIONAL, SIZE_MAX, &said);
  vow_json_get_string(&o, "detail", VOW_JSON_OPTIONAL, SIZE_MAX, &said);
  enum vow_error error = vow_json_object_end(&o) == VOW_OK ? problem_of_type(type) : VOW_E_PROTOCOL;
  if (error != VOW_E_PROTOCOL) *detail = said ? said : vow_error_text(error);
  return error;
}

enum vow_error vow_problem_decode(const char *text, size_t bytes, char *detail,
                                  size_t detail_bytes) {
  const char *said = NULL;
  char why[VOW_JSON_WHY_BYTES];
  struct vow_json *json = NULL;

  enum vow_error error = vow_json_parse(&json, text, bytes, why);
  if (error != VOW_OK) return vow_error_of_answer(error);
  error = vow_problem_read(vow_json_root(json), &said);
  if (error != VOW_E_PROTOCOL && detail && detail_bytes > 0) {
    (void)snprintf(detail, detail_bytes, "%s", said);
  }
  vow_json_free(json);
  return error;
}
