/*
 * The command line. Options may stand before the command (those of every command) and anywhere
 * after it. See args.h.
 *
 * getopt_long() would take any unambiguous beginning of an option's name. A script that relies on
 * that breaks when an option is added, and `--y` is too short for what --yes does: names are taken
 * whole.
 */
#include "args.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "url.h"

#define ID_EXAMPLE    "0190f2c4-7a1b-7c3d-8e4f-5a6b7c8d9e0f"
#define NEAR_MAX      2 /* letters that a suggestion may differ in */
#define LETTER_OF(id) ((int)(id) + 256)
#define SEE_HELP      "`vowctl help` lists the commands."
#define EVERY_COMMAND (CTL_BIT(CTL_OPT_HELP) | CTL_BIT(CTL_OPT_VERSION))
#define BEFORE_COMMAND \
  (EVERY_COMMAND | CTL_BIT(CTL_OPT_URL) | CTL_BIT(CTL_OPT_LOG) | CTL_BIT(CTL_OPT_JSON))

bool ctl_given(const struct ctl_args *args, enum ctl_option_id option) {
  return (args->given & CTL_BIT(option)) != 0;
}

/* What to do about a mistake in this command's line. */
static const char *see_help(const struct ctl_command *command) {
  static char text[96];
  if (command == NULL) return SEE_HELP;
  snprintf(text, sizeof text, "`vowctl help %s` shows how it is used.", command->name);
  return text;
}

static const char *nearest_command(const char *name) {
  const char *best = NULL;
  unsigned least = NEAR_MAX + 1;
  for (unsigned i = 0; i < ctl_command_count; i++) {
    unsigned distance = ctl_edit_distance(name, ctl_commands[i].name);
    if (distance < least) {
      least = distance;
      best = ctl_commands[i].name;
    }
  }
  return best;
}

static const char *nearest_option(const char *name, size_t bytes, uint64_t allowed) {
  char word[48];
  const char *best = NULL;
  unsigned least = NEAR_MAX + 1;
  if (bytes >= sizeof word) return NULL;
  memcpy(word, name, bytes);
  word[bytes] = '\0';
  for (unsigned i = 0; i < CTL_OPTION_COUNT; i++) {
    if ((allowed & CTL_BIT(i)) == 0) continue;
    unsigned distance = ctl_edit_distance(word, ctl_options[i].name);
    /* A name cut short is meant as often as one misspelt. */
    if (bytes > 0 && strncmp(word, ctl_options[i].name, bytes) == 0 && distance > 1) distance = 1;
    if (distance < least) {
      least = distance;
      best = ctl_options[i].name;
    }
  }
  return best;
}

/* `token` is what stands on the command line: "--ulr=x", "-q". */
static enum ctl_exit unknown_option(const char *token, uint64_t allowed,
                                    const struct ctl_command *command) {
  const char *of = command == NULL ? "" : " of ";
  const char *name = command == NULL ? "" : command->name;
  if (strncmp(token, "--", 2) == 0) {
    size_t bytes = strcspn(token + 2, "=");
    const char *near = nearest_option(token + 2, bytes, allowed);
    if (near != NULL) {
      return ctl_fail(CTL_EXIT_USAGE, see_help(command),
                      "--%.*s is not an option%s%s; did you mean --%s?", (int)bytes, token + 2, of,
                      name, near);
    }
    token = token + 2;
    return ctl_fail(CTL_EXIT_USAGE, see_help(command), "--%.*s is not an option%s%s.", (int)bytes,
                    token, of, name);
  }
  return ctl_fail(CTL_EXIT_USAGE, see_help(command), "%s is not an option%s%s.", token, of, name);
}

/* "active, preparing or aborted". */
static const char *choices_text(const struct ctl_option *option) {
  static char text[160];
  size_t at = 0;
  for (unsigned i = 0; option->choices[i] != NULL && at < sizeof text; i++) {
    const char *gap = i == 0 ? "" : option->choices[i + 1] == NULL ? " or " : ", ";
    at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", gap, option->choices[i]);
  }
  return text;
}

static enum ctl_exit bad_duration(const struct ctl_option *option, const char *source,
                                  const char *value) {
  char min[CTL_DURATION_BYTES], max[CTL_DURATION_BYTES];
  ctl_duration_format(option->min, min);
  ctl_duration_format(option->max, max);
  return ctl_fail(CTL_EXIT_USAGE, "Write a number and a unit: 500ms, 30s, 5m, 1h30m, 2d.",
                  "%s must be a duration from %s to %s, not \"%s\".", source, min, max, value);
}

/* Checks one value and keeps it. `source` names it in messages: "--limit" or "VOW_URL". */
static enum ctl_exit set_value(struct ctl_args *args, enum ctl_option_id id, const char *source,
                               const char *value) {
  const struct ctl_option *option = &ctl_options[id];
  char url[VOW_URL_BYTES_MAX + 1], why[256];
  uint64_t number = 0;
  bool chosen = false;
  switch (option->kind) {
    case CTL_DURATION:
      if (!ctl_duration_parse(value, &number) || number < option->min || number > option->max) {
        return bad_duration(option, source, value);
      }
      break;
    case CTL_NUMBER:
      if (!ctl_uint_parse(value, option->min, option->max, &number)) {
        return ctl_fail(CTL_EXIT_USAGE, see_help(args->command),
                        "%s must be a number from %llu to %llu, not \"%s\".", source,
                        (unsigned long long)option->min, (unsigned long long)option->max, value);
      }
      break;
    case CTL_CHOICE:
      for (unsigned i = 0; option->choices[i] != NULL; i++) {
        if (strcmp(option->choices[i], value) == 0) chosen = true;
      }
      if (!chosen) {
        return ctl_fail(CTL_EXIT_USAGE, see_help(args->command), "%s must be %s, not \"%s\".",
                        source, choices_text(option), value);
      }
      break;
    case CTL_URL:
      if (vow_url_normalize(value, url, why, sizeof why) != VOW_OK) {
        return ctl_fail(CTL_EXIT_USAGE, "An address looks like http://127.0.0.1:7800.",
                        "%s \"%s\" cannot be used: %s.", source, value, why);
      }
      break;
    case CTL_TEXT:
    case CTL_FILE:
      if (*value == '\0') {
        return ctl_fail(CTL_EXIT_USAGE, see_help(args->command), "%s must not be empty.", source);
      }
      if (option->max != 0 && strlen(value) > option->max) {
        return ctl_fail(CTL_EXIT_USAGE, "Say it shorter.", "%s has %zu bytes; %llu are allowed.",
                        source, strlen(value), (unsigned long long)option->max);
      }
      break;
    case CTL_FLAG:
      break;
  }
  args->text[id] = value;
  args->number[id] = number;
  return CTL_EXIT_OK;
}

/* Values of options that are not given: from the environment, then from the table. */
static enum ctl_exit set_fallbacks(struct ctl_args *args, uint64_t allowed) {
  for (enum ctl_option_id id = 0; id < CTL_OPTION_COUNT; id++) {
    const struct ctl_option *option = &ctl_options[id];
    const char *value = option->environment == NULL ? NULL : getenv(option->environment);
    const char *source = option->environment;
    if ((allowed & CTL_BIT(id)) == 0 || ctl_given(args, id)) continue;
    if (value == NULL || *value == '\0') {
      value = option->fallback;
      source = option->name;
    }
    if (value == NULL) continue;
    enum ctl_exit code = set_value(args, id, source, value);
    if (code != CTL_EXIT_OK) return code;
  }
  return CTL_EXIT_OK;
}

static unsigned long_options(uint64_t allowed, struct option *out) {
  unsigned count = 0;
  for (int id = 0; id < CTL_OPTION_COUNT; id++) {
    if ((allowed & CTL_BIT(id)) == 0) continue;
    out[count++] = (struct option){.name = ctl_options[id].name,
                                   .has_arg = ctl_options[id].kind != CTL_FLAG,
                                   .val = LETTER_OF(id)};
  }
  out[count] = (struct option){0};
  return count;
}

/* The option that getopt_long() returned, or -1: letters are those of the table. */
static int option_of(int found) {
  if (found >= 256) return found - 256;
  for (int id = 0; id < CTL_OPTION_COUNT; id++) {
    if (ctl_options[id].letter == found) return id;
  }
  return -1;
}

/* What getopt_long() read last, as it stands on the command line. */
static const char *last_token(char **argv) {
  bool apart = optarg != NULL && optarg == argv[optind - 1];
  return argv[optind - (apart ? 2 : 1)];
}

/* Takes one option that getopt_long() has found among the allowed ones. */
static enum ctl_exit take_option(struct ctl_args *args, char **argv, int found, uint64_t allowed) {
  int id = option_of(found);
  const struct ctl_option *option = &ctl_options[id];
  char source[40];
  /* Of a letter the last token says nothing: several may share one. */
  const char *token = found == LETTER_OF(id) ? last_token(argv) : NULL;
  if (token != NULL && strcspn(token + 2, "=") != strlen(option->name)) {
    return unknown_option(token, allowed, args->command);
  }
  if (ctl_given(args, (enum ctl_option_id)id)) {
    return ctl_fail(CTL_EXIT_USAGE, "Give each option once.", "--%s is given twice.", option->name);
  }
  args->given |= CTL_BIT(id);
  if (option->kind == CTL_FLAG) return CTL_EXIT_OK;
  snprintf(source, sizeof source, "--%s", option->name);
  return set_value(args, (enum ctl_option_id)id, source, optarg);
}

/* What getopt_long() could not take: a flag with a value, or an option nobody knows. */
static enum ctl_exit refused(const struct ctl_args *args, char **argv, uint64_t allowed) {
  char letter[3] = {'-', (char)optopt, '\0'};
  if (optopt >= 256) {
    const char *token = argv[optind - 1];
    const char *name = ctl_options[optopt - 256].name;
    if (strcspn(token + 2, "=") != strlen(name)) {
      return unknown_option(token, allowed, args->command);
    }
    return ctl_fail(CTL_EXIT_USAGE, see_help(args->command), "--%s takes no value.", name);
  }
  return unknown_option(optopt != 0 ? letter : argv[optind - 1], allowed, args->command);
}

/* Reads options until the first operand (`mode` "+") or the end. */
static enum ctl_exit read_options(struct ctl_args *args, int argc, char **argv, const char *mode,
                                  uint64_t allowed) {
  struct option options[CTL_OPTION_COUNT + 1];
  int found;
  long_options(allowed, options);
  opterr = 0;
  while ((found = getopt_long(argc, argv, mode, options, NULL)) != -1) {
    enum ctl_exit code;
    if (found == '?') {
      code = refused(args, argv, allowed);
    } else if (found == ':') {
      int id = option_of(optopt);
      code = ctl_fail(CTL_EXIT_USAGE, see_help(args->command), "--%s needs a value: --%s %s.",
                      ctl_options[id].name, ctl_options[id].name, ctl_options[id].value);
    } else {
      code = take_option(args, argv, found, allowed);
    }
    if (code != CTL_EXIT_OK) return code;
  }
  return CTL_EXIT_OK;
}

static enum ctl_exit take_operand(struct ctl_args *args, int count, char **operands) {
  enum ctl_operand kind = args->command->operand;
  const char *name = ctl_operand_name(kind);
  unsigned most = kind == CTL_OPERAND_NONE ? 0 : 1;
  if (count > (int)most) {
    return ctl_fail(CTL_EXIT_USAGE, see_help(args->command), "\"%s\" is one word too many.",
                    operands[most]);
  }
  if (count == 0 && kind != CTL_OPERAND_NONE && kind != CTL_OPERAND_COMMAND) {
    return ctl_fail(CTL_EXIT_USAGE, see_help(args->command), "%s needs %s.", args->command->name,
                    name);
  }
  if (count == 0) return CTL_EXIT_OK;
  if (kind == CTL_OPERAND_ID && !vow_id_parse(operands[0], &args->id)) {
    return ctl_fail(CTL_EXIT_USAGE, "An id is a whole UUID, like " ID_EXAMPLE ".",
                    "\"%s\" is not a transaction id.", operands[0]);
  }
  if (*operands[0] == '\0') {
    return ctl_fail(CTL_EXIT_USAGE, see_help(args->command), "%s must not be empty.", name);
  }
  args->operand = operands[0];
  return CTL_EXIT_OK;
}

static enum ctl_exit check_required(const struct ctl_args *args) {
  uint64_t missing = args->command->required & ~args->given;
  for (unsigned id = 0; id < CTL_OPTION_COUNT; id++) {
    if ((missing & CTL_BIT(id)) == 0) continue;
    return ctl_fail(CTL_EXIT_USAGE, see_help(args->command), "%s needs --%s %s.",
                    args->command->name, ctl_options[id].name, ctl_options[id].value);
  }
  return CTL_EXIT_OK;
}

/* Finds the command behind the options that may stand before it; those are kept in *args. */
static enum ctl_exit find_command(struct ctl_args *args, int argc, char **argv) {
  optind = 0;
  enum ctl_exit code = read_options(args, argc, argv, "+:hV", BEFORE_COMMAND);
  if (code != CTL_EXIT_OK || (args->given & EVERY_COMMAND) != 0) return code;
  if (optind >= argc) {
    return ctl_fail(CTL_EXIT_USAGE, SEE_HELP, "a command is missing.");
  }
  args->command = ctl_command_find(argv[optind]);
  if (args->command != NULL) return CTL_EXIT_OK;
  const char *near = nearest_command(argv[optind]);
  if (near == NULL) {
    return ctl_fail(CTL_EXIT_USAGE, SEE_HELP, "\"%s\" is not a command.", argv[optind]);
  }
  return ctl_fail(CTL_EXIT_USAGE, SEE_HELP, "\"%s\" is not a command; did you mean %s?",
                  argv[optind], near);
}

/* `--help` and `--version` win over everything else on the line. True: *args says what to do. */
static bool asks_for_help(struct ctl_args *args) {
  if (ctl_given(args, CTL_OPT_VERSION)) {
    args->command = NULL;
  } else if (ctl_given(args, CTL_OPT_HELP)) {
    args->operand = args->command == NULL ? NULL : args->command->name;
    args->command = ctl_command_find("help");
  } else {
    return false;
  }
  return true;
}

enum ctl_exit ctl_args_parse(int argc, char **argv, struct ctl_args *out) {
  struct ctl_args args = {0};
  uint64_t allowed;
  enum ctl_exit code = find_command(&args, argc, argv);
  if (code != CTL_EXIT_OK) return code;
  if (asks_for_help(&args) || args.command == NULL) goto out;

  allowed = args.command->options | EVERY_COMMAND;
  if ((args.given & ~allowed) != 0) {
    unsigned id = (unsigned)__builtin_ctzll(args.given & ~allowed);
    return ctl_fail(CTL_EXIT_USAGE, see_help(args.command), "--%s is not an option of %s.",
                    ctl_options[id].name, args.command->name);
  }
  argv += optind;
  argc -= optind;
  optind = 0;
  code = read_options(&args, argc, argv, ":hV", allowed);
  if (code != CTL_EXIT_OK) return code;
  if (asks_for_help(&args)) goto out;
  code = take_operand(&args, argc - optind, argv + optind);
  if (code == CTL_EXIT_OK) code = check_required(&args);
  if (code == CTL_EXIT_OK) code = set_fallbacks(&args, allowed);
  if (code != CTL_EXIT_OK) return code;
out:
  *out = args;
  return CTL_EXIT_OK;
}
