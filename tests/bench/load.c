/*
 * The load generator: N clients in a closed loop over kept connections, each answer looked at.
 *
 *     load --connect HOST:PORT --mode oneshot|interactive|prototype|hold --participant URL ...
 *          [--branches N] [--clients N] [--accounts N] [--warmup MS] [--duration MS] [--count N]
 *          [--timeout MS] [--pause MS] [--tolerant] [--ids FILE]
 *
 * Prints "begin" and "end" when the measured window does, then one JSON object. SIGTERM ends the
 * window. Exit code 1: an answer was not as it must be. See load.h.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "load.h"

static volatile sig_atomic_t stop;

static void on_stop(int number) {
  (void)number;
  stop = 1;
}

static int usage(void) {
  fputs("usage: load --connect HOST:PORT --mode MODE --participant URL ... (see load.c)\n", stderr);
  return 2;
}

static bool read_mode(const char *word, enum load_mode *out) {
  static const char *const words[] = {"oneshot", "interactive", "prototype", "hold"};
  for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
    if (strcmp(word, words[i]) != 0) continue;
    *out = (enum load_mode)i;
    return true;
  }
  return false;
}

static bool take_option(struct load_options *options, int letter, const char *value) {
  uint64_t number = strtoull(value, NULL, 10);
  switch (letter) {
    case 'h':
      options->host = value;
      return true;
    case 'm':
      return read_mode(value, &options->mode);
    case 'b':
      options->branches = (unsigned)number;
      return true;
    case 'c':
      options->clients = (unsigned)number;
      return true;
    case 'a':
      options->accounts = (unsigned)number;
      return true;
    case 'w':
      options->warmup_ms = number;
      return true;
    case 'd':
      options->duration_ms = number;
      return true;
    case 'n':
      options->count = number;
      return true;
    case 't':
      options->timeout_ms = (unsigned)number;
      return true;
    case 'P':
      options->pause_ms = (unsigned)number;
      return true;
    case 'T':
      options->tolerant = true;
      return true;
    case 'i':
      return (options->ids = fopen(value, "a")) != NULL;
    case 'p':
      if (options->participant_count == PARTICIPANTS_MAX) return false;
      options->participants[options->participant_count++] = value;
      return true;
    default:
      return false;
  }
}

static bool read_options(struct load_options *options, int count, char **arguments) {
  static const struct option table[] = {
      {"connect", required_argument, NULL, 'h'},  {"mode", required_argument, NULL, 'm'},
      {"branches", required_argument, NULL, 'b'}, {"clients", required_argument, NULL, 'c'},
      {"accounts", required_argument, NULL, 'a'}, {"warmup", required_argument, NULL, 'w'},
      {"duration", required_argument, NULL, 'd'}, {"count", required_argument, NULL, 'n'},
      {"timeout", required_argument, NULL, 't'},  {"tolerant", no_argument, NULL, 'T'},
      {"ids", required_argument, NULL, 'i'},      {"participant", required_argument, NULL, 'p'},
      {"pause", required_argument, NULL, 'P'},    {NULL, 0, NULL, 0},
  };
  *options = (struct load_options){.branches = 2, .clients = 1, .accounts = 1000000, .stop = &stop};
  for (int letter; (letter = getopt_long(count, arguments, "", table, NULL)) != -1;) {
    if (!take_option(options, letter, optarg ? optarg : "")) return false;
  }
  return optind == count && options->host && options->participant_count > 0 &&
         options->branches >= 1 && options->branches <= BRANCHES_MAX && options->clients >= 1 &&
         options->clients <= CLIENTS_MAX && options->accounts >= 1 &&
         (options->duration_ms > 0 || options->count > 0);
}

static double cpu_us(void) {
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 +
         (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

static void report(const struct load_options *options, const struct load_result *result) {
  const struct histogram *latency = &result->latency;
  double seconds = (double)result->window_ns / 1e9;
  double mean = latency->count ? (double)latency->sum / (double)latency->count : 0;
  uint64_t all = result->committed + result->refused;
  printf("{\"clients\":%u,\"transactions\":%llu,\"seconds\":%.6f,\"per_second\":%.1f",
         options->clients, (unsigned long long)latency->count, seconds,
         seconds > 0 ? (double)latency->count / seconds : 0);
  printf(
      ",\"mean_us\":%.1f,\"p50_us\":%.1f,\"p95_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f"
      ",\"max_us\":%.1f",
      mean / 1e3, (double)histogram_quantile(latency, 0.50) / 1e3,
      (double)histogram_quantile(latency, 0.95) / 1e3,
      (double)histogram_quantile(latency, 0.99) / 1e3,
      (double)histogram_quantile(latency, 0.999) / 1e3, (double)latency->max / 1e3);
  printf(
      ",\"committed\":%llu,\"refused\":%llu,\"broken\":%llu,\"errors\":%llu"
      ",\"load_cpu_us\":%.2f}\n",
      (unsigned long long)result->committed, (unsigned long long)result->refused,
      (unsigned long long)result->broken, (unsigned long long)result->errors,
      all ? cpu_us() / (double)all : 0);
  if (result->errors > 0) {
    fprintf(stderr, "load: %llu answers were wrong, the first:\n%s\n",
            (unsigned long long)result->errors, result->sample);
  }
}

int main(int count, char **arguments) {
  static struct load_result result; /* large */
  struct load_options options;
  if (!read_options(&options, count, arguments)) return usage();
  signal(SIGTERM, on_stop);
  if (!load_run(&options, &result)) {
    perror("load");
    return 1;
  }
  report(&options, &result);
  if (options.ids && fclose(options.ids) != 0) {
    perror("load: --ids");
    return 1;
  }
  return result.errors > 0 ? 1 : 0;
}
