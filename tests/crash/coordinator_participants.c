/* See coordinator_participants.h. The linker sends the command's questions here. */
#include "coordinator_participants.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator_model.h"
#include "coordinator_txn.h"
#include "reconcile.h"

#define IN_DOUBT_MAX 4

static struct participants answers;

void participants_set(struct participants set) {
  answers = set;
}

uint32_t participants_txn_number(struct vow_id id) {
  uint32_t n = 0;
  while (n < TXNS_MAX && vow_id_compare(txn_id(n), id) != 0) n++;
  if (n == TXNS_MAX) abort();
  return n;
}

static bool is_first(const struct ctl_place *place) {
  return strstr(place->url, "bank-0") != NULL;
}

/* The log has lost all that it knew of these. */
static void tell_in_doubt(struct vow_known_reply *out) {
  out->branches = calloc(IN_DOUBT_MAX, sizeof *out->branches);
  if (out->branches == NULL) abort();
  for (uint32_t n = 0; n < model_txn_count() && out->count < IN_DOUBT_MAX; n++) {
    if (model_last_image(n, answers.now) == NULL) continue;
    if (model_had_image(n, answers.position, answers.back)) continue;
    out->branches[out->count++] = (struct vow_known_branch){
        .transaction = txn_id(n), .branch = 1, .state = VOW_KNOWN_PREPARED};
  }
}

enum ctl_exit __wrap_ctl_ask_in_doubt(struct ctl_places *places, const char *coordinator,
                                      uint64_t timeout_ms);
enum ctl_exit __wrap_ctl_ask_in_doubt(struct ctl_places *places, const char *coordinator,
                                      uint64_t timeout_ms) {
  (void)coordinator;
  (void)timeout_ms;
  for (size_t i = 0; i < places->count; i++) {
    struct ctl_place *place = &places->items[i];
    place->answered = !answers.silent || !is_first(place);
    if (!place->answered) continue;
    place->in_doubt.seen = answers.lost;
    if (is_first(place)) tell_in_doubt(&place->in_doubt);
  }
  return CTL_EXIT_OK;
}

static enum vow_known_state what_became_of(struct vow_id id) {
  const struct model_image *image = model_last_image(participants_txn_number(id), answers.now);
  bool commit = image->state == VOW_TXN_COMMITTING || image->state == VOW_TXN_COMMITTED;
  return commit ? VOW_KNOWN_COMMITTED : VOW_KNOWN_ABORTED;
}

enum ctl_exit __wrap_ctl_ask_known(struct ctl_places *places, struct ctl_cases *cases,
                                   const char *coordinator, uint64_t timeout_ms);
enum ctl_exit __wrap_ctl_ask_known(struct ctl_places *places, struct ctl_cases *cases,
                                   const char *coordinator, uint64_t timeout_ms) {
  (void)coordinator;
  (void)timeout_ms;
  for (size_t i = 0; i < places->count; i++) {
    struct ctl_place *place = &places->items[i];
    place->tells = place->answered;
    place->known.seen = place->in_doubt.seen;
    for (size_t n = 0; place->tells && is_first(place) && n < cases->count; n++) {
      struct vow_id id = cases->items[n].id;
      struct vow_known_branch branch = {
          .transaction = id, .branch = 1, .state = what_became_of(id)};
      if (!ctl_cases_report(cases, i, &branch)) abort();
    }
  }
  return CTL_EXIT_OK;
}
