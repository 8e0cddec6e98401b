/*
 * Calls to the daemon. See client.h.
 *
 * Whatever answers at the address may be something else entirely: an answer counts only when it is
 * JSON, and a failure only when it is a problem of ours.
 */
#include "client.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "io/sender.h"
#include "message.h"
#include "output.h"
#include "status.h"
#include "view.h"

#define ANSWER_BYTES_MAX   (256U << 20) /* the largest page of transactions with many branches */
#define CONNECT_TIMEOUT_MS 5000
#define START_OR_NAME      "Start vowd, or give its address with --url or VOW_URL."
/* It may be any side's certificate, this side's list of authorities, or a port without TLS. */
#define MEND_OR_NAME                                                    \
  "Mend what it names, here or at the proxy there. vowd itself has no " \
  "TLS: without a proxy its address, in --url or VOW_URL, begins with http://."

static void on_sender_failed(void *context, const char *why);

enum ctl_exit ctl_client_open(struct ctl_client *client, const struct ctl_args *args) {
  char why[256];
  const char *url = args->text[CTL_OPT_URL];
  memset(client, 0, sizeof *client);
  if (vow_url_normalize(url, client->base, why, sizeof why) != VOW_OK) {
    return ctl_fail(CTL_EXIT_USAGE, "An address looks like http://127.0.0.1:7800.",
                    "\"%s\" cannot be used: %s.", url, why);
  }
  client->args = args;
  client->timeout_ms = (uint32_t)args->number[CTL_OPT_WAIT];
  struct vow_sender_config config = {
      .connections_max = 1,
      .connections_per_host_max = 1,
      .idle_connections_max = 1,
      .answer_bytes_max = ANSWER_BYTES_MAX,
      .connect_timeout_ms =
          client->timeout_ms < CONNECT_TIMEOUT_MS ? client->timeout_ms : CONNECT_TIMEOUT_MS,
      .user_agent = "vowctl/" VOW_VERSION,
      .failed = on_sender_failed,
      .context = client,
  };
  if (uv_loop_init(&client->loop) != 0) {
    return ctl_fail(CTL_EXIT_FAILED, "Free memory or file handles, then try again.",
                    "the event loop cannot be made.");
  }
  client->open = true;
  enum vow_error error = vow_sender_open(&client->sender, &client->loop, &config);
  if (error == VOW_OK) return CTL_EXIT_OK;
  return ctl_fail(CTL_EXIT_FAILED, "Free memory or file handles, then try again.",
                  "HTTP cannot be used: %s.", vow_error_text(error));
}

void ctl_client_close(struct ctl_client *client) {
  if (!client->open) return;
  if (client->sender != NULL) vow_sender_close(client->sender);
  client->sender = NULL;
  uv_run(&client->loop, UV_RUN_DEFAULT);
  uv_loop_close(&client->loop);
  client->open = false;
}

void ctl_reply_fini(struct ctl_reply *reply) {
  if (reply == NULL) return;
  vow_json_free(reply->json);
  free(reply->body);
  memset(reply, 0, sizeof *reply);
}

/* A sentence of the daemon goes into one of ours, which has its own full stop. */
static void cut_full_stop(char *text) {
  size_t bytes = strlen(text);
  if (bytes > 0 && text[bytes - 1] == '.') text[bytes - 1] = '\0';
}

static void reply_fail(struct ctl_reply *reply, enum vow_error error, const char *detail) {
  reply->error = error;
  reply->unread = error == VOW_E_NO_MEMORY;
  snprintf(reply->detail, sizeof reply->detail, "%s", detail == NULL ? "" : detail);
  cut_full_stop(reply->detail);
}

/* Keeps the answer if it is JSON; what else comes is not from vowd. */
static void keep_body(struct ctl_reply *reply, const struct vow_sender_answer *answer) {
  char why[VOW_JSON_WHY_BYTES], text[512];
  bool json = strncmp(answer->content_type, "application/json", 16) == 0 ||
              strncmp(answer->content_type, "application/problem+json", 24) == 0;
  if (!json) {
    snprintf(text, sizeof text, "HTTP status %d with a body of type \"%.80s\", where JSON is due",
             answer->status, answer->content_type);
    reply_fail(reply, VOW_E_PROTOCOL, text);
    return;
  }
  enum vow_error error = vow_json_parse(&reply->json, answer->body, answer->body_bytes, why);
  if (error == VOW_E_INVALID_JSON) {
    snprintf(text, sizeof text, "a body that is not valid JSON: %s", why);
    reply_fail(reply, VOW_E_PROTOCOL, text);
    return;
  }
  reply->body = error == VOW_OK ? strndup(answer->body, answer->body_bytes) : NULL;
  if (reply->body == NULL) {
    reply_fail(reply, VOW_E_NO_MEMORY, NULL);
    return;
  }
  reply->body_bytes = strlen(reply->body);
}

static void read_problem(struct ctl_reply *reply) {
  char text[128];
  reply->error =
      vow_problem_decode(reply->body, reply->body_bytes, reply->detail, sizeof reply->detail);
  cut_full_stop(reply->detail);
  /* One that was read has a sentence. */
  reply->unread = reply->error == VOW_E_NO_MEMORY && reply->detail[0] == '\0';
  if (reply->error != VOW_OK && reply->error != VOW_E_PROTOCOL) return;
  snprintf(text, sizeof text, "HTTP status %d without a problem that vow knows", reply->status);
  reply_fail(reply, VOW_E_PROTOCOL, text);
}

/* What a failure leaves open. Only vowd's own refusals say that nothing was done; of a web server's
 * those that blame the request, of a proxy's answer that its server failed none. */
static bool may_be_done(const struct ctl_client *client, const struct ctl_reply *reply) {
  if (!reply->post) return false;
  if (reply->error == VOW_E_PROTOCOL) return reply->status < 400 || reply->status >= 500;
  if (reply->error != VOW_E_NO_MEMORY) return false;
  if (reply->unread) return true;
  /* The daemon's own: of a transaction it may have lacked memory for the answer only. */
  const struct ctl_command *command = client->args->command;
  return command != NULL && command->operand == CTL_OPERAND_ID;
}

static void take_answer(void *context, const struct vow_sender_answer *answer) {
  struct ctl_client *client = context;
  struct ctl_reply *reply = client->waiting;
  if (reply == NULL) return; /* the caller gave up on it */
  client->waiting = NULL;
  reply->done = true;
  /* It may have come in a timer's turn, behind which the loop would wait for something else. */
  uv_stop(&client->loop);
  if (answer->error != VOW_OK) {
    reply_fail(reply, answer->error, answer->why);
    reply->maybe_done = reply->post && !answer->not_sent;
    reply->not_secure = answer->not_secure;
    return;
  }
  reply->status = answer->status;
  keep_body(reply, answer);
  bool success = reply->status >= 200 && reply->status < 300;
  if (reply->error == VOW_OK && !success) read_problem(reply);
  reply->maybe_done = may_be_done(client, reply);
}

void ctl_client_call(struct ctl_client *client, const char *method, const char *path,
                     const struct vow_buf *body, struct ctl_reply *reply) {
  struct vow_buf url;
  memset(reply, 0, sizeof *reply);
  reply->post = strcmp(method, "POST") == 0;
  vow_buf_init(&url, (size_t)8 * VOW_URL_BYTES_MAX);
  vow_buf_printf(&url, "%s%s", client->base, path);
  struct vow_sender_request request = {
      .method = method,
      .url = vow_buf_text(&url),
      .body = body == NULL ? NULL : vow_buf_text(body),
      .body_bytes = body == NULL ? 0 : body->bytes,
      .timeout_ms = client->timeout_ms,
      .done = take_answer,
      .context = client,
  };
  enum vow_error error = url.error;
  if (error == VOW_OK && body != NULL) error = body->error;
  if (error == VOW_OK) error = vow_sender_submit(client->sender, &request);
  if (error == VOW_OK) {
    client->waiting = reply;
    while (!reply->done && !client->interrupted) uv_run(&client->loop, UV_RUN_ONCE);
    if (!reply->done) reply_fail(reply, VOW_E_TIMEOUT, "interrupted");
    client->waiting = NULL;
  } else {
    reply_fail(reply, error, NULL);
  }
  vow_buf_fini(&url);
}

void ctl_reply_print(const struct ctl_reply *reply) {
  size_t bytes = reply->body_bytes;
  while (bytes > 0 && isspace((unsigned char)reply->body[bytes - 1])) bytes--;
  ctl_put_text(reply->body, bytes);
  ctl_put_text("\n", 1);
}

enum ctl_exit ctl_client_strange(const struct ctl_client *client, const char *why) {
  return ctl_fail(CTL_EXIT_UNREACHABLE,
                  "Check the address (--url or VOW_URL) and the version of vowd.",
                  "what answers at %s does not speak as vowd does: %s.", client->base, why);
}

/* An abort of which there is no record, so that nothing can be shown. */
static bool is_presumed(const struct ctl_reply *reply) {
  struct vow_json_object o;
  bool presumed = false;
  vow_json_object_begin(&o, vow_json_root(reply->json), "");
  vow_json_object_ignore_unknown(&o);
  vow_json_get_bool(&o, "presumed", VOW_JSON_OPTIONAL, &presumed);
  return vow_json_object_end(&o) == VOW_OK && presumed;
}

/* What to do about an error of the daemon; NULL where its sentence says it all. */
static const char *advice(const struct ctl_args *args, const struct ctl_reply *reply) {
  switch (reply->error) {
    case VOW_E_UNKNOWN_TRANSACTION:
      return "Check the id with `vowctl list --all`; history is purged with age.";
    case VOW_E_UNKNOWN_BRANCH:
      return "`vowctl show ID` lists the branches.";
    case VOW_E_ILLEGAL_STATE:
      return args->command->operand == CTL_OPERAND_ID ? "`vowctl show ID` tells where it stands."
                                                      : NULL;
    case VOW_E_QUARANTINED:
      return CTL_QUARANTINE_ADVICE;
    case VOW_E_HEURISTIC:
      return "Put the data right, then let go of it with `vowctl forget ID --reason TEXT`.";
    case VOW_E_LOADING:
    case VOW_E_DRAINING:
    case VOW_E_OVERLOADED:
      return "Try again in a moment.";
    case VOW_E_OUTCOME_UNKNOWN:
      return "Ask again with `vowctl show ID`.";
    case VOW_E_BACKUP_EXISTS:
      return "`vowctl check --log` tells whether what is there is a good backup.";
    case VOW_E_BACKUP_IO:
      return "The log itself goes on: mend what it says, then make another backup.";
    case VOW_E_LOG_FULL:
      return "Free space on the disk of the transaction log.";
    case VOW_E_LOG_MOVED:
      return CTL_LOG_MOVED_ADVICE;
    case VOW_E_NO_MEMORY:
      return "Free memory, then try again.";
    case VOW_E_ABORTED:
      return is_presumed(reply) ? "Nothing of it took effect; begin it anew if it still matters."
                                : "Nothing of it took effect; `vowctl show ID` tells why.";
    default:
      return "The daemon's own log says more.";
  }
}

static const char *how_lost(enum vow_error error) {
  return error == VOW_E_TIMEOUT     ? "no answer came in time (--timeout)"
         : error == VOW_E_PROTOCOL  ? "what answers does not speak as vowd does"
         : error == VOW_E_NO_MEMORY ? "the answer cannot be read"
                                    : "the answer was lost";
}

/* What was asked may have been done: that is neither success nor failure. */
static enum ctl_exit fail_unknown(const struct ctl_client *client, const struct ctl_args *args,
                                  const char *how, const char *detail) {
  bool of_id = args->command->operand == CTL_OPERAND_ID;
  const char *todo = of_id ? "Look with `vowctl show ID`; the same command again does no harm."
                           : "Look whether it is there, and then `vowctl check --log` it, or take "
                             "another path.";
  return ctl_fail(CTL_EXIT_ATTENTION, todo, "it is not known whether %s has done it; %s: %s.",
                  client->base, how, detail);
}

/* Nobody would ever be called back about the request under way. Reconciling gives no command: what
 * it posts are questions. */
static void on_sender_failed(void *context, const char *why) {
  const struct ctl_client *client = context;
  bool changes = client->waiting != NULL && client->waiting->post && client->args->command != NULL;
  if (changes) exit((int)fail_unknown(client, client->args, how_lost(VOW_E_NO_MEMORY), why));
  exit((int)ctl_fail(CTL_EXIT_FAILED, "Free memory, then try again.",
                     "nothing more can be asked of %s: %s.", client->base, why));
}

enum ctl_exit ctl_client_unreadable(const struct ctl_client *client, const struct ctl_args *args,
                                    const struct ctl_reply *reply, enum vow_error error,
                                    const char *why) {
  if (error != VOW_E_PROTOCOL) why = vow_error_text(error);
  if (reply->post) return fail_unknown(client, args, how_lost(error), why);
  if (error == VOW_E_PROTOCOL) return ctl_client_strange(client, why);
  return ctl_fail(ctl_exit_of(error), "Free memory, then try again.",
                  "the answer of %s cannot be shown: %s.", client->base, why);
}

enum ctl_exit ctl_client_fail(const struct ctl_client *client, const struct ctl_args *args,
                              const struct ctl_reply *reply) {
  const char *detail = reply->detail[0] == '\0' ? vow_error_text(reply->error) : reply->detail;
  bool its_own = reply->error == VOW_E_NO_MEMORY && !reply->unread;
  const char *how = its_own ? "it ran out of memory" : how_lost(reply->error);
  if (reply->maybe_done) return fail_unknown(client, args, how, detail);
  if (reply->status != 0 && reply->body != NULL && ctl_given(args, CTL_OPT_JSON)) {
    ctl_reply_print(reply);
  }
  if (reply->status == 0) {
    switch (reply->error) {
      case VOW_E_TIMEOUT:
        return ctl_fail(CTL_EXIT_UNREACHABLE,
                        "Wait longer with --timeout, or look at the daemon's own log.",
                        "no answer from %s in time: %s.", client->base, detail);
      case VOW_E_UNREACHABLE:
        return ctl_fail(CTL_EXIT_UNREACHABLE, reply->not_secure ? MEND_OR_NAME : START_OR_NAME,
                        "the daemon at %s cannot be reached: %s.", client->base, detail);
      case VOW_E_PROTOCOL:
        return ctl_client_strange(client, detail);
      default:
        return ctl_fail(CTL_EXIT_FAILED, "Free memory, then try again.", "%s cannot be asked: %s.",
                        client->base, detail);
    }
  }
  if (reply->error == VOW_E_PROTOCOL || reply->error == VOW_E_ROUTE_NOT_FOUND) {
    return ctl_client_strange(client, detail);
  }
  return ctl_fail(ctl_exit_of(reply->error), advice(args, reply), "%s.", detail);
}

void ctl_query_append(struct vow_buf *buf, const char *text) {
  for (; *text != '\0'; text++) {
    if (isalnum((unsigned char)*text) || strchr("-._~", *text) != NULL) {
      vow_buf_append(buf, text, 1);
    } else {
      vow_buf_printf(buf, "%%%02X", (unsigned)(unsigned char)*text);
    }
  }
}

enum ctl_exit ctl_client_ask(const struct ctl_args *args, const char *method, const char *path,
                             const struct vow_buf *body, ctl_read_fn read, void *context) {
  char why[VOW_JSON_WHY_BYTES] = "out of memory";
  struct ctl_client client;
  struct ctl_reply reply = {0};
  struct vow_buf out;
  vow_buf_init(&out, CTL_OUTPUT_BYTES_MAX);
  enum ctl_exit code = ctl_client_open(&client, args);
  if (code != CTL_EXIT_OK) goto out;
  ctl_client_call(&client, method, path, body, &reply);
  enum vow_error error = reply.error;
  if (error == VOW_OK) error = read(context, vow_json_root(reply.json), &out, why);
  if (reply.error != VOW_OK) {
    code = ctl_client_fail(&client, args, &reply);
  } else if (error != VOW_OK) {
    code = ctl_client_unreadable(&client, args, &reply, error, why);
  } else if (ctl_given(args, CTL_OPT_JSON)) {
    ctl_reply_print(&reply);
  } else {
    ctl_put(&out);
  }
out:
  ctl_reply_fini(&reply);
  ctl_client_close(&client);
  vow_buf_fini(&out);
  return code;
}
