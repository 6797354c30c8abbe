/* CPU features, descriptor tables, control registers and per-CPU areas. */
#include "arch/arch.h"
#include "boot.h"
#include "core/mem.h"
#include "x86.h"

#define GATE_INTERRUPT 0x8e
#define GATE_USER 0xee /* INT3 and INTO may come from programs */

struct tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3, iomap;
} __attribute__((packed));

struct gate {
    uint16_t offset0, selector;
    uint8_t ist, type;
    uint16_t offset1;
    uint32_t offset2, reserved;
};

#define IST_COUNT 3
#define IST_SIZE 4096

_Static_assert(offsetof(struct cpu, current) == CPU_CURRENT, "x86.h");
_Static_assert(offsetof(struct cpu, kernel_stack) == CPU_KERNEL_STACK, "x86.h");
_Static_assert(offsetof(struct cpu, user_rsp) == CPU_USER_RSP, "x86.h");
_Static_assert(offsetof(struct cpu, resched) == CPU_RESCHED, "x86.h");
_Static_assert(offsetof(struct thread, on_cpu) == THREAD_ON_CPU, "x86.h");
_Static_assert(offsetof(struct thread, interrupted) == THREAD_INTERRUPTED, "x86.h");
_Static_assert(offsetof(struct thread, context.rsp) == 0, "switch_stacks");
_Static_assert(sizeof(struct user_regs) == REGS_SIZE, "x86.h");
_Static_assert(offsetof(struct user_regs, r11) == REGS_R11, "x86.h");
_Static_assert(offsetof(struct user_regs, rcx) == REGS_RCX, "x86.h");
_Static_assert(offsetof(struct user_regs, rip) == REGS_RIP, "x86.h");
_Static_assert(offsetof(struct user_regs, cs) == REGS_CS, "x86.h");
_Static_assert(offsetof(struct user_regs, rflags) == REGS_RFLAGS, "x86.h");
_Static_assert(offsetof(struct user_regs, rsp) == REGS_RSP, "x86.h");

struct cpu_features cpu_features;
ptrdiff_t cpu_percpu_offset[MAX_CPUS];
static struct cpu *cpus[MAX_CPUS];

/* The first object of every per-CPU area. */
struct cpu boot_cpu __attribute__((section(".bss.percpu_first")));
static PERCPU struct tss tss;
static PERCPU uint64_t gdt[7];
static const uint64_t segments[5] = {
    0,
    0x00af9b000000ffff, /* kernel code */
    0x00cf93000000ffff, /* kernel data */
    0x00cff3000000ffff, /* user data */
    0x00affb000000ffff, /* user code */
};
static struct gate idt[256];

extern char percpu_start[], percpu_end[];
extern char trap_stubs[], syscall_entry[];
extern const uint64_t feature_patches_start[], feature_patches_end[];

void cpu_detect(void)
{
    uint32_t max[4], r[4];
    struct cpu_features *f = &cpu_features;

    cpuid(0, 0, max);
    cpuid(1, 0, r);
    f->x2apic = r[2] >> 21 & 1;
    f->tsc_deadline = r[2] >> 24 & 1;
    f->xsave = r[2] >> 26 & 1;
    f->rdrand = r[2] >> 30 & 1;
    f->hypervisor = r[2] >> 31;
    if (max[0] >= 7) {
        cpuid(7, 0, r);
        f->fsgsbase = r[1] & 1;
        f->smep = r[1] >> 7 & 1;
        f->rdseed = r[1] >> 18 & 1;
        f->smap = r[1] >> 20 & 1;
        f->umip = r[2] >> 2 & 1;
    }
    if (max[0] >= 13 && f->xsave) {
        cpuid(13, 1, r);
        f->xsaveopt = r[0] & 1;
    }
    cpuid(0x80000001, 0, r);
    f->gib_pages = r[3] >> 26 & 1;
    f->rdtscp = r[3] >> 27 & 1;

    if (!f->smap) { /* the image is still writable */
        for (const uint64_t *p = feature_patches_start; p < feature_patches_end; p++)
            memcpy((void *)*p, "\x0f\x1f\x00", 3);
    }
}

void cpu_set_gs(struct cpu *c)
{
    if (c == &boot_cpu) {
        c->self = c;
        c->bh_state = CPU_BH_IDLE;
    }
    wrmsr(MSR_GS_BASE, (uint64_t)c);
    wrmsr(MSR_KERNEL_GS_BASE, 0);
}

static void fill_idt(void)
{
    for (int i = 0; i < 256; i++) {
        uint64_t at = (uint64_t)trap_stubs + 16ul * (unsigned)i;
        int ist = i == TRAP_DOUBLE ? 1 : i == TRAP_NMI ? 2 : i == TRAP_MACHINE_CHECK ? 3 : 0;
        bool user = i == TRAP_BREAKPOINT || i == TRAP_OVERFLOW;
        idt[i] = (struct gate){.offset0 = (uint16_t)at,
                               .selector = SEL_KERNEL_CODE,
                               .ist = (uint8_t)ist,
                               .type = user ? GATE_USER : GATE_INTERRUPT,
                               .offset1 = (uint16_t)(at >> 16),
                               .offset2 = (uint32_t)(at >> 32)};
    }
}

static void load_tables(struct cpu *c)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer;
    struct tss *t = cpu_local_at(tss, c->percpu_offset);
    uint64_t *g = (uint64_t *)cpu_local_at(gdt, c->percpu_offset);
    static uint8_t boot_ist[IST_COUNT * IST_SIZE] __attribute__((aligned(16)));
    uint8_t *ist = boot_ist;

    if (c != &boot_cpu) {
        struct page *p = page_alloc(2, 0);
        if (!p)
            panic("no memory for CPU %d", c->id);
        ist = page_addr(p);
    }
    for (int i = 0; i < IST_COUNT; i++) {
        uint64_t top = (uint64_t)ist + (uint64_t)(i + 1) * IST_SIZE - 16;
        *(struct cpu **)top = c; /* for paranoid_entry */
        t->ist[i] = top;
    }
    t->iomap = sizeof(*t);
    c->tss = t;

    memcpy(g, segments, sizeof(segments));
    uint64_t base = (uint64_t)t;
    g[5] = (sizeof(*t) - 1) | (base & 0xffffff) << 16 | 0x89ul << 40 | (base >> 24 & 0xff) << 56;
    g[6] = base >> 32;
    pointer.limit = sizeof(gdt) - 1;
    pointer.base = (uint64_t)g;
    asm volatile("lgdt %0" : : "m"(pointer));
    asm volatile("ltr %w0" : : "r"(SEL_TSS));
    pointer.limit = sizeof(idt) - 1;
    pointer.base = (uint64_t)idt;
    asm volatile("lidt %0" : : "m"(pointer));
}

void cpu_init(struct cpu *c)
{
    const struct cpu_features *f = &cpu_features;

    if (c == &boot_cpu) {
        fill_idt();
        cpus[0] = c;
    }
    load_tables(c);

    uint64_t cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    cr4 |= f->smep ? CR4_SMEP : 0;
    cr4 |= f->smap ? CR4_SMAP : 0;
    cr4 |= f->umip ? CR4_UMIP : 0;
    cr4 |= f->fsgsbase ? CR4_FSGSBASE : 0;
    cr4 |= f->xsave ? CR4_OSXSAVE : 0;
    write_cr4(cr4);

    wrmsr(MSR_STAR, (uint64_t)SEL_KERNEL_CODE << 32 | (uint64_t)(SEL_KERNEL_DATA | 3) << 48);
    wrmsr(MSR_LSTAR, (uint64_t)syscall_entry);
    wrmsr(MSR_SFMASK, FLAGS_SYSCALL_CLEAR);
    if (f->rdtscp)
        wrmsr(MSR_TSC_AUX, (uint64_t)c->id); /* the vDSO's getcpu */
}

struct cpu *cpu_create(int id, uint32_t apic_id)
{
    size_t size = (size_t)(percpu_end - percpu_start);
    unsigned order = 0;

    while (PAGE_SIZE << order < size)
        order++;
    struct page *p = page_alloc(order, 0);
    if (!p)
        return NULL;
    struct cpu *c = page_addr(p);
    memset(c, 0, size);
    *c = (struct cpu){.self = c,
                      .id = id,
                      .apic_id = apic_id,
                      .bh_state = CPU_BH_IDLE,
                      .percpu_offset = (char *)c - (char *)&boot_cpu};
    cpu_percpu_offset[id] = c->percpu_offset;
    cpus[id] = c;
    return c;
}

void tss_set_stack(struct cpu *c, uint64_t top)
{
    c->tss->rsp[0] = top;
}

struct cpu *cpu_of(int id)
{
    return cpus[id];
}

bool arch_entropy(uint64_t *value)
{
    unsigned char ok = 0;

    for (int i = 0; i < 10 && !ok; i++) {
        if (cpu_features.rdseed)
            asm volatile("rdseed %0; setc %1" : "=r"(*value), "=qm"(ok) : : "cc");
        else if (cpu_features.rdrand)
            asm volatile("rdrand %0; setc %1" : "=r"(*value), "=qm"(ok) : : "cc");
    }
    return ok;
}
