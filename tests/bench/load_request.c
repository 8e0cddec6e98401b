/* The bytes of requests, and what answers say. See load.h. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define REQUEST_BYTES (32u << 10)
#define NO_ID         "00000000-0000-0000-0000-000000000000"
#define NO_ACCOUNT    "00000000"

__attribute__((format(printf, 3, 4))) static void put(char *text, size_t *at, const char *format,
                                                      ...) {
  va_list arguments;
  va_start(arguments, format);
  int bytes = vsnprintf(text + *at, REQUEST_BYTES - *at, format, arguments);
  va_end(arguments);
  *at += (size_t)bytes;
  if (*at >= REQUEST_BYTES) abort(); /* BRANCHES_MAX are a few kilobytes */
}

/* The participants of one transaction are neighbours; clients begin at different ones. */
static void put_branch(const struct load_options *options, unsigned client, unsigned branch,
                       char *body, size_t *at) {
  unsigned first = client * options->branches;
  put(body, at,
      "{\"url\":\"%s\",\"name\":\"b%u\",\"payload\":{\"account\":" NO_ACCOUNT ",\"amount\":1}}",
      options->participants[(first + branch) % options->participant_count], branch + 1);
}

static void put_timeout(const struct load_options *options, char *body, size_t *at) {
  if (options->timeout_ms) put(body, at, "\"timeout_ms\":%u,", options->timeout_ms);
}

static bool make(struct load_step *step, const struct load_options *options, const char *path,
                 const char *body, int status) {
  char *text = malloc(2 * REQUEST_BYTES);
  if (!text) return false;
  size_t at = 0;
  put(text, &at,
      "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: "
      "%zu\r\n\r\n%s",
      path, options->host, strlen(body), body);
  *step = (struct load_step){.bytes = text, .size = at, .status = status};
  char *id = strstr(text, NO_ID);
  if (id) step->id_at = (size_t)(id - text);
  for (char *place = text; (place = strstr(place, ":" NO_ACCOUNT)) != NULL; place++) {
    step->accounts_at[step->account_count++] = (size_t)(place + 1 - text);
  }
  return true;
}

/* One request that names all branches. */
static unsigned make_whole(const struct load_options *options, unsigned client, char *body,
                           struct load_step steps[STEPS_MAX]) {
  size_t at = 0;
  put(body, &at, "{");
  put_timeout(options, body, &at);
  put(body, &at, "\"commit\":%s,\"branches\":[", options->mode == LOAD_HOLD ? "false" : "true");
  for (unsigned i = 0; i < options->branches; i++) {
    if (i > 0) put(body, &at, ",");
    put_branch(options, client, i, body, &at);
  }
  put(body, &at, "]}");
  int status = options->mode == LOAD_HOLD ? 201 : 200;
  return make(&steps[0], options, "/v1/transactions", body, status) ? 1 : 0;
}

static unsigned make_interactive(const struct load_options *options, unsigned client, char *body,
                                 struct load_step steps[STEPS_MAX]) {
  size_t at = 0;
  put(body, &at, "{");
  put_timeout(options, body, &at);
  put(body, &at, "\"commit\":false}");
  if (!make(&steps[0], options, "/v1/transactions", body, 201)) return 0;
  for (unsigned i = 0; i < options->branches; i++) {
    at = 0;
    put_branch(options, client, i, body, &at);
    if (!make(&steps[1 + i], options, "/v1/transactions/" NO_ID "/branches", body, 201)) return 0;
  }
  const char *path = "/v1/transactions/" NO_ID "/commit";
  unsigned last = 1 + options->branches;
  return make(&steps[last], options, path, "", 200) ? last + 1 : 0;
}

unsigned load_steps_make(const struct load_options *options, unsigned client,
                         struct load_step steps[STEPS_MAX]) {
  char *body = malloc(REQUEST_BYTES);
  if (!body) return 0;
  unsigned count = options->mode == LOAD_INTERACTIVE
                       ? make_interactive(options, client, body, steps)
                       : make_whole(options, client, body, steps);
  free(body);
  return count;
}

/* ---- for each transaction ---- */

static void write_account(char *place, unsigned account) {
  for (int i = 7; i >= 0; i--) {
    place[i] = (char)('0' + account % 10);
    account /= 10;
  }
}

void load_step_fill(struct load_step *step, const char id[ID_BYTES], unsigned *account,
                    const struct load_options *options) {
  if (step->id_at) memcpy(step->bytes + step->id_at, id, ID_BYTES);
  for (unsigned i = 0; i < step->account_count; i++) {
    write_account(step->bytes + step->accounts_at[i], ACCOUNT_FIRST + *account);
    *account = (*account + 1) % options->accounts;
  }
}

/* ---- answers ---- */

static const char *value_of(const char *text, const char *name) {
  const char *found = strstr(text, name);
  return found ? found + strlen(name) : NULL;
}

enum load_verdict load_answer(const char *text, size_t size, const struct load_step *step,
                              bool tells_outcome, char id[ID_BYTES]) {
  const char *body = value_of(text, "\r\n\r\n");
  if (!body) return LOAD_MORE;
  const char *length = value_of(text, "Content-Length: ");
  if (!length || length > body) return LOAD_BAD;
  if ((size_t)(body - text) + strtoul(length, NULL, 10) > size) return LOAD_MORE;
  int status = size > 12 ? atoi(text + 9) : 0;
  const char *found = value_of(body, "\"id\":\"");
  if (found && strlen(found) > ID_BYTES) memcpy(id, found, ID_BYTES);
  if (status == 409 || status == 202 || status == 503) return LOAD_REFUSED;
  if (status != step->status) return LOAD_BAD;
  if (tells_outcome && !strstr(body, "\"outcome\":\"committed\"")) return LOAD_BAD;
  return LOAD_GOOD;
}
