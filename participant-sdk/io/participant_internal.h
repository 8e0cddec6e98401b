/*
 * What the files of the participant share. participant.c: the public calls; engine.c: the core
 * under its lock, and its actions; dispatch.c: HTTP to messages and back; inquiry.c: questions to
 * the coordinators; server.c: HTTP in.
 *
 * Threads and locks. `lock` guards the core and everything marked so below; it is held for a step
 * and for carrying out its actions, none of which blocks, and never while a callback, a disk or the
 * network is waited for. Inside it the locks of the log's and the pool's queues may be taken,
 * nothing else. Exchanges that a step has answered are completed after it is released; so are the
 * log's thread and the pool's woken, or, without threads for callbacks, these called and the log
 * written.
 */
#ifndef VOW_SDK_PARTICIPANT_INTERNAL_H
#define VOW_SDK_PARTICIPANT_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/pcore.h"
#include "log.h"
#include "pool.h"
#include "vow/participant.h"

struct vow_inquiry;
struct vow_server;

#define VOW_DETAIL_BYTES 256

/* A request on its way through the core. Its address is its token. The memory is the caller's,
 * until `done` was called. */
struct vow_exchange {
  enum vow_message_type type; /* 0: an operator's */
  enum vow_error error;
  struct vow_message_reply reply; /* its reason is `text` or NULL */
  char text[VOW_DETAIL_BYTES];    /* the reason, or the detail of the error; "": none */
  void (*done)(void *context);    /* called once, from any thread, also before the call returns */
  void *context;
  struct vow_exchange *previous, *next; /* in `pending`, or in a list of those answered */
};

/* An HTTP request on its way: one message, or a batch of them. The caller sets `done`; its memory
 * is the caller's until vow_dispatch_fini. */
struct vow_dispatch {
  void (*done)(void *context); /* called once, from any thread, also before start returns */
  void *context;
  bool batch;
  uint32_t count;
  atomic_uint_fast32_t missing; /* exchanges that are not answered */
  struct vow_exchange single;
  struct vow_exchange *exchanges; /* `single`, or owned */
};

/* A question that the core wants asked. The URL stays as long as the core. */
struct vow_question {
  const char *coordinator;
  struct vow_precord_key key;
  bool answered; /* with `answer` */
  enum vow_inquiry_answer answer;
};

struct vow_participant {
  struct vow_participant_options options;
  char **allowed; /* owned; normal forms, NULL-terminated; NULL: any coordinator */
  struct vow_log *log;
  bool resource;         /* has hooks, inside the log's transactions, in place of callbacks */
  struct vow_pool *pool; /* NULL with a resource, and with no threads for callbacks */
  struct vow_inquiry *inquiry;
  struct vow_server *server; /* NULL until listen */

  pthread_mutex_t lock;
  pthread_cond_t idle;    /* `pending` has become empty */
  struct vow_pcore *core; /* guarded by lock, as is all that follows */
  struct vow_exchange *pending;
  struct vow_question *questions; /* of the last TICK; room for VOW_PCORE_TICK_MAX */
  uint32_t question_count;
  uint64_t random_state;
  uint64_t tick_due_ms;      /* what the inquiry thread knows; 0: it has been woken */
  uint64_t durable_position; /* highest that the log has reported */
  uint64_t inquiries;
  bool draining;         /* nothing new is taken in */
  bool deaf;             /* all exchanges were told to go: replies go nowhere */
  enum vow_error failed; /* the log is broken: nothing is answered but this */
  char failed_why[VOW_DETAIL_BYTES];
};

/* As vow_participant_open, with a resource in place of options->sqlite. For tests, too. */
enum vow_error vow_participant_open_with(struct vow_participant **out,
                                         const struct vow_participant_options *options,
                                         const struct vow_resource *resource, char *why,
                                         size_t why_bytes) VOW_MUST_CHECK;

/* ---- engine.c ---- */

void vow_engine_load_hooks(struct vow_participant *p, struct vow_log_loader *loader);
void vow_engine_log_hooks(struct vow_participant *p, struct vow_log_hooks *hooks);
/* Hands requests in, the n-th message with the n-th exchange; `done` of each comes when it is
 * answered. One whose `error` is set already is answered with that. */
void vow_engine_messages(struct vow_participant *p, const struct vow_message *messages,
                         struct vow_exchange *exchanges, uint32_t count);
void vow_engine_operate(struct vow_participant *p, const struct vow_precord_key *key,
                        enum vow_outcome outcome, struct vow_exchange *exchange);
/* One TICK, if one is due. What is to be asked is copied to `questions`, which has room for
 * VOW_PCORE_TICK_MAX. Returns their number. */
uint32_t vow_engine_tick(struct vow_participant *p, struct vow_question *questions);
/* What was seen of this coordinator's log. */
struct vow_log_position vow_engine_seen(struct vow_participant *p, const char *coordinator);
/* What one coordinator has answered, all at once. `told` is what the question said was seen of its
 * log, `log` how far the answer says it has come. */
void vow_engine_answered(struct vow_participant *p, const struct vow_question *questions,
                         size_t count, struct vow_log_position log, struct vow_log_position told);
void vow_engine_ask_failed(struct vow_participant *p, const char *coordinator);
/* Answers whatever is pending with this error, and takes nothing more in. */
void vow_engine_dismiss(struct vow_participant *p, enum vow_error error, const char *why);
uint64_t vow_engine_now_ms(void);

/* ---- dispatch.c ---- */

/* True: *response is the answer already. False: the request is under way, and its `done` is or
 * will be called; then vow_dispatch_finish makes the answer. */
bool vow_dispatch_start(struct vow_participant *p, const struct vow_http_request *request,
                        struct vow_dispatch *dispatch, struct vow_http_response *response);
void vow_dispatch_finish(const struct vow_participant *p, const struct vow_dispatch *dispatch,
                         struct vow_http_response *response);
void vow_dispatch_fini(struct vow_dispatch *dispatch); /* not before `done` was called */
void vow_dispatch_problem(const struct vow_participant *p, enum vow_error error, const char *detail,
                          struct vow_http_response *response);

/* ---- known.c ---- */

/* The answers to GET /in-doubt and POST /known. */
enum vow_error vow_known_in_doubt(struct vow_participant *p, struct vow_buf *out) VOW_MUST_CHECK;
enum vow_error vow_known_answer(struct vow_participant *p, const char *text, size_t bytes,
                                struct vow_buf *out, char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;

/* ---- inquiry.c ---- */

/* Sets p->inquiry, also when it fails: to be freed. */
enum vow_error vow_inquiry_start(struct vow_participant *p) VOW_MUST_CHECK;
void vow_inquiry_wake(struct vow_inquiry *inquiry); /* a tick is due earlier. Any thread. */
void vow_inquiry_stop(struct vow_inquiry *inquiry); /* NULL is fine */
void vow_inquiry_free(struct vow_inquiry *inquiry); /* when nobody wakes it any more; the same */

/* ---- server.c ---- */

enum vow_error vow_server_open(struct vow_server **out, struct vow_participant *p,
                               const char *address, char *why, size_t why_bytes) VOW_MUST_CHECK;
uint16_t vow_server_port(const struct vow_server *server);
void vow_server_quiesce(struct vow_server *server); /* takes no new connections */
/* Every exchange has been answered: waits until the answers are out, at most until the deadline. */
void vow_server_close(struct vow_server *server, uint64_t deadline_ms);

#endif
