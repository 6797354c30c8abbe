/* 9P: making, removing and listing names. */
#include "fs/9p_internal.h"

#define P9_REMOVE_DIR 0x200u /* AT_REMOVEDIR */

/* The new file's vnode; it belongs to who made it, if the server can keep owners at all. */
static int made(struct vnode *dir, const char *name, size_t len, const struct cred *cred,
                struct vnode **out)
{
    int err = p9_lookup(dir, name, len, out);
    if (err || (*out)->attr.uid == cred->fsuid)
        return err;
    struct vattr a = (*out)->attr;
    a.uid = cred->fsuid;
    /* A server without privileges refuses, and its owner stays: not an error of the creation. */
    if (!p9_setattr(*out, &a, SETATTR_UID))
        (*out)->attr.uid = a.uid;
    return 0;
}

static uint32_t new_gid(const struct vnode *dir, const struct cred *cred)
{
    return dir->attr.mode & MODE_SGID ? dir->attr.gid : cred->fsgid;
}

/* Creates a regular file; Tlcreate turns a fid of the directory into the open file's, which stays
 * open: its creator may write it whatever its mode says. */
static int create_file(struct vnode *dir, const char *name, size_t len, uint32_t mode,
                       const struct cred *cred, struct vnode **out)
{
    struct p9_fs *p = p9_fs_of(dir);
    struct p9_msg m;
    uint32_t fid;
    int err = p9_walk(p, p9_node_of(dir)->fid, NULL, 0, &fid);
    if (err)
        return err;
    err = p9_begin_fid(&m, p, P9_LCREATE, fid);
    if (!err) {
        p9_put_text(&m, name, len);
        p9_put(&m, OPEN_RDWR | OPEN_CREAT | OPEN_EXCL, 4);
        p9_put(&m, mode & 07777, 4);
        p9_put(&m, new_gid(dir, cred), 4);
        err = p9_call_end(&m);
    }
    if (!err)
        err = made(dir, name, len, cred, out);
    if (err || vnode_type(*out) != MODE_REG || !p9_adopt_open_fid(*out, fid))
        p9_clunk(p, fid);
    return err;
}

int p9_create_any(struct vnode *dir, const char *name, size_t len, uint32_t mode, uint64_t rdev,
                  const struct cred *cred, struct vnode **out)
{
    if ((mode & MODE_FMT) == MODE_REG)
        return create_file(dir, name, len, mode, cred, out);
    struct p9_msg m;
    int err = p9_begin_fid(&m, p9_fs_of(dir), P9_MKNOD, p9_node_of(dir)->fid);
    if (err)
        return err;
    p9_put_text(&m, name, len);
    p9_put(&m, mode, 4);
    p9_put(&m, rdev >> 32, 4);
    p9_put(&m, rdev, 4);
    p9_put(&m, new_gid(dir, cred), 4);
    err = p9_call_end(&m);
    return err ? err : made(dir, name, len, cred, out);
}

int p9_mkdir(struct vnode *dir, const char *name, size_t len, uint32_t mode,
             const struct cred *cred, struct vnode **out)
{
    struct p9_msg m;
    int err = p9_begin_fid(&m, p9_fs_of(dir), P9_MKDIR, p9_node_of(dir)->fid);
    if (err)
        return err;
    p9_put_text(&m, name, len);
    p9_put(&m, mode & 07777, 4);
    p9_put(&m, new_gid(dir, cred), 4);
    err = p9_call_end(&m);
    return err ? err : made(dir, name, len, cred, out);
}

int p9_symlink(struct vnode *dir, const char *name, size_t len, const char *target,
               const struct cred *cred, struct vnode **out)
{
    struct p9_msg m;
    int err = p9_begin_fid(&m, p9_fs_of(dir), P9_SYMLINK, p9_node_of(dir)->fid);
    if (err)
        return err;
    p9_put_text(&m, name, len);
    p9_put_text(&m, target, strlen(target));
    p9_put(&m, new_gid(dir, cred), 4);
    err = p9_call_end(&m);
    return err ? err : made(dir, name, len, cred, out);
}

int p9_link(struct vnode *dir, const char *name, size_t len, struct vnode *target)
{
    struct p9_msg m;
    int err = p9_begin_fid(&m, p9_fs_of(dir), P9_LINK, p9_node_of(dir)->fid);
    if (err)
        return err;
    p9_put(&m, p9_node_of(target)->fid, 4);
    p9_put_text(&m, name, len);
    return p9_call_end(&m);
}

static int unlink_at(struct vnode *dir, const char *name, size_t len, uint32_t flags)
{
    struct p9_msg m;
    int err = p9_begin_fid(&m, p9_fs_of(dir), P9_UNLINKAT, p9_node_of(dir)->fid);
    if (err)
        return err;
    p9_put_text(&m, name, len);
    p9_put(&m, flags, 4);
    return p9_call_end(&m);
}

/* The server cannot always be asked any more. */
static void lost_name(struct vnode *v)
{
    if (vnode_type(v) == MODE_DIR)
        v->attr.nlink = 0;
    else if (v->attr.nlink)
        v->attr.nlink--;
}

int p9_unlink(struct vnode *dir, const char *name, size_t len, struct vnode *target)
{
    int err = unlink_at(dir, name, len, 0);
    if (!err)
        lost_name(target);
    return err;
}

int p9_rmdir(struct vnode *dir, const char *name, size_t len, struct vnode *target)
{
    int err = unlink_at(dir, name, len, P9_REMOVE_DIR);
    if (!err)
        lost_name(target);
    return err;
}

int p9_rename(struct vnode *from_dir, const char *from, size_t from_len, struct vnode *to_dir,
              const char *to, size_t to_len, struct vnode *moved, struct vnode *replaced)
{
    (void)moved;
    struct p9_msg m;
    int err = p9_begin_fid(&m, p9_fs_of(from_dir), P9_RENAMEAT, p9_node_of(from_dir)->fid);
    if (err)
        return err;
    p9_put_text(&m, from, from_len);
    p9_put(&m, p9_node_of(to_dir)->fid, 4);
    p9_put_text(&m, to, to_len);
    err = p9_call_end(&m);
    if (!err && replaced)
        lost_name(replaced);
    return err;
}

ssize_t p9_readlink(struct vnode *v, char *buf, size_t size)
{
    struct p9_msg m;
    int err = p9_begin_fid(&m, p9_fs_of(v), P9_READLINK, p9_node_of(v)->fid);
    if (err)
        return err;
    err = p9_call(&m);
    size_t len = 0;
    if (!err) {
        const char *text = p9_get_text(&m, &len);
        err = p9_check(&m);
        len = MIN(len, size);
        if (memchr(text, 0, len))
            err = -EPROTO;
        memcpy(buf, text, len);
    }
    p9_end(&m);
    return err ? err : (ssize_t)len;
}

/* --- directories ------------------------------------------------------------------------------ */

/* Emits the entries of one Rreaddir; our positions are the server's, moved behind "." and "..".
 * True to go on with the next. */
static bool emit_entries(const uint8_t *data, size_t size, uint64_t *pos, struct dir_emit *d,
                         int *err)
{
    while (size) {
        /* qid[13] offset[8] type[1] name[s] */
        const size_t fixed = 24;
        struct p9_msg m = {.rx = (uint8_t *)(uintptr_t)data, .size = size};
        struct p9_qid qid;
        size_t len;
        p9_get_qid(&m, &qid);
        uint64_t offset = p9_get(&m, 8);
        unsigned type = (unsigned)p9_get(&m, 1) << 12; /* DT_* */
        const char *name = p9_get_text(&m, &len);
        if (p9_check(&m) || len == 0 || len > VFS_NAME_MAX || memchr(name, '/', len) ||
            memchr(name, 0, len)) {
            *err = -EPROTO;
            return false;
        }
        bool dots = name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'));
        if (!dots && !d->emit(d, name, len, qid.path, type & MODE_FMT, offset + DIR_FIRST_POS))
            return false;
        *pos = offset + DIR_FIRST_POS;
        data += fixed + len;
        size -= fixed + len;
    }
    return true;
}

int p9_readdir(struct vnode *dir, uint64_t *pos, struct dir_emit *d)
{
    uint32_t fid;
    int err = p9_open_fid(dir, false, &fid);
    uint8_t *buf = err ? NULL : kmalloc(P9_MESSAGE_SIZE);
    if (!buf)
        return err ? err : -ENOMEM;
    for (;;) {
        ssize_t n = p9_read_data(p9_fs_of(dir), P9_READDIR, fid, *pos - DIR_FIRST_POS, buf,
                                 P9_MESSAGE_SIZE);
        if (n < 0)
            err = (int)n;
        if (n <= 0 || !emit_entries(buf, n, pos, d, &err))
            break;
    }
    kfree(buf);
    return err;
}
