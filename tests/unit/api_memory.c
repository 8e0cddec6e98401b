/*
 * Each allocation of ours fails once while the daemon serves: a request may be refused or hung up
 * on, or the process may end where nothing can be taken back, but nothing crashes, leaks or stops
 * working. Every try is a process of its own.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "api_world.h"
#include "failing_memory.h"

/* How a try ends; a sanitizer's own exit codes are others. */
#define EXIT_WENT_ON     0
#define EXIT_NOT_REACHED 76 /* there were not that many allocations */
#define EXIT_GAVE_UP     77 /* the driver ended the process, as it may */
#define TRIES_MAX        4000

/* ---- the allocation that fails ---- */

static long countdown; /* 0: none fails; the log's thread allocates, too, hence the atomics */
static bool failed;

bool allocation_fails(void) {
  if (__atomic_load_n(&countdown, __ATOMIC_RELAXED) == 0) return false;
  if (__atomic_sub_fetch(&countdown, 1, __ATOMIC_RELAXED) != 0) return false;
  __atomic_store_n(&failed, true, __ATOMIC_RELAXED);
  return true;
}

/* ---- what is done meanwhile ---- */

struct outcome {
  bool there;
};

static void on_done(void *context, const struct vow_sender_answer *answer) {
  struct outcome *outcome = context;
  (void)answer; /* whatever it is, it came */
  outcome->there = true;
}

/* Asks and waits for any end of it. The request itself may fail for want of memory. */
static void ask(struct api_world *w, const char *method, const char *path, const char *body,
                const char *header) {
  char url[512];
  struct outcome outcome = {0};
  const char *headers[] = {header, NULL};
  snprintf(url, sizeof url, "%s%s", w->url, path);
  struct vow_sender_request request = {.method = method,
                                       .url = url,
                                       .body = body,
                                       .body_bytes = body ? strlen(body) : 0,
                                       .headers = headers,
                                       .timeout_ms = 1000,
                                       .done = on_done,
                                       .context = &outcome};
  if (vow_sender_submit(w->client, &request) != VOW_OK) return;
  API_WAIT(w, outcome.there);
}

static void use_everything(struct api_world *w, const char *id) {
  char body[600], path[128];
  api_one_shot(w, body);
  ask(w, "POST", "/v1/transactions", body, "Idempotency-Key: one");
  ask(w, "POST", "/v1/transactions", body,
      "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  ask(w, "POST", "/v1/transactions", "{\"metadata\":{\"a\":[1,2]},\"timeout_ms\":5000}", NULL);
  snprintf(path, sizeof path, "/v1/transactions/%s/branches", id);
  snprintf(body, sizeof body, "{\"url\":\"%s\",\"name\":\"x\",\"payload\":{\"a\":\"b\"}}",
           w->participant_url);
  ask(w, "POST", path, body, NULL);
  snprintf(path, sizeof path, "/v1/transactions/%s/commit", id);
  ask(w, "POST", path, NULL, NULL);
  snprintf(path, sizeof path, "/v1/transactions/%s", id);
  ask(w, "GET", path, NULL, NULL);
  ask(w, "GET", "/v1/transactions?limit=2", NULL, NULL);
  snprintf(body, sizeof body, "{\"transactions\":[\"%s\",\"%.35sf\"]}", id, id);
  ask(w, "POST", "/v1/outcomes", body, NULL);
  ask(w, "GET", "/v1/participants", NULL, NULL);
  ask(w, "GET", "/v1/status", NULL, NULL);
  ask(w, "GET", "/metrics", NULL, NULL);
  ask(w, "GET", "/v1/%2f", NULL, NULL);
  ask(w, "DELETE", "/v1/status", NULL, NULL);
}

/* In a process of its own, with the n-th allocation failing. */
static void try_nth(long n) {
  char id[VOW_ID_TEXT_BYTES];
  const char *flags[] = {"--retry-max-ms=200", "--retry-min-ms=10", NULL};
  struct api_world *w = api_world_new(flags);
  w->failed_exit = EXIT_GAVE_UP;
  api_begin(w, id);
  __atomic_store_n(&countdown, n, __ATOMIC_RELAXED);
  use_everything(w, id);
  __atomic_store_n(&countdown, 0, __ATOMIC_RELAXED);
  struct api_answer answer;
  char body[512];
  api_ask(w, &answer, "POST", "/v1/transactions", api_one_shot(w, body));
  if (answer.status != 200) fail_msg("%ld: it works no longer: %s", n, answer.body);
  api_answer_free(&answer);
  api_world_free(w);
}

static void every_allocation_fails_once(void **state) {
  /* See above. */
  (void)state;
  unsigned went_on = 0, gave_up = 0;
  bool reached = true;
  for (long n = 1; reached && n < TRIES_MAX; n++) {
    pid_t child = fork();
    if (child == 0) {
      try_nth(n);
      exit(failed ? EXIT_WENT_ON : EXIT_NOT_REACHED);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status)) fail_msg("allocation %ld: signal %d", n, WTERMSIG(status));
    int code = WEXITSTATUS(status);
    went_on += code == EXIT_WENT_ON;
    gave_up += code == EXIT_GAVE_UP;
    reached = code != EXIT_NOT_REACHED;
    if (reached && code != EXIT_WENT_ON && code != EXIT_GAVE_UP) {
      fail_msg("allocation %ld: exit code %d", n, code);
    }
  }
  assert_false(reached);
  assert_true(went_on > 50);
  print_message("%u failed allocations were survived, %u ended the process\n", went_on, gave_up);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_fails_once)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
