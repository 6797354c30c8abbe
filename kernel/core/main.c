/* Boot: from the first C code of core to the first thread and, through it, the floors above. */
#include "core/main.h"

#include "abi/boot.h"
#include "arch/arch.h"
#include "core/bootargs.h"
#include "core/init.h"
#include "core/mem.h"
#include "core/timer.h"

static PERCPU struct thread idle_thread;

static void boot_thread(void *arg)
{
    (void)arg;
    if (bootarg("selftest")) {
        selftest_run();
        return;
    }
    const char *role = bootarg("role");
    bool net_server = role && !strcmp(role, "net");
    if (role && strcmp(role, "app") && !net_server)
        klog(LOG_ERROR, "role %s is not known; this is an application domain", role);
    net_init();
    if (net_server)
        net_server_init();
    pci_init();
    fs_init();
    net_configure();
    if (net_server)
        net_server_run();
    linux_init();
    pci_start_background();
    bootargs_report_unknown();
}

void core_init_cpu(int cpu)
{
    timer_init_cpu(cpu);
    bh_init_cpu(cpu);
    sched_init_cpu(cpu, cpu_local_of(idle_thread, cpu));
}

void kernel_main(void)
{
    page_init();
    slab_init();
    arch_init();
    arch_clock_init();
    core_init_cpu(0);
    arch_clock_refine_later();
    realtime_set(arch_rtc_read() * NSEC_PER_SEC + time_now());
    klog_init();
    rand_init();
    arch_irq_enable();
    cpu_count = arch_start_cpus();
    for (int cpu = 0; cpu < cpu_count; cpu++)
        bh_start_thread(cpu);
    work_start_thread();
    int err = thread_create(NULL, boot_thread, NULL, "boot");
    if (err)
        panic("no memory for the first thread");
    sched_idle_loop();
}

void cpu_main(int cpu)
{
    (void)cpu;
    arch_irq_enable();
    sched_idle_loop();
}
