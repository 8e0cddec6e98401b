/*
 * What a recovery does with an open transaction. See plan.h.
 */
#include "plan.h"

#include "io/txn_json.h"

/* A branch that has ended, or was settled by hand, is told nothing more. */
bool ctl_plan_branch_done(const struct vow_branch *branch) {
  switch (branch->state) {
    case VOW_BRANCH_READ_ONLY:
    case VOW_BRANCH_COMMITTED:
    case VOW_BRANCH_ABORTED:
    case VOW_BRANCH_HEURISTIC:
      return true;
    default:
      return branch->resolved;
  }
}

static bool only_unknown_left(const struct vow_txn *txn) {
  bool any = false;
  for (uint32_t i = 0; i < txn->branch_count; i++) {
    if (ctl_plan_branch_done(&txn->branches[i])) continue;
    if (txn->branches[i].state != VOW_BRANCH_UNKNOWN) return false;
    any = true;
  }
  return any;
}

enum ctl_plan ctl_plan_of(const struct vow_txn *txn) {
  switch (txn->state) {
    case VOW_TXN_COMMITTING:
      return only_unknown_left(txn) ? CTL_PLAN_UNKNOWN : CTL_PLAN_COMMIT;
    case VOW_TXN_COMMITTED:
    case VOW_TXN_ABORTED:
      return txn->forgotten ? CTL_PLAN_FORGET : CTL_PLAN_OPERATOR;
    case VOW_TXN_PREPARING:
      return txn->delegated ? CTL_PLAN_ASK : CTL_PLAN_ABORT;
    case VOW_TXN_ACTIVE:
    case VOW_TXN_ABORTING:
      break;
  }
  return CTL_PLAN_ABORT;
}

const char *ctl_plan_name(enum ctl_plan plan) {
  static const char *const names[] = {
      [CTL_PLAN_ABORT] = "abort",     [CTL_PLAN_COMMIT] = "commit",
      [CTL_PLAN_ASK] = "ask",         [CTL_PLAN_FORGET] = "forget",
      [CTL_PLAN_UNKNOWN] = "unknown", [CTL_PLAN_OPERATOR] = "operator",
  };
  return names[plan];
}

const char *ctl_plan_text(enum ctl_plan plan) {
  static const char *const texts[] = {
      [CTL_PLAN_ABORT] = "abort it",
      [CTL_PLAN_COMMIT] = "push its commit",
      [CTL_PLAN_ASK] = "ask its branch how it ended, or abort it",
      [CTL_PLAN_FORGET] = "tell its participants to forget",
      [CTL_PLAN_UNKNOWN] =
          "push its commit once more to whoever did not know it; else it waits for an operator",
      [CTL_PLAN_OPERATOR] = "nothing: it waits for an operator",
  };
  return texts[plan];
}

bool ctl_plan_message(const struct vow_txn *txn, const struct vow_branch *branch,
                      enum vow_message_type *out) {
  switch (ctl_plan_of(txn)) {
    case CTL_PLAN_COMMIT:
    case CTL_PLAN_UNKNOWN:
      if (ctl_plan_branch_done(branch)) return false;
      *out = VOW_MESSAGE_COMMIT;
      return true;
    case CTL_PLAN_ABORT:
    case CTL_PLAN_ASK:
      if (ctl_plan_branch_done(branch)) return false;
      *out = VOW_MESSAGE_ABORT;
      return true;
    case CTL_PLAN_FORGET:
      if (branch->state != VOW_BRANCH_HEURISTIC || branch->resolved) return false;
      *out = VOW_MESSAGE_FORGET;
      return true;
    case CTL_PLAN_OPERATOR:
      break;
  }
  return false;
}

void ctl_plan_write(struct vow_jsonw *w, const struct vow_txn *txn) {
  vow_jsonw_object(w, NULL);
  vow_txn_json_write(w, "transaction", txn, VOW_TXN_JSON_SUMMARY);
  vow_jsonw_string(w, "plan", ctl_plan_name(ctl_plan_of(txn)));
  vow_jsonw_array(w, "messages");
  for (uint32_t i = 0; i < txn->branch_count; i++) {
    const struct vow_branch *branch = &txn->branches[i];
    enum vow_message_type type;
    if (!ctl_plan_message(txn, branch, &type)) continue;
    vow_jsonw_object(w, NULL);
    vow_jsonw_uint(w, "branch", branch->number);
    vow_jsonw_string(w, "url", branch->url);
    vow_jsonw_string(w, "message", vow_message_type_name(type));
    vow_jsonw_end(w);
  }
  vow_jsonw_end(w);
  vow_jsonw_end(w);
}
