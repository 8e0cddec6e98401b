/*
 * A coordinator's process: what coordinator/io/driver.c does, in virtual time. It owes the core
 * what core.h says, and can be killed between any two actions.
 */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

static int node_of(const struct sim_coordinator *c) {
  return SIM_COORDINATOR + (int)c->number;
}

const char *sim_c_url(uint32_t coordinator) {
  static const char *const urls[SIM_COORDINATORS_MAX] = {"http://c0", "http://c1", "http://c2"};
  return urls[coordinator];
}

/* ---- steps ---- */

static void arm_tick(struct sim *s, struct sim_coordinator *c) {
  uint64_t due_ms = vow_core_next_deadline(c->core);
  if (due_ms == UINT64_MAX) return;
  due_ms = due_ms > c->monotonic_offset_ms ? due_ms - c->monotonic_offset_ms : 0;
  if (due_ms < s->now_ms) due_ms = s->now_ms;
  if (due_ms >= c->tick_ms) return;
  c->tick_ms = due_ms;
  sim_at(s, due_ms - s->now_ms, SIM_C_TICK, node_of(c))->life = c->life;
}

static uint32_t take_exchange(struct sim *s) {
  for (uint32_t n = 0; n < SIM_EXCHANGES_MAX; n++) {
    uint32_t index = s->exchange_next++ % SIM_EXCHANGES_MAX;
    if (!s->exchanges[index].open) return index;
  }
  sim_fail(s, SIM_B1, "more requests under way than a run may have");
}

static struct vow_message wire_message(struct sim *s, const struct sim_coordinator *c,
                                       const struct vow_action *action,
                                       const struct vow_action_message *message) {
  struct vow_message wire = {.type = message->type,
                             .transaction = message->txn->id,
                             .branch = message->branch->number,
                             .finished_below = action->u.send.finished_below,
                             .coordinator = sim_c_url(c->number),
                             .log = action->u.send.log,
                             .log_ask = action->u.send.log_ask,
                             .timeout_ms = message->timeout_ms,
                             .one_phase = message->one_phase};
  const struct sim_plan_branch *plan =
      sim_plan_branch(s, sim_txn_of(s, message->txn->id), message->branch->number);
  if (message->type == VOW_MESSAGE_PREPARE && message->branch->payload != NULL) {
    sim_check(s, strcmp(message->branch->payload, plan->payload) == 0, SIM_PAYLOAD,
              "a prepare carries another branch's payload");
    wire.payload = plan->payload;
    wire.payload_bytes = strlen(plan->payload);
  }
  if (s->mistake == SIM_MISTAKE_ONE_NAME) wire.coordinator = sim_c_url(0);
  return wire;
}

static void add_message(struct sim *s, struct sim_coordinator *c, struct sim_exchange *exchange,
                        const struct vow_action *action, uint32_t index) {
  const struct vow_action_message *message = &action->u.send.messages[index];
  uint32_t txn = sim_txn_of(s, message->txn->id);
  uint32_t participant = sim_plan_branch(s, txn, message->branch->number)->participant;

  if (index == 0) exchange->participant = participant;
  sim_check(s, participant == exchange->participant, SIM_CONTRACT,
            "a batch has messages to several participants");
  exchange->txns[index] = txn;
  exchange->messages[index] = wire_message(s, c, action, message);
  s->txns[txn].branches[message->branch->number - 1].under_way = message->type;
  sim_say(s, node_of(c), "%s %s t%u/%u to p%u%s", index == 0 ? "send" : "  with",
          vow_message_type_name(message->type), txn, message->branch->number, participant,
          message->one_phase ? " in one phase" : "");
}

/* A mistake: the driver says that the request came to nothing while it is on its way. */
static void give_up(struct sim *s, struct sim_coordinator *c, uint32_t slot) {
  struct sim_event *event = sim_at(s, 0, SIM_REPLY_ARRIVES, node_of(c));
  event->index = slot;
  event->a = s->exchanges[slot].generation;
  event->reply = (struct sim_reply){.kind = VOW_REPLY_ENDPOINT_DOWN};
  s->exchanges[slot].given_up = true;
}

static void send_all(struct sim *s, struct sim_coordinator *c, const struct vow_action *from) {
  uint32_t slot = take_exchange(s);
  struct sim_exchange *exchange = &s->exchanges[slot];
  struct vow_action action = *from;

  if (s->mistake == SIM_MISTAKE_WATERMARK) action.u.send.finished_below = c->newest_id;
  if (s->mistake == SIM_MISTAKE_HIGH_WATERMARK && !vow_core_quarantined(c->core) &&
      vow_id_compare(c->disk.presume_from, action.u.send.finished_below) > 0) {
    action.u.send.finished_below = c->disk.presume_from;
  }
  sim_check(s, action.u.send.count >= 1 && action.u.send.count <= SIM_BATCH_MAX, SIM_CONTRACT,
            "a SEND has %u messages, which nobody offered to take", action.u.send.count);
  exchange->open = true;
  exchange->delivered = exchange->given_up = false;
  exchange->generation++;
  exchange->coordinator = c->number;
  exchange->life = c->life;
  exchange->request = action.u.send.request;
  exchange->count = action.u.send.count;
  exchange->replied = 0;
  for (uint32_t i = 0; i < exchange->count; i++) {
    sim_check_send(s, c, &action, i);
    add_message(s, c, exchange, &action, i);
  }
  sim_check(s, exchange->count <= 1 || exchange->count <= s->p[exchange->participant].batch_max,
            SIM_B1, "a batch has %u messages, and p%u takes fewer", exchange->count,
            exchange->participant);
  sim_send_message(s, slot);
  if (s->mistake == SIM_MISTAKE_HASTY && sim_chance(s, 100)) give_up(s, c, slot);
}

/* True: the process died before this action. */
static bool dies(struct sim *s, struct sim_coordinator *c) {
  const struct sim_crash *crash = sim_crash_due(s, node_of(c), ++c->actions);
  if (c->has_backup && sim_fault(s, SIM_FAULT_RESTORE, 5)) {
    sim_c_put_back(s, c);
    return true;
  }
  if (crash == NULL && !sim_fault(s, SIM_FAULT_CRASH_C, 4)) return false;
  sim_c_crash(s, c, SIM_KILLED);
  return true;
}

/* False: the process died on the way. */
static bool carry_out(struct sim *s, struct sim_coordinator *c, const struct vow_actions *actions) {
  for (uint32_t i = 0; i < actions->count; i++) {
    const struct vow_action *action = &actions->items[i];
    if (dies(s, c)) return false;
    sim_check(s, action->after <= c->told_durable, SIM_D1,
              "an action was emitted before position %llu was durable",
              (unsigned long long)action->after);
    sim_mix(s, (uint64_t)action->type);
    switch (action->type) {
      case VOW_ACTION_LOG:
        sim_c_append(s, c, action);
        break;
      case VOW_ACTION_SEND:
        send_all(s, c, action);
        break;
      case VOW_ACTION_ANSWER:
        sim_c_answer(s, c, action);
        break;
    }
  }
  return true;
}

void sim_c_step(struct sim *s, struct sim_coordinator *c, struct vow_event *event) {
  struct vow_actions actions = {0};
  event->now_ms = s->now_ms + c->monotonic_offset_ms;
  event->wall_ms = sim_wall_ms(s);
  event->random = sim_random(s);
  event->more = event->type != VOW_EVENT_TICK && event->random >> 63 != 0;
  if (s->mistake == SIM_MISTAKE_STOP && event->type == VOW_EVENT_DURABLE && sim_chance(s, 20)) {
    abort();
  }
  enum vow_error error = vow_core_step(c->core, event, &actions);
  sim_check(s, error == VOW_OK, SIM_CONTRACT, "c%u's core answers %s to event %d", c->number,
            vow_error_text(error), (int)event->type);
  if (!carry_out(s, c, &actions)) return;
  arm_tick(s, c);
  /* By mistake the core hears that its records are durable while they are queued. */
  if (s->mistake == SIM_MISTAKE_SEND_FIRST && c->queue.position > c->told_durable) {
    c->told_durable = c->queue.position;
    struct vow_event durable = {.type = VOW_EVENT_DURABLE, .u.position = c->queue.position};
    sim_c_step(s, c, &durable);
  }
}

void sim_c_tick(struct sim *s, struct sim_coordinator *c) {
  struct vow_event event = {.type = VOW_EVENT_TICK};
  c->tick_ms = UINT64_MAX;
  if (vow_core_next_deadline(c->core) <= s->now_ms + c->monotonic_offset_ms) {
    sim_c_step(s, c, &event);
  } else {
    arm_tick(s, c);
  }
}

/* ---- what comes back ---- */

static const char *const errors[] = {[VOW_REPLY_ENDPOINT_DOWN] = "it cannot be reached",
                                     [VOW_REPLY_BRANCH_FAILED] = "it failed",
                                     [VOW_REPLY_REFUSED] = "it answers nonsense",
                                     [VOW_REPLY_UNKNOWN_BRANCH] = "it does not know the branch",
                                     [VOW_REPLY_NOT_A_BATCH] = "it does not take a batch"};

static void probe_delegate(struct sim *s, uint32_t txn, enum vow_message_type type,
                           const struct sim_reply *reply) {
  if (reply->kind != VOW_REPLY_ANSWERED || !s->txns[txn].one_phase) return;
  if (type != VOW_MESSAGE_ABORT) return;
  sim_probe(s, reply->outcome == VOW_OUTCOME_COMMITTED ? SIM_PROBE_ASKED_COMMITTED
                                                       : SIM_PROBE_ASKED_ABORTED);
}

/* A mistake: what is made of the reply to one message. */
static void misread(struct sim *s, enum vow_message_type type, struct sim_reply *reply) {
  bool unknown = reply->kind == VOW_REPLY_UNKNOWN_BRANCH && type == VOW_MESSAGE_COMMIT;
  if (s->mistake == SIM_MISTAKE_UNKNOWN_IS_OK && unknown) {
    *reply = (struct sim_reply){.kind = VOW_REPLY_ANSWERED, .outcome = VOW_OUTCOME_COMMITTED};
  }
  if (s->mistake == SIM_MISTAKE_MISREAD && type == VOW_MESSAGE_COMMIT &&
      reply->outcome == VOW_OUTCOME_COMMITTED && sim_chance(s, 50)) {
    reply->outcome = VOW_OUTCOME_HEURISTIC_ABORT;
  }
  if (s->mistake == SIM_MISTAKE_FAINT && type == VOW_MESSAGE_PREPARE && sim_chance(s, 30)) {
    *reply = (struct sim_reply){.kind = VOW_REPLY_REFUSED};
  }
}

/* What the driver makes of the reply to one message. */
static struct sim_reply read_reply(struct sim *s, const struct sim_exchange *exchange,
                                   uint32_t index, struct sim_reply reply) {
  const struct vow_message *message = &exchange->messages[index];
  uint32_t txn = exchange->txns[index];

  misread(s, message->type, &reply);
  if (message->type == VOW_MESSAGE_COMMIT && reply.kind == VOW_REPLY_UNKNOWN_BRANCH) {
    struct sim_coordinator *c = &s->c[exchange->coordinator];
    /* It had only read, and a crash has taken even that: what a lost log knew nobody knows. */
    bool only_read = s->txns[txn].branches[message->branch - 1].read_only_sent;
    if (c->restores > 0 && only_read) c->unheard = true;
    sim_check(s, s->txns[txn].meddled || c->unheard, SIM_FOUND,
              "commit of t%u/%u finds no branch at p%u", txn, message->branch,
              exchange->participant);
  }
  probe_delegate(s, txn, message->type, &reply);
  sim_say(s, SIM_COORDINATOR + (int)exchange->coordinator, "hears of %s t%u/%u: %s",
          vow_message_type_name(message->type), txn, message->branch,
          reply.kind != VOW_REPLY_ANSWERED    ? errors[reply.kind]
          : reply.outcome != VOW_OUTCOME_NONE ? vow_outcome_name(reply.outcome)
          : reply.vote != VOW_VOTE_NONE       ? vow_vote_name(reply.vote)
                                              : "done");
  return reply;
}

/* The reply to one message, out of that to the request. */
static struct sim_reply pick_reply(const struct sim *s, const struct sim_exchange *exchange,
                                   uint32_t index, const struct sim_reply *whole) {
  if (whole->kind != 0) return *whole;
  if (s->mistake == SIM_MISTAKE_BATCH_ORDER) index = exchange->count - 1 - index;
  struct sim_reply reply = exchange->answer[index];
  /* That the endpoint is down for one message of a batch concerns only that one. */
  if (reply.kind == VOW_REPLY_ENDPOINT_DOWN) reply.kind = VOW_REPLY_BRANCH_FAILED;
  return reply;
}

static void probe_batch(struct sim *s, const struct sim_exchange *exchange,
                        const struct sim_reply *whole) {
  uint32_t well = 0;
  if (exchange->count < 2) return;
  if (whole->kind == VOW_REPLY_ENDPOINT_DOWN) sim_probe(s, SIM_PROBE_BATCH_LOST);
  if (whole->kind == VOW_REPLY_NOT_A_BATCH) sim_probe(s, SIM_PROBE_NOT_A_BATCH);
  if (whole->kind != 0) return;
  for (uint32_t i = 0; i < exchange->count; i++) {
    well += exchange->answer[i].kind == VOW_REPLY_ANSWERED;
  }
  sim_probe(s, SIM_PROBE_BATCH);
  if (well > 0 && well < exchange->count) sim_probe(s, SIM_PROBE_BATCH_MIXED);
}

static void end_exchange(struct sim *s, struct sim_exchange *exchange,
                         const struct sim_reply *whole) {
  __typeof__(*((struct vow_event *)0)->u.reply.results) results[SIM_BATCH_MAX];
  struct vow_event event = {.type = VOW_EVENT_REPLY};
  struct sim_coordinator *c = &s->c[exchange->coordinator];
  uint32_t life = c->life;

  exchange->open = false;
  if (exchange->life != life || c->core == NULL) return;
  probe_batch(s, exchange, whole);
  memset(results, 0, sizeof results);
  for (uint32_t i = 0; i < exchange->count; i++) {
    struct sim_reply reply = read_reply(s, exchange, i, pick_reply(s, exchange, i, whole));
    struct sim_txn *txn = &s->txns[exchange->txns[i]];
    if (!exchange->given_up) txn->branches[exchange->messages[i].branch - 1].under_way = 0;
    results[i].kind = reply.kind;
    results[i].reply = (struct vow_message_reply){.vote = reply.vote, .outcome = reply.outcome};
    results[i].not_delivered = reply.not_delivered;
    results[i].timed_out = reply.timed_out;
    if (reply.kind != VOW_REPLY_ANSWERED) results[i].error = errors[reply.kind];
  }
  event.u.reply.request = exchange->request;
  event.u.reply.count = exchange->count;
  event.u.reply.batch_max = whole->batch_max;
  event.u.reply.seen = whole->seen;
  event.u.reply.results = (void *)results;
  sim_c_step(s, c, &event);
  if (s->mistake == SIM_MISTAKE_REPLY_TWICE && c->life == life) sim_c_step(s, c, &event);
}

void sim_c_reply(struct sim *s, const struct sim_event *event) {
  struct sim_exchange *exchange = &s->exchanges[event->index];
  if (!exchange->open || exchange->generation != event->a) return;
  struct sim_reply reply = event->reply;
  if (event->kind == SIM_EXCHANGE_TIMES_OUT) {
    reply = (struct sim_reply){.kind = VOW_REPLY_ENDPOINT_DOWN, .timed_out = true};
  }
  end_exchange(s, exchange, &reply);
}

/* ---- life and death ---- */

void sim_c_stop(struct sim_coordinator *c) {
  vow_core_free(c->core);
  c->core = NULL;
}

static void forget_exchanges(struct sim *s, const struct sim_coordinator *c) {
  for (uint32_t i = 0; i < SIM_EXCHANGES_MAX && i < s->exchange_next; i++) {
    if (s->exchanges[i].coordinator == c->number) s->exchanges[i].open = false;
  }
  for (uint32_t t = 0; t < s->txn_count; t++) {
    if (s->txns[t].coordinator != c->number) continue;
    for (uint32_t b = 0; b < SIM_BRANCHES_MAX; b++) s->txns[t].branches[b].under_way = 0;
  }
}

void sim_c_crash(struct sim *s, struct sim_coordinator *c, enum sim_death death) {
  static const char *const words[] = {[SIM_KILLED] = "it is killed",
                                      [SIM_POWER_CUT] = "its power is cut",
                                      [SIM_FAILED_SYNC] = "its COMMIT failed: it ends"};
  const struct sim_crash *crash = sim_crash_due(s, node_of(c), c->actions);
  bool keep = crash != NULL ? crash->keep : sim_chance(s, 500);

  if (death == SIM_KILLED && sim_fault(s, SIM_FAULT_POWER, 1000)) death = SIM_POWER_CUT;
  sim_say(s, node_of(c), "---- %s%s ----", words[death],
          keep ? ", what it was writing is kept" : "");
  if (c->load_began && c->loading && sim_c_open_rows(s, c) > 0)
    sim_probe(s, SIM_PROBE_CRASH_LOADING);
  if (death == SIM_FAILED_SYNC) sim_probe(s, keep ? SIM_PROBE_ROW_SURVIVED : SIM_PROBE_ROW_LOST);
  sim_c_stop(c);
  c->life++;
  sim_c_lose_log(s, c, death, keep);
  forget_exchanges(s, c);
  uint64_t down_ms = sim_chance(s, 700) ? sim_draw(s, 300) : sim_draw(s, 8000);
  sim_at(s, down_ms, SIM_C_START, node_of(c))->life = c->life;
}

void sim_c_start(struct sim *s, struct sim_coordinator *c) {
  struct vow_event event = {.type = VOW_EVENT_LOAD_BEGIN};
  if (!sim_c_settle(s, c)) {
    sim_at(s, 1 + sim_draw(s, 1000), SIM_C_START, node_of(c))->life = c->life;
    return;
  }
  sim_c_begin_incarnation(s, c);
  enum vow_error error = vow_core_new(&c->core, &c->config);
  sim_check(s, error == VOW_OK, SIM_CONTRACT, "no core: %s", vow_error_text(error));
  sim_say(s, node_of(c), "---- it starts, its log is at %llu ----",
          (unsigned long long)c->disk.position);
  c->tick_ms = UINT64_MAX;
  c->monotonic_offset_ms = sim_draw(s, 1000000);
  c->told_durable = c->disk.position;
  c->last_position = c->disk.position;
  c->loading = c->load_began = true;
  c->space_low = false;
  c->load_after = (struct vow_id){{0}};
  c->start_ceiling = c->disk.ceiling;
  c->newest_before = c->newest_id;
  event.u.load_begin.position = c->disk.position;
  c->open_before = c->to_load = sim_c_open_rows(s, c);
  event.u.load_begin.open = c->to_load;
  event.u.load_begin.incarnation = c->disk.incarnation;
  event.u.load_begin.known = c->disk.known;
  event.u.load_begin.known_count = c->disk.known_count;
  event.u.load_begin.quarantined = c->disk.quarantined;
  event.u.load_begin.presume_from = c->disk.presume_from;
  event.u.load_begin.gaps = c->disk.gaps;
  event.u.load_begin.gap_count = c->disk.gap_count;
  if (s->mistake == SIM_MISTAKE_GAP_PRESUMED) event.u.load_begin.gap_count = 0;
  if (s->mistake == SIM_MISTAKE_NO_QUARANTINE) {
    event.u.load_begin.incarnation = 0;
    event.u.load_begin.quarantined = false;
  }
  if (s->mistake != SIM_MISTAKE_ID_AGAIN) event.u.load_begin.id_floor = c->id_from;
  uint32_t life = c->life;
  sim_c_step(s, c, &event);
  if (c->life == life) {
    sim_at(s, sim_draw(s, 20), SIM_C_LOAD, node_of(c))->life = life;
  }
}

/* The open row with the smallest id above the last, of an earlier run. */
static const struct sim_row *next_row(const struct sim *s, const struct sim_coordinator *c) {
  const struct sim_row *found = NULL;
  for (uint32_t i = 0; i < s->txn_count; i++) {
    const struct sim_row *row = c->cached.rows[i].used ? &c->cached.rows[i] : &c->disk.table[i];
    if (!row->used || row->image.ended_ms != 0) continue;
    if (vow_id_compare(row->image.id, c->load_after) <= 0) continue;
    if (vow_id_compare(row->image.id, c->start_ceiling) >= 0) continue;
    if (found == NULL || vow_id_compare(row->image.id, found->image.id) < 0) found = row;
  }
  return found;
}

void sim_c_load(struct sim *s, struct sim_coordinator *c) {
  const struct sim_row *row = next_row(s, c);
  struct vow_event event = {.type = VOW_EVENT_LOAD_END};
  uint32_t life = c->life;

  if (row == NULL) {
    c->loading = false;
    c->to_load = 0;
    sim_c_step(s, c, &event);
    return;
  }
  struct vow_txn image = sim_image_copy(&row->image);
  image.decision_durable = image.state >= VOW_TXN_COMMITTING;
  c->load_after = image.id;
  sim_say(s, node_of(c), "loads t%u %s", sim_txn_of(s, image.id), vow_txn_state_name(image.state));
  if (image.state == VOW_TXN_COMMITTING) sim_probe(s, SIM_PROBE_RESENT);
  if (image.state == VOW_TXN_PREPARING && vow_core_quarantined(c->core)) {
    sim_probe(s, SIM_PROBE_HELD_BACK);
  }
  c->to_load -= c->to_load > 0;
  event.type = VOW_EVENT_LOAD;
  event.u.load = &image;
  sim_c_step(s, c, &event);
  vow_txn_fini(&image);
  if (c->life == life) {
    sim_at(s, sim_draw(s, 30), SIM_C_LOAD, node_of(c))->life = life;
  }
}
