/*
 * What this participant has on disk about branches, for operators and their tools: GET /in-doubt,
 * and POST /known for whoever reconciles a coordinator's log that has lost records. What is not
 * durable is not told: a decision must not be built on it. Called by dispatch.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "known.h"
#include "participant_internal.h"
#include "url.h"

static int compare_branches(const void *a_, const void *b_) {
  const struct vow_known_branch *a = a_, *b = b_;
  int order = vow_id_compare(a->transaction, b->transaction);
  return order ? order : (a->branch > b->branch) - (a->branch < b->branch);
}

/* What is asked about: these transactions, or, without `ids`, what is in doubt. */
struct question {
  const struct vow_id *ids; /* in order */
  size_t count, at;
};

/* The branch after `last`; NULL begins, and ends. With the lock. */
static const struct vow_pbranch *next_asked(const struct vow_participant *p, struct question *q,
                                            const struct vow_pbranch *last) {
  const struct vow_pbranch *b = last;
  if (!q->ids) {
    do b = vow_pcore_next(p->core, b);
    while (b && !vow_pbranch_in_doubt(b));
    return b;
  }
  while (q->at < q->count) {
    b = vow_pcore_next_of(p->core, q->ids[q->at], b);
    if (b) return b;
    do q->at++;
    while (q->at < q->count && vow_id_compare(q->ids[q->at], q->ids[q->at - 1]) == 0);
  }
  return NULL;
}

static struct vow_known_branch *grow(struct vow_known_branch *branches, size_t *capacity) {
  struct vow_known_branch *more = reallocarray(branches, 2 * *capacity, sizeof *branches);
  if (more) *capacity *= 2;
  return more;
}

/* What the core calls a coordinator stays as long as the core. VOW_E_NO_MEMORY; VOW_E_OVERLOADED: a
 * commit of a transaction that is asked about is under way, and would be told as a promise and
 * taken for a reason to abort. */
static enum vow_error copy_branches(struct vow_participant *p, struct question question,
                                    struct vow_known_reply *out) {
  size_t capacity = 64, n = 0;
  struct vow_known_branch *branches = calloc(capacity, sizeof *branches), *more = NULL;
  enum vow_error error = branches ? VOW_OK : VOW_E_NO_MEMORY;
  const struct vow_pbranch *b = NULL;
  pthread_mutex_lock(&p->lock);
  while (error == VOW_OK && (b = next_asked(p, &question, b)) != NULL) {
    if (question.ids && vow_pbranch_may_commit(b)) error = VOW_E_OVERLOADED;
    if (!error && n == capacity) {
      more = grow(branches, &capacity);
      if (!more) error = VOW_E_NO_MEMORY;
      if (more) branches = more;
    }
    if (error) break;
    branches[n++] = (struct vow_known_branch){b->transaction, b->number, vow_pbranch_known(b),
                                              vow_pbranch_coordinator(b)};
  }
  pthread_mutex_unlock(&p->lock);
  if (error) {
    free(branches);
    return error;
  }
  qsort(branches, n, sizeof *branches, compare_branches);
  out->branches = branches;
  out->count = n;
  return VOW_OK;
}

static void write_seen(struct vow_participant *p, struct vow_jsonw *w) {
  struct vow_log_position seen;
  const char *url;
  bool some = false;
  pthread_mutex_lock(&p->lock);
  for (uint32_t i = 0; vow_pcore_coordinator_at(p->core, i, &url, &seen); i++) {
    if (seen.incarnation == 0) continue;
    if (!some) vow_jsonw_array(w, "seen");
    some = true;
    vow_jsonw_object(w, NULL);
    vow_jsonw_string(w, "coordinator", url);
    vow_jsonw_uint(w, "incarnation", seen.incarnation);
    vow_jsonw_uint(w, "position", seen.position);
    vow_jsonw_end(w);
  }
  pthread_mutex_unlock(&p->lock);
  if (some) vow_jsonw_end(w);
}

enum vow_error vow_known_in_doubt(struct vow_participant *p, struct vow_buf *out) {
  struct vow_jsonw w;
  struct vow_known_reply known = {.count = 0};
  enum vow_error error = copy_branches(p, (struct question){0}, &known);
  if (error) return error;
  vow_jsonw_init(&w, out);
  vow_jsonw_object(&w, NULL);
  vow_jsonw_array(&w, "branches");
  for (size_t i = 0; i < known.count; i++) {
    vow_jsonw_object(&w, NULL);
    vow_jsonw_id(&w, "transaction", known.branches[i].transaction);
    vow_jsonw_uint(&w, "branch", known.branches[i].branch);
    vow_jsonw_string(&w, "coordinator", known.branches[i].coordinator);
    vow_jsonw_end(&w);
  }
  vow_jsonw_end(&w);
  write_seen(p, &w);
  vow_jsonw_end(&w);
  free(known.branches);
  return VOW_OK;
}

enum vow_error vow_known_answer(struct vow_participant *p, const char *text, size_t bytes,
                                struct vow_buf *out, char why[VOW_JSON_WHY_BYTES]) {
  char coordinator[VOW_URL_BYTES_MAX + 1];
  struct vow_known_reply reply = {.count = 0};
  struct vow_json *document = NULL;
  struct vow_known_request request = {.ids = calloc(VOW_KNOWN_IDS_MAX, sizeof *request.ids)};
  enum vow_error error = VOW_E_NO_MEMORY;
  (void)snprintf(why, VOW_JSON_WHY_BYTES, "out of memory");
  if (!request.ids) goto out;
  error = vow_known_request_decode(text, bytes, &request, &document, why);
  if (error) goto out;
  error = vow_url_normalize(request.coordinator, coordinator, why, VOW_JSON_WHY_BYTES);
  if (error) goto out;
  qsort(request.ids, request.count, sizeof *request.ids, vow_id_order);
  struct question question = {.ids = request.ids, .count = request.count};
  error = copy_branches(p, question, &reply);
  if (error == VOW_E_OVERLOADED) {
    (void)snprintf(why, VOW_JSON_WHY_BYTES, "a branch is just being committed: ask again");
  }
  if (error) goto out;
  pthread_mutex_lock(&p->lock);
  reply.finished_below = vow_pcore_finished_below(p->core, coordinator);
  reply.newest = vow_pcore_newest(p->core, coordinator);
  reply.seen = vow_pcore_seen(p->core, coordinator);
  pthread_mutex_unlock(&p->lock);
  vow_known_reply_encode(&reply, out);
out:
  free(reply.branches);
  free(request.ids);
  vow_json_free(document);
  return error;
}
