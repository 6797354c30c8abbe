/* Stopping a program that dies, and sending its core: linux/core_dump.h. */
#include "linux/core_dump.h"

#include <linux/resource.h>

#include "core/mem.h"
#include "core/timer.h"
#include "linux/control.h"
#include "linux/mm.h"
#include "linux/signals.h"

#define STOP_LIMIT (2 * NSEC_PER_SEC) /* for the other threads to stop */
#define PIECE (15 * PAGE_SIZE)

/* One that is being written; its threads wait for it. */
struct core_dump {
    struct list threads; /* struct core_thread, under process_lock */
    int arrived;         /* without the one that died */
    bool done;
};

static struct mutex one_at_a_time;

void core_dump_init(void)
{
    mutex_init(&one_at_a_time);
}

/* --- the threads ------------------------------------------------------------------------------ */

static int describe(struct core_thread *c)
{
    struct task *t = (struct task *)thread_current();
    c->tid = t->tid;
    c->pending = t->pending;
    c->blocked = t->blocked;
    return core_registers(c);
}

static void thread_free(struct core_thread *c)
{
    if (c)
        core_registers_free(c);
    kfree(c);
}

void core_wait(void)
{
    struct process *p = current_process();
    if (likely(!READ_ONCE(p->core)))
        return;
    struct core_thread *c = kzalloc(sizeof(*c));
    if (!c || describe(c)) {
        thread_free(c);
        return;
    }
    spin_lock_bh(&process_lock);
    struct core_dump *d = p->core;
    if (d) {
        list_push_back(&d->threads, &c->link);
        d->arrived++;
    }
    spin_unlock_bh(&process_lock);
    wake_up(&p->task_wait);
    wait_event(&p->task_wait, !READ_ONCE(p->core));
    thread_free(c);
}

static bool all_arrived(const struct process *p, const struct core_dump *d)
{
    return READ_ONCE(d->arrived) >= READ_ONCE(p->task_count) - 1;
}

/* Has the other tasks leave, by way of core_wait(). False: they leave already, for another reason.
 */
static bool stop_others(struct process *p, struct core_dump *d, int signo)
{
    spin_lock_bh(&process_lock);
    bool first = !p->exiting && !p->exec_task;
    if (first) {
        p->core = d;
        p->exiting = true;
        p->exit_status = signo;
        struct task *t;
        list_for_each (t, &p->tasks, group_link)
            if (&t->thread != thread_current())
                thread_interrupt(&t->thread);
        wake_up(&p->sighand->stop_wait); /* stopped ones too */
    }
    spin_unlock_bh(&process_lock);
    if (first && wait_event_full(&p->task_wait, all_arrived(p, d), WAIT_UNINTERRUPTIBLE,
                                 time_now() + STOP_LIMIT, false))
        klog(LOG_WARN, "core of process %d: not all of its threads stopped", p->pid);
    return first;
}

/* --- sending ---------------------------------------------------------------------------------- */

struct piece {
    struct ctl_core head;
    uint8_t data[PIECE];
};

struct sender {
    struct piece *piece;
    size_t len;     /* bytes in the piece */
    uint64_t limit; /* of the file's size */
    int err;
};

static void flush(struct sender *s)
{
    if (s->len && !s->err)
        s->err = control_send(CTL_CORE, 0, s->piece, sizeof(s->piece->head) + s->len);
    s->piece->head.offset += s->len;
    s->piece->head.flags = 0;
    s->len = 0;
}

/* Puts n bytes, at most a page, at an offset of the file. */
static void put(struct sender *s, uint64_t offset, const void *data, size_t n)
{
    if (offset != s->piece->head.offset + s->len || s->len + n > PIECE) {
        flush(s);
        s->piece->head.offset = offset;
    }
    if (offset < s->limit) {
        n = MIN(n, s->limit - offset);
        memcpy(s->piece->data + s->len, data, n);
        s->len += n;
    }
}

static bool is_zero(const uint64_t *page)
{
    for (size_t i = 0; i < PAGE_SIZE / sizeof(*page); i++)
        if (page[i])
            return false;
    return true;
}

/* Copies a page of the program; false: there is nothing, or only zeros. */
static bool take_page(struct mm *mm, const struct core_region *r, uaddr_t va, uint64_t *page)
{
    unsigned prot;
    if (r->by_fault)
        return mm_access(mm, va, page, PAGE_SIZE, false) == PAGE_SIZE && !is_zero(page);
    spin_lock(&mm->pt_lock);
    struct page *at = aspace_lookup(mm->as, va, &prot);
    if (at)
        page_get(at);
    spin_unlock(&mm->pt_lock);
    if (!at)
        return false;
    memcpy(page, page_addr(at), PAGE_SIZE);
    page_put(at);
    return !is_zero(page);
}

static void send_memory(struct sender *s, struct mm *mm, const struct core_image *c, void *page)
{
    uint64_t offset = ROUND_UP(c->head_size, PAGE_SIZE);
    for (size_t i = 0; i < c->region_count && !s->err; i++) {
        const struct core_region *r = &c->regions[i];
        for (uint64_t at = 0; at < r->dumped && offset + at < s->limit && !s->err;
             at += PAGE_SIZE) {
            if (take_page(mm, r, r->start + at, page))
                put(s, offset + at, page, PAGE_SIZE);
            cond_resched();
        }
        offset += r->dumped;
    }
}

/* Sends the whole file. 0 or -errno. */
static int send_image(struct process *p, const struct core_image *c)
{
    struct sender s = {.piece = kzalloc(sizeof(*s.piece)), .limit = p->rlimits[RLIMIT_CORE].cur};
    uint8_t *page = kmalloc(PAGE_SIZE);
    if (!s.piece || !page) {
        kfree(s.piece);
        kfree(page);
        return -ENOMEM;
    }
    s.piece->head.pid = (uint32_t)p->pid;
    s.piece->head.flags = CTL_CORE_FIRST;
    for (size_t at = 0; at < c->head_size; at += PAGE_SIZE)
        put(&s, at, c->head + at, MIN(c->head_size - at, PAGE_SIZE));
    flush(&s);
    send_memory(&s, p->mm, c, page);
    flush(&s);
    s.piece->head.offset = MIN(c->size, s.limit);
    s.piece->head.flags = CTL_CORE_LAST;
    int err = s.err ? s.err : control_send(CTL_CORE, 0, &s.piece->head, sizeof(s.piece->head));
    kfree(s.piece);
    kfree(page);
    return err;
}

static int write_core(struct process *p, const struct core_dump *d, const struct siginfo_k *info)
{
    struct core_image image = {0};
    mutex_lock(&one_at_a_time);
    int err = core_image_make(&image, p, &d->threads, info);
    if (!err)
        err = send_image(p, &image);
    core_image_free(&image);
    mutex_unlock(&one_at_a_time);
    return err;
}

void core_dump(const struct siginfo_k *info)
{
    struct process *p = current_process();
    struct core_thread *me = kzalloc(sizeof(*me));
    struct core_dump d = {.threads = LIST_INIT(d.threads)};
    bool wanted = p->dumpable && p->rlimits[RLIMIT_CORE].cur >= PAGE_SIZE && control_is_up();
    if (!wanted || !me || describe(me)) {
        thread_free(me);
        return;
    }
    list_push_back(&d.threads, &me->link);
    if (stop_others(p, &d, info->signo)) {
        int err = write_core(p, &d, info);
        if (err)
            klog(LOG_WARN, "no core of process %d: error %d", p->pid, -err);
        spin_lock_bh(&process_lock);
        p->exit_status |= err ? 0 : 0x80;
        WRITE_ONCE(p->core, NULL);
        spin_unlock_bh(&process_lock);
        wake_up(&p->task_wait);
    }
    thread_free(me);
}
