/* uname, sysinfo, host name, random bytes. */
#include <linux/random.h>
#include <linux/sysinfo.h>
#include <linux/utsname.h>

#include "core/bootargs.h"
#include "core/rand.h"
#include "core/uio.h"
#include "linux/mm.h"
#include "linux/proc.h"
#include "linux/syscall.h"

/* The Linux whose behaviour programs may expect. */
#define LINUX_RELEASE "6.1.0-librettos"
#define LINUX_VERSION "#1 SMP LibrettOS"

static spinlock_t uts_lock = SPINLOCK_INIT;
static struct new_utsname uts = {
    .sysname = "Linux",
    .release = LINUX_RELEASE,
    .version = LINUX_VERSION,
    .machine = "x86_64",
    .domainname = "(none)",
    .nodename = "librettos",
};

void uts_init(void)
{
    const char *name = bootarg("hostname");
    if (name && *name)
        str_copy(uts.nodename, name, sizeof(uts.nodename));
}

long sys_uname(uaddr_t dst)
{
    struct new_utsname copy;
    spin_lock(&uts_lock);
    copy = uts;
    spin_unlock(&uts_lock);
    return copy_to_user(dst, &copy, sizeof(copy)) ? -EFAULT : 0;
}

static long set_name(char *where, uaddr_t src, int len)
{
    char name[__NEW_UTS_LEN + 1] = {0};
    if (!capable(21 /* CAP_SYS_ADMIN */))
        return -EPERM;
    if (len < 0 || len > __NEW_UTS_LEN)
        return -EINVAL;
    if (copy_from_user(name, src, (size_t)len))
        return -EFAULT;
    spin_lock(&uts_lock);
    memcpy(where, name, sizeof(name));
    spin_unlock(&uts_lock);
    return 0;
}

long sys_sethostname(uaddr_t src, int len)
{
    return set_name(uts.nodename, src, len);
}
long sys_setdomainname(uaddr_t src, int len)
{
    return set_name(uts.domainname, src, len);
}

static void show_uts(struct text_buf *b, void *arg)
{
    text_printf(b, "%s\n", (const char *)arg);
}

static void show_random_uuid(struct text_buf *b, void *arg)
{
    uint8_t u[16];
    (void)arg;
    rand_bytes(u, sizeof(u));
    u[6] = (u[6] & 0x0f) | 0x40; /* RFC 4122, version 4 */
    u[8] = (u[8] & 0x3f) | 0x80;
    for (int i = 0; i < 16; i++)
        text_printf(b, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u[i]);
    text_printf(b, "\n");
}

static void show_text(struct text_buf *b, void *arg)
{
    text_printf(b, "%s\n", (char *)arg);
}

void sysinfo_register(void)
{
    procfs_register("proc/sys/kernel/hostname", 0444, show_uts, NULL, uts.nodename);
    procfs_register("proc/sys/kernel/ostype", 0444, show_uts, NULL, uts.sysname);
    procfs_register("proc/sys/kernel/osrelease", 0444, show_uts, NULL, uts.release);
    procfs_register("proc/sys/kernel/random/uuid", 0444, show_random_uuid, NULL, NULL);
    procfs_register("proc/sys/vm/max_map_count", 0444, show_text, NULL, "65530");
    procfs_register("proc/sys/kernel/pid_max", 0444, show_text, NULL, "32768");
    procfs_register("proc/sys/kernel/ngroups_max", 0444, show_text, NULL, "64");
    procfs_register("proc/sys/kernel/randomize_va_space", 0444, show_text, NULL, "2");
    procfs_register("proc/sys/kernel/cap_last_cap", 0444, show_text, NULL, "40");
}

long sys_sysinfo(uaddr_t dst)
{
    struct mem_stats m;
    mem_stats(&m);
    struct sysinfo si = {
        .uptime = time_now() / NSEC_PER_SEC,
        .totalram = m.total_pages,
        .freeram = m.free_pages,
        .bufferram = 0,
        .mem_unit = PAGE_SIZE,
    };
    spin_lock_bh(&process_lock);
    for (struct process *p = process_first_locked(); p; p = process_after_locked(p))
        si.procs += (uint16_t)p->task_count;
    spin_unlock_bh(&process_lock);
    return copy_to_user(dst, &si, sizeof(si)) ? -EFAULT : 0;
}

long sys_getrandom(uaddr_t dst, size_t n, unsigned flags)
{
    uint8_t chunk[256];
    size_t done = 0;
    if (flags & ~(unsigned)(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE))
        return -EINVAL;
    if ((flags & GRND_RANDOM) && (flags & GRND_INSECURE))
        return -EINVAL;
    while (done < n && done < INT32_MAX) {
        size_t part = MIN(n - done, sizeof(chunk));
        rand_bytes(chunk, part);
        if (copy_to_user(dst + done, chunk, part))
            return done ? (long)done : -EFAULT;
        done += part;
        cond_resched();
    }
    return (long)done;
}
