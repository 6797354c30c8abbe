/*
 * x86-64: the current CPU. GS points to its struct cpu, the first object of the CPU's own copy of
 * the .percpu section.
 */
#ifndef ARCH_CPU_H
#define ARCH_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct thread;
struct aspace;

struct cpu {
    struct cpu *self;
    struct thread *current;
    uint64_t kernel_stack; /* of the current thread: just behind its struct user_regs */
    uint64_t user_rsp;     /* scratch of the system call entry */
    int id;
    uint32_t bh_state; /* nesting of bh_disable; CPU_BH_IDLE is set while nothing is pending */
    uint32_t resched;  /* RESCHED_*: what is due when the CPU returns to user mode or idles */
    uint32_t apic_id;
    ptrdiff_t percpu_offset;
    struct thread *user_owner; /* whose user state was loaded last; may be dead by now */
    struct aspace *aspace;     /* whose page table is loaded; NULL: the kernel's own */
    uint64_t tlb_generation;   /* of that address space, as this CPU last flushed it */
    uint32_t lazy_tlb;         /* runs no thread of that address space now */
    uint32_t user_unsaved;     /* the registers are newer than what is in user_owner */
    struct tss *tss;
};

#define CPU_BH_IDLE 0x80000000u
#define RESCHED_SWITCH 1u /* another thread is to run */
#define RESCHED_TELL 2u   /* the current one is to pass through personality_switched */

/* Per-CPU variables: `static PERCPU struct foo foo;` is used through cpu_local(foo) by the current
 * CPU and cpu_local_of(foo, n) for CPU n. Zero at the start, no initializers. */
#define PERCPU __attribute__((section(".bss.percpu")))
extern ptrdiff_t cpu_percpu_offset[];

#define CPU_FIELD(field)                                                                           \
    ({                                                                                             \
        __typeof__(((struct cpu *)0)->field) cpu_field;                                            \
        asm volatile("mov %%gs:%c1, %0" : "=r"(cpu_field) : "i"(offsetof(struct cpu, field)));     \
        cpu_field;                                                                                 \
    })
#define cpu_local_at(var, offset) ((__typeof__(var) *)((char *)&(var) + (offset)))
#define cpu_local(var) cpu_local_at(var, CPU_FIELD(percpu_offset))
#define cpu_local_of(var, n) cpu_local_at(var, cpu_percpu_offset[n])

static inline int cpu_id(void)
{
    return CPU_FIELD(id);
}
static inline struct cpu *cpu_self(void)
{
    return CPU_FIELD(self);
}

static inline struct thread *thread_current(void)
{
    /* Not volatile: on one stack it is always the same thread, wherever that runs. */
    struct thread *t;
    asm("mov %%gs:%c1, %0" : "=r"(t) : "i"(offsetof(struct cpu, current)));
    return t;
}

void bh_run(void);

static inline void bh_disable(void)
{
    asm volatile("incl %%gs:%c0" : : "i"(offsetof(struct cpu, bh_state)) : "memory", "cc");
}

static inline void bh_enable(void)
{
    /* Zero: the outermost level, and something is pending. */
    asm goto("decl %%gs:%c0; jz %l[pending]"
             :
             : "i"(offsetof(struct cpu, bh_state))
             : "memory", "cc"
             : pending);
    return;
pending:
    bh_run();
}

/* Bottom halves are off on this CPU: in one, in an interrupt, or after bh_disable. No sleeping. */
static inline bool in_bh(void)
{
    return (CPU_FIELD(bh_state) & ~CPU_BH_IDLE) != 0;
}

#define X86_FLAGS_IF 0x200ul

static inline unsigned long arch_irq_flags(void)
{
    unsigned long flags;
    asm volatile("pushfq; popq %0" : "=r"(flags) : : "memory");
    return flags;
}
static inline void arch_irq_disable(void)
{
    asm volatile("cli" : : : "memory");
}
static inline void arch_irq_enable(void)
{
    asm volatile("sti" : : : "memory");
}
static inline bool arch_irqs_on(void)
{
    return arch_irq_flags() & X86_FLAGS_IF;
}

/* Turns interrupts off; what arch_irq_restore puts back. */
static inline unsigned long arch_irq_save(void)
{
    unsigned long flags = arch_irq_flags();
    arch_irq_disable();
    return flags;
}
static inline void arch_irq_restore(unsigned long flags)
{
    if (flags & X86_FLAGS_IF)
        arch_irq_enable();
}

static inline void cpu_relax(void)
{
    asm volatile("pause" : : : "memory");
}

#endif
