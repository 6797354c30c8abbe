/* The clock (core/clock.h). */
#include "arch/arch.h"
#include "arch/clock.h"
#include "core/clock.h"
#include "core/main.h"
#include "core/timer.h"
#include "core/user.h"

/* Alone on its page, which programs may read. */
struct clock_page clock_page __attribute__((aligned(4096), section(".data.page")));
static spinlock_t clock_lock;
static uint64_t frequency;
static PERCPU nsec_t coarse;

nsec_t time_now(void)
{
    const struct clock_page *c = &clock_page;

    for (;;) {
        uint32_t sequence = READ_ONCE(c->sequence);
        uint64_t count = arch_counter() - c->base_counter;
        nsec_t now = c->base_ns + (nsec_t)((unsigned __int128)count * c->mult >> 32);
        atomic_thread_fence(memory_order_acquire);
        if (likely(!(sequence & 1) && READ_ONCE(c->sequence) == sequence))
            return now;
        cpu_relax();
    }
}

nsec_t time_refresh(void)
{
    nsec_t now = time_now();
    *cpu_local(coarse) = now;
    return now;
}

nsec_t time_coarse(void)
{
    return *cpu_local(coarse);
}

static unsigned long change_begin(void)
{
    unsigned long flags = spin_lock_irqsave(&clock_lock);
    WRITE_ONCE(clock_page.sequence, clock_page.sequence + 1);
    atomic_thread_fence(memory_order_seq_cst);
    return flags;
}

static void change_end(unsigned long flags)
{
    atomic_thread_fence(memory_order_seq_cst);
    WRITE_ONCE(clock_page.sequence, clock_page.sequence + 1);
    spin_unlock_irqrestore(&clock_lock, flags);
}

void clock_start(uint64_t counter)
{
    clock_page.base_counter = counter;
    clock_set_frequency(1000000000); /* until it is known */
    clock_page.base_counter = counter;
    clock_page.base_ns = 0;
}

void clock_set_frequency(uint64_t hz)
{
    bool first = frequency == 0 || frequency == 1000000000;
    unsigned long flags = change_begin();
    struct clock_page *c = &clock_page;
    uint64_t counter = arch_counter();

    if (!first) { /* what was measured so far stands */
        c->base_ns += (nsec_t)((unsigned __int128)(counter - c->base_counter) * c->mult >> 32);
        c->base_counter = counter;
    }
    c->mult = arch_mul_div(NSEC_PER_SEC, 1ul << 32, hz);
    c->inverse = arch_mul_div(hz, 1ul << 32, NSEC_PER_SEC);
    frequency = hz;
    change_end(flags);
}

uint64_t clock_frequency(void)
{
    return frequency;
}

uint64_t clock_counter_at(nsec_t when)
{
    const struct clock_page *c = &clock_page;
    nsec_t ns = when - c->base_ns;

    if (ns <= 0)
        return c->base_counter + 1;
    unsigned __int128 counts = (unsigned __int128)(uint64_t)ns * c->inverse >> 32;
    return counts > UINT64_MAX / 2 ? UINT64_MAX / 2 : c->base_counter + (uint64_t)counts + 1;
}

nsec_t time_realtime(void)
{
    return time_now() + READ_ONCE(clock_page.realtime_ns);
}

void realtime_set(nsec_t now)
{
    unsigned long flags = change_begin();
    uint64_t count = arch_counter() - clock_page.base_counter;
    nsec_t mono = clock_page.base_ns + (nsec_t)((unsigned __int128)count * clock_page.mult >> 32);
    clock_page.realtime_ns = now - mono;
    change_end(flags);
}

struct page *vdso_data_page(void)
{
    return arch_page_of_image(&clock_page);
}

const void *vdso_image(size_t *size)
{
    extern const char vdso_start[], vdso_end[];

    *size = (size_t)(vdso_end - vdso_start);
    return vdso_start;
}
