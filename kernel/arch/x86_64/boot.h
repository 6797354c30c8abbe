/* x86-64: what the boot code learned and what it hands from file to file. */
#ifndef X86_BOOT_H
#define X86_BOOT_H

#include "arch/arch.h"

#define BOOT_MAX_RANGES 64

/* boot.c: the memory map as the firmware gave it, RAM only, and what is taken of it. */
extern struct mem_range boot_ram[BOOT_MAX_RANGES];
extern int boot_ram_count;
extern paddr_t boot_rsdp;
/* One zeroed page, before the page allocator takes over. */
paddr_t boot_page(void);
/* n contiguous pages below the top of RAM, aligned, not cleared. */
paddr_t boot_pages(size_t n, size_t align);

/* paging.c: builds the kernel's page table and switches to it. */
void paging_init(void);
/* From now on tables come from page_alloc. */
void paging_use_page_allocator(void);
extern paddr_t kernel_pml4;
/* Maps pages of anything at the end of the VMAP area; -> its address, or NULL. pte: flags. */
void *vmap(paddr_t pa, size_t size, uint64_t pte);
/* True if the address lies in the guard page of a stack. */
bool stack_guard_hit(uint64_t va);

/* cpu.c */
struct cpu_features {
    bool nx, smep, smap, umip, fsgsbase, xsave, xsaveopt, x2apic, tsc_deadline, gib_pages, rdrand,
        rdseed, rdtscp, hypervisor;
};
extern struct cpu_features cpu_features;
void cpu_detect(void);
/* Descriptor tables, control registers, system call entry of this CPU. */
void cpu_init(struct cpu *c);
/* This CPU's GS. */
void cpu_set_gs(struct cpu *c);
/* Makes the per-CPU area of another CPU; NULL when out of memory. */
struct cpu *cpu_create(int id, uint32_t apic_id);
struct cpu *cpu_of(int id);
/* The stack that interrupts of user mode begin on. */
void tss_set_stack(struct cpu *c, uint64_t top);

/* acpi.c */
struct acpi_info {
    uint32_t apic_ids[MAX_CPUS];
    int cpus;
    paddr_t lapic;
    paddr_t ecam;
    uint8_t bus_start, bus_end;
    uint16_t pm_timer_port; /* 0: none */
    uint16_t pm1a_control;
    uint16_t s5_type;
    uint16_t sleep_control_port; /* hardware-reduced ACPI */
    paddr_t sleep_control_mem;
    bool pm_timer_32;
};
extern struct acpi_info acpi;
void acpi_init(void);

/* apic.c */
void apic_init_cpu(void);
void apic_eoi(void);
void apic_ipi(uint32_t apic_id, uint8_t vector);
void apic_nmi_others(void);
void apic_init_ipi(uint32_t apic_id);
void apic_startup_ipi(uint32_t apic_id, uint8_t page);
/* For measuring: lets the timer count down from its largest value. */
void apic_timer_start_free(void);
uint32_t apic_timer_count(void);
void apic_timer_set_frequency(uint64_t hz);

/* aspace.c: loads the address space of the thread that is switched to. Interrupts off. */
void aspace_switch(struct cpu *c, struct aspace *as);

/* interrupt.c */
void pic_disable(void);

/* user.c */
void user_state_init(void);
void serial_init(void);

#endif
