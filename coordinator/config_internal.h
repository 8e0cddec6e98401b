/*
 * What config.c, config_file.c and config_text.c share: the table of options as data. Nobody else
 * includes it.
 */
#ifndef VOW_COORDINATOR_CONFIG_INTERNAL_H
#define VOW_COORDINATOR_CONFIG_INTERNAL_H

#include <stddef.h>

#include "config.h"

enum vow_option_kind { VOW_OPTION_TEXT, VOW_OPTION_NUMBER, VOW_OPTION_LEVEL, VOW_OPTION_FORMAT };

struct vow_option {
  const char *key;
  enum vow_option_kind kind;
  size_t offset; /* of its member in struct vow_config */
  const char *fallback;
  uint64_t min, max;
  bool reload;
  const char *help;
};

extern const struct vow_option vow_options[];
extern const unsigned vow_option_count;
extern const char vow_option_participant_help[];

/* The words of LEVEL and FORMAT in the order of their values; NULL past the last. */
const char *const *vow_option_words(enum vow_option_kind kind);
/* "1 to 86400000", "error, warn, info or debug". */
void vow_option_allowed(const struct vow_option *option, char *out, size_t bytes);
/* The value as it is written in a file. */
void vow_option_value(const struct vow_config *config, const struct vow_option *option, char *out,
                      size_t bytes);

#define VOW_OPTION_VALUE_BYTES 4200

/* Where a value came from; the stronger has the higher number. */
enum vow_config_source {
  VOW_SOURCE_DEFAULT,
  VOW_SOURCE_FILE,
  VOW_SOURCE_VARIABLE,
  VOW_SOURCE_FLAG
};

/* A configuration under construction. */
struct vow_config_reading {
  struct vow_config config;
  enum vow_config_source participants_from;
  char *why; /* VOW_CONFIG_WHY_BYTES */
};

/* Sets one option from its text. `place` says where it stands: "flag --listen", "line 7 of …".
 * The key may be "participant". False for a key that does not exist. */
bool vow_config_key_exists(const char *key);
enum vow_error vow_config_set(struct vow_config_reading *reading, enum vow_config_source source,
                              const char *place, const char *key, const char *value) VOW_MUST_CHECK;

/* Reads the file at config.file. */
enum vow_error vow_config_read_file(struct vow_config_reading *reading) VOW_MUST_CHECK;

#endif
