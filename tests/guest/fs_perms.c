/* Who may do what: modes, owners, groups, sticky and set-id bits, times, as several users. */
#define _GNU_SOURCE
#include <grp.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <utime.h>

#include "check.h"

#define ALICE 1001
#define BOB 1002
#define CREW 2001

static void again_root(void)
{
    if (seteuid(0) || setegid(0) || setgroups(0, NULL))
        perror("root");
}

/* Effective ids and one more group; the capabilities of root go. */
static void become(uid_t uid, gid_t gid, gid_t extra)
{
    again_root();
    CHECK(setgroups(extra ? 1 : 0, &extra) == 0 && setegid(gid) == 0 && seteuid(uid) == 0);
}

static void make(const char *name, mode_t mode, uid_t uid, gid_t gid)
{
    int fd = open(name, O_CREAT | O_WRONLY, 0600);
    CHECK(fd >= 0 && fchown(fd, uid, gid) == 0 && fchmod(fd, mode) == 0);
    close(fd);
}

static void make_dir(const char *name, mode_t mode, uid_t uid, gid_t gid)
{
    CHECK(mkdir(name, 0700) == 0 && chown(name, uid, gid) == 0 && chmod(name, mode) == 0);
}

static mode_t mode_of(const char *name)
{
    struct stat st;
    CHECK(lstat(name, &st) == 0);
    return st.st_mode & 07777;
}

static int opens(const char *name, int flags)
{
    int fd = open(name, flags);
    if (fd >= 0)
        close(fd);
    return fd < 0 ? errno : 0;
}

/* --- modes ------------------------------------------------------------------------------------ */

static void the_first_class_that_fits_decides(void)
{
    make("c", 0047, ALICE, CREW);
    become(ALICE, 100, 0);
    CHECK(opens("c", O_RDONLY) == EACCES);
    become(BOB, 100, CREW);
    CHECK(opens("c", O_RDONLY) == 0 && opens("c", O_WRONLY) == EACCES);
    become(BOB, 100, 0);
    CHECK(opens("c", O_RDWR) == 0);
}

static void root_reads_all_but_runs_only_programs(void)
{
    make("r", 0000, ALICE, CREW);
    CHECK(opens("r", O_RDWR) == 0 && access("r", R_OK | W_OK) == 0);
    CHECK_ERRNO(access("r", X_OK), EACCES);
    CHECK(chmod("r", 0001) == 0 && access("r", X_OK) == 0);
    make_dir("rdir", 0000, ALICE, CREW);
    CHECK(access("rdir", X_OK) == 0);
}

static void searching_needs_x_listing_needs_r(void)
{
    make_dir("x", 0711, 0, 0);
    make("x/in", 0644, 0, 0);
    make_dir("l", 0744, 0, 0);
    make("l/in", 0644, 0, 0);
    become(ALICE, 100, 0);
    CHECK(opens("x/in", O_RDONLY) == 0 && opens("x", O_RDONLY) == EACCES);
    CHECK(opens("l/in", O_RDONLY) == EACCES && opens("l", O_RDONLY) == 0);
    CHECK_ERRNO(chdir("l"), EACCES);
}

static void changing_names_needs_w_and_x(void)
{
    make_dir("w", 0722, 0, 0);
    make("w/in", 0666, 0, 0);
    make_dir("wx", 0733, 0, 0);
    make("wx/in", 0600, 0, 0);
    become(ALICE, 100, 0);
    CHECK_ERRNO(unlink("w/in"), EACCES);
    CHECK_ERRNO(mkdir("w/new", 0755), EACCES);
    CHECK(mkdir("wx/new", 0755) == 0 && unlink("wx/in") == 0 && rmdir("wx/new") == 0);
}

static void sticky_directories_protect_the_files_of_others(void)
{
    make_dir("st", 01777, 0, 0);
    make("st/a", 0666, ALICE, 100);
    make("st/r", 0666, 0, 0);
    become(BOB, 100, 0);
    CHECK_ERRNO(unlink("st/a"), EPERM);
    CHECK_ERRNO(rename("st/a", "st/b"), EPERM);
    make("st/mine", 0644, BOB, 100);
    CHECK_ERRNO(rename("st/mine", "st/a"), EPERM); /* would remove alice's */
    CHECK(rename("st/mine", "st/mine2") == 0 && unlink("st/mine2") == 0);
    become(ALICE, 100, 0);
    CHECK(unlink("st/a") == 0);
    CHECK_ERRNO(unlink("st/r"), EPERM);
}

static void the_owner_of_a_sticky_directory_removes_all(void)
{
    make_dir("so", 01777, ALICE, 100);
    make("so/b", 0600, BOB, 100);
    become(ALICE, 100, 0);
    CHECK(unlink("so/b") == 0);
}

static void umask_takes_bits_away(void)
{
    mode_t old = umask(027);
    CHECK(mkdir("um_d", 0777) == 0 && mode_of("um_d") == 0750);
    int fd = open("um_f", O_CREAT | O_WRONLY, 0666);
    close(fd);
    CHECK(mode_of("um_f") == 0640);
    CHECK(mkfifo("um_p", 0666) == 0 && mode_of("um_p") == 0640);
    CHECK(symlink("x", "um_l") == 0 && mode_of("um_l") == 0777);
    CHECK(umask(01777) == 027 && umask(old) == 0777); /* only permissions are kept */
}

static void an_open_file_keeps_its_rights(void)
{
    make("k", 0600, ALICE, 100);
    become(ALICE, 100, 0);
    int fd = open("k", O_RDWR);
    CHECK(fd >= 0 && chmod("k", 0000) == 0 && write(fd, "x", 1) == 1);
    CHECK(opens("k", O_RDONLY) == EACCES);
    close(fd);
    fd = open("k2", O_CREAT | O_RDWR, 0);
    again_root();
    CHECK(fd < 0); /* alice may not write here */
    make_dir("kd", 0700, ALICE, 100);
    become(ALICE, 100, 0);
    fd = open("kd/k2", O_CREAT | O_RDWR, 0); /* the maker gets what it asked for */
    CHECK(fd >= 0 && write(fd, "x", 1) == 1);
    close(fd);
}

/* --- access ----------------------------------------------------------------------------------- */

static void access_asks_for_the_real_user(void)
{
    make("ac", 0600, 0, 0);
    become(ALICE, 100, 0); /* real: root */
    CHECK(access("ac", R_OK) == 0);
    CHECK_ERRNO(faccessat(AT_FDCWD, "ac", R_OK, AT_EACCESS), EACCES);
    CHECK_ERRNO(syscall(SYS_faccessat2, AT_FDCWD, "ac", R_OK, AT_EACCESS), EACCES);
    CHECK_ERRNO(syscall(SYS_faccessat2, AT_FDCWD, "ac", 8, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_faccessat2, AT_FDCWD, "ac", R_OK, 0x8000), EINVAL);
    CHECK(access("ac", F_OK) == 0);
    CHECK_ERRNO(access("ac_none", F_OK), ENOENT);
    again_root();
    CHECK(symlink("ac_none", "ac_l") == 0);
    CHECK(syscall(SYS_faccessat2, AT_FDCWD, "ac_l", F_OK, AT_SYMLINK_NOFOLLOW) == 0);
    CHECK_ERRNO(access("ac_l", F_OK), ENOENT);
    int fd = open("ac", O_RDONLY);
    CHECK(syscall(SYS_faccessat2, fd, "", R_OK, AT_EMPTY_PATH) == 0);
    close(fd);
}

/* --- owners ----------------------------------------------------------------------------------- */

static void only_root_gives_files_away(void)
{
    make("ch", 0644, ALICE, 100);
    become(ALICE, 100, CREW);
    CHECK_ERRNO(chown("ch", BOB, -1), EPERM);
    CHECK(chown("ch", ALICE, -1) == 0 && chown("ch", -1, -1) == 0);
    CHECK(chown("ch", -1, CREW) == 0);
    CHECK_ERRNO(chown("ch", -1, 3001), EPERM);
    become(BOB, 100, CREW);
    CHECK_ERRNO(chown("ch", -1, CREW), EPERM);
    CHECK_ERRNO(chown("ch", BOB, CREW), EPERM);
}

static void only_the_owner_changes_the_mode(void)
{
    make("cm", 0666, ALICE, 100);
    become(BOB, 100, 0);
    CHECK_ERRNO(chmod("cm", 0600), EPERM);
    become(ALICE, 100, 0);
    CHECK(chmod("cm", 0640) == 0 && mode_of("cm") == 0640);
}

static void set_gid_needs_membership(void)
{
    make("sg", 0644, ALICE, CREW);
    become(ALICE, 100, 0);
    CHECK(chmod("sg", 02755) == 0 && mode_of("sg") == 0755); /* silently without */
    become(ALICE, 100, CREW);
    CHECK(chmod("sg", 02755) == 0 && mode_of("sg") == 02755);
}

static void lchown_changes_the_link(void)
{
    struct stat st;
    make("lc", 0644, 0, 0);
    CHECK(symlink("lc", "lc_l") == 0 && lchown("lc_l", ALICE, CREW) == 0);
    CHECK(lstat("lc_l", &st) == 0 && st.st_uid == ALICE && st.st_gid == CREW);
    CHECK(stat("lc_l", &st) == 0 && st.st_uid == 0);
    CHECK_ERRNO(fchownat(AT_FDCWD, "lc", 0, 0, 0x4000), EINVAL);
}

static void chown_takes_set_id_bits(void)
{
    make("cs", 06755, ALICE, CREW);
    CHECK(chown("cs", BOB, -1) == 0 && mode_of("cs") == 0755);
    CHECK(chmod("cs", 06745) == 0 && chown("cs", ALICE, -1) == 0);
    CHECK(mode_of("cs") == 02745); /* set-gid without group execution stays */
    make_dir("cs_d", 06755, ALICE, CREW);
    CHECK(chown("cs_d", BOB, -1) == 0 && mode_of("cs_d") == 06755);
}

static void writing_takes_set_id_bits(void)
{
    make("ws", 0777, 0, 0);
    CHECK(chmod("ws", 06777) == 0);
    become(ALICE, 100, 0);
    int fd = open("ws", O_WRONLY);
    CHECK(fd >= 0 && mode_of("ws") == 06777 && write(fd, "x", 1) == 1);
    close(fd);
    CHECK(mode_of("ws") == 0777);
    again_root();
    CHECK(chmod("ws", 06777) == 0);
    fd = open("ws", O_WRONLY);
    CHECK(write(fd, "x", 1) == 1 && mode_of("ws") == 06777); /* root's writes keep them */
    close(fd);
}

static void truncating_takes_set_id_bits(void)
{
    make("ts", 0777, 0, 0);
    CHECK(chmod("ts", 06777) == 0);
    become(ALICE, 100, 0);
    CHECK(truncate("ts", 10) == 0 && mode_of("ts") == 0777);
    again_root();
    CHECK(chmod("ts", 06777) == 0);
    become(ALICE, 100, 0);
    int fd = open("ts", O_WRONLY);
    CHECK(ftruncate(fd, 5) == 0 && mode_of("ts") == 0777);
    close(fd);
    again_root();
    CHECK(chmod("ts", 06777) == 0);
    become(ALICE, 100, 0);
    fd = open("ts", O_WRONLY | O_TRUNC);
    CHECK(fd >= 0 && mode_of("ts") == 0777);
    close(fd);
}

static void a_set_gid_directory_hands_its_group_on(void)
{
    struct stat st;
    make_dir("gd", 02777, 0, CREW);
    become(ALICE, 100, 0);
    CHECK(mkdir("gd/sub", 0755) == 0 && stat("gd/sub", &st) == 0);
    CHECK(st.st_gid == CREW && st.st_uid == ALICE && (st.st_mode & 07777) == 02755);
    int fd = open("gd/f", O_CREAT | O_WRONLY, 02755);
    CHECK(fd >= 0 && fstat(fd, &st) == 0 && st.st_gid == CREW);
    CHECK((st.st_mode & 07777) == 0755); /* alice is not in the group */
    close(fd);
    become(ALICE, CREW, 0);
    fd = open("gd/g", O_CREAT | O_WRONLY, 02755);
    CHECK(fd >= 0 && fstat(fd, &st) == 0 && (st.st_mode & 07777) == 02755);
    close(fd);
}

static void new_files_are_the_makers(void)
{
    struct stat st;
    make_dir("nf", 0777, 0, CREW);
    become(ALICE, 100, 0);
    int fd = open("nf/f", O_CREAT | O_WRONLY, 0644);
    CHECK(fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == ALICE && st.st_gid == 100);
    close(fd);
    CHECK(symlink("f", "nf/l") == 0 && lstat("nf/l", &st) == 0 && st.st_uid == ALICE);
    CHECK(mkfifo("nf/p", 0600) == 0 && lstat("nf/p", &st) == 0 && st.st_uid == ALICE);
}

static void devices_are_roots_to_make(void)
{
    make_dir("md", 0777, 0, 0);
    become(ALICE, 100, 0);
    CHECK_ERRNO(mknod("md/c", S_IFCHR | 0600, 0x103), EPERM);
    CHECK_ERRNO(mknod("md/b", S_IFBLK | 0600, 0x103), EPERM);
    CHECK(mknod("md/f", S_IFREG | 0600, 0) == 0 && mknod("md/s", S_IFSOCK | 0600, 0) == 0);
    again_root();
    CHECK_ERRNO(mknod("md/d", S_IFDIR | 0600, 0), EPERM);
    CHECK_ERRNO(mknod("md/x", 0110000, 0), EINVAL);
    CHECK(mknod("md/null", S_IFCHR | 0600, 0x103) == 0);
    int fd = open("md/null", O_RDWR);
    CHECK(fd >= 0 && write(fd, "x", 1) == 1);
    close(fd);
    CHECK(opens("md/s", O_RDONLY) == ENXIO);
}

/* --- times ------------------------------------------------------------------------------------ */

static void times_are_set_to_the_nanosecond(void)
{
    struct timespec t[2] = {{1000, 1}, {2000, 999999999}};
    struct stat st;
    make("t", 0644, 0, 0);
    CHECK(utimensat(AT_FDCWD, "t", t, 0) == 0 && stat("t", &st) == 0);
    CHECK(st.st_atim.tv_sec == 1000 && st.st_atim.tv_nsec == 1);
    CHECK(st.st_mtim.tv_sec == 2000 && st.st_mtim.tv_nsec == 999999999);
    t[0].tv_nsec = UTIME_OMIT;
    t[1] = (struct timespec){5, 0};
    CHECK(utimensat(AT_FDCWD, "t", t, 0) == 0 && stat("t", &st) == 0);
    CHECK(st.st_atim.tv_sec == 1000 && st.st_mtim.tv_sec == 5 && st.st_ctim.tv_sec > 1000000);
    t[0] = t[1] = (struct timespec){0, UTIME_NOW};
    CHECK(utimensat(AT_FDCWD, "t", t, 0) == 0 && stat("t", &st) == 0);
    CHECK(st.st_atim.tv_sec > 1000000 && st.st_mtim.tv_sec > 1000000);
}

static void strange_times_are_refused(void)
{
    struct timespec t[2] = {{0, 1000000000}, {0, 0}}, omit[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
    struct timeval tv[2] = {{0, 1000000}, {0, 0}};
    make("tb", 0644, 0, 0);
    CHECK_ERRNO(utimensat(AT_FDCWD, "tb", t, 0), EINVAL);
    t[0].tv_nsec = -1;
    CHECK_ERRNO(utimensat(AT_FDCWD, "tb", t, 0), EINVAL);
    CHECK_ERRNO(utimensat(AT_FDCWD, "tb", NULL, 0x4000), EINVAL);
    CHECK_ERRNO(syscall(SYS_utimes, "tb", tv), EINVAL);
    CHECK_ERRNO(utimensat(AT_FDCWD, "tb_none", NULL, 0), ENOENT);
    CHECK(utimensat(AT_FDCWD, "tb_none", omit, 0) == 0); /* nothing to do: not even looked up */
    CHECK_ERRNO(syscall(SYS_utimensat, AT_FDCWD, "tb", 1, 0), EFAULT);
    CHECK_ERRNO(syscall(SYS_utimensat, AT_FDCWD, NULL, NULL, 0), EFAULT);
}

static void times_of_a_link(void)
{
    struct timespec t[2] = {{7, 0}, {8, 0}};
    struct stat st;
    make("tl", 0644, 0, 0);
    CHECK(symlink("tl", "tl_l") == 0);
    CHECK(utimensat(AT_FDCWD, "tl_l", t, AT_SYMLINK_NOFOLLOW) == 0);
    CHECK(lstat("tl_l", &st) == 0 && st.st_mtim.tv_sec == 8);
    CHECK(stat("tl", &st) == 0 && st.st_mtim.tv_sec > 1000000);
    int fd = open("tl", O_RDONLY);
    CHECK(futimens(fd, t) == 0 && fstat(fd, &st) == 0 && st.st_atim.tv_sec == 7);
    close(fd);
}

static void writers_may_touch_owners_may_set(void)
{
    struct timespec t[2] = {{7, 0}, {8, 0}};
    make("tw", 0666, 0, 0);
    make("tr", 0644, 0, 0);
    become(ALICE, 100, 0);
    CHECK(utimensat(AT_FDCWD, "tw", NULL, 0) == 0);
    CHECK_ERRNO(utimensat(AT_FDCWD, "tw", t, 0), EPERM);
    CHECK_ERRNO(utimensat(AT_FDCWD, "tr", NULL, 0), EACCES);
    CHECK_ERRNO(utimensat(AT_FDCWD, "tr", t, 0), EPERM);
    t[0].tv_nsec = UTIME_NOW;
    t[1].tv_nsec = UTIME_OMIT;
    CHECK_ERRNO(utimensat(AT_FDCWD, "tw", t, 0), EPERM); /* one of the two is setting */
}

static void changes_move_the_right_times(void)
{
    struct timespec past[2] = {{7, 0}, {8, 0}};
    struct stat a, b;
    make("ct", 0644, 0, 0);
    CHECK(utimensat(AT_FDCWD, "ct", past, 0) == 0 && stat("ct", &a) == 0);
    usleep(20000);
    CHECK(chmod("ct", 0600) == 0 && stat("ct", &b) == 0);
    CHECK(b.st_mtim.tv_sec == 8 && b.st_ctim.tv_nsec != a.st_ctim.tv_nsec);
    int fd = open("ct", O_WRONLY);
    CHECK(write(fd, "x", 1) == 1 && stat("ct", &b) == 0 && b.st_mtim.tv_sec > 8);
    close(fd);
    CHECK(mkdir("ct_d", 0755) == 0 && utimensat(AT_FDCWD, "ct_d", past, 0) == 0);
    make("ct_d/x", 0644, 0, 0);
    CHECK(stat("ct_d", &b) == 0 && b.st_mtim.tv_sec > 8);
}

static void noatime_is_the_owners(void)
{
    make("na", 0644, ALICE, 100);
    become(BOB, 100, 0);
    CHECK(opens("na", O_RDONLY | O_NOATIME) == EPERM);
    become(ALICE, 100, 0);
    CHECK(opens("na", O_RDONLY | O_NOATIME) == 0);
}

static void truncate_needs_the_right_to_write(void)
{
    make("tn", 0644, 0, 0);
    become(ALICE, 100, 0);
    CHECK_ERRNO(truncate("tn", 0), EACCES);
    CHECK(opens("tn", O_RDONLY | O_TRUNC) == EACCES);
}

static void links_to_files_of_others(void)
{
    make_dir("ol", 0777, 0, 0);
    make("ol/f", 0666, 0, 0);
    become(ALICE, 100, 0);
    CHECK(link("ol/f", "ol/g") == 0 || errno == EPERM); /* protected_hardlinks */
    make("ol/mine", 0600, ALICE, 100);
    CHECK(link("ol/mine", "ol/mine2") == 0);
}

int main(void)
{
    own_directory();
    chmod(".", 0755);
    umask(022);
#define AS(fn)                                                                                     \
    CASE(fn);                                                                                      \
    again_root()
    AS(the_first_class_that_fits_decides);
    AS(root_reads_all_but_runs_only_programs);
    AS(searching_needs_x_listing_needs_r);
    AS(changing_names_needs_w_and_x);
    AS(sticky_directories_protect_the_files_of_others);
    AS(the_owner_of_a_sticky_directory_removes_all);
    AS(umask_takes_bits_away);
    AS(an_open_file_keeps_its_rights);
    AS(access_asks_for_the_real_user);
    AS(only_root_gives_files_away);
    AS(only_the_owner_changes_the_mode);
    AS(set_gid_needs_membership);
    AS(lchown_changes_the_link);
    AS(chown_takes_set_id_bits);
    AS(writing_takes_set_id_bits);
    AS(truncating_takes_set_id_bits);
    AS(a_set_gid_directory_hands_its_group_on);
    AS(new_files_are_the_makers);
    AS(devices_are_roots_to_make);
    AS(times_are_set_to_the_nanosecond);
    AS(strange_times_are_refused);
    AS(times_of_a_link);
    AS(writers_may_touch_owners_may_set);
    AS(changes_move_the_right_times);
    AS(noatime_is_the_owners);
    AS(truncate_needs_the_right_to_write);
    AS(links_to_files_of_others);
    return check_result();
}
