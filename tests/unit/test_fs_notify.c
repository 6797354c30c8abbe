/* Watches on files; restricted walks, attributes and seals, which hang on the same vnodes. */
#include "test_fs_util.h"

#include "fs/notify.h"

struct hearing {
    struct vnode_watch watch;
    uint32_t wanted;
    char text[512]; /* "mask[:name] " per event */
    size_t len;
    uint32_t cookie; /* of the last event */
    bool once, ended;
};

static bool hear(struct vnode_watch *w, const struct notify_event *e)
{
    struct hearing *h = container_of(w, struct hearing, watch);
    if (!(e->mask & h->wanted))
        return false;
    h->len += snprintf(h->text + h->len, sizeof(h->text) - h->len, "%x%s%.*s ", e->mask,
                       e->len ? ":" : "", (int)e->len, e->len ? e->name : "");
    h->cookie = e->cookie;
    return h->once;
}

static void end(struct vnode_watch *w)
{
    container_of(w, struct hearing, watch)->ended = true;
}

static int watch(struct hearing *h, const char *name, uint32_t wanted)
{
    struct path p;
    *h = (struct hearing){.watch = {.event = hear, .ended = end}, .wanted = wanted};
    assert_int_equal(vfs_lookup(root(), NULL, name, 0, &p), 0);
    notify_lock();
    int err = notify_attach(path_vnode(&p), &h->watch);
    notify_unlock();
    path_put(&p);
    return err;
}

static void unwatch(struct hearing *h)
{
    notify_lock();
    notify_detach(&h->watch);
    notify_unlock();
}

static const char *heard(struct hearing *h)
{
    h->len = 0;
    return h->text;
}

static void names_are_told_to_their_directory(void **state)
{
    (void)state;
    struct hearing d;
    assert_int_equal(vfs_mkdir(root(), NULL, "/d", 0755), 0);
    assert_int_equal(watch(&d, "/d", NOTIFY_CREATE | NOTIFY_DELETE | NOTIFY_OPEN), 0);
    put_file("/d/f", "x");
    assert_int_equal(vfs_mkdir(root(), NULL, "/d/sub", 0755), 0);
    assert_string_equal(heard(&d), "100:f 20:f 40000100:sub ");
    assert_int_equal(vfs_unlink(root(), NULL, "/d/f", false), 0);
    assert_int_equal(vfs_unlink(root(), NULL, "/d/sub", true), 0);
    assert_string_equal(heard(&d), "200:f 40000200:sub ");
    unwatch(&d);
    put_file("/d/f", "x");
    assert_int_equal(d.len, 0);
}

static void a_rename_is_told_to_both(void **state)
{
    (void)state;
    struct hearing a, b, f;
    uint32_t moves = NOTIFY_MOVED_FROM | NOTIFY_MOVED_TO;
    assert_int_equal(vfs_mkdir(root(), NULL, "/a", 0755), 0);
    assert_int_equal(vfs_mkdir(root(), NULL, "/b", 0755), 0);
    put_file("/a/f", "x");
    assert_int_equal(watch(&a, "/a", moves), 0);
    assert_int_equal(watch(&b, "/b", moves), 0);
    assert_int_equal(watch(&f, "/a/f", NOTIFY_MOVE_SELF), 0);
    assert_int_equal(vfs_rename(root(), NULL, "/a/f", NULL, "/b/g", 0), 0);
    assert_string_equal(heard(&a), "40:f ");
    assert_string_equal(heard(&b), "80:g ");
    assert_string_equal(heard(&f), "800 ");
    assert_true(a.cookie && a.cookie == b.cookie);
    unwatch(&a);
    unwatch(&b);
    unwatch(&f);
}

static void a_file_ends_once_nobody_has_it(void **state)
{
    (void)state;
    struct hearing h, again;
    put_file("/e", "x");
    struct file *f = must_open("/e", OPEN_RDONLY, 0);
    assert_int_equal(watch(&h, "/e", NOTIFY_DELETE_SELF | NOTIFY_ATTRIB), 0);
    assert_int_equal(watch(&again, "/e", NOTIFY_ATTRIB), 0);
    again.once = true;
    assert_int_equal(vfs_unlink(root(), NULL, "/e", false), 0);
    assert_string_equal(heard(&h), "4 ");
    assert_true(again.ended && !h.ended);
    file_put(f);
    assert_string_equal(heard(&h), "400 ");
    assert_true(h.ended);
}

static void a_file_system_goes(void **state)
{
    (void)state;
    struct hearing h;
    assert_int_equal(vfs_mkdir(root(), NULL, "/mnt", 0755), 0);
    assert_int_equal(vfs_mount(root(), tmpfs_create(0), "/mnt", "none", 0), 0);
    put_file("/mnt/f", "x");
    assert_int_equal(watch(&h, "/mnt/f", NOTIFY_UNMOUNT | NOTIFY_DELETE_SELF), 0);
    assert_int_equal(vfs_umount(root(), "/mnt"), 0);
    assert_string_equal(heard(&h), "2000 ");
    assert_true(h.ended);
}

static int restricted(unsigned resolve, const char *at, const char *name)
{
    struct path start;
    struct fs_context ctx = *root();
    assert_int_equal(vfs_lookup(root(), NULL, at, LOOKUP_DIRECTORY, &start), 0);
    ctx.resolve = resolve;
    if (resolve & (WALK_BENEATH | WALK_IN_ROOT))
        ctx.root = start;
    struct path p;
    int err = vfs_lookup(&ctx, &start, name, LOOKUP_FOLLOW, &p);
    if (!err)
        path_put(&p);
    path_put(&start);
    return err;
}

static void walks_are_restricted(void **state)
{
    (void)state;
    assert_int_equal(vfs_mkdir(root(), NULL, "/w", 0755), 0);
    assert_int_equal(vfs_mkdir(root(), NULL, "/w/m", 0755), 0);
    assert_int_equal(vfs_mount(root(), tmpfs_create(0), "/w/m", "none", 0), 0);
    put_file("/w/in", "x");
    put_file("/w/m/x", "x");
    assert_int_equal(vfs_symlink(root(), "/in", NULL, "/w/abs"), 0);
    assert_int_equal(restricted(0, "/w", "../w/m/x"), 0);
    assert_int_equal(restricted(WALK_NO_XDEV, "/w", "m/x"), -EXDEV);
    assert_int_equal(restricted(WALK_NO_XDEV, "/w", "m/.."), -EXDEV);
    assert_int_equal(restricted(WALK_NO_XDEV, "/w/m", ".."), -EXDEV);
    assert_int_equal(restricted(WALK_NO_XDEV, "/w/m", "x"), 0);
    assert_int_equal(restricted(WALK_BENEATH, "/w", "m/../in"), 0);
    assert_int_equal(restricted(WALK_BENEATH, "/w", "m/../../w/in"), -EXDEV);
    assert_int_equal(restricted(WALK_BENEATH, "/w", "abs"), -EXDEV);
    assert_int_equal(restricted(WALK_BENEATH, "/w", "/w/in"), -EXDEV);
    assert_int_equal(restricted(WALK_IN_ROOT, "/w", "abs"), 0);
    assert_int_equal(restricted(WALK_IN_ROOT, "/w", "/../../in"), 0);
    assert_int_equal(restricted(WALK_NO_SYMLINKS, "/w", "abs"), -ELOOP);
    assert_int_equal(vfs_umount(root(), "/w/m"), 0);
}

static void attributes_are_bounded(void **state)
{
    (void)state;
    static char value[XATTR_SIZE_MAX], list[64];
    struct cred c;
    struct fs_context alice = user(&c, 1001, 100, -1);
    put_file("/x", "x");
    struct file *f = must_open("/x", OPEN_RDWR, 0);
    struct vnode *v = f->vnode;
    assert_int_equal(vfs_setxattr(root(), v, "user.a", value, sizeof(value), 0), 0);
    assert_int_equal(vfs_setxattr(root(), v, "user.b", value, sizeof(value), 0), -ENOSPC);
    assert_int_equal(vfs_setxattr(root(), v, "trusted.t", "1", 1, 0), 0);
    assert_int_equal(vfs_setxattr(root(), v, "security.capability", "1", 1, 0), -EOPNOTSUPP);
    assert_int_equal(vfs_getxattr(&alice, v, "trusted.t", list, 8), -ENODATA);
    assert_int_equal(vfs_setxattr(&alice, v, "user.a", "1", 1, 0), -EACCES);
    assert_int_equal(vfs_listxattr(&alice, v, list, sizeof(list)), 7);
    assert_int_equal(vfs_listxattr(root(), v, list, sizeof(list)), 7 + 10);
    assert_int_equal(vfs_removexattr(root(), v, "user.a"), 0);
    assert_int_equal(vfs_getxattr(root(), v, "user.a", NULL, 0), -ENODATA);
    file_put(f);
}

static void seals_and_mappings_exclude_each_other(void **state)
{
    (void)state;
    put_file("/s", "sealed");
    struct file *f = must_open("/s", OPEN_RDWR, 0);
    struct vnode *v = f->vnode;
    assert_int_equal(vnode_add_seals(v, SEAL_WRITE), -EINVAL);
    v->sealable = true;
    assert_int_equal(vnode_begin_writable_mapping(v), 0);
    assert_int_equal(vnode_add_seals(v, SEAL_WRITE), -EBUSY);
    vnode_end_writable_mapping(v);
    assert_int_equal(vnode_add_seals(v, SEAL_WRITE | SEAL_SHRINK), 0);
    assert_int_equal(vnode_begin_writable_mapping(v), -EPERM);
    assert_int_equal(write_at(f, "x", 1, 0), -EPERM);
    assert_int_equal(vnode_truncate(v, 2), -EPERM);
    assert_int_equal(vnode_truncate(v, 10), 0);
    assert_int_equal(vnode_add_seals(v, SEAL_SEAL | SEAL_GROW), 0);
    assert_int_equal(vnode_truncate(v, 11), -EPERM);
    assert_int_equal(vnode_add_seals(v, SEAL_GROW), -EPERM);
    file_put(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_told_to_their_directory),
        cmocka_unit_test(a_rename_is_told_to_both),
        cmocka_unit_test(a_file_ends_once_nobody_has_it),
        cmocka_unit_test(a_file_system_goes),
        cmocka_unit_test(walks_are_restricted),
        cmocka_unit_test(attributes_are_bounded),
        cmocka_unit_test(seals_and_mappings_exclude_each_other),
    };
    return cmocka_run_group_tests(tests, make_root, NULL);
}
