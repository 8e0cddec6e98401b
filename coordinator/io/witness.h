/*
 * The witness file, "<log>-witness": how far the log had come, kept outside of it, so that a log
 * that has lost its end, was copied back or deleted is noticed at the next start.
 *
 * It is written after each sync of the log and before anybody is told of it, and not synced itself:
 * it must never be ahead of the log, and it may lag. A process that dies leaves it whole, since the
 * kernel has it; a power cut may take its last seconds, and with an honest disk none of the log. It
 * is synced at checkpoints. A failed write is counted and no failure of the log.
 */
#ifndef VOW_COORDINATOR_WITNESS_H
#define VOW_COORDINATOR_WITNESS_H

#include <stdbool.h>

#include "position.h"

struct log_witness {
  int fd; /* -1: there is none */
  unsigned slot;
};

enum log_witness_state {
  LOG_WITNESS_READ = 1,
  LOG_WITNESS_MISSING,
  LOG_WITNESS_UNREADABLE, /* it is there, and says nothing that can be believed */
  LOG_WITNESS_REFUSED     /* the system does not let it be read now, errno says why */
};

/* Reads without changing anything. *out is untouched unless it was read. */
enum log_witness_state log_witness_read(const char *path, struct vow_log_position *out);
/* Makes it if need be. */
bool log_witness_open(struct log_witness *witness, const char *path);
bool log_witness_write(struct log_witness *witness, struct vow_log_position at);
bool log_witness_sync(struct log_witness *witness);
void log_witness_close(struct log_witness *witness);

#endif
