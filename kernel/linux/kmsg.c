/*
 * The kernel log for programs: /dev/kmsg (Documentation/ABI/testing/dev-kmsg) and syslog(2), which
 * is what dmesg(1) reads. An open /dev/kmsg is a stream of records of its own; its position is the
 * number of the next one.
 */
#include "core/klog.h"
#include "core/mem.h"
#include "core/timer.h"
#include "linux/io.h"
#include "linux/process.h"
#include "linux/syscall.h"

#define LOOK_INTERVAL (100 * NSEC_PER_MSEC) /* klog() may be called where nobody can be woken */
#define RECORD_TEXT 1200                    /* a record with all of its bytes escaped */
#define CAP_SYSLOG 34
#define CAP_SYS_ADMIN 21

static uint64_t cleared; /* records before it are not shown by syslog(2) any more */

/* --- /dev/kmsg -------------------------------------------------------------------------------- */

/* "priority,number,microseconds,-;text\n", unprintable bytes as \xNN. Its length. */
static size_t format_record(const struct klog_record *r, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "%u,%llu,%lld,-;", r->level, (unsigned long long)r->seq,
                                (long long)r->time / 1000);
    for (const char *c = r->text; *c && n + 6 < size; c++) {
        if ((unsigned char)*c >= 0x20 && *c != 0x7f && *c != '\\')
            out[n++] = *c;
        else
            n += (size_t)snprintf(out + n, size - n, "\\x%02x", (unsigned char)*c);
    }
    out[n++] = '\n';
    return n;
}

/* One record for each read. -EPIPE: some were overwritten meanwhile. */
static ssize_t kmsg_read(struct file *f, struct uio *u, uint64_t *pos)
{
    struct klog_record r;
    while (!klog_read(*pos, &r)) {
        if (f->flags & OPEN_NONBLOCK)
            return -EAGAIN;
        int err = thread_sleep_until(time_now() + LOOK_INTERVAL, true);
        if (err)
            return err;
    }
    bool skipped = *pos && r.seq != *pos;
    *pos = r.seq;
    if (skipped)
        return -EPIPE;
    char *text = kmalloc(RECORD_TEXT);
    if (!text)
        return -ENOMEM;
    size_t n = format_record(&r, text, RECORD_TEXT);
    ssize_t res = n > u->resid ? -EINVAL : uio_write(u, text, n);
    kfree(text);
    if (res)
        return res;
    *pos = r.seq + 1;
    return (ssize_t)n;
}

/* A line for the log; a "<6>" prefix gives its priority (syslog(3)). */
static ssize_t kmsg_write(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)f, (void)pos;
    char line[256];
    size_t all = u->resid, n = MIN(all, sizeof(line) - 1);
    int err = uio_read(line, n, u);
    if (err)
        return err;
    uio_skip(u, u->resid);
    line[n] = 0;
    if (n && line[n - 1] == '\n')
        line[n - 1] = 0;
    const char *text = line, *end = strchr(line, '>');
    enum log_level level = LOG_NOTICE;
    if (line[0] == '<' && line[1] >= '0' && line[1] <= '9' && end && end - line <= 5) {
        unsigned priority = 0; /* with a facility in the upper bits */
        for (const char *c = line + 1; *c >= '0' && *c <= '9'; c++)
            priority = 10 * priority + (unsigned)(*c - '0');
        level = (enum log_level)(priority % 8);
        text = end + 1;
    }
    klog(level, "%s", text);
    return (ssize_t)all;
}

/* To the first record, the first after what was cleared, or behind the last. */
static int64_t kmsg_seek(struct file *f, int64_t offset, int whence)
{
    if (offset)
        return -ESPIPE;
    if (whence == 0 /* SEEK_SET */)
        f->pos = 0;
    else if (whence == 2 /* SEEK_END */)
        f->pos = klog_end();
    else if (whence == 3 /* SEEK_DATA */)
        f->pos = READ_ONCE(cleared);
    else
        return -EINVAL;
    return 0;
}

static const struct file_ops kmsg_ops = {
    .name = "kmsg", .read = kmsg_read, .write = kmsg_write, .seek = kmsg_seek};

void kmsg_init(void)
{
    int err = device_register("kmsg", 1ull << 32 | 11, 0644, &kmsg_ops, NULL);
    if (err)
        klog(LOG_ERROR, "no /dev/kmsg: error %d", err);
}

/* --- syslog(2) -------------------------------------------------------------------------------- */

static size_t format_line(const struct klog_record *r, char *out, size_t size)
{
    return (size_t)snprintf(out, size, "<%u>[%5lld.%06lld] %s\n", r->level, r->time / NSEC_PER_SEC,
                            r->time % NSEC_PER_SEC / 1000, r->text);
}

/* The last lines that fit into n bytes. */
static long read_all(uaddr_t dst, size_t n)
{
    struct klog_record r;
    char line[sizeof(r.text) + 40];
    size_t total = 0, done = 0;
    uint64_t from = READ_ONCE(cleared), end = klog_end();
    for (uint64_t s = from; s < end && klog_read(s, &r); s = r.seq + 1)
        total += format_line(&r, line, sizeof(line));
    for (uint64_t s = from; s < end && klog_read(s, &r); s = r.seq + 1) {
        size_t len = format_line(&r, line, sizeof(line));
        if (total > n) { /* too old */
            total -= len;
            continue;
        }
        if (len > n - done)
            break; /* others were overwritten since */
        if (copy_to_user(dst + done, line, len))
            return -EFAULT;
        done += len;
    }
    return (long)done;
}

static long set_console_level(int level)
{
    if (level < 1 || level > 8)
        return -EINVAL;
    klog_set_console_level((enum log_level)(level - 1)); /* Linux counts those that are shown */
    return 0;
}

long sys_syslog(int type, uaddr_t dst, int len)
{
    enum { READ_ALL = 3, READ_CLEAR, CLEAR, CONSOLE_LEVEL = 8, SIZE_BUFFER = 10 };
    bool reads = type == READ_ALL || type == SIZE_BUFFER;
    if (!reads && !capable(CAP_SYSLOG) && !capable(CAP_SYS_ADMIN))
        return -EPERM;
    if ((type == READ_ALL || type == READ_CLEAR) && (!dst || len < 0))
        return -EINVAL;
    uint64_t end = klog_end();
    long res = 0;
    switch (type) {
    case 0: /* close and open: nothing to do */
    case 1:
        return 0;
    case READ_ALL:
        return read_all(dst, (size_t)len);
    case READ_CLEAR:
        res = read_all(dst, (size_t)len);
        if (res >= 0)
            WRITE_ONCE(cleared, end);
        return res;
    case CLEAR:
        WRITE_ONCE(cleared, end);
        return 0;
    case CONSOLE_LEVEL:
        return set_console_level(len);
    case SIZE_BUFFER:
        return KLOG_RECORDS * (long)sizeof(struct klog_record); /* a line and its beginning */
    default: /* READ, console off and on, SIZE_UNREAD: there is no reader who takes lines away */
        return -EINVAL;
    }
}
