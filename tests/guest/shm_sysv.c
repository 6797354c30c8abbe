/* Shared memory: System V segments, and POSIX objects in /dev/shm. */
#define _GNU_SOURCE
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"

#define PAGE 4096ul
#define NOWHERE ((void *)-1)

static int id;
static char *at;

static void segments_share_memory(void)
{
    id = shmget(IPC_PRIVATE, 2 * PAGE, 0600);
    CHECK(id >= 0);
    at = shmat(id, NULL, 0);
    char *again = shmat(id, NULL, 0);
    CHECK(at != NOWHERE && again != NOWHERE && at != again && at[0] == 0);
    at[PAGE] = 'x';
    CHECK(again[PAGE] == 'x');
    pid_t pid = fork();
    if (pid == 0) {
        at[1] = 'y';
        _exit(0);
    }
    CHECK(child_status(pid) == 0 && again[1] == 'y');
    CHECK(shmdt(at) == 0 && shmdt(again) == 0);
    CHECK_ERRNO(shmdt(at), EINVAL);
    at = shmat(id, NULL, 0);
    CHECK(at != NOWHERE && at[PAGE] == 'x' && shmdt(at) == 0); /* it stays without attachments */
    CHECK(shmctl(id, IPC_RMID, NULL) == 0);
    CHECK_ERRNO(shmat(id, NULL, 0), EINVAL);
}

static void keys_find_segments(void)
{
    key_t key = 0x4c690001 + getpid();
    CHECK_ERRNO(shmget(key, PAGE, 0600), ENOENT);
    id = shmget(key, PAGE, IPC_CREAT | 0600);
    CHECK(id >= 0 && shmget(key, PAGE, 0600) == id && shmget(key, 0, 0600) == id);
    CHECK_ERRNO(shmget(key, PAGE, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
    CHECK_ERRNO(shmget(key, 2 * PAGE, 0600), EINVAL);
    CHECK(shmctl(id, IPC_RMID, NULL) == 0);
    CHECK_ERRNO(shmget(key, PAGE, 0600), ENOENT);
    CHECK_ERRNO(shmget(key, 0, IPC_CREAT | 0600), EINVAL);
}

static void a_removed_segment_lives_while_attached(void)
{
    struct shmid_ds ds;
    id = shmget(IPC_PRIVATE, PAGE, 0600);
    at = shmat(id, NULL, 0);
    CHECK(at != NOWHERE && shmctl(id, IPC_RMID, NULL) == 0);
    at[0] = 1;
    CHECK(shmctl(id, IPC_STAT, &ds) == 0 && (ds.shm_perm.mode & SHM_DEST) && ds.shm_nattch == 1);
    char *more = shmat(id, NULL, 0);
    CHECK(more != NOWHERE && more[0] == 1 && shmdt(more) == 0);
    CHECK(shmdt(at) == 0);
    CHECK_ERRNO(shmctl(id, IPC_STAT, &ds), EINVAL);
}

static void attachments_are_counted(void)
{
    struct shmid_ds ds;
    id = shmget(IPC_PRIVATE, 100, 0640);
    at = shmat(id, NULL, 0);
    CHECK(at != NOWHERE && shmctl(id, IPC_STAT, &ds) == 0);
    CHECK(ds.shm_nattch == 1 && ds.shm_segsz == 100 && (ds.shm_perm.mode & 0777) == 0640);
    CHECK(ds.shm_cpid == getpid() && ds.shm_lpid == getpid() && ds.shm_atime && ds.shm_ctime);
    pid_t pid = idle_child();
    CHECK(shmctl(id, IPC_STAT, &ds) == 0 && ds.shm_nattch == 2);
    end_child(pid);
    CHECK(shmctl(id, IPC_STAT, &ds) == 0 && ds.shm_nattch == 1);
    CHECK(shmdt(at) == 0 && shmctl(id, IPC_STAT, &ds) == 0 && ds.shm_nattch == 0);
    CHECK(shmctl(id, IPC_RMID, NULL) == 0);
}

static void a_childs_end_removes_what_it_had(void)
{
    struct shmid_ds ds;
    id = shmget(IPC_PRIVATE, PAGE, 0600);
    pid_t pid = fork();
    if (pid == 0) {
        shmat(id, NULL, 0);
        _exit(shmctl(id, IPC_RMID, NULL) != 0);
    }
    CHECK(child_status(pid) == 0);
    CHECK_ERRNO(shmctl(id, IPC_STAT, &ds), EINVAL);
}

static void places_are_checked(void)
{
    id = shmget(IPC_PRIVATE, PAGE, 0600);
    char *p = mmap(NULL, 4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_ERRNO(shmat(id, p, 0), EINVAL); /* something is there */
    CHECK_ERRNO(shmat(id, p + 5, 0), EINVAL);
    CHECK_ERRNO(shmat(id, NULL, SHM_REMAP), EINVAL);
    CHECK(shmat(id, p + PAGE, SHM_REMAP) == p + PAGE && shmdt(p + PAGE) == 0);
    CHECK(munmap(p, 4 * PAGE) == 0);
    CHECK(shmat(id, p + 5, SHM_RND) == p && shmdt(p) == 0);
    CHECK_ERRNO(shmdt(p + 1), EINVAL);
    CHECK_ERRNO(shmat(99999999, NULL, 0), EINVAL);
    CHECK(shmctl(id, IPC_RMID, NULL) == 0);
}

static void write_read_only(void)
{
    at[0] = 1;
}

static void read_only_attachments(void)
{
    id = shmget(IPC_PRIVATE, PAGE, 0600);
    at = shmat(id, NULL, SHM_RDONLY);
    CHECK(at != NOWHERE && at[0] == 0);
    CHECK_ERRNO(mprotect(at, PAGE, PROT_READ | PROT_WRITE), EACCES);
    int status = in_child(write_read_only);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    CHECK(shmdt(at) == 0 && shmctl(id, IPC_RMID, NULL) == 0);
}

static void stranger(void)
{
    struct shmid_ds ds;
    CHECK(setresgid(7000, 7000, 7000) == 0 && setresuid(7000, 7000, 7000) == 0);
    at = shmat(id, NULL, SHM_RDONLY); /* 0604 */
    CHECK(at != NOWHERE);
    CHECK_ERRNO(shmat(id, NULL, 0), EACCES);
    CHECK_ERRNO(shmctl(id, IPC_RMID, NULL), EPERM);
    CHECK(shmctl(id, IPC_STAT, &ds) == 0);
    CHECK_ERRNO(shmctl(id, IPC_SET, &ds), EPERM);
}

static void modes_keep_strangers_out(void)
{
    struct shmid_ds ds;
    id = shmget(IPC_PRIVATE, PAGE, 0604);
    CHECK(in_child(stranger) == 0);
    CHECK(shmctl(id, IPC_STAT, &ds) == 0);
    ds.shm_perm.uid = 7000;
    ds.shm_perm.mode = 0600;
    CHECK(shmctl(id, IPC_SET, &ds) == 0 && shmctl(id, IPC_STAT, &ds) == 0);
    CHECK(ds.shm_perm.uid == 7000 && ds.shm_perm.cuid == 0 && (ds.shm_perm.mode & 0777) == 0600);
    CHECK_ERRNO(syscall(SYS_shmctl, id, IPC_STAT, 8), EFAULT);
    CHECK_ERRNO(shmctl(id, 99, NULL), EINVAL);
    CHECK(shmctl(id, IPC_RMID, NULL) == 0);
}

static void detaching_leaves_what_replaced_it(void)
{
    id = shmget(IPC_PRIVATE, 3 * PAGE, 0600);
    at = shmat(id, NULL, 0);
    CHECK(at != NOWHERE);
    char *p = mmap(at + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                   -1, 0);
    CHECK(p == at + PAGE && shmdt(at) == 0);
    *p = 1;
    CHECK_ERRNO(msync(at, PAGE, MS_ASYNC), ENOMEM);
    CHECK_ERRNO(msync(at + 2 * PAGE, PAGE, MS_ASYNC), ENOMEM);
    munmap(p, PAGE);
    CHECK(shmctl(id, IPC_RMID, NULL) == 0);
}

static void posix_objects_have_names(void)
{
    char name[32];
    snprintf(name, sizeof(name), "/test-%d", getpid());
    CHECK_ERRNO(shm_open(name, O_RDWR, 0), ENOENT);
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    CHECK(fd >= 0 && ftruncate(fd, PAGE) == 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC));
    CHECK_ERRNO(shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
    char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(p != MAP_FAILED);
    pid_t pid = fork();
    if (pid == 0) {
        int mine = shm_open(name, O_RDWR, 0);
        char *q = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, mine, 0);
        q[7] = 'q';
        _exit(0);
    }
    CHECK(child_status(pid) == 0 && p[7] == 'q');
    CHECK(shm_unlink(name) == 0 && p[7] == 'q');
    CHECK_ERRNO(shm_unlink(name), ENOENT);
    munmap(p, PAGE);
    close(fd);
}

int main(void)
{
    CASE(segments_share_memory);
    CASE(keys_find_segments);
    CASE(a_removed_segment_lives_while_attached);
    CASE(attachments_are_counted);
    CASE(a_childs_end_removes_what_it_had);
    CASE(places_are_checked);
    CASE(read_only_attachments);
    CASE(modes_keep_strangers_out);
    CASE(detaching_leaves_what_replaced_it);
    CASE(posix_objects_have_names);
    return check_result();
}
