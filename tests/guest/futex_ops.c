/* Every operation of futex(2), and robust lists. */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"

static volatile uint32_t *word, *word2; /* shared memory */

static long futex(volatile void *at, int op, long value, void *timeout, volatile void *at2,
                  long value3)
{
    return syscall(SYS_futex, at, op, value, timeout, at2, value3);
}

static long wake_all(volatile void *at)
{
    return futex(at, FUTEX_WAKE, 1000, NULL, NULL, 0);
}

/* A child that waits on `at` and ends with 0 if it was woken. */
static pid_t waiter(volatile uint32_t *at, uint32_t bits)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct timespec limit;
        clock_gettime(CLOCK_MONOTONIC, &limit);
        limit.tv_sec += 20;
        _exit(futex(at, FUTEX_WAIT_BITSET, *at, &limit, NULL, bits) ? 1 : 0);
    }
    until_asleep(pid);
    return pid;
}

static void values_are_compared(void)
{
    *word = 5;
    CHECK_ERRNO(futex(word, FUTEX_WAIT, 4, NULL, NULL, 0), EAGAIN);
    struct timespec t = {0, 1000000};
    CHECK_ERRNO(futex(word, FUTEX_WAIT, 5, &t, NULL, 0), ETIMEDOUT);
    CHECK_ERRNO(futex(word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 5, &t, NULL, 0), ETIMEDOUT);
}

static void arguments_are_checked(void)
{
    struct timespec bad = {0, 1000000000}, negative = {-1, 0};
    CHECK_ERRNO(futex((char *)word + 1, FUTEX_WAIT, 0, NULL, NULL, 0), EINVAL);
    CHECK_ERRNO(futex((char *)word + 2, FUTEX_WAKE, 1, NULL, NULL, 0), EINVAL);
    CHECK_ERRNO(futex((void *)8, FUTEX_WAIT, 0, NULL, NULL, 0), EFAULT);
    CHECK_ERRNO(futex((void *)8, FUTEX_WAKE, 1, NULL, NULL, 0), EFAULT);
    CHECK_ERRNO(futex(word, FUTEX_WAIT, *word, &bad, NULL, 0), EINVAL);
    CHECK_ERRNO(futex(word, FUTEX_WAIT, *word, &negative, NULL, 0), EINVAL);
    CHECK_ERRNO(futex(word, FUTEX_WAIT, *word, (void *)8, NULL, 0), EFAULT);
    CHECK_ERRNO(futex(word, FUTEX_WAIT_BITSET, *word, NULL, NULL, 0), EINVAL);
    CHECK_ERRNO(futex(word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 0), EINVAL);
    CHECK_ERRNO(futex(word, 77, 1, NULL, NULL, 0), ENOSYS);
    CHECK_ERRNO(futex(word, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 1, NULL, NULL, 0), ENOSYS);
    CHECK_ERRNO(futex(word, FUTEX_REQUEUE, -1, NULL, word2, 0), EINVAL);
    CHECK_ERRNO(futex(word, FUTEX_CMP_REQUEUE, 1, (void *)-1, word2, 0), EINVAL);
    CHECK_ERRNO(futex(word, FUTEX_FD, 0, NULL, NULL, 0), ENOSYS);
}

static void wakes_count(void)
{
    *word = 0;
    CHECK(futex(word, FUTEX_WAKE, 1, NULL, NULL, 0) == 0);
    pid_t p[3];
    for (int i = 0; i < 3; i++)
        p[i] = waiter(word, ~0u);
    CHECK(futex(word, FUTEX_WAKE, 2, NULL, NULL, 0) == 2);
    CHECK(futex(word, FUTEX_WAKE, 2, NULL, NULL, 0) == 1);
    for (int i = 0; i < 3; i++)
        CHECK(child_status(p[i]) == 0);
}

static void bitsets_select(void)
{
    *word = 0;
    pid_t a = waiter(word, 1), b = waiter(word, 2);
    CHECK(futex(word, FUTEX_WAKE_BITSET, 10, NULL, NULL, 4) == 0);
    CHECK(futex(word, FUTEX_WAKE_BITSET, 10, NULL, NULL, 2) == 1);
    CHECK(child_status(b) == 0);
    CHECK(futex(word, FUTEX_WAKE, 10, NULL, NULL, 0) == 1);
    CHECK(child_status(a) == 0);
}

static void requeue_moves_waiters(void)
{
    *word = *word2 = 0;
    pid_t p[3];
    for (int i = 0; i < 3; i++)
        p[i] = waiter(word, ~0u);
    CHECK(futex(word, FUTEX_REQUEUE, 1, (void *)1, word2, 0) == 2); /* woken and moved */
    CHECK(wake_all(word2) == 1);
    CHECK(wake_all(word) == 1);
    for (int i = 0; i < 3; i++)
        CHECK(child_status(p[i]) == 0);
}

static void cmp_requeue_compares_and_counts(void)
{
    *word = 9;
    *word2 = 0;
    pid_t a = waiter(word, ~0u), b = waiter(word, ~0u), c = waiter(word, ~0u);
    CHECK_ERRNO(futex(word, FUTEX_CMP_REQUEUE, 1, (void *)10, word2, 8), EAGAIN);
    CHECK(futex(word, FUTEX_CMP_REQUEUE, 1, (void *)10, word2, 9) == 3);
    CHECK(wake_all(word) == 0 && wake_all(word2) == 2);
    CHECK(child_status(a) == 0 && child_status(b) == 0 && child_status(c) == 0);
}

static void wake_op_changes_and_compares(void)
{
    *word = 0;
    *word2 = 10;
    CHECK(futex(word, FUTEX_WAKE_OP, 1, (void *)1, word2,
                (long)FUTEX_OP(FUTEX_OP_ADD, 5, FUTEX_OP_CMP_EQ, 10)) == 0 &&
          *word2 == 15);
    CHECK(futex(word, FUTEX_WAKE_OP, 1, (void *)1, word2,
                (long)FUTEX_OP(FUTEX_OP_OR, 0x20, FUTEX_OP_CMP_EQ, 0)) == 0 &&
          *word2 == 47);
    CHECK(futex(word, FUTEX_WAKE_OP, 1, (void *)1, word2,
                (long)FUTEX_OP(FUTEX_OP_ANDN, 7, FUTEX_OP_CMP_EQ, 0)) == 0 &&
          *word2 == 40);
    CHECK(futex(word, FUTEX_WAKE_OP, 1, (void *)1, word2,
                (long)FUTEX_OP(FUTEX_OP_XOR, 0xff, FUTEX_OP_CMP_EQ, 0)) == 0 &&
          *word2 == (40 ^ 0xff));
    CHECK(futex(word, FUTEX_WAKE_OP, 1, (void *)1, word2,
                (long)FUTEX_OP((FUTEX_OP_OPARG_SHIFT | FUTEX_OP_SET), 4, FUTEX_OP_CMP_EQ, 0)) ==
              0 &&
          *word2 == 16);
    CHECK_ERRNO(futex(word, FUTEX_WAKE_OP, 1, (void *)1, word2, (long)FUTEX_OP(7, 0, 0, 0)),
                ENOSYS);
    CHECK_ERRNO(futex(word, FUTEX_WAKE_OP, 1, (void *)1, (void *)8, 0), EFAULT);
}

static void wake_op_wakes_both(void)
{
    *word = 0;
    *word2 = 0;
    pid_t a = waiter(word, ~0u), b = waiter(word2, ~0u);
    CHECK(futex(word, FUTEX_WAKE_OP, 5, (void *)5, word2,
                (long)FUTEX_OP(FUTEX_OP_SET, 1, FUTEX_OP_CMP_GT, 0)) == 1);
    CHECK(child_status(a) == 0);
    CHECK(futex(word, FUTEX_WAKE_OP, 5, (void *)5, word2,
                (long)FUTEX_OP(FUTEX_OP_SET, 0, FUTEX_OP_CMP_GE, 1)) == 1);
    CHECK(child_status(b) == 0 && *word2 == 0);
}

static void absolute_times_may_have_passed(void)
{
    struct timespec past = {1, 0}, now;
    *word = 0;
    CHECK_ERRNO(futex(word, FUTEX_WAIT_BITSET, 0, &past, NULL, ~0u), ETIMEDOUT);
    CHECK_ERRNO(futex(word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &past, NULL, ~0u),
                ETIMEDOUT);
    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec++;
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    CHECK_ERRNO(futex(word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &now, NULL, ~0u),
                ETIMEDOUT);
    clock_gettime(CLOCK_MONOTONIC, &after);
    CHECK(after.tv_sec - before.tv_sec <= 2 && after.tv_sec > before.tv_sec);
}

static long waitv(struct futex_waitv *v, unsigned n, unsigned flags, struct timespec *t)
{
    return syscall(SYS_futex_waitv, v, n, flags, t, CLOCK_MONOTONIC);
}

static void one_of_several_words_is_waited_for(void)
{
    struct futex_waitv v[2] = {{.uaddr = (uintptr_t)word, .flags = FUTEX_32},
                               {.uaddr = (uintptr_t)word2, .flags = FUTEX_32}};
    struct timespec past = {1, 0};
    *word = *word2 = 0;
    pid_t pid = fork();
    if (pid == 0)
        _exit(waitv(v, 2, 0, NULL) == 1 ? 0 : 1);
    until_asleep(pid);
    CHECK(wake_all(word2) == 1 && child_status(pid) == 0);
    CHECK_ERRNO(waitv(v, 2, 0, &past), ETIMEDOUT);
    v[1].val = 3;
    CHECK_ERRNO(waitv(v, 2, 0, NULL), EAGAIN);
    CHECK(wake_all(word) == 0); /* nothing is left behind */
    CHECK_ERRNO(waitv(v, 0, 0, NULL), EINVAL);
    CHECK_ERRNO(waitv(v, 129, 0, NULL), EINVAL);
    CHECK_ERRNO(waitv(v, 2, 1, NULL), EINVAL);
    CHECK_ERRNO(waitv((void *)8, 2, 0, NULL), EFAULT);
    v[0].flags = 0;
    CHECK_ERRNO(waitv(v, 2, 0, NULL), EINVAL);
}

static void private_and_shared_are_apart(void)
{
    *word = 0;
    pid_t a = waiter(word, ~0u);
    CHECK(futex(word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 10, NULL, NULL, 0) == 0);
    CHECK(wake_all(word) == 1 && child_status(a) == 0);
}

static void file_futexes_cross_mappings(void)
{
    int fd = open("futex-file", O_RDWR | O_CREAT, 0600);
    CHECK(fd >= 0 && ftruncate(fd, 8192) == 0);
    uint32_t *a = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    uint32_t *b = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096);
    CHECK(a != MAP_FAILED && b != MAP_FAILED);
    pid_t pid = waiter(a + 1024, ~0u);
    CHECK(wake_all(b) == 1 && child_status(pid) == 0);
    munmap(a, 8192);
    munmap(b, 4096);
    close(fd);
    unlink("futex-file");
}

static void futexes_of_read_only_memory(void)
{
    uint32_t *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct timespec t = {0, 1000000};
    CHECK_ERRNO(futex(p, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, &t, NULL, 0), ETIMEDOUT);
    CHECK_ERRNO(futex(p, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 1, (void *)1, p, 0), EFAULT);
    munmap(p, 4096);
}

static pthread_mutex_t *robust;

static void die_with_lock(void)
{
    pthread_mutex_lock(robust);
    _exit(0);
}

static void robust_mutexes_tell_of_a_death(void)
{
    pthread_mutexattr_t attr;
    robust = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    CHECK(pthread_mutex_init(robust, &attr) == 0);
    CHECK(in_child(die_with_lock) == 0);
    CHECK(pthread_mutex_lock(robust) == EOWNERDEAD);
    CHECK(pthread_mutex_consistent(robust) == 0 && pthread_mutex_unlock(robust) == 0);
    CHECK(pthread_mutex_lock(robust) == 0 && pthread_mutex_unlock(robust) == 0);
    CHECK(in_child(die_with_lock) == 0);
    CHECK(pthread_mutex_lock(robust) == EOWNERDEAD && pthread_mutex_unlock(robust) == 0);
    CHECK(pthread_mutex_lock(robust) == ENOTRECOVERABLE);
    munmap(robust, 4096);
}

static void robust_list_calls_are_checked(void)
{
    void *head;
    size_t len;
    CHECK_ERRNO(syscall(SYS_set_robust_list, &head, 8), EINVAL);
    CHECK(syscall(SYS_get_robust_list, 0, &head, &len) == 0 && len == 24 && head);
    CHECK_ERRNO(syscall(SYS_get_robust_list, 99999, &head, &len), ESRCH);
    CHECK_ERRNO(syscall(SYS_get_robust_list, 0, NULL, &len), EFAULT);
}

static void a_dead_threads_word_is_cleared(void)
{
    /* pthread_join waits on the word of CLONE_CHILD_CLEARTID: many ends in a row find it. */
    for (int i = 0; i < 50; i++) {
        pthread_t t;
        CHECK(!pthread_create(&t, NULL, (void *(*)(void *))(void *)getpid, NULL));
        CHECK(!pthread_join(t, NULL));
    }
}

int main(void)
{
    own_directory();
    word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    word2 = word + 16;
    CASE(values_are_compared);
    CASE(arguments_are_checked);
    CASE(wakes_count);
    CASE(bitsets_select);
    CASE(requeue_moves_waiters);
    CASE(cmp_requeue_compares_and_counts);
    CASE(wake_op_changes_and_compares);
    CASE(wake_op_wakes_both);
    CASE(absolute_times_may_have_passed);
    CASE(one_of_several_words_is_waited_for);
    CASE(private_and_shared_are_apart);
    CASE(file_futexes_cross_mappings);
    CASE(futexes_of_read_only_memory);
    CASE(robust_mutexes_tell_of_a_death);
    CASE(robust_list_calls_are_checked);
    CASE(a_dead_threads_word_is_cleared);
    return check_result();
}
