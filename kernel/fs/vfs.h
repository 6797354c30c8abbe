/*
 * The virtual file system: names, inodes (vnodes), mounts, permissions, locks; and the page cache
 * that reads, writes and mappings of regular files share.
 *
 *   dentry   a name in a directory; cached, negative ones too; has a parent and, if positive, a
 * vnode vnode    a file of a file system; one per (file system, inode number) while in use mount a
 * file system attached at a dentry
 *
 * Everything here runs in thread context and may sleep unless it says otherwise. Paths come from
 * programs: every component is checked, names are at most NAME_MAX and paths at most PATH_MAX
 * bytes, at most 40 symbolic links are followed (-ELOOP).
 */
#ifndef FS_VFS_H
#define FS_VFS_H

#include "core/atomic.h"
#include "core/list.h"
#include "core/lock.h"
#include "core/mem.h"
#include "core/rbtree.h"
#include "core/wait.h"
#include "fs/file.h"

#define VFS_NAME_MAX 255
#define VFS_PATH_MAX 4096

/* st_mode bits (octal, as everywhere). */
#define MODE_FMT 0170000u
#define MODE_SOCK 0140000u
#define MODE_LNK 0120000u
#define MODE_REG 0100000u
#define MODE_BLK 0060000u
#define MODE_DIR 0040000u
#define MODE_CHR 0020000u
#define MODE_FIFO 0010000u
#define MODE_SUID 04000u
#define MODE_SGID 02000u
#define MODE_STICKY 01000u

/* Who asks: immutable while shared; linux/cred makes new ones. */
#define CRED_MAX_GROUPS 64
struct cred {
    refcount_t refs;
    uint32_t uid, euid, suid, fsuid;
    uint32_t gid, egid, sgid, fsgid;
    uint64_t caps_effective, caps_permitted, caps_inheritable, caps_bounding, caps_ambient;
    uint32_t ngroups;
    uint32_t groups[CRED_MAX_GROUPS];
};
#define CAP_BIT(n) (1ULL << (n))
#define CAP_CHOWN_BIT CAP_BIT(0)
#define CAP_DAC_OVERRIDE_BIT CAP_BIT(1)
#define CAP_DAC_READ_SEARCH_BIT CAP_BIT(2)
#define CAP_FOWNER_BIT CAP_BIT(3)
#define CAP_FSETID_BIT CAP_BIT(4)
extern struct cred root_cred; /* all capabilities; never freed */

struct vattr {
    uint64_t ino;
    uint32_t mode, uid, gid, nlink;
    uint64_t size, blocks; /* blocks of 512 bytes */
    uint32_t blksize;
    uint64_t rdev;                                  /* device number: major << 32 | minor */
    uint64_t dev;                                   /* of the file system, same encoding */
    int64_t atime_ns, mtime_ns, ctime_ns, btime_ns; /* since the Epoch */
};

/* Which fields of a vattr setattr changes. */
#define SETATTR_MODE 1u
#define SETATTR_UID 2u
#define SETATTR_GID 4u
#define SETATTR_SIZE 8u
#define SETATTR_ATIME 16u
#define SETATTR_MTIME 32u
#define SETATTR_NOW 64u /* with ATIME and MTIME: to the current time; write access suffices */

struct vnode;
struct dentry;
struct path;
struct mount;
struct page_cache;
struct filesystem;
struct vfs_statfs;

/* A user mapping of a file; linux/mm embeds it in its region and keeps the vnode informed. */
struct vnode_mapping {
    struct list link;
    bool writes; /* it is shared and may be written, now or after mprotect */
    /* The pages [first, last] of the file are going away (truncate) or, for write_protect, must be
     * made read-only. Thread context, called with vnode->mappings_lock held. */
    void (*invalidate)(struct vnode_mapping *m, uint64_t first, uint64_t last);
};

#define DIR_FIRST_POS 2u
/* Directory operations are called with the directory's vnode->lock held; `dir` is a directory. They
 * check nothing that VFS checks (permissions, existence, types). Return 0 or negative errno. */
struct vnode_ops {
    int (*lookup)(struct vnode *dir, const char *name, size_t len,
                  struct vnode **out); /* -ENOENT */
    int (*create)(struct vnode *dir, const char *name, size_t len, uint32_t mode, uint64_t rdev,
                  const struct cred *cred,
                  struct vnode **out); /* any type but directory, symlink */
    int (*mkdir)(struct vnode *dir, const char *name, size_t len, uint32_t mode,
                 const struct cred *cred, struct vnode **out);
    int (*symlink)(struct vnode *dir, const char *name, size_t len, const char *target,
                   const struct cred *cred, struct vnode **out);
    int (*link)(struct vnode *dir, const char *name, size_t len, struct vnode *target);
    int (*unlink)(struct vnode *dir, const char *name, size_t len, struct vnode *target);
    int (*rmdir)(struct vnode *dir, const char *name, size_t len, struct vnode *target);
    int (*rename)(struct vnode *from_dir, const char *from, size_t from_len, struct vnode *to_dir,
                  const char *to, size_t to_len, struct vnode *moved, struct vnode *replaced);
    /* Swaps two names; NULL: -EINVAL. */
    int (*exchange)(struct vnode *a_dir, const char *a, size_t a_len, struct vnode *a_node,
                    struct vnode *b_dir, const char *b, size_t b_len, struct vnode *b_node);
    /* A regular file without a name (O_TMPFILE), nlink 0; NULL: -EOPNOTSUPP. */
    int (*tmpfile)(struct vnode *dir, uint32_t mode, const struct cred *cred, struct vnode **out);
    /* Emits entries from *pos (>= DIR_FIRST_POS; "." and ".." are the VFS' own) and advances it. An
     * entry's position must not change while it exists. With the directory's lock held. */
    int (*readdir)(struct vnode *dir, uint64_t *pos, struct dir_emit *d);
    ssize_t (*readlink)(struct vnode *v, char *buf, size_t size);
    /* Magic links (/proc/PID/fd/N, exe, cwd) lead to an object instead of a path's text: *path, or
     * *file if it has no path (pipes, sockets), referenced. NULL: an ordinary link. */
    int (*follow)(struct vnode *link, struct path *path, struct file **file);
    int (*getattr)(struct vnode *v, struct vattr *out); /* NULL: v->attr is it */
    int (*setattr)(struct vnode *v, const struct vattr *a, unsigned which); /* SETATTR_* */
    /* Regular files with a page cache: fill the page from storage (zeroes behind the end). NULL:
     * the cache is the storage (tmpfs). */
    int (*readpage)(struct vnode *v, struct page *page, uint64_t index);
    int (*writepage)(struct vnode *v, struct page *page, uint64_t index);
    /* Replaces the default (page cache) file operations at open: devices, FIFOs, proc files,
     * directories with their own readdir. */
    int (*open)(struct vnode *v, struct file *f);
    /* The last reference is gone and the page cache empty: frees what the file system keeps (data),
     * not the vnode itself. */
    void (*release)(struct vnode *v);
};

struct vnode {
    refcount_t refs;
    const struct vnode_ops *ops;
    struct filesystem *fs;
    struct vattr attr;  /* attr.size is authoritative; under lock except for plain reads */
    struct rwlock lock; /* directory contents, size changes */
    /* page cache: index -> page, each page referenced once by the cache */
    struct page_cache *cache;
    struct mutex mappings_lock;
    struct list mappings; /* struct vnode_mapping */
    struct list locks;    /* struct file_lock: fcntl, flock */
    struct wait_queue lock_wait;
    void *socket;  /* bound unix socket (linux/unix), or FIFO state (linux/pipe) */
    void *data;    /* the file system's own */
    bool uncached; /* directory: names come and go by themselves and are looked up every time */
    bool linkable; /* nlink is 0 but a name may be given by link (O_TMPFILE) */
    bool sealable;
    unsigned seals;          /* SEAL_*: under lock; see seals.c */
    unsigned mappings_begun; /* writable ones that are not on the list yet: under mappings_lock */
    struct list xattrs;      /* under lock; see xattr.c */
    struct list watches;     /* struct vnode_watch; see notify.h */
    bool kept;               /* by its watches */
    struct list unwatched;   /* they are gone, but what they kept is not let go yet */
    bool watched;            /* it has, or had, watches */
};

/* A new vnode with one reference, its attr filled with ino, mode, dev and the current time; regular
 * files get a page cache. NULL when out of memory. */
struct vnode *vnode_alloc(struct filesystem *fs, const struct vnode_ops *ops, uint64_t ino,
                          uint32_t mode);
/* The owner of a new file: cred's, with the group of a set-group-id directory. */
void vnode_init_owner(struct vnode *v, const struct vnode *dir, const struct cred *cred);
static inline void vnode_get(struct vnode *v)
{
    ref_get(&v->refs);
}
void vnode_put(struct vnode *v);
static inline uint32_t vnode_type(const struct vnode *v)
{
    return v->attr.mode & MODE_FMT;
}

/* Flags of mounts: the values of mount(2) and statvfs. Access times are kept as by relatime. */
#define MOUNT_RDONLY 1u
#define MOUNT_NOSUID 2u
#define MOUNT_NODEV 4u
#define MOUNT_NOEXEC 8u
#define MOUNT_NOATIME 0x400u

struct filesystem {
    const char *type; /* "tmpfs", "proc", ... */
    uint64_t dev;
    struct vnode *root;
    unsigned flags; /* MOUNT_*: a file system is mounted in one place */
    bool mounted;
    bool in_memory; /* files are vnodes as long as they have names, and what hangs on them stays */
    bool one_vnode; /* a file is the same vnode for all as long as somebody has it */
    void (*statfs)(struct filesystem *fs, struct vfs_statfs *out);
    void (*destroy)(struct filesystem *fs); /* after umount; NULL: it stays */
    /* Where the page cache is the storage: pages in use, and how many there may be (0: any). */
    atomic_long pages;
    long max_pages;
    void *data;
};
/* Gives it a device number of its own; type, root and the rest are the caller's to fill in. */
void filesystem_init(struct filesystem *fs, const char *type);

struct vfs_statfs {
    uint64_t type_magic, block_size, blocks, blocks_free, files, files_free;
};

/* Where a process is: referenced by its owner. */
struct path {
    struct mount *mount;
    struct dentry *dentry;
};
void path_get(const struct path *p);
void path_put(struct path *p);
/* The file a path leads to; not referenced beyond the path. */
struct vnode *path_vnode(const struct path *p);
/* Where a file was opened, not referenced beyond the file; both NULL for pipes, sockets, ... */
static inline struct path file_path(const struct file *f)
{
    return (struct path){f->mount, f->dentry};
}

/* A process' view: root, working directory, umask, credentials. linux/process owns one. */
struct fs_context {
    struct path root, cwd;
    uint32_t umask;
    const struct cred *cred;
    unsigned resolve; /* WALK_*: what a walk must not do; in a process' own view: 0 */
};
/* Restrictions of one walk: the values of openat2(2). With the last two the context's root is where
 * the walk starts. */
#define WALK_NO_XDEV 1u       /* no change of the mount: -EXDEV */
#define WALK_NO_MAGICLINKS 2u /* -ELOOP */
#define WALK_NO_SYMLINKS 4u   /* none at all: -ELOOP */
#define WALK_BENEATH 8u       /* never above the root, no absolute path: -EXDEV */
#define WALK_IN_ROOT 16u      /* as after chroot */

/* Flags of vfs_lookup. */
#define LOOKUP_FOLLOW 1u    /* follow a symbolic link in the last component */
#define LOOKUP_DIRECTORY 4u /* the result must be a directory: -ENOTDIR */

/* Resolves `name` from `at` (NULL: cwd). The result is referenced. -ENXIO if a magic link leads to
 * a file without a path (a pipe, a socket). */
int vfs_lookup(const struct fs_context *ctx, const struct path *at, const char *name,
               unsigned flags, struct path *out);
/* The same for calls that take such files: then *file is it, referenced, and *out empty; else *file
 * is NULL. */
int vfs_lookup_file(const struct fs_context *ctx, const struct path *at, const char *name,
                    unsigned flags, struct path *out, struct file **file);
/* Opens (and creates) a file as openat(2). */
int vfs_open(const struct fs_context *ctx, const struct path *at, const char *name, unsigned flags,
             uint32_t mode, struct file **out);
int vfs_open_path(const struct fs_context *ctx, const struct path *p, unsigned flags,
                  struct file **out);
/* Opens a file so and writes n bytes of the kernel's own at its beginning. An error, or 0. */
int vfs_write_text(const struct fs_context *ctx, const char *name, unsigned flags, uint32_t mode,
                   char *text, size_t n);
/* Opening a FIFO; set by linux/pipe. Fills in f->ops and f->data; may sleep. NULL: -ENXIO. */
extern int (*vfs_fifo_open)(struct vnode *v, struct file *f);
/* The *at family. */
int vfs_mkdir(const struct fs_context *ctx, const struct path *at, const char *name, uint32_t mode);
int vfs_mknod(const struct fs_context *ctx, const struct path *at, const char *name, uint32_t mode,
              uint64_t rdev, struct path *created); /* created may be NULL; sockets need it */
int vfs_symlink(const struct fs_context *ctx, const char *target, const struct path *at,
                const char *name);
int vfs_link(const struct fs_context *ctx, const struct path *old, const struct path *at,
             const char *name);
int vfs_unlink(const struct fs_context *ctx, const struct path *at, const char *name, bool dir);
#define RENAME_NOREPLACE_FLAG 1u
#define RENAME_EXCHANGE_FLAG 2u
int vfs_rename(const struct fs_context *ctx, const struct path *from_at, const char *from,
               const struct path *to_at, const char *to, unsigned flags);
ssize_t vfs_readlink(const struct fs_context *ctx, const struct path *p, char *buf, size_t size);
int vfs_getattr(const struct path *p, struct vattr *out);
int vnode_getattr(struct vnode *v, struct vattr *out);
/* Checks ownership as chmod/chown/utimensat/truncate do, then changes. */
int vfs_setattr(const struct fs_context *ctx, struct vnode *v, const struct vattr *a,
                unsigned which);
#define ACCESS_R 4u
#define ACCESS_W 2u
#define ACCESS_X 1u
/* 0 or -EACCES, by mode bits, groups and capabilities. */
int vnode_access(struct vnode *v, const struct cred *cred, unsigned access);
/* The absolute path as seen from ctx->root; the length or -ENAMETOOLONG. Deleted files get
 * " (deleted)" appended, as in /proc. */
ssize_t vfs_path_text(const struct fs_context *ctx, const struct path *p, char *buf, size_t size);

int vfs_mount(const struct fs_context *ctx, struct filesystem *fs, const char *where,
              const char *source, unsigned flags);
int vfs_umount(const struct fs_context *ctx, const char *where);
/* Every mount in order. options: "rw,nosuid,..." as in /proc/mounts. */
struct mount_entry {
    const char *source, *where, *type;
    char options[64];
};
void vfs_mount_for_each(bool (*fn)(const struct mount_entry *e, void *arg), void *arg);
/* The text of /proc/mounts. */
void vfs_show_mounts(struct text_buf *b, void *arg);
/* The context of the kernel itself and of the first process: "/" and root_cred. */
struct fs_context *vfs_root_context(void);
int vfs_statfs(const struct path *p, struct vfs_statfs *out);
/* Whether the path is where a file system is mounted. */
bool path_is_mount_root(const struct path *p);

/* --- page cache ------------------------------------------------------------------------------- */

/* The page of a regular file, referenced: from the cache, from storage (readpage), or, with
 * `create`, fresh and zeroed. -ENXIO for an index behind the end (mappings turn it into SIGBUS),
 * -ENOENT for a hole without `create` (reads as zeroes; mappings pass create), -ENOSPC, -ENOMEM,
 * -EIO. To be exact against truncate, map the page with v->mappings_lock held around this call and
 * aspace_map. */
int vnode_get_page(struct vnode *v, uint64_t index, bool create, struct page **out);
/* The page if it is in the cache, referenced, else NULL. No I/O, does not sleep. */
struct page *vnode_find_page(struct vnode *v, uint64_t index);
/* Marks it as changed (writeback for file systems with storage). */
void vnode_dirty_page(struct vnode *v, struct page *page);
/* mappings: linux/mm registers its regions here. */
void vnode_add_mapping(struct vnode *v, struct vnode_mapping *m);
void vnode_remove_mapping(struct vnode *v, struct vnode_mapping *m);
/* Default operations of regular files (page cache) and directories. */
extern const struct file_ops regular_file_ops, directory_file_ops;
/* Changes the size of a regular file; takes v->lock. Callers have checked permissions: ftruncate.
 */
int vnode_truncate(struct vnode *v, uint64_t size);
/* The same, and set-user-id and set-group-id go unless the caller may keep them. */
int vfs_truncate(struct vnode *v, uint64_t size, bool keeps_setid);
/* A limit of the program that writes, set by linux/: cuts *end of a change that begins at `at`;
 * -EFBIG if nothing is left. NULL: none. */
extern int (*vfs_size_limit)(uint64_t at, uint64_t *end);
/* Writes what is dirty to storage: fsync. */
int vnode_sync(struct vnode *v);
/* fallocate(2): mode bits as Linux, of which KEEP_SIZE, PUNCH_HOLE and ZERO_RANGE are there;
 * -EOPNOTSUPP for the others, and where the file system has storage of its own. */
int vnode_fallocate(struct vnode *v, int mode, uint64_t offset, uint64_t len);
/* All pages in all caches. */
uint64_t page_cache_total(void);
/* Drops names and page cache entries the kernel can get back; pages freed. */
size_t vfs_shrink(size_t pages);

/* Seals: the values of F_ADD_SEALS. Only files with vnode->sealable take them. */
#define SEAL_SEAL 1u
#define SEAL_SHRINK 2u
#define SEAL_GROW 4u
#define SEAL_WRITE 8u
#define SEAL_FUTURE_WRITE 16u
/* -EINVAL, -EPERM (sealed against seals), -EBUSY (SEAL_WRITE with writable mappings). */
int vnode_add_seals(struct vnode *v, unsigned seals);
int vnode_get_seals(struct vnode *v); /* or -EINVAL */
/* Around the making of a shared mapping that may be written; -EPERM if it must not be. */
int vnode_begin_writable_mapping(struct vnode *v);
void vnode_end_writable_mapping(struct vnode *v);

/* --- extended attributes -----------------------------------------------------------------------
 */

/* Names are checked (at most VFS_NAME_MAX bytes, not empty) by the caller. Sizes of 0 ask for the
 * size that is needed. flags: XATTR_CREATE 1, XATTR_REPLACE 2. -EOPNOTSUPP for names and file
 * systems without, -ENODATA, -EEXIST, -ERANGE, -ENOSPC, -EPERM, -EACCES, -EROFS. */
#define XATTR_SIZE_MAX 65536u
int vfs_setxattr(const struct fs_context *ctx, struct vnode *v, const char *name, const void *value,
                 size_t size, int flags);
ssize_t vfs_getxattr(const struct fs_context *ctx, struct vnode *v, const char *name, void *buf,
                     size_t size);
ssize_t vfs_listxattr(const struct fs_context *ctx, struct vnode *v, char *buf, size_t size);
int vfs_removexattr(const struct fs_context *ctx, struct vnode *v, const char *name);

/* --- locks ------------------------------------------------------------------------------------ */

enum file_lock_kind { LOCK_POSIX, LOCK_OFD, LOCK_FLOCK };
struct file_lock {
    struct list link;     /* of the file */
    struct list all_link; /* of all, for /proc/locks */
    struct vnode *vnode;
    enum file_lock_kind kind;
    bool exclusive;
    void *owner; /* process (POSIX) or struct file (OFD, flock) */
    int pid;
    uint64_t start, end; /* inclusive; flock: everything */
};
/* Sets or clears (unlock) a lock; wait: sleep until granted. -EAGAIN, -EDEADLK, -ENOLCK,
 * -ERESTARTSYS. */
int vnode_lock(struct vnode *v, const struct file_lock *want, bool unlock, bool wait);
/* The first lock in the way of `want`, copied to *out; false if there is none. */
bool vnode_lock_test(struct vnode *v, const struct file_lock *want, struct file_lock *out);
void vnode_unlock_owner(struct vnode *v, enum file_lock_kind kind, void *owner);
/* A process closed one descriptor of f: its record locks on the file go. Before file_put. */
static inline void file_closed(struct file *f, void *owner)
{
    if (f->ops && f->ops->closed)
        f->ops->closed(f, owner);
    if (f->vnode && !list_empty(&f->vnode->locks))
        vnode_unlock_owner(f->vnode, LOCK_POSIX, owner);
}

/* --- file systems ----------------------------------------------------------------------------- */

struct filesystem *tmpfs_create(uint64_t max_bytes);
/* A tmpfs filled from a cpio newc archive; page-aligned file data is used in place. -EINVAL with a
 * log line that names the offset for a damaged archive. */
int bootimage_unpack(struct filesystem *tmpfs, const void *image, size_t size);

/* Character devices: a driver or personality registers number, name in /dev, operations. */
int device_register(const char *name, uint64_t rdev, uint32_t mode, const struct file_ops *ops,
                    int (*open)(struct vnode *v, struct file *f));

struct text_buf;
/* /proc/cpuinfo's paragraph for one CPU; set by the architecture's personality file. */
extern void (*procfs_cpuinfo)(struct text_buf *b, int cpu);
/* The lines of /proc/stat about processes; set by the personality. */
extern void (*procfs_stat_rest)(struct text_buf *b);

/*
 * Files whose text is made when they are read (/proc, /sys). A generator appends to the buffer.
 */
struct text_buf {
    char *data;
    size_t len, size;
    bool failed; /* out of memory: the reader gets -ENOMEM */
};
void text_printf(struct text_buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
typedef void (*text_fn)(struct text_buf *b, void *arg);
/* Called on write; the text is NUL-terminated, without a trailing newline. 0 or negative errno. */
typedef int (*text_store_fn)(const char *text, void *arg);
/* Creates path (below /proc or /sys: "proc/sys/net/core/somaxconn") with its directories. Any floor
 * may register; store may be NULL. */
int procfs_register(const char *path, uint32_t mode, text_fn show, text_store_fn store, void *arg);
/* Per-process directories /proc/PID come from linux/proc_pid.c through this hook: fills in the ops
 * of the dynamic directory entries of the proc root. */
struct procfs_dynamic {
    /* vnode for a name in the root that is not registered, or -ENOENT */
    int (*lookup)(struct filesystem *fs, const char *name, size_t len, struct vnode **out);
    /* next PID >= *pid, false at the end */
    bool (*next)(uint64_t *pid);
    /* links that lookup knows and a listing shows, NULL at the end */
    const char *const *links;
};
void procfs_set_dynamic(const struct procfs_dynamic *d);
/* Helpers for building dynamic trees: a vnode of a text file, a symlink computed when read, and a
 * directory with callbacks. arg's ownership: release(arg) is called when the vnode goes. */
struct vnode *procfs_text_vnode(struct filesystem *fs, uint64_t ino, uint32_t mode, text_fn show,
                                text_store_fn store, void *arg, void (*release)(void *arg));
struct vnode *procfs_link_vnode(struct filesystem *fs, uint64_t ino,
                                ssize_t (*target)(char *buf, size_t size, void *arg), void *arg,
                                void (*release)(void *arg));
/* Makes a link of procfs_link_vnode a magic one: see vnode_ops.follow. */
void procfs_link_follow(struct vnode *link,
                        int (*follow)(void *arg, struct path *path, struct file **file));
/* list: the name and type (MODE_*) of the first entry at or behind *pos (from 0), which is set to
 * where it is: 1, or 0 at the end, or negative. An entry's position does not change while others
 * come and go. The names of such a directory are looked up every time. */
struct vnode *procfs_dir_vnode(struct filesystem *fs, uint64_t ino, uint32_t mode,
                               int (*lookup)(struct filesystem *fs, void *arg, const char *name,
                                             size_t len, struct vnode **out),
                               int (*list)(void *arg, uint64_t *pos, char *name, size_t size,
                                           unsigned *type),
                               void *arg, void (*release)(void *arg));
/* The arg of such a directory, or NULL if v is none with this lookup. */
void *procfs_dir_arg(const struct vnode *v,
                     int (*lookup)(struct filesystem *fs, void *arg, const char *name, size_t len,
                                   struct vnode **out));

#endif
