/* What a program is told of the machine: the vDSO and the auxiliary vector's hardware words. */
#ifndef LINUX_VDSO_H
#define LINUX_VDSO_H

#include "linux/mm.h"

void vdso_init(void);
/* Maps the clock page and the vDSO into a new mm and notes its address. -ENOMEM. */
int vdso_map(struct mm *mm);

/* linux/x86_64: /proc/cpuinfo. */
void machine_init(void);
/* AT_HWCAP, AT_HWCAP2, AT_MINSIGSTKSZ. */
uint64_t personality_hwcap(void);
uint64_t personality_hwcap2(void);
uint64_t personality_minsigstksz(void);

#endif
