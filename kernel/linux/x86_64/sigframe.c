/*
 * Signal frames, as Linux lays them out on x86-64 (arch/x86/include/uapi/asm/sigcontext.h and
 * ucontext): from the top of the stack down: the extended state (64-byte aligned, followed by a
 * magic word), the siginfo, the ucontext, and the return address of the handler (the restorer,
 * which calls rt_sigreturn).
 */
#include <asm/sigcontext.h>
#include <asm/unistd.h>

#include "core/uio.h"
#include "linux/signals.h"

#define UC_FP_XSTATE 1u
#define UC_SIGCONTEXT_SS 2u
#define UC_STRICT_RESTORE_SS 4u
#define SW_RESERVED_OFFSET 464 /* of struct _fpx_sw_bytes in the FXSAVE area */
#define RED_ZONE 128
#define FPU_MAX 4096

struct stack_k {
    uint64_t sp;
    uint32_t flags, pad;
    uint64_t size;
};

struct ucontext_k {
    uint64_t flags;
    uint64_t link;
    struct stack_k stack;
    struct sigcontext_64 context;
    sigset_k mask;
};

struct frame {
    uint64_t return_address;
    struct ucontext_k uc;
    char info[128];
};

static inline struct task *self(void)
{
    return (struct task *)thread_current();
}

bool syscall_interrupted(const struct user_regs *regs, long *nr)
{
    *nr = (long)regs->orig_rax;
    return *nr >= 0;
}

void regs_not_in_syscall(struct user_regs *regs)
{
    regs->orig_rax = (uint64_t)-1;
}

long restart_syscall_nr(void)
{
    return __NR_restart_syscall;
}

/* --- siginfo ---------------------------------------------------------------------------------- */

/* siginfo_t's parts by offset (uapi/asm-generic/siginfo.h). */
struct raw_siginfo {
    int32_t signo, err, code, pad;
    union {
        struct {
            int32_t pid;
            uint32_t uid;
            union {
                uint64_t value;
                struct {
                    int32_t status, pad;
                    int64_t utime, stime;
                } child;
            };
        } from;
        struct {
            int32_t id, overrun;
            uint64_t value;
        } timer;
        uint64_t addr;
        struct {
            int64_t band;
            int32_t fd;
        } poll;
        char fill[112];
    };
};
_Static_assert(sizeof(struct raw_siginfo) == 128, "siginfo_t");

static bool is_fault(const struct siginfo_k *k)
{
    return k->code > 0 && k->code != SI_KERNEL_N &&
           (k->signo == SIGSEGV_N || k->signo == SIGBUS_N || k->signo == SIGILL_N ||
            k->signo == SIGFPE_N || k->signo == SIGTRAP_N);
}

void siginfo_export(const struct siginfo_k *k, void *out)
{
    struct raw_siginfo *r = out;
    memset(r, 0, sizeof(*r));
    r->signo = k->signo;
    r->err = k->err;
    r->code = k->code;
    if (is_fault(k)) {
        r->addr = k->addr;
    } else if (k->code == SI_TIMER_N) {
        r->timer.id = k->timer_id;
        r->timer.overrun = k->overrun;
        r->timer.value = k->addr;
    } else if (k->signo == 29 /* SIGIO */ && k->code > 0) {
        r->poll.band = k->band;
        r->poll.fd = k->fd;
    } else {
        r->from.pid = k->pid;
        r->from.uid = k->uid;
        if (k->signo == SIGCHLD_N && k->code > 0) {
            r->from.child.status = k->status;
            r->from.child.utime = k->utime / (NSEC_PER_SEC / 100);
            r->from.child.stime = k->stime / (NSEC_PER_SEC / 100);
        } else {
            r->from.value = k->addr;
        }
    }
}

void siginfo_import(const void *in, struct siginfo_k *k)
{
    const struct raw_siginfo *r = in;
    *k = (struct siginfo_k){.signo = r->signo,
                            .err = r->err,
                            .code = r->code,
                            .pid = r->from.pid,
                            .uid = r->from.uid,
                            .addr = r->from.value};
}

/* --- building --------------------------------------------------------------------------------- */

static uaddr_t stack_for(struct task *t, const struct user_regs *regs, uint64_t flags)
{
    uaddr_t sp = regs->rsp - RED_ZONE;
    bool on_alt = t->altstack.size && regs->rsp > t->altstack.sp &&
                  regs->rsp - t->altstack.sp <= t->altstack.size;
    if ((flags & SA_ONSTACK_N) && t->altstack.size && !on_alt)
        sp = t->altstack.sp + t->altstack.size;
    return sp;
}

/* Stores the extended state below *sp. With XSAVE the area announces its size and ends in a magic.
 */
static int put_fpu(uaddr_t *sp)
{
    size_t size = user_fpu_size();
    bool xsave = size > 512;
    char *buf = kmalloc(size + 4 + 64);
    if (!buf)
        return -EFAULT;
    char *area = (char *)ROUND_UP((uintptr_t)buf, 64);
    user_fpu_save(area);
    *sp = ROUND_DOWN(*sp - size - (xsave ? FP_XSTATE_MAGIC2_SIZE : 0), 64);
    size_t total = size;
    if (xsave) {
        struct _fpx_sw_bytes sw = {
            .magic1 = FP_XSTATE_MAGIC1,
            .extended_size = (uint32_t)size + FP_XSTATE_MAGIC2_SIZE,
            .xfeatures = user_fpu_features(),
            .xstate_size = (uint32_t)size,
        };
        uint32_t magic2 = FP_XSTATE_MAGIC2;
        memcpy(area + SW_RESERVED_OFFSET, &sw, sizeof(sw));
        memcpy(area + size, &magic2, sizeof(magic2));
        total += FP_XSTATE_MAGIC2_SIZE;
    }
    int err = copy_to_user(*sp, area, total);
    kfree(buf);
    return err;
}

int sigframe_setup(struct user_regs *regs, const struct sigaction_k *sa,
                   const struct siginfo_k *info, sigset_k oldmask)
{
    struct task *t = self();
    uaddr_t sp = stack_for(t, regs, sa->flags);
    if (!(sa->flags & SA_RESTORER_N) || put_fpu(&sp))
        return -EFAULT;
    uaddr_t fpstate = sp;
    sp = ROUND_DOWN(sp - sizeof(struct frame), 16) - 8; /* as after a call: rsp + 8 is aligned */
    struct frame f = {
        .return_address = sa->restorer,
        .uc =
            {
                .flags = UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS |
                         (user_fpu_size() > 512 ? UC_FP_XSTATE : 0),
                .stack = {.sp = t->altstack.sp,
                          .size = t->altstack.size,
                          .flags = t->altstack.size ? t->altstack.flags : 2 /* SS_DISABLE */},
                .context =
                    {
                        .r8 = regs->r8,
                        .r9 = regs->r9,
                        .r10 = regs->r10,
                        .r11 = regs->r11,
                        .r12 = regs->r12,
                        .r13 = regs->r13,
                        .r14 = regs->r14,
                        .r15 = regs->r15,
                        .di = regs->rdi,
                        .si = regs->rsi,
                        .bp = regs->rbp,
                        .bx = regs->rbx,
                        .dx = regs->rdx,
                        .ax = regs->rax,
                        .cx = regs->rcx,
                        .sp = regs->rsp,
                        .ip = regs->rip,
                        .flags = regs->rflags,
                        .cs = (uint16_t)regs->cs,
                        .ss = (uint16_t)regs->ss,
                        .cr2 = is_fault(info) ? info->addr : 0,
                        .oldmask = oldmask,
                        .fpstate = fpstate,
                    },
                .mask = oldmask,
            },
    };
    siginfo_export(info, f.info);
    if (copy_to_user(sp, &f, sizeof(f)))
        return -EFAULT;
    if (t->altstack.flags & 0x80000000u) /* SS_AUTODISARM */
        t->altstack.sp = t->altstack.size = t->altstack.flags = 0;
    regs->rdi = (uint64_t)info->signo;
    regs->rsi = sp + offsetof(struct frame, info);
    regs->rdx = sp + offsetof(struct frame, uc);
    regs->rax = 0;
    regs->rsp = sp;
    regs->rip = sa->handler;
    regs->rflags &= ~0x10500ul; /* RF, DF, TF */
    regs->orig_rax = (uint64_t)-1;
    return 0;
}

/* --- returning -------------------------------------------------------------------------------- */

static int get_fpu(uaddr_t fpstate)
{
    size_t size = user_fpu_size(), take = 512;
    struct _fpx_sw_bytes sw;
    if (!fpstate) { /* the state a program starts with */
        static const uint16_t initial[256] = {[0] = 0x37f /* FCW */, [12] = 0x1f80 /* MXCSR */};
        return user_fpu_load(initial, sizeof(initial));
    }
    if (copy_from_user(&sw, fpstate + SW_RESERVED_OFFSET, sizeof(sw)))
        return -EFAULT;
    if (size > 512 && sw.magic1 == FP_XSTATE_MAGIC1 && sw.xstate_size <= size &&
        sw.xstate_size >= 576 && sw.extended_size >= sw.xstate_size) {
        uint32_t magic2;
        if (copy_from_user(&magic2, fpstate + sw.xstate_size, sizeof(magic2)))
            return -EFAULT;
        if (magic2 == FP_XSTATE_MAGIC2)
            take = sw.xstate_size;
    }
    char *buf = kmalloc(take + 64);
    if (!buf)
        return -EFAULT;
    char *area = (char *)ROUND_UP((uintptr_t)buf, 64);
    int err = copy_from_user(area, fpstate, take);
    if (!err)
        err = user_fpu_load(area, take);
    kfree(buf);
    return err;
}

#define USER_FLAGS 0x250dd5ul /* the flags a program may set: CF PF AF ZF SF TF DF OF RF AC ID */

long sigframe_return(struct user_regs *regs)
{
    struct task *t = self();
    struct ucontext_k uc;
    /* The handler's ret took the return address off. */
    uaddr_t at = regs->rsp - 8 + offsetof(struct frame, uc);
    if (copy_from_user(&uc, at, sizeof(uc)) || get_fpu(uc.context.fpstate)) {
        struct siginfo_k info = {.signo = SIGSEGV_N, .code = SI_KERNEL_N};
        signal_force(SIGSEGV_N, &info);
        return 0;
    }
    const struct sigcontext_64 *c = &uc.context;
    regs->r8 = c->r8;
    regs->r9 = c->r9;
    regs->r10 = c->r10;
    regs->r11 = c->r11;
    regs->r12 = c->r12;
    regs->r13 = c->r13;
    regs->r14 = c->r14;
    regs->r15 = c->r15;
    regs->rdi = c->di;
    regs->rsi = c->si;
    regs->rbp = c->bp;
    regs->rbx = c->bx;
    regs->rdx = c->dx;
    regs->rax = c->ax;
    regs->rcx = c->cx;
    regs->rsp = c->sp;
    regs->rip = c->ip;
    regs->rflags = (regs->rflags & ~USER_FLAGS) | (c->flags & USER_FLAGS);
    regs->orig_rax = (uint64_t)-1;
    signal_set_mask(uc.mask);
    bool on_alt = t->altstack.size && regs->rsp > t->altstack.sp &&
                  regs->rsp - t->altstack.sp <= t->altstack.size;
    if (!on_alt) {
        t->altstack.sp = uc.stack.flags & 2 ? 0 : uc.stack.sp;
        t->altstack.size = uc.stack.flags & 2 ? 0 : uc.stack.size;
        t->altstack.flags = uc.stack.flags & 0x80000000u;
    }
    return (long)c->ax;
}
