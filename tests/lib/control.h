/* The file through which a test steers a library that is loaded in front of a program. */
#ifndef VOW_TEST_CONTROL_H
#define VOW_TEST_CONTROL_H

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Its first bytes, shared with who wrote it. Without it the test would prove nothing: aborts. */
static inline void *control_map(const char *path, size_t bytes) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) abort();
  void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) abort();
  close(fd);
  return map;
}

#endif
