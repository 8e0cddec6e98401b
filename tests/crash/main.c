/*
 * vow-crash and vow-crash-participant: crash images of the real log code. See tests/README.md.
 * Exit codes: 0 fine, 2 usage, 3 a wrong outcome, 5 a mistake that was not noticed.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "images.h"
#include "self_test.h"
#include "side.h"
#include "tests/lib/seed.h"

#ifndef CRASH_SIDE
#error "CRASH_SIDE is 'c' or 'p'"
#endif

#define PROOF_IMAGES    2000 /* without a mistake, before the mistakes */
#define SWEEP_CALLS_MIN 300

static const char *program;

static const char usage[] =
    "usage: %s [--images N] [--start SEED|today] [--mistake NAME]\n"
    "                                  images of this seed and the next ones\n"
    "       %s --seed SEED [--index I] [--mistake NAME]\n"
    "                                  all images of a seed, or one, told\n"
    "       %s --mistakes              each mistake must be noticed\n"
    "       %s --sweep [--index CALL]  each call of the disk fails once\n"
    "       %s --self-test             the disk is what it says\n";

static int report(uint64_t seed, const struct images_result *result) {
  printf("FAILED: %s\n", result->why);
  printf("replay: %s --seed %llu", program, (unsigned long long)seed);
  if (result->failed >= 0) printf(" --index %lld", (long long)result->failed);
  if (mistake != MISTAKE_NONE) printf(" --mistake %s", mistake_name(mistake));
  printf("\n");
  return 3;
}

/* Seed after seed until there are enough images. */
static int run_images(uint64_t start, uint64_t images, bool quiet) {
  struct images_result result = {.ok = true};
  uint64_t total = 0, seed = start;
  for (; total < images; seed++) {
    struct images_options options = {.limit = images - total, .only = -1};
    images_run(seed, &options, &result);
    total += result.images;
    if (!result.ok) break;
  }
  if (total >= images && result.ok) {
    if (!quiet)
      printf("%llu images of %llu seeds\n", (unsigned long long)total,
             (unsigned long long)(seed - start));
    return 0;
  }
  if (!quiet) return report(seed, &result);
  printf("  seed %llu, image %lld: %s\n", (unsigned long long)seed, (long long)result.failed,
         result.why);
  return 3;
}

static int run_one(uint64_t seed, int64_t index) {
  struct images_options options = {.limit = UINT64_MAX, .only = index};
  struct images_result result;
  images_run(seed, &options, &result);
  if (!result.ok) return report(seed, &result);
  printf("as it should be: %llu images\n", (unsigned long long)result.images);
  return 0;
}

static int run_mistakes(uint64_t start, uint64_t images) {
  int missed = 0;
  if (run_images(start, PROOF_IMAGES, false) != 0) return 3; /* else anything is "noticed" */
  for (int i = 1; i < MISTAKE_COUNT; i++) {
    if (!mistake_concerns((enum mistake)i, CRASH_SIDE)) continue;
    printf("%s (%s)\n", mistake_name((enum mistake)i), mistake_text((enum mistake)i));
    mistake_begin((enum mistake)i);
    bool caught = run_images(start, images, true) != 0;
    if (!caught) printf("  NOT NOTICED in %llu images\n", (unsigned long long)images);
    missed += !caught;
  }
  return missed == 0 ? 0 : 5;
}

static int run_sweep(int64_t first) {
  struct images_result result;
  uint32_t calls = images_sweep(first < 1 ? 1 : (uint32_t)first, &result);
  if (result.ok && calls > SWEEP_CALLS_MIN) {
    printf("%u runs, until no call was left to fail\n", calls);
    return 0;
  }
  printf("FAILED: %s\nreplay: %s --sweep --index %lld\n",
         result.ok ? "there are too few calls" : result.why, program, (long long)result.failed);
  return 3;
}

struct arguments {
  uint64_t images, start, seed;
  int64_t index;
  bool one, mistakes, self_test, sweep;
};

static bool parse(int count, char **words, struct arguments *out) {
  static const struct option options[] = {{"images", required_argument, NULL, 'n'},
                                          {"start", required_argument, NULL, 's'},
                                          {"seed", required_argument, NULL, 'r'},
                                          {"index", required_argument, NULL, 'i'},
                                          {"mistake", required_argument, NULL, 'm'},
                                          {"mistakes", no_argument, NULL, 'M'},
                                          {"sweep", no_argument, NULL, 'S'},
                                          {"self-test", no_argument, NULL, 'T'},
                                          {NULL, 0, NULL, 0}};
  int option;
  while ((option = getopt_long(count, words, "", options, NULL)) != -1) {
    if (option == 'n') out->images = strtoull(optarg, NULL, 10);
    if (option == 's' && !seed_parse(optarg, &out->start)) return false;
    if (option == 'r' && !seed_parse(optarg, &out->seed)) return false;
    if (option == 'r') out->one = true;
    if (option == 'i') out->index = strtoll(optarg, NULL, 10);
    if (option == 'M') out->mistakes = true;
    if (option == 'S') out->sweep = true;
    if (option == 'T') out->self_test = true;
    if (option == '?') return false;
    if (option == 'm' && mistake_parse(optarg) == MISTAKE_NONE) return false;
    if (option == 'm') mistake_begin(mistake_parse(optarg));
  }
  return optind == count;
}

int main(int count, char **words) {
  struct arguments arguments = {.images = 10000, .start = 1, .index = -1};
  program = words[0];
  if (!parse(count, words, &arguments)) {
    fprintf(stderr, usage, program, program, program, program, program);
    return 2;
  }
  sqlite_memory_install();
  sqlite3_vfs *real = sqlite3_vfs_find(NULL);
  disk_vfs_install();
  if (arguments.self_test) return self_test(real) ? 0 : 3;
  if (arguments.sweep) return run_sweep(arguments.index);
  if (arguments.mistakes) return run_mistakes(arguments.start, arguments.images);
  if (arguments.one) return run_one(arguments.seed, arguments.index);
  return run_images(arguments.start, arguments.images, false);
}
