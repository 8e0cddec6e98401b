/*
 * The configuration as text for people: help, the sample file, and what a reload changes. See
 * config.h.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_internal.h"

#define WIDTH 96

/* Writes text in lines of at most WIDTH columns, each with `indent` in front. */
static void put_wrapped(struct vow_buf *out, const char *indent, const char *text) {
  size_t room = WIDTH - strlen(indent);
  while (*text != '\0') {
    size_t bytes = strlen(text);
    if (bytes > room) {
      for (bytes = room; bytes > 0 && text[bytes] != ' ';) bytes--;
      if (bytes == 0) bytes = strcspn(text, " ");
    }
    vow_buf_printf(out, "%s%.*s\n", indent, (int)bytes, text);
    text += bytes;
    while (*text == ' ') text++;
  }
}

static void put_flag(struct vow_buf *out, const char *key, const char *operand) {
  vow_buf_puts(out, "  --");
  for (const char *c = key; *c != '\0'; c++) vow_buf_append(out, *c == '_' ? "-" : c, 1);
  vow_buf_printf(out, " %s\n", operand);
}

void vow_config_help(struct vow_buf *out) {
  char allowed[128];
  vow_buf_puts(out,
               "Usage: vowd [OPTION]...\n"
               "Coordinates distributed transactions by two-phase commit.\n\n"
               "Each option is a flag, a variable (--log-level is VOW_LOG_LEVEL) and a key of the\n"
               "configuration file (log_level = info). A flag goes before a variable, a variable\n"
               "before the file.\n\n"
               "  --config FILE\n      The configuration file.\n"
               "  --check-config\n      Say whether the configuration is valid, and exit.\n"
               "  --print-config\n      Print it as a configuration file, and exit.\n"
               "  --version\n      Print the version, and exit.\n"
               "  --help\n      Print this text, and exit.\n\n");
  for (unsigned i = 0; i < vow_option_count; i++) {
    const struct vow_option *option = &vow_options[i];
    vow_option_allowed(option, allowed, sizeof allowed);
    put_flag(out, option->key, option->kind == VOW_OPTION_NUMBER ? "N" : "VALUE");
    put_wrapped(out, "      ", option->help);
    vow_buf_printf(out, "      Allowed: %s. Default: %s.\n", allowed,
                   option->fallback[0] == '\0' ? "empty" : option->fallback);
  }
  put_flag(out, "participant", "NAME=URL");
  put_wrapped(out, "      ", vow_option_participant_help);
  vow_buf_puts(out,
               "\nSignals: TERM and INT let open transactions end and exit, a second one exits at "
               "once;\nHUP reads the configuration again.\n\n"
               "Exit status: 0 stopped as asked; 1 the address or the log cannot be used, the "
               "log failed,\nor there was no memory; 2 the configuration is not valid.\n\n"
               "Example: vowd --listen 127.0.0.1:7800 --log /var/lib/vow/vow.log --participant "
               "bank=http://127.0.0.1:7001\n");
}

static void print_option(const struct vow_config *config, const struct vow_option *option,
                         struct vow_buf *out) {
  char allowed[128], value[VOW_OPTION_VALUE_BYTES];
  vow_option_allowed(option, allowed, sizeof allowed);
  vow_option_value(config, option, value, sizeof value);
  put_wrapped(out, "# ", option->help);
  vow_buf_printf(out, "# Allowed: %s.%s\n", allowed,
                 option->reload ? "" : " A change needs a restart.");
  vow_buf_printf(out, "%s%s =%s%s\n\n", strcmp(value, option->fallback) == 0 ? "#" : "",
                 option->key, value[0] == '\0' ? "" : " ", value);
}

static void print_participants(const struct vow_config *config, struct vow_buf *out) {
  for (uint32_t i = 0; i < config->participant_count; i++) {
    vow_buf_printf(out, "participant = %s=%s\n", config->participants[i].name,
                   config->participants[i].url);
  }
}

void vow_config_list(const struct vow_config *config, struct vow_buf *out) {
  char value[VOW_OPTION_VALUE_BYTES];
  for (unsigned i = 0; i < vow_option_count; i++) {
    vow_option_value(config, &vow_options[i], value, sizeof value);
    vow_buf_printf(out, "%s = %s\n", vow_options[i].key, value);
  }
  print_participants(config, out);
}

void vow_config_print(const struct vow_config *config, struct vow_buf *out) {
  vow_buf_puts(out,
               "# Configuration of vowd. Options that are commented out have the value shown.\n"
               "# `vowd --check-config --config FILE` says whether a file is valid; SIGHUP has a "
               "running vowd\n# read it again.\n\n");
  for (unsigned i = 0; i < vow_option_count; i++) print_option(config, &vow_options[i], out);
  put_wrapped(out, "# ", vow_option_participant_help);
  if (config->participant_count == 0) {
    vow_buf_puts(out, "#participant = bank=http://127.0.0.1:7001\n");
  }
  print_participants(config, out);
}

/* ---- reload ---- */

static bool same_participants(const struct vow_config *a, const struct vow_config *b) {
  if (a->participant_count != b->participant_count) return false;
  for (uint32_t i = 0; i < a->participant_count; i++) {
    if (strcmp(a->participants[i].name, b->participants[i].name) != 0 ||
        strcmp(a->participants[i].url, b->participants[i].url) != 0) {
      return false;
    }
  }
  return true;
}

static void take_participants(struct vow_config *config, struct vow_config *fresh) {
  struct vow_config_participant *participants = config->participants;
  uint32_t count = config->participant_count;
  config->participants = fresh->participants;
  config->participant_count = fresh->participant_count;
  fresh->participants = participants;
  fresh->participant_count = count;
}

void vow_config_reload(struct vow_config *config, struct vow_config *fresh, struct vow_buf *changed,
                       struct vow_buf *ignored) {
  char before[VOW_OPTION_VALUE_BYTES], after[VOW_OPTION_VALUE_BYTES];
  for (unsigned i = 0; i < vow_option_count; i++) {
    const struct vow_option *option = &vow_options[i];
    vow_option_value(config, option, before, sizeof before);
    vow_option_value(fresh, option, after, sizeof after);
    if (strcmp(before, after) == 0) continue;
    vow_buf_printf(option->reload ? changed : ignored, "%s from \"%s\" to \"%s\"\n", option->key,
                   before, after);
    if (!option->reload) continue;
    /* Only numbers and words can be changed; their members are uint64_t. */
    memcpy((char *)config + option->offset, (char *)fresh + option->offset, sizeof(uint64_t));
  }
  if (!same_participants(config, fresh)) {
    vow_buf_printf(changed, "participant from %u to %u entries\n", config->participant_count,
                   fresh->participant_count);
    take_participants(config, fresh);
  }
  vow_config_fini(fresh);
}
