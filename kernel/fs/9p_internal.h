/* What the files of the 9P file system share. */
#ifndef FS_9P_INTERNAL_H
#define FS_9P_INTERNAL_H

#include "fs/9p_rpc.h"
#include "fs/internal.h"

#define NODE_BUCKETS 64u

struct p9_fs {
    struct filesystem fs;
    struct p9_transport *transport;
    bool has_owner; /* owner holds */
    struct p9_owner owner;
    uint32_t io_max; /* bytes of data in one message */
    spinlock_t lock; /* all below */
    struct list nodes[NODE_BUCKETS];
    uint32_t next_fid;
    uint32_t *free_fids; /* given back */
    size_t free_count, free_size;
};

struct p9_node {
    struct list link; /* in nodes, by qid.path */
    struct vnode *vnode;
    uint32_t fid;
    struct mutex open_lock;
    uint32_t open_fid; /* or P9_NOFID */
    uint32_t read_fid; /* open_fid before it was opened for writing too: may still be in use */
    bool writable;     /* how it is open */
};

static inline struct p9_fs *p9_fs_of(const struct vnode *v)
{
    return container_of(v->fs, struct p9_fs, fs);
}

static inline struct p9_node *p9_node_of(const struct vnode *v)
{
    return v->data;
}

/* A request whose first field is a fid. */
int p9_begin_fid(struct p9_msg *m, struct p9_fs *p, enum p9_type type, uint32_t fid);
/* Calls and ends a request whose reply holds nothing of interest. */
int p9_call_end(struct p9_msg *m);
/* A new fid for a name below fid, or for fid itself (name NULL). */
int p9_walk(struct p9_fs *p, uint32_t fid, const char *name, size_t len, uint32_t *out);
void p9_clunk(struct p9_fs *p, uint32_t fid);
int p9_fetch_attr(struct p9_fs *p, uint32_t fid, struct vattr *a);
/* The same for a vnode; -ESTALE if the server says now that it is a file of another type. */
int p9_refetch_attr(struct vnode *v, struct vattr *a);
/* Makes fid the open one, for reading and writing, if there is none; else false. */
bool p9_adopt_open_fid(struct vnode *v, uint32_t fid);
/* The fid for reading or writing: opened when first needed, for both if the server lets us. */
int p9_open_fid(struct vnode *v, bool write, uint32_t *out);
/* Reads or, with Treaddir, lists: bytes into buf. */
ssize_t p9_read_data(struct p9_fs *p, enum p9_type type, uint32_t fid, uint64_t offset, void *buf,
                     size_t n);

/* The vnode operations: 9p.c, */
int p9_getattr(struct vnode *v, struct vattr *out);
int p9_setattr(struct vnode *v, const struct vattr *a, unsigned which);
int p9_lookup(struct vnode *dir, const char *name, size_t len, struct vnode **out);
/* 9p_file.c, */
int p9_readpage(struct vnode *v, struct page *page, uint64_t index);
int p9_writepage(struct vnode *v, struct page *page, uint64_t index);
int p9_open(struct vnode *v, struct file *f);
/* 9p_dir.c. */
int p9_create_any(struct vnode *dir, const char *name, size_t len, uint32_t mode, uint64_t rdev,
                  const struct cred *cred, struct vnode **out);
int p9_mkdir(struct vnode *dir, const char *name, size_t len, uint32_t mode,
             const struct cred *cred, struct vnode **out);
int p9_symlink(struct vnode *dir, const char *name, size_t len, const char *target,
               const struct cred *cred, struct vnode **out);
int p9_link(struct vnode *dir, const char *name, size_t len, struct vnode *target);
int p9_unlink(struct vnode *dir, const char *name, size_t len, struct vnode *target);
int p9_rmdir(struct vnode *dir, const char *name, size_t len, struct vnode *target);
int p9_rename(struct vnode *from_dir, const char *from, size_t from_len, struct vnode *to_dir,
              const char *to, size_t to_len, struct vnode *moved, struct vnode *replaced);
ssize_t p9_readlink(struct vnode *v, char *buf, size_t size);
int p9_readdir(struct vnode *dir, uint64_t *pos, struct dir_emit *d);

#endif
