/*
 * What server.c and server_listen.c share. Nobody else includes it.
 */
#ifndef VOW_COORDINATOR_SERVER_INTERNAL_H
#define VOW_COORDINATOR_SERVER_INTERNAL_H

#include <stddef.h>

#include "vow/error.h"

/* A listening socket for "host:port", and the address it really has. VOW_E_ADDRESS_IN_USE or
 * VOW_E_CONFIG with a sentence in `why`. Blocks: to look up a name that is not a number. */
enum vow_error vow_server_listen(const char *listen_text, int *out, char *address,
                                 size_t address_bytes, char *why, size_t why_bytes) VOW_MUST_CHECK;

#endif
