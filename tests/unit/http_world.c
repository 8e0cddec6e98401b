/*
 * See http_world.h.
 */
#include "http_world.h"

#include <time.h>

uint64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void answer_text(struct vow_server_request *request, int status, const char *text) {
  vow_request_answer(request, status, "text/plain", text, strlen(text));
}

static void echo(struct vow_server_request *request) {
  size_t bytes;
  const char *body = vow_request_body(request, &bytes);
  const char *header = vow_request_header(request, "X-Test");
  vow_request_add_header(request, "X-Back", header ? header : "none");
  vow_request_answer(request, 200, "application/json", body, bytes);
}

static void describe(struct vow_server_request *request) {
  char text[512];
  const char *a = vow_request_query(request, "a");
  const char *first = vow_request_query_name(request, 0);
  const char *second = vow_request_query_name(request, 1);
  snprintf(text, sizeof text, "%s %s a=%s names=%s,%s", vow_request_method(request),
           vow_request_path(request), a ? a : "-", first ? first : "-", second ? second : "-");
  answer_text(request, 200, text);
}

void handle(void *context, struct vow_server_request *request) {
  struct world *w = context;
  const char *path = vow_request_path(request);
  w->handled++;
  if (vow_request_header_fault(request) != NULL) {
    answer_text(request, 400, vow_request_header_fault(request));
  } else if (vow_request_body_too_large(request)) {
    answer_text(request, 413, "too large");
  } else if (vow_request_body_has_no_room(request)) {
    answer_text(request, 503, "no room");
  } else if (strcmp(path, "/echo") == 0) {
    echo(request);
  } else if (strcmp(path, "/hold") == 0) {
    vow_request_set_data(request, w);
    w->held[w->held_count++] = request;
  } else if (strcmp(path, "/big") == 0) {
    static char big[ANSWER_MAX * 2];
    memset(big, 'x', sizeof big);
    vow_request_answer(request, 200, "text/plain", big,
                       (size_t)atoi(vow_request_query(request, "n")));
  } else if (strcmp(path, "/none") == 0) {
    vow_request_answer(request, 204, NULL, NULL, 0);
  } else {
    describe(request);
  }
}

void gone(void *context, struct vow_server_request *request) {
  struct world *w = context;
  w->gone++;
  for (unsigned i = 0; i < w->held_count; i++) {
    if (w->held[i] == request) w->held[i] = NULL;
  }
}

struct world *world_new(uint32_t connections_max) {
  struct world *w = calloc(1, sizeof *w);
  char why[256] = "";
  assert_non_null(w);
  uv_loop_init(&w->loop);
  struct vow_server_config server = {.listen = "127.0.0.1:0",
                                     .connections_max = connections_max,
                                     .idle_timeout_ms = 60000,
                                     .body_bytes_max = BODY_BYTES_MAX,
                                     .bodies_bytes_max = BODIES_BYTES_MAX,
                                     .handle = handle,
                                     .gone = gone,
                                     .context = w};
  assert_int_equal(vow_server_open(&w->server, &w->loop, &server, why, sizeof why), VOW_OK);
  struct vow_sender_config sender = {.connections_max = 700,
                                     .connections_per_host_max = 600,
                                     .idle_connections_max = 100,
                                     .answer_bytes_max = ANSWER_MAX,
                                     .connect_timeout_ms = 2000,
                                     .user_agent = "vow-test"};
  assert_int_equal(vow_sender_open(&w->sender, &w->loop, &sender), VOW_OK);
  snprintf(w->base, sizeof w->base, "http://%s", vow_server_address(w->server));
  return w;
}

void world_free(struct world *w) {
  vow_server_close(w->server);
  vow_sender_close(w->sender);
  uv_run(&w->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&w->loop), 0);
  free(w);
}

int world_setup(void **state) {
  *state = world_new(1000);
  return 0;
}

int world_teardown(void **state) {
  world_free(*state);
  return 0;
}

static void on_tick(uv_timer_t *timer) {
  (void)timer;
}

void turn(struct world *w) {
  uv_timer_t timer;
  uv_timer_init(&w->loop, &timer);
  uv_update_time(&w->loop); /* a timer that is late already would not end the wait */
  uv_timer_start(&timer, on_tick, 20, 0);
  uv_run(&w->loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(&w->loop, UV_RUN_NOWAIT);
}

/* ---- asking through the sender ---- */

void on_done(void *context, const struct vow_sender_answer *answer) {
  struct reply *reply = context;
  assert_false(reply->there);
  reply->there = true;
  reply->error = answer->error;
  reply->not_sent = answer->not_sent;
  reply->status = answer->status;
  snprintf(reply->why, sizeof reply->why, "%s", answer->why);
  snprintf(reply->type, sizeof reply->type, "%s", answer->content_type);
  assert_true(answer->body_bytes < sizeof reply->body);
  memcpy(reply->body, answer->body, answer->body_bytes + 1);
  reply->bytes = answer->body_bytes;
}

void submit(struct world *w, struct reply *reply, const char *method, const char *url,
            const char *body, uint32_t timeout_ms) {
  struct vow_sender_request request = {.method = method,
                                       .url = url,
                                       .body = body,
                                       .body_bytes = body ? strlen(body) : 0,
                                       .timeout_ms = timeout_ms,
                                       .done = on_done,
                                       .context = reply};
  memset(reply, 0, sizeof *reply);
  assert_int_equal(vow_sender_submit(w->sender, &request), VOW_OK);
  assert_false(reply->there);
}

void ask(struct world *w, struct reply *reply, const char *method, const char *path,
         const char *body) {
  char url[512];
  snprintf(url, sizeof url, "%s%s", w->base, path);
  submit(w, reply, method, url, body, 5000);
  WAIT_UNTIL(w, reply->there);
}
