/* The host floor's processor: one CPU, no interrupts, bottom halves by a counter. */
#ifndef ARCH_CPU_H
#define ARCH_CPU_H

#include <stdbool.h>

struct thread;

extern int floor_bh_depth;
extern bool floor_bh_pending;
extern struct thread *floor_current;
void floor_run_bottom_halves(void);

/* Per-CPU variables are plain ones here. */
#define PERCPU
#define cpu_local(var) (&(var))
#define cpu_local_of(var, n) ((void)(n), &(var))

static inline int cpu_id(void)
{
    return 0;
}
static inline struct thread *thread_current(void)
{
    return floor_current;
}
static inline unsigned long arch_irq_save(void)
{
    return 0;
}
static inline void arch_irq_restore(unsigned long flags)
{
    (void)flags;
}
static inline void cpu_relax(void) {}
static inline bool in_bh(void)
{
    return floor_bh_depth > 0;
}
static inline void bh_disable(void)
{
    floor_bh_depth++;
}
static inline void bh_enable(void)
{
    if (floor_bh_depth == 1 && floor_bh_pending)
        floor_run_bottom_halves();
    floor_bh_depth--;
}

#endif
