/*
 * A participant mounted in a server that the application has anyway: a small shop on libmicrohttpd.
 * Its own routes take orders; everything under /vow/ goes to vow_participant_handle().
 *
 *     mounted --listen HOST:PORT --coordinator URL [--log FILE]
 *
 *     POST /orders   takes an order, any JSON, which stands at once
 *                    with `Vow-Transaction: ID` the shop enlists itself, and the order stands
 *                    when that transaction commits
 *     GET  /orders   the orders that stand, one a line
 *
 * The order travels as the branch's payload: vow hands it back at prepare and, from its log, at
 * commit, so the shop keeps nothing for transactions under way. The orders that stand are in
 * memory, to be short.
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vow/client.h>
#include <vow/participant.h>

#define BODY_BYTES_MAX (512 * 1024) /* as much as a batch may have */
#define ORDERS_MAX     1000

static struct vow_participant *participant;
static struct vow_client *client;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of what follows */
static char own_url[128]; /* under which the coordinator reaches /vow */
static char *orders[ORDERS_MAX];
static unsigned order_count;

/* ---- the shop ---- */

/* False: the shop is full. */
static int add_order(const char *order) {
  char *copy = strdup(order);
  pthread_mutex_lock(&lock);
  int added = copy && order_count < ORDERS_MAX;
  if (added) orders[order_count++] = copy;
  pthread_mutex_unlock(&lock);
  if (!added) free(copy);
  return added;
}

/* At prepare: the promise that commit will find room. A real shop would reserve it. */
static enum vow_vote prepare(void *context, const struct vow_work *work,
                             struct vow_reason *reason) {
  (void)context;
  pthread_mutex_lock(&lock);
  int room = order_count < ORDERS_MAX;
  pthread_mutex_unlock(&lock);
  if (work->payload && room) return VOW_VOTE_COMMIT;
  vow_reason_set(reason, room ? "the branch carries no order" : "the shop is full");
  return VOW_VOTE_ABORT;
}

static enum vow_error commit(void *context, const struct vow_work *work,
                             struct vow_reason *reason) {
  (void)context;
  if (add_order(work->payload)) return VOW_OK;
  vow_reason_set(reason, "the shop is full: make room, and the order is booked");
  return VOW_E_OVERLOADED;
}

/* ---- HTTP ---- */

struct request {
  char *body;
  size_t bytes;
  int too_large;
};

/* Of vow's answers all that is there counts: `retry_after_s`, `allow` and `batch_max` are headers.
 */
static enum MHD_Result reply(struct MHD_Connection *connection,
                             const struct vow_http_response *answer) {
  char number[16];
  struct MHD_Response *response =
      MHD_create_response_from_buffer(answer->body_bytes, answer->body, MHD_RESPMEM_MUST_COPY);
  if (!response) return MHD_NO;
  if (answer->content_type) {
    MHD_add_response_header(response, "Content-Type", answer->content_type);
  }
  if (answer->allow) MHD_add_response_header(response, "Allow", answer->allow);
  snprintf(number, sizeof number, "%u", (unsigned)answer->retry_after_s);
  if (answer->retry_after_s > 0) MHD_add_response_header(response, "Retry-After", number);
  snprintf(number, sizeof number, "%u", (unsigned)answer->batch_max);
  if (answer->batch_max > 0) MHD_add_response_header(response, "Vow-Batch", number);
  enum MHD_Result result = MHD_queue_response(connection, (unsigned)answer->status, response);
  MHD_destroy_response(response);
  return result;
}

static enum MHD_Result say(struct MHD_Connection *connection, int status, const char *text) {
  struct vow_http_response answer = {.status = status,
                                     .content_type = "text/plain",
                                     .body = (char *)(uintptr_t)text,
                                     .body_bytes = strlen(text)};
  return reply(connection, &answer);
}

static const char *header(struct MHD_Connection *connection, const char *name) {
  return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* What is under /vow/ is vow's business. */
static enum MHD_Result hand_over(struct MHD_Connection *connection, const char *method,
                                 const char *path, const struct request *request) {
  struct vow_http_response answer;
  struct vow_http_request asked = {
      .method = method,
      .path = path + strlen("/vow"),
      .content_type = header(connection, "Content-Type"),
      .body = request->body ? request->body : "",
      .body_bytes = request->bytes,
  };
  enum vow_error error = vow_participant_handle(participant, &asked, &answer);
  if (error) fprintf(stderr, "mounted: %s%s: %s\n", method, path, vow_error_text(error));
  enum MHD_Result result = reply(connection, &answer);
  vow_free(answer.body);
  return result;
}

/* An order under a transaction: the shop becomes its participant. */
static enum MHD_Result enlist(struct MHD_Connection *connection, const char *id,
                              const char *order) {
  char url[sizeof own_url];
  struct vow_transaction *transaction = NULL;
  pthread_mutex_lock(&lock);
  memcpy(url, own_url, sizeof url);
  pthread_mutex_unlock(&lock);
  enum vow_error error = vow_join(client, id, &transaction);
  if (!error) error = vow_enlist(transaction, url, NULL, order, NULL);
  vow_transaction_free(transaction);
  if (!error) return say(connection, 202, "taken, if the transaction commits\n");
  return say(connection, vow_error_http_status(error), vow_client_error());
}

static enum MHD_Result list_orders(struct MHD_Connection *connection) {
  char *text = NULL;
  size_t bytes = 0;
  FILE *list = open_memstream(&text, &bytes);
  if (!list) return MHD_NO;
  pthread_mutex_lock(&lock);
  for (unsigned i = 0; i < order_count; i++) fprintf(list, "%s\n", orders[i]);
  pthread_mutex_unlock(&lock);
  int whole = !ferror(list);
  whole &= fclose(list) == 0;
  enum MHD_Result result = whole ? say(connection, 200, text) : MHD_NO;
  free(text);
  return result;
}

static enum MHD_Result dispatch(struct MHD_Connection *connection, const char *method,
                                const char *path, const struct request *request) {
  if (request->too_large) return say(connection, 413, "too large\n");
  if (strncmp(path, "/vow/", 5) == 0) return hand_over(connection, method, path, request);
  if (strcmp(path, "/orders") != 0) return say(connection, 404, "there are only /orders here\n");
  if (strcmp(method, "GET") == 0) return list_orders(connection);
  int is_text = request->body && strlen(request->body) == request->bytes; /* as all JSON is */
  if (strcmp(method, "POST") != 0 || !is_text) return say(connection, 400, "what order?\n");
  const char *id = header(connection, "Vow-Transaction");
  if (id) return enlist(connection, id, request->body);
  return add_order(request->body) ? say(connection, 201, "taken\n")
                                  : say(connection, 507, "the shop is full\n");
}

/* libmicrohttpd calls this for the head, for each piece of the body, and at the end. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *data, size_t *bytes, void **state) {
  (void)context;
  (void)version;
  struct request *request = *state;
  if (!request) {
    *state = calloc(1, sizeof *request);
    return *state ? MHD_YES : MHD_NO;
  }
  if (*bytes == 0) return dispatch(connection, method, path, request);
  char *longer = NULL;
  if (request->bytes + *bytes <= BODY_BYTES_MAX) {
    longer = realloc(request->body, request->bytes + *bytes + 1);
  }
  if (longer) {
    memcpy(longer + request->bytes, data, *bytes);
    request->body = longer;
    request->bytes += *bytes;
    longer[request->bytes] = '\0';
  } else {
    request->too_large = 1;
  }
  *bytes = 0;
  return MHD_YES;
}

static void on_completed(void *context, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code) {
  (void)context;
  (void)connection;
  (void)code;
  struct request *request = *state;
  if (request) free(request->body);
  free(request);
}

/* A thread for each connection, since vow_participant_handle waits for the disk. */
static struct MHD_Daemon *start_server(const char *host, unsigned port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) return NULL;
  return MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL,
                          NULL, on_request, NULL, MHD_OPTION_SOCK_ADDR,
                          (const struct sockaddr *)&address, MHD_OPTION_NOTIFY_COMPLETED,
                          on_completed, NULL, MHD_OPTION_END);
}

/* ---- main ---- */

static int serve(const char *log_path, const char *host, unsigned port) {
  char why[256] = "";
  int signal_number = 0;
  sigset_t stop;
  struct vow_participant_options options;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  sigaddset(&stop, SIGINT);
  pthread_sigmask(SIG_BLOCK, &stop, NULL);
  vow_participant_options_init(&options);
  options.log_path = log_path;
  options.prepare = prepare;
  options.commit = commit;
  options.prepare_leaves_nothing = 1;
  enum vow_error error = vow_participant_open(&participant, &options, why, sizeof why);
  if (error) {
    fprintf(stderr, "mounted: %s: %s\n", vow_error_text(error), why);
    return 1;
  }
  pthread_mutex_lock(&lock); /* an order that is early waits for the port */
  struct MHD_Daemon *server = start_server(host, port);
  if (server) port = MHD_get_daemon_info(server, MHD_DAEMON_INFO_BIND_PORT)->port;
  snprintf(own_url, sizeof own_url, "http://%s:%u/vow", host, port);
  pthread_mutex_unlock(&lock);
  if (server) {
    printf("mounted listens on http://%s:%u\n", host, port);
    fflush(stdout);
    sigwait(&stop, &signal_number);
    MHD_stop_daemon(server);
  } else {
    fprintf(stderr, "mounted: cannot listen on %s:%u\n", host, port);
  }
  vow_participant_close(participant);
  return server ? 0 : 1;
}

int main(int count, char **arguments) {
  static const struct option known[] = {{"listen", required_argument, NULL, 'a'},
                                        {"coordinator", required_argument, NULL, 'c'},
                                        {"log", required_argument, NULL, 'l'},
                                        {NULL, 0, NULL, 0}};
  char host[64] = "";
  unsigned port = 0;
  const char *coordinator = NULL;
  const char *log_path = "mounted.vow";
  for (int option = 0; (option = getopt_long(count, arguments, "", known, NULL)) != -1;) {
    if (option == 'a' && sscanf(optarg, "%63[0-9.]:%u", host, &port) != 2) host[0] = '\0';
    if (option == 'c') coordinator = optarg;
    if (option == 'l') log_path = optarg;
  }
  if (!host[0] || port > 65535 || !coordinator || optind != count) {
    fputs("usage: mounted --listen HOST:PORT --coordinator URL [--log FILE]\n", stderr);
    return 2;
  }
  if (vow_client_open(&client, coordinator) != VOW_OK) {
    fprintf(stderr, "mounted: %s: %s\n", coordinator, vow_client_error());
    return 1;
  }
  int result = serve(log_path, host, port);
  vow_client_close(client);
  for (unsigned i = 0; i < order_count; i++) free(orders[i]);
  return result;
}
