/*
 * The arguments and results of system calls as text. Everything comes from a hostile domain:
 * lengths are those of the captures, whatever the arguments say, and no byte reaches a terminal
 * that is not printable.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "../abi/syscalls.h"
#include "trace.h"

typedef unsigned long long ull;

void trace_find_captures(struct trace_captures *c, const uint8_t *data, size_t n)
{
    struct monitor_capture head;

    memset(c, 0, sizeof(*c));
    while (n >= sizeof(head)) {
        memcpy(&head, data, sizeof(head));
        data += sizeof(head);
        n -= sizeof(head);
        size_t all = ((size_t)head.length + 7) & ~(size_t)7;
        if (all > n || head.arg >= 6)
            return;
        c->there[head.arg] = true;
        c->data[head.arg] = data;
        c->length[head.arg] = head.length;
        c->flags[head.arg] = head.flags;
        data += all;
        n -= all;
    }
}

void trace_put_string(struct buf *out, const uint8_t *data, size_t n, bool more)
{
    static const char escapes[] = "\aa\bb\tt\nn\vv\ff\rr\"\"\\\\";

    buf_printf(out, "\"");
    for (size_t i = 0; i < n; i++) {
        const char *e = data[i] ? strchr(escapes, data[i]) : NULL;
        if (e && (e - escapes) % 2 == 0)
            buf_printf(out, "\\%c", e[1]);
        else if (data[i] >= 0x20 && data[i] < 0x7f)
            buf_append(out, &data[i], 1);
        else if (i + 1 < n && isdigit(data[i + 1]))
            buf_printf(out, "\\%03o", data[i]);
        else
            buf_printf(out, "\\%o", data[i]);
    }
    buf_printf(out, "\"%s", more ? "..." : "");
}

/* ---- structures ---- */

static void put_signal(struct buf *out, int signo)
{
    const char *name = signo < 32 ? sigabbrev_np(signo) : NULL;

    if (name)
        buf_printf(out, "SIG%s", name);
    else if (signo >= 32 && signo <= 64)
        buf_printf(out, "SIGRT_%d", signo - 32);
    else
        buf_printf(out, "%d", signo);
}

static void put_sigset(struct buf *out, const uint8_t *data)
{
    uint64_t set;
    const char *separator = "";

    memcpy(&set, data, sizeof(set));
    bool inverse = __builtin_popcountll(set) > 32;
    buf_printf(out, inverse ? "~[" : "[");
    for (int i = 0; i < 64; i++) {
        if ((set >> i & 1) == inverse)
            continue;
        buf_printf(out, "%s", separator);
        put_signal(out, i + 1);
        separator = " ";
    }
    buf_printf(out, "]");
}

static void put_address(struct buf *out, const uint8_t *data, size_t n)
{
    union {
        struct sockaddr_storage any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } a = {0};
    char text[INET6_ADDRSTRLEN];

    memcpy(&a, data, n < sizeof(a) ? n : sizeof(a));
    if (n >= sizeof(a.in) && a.any.ss_family == AF_INET) {
        inet_ntop(AF_INET, &a.in.sin_addr, text, sizeof(text));
        buf_printf(out, "{AF_INET, %s:%u}", text, ntohs(a.in.sin_port));
    } else if (n >= 24 && a.any.ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &a.in6.sin6_addr, text, sizeof(text));
        buf_printf(out, "{AF_INET6, [%s]:%u}", text, ntohs(a.in6.sin6_port));
    } else if (n >= 2 && a.any.ss_family == AF_UNIX) {
        size_t len = n - 2 < sizeof(a.un.sun_path) ? n - 2 : sizeof(a.un.sun_path);
        if (len && a.un.sun_path[0])
            len = strnlen(a.un.sun_path, len);
        buf_printf(out, "{AF_UNIX");
        if (len) {
            buf_printf(out, ", ");
            trace_put_string(out, (const uint8_t *)a.un.sun_path, len, false);
        }
        buf_printf(out, "}");
    } else {
        buf_printf(out, "{");
        if (n >= 2 && !trace_put_name(out, ARG_FAMILY, a.any.ss_family, 0))
            buf_printf(out, "%u", a.any.ss_family);
        buf_printf(out, "}");
    }
}

static void put_events(struct buf *out, uint32_t events, bool epoll)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {
        {POLLIN, "IN"},
        {POLLPRI, "PRI"},
        {POLLOUT, "OUT"},
        {POLLERR, "ERR"},
        {POLLHUP, "HUP"},
        {POLLNVAL, "NVAL"},
        {POLLRDHUP, "RDHUP"},
        {EPOLLEXCLUSIVE, "EXCLUSIVE"},
        {EPOLLONESHOT, "ONESHOT"},
        {EPOLLET, "ET"},
    };
    const char *separator = "";

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (!(events & names[i].bit))
            continue;
        buf_printf(out, "%s%s%s", separator, epoll ? "EPOLL" : "POLL", names[i].name);
        separator = "|";
        events &= ~names[i].bit;
    }
    if (events || !*separator)
        buf_printf(out, "%s%#x", separator, events);
}

/* struct epoll_event's */
static void put_epoll_events(struct buf *out, const uint8_t *data, size_t n)
{
    for (size_t i = 0; i + 12 <= n; i += 12) {
        uint32_t events;
        uint64_t value;
        memcpy(&events, data + i, sizeof(events));
        memcpy(&value, data + i + 4, sizeof(value));
        buf_printf(out, "%s{", i ? ", " : "");
        put_events(out, events, true);
        buf_printf(out, ", data=%#llx}", (ull)value);
    }
}

static void put_poll(struct buf *out, const uint8_t *data, size_t n, bool done)
{
    for (size_t i = 0; i + sizeof(struct pollfd) <= n; i += sizeof(struct pollfd)) {
        struct pollfd p;
        memcpy(&p, data + i, sizeof(p));
        buf_printf(out, "%s{fd=%d, ", i ? ", " : "", p.fd);
        put_events(out, (uint16_t)p.events, false);
        if (done && p.revents) {
            buf_printf(out, " => ");
            put_events(out, (uint16_t)p.revents, false);
        }
        buf_printf(out, "}");
    }
}

static void put_stat(struct buf *out, const uint8_t *data)
{
    static const char *const types[16] = {
        [1] = "S_IFIFO", [2] = "S_IFCHR",  [4] = "S_IFDIR",   [6] = "S_IFBLK",
        [8] = "S_IFREG", [10] = "S_IFLNK", [12] = "S_IFSOCK",
    };
    struct stat st;

    memcpy(&st, data, sizeof(st));
    const char *type = types[(st.st_mode & S_IFMT) >> 12];
    buf_printf(out, "{st_mode=%s|%#o, st_size=%lld, ...}", type ? type : "?", st.st_mode & 07777,
               (long long)st.st_size);
}

static void put_wait_status(struct buf *out, int status)
{
    if (WIFEXITED(status)) {
        buf_printf(out, "[exited %d]", WEXITSTATUS(status));
    } else if (WIFSTOPPED(status)) {
        buf_printf(out, "[stopped by ");
        put_signal(out, WSTOPSIG(status));
        buf_printf(out, "]");
    } else {
        buf_printf(out, "[killed by ");
        put_signal(out, WTERMSIG(status));
        buf_printf(out, "%s]", WCOREDUMP(status) ? ", core dumped" : "");
    }
}

static void put_strings(struct buf *out, const uint8_t *data, size_t n, bool more)
{
    buf_printf(out, "[");
    for (size_t at = 0; at < n;) {
        size_t len = strnlen((const char *)data + at, n - at);
        buf_printf(out, "%s", at ? ", " : "");
        trace_put_string(out, data + at, len, false);
        at += len + 1;
    }
    buf_printf(out, "%s]", more ? ", ..." : "");
}

static void put_segments(struct buf *out, const uint8_t *data, size_t n, bool more)
{
    struct monitor_segment s;
    const char *separator = "";

    buf_printf(out, "[");
    while (n >= sizeof(s)) {
        memcpy(&s, data, sizeof(s));
        data += sizeof(s);
        n -= sizeof(s);
        if (s.captured > n)
            break;
        buf_printf(out, "%s{", separator);
        trace_put_string(out, data, s.captured, s.captured < s.length);
        buf_printf(out, ", %llu}", (ull)s.length);
        size_t all = (s.captured + 7) & ~(size_t)7;
        data += all < n ? all : n;
        n -= all < n ? all : n;
        separator = ", ";
    }
    buf_printf(out, "%s]", more ? ", ..." : "");
}

static void put_two(struct buf *out, const char *form, const uint8_t *data)
{
    int64_t v[2];

    memcpy(v, data, sizeof(v));
    buf_printf(out, form, (long long)v[0], (long long)v[1]);
}

static void put_limits(struct buf *out, const uint8_t *data)
{
    uint64_t v[2];

    memcpy(v, data, sizeof(v));
    for (int i = 0; i < 2; i++) {
        buf_printf(out, i ? ", max=" : "{cur=");
        if (v[i] == UINT64_MAX)
            buf_printf(out, "RLIM_INFINITY");
        else
            buf_printf(out, "%llu", (ull)v[i]);
    }
    buf_printf(out, "}");
}

static void put_sigaction(struct buf *out, const uint8_t *data)
{
    uint64_t v[4]; /* handler, flags, restorer, mask */

    memcpy(v, data, sizeof(v));
    if (v[0] <= 1)
        buf_printf(out, "{%s, ", v[0] ? "SIG_IGN" : "SIG_DFL");
    else
        buf_printf(out, "{%#llx, ", (ull)v[0]);
    put_sigset(out, data + 24);
    buf_printf(out, ", %#llx}", (ull)v[1]);
}

static void put_option_value(struct buf *out, const uint8_t *data, size_t n)
{
    int32_t v;

    if (n == sizeof(v)) {
        memcpy(&v, data, sizeof(v));
        buf_printf(out, "[%d]", v);
    } else {
        trace_put_string(out, data, n, false);
    }
}

/* How long a capture must be for its kind; shorter ones are shown as addresses. */
static size_t least(unsigned kind)
{
    switch (kind) {
    case ARG_STAT_OUT:
        return sizeof(struct stat);
    case ARG_SIGACTION:
        return 32;
    case ARG_TIMESPEC_IN:
    case ARG_TIMESPEC_OUT:
    case ARG_TIMEVAL_IN:
    case ARG_RLIMIT_IN:
    case ARG_RLIMIT_OUT:
        return 16;
    case ARG_EVENT_IN:
        return 12;
    case ARG_SIGSET_IN:
    case ARG_SIGSET_OUT:
    case ARG_FDS_OUT:
    case ARG_CLONE_ARGS:
        return 8;
    case ARG_STATUS_OUT:
        return 4;
    default:
        return 0;
    }
}

/* What a pointer leads to. False: it is not a kind that is shown. */
static bool put_captured(struct buf *out, unsigned kind, const uint8_t *data, size_t n, bool more,
                         bool done)
{
    uint64_t flags;
    int32_t v[2];

    switch (kind) {
    case ARG_PATH:
    case ARG_STR:
    case ARG_STR_OUT:
    case ARG_BUF_IN:
    case ARG_BUF_OUT:
        trace_put_string(out, data, n, more);
        return true;
    case ARG_OPT_IN:
    case ARG_OPT_OUT:
        put_option_value(out, data, n);
        return true;
    case ARG_STRV:
        put_strings(out, data, n, more);
        return true;
    case ARG_IOV_IN:
    case ARG_IOV_OUT:
        put_segments(out, data, n, more);
        return true;
    case ARG_MSGHDR_IN:
    case ARG_MSGHDR_OUT:
        buf_printf(out, "{msg_iov=");
        put_segments(out, data, n, more);
        buf_printf(out, ", ...}");
        return true;
    case ARG_CLONE_ARGS:
        memcpy(&flags, data, sizeof(flags));
        buf_printf(out, "{flags=");
        trace_put_name(out, ARG_CLONE, flags, 0);
        buf_printf(out, ", ...}");
        return true;
    case ARG_ADDR_IN:
    case ARG_ADDR_OUT:
        put_address(out, data, n);
        return true;
    case ARG_POLL:
        buf_printf(out, "[");
        put_poll(out, data, n, done);
        buf_printf(out, "%s]", more ? ", ..." : "");
        return true;
    case ARG_TIMESPEC_IN:
    case ARG_TIMESPEC_OUT:
        put_two(out, "{tv_sec=%lld, tv_nsec=%lld}", data);
        return true;
    case ARG_TIMEVAL_IN:
        put_two(out, "{tv_sec=%lld, tv_usec=%lld}", data);
        return true;
    case ARG_SIGSET_IN:
    case ARG_SIGSET_OUT:
        put_sigset(out, data);
        return true;
    case ARG_SIGACTION:
        put_sigaction(out, data);
        return true;
    case ARG_EVENT_IN:
        put_epoll_events(out, data, n);
        return true;
    case ARG_EVENTS_OUT:
        buf_printf(out, "[");
        put_epoll_events(out, data, n);
        buf_printf(out, "%s]", more ? ", ..." : "");
        return true;
    case ARG_RLIMIT_IN:
    case ARG_RLIMIT_OUT:
        put_limits(out, data);
        return true;
    case ARG_STAT_OUT:
        put_stat(out, data);
        return true;
    case ARG_FDS_OUT:
        memcpy(v, data, sizeof(v));
        buf_printf(out, "[%d, %d]", v[0], v[1]);
        return true;
    case ARG_STATUS_OUT:
        memcpy(v, data, sizeof(v[0]));
        put_wait_status(out, v[0]);
        return true;
    default:
        return false;
    }
}

static bool is_pointer(unsigned kind)
{
    return kind < ARG_INT || kind == ARG_PTR;
}

static void put_number(struct buf *out, unsigned kind, uint64_t value, uint64_t before)
{
    if (trace_put_name(out, kind, value, before))
        return;
    switch (kind) {
    case ARG_INT:
        buf_printf(out, "%d", (int)value);
        break;
    case ARG_FD:
        if ((int)value == -100)
            buf_printf(out, "AT_FDCWD");
        else
            buf_printf(out, "%d", (int)value);
        break;
    case ARG_UINT:
        buf_printf(out, "%u", (unsigned)value);
        break;
    case ARG_SIZE:
        buf_printf(out, "%llu", (ull)value);
        break;
    case ARG_OFFSET:
        buf_printf(out, "%lld", (long long)value);
        break;
    case ARG_MODE:
        buf_printf(out, "%#o", (unsigned)value);
        break;
    case ARG_SIGNAL:
        put_signal(out, (int)value);
        break;
    default:
        buf_printf(out, is_pointer(kind) && !value ? "NULL" : "%#llx", (ull)value);
    }
}

static bool capture_fits(const struct trace_captures *c, unsigned i, unsigned kind)
{
    return c && c->there[i] && !(c->flags[i] & MONITOR_FAULT) && c->length[i] >= least(kind);
}

/* The arguments that matter: open(2)'s mode is read only with O_CREAT. */
static unsigned count_args(const uint8_t *kinds, const uint64_t args[6])
{
    unsigned n = 0;

    while (n < 6 && kinds[n + 1] != ARG_NONE)
        n++;
    if (n >= 2 && kinds[n] == ARG_MODE && kinds[n - 1] == ARG_OPEN && !(args[n - 2] & 0100))
        n--;
    return n;
}

void trace_put_args(struct buf *out, unsigned nr, const uint64_t args[6],
                    const struct trace_captures *in, const struct trace_captures *exit,
                    const int64_t *result)
{
    const uint8_t *kinds = trace_call_kinds(nr);
    unsigned n = kinds ? count_args(kinds, args) : 6;

    for (unsigned i = 0; i < n; i++) {
        unsigned kind = kinds ? kinds[i + 1] : ARG_HEX;
        const struct trace_captures *c = capture_fits(exit, i, kind) ? exit
                                         : capture_fits(in, i, kind) ? in
                                                                     : NULL;
        buf_printf(out, "%s", i ? ", " : "");
        if (!c || !put_captured(out, kind, c->data[i], c->length[i], c->flags[i] & MONITOR_CUT,
                                result && *result >= 0))
            put_number(out, kind, args[i], i ? args[i - 1] : 0);
    }
}

void trace_put_result(struct buf *out, unsigned nr, int64_t result)
{
    const uint8_t *kinds = trace_call_kinds(nr);

    if (result >= 0 || result < -4095) {
        buf_printf(out, kinds && kinds[0] == ARG_PTR && result ? " = %#llx" : " = %lld",
                   (ull)result);
    } else if (result <= -512) {
        buf_printf(out, " = ? (to be restarted)");
    } else {
        const char *name = strerrorname_np((int)-result);
        const char *text = strerrordesc_np((int)-result);
        buf_printf(out, " = -1 %s (%s)", name ? name : "?", text ? text : "?");
    }
}
