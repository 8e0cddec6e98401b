/*
 * A participant's process: what participant-sdk/io/engine.c and inquiry.c do, in virtual time. It
 * owes the core what pcore.h says, and can be killed between any two actions.
 */
#include <string.h>

#include "sim.h"

static int node_of(const struct sim_participant *p) {
  return SIM_PARTICIPANT + (int)p->number;
}

const char *sim_p_url(uint32_t participant) {
  static const char *const urls[SIM_PARTICIPANTS_MAX] = {"http://p0", "http://p1", "http://p2",
                                                         "http://p3", "http://p4", "http://p5"};
  return urls[participant];
}

static void own(struct sim *s, struct sim_participant *p, uint64_t delay_ms,
                enum sim_event_kind kind) {
  sim_at(s, delay_ms, kind, node_of(p))->life = p->life;
}

/* ---- actions ---- */

static void do_call(struct sim *s, struct sim_participant *p, const struct vow_paction *action,
                    struct sim_job *job) {
  uint32_t txn = sim_txn_of(s, action->branch->transaction);
  if (job != NULL || p->config.atomic) {
    struct sim_job fresh = {.type = SIM_JOB_CALL,
                            .call = action->u.call,
                            .txn = txn,
                            .branch = action->branch->number,
                            .forced = true,
                            .work = job != NULL ? job->work : -1};
    if (job != NULL) {
      *job = fresh;
    } else {
      sim_p_submit(s, p, &fresh);
    }
    return;
  }
  uint64_t delay_ms = sim_draw(s, 10);
  if (sim_fault(s, SIM_FAULT_SLOW, 60)) delay_ms += sim_draw(s, 4000);
  struct sim_event *event = sim_at(s, delay_ms, SIM_P_CALLBACK, node_of(p));
  event->life = p->life;
  event->index = txn;
  event->a = action->branch->number << 8 | (uint32_t)action->u.call;
}

static uint32_t coordinator_of(const char *url) {
  return (uint32_t)(url[strlen("http://c")] - '0');
}

static void do_log(struct sim *s, const struct vow_paction *action, struct sim_job *job) {
  const struct vow_precord *record = &action->u.log.record;
  int work = job->work;
  *job = (struct sim_job){.type = SIM_JOB_RECORD,
                          .txn = sim_txn_of(s, record->transaction),
                          .branch = record->branch,
                          .position = action->u.log.position,
                          .forced = action->u.log.forced,
                          .work = work};
  job->purge_of = coordinator_of(record->coordinator);
  job->seen = action->u.log.seen;
  job->record = (struct sim_record){.kind = record->kind,
                                    .row = record->row,
                                    .outcome = record->outcome,
                                    .has_payload = record->payload != NULL};
}

static void do_purge(struct sim *s, const struct vow_paction *action, struct sim_job *job) {
  job->purge_of = coordinator_of(action->u.purge.coordinator);
  job->purge_below = action->u.purge.finished_below;
  job->purge_count = action->u.purge.count;
  memcpy(job->purge, action->u.purge.rows, job->purge_count * sizeof job->purge[0]);
  sim_probe(s, SIM_PROBE_PURGED);
}

static void do_save(struct sim *s, struct sim_participant *p, const struct vow_paction *action) {
  struct sim_job job = {.type = SIM_JOB_WATERMARK,
                        .position = action->u.save.position,
                        .forced = true,
                        .work = -1,
                        .purge_of = coordinator_of(action->u.save.coordinator),
                        .purge_below = action->u.save.finished_below};
  sim_p_submit(s, p, &job);
}

static enum vow_reply_kind kind_of(enum vow_error error) {
  if (error == VOW_OK) return VOW_REPLY_ANSWERED;
  if (error == VOW_E_UNKNOWN_BRANCH) return VOW_REPLY_UNKNOWN_BRANCH;
  switch (vow_error_http_status(error)) {
    case 408:
    case 425:
    case 429:
    case 502:
    case 503:
    case 504:
      return VOW_REPLY_ENDPOINT_DOWN;
    case 500:
      return VOW_REPLY_BRANCH_FAILED;
    default:
      return VOW_REPLY_REFUSED;
  }
}

static void do_reply(struct sim *s, struct sim_participant *p, const struct vow_paction *action) {
  uint64_t token = action->u.reply.token;
  bool known = token >= 1 && token <= SIM_REQUESTS_MAX && p->requests[token - 1].open;
  sim_check(s, known, SIM_TOKENS, "p%u answers token %llu, but nobody waits for it", p->number,
            (unsigned long long)token);
  struct sim_request *request = &p->requests[token - 1];
  enum vow_error error = action->u.reply.error;
  struct vow_message_reply said = action->u.reply.reply;
  struct sim_reply reply = {.kind = kind_of(error), .seen = action->u.reply.seen};
  bool lies = s->mistake == SIM_MISTAKE_LIAR && said.outcome == VOW_OUTCOME_ABORTED;

  request->open = false;
  if (request->type == 0) {
    sim_say(s, node_of(p), "operator: %s", vow_error_text(error));
    return;
  }
  if (lies && sim_chance(s, 50)) said.outcome = VOW_OUTCOME_HEURISTIC_ABORT;
  if (error == VOW_OK) {
    reply.vote = said.vote;
    reply.outcome = said.outcome;
    said.seen = reply.seen;
    sim_wire_reply(s, request->type, &said);
    sim_check_participant_reply(s, p, request, &said);
  }
  sim_check_ended(s, p, request, &reply);
  sim_say(s, node_of(p), "answers %s t%u/%u: %s %s", vow_message_type_name(request->type),
          request->txn, request->branch, error == VOW_OK ? vow_vote_name(reply.vote) : "-",
          error == VOW_OK ? vow_outcome_name(reply.outcome) : vow_error_slug(error));
  sim_send_reply(s, request, &reply);
}

/* One coordinator after the other, in questions of so many ids. */
static void ask_next(struct sim *s, struct sim_participant *p) {
  if (p->question_count == 0) return;
  uint32_t to = p->questions[0].coordinator, left = 0;
  struct sim_call *call = sim_call_new(s, node_of(p), to, 0);
  for (uint32_t i = 0; i < p->question_count; i++) {
    struct sim_question question = p->questions[i];
    if (question.coordinator != to || call->asked_count == SIM_ASKED_MAX) {
      p->questions[left++] = question;
      continue;
    }
    call->asked[call->asked_count] = s->txns[question.txn].id;
    call->asked_branch[call->asked_count++] = question.branch;
  }
  p->question_count = left;
  call->seen = vow_pcore_seen(p->core, sim_c_url(to));
  p->asking = call->serial;
  sim_say(s, node_of(p), "asks c%u #%u: %u outcomes", to, call->serial, call->asked_count);
  sim_call(s, call);
}

static void do_ask(struct sim *s, struct sim_participant *p, const struct vow_paction *action) {
  uint32_t to = coordinator_of(vow_pbranch_coordinator(action->branch));
  if (p->question_count == SIM_QUESTIONS_MAX) return; /* it asks again later */
  if (p->question_count > 0 && p->questions[0].coordinator != to) {
    sim_probe(s, SIM_PROBE_TWO_MASTERS);
  }
  p->questions[p->question_count++] =
      (struct sim_question){.coordinator = to,
                            .txn = sim_txn_of(s, action->branch->transaction),
                            .branch = action->branch->number};
}

/* True: the process died before this action. */
static bool dies(struct sim *s, struct sim_participant *p) {
  const struct sim_crash *crash = sim_crash_due(s, node_of(p), ++p->actions);
  if (crash == NULL && !sim_fault(s, SIM_FAULT_CRASH_P, 4)) return false;
  sim_p_crash(s, p, crash != NULL ? crash->keep : sim_chance(s, 500));
  return true;
}

/* False: the process died on the way. */
static bool carry_out(struct sim *s, struct sim_participant *p, const struct vow_pactions *actions,
                      struct sim_job *job) {
  struct sim_job record = {.work = -1};
  struct sim_job *last = NULL;

  for (uint32_t i = 0; i < actions->count; i++) {
    const struct vow_paction *action = &actions->items[i];
    if (dies(s, p)) return false;
    sim_mix(s, (uint64_t)action->type << 8 | p->number);
    switch (action->type) {
      case VOW_PACTION_CALL:
        do_call(s, p, action, job);
        break;
      case VOW_PACTION_LOG:
        last = job != NULL ? job : &record;
        do_log(s, action, last);
        break;
      case VOW_PACTION_PURGE:
        sim_check(s, last != NULL, SIM_CONTRACT, "p%u purges without a record", p->number);
        do_purge(s, action, last);
        break;
      case VOW_PACTION_SAVE:
        do_save(s, p, action);
        break;
      case VOW_PACTION_REPLY:
        if (!p->broken) do_reply(s, p, action);
        break;
      case VOW_PACTION_ASK:
        do_ask(s, p, action);
        break;
    }
  }
  if (last == &record) sim_p_submit(s, p, &record);
  if (p->asking == 0) ask_next(s, p);
  return true;
}

static void arm_tick(struct sim *s, struct sim_participant *p) {
  uint64_t due_ms = vow_pcore_next_deadline(p->core);
  if (due_ms == UINT64_MAX || p->asking != 0) return; /* one question at a time */
  if (due_ms < s->now_ms) due_ms = s->now_ms;
  if (due_ms >= p->tick_ms) return;
  p->tick_ms = due_ms;
  own(s, p, due_ms - s->now_ms, SIM_P_TICK);
}

void sim_p_step(struct sim *s, struct sim_participant *p, struct vow_pevent *event,
                struct sim_job *job) {
  struct vow_pactions actions;
  event->now_ms = s->now_ms;
  event->random = sim_random(s);
  enum vow_error error = vow_pcore_step(p->core, event, &actions);
  sim_check(s, error == VOW_OK, SIM_CONTRACT, "p%u's core answers %s to event %d", p->number,
            vow_error_text(error), (int)event->type);
  if (carry_out(s, p, &actions, job)) arm_tick(s, p);
}

void sim_p_tick(struct sim *s, struct sim_participant *p) {
  struct vow_pevent event = {.type = VOW_PEVENT_TICK};
  p->tick_ms = UINT64_MAX;
  if (p->broken || p->asking != 0) return;
  if (vow_pcore_next_deadline(p->core) <= s->now_ms) {
    sim_p_step(s, p, &event, NULL);
  } else {
    arm_tick(s, p);
  }
}

/* ---- requests ---- */

static struct sim_request *enter(struct sim *s, struct sim_participant *p, uint64_t *token) {
  for (uint32_t i = 0; i < SIM_REQUESTS_MAX; i++) {
    if (p->requests[i].open) continue;
    *token = i + 1;
    p->requests[i] = (struct sim_request){.open = true};
    return &p->requests[i];
  }
  sim_fail(s, SIM_B1, "too many requests wait at p%u", p->number);
}

static void probe_message(struct sim *s, const struct sim_participant *p,
                          const struct vow_message *m) {
  const struct vow_pbranch *b = vow_pcore_find(p->core, m->transaction, m->branch);
  if (b != NULL && m->type == VOW_MESSAGE_PREPARE && vow_pbranch_is_ended(b)) {
    sim_probe(s, SIM_PROBE_LATE_PREPARE);
  }
  if (m->type == VOW_MESSAGE_ABORT && b == NULL) sim_probe(s, SIM_PROBE_ABORT_OVERTAKES);
  if (m->type == VOW_MESSAGE_ABORT && b != NULL && b->state == VOW_PBRANCH_PREPARING) {
    sim_probe(s, SIM_PROBE_ABORT_IN_PREPARE);
  }
  if (b == NULL &&
      vow_id_compare(m->transaction, vow_pcore_finished_below(p->core, m->coordinator)) < 0) {
    sim_probe(s, SIM_PROBE_BELOW_WATERMARK);
  }
}

static void take_message(struct sim *s, struct sim_participant *p, const struct sim_event *event,
                         uint32_t part) {
  const struct sim_exchange *exchange = &s->exchanges[event->index];
  const struct vow_message *message = &exchange->messages[part];
  struct vow_message read;
  struct vow_pevent step = {.type = VOW_PEVENT_MESSAGE};
  struct sim_request request = {.open = true,
                                .exchange = event->index,
                                .generation = event->a,
                                .delivery = exchange->delivery,
                                .part = part,
                                .txn = exchange->txns[part],
                                .branch = message->branch,
                                .type = message->type};

  sim_say(s, node_of(p), "gets %s t%u/%u", vow_message_type_name(message->type), request.txn,
          message->branch);
  if (p->broken) {
    sim_send_reply(s, &request, &(struct sim_reply){.kind = VOW_REPLY_BRANCH_FAILED});
    return;
  }
  probe_message(s, p, message);
  *enter(s, p, &step.u.message.token) = request;
  sim_wire_message(s, message, &read);
  step.u.message.message = &read;
  if (sim_fault(s, SIM_FAULT_FULL_P, 20)) step.u.message.refused = "the disk is nearly full";
  sim_p_step(s, p, &step, NULL);
}

/* A batch is taken message by message, before anything else happens. */
void sim_p_message(struct sim *s, struct sim_participant *p, const struct sim_event *event) {
  struct sim_exchange *exchange = &s->exchanges[event->index];
  uint32_t life = p->life;

  exchange->delivery++;
  exchange->replied = 0;
  for (uint32_t i = 0; i < exchange->count && p->life == life; i++) take_message(s, p, event, i);
}

void sim_p_operate(struct sim *s, struct sim_participant *p, uint32_t txn, uint32_t branch,
                   enum vow_outcome outcome) {
  struct vow_pevent event = {
      .type = VOW_PEVENT_OPERATE, .transaction = s->txns[txn].id, .branch = branch};
  if (p->core == NULL || p->broken) return;
  (void)enter(s, p, &event.u.operate.token);
  event.u.operate.outcome = outcome;
  s->txns[txn].meddled = true;
  s->txns[txn].branches[branch - 1].heuristic = true;
  sim_say(s, node_of(p), "its operator settles t%u/%u: %s", txn, branch, vow_outcome_name(outcome));
  sim_p_step(s, p, &event, NULL);
}

/* ---- callbacks of a participant with a log of its own ---- */

static void run_callback(struct sim *s, struct sim_participant *p, enum vow_message_type call,
                         uint32_t txn, uint32_t branch, struct vow_pevent *event) {
  event->type = VOW_PEVENT_FINISHED;
  if (call == VOW_MESSAGE_PREPARE) {
    event->type = VOW_PEVENT_VOTED;
    event->u.voted.vote = sim_db_vote(s, txn, branch);
    bool no = event->u.voted.vote == VOW_VOTE_ABORT && !s->txns[txn].one_phase;
    if (s->mistake == SIM_MISTAKE_LEFTOVER && no) p->work[txn][branch - 1] = SIM_WORK_PREPARED;
    if (event->u.voted.vote != VOW_VOTE_COMMIT) return;
    sim_db_prepare(s, p, txn, branch);
    p->work_is_volatile[txn][branch - 1] = !p->config.intent;
  } else if (sim_fault(s, SIM_FAULT_CALLBACK, 200)) {
    event->u.finished.error = sim_chance(s, 500) ? VOW_E_OVERLOADED : VOW_E_DATABASE;
    event->u.finished.reason = "not now";
  } else if (call == VOW_MESSAGE_COMMIT) {
    sim_db_commit(s, p, txn, branch);
  } else {
    sim_db_abort(s, p, txn, branch);
  }
}

void sim_p_callback(struct sim *s, struct sim_participant *p, const struct sim_event *from) {
  uint32_t txn = from->index, branch = from->a >> 8;
  enum vow_message_type call = (enum vow_message_type)(from->a & 0xff);
  struct vow_pevent event = {.transaction = s->txns[txn].id, .branch = branch};

  sim_say(s, node_of(p), "calls %s for t%u/%u", vow_message_type_name(call), txn, branch);
  run_callback(s, p, call, txn, branch, &event);
  if (dies(s, p)) return;
  if (!p->broken) sim_p_step(s, p, &event, NULL);
}

/* ---- what the coordinator told ---- */

static void hear(struct sim *s, struct sim_participant *p, const struct sim_call *call,
                 uint32_t index) {
  struct vow_id id = call->asked[index];
  struct vow_pevent event = {
      .type = VOW_PEVENT_ANSWERED,
      .transaction = id,
      .branch = call->asked_branch[index],
      .u.answer = {
          .outcome = call->answer.inquiry[index], .log = call->answer.log, .told = call->seen}};
  const struct vow_pbranch *b = vow_pcore_find(p->core, id, call->asked_branch[index]);
  bool waits = b != NULL && b->state == VOW_PBRANCH_PREPARED;
  if (waits && event.u.answer.outcome == VOW_INQUIRY_COMMITTED)
    sim_probe(s, SIM_PROBE_ASKED_COMMIT);
  if (waits && event.u.answer.outcome == VOW_INQUIRY_ABORTED) sim_probe(s, SIM_PROBE_ASKED_ABORT);
  if (s->mistake == SIM_MISTAKE_UNILATERAL && event.u.answer.outcome < VOW_INQUIRY_COMMITTED) {
    event.u.answer.outcome = VOW_INQUIRY_ABORTED;
  }
  sim_p_step(s, p, &event, NULL);
}

void sim_p_inquired(struct sim *s, struct sim_participant *p, const struct sim_call *from) {
  if (p->asking != from->serial || p->core == NULL || p->broken) return;
  struct sim_call call = *from;
  uint32_t life = p->life;
  bool failed = call.answer.lost || call.answer.error || s->mistake == SIM_MISTAKE_DEAF;
  if (failed) {
    struct vow_pevent event = {.type = VOW_PEVENT_ASK_FAILED,
                               .u.coordinator.url = sim_c_url(call.to)};
    sim_p_step(s, p, &event, NULL);
  }
  for (uint32_t i = 0; i < call.asked_count && p->life == life; i++) {
    if (!failed || s->mistake == SIM_MISTAKE_UNILATERAL) hear(s, p, &call, i);
  }
  if (p->life != life) return;
  p->asking = 0;
  ask_next(s, p);
  arm_tick(s, p);
}

/* ---- life and death ---- */

void sim_p_stop(struct sim_participant *p) {
  vow_pcore_free(p->core);
  p->core = NULL;
}

static bool has_doubts(const struct sim *s, const struct sim_participant *p) {
  for (uint32_t t = 0; t < s->txn_count; t++) {
    for (uint32_t b = 0; b < s->txns[t].branch_count; b++) {
      if (p->log[t][b].kind == VOW_PRECORD_PREPARED) return true;
    }
  }
  return false;
}

void sim_p_crash(struct sim *s, struct sim_participant *p, bool keep) {
  sim_say(s, node_of(p), "---- it is killed%s ----", keep ? ", what it was writing is kept" : "");
  if (has_doubts(s, p)) sim_probe(s, SIM_PROBE_CRASH_P_LOADING);
  sim_p_stop(p);
  p->life++;
  p->broken = false;
  p->asking = p->question_count = 0;
  memset(p->requests, 0, sizeof p->requests);
  sim_p_lose_log(s, p, keep);
  sim_db_crash(s, p);
  uint64_t down_ms = sim_chance(s, 700) ? sim_draw(s, 300) : sim_draw(s, 8000);
  own(s, p, down_ms, SIM_P_START);
}

/* A mistake's disk does not keep what a record promises. */
static bool is_lost(struct sim *s, struct sim_participant *p, uint32_t txn, uint32_t branch) {
  enum vow_precord_kind kind = p->log[txn][branch - 1].kind;
  if (s->mistake == SIM_MISTAKE_NO_TOMBSTONE) return kind >= VOW_PRECORD_COMMITTED;
  bool loses = s->mistake == SIM_MISTAKE_UNKNOWN_IS_OK || s->mistake == SIM_MISTAKE_DOUBT_LOST;
  if (!loses || kind != VOW_PRECORD_PREPARED) return false;
  p->log[txn][branch - 1] = (struct sim_record){.kind = VOW_PRECORD_NONE};
  p->work[txn][branch - 1] = SIM_WORK_NONE;
  return true;
}

static void load(struct sim *s, struct sim_participant *p, uint32_t txn, uint32_t branch) {
  const struct sim_record *from = &p->log[txn][branch - 1];
  uint32_t coordinator = s->mistake == SIM_MISTAKE_ONE_NAME ? 0 : s->txns[txn].coordinator;
  struct vow_precord record = {.kind = from->kind,
                               .transaction = s->txns[txn].id,
                               .branch = branch,
                               .row = from->row,
                               .outcome = from->outcome,
                               .coordinator = sim_c_url(coordinator)};
  struct vow_pevent event = {.type = VOW_PEVENT_LOAD, .u.load = &record};

  if (is_lost(s, p, txn, branch)) return;
  if (from->has_payload) {
    record.payload = sim_plan_branch(s, txn, branch)->payload;
    record.payload_bytes = strlen(record.payload);
  }
  sim_p_step(s, p, &event, NULL);
}

static void load_watermarks(struct sim *s, struct sim_participant *p) {
  for (uint32_t i = 0; i < s->coordinator_count; i++) {
    struct vow_pevent event = {.type = VOW_PEVENT_LOAD_COORDINATOR};
    event.u.coordinator.url = sim_c_url(i);
    event.u.coordinator.finished_below = p->watermark[i];
    if (!vow_id_is_nil(p->watermark[i])) sim_p_step(s, p, &event, NULL);
    event = (struct vow_pevent){.type = VOW_PEVENT_LOAD_SEEN};
    event.u.coordinator.url = sim_c_url(i);
    event.u.coordinator.seen = p->seen[i];
    if (p->seen[i].incarnation != 0) sim_p_step(s, p, &event, NULL);
  }
}

/* A mistake's limits do not count. */
static struct vow_pconfig config_of(const struct sim *s, const struct sim_participant *p) {
  struct vow_pconfig config = p->config;
  if (s->mistake != SIM_MISTAKE_NO_LIMIT) return config;
  config.branches_max = config.preparing_max = config.tombstones_max = 1000;
  return config;
}

void sim_p_start(struct sim *s, struct sim_participant *p) {
  struct vow_pconfig config = config_of(s, p);
  uint32_t life = p->life;
  enum vow_error error = vow_pcore_new(&p->core, &config);
  sim_check(s, error == VOW_OK, SIM_CONTRACT, "no core: %s", vow_error_text(error));
  sim_say(s, node_of(p), "---- it starts ----");
  p->tick_ms = UINT64_MAX;
  p->sync_due_ms = UINT64_MAX;
  load_watermarks(s, p);
  for (uint32_t t = 0; t < s->txn_count; t++) {
    for (uint32_t b = 1; b <= s->txns[t].branch_count && p->life == life; b++) {
      if (p->log[t][b - 1].kind != VOW_PRECORD_NONE) load(s, p, t, b);
    }
  }
}
