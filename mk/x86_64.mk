# Entries from user mode leave the stack aligned to 8 bytes only; no kernel code needs more.
KERNEL_CFLAGS += -mpreferred-stack-boundary=3
