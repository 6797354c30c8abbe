/*
 * Controlling terminals: which session a terminal belongs to, which of its groups is in the
 * foreground, and what becomes of the others.
 *
 * process->tty is counted and changes under process_lock; tty->sid and pgid under tty->lock.
 */
#include "linux/proc.h"
#include "linux/signals.h"
#include "linux/tty_internal.h"

/* p's controlling terminal becomes t, or none (NULL). */
static void set_controlling(struct process *p, struct tty *t)
{
    if (t)
        tty_get(t);
    spin_lock_bh(&process_lock);
    struct tty *old = p->tty;
    p->tty = t;
    spin_unlock_bh(&process_lock);
    if (old)
        tty_put(old);
}

struct tty *tty_of_current(void)
{
    spin_lock_bh(&process_lock);
    struct tty *t = current_process()->tty;
    if (t)
        tty_get(t);
    spin_unlock_bh(&process_lock);
    return t;
}

void tty_of_process(struct process *p, uint32_t *dev, int *group)
{
    *dev = 0;
    *group = -1;
    spin_lock_bh(&process_lock);
    if (p->tty) {
        *dev = p->tty->dev;
        *group = READ_ONCE(p->tty->pgid);
    }
    spin_unlock_bh(&process_lock);
}

/* No process of session sid keeps t as its terminal. */
static void forget_session(struct tty *t, int sid)
{
    int count = 0;
    spin_lock_bh(&process_lock);
    for (struct process *p = process_first_locked(); p; p = process_after_locked(p)) {
        if (p->sid == sid && p->tty == t) {
            p->tty = NULL;
            count++;
        }
    }
    spin_unlock_bh(&process_lock);
    while (count--)
        tty_put(t);
}

/* The leader of the session that t controls goes, or gives it up: t is free, and who was in the
 * foreground is told. */
static void release_session(struct tty *t, int sid)
{
    spin_lock(&t->lock);
    int group = t->sid == sid ? t->pgid : 0;
    if (t->sid == sid)
        t->sid = t->pgid = 0;
    spin_unlock(&t->lock);
    if (group) {
        signal_send_group(group, SIGHUP_N, NULL);
        signal_send_group(group, SIGCONT_N, NULL);
    }
    forget_session(t, sid);
}

void tty_process_ends(struct process *p)
{
    struct tty *t = tty_of_current();
    if (!t)
        return;
    if (p->pid == p->sid)
        release_session(t, p->sid);
    set_controlling(p, NULL);
    tty_put(t);
}

int tty_give_up(struct tty *t)
{
    struct process *p = current_process();
    if (p->tty != t)
        return -ENOTTY;
    if (p->pid == p->sid)
        release_session(t, p->sid);
    else
        set_controlling(p, NULL);
    return 0;
}

int tty_take(struct tty *t, bool steal)
{
    struct process *p = current_process();
    int robbed = 0;
    if (p->pid == p->sid && p->tty == t && t->sid == p->sid)
        return 0;
    if (p->pid != p->sid || p->tty)
        return -EPERM;
    spin_lock(&t->lock);
    if (t->sid && steal)
        robbed = t->sid;
    bool free = !t->sid || robbed;
    if (free) {
        t->sid = p->sid;
        t->pgid = p->pgid;
    }
    spin_unlock(&t->lock);
    if (robbed)
        forget_session(t, robbed);
    if (free)
        set_controlling(p, t);
    return free ? 0 : -EPERM;
}

/* The session of a process group, or -ESRCH. */
static int session_of_group(int pgid)
{
    int sid = -ESRCH;
    spin_lock_bh(&process_lock);
    for (struct process *p = process_first_locked(); p && sid < 0; p = process_after_locked(p)) {
        if (p->pgid == pgid)
            sid = p->sid;
    }
    spin_unlock_bh(&process_lock);
    return sid;
}

int tty_set_foreground(struct tty *t, int pgid)
{
    struct process *p = current_process();
    if (p->tty != t || (t->sid && t->sid != p->sid))
        return -ENOTTY;
    if (pgid < 0)
        return -EINVAL;
    int sid = session_of_group(pgid);
    if (sid < 0)
        return sid;
    if (sid != p->sid)
        return -EPERM;
    spin_lock(&t->lock);
    t->pgid = pgid;
    spin_unlock(&t->lock);
    return 0;
}

int tty_check_foreground(struct tty *t, int signo)
{
    struct process *p = current_process();
    if (p->tty != t || !t->pgid || p->pgid == t->pgid)
        return 0;
    bool ignored = current_task()->blocked & SIG_BIT(signo) ||
                   READ_ONCE(p->sighand->action[signo - 1].handler) == SIG_IGN_N;
    if (ignored) /* the signal would not stop it: it would be here again and again */
        return signo == SIGTTOU_N ? 0 : -EIO;
    if (process_group_orphaned(p))
        return -EIO;
    signal_send_group(p->pgid, signo, NULL);
    return -ERESTARTSYS;
}
