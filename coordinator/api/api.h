/*
 * The HTTP API: proto/openapi/vow.yaml, served. It reads requests, asks the driver and the log, and
 * writes answers; it holds no state of transactions of its own. Called by the daemon.
 *
 * Where it looks, in this order: the core, for what is open; the log, for what has ended; and if
 * neither knows an id, it was presumably aborted. While the log is being read, the last step is
 * not taken.
 *
 * Threads: the loop's.
 */
#ifndef VOW_COORDINATOR_API_H
#define VOW_COORDINATOR_API_H

#include "config.h"
#include "io/driver.h"
#include "io/logger.h"
#include "io/server.h"

struct vow_api;

/* `config` and `logger` are borrowed and read at each request. VOW_E_NO_MEMORY. */
enum vow_error vow_api_new(struct vow_api **out, const struct vow_config *config,
                           struct vow_logger *logger) VOW_MUST_CHECK;
/* After the server and the driver have been closed. NULL is fine. */
void vow_api_free(struct vow_api *api);

/* Before the loop runs. */
void vow_api_attach(struct vow_api *api, struct vow_driver *driver, struct vow_server *server);

void vow_api_set_draining(struct vow_api *api); /* for /readyz */

/* The server's callbacks; the context is the API. */
void vow_api_handle(void *context, struct vow_server_request *request);
void vow_api_gone(void *context, struct vow_server_request *request);

#endif
