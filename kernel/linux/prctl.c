/* prctl: odds and ends of a process. */
#include <linux/prctl.h>

#include "core/uio.h"
#include "linux/mm.h"
#include "linux/proc.h"
#include "linux/signals.h"
#include "linux/syscall.h"

static long set_comm(struct task *t, uaddr_t src)
{
    char name[sizeof(t->comm)];
    ssize_t n = strncpy_from_user(name, src, sizeof(name));
    if (n == -ENAMETOOLONG) { /* longer ones are cut */
        if (copy_from_user(name, src, sizeof(name) - 1))
            return -EFAULT;
        name[sizeof(name) - 1] = '\0';
    } else if (n < 0) {
        return n;
    }
    str_copy(t->comm, name, sizeof(t->comm));
    str_copy(t->thread.name, name, sizeof(t->thread.name));
    return 0;
}

static long set_mm(struct mm *mm, int field, uint64_t addr)
{
    if (!capable(24 /* CAP_SYS_RESOURCE */))
        return -EPERM;
    if (addr >= USER_MAX)
        return -EINVAL;
    switch (field) {
    case PR_SET_MM_ARG_START:
        mm->arg_start = addr;
        return 0;
    case PR_SET_MM_ARG_END:
        mm->arg_end = addr;
        return 0;
    case PR_SET_MM_ENV_START:
        mm->env_start = addr;
        return 0;
    case PR_SET_MM_ENV_END:
        mm->env_end = addr;
        return 0;
    }
    return -EINVAL;
}

/* What a region is called in /proc/PID/maps is the program's own business; nothing here keeps it.
 */
#define PR_SET_VMA_N 0x53564d41

long sys_prctl(int option, uint64_t arg2, uint64_t arg3, uint64_t arg4, uint64_t arg5)
{
    struct task *t = (struct task *)thread_current();
    struct process *p = t->process;
    int value;
    switch (option) {
    case PR_SET_NAME:
        return set_comm(t, arg2);
    case PR_GET_NAME:
        return copy_to_user(arg2, t->comm, sizeof(t->comm)) ? -EFAULT : 0;
    case PR_SET_DUMPABLE:
        if (arg2 > 1)
            return -EINVAL;
        p->dumpable = arg2;
        return 0;
    case PR_GET_DUMPABLE:
        return p->dumpable;
    case PR_SET_KEEPCAPS:
        if (arg2 > 1)
            return -EINVAL;
        p->keep_caps = arg2;
        return 0;
    case PR_GET_KEEPCAPS:
        return p->keep_caps;
    case PR_SET_PDEATHSIG:
        if (arg2 > SIG_COUNT)
            return -EINVAL;
        p->pdeath_signal = (int)arg2;
        return 0;
    case PR_GET_PDEATHSIG:
        return copy_to_user(arg2, &p->pdeath_signal, sizeof(int)) ? -EFAULT : 0;
    case PR_SET_NO_NEW_PRIVS:
        if (arg2 != 1 || arg3 || arg4 || arg5)
            return -EINVAL;
        p->no_new_privs = true;
        return 0;
    case PR_GET_NO_NEW_PRIVS:
        return arg2 || arg3 || arg4 || arg5 ? -EINVAL : p->no_new_privs;
    case PR_SET_CHILD_SUBREAPER:
        p->child_subreaper = arg2 != 0;
        return 0;
    case PR_GET_CHILD_SUBREAPER:
        value = (int)p->child_subreaper;
        return copy_to_user(arg2, &value, sizeof(int)) ? -EFAULT : 0;
    case PR_CAPBSET_READ:
    case PR_CAPBSET_DROP:
    case PR_CAP_AMBIENT:
        return cred_prctl(option, arg2, arg3);
    case PR_GET_SECUREBITS:
        return 0;
    case PR_SET_MM:
        return set_mm(p->mm, (int)arg2, arg3);
    case PR_SET_TIMERSLACK:
        t->timer_slack = arg2;
        return 0;
    case PR_GET_TIMERSLACK:
        return t->timer_slack ? (long)t->timer_slack : 50000;
    case PR_GET_TID_ADDRESS:
        return copy_to_user(arg2, &t->clear_child_tid, 8) ? -EFAULT : 0;
    case PR_GET_THP_DISABLE:
        return 1; /* there are none */
    case PR_SET_VMA_N:
        return -EINVAL; /* as a Linux without CONFIG_ANON_VMA_NAME */
    }
    return -EINVAL;
}

long sys_personality(uint32_t persona)
{
    struct process *p = current_process();
    uint32_t old = p->personality;
    if (persona != 0xffffffff) {
        if (persona & 0xff)
            return -EINVAL; /* only PER_LINUX */
        p->personality = persona;
    }
    return old;
}
