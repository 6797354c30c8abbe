/*
 * Tests of core and arch inside a domain: boot argument selftest=1. Prints "ok NAME" or "not ok
 * NAME" per case and powers off, or exits with BOOT_EXIT_FAIL + 1 if one failed. What breaks badly
 * panics, which the test driver sees as well.
 */
#include "abi/boot.h"
#include "arch/arch.h"
#include "core/aspace.h"
#include "core/bootargs.h"
#include "core/deferred.h"
#include "core/irq.h"
#include "core/main.h"
#include "core/mem.h"
#include "core/page.h"
#include "core/panic.h"
#include "core/rand.h"
#include "core/timer.h"
#include "core/uio.h"
#include "core/wait.h"

static const char *failure;

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            if (!failure)                                                                          \
                failure = #cond;                                                                   \
            return;                                                                                \
        }                                                                                          \
    } while (0)

/* Runs fn(i) in `n` threads and waits for all. */
static struct {
    void (*fn)(int i);
    atomic_int left;
    struct wait_queue done;
} gang = {.done = WAIT_QUEUE_INIT(gang.done)};

static void gang_member(void *arg)
{
    gang.fn((int)(long)arg);
    atomic_fetch_sub(&gang.left, 1);
    wake_up(&gang.done);
}

static void run_gang(int n, void (*fn)(int i))
{
    gang.fn = fn;
    atomic_store(&gang.left, n);
    for (long i = 0; i < n; i++) {
        if (thread_create(NULL, gang_member, (void *)i, "gang"))
            panic("no memory for a thread");
    }
    wait_event(&gang.done, atomic_load(&gang.left) == 0);
}

/* --- memory --- */

static void pages_member(int i)
{
    struct page *held[64] = {0};
    uint32_t seed = (uint32_t)i * 2654435761u + 1;

    for (int n = 0; n < 20000; n++) {
        seed = seed * 1664525 + 1013904223;
        unsigned slot = seed >> 26, order = (seed >> 20 & 31) == 0 ? seed >> 16 & 3 : 0;
        if (held[slot]) {
            uint64_t *mark = page_addr(held[slot]);
            CHECK(*mark == (uint64_t)held[slot]);
            page_put(held[slot]);
            held[slot] = NULL;
        } else {
            held[slot] = page_alloc(order, 0);
            CHECK(held[slot]);
            *(uint64_t *)page_addr(held[slot]) = (uint64_t)held[slot];
        }
        if ((n & 255) == 0)
            thread_yield();
    }
    for (int slot = 0; slot < 64; slot++) {
        if (held[slot])
            page_put(held[slot]);
    }
}

static void test_pages(void)
{
    struct mem_stats before, after;

    run_gang(4, pages_member); /* also makes the stacks that the next round uses again */
    mem_stats(&before);
    run_gang(4, pages_member);
    mem_stats(&after);
    CHECK(after.free_pages + 8 >= before.free_pages);
}

static void test_pages_exhaust(void)
{
    struct mem_stats before, after;
    struct list all;
    size_t n = 0;

    list_init(&all);
    mem_stats(&before);
    for (struct page *p; (p = page_alloc(0, 0)); n++)
        list_push_back(&all, &p->link);
    CHECK(n > before.free_pages / 2);
    CHECK(!page_alloc(3, 0));
    CHECK(kmalloc(100000) == NULL);
    struct page *p;
    while ((p = list_pop_front(&all, struct page, link)))
        page_put(p);
    mem_stats(&after);
    CHECK(after.free_pages + 8 >= before.free_pages);
    p = page_alloc(PAGE_MAX_ORDER, 0); /* all merged again */
    CHECK(p || before.free_pages < 4096);
    if (p)
        page_put(p);
}

static void heap_member(int i)
{
    static const uint16_t sizes[] = {1, 8, 24, 33, 100, 129, 200, 512, 700, 1500, 4096, 9000};
    unsigned char *held[32] = {0};
    uint32_t size_of[32], seed = (uint32_t)i + 7;

    for (int n = 0; n < 20000; n++) {
        seed = seed * 1664525 + 1013904223;
        unsigned slot = seed >> 27;
        if (held[slot]) {
            CHECK(held[slot][0] == (unsigned char)slot &&
                  held[slot][size_of[slot] - 1] == (unsigned char)slot);
            kfree(held[slot]);
            held[slot] = NULL;
        } else {
            uint32_t size = size_of[slot] = sizes[(seed >> 20) % ARRAY_SIZE(sizes)];
            held[slot] = kmalloc(size);
            CHECK(held[slot] && ((uint64_t)held[slot] & 15) == 0);
            CHECK((size & (size - 1)) || ((uint64_t)held[slot] & (size - 1)) == 0 ||
                  size > PAGE_SIZE);
            held[slot][0] = held[slot][size - 1] = (unsigned char)slot;
        }
        if ((n & 255) == 0)
            thread_yield();
    }
    for (int slot = 0; slot < 32; slot++)
        kfree(held[slot]);
}

static void test_heap(void)
{
    run_gang(4, heap_member);

    char *p = krealloc(NULL, 10);
    CHECK(p);
    memcpy(p, "123456789", 10);
    p = krealloc(p, 5000);
    CHECK(p && memcmp(p, "123456789", 10) == 0);
    kfree(p);
}

/* --- strings --- */

static void test_copy(void)
{
    static unsigned char from[700], to[700];

    for (size_t i = 0; i < sizeof(from); i++)
        from[i] = (unsigned char)(i * 7 + 1);
    for (size_t n = 0; n < 600; n++) {
        size_t at = n % 13;
        memset(to, 0xee, sizeof(to));
        memcpy(to + 16 + at, from + at, n);
        CHECK(memcmp(to + 16 + at, from + at, n) == 0);
        CHECK(to[15 + at] == 0xee && to[16 + at + n] == 0xee);
        memset(to + 16, 0x55, n);
        CHECK(to[15] == 0xee && (!n || (to[16] == 0x55 && to[15 + n] == 0x55)));
        memcpy(to, from, sizeof(to));
        memmove(to + 5, to, n);
        CHECK(memcmp(to + 5, from, n) == 0 && memcmp(to, from, MIN(n, (size_t)5)) == 0);
        memcpy(to, from, sizeof(to));
        memmove(to, to + 5, n);
        CHECK(memcmp(to, from + 5, n) == 0);
    }
    CHECK(memcmp("abcdefghi", "abcdefghj", 9) < 0 && memcmp("b", "a", 1) > 0);
    CHECK(memcmp("\x80zzzzzzz", "\x7fzzzzzzz", 8) > 0);
}

static void test_printf(void)
{
    char b[80];

    snprintf(b, sizeof(b), "%5d|%-5u|%05x|%#lx|%s|%.2s|%c|%%|%lld|%p", -42, 7u, 0xabcu, 0x10ul,
             "str", "xyz", 'c', -5000000000ll, (void *)0x1000);
    CHECK(strcmp(b, "  -42|7    |00abc|0x10|str|xy|c|%|-5000000000|0x1000") == 0);
    CHECK(snprintf(b, 4, "abcdef") == 6 && strcmp(b, "abc") == 0);
}

/* --- threads --- */

static struct mutex mutex;
static struct rwlock rwlock;
static int counter;
static atomic_int readers;

static void mutex_member(int i)
{
    (void)i;
    for (int n = 0; n < 2000; n++) {
        mutex_lock(&mutex);
        int now = counter;
        if (n % 16 == 0)
            thread_yield();
        counter = now + 1;
        mutex_unlock(&mutex);
    }
}

static void test_mutex(void)
{
    mutex_init(&mutex);
    counter = 0;
    run_gang(6, mutex_member);
    CHECK(counter == 6 * 2000);
}

static void rwlock_member(int i)
{
    for (int n = 0; n < 500; n++) {
        if (i == 0) {
            rwlock_write(&rwlock);
            CHECK(atomic_load(&readers) == 0);
            counter++;
            thread_yield();
            CHECK(atomic_load(&readers) == 0);
            rwlock_write_done(&rwlock);
        } else {
            rwlock_read(&rwlock);
            atomic_fetch_add(&readers, 1);
            thread_yield();
            atomic_fetch_sub(&readers, 1);
            rwlock_read_done(&rwlock);
        }
    }
}

static void test_rwlock(void)
{
    rwlock_init(&rwlock);
    counter = 0;
    run_gang(4, rwlock_member);
    CHECK(counter == 500);
}

static struct wait_queue ping_wait = WAIT_QUEUE_INIT(ping_wait);
static atomic_int turn;

static void ping_member(int i)
{
    for (int n = 0; n < 5000; n++) {
        wait_event(&ping_wait, atomic_load(&turn) == i);
        atomic_store(&turn, 1 - i);
        wake_up(&ping_wait);
    }
}

static void test_wait(void)
{
    atomic_store(&turn, 0);
    run_gang(2, ping_member);
    CHECK(atomic_load(&turn) == 0);
    struct wait_queue never = WAIT_QUEUE_INIT(never);
    nsec_t start = time_now();
    CHECK(wait_event_timeout(&never, false, start + 5 * NSEC_PER_MSEC) == -ETIMEDOUT);
    CHECK(time_now() - start >= 5 * NSEC_PER_MSEC);
}

static struct thread *sleeper;

static void interruptible_sleeper(void *arg)
{
    int *result = arg;
    *result = thread_sleep_until(NSEC_NEVER, true);
    wake_up(&ping_wait);
}

static void test_interrupt(void)
{
    int result = 1;

    CHECK(thread_create(&sleeper, interruptible_sleeper, &result, "sleeper") == 0);
    thread_sleep_until(time_now() + NSEC_PER_MSEC, false);
    thread_interrupt(sleeper);
    wait_event(&ping_wait, READ_ONCE(result) != 1);
    CHECK(result == -ERESTARTSYS);
}

static void affinity_member(int i)
{
    for (int n = 0; n < 200; n++) {
        int cpu = (n + i) % cpu_count;
        CHECK(thread_set_affinity(thread_current(), 1ul << cpu) == 0);
        CHECK(cpu_id() == cpu);
        thread_yield();
        CHECK(cpu_id() == cpu);
    }
    CHECK(thread_set_affinity(thread_current(), 0) == -EINVAL);
}

static void test_affinity(void)
{
    run_gang(4, affinity_member);
}

static void tick_victim(void *arg)
{
    (void)arg;
}

static void tick_member(int i)
{
    (void)i;
    thread_set_affinity(thread_current(), 1);
    uint64_t before = timer_interrupts(0);
    /* It waits behind this thread until another CPU comes and takes it. */
    CHECK(thread_create(NULL, tick_victim, NULL, "victim") == 0);
    for (nsec_t end = time_now() + 50 * NSEC_PER_MSEC; time_now() < end;)
        cpu_relax();
    CHECK(timer_interrupts(0) - before < 100);
}

/* Nobody waits any more when the slice ends: no storm of ticks. */
static void test_tick(void)
{
    run_gang(1, tick_member);
}

static void exit_member(int i)
{
    for (int n = 0; n < i; n++)
        thread_yield();
}

static void test_exit(void)
{
    struct mem_stats before, after;

    run_gang(8, exit_member);
    thread_sleep_until(time_now() + NSEC_PER_MSEC, false);
    mem_stats(&before);
    for (int n = 0; n < 50; n++)
        run_gang(8, exit_member);
    thread_sleep_until(time_now() + NSEC_PER_MSEC, false);
    mem_stats(&after);
    CHECK(after.free_pages + 200 >= before.free_pages);
}

/* --- time --- */

struct test_timer {
    struct timer timer;
    nsec_t wanted, ran;
};
static atomic_int timers_run;

static void timer_ran(struct timer *t)
{
    container_of(t, struct test_timer, timer)->ran = time_now();
    atomic_fetch_add(&timers_run, 1);
    wake_up(&ping_wait);
}

static void test_timers(void)
{
    static struct test_timer timers[50];
    nsec_t start = time_now();

    atomic_store(&timers_run, 0);
    for (int i = 0; i < 50; i++) {
        timer_init(&timers[i].timer, timer_ran);
        timers[i].wanted = start + (50 + i * 37 % 50) * NSEC_PER_MSEC / 5;
        timer_arm(&timers[i].timer, i % 3 ? timers[i].wanted : start + NSEC_PER_SEC);
        timer_arm(&timers[i].timer, timers[i].wanted);
    }
    wait_event(&ping_wait, atomic_load(&timers_run) == 50);
    for (int i = 0; i < 50; i++)
        CHECK(timers[i].ran >= timers[i].wanted);

    struct timer *t = &timers[0].timer;
    timer_arm(t, time_now() + NSEC_PER_MSEC);
    timer_arm(t, time_now() + NSEC_PER_SEC); /* the cheap way to later */
    thread_sleep_until(time_now() + 3 * NSEC_PER_MSEC, false);
    CHECK(timer_armed(t) && timer_cancel_sync(t) && !timer_cancel(t));
    CHECK(atomic_load(&timers_run) == 50);
}

static void clock_member(int i)
{
    static _Atomic nsec_t last;

    (void)i;
    for (int n = 0; n < 20000; n++) {
        nsec_t before = atomic_load(&last), now = time_now();
        CHECK(now >= before);
        atomic_store(&last, now);
    }
}

static void test_clock(void)
{
    run_gang(cpu_count, clock_member);
}

/* --- deferred --- */

static atomic_int halves, works;

static void half_ran(struct bottom_half *bh)
{
    CHECK(in_bh());
    if (atomic_fetch_add(&halves, 1) < 100)
        bh_schedule(bh); /* more rounds than run at once */
}

static void work_ran(struct work *w)
{
    (void)w;
    atomic_fetch_add(&works, 1);
    wake_up(&ping_wait);
}

static void test_deferred(void)
{
    static struct bottom_half bh;
    static struct work work;

    bh_init(&bh, half_ran);
    bh_disable();
    bh_schedule(&bh);
    CHECK(atomic_load(&halves) == 0);
    bh_enable();
    CHECK(atomic_load(&halves) > 0);
    nsec_t limit = time_now() + NSEC_PER_SEC;
    while (atomic_load(&halves) < 101 && time_now() < limit)
        thread_yield();
    CHECK(atomic_load(&halves) == 101);
    work_init(&work, work_ran);
    work_schedule(&work);
    wait_event(&ping_wait, atomic_load(&works) == 1);
}

/* --- user memory --- */

static void count_page(struct page *p, uaddr_t va, bool dirty, void *arg)
{
    (void)va;
    (void)dirty;
    page_put(p);
    ++*(int *)arg;
}

static void test_aspace(void)
{
    struct aspace *as = aspace_create();
    const uaddr_t base = 0x10000000;
    unsigned prot;
    int dropped = 0;
    uint64_t value = 42;

    CHECK(as);
    aspace_activate(as);
    for (uaddr_t va = base; va < base + 100 * PAGE_SIZE; va += PAGE_SIZE) {
        struct page *p = page_alloc(0, PAGE_ZERO);
        CHECK(p && aspace_map(as, va, p, PROT_R | PROT_W) == 0);
    }
    CHECK(copy_to_user(base + PAGE_SIZE - 4, &value, 8) == 0);
    value = 0;
    CHECK(copy_from_user(&value, base + PAGE_SIZE - 4, 8) == 0 && value == 42);
    aspace_restrict(as, base, base + 100 * PAGE_SIZE, PROT_R);
    CHECK(aspace_lookup(as, base, &prot) && prot == PROT_R);
    thread_current()->fault_safe = true;
    CHECK(copy_to_user(base + PAGE_SIZE - 4, &value, 8) == -EFAULT);
    CHECK(copy_from_user(&value, base + PAGE_SIZE - 4, 8) == 0 && value == 42);
    CHECK(copy_from_user(&value, base - 4, 8) == -EFAULT);
    CHECK(copy_to_user(USER_MAX, &value, 8) == -EFAULT);
    CHECK(copy_to_user(0xffff800000000000, &value, 8) == -EFAULT);
    struct iovec_k seg;
    struct uio u = uio_user(&seg, base + 99 * PAGE_SIZE, 2 * PAGE_SIZE);
    char *buf = kzalloc(2 * PAGE_SIZE);
    CHECK(buf && uio_read_nofault(buf, 2 * PAGE_SIZE, &u) == -EFAULT && u.resid == PAGE_SIZE);
    kfree(buf);
    aspace_unmap(as, base, base + 100 * PAGE_SIZE, count_page, &dropped);
    CHECK(dropped == 100 && copy_from_user(&value, base, 8) == -EFAULT);
    thread_current()->fault_safe = false;
    aspace_activate(NULL);
    aspace_destroy(as);
}

static struct aspace *shared_space;

/* Writes through a mapping that another thread makes read-only and takes away all the time: whoever
 * gets a stale translation writes into a page that is free. */
static void shootdown_member(int i)
{
    const uaddr_t va = 0x20000000;
    uint64_t value = 0x1234;

    aspace_activate(shared_space);
    thread_current()->fault_safe = true;
    for (int n = 0; n < 300; n++) {
        if (i == 0) {
            struct page *p = page_alloc(0, PAGE_ZERO);
            int dropped = 0;
            CHECK(p);
            page_get(p);
            CHECK(aspace_map(shared_space, va, p, PROT_R | PROT_W) == 0);
            thread_yield();
            aspace_unmap(shared_space, va, va + PAGE_SIZE, count_page, &dropped);
            uint64_t *content = page_addr(p), seen = *(volatile uint64_t *)content;
            *content = seen + 1;
            for (int k = 0; k < 100; k++)
                cpu_relax();
            CHECK(dropped == 1 && *(volatile uint64_t *)content == seen + 1);
            page_put(p);
        } else {
            for (int k = 0; k < 20; k++)
                (void)copy_to_user(va, &value, sizeof(value));
            thread_yield();
        }
    }
    thread_current()->fault_safe = false;
    aspace_activate(NULL);
}

static void test_shootdown(void)
{
    shared_space = aspace_create();
    CHECK(shared_space);
    run_gang(MAX(cpu_count, 2), shootdown_member);
    aspace_destroy(shared_space);
}

/* --- the rest --- */

static void test_irq(void)
{
    static struct irq irqs[3];
    uint64_t address;
    uint32_t data;

    for (int i = 0; i < 3; i++)
        CHECK(irq_alloc(&irqs[i], i % cpu_count) == 0);
    irq_message(&irqs[0], &address, &data);
    CHECK(address >> 20 == 0xfee && (data & 0xff) == (uint32_t)irqs[0].vector);
    for (int i = 0; i < 3; i++)
        irq_free(&irqs[i]);
}

static void test_rand(void)
{
    uint8_t a[300] = {0}, b[300] = {0};
    int same = 0;

    rand_bytes(a, sizeof(a));
    rand_bytes(b, sizeof(b));
    for (size_t i = 0; i < sizeof(a); i++)
        same += a[i] == b[i];
    CHECK(same < 30);
    const uint64_t key[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    uint8_t message[15];
    for (uint8_t i = 0; i < 15; i++)
        message[i] = i;
    CHECK(siphash(message, 15, key) == 0xa129ca6149be45e5); /* the paper's example */
}

static void test_backtrace(void)
{
    uintptr_t pcs[8], offset;
    int n = arch_backtrace(pcs, 8, NULL);

    CHECK(n >= 2);
    CHECK(strcmp(symbol_of((uintptr_t)test_backtrace + 4, &offset), "test_backtrace") == 0);
    CHECK(offset == 4);
}

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {
    {"copy", test_copy},           {"printf", test_printf},
    {"pages", test_pages},         {"pages-exhaust", test_pages_exhaust},
    {"heap", test_heap},           {"mutex", test_mutex},
    {"rwlock", test_rwlock},       {"wait", test_wait},
    {"interrupt", test_interrupt}, {"affinity", test_affinity},
    {"tick", test_tick},           {"exit", test_exit},
    {"timers", test_timers},       {"clock", test_clock},
    {"deferred", test_deferred},   {"aspace", test_aspace},
    {"shootdown", test_shootdown}, {"irq", test_irq},
    {"rand", test_rand},           {"backtrace", test_backtrace},
};

/* Uses up the stack, to see the guard page work: selftest=overflow. */
static int recurse(volatile char *below, int depth)
{
    volatile char frame[512];
    frame[0] = below ? below[0] : 0;
    return depth ? recurse(frame, depth - 1) + frame[0] : 0;
}

static void say(const char *fmt, const char *a, const char *b)
{
    char line[160];
    int n = snprintf(line, sizeof(line), fmt, a, b);
    arch_console_write(line, MIN((size_t)n, sizeof(line) - 1));
}

void selftest_run(void)
{
    const char *which = bootarg("selftest");
    int failed = 0;

    if (strcmp(which, "overflow") == 0)
        recurse(NULL, 1000);
    if (strcmp(which, "panic") == 0)
        panic("as asked for");
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
        failure = NULL;
        tests[i].run();
        if (failure) {
            say("not ok %s: %s\n", tests[i].name, failure);
            failed++;
        } else {
            say("ok %s\n", tests[i].name, "");
        }
    }
    if (failed)
        arch_exit(BOOT_EXIT_FAIL + 1);
    arch_power_off();
}
