/* The vDSO (vdso/), embedded on pages of its own. */
        .section .vdso_image, "a"
        .balign 4096
        .incbin VDSO_PATH

        .section .note.GNU-stack, "", @progbits
