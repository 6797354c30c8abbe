/* Several users: what set*id calls allow, what they forbid others, and capabilities. */
#define _GNU_SOURCE
#include <grp.h>
#include <stdbool.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "child.h"

#define ALICE 3001u
#define BOB 3002u

static struct __user_cap_data_struct caps[2];

static int get_caps(void)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    return (int)syscall(SYS_capget, &h, caps);
}

static int set_caps(void)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    return (int)syscall(SYS_capset, &h, caps);
}

static bool has_cap(int cap)
{
    return get_caps() == 0 && (caps[cap / 32].effective >> (cap % 32) & 1);
}

static void become(uid_t uid)
{
    CHECK(setgroups(0, NULL) == 0 && setresgid(uid, uid, uid) == 0);
    CHECK(setresuid(uid, uid, uid) == 0);
}

/* An idle child of the user's. */
static pid_t child_of(uid_t uid)
{
    int fds[2];
    char c;
    CHECK(pipe(fds) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        if (setresgid(uid, uid, uid) || setresuid(uid, uid, uid) || write(fds[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    CHECK(read(fds[0], &c, 1) == 1);
    close(fds[0]);
    close(fds[1]);
    return pid;
}

static pid_t victim;

static void others_are_out_of_reach(void)
{
    struct rlimit l;
    char buf[8];
    struct iovec mine = {buf, 8}, its = {&l, 8};
    int fd = (int)syscall(SYS_pidfd_open, victim, 0);
    become(ALICE);
    CHECK_ERRNO(kill(victim, 0), EPERM);
    CHECK_ERRNO(kill(victim, SIGTERM), EPERM);
    CHECK_ERRNO(kill(victim, SIGCONT), EPERM); /* another session */
    CHECK_ERRNO(sigqueue(victim, SIGUSR1, (union sigval){0}), EPERM);
    CHECK_ERRNO(syscall(SYS_tgkill, victim, victim, SIGUSR1), EPERM);
    CHECK_ERRNO(syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0), EPERM);
    CHECK_ERRNO(setpriority(PRIO_PROCESS, (id_t)victim, 5), EPERM);
    CHECK_ERRNO(prlimit(victim, RLIMIT_CORE, NULL, &l), EPERM);
    CHECK_ERRNO(process_vm_readv(victim, &mine, 1, &its, 1, 0), EPERM);
    CHECK_ERRNO(syscall(SYS_pidfd_getfd, fd, 0, 0), EPERM);
    CHECK_ERRNO(kill(1, SIGTERM), EPERM);
    CHECK(getpriority(PRIO_PROCESS, (id_t)victim) == 0);
}

static void users_cannot_touch_each_other(void)
{
    victim = child_of(BOB);
    CHECK(in_child(others_are_out_of_reach) == 0);
    CHECK(waitpid(victim, NULL, WNOHANG) == 0);
    end_child(victim);
}

static void own_are_in_reach(void)
{
    become(ALICE);
    CHECK(kill(victim, 0) == 0 && kill(victim, SIGTERM) == 0);
}

static void users_reach_their_own(void)
{
    victim = child_of(ALICE);
    CHECK(in_child(own_are_in_reach) == 0);
    CHECK(WTERMSIG(child_status(victim)) == SIGTERM);
}

static void broadcast(void)
{
    become(100000 + (unsigned)getpid()); /* nobody else is, on a host that others use too */
    CHECK(kill(-1, SIGKILL) == 0);       /* though everybody else is somebody else's */
    pid_t pid = idle_child();
    CHECK(kill(-1, SIGTERM) == 0);
    CHECK(WTERMSIG(child_status(pid)) == SIGTERM);
}

static void kill_minus_one_reaches_the_users_own(void)
{
    CHECK(in_child(broadcast) == 0);
}

static void setuid_is_for_ever(void)
{
    CHECK(setuid(ALICE) == 0 && getuid() == ALICE && geteuid() == ALICE);
    CHECK_ERRNO(setuid(0), EPERM);
    CHECK_ERRNO(seteuid(0), EPERM);
    CHECK_ERRNO(setresuid(BOB, (uid_t)-1, (uid_t)-1), EPERM);
    CHECK_ERRNO(setreuid(BOB, BOB), EPERM);
    CHECK_ERRNO(setgid(0x7777), EPERM);
    CHECK_ERRNO(setgroups(0, NULL), EPERM);
    CHECK(setuid(ALICE) == 0);
}

static void setuid_gives_everything_up(void)
{
    CHECK(in_child(setuid_is_for_ever) == 0);
}

static void seteuid_goes_back(void)
{
    uid_t r, e, s;
    CHECK(seteuid(ALICE) == 0 && !has_cap(CAP_KILL));
    CHECK(getresuid(&r, &e, &s) == 0 && r == 0 && e == ALICE && s == 0);
    CHECK(seteuid(0) == 0 && has_cap(CAP_KILL));
}

static void effective_ids_come_and_go(void)
{
    CHECK(in_child(seteuid_goes_back) == 0);
}

static void saved_id_swaps(void)
{
    uid_t r, e, s;
    CHECK(setresuid(ALICE, ALICE, BOB) == 0);
    CHECK(seteuid(BOB) == 0 && geteuid() == BOB);
    CHECK(setreuid(BOB, ALICE) == 0); /* swaps; the saved one becomes the effective */
    CHECK(getresuid(&r, &e, &s) == 0 && r == BOB && e == ALICE && s == ALICE);
    CHECK(setresuid((uid_t)-1, (uid_t)-1, BOB) == 0);
}

static void saved_ids_can_be_taken(void)
{
    CHECK(in_child(saved_id_swaps) == 0);
}

static void invalid_ids(void)
{
    CHECK_ERRNO(setuid((uid_t)-1), EINVAL);
    CHECK_ERRNO(setgid((gid_t)-1), EINVAL);
    CHECK(setresuid((uid_t)-1, (uid_t)-1, (uid_t)-1) == 0);
    CHECK_ERRNO(syscall(SYS_getgroups, -1, NULL), EINVAL);
    CHECK_ERRNO(syscall(SYS_getresuid, 8, 8, 8), EFAULT);
}

static void group_lists(void)
{
    gid_t set[3] = {10, 20, 30}, got[8];
    CHECK(setgroups(3, set) == 0 && getgroups(0, NULL) == 3);
    CHECK_ERRNO(getgroups(2, got), EINVAL);
    CHECK(getgroups(8, got) == 3 && got[0] == 10 && got[2] == 30);
    CHECK_ERRNO(syscall(SYS_setgroups, -1, set), EINVAL);
    CHECK_ERRNO(syscall(SYS_setgroups, 3, 8), EFAULT);
    int fd = open("group-file", O_RDWR | O_CREAT, 0640);
    CHECK(fd >= 0 && fchown(fd, 0, 20) == 0 && fchmod(fd, 0640) == 0);
    close(fd);
    CHECK(setresuid(ALICE, ALICE, ALICE) == 0);
    CHECK(access("group-file", R_OK) == 0);
    CHECK_ERRNO(access("group-file", W_OK), EACCES);
}

static void groups_open_files(void)
{
    CHECK(in_child(group_lists) == 0);
}

static void fsuid_is_for_files(void)
{
    int fd = open("secret", O_RDWR | O_CREAT, 0600);
    CHECK(fd >= 0 && fchmod(fd, 0600) == 0);
    close(fd);
    CHECK(setfsuid(ALICE) == 0 && setfsuid((uid_t)-1) == (int)ALICE);
    CHECK(geteuid() == 0);
    CHECK_ERRNO(open("secret", O_RDONLY), EACCES);
    CHECK(setfsuid(0) == (int)ALICE);
    fd = open("secret", O_RDONLY);
    CHECK(fd >= 0);
    close(fd);
    CHECK(kill(getppid(), 0) == 0);
}

static void fsuid_decides_about_files(void)
{
    CHECK(in_child(fsuid_is_for_files) == 0);
}

static void keepcaps(void)
{
    CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0 && prctl(PR_GET_KEEPCAPS) == 1);
    CHECK(setresuid(ALICE, ALICE, ALICE) == 0);
    CHECK(get_caps() == 0 && caps[0].effective == 0 && (caps[0].permitted & 1u << CAP_KILL));
    caps[0].effective = 1u << CAP_KILL;
    CHECK(set_caps() == 0 && has_cap(CAP_KILL));
    CHECK(kill(victim, 0) == 0);
    CHECK_ERRNO(prctl(PR_SET_KEEPCAPS, 2), EINVAL);
}

static void capabilities_can_be_kept(void)
{
    victim = child_of(BOB);
    CHECK(in_child(keepcaps) == 0);
    end_child(victim);
}

static void drop_kill(void)
{
    CHECK(get_caps() == 0);
    caps[0].effective &= ~(1u << CAP_KILL);
    caps[0].permitted &= ~(1u << CAP_KILL);
    CHECK(set_caps() == 0 && !has_cap(CAP_KILL));
    CHECK_ERRNO(kill(victim, SIGTERM), EPERM); /* even root */
    caps[0].permitted |= 1u << CAP_KILL;
    CHECK_ERRNO(set_caps(), EPERM);
    caps[0].permitted &= ~(1u << CAP_KILL);
    caps[0].effective |= 1u << CAP_KILL;
    CHECK_ERRNO(set_caps(), EPERM);
}

static void dropped_capabilities_are_gone(void)
{
    victim = child_of(BOB);
    CHECK(in_child(drop_kill) == 0);
    end_child(victim);
}

static void capability_headers_are_checked(void)
{
    struct __user_cap_header_struct h = {0x12345678, 0};
    CHECK_ERRNO(syscall(SYS_capget, &h, caps), EINVAL);
    CHECK(h.version == _LINUX_CAPABILITY_VERSION_3);
    CHECK(syscall(SYS_capget, &(struct __user_cap_header_struct){0x12345678, 0}, NULL) == 0);
    h = (struct __user_cap_header_struct){_LINUX_CAPABILITY_VERSION_3, -1};
    CHECK_ERRNO(syscall(SYS_capget, &h, caps), EINVAL);
    h.pid = 99999;
    CHECK_ERRNO(syscall(SYS_capget, &h, caps), ESRCH);
    CHECK_ERRNO(syscall(SYS_capset,
                        &(struct __user_cap_header_struct){_LINUX_CAPABILITY_VERSION_3, 1}, caps),
                EPERM);
    CHECK_ERRNO(syscall(SYS_capget, 8, caps), EFAULT);
}

static void bounding(void)
{
    CHECK(prctl(PR_CAPBSET_READ, CAP_KILL) == 1);
    CHECK(prctl(PR_CAPBSET_DROP, CAP_KILL) == 0 && prctl(PR_CAPBSET_READ, CAP_KILL) == 0);
    CHECK_ERRNO(prctl(PR_CAPBSET_READ, 63), EINVAL);
    CHECK_ERRNO(prctl(PR_CAPBSET_DROP, 63), EINVAL);
    CHECK(has_cap(CAP_KILL)); /* until execve */
    execl("/proc/self/exe", "cred_users", "nokill", NULL);
}

static void the_bounding_set_limits_execve(void)
{
    CHECK(in_child(bounding) == 0);
}

static void ambient(void)
{
    CHECK_ERRNO(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0), EPERM);
    CHECK(get_caps() == 0);
    caps[0].inheritable |= 1u << CAP_KILL;
    CHECK(set_caps() == 0);
    CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0) == 0);
    CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0) == 1);
    CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0);
    CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0);
    CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0) == 0);
    CHECK_ERRNO(prctl(PR_CAP_AMBIENT, 99, CAP_KILL, 0, 0), EINVAL);
}

static void ambient_capabilities(void)
{
    CHECK(in_child(ambient) == 0);
}

static void dumpable_after_setuid(void)
{
    CHECK(prctl(PR_GET_DUMPABLE) == 1);
    CHECK(setresuid(ALICE, ALICE, ALICE) == 0);
    CHECK(prctl(PR_GET_DUMPABLE) == 0);
    CHECK(prctl(PR_SET_DUMPABLE, 1) == 0 && prctl(PR_GET_DUMPABLE) == 1);
    CHECK_ERRNO(prctl(PR_SET_DUMPABLE, 2), EINVAL);
}

static void changing_users_ends_dumps(void)
{
    CHECK(in_child(dumpable_after_setuid) == 0);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1)
        return has_cap(CAP_KILL) || !has_cap(CAP_CHOWN);
    own_directory();
    chmod(".", 0755);
    CASE(users_cannot_touch_each_other);
    CASE(users_reach_their_own);
    CASE(kill_minus_one_reaches_the_users_own);
    CASE(setuid_gives_everything_up);
    CASE(effective_ids_come_and_go);
    CASE(saved_ids_can_be_taken);
    CASE(invalid_ids);
    CASE(groups_open_files);
    CASE(fsuid_decides_about_files);
    CASE(capabilities_can_be_kept);
    CASE(dropped_capabilities_are_gone);
    CASE(capability_headers_are_checked);
    CASE(the_bounding_set_limits_execve);
    CASE(ambient_capabilities);
    CASE(changing_users_ends_dumps);
    return check_result();
}
