/*
 * The smallest participant: it counts. Payload: a number to add. The README of the SDK has the
 * commands that run it, and a transaction with it.
 *
 * Its counter is in memory, to be short: a real one keeps what it prepared where a crash cannot
 * reach it.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <vow/participant.h>

static atomic_long counter;

static enum vow_vote prepare(void *context, const struct vow_work *work,
                             struct vow_reason *reason) {
  (void)context;
  if (work->payload && strtol(work->payload, NULL, 10) > 0) return VOW_VOTE_COMMIT;
  vow_reason_set(reason, "the payload must be a number above zero");
  return VOW_VOTE_ABORT;
}

static enum vow_error commit(void *context, const struct vow_work *work,
                             struct vow_reason *reason) {
  (void)context;
  (void)reason;
  atomic_fetch_add(&counter, strtol(work->payload, NULL, 10));
  printf("committed %s: the counter is %ld\n", work->transaction, atomic_load(&counter));
  fflush(stdout);
  return VOW_OK;
}

int main(int count, char **arguments) {
  char why[256] = "";
  struct vow_participant *participant = NULL;
  struct vow_participant_options options;
  vow_participant_options_init(&options);
  options.log_path = count > 1 ? arguments[1] : "minimal.vow";
  options.prepare = prepare;
  options.commit = commit;
  options.prepare_leaves_nothing = 1;
  enum vow_error error = vow_participant_open(&participant, &options, why, sizeof why);
  if (!error) {
    error = vow_participant_listen(participant, count > 2 ? arguments[2] : "127.0.0.1:7001", why,
                                   sizeof why);
  }
  if (error) {
    fprintf(stderr, "minimal: %s: %s\n", vow_error_text(error), why);
    return 1;
  }
  printf("minimal listens on http://127.0.0.1:%u\n", vow_participant_port(participant));
  fflush(stdout);
  for (;;) pause();
}
