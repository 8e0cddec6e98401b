/*
 * The command line, read against the table of commands.h. Nothing is sent and no file is touched
 * before the whole line has been understood: ids, numbers, durations and URLs are checked here.
 */
#ifndef VOW_CTL_ARGS_H
#define VOW_CTL_ARGS_H

#include "commands.h"
#include "id.h"

struct ctl_args {
  const struct ctl_command *command;
  const char *operand;                /* borrowed from argv; NULL: none */
  struct vow_id id;                   /* of CTL_OPERAND_ID */
  uint64_t given;                     /* bits of the options on the command line */
  const char *text[CTL_OPTION_COUNT]; /* value or fallback as text; borrowed; NULL: none */
  uint64_t number[CTL_OPTION_COUNT];  /* of numbers, and of durations in milliseconds */
};

bool ctl_given(const struct ctl_args *args, enum ctl_option_id option);

/* Reads argv. CTL_EXIT_OK: *out is filled. CTL_EXIT_USAGE: what is wrong has been printed.
 * `--help` and `--version` are commands in their own right: then out->command is `help` (with the
 * command it was asked of as operand), or NULL for the version. */
enum ctl_exit ctl_args_parse(int argc, char **argv, struct ctl_args *out);

#endif
