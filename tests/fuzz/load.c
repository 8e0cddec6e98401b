/*
 * A record of the coordinator's log, and the core that loads it. An input is an image of which any
 * member may be anything that the codec can read; it is written and read as the log does it. A core
 * that loads it either refuses it as damage, or drives it to its end with whatever participants
 * answer and operators do meanwhile; and what it writes of it is a record that a core loads.
 */
#include <string.h>

#include "core_config.h"
#include "fuzz.h"
#include "io/record.h"

#define BRANCHES_MAX   3
#define SENDS_MAX      8
#define TEXT_BYTES_MAX ((size_t)1 << 20)
#define POSITION       7   /* of the newest record, at the start */
#define TROUBLE        12  /* rounds in which anything is answered and done */
#define ROUNDS         200 /* until everything must have ended */

struct run {
  struct choices choices;
  struct vow_core *core;
  struct vow_id id;
  uint64_t now_ms, position, durable, asked, answered;
  struct vow_action_message sends[SENDS_MAX]; /* under way: their requests, one message each */
  uint64_t requests[SENDS_MAX];
  uint32_t send_count;
};

/* ---- the record ---- */

static char *choose_text(struct choices *c, const char *text) {
  return choose_flag(c) ? copy_text(text, strlen(text)) : NULL;
}

static void choose_branch(struct choices *c, struct vow_branch *branch, uint32_t number) {
  char name[] = {(char)('a' + number), '\0'};
  branch->number = number + 1 + (choose(c, 32) == 31);
  branch->name = copy_text(name, 1);
  branch->url = copy_text("http://a", 8);
  branch->state = (enum vow_branch_state)(1 + choose(c, VOW_BRANCH_UNKNOWN));
  branch->vote = (enum vow_vote)choose(c, VOW_VOTE_ABORT + 1);
  branch->outcome = (enum vow_outcome)choose(c, VOW_OUTCOME_HEURISTIC_HAZARD + 1);
  branch->resolved = choose(c, 4) == 3;
}

static struct vow_txn choose_image(struct choices *c) {
  struct vow_txn txn = {.id = vow_id_make(1600000000000, 1, 1), .created_ms = 1600000000000};
  txn.state = (enum vow_txn_state)(1 + choose(c, VOW_TXN_ABORTED));
  txn.heuristic = (enum vow_heuristic)choose(c, VOW_HEURISTIC_HAZARD + 1);
  txn.delegated = choose_flag(c);
  txn.forgotten = choose(c, 4) == 3;
  txn.presumed = choose_flag(c);
  txn.reason = choose_text(c, "no");
  txn.idempotency_key = choose_text(c, "k");
  txn.branch_count = choose(c, BRANCHES_MAX + 1);
  txn.branches = calloc(BRANCHES_MAX, sizeof *txn.branches);
  must(txn.branches != NULL);
  for (uint32_t i = 0; i < txn.branch_count; i++) choose_branch(c, &txn.branches[i], i);
  return txn;
}

/* As the log would keep it. */
static struct vow_txn record_of(const struct vow_txn *txn) {
  char why[VOW_JSON_WHY_BYTES];
  struct vow_txn record = {0};
  struct vow_buf text;

  vow_buf_init(&text, TEXT_BYTES_MAX);
  vow_record_write(&text, txn);
  must(text.error == VOW_OK);
  must(vow_record_read(txn->id, text.data, text.bytes, &record, why) == VOW_OK);
  vow_buf_fini(&text);
  return record;
}

/* ---- the core ---- */

static struct vow_event beginning(bool quarantined) {
  struct vow_event event = {.type = VOW_EVENT_LOAD_BEGIN};
  event.u.load_begin.position = POSITION;
  event.u.load_begin.incarnation = 2;
  event.u.load_begin.quarantined = quarantined;
  return event;
}

/* What is written of it is read again by the next start. */
static void must_load(const struct vow_txn *txn) {
  struct vow_txn record = record_of(txn);
  struct vow_event begin = beginning(false), event = {.type = VOW_EVENT_LOAD, .u.load = &record};
  struct vow_actions actions;
  struct vow_core *core = NULL;
  must(vow_core_new(&core, &core_config) == VOW_OK);
  must(vow_core_step(core, &begin, &actions) == VOW_OK);
  must(record.ended_ms != 0 || vow_core_step(core, &event, &actions) == VOW_OK);
  vow_core_free(core);
  vow_txn_fini(&record);
}

static void take(struct run *run, const struct vow_action *action) {
  must(action->after <= run->durable);
  switch (action->type) {
    case VOW_ACTION_LOG:
      must(action->u.log.position == ++run->position);
      if (action->u.log.record == VOW_RECORD_TXN) must_load(action->u.log.txn);
      break;
    case VOW_ACTION_SEND:
      must(run->send_count < SENDS_MAX && action->u.send.count == 1);
      run->sends[run->send_count] = action->u.send.messages[0];
      run->requests[run->send_count++] = action->u.send.request;
      break;
    case VOW_ACTION_ANSWER:
      run->answered++;
      break;
  }
}

static enum vow_error try(struct run *run, struct vow_event *event) {
  struct vow_actions actions = {0};
  event->now_ms = run->now_ms;
  event->wall_ms = 1700000000000 + run->now_ms;
  enum vow_error error = vow_core_step(run->core, event, &actions);
  for (uint32_t i = 0; i < actions.count; i++) take(run, &actions.items[i]);
  return error;
}

static void step(struct run *run, struct vow_event *event) {
  must(try(run, event) == VOW_OK);
}

/* ---- the world ---- */

/* A participant that does what it is told. */
static struct vow_message_reply obedience(enum vow_message_type type) {
  struct vow_message_reply reply = {.outcome = VOW_OUTCOME_ABORTED};
  if (type == VOW_MESSAGE_PREPARE) reply.vote = VOW_VOTE_ABORT;
  if (type == VOW_MESSAGE_COMMIT) reply.outcome = VOW_OUTCOME_COMMITTED;
  return reply;
}

static void reply(struct run *run, bool trouble) {
  struct vow_event event = {.type = VOW_EVENT_REPLY};
  event.u.reply.results = calloc(1, sizeof *event.u.reply.results);
  must(event.u.reply.results != NULL);
  event.u.reply.count = 1;
  event.u.reply.request = run->requests[0];
  event.u.reply.results[0].kind = VOW_REPLY_ANSWERED;
  event.u.reply.results[0].reply = obedience(run->sends[0].type);
  if (trouble && choose_flag(&run->choices)) {
    struct vow_message_reply *said = &event.u.reply.results[0].reply;
    event.u.reply.results[0].kind = (enum vow_reply_kind)(1 + choose(&run->choices, 5));
    event.u.reply.results[0].not_delivered = choose_flag(&run->choices);
    said->vote = (enum vow_vote)choose(&run->choices, VOW_VOTE_ABORT + 1);
    said->outcome = (enum vow_outcome)choose(&run->choices, VOW_OUTCOME_HEURISTIC_HAZARD + 1);
  }
  run->send_count--;
  memmove(run->sends, run->sends + 1, run->send_count * sizeof *run->sends);
  memmove(run->requests, run->requests + 1, run->send_count * sizeof *run->requests);
  step(run, &event);
  free(event.u.reply.results);
}

static void sync(struct run *run) {
  struct vow_event event = {.type = VOW_EVENT_DURABLE, .u.position = run->position};
  run->durable = run->position;
  step(run, &event);
}

static void operate(struct run *run, enum vow_event_type type, uint32_t branch,
                    enum vow_outcome outcome) {
  struct vow_event event = {.type = type, .id = run->id, .token = ++run->asked};
  event.u.operate.reason = "why not";
  event.u.operate.branch = branch;
  event.u.operate.outcome = outcome;
  step(run, &event);
}

static void act(struct run *run) {
  struct vow_event witness = {.type = VOW_EVENT_WITNESS};
  uint32_t branch = choose(&run->choices, BRANCHES_MAX + 1);
  switch (choose(&run->choices, 6)) {
    case 0:
      operate(run, VOW_EVENT_RESOLVE, branch, VOW_OUTCOME_COMMITTED);
      break;
    case 1:
      operate(run, VOW_EVENT_RESOLVE, branch, VOW_OUTCOME_ABORTED);
      break;
    case 2:
      operate(run, VOW_EVENT_FORGET, 0, VOW_OUTCOME_NONE);
      break;
    case 3:
      witness.u.witness.seen.incarnation = 1 + choose(&run->choices, 2);
      witness.u.witness.seen.position = 100;
      witness.u.witness.by = "somebody";
      step(run, &witness);
      break;
    default:
      break;
  }
}

static void one_round(struct run *run, bool trouble) {
  struct vow_event tick = {.type = VOW_EVENT_TICK};
  if (trouble) act(run);
  if (!trouble) operate(run, VOW_EVENT_FORGET, 0, VOW_OUTCOME_NONE);
  if (!trouble || choose_flag(&run->choices)) sync(run);
  for (uint32_t left = run->send_count; left > 0; left--) reply(run, trouble);
  uint64_t due = vow_core_next_deadline(run->core);
  if (due != UINT64_MAX && due > run->now_ms) run->now_ms = due;
  step(run, &tick);
}

/* In quarantine it waits until the log is reconciled, but nobody else waits with it. */
static void drive(struct run *run) {
  struct vow_event event = {.type = VOW_EVENT_LOAD_END};
  const struct vow_id first = {{0}};
  step(run, &event);
  sync(run);
  for (unsigned i = 0; i < TROUBLE && run->choices.left > 0; i++) one_round(run, true);
  for (unsigned i = 0; i < ROUNDS && vow_core_next(run->core, first) != NULL; i++) {
    one_round(run, false);
  }
  must(vow_core_next(run->core, first) == NULL || vow_core_quarantined(run->core));
  must(run->answered == run->asked);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  struct run run = {.choices = {data, bytes}, .position = POSITION, .durable = POSITION};
  struct vow_event begin = beginning(choose(&run.choices, 4) == 3);
  struct vow_txn image = choose_image(&run.choices), record = record_of(&image);
  struct vow_event event = {.type = VOW_EVENT_LOAD, .u.load = &record};

  run.id = image.id;
  must(vow_core_new(&run.core, &core_config) == VOW_OK);
  step(&run, &begin);
  enum vow_error error = try(&run, &event);
  must(error == VOW_OK || error == VOW_E_LOG_CORRUPT);
  if (error == VOW_OK) {
    drive(&run);
  } else { /* it has all that it had, and the core nothing of it */
    must(record.branch_count == image.branch_count && vow_core_find(run.core, image.id) == NULL);
  }
  vow_core_free(run.core);
  vow_txn_fini(&record);
  vow_txn_fini(&image);
  return 0;
}
