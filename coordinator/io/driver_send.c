/*
 * Messages to participants: from a SEND of the core to requests, and from their answers to one
 * REPLY. What an answer means is the table in proto/README.md, "How the coordinator reads an
 * answer". Called by driver.c alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver_internal.h"
#include "failpoint.h"
#include "url.h"

#define TRACEPARENT_BYTES_MAX 256

typedef __typeof__(*((struct vow_event *)0)->u.reply.results) reply_result;

/* One message under way. */
struct sent {
  struct exchange *exchange;
  enum vow_message_type type;
  struct vow_id transaction;
  uint32_t branch;
  struct vow_json *document; /* owned; what result.reply borrows from */
  char why[VOW_SENDER_WHY_BYTES];
};

/* One SEND under way. */
struct exchange {
  struct vow_driver *driver;
  struct exchange *prev, *next; /* in driver->exchanges */
  uint64_t request;
  uint32_t count, missing;
  char *url;             /* owned */
  reply_result *results; /* owned */
  struct sent sent[];
};

static void exchange_free(struct exchange *exchange) {
  if (exchange->prev != NULL) {
    exchange->prev->next = exchange->next;
  } else if (exchange->driver->exchanges == exchange) {
    exchange->driver->exchanges = exchange->next;
  }
  if (exchange->next != NULL) exchange->next->prev = exchange->prev;
  for (uint32_t i = 0; i < exchange->count; i++) vow_json_free(exchange->sent[i].document);
  free(exchange->results);
  free(exchange->url);
  free(exchange);
}

static struct exchange *exchange_new(struct vow_driver *driver, const struct vow_action *action) {
  uint32_t count = action->u.send.count;
  struct exchange *exchange = calloc(1, sizeof *exchange + count * sizeof exchange->sent[0]);
  if (exchange == NULL) return NULL;
  exchange->driver = driver;
  exchange->request = action->u.send.request;
  exchange->count = exchange->missing = count;
  exchange->results = calloc(count, sizeof *exchange->results);
  exchange->url = strdup(action->u.send.url);
  if (exchange->results == NULL || exchange->url == NULL) {
    exchange_free(exchange);
    return NULL;
  }
  exchange->next = driver->exchanges;
  if (exchange->next != NULL) exchange->next->prev = exchange;
  driver->exchanges = exchange;
  return exchange;
}

void vow_driver_drop_exchanges(struct vow_driver *driver) {
  for (struct exchange *exchange = driver->exchanges, *next; exchange != NULL; exchange = next) {
    next = exchange->next;
    exchange->prev = exchange->next = NULL;
    exchange_free(exchange);
  }
  driver->exchanges = NULL;
}

/* ---- endpoints that go down and come back ---- */

static int find_down(const struct vow_driver *driver, const char *url) {
  for (unsigned i = 0; i < driver->down_count; i++) {
    if (strcmp(driver->down[i], url) == 0) return (int)i;
  }
  return -1;
}

static void note_down(struct vow_driver *driver, const char *url, const char *why) {
  if (find_down(driver, url) >= 0) return;
  if (driver->down_count < VOW_DRIVER_DOWN_MAX) {
    char *copy = strdup(url);
    if (copy == NULL) return; /* noted at the next failure */
    driver->down[driver->down_count++] = copy;
  }
  vow_driver_note(
      driver, &(struct vow_driver_note){.type = VOW_NOTE_ENDPOINT_DOWN, .url = url, .why = why});
}

static void note_up(struct vow_driver *driver, const char *url) {
  int index = driver->down_count == 0 ? -1 : find_down(driver, url);
  if (index < 0) return;
  free(driver->down[index]);
  driver->down[index] = driver->down[--driver->down_count];
  vow_driver_note(driver, &(struct vow_driver_note){.type = VOW_NOTE_ENDPOINT_UP, .url = url});
}

void vow_driver_free_down(struct vow_driver *driver) {
  while (driver->down_count > 0) free(driver->down[--driver->down_count]);
}

/* ---- reading an answer ---- */

static bool says_endpoint_down(int status) {
  return status == 408 || status == 425 || status == 429 || status == 502 || status == 503 ||
         status == 504;
}

/* "answered 503: draining, come back later" */
static void describe_status(const struct vow_sender_answer *answer, char *why) {
  char detail[160] = "";
  if (vow_problem_decode(answer->body, answer->body_bytes, detail, sizeof detail) ==
          VOW_E_PROTOCOL &&
      detail[0] == '\0') {
    snprintf(why, VOW_SENDER_WHY_BYTES, "answered with status %d", answer->status);
    return;
  }
  snprintf(why, VOW_SENDER_WHY_BYTES, "answered with status %d: %s", answer->status, detail);
}

static bool says_unknown_branch(const struct vow_sender_answer *answer) {
  return answer->status == 404 &&
         vow_problem_decode(answer->body, answer->body_bytes, NULL, 0) == VOW_E_UNKNOWN_BRANCH;
}

static void read_reply(struct sent *sent, const struct vow_sender_answer *answer,
                       reply_result *result) {
  char why[VOW_JSON_WHY_BYTES];
  if (vow_message_reply_decode(sent->type, answer->body, answer->body_bytes, &result->reply,
                               &sent->document, why) == VOW_OK) {
    result->kind = VOW_REPLY_ANSWERED;
    return;
  }
  result->kind = VOW_REPLY_REFUSED;
  snprintf(sent->why, sizeof sent->why, "its answer is not valid: %.200s", why);
}

static void classify(struct sent *sent, const struct vow_sender_answer *answer,
                     reply_result *result) {
  result->error = sent->why;
  if (answer->error != VOW_OK) {
    result->kind = answer->error == VOW_E_PROTOCOL ? VOW_REPLY_REFUSED : VOW_REPLY_ENDPOINT_DOWN;
    result->not_delivered = answer->not_sent;
    snprintf(sent->why, sizeof sent->why, "%s", answer->why);
  } else if (answer->status == 200) {
    read_reply(sent, answer, result);
  } else {
    result->kind = says_endpoint_down(answer->status) ? VOW_REPLY_ENDPOINT_DOWN
                   : says_unknown_branch(answer)      ? VOW_REPLY_UNKNOWN_BRANCH
                   : answer->status == 500            ? VOW_REPLY_BRANCH_FAILED
                                                      : VOW_REPLY_REFUSED;
    describe_status(answer, sent->why);
  }
  if (result->kind == VOW_REPLY_ANSWERED) result->error = NULL;
}

static void note_result(const struct sent *sent, const reply_result *result) {
  struct vow_driver *driver = sent->exchange->driver;
  struct vow_driver_note note = {.id = sent->transaction,
                                 .branch = sent->branch,
                                 .message = sent->type,
                                 .url = sent->exchange->url,
                                 .outcome = result->reply.outcome};
  if (result->kind == VOW_REPLY_ENDPOINT_DOWN) {
    note_down(driver, note.url, result->error);
    return;
  }
  note_up(driver, note.url);
  if (result->kind == VOW_REPLY_UNKNOWN_BRANCH && sent->type == VOW_MESSAGE_COMMIT) {
    note.type = VOW_NOTE_UNKNOWN_BRANCH;
    vow_driver_note(driver, &note);
  } else if (result->kind == VOW_REPLY_ANSWERED &&
             result->reply.outcome >= VOW_OUTCOME_HEURISTIC_COMMIT) {
    note.type = VOW_NOTE_HEURISTIC;
    vow_driver_note(driver, &note);
  }
}

#ifdef VOW_FAILPOINTS
/* Whether every other branch has voted already. */
static bool is_last_vote(const struct sent *sent) {
  const struct vow_txn *txn = vow_core_find(sent->exchange->driver->core, sent->transaction);
  if (sent->type != VOW_MESSAGE_PREPARE || txn == NULL) return false;
  for (uint32_t i = 0; i < txn->branch_count; i++) {
    const struct vow_branch *branch = &txn->branches[i];
    if (branch->number != sent->branch && branch->vote == VOW_VOTE_NONE) return false;
  }
  return true;
}

static void pass_fail_points(const struct sent *sent, const reply_result *result) {
  if (result->kind == VOW_REPLY_ANSWERED && is_last_vote(sent)) VOW_FAILPOINT("votes.all_in");
  if (sent->type == VOW_MESSAGE_COMMIT || sent->type == VOW_MESSAGE_ABORT) {
    VOW_FAILPOINT("ack.received");
  }
}
#else
#define pass_fail_points(sent, result) ((void)0)
#endif

static void on_answer(void *context, const struct vow_sender_answer *answer) {
  struct sent *sent = context;
  struct exchange *exchange = sent->exchange;
  reply_result *result = &exchange->results[sent - exchange->sent];
  classify(sent, answer, result);
  note_result(sent, result);
  pass_fail_points(sent, result);
  if (--exchange->missing > 0) return;
  struct vow_event event = {.type = VOW_EVENT_REPLY};
  event.u.reply.request = exchange->request;
  event.u.reply.results = exchange->results;
  event.u.reply.count = exchange->count;
  vow_driver_step(exchange->driver, &event);
  exchange_free(exchange);
}

/* ---- sending ---- */

static void encode(struct vow_driver *driver, const struct vow_action *action,
                   const struct vow_action_message *message) {
  struct vow_message wire = {.type = message->type,
                             .transaction = message->txn->id,
                             .branch = message->branch->number,
                             .finished_below = action->u.send.finished_below,
                             .coordinator = driver->advertise_url,
                             .timeout_ms = message->timeout_ms,
                             .one_phase = message->one_phase};
  if (message->type == VOW_MESSAGE_PREPARE) {
    wire.payload = message->branch->payload;
    wire.payload_bytes = message->branch->payload_bytes;
  }
  vow_buf_reset(&driver->body);
  vow_message_encode(&wire, &driver->body);
}

static bool submit(struct vow_driver *driver, struct sent *sent,
                   const struct vow_action_message *message) {
  char url[VOW_URL_BYTES_MAX + 16], traceparent[TRACEPARENT_BYTES_MAX];
  const char *headers[2] = {NULL, NULL};
  snprintf(url, sizeof url, "%s/%s", sent->exchange->url, vow_message_type_name(sent->type));
  if (message->txn->traceparent != NULL) {
    snprintf(traceparent, sizeof traceparent, "traceparent: %s", message->txn->traceparent);
    headers[0] = traceparent;
  }
  struct vow_sender_request request = {.method = "POST",
                                       .url = url,
                                       .body = vow_buf_text(&driver->body),
                                       .body_bytes = driver->body.bytes,
                                       .headers = headers,
                                       .timeout_ms = driver->config.request_timeout_ms,
                                       .done = on_answer,
                                       .context = sent};
  return vow_sender_submit(driver->sender, &request) == VOW_OK;
}

static bool send_one(struct exchange *exchange, const struct vow_action *action, uint32_t index) {
  struct vow_driver *driver = exchange->driver;
  const struct vow_action_message *message = &action->u.send.messages[index];
  struct sent *sent = &exchange->sent[index];
  sent->exchange = exchange;
  sent->type = message->type;
  sent->transaction = message->txn->id;
  sent->branch = message->branch->number;
  if (message->type == VOW_MESSAGE_PREPARE) VOW_FAILPOINT("prepare.before_send");
  encode(driver, action, message);
  if (driver->body.error != VOW_OK || !submit(driver, sent, message)) return false;
  driver->messages++;
  if (message->type == VOW_MESSAGE_PREPARE) {
    VOW_FAILPOINT("prepare.sent");
  } else if (message->type != VOW_MESSAGE_FORGET) {
    VOW_FAILPOINT("decision.sent");
  }
  vow_driver_note(driver, &(struct vow_driver_note){.type = VOW_NOTE_SENT,
                                                    .id = sent->transaction,
                                                    .branch = sent->branch,
                                                    .message = sent->type,
                                                    .url = exchange->url});
  return true;
}

void vow_driver_send(struct vow_driver *driver, const struct vow_action *action) {
  struct exchange *exchange = exchange_new(driver, action);
  bool ok = exchange != NULL;
  for (uint32_t i = 0; ok && i < exchange->count; i++) ok = send_one(exchange, action, i);
  /* The core counts on an answer to every SEND. The log brings everything back. */
  if (!ok) vow_driver_fail(driver, VOW_E_NO_MEMORY, "no memory for a message to a participant");
}
