/* The end of a kernel that found itself broken: message, backtrace, other CPUs stopped, VM ended.
 */
#include "core/panic.h"

#include "abi/boot.h"
#include "arch/arch.h"
#include "core/main.h"
#include "core/symbols.h"
#include "core/timer.h"

#define MAX_FRAMES 32

static atomic_int panic_cpu = -1;
static int depth;

static NORETURN void stop_here(void)
{
    for (;;)
        arch_halt();
}

void panic_nmi(void)
{
    int cpu = atomic_load(&panic_cpu);
    if (cpu >= 0 && cpu != cpu_id())
        stop_here();
}

void panic_begin(void)
{
    int none = -1;

    arch_irq_disable();
    if (!atomic_compare_exchange_strong(&panic_cpu, &none, cpu_id()) && none != cpu_id())
        stop_here();
    if (depth++ > 0) {
        panic_print("panic within a panic\n");
        panic_end();
    }
    arch_stop_others();
}

void panic_print(const char *fmt, ...)
{
    char line[256];
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    /* No lock: the other CPUs are stopped, one of them perhaps in the middle of a line. */
    arch_console_write(line, MIN((size_t)n, sizeof(line) - 1));
}

const char *symbol_of(uintptr_t pc, uintptr_t *offset)
{
    const struct symbol_table *t = &kernel_symbols;

    *offset = 0;
    if (!t)
        return "?";
    uintptr_t base = (uintptr_t)t->base_high << 32 | t->base_low;
    uint32_t low = 0, high = t->count;
    if (pc < base || !t->count || pc - base < t->entries[0].start)
        return "?";
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (t->entries[middle].start <= pc - base)
            low = middle;
        else
            high = middle;
    }
    *offset = pc - base - t->entries[low].start;
    return (const char *)t + t->names + t->entries[low].name;
}

void panic_backtrace(uintptr_t pc, const void *frame)
{
    uintptr_t pcs[MAX_FRAMES], offset;
    int n = arch_backtrace(pcs, MAX_FRAMES, frame);
    const struct thread *t = thread_current();

    panic_print("CPU %d, thread %s, %ld us after boot\n", cpu_id(), t ? t->name : "none",
                time_now() / 1000);
    if (pc) {
        const char *name = symbol_of(pc, &offset);
        panic_print("  %016lx %s+0x%lx\n", pc, name, offset);
    }
    for (int i = 0; i < n; i++) {
        /* The call is before the return address, which may be the next function's. */
        const char *name = symbol_of(pcs[i] - 1, &offset);
        panic_print("  %016lx %s+0x%lx\n", pcs[i], name, offset + 1);
    }
}

void panic_end(void)
{
    arch_exit(BOOT_EXIT_PANIC);
}

void panic(const char *fmt, ...)
{
    char text[200];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    panic_begin();
    panic_print("panic: %s\n", text);
    panic_backtrace(0, __builtin_frame_address(0));
    panic_end();
}
