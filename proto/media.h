/*
 * What a Content-Type says of a body. Called by both HTTP servers. Pure.
 */
#ifndef VOW_PROTO_MEDIA_H
#define VOW_PROTO_MEDIA_H

#include <stdbool.h>

/* "application/json" in either case, with or without parameters. JSON is UTF-8 (RFC 8259), so a
 * charset that says anything else is another type. NULL is none. */
bool vow_media_is_json(const char *content_type);

#endif
