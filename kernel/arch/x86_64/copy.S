/*
 * memcpy and friends, and copies from and to user space.
 *
 * Small copies go through general registers, 128 bytes a round; up to 64 bytes there is no loop: the
 * first and the last part are copied, overlapping. Large ones begin with a string instruction: the
 * processor's fastest way, and under an emulator less than half of the instructions (a page: 0.3 us
 * slower out of 1.1, in a transfer not noticeable). Vector registers belong to the user, and SSE is
 * the slowest of all under an emulator. A fault anywhere in the user variants leaves the number of
 * bytes not copied yet.
 */
#include "x86.h"

        .macro EXTABLE first, last, fixup
        .pushsection .extable, "a"
        .balign 8
        .quad \first, \last, \fixup
        .popsection
        .endm

        .macro MOVE32 at
        mov \at(%rsi), %rax
        mov \at+8(%rsi), %rcx
        mov \at+16(%rsi), %r8
        mov \at+24(%rsi), %r9
        mov %rax, \at(%rdi)
        mov %rcx, \at+8(%rdi)
        mov %r8, \at+16(%rdi)
        mov %r9, \at+24(%rdi)
        .endm

        /* Copies of this many bytes and more begin with a string instruction. */
        .equ STRING_MIN, 512

        /* All but the last n % 8 bytes of a large copy; goes on to \rest with those (or with all of
         * a small one) to be copied. A fault at \string leaves rdx + 8 * rcx. */
        .macro COPY_STRING string, rest
        cmp $STRING_MIN, %rdx
        jb \rest
        mov %rdx, %rcx
        shr $3, %rcx
        and $7, %edx
\string:
        rep movsq
\rest:
        .endm

        /* Goes on to \done when all is copied. */
        .macro COPY_BODY done
        cmp $128, %rdx
        jb 2f
        .balign 16
1:      MOVE32 0
        MOVE32 32
        MOVE32 64
        MOVE32 96
        add $128, %rsi
        add $128, %rdi
        sub $128, %rdx
        cmp $128, %rdx
        jae 1b
2:      cmp $16, %rdx
        jb 4f
        cmp $32, %rdx
        ja 3f
        mov (%rsi), %rax
        mov 8(%rsi), %rcx
        mov -16(%rsi,%rdx), %r8
        mov -8(%rsi,%rdx), %r9
        mov %rax, (%rdi)
        mov %rcx, 8(%rdi)
        mov %r8, -16(%rdi,%rdx)
        mov %r9, -8(%rdi,%rdx)
        jmp \done
3:      MOVE32 0
        add $32, %rsi
        add $32, %rdi
        sub $32, %rdx
        cmp $32, %rdx
        ja 3b
        /* 1 to 32 left and at least 32 behind: end with an overlapping block. */
        mov -32(%rsi,%rdx), %rax
        mov -24(%rsi,%rdx), %rcx
        mov -16(%rsi,%rdx), %r8
        mov -8(%rsi,%rdx), %r9
        mov %rax, -32(%rdi,%rdx)
        mov %rcx, -24(%rdi,%rdx)
        mov %r8, -16(%rdi,%rdx)
        mov %r9, -8(%rdi,%rdx)
        jmp \done
4:      cmp $8, %edx
        jb 5f
        mov (%rsi), %rax
        mov -8(%rsi,%rdx), %rcx
        mov %rax, (%rdi)
        mov %rcx, -8(%rdi,%rdx)
        jmp \done
5:      cmp $4, %edx
        jb 6f
        mov (%rsi), %eax
        mov -4(%rsi,%rdx), %ecx
        mov %eax, (%rdi)
        mov %ecx, -4(%rdi,%rdx)
        jmp \done
6:      test %edx, %edx
        jz \done
        movzbl (%rsi), %eax
        cmp $1, %edx
        je 7f
        movzwl -2(%rsi,%rdx), %ecx
        mov %al, (%rdi)
        mov %cx, -2(%rdi,%rdx)
        jmp \done
7:      mov %al, (%rdi)
        .endm

        /* Stores rax, whose eight bytes are equal. */
        .macro FILL_BODY done
        cmp $64, %rdx
        jb 2f
        .balign 16
1:      mov %rax, (%rdi)
        mov %rax, 8(%rdi)
        mov %rax, 16(%rdi)
        mov %rax, 24(%rdi)
        mov %rax, 32(%rdi)
        mov %rax, 40(%rdi)
        mov %rax, 48(%rdi)
        mov %rax, 56(%rdi)
        add $64, %rdi
        sub $64, %rdx
        cmp $64, %rdx
        jae 1b
2:      cmp $8, %rdx
        jb 4f
3:      cmp $16, %rdx
        jbe 5f
        mov %rax, (%rdi)
        mov %rax, 8(%rdi)
        add $16, %rdi
        sub $16, %rdx
        cmp $8, %rdx
        jae 3b
4:      test %edx, %edx
        jz \done
        mov %al, (%rdi)
        inc %rdi
        dec %edx
        jmp 4b
5:      mov %rax, (%rdi)
        mov %rax, -8(%rdi,%rdx)
        .endm

        .text
        .balign 16
        .globl memcpy
memcpy:
        mov %rdi, %r10
        COPY_STRING memcpy_string, memcpy_rest
        COPY_BODY memcpy_done
memcpy_done:
        mov %r10, %rax
        ret

        .balign 16
        .globl memmove
memmove:
        mov %rdi, %rax
        sub %rsi, %rax
        cmp %rdx, %rax
        jb 3f                   /* dst inside [src, src + n): from the end */
        mov %rsi, %rax
        sub %rdi, %rax
        cmp %rdx, %rax
        jae memcpy              /* they do not overlap */
        mov %rdi, %r10
1:      cmp $8, %rdx
        jb 2f
        mov (%rsi), %rax
        mov %rax, (%rdi)
        add $8, %rsi
        add $8, %rdi
        sub $8, %rdx
        jmp 1b
2:      test %rdx, %rdx
        jz memcpy_done
        mov (%rsi), %al
        mov %al, (%rdi)
        inc %rsi
        inc %rdi
        dec %rdx
        jmp 2b
3:      mov %rdi, %r10
4:      cmp $8, %rdx
        jb 5f
        mov -8(%rsi,%rdx), %rax
        mov %rax, -8(%rdi,%rdx)
        sub $8, %rdx
        jmp 4b
5:      test %rdx, %rdx
        jz memcpy_done
        mov -1(%rsi,%rdx), %al
        mov %al, -1(%rdi,%rdx)
        dec %rdx
        jmp 5b

        .balign 16
        .globl memset
memset:
        mov %rdi, %r10
        movzbl %sil, %eax
        mov $0x0101010101010101, %rcx
        imul %rcx, %rax
        FILL_BODY memset_done
memset_done:
        mov %r10, %rax
        ret

        .balign 16
        .globl memcmp
memcmp:
1:      cmp $8, %rdx
        jb 3f
        mov (%rsi), %rcx
        mov (%rdi), %rax
        cmp %rcx, %rax
        jne 2f
        add $8, %rsi
        add $8, %rdi
        sub $8, %rdx
        jmp 1b
2:      bswap %rax
        bswap %rcx
        cmp %rcx, %rax
        sbb %eax, %eax
        or $1, %eax
        ret
3:      test %edx, %edx
        jz 5f
4:      movzbl (%rdi), %eax
        movzbl (%rsi), %ecx
        sub %ecx, %eax
        jne 6f
        inc %rdi
        inc %rsi
        dec %edx
        jnz 4b
5:      xor %eax, %eax
6:      ret

/* size_t user_copy(void *dst, const void *src, size_t n): one of them is user space and checked to be
 * below USER_MAX. Returns the number of bytes that were not copied. */
        .balign 16
        .globl user_copy
user_copy:
        USER_ACCESS_ON
        COPY_STRING user_copy_string, user_copy_begin
        COPY_BODY user_copy_done
user_copy_done:
        USER_ACCESS_OFF
        xor %eax, %eax
        ret
        EXTABLE user_copy_string, user_copy_begin, user_string_fault
        EXTABLE user_copy_begin, user_copy_done, user_fault_result

/* size_t user_clear(void *dst, size_t n): likewise. */
        .balign 16
        .globl user_clear
user_clear:
        mov %rsi, %rdx
        xor %eax, %eax
        USER_ACCESS_ON
user_clear_begin:
        FILL_BODY user_clear_done
user_clear_done:
        USER_ACCESS_OFF
        xor %eax, %eax
        ret
        EXTABLE user_clear_begin, user_clear_done, user_fault_result

user_string_fault:
        lea (%rdx,%rcx,8), %rdx
user_fault_result:
        USER_ACCESS_OFF
        mov %rdx, %rax
        ret

/* ssize_t user_strncpy(char *dst, const char *src, size_t n): up to and including the NUL. Returns the
 * length without it, n if there is none, or -1 on a fault. Aligned words without a zero byte are
 * copied whole: they cannot reach into a page that the string does not. */
        .balign 16
        .globl user_strncpy
user_strncpy:
        xor %eax, %eax
        movabs $0x0101010101010101, %r8
        movabs $0x8080808080808080, %r9
        USER_ACCESS_ON
user_strncpy_begin:
1:      lea (%rsi,%rax), %rcx
        test $7, %cl
        jnz 4f
3:      lea 8(%rax), %rcx
        cmp %rdx, %rcx
        ja 4f
        mov (%rsi,%rax), %r10
        mov %r10, %r11
        sub %r8, %r11
        not %r10
        and %r10, %r11
        test %r9, %r11          /* a byte of this is >= 0x80 if one of the word is zero */
        jnz 4f
        not %r10
        mov %r10, (%rdi,%rax)
        mov %rcx, %rax
        jmp 3b
4:      cmp %rdx, %rax
        jae 2f
        movzbl (%rsi,%rax), %ecx
        mov %cl, (%rdi,%rax)
        test %cl, %cl
        jz 2f
        inc %rax
        jmp 1b
user_strncpy_end:
2:      USER_ACCESS_OFF
        ret
        EXTABLE user_strncpy_begin, user_strncpy_end, user_strncpy_fault
user_strncpy_fault:
        USER_ACCESS_OFF
        mov $-1, %rax
        ret

        .section .note.GNU-stack, "", @progbits
