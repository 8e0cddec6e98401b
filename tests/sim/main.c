/*
 * vow-sim: plays seeds, shows what fails, and shows that mistakes are caught. usage() has the
 * options.
 *
 * Exit codes: 0 all is well; 2 usage; 3 a safety property failed; 4 something never ended; 5 a
 * probe was not hit, a mistake was not caught, or a run was not the same twice; 6 a core stopped
 * itself, or a sanitizer the program.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attempt.h"
#include "tests/lib/seed.h"

static void usage(FILE *out) {
  fputs(
      "usage: vow-sim [--seeds N] [--start SEED|today]   plays them; every probe must be hit\n"
      "       vow-sim --replay SEED                      one seed, with its trace\n"
      "       vow-sim --sweep [--twice] --seeds N        kills each node at each of its actions\n"
      "       vow-sim --mistakes [--seeds N]             each mistake must be caught\n"
      "       vow-sim --kept FILE                        plays the cases of a file\n"
      "\n"
      "A case: --faults LIST|none (those, not what the seed draws), --without LIST, --plans LIST\n"
      "(of transactions), --trouble-ms N, --steps MAX, --mistake NAME, --crash NODE:ACTION[:keep]\n"
      "(twice at most; NODE is c0 or p3).\n"
      "Also: --determinism (each seed twice), --any-probes, --no-shrink, --verbose, --list.\n",
      out);
}

static void list(const char *title, const struct sim_name *names, int count) {
  printf("%s\n", title);
  for (int i = 0; i < count; i++) printf("  %-20s %s\n", names[i].name, names[i].what);
}

static int list_all(void) {
  list("faults", sim_faults, SIM_FAULTS);
  list("properties", sim_properties, SIM_PROPERTIES);
  list("probes", sim_probes, SIM_PROBES);
  list("mistakes", sim_mistakes, SIM_MISTAKES);
  return SIM_OK;
}

/* ---- options ---- */

static bool read_plans(const char *text, struct sim_case *set) {
  set->plans_off = (UINT32_C(1) << SIM_PLANS_MAX) - 1;
  if (strcmp(text, "none") == 0) return true;
  for (;;) {
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    if (end == text || number >= SIM_PLANS_MAX) return false;
    set->plans_off &= ~(UINT32_C(1) << number);
    if (*end == '\0') return true;
    if (*end != ',') return false;
    text = end + 1;
  }
}

static bool read_crash(const char *text, struct sim_case *set) {
  char kind, keep[8] = "";
  unsigned number, action;
  int fields = sscanf(text, "%c%u:%u:%7s", &kind, &number, &action, keep);
  if (fields < 3 || action == 0 || (kind != 'c' && kind != 'p')) return false;
  if (number >= (kind == 'c' ? SIM_COORDINATORS_MAX : SIM_PARTICIPANTS_MAX)) return false;
  struct sim_crash crash = {.node = (int)number + (kind == 'c' ? SIM_COORDINATOR : SIM_PARTICIPANT),
                            .action = action,
                            .keep = strcmp(keep, "keep") == 0};
  for (uint32_t i = 0; i < SIM_CRASHES_MAX; i++) {
    if (set->crashes[i].action != 0) continue;
    set->crashes[i] = crash;
    return true;
  }
  return false;
}

static bool read_mistake(const char *name, struct sim_case *set) {
  for (int i = 0; i < SIM_MISTAKES; i++) {
    if (strcmp(sim_mistakes[i].name, name) == 0) set->mistake = (enum sim_mistake)i;
  }
  if (set->mistake != SIM_MISTAKE_NONE) return true;
  fprintf(stderr, "vow-sim: there is no mistake %s; --list shows them\n", name);
  return false;
}

/* What a case has. */
static bool read_case(int option, const char *value, struct sim_case *set) {
  switch (option) {
    case 'f':
      set->has_faults = true;
      return sim_names_to_bits(sim_faults, SIM_FAULTS, value, &set->faults);
    case 'w':
      return sim_names_to_bits(sim_faults, SIM_FAULTS, value, &set->faults_off);
    case 'P':
      return read_plans(value, set);
    case 't':
      set->trouble_ms = (uint32_t)strtoul(value, NULL, 10);
      return set->trouble_ms > 0;
    case 'm':
      set->steps_max = (uint32_t)strtoul(value, NULL, 10);
      return true;
    case 'u':
      return read_mistake(value, set);
    case 'c':
      return read_crash(value, set);
    default:
      return false;
  }
}

static bool read_option(int option, const char *value, struct sim_arguments *a) {
  switch (option) {
    case 'n':
      return seed_parse(value, &a->seeds) && a->seeds > 0;
    case 's':
      return seed_parse(value, &a->start);
    case 'r':
      a->replay = true;
      return seed_parse(value, &a->set.seed);
    case 'k':
      a->kept = value;
      return true;
    default:
      return read_case(option, value, &a->set);
  }
}

static bool read_flag(int option, struct sim_arguments *a) {
  struct {
    int option;
    bool *flag;
  } flags[] = {{'v', &a->verbose},    {'U', &a->mistakes},  {'d', &a->determinism},
               {'p', &a->any_probes}, {'N', &a->no_shrink}, {'S', &a->sweep},
               {'T', &a->twice},      {'l', &a->list}};
  for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
    if (flags[i].option != option) continue;
    *flags[i].flag = true;
    return true;
  }
  return false;
}

static bool parse(int argc, char **argv, struct sim_arguments *a) {
  static const struct option options[] = {
      {"seeds", 1, NULL, 'n'},      {"start", 1, NULL, 's'},
      {"replay", 1, NULL, 'r'},     {"steps", 1, NULL, 'm'},
      {"verbose", 0, NULL, 'v'},    {"mistake", 1, NULL, 'u'},
      {"mistakes", 0, NULL, 'U'},   {"determinism", 0, NULL, 'd'},
      {"without", 1, NULL, 'w'},    {"faults", 1, NULL, 'f'},
      {"any-probes", 0, NULL, 'p'}, {"plans", 1, NULL, 'P'},
      {"crash", 1, NULL, 'c'},      {"trouble-ms", 1, NULL, 't'},
      {"no-shrink", 0, NULL, 'N'},  {"sweep", 0, NULL, 'S'},
      {"twice", 0, NULL, 'T'},      {"kept", 1, NULL, 'k'},
      {"list", 0, NULL, 'l'},       {NULL, 0, NULL, 0}};
  int c;
  optind = 0;
  while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
    if (c == '?') return false;
    if (optarg == NULL ? !read_flag(c, a) : !read_option(c, optarg, a)) {
      fprintf(stderr, "vow-sim: %s is not well formed\n", optarg == NULL ? "an option" : optarg);
      return false;
    }
  }
  return optind == argc;
}

int main(int argc, char **argv) {
  struct sim_arguments arguments = {.seeds = 1000, .start = 1};
  if (!parse(argc, argv, &arguments)) {
    usage(stderr);
    return SIM_USAGE;
  }
  if (arguments.list) return list_all();
  if (!sim_open()) return SIM_USAGE;
  if (arguments.kept != NULL) return sim_suite_kept(&arguments, parse);
  return arguments.mistakes ? sim_suite_mistakes(&arguments) : sim_suite(&arguments);
}
