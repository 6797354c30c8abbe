/* Exceptions, and the way back to user mode. */
#include "arch/arch.h"
#include "boot.h"
#include "core/aspace.h"
#include "core/main.h"
#include "core/panic.h"
#include "core/user.h"
#include "x86.h"

struct extable {
    uint64_t first, last, fixup;
};
extern const struct extable extable_start[], extable_end[];

#define PF_PRESENT 1u
#define PF_WRITE 2u
#define PF_USER 4u
#define PF_RESERVED 8u
#define PF_FETCH 16u

static const char *const trap_names[32] = {
    [TRAP_DIVIDE] = "divide error",
    [TRAP_DEBUG] = "debug",
    [TRAP_NMI] = "NMI",
    [TRAP_BREAKPOINT] = "breakpoint",
    [TRAP_OVERFLOW] = "overflow",
    [TRAP_BOUND] = "bound",
    [TRAP_ILLEGAL] = "invalid opcode",
    [TRAP_NO_FPU] = "no FPU",
    [TRAP_DOUBLE] = "double fault",
    [TRAP_STACK] = "stack segment fault",
    [TRAP_PROTECTION] = "general protection fault",
    [TRAP_PAGE] = "page fault",
    [TRAP_X87] = "x87 error",
    [TRAP_ALIGNMENT] = "alignment check",
    [TRAP_MACHINE_CHECK] = "machine check",
    [TRAP_SIMD] = "SIMD error",
};

void trap_from_user(uint32_t vector, struct user_regs *regs);
void trap_from_kernel(uint32_t vector, struct user_regs *regs);
void trap_paranoid(uint32_t vector, struct user_regs *regs);
void user_return_work(struct user_regs *regs);
void user_bad_address(struct user_regs *regs);

static unsigned fault_access(uint64_t error)
{
    return error & PF_FETCH ? PROT_X : error & PF_WRITE ? PROT_W : PROT_R;
}

static void print_regs(const struct user_regs *r)
{
    panic_print("rip %016lx rsp %016lx rflags %lx cs %lx\n", r->rip, r->rsp, r->rflags, r->cs);
    panic_print("rax %016lx rbx %016lx rcx %016lx rdx %016lx\n", r->rax, r->rbx, r->rcx, r->rdx);
    panic_print("rsi %016lx rdi %016lx rbp %016lx r8  %016lx\n", r->rsi, r->rdi, r->rbp, r->r8);
    panic_print("r9  %016lx r10 %016lx r11 %016lx r12 %016lx\n", r->r9, r->r10, r->r11, r->r12);
    panic_print("r13 %016lx r14 %016lx r15 %016lx\n", r->r13, r->r14, r->r15);
}

static NORETURN void die(uint32_t vector, const struct user_regs *regs, uint64_t error, uint64_t va)
{
    const char *name = vector < 32 && trap_names[vector] ? trap_names[vector] : "trap";

    panic_begin();
    if (vector == TRAP_DOUBLE && stack_guard_hit(va))
        panic_print("panic: kernel stack overflow at %016lx\n", va);
    else if (vector == TRAP_PAGE)
        panic_print("panic: page fault: %s %016lx, error %lx\n",
                    error & PF_FETCH   ? "jump to"
                    : error & PF_WRITE ? "write to"
                                       : "read of",
                    va, error);
    else
        panic_print("panic: %s (trap %u), error %lx\n", name, vector, error);
    print_regs(regs);
    panic_backtrace(regs->rip, (const void *)regs->rbp);
    panic_end();
}

void trap_from_user(uint32_t vector, struct user_regs *regs)
{
    static const struct {
        uint8_t known, fault;
    } kinds[32] = {
        [TRAP_DIVIDE] = {1, USER_FAULT_DIVIDE},
        [TRAP_DEBUG] = {1, USER_FAULT_DEBUG},
        [TRAP_BREAKPOINT] = {1, USER_FAULT_BREAKPOINT},
        [TRAP_OVERFLOW] = {1, USER_FAULT_OVERFLOW},
        [TRAP_BOUND] = {1, USER_FAULT_OVERFLOW},
        [TRAP_ILLEGAL] = {1, USER_FAULT_ILLEGAL},
        [TRAP_X87] = {1, USER_FAULT_FPU},
        [TRAP_SIMD] = {1, USER_FAULT_FPU},
        [TRAP_ALIGNMENT] = {1, USER_FAULT_ALIGNMENT},
    };
    uint64_t error = regs->orig_rax;

    regs->orig_rax = (uint64_t)-1;
    if (vector == TRAP_PAGE) {
        uint64_t va = read_cr2();
        arch_irq_enable();
        if (error & PF_RESERVED)
            die(vector, regs, error, va);
        personality_user_fault(regs, USER_FAULT_PAGE, va, fault_access(error), error & PF_PRESENT);
    } else {
        arch_irq_enable();
        enum user_fault kind = vector < 32 && kinds[vector].known
                                   ? (enum user_fault)kinds[vector].fault
                                   : USER_FAULT_PROTECTION;
        personality_user_fault(regs, kind, 0, 0, false);
    }
}

static const struct extable *find_fixup(uint64_t rip)
{
    for (const struct extable *e = extable_start; e < extable_end; e++) {
        if (rip >= e->first && rip < e->last)
            return e;
    }
    return NULL;
}

void trap_from_kernel(uint32_t vector, struct user_regs *regs)
{
    uint64_t error = regs->orig_rax, va = vector == TRAP_PAGE ? read_cr2() : 0;
    const struct extable *fixup = find_fixup(regs->rip);

    if (!fixup || (vector != TRAP_PAGE && vector != TRAP_PROTECTION))
        die(vector, regs, error, va);
    if (vector == TRAP_PAGE && va < USER_MAX && !thread_current()->fault_safe) {
        ASSERT((regs->rflags & X86_FLAGS_IF) && !in_bh());
        arch_irq_enable();
        int err = personality_page_fault(va, fault_access(error), error & PF_PRESENT);
        arch_irq_disable();
        if (!err)
            return;
    } else if (vector == TRAP_PAGE && va >= USER_MAX) {
        die(vector, regs, error, va);
    }
    regs->rip = fixup->fixup;
}

void trap_paranoid(uint32_t vector, struct user_regs *regs)
{
    /* Returns if there is no panic: then somebody outside wants to know where we are. */
    if (vector == TRAP_NMI)
        panic_nmi();
    die(vector, regs, regs->orig_rax, read_cr2());
}

void user_return_work(struct user_regs *regs)
{
    const struct thread *t = thread_current();

    do {
        arch_irq_enable();
        if (CPU_FIELD(resched) & RESCHED_SWITCH)
            schedule();
        if (CPU_FIELD(resched) & RESCHED_TELL) {
            arch_irq_disable();
            cpu_self()->resched &= ~RESCHED_TELL;
            arch_irq_enable();
            personality_switched(regs);
        }
        if (READ_ONCE(t->interrupted))
            personality_return_to_user(regs);
        arch_irq_disable();
    } while (CPU_FIELD(resched) || READ_ONCE(t->interrupted));
}

/* The program is to go on at an address it cannot have. */
void user_bad_address(struct user_regs *regs)
{
    uint64_t bad = regs->rip;

    arch_irq_enable();
    regs->rip = 0;
    personality_user_fault(regs, USER_FAULT_PROTECTION, bad, 0, false);
}

int arch_backtrace(uintptr_t *pcs, int max, const void *frame)
{
    const uint64_t *fp = frame ? frame : __builtin_frame_address(0);
    int n = 0;

    /* Frames lie ever higher on one stack; anything else ends the walk. */
    while (n < max && (uint64_t)fp >= DIRECT_BASE && ((uint64_t)fp & 7) == 0 &&
           !stack_guard_hit((uint64_t)fp)) {
        uint64_t next = fp[0];
        if (fp[1] < KERNEL_BASE)
            break;
        pcs[n++] = fp[1];
        if (next <= (uint64_t)fp || next - (uint64_t)fp > KERNEL_STACK_SIZE)
            break;
        fp = (const uint64_t *)next;
    }
    return n;
}
