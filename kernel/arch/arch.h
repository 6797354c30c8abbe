/*
 * The architecture interface: everything that core and the floors above need from a machine. An
 * architecture is a folder arch/NAME with
 *
 *   include/arch/cpu.h      inline: cpu_id, thread_current, bh_disable/bh_enable/in_bh,
 * arch_irq_save/ arch_irq_restore, cpu_relax, per-CPU data include/arch/context.h  struct
 * arch_context (saved kernel context of a thread), struct user_regs the functions below, and those
 * of core/aspace.h, core/user.h, core/uio.h (user access) and core/irq.h.
 *
 * Nothing outside arch/ and core/ includes this file.
 */
#ifndef ARCH_ARCH_H
#define ARCH_ARCH_H

#include "core/base.h"
#include "core/thread.h"

/* Memory the firmware reports, before the page allocator exists. */
struct mem_range {
    paddr_t start, end;
    bool usable;
};
/* All RAM as at most max ranges, sorted, not overlapping; kernel image, boot data and modules are
 * ranges that are not usable. Returns the number. */
int arch_memory_map(struct mem_range *ranges, int max);
/* Any physical address in the direct map. */
void *arch_direct(paddr_t pa);

/* Switches kernel stacks: returns in `to`. Interrupts off. `from`'s on_cpu is cleared once its
 * context is saved. */
void arch_switch(struct thread *from, struct thread *to);
/* Prepares t->context so that the first switch to it runs fn(t) on t->stack. */
void arch_context_init(struct thread *t, void (*fn)(struct thread *t));
void arch_context_release(struct thread *t);

/* The struct page of a page of the kernel image. */
struct page *arch_page_of_image(const void *addr);
/* Kernel stacks with a guard page below. NULL when out of memory. */
void *stack_alloc(void);
void stack_free(void *stack);

/* Once memory and per-CPU data of the first CPU exist: interrupt controller. */
void arch_init(void);
/* Starts the other CPUs, each of which calls core's cpu_main(cpu). Returns the number running. */
int arch_start_cpus(void);
/* Makes another CPU run its scheduler soon (reschedule interrupt). Any context. */
void arch_kick(int cpu);
/* Runs fn(arg) on every CPU of the mask except this one, and waits. Interrupts on. */
void arch_call_cpus(cpumask_t mask, void (*fn)(void *arg), void *arg);
/* Enables interrupts and waits for one, atomically; returns with interrupts on. */
void arch_idle(void);
/* Interrupts off until the end: panic. */
void arch_halt(void);
/* Stops the other CPUs for good: panic. */
void arch_stop_others(void);

/* The clock: raw counter to ns is core's (mult/shift set by arch_clock_init). */
void arch_clock_init(void);
/* Once timers run: measures the counter's frequency more precisely in the background. */
void arch_clock_refine_later(void);
/* One-shot timer interrupt of this CPU at monotonic `deadline`; NSEC_NEVER disarms. It calls core's
 * timer_interrupt(). */
void arch_timer_set(nsec_t deadline);
/* Wall clock from the firmware, seconds since the Epoch. */
int64_t arch_rtc_read(void);
/* True entropy if the machine has an instruction for it. */
bool arch_entropy(uint64_t *value);

void arch_console_write(const char *text, size_t n);
/* Return addresses of the current stack, innermost first. */
int arch_backtrace(uintptr_t *pcs, int max, const void *frame);
/* Ends the VM: abi/boot.h. */
NORETURN void arch_power_off(void);
NORETURN void arch_exit(int code);

/* PCI configuration space windows (ECAM) and host bridge apertures found by the firmware tables. */
struct pci_host {
    paddr_t ecam;
    uint8_t bus_start, bus_end;
    paddr_t mem32_start, mem32_end; /* free for BARs below 4 GiB */
    paddr_t mem64_start, mem64_end; /* free for BARs above */
};
int arch_pci_host(struct pci_host *out);

#endif
