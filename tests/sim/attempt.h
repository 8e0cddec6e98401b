/*
 * Runs, as the program's options ask for them: in this process, or in one of their own, so that a
 * core may stop itself and the program goes on.
 */
#ifndef VOW_SIM_ATTEMPT_H
#define VOW_SIM_ATTEMPT_H

#include "sim.h"

/* What a process of its own leaves behind, whatever became of it. */
struct sim_report {
  struct sim_case set; /* what it played last */
  struct sim_result result;
  uint64_t runs, probes[SIM_PROBES];
  uint32_t caught[SIM_PROPERTIES]; /* of a mistake: the seed that showed it first; 0: none */
};
extern struct sim_report *sim_report;

bool sim_open(void); /* false: no memory */

enum sim_way { SIM_QUIETLY, SIM_TELLING, SIM_COLLECTING };

/* Plays here. What happens is in the report, too. */
struct sim_result sim_play(const struct sim_case *set, enum sim_way way);
/* Does `work` in a process of its own. False: it did not come back, and the report says so. */
bool sim_apart(void (*work)(const void *context), const void *context);
/* Plays in a process of its own. */
struct sim_result sim_attempt(const struct sim_case *set, enum sim_way way);

/* ---- shrink.c ---- */

/* Leaves out whatever the failure does not need: faults, then transactions, then time. Returns how
 * many runs it took. */
uint32_t sim_shrink(struct sim_case *set, const struct sim_result *failure);
void sim_print_case(const struct sim_case *set); /* the options that replay it */
bool sim_names_to_bits(const struct sim_name *names, int count, const char *list, uint32_t *out);

/* ---- suite.c ---- */

struct sim_arguments {
  uint64_t seeds, start;
  struct sim_case set; /* seed and all that is said of it */
  bool replay, verbose, mistakes, determinism, any_probes, no_shrink, sweep, twice, list;
  const char *kept; /* file of seeds that are played for ever */
};

int sim_suite(const struct sim_arguments *a);
int sim_suite_kept(const struct sim_arguments *a,
                   bool (*parse)(int argc, char **argv, struct sim_arguments *out));

/* ---- mistakes.c ---- */

int sim_suite_mistakes(const struct sim_arguments *a);

#endif
