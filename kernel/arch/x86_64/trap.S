/* Entries into the kernel and ways out of it: traps, interrupts, system calls. */
#include "x86.h"

        .macro PUSH_REST /* all but rdi */
        push %rsi
        push %rdx
        push %rcx
        push %rax
        push %r8
        push %r9
        push %r10
        push %r11
        push %rbx
        push %rbp
        push %r12
        push %r13
        push %r14
        push %r15
        .endm

        .macro POP_CALLEE_SAVED
        pop %r15
        pop %r14
        pop %r13
        pop %r12
        pop %rbp
        pop %rbx
        .endm

        .macro POP_ALL
        POP_CALLEE_SAVED
        pop %r11
        pop %r10
        pop %r9
        pop %r8
        pop %rax
        pop %rcx
        pop %rdx
        pop %rsi
        pop %rdi
        .endm

/*
 * Programs may have AC set, and copies from and to user space do: each entry but SYSCALL (whose mask
 * clears it) takes it back, so that SMAP guards the handlers too. IRET restores it.
 *
 * One stub per vector, 16 bytes apart. The slot of orig_rax holds the error code, or -1 where the CPU
 * pushes none; the vector travels in edi.
 */
        .section .text.entry, "ax"
        .balign 16
        .globl trap_stubs
trap_stubs:
        .set vector, 0
        .rept 256
        .balign 16
        .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)
        push $-1
        .endif
        push %rdi
        mov $vector, %edi
        .if vector == TRAP_NMI || vector == TRAP_DOUBLE || vector == TRAP_MACHINE_CHECK
        jmp paranoid_entry
        .elseif vector < 32
        jmp trap_entry
        .else
        jmp interrupt_entry
        .endif
        .set vector, vector + 1
        .endr

        .balign 16
interrupt_entry:
        PUSH_REST
        USER_ACCESS_OFF
        testb $3, REGS_CS(%rsp)
        jz 1f
        swapgs
        xor %ebp, %ebp
        cld
        mov %rsp, %rsi
        call interrupt_dispatch
        jmp return_to_user
1:      cld
        mov %rsp, %rsi
        call interrupt_dispatch
        POP_ALL
        add $8, %rsp
        iretq

        .balign 16
trap_entry:
        PUSH_REST
        USER_ACCESS_OFF
        testb $3, REGS_CS(%rsp)
        jz 1f
        swapgs
        xor %ebp, %ebp
        cld
        mov %rsp, %rsi
        call trap_from_user
        jmp return_to_user
1:      cld
        mov %rsp, %rsi
        call trap_from_kernel
        POP_ALL
        add $8, %rsp
        iretq

/* Interrupts off from here to the IRET; every register comes back. */
        .globl return_to_user
return_to_user:
        cli
        cmpl $0, %gs:CPU_RESCHED
        jne 1f
        mov %gs:CPU_CURRENT, %rax
        cmpb $0, THREAD_INTERRUPTED(%rax)
        je 2f
1:      mov %rsp, %rdi
        call user_return_work
2:      andq $USER_FLAGS_MASK, REGS_RFLAGS(%rsp)
        orq $0x202, REGS_RFLAGS(%rsp)
        mov REGS_RIP(%rsp), %rax
        shr $47, %rax
        jnz 3f
        swapgs
        POP_ALL
        add $8, %rsp
        iretq
3:      /* An IRET to such an address would fault in the kernel. */
        mov %rsp, %rdi
        call user_bad_address
        jmp return_to_user

/*
 * NMI, double fault and machine check come at any time, on a stack of their own: GS may be the
 * user's. The word above the frame is this CPU's struct cpu.
 */
        .balign 16
paranoid_entry:
        PUSH_REST
        USER_ACCESS_OFF
        cld
        mov %edi, %ebp
        mov $MSR_GS_BASE, %ecx
        rdmsr
        mov %eax, %r12d
        mov %edx, %r13d
        mov REGS_SIZE(%rsp), %rax
        mov %rax, %rdx
        shr $32, %rdx
        wrmsr
        mov %ebp, %edi
        mov %rsp, %rsi
        mov 32(%rsp), %rbp /* the interrupted frame pointer, for the backtrace */
        call trap_paranoid
        mov $MSR_GS_BASE, %ecx
        mov %r12d, %eax
        mov %r13d, %edx
        wrmsr
        POP_ALL
        add $8, %rsp
        iretq

/*
 * SYSCALL: rcx holds the return address, r11 the flags; interrupts are off. SYSRET is used if rcx and
 * r11 may be clobbered so, that is unless someone (sigreturn, execve) changed where to return.
 */
        .balign 16
        .globl syscall_entry
syscall_entry:
        swapgs
        mov %rsp, %gs:CPU_USER_RSP
        mov %gs:CPU_KERNEL_STACK, %rsp
        push $SEL_USER_DATA
        push %gs:CPU_USER_RSP
        push %r11
        push $SEL_USER_CODE
        push %rcx
        push %rax
        push %rdi
        PUSH_REST
        sti
        xor %ebp, %ebp
        mov %rsp, %rdi
        mov %rax, %rsi
        call personality_syscall
        cli
        cmpl $0, %gs:CPU_RESCHED
        jne return_to_user
        mov %gs:CPU_CURRENT, %rax
        cmpb $0, THREAD_INTERRUPTED(%rax)
        jne return_to_user
        mov REGS_RIP(%rsp), %rcx
        cmp REGS_RCX(%rsp), %rcx
        jne return_to_user
        mov REGS_RFLAGS(%rsp), %r11
        cmp REGS_R11(%rsp), %r11
        jne return_to_user
        mov %rcx, %rax
        shr $47, %rax
        jnz return_to_user
        and $USER_FLAGS_MASK, %r11d
        or $0x202, %r11d
        POP_CALLEE_SAVED
        add $8, %rsp
        pop %r10
        pop %r9
        pop %r8
        pop %rax
        add $8, %rsp
        pop %rdx
        pop %rsi
        pop %rdi
        mov 32(%rsp), %rsp
        swapgs
        sysretq

/* NORETURN void user_enter_frame(void *rsp): rsp points to a struct user_regs at its place. */
        .globl user_enter_frame
user_enter_frame:
        mov %rdi, %rsp
        xor %ebp, %ebp
        jmp return_to_user

/* void switch_stacks(struct thread *from, struct thread *to): context.rsp is their first member. */
        .balign 16
        .globl switch_stacks
switch_stacks:
        push %rbx
        push %rbp
        push %r12
        push %r13
        push %r14
        push %r15
        mov %rsp, (%rdi)
        mov (%rsi), %rsp
        movb $0, THREAD_ON_CPU(%rdi) /* from now on others may run it */
        POP_CALLEE_SAVED
        ret

/* The first thing on a new thread's stack. */
        .globl thread_trampoline
thread_trampoline:
        mov %rbx, %rdi
        call thread_started
        mov %rbx, %rdi
        call *%r12
        ud2

        .section .note.GNU-stack, "", @progbits
