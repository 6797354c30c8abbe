/* Reading the kernel log: /dev/kmsg and syslog(2). */
#ifndef CORE_KLOG_H
#define CORE_KLOG_H

#include "core/base.h"

#define KLOG_RECORDS 512 /* that are kept */

struct klog_record {
    uint64_t seq; /* counts up from 0 */
    nsec_t time;
    enum log_level level;
    char text[232]; /* longer lines are cut */
};

/* The first record with a number >= seq that is still there; false if there is none yet. Any
 * context but hard interrupts. */
bool klog_read(uint64_t seq, struct klog_record *out);
/* The number of the next record. */
uint64_t klog_end(void);
/* Least severe level that is printed on the console. */
void klog_set_console_level(enum log_level level);

#endif
