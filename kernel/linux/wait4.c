/* wait4 and waitid: what became of the children. */
#include <linux/wait.h>

#include "linux/pidfd.h"
#include "linux/proc.h"
#include "linux/signals.h"
#include "linux/syscall.h"
#include "linux/clock.h"

struct selector {
    int type; /* P_ALL, P_PID, P_PGID */
    int id;
    unsigned options; /* W* */
};

struct outcome {
    int pid, code, status; /* CLD_* and its status; wait_status: wait(2) format */
    int wait_status;
    uint32_t uid;
    nsec_t user_ns, system_ns;
    uint64_t min_faults, maj_faults;
};

static bool selected(const struct selector *s, const struct process *c)
{
    if (s->type == P_PID && c->pid != s->id)
        return false;
    if (s->type == P_PGID && c->pgid != s->id)
        return false;
    if (s->options & __WALL)
        return true;
    return (c->exit_signal != SIGCHLD_N) == !!(s->options & __WCLONE);
}

static void describe(const struct process *c, struct outcome *out)
{
    out->pid = c->pid;
    out->uid = c->fs.cred->uid;
    out->user_ns = c->user_ns + c->child_user_ns;
    out->system_ns = c->system_ns + c->child_system_ns;
    out->min_faults = c->min_faults + c->child_min_faults;
    out->maj_faults = c->maj_faults + c->child_maj_faults;
}

/* Whether child c has something to tell; consumes it unless WNOWAIT. Under process_lock. *dead: the
 * child was reaped, the caller puts it. */
static bool take(const struct selector *s, struct process *p, struct process *c,
                 struct outcome *out, struct process **dead)
{
    bool keep = s->options & WNOWAIT;
    if (c->zombie && (s->options & WEXITED)) {
        describe(c, out);
        out->wait_status = c->exit_status;
        int sig = c->exit_status & 0x7f;
        out->code = !sig ? CLD_EXITED_N : c->exit_status & 0x80 ? CLD_DUMPED_N : CLD_KILLED_N;
        out->status = sig ? sig : c->exit_status >> 8;
        if (!keep) {
            p->child_user_ns += out->user_ns;
            p->child_system_ns += out->system_ns;
            p->child_min_faults += out->min_faults;
            p->child_maj_faults += out->maj_faults;
            process_reap_locked(c);
            *dead = c;
        }
        return true;
    }
    if (c->stopped && !c->stop_reported && (s->options & WSTOPPED)) {
        describe(c, out);
        out->code = CLD_STOPPED_N;
        out->status = c->stop_signal;
        out->wait_status = c->stop_signal << 8 | 0x7f;
        c->stop_reported |= !keep;
        return true;
    }
    if (c->continued && (s->options & WCONTINUED)) {
        describe(c, out);
        out->code = CLD_CONTINUED_N;
        out->status = SIGCONT_N;
        out->wait_status = 0xffff;
        c->continued &= keep;
        return true;
    }
    return false;
}

/* 1: *out is filled in; 0: children, but nothing to tell; -ECHILD. */
static int look(const struct selector *s, struct outcome *out)
{
    struct process *p = current_process(), *c, *dead = NULL;
    int res = -ECHILD;
    spin_lock_bh(&process_lock);
    list_for_each (c, &p->children, sibling) {
        if (!selected(s, c))
            continue;
        res = 0;
        if (take(s, p, c, out, &dead)) {
            res = 1;
            break;
        }
    }
    spin_unlock_bh(&process_lock);
    if (dead)
        process_put(dead);
    return res;
}

static int wait_for(const struct selector *s, struct outcome *out)
{
    int res = look(s, out);
    if (res || (s->options & WNOHANG))
        return res;
    int err = wait_event_interruptible(&current_process()->child_wait, (res = look(s, out)) != 0);
    return err ? err : res;
}

static int export_rusage(uaddr_t dst, const struct outcome *o)
{
    struct rusage_k r = {
        .user = timeval_of(o->user_ns),
        .system = timeval_of(o->system_ns),
        .min_faults = (int64_t)o->min_faults,
        .maj_faults = (int64_t)o->maj_faults,
    };
    return dst ? copy_to_user(dst, &r, sizeof(r)) : 0;
}

long sys_wait4(int pid, uaddr_t status, int options, uaddr_t rusage)
{
    if (options & ~(WNOHANG | WUNTRACED | WCONTINUED | __WNOTHREAD | (int)__WALL | (int)__WCLONE))
        return -EINVAL;
    if (pid == (int)0x80000000)
        return -ESRCH;
    struct selector s = {
        .type = pid == -1 ? P_ALL
                : pid > 0 ? P_PID
                          : P_PGID,
        .id = pid > 0    ? pid
              : pid == 0 ? current_process()->pgid
                         : -pid,
        .options = (unsigned)options | WEXITED,
    };
    struct outcome out;
    int res = wait_for(&s, &out);
    if (res <= 0)
        return res;
    if (status && copy_to_user(status, &out.wait_status, sizeof(int)))
        return -EFAULT;
    if (export_rusage(rusage, &out))
        return -EFAULT;
    return out.pid;
}

long sys_waitid(int type, int id, uaddr_t info, int options, uaddr_t rusage)
{
    if (options & ~(WNOHANG | WEXITED | WSTOPPED | WCONTINUED | WNOWAIT | __WNOTHREAD |
                    (int)__WALL | (int)__WCLONE))
        return -EINVAL;
    if (!(options & (WEXITED | WSTOPPED | WCONTINUED)))
        return -EINVAL;
    struct selector s = {.type = type, .id = id, .options = (unsigned)options};
    bool nonblock = false;
    switch (type) {
    case P_ALL:
        break;
    case P_PID:
        if (id <= 0)
            return -EINVAL;
        break;
    case P_PGID:
        if (id < 0)
            return -EINVAL;
        if (id == 0)
            s.id = current_process()->pgid;
        break;
    case P_PIDFD:
        s.type = P_PID;
        s.id = pidfd_pid(id, &nonblock);
        if (s.id < 0)
            return s.id;
        if (nonblock)
            s.options |= WNOHANG;
        break;
    default:
        return -EINVAL;
    }
    struct outcome out;
    int res = wait_for(&s, &out);
    if (res == 0 && nonblock && !(options & WNOHANG))
        return -EAGAIN;
    if (res < 0)
        return res;
    if (res > 0 && export_rusage(rusage, &out))
        return -EFAULT;
    if (!info)
        return 0;
    char si[128] = {0};
    if (res > 0) {
        struct siginfo_k k = {.signo = SIGCHLD_N,
                              .code = out.code,
                              .pid = out.pid,
                              .uid = out.uid,
                              .status = out.status};
        siginfo_export(&k, si);
    }
    /* Only the part that Linux writes, but all of it zero when there was nothing. */
    return copy_to_user(info, si, sizeof(si)) ? -EFAULT : 0;
}
