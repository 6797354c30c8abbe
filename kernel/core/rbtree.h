/*
 * Intrusive red-black tree (ordered map) for timers, address-space regions, directory entries.
 * Not locked; the caller does.
 */
#ifndef CORE_RBTREE_H
#define CORE_RBTREE_H

#include "core/base.h"

struct rb_node {
    struct rb_node *parent, *left, *right;
    bool red;
};

struct rb_tree {
    struct rb_node *root;
};

/* Negative, 0 or positive as a is before, at or after b. */
typedef int (*rb_compare_fn)(const struct rb_node *a, const struct rb_node *b);

/* Inserts n; equal nodes go behind those that are there. */
void rb_insert(struct rb_tree *t, struct rb_node *n, rb_compare_fn compare);
void rb_remove(struct rb_tree *t, struct rb_node *n);
/* In order; NULL at the end. */
struct rb_node *rb_first(const struct rb_tree *t);
struct rb_node *rb_last(const struct rb_tree *t);
struct rb_node *rb_next(const struct rb_node *n);
struct rb_node *rb_prev(const struct rb_node *n);

#endif
