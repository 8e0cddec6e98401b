/*
 * What the parts cost by themselves, without a protocol: the floors that no coordinator made of
 * them can pass. (Requests in: run `load --mode prototype` against `answerer`.)
 *
 *     floor out MS INFLIGHT URL ...   requests out, with libcurl
 *     floor rows MS WRITERS FILE      rows committed in groups, with SQLite
 *     floor sync MS FILE              one row after the other: what one forced write takes
 *
 * Each prints one JSON object.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "histogram.h"
#include "out.h"
#include "rows.h"

#define WRITERS_MAX 4096u

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static double cpu_us(void) {
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 +
         (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

/* ---- requests out ---- */

struct sending {
  struct out *out;
  const char *const *urls;
  unsigned url_count, inflight;
  uint64_t sent, failed, end_ns;
};

static void send_one(struct sending *sending);

static void on_answer(void *context, const char *answer) {
  struct sending *sending = context;
  sending->inflight--;
  if (!answer) sending->failed++;
  if (now_ns() < sending->end_ns) send_one(sending);
}

static void send_one(struct sending *sending) {
  static const char body[] =
      "{\"transaction\":\"00000000-0000-7000-8000-000000000001\",\"branch\":1,"
      "\"coordinator\":\"http://127.0.0.1:1\",\"timeout_ms\":30000}";
  const char *url = sending->urls[sending->sent++ % sending->url_count];
  sending->inflight++;
  if (!out_post(sending->out, url, body, sizeof body - 1, on_answer, sending)) abort();
}

static int floor_out(uint64_t ms, unsigned inflight, char *const *urls, unsigned url_count) {
  struct epoll_event events[64];
  int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  uint64_t begin_ns = now_ns();
  struct sending sending = {.out = out_open(epoll_fd),
                            .urls = (const char *const *)urls,
                            .url_count = url_count,
                            .end_ns = begin_ns + ms * 1000000};
  if (!sending.out) return 1;
  for (unsigned i = 0; i < inflight; i++) send_one(&sending);
  while (sending.inflight > 0) {
    int count = epoll_wait(epoll_fd, events, 64, out_run(sending.out));
    for (int i = 0; i < count; i++) out_event(sending.out, events[i].data.fd, events[i].events);
  }
  double seconds = (double)(now_ns() - begin_ns) / 1e9;
  printf("{\"requests\":%llu,\"failed\":%llu,\"per_second\":%.0f,\"cpu_us\":%.2f}\n",
         (unsigned long long)sending.sent, (unsigned long long)sending.failed,
         (double)sending.sent / seconds, cpu_us() / (double)sending.sent);
  out_close(sending.out);
  close(epoll_fd);
  return sending.failed > 0 ? 1 : 0;
}

/* ---- rows ---- */

static int floor_rows(uint64_t ms, unsigned writers, const char *path) {
  static struct row rows_of[WRITERS_MAX];
  static struct histogram latency;
  static uint64_t begun_ns[WRITERS_MAX];
  char text[200];
  uint64_t woken;
  int wake_fd = eventfd(0, EFD_CLOEXEC);
  struct rows *rows = rows_open(path, wake_fd);
  if (!rows) return 1;
  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  uint64_t begin_ns = now_ns(), end_ns = begin_ns + ms * 1000000;
  unsigned under_way = writers;
  for (unsigned i = 0; i < writers; i++) {
    rows_of[i] = (struct row){.id = "00000000-0000-7000-8000-000000000001", .text = text};
    begun_ns[i] = now_ns();
    rows_put(rows, &rows_of[i]);
  }
  while (under_way > 0 && read(wake_fd, &woken, sizeof woken) > 0) {
    for (struct row *row = rows_take(rows), *next; row; row = next) {
      next = row->next;
      uint64_t now = now_ns();
      histogram_add(&latency, now - begun_ns[row - rows_of]);
      begun_ns[row - rows_of] = now;
      if (now < end_ns) {
        rows_put(rows, row);
      } else {
        under_way--;
      }
    }
  }
  struct rows_counts counts;
  rows_counts(rows, &counts);
  double seconds = (double)(now_ns() - begin_ns) / 1e9;
  printf(
      "{\"rows\":%llu,\"per_second\":%.0f,\"rows_per_sync\":%.2f,\"cpu_us\":%.2f,"
      "\"p50_us\":%.1f,\"p99_us\":%.1f}\n",
      (unsigned long long)counts.rows, (double)counts.rows / seconds,
      (double)counts.rows / (double)counts.syncs, cpu_us() / (double)counts.rows,
      (double)histogram_quantile(&latency, 0.5) / 1e3,
      (double)histogram_quantile(&latency, 0.99) / 1e3);
  rows_close(rows);
  close(wake_fd);
  return 0;
}

int main(int count, char **arguments) {
  const char *what = count > 1 ? arguments[1] : "";
  uint64_t ms = count > 2 ? strtoull(arguments[2], NULL, 10) : 0;
  unsigned number = count > 3 ? (unsigned)strtoul(arguments[3], NULL, 10) : 0;
  if (strcmp(what, "out") == 0 && count > 4 && number > 0) {
    return floor_out(ms, number, arguments + 4, (unsigned)count - 4);
  }
  if (strcmp(what, "rows") == 0 && count == 5 && number > 0 && number <= WRITERS_MAX) {
    return floor_rows(ms, number, arguments[4]);
  }
  if (strcmp(what, "sync") == 0 && count == 4) return floor_rows(ms, 1, arguments[3]);
  fputs("usage: floor out MS INFLIGHT URL ... | rows MS WRITERS FILE | sync MS FILE\n", stderr);
  return 2;
}
