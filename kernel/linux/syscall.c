/* The system-call table and dispatch: see linux/syscall.h. */
#include "linux/syscall.h"

#include <asm/unistd.h>

#include "linux/process.h"
#include "linux/trace.h"

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

/* Numbers below it go straight to their functions: none while somebody traces. So tracing that is
 * off costs no branch of its own. */
static unsigned direct = SYSCALL_COUNT;

void syscall_trace(bool on)
{
    WRITE_ONCE(direct, on ? 0 : SYSCALL_COUNT);
}

static inline void call(syscall_fn fn, struct user_regs *regs)
{
    user_regs_set_result(regs, fn(user_regs_arg(regs, 0), user_regs_arg(regs, 1),
                                  user_regs_arg(regs, 2), user_regs_arg(regs, 3),
                                  user_regs_arg(regs, 4), user_regs_arg(regs, 5)));
}

/* A call that is not there, or perhaps traced. */
static void __attribute__((noinline, cold)) indirect(struct user_regs *regs, uint64_t nr)
{
    struct trace_call t;
    bool traced = trace_enter(&t, regs, nr);
    if (nr < SYSCALL_COUNT && table[nr])
        call(table[nr], regs);
    else
        unknown(regs, nr);
    if (traced)
        trace_leave(&t, user_regs_result(regs));
}

void personality_syscall(struct user_regs *regs, uint64_t nr)
{
    syscall_fn fn;
    if (unlikely(nr >= READ_ONCE(direct) || !(fn = table[nr])))
        indirect(regs, nr);
    else
        call(fn, regs);
}
