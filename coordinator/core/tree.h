/*
 * An intrusive ordered tree (a treap with subtree counts): find, the first at or above a key, the
 * last below one, and the n-th, in logarithmic expected time. It allocates nothing, so it cannot
 * fail. The shape comes from a generator of its own and can't be chosen by whoever chooses the
 * keys. Private to the core.
 */
#ifndef VOW_CORE_TREE_H
#define VOW_CORE_TREE_H

#include <stdint.h>

struct core_tree_node {
  struct core_tree_node *left;
  struct core_tree_node *right;
  uint32_t count; /* of this subtree */
  uint32_t priority;
};

struct core_tree {
  struct core_tree_node *root;
  int (*compare)(const void *key, const struct core_tree_node *node); /* <0, 0, >0 */
  uint64_t seed;
};

/* The key is the node's and is in no other node of the tree. */
void core_tree_insert(struct core_tree *tree, const void *key, struct core_tree_node *node);
void core_tree_remove(struct core_tree *tree, const void *key, struct core_tree_node *node);

struct core_tree_node *core_tree_find(const struct core_tree *tree, const void *key);
struct core_tree_node *core_tree_at_least(const struct core_tree *tree, const void *key);
struct core_tree_node *core_tree_below(const struct core_tree *tree, const void *key);
struct core_tree_node *core_tree_at(const struct core_tree *tree, uint32_t index);
uint32_t core_tree_count(const struct core_tree *tree);

#endif
