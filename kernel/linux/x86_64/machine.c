/* What programs see of the x86-64 machine: arch_prctl and the hardware words of the auxiliary
 * vector. */
#include <asm/prctl.h>

#include "core/clock.h"
#include "core/uio.h"
#include "core/aspace.h"
#include "linux/process.h"
#include "linux/syscall.h"
#include "linux/vdso.h"

static void cpuid(uint32_t leaf, uint32_t r[4])
{
    asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(0));
}

/* /proc/cpuinfo: who made it, what it is called, and the features programs look for. */
static void show_cpu(struct text_buf *b, int cpu)
{
    static const struct {
        uint32_t leaf;
        uint8_t reg, bit;
        const char *name;
    } flags[] = {
        {1, 3, 0, "fpu"},     {1, 3, 4, "tsc"},          {1, 3, 8, "cx8"},     {1, 3, 15, "cmov"},
        {1, 3, 23, "mmx"},    {1, 3, 24, "fxsr"},        {1, 3, 25, "sse"},    {1, 3, 26, "sse2"},
        {1, 2, 0, "pni"},     {1, 2, 1, "pclmulqdq"},    {1, 2, 9, "ssse3"},   {1, 2, 12, "fma"},
        {1, 2, 13, "cx16"},   {1, 2, 19, "sse4_1"},      {1, 2, 20, "sse4_2"}, {1, 2, 22, "movbe"},
        {1, 2, 23, "popcnt"}, {1, 2, 25, "aes"},         {1, 2, 26, "xsave"},  {1, 2, 28, "avx"},
        {1, 2, 30, "rdrand"}, {7, 1, 0, "fsgsbase"},     {7, 1, 3, "bmi1"},    {7, 1, 5, "avx2"},
        {7, 1, 8, "bmi2"},    {7, 1, 9, "erms"},         {7, 1, 18, "rdseed"}, {7, 1, 19, "adx"},
        {7, 1, 29, "sha_ni"}, {0x80000001, 3, 29, "lm"},
    };
    uint32_t r[4];
    char text[49] = {0};
    cpuid(0, r);
    memcpy(text, &r[1], 4);
    memcpy(text + 4, &r[3], 4);
    memcpy(text + 8, &r[2], 4);
    text_printf(b, "vendor_id\t: %s\n", text);
    for (uint32_t i = 0; i < 3; i++) {
        cpuid(0x80000002 + i, r);
        memcpy(text + 16 * i, r, 16);
    }
    text_printf(b, "model name\t: %s\n", text);
    uint64_t khz = clock_frequency() / 1000;
    text_printf(b, "cpu MHz\t\t: %llu.%03llu\n", (unsigned long long)khz / 1000,
                (unsigned long long)khz % 1000);
    text_printf(b, "core id\t\t: %d\ncpu cores\t: %d\nflags\t\t:", cpu, cpu_count);
    for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
        cpuid(flags[i].leaf, r);
        if (r[flags[i].reg] >> flags[i].bit & 1)
            text_printf(b, " %s", flags[i].name);
    }
    text_printf(b, "\n");
}

void machine_init(void)
{
    procfs_cpuinfo = show_cpu;
}

/* Linux passes CPUID 1's EDX. */
uint64_t personality_hwcap(void)
{
    uint32_t r[4];
    cpuid(1, r);
    return r[3];
}

/* Bit 1: FSGSBASE may be used in user mode; the kernel tells by CR4, which programs cannot read. */
uint64_t personality_hwcap2(void)
{
    uint64_t cr4;
    asm volatile("mov %%cr4, %0" : "=r"(cr4));
    return cr4 >> 16 & 1 ? 2 : 0;
}

/* The frame of a signal: extended state, ucontext and siginfo, with room for alignment. */
uint64_t personality_minsigstksz(void)
{
    return ROUND_UP(user_fpu_size() + 4, 64) + 64 + 456;
}

long sys_arch_prctl(int code, uint64_t addr)
{
    uint64_t value;
    switch (code) {
    case ARCH_SET_FS:
        if (addr >= USER_MAX)
            return -EPERM;
        user_tls_set(addr);
        return 0;
    case ARCH_GET_FS:
        value = user_tls_get();
        return copy_to_user(addr, &value, sizeof(value)) ? -EFAULT : 0;
    case ARCH_SET_GS:
        if (addr >= USER_MAX)
            return -EPERM;
        user_gs_set(addr);
        return 0;
    case ARCH_GET_GS:
        value = user_gs_get();
        return copy_to_user(addr, &value, sizeof(value)) ? -EFAULT : 0;
    }
    return -EINVAL;
}
