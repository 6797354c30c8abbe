/* /proc as programs read it: the files of a process, and those of the system. */
#define _GNU_SOURCE
#include <dirent.h>
#include <mntent.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

static char text[1 << 18];

/* The whole file, NUL-terminated, in `text`; its length. */
static ssize_t slurp(const char *path)
{
    int fd = open(path, O_RDONLY);
    ssize_t n, len = 0;
    if (fd < 0)
        return -1;
    while ((n = read(fd, text + len, sizeof(text) - 1 - (size_t)len)) > 0)
        len += n;
    text[len] = 0;
    close(fd);
    return len;
}

/* The number behind "name" at the start of a line of the last text; -1. */
static long long field(const char *name)
{
    size_t len = strlen(name);
    for (const char *p = text; p; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
        if (!strncmp(p, name, len))
            return strtoll(p + len + strspn(p + len, ": \t"), NULL, 0);
    return -1;
}

/* The fields of /proc/PID/stat behind the name: f[3] is the state, numbered as in proc(5). */
static int stat_fields(const char *path, char *f[64])
{
    if (slurp(path) <= 0)
        return 0;
    int n = 3;
    char *p = strrchr(text, ')') + 2;
    for (char *word = strtok(p, " \n"); word && n < 64; word = strtok(NULL, " \n"))
        f[n++] = word;
    return n - 1;
}

/* --- a process -------------------------------------------------------------------------------- */

static void stat_has_all_fields(void)
{
    char *f[64];
    CHECK(slurp("/proc/self/stat") > 0 && strtol(text, NULL, 10) == getpid());
    CHECK(stat_fields("/proc/self/stat", f) == 52);
    CHECK(!strcmp(f[3], "R") && atoi(f[4]) == getppid() && atoi(f[5]) == getpgrp());
    CHECK(atoi(f[6]) == getsid(0) && atoi(f[20]) == 1);
    CHECK(strtoull(f[23], NULL, 10) > 4096 && strtol(f[24], NULL, 10) > 0);
    uintptr_t here = (uintptr_t)&f, code = (uintptr_t)&stat_has_all_fields;
    CHECK(strtoull(f[26], NULL, 10) <= code && code < strtoull(f[27], NULL, 10));
    CHECK(strtoull(f[28], NULL, 10) > here);
}

static void status_tells_ids_and_memory(void)
{
    char name[32];
    CHECK(slurp("/proc/self/status") > 0);
    CHECK(field("Pid:") == getpid() && field("Tgid:") == getpid() && field("PPid:") == getppid());
    CHECK(field("Uid:") == getuid() && field("Gid:") == getgid() && field("Threads:") == 1);
    CHECK(field("VmSize:") > 0 && field("VmRSS:") > 0 && field("VmSize:") >= field("VmRSS:"));
    CHECK(field("VmHWM:") >= field("VmRSS:") && field("VmData:") > 0 && field("VmStk:") > 0);
    CHECK(field("RssAnon:") > 0 && field("RssFile:") >= 0);
    CHECK(field("NSpid:") == getpid() && field("FDSize:") >= 3);
    CHECK(sscanf(text, "Name:\t%31s", name) == 1 && !strcmp(name, "procfs_texts"));
}

static void status_tells_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGUSR1, SIG_IGN);
    raise(SIGUSR2);
    CHECK(slurp("/proc/self/status") > 0);
    char *blocked = strstr(text, "SigBlk:"), *ignored = strstr(text, "SigIgn:");
    char *pending = strstr(text, "SigPnd:");
    CHECK(strtoull(blocked + 8, NULL, 16) & 1 << (SIGUSR2 - 1));
    CHECK(strtoull(ignored + 8, NULL, 16) & 1 << (SIGUSR1 - 1));
    CHECK(strtoull(pending + 8, NULL, 16) & 1 << (SIGUSR2 - 1));
    signal(SIGUSR2, SIG_IGN);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
}

static void statm_counts_pages(void)
{
    unsigned long size, rss, shared, code, lib, data, dirty;
    CHECK(slurp("/proc/self/statm") > 0);
    CHECK(sscanf(text, "%lu %lu %lu %lu %lu %lu %lu", &size, &rss, &shared, &code, &lib, &data,
                 &dirty) == 7);
    CHECK(size > rss && rss > shared && shared > 0 && code > 0 && data > 0 && !lib && !dirty);
}

static void maps_show_every_region(void)
{
    char want[64];
    unsigned char *m = mmap(NULL, 3 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mprotect(m + 4096, 4096, PROT_NONE) == 0 && slurp("/proc/self/maps") > 0);
    snprintf(want, sizeof(want), "%lx-%lx ---p 00000000 00:00 0", (long)m + 4096, (long)m + 8192);
    CHECK(strstr(text, want));
    CHECK(strstr(text, "[stack]") && strstr(text, "[vdso]") && strstr(text, "procfs_texts"));
    munmap(m, 3 * 4096);
}

static void maps_show_files(void)
{
    char want[128];
    struct stat st;
    int fd = open("mapped", O_CREAT | O_RDWR, 0600);
    CHECK(ftruncate(fd, 8192) == 0 && fstat(fd, &st) == 0);
    char *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096);
    close(fd);
    CHECK(slurp("/proc/self/maps") > 0);
    snprintf(want, sizeof(want), "%lx-%lx rw-s 00001000 ", (long)m, (long)m + 4096);
    char *line = strstr(text, want);
    CHECK(line && strstr(line, "/mapped\n"));
    snprintf(want, sizeof(want), " %lu ", (unsigned long)st.st_ino);
    CHECK(strstr(line, want) && strstr(line, want) < strchr(line, '\n'));
    CHECK(unlink("mapped") == 0 && slurp("/proc/self/maps") > 0);
    CHECK(strstr(text, "/mapped (deleted)\n"));
    munmap(m, 4096);
}

static void smaps_count_what_is_there(void)
{
    char want[64];
    char *guard = mmap(NULL, 10 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *m = guard + 4096; /* a region of its own between two that differ */
    CHECK(guard != MAP_FAILED && mprotect(m, 8 * 4096, PROT_READ | PROT_WRITE) == 0);
    memset(m, 1, 4 * 4096);
    CHECK(slurp("/proc/self/smaps") > 0);
    snprintf(want, sizeof(want), "%lx-", (long)m);
    char *at = strstr(text, want);
    CHECK(at != NULL);
    memmove(text, at, strlen(at) + 1);
    CHECK(field("Size:") == 32 && field("Rss:") == 16 && field("Private_Dirty:") == 16);
    CHECK(field("Pss:") == 16 && field("Anonymous:") == 16 && field("Swap:") == 0);
    CHECK(strstr(text, "VmFlags:") != NULL && field("KernelPageSize:") == 4);
    munmap(guard, 10 * 4096);
    CHECK(slurp("/proc/self/smaps_rollup") > 0 && strstr(text, "[rollup]") && field("Rss:") > 0);
}

static void descriptors_are_links(void)
{
    char path[64], target[256];
    int fd = open("linked", O_CREAT | O_RDWR, 0600), p[2], ev = eventfd(7, 0);
    struct stat st;
    CHECK(pipe(p) == 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    CHECK(n > 7 && !memcmp(target + n - 7, "/linked", 7));
    CHECK(lstat(path, &st) == 0 && S_ISLNK(st.st_mode) && (st.st_mode & 0700) == 0700);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", p[1]);
    CHECK(lstat(path, &st) == 0 && (st.st_mode & 0700) == 0300); /* for writing only */
    n = readlink(path, target, sizeof(target) - 1);
    target[n] = 0;
    char want[64];
    CHECK(fstat(p[1], &st) == 0);
    snprintf(want, sizeof(want), "pipe:[%lu]", (unsigned long)st.st_ino);
    CHECK(!strcmp(target, want));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", ev);
    n = readlink(path, target, sizeof(target) - 1);
    CHECK(n == 20 && !memcmp(target, "anon_inode:[eventfd]", 20));
    CHECK_ERRNO(readlink("/proc/self/fd/999", target, sizeof(target)), ENOENT);
    close(fd);
    close(ev);
    close(p[0]);
    close(p[1]);
}

static void fdinfo_tells_position_and_flags(void)
{
    char path[64];
    int fd = open("info", O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
    CHECK(write(fd, "abc", 3) == 3);
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    CHECK(slurp(path) > 0 && field("pos:") == 3);
    long long flags = field("flags:");
    CHECK((flags & (O_ACCMODE | O_APPEND | O_CLOEXEC)) == (O_RDWR | O_APPEND | O_CLOEXEC));
    CHECK(field("mnt_id:") > 0);
    close(fd);
    fd = eventfd(18, 0);
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    CHECK(slurp(path) > 0 && strstr(text, "eventfd-count:               12\n"));
    close(fd);
}

static void limits_are_a_table(void)
{
    struct rlimit l = {123, 456};
    CHECK(setrlimit(RLIMIT_CORE, &l) == 0 && slurp("/proc/self/limits") > 0);
    CHECK(
        strstr(text, "Max core file size        123                  456                  bytes"));
    CHECK(strstr(text, "Max open files") && strstr(text, "Max realtime timeout"));
}

static void arguments_and_environment(void)
{
    CHECK(slurp("/proc/self/cmdline") > 0 && strstr(text, "procfs_texts"));
    CHECK(text[strlen(text) + 1] == 0);
    pid_t child = fork();
    int status;
    if (child == 0) {
        char *env[] = {"ONE=1", "TWO=2", NULL};
        execve("/proc/self/exe", (char *[]){"procfs_texts", "environ", NULL}, env);
        _exit(9);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void links_lead_to_places(void)
{
    char here[256], target[256] = {0};
    CHECK(getcwd(here, sizeof(here)) && readlink("/proc/self/cwd", target, 255) > 0);
    CHECK(!strcmp(here, target));
    memset(target, 0, sizeof(target));
    CHECK(readlink("/proc/self/root", target, 255) == 1 && target[0] == '/');
    CHECK(readlink("/proc/self/exe", target, 255) > 0 && strstr(target, "procfs_texts"));
    CHECK(readlink("/proc/self", target, 255) > 0 && atoi(target) == getpid());
    memset(target, 0, sizeof(target));
    CHECK(readlink("/proc/thread-self", target, 255) > 0 && strstr(target, "/task/"));
    CHECK(access("/proc/self/cwd/.", F_OK) == 0);
}

static void *thread_named(void *arg)
{
    prctl(PR_SET_NAME, "my-thread");
    *(pid_t *)arg = (pid_t)syscall(SYS_gettid);
    pause();
    return NULL;
}

static void threads_are_tasks(void)
{
    char path[64];
    volatile pid_t tid = 0;
    int status, p[2];
    CHECK(pipe(p) == 0);
    pid_t child = fork();
    if (child == 0) {
        pthread_t t;
        pthread_create(&t, NULL, thread_named, (void *)&tid);
        while (!tid)
            usleep(1000);
        pid_t copy = tid;
        write(p[1], &copy, sizeof(copy));
        pause();
    }
    pid_t other;
    CHECK(read(p[0], &other, sizeof(other)) == sizeof(other) && other != child);
    snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", child, other);
    CHECK(slurp(path) == 10 && !strcmp(text, "my-thread\n"));
    snprintf(path, sizeof(path), "/proc/%d/task/%d/status", child, other);
    CHECK(slurp(path) > 0 && field("Pid:") == other && field("Tgid:") == child);
    CHECK(field("Threads:") == 2);
    snprintf(path, sizeof(path), "/proc/%d/task", child);
    DIR *d = opendir(path);
    int n = 0;
    while (readdir(d))
        n++;
    closedir(d);
    struct stat st;
    CHECK(n == 4 && stat(path, &st) == 0 && st.st_nlink == 4);
    snprintf(path, sizeof(path), "/proc/%d", other); /* found, though not listed */
    CHECK(access(path, F_OK) == 0);
    kill(child, SIGKILL);
    CHECK(waitpid(child, &status, 0) == child);
    snprintf(path, sizeof(path), "/proc/%d", child);
    CHECK_ERRNO(access(path, F_OK), ENOENT);
    close(p[0]);
    close(p[1]);
}

static void comm_is_written(void)
{
    int fd = open("/proc/self/comm", O_RDWR);
    CHECK(fd >= 0 && write(fd, "a-new-name-that-is-too-long", 27) == 27);
    close(fd);
    char name[17] = {0};
    CHECK(prctl(PR_GET_NAME, name) == 0 && !strcmp(name, "a-new-name-that"));
    CHECK(slurp("/proc/self/comm") == 16);
    prctl(PR_SET_NAME, "procfs_texts");
}

static void io_counts_bytes(void)
{
    char buf[1000];
    CHECK(slurp("/proc/self/io") > 0);
    long long read_before = field("rchar:"), written = field("wchar:"), calls = field("syscw:");
    int fd = open("io", O_CREAT | O_RDWR, 0600);
    CHECK(write(fd, buf, 1000) == 1000 && pread(fd, buf, 600, 0) == 600);
    close(fd);
    CHECK(slurp("/proc/self/io") > 0);
    CHECK(field("wchar:") == written + 1000 && field("syscw:") == calls + 1);
    CHECK(field("rchar:") >= read_before + 600 && field("read_bytes:") >= 0);
}

static void oom_adjustment_has_bounds(void)
{
    int fd = open("/proc/self/oom_score_adj", O_RDWR);
    CHECK(write(fd, "200", 3) == 3);
    CHECK_ERRNO(write(fd, "1001", 4), EINVAL);
    CHECK_ERRNO(write(fd, "x", 1), EINVAL);
    close(fd);
    CHECK(slurp("/proc/self/oom_score_adj") == 4 && !strcmp(text, "200\n"));
    fd = open("/proc/self/oom_score_adj", O_RDWR);
    CHECK(write(fd, "0\n", 2) == 2);
    close(fd);
}

static void a_zombie_is_seen(void)
{
    char path[64], *f[64], state;
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    snprintf(path, sizeof(path), "/proc/%d/stat", child);
    for (int i = 0; i < 1000; i++, usleep(5000)) {
        CHECK(stat_fields(path, f) == 52);
        state = f[3][0];
        if (state == 'Z')
            break;
    }
    CHECK(state == 'Z');
    snprintf(path, sizeof(path), "/proc/%d/cmdline", child);
    CHECK(slurp(path) == 0);
    snprintf(path, sizeof(path), "/proc/%d/exe", child);
    CHECK_ERRNO(readlink(path, text, 100), ENOENT);
    waitpid(child, NULL, 0);
}

static void other_users_see_little(void)
{
    pid_t child = fork();
    char path[64];
    if (child == 0) {
        pause();
        _exit(0);
    }
    CHECK(seteuid(1001) == 0);
    int err[4];
    static const char *const names[] = {"environ", "fd", "maps", "stat"};
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof(path), "/proc/%d/%s", child, names[i]);
        int fd = open(path, O_RDONLY);
        err[i] = fd < 0 ? errno : 0;
        if (fd >= 0)
            close(fd);
    }
    CHECK(seteuid(0) == 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    CHECK(err[0] == EACCES && err[1] == EACCES && err[3] == 0);
}

/* --- the system ------------------------------------------------------------------------------- */

static void stat_of_the_system(void)
{
    unsigned long long t[10];
    CHECK(slurp("/proc/stat") > 0);
    CHECK(sscanf(text, "cpu  %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu", t, t + 1, t + 2,
                 t + 3, t + 4, t + 5, t + 6, t + 7, t + 8, t + 9) == 10);
    CHECK(strstr(text, "\ncpu0 ") && field("btime") > 1000000 && field("processes") > 0);
    CHECK(field("ctxt") > 0 && field("intr") >= 0 && field("procs_running") >= 1);
    CHECK(field("procs_blocked") >= 0 && strstr(text, "\nsoftirq "));
}

static void meminfo_adds_up(void)
{
    CHECK(slurp("/proc/meminfo") > 0);
    CHECK(field("MemTotal:") > field("MemFree:") && field("MemAvailable:") > 0);
    CHECK(field("MemTotal:") >= field("MemAvailable:") && field("Cached:") >= 0);
    static const char *const names[] = {
        "Buffers:",   "Active:", "Inactive:", "SwapTotal:",    "SwapFree:",
        "AnonPages:", "Shmem:",  "Slab:",     "SReclaimable:", "CommitLimit:"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (field(names[i]) < 0) {
            printf("# no %s\n", names[i]);
            CHECK(0);
        }
}

static void loadavg_has_five_fields(void)
{
    double a, b, c;
    int running, all, last;
    CHECK(slurp("/proc/loadavg") > 0);
    CHECK(sscanf(text, "%lf %lf %lf %d/%d %d", &a, &b, &c, &running, &all, &last) == 6);
    CHECK(running >= 1 && all >= running && last > 1);
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    waitpid(child, NULL, 0);
    CHECK(slurp("/proc/loadavg") > 0 && sscanf(strrchr(text, ' '), "%d", &last) == 1);
    CHECK(last >= child);
}

static void uptime_counts(void)
{
    double up, idle, later;
    struct timespec t;
    CHECK(slurp("/proc/uptime") > 0 && sscanf(text, "%lf %lf", &up, &idle) == 2 && up > 0);
    clock_gettime(CLOCK_BOOTTIME, &t);
    CHECK(up <= t.tv_sec + 1 && up >= t.tv_sec - 2);
    usleep(30000);
    CHECK(slurp("/proc/uptime") > 0 && sscanf(text, "%lf", &later) == 1 && later > up);
}

static void vmstat_and_diskstats_are_there(void)
{
    CHECK(slurp("/proc/vmstat") > 0 && field("nr_free_pages") > 0);
    CHECK(field("pgpgin") >= 0 && field("pswpin") >= 0);
    CHECK(slurp("/proc/diskstats") >= 0 && slurp("/proc/partitions") >= 0);
    CHECK(slurp("/proc/devices") > 0 && strstr(text, "Character devices:"));
}

static void versions_and_file_systems(void)
{
    CHECK(slurp("/proc/version") > 0 && !strncmp(text, "Linux version ", 14));
    CHECK(slurp("/proc/filesystems") > 0 && strstr(text, "nodev\tproc") && strstr(text, "tmpfs"));
    CHECK(slurp("/proc/cpuinfo") > 0 && strstr(text, "processor\t: 0") && strstr(text, "flags"));
    CHECK(slurp("/proc/swaps") > 0 && !strncmp(text, "Filename", 8));
}

/* Each line of /proc/mounts has what statvfs has. */
static void mount_flags_are_told(void)
{
    static const struct {
        const char *name;
        unsigned long flag;
    } options[] = {{"ro", ST_RDONLY},     {"nosuid", ST_NOSUID},   {"nodev", ST_NODEV},
                   {"noexec", ST_NOEXEC}, {"noatime", ST_NOATIME}, {"relatime", ST_RELATIME}};
    struct mntent *m;
    struct statvfs v;
    int found = 0;
    FILE *f = setmntent("/proc/self/mounts", "r");
    CHECK(f);
    while ((m = getmntent(f)) != NULL) {
        if (strcmp(m->mnt_dir, "/proc") && strcmp(m->mnt_dir, "/dev") && strcmp(m->mnt_dir, "/"))
            continue;
        CHECK(statvfs(m->mnt_dir, &v) == 0);
        for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
            CHECK(!hasmntopt(m, options[i].name) == !(v.f_flag & options[i].flag));
        found++;
    }
    endmntent(f);
    CHECK(found >= 2);
}

static void mounts_have_their_forms(void)
{
    CHECK(slurp("/proc/mounts") > 0 && strstr(text, " / ") && strstr(text, "proc /proc proc rw"));
    CHECK(slurp("/proc/self/mountinfo") > 0);
    int id, parent, major, minor, n = 0;
    char root[256], where[256];
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), n++) {
        CHECK(sscanf(line, "%d %d %d:%d %255s %255s", &id, &parent, &major, &minor, root, where) ==
              6);
        CHECK(strstr(line, " - "));
    }
    CHECK(n >= 2);
    CHECK(slurp("/proc/self/mountstats") > 0 && strstr(text, "mounted on /proc with fstype proc"));
}

static void settings_are_numbers(void)
{
    static const char *const paths[] = {
        "/proc/sys/fs/file-max",
        "/proc/sys/fs/nr_open",
        "/proc/sys/fs/pipe-max-size",
        "/proc/sys/kernel/pid_max",
        "/proc/sys/kernel/threads-max",
        "/proc/sys/kernel/ngroups_max",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/vm/max_map_count",
        "/proc/sys/vm/swappiness",
        "/proc/sys/kernel/cap_last_cap",
        "/proc/sys/vm/overcommit_ratio",
        "/proc/sys/kernel/randomize_va_space",
        "/proc/sys/fs/inotify/max_user_watches",
        "/proc/sys/fs/epoll/max_user_watches",
        "/proc/sys/net/core/somaxconn",
    };
    for (unsigned i = 0; i < sizeof(paths) / sizeof(*paths); i++)
        if (slurp(paths[i]) < 2 || text[0] < '0' || text[0] > '9') {
            printf("# %s: %s\n", paths[i], text);
            CHECK(0);
        }
}

static void tables_of_the_network(void)
{
    CHECK(slurp("/proc/net/dev") > 0 && strstr(text, "lo:"));
    CHECK(slurp("/proc/net/tcp") > 0 && strstr(text, "local_address"));
    CHECK(slurp("/proc/net/udp") > 0 && strstr(text, "local_address"));
    CHECK(slurp("/proc/net/route") > 0 && !strncmp(text, "Iface", 5));
    CHECK(slurp("/proc/net/tcp6") > 0 && slurp("/proc/net/if_inet6") >= 0);
    CHECK(slurp("/proc/net/snmp") > 0 && strstr(text, "Tcp: "));
}

static void the_directory_lists_processes(void)
{
    DIR *d = opendir("/proc");
    struct dirent *e;
    int self = 0, names = 0;
    while ((e = readdir(d)) != NULL) {
        self |= atoi(e->d_name) == getpid() && e->d_type == DT_DIR;
        names |= !strcmp(e->d_name, "self") ? 1 : !strcmp(e->d_name, "meminfo") ? 2 : 0;
    }
    closedir(d);
    CHECK(self && names == 3);
    struct stat st;
    CHECK(stat("/proc/self", &st) == 0 && st.st_uid == getuid() && S_ISDIR(st.st_mode));
    CHECK_ERRNO(open("/proc/999999999", O_RDONLY), ENOENT);
    CHECK_ERRNO(open("/proc/self/none", O_RDONLY), ENOENT);
    CHECK(open("/proc/new", O_CREAT | O_WRONLY, 0600) == -1);
}

static void a_text_is_read_in_parts(void)
{
    char a[64], b[64];
    int fd = open("/proc/self/status", O_RDONLY);
    CHECK(read(fd, a, 10) == 10 && read(fd, a + 10, 10) == 10);
    CHECK(pread(fd, b, 20, 0) == 20 && !memcmp(a, b, 20));
    CHECK(lseek(fd, 5, SEEK_SET) == 5 && read(fd, b, 5) == 5 && !memcmp(a + 5, b, 5));
    CHECK_ERRNO(write(fd, "x", 1), EBADF);
    close(fd);
    CHECK_ERRNO(open("/proc/self/stat", O_RDONLY | O_DIRECTORY), ENOTDIR);
    struct stat st;
    CHECK(stat("/proc/self/status", &st) == 0 && st.st_size == 0 && S_ISREG(st.st_mode));
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "environ"))
        return slurp("/proc/self/environ") == 12 && !memcmp(text, "ONE=1\0TWO=2", 12) ? 0 : 1;
    own_directory();
    CASE(stat_has_all_fields);
    CASE(status_tells_ids_and_memory);
    CASE(status_tells_signals);
    CASE(statm_counts_pages);
    CASE(maps_show_every_region);
    CASE(maps_show_files);
    CASE(smaps_count_what_is_there);
    CASE(descriptors_are_links);
    CASE(fdinfo_tells_position_and_flags);
    CASE(limits_are_a_table);
    CASE(arguments_and_environment);
    CASE(links_lead_to_places);
    CASE(threads_are_tasks);
    CASE(comm_is_written);
    CASE(io_counts_bytes);
    CASE(oom_adjustment_has_bounds);
    CASE(a_zombie_is_seen);
    CASE(other_users_see_little);
    CASE(stat_of_the_system);
    CASE(meminfo_adds_up);
    CASE(loadavg_has_five_fields);
    CASE(uptime_counts);
    CASE(vmstat_and_diskstats_are_there);
    CASE(versions_and_file_systems);
    CASE(mounts_have_their_forms);
    CASE(mount_flags_are_told);
    CASE(settings_are_numbers);
    CASE(tables_of_the_network);
    CASE(the_directory_lists_processes);
    CASE(a_text_is_read_in_parts);
    return check_result();
}
