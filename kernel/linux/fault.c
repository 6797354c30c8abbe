/* Faults of programs: page faults are resolved, everything else becomes a signal. */
#include "linux/mm.h"
#include "linux/process.h"
#include "linux/signals.h"

static enum fault_result resolve(uaddr_t va, unsigned access)
{
    struct task *t = (struct task *)thread_current();
    enum fault_result res;
    t->min_faults++;
    do
        res = mm_fault(t->process->mm, va, access);
    while (res == FAULT_OOM && oom_reclaim());
    return res;
}

int personality_page_fault(uaddr_t va, unsigned access, bool present)
{
    (void)present;
    return thread_current()->aspace && resolve(va, access) == FAULT_OK ? 0 : -EFAULT;
}

static void page_fault(uaddr_t va, unsigned access)
{
    struct siginfo_k info = {.addr = va};
    switch (resolve(va, access)) {
    case FAULT_OK:
        return;
    case FAULT_NO_REGION:
        info.signo = SIGSEGV_N;
        info.code = SEGV_MAPERR_N;
        break;
    case FAULT_ACCESS:
        info.signo = SIGSEGV_N;
        info.code = SEGV_ACCERR_N;
        break;
    case FAULT_BUS:
        info.signo = SIGBUS_N;
        info.code = BUS_ADRERR_N;
        break;
    case FAULT_OOM: /* we were chosen to end */
        thread_current()->interrupted = true;
        return;
    }
    signal_force(info.signo, &info);
}

void personality_user_fault(struct user_regs *regs, enum user_fault kind, uaddr_t va,
                            unsigned access, bool present)
{
    (void)present;
    static const struct {
        int signo, code;
    } signals[] = {
        [USER_FAULT_DIVIDE] = {SIGFPE_N, FPE_INTDIV_N},
        [USER_FAULT_FPU] = {SIGFPE_N, 14 /* FPE_FLTUNK */},
        [USER_FAULT_ILLEGAL] = {SIGILL_N, ILL_ILLOPN_N},
        [USER_FAULT_PROTECTION] = {SIGSEGV_N, SI_KERNEL_N},
        [USER_FAULT_BREAKPOINT] = {SIGTRAP_N, SI_KERNEL_N},
        [USER_FAULT_DEBUG] = {SIGTRAP_N, TRAP_TRACE_N},
        [USER_FAULT_ALIGNMENT] = {SIGBUS_N, BUS_ADRALN_N},
        [USER_FAULT_OVERFLOW] = {SIGSEGV_N, SI_KERNEL_N},
    };
    if (kind == USER_FAULT_PAGE) {
        page_fault(va, access);
        return;
    }
    struct siginfo_k info = {.signo = signals[kind].signo,
                             .code = signals[kind].code,
                             .addr = kind == USER_FAULT_PROTECTION ? 0 : user_regs_ip(regs)};
    signal_force(info.signo, &info);
}
