/*
 * The coordinator's API: what coordinator/api does with a request. What is open goes to the core;
 * what has ended is answered from the log, after everything queued before; what nobody knows was
 * presumably aborted, unless the log is still being read.
 */
#include <string.h>

#include "sim.h"

static const struct vow_txn *find_open(const struct sim *s, struct vow_id id) {
  return vow_core_find(s->c.core, id);
}

static void answer_error(struct sim *s, struct sim_call *call, enum vow_error error) {
  struct sim_answer answer = {.error = error};
  if (error == VOW_E_LOADING) sim_probe(s, SIM_PROBE_LOADING);
  sim_answer_call(s, call, &answer);
}

/* ---- with the core ---- */

static void submit(struct sim *s, struct sim_call *call, struct vow_event *event) {
  event->type = call->type;
  event->token = call->serial;
  event->id = call->id;
  call->in_core = true;
  call->life = s->c.life;
  sim_c_step(s, event);
}

void sim_c_answer(struct sim *s, const struct vow_action *action) {
  struct sim_call *call = sim_call_find(s, (uint32_t)action->u.answer.token);
  const struct vow_txn *txn = action->u.answer.txn;
  struct sim_answer answer = {.error = action->u.answer.error, .pending = action->u.answer.pending};

  sim_check(s, call != NULL && call->in_core && call->life == s->c.life, "tokens",
            "token %llu is answered, but nobody waits for it",
            (unsigned long long)action->u.answer.token);
  call->in_core = false;
  if (txn != NULL) {
    sim_see(s, txn);
    answer.id = txn->id;
    answer.has_id = true;
    answer.outcome = vow_txn_outcome(txn);
    sim_check(s, vow_id_compare(txn->id, s->c.ceiling) < 0, "C6",
              "an id was shown that is not below the durable ceiling");
    sim_told(s, txn->id, answer.outcome, "a client");
    if (call->type == VOW_EVENT_BEGIN) sim_told_key(s, &s->plans[call->plan], answer.outcome);
    if (call->type == VOW_EVENT_BEGIN && !action->u.answer.created && !answer.error) {
      sim_probe(s, SIM_PROBE_KEY_REPEATED);
    }
  }
  sim_say(s, SIM_COORDINATOR, "answers #%u %s%s%s", call->serial, vow_error_slug(answer.error),
          answer.pending ? " pending" : "",
          answer.outcome == VOW_OUTCOME_NONE ? "" : vow_outcome_name(answer.outcome));
  sim_answer_call(s, call, &answer);
}

static void begin(struct sim *s, struct sim_call *call) {
  const struct sim_plan *plan = &s->plans[call->plan];
  struct vow_event_branch branches[SIM_BRANCHES_MAX];
  struct vow_event event = {.type = VOW_EVENT_BEGIN};
  uint32_t count = 0;

  for (uint32_t i = 0; i < plan->branch_count; i++) {
    const struct sim_plan_branch *branch = &plan->branches[i];
    if (!branch->at_begin) continue;
    branches[count++] = (struct vow_event_branch){
        .name = branch->name,
        .url = branch->url,
        .payload = branch->has_payload ? branch->payload : NULL,
        .payload_bytes = branch->has_payload ? strlen(branch->payload) : 0};
  }
  event.u.begin.timeout_ms = plan->timeout_ms;
  event.u.begin.metadata = plan->metadata;
  event.u.begin.idempotency_key = plan->key[0] != '\0' ? plan->key : NULL;
  event.u.begin.branches = branches;
  event.u.begin.branch_count = count;
  event.u.begin.commit = plan->one_shot;
  event.u.begin.no_wait = plan->no_wait;
  submit(s, call, &event);
}

/* ---- from the log ---- */

/* The query runs when everything that is queued now has been written. */
static void query(struct sim *s, struct sim_call *call) {
  call->needs = s->c.last_position;
  call->life = s->c.life;
  struct sim_event *event = sim_at(s, sim_draw(s, 4), SIM_C_QUERY, SIM_COORDINATOR);
  event->index = call->serial;
  event->life = s->c.life;
  if (s->c.position < call->needs && !s->c.syncing) {
    sim_at(s, 0, SIM_C_SYNC, SIM_COORDINATOR)->life = s->c.life;
  }
}

static const struct vow_txn *find_key(const struct sim *s, const char *key) {
  for (uint32_t i = 0; i < s->txn_count; i++) {
    const struct vow_txn *image = sim_c_row(s, i);
    if (image == NULL || image->idempotency_key == NULL) continue;
    if (strcmp(image->idempotency_key, key) == 0) return image;
  }
  return NULL;
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
  sim_say(s, SIM_COORDINATOR, "answers #%u from the log: t%u is %s", call->serial,
          sim_txn_of(s, image.id), vow_outcome_name(answer.outcome));
  sim_told(s, image.id, answer.outcome, "a client, from the log");
  if (call->type == VOW_EVENT_BEGIN) sim_told_key(s, &s->plans[call->plan], answer.outcome);
  sim_answer_call(s, call, &answer);
}

static bool is_of_this_log(const struct sim *s, struct vow_id id) {
  return vow_id_compare(id, vow_core_id_ceiling(s->c.core)) < 0;
}

static void answer_unknown(struct sim *s, struct sim_call *call) {
  struct sim_answer answer = {.error = VOW_E_UNKNOWN_TRANSACTION};
  bool operates = call->type == VOW_EVENT_RESOLVE || call->type == VOW_EVENT_FORGET;
  if (!operates && is_of_this_log(s, call->id)) {
    answer.error = call->type == VOW_EVENT_ABORT ? VOW_OK : VOW_E_ABORTED;
    answer.outcome = VOW_OUTCOME_ABORTED;
    answer.id = call->id;
    answer.has_id = true;
    sim_say(s, SIM_COORDINATOR, "answers #%u: t%u is presumed aborted", call->serial,
            sim_txn_of(s, call->id));
    sim_told(s, call->id, VOW_OUTCOME_ABORTED, "a client, by presumption");
  }
  sim_answer_call(s, call, &answer);
}

/* Of an undecided delegate an operator must say what it did. This one says anything, also where the
 * delegate had spoken, and the end was told, before a crash. */
static void note_overruled(struct sim *s, const struct sim_call *call) {
  const struct vow_txn *txn = find_open(s, call->id);
  if (call->type != VOW_EVENT_RESOLVE || call->branch == 0) return;
  if (txn->delegated && txn->state == VOW_TXN_PREPARING) {
    s->txns[sim_txn_of(s, call->id)].overruled = true;
  }
}

static void act_on_open(struct sim *s, struct sim_call *call) {
  struct vow_event event = {.type = call->type};
  const struct sim_plan *plan = &s->plans[call->plan];

  if (call->type == VOW_EVENT_ENLIST) {
    const struct sim_plan_branch *branch = &plan->branches[call->branch];
    event.u.enlist = (struct vow_event_branch){
        .name = branch->name,
        .url = branch->url,
        .payload = branch->has_payload ? branch->payload : NULL,
        .payload_bytes = branch->has_payload ? strlen(branch->payload) : 0};
  } else if (call->type == VOW_EVENT_COMMIT) {
    event.u.finish.no_wait = plan->no_wait && sim_chance(s, 500);
  } else if (call->type == VOW_EVENT_RESOLVE || call->type == VOW_EVENT_FORGET) {
    event.u.operate.outcome = call->outcome;
    event.u.operate.branch = call->branch;
    event.u.operate.reason = "because";
    note_overruled(s, call);
  }
  submit(s, call, &event);
}

static void found(struct sim *s, struct sim_call *call, const struct vow_txn *row) {
  if (find_open(s, call->id) != NULL) {
    act_on_open(s, call);
  } else if (row != NULL && row->ended_ms != 0) {
    answer_ended(s, call, row);
  } else if (s->c.loading) {
    answer_error(s, call, VOW_E_LOADING);
  } else {
    answer_unknown(s, call);
  }
}

/* ---- inquiries ---- */

static enum vow_inquiry_answer say_outcome(enum vow_outcome outcome) {
  if (outcome == VOW_OUTCOME_COMMITTED) return VOW_INQUIRY_COMMITTED;
  return outcome == VOW_OUTCOME_ABORTED ? VOW_INQUIRY_ABORTED : VOW_INQUIRY_UNDECIDED;
}

static enum vow_inquiry_answer inquire(struct sim *s, struct vow_id id, bool looked) {
  const struct vow_txn *open = find_open(s, id);
  const struct vow_txn *row = sim_c_row(s, sim_txn_of(s, id));
  bool blind = s->mutant == SIM_MUTANT_NO_HISTORY;

  if (open != NULL) {
    enum vow_inquiry_answer answer = say_outcome(vow_txn_outcome(open));
    if (answer == VOW_INQUIRY_UNDECIDED) {
      sim_probe(s, SIM_PROBE_UNDECIDED);
      if (s->mutant == SIM_MUTANT_UNDECIDED_ABORTS) return VOW_INQUIRY_ABORTED;
    }
    return answer;
  }
  if (looked && !blind && row != NULL && row->ended_ms != 0) {
    struct vow_txn image = shown(row);
    return say_outcome(vow_txn_outcome(&image));
  }
  if (s->c.loading || !is_of_this_log(s, id)) return VOW_INQUIRY_UNKNOWN;
  sim_probe(s, SIM_PROBE_PRESUMED);
  return VOW_INQUIRY_ABORTED;
}

static void answer_inquiry(struct sim *s, struct sim_call *call) {
  struct sim_answer answer = {.error = VOW_OK};
  for (uint32_t i = 0; i < call->asked_count; i++) {
    answer.inquiry[i] = inquire(s, call->asked[i], true);
    enum vow_outcome outcome = answer.inquiry[i] == VOW_INQUIRY_COMMITTED ? VOW_OUTCOME_COMMITTED
                               : answer.inquiry[i] == VOW_INQUIRY_ABORTED ? VOW_OUTCOME_ABORTED
                                                                          : VOW_OUTCOME_NONE;
    sim_say(s, SIM_COORDINATOR, "tells #%u that t%u is %s", call->serial,
            sim_txn_of(s, call->asked[i]), vow_inquiry_answer_name(answer.inquiry[i]));
    sim_told(s, call->asked[i], outcome, "whoever inquires");
    answer.outcome = outcome;
  }
  sim_answer_call(s, call, &answer);
}

/* ---- calls ---- */

void sim_c_query(struct sim *s, struct sim_call *call) {
  if (call->life != s->c.life) return;
  if (s->c.position < call->needs) {
    struct sim_event *event = sim_at(s, 2, SIM_C_QUERY, SIM_COORDINATOR);
    event->index = call->serial;
    event->life = s->c.life;
    if (!s->c.syncing) sim_at(s, 0, SIM_C_SYNC, SIM_COORDINATOR)->life = s->c.life;
    return;
  }
  if (call->type == 0) {
    answer_inquiry(s, call);
  } else if (call->type == VOW_EVENT_BEGIN) {
    const char *key = s->plans[call->plan].key;
    const struct vow_txn *row = find_key(s, key);
    if (row == NULL || vow_core_find_key(s->c.core, key) != NULL) {
      begin(s, call);
    } else if (row->ended_ms == 0) {
      answer_error(s, call, VOW_E_LOADING);
    } else {
      answer_ended(s, call, row);
    }
  } else {
    uint32_t txn = sim_txn_of(s, call->id);
    found(s, call, s->mutant == SIM_MUTANT_NO_HISTORY ? NULL : sim_c_row(s, txn));
  }
}

void sim_c_call_arrives(struct sim *s, struct sim_call *call) {
  if (s->c.core == NULL) return; /* nobody answers; the caller gives up in time */
  if (call->type == 0) {
    query(s, call);
  } else if (call->type == VOW_EVENT_CANCEL) {
    struct sim_call *other = sim_call_find(s, call->branch);
    if (other == NULL || !other->in_core || other->life != s->c.life) return;
    struct vow_event event = {.type = VOW_EVENT_CANCEL, .token = other->serial};
    other->in_core = false;
    sim_c_step(s, &event);
  } else if (call->type == VOW_EVENT_BEGIN) {
    const char *key = s->plans[call->plan].key;
    if (key[0] == '\0' || vow_core_find_key(s->c.core, key) != NULL) {
      begin(s, call);
    } else {
      query(s, call);
    }
  } else if (find_open(s, call->id) != NULL) {
    act_on_open(s, call);
  } else {
    query(s, call);
  }
}
