/* Red-black trees. Missing children are NULL and count as black. */
#include "core/rbtree.h"

static bool is_red(const struct rb_node *n)
{
    return n && n->red;
}

static void replace_child(struct rb_tree *t, struct rb_node *parent, struct rb_node *old,
                          struct rb_node *new)
{
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
    struct rb_node *r = n->right;

    replace_child(t, n->parent, n, r);
    n->right = r->left;
    if (r->left)
        r->left->parent = n;
    r->left = n;
    n->parent = r;
}

static void rotate_right(struct rb_tree *t, struct rb_node *n)
{
    struct rb_node *l = n->left;

    replace_child(t, n->parent, n, l);
    n->left = l->right;
    if (l->right)
        l->right->parent = n;
    l->right = n;
    n->parent = l;
}

void rb_insert(struct rb_tree *t, struct rb_node *n, rb_compare_fn compare)
{
    struct rb_node *parent = NULL, **link = &t->root;

    while (*link) {
        parent = *link;
        link = compare(n, parent) < 0 ? &parent->left : &parent->right;
    }
    n->parent = parent;
    n->left = n->right = NULL;
    n->red = true;
    *link = n;

    /* A red node's parent may not be red. */
    while (is_red(n->parent)) {
        struct rb_node *p = n->parent, *g = p->parent;
        bool left = p == g->left;
        struct rb_node *uncle = left ? g->right : g->left;
        if (is_red(uncle)) {
            p->red = uncle->red = false;
            g->red = true;
            n = g;
            continue;
        }
        if (n == (left ? p->right : p->left)) {
            if (left)
                rotate_left(t, p);
            else
                rotate_right(t, p);
            p = n;
        }
        p->red = false;
        g->red = true;
        if (left)
            rotate_right(t, g);
        else
            rotate_left(t, g);
        break;
    }
    t->root->red = false;
}

/* The subtree at n (may be NULL; child of parent) lacks one black node. */
static void fix_removed(struct rb_tree *t, struct rb_node *n, struct rb_node *parent)
{
    while (parent && !is_red(n)) {
        bool left = n == parent->left;
        struct rb_node *s = left ? parent->right : parent->left;
        if (s->red) {
            s->red = false;
            parent->red = true;
            if (left)
                rotate_left(t, parent);
            else
                rotate_right(t, parent);
            s = left ? parent->right : parent->left;
        }
        struct rb_node *near = left ? s->left : s->right, *far = left ? s->right : s->left;
        if (!is_red(near) && !is_red(far)) {
            s->red = true;
            n = parent;
            parent = n->parent;
            continue;
        }
        if (!is_red(far)) {
            near->red = false;
            s->red = true;
            if (left)
                rotate_right(t, s);
            else
                rotate_left(t, s);
            s = near;
            far = left ? s->right : s->left;
        }
        s->red = parent->red;
        parent->red = false;
        far->red = false;
        if (left)
            rotate_left(t, parent);
        else
            rotate_right(t, parent);
        return;
    }
    if (n)
        n->red = false;
}

void rb_remove(struct rb_tree *t, struct rb_node *n)
{
    struct rb_node *child, *parent;
    bool black;

    if (n->left && n->right) {
        /* The next node, which has no left child, takes its place. */
        struct rb_node *next = n->right;
        while (next->left)
            next = next->left;
        child = next->right;
        parent = next->parent == n ? next : next->parent;
        black = !next->red;
        if (next->parent != n) {
            replace_child(t, next->parent, next, child);
            next->right = n->right;
            n->right->parent = next;
        }
        replace_child(t, n->parent, n, next);
        next->left = n->left;
        n->left->parent = next;
        next->red = n->red;
    } else {
        child = n->left ? n->left : n->right;
        parent = n->parent;
        black = !n->red;
        replace_child(t, parent, n, child);
    }
    if (black)
        fix_removed(t, child, parent);
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
        for (n = n->right; n->left;)
            n = n->left;
        return (struct rb_node *)n;
    }
    while (n->parent && n == n->parent->right)
        n = n->parent;
    return n->parent;
}

struct rb_node *rb_prev(const struct rb_node *n)
{
    if (n->left) {
        for (n = n->left; n->right;)
            n = n->right;
        return (struct rb_node *)n;
    }
    while (n->parent && n == n->parent->left)
        n = n->parent;
    return n->parent;
}
