/* Threads and futexes: pthreads, locks, conditions, robust mutexes, time-outs, thread death. */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static long counter;
static int turn;

static long now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void *add(void *arg)
{
    for (int i = 0; i < 20000; i++) {
        pthread_mutex_lock(&lock);
        counter++;
        pthread_mutex_unlock(&lock);
    }
    return arg;
}

static void mutexes_exclude(void)
{
    pthread_t t[8];
    void *res;
    counter = 0;
    for (long i = 0; i < 8; i++)
        CHECK(pthread_create(&t[i], NULL, add, (void *)i) == 0);
    for (long i = 0; i < 8; i++) {
        CHECK(pthread_join(t[i], &res) == 0);
        CHECK(res == (void *)i);
    }
    CHECK(counter == 160000);
}

static void *ping(void *arg)
{
    int me = (int)(long)arg;
    for (int i = 0; i < 500; i++) {
        pthread_mutex_lock(&lock);
        while (turn != me)
            pthread_cond_wait(&cond, &lock);
        turn = !me;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void conditions_hand_over(void)
{
    pthread_t a, b;
    turn = 0;
    CHECK(!pthread_create(&a, NULL, ping, (void *)0L) &&
          !pthread_create(&b, NULL, ping, (void *)1L));
    CHECK(!pthread_join(a, NULL) && !pthread_join(b, NULL));
    CHECK(turn == 0);
}

static long futex(int *word, int op, int value, const struct timespec *t, int *word2, int value3)
{
    return syscall(SYS_futex, word, op, value, t, word2, value3);
}

static void futex_errors_and_timeouts(void)
{
    int word = 5;
    struct timespec t = {0, 30000000}, bad = {0, 1000000000};
    CHECK_ERRNO(futex(&word, FUTEX_WAIT, 4, NULL, NULL, 0), EAGAIN);
    CHECK_ERRNO(futex((int *)((char *)&word + 1), FUTEX_WAIT, 5, NULL, NULL, 0), EINVAL);
    CHECK_ERRNO(futex((int *)8, FUTEX_WAIT_PRIVATE, 5, NULL, NULL, 0), EFAULT);
    CHECK_ERRNO(futex(&word, FUTEX_WAIT, 5, &bad, NULL, 0), EINVAL);
    CHECK_ERRNO(futex(&word, FUTEX_WAIT_BITSET, 5, NULL, NULL, 0), EINVAL);
    long start = now_ms();
    CHECK_ERRNO(futex(&word, FUTEX_WAIT, 5, &t, NULL, 0), ETIMEDOUT);
    CHECK(now_ms() - start >= 29);
    struct timespec past = {1, 0};
    CHECK_ERRNO(futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 5, &past, NULL, -1),
                ETIMEDOUT);
    CHECK(futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0) == 0);
    CHECK_ERRNO(futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)1, &word, 4), EAGAIN);
}

static int gate, gate2;
static void *wait_gate(void *arg)
{
    (void)arg;
    while (__atomic_load_n(&gate, __ATOMIC_SEQ_CST) == 0)
        futex(&gate, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    return NULL;
}

static void futex_requeue_and_wake_op(void)
{
    pthread_t t[4];
    long moved = 0;
    gate = gate2 = 0;
    for (int i = 0; i < 4; i++)
        CHECK(!pthread_create(&t[i], NULL, wait_gate, NULL));
    for (int i = 0; i < 500 && moved < 4; i++) {
        moved += futex(&gate, FUTEX_REQUEUE_PRIVATE, 0, (void *)100, &gate2, 0) >= 0 ? 0 : -100;
        long n = futex(&gate, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)100, &gate2, 0);
        CHECK(n >= 0);
        usleep(1000);
        if (i > 20)
            break;
    }
    __atomic_store_n(&gate, 1, __ATOMIC_SEQ_CST);
    /* Sets gate2 to 9 and, as it was 0, wakes all that were moved to it. */
    CHECK(futex(&gate, FUTEX_WAKE_OP_PRIVATE, 100, (void *)100, &gate2,
                FUTEX_OP(FUTEX_OP_SET, 9, FUTEX_OP_CMP_EQ, 0)) == 4);
    CHECK(gate2 == 9);
    for (int i = 0; i < 4; i++)
        CHECK(!pthread_join(t[i], NULL));
}

static void shared_futexes_cross_processes(void)
{
    sem_t *s = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status;
    CHECK(s != MAP_FAILED && sem_init(&s[0], 1, 0) == 0 && sem_init(&s[1], 1, 0) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 100; i++) {
            sem_wait(&s[0]);
            sem_post(&s[1]);
        }
        _exit(0);
    }
    for (int i = 0; i < 100; i++) {
        CHECK(sem_post(&s[0]) == 0);
        CHECK(sem_wait(&s[1]) == 0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    munmap(s, 4096);
}

static void *die_with_lock(void *m)
{
    pthread_mutex_lock(m);
    return NULL;
}

static void robust_mutexes_survive_their_owner(void)
{
    pthread_mutex_t m;
    pthread_mutexattr_t a;
    pthread_t t;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    CHECK(!pthread_mutex_init(&m, &a) && !pthread_create(&t, NULL, die_with_lock, &m));
    CHECK(!pthread_join(t, NULL));
    CHECK(pthread_mutex_lock(&m) == EOWNERDEAD);
    CHECK(!pthread_mutex_consistent(&m) && !pthread_mutex_unlock(&m) && !pthread_mutex_lock(&m));
    pthread_mutex_unlock(&m);
}

static void *sleep_long(void *arg)
{
    sleep(1000);
    return arg;
}

static void exit_group_ends_sleeping_threads(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t t;
        for (int i = 0; i < 5; i++)
            pthread_create(&t, NULL, sleep_long, NULL);
        usleep(10000);
        exit(9);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 9);
}

static void *exec_me(void *arg)
{
    execl(arg, arg, "exec", NULL);
    return NULL;
}

static void exec_from_a_thread_replaces_all(void)
{
    int status;
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    CHECK(n > 0);
    path[n] = 0;
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t t;
        pthread_create(&t, NULL, sleep_long, NULL);
        pthread_create(&t, NULL, exec_me, path);
        sleep(1000);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 11);
}

static void *tids(void *arg)
{
    *(pid_t *)arg = gettid();
    return NULL;
}

static void leader_may_leave_first(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t t;
        pthread_create(&t, NULL, (void *(*)(void *))(void *)usleep, (void *)30000);
        syscall(SYS_exit, 7); /* the thread goes on; the status is the last one's */
    }
    CHECK(waitpid(pid, &status, WNOHANG) == 0);
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
}

static void thread_ids_differ(void)
{
    pthread_t t;
    pid_t tid;
    CHECK(!pthread_create(&t, NULL, tids, &tid) && !pthread_join(t, NULL));
    CHECK(tid != getpid() && tid > 0 && gettid() == getpid());
    CHECK_ERRNO(syscall(SYS_tgkill, getpid(), tid, 0), ESRCH);
}

static void *spin(void *arg)
{
    for (int i = 0; i < 200; i++) {
        char *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        for (int k = 0; k < 65536; k += 4096)
            p[k] = (char)i;
        munmap(p, 65536);
        void *q = malloc(5000);
        memset(q, i, 5000);
        free(q);
    }
    return arg;
}

static void memory_calls_in_parallel(void)
{
    pthread_t t[6];
    for (int i = 0; i < 6; i++)
        CHECK(!pthread_create(&t[i], NULL, spin, NULL));
    for (int i = 0; i < 6; i++)
        CHECK(!pthread_join(t[i], NULL));
}

static void affinity_and_yield(void)
{
    cpu_set_t set;
    CHECK(sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) >= 1);
    CHECK(sched_yield() == 0);
    CPU_ZERO(&set);
    CHECK_ERRNO(sched_setaffinity(0, sizeof(set), &set), EINVAL);
    CHECK(sched_getcpu() >= 0);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1)
        return getpid() == gettid() ? 11 : 12;
    CASE(mutexes_exclude);
    CASE(conditions_hand_over);
    CASE(futex_errors_and_timeouts);
    CASE(futex_requeue_and_wake_op);
    CASE(shared_futexes_cross_processes);
    CASE(robust_mutexes_survive_their_owner);
    CASE(exit_group_ends_sleeping_threads);
    CASE(leader_may_leave_first);
    CASE(thread_ids_differ);
    CASE(memory_calls_in_parallel);
    CASE(affinity_and_yield);
    CASE(exec_from_a_thread_replaces_all);
    return check_result();
}
