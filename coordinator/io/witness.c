/*
 * See witness.h. Two lines of text, each in a sector of its own, are written in turn, so that what
 * tears one leaves the other; a line that does not match its checksum is none. (Nothing is synced
 * between the two, so a cut may tear both, or the newer one and take back the older: the file lags
 * or is none then, and is never ahead.)
 */
#include "witness.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/hash.h"

#define LINE_BYTES  96
#define LINE_OFFSET 4096 /* of the second */

static uint64_t checksum(struct vow_log_position at) {
  uint8_t bytes[16];
  for (int i = 0; i < 8; i++) {
    bytes[i] = (uint8_t)(at.incarnation >> (8 * i));
    bytes[8 + i] = (uint8_t)(at.position >> (8 * i));
  }
  return vow_hash64(bytes, sizeof bytes, 0);
}

/* A signal is no reason to take the file for one that cannot be read. errno is 0 unless it fails.
 */
static ssize_t read_at(int fd, char *out, size_t bytes, off_t at) {
  ssize_t got;
  do {
    errno = 0;
    got = pread(fd, out, bytes, at);
  } while (got < 0 && errno == EINTR);
  return got;
}

static ssize_t write_at(int fd, const char *data, size_t bytes, off_t at) {
  ssize_t done;
  do done = pwrite(fd, data, bytes, at);
  while (done < 0 && errno == EINTR);
  return done;
}

/* False: there is no such line; errno is 0, or says why it could not be read. */
static bool read_line(int fd, unsigned slot, struct vow_log_position *out) {
  char line[LINE_BYTES + 1] = "";
  struct vow_log_position at;
  uint64_t sum;
  ssize_t got = read_at(fd, line, LINE_BYTES, (off_t)slot * LINE_OFFSET);
  if (got < LINE_BYTES) return false;
  int fields = sscanf(line, "vow witness incarnation %" SCNu64 " position %" SCNu64 " sum %" SCNx64,
                      &at.incarnation, &at.position, &sum);
  errno = 0; /* a line that is torn may run numbers together, and then they are out of range */
  if (fields != 3 || sum != checksum(at)) return false;
  *out = at;
  return true;
}

enum log_witness_state log_witness_read(const char *path, struct vow_log_position *out) {
  struct vow_log_position line, best = {0};
  int refused = 0, fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT ? LOG_WITNESS_MISSING : LOG_WITNESS_REFUSED;
  for (unsigned slot = 0; slot < 2; slot++) {
    bool read = read_line(fd, slot, &line);
    if (!read && errno != 0) refused = errno;
    if (read && vow_log_position_compare(line, best) > 0) best = line;
  }
  close(fd);
  errno = refused;
  if (refused != 0) return LOG_WITNESS_REFUSED;
  if (best.incarnation == 0) return LOG_WITNESS_UNREADABLE;
  *out = best;
  return LOG_WITNESS_READ;
}

bool log_witness_open(struct log_witness *witness, const char *path) {
  struct vow_log_position first = {0}, second = {0};
  witness->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (witness->fd < 0) return false;
  (void)read_line(witness->fd, 0, &first);
  (void)read_line(witness->fd, 1, &second);
  witness->slot = vow_log_position_compare(first, second) > 0; /* the older one is overwritten */
  return true;
}

bool log_witness_write(struct log_witness *witness, struct vow_log_position at) {
  char line[LINE_BYTES + 1];
  if (witness->fd < 0) return false;
  int used = snprintf(line, sizeof line,
                      "vow witness incarnation %" PRIu64 " position %" PRIu64 " sum %016" PRIx64,
                      at.incarnation, at.position, checksum(at));
  memset(line + used, ' ', (size_t)(LINE_BYTES - used));
  line[LINE_BYTES - 1] = '\n';
  ssize_t done = write_at(witness->fd, line, LINE_BYTES, (off_t)witness->slot * LINE_OFFSET);
  if (done != LINE_BYTES) return false;
  witness->slot ^= 1;
  return true;
}

bool log_witness_sync(struct log_witness *witness) {
  return witness->fd >= 0 && fdatasync(witness->fd) == 0;
}

void log_witness_close(struct log_witness *witness) {
  if (witness->fd >= 0) close(witness->fd);
  witness->fd = -1;
}
