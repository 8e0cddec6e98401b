/*
 * A coordinator's API: what coordinator/api does with a request. What is open goes to the core;
 * what has ended is answered from the log, after everything queued before; what nobody knows was
 * presumably aborted, unless the log is still being read, or it may be a commit that was purged.
 */
#include <string.h>

#include "sim.h"

static int node_of(const struct sim_coordinator *c) {
  return SIM_COORDINATOR + (int)c->number;
}

static const struct vow_txn *find_open(const struct sim_coordinator *c, struct vow_id id) {
  return vow_core_find(c->core, id);
}

static void probe_refusal(struct sim *s, enum vow_error error) {
  if (error == VOW_E_LOADING) sim_probe(s, SIM_PROBE_LOADING);
  if (error == VOW_E_KEY_CONFLICT) sim_probe(s, SIM_PROBE_KEY_CONFLICT);
  if (error == VOW_E_LOG_FULL) sim_probe(s, SIM_PROBE_FULL_REFUSED);
  if (error == VOW_E_OVERLOADED) sim_probe(s, SIM_PROBE_OVERLOADED);
}

static void answer_error(struct sim *s, struct sim_call *call, enum vow_error error) {
  struct sim_answer answer = {.error = error};
  probe_refusal(s, error);
  sim_say(s, SIM_COORDINATOR + (int)call->to, "answers #%u %s", call->serial,
          vow_error_slug(error));
  sim_answer_call(s, call, &answer);
}

/* ---- with the core ---- */

static void submit(struct sim *s, struct sim_coordinator *c, struct sim_call *call,
                   struct vow_event *event) {
  event->type = call->type;
  event->token = call->serial;
  event->id = call->id;
  call->in_core = true;
  call->life = c->life;
  uint32_t serial = call->serial, life = c->life;
  sim_c_step(s, c, event);
  call = sim_call_find(s, serial);
  if (s->mistake == SIM_MISTAKE_ANSWER_LOST && call != NULL && call->in_core && c->life == life) {
    call->in_core = !sim_chance(s, 50);
  }
}

static void note_answer(struct sim *s, struct sim_coordinator *c, const struct sim_call *call,
                        const struct vow_action *action, enum vow_outcome outcome) {
  const struct vow_txn *txn = action->u.answer.txn;
  sim_see(s, c, txn);
  sim_check(s, vow_id_compare(txn->id, c->disk.ceiling) < 0, SIM_C6,
            "an id was shown that is not below the durable ceiling");
  sim_told(s, txn->id, outcome, "a client");
  if (call->type != VOW_EVENT_BEGIN) return;
  if (action->u.answer.error != VOW_E_KEY_CONFLICT) {
    sim_told_key(s, sim_txn_of(s, txn->id), &s->plans[call->plan], outcome);
  }
  if (!action->u.answer.created && !action->u.answer.error) sim_probe(s, SIM_PROBE_KEY_REPEATED);
}

/* By mistake a decision is told that the core keeps to itself until it is durable. */
static enum vow_outcome outcome_of(const struct sim *s, const struct vow_txn *txn) {
  if (s->mistake == SIM_MISTAKE_TELL_FIRST && txn->state == VOW_TXN_COMMITTING) {
    return VOW_OUTCOME_COMMITTED;
  }
  return vow_txn_outcome(txn);
}

void sim_c_answer(struct sim *s, struct sim_coordinator *c, const struct vow_action *action) {
  struct sim_call *call = sim_call_find(s, (uint32_t)action->u.answer.token);
  const struct vow_txn *txn = action->u.answer.txn;
  struct sim_answer answer = {.error = action->u.answer.error, .pending = action->u.answer.pending};

  sim_check(s, call != NULL && call->in_core && call->to == c->number && call->life == c->life,
            SIM_TOKENS, "token %llu is answered, but nobody waits for it",
            (unsigned long long)action->u.answer.token);
  call->in_core = false;
  if (txn != NULL) {
    answer.id = txn->id;
    answer.has_id = answer.error != VOW_E_KEY_CONFLICT;
    answer.outcome = answer.has_id ? vow_txn_outcome(txn) : VOW_OUTCOME_NONE;
    note_answer(s, c, call, action, answer.outcome);
  }
  probe_refusal(s, answer.error);
  sim_say(s, node_of(c), "answers #%u %s%s %s", call->serial, vow_error_slug(answer.error),
          answer.pending ? " pending" : "",
          answer.outcome == VOW_OUTCOME_NONE ? "" : vow_outcome_name(answer.outcome));
  sim_answer_call(s, call, &answer);
}

static struct vow_event_branch branch_of(const struct sim *s, const struct sim_plan *plan,
                                         uint32_t number) {
  const struct sim_plan_branch *branch = &plan->branches[number], *content = branch;
  if (s->mistake == SIM_MISTAKE_WRONG_PAYLOAD) content = &plan->branches[0];
  return (struct vow_event_branch){
      .name = branch->name,
      .url = branch->url,
      .payload = branch->has_payload ? content->payload : NULL,
      .payload_bytes = branch->has_payload ? strlen(content->payload) : 0};
}

static void begin(struct sim *s, struct sim_coordinator *c, struct sim_call *call) {
  const struct sim_plan *plan = &s->plans[call->plan];
  struct vow_event_branch branches[SIM_BRANCHES_MAX];
  struct vow_event event = {.type = VOW_EVENT_BEGIN};
  uint32_t count = 0;

  for (uint32_t i = 0; i < plan->branch_count; i++) {
    if (plan->branches[i].at_begin) branches[count++] = branch_of(s, plan, i);
  }
  event.u.begin.timeout_ms = plan->timeout_ms;
  event.u.begin.metadata = plan->metadata;
  event.u.begin.idempotency_key = plan->key[0] != '\0' ? plan->key : NULL;
  event.u.begin.request_hash[0] = plan->hash;
  event.u.begin.branches = branches;
  event.u.begin.branch_count = count;
  event.u.begin.commit = plan->one_shot;
  event.u.begin.no_wait = plan->no_wait;
  submit(s, c, call, &event);
}

/* ---- from the log ---- */

/* The query runs when everything that is queued now has been written. */
static void query(struct sim *s, struct sim_coordinator *c, struct sim_call *call) {
  call->needs = c->last_position;
  call->life = c->life;
  struct sim_event *event = sim_at(s, sim_draw(s, 4), SIM_C_QUERY, node_of(c));
  event->index = call->serial;
  event->life = c->life;
  if (c->disk.position < call->needs && !c->syncing) {
    sim_at(s, 0, SIM_C_SYNC, node_of(c))->life = c->life;
  }
}

/* The newest with this key. */
static const struct vow_txn *find_key(const struct sim_coordinator *c, uint32_t txn_count,
                                      const char *key) {
  const struct vow_txn *found = NULL;
  for (uint32_t i = 0; i < txn_count; i++) {
    const struct vow_txn *image = c->disk.table[i].used ? &c->disk.table[i].image : NULL;
    if (image == NULL || image->idempotency_key == NULL) continue;
    if (strcmp(image->idempotency_key, key) != 0) continue;
    if (found == NULL || vow_id_compare(image->id, found->id) > 0) found = image;
  }
  return found;
}

/* The row as the log's reader makes it: a decision that was read is durable. */
static struct vow_txn shown(const struct vow_txn *row) {
  struct vow_txn image = *row;
  image.decision_durable = image.state >= VOW_TXN_COMMITTING;
  return image;
}

static void answer_ended(struct sim *s, struct sim_call *call, const struct vow_txn *row) {
  struct vow_txn image = shown(row);
  struct sim_answer answer = {.id = image.id, .has_id = true, .outcome = vow_txn_outcome(&image)};
  bool aborted = answer.outcome == VOW_OUTCOME_ABORTED;

  if (call->type == VOW_EVENT_COMMIT || call->type == VOW_EVENT_BEGIN) {
    answer.error = vow_txn_commit_error(&image);
  } else if (call->type == VOW_EVENT_ENLIST) {
    answer.error = aborted ? VOW_E_ABORTED : VOW_E_ILLEGAL_STATE;
  } else if (call->type == VOW_EVENT_ABORT) {
    answer.error = aborted ? VOW_OK : VOW_E_ILLEGAL_STATE;
  } else if (!(call->type == VOW_EVENT_FORGET && image.forgotten)) {
    answer.error = VOW_E_ILLEGAL_STATE;
  }
  sim_probe(s, SIM_PROBE_FROM_LOG);
  sim_say(s, SIM_COORDINATOR + (int)call->to, "answers #%u from the log: t%u is %s", call->serial,
          sim_txn_of(s, image.id), vow_outcome_name(answer.outcome));
  sim_told(s, image.id, answer.outcome, "a client, from the log");
  if (call->type == VOW_EVENT_BEGIN) {
    sim_told_key(s, sim_txn_of(s, image.id), &s->plans[call->plan], answer.outcome);
  }
  sim_answer_call(s, call, &answer);
}

static bool is_of_this_log(const struct sim_coordinator *c, struct vow_id id) {
  return vow_id_unix_ms(id) >= c->created_ms && vow_core_may_presume(c->core, id);
}

/* Of what has committed nothing is presumed, and only since its id lies between two starts. */
static void probe_gap(struct sim *s, const struct sim_coordinator *c, struct vow_id id) {
  bool unknown = vow_core_quarantined(c->core) || vow_id_compare(id, c->disk.presume_from) < 0;
  if (unknown || !vow_core_never_issued(c->core, id)) return;
  if (s->txns[sim_txn_of(s, id)].committed) sim_probe(s, SIM_PROBE_GAP);
}

/* A client is not told "aborted" of what is so old that its end may have been purged. */
static bool is_presumed(struct sim *s, const struct sim_coordinator *c, struct vow_id id) {
  probe_gap(s, c, id);
  if (!is_of_this_log(c, id)) return false;
  if (s->mistake == SIM_MISTAKE_PURGE_BLIND || vow_id_compare(id, c->disk.purged_to) > 0)
    return true;
  if (s->txns[sim_txn_of(s, id)].committed) sim_probe(s, SIM_PROBE_HISTORY_PURGED);
  return false;
}

static void answer_unknown(struct sim *s, struct sim_coordinator *c, struct sim_call *call) {
  struct sim_answer answer = {.error = VOW_E_UNKNOWN_TRANSACTION};
  bool operates = call->type == VOW_EVENT_RESOLVE || call->type == VOW_EVENT_FORGET;
  if (!operates && is_presumed(s, c, call->id)) {
    answer.error = call->type == VOW_EVENT_ABORT ? VOW_OK : VOW_E_ABORTED;
    answer.outcome = VOW_OUTCOME_ABORTED;
    answer.id = call->id;
    answer.has_id = true;
    sim_say(s, node_of(c), "answers #%u: t%u is presumed aborted", call->serial,
            sim_txn_of(s, call->id));
    sim_told(s, call->id, VOW_OUTCOME_ABORTED, "a client, by presumption");
  }
  sim_answer_call(s, call, &answer);
}

/* Of an undecided delegate an operator must say what it did. This one says anything, also where the
 * delegate had spoken, and the end was told, before a crash. */
static void note_overruled(struct sim *s, const struct sim_coordinator *c,
                           const struct sim_call *call) {
  const struct vow_txn *txn = find_open(c, call->id);
  if (call->type != VOW_EVENT_RESOLVE || call->branch == 0) return;
  if (txn->delegated && txn->state == VOW_TXN_PREPARING) {
    s->txns[sim_txn_of(s, call->id)].overruled = true;
  }
}

static void act_on_open(struct sim *s, struct sim_coordinator *c, struct sim_call *call) {
  struct vow_event event = {.type = call->type};
  const struct sim_plan *plan = &s->plans[call->plan];

  if (call->type == VOW_EVENT_ENLIST) {
    event.u.enlist = branch_of(s, plan, call->branch);
    if (s->mistake == SIM_MISTAKE_ENLIST_OTHER && plan->tries > 0) event.u.enlist.url = "http://p9";
  } else if (call->type == VOW_EVENT_COMMIT) {
    event.u.finish.no_wait = plan->no_wait && sim_chance(s, 500);
  } else if (call->type == VOW_EVENT_RESOLVE || call->type == VOW_EVENT_FORGET) {
    event.u.operate.outcome = call->outcome;
    event.u.operate.branch = call->branch;
    event.u.operate.reason = "because";
    note_overruled(s, c, call);
  }
  submit(s, c, call, &event);
}

static void found(struct sim *s, struct sim_coordinator *c, struct sim_call *call,
                  const struct vow_txn *row) {
  if (find_open(c, call->id) != NULL) {
    act_on_open(s, c, call);
  } else if (row != NULL && row->ended_ms != 0) {
    answer_ended(s, call, row);
  } else if (c->loading) {
    answer_error(s, call, VOW_E_LOADING);
  } else {
    answer_unknown(s, c, call);
  }
}

/* ---- inquiries ---- */

static enum vow_inquiry_answer say_outcome(enum vow_outcome outcome) {
  if (outcome == VOW_OUTCOME_COMMITTED) return VOW_INQUIRY_COMMITTED;
  return outcome == VOW_OUTCOME_ABORTED ? VOW_INQUIRY_ABORTED : VOW_INQUIRY_UNDECIDED;
}

static enum vow_inquiry_answer inquire(struct sim *s, struct sim_coordinator *c, struct vow_id id) {
  const struct vow_txn *open = find_open(c, id);
  const struct vow_txn *row = sim_c_row(s, sim_txn_of(s, id));

  if (open != NULL) {
    enum vow_inquiry_answer answer = say_outcome(outcome_of(s, open));
    if (answer == VOW_INQUIRY_UNDECIDED) {
      sim_probe(s, SIM_PROBE_UNDECIDED);
      if (s->mistake == SIM_MISTAKE_UNDECIDED_ABORTS) return VOW_INQUIRY_ABORTED;
    }
    return answer;
  }
  if (s->mistake != SIM_MISTAKE_NO_HISTORY && row != NULL && row->ended_ms != 0) {
    struct vow_txn image = shown(row);
    return say_outcome(vow_txn_outcome(&image));
  }
  if (vow_core_quarantined(c->core)) sim_probe(s, SIM_PROBE_QUARANTINE_ASKED);
  if (!c->loading) probe_gap(s, c, id);
  if (c->loading || !is_of_this_log(c, id)) return VOW_INQUIRY_UNKNOWN;
  sim_probe(s, SIM_PROBE_PRESUMED);
  return VOW_INQUIRY_ABORTED;
}

/* The route is for participants in doubt. Nobody can be in doubt of a commit that was purged; but a
 * client, which has no business here, and a question that was long on its way may be told "aborted"
 * of it. */
static bool counts(struct sim *s, const struct sim_call *call, uint32_t index) {
  uint32_t txn = sim_txn_of(s, call->asked[index]);
  if (!s->txns[txn].committed || sim_c_row(s, txn) != NULL) return true;
  if (call->from == SIM_CLIENTS) return false;
  return sim_record_of(s, txn, call->asked_branch[index])->kind == VOW_PRECORD_PREPARED;
}

static void answer_inquiry(struct sim *s, struct sim_coordinator *c, struct sim_call *call) {
  struct sim_answer answer = {.error = VOW_OK, .log = vow_core_log(c->core)};
  for (uint32_t i = 0; i < call->asked_count; i++) {
    uint32_t txn = sim_txn_of(s, call->asked[i]);
    answer.inquiry[i] = inquire(s, c, call->asked[i]);
    enum vow_outcome outcome = answer.inquiry[i] == VOW_INQUIRY_COMMITTED ? VOW_OUTCOME_COMMITTED
                               : answer.inquiry[i] == VOW_INQUIRY_ABORTED ? VOW_OUTCOME_ABORTED
                                                                          : VOW_OUTCOME_NONE;
    sim_say(s, node_of(c), "tells #%u that t%u is %s", call->serial, txn,
            vow_inquiry_answer_name(answer.inquiry[i]));
    if (!counts(s, call, i)) continue;
    sim_told(s, call->asked[i], outcome, "whoever inquires");
    answer.outcome = outcome;
  }
  sim_answer_call(s, call, &answer);
}

/* ---- calls ---- */

static void begin_with_key(struct sim *s, struct sim_coordinator *c, struct sim_call *call) {
  const struct sim_plan *plan = &s->plans[call->plan];
  const struct vow_txn *row = find_key(c, s->txn_count, plan->key);

  if (row == NULL || vow_core_find_key(c->core, plan->key) != NULL) {
    begin(s, c, call);
  } else if (row->request_hash[0] != plan->hash) {
    answer_error(s, call, VOW_E_KEY_CONFLICT);
  } else if (row->ended_ms == 0) {
    answer_error(s, call, VOW_E_LOADING);
  } else {
    answer_ended(s, call, row);
  }
}

void sim_c_query(struct sim *s, struct sim_coordinator *c, struct sim_call *call) {
  if (call->life != c->life) return;
  if (c->disk.position < call->needs) {
    struct sim_event *event = sim_at(s, 2, SIM_C_QUERY, node_of(c));
    event->index = call->serial;
    event->life = c->life;
    if (!c->syncing) sim_at(s, 0, SIM_C_SYNC, node_of(c))->life = c->life;
    return;
  }
  if (call->type == 0) {
    answer_inquiry(s, c, call);
  } else if (call->type == VOW_EVENT_BEGIN) {
    begin_with_key(s, c, call);
  } else {
    uint32_t txn = sim_txn_of(s, call->id);
    found(s, c, call, s->mistake == SIM_MISTAKE_NO_HISTORY ? NULL : sim_c_row(s, txn));
  }
}

static void cancel(struct sim *s, struct sim_coordinator *c, const struct sim_call *call) {
  struct sim_call *other = sim_call_find(s, call->branch);
  if (other == NULL || !other->in_core || other->life != c->life) return;
  struct vow_event event = {.type = VOW_EVENT_CANCEL, .token = other->serial};
  other->in_core = false;
  sim_c_step(s, c, &event);
}

void sim_c_call_arrives(struct sim *s, struct sim_call *call) {
  struct sim_coordinator *c = &s->c[call->to];
  if (c->core == NULL) return; /* nobody answers; the caller gives up in time */
  if (call->type == 0) {
    uint32_t life = c->life;
    sim_c_witness(s, c, call->seen);
    if (c->life == life) query(s, c, call);
  } else if (call->type == VOW_EVENT_CANCEL) {
    cancel(s, c, call);
  } else if (call->type == VOW_EVENT_BEGIN) {
    const char *key = s->plans[call->plan].key;
    if (key[0] == '\0' || vow_core_find_key(c->core, key) != NULL) {
      if (key[0] != '\0') sim_probe(s, SIM_PROBE_KEY_TWIN);
      begin(s, c, call);
    } else {
      query(s, c, call);
    }
  } else if (find_open(c, call->id) != NULL) {
    act_on_open(s, c, call);
  } else {
    query(s, c, call);
  }
}
