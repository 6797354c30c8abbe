/*
 * Restartable sequences (rseq(2), uapi/linux/rseq.h): a program reads which CPU it runs on from its
 * own memory, and has short sequences of instructions that are aborted if anything comes between.
 *
 * The scheduler asks for personality_switched() when a thread that registered (cpu_seen >= 0) comes
 * back on another CPU, or back from a trap within the program. After a system call on the same CPU
 * there is nothing to do: a sequence must not contain one. Signals abort before their frame is
 * made.
 */
#include "core/aspace.h"
#include "core/uio.h"
#include "linux/signals.h"
#include "linux/syscall.h"

#define RSEQ_SIZE 32 /* of struct rseq, and its alignment */
#define RSEQ_UNREGISTER 1
#define CPU_ID_UNINITIALIZED ((uint32_t)-1)
/* Offsets in struct rseq. */
#define RSEQ_CPUS 0 /* cpu_id_start and cpu_id */
#define RSEQ_CS 8
#define RSEQ_NODE 20 /* node_id and mm_cid */

/* struct rseq_cs */
struct sequence {
    uint32_t version, flags;
    uint64_t start, length, abort;
};

static struct task *self(void)
{
    return (struct task *)thread_current();
}

/* One 64-bit store for both, so that they agree. */
static int tell_cpu(struct task *t)
{
    uint32_t cpus[2] = {(uint32_t)cpu_id(), (uint32_t)cpu_id()};

    t->thread.cpu_seen = (int)cpus[0];
    return copy_to_user(t->rseq + RSEQ_CPUS, cpus, sizeof(cpus));
}

static bool valid(const struct task *t, const struct sequence *s)
{
    uint32_t signature;

    if (s->version || s->flags || s->start >= USER_MAX || s->length >= USER_MAX - s->start ||
        s->abort >= USER_MAX || s->abort < sizeof(signature) || s->abort - s->start < s->length)
        return false;
    return !copy_from_user(&signature, s->abort - sizeof(signature), sizeof(signature)) &&
           signature == t->rseq_sig;
}

/* Moves the program out of the sequence it is in, if it is. */
static int abort_sequence(struct task *t, struct user_regs *regs)
{
    struct sequence s;
    uint64_t at, ip = user_regs_ip(regs), none = 0;

    if (copy_from_user(&at, t->rseq + RSEQ_CS, sizeof(at)))
        return -EFAULT;
    if (!at)
        return 0;
    if (at >= USER_MAX || copy_from_user(&s, at, sizeof(s)) || !valid(t, &s))
        return -EFAULT;
    if (copy_to_user(t->rseq + RSEQ_CS, &none, sizeof(none)))
        return -EFAULT;
    if (ip - s.start < s.length)
        user_regs_set_ip(regs, s.abort);
    return 0;
}

/* As Linux: a program whose area cannot be used ends. */
static void fail(void)
{
    signal_force(SIGSEGV_N, &(struct siginfo_k){.signo = SIGSEGV_N, .code = SI_KERNEL_N});
}

void personality_switched(struct user_regs *regs)
{
    struct task *t = self();

    if (t->rseq && (abort_sequence(t, regs) || tell_cpu(t)))
        fail();
}

int rseq_signal(struct task *t, struct user_regs *regs)
{
    return t->rseq ? abort_sequence(t, regs) : 0;
}

void rseq_forget(struct task *t)
{
    t->rseq = 0;
    t->thread.cpu_seen = -1;
}

static long unregister(struct task *t, uaddr_t area, uint32_t len, uint32_t sig)
{
    const uint32_t cpus[2] = {0, CPU_ID_UNINITIALIZED};

    if (!t->rseq || t->rseq != area || len != t->rseq_len)
        return -EINVAL;
    if (t->rseq_sig != sig)
        return -EPERM;
    if (copy_to_user(area + RSEQ_CPUS, cpus, sizeof(cpus)))
        return -EFAULT;
    rseq_forget(t);
    return 0;
}

long sys_rseq(uaddr_t area, uint32_t len, int flags, uint32_t sig)
{
    struct task *t = self();
    const uint64_t node = 0;

    if (flags & RSEQ_UNREGISTER)
        return flags & ~RSEQ_UNREGISTER ? -EINVAL : unregister(t, area, len, sig);
    if (flags)
        return -EINVAL;
    if (t->rseq) {
        if (t->rseq != area || t->rseq_len != len)
            return -EINVAL;
        return t->rseq_sig != sig ? -EPERM : -EBUSY;
    }
    if (len != RSEQ_SIZE || area % RSEQ_SIZE)
        return -EINVAL;
    if (!area || area > USER_MAX - RSEQ_SIZE)
        return -EFAULT;
    t->rseq = area;
    t->rseq_len = len;
    t->rseq_sig = sig;
    if (tell_cpu(t) || copy_to_user(area + RSEQ_NODE, &node, sizeof(node))) {
        rseq_forget(t);
        return -EFAULT;
    }
    return 0;
}
