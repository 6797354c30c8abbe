/* The machine as a program sees it: clocks and vDSO, vector registers, TLS, faults, preemption. */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static int64_t ns_of(const struct timespec *ts)
{
    return ts->tv_sec * 1000000000LL + ts->tv_nsec;
}

static int64_t now(clockid_t clock)
{
    struct timespec ts;
    return clock_gettime(clock, &ts) ? -1 : ns_of(&ts);
}

static int64_t now_by_syscall(clockid_t clock)
{
    struct timespec ts;
    return syscall(SYS_clock_gettime, clock, &ts) ? -1 : ns_of(&ts);
}

static void vdso_is_an_elf_image(void)
{
    const ElfW(Ehdr) *e = (const ElfW(Ehdr) *)getauxval(AT_SYSINFO_EHDR);
    CHECK(e);
    CHECK(memcmp(e->e_ident, ELFMAG, SELFMAG) == 0);
    CHECK(e->e_type == ET_DYN);
}

static void vdso_and_kernel_agree(void)
{
    static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME};
    for (int c = 0; c < 3; c++) {
        for (int i = 0; i < 1000; i++) {
            int64_t a = now(clocks[c]), b = now_by_syscall(clocks[c]), d = now(clocks[c]);
            CHECK(a >= 0 && a <= b && b <= d);
        }
    }
    struct timeval tv;
    CHECK(gettimeofday(&tv, NULL) == 0);
    CHECK(llabs(tv.tv_sec - time(NULL)) <= 1);
    CHECK(tv.tv_sec > 1600000000);
}

static void coarse_clocks_follow(void)
{
    int64_t fine = now(CLOCK_MONOTONIC), coarse = now(CLOCK_MONOTONIC_COARSE);
    CHECK(llabs(fine - coarse) < 50000000);
    struct timespec res;
    CHECK(clock_getres(CLOCK_MONOTONIC, &res) == 0 && ns_of(&res) <= 1000);
}

static _Atomic int64_t latest;

static void *read_clock(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20000; i++) {
        int64_t before = atomic_load(&latest), t = now(CLOCK_MONOTONIC);
        if (t < before)
            return (void *)1;
        atomic_store(&latest, t);
    }
    return NULL;
}

static void clock_is_monotonic_across_threads(void)
{
    pthread_t t[3];
    void *bad;
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&t[i], NULL, read_clock, NULL) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(t[i], &bad) == 0 && !bad);
}

static void sleep_takes_its_time(void)
{
    struct timespec ts = {0, 3000000};
    int64_t start = now(CLOCK_MONOTONIC);
    CHECK(nanosleep(&ts, NULL) == 0);
    CHECK(now(CLOCK_MONOTONIC) - start >= 3000000);
}

static __thread int tls_value;

/* Keeps a value in vector registers, in TLS and in the rounding mode while others run. */
static void *keep_registers(void *arg)
{
    uint64_t mine = (uintptr_t)arg * 0x0101010101010101ULL, seen;
    uint32_t mode = 0x1f80 | ((uintptr_t)arg & 3) << 13, got;
    tls_value = (int)(uintptr_t)arg;
    asm volatile("ldmxcsr %0" : : "m"(mode));
    for (int i = 0; i < 300; i++) {
        asm volatile("movq %1, %%xmm7\n\t"
                     "mov $24, %%eax\n\t" /* sched_yield */
                     "syscall\n\t"
                     "mov $20000, %%ecx\n"
                     "1: dec %%ecx\n\t"
                     "jnz 1b\n\t"
                     "movq %%xmm7, %0"
                     : "=r"(seen)
                     : "r"(mine)
                     : "rax", "rcx", "r11", "xmm7", "memory");
        asm volatile("stmxcsr %0" : "=m"(got));
        if (seen != mine || tls_value != (int)(uintptr_t)arg || (got & ~0x3fu) != mode)
            return (void *)1;
    }
    return NULL;
}

static void registers_survive_switches(void)
{
    pthread_t t[5];
    void *bad;
    for (uintptr_t i = 0; i < 5; i++)
        CHECK(pthread_create(&t[i], NULL, keep_registers, (void *)(i + 1)) == 0);
    for (int i = 0; i < 5; i++)
        CHECK(pthread_join(t[i], &bad) == 0 && !bad);
}

static _Atomic int preempt_stop;

static void *spin(void *arg)
{
    (void)arg;
    while (!atomic_load(&preempt_stop))
        ;
    return NULL;
}

static void a_spinning_thread_is_preempted(void)
{
    pthread_t t[3];
    atomic_store(&preempt_stop, 0);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&t[i], NULL, spin, NULL) == 0);
    usleep(2000);
    atomic_store(&preempt_stop, 1);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
}

static sigjmp_buf fault_jump;
static volatile int fault_signal, fault_code;
static void *volatile fault_addr;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)context;
    fault_signal = sig;
    fault_code = info->si_code;
    fault_addr = info->si_addr;
    siglongjmp(fault_jump, 1);
}

static int fault_of(void (*fn)(void))
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    for (int i = 0; i < 5; i++)
        sigaction(signals[i], &sa, NULL);
    fault_signal = 0;
    if (sigsetjmp(fault_jump, 1) == 0)
        fn();
    for (int i = 0; i < 5; i++)
        signal(signals[i], SIG_DFL);
    return fault_signal;
}

static void read_null(void)
{
    (void)*(volatile int *)16;
}
static void write_text(void)
{
    *(volatile char *)(uintptr_t)write_text = 0;
}
static void read_kernel(void)
{
    (void)*(volatile int *)0xffffffff80100000;
}
static void jump_to_data(void)
{
    static char code[16] = {(char)0xc3};
    ((void (*)(void))(uintptr_t)code)();
}
static void non_canonical(void)
{
    asm volatile("mov $0x8000000000000000, %%rax; mov (%%rax), %%rax" : : : "rax");
}
static void divide(void)
{
    asm volatile("xor %%ecx, %%ecx; mov $1, %%eax; cltd; idiv %%ecx" : : : "eax", "ecx", "edx");
}
static void illegal(void)
{
    asm volatile("ud2");
}
static void breakpoint(void)
{
    asm volatile("int3");
}
static void privileged(void)
{
    asm volatile("cli");
}
static void port(void)
{
    asm volatile("outb %al, $0x80");
}

static void faults_become_signals(void)
{
    CHECK(fault_of(read_null) == SIGSEGV && fault_code == SEGV_MAPERR && fault_addr == (void *)16);
    CHECK(fault_of(write_text) == SIGSEGV && fault_code == SEGV_ACCERR);
    CHECK(fault_of(jump_to_data) == SIGSEGV && fault_code == SEGV_ACCERR);
    CHECK(fault_of(read_kernel) == SIGSEGV);
    CHECK(fault_of(non_canonical) == SIGSEGV);
    CHECK(fault_of(divide) == SIGFPE && fault_code == FPE_INTDIV);
    CHECK(fault_of(illegal) == SIGILL);
    CHECK(fault_of(breakpoint) == SIGTRAP);
    CHECK(fault_of(privileged) == SIGSEGV);
    CHECK(fault_of(port) == SIGSEGV);
}

static void bad_pointers_give_efault(void)
{
    int fds[2];
    CHECK(pipe(fds) == 0);
    CHECK(write(fds[1], "0123456789", 10) == 10);
    CHECK_ERRNO(syscall(SYS_read, fds[0], 16L, 4L), EFAULT);
    CHECK_ERRNO(write(fds[1], (void *)0xffffffff80100000, 4), EFAULT);
    CHECK_ERRNO(write(fds[1], (void *)0x8000000000000000, 4), EFAULT);
    CHECK_ERRNO(syscall(SYS_read, fds[0], 0x7ffffffff000L, 4L), EFAULT);
    close(fds[0]);
    close(fds[1]);
}

static void thread_pointer_must_be_canonical(void)
{
    /* A child that got it would take the kernel down when it is switched to. */
    CHECK_ERRNO(syscall(SYS_clone, CLONE_SETTLS | SIGCHLD, 0L, 0L, 0L, 0x8000000000000000L), EPERM);
    CHECK_ERRNO(syscall(SYS_arch_prctl, ARCH_SET_FS, 0x8000000000000000L), EPERM);
    CHECK_ERRNO(syscall(SYS_arch_prctl, ARCH_SET_GS, 0x800000000000L), EPERM);
}

/* Flags a program may set must not reach into the kernel: AC would lift SMAP, DF turn string
 * instructions round, NT break IRET. */
static void flags_do_not_enter_the_kernel(void)
{
    char *area = mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED);
    static const unsigned long sets[] = {0x40000, 0x400, 0x4000, 0x44400};
    for (int i = 0; i < 4; i++) {
        for (int page = i; page < 64; page += 4) {
            unsigned long after;
            long pid;
            asm volatile("sub $128, %%rsp\n\t" /* the red zone */
                         "pushfq; orq %3, (%%rsp); popfq\n\t"
                         "movb $1, (%4)\n\t" /* a page fault */
                         "mov %5, %%eax; syscall\n\t"
                         "pushfq; pop %0; pushfq; andq %6, (%%rsp); popfq\n\t"
                         "lea 128(%%rsp), %%rsp"
                         : "=&r"(after), "=&a"(pid), "+m"(*area)
                         : "r"(sets[i]), "r"(area + page * 4096L), "i"(SYS_getpid), "r"(~sets[i])
                         : "rcx", "r11", "memory", "cc");
            CHECK(pid == getpid());
            CHECK((after & sets[i]) == sets[i]);
        }
    }
    CHECK(munmap(area, 64 * 4096) == 0);
}

static void *touch_pages(void *arg)
{
    char *area = arg;
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < 64; i++)
            area[i * 4096] = (char)round;
        for (size_t i = 0; i < 64; i++) {
            if (area[i * 4096] != (char)round)
                return (void *)1;
        }
        if (mprotect(area, 64 * 4096, PROT_READ) ||
            mprotect(area, 64 * 4096, PROT_READ | PROT_WRITE))
            return (void *)1;
        if (round % 4 == 3 && madvise(area, 64 * 4096, MADV_DONTNEED))
            return (void *)1;
        if (round % 4 == 3 && area[5 * 4096] != 0)
            return (void *)1;
    }
    return NULL;
}

static void mappings_change_under_threads(void)
{
    pthread_t t[4];
    void *bad;
    char *areas =
        mmap(NULL, 4 * 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(areas != MAP_FAILED);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&t[i], NULL, touch_pages, areas + i * 64 * 4096) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(t[i], &bad) == 0 && !bad);
    CHECK(munmap(areas, 4 * 64 * 4096) == 0);
}

static void getcpu_and_affinity_agree(void)
{
    cpu_set_t all;
    CHECK(sched_getaffinity(0, sizeof(all), &all) == 0);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        cpu_set_t one;
        if (!CPU_ISSET(cpu, &all))
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
        CHECK(sched_getcpu() == cpu);
    }
    CHECK(sched_setaffinity(0, sizeof(all), &all) == 0);
}

static void large_copies_stop_at_a_fault(void)
{
    unsigned char *page =
        mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char got[8192];
    char name[] = "/tmp/copyXXXXXX";
    int fd = mkstemp(name);
    CHECK(page != MAP_FAILED && fd >= 0 && unlink(name) == 0);
    for (int i = 0; i < 8192; i++)
        page[i] = (unsigned char)(i % 251);
    CHECK(mprotect(page + 4096, 4096, PROT_NONE) == 0);
    for (int off = 0; off < 24; off++) {
        ssize_t n = 4096 - off, r = pwrite(fd, page + off, (size_t)n + 1000, 0);
        CHECK(r > n - 8 && r <= n); /* whole words are enough */
        CHECK(pread(fd, got, (size_t)r, 0) == r && memcmp(got, page + off, (size_t)r) == 0);
        CHECK(pwrite(fd, got, sizeof(got), 0) == sizeof(got));
        memset(page + off, 0, (size_t)n);
        r = pread(fd, page + off, (size_t)n + 1000, 0);
        CHECK(r > n - 8 && r <= n);
        CHECK(memcmp(got, page + off, (size_t)r) == 0);
        for (int i = 0; i < 4096; i++)
            page[i] = (unsigned char)((i + off) % 251);
    }
    close(fd);
    CHECK(munmap(page, 8192) == 0);
}

static void strings_may_end_where_memory_does(void)
{
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED && mprotect(page + 4096, 4096, PROT_NONE) == 0);
    for (int slashes = 1; slashes < 40; slashes++) {
        for (int behind = 1; behind < 10; behind++) { /* bytes from the NUL to the end */
            char *name = page + 4096 - behind - slashes - 3;
            memset(page, '/', 4096);
            memcpy(name + slashes, "tmp", 4);
            CHECK(access(name, F_OK) == 0);
            name[slashes + 2] = 'q';
            CHECK_ERRNO(access(name, F_OK), ENOENT);
        }
    }
    memset(page, '/', 4096);
    for (int n = 1; n < 20; n++)
        CHECK_ERRNO(access(page + 4096 - n, F_OK), EFAULT);
    CHECK_ERRNO(access(page, F_OK), ENAMETOOLONG);
    CHECK(munmap(page, 8192) == 0);
}

int main(void)
{
    CASE(vdso_is_an_elf_image);
    CASE(vdso_and_kernel_agree);
    CASE(coarse_clocks_follow);
    CASE(clock_is_monotonic_across_threads);
    CASE(sleep_takes_its_time);
    CASE(registers_survive_switches);
    CASE(a_spinning_thread_is_preempted);
    CASE(faults_become_signals);
    CASE(bad_pointers_give_efault);
    CASE(thread_pointer_must_be_canonical);
    CASE(flags_do_not_enter_the_kernel);
    CASE(large_copies_stop_at_a_fault);
    CASE(strings_may_end_where_memory_does);
    CASE(mappings_change_under_threads);
    CASE(getcpu_and_affinity_agree);
    return check_result();
}
