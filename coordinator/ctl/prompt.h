/*
 * Asking before something dangerous is done. The question goes to standard error, so that standard
 * output stays what a program expects; the answer comes from standard input. Only the whole word
 * "yes" is a yes.
 */
#ifndef VOW_CTL_PROMPT_H
#define VOW_CTL_PROMPT_H

#include "args.h"
#include "table.h"

/* OK when --yes is given or somebody can be asked; else says so (exit 2). Call it before anything
 * is sent. */
enum ctl_exit ctl_may_ask(const struct ctl_args *args);

/* Shows `text` (made safe by the caller) and asks; with --yes it returns OK at once. A no is
 * CTL_EXIT_USAGE and has been reported. */
enum ctl_exit ctl_ask(const struct ctl_args *args, const char *text);

#endif
