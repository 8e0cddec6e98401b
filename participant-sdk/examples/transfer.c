/*
 * Moves money between two banks (see bank.c), with the client API: many transfers, from several
 * threads that share one client, each asked again until its outcome is known.
 *
 *     transfer --coordinator URL --from URL --to URL [--accounts N] [--count N | --seconds S]
 *              [--concurrency N] [--overdraw-every N] [--interactive]
 *
 * What to learn here is transfer_once: how the class of an error says what to do next. It comes in
 * two forms, one request that does it all (one-shot), and begin, enlist, commit (interactive).
 */
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <vow/client.h>

#define PATIENCE_S 60 /* for one transfer, before its outcome is given up as unknown */
#define LOCKED_S   10 /* for accounts that others hold, before a transfer is given up */

static struct {
  const char *coordinator, *from, *to;
  long accounts, count, seconds, concurrency, overdraw_every;
  bool interactive;
} options = {.accounts = 10, .count = 1, .concurrency = 1};

static struct vow_client *client;
static atomic_long started, committed, refused, repeated, unknown, failed;
static time_t ends_at;
static _Thread_local char why[512]; /* what the last failure of a transfer said */

/* ---- one transfer ---- */

static void pause_ms(long ms) {
  nanosleep(&(struct timespec){.tv_nsec = ms * 1000 * 1000}, NULL);
}

/* The library keeps the words of a thread's last call only. */
static enum vow_error keep_words(enum vow_error error) {
  if (error) snprintf(why, sizeof why, "%s", vow_client_error());
  return error;
}

static enum vow_error one_shot(const char *key, const struct vow_branch_spec branches[2],
                               struct vow_transaction **out) {
  return keep_words(vow_one_shot(client, key, 0, branches, 2, out));
}

/* The same in steps: an application would do more between them, and call services with vow_call. */
static enum vow_error interactive(const struct vow_branch_spec branches[2],
                                  struct vow_transaction **out) {
  struct vow_transaction *transaction = NULL;
  enum vow_error error = vow_begin(client, 0, &transaction);
  for (int i = 0; !error && i < 2; i++) {
    error = vow_enlist(transaction, branches[i].url, branches[i].name, branches[i].payload, NULL);
  }
  *out = transaction;
  if (!error) return keep_words(vow_commit(transaction));
  (void)keep_words(error);
  if (transaction && vow_abort(transaction) != VOW_OK) {
    /* Nobody has asked for its commit, so it aborts at its timeout. */
  }
  return error;
}

/* Asks the same again until the outcome is known. In the interactive form only the commit is
 * repeated: before it nothing has happened, and after it the transaction has an id to ask with. */
static enum vow_error ask(const char *key, const struct vow_branch_spec branches[2]) {
  struct vow_transaction *transaction = NULL;
  time_t patience = time(NULL) + PATIENCE_S;
  enum vow_error error = VOW_OK;
  for (;;) {
    if (options.interactive && error == VOW_E_OUTCOME_UNKNOWN) {
      error = keep_words(vow_commit(transaction));
    } else {
      vow_transaction_free(transaction);
      transaction = NULL;
      error = options.interactive ? interactive(branches, &transaction)
                                  : one_shot(key, branches, &transaction);
    }
    if (vow_error_class(error) != VOW_CLASS_RETRY || time(NULL) >= patience) break;
    pause_ms(50);
  }
  vow_transaction_free(transaction);
  return error;
}

/* Whether the next try may succeed: another transfer held the account, or the coordinator lost the
 * transaction before anybody asked for its commit. A bank that votes abort for a reason of its own
 * will do so again. */
static bool is_passing(void) {
  return strstr(why, "is locked by") || !strstr(why, "voted abort");
}

static void transfer_once(unsigned *seed, long number) {
  time_t patience = time(NULL) + LOCKED_S;
  bool overdraw = options.overdraw_every && number % options.overdraw_every == 0;
  long amount = overdraw ? 1000000000L : 1 + rand_r(seed) % 50;
  char key[64];
  char debit[80];
  char credit[80];
  for (;;) {
    snprintf(debit, sizeof debit, "{\"account\":%ld,\"amount\":%ld}",
             1 + rand_r(seed) % options.accounts, -amount);
    snprintf(credit, sizeof credit, "{\"account\":%ld,\"amount\":%ld}",
             1 + rand_r(seed) % options.accounts, amount);
    const struct vow_branch_spec branches[2] = {{options.from, "debit", debit},
                                                {options.to, "credit", credit}};
    snprintf(key, sizeof key, "transfer-%ld-%ld-%d-%d", (long)time(NULL), number, rand_r(seed),
             rand_r(seed));
    enum vow_error error = ask(key, branches);
    if (error == VOW_OK) {
      committed++;
    } else if (error == VOW_E_ABORTED && !is_passing()) {
      refused++;
    } else if (error == VOW_E_ABORTED && time(NULL) < patience) {
      repeated++; /* it changed nothing: make a new one, when the other may have ended */
      pause_ms(1 + rand_r(seed) % 20);
      continue;
    } else if (vow_error_class(error) == VOW_CLASS_RETRY) {
      unknown++;
      fprintf(stderr, "transfer: given up: %s: %s\n", vow_error_text(error), why);
    } else {
      failed++;
      fprintf(stderr, "transfer: %s: %s\n", vow_error_text(error), why);
    }
    return;
  }
}

/* ---- many ---- */

static void *run(void *context) {
  unsigned seed = *(unsigned *)context;
  for (;;) {
    long number = ++started;
    if (options.seconds ? time(NULL) >= ends_at : number > options.count) return NULL;
    transfer_once(&seed, number);
  }
}

static int run_all(void) {
  pthread_t threads[256];
  unsigned seeds[256];
  struct timespec begin;
  struct timespec end;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  ends_at = time(NULL) + options.seconds;
  long running = 0;
  for (; running < options.concurrency; running++) {
    seeds[running] = (unsigned)(begin.tv_nsec + running * 7919);
    if (pthread_create(&threads[running], NULL, run, &seeds[running]) != 0) break;
  }
  for (long i = 0; i < running; i++) pthread_join(threads[i], NULL);
  clock_gettime(CLOCK_MONOTONIC, &end);
  double seconds =
      (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
  long done = committed + refused;
  printf("%ld transfers in %.2f s (%.0f/s): %ld committed, %ld refused by a bank\n", done, seconds,
         (double)done / seconds, committed, refused);
  if (repeated)
    printf("%ld tries met an account in use, or a restart, and were made again\n", repeated);
  if (unknown) printf("%ld with an outcome that is not known\n", unknown);
  if (failed) printf("%ld failed\n", failed);
  return unknown || failed || running == 0 ? 1 : 0;
}

static int usage(void) {
  fputs(
      "usage: transfer --coordinator URL --from URL --to URL [--accounts N] [--count N | --seconds "
      "S]\n"
      "                [--concurrency N] [--overdraw-every N] [--interactive]\n",
      stderr);
  return 2;
}

static bool number(const char *text, long max, long *out) {
  char *end = NULL;
  long value = strtol(text, &end, 10);
  if (*end != '\0' || value < 1 || value > max) return false;
  *out = value;
  return true;
}

int main(int count, char **arguments) {
  static const struct option known[] = {
      {"coordinator", required_argument, NULL, 'c'},
      {"from", required_argument, NULL, 'f'},
      {"to", required_argument, NULL, 't'},
      {"accounts", required_argument, NULL, 'a'},
      {"count", required_argument, NULL, 'n'},
      {"seconds", required_argument, NULL, 's'},
      {"concurrency", required_argument, NULL, 'p'},
      {"overdraw-every", required_argument, NULL, 'o'},
      {"interactive", no_argument, NULL, 'i'},
      {NULL, 0, NULL, 0},
  };
  bool right = true;
  for (int option = 0; (option = getopt_long(count, arguments, "", known, NULL)) != -1;) {
    switch (option) {
      case 'c':
        options.coordinator = optarg;
        break;
      case 'f':
        options.from = optarg;
        break;
      case 't':
        options.to = optarg;
        break;
      case 'a':
        right &= number(optarg, 1000000000, &options.accounts);
        break;
      case 'n':
        right &= number(optarg, 1000000000, &options.count);
        break;
      case 's':
        right &= number(optarg, 1000000, &options.seconds);
        break;
      case 'p':
        right &= number(optarg, 256, &options.concurrency);
        break;
      case 'o':
        right &= number(optarg, 1000000000, &options.overdraw_every);
        break;
      case 'i':
        options.interactive = true;
        break;
      default:
        right = false;
    }
  }
  if (!right || optind != count || !options.coordinator || !options.from || !options.to) {
    return usage();
  }
  if (vow_client_open(&client, options.coordinator) != VOW_OK) {
    fprintf(stderr, "transfer: %s: %s\n", options.coordinator, vow_client_error());
    return 1;
  }
  vow_client_set_timeout(client, 10000);
  int result = run_all();
  vow_client_close(client);
  return result;
}
