/*
 * The command line of vowctl: the first byte says which variables are set, the rest are words with
 * a zero byte between. What is taken is a known command with all that it needs, each value within
 * its limits; what is refused is refused with two sentences that are safe for a terminal, and the
 * exit code for it. The same words say the same again.
 */
#include "args.h"

#include <ctype.h>
#include <string.h>

#include "fuzz.h"
#include "text.h"
#include "url.h"
#include "utf8.h"

#define WORDS_MAX    16
#define CUT_AT_BYTES 2000 /* ctl_fail() cuts what is longer */

struct line {
  char *words[WORDS_MAX + 1]; /* owned */
  int count;
};

/* What one reading said. */
struct said {
  enum ctl_exit code;
  struct ctl_args args;
  char *argv[WORDS_MAX + 1]; /* getopt_long() puts them into another order */
  char *text, *shown;        /* owned: standard error and output */
};

static void read_line(struct line *line, const uint8_t *data, size_t bytes) {
  uint8_t variables = bytes == 0 ? 0 : data[0];
  static const char *const names[] = {"VOW_URL", "VOW_ADVERTISE_URL"};
  const uint8_t *at = data + (bytes > 0), *end = data + bytes;
  line->words[0] = copy_text("vowctl", 6);
  line->count = 1;
  for (unsigned i = 0; i < 2; i++) must(unsetenv(names[i]) == 0);
  for (unsigned set = 0; at < end && line->count < WORDS_MAX;) {
    const uint8_t *zero = memchr(at, 0, (size_t)(end - at));
    size_t length = zero == NULL ? (size_t)(end - at) : (size_t)(zero - at);
    char *word = copy_text(at, length);
    at += length + (zero != NULL);
    while (set < 2 && (variables & (1U << set)) == 0) set++;
    if (set < 2) {
      must(setenv(names[set++], word, 1) == 0);
      free(word);
    } else {
      line->words[line->count++] = word;
    }
  }
  line->words[line->count] = NULL;
}

/* Only UTF-8, nothing that a terminal acts on; returns how many lines it has. */
static unsigned must_be_safe(const char *text) {
  unsigned lines = 0;
  while (*text != '\0') {
    uint32_t c = 0;
    size_t bytes = vow_utf8_decode(text, &c);
    must(bytes > 0);
    must(c >= 0x20 || c == '\n');
    must(c != 0x7F && (c < 0x80 || c >= 0xA0));
    must(!(c >= 0x202A && c <= 0x202E) && !(c >= 0x2066 && c <= 0x2069));
    lines += c == '\n';
    text += bytes;
  }
  return lines;
}

/* "vowctl: WHAT" and what to do about it, a sentence each. */
static void must_be_two_sentences(const char *text) {
  must(must_be_safe(text) == 2);
  must(strncmp(text, "vowctl: ", 8) == 0);
  const char *what = text + 8, *end = strchr(what, '\n'), *todo = end + 1;
  must(end - what > 10);
  must(end - what >= CUT_AT_BYTES || end[-1] == '.' || end[-1] == '?');
  must(strlen(todo) > 10 && todo[strlen(todo) - 2] == '.');
}

static uint64_t number_of(const char **at) {
  uint64_t value = 0;
  must(isdigit((unsigned char)**at));
  while (isdigit((unsigned char)**at)) {
    must(value <= UINT64_MAX / 10);
    value = value * 10 + (uint64_t)(*(*at)++ - '0');
  }
  return value;
}

/* By itself, not with the parser of the product. */
static uint64_t milliseconds_of(const char *text) {
  uint64_t total = 0;
  while (*text != '\0') {
    uint64_t value = number_of(&text), unit = 0;
    if (strncmp(text, "ms", 2) == 0)
      unit = 1;
    else if (*text == 's')
      unit = 1000;
    else if (*text == 'm')
      unit = 60000;
    else if (*text == 'h')
      unit = 3600000;
    else if (*text == 'd')
      unit = 86400000;
    must(unit != 0);
    total += value * unit;
    text += unit == 1 ? 2 : 1;
  }
  return total;
}

static void check_value(const struct ctl_option *option, const char *value, uint64_t number) {
  char url[VOW_URL_BYTES_MAX + 1], why[256];
  bool chosen = false;
  switch (option->kind) {
    case CTL_DURATION:
      must(*value != '\0' && milliseconds_of(value) == number);
      must(number >= option->min && number <= option->max);
      break;
    case CTL_NUMBER:
      must(number_of(&value) == number && *value == '\0');
      must(number >= option->min && number <= option->max);
      break;
    case CTL_CHOICE:
      for (unsigned i = 0; option->choices[i] != NULL; i++) {
        chosen = chosen || strcmp(option->choices[i], value) == 0;
      }
      must(chosen);
      break;
    case CTL_URL:
      must(vow_url_normalize(value, url, why, sizeof why) == VOW_OK);
      break;
    case CTL_TEXT:
    case CTL_FILE:
      must(*value != '\0' && (option->max == 0 || strlen(value) <= option->max));
      break;
    case CTL_FLAG:
      must(false);
  }
}

/* A value that was given is a word of the line, or what stands behind "=" in one. */
static bool is_of(const struct line *line, const char *value) {
  for (int i = 1; i < line->count; i++) {
    const char *equals = strchr(line->words[i], '=');
    if (value == line->words[i] || (equals != NULL && value == equals + 1)) return true;
  }
  return false;
}

static void check_options(const struct line *line, const struct ctl_args *args) {
  uint64_t allowed = args->command->options | CTL_BIT(CTL_OPT_HELP) | CTL_BIT(CTL_OPT_VERSION);
  must((args->given & ~allowed) == 0);
  must((args->command->required & ~args->given) == 0);
  for (enum ctl_option_id id = 0; id < CTL_OPTION_COUNT; id++) {
    const struct ctl_option *option = &ctl_options[id];
    const char *value = args->text[id];
    if ((allowed & CTL_BIT(id)) == 0 || option->kind == CTL_FLAG) {
      must(value == NULL && args->number[id] == 0);
      continue;
    }
    if (ctl_given(args, id)) must(value != NULL && is_of(line, value));
    if (option->fallback != NULL) must(value != NULL);
    if (value != NULL) check_value(option, value, args->number[id]);
  }
}

static void check_operand(const struct line *line, const struct ctl_args *args) {
  struct vow_id id;
  enum ctl_operand kind = args->command->operand;
  if (kind == CTL_OPERAND_NONE) must(args->operand == NULL);
  if (args->operand == NULL) {
    must(kind == CTL_OPERAND_NONE || kind == CTL_OPERAND_COMMAND);
    return;
  }
  must(*args->operand != '\0' && is_of(line, args->operand));
  if (kind != CTL_OPERAND_ID) return;
  must(vow_id_parse(args->operand, &id) && vow_id_compare(id, args->id) == 0);
}

static void check_taken(const struct line *line, const struct ctl_args *args) {
  if (ctl_given(args, CTL_OPT_VERSION)) {
    must(args->command == NULL);
    return;
  }
  must(args->command != NULL && ctl_command_find(args->command->name) == args->command);
  if (ctl_given(args, CTL_OPT_HELP)) {
    must(strcmp(args->command->name, "help") == 0);
    must(args->operand == NULL || ctl_command_find(args->operand) != NULL);
    return;
  }
  check_options(line, args);
  check_operand(line, args);
}

/* Reads the line, and runs what is not a stub, with what is said caught. */
static void read_once(const struct line *line, struct said *said) {
  FILE *error = stderr, *output = stdout;
  size_t text_bytes = 0, shown_bytes = 0;
  memset(said, 0, sizeof *said);
  memcpy(said->argv, line->words, sizeof said->argv);
  FILE *err = open_memstream(&said->text, &text_bytes);
  FILE *out = open_memstream(&said->shown, &shown_bytes);
  must(err != NULL && out != NULL);
  stderr = err;
  stdout = out;
  said->code = ctl_args_parse(line->count, said->argv, &said->args);
  bool taken = said->code == CTL_EXIT_OK;
  bool quiet = ftello(err) == 0 && ftello(out) == 0;
  if (taken && said->args.command != NULL) said->code = said->args.command->run(&said->args);
  stderr = error;
  stdout = output;
  must(fclose(err) == 0 && fclose(out) == 0);
  if (!taken) must(said->code == CTL_EXIT_USAGE);
  if (!taken) must(said->args.command == NULL && said->args.given == 0);
  if (taken) must(quiet);
  if (taken) check_taken(line, &said->args);
}

static void must_be_same(const struct said *a, const struct said *b) {
  must(a->code == b->code && strcmp(a->text, b->text) == 0 && strcmp(a->shown, b->shown) == 0);
  must(a->args.command == b->args.command && a->args.operand == b->args.operand);
  must(a->args.given == b->args.given && vow_id_compare(a->args.id, b->args.id) == 0);
  for (unsigned id = 0; id < CTL_OPTION_COUNT; id++) {
    const char *one = a->args.text[id], *other = b->args.text[id];
    must((one == NULL) == (other == NULL) && (one == NULL || strcmp(one, other) == 0));
    must(a->args.number[id] == b->args.number[id]);
  }
}

/* A URL may hold what another line says. */
static bool has_line(const char *text, const char *line) {
  const char *found = strstr(text, line);
  while (found != NULL && found != text && found[-1] != '\n') found = strstr(found + 1, line);
  return found != NULL;
}

/* Each word of a list is a participant that is asked, or left out. */
static void check_list(const char *list, const char *shown, const char *signs) {
  char url[VOW_URL_BYTES_MAX + 1], why[256], entry[VOW_URL_BYTES_MAX + 4];
  if (list == NULL || *list == '@') return; /* the words of a file are unit.ctl_words' */
  char *copy = copy_text(list, strlen(list)), *rest = copy, *word;
  while ((word = strsep(&rest, ", \t\r\n")) != NULL) {
    if (*word == '\0') continue;
    must(vow_url_normalize(word, url, why, sizeof why) == VOW_OK);
    bool there = false;
    for (const char *sign = signs; *sign != '\0'; sign++) {
      snprintf(entry, sizeof entry, "%c%s\n", *sign, url);
      there = there || has_line(shown, entry);
    }
    must(there);
  }
  free(copy);
}

static void check_said(const struct said *said) {
  must_be_safe(said->shown);
  if (said->code != CTL_EXIT_OK) {
    must_be_two_sentences(said->text);
    bool no_list = strstr(said->text, "vowctl: the list \"") == said->text; /* a file's */
    must(said->code == CTL_EXIT_USAGE || said->code == CTL_EXIT_NOT_FOUND ||
         (said->code == CTL_EXIT_FAILED && no_list));
    must(*said->shown == '\0');
    return;
  }
  must(*said->text == '\0');
  if (said->args.command == NULL || strcmp(said->args.command->name, "reconcile") != 0) return;
  check_list(said->args.text[CTL_OPT_PARTICIPANTS], said->shown, "+-");
  check_list(said->args.text[CTL_OPT_WITHOUT], said->shown, "-");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  struct line line;
  struct said once, again;
  read_line(&line, data, bytes);
  read_once(&line, &once);
  read_once(&line, &again);
  check_said(&once);
  must_be_same(&once, &again);
  free(once.text), free(once.shown);
  free(again.text), free(again.shown);
  for (int i = 0; i < line.count; i++) free(line.words[i]);
  return 0;
}
