/*
 * Fills a coordinator's log with transactions that have ended, through the log's own code: every
 * row is what vowd would have written.
 *
 *     prefill FILE COUNT URL URL      prints how many it wrote
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "io/log.h"

#define GROUP     1000 /* rows in one transaction of the log */
#define BRANCHES  2
#define HISTORY   12
#define SPREAD_MS 3600000 /* they ended during the last hour */

static int wake_fd;

static void wake(void *context) {
  uint64_t one = 1;
  (void)context;
  if (write(wake_fd, &one, sizeof one) < 0) perror("prefill: eventfd");
}

static uint64_t wall_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void fail(const char *what, const char *why) {
  fprintf(stderr, "prefill: %s: %s\n", what, why);
  exit(1);
}

/* What a two-branch one-shot commit without trouble looks like at its end. */
struct image {
  struct vow_txn txn;
  struct vow_branch branches[BRANCHES];
  struct vow_history history[HISTORY];
};

static void image_init(struct image *image, char *urls[BRANCHES], char *names[BRANCHES]) {
  static const struct {
    enum vow_history_kind kind;
    const char *detail;
    uint32_t branch;
  } story[HISTORY] = {
      {VOW_HISTORY_BEGUN, NULL, 0},
      {VOW_HISTORY_ENLISTED, NULL, 1},
      {VOW_HISTORY_ENLISTED, NULL, 2},
      {VOW_HISTORY_COMMIT_ASKED, NULL, 0},
      {VOW_HISTORY_PREPARE_SENT, NULL, 1},
      {VOW_HISTORY_PREPARE_SENT, NULL, 2},
      {VOW_HISTORY_VOTE, "commit", 1},
      {VOW_HISTORY_VOTE, "commit", 2},
      {VOW_HISTORY_DECIDED, "commit", 0},
      {VOW_HISTORY_ACKNOWLEDGED, "committed", 1},
      {VOW_HISTORY_ACKNOWLEDGED, "committed", 2},
      {VOW_HISTORY_ENDED, NULL, 0},
  };
  *image = (struct image){.txn = {.state = VOW_TXN_COMMITTED,
                                  .decision_durable = true,
                                  .branch_count = BRANCHES,
                                  .history_count = HISTORY,
                                  .branches = image->branches,
                                  .history = image->history}};
  for (uint32_t i = 0; i < BRANCHES; i++) {
    image->branches[i] = (struct vow_branch){.number = i + 1,
                                             .vote = VOW_VOTE_COMMIT,
                                             .state = VOW_BRANCH_COMMITTED,
                                             .outcome = VOW_OUTCOME_COMMITTED,
                                             .attempts = 2,
                                             .name = names[i],
                                             .url = urls[i]};
  }
  for (unsigned i = 0; i < HISTORY; i++) {
    image->history[i] = (struct vow_history){.detail = story[i].detail,
                                             .branch = story[i].branch,
                                             .count = 1,
                                             .kind = (uint8_t)story[i].kind,
                                             .detail_static = true};
  }
}

static void image_date(struct image *image, uint64_t time_ms, uint64_t n) {
  struct vow_txn *txn = &image->txn;
  txn->id = vow_id_make(time_ms, (uint16_t)(n & 0xfff), n * UINT64_C(0x9e3779b97f4a7c15));
  txn->created_ms = time_ms;
  txn->updated_ms = txn->ended_ms = time_ms + 3;
  txn->deadline_ms = time_ms + 60000;
  for (unsigned i = 0; i < HISTORY; i++) image->history[i].time_ms = time_ms + i / 4;
}

static void append(struct vow_log *log, const struct vow_action *action) {
  if (vow_log_append(log, action) != VOW_OK) fail("append", "out of memory");
  vow_log_flush(log, 0);
}

static void await(struct vow_log *log, uint64_t position) {
  struct vow_log_progress progress = {0};
  struct pollfd poll_wake = {.fd = wake_fd, .events = POLLIN};
  uint64_t woken;
  for (;;) {
    vow_log_poll(log, &progress);
    if (progress.error != VOW_OK) fail("the log", progress.why);
    if (progress.durable >= position) return;
    (void)poll(&poll_wake, 1, 1000);
    if ((poll_wake.revents & POLLIN) != 0 && read(wake_fd, &woken, sizeof woken) < 0) return;
  }
}

static void fill(struct vow_log *log, struct image *image, uint64_t count) {
  struct vow_log_info info;
  vow_log_info(log, &info);
  uint64_t now = wall_ms(), position = info.position;
  /* The ids of the daemon that goes on here are above all of these. */
  struct vow_action ceiling = {.type = VOW_ACTION_LOG};
  ceiling.u.log.record = VOW_RECORD_ID_CEILING;
  ceiling.u.log.position = ++position;
  ceiling.u.log.ceiling = vow_id_floor(now, 0);
  append(log, &ceiling);
  struct vow_action action = {.type = VOW_ACTION_LOG};
  action.u.log.record = VOW_RECORD_TXN;
  action.u.log.txn = &image->txn;
  for (uint64_t n = 0; n < count; n++) {
    image_date(image, now - SPREAD_MS + SPREAD_MS * n / count - 10, n);
    action.u.log.position = ++position;
    action.u.log.forced = n % GROUP == GROUP - 1 || n + 1 == count;
    append(log, &action);
    if (action.u.log.forced && n >= 2 * GROUP) await(log, position - GROUP);
  }
  await(log, position);
}

int main(int argc, char **argv) {
  char why[VOW_LOG_WHY_BYTES] = "";
  char first[] = "b1", second[] = "b2", *names[BRANCHES] = {first, second};
  struct image image;
  struct vow_log *log = NULL;
  if (argc != 3 + BRANCHES) {
    fputs("usage: prefill FILE COUNT URL URL\n", stderr);
    return 2;
  }
  uint64_t count = strtoull(argv[2], NULL, 10);
  wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  struct vow_log_config config = {.path = argv[1],
                                  .create = true,
                                  .lazy_flush_ms = 50,
                                  .wal_bytes_max = 16u << 20,
                                  .retention_age_ms = UINT64_C(7) * 86400000,
                                  .retention_count = UINT64_C(1) << 40,
                                  .purge_step = 500,
                                  .wake = wake};
  if (vow_log_open(&log, &config, why) != VOW_OK) fail(argv[1], why);
  if (vow_log_start(log) != VOW_OK) fail(argv[1], "the log thread does not start");
  image_init(&image, argv + 3, names);
  if (count > 0) fill(log, &image, count);
  vow_log_close(log);
  printf("%llu\n", (unsigned long long)count);
  return 0;
}
