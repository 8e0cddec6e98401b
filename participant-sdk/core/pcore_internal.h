/* What pcore.c (events), pcore_save.c (watermarks) and pcore_table.c (who is there) share. */
#ifndef VOW_SDK_PCORE_INTERNAL_H
#define VOW_SDK_PCORE_INTERNAL_H

#include "heap.h"
#include "pcore.h"

/* A TICK is the step with the most actions; the others have one reply a waiter, a call or a record,
 * and a purge. */
#define ACTIONS_MAX (VOW_PCORE_TICK_MAX + VOW_PBRANCH_WAITERS_MAX + 4)

enum { HEAP_NONE = 0, HEAP_DUE = 1, HEAP_TOMBSTONES = 2 };

/* A watermark on its way to the disk. */
struct vow_psave {
  uint64_t position; /* of the write; 0: there is none */
  bool alone;        /* else it goes with a branch's record */
  struct vow_id below;
  uint32_t waiter_count;
  struct vow_pwaiter waiters[VOW_PBRANCH_WAITERS_MAX]; /* whose answer leans on it */
};

struct vow_pcoordinator {
  char *url;                    /* owned */
  struct vow_id finished_below; /* the highest that it has told: no prepare below it */
  struct vow_id saved_below;    /* of it, what is surely on our own disk */
  struct vow_psave save;
  struct vow_id newest;                /* the highest of its ids here since the start, or loaded */
  struct vow_id over_below;            /* the newest: what it has opened again since is kept */
  struct vow_log_position seen;        /* the highest it has told of its log */
  struct vow_log_position seen_logged; /* of it, what went to our own log */
  uint64_t quiet_until_ms;             /* it did not answer: no question before this */
  uint32_t retry_ms;
  struct vow_pheap tombstones;
  uint32_t unpurged;     /* forced records since a purge left none behind */
  uint32_t branch_count; /* that name it */
  struct vow_pcoordinator *next;
};

struct vow_pcore {
  struct vow_pconfig config;
  struct vow_pbranch **buckets; /* owned, and so are the branches */
  uint32_t bucket_count;        /* a power of two */
  uint32_t branch_count;
  struct vow_pcoordinator *coordinators; /* owned */
  uint32_t coordinator_count;
  struct vow_pheap due;
  uint64_t position;
  uint64_t row;
  struct vow_pcounts counts;
  struct vow_pstep step;
  uint64_t purged[VOW_PCORE_PURGE_MAX];
  struct vow_paction actions[ACTIONS_MAX];
};

struct vow_pbranch *vow_ptable_find(const struct vow_pcore *core, struct vow_id id,
                                    uint32_t number);
/* A new branch in state NONE, with room in every heap it may get into. */
enum vow_error vow_ptable_add(struct vow_pcore *core, struct vow_pcoordinator *coordinator,
                              const struct vow_precord *record,
                              struct vow_pbranch **out) VOW_MUST_CHECK;
/* The branch after `last` (NULL: the first); NULL: none is left. */
const struct vow_pbranch *vow_ptable_next(const struct vow_pcore *core,
                                          const struct vow_pbranch *last);
/* The same over the branches of one transaction. */
const struct vow_pbranch *vow_ptable_next_of(const struct vow_pcore *core, struct vow_id id,
                                             const struct vow_pbranch *last);
void vow_ptable_drop(struct vow_pcore *core, struct vow_pbranch *b);
void vow_ptable_free(struct vow_pcore *core);

enum vow_error vow_ptable_make_live(struct vow_pbranch *b, const char *payload,
                                    size_t payload_bytes) VOW_MUST_CHECK;
void vow_ptable_free_live(struct vow_pbranch *b);

/* Answers a request with an error. */
void vow_pcore_reply_error(struct vow_pcore *core, uint64_t token, enum vow_message_type type,
                           enum vow_error error, const char *detail);

/* The watermark goes with the record at `position`. */
void vow_psave_ride(struct vow_pcoordinator *c, uint64_t position);
/* A request for a transaction below the watermark. False: it may be answered; true: it waits until
 * the disk has the watermark, or has been told to come again. */
bool vow_psave_holds(struct vow_pcore *core, struct vow_pcoordinator *c, struct vow_id transaction,
                     const struct vow_pwaiter *waiter);
/* Whose watermark it is that was written, or was not; NULL: nobody's. */
struct vow_pcoordinator *vow_psave_find(const struct vow_pcore *core,
                                        const struct vow_pevent *event);
void vow_psave_settle(struct vow_pcore *core, struct vow_pcoordinator *c,
                      const struct vow_pevent *event);

struct vow_pcoordinator *vow_ptable_find_coordinator(const struct vow_pcore *core, const char *url);
enum vow_error vow_ptable_add_coordinator(struct vow_pcore *core, const char *url,
                                          struct vow_pcoordinator **out) VOW_MUST_CHECK;
/* The branch is this coordinator's from now on; without memory it stays where it is. */
void vow_ptable_adopt(struct vow_pbranch *b, struct vow_pcoordinator *coordinator);

#endif
