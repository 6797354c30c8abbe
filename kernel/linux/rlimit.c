/* Resource limits. */
#include <linux/resource.h>

#include "linux/fd.h"
#include "linux/proc.h"
#include "linux/syscall.h"

static int get_limit(struct process *p, unsigned which, struct rlimit_k *l)
{
    if (which >= RLIMIT_COUNT)
        return -EINVAL;
    *l = p->rlimits[which];
    return 0;
}

static int set_limit(struct process *p, unsigned which, const struct rlimit_k *l)
{
    if (which >= RLIMIT_COUNT || l->cur > l->max)
        return -EINVAL;
    if (which == RLIMIT_NOFILE && l->max > FD_MAX && l->max > p->rlimits[which].max)
        return -EPERM;
    if (l->max > p->rlimits[which].max && !capable(24 /* CAP_SYS_RESOURCE */))
        return -EPERM;
    p->rlimits[which] = *l;
    if (which == RLIMIT_CPU || which == RLIMIT_RTTIME)
        cpu_limits_changed(p);
    return 0;
}

long sys_getrlimit(unsigned which, uaddr_t dst)
{
    struct rlimit_k l;
    int err = get_limit(current_process(), which, &l);
    return err ? err : copy_to_user(dst, &l, sizeof(l)) ? -EFAULT : 0;
}

long sys_setrlimit(unsigned which, uaddr_t src)
{
    struct rlimit_k l;
    if (copy_from_user(&l, src, sizeof(l)))
        return -EFAULT;
    return set_limit(current_process(), which, &l);
}

/* Another process' limits: the same user in all ids, or CAP_SYS_RESOURCE. */
static bool may_limit(const struct process *p)
{
    const struct cred *me = current_cred(), *it = p->fs.cred;
    bool same = me->uid == it->uid && me->uid == it->euid && me->uid == it->suid &&
                me->gid == it->gid && me->gid == it->egid && me->gid == it->sgid;
    return p == current_process() || same || capable(24 /* CAP_SYS_RESOURCE */);
}

long sys_prlimit64(int pid, unsigned which, uaddr_t src, uaddr_t dst)
{
    struct rlimit_k new_limit, old;
    if (src && copy_from_user(&new_limit, src, sizeof(new_limit)))
        return -EFAULT;
    struct process *p = pid ? process_find(pid) : current_process();
    if (!p)
        return -ESRCH;
    int err = may_limit(p) ? get_limit(p, which, &old) : -EPERM;
    if (!err && src)
        err = set_limit(p, which, &new_limit);
    if (pid)
        process_put(p);
    if (!err && dst && copy_to_user(dst, &old, sizeof(old)))
        err = -EFAULT;
    return err;
}
