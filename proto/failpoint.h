/*
 * Named places at which a test makes something happen to the process, to see what becomes of it.
 * Built only with the CMake option VOW_FAILPOINTS; elsewhere the macros are nothing at all.
 *
 * The environment variable VOW_FAILPOINT arms up to VOW_FAILPOINT_ARMED_MAX of them:
 *
 *     VOW_FAILPOINT="votes.before_log=kill"               the first time it is passed
 *     VOW_FAILPOINT="decision.sent=kill:3"                the third time
 *     VOW_FAILPOINT="log.after_commit=delay500,ack.received=hang"
 *
 *   kill     SIGKILL: nothing buffered is flushed, no handler runs
 *   stop     SIGSTOP: all threads stand still until somebody sends SIGCONT
 *   hang     this thread stands still for ever, the others go on
 *   delayN   this thread stands still for N milliseconds
 *   error    the step fails; what that means at each place says the table. Not every place has it.
 *
 * A name that is not in the table, or a value that is not understood, ends the process with a
 * sentence: a test that arms nothing would prove nothing. Each that strikes says so on stderr.
 *
 * Both sides use it: coordinator/io and participant-sdk/io. The cores do not; they are crashed
 * between steps by their simulator.
 */
#ifndef VOW_PROTO_FAILPOINT_H
#define VOW_PROTO_FAILPOINT_H

#include <stdbool.h>

#define VOW_FAILPOINT_ARMED_MAX 4

/* X(name, when, error). The one list of them all; tests iterate over it. `error`: what goes wrong
 * there with =error, or "" where nothing can. */
/* clang-format off */
#define VOW_FAILPOINT_PARTICIPANT_TABLE(X) \
  X("prepare.received",        "a prepare has been decoded, nothing was done yet", \
                               "it is answered with 500") \
  X("prepare.after_callback",  "the prepare callback has returned", "it said abort") \
  X("votes.before_log",        "votes are written but their transaction is not committed", \
                               "COMMIT fails, undone") \
  X("votes.after_log",         "votes are durable, nobody was told", \
                               "COMMIT fails, though it is done") \
  X("vote.before_reply",       "the vote is about to be sent", "500 is sent instead") \
  X("commit.received",         "a commit has been decoded", "it is answered with 500") \
  X("commit.after_callback",   "the commit callback has returned", "it said that it failed") \
  X("commit.before_log",       "commit records are written but not committed to disk", \
                               "COMMIT fails, undone") \
  X("commit.after_log",        "commit records are durable, nobody was told", \
                               "COMMIT fails, though it is done") \
  X("ack.before_reply",        "the outcome is about to be sent", "500 is sent instead") \
  X("abort.received",          "an abort has been decoded", "it is answered with 500") \
  X("abort.before_log",        "abort records are written but not committed to disk", \
                               "COMMIT fails, undone") \
  X("abort.after_log",         "abort records are durable, nobody was told", \
                               "COMMIT fails, though it is done") \
  X("inquiry.answered",        "the coordinator has answered a question, nothing was done yet", \
                               "the answer is lost") \
  X("recover.row",             "a branch has been read at a start", "it cannot be read")

#define VOW_FAILPOINT_COORDINATOR_TABLE(X) \
  X("begin.before_answer",     "a transaction has begun, the client was not told", "") \
  X("prepare.before_send",     "a prepare is about to be sent", "it cannot be sent") \
  X("prepare.sent",            "a prepare was handed to the network", "") \
  X("votes.all_in",            "the last vote has arrived", "its answer is lost") \
  X("decision.before_log",     "a decision has been queued for the log", "it cannot be queued") \
  X("decision.in_commit",      "a decision is written but not committed to disk", \
                               "COMMIT fails, undone") \
  X("log.after_commit",        "records are durable, nobody was told", \
                               "COMMIT fails, though it is done") \
  X("decision.before_answer",  "the decision is durable, the client is about to be told", "") \
  X("decision.sent",           "a commit or abort was handed to the network", "") \
  X("ack.received",            "an acknowledgement has arrived", "it is lost") \
  X("end.before_log",          "an end record is written but not committed to disk", \
                               "COMMIT fails, undone") \
  X("end.after_log",           "an end record is durable", "COMMIT fails, though it is done") \
  X("recover.row",             "a transaction has been read at a start", \
                               "the next cannot be read") \
  X("recover.done",            "every open transaction has been read at a start", "")
/* clang-format on */

#ifdef VOW_FAILPOINTS
#define VOW_FAILPOINT(name)       ((void)vow_failpoint_hit(name))
#define VOW_FAILPOINT_FAILS(name) vow_failpoint_hit(name)

/* Counts the pass and does what is armed if this is the one. True: the caller's step fails. Any
 * thread. */
bool vow_failpoint_hit(const char *name);

/* Arms what `spec` says from inside a test, in place of the environment; NULL disarms. Before other
 * threads run. */
void vow_failpoint_arm(const char *spec);
#else
#define VOW_FAILPOINT(name)       ((void)0)
#define VOW_FAILPOINT_FAILS(name) false
#endif

#endif
