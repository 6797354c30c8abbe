/*
 * User mode: the registers of a program's thread, and the upcalls from arch to the personality.
 *
 * struct user_regs is arch's (arch/context.h); the personality uses only what is below, except for
 * its own per-architecture file (linux/x86_64/), which knows the register names for signal frames,
 * ptrace and clone.
 */
#ifndef CORE_USER_H
#define CORE_USER_H

#include "arch/context.h"
#include "core/base.h"

struct thread;

/* --- down: provided by arch ----------------------------------------------------------------- */

/* The current thread's registers as of its last entry into the kernel. */
struct user_regs *user_regs_current(void);
/* Enters user mode with these registers and never returns (first entry of a new thread). */
NORETURN void user_enter(struct user_regs *regs);
/* All zero but ip, sp and what user mode needs (segments, flags). */
void user_regs_init(struct user_regs *regs, uaddr_t ip, uaddr_t sp);
void user_regs_set_result(struct user_regs *regs, long value);
long user_regs_result(const struct user_regs *regs);
/* Argument i (0..5) of a system call. */
uint64_t user_regs_arg(const struct user_regs *regs, unsigned i);
uaddr_t user_regs_ip(const struct user_regs *regs);
uaddr_t user_regs_sp(const struct user_regs *regs);
void user_regs_set_ip(struct user_regs *regs, uaddr_t ip);
void user_regs_set_sp(struct user_regs *regs, uaddr_t sp);
/* Steps back over the system call instruction and puts nr back, so that it is issued again. */
void user_regs_restart(struct user_regs *regs, long nr);

/* The current thread's TLS base (FS base). */
void user_tls_set(uaddr_t base);
uaddr_t user_tls_get(void);
/* The same for the GS base (x86-64 only; programs rarely use it). */
void user_gs_set(uaddr_t base);
uaddr_t user_gs_get(void);
/* Set another, not running thread's TLS base; copy current's FPU state to it (clone). */
void thread_set_tls(struct thread *t, uaddr_t base);
void thread_copy_fpu(struct thread *t);
/* The FPU state of the current thread in the format of a signal frame (XSAVE); size in bytes,
 * multiple of 64; load checks what it gets from the user: -EINVAL. reset: as after execve. */
size_t user_fpu_size(void);
uint64_t user_fpu_features(void); /* bit mask of its components (XCR0); 0: FXSAVE format only */
void user_fpu_save(void *buf);
int user_fpu_load(const void *buf, size_t size);
void user_fpu_reset(void);

/* The vDSO: an ELF image (page aligned, whole pages) and the page of clock data it reads, to be
 * mapped read-only, data page(s) first. */
const void *vdso_image(size_t *size);
struct page *vdso_data_page(void);

/* --- up: provided by the personality (linux/) ------------------------------------------------- */

/* A system call. regs hold its arguments (user_regs_arg); it stores the result with
 * user_regs_set_result. Thread context, interrupts enabled. */
void personality_syscall(struct user_regs *regs, uint64_t nr);

enum user_fault {
    USER_FAULT_PAGE,       /* va; access */
    USER_FAULT_DIVIDE,     /* SIGFPE FPE_INTDIV */
    USER_FAULT_FPU,        /* SIGFPE; code: FPU/SSE status */
    USER_FAULT_ILLEGAL,    /* SIGILL */
    USER_FAULT_PROTECTION, /* SIGSEGV SI_KERNEL (general protection, non-canonical address) */
    USER_FAULT_BREAKPOINT, /* SIGTRAP */
    USER_FAULT_DEBUG,      /* SIGTRAP, single step */
    USER_FAULT_ALIGNMENT,  /* SIGBUS */
    USER_FAULT_OVERFLOW,   /* SIGSEGV */
};
/* A trap in user mode. access: PROT_R/W/X for page faults; present: the page was mapped. */
void personality_user_fault(struct user_regs *regs, enum user_fault kind, uaddr_t va,
                            unsigned access, bool present);
/* A page fault of the kernel on a user address in copy_*_user: make the page present. 0 or -EFAULT.
 * Thread context, interrupts enabled; not called while thread->fault_safe is set. */
int personality_page_fault(uaddr_t va, unsigned access, bool present);
/* Called before the return to user mode if thread->cpu_seen >= 0 and the thread was switched to on
 * another CPU than that, or after a trap or interrupt of the program (which others may have
 * followed). Thread context. */
void personality_switched(struct user_regs *regs);
/* Called before each return to user mode when thread_interrupted() is set (cheap test in arch):
 * delivers signals, may not return if the thread was killed. */
void personality_return_to_user(struct user_regs *regs);

#endif
