/* Log, panic, text helpers, random numbers, user copies and interrupts of the host floor. */
#include <stdio.h>
#include <stdlib.h>

#include "core/irq.h"
#include "core/rand.h"
#include "core/uio.h"
#include "floor.h"
#include "internal.h"

static unsigned log_lines;
static char log_last[512];
static uint64_t rand_state = 0x9e3779b97f4a7c15ULL;

unsigned floor_log_lines(void)
{
    return log_lines;
}
const char *floor_log_last(void)
{
    return log_last;
}
void floor_seed(uint64_t seed)
{
    rand_state = seed * 2654435769u + 0x9e3779b97f4a7c15ULL;
}

void floor_keep(void *ptr)
{
    static void *kept[1024];
    static unsigned n;
    if (n == ARRAY_SIZE(kept))
        abort();
    kept[n++] = ptr;
}

void klog(enum log_level level, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(log_last, sizeof(log_last), fmt, ap);
    va_end(ap);
    log_lines++;
    if (getenv("FLOOR_LOG"))
        fprintf(stderr, "klog %d: %s\n", level, log_last);
}

void panic(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "panic: ");
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\n");
    va_end(ap);
    abort();
}

void rand_bytes(void *buf, size_t n)
{
    for (uint8_t *b = buf; n; n--) {
        rand_state ^= rand_state << 13;
        rand_state ^= rand_state >> 7;
        rand_state ^= rand_state << 17;
        *b++ = (uint8_t)(rand_state >> 32);
    }
}

/* --- uio: user addresses are plain pointers here ---------------------------------------------- */

static int uio_move(void *buf, size_t n, struct uio *u, bool to_buf)
{
    n = MIN(n, u->resid);
    for (uint8_t *b = buf; n;) {
        while (u->seg_off == u->segs->len) {
            u->segs++;
            u->nsegs--;
            u->seg_off = 0;
        }
        size_t part = MIN(n, (size_t)(u->segs->len - u->seg_off));
        uint8_t *seg = (uint8_t *)(uintptr_t)u->segs->base + u->seg_off;
        if (u->user && u->segs->base < PAGE_SIZE)
            return -EFAULT;
        if (to_buf)
            memcpy(b, seg, part);
        else if (b)
            memcpy(seg, b, part);
        else
            memset(seg, 0, part);
        b = b ? b + part : NULL;
        u->seg_off += part;
        u->resid -= part;
        n -= part;
    }
    return 0;
}

int uio_read(void *buf, size_t n, struct uio *u)
{
    return uio_move(buf, n, u, true);
}
int uio_write(struct uio *u, const void *buf, size_t n)
{
    return n ? uio_move((void *)(uintptr_t)buf, n, u, false) : 0;
}
int uio_zero(struct uio *u, size_t n)
{
    return uio_move(NULL, n, u, false);
}
int uio_read_nofault(void *buf, size_t n, struct uio *u)
{
    return uio_read(buf, n, u);
}
int uio_write_nofault(struct uio *u, const void *buf, size_t n)
{
    return uio_write(u, buf, n);
}

int uio_fault_in(struct uio *u, size_t n, bool write)
{
    (void)n;
    (void)write;
    return u->user && u->segs->base < PAGE_SIZE ? -EFAULT : 0;
}

void uio_skip(struct uio *u, size_t n)
{
    while (n) {
        if (u->seg_off == u->segs->len) {
            u->segs++;
            u->nsegs--;
            u->seg_off = 0;
            continue;
        }
        size_t part = MIN(n, (size_t)(u->segs->len - u->seg_off));
        u->seg_off += part;
        u->resid -= part;
        n -= part;
    }
}

int copy_from_user(void *dst, uaddr_t src, size_t n)
{
    if (src < PAGE_SIZE)
        return -EFAULT;
    memcpy(dst, (void *)(uintptr_t)src, n);
    return 0;
}

int copy_to_user(uaddr_t dst, const void *src, size_t n)
{
    if (dst < PAGE_SIZE)
        return -EFAULT;
    memcpy((void *)(uintptr_t)dst, src, n);
    return 0;
}

/* --- interrupts ------------------------------------------------------------------------------- */

int irq_alloc(struct irq *irq, int cpu)
{
    static int next_vector = 32;
    irq->vector = next_vector++;
    irq->cpu = cpu;
    return 0;
}

void irq_free(struct irq *irq)
{
    irq->vector = 0;
}

void irq_message(const struct irq *irq, uint64_t *address, uint32_t *data)
{
    *address = 0xfee00000;
    *data = (uint32_t)irq->vector;
}

void irq_for_each(bool (*fn)(const struct irq *irq, void *arg), void *arg)
{
    (void)fn;
    (void)arg;
}

void floor_irq(struct irq *irq)
{
    irq->count++;
    irq->handler(irq);
    floor_run();
}

void *mmio_map(paddr_t pa, size_t size)
{
    (void)size;
    return (void *)(uintptr_t)pa;
}

void *device_memory_map(paddr_t pa, size_t size)
{
    return mmio_map(pa, size);
}
