/*
 * A participant that only answers: "commit" to a prepare, "committed" to all else. It keeps and
 * promises nothing. What the prototype talks to, and by itself the floor of requests in.
 *
 *     answerer        prints where it listens; ends at SIGTERM
 */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define CONNECTIONS_MAX 4096

static struct MHD_Response *vote, *outcome;

static struct MHD_Response *response(const char *text) {
  /* Only read, in spite of the type. */
  void *bytes = (void *)(uintptr_t)text;
  struct MHD_Response *made =
      MHD_create_response_from_buffer(strlen(text), bytes, MHD_RESPMEM_PERSISTENT);
  MHD_add_response_header(made, "Content-Type", "application/json");
  return made;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *data, size_t *bytes, void **state) {
  (void)context, (void)method, (void)version, (void)data;
  static int seen;
  if (!*state) {
    *state = &seen;
    return MHD_YES;
  }
  if (*bytes > 0) {
    *bytes = 0;
    return MHD_YES;
  }
  struct MHD_Response *answer = strcmp(path, "/prepare") == 0 ? vote : outcome;
  return MHD_queue_response(connection, 200, answer);
}

int main(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  sigset_t stop;
  int number;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  sigaddset(&stop, SIGINT);
  pthread_sigmask(SIG_BLOCK, &stop, NULL);
  vote = response("{\"vote\":\"commit\"}");
  outcome = response("{\"outcome\":\"committed\"}");
  struct MHD_Daemon *daemon = MHD_start_daemon(
      MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, on_request, NULL, MHD_OPTION_SOCK_ADDR,
      (struct sockaddr *)&address, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_END);
  if (!daemon) {
    perror("answerer");
    return 1;
  }
  printf("answerer listens on http://127.0.0.1:%u\n",
         MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
  fflush(stdout);
  sigwait(&stop, &number);
  MHD_stop_daemon(daemon);
  MHD_destroy_response(vote);
  MHD_destroy_response(outcome);
  return 0;
}
