/*
 * The daemon's status as GET /v1/status tells it, for the commands that show it: status and watch.
 */
#ifndef VOW_CTL_STATUS_H
#define VOW_CTL_STATUS_H

#include "json.h"
#include "table.h"

#define CTL_QUARANTINE_ADVICE \
  "Stop vowd, run `vowctl reconcile --log FILE`, and start vowd again; the runbook says how."

#define CTL_LOG_MOVED_ADVICE                                                                   \
  "Do not stop vowd: put the log back first; \"The log was moved or deleted\" in the runbook " \
  "says how."

/* Places in `open`, in the order of ctl_open_keys. */
enum ctl_open {
  CTL_OPEN_ACTIVE = 0,
  CTL_OPEN_PREPARING,
  CTL_OPEN_COMMITTING,
  CTL_OPEN_COMMITTED,
  CTL_OPEN_ABORTING,
  CTL_OPEN_ABORTED,
  CTL_OPEN_HEURISTIC,
  CTL_OPEN_COUNT
};
extern const char *const ctl_open_keys[];

struct ctl_status {
  const char *version; /* borrowed from the document */
  uint64_t started_ms, starts, recovering, recovered;
  const char *quarantine; /* why the log is in it, borrowed; NULL: it is not */
  uint64_t quarantine_ms, held_back;
  bool ready, loading, draining, log_space_low, log_moved;
  uint64_t open[CTL_OPEN_COUNT];
  uint64_t totals[3];    /* begun, committed, aborted */
  uint64_t endpoints[4]; /* all, down, requests under way, messages that wait */
  uint64_t log[4];       /* position, bytes of the WAL, of the database, failed checkpoints */
};

/* VOW_E_PROTOCOL with a sentence when it is not a status. */
enum vow_error ctl_status_read(const struct vow_json_node *node, struct ctl_status *out,
                               char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;

/* A few lines of facts. */
void ctl_status_append(struct vow_buf *out, const struct ctl_terminal *terminal,
                       const struct ctl_status *status, uint64_t now_ms);

#endif
