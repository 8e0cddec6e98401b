/*
 * The operator's tool: `vowctl reconcile --apply` on one coordinator's log, in virtual time. What
 * it concludes and writes is the real code of coordinator/ctl; whom it asks, over which network,
 * and what it can be killed in the middle of is here. Participants answer from their real cores.
 *
 * Its operator names all participants, goes on without one only if that one did not answer before,
 * and decides what nobody can prove as the runbook says: as clients were told, and else an abort.
 */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define ANSWER_TIMEOUT_MS 1000

static struct sim_coordinator *subject(struct sim *s) {
  return &s->c[s->tool.coordinator];
}

static struct sim_event *later(struct sim *s, uint64_t delay_ms, enum sim_event_kind kind,
                               int node) {
  struct sim_event *event = sim_at(s, delay_ms, kind, node);
  event->index = s->tool.question;
  if (node == SIM_OPERATOR) event->life = s->tool.life;
  return event;
}

/* ---- life and death ---- */

void sim_tool_stop(struct sim *s) {
  struct sim_tool *tool = &s->tool;
  ctl_reconcile_fini(&tool->r);
  memset(&tool->r, 0, sizeof tool->r);
  free(tool->answer.branches);
  tool->answer = (struct vow_known_reply){.count = 0};
  tool->stage = SIM_TOOL_IDLE;
  tool->life++;
}

/* Its operator starts the daemon; but perhaps the tool once more before that. */
static void leave(struct sim *s, uint64_t delay_ms) {
  struct sim_coordinator *c = subject(s);
  sim_tool_stop(s);
  sim_at(s, delay_ms, SIM_C_START, SIM_COORDINATOR + (int)c->number)->life = c->life;
}

static void give_up(struct sim *s) {
  leave(s, 1 + sim_draw(s, 2000));
}

void sim_tool_kill(struct sim *s, enum sim_death death, bool keep) {
  struct sim_coordinator *c = subject(s);
  sim_say(s, SIM_OPERATOR, "---- its tool is killed%s ----",
          keep ? ", what it was writing is kept" : "");
  sim_probe(s, SIM_PROBE_TOOL_KILLED);
  if (s->tool.stage == SIM_TOOL_WRITING) sim_probe(s, SIM_PROBE_TOOL_KILLED_WRITING);
  sim_c_lose_log(s, c, death, keep);
  give_up(s);
}

bool sim_tool_works_on(const struct sim *s, const struct sim_coordinator *c) {
  return s->tool.stage != SIM_TOOL_IDLE && s->tool.coordinator == c->number;
}

/* True: it died before this step. */
static bool dies(struct sim *s) {
  const struct sim_crash *crash = sim_crash_due(s, SIM_OPERATOR, ++s->tool.actions);
  if (crash == NULL && !sim_fault(s, SIM_FAULT_CRASH_O, 40)) return false;
  bool power = sim_fault(s, SIM_FAULT_POWER, 500);
  bool keep = crash != NULL ? crash->keep : sim_chance(s, 500);
  sim_tool_kill(s, power ? SIM_POWER_CUT : SIM_KILLED, keep);
  return true;
}

/* ---- opening the log ---- */

/* Its starts are counted, as those of a daemon are. */
static bool open_log(struct sim *s, struct sim_coordinator *c) {
  struct vow_log_info *info = &s->tool.r.info;
  if (!sim_c_settle(s, c)) return false;
  info->witnessed = c->witness;
  sim_c_begin_incarnation(s, c);
  info->incarnation = c->disk.incarnation;
  info->position = c->disk.position;
  info->known = c->disk.known;
  info->known_count = c->disk.known_count;
  info->quarantined_ms = c->disk.quarantined;
  info->seen = c->disk.seen;
  info->presume_from = c->disk.presume_from;
  info->created_ms = c->created_ms;
  info->id_ceiling = c->disk.ceiling;
  info->id_from = c->id_from;
  info->gaps = c->disk.gaps;
  info->gap_count = s->mistake == SIM_MISTAKE_GAP_UNHEARD ? 0 : c->disk.gap_count;
  return true;
}

static bool name_participants(struct sim *s) {
  struct ctl_places *places = &s->tool.r.places;
  bool ok = true;
  for (uint32_t i = 0; ok && i < s->participant_count; i++) {
    ok = ctl_places_add(places, sim_p_url(i));
    bool leaves_out = (s->tool.away >> i & 1) != 0 && sim_fault(s, SIM_FAULT_AWAY, 600);
    if (!ok || !leaves_out) continue;
    places->items[i].left_out = true;
    subject(s)->unheard = true;
    sim_say(s, SIM_OPERATOR, "goes on without p%u", i);
    sim_probe(s, SIM_PROBE_TOOL_WITHOUT);
  }
  return ok;
}

/* ---- asking ---- */

static struct ctl_place *place(struct sim *s) {
  return &s->tool.r.places.items[s->tool.place];
}

static bool is_to_be_asked(struct sim *s) {
  if (place(s)->left_out) return false;
  return s->tool.stage == SIM_TOOL_IN_DOUBT || place(s)->answered;
}

static void ask_next(struct sim *s);

static void ask(struct sim *s) {
  int node = SIM_PARTICIPANT + (int)s->tool.place;
  s->tool.question++;
  (void)later(s, ANSWER_TIMEOUT_MS, SIM_TOOL_TIMES_OUT, SIM_OPERATOR);
  sim_say(s, SIM_OPERATOR, "asks p%u what %s", s->tool.place,
          s->tool.stage == SIM_TOOL_IN_DOUBT ? "is in doubt" : "it knows");
  if (sim_is_cut(s, SIM_OPERATOR, node) || sim_fault(s, SIM_FAULT_LOSE, 60)) return;
  (void)later(s, sim_delay_ms(s), SIM_TOOL_ASKS, node);
}

/* What of a coordinator that was stopped has not arrived when its participant is asked never will:
 * its connections are gone. */
static void fence(struct sim *s, struct sim_participant *p) {
  p->fence[s->tool.coordinator] = subject(s)->life;
}

static bool concerns(struct sim *s, const struct vow_pbranch *b) {
  const char *url = sim_c_url(s->tool.coordinator);
  if (s->tool.stage == SIM_TOOL_KNOWN) {
    return ctl_cases_find(&s->tool.r.cases, b->transaction) != NULL;
  }
  return vow_pbranch_in_doubt(b) && strcmp(vow_pbranch_coordinator(b), url) == 0;
}

/* What participant-sdk/io/known.c answers. False: that it does not know yet. */
static bool tell(struct sim *s, struct sim_participant *p) {
  struct vow_known_reply *out = &s->tool.answer;
  const char *url = sim_c_url(s->tool.coordinator);
  const struct vow_pbranch *b = NULL;
  free(out->branches);
  *out = (struct vow_known_reply){.seen = vow_pcore_seen(p->core, url)};
  out->branches = calloc(SIM_TXNS_MAX, sizeof *out->branches);
  if (out->branches == NULL) abort();
  while ((b = vow_pcore_next(p->core, b)) != NULL && out->count < SIM_TXNS_MAX) {
    if (!concerns(s, b)) continue;
    bool asks = s->tool.stage == SIM_TOOL_KNOWN;
    bool ended = vow_pbranch_known(b) == VOW_KNOWN_COMMITTED;
    if (s->mistake == SIM_MISTAKE_KNOWN_FORGETS && asks && ended) continue;
    if (s->mistake == SIM_MISTAKE_KNOWN_EARLY) asks = false;
    if (asks && vow_pbranch_may_commit(b)) return false;
    out->branches[out->count++] = (struct vow_known_branch){
        .transaction = b->transaction, .branch = b->number, .state = vow_pbranch_known(b)};
    if (s->tool.stage == SIM_TOOL_IN_DOUBT)
      out->branches[out->count - 1].state = VOW_KNOWN_PREPARED;
  }
  if (s->tool.stage == SIM_TOOL_KNOWN) {
    out->finished_below = vow_pcore_finished_below(p->core, url);
    out->newest = vow_pcore_newest(p->core, url);
  }
  sim_say(s, SIM_PARTICIPANT + (int)p->number, "tells of %zu branches", out->count);
  return true;
}

void sim_tool_asks(struct sim *s, const struct sim_event *event) {
  struct sim_participant *p = &s->p[event->node - SIM_PARTICIPANT];
  if (event->index != s->tool.question) return; /* nobody waits for it any more */
  fence(s, p);
  bool told = p->core != NULL && !sim_fault(s, SIM_FAULT_GARBAGE, 60) && tell(s, p);
  if (sim_is_cut(s, event->node, SIM_OPERATOR) || sim_fault(s, SIM_FAULT_LOSE_REPLY, 60)) return;
  later(s, sim_delay_ms(s), SIM_TOOL_TOLD, SIM_OPERATOR)->a = told;
}

/* Whoever answers the first question and not the second counts as one that did not answer. */
static void take(struct sim *s, bool told) {
  struct ctl_place *from = place(s);
  struct vow_known_reply *into = &from->in_doubt;
  if (s->tool.stage == SIM_TOOL_KNOWN) into = &from->known;
  from->answered = told;
  if (s->tool.stage == SIM_TOOL_KNOWN) from->tells = told;
  s->tool.away &= ~(UINT32_C(1) << s->tool.place);
  s->tool.away |= (uint32_t)!told << s->tool.place;
  if (!told) {
    sim_say(s, SIM_OPERATOR, "p%u does not tell", s->tool.place);
    sim_probe(s, SIM_PROBE_TOOL_SILENT);
    return;
  }
  free(into->branches);
  *into = s->tool.answer;
  s->tool.answer = (struct vow_known_reply){.count = 0};
}

void sim_tool_told(struct sim *s, const struct sim_event *event) {
  if (event->index != s->tool.question || s->tool.stage == SIM_TOOL_IDLE) return;
  s->tool.question++; /* the other of answer and timeout comes too late */
  if (dies(s)) return;
  take(s, event->kind == SIM_TOOL_TOLD && event->a != 0);
  s->tool.place++;
  ask_next(s);
}

/* ---- deciding ---- */

/* What the log has open, and what participants have in doubt. */
static bool collect(struct sim *s) {
  struct ctl_reconciliation *r = &s->tool.r;
  const struct sim_row *table = subject(s)->disk.table;
  bool ok = true;
  ctl_reconcile_listen(r, sim_wall_ms(s));
  for (uint32_t i = 0; ok && i < s->txn_count; i++) {
    if (!table[i].used || table[i].image.ended_ms != 0) continue;
    struct vow_txn copy = sim_image_copy(&table[i].image);
    ok = ctl_reconcile_add_open(r, &copy);
    vow_txn_fini(&copy);
  }
  for (size_t i = 0; i < r->places.count && s->mistake != SIM_MISTAKE_LOG_ONLY; i++) {
    const struct vow_known_reply *told = &r->places.items[i].in_doubt;
    for (size_t k = 0; ok && k < told->count; k++) {
      struct vow_id id = told->branches[k].transaction;
      const struct vow_txn *row = sim_c_row(s, sim_txn_of(s, id));
      if (!ctl_reconcile_concerns(r, id, row == NULL ? 0 : row->state)) continue;
      ok = ctl_cases_add(&r->cases, id, NULL);
    }
  }
  return ok;
}

static bool add_reports(struct ctl_reconciliation *r) {
  bool ok = true;
  for (size_t i = 0; i < r->places.count; i++) {
    const struct ctl_place *from = &r->places.items[i];
    const struct vow_known_reply *told = from->tells ? &from->known : &from->in_doubt;
    for (size_t k = 0; ok && k < told->count; k++) {
      ok = ctl_cases_report(&r->cases, i, &told->branches[k]);
    }
  }
  return ok;
}

/* As the runbook says: as a client was told, and else it is aborted. But the data are looked at of
 * one that is said to have ended, and of a participant that keeps its log apart from them: a crash
 * may have taken the note that they are committed. */
static bool has_committed(const struct sim *s, uint32_t index, bool over) {
  const struct sim_txn *txn = &s->txns[index];
  if (txn->told != VOW_OUTCOME_NONE) return txn->told == VOW_OUTCOME_COMMITTED;
  for (uint32_t b = 0; b < txn->branch_count; b++) {
    bool looks = over || !s->p[txn->branches[b].participant].config.atomic;
    if (looks && txn->branches[b].applied > 0) return true;
  }
  return false;
}

static bool goes_on_without_somebody(const struct ctl_reconciliation *r) {
  for (size_t i = 0; i < r->places.count; i++) {
    if (r->places.items[i].left_out) return true;
  }
  return false;
}

/* A person's word about all that is open. */
static void speak(struct sim *s) {
  struct ctl_reconciliation *r = &s->tool.r;
  for (size_t i = 0; i < r->cases.count; i++) {
    struct ctl_case *item = &r->cases.items[i];
    uint32_t txn = sim_txn_of(s, item->id);
    bool conflict = item->verdict == CTL_VERDICT_CONFLICT;
    if (!conflict && item->verdict != CTL_VERDICT_OPEN) continue;
    sim_check(s, !conflict || s->txns[txn].meddled, SIM_C12, "t%u is in conflict: %s", txn,
              item->why);
    bool commit = conflict || has_committed(s, txn, item->over);
    enum ctl_word word =
        ctl_reconcile_say(r, item->id, commit ? CTL_VERDICT_COMMIT : CTL_VERDICT_ABORT);
    sim_check(s, word == CTL_WORD_TAKEN || r->silent > 0, SIM_CONTRACT,
              "the operator's word on t%u is not taken", txn);
    /* Whoever was left out may come back, and have done otherwise. */
    if (word == CTL_WORD_TAKEN && goes_on_without_somebody(r)) {
      s->txns[txn].meddled = s->txns[txn].overruled = true;
    }
    if (word == CTL_WORD_TAKEN && item->over) sim_probe(s, SIM_PROBE_SAID_OVER);
    if (word == CTL_WORD_TAKEN) sim_probe(s, commit ? SIM_PROBE_SAID_COMMIT : SIM_PROBE_SAID_ABORT);
  }
}

/* Mistakes. */
static void err(struct sim *s) {
  struct ctl_reconciliation *r = &s->tool.r;
  if (s->mistake == SIM_MISTAKE_DEAF_TOOL) r->silent = 0;
  for (size_t i = 0; s->mistake == SIM_MISTAKE_ABORTS_KNOWN && i < r->cases.count; i++) {
    struct ctl_case *item = &r->cases.items[i];
    if (item->verdict == CTL_VERDICT_COMMIT) item->verdict = CTL_VERDICT_ABORT;
  }
}

static void note_verdicts(struct sim *s) {
  const struct ctl_reconciliation *r = &s->tool.r;
  for (size_t i = 0; i < r->cases.count; i++) {
    const struct ctl_case *item = &r->cases.items[i];
    bool commit = item->verdict == CTL_VERDICT_COMMIT;
    if (commit && item->txn.branch_count == 0) sim_probe(s, SIM_PROBE_ONLY_THERE);
    sim_say(s, SIM_OPERATOR, "t%u: %s, %s", sim_txn_of(s, item->id),
            ctl_verdict_name(item->verdict), item->why);
  }
}

/* ---- writing ---- */

static void write_decided(struct sim *s) {
  struct sim_coordinator *c = subject(s);
  struct ctl_reconciliation *r = &s->tool.r;
  struct vow_log_reconciled written = {.count = 0};
  struct vow_txn *txns = calloc(r->cases.count + 1, sizeof *txns);
  if (txns == NULL || !ctl_reconcile_write(r, sim_wall_ms(s), txns, &written)) abort();
  for (uint32_t i = 0; i < written.count; i++) sim_check_reconciled(s, &txns[i]);
  bool some = written.count > 0 || written.suspected != NULL;
  if (some) sim_c_reconcile(s, c, &written);
  for (uint32_t i = 0; i < written.count; i++) vow_txn_fini(&txns[i]);
  free(txns);
  if (!some) {
    leave(s, 1 + sim_draw(s, 500));
    return;
  }
  s->tool.stage = SIM_TOOL_WRITING;
  (void)later(s, 1 + sim_draw(s, 20), SIM_TOOL_WRITTEN, SIM_OPERATOR);
}

static void decide(struct sim *s) {
  struct ctl_reconciliation *r = &s->tool.r;
  if (!add_reports(r)) abort();
  ctl_reconcile_judge(r);
  err(s);
  speak(s);
  ctl_reconcile_count(r);
  note_verdicts(s);
  if (r->silent > 0 && sim_chance(s, 700)) {
    give_up(s); /* it wants to know more first */
    return;
  }
  if (r->silent > 0) sim_probe(s, SIM_PROBE_TOOL_PARTLY);
  write_decided(s);
}

void sim_tool_written(struct sim *s) {
  struct sim_coordinator *c = subject(s);
  if (dies(s)) return;
  if (sim_fault(s, SIM_FAULT_SYNC_C, 100)) {
    sim_tool_kill(s, SIM_FAILED_SYNC, sim_chance(s, 500));
    return;
  }
  sim_c_reconciled(s, c);
  leave(s, 1 + sim_draw(s, 500));
}

/* ---- one after the other ---- */

static void ask_next(struct sim *s) {
  struct sim_tool *tool = &s->tool;
  while (tool->place < tool->r.places.count && !is_to_be_asked(s)) tool->place++;
  if (tool->place < tool->r.places.count) {
    ask(s);
  } else if (tool->stage == SIM_TOOL_IN_DOUBT) {
    if (!collect(s)) abort();
    tool->stage = SIM_TOOL_KNOWN;
    tool->place = 0;
    ask_next(s);
  } else {
    decide(s);
  }
}

static void start(struct sim *s, struct sim_coordinator *c) {
  struct sim_tool *tool = &s->tool;
  if (c->core != NULL) sim_c_crash(s, c, SIM_KILLED);
  c->life++; /* nothing starts it but the operator */
  if (tool->coordinator != c->number) tool->away = 0;
  tool->coordinator = c->number;
  tool->stage = SIM_TOOL_IN_DOUBT;
  tool->place = 0;
  sim_say(s, SIM_OPERATOR, "stops c%u and reconciles its log", c->number);
  if (dies(s)) return;
  if (!open_log(s, c)) {
    give_up(s);
    return;
  }
  if (!name_participants(s)) abort();
  ask_next(s);
}

/* ---- the operator ---- */

/* A participant waits for an outcome that its coordinator will never presume. */
static bool waits_in_vain(const struct sim *s, const struct sim_coordinator *c) {
  for (uint32_t i = 0; i < s->participant_count; i++) {
    const struct sim_participant *p = &s->p[i];
    const struct vow_pbranch *b = NULL;
    while (p->core != NULL && (b = vow_pcore_next(p->core, b)) != NULL) {
      if (!vow_pbranch_in_doubt(b)) continue;
      if (strcmp(vow_pbranch_coordinator(b), sim_c_url(c->number)) != 0) continue;
      bool presumed = vow_id_compare(b->transaction, c->disk.presume_from) >= 0 &&
                      vow_id_compare(b->transaction, c->disk.ceiling) < 0 &&
                      !vow_id_in_gap(c->disk.gaps, c->disk.gap_count, b->transaction);
      if (presumed) continue;
      uint32_t t = 0;
      while (t < s->txn_count && vow_id_compare(s->txns[t].id, b->transaction) != 0) t++;
      if (t < s->txn_count && !c->disk.table[t].used) return true;
    }
  }
  return false;
}

static bool needs_a_hand(struct sim *s, const struct sim_coordinator *c, bool at_once) {
  if (c->disk.quarantined) return s->healed || at_once || sim_chance(s, 200);
  return s->healed && c->core != NULL && !c->loading && waits_in_vain(s, c);
}

/* Now and then; or at once, as the runbook has it, when a backup was restored. */
void sim_tool_acts(struct sim *s, bool at_once) {
  if (!at_once) sim_at(s, 100 + sim_draw(s, 900), SIM_TOOL_ACTS, SIM_OPERATOR);
  if (s->tool.stage != SIM_TOOL_IDLE) return;
  for (uint32_t i = 0; i < s->coordinator_count; i++) {
    if (!needs_a_hand(s, &s->c[i], at_once)) continue;
    start(s, &s->c[i]);
    return;
  }
}
