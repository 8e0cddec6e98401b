/*
 * The error table and the words of votes and outcomes, as lookups. Pure; any thread may call.
 * Invariant: a number or word that is not in a table gives a defined answer, never a NULL.
 */
#include <stddef.h>
#include <string.h>

#include "vow/error.h"
#include "vow/types.h"

struct row {
  int number;
  enum vow_error_class class_;
  int http_status;
  const char *slug;
  const char *text;
};

static const struct row ROWS[] = {
#define ROW(number, name, class_, status, slug, text) \
  {number, VOW_CLASS_##class_, status, slug, text},
    VOW_ERROR_TABLE(ROW)
#undef ROW
};

#define ROW_COUNT (sizeof ROWS / sizeof ROWS[0])

/* The row of `error`; INTERNAL's for a number that is not in the table. */
static const struct row *row_of(enum vow_error error) {
  for (size_t i = 0; i < ROW_COUNT; i++) {
    if (ROWS[i].number == (int)error) return &ROWS[i];
  }
  return &ROWS[VOW_E_INTERNAL];
}

const char *vow_error_text(enum vow_error error) {
  return row_of(error)->text;
}

enum vow_error_class vow_error_class(enum vow_error error) {
  return row_of(error)->class_;
}

int vow_error_http_status(enum vow_error error) {
  return row_of(error)->http_status;
}

const char *vow_error_slug(enum vow_error error) {
  return row_of(error)->slug;
}

enum vow_error vow_error_from_slug(const char *slug) {
  static const char prefix[] = "urn:vow:";

  if (!slug) return VOW_E_PROTOCOL;
  if (strncmp(slug, prefix, sizeof prefix - 1) == 0) slug += sizeof prefix - 1;
  for (size_t i = 0; i < ROW_COUNT; i++) {
    if (strcmp(ROWS[i].slug, slug) == 0) return (enum vow_error)ROWS[i].number;
  }
  return VOW_E_PROTOCOL;
}

const char *vow_vote_name(enum vow_vote vote) {
  switch (vote) {
    case VOW_VOTE_NONE:
      return "none";
    case VOW_VOTE_COMMIT:
      return "commit";
    case VOW_VOTE_READ_ONLY:
      return "read-only";
    case VOW_VOTE_ABORT:
      return "abort";
  }
  return "invalid";
}

const char *vow_outcome_name(enum vow_outcome outcome) {
  switch (outcome) {
    case VOW_OUTCOME_NONE:
      return "none";
    case VOW_OUTCOME_COMMITTED:
      return "committed";
    case VOW_OUTCOME_ABORTED:
      return "aborted";
    case VOW_OUTCOME_HEURISTIC_COMMIT:
      return "heuristic-commit";
    case VOW_OUTCOME_HEURISTIC_ABORT:
      return "heuristic-abort";
    case VOW_OUTCOME_HEURISTIC_MIXED:
      return "heuristic-mixed";
    case VOW_OUTCOME_HEURISTIC_HAZARD:
      return "heuristic-hazard";
  }
  return "invalid";
}
