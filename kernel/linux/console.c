/* The kernel console as a file: output goes to the serial port, there is no input. */
#include "arch/arch.h"
#include "fs/vfs.h"
#include "linux/io.h"

static ssize_t console_read(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)f;
    (void)u;
    (void)pos;
    return 0;
}

static ssize_t console_write(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)f;
    (void)pos;
    char buf[256];
    ssize_t done = 0;
    while (u->resid) {
        size_t n = MIN(u->resid, sizeof(buf));
        if (uio_read(buf, n, u))
            return done ? done : -EFAULT;
        arch_console_write(buf, n);
        done += (ssize_t)n;
        cond_resched();
    }
    return done;
}

static unsigned console_poll(struct file *f, struct poll_table *pt)
{
    (void)f;
    (void)pt;
    return POLL_IN | POLL_OUT | POLL_RDNORM | POLL_WRNORM;
}

static int console_reopen(struct file *f, unsigned flags, struct file **out)
{
    *out = file_alloc(f->ops, NULL, flags);
    return IS_ERR(*out) ? (int)PTR_ERR(*out) : 0;
}

static const struct file_ops console_ops = {
    .name = "console",
    .mode = MODE_CHR | 0600,
    .read = console_read,
    .write = console_write,
    .poll = console_poll,
    .reopen = console_reopen,
};

struct file *console_open(unsigned flags)
{
    return file_alloc(&console_ops, NULL, flags);
}

static int open_console(struct vnode *v, struct file *f)
{
    (void)v;
    f->ops = &console_ops;
    return 0;
}

void console_init(void)
{
    int err =
        device_register("console", 5ull << 32 | 1, MODE_CHR | 0600, &console_ops, open_console);
    if (err)
        klog(LOG_ERROR, "no /dev/console: error %d", -err);
}
