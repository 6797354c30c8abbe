/* The kernel log: the last lines in memory, and on the console what is severe enough. */
#include "core/klog.h"

#include "arch/arch.h"
#include "core/bootargs.h"
#include "core/main.h"
#include "core/timer.h"

static struct klog_record records[KLOG_RECORDS];
static uint64_t next_seq;
static enum log_level console_level = LOG_INFO;
static spinlock_t log_lock; /* irqsave */
static spinlock_t console_lock;

static const char *const level_names[] = {"emerg", "alert",  "crit", "error",
                                          "warn",  "notice", "info", "debug"};

/* Of lines on the console; plain information has none. */
static const char *const level_prefixes[] = {
    "emerg: ", "alert: ", "crit: ", "error: ", "warning: ", "notice: ", "", "debug: "};

void klog_init(void)
{
    const char *name = bootarg("loglevel");

    if (!name)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(level_names); i++) {
        if (strcmp(name, level_names[i]) == 0) {
            console_level = (enum log_level)i;
            return;
        }
    }
    klog(LOG_WARN, "unknown loglevel %s", name);
}

void klog_set_console_level(enum log_level level)
{
    console_level = level;
}

void klog(enum log_level level, const char *fmt, ...)
{
    struct klog_record r = {.level = level, .time = time_now()};
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(r.text, sizeof(r.text), fmt, ap);
    va_end(ap);

    unsigned long flags = spin_lock_irqsave(&log_lock);
    r.seq = next_seq++;
    records[r.seq % KLOG_RECORDS] = r;
    spin_unlock_irqrestore(&log_lock, flags);

    if (level <= console_level) {
        char line[sizeof(r.text) + 32];
        int n = snprintf(line, sizeof(line), "[%lld.%06lld] %s%s\r\n", r.time / NSEC_PER_SEC,
                         r.time % NSEC_PER_SEC / 1000, level_prefixes[level], r.text);
        flags = spin_lock_irqsave(&console_lock);
        arch_console_write(line, MIN((size_t)n, sizeof(line) - 1));
        spin_unlock_irqrestore(&console_lock, flags);
    }
}

uint64_t klog_end(void)
{
    unsigned long flags = spin_lock_irqsave(&log_lock);
    uint64_t end = next_seq;
    spin_unlock_irqrestore(&log_lock, flags);
    return end;
}

bool klog_read(uint64_t seq, struct klog_record *out)
{
    unsigned long flags = spin_lock_irqsave(&log_lock);
    uint64_t oldest = next_seq > KLOG_RECORDS ? next_seq - KLOG_RECORDS : 0;
    bool found = MAX(seq, oldest) < next_seq;
    if (found)
        *out = records[MAX(seq, oldest) % KLOG_RECORDS];
    spin_unlock_irqrestore(&log_lock, flags);
    return found;
}
