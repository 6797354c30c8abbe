/*
 * The time-stamp counter's frequency, from CPUID where the hypervisor tells, else measured against
 * the ACPI PM timer: a millisecond at boot, and again over a second in the background. And the CMOS
 * clock.
 */
#include "core/clock.h"

#include "arch/arch.h"
#include "arch/clock.h"
#include "boot.h"
#include "core/timer.h"
#include "x86.h"

#define PM_TIMER_HZ 3579545ul
#define PIT_HZ 1193182ul
#define BOOT_MEASURE_TICKS (PM_TIMER_HZ / 1000)
#define CPUID_HYPERVISOR 0x40000000
#define CPUID_HYPERVISOR_TIMING 0x40000010
#define HYPERVISOR_APIC_HZ 1000000000ul /* QEMU's and KVM's */

struct sample {
    uint64_t tsc;
    uint32_t pm, apic;
};
static struct sample boot_sample;
static struct timer refine_timer;
static uint64_t apic_hz;
static bool refine_wanted;

/* A reading of both clocks at nearly the same time: the best of a few. */
static struct sample take_sample(void)
{
    struct sample best = {0};
    uint64_t best_width = UINT64_MAX;

    for (int i = 0; i < 3; i++) {
        uint64_t before = rdtsc();
        uint32_t pm = inl(acpi.pm_timer_port);
        uint64_t after = rdtsc();
        if (after - before < best_width) {
            best_width = after - before;
            best = (struct sample){before + (after - before) / 2, pm, 0};
        }
    }
    return best;
}

static uint32_t pm_elapsed(const struct sample *from, const struct sample *to)
{
    return (to->pm - from->pm) & (acpi.pm_timer_32 ? 0xffffffff : 0xffffff);
}

static uint64_t frequency_between(const struct sample *from, const struct sample *to)
{
    return arch_mul_div(to->tsc - from->tsc, PM_TIMER_HZ, pm_elapsed(from, to));
}

static void refine(struct timer *t)
{
    (void)t;
    struct sample now = take_sample();
    if (pm_elapsed(&boot_sample, &now) > BOOT_MEASURE_TICKS)
        clock_set_frequency(frequency_between(&boot_sample, &now));
}

static uint64_t measure_pm_timer(void)
{
    boot_sample = take_sample();
    apic_timer_start_free();
    struct sample start = boot_sample, end;
    uint32_t apic_start = apic_timer_count();
    do
        end = take_sample();
    while (pm_elapsed(&start, &end) < BOOT_MEASURE_TICKS);
    uint32_t apic_end = apic_timer_count();
    if (!cpu_features.hypervisor)
        apic_hz = (uint64_t)(apic_start - apic_end) * PM_TIMER_HZ / pm_elapsed(&start, &end);
    return frequency_between(&start, &end);
}

/* Machines without ACPI timer (microvm): the APIC timer of a hypervisor runs at a known rate. */
static uint64_t measure_apic_timer(void)
{
    apic_timer_start_free();
    uint64_t start = rdtsc();
    uint32_t count = apic_timer_count(), now;
    do
        now = apic_timer_count();
    while (count - now < HYPERVISOR_APIC_HZ / 1000);
    return arch_mul_div(rdtsc() - start, HYPERVISOR_APIC_HZ, count - now);
}

/* Neither of them: channel 2 of the PIT counts down a millisecond. */
static uint64_t measure_pit(void)
{
    const uint16_t count = PIT_HZ / 1000;

    outb(0x61, (inb(0x61) & ~2u) | 1);
    outb(0x43, 0xb0); /* channel 2, mode 0 */
    outb(0x42, count & 0xff);
    outb(0x42, count >> 8);
    uint64_t start = rdtsc();
    for (int i = 0; i < 1000000 && !(inb(0x61) & 0x20); i++)
        ;
    return (rdtsc() - start) * 1000;
}

static uint64_t from_cpuid(void)
{
    uint32_t r[4];

    if (cpu_features.hypervisor) {
        cpuid(CPUID_HYPERVISOR, 0, r);
        if (r[0] >= CPUID_HYPERVISOR_TIMING) {
            cpuid(CPUID_HYPERVISOR_TIMING, 0, r);
            if (r[0]) {
                apic_hz = r[1] * 1000ul;
                return r[0] * 1000ul;
            }
        }
    }
    cpuid(0, 0, r);
    if (r[0] < 0x15)
        return 0;
    cpuid(0x15, 0, r);
    if (!r[0] || !r[1] || !r[2])
        return 0;
    apic_hz = r[2];
    return (uint64_t)r[2] * r[1] / r[0];
}

void arch_clock_init(void)
{
    bool exact = true;
    uint64_t hz = from_cpuid();

    if (!hz && acpi.pm_timer_port) {
        hz = measure_pm_timer();
        exact = false;
    }
    if (!hz && cpu_features.hypervisor)
        hz = measure_apic_timer();
    if (!hz)
        hz = measure_pit();
    if (!hz)
        panic("no clock to measure the time-stamp counter with");
    if (!apic_hz)
        apic_hz = HYPERVISOR_APIC_HZ;
    clock_set_frequency(hz);
    apic_timer_set_frequency(apic_hz);
    refine_wanted = !exact;
}

void arch_clock_refine_later(void)
{
    if (!refine_wanted)
        return;
    timer_init(&refine_timer, refine);
    timer_arm(&refine_timer, time_now() + NSEC_PER_SEC);
}

static uint8_t cmos_read(uint8_t reg)
{
    outb(0x70, reg);
    return inb(0x71);
}

static int64_t days_from_civil(int64_t y, int64_t m, int64_t d)
{
    y -= m <= 2;
    int64_t era = y / 400, yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

int64_t arch_rtc_read(void)
{
    uint8_t v[6], b = cmos_read(0x0b);
    static const uint8_t regs[6] = {0, 2, 4, 7, 8, 9};

    for (int i = 0; i < 10000 && (cmos_read(0x0a) & 0x80); i++)
        cpu_relax(); /* being updated */
    for (int i = 0; i < 6; i++) {
        v[i] = cmos_read(regs[i]);
        if (!(b & 4))
            v[i] = (uint8_t)((v[i] & 15) + (v[i] >> 4 & (i == 2 ? 7 : 15)) * 10);
    }
    if (v[3] < 1 || v[3] > 31 || v[4] < 1 || v[4] > 12)
        return 0; /* there is no such clock */
    return days_from_civil(2000 + v[5], v[4], v[3]) * 86400 + v[2] * 3600 + v[1] * 60 + v[0];
}
