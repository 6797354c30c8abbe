/* x86-64: a thread's saved state and the registers of a program. */
#ifndef ARCH_CONTEXT_H
#define ARCH_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What arch keeps of a thread. "User state" is what the kernel itself does not use: the vector
 * registers and the FS and GS bases. It stays in the CPU while the thread sleeps and is loaded
 * again only if another user thread had that CPU, or this thread another CPU. With one CPU it is
 * also saved only then; with several, whenever the thread is switched away from, so that any of
 * them may take it.
 */
struct arch_context {
    uint64_t rsp; /* kernel stack pointer while switched out; first member, see switch.S */
    uint64_t fs_base, gs_base;
    void *fpu;     /* XSAVE area, at the top of the kernel stack */
    int state_cpu; /* CPU that loaded the user state last, or -1 */
    bool user;     /* has a user state */
};

/* The order is that of Linux's struct pt_regs, so ptrace and core dumps are plain copies. Lies at a
 * fixed place on the kernel stack. */
struct user_regs {
    uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    uint64_t orig_rax; /* system call number, or -1 for traps and interrupts */
    uint64_t rip, cs, rflags, rsp, ss;
};

/* A program's thread's registers as of its last entry into the kernel. */
static inline const struct user_regs *arch_context_regs(const struct arch_context *c)
{
    return (const struct user_regs *)c->fpu - 1;
}

/* The thread entered the kernel by a trap or an interrupt of its program, not by a system call. */
static inline bool arch_context_trapped(const struct arch_context *c)
{
    return arch_context_regs(c)->orig_rax == (uint64_t)-1;
}

/* Defined here to be inlined; described in core/user.h. */
static inline void user_regs_set_result(struct user_regs *regs, long value)
{
    regs->rax = (uint64_t)value;
}
static inline long user_regs_result(const struct user_regs *regs)
{
    return (long)regs->rax;
}
static inline uint64_t user_regs_ip(const struct user_regs *regs)
{
    return regs->rip;
}
static inline uint64_t user_regs_sp(const struct user_regs *regs)
{
    return regs->rsp;
}
static inline void user_regs_set_ip(struct user_regs *regs, uint64_t ip)
{
    regs->rip = ip;
}
static inline void user_regs_set_sp(struct user_regs *regs, uint64_t sp)
{
    regs->rsp = sp;
}
static inline void user_regs_restart(struct user_regs *regs, long nr)
{
    regs->rip -= 2; /* the length of SYSCALL */
    regs->rcx = regs->rip;
    regs->rax = (uint64_t)nr;
}
/* Argument i (0..5) of a system call. */
static inline uint64_t user_regs_arg(const struct user_regs *regs, unsigned i)
{
    switch (i) {
    case 0:
        return regs->rdi;
    case 1:
        return regs->rsi;
    case 2:
        return regs->rdx;
    case 3:
        return regs->r10;
    case 4:
        return regs->r8;
    default:
        return regs->r9;
    }
}

/* The current thread's GS base: arch_prctl. */
void user_gs_set(uint64_t base);
uint64_t user_gs_get(void);

#endif
