/* Pure parts of core: red-black tree, SipHash, lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/list.h"
#include "core/rand.h"
#include "core/rbtree.h"

struct item {
    struct rb_node node;
    uint32_t key;
    bool in;
};

static int compare(const struct rb_node *a, const struct rb_node *b)
{
    uint32_t x = container_of(a, struct item, node)->key;
    uint32_t y = container_of(b, struct item, node)->key;
    return x < y ? -1 : x > y;
}

/* The black height, or -1 if a rule is broken. */
static int check(const struct rb_node *n, const struct rb_node *parent)
{
    if (!n)
        return 1;
    if (n->parent != parent || (n->red && parent && parent->red))
        return -1;
    int left = check(n->left, n), right = check(n->right, n);
    return left < 0 || left != right ? -1 : left + !n->red;
}

static void tree_stays_balanced_and_ordered(void **state)
{
    (void)state;
    static struct item items[500];
    struct rb_tree t = {0};
    size_t in = 0;
    for (int step = 0; step < 20000; step++) {
        struct item *it = &items[rand_u32() % ARRAY_SIZE(items)];
        if (it->in) {
            rb_remove(&t, &it->node);
            in--;
        } else {
            it->key = rand_u32() % 1000;
            rb_insert(&t, &it->node, compare);
            in++;
        }
        it->in = !it->in;
        if (step % 50)
            continue;
        assert_true(check(t.root, NULL) > 0);
        size_t forward = 0, backward = 0;
        uint32_t last = 0;
        for (struct rb_node *n = rb_first(&t); n; n = rb_next(n), forward++) {
            assert_true(container_of(n, struct item, node)->key >= last);
            last = container_of(n, struct item, node)->key;
        }
        for (struct rb_node *n = rb_last(&t); n; n = rb_prev(n))
            backward++;
        assert_int_equal(forward, in);
        assert_int_equal(backward, in);
    }
}

/* The test vectors of the SipHash paper's reference implementation: key 00..0f, input 00 01 02 ...
 */
static void siphash_matches_the_reference(void **state)
{
    (void)state;
    const uint64_t key[2] = {0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};
    uint8_t in[15];
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)i;
    assert_true(siphash(in, 0, key) == 0x726fdb47dd0e0e31ULL);
    assert_true(siphash(in, 15, key) == 0xa129ca6149be45e5ULL);
}

struct member {
    struct list link;
    int n;
};

static void lists_keep_order(void **state)
{
    (void)state;
    struct list a = LIST_INIT(a), b = LIST_INIT(b);
    struct member m[4] = {{.n = 0}, {.n = 1}, {.n = 2}, {.n = 3}};
    list_push_back(&a, &m[1].link);
    list_push_front(&a, &m[0].link);
    list_push_back(&b, &m[2].link);
    list_push_back(&b, &m[3].link);
    list_append(&a, &b);
    assert_true(list_empty(&b));
    int next = 0;
    struct member *it, *tmp;
    list_for_each_safe (it, tmp, &a, link) {
        assert_int_equal(it->n, next++);
        list_remove(&it->link);
    }
    assert_int_equal(next, 4);
    assert_null(list_pop_front(&a, struct member, link));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tree_stays_balanced_and_ordered),
        cmocka_unit_test(siphash_matches_the_reference),
        cmocka_unit_test(lists_keep_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
