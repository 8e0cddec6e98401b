/*
 * Reads the configuration from flags, environment and file. See config.h; the file's format is the
 * business of config_file.c.
 */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_internal.h"
#include "io/server.h"
#include "url.h"

/* ---- the table ---- */

#define OPTION(kind, key, fallback, min, max, reload, help) \
  {#key, VOW_OPTION_##kind, offsetof(struct vow_config, key), fallback, min, max, reload, help},
const struct vow_option vow_options[] = {VOW_CONFIG_TABLE(OPTION)};
#undef OPTION
const unsigned vow_option_count = sizeof vow_options / sizeof *vow_options;

const char vow_option_participant_help[] =
    "A participant that requests may name instead of giving its URL, as NAME=URL. May stand any "
    "number of times; in VOW_PARTICIPANT several are separated by spaces. The strongest source "
    "that names one names them all.";

const char *const *vow_option_words(enum vow_option_kind kind) {
  static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
  static const char *const formats[] = {"text", "json", NULL};
  if (kind == VOW_OPTION_LEVEL) return levels;
  return kind == VOW_OPTION_FORMAT ? formats : NULL;
}

void vow_option_allowed(const struct vow_option *option, char *out, size_t bytes) {
  const char *const *words = vow_option_words(option->kind);
  if (option->kind == VOW_OPTION_NUMBER) {
    snprintf(out, bytes, "%llu to %llu", (unsigned long long)option->min,
             (unsigned long long)option->max);
  } else if (option->kind == VOW_OPTION_TEXT) {
    snprintf(out, bytes, "text of %llu to %llu bytes", (unsigned long long)option->min,
             (unsigned long long)option->max);
  } else {
    size_t at = 0;
    for (unsigned i = 0; words[i] != NULL && at < bytes; i++) {
      const char *comma = i == 0 ? "" : words[i + 1] == NULL ? " or " : ", ";
      at += (size_t)snprintf(out + at, bytes - at, "%s%s", comma, words[i]);
    }
  }
}

static uint64_t *number_of(const struct vow_config *config, const struct vow_option *option) {
  union {
    const struct vow_config *in;
    char *out;
  } base = {.in = config}; /* callers that got a const config only read */
  return (uint64_t *)(void *)(base.out + option->offset);
}

static char **text_of(const struct vow_config *config, const struct vow_option *option) {
  return (char **)(void *)number_of(config, option);
}

void vow_option_value(const struct vow_config *config, const struct vow_option *option, char *out,
                      size_t bytes) {
  if (option->kind == VOW_OPTION_TEXT) {
    snprintf(out, bytes, "%s", *text_of(config, option));
  } else if (option->kind == VOW_OPTION_NUMBER) {
    snprintf(out, bytes, "%llu", (unsigned long long)*number_of(config, option));
  } else {
    snprintf(out, bytes, "%s", vow_option_words(option->kind)[*number_of(config, option)]);
  }
}

static const struct vow_option *find_option(const char *key) {
  for (unsigned i = 0; i < vow_option_count; i++) {
    if (strcmp(vow_options[i].key, key) == 0) return &vow_options[i];
  }
  return NULL;
}

bool vow_config_key_exists(const char *key) {
  return find_option(key) != NULL || strcmp(key, "participant") == 0;
}

/* ---- one value ---- */

static enum vow_error refuse(struct vow_config_reading *reading, const char *place, const char *key,
                             const char *value, const char *allowed) {
  snprintf(reading->why, VOW_CONFIG_WHY_BYTES, "%s: %s cannot be \"%.100s\"; allowed is %s", place,
           key, value, allowed);
  return VOW_E_CONFIG;
}

/* The same for a URL, whose own sentence says what is wrong with it. */
static enum vow_error refuse_url(struct vow_config_reading *reading, const char *place,
                                 const char *key, const char *value, const char *why) {
  snprintf(reading->why, VOW_CONFIG_WHY_BYTES, "%s: %s cannot be \"%.100s\": %.200s", place, key,
           value, why);
  return VOW_E_CONFIG;
}

static bool parse_number(const struct vow_option *option, const char *value, uint64_t *out) {
  if (value[0] == '\0' || strspn(value, "0123456789") != strlen(value)) return false;
  errno = 0;
  unsigned long long number = strtoull(value, NULL, 10);
  if (errno != 0 || number < option->min || number > option->max) return false;
  *out = number;
  return true;
}

static bool parse_word(const struct vow_option *option, const char *value, uint64_t *out) {
  const char *const *words = vow_option_words(option->kind);
  for (unsigned i = 0; words[i] != NULL; i++) {
    if (strcmp(words[i], value) == 0) {
      *out = i;
      return true;
    }
  }
  return false;
}

/* What a file could not say: there it would be another value, and a log of another name is another
 * log. */
static bool fits_a_line(const char *text) {
  size_t bytes = strlen(text);
  if (bytes > 0 && (text[0] == ' ' || text[bytes - 1] == ' ')) return false;
  for (; *text != '\0'; text++) {
    if ((unsigned char)*text < 0x20 || *text == 0x7f) return false;
  }
  return true;
}

static enum vow_error set_text(struct vow_config_reading *reading, const struct vow_option *option,
                               const char *value) {
  char *copy = strdup(value);
  if (copy == NULL) return VOW_E_NO_MEMORY;
  char **text = text_of(&reading->config, option);
  free(*text);
  *text = copy;
  return VOW_OK;
}

static enum vow_error set_option(struct vow_config_reading *reading, const char *place,
                                 const struct vow_option *option, const char *value) {
  uint64_t number = 0;
  char allowed[128];
  bool valid = option->kind == VOW_OPTION_NUMBER ? parse_number(option, value, &number)
               : option->kind == VOW_OPTION_TEXT
                   ? strlen(value) >= option->min && strlen(value) <= option->max
                   : parse_word(option, value, &number);
  if (!valid) {
    vow_option_allowed(option, allowed, sizeof allowed);
    return refuse(reading, place, option->key, value, allowed);
  }
  if (option->kind == VOW_OPTION_TEXT && !fits_a_line(value)) {
    return refuse(reading, place, option->key, value,
                  "text without control characters, and without spaces at its ends");
  }
  if (option->kind == VOW_OPTION_TEXT) return set_text(reading, option, value);
  *number_of(&reading->config, option) = number;
  return VOW_OK;
}

/* ---- participants ---- */

static void drop_participants(struct vow_config *config) {
  for (uint32_t i = 0; i < config->participant_count; i++) {
    free(config->participants[i].name);
    free(config->participants[i].url);
  }
  free(config->participants);
  config->participants = NULL;
  config->participant_count = 0;
}

static enum vow_error append_participant(struct vow_config *config, const char *name,
                                         size_t name_bytes, const char *url) {
  struct vow_config_participant *grown =
      realloc(config->participants, (config->participant_count + 1) * sizeof *grown);
  if (grown == NULL) return VOW_E_NO_MEMORY;
  config->participants = grown;
  struct vow_config_participant *p = &grown[config->participant_count];
  p->name = strndup(name, name_bytes);
  p->url = strdup(url);
  if (p->name == NULL || p->url == NULL) {
    free(p->name);
    free(p->url);
    return VOW_E_NO_MEMORY;
  }
  config->participant_count++;
  return VOW_OK;
}

static bool is_name(const char *name, size_t bytes) {
  static const char allowed[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-";
  return bytes >= 1 && bytes <= 128 && strspn(name, allowed) >= bytes;
}

static enum vow_error set_participant(struct vow_config_reading *reading,
                                      enum vow_config_source source, const char *place,
                                      const char *value) {
  struct vow_config *config = &reading->config;
  char url[VOW_URL_BYTES_MAX + 1], why[256];
  const char *equals = strchr(value, '=');
  size_t name_bytes = equals == NULL ? 0 : (size_t)(equals - value);

  if (source != reading->participants_from) drop_participants(config);
  reading->participants_from = source;
  if (!is_name(value, name_bytes)) {
    return refuse(reading, place, "participant", value,
                  "NAME=URL with a name of letters, digits and ._:-");
  }
  if (vow_url_normalize(equals + 1, url, why, sizeof why) != VOW_OK) {
    return refuse_url(reading, place, "participant", value, why);
  }
  for (uint32_t i = 0; i < config->participant_count; i++) {
    const char *name = config->participants[i].name;
    if (strlen(name) == name_bytes && memcmp(name, value, name_bytes) == 0) {
      snprintf(reading->why, VOW_CONFIG_WHY_BYTES,
               "%s: participant \"%s\" is named twice (%s and %.200s); give one of them another "
               "name",
               place, name, config->participants[i].url, url);
      return VOW_E_CONFIG;
    }
  }
  if (config->participant_count == VOW_CONFIG_PARTICIPANTS_MAX) {
    return refuse(reading, place, "participant", value, "at most 1000 participants");
  }
  return append_participant(config, value, name_bytes, url);
}

enum vow_error vow_config_set(struct vow_config_reading *reading, enum vow_config_source source,
                              const char *place, const char *key, const char *value) {
  if (strcmp(key, "participant") == 0) return set_participant(reading, source, place, value);
  return set_option(reading, place, find_option(key), value);
}

/* ---- flags ---- */

enum { FLAG_CONFIG = 1000, FLAG_PARTICIPANT, FLAG_CHECK, FLAG_PRINT, FLAG_VERSION, FLAG_HELP };
#define FLAGS_MAX        (sizeof vow_options / sizeof *vow_options + 7)
#define FLAG_NAME_BYTES  48
#define OTHER_FLAG_COUNT 6

struct flags {
  struct option list[FLAGS_MAX];
  char names[FLAGS_MAX][FLAG_NAME_BYTES];
};

static void make_flags(struct flags *flags) {
  static const struct option others[OTHER_FLAG_COUNT] = {
      {"config", required_argument, NULL, FLAG_CONFIG},
      {"participant", required_argument, NULL, FLAG_PARTICIPANT},
      {"check-config", no_argument, NULL, FLAG_CHECK},
      {"print-config", no_argument, NULL, FLAG_PRINT},
      {"version", no_argument, NULL, FLAG_VERSION},
      {"help", no_argument, NULL, FLAG_HELP}};
  memset(flags, 0, sizeof *flags);
  for (unsigned i = 0; i < vow_option_count; i++) {
    snprintf(flags->names[i], FLAG_NAME_BYTES, "%s", vow_options[i].key);
    for (char *c = flags->names[i]; *c != '\0'; c++) {
      if (*c == '_') *c = '-';
    }
    flags->list[i] = (struct option){flags->names[i], required_argument, NULL, (int)i};
  }
  memcpy(flags->list + vow_option_count, others, sizeof others);
}

static enum vow_error take_flag(struct vow_config_reading *reading, const struct flags *flags,
                                int flag, const char *value) {
  char place[64];
  struct vow_config *config = &reading->config;
  switch (flag) {
    case FLAG_CONFIG: /* was taken before the file was read */
      return VOW_OK;
    case FLAG_PARTICIPANT:
      return vow_config_set(reading, VOW_SOURCE_FLAG, "flag --participant", "participant", value);
    case FLAG_CHECK:
      config->action = VOW_CONFIG_CHECK;
      return VOW_OK;
    case FLAG_PRINT:
      config->action = VOW_CONFIG_PRINT;
      return VOW_OK;
    case FLAG_VERSION:
      config->action = VOW_CONFIG_VERSION;
      return VOW_OK;
    case FLAG_HELP:
      config->action = VOW_CONFIG_HELP;
      return VOW_OK;
    default:
      snprintf(place, sizeof place, "flag --%s", flags->names[flag]);
      return vow_config_set(reading, VOW_SOURCE_FLAG, place, vow_options[flag].key, value);
  }
}

/* One pass over the flags: the first only looks for --config, and for flags that make everything
 * else irrelevant; the second takes the others. */
static enum vow_error read_flags(struct vow_config_reading *reading, int argc, char *const *argv,
                                 bool config_only) {
  struct flags flags;
  enum vow_error error = VOW_OK;
  int flag;
  make_flags(&flags);
  optind = 0; /* GNU: start anew; a reload reads the same arguments again */
  opterr = 0;
  while (error == VOW_OK && (flag = getopt_long(argc, argv, ":", flags.list, NULL)) != -1) {
    if (flag == '?' || flag == ':') {
      snprintf(reading->why, VOW_CONFIG_WHY_BYTES, "%s %.100s; vowd --help lists the flags",
               argv[optind - 1],
               flag == ':' ? "needs a value" : "is not a flag, or has a value it does not take");
      return VOW_E_CONFIG;
    }
    if (!config_only || flag == FLAG_HELP || flag == FLAG_VERSION) {
      error = take_flag(reading, &flags, flag, optarg);
    } else if (flag == FLAG_CONFIG) {
      free(reading->config.file);
      reading->config.file = strdup(optarg);
      if (reading->config.file == NULL) return VOW_E_NO_MEMORY;
    }
  }
  if (error == VOW_OK && optind < argc) {
    snprintf(reading->why, VOW_CONFIG_WHY_BYTES,
             "\"%.100s\" is not a flag; vowd takes nothing else", argv[optind]);
    return VOW_E_CONFIG;
  }
  return error;
}

/* ---- environment ---- */

/* "VOW_LOG_LEVEL=x" -> "log_level" and "x". False where it is not one of ours. */
static bool split_variable(const char *variable, char key[64], const char **value) {
  const char *equals = strchr(variable, '=');
  if (strncmp(variable, "VOW_", 4) != 0 || equals == NULL) return false;
  size_t bytes = (size_t)(equals - variable) - 4;
  if (bytes == 0 || bytes >= 64) return false;
  for (size_t i = 0; i < bytes; i++) {
    char c = variable[4 + i];
    key[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c >= 'a' && c <= 'z' ? '?' : c);
  }
  key[bytes] = '\0';
  *value = equals + 1;
  return true;
}

static enum vow_error set_participants(struct vow_config_reading *reading, const char *value) {
  enum vow_error error = VOW_OK;
  char *copy = strdup(value), *rest = NULL;
  if (copy == NULL) return VOW_E_NO_MEMORY;
  for (char *one = strtok_r(copy, " \t\n", &rest); error == VOW_OK && one != NULL;
       one = strtok_r(NULL, " \t\n", &rest)) {
    error = vow_config_set(reading, VOW_SOURCE_VARIABLE, "variable VOW_PARTICIPANT", "participant",
                           one);
  }
  free(copy);
  return error;
}

/* Variables that other programs of vow know, or that tests set. */
static bool is_known_elsewhere(const char *key) {
  return strcmp(key, "config") == 0 || strcmp(key, "failpoint") == 0 || strcmp(key, "url") == 0;
}

static enum vow_error read_environment(struct vow_config_reading *reading,
                                       char *const *environment) {
  char key[64], place[96];
  const char *value;
  enum vow_error error = VOW_OK;
  for (; error == VOW_OK && environment != NULL && *environment != NULL; environment++) {
    if (!split_variable(*environment, key, &value) || is_known_elsewhere(key)) continue;
    snprintf(place, sizeof place, "variable %.*s", (int)strcspn(*environment, "="), *environment);
    if (strcmp(key, "participant") == 0) {
      error = set_participants(reading, value);
    } else if (vow_config_key_exists(key)) {
      error = vow_config_set(reading, VOW_SOURCE_VARIABLE, place, key, value);
    } else {
      vow_buf_printf(&reading->config.warnings, "%s is not an option and is ignored\n", place);
    }
  }
  return error;
}

static enum vow_error find_file(struct vow_config_reading *reading, char *const *environment) {
  if (reading->config.file != NULL) return VOW_OK;
  for (; environment != NULL && *environment != NULL; environment++) {
    if (strncmp(*environment, "VOW_CONFIG=", 11) != 0 || (*environment)[11] == '\0') continue;
    reading->config.file = strdup(*environment + 11);
    return reading->config.file == NULL ? VOW_E_NO_MEMORY : VOW_OK;
  }
  return VOW_OK;
}

/* ---- all together ---- */

static enum vow_error check_together(struct vow_config_reading *reading) {
  struct vow_config *config = &reading->config;
  char url[VOW_URL_BYTES_MAX + 1], why[256];
  if (config->retry_min_ms > config->retry_max_ms) {
    snprintf(reading->why, VOW_CONFIG_WHY_BYTES,
             "retry_min_ms (%llu) must not be larger than retry_max_ms (%llu)",
             (unsigned long long)config->retry_min_ms, (unsigned long long)config->retry_max_ms);
    return VOW_E_CONFIG;
  }
  if (config->transaction_timeout_ms > config->limits_transaction_timeout_ms) {
    snprintf(reading->why, VOW_CONFIG_WHY_BYTES,
             "transaction_timeout_ms (%llu) must not be larger than limits_transaction_timeout_ms "
             "(%llu)",
             (unsigned long long)config->transaction_timeout_ms,
             (unsigned long long)config->limits_transaction_timeout_ms);
    return VOW_E_CONFIG;
  }
  if (!vow_server_is_address(config->listen)) {
    return refuse(reading, "the configuration", "listen", config->listen,
                  "host:port, such as 127.0.0.1:7800 or [::1]:7800");
  }
  if (config->advertise_url[0] == '\0') return VOW_OK;
  if (vow_url_normalize(config->advertise_url, url, why, sizeof why) != VOW_OK) {
    return refuse_url(reading, "the configuration", "advertise_url", config->advertise_url, why);
  }
  return set_text(reading, find_option("advertise_url"), url);
}

static int by_name(const void *a, const void *b) {
  const struct vow_config_participant *x = a, *y = b;
  return strcmp(x->name, y->name);
}

static enum vow_error read_all(struct vow_config_reading *reading, int argc, char *const *argv,
                               char *const *environment) {
  struct vow_config *config = &reading->config;
  enum vow_error error = VOW_OK;
  for (unsigned i = 0; error == VOW_OK && i < vow_option_count; i++) {
    error = set_option(reading, "default", &vow_options[i], vow_options[i].fallback);
  }
  if (error == VOW_OK) error = read_flags(reading, argc, argv, true);
  if (error != VOW_OK || config->action != VOW_CONFIG_SERVE) return error;
  error = find_file(reading, environment);
  if (error == VOW_OK && config->file != NULL) error = vow_config_read_file(reading);
  if (error == VOW_OK) error = read_environment(reading, environment);
  if (error == VOW_OK) error = read_flags(reading, argc, argv, false);
  if (error == VOW_OK) error = check_together(reading);
  if (error == VOW_OK && config->participant_count > 1) {
    qsort(config->participants, config->participant_count, sizeof *config->participants, by_name);
  }
  return error == VOW_OK ? config->warnings.error : error;
}

enum vow_error vow_config_load(struct vow_config *out, int argc, char *const *argv,
                               char *const *environment, char why[VOW_CONFIG_WHY_BYTES]) {
  struct vow_config_reading reading = {.why = why};
  vow_buf_init(&reading.config.warnings, 64 * 1024);
  enum vow_error error = read_all(&reading, argc, argv, environment);
  if (error != VOW_OK) {
    if (error == VOW_E_NO_MEMORY) {
      snprintf(why, VOW_CONFIG_WHY_BYTES, "out of memory; give this process more");
    }
    vow_config_fini(&reading.config);
    return error;
  }
  *out = reading.config;
  return VOW_OK;
}

void vow_config_fini(struct vow_config *config) {
  if (config == NULL) return;
  for (unsigned i = 0; i < vow_option_count; i++) {
    if (vow_options[i].kind == VOW_OPTION_TEXT) free(*text_of(config, &vow_options[i]));
  }
  drop_participants(config);
  free(config->file);
  vow_buf_fini(&config->warnings);
  memset(config, 0, sizeof *config);
}

const char *vow_config_participant_url(const struct vow_config *config, const char *name) {
  union {
    const char *in;
    char *out;
  } key_name = {.in = name}; /* only compared */
  struct vow_config_participant key = {.name = key_name.out};
  struct vow_config_participant *found =
      config->participant_count == 0
          ? NULL
          : bsearch(&key, config->participants, config->participant_count, sizeof key, by_name);
  return found == NULL ? NULL : found->url;
}
