/*
 * The coordinator's process: what coordinator/io/driver.c does, in virtual time. It owes the core
 * what core.h says, and can be killed between any two actions.
 */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

/* ---- steps ---- */

static void arm_tick(struct sim *s) {
  uint64_t due_ms = vow_core_next_deadline(s->c.core);
  if (due_ms == UINT64_MAX) return;
  due_ms = due_ms > s->c.monotonic_offset_ms ? due_ms - s->c.monotonic_offset_ms : 0;
  if (due_ms < s->now_ms) due_ms = s->now_ms;
  if (due_ms >= s->c.tick_ms) return;
  s->c.tick_ms = due_ms;
  sim_at(s, due_ms - s->now_ms, SIM_C_TICK, SIM_COORDINATOR)->life = s->c.life;
}

static uint32_t take_exchange(struct sim *s) {
  for (uint32_t n = 0; n < SIM_EXCHANGES_MAX; n++) {
    uint32_t index = s->exchange_next++ % SIM_EXCHANGES_MAX;
    if (!s->exchanges[index].open) return index;
  }
  sim_fail(s, SIM_LIVENESS, "B1: more requests under way than a run may have");
}

static struct vow_message wire_message(struct sim *s, const struct vow_action *action,
                                       const struct vow_action_message *message) {
  struct vow_message wire = {.type = message->type,
                             .transaction = message->txn->id,
                             .branch = message->branch->number,
                             .finished_below = action->u.send.finished_below,
                             .coordinator = SIM_URL,
                             .timeout_ms = message->timeout_ms,
                             .one_phase = message->one_phase};
  const struct sim_plan_branch *plan =
      sim_plan_branch(s, sim_txn_of(s, message->txn->id), message->branch->number);
  if (message->type == VOW_MESSAGE_PREPARE && message->branch->payload != NULL) {
    sim_check(s, strcmp(message->branch->payload, plan->payload) == 0, "payload",
              "a prepare carries another branch's payload");
    wire.payload = plan->payload;
    wire.payload_bytes = strlen(plan->payload);
  }
  if (s->mutant == SIM_MUTANT_WATERMARK) wire.finished_below = s->newest_id;
  return wire;
}

static void add_message(struct sim *s, struct sim_exchange *exchange,
                        const struct vow_action *action, uint32_t index) {
  const struct vow_action_message *message = &action->u.send.messages[index];
  uint32_t txn = sim_txn_of(s, message->txn->id);
  uint32_t participant = sim_plan_branch(s, txn, message->branch->number)->participant;

  if (index == 0) exchange->participant = participant;
  sim_check(s, participant == exchange->participant, "contract",
            "a batch has messages to several participants");
  exchange->txns[index] = txn;
  exchange->messages[index] = wire_message(s, action, message);
  s->txns[txn].branches[message->branch->number - 1].under_way = message->type;
  sim_say(s, SIM_COORDINATOR, "%s %s t%u/%u to p%u%s", index == 0 ? "send" : "  with",
          vow_message_type_name(message->type), txn, message->branch->number, participant,
          message->one_phase ? " in one phase" : "");
}

static void send_all(struct sim *s, const struct vow_action *action) {
  uint32_t slot = take_exchange(s);
  struct sim_exchange *exchange = &s->exchanges[slot];

  exchange->open = true;
  exchange->delivered = false;
  exchange->generation++;
  exchange->life = s->c.life;
  exchange->request = action->u.send.request;
  exchange->count = action->u.send.count;
  exchange->replied = 0;
  for (uint32_t i = 0; i < exchange->count; i++) {
    sim_check_send(s, action, i);
    add_message(s, exchange, action, i);
  }
  sim_send_message(s, slot);
}

/* False: the process died on the way. */
static bool carry_out(struct sim *s, const struct vow_actions *actions) {
  for (uint32_t i = 0; i < actions->count; i++) {
    const struct vow_action *action = &actions->items[i];
    if (sim_fault(s, SIM_FAULT_CRASH_C, 4)) {
      sim_c_crash(s, false);
      return false;
    }
    sim_check(s, action->after <= s->c.told_durable, "D1",
              "an action was emitted before position %llu was durable",
              (unsigned long long)action->after);
    sim_mix(s, (uint64_t)action->type);
    switch (action->type) {
      case VOW_ACTION_LOG:
        sim_c_append(s, action);
        break;
      case VOW_ACTION_SEND:
        sim_check(s, action->u.send.count >= 1 && action->u.send.count <= SIM_BATCH_MAX, "contract",
                  "a SEND has %u messages, which nobody offered to take", action->u.send.count);
        send_all(s, action);
        break;
      case VOW_ACTION_ANSWER:
        sim_c_answer(s, action);
        break;
    }
  }
  return true;
}

void sim_c_step(struct sim *s, struct vow_event *event) {
  struct vow_actions actions = {0};
  event->now_ms = s->now_ms + s->c.monotonic_offset_ms;
  event->wall_ms = (uint64_t)((int64_t)(UINT64_C(1763000000000) + s->now_ms) + s->wall_offset_ms);
  event->random = sim_random(s);
  enum vow_error error = vow_core_step(s->c.core, event, &actions);
  sim_check(s, error == VOW_OK, "contract", "the coordinator's core answers %s to event %d",
            vow_error_text(error), (int)event->type);
  if (!carry_out(s, &actions)) return;
  arm_tick(s);
  /* The mutant's core hears that its records are durable while they are queued. */
  if (s->mutant == SIM_MUTANT_SEND_FIRST && s->c.queue.position > s->c.told_durable) {
    s->c.told_durable = s->c.queue.position;
    struct vow_event durable = {.type = VOW_EVENT_DURABLE, .u.position = s->c.queue.position};
    sim_c_step(s, &durable);
  }
}

void sim_c_tick(struct sim *s) {
  struct vow_event event = {.type = VOW_EVENT_TICK};
  s->c.tick_ms = UINT64_MAX;
  if (vow_core_next_deadline(s->c.core) <= s->now_ms + s->c.monotonic_offset_ms) {
    sim_c_step(s, &event);
  } else {
    arm_tick(s);
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

/* What the driver makes of the reply to one message. */
static struct sim_reply read_reply(struct sim *s, const struct sim_exchange *exchange,
                                   uint32_t index, struct sim_reply reply) {
  const struct vow_message *message = &exchange->messages[index];
  uint32_t txn = exchange->txns[index];

  if (message->type == VOW_MESSAGE_COMMIT && reply.kind == VOW_REPLY_UNKNOWN_BRANCH) {
    if (s->mutant == SIM_MUTANT_UNKNOWN_IS_OK) {
      reply = (struct sim_reply){.kind = VOW_REPLY_ANSWERED, .outcome = VOW_OUTCOME_COMMITTED};
    } else {
      sim_check(s, s->txns[txn].meddled, "tombstones", "commit of t%u/%u finds no branch at p%u",
                txn, message->branch, exchange->participant);
    }
  }
  bool faint = s->mutant == SIM_MUTANT_FAINT && message->type == VOW_MESSAGE_PREPARE;
  if (faint && sim_chance(s, 30)) reply = (struct sim_reply){.kind = VOW_REPLY_REFUSED};
  probe_delegate(s, txn, message->type, &reply);
  sim_say(s, SIM_COORDINATOR, "hears of %s t%u/%u: %s", vow_message_type_name(message->type), txn,
          message->branch,
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
  if (s->mutant == SIM_MUTANT_BATCH_ORDER) index = exchange->count - 1 - index;
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

void sim_c_end_exchange(struct sim *s, struct sim_exchange *exchange,
                        const struct sim_reply *whole) {
  __typeof__(*((struct vow_event *)0)->u.reply.results) results[SIM_BATCH_MAX];
  struct vow_event event = {.type = VOW_EVENT_REPLY};

  exchange->open = false;
  if (exchange->life != s->c.life || s->c.core == NULL) return;
  probe_batch(s, exchange, whole);
  memset(results, 0, sizeof results);
  for (uint32_t i = 0; i < exchange->count; i++) {
    struct sim_reply reply = read_reply(s, exchange, i, pick_reply(s, exchange, i, whole));
    s->txns[exchange->txns[i]].branches[exchange->messages[i].branch - 1].under_way = 0;
    results[i].kind = reply.kind;
    results[i].reply = (struct vow_message_reply){.vote = reply.vote, .outcome = reply.outcome};
    results[i].not_delivered = reply.not_delivered;
    if (reply.kind != VOW_REPLY_ANSWERED) results[i].error = errors[reply.kind];
  }
  event.u.reply.request = exchange->request;
  event.u.reply.count = exchange->count;
  event.u.reply.batch_max = whole->batch_max;
  event.u.reply.results = (void *)results;
  sim_c_step(s, &event);
}

void sim_c_reply(struct sim *s, const struct sim_event *event) {
  struct sim_exchange *exchange = &s->exchanges[event->index];
  if (!exchange->open || exchange->generation != event->a) return;
  struct sim_reply reply = event->reply;
  if (event->kind == SIM_EXCHANGE_TIMES_OUT) {
    reply = (struct sim_reply){.kind = VOW_REPLY_ENDPOINT_DOWN};
  }
  sim_c_end_exchange(s, exchange, &reply);
}

/* ---- life and death ---- */

void sim_c_stop(struct sim *s) {
  vow_core_free(s->c.core);
  s->c.core = NULL;
}

static uint32_t open_rows(const struct sim *s) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < s->txn_count; i++) {
    count += s->c.table[i].used && s->c.table[i].image.ended_ms == 0;
  }
  return count;
}

void sim_c_crash(struct sim *s, bool failed_sync) {
  sim_say(s, SIM_COORDINATOR,
          failed_sync ? "---- its COMMIT failed: it ends ----" : "---- it is killed ----");
  if (s->c.load_began && s->c.loading && open_rows(s) > 0) sim_probe(s, SIM_PROBE_CRASH_LOADING);
  bool keep = sim_chance(s, 500);
  if (failed_sync) sim_probe(s, keep ? SIM_PROBE_ROW_SURVIVED : SIM_PROBE_ROW_LOST);
  sim_c_stop(s);
  s->c.life++;
  sim_c_lose_log(s, keep);
  for (uint32_t i = 0; i < SIM_EXCHANGES_MAX; i++) s->exchanges[i].open = false;
  for (uint32_t t = 0; t < s->txn_count; t++) {
    for (uint32_t b = 0; b < SIM_BRANCHES_MAX; b++) s->txns[t].branches[b].under_way = 0;
  }
  uint64_t down_ms = sim_chance(s, 700) ? sim_draw(s, 300) : sim_draw(s, 8000);
  sim_at(s, down_ms, SIM_C_START, SIM_COORDINATOR)->life = s->c.life;
}

void sim_c_start(struct sim *s) {
  struct vow_event event = {.type = VOW_EVENT_LOAD_BEGIN};
  enum vow_error error = vow_core_new(&s->c.core, &s->c.config);
  sim_check(s, error == VOW_OK, "contract", "no core: %s", vow_error_text(error));
  sim_say(s, SIM_COORDINATOR, "---- it starts, its log is at %llu ----",
          (unsigned long long)s->c.position);
  s->c.tick_ms = UINT64_MAX;
  s->c.monotonic_offset_ms = sim_draw(s, 1000000);
  s->c.told_durable = s->c.position;
  s->c.last_position = s->c.position;
  s->c.loading = s->c.load_began = true;
  s->c.space_low = false;
  s->c.load_after = (struct vow_id){{0}};
  s->c.start_ceiling = s->c.ceiling;
  s->c.newest_before = s->newest_id;
  event.u.load_begin.position = s->c.position;
  if (s->mutant != SIM_MUTANT_ID_AGAIN) event.u.load_begin.id_floor = s->c.ceiling;
  uint32_t life = s->c.life;
  sim_c_step(s, &event);
  if (s->c.life == life) {
    sim_at(s, sim_draw(s, 20), SIM_C_LOAD, SIM_COORDINATOR)->life = life;
  }
}

/* The open row with the smallest id above the last, of an earlier run. */
static const struct sim_row *next_row(const struct sim *s) {
  const struct sim_row *found = NULL;
  for (uint32_t i = 0; i < s->txn_count; i++) {
    const struct sim_row *row = &s->c.table[i];
    if (!row->used || row->image.ended_ms != 0) continue;
    if (vow_id_compare(row->image.id, s->c.load_after) <= 0) continue;
    if (vow_id_compare(row->image.id, s->c.start_ceiling) >= 0) continue;
    if (found == NULL || vow_id_compare(row->image.id, found->image.id) < 0) found = row;
  }
  return found;
}

void sim_c_load(struct sim *s) {
  const struct sim_row *row = next_row(s);
  struct vow_event event = {.type = VOW_EVENT_LOAD_END};
  uint32_t life = s->c.life;

  if (row == NULL) {
    s->c.loading = false;
    sim_c_step(s, &event);
    return;
  }
  struct vow_txn image = sim_image_copy(&row->image);
  image.decision_durable = image.state >= VOW_TXN_COMMITTING;
  s->c.load_after = image.id;
  sim_say(s, SIM_COORDINATOR, "loads t%u %s", sim_txn_of(s, image.id),
          vow_txn_state_name(image.state));
  if (image.state == VOW_TXN_COMMITTING) sim_probe(s, SIM_PROBE_RESENT);
  event.type = VOW_EVENT_LOAD;
  event.u.load = &image;
  sim_c_step(s, &event);
  vow_txn_fini(&image);
  if (s->c.life == life) {
    sim_at(s, sim_draw(s, 30), SIM_C_LOAD, SIM_COORDINATOR)->life = life;
  }
}
