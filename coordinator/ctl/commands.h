/*
 * The one table of vowctl's commands and options. It drives parsing, help and completion; a test
 * holds the manual page against it. To add an option: an enumerator, a row in commands.c, its bit
 * in the commands that take it, and a paragraph in vowctl(1).
 */
#ifndef VOW_CTL_COMMANDS_H
#define VOW_CTL_COMMANDS_H

#include <stdbool.h>
#include <stdint.h>

#include "exit.h"

enum ctl_option_id {
  CTL_OPT_URL = 0,
  CTL_OPT_LOG,
  CTL_OPT_JSON,
  CTL_OPT_YES,
  CTL_OPT_STATE,
  CTL_OPT_PARTICIPANT,
  CTL_OPT_HEURISTIC,
  CTL_OPT_OLDER_THAN,
  CTL_OPT_LIMIT,
  CTL_OPT_ALL,
  CTL_OPT_OUTCOME,
  CTL_OPT_BRANCH,
  CTL_OPT_REASON,
  CTL_OPT_INTERVAL,
  CTL_OPT_COUNT,
  CTL_OPT_CHECK,
  CTL_OPT_WAIT,    /* --timeout of one request to the daemon */
  CTL_OPT_TIMEOUT, /* --timeout of a whole recovery */
  CTL_OPT_DRY_RUN,
  CTL_OPT_ADVERTISE_URL,
  CTL_OPT_APPLY,
  CTL_OPT_PARTICIPANTS,
  CTL_OPT_WITHOUT,
  CTL_OPT_COMMIT_IDS,
  CTL_OPT_ABORT_IDS,
  CTL_OPT_ANSWER, /* --timeout of one request to a participant */
  CTL_OPT_HELP,
  CTL_OPT_VERSION,
  CTL_OPTION_COUNT
};

#define CTL_BIT(id) (UINT64_C(1) << (id))

enum ctl_kind {
  CTL_FLAG = 0, /* takes no value */
  CTL_TEXT,     /* any text but the empty one */
  CTL_URL,
  CTL_CHOICE, /* one of `choices` */
  CTL_NUMBER, /* from min to max */
  CTL_DURATION,
  CTL_FILE
};

struct ctl_option {
  const char *name;
  char letter; /* 0: none */
  enum ctl_kind kind;
  const char *value;          /* what stands for the value in help: "FILE" */
  const char *const *choices; /* of CTL_CHOICE; NULL-terminated */
  uint64_t min, max;          /* of CTL_NUMBER; of CTL_DURATION in ms; max of CTL_TEXT in bytes */
  const char *fallback;       /* value when it is not given; NULL: none */
  const char *environment;    /* variable that stands before the fallback; NULL: none */
  const char *help;
};

enum ctl_operand {
  CTL_OPERAND_NONE = 0,
  CTL_OPERAND_ID,
  CTL_OPERAND_PATH,
  CTL_OPERAND_COMMAND, /* may be left out */
  CTL_OPERAND_SHELL
};

struct ctl_args;

struct ctl_command {
  const char *name;
  enum ctl_operand operand;
  const char *summary;         /* half a line, for the list of commands */
  const char *details;         /* a paragraph, for its own help */
  const char *const *examples; /* NULL-terminated */
  uint64_t options;            /* bits of those it takes */
  uint64_t required;           /* bits of those it needs */
  enum ctl_exit (*run)(const struct ctl_args *args);
};

extern const struct ctl_option ctl_options[CTL_OPTION_COUNT];
extern const struct ctl_command ctl_commands[];
extern const unsigned ctl_command_count;

/* The command of this name, or NULL. */
const struct ctl_command *ctl_command_find(const char *name);
/* "ID", "PATH", …; NULL when the command takes no operand. */
const char *ctl_operand_name(enum ctl_operand operand);

/* The commands, in the order of the table. */
enum ctl_exit ctl_status(const struct ctl_args *args);
enum ctl_exit ctl_list(const struct ctl_args *args);
enum ctl_exit ctl_show(const struct ctl_args *args);
enum ctl_exit ctl_commit(const struct ctl_args *args);
enum ctl_exit ctl_abort(const struct ctl_args *args);
enum ctl_exit ctl_resolve(const struct ctl_args *args);
enum ctl_exit ctl_forget(const struct ctl_args *args);
enum ctl_exit ctl_participants(const struct ctl_args *args);
enum ctl_exit ctl_watch(const struct ctl_args *args);
enum ctl_exit ctl_backup(const struct ctl_args *args);
enum ctl_exit ctl_check(const struct ctl_args *args);
enum ctl_exit ctl_export(const struct ctl_args *args);
enum ctl_exit ctl_recover(const struct ctl_args *args);
enum ctl_exit ctl_reconcile(const struct ctl_args *args);
enum ctl_exit ctl_restore(const struct ctl_args *args);
enum ctl_exit ctl_completion(const struct ctl_args *args);
enum ctl_exit ctl_help(const struct ctl_args *args);

#endif
