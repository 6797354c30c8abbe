/* What the tests of fs/ share: a root, users, and short forms of the calls. */
#ifndef TEST_FS_UTIL_H
#define TEST_FS_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "floor.h"
#include "fs/internal.h"

#define UNUSED __attribute__((unused))

/* Mounts an empty root once per test program. */
static UNUSED int make_root(void **state)
{
    (void)state;
    vfs_init();
    struct filesystem *root = tmpfs_create(0);
    return !root || vfs_mount(vfs_root_context(), root, "/", "rootfs", 0);
}

/* A context of an ordinary user in the groups gid and (optionally) extra. */
static UNUSED struct fs_context user(struct cred *c, uint32_t uid, uint32_t gid, int extra)
{
    *c = (struct cred){.uid = uid,
                       .euid = uid,
                       .suid = uid,
                       .fsuid = uid,
                       .gid = gid,
                       .egid = gid,
                       .sgid = gid,
                       .fsgid = gid};
    if (extra >= 0)
        c->groups[c->ngroups++] = extra;
    struct fs_context ctx = *vfs_root_context();
    ctx.cred = c;
    return ctx;
}

static UNUSED const struct fs_context *root(void)
{
    vfs_root_context()->umask = 0;
    return vfs_root_context();
}

static UNUSED struct file *must_open(const char *name, unsigned flags, uint32_t mode)
{
    struct file *f = NULL;
    assert_int_equal(vfs_open(root(), NULL, name, flags, mode, &f), 0);
    return f;
}

static UNUSED int try_open(const struct fs_context *ctx, const char *name, unsigned flags)
{
    struct file *f = NULL;
    int err = vfs_open(ctx, NULL, name, flags, 0644, &f);
    if (!err)
        file_put(f);
    return err;
}

static UNUSED ssize_t write_at(struct file *f, const void *data, size_t n, uint64_t pos)
{
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, (void *)(uintptr_t)data, n);
    return f->ops->write(f, &u, &pos);
}

static UNUSED ssize_t read_at(struct file *f, void *data, size_t n, uint64_t pos)
{
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, data, n);
    return f->ops->read(f, &u, &pos);
}

static UNUSED void put_file(const char *name, const char *text)
{
    struct file *f = must_open(name, OPEN_WRONLY | OPEN_CREAT | OPEN_TRUNC, 0644);
    assert_int_equal(write_at(f, text, strlen(text), 0), strlen(text));
    file_put(f);
}

/* The text of a file; static. NULL if it cannot be opened. */
static UNUSED const char *text_of(const char *name)
{
    static char text[16384];
    struct file *f;
    if (vfs_open(root(), NULL, name, OPEN_RDONLY, 0, &f))
        return NULL;
    ssize_t n = read_at(f, text, sizeof(text) - 1, 0);
    file_put(f);
    assert_true(n >= 0);
    text[n] = 0;
    return text;
}

static UNUSED struct vattr attr_of(const char *name)
{
    struct path p;
    struct vattr a = {0};
    assert_int_equal(vfs_lookup(root(), NULL, name, 0, &p), 0);
    assert_int_equal(vfs_getattr(&p, &a), 0);
    path_put(&p);
    return a;
}

/* 0 or the error of a look-up. */
static UNUSED int look(const struct fs_context *ctx, const char *name, unsigned flags)
{
    struct path p;
    int err = vfs_lookup(ctx, NULL, name, flags, &p);
    if (!err)
        path_put(&p);
    return err;
}

static UNUSED int change(const struct fs_context *ctx, const char *name, struct vattr a,
                         unsigned which)
{
    struct path p;
    int err = vfs_lookup(root(), NULL, name, 0, &p);
    if (err)
        return err;
    err = vfs_setattr(ctx, path_vnode(&p), &a, which);
    path_put(&p);
    return err;
}

static UNUSED void must_chmod(const char *name, uint32_t mode)
{
    assert_int_equal(change(root(), name, (struct vattr){.mode = mode}, SETATTR_MODE), 0);
}

static UNUSED void must_chown(const char *name, uint32_t uid, uint32_t gid)
{
    assert_int_equal(
        change(root(), name, (struct vattr){.uid = uid, .gid = gid}, SETATTR_UID | SETATTR_GID), 0);
}

static UNUSED void must_mkdir(const char *name, uint32_t mode)
{
    assert_int_equal(vfs_mkdir(root(), NULL, name, mode), 0);
}

static UNUSED void must_symlink(const char *target, const char *name)
{
    assert_int_equal(vfs_symlink(root(), target, NULL, name), 0);
}

static UNUSED int rename_to(const struct fs_context *ctx, const char *from, const char *to,
                            unsigned flags)
{
    return vfs_rename(ctx, NULL, from, NULL, to, flags);
}

/* The names in a directory, separated by blanks, in order; static. */
struct listing {
    struct dir_emit d;
    char text[8192];
    size_t len;
    int left; /* entries to take; negative: any */
};

static UNUSED bool list_one(struct dir_emit *d, const char *name, size_t len, uint64_t ino,
                            unsigned type, uint64_t next_pos)
{
    struct listing *l = container_of(d, struct listing, d);
    (void)type;
    assert_true(ino != 0 && next_pos > 0);
    if (l->left == 0)
        return false;
    l->left--;
    assert_true(l->len + len + 2 < sizeof(l->text));
    memcpy(l->text + l->len, name, len);
    l->len += len;
    l->text[l->len++] = ' ';
    l->text[l->len] = 0;
    return true;
}

static UNUSED const char *list_some(struct file *f, int count)
{
    static struct listing l;
    l = (struct listing){.d.emit = list_one, .left = count};
    assert_int_equal(f->ops->readdir(f, &l.d), 0);
    return l.text;
}

static UNUSED const char *list_dir(const char *name)
{
    struct file *f = must_open(name, OPEN_RDONLY | OPEN_DIRECTORY, 0);
    const char *text = list_some(f, -1);
    file_put(f);
    return text;
}

#endif
