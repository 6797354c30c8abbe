/*
 * System V IPC: what shared memory (sysv_shm.c), semaphores (sysv_sem.c) and message queues
 * (sysv_msg.c) have in common: identifiers, keys, owners.
 *
 * One mutex, ipc_lock, covers everything. Who sleeps holds a reference, gives the lock back and
 * looks at `removed` afterwards.
 */
#ifndef LINUX_SYSV_IPC_H
#define LINUX_SYSV_IPC_H

#include <linux/ipc.h>

#include "linux/process.h"

struct ipc_object {
    struct list link; /* ipc_set.objects */
    refcount_t refs;  /* the set's one, and one per sleeper */
    int id, key;
    uint32_t uid, gid, cuid, cgid, mode;
    bool removed;
    void (*free)(struct ipc_object *o);
};

#define IPC_OBJECTS_MAX 4096

/* All objects of a kind. An identifier is a place in the table of IPC_OBJECTS_MAX, which the *_STAT
 * commands go through, and a number that keeps those that follow each other there apart. */
struct ipc_set {
    struct list objects;
    int count, sequence;
    uint64_t used[IPC_OBJECTS_MAX / 64]; /* places */
};

/* What semget and its like are asked for. */
struct ipc_request {
    int key, flags;
    size_t size;
    /* A new object with everything but its ipc part, or ERR_PTR. */
    struct ipc_object *(*create)(const struct ipc_request *r);
    /* Whether an object that is there is large enough: 0 or -EINVAL. */
    int (*check)(const struct ipc_object *o, const struct ipc_request *r);
};

extern struct mutex ipc_lock;

#define IPC_READ 0444u
#define IPC_WRITE 0222u

/* The identifier, or -errno. Takes ipc_lock. */
long ipc_get(struct ipc_set *set, const struct ipc_request *r);
/* The rest with ipc_lock held. */
/* The object, if the caller has the access (IPC_READ, IPC_WRITE); or ERR_PTR: -EINVAL, -EIDRM,
 * -EACCES. */
struct ipc_object *ipc_find(struct ipc_set *set, int id, unsigned access);
/* What a command of shmctl, semctl or msgctl is about: IPC_STAT needs IPC_READ, and so does `stat`
 * (SHM_STAT, ...), which names the object by its place; `stat_any` (SHM_STAT_ANY, ...) needs
 * nothing; all others are its owner's: -EPERM. */
struct ipc_object *ipc_find_for(struct ipc_set *set, int id, int cmd, int stat, int stat_any);
/* The highest place in use, which the *_INFO commands return; 0 if there is none. */
int ipc_highest(const struct ipc_set *set);
void ipc_put(struct ipc_object *o);
/* Takes it out of its set. Sleepers are the caller's to wake. */
void ipc_remove(struct ipc_set *set, struct ipc_object *o);
void ipc_stat(const struct ipc_object *o, struct ipc64_perm *out);
/* IPC_SET: owner and mode. */
void ipc_change(struct ipc_object *o, const struct ipc64_perm *p);
/* Seconds since the Epoch, as the *_time fields have it. */
int64_t ipc_now(void);

/* Registers /proc/sysvipc/NAME: the heading, then `line` per object. */
struct ipc_table {
    const char *name, *heading;
    struct ipc_set *set;
    void (*line)(struct text_buf *b, struct ipc_object *o);
};
void ipc_table_register(struct ipc_table *t);

void ipc_init(void);
void shm_init(void);
void sem_init(void);
void msg_init(void);
/* The current process ends: its semaphore operations are undone, segments that nobody uses go. */
void ipc_process_ends(struct process *p);
void sem_undo_all(struct process *p);
/* Frees segments that were removed and that nobody maps any more. */
void shm_sweep(void);

#endif
