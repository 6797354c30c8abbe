/* Restartable sequences (rseq(2)). The C library registers an area for each thread. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "check.h"

#define SIGNATURE 0x53053053 /* the C library's on x86 */
#define LENGTH 32

static struct rseq *area(void)
{
    return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

static long rseq(volatile void *at, unsigned length, int flags, unsigned signature)
{
    return syscall(SYS_rseq, at, length, flags, signature);
}

/* A sequence with a descriptor `3`, from 1 to 2, that goes on at `4` when aborted. */
#define SEQUENCE(body)                                                                             \
    ".pushsection .data.rseq, \"aw\"\n"                                                            \
    ".balign 32\n"                                                                                 \
    "3: .long 0, 0\n"                                                                              \
    ".quad 1f, 2f - 1f, 4f\n"                                                                      \
    ".popsection\n"                                                                                \
    "lea 3b(%%rip), %%rax\n"                                                                       \
    "mov %%rax, 8(%[area])\n"                                                                      \
    "1:\n" body "2:\n"                                                                             \
    "jmp 5f\n"                                                                                     \
    ".byte 0x0f, 0xb9, 0x3d\n"                                                                     \
    ".long 0x53053053\n"                                                                           \
    "4: jmp %l[aborted]\n"                                                                         \
    "5:\n"

static void the_library_registers(void)
{
    CHECK(__rseq_size >= 20);
    CHECK(area()->cpu_id < 1024 && area()->cpu_id_start < 1024);
    CHECK_ERRNO(rseq(area(), LENGTH, 0, SIGNATURE), EBUSY);
}

static void the_cpu_is_known(void)
{
    cpu_set_t all, one;
    CHECK(sched_getaffinity(0, sizeof(all), &all) == 0);
    for (int round = 0; round < 20; round++) {
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
            if (!CPU_ISSET(cpu, &all))
                continue;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
            CHECK((int)area()->cpu_id == cpu && (int)area()->cpu_id_start == cpu);
            CHECK(sched_getcpu() == cpu);
        }
    }
    CHECK(sched_setaffinity(0, sizeof(all), &all) == 0);
}

static void arguments_are_checked(void)
{
    static struct rseq other __attribute__((aligned(32)));
    CHECK_ERRNO(rseq(area(), LENGTH, 2, SIGNATURE), EINVAL);
    CHECK_ERRNO(rseq(&other, LENGTH, 0, SIGNATURE), EINVAL);
    CHECK_ERRNO(rseq(area(), LENGTH, 0, SIGNATURE + 1), EPERM);
    CHECK_ERRNO(rseq(&other, LENGTH, 1, SIGNATURE), EINVAL);
    CHECK_ERRNO(rseq(area(), LENGTH, 3, SIGNATURE), EINVAL);
    CHECK_ERRNO(rseq(area(), LENGTH * 2, 1, SIGNATURE), EINVAL);
    CHECK_ERRNO(rseq(area(), LENGTH, 1, SIGNATURE + 1), EPERM);
    CHECK(rseq(area(), LENGTH, 1, SIGNATURE) == 0);
    CHECK(area()->cpu_id == (uint32_t)-1 && area()->cpu_id_start == 0);
    CHECK_ERRNO(rseq(area(), LENGTH, 1, SIGNATURE), EINVAL);
    CHECK_ERRNO(rseq((char *)&other + 4, LENGTH, 0, SIGNATURE), EINVAL);
    CHECK_ERRNO(rseq((void *)0xffff800000000000, LENGTH, 0, SIGNATURE), EFAULT);
    CHECK(rseq(area(), LENGTH, 0, SIGNATURE) == 0);
    CHECK(area()->cpu_id < 1024);
}

/* Spins in a sequence until something comes between; false: nothing did for very long. */
static __attribute__((noinline)) int spin_until_aborted(void)
{
    asm goto(SEQUENCE("mov $4000000000, %%ecx\n"
                      "6: dec %%ecx\n"
                      "jnz 6b\n")
             :
             : [area] "r"(area())
             : "rax", "rcx", "memory", "cc"
             : aborted);
    return 0;
aborted:
    return 1;
}

static volatile uint64_t handler_ip;
static void note_ip(int signo, siginfo_t *si, void *context)
{
    (void)signo;
    (void)si;
    handler_ip = (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
}

static void signals_abort(void)
{
    struct sigaction sa = {.sa_sigaction = note_ip, .sa_flags = SA_SIGINFO};
    struct itimerval soon = {.it_value = {0, 30000}};
    sigaction(SIGALRM, &sa, NULL);
    handler_ip = 0;
    CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
    while (!handler_ip) /* others may come between before the signal does */
        CHECK(spin_until_aborted());
    CHECK(area()->rseq_cs == 0);
}

static void preemption_aborts(void)
{
    cpu_set_t old, one;
    sched_getaffinity(0, sizeof(old), &old);
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
    pid_t hog = fork();
    if (hog == 0) {
        for (;;)
            ;
    }
    int aborted = spin_until_aborted();
    kill(hog, SIGKILL);
    waitpid(hog, NULL, 0);
    sched_setaffinity(0, sizeof(old), &old);
    CHECK(aborted);
}

#define COUNTS 20000
static struct {
    long count;
    char pad[56];
} counters[1024] __attribute__((aligned(64)));

/* Adds to the CPU's own counter without an atomic instruction. */
static __attribute__((noinline)) int count_here(void)
{
    asm goto(SEQUENCE("mov 4(%[area]), %%eax\n"
                      "shl $6, %%rax\n"
                      "mov (%[counters], %%rax), %%rcx\n"
                      "mov $60, %%edx\n"
                      "6: dec %%edx\n"
                      "jnz 6b\n"
                      "inc %%rcx\n"
                      "mov %%rcx, (%[counters], %%rax)\n")
             :
             : [area] "r"(area()), [counters] "r"(counters)
             : "rax", "rcx", "rdx", "memory", "cc"
             : aborted);
    return 1;
aborted:
    return 0;
}

static void *count(void *arg)
{
    for (int i = 0; i < COUNTS; i++) {
        while (!count_here())
            ;
    }
    return arg;
}

static void counters_per_cpu_lose_nothing(void)
{
    pthread_t threads[6];
    long sum = 0;
    for (int i = 0; i < 6; i++)
        CHECK(!pthread_create(&threads[i], NULL, count, NULL));
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 1024; i++)
        sum += counters[i].count;
    CHECK(sum == 6 * COUNTS);
}

static void children_go_on_with_it(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        int ok = (int)area()->cpu_id >= 0;
        errno = 0;
        ok &= rseq(area(), LENGTH, 0, SIGNATURE) == -1 && errno == EBUSY;
        _exit(!ok);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

/* What a child does to its area is its end. */
static int end_of(void (*spoil)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct itimerval often = {{0, 1000}, {0, 1000}};
        struct sigaction sa = {.sa_sigaction = note_ip, .sa_flags = SA_SIGINFO};
        sigaction(SIGALRM, &sa, NULL);
        spoil();
        setitimer(ITIMER_REAL, &often, NULL);
        for (handler_ip = 0; !handler_ip;)
            ;
        _exit(0);
    }
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static struct rseq_cs descriptor __attribute__((aligned(32)));
static void point_nowhere(void)
{
    area()->rseq_cs = 0x10;
}
static void point_to_the_kernel(void)
{
    area()->rseq_cs = 0xffffffff80100000;
}
static void wrong_version(void)
{
    descriptor = (struct rseq_cs){.version = 7};
    area()->rseq_cs = (uintptr_t)&descriptor;
}
static void no_signature(void)
{
    static const char nothing[64];
    descriptor = (struct rseq_cs){
        .start_ip = 0x1000, .post_commit_offset = 0x100, .abort_ip = (uintptr_t)nothing + 32};
    area()->rseq_cs = (uintptr_t)&descriptor;
}
static void broken_areas_end_the_program(void)
{
    CHECK(end_of(point_nowhere) == SIGSEGV);
    CHECK(end_of(point_to_the_kernel) == SIGSEGV);
    CHECK(end_of(wrong_version) == SIGSEGV);
}

/* Linux looks at the signature only if the program stands in the sequence. */
static void stale_descriptors_are_cleared(void)
{
    int signo = end_of(no_signature);
    CHECK(signo == 0 || signo == SIGSEGV);
}

int main(void)
{
    CASE(the_library_registers);
    CASE(the_cpu_is_known);
    CASE(arguments_are_checked);
    CASE(signals_abort);
    CASE(preemption_aborts);
    CASE(counters_per_cpu_lose_nothing);
    CASE(children_go_on_with_it);
    CASE(broken_areas_end_the_program);
    CASE(stale_descriptors_are_cleared);
    return check_result();
}
