/*
 * A record of the coordinator's log, in its form or in that of before format 7. What is read is
 * written, and read again as the same; another reader, jansson, finds in what was written all that
 * was in the record; what is refused is refused as a damaged log; and a core that loads it either
 * refuses it, or begins to drive it to its end.
 */
#include "io/record.h"

#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "core_config.h"
#include "fuzz.h"
#include "io/txn_json.h"

#define TEXT_BYTES_MAX ((size_t)1 << 20)

static void write_record(struct vow_buf *out, const struct vow_txn *txn) {
  vow_buf_init(out, TEXT_BYTES_MAX);
  vow_record_write(out, txn);
  must(out->error == VOW_OK);
}

static void write_shown(struct vow_buf *out, const struct vow_txn *txn,
                        enum vow_txn_json_detail detail) {
  struct vow_jsonw w;
  vow_buf_init(out, TEXT_BYTES_MAX);
  vow_jsonw_init(&w, out);
  vow_txn_json_write(&w, NULL, txn, detail);
  must(out->error == VOW_OK);
}

static void must_be_json(const struct vow_txn *txn, enum vow_txn_json_detail detail) {
  char why[VOW_JSON_WHY_BYTES];
  struct vow_json *json = NULL;
  struct vow_buf text;
  write_shown(&text, txn, detail);
  must(vow_json_parse(&json, text.data, text.bytes, why) == VOW_OK);
  vow_json_free(json);
  vow_buf_fini(&text);
}

/* A time is written to the millisecond, whatever was read. */
static bool same_time(const char *said, const char *written) {
  const char *fraction = said + strcspn(said, ".Z"), *again = written + strcspn(written, ".Z");
  size_t bytes = (size_t)(fraction - said), digits = strspn(fraction + 1, "0123456789");
  if (bytes != (size_t)(again - written) || strncmp(said, written, bytes) != 0) return false;
  for (size_t i = 0; i < 3; i++) {
    char digit = *fraction == '.' && i < digits ? fraction[1 + i] : '0';
    if (again[1 + i] != digit) return false;
  }
  return strcmp(again + 4, "Z") == 0;
}

static bool is_time(const char *key) {
  return strcmp(key, "created") == 0 || strcmp(key, "updated") == 0 ||
         strcmp(key, "deadline") == 0 || strcmp(key, "ended") == 0 ||
         strcmp(key, "last_error_at") == 0;
}

/* A flag that is not set, a time of zero, and the hash of a request that had no key. */
static bool may_be_left_out(json_t *record, const char *key, json_t *said) {
  if (json_is_string(said) && is_time(key))
    return same_time(json_string_value(said), "1970-01-01T00:00:00.000Z");
  if (strcmp(key, "request_hash") == 0) return json_object_get(record, "idempotency_key") == NULL;
  return json_is_false(said);
}

static bool same_value(const char *key, json_t *said, json_t *written) {
  const char *a = json_string_value(said), *b = json_string_value(written);
  if (a == NULL || b == NULL) return json_equal(said, written);
  if (strcmp(key, "id") == 0) return strcasecmp(a, b) == 0;
  return is_time(key) ? same_time(a, b) : strcmp(a, b) == 0;
}

/* NULL: an object that has nothing. Arrays in it are compared elsewhere. */
static bool same_object(json_t *said, json_t *written) {
  const char *key;
  json_t *value;
  json_object_foreach(said, key, value) {
    json_t *again = json_object_get(written, key);
    if (json_is_array(value)) continue;
    if (again != NULL ? !same_value(key, value, again) : !may_be_left_out(said, key, value)) {
      fprintf(stderr, "%s: is %s\n", key, again == NULL ? "lost" : "another");
      return false;
    }
  }
  json_object_foreach(written, key, value) {
    if (json_object_get(said, key) == NULL) return false;
  }
  return true;
}

/* So many items are equal, and then there may be an object. */
static bool same_row(json_t *said, json_t *written, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (!json_equal(json_array_get(said, i), json_array_get(written, i))) return false;
  }
  return same_object(json_array_get(said, count), json_array_get(written, count));
}

/* The time that it ended may be said to be none. */
static bool same_times(const struct vow_txn *txn, json_t *said, json_t *written) {
  size_t count = json_array_size(written);
  for (size_t i = 0; i < count; i++) {
    if (!json_equal(json_array_get(said, i), json_array_get(written, i))) return false;
  }
  return count == (txn->ended_ms == 0 ? 3 : 4);
}

/* [time, kind, branch, count, detail], of which the end may be left out where it says nothing; a
 * detail may have been the text of a word. */
static bool same_entry(json_t *said, json_t *written) {
  for (size_t i = 0; i < 5; i++) {
    json_t *a = json_array_get(said, i), *b = json_array_get(written, i);
    json_int_t missing = i == 3;
    if (a != NULL && b != NULL ? !json_equal(a, b)
                               : json_integer_value(a ? a : b) != (a || b ? missing : 0))
      return false;
    if ((json_is_string(a) && b == NULL) || (json_is_string(b) && a == NULL)) return false;
  }
  return true;
}

static bool same_history(json_t *said, json_t *written) {
  if (json_array_size(said) != json_array_size(written)) return false;
  for (size_t i = 0; i < json_array_size(said); i++) {
    if (!same_entry(json_array_get(said, i), json_array_get(written, i))) return false;
  }
  return true;
}

static bool same_record(const struct vow_txn *txn, json_t *said, json_t *written) {
  json_t *a = json_array_get(said, 2), *b = json_array_get(written, 2);
  if (json_array_size(a) != json_array_size(b)) return false;
  for (size_t i = 0; i < json_array_size(a); i++) {
    if (!same_row(json_array_get(a, i), json_array_get(b, i), 7)) return false;
  }
  return same_times(txn, json_array_get(said, 0), json_array_get(written, 0)) &&
         json_equal(json_array_get(said, 1), json_array_get(written, 1)) &&
         same_history(json_array_get(said, 3), json_array_get(written, 3)) &&
         same_object(json_array_get(said, 4), json_array_get(written, 4));
}

/* What is shown leaves some of a record out, and says some of it otherwise. */
static bool same_before_7(const struct vow_txn *txn, json_t *said, json_t *written, json_t *shown) {
  json_t *a = json_object_get(said, "branches"), *b = json_object_get(shown, "branches");
  json_t *key = json_object_get(said, "idempotency_key"), *state = json_object_get(said, "state");
  if ((key == NULL) != (txn->idempotency_key == NULL)) return false;
  if (key != NULL && strcmp(json_string_value(key), txn->idempotency_key) != 0) return false;
  if (strcmp(json_string_value(state), vow_txn_state_name(txn->state)) != 0) return false;
  if (json_is_true(json_object_get(said, "presumed")) != txn->presumed) return false;
  static const char *const apart[] = {"idempotency_key", "request_hash", "state",  "presumed",
                                      "outcome",         "branches",     "history"};
  if (json_array_size(a) != json_array_size(b)) return false;
  for (size_t i = 0; i < json_array_size(a); i++) {
    if (!same_object(json_array_get(a, i), json_array_get(b, i))) return false;
  }
  if (!same_history(json_object_get(said, "history"), json_array_get(written, 3))) return false;
  for (size_t i = 0; i < sizeof apart / sizeof *apart; i++) {
    (void)json_object_del(said, apart[i]);
    (void)json_object_del(shown, apart[i]);
  }
  return same_object(said, shown);
}

static json_t *load(struct vow_buf *text) {
  json_error_t error = {0};
  json_t *json = json_loadb(text->data, text->bytes, JSON_REJECT_DUPLICATES, &error);
  must(json != NULL);
  vow_buf_fini(text);
  return json;
}

static void has_all_of_it(const struct vow_txn *txn, const char *text, size_t bytes) {
  struct vow_buf out;
  json_error_t error = {0};
  json_t *said = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
  must(said != NULL || json_error_code(&error) == json_error_numeric_overflow);
  if (said == NULL) return; /* a number that jansson does not have */
  write_record(&out, txn);
  json_t *written = json_loadb(out.data, out.bytes, JSON_REJECT_DUPLICATES, &error);
  must(written != NULL || json_error_code(&error) == json_error_numeric_overflow);
  vow_buf_fini(&out);
  write_shown(&out, txn, VOW_TXN_JSON_WHOLE);
  json_t *shown = load(&out);
  if (written != NULL) {
    must(json_is_array(said) ? same_record(txn, said, written)
                             : same_before_7(txn, said, written, shown));
  }
  json_decref(said);
  json_decref(written);
  json_decref(shown);
}

static void written_and_read_again(const struct vow_txn *txn) {
  char why[VOW_JSON_WHY_BYTES];
  struct vow_txn again = {0};
  struct vow_buf once, twice;

  write_record(&once, txn);
  must(vow_record_read(txn->id, once.data, once.bytes, &again, why) == VOW_OK);
  write_record(&twice, &again);
  must(once.bytes == twice.bytes && memcmp(once.data, twice.data, once.bytes) == 0);
  must(vow_id_compare(txn->id, again.id) == 0 && txn->state == again.state);
  must(txn->ended_ms == again.ended_ms && txn->delegated == again.delegated);
  must(txn->branch_count == again.branch_count && txn->history_count == again.history_count);
  must(txn->decision_durable == again.decision_durable);
  must(memcmp(txn->request_hash, again.request_hash, sizeof txn->request_hash) == 0 ||
       txn->idempotency_key == NULL);
  vow_txn_fini(&again);
  vow_buf_fini(&once);
  vow_buf_fini(&twice);
}

static void step(struct vow_core *core, struct vow_event *event, enum vow_error *error) {
  struct vow_actions actions = {0};
  event->now_ms = 1000;
  event->wall_ms = 1700000000000;
  *error = vow_core_step(core, event, &actions);
  for (uint32_t i = 0; *error == VOW_OK && i < actions.count; i++) {
    must(actions.items[i].after <= 7); /* nothing leaves before it is durable */
  }
}

static void loaded(struct vow_txn *txn) {
  struct vow_event event = {.type = VOW_EVENT_LOAD_BEGIN, .u.load_begin.position = 7};
  struct vow_core *core = NULL;
  enum vow_error error;

  must(vow_core_new(&core, &core_config) == VOW_OK);
  step(core, &event, &error);
  must(error == VOW_OK);
  event = (struct vow_event){.type = VOW_EVENT_LOAD, .u.load = txn};
  bool ended = txn->ended_ms != 0;
  step(core, &event, &error);
  must(error == VOW_OK || error == VOW_E_LOG_CORRUPT || (ended && error == VOW_E_INVALID_ARGUMENT));
  event = (struct vow_event){.type = VOW_EVENT_LOAD_END};
  step(core, &event, &error);
  must(error == VOW_OK);
  vow_core_free(core);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  char why[VOW_JSON_WHY_BYTES] = "";
  struct vow_txn txn = {0};
  struct vow_id id;

  must(vow_id_parse("018bcfe5-6800-7000-8000-000000000001", &id));
  enum vow_error error = vow_record_read(id, (const char *)data, bytes, &txn, why);
  if (error != VOW_OK) {
    must(error == VOW_E_LOG_CORRUPT && strlen(why) > 10);
    must(txn.branches == NULL && txn.history == NULL);
    return 0;
  }
  must_be_json(&txn, VOW_TXN_JSON_SUMMARY);
  must_be_json(&txn, VOW_TXN_JSON_WHOLE);
  written_and_read_again(&txn);
  has_all_of_it(&txn, (const char *)data, bytes);
  loaded(&txn);
  vow_txn_fini(&txn);
  return 0;
}
