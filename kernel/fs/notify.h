/*
 * Change notification: a watch hangs on a file and hears what happens to it and, if it is a
 * directory, to the files that were opened or changed by a name in it. While nobody watches
 * anything, all of this costs one look at a counter.
 *
 * A watch does not keep a file that is in memory as long as it has a name (tmpfs). It does keep one
 * of a volume while that has a name, so that it stays the vnode that everybody uses; what others do
 * on the host is not seen, as with any network file system. Where a file can be several vnodes
 * (/proc) nothing can be watched. Watches and the lists they are on are protected by one mutex,
 * notify_lock; it is the innermost one, held while watches hear.
 */
#ifndef FS_NOTIFY_H
#define FS_NOTIFY_H

#include "fs/vfs.h"

/* Events: the values of inotify(7). */
#define NOTIFY_ACCESS 0x1u
#define NOTIFY_MODIFY 0x2u
#define NOTIFY_ATTRIB 0x4u
#define NOTIFY_CLOSE_WRITE 0x8u
#define NOTIFY_CLOSE_NOWRITE 0x10u
#define NOTIFY_OPEN 0x20u
#define NOTIFY_MOVED_FROM 0x40u
#define NOTIFY_MOVED_TO 0x80u
#define NOTIFY_CREATE 0x100u
#define NOTIFY_DELETE 0x200u
#define NOTIFY_DELETE_SELF 0x400u
#define NOTIFY_MOVE_SELF 0x800u
#define NOTIFY_UNMOUNT 0x2000u
#define NOTIFY_DIR 0x40000000u /* it happened to a directory */

struct notify_event {
    uint32_t mask;   /* one of the above, and perhaps NOTIFY_DIR */
    uint32_t cookie; /* the same for the two ends of a rename; else 0 */
    const char *name;
    size_t len;    /* 0: it happened to the watched file itself */
    bool unlinked; /* the name is no longer in the directory */
};

struct vnode_watch {
    struct list link, all_link;
    struct vnode *vnode; /* not referenced */
    /* With notify_lock held. True if the watch has heard enough and is to end. */
    bool (*event)(struct vnode_watch *w, const struct notify_event *e);
    /* It ended, or its file did; it is detached and may be freed. With notify_lock held. */
    void (*ended)(struct vnode_watch *w);
};

void notify_lock(void);
/* May sleep, and release files. */
void notify_unlock(void);
/* With notify_lock held; the caller has a reference of v. -ENOSPC if it cannot be watched. */
int notify_attach(struct vnode *v, struct vnode_watch *w);
void notify_detach(struct vnode_watch *w);

/* What happened, in thread context. The first two tell the file and the directory of its name,
 * notify_vnode the file alone, notify_name the directory alone. */
void notify_file(struct file *f, uint32_t mask);
void notify_path(const struct path *p, uint32_t mask);
void notify_vnode(struct vnode *v, uint32_t mask);
void notify_name(struct vnode *dir, const char *name, size_t len, uint32_t mask, uint32_t cookie);
uint32_t notify_cookie(void); /* for a rename */
/* A name of v, which the caller has, is gone. If it was the last no watch keeps it any more. */
void notify_unlinked(struct vnode *v);
/* The end of a file, and of a file system. */
void notify_vnode_ends(struct vnode *v);
void notify_unmount(struct filesystem *fs);

void notify_init(void);

#endif
