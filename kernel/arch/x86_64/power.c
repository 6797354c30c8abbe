/* How the virtual machine ends (abi/boot.h). */
#include "abi/boot.h"
#include "arch/arch.h"
#include "boot.h"
#include "core/irq.h"
#include "core/timer.h"
#include "x86.h"

#define SLP_EN (1u << 13)
#define SLP_TYPE_SHIFT 10

static NORETURN void halt(void)
{
    for (;;)
        asm volatile("cli; hlt");
}

void arch_power_off(void)
{
    volatile uint8_t *reg = acpi.sleep_control_mem ? mmio_map(acpi.sleep_control_mem, 1) : NULL;
    uint8_t sleep = (uint8_t)(acpi.s5_type << 2 | 1u << 5);
    bool acpi_off = acpi.pm1a_control || acpi.sleep_control_port || reg;

    arch_irq_disable();
    if (acpi.pm1a_control)
        outw(acpi.pm1a_control, (uint16_t)(acpi.s5_type << SLP_TYPE_SHIFT | SLP_EN));
    if (acpi.sleep_control_port)
        outb(acpi.sleep_control_port, sleep);
    if (reg)
        *reg = sleep;
    /* The CPU runs on until the machine has heard of it. */
    nsec_t start = time_now();
    while (acpi_off && time_now() - start < NSEC_PER_SEC)
        cpu_relax();
    arch_exit(BOOT_EXIT_OK);
}

void arch_exit(int code)
{
    if (code == BOOT_EXIT_PANIC)
        outb(BOOT_PVPANIC_PORT, 1);
    outl(BOOT_EXIT_PORT, (uint32_t)code);
    halt(); /* without the debug-exit device, whoever watches the VM has to end it */
}
