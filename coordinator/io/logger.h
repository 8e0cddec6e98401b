/*
 * The daemon's log: one line an event on standard error, for people or as JSON. Payloads, metadata
 * and idempotency keys never go into it; texts of others are escaped and cut.
 *
 * A line is begun, gets its fields, and is written by one write(2) at its end:
 *
 *   if (vow_logger_begin(logger, VOW_LEVEL_INFO, "listening", "listening on %s", address)) {
 *     vow_logger_text(logger, "address", address);
 *     vow_logger_end(logger);
 *   }
 *
 * Threads: the loop's.
 */
#ifndef VOW_COORDINATOR_LOGGER_H
#define VOW_COORDINATOR_LOGGER_H

#include "buf.h"
#include "id.h"
#include "json.h"

enum vow_logger_level {
  VOW_LEVEL_ERROR = 0, /* a person has to look */
  VOW_LEVEL_WARN = 1,  /* something is wrong and is being dealt with */
  VOW_LEVEL_INFO = 2,
  VOW_LEVEL_DEBUG = 3
};
enum vow_logger_format { VOW_FORMAT_TEXT = 0, VOW_FORMAT_JSON = 1 };

#define VOW_LOGGER_LINE_BYTES  32768
#define VOW_LOGGER_VALUE_BYTES 1100 /* a URL fits; longer texts are cut */

struct vow_logger {
  int fd;
  enum vow_logger_level level;
  enum vow_logger_format format;
  struct vow_buf line;
  struct vow_jsonw json;
};

/* Once a process, before it opens anything: where 0, 1 or 2 is closed, a file of the log or a pipe
 * of the loop would take its place, and be written to as the standard output. Afterwards it is open
 * for reading only, so writing to it still fails. */
void vow_logger_process_init(void);
void vow_logger_init(struct vow_logger *logger, int fd);
void vow_logger_fini(struct vow_logger *logger);

/* False when the level is not written: then nothing else is called. `event` is a stable word. */
bool vow_logger_begin(struct vow_logger *logger, enum vow_logger_level level, const char *event,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));
void vow_logger_text(struct vow_logger *logger, const char *key,
                     const char *value); /* NULL: none */
void vow_logger_uint(struct vow_logger *logger, const char *key, uint64_t value);
void vow_logger_id(struct vow_logger *logger, const char *key, struct vow_id id);
void vow_logger_end(struct vow_logger *logger);
/* The three in one, for events without fields. */
void vow_logger_say(struct vow_logger *logger, enum vow_logger_level level, const char *event,
                    const char *format, ...) __attribute__((format(printf, 4, 5)));

/* For events that can come thousands of times a second: at most `burst` in ten seconds. */
struct vow_logger_rate {
  uint64_t since_ms;
  uint32_t written;
  uint64_t suppressed; /* since the last one that was written */
};
bool vow_logger_allow(struct vow_logger_rate *rate, uint32_t burst, uint64_t now_ms);

#endif
