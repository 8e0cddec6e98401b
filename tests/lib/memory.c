/*
 * A library for LD_PRELOAD that lets the n-th allocation of one process fail, once or for ever
 * after, whoever asks for it: the program, or a library that it is linked with.
 * vowtest/memory.py sets it up and changes it while the process runs.
 *
 * It comes before everything, a sanitizer's runtime included, and hands on to what comes next: in a
 * build with AddressSanitizer what does not fail is checked as ever, and so is what the program
 * does after a failure.
 *
 * An allocation is a call of malloc, calloc, realloc, reallocarray, aligned_alloc, memalign,
 * posix_memalign, strdup or strndup; and of pthread_create, since a thread needs a stack. What libc
 * allocates for itself (getline, opendir, getaddrinfo, setlocale, ...) is counted, too: libc calls
 * malloc as everybody does. Allocations before main are not counted; neither is mmap, which of all
 * that we use only SQLite's shared memory and large thread stacks would be.
 *
 * MEMORY_CONTROL names a file of the layout below, mapped by both; where a stack of each failed
 * allocation is written is the file beside it whose name ends with ".stacks".
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"

#define FRAMES_MAX 24
#define STACKS_MAX 16

/* memory.py knows the offsets. */
struct control {
  _Atomic int64_t count;   /*  0: allocations so far that the faults are about */
  _Atomic int64_t fail;    /*  8: the one that fails; 0: none */
  _Atomic int64_t stays;   /* 16: those after it fail, too */
  _Atomic int64_t refused; /* 24: what has failed so far */
  char from[64];           /* 32: part of the name of the file whose calls count; empty: all */
};
_Static_assert(sizeof(struct control) == 96, "memory.py has the same layout");

static struct control *control; /* NULL: main has not begun */
static int stacks = -1;
static char program[PATH_MAX];
static _Thread_local bool inside; /* what this library itself asks for is not counted */

/* ---- which fail ---- */

static bool is_from(const void *caller) {
  struct dl_find_object found;
  if (!control->from[0]) return true;
  union {
    const void *in;
    void *out;
  } address = {.in = caller}; /* the API lacks a const */
  if (_dl_find_object(address.out, &found) != 0) return false;
  const char *path = found.dlfo_link_map->l_name;
  if (!path[0]) path = program;
  const char *slash = strrchr(path, '/');
  return strstr(slash ? slash + 1 : path, control->from) != NULL;
}

static void tell_stack(int64_t nth) {
  void *frames[FRAMES_MAX];
  if (stacks < 0 || control->refused > STACKS_MAX) return;
  dprintf(stacks, "allocation %lld:\n", (long long)nth);
  backtrace_symbols_fd(frames, backtrace(frames, FRAMES_MAX), stacks);
}

static bool refuses(const void *caller) {
  if (!control || inside || !is_from(caller)) return false;
  int64_t nth = ++control->count, fail = control->fail;
  if (fail <= 0 || (control->stays ? nth < fail : nth != fail)) return false;
  inside = true;
  control->refused++;
  tell_stack(nth);
  inside = false;
  errno = ENOMEM;
  return true;
}

#define REFUSES() refuses(__builtin_return_address(0))

/* ---- the calls ---- */

/* Looked up at the first call, which may come before any constructor; dlsym allocates nothing when
 * it finds what it looks for. */
#define NEXT(name)               \
  static __typeof__(&name) next; \
  if (!next) next = (__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name)

void *malloc(size_t bytes) {
  NEXT(malloc);
  return REFUSES() ? NULL : next(bytes);
}

void *calloc(size_t count, size_t bytes) {
  NEXT(calloc);
  return REFUSES() ? NULL : next(count, bytes);
}

void *realloc(void *old, size_t bytes) {
  NEXT(realloc);
  return REFUSES() ? NULL : next(old, bytes);
}

void *reallocarray(void *old, size_t count, size_t bytes) {
  NEXT(realloc);
  size_t all;
  if (__builtin_mul_overflow(count, bytes, &all)) {
    errno = ENOMEM;
    return NULL;
  }
  return REFUSES() ? NULL : next(old, all);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
  NEXT(aligned_alloc);
  return REFUSES() ? NULL : next(alignment, bytes);
}

void *memalign(size_t alignment, size_t bytes) {
  NEXT(aligned_alloc);
  return REFUSES() ? NULL : next(alignment, bytes);
}

int posix_memalign(void **out, size_t alignment, size_t bytes) {
  NEXT(posix_memalign);
  return REFUSES() ? ENOMEM : next(out, alignment, bytes);
}

/* Sanitizers replace these two by ones that do not come back to malloc above. */
char *strndup(const char *text, size_t max) {
  NEXT(malloc);
  size_t bytes = strnlen(text, max);
  char *copy = REFUSES() ? NULL : next(bytes + 1);
  if (!copy) return NULL;
  memcpy(copy, text, bytes);
  copy[bytes] = '\0';
  return copy;
}

char *strdup(const char *text) {
  NEXT(malloc);
  size_t bytes = strlen(text) + 1;
  char *copy = REFUSES() ? NULL : next(bytes);
  return copy ? memcpy(copy, text, bytes) : NULL;
}

int pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*run)(void *),
                   void *argument) {
  NEXT(pthread_create);
  return REFUSES() ? EAGAIN : next(out, attributes, run, argument);
}

/* A sanitizer's runtime asks this of each new thread, and takes no for no answer. */
int pthread_getattr_np(pthread_t thread, pthread_attr_t *out) {
  NEXT(pthread_getattr_np);
  bool before = inside;
  inside = true;
  int result = next(thread, out);
  inside = before;
  return result;
}

/* ---- the beginning of main ---- */

static void open_stacks(const char *control_path) {
  char path[PATH_MAX];
  void *frame;
  snprintf(path, sizeof path, "%s.stacks", control_path);
  stacks = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  backtrace(&frame, 1); /* loads what it needs, now */
}

static void begin(void) {
  const char *path = getenv("MEMORY_CONTROL");
  if (!path) return;
  struct control *map = control_map(path, sizeof *map);
  ssize_t bytes = readlink("/proc/self/exe", program, sizeof program - 1);
  if (bytes < 0) abort();
  open_stacks(path);
  control = map;
}

typedef int main_function(int, char **, char **);
static main_function *main_of_program;

static int begin_and_main(int argc, char **argv, char **environment) {
  begin();
  return main_of_program(argc, argv, environment);
}

int __libc_start_main(main_function *main, int argc, char **argv, main_function *init,
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end);

int __libc_start_main(main_function *main, int argc, char **argv, main_function *init,
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end) {
  NEXT(__libc_start_main);
  main_of_program = main;
  return next(begin_and_main, argc, argv, init, fini, rtld_fini, stack_end);
}
