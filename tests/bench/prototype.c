/*
 * The yardstick: two-phase commit as a bare prototype, as quick as it can be with one request a
 * message and nothing else to do. One loop, libmicrohttpd in, libcurl out; one thread that commits
 * the decisions in groups. No recovery, no timeouts, no limits, nothing checked: what vow's figures
 * are divided by.
 *
 *     prototype LOG URL URL      POST of anything is a transaction over the two participants
 *
 * Prepare goes to both at once; when both have voted commit, a row is written; when it is durable,
 * the client is answered and commit goes to both. SIGUSR1 prints the counts, SIGTERM ends it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "out.h"
#include "rows.h"

#define PARTICIPANTS    2
#define EVENTS          256
#define CONNECTIONS_MAX 4096
#define MESSAGE_BYTES   256

struct participant {
  char prepare[128], commit[128]; /* URLs */
};

struct transaction {
  struct MHD_Connection *client;
  char id[40];
  char messages[PARTICIPANTS][MESSAGE_BYTES];
  char decision[MESSAGE_BYTES];
  int votes, refusals, acknowledged;
  bool done; /* decided, and the client may be answered */
  bool answered;
  struct row row;
};

static struct participant participants[PARTICIPANTS];
static struct MHD_Daemon *daemon_in;
static struct out *out;
static struct rows *rows;
static bool run_in; /* microhttpd has something to do */
static uint64_t begun, acknowledged;

static void transaction_release(struct transaction *t) {
  if (t->answered && (t->refusals > 0 || t->acknowledged == PARTICIPANTS)) free(t);
}

static void answer_later(struct transaction *t) {
  t->done = true;
  run_in = true;
  MHD_resume_connection(t->client);
}

/* ---- the protocol ---- */

static void on_acknowledged(void *context, const char *answer) {
  struct transaction *t = context;
  if (!answer) fprintf(stderr, "prototype: a commit was not acknowledged\n");
  if (++t->acknowledged < PARTICIPANTS) return;
  acknowledged++;
  transaction_release(t);
}

static void on_vote(void *context, const char *answer) {
  struct transaction *t = context;
  t->votes++;
  if (!answer || !strstr(answer, "\"vote\":\"commit\"")) t->refusals++;
  if (t->votes < PARTICIPANTS) return;
  if (t->refusals > 0) {
    answer_later(t);
  } else {
    rows_put(rows, &t->row);
  }
}

static void send_all(struct transaction *t, bool commit) {
  for (int i = 0; i < PARTICIPANTS; i++) {
    const char *url = commit ? participants[i].commit : participants[i].prepare;
    if (!out_post(out, url, t->messages[i], strlen(t->messages[i]),
                  commit ? on_acknowledged : on_vote, t)) {
      abort();
    }
  }
}

static void on_durable(void) {
  for (struct row *row = rows_take(rows), *next; row; row = next) {
    struct transaction *t = row->context;
    next = row->next;
    answer_later(t);
    send_all(t, true);
  }
}

static struct transaction *begin(struct MHD_Connection *client) {
  struct transaction *t = calloc(1, sizeof *t);
  if (!t) return NULL;
  t->client = client;
  snprintf(t->id, sizeof t->id, "00000000-0000-7000-8000-%012llx", (unsigned long long)++begun);
  for (int i = 0; i < PARTICIPANTS; i++) {
    snprintf(t->messages[i], sizeof t->messages[i],
             "{\"transaction\":\"%s\",\"branch\":%d,\"coordinator\":\"http://127.0.0.1:1\","
             "\"timeout_ms\":30000,\"payload\":{\"account\":1,\"amount\":1}}",
             t->id, i + 1);
  }
  snprintf(t->decision, sizeof t->decision, "commit %s %s", participants[0].commit,
           participants[1].commit);
  t->row = (struct row){.id = t->id, .text = t->decision, .context = t};
  return t;
}

/* ---- clients ---- */

static enum MHD_Result answer(struct transaction *t) {
  char text[128];
  bool committed = t->refusals == 0;
  int bytes = snprintf(text, sizeof text, "{\"id\":\"%s\",\"outcome\":\"%s\"}", t->id,
                       committed ? "committed" : "aborted");
  struct MHD_Response *response =
      MHD_create_response_from_buffer((size_t)bytes, text, MHD_RESPMEM_MUST_COPY);
  MHD_add_response_header(response, "Content-Type", "application/json");
  enum MHD_Result result = MHD_queue_response(t->client, committed ? 200 : 409, response);
  MHD_destroy_response(response);
  return result;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *data, size_t *bytes, void **state) {
  (void)context, (void)path, (void)method, (void)version, (void)data;
  struct transaction *t = *state;
  if (!t) {
    *state = begin(connection);
    return *state ? MHD_YES : MHD_NO;
  }
  if (*bytes > 0) {
    *bytes = 0;
    return MHD_YES;
  }
  if (t->done) return answer(t);
  MHD_suspend_connection(connection);
  send_all(t, false);
  return MHD_YES;
}

static void on_completed(void *context, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code) {
  (void)context, (void)connection, (void)code;
  struct transaction *t = *state;
  *state = NULL;
  if (!t) return;
  t->answered = true;
  transaction_release(t);
}

/* ---- the loop ---- */

/* False: it is time to go. */
static bool on_signal(int fd) {
  struct signalfd_siginfo info;
  struct rows_counts counts;
  if (read(fd, &info, sizeof info) != sizeof info) return true;
  rows_counts(rows, &counts);
  printf("{\"transactions\":%llu,\"log_records\":%llu,\"log_syncs\":%llu}\n",
         (unsigned long long)acknowledged, (unsigned long long)counts.rows,
         (unsigned long long)counts.syncs);
  fflush(stdout);
  return info.ssi_signo == SIGUSR1;
}

/* Does what can be done now; returns how long may be waited. */
static int turn(void) {
  MHD_UNSIGNED_LONG_LONG wait = 0;
  int out_wait_ms = out_run(out);
  while (run_in) {
    run_in = false;
    MHD_run(daemon_in);
    out_wait_ms = out_run(out); /* what came in goes out; that may have answers for clients */
    if (MHD_get_timeout(daemon_in, &wait) == MHD_YES && wait == 0) run_in = true;
  }
  return out_wait_ms;
}

static void serve(int epoll_fd, int in_fd, int wake_fd, int signal_fd) {
  struct epoll_event events[EVENTS];
  uint64_t woken;
  for (;;) {
    int count = epoll_wait(epoll_fd, events, EVENTS, turn());
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      if (fd == in_fd) {
        run_in = true;
      } else if (fd == wake_fd) {
        if (read(wake_fd, &woken, sizeof woken) > 0) on_durable();
      } else if (fd != signal_fd) {
        out_event(out, fd, events[i].events);
      } else if (!on_signal(signal_fd)) {
        return;
      }
    }
  }
}

static int open_signals(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void watch(int epoll_fd, int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) abort();
}

int main(int count, char **arguments) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  if (count != 2 + PARTICIPANTS) {
    fputs("usage: prototype LOG URL URL\n", stderr);
    return 2;
  }
  for (int i = 0; i < PARTICIPANTS; i++) {
    snprintf(participants[i].prepare, sizeof participants[i].prepare, "%s/prepare",
             arguments[2 + i]);
    snprintf(participants[i].commit, sizeof participants[i].commit, "%s/commit", arguments[2 + i]);
  }
  int signal_fd = open_signals();
  int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  int wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  out = out_open(epoll_fd);
  rows = rows_open(arguments[1], wake_fd);
  daemon_in = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request,
                               NULL, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
                               MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
                               MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
  if (!out || !rows || !daemon_in) {
    fprintf(stderr, "prototype: it does not start: %s\n", strerror(errno));
    return 1;
  }
  int in_fd = MHD_get_daemon_info(daemon_in, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
  watch(epoll_fd, in_fd);
  watch(epoll_fd, wake_fd);
  watch(epoll_fd, signal_fd);
  printf("prototype listens on http://127.0.0.1:%u\n",
         MHD_get_daemon_info(daemon_in, MHD_DAEMON_INFO_BIND_PORT)->port);
  fflush(stdout);
  serve(epoll_fd, in_fd, wake_fd, signal_fd);
  rows_close(rows);
  MHD_run(daemon_in);
  MHD_stop_daemon(daemon_in);
  out_close(out);
  close(signal_fd);
  close(wake_fd);
  close(epoll_fd);
  return 0;
}
