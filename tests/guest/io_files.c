/* Files and descriptors: open flags, positions, directories, attributes, locks, hostile arguments.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static void lowest_descriptor_is_taken(void)
{
    int a = open("/dev/null", O_RDONLY), b = open("/dev/null", O_RDONLY);
    CHECK(a >= 0 && b == a + 1);
    CHECK(close(a) == 0);
    CHECK(dup(b) == a);
    CHECK(fcntl(b, F_DUPFD, 40) == 40);
    CHECK(fcntl(b, F_DUPFD_CLOEXEC, 40) == 41);
    CHECK(fcntl(41, F_GETFD) == FD_CLOEXEC && fcntl(40, F_GETFD) == 0);
    CHECK(dup2(b, 300) == 300 && dup2(300, 300) == 300);
    CHECK_ERRNO(dup3(300, 300, 0), EINVAL);
    CHECK_ERRNO(dup2(b, 1 << 30), EBADF);
    CHECK_ERRNO(dup2(299, 300), EBADF);
    CHECK_ERRNO(close(-1), EBADF);
    CHECK(close(300) == 0);
    CHECK_ERRNO(close(300), EBADF);
    CHECK(syscall(SYS_close_range, a, 500, 0) == 0);
    CHECK_ERRNO(fcntl(40, F_GETFD), EBADF);
}

static void limit_of_descriptors_holds(void)
{
    struct rlimit old, few;
    int fds[64], n = 0;
    CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
    few = old;
    few.rlim_cur = 20;
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    while (n < 64 && (fds[n] = open("/dev/null", O_RDONLY)) >= 0)
        n++;
    int err = errno;
    CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
    CHECK(n < 20 && err == EMFILE);
    while (n)
        close(fds[--n]);
}

static long files_in_the_system(void)
{
    long n = -1;
    FILE *f = fopen("/proc/sys/fs/file-nr", "r");
    if (f) {
        if (fscanf(f, "%ld", &n) != 1)
            n = -1;
        fclose(f);
    }
    return n;
}

static void closed_files_give_their_memory_back(void)
{
    enum { MANY = 15000 };
    struct rlimit old, many;
    CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
    many = old;
    many.rlim_cur = old.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &many) == 0 && many.rlim_cur > MANY);
    int first = open("/dev/null", O_RDONLY), last = first;
    while (last - first < MANY && last >= 0)
        last = open("/dev/null", O_RDONLY);
    CHECK(last - first == MANY);
    CHECK(files_in_the_system() > MANY);
    CHECK(syscall(SYS_close_range, first, last, 0) == 0);
    for (int i = 0; i < 500 && files_in_the_system() > MANY / 2; i++)
        usleep(10000); /* it takes a moment, on Linux too */
    CHECK(files_in_the_system() < MANY / 2);
    CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
}

static void open_flags_mean_what_they_say(void)
{
    char buf[16];
    unlink("io_a");
    CHECK_ERRNO(open("io_a", O_RDONLY), ENOENT);
    int fd = open("io_a", O_CREAT | O_EXCL | O_WRONLY, 0640);
    CHECK(fd >= 0);
    CHECK_ERRNO(open("io_a", O_CREAT | O_EXCL | O_WRONLY, 0640), EEXIST);
    CHECK(write(fd, "hello", 5) == 5);
    CHECK_ERRNO(read(fd, buf, 5), EBADF);
    int ap = open("io_a", O_WRONLY | O_APPEND);
    CHECK(write(ap, " world", 6) == 6);
    CHECK(lseek(fd, 0, SEEK_END) == 11);
    int rd = open("io_a", O_RDONLY);
    CHECK(read(rd, buf, sizeof(buf)) == 11 && !memcmp(buf, "hello world", 11));
    CHECK_ERRNO(write(rd, "x", 1), EBADF);
    CHECK(read(rd, buf, 1) == 0);
    CHECK((fcntl(ap, F_GETFL) & (O_ACCMODE | O_APPEND)) == (O_WRONLY | O_APPEND));
    CHECK(fcntl(rd, F_SETFL, O_NONBLOCK) == 0 && fcntl(rd, F_GETFL) & O_NONBLOCK);
    int tr = open("io_a", O_RDWR | O_TRUNC);
    CHECK(lseek(tr, 0, SEEK_END) == 0);
    CHECK_ERRNO(open("io_a", O_RDONLY | O_DIRECTORY), ENOTDIR);
    CHECK_ERRNO(open("/tmp", O_WRONLY), EISDIR);
    CHECK_ERRNO(open("", O_RDONLY), ENOENT);
    int pa = open("io_a", O_PATH);
    CHECK(pa >= 0);
    CHECK_ERRNO(read(pa, buf, 1), EBADF);
    struct stat st;
    CHECK(fstat(pa, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0777) == 0640);
    int fds[] = {fd, ap, rd, tr, pa};
    for (int i = 0; i < 5; i++)
        close(fds[i]);
}

static void positions_are_shared_and_separate(void)
{
    char buf[8] = {0};
    int fd = open("io_p", O_CREAT | O_TRUNC | O_RDWR, 0600), d = dup(fd);
    CHECK(pwrite(fd, "0123456789", 10, 5) == 10);
    CHECK(lseek(fd, 0, SEEK_CUR) == 0);
    CHECK(lseek(d, 7, SEEK_SET) == 7 && read(fd, buf, 2) == 2 && !memcmp(buf, "23", 2));
    CHECK(lseek(d, 0, SEEK_CUR) == 9);
    CHECK(pread(fd, buf, 3, 0) == 3 && !memcmp(buf, "\0\0\0", 3));
    CHECK_ERRNO(lseek(fd, -1, SEEK_SET), EINVAL);
    CHECK_ERRNO(lseek(fd, 0, 77), EINVAL);
    CHECK_ERRNO(pread(fd, buf, 1, -1), EINVAL);
    struct iovec v[3] = {{"ab", 2}, {NULL, 0}, {"cd", 2}};
    CHECK(pwritev(fd, v, 3, 0) == 4);
    char x[3], y[1];
    struct iovec r[2] = {{x, 3}, {y, 1}};
    CHECK(preadv(fd, r, 2, 0) == 4 && !memcmp(x, "abc", 3) && y[0] == 'd');
    int p[2];
    CHECK(pipe(p) == 0);
    CHECK_ERRNO(lseek(p[0], 0, SEEK_SET), ESPIPE);
    CHECK_ERRNO(pread(p[0], buf, 1, 0), ESPIPE);
    close(p[0]), close(p[1]), close(fd), close(d);
}

/* The compiler must not know how bad they are. */
static void *volatile bad = (void *)16;
static volatile int minus_one = -1;

static void hostile_arguments_are_refused(void)
{
    int fd = open("io_h", O_CREAT | O_TRUNC | O_RDWR, 0600);
    struct iovec v = {bad, 10};
    static struct iovec many[IOV_MAX + 1];
    static char longname[PATH_MAX + 10], longpart[300];
    CHECK_ERRNO(write(fd, bad, 10), EFAULT);
    bad = (void *)0xffff800000000000ul;
    CHECK_ERRNO(write(fd, bad, 10), EFAULT);
    bad = (void *)16;
    CHECK_ERRNO(writev(fd, &v, 1), EFAULT);
    CHECK_ERRNO(writev(fd, many, IOV_MAX - minus_one), EINVAL);
    CHECK_ERRNO(writev(fd, &v, minus_one), EINVAL);
    v = (struct iovec){longname, (size_t)-5};
    CHECK_ERRNO(writev(fd, &v, 1), EINVAL);
    CHECK(write(fd, "x", 1) == 1 && lseek(fd, 0, SEEK_SET) == 0);
    CHECK_ERRNO(read(fd, bad, 10), EFAULT);
    CHECK_ERRNO(open(bad, O_RDONLY), EFAULT);
    memset(longname, '/', sizeof(longname) - 1);
    CHECK_ERRNO(open(longname, O_RDONLY), ENAMETOOLONG);
    memset(longpart, 'a', sizeof(longpart) - 1);
    CHECK_ERRNO(open(longpart, O_RDONLY), ENAMETOOLONG);
    CHECK_ERRNO(fstat(fd, bad), EFAULT);
    CHECK_ERRNO(ioctl(fd, 0x12345678, 0), ENOTTY);
    CHECK_ERRNO(fcntl(fd, 9999), EINVAL);
    CHECK_ERRNO(pipe(bad), EFAULT);
    CHECK_ERRNO(ftruncate(fd, -1), EINVAL);
    CHECK_ERRNO(syscall(SYS_getdents64, fd, longname, 100), ENOTDIR);
    close(fd);
}

static void directories_list_and_change(void)
{
    mkdir("io_d", 0755);
    CHECK_ERRNO(mkdir("io_d", 0755), EEXIST);
    for (int i = 0; i < 200; i++) {
        char name[64];
        snprintf(name, sizeof(name), "io_d/file-%d", i);
        int fd = open(name, O_CREAT | O_WRONLY, 0600);
        CHECK(fd >= 0 && close(fd) == 0);
    }
    int seen = 0, dots = 0;
    DIR *d = opendir("io_d");
    for (struct dirent *e; (e = readdir(d));) {
        seen += !strncmp(e->d_name, "file-", 5) && e->d_type == DT_REG;
        dots += e->d_name[0] == '.' && e->d_type == DT_DIR;
    }
    CHECK(seen == 200 && dots == 2);
    rewinddir(d);
    CHECK(readdir(d) != NULL);
    char small[16];
    CHECK(lseek(dirfd(d), 0, SEEK_SET) == 0);
    CHECK_ERRNO(syscall(SYS_getdents64, dirfd(d), small, sizeof(small)), EINVAL);
    closedir(d);
    CHECK_ERRNO(rmdir("io_d"), ENOTEMPTY);
    CHECK_ERRNO(unlink("io_d"), EISDIR);
    char cwd[PATH_MAX];
    CHECK(chdir("io_d") == 0 && getcwd(cwd, sizeof(cwd)) && strlen(cwd) > 5 &&
          !strcmp(cwd + strlen(cwd) - 5, "/io_d"));
    CHECK_ERRNO(syscall(SYS_getcwd, cwd, 3), ERANGE);
    CHECK(rename("file-0", "../io_moved") == 0 && access("../io_moved", R_OK) == 0);
    CHECK(symlink("file-1", "link") == 0);
    CHECK(readlink("link", cwd, sizeof(cwd)) == 6 && !memcmp(cwd, "file-1", 6));
    CHECK_ERRNO(readlink("file-1", cwd, sizeof(cwd)), EINVAL);
    CHECK(link("file-1", "hard") == 0);
    struct stat st;
    CHECK(stat("link", &st) == 0 && st.st_nlink == 2);
    CHECK(lstat("link", &st) == 0 && S_ISLNK(st.st_mode));
    int fd = open(".", O_RDONLY | O_DIRECTORY);
    CHECK(fstatat(fd, "hard", &st, 0) == 0 && unlinkat(fd, "hard", 0) == 0);
    CHECK_ERRNO(openat(fd, "hard", O_RDONLY), ENOENT);
    CHECK_ERRNO(openat(99, "hard", O_RDONLY), EBADF);
    CHECK(fchdir(fd) == 0 && chdir("..") == 0);
    close(fd);
    unlink("io_moved"), unlink("io_d/link");
    for (int i = 1; i < 200; i++) {
        char name[64];
        snprintf(name, sizeof(name), "io_d/file-%d", i);
        CHECK(unlink(name) == 0);
    }
    CHECK(rmdir("io_d") == 0);
}

static void attributes_change(void)
{
    struct stat st;
    struct statx sx;
    int fd = open("io_t", O_CREAT | O_TRUNC | O_RDWR, 0600);
    CHECK(fchmod(fd, 04751) == 0 && fstat(fd, &st) == 0 && (st.st_mode & 07777) == 04751);
    CHECK(ftruncate(fd, 10000) == 0 && fstat(fd, &st) == 0 && st.st_size == 10000);
    struct timespec t[2] = {{1000, 5}, {2000, 6}};
    CHECK(futimens(fd, t) == 0 && fstat(fd, &st) == 0);
    CHECK(st.st_atim.tv_sec == 1000 && st.st_mtim.tv_sec == 2000 && st.st_mtim.tv_nsec == 6);
    t[0].tv_nsec = UTIME_OMIT, t[1].tv_nsec = 2000000000;
    CHECK_ERRNO(futimens(fd, t), EINVAL);
    CHECK(statx(AT_FDCWD, "io_t", 0, STATX_ALL, &sx) == 0 && sx.stx_size == 10000);
    CHECK_ERRNO(statx(AT_FDCWD, "io_t", 0x40000, STATX_ALL, &sx), EINVAL);
    CHECK(fallocate(fd, 0, 0, 20000) == 0 && fstat(fd, &st) == 0 && st.st_size == 20000);
    CHECK_ERRNO(fallocate(fd, 0, -1, 5), EINVAL);
    struct statfs fs;
    CHECK(fstatfs(fd, &fs) == 0 && fs.f_bsize > 0 && fs.f_namelen == 255);
    umask(027);
    int u = open("io_u", O_CREAT | O_EXCL | O_RDWR, 0666);
    CHECK(fstat(u, &st) == 0 && (st.st_mode & 0777) == 0640);
    umask(022);
    close(fd), close(u), unlink("io_t"), unlink("io_u");
}

static void locks_exclude_other_processes(void)
{
    int fd = open("io_l", O_CREAT | O_RDWR, 0600), status;
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10};
    CHECK(fcntl(fd, F_SETLK, &l) == 0);
    CHECK(flock(fd, LOCK_EX) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct flock m = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 15, .l_len = 1};
        int bad = fcntl(fd, F_SETLK, &m) != -1 || (errno != EAGAIN && errno != EACCES);
        bad |= fcntl(fd, F_GETLK, &m) != 0 || m.l_type != F_WRLCK || m.l_start != 10 ||
               m.l_len != 10 || m.l_pid != getppid();
        int other = open("io_l", O_RDWR);
        bad |= (flock(other, LOCK_SH | LOCK_NB) != -1 || errno != EWOULDBLOCK) << 1;
        m = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 20, .l_len = 0};
        bad |= (fcntl(fd, F_SETLK, &m) != 0) << 2;
        _exit(bad);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    l.l_type = F_UNLCK;
    CHECK(fcntl(fd, F_SETLK, &l) == 0 && flock(fd, LOCK_UN) == 0);
    close(fd), unlink("io_l");
}

static void sendfile_copies_between_files(void)
{
    char buf[300000], back[300000];
    for (size_t i = 0; i < sizeof(buf); i++)
        buf[i] = (char)(i * 7 + i / 4096);
    int in = open("io_s", O_CREAT | O_TRUNC | O_RDWR, 0600);
    int out = open("io_s2", O_CREAT | O_TRUNC | O_RDWR, 0600);
    CHECK(write(in, buf, sizeof(buf)) == (ssize_t)sizeof(buf));
    off_t off = 100;
    ssize_t done = 0, n;
    while ((n = sendfile(out, in, &off, sizeof(buf))) > 0)
        done += n;
    CHECK(n == 0 && done == (ssize_t)sizeof(buf) - 100 && off == (off_t)sizeof(buf));
    CHECK(pread(out, back, sizeof(back), 0) == done && !memcmp(back, buf + 100, (size_t)done));
    off_t a = 0, b = 0;
    CHECK(ftruncate(out, 0) == 0);
    done = 0;
    while ((n = copy_file_range(in, &a, out, &b, sizeof(buf), 0)) > 0)
        done += n;
    CHECK(done == (ssize_t)sizeof(buf));
    CHECK(pread(out, back, sizeof(back), 0) == done && !memcmp(back, buf, (size_t)done));
    CHECK_ERRNO(sendfile(99, in, NULL, 1), EBADF);
    close(in), close(out), unlink("io_s"), unlink("io_s2");
}

static void memfd_is_a_file(void)
{
    int fd = (int)syscall(SYS_memfd_create, "test", 1);
    CHECK(fd >= 0 && ftruncate(fd, 8192) == 0);
    char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), c;
    CHECK(p != MAP_FAILED);
    p[5000] = 'x';
    CHECK(pread(fd, &c, 1, 5000) == 1 && c == 'x');
    struct stat st;
    CHECK(fstat(fd, &st) == 0 && st.st_size == 8192 && st.st_nlink == 0);
    munmap(p, 8192), close(fd);
}

int main(void)
{
    own_directory();
    CASE(lowest_descriptor_is_taken);
    CASE(limit_of_descriptors_holds);
    CASE(closed_files_give_their_memory_back);
    CASE(open_flags_mean_what_they_say);
    CASE(positions_are_shared_and_separate);
    CASE(hostile_arguments_are_refused);
    CASE(directories_list_and_change);
    CASE(attributes_change);
    CASE(locks_exclude_other_processes);
    CASE(sendfile_copies_between_files);
    CASE(memfd_is_a_file);
    return check_result();
}
