/*
 * The treap of tree.h. Invariants: an inorder walk ascends by key; no child has a higher priority
 * than its parent; count is that of the subtree. Only the core calls it.
 */
#include "tree.h"

#include <stddef.h>

static uint32_t count_of(const struct core_tree_node *node) {
  return node == NULL ? 0 : node->count;
}

static void recount(struct core_tree_node *node) {
  node->count = 1 + count_of(node->left) + count_of(node->right);
}

/* Splits a subtree into what is below the key and the rest. */
static void split(const struct core_tree *tree, struct core_tree_node *root, const void *key,
                  struct core_tree_node **below, struct core_tree_node **rest) {
  if (root == NULL) {
    *below = NULL;
    *rest = NULL;
    return;
  }
  if (tree->compare(key, root) <= 0) {
    split(tree, root->left, key, below, &root->left);
    *rest = root;
  } else {
    split(tree, root->right, key, &root->right, rest);
    *below = root;
  }
  recount(root);
}

/* Joins two subtrees, all of `left` being below all of `right`. */
static struct core_tree_node *join(struct core_tree_node *left, struct core_tree_node *right) {
  if (left == NULL) return right;
  if (right == NULL) return left;
  if (left->priority >= right->priority) {
    left->right = join(left->right, right);
    recount(left);
    return left;
  }
  right->left = join(left, right->left);
  recount(right);
  return right;
}

void core_tree_insert(struct core_tree *tree, const void *key, struct core_tree_node *node) {
  struct core_tree_node **place = &tree->root;

  tree->seed = tree->seed * 6364136223846793005U + 1442695040888963407U;
  node->priority = (uint32_t)(tree->seed >> 32);
  while (*place != NULL && (*place)->priority >= node->priority) {
    (*place)->count++;
    place = tree->compare(key, *place) < 0 ? &(*place)->left : &(*place)->right;
  }
  split(tree, *place, key, &node->left, &node->right);
  recount(node);
  *place = node;
}

void core_tree_remove(struct core_tree *tree, const void *key, struct core_tree_node *node) {
  struct core_tree_node **place = &tree->root;

  while (*place != node) {
    (*place)->count--;
    place = tree->compare(key, *place) < 0 ? &(*place)->left : &(*place)->right;
  }
  *place = join(node->left, node->right);
  node->left = NULL;
  node->right = NULL;
}

struct core_tree_node *core_tree_find(const struct core_tree *tree, const void *key) {
  struct core_tree_node *node = core_tree_at_least(tree, key);
  return node != NULL && tree->compare(key, node) == 0 ? node : NULL;
}

struct core_tree_node *core_tree_at_least(const struct core_tree *tree, const void *key) {
  struct core_tree_node *node = tree->root;
  struct core_tree_node *best = NULL;

  while (node != NULL) {
    if (tree->compare(key, node) <= 0) {
      best = node;
      node = node->left;
    } else {
      node = node->right;
    }
  }
  return best;
}

struct core_tree_node *core_tree_below(const struct core_tree *tree, const void *key) {
  struct core_tree_node *node = tree->root;
  struct core_tree_node *best = NULL;

  while (node != NULL) {
    if (tree->compare(key, node) > 0) {
      best = node;
      node = node->right;
    } else {
      node = node->left;
    }
  }
  return best;
}

struct core_tree_node *core_tree_at(const struct core_tree *tree, uint32_t index) {
  struct core_tree_node *node = tree->root;

  while (node != NULL && index != count_of(node->left)) {
    if (index < count_of(node->left)) {
      node = node->left;
    } else {
      index -= count_of(node->left) + 1;
      node = node->right;
    }
  }
  return node;
}

uint32_t core_tree_count(const struct core_tree *tree) {
  return count_of(tree->root);
}
