/* inotify: what is told of directories and files, in which order, and when it is too much. */
#define _GNU_SOURCE
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

static void make(const char *name)
{
    int fd = open(name, O_CREAT | O_WRONLY, 0644);
    CHECK(fd >= 0);
    close(fd);
}

static int watcher(void)
{
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

static const struct {
    uint32_t bit;
    const char *name;
} names[] = {
    {IN_ACCESS, "access"},           {IN_MODIFY, "modify"},
    {IN_ATTRIB, "attrib"},           {IN_CLOSE_WRITE, "close_write"},
    {IN_CLOSE_NOWRITE, "close"},     {IN_OPEN, "open"},
    {IN_MOVED_FROM, "from"},         {IN_MOVED_TO, "to"},
    {IN_CREATE, "create"},           {IN_DELETE, "delete"},
    {IN_DELETE_SELF, "delete_self"}, {IN_MOVE_SELF, "move_self"},
    {IN_UNMOUNT, "unmount"},         {IN_Q_OVERFLOW, "overflow"},
    {IN_IGNORED, "ignored"},
};

static char text[8192];

/* Puts it behind what is in text, as far as there is room. */
static void say(const char *a, const char *b)
{
    size_t len = strlen(text);
    snprintf(text + len, sizeof(text) - len, "%s%s", a, b);
}

/* All events that are there, as a text: "create+dir sub;open f;..." */
static const char *told(int fd)
{
    static char buf[65536] __attribute__((aligned(8)));
    ssize_t n;
    text[0] = 0;
    while ((n = read(fd, buf, sizeof(buf))) > 0) {
        for (char *p = buf; p < buf + n;) {
            struct inotify_event *e = (struct inotify_event *)p;
            for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
                if (e->mask & names[i].bit)
                    say(names[i].name, e->mask & IN_ISDIR ? "+dir" : "");
            if (e->len)
                say(" ", e->name);
            say(";", "");
            p += sizeof(*e) + e->len;
        }
    }
    return text;
}
#define TOLD(fd, want)                                                                             \
    do {                                                                                           \
        const char *told_ = told(fd);                                                              \
        if (strcmp(told_, want))                                                                   \
            printf("# told \"%s\", not \"%s\"\n", told_, want);                                    \
        CHECK(!strcmp(told_, want));                                                               \
    } while (0)

static void making_and_removing_in_a_directory(void)
{
    CHECK(mkdir("d", 0755) == 0);
    int fd = watcher();
    CHECK(inotify_add_watch(fd, "d", IN_ALL_EVENTS & ~(IN_OPEN | IN_CLOSE)) == 1);
    make("d/f");
    CHECK(mkdir("d/sub", 0755) == 0 && symlink("x", "d/l") == 0 && mkfifo("d/p", 0600) == 0);
    TOLD(fd, "create f;create+dir sub;create l;create p;");
    CHECK(unlink("d/f") == 0 && rmdir("d/sub") == 0 && unlink("d/l") == 0 && unlink("d/p") == 0);
    TOLD(fd, "delete f;delete+dir sub;delete l;delete p;");
    close(fd);
}

static void using_a_file_in_a_watched_directory(void)
{
    char c;
    CHECK(mkdir("u", 0755) == 0);
    make("u/f");
    int fd = watcher();
    CHECK(inotify_add_watch(fd, "u", IN_ALL_EVENTS) == 1);
    int f = open("u/f", O_RDWR);
    CHECK(write(f, "x", 1) == 1 && lseek(f, 0, SEEK_SET) == 0 && read(f, &c, 1) == 1);
    CHECK(fchmod(f, 0600) == 0 && close(f) == 0);
    TOLD(fd, "open f;modify f;access f;attrib f;close_write f;");
    f = open("u/f", O_RDONLY);
    close(f);
    TOLD(fd, "open f;close f;");
    CHECK(truncate("u/f", 0) == 0);
    TOLD(fd, "modify f;");
    f = open("u/f", O_WRONLY | O_TRUNC);
    close(f);
    const char *text = told(fd); /* Linux's order of the first two has changed over time */
    CHECK(!strcmp(text, "modify f;open f;close_write f;") ||
          !strcmp(text, "open f;modify f;close_write f;"));
    close(fd);
}

static void a_watched_file_tells_itself(void)
{
    make("s");
    int fd = watcher();
    CHECK(inotify_add_watch(fd, "s", IN_ALL_EVENTS) == 1);
    int f = open("s", O_WRONLY);
    CHECK(write(f, "x", 1) == 1 && close(f) == 0);
    TOLD(fd, "open;modify;close_write;");
    CHECK(chmod("s", 0600) == 0 && rename("s", "s2") == 0);
    TOLD(fd, "attrib;move_self;");
    CHECK(link("s2", "s3") == 0 && unlink("s2") == 0);
    TOLD(fd, "attrib;"); /* equal ones in a row are one */
    CHECK(unlink("s3") == 0);
    TOLD(fd, "attrib;delete_self;ignored;");
    close(fd);
}

static void a_file_ends_with_its_last_user(void)
{
    make("e");
    int fd = watcher(), f = open("e", O_RDONLY);
    CHECK(inotify_add_watch(fd, "e", IN_ATTRIB | IN_DELETE_SELF) == 1 && unlink("e") == 0);
    TOLD(fd, "attrib;");
    close(f);
    TOLD(fd, "delete_self;ignored;");
    close(fd);
}

static void a_watched_directory_ends(void)
{
    CHECK(mkdir("w", 0755) == 0);
    int fd = watcher();
    CHECK(inotify_add_watch(fd, "w", IN_ALL_EVENTS) == 1 && rmdir("w") == 0);
    TOLD(fd, "delete_self;ignored;");
    close(fd);
}

static void moves_have_cookies(void)
{
    char buf[4096] __attribute__((aligned(8)));
    CHECK(mkdir("m1", 0755) == 0 && mkdir("m2", 0755) == 0);
    make("m1/a");
    int fd = watcher();
    int w1 = inotify_add_watch(fd, "m1", IN_MOVE), w2 = inotify_add_watch(fd, "m2", IN_MOVE);
    CHECK(w1 == 1 && w2 == 2 && rename("m1/a", "m2/b") == 0);
    ssize_t n = read(fd, buf, sizeof(buf));
    struct inotify_event *from = (void *)buf, *to = (void *)(buf + sizeof(*from) + from->len);
    CHECK(n == (ssize_t)(2 * sizeof(*from) + from->len + to->len));
    CHECK(from->wd == w1 && from->mask == IN_MOVED_FROM && !strcmp(from->name, "a"));
    CHECK(to->wd == w2 && to->mask == IN_MOVED_TO && !strcmp(to->name, "b"));
    CHECK(from->cookie && from->cookie == to->cookie);
    uint32_t first = from->cookie;
    CHECK(mkdir("m1/d", 0755) == 0 && rename("m1/d", "m1/e") == 0);
    n = read(fd, buf, sizeof(buf));
    CHECK(n > 0 && from->mask == (IN_MOVED_FROM | IN_ISDIR) && from->cookie != first);
    close(fd);
}

static void replacing_by_a_rename(void)
{
    CHECK(mkdir("r", 0755) == 0);
    make("r/a");
    make("r/b");
    int fd = watcher();
    CHECK(inotify_add_watch(fd, "r", IN_ALL_EVENTS) == 1);
    CHECK(inotify_add_watch(fd, "r/b", IN_ALL_EVENTS) == 2 && rename("r/a", "r/b") == 0);
    const char *text = told(fd);
    CHECK(!strncmp(text, "from a;to b;", 12) && strstr(text, "delete_self;ignored;"));
    close(fd);
}

static void exchanging_tells_both(void)
{
    CHECK(mkdir("x", 0755) == 0);
    make("x/a");
    make("x/b");
    int fd = watcher();
    CHECK(inotify_add_watch(fd, "x", IN_MOVE) == 1);
    CHECK(syscall(SYS_renameat2, AT_FDCWD, "x/a", AT_FDCWD, "x/b", RENAME_EXCHANGE) == 0);
    TOLD(fd, "from a;to b;from b;to a;");
    close(fd);
}

static void a_link_is_made_with_create(void)
{
    CHECK(mkdir("l", 0755) == 0);
    make("l/a");
    int fd = watcher();
    CHECK(inotify_add_watch(fd, "l", IN_ALL_EVENTS) == 1 && link("l/a", "l/b") == 0);
    const char *text = told(fd);
    CHECK(strstr(text, "create b;") != NULL);
    close(fd);
}

static void once_is_once(void)
{
    CHECK(mkdir("o", 0755) == 0);
    int fd = watcher();
    CHECK(inotify_add_watch(fd, "o", IN_CREATE | IN_ONESHOT) == 1);
    make("o/a");
    make("o/b");
    TOLD(fd, "create a;ignored;");
    CHECK_ERRNO(inotify_rm_watch(fd, 1), EINVAL);
    close(fd);
}

static void masks_replace_or_add(void)
{
    CHECK(mkdir("k", 0755) == 0);
    int fd = watcher();
    CHECK(inotify_add_watch(fd, "k", IN_CREATE) == 1 && inotify_add_watch(fd, "k", IN_DELETE) == 1);
    make("k/a");
    TOLD(fd, "");
    CHECK(inotify_add_watch(fd, "k", IN_CREATE | IN_MASK_ADD) == 1);
    make("k/b");
    CHECK(unlink("k/a") == 0);
    TOLD(fd, "create b;delete a;");
    CHECK_ERRNO(inotify_add_watch(fd, "k", IN_CREATE | IN_MASK_CREATE), EEXIST);
    CHECK_ERRNO(inotify_add_watch(fd, "k", IN_CREATE | IN_MASK_CREATE | IN_MASK_ADD), EINVAL);
    close(fd);
}

static void watches_refuse(void)
{
    int fd = watcher(), p[2];
    make("f");
    CHECK(symlink("f", "f_l") == 0 && pipe(p) == 0);
    CHECK_ERRNO(inotify_add_watch(fd, "none", IN_CREATE), ENOENT);
    CHECK_ERRNO(inotify_add_watch(fd, "f", 0), EINVAL);
    CHECK_ERRNO(inotify_add_watch(fd, "f", IN_CREATE | IN_ONLYDIR), ENOTDIR);
    CHECK_ERRNO(inotify_add_watch(p[0], "f", IN_CREATE), EINVAL);
    CHECK_ERRNO(inotify_add_watch(-1, "f", IN_CREATE), EBADF);
    CHECK_ERRNO(syscall(SYS_inotify_add_watch, fd, 1, IN_CREATE), EFAULT);
    CHECK_ERRNO(inotify_rm_watch(fd, 1), EINVAL);
    CHECK_ERRNO(inotify_rm_watch(p[0], 1), EINVAL);
    CHECK_ERRNO(inotify_init1(0x4000), EINVAL);
    CHECK(inotify_add_watch(fd, "f", IN_OPEN) == 1);
    CHECK(inotify_add_watch(fd, "f_l", IN_OPEN) == 1); /* followed: the same file */
    CHECK(inotify_add_watch(fd, "f_l", IN_OPEN | IN_DONT_FOLLOW) == 2);
    CHECK_ERRNO(write(fd, "x", 1), EBADF);
    close(p[0]);
    close(p[1]);
    close(fd);
}

static void a_watch_needs_the_right_to_read(void)
{
    make("nr");
    CHECK(chmod("nr", 0200) == 0);
    int fd = watcher();
    CHECK(seteuid(1001) == 0);
    long r = inotify_add_watch(fd, "nr", IN_OPEN);
    int err = errno;
    CHECK(seteuid(0) == 0 && r == -1 && err == EACCES);
    close(fd);
}

static void removed_watches_say_ignored(void)
{
    make("i");
    int fd = watcher();
    CHECK(inotify_add_watch(fd, "i", IN_OPEN) == 1 && inotify_rm_watch(fd, 1) == 0);
    close(open("i", O_RDONLY));
    TOLD(fd, "ignored;");
    CHECK(inotify_add_watch(fd, "i", IN_OPEN) == 2); /* numbers are not used again at once */
    close(fd);
}

static void equal_events_in_a_row_are_one(void)
{
    make("q");
    int fd = watcher(), f = open("q", O_WRONLY);
    CHECK(inotify_add_watch(fd, "q", IN_MODIFY | IN_ATTRIB) == 1);
    CHECK(write(f, "a", 1) == 1 && write(f, "b", 1) == 1 && write(f, "c", 1) == 1);
    TOLD(fd, "modify;");
    CHECK(write(f, "a", 1) == 1 && fchmod(f, 0600) == 0 && write(f, "c", 1) == 1);
    TOLD(fd, "modify;attrib;modify;");
    close(f);
    close(fd);
}

static void unlinked_children_may_be_left_out(void)
{
    CHECK(mkdir("un", 0755) == 0);
    make("un/a");
    int fd = watcher(), f = open("un/a", O_WRONLY);
    CHECK(inotify_add_watch(fd, "un", IN_MODIFY | IN_EXCL_UNLINK) == 1);
    CHECK(write(f, "a", 1) == 1);
    TOLD(fd, "modify a;");
    CHECK(unlink("un/a") == 0 && write(f, "a", 1) == 1);
    TOLD(fd, "");
    close(f);
    close(fd);
}

static void a_small_buffer_takes_few_or_none(void)
{
    char buf[64];
    CHECK(mkdir("b", 0755) == 0);
    int fd = watcher(), n = 0;
    CHECK(inotify_add_watch(fd, "b", IN_CREATE) == 1);
    CHECK_ERRNO(read(fd, buf, sizeof(buf)), EAGAIN);
    make("b/a_rather_long_name");
    make("b/c");
    CHECK(ioctl(fd, FIONREAD, &n) == 0 && n == 16 + 32 + 16 + 16);
    CHECK_ERRNO(read(fd, buf, 40), EINVAL);
    CHECK(read(fd, buf, sizeof(buf)) == 48);
    struct inotify_event *e = (void *)buf;
    CHECK(e->len == 32 && !strcmp(e->name, "a_rather_long_name"));
    CHECK(ioctl(fd, FIONREAD, &n) == 0 && n == 32);
    CHECK_ERRNO(syscall(SYS_read, fd, 1, 64), EFAULT);
    close(fd);
}

static void pollers_are_woken(void)
{
    CHECK(mkdir("p", 0755) == 0);
    int fd = watcher(), status;
    struct pollfd p = {fd, POLLIN | POLLOUT, 0};
    CHECK(inotify_add_watch(fd, "p", IN_CREATE) == 1 && poll(&p, 1, 0) == 0);
    int ep = epoll_create1(0);
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) == 0 && epoll_wait(ep, &ev, 1, 0) == 0);
    pid_t child = fork();
    if (child == 0) {
        usleep(50000);
        _exit(mkdir("p/sub", 0755));
    }
    CHECK(poll(&p, 1, 20000) == 1 && p.revents == POLLIN);
    CHECK(epoll_wait(ep, &ev, 1, 20000) == 1 && ev.events == EPOLLIN);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    TOLD(fd, "create+dir sub;");
    CHECK(poll(&p, 1, 0) == 0);
    close(ep);
    close(fd);
}

static void a_reader_waits(void)
{
    char buf[64];
    CHECK(mkdir("wr", 0755) == 0);
    int fd = inotify_init(), status;
    CHECK(fd >= 0 && inotify_add_watch(fd, "wr", IN_CREATE) == 1);
    pid_t child = fork();
    if (child == 0)
        _exit(read(fd, buf, sizeof(buf)) == 32 ? 0 : 1);
    until_asleep(child);
    make("wr/x");
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    close(fd);
}

static void two_watchers_are_both_told(void)
{
    CHECK(mkdir("two", 0755) == 0);
    int a = watcher(), b = watcher();
    CHECK(inotify_add_watch(a, "two", IN_CREATE) == 1 && inotify_add_watch(b, "two", IN_OPEN) == 1);
    make("two/x");
    TOLD(a, "create x;");
    TOLD(b, "open x;");
    close(a);
    make("two/y");
    TOLD(b, "open y;");
    close(b);
}

static void too_many_events_overflow(void)
{
    char name[32], last[32] = "";
    int limit = 0, n = 0;
    FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "r");
    CHECK(f && fscanf(f, "%d", &limit) == 1 && limit > 0);
    fclose(f);
    CHECK(mkdir("ov", 0755) == 0);
    make("ov/a");
    int fd = watcher();
    CHECK(inotify_add_watch(fd, "ov", IN_MOVE) == 1);
    for (int i = 0; i <= limit / 2 + 10; i++) {
        snprintf(name, sizeof(name), "ov/%s", i % 2 ? "a" : "b");
        CHECK(rename(i % 2 ? "ov/b" : "ov/a", name) == 0);
    }
    static char buf[65536] __attribute__((aligned(8)));
    ssize_t got;
    struct inotify_event *e = NULL;
    while ((got = read(fd, buf, sizeof(buf))) > 0) {
        for (char *p = buf; p < buf + got; p += sizeof(*e) + e->len) {
            e = (struct inotify_event *)p;
            n++;
        }
        snprintf(last, sizeof(last), "%d %x", e->wd, e->mask);
    }
    CHECK(n == limit + 1 && !strcmp(last, "-1 4000"));
    CHECK(rename("ov/a", "ov/c") == 0 || rename("ov/b", "ov/c") == 0);
    CHECK(strstr(told(fd), "to c;")); /* and goes on */
    close(fd);
}

static void copies_inside_the_kernel_are_told(void)
{
    make("cp1");
    make("cp2");
    int in = open("cp1", O_RDWR), out = open("cp2", O_RDWR), fd = watcher();
    CHECK(write(in, "abcdef", 6) == 6);
    CHECK(inotify_add_watch(fd, "cp2", IN_MODIFY) == 1);
    off_t at = 0;
    CHECK(sendfile(out, in, &at, 6) == 6);
    TOLD(fd, "modify;");
    at = 0;
    CHECK(copy_file_range(in, &at, out, NULL, 6, 0) == 6);
    TOLD(fd, "modify;");
    CHECK(fallocate(out, 0, 0, 100) == 0 && ftruncate(out, 5) == 0);
    TOLD(fd, "modify;");
    close(in);
    close(out);
    close(fd);
}

static void *churn(void *arg)
{
    (void)arg;
    for (int i = 0; i < 300; i++) {
        int f = open("ch/x", O_CREAT | O_WRONLY, 0600);
        if (f >= 0)
            close(f);
        unlink("ch/x");
    }
    return NULL;
}

static void watches_come_and_go_while_files_do(void)
{
    pthread_t threads[2];
    CHECK(mkdir("ch", 0755) == 0);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, churn, NULL) == 0);
    for (int i = 0; i < 300; i++) {
        int fd = watcher();
        CHECK(inotify_add_watch(fd, "ch", IN_ALL_EVENTS) > 0);
        int w = inotify_add_watch(fd, "ch/x", IN_ALL_EVENTS);
        CHECK(w > 0 || errno == ENOENT);
        if (i % 3 == 0 && w > 0)
            inotify_rm_watch(fd, w);
        if (i % 2 == 0)
            told(fd);
        close(fd);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

static void fdinfo_lists_the_watches(void)
{
    char path[64], line[256], want[64];
    struct stat st;
    make("fi");
    int fd = watcher(), found = 0;
    CHECK(inotify_add_watch(fd, "fi", IN_OPEN) == 1 && stat("fi", &st) == 0);
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    snprintf(want, sizeof(want), "inotify wd:1 ino:%lx ", (unsigned long)st.st_ino);
    FILE *f = fopen(path, "r");
    CHECK(f != NULL);
    while (fgets(line, sizeof(line), f))
        found |= strstr(line, want) != NULL;
    fclose(f);
    CHECK(found);
    close(fd);
}

int main(void)
{
    own_directory();
    CASE(making_and_removing_in_a_directory);
    CASE(using_a_file_in_a_watched_directory);
    CASE(a_watched_file_tells_itself);
    CASE(a_file_ends_with_its_last_user);
    CASE(a_watched_directory_ends);
    CASE(moves_have_cookies);
    CASE(replacing_by_a_rename);
    CASE(exchanging_tells_both);
    CASE(a_link_is_made_with_create);
    CASE(once_is_once);
    CASE(masks_replace_or_add);
    CASE(watches_refuse);
    CASE(a_watch_needs_the_right_to_read);
    CASE(removed_watches_say_ignored);
    CASE(equal_events_in_a_row_are_one);
    CASE(unlinked_children_may_be_left_out);
    CASE(a_small_buffer_takes_few_or_none);
    CASE(pollers_are_woken);
    CASE(a_reader_waits);
    CASE(two_watchers_are_both_told);
    CASE(too_many_events_overflow);
    CASE(copies_inside_the_kernel_are_told);
    CASE(watches_come_and_go_while_files_do);
    CASE(fdinfo_lists_the_watches);
    return check_result();
}
