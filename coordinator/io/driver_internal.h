/*
 * What driver.c and driver_send.c share. Nobody else includes it.
 */
#ifndef VOW_COORDINATOR_DRIVER_INTERNAL_H
#define VOW_COORDINATOR_DRIVER_INTERNAL_H

#include <uv.h>

#include "driver.h"

#define VOW_DRIVER_DOWN_MAX 256 /* endpoints whose going up is noted; others come back unnoted */

struct exchange;           /* a SEND under way */
struct vow_driver_pending; /* a request that the core has not answered */

struct vow_driver {
  uv_loop_t *loop;
  struct vow_driver_config config;
  char *advertise_url; /* owned */
  struct vow_core *core;
  struct vow_log *log;
  struct vow_sender *sender;
  uv_timer_t tick;
  uv_async_t wake;
  uv_idle_t idle; /* active while messages wait for the end of the loop's turn */
  uv_prepare_t prepare;
  uint64_t linger_until_ns; /* how long decisions stay for company; 0: none does */
  uint32_t lonely;          /* how often in a row none came, or it was not tried */
  unsigned handles_open;
  uint64_t tick_ms; /* monotonic, when `tick` is due; UINT64_MAX: it is not armed */
  bool in_step, closing;
  uint64_t durable;
  enum vow_error log_refuses;
  uint64_t checkpoint_failures;
  uint64_t messages;
  /* requests */
  struct vow_driver_pending *pending; /* owned; slots, by the low half of the token */
  uint32_t pending_capacity, pending_free;
  uint64_t pending_open;
  uint32_t generation;
  /* recovery */
  struct vow_log_info info;
  bool loading, recovering;
  uint64_t loaded;
  /* random bits in stock */
  uint64_t random[64];
  unsigned random_left;
  /* endpoints known to be down, for the edges that are noted */
  char *down[VOW_DRIVER_DOWN_MAX]; /* owned */
  unsigned down_count;
  struct exchange *exchanges; /* SENDs under way */
  struct vow_buf body;        /* scratch */
  struct vow_buf common;      /* scratch: what the messages of a batch have in common */
};

void vow_driver_step(struct vow_driver *driver, struct vow_event *event);
void vow_driver_fail(struct vow_driver *driver, enum vow_error error, const char *why);
void vow_driver_note(struct vow_driver *driver, const struct vow_driver_note *note);

/* Carries out a SEND. */
void vow_driver_send(struct vow_driver *driver, const struct vow_action *action);
void vow_driver_free_down(struct vow_driver *driver);
void vow_driver_drop_exchanges(struct vow_driver *driver); /* after the sender was closed */

#endif
