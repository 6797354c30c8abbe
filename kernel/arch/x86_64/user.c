/*
 * The user state of threads (vector registers, FS and GS base), switching between threads, and
 * entering user mode. The XSAVE area of a thread lies at the top of its kernel stack, above its
 * user_regs.
 */
#include "core/user.h"

#include "arch/arch.h"
#include "boot.h"
#include "core/main.h"
#include "x86.h"

#define XCR0_X87 1u
#define XCR0_SSE 2u
#define XCR0_AVX 4u
#define XCR0_AVX512 0xe0u
#define LEGACY_SIZE 512
#define HEADER_SIZE 64
#define MXCSR_DEFAULT 0x1f80u
#define FCW_DEFAULT 0x37f
#define FPU_MAX_SIZE 4096

static uint64_t xcr0;     /* state components in use; 0: FXSAVE only */
static uint32_t fpu_size; /* bytes, multiple of 64 */
static uint32_t mxcsr_mask;

/* What a program starts with. */
static uint8_t fpu_initial[LEGACY_SIZE + HEADER_SIZE] __attribute__((aligned(64)));

void switch_stacks(struct thread *from, struct thread *to);
void thread_trampoline(void);
NORETURN void user_enter_frame(void *rsp);

static void fpu_store(void *area)
{
    if (!xcr0)
        asm volatile("fxsave64 (%0)" : : "r"(area) : "memory");
    else if (cpu_features.xsaveopt)
        asm volatile("xsaveopt64 (%0)" : : "r"(area), "a"(-1), "d"(-1) : "memory");
    else
        asm volatile("xsave64 (%0)" : : "r"(area), "a"(-1), "d"(-1) : "memory");
}

static void fpu_load(const void *area)
{
    if (!xcr0)
        asm volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
    else
        asm volatile("xrstor64 (%0)" : : "r"(area), "a"(-1), "d"(-1) : "memory");
}

void user_state_init(void)
{
    uint32_t r[4];

    if (cpu_features.xsave) {
        cpuid(13, 0, r);
        uint64_t wanted = XCR0_X87 | XCR0_SSE | XCR0_AVX;
        if ((r[0] & XCR0_AVX512) == XCR0_AVX512)
            wanted |= XCR0_AVX512;
        wanted &= r[0];
        asm volatile("xsetbv" : : "c"(0), "a"((uint32_t)wanted), "d"((uint32_t)(wanted >> 32)));
        xcr0 = wanted;
        cpuid(13, 0, r);
        fpu_size = ROUND_UP(r[1], 64u);
        ASSERT(fpu_size <= FPU_MAX_SIZE);
    } else {
        fpu_size = LEGACY_SIZE;
    }
    memcpy(fpu_initial, &(uint16_t){FCW_DEFAULT}, 2);
    memcpy(fpu_initial + 24, &(uint32_t){MXCSR_DEFAULT}, 4);
    if (!mxcsr_mask) {
        uint8_t now[LEGACY_SIZE] __attribute__((aligned(16)));
        memset(now, 0, sizeof(now));
        asm volatile("fxsave64 (%0)" : : "r"(now) : "memory");
        memcpy(&mxcsr_mask, now + 28, 4);
        if (!mxcsr_mask)
            mxcsr_mask = 0xffbf;
    }
}

static uint64_t read_fs_base(void)
{
    uint64_t v;
    if (!cpu_features.fsgsbase)
        return rdmsr(MSR_FS_BASE);
    asm volatile("rdfsbase %0" : "=r"(v));
    return v;
}

static void write_fs_base(uint64_t v)
{
    if (!cpu_features.fsgsbase)
        wrmsr(MSR_FS_BASE, v);
    else
        asm volatile("wrfsbase %0" : : "r"(v));
}

/* From the registers to the thread; they stay valid. Interrupts off. */
static void state_save(struct thread *t)
{
    fpu_store(t->context.fpu);
    t->context.fs_base = read_fs_base();
    t->context.gs_base = rdmsr(MSR_KERNEL_GS_BASE);
}

/* Makes the registers those of `to`. Interrupts off. */
static void state_switch(struct cpu *c, struct thread *to)
{
    if (c->user_owner != to || to->context.state_cpu != c->id) {
        if (c->user_unsaved)
            state_save(c->user_owner);
        fpu_load(to->context.fpu);
        write_fs_base(to->context.fs_base);
        wrmsr(MSR_KERNEL_GS_BASE, to->context.gs_base);
        c->user_owner = to;
        to->context.state_cpu = c->id;
    }
    c->user_unsaved = 1;
}

/* The current thread gets a user state, and this CPU holds it. */
static void state_claim(void)
{
    struct thread *t = thread_current();
    unsigned long flags = arch_irq_save();

    t->context.user = true;
    state_switch(cpu_self(), t);
    arch_irq_restore(flags);
}

static void area_reset(void *area)
{
    memset(area, 0, fpu_size);
    memcpy(area, fpu_initial, LEGACY_SIZE);
}

void arch_switch(struct thread *from, struct thread *to)
{
    struct cpu *c = cpu_self();

    if (to->aspace)
        aspace_switch(c, to->aspace);
    else
        c->lazy_tlb = c->aspace != NULL;
    if (c->user_unsaved && cpu_count > 1) {
        state_save(c->user_owner);
        c->user_unsaved = 0;
    }
    if (to->context.user)
        state_switch(c, to);
    c->current = to;
    c->kernel_stack = (uint64_t)to->context.fpu;
    tss_set_stack(c, c->kernel_stack);
    switch_stacks(from, to);
}

void arch_context_init(struct thread *t, void (*fn)(struct thread *t))
{
    uint64_t top = (uint64_t)t->stack + KERNEL_STACK_SIZE - ROUND_UP(fpu_size, 64u);
    uint64_t *sp = (uint64_t *)(top - sizeof(struct user_regs));

    t->context = (struct arch_context){.fpu = (void *)top, .state_cpu = -1};
    area_reset(t->context.fpu);
    /* As switch_stacks pops it: r15 r14 r13 r12 rbp rbx, then the return address. */
    *--sp = 0; /* end of backtraces */
    *--sp = (uint64_t)thread_trampoline;
    *--sp = (uint64_t)t;
    *--sp = 0;
    *--sp = (uint64_t)fn;
    *--sp = 0;
    *--sp = 0;
    *--sp = 0;
    t->context.rsp = (uint64_t)sp;
}

/* The thread is dead: its registers need not be saved. On the CPU it died on. */
void arch_context_release(struct thread *t)
{
    struct cpu *c = cpu_self();
    unsigned long flags = arch_irq_save();

    if (c->user_owner == t) {
        c->user_owner = NULL;
        c->user_unsaved = 0;
    }
    arch_irq_restore(flags);
}

struct user_regs *user_regs_current(void)
{
    return (struct user_regs *)thread_current()->context.fpu - 1;
}

void user_enter(struct user_regs *regs)
{
    struct user_regs *at = user_regs_current();

    state_claim();
    arch_irq_disable();
    if (regs != at)
        memcpy(at, regs, sizeof(*at));
    user_enter_frame(at);
}

void user_regs_init(struct user_regs *regs, uaddr_t ip, uaddr_t sp)
{
    *regs = (struct user_regs){.orig_rax = (uint64_t)-1,
                               .rip = ip,
                               .cs = SEL_USER_CODE,
                               .rflags = X86_FLAGS_IF | 2,
                               .rsp = sp,
                               .ss = SEL_USER_DATA};
}

void user_tls_set(uaddr_t base)
{
    state_claim();
    write_fs_base(base);
    thread_current()->context.fs_base = base;
}

uaddr_t user_tls_get(void)
{
    return thread_current()->context.user ? read_fs_base() : 0;
}

void user_gs_set(uaddr_t base)
{
    state_claim();
    wrmsr(MSR_KERNEL_GS_BASE, base);
    thread_current()->context.gs_base = base;
}

uaddr_t user_gs_get(void)
{
    return thread_current()->context.user ? rdmsr(MSR_KERNEL_GS_BASE) : 0;
}

void thread_set_tls(struct thread *t, uaddr_t base)
{
    t->context.fs_base = base;
    t->context.user = true;
}

void thread_copy_fpu(struct thread *t)
{
    state_claim();
    memset(t->context.fpu, 0, fpu_size);
    unsigned long flags = arch_irq_save();
    if (!xcr0)
        asm volatile("fxsave64 (%0)" : : "r"(t->context.fpu) : "memory");
    else
        asm volatile("xsave64 (%0)" : : "r"(t->context.fpu), "a"(-1), "d"(-1) : "memory");
    t->context.fs_base = read_fs_base();
    t->context.gs_base = rdmsr(MSR_KERNEL_GS_BASE);
    t->context.user = true;
    arch_irq_restore(flags);
}

size_t user_fpu_size(void)
{
    return fpu_size;
}

uint64_t user_fpu_features(void)
{
    return xcr0;
}

void user_fpu_save(void *buf)
{
    struct thread *t = thread_current();
    unsigned long flags = arch_irq_save();

    if (cpu_self()->user_unsaved && cpu_self()->user_owner == t)
        fpu_store(t->context.fpu);
    arch_irq_restore(flags);
    memcpy(buf, t->context.fpu, fpu_size);
}

int user_fpu_load(const void *buf, size_t size)
{
    struct thread *t = thread_current();
    uint8_t *area = t->context.fpu;
    uint32_t mxcsr;

    if (size < LEGACY_SIZE || (size > LEGACY_SIZE && size < LEGACY_SIZE + HEADER_SIZE))
        return -EINVAL;
    memcpy(&mxcsr, (const char *)buf + 24, 4);
    if (mxcsr & ~mxcsr_mask)
        return -EINVAL;
    if (size > LEGACY_SIZE && xcr0) {
        uint64_t header[8];
        memcpy(header, (const char *)buf + LEGACY_SIZE, sizeof(header));
        if (header[0] & ~xcr0)
            return -EINVAL;
        for (int i = 1; i < 8; i++) {
            if (header[i])
                return -EINVAL;
        }
    }
    state_claim();
    unsigned long flags = arch_irq_save();
    memset(area, 0, fpu_size);
    if (size > LEGACY_SIZE && xcr0) {
        memcpy(area, buf, MIN(size, (size_t)fpu_size));
    } else {
        memcpy(area, buf, LEGACY_SIZE);
        if (xcr0)
            memcpy(area + LEGACY_SIZE, &(uint64_t){XCR0_X87 | XCR0_SSE}, 8);
    }
    fpu_load(area);
    arch_irq_restore(flags);
    return 0;
}

void user_fpu_reset(void)
{
    struct thread *t = thread_current();

    state_claim();
    unsigned long flags = arch_irq_save();
    area_reset(t->context.fpu);
    fpu_load(t->context.fpu);
    write_fs_base(0);
    wrmsr(MSR_KERNEL_GS_BASE, 0);
    arch_irq_restore(flags);
}
