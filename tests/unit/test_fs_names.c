/* Names: path walks, permissions, making, removing and renaming, mounts. */
#include "test_fs_util.h"

static void walks(void **state)
{
    (void)state;
    must_mkdir("/walk", 0755);
    must_mkdir("/walk/a", 0755);
    must_mkdir("/walk/a/b/", 0755);
    put_file("/walk/a/b/file", "text");
    assert_int_equal(look(root(), "/walk/a/b/file", 0), 0);
    assert_int_equal(look(root(), "//walk///a/./b/../b/file", 0), 0);
    assert_int_equal(look(root(), "/../../walk", 0), 0);
    assert_int_equal(look(root(), "/walk/a/b/file/", 0), -ENOTDIR);
    assert_int_equal(look(root(), "/walk/a/b/file/x", 0), -ENOTDIR);
    assert_int_equal(look(root(), "/walk/a/b/file/..", 0), -ENOTDIR);
    assert_int_equal(look(root(), "/walk/none/../a", 0), -ENOENT);
    assert_int_equal(look(root(), "/walk/none", 0), -ENOENT);
    assert_int_equal(look(root(), "/walk/none", 0), -ENOENT); /* from the cache */
    assert_int_equal(look(root(), "", 0), -ENOENT);
    assert_int_equal(look(root(), "/walk/a/b/file", LOOKUP_DIRECTORY), -ENOTDIR);

    char longest[VFS_NAME_MAX + 16] = "/walk/";
    memset(longest + 6, 'n', VFS_NAME_MAX + 1);
    assert_int_equal(look(root(), longest, 0), -ENAMETOOLONG);
    longest[6 + VFS_NAME_MAX] = 0;
    assert_int_equal(look(root(), longest, 0), -ENOENT);
    put_file(longest, "long");
    assert_string_equal(text_of(longest), "long");
    assert_int_equal(vfs_unlink(root(), NULL, longest, false), 0);

    struct path dir;
    assert_int_equal(vfs_lookup(root(), NULL, "/walk/a", 0, &dir), 0);
    struct path file;
    assert_int_equal(vfs_lookup(root(), &dir, "b/file", 0, &file), 0);
    char text[64];
    assert_int_equal(vfs_path_text(root(), &file, text, sizeof(text)), 14);
    assert_string_equal(text, "/walk/a/b/file");
    assert_int_equal(vfs_path_text(root(), &file, text, 14), -ENAMETOOLONG);
    struct fs_context inner = *root(); /* chroot */
    inner.root = inner.cwd = dir;
    assert_int_equal(vfs_path_text(&inner, &file, text, sizeof(text)), 7);
    assert_string_equal(text, "/b/file");
    assert_int_equal(look(&inner, "/../../b/file", 0), 0);
    assert_int_equal(look(&inner, "/walk", 0), -ENOENT);
    path_put(&file);
    path_put(&dir);
}

static void links(void **state)
{
    (void)state;
    must_mkdir("/ln", 0755);
    must_mkdir("/ln/dir", 0755);
    put_file("/ln/dir/file", "linked");
    must_symlink("/ln/dir", "/ln/abs");
    must_symlink("dir", "/ln/rel");
    must_symlink("dir/", "/ln/slash");
    must_symlink("rel/../abs/file", "/ln/chain");
    must_symlink("loop2", "/ln/loop1");
    must_symlink("loop1", "/ln/loop2");
    must_symlink("dir/new", "/ln/dangling");
    assert_string_equal(text_of("/ln/abs/file"), "linked");
    assert_string_equal(text_of("/ln/rel/file"), "linked");
    assert_string_equal(text_of("/ln/slash/file"), "linked");
    assert_string_equal(text_of("/ln/chain"), "linked");
    assert_int_equal(look(root(), "/ln/slash", LOOKUP_FOLLOW | LOOKUP_DIRECTORY), 0);
    assert_int_equal(look(root(), "/ln/loop1", LOOKUP_FOLLOW), -ELOOP);
    assert_int_equal(look(root(), "/ln/loop1/x", 0), -ELOOP);
    assert_int_equal(look(root(), "/ln/loop1", 0), 0);
    assert_int_equal(look(root(), "/ln/rel/", 0), 0); /* a slash follows the link */
    assert_int_equal(look(root(), "/ln/chain/", 0), -ENOTDIR);
    assert_int_equal(look(root(), "/ln/dangling", LOOKUP_FOLLOW), -ENOENT);

    assert_int_equal(try_open(root(), "/ln/chain", OPEN_NOFOLLOW), -ELOOP);
    assert_int_equal(try_open(root(), "/ln/chain", OPEN_NOFOLLOW | OPEN_PATH), 0);
    assert_int_equal(try_open(root(), "/ln/rel", OPEN_NOFOLLOW | OPEN_DIRECTORY), -ENOTDIR);
    assert_int_equal(try_open(root(), "/ln/dangling", OPEN_CREAT | OPEN_EXCL), -EEXIST);
    assert_int_equal(try_open(root(), "/ln/dangling", OPEN_CREAT | OPEN_WRONLY), 0);
    assert_int_equal(look(root(), "/ln/dir/new", 0), 0);
    assert_int_equal(try_open(root(), "/ln/loop1", OPEN_CREAT), -ELOOP);

    struct path p;
    char text[64];
    assert_int_equal(vfs_lookup(root(), NULL, "/ln/chain", 0, &p), 0);
    assert_int_equal(vfs_readlink(root(), &p, text, sizeof(text)), 15);
    assert_memory_equal(text, "rel/../abs/file", 15);
    assert_int_equal(vfs_readlink(root(), &p, text, 3), 3);
    path_put(&p);
    assert_int_equal(vfs_symlink(root(), "", NULL, "/ln/x"), -ENOENT);
    assert_int_equal(vfs_symlink(root(), "x", NULL, "/ln/rel"), -EEXIST);

    /* Forty links are followed, forty-one are not. */
    must_mkdir("/ln/many", 0755);
    put_file("/ln/many/0", "end");
    for (int i = 1; i <= 41; i++) {
        char to[16], name[32];
        snprintf(to, sizeof(to), "%d", i - 1);
        snprintf(name, sizeof(name), "/ln/many/%d", i);
        must_symlink(to, name);
    }
    assert_int_equal(look(root(), "/ln/many/40", LOOKUP_FOLLOW), 0);
    assert_int_equal(look(root(), "/ln/many/41", LOOKUP_FOLLOW), -ELOOP);
}

static void opens(void **state)
{
    (void)state;
    must_mkdir("/op", 0755);
    put_file("/op/f", "0123456789");
    assert_int_equal(try_open(root(), "/op/none", OPEN_RDONLY), -ENOENT);
    assert_int_equal(try_open(root(), "/op", OPEN_WRONLY), -EISDIR);
    assert_int_equal(try_open(root(), "/op", OPEN_RDONLY | OPEN_CREAT), -EISDIR);
    assert_int_equal(try_open(root(), "/op/new/", OPEN_WRONLY | OPEN_CREAT), -EISDIR);
    assert_int_equal(try_open(root(), "/op/f/new", OPEN_WRONLY | OPEN_CREAT), -ENOTDIR);
    assert_int_equal(try_open(root(), "/op/f", OPEN_DIRECTORY), -ENOTDIR);
    assert_int_equal(try_open(root(), "/op/f", OPEN_CREAT | OPEN_EXCL), -EEXIST);
    assert_int_equal(try_open(root(), "/op/f", OPEN_CREAT | OPEN_DIRECTORY), -EINVAL);
    assert_int_equal(try_open(root(), "/op/..", OPEN_CREAT), -EISDIR);

    struct file *f = must_open("/op/f", OPEN_RDONLY | OPEN_TRUNC | OPEN_CLOEXEC, 0);
    assert_int_equal(attr_of("/op/f").size, 0);
    assert_int_equal(f->flags, OPEN_RDONLY);
    file_put(f);

    /* A new file may be written by its creator whatever its mode says. */
    struct cred c;
    struct fs_context u = user(&c, 1000, 1000, -1);
    must_chmod("/op", 0777);
    assert_int_equal(vfs_open(&u, NULL, "/op/ro", OPEN_WRONLY | OPEN_CREAT, 0444, &f), 0);
    assert_int_equal(write_at(f, "x", 1, 0), 1);
    file_put(f);
    assert_int_equal(attr_of("/op/ro").uid, 1000);
    assert_int_equal(attr_of("/op/ro").mode, MODE_REG | 0444);
    assert_int_equal(try_open(&u, "/op/ro", OPEN_WRONLY), -EACCES);
    assert_int_equal(try_open(&u, "/op/ro", OPEN_RDONLY | OPEN_TRUNC), -EACCES);
    u.umask = 027;
    assert_int_equal(vfs_open(&u, NULL, "/op/masked", OPEN_WRONLY | OPEN_CREAT, 0666, &f), 0);
    file_put(f);
    assert_int_equal(attr_of("/op/masked").mode, MODE_REG | 0640);

    f = must_open("/op/f", OPEN_PATH | OPEN_WRONLY | OPEN_TRUNC, 0);
    assert_int_equal(f->flags, OPEN_PATH);
    assert_null(f->ops->read);
    file_put(f);
    assert_int_equal(vfs_mknod(root(), NULL, "/op/sock", MODE_SOCK | 0777, 0, NULL), 0);
    assert_int_equal(vfs_mknod(root(), NULL, "/op/fifo", MODE_FIFO | 0777, 0, NULL), 0);
    assert_int_equal(vfs_mknod(root(), NULL, "/op/dev", MODE_CHR | 0777, 99, NULL), 0);
    assert_int_equal(vfs_mknod(root(), NULL, "/op/dir", MODE_DIR | 0777, 0, NULL), -EPERM);
    assert_int_equal(vfs_mknod(&u, NULL, "/op/dev2", MODE_CHR | 0777, 99, NULL), -EPERM);
    assert_int_equal(try_open(root(), "/op/sock", OPEN_RDWR), -ENXIO);
    assert_int_equal(try_open(root(), "/op/fifo", OPEN_RDONLY), -ENXIO); /* no pipes here */
    assert_int_equal(try_open(root(), "/op/dev", OPEN_RDONLY), -ENXIO);
}

static void nameless(void **state)
{
    (void)state;
    size_t pages = floor_pages_in_use();
    must_mkdir("/tf", 0755);
    assert_int_equal(try_open(root(), "/tf", OPEN_TMPFILE | OPEN_DIRECTORY | OPEN_RDONLY), -EINVAL);
    struct file *f = must_open("/tf", OPEN_TMPFILE | OPEN_DIRECTORY | OPEN_RDWR, 0600);
    assert_int_equal(write_at(f, "anon", 4, 0), 4);
    assert_string_equal(list_dir("/tf"), ". .. ");
    struct path p = file_path(f);
    assert_int_equal(vfs_link(root(), &p, NULL, "/tf/named"), 0);
    assert_int_equal(vfs_link(root(), &p, NULL, "/tf/named"), -EEXIST);
    file_put(f);
    assert_string_equal(text_of("/tf/named"), "anon");
    assert_int_equal(vfs_unlink(root(), NULL, "/tf/named", false), 0);

    f = must_open("/tf", OPEN_TMPFILE | OPEN_DIRECTORY | OPEN_RDWR | OPEN_EXCL, 0600);
    assert_int_equal(write_at(f, "gone", 4, 0), 4);
    p = file_path(f);
    assert_int_equal(vfs_link(root(), &p, NULL, "/tf/named"), -ENOENT);
    file_put(f);
    assert_int_equal(floor_pages_in_use(), pages);
}

static void permission_matrix(void **state)
{
    (void)state;
    struct cred owner_c, group_c, extra_c, other_c;
    struct fs_context owner = user(&owner_c, 10, 20, -1), group = user(&group_c, 11, 30, -1),
                      extra = user(&extra_c, 12, 99, 30), other = user(&other_c, 13, 99, -1);
    const struct fs_context *who[] = {&owner, &group, &extra, &other};
    const int shift[] = {6, 3, 3, 0};
    put_file("/perm", "p");
    must_chown("/perm", 10, 30);
    struct path p;
    assert_int_equal(vfs_lookup(root(), NULL, "/perm", 0, &p), 0);
    struct vnode *v = path_vnode(&p);
    for (uint32_t mode = 0; mode < 01000; mode++) {
        v->attr.mode = MODE_REG | mode;
        for (unsigned access = 1; access < 8; access++) {
            for (int i = 0; i < 4; i++) {
                bool allowed = ((mode >> shift[i]) & access) == access;
                assert_int_equal(vnode_access(v, who[i]->cred, access), allowed ? 0 : -EACCES);
            }
            /* root may everything, but execute only what somebody may */
            bool allowed = !(access & ACCESS_X) || (mode & 0111);
            assert_int_equal(vnode_access(v, &root_cred, access), allowed ? 0 : -EACCES);
        }
    }
    path_put(&p);

    /* The search permission of every directory on the way counts. */
    must_mkdir("/search", 0711);
    must_mkdir("/search/in", 0700);
    put_file("/search/in/f", "x");
    put_file("/search/f", "x");
    assert_int_equal(look(&other, "/search/f", 0), 0);
    assert_int_equal(look(&other, "/search/in", 0), 0);
    assert_int_equal(look(&other, "/search/in/f", 0), -EACCES);
    assert_int_equal(look(&other, "/search/in/none", 0), -EACCES);
    assert_int_equal(look(&other, "/search/in/..", 0), -EACCES);
    assert_int_equal(try_open(&other, "/search", OPEN_RDONLY | OPEN_DIRECTORY), -EACCES);
    assert_int_equal(try_open(&other, "/search/new", OPEN_WRONLY | OPEN_CREAT), -EACCES);
    assert_int_equal(vfs_mkdir(&other, NULL, "/search/in", 0777), -EEXIST);
    assert_int_equal(vfs_mkdir(&other, NULL, "/search/new", 0777), -EACCES);
    assert_int_equal(vfs_unlink(&other, NULL, "/search/f", false), -EACCES);
}

static void removals(void **state)
{
    (void)state;
    must_mkdir("/rm", 0755);
    must_mkdir("/rm/d", 0755);
    must_mkdir("/rm/d/sub", 0755);
    put_file("/rm/f", "data");
    assert_int_equal(attr_of("/rm/d").nlink, 3);
    assert_int_equal(vfs_unlink(root(), NULL, "/rm/d", false), -EISDIR);
    assert_int_equal(vfs_unlink(root(), NULL, "/rm/d/", false), -EISDIR);
    assert_int_equal(vfs_unlink(root(), NULL, "/rm/f/", false), -ENOTDIR);
    assert_int_equal(vfs_unlink(root(), NULL, "/rm/none", false), -ENOENT);
    assert_int_equal(vfs_unlink(root(), NULL, "/rm/f", true), -ENOTDIR);
    assert_int_equal(vfs_unlink(root(), NULL, "/rm/d", true), -ENOTEMPTY);
    assert_int_equal(vfs_unlink(root(), NULL, "/rm/d/.", true), -EINVAL);
    assert_int_equal(vfs_unlink(root(), NULL, "/rm/d/..", true), -ENOTEMPTY);
    assert_int_equal(vfs_unlink(root(), NULL, "/", true), -EBUSY);
    assert_int_equal(vfs_unlink(root(), NULL, "/", false), -EISDIR);

    struct path cwd;
    assert_int_equal(vfs_lookup(root(), NULL, "/rm/d/sub", 0, &cwd), 0);
    assert_int_equal(vfs_unlink(root(), NULL, "/rm/d/sub/", true), 0);
    assert_int_equal(attr_of("/rm/d").nlink, 2);
    struct file *f;
    assert_int_equal(vfs_open(root(), &cwd, "new", OPEN_CREAT | OPEN_WRONLY, 0644, &f), -ENOENT);
    assert_int_equal(vfs_mkdir(root(), &cwd, "new", 0755), -ENOENT);
    char text[64];
    assert_true(vfs_path_text(root(), &cwd, text, sizeof(text)) > 0);
    assert_string_equal(text, "/rm/d/sub (deleted)");
    path_put(&cwd);

    /* A removed file lives as long as it is open. */
    size_t pages = floor_pages_in_use();
    f = must_open("/rm/f", OPEN_RDWR, 0);
    assert_int_equal(vfs_unlink(root(), NULL, "/rm/f", false), 0);
    assert_int_equal(look(root(), "/rm/f", 0), -ENOENT);
    char data[8] = {0};
    assert_int_equal(read_at(f, data, sizeof(data), 0), 4);
    assert_string_equal(data, "data");
    assert_int_equal(f->vnode->attr.nlink, 0);
    put_file("/rm/f", "another");
    assert_int_equal(read_at(f, data, sizeof(data), 0), 4);
    struct path p = file_path(f);
    assert_int_equal(vfs_link(root(), &p, NULL, "/rm/back"), -ENOENT);
    file_put(f);
    assert_int_equal(floor_pages_in_use(), pages);
}

static void hard_links(void **state)
{
    (void)state;
    must_mkdir("/hl", 0755);
    put_file("/hl/a", "one");
    struct path p;
    assert_int_equal(vfs_lookup(root(), NULL, "/hl/a", 0, &p), 0);
    assert_int_equal(vfs_link(root(), &p, NULL, "/hl/b"), 0);
    assert_int_equal(vfs_link(root(), &p, NULL, "/hl/b"), -EEXIST);
    path_put(&p);
    assert_int_equal(attr_of("/hl/b").nlink, 2);
    assert_int_equal(attr_of("/hl/a").ino, attr_of("/hl/b").ino);
    put_file("/hl/a", "two");
    assert_string_equal(text_of("/hl/b"), "two");
    assert_int_equal(rename_to(root(), "/hl/a", "/hl/b", 0), 0); /* the same file: nothing */
    assert_int_equal(attr_of("/hl/a").nlink, 2);
    assert_int_equal(vfs_unlink(root(), NULL, "/hl/a", false), 0);
    assert_string_equal(text_of("/hl/b"), "two");
    assert_int_equal(attr_of("/hl/b").nlink, 1);
    assert_int_equal(vfs_lookup(root(), NULL, "/hl", 0, &p), 0);
    assert_int_equal(vfs_link(root(), &p, NULL, "/hl/dir"), -EPERM);
    path_put(&p);
}

static void renames(void **state)
{
    (void)state;
    must_mkdir("/rn", 0755);
    must_mkdir("/rn/d1", 0755);
    must_mkdir("/rn/d2", 0755);
    put_file("/rn/a", "A");
    put_file("/rn/b", "B");
    assert_int_equal(rename_to(root(), "/rn/a", "/rn/b", RENAME_NOREPLACE_FLAG), -EEXIST);
    assert_int_equal(rename_to(root(), "/rn/a", "/rn/b", 4), -EINVAL);
    assert_int_equal(rename_to(root(), "/rn/none", "/rn/b", 0), -ENOENT);
    assert_int_equal(rename_to(root(), "/rn/a", "/rn/d1", 0), -EISDIR);
    assert_int_equal(rename_to(root(), "/rn/d1", "/rn/a", 0), -ENOTDIR);
    assert_int_equal(rename_to(root(), "/rn/a/", "/rn/c", 0), -ENOTDIR);
    assert_int_equal(rename_to(root(), "/rn/a", "/rn/c/", 0), -ENOTDIR);
    assert_int_equal(rename_to(root(), "/rn/d1", "/rn/d1/x", 0), -EINVAL);
    must_mkdir("/rn/d1/in", 0755);
    assert_int_equal(rename_to(root(), "/rn/d1", "/rn/d1/in/x", 0), -EINVAL);
    assert_int_equal(rename_to(root(), "/rn/d1/in", "/rn/d1", 0), -ENOTEMPTY);
    assert_int_equal(rename_to(root(), "/rn/d2", "/rn/d1", 0), -ENOTEMPTY);
    assert_int_equal(rename_to(root(), "/rn/.", "/rn/x", 0), -EBUSY);
    assert_int_equal(rename_to(root(), "/rn/d1", "/rn/..", 0), -EBUSY);

    assert_int_equal(rename_to(root(), "/rn/a", "/rn/b", 0), 0);
    assert_string_equal(text_of("/rn/b"), "A");
    assert_int_equal(look(root(), "/rn/a", 0), -ENOENT);
    put_file("/rn/a", "new");
    assert_string_equal(text_of("/rn/a"), "new");

    /* A directory changes its parent; what is in it follows. */
    put_file("/rn/d1/in/f", "deep");
    struct path deep;
    assert_int_equal(vfs_lookup(root(), NULL, "/rn/d1/in", 0, &deep), 0);
    assert_int_equal(
        rename_to(root(), "/rn/d1/in", "/rn/d2/a-name-that-does-not-fit-inline-anywhere", 0), 0);
    char text[96];
    assert_true(vfs_path_text(root(), &deep, text, sizeof(text)) > 0);
    assert_string_equal(text, "/rn/d2/a-name-that-does-not-fit-inline-anywhere");
    struct path up;
    assert_int_equal(vfs_lookup(root(), &deep, "..", 0, &up), 0);
    assert_int_equal(path_vnode(&up)->attr.ino, attr_of("/rn/d2").ino);
    path_put(&up);
    path_put(&deep);
    assert_int_equal(attr_of("/rn/d1").nlink, 2);
    assert_int_equal(attr_of("/rn/d2").nlink, 3);
    assert_int_equal(
        rename_to(root(), "/rn/d2/a-name-that-does-not-fit-inline-anywhere", "/rn/d2/short/", 0),
        0);
    assert_string_equal(text_of("/rn/d2/short/f"), "deep");
    assert_int_equal(look(root(), "/rn/d1/in/f", 0), -ENOENT);

    /* Replacing an empty directory; a file that is open. */
    assert_int_equal(rename_to(root(), "/rn/d2", "/rn/d1", 0), 0);
    assert_string_equal(text_of("/rn/d1/short/f"), "deep");
    struct file *f = must_open("/rn/b", OPEN_RDONLY, 0);
    assert_int_equal(rename_to(root(), "/rn/a", "/rn/b", 0), 0);
    assert_int_equal(f->vnode->attr.nlink, 0);
    assert_int_equal(read_at(f, text, 8, 0), 1);
    file_put(f);

    put_file("/rn/x", "X");
    assert_int_equal(rename_to(root(), "/rn/x", "/rn/none", RENAME_EXCHANGE_FLAG), -ENOENT);
    assert_int_equal(rename_to(root(), "/rn/x", "/rn/d1/short", RENAME_EXCHANGE_FLAG), 0);
    assert_string_equal(text_of("/rn/d1/short"), "X");
    assert_string_equal(text_of("/rn/x/f"), "deep");
    assert_int_equal(attr_of("/rn/d1").nlink, 2);
    assert_int_equal(attr_of("/rn").nlink, 4);
}

static void sticky_and_setgid(void **state)
{
    (void)state;
    struct cred a_c, b_c;
    struct fs_context a = user(&a_c, 1, 1, -1), b = user(&b_c, 2, 2, -1);
    must_mkdir("/st", MODE_STICKY | 0777);
    must_chmod("/st", MODE_STICKY | 0777);
    assert_int_equal(try_open(&a, "/st/mine", OPEN_WRONLY | OPEN_CREAT), 0);
    assert_int_equal(try_open(&b, "/st/theirs", OPEN_WRONLY | OPEN_CREAT), 0);
    assert_int_equal(vfs_unlink(&b, NULL, "/st/mine", false), -EPERM);
    assert_int_equal(rename_to(&b, "/st/mine", "/st/x", 0), -EPERM);
    assert_int_equal(rename_to(&b, "/st/theirs", "/st/mine", 0), -EPERM);
    assert_int_equal(vfs_unlink(&a, NULL, "/st/mine", false), 0);

    must_mkdir("/sg", 0777);
    must_chown("/sg", 0, 7);
    must_chmod("/sg", MODE_SGID | 0777);
    assert_int_equal(try_open(&a, "/sg/f", OPEN_WRONLY | OPEN_CREAT), 0);
    assert_int_equal(attr_of("/sg/f").gid, 7);
    assert_int_equal(vfs_mkdir(&a, NULL, "/sg/d", 0755), 0);
    assert_int_equal(attr_of("/sg/d").mode, MODE_DIR | MODE_SGID | 0755);
    assert_int_equal(vfs_mknod(&a, NULL, "/sg/x", MODE_REG | MODE_SGID | 0755, 0, NULL), 0);
    assert_int_equal(attr_of("/sg/x").mode, MODE_REG | 0755);
}

static void ownership(void **state)
{
    (void)state;
    struct cred a_c, b_c;
    struct fs_context a = user(&a_c, 1, 1, 5), b = user(&b_c, 2, 2, -1);
    put_file("/own", "x");
    must_chown("/own", 1, 1);
    struct vattr to_b = {.uid = 2, .gid = 2}, to_5 = {.gid = 5}, mode = {.mode = 06755};
    assert_int_equal(change(&a, "/own", to_b, SETATTR_UID), -EPERM);
    assert_int_equal(change(&a, "/own", to_b, SETATTR_GID), -EPERM);
    assert_int_equal(change(&b, "/own", mode, SETATTR_MODE), -EPERM);
    assert_int_equal(change(&a, "/own", mode, SETATTR_MODE), 0);
    assert_int_equal(attr_of("/own").mode, MODE_REG | 06755);
    assert_int_equal(change(&a, "/own", to_5, SETATTR_GID), 0); /* clears the set-id bits */
    assert_int_equal(attr_of("/own").mode, MODE_REG | 0755);
    must_chmod("/own", 06755);
    must_chown("/own", 1, 5); /* root's does too */
    assert_int_equal(attr_of("/own").mode, MODE_REG | 0755);
    must_chown("/own", 1, 9);
    assert_int_equal(change(&a, "/own", mode, SETATTR_MODE), 0); /* not in the group: no setgid */
    assert_int_equal(attr_of("/own").mode, MODE_REG | 04755);

    /* Writing clears them, unless root writes. */
    must_chmod("/own", 06777);
    struct file *f = must_open("/own", OPEN_WRONLY, 0);
    assert_int_equal(write_at(f, "y", 1, 0), 1);
    file_put(f);
    assert_int_equal(attr_of("/own").mode, MODE_REG | 06777);
    assert_int_equal(vfs_open(&b, NULL, "/own", OPEN_WRONLY, 0, &f), 0);
    assert_int_equal(write_at(f, "y", 1, 0), 1);
    file_put(f);
    assert_int_equal(attr_of("/own").mode, MODE_REG | 0777);

    struct vattr times = {.atime_ns = 5, .mtime_ns = 6};
    unsigned both = SETATTR_ATIME | SETATTR_MTIME;
    assert_int_equal(change(&b, "/own", times, both), -EPERM);
    assert_int_equal(change(&b, "/own", times, both | SETATTR_NOW), 0);
    must_chmod("/own", 0755);
    assert_int_equal(change(&b, "/own", times, both | SETATTR_NOW), -EACCES);
    assert_int_equal(change(&a, "/own", times, both), 0);
    assert_int_equal(attr_of("/own").atime_ns, 5);
    assert_int_equal(attr_of("/own").mtime_ns, 6);
    struct vattr size = {.size = 100};
    assert_int_equal(change(&b, "/own", size, SETATTR_SIZE), -EACCES);
    assert_int_equal(change(&a, "/own", size, SETATTR_SIZE), 0);
    assert_int_equal(attr_of("/own").size, 100);
    assert_int_equal(change(root(), "/", size, SETATTR_SIZE), -EISDIR);
}

static void listings(void **state)
{
    (void)state;
    must_mkdir("/ls", 0755);
    for (int i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof(name), "/ls/%d", i);
        put_file(name, "");
    }
    assert_string_equal(list_dir("/ls"), ". .. 0 1 2 3 4 5 6 7 8 9 ");
    struct file *f = must_open("/ls", OPEN_RDONLY | OPEN_DIRECTORY, 0);
    assert_string_equal(list_some(f, 1), ". ");
    assert_string_equal(list_some(f, 4), ".. 0 1 2 ");
    int64_t here = f->ops->seek(f, 0, WHENCE_CUR);
    /* What goes and comes meanwhile neither hides nor repeats what stays. */
    assert_int_equal(vfs_unlink(root(), NULL, "/ls/1", false), 0);
    assert_int_equal(vfs_unlink(root(), NULL, "/ls/3", false), 0);
    assert_int_equal(rename_to(root(), "/ls/5", "/ls/7", 0), 0);
    put_file("/ls/3", "");
    assert_string_equal(list_some(f, -1), "4 6 7 8 9 3 ");
    assert_string_equal(list_some(f, -1), "");
    f->ops->seek(f, here, WHENCE_SET);
    assert_string_equal(list_some(f, 2), "4 6 ");
    f->ops->seek(f, 0, WHENCE_SET);
    assert_string_equal(list_some(f, 3), ". .. 0 ");
    file_put(f);
}

static void mounts(void **state)
{
    (void)state;
    must_mkdir("/mnt", 0755);
    put_file("/mnt/below", "covered");
    struct filesystem *fs = tmpfs_create(0);
    assert_int_equal(vfs_mount(root(), fs, "/mnt/below", "none", 0), -ENOTDIR);
    assert_int_equal(vfs_mount(root(), fs, "/none", "none", 0), -ENOENT);
    assert_int_equal(vfs_mount(root(), fs, "/mnt", "none", 0), 0);
    assert_int_equal(vfs_mount(root(), fs, "/mnt", "none", 0), -EBUSY);
    assert_int_equal(look(root(), "/mnt/below", 0), -ENOENT);
    must_mkdir("/mnt/d", 0755);
    put_file("/mnt/d/f", "above");
    put_file("/outside", "o");
    assert_string_equal(text_of("/mnt/d/../../outside"), "o");
    assert_int_equal(rename_to(root(), "/outside", "/mnt/x", 0), -EXDEV);
    assert_int_equal(rename_to(root(), "/mnt", "/m2", 0), -EBUSY);
    assert_int_equal(vfs_unlink(root(), NULL, "/mnt", true), -EBUSY);
    struct path p;
    char text[32];
    assert_int_equal(vfs_lookup(root(), NULL, "/mnt/d/f", 0, &p), 0);
    assert_int_equal(vfs_link(root(), &p, NULL, "/l"), -EXDEV);
    assert_true(vfs_path_text(root(), &p, text, sizeof(text)) > 0);
    assert_string_equal(text, "/mnt/d/f");
    assert_int_equal(vfs_umount(root(), "/mnt"), -EBUSY);
    path_put(&p);
    fs->flags = MOUNT_RDONLY;
    assert_int_equal(try_open(root(), "/mnt/d/f", OPEN_RDONLY), 0);
    assert_int_equal(try_open(root(), "/mnt/d/f", OPEN_WRONLY), -EROFS);
    assert_int_equal(try_open(root(), "/mnt/d/new", OPEN_WRONLY | OPEN_CREAT), -EROFS);
    assert_int_equal(vfs_mkdir(root(), NULL, "/mnt/d", 0755), -EEXIST);
    assert_int_equal(vfs_mkdir(root(), NULL, "/mnt/new", 0755), -EROFS);
    assert_int_equal(vfs_unlink(root(), NULL, "/mnt/d/f", false), -EROFS);
    assert_int_equal(vfs_umount(root(), "/mnt/d"), -EINVAL);
    assert_int_equal(vfs_umount(root(), "/mnt"), 0);
    assert_string_equal(text_of("/mnt/below"), "covered");
    assert_int_equal(vfs_umount(root(), "/"), -EBUSY);
}

static void cache_gives_back(void **state)
{
    (void)state;
    must_mkdir("/cache", 0755);
    for (int i = 0; i < 20000; i++) { /* more than the cache keeps */
        char name[32];
        snprintf(name, sizeof(name), "/cache/none%d", i);
        assert_int_equal(look(root(), name, 0), -ENOENT);
    }
    assert_true(vfs_shrink(100000) > 0);
    assert_int_equal(look(root(), "/cache", 0), 0);
    assert_int_equal(look(root(), "/cache/none1", 0), -ENOENT);
}

static void out_of_memory(void **state)
{
    (void)state;
    must_mkdir("/oom", 0755);
    for (unsigned n = 1; n < 12; n++) {
        floor_fail_alloc(n);
        struct file *f;
        int err = vfs_open(root(), NULL, "/oom/f", OPEN_RDWR | OPEN_CREAT | OPEN_EXCL, 0644, &f);
        if (!err) {
            ssize_t got = write_at(f, "x", 1, 0);
            assert_true(got == 1 || got == -ENOSPC);
            file_put(f);
        } else {
            assert_true(err == -ENOMEM || err == -ENOSPC);
        }
        floor_fail_alloc(n);
        err =
            vfs_rename(root(), NULL, "/oom/f", NULL, "/oom/a-name-much-longer-than-thirty-two", 0);
        assert_true(!err || err == -ENOMEM || err == -ENOSPC || err == -ENOENT);
        floor_fail_alloc(0);
        vfs_unlink(root(), NULL, "/oom/f", false);
        vfs_unlink(root(), NULL, "/oom/a-name-much-longer-than-thirty-two", false);
        vfs_shrink(1000);
    }
    assert_string_equal(list_dir("/oom"), ". .. ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks),
        cmocka_unit_test(links),
        cmocka_unit_test(opens),
        cmocka_unit_test(nameless),
        cmocka_unit_test(permission_matrix),
        cmocka_unit_test(removals),
        cmocka_unit_test(hard_links),
        cmocka_unit_test(renames),
        cmocka_unit_test(sticky_and_setgid),
        cmocka_unit_test(ownership),
        cmocka_unit_test(listings),
        cmocka_unit_test(mounts),
        cmocka_unit_test(cache_gives_back),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, make_root, NULL);
}
