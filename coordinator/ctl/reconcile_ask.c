/*
 * Asking participants what they have on disk, one after the other. See reconcile.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "offline.h"
#include "reconcile.h"

#define BRANCHES_MAX 1000 /* what limits_branches can be at most */

/* ---- asking ---- */

/* One request to one participant. False: place->why says why there is no answer. */
static bool call(struct ctl_place *place, uint64_t timeout_ms, const char *method, const char *path,
                 const struct vow_buf *body, struct ctl_reply *reply) {
  struct ctl_client client;
  struct ctl_args args = {0};
  args.text[CTL_OPT_URL] = place->url;
  args.number[CTL_OPT_WAIT] = timeout_ms;
  memset(reply, 0, sizeof *reply);
  if (ctl_client_open(&client, &args) == CTL_EXIT_OK) {
    ctl_client_call(&client, method, path, body, reply);
  } else {
    reply->error = VOW_E_NO_MEMORY;
    reply->unread = true;
  }
  ctl_client_close(&client);
  if (reply->error == VOW_OK) return true;
  snprintf(place->why, sizeof place->why, "%s",
           reply->detail[0] == '\0' ? vow_error_text(reply->error) : reply->detail);
  return false;
}

/* No coordinator has enlisted that many, so the answer is not to be relied on; and a record would
 * be made with as many. */
static bool names_odd_branch(struct ctl_place *place, const struct vow_known_reply *told) {
  for (size_t i = 0; i < told->count; i++) {
    if (told->branches[i].branch <= BRANCHES_MAX) continue;
    snprintf(place->why, sizeof place->why,
             "its answer names branch %u, and no transaction has more than %d",
             told->branches[i].branch, BRANCHES_MAX);
    return true;
  }
  return false;
}

/* Whoever answers another question has not answered this one: that it does not name a transaction
 * would say that it has not committed it. The ids of a request are in order, as the cases are. */
static bool names_other(struct ctl_place *place, const struct vow_known_request *request,
                        const struct vow_known_reply *told) {
  char id[VOW_ID_TEXT_BYTES];
  for (size_t i = 0; i < told->count; i++) {
    const struct vow_id *named = &told->branches[i].transaction;
    if (request->count > 0 &&
        bsearch(named, request->ids, request->count, sizeof *named, vow_id_order) != NULL) {
      continue;
    }
    vow_id_format(*named, id);
    snprintf(place->why, sizeof place->why, "its answer names %s, which it was not asked about",
             id);
    return true;
  }
  return false;
}

enum ctl_exit ctl_ask_in_doubt(struct ctl_places *places, const char *coordinator,
                               uint64_t timeout_ms) {
  for (size_t i = 0; i < places->count; i++) {
    struct ctl_place *place = &places->items[i];
    struct ctl_reply reply;
    char why[VOW_JSON_WHY_BYTES];
    bool starved = false;
    if (place->left_out) continue;
    if (call(place, timeout_ms, "GET", "/in-doubt", NULL, &reply)) {
      enum vow_error error =
          vow_in_doubt_decode(reply.body, reply.body_bytes, coordinator, &place->in_doubt, why);
      starved = error == VOW_E_NO_MEMORY;
      place->answered = error == VOW_OK;
      if (!place->answered) snprintf(place->why, sizeof place->why, "%s", why);
      if (place->answered) place->answered = !names_odd_branch(place, &place->in_doubt);
    } else {
      starved = reply.unread;
    }
    ctl_reply_fini(&reply);
    if (starved) return ctl_no_memory();
  }
  return CTL_EXIT_OK;
}

/* Adds one answer to those that came before. */
static bool take_known(struct ctl_place *place, struct vow_known_reply *more) {
  size_t count = place->known.count + more->count;
  struct vow_known_branch *branches =
      reallocarray(place->known.branches, count + 1, sizeof *branches);
  if (branches == NULL) return false;
  memcpy(branches + place->known.count, more->branches, more->count * sizeof *branches);
  place->known = (struct vow_known_reply){.branches = branches,
                                          .count = count,
                                          .finished_below = more->finished_below,
                                          .newest = more->newest,
                                          .seen = more->seen};
  return true;
}

/* False: it does not tell. If it might, as it does not only lack the route, it counts as one that
 * did not answer at all: what it has ended may be the only proof there is. `starved`: it is us. */
static bool ask_some(struct ctl_place *place, const struct vow_known_request *request,
                     uint64_t timeout_ms, bool *starved) {
  struct vow_known_reply answer = {.count = 0};
  struct ctl_reply reply = {0};
  char why[VOW_JSON_WHY_BYTES];
  struct vow_buf body;
  vow_buf_init(&body, (size_t)1 << 20);
  vow_known_request_encode(request, &body);
  bool ok = body.error == VOW_OK && call(place, timeout_ms, "POST", VOW_KNOWN_PATH, &body, &reply);
  *starved = body.error == VOW_E_NO_MEMORY || reply.unread;
  if (ok) {
    enum vow_error error = vow_known_reply_decode(reply.body, reply.body_bytes, &answer, why);
    if (error != VOW_OK) snprintf(place->why, sizeof place->why, "%s", why);
    *starved = error == VOW_E_NO_MEMORY;
    ok = error == VOW_OK;
  }
  bool lacks_route = reply.status == 404 || reply.status == 405;
  if (body.error == VOW_OK) ctl_reply_fini(&reply);
  if (ok) ok = !names_odd_branch(place, &answer) && !names_other(place, request, &answer);
  if (ok) {
    ok = take_known(place, &answer);
    *starved = !ok;
  }
  if (!ok && !lacks_route) place->answered = false;
  free(answer.branches);
  vow_buf_fini(&body);
  return ok;
}

/* Whoever cannot tell more has still told what is in doubt. False: no memory. */
static bool ask_place(struct ctl_places *places, size_t index, struct ctl_cases *cases,
                      struct vow_known_request *request, uint64_t timeout_ms) {
  struct ctl_place *place = &places->items[index];
  place->tells = true;
  bool starved = false;
  size_t from = 0;
  do { /* without a case, too: what it has seen of the log is told */
    request->count = 0;
    while (from < cases->count && request->count < VOW_KNOWN_IDS_MAX) {
      request->ids[request->count++] = cases->items[from++].id;
    }
    place->tells = ask_some(place, request, timeout_ms, &starved);
    if (starved) return false;
  } while (place->tells && from < cases->count);
  const struct vow_known_reply *told = place->tells ? &place->known : &place->in_doubt;
  for (size_t i = 0; i < told->count; i++) {
    if (!ctl_cases_report(cases, index, &told->branches[i])) return false;
  }
  return true;
}

enum ctl_exit ctl_ask_known(struct ctl_places *places, struct ctl_cases *cases,
                            const char *coordinator, uint64_t timeout_ms) {
  struct vow_known_request request = {.coordinator = coordinator};
  bool ok = (request.ids = calloc(VOW_KNOWN_IDS_MAX, sizeof *request.ids)) != NULL;
  for (size_t i = 0; ok && i < places->count; i++) {
    if (places->items[i].answered) ok = ask_place(places, i, cases, &request, timeout_ms);
  }
  free(request.ids);
  return ok ? CTL_EXIT_OK : ctl_no_memory();
}
