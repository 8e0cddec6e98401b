/* See codec_judge.h. Nothing of proto but its table of errors is used: it is what is judged. */
#include "codec_judge.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "vow/error.h"

enum type { ID = 1, NUMBER, FLAG, TEXT, ANY, IDS, OBJECT, OBJECTS, MESSAGES, REPLIES };

struct member {
  const char *name;
  enum type type;
  bool required;
  uint64_t min, max;           /* of a number */
  const char *const *words;    /* of a text; NULL: any */
  const struct member *inside; /* of objects */
};

#define MUST(name_, type_, ...) \
  { .name = (name_), .type = (type_), .required = true, __VA_ARGS__ }
#define MAY(name_, type_, ...) \
  { .name = (name_), .type = (type_), __VA_ARGS__ }
#define END \
  { .name = NULL }

static const char *const votes[] = {"commit", "read-only", "abort", NULL};
static const char *const outcomes[] = {
    "committed",        "aborted", "heuristic-commit", "heuristic-abort", "heuristic-mixed",
    "heuristic-hazard", NULL};
static const char *const answers[] = {"committed", "aborted", "undecided", "unknown", NULL};
static const char *const states[] = {"preparing", "prepared",  "committed", "aborted",
                                     "read-only", "heuristic", "refused",   NULL};

#define TRANSACTION    MUST("transaction", ID)
#define BRANCH         MUST("branch", NUMBER, .min = 1, .max = UINT32_MAX)
#define COORDINATOR    MUST("coordinator", TEXT)
#define FINISHED_BELOW MUST("finished_below", ID)
#define INCARNATION    MUST("incarnation", NUMBER, .min = 1, .max = (UINT64_C(1) << 53) - 1)
#define POSITION       MUST("position", NUMBER, .max = (UINT64_C(1) << 53) - 1)
#define LOG_ASK        MAY("log", OBJECT, .inside = position_ask)
#define LOG            MAY("log", OBJECT, .inside = position)
#define SEEN           MAY("seen", OBJECT, .inside = position)
#define REASON         MAY("reason", TEXT)
#define ANSWER         MUST("outcome", TEXT, .words = answers)
#define PRESUMED       MAY("presumed", FLAG), MAY("purged", FLAG)

/* clang-format off */
static const struct member position[] = {INCARNATION, POSITION, END};
static const struct member position_ask[] = {INCARNATION, POSITION, MAY("ask", FLAG), END};
static const struct member position_of[] = {COORDINATOR, INCARNATION, POSITION, END};
static const struct member message[] = {
    TRANSACTION, BRANCH, COORDINATOR, FINISHED_BELOW, LOG_ASK, END};
static const struct member prepare[] = {
    TRANSACTION, BRANCH, COORDINATOR, FINISHED_BELOW, LOG_ASK,
    MUST("timeout_ms", NUMBER, .min = 1, .max = UINT32_MAX), MAY("one_phase", FLAG),
    MAY("payload", ANY), END};
static const struct member prepare_reply[] = {
    MUST("vote", TEXT, .words = votes), MAY("outcome", TEXT, .words = outcomes), REASON, SEEN, END};
static const struct member reply[] = {
    MUST("outcome", TEXT, .words = outcomes), REASON, SEEN, END};
static const struct member forget_reply[] = {SEEN, END};
static const struct member batch[] = {MUST("messages", MESSAGES), LOG_ASK, END};
static const struct member batch_reply[] = {MUST("replies", REPLIES), SEEN, END};
static const struct member inquiry[] = {MUST("transactions", IDS), SEEN, END};
static const struct member one_outcome[] = {TRANSACTION, ANSWER, PRESUMED, END};
static const struct member outcome[] = {TRANSACTION, ANSWER, PRESUMED, LOG, END};
static const struct member inquiry_reply[] = {
    MUST("outcomes", OBJECTS, .inside = one_outcome), LOG, END};
static const struct member known[] = {COORDINATOR, MUST("transactions", IDS), END};
static const struct member known_branch[] = {
    TRANSACTION, BRANCH, MUST("state", TEXT, .words = states), END};
static const struct member known_reply[] = {
    MUST("branches", OBJECTS, .inside = known_branch), FINISHED_BELOW, MAY("newest", ID),
    SEEN, END};
static const struct member doubt[] = {TRANSACTION, BRANCH, END};
static const struct member in_doubt[] = {
    MUST("branches", OBJECTS, .inside = doubt), MAY("seen", OBJECTS, .inside = position_of),
    END};
/* clang-format on */

static const struct kind {
  const char *name;
  const struct member *members;
} kinds[] = {{"prepare", prepare},
             {"commit", message},
             {"abort", message},
             {"forget", message},
             {"prepare-reply", prepare_reply},
             {"commit-reply", reply},
             {"abort-reply", reply},
             {"forget-reply", forget_reply},
             {"batch", batch},
             {"batch-reply", batch_reply},
             {"inquiry", inquiry},
             {"inquiry-reply", inquiry_reply},
             {"outcome", outcome},
             {"known", known},
             {"known-reply", known_reply},
             {"in-doubt", in_doubt},
             {NULL, NULL}};

static const struct member *members_of(const char *kind) {
  const struct kind *k = kinds;
  while (k->name != NULL && strcmp(k->name, kind) != 0) k++;
  return k->members;
}

/* Always false. */
__attribute__((format(printf, 2, 3))) static bool complain(char *complaint, const char *format,
                                                           ...) {
  va_list args;
  va_start(args, format);
  (void)vsnprintf(complaint, CODEC_JUDGE_COMPLAINT_BYTES, format, args);
  va_end(args);
  return false;
}

static const char *text_of(json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

static bool is_id(const char *text) {
  if (text == NULL || strlen(text) != 36) return false;
  for (size_t i = 0; i < 36; i++) {
    bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : strchr("0123456789abcdefABCDEF", text[i]) == NULL) return false;
  }
  return true;
}

static bool same_id(json_t *said, json_t *written) {
  const char *a = json_string_value(said), *b = json_string_value(written);
  return is_id(a) && is_id(b) && strcasecmp(a, b) == 0;
}

static bool same_number(const struct member *m, json_t *said, json_t *written) {
  json_int_t value = json_integer_value(said);
  return json_is_integer(said) && json_is_integer(written) && value >= (json_int_t)m->min &&
         value <= (json_int_t)m->max && json_integer_value(written) == value;
}

static bool same_text(const struct member *m, json_t *said, json_t *written) {
  const char *text = json_string_value(said);
  if (text == NULL || !json_equal(said, written)) return false;
  for (const char *const *word = m->words; word != NULL; word++) {
    if (*word == NULL) return false;
    if (strcmp(*word, text) == 0) return true;
  }
  return true;
}

static bool same_ids(json_t *said, json_t *written) {
  if (!json_is_array(said) || json_array_size(said) != json_array_size(written)) return false;
  for (size_t i = 0; i < json_array_size(said); i++) {
    if (!same_id(json_array_get(said, i), json_array_get(written, i))) return false;
  }
  return true;
}

static bool same_members(const struct member *m, json_t *said, json_t *written, char *complaint);

static bool same_message(json_t *said, json_t *written, char *complaint) {
  const char *type = text_of(said, "type"), *again = text_of(written, "type");
  const struct member *members = type == NULL ? NULL : members_of(type);
  if (members != message && members != prepare) return complain(complaint, "no such type");
  if (again == NULL || strcmp(type, again) != 0) return complain(complaint, "another type");
  json_object_del(written, "type");
  return same_members(members, said, written, complaint);
}

/* The number in the table of errors; of "ok", of others' and of what is no problem that of
 * PROTOCOL. */
static enum vow_error error_of(json_t *problem) {
#define ROW(number, name, class_, status, slug, text) \
  if (strcmp(type, "urn:vow:" slug) == 0) error = VOW_E_##name;
  enum vow_error error = VOW_E_PROTOCOL;
  const char *type = text_of(problem, "type");
  json_t *title = json_object_get(problem, "title"), *detail = json_object_get(problem, "detail");
  if (type == NULL || (title && !json_is_string(title)) || (detail && !json_is_string(detail)))
    return VOW_E_PROTOCOL;
  VOW_ERROR_TABLE(ROW)
#undef ROW
  return error == VOW_OK ? VOW_E_PROTOCOL : error;
}

/* What is kept of a problem is its error and its words. */
static bool same_problem(json_t *said, json_t *written, char *complaint) {
  enum vow_error error = error_of(said);
  const char *words = text_of(said, "detail"), *again = text_of(written, "detail");
  if (error_of(written) != error) return complain(complaint, "another error");
  if (json_integer_value(json_object_get(written, "status")) != vow_error_http_status(error))
    return complain(complaint, "another status");
  if (error == VOW_E_PROTOCOL) return again == NULL || complain(complaint, "words of others");
  if (words == NULL) words = text_of(said, "title");
  if (words == NULL) words = vow_error_text(error);
  return (again != NULL && strcmp(words, again) == 0) || complain(complaint, "other words");
}

static bool same_reply(json_t *said, json_t *written, char *complaint) {
  static const struct member status = MUST("status", NUMBER, .min = 100, .max = 599);
  json_t *code = json_object_get(said, "status"), *again = json_object_get(written, "status");
  if (json_integer_value(code) != 200)
    return same_number(&status, code, code) ? same_problem(said, written, complaint)
                                            : complain(complaint, "no status");
  if (!json_equal(code, again)) return complain(complaint, "another status");
  json_object_del(written, "status");
  return same_members(prepare_reply, said, written, complaint);
}

static bool same_items(const struct member *m, json_t *said, json_t *written, char *complaint) {
  if (!json_is_array(said) || json_array_size(said) != json_array_size(written))
    return complain(complaint, "%s: not as many", m->name);
  for (size_t i = 0; i < json_array_size(said); i++) {
    json_t *a = json_array_get(said, i), *b = json_array_get(written, i);
    bool same = m->type == MESSAGES  ? same_message(a, b, complaint)
                : m->type == REPLIES ? same_reply(a, b, complaint)
                                     : same_members(m->inside, a, b, complaint);
    if (!same) return false;
  }
  return true;
}

static bool same_value(const struct member *m, json_t *said, json_t *written, char *complaint) {
  switch (m->type) {
    case ID:
      return same_id(said, written);
    case NUMBER:
      return same_number(m, said, written);
    case FLAG:
      return json_is_boolean(said) && json_equal(said, written);
    case TEXT:
      return same_text(m, said, written);
    case ANY:
      return json_equal(said, written);
    case IDS:
      return same_ids(said, written);
    case OBJECT:
      return same_members(m->inside, said, written, complaint);
    default:
      return same_items(m, said, written, complaint);
  }
}

/* A flag that is not set and an id of zeros need not be said. */
static bool may_be_left_out(const struct member *m, json_t *said) {
  const char *nil = "00000000-0000-0000-0000-000000000000", *text = json_string_value(said);
  if (m->required) return false;
  return m->type == FLAG ? json_is_false(said) : m->type == ID && text && strcmp(text, nil) == 0;
}

/* Only a yes has another end than aborted. */
static bool vote_fits(json_t *said) {
  const char *vote = text_of(said, "vote"), *end = text_of(said, "outcome");
  if (end == NULL) return true;
  return strcmp(vote, strcmp(end, "aborted") == 0 ? "abort" : "commit") == 0;
}

static bool same_members(const struct member *m, json_t *said, json_t *written, char *complaint) {
  size_t count = 0;
  if (!json_is_object(said) || !json_is_object(written)) return complain(complaint, "no object");
  bool is_vote = m == prepare_reply;
  for (; m->name != NULL; m++) {
    json_t *a = json_object_get(said, m->name), *b = json_object_get(written, m->name);
    count += b != NULL;
    if (a == NULL && b == NULL && !m->required) continue;
    if (a == NULL) return complain(complaint, "%s: was not said", m->name);
    if (b == NULL && may_be_left_out(m, a)) continue;
    if (b == NULL) return complain(complaint, "%s: is lost", m->name);
    complaint[0] = '\0';
    if (same_value(m, a, b, complaint)) continue;
    return complaint[0] != '\0' ? false : complain(complaint, "%s: is another", m->name);
  }
  if (is_vote && !vote_fits(said)) return complain(complaint, "outcome: not of this vote");
  return count == json_object_size(written) || complain(complaint, "there is more than was said");
}

/* Of the answer to in-doubt what is about the coordinator that codec_kinds.c asks for: its branches
 * and those that are nobody's, and of what was seen the last word. */
static void keep_ours(json_t *said) {
  json_t *branches = json_object_get(said, "branches"), *seen = json_object_get(said, "seen");
  json_t *last = NULL;
  for (size_t i = json_array_size(branches); i-- > 0;) {
    const char *whose = text_of(json_array_get(branches, i), "coordinator");
    if (whose != NULL && strcmp(whose, "http://c:7800") != 0) json_array_remove(branches, i);
  }
  for (size_t i = 0; i < json_array_size(seen); i++) {
    const char *whose = text_of(json_array_get(seen, i), "coordinator");
    if (whose != NULL && strcmp(whose, "http://c:7800") == 0) last = json_array_get(seen, i);
  }
  if (last == NULL) {
    json_object_del(said, "seen");
  } else {
    json_object_set_new(said, "seen", json_pack("[O]", last));
  }
}

/* An inquiry is asked of an API, which knows all that it may say. */
static bool is_all_known(const struct member *m, json_t *said) {
  size_t count = 0;
  for (; m->name != NULL; m++) count += json_object_get(said, m->name) != NULL;
  return count == json_object_size(said);
}

static bool judge(const char *kind, json_t *said, json_t *written, char *complaint) {
  if (strcmp(kind, "problem") == 0) return same_problem(said, written, complaint);
  const struct member *members = members_of(kind);
  if (members == NULL) return complain(complaint, "no such kind");
  if (members == in_doubt) keep_ours(said);
  if (members == inquiry && !is_all_known(members, said))
    return complain(complaint, "a member that an inquiry does not have");
  return same_members(members, said, written, complaint);
}

bool codec_judge(const char *kind, const char *body, size_t bytes, const char *written,
                 char complaint[CODEC_JUDGE_COMPLAINT_BYTES]) {
  json_error_t error = {0};
  json_t *said = json_loadb(body, bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
  if (said == NULL && json_error_code(&error) == json_error_numeric_overflow)
    return true; /* it has no numbers of this size, and cannot say */
  if (said == NULL) return complain(complaint, "no JSON: %s", error.text);
  json_t *again = json_loads(written, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
  bool same = again != NULL ? judge(kind, said, again, complaint)
                            : complain(complaint, "what was written is no JSON: %s", error.text);
  json_decref(said);
  json_decref(again);
  return same;
}
