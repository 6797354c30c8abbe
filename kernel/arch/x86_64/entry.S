/*
 * Where CPUs begin: the first one in 32-bit protected mode, by the PVH boot protocol (xen/public/
 * arch-x86/hvm/start_info.h), the others in real mode at TRAMPOLINE. Both end in C on the higher half.
 */
#include "x86.h"

#define PA(symbol) ((symbol) - KERNEL_BASE)

        .section .note.Xen, "a", @note
        .balign 4
        .long 4, 4, 18          /* name size, description size, XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz "Xen"
        .long PA(pvh_start)

        /* Boot page tables: physical 0..4 GiB at 0, DIRECT_BASE and (half of it) KERNEL_BASE. */
        .section .data.page, "aw"
        .balign 4096
        .globl boot_pml4
boot_pml4:
        .quad PA(boot_pdpt_low) + PTE_P + PTE_W
        .fill 255, 8, 0
        .quad PA(boot_pdpt_low) + PTE_P + PTE_W
        .fill 254, 8, 0
        .quad PA(boot_pdpt_high) + PTE_P + PTE_W
boot_pdpt_low:
        .quad PA(boot_pds) + PTE_P + PTE_W
        .quad PA(boot_pds) + 0x1000 + PTE_P + PTE_W
        .quad PA(boot_pds) + 0x2000 + PTE_P + PTE_W
        .quad PA(boot_pds) + 0x3000 + PTE_P + PTE_W
        .fill 508, 8, 0
boot_pdpt_high:
        .fill 510, 8, 0
        .quad PA(boot_pds) + PTE_P + PTE_W
        .quad 0

        .section .bss.page, "aw", @nobits
        .balign 4096
boot_pds:
        .skip 4 * 4096
        .skip 16384
        .globl boot_stack_top
boot_stack_top:

        .section .rodata
        .balign 8
boot_gdt:
        .quad 0
        .quad 0x00af9b000000ffff /* 64-bit code */
        .quad 0x00cf93000000ffff /* data */
boot_gdt_end:
boot_gdt_pointer:
        .word boot_gdt_end - boot_gdt - 1
        .long PA(boot_gdt)

        .section .text.boot, "ax"
        .code32
        .globl pvh_start
pvh_start:
        cld
        mov $PA(boot_pds), %edi
        mov $(PTE_P | PTE_W | PTE_LARGE), %eax
1:      mov %eax, (%edi)
        add $8, %edi
        add $0x200000, %eax
        jnc 1b
        mov $CR4_PAE, %eax
        mov %eax, %cr4
        mov $PA(boot_pml4), %eax
        mov %eax, %cr3
        mov $MSR_EFER, %ecx
        mov $(EFER_LME | EFER_SCE | EFER_NXE), %eax
        xor %edx, %edx
        wrmsr
        mov $(CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG), %eax
        mov %eax, %cr0
        lgdt PA(boot_gdt_pointer)
        ljmp $SEL_KERNEL_CODE, $PA(start64)

        .code64
start64:
        mov $SEL_KERNEL_DATA, %eax
        mov %eax, %ss
        mov %eax, %ds
        mov %eax, %es
        xor %eax, %eax
        mov %eax, %fs
        mov %eax, %gs
        mov $boot_stack_top, %rsp
        xor %ebp, %ebp
        mov %ebx, %edi          /* struct hvm_start_info */
        mov $arch_boot, %rax
        jmp *%rax

/*
 * The other CPUs: this piece is copied to TRAMPOLINE. The first CPU fills in trampoline_cr3.
 */
#define TR(symbol) (TRAMPOLINE + (symbol) - trampoline_start)
        .section .rodata
        .balign 16
        .globl trampoline_start, trampoline_end, trampoline_cr3
        .code16
trampoline_start:
        cli
        cld
        xor %eax, %eax
        mov %ax, %ds
        lgdtl TR(trampoline_gdt_pointer)
        mov $CR4_PAE, %eax
        mov %eax, %cr4
        mov TR(trampoline_cr3), %eax
        mov %eax, %cr3
        mov $MSR_EFER, %ecx
        mov $(EFER_LME | EFER_SCE | EFER_NXE), %eax
        xor %edx, %edx
        wrmsr
        mov $(CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG), %eax
        mov %eax, %cr0
        ljmpl $SEL_KERNEL_CODE, $TR(trampoline64)
        .code64
trampoline64:
        mov $SEL_KERNEL_DATA, %eax
        mov %eax, %ss
        mov %eax, %ds
        mov %eax, %es
        xor %eax, %eax
        mov %eax, %fs
        mov %eax, %gs
        mov $smp_start, %rax
        jmp *%rax
        .balign 8
trampoline_gdt:
        .quad 0
        .quad 0x00af9b000000ffff
        .quad 0x00cf93000000ffff
trampoline_gdt_pointer:
        .word 23
        .long TR(trampoline_gdt)
        .balign 4
trampoline_cr3:
        .long 0
trampoline_end:

/* A CPU takes its number, and with that its stack. */
        .section .text.boot, "ax"
        .globl smp_start
smp_start:
        mov kernel_pml4(%rip), %rax
        mov %rax, %cr3
        mov $1, %edi
        lock xadd %edi, smp_next_cpu(%rip)
        mov smp_stacks(,%rdi,8), %rsp
        xor %ebp, %ebp
        call smp_cpu_start
        ud2

        .section .note.GNU-stack, "", @progbits
