/* The other CPUs: starting them, and making them do things. */
#include "arch/arch.h"
#include "boot.h"
#include "core/main.h"
#include "core/timer.h"
#include "x86.h"

extern const char trampoline_start[], trampoline_end[], trampoline_cr3[];
extern char boot_pml4[];
NORETURN void smp_cpu_start(int id);

/* Used by smp_start in entry.S. */
extern int smp_next_cpu;
extern uint64_t smp_stacks[MAX_CPUS];
int smp_next_cpu = 1;
uint64_t smp_stacks[MAX_CPUS];

static atomic_int running = 1;

NORETURN void smp_cpu_start(int id)
{
    struct cpu *c = cpu_of(id);

    cpu_set_gs(c);
    cpu_init(c);
    apic_init_cpu();
    user_state_init();
    core_init_cpu(id);
    atomic_fetch_add(&running, 1);
    cpu_main(id);
}

int arch_start_cpus(void)
{
    uint32_t me = cpu_self()->apic_id;
    int count = 1;

    for (int i = 0; i < acpi.cpus; i++) {
        if (acpi.apic_ids[i] == me)
            continue;
        void *stack = stack_alloc();
        /* CPUs number themselves; the APIC ID is read when they do. */
        if (!stack || !cpu_create(count, 0)) {
            klog(LOG_ERROR, "no memory for CPU %d", count);
            break;
        }
        smp_stacks[count] = (uint64_t)stack + KERNEL_STACK_SIZE;
        count++;
    }
    if (count == 1)
        return 1;

    memcpy(direct(TRAMPOLINE), trampoline_start, (size_t)(trampoline_end - trampoline_start));
    *(uint32_t *)direct(TRAMPOLINE + (paddr_t)(trampoline_cr3 - trampoline_start)) =
        (uint32_t)image_pa(boot_pml4);
    int wanted = count - 1;
    for (int i = 0; i < acpi.cpus && wanted > 0; i++) {
        if (acpi.apic_ids[i] == me)
            continue;
        apic_init_ipi(acpi.apic_ids[i]);
        apic_startup_ipi(acpi.apic_ids[i], TRAMPOLINE >> 12);
        wanted--;
    }
    nsec_t start = time_now();
    while (atomic_load(&running) < count && time_now() - start < NSEC_PER_SEC)
        cpu_relax();
    int got = atomic_load(&running);
    if (got < count)
        klog(LOG_ERROR, "%d of %d CPUs did not start", count - got, count);
    return got;
}

void arch_kick(int cpu)
{
    apic_ipi(cpu_of(cpu)->apic_id, VECTOR_RESCHED);
}

static struct {
    spinlock_t lock;
    void (*fn)(void *arg);
    void *arg;
    _Atomic cpumask_t pending;
} call;

void smp_call_interrupt(void)
{
    cpumask_t me = 1ul << cpu_id();

    if (atomic_load(&call.pending) & me) {
        call.fn(call.arg);
        atomic_fetch_and(&call.pending, ~me);
    }
}

void arch_call_cpus(cpumask_t mask, void (*fn)(void *arg), void *arg)
{
    mask &= ~(1ul << cpu_id());
    if (!mask)
        return;
    ASSERT(arch_irqs_on());
    bh_disable(); /* a bottom half here might want to call, too */
    spin_lock(&call.lock);
    call.fn = fn;
    call.arg = arg;
    atomic_store(&call.pending, mask);
    for (cpumask_t m = mask; m; m &= m - 1)
        apic_ipi(cpu_of(__builtin_ctzl(m))->apic_id, VECTOR_CALL);
    while (atomic_load(&call.pending))
        cpu_relax();
    spin_unlock(&call.lock);
    bh_enable();
}

void arch_stop_others(void)
{
    if (atomic_load(&running) > 1)
        apic_nmi_others();
}

void arch_halt(void)
{
    asm volatile("cli; hlt");
}
void arch_idle(void)
{
    asm volatile("sti; hlt" : : : "memory");
}
