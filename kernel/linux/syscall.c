/* The system-call table and dispatch: see linux/syscall.h. */
#include "linux/syscall.h"

#include <asm/unistd.h>

#include "linux/process.h"

typedef long (*syscall_fn)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

#define SYSCALL_COUNT 512

#define SYSCALL(name, params) [__NR_##name] = (syscall_fn)(void (*)(void))sys_##name,
static const syscall_fn table[SYSCALL_COUNT] = {
#include "linux/syscalls_files.def"
#include "linux/syscalls_process.def"
};
#undef SYSCALL

/* Logs the first use of each call that is not there; it returns ENOSYS. */
static void __attribute__((noinline, cold)) unknown(struct user_regs *regs, uint64_t nr)
{
    static uint64_t seen[SYSCALL_COUNT / 64];
    uint64_t bit = 1ULL << (nr % 64);
    struct task *t = (struct task *)thread_current();
    if (nr < SYSCALL_COUNT && !(__atomic_fetch_or(&seen[nr / 64], bit, __ATOMIC_RELAXED) & bit))
        klog(LOG_WARN, "%s[%d]: system call %u (%s) is not implemented", t->comm, t->process->pid,
             (unsigned)nr, syscall_name((unsigned)nr));
    user_regs_set_result(regs, -ENOSYS);
}

void personality_syscall(struct user_regs *regs, uint64_t nr)
{
    syscall_fn fn;
    if (unlikely(nr >= SYSCALL_COUNT || !(fn = table[nr]))) {
        unknown(regs, nr);
        return;
    }
    user_regs_set_result(regs, fn(user_regs_arg(regs, 0), user_regs_arg(regs, 1),
                                  user_regs_arg(regs, 2), user_regs_arg(regs, 3),
                                  user_regs_arg(regs, 4), user_regs_arg(regs, 5)));
}
