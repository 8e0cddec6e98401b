/*
 * The daemon's log. See logger.h.
 */
#include "logger.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "utf8.h"

#define RATE_WINDOW_MS  10000
#define LINE_BYTES_KEPT 2048 /* from the beginning: who tells of a lack of memory needs none */

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void vow_logger_process_init(void) {
  int fd;
  do {
    fd = open("/dev/null", O_RDONLY); /* takes the lowest number that is free */
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) close(fd);
}

void vow_logger_init(struct vow_logger *logger, int fd) {
  logger->fd = fd;
  logger->level = VOW_LEVEL_INFO;
  logger->format = VOW_FORMAT_TEXT;
  vow_buf_init(&logger->line, VOW_LOGGER_LINE_BYTES);
  vow_buf_reserve(&logger->line, LINE_BYTES_KEPT);
}

void vow_logger_fini(struct vow_logger *logger) {
  vow_buf_fini(&logger->line);
}

static uint64_t wall_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void put_time(struct vow_buf *line, uint64_t unix_ms) {
  char text[32];
  time_t seconds = (time_t)(unix_ms / 1000);
  struct tm tm;
  gmtime_r(&seconds, &tm);
  strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
  vow_buf_printf(line, "%s.%03uZ", text, (unsigned)(unix_ms % 1000));
}

__attribute__((format(printf, 4, 0))) static void begin(struct vow_logger *logger,
                                                        enum vow_logger_level level,
                                                        const char *event, const char *format,
                                                        va_list arguments) {
  char message[VOW_LOGGER_VALUE_BYTES];
  vsnprintf(message, sizeof message, format, arguments);
  vow_buf_reset(&logger->line);
  if (logger->format == VOW_FORMAT_JSON) {
    vow_jsonw_init(&logger->json, &logger->line);
    vow_jsonw_object(&logger->json, NULL);
    vow_jsonw_time(&logger->json, "time", wall_ms());
    vow_jsonw_string(&logger->json, "level", level_names[level]);
    vow_jsonw_string(&logger->json, "event", event);
    vow_jsonw_string(&logger->json, "message", message);
    return;
  }
  put_time(&logger->line, wall_ms());
  vow_buf_printf(&logger->line, " %-5s ", level_names[level]);
  vow_utf8_append_safe(&logger->line, message, "");
}

bool vow_logger_begin(struct vow_logger *logger, enum vow_logger_level level, const char *event,
                      const char *format, ...) {
  if (level > logger->level) return false;
  va_list arguments;
  va_start(arguments, format);
  begin(logger, level, event, format, arguments);
  va_end(arguments);
  return true;
}

void vow_logger_text(struct vow_logger *logger, const char *key, const char *value) {
  char cut[VOW_LOGGER_VALUE_BYTES];
  if (value == NULL) return;
  snprintf(cut, sizeof cut, "%s", value);
  if (logger->format == VOW_FORMAT_JSON) {
    vow_jsonw_string(&logger->json, key, cut);
    return;
  }
  bool quote = cut[0] == '\0' || strpbrk(cut, " \"=\\") != NULL;
  vow_buf_printf(&logger->line, quote ? " %s=\"" : " %s=", key);
  vow_utf8_append_safe(&logger->line, cut, "\"\\");
  if (quote) vow_buf_puts(&logger->line, "\"");
}

void vow_logger_uint(struct vow_logger *logger, const char *key, uint64_t value) {
  if (logger->format == VOW_FORMAT_JSON) {
    vow_jsonw_uint(&logger->json, key, value);
  } else {
    vow_buf_printf(&logger->line, " %s=%llu", key, (unsigned long long)value);
  }
}

void vow_logger_id(struct vow_logger *logger, const char *key, struct vow_id id) {
  char text[VOW_ID_TEXT_BYTES];
  vow_id_format(id, text);
  vow_logger_text(logger, key, text);
}

/* A line that did not fit or got no memory is written as far as it came: the place that reports the
 * trouble is the last one that may fail. Nobody is left to tell of a failing write. */
void vow_logger_end(struct vow_logger *logger) {
  if (logger->format == VOW_FORMAT_JSON) vow_jsonw_end(&logger->json);
  struct vow_buf *line = &logger->line;
  if (line->error == VOW_E_NO_MEMORY || line->data == NULL) {
    static const char why[] = "vowd: out of memory; give this process more\n";
    ssize_t ignored = write(logger->fd, why, sizeof why - 1);
    (void)ignored;
  }
  if (line->data == NULL) return;
  if (line->error == VOW_OK) vow_buf_puts(line, "\n");
  size_t bytes = line->bytes;
  if (line->error != VOW_OK && bytes > 0) line->data[bytes - 1] = '\n';
  ssize_t written = write(logger->fd, line->data, bytes);
  (void)written;
}

void vow_logger_say(struct vow_logger *logger, enum vow_logger_level level, const char *event,
                    const char *format, ...) {
  if (level > logger->level) return;
  va_list arguments;
  va_start(arguments, format);
  begin(logger, level, event, format, arguments);
  va_end(arguments);
  vow_logger_end(logger);
}

bool vow_logger_allow(struct vow_logger_rate *rate, uint32_t burst, uint64_t now_ms) {
  if (now_ms - rate->since_ms >= RATE_WINDOW_MS || rate->since_ms == 0) {
    rate->since_ms = now_ms;
    rate->written = 0;
  }
  if (rate->written >= burst) {
    rate->suppressed++;
    return false;
  }
  rate->written++;
  return true;
}
