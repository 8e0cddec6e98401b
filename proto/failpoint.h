/*
 * Named places at which a test kills the process, to see what a crash there leaves behind. Built
 * only with the CMake option VOW_FAILPOINTS; elsewhere VOW_FAILPOINT() is nothing at all.
 *
 * The environment variable VOW_FAILPOINT="votes.before_log=kill" (or "=kill:3": at the third time)
 * arms one. A name that is not in the table, or a value that is not understood, ends the process
 * with a sentence: a test that arms nothing would prove nothing.
 *
 * Both sides use it: coordinator/io and participant-sdk/io. The cores do not; they are crashed
 * between steps by their simulator.
 */
#ifndef VOW_PROTO_FAILPOINT_H
#define VOW_PROTO_FAILPOINT_H

/* X(name, when). The one list of them all; tests iterate over it. */
/* clang-format off */
#define VOW_FAILPOINT_PARTICIPANT_TABLE(X) \
  X("prepare.received",       "a prepare has been decoded, nothing was done yet") \
  X("prepare.after_callback", "the prepare callback has returned") \
  X("votes.before_log",       "votes are written but their transaction is not committed") \
  X("votes.after_log",        "votes are durable, nobody was told") \
  X("vote.before_reply",      "the vote is about to be sent") \
  X("commit.received",        "a commit has been decoded") \
  X("commit.after_callback",  "the commit callback has returned") \
  X("commit.before_log",      "commit records are written but not committed to disk") \
  X("commit.after_log",       "commit records are durable, nobody was told") \
  X("ack.before_reply",       "the outcome is about to be sent") \
  X("abort.received",         "an abort has been decoded") \
  X("abort.before_log",       "abort records are written but not committed to disk") \
  X("abort.after_log",        "abort records are durable, nobody was told") \
  X("inquiry.answered",       "the coordinator has answered a question, nothing was done yet") \
  X("recover.row",            "a branch has been read at a start")

#define VOW_FAILPOINT_COORDINATOR_TABLE(X) \
  X("begin.before_answer",    "a transaction has begun, the client was not told") \
  X("prepare.before_send",    "a prepare is about to be sent") \
  X("prepare.sent",           "a prepare was handed to the network") \
  X("votes.all_in",           "the last vote has arrived") \
  X("decision.before_log",    "a decision has been queued for the log") \
  X("decision.in_commit",     "a decision is written but not committed to disk") \
  X("log.after_commit",       "records are durable, nobody was told") \
  X("decision.before_answer", "the decision is durable, the client is about to be told") \
  X("decision.sent",          "a commit or abort was handed to the network") \
  X("ack.received",           "an acknowledgement has arrived") \
  X("end.before_log",         "an end record is written but not committed to disk") \
  X("end.after_log",          "an end record is durable") \
  X("recover.row",            "a transaction has been read at a start") \
  X("recover.done",           "every open transaction has been read at a start")
/* clang-format on */

#ifdef VOW_FAILPOINTS
#define VOW_FAILPOINT(name) vow_failpoint_hit(name)

/* Counts the pass and kills the process with SIGKILL if this is the one. Any thread. */
void vow_failpoint_hit(const char *name);

/* Arms "name=kill[:n]" from inside a test, in place of the environment; NULL disarms. Before other
 * threads run. */
void vow_failpoint_arm(const char *spec);
#else
#define VOW_FAILPOINT(name) ((void)0)
#endif

#endif
