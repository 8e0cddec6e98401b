/*
 * Playing a workload once, and cutting the power behind each of its operations. What waits for a
 * sync at that point is kept, dropped or torn: in every combination where few things wait, in drawn
 * ones where many do. Behind a write only combinations that keep it, at least in part, are
 * new; those without it came before.
 */
#include "images.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "side.h"
#include "turns.h"

#define EXHAUSTIVE_MAX 3 /* this many waiting operations are tried in all combinations */
#define DRAWN          4
#define DRAWN_OVER     8 /* behind a write over what is not synced */
#define SWEPT_SEED     7
#define BEGINNING_MS   UINT64_C(1800000000000) /* of every story */

static struct disk_history history;

struct run {
  uint64_t seed, random;
  const struct images_options *options;
  struct images_result *result;
  struct disk *disk; /* as it stood behind the last operation */
  struct disk *left; /* of it, by the power cut */
  uint32_t cut;      /* operations done */
  uint8_t fates[DISK_PENDING_MAX];
  uint64_t torn;
};

uint32_t side_now(void) {
  return history.count;
}

/* ---- one image ---- */

static void tell(const struct run *run) {
  static const char *const words[] = {"dropped", "kept", "torn"};
  char text[256];
  printf("seed %llu, image %llu: the power fails behind operation %u",
         (unsigned long long)run->seed, (unsigned long long)run->result->images, run->cut);
  if (run->cut > 0) {
    disk_describe(history.ops[run->cut - 1], text, sizeof text);
    printf(" (%s)", text);
  }
  printf("\n");
  uint32_t first = run->cut > 12 ? run->cut - 12 : 0;
  for (uint32_t i = first; i < run->cut; i++) {
    disk_describe(history.ops[i], text, sizeof text);
    printf("  %5u  %s\n", i + 1, text);
  }
  printf("waiting for a sync: %u\n", run->disk->pending_count);
  for (uint32_t i = 0; i < run->disk->pending_count; i++) {
    disk_describe(run->disk->pending[i], text, sizeof text);
    printf("  %-7s  %s\n", words[run->fates[i]], text);
  }
}

static bool try_image(struct run *run) {
  const struct images_options *options = run->options;
  struct images_result *result = run->result;
  bool wanted = options->only < 0 || (uint64_t)options->only == result->images;
  if (wanted) {
    if (options->only >= 0) tell(run);
    disk_after_cut(run->disk, run->fates, run->torn, run->left);
    disk_use(run->left, NULL);
    disk_vfs_seed(1);
    result->ok = side_judge(run->cut);
    if (!result->ok) result->failed = (int64_t)result->images;
  }
  result->images++;
  bool done = options->only >= 0 && wanted;
  return result->ok && !done && result->images < options->limit;
}

/* ---- all images behind one operation ---- */

static bool try_all(struct run *run, bool newest_kept) {
  uint32_t count = run->disk->pending_count, free_count = count - newest_kept;
  for (uint32_t bits = 0; bits < 1u << free_count; bits++) {
    for (uint32_t i = 0; i < count; i++) run->fates[i] = bits >> i & 1 ? DISK_KEEP : DISK_DROP;
    if (newest_kept) run->fates[count - 1] = DISK_KEEP;
    if (!try_image(run)) return false;
  }
  return true;
}

/* First all and only the newest; then any, or all but one. */
static void draw_fates(struct run *run, uint32_t n, bool newest_kept) {
  uint32_t count = run->disk->pending_count;
  uint64_t share = 1 + disk_random(&run->random) % 9;
  bool all_but_one = n >= 2 && share >= 8 && count > 0;
  for (uint32_t i = 0; i < count; i++) {
    uint64_t any = disk_random(&run->random);
    enum disk_fate fate = any % 8 < share ? DISK_KEEP : DISK_DROP;
    if (any / 8 % 6 == 0 && !all_but_one) fate = DISK_TEAR;
    if (n < 2) fate = n == 0 ? DISK_KEEP : DISK_DROP;
    run->fates[i] = (uint8_t)fate;
  }
  run->torn = disk_random(&run->random);
  if (all_but_one)
    run->fates[disk_random(&run->random) % count] = share == 8 ? DISK_DROP : DISK_TEAR;
  if (newest_kept && run->fates[count - 1] == DISK_DROP) run->fates[count - 1] = DISK_KEEP;
}

static bool try_drawn(struct run *run, uint32_t from, uint32_t to, bool newest_kept) {
  for (uint32_t n = from; n < to; n++) {
    draw_fates(run, n, newest_kept);
    if (!try_image(run)) return false;
  }
  return true;
}

/* Also with the newest torn, where all combinations are tried. */
static bool try_torn(struct run *run) {
  uint32_t count = run->disk->pending_count;
  for (int n = 0; n < 2; n++) {
    draw_fates(run, 2, true);
    run->fates[count - 1] = DISK_TEAR;
    if (!try_image(run)) return false;
  }
  return true;
}

/* While only a WAL or a journal is being written, whatever becomes of it is found by checksums: one
 * image behind each write will do. */
static bool is_plain(const struct disk *disk) {
  for (uint32_t i = 0; i < disk->pending_count; i++) {
    const struct disk_op *op = disk->pending[i];
    if (op->type != DISK_WRITE) return false;
    if (strstr(op->name, "-wal") == NULL && strstr(op->name, "-journal") == NULL) return false;
  }
  return disk->pending_count > 1;
}

/* What the newest write is written over has not been synced either, so that a cut may leave some of
 * both: frames of a transaction that was given up, and that the next one begins to overwrite. */
static bool is_over_unsynced(const struct disk *disk) {
  const struct disk_op *newest = disk->pending[disk->pending_count - 1];
  for (uint32_t i = 0; i + 1 < disk->pending_count; i++) {
    const struct disk_op *op = disk->pending[i];
    if (op->file == newest->file && op->at < newest->at + newest->bytes &&
        newest->at < op->at + op->bytes)
      return true;
  }
  return false;
}

static bool try_point(struct run *run) {
  uint32_t count = run->disk->pending_count;
  bool newest =
      run->cut > 0 && count > 0 && run->disk->pending[count - 1] == history.ops[run->cut - 1];
  if (is_plain(run->disk))
    return try_drawn(run, 2, newest && is_over_unsynced(run->disk) ? 2 + DRAWN_OVER : 3, newest);
  if (count > EXHAUSTIVE_MAX) return try_drawn(run, 0, DRAWN, newest);
  if (!try_all(run, newest)) return false;
  bool may_tear = newest && history.ops[run->cut - 1]->type == DISK_WRITE &&
                  history.ops[run->cut - 1]->span > DISK_SECTOR;
  return !may_tear || try_torn(run);
}

/* ---- one recording ---- */

static bool play(uint64_t seed, struct images_result *out) {
  struct disk *disk = disk_new();
  history = (struct disk_history){0};
  disk_use(disk, &history);
  disk_vfs_seed(seed);
  turns_set_ms(BEGINNING_MS);
  side_begin(seed, out->why);
  bool ok = side_play(seed);
  disk_free(disk);
  return ok;
}

void images_run(uint64_t seed, const struct images_options *options, struct images_result *out) {
  *out = (struct images_result){.ok = true, .failed = -1};
  struct run *run = calloc(1, sizeof *run);
  if (run == NULL) abort();
  run->seed = run->random = seed;
  run->options = options;
  run->result = out;
  out->ok = play(seed, out);
  run->disk = disk_new();
  run->left = disk_new();
  bool more = out->ok && try_point(run);
  while (more && run->cut < history.count) {
    disk_replay(run->disk, history.ops[run->cut++]);
    more = try_point(run);
  }
  disk_free(run->disk);
  disk_free(run->left);
  free(run);
  side_forget();
  disk_history_free(&history);
}

/* ---- the sweep ---- */

uint32_t images_sweep(uint32_t first, struct images_result *out) {
  *out = (struct images_result){.ok = true, .failed = -1};
  bool reached = true;
  uint32_t call = first;
  for (; reached && out->ok; call++) {
    struct disk *disk = disk_new();
    history = (struct disk_history){0};
    disk_use(disk, &history);
    disk_vfs_seed(1);
    turns_set_ms(BEGINNING_MS);
    side_begin(SWEPT_SEED, out->why);
    out->ok = side_sweep(call, &reached);
    if (!out->ok) out->failed = call;
    disk_free(disk);
    side_forget();
    disk_history_free(&history);
  }
  return out->ok ? call - 2 : 0;
}
