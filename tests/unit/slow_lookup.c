/* See slow_lookup.h. */
#include "slow_lookup.h"

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define WAIT_S 10

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned waiting; /* guarded by lock, as is the next */
static bool ending;

static void wait_long(void) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += WAIT_S;
  pthread_mutex_lock(&lock);
  waiting++;
  while (!ending && pthread_cond_timedwait(&changed, &lock, &until) == 0) continue;
  waiting--;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **out) {
  int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = NULL;
  if (name && strcmp(name, SLOW_NAME) == 0) {
    wait_long();
    return EAI_AGAIN;
  }
  *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
  return real(name, service, hints, out);
}

bool slow_lookup_waits(void) {
  pthread_mutex_lock(&lock);
  bool waits = waiting > 0;
  pthread_mutex_unlock(&lock);
  return waits;
}

void slow_lookup_end(void) {
  pthread_mutex_lock(&lock);
  ending = true;
  pthread_cond_broadcast(&changed);
  while (waiting > 0) pthread_cond_wait(&changed, &lock);
  ending = false;
  pthread_mutex_unlock(&lock);
}
