/*
 * The table of commands and options. See commands.h.
 */
#include "commands.h"

#include <stddef.h>
#include <string.h>

#define SECOND UINT64_C(1000)
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)

static const char *const states[] = {"active",   "preparing", "committing", "committed",
                                     "aborting", "aborted",   NULL};
static const char *const outcomes[] = {"committed", "aborted", NULL};

/* clang-format off */
const struct ctl_option ctl_options[CTL_OPTION_COUNT] = {
    [CTL_OPT_URL] = {.name = "url", .kind = CTL_URL, .value = "URL",
      .fallback = "http://127.0.0.1:7800", .environment = "VOW_URL",
      .help = "address of the daemon"},
    [CTL_OPT_LOG] = {.name = "log", .kind = CTL_FILE, .value = "FILE",
      .help = "read this transaction log instead of asking a daemon"},
    [CTL_OPT_JSON] = {.name = "json", .kind = CTL_FLAG,
      .help = "print one JSON document instead of text"},
    [CTL_OPT_YES] = {.name = "yes", .kind = CTL_FLAG,
      .help = "do it without asking"},
    [CTL_OPT_STATE] = {.name = "state", .kind = CTL_CHOICE, .value = "STATE", .choices = states,
      .help = "only transactions in this state"},
    [CTL_OPT_PARTICIPANT] = {.name = "participant", .kind = CTL_TEXT, .value = "NAME", .max = 1024,
      .help = "only transactions with a branch of this name or URL"},
    [CTL_OPT_HEURISTIC] = {.name = "heuristic", .kind = CTL_FLAG,
      .help = "only transactions with a heuristic outcome"},
    [CTL_OPT_OLDER_THAN] = {.name = "older-than", .kind = CTL_DURATION, .value = "AGE",
      .min = 0, .max = 3650 * DAY,
      .help = "only what ended, or is open, at least this long ago"},
    [CTL_OPT_LIMIT] = {.name = "limit", .kind = CTL_NUMBER, .value = "N", .min = 1,
      .max = 1000000000, .fallback = "50",
      .help = "at most this many"},
    [CTL_OPT_ALL] = {.name = "all", .kind = CTL_FLAG,
      .help = "all of them, however many"},
    [CTL_OPT_OUTCOME] = {.name = "outcome", .kind = CTL_CHOICE, .value = "OUTCOME",
      .choices = outcomes,
      .help = "how it is to end, or how the branch did end"},
    [CTL_OPT_BRANCH] = {.name = "branch", .kind = CTL_NUMBER, .value = "N", .min = 1,
      .max = UINT32_MAX,
      .help = "this branch was settled by hand"},
    [CTL_OPT_REASON] = {.name = "reason", .kind = CTL_TEXT, .value = "TEXT", .max = 1000,
      .help = "why; kept in the transaction's history"},
    [CTL_OPT_INTERVAL] = {.name = "interval", .kind = CTL_DURATION, .value = "TIME",
      .min = 50, .max = HOUR, .fallback = "1s",
      .help = "time between two looks"},
    [CTL_OPT_COUNT] = {.name = "count", .kind = CTL_NUMBER, .value = "N", .min = 1,
      .max = 1000000000,
      .help = "stop after this many looks"},
    [CTL_OPT_CHECK] = {.name = "check", .kind = CTL_FLAG,
      .help = "end with 7 when something needs attention"},
    [CTL_OPT_WAIT] = {.name = "timeout", .kind = CTL_DURATION, .value = "TIME",
      .min = 1, .max = DAY, .fallback = "60s",
      .help = "longest wait for an answer of the daemon"},
    [CTL_OPT_TIMEOUT] = {.name = "timeout", .kind = CTL_DURATION, .value = "TIME",
      .min = 1, .max = 365 * DAY, .fallback = "5m",
      .help = "stop after this long, whatever is left"},
    [CTL_OPT_DRY_RUN] = {.name = "dry-run", .kind = CTL_FLAG,
      .help = "say what would be done; write and send nothing"},
    [CTL_OPT_ADVERTISE_URL] = {.name = "advertise-url", .kind = CTL_URL, .value = "URL",
      .environment = "VOW_ADVERTISE_URL",
      .help = "where participants ask, if not where the log says"},
    [CTL_OPT_APPLY] = {.name = "apply", .kind = CTL_FLAG,
      .help = "write what is decided; without it nothing is changed"},
    [CTL_OPT_PARTICIPANTS] = {.name = "participants", .kind = CTL_TEXT, .value = "URLS",
      .max = 100000,
      .help = "ask these, too, with commas between: those that the log does not name"},
    [CTL_OPT_WITHOUT] = {.name = "without", .kind = CTL_TEXT, .value = "URLS", .max = 100000,
      .help = "go on without these, which never come back"},
    [CTL_OPT_COMMIT_IDS] = {.name = "commit", .kind = CTL_TEXT, .value = "IDS", .max = 1000000,
      .help = "decide that these commit, where what is known allows it; @FILE: those in it"},
    [CTL_OPT_ABORT_IDS] = {.name = "abort", .kind = CTL_TEXT, .value = "IDS", .max = 1000000,
      .help = "decide that these abort, where what is known allows it; @FILE: those in it"},
    [CTL_OPT_ANSWER] = {.name = "timeout", .kind = CTL_DURATION, .value = "TIME",
      .min = 1, .max = DAY, .fallback = "10s",
      .help = "longest wait for an answer of a participant"},
    [CTL_OPT_HELP] = {.name = "help", .letter = 'h', .kind = CTL_FLAG,
      .help = "say how the command is used"},
    [CTL_OPT_VERSION] = {.name = "version", .letter = 'V', .kind = CTL_FLAG,
      .help = "say the version"},
};

#define B(name) CTL_BIT(CTL_OPT_##name)
#define ONLINE  (B(URL) | B(WAIT) | B(JSON))
#define FILTERS (B(STATE) | B(PARTICIPANT) | B(HEURISTIC) | B(OLDER_THAN))
#define EXAMPLES(...) (const char *const[]){__VA_ARGS__, NULL}
#define ID "0190f2c4-7a1b-7c3d-8e4f-5a6b7c8d9e0f"

const struct ctl_command ctl_commands[] = {
  {.name = "status", .run = ctl_status, .options = ONLINE | B(CHECK),
   .summary = "how the daemon is doing",
   .details = "Shows the daemon's state, its open transactions, the progress of a recovery and its "
              "log.",
   .examples = EXAMPLES("vowctl status", "vowctl status --check || mail -s 'vow' root")},
  {.name = "list", .run = ctl_list, .options = ONLINE | B(LOG) | FILTERS | B(LIMIT) | B(ALL),
   .summary = "transactions, newest first",
   .details = "Lists transactions, open ones and history. With --log it reads a log whose daemon "
              "is dead.",
   .examples = EXAMPLES("vowctl list --state committing --older-than 5m",
                        "vowctl list --participant bank-a --all --json",
                        "vowctl list --log /var/lib/vow/vow.log --heuristic")},
  {.name = "show", .run = ctl_show, .operand = CTL_OPERAND_ID, .options = ONLINE | B(LOG),
   .summary = "one transaction: branches and history",
   .details = "Shows a transaction with its branches, their votes, attempts and last errors, and "
              "its history.",
   .examples = EXAMPLES("vowctl show " ID, "vowctl show " ID " --log /var/lib/vow/vow.log")},
  {.name = "commit", .run = ctl_commit, .operand = CTL_OPERAND_ID, .options = ONLINE | B(YES),
   .summary = "commit a transaction",
   .details = "Asks the daemon to commit, and waits for the outcome. Ends with 6 when the "
              "transaction is aborted.",
   .examples = EXAMPLES("vowctl commit " ID, "vowctl commit " ID " --yes --json")},
  {.name = "abort", .run = ctl_abort, .operand = CTL_OPERAND_ID, .options = ONLINE | B(YES),
   .summary = "abort a transaction",
   .details = "Asks the daemon to abort. A transaction that is decided cannot be aborted.",
   .examples = EXAMPLES("vowctl abort " ID)},
  {.name = "resolve", .run = ctl_resolve, .operand = CTL_OPERAND_ID,
   .options = ONLINE | B(YES) | B(OUTCOME) | B(BRANCH) | B(REASON),
   .required = B(OUTCOME) | B(REASON),
   .summary = "settle by hand what cannot settle itself",
   .details = "Aborts an undecided transaction; or, with --branch, states that a branch was "
              "settled by hand with this outcome. That branch is no longer pushed, and an outcome "
              "that differs from the decision counts as heuristic.",
   .examples = EXAMPLES("vowctl resolve " ID " --outcome aborted --reason 'bank-b is gone'",
                        "vowctl resolve " ID " --branch 2 --outcome committed --reason 'booked by hand'")},
  {.name = "forget", .run = ctl_forget, .operand = CTL_OPERAND_ID,
   .options = ONLINE | B(YES) | B(REASON), .required = B(REASON),
   .summary = "let go of a heuristic outcome",
   .details = "A transaction with a heuristic outcome is kept and counted until an operator, who "
              "has put the data right, forgets it.",
   .examples = EXAMPLES("vowctl forget " ID " --reason 'booked back, ticket 4711'")},
  {.name = "participants", .run = ctl_participants, .options = ONLINE,
   .summary = "endpoints, up or down",
   .details = "Lists the endpoints the daemon knows: whether they answer, what waits for them, and "
              "their last error.",
   .examples = EXAMPLES("vowctl participants")},
  {.name = "watch", .run = ctl_watch,
   .options = ONLINE | B(INTERVAL) | B(COUNT),
   .summary = "live view of open transactions",
   .details = "Shows status and open transactions again and again: redrawn on a terminal, one line "
              "a change otherwise (one JSON document a line with --json). Ctrl-C ends it.",
   .examples = EXAMPLES("vowctl watch", "vowctl watch --interval 5s >> vow-changes.txt",
                        "vowctl watch --count 10 --json")},
  {.name = "backup", .run = ctl_backup, .operand = CTL_OPERAND_PATH, .options = ONLINE,
   .summary = "copy the log safely while the daemon runs",
   .details = "The daemon writes a consistent copy of its log to PATH, an absolute path on its own "
              "machine, where nothing may be yet, in a folder that the daemon's user may write to, "
              "such as that of the log. Never copy a log with cp while a daemon uses it. A daemon "
              "that dies meanwhile leaves PATH.partial-…, which is no backup: remove it.",
   .examples = EXAMPLES("vowctl backup /var/lib/vow/backup-$(date +%F).log")},
  {.name = "check", .run = ctl_check, .options = B(LOG) | B(JSON), .required = B(LOG),
   .summary = "look over a log whose daemon is dead",
   .details = "Checks the log's integrity and checksums, and lists what is in doubt and what "
              "recover would do. Changes nothing. Ends with 0 when all is well, 7 when something "
              "is in doubt or waits for an operator or the log is in quarantine, 8 when a daemon "
              "holds the log, 9 when it is damaged.",
   .examples = EXAMPLES("vowctl check --log /var/lib/vow/vow.log")},
  {.name = "export", .run = ctl_export, .options = B(LOG) | FILTERS | B(LIMIT) | B(ALL),
   .required = B(LOG),
   .summary = "a log as JSON lines, one transaction a line",
   .details = "Writes the transactions of a log whose daemon is dead, with their history, newest "
              "first, open ones and ended ones. All of them unless --limit says how many.",
   .examples = EXAMPLES("vowctl export --log /var/lib/vow/vow.log > history.jsonl",
                        "vowctl export --log /var/lib/vow/vow.log --state aborted | jq .reason")},
  {.name = "recover", .run = ctl_recover,
   .options = B(LOG) | B(JSON) | B(YES) | B(DRY_RUN) | B(TIMEOUT) | B(ADVERTISE_URL),
   .required = B(LOG),
   .summary = "drive everything in doubt to its end, without a daemon",
   .details = "Works on a log whose daemon is dead: aborts what is undecided, pushes what is "
              "decided, and asks about what was delegated, until every branch has acknowledged or "
              "the time is over. Safe to stop and to repeat. Ends with 7 when something is left.",
   .examples = EXAMPLES("vowctl recover --log /var/lib/vow/vow.log --dry-run",
                        "vowctl recover --log /var/lib/vow/vow.log --timeout 10m",
                        "vowctl recover --log /var/lib/vow/vow.log --yes --json > report.json")},
  {.name = "reconcile", .run = ctl_reconcile,
   .options = B(LOG) | B(JSON) | B(YES) | B(APPLY) | B(PARTICIPANTS) | B(WITHOUT) |
              B(COMMIT_IDS) | B(ABORT_IDS) | B(ANSWER) | B(ADVERTISE_URL),
   .required = B(LOG),
   .summary = "end the quarantine of a log that may have lost records",
   .details = "Works on a log whose daemon is stopped: asks every participant what is in doubt and "
              "what it knows, and says how each transaction that the log does not know has to end. "
              "With --apply that is written, and the log leaves quarantine if nothing is left "
              "open. Where both ends are possible it guesses nothing: find out, and say --commit "
              "or --abort. Safe to kill and to repeat. Ends with 7 when something is left.",
   .examples = EXAMPLES("vowctl reconcile --log /var/lib/vow/vow.log",
                        "vowctl reconcile --log /var/lib/vow/vow.log --participants http://bank-c:7001 --apply",
                        "vowctl reconcile --log /var/lib/vow/vow.log --abort " ID " --apply --yes")},
  {.name = "restore", .run = ctl_restore, .operand = CTL_OPERAND_PATH, .options = B(LOG),
   .required = B(LOG),
   .summary = "put a backup in the log's place",
   .details = "Copies the backup PATH to FILE, where nothing may be, checks it and syncs it. What "
              "was decided after the backup is not in it, so the log starts in quarantine: "
              "reconcile it before vowd is started.",
   .examples = EXAMPLES("vowctl restore /mnt/backup/vow-2026-03-01.log --log /var/lib/vow/vow.log")},
  {.name = "completion", .run = ctl_completion, .operand = CTL_OPERAND_SHELL,
   .summary = "print the completion script of a shell",
   .details = "Prints a completion script for bash or zsh. An installed vowctl has both in place.",
   .examples = EXAMPLES("source <(vowctl completion bash)")},
  {.name = "help", .run = ctl_help, .operand = CTL_OPERAND_COMMAND,
   .summary = "this list, or how a command is used",
   .details = "Lists the commands, or says how one of them is used.",
   .examples = EXAMPLES("vowctl help recover")},
};
/* clang-format on */

const unsigned ctl_command_count = sizeof ctl_commands / sizeof ctl_commands[0];

const struct ctl_command *ctl_command_find(const char *name) {
  for (unsigned i = 0; i < ctl_command_count; i++) {
    if (strcmp(ctl_commands[i].name, name) == 0) return &ctl_commands[i];
  }
  return NULL;
}

const char *ctl_operand_name(enum ctl_operand operand) {
  static const char *const names[] = {
      [CTL_OPERAND_NONE] = NULL,           [CTL_OPERAND_ID] = "ID",
      [CTL_OPERAND_PATH] = "PATH",         [CTL_OPERAND_COMMAND] = "[COMMAND]",
      [CTL_OPERAND_SHELL] = "bash or zsh",
  };
  return names[operand];
}
