/*
 * Descriptors passed over AF_UNIX sockets (SCM_RIGHTS) and credentials.
 *
 * What is under way and never read is dropped by a work item, not in place: a chain of sockets,
 * each passed over the next, would otherwise end in a recursion as deep as the chain. Cycles of
 * sockets that are only referenced by messages in one another stay until the domain ends; the
 * number of descriptors under way is limited, so that they are bounded.
 */
#include "core/deferred.h"
#include "core/mem.h"
#include "linux/process.h"
#include "linux/unix.h"

#define SCM_RIGHTS_N 1
#define SCM_CREDENTIALS_N 2
#define SCM_MAX_FD 253
#define SCM_INFLIGHT_MAX 16384
#define CAP_SETUID_N 7
#define CAP_SETGID_N 6
#define CAP_SYS_ADMIN_N 21

struct unix_scm {
    struct list link; /* dropped ones */
    unsigned count;
    struct file *files[];
};

static atomic_int scm_inflight;
static spinlock_t dropped_lock = SPINLOCK_INIT;
static struct list dropped = LIST_INIT(dropped);

static void drop_all(struct work *w)
{
    (void)w;
    for (;;) {
        spin_lock(&dropped_lock);
        struct unix_scm *scm = list_pop_front(&dropped, struct unix_scm, link);
        spin_unlock(&dropped_lock);
        if (!scm)
            return;
        for (unsigned i = 0; i < scm->count; i++)
            file_put(scm->files[i]);
        atomic_fetch_sub(&scm_inflight, (int)scm->count);
        kfree(scm);
    }
}

static struct work drop_work = {.link = LIST_INIT(drop_work.link), .run = drop_all};

void unix_scm_free(struct unix_scm *scm)
{
    if (!scm)
        return;
    spin_lock(&dropped_lock);
    list_push_back(&dropped, &scm->link);
    spin_unlock(&dropped_lock);
    work_schedule(&drop_work);
}

static int collect_rights(const struct cmsg_head *h, struct unix_scm **out)
{
    size_t count = (h->len - sizeof(*h)) / sizeof(int);
    struct unix_scm *old = *out;
    unsigned have = old ? old->count : 0;
    if (count + have > SCM_MAX_FD)
        return -EINVAL;
    if (atomic_fetch_add(&scm_inflight, (int)count) + (int)count > SCM_INFLIGHT_MAX) {
        atomic_fetch_sub(&scm_inflight, (int)count);
        return -ETOOMANYREFS;
    }
    struct unix_scm *scm = kmalloc(sizeof(*scm) + (count + have) * sizeof(struct file *));
    int err = scm ? 0 : -ENOMEM;
    unsigned got = 0;
    for (; !err && got < count; got++) {
        int fd;
        memcpy(&fd, (const uint8_t *)(h + 1) + got * sizeof(int), sizeof(fd));
        scm->files[have + got] = fd_get_path(fd);
        if (!scm->files[have + got]) {
            err = -EBADF;
            break;
        }
    }
    if (err) {
        while (got)
            file_put(scm->files[have + --got]);
        atomic_fetch_sub(&scm_inflight, (int)count);
        kfree(scm);
        return err;
    }
    if (old)
        memcpy(scm->files, old->files, have * sizeof(struct file *));
    kfree(old);
    list_init(&scm->link);
    scm->count = have + got;
    *out = scm;
    return 0;
}

static int collect_credentials(const struct cmsg_head *h, struct ucred_k *cred)
{
    struct ucred_k c;
    if (h->len != sizeof(*h) + sizeof(c))
        return -EINVAL;
    memcpy(&c, h + 1, sizeof(c));
    const struct cred *now = current_cred();
    bool own = c.pid == current_process()->pid, pid_ok = own || capable(CAP_SYS_ADMIN_N);
    bool uid_ok =
        c.uid == now->uid || c.uid == now->euid || c.uid == now->suid || capable(CAP_SETUID_N);
    bool gid_ok =
        c.gid == now->gid || c.gid == now->egid || c.gid == now->sgid || capable(CAP_SETGID_N);
    if (!pid_ok || !uid_ok || !gid_ok)
        return -EPERM;
    struct process *p = own ? NULL : process_find(c.pid);
    if (!own && !p)
        return -ESRCH;
    if (p)
        process_put(p);
    *cred = c;
    return 0;
}

int unix_scm_collect(const struct cmsg_in *c, struct unix_scm **out, struct ucred_k *cred)
{
    const struct cmsg_head *h;
    size_t pos = 0;
    int err = 0;
    *out = NULL;
    while (!err && (h = cmsg_next(c, &pos, &err))) {
        if (h->level != SOL_SOCKET_N)
            continue;
        if (h->type == SCM_RIGHTS_N)
            err = collect_rights(h, out);
        else if (h->type == SCM_CREDENTIALS_N)
            err = collect_credentials(h, cred);
        else
            err = -EINVAL;
    }
    if (err) {
        unix_scm_free(*out);
        *out = NULL;
    }
    return err;
}

int unix_scm_deliver(struct unix_scm *scm, struct sock_msg *m)
{
    int fds[SCM_MAX_FD];
    unsigned fit = (unsigned)(cmsg_room(m) / sizeof(int)), n = 0;
    bool cloexec = m->flags & MSG_CMSG_CLOEXEC_N;
    for (; n < MIN(scm->count, fit); n++) {
        file_get(scm->files[n]);
        fds[n] = fd_install(scm->files[n], 0, cloexec);
        if (fds[n] < 0) {
            file_put(scm->files[n]);
            break;
        }
    }
    if (n < scm->count)
        m->out_flags |= MSG_CTRUNC_N;
    return n ? cmsg_put(m, SOL_SOCKET_N, SCM_RIGHTS_N, fds, n * sizeof(int)) : 0;
}
