/*
 * URLs that vow calls or gives out: http and https, a host, no user info, no query or fragment, at
 * most VOW_URL_BYTES_MAX. Pure syntax (RFC 3986); no name is resolved.
 */
#ifndef VOW_PROTO_URL_H
#define VOW_PROTO_URL_H

#include "buf.h"

#define VOW_URL_BYTES_MAX 1024

/* Writes the normal form (scheme and host in lower case, no default port, no slash at the end) to
 * `out`, which has VOW_URL_BYTES_MAX + 1 bytes. VOW_E_INVALID_URL with a sentence in `why` that
 * says what is wrong and what is allowed. */
enum vow_error vow_url_normalize(const char *url, char *out, char *why,
                                 size_t why_bytes) VOW_MUST_CHECK;

#endif
