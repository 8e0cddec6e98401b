/*
 * See api_world.h.
 */
#include "api_world.h"

#include <ftw.h>
#include <unistd.h>

#define FLAGS_MAX 24

/* ---- the participant ---- */

static void answer_batch(struct api_world *w, struct vow_server_request *request) {
  char text[2048] = "{\"replies\":[";
  size_t bytes = 0;
  unsigned prepares = 0, commits = 0;
  const char *at = vow_request_body(request, &bytes);
  while ((at = strstr(at, "\"type\":\"")) != NULL) {
    at += strlen("\"type\":\"");
    bool prepare = strncmp(at, "prepare", 7) == 0;
    *(prepare ? &prepares : &commits) += 1;
    strcat(text, prepares + commits == 1 ? "" : ",");
    strcat(text, prepare ? "{\"status\":200,\"vote\":\"commit\"}"
                         : "{\"status\":200,\"outcome\":\"committed\"}");
    assert_true(strlen(text) < sizeof text - 64);
  }
  strcat(text, "]}");
  w->prepares += prepares;
  w->commits += commits;
  w->both += prepares > 0 && commits > 0;
  vow_request_answer(request, 200, "application/json", text, strlen(text));
}

static void reply(struct api_world *w, struct vow_server_request *request) {
  const char *path = vow_request_path(request);
  const char *text = "{\"outcome\":\"aborted\"}";
  if (w->batches) vow_request_add_header(request, "Vow-Batch", "8");
  if (strcmp(path, "/p/batch") == 0) {
    answer_batch(w, request);
    return;
  }
  if (strcmp(path, "/p/prepare") == 0) {
    w->prepares++;
    text = "{\"vote\":\"commit\"}";
  } else if (strcmp(path, "/p/commit") == 0) {
    w->commits++;
    text = "{\"outcome\":\"committed\"}";
  } else {
    w->aborts++;
  }
  vow_request_answer(request, 200, "application/json", text, strlen(text));
}

static void on_message(void *context, struct vow_server_request *request) {
  struct api_world *w = context;
  const char *path = vow_request_path(request);
  bool hold = (w->hold_prepare && strcmp(path, "/p/prepare") == 0) ||
              (w->hold_commit && strcmp(path, "/p/commit") == 0);
  if (!hold) {
    reply(w, request);
    return;
  }
  assert_true(w->held_count < WORLD_HELD_MAX);
  w->held[w->held_count++] = request;
}

static void on_message_gone(void *context, struct vow_server_request *request) {
  struct api_world *w = context;
  for (unsigned i = 0; i < w->held_count; i++) {
    if (w->held[i] == request) w->held[i] = w->held[--w->held_count];
  }
}

void api_world_release(struct api_world *w) {
  w->hold_prepare = w->hold_commit = false;
  while (w->held_count > 0) reply(w, w->held[--w->held_count]);
}

/* ---- the daemon ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
  (void)st, (void)type, (void)ftw;
  return remove(path);
}

static void on_failed(void *context, enum vow_error error, const char *why) {
  struct api_world *w = context;
  if (w->failed_exit == 0) {
    fprintf(stderr, "the driver failed: %s (%s)\n", why, vow_error_text(error));
  }
  nftw(w->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
  _exit(w->failed_exit == 0 ? 1 : w->failed_exit);
}

static struct vow_server *open_server(struct api_world *w,
                                      void (*handle)(void *, struct vow_server_request *),
                                      void (*gone)(void *, struct vow_server_request *),
                                      void *context) {
  struct vow_server *server = NULL;
  char why[256] = "";
  struct vow_server_config config = {.listen = "127.0.0.1:0",
                                     .connections_max = 1000,
                                     .idle_timeout_ms = 60000,
                                     .body_bytes_max = 1 << 20,
                                     .bodies_bytes_max = 1 << 24,
                                     .handle = handle,
                                     .gone = gone,
                                     .context = context};
  if (vow_server_open(&server, &w->loop, &config, why, sizeof why) != VOW_OK) fail_msg("%s", why);
  return server;
}

static void open_daemon(struct api_world *w) {
  char why[VOW_LOG_WHY_BYTES] = "";
  const struct vow_config *c = &w->config;
  assert_int_equal(vow_api_new(&w->api, c, &w->logger), VOW_OK);
  w->server = open_server(w, vow_api_handle, vow_api_gone, w->api);
  snprintf(w->url, sizeof w->url, "http://%s", vow_server_address(w->server));
  struct vow_driver_config config = {
      .core = {.transaction_timeout_ms = (uint32_t)c->transaction_timeout_ms,
               .transaction_timeout_max_ms = (uint32_t)c->limits_transaction_timeout_ms,
               .prepare_timeout_ms = (uint32_t)c->prepare_timeout_ms,
               .wait_timeout_ms = (uint32_t)c->wait_timeout_ms,
               .retry_min_ms = (uint32_t)c->retry_min_ms,
               .retry_max_ms = (uint32_t)c->retry_max_ms,
               .preparing_record_after_ms = 1000,
               .transactions_max = (uint32_t)c->limits_transactions,
               .branches_max = (uint32_t)c->limits_branches,
               .waiters_max = (uint32_t)c->limits_waiters,
               .inflight_per_endpoint_max = (uint32_t)c->limits_inflight_per_endpoint,
               .history_max = (uint32_t)c->limits_history,
               .id_reserve_ms = 10000},
      .log = {.path = w->log_path,
              .create = true,
              .lazy_flush_ms = 5,
              .wal_bytes_max = 1 << 20,
              .retention_age_ms = c->retention_age_ms,
              .retention_count = c->retention_count,
              .purge_step = 100},
      .sender = {.connections_max = 500,
                 .connections_per_host_max = 500,
                 .idle_connections_max = 100,
                 .answer_bytes_max = 1 << 20,
                 .connect_timeout_ms = 3000,
                 .user_agent = "vow-test"},
      .advertise_url = w->url,
      .request_timeout_ms = (uint32_t)c->request_timeout_ms,
      .linger_us = w->linger_us,
      .failed = on_failed,
      .context = w};
  if (vow_driver_open(&w->driver, &w->loop, &config, why) != VOW_OK) fail_msg("%s", why);
  vow_api_attach(w->api, w->driver, w->server);
}

static void load_config(struct api_world *w, const char *const *flags) {
  char *argv[FLAGS_MAX] = {strdup("vowd"), NULL};
  char why[VOW_CONFIG_WHY_BYTES] = "";
  int argc = 1;
  for (; flags != NULL && flags[argc - 1] != NULL; argc++) argv[argc] = strdup(flags[argc - 1]);
  if (vow_config_load(&w->config, argc, argv, NULL, why) != VOW_OK) fail_msg("%s", why);
  for (int i = 0; i < argc; i++) free(argv[i]);
}

static struct api_world *new_world(const char *const *flags, uint32_t linger_us) {
  struct api_world *w = calloc(1, sizeof *w);
  assert_non_null(w);
  w->linger_us = linger_us;
  snprintf(w->folder, sizeof w->folder, "/tmp/vow-api-XXXXXX");
  assert_non_null(mkdtemp(w->folder));
  snprintf(w->log_path, sizeof w->log_path, "%s/vow.log", w->folder);
  assert_int_equal(uv_loop_init(&w->loop), 0);
  load_config(w, flags);
  vow_logger_init(&w->logger, STDERR_FILENO);
  w->logger.level = VOW_LEVEL_ERROR;
  w->participant = open_server(w, on_message, on_message_gone, w);
  snprintf(w->participant_url, sizeof w->participant_url, "http://%s/p",
           vow_server_address(w->participant));
  struct vow_sender_config client = {.connections_max = 900,
                                     .connections_per_host_max = 900,
                                     .idle_connections_max = 100,
                                     .answer_bytes_max = 16 << 20,
                                     .connect_timeout_ms = 3000,
                                     .user_agent = "vow-test"};
  assert_int_equal(vow_sender_open(&w->client, &w->loop, &client), VOW_OK);
  open_daemon(w);
  API_WAIT(w, !vow_core_loading(vow_driver_core(w->driver)));
  return w;
}

struct api_world *api_world_new(const char *const *flags) {
  return new_world(flags, 0);
}

struct api_world *api_world_new_lingering(uint32_t linger_us) {
  return new_world(NULL, linger_us);
}

static void close_daemon(struct api_world *w) {
  vow_server_close(w->server);
  vow_driver_close(w->driver);
  vow_api_free(w->api);
}

void api_world_restart(struct api_world *w) {
  close_daemon(w);
  api_world_turn(w);
  open_daemon(w);
  API_WAIT(w, !vow_core_loading(vow_driver_core(w->driver)));
}

void api_world_free(struct api_world *w) {
  close_daemon(w);
  vow_server_close(w->participant);
  vow_sender_close(w->client);
  uv_run(&w->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&w->loop), 0);
  vow_logger_fini(&w->logger);
  vow_config_fini(&w->config);
  nftw(w->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
  free(w);
}

/* ---- the loop and the client ---- */

static void on_tick(uv_timer_t *timer) {
  (void)timer;
}

void api_world_turn(struct api_world *w) {
  uv_timer_t timer;
  uv_timer_init(&w->loop, &timer);
  uv_update_time(&w->loop); /* a timer that is late already would not end the wait */
  uv_timer_start(&timer, on_tick, 20, 0);
  uv_run(&w->loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(&w->loop, UV_RUN_NOWAIT);
}

static void on_done(void *context, const struct vow_sender_answer *got) {
  struct api_answer *answer = context;
  answer->there = true;
  answer->status = got->status;
  answer->body = strdup(got->error == VOW_OK ? got->body : got->why);
}

void api_submit(struct api_world *w, struct api_answer *answer, const char *method,
                const char *path, const char *body, const char *header) {
  char url[512];
  const char *headers[] = {header, NULL};
  snprintf(url, sizeof url, "%s%s", w->url, path);
  struct vow_sender_request request = {.method = method,
                                       .url = url,
                                       .body = body,
                                       .body_bytes = body ? strlen(body) : 0,
                                       .headers = headers,
                                       .timeout_ms = WORLD_DEADLINE_MS,
                                       .done = on_done,
                                       .context = answer};
  memset(answer, 0, sizeof *answer);
  assert_int_equal(vow_sender_submit(w->client, &request), VOW_OK);
}

void api_ask(struct api_world *w, struct api_answer *answer, const char *method, const char *path,
             const char *body) {
  api_submit(w, answer, method, path, body, NULL);
  API_WAIT(w, answer->there);
}

void api_answer_free(struct api_answer *answer) {
  free(answer->body);
  answer->body = NULL;
}

const char *api_member(const struct api_answer *answer, const char *member, char out[128]) {
  char needle[64];
  snprintf(needle, sizeof needle, "\"%s\":\"", member);
  const char *at = strstr(answer->body, needle);
  if (at == NULL) fail_msg("no %s in %d %s", member, answer->status, answer->body);
  at += strlen(needle);
  snprintf(out, 128, "%.*s", (int)strcspn(at, "\""), at);
  return out;
}

const char *api_one_shot(const struct api_world *w, char out[512]) {
  snprintf(out, 512,
           "{\"commit\":true,\"branches\":[{\"url\":\"%s\",\"payload\":1},{\"url\":\"%s\","
           "\"payload\":2}]}",
           w->participant_url, w->participant_url);
  return out;
}

void api_begin(struct api_world *w, char id[VOW_ID_TEXT_BYTES]) {
  struct api_answer answer;
  char text[128];
  api_ask(w, &answer, "POST", "/v1/transactions", "{}");
  assert_int_equal(answer.status, 201);
  snprintf(id, VOW_ID_TEXT_BYTES, "%.36s", api_member(&answer, "id", text));
  api_answer_free(&answer);
}
