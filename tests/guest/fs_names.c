/* Names: paths, links, renames, O_PATH, O_TMPFILE, openat2, listings. */
#define _GNU_SOURCE
#include <dirent.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "check.h"

static void make(const char *name)
{
    int fd = open(name, O_CREAT | O_WRONLY, 0644);
    CHECK(fd >= 0 && write(fd, name, 1) == 1);
    close(fd);
}

static ino_t ino_of(const char *name)
{
    struct stat st;
    CHECK(lstat(name, &st) == 0);
    return st.st_ino;
}

/* --- paths ------------------------------------------------------------------------------------ */

static void a_file_is_no_directory(void)
{
    make("plain");
    CHECK_ERRNO(open("plain/x", O_RDONLY), ENOTDIR);
    CHECK_ERRNO(open("plain/", O_RDONLY), ENOTDIR);
    CHECK_ERRNO(open("plain/.", O_RDONLY), ENOTDIR);
    CHECK_ERRNO(open("plain/..", O_RDONLY), ENOTDIR);
    CHECK_ERRNO(mkdir("plain/x", 0755), ENOTDIR);
    CHECK_ERRNO(chdir("plain"), ENOTDIR);
    CHECK_ERRNO(rmdir("plain"), ENOTDIR);
    CHECK_ERRNO(unlink("plain/"), ENOTDIR);
}

static void names_have_a_longest_length(void)
{
    char name[NAME_MAX + 2];
    memset(name, 'n', sizeof(name));
    name[NAME_MAX + 1] = 0;
    CHECK_ERRNO(open(name, O_CREAT | O_WRONLY, 0644), ENAMETOOLONG);
    CHECK_ERRNO(mkdir(name, 0755), ENAMETOOLONG);
    name[NAME_MAX] = 0;
    int fd = open(name, O_CREAT | O_WRONLY, 0644);
    CHECK(fd >= 0);
    close(fd);
    CHECK(unlink(name) == 0);
}

static void paths_have_a_longest_length(void)
{
    char path[PATH_MAX + 2];
    for (int i = 0; i < PATH_MAX; i += 2)
        memcpy(path + i, "./", 2);
    path[PATH_MAX] = 0;
    CHECK_ERRNO(open(path, O_RDONLY), ENAMETOOLONG);
    CHECK_ERRNO(chdir(path), ENAMETOOLONG);
    path[PATH_MAX - 2] = 0;
    int fd = open(path, O_RDONLY | O_DIRECTORY);
    CHECK(fd >= 0);
    close(fd);
}

static void the_empty_path_names_nothing(void)
{
    struct stat st;
    CHECK_ERRNO(open("", O_RDONLY), ENOENT);
    CHECK_ERRNO(stat("", &st), ENOENT);
    CHECK_ERRNO(mkdir("", 0755), ENOENT);
    CHECK_ERRNO(unlink(""), ENOENT);
    CHECK_ERRNO(symlink("", "empty"), ENOENT);
    CHECK_ERRNO(symlink("x", ""), ENOENT);
    CHECK(fstatat(AT_FDCWD, "", &st, AT_EMPTY_PATH) == 0 && S_ISDIR(st.st_mode));
}

static void links_are_followed_forty_times(void)
{
    char from[16], to[16];
    make("l0");
    for (int i = 1; i <= 41; i++) {
        snprintf(to, sizeof(to), "l%d", i - 1);
        snprintf(from, sizeof(from), "l%d", i);
        CHECK(symlink(to, from) == 0);
    }
    int fd = open("l40", O_RDONLY);
    CHECK(fd >= 0);
    close(fd);
    CHECK_ERRNO(open("l41", O_RDONLY), ELOOP);
    CHECK(symlink("self", "self") == 0);
    CHECK_ERRNO(open("self", O_RDONLY), ELOOP);
    CHECK_ERRNO(open("self/x", O_RDONLY), ELOOP);
}

static void nofollow_stops_at_a_link(void)
{
    make("target");
    CHECK(symlink("target", "link") == 0 && mkdir("dir", 0755) == 0 &&
          symlink("dir", "dlink") == 0);
    CHECK_ERRNO(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
    CHECK_ERRNO(open("dlink", O_RDONLY | O_NOFOLLOW | O_DIRECTORY), ENOTDIR);
    int fd = open("dlink/", O_RDONLY | O_NOFOLLOW | O_DIRECTORY);
    CHECK(fd >= 0); /* a slash behind it follows */
    close(fd);
    make("dir/in");
    fd = open("dlink/in", O_RDONLY | O_NOFOLLOW); /* only the last component */
    CHECK(fd >= 0);
    close(fd);
    CHECK_ERRNO(open("target", O_RDONLY | O_DIRECTORY), ENOTDIR);
}

static void creating_through_a_dangling_link(void)
{
    CHECK(symlink("made_by_link", "dangling") == 0);
    CHECK_ERRNO(open("dangling", O_RDONLY), ENOENT);
    CHECK_ERRNO(open("dangling", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
    CHECK_ERRNO(open("dangling", O_CREAT | O_NOFOLLOW | O_WRONLY, 0644), ELOOP);
    int fd = open("dangling", O_CREAT | O_WRONLY, 0644);
    CHECK(fd >= 0);
    close(fd);
    CHECK(access("made_by_link", F_OK) == 0);
}

static void opening_a_directory(void)
{
    CHECK(mkdir("opened", 0755) == 0);
    CHECK_ERRNO(open("opened", O_WRONLY), EISDIR);
    CHECK_ERRNO(open("opened", O_RDWR), EISDIR);
    CHECK_ERRNO(open("opened", O_RDONLY | O_CREAT, 0644), EISDIR);
    CHECK_ERRNO(open("opened", O_RDONLY | O_TRUNC), EISDIR);
    CHECK_ERRNO(open("opened_not/", O_CREAT | O_WRONLY, 0644), EISDIR);
    int fd = open("opened", O_RDONLY);
    char c;
    CHECK_ERRNO(read(fd, &c, 1), EISDIR);
    CHECK_ERRNO(write(fd, &c, 1), EBADF);
    CHECK_ERRNO(pread(fd, &c, 1, 0), EISDIR);
    CHECK_ERRNO(ftruncate(fd, 0), EINVAL);
    CHECK(fsync(fd) == 0);
    close(fd);
}

static void removing_directories(void)
{
    CHECK(mkdir("rm", 0755) == 0 && mkdir("rm/in", 0755) == 0);
    CHECK_ERRNO(rmdir("rm"), ENOTEMPTY);
    CHECK_ERRNO(rmdir("rm/."), EINVAL);
    CHECK_ERRNO(rmdir("rm/in/.."), ENOTEMPTY);
    CHECK_ERRNO(rmdir("/"), EBUSY);
    CHECK_ERRNO(unlink("rm"), EISDIR);
    CHECK_ERRNO(unlinkat(AT_FDCWD, "rm", 0x1000), EINVAL);
    CHECK(unlinkat(AT_FDCWD, "rm/in/", AT_REMOVEDIR) == 0);
    CHECK(rmdir("rm/") == 0);
    CHECK_ERRNO(rmdir("rm"), ENOENT);
}

static void a_removed_directory_is_empty_and_dead(void)
{
    char here[PATH_MAX];
    CHECK(getcwd(here, sizeof(here)) != NULL);
    CHECK(mkdir("dead", 0755) == 0 && chdir("dead") == 0 && rmdir("../dead") == 0);
    int err = 0;
    char buf[64];
    struct stat st;
    if (getcwd(buf, sizeof(buf)) || errno != ENOENT)
        err = 1;
    else if (open("x", O_CREAT | O_WRONLY, 0644) >= 0 || errno != ENOENT)
        err = 2;
    else if (stat(".", &st) || st.st_nlink != 0)
        err = 3;
    else if (mkdir("y", 0755) == 0 || errno != ENOENT)
        err = 4;
    CHECK(chdir(here) == 0);
    CHECK(err == 0);
}

/* --- hard links ------------------------------------------------------------------------------- */

static void hard_links_count(void)
{
    struct stat st;
    make("h1");
    CHECK(link("h1", "h2") == 0 && stat("h2", &st) == 0 && st.st_nlink == 2);
    CHECK_ERRNO(link("h1", "h2"), EEXIST);
    CHECK(mkdir("hd", 0755) == 0);
    CHECK_ERRNO(link("hd", "hd2"), EPERM);
    CHECK_ERRNO(link("h_none", "h3"), ENOENT);
    CHECK_ERRNO(link("h1", "h3/"), ENOENT);
    CHECK_ERRNO(linkat(AT_FDCWD, "h1", AT_FDCWD, "h3", 0x4000), EINVAL);
    int fd = open("h1", O_RDONLY);
    CHECK(unlink("h1") == 0 && unlink("h2") == 0 && fstat(fd, &st) == 0 && st.st_nlink == 0);
    close(fd);
}

static void a_link_to_a_link(void)
{
    make("ll_file");
    CHECK(symlink("ll_file", "ll_sym") == 0 && link("ll_sym", "ll_hard") == 0);
    struct stat st;
    CHECK(lstat("ll_hard", &st) == 0 && S_ISLNK(st.st_mode));
    CHECK(linkat(AT_FDCWD, "ll_sym", AT_FDCWD, "ll_followed", AT_SYMLINK_FOLLOW) == 0);
    CHECK(ino_of("ll_followed") == ino_of("ll_file"));
}

static void readlink_tells_the_target(void)
{
    char buf[8];
    make("rl_file");
    CHECK(symlink("a/long/target", "rl") == 0);
    CHECK(readlink("rl", buf, sizeof(buf)) == 8 && !memcmp(buf, "a/long/t", 8));
    CHECK_ERRNO(readlink("rl_file", buf, sizeof(buf)), EINVAL);
    CHECK_ERRNO(readlink(".", buf, sizeof(buf)), EINVAL);
    CHECK_ERRNO(readlink("rl", buf, 0), EINVAL);
    CHECK_ERRNO(readlink("rl_none", buf, sizeof(buf)), ENOENT);
    int fd = open("rl", O_PATH | O_NOFOLLOW);
    CHECK(fd >= 0 && readlinkat(fd, "", buf, 3) == 3 && !memcmp(buf, "a/l", 3));
    close(fd);
    struct stat st;
    CHECK(lstat("rl", &st) == 0 && st.st_size == 13);
}

/* --- O_TMPFILE, O_PATH ------------------------------------------------------------------------ */

static void a_nameless_file_gets_a_name(void)
{
    char path[64];
    struct stat st;
    int fd = open(".", O_TMPFILE | O_RDWR, 0600);
    CHECK(fd >= 0 && write(fd, "tmp", 3) == 3 && fstat(fd, &st) == 0 && st.st_nlink == 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    CHECK(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW) == 0);
    CHECK(fstat(fd, &st) == 0 && st.st_nlink == 1 && ino_of("named") == st.st_ino);
    CHECK(linkat(fd, "", AT_FDCWD, "named2", AT_EMPTY_PATH) == 0);
    CHECK(fstat(fd, &st) == 0 && st.st_nlink == 2);
    close(fd);
}

static void an_exclusive_nameless_file_stays_nameless(void)
{
    int fd = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600);
    CHECK(fd >= 0);
    CHECK_ERRNO(linkat(fd, "", AT_FDCWD, "never", AT_EMPTY_PATH), ENOENT);
    close(fd);
    CHECK_ERRNO(open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
    make("tmpfile_plain");
    CHECK_ERRNO(open("tmpfile_plain", O_TMPFILE | O_RDWR, 0600), ENOTDIR);
    CHECK_ERRNO(open("tmpfile_none", O_TMPFILE | O_RDWR, 0600), ENOENT);
}

static void a_file_without_names_is_not_linked_again(void)
{
    make("gone");
    int fd = open("gone", O_RDWR);
    CHECK(unlink("gone") == 0);
    CHECK_ERRNO(linkat(fd, "", AT_FDCWD, "back", AT_EMPTY_PATH), ENOENT);
    close(fd);
}

static void a_deleted_file_is_opened_by_its_descriptor(void)
{
    char path[64], target[128], text[8];
    make("gone");
    int fd = open("gone", O_RDWR);
    CHECK(write(fd, "bytes", 5) == 5 && unlink("gone") == 0);
    snprintf(path, sizeof(path), "/dev/fd/%d", fd);
    ssize_t n = readlink(path, target, sizeof(target));
    CHECK(n > 15 && !memcmp(target + n - 15, "/gone (deleted)", 15));
    int other = open(path, O_RDONLY);
    CHECK(other >= 0 && read(other, text, sizeof(text)) == 5 && !memcmp(text, "bytes", 5));
    CHECK(lseek(fd, 0, SEEK_CUR) == 5 && lseek(other, 0, SEEK_SET) == 0); /* each its position */
    close(other);
    other = open(path, O_WRONLY | O_TRUNC);
    CHECK(other >= 0 && lseek(fd, 0, SEEK_END) == 0);
    close(other);
    close(fd);
    fd = memfd_create("mem", 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    CHECK(write(fd, "bytes", 5) == 5);
    other = open(path, O_RDONLY);
    CHECK(other >= 0 && read(other, text, sizeof(text)) == 5);
    CHECK_ERRNO(write(other, "x", 1), EBADF);
    close(other);
    close(fd);
}

static void a_path_descriptor_only_names(void)
{
    char c;
    struct stat st;
    make("p");
    int fd = open("p", O_PATH | O_TRUNC | O_APPEND | O_RDWR);
    CHECK(fd >= 0 && fcntl(fd, F_GETFL) == O_PATH && fstat(fd, &st) == 0 && st.st_size == 1);
    CHECK_ERRNO(read(fd, &c, 1), EBADF);
    CHECK_ERRNO(write(fd, &c, 1), EBADF);
    CHECK_ERRNO(lseek(fd, 0, SEEK_SET), EBADF);
    CHECK_ERRNO(fchmod(fd, 0600), EBADF);
    CHECK_ERRNO(fchown(fd, 0, 0), EBADF);
    CHECK_ERRNO(ftruncate(fd, 0), EBADF);
    CHECK_ERRNO(fsync(fd), EBADF);
    CHECK_ERRNO(fcntl(fd, F_SETFL, O_NONBLOCK), EBADF);
    CHECK_ERRNO(ioctl(fd, 0x541b, &c), EBADF);
    int other = dup(fd);
    CHECK(other >= 0);
    close(other);
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    other = open(path, O_RDONLY);
    CHECK(other >= 0 && read(other, &c, 1) == 1 && c == 'p');
    close(other);
    close(fd);
}

static void a_path_descriptor_of_a_directory(void)
{
    CHECK(mkdir("pd", 0755) == 0);
    make("pd/in");
    int fd = open("pd", O_PATH);
    char buf[256];
    CHECK_ERRNO(syscall(SYS_getdents64, fd, buf, sizeof(buf)), EBADF);
    int in = openat(fd, "in", O_RDONLY);
    CHECK(in >= 0);
    close(in);
    int here = open(".", O_PATH);
    CHECK(fchdir(fd) == 0 && access("in", F_OK) == 0 && fchdir(here) == 0);
    close(here);
    close(fd);
}

static void a_path_descriptor_of_a_link(void)
{
    struct stat st;
    CHECK(symlink("nowhere", "pl") == 0);
    CHECK_ERRNO(open("pl", O_PATH), ENOENT);
    int fd = open("pl", O_PATH | O_NOFOLLOW);
    CHECK(fd >= 0 && fstat(fd, &st) == 0 && S_ISLNK(st.st_mode));
    CHECK(fstatat(fd, "", &st, AT_EMPTY_PATH) == 0 && st.st_size == 7);
    close(fd);
}

static void openat_starts_at_its_directory(void)
{
    make("oa");
    int file = open("oa", O_RDONLY), dir = open(".", O_RDONLY);
    CHECK_ERRNO(openat(file, "oa", O_RDONLY), ENOTDIR);
    CHECK_ERRNO(openat(999, "oa", O_RDONLY), EBADF);
    int abs = openat(999, "/", O_RDONLY);
    CHECK(abs >= 0);
    close(abs);
    int fd = openat(dir, "oa", O_RDONLY);
    CHECK(fd >= 0);
    close(fd);
    close(file);
    close(dir);
}

/* --- rename ----------------------------------------------------------------------------------- */

static int rename2(const char *from, const char *to, unsigned flags)
{
    return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}

static void rename_replaces_by_kind(void)
{
    make("rf");
    CHECK(mkdir("rd", 0755) == 0 && mkdir("re", 0755) == 0 && mkdir("rfull", 0755) == 0);
    make("rfull/x");
    CHECK_ERRNO(rename("rf", "rd"), EISDIR);
    CHECK_ERRNO(rename("rd", "rf"), ENOTDIR);
    CHECK_ERRNO(rename("rd", "rfull"), ENOTEMPTY);
    CHECK(rename("rd", "re") == 0);
    CHECK_ERRNO(access("rd", F_OK), ENOENT);
    CHECK_ERRNO(rename("re", "re/in"), EINVAL);
    CHECK_ERRNO(rename("rfull/x", "rfull"), ENOTEMPTY);
    CHECK_ERRNO(rename("r_none", "rf"), ENOENT);
    CHECK_ERRNO(rename("rf", "r_none/x"), ENOENT);
    CHECK_ERRNO(rename("rf", "rf2/"), ENOTDIR);
    CHECK_ERRNO(rename(".", "re2"), EBUSY);
    CHECK_ERRNO(rename("re", ".."), EBUSY);
}

static void rename_of_two_names_of_one_file(void)
{
    make("same1");
    CHECK(link("same1", "same2") == 0 && rename("same1", "same2") == 0);
    CHECK(access("same1", F_OK) == 0 && access("same2", F_OK) == 0);
    CHECK(rename("same1", "same1") == 0);
}

static void noreplace_keeps_what_is_there(void)
{
    make("nr1");
    make("nr2");
    CHECK_ERRNO(rename2("nr1", "nr2", RENAME_NOREPLACE), EEXIST);
    CHECK_ERRNO(rename2("nr1", "nr1", RENAME_NOREPLACE), EEXIST);
    CHECK_ERRNO(rename2("nr_none", "nr3", RENAME_NOREPLACE), ENOENT);
    CHECK(rename2("nr1", "nr3", RENAME_NOREPLACE) == 0 && access("nr3", F_OK) == 0);
    CHECK_ERRNO(rename2("nr3", "nr4", RENAME_NOREPLACE | RENAME_EXCHANGE), EINVAL);
    CHECK_ERRNO(rename2("nr3", "nr4", 0x100), EINVAL);
}

static void exchange_swaps_kinds(void)
{
    make("ex_f");
    CHECK(mkdir("ex_d", 0755) == 0);
    make("ex_d/in");
    ino_t f = ino_of("ex_f"), d = ino_of("ex_d");
    CHECK(rename2("ex_f", "ex_d", RENAME_EXCHANGE) == 0);
    CHECK(ino_of("ex_f") == d && ino_of("ex_d") == f && access("ex_f/in", F_OK) == 0);
    CHECK_ERRNO(rename2("ex_f", "ex_none", RENAME_EXCHANGE), ENOENT);
    CHECK_ERRNO(rename2("ex_f", "ex_f/in", RENAME_EXCHANGE), EINVAL);
    CHECK_ERRNO(rename2("ex_f/in", "ex_f", RENAME_EXCHANGE), EINVAL);
}

static void rename_moves_parents_counts(void)
{
    struct stat a, b;
    CHECK(mkdir("pa", 0755) == 0 && mkdir("pb", 0755) == 0 && mkdir("pa/child", 0755) == 0);
    CHECK(rename("pa/child", "pb/child") == 0);
    CHECK(stat("pa", &a) == 0 && stat("pb", &b) == 0 && a.st_nlink == 2 && b.st_nlink == 3);
    CHECK(ino_of("pb/child/..") == ino_of("pb"));
}

static void an_open_file_follows_its_rename(void)
{
    char path[64], target[PATH_MAX];
    make("of1");
    int fd = open("of1", O_RDONLY);
    CHECK(rename("of1", "of2") == 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    CHECK(n > 3 && !memcmp(target + n - 3, "of2", 3));
    CHECK(unlink("of2") == 0);
    n = readlink(path, target, sizeof(target) - 1);
    CHECK(n > 13 && !memcmp(target + n - 13, "of2 (deleted)", 13));
    close(fd);
}

/* --- openat2 ---------------------------------------------------------------------------------- */

static int open2(const char *name, uint64_t flags, uint64_t mode, uint64_t resolve)
{
    struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
    return syscall(SYS_openat2, AT_FDCWD, name, &how, sizeof(how));
}

#define OPENS(call)                                                                                \
    do {                                                                                           \
        int fd_ = (call);                                                                          \
        CHECK(fd_ >= 0);                                                                           \
        close(fd_);                                                                                \
    } while (0)

static void openat2_is_strict(void)
{
    struct open_how how = {.flags = O_RDONLY};
    struct {
        struct open_how how;
        uint64_t more;
    } longer = {.how = {.flags = O_RDONLY}};
    CHECK_ERRNO(syscall(SYS_openat2, AT_FDCWD, ".", &how, 8), EINVAL);
    CHECK_ERRNO(syscall(SYS_openat2, AT_FDCWD, ".", &how, 1 << 20), E2BIG);
    OPENS(syscall(SYS_openat2, AT_FDCWD, ".", &longer, sizeof(longer)));
    longer.more = 1;
    CHECK_ERRNO(syscall(SYS_openat2, AT_FDCWD, ".", &longer, sizeof(longer)), E2BIG);
    CHECK_ERRNO(open2(".", 1ull << 40, 0, 0), EINVAL);
    CHECK_ERRNO(open2(".", O_RDONLY, 0644, 0), EINVAL);
    CHECK_ERRNO(open2("o2", O_CREAT | O_RDWR, 010000, 0), EINVAL);
    CHECK_ERRNO(open2(".", O_PATH | O_APPEND, 0, 0), EINVAL);
    CHECK_ERRNO(open2(".", O_RDONLY, 0, 0x1000), EINVAL);
    CHECK_ERRNO(open2(".", O_RDONLY, 0, RESOLVE_BENEATH | RESOLVE_IN_ROOT), EINVAL);
    OPENS(open2("o2", O_CREAT | O_RDWR, 0600, 0));
}

static void resolve_beneath_does_not_leave(void)
{
    CHECK(mkdir("bn", 0755) == 0 && mkdir("bn/sub", 0755) == 0);
    make("bn/in");
    CHECK(symlink("/etc", "bn/abs") == 0 && symlink("../bn/in", "bn/up") == 0);
    CHECK(symlink("in", "bn/ok") == 0 && symlink("../in", "bn/sub/ok") == 0);
    OPENS(open2("bn/in", O_RDONLY, 0, RESOLVE_BENEATH));
    OPENS(open2("bn/sub/../in", O_RDONLY, 0, RESOLVE_BENEATH));
    CHECK_ERRNO(open2("..", O_RDONLY, 0, RESOLVE_BENEATH), EXDEV);
    CHECK_ERRNO(open2("/etc", O_RDONLY, 0, RESOLVE_BENEATH), EXDEV);
    CHECK_ERRNO(open2("bn/../../x", O_RDONLY, 0, RESOLVE_BENEATH), EXDEV);
    CHECK_ERRNO(open2("bn/abs", O_RDONLY, 0, RESOLVE_BENEATH), EXDEV);
    int dir = open("bn", O_PATH);
    struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_BENEATH};
    OPENS(syscall(SYS_openat2, dir, "ok", &how, sizeof(how)));
    OPENS(syscall(SYS_openat2, dir, "sub/ok", &how, sizeof(how)));
    CHECK_ERRNO(syscall(SYS_openat2, dir, "up", &how, sizeof(how)), EXDEV);
    CHECK_ERRNO(syscall(SYS_openat2, dir, "sub/../../bn/in", &how, sizeof(how)), EXDEV);
    close(dir);
}

static void resolve_in_root_takes_the_directory_for_the_root(void)
{
    CHECK(mkdir("ir", 0755) == 0 && mkdir("ir/sub", 0755) == 0);
    make("ir/in");
    CHECK(symlink("/in", "ir/abs") == 0 && symlink("../../../in", "ir/sub/up") == 0);
    int dir = open("ir", O_PATH);
    struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_IN_ROOT};
    OPENS(syscall(SYS_openat2, dir, "/in", &how, sizeof(how)));
    OPENS(syscall(SYS_openat2, dir, "abs", &how, sizeof(how)));
    OPENS(syscall(SYS_openat2, dir, "sub/up", &how, sizeof(how)));
    OPENS(syscall(SYS_openat2, dir, "../../in", &how, sizeof(how)));
    CHECK_ERRNO(syscall(SYS_openat2, dir, "/etc", &how, sizeof(how)), ENOENT);
    close(dir);
}

static void resolve_no_symlinks(void)
{
    make("ns");
    CHECK(symlink("ns", "ns_link") == 0 && symlink(".", "ns_dir") == 0);
    OPENS(open2("ns", O_RDONLY, 0, RESOLVE_NO_SYMLINKS));
    CHECK_ERRNO(open2("ns_link", O_RDONLY, 0, RESOLVE_NO_SYMLINKS), ELOOP);
    CHECK_ERRNO(open2("ns_dir/ns", O_RDONLY, 0, RESOLVE_NO_SYMLINKS), ELOOP);
    CHECK_ERRNO(open2("ns_dir/new", O_CREAT | O_RDWR, 0600, RESOLVE_NO_SYMLINKS), ELOOP);
    OPENS(open2("ns_link", O_PATH | O_NOFOLLOW, 0, RESOLVE_NO_SYMLINKS));
}

static void resolve_no_magiclinks(void)
{
    char path[64];
    make("nm");
    int fd = open("nm", O_RDONLY);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    OPENS(open2(path, O_RDONLY, 0, 0));
    CHECK_ERRNO(open2(path, O_RDONLY, 0, RESOLVE_NO_MAGICLINKS), ELOOP);
    CHECK_ERRNO(open2("/proc/self/cwd/nm", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS), ELOOP);
    OPENS(open2("/proc/self/stat", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS));
    close(fd);
}

static void resolve_no_xdev(void)
{
    OPENS(open2(".", O_RDONLY, 0, RESOLVE_NO_XDEV));
    CHECK_ERRNO(open2("/proc/stat", O_RDONLY, 0, RESOLVE_NO_XDEV), EXDEV);
    int proc = open("/proc", O_PATH);
    struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_NO_XDEV};
    OPENS(syscall(SYS_openat2, proc, "stat", &how, sizeof(how)));
    CHECK_ERRNO(syscall(SYS_openat2, proc, "..", &how, sizeof(how)), EXDEV);
    CHECK_ERRNO(syscall(SYS_openat2, proc, "/proc/stat", &how, sizeof(how)), EXDEV);
    close(proc);
}

/* --- listings --------------------------------------------------------------------------------- */

#define MANY 400

static void fill_directory(const char *dir)
{
    char name[64];
    CHECK(mkdir(dir, 0755) == 0);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "%s/%03d", dir, i);
        int fd = open(name, O_CREAT | O_WRONLY, 0600);
        CHECK(fd >= 0);
        close(fd);
    }
}

static void a_listing_survives_removals(void)
{
    char name[300], seen[MANY] = {0};
    fill_directory("list");
    DIR *d = opendir("list");
    struct dirent *e;
    int n = 0;
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        CHECK(e->d_type == DT_REG || e->d_type == DT_UNKNOWN);
        CHECK(!seen[atoi(e->d_name)]++);
        n++;
        snprintf(name, sizeof(name), "list/%s", e->d_name);
        CHECK(unlink(name) == 0);
    }
    CHECK(n == MANY);
    closedir(d);
    CHECK(rmdir("list") == 0);
}

static void a_position_is_come_back_to(void)
{
    char after[256], name[300];
    fill_directory("tell");
    DIR *d = opendir("tell");
    for (int i = 0; i < 100; i++)
        CHECK(readdir(d) != NULL);
    long at = telldir(d);
    struct dirent *e = readdir(d);
    CHECK(e != NULL);
    strcpy(after, e->d_name);
    e = readdir(d);
    snprintf(name, sizeof(name), "tell/%s", e->d_name);
    CHECK(unlink(name) == 0); /* another one goes: the position stays */
    seekdir(d, at);
    e = readdir(d);
    CHECK(e && !strcmp(e->d_name, after));
    rewinddir(d);
    int n = 0;
    while (readdir(d))
        n++;
    CHECK(n == MANY - 1 + 2);
    closedir(d);
}

static void a_listing_needs_room_for_an_entry(void)
{
    char buf[1024];
    int fd = open(".", O_RDONLY);
    CHECK_ERRNO(syscall(SYS_getdents64, fd, buf, 8), EINVAL);
    CHECK_ERRNO(syscall(SYS_getdents64, fd, 1, 1024), EFAULT);
    CHECK(lseek(fd, 0, SEEK_SET) == 0 && syscall(SYS_getdents64, fd, buf, sizeof(buf)) > 0);
    CHECK(syscall(SYS_getdents, fd, buf, sizeof(buf)) > 0);
    close(fd);
    make("no_list");
    fd = open("no_list", O_RDONLY);
    CHECK_ERRNO(syscall(SYS_getdents64, fd, buf, sizeof(buf)), ENOTDIR);
    close(fd);
}

static void the_old_listing_has_its_own_form(void)
{
    char buf[1024];
    struct old {
        unsigned long ino, off;
        unsigned short reclen;
        char name[];
    };
    CHECK(mkdir("old", 0755) == 0 && mkdir("old/sub", 0755) == 0);
    int fd = open("old", O_RDONLY), found = 0;
    long n = syscall(SYS_getdents, fd, buf, sizeof(buf));
    for (long at = 0; at < n;) {
        struct old *e = (struct old *)(buf + at);
        if (!strcmp(e->name, "sub"))
            found = buf[at + e->reclen - 1] == DT_DIR && e->ino == ino_of("old/sub");
        at += e->reclen;
    }
    CHECK(found);
    close(fd);
}

static void getcwd_tells_its_length(void)
{
    char buf[PATH_MAX], small[2];
    long n = syscall(SYS_getcwd, buf, sizeof(buf));
    CHECK(n == (long)strlen(buf) + 1);
    CHECK_ERRNO(syscall(SYS_getcwd, small, sizeof(small)), ERANGE);
    CHECK_ERRNO(syscall(SYS_getcwd, 1, sizeof(buf)), EFAULT);
}

int main(void)
{
    own_directory();
    CASE(a_file_is_no_directory);
    CASE(names_have_a_longest_length);
    CASE(paths_have_a_longest_length);
    CASE(the_empty_path_names_nothing);
    CASE(links_are_followed_forty_times);
    CASE(nofollow_stops_at_a_link);
    CASE(creating_through_a_dangling_link);
    CASE(opening_a_directory);
    CASE(removing_directories);
    CASE(a_removed_directory_is_empty_and_dead);
    CASE(hard_links_count);
    CASE(a_link_to_a_link);
    CASE(readlink_tells_the_target);
    CASE(a_nameless_file_gets_a_name);
    CASE(an_exclusive_nameless_file_stays_nameless);
    CASE(a_file_without_names_is_not_linked_again);
    CASE(a_deleted_file_is_opened_by_its_descriptor);
    CASE(a_path_descriptor_only_names);
    CASE(a_path_descriptor_of_a_directory);
    CASE(a_path_descriptor_of_a_link);
    CASE(openat_starts_at_its_directory);
    CASE(rename_replaces_by_kind);
    CASE(rename_of_two_names_of_one_file);
    CASE(noreplace_keeps_what_is_there);
    CASE(exchange_swaps_kinds);
    CASE(rename_moves_parents_counts);
    CASE(an_open_file_follows_its_rename);
    CASE(openat2_is_strict);
    CASE(resolve_beneath_does_not_leave);
    CASE(resolve_in_root_takes_the_directory_for_the_root);
    CASE(resolve_no_symlinks);
    CASE(resolve_no_magiclinks);
    CASE(resolve_no_xdev);
    CASE(a_listing_survives_removals);
    CASE(a_position_is_come_back_to);
    CASE(a_listing_needs_room_for_an_entry);
    CASE(the_old_listing_has_its_own_form);
    CASE(getcwd_tells_its_length);
    return check_result();
}
