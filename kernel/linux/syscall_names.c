/* Names of all system calls, for the log. */
#include <asm/unistd.h>

#include "linux/syscall.h"

#define SYSCALL(name, ...) [__NR_##name] = #name,
static const char *const names[] = {
#include "abi/syscalls.def"
};
#undef SYSCALL

const char *syscall_name(unsigned nr)
{
    return nr < ARRAY_SIZE(names) && names[nr] ? names[nr] : "?";
}
