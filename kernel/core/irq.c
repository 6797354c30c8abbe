/* Device interrupts: who owns which vector of which CPU. */
#include "core/irq.h"

#include "arch/arch.h"
#include "arch/vectors.h"
#include "core/main.h"
#include "core/mem.h"

#define VECTORS (VECTOR_LAST_DEVICE - VECTOR_FIRST_DEVICE + 1)

static PERCPU struct irq *owners[VECTORS];
static spinlock_t irq_lock;
static uint64_t stray_count;

int irq_alloc(struct irq *irq, int cpu)
{
    ASSERT(cpu >= 0 && cpu < cpu_count);
    struct irq **table = *cpu_local_of(owners, cpu);
    int err = -ENOSPC;

    spin_lock(&irq_lock);
    for (int i = 0; i < VECTORS && err; i++) {
        if (table[i])
            continue;
        irq->cpu = cpu;
        irq->vector = VECTOR_FIRST_DEVICE + i;
        irq->count = 0;
        __atomic_store_n(&table[i], irq, __ATOMIC_RELEASE);
        err = 0;
    }
    spin_unlock(&irq_lock);
    return err;
}

static void nothing(void *arg)
{
    (void)arg;
}

void irq_free(struct irq *irq)
{
    struct irq **table = *cpu_local_of(owners, irq->cpu);

    spin_lock(&irq_lock);
    __atomic_store_n(&table[irq->vector - VECTOR_FIRST_DEVICE], NULL, __ATOMIC_SEQ_CST);
    spin_unlock(&irq_lock);
    /* Handlers run with interrupts off: a CPU that answers has left it. */
    arch_call_cpus(1ul << irq->cpu, nothing, NULL);
}

bool irq_dispatch(int vector)
{
    unsigned i = (unsigned)(vector - VECTOR_FIRST_DEVICE);
    struct irq *irq =
        i < VECTORS ? __atomic_load_n(&(*cpu_local(owners))[i], __ATOMIC_ACQUIRE) : NULL;

    if (!irq) {
        if (stray_count++ == 0)
            klog(LOG_WARN, "interrupt %d belongs to nobody", vector);
        return false;
    }
    irq->count++;
    irq->handler(irq);
    return true;
}

void irq_for_each(bool (*fn)(const struct irq *irq, void *arg), void *arg)
{
    spin_lock(&irq_lock);
    for (int cpu = 0; cpu < cpu_count; cpu++) {
        for (int i = 0; i < VECTORS; i++) {
            const struct irq *irq = (*cpu_local_of(owners, cpu))[i];
            if (irq && !fn(irq, arg)) {
                spin_unlock(&irq_lock);
                return;
            }
        }
    }
    spin_unlock(&irq_lock);
}
