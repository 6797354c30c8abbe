/* Interrupts and device memory, as drivers see them. */
#ifndef CORE_IRQ_H
#define CORE_IRQ_H

#include "core/base.h"

/* A message-signalled interrupt: one vector on one CPU. */
struct irq {
    void (*handler)(struct irq *irq); /* hard interrupt context: mark and schedule a bottom half */
    void *owner;
    int vector;
    int cpu;
    uint64_t count; /* times it fired */
    const char *name;
};

/* Takes a free vector on `cpu` for irq (handler, owner and name filled in). -ENOSPC. Thread
 * context. */
int irq_alloc(struct irq *irq, int cpu);
/* Gives it back; the handler is not running on any CPU when this returns. The device must no longer
 * send it. */
void irq_free(struct irq *irq);
/* What the device has to write where (MSI-X table entry). */
void irq_message(const struct irq *irq, uint64_t *address, uint32_t *data);
/* Every allocated irq, for /proc/interrupts. Stops when fn returns false. */
void irq_for_each(bool (*fn)(const struct irq *irq, void *arg), void *arg);

/* Maps device registers uncached; the mapping is never undone. NULL when out of memory. */
void *mmio_map(paddr_t pa, size_t size);
/* The same for memory that a device lends (shared memory of another domain): cached, like RAM. It
 * has no struct page. */
void *device_memory_map(paddr_t pa, size_t size);

static inline uint32_t mmio_read32(const volatile void *a)
{
    return *(const volatile uint32_t *)a;
}
static inline uint16_t mmio_read16(const volatile void *a)
{
    return *(const volatile uint16_t *)a;
}
static inline uint8_t mmio_read8(const volatile void *a)
{
    return *(const volatile uint8_t *)a;
}
static inline void mmio_write32(volatile void *a, uint32_t v)
{
    *(volatile uint32_t *)a = v;
}
static inline void mmio_write16(volatile void *a, uint16_t v)
{
    *(volatile uint16_t *)a = v;
}
static inline void mmio_write8(volatile void *a, uint8_t v)
{
    *(volatile uint8_t *)a = v;
}
static inline uint64_t mmio_read64(const volatile void *a)
{
    return *(const volatile uint64_t *)a;
}
static inline void mmio_write64(volatile void *a, uint64_t v)
{
    *(volatile uint64_t *)a = v;
}

#endif
