/*
 * What the command line sets below /proc/sys: sysctl.net.core.somaxconn=1024, as Linux has it, with
 * ',' for the blanks between several numbers. A machine with a setting that cannot be made is not
 * the one that was asked for: it ends.
 */
#include "linux/sysctl.h"

#include "abi/boot.h"
#include "arch/arch.h"
#include "core/bootargs.h"
#include "core/klog.h"
#include "fs/vfs.h"

#define PREFIX "/proc/sys/"

static void replace(char *text, char from, char to)
{
    for (; *text; text++)
        if (*text == from)
            *text = to;
}

static void apply(const char *name, const char *value, void *arg)
{
    (void)arg;
    char path[sizeof(PREFIX) + 128] = PREFIX, text[128];
    str_copy(path + sizeof(PREFIX) - 1, name, sizeof(path) - sizeof(PREFIX) + 1);
    str_copy(text, value, sizeof(text));
    replace(path, '.', '/');
    replace(text, ',', ' ');
    int err = vfs_write_text(vfs_root_context(), path, 0, 0, text, strlen(text));
    if (!err)
        return;
    klog(LOG_ERROR, "sysctl %s=%s: %s", name, value,
         err == -ENOENT ? "there is no such setting"
                        : "the value does not fit, or cannot be changed");
    arch_exit(BOOT_EXIT_FAIL + 63);
}

void sysctl_apply(void)
{
    bootargs_each("sysctl.", apply, NULL);
}
