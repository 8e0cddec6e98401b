/*
 * Calls to the daemon's REST interface, one at a time: the caller waits, the loop turns. What the
 * daemon answers is read once and kept with its text, so that --json can print it unchanged.
 */
#ifndef VOW_CTL_CLIENT_H
#define VOW_CTL_CLIENT_H

#include <uv.h>

#include "args.h"
#include "json.h"
#include "url.h"

struct vow_sender;

struct ctl_client {
  uv_loop_t loop;
  struct vow_sender *sender;
  const struct ctl_args *args;      /* of the command, or of a part of it */
  char base[VOW_URL_BYTES_MAX + 1]; /* normal form, no slash at the end */
  uint32_t timeout_ms;
  bool open;
  bool interrupted;          /* set by the caller's signal handler: a call that waits gives up */
  struct ctl_reply *waiting; /* of the call under way */
};

struct ctl_reply {
  bool done;
  enum vow_error error; /* VOW_OK, or why not: the problem's, or UNREACHABLE, TIMEOUT, PROTOCOL */
  int status;           /* 0: none came */
  bool post;            /* it was asked to change something */
  bool maybe_done;      /* of a failure: what was asked may have been done nevertheless */
  bool unread;          /* NO_MEMORY that is ours, and not the other side's word */
  bool not_secure;      /* UNREACHABLE for what TLS found, and not because nobody is there */
  char detail[512];     /* of a failure: a sentence, or "" */
  char *body;           /* owned; NULL when nothing usable came */
  size_t body_bytes;
  struct vow_json *json; /* owned; the body; NULL with `body` */
};

/* Opens what --url and --timeout say. Prints what is wrong. Close it in either case. */
enum ctl_exit ctl_client_open(struct ctl_client *client, const struct ctl_args *args);
void ctl_client_close(struct ctl_client *client);

/* One request; `path` begins with a slash, `body` is NULL for none. Waits for the answer. Prints
 * nothing: reply->error says how it went. */
void ctl_client_call(struct ctl_client *client, const char *method, const char *path,
                     const struct vow_buf *body, struct ctl_reply *reply);
void ctl_reply_fini(struct ctl_reply *reply);

/* Prints what went wrong with a call about `id_text` (may be NULL) and returns the exit code. With
 * --json the problem goes to standard output, too. */
enum ctl_exit ctl_client_fail(const struct ctl_client *client, const struct ctl_args *args,
                              const struct ctl_reply *reply);

/* The daemon said something that this program does not understand: `why` is a sentence. */
enum ctl_exit ctl_client_strange(const struct ctl_client *client, const char *why);
/* A success whose answer cannot be read: PROTOCOL with a sentence, or NO_MEMORY without one. What
 * it was asked to change is changed, or may be. */
enum ctl_exit ctl_client_unreadable(const struct ctl_client *client, const struct ctl_args *args,
                                    const struct ctl_reply *reply, enum vow_error error,
                                    const char *why);

/* The reply's text as one document on standard output. */
void ctl_reply_print(const struct ctl_reply *reply);

/* Reads an answer and appends what a person sees of it; without --json `out` is printed. An error
 * is PROTOCOL, with a sentence, or NO_MEMORY. */
typedef enum vow_error (*ctl_read_fn)(void *context, const struct vow_json_node *root,
                                      struct vow_buf *out, char why[VOW_JSON_WHY_BYTES]);
/* A whole command that is one request: opens, calls, reads, prints, closes. */
enum ctl_exit ctl_client_ask(const struct ctl_args *args, const char *method, const char *path,
                             const struct vow_buf *body, ctl_read_fn read, void *context);

/* Appends `text` as the value of a query parameter. */
void ctl_query_append(struct vow_buf *buf, const char *text);

#endif
