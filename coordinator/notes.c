/* Lines of the log: one function a kind of note. Called by daemon.c. */
#include "notes.h"

#include <uv.h>

/* Lines in ten seconds, of events that may come in thousands. */
#define ABORTED_LINES_MAX  200
#define BRANCH_LINES_MAX   20
#define ENDPOINT_LINES_MAX 50

static bool allow(struct vow_notes *notes, struct vow_logger_rate *rate, uint32_t lines_max) {
  return vow_logger_allow(rate, lines_max, uv_now(notes->loop));
}

/* How many lines of the kind were left out since the last one. */
static void put_unwritten(struct vow_notes *notes, struct vow_logger_rate *rate) {
  if (rate->suppressed > 0) vow_logger_uint(notes->logger, "unwritten", rate->suppressed);
  rate->suppressed = 0;
}

static void note_ended(struct vow_notes *notes, const struct vow_txn *txn) {
  struct vow_logger *logger = notes->logger;
  bool aborted = txn->state == VOW_TXN_ABORTED;
  if (aborted && !allow(notes, &notes->aborted_rate, ABORTED_LINES_MAX)) return;
  if (!vow_logger_begin(logger, aborted ? VOW_LEVEL_INFO : VOW_LEVEL_DEBUG,
                        aborted ? "aborted" : "committed", "a transaction has ended: %s",
                        vow_txn_state_name(txn->state))) {
    return;
  }
  vow_logger_id(logger, "transaction", txn->id);
  vow_logger_uint(logger, "branches", txn->branch_count);
  vow_logger_text(logger, "heuristic", vow_heuristic_name(txn->heuristic));
  vow_logger_text(logger, "reason", txn->reason);
  if (aborted) put_unwritten(notes, &notes->aborted_rate);
  vow_logger_end(logger);
}

/* A branch that ended against the decision, or does not know it. It is said again at every attempt,
 * so the log is spared most of them. */
static void note_branch(struct vow_notes *notes, const struct vow_driver_note *note) {
  struct vow_logger *logger = notes->logger;
  bool heuristic = note->type == VOW_NOTE_HEURISTIC;
  struct vow_logger_rate *rate = heuristic ? &notes->heuristic_rate : &notes->unknown_rate;
  if (!allow(notes, rate, BRANCH_LINES_MAX)) return;
  if (!vow_logger_begin(logger, VOW_LEVEL_ERROR, heuristic ? "heuristic" : "unknown-branch",
                        heuristic ? "a participant has ended its branch by itself: %s"
                                  : "a participant was told to commit a branch it does not know%s",
                        heuristic ? vow_outcome_name(note->outcome) : "")) {
    return;
  }
  vow_logger_id(logger, "transaction", note->id);
  vow_logger_uint(logger, "branch", note->branch);
  vow_logger_text(logger, "url", note->url);
  put_unwritten(notes, rate);
  vow_logger_end(logger);
}

static void note_endpoint(struct vow_notes *notes, const struct vow_driver_note *note) {
  struct vow_logger *logger = notes->logger;
  bool down = note->type == VOW_NOTE_ENDPOINT_DOWN;
  if (!allow(notes, &notes->endpoint_rate, ENDPOINT_LINES_MAX)) return;
  if (!vow_logger_begin(logger, VOW_LEVEL_WARN, down ? "endpoint-down" : "endpoint-up",
                        "a participant %s", down ? "does not answer" : "answers again")) {
    return;
  }
  vow_logger_text(logger, "url", note->url);
  vow_logger_text(logger, "why", note->why);
  put_unwritten(notes, &notes->endpoint_rate);
  vow_logger_end(logger);
}

static void note_sent(struct vow_notes *notes, const struct vow_driver_note *note) {
  struct vow_logger *logger = notes->logger;
  if (!vow_logger_begin(logger, VOW_LEVEL_DEBUG, "sent", "%s is sent",
                        vow_message_type_name(note->message))) {
    return;
  }
  vow_logger_id(logger, "transaction", note->id);
  vow_logger_uint(logger, "branch", note->branch);
  vow_logger_text(logger, "url", note->url);
  vow_logger_end(logger);
}

void vow_notes_say_quarantine(const struct vow_notes *notes, const char *why) {
  if (!vow_logger_begin(notes->logger, VOW_LEVEL_ERROR, "quarantine",
                        "the log may have lost records: what it does not know is answered "
                        "\"unknown\" and nothing new is begun; stop vowd, run `vowctl reconcile "
                        "--log %s`, and start vowd again; the runbook says how",
                        notes->config->log)) {
    return;
  }
  vow_logger_text(notes->logger, "why", why);
  vow_logger_end(notes->logger);
}

static void say_refusal(struct vow_logger *logger, enum vow_error error) {
  if (error == VOW_OK) {
    vow_logger_say(logger, VOW_LEVEL_WARN, "log-ok", "new transactions are taken again");
  } else if (error == VOW_E_LOG_FULL) {
    vow_logger_say(logger, VOW_LEVEL_ERROR, "space-low",
                   "the disk of the log is nearly full: new transactions are refused; make room");
  } else {
    vow_logger_say(logger, VOW_LEVEL_ERROR, "log-moved",
                   "new transactions are refused: " VOW_LOG_MOVED_WHY);
  }
}

static void note_log(struct vow_notes *notes, const struct vow_driver_note *note) {
  struct vow_logger *logger = notes->logger;
  unsigned long long number = note->number;
  if (note->type == VOW_NOTE_LOADED) {
    vow_logger_say(logger, VOW_LEVEL_INFO, "log-read",
                   "the log is read: %llu open transactions of the last run", number);
  } else if (note->type == VOW_NOTE_RECOVERED && number > 0) {
    vow_logger_say(logger, VOW_LEVEL_INFO, "recovered",
                   "all transactions of the last run have ended: %llu", number);
  } else if (note->type == VOW_NOTE_LOG_REFUSES) {
    say_refusal(logger, note->error);
  } else if (note->type == VOW_NOTE_QUARANTINE) {
    vow_notes_say_quarantine(notes, note->why);
  } else if (note->type == VOW_NOTE_CHECKPOINT_FAILED) {
    vow_logger_say(logger, VOW_LEVEL_ERROR, "checkpoint-failed",
                   "a checkpoint of the log failed (%llu since the start); look at its disk",
                   number);
  }
}

void vow_notes_say(struct vow_notes *notes, const struct vow_driver_note *note) {
  switch (note->type) {
    case VOW_NOTE_ENDED:
      note_ended(notes, note->txn);
      break;
    case VOW_NOTE_SENT:
      note_sent(notes, note);
      break;
    case VOW_NOTE_HEURISTIC:
    case VOW_NOTE_UNKNOWN_BRANCH:
      note_branch(notes, note);
      break;
    case VOW_NOTE_ENDPOINT_DOWN:
    case VOW_NOTE_ENDPOINT_UP:
      note_endpoint(notes, note);
      break;
    default:
      note_log(notes, note);
      break;
  }
}
