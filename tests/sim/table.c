/* See table.h: the names. */
#include "table.h"

#define SIM_NAME(NAME, name, what) {name, what},

const struct sim_name sim_faults[SIM_FAULTS] = {SIM_FAULT_TABLE(SIM_NAME)};
const struct sim_name sim_probes[SIM_PROBES] = {SIM_PROBE_TABLE(SIM_NAME)};
const struct sim_name sim_mutants[SIM_MUTANTS] = {{"none", "no mistake"},
                                                  SIM_MUTANT_TABLE(SIM_NAME)};
