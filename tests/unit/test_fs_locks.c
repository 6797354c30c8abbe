/* File locks: ranges, owners, waiting, deadlock. */
#include "test_fs_util.h"

#include "core/thread.h"

static struct file *f;
static int a, b, c; /* owners */

static int take(enum file_lock_kind kind, void *owner, bool exclusive, uint64_t start, uint64_t end,
                bool wait)
{
    struct file_lock l = {
        .kind = kind, .owner = owner, .exclusive = exclusive, .start = start, .end = end};
    return vnode_lock(f->vnode, &l, false, wait);
}

static int drop(enum file_lock_kind kind, void *owner, uint64_t start, uint64_t end)
{
    struct file_lock l = {.kind = kind, .owner = owner, .start = start, .end = end};
    return vnode_lock(f->vnode, &l, true, false);
}

/* Who holds a byte against c's wish for it: start of the lock, or -1. */
static int64_t held_at(uint64_t at)
{
    struct file_lock want = {
        .kind = LOCK_POSIX, .owner = &c, .exclusive = true, .start = at, .end = at};
    struct file_lock got;
    return vnode_lock_test(f->vnode, &want, &got) ? (int64_t)got.start : -1;
}

static size_t count(void)
{
    size_t n = 0;
    struct file_lock *l;
    list_for_each (l, &f->vnode->locks, link)
        n++;
    return n;
}

static int open_it(void **state)
{
    (void)state;
    f = must_open("/lock", OPEN_RDWR | OPEN_CREAT, 0644);
    return 0;
}

static int close_it(void **state)
{
    (void)state;
    vnode_unlock_owner(f->vnode, LOCK_POSIX, &a);
    vnode_unlock_owner(f->vnode, LOCK_POSIX, &b);
    vnode_unlock_owner(f->vnode, LOCK_POSIX, &c);
    assert_int_equal(count(), 0);
    file_put(f);
    return 0;
}

static void ranges_split_and_merge(void **state)
{
    (void)state;
    assert_int_equal(take(LOCK_POSIX, &a, true, 10, 19, false), 0);
    assert_int_equal(take(LOCK_POSIX, &a, true, 20, 29, false), 0);
    assert_int_equal(count(), 1);
    assert_int_equal(held_at(25), 10);
    assert_int_equal(drop(LOCK_POSIX, &a, 14, 15), 0);
    assert_int_equal(count(), 2);
    assert_int_equal(held_at(13), 10);
    assert_int_equal(held_at(14), -1);
    assert_int_equal(held_at(16), 16);
    assert_int_equal(take(LOCK_POSIX, &b, true, 14, 15, false), 0);
    assert_int_equal(take(LOCK_POSIX, &b, true, 14, 16, false), -EAGAIN);
    assert_int_equal(take(LOCK_POSIX, &a, false, 12, 13, false), 0); /* half of it weaker */
    assert_int_equal(count(), 4);
    assert_int_equal(take(LOCK_POSIX, &b, false, 13, 13, false), 0);
    assert_int_equal(take(LOCK_POSIX, &b, false, 11, 13, false), -EAGAIN);
    assert_int_equal(drop(LOCK_POSIX, &a, 0, UINT64_MAX), 0);
    assert_int_equal(take(LOCK_POSIX, &b, true, 0, UINT64_MAX, false), 0);
    assert_int_equal(count(), 1);
    assert_int_equal(take(LOCK_POSIX, &a, true, 5, 4, false), -EINVAL);
}

static void kinds_and_owners(void **state)
{
    (void)state;
    assert_int_equal(take(LOCK_POSIX, &a, true, 0, 9, false), 0);
    assert_int_equal(take(LOCK_OFD, f, true, 5, 6, false), -EAGAIN);
    assert_int_equal(take(LOCK_OFD, f, true, 10, 11, false), 0);
    assert_int_equal(take(LOCK_FLOCK, f, true, 0, 0, false), 0); /* another world */
    struct file *g = must_open("/lock", OPEN_RDONLY, 0);
    assert_int_equal(take(LOCK_FLOCK, g, false, 0, 0, false), -EAGAIN);
    assert_int_equal(take(LOCK_FLOCK, f, false, 0, 0, false), 0);
    assert_int_equal(take(LOCK_FLOCK, g, false, 0, 0, false), 0);
    assert_int_equal(take(LOCK_FLOCK, g, true, 0, 0, false), -EAGAIN);
    assert_int_equal(count(), 3); /* the failed change lost the old lock */
    file_put(g);
    assert_int_equal(take(LOCK_FLOCK, f, true, 0, 0, false), 0);
    assert_int_equal(drop(LOCK_FLOCK, f, 0, 0), 0);
    assert_int_equal(drop(LOCK_OFD, f, 0, UINT64_MAX), 0);
    file_closed(f, &a); /* close of any descriptor drops the process' record locks */
    assert_int_equal(count(), 0);
}

static int results[2];

static void wait_for_it(void *arg)
{
    int *who = arg;
    results[who == &b] = take(LOCK_POSIX, who, true, 0, 0, true);
    thread_exit();
}

static void waiters_get_their_turn(void **state)
{
    (void)state;
    struct thread *t;
    results[1] = 1;
    assert_int_equal(take(LOCK_POSIX, &a, true, 0, 0, false), 0);
    assert_int_equal(thread_create(&t, wait_for_it, &b, "b"), 0);
    floor_run();
    assert_int_equal(results[1], 1);
    assert_int_equal(drop(LOCK_POSIX, &a, 0, 0), 0);
    floor_run();
    assert_int_equal(results[1], 0);
}

static void circles_are_refused(void **state)
{
    (void)state;
    struct thread *t;
    results[1] = 1;
    assert_int_equal(take(LOCK_POSIX, &a, true, 0, 0, false), 0);
    assert_int_equal(take(LOCK_POSIX, &b, true, 1, 1, false), 0);
    assert_int_equal(take(LOCK_POSIX, &c, true, 2, 2, false), 0);
    assert_int_equal(thread_create(&t, wait_for_it, &b, "b"), 0);
    floor_run();
    assert_int_equal(results[1], 1); /* b waits for a */
    assert_int_equal(take(LOCK_POSIX, &a, true, 1, 1, true), -EDEADLK);
    assert_int_equal(take(LOCK_POSIX, &a, true, 0, 5, true), -EDEADLK);
    vnode_unlock_owner(f->vnode, LOCK_POSIX, &a);
    floor_run();
    assert_int_equal(results[1], 0);
}

static void waiting_can_be_interrupted(void **state)
{
    (void)state;
    struct thread *t;
    results[1] = 1;
    assert_int_equal(take(LOCK_POSIX, &a, true, 0, 0, false), 0);
    assert_int_equal(thread_create(&t, wait_for_it, &b, "b"), 0);
    floor_run();
    thread_interrupt(t);
    floor_run();
    assert_int_equal(results[1], -ERESTARTSYS);
    assert_int_equal(count(), 1);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, open_it, close_it)
    const struct CMUnitTest tests[] = {
        TEST(ranges_split_and_merge),     TEST(kinds_and_owners),
        TEST(waiters_get_their_turn),     TEST(circles_are_refused),
        TEST(waiting_can_be_interrupted),
    };
    return cmocka_run_group_tests(tests, make_root, NULL);
}
