/*
 * A plain allocator for SQLite: lists of free blocks, one for each power of two. SQLite is no part
 * of what the sanitizers look at, and opening a database a hundred thousand times is mostly
 * allocating; with this it takes a third of the time.
 *
 * And its page cache, which can be made so small that it spills: pages of a transaction are then in
 * the WAL long before its end, and stay there when it is rolled back.
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"

#define CLASSES     32
#define ARENA_BYTES (4u << 20)
#define HEAD_BYTES  16 /* before each block: its class */

static void *free_blocks[CLASSES];
static uint8_t *arena;
static size_t arena_left;

static int class_of(size_t bytes) {
  int class = 5;
  while ((size_t)1 << class < bytes) class ++;
  return class;
}

static void *take(int class) {
  size_t bytes = (size_t)1 << class;
  if (bytes > ARENA_BYTES / 4) return malloc(bytes);
  if (bytes > arena_left) {
    arena = malloc(ARENA_BYTES); /* the rest of the last one is left: it is small */
    arena_left = arena == NULL ? 0 : ARENA_BYTES;
    if (arena == NULL) return NULL;
  }
  arena_left -= bytes;
  return arena + arena_left;
}

static void *memory_malloc(int bytes) {
  int class = class_of((size_t)bytes + HEAD_BYTES);
  uint8_t *block = free_blocks[class];
  if (block != NULL)
    memcpy(&free_blocks[class], block, sizeof(void *));
  else
    block = take(class);
  if (block == NULL) return NULL;
  memcpy(block, &class, sizeof class);
  return block + HEAD_BYTES;
}

static void memory_free(void *memory) {
  int class;
  uint8_t *block = (uint8_t *)memory - HEAD_BYTES;
  memcpy(&class, block, sizeof class);
  memcpy(block, &free_blocks[class], sizeof(void *));
  free_blocks[class] = block;
}

static int memory_size(void *memory) {
  int class;
  memcpy(&class, (uint8_t *)memory - HEAD_BYTES, sizeof class);
  return (1 << class) - HEAD_BYTES;
}

static void *memory_realloc(void *old, int bytes) {
  int size = memory_size(old);
  if (bytes <= size) return old;
  void *memory = memory_malloc(bytes);
  if (memory == NULL) return NULL;
  memcpy(memory, old, (size_t)size);
  memory_free(old);
  return memory;
}

static int memory_round_up(int bytes) {
  return (1 << class_of((size_t)bytes + HEAD_BYTES)) - HEAD_BYTES;
}

static int memory_init(void *context) {
  (void)context;
  return SQLITE_OK;
}

static void memory_shutdown(void *context) {
  (void)context;
}

/* ---- the page cache ---- */

#define SMALL_CACHE_PAGES 3

static sqlite3_pcache_methods2 cache_methods; /* SQLite's own */
static bool cache_is_small;

static void cache_size(sqlite3_pcache *cache, int pages) {
  cache_methods.xCachesize(cache, cache_is_small ? SMALL_CACHE_PAGES : pages);
}

void sqlite_memory_make_small(bool small) {
  cache_is_small = small;
}

void sqlite_memory_install(void) {
  sqlite3_mem_methods methods = {.xMalloc = memory_malloc,
                                 .xFree = memory_free,
                                 .xRealloc = memory_realloc,
                                 .xSize = memory_size,
                                 .xRoundup = memory_round_up,
                                 .xInit = memory_init,
                                 .xShutdown = memory_shutdown};
  (void)sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
  (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  (void)sqlite3_config(SQLITE_CONFIG_GETPCACHE2, &cache_methods);
  sqlite3_pcache_methods2 ours = cache_methods;
  ours.xCachesize = cache_size;
  (void)sqlite3_config(SQLITE_CONFIG_PCACHE2, &ours);
}
