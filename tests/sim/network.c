/*
 * The network: what it does to requests and their replies. A request that is lost, or whose reply
 * is, costs its sender the timeout; one that meets no listener fails at once. A node that is cut
 * off keeps sending into the void.
 */
#include <string.h>

#include "sim.h"

#define MESSAGE_TIMEOUT_MS 800
#define CALL_TIMEOUT_MS    1500

uint64_t sim_delay_ms(struct sim *s) {
  if (sim_fault(s, SIM_FAULT_LATE, 60)) return sim_draw(s, 6000);
  return sim_draw(s, sim_chance(s, 100) ? 60 : 8);
}

bool sim_is_cut(const struct sim *s, int from, int to) {
  return s->cut_until_ms[from][to] > s->now_ms;
}

static int some_node(struct sim *s) {
  bool with_tool = (s->faults >> SIM_FAULT_RESTORE & 1) != 0;
  uint32_t n = (uint32_t)sim_draw(s, s->coordinator_count + s->participant_count + 1 + with_tool);
  if (n < s->coordinator_count) return SIM_COORDINATOR + (int)n;
  n -= s->coordinator_count;
  if (n < s->participant_count) return SIM_PARTICIPANT + (int)n;
  return n == s->participant_count ? SIM_CLIENTS : SIM_OPERATOR;
}

void sim_cut(struct sim *s) {
  int a = some_node(s), b = some_node(s);
  uint64_t until_ms = s->now_ms + sim_draw(s, 8000);
  if (a == b) return;
  s->cut_until_ms[a][b] = until_ms;
  if (sim_chance(s, 600)) s->cut_until_ms[b][a] = until_ms;
  sim_say(s, SIM_CLIENTS, "nodes %d and %d are cut off until %llu", a, b,
          (unsigned long long)until_ms);
}

/* ---- messages to participants ---- */

static int home_of(const struct sim *s, uint32_t index) {
  return SIM_COORDINATOR + (int)s->exchanges[index].coordinator;
}

static struct sim_event *towards(struct sim *s, uint32_t index, enum sim_event_kind kind, int node,
                                 uint64_t delay) {
  struct sim_event *event = sim_at(s, delay, kind, node);
  event->index = index;
  event->a = s->exchanges[index].generation;
  return event;
}

static void fail_soon(struct sim *s, uint32_t index, bool not_delivered) {
  struct sim_event *event =
      towards(s, index, SIM_REPLY_ARRIVES, home_of(s, index), 1 + sim_draw(s, 5));
  event->reply =
      (struct sim_reply){.kind = VOW_REPLY_ENDPOINT_DOWN, .not_delivered = not_delivered};
}

void sim_send_message(struct sim *s, uint32_t index) {
  int node = SIM_PARTICIPANT + (int)s->exchanges[index].participant, home = home_of(s, index);
  (void)towards(s, index, SIM_EXCHANGE_TIMES_OUT, home, MESSAGE_TIMEOUT_MS);
  if (sim_fault(s, SIM_FAULT_REFUSE, 60)) {
    fail_soon(s, index, true);
    return;
  }
  if (sim_is_cut(s, home, node) || sim_fault(s, SIM_FAULT_LOSE, 80)) {
    sim_say(s, home, "  (lost)");
    return;
  }
  (void)towards(s, index, SIM_MESSAGE_ARRIVES, node, sim_delay_ms(s));
}

void sim_message_arrives(struct sim *s, const struct sim_event *event) {
  struct sim_participant *p = &s->p[event->node - SIM_PARTICIPANT];
  struct sim_exchange *exchange = &s->exchanges[event->index];
  if (exchange->generation != event->a) return; /* so late that nobody remembers what it said */
  if (exchange->life < p->fence[exchange->coordinator]) return;
  if (p->core == NULL) {
    if (exchange->open && !exchange->delivered) fail_soon(s, event->index, true);
    return;
  }
  exchange->delivered = true;
  if (exchange->count > 1 && sim_fault(s, SIM_FAULT_GARBAGE, 60)) { /* it knows of no batches */
    struct sim_event *refusal =
        towards(s, event->index, SIM_REPLY_ARRIVES, home_of(s, event->index), 1);
    refusal->reply = (struct sim_reply){.kind = VOW_REPLY_NOT_A_BATCH, .batch_max = p->batch_max};
    return;
  }
  /* A copy exists only of what was delivered: who refused a connection has nothing. */
  if (sim_fault(s, SIM_FAULT_TWICE, 80)) {
    (void)towards(s, event->index, SIM_MESSAGE_ARRIVES, event->node, sim_draw(s, 4000));
  }
  sim_p_message(s, p, event);
}

/* The answer to a batch leaves when each of its messages has its reply, and for the newest copy
 * alone: a copy that overtakes another takes its answer's place. */
static bool complete_batch(struct sim_exchange *exchange, const struct sim_request *request,
                           const struct sim_reply *reply) {
  if (request->delivery != exchange->delivery) return false;
  exchange->replies[request->part] = *reply;
  exchange->replied |= UINT32_C(1) << request->part;
  if (exchange->replied != (UINT32_C(1) << exchange->count) - 1) return false;
  memcpy(exchange->answer, exchange->replies, sizeof exchange->answer);
  return true;
}

/* It stands once, beside the replies. */
static struct vow_log_position highest_seen(const struct sim_exchange *exchange) {
  struct vow_log_position seen = {0};
  for (uint32_t i = 0; i < exchange->count; i++) {
    struct vow_log_position one = exchange->answer[i].seen;
    if (vow_log_position_compare(one, seen) > 0) seen = one;
  }
  return seen;
}

static enum vow_reply_kind garbage(struct sim *s) {
  return sim_chance(s, 500) ? VOW_REPLY_REFUSED : VOW_REPLY_BRANCH_FAILED;
}

/* All of the answer cannot be read, or one reply in it. */
static void spoil_batch(struct sim *s, struct sim_exchange *exchange, struct sim_reply *whole) {
  if (sim_chance(s, 300)) {
    whole->kind = VOW_REPLY_NOT_A_BATCH;
  } else {
    exchange->answer[sim_draw(s, exchange->count)] = (struct sim_reply){.kind = garbage(s)};
  }
}

void sim_send_reply(struct sim *s, const struct sim_request *request,
                    const struct sim_reply *reply) {
  struct sim_exchange *exchange = &s->exchanges[request->exchange];
  if (exchange->generation != request->generation) return;
  bool batch = exchange->count > 1;
  if (batch && !complete_batch(exchange, request, reply)) return;
  int from = SIM_PARTICIPANT + (int)exchange->participant, home = home_of(s, request->exchange);
  if (sim_is_cut(s, from, home) || sim_fault(s, SIM_FAULT_LOSE_REPLY, 100)) {
    sim_say(s, from, "  (reply lost)");
    return;
  }
  struct sim_event *event = towards(s, request->exchange, SIM_REPLY_ARRIVES, home, sim_delay_ms(s));
  event->reply = batch ? (struct sim_reply){.seen = highest_seen(exchange)} : *reply;
  if (sim_fault(s, SIM_FAULT_GARBAGE, 60)) {
    if (batch) {
      spoil_batch(s, exchange, &event->reply);
    } else {
      event->reply = (struct sim_reply){.kind = garbage(s)};
    }
    event->reply.seen = (struct vow_log_position){0};
  }
  event->reply.batch_max = s->p[exchange->participant].batch_max;
}

/* ---- calls to a coordinator ---- */

struct sim_call *sim_call_new(struct sim *s, int from, uint32_t to, enum vow_event_type type) {
  struct sim_call *call;
  uint32_t tries = 0;

  do { /* past those whose caller waits, perhaps standing still, or that the core keeps waiting */
    call = &s->calls[++s->call_serial % SIM_CALLS_MAX];
    if (++tries > SIM_CALLS_MAX) sim_fail(s, SIM_B1, "more calls than a run may have");
  } while (call->waits || (call->in_core && call->life == s->c[call->to].life));
  *call = (struct sim_call){
      .serial = s->call_serial, .type = type, .from = from, .to = to, .waits = true};
  return call;
}

struct sim_call *sim_call_find(struct sim *s, uint32_t serial) {
  struct sim_call *call = &s->calls[serial % SIM_CALLS_MAX];
  return serial != 0 && call->serial == serial ? call : NULL;
}

/* The answer is in the call; it travels, or is lost. */
static void travel_back(struct sim *s, struct sim_call *call) {
  int home = SIM_COORDINATOR + (int)call->to;
  if (sim_is_cut(s, home, call->from) || sim_fault(s, SIM_FAULT_LOSE_REPLY, 60)) return;
  sim_at(s, sim_delay_ms(s), SIM_ANSWER_ARRIVES, call->from)->index = call->serial;
}

void sim_answer_call(struct sim *s, struct sim_call *call, const struct sim_answer *answer) {
  call->answer = *answer;
  travel_back(s, call);
}

void sim_call(struct sim *s, struct sim_call *call) {
  sim_at(s, CALL_TIMEOUT_MS, SIM_CALL_TIMES_OUT, call->from)->index = call->serial;
  int home = SIM_COORDINATOR + (int)call->to;
  if (sim_is_cut(s, call->from, home) || sim_fault(s, SIM_FAULT_LOSE, 60)) return;
  sim_at(s, sim_delay_ms(s), SIM_CALL_ARRIVES, home)->index = call->serial;
}
