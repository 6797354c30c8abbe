/*
 * Open file descriptions: what a file descriptor refers to. Files of a file system, pipes, sockets,
 * epoll instances, event counters and terminals are all struct file with their own operations.
 */
#ifndef FS_FILE_H
#define FS_FILE_H

#include "core/atomic.h"
#include "core/lock.h"
#include "core/uio.h"
#include "core/wait.h"

struct file;
struct vnode;
struct dentry;
struct mount;
struct page;
struct page_part;
struct text_buf;

/* Poll event bits: the values of poll(2) and epoll(7). */
#define POLL_IN 0x001u
#define POLL_PRI 0x002u
#define POLL_OUT 0x004u
#define POLL_ERR 0x008u
#define POLL_HUP 0x010u
#define POLL_NVAL 0x020u
#define POLL_RDNORM 0x040u
#define POLL_WRNORM 0x100u
#define POLL_RDHUP 0x2000u

/* Open flags: the values of x86-64 and generic Linux. */
#define OPEN_RDONLY 0u
#define OPEN_WRONLY 01u
#define OPEN_RDWR 02u
#define OPEN_ACCMODE 03u
#define OPEN_CREAT 0100u
#define OPEN_EXCL 0200u
#define OPEN_NOCTTY 0400u
#define OPEN_TRUNC 01000u
#define OPEN_APPEND 02000u
#define OPEN_NONBLOCK 04000u
#define OPEN_DSYNC 010000u
#define OPEN_DIRECT 040000u
#define OPEN_DIRECTORY 0200000u
#define OPEN_NOFOLLOW 0400000u
#define OPEN_NOATIME 01000000u
#define OPEN_CLOEXEC 02000000u
#define OPEN_PATH 010000000u
#define OPEN_TMPFILE 020000000u

/* A poller's registration: file->ops->poll calls poll_register for each wait queue that announces a
 * change of the file's readiness. NULL when the caller only wants the current events. */
struct poll_table {
    void (*add)(struct poll_table *pt, struct wait_queue *q);
};
static inline void poll_register(struct poll_table *pt, struct wait_queue *q)
{
    if (pt)
        pt->add(pt, q);
}

/* Directory listing: called per entry; false: the caller's buffer is full, stop before this entry.
 */
struct dir_emit {
    bool (*emit)(struct dir_emit *d, const char *name, size_t len, uint64_t ino, unsigned type,
                 uint64_t next_pos);
};

/* All in thread context. An operation that is NULL fails with what POSIX says for such a file. */
struct file_ops {
    const char *name;
    uint32_t mode; /* st_mode of files without a vnode (pipes, sockets, ...) */
    /* Bytes moved or negative errno. *pos is the position to use and advance (NULL: a stream).
     * Non-blocking if file->flags has OPEN_NONBLOCK: -EAGAIN. -ERESTARTSYS when interrupted. */
    ssize_t (*read)(struct file *f, struct uio *u, uint64_t *pos);
    ssize_t (*write)(struct file *f, struct uio *u, uint64_t *pos);
    /* Current POLL_* events. Also called by epoll under no lock; must not sleep. */
    unsigned (*poll)(struct file *f, struct poll_table *pt);
    long (*ioctl)(struct file *f, unsigned cmd, uint64_t arg, bool user);
    int (*readdir)(struct file *f, struct dir_emit *d);
    /* New position, or negative errno; whence as lseek(2), SEEK_DATA/SEEK_HOLE included. */
    int64_t (*seek)(struct file *f, int64_t offset, int whence);
    int (*fsync)(struct file *f, bool data_only);
    /* Sends parts of a file's cached pages to this file without copying: sendfile. Takes
     * references of its own; the pages' bytes may change until they are sent. Fewer bytes than
     * given if there is no room for more. NULL: the caller copies through write. `more`: further
     * data follows at once. */
    ssize_t (*sendpages)(struct file *f, const struct page_part *parts, unsigned n, bool more,
                         bool nonblock);
    /* What mmap maps of a file without a vnode; NULL: nothing. The file's own reference. */
    struct vnode *(*memory)(struct file *f);
    /* Another description of what a nameless file is of, opened through /proc/PID/fd with the
     * access mode and status flags given. NULL: -ENXIO. */
    int (*reopen)(struct file *f, unsigned flags, struct file **out);
    /* The last reference is gone. */
    void (*release)(struct file *f);
    /* One descriptor of it was closed; may be NULL. owner: the process' identity. */
    void (*closed)(struct file *f, void *owner);
    /* The target of /proc/PID/fd/N for nameless files. */
    void (*describe)(struct file *f, char *buf, size_t size);
    /* Further lines of /proc/PID/fdinfo/N; may be NULL. */
    void (*fdinfo)(struct file *f, struct text_buf *b);
};

struct file {
    refcount_t refs; /* first: see file_alloc */
    unsigned flags;  /* OPEN_* status flags and access mode */
    const struct file_ops *ops;
    struct vnode *vnode;   /* referenced; NULL for pipes, sockets, ... */
    struct dentry *dentry; /* referenced; the name it was opened by; NULL likewise */
    struct mount *mount;   /* referenced with dentry: together its path, see file_path */
    bool opened;           /* by a name: its end is told to who watches the file */
    bool keeps_setid;      /* the opener had CAP_FSETID: writing does not clear set-id bits */
    struct mutex pos_lock;
    uint64_t pos;
    void *data;              /* the operations' own */
    struct list epoll_items; /* linux/epoll: registrations of this file */
    bool in_epoll;           /* it has, or had, registrations */
    spinlock_t epoll_lock;
    void *async;   /* linux/async: O_ASYNC */
    int owner_pid; /* F_SETOWN */
};

/* The inode number of what has no vnode, a socket or a pipe: the same wherever it is told, and not
 * its address. */
uint64_t object_ino(const void *object);
/* A new description with one reference; -ENFILE/-ENOMEM through ERR_PTR. */
struct file *file_alloc(const struct file_ops *ops, void *data, unsigned flags);
/* How many descriptions there are in memory, and how many of these are not open but kept for reuse.
 */
void file_counts(size_t *all, size_t *idle);
static inline void file_get(struct file *f)
{
    ref_get(&f->refs);
}
static inline bool file_readable(const struct file *f)
{
    return (f->flags & OPEN_ACCMODE) != OPEN_WRONLY && !(f->flags & OPEN_PATH);
}
static inline bool file_writable(const struct file *f)
{
    return (f->flags & OPEN_ACCMODE) != OPEN_RDONLY && !(f->flags & OPEN_PATH);
}
/* Drops a reference; the last one releases it. Thread context. */
void file_put(struct file *f);
/* Set by linux/epoll: takes a file with in_epoll or async out of all epoll sets before release. */
extern void (*file_epoll_release)(struct file *f);

#endif
