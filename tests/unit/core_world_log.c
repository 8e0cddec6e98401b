/* The log of core_world.h: copies of images, syncs, and crashes that lose what was not synced. */
#include "core_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- copies of images, as the log would keep them ---- */

static char *copy_text(const char *text) {
  if (text == NULL) return NULL;
  char *copy = strdup(text);
  assert_non_null(copy);
  return copy;
}

struct vow_txn world_copy_image(const struct vow_txn *from) {
  struct vow_txn image = *from;

  image.decision_durable = false;
  image.metadata = copy_text(from->metadata);
  image.idempotency_key = copy_text(from->idempotency_key);
  image.traceparent = copy_text(from->traceparent);
  image.reason = copy_text(from->reason);
  image.branches = calloc(from->branch_count + 1, sizeof(*image.branches));
  image.history = calloc(from->history_count + 1, sizeof(*image.history));
  for (uint32_t i = 0; i < from->branch_count; i++) {
    image.branches[i] = from->branches[i];
    image.branches[i].name = copy_text(from->branches[i].name);
    image.branches[i].name_behind_url = false;
    image.branches[i].url = copy_text(from->branches[i].url);
    image.branches[i].payload = NULL;
    image.branches[i].payload_bytes = 0;
    image.branches[i].last_error = copy_text(from->branches[i].last_error);
  }
  for (uint32_t i = 0; i < from->history_count; i++) {
    image.history[i] = from->history[i];
    image.history[i].detail = copy_text(from->history[i].detail);
    image.history[i].detail_static = false;
  }
  return image;
}

/* ---- the log ---- */

void sync_to(struct world *w, uint64_t position) {
  struct vow_event event = {.type = VOW_EVENT_DURABLE, .u.position = position};

  w->durable = position;
  for (uint32_t i = 0; i < w->log_count; i++) {
    if (w->log[i].kind != VOW_RECORD_ID_CEILING || w->log[i].position > position) continue;
    if (vow_id_compare(w->log[i].ceiling, w->ceiling) > 0) w->ceiling = w->log[i].ceiling;
  }
  world_must(w, &event);
}

void sync(struct world *w) {
  sync_to(w, w->position);
}

uint32_t unsynced(const struct world *w) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < w->log_count; i++) count += w->log[i].position > w->durable;
  return count;
}

/* Drops what did not survive and numbers the rest anew, as a reopened log would. */
static void lose(struct world *w, uint64_t kept) {
  uint32_t count = 0;
  uint32_t bit = 0;

  for (uint32_t i = 0; i < w->log_count; i++) {
    bool survives = w->log[i].position <= w->durable;
    if (!survives) survives = bit < 64 && (kept >> bit++ & 1) != 0;
    if (survives) {
      w->log[count++] = w->log[i];
    } else {
      vow_txn_fini(&w->log[i].image);
    }
  }
  w->log_count = count;
  w->position = count == 0 ? 0 : w->log[count - 1].position;
  w->durable = w->position;
}

static bool is_newest(const struct world *w, uint32_t index) {
  if (w->log[index].kind != VOW_RECORD_TXN) return false;
  for (uint32_t i = index + 1; i < w->log_count; i++) {
    if (w->log[i].kind == VOW_RECORD_TXN &&
        vow_id_compare(w->log[i].image.id, w->log[index].image.id) == 0) {
      return false;
    }
  }
  return true;
}

void world_load(struct world *w) {
  struct vow_event event = {.type = VOW_EVENT_LOAD_BEGIN};

  enum vow_error error = vow_core_new(&w->core, &w->config);
  while (error == VOW_E_NO_MEMORY && w->memory_is_short) {
    error = vow_core_new(&w->core, &w->config);
  }
  assert_int_equal(error, VOW_OK);
  for (uint32_t i = 0; i < w->log_count; i++) {
    if (w->log[i].kind != VOW_RECORD_ID_CEILING) continue;
    if (vow_id_compare(w->log[i].ceiling, w->ceiling) > 0) w->ceiling = w->log[i].ceiling;
  }
  event.u.load_begin.position = w->position;
  event.u.load_begin.id_floor = w->ceiling;
  event.u.load_begin.incarnation = w->incarnation;
  event.u.load_begin.known = w->known;
  event.u.load_begin.known_count = w->known_count;
  event.u.load_begin.quarantined = w->quarantined;
  event.u.load_begin.presume_from = w->presume_from;
  uint32_t count = w->log_count;
  world_must(w, &event);
  for (uint32_t i = 0; i < count; i++) {
    if (!is_newest(w, i) || w->log[i].image.ended_ms != 0) continue;
    struct vow_txn image = world_copy_image(&w->log[i].image);
    event = (struct vow_event){.type = VOW_EVENT_LOAD, .u.load = &image};
    world_must(w, &event);
    vow_txn_fini(&image);
  }
  event = (struct vow_event){.type = VOW_EVENT_LOAD_END};
  world_must(w, &event);
}

void crash(struct world *w, uint64_t kept) {
  vow_core_free(w->core);
  w->send_count = 0;
  lose(w, kept);
  memset(w->answered, 0, sizeof(w->answered));
  for (uint64_t token = 1; token <= w->token && token < WORLD_SENDS_MAX; token++) {
    w->answered[token] = 1; /* whoever waited is gone */
  }
  world_load(w);
}

void world_forget_past(struct world *w) {
  const struct vow_id nil = {{0}};

  assert_null(vow_core_next(w->core, nil));
  for (uint32_t i = 0; i < w->log_count; i++) vow_txn_fini(&w->log[i].image);
  w->log_count = 0;
  w->send_count = 0;
  w->token = 0;
  memset(w->answered, 0, sizeof(w->answered));
  memset(w->told, 0, sizeof(w->told));
  if (w->id_count > 0) w->ids[0] = w->ids[w->id_count - 1];
  if (w->id_count > 1) w->id_count = 1;
  world_forget_trace(w);
}
