/*
 * The client: transactions as an application sees them. See vow/client.h; the requests are in
 * client_ask.c. Applications call it, from any thread; a transaction belongs to one at a time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "client_internal.h"
#include "id.h"

#define BODY_BYTES_MAX ((size_t)16 << 20)
#define NAME_BYTES     40
#define KEY_BYTES_MAX  255
#define URL_BYTES      (VOW_URL_BYTES_MAX + 64) /* the coordinator's, and a path of ours */

struct vow_transaction {
  struct vow_client *client;
  char id[VOW_ID_TEXT_BYTES]; /* "": not known */
  char why[VOW_CLIENT_WHY_BYTES];
  bool commit_asked; /* a commit may have reached the coordinator, and was not answered */
  uint32_t unnamed;  /* branches enlisted without a name */
  uint32_t random;   /* of their names: two processes may share the transaction */
};

static _Thread_local char last_why[VOW_CLIENT_WHY_BYTES];

/* Notes why, for the transaction (if there is one) and for the thread. */
static enum vow_error said(struct vow_transaction *transaction, enum vow_error error,
                           const char *why) {
  snprintf(last_why, sizeof last_why, "%s",
           error == VOW_OK ? "" : (why && *why ? why : vow_error_text(error)));
  if (transaction) snprintf(transaction->why, sizeof transaction->why, "%s", last_why);
  return error;
}

/* ---- client ---- */

enum vow_error vow_client_open(struct vow_client **out, const char *url) {
  char why[VOW_CLIENT_WHY_BYTES] = "";
  struct vow_client *client = calloc(1, sizeof *client);
  if (!client) return said(NULL, VOW_E_NO_MEMORY, NULL);
  enum vow_error error =
      url ? vow_url_normalize(url, client->url, why, sizeof why) : VOW_E_INVALID_URL;
  if (!error && pthread_mutex_init(&client->lock, NULL) != 0) error = VOW_E_NO_MEMORY;
  if (error) {
    free(client);
    return said(NULL, error, why);
  }
  atomic_init(&client->timeout_ms, VOW_CLIENT_TIMEOUT_MS);
  *out = client;
  return said(NULL, VOW_OK, NULL);
}

void vow_client_close(struct vow_client *client) {
  if (!client) return;
  while (client->idle_count) vow_http_close(client->idle[--client->idle_count]);
  pthread_mutex_destroy(&client->lock);
  free(client);
}

void vow_client_set_timeout(struct vow_client *client, uint32_t timeout_ms) {
  atomic_store(&client->timeout_ms, timeout_ms ? timeout_ms : VOW_CLIENT_TIMEOUT_MS);
}

const char *vow_client_error(void) {
  return last_why;
}

/* ---- a transaction's memory ---- */

static struct vow_transaction *transaction_new(struct vow_client *client) {
  struct vow_transaction *transaction = calloc(1, sizeof *transaction);
  if (!transaction) return NULL;
  transaction->client = client;
  if (getrandom(&transaction->random, sizeof transaction->random, 0) < 0) {
    free(transaction);
    return NULL;
  }
  return transaction;
}

void vow_transaction_free(struct vow_transaction *transaction) {
  free(transaction);
}

const char *vow_transaction_id(const struct vow_transaction *transaction) {
  return transaction->id;
}

const char *vow_transaction_error(const struct vow_transaction *transaction) {
  return transaction->why;
}

enum vow_error vow_join(struct vow_client *client, const char *id, struct vow_transaction **out) {
  struct vow_id parsed;
  if (!id || !vow_id_parse(id, &parsed)) return said(NULL, VOW_E_INVALID_ID, NULL);
  struct vow_transaction *transaction = transaction_new(client);
  if (!transaction) return said(NULL, VOW_E_NO_MEMORY, NULL);
  vow_id_format(parsed, transaction->id);
  *out = transaction;
  return said(transaction, VOW_OK, NULL);
}

/* ---- reading answers ---- */

/* Takes the id from a transaction, wherever it stands in the answer. False: there is none. */
static bool take_id(const struct vow_json_node *node, struct vow_transaction *transaction) {
  struct vow_json_object o;
  struct vow_id id;
  vow_json_object_begin(&o, node, NULL);
  vow_json_object_ignore_unknown(&o);
  vow_json_get_id(&o, "id", VOW_JSON_REQUIRED, &id);
  if (vow_json_object_end(&o) != VOW_OK) return false;
  vow_id_format(id, transaction->id);
  return true;
}

/* Whether a final answer of the coordinator says committed. */
static bool says_committed(const struct vow_json_node *node) {
  struct vow_json_object o;
  const char *outcome = "";
  vow_json_object_begin(&o, node, NULL);
  vow_json_object_ignore_unknown(&o);
  vow_json_get_string(&o, "outcome", VOW_JSON_REQUIRED, 64, &outcome);
  return vow_json_object_end(&o) == VOW_OK && strcmp(outcome, "committed") == 0;
}

/* ---- begin ---- */

enum vow_error vow_begin(struct vow_client *client, uint32_t timeout_ms,
                         struct vow_transaction **out) {
  char url[URL_BYTES];
  char body[64] = "{}";
  struct vow_client_answer answer;
  struct vow_transaction *transaction = transaction_new(client);
  if (!transaction) return said(NULL, VOW_E_NO_MEMORY, NULL);
  snprintf(url, sizeof url, "%s/v1/transactions", client->url);
  if (timeout_ms) snprintf(body, sizeof body, "{\"timeout_ms\":%u}", timeout_ms);
  struct vow_client_call call = {
      .method = "POST", .url = url, .body = body, .body_bytes = strlen(body)};
  vow_client_request(client, &call, vow_client_deadline(client), false, &answer);
  enum vow_error error = answer.error;
  if (!error && !take_id(vow_json_root(answer.json), transaction)) {
    error = VOW_E_PROTOCOL;
    snprintf(answer.why, sizeof answer.why, "the answer holds no transaction id");
  }
  (void)said(NULL, error, answer.why);
  vow_client_answer_fini(&answer);
  if (error) {
    vow_transaction_free(transaction);
    return error;
  }
  *out = transaction;
  return VOW_OK;
}

/* ---- enlist ---- */

/* Checks what the application wrote before it becomes part of a request. */
static enum vow_error check_payload(const char *payload, char why[VOW_JSON_WHY_BYTES]) {
  struct vow_json *json = NULL;
  enum vow_error error = payload ? vow_json_parse(&json, payload, strlen(payload), why) : VOW_OK;
  vow_json_free(json);
  return error;
}

static enum vow_error write_branch(struct vow_jsonw *w, const struct vow_branch_spec *branch,
                                   char *why, size_t why_bytes) {
  char normal[VOW_URL_BYTES_MAX + 1];
  char json_why[VOW_JSON_WHY_BYTES] = "";
  enum vow_error error =
      branch->url ? vow_url_normalize(branch->url, normal, why, why_bytes) : VOW_E_INVALID_URL;
  if (error) return error;
  error = check_payload(branch->payload, json_why);
  if (error) {
    snprintf(why, why_bytes, "the payload: %s", json_why);
    return error;
  }
  vow_jsonw_object(w, NULL);
  vow_jsonw_string(w, "url", normal);
  vow_jsonw_string(w, "name", branch->name);
  if (branch->payload) vow_jsonw_raw(w, "payload", branch->payload, strlen(branch->payload));
  vow_jsonw_end(w);
  return VOW_OK;
}

static enum vow_error read_branch(const struct vow_client_answer *answer, uint32_t *out) {
  struct vow_json_object o;
  uint64_t branch = 0;
  vow_json_object_begin(&o, vow_json_root(answer->json), NULL);
  vow_json_object_ignore_unknown(&o);
  vow_json_get_uint(&o, "branch", VOW_JSON_REQUIRED, 1, UINT32_MAX, &branch);
  if (vow_json_object_end(&o) != VOW_OK) return VOW_E_PROTOCOL;
  *out = (uint32_t)branch;
  return VOW_OK;
}

enum vow_error vow_enlist(struct vow_transaction *transaction, const char *url, const char *name,
                          const char *payload, uint32_t *branch_out) {
  char path[URL_BYTES];
  char made[NAME_BYTES];
  char why[VOW_CLIENT_WHY_BYTES] = "";
  struct vow_client *client = transaction->client;
  struct vow_client_answer answer = {0};
  struct vow_jsonw w;
  struct vow_buf body;
  uint32_t branch = 0;
  /* The name stays the same until it has been accepted: a lost answer, and asking again, must not
   * make two branches. */
  snprintf(made, sizeof made, "x%08x-%u", transaction->random, transaction->unnamed + 1);
  struct vow_branch_spec spec = {.url = url, .name = name ? name : made, .payload = payload};
  vow_buf_init(&body, BODY_BYTES_MAX);
  vow_jsonw_init(&w, &body);
  enum vow_error error = write_branch(&w, &spec, why, sizeof why);
  if (!error) error = body.error;
  if (error) goto out;
  snprintf(path, sizeof path, "%s/v1/transactions/%s/branches", client->url, transaction->id);
  struct vow_client_call call = {
      .method = "POST", .url = path, .body = body.data, .body_bytes = body.bytes};
  vow_client_request(client, &call, vow_client_deadline(client), false, &answer);
  snprintf(why, sizeof why, "%s", answer.why);
  error = answer.error ? answer.error : read_branch(&answer, &branch);
out:
  vow_buf_fini(&body);
  vow_client_answer_fini(&answer);
  if (error) return said(transaction, error, why);
  if (!name) transaction->unnamed++;
  if (branch_out) *branch_out = branch;
  return said(transaction, VOW_OK, NULL);
}

/* ---- call ---- */

enum vow_error vow_call(struct vow_transaction *transaction, const char *url, const char *body,
                        int *status_out, char **body_out) {
  char header[32 + VOW_ID_TEXT_BYTES];
  const char *const headers[] = {header, NULL};
  struct vow_client_answer answer;
  if (!url) return said(transaction, VOW_E_INVALID_URL, NULL);
  snprintf(header, sizeof header, "Vow-Transaction: %s", transaction->id);
  struct vow_client_call call = {.method = "POST",
                                 .url = url,
                                 .headers = headers,
                                 .body = body,
                                 .body_bytes = body ? strlen(body) : 0};
  vow_client_request(transaction->client, &call, vow_client_deadline(transaction->client), true,
                     &answer);
  if (!answer.error && answer.cut && body_out) {
    answer.error = VOW_E_PROTOCOL;
    snprintf(answer.why, sizeof answer.why,
             "the service's answer (status %d) has a NUL byte in it, and so is no text",
             answer.status);
  }
  enum vow_error error = said(transaction, answer.error, answer.why);
  if (!error) {
    if (status_out) *status_out = answer.status;
    if (body_out) {
      *body_out = answer.text;
      answer.text = NULL;
    }
  }
  vow_client_answer_fini(&answer);
  return error;
}

/* ---- commit and abort ---- */

/* Asks until the coordinator has answered, and reads it. */
static enum vow_error settle(struct vow_transaction *transaction, uint64_t deadline_ms) {
  char url[URL_BYTES];
  struct vow_client *client = transaction->client;
  struct vow_client_answer answer;
  snprintf(url, sizeof url, "%s/v1/transactions/%s/commit", client->url, transaction->id);
  struct vow_client_call call = {.method = "POST", .url = url};
  vow_client_ask(client, &call, deadline_ms, &transaction->commit_asked, &answer);
  enum vow_error error = answer.error;
  if (!error && !says_committed(vow_json_root(answer.json))) {
    error = VOW_E_OUTCOME_UNKNOWN;
    transaction->commit_asked = true;
    snprintf(answer.why, sizeof answer.why, "the answer to commit names no outcome; ask again");
  }
  error = said(transaction, error, answer.why);
  vow_client_answer_fini(&answer);
  return error;
}

enum vow_error vow_commit(struct vow_transaction *transaction) {
  return settle(transaction, vow_client_deadline(transaction->client));
}

enum vow_error vow_abort(struct vow_transaction *transaction) {
  char url[URL_BYTES];
  struct vow_client *client = transaction->client;
  struct vow_client_answer answer;
  snprintf(url, sizeof url, "%s/v1/transactions/%s/abort", client->url, transaction->id);
  struct vow_client_call call = {.method = "POST", .url = url};
  vow_client_request(client, &call, vow_client_deadline(client), false, &answer);
  enum vow_error error = answer.lost ? VOW_E_OUTCOME_UNKNOWN : answer.error;
  if (error == VOW_E_ABORTED) error = VOW_OK;
  error = said(transaction, error, answer.why);
  vow_client_answer_fini(&answer);
  return error;
}

/* ---- one-shot ---- */

static enum vow_error write_one_shot(struct vow_buf *body, uint32_t timeout_ms,
                                     const struct vow_branch_spec *branches, size_t count,
                                     char *why, size_t why_bytes) {
  struct vow_jsonw w;
  vow_jsonw_init(&w, body);
  vow_jsonw_object(&w, NULL);
  vow_jsonw_bool(&w, "commit", true);
  if (timeout_ms) vow_jsonw_uint(&w, "timeout_ms", timeout_ms);
  vow_jsonw_array(&w, "branches");
  for (size_t i = 0; i < count; i++) {
    enum vow_error error = write_branch(&w, &branches[i], why, why_bytes);
    if (error) return error;
  }
  vow_jsonw_end(&w);
  vow_jsonw_end(&w);
  return body->error;
}

/* "Idempotency-Key: …". There is always one, and it is the caller's: with a key that only this call
 * knew, repeating the call after a lost answer would be another transaction. */
static enum vow_error write_key(const char *key, char *header, size_t header_bytes,
                                const char **why) {
  if (!key || !*key) {
    *why =
        "give a key of your own, such as an order number: with it a lost answer can be asked for "
        "again";
    return VOW_E_INVALID_ARGUMENT;
  }
  size_t length = strnlen(key, KEY_BYTES_MAX + 1);
  bool visible = length <= KEY_BYTES_MAX;
  for (size_t i = 0; visible && i < length; i++) visible = key[i] > ' ' && key[i] <= '~';
  if (!visible) {
    *why = "the key must be 1 to 255 visible ASCII characters";
    return VOW_E_INVALID_ARGUMENT;
  }
  snprintf(header, header_bytes, "Idempotency-Key: %s", key);
  return VOW_OK;
}

/* The transaction of an answer: the whole of it, or a member of a problem. NULL: it is not known.
 */
static struct vow_transaction *transaction_of(struct vow_client *client,
                                              const struct vow_client_answer *answer) {
  const struct vow_json_node *node = answer->json ? vow_json_root(answer->json) : NULL;
  if (!node) return NULL;
  if (answer->status >= 300) {
    struct vow_json_object o;
    const struct vow_json_node *inner = NULL;
    vow_json_object_begin(&o, node, NULL);
    vow_json_object_ignore_unknown(&o);
    vow_json_get_object(&o, "transaction", VOW_JSON_REQUIRED, &inner);
    if (vow_json_object_end(&o) != VOW_OK) return NULL;
    node = inner;
  }
  struct vow_transaction *transaction = transaction_new(client);
  if (!transaction || take_id(node, transaction)) return transaction;
  vow_transaction_free(transaction);
  return NULL;
}

/* Sends it until there is an answer. *out is the transaction, as far as it is known. */
static enum vow_error one_shot(struct vow_client *client, const char *key, struct vow_buf *body,
                               struct vow_transaction **out) {
  char url[URL_BYTES];
  char header[KEY_BYTES_MAX + 32];
  const char *const headers[] = {header, NULL};
  bool asked = false;
  struct vow_client_answer answer;
  const char *why = NULL;
  enum vow_error error = write_key(key, header, sizeof header, &why);
  if (error) return said(NULL, error, why);
  snprintf(url, sizeof url, "%s/v1/transactions", client->url);
  struct vow_client_call call = {.method = "POST",
                                 .url = url,
                                 .headers = headers,
                                 .body = body->data,
                                 .body_bytes = body->bytes};
  vow_client_ask(client, &call, vow_client_deadline(client), &asked, &answer);
  error = answer.error;
  if (!error && !says_committed(vow_json_root(answer.json))) {
    error = VOW_E_OUTCOME_UNKNOWN;
    snprintf(answer.why, sizeof answer.why, "the answer names no outcome; ask again");
  }
  struct vow_transaction *transaction = transaction_of(client, &answer);
  if (transaction) transaction->commit_asked = error == VOW_E_OUTCOME_UNKNOWN;
  *out = transaction;
  error = said(transaction, error, answer.why);
  vow_client_answer_fini(&answer);
  return error;
}

enum vow_error vow_one_shot(struct vow_client *client, const char *key, uint32_t timeout_ms,
                            const struct vow_branch_spec *branches, size_t branch_count,
                            struct vow_transaction **out) {
  char why[VOW_CLIENT_WHY_BYTES] = "";
  struct vow_transaction *transaction = NULL;
  struct vow_buf body;
  vow_buf_init(&body, BODY_BYTES_MAX);
  enum vow_error error = write_one_shot(&body, timeout_ms, branches, branch_count, why, sizeof why);
  if (error) {
    error = said(NULL, error, why);
  } else {
    error = one_shot(client, key, &body, &transaction);
  }
  vow_buf_fini(&body);
  if (out) {
    *out = transaction;
  } else {
    vow_transaction_free(transaction);
  }
  return error;
}
