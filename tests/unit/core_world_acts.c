/* What clients, participants and the clock of core_world.h do. */
#include "core_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- requests ---- */

/* Splits "a b+ x@c" into branches; the texts live in `room`. */
static uint32_t read_branches(const char *branches, struct vow_event_branch *out, uint32_t max,
                              char *room, size_t room_bytes) {
  uint32_t count = 0;
  char *save = NULL;
  char *words = room;
  size_t used = strlen(branches) + 1;

  assert_true(used < room_bytes);
  memcpy(words, branches, used);
  for (char *word = strtok_r(words, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
    assert_true(count < max);
    struct vow_event_branch branch = {.name = word};
    char *plus = strchr(word, '+');
    if (plus != NULL) {
      *plus = '\0';
      branch.payload = "{\"pay\":1}";
      branch.payload_bytes = strlen(branch.payload);
    }
    char *at = strchr(word, '@');
    if (at != NULL) *at = '\0';
    if (strcmp(word, "_") == 0) branch.name = NULL; /* unnamed */
    branch.url = room + used;
    used +=
        (size_t)snprintf(room + used, room_bytes - used, "http://%s", at == NULL ? word : at + 1) +
        1;
    out[count++] = branch;
  }
  return count;
}

uint64_t begin_with(struct world *w, struct vow_event *event, const char *branches) {
  struct vow_event_branch list[64];
  char room[4096];

  event->type = VOW_EVENT_BEGIN;
  event->token = ++w->token;
  event->u.begin.branches = list;
  event->u.begin.branch_count = read_branches(branches, list, 64, room, sizeof(room));
  world_must(w, event);
  return event->token;
}

uint64_t begin(struct world *w, const char *branches) {
  struct vow_event event = {0};
  return begin_with(w, &event, branches);
}

uint64_t begin_one_shot(struct world *w, const char *branches) {
  struct vow_event event = {0};
  event.u.begin.commit = true;
  return begin_with(w, &event, branches);
}

void begin_from(struct world *w, uint32_t first, uint32_t last) {
  char branches[64];

  for (uint32_t n = first; n <= last; n++) {
    (void)snprintf(branches, sizeof(branches), "a%u@a+ z%u@z+", n, n);
    begin_one_shot(w, branches);
  }
}

static struct vow_event request(struct world *w, enum vow_event_type type, uint32_t txn) {
  return (struct vow_event){.type = type, .token = ++w->token, .id = world_id(w, txn)};
}

uint64_t enlist(struct world *w, uint32_t txn, const char *branch) {
  struct vow_event event = request(w, VOW_EVENT_ENLIST, txn);
  char room[256];

  assert_int_equal(read_branches(branch, &event.u.enlist, 1, room, sizeof(room)), 1);
  world_must(w, &event);
  return event.token;
}

uint64_t commit(struct world *w, uint32_t txn) {
  struct vow_event event = request(w, VOW_EVENT_COMMIT, txn);
  world_must(w, &event);
  return event.token;
}

uint64_t commit_no_wait(struct world *w, uint32_t txn) {
  struct vow_event event = request(w, VOW_EVENT_COMMIT, txn);
  event.u.finish.no_wait = true;
  world_must(w, &event);
  return event.token;
}

uint64_t abort_txn(struct world *w, uint32_t txn) {
  struct vow_event event = request(w, VOW_EVENT_ABORT, txn);
  world_must(w, &event);
  return event.token;
}

uint64_t resolve(struct world *w, uint32_t txn, uint32_t branch, enum vow_outcome outcome) {
  struct vow_event event = request(w, VOW_EVENT_RESOLVE, txn);
  event.u.operate.outcome = outcome;
  event.u.operate.branch = branch;
  event.u.operate.reason = "by hand";
  world_must(w, &event);
  return event.token;
}

uint64_t forget(struct world *w, uint32_t txn) {
  struct vow_event event = request(w, VOW_EVENT_FORGET, txn);
  event.u.operate.reason = "seen";
  world_must(w, &event);
  return event.token;
}

void cancel(struct world *w, uint64_t token) {
  struct vow_event event = {.type = VOW_EVENT_CANCEL, .token = token};
  w->answered[token] = 1; /* whoever asked is gone: an answer after this is a second one */
  world_must(w, &event);
}

/* ---- answers ---- */

#define WORLD_BATCH_MAX 128

static struct world_send *find_send(const struct world *w, const char *branch) {
  for (uint32_t i = 0; i < w->send_count; i++) {
    if (!w->sends[i].done && strcmp(w->sends[i].branch, branch) == 0) return &w->sends[i];
  }
  return NULL;
}

bool under_way(const struct world *w, const char *branch) {
  return find_send(w, branch) != NULL;
}

/* All messages of a request are answered: the core hears of them. */
static void reply_to_request(struct world *w, uint64_t request) {
  struct vow_event event = {.type = VOW_EVENT_REPLY};
  uint32_t count = 0;

  event.u.reply.request = request;
  event.u.reply.batch_max = w->offer;
  event.u.reply.seen = w->seen;
  event.u.reply.results = calloc(WORLD_BATCH_MAX, sizeof(*event.u.reply.results));
  assert_non_null(event.u.reply.results);
  for (uint32_t i = 0; i < w->send_count; i++) {
    const struct world_send *send = &w->sends[i];
    if (send->request != request) continue;
    if (!send->done) break;
    assert_true(count < WORLD_BATCH_MAX);
    event.u.reply.results[count].kind = send->kind;
    event.u.reply.results[count].reply = send->answer;
    event.u.reply.results[count].not_delivered = send->lost;
    event.u.reply.results[count].timed_out = send->timed_out;
    if (send->kind != VOW_REPLY_ANSWERED) event.u.reply.results[count].error = "it failed";
    count++;
  }
  event.u.reply.count = count;
  world_must(w, &event);
  free(event.u.reply.results);
}

static uint32_t missing(const struct world *w, uint64_t request) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < w->send_count; i++) {
    count += w->sends[i].request == request && !w->sends[i].done;
  }
  return count;
}

void world_reply(struct world *w, struct world_send *send, enum vow_reply_kind kind,
                 struct vow_message_reply message, bool lost) {
  send->kind = kind;
  send->answer = message;
  send->lost = lost;
  send->done = true;
  if (missing(w, send->request) == 0) reply_to_request(w, send->request);
}

void world_time_out(struct world *w, struct world_send *send) {
  send->timed_out = true;
  world_reply(w, send, VOW_REPLY_ENDPOINT_DOWN, (struct vow_message_reply){0}, false);
}

static void reply(struct world *w, const char *branch, enum vow_reply_kind kind,
                  struct vow_message_reply message, bool lost) {
  struct world_send *send = find_send(w, branch);

  if (send == NULL) fail_msg("nothing is under way to %s", branch);
  world_reply(w, send, kind, message, lost);
}

void whole_batch(struct world *w, const char *branch, enum vow_reply_kind kind, bool lost) {
  const struct world_send *one = find_send(w, branch);

  if (one == NULL) fail_msg("nothing is under way to %s", branch);
  uint64_t request = one->request;
  for (uint32_t i = 0; i < w->send_count; i++) {
    struct world_send *send = &w->sends[i];
    if (send->request != request || send->done) continue;
    world_reply(w, send, kind, (struct vow_message_reply){0}, lost);
  }
}

void answer(struct world *w, const char *branch, enum vow_vote vote, enum vow_outcome outcome) {
  reply(w, branch, VOW_REPLY_ANSWERED, (struct vow_message_reply){.vote = vote, .outcome = outcome},
        false);
}

void yes(struct world *w, const char *branch) {
  answer(w, branch, VOW_VOTE_COMMIT, VOW_OUTCOME_NONE);
}

void no(struct world *w, const char *branch, const char *reason) {
  reply(w, branch, VOW_REPLY_ANSWERED,
        (struct vow_message_reply){.vote = VOW_VOTE_ABORT, .reason = reason}, false);
}

void read_only(struct world *w, const char *branch) {
  answer(w, branch, VOW_VOTE_READ_ONLY, VOW_OUTCOME_NONE);
}

void acknowledge(struct world *w, const char *branch, enum vow_outcome outcome) {
  answer(w, branch, VOW_VOTE_NONE, outcome);
}

void down(struct world *w, const char *branch) {
  reply(w, branch, VOW_REPLY_ENDPOINT_DOWN, (struct vow_message_reply){0}, false);
}

void silent(struct world *w, const char *branch) {
  struct world_send *send = find_send(w, branch);

  if (send == NULL) fail_msg("nothing is under way to %s", branch);
  world_time_out(w, send);
}

void not_delivered(struct world *w, const char *branch) {
  reply(w, branch, VOW_REPLY_ENDPOINT_DOWN, (struct vow_message_reply){0}, true);
}

void failed(struct world *w, const char *branch) {
  reply(w, branch, VOW_REPLY_BRANCH_FAILED, (struct vow_message_reply){0}, false);
}

void refused(struct world *w, const char *branch) {
  reply(w, branch, VOW_REPLY_REFUSED, (struct vow_message_reply){0}, false);
}

void unknown(struct world *w, const char *branch) {
  reply(w, branch, VOW_REPLY_UNKNOWN_BRANCH, (struct vow_message_reply){0}, false);
}

/* ---- time ---- */

void tick(struct world *w) {
  struct vow_event event = {.type = VOW_EVENT_TICK};
  world_must(w, &event);
}

void wait_ms(struct world *w, uint64_t ms) {
  uint64_t end = w->now_ms + ms;

  while (vow_core_next_deadline(w->core) <= end) {
    uint64_t due = vow_core_next_deadline(w->core);
    if (due > w->now_ms) {
      w->wall_ms += due - w->now_ms;
      w->now_ms = due;
    }
    tick(w);
    assert_true(vow_core_next_deadline(w->core) > w->now_ms);
  }
  w->wall_ms += end - w->now_ms;
  w->now_ms = end;
}
