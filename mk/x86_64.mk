# Entries from user mode leave the stack aligned to 8 bytes only; no kernel code needs more.
KERNEL_CFLAGS += $(if $(findstring clang,$(CC)),-mstack-alignment=8,-mpreferred-stack-boundary=3)
