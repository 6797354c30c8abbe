/* x86-64, private to this folder: layout of the address space, registers and a few instructions.
 * Shared by C and assembly. */
#ifndef X86_H
#define X86_H

#define KERNEL_BASE 0xffffffff80000000 /* physical 0; the image is linked at 1 MiB above */
#define DIRECT_BASE 0xffff800000000000 /* all RAM */
#define PAGES_BASE 0xffffc00000000000  /* struct page array */
#define VMAP_BASE 0xffffd00000000000   /* device registers, kernel stacks */
#define TRAMPOLINE 0x8000              /* where other CPUs start, below 1 MiB */

#define SEL_KERNEL_CODE 0x08
#define SEL_KERNEL_DATA 0x10
#define SEL_USER_DATA 0x1b /* SYSRET wants data 8 below code */
#define SEL_USER_CODE 0x23
#define SEL_TSS 0x28

#define MSR_APIC_BASE 0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC 0x800
#define MSR_PAT 0x277
#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_SFMASK 0xc0000084
#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
#define MSR_TSC_AUX 0xc0000103

#define EFER_SCE 0x001
#define EFER_LME 0x100
#define EFER_NXE 0x800

#define CR0_PE 0x1
#define CR0_MP 0x2
#define CR0_EM 0x4
#define CR0_TS 0x8
#define CR0_ET 0x10
#define CR0_NE 0x20
#define CR0_WP 0x10000
#define CR0_AM 0x40000
#define CR0_PG 0x80000000
#define CR4_PAE 0x20
#define CR4_PGE 0x80
#define CR4_OSFXSR 0x200
#define CR4_OSXMMEXCPT 0x400
#define CR4_UMIP 0x800
#define CR4_FSGSBASE 0x10000
#define CR4_OSXSAVE 0x40000
#define CR4_SMEP 0x100000
#define CR4_SMAP 0x200000

#define PTE_P 0x1
#define PTE_W 0x2
#define PTE_U 0x4
#define PTE_PWT 0x8
#define PTE_PCD 0x10
#define PTE_A 0x20
#define PTE_D 0x40
#define PTE_LARGE 0x80
#define PTE_G 0x100
#define PTE_HELD 0x200 /* ours: a user page that nobody may access (PROT_NONE) */
#define PTE_NX 0x8000000000000000
#define PTE_ADDR 0x000ffffffffff000

/* Interrupt vectors; devices have those of arch/vectors.h. */
#define VECTOR_TIMER 0xec
#define VECTOR_CALL 0xfb
#define VECTOR_RESCHED 0xfd
#define VECTOR_SPURIOUS 0xff

#define TRAP_DIVIDE 0
#define TRAP_DEBUG 1
#define TRAP_NMI 2
#define TRAP_BREAKPOINT 3
#define TRAP_OVERFLOW 4
#define TRAP_BOUND 5
#define TRAP_ILLEGAL 6
#define TRAP_NO_FPU 7
#define TRAP_DOUBLE 8
#define TRAP_STACK 12
#define TRAP_PROTECTION 13
#define TRAP_PAGE 14
#define TRAP_X87 16
#define TRAP_ALIGNMENT 17
#define TRAP_MACHINE_CHECK 18
#define TRAP_SIMD 19

/* Flags a program may have; the rest is forced. */
#define USER_FLAGS_MASK 0x244dd5    /* CF PF AF ZF SF TF DF OF NT AC ID */
#define FLAGS_SYSCALL_CLEAR 0x44700 /* TF IF DF NT AC */

/* Offsets that assembly needs; checked in cpu.c. */
#define CPU_CURRENT 8
#define CPU_KERNEL_STACK 16
#define CPU_USER_RSP 24
#define CPU_RESCHED 40
#define THREAD_ON_CPU 44
#define THREAD_INTERRUPTED 46
#define REGS_SIZE 168
#define REGS_R11 48
#define REGS_RCX 88
#define REGS_RIP 128
#define REGS_CS 136
#define REGS_RFLAGS 144
#define REGS_RSP 152

#ifndef __ASSEMBLER__

#include "arch/vectors.h"
#include "core/base.h"

extern char kernel_start[], text_end[], rodata_end[], kernel_end[];

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t lo, hi;
    asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
    return (uint64_t)hi << 32 | lo;
}
static inline void wrmsr(uint32_t msr, uint64_t v)
{
    asm volatile("wrmsr" : : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}
static inline uint64_t rdtsc(void)
{
    uint32_t lo, hi;
    asm volatile("rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
    return (uint64_t)hi << 32 | lo;
}
static inline void cpuid(uint32_t leaf, uint32_t sub, uint32_t r[4])
{
    asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(sub));
}
static inline uint64_t read_cr2(void)
{
    uint64_t v;
    asm volatile("mov %%cr2, %0" : "=r"(v));
    return v;
}
static inline uint64_t read_cr3(void)
{
    uint64_t v;
    asm volatile("mov %%cr3, %0" : "=r"(v));
    return v;
}
static inline void write_cr3(uint64_t v)
{
    asm volatile("mov %0, %%cr3" : : "r"(v) : "memory");
}
static inline uint64_t read_cr4(void)
{
    uint64_t v;
    asm volatile("mov %%cr4, %0" : "=r"(v));
    return v;
}
static inline void write_cr4(uint64_t v)
{
    asm volatile("mov %0, %%cr4" : : "r"(v) : "memory");
}
static inline void invlpg(uint64_t va)
{
    asm volatile("invlpg (%0)" : : "r"(va) : "memory");
}

static inline void outb(uint16_t port, uint8_t v)
{
    asm volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}
static inline void outw(uint16_t port, uint16_t v)
{
    asm volatile("outw %0, %1" : : "a"(v), "Nd"(port));
}
static inline void outl(uint16_t port, uint32_t v)
{
    asm volatile("outl %0, %1" : : "a"(v), "Nd"(port));
}
static inline uint8_t inb(uint16_t port)
{
    uint8_t v;
    asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint16_t inw(uint16_t port)
{
    uint16_t v;
    asm volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint32_t inl(uint16_t port)
{
    uint32_t v;
    asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static inline void *direct(paddr_t pa)
{
    return (void *)(DIRECT_BASE + pa);
}
static inline paddr_t direct_pa(const void *p)
{
    return (uint64_t)p - DIRECT_BASE;
}
static inline paddr_t image_pa(const void *p)
{
    return (uint64_t)p - KERNEL_BASE;
}

#else
/* clang-format off */

/* SMAP. Becomes a NOP on CPUs without it (cpu.c). */
        .macro USER_ACCESS_ON
771:    stac
        .pushsection .feature_patches, "a"
        .quad 771b
        .popsection
        .endm
        .macro USER_ACCESS_OFF
771:    clac
        .pushsection .feature_patches, "a"
        .quad 771b
        .popsection
        .endm

/* clang-format on */
#endif
#endif
