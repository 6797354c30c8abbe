/* Mappings in detail: protection, moving, advice, locks; memory of other processes. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "child.h"

#define PAGE 4096ul
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW (PROT_READ | PROT_WRITE)

static sigjmp_buf back;
static volatile int caught, caught_code;

static void on_fault(int signo, siginfo_t *si, void *uc)
{
    (void)uc;
    caught = signo;
    caught_code = si->si_code;
    siglongjmp(back, 1);
}

/* The signal that an access gets, or 0. */
static int touch(volatile char *p, int write)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    caught = caught_code = 0;
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
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

static char *pages(size_t n)
{
    char *p = mmap(NULL, n * PAGE, RW, ANON, -1, 0);
    CHECK(p != MAP_FAILED);
    return p;
}

static void fixed_noreplace_keeps_what_is_there(void)
{
    char *p = pages(4);
    p[PAGE] = 7;
    CHECK(munmap(p + 2 * PAGE, 2 * PAGE) == 0);
    CHECK_ERRNO(mmap(p + PAGE, 2 * PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
    CHECK(p[PAGE] == 7);
    CHECK(mmap(p + 2 * PAGE, 2 * PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) == p + 2 * PAGE);
    munmap(p, 4 * PAGE);
}

static void hints_are_followed_where_free(void)
{
    char *p = pages(4);
    munmap(p, 4 * PAGE);
    CHECK(mmap(p + PAGE, PAGE, RW, ANON, -1, 0) == p + PAGE);
    char *q = mmap(p + PAGE, PAGE, RW, ANON, -1, 0);
    CHECK(q != MAP_FAILED && q != p + PAGE);
    munmap(q, PAGE);
    munmap(p + PAGE, PAGE);
}

static void map_types_are_checked(void)
{
    CHECK_ERRNO(mmap(NULL, PAGE, RW, MAP_SHARED_VALIDATE | MAP_ANONYMOUS, -1, 0), EINVAL);
    CHECK_ERRNO(mmap(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0), EINVAL);
    int fd = open("map-file", O_RDWR | O_CREAT, 0600), ro = open("map-file", O_RDONLY);
    int wo = open("map-file", O_WRONLY);
    CHECK(fd >= 0 && ro >= 0 && wo >= 0);
    CHECK_ERRNO(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, wo, 0), EACCES);
    CHECK_ERRNO(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, ro, 0), EACCES);
    char *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ro, 0);
    CHECK(p != MAP_FAILED);
    CHECK_ERRNO(mprotect(p, PAGE, RW), EACCES);
    munmap(p, PAGE);
    p = mmap(NULL, PAGE, RW, MAP_PRIVATE, ro, 0);
    CHECK(p != MAP_FAILED);
    munmap(p, PAGE);
    CHECK_ERRNO(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 100), EINVAL);
    int dir = open(".", O_RDONLY);
    CHECK_ERRNO(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, dir, 0), ENODEV);
    close(dir);
    close(fd);
    close(ro);
    close(wo);
}

static void protection_is_told_apart_from_absence(void)
{
    char *p = pages(2);
    CHECK(mprotect(p, PAGE, PROT_NONE) == 0);
    CHECK(touch(p, 0) == SIGSEGV && caught_code == SEGV_ACCERR);
    munmap(p + PAGE, PAGE);
    CHECK(touch(p + PAGE, 0) == SIGSEGV && caught_code == SEGV_MAPERR);
    CHECK_ERRNO(mprotect(p, 2 * PAGE, RW), ENOMEM);
    CHECK(touch(p, 1) == 0); /* the part that is there was changed */
    CHECK_ERRNO(mprotect(p + 1, PAGE, RW), EINVAL);
    CHECK_ERRNO(mprotect(p, PAGE, 0x100), EINVAL);
    CHECK(mprotect(p, 0, RW) == 0);
    munmap(p, PAGE);
}

static void munmap_of_holes_succeeds(void)
{
    char *p = pages(5);
    munmap(p + PAGE, PAGE);
    CHECK(munmap(p, 4 * PAGE) == 0 && munmap(p, 4 * PAGE) == 0);
    CHECK(touch(p + 4 * PAGE, 1) == 0);
    CHECK_ERRNO(munmap(p, 0), EINVAL);
    CHECK_ERRNO(munmap(p + 5, PAGE), EINVAL);
    munmap(p + 4 * PAGE, PAGE);
}

static void shared_anonymous_memory_is_shared(void)
{
    char *p = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    pid_t pid = fork();
    if (pid == 0) {
        p[0] = 's';
        _exit(0);
    }
    CHECK(child_status(pid) == 0 && p[0] == 's');
    munmap(p, PAGE);
}

static void mremap_arguments_are_checked(void)
{
    char *p = pages(4);
    CHECK_ERRNO(mremap(p + 1, PAGE, PAGE, 0), EINVAL);
    CHECK_ERRNO(mremap(p, PAGE, 0, 0), EINVAL);
    CHECK_ERRNO(mremap(p, PAGE, PAGE, 64), EINVAL);
    CHECK_ERRNO(mremap(p, PAGE, PAGE, MREMAP_FIXED, p + 2 * PAGE), EINVAL);
    CHECK_ERRNO(mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_FIXED | MREMAP_MAYMOVE, p + PAGE), EINVAL);
    CHECK_ERRNO(mremap(p, PAGE, PAGE, MREMAP_FIXED | MREMAP_MAYMOVE, p + 100), EINVAL);
    CHECK_ERRNO(mremap(p, 2 * PAGE, PAGE, MREMAP_DONTUNMAP, 0), EINVAL);
    munmap(p, 4 * PAGE);
}

static void mremap_of_nothing_copies_a_shared_mapping(void)
{
    char *p = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char *q = mremap(p, 0, PAGE, MREMAP_MAYMOVE);
    CHECK(q != MAP_FAILED && q != p);
    p[5] = 'd';
    CHECK(q[5] == 'd');
    munmap(p, PAGE);
    munmap(q, PAGE);
    p = pages(1);
    CHECK_ERRNO(mremap(p, 0, PAGE, MREMAP_MAYMOVE), EINVAL);
    munmap(p, PAGE);
}

static void mremap_dontunmap_leaves_an_empty_mapping(void)
{
    char *p = pages(2);
    p[0] = 'a';
    p[PAGE] = 'b';
    char *q = mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    CHECK(q != MAP_FAILED && q != p && q[0] == 'a' && q[PAGE] == 'b');
    CHECK(touch(p, 0) == 0 && p[0] == 0 && p[PAGE] == 0);
    munmap(p, 2 * PAGE);
    munmap(q, 2 * PAGE);
}

static void mremap_over_several_mappings_fails(void)
{
    char *p = pages(2);
    CHECK(mprotect(p + PAGE, PAGE, PROT_READ) == 0);
    CHECK_ERRNO(mremap(p, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE), EFAULT);
    munmap(p, 2 * PAGE);
    CHECK_ERRNO(mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE), EFAULT);
}

static void advice_is_checked(void)
{
    char *p = pages(3);
    CHECK_ERRNO(madvise(p + 1, PAGE, MADV_DONTNEED), EINVAL);
    CHECK_ERRNO(madvise(p, PAGE, 1234), EINVAL);
    CHECK_ERRNO(madvise(p, (size_t)-1, MADV_DONTNEED), EINVAL);
    CHECK(madvise(p, 0, MADV_DONTNEED) == 0);
    munmap(p + PAGE, PAGE);
    p[0] = p[2 * PAGE] = 1;
    CHECK_ERRNO(madvise(p, 3 * PAGE, MADV_DONTNEED), ENOMEM);
    CHECK(p[0] == 0 && p[2 * PAGE] == 0); /* the rest was done */
    CHECK(madvise(p, PAGE, MADV_WILLNEED) == 0 && madvise(p, PAGE, MADV_RANDOM) == 0);
    munmap(p, PAGE);
    munmap(p + 2 * PAGE, PAGE);
}

static void dontneed_rereads_files(void)
{
    int fd = open("advice-file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && write(fd, "hello", 5) == 5);
    char *p = mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, 0);
    CHECK(p != MAP_FAILED);
    p[0] = 'J';
    CHECK(madvise(p, PAGE, MADV_DONTNEED) == 0 && p[0] == 'h');
    CHECK_ERRNO(madvise(p, PAGE, MADV_FREE), EINVAL);
    munmap(p, PAGE);
    close(fd);
}

static void dontneed_of_locked_memory_fails(void)
{
    char *p = pages(1);
    p[0] = 3;
    CHECK(mlock(p, PAGE) == 0);
    CHECK_ERRNO(madvise(p, PAGE, MADV_DONTNEED), EINVAL);
    CHECK(p[0] == 3 && munlock(p, PAGE) == 0 && madvise(p, PAGE, MADV_DONTNEED) == 0 && p[0] == 0);
    munmap(p, PAGE);
}

static void removed_pages_read_zero(void)
{
    char *p = mmap(NULL, 2 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    p[0] = p[PAGE] = 1;
    CHECK(madvise(p, PAGE, MADV_REMOVE) == 0 && p[0] == 0 && p[PAGE] == 1);
    munmap(p, 2 * PAGE);
    p = pages(1);
    CHECK_ERRNO(madvise(p, PAGE, MADV_REMOVE), EINVAL);
    munmap(p, PAGE);
}

static void lock_limits(void)
{
    struct rlimit l = {2 * PAGE, 2 * PAGE};
    CHECK(setrlimit(RLIMIT_MEMLOCK, &l) == 0);
    CHECK(setresuid(4000, 4000, 4000) == 0);
    char *p = pages(4);
    CHECK(mlock(p, PAGE) == 0 && mlock(p, PAGE) == 0); /* the same page counts once */
    CHECK(mlock(p + PAGE, PAGE) == 0);
    CHECK_ERRNO(mlock(p + 2 * PAGE, PAGE), ENOMEM);
    CHECK(munlock(p, PAGE) == 0 && mlock(p + 2 * PAGE, PAGE) == 0);
    CHECK_ERRNO(mmap(NULL, PAGE, RW, ANON | MAP_LOCKED, -1, 0), EAGAIN);
    CHECK_ERRNO(mlockall(MCL_CURRENT), ENOMEM);
    CHECK(munlockall() == 0);
    l.rlim_cur = 0;
    CHECK(setrlimit(RLIMIT_MEMLOCK, &l) == 0);
    CHECK_ERRNO(mlock(p, PAGE), EPERM);
    CHECK_ERRNO(mlockall(MCL_CURRENT), EPERM);
    CHECK_ERRNO(mmap(NULL, PAGE, RW, ANON | MAP_LOCKED, -1, 0), EPERM);
}

static void locked_memory_has_a_limit(void)
{
    CHECK(in_child(lock_limits) == 0);
}

static void locks_are_checked(void)
{
    char *p = pages(2);
    munmap(p + PAGE, PAGE);
    CHECK_ERRNO(mlock(p, 2 * PAGE), ENOMEM);
    CHECK_ERRNO(munlock(p + PAGE, PAGE), ENOMEM);
    CHECK_ERRNO(mlockall(0), EINVAL);
    CHECK_ERRNO(mlockall(MCL_ONFAULT), EINVAL);
    CHECK_ERRNO(mlockall(0x80), EINVAL);
    CHECK_ERRNO(syscall(SYS_mlock2, p, PAGE, 2), EINVAL);
    CHECK(syscall(SYS_mlock2, p, PAGE, 1) == 0);
    munmap(p, PAGE);
}

static void msync_is_checked(void)
{
    char *p = pages(2);
    CHECK_ERRNO(msync(p + 1, PAGE, MS_SYNC), EINVAL);
    CHECK_ERRNO(msync(p, PAGE, MS_SYNC | MS_ASYNC), EINVAL);
    CHECK_ERRNO(msync(p, PAGE, 0x100), EINVAL);
    munmap(p + PAGE, PAGE);
    CHECK_ERRNO(msync(p, 2 * PAGE, MS_SYNC), ENOMEM);
    CHECK(mlock(p, PAGE) == 0);
    CHECK_ERRNO(msync(p, PAGE, MS_INVALIDATE), EBUSY);
    munmap(p, PAGE);
}

static void data_limit(void)
{
    struct rlimit l = {8 << 20, 8 << 20};
    CHECK(setrlimit(RLIMIT_DATA, &l) == 0);
    CHECK_ERRNO(mmap(NULL, 16 << 20, RW, ANON, -1, 0), ENOMEM);
    CHECK(mmap(NULL, 16 << 20, PROT_READ, ANON, -1, 0) != MAP_FAILED);
    CHECK(mmap(NULL, 16 << 20, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
    CHECK(sbrk(16 << 20) == (void *)-1 && errno == ENOMEM);
}

static void data_has_a_limit(void)
{
    CHECK(in_child(data_limit) == 0);
}

static void as_limit(void)
{
    char *p = pages(1);
    struct rlimit l = {64 << 20, 64 << 20};
    CHECK(setrlimit(RLIMIT_AS, &l) == 0);
    CHECK_ERRNO(mmap(NULL, 64 << 20, PROT_NONE, ANON, -1, 0), ENOMEM);
    CHECK_ERRNO(mremap(p, PAGE, 64 << 20, MREMAP_MAYMOVE), ENOMEM);
    CHECK(sbrk(64 << 20) == (void *)-1 && errno == ENOMEM);
}

static void address_space_has_a_limit(void)
{
    CHECK(in_child(as_limit) == 0);
}

static void memory_of_others_is_read_and_written(void)
{
    char *p = pages(2), got[16] = "";
    strcpy(p, "parent");
    pid_t pid = fork();
    if (pid == 0) {
        strcpy(p, "child!");
        raise(SIGSTOP);
        _exit(strcmp(p, "edited") != 0);
    }
    CHECK(waitpid(pid, NULL, WUNTRACED) == pid);
    struct iovec mine[2] = {{got, 3}, {got + 3, 4}}, its = {p, 7}, hole = {(void *)8, 7};
    CHECK(process_vm_readv(pid, mine, 2, &its, 1, 0) == 7 && !strcmp(got, "child!"));
    CHECK(!strcmp(p, "parent"));
    strcpy(got, "edited");
    CHECK(process_vm_writev(pid, mine, 2, &its, 1, 0) == 7);
    CHECK_ERRNO(process_vm_readv(pid, mine, 2, &hole, 1, 0), EFAULT);
    struct iovec both[2] = {{p, 3}, {(void *)8, 7}};
    CHECK(process_vm_readv(pid, mine, 2, both, 2, 0) == 3); /* as far as it goes */
    CHECK(process_vm_readv(pid, mine, 0, &its, 1, 0) == 0);
    CHECK_ERRNO(process_vm_readv(pid, mine, 2, &its, 1, 1), EINVAL);
    CHECK_ERRNO(process_vm_readv(pid, mine, 2000, &its, 1, 0), EINVAL);
    CHECK_ERRNO(process_vm_readv(99999, mine, 2, &its, 1, 0), ESRCH);
    CHECK_ERRNO(process_vm_readv(pid, (struct iovec *)8, 2, &its, 1, 0), EFAULT);
    kill(pid, SIGCONT);
    CHECK(child_status(pid) == 0);
    munmap(p, 2 * PAGE);
}

static void read_only_memory_of_others_stays(void)
{
    char *p = pages(1), byte = 'x';
    CHECK(mprotect(p, PAGE, PROT_READ) == 0);
    pid_t pid = idle_child();
    struct iovec mine = {&byte, 1}, its = {p, 1};
    CHECK_ERRNO(process_vm_writev(pid, &mine, 1, &its, 1, 0), EFAULT);
    CHECK(process_vm_readv(pid, &mine, 1, &its, 1, 0) == 1 && byte == 0);
    end_child(pid);
    munmap(p, PAGE);
}

static void mincore_is_checked(void)
{
    unsigned char v[4];
    char *p = pages(1);
    CHECK_ERRNO(mincore(p + 1, PAGE, v), EINVAL);
    CHECK_ERRNO(mincore(p, PAGE, (void *)8), EFAULT);
    munmap(p, PAGE);
    CHECK_ERRNO(mincore(p, PAGE, v), ENOMEM);
}

int main(void)
{
    own_directory();
    CASE(fixed_noreplace_keeps_what_is_there);
    CASE(hints_are_followed_where_free);
    CASE(map_types_are_checked);
    CASE(protection_is_told_apart_from_absence);
    CASE(munmap_of_holes_succeeds);
    CASE(shared_anonymous_memory_is_shared);
    CASE(mremap_arguments_are_checked);
    CASE(mremap_of_nothing_copies_a_shared_mapping);
    CASE(mremap_dontunmap_leaves_an_empty_mapping);
    CASE(mremap_over_several_mappings_fails);
    CASE(advice_is_checked);
    CASE(dontneed_rereads_files);
    CASE(dontneed_of_locked_memory_fails);
    CASE(removed_pages_read_zero);
    CASE(locked_memory_has_a_limit);
    CASE(locks_are_checked);
    CASE(msync_is_checked);
    CASE(data_has_a_limit);
    CASE(address_space_has_a_limit);
    CASE(memory_of_others_is_read_and_written);
    CASE(read_only_memory_of_others_stays);
    CASE(mincore_is_checked);
    return check_result();
}
