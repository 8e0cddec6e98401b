/*
 * The daemon's HTTP API over the real core. An input is requests, one after the other, each as HTTP
 * would have it ("POST /v1/transactions\nPrefer: respond-async\n\n{…}"), with a byte 0xFF between
 * them; "@" in a path is the transaction that was begun last. In front of a request "!" makes its
 * client hang up, "~" lets the next one come before it is answered, "-" has participants vote
 * abort, "?" keeps them silent, "=" has the disk not sync before the next one, "+" says that the
 * body is beyond the limit. Each request is answered once, with JSON or a problem of ours, and
 * leaves nothing behind; nobody is told of a commit that is not durable, and of no other outcome
 * later.
 */
#include "api/api.h"

#include <string.h>
#include <unistd.h>

#include "api_stubs.h"
#include "fuzz.h"

#define REQUESTS_MAX 12

static struct vow_config config;
static struct vow_logger logger;

static void configure(void) {
  static char program[] = "vowd", p1[] = "--participant=bank=http://bank:1",
              p2[] = "--participant=other=http://other", limit[] = "--limits-branches=5",
              waiters[] = "--limits-waiters=2", few[] = "--limits-transactions=6";
  char *argv[] = {program, p1, p2, limit, waiters, few, NULL};
  char why[VOW_CONFIG_WHY_BYTES];
  must(vow_config_load(&config, 6, argv, NULL, why) == VOW_OK);
  vow_logger_init(&logger, STDERR_FILENO);
  logger.level = VOW_LEVEL_ERROR;
}

static struct vow_driver *new_driver(void) {
  struct vow_core_config core = {
      .transaction_timeout_ms = (uint32_t)config.transaction_timeout_ms,
      .transaction_timeout_max_ms = (uint32_t)config.limits_transaction_timeout_ms,
      .prepare_timeout_ms = (uint32_t)config.prepare_timeout_ms,
      .wait_timeout_ms = (uint32_t)config.wait_timeout_ms,
      .retry_min_ms = (uint32_t)config.retry_min_ms,
      .retry_max_ms = (uint32_t)config.retry_max_ms,
      .preparing_record_after_ms = 1000,
      .transactions_max = (uint32_t)config.limits_transactions,
      .branches_max = (uint32_t)config.limits_branches,
      .waiters_max = (uint32_t)config.limits_waiters,
      .inflight_per_endpoint_max = (uint32_t)config.limits_inflight_per_endpoint,
      .history_max = (uint32_t)config.limits_history,
      .id_reserve_ms = 10000};
  return stub_driver_new(&core);
}

/* One request with the marks in front of it. */
static struct vow_server_request *play(struct vow_api *api, struct vow_driver *driver,
                                       const uint8_t *data, size_t bytes) {
  bool hangs_up = false, waits = false, too_large = false, no_room = false, syncs = true;
  enum vow_vote vote = VOW_VOTE_COMMIT;
  for (; bytes > 0 && strchr("!~-+^?=", *data) != NULL && *data != '\0'; data++, bytes--) {
    if (*data == '!') hangs_up = true;
    if (*data == '~') waits = true;
    if (*data == '-') vote = VOW_VOTE_ABORT;
    if (*data == '+') too_large = true;
    if (*data == '^') no_room = true;
    if (*data == '?') vote = VOW_VOTE_NONE;
    if (*data == '=') syncs = false;
  }
  struct vow_server_request *request = stub_request(data, bytes, stub_latest(driver));
  if (request == NULL) return NULL;
  request->too_large = too_large;
  request->no_room = no_room;
  vow_api_handle(api, request);
  if (hangs_up && !request->answered) {
    vow_api_gone(api, request);
    request->gone = true;
  }
  if (!waits) stub_settle(driver, vote, syncs);
  return request;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  struct vow_server_request *requests[REQUESTS_MAX] = {NULL};
  struct vow_api *api = NULL;

  if (config.listen == NULL) configure();
  struct vow_driver *driver = new_driver();
  must(vow_api_new(&api, &config, &logger) == VOW_OK);
  vow_api_attach(api, driver, NULL);
  for (unsigned i = 0; i < REQUESTS_MAX && bytes > 0; i++) {
    const uint8_t *end = memchr(data, 0xFF, bytes);
    size_t length = end == NULL ? bytes : (size_t)(end - data);
    requests[i] = play(api, driver, data, length);
    data += length + (end != NULL);
    bytes -= length + (end != NULL);
  }
  stub_settle(driver, VOW_VOTE_COMMIT, true);
  for (unsigned i = 0; i < REQUESTS_MAX; i++) {
    if (requests[i] == NULL) continue;
    must(requests[i]->answered != requests[i]->gone);
    stub_request_free(requests[i]);
  }
  stub_driver_free(driver);
  vow_api_free(api);
  return 0;
}
