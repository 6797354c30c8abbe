/* Locks on files: record locks (fcntl), locks of open files (OFD), flock. */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

#include "check.h"

static int fresh(const char *name)
{
    int fd = open(name, O_CREAT | O_TRUNC | O_RDWR, 0644);
    CHECK(fd >= 0 && write(fd, "0123456789", 10) == 10);
    return fd;
}

static int lock(int fd, int cmd, short type, off_t start, off_t len)
{
    struct flock l = {.l_type = type, .l_start = start, .l_len = len};
    return fcntl(fd, cmd, &l);
}

static int set(int fd, short type, off_t start, off_t len)
{
    return lock(fd, F_SETLK, type, start, len);
}

/* What another process would meet in [start, start + len): "R 2+3", or "-" for nothing. */
static const char *seen(const char *name, short type, off_t start, off_t len)
{
    static char text[64];
    int p[2];
    CHECK(pipe(p) == 0);
    pid_t child = fork();
    if (child == 0) {
        int fd = open(name, O_RDWR);
        struct flock l = {.l_type = type, .l_start = start, .l_len = len};
        if (fcntl(fd, F_GETLK, &l))
            dprintf(p[1], "errno %d", errno);
        else if (l.l_type == F_UNLCK)
            dprintf(p[1], "-");
        else
            dprintf(p[1], "%c %ld+%ld%s", l.l_type == F_RDLCK ? 'R' : 'W', l.l_start, l.l_len,
                    l.l_pid == getppid() ? ""
                    : l.l_pid == -1      ? " ofd"
                                         : " pid?");
        _exit(0);
    }
    close(p[1]);
    ssize_t n = read(p[0], text, sizeof(text) - 1);
    text[n < 0 ? 0 : n] = 0;
    close(p[0]);
    waitpid(child, NULL, 0);
    return text;
}
#define SEEN(name, type, start, len, want) CHECK(!strcmp(seen(name, type, start, len), want))

static void getlk_tells_the_lock_in_the_way(void)
{
    int fd = fresh("g");
    CHECK(set(fd, F_WRLCK, 2, 3) == 0);
    SEEN("g", F_WRLCK, 0, 0, "W 2+3");
    SEEN("g", F_RDLCK, 4, 1, "W 2+3");
    SEEN("g", F_WRLCK, 5, 0, "-");
    SEEN("g", F_WRLCK, 0, 2, "-");
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_pid = 77};
    CHECK(fcntl(fd, F_GETLK, &l) == 0 && l.l_type == F_UNLCK && l.l_pid == 77); /* its own */
    close(fd);
}

static void readers_share(void)
{
    int fd = fresh("r");
    CHECK(set(fd, F_RDLCK, 0, 0) == 0);
    SEEN("r", F_RDLCK, 0, 0, "-");
    SEEN("r", F_WRLCK, 0, 0, "R 0+0");
    close(fd);
}

static void unlocking_the_middle_splits(void)
{
    int fd = fresh("s");
    CHECK(set(fd, F_WRLCK, 0, 10) == 0 && set(fd, F_UNLCK, 4, 2) == 0);
    SEEN("s", F_WRLCK, 0, 5, "W 0+4");
    SEEN("s", F_WRLCK, 4, 2, "-");
    SEEN("s", F_WRLCK, 5, 5, "W 6+4");
    close(fd);
}

static void another_kind_in_the_middle_splits(void)
{
    int fd = fresh("k");
    CHECK(set(fd, F_WRLCK, 0, 10) == 0 && set(fd, F_RDLCK, 4, 2) == 0);
    SEEN("k", F_RDLCK, 4, 2, "-");
    SEEN("k", F_WRLCK, 4, 2, "R 4+2");
    SEEN("k", F_RDLCK, 3, 2, "W 0+4");
    SEEN("k", F_RDLCK, 6, 0, "W 6+4");
    close(fd);
}

static void neighbours_merge(void)
{
    int fd = fresh("m");
    CHECK(set(fd, F_WRLCK, 0, 3) == 0 && set(fd, F_WRLCK, 6, 4) == 0);
    SEEN("m", F_WRLCK, 0, 1, "W 0+3");
    CHECK(set(fd, F_WRLCK, 3, 3) == 0);
    SEEN("m", F_WRLCK, 5, 1, "W 0+10");
    CHECK(set(fd, F_WRLCK, 8, 0) == 0);
    SEEN("m", F_WRLCK, 5, 1, "W 0+0");
    close(fd);
}

static void an_upgrade_covers_several(void)
{
    int fd = fresh("u");
    CHECK(set(fd, F_RDLCK, 0, 2) == 0 && set(fd, F_RDLCK, 4, 2) == 0 &&
          set(fd, F_WRLCK, 1, 4) == 0);
    SEEN("u", F_WRLCK, 0, 1, "R 0+1");
    SEEN("u", F_RDLCK, 3, 1, "W 1+4");
    SEEN("u", F_WRLCK, 5, 1, "R 5+1");
    close(fd);
}

static void ranges_count_from_anywhere(void)
{
    int fd = fresh("w");
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_END, .l_start = -4, .l_len = 2};
    CHECK(fcntl(fd, F_SETLK, &l) == 0);
    SEEN("w", F_WRLCK, 0, 0, "W 6+2");
    CHECK(set(fd, F_UNLCK, 0, 0) == 0 && lseek(fd, 3, SEEK_SET) == 3);
    l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_start = 1, .l_len = -2};
    CHECK(fcntl(fd, F_SETLK, &l) == 0);
    SEEN("w", F_WRLCK, 0, 0, "W 2+2");
    l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_start = -4};
    CHECK_ERRNO(fcntl(fd, F_SETLK, &l), EINVAL);
    l = (struct flock){.l_type = F_WRLCK, .l_start = 2, .l_len = -3};
    CHECK_ERRNO(fcntl(fd, F_SETLK, &l), EINVAL);
    l = (struct flock){.l_type = F_WRLCK, .l_whence = 9};
    CHECK_ERRNO(fcntl(fd, F_SETLK, &l), EINVAL);
    close(fd);
}

static void the_largest_offset_is_the_end(void)
{
    int fd = fresh("e");
    off_t max = 0x7fffffffffffffff;
    CHECK(set(fd, F_WRLCK, max, 1) == 0);
    SEEN("e", F_WRLCK, max, 1, "W 9223372036854775807+0");
    CHECK_ERRNO(set(fd, F_WRLCK, max, 2), EOVERFLOW);
    CHECK(set(fd, F_UNLCK, 0, 0) == 0);
    SEEN("e", F_WRLCK, 0, 0, "-");
    close(fd);
}

static void the_kind_must_be_one(void)
{
    int fd = fresh("t");
    CHECK_ERRNO(set(fd, 55, 0, 0), EINVAL);
    CHECK_ERRNO(fcntl(fd, F_SETLK, 1), EFAULT);
    CHECK_ERRNO(lock(fd, F_GETLK, F_UNLCK, 0, 0), EINVAL);
    CHECK_ERRNO(lock(-1, F_SETLK, F_RDLCK, 0, 0), EBADF);
    close(fd);
}

static void a_lock_needs_the_right_to_do_it(void)
{
    close(fresh("a"));
    int rd = open("a", O_RDONLY), wr = open("a", O_WRONLY);
    CHECK_ERRNO(set(rd, F_WRLCK, 0, 0), EBADF);
    CHECK_ERRNO(set(wr, F_RDLCK, 0, 0), EBADF);
    CHECK(set(rd, F_RDLCK, 0, 0) == 0 && set(wr, F_WRLCK, 0, 0) == 0);
    CHECK(lock(rd, F_GETLK, F_WRLCK, 0, 0) == 0); /* asking is free */
    close(rd);
    close(wr);
}

static void closing_any_descriptor_unlocks(void)
{
    int fd = fresh("c"), other = open("c", O_RDONLY);
    CHECK(set(fd, F_WRLCK, 0, 0) == 0);
    SEEN("c", F_WRLCK, 0, 0, "W 0+0");
    close(other);
    SEEN("c", F_WRLCK, 0, 0, "-");
    close(fd);
}

static void a_child_does_not_inherit(void)
{
    int fd = fresh("f"), status;
    CHECK(set(fd, F_WRLCK, 0, 0) == 0);
    pid_t child = fork();
    if (child == 0)
        _exit(set(fd, F_WRLCK, 0, 0) == -1 && (errno == EAGAIN || errno == EACCES) ? 0 : 1);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    SEEN("f", F_WRLCK, 0, 0, "W 0+0"); /* the child's end closed its descriptors: not ours */
    close(fd);
}

static void a_waiter_gets_the_lock(void)
{
    int fd = fresh("wt"), status;
    CHECK(set(fd, F_WRLCK, 0, 0) == 0);
    pid_t child = fork();
    if (child == 0) {
        int own = open("wt", O_RDWR);
        _exit(lock(own, F_SETLKW, F_WRLCK, 0, 5) ? 1 : 0);
    }
    until_asleep(child);
    CHECK(waitpid(child, &status, WNOHANG) == 0);
    CHECK(set(fd, F_UNLCK, 0, 5) == 0);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    close(fd);
}

static void on_alarm(int sig)
{
    (void)sig;
}

static void a_waiter_is_interrupted(void)
{
    int fd = fresh("wi"), status;
    CHECK(set(fd, F_WRLCK, 0, 0) == 0);
    pid_t child = fork();
    if (child == 0) {
        struct sigaction sa = {.sa_handler = on_alarm};
        sigaction(SIGUSR1, &sa, NULL);
        int own = open("wi", O_RDWR);
        _exit(lock(own, F_SETLKW, F_WRLCK, 0, 0) == -1 && errno == EINTR ? 0 : 1);
    }
    until_asleep(child);
    kill(child, SIGUSR1);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    close(fd);
}

static void waiting_in_a_circle_is_refused(void)
{
    int fd = fresh("d"), status;
    CHECK(set(fd, F_WRLCK, 0, 1) == 0);
    pid_t child = fork();
    if (child == 0) {
        int own = open("d", O_RDWR);
        if (set(own, F_WRLCK, 1, 1))
            _exit(2);
        _exit(lock(own, F_SETLKW, F_WRLCK, 0, 1) ? 1 : 0); /* waits for the parent */
    }
    until_asleep(child);
    CHECK_ERRNO(lock(fd, F_SETLKW, F_WRLCK, 1, 1), EDEADLK);
    CHECK(set(fd, F_UNLCK, 0, 1) == 0);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    close(fd);
}

/* --- locks of open files ---------------------------------------------------------------------- */

static void open_files_exclude_each_other(void)
{
    int a = fresh("oa"), b = open("oa", O_RDWR), c = dup(a);
    CHECK(lock(a, F_OFD_SETLK, F_WRLCK, 0, 5) == 0);
    CHECK_ERRNO(lock(b, F_OFD_SETLK, F_WRLCK, 4, 1), EAGAIN);
    CHECK(lock(c, F_OFD_SETLK, F_WRLCK, 4, 2) == 0); /* the same open file */
    SEEN("oa", F_WRLCK, 0, 0, "W 0+6 ofd");
    struct flock l = {.l_type = F_WRLCK};
    CHECK(fcntl(b, F_OFD_GETLK, &l) == 0 && l.l_type == F_WRLCK && l.l_pid == -1 && l.l_len == 6);
    close(a);
    CHECK_ERRNO(lock(b, F_OFD_SETLK, F_WRLCK, 4, 1), EAGAIN); /* c keeps it */
    close(c);
    CHECK(lock(b, F_OFD_SETLK, F_WRLCK, 0, 0) == 0);
    close(b);
}

static void open_files_and_processes_exclude_each_other(void)
{
    int a = fresh("op"), b = open("op", O_RDWR);
    CHECK(lock(a, F_OFD_SETLK, F_WRLCK, 0, 5) == 0);
    CHECK_ERRNO(set(b, F_WRLCK, 0, 1), EAGAIN);
    CHECK_ERRNO(set(a, F_WRLCK, 0, 1), EAGAIN);
    CHECK(set(b, F_WRLCK, 5, 1) == 0);
    CHECK_ERRNO(lock(a, F_OFD_SETLK, F_WRLCK, 5, 1), EAGAIN);
    close(a);
    close(b);
}

static void an_open_files_lock_is_inherited(void)
{
    int fd = fresh("oi"), status;
    CHECK(lock(fd, F_OFD_SETLK, F_WRLCK, 0, 0) == 0);
    pid_t child = fork();
    if (child == 0)
        _exit(lock(fd, F_OFD_SETLK, F_WRLCK, 0, 0) || lock(fd, F_OFD_SETLK, F_UNLCK, 0, 0));
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    SEEN("oi", F_WRLCK, 0, 0, "-");
    struct flock l = {.l_type = F_WRLCK, .l_pid = 5};
    CHECK_ERRNO(fcntl(fd, F_OFD_SETLK, &l), EINVAL);
    close(fd);
}

/* --- flock ------------------------------------------------------------------------------------ */

static void flock_belongs_to_the_open_file(void)
{
    int a = fresh("fl"), b = open("fl", O_RDONLY), c = dup(a);
    CHECK(flock(a, LOCK_EX) == 0);
    CHECK_ERRNO(flock(b, LOCK_SH | LOCK_NB), EWOULDBLOCK);
    CHECK(flock(c, LOCK_EX | LOCK_NB) == 0);
    close(a);
    CHECK_ERRNO(flock(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    CHECK(flock(c, LOCK_SH) == 0 && flock(b, LOCK_SH | LOCK_NB) == 0);
    CHECK_ERRNO(flock(c, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    CHECK(flock(b, LOCK_UN) == 0 && flock(b, LOCK_UN) == 0);
    CHECK_ERRNO(flock(b, 0), EINVAL);
    CHECK_ERRNO(flock(b, LOCK_SH | LOCK_EX), EINVAL);
    CHECK_ERRNO(flock(-1, LOCK_SH), EBADF);
    close(b);
    close(c);
}

static void flock_and_records_do_not_meet(void)
{
    int a = fresh("fr");
    CHECK(flock(a, LOCK_EX) == 0);
    SEEN("fr", F_WRLCK, 0, 0, "-");
    int b = open("fr", O_RDWR);
    CHECK(lock(b, F_OFD_SETLK, F_WRLCK, 0, 0) == 0);
    close(a);
    close(b);
}

static void flock_waits(void)
{
    int a = fresh("fw"), status;
    CHECK(flock(a, LOCK_EX) == 0);
    pid_t child = fork();
    if (child == 0) {
        int own = open("fw", O_RDWR);
        close(a);
        _exit(flock(own, LOCK_SH) ? 1 : 0);
    }
    until_asleep(child);
    CHECK(waitpid(child, &status, WNOHANG) == 0);
    close(a);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void proc_locks_lists_them(void)
{
    char line[256], want[64];
    int fd = fresh("pl"), found = 0;
    struct stat st;
    CHECK(fstat(fd, &st) == 0 && set(fd, F_WRLCK, 2, 3) == 0 && flock(fd, LOCK_SH) == 0);
    snprintf(want, sizeof(want), ":%lu 2 4", (unsigned long)st.st_ino);
    FILE *f = fopen("/proc/locks", "r");
    CHECK(f != NULL);
    while (fgets(line, sizeof(line), f)) {
        if (strstr(line, want) && strstr(line, "POSIX  ADVISORY  WRITE"))
            found |= 1;
        snprintf(want, sizeof(want), ":%lu 0 EOF", (unsigned long)st.st_ino);
        if (strstr(line, want) && strstr(line, "FLOCK  ADVISORY  READ"))
            found |= 2;
        snprintf(want, sizeof(want), ":%lu 2 4", (unsigned long)st.st_ino);
    }
    fclose(f);
    CHECK(found == 3);
    close(fd);
}

int main(void)
{
    own_directory();
    CASE(getlk_tells_the_lock_in_the_way);
    CASE(readers_share);
    CASE(unlocking_the_middle_splits);
    CASE(another_kind_in_the_middle_splits);
    CASE(neighbours_merge);
    CASE(an_upgrade_covers_several);
    CASE(ranges_count_from_anywhere);
    CASE(the_largest_offset_is_the_end);
    CASE(the_kind_must_be_one);
    CASE(a_lock_needs_the_right_to_do_it);
    CASE(closing_any_descriptor_unlocks);
    CASE(a_child_does_not_inherit);
    CASE(a_waiter_gets_the_lock);
    CASE(a_waiter_is_interrupted);
    CASE(waiting_in_a_circle_is_refused);
    CASE(open_files_exclude_each_other);
    CASE(open_files_and_processes_exclude_each_other);
    CASE(an_open_files_lock_is_inherited);
    CASE(flock_belongs_to_the_open_file);
    CASE(flock_and_records_do_not_meet);
    CASE(flock_waits);
    CASE(proc_locks_lists_them);
    return check_result();
}
