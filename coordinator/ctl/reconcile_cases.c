/*
 * The participants that a reconciliation asks, and the transactions that it is about. See
 * reconcile.h.
 */
#include <stdlib.h>
#include <string.h>

#include "reconcile.h"

void ctl_places_fini(struct ctl_places *places) {
  for (size_t i = 0; i < places->count; i++) {
    free(places->items[i].url);
    free(places->items[i].in_doubt.branches);
    free(places->items[i].known.branches);
  }
  free(places->items);
  *places = (struct ctl_places){0};
}

void ctl_cases_fini(struct ctl_cases *cases) {
  for (size_t i = 0; i < cases->count; i++) {
    vow_txn_fini(&cases->items[i].txn);
    free(cases->items[i].items);
  }
  free(cases->items);
  *cases = (struct ctl_cases){0};
}

bool ctl_places_add(struct ctl_places *places, const char *url) {
  for (size_t i = 0; i < places->count; i++) {
    if (strcmp(places->items[i].url, url) == 0) return true;
  }
  struct ctl_place *items = reallocarray(places->items, places->count + 1, sizeof *items);
  if (items == NULL) return false;
  places->items = items;
  items[places->count] = (struct ctl_place){.url = strdup(url)};
  if (items[places->count].url == NULL) return false;
  places->count++;
  return true;
}

/* Where it is, or belongs. */
static size_t place_of(const struct ctl_cases *cases, struct vow_id id) {
  size_t low = 0, high = cases->count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (vow_id_compare(cases->items[middle].id, id) < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

struct ctl_case *ctl_cases_find(const struct ctl_cases *cases, struct vow_id id) {
  size_t at = place_of(cases, id);
  bool there = at < cases->count && vow_id_compare(cases->items[at].id, id) == 0;
  return there ? &cases->items[at] : NULL;
}

bool ctl_cases_add(struct ctl_cases *cases, struct vow_id id, struct vow_txn *txn) {
  if (ctl_cases_find(cases, id) != NULL) return true;
  size_t at = place_of(cases, id);
  struct ctl_case *items = reallocarray(cases->items, cases->count + 1, sizeof *items);
  if (items == NULL) return false;
  cases->items = items;
  memmove(items + at + 1, items + at, (cases->count - at) * sizeof *items);
  items[at] = (struct ctl_case){.id = id};
  if (txn != NULL) {
    items[at].txn = *txn;
    memset(txn, 0, sizeof *txn);
  }
  cases->count++;
  return true;
}

bool ctl_cases_report(struct ctl_cases *cases, size_t place,
                      const struct vow_known_branch *branch) {
  struct ctl_case *item = ctl_cases_find(cases, branch->transaction);
  if (item == NULL) return true;
  struct ctl_report_item *items = reallocarray(item->items, item->count + 1, sizeof *items);
  if (items == NULL) return false;
  item->items = items;
  items[item->count++] =
      (struct ctl_report_item){.place = place, .branch = branch->branch, .state = branch->state};
  return true;
}
