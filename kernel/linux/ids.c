/* Process numbers, groups and sessions. */
#include "linux/proc.h"
#include "linux/signals.h"
#include "linux/syscall.h"
#include "linux/tty.h"

long sys_getpid(void)
{
    return current_process()->pid;
}
long sys_gettid(void)
{
    return ((struct task *)thread_current())->tid;
}

long sys_getppid(void)
{
    spin_lock_bh(&process_lock);
    struct process *parent = current_process()->parent;
    int pid = parent ? parent->pid : 0;
    spin_unlock_bh(&process_lock);
    return pid;
}

long sys_getpgid(int pid)
{
    struct process *p = pid ? process_find(pid) : current_process();
    if (!p)
        return -ESRCH;
    int pgid = p->pgid;
    if (pid)
        process_put(p);
    return pgid;
}

long sys_getpgrp(void)
{
    return current_process()->pgid;
}

long sys_getsid(int pid)
{
    struct process *p = pid ? process_find(pid) : current_process();
    if (!p)
        return -ESRCH;
    int sid = p->sid;
    if (pid)
        process_put(p);
    return sid;
}

/* setpgid(2)'s rules; under process_lock. */
static int set_group(struct process *me, int pid, int pgid)
{
    struct process *p = me, *each;
    if (pid != me->pid) {
        p = NULL;
        list_for_each (each, &me->children, sibling) {
            if (each->pid == pid)
                p = each;
        }
        if (!p || p->zombie)
            return -ESRCH;
        if (p->sid != me->sid)
            return -EPERM;
        if (p->did_exec)
            return -EACCES;
    }
    if (p->sid == p->pid)
        return -EPERM;
    if (pgid != p->pid) {
        bool found = false;
        for (each = process_first_locked(); each && !found; each = process_after_locked(each))
            found = each->pgid == pgid && each->sid == me->sid;
        if (!found)
            return -EPERM;
    }
    p->pgid = pgid;
    return 0;
}

long sys_setpgid(int pid, int pgid)
{
    struct process *me = current_process();
    if (pgid < 0)
        return -EINVAL;
    if (pid == 0)
        pid = me->pid;
    if (pgid == 0)
        pgid = pid;
    spin_lock_bh(&process_lock);
    int err = set_group(me, pid, pgid);
    spin_unlock_bh(&process_lock);
    return err;
}

long sys_setsid(void)
{
    struct process *me = current_process();
    long res = me->pid;
    struct tty *tty = NULL;
    spin_lock_bh(&process_lock);
    for (struct process *p = process_first_locked(); p; p = process_after_locked(p)) {
        if (p->pgid == me->pid)
            res = -EPERM;
    }
    if (res > 0) {
        me->sid = me->pgid = me->pid;
        tty = me->tty;
        me->tty = NULL;
    }
    spin_unlock_bh(&process_lock);
    if (tty)
        tty_put(tty);
    return res;
}
