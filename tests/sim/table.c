/* See table.h: the names, and what goes with them. */
#include "table.h"

#define SIM_NAME(NAME, name, what) {name, what},

const struct sim_name sim_faults[SIM_FAULTS] = {SIM_FAULT_TABLE(SIM_NAME)};
const struct sim_name sim_probes[SIM_PROBES] = {SIM_PROBE_TABLE(SIM_NAME)};

#define SIM_PROPERTY_NAME(NAME, name, goes_on, what)    {name, what},
#define SIM_PROPERTY_GOES_ON(NAME, name, goes_on, what) goes_on,

const struct sim_name sim_properties[SIM_PROPERTIES] = {SIM_PROPERTY_TABLE(SIM_PROPERTY_NAME)};
const bool sim_property_goes_on[SIM_PROPERTIES] = {SIM_PROPERTY_TABLE(SIM_PROPERTY_GOES_ON)};

/* ---- mistakes ---- */

#define SIM_FAULT_ANY SIM_FAULTS
#define BIT(NAME)     (SIM_FAULT_##NAME < SIM_FAULTS ? UINT32_C(1) << SIM_FAULT_##NAME : 0)
#define CALM_0        0
#define CALM_1                                                                          \
  (BIT(CRASH_C) | BIT(CRASH_P) | BIT(POWER) | BIT(SYNC_C) | BIT(SYNC_P) | BIT(FULL_P) | \
   BIT(RESTORE) | BIT(OPERATOR))
#define LOSSES                                                                                    \
  (BIT(LOSE) | BIT(LOSE_REPLY) | BIT(TWICE) | BIT(LATE) | BIT(REFUSE) | BIT(GARBAGE) | BIT(CUT) | \
   BIT(PAUSE) | BIT(SLOW) | BIT(CALLBACK))
#define CALM_2 (CALM_1 | LOSSES)
#define CALM_3 (BIT(CRASH_C) | BIT(SYNC_C) | BIT(RESTORE) | BIT(OPERATOR) | LOSSES)

#define SIM_MISTAKE_NAME(NAME, name, property, only, calm, needs, what) {name, what},
#define SIM_MISTAKE_RULE(NAME, name, property, only, calm, needs, what) \
  {SIM_##property, only, CALM_##calm, BIT(needs)},

const struct sim_name sim_mistakes[SIM_MISTAKES] = {{"none", "no mistake"},
                                                    SIM_MISTAKE_TABLE(SIM_MISTAKE_NAME)};
const struct sim_mistake_rule sim_mistake_rules[SIM_MISTAKES] = {
    {SIM_AC1, false, 0, 0}, SIM_MISTAKE_TABLE(SIM_MISTAKE_RULE)};
