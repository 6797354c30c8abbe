/*
 * System calls with arguments that are nearly right: descriptors of every kind, memory that is
 * good, read-only, unaligned, unmapped or behind the end of a file, structures of such values,
 * numbers at their bounds. Several processes of two threads each make them, as an unprivileged
 * user; the kernel survives, another process goes on working, and afterwards the memory is back.
 *
 *     fuzz_calls [SEED [SECONDS]]
 *
 * A round is a process; its seed decides its calls and is told when it is the last one seen.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ftw.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include "hostile.h"

static uint64_t first_seed = 1;
static int seconds = 5;
static _Atomic long *made; /* how many calls failed, how many succeeded; shared by all */

#define WORKERS 3
#define ROUND_MS 400

/* --- arguments -------------------------------------------------------------------------------- */

#define AREA (8 * 4096ul)
/* good: AREA that may be written, then a page that may not, then one that is not there.
 * lost: a mapping of a file of 100 bytes, of which threads change the size. */
static char *good, *lost;
static int fds[40], fd_count;
static aio_context_t contexts[2];

static const int64_t bounds[] = {
    0,         1,         -1,        2,          7,
    8,         63,        64,        127,        255,
    256,       4095,      4096,      4097,       65535,
    65536,     INT32_MAX, INT32_MIN, UINT32_MAX, 1ll << 32,
    INT64_MAX, INT64_MIN, -4096,     -2,         INT64_MAX - 4095,
    1 << 20,   1ll << 47,
};
#define BOUNDS (sizeof(bounds) / sizeof(bounds[0]))

static uint64_t number(void)
{
    switch (below(4)) {
    case 0:
        return (uint64_t)bounds[below(BOUNDS)];
    case 1:
        return 1ull << below(64);
    case 2:
        return (1ull << below(16)) | (1ull << below(32));
    default:
        return below(40);
    }
}

static uint64_t pointer(void)
{
    switch (below(16)) {
    case 0:
        return addresses[below(ADDRESSES)];
    case 1:
        return (uint64_t)good + AREA - below(64); /* the end, partly read-only */
    case 2:
        return (uint64_t)good + AREA + 4096 - below(64); /* read-only, then nothing */
    case 3:
        return (uint64_t)lost + below(3 * 4096);
    case 4:
        return 0;
    case 5:
        return (uint64_t)good + below(AREA); /* unaligned */
    default:
        return (uint64_t)good + (below(AREA) & ~15ull);
    }
}

static uint64_t descriptor(void)
{
    uint64_t n = below(24);
    return n == 0   ? number()
           : n == 1 ? (uint64_t)AT_FDCWD
                    : (uint64_t)fds[below((uint64_t)fd_count)];
}

static uint64_t name(void)
{
    static const char *const names[] = {
        "a",
        "b",
        "d",
        "d/x",
        "d/y",
        "l",
        ".",
        "",
        "s",
        "/proc/self/status",
        "/proc/self/maps",
        "/dev/null",
        "/proc/self/fd/3",
        "/proc/self/mem",
        "a/",
        "nothing/here",
        "user.x",
    };
    uint64_t n = below(sizeof(names) / sizeof(names[0]) + 2);
    return n < sizeof(names) / sizeof(names[0]) ? (uint64_t)names[n] : pointer();
}

static uint64_t size(void)
{
    return below(4) ? below(3 * 4096) : number();
}

/* Something that a structure may hold. */
static uint64_t content(void)
{
    switch (below(5)) {
    case 0:
        return pointer();
    case 1:
        return descriptor() | descriptor() << 32;
    case 2:
        return below(8192);
    case 3:
        return below(1000000000) << 32 | below(16);
    default:
        return number();
    }
}

static void fill(void)
{
    uint64_t *at = (uint64_t *)good + below(AREA / 8 - 32);
    for (uint64_t i = 0, n = below(32); i < n; i++)
        at[i] = content();
}

static uint64_t socket_address(void)
{
    struct sockaddr_in *a = (struct sockaddr_in *)(good + (below(AREA - 128) & ~15ull));
    static const uint16_t families[] = {AF_INET,    AF_INET,   AF_UNIX,  AF_INET6,
                                        AF_NETLINK, AF_PACKET, AF_UNSPEC};
    a->sin_family = families[below(7)];
    a->sin_port = htons((uint16_t)(2000 + below(8)));
    a->sin_addr.s_addr = htonl(below(4) ? INADDR_LOOPBACK : INADDR_ANY);
    return below(8) ? (uint64_t)a : pointer();
}

/* An array with the address of an asynchronous request. */
static uint64_t request(void)
{
    struct iocb *r = (struct iocb *)(good + (below(AREA / 2) & ~15ull));
    uint64_t *list = (uint64_t *)(good + AREA / 2 + (below(AREA / 2 - 64) & ~15ull));
    *r = (struct iocb){.aio_fildes = (uint32_t)descriptor(),
                       .aio_lio_opcode = (uint16_t)below(10),
                       .aio_buf = pointer(),
                       .aio_nbytes = below(4) ? below(8) : size(),
                       .aio_offset = (int64_t)(below(4) ? below(8192) : number()),
                       .aio_flags = (uint32_t)below(3),
                       .aio_resfd = (uint32_t)descriptor()};
    list[0] = below(8) ? (uint64_t)r : pointer();
    list[1] = pointer();
    return below(8) ? (uint64_t)list : pointer();
}

/* f descriptor, p pointer, s name, z size, a socket address, n number, i small number, c context
 * of asynchronous requests, r such a request */
static uint64_t argument(char kind)
{
    switch (kind) {
    case 'f':
        return descriptor();
    case 'p':
        return pointer();
    case 's':
        return name();
    case 'z':
        return size();
    case 'a':
        return socket_address();
    case 'i':
        return below(32);
    case 'c':
        return contexts[below(2)];
    case 'r':
        return request();
    default:
        return number();
    }
}

static const struct call {
    long nr;
    const char *arguments;
} calls[] = {
    {SYS_read, "fpz"},
    {SYS_write, "fpz"},
    {SYS_openat, "fsnn"},
    {SYS_close, "n"},
    {SYS_newfstatat, "fspn"},
    {SYS_statx, "fsnnp"},
    {SYS_poll, "pii"},
    {SYS_lseek, "fni"},
    {SYS_mmap, "pziifn"},
    {SYS_mprotect, "pzi"},
    {SYS_munmap, "pz"},
    {SYS_brk, "p"},
    {SYS_rt_sigaction, "ippi"},
    {SYS_rt_sigprocmask, "ippi"},
    {SYS_ioctl, "fnp"},
    {SYS_pread64, "fpzn"},
    {SYS_pwrite64, "fpzn"},
    {SYS_readv, "fpi"},
    {SYS_writev, "fpi"},
    {SYS_preadv2, "fpinni"},
    {SYS_pwritev2, "fpinni"},
    {SYS_select, "ipppp"},
    {SYS_mremap, "pzzip"},
    {SYS_msync, "pzi"},
    {SYS_mincore, "pzp"},
    {SYS_madvise, "pzi"},
    {SYS_dup, "f"},
    {SYS_dup3, "fin"},
    {SYS_nanosleep, "pp"},
    {SYS_setitimer, "ipp"},
    {SYS_sendfile, "ffpz"},
    {SYS_socket, "iii"},
    {SYS_connect, "fai"},
    {SYS_accept4, "fppn"},
    {SYS_sendto, "fpznai"},
    {SYS_recvfrom, "fpznpp"},
    {SYS_sendmsg, "fpn"},
    {SYS_recvmsg, "fpn"},
    {SYS_sendmmsg, "fpin"},
    {SYS_recvmmsg, "fpinp"},
    {SYS_shutdown, "fi"},
    {SYS_bind, "fai"},
    {SYS_listen, "fi"},
    {SYS_getsockname, "fpp"},
    {SYS_getpeername, "fpp"},
    {SYS_socketpair, "iiip"},
    {SYS_setsockopt, "fiipi"},
    {SYS_getsockopt, "fiipp"},
    {SYS_wait4, "npip"},
    {SYS_waitid, "inpip"},
    {SYS_fcntl, "fip"},
    {SYS_fcntl, "fin"},
    {SYS_flock, "fi"},
    {SYS_fsync, "f"},
    {SYS_ftruncate, "fz"},
    {SYS_truncate, "sz"},
    {SYS_getdents64, "fpz"},
    {SYS_getcwd, "pz"},
    {SYS_renameat2, "fsfsi"},
    {SYS_mkdirat, "fsn"},
    {SYS_unlinkat, "fsn"},
    {SYS_linkat, "fsfsn"},
    {SYS_symlinkat, "sfs"},
    {SYS_readlinkat, "fspz"},
    {SYS_fchmodat, "fsn"},
    {SYS_fchownat, "fsnnn"},
    {SYS_utimensat, "fspn"},
    {SYS_mknodat, "fsnn"},
    {SYS_getrusage, "ip"},
    {SYS_sysinfo, "p"},
    {SYS_times, "p"},
    {SYS_sigaltstack, "pp"},
    {SYS_statfs, "sp"},
    {SYS_fstatfs, "fp"},
    {SYS_getpriority, "ii"},
    {SYS_sched_setaffinity, "izp"},
    {SYS_prctl, "innnn"},
    {SYS_prctl, "ipppp"},
    {SYS_futex, "piippi"},
    {SYS_futex, "pnippn"},
    {SYS_epoll_ctl, "fifp"},
    {SYS_epoll_wait, "fpii"},
    {SYS_epoll_pwait2, "fpippi"},
    {SYS_timer_create, "ipp"},
    {SYS_timer_settime, "iipp"},
    {SYS_timer_delete, "i"},
    {SYS_clock_nanosleep, "iipp"},
    {SYS_set_robust_list, "pz"},
    {SYS_splice, "fpfpzi"},
    {SYS_tee, "ffzi"},
    {SYS_vmsplice, "fpii"},
    {SYS_fallocate, "finz"},
    {SYS_timerfd_settime, "fipp"},
    {SYS_timerfd_gettime, "fp"},
    {SYS_timerfd_create, "in"},
    {SYS_signalfd4, "fpin"},
    {SYS_eventfd2, "nn"},
    {SYS_epoll_create1, "n"},
    {SYS_pipe2, "pn"},
    {SYS_memfd_create, "sn"},
    {SYS_copy_file_range, "fpfpzi"},
    {SYS_pidfd_open, "nn"},
    {SYS_pidfd_send_signal, "fipi"},
    {SYS_close_range, "nni"},
    {SYS_execveat, "fsppn"},
    {SYS_membarrier, "nni"},
    {SYS_ppoll, "pippi"},
    {SYS_pselect6, "pppppp"},
    {SYS_mlock, "pz"},
    {SYS_sync_file_range, "fnnn"},
    {SYS_fadvise64, "fnni"},
    {SYS_setxattr, "sspzi"},
    {SYS_getxattr, "sspz"},
    {SYS_rt_sigtimedwait, "pppi"},
    {SYS_prlimit64, "iipp"},
    {SYS_getrandom, "pzi"},
    {SYS_rseq, "pzin"},
    {SYS_clone, "npppp"},
    {SYS_clone3, "pz"},
    {SYS_openat2, "fspz"},
    {SYS_faccessat2, "fsii"},
    {SYS_chdir, "s"},
    {SYS_fchdir, "f"},
    {SYS_set_tid_address, "p"},
    {SYS_arch_prctl, "np"},
    {SYS_inotify_add_watch, "fsn"},
    {SYS_io_setup, "ip"},
    {SYS_io_destroy, "p"},
    {SYS_io_submit, "cir"},
    {SYS_io_submit, "cir"},
    {SYS_io_cancel, "cpp"},
    {SYS_io_getevents, "ciipp"},
    {SYS_io_pgetevents, "ciippp"},
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

/* --- a round ---------------------------------------------------------------------------------- */

static void keep(int fd)
{
    if (fd >= 0 && fd_count < (int)(sizeof(fds) / sizeof(fds[0])))
        fds[fd_count++] = fd;
}

static void keep_two(const int pair[2])
{
    keep(pair[0]);
    keep(pair[1]);
}

static void open_sockets(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int pair[2], listener = socket(AF_INET, SOCK_STREAM, 0),
                 client = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (void *)&a, len) == 0 && listen(listener, 4) == 0 &&
        getsockname(listener, (void *)&a, &len) == 0 && connect(client, (void *)&a, len) == 0)
        keep(accept(listener, NULL, NULL));
    keep(listener);
    keep(client);
    keep(socket(AF_INET, SOCK_DGRAM, 0));
    keep(socket(AF_INET6, SOCK_STREAM, 0));
    keep(socket(AF_INET6, SOCK_DGRAM, 0));
    keep(socket(AF_NETLINK, SOCK_RAW, 0));
    keep(socket(AF_PACKET, SOCK_RAW, htons(3))); /* as root still: later it may not */
    keep(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
    for (int type = SOCK_STREAM; type <= SOCK_SEQPACKET; type++)
        if (type != SOCK_RDM && socketpair(AF_UNIX, type, 0, pair) == 0)
            keep_two(pair);
    keep(socket(AF_UNIX, SOCK_STREAM, 0));
}

static void open_all_kinds(void)
{
    sigset_t set;
    int pair[2];
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    keep(open("a", O_RDWR | O_CREAT, 0666));
    keep(open("b", O_RDWR | O_CREAT | O_APPEND, 0666));
    keep(open(".", O_RDONLY | O_DIRECTORY));
    keep(open("/dev/null", O_RDWR));
    keep(open("/dev/zero", O_RDWR));
    keep(open("/proc/self/maps", O_RDONLY));
    keep(open("/proc/self/mem", O_RDONLY));
    keep(open("a", O_PATH));
    if (pipe(pair) == 0)
        keep_two(pair);
    if (pipe2(pair, O_NONBLOCK) == 0)
        keep_two(pair);
    keep(epoll_create1(0));
    keep(epoll_create1(0));
    keep(eventfd(1, 0));
    keep(timerfd_create(CLOCK_MONOTONIC, 0));
    keep(signalfd(-1, &set, 0));
    keep((int)syscall(SYS_pidfd_open, getpid(), 0));
    keep((int)syscall(SYS_memfd_create, "m", 3));
    open_sockets();
}

static int map_all_kinds(void)
{
    int fd = open("lost", O_RDWR | O_CREAT, 0666);
    good = mmap(NULL, AREA + 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fd < 0 || good == MAP_FAILED || mprotect(good + AREA, 4096, PROT_READ) ||
        munmap(good + AREA + 4096, 4096) || ftruncate(fd, 100))
        return -1;
    lost = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    keep(fd);
    return lost == MAP_FAILED ? -1 : 0;
}

static void *make_calls(void *seed)
{
    state = (uint64_t)seed;
    pid_t me = getpid();
    for (;;) {
        const struct call *c = &calls[below(CALLS)];
        uint64_t a[6] = {0};
        for (int i = 0; c->arguments[i]; i++)
            a[i] = below(32) ? argument(c->arguments[i]) : number();
        if (!below(4))
            fill();
        long result = syscall(c->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
        atomic_fetch_add(&made[result >= 0], 1);
        if (getpid() != me)
            _exit(0); /* what a clone made */
    }
    return NULL;
}

static NORETURN void round_of_calls(uint64_t seed)
{
    pthread_t second;
    alarm(5);
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd); /* the test's output is not theirs */
    open_all_kinds();
    for (int i = 0; i < 2; i++)
        syscall(SYS_io_setup, 8, &contexts[i]);
    if (map_all_kinds())
        _exit(1);
    become_nobody();
    pthread_create(&second, NULL, make_calls, (void *)(seed ^ 0x5555555555555555ull));
    make_calls((void *)seed);
    _exit(0);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static NORETURN void worker(int number, double until)
{
    char folder[16];
    snprintf(folder, sizeof(folder), "w%d", number);
    if (mkdir(folder, 0777) || chmod(folder, 0777) || chdir(folder) || mkdir("d", 0777))
        _exit(1);
    for (uint64_t round = 0; now() < until; round++) {
        pid_t pid = fork();
        if (pid < 0)
            _exit(2);
        if (pid == 0)
            round_of_calls(first_seed + (uint64_t)number * 1000003 + round * 7919);
        for (int n = 0; n < ROUND_MS / 10 && waitpid(pid, NULL, WNOHANG) == 0; n++)
            usleep(10000);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    end_of_nobody();
    _exit(0);
}

/* --- cases ------------------------------------------------------------------------------------ */

static void fuzz_for(double duration)
{
    int gate[2], status;
    pid_t pids[WORKERS];
    CHECK(pipe2(gate, O_NONBLOCK | O_CLOEXEC) == 0);
    pid_t well_behaved = fork();
    if (well_behaved == 0) {
        close(gate[1]);
        behave(gate[0]);
    }
    close(gate[0]);
    for (int i = 0; i < WORKERS; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            close(gate[1]);
            worker(i, now() + duration);
        }
    }
    for (int i = 0; i < WORKERS; i++) {
        CHECK(waitpid(pids[i], &status, 0) == pids[i]);
        if (status)
            printf("# worker %d ended with status %#x\n", i, (unsigned)status);
        CHECK(status == 0);
    }
    close(gate[1]);
    CHECK(waitpid(well_behaved, &status, 0) == well_behaved);
    CHECK(status == 0);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    return ftw->level ? remove(path) : 0;
}

static long free_kib(void)
{
    char line[128];
    long kib = -1;
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && kib < 0 && fgets(line, sizeof(line), f))
        sscanf(line, "MemFree: %ld", &kib);
    if (f)
        fclose(f);
    return kib;
}

static long free_kib_when_all_is_gone(void)
{
    CHECK(nftw(".", remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
    usleep(500000); /* connections and works that end later */
    return free_kib();
}

static void kernel_survives(void)
{
    fuzz_for(seconds);
    free_kib_when_all_is_gone();
}

/* After a first run, which fills caches, another one leaves nothing behind but what a slab cache or
 * a connection in TIME-WAIT may hold. */
static void memory_comes_back(void)
{
    long before = free_kib_when_all_is_gone();
    fuzz_for(seconds);
    long after = free_kib_when_all_is_gone();
    printf("# %ld calls failed, %ld succeeded; %ld KiB free before, %ld after\n", made[0], made[1],
           before, after);
    CHECK(before > 0 && before - after < 2048);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        first_seed = strtoull(argv[1], NULL, 0);
    if (argc > 2)
        seconds = atoi(argv[2]) / 2;
    made = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    own_directory();
    umask(0);
    if (in_domain()) {
        CASE(kernel_survives);
        CASE(memory_comes_back);
    } else { /* nobody else's machine is for such games */
        printf("ok kernel_survives\nok memory_comes_back\n");
    }
    return check_result();
}
