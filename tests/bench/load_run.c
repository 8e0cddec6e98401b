/*
 * Connections and time. See load.h.
 *
 * Sockets block when they send, which the server's buffers make short, and do not when they
 * receive. A connection that breaks in a tolerant run is made again some milliseconds later.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

#define ANSWER_BYTES_MAX (64u << 10)
#define EVENTS           256
#define DRAIN_NS         (30 * UINT64_C(1000000000)) /* for the last answers */
#define AGAIN_MS         10                          /* until a broken connection is made again */

struct client {
  int fd; /* -1: broken */
  bool busy;
  unsigned step, account;
  uint64_t begun_ns;
  uint64_t rests_until_ns; /* see pause_ms; 0: it does not rest */
  size_t received;
  char id[ID_BYTES];
  struct load_step steps[STEPS_MAX];
  char answer[ANSWER_BYTES_MAX + 1];
};

enum phase { WARMUP, WINDOW, DRAIN };

struct run {
  const struct load_options *options;
  struct load_result *result;
  int epoll_fd;
  unsigned steps, busy;
  struct client *clients;
  struct sockaddr_storage address;
  socklen_t address_bytes;
  uint64_t issued;
  enum phase phase;
  uint64_t begin_ns, end_ns; /* of the window */
};

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* ---- connections ---- */

static bool find_address(struct run *run) {
  char host[256];
  struct addrinfo *found = NULL, hints = {.ai_socktype = SOCK_STREAM};
  snprintf(host, sizeof host, "%s", run->options->host);
  char *colon = strrchr(host, ':');
  if (!colon) return false;
  *colon = '\0';
  if (getaddrinfo(host, colon + 1, &hints, &found) != 0) return false;
  memcpy(&run->address, found->ai_addr, found->ai_addrlen);
  run->address_bytes = found->ai_addrlen;
  freeaddrinfo(found);
  return true;
}

static bool client_connect(struct run *run, struct client *client) {
  int on = 1, fd = socket(run->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = client}};
  if (fd < 0) return false;
  if (connect(fd, (struct sockaddr *)&run->address, run->address_bytes) != 0 ||
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
      epoll_ctl(run->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
    close(fd);
    return false;
  }
  client->fd = fd;
  return true;
}

static void client_broken(struct run *run, struct client *client) {
  close(client->fd);
  client->fd = -1;
  run->result->broken++;
  if (!run->options->tolerant) run->result->errors++;
  if (client->busy) run->busy--;
  client->busy = false;
}

/* ---- one transaction ---- */

static void send_step(struct run *run, struct client *client) {
  struct load_step *step = &client->steps[client->step];
  load_step_fill(step, client->id, &client->account, run->options);
  client->received = 0;
  for (size_t sent = 0; sent < step->size;) {
    ssize_t bytes = send(client->fd, step->bytes + sent, step->size - sent, MSG_NOSIGNAL);
    if (bytes < 0) {
      client_broken(run, client);
      return;
    }
    sent += (size_t)bytes;
  }
}

static void begin(struct run *run, struct client *client) {
  uint64_t count = run->options->count;
  if (run->phase == DRAIN || client->fd < 0 || (count > 0 && run->issued >= count)) return;
  run->issued++;
  run->busy++;
  client->busy = true;
  client->step = 0;
  client->begun_ns = now_ns();
  send_step(run, client);
}

static void finish(struct run *run, struct client *client, enum load_verdict verdict) {
  struct load_result *result = run->result;
  uint64_t now = now_ns();
  client->busy = false;
  run->busy--;
  if (verdict == LOAD_GOOD) {
    result->committed++;
    if (run->phase == WINDOW) histogram_add(&result->latency, now - client->begun_ns);
    if (run->options->ids) fprintf(run->options->ids, "%.*s\n", ID_BYTES, client->id);
  } else if (verdict == LOAD_REFUSED) {
    result->refused++;
  }
  if (verdict == LOAD_BAD || (verdict == LOAD_REFUSED && !run->options->tolerant)) {
    if (result->errors++ == 0) {
      snprintf(result->sample, sizeof result->sample, "%s", client->answer);
    }
  }
  if (run->options->pause_ms > 0) {
    client->rests_until_ns = now + run->options->pause_ms * UINT64_C(1000000);
  } else {
    begin(run, client);
  }
}

static void receive(struct run *run, struct client *client) {
  size_t room = ANSWER_BYTES_MAX - client->received;
  ssize_t bytes = recv(client->fd, client->answer + client->received, room, MSG_DONTWAIT);
  if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (bytes <= 0 || !client->busy) {
    client_broken(run, client);
    return;
  }
  client->received += (size_t)bytes;
  client->answer[client->received] = '\0';
  bool last = client->step + 1 == run->steps;
  enum load_verdict verdict =
      load_answer(client->answer, client->received, &client->steps[client->step],
                  last && run->options->mode != LOAD_HOLD, client->id);
  if (verdict == LOAD_MORE) return;
  if (verdict != LOAD_GOOD || last) {
    finish(run, client, verdict);
    return;
  }
  client->step++;
  send_step(run, client);
}

/* ---- the run ---- */

static void enter(struct run *run, enum phase phase) {
  run->phase = phase;
  *(phase == WINDOW ? &run->begin_ns : &run->end_ns) = now_ns();
  puts(phase == WINDOW ? "begin" : "end");
  fflush(stdout);
}

/* False: it is over. */
static bool advance(struct run *run) {
  const struct load_options *options = run->options;
  uint64_t now = now_ns();
  bool all = options->count > 0 && run->issued >= options->count && run->busy == 0;
  if (run->phase == WARMUP && now >= run->begin_ns) {
    enter(run, WINDOW);
    run->end_ns =
        options->duration_ms ? run->begin_ns + options->duration_ms * 1000000 : UINT64_MAX;
  }
  if (run->phase == WINDOW && (all || *options->stop || now >= run->end_ns)) enter(run, DRAIN);
  if (run->phase == DRAIN && now > run->end_ns + DRAIN_NS) {
    run->result->errors += run->busy;
    return false;
  }
  return run->phase != DRAIN || run->busy > 0;
}

/* Broken connections are made again, and those who have rested set to work. */
static void mend(struct run *run, uint64_t now) {
  for (unsigned i = 0; i < run->options->clients; i++) {
    struct client *client = &run->clients[i];
    bool rested = client->rests_until_ns > 0 && client->rests_until_ns <= now;
    bool broken = client->fd < 0 && run->options->tolerant;
    if (broken ? !client_connect(run, client) : !rested) continue;
    client->rests_until_ns = 0;
    begin(run, client);
  }
}

static bool prepare(struct run *run) {
  const struct load_options *options = run->options;
  run->clients = calloc(options->clients, sizeof *run->clients);
  run->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (!run->clients || run->epoll_fd < 0 || !find_address(run)) return false;
  for (unsigned i = 0; i < options->clients; i++) {
    struct client *client = &run->clients[i];
    /* Clients use accounts far from each other's, and come back to one late. */
    client->account = (unsigned)((uint64_t)options->accounts * i / options->clients);
    run->steps = load_steps_make(options, i, client->steps);
    if (run->steps == 0 || !client_connect(run, client)) return false;
  }
  return true;
}

static void clean_up(struct run *run) {
  for (unsigned i = 0; run->clients && i < run->options->clients; i++) {
    if (run->clients[i].fd > 0) close(run->clients[i].fd);
    for (unsigned j = 0; j < run->steps; j++) free(run->clients[i].steps[j].bytes);
  }
  free(run->clients);
  close(run->epoll_fd);
}

bool load_run(const struct load_options *options, struct load_result *result) {
  struct run run = {.options = options, .result = result};
  struct epoll_event events[EVENTS];
  bool begun = prepare(&run);
  if (begun) {
    run.begin_ns = now_ns() + options->warmup_ms * 1000000;
    for (unsigned i = 0; i < options->clients; i++) begin(&run, &run.clients[i]);
    uint64_t mended_ns = 0;
    while (advance(&run)) {
      int count = epoll_wait(run.epoll_fd, events, EVENTS, AGAIN_MS);
      for (int i = 0; i < count; i++) {
        struct client *client = events[i].data.ptr;
        if (client->fd >= 0) receive(&run, client);
      }
      uint64_t now = now_ns();
      if (now - mended_ns < AGAIN_MS * UINT64_C(1000000)) continue;
      mended_ns = now;
      mend(&run, now);
    }
    result->window_ns = run.end_ns - run.begin_ns;
  }
  clean_up(&run);
  return begun;
}
