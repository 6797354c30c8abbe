/* Memory: mmap and its relatives, demand paging, faults beyond files, limits. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define PAGE 4096ul
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW (PROT_READ | PROT_WRITE)

static sigjmp_buf back;
static volatile int caught;

static void on_fault(int signo)
{
    caught = signo;
    siglongjmp(back, 1);
}

static int faults(volatile char *p, int write)
{
    caught = 0;
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    if (!sigsetjmp(back, 1)) {
        if (write)
            *p = 1;
        else
            (void)*p;
    }
    signal(SIGSEGV, SIG_DFL);
    signal(SIGBUS, SIG_DFL);
    return caught;
}

static int file_of(size_t size)
{
    int fd = open("./mm-file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    char block[PAGE];
    for (size_t i = 0; i < size; i += PAGE) {
        memset(block, (int)('a' + i / PAGE % 26), PAGE);
        if (write(fd, block, PAGE) != PAGE)
            return -1;
    }
    return fd;
}

static void arguments_are_checked(void)
{
    CHECK_ERRNO((long)mmap(NULL, 0, RW, ANON, -1, 0), EINVAL);
    CHECK_ERRNO((long)mmap(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0), EINVAL);
    CHECK_ERRNO((long)mmap(NULL, PAGE, RW, MAP_PRIVATE, -1, 0), EBADF);
    CHECK_ERRNO((long)mmap(NULL, PAGE, RW, MAP_PRIVATE, 0, 1), EINVAL);
    CHECK_ERRNO((long)mmap((void *)1, PAGE, RW, ANON | MAP_FIXED, -1, 0), EINVAL);
    CHECK_ERRNO((long)mmap(NULL, 1ul << 62, RW, ANON, -1, 0), ENOMEM);
    CHECK_ERRNO(munmap((void *)1, PAGE), EINVAL);
    CHECK_ERRNO(munmap(NULL, 0), EINVAL);
    CHECK_ERRNO(mprotect((void *)1, PAGE, PROT_READ), EINVAL);
    CHECK_ERRNO(madvise((void *)PAGE, PAGE, 4711), EINVAL);
    int fd = open("/proc/self/exe", O_RDONLY);
    CHECK(fd >= 0);
    CHECK_ERRNO((long)mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0), EACCES);
    close(fd);
    int fds[2];
    CHECK(pipe(fds) == 0);
    CHECK_ERRNO((long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fds[0], 0), ENODEV);
    close(fds[0]);
    close(fds[1]);
}

static void anonymous_memory_is_zero(void)
{
    char *p = mmap(NULL, 64 * PAGE, RW, ANON, -1, 0);
    CHECK(p != MAP_FAILED);
    for (size_t i = 0; i < 64 * PAGE; i += 512)
        CHECK(p[i] == 0);
    for (size_t i = 0; i < 64; i++)
        p[i * PAGE + 7] = (char)(i + 1);
    for (size_t i = 0; i < 64; i++)
        CHECK(p[i * PAGE + 7] == (char)(i + 1) && p[i * PAGE + 8] == 0);
    CHECK(madvise(p, 32 * PAGE, MADV_DONTNEED) == 0);
    CHECK(p[7] == 0 && p[40 * PAGE + 7] == 41);
    CHECK(munmap(p, 64 * PAGE) == 0);
    CHECK(faults(p, 0) == SIGSEGV);
}

static void protection_splits_and_joins(void)
{
    char *p = mmap(NULL, 8 * PAGE, RW, ANON, -1, 0);
    CHECK(p != MAP_FAILED);
    memset(p, 5, 8 * PAGE);
    CHECK(mprotect(p + 2 * PAGE, 2 * PAGE, PROT_READ) == 0);
    CHECK(faults(p + 2 * PAGE, 1) == SIGSEGV && faults(p + PAGE, 1) == 0);
    CHECK(faults(p + 3 * PAGE, 0) == 0 && p[3 * PAGE] == 5);
    CHECK(mprotect(p + 3 * PAGE, 3 * PAGE, PROT_NONE) == 0);
    CHECK(faults(p + 3 * PAGE, 0) == SIGSEGV && faults(p + 6 * PAGE, 1) == 0);
    CHECK(mprotect(p, 8 * PAGE, RW) == 0);
    CHECK(faults(p + 3 * PAGE, 1) == 0 && p[4 * PAGE] == 5);
    CHECK(munmap(p + 3 * PAGE, PAGE) == 0);
    CHECK(faults(p + 3 * PAGE, 0) == SIGSEGV && p[4 * PAGE] == 5);
    CHECK_ERRNO(mprotect(p, 8 * PAGE, PROT_READ), ENOMEM);
    CHECK(munmap(p, 8 * PAGE) == 0);
}

static void fixed_mappings_replace(void)
{
    char *p = mmap(NULL, 4 * PAGE, RW, ANON, -1, 0);
    CHECK(p != MAP_FAILED);
    memset(p, 9, 4 * PAGE);
    CHECK(mmap(p + PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0) == p + PAGE);
    CHECK(p[0] == 9 && p[PAGE] == 0 && p[2 * PAGE] == 9);
    CHECK_ERRNO((long)mmap(p, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
    CHECK(munmap(p, 4 * PAGE) == 0);
    CHECK(mmap(p, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) == p);
    CHECK(munmap(p, PAGE) == 0);
}

static void private_file_mappings_copy(void)
{
    char back_again;
    int fd = file_of(20 * PAGE);
    CHECK(fd >= 0);
    char *p = mmap(NULL, 20 * PAGE, RW, MAP_PRIVATE, fd, 0);
    CHECK(p != MAP_FAILED);
    for (int i = 0; i < 20; i++)
        CHECK(p[(size_t)i * PAGE + 99] == 'a' + i);
    p[5 * PAGE] = '!';
    CHECK(pread(fd, &back_again, 1, 5 * PAGE) == 1 && back_again == 'f');
    CHECK(p[5 * PAGE] == '!' && p[5 * PAGE + 1] == 'f');
    char *q = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 7 * PAGE);
    CHECK(q != MAP_FAILED && q[0] == 'h');
    munmap(q, PAGE);
    munmap(p, 20 * PAGE);
    close(fd);
}

static void shared_file_mappings_write_through(void)
{
    char c;
    int fd = file_of(4 * PAGE), status;
    char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
    CHECK(p != MAP_FAILED);
    p[PAGE + 1] = 'X';
    CHECK(pread(fd, &c, 1, PAGE + 1) == 1 && c == 'X');
    CHECK(pwrite(fd, "Y", 1, 2 * PAGE) == 1 && p[2 * PAGE] == 'Y');
    pid_t pid = fork();
    if (pid == 0) {
        p[0] = 'Z';
        _exit(p[PAGE + 1] != 'X');
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0 && p[0] == 'Z');
    CHECK(msync(p, 4 * PAGE, MS_SYNC) == 0);
    munmap(p, 4 * PAGE);
    close(fd);
}

static void access_beyond_the_file_is_sigbus(void)
{
    int fd = file_of(2 * PAGE);
    char *p = mmap(NULL, 6 * PAGE, RW, MAP_SHARED, fd, 0);
    CHECK(p != MAP_FAILED);
    CHECK(faults(p + PAGE, 1) == 0 && faults(p + 2 * PAGE, 0) == SIGBUS);
    CHECK(ftruncate(fd, 4 * PAGE) == 0);
    CHECK(faults(p + 3 * PAGE, 1) == 0 && faults(p + 4 * PAGE, 1) == SIGBUS);
    CHECK(ftruncate(fd, PAGE) == 0);
    CHECK(faults(p, 0) == 0 && faults(p + PAGE, 0) == SIGBUS && faults(p + 3 * PAGE, 1) == SIGBUS);
    munmap(p, 6 * PAGE);
    close(fd);
}

static void mremap_moves_and_grows(void)
{
    char *p = mmap(NULL, 4 * PAGE, RW, ANON, -1, 0);
    CHECK(p != MAP_FAILED);
    for (int i = 0; i < 4; i++)
        p[(size_t)i * PAGE] = (char)(i + 1);
    char *wall = mmap(p + 4 * PAGE, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);
    (void)wall;
    CHECK_ERRNO((long)mremap(p, 4 * PAGE, 8 * PAGE, 0), ENOMEM);
    char *q = mremap(p, 4 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
    CHECK(q != MAP_FAILED);
    for (int i = 0; i < 4; i++)
        CHECK(q[(size_t)i * PAGE] == i + 1);
    CHECK(q[63 * PAGE] == 0);
    q[63 * PAGE] = 1;
    CHECK(mremap(q, 64 * PAGE, 2 * PAGE, 0) == q);
    CHECK(faults(q + 2 * PAGE, 0) == SIGSEGV && q[PAGE] == 2);
    char *to = mmap(NULL, 2 * PAGE, RW, ANON, -1, 0);
    CHECK(mremap(q, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to && to[PAGE] == 2);
    CHECK_ERRNO((long)mremap((void *)PAGE, PAGE, PAGE, MREMAP_MAYMOVE), EFAULT);
    munmap(to, 2 * PAGE);
}

static void brk_moves_the_heap(void)
{
    char *start = sbrk(0);
    CHECK(sbrk(10 * PAGE) == start && sbrk(0) == start + 10 * PAGE);
    start[9 * PAGE] = 3;
    CHECK(brk(start) == 0 && sbrk(0) == start);
    CHECK(sbrk(10 * PAGE) == start && start[9 * PAGE] == 0);
    CHECK(brk(start) == 0);
}

static int depth(int n)
{
    volatile char frame[3000];
    frame[0] = (char)n;
    return n ? depth(n - 1) + frame[0] * 0 : 0;
}

static void stacks_grow_to_their_limit(void)
{
    int status;
    CHECK(depth(2000) == 0); /* 6 of 8 MB */
    pid_t pid = fork();
    if (pid == 0)
        _exit(depth(10000));
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void mincore_and_populate(void)
{
    unsigned char vec[8];
    char *p = mmap(NULL, 8 * PAGE, RW, ANON, -1, 0);
    CHECK(p != MAP_FAILED);
    p[3 * PAGE] = 1;
    CHECK(mincore(p, 8 * PAGE, vec) == 0 && (vec[3] & 1) && !(vec[4] & 1));
    CHECK(madvise(p, 8 * PAGE, 23 /* MADV_POPULATE_WRITE */) == 0);
    CHECK(mincore(p, 8 * PAGE, vec) == 0 && (vec[0] & 1) && (vec[7] & 1));
    CHECK(mlock(p, 2 * PAGE) == 0 && munlock(p, 2 * PAGE) == 0);
    munmap(p, 8 * PAGE);
    CHECK_ERRNO(mincore(p, PAGE, vec), ENOMEM);
    p = mmap(NULL, 4 * PAGE, RW, ANON | MAP_POPULATE, -1, 0);
    CHECK(mincore(p, 4 * PAGE, vec) == 0 && (vec[0] & 1) && (vec[3] & 1));
    munmap(p, 4 * PAGE);
}

static void limits_are_kept(void)
{
    struct rlimit old, low;
    int status;
    CHECK(getrlimit(RLIMIT_AS, &old) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        low = (struct rlimit){64 << 20, old.rlim_max};
        if (setrlimit(RLIMIT_AS, &low))
            _exit(1);
        if (mmap(NULL, 128 << 20, RW, ANON, -1, 0) != MAP_FAILED || errno != ENOMEM)
            _exit(2);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void wipe_and_dont_fork(void)
{
    int status;
    char *p = mmap(NULL, PAGE, RW, ANON, -1, 0), *q = mmap(NULL, PAGE, RW, ANON, -1, 0);
    p[0] = q[0] = 1;
    CHECK(madvise(p, PAGE, MADV_WIPEONFORK) == 0 && madvise(q, PAGE, MADV_DONTFORK) == 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(p[0] ? 1 : faults(q, 0) != SIGSEGV ? 2 : 0);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    munmap(p, PAGE);
    munmap(q, PAGE);
}

static char *arena;
static volatile int stop;

static void *writer(void *arg)
{
    size_t base = (size_t)arg * 64 * PAGE;
    unsigned char round = 0;
    while (!stop) {
        round++;
        for (size_t i = 0; i < 64; i++)
            arena[base + i * PAGE] = (char)round;
        for (size_t i = 0; i < 64; i++) {
            if ((unsigned char)arena[base + i * PAGE] != round)
                return (void *)1;
        }
    }
    return NULL;
}

static void fork_under_writing_threads(void)
{
    pthread_t t[3];
    void *res;
    int status;
    arena = mmap(NULL, 3 * 64 * PAGE, RW, ANON, -1, 0);
    stop = 0;
    for (size_t i = 0; i < 3; i++)
        CHECK(!pthread_create(&t[i], NULL, writer, (void *)i));
    for (int k = 0; k < 8; k++) {
        pid_t pid = fork();
        if (pid == 0) {
            char copy[3 * 64];
            for (size_t i = 0; i < 3 * 64; i++)
                copy[i] = arena[i * PAGE];
            usleep(1000);
            for (size_t i = 0; i < 3 * 64; i++) {
                if (copy[i] != arena[i * PAGE])
                    _exit(1); /* the parent's writes came through */
            }
            _exit(0);
        }
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
    stop = 1;
    for (int i = 0; i < 3; i++)
        CHECK(!pthread_join(t[i], &res) && !res);
    munmap(arena, 3 * 64 * PAGE);
}

int main(void)
{
    own_directory();
    CASE(arguments_are_checked);
    CASE(anonymous_memory_is_zero);
    CASE(protection_splits_and_joins);
    CASE(fixed_mappings_replace);
    CASE(private_file_mappings_copy);
    CASE(shared_file_mappings_write_through);
    CASE(access_beyond_the_file_is_sigbus);
    CASE(mremap_moves_and_grows);
    CASE(brk_moves_the_heap);
    CASE(stacks_grow_to_their_limit);
    CASE(mincore_and_populate);
    CASE(limits_are_kept);
    CASE(wipe_and_dont_fork);
    CASE(fork_under_writing_threads);
    unlink("./mm-file");
    return check_result();
}
