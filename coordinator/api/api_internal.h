/*
 * What the files of the API share. Nobody else includes it.
 *
 *   api.c              routes, calls, reading
 *   api_answer.c       answers
 *   api_begin.c        begin and one-shot, Idempotency-Key
 *   api_transaction.c  enlist, commit, abort, resolve, forget
 *   api_show.c         one transaction, its history, outcomes
 *   api_list.c         lists
 *   api_daemon.c       participants, status, health, backup, the OpenAPI file
 *   api_metrics.c      /metrics
 */
#ifndef VOW_COORDINATOR_API_INTERNAL_H
#define VOW_COORDINATOR_API_INTERNAL_H

#include "api.h"
#include "io/txn_json.h"
#include "json.h"

#define API_LIMIT_MAX         1000 /* of a page, and of a bulk question */
#define API_LIMIT_DEFAULT     100
#define API_LIST_SCAN_MAX     5000 /* open transactions a page looks at; the loop waits for it */
#define API_NAME_BYTES_MAX    128
#define API_KEY_BYTES_MAX     255
#define API_PAGE_BYTES_MAX    (4u * 1024 * 1024)  /* a page ends early when it is larger */
#define API_ANSWERS_BYTES_MAX (64u * 1024 * 1024) /* of pages at once; the loop waits for each */
#define API_TIMEOUT_MS_MAX    86400000
#define API_URLS_KEPT         16
#define API_URL_KEPT_BYTES    128 /* with the NUL */

struct vow_api {
  const struct vow_config *config;
  struct vow_logger *logger;
  struct vow_driver *driver;
  struct vow_server *server;
  uint64_t started_ms;
  bool draining;
  uint64_t page_bytes;     /* of pages that are being made */
  struct vow_buf out;      /* scratch: the body of the answer that is being written */
  struct vow_jsonw writer; /* into `out` */
  uint64_t answers[6];     /* by the first digit of the status */
  struct vow_logger_rate refused, damaged, foreign;
  char normal_urls[API_URLS_KEPT][API_URL_KEPT_BYTES]; /* seen, each in its place, and normal */
};

struct vow_api_route;

/* Branches of a begin or enlist request, read and checked. Names are borrowed from the document or
 * the configuration. */
struct vow_api_branches {
  struct vow_event_branch *items; /* owned */
  uint32_t count;
  struct vow_buf texts; /* of each one its URL and its payload, if it has one, with their NULs */
};

/* What else a begin keeps while the log is asked for its key. */
struct vow_api_begin {
  struct vow_buf metadata;
  const char *key;         /* borrowed from the request */
  const char *traceparent; /* borrowed from the request */
  uint8_t hash[16];
  uint64_t timeout_ms;
};

/* One request that was understood as far as its route. A handler answers it (which ends it) or
 * leaves it waiting for the driver (`token`) or the log. */
struct vow_api_call {
  struct vow_api *api;
  struct vow_server_request *request; /* NULL: the client is gone */
  const struct vow_api_route *route;
  struct vow_id id;
  uint64_t token;                   /* of a request that the core has not answered; else 0 */
  bool no_wait;                     /* Prefer: respond-async */
  bool commit;                      /* begin: one-shot */
  struct vow_json *document;        /* owned: the body */
  struct vow_api_branches branches; /* begin, enlist */
  struct vow_api_begin begin;
  void *more; /* owned by `free_more`: what another route keeps */
  void (*free_more)(void *more);
  void (*read)(void *call, const struct vow_log_result *result);       /* of vow_api_query */
  void (*found)(struct vow_api_call *call, const struct vow_txn *txn); /* of vow_api_find */
  struct vow_id purged_to; /* of vow_api_find: where the kept history begins */
};

struct vow_api_route {
  const char *method;
  const char *path; /* "{id}" stands for one */
  void (*handle)(struct vow_api_call *call);
  bool is_long;         /* its answer may be, and nothing is done where it is refused */
  const char *query[8]; /* parameters it takes */
};

/* ---- calls ---- */

void vow_api_call_free(struct vow_api_call *call);
/* Hands the event to the core; `done` gets the answer with the call as context. Ends the call with
 * a problem when memory is short. */
void vow_api_submit(struct vow_api_call *call, struct vow_event *event,
                    void (*done)(void *call, const struct vow_action *answer));
/* Asks the log; `done` gets the call as context. It must end the call, also when the client is gone
 * (then with vow_api_call_free). Damaged rows go into the daemon's log, whatever comes of the call.
 */
void vow_api_query(struct vow_api_call *call, struct vow_log_query *query,
                   void (*done)(void *call, const struct vow_log_result *result));
/* Finds call->id in the core or else in the log and calls `then`: with NULL when neither knows it.
 * While the log is being read, what is not found is answered with 503 here. */
void vow_api_find(struct vow_api_call *call,
                  void (*then)(struct vow_api_call *call, const struct vow_txn *txn));
bool vow_api_in_core(const struct vow_api_call *call);

/* ---- reading ---- */

/* Reads the body as one JSON object. False: the call was answered. An empty body reads as {} where
 * that is allowed (*present says so). */
bool vow_api_read_body(struct vow_api_call *call, bool may_be_empty, struct vow_json_object *out,
                       bool *present);
/* Ends the reading of a body; false: the call was answered with what is wrong. */
bool vow_api_end_body(struct vow_api_call *call, struct vow_json_object *object);
/* A query parameter, "" when it has no value, NULL when it is missing. */
const char *vow_api_query_text(const struct vow_api_call *call, const char *name);
/* A whole number in a query parameter; *out is left alone when it is missing. */
bool vow_api_query_uint(struct vow_api_call *call, const char *name, uint64_t min, uint64_t max,
                        uint64_t *out);
bool vow_api_prefers_async(const struct vow_api_call *call);
bool vow_api_is_name(const char *name);
uint64_t vow_api_wall_ms(void);

/* True for an id that this log may have issued, if all its records of that time are there. A
 * participant in doubt that asks for one that is unknown asks for an abort: a commit stays until
 * every branch has acknowledged it. */
bool vow_api_is_of_this_log(const struct vow_api *api, struct vow_id id);
/* It is of a time of which the log once lacked records, and was reconciled since. */
bool vow_api_was_lost(const struct vow_api *api, struct vow_id id);
/* True where what vow_api_find has not found was aborted, to a client too: no commit of its age or
 * a younger one was purged. */
bool vow_api_is_presumed(const struct vow_api_call *call);

/* Whether a long answer of so many bytes may join those that clients have not read yet: what they
 * do not read is kept for them. False: the call was answered. */
bool vow_api_has_room(struct vow_api_call *call, uint64_t bytes);

/* ---- answering: each of these ends the call ---- */

struct vow_jsonw *vow_api_write(struct vow_api_call *call); /* begins the body */
void vow_api_answer(struct vow_api_call *call, int status); /* sends it as JSON */
void vow_api_answer_text(struct vow_api_call *call, const char *content_type, const char *text,
                         size_t bytes);
extern const char vow_api_no_memory[]; /* a problem that takes none to write */
/* Without its history: programs ask, thousands of times a second. */
void vow_api_transaction(struct vow_api_call *call, int status, const struct vow_txn *txn);
/* With its history: a person asks. */
void vow_api_transaction_whole(struct vow_api_call *call, const struct vow_txn *txn);
void vow_api_problem(struct vow_api_call *call, enum vow_error error, const char *detail);
/* With the members that the error has: state, reason, outcome, transaction. */
void vow_api_problem_of(struct vow_api_call *call, enum vow_error error, const char *detail,
                        const struct vow_txn *txn);
void vow_api_presumed_aborted(struct vow_api_call *call);
void vow_api_unknown(struct vow_api_call *call); /* 404, and what may have become of it */
void vow_api_location(struct vow_api_call *call, struct vow_id id);
/* What a commit of a transaction whose outcome is known is answered, the first time and again. */
void vow_api_commit_outcome(struct vow_api_call *call, const struct vow_txn *txn);

/* ---- routes ---- */

void vow_api_begin(struct vow_api_call *call);
void vow_api_list(struct vow_api_call *call);
void vow_api_get(struct vow_api_call *call);
void vow_api_history(struct vow_api_call *call);
void vow_api_enlist(struct vow_api_call *call);
void vow_api_commit(struct vow_api_call *call);
void vow_api_abort(struct vow_api_call *call);
void vow_api_outcome(struct vow_api_call *call);
void vow_api_outcomes(struct vow_api_call *call);
void vow_api_resolve(struct vow_api_call *call);
void vow_api_forget(struct vow_api_call *call);
void vow_api_participants(struct vow_api_call *call);
void vow_api_status(struct vow_api_call *call);
void vow_api_backup(struct vow_api_call *call);
void vow_api_healthz(struct vow_api_call *call);
void vow_api_readyz(struct vow_api_call *call);
void vow_api_metrics(struct vow_api_call *call);
void vow_api_openapi(struct vow_api_call *call);

/* ---- branches ---- */

/* Reads one into items[count]; the caller has made the room. URLs and payloads are set when all are
 * read, by vow_api_branches_end. False, and `object` has failed or `error` and its `why` say what
 * is wrong.
 */
enum vow_error vow_api_read_branch(struct vow_api *api, struct vow_json_object *object,
                                   struct vow_api_branches *branches) VOW_MUST_CHECK;
enum vow_error vow_api_branches_end(struct vow_api_branches *branches) VOW_MUST_CHECK;
enum vow_error vow_api_branches_init(struct vow_api_branches *branches, size_t count,
                                     size_t body_bytes) VOW_MUST_CHECK;
void vow_api_branches_fini(struct vow_api_branches *branches);

#endif
