/* What is in files: positions, holes, fallocate, vectors with flags, copies, attributes, sizes. */
#define _GNU_SOURCE
#include <linux/falloc.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "check.h"

#define PAGE 4096

static int fresh(const char *name)
{
    int fd = open(name, O_CREAT | O_TRUNC | O_RDWR, 0644);
    CHECK(fd >= 0);
    return fd;
}

static off_t size_of(int fd)
{
    struct stat st;
    CHECK(fstat(fd, &st) == 0);
    return st.st_size;
}

static bool all(const char *p, size_t n, char c)
{
    while (n--)
        if (*p++ != c)
            return false;
    return true;
}

/* n pages, each of one letter from 'a'. */
static void fill(int fd, int n)
{
    char page[PAGE];
    for (int i = 0; i < n; i++) {
        memset(page, 'a' + i, sizeof(page));
        CHECK(pwrite(fd, page, sizeof(page), (off_t)i * PAGE) == PAGE);
    }
}

/* --- positions -------------------------------------------------------------------------------- */

static void seeking_has_bounds(void)
{
    int fd = fresh("s");
    CHECK_ERRNO(lseek(fd, -1, SEEK_SET), EINVAL);
    CHECK_ERRNO(lseek(fd, -1, SEEK_END), EINVAL);
    CHECK_ERRNO(lseek(fd, 0, 99), EINVAL);
    CHECK(lseek(fd, 1 << 20, SEEK_SET) == 1 << 20 && size_of(fd) == 0);
    CHECK(write(fd, "x", 1) == 1 && size_of(fd) == (1 << 20) + 1);
    CHECK(lseek(fd, -1, SEEK_END) == 1 << 20);
    int p[2];
    CHECK(pipe(p) == 0);
    CHECK_ERRNO(lseek(p[0], 0, SEEK_CUR), ESPIPE);
    CHECK_ERRNO(pread(p[0], "", 1, 0), ESPIPE);
    close(p[0]);
    close(p[1]);
    close(fd);
}

static void what_was_skipped_reads_as_zeroes(void)
{
    char buf[2 * PAGE];
    int fd = fresh("z");
    CHECK(pwrite(fd, "end", 3, 3 * PAGE) == 3);
    CHECK(pread(fd, buf, sizeof(buf), PAGE / 2) == sizeof(buf) && all(buf, sizeof(buf), 0));
    CHECK(ftruncate(fd, 3 * PAGE + 1) == 0 && ftruncate(fd, 3 * PAGE + 3) == 0);
    CHECK(pread(fd, buf, 8, 3 * PAGE) == 3 && buf[0] == 'e' && !buf[1] && !buf[2]);
    close(fd);
}

static void holes_are_found(void)
{
    int fd = fresh("h");
    char page[PAGE] = "x";
    CHECK(pwrite(fd, page, PAGE, 64 * PAGE) == PAGE && ftruncate(fd, 128 * PAGE) == 0);
    CHECK(lseek(fd, 0, SEEK_DATA) == 64 * PAGE);
    CHECK(lseek(fd, 64 * PAGE + 5, SEEK_DATA) == 64 * PAGE + 5);
    CHECK(lseek(fd, 0, SEEK_HOLE) == 0);
    CHECK(lseek(fd, 64 * PAGE, SEEK_HOLE) == 65 * PAGE);
    CHECK_ERRNO(lseek(fd, 65 * PAGE, SEEK_DATA), ENXIO);
    CHECK_ERRNO(lseek(fd, 128 * PAGE, SEEK_HOLE), ENXIO);
    CHECK_ERRNO(lseek(fd, -1, SEEK_DATA), ENXIO);
    close(fd);
}

static void appending_ignores_the_position(void)
{
    int fd = fresh("a"), ap = open("a", O_WRONLY | O_APPEND);
    CHECK(write(fd, "0123456789", 10) == 10);
    CHECK(lseek(ap, 2, SEEK_SET) == 2 && write(ap, "ab", 2) == 2);
    CHECK(lseek(ap, 0, SEEK_CUR) == 12);
    CHECK(pwrite(ap, "cd", 2, 0) == 2 && size_of(fd) == 14); /* Linux: the position is ignored */
    CHECK(fcntl(ap, F_SETFL, 0) == 0 && pwrite(ap, "X", 1, 0) == 1 && size_of(fd) == 14);
    close(ap);
    close(fd);
}

static void appenders_do_not_overwrite_each_other(void)
{
    enum { WRITERS = 4, LINES = 200 };
    close(fresh("race"));
    for (int w = 0; w < WRITERS; w++) {
        if (fork() == 0) {
            char line[32];
            int fd = open("race", O_WRONLY | O_APPEND);
            memset(line, 'A' + w, sizeof(line));
            for (int i = 0; i < LINES; i++)
                if (write(fd, line, sizeof(line)) != sizeof(line))
                    _exit(1);
            _exit(0);
        }
    }
    int status, bad = 0, count[WRITERS] = {0};
    for (int w = 0; w < WRITERS; w++)
        bad |= wait(&status) < 0 || status;
    int fd = open("race", O_RDONLY);
    char line[32];
    while (read(fd, line, sizeof(line)) == sizeof(line)) {
        bad |= !all(line, sizeof(line), line[0]);
        count[(line[0] - 'A') & 3]++;
    }
    CHECK(!bad);
    for (int w = 0; w < WRITERS; w++)
        CHECK(count[w] == LINES);
    close(fd);
}

/* --- vectors with flags ----------------------------------------------------------------------- */

static void vectors_go_in_order(void)
{
    char a[3], b[5];
    struct iovec in[2] = {{"hello ", 6}, {"world", 5}}, out[3] = {{a, 3}, {NULL, 0}, {b, 5}};
    int fd = fresh("v");
    CHECK(writev(fd, in, 2) == 11 && preadv(fd, out, 3, 0) == 8);
    CHECK(!memcmp(a, "hel", 3) && !memcmp(b, "lo wo", 5));
    CHECK(pwritev(fd, in + 1, 1, 0) == 5 && lseek(fd, 0, SEEK_CUR) == 11);
    CHECK_ERRNO(preadv(fd, out, 3, -1), EINVAL);
    CHECK_ERRNO(syscall(SYS_readv, fd, out, -1), EINVAL);
    CHECK_ERRNO(syscall(SYS_readv, fd, out, 1025), EINVAL);
    CHECK(readv(fd, out, 0) == 0);
    in[0].iov_len = -1;
    CHECK_ERRNO(writev(fd, in, 2), EINVAL);
    close(fd);
}

static void preadv2_without_a_position(void)
{
    char buf[4];
    struct iovec v = {buf, 4};
    int fd = fresh("p2"), p[2];
    CHECK(write(fd, "abcdefgh", 8) == 8 && lseek(fd, 2, SEEK_SET) == 2);
    CHECK(preadv2(fd, &v, 1, -1, 0) == 4 && !memcmp(buf, "cdef", 4));
    CHECK(lseek(fd, 0, SEEK_CUR) == 6);
    CHECK(preadv2(fd, &v, 1, 0, RWF_HIPRI) == 4 && !memcmp(buf, "abcd", 4));
    CHECK_ERRNO(preadv2(fd, &v, 1, 0, 0x40000000), EOPNOTSUPP);
    CHECK_ERRNO(preadv2(fd, &v, 1, -2, 0), EINVAL);
    CHECK(pipe(p) == 0 && write(p[1], "pipe", 4) == 4);
    CHECK(preadv2(p[0], &v, 1, -1, 0) == 4 && !memcmp(buf, "pipe", 4));
    close(p[0]);
    close(p[1]);
    close(fd);
}

static void pwritev2_appends_once(void)
{
    struct iovec v = {"XY", 2};
    int fd = fresh("pa");
    CHECK(write(fd, "0123", 4) == 4 && lseek(fd, 1, SEEK_SET) == 1);
    CHECK(pwritev2(fd, &v, 1, 0, RWF_APPEND) == 2 && size_of(fd) == 6);
    CHECK(lseek(fd, 0, SEEK_CUR) == 1);
    CHECK(pwritev2(fd, &v, 1, -1, RWF_APPEND) == 2 && size_of(fd) == 8);
    CHECK(lseek(fd, 0, SEEK_CUR) == 8);
    CHECK(pwritev2(fd, &v, 1, 0, RWF_DSYNC) == 2 && pwritev2(fd, &v, 1, 0, RWF_SYNC) == 2);
    CHECK(size_of(fd) == 8 && (fcntl(fd, F_GETFL) & O_APPEND) == 0);
    CHECK_ERRNO(pwritev2(fd, &v, 1, 0, 0x40000000), EOPNOTSUPP);
    close(fd);
}

static void nowait_reads_what_is_there(void)
{
    char buf[4];
    struct iovec v = {buf, 4};
    int fd = fresh("nw");
    CHECK(write(fd, "data", 4) == 4);
    CHECK(preadv2(fd, &v, 1, 0, RWF_NOWAIT) == 4 && !memcmp(buf, "data", 4));
    CHECK(preadv2(fd, &v, 1, 4, RWF_NOWAIT) == 0);
    int p[2];
    CHECK(pipe(p) == 0);
    CHECK(preadv2(p[0], &v, 1, -1, RWF_NOWAIT) == -1 && (errno == EAGAIN || errno == EOPNOTSUPP));
    close(p[0]);
    close(p[1]);
    close(fd);
}

/* --- fallocate -------------------------------------------------------------------------------- */

static void fallocate_makes_room(void)
{
    struct stat st;
    int fd = fresh("fa");
    CHECK(fallocate(fd, 0, 0, 10 * PAGE) == 0 && fstat(fd, &st) == 0);
    CHECK(st.st_size == 10 * PAGE && st.st_blocks >= 10 * PAGE / 512);
    CHECK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 10 * PAGE, 5 * PAGE) == 0 && fstat(fd, &st) == 0);
    CHECK(st.st_size == 10 * PAGE && st.st_blocks >= 15 * PAGE / 512);
    CHECK(fallocate(fd, 0, 0, PAGE) == 0 && size_of(fd) == 10 * PAGE);
    close(fd);
}

static void fallocate_refuses_nonsense(void)
{
    int fd = fresh("fb"), p[2];
    CHECK_ERRNO(fallocate(fd, 0, -1, 5), EINVAL);
    CHECK_ERRNO(fallocate(fd, 0, 0, 0), EINVAL);
    CHECK_ERRNO(fallocate(fd, 0, 0, -1), EINVAL);
    CHECK_ERRNO(fallocate(fd, 0, INT64_MAX, 1), EFBIG);
    CHECK_ERRNO(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, PAGE), EOPNOTSUPP);
    CHECK_ERRNO(fallocate(fd, 0x4000, 0, PAGE), EOPNOTSUPP);
    int rd = open("fb", O_RDONLY);
    CHECK_ERRNO(fallocate(rd, 0, 0, PAGE), EBADF);
    close(rd);
    CHECK(pipe(p) == 0);
    CHECK_ERRNO(fallocate(p[1], 0, 0, PAGE), ESPIPE);
    close(p[0]);
    close(p[1]);
    int null = open("/dev/null", O_RDWR);
    CHECK_ERRNO(fallocate(null, 0, 0, PAGE), ENODEV);
    close(null);
    close(fd);
}

static void a_punched_hole_reads_as_zeroes(void)
{
    char buf[PAGE];
    struct stat before, after;
    int fd = fresh("ph");
    fill(fd, 8);
    CHECK(fsync(fd) == 0 && fstat(fd, &before) == 0);
    CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE + 10, 4 * PAGE) == 0);
    CHECK(fstat(fd, &after) == 0 && after.st_size == 8 * PAGE);
    CHECK(after.st_blocks == before.st_blocks - 3 * PAGE / 512);
    CHECK(pread(fd, buf, 20, PAGE) == 20 && all(buf, 10, 'b') && all(buf + 10, 10, 0));
    CHECK(pread(fd, buf, PAGE, 3 * PAGE) == PAGE && all(buf, PAGE, 0));
    CHECK(pread(fd, buf, 20, 5 * PAGE) == 20 && all(buf, 10, 0) && all(buf + 10, 10, 'f'));
    CHECK(lseek(fd, PAGE, SEEK_HOLE) == 2 * PAGE && lseek(fd, 2 * PAGE, SEEK_DATA) == 5 * PAGE);
    close(fd);
}

static void a_mapping_sees_the_hole(void)
{
    int fd = fresh("pm");
    fill(fd, 2);
    char *m = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(m != MAP_FAILED && m[PAGE] == 'b');
    CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, PAGE) == 0);
    CHECK(m[PAGE] == 0 && m[0] == 'a');
    munmap(m, 2 * PAGE);
    close(fd);
}

static void a_zeroed_range_stays_allocated(void)
{
    char buf[PAGE];
    struct stat st;
    int fd = fresh("zr");
    fill(fd, 4);
    CHECK(fallocate(fd, FALLOC_FL_ZERO_RANGE, PAGE + 1, PAGE) == 0);
    CHECK(pread(fd, buf, PAGE, PAGE) == PAGE && buf[0] == 'b' && all(buf + 1, PAGE - 1, 0));
    CHECK(pread(fd, buf, PAGE, 2 * PAGE) == PAGE && !buf[0] && all(buf + 1, PAGE - 1, 'c'));
    CHECK(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 4 * PAGE, PAGE) == 0);
    CHECK(size_of(fd) == 4 * PAGE);
    CHECK(fallocate(fd, FALLOC_FL_ZERO_RANGE, 3 * PAGE, 3 * PAGE) == 0);
    CHECK(fstat(fd, &st) == 0 && st.st_size == 6 * PAGE && st.st_blocks >= 6 * PAGE / 512);
    CHECK(pread(fd, buf, PAGE, 3 * PAGE) == PAGE && all(buf, PAGE, 0));
    close(fd);
}

static void truncate_has_bounds(void)
{
    int fd = fresh("tb"), rd = open("tb", O_RDONLY);
    CHECK_ERRNO(ftruncate(fd, -1), EINVAL);
    CHECK_ERRNO(truncate("tb", -1), EINVAL);
    CHECK_ERRNO(ftruncate(rd, 0), EINVAL);
    CHECK_ERRNO(truncate(".", 0), EISDIR);
    CHECK_ERRNO(truncate("tb_none", 0), ENOENT);
    CHECK_ERRNO(ftruncate(-1, 0), EBADF);
    CHECK(mkfifo("tb_fifo", 0600) == 0);
    CHECK_ERRNO(truncate("tb_fifo", 0), EINVAL);
    close(rd);
    close(fd);
}

static void the_limit_of_file_size_sends_a_signal(void)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {1000, 1000};
        setrlimit(RLIMIT_FSIZE, &limit);
        signal(SIGXFSZ, SIG_IGN);
        int fd = open("fs", O_CREAT | O_RDWR, 0600);
        char buf[800] = {0};
        if (write(fd, buf, 800) != 800 || write(fd, buf, 800) != 200)
            _exit(1);
        if (write(fd, buf, 1) != -1 || errno != EFBIG)
            _exit(2);
        if (ftruncate(fd, 1001) != -1 || errno != EFBIG)
            _exit(3);
        if (pwrite(fd, buf, 10, 0) != 10)
            _exit(4);
        signal(SIGXFSZ, SIG_DFL);
        write(fd, buf, 1);
        _exit(5);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ);
}

/* --- copies ----------------------------------------------------------------------------------- */

static void copy_file_range_copies(void)
{
    char buf[8];
    loff_t in_at = 2, out_at = 1;
    int in = fresh("ci"), out = fresh("co");
    CHECK(write(in, "abcdefgh", 8) == 8 && lseek(in, 0, SEEK_SET) == 0);
    CHECK(copy_file_range(in, &in_at, out, &out_at, 3, 0) == 3 && in_at == 5 && out_at == 4);
    CHECK(lseek(in, 0, SEEK_CUR) == 0 && pread(out, buf, 8, 0) == 4 && !memcmp(buf, "\0cde", 4));
    CHECK(copy_file_range(in, NULL, out, NULL, 100, 0) == 8 && lseek(in, 0, SEEK_CUR) == 8);
    CHECK(copy_file_range(in, NULL, out, NULL, 100, 0) == 0);
    close(in);
    close(out);
}

static void copy_file_range_refuses(void)
{
    loff_t a = 0, b = 1;
    int in = fresh("cr"), rd = open("cr", O_RDONLY), wr = open("cr", O_WRONLY), p[2];
    int ap = open("cr2", O_CREAT | O_WRONLY | O_APPEND, 0600), dir = open(".", O_RDONLY);
    CHECK(write(in, "abcd", 4) == 4 && pipe(p) == 0);
    CHECK_ERRNO(copy_file_range(in, &a, in, &b, 3, 0), EINVAL); /* overlapping */
    CHECK_ERRNO(copy_file_range(in, &a, rd, &b, 1, 0), EBADF);
    CHECK_ERRNO(copy_file_range(wr, &a, in, &b, 1, 0), EBADF);
    CHECK_ERRNO(copy_file_range(in, &a, ap, &b, 1, 0), EBADF);
    CHECK_ERRNO(copy_file_range(in, &a, in, &b, 1, 1), EINVAL);
    CHECK_ERRNO(copy_file_range(dir, &a, in, &b, 1, 0), EISDIR);
    CHECK_ERRNO(copy_file_range(p[0], NULL, in, &b, 1, 0), EINVAL);
    b = 10;
    CHECK(copy_file_range(in, &a, in, &b, 3, 0) == 3);
    int all_fds[] = {in, rd, wr, ap, dir, p[0], p[1]};
    for (int i = 0; i < 7; i++)
        close(all_fds[i]);
}

static void sendfile_keeps_or_moves_the_position(void)
{
    int in = fresh("si"), out = fresh("so");
    off_t at = 1;
    CHECK(write(in, "abcdef", 6) == 6 && lseek(in, 2, SEEK_SET) == 2);
    CHECK(sendfile(out, in, &at, 3) == 3 && at == 4 && lseek(in, 0, SEEK_CUR) == 2);
    CHECK(sendfile(out, in, NULL, 100) == 4 && lseek(in, 0, SEEK_CUR) == 6);
    CHECK(size_of(out) == 7 && sendfile(out, in, NULL, 1) == 0);
    close(in);
    close(out);
}

static void sendfile_refuses(void)
{
    int in = fresh("sr"), ap = open("sr2", O_CREAT | O_WRONLY | O_APPEND, 0600), p[2];
    off_t bad = -1;
    CHECK(write(in, "abcdef", 6) == 6 && pipe(p) == 0);
    CHECK_ERRNO(sendfile(ap, in, NULL, 1), EINVAL);
    CHECK_ERRNO(sendfile(in, p[1], NULL, 1), EBADF);
    CHECK_ERRNO(sendfile(p[0], in, NULL, 1), EBADF);
    CHECK_ERRNO(sendfile(p[1], in, &bad, 1), EINVAL);
    CHECK_ERRNO(sendfile(-1, in, NULL, 1), EBADF);
    CHECK_ERRNO(sendfile(p[1], -1, NULL, 1), EBADF);
    close(in);
    close(ap);
    close(p[0]);
    close(p[1]);
}

/* --- extended attributes ---------------------------------------------------------------------- */

static void attributes_are_kept(void)
{
    char buf[64];
    close(fresh("xa"));
    CHECK(setxattr("xa", "user.one", "1", 1, 0) == 0);
    CHECK(setxattr("xa", "user.two", "value", 5, XATTR_CREATE) == 0);
    CHECK(getxattr("xa", "user.two", buf, sizeof(buf)) == 5 && !memcmp(buf, "value", 5));
    CHECK(getxattr("xa", "user.two", NULL, 0) == 5);
    CHECK_ERRNO(getxattr("xa", "user.two", buf, 3), ERANGE);
    CHECK_ERRNO(getxattr("xa", "user.none", buf, 3), ENODATA);
    CHECK(setxattr("xa", "user.one", "", 0, XATTR_REPLACE) == 0);
    CHECK(getxattr("xa", "user.one", buf, sizeof(buf)) == 0);
    CHECK(removexattr("xa", "user.one") == 0);
    CHECK_ERRNO(removexattr("xa", "user.one"), ENODATA);
}

static void attributes_are_listed(void)
{
    char buf[64];
    int fd = fresh("xl");
    CHECK(flistxattr(fd, NULL, 0) == 0);
    CHECK(fsetxattr(fd, "user.a", "x", 1, 0) == 0 && fsetxattr(fd, "user.bb", "y", 1, 0) == 0);
    CHECK(flistxattr(fd, NULL, 0) == 7 + 8 && flistxattr(fd, buf, sizeof(buf)) == 15);
    CHECK(memmem(buf, 15, "user.a", 7) && memmem(buf, 15, "user.bb", 8));
    CHECK_ERRNO(flistxattr(fd, buf, 10), ERANGE);
    CHECK(fremovexattr(fd, "user.a") == 0 && listxattr("xl", buf, sizeof(buf)) == 8);
    close(fd);
}

static void attributes_refuse(void)
{
    char name[300] = "user.";
    memset(name + 5, 'n', sizeof(name) - 6);
    close(fresh("xr"));
    CHECK(symlink("xr", "xr_l") == 0);
    CHECK(setxattr("xr", "user.a", "1", 1, 0) == 0);
    CHECK_ERRNO(setxattr("xr", "user.a", "1", 1, XATTR_CREATE), EEXIST);
    CHECK_ERRNO(setxattr("xr", "user.b", "1", 1, XATTR_REPLACE), ENODATA);
    CHECK_ERRNO(setxattr("xr", "user.b", "1", 1, 4), EINVAL);
    CHECK_ERRNO(setxattr("xr", name, "1", 1, 0), ERANGE);
    CHECK_ERRNO(setxattr("xr", "", "1", 1, 0), ERANGE);
    CHECK_ERRNO(syscall(SYS_getxattr, "xr", NULL, NULL, 0), EFAULT);
    CHECK_ERRNO(setxattr("xr", "user.", "1", 1, 0), EINVAL);
    CHECK_ERRNO(setxattr("xr", "nonsense.a", "1", 1, 0), EOPNOTSUPP);
    CHECK_ERRNO(syscall(SYS_setxattr, "xr", "user.big", name, 65537, 0), E2BIG);
    CHECK_ERRNO(lsetxattr("xr_l", "user.a", "1", 1, 0), EPERM); /* not on links */
    CHECK_ERRNO(setxattr("xr_none", "user.a", "1", 1, 0), ENOENT);
    CHECK_ERRNO(syscall(SYS_setxattr, "xr", "user.f", 1, 5, 0), EFAULT);
    CHECK(getxattr("xr_l", "user.a", NULL, 0) == 1);
    int fd = open("xr", O_PATH);
    CHECK_ERRNO(fgetxattr(fd, "user.a", NULL, 0), EBADF);
    close(fd);
}

static void attributes_ask_for_permission(void)
{
    char buf[8];
    close(fresh("xp"));
    CHECK(chmod("xp", 0640) == 0 && setxattr("xp", "user.a", "1", 1, 0) == 0);
    CHECK(seteuid(1001) == 0);
    long got = getxattr("xp", "user.a", buf, 8), got_err = errno;
    long set = setxattr("xp", "user.a", "2", 1, 0), set_err = errno;
    CHECK(seteuid(0) == 0);
    CHECK(got == -1 && got_err == EACCES && set == -1 && set_err == EACCES);
}

/* --- file systems ----------------------------------------------------------------------------- */

static void statfs_tells_sizes(void)
{
    struct statfs s, f;
    struct statvfs v;
    int fd = fresh("sf"), p[2];
    CHECK(statfs(".", &s) == 0 && fstatfs(fd, &f) == 0 && statvfs(".", &v) == 0);
    CHECK(s.f_bsize == 4096 && s.f_blocks > 0 && s.f_bfree <= s.f_blocks && s.f_namelen == 255);
    CHECK(s.f_type == f.f_type && !memcmp(&s.f_fsid, &f.f_fsid, sizeof(s.f_fsid)));
    CHECK(v.f_namemax == 255 && v.f_frsize == 4096);
    CHECK(statfs("/proc", &s) == 0 && s.f_type == 0x9fa0);
    CHECK_ERRNO(statfs("sf_none", &s), ENOENT);
    CHECK_ERRNO(syscall(SYS_statfs, ".", 1), EFAULT);
    CHECK(pipe(p) == 0 && fstatfs(p[0], &s) == 0 && s.f_type == 0x50495045);
    close(p[0]);
    close(p[1]);
    close(fd);
}

static void statx_tells_what_stat_does(void)
{
    struct statx x;
    struct stat st;
    int fd = fresh("sx");
    CHECK(write(fd, "abc", 3) == 3 && fstat(fd, &st) == 0);
    CHECK(statx(AT_FDCWD, "sx", 0, STATX_ALL & ~0x80000000, &x) == 0);
    CHECK((x.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS && x.stx_size == 3);
    CHECK(x.stx_ino == st.st_ino && x.stx_nlink == 1 && x.stx_mode == st.st_mode);
    CHECK(x.stx_mtime.tv_nsec == (unsigned)st.st_mtim.tv_nsec);
    CHECK((x.stx_mask & STATX_BTIME) && x.stx_btime.tv_sec > 1000000);
    CHECK(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &x) == 0 && x.stx_size == 3);
    CHECK(statx(AT_FDCWD, "/", 0, STATX_BASIC_STATS, &x) == 0);
    CHECK(x.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT &&
          x.stx_attributes & STATX_ATTR_MOUNT_ROOT);
    CHECK_ERRNO(statx(AT_FDCWD, "sx", 0x6000, STATX_SIZE, &x), EINVAL);
    CHECK_ERRNO(statx(AT_FDCWD, "sx", 0, 0x80000000, &x), EINVAL);
    CHECK_ERRNO(statx(AT_FDCWD, "sx", 0x10000, STATX_SIZE, &x), EINVAL);
    CHECK_ERRNO(syscall(SYS_statx, AT_FDCWD, "sx", 0, STATX_SIZE, 1), EFAULT);
    close(fd);
}

static void syncing_checks_its_arguments(void)
{
    int fd = fresh("sy"), p[2];
    CHECK(pipe(p) == 0 && write(fd, "x", 1) == 1);
    CHECK(fsync(fd) == 0 && fdatasync(fd) == 0 && syncfs(fd) == 0);
    CHECK(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE) == 0);
    CHECK_ERRNO(sync_file_range(fd, -1, 0, 0), EINVAL);
    CHECK_ERRNO(sync_file_range(fd, 0, 0, 8), EINVAL);
    CHECK_ERRNO(sync_file_range(p[0], 0, 0, 0), ESPIPE);
    CHECK_ERRNO(fsync(p[0]), EINVAL);
    CHECK_ERRNO(fsync(-1), EBADF);
    CHECK_ERRNO(syncfs(-1), EBADF);
    CHECK(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL) == 0);
    CHECK(posix_fadvise(fd, 0, 0, 77) == EINVAL && posix_fadvise(p[0], 0, 0, 0) == ESPIPE);
    CHECK(readahead(fd, 0, 10) == 0);
    CHECK_ERRNO(readahead(p[0], 0, 10), EINVAL);
    close(p[0]);
    close(p[1]);
    close(fd);
}

static void leases_are_refused_or_real(void)
{
    int fd = fresh("le");
    close(fd);
    fd = open("le", O_RDONLY);
    CHECK_ERRNO(fcntl(fd, F_SETLEASE, 77), EINVAL);
    int p[2];
    CHECK(pipe(p) == 0);
    CHECK_ERRNO(fcntl(p[0], F_SETLEASE, F_RDLCK), EINVAL);
    close(p[0]);
    close(p[1]);
    close(fd);
}

/* --- descriptors ------------------------------------------------------------------------------ */

static void dup3_and_close_range(void)
{
    int fd = fresh("d3");
    CHECK(dup3(fd, 70, O_CLOEXEC) == 70 && fcntl(70, F_GETFD) == FD_CLOEXEC);
    CHECK_ERRNO(dup3(fd, 70, 0x4000), EINVAL);
    CHECK_ERRNO(dup3(-1, 70, 0), EBADF);
    CHECK_ERRNO(dup3(fd, -1, 0), EBADF);
    CHECK(dup2(fd, 72) == 72 && dup2(fd, 75) == 75);
    CHECK(syscall(SYS_close_range, 71, 73, 4 /* CLOEXEC */) == 0);
    CHECK(fcntl(72, F_GETFD) == FD_CLOEXEC && fcntl(75, F_GETFD) == 0);
    CHECK_ERRNO(syscall(SYS_close_range, 73, 71, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_close_range, 71, 73, 16), EINVAL);
    CHECK(syscall(SYS_close_range, 70, ~0u, 0) == 0);
    CHECK_ERRNO(fcntl(75, F_GETFD), EBADF);
    close(fd);
}

static void fcntl_refuses(void)
{
    int fd = fresh("fr");
    CHECK_ERRNO(fcntl(fd, 9999, 0), EINVAL);
    CHECK_ERRNO(fcntl(fd, F_DUPFD, -1), EINVAL);
    CHECK_ERRNO(fcntl(fd, F_DUPFD, 1 << 30), EINVAL);
    CHECK_ERRNO(fcntl(fd, F_GETPIPE_SZ), EBADF);
    CHECK_ERRNO(fcntl(-1, F_GETFL), EBADF);
    CHECK(fcntl(fd, F_SETFL, O_APPEND | O_RDONLY) == 0);
    CHECK((fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND)) == (O_RDWR | O_APPEND));
    int n = -1;
    CHECK(lseek(fd, 0, SEEK_SET) == 0 && write(fd, "abc", 3) == 3 && lseek(fd, 1, SEEK_SET) == 1);
    CHECK(ioctl(fd, FIONREAD, &n) == 0 && n == 2);
    CHECK_ERRNO(ioctl(fd, TIOCGWINSZ, &n), ENOTTY);
    CHECK_ERRNO(ioctl(-1, FIONREAD, &n), EBADF);
    close(fd);
}

static void seals_hold(void)
{
    int fd = memfd_create("sealed", MFD_ALLOW_SEALING);
    CHECK(fd >= 0 && ftruncate(fd, PAGE) == 0 && fcntl(fd, F_GET_SEALS) == 0);
    CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    CHECK_ERRNO(ftruncate(fd, 10), EPERM);
    CHECK(ftruncate(fd, 2 * PAGE) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) == 0);
    CHECK_ERRNO(ftruncate(fd, 3 * PAGE), EPERM);
    CHECK_ERRNO(pwrite(fd, "x", 1, 2 * PAGE), EPERM);
    CHECK_ERRNO(fallocate(fd, 0, 0, 3 * PAGE), EPERM);
    char *m = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(m != MAP_FAILED && pwrite(fd, "abc", 3, 0) == 3);
    CHECK_ERRNO(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
    munmap(m, PAGE);
    CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL) == 0);
    CHECK(fcntl(fd, F_GET_SEALS) == (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
    CHECK_ERRNO(pwrite(fd, "x", 1, 0), EPERM);
    CHECK_ERRNO(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), EPERM);
    CHECK_ERRNO(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE), EPERM);
    CHECK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    CHECK(errno == EPERM);
    m = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(m != MAP_FAILED && m[0] == 'a');
    CHECK(mprotect(m, PAGE, PROT_READ | PROT_WRITE) == -1);
    munmap(m, PAGE);
    close(fd);
}

static void seals_are_for_files_that_allow_them(void)
{
    int fd = memfd_create("plain", 0);
    CHECK(fcntl(fd, F_GET_SEALS) == F_SEAL_SEAL);
    CHECK_ERRNO(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
    close(fd);
    fd = memfd_create("wrong", MFD_ALLOW_SEALING);
    CHECK_ERRNO(fcntl(fd, F_ADD_SEALS, 0x4000), EINVAL);
    close(fd);
    int p[2];
    CHECK(pipe(p) == 0);
    CHECK_ERRNO(fcntl(p[0], F_GET_SEALS), EINVAL);
    CHECK_ERRNO(fcntl(p[0], F_ADD_SEALS, F_SEAL_SEAL), EPERM);
    CHECK_ERRNO(fcntl(p[1], F_ADD_SEALS, F_SEAL_SEAL), EINVAL);
    close(p[0]);
    close(p[1]);
}

int main(void)
{
    own_directory();
    CASE(seeking_has_bounds);
    CASE(what_was_skipped_reads_as_zeroes);
    CASE(holes_are_found);
    CASE(appending_ignores_the_position);
    CASE(appenders_do_not_overwrite_each_other);
    CASE(vectors_go_in_order);
    CASE(preadv2_without_a_position);
    CASE(pwritev2_appends_once);
    CASE(nowait_reads_what_is_there);
    CASE(fallocate_makes_room);
    CASE(fallocate_refuses_nonsense);
    CASE(a_punched_hole_reads_as_zeroes);
    CASE(a_mapping_sees_the_hole);
    CASE(a_zeroed_range_stays_allocated);
    CASE(truncate_has_bounds);
    CASE(the_limit_of_file_size_sends_a_signal);
    CASE(copy_file_range_copies);
    CASE(copy_file_range_refuses);
    CASE(sendfile_keeps_or_moves_the_position);
    CASE(sendfile_refuses);
    CASE(attributes_are_kept);
    CASE(attributes_are_listed);
    CASE(attributes_refuse);
    CASE(attributes_ask_for_permission);
    CASE(statfs_tells_sizes);
    CASE(statx_tells_what_stat_does);
    CASE(syncing_checks_its_arguments);
    CASE(leases_are_refused_or_real);
    CASE(dup3_and_close_range);
    CASE(fcntl_refuses);
    CASE(seals_hold);
    CASE(seals_are_for_files_that_allow_them);
    return check_result();
}
