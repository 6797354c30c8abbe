/* External interrupts: the dispatch of vectors, MSI messages, and silencing the legacy PIC. */
#include "core/irq.h"

#include "arch/arch.h"
#include "boot.h"
#include "core/main.h"
#include "x86.h"

void interrupt_dispatch(uint32_t vector, struct user_regs *regs);
void smp_call_interrupt(void);

void interrupt_dispatch(uint32_t vector, struct user_regs *regs)
{
    if (vector == VECTOR_SPURIOUS)
        return;
    if (vector < VECTOR_FIRST_DEVICE)
        return; /* the PIC's spurious ones */
    irq_enter(regs->cs & 3);
    /* Before the handler: what comes during it is to be seen as another interrupt. */
    apic_eoi();
    if (vector == VECTOR_TIMER)
        timer_interrupt();
    else if (vector == VECTOR_RESCHED)
        sched_kicked();
    else if (vector == VECTOR_CALL)
        smp_call_interrupt();
    else
        irq_dispatch((int)vector);
    irq_exit();
}

void irq_message(const struct irq *irq, uint64_t *address, uint32_t *data)
{
    /* Intel SDM 3A, 11.11: the destination is an APIC ID, fixed delivery, edge triggered. */
    *address = 0xfee00000ul | (uint64_t)(cpu_of(irq->cpu)->apic_id & 0xff) << 12;
    *data = (uint32_t)irq->vector;
}

void pic_disable(void)
{
    outb(0x20, 0x11); /* move the spurious ones out of the exceptions' way first */
    outb(0x21, 0x20);
    outb(0x21, 0x04);
    outb(0x21, 0x01);
    outb(0xa0, 0x11);
    outb(0xa1, 0x28);
    outb(0xa1, 0x02);
    outb(0xa1, 0x01);
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
}
