/*
 * The commands that change a transaction through the daemon: commit, abort, resolve, forget. Each
 * shows what it is about to do and asks, or is told --yes; the daemon has the last word on whether
 * the transaction's state allows it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "output.h"
#include "prompt.h"
#include "text.h"
#include "view.h"

#define PATH_BYTES 96

static void path_of(const struct ctl_args *args, const char *verb, char path[PATH_BYTES]) {
  char id[VOW_ID_TEXT_BYTES];
  vow_id_format(args->id, id);
  snprintf(path, PATH_BYTES, "/v1/transactions/%s%s%s", id, verb == NULL ? "" : "/",
           verb == NULL ? "" : verb);
}

static bool is(const char *text, const char *word) {
  return strcmp(text, word) == 0;
}

/* ---- what will happen, in words ---- */

static void commit_plan(struct vow_buf *out, const struct ctl_txn_view *txn, size_t branches) {
  if (is(txn->state, "active") || is(txn->state, "preparing")) {
    vow_buf_printf(out,
                   "All %zu branches are asked to prepare. If all vote commit it commits, else it "
                   "aborts.\n",
                   branches);
  } else {
    vow_buf_printf(out, "It is %s already: asking again changes nothing.\n", txn->state);
  }
}

static void abort_plan(struct vow_buf *out, const struct ctl_txn_view *txn, size_t branches) {
  if (is(txn->state, "committing") || is(txn->state, "committed")) {
    vow_buf_puts(out, "It is decided to commit: the daemon will refuse to abort it.\n");
  } else if (is(txn->state, "aborted")) {
    vow_buf_puts(out, "It is aborted already: asking again changes nothing.\n");
  } else {
    vow_buf_printf(out, "It aborts, and its branches (%zu) undo their work.\n", branches);
  }
}

/* False: there is no such branch. */
static bool resolve_plan(struct vow_buf *out, const struct ctl_args *args,
                         const struct ctl_txn_view *txn, size_t branches) {
  const char *outcome = args->text[CTL_OPT_OUTCOME];
  uint64_t wanted = args->number[CTL_OPT_BRANCH];
  char why[VOW_JSON_WHY_BYTES];
  if (!ctl_given(args, CTL_OPT_BRANCH)) {
    vow_buf_printf(out, "The transaction is decided by hand: %s. Every branch is told so.\n",
                   outcome);
    return true;
  }
  for (size_t i = 0; i < branches; i++) {
    struct ctl_branch_view branch;
    if (ctl_branch_view_read(vow_json_array_at(txn->branches, i), &branch, why) != VOW_OK) continue;
    if (branch.number != wanted) continue;
    vow_buf_printf(out, "Branch %" PRIu64 " (", wanted);
    ctl_safe_append(out, branch.name == NULL ? "" : branch.name);
    vow_buf_printf(out,
                   ") is recorded as %s by hand and no longer pushed. If that is not the decision, "
                   "the outcome is heuristic.\n",
                   outcome);
    return true;
  }
  return false;
}

static void forget_plan(struct vow_buf *out, const struct ctl_txn_view *txn) {
  if (txn->heuristic == NULL || txn->forgotten) {
    vow_buf_puts(out, "It has no heuristic outcome to forget: the daemon will refuse.\n");
    return;
  }
  vow_buf_printf(out,
                 "The heuristic outcome (%.32s) is no longer kept or counted, and its participants "
                 "are told to forget it.\n",
                 txn->heuristic);
}

/* Appends what the command will do to this transaction. False: it names a branch that is not there.
 */
static bool plan_append(struct vow_buf *out, const struct ctl_args *args,
                        const struct ctl_txn_view *txn) {
  size_t branches = txn->branches == NULL ? 0 : vow_json_array_length(txn->branches);
  const char *reason = args->text[CTL_OPT_REASON];
  vow_buf_puts(out, "\n");
  if (is(args->command->name, "commit")) commit_plan(out, txn, branches);
  if (is(args->command->name, "abort")) abort_plan(out, txn, branches);
  if (is(args->command->name, "forget")) forget_plan(out, txn);
  if (is(args->command->name, "resolve") && !resolve_plan(out, args, txn, branches)) return false;
  if (reason != NULL) {
    vow_buf_puts(out, "Reason: ");
    ctl_safe_append(out, reason);
    vow_buf_puts(out, "\n");
  }
  return true;
}

/* Shows the transaction and what will happen, and asks. */
static enum ctl_exit confirm(struct ctl_client *client, const struct ctl_args *args) {
  char path[PATH_BYTES], why[VOW_JSON_WHY_BYTES];
  struct ctl_terminal terminal;
  struct ctl_txn_view txn;
  struct ctl_reply reply;
  struct vow_buf text;
  enum ctl_exit code;
  if (ctl_given(args, CTL_OPT_YES)) return CTL_EXIT_OK;
  vow_buf_init(&text, CTL_OUTPUT_BYTES_MAX);
  path_of(args, NULL, path);
  ctl_client_call(client, "GET", path, NULL, &reply);
  if (reply.error != VOW_OK) {
    code = ctl_client_fail(client, args, &reply);
    goto out;
  }
  ctl_terminal_of(stderr, &terminal);
  const struct vow_json_node *root = vow_json_root(reply.json);
  enum vow_error error = ctl_txn_view_read(root, &txn, why);
  if (error == VOW_OK) error = ctl_brief_append(&text, &terminal, root, ctl_now_ms(), why);
  if (error != VOW_OK) {
    code = ctl_client_unreadable(client, args, &reply, error, why);
  } else if (!plan_append(&text, args, &txn)) {
    code = ctl_fail(CTL_EXIT_NOT_FOUND, "`vowctl show ID` lists the branches.",
                    "the transaction has no branch %" PRIu64 ".", args->number[CTL_OPT_BRANCH]);
  } else {
    code = ctl_ask(args, vow_buf_text(&text));
  }
out:
  ctl_reply_fini(&reply);
  vow_buf_fini(&text);
  return code;
}

/* ---- doing it ---- */

static void body_append(struct vow_buf *out, const struct ctl_args *args) {
  struct vow_jsonw w;
  vow_jsonw_init(&w, out);
  vow_jsonw_object(&w, NULL);
  vow_jsonw_string(&w, "outcome", args->text[CTL_OPT_OUTCOME]);
  if (ctl_given(args, CTL_OPT_BRANCH)) vow_jsonw_uint(&w, "branch", args->number[CTL_OPT_BRANCH]);
  vow_jsonw_string(&w, "reason", args->text[CTL_OPT_REASON]);
  vow_jsonw_end(&w);
}

/* One sentence on where the transaction stands after the act, for people. */
static void report(const struct ctl_args *args, const struct ctl_txn_view *txn) {
  struct ctl_terminal terminal;
  struct vow_buf line;
  ctl_terminal_of(stdout, &terminal);
  vow_buf_init(&line, CTL_LINE_BYTES_MAX);
  vow_buf_printf(&line, "%s ", txn->id_text);
  ctl_paint(&line, &terminal, ctl_state_colour(txn->state), txn->state);
  if (txn->heuristic != NULL) {
    vow_buf_printf(&line, ", heuristic %.32s%s", txn->heuristic,
                   txn->forgotten ? " (forgotten)" : "");
  }
  if (txn->reason != NULL) {
    vow_buf_puts(&line, ": ");
    ctl_safe_append(&line, txn->reason);
  }
  vow_buf_puts(&line, "\n");
  if (!ctl_given(args, CTL_OPT_JSON)) ctl_put(&line);
  vow_buf_fini(&line);
}

/* What a successful answer means: only a commit can be answered before it is certain. */
static enum ctl_exit judge(const struct ctl_args *args, const struct ctl_reply *reply,
                           const struct ctl_txn_view *txn) {
  bool decided = txn->outcome != NULL || is(txn->state, "committing") || !ctl_txn_open(txn);
  if (is(args->command->name, "commit") && (reply->status == 202 || !decided)) {
    return ctl_fail(CTL_EXIT_ATTENTION, "Ask again with `vowctl show ID` or repeat the commit.",
                    "commit was asked, but the outcome is not known yet.");
  }
  if (is(args->command->name, "commit") && txn->heuristic != NULL && !txn->forgotten) {
    return ctl_fail(CTL_EXIT_ATTENTION,
                    "`vowctl show ID` tells which; put it right, then forget it.",
                    "a branch ended against the decision or its outcome is not known.");
  }
  return CTL_EXIT_OK;
}

static enum ctl_exit act(struct ctl_client *client, const struct ctl_args *args, bool with_body) {
  char path[PATH_BYTES], why[VOW_JSON_WHY_BYTES];
  struct ctl_txn_view txn;
  struct ctl_reply reply;
  struct vow_buf body;
  enum ctl_exit code;
  vow_buf_init(&body, CTL_STRING_BYTES_MAX);
  path_of(args, args->command->name, path);
  if (with_body) body_append(&body, args);
  ctl_client_call(client, "POST", path, with_body ? &body : NULL, &reply);
  enum vow_error error = reply.error;
  if (error == VOW_OK) error = ctl_txn_view_read(vow_json_root(reply.json), &txn, why);
  if (reply.error != VOW_OK) {
    code = ctl_client_fail(client, args, &reply);
  } else if (error != VOW_OK) {
    code = ctl_client_unreadable(client, args, &reply, error, why);
  } else {
    if (ctl_given(args, CTL_OPT_JSON)) ctl_reply_print(&reply);
    report(args, &txn);
    code = judge(args, &reply, &txn);
  }
  ctl_reply_fini(&reply);
  vow_buf_fini(&body);
  return code;
}

static enum ctl_exit run(const struct ctl_args *args, bool with_body) {
  struct ctl_client client;
  enum ctl_exit code = ctl_may_ask(args);
  if (code != CTL_EXIT_OK) return code;
  code = ctl_client_open(&client, args);
  if (code == CTL_EXIT_OK) code = confirm(&client, args);
  if (code == CTL_EXIT_OK) code = act(&client, args, with_body);
  ctl_client_close(&client);
  return code;
}

enum ctl_exit ctl_commit(const struct ctl_args *args) {
  return run(args, false);
}

enum ctl_exit ctl_abort(const struct ctl_args *args) {
  return run(args, false);
}

enum ctl_exit ctl_resolve(const struct ctl_args *args) {
  return run(args, true);
}

enum ctl_exit ctl_forget(const struct ctl_args *args) {
  return run(args, true);
}
