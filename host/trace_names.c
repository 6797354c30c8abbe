/* Names for `librettos trace`: system calls, and the values of their arguments. */
#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../abi/syscalls.h"
#include "trace.h"

/* ---- calls ---- */

#define SYSCALL(name, ...) [__NR_##name] = #name,
static const char *const call_names[MONITOR_CALLS] = {
#include "../abi/syscalls.def"
};
#undef SYSCALL

#define SYSCALL(name, ...) [__NR_##name] = {__VA_ARGS__},
static const uint8_t call_kinds[MONITOR_CALLS][7] = {
#include "../abi/syscalls.def"
};
#undef SYSCALL

const char *trace_call_name(unsigned nr)
{
    return nr < MONITOR_CALLS ? call_names[nr] : NULL;
}

const uint8_t *trace_call_kinds(unsigned nr)
{
    return nr < MONITOR_CALLS && call_kinds[nr][0] ? call_kinds[nr] : NULL;
}

static bool has_kind(unsigned nr, unsigned kind)
{
    for (unsigned i = 1; i < 7; i++)
        if (call_kinds[nr][i] == kind)
            return true;
    return false;
}

static bool is_of_network(unsigned nr)
{
    return (nr >= __NR_socket && nr <= __NR_getsockopt) || nr == __NR_accept4 ||
           nr == __NR_recvmmsg || nr == __NR_sendmmsg;
}

static bool is_of_processes(unsigned nr)
{
    return (nr >= __NR_clone && nr <= __NR_kill) || nr == __NR_clone3 || nr == __NR_exit_group ||
           nr == __NR_execveat || nr == __NR_waitid || nr == __NR_tkill || nr == __NR_tgkill;
}

/* Whether a call is what a word means: itself, or a class of calls. */
static bool means(const char *word, size_t n, unsigned nr)
{
    if (!call_names[nr])
        return false;
    if (n == 3 && !memcmp(word, "all", 3))
        return true;
    if (n == 5 && !memcmp(word, "%file", 5))
        return has_kind(nr, ARG_PATH);
    if (n == 5 && !memcmp(word, "%desc", 5))
        return has_kind(nr, ARG_FD);
    if (n == 8 && !memcmp(word, "%network", 8))
        return is_of_network(nr);
    if (n == 8 && !memcmp(word, "%process", 8))
        return is_of_processes(nr);
    return strlen(call_names[nr]) == n && !memcmp(word, call_names[nr], n);
}

int trace_select(uint64_t calls[MONITOR_CALLS / 64], const char *text)
{
    const char *word = starts_with(text, "trace=") ? text + 6 : text;
    bool without = *word == '!';

    word += without;
    if (without)
        memset(calls, 0xff, MONITOR_CALLS / 8);
    for (;; word++) {
        size_t n = strcspn(word, ",");
        bool any = false;
        for (unsigned nr = 0; nr < MONITOR_CALLS; nr++) {
            if (!means(word, n, nr))
                continue;
            any = true;
            if (without)
                calls[nr / 64] &= ~(1ull << nr % 64);
            else
                calls[nr / 64] |= 1ull << nr % 64;
        }
        if (!any) {
            warn("-e %s: there is no system call or class named \"%.*s\"", text, (int)n, word);
            return -EINVAL;
        }
        word += n;
        if (!*word)
            return 0;
    }
}

/* ---- values ---- */

struct name {
    uint64_t value;
    const char *text;
};

#define N(constant)                                                                                \
    {                                                                                              \
        (uint64_t)(constant), #constant                                                            \
    }

static const struct name open_flags[] = {
    N(O_WRONLY),
    N(O_RDWR),
    N(O_CREAT),
    N(O_EXCL),
    N(O_NOCTTY),
    N(O_TRUNC),
    N(O_APPEND),
    N(O_NONBLOCK),
    N(O_SYNC),
    N(O_DSYNC),
    N(__O_TMPFILE),
    N(O_DIRECT),
    {0100000, "O_LARGEFILE"},
    N(O_DIRECTORY),
    N(O_NOFOLLOW),
    N(O_NOATIME),
    N(O_CLOEXEC),
    N(O_PATH),
};
static const struct name at_flags[] = {
    N(AT_SYMLINK_NOFOLLOW), N(AT_REMOVEDIR),  N(AT_SYMLINK_FOLLOW),
    N(AT_NO_AUTOMOUNT),     N(AT_EMPTY_PATH),
};
static const struct name access_modes[] = {N(R_OK), N(W_OK), N(X_OK)};
static const struct name whences[] = {N(SEEK_SET), N(SEEK_CUR), N(SEEK_END), N(SEEK_DATA),
                                      N(SEEK_HOLE)};
static const struct name prots[] = {N(PROT_READ), N(PROT_WRITE), N(PROT_EXEC), N(PROT_GROWSDOWN)};
static const struct name maps[] = {
    N(MAP_SHARED),    N(MAP_PRIVATE),   N(MAP_FIXED),   N(MAP_ANONYMOUS), N(MAP_32BIT),
    N(MAP_GROWSDOWN), N(MAP_DENYWRITE), N(MAP_LOCKED),  N(MAP_NORESERVE), N(MAP_POPULATE),
    N(MAP_NONBLOCK),  N(MAP_STACK),     N(MAP_HUGETLB), N(MAP_SYNC),      N(MAP_FIXED_NOREPLACE),
};
static const struct name advices[] = {
    N(MADV_NORMAL),   N(MADV_RANDOM),     N(MADV_SEQUENTIAL), N(MADV_WILLNEED),
    N(MADV_DONTNEED), N(MADV_FREE),       N(MADV_DONTFORK),   N(MADV_DOFORK),
    N(MADV_HUGEPAGE), N(MADV_NOHUGEPAGE), N(MADV_DONTDUMP),   N(MADV_WIPEONFORK),
};
static const struct name sighows[] = {N(SIG_BLOCK), N(SIG_UNBLOCK), N(SIG_SETMASK)};
static const struct name ioctls[] = {
    N(TCGETS),     N(TCSETS),    N(TCSETSW),   N(TCSETSF),   N(TIOCGWINSZ),
    N(TIOCSWINSZ), N(TIOCGPGRP), N(TIOCSPGRP), N(TIOCSCTTY), N(TIOCNOTTY),
    N(FIONREAD),   N(FIONBIO),   N(FIOCLEX),   N(FIONCLEX),  N(FIOASYNC),
};
static const struct name fcntls[] = {
    N(F_DUPFD),      N(F_GETFD),     N(F_SETFD),         N(F_GETFL),
    N(F_SETFL),      N(F_GETLK),     N(F_SETLK),         N(F_SETLKW),
    N(F_SETOWN),     N(F_GETOWN),    N(F_DUPFD_CLOEXEC), N(F_SETPIPE_SZ),
    N(F_GETPIPE_SZ), N(F_ADD_SEALS), N(F_GET_SEALS),     N(F_OFD_SETLK),
};
static const struct name families[] = {N(AF_UNSPEC), N(AF_UNIX),    N(AF_INET),
                                       N(AF_INET6),  N(AF_NETLINK), N(AF_PACKET)};
static const struct name socktypes[] = {N(SOCK_STREAM), N(SOCK_DGRAM), N(SOCK_RAW),
                                        N(SOCK_SEQPACKET)};
static const struct name socktype_flags[] = {N(SOCK_CLOEXEC), N(SOCK_NONBLOCK)};
static const struct name msg_flags[] = {
    N(MSG_OOB),      N(MSG_PEEK),     N(MSG_DONTROUTE),    N(MSG_CTRUNC),
    N(MSG_TRUNC),    N(MSG_DONTWAIT), N(MSG_EOR),          N(MSG_WAITALL),
    N(MSG_NOSIGNAL), N(MSG_MORE),     N(MSG_CMSG_CLOEXEC), N(MSG_ERRQUEUE),
};
static const struct name shuts[] = {N(SHUT_RD), N(SHUT_WR), N(SHUT_RDWR)};
static const struct name levels[] = {N(SOL_SOCKET),
                                     {IPPROTO_IP, "SOL_IP"},
                                     {IPPROTO_TCP, "SOL_TCP"},
                                     {IPPROTO_UDP, "SOL_UDP"},
                                     {IPPROTO_IPV6, "SOL_IPV6"}};
static const struct name socket_options[] = {
    N(SO_DEBUG),     N(SO_REUSEADDR), N(SO_TYPE),      N(SO_ERROR),        N(SO_BROADCAST),
    N(SO_SNDBUF),    N(SO_RCVBUF),    N(SO_KEEPALIVE), N(SO_LINGER),       N(SO_REUSEPORT),
    N(SO_PASSCRED),  N(SO_PEERCRED),  N(SO_RCVTIMEO),  N(SO_SNDTIMEO),     N(SO_ACCEPTCONN),
    N(SO_TIMESTAMP), N(SO_PROTOCOL),  N(SO_DOMAIN),    N(SO_INCOMING_CPU), N(SO_BINDTODEVICE),
};
static const struct name tcp_options[] = {
    N(TCP_NODELAY),    N(TCP_MAXSEG),   N(TCP_CORK),         N(TCP_KEEPIDLE),      N(TCP_KEEPINTVL),
    N(TCP_KEEPCNT),    N(TCP_SYNCNT),   N(TCP_DEFER_ACCEPT), N(TCP_INFO),          N(TCP_QUICKACK),
    N(TCP_CONGESTION), N(TCP_FASTOPEN), N(TCP_USER_TIMEOUT), N(TCP_NOTSENT_LOWAT),
};
static const struct name clone_flags[] = {
    N(CLONE_VM),           N(CLONE_FS),     N(CLONE_FILES),         N(CLONE_SIGHAND),
    N(CLONE_PIDFD),        N(CLONE_VFORK),  N(CLONE_PARENT),        N(CLONE_THREAD),
    N(CLONE_SYSVSEM),      N(CLONE_SETTLS), N(CLONE_PARENT_SETTID), N(CLONE_CHILD_CLEARTID),
    N(CLONE_CHILD_SETTID),
};
static const struct name wait_flags[] = {N(WNOHANG), N(WUNTRACED), N(WEXITED), N(WCONTINUED),
                                         N(WNOWAIT)};
static const struct name limits[] = {
    N(RLIMIT_CPU),        N(RLIMIT_FSIZE),    N(RLIMIT_DATA),   N(RLIMIT_STACK),   N(RLIMIT_CORE),
    N(RLIMIT_RSS),        N(RLIMIT_NPROC),    N(RLIMIT_NOFILE), N(RLIMIT_MEMLOCK), N(RLIMIT_AS),
    N(RLIMIT_SIGPENDING), N(RLIMIT_MSGQUEUE), N(RLIMIT_NICE),   N(RLIMIT_RTPRIO),  N(RLIMIT_RTTIME),
};
static const struct name prctls[] = {
    N(PR_SET_PDEATHSIG),  N(PR_GET_DUMPABLE),     N(PR_SET_DUMPABLE),        N(PR_SET_KEEPCAPS),
    N(PR_SET_NAME),       N(PR_GET_NAME),         N(PR_CAPBSET_READ),        N(PR_CAPBSET_DROP),
    N(PR_SET_TIMERSLACK), N(PR_SET_NO_NEW_PRIVS), N(PR_SET_CHILD_SUBREAPER), N(PR_SET_VMA),
    N(PR_SET_SECCOMP),
};
static const struct name arch_prctls[] = {
    N(ARCH_SET_GS), N(ARCH_SET_FS), N(ARCH_GET_FS), N(ARCH_GET_GS), {0x3001, "ARCH_CET_STATUS"}};
static const struct name futexes[] = {
    N(FUTEX_WAIT),        N(FUTEX_WAKE),        N(FUTEX_REQUEUE),   N(FUTEX_CMP_REQUEUE),
    N(FUTEX_WAKE_OP),     N(FUTEX_LOCK_PI),     N(FUTEX_UNLOCK_PI), N(FUTEX_TRYLOCK_PI),
    N(FUTEX_WAIT_BITSET), N(FUTEX_WAKE_BITSET), N(FUTEX_LOCK_PI2),
};
static const struct name futex_flags[] = {N(FUTEX_PRIVATE_FLAG), N(FUTEX_CLOCK_REALTIME)};
static const struct name epoll_ops[] = {N(EPOLL_CTL_ADD), N(EPOLL_CTL_DEL), N(EPOLL_CTL_MOD)};
static const struct name clocks[] = {
    N(CLOCK_REALTIME),          N(CLOCK_MONOTONIC),     N(CLOCK_PROCESS_CPUTIME_ID),
    N(CLOCK_THREAD_CPUTIME_ID), N(CLOCK_MONOTONIC_RAW), N(CLOCK_REALTIME_COARSE),
    N(CLOCK_MONOTONIC_COARSE),  N(CLOCK_BOOTTIME),
};

/* A value is one of `values`, within `mask`, and any of `bits`. */
static const struct kind {
    uint64_t mask;
    const struct name *values;
    size_t value_count;
    const struct name *bits;
    size_t bit_count;
    const char *zero; /* what no bit is called */
} kinds[] = {
#define VALUES(v) .mask = UINT32_MAX, .values = v, .value_count = ARRAY_SIZE(v)
#define BITS(b) .bits = b, .bit_count = ARRAY_SIZE(b)
    [ARG_OPEN] = {BITS(open_flags), .zero = "O_RDONLY"},
    [ARG_AT] = {BITS(at_flags)},
    [ARG_ACCESS] = {BITS(access_modes), .zero = "F_OK"},
    [ARG_WHENCE] = {VALUES(whences)},
    [ARG_PROT] = {BITS(prots), .zero = "PROT_NONE"},
    [ARG_MAP] = {BITS(maps)},
    [ARG_MADVICE] = {VALUES(advices)},
    [ARG_SIGHOW] = {VALUES(sighows)},
    [ARG_IOCTL] = {VALUES(ioctls)},
    [ARG_FCNTL] = {VALUES(fcntls)},
    [ARG_FAMILY] = {VALUES(families)},
    [ARG_SOCKTYPE] = {.mask = 0xf,
                      .values = socktypes,
                      .value_count = ARRAY_SIZE(socktypes),
                      BITS(socktype_flags)},
    [ARG_MSG] = {BITS(msg_flags)},
    [ARG_SHUT] = {VALUES(shuts)},
    [ARG_SOL] = {VALUES(levels)},
    [ARG_CLONE] = {BITS(clone_flags)},
    [ARG_WAIT] = {BITS(wait_flags)},
    [ARG_RLIMIT] = {VALUES(limits)},
    [ARG_PRCTL] = {VALUES(prctls)},
    [ARG_ARCH_PRCTL] = {VALUES(arch_prctls)},
    [ARG_FUTEX] = {.mask = 0x7f,
                   .values = futexes,
                   .value_count = ARRAY_SIZE(futexes),
                   BITS(futex_flags)},
    [ARG_EPOLL_OP] = {VALUES(epoll_ops)},
    [ARG_CLOCK] = {VALUES(clocks)},
};
static const struct kind socket_kind = {VALUES(socket_options)}, tcp_kind = {VALUES(tcp_options)};

static const char *find(const struct name *names, size_t n, uint64_t value)
{
    for (size_t i = 0; i < n; i++)
        if (names[i].value == value)
            return names[i].text;
    return NULL;
}

static void put_kind(struct buf *out, const struct kind *k, uint64_t value)
{
    const char *name = find(k->values, k->value_count, value & k->mask), *separator = "";
    uint64_t left = value & UINT32_MAX;

    if (name) {
        buf_printf(out, "%s", name);
        separator = "|";
        left &= ~k->mask;
    }
    for (size_t i = 0; i < k->bit_count; i++) {
        if ((left & k->bits[i].value) != k->bits[i].value)
            continue;
        buf_printf(out, "%s%s", separator, k->bits[i].text);
        separator = "|";
        left &= ~k->bits[i].value;
    }
    if (left)
        buf_printf(out, "%s%#llx", separator, (unsigned long long)left);
    else if (!*separator)
        buf_printf(out, "%s", k->zero ? k->zero : "0");
}

bool trace_put_name(struct buf *out, unsigned kind, uint64_t value, uint64_t before)
{
    const struct kind *k = kind < ARRAY_SIZE(kinds) ? &kinds[kind] : NULL;

    if (kind == ARG_SOCKOPT)
        k = before == SOL_SOCKET ? &socket_kind : before == IPPROTO_TCP ? &tcp_kind : NULL;
    if (!k || !(k->value_count || k->bit_count))
        return false;
    if (kind == ARG_OPEN && (value & O_ACCMODE) == O_RDONLY && (value & ~(uint64_t)O_ACCMODE))
        buf_printf(out, "O_RDONLY|");
    put_kind(out, k, value);
    return true;
}
