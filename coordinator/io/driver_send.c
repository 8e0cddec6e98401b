/*
 * Messages to participants: from a SEND of the core to a request, which carries one message or a
 * batch of them, and from its answer to one REPLY. What an answer means is the table in
 * proto/README.md, "How the coordinator reads an answer". Called by driver.c alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "driver_internal.h"
#include "failpoint.h"
#include "url.h"

#define TRACEPARENT_BYTES_MAX 256

typedef __typeof__(*((struct vow_event *)0)->u.reply.results) reply_result;

/* One message under way. */
struct sent {
  enum vow_message_type type;
  struct vow_id transaction;
  uint32_t branch;
  char *why; /* owned; what its result.error says if that is not the exchange's; or NULL */
};

/* One SEND under way: a request with one message, or with a batch of them. */
struct exchange {
  struct vow_driver *driver;
  struct exchange *prev, *next; /* in driver->exchanges */
  uint64_t request;
  uint32_t count;
  char *url;                      /* owned */
  struct vow_json *document;      /* owned; what the results borrow from */
  char why[VOW_SENDER_WHY_BYTES]; /* of a failure that concerns all of it */
  struct vow_log_position seen;   /* of the log by the participant */
  reply_result *results;          /* in the same block, behind the messages */
  struct sent sent[];
};

static void exchange_free(struct exchange *exchange) {
  if (exchange->prev != NULL) {
    exchange->prev->next = exchange->next;
  } else if (exchange->driver->exchanges == exchange) {
    exchange->driver->exchanges = exchange->next;
  }
  if (exchange->next != NULL) exchange->next->prev = exchange->prev;
  for (uint32_t i = 0; i < exchange->count; i++) free(exchange->sent[i].why);
  vow_json_free(exchange->document);
  free(exchange->url);
  free(exchange);
}

static struct exchange *exchange_new(struct vow_driver *driver, const struct vow_action *action) {
  uint32_t count = action->u.send.count;
  struct exchange *exchange =
      calloc(1, sizeof *exchange + count * (sizeof(struct sent) + sizeof(reply_result)));
  if (exchange == NULL) return NULL;
  exchange->driver = driver;
  exchange->request = action->u.send.request;
  exchange->count = count;
  exchange->results = (reply_result *)(void *)(exchange->sent + count);
  exchange->next = driver->exchanges;
  if (exchange->next != NULL) exchange->next->prev = exchange;
  driver->exchanges = exchange;
  exchange->url = strdup(action->u.send.url);
  if (exchange->url != NULL) return exchange;
  exchange_free(exchange);
  return NULL;
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

/* What a status other than 200 means, and what the problem says: none of ours is VOW_E_PROTOCOL. */
static enum vow_reply_kind kind_of(int status, enum vow_error problem) {
  if (says_endpoint_down(status)) return VOW_REPLY_ENDPOINT_DOWN;
  if (status == 404 && problem == VOW_E_UNKNOWN_BRANCH) return VOW_REPLY_UNKNOWN_BRANCH;
  return status == 500 ? VOW_REPLY_BRANCH_FAILED : VOW_REPLY_REFUSED;
}

/* "answered with status 503: draining, come back later" */
static void say_status(char *why, int status, const char *detail) {
  bool said = detail != NULL && detail[0] != '\0';
  snprintf(why, VOW_SENDER_WHY_BYTES, "answered with status %d%s%s", status, said ? ": " : "",
           said ? detail : "");
}

/* The answer as a whole failed: all messages of the exchange have the same result. */
static void fail_all(struct exchange *exchange, enum vow_reply_kind kind, bool not_delivered) {
  for (uint32_t i = 0; i < exchange->count; i++) {
    exchange->results[i].kind = kind;
    exchange->results[i].error = exchange->why;
    exchange->results[i].not_delivered = not_delivered;
  }
}

/* Whatever is wrong with the answer to a batch, it may be the batch that was not understood. */
static void refuse_all(struct exchange *exchange) {
  fail_all(exchange, exchange->count > 1 ? VOW_REPLY_NOT_A_BATCH : VOW_REPLY_REFUSED, false);
}

#define UNREAD "no memory to read its answer"

/* There is no memory to read the answer, which says nothing of the participant: as if it had
 * failed this time. */
static void fail_unread(struct exchange *exchange) {
  snprintf(exchange->why, sizeof exchange->why, UNREAD);
  fail_all(exchange, VOW_REPLY_BRANCH_FAILED, false);
}

static void read_single(struct exchange *exchange, const struct vow_sender_answer *answer) {
  char why[VOW_JSON_WHY_BYTES];
  reply_result *result = &exchange->results[0];
  enum vow_error error =
      vow_message_reply_decode(exchange->sent[0].type, answer->body, answer->body_bytes,
                               &result->reply, &exchange->document, why);
  if (error == VOW_OK) {
    result->kind = VOW_REPLY_ANSWERED;
    exchange->seen = result->reply.seen;
  } else if (error == VOW_E_NO_MEMORY) {
    fail_unread(exchange);
  } else {
    snprintf(exchange->why, sizeof exchange->why, "its answer is not valid: %.200s", why);
    refuse_all(exchange);
  }
}

static void read_of_batch(struct sent *sent, const struct vow_json_node *replies, uint32_t index,
                          reply_result *result) {
  char why[VOW_JSON_WHY_BYTES], text[VOW_SENDER_WHY_BYTES];
  struct vow_batch_reply reply;
  enum vow_error error = vow_batch_reply_read(replies, index, sent->type, &reply, why);
  if (error == VOW_E_NO_MEMORY) {
    result->kind = VOW_REPLY_BRANCH_FAILED;
    snprintf(text, sizeof text, UNREAD);
  } else if (error != VOW_OK) {
    result->kind = VOW_REPLY_REFUSED;
    snprintf(text, sizeof text, "its answer is not valid: %.200s", why);
  } else if (reply.status == 200) {
    result->kind = VOW_REPLY_ANSWERED;
    result->reply = reply.reply;
    return;
  } else {
    /* That the endpoint is down for one message of a batch concerns only that one. */
    result->kind = kind_of(reply.status, reply.problem);
    if (result->kind == VOW_REPLY_ENDPOINT_DOWN) result->kind = VOW_REPLY_BRANCH_FAILED;
    say_status(text, reply.status, reply.detail);
  }
  sent->why = strdup(text);
  result->error = sent->why;
}

static void read_batch(struct exchange *exchange, const struct vow_sender_answer *answer) {
  char why[VOW_JSON_WHY_BYTES];
  const struct vow_json_node *replies = NULL;
  enum vow_error error = vow_batch_replies_decode(answer->body, answer->body_bytes, exchange->count,
                                                  &exchange->document, &replies, why);
  if (error == VOW_OK) error = vow_batch_seen_read(exchange->document, &exchange->seen, why);
  if (error == VOW_E_NO_MEMORY) {
    fail_unread(exchange);
    return;
  }
  if (error != VOW_OK) {
    snprintf(exchange->why, sizeof exchange->why, "its answer to a batch is not valid: %.200s",
             why);
    refuse_all(exchange);
    return;
  }
  for (uint32_t i = 0; i < exchange->count; i++) {
    read_of_batch(&exchange->sent[i], replies, i, &exchange->results[i]);
  }
}

static void read_failure(struct exchange *exchange, const struct vow_sender_answer *answer) {
  char detail[160] = "";
  enum vow_error problem =
      vow_problem_decode(answer->body, answer->body_bytes, detail, sizeof detail);
  enum vow_reply_kind kind = kind_of(answer->status, problem);
  enum vow_error error =
      vow_log_position_of_answer(answer->body, answer->body_bytes, &exchange->seen);
  /* One that was read has a sentence. What is not read is no refusal, and may be a witness. */
  bool unread = error != VOW_OK || (problem == VOW_E_NO_MEMORY && detail[0] == '\0');
  if (unread && kind != VOW_REPLY_ENDPOINT_DOWN) {
    fail_unread(exchange);
    return;
  }
  say_status(exchange->why, answer->status, detail);
  if (kind == VOW_REPLY_ENDPOINT_DOWN || exchange->count == 1) {
    fail_all(exchange, kind, false);
  } else {
    refuse_all(exchange);
  }
}

static void read_answer(struct exchange *exchange, const struct vow_sender_answer *answer) {
  if (answer->error != VOW_OK) {
    snprintf(exchange->why, sizeof exchange->why, "%s", answer->why);
    if (answer->error == VOW_E_PROTOCOL) {
      refuse_all(exchange);
    } else if (answer->error == VOW_E_NO_MEMORY) {
      bool sent = !answer->not_sent;
      fail_all(exchange, sent ? VOW_REPLY_BRANCH_FAILED : VOW_REPLY_ENDPOINT_DOWN, !sent);
    } else {
      bool timed_out = answer->error == VOW_E_TIMEOUT && !answer->not_sent;
      fail_all(exchange, VOW_REPLY_ENDPOINT_DOWN, answer->not_sent);
      for (uint32_t i = 0; i < exchange->count; i++) exchange->results[i].timed_out = timed_out;
    }
  } else if (answer->status != 200) {
    read_failure(exchange, answer);
  } else if (exchange->count > 1) {
    read_batch(exchange, answer);
  } else {
    read_single(exchange, answer);
  }
}

/* How many messages the participant takes at once; 0: it does not say, or not a number. */
static uint32_t read_offer(const struct vow_sender_answer *answer) {
  const char *digits = answer->header;
  if (digits[0] < '1' || digits[0] > '9' || digits[strspn(digits, "0123456789")] != '\0') return 0;
  unsigned long offer = strtoul(digits, NULL, 10);
  return offer > UINT32_MAX ? UINT32_MAX : (uint32_t)offer; /* the core has the limit */
}

static void note_result(const struct exchange *exchange, uint32_t index) {
  struct vow_driver *driver = exchange->driver;
  const struct sent *sent = &exchange->sent[index];
  const reply_result *result = &exchange->results[index];
  struct vow_driver_note note = {.id = sent->transaction,
                                 .branch = sent->branch,
                                 .message = sent->type,
                                 .url = exchange->url,
                                 .outcome = result->reply.outcome};
  if (result->timed_out) return; /* see note_silence */
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

/* Whether a request without an answer in time has taken its endpoint down the core has decided. */
static void note_silence(const struct exchange *exchange) {
  if (!exchange->results[0].timed_out) return;
  if (!vow_core_endpoint_is_down(exchange->driver->core, exchange->url)) return;
  note_down(exchange->driver, exchange->url, exchange->results[0].error);
}

#ifdef VOW_FAILPOINTS
/* Whether every other branch has voted already. */
static bool is_last_vote(const struct vow_core *core, const struct sent *sent) {
  const struct vow_txn *txn = vow_core_find(core, sent->transaction);
  if (sent->type != VOW_MESSAGE_PREPARE || txn == NULL) return false;
  for (uint32_t i = 0; i < txn->branch_count; i++) {
    const struct vow_branch *branch = &txn->branches[i];
    if (branch->number != sent->branch && branch->vote == VOW_VOTE_NONE) return false;
  }
  return true;
}

static void pass_fail_points(struct exchange *exchange, uint32_t index) {
  const struct sent *sent = &exchange->sent[index];
  bool lost = false;
  if (exchange->results[index].kind == VOW_REPLY_ANSWERED &&
      is_last_vote(exchange->driver->core, sent)) {
    lost = VOW_FAILPOINT_FAILS("votes.all_in");
  }
  if (sent->type == VOW_MESSAGE_COMMIT || sent->type == VOW_MESSAGE_ABORT) {
    lost = VOW_FAILPOINT_FAILS("ack.received");
  }
  if (!lost) return;
  exchange->results[index] =
      (reply_result){.kind = VOW_REPLY_ENDPOINT_DOWN, .error = "lost at a fail point"};
}
#else
#define pass_fail_points(exchange, index) ((void)0)
#endif

static void on_answer(void *context, const struct vow_sender_answer *answer) {
  struct exchange *exchange = context;
  struct vow_event event = {.type = VOW_EVENT_REPLY};
  read_answer(exchange, answer);
  for (uint32_t i = 0; i < exchange->count; i++) {
    pass_fail_points(exchange, i);
    note_result(exchange, i);
  }
  event.u.reply.request = exchange->request;
  event.u.reply.results = exchange->results;
  event.u.reply.count = exchange->count;
  event.u.reply.batch_max = read_offer(answer);
  event.u.reply.seen = exchange->seen;
  vow_driver_step(exchange->driver, &event);
  note_silence(exchange);
  exchange_free(exchange);
}

/* ---- sending ---- */

static struct vow_message wire_message(const struct vow_driver *driver,
                                       const struct vow_action *action,
                                       const struct vow_action_message *message) {
  struct vow_message wire = {.type = message->type,
                             .transaction = message->txn->id,
                             .branch = message->branch->number,
                             .finished_below = action->u.send.finished_below,
                             .coordinator = driver->advertise_url,
                             .timeout_ms = message->timeout_ms,
                             .one_phase = message->one_phase};
  if (action->u.send.count == 1) { /* in a batch it stands once */
    wire.log = action->u.send.log;
    wire.log_ask = action->u.send.log_ask;
  }
  if (message->type == VOW_MESSAGE_PREPARE) {
    wire.payload = message->branch->payload;
    wire.payload_bytes = message->branch->payload_bytes;
  }
  return wire;
}

/* Into driver->body. */
static void encode_batch(struct vow_driver *driver, const struct vow_action *action) {
  const struct vow_action_message *messages = action->u.send.messages;
  struct vow_message first = wire_message(driver, action, &messages[0]);
  struct vow_jsonw w;
  vow_buf_reset(&driver->common);
  vow_message_write_common(&first, &driver->common);
  if (driver->common.error != VOW_OK) {
    driver->body.error = driver->common.error;
    return;
  }
  vow_batch_begin(&w, &driver->body);
  for (uint32_t i = 0; i < action->u.send.count; i++) {
    struct vow_message wire = wire_message(driver, action, &messages[i]);
    wire.common = driver->common.data;
    wire.common_bytes = driver->common.bytes;
    vow_batch_message_write(&w, &wire, messages[i].txn->traceparent);
  }
  vow_batch_end_log(&w, action->u.send.log, action->u.send.log_ask);
}

static void encode(struct vow_driver *driver, const struct vow_action *action) {
  vow_buf_reset(&driver->body);
  if (action->u.send.count > 1) {
    encode_batch(driver, action);
  } else {
    struct vow_message wire = wire_message(driver, action, &action->u.send.messages[0]);
    vow_message_encode(&wire, &driver->body);
  }
}

static bool submit(struct exchange *exchange, const struct vow_action *action) {
  struct vow_driver *driver = exchange->driver;
  const struct vow_action_message *first = &action->u.send.messages[0];
  bool batch = exchange->count > 1;
  char url[VOW_URL_BYTES_MAX + 16], traceparent[TRACEPARENT_BYTES_MAX];
  const char *headers[2] = {NULL, NULL};
  snprintf(url, sizeof url, "%s/%s", exchange->url,
           batch ? VOW_BATCH_PATH + 1 : vow_message_type_name(first->type));
  if (!batch && first->txn->traceparent != NULL) {
    snprintf(traceparent, sizeof traceparent, "traceparent: %s", first->txn->traceparent);
    headers[0] = traceparent;
  }
  struct vow_sender_request request = {.method = "POST",
                                       .url = url,
                                       .body = vow_buf_text(&driver->body),
                                       .body_bytes = driver->body.bytes,
                                       .headers = headers,
                                       .ask_header = VOW_BATCH_HEADER,
                                       .timeout_ms = driver->config.request_timeout_ms,
                                       .done = on_answer,
                                       .context = exchange};
  return vow_sender_submit(driver->sender, &request) == VOW_OK;
}

static bool prepare_to_send(struct exchange *exchange, const struct vow_action *action) {
  bool fails = false;
  for (uint32_t i = 0; i < exchange->count; i++) {
    const struct vow_action_message *message = &action->u.send.messages[i];
    exchange->sent[i] = (struct sent){
        .type = message->type, .transaction = message->txn->id, .branch = message->branch->number};
    if (message->type == VOW_MESSAGE_PREPARE) fails |= VOW_FAILPOINT_FAILS("prepare.before_send");
  }
  return !fails;
}

static void note_sent(const struct exchange *exchange) {
  for (uint32_t i = 0; i < exchange->count; i++) {
    const struct sent *sent = &exchange->sent[i];
    if (sent->type == VOW_MESSAGE_PREPARE) {
      VOW_FAILPOINT("prepare.sent");
    } else if (sent->type != VOW_MESSAGE_FORGET) {
      VOW_FAILPOINT("decision.sent");
    }
    vow_driver_note(exchange->driver, &(struct vow_driver_note){.type = VOW_NOTE_SENT,
                                                                .id = sent->transaction,
                                                                .branch = sent->branch,
                                                                .message = sent->type,
                                                                .url = exchange->url});
  }
}

void vow_driver_send(struct vow_driver *driver, const struct vow_action *action) {
  struct exchange *exchange = exchange_new(driver, action);
  bool ok = exchange != NULL && prepare_to_send(exchange, action);
  if (ok) {
    encode(driver, action);
    ok = driver->body.error == VOW_OK && submit(exchange, action);
  }
  /* The core counts on an answer to every SEND. The log brings everything back. */
  if (!ok) vow_driver_fail(driver, VOW_E_NO_MEMORY, "no memory for a message to a participant");
  driver->messages += exchange->count;
  note_sent(exchange);
}
