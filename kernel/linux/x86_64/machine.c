/* What programs see of the x86-64 machine: arch_prctl and the hardware words of the auxiliary
 * vector. */
#include <asm/prctl.h>

#include "core/uio.h"
#include "core/aspace.h"
#include "linux/process.h"
#include "linux/syscall.h"
#include "linux/vdso.h"

static void cpuid(uint32_t leaf, uint32_t r[4])
{
    asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(0));
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
