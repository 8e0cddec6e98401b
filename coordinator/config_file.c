/*
 * Reads the configuration file with libinih, which is small, old and does one thing. Its line
 * buffer is fixed and it splits longer lines without a word, and it goes on after an error; both
 * are put right here. Called by config.c alone.
 */
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_internal.h"

#define INI_NO_MEMORY (-2) /* libinih's; its header has no name for it */

struct file_reader {
  struct vow_config_reading *reading;
  FILE *file;
  unsigned line;
  unsigned *seen; /* by option: the line that sets it */
  enum vow_error error;
  int error_number; /* of the last line that could not be read */
};

static enum vow_error cannot_read(struct vow_config_reading *reading, int error_number) {
  if (error_number == ENOMEM) return VOW_E_NO_MEMORY; /* the file is not what is wrong */
  snprintf(reading->why, VOW_CONFIG_WHY_BYTES, "cannot read the configuration file %s: %s",
           reading->config.file, strerror(error_number));
  return VOW_E_CONFIG;
}

static void fail(struct file_reader *reader, const char *what) {
  if (reader->error != VOW_OK) return;
  reader->error = VOW_E_CONFIG;
  snprintf(reader->reading->why, VOW_CONFIG_WHY_BYTES, "line %u of %s: %s", reader->line,
           reader->reading->config.file, what);
}

/* What the library would take for something else than it looks like; NULL: nothing. */
static const char *misread(const char *line) {
  size_t indent = strspn(line, " \t");
  if (strchr("#;\r\n", line[indent]) != NULL) return NULL; /* a comment, or empty */
  if (indent > 0) return "indented, and would go on with the line before; begin it with its key";
  if (strstr(line, " ;") != NULL || strstr(line, "\t;") != NULL) {
    return "cut off at its \";\", where a comment would begin; write comments on lines of their "
           "own, beginning with #, and set such a value by its flag or its VOW_ variable";
  }
  return NULL;
}

/* As fgets, but it says how much it has read: a NUL would hide the rest of its line, and a crash
 * may leave a file, or its end, full of them. */
static size_t read_line(FILE *file, char *buffer, size_t bytes) {
  size_t length = 0;
  int c = 0;
  while (length < bytes - 1 && c != '\n' && (c = getc(file)) != EOF) buffer[length++] = (char)c;
  buffer[length] = '\0';
  return length;
}

/* Hands libinih one line. Its buffer has `bytes`; what does not fit is an error, not two lines. */
static char *next_line(char *buffer, int bytes, void *context) {
  struct file_reader *reader = context;
  if (reader->error != VOW_OK) return NULL;
  size_t length = read_line(reader->file, buffer, (size_t)bytes);
  if (length == 0) {
    reader->error_number = errno;
    return NULL;
  }
  reader->line++;
  if (strlen(buffer) < length) {
    fail(reader, "holds a NUL byte, as a file that was not written to its end may; write it anew");
    return NULL;
  }
  if (length == (size_t)bytes - 1 && buffer[length - 1] != '\n') {
    char what[160];
    snprintf(what, sizeof what,
             "longer than %d bytes; set this option by its flag or its VOW_ variable instead",
             bytes - 2);
    fail(reader, what);
    return NULL;
  }
  const char *wrong = misread(buffer);
  if (wrong == NULL) return buffer;
  fail(reader, wrong);
  return NULL;
}

/* A key that stands twice is an error unless it is `participant`: one of the two would be ignored.
 */
static bool seen_before(struct file_reader *reader, const char *key) {
  for (unsigned i = 0; i < vow_option_count; i++) {
    if (strcmp(vow_options[i].key, key) != 0) continue;
    if (reader->seen[i] != 0) {
      char what[160];
      snprintf(what, sizeof what, "%s is set a second time (first in line %u); remove one of them",
               key, reader->seen[i]);
      fail(reader, what);
      return true;
    }
    reader->seen[i] = reader->line;
  }
  return false;
}

/* libinih's callback: 1 is success. */
static int on_pair(void *context, const char *section, const char *key, const char *value) {
  struct file_reader *reader = context;
  char place[256], what[320];
  if (reader->error != VOW_OK) return 0;
  if (section[0] != '\0') {
    snprintf(what, sizeof what, "\"[%s]\" starts a section; this file has none", section);
    fail(reader, what);
    return 0;
  }
  if (!vow_config_key_exists(key)) {
    snprintf(what, sizeof what, "\"%.100s\" is not an option; vowd --help lists them", key);
    fail(reader, what);
    return 0;
  }
  if (seen_before(reader, key)) return 0;
  snprintf(place, sizeof place, "line %u of %s", reader->line, reader->reading->config.file);
  reader->error = vow_config_set(reader->reading, VOW_SOURCE_FILE, place, key, value);
  return reader->error == VOW_OK;
}

enum vow_error vow_config_read_file(struct vow_config_reading *reading) {
  struct file_reader reader = {.reading = reading};
  reader.file = fopen(reading->config.file, "re");
  if (reader.file == NULL) {
    return cannot_read(reading, errno);
  }
  reader.seen = calloc(vow_option_count, sizeof *reader.seen);
  if (reader.seen == NULL) {
    reader.error = VOW_E_NO_MEMORY;
    goto out;
  }
  int bad_line = ini_parse_stream(next_line, &reader, on_pair, &reader);
  if (bad_line == INI_NO_MEMORY) {
    reader.error = VOW_E_NO_MEMORY;
  } else if (reader.error == VOW_OK && bad_line != 0) {
    reader.line = bad_line < 0 ? reader.line : (unsigned)bad_line;
    fail(&reader, "not of the form \"key = value\"");
  }
  if (reader.error == VOW_OK && ferror(reader.file)) {
    reader.error = cannot_read(reading, reader.error_number);
  }

out:
  free(reader.seen);
  fclose(reader.file);
  return reader.error;
}
