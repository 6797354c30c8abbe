/* What arch calls in core, and core's files in each other. */
#ifndef CORE_MAIN_H
#define CORE_MAIN_H

#include "core/thread.h"

/* Boot. arch has memory mapped, descriptor tables loaded, interrupts off. */
NORETURN void kernel_main(void);
/* A CPU's timers, bottom halves and scheduler; it runs its idle thread from now on. On that CPU,
 * before it takes interrupts or is counted as running. */
void core_init_cpu(int cpu);
/* A CPU started by arch_start_cpus, on its own stack, interrupts off. */
NORETURN void cpu_main(int cpu);

/* Bracket every interrupt handler (hard interrupt context); irq_exit runs bottom halves. from_user:
 * it interrupted a program. */
void irq_enter(bool from_user);
void irq_exit(void);
/* The interrupt of vector; false if nobody owns it. */
bool irq_dispatch(int vector);
/* The timer of arch_timer_set went off. */
void timer_interrupt(void);
/* How many there were on this CPU. */
uint64_t timer_interrupts(int cpu);
/* Another CPU used arch_kick. */
void sched_kicked(void);
/* Lets the most deserving thread run; the current one goes on later unless it sleeps or is dead.
 * Thread context, no spin lock held. */
void schedule(void);
/* On a new thread's own stack, before its function. */
void thread_started(struct thread *t);

/* --- inside core --- */

void page_init(void);
void slab_init(void);
void sched_init_cpu(int cpu, struct thread *idle);
NORETURN void sched_idle_loop(void);
void timer_init_cpu(int cpu);
void bh_init_cpu(int cpu);
void bh_start_thread(int cpu);
void work_start_thread(void);
/* Charges the interrupted thread; user: it ran the program. */
void sched_account_interrupt(nsec_t now, bool user);
void rand_init(void);
/* What the boot argument loglevel says. */
void klog_init(void);
/* The end of this thread's time slice on this CPU, if others wait; else NSEC_NEVER. */
nsec_t sched_slice_end(void);
/* The slice timer's part of the timer interrupt. */
void sched_tick(nsec_t now);
/* Reprograms the hardware timer if `deadline` is earlier than what it is set to. Interrupts off. */
void timer_hardware_arm(nsec_t deadline);
/* Reads the clock and remembers it for time_coarse. */
nsec_t time_refresh(void);
/* The thread that boots the floors, and tests of core itself (boot argument selftest=1). */
void selftest_run(void);

#endif
