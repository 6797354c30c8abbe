/* x86-64: the interrupt vectors that devices may have. */
#ifndef ARCH_VECTORS_H
#define ARCH_VECTORS_H

#define VECTOR_FIRST_DEVICE 0x30
#define VECTOR_LAST_DEVICE 0xdf

#endif
