/* See disk.h. */
#include "disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct disk_faults disk_faults;
uint32_t disk_syncs;
static struct disk *in_use;
static struct disk_history *notes;

static void *checked(void *memory) {
  if (memory == NULL) abort();
  return memory;
}

uint64_t disk_random(uint64_t *state) {
  uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

/* ---- bytes ---- */

static void resize(uint8_t **data, uint64_t *bytes, uint64_t *room, uint64_t wanted) {
  if (wanted > *room) {
    *room = wanted + wanted / 4 + 4096;
    *data = checked(realloc(*data, *room));
  }
  if (wanted > *bytes) memset(*data + *bytes, 0, wanted - *bytes);
  *bytes = wanted;
}

static void resize_cache(struct disk_file *file, uint64_t bytes) {
  resize(&file->cache, &file->cache_bytes, &file->cache_room, bytes);
}

static void resize_platter(struct disk_file *file, uint64_t bytes) {
  resize(&file->platter, &file->platter_bytes, &file->platter_room, bytes);
}

static struct disk_file *add_file(struct disk *disk, uint32_t number) {
  if (number >= disk->file_count) {
    disk->files = checked(realloc(disk->files, (number + 1) * sizeof *disk->files));
    memset(&disk->files[disk->file_count], 0,
           (number + 1 - disk->file_count) * sizeof *disk->files);
    disk->file_count = number + 1;
  }
  return &disk->files[number];
}

/* ---- the folder ---- */

static struct disk_entry *find_entry(struct disk_folder *folder, const char *name) {
  for (uint32_t i = 0; i < folder->count; i++) {
    if (strcmp(folder->entries[i].name, name) == 0) return &folder->entries[i];
  }
  return NULL;
}

static void link_name(struct disk_folder *folder, const char *name, uint32_t file) {
  struct disk_entry *entry = find_entry(folder, name);
  if (entry == NULL) {
    if (folder->count == DISK_ENTRIES_MAX) abort();
    entry = &folder->entries[folder->count++];
    snprintf(entry->name, sizeof entry->name, "%s", name);
  }
  entry->file = file;
}

static void unlink_name(struct disk_folder *folder, const char *name) {
  struct disk_entry *entry = find_entry(folder, name);
  if (entry != NULL) *entry = folder->entries[--folder->count];
}

/* A renaming whose file is not on the platter yet brings nothing there. */
static void change_folder(struct disk_folder *folder, const struct disk_op *op) {
  if (op->type == DISK_CREATE) link_name(folder, op->name, op->file);
  if (op->type == DISK_REMOVE) unlink_name(folder, op->name);
  if (op->type == DISK_RENAME) {
    unlink_name(folder, op->name);
    link_name(folder, op->to, op->file);
  }
}

static bool is_of_folder(const struct disk_op *op) {
  return op->type == DISK_CREATE || op->type == DISK_REMOVE || op->type == DISK_RENAME;
}

/* ---- the platter ---- */

/* Sectors of a write that its file was too short for are filled by what comes later. */
static void copy_sectors(struct disk_file *file, const struct disk_op *op, uint64_t from,
                         uint64_t to) {
  if (to > file->platter_bytes) to = file->platter_bytes;
  if (to > op->from + op->span) to = op->from + op->span;
  if (from < to) memcpy(file->platter + from, op->data + (from - op->from), to - from);
}

static void keep_write(struct disk_file *file, const struct disk_op *op) {
  uint64_t end = op->at + op->bytes;
  if (end > file->platter_bytes) resize_platter(file, end);
  copy_sectors(file, op, op->from, op->from + op->span);
}

/* Sectors are written as a whole. Only the witness file is to do without that. */
static bool tears_anywhere(const struct disk_op *op) {
  return strstr(op->name, "-witness") != NULL;
}

/* Of each sector all or nothing, or what the write brings it before or behind some byte. */
static void tear_write(struct disk_file *file, const struct disk_op *op, uint64_t *torn) {
  uint64_t end = op->at + op->bytes;
  bool whole_size = disk_random(torn) % 2 == 0;
  if (whole_size && end > file->platter_bytes) resize_platter(file, end);
  for (uint64_t sector = op->from; sector < op->from + op->span; sector += DISK_SECTOR) {
    uint64_t from = sector, to = sector + DISK_SECTOR, any = disk_random(torn);
    uint64_t first = from < op->at ? op->at : from, last = to > end ? end : to;
    if (any % 2 == 0) continue;
    if (tears_anywhere(op) && any / 2 % 4 == 0) to = last = first + any / 8 % (last - first);
    if (tears_anywhere(op) && any / 2 % 4 == 1) from = first + any / 8 % (last - first);
    if (last > file->platter_bytes) resize_platter(file, last);
    copy_sectors(file, op, from, to);
  }
}

static void settle(struct disk *disk, const struct disk_op *op, enum disk_fate fate,
                   uint64_t *torn) {
  if (fate == DISK_DROP) return;
  if (is_of_folder(op)) {
    change_folder(&disk->platter, op);
    return;
  }
  struct disk_file *file = add_file(disk, op->file);
  if (op->type == DISK_TRUNCATE)
    resize_platter(file, op->at);
  else if (fate == DISK_TEAR)
    tear_write(file, op, torn);
  else
    keep_write(file, op);
}

/* Takes what belongs to the file (or to the folder) off the list; `fates` NULL: all is kept. */
static void settle_pending(struct disk *disk, bool folder, uint32_t file, const uint8_t *fates,
                           uint64_t torn) {
  uint32_t left = 0;
  for (uint32_t i = 0; i < disk->pending_count; i++) {
    const struct disk_op *op = disk->pending[i];
    if (is_of_folder(op) != folder || (!folder && op->file != file))
      disk->pending[left++] = op;
    else
      settle(disk, op, fates == NULL ? DISK_KEEP : (enum disk_fate)fates[i], &torn);
  }
  disk->pending_count = left;
}

/* ---- states ---- */

struct disk *disk_new(void) {
  return checked(calloc(1, sizeof(struct disk)));
}

static void free_files(struct disk *disk) {
  for (uint32_t i = 0; i < disk->file_count; i++) {
    free(disk->files[i].cache);
    free(disk->files[i].platter);
  }
  free(disk->files);
}

void disk_free(struct disk *disk) {
  if (disk == NULL) return;
  free_files(disk);
  free(disk);
}

/* A file that no name leads to, and none may yet, is left out. */
static bool may_be_found(const struct disk *disk, uint32_t file) {
  for (uint32_t i = 0; i < disk->platter.count; i++) {
    if (disk->platter.entries[i].file == file) return true;
  }
  for (uint32_t i = 0; i < disk->pending_count; i++) {
    if (disk->pending[i]->file == file) return true;
  }
  return false;
}

static void copy_platter(struct disk *to, const struct disk *from) {
  to->platter = from->platter;
  for (uint32_t i = 0; i < from->file_count; i++) {
    struct disk_file *file = add_file(to, i);
    resize_platter(file, may_be_found(from, i) ? from->files[i].platter_bytes : 0);
    if (file->platter_bytes > 0) memcpy(file->platter, from->files[i].platter, file->platter_bytes);
  }
}

/* After a cut there is nothing but the platter. */
static void show_platter(struct disk *disk) {
  disk->cache = disk->platter;
  disk->pending_count = 0;
  for (uint32_t i = 0; i < disk->file_count; i++) {
    struct disk_file *file = &disk->files[i];
    resize_cache(file, file->platter_bytes);
    if (file->cache_bytes > 0) memcpy(file->cache, file->platter, file->cache_bytes);
  }
}

void disk_after_cut(const struct disk *disk, const uint8_t *fates, uint64_t torn,
                    struct disk *out) {
  while (out->file_count > disk->file_count) {
    out->file_count--;
    free(out->files[out->file_count].cache);
    free(out->files[out->file_count].platter);
  }
  copy_platter(out, disk);
  for (uint32_t i = 0; i < disk->pending_count; i++)
    settle(out, disk->pending[i], (enum disk_fate)fates[i], &torn);
  out->cache = out->platter;
  for (uint32_t i = 0; i < out->file_count; i++) {
    struct disk_file *file = &out->files[i], old = *file;
    file->cache = old.platter;
    file->cache_bytes = old.platter_bytes;
    file->cache_room = old.platter_room;
    file->platter = old.cache;
    file->platter_bytes = 0;
    file->platter_room = old.cache_room;
  }
}

static void replay_write(struct disk *disk, const struct disk_op *op) {
  struct disk_file *file = add_file(disk, op->file);
  if (op->at + op->bytes > file->cache_bytes) resize_cache(file, op->at + op->bytes);
  memcpy(file->cache + op->from, op->data, op->span);
}

void disk_replay(struct disk *disk, const struct disk_op *op) {
  switch (op->type) {
    case DISK_SYNC:
      settle_pending(disk, false, op->file, NULL, 0);
      return;
    case DISK_SYNC_FAILED:
      settle_pending(disk, false, op->file, op->data, op->torn);
      return;
    case DISK_SYNC_FOLDER:
      settle_pending(disk, true, 0, NULL, 0);
      return;
    case DISK_CUT: {
      uint64_t torn = op->torn;
      for (uint32_t i = 0; i < disk->pending_count; i++)
        settle(disk, disk->pending[i], (enum disk_fate)op->data[i], &torn);
      show_platter(disk);
      return;
    }
    case DISK_WRITE:
      replay_write(disk, op);
      break;
    case DISK_TRUNCATE:
      resize_cache(add_file(disk, op->file), op->at);
      break;
    default:
      if (op->type == DISK_CREATE) add_file(disk, op->file);
      change_folder(&disk->cache, op);
  }
  if (disk->pending_count == DISK_PENDING_MAX) abort();
  disk->pending[disk->pending_count++] = op;
}

void disk_history_free(struct disk_history *history) {
  for (uint32_t i = 0; i < history->count; i++) {
    free(history->ops[i]->data);
    free(history->ops[i]);
  }
  free(history->ops);
  *history = (struct disk_history){0};
}

void disk_describe(const struct disk_op *op, char *out, size_t bytes) {
  static const char *const words[] = {"",       "write",  "truncate", "sync",        "failed sync",
                                      "create", "remove", "rename",   "sync folder", "power cut"};
  const char *word = words[op->type], *slash = strrchr(op->name, '/');
  const char *name = slash == NULL ? op->name : slash + 1;
  if (op->type == DISK_WRITE)
    snprintf(out, bytes, "%s %s: %u bytes at %llu", word, name, op->bytes,
             (unsigned long long)op->at);
  else if (op->type == DISK_TRUNCATE)
    snprintf(out, bytes, "%s %s to %llu bytes", word, name, (unsigned long long)op->at);
  else if (op->type == DISK_RENAME)
    snprintf(out, bytes, "%s %s to %s", word, name, strrchr(op->to, '/') + 1);
  else
    snprintf(out, bytes, "%s %s", word, name);
}

/* ---- the disk in use ---- */

void disk_use(struct disk *disk, struct disk_history *history) {
  in_use = disk;
  notes = history;
}

bool disk_call_works(void) {
  if (disk_faults.dead) return false;
  return disk_faults.fail_call == 0 || --disk_faults.fail_call > 0;
}

bool disk_has_room(uint32_t number, uint64_t end) {
  if (disk_faults.full_for == 0 || end <= disk_size(number)) return true;
  if (disk_faults.full_after > 0) {
    disk_faults.full_after--;
    return true;
  }
  disk_faults.full_for--;
  return false;
}

bool disk_is_inside(const char *path) {
  size_t bytes = strlen(DISK_FOLDER);
  return strncmp(path, DISK_FOLDER, bytes) == 0 && (path[bytes] == '\0' || path[bytes] == '/');
}

static const char *name_of(const struct disk *disk, uint32_t file) {
  for (uint32_t i = 0; i < disk->cache.count; i++) {
    if (disk->cache.entries[i].file == file) return disk->cache.entries[i].name;
  }
  return DISK_FOLDER "/?";
}

/* Notes the operation and does it. The note is taken over. */
static void act(struct disk_op op) {
  if (op.name[0] == '\0' && op.type != DISK_SYNC_FOLDER && op.type != DISK_CUT)
    snprintf(op.name, sizeof op.name, "%s", name_of(in_use, op.file));
  struct disk_op *note = checked(malloc(sizeof *note));
  *note = op;
  if (notes->count == notes->capacity) {
    notes->capacity = notes->capacity == 0 ? 256 : notes->capacity * 2;
    notes->ops = checked(realloc(notes->ops, notes->capacity * sizeof(struct disk_op *)));
  }
  notes->ops[notes->count++] = note;
  disk_replay(in_use, note);
}

int64_t disk_find(const char *path) {
  struct disk_entry *entry = find_entry(&in_use->cache, path);
  return entry == NULL ? -1 : (int64_t)entry->file;
}

const char *disk_name(uint32_t n) {
  return n < in_use->cache.count ? in_use->cache.entries[n].name : NULL;
}

static void name_operation(enum disk_op_type type, uint32_t file, const char *name,
                           const char *to) {
  struct disk_op op = {.type = type, .file = file};
  snprintf(op.name, sizeof op.name, "%s", name);
  snprintf(op.to, sizeof op.to, "%s", to);
  if (notes != NULL)
    act(op);
  else
    change_folder(&in_use->cache, &op);
}

uint32_t disk_create(const char *path) {
  uint32_t file = in_use->file_count;
  add_file(in_use, file);
  name_operation(DISK_CREATE, file, path, "");
  return file;
}

void disk_remove(const char *path) {
  int64_t file = disk_find(path);
  if (file >= 0) name_operation(DISK_REMOVE, (uint32_t)file, path, "");
}

void disk_rename(const char *from, const char *to) {
  int64_t file = disk_find(from);
  if (file >= 0) name_operation(DISK_RENAME, (uint32_t)file, from, to);
}

void disk_read(uint32_t number, void *data, size_t bytes, uint64_t at) {
  const struct disk_file *file = &in_use->files[number];
  uint64_t there = at < file->cache_bytes ? file->cache_bytes - at : 0;
  if (there > bytes) there = bytes;
  if (there > 0) memcpy(data, file->cache + at, there);
  memset((uint8_t *)data + there, 0, bytes - there);
}

void disk_write(uint32_t number, const void *data, size_t bytes, uint64_t at) {
  struct disk_file *file = &in_use->files[number];
  if (at + bytes > file->cache_bytes) resize_cache(file, at + bytes);
  if (bytes > 0) memcpy(file->cache + at, data, bytes);
  if (notes == NULL || bytes == 0) return;
  struct disk_op op = {.type = DISK_WRITE, .file = number, .at = at, .bytes = (uint32_t)bytes};
  uint64_t end = (at + bytes + DISK_SECTOR - 1) / DISK_SECTOR * DISK_SECTOR;
  if (end > file->cache_bytes) end = file->cache_bytes;
  op.from = at / DISK_SECTOR * DISK_SECTOR;
  op.span = (uint32_t)(end - op.from);
  op.data = checked(malloc(op.span));
  memcpy(op.data, file->cache + op.from, op.span);
  act(op);
}

void disk_truncate(uint32_t number, uint64_t bytes) {
  if (notes != NULL)
    act((struct disk_op){.type = DISK_TRUNCATE, .file = number, .at = bytes});
  else
    resize_cache(&in_use->files[number], bytes);
}

uint64_t disk_size(uint32_t number) {
  return in_use->files[number].cache_bytes;
}

/* Often all or nothing; else any part. */
static uint8_t *draw_fates(uint64_t *random) {
  uint8_t *fates = checked(calloc(in_use->pending_count + 1, 1));
  uint64_t kind = disk_random(random) % 4;
  for (uint32_t i = 0; i < in_use->pending_count; i++) {
    uint64_t any = disk_random(random) % 8;
    if (kind < 2)
      fates[i] = kind == 0 ? DISK_DROP : DISK_KEEP;
    else
      fates[i] = any == 0 ? DISK_TEAR : any < 4 ? DISK_KEEP : DISK_DROP;
  }
  return fates;
}

bool disk_sync(uint32_t number) {
  const char *lie = disk_faults.lie_about_file;
  if (lie != NULL && strstr(name_of(in_use, number), lie) != NULL) return true;
  disk_syncs++;
  bool fails = disk_faults.fail_sync > 0 && --disk_faults.fail_sync == 0;
  if (notes == NULL) return !fails;
  struct disk_op op = {.type = fails ? DISK_SYNC_FAILED : DISK_SYNC, .file = number};
  if (fails) {
    op.data = draw_fates(&disk_faults.seed);
    op.torn = disk_random(&disk_faults.seed);
  }
  act(op);
  return !fails;
}

void disk_sync_folder(void) {
  if (notes != NULL && !disk_faults.lie_about_folder)
    act((struct disk_op){.type = DISK_SYNC_FOLDER});
}

void disk_cut_now(uint64_t seed) {
  struct disk_op op = {.type = DISK_CUT, .data = draw_fates(&seed)};
  op.torn = disk_random(&seed);
  act(op);
}
