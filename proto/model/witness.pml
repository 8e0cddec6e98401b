/*
 * Log witnesses: how a coordinator notices that its log has lost records, for Spin. vow.pml takes
 * that for granted (LOSS) and shows what must follow; here is why the comparison works.
 *
 * A log is a row of records. Each has a position, and was written under an incarnation, of which
 * every start begins a new one with a record of its own. Who saw (incarnation, position) is a
 * witness: a file beside the log, and each participant, since messages carry the pair. A log has
 * seen a pair if the record at that position was written under that incarnation; it is behind the
 * witness otherwise. A loss leaves a shorter log: a backup, or a tail that a flipped bit cut off.
 *
 * `stamp` is what the log itself cannot know: which record this is, among all that ever were. The
 * properties compare stamps, the protocol compares pairs.
 *
 *   W1  whoever is heard and has seen a lost record puts the log into quarantine, however much was
 *       written since
 *   W2  no quarantine without a loss
 *   W3  whoever has seen a lost record believes no abort of a log that lacks it
 *   C2  nothing is answered by a log that is behind its witness file
 *
 * Switches: STARTS=3, RECORDS=3, LOSSES=1, QUESTIONS=1, and BUG_...; README.md has the table.
 * LATE_MESSAGES and STRANGER take back assumptions about the network, and show what for they are
 * made.
 */
#ifndef STARTS
#define STARTS 3
#endif
#ifndef RECORDS
#define RECORDS 3
#endif
#ifndef LOSSES
#define LOSSES 1
#endif
#ifndef QUESTIONS
#define QUESTIONS 1
#endif

bool broken_W1, broken_W2, broken_W3, broken_C2;
#define HOLDS(name, condition) assert(broken_##name || (condition))

/* ---- the log ---- */
byte head;                           /* position of the last durable record; 0: none */
bool unsynced;                       /* a further record is written, not synced */
byte incarnation, starts;
byte written_under[RECORDS + 2];     /* of each position */
byte stamp[RECORDS + 2], last_stamp; /* the truth */
byte losses;
bool lost_some;

mtype = { down, checking, serving, quarantined };
mtype mode = down;

/* ---- witnesses ---- */
byte file_incarnation, file_position, file_stamp; /* position 0: the file is gone */
byte kept_incarnation, kept_position;             /* the participant: the highest it was told */
bool heard;                                       /* the participant has answered this start */
byte last_heard;                                  /* the last incarnation that it has answered */
bool saw[(STARTS + 1) * (RECORDS + 1) + 1];       /* the truth: the stamps it ever saw */

/* ---- a participant asks for an outcome, and the log presumes an abort ---- */
byte questions;
bool asks, answered;
byte asked_incarnation, asked_position;   /* what the participant had kept when it asked */
byte answer_incarnation, answer_position; /* how far the log was that answered */
byte losses_then;                         /* the truth: how many losses were before the answer */
byte lost_in[(STARTS + 1) * (RECORDS + 1) + 1]; /* the truth: which loss took the stamp */

/* ---- the network: the stamp that each pair stood for when it was sent; 0: never sent ---- */
byte sent[(STARTS + 1) * (RECORDS + 2)];
#define pair(i, p) ((i) * (RECORDS + 2) + (p))

#ifdef BUG_NO_INCARNATION
#define has_seen(i, p) ((p) <= head)
#else
#define has_seen(i, p) ((p) <= head && written_under[p] == (i))
#endif
#define still_there(p, s) ((p) <= head && stamp[p] == (s))

inline append(p) {
  last_stamp++;
  stamp[p] = last_stamp; written_under[p] = incarnation
}

inline write_witness_file(p) {
  file_incarnation = incarnation; file_position = p; file_stamp = stamp[p]
}

/* A new incarnation never repeats one that the log has lost: it is drawn, not counted. */
inline start() {
  starts++;
#ifdef BUG_INCARNATION_COUNTED
  incarnation = (head == 0 -> 1 : written_under[head] + 1);
#else
  incarnation = starts;
#endif
  heard = false; mode = checking;
  printf("log: starts with head %d\n", head)
}

inline check_file() {
  if
#ifndef BUG_SERVES_UNCHECKED
  :: file_position != 0 && !has_seen(file_incarnation, file_position) -> mode = quarantined
#endif
  :: else ->
     HOLDS(C2, file_position == 0 || still_there(file_position, file_stamp));
     head++; append(head);
     write_witness_file(head);
     mode = serving
  fi;
  printf("log: compared with its file, incarnation %d, head %d: %e\n", incarnation, head, mode)
}

inline stop() {
  if
  :: unsynced -> head++
  :: true -> true
  fi;
  unsynced = false; mode = down; incarnation = 0;
  printf("log: ends at %d\n", head)
}

/* Only what is heard counts: the log is shorter, and the file may be as old, or gone. */
inline lose() {
  losses++; lost_some = true;
  do
  :: head > 0 -> head--; if :: break :: true fi
  :: head == 0 -> break
  od;
  for (p : head + 1 .. RECORDS + 1) {
    if
    :: stamp[p] != 0 -> lost_in[stamp[p]] = losses
    :: else
    fi;
    stamp[p] = 0; written_under[p] = 0
  }
  if
  :: true -> true
  :: file_position = 0
  fi;
  printf("log: loses all behind %d\n", head)
}

active proctype coordinator() {
  byte p;
end:
  do
  :: atomic { mode == down && starts < STARTS && head < RECORDS -> start() }
  :: atomic { mode == checking -> check_file(); if :: mode == quarantined -> HOLDS(W2, lost_some)
       :: else fi }
  :: atomic { mode == serving && !unsynced && head < RECORDS ->
       append(head + 1); unsynced = true;
#ifdef BUG_WITNESS_BEFORE_SYNC
       write_witness_file(head + 1);
#endif
       printf("log: writes %d\n", head + 1) }
  :: atomic { mode == serving && unsynced ->
       head++; unsynced = false;
       printf("log: syncs %d\n", head) }
  :: atomic { mode == serving && !unsynced && file_stamp != stamp[head] ->
       write_witness_file(head);
       printf("log: its file says (%d, %d)\n", incarnation, head) }

#ifdef BUG_POSITION_NOT_DURABLE
#define told_position (head + unsynced)
#else
#define told_position head
#endif
  /* Until the participant has answered once, messages ask, and are not to be kept (P10). */
#ifdef BUG_DOES_NOT_ASK
#define may_tell true
#else
#define may_tell heard
#endif
  :: atomic { mode == serving && may_tell &&
              sent[pair(incarnation, told_position)] != stamp[told_position] ->
       sent[pair(incarnation, told_position)] = stamp[told_position];
       printf("log -> participant: (%d, %d)\n", incarnation, told_position) }

  /* A question says what its sender has seen, and is judged by it before it is answered. */
#ifdef BUG_IGNORES_QUESTIONS
#define is_odd false
#else
#define is_odd (asked_position != 0 && !has_seen(asked_incarnation, asked_position))
#endif
  :: atomic { asks && !answered && mode == serving ->
       if
       :: is_odd -> HOLDS(W2, lost_some); mode = quarantined; asks = false
       :: else ->
          answered = true; losses_then = losses;
          answer_incarnation = incarnation; answer_position = head
       fi;
       printf("log: is asked at (%d, %d): %e\n", incarnation, head, mode) }

#ifdef STRANGER
  /* Somebody makes it up. The log cannot know what it never had from what it has lost. */
  :: atomic { mode == serving -> HOLDS(W2, lost_some); mode = quarantined }
#endif

  :: atomic { mode == serving -> stop() }
  :: atomic { mode == down && losses < LOSSES && head > 0 -> lose() }
  od
}

/* A message of an earlier start does not arrive any more when a later start has been answered: its
 * connection is gone with its process. */
#ifdef LATE_MESSAGES
#define too_late(i) false
#else
#define too_late(i) ((i) < last_heard)
#endif

/* P11: is the log that answers one that has judged all that this participant has seen? A message may
 * have come between the question and the answer. */
#if defined(BUG_BELIEVES_ANY_ANSWER)
#define believes true
#elif defined(BUG_BELIEVES_NO_LOWER)
#define believes (answer_incarnation <= kept_incarnation || answer_position >= kept_position)
#else
#define believes                              \
  (answer_incarnation == kept_incarnation || \
   (asked_incarnation == kept_incarnation && asked_position == kept_position))
#endif

/* One participant is enough: what another saw is another's to return. */
active proctype participant() {
  byte i, p, s;
  bool behind, lost;
end:
  do
  :: atomic { true ->
       select(i : 1 .. STARTS); select(p : 1 .. RECORDS);
       if
       :: sent[pair(i, p)] == 0 || saw[sent[pair(i, p)]] || too_late(i)
       :: i > kept_incarnation && p < kept_position /* P11: refused */
       :: else ->
          saw[sent[pair(i, p)]] = true;
          if
          :: i > kept_incarnation || (i == kept_incarnation && p > kept_position) ->
             kept_incarnation = i; kept_position = p
          :: else
          fi;
          printf("participant: saw (%d, %d)\n", i, p)
       fi;
       i = 0; p = 0; s = 0 }

  :: atomic { !asks && questions < QUESTIONS ->
       asks = true; questions++;
       asked_incarnation = kept_incarnation; asked_position = kept_position;
       printf("participant -> log: how did it end? I saw (%d, %d)\n", kept_incarnation, kept_position) }

  :: atomic { answered ->
       if
       :: believes ->
          printf("participant: believes the abort, and has seen (%d, %d)\n", kept_incarnation,
                 kept_position);
          for (s : 1 .. last_stamp) {
            HOLDS(W3, !saw[s] || lost_in[s] == 0 || lost_in[s] > losses_then)
          }
       :: else
       fi;
       asks = false; answered = false; asked_incarnation = 0; asked_position = 0;
       answer_incarnation = 0; answer_position = 0; losses_then = 0; s = 0 }

  :: atomic { mode == serving ->
       behind = (kept_position != 0 && !has_seen(kept_incarnation, kept_position));
       for (s : 1 .. last_stamp) {
         if
         :: saw[s] ->
            lost = true;
            for (p : 1 .. head + unsynced) { lost = lost && stamp[p] != s }
            if :: lost -> break :: else fi
         :: else
         fi
       }
       printf("participant -> log: what it saw; behind %d, lost %d\n", behind, lost);
       HOLDS(W1, !lost || behind);
       HOLDS(W2, !behind || lost_some);
       if
       :: behind -> mode = quarantined
       :: else -> heard = true; last_heard = incarnation
       fi;
       i = 0; p = 0; s = 0; behind = false; lost = false }
  od
}
