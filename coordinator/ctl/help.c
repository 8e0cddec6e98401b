/*
 * What `vowctl help` and `vowctl completion` print: both are made from the table in commands.c, so
 * they cannot fall behind it.
 */
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "output.h"

#define TEXT_WIDTH 78

/* Prints a paragraph folded to the width, each line behind `indent` blanks. */
static void paragraph(const char *text, int indent) {
  int column = indent;
  ctl_putf("%*s", indent, "");
  while (*text != '\0') {
    int word = (int)strcspn(text, " ");
    if (column > indent && column + word >= TEXT_WIDTH) {
      ctl_putf("\n%*s", indent, "");
      column = indent;
    }
    ctl_putf("%s%.*s", column > indent ? " " : "", word, text);
    column += word + (column > indent ? 1 : 0);
    text += word;
    while (*text == ' ') text++;
  }
  ctl_putf("\n");
}

static void print_option(enum ctl_option_id id) {
  const struct ctl_option *option = &ctl_options[id];
  char left[48];
  snprintf(left, sizeof left, "%s--%s%s%s", option->letter == 0 ? "    " : "-h, ", option->name,
           option->value == NULL ? "" : " ", option->value == NULL ? "" : option->value);
  if (option->letter != 0) left[1] = option->letter;
  ctl_putf("  %-26s %s", left, option->help);
  for (unsigned i = 0; option->choices != NULL && option->choices[i] != NULL; i++) {
    if (i % 3 == 0) ctl_putf("%s\n%29s", i == 0 ? ":" : ",", "");
    ctl_putf("%s%s", i % 3 == 0 ? "" : ", ", option->choices[i]);
  }
  if (option->fallback != NULL) {
    ctl_putf("\n%29s(%s%s%s)", "", option->environment == NULL ? "" : option->environment,
             option->environment == NULL ? "" : ", else ", option->fallback);
  }
  ctl_putf("\n");
}

static void print_options(uint64_t options) {
  for (enum ctl_option_id id = 0; id < CTL_OPTION_COUNT; id++) {
    if ((options & CTL_BIT(id)) != 0) print_option(id);
  }
}

static void print_exit_codes(void) {
  ctl_putf("\nExit codes:\n");
  for (int code = 0; ctl_exit_text(code) != NULL; code++) {
    ctl_putf("  %d  %s\n", code, ctl_exit_text(code));
  }
}

static void print_command(const struct ctl_command *command) {
  const char *operand = ctl_operand_name(command->operand);
  ctl_putf("Usage: vowctl %s%s%s", command->name, operand == NULL ? "" : " ",
           operand == NULL ? "" : operand);
  for (unsigned id = 0; id < CTL_OPTION_COUNT; id++) {
    if ((command->required & CTL_BIT(id)) == 0) continue;
    ctl_putf(" --%s %s", ctl_options[id].name, ctl_options[id].value);
  }
  ctl_putf(" [OPTION...]\n\n");
  paragraph(command->details, 0);
  ctl_putf("\nOptions:\n");
  print_options(command->options | CTL_BIT(CTL_OPT_HELP));
  ctl_putf("\nExamples:\n");
  for (unsigned i = 0; command->examples[i] != NULL; i++) ctl_putf("  %s\n", command->examples[i]);
}

static void print_overview(void) {
  ctl_putf("Usage: vowctl COMMAND [OPTION...]\n\n");
  paragraph(
      "Shows and steers the transactions of a vow coordinator, and recovers them from its log when "
      "the daemon is dead.",
      0);
  ctl_putf("\nCommands:\n");
  for (unsigned i = 0; i < ctl_command_count; i++) {
    ctl_putf("  %-14s %s\n", ctl_commands[i].name, ctl_commands[i].summary);
  }
  ctl_putf("\nOptions of most commands:\n");
  print_options(CTL_BIT(CTL_OPT_URL) | CTL_BIT(CTL_OPT_JSON) | CTL_BIT(CTL_OPT_HELP) |
                CTL_BIT(CTL_OPT_VERSION));
  ctl_putf("\n");
  paragraph(
      "`vowctl help COMMAND` says more, with examples. What changes a transaction asks first, or "
      "needs --yes. Durations are a number and a unit: 500ms, 30s, 5m, 1h30m, 2d.",
      0);
  print_exit_codes();
}

enum ctl_exit ctl_help(const struct ctl_args *args) {
  if (args->operand == NULL) {
    print_overview();
    return CTL_EXIT_OK;
  }
  const struct ctl_command *command = ctl_command_find(args->operand);
  if (command == NULL) {
    return ctl_fail(CTL_EXIT_USAGE, "`vowctl help` lists the commands.", "\"%s\" is not a command.",
                    args->operand);
  }
  print_command(command);
  return CTL_EXIT_OK;
}
