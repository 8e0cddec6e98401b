/*
 * Completion scripts for bash and zsh, made from the table in commands.c. The build runs this once
 * and installs what it prints.
 */
#include <string.h>

#include "args.h"
#include "output.h"

static uint64_t options_of(const struct ctl_command *command) {
  return command->options | CTL_BIT(CTL_OPT_HELP);
}

static void print_command_names(const char *gap) {
  for (unsigned i = 0; i < ctl_command_count; i++) {
    ctl_putf("%s%s", i == 0 ? "" : gap, ctl_commands[i].name);
  }
}

static void print_choices(const struct ctl_option *option, const char *gap) {
  for (unsigned i = 0; option->choices[i] != NULL; i++) {
    ctl_putf("%s%s", i == 0 ? "" : gap, option->choices[i]);
  }
}

/* What may follow `--option` in bash: choices, files, or nothing that could be guessed. */
static void bash_value(const struct ctl_option *option) {
  ctl_putf("    --%s) ", option->name);
  if (option->kind == CTL_CHOICE) {
    ctl_putf("COMPREPLY=($(compgen -W \"");
    print_choices(option, " ");
    ctl_putf("\" -- \"$word\")) ;;\n");
  } else if (option->kind == CTL_FILE) {
    ctl_putf("compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- \"$word\")) ;;\n");
  } else {
    ctl_putf("COMPREPLY=() ;;\n");
  }
}

static void bash_command(const struct ctl_command *command) {
  ctl_putf("    %s)\n      options=\"", command->name);
  for (unsigned id = 0; id < CTL_OPTION_COUNT; id++) {
    if ((options_of(command) & CTL_BIT(id)) != 0) ctl_putf("--%s ", ctl_options[id].name);
  }
  ctl_putf("\"\n");
  if (command->operand == CTL_OPERAND_SHELL) ctl_putf("      operands=\"bash zsh\"\n");
  if (command->operand == CTL_OPERAND_COMMAND) ctl_putf("      operands=\"$commands\"\n");
  if (command->operand == CTL_OPERAND_PATH) {
    ctl_putf(
        "      [[ $word == -* ]] || { compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "
        "\"$word\")); return; }\n");
  }
  ctl_putf("      ;;\n");
}

static void print_bash(void) {
  ctl_putf(
      "# Completion of vowctl for bash; printed by `vowctl completion bash`.\n_vowctl() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
      "  local command= options=\"--url --log --json --help --version\" operands= i\n"
      "  local commands=\"");
  print_command_names(" ");
  ctl_putf("\"\n  case $before in\n");
  for (unsigned id = 0; id < CTL_OPTION_COUNT; id++) {
    /* Two options share the name --timeout; the second row would be dead. */
    if (ctl_options[id].kind != CTL_FLAG && id != CTL_OPT_TIMEOUT) bash_value(&ctl_options[id]);
  }
  ctl_putf(
      "    *) before= ;;\n  esac\n  [[ -z $before ]] || return\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    case ${COMP_WORDS[i]} in\n"
      "      --url | --log) ((i++)) ;;\n"
      "      -*) ;;\n"
      "      *) command=${COMP_WORDS[i]}; break ;;\n"
      "    esac\n  done\n  case $command in\n    \"\") operands=$commands ;;\n");
  for (unsigned i = 0; i < ctl_command_count; i++) bash_command(&ctl_commands[i]);
  ctl_putf(
      "  esac\n  [[ $word == -* ]] && operands=$options\n"
      "  COMPREPLY=($(compgen -W \"$operands\" -- \"$word\"))\n}\n"
      "complete -F _vowctl vowctl\n");
}

/* Quotes of the text would end the single quotes it stands in; brackets and colons belong to
 * _arguments. */
static void zsh_text(const char *text) {
  for (; *text != '\0'; text++) {
    if (*text == '\'') {
      ctl_putf("'\\''");
    } else if (strchr("[]:", *text) != NULL) {
      ctl_putf("\\%c", *text);
    } else {
      ctl_put_text(text, 1);
    }
  }
}

static void zsh_option(const struct ctl_option *option) {
  ctl_putf("        '--%s%s[", option->name, option->kind == CTL_FLAG ? "" : "=");
  zsh_text(option->help);
  ctl_putf("]");
  if (option->kind == CTL_CHOICE) {
    ctl_putf(":%s:(", option->value);
    print_choices(option, " ");
    ctl_putf(")");
  } else if (option->kind == CTL_FILE) {
    ctl_putf(":%s:_files", option->value);
  } else if (option->kind != CTL_FLAG) {
    ctl_putf(":%s:", option->value);
  }
  ctl_putf("' \\\n");
}

static void zsh_command(const struct ctl_command *command) {
  /* Double quotes where the shell is to fill in the list of names. */
  static const char *const operands[] = {
      [CTL_OPERAND_NONE] = "'*: :'",
      [CTL_OPERAND_ID] = "'1:transaction id:'",
      [CTL_OPERAND_PATH] = "'1:file:_files'",
      [CTL_OPERAND_COMMAND] = "\"1:command:($names)\"",
      [CTL_OPERAND_SHELL] = "'1:shell:(bash zsh)'",
  };
  ctl_putf("    %s)\n      _arguments \\\n", command->name);
  for (unsigned id = 0; id < CTL_OPTION_COUNT; id++) {
    if ((options_of(command) & CTL_BIT(id)) != 0) zsh_option(&ctl_options[id]);
  }
  ctl_putf("        %s ;;\n", operands[command->operand]);
}

static void print_zsh(void) {
  ctl_putf(
      "#compdef vowctl\n# Completion of vowctl for zsh; printed by `vowctl completion zsh`.\n"
      "_vowctl() {\n  local state line names=\"");
  print_command_names(" ");
  ctl_putf("\"\n  local -a commands=(\n");
  for (unsigned i = 0; i < ctl_command_count; i++) {
    ctl_putf("    '%s:", ctl_commands[i].name);
    zsh_text(ctl_commands[i].summary);
    ctl_putf("'\n");
  }
  ctl_putf("  )\n  _arguments -C \\\n");
  zsh_option(&ctl_options[CTL_OPT_URL]);
  zsh_option(&ctl_options[CTL_OPT_HELP]);
  zsh_option(&ctl_options[CTL_OPT_VERSION]);
  ctl_putf(
      "        '1: :->command' '*:: :->rest'\n"
      "  case $state in\n"
      "    command) _describe command commands; return ;;\n"
      "    rest) ;;\n    *) return ;;\n  esac\n  case $line[1] in\n");
  for (unsigned i = 0; i < ctl_command_count; i++) zsh_command(&ctl_commands[i]);
  ctl_putf("  esac\n}\n_vowctl \"$@\"\n");
}

enum ctl_exit ctl_completion(const struct ctl_args *args) {
  if (strcmp(args->operand, "bash") == 0) {
    print_bash();
  } else if (strcmp(args->operand, "zsh") == 0) {
    print_zsh();
  } else {
    return ctl_fail(CTL_EXIT_USAGE, "It prints a script for bash or zsh.",
                    "there is no completion for \"%s\".", args->operand);
  }
  return CTL_EXIT_OK;
}
