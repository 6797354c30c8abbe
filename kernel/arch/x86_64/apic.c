/* The local APIC (xAPIC through memory or x2APIC through MSRs): timer, IPIs, end of interrupt. */
#include "arch/arch.h"
#include "boot.h"
#include "core/clock.h"
#include "core/irq.h"
#include "core/main.h"
#include "core/timer.h"
#include "x86.h"

#define APIC_TPR 0x08
#define APIC_EOI 0x0b
#define APIC_SPURIOUS 0x0f
#define APIC_ICR_LOW 0x30
#define APIC_ICR_HIGH 0x31
#define APIC_LVT_TIMER 0x32
#define APIC_LVT_LINT0 0x35
#define APIC_LVT_LINT1 0x36
#define APIC_LVT_ERROR 0x37
#define APIC_INITIAL_COUNT 0x38
#define APIC_CURRENT_COUNT 0x39
#define APIC_DIVIDE 0x3e

#define LVT_MASKED 0x10000
#define LVT_NMI 0x400
#define LVT_TSC_DEADLINE 0x40000
#define DIVIDE_BY_1 0xb
#define SPURIOUS_ENABLE 0x100
#define ICR_INIT 0x4500
#define ICR_STARTUP 0x4600
#define ICR_NMI 0x4400
#define ICR_FIXED 0x4000
#define ICR_BUSY 0x1000
#define ICR_OTHERS 0xc0000

#define APIC_BASE_ENABLE 0x800
#define APIC_BASE_X2 0x400

static volatile uint32_t *registers; /* NULL: x2APIC */
/* Timer ticks for nanoseconds: ticks = ns * timer_mult >> 20. */
static uint64_t timer_mult;

static uint32_t apic_read(unsigned reg)
{
    return registers ? registers[reg * 4] : (uint32_t)rdmsr(MSR_X2APIC + reg);
}

static void apic_write(unsigned reg, uint32_t v)
{
    if (registers)
        registers[reg * 4] = v;
    else
        wrmsr(MSR_X2APIC + reg, v);
}

void apic_init_cpu(void)
{
    uint64_t base = rdmsr(MSR_APIC_BASE) | APIC_BASE_ENABLE;

    if (cpu_features.x2apic)
        base |= APIC_BASE_X2;
    else if (!registers)
        registers = mmio_map(acpi.lapic, PAGE_SIZE);
    wrmsr(MSR_APIC_BASE, base);
    apic_write(APIC_SPURIOUS, SPURIOUS_ENABLE | VECTOR_SPURIOUS);
    apic_write(APIC_TPR, 0);
    apic_write(APIC_LVT_LINT0, LVT_MASKED);
    apic_write(APIC_LVT_LINT1, LVT_NMI); /* what stops a domain that hangs (trap_paranoid) */
    apic_write(APIC_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_LVT_TIMER, VECTOR_TIMER | (cpu_features.tsc_deadline ? LVT_TSC_DEADLINE : 0));
    cpu_self()->apic_id = registers ? apic_read(2) >> 24 : apic_read(2);
}

void apic_eoi(void)
{
    apic_write(APIC_EOI, 0);
}

static void icr_write(uint32_t apic_id, uint32_t v)
{
    if (registers) {
        unsigned long flags = arch_irq_save();
        while (registers[APIC_ICR_LOW * 4] & ICR_BUSY)
            cpu_relax();
        registers[APIC_ICR_HIGH * 4] = apic_id << 24;
        registers[APIC_ICR_LOW * 4] = v;
        arch_irq_restore(flags);
    } else {
        /* In x2APIC mode the write does not wait for earlier stores (SDM 3A, 11.12.3). */
        asm volatile("mfence; lfence" : : : "memory");
        wrmsr(MSR_X2APIC + APIC_ICR_LOW, (uint64_t)apic_id << 32 | v);
    }
}

void apic_ipi(uint32_t apic_id, uint8_t vector)
{
    icr_write(apic_id, ICR_FIXED | vector);
}
void apic_nmi_others(void)
{
    icr_write(0, ICR_NMI | ICR_OTHERS);
}

void apic_init_ipi(uint32_t apic_id)
{
    icr_write(apic_id, ICR_INIT);
}
void apic_startup_ipi(uint32_t apic_id, uint8_t page)
{
    icr_write(apic_id, ICR_STARTUP | page);
}

uint32_t apic_timer_count(void)
{
    return apic_read(APIC_CURRENT_COUNT);
}

void apic_timer_start_free(void)
{
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    apic_write(APIC_INITIAL_COUNT, UINT32_MAX);
}

void apic_timer_set_frequency(uint64_t hz)
{
    timer_mult = (hz << 20) / NSEC_PER_SEC;
    apic_write(APIC_INITIAL_COUNT, 0);
    apic_write(APIC_LVT_TIMER, VECTOR_TIMER | (cpu_features.tsc_deadline ? LVT_TSC_DEADLINE : 0));
}

void arch_timer_set(nsec_t deadline)
{
    if (cpu_features.tsc_deadline) {
        wrmsr(MSR_TSC_DEADLINE, deadline == NSEC_NEVER ? 0 : clock_counter_at(deadline));
        return;
    }
    if (deadline == NSEC_NEVER) {
        apic_write(APIC_INITIAL_COUNT, 0);
        return;
    }
    nsec_t ns = deadline - time_now();
    ns = ns < 0 ? 0 : MIN(ns, 4 * NSEC_PER_SEC); /* the handler sets it again */
    uint64_t ticks = ((uint64_t)ns * timer_mult >> 20) + 1;
    apic_write(APIC_INITIAL_COUNT, (uint32_t)MIN(ticks, (uint64_t)UINT32_MAX));
}
