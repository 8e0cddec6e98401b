/*
 * Group commit in SQLite, bare: one thread takes every row that is queued, writes them in one
 * transaction with one sync, and hands them back. Used by the prototype and by `floor rows`;
 * nothing of vow is in it.
 *
 * Threads: one owner calls everything.
 */
#ifndef VOW_BENCH_ROWS_H
#define VOW_BENCH_ROWS_H

#include <stdint.h>

struct rows;

struct row {
  const char *id, *text; /* borrowed until the row comes back */
  void *context;
  struct row *next;
};

/* A new database at `path`; `wake_fd` is an eventfd that is written to when rows are durable. NULL:
 * it cannot be made; a line on standard error says why. */
struct rows *rows_open(const char *path, int wake_fd);
void rows_close(struct rows *rows); /* writes what is queued; NULL is fine */

void rows_put(struct rows *rows, struct row *row);
/* Those that have become durable since the last call, in their order; or NULL. */
struct row *rows_take(struct rows *rows);

struct rows_counts {
  uint64_t rows, syncs;
};
void rows_counts(struct rows *rows, struct rows_counts *out);

#endif
