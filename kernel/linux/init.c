/* Boot of the personality, and the program behind "--". */
#include <linux/reboot.h>

#include "abi/boot.h"
#include "arch/arch.h"
#include "core/bootargs.h"
#include "core/init.h"
#include "linux/core_dump.h"
#include "linux/io.h"
#include "linux/sysv_ipc.h"
#include "linux/mm.h"
#include "linux/proc.h"
#include "linux/proc_pid.h"
#include "linux/resolv.h"
#include "linux/syscall.h"
#include "linux/sysctl.h"
#include "linux/trace.h"
#include "linux/vdso.h"

#define MAX_WORDS 128

static const char *const environment[] = {
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=vt220",
    NULL};

/* Splits at blanks, in place. The number of words. */
static int split(char *line, const char *words[], int max)
{
    int n = 0;
    while (*line && n < max - 1) {
        while (*line == ' ')
            *line++ = '\0';
        if (!*line)
            break;
        words[n++] = line;
        while (*line && *line != ' ')
            line++;
    }
    words[n] = NULL;
    return n;
}

static void program_ended(int status, void *arg)
{
    (void)arg;
    int code = status & 0x7f ? 63 : MIN(status >> 8, 63);
    if (status & 0x7f)
        klog(LOG_ERROR, "the program was killed by signal %d", status & 0x7f);
    if (code)
        arch_exit(BOOT_EXIT_FAIL + code);
    arch_power_off();
}

static void run_program(const char *line)
{
    char *copy = kstrdup(line);
    const char *words[MAX_WORDS];
    ASSERT(copy);
    if (!split(copy, words, MAX_WORDS)) {
        klog(LOG_ERROR, "no program after \"--\"");
        arch_exit(BOOT_EXIT_FAIL + 63);
    }
    struct spawn s = {
        .program = words[0], .argv = words, .envp = environment, .on_exit = program_ended};
    for (int i = 0; i < 3; i++) {
        s.stdio[i] = console_open(i ? OPEN_WRONLY : OPEN_RDONLY);
        ASSERT(!IS_ERR(s.stdio[i]));
    }
    int pid, err = process_spawn(&s, &pid);
    if (err) {
        klog(LOG_ERROR, "cannot run %s: error %d", words[0], -err);
        arch_exit(BOOT_EXIT_FAIL + MIN(-err, 63));
    }
}

void linux_init(void)
{
    uts_init();
    mm_init();
    vdso_init();
    futex_init();
    process_init();
    trace_init();
    core_dump_init();
    posix_timers_init();
    ipc_init();
    mqueue_init();
    machine_init();
    sysinfo_register();
    proc_pid_init();
    proc_system_init();
    io_init();
    sysctl_apply();
    net_configure_wait();
    resolv_init();
    const char *control = bootarg("control");
    int err = 0;
    if (control && !strcmp(control, "1"))
        err = control_start();
    else if (bootarg_program())
        run_program(bootarg_program());
    else
        klog(LOG_WARN, "nothing to run: no control channel and no program after \"--\"");
    if (err)
        klog(LOG_ERROR, "no control channel: error %d", -err);
}

long sys_reboot(unsigned magic, unsigned magic2, unsigned cmd, uaddr_t arg)
{
    (void)arg;
    if (!capable(22 /* CAP_SYS_BOOT */))
        return -EPERM;
    bool known = magic2 == LINUX_REBOOT_MAGIC2 || magic2 == LINUX_REBOOT_MAGIC2A ||
                 magic2 == LINUX_REBOOT_MAGIC2B || magic2 == LINUX_REBOOT_MAGIC2C;
    if (magic != LINUX_REBOOT_MAGIC1 || !known)
        return -EINVAL;
    switch (cmd) {
    case LINUX_REBOOT_CMD_CAD_ON:
    case LINUX_REBOOT_CMD_CAD_OFF:
        return 0; /* there is no keyboard */
    case LINUX_REBOOT_CMD_HALT:
    case LINUX_REBOOT_CMD_POWER_OFF:
    case LINUX_REBOOT_CMD_RESTART:
        arch_power_off();
    }
    return -EINVAL;
}
