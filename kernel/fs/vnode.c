/* Vnodes: life, attributes, permissions. */
#include "fs/internal.h"
#include "core/timer.h"
#include "fs/notify.h"

struct cred root_cred = {
    .refs = {1},
    .caps_effective = (1ULL << 41) - 1,
    .caps_permitted = (1ULL << 41) - 1,
    .caps_bounding = (1ULL << 41) - 1,
};

void filesystem_init(struct filesystem *fs, const char *type)
{
    static atomic_uint next_minor = 1;
    *fs = (struct filesystem){.type = type};
    fs->dev = atomic_fetch_add(&next_minor, 1); /* major 0: not on a device */
}

/* The page cache of a regular file lies behind its vnode. */
static size_t cache_offset(void)
{
    return ROUND_UP(sizeof(struct vnode), 16);
}

struct vnode *vnode_alloc(struct filesystem *fs, const struct vnode_ops *ops, uint64_t ino,
                          uint32_t mode)
{
    bool regular = (mode & MODE_FMT) == MODE_REG;
    struct vnode *v = kzalloc(cache_offset() + (regular ? page_cache_size() : 0));
    if (!v)
        return NULL;
    ref_init(&v->refs, 1);
    v->ops = ops;
    v->fs = fs;
    int64_t now = time_realtime();
    v->attr = (struct vattr){
        .ino = ino,
        .mode = mode,
        .nlink = 1,
        .blksize = PAGE_SIZE,
        .dev = fs->dev,
        .atime_ns = now,
        .mtime_ns = now,
        .ctime_ns = now,
        .btime_ns = now,
    };
    rwlock_init(&v->lock);
    mutex_init(&v->mappings_lock);
    list_init(&v->mappings);
    list_init(&v->locks);
    list_init(&v->xattrs);
    list_init(&v->watches);
    list_init(&v->unwatched);
    wait_queue_init(&v->lock_wait);
    if (regular) {
        v->cache = (struct page_cache *)((char *)v + cache_offset());
        page_cache_init(v->cache);
    }
    return v;
}

void vnode_init_owner(struct vnode *v, const struct vnode *dir, const struct cred *cred)
{
    v->attr.uid = cred->fsuid;
    v->attr.gid = cred->fsgid;
    if (!(dir->attr.mode & MODE_SGID))
        return;
    v->attr.gid = dir->attr.gid;
    if (vnode_type(v) == MODE_DIR)
        v->attr.mode |= MODE_SGID;
    else if ((v->attr.mode & (MODE_SGID | 010)) == (MODE_SGID | 010) &&
             !cred_in_group(cred, v->attr.gid) && !cred_capable(cred, CAP_FSETID_BIT))
        v->attr.mode &= ~MODE_SGID;
}

void vnode_put(struct vnode *v)
{
    if (!ref_put(&v->refs))
        return;
    ASSERT(list_empty(&v->mappings));
    notify_vnode_ends(v);
    if (!list_empty(&v->locks))
        vnode_drop_locks(v);
    vnode_drop_xattrs(v);
    if (v->cache) {
        int err = vnode_sync(v); /* what mappings left dirty */
        if (err)
            klog(LOG_ERROR, "%s: changes of file %llu are lost: error %d", v->fs->type,
                 (unsigned long long)v->attr.ino, err);
        page_cache_drop(v, 0, UINT64_MAX);
    }
    if (v->ops->release)
        v->ops->release(v);
    kfree(v);
}

int vnode_getattr(struct vnode *v, struct vattr *out)
{
    if (v->ops->getattr)
        return v->ops->getattr(v, out);
    *out = v->attr;
    if (v->cache && !v->ops->readpage)
        out->blocks = page_cache_count(v->cache) * (PAGE_SIZE / 512);
    return 0;
}

bool cred_in_group(const struct cred *cred, uint32_t gid)
{
    if (cred->fsgid == gid)
        return true;
    for (uint32_t i = 0; i < cred->ngroups; i++) {
        if (cred->groups[i] == gid)
            return true;
    }
    return false;
}

int vnode_access(struct vnode *v, const struct cred *cred, unsigned access)
{
    uint32_t mode = v->attr.mode;
    if (cred->fsuid == v->attr.uid)
        mode >>= 6;
    else if (cred_in_group(cred, v->attr.gid))
        mode >>= 3;
    if ((access & ~mode & 7) == 0)
        return 0;
    bool dir = vnode_type(v) == MODE_DIR;
    if (cred_capable(cred, CAP_DAC_OVERRIDE_BIT)) {
        if (dir || !(access & ACCESS_X) || (v->attr.mode & 0111))
            return 0;
    }
    if (cred_capable(cred, CAP_DAC_READ_SEARCH_BIT)) {
        if (access == ACCESS_R || (dir && !(access & ACCESS_W)))
            return 0;
    }
    return -EACCES;
}

void vnode_clear_setid(struct vnode *v)
{
    uint32_t mode = v->attr.mode;
    if (!(mode & (MODE_SUID | MODE_SGID)) || vnode_type(v) != MODE_REG)
        return;
    uint32_t clear = MODE_SUID;
    if (mode & 010) /* without it, set-group-id once meant mandatory locking and stays */
        clear |= MODE_SGID;
    if (!(mode & clear))
        return;
    v->attr.mode = mode & ~clear;
    if (v->ops->setattr)
        v->ops->setattr(v, &v->attr, SETATTR_MODE);
}

/* Whether cred may make the change at all: chown(2), chmod(2), utimensat(2), truncate(2). */
static int setattr_permitted(struct vnode *v, const struct cred *cred, const struct vattr *a,
                             unsigned which)
{
    bool owner = cred->fsuid == v->attr.uid;
    bool fowner = owner || cred_capable(cred, CAP_FOWNER_BIT);
    bool chown = cred_capable(cred, CAP_CHOWN_BIT);
    if (vnode_read_only(v))
        return -EROFS;
    if ((which & SETATTR_UID) && !chown && !(owner && a->uid == v->attr.uid))
        return -EPERM;
    if ((which & SETATTR_GID) && !chown &&
        !(owner && (a->gid == v->attr.gid || cred_in_group(cred, a->gid))))
        return -EPERM;
    if ((which & SETATTR_MODE) && !fowner)
        return -EPERM;
    if ((which & (SETATTR_ATIME | SETATTR_MTIME)) && !fowner) {
        if (!(which & SETATTR_NOW))
            return -EPERM;
        int err = vnode_access(v, cred, ACCESS_W);
        if (err)
            return err;
    }
    if (which & SETATTR_SIZE) {
        if (vnode_type(v) == MODE_DIR)
            return -EISDIR;
        if (vnode_type(v) != MODE_REG)
            return -EINVAL;
        return vnode_access(v, cred, ACCESS_W);
    }
    return 0;
}

/* The mode after the change, with what ownership rules take away. */
static uint32_t setattr_mode(const struct vnode *v, const struct cred *cred, const struct vattr *a,
                             unsigned which)
{
    uint32_t mode = v->attr.mode;
    uint32_t gid = which & SETATTR_GID ? a->gid : v->attr.gid;
    if (which & SETATTR_MODE) {
        mode = (mode & MODE_FMT) | (a->mode & 07777);
        if (!cred_in_group(cred, gid) && !cred_capable(cred, CAP_FSETID_BIT))
            mode &= ~MODE_SGID;
    } else if ((which & (SETATTR_UID | SETATTR_GID)) && (mode & MODE_FMT) != MODE_DIR) {
        mode &= ~MODE_SUID;
        if (mode & 010)
            mode &= ~MODE_SGID;
    }
    return mode;
}

int vfs_truncate(struct vnode *v, uint64_t size, bool keeps_setid)
{
    int err = vnode_truncate(v, size);
    if (!err && !keeps_setid) {
        rwlock_write(&v->lock);
        vnode_clear_setid(v);
        rwlock_write_done(&v->lock);
    }
    return err;
}

int vfs_setattr(const struct fs_context *ctx, struct vnode *v, const struct vattr *a,
                unsigned which)
{
    const struct cred *cred = ctx->cred;
    int err = setattr_permitted(v, cred, a, which);
    if (err)
        return err;
    if (which & SETATTR_SIZE) {
        err = vfs_truncate(v, a->size, cred_capable(cred, CAP_FSETID_BIT));
        if (err)
            return err;
    }
    unsigned rest = which & ~(SETATTR_SIZE | SETATTR_NOW);
    if (!rest)
        return 0;

    rwlock_write(&v->lock);
    int64_t now = time_realtime();
    struct vattr changed = v->attr;
    changed.mode = setattr_mode(v, cred, a, which);
    if (changed.mode != v->attr.mode)
        rest |= SETATTR_MODE;
    if (which & SETATTR_UID)
        changed.uid = a->uid;
    if (which & SETATTR_GID)
        changed.gid = a->gid;
    if (which & SETATTR_ATIME)
        changed.atime_ns = which & SETATTR_NOW ? now : a->atime_ns;
    if (which & SETATTR_MTIME)
        changed.mtime_ns = which & SETATTR_NOW ? now : a->mtime_ns;
    changed.ctime_ns = now;
    if (v->ops->setattr)
        err = v->ops->setattr(v, &changed, rest);
    if (!err)
        v->attr = changed;
    rwlock_write_done(&v->lock);
    return err;
}

void vnode_add_mapping(struct vnode *v, struct vnode_mapping *m)
{
    mutex_lock(&v->mappings_lock);
    list_push_back(&v->mappings, &m->link);
    mutex_unlock(&v->mappings_lock);
}

void vnode_remove_mapping(struct vnode *v, struct vnode_mapping *m)
{
    mutex_lock(&v->mappings_lock);
    list_remove(&m->link);
    mutex_unlock(&v->mappings_lock);
}
