/* See coordinator_witness.h. The file is read here with code of its own. */
#include "coordinator_witness.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator_operator.h"
#include "io/hash.h"
#include "side.h"

#define WITNESS_PATH DISK_FOLDER "/vow.log-witness"
#define LINE_BYTES   96u
#define SECOND_LINE  4096u
#define FILE_BYTES   (SECOND_LINE + LINE_BYTES)
#define COPIES_MAX   8
#define SYNCED_MAX   16

struct kept_file {
  bool there;
  uint8_t *data; /* owned */
  size_t bytes;
};

static struct {
  /* as it was looked at */
  enum log_witness_state state;
  struct vow_log_position at;
  struct kept_file file;
  /* of the story */
  struct {
    uint32_t from; /* this cut */
    struct vow_log_position at;
  } synced[SYNCED_MAX];
  struct {
    uint32_t from;
    uint64_t incarnation;
    struct kept_file log, wal;
  } copies[COPIES_MAX];
  uint32_t synced_count, copy_count;
} model;

/* ---- files ---- */

static void keep_file(struct kept_file *kept, const char *path) {
  int64_t file = disk_find(path);
  free(kept->data);
  *kept = (struct kept_file){.there = file >= 0};
  if (file < 0) return;
  kept->bytes = disk_size((uint32_t)file);
  kept->data = malloc(kept->bytes + 1);
  if (kept->data == NULL) abort();
  disk_read((uint32_t)file, kept->data, kept->bytes, 0);
}

static void put_file(const struct kept_file *kept, const char *path) {
  disk_remove(path);
  if (kept->there) disk_write(disk_create(path), kept->data, kept->bytes, 0);
}

static const char *beside(const char *path) {
  static char name[DISK_NAME_BYTES];
  snprintf(name, sizeof name, "%s-wal", path);
  return name;
}

/* ---- the story ---- */

void witness_note_synced(struct vow_log_position told) {
  if (model.synced_count == SYNCED_MAX) abort();
  model.synced[model.synced_count].from = side_now();
  model.synced[model.synced_count++].at = told;
}

void witness_keep_copy(const char *path, uint64_t incarnation) {
  if (model.copy_count == COPIES_MAX) abort();
  uint32_t n = model.copy_count++;
  model.copies[n].from = side_now();
  model.copies[n].incarnation = incarnation;
  keep_file(&model.copies[n].log, path);
  keep_file(&model.copies[n].wal, beside(path));
}

void witness_forget(void) {
  for (uint32_t i = 0; i < model.copy_count; i++) {
    free(model.copies[i].log.data);
    free(model.copies[i].wal.data);
  }
  free(model.file.data);
  memset(&model, 0, sizeof model);
}

/* ---- judging ---- */

static uint64_t sum_of(struct vow_log_position at) {
  uint8_t bytes[16];
  for (int i = 0; i < 8; i++) {
    bytes[i] = (uint8_t)(at.incarnation >> (8 * i));
    bytes[8 + i] = (uint8_t)(at.position >> (8 * i));
  }
  return vow_hash64(bytes, sizeof bytes, 0);
}

/* The position of a line; nothing where it is not whole. */
static struct vow_log_position read_line(size_t offset, bool summed) {
  char line[LINE_BYTES + 1] = "";
  struct vow_log_position at = {0};
  uint64_t sum = 0;
  if (model.file.bytes < offset + LINE_BYTES) return at;
  memcpy(line, model.file.data + offset, LINE_BYTES);
  int fields = sscanf(line, "vow witness incarnation %" SCNu64 " position %" SCNu64 " sum %" SCNx64,
                      &at.incarnation, &at.position, &sum);
  bool whole = summed ? fields == 3 && sum == sum_of(at) : fields >= 2;
  return whole ? at : (struct vow_log_position){0};
}

static struct vow_log_position newest_line(bool summed) {
  struct vow_log_position first = read_line(0, summed), second = read_line(SECOND_LINE, summed);
  return vow_log_position_compare(first, second) > 0 ? first : second;
}

void witness_look(void) {
  keep_file(&model.file, WITNESS_PATH);
  model.at = newest_line(true);
  model.state = !model.file.there          ? LOG_WITNESS_MISSING
                : model.at.incarnation > 0 ? LOG_WITNESS_READ
                                           : LOG_WITNESS_UNREADABLE;
}

/* A cut may tear the line that was synced, where it was about to be written over. */
static bool has_torn_line(void) {
  return (model.file.bytes > 0 && read_line(0, true).incarnation == 0) ||
         (model.file.bytes > SECOND_LINE && read_line(SECOND_LINE, true).incarnation == 0);
}

static bool is_behind(struct vow_log_position least, const char *because) {
  if (vow_log_position_compare(model.at, least) >= 0) return false;
  (void)wrong(
      "the witness file is at position %llu of incarnation %llu, and position %llu of "
      "incarnation %llu %s",
      (unsigned long long)model.at.position, (unsigned long long)model.at.incarnation,
      (unsigned long long)least.position, (unsigned long long)least.incarnation, because);
  return true;
}

bool witness_judge(const struct vow_log_info *info, struct vow_log_position told, uint32_t cut) {
  struct vow_log_position synced = {0};
  for (uint32_t i = 0; i < model.synced_count && model.synced[i].from <= cut; i++)
    synced = model.synced[i].at;
  bool restored = operator_expects_quarantine(info->position, model.at, cut);
  if (restored && info->quarantined_ms == 0)
    return wrong("the log was restored from a backup, and is in no quarantine at position %llu",
                 (unsigned long long)info->position);
  if (operator_expects_mark(cut) && strstr(info->why, "restored from") == NULL)
    return wrong("a restored log lacks its mark, and is in quarantine only as %s", info->why);
  if (!restored && info->quarantined_ms != 0)
    return wrong("the log is whole, and is in quarantine: %s", info->why);
  if (info->witness != model.state || vow_log_position_compare(info->witnessed, model.at) != 0)
    return wrong(
        "the witness file was read as position %llu of incarnation %llu, and says %llu "
        "of %llu",
        (unsigned long long)info->witnessed.position,
        (unsigned long long)info->witnessed.incarnation, (unsigned long long)model.at.position,
        (unsigned long long)model.at.incarnation);
  return (has_torn_line() || !is_behind(synced, "was synced")) && !is_behind(told, "was told");
}

/* The last copy that was made before, or the one before that. */
static int64_t find_copy(uint32_t cut) {
  int64_t last = (int64_t)model.copy_count - 1;
  while (last >= 0 && model.copies[last].from > cut) last--;
  return last > 0 && cut % 3 == 0 ? last - 1 : last;
}

/* A log of one story has been wherever it was told to be before, so it is behind whatever comes
 * after its last position. */
bool witness_judge_copy(const struct vow_log_config *config, uint32_t cut) {
  char text[VOW_LOG_WHY_BYTES];
  struct vow_log *log = NULL;
  struct vow_log_info info;
  int64_t n = find_copy(cut);
  if (n < 0) return true;
  put_file(&model.copies[n].log, config->path);
  put_file(&model.copies[n].wal, beside(config->path));
  put_file(&model.file, WITNESS_PATH);
  if (vow_log_open(&log, config, text) != VOW_OK)
    return wrong("an older log does not open: %s", text);
  vow_log_info(log, &info);
  struct vow_log_position came = {model.copies[n].incarnation, info.position};
  bool behind = vow_log_position_compare(model.at, came) > 0;
  bool ok = behind == (info.quarantined_ms != 0);
  if (!ok)
    (void)wrong(
        "an older log, of position %llu of incarnation %llu, is %s quarantine, and the "
        "witness file says %llu of %llu",
        (unsigned long long)came.position, (unsigned long long)came.incarnation,
        behind ? "not in" : "in", (unsigned long long)model.at.position,
        (unsigned long long)model.at.incarnation);
  disk_faults.dead = true;
  vow_log_close(log);
  disk_faults.dead = false;
  return ok;
}

/* ---- mistakes ---- */

void witness_write_early(struct vow_log_position at) {
  struct log_witness witness;
  if (!log_witness_open(&witness, WITNESS_PATH)) return;
  (void)log_witness_write(&witness, at);
  log_witness_close(&witness);
}

#define WRAPPED(result, name, ...)   \
  result __real_##name(__VA_ARGS__); \
  result __wrap_##name(__VA_ARGS__); \
  result __wrap_##name(__VA_ARGS__)

WRAPPED(bool, log_witness_write, struct log_witness *witness, struct vow_log_position at) {
  return mistake == MISTAKE_NO_WITNESS || __real_log_witness_write(witness, at);
}

WRAPPED(bool, log_witness_sync, struct log_witness *witness) {
  return mistake == MISTAKE_NO_WITNESS_SYNC || __real_log_witness_sync(witness);
}

WRAPPED(enum log_witness_state, log_witness_read, const char *path, struct vow_log_position *out) {
  enum log_witness_state state = __real_log_witness_read(path, out);
  if (mistake != MISTAKE_TORN_WITNESS || state == LOG_WITNESS_MISSING) return state;
  struct vow_log_position at = newest_line(false);
  if (at.incarnation == 0) return LOG_WITNESS_UNREADABLE;
  *out = at;
  return LOG_WITNESS_READ;
}

WRAPPED(bool, vow_log_knows, const struct vow_incarnation *known, uint32_t count,
        struct vow_log_position at) {
  return mistake == MISTAKE_KNOWS_ALL || __real_vow_log_knows(known, count, at);
}
