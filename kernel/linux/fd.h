/*
 * File descriptors: a table of open file descriptions, shared by the tasks of a process
 * (CLONE_FILES). Look-up is the hottest operation of the personality: fd_hold takes neither a lock
 * nor a reference while the table belongs to one task.
 */
#ifndef LINUX_FD_H
#define LINUX_FD_H

#include "fs/file.h"

struct fd_table;

/* The largest number of descriptors: what one kmalloc can hold. */
#define FD_MAX (512u * 1024)

struct fd_table *fd_table_create(void);
struct fd_table *fd_table_clone(struct fd_table *t); /* fork; NULL: out of memory */
void fd_table_get(struct fd_table *t);
/* Last reference closes all. Thread context. */
void fd_table_put(struct fd_table *t);
void fd_close_on_exec(struct fd_table *t);

/* The current process' file, referenced (put with file_put), or NULL: the caller returns -EBADF.
 * O_PATH files are not returned by fd_get, but by fd_get_path. */
struct file *fd_get(int fd);
struct file *fd_get_path(int fd);

/*
 * The same for the length of one system call: between fd_hold and fd_drop. A table that only the
 * current task uses cannot lose the file meanwhile, so nothing is counted (`counted` is false
 * then). file is NULL for a bad descriptor (fd_drop is then not needed).
 */
struct fd_hold {
    struct file *file;
    bool counted;
};
struct fd_hold fd_hold(int fd);
struct fd_hold fd_hold_path(int fd); /* O_PATH files too */
static inline void fd_drop(struct fd_hold h)
{
    if (h.counted)
        file_put(h.file);
}

/* Installs f at the lowest free descriptor >= from (takes over the reference on success); the
 * descriptor or -EMFILE. */
int fd_install(struct file *f, int from, bool cloexec);
/* The same in two steps, for calls that must not fail once they have a file: the descriptor is
 * taken but looks closed until fd_commit (takes over the reference). */
int fd_reserve(int from, bool cloexec);
void fd_commit(int fd, struct file *f);
void fd_unreserve(int fd);
/* dup2/dup3: installs at fd exactly, closing what was there. Takes over the reference on success.
 */
int fd_install_at(struct file *f, int fd, bool cloexec);
/* Used by spawn on a table that is not current. Takes over the reference on success. */
int fd_table_set(struct fd_table *t, int fd, struct file *f, bool cloexec);
int fd_close(int fd);       /* 0 or -EBADF */
int fd_get_cloexec(int fd); /* 0, 1, -EBADF */
int fd_set_cloexec(int fd, bool on);
/* Closes the descriptors first..last of the current process, or marks them close-on-exec. */
void fd_close_range(unsigned first, unsigned last, bool cloexec_only);
/* The current process stops sharing its table (CLOSE_RANGE_UNSHARE, unshare(CLONE_FILES)). */
int fd_unshare(void);
/* For /proc/PID/fd: next open descriptor >= fd, its file referenced; -1 at the end. */
int fd_table_next(struct fd_table *t, int fd, struct file **out);
/* Whether a descriptor is close-on-exec: 0, 1, -EBADF. */
int fd_table_cloexec(struct fd_table *t, int fd);
/* Number of descriptors there is room for now (FDSize in /proc/PID/status). */
unsigned fd_table_size(struct fd_table *t);

#endif
