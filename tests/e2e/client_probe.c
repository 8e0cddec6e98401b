/*
 * One call of libvow's client as a program, for tests that break the network under it:
 *   client_probe URL TIMEOUT_MS begin | enlist ID URL | commit ID | abort ID | one-shot KEY URL...
 * prints the error's name, the transaction's id ("-": not known) and the client's sentence.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vow/client.h>
#include <vow/error.h>

#define BRANCHES_MAX 8

static enum vow_error one_shot(struct vow_client *client, char **words, int count,
                               struct vow_transaction **out) {
  struct vow_branch_spec branches[BRANCHES_MAX] = {{0}};
  if (count < 1 || count > BRANCHES_MAX) return VOW_E_INVALID_ARGUMENT;
  for (int i = 1; i < count; i++) branches[i - 1].url = words[i];
  return vow_one_shot(client, words[0], 0, branches, (size_t)count - 1, out);
}

static enum vow_error call(struct vow_client *client, char **words, int count,
                           struct vow_transaction **out) {
  const char *name = words[0];
  if (strcmp(name, "begin") == 0) return vow_begin(client, 0, out);
  if (strcmp(name, "one-shot") == 0) return one_shot(client, words + 1, count - 1, out);
  if (count < 2) return VOW_E_INVALID_ARGUMENT;
  enum vow_error error = vow_join(client, words[1], out);
  if (error != VOW_OK) return error;
  if (strcmp(name, "commit") == 0) return vow_commit(*out);
  if (strcmp(name, "abort") == 0) return vow_abort(*out);
  if (strcmp(name, "enlist") == 0 && count == 3)
    return vow_enlist(*out, words[2], "probe", NULL, NULL);
  return VOW_E_INVALID_ARGUMENT;
}

int main(int argc, char **argv) {
  struct vow_client *client = NULL;
  struct vow_transaction *transaction = NULL;
  if (argc < 4 || vow_client_open(&client, argv[1]) != VOW_OK) return 2;
  vow_client_set_timeout(client, (uint32_t)strtoul(argv[2], NULL, 10));
  enum vow_error error = call(client, argv + 3, argc - 3, &transaction);
  printf("%s %s %s\n", vow_error_slug(error),
         transaction != NULL ? vow_transaction_id(transaction) : "-", vow_client_error());
  vow_transaction_free(transaction);
  vow_client_close(client);
  return 0;
}
