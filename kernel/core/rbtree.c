/*
 * Red-black tree: every path from the root to a leaf passes the same number of black nodes and no
 * red node has a red child, so that the height is at most 2 log2(n + 1). NULL leaves count as
 * black.
 */
#include "core/rbtree.h"

static bool is_red(const struct rb_node *n)
{
    return n && n->red;
}

/* Puts `new` where `old` hangs below its parent. */
static void replace_child(struct rb_tree *t, struct rb_node *old, struct rb_node *new)
{
    struct rb_node *parent = old->parent;
    if (!parent)
        t->root = new;
    else if (parent->left == old)
        parent->left = new;
    else
        parent->right = new;
    if (new)
        new->parent = parent;
}

static void rotate_left(struct rb_tree *t, struct rb_node *n)
{
    struct rb_node *up = n->right;
    replace_child(t, n, up);
    n->right = up->left;
    if (n->right)
        n->right->parent = n;
    up->left = n;
    n->parent = up;
}

static void rotate_right(struct rb_tree *t, struct rb_node *n)
{
    struct rb_node *up = n->left;
    replace_child(t, n, up);
    n->left = up->right;
    if (n->left)
        n->left->parent = n;
    up->right = n;
    n->parent = up;
}

static void fix_insert(struct rb_tree *t, struct rb_node *n)
{
    struct rb_node *parent;
    while ((parent = n->parent) && parent->red) {
        struct rb_node *grand = parent->parent;
        struct rb_node *uncle = grand->left == parent ? grand->right : grand->left;
        if (is_red(uncle)) {
            parent->red = uncle->red = false;
            grand->red = true;
            n = grand;
            continue;
        }
        if (grand->left == parent) {
            if (parent->right == n) {
                rotate_left(t, parent);
                parent = n;
            }
            rotate_right(t, grand);
        } else {
            if (parent->left == n) {
                rotate_right(t, parent);
                parent = n;
            }
            rotate_left(t, grand);
        }
        parent->red = false;
        grand->red = true;
        break;
    }
    t->root->red = false;
}

void rb_insert(struct rb_tree *t, struct rb_node *n, rb_compare_fn compare)
{
    struct rb_node **at = &t->root, *parent = NULL;
    while (*at) {
        parent = *at;
        at = compare(n, parent) < 0 ? &parent->left : &parent->right;
    }
    *n = (struct rb_node){.parent = parent, .red = true};
    *at = n;
    fix_insert(t, n);
}

/* n (maybe NULL, below parent) is one black node short. */
static void fix_remove(struct rb_tree *t, struct rb_node *n, struct rb_node *parent)
{
    while (n != t->root && !is_red(n)) {
        bool left = parent->left == n;
        struct rb_node *sibling = left ? parent->right : parent->left;
        if (sibling->red) {
            sibling->red = false;
            parent->red = true;
            if (left)
                rotate_left(t, parent);
            else
                rotate_right(t, parent);
            continue;
        }
        struct rb_node *near = left ? sibling->left : sibling->right;
        struct rb_node *far = left ? sibling->right : sibling->left;
        if (!is_red(near) && !is_red(far)) {
            sibling->red = true;
            n = parent;
            parent = n->parent;
            continue;
        }
        if (!is_red(far)) {
            near->red = false;
            sibling->red = true;
            if (left)
                rotate_right(t, sibling);
            else
                rotate_left(t, sibling);
            far = sibling;
            sibling = near;
        }
        sibling->red = parent->red;
        parent->red = false;
        far->red = false;
        if (left)
            rotate_left(t, parent);
        else
            rotate_right(t, parent);
        n = t->root;
    }
    if (n)
        n->red = false;
}

void rb_remove(struct rb_tree *t, struct rb_node *n)
{
    struct rb_node *child, *parent;
    bool removed_red = n->red;
    if (n->left && n->right) {
        /* The next in order takes n's place and colour. */
        struct rb_node *next = n->right;
        while (next->left)
            next = next->left;
        removed_red = next->red;
        child = next->right;
        parent = next->parent == n ? next : next->parent;
        replace_child(t, next, child);
        replace_child(t, n, next);
        next->left = n->left;
        next->left->parent = next;
        next->right = n->right;
        if (next->right)
            next->right->parent = next;
        next->red = n->red;
    } else {
        child = n->left ? n->left : n->right;
        parent = n->parent;
        replace_child(t, n, child);
    }
    if (!removed_red)
        fix_remove(t, child, parent);
    *n = (struct rb_node){0};
}

struct rb_node *rb_first(const struct rb_tree *t)
{
    struct rb_node *n = t->root;
    while (n && n->left)
        n = n->left;
    return n;
}

struct rb_node *rb_last(const struct rb_tree *t)
{
    struct rb_node *n = t->root;
    while (n && n->right)
        n = n->right;
    return n;
}

struct rb_node *rb_next(const struct rb_node *n)
{
    if (n->right) {
        n = n->right;
        while (n->left)
            n = n->left;
        return (struct rb_node *)n;
    }
    while (n->parent && n->parent->right == n)
        n = n->parent;
    return n->parent;
}

struct rb_node *rb_prev(const struct rb_node *n)
{
    if (n->left) {
        n = n->left;
        while (n->right)
            n = n->right;
        return (struct rb_node *)n;
    }
    while (n->parent && n->parent->left == n)
        n = n->parent;
    return n->parent;
}
