/* Captures of a call's arguments: linux/trace_record.h. Which argument is what: abi/syscalls.def.
 */
#include <asm/unistd.h>

#include "abi/monitor.h"
#include "abi/syscalls.h"
#include "core/uio.h"
#include "linux/trace_record.h"

#define PATH_SNAP 512u
#define STRINGS 16 /* of an argument list */
#define SEGMENTS 4 /* of an iovec */
#define ITEMS 16u  /* of an array */

/* The kind of the result, then those of the arguments. */
#define SYSCALL(name, ...) [__NR_##name] = {__VA_ARGS__},
static const uint8_t signatures[MONITOR_CALLS][7] = {
#include "abi/syscalls.def"
};
#undef SYSCALL

/* Arguments of one size. */
static const struct {
    uint8_t size;
    bool at_exit;
} fixed[] = {
    [ARG_TIMESPEC_IN] = {16, false}, [ARG_TIMEVAL_IN] = {16, false},  [ARG_SIGSET_IN] = {8, false},
    [ARG_SIGACTION] = {32, false},   [ARG_EVENT_IN] = {12, false},    [ARG_RLIMIT_IN] = {16, false},
    [ARG_CLONE_ARGS] = {8, false},   [ARG_STAT_OUT] = {144, true},    [ARG_FDS_OUT] = {8, true},
    [ARG_STATUS_OUT] = {4, true},    [ARG_TIMESPEC_OUT] = {16, true}, [ARG_SIGSET_OUT] = {8, true},
    [ARG_RLIMIT_OUT] = {16, true},
};

bool capture_put(struct capture *c, const void *data, size_t n)
{
    size_t all = ROUND_UP(n, 8);
    if (all > sizeof(c->data) - c->len)
        return false;
    memcpy(c->data + c->len, data, n);
    memset(c->data + c->len + n, 0, all - n);
    c->len += all;
    return true;
}

/* Room for a capture whose bytes follow; NULL: none. */
static struct monitor_capture *begin(struct capture *c, unsigned arg)
{
    struct monitor_capture head = {.arg = (uint16_t)arg};
    uint8_t *at = c->data + c->len;
    return capture_put(c, &head, sizeof(head)) ? (struct monitor_capture *)at : NULL;
}

/* Bytes of the program's memory, as a capture. `all`: how many there are. */
static void bytes(struct capture *c, unsigned arg, uaddr_t at, uint64_t all, uint32_t limit)
{
    uint8_t data[MONITOR_SNAP_MAX];
    uint32_t n = (uint32_t)MIN(MIN(all, (uint64_t)limit), (uint64_t)sizeof(data));
    struct monitor_capture *head = at ? begin(c, arg) : NULL;
    if (!head)
        return;
    head->flags = n < all ? MONITOR_CUT : 0;
    if (copy_from_user(data, at, n))
        head->flags = MONITOR_FAULT;
    else if (capture_put(c, data, n))
        head->length = n;
}

static void string(struct capture *c, unsigned arg, uaddr_t at, uint32_t limit)
{
    char text[PATH_SNAP + 1];
    struct monitor_capture *head = at ? begin(c, arg) : NULL;
    if (!head)
        return;
    size_t size = MIN(limit, PATH_SNAP) + 1;
    ssize_t n = strncpy_from_user(text, at, size);
    head->flags = n == -ENAMETOOLONG ? MONITOR_CUT : n < 0 ? MONITOR_FAULT : 0;
    if (n == -ENAMETOOLONG)
        n = (ssize_t)size - 1;
    if (n > 0 && capture_put(c, text, (size_t)n))
        head->length = (uint32_t)n;
}

/* An argument list: its first strings back to back, each with its NUL. */
static void strings(struct capture *c, unsigned arg, uaddr_t at, uint32_t limit)
{
    char text[PATH_SNAP];
    size_t len = 0;
    struct monitor_capture *head = at ? begin(c, arg) : NULL;
    if (!head)
        return;
    for (int i = 0;; i++, at += 8) {
        uint64_t from;
        if (copy_from_user(&from, at, sizeof(from))) {
            head->flags |= MONITOR_FAULT;
            break;
        }
        if (!from)
            break;
        size_t room = MIN(sizeof(text) - len, (size_t)limit + 1);
        ssize_t n = i < STRINGS && room > 1 ? strncpy_from_user(text + len, from, room) : -E2BIG;
        if (n < 0) {
            head->flags |= n == -EFAULT ? MONITOR_FAULT : MONITOR_CUT;
            break;
        }
        len += (size_t)n + 1;
    }
    if (capture_put(c, text, len))
        head->length = (uint32_t)len;
}

/* The first segments of an iovec, with what is in them: `total` bytes at most in all. */
static void segments(struct capture *c, unsigned arg, uaddr_t at, uint64_t count, uint64_t total,
                     uint32_t snap)
{
    uint8_t data[MONITOR_SNAP_MAX];
    struct monitor_capture *head = at ? begin(c, arg) : NULL;
    if (!head)
        return;
    size_t before = c->len;
    for (uint64_t i = 0; i < MIN(count, (uint64_t)SEGMENTS); i++, at += 16) {
        uint64_t v[2];
        if (copy_from_user(v, at, sizeof(v))) {
            head->flags |= MONITOR_FAULT;
            break;
        }
        uint64_t n = MIN(MIN(v[1], total), (uint64_t)MIN(snap, (uint32_t)sizeof(data)));
        struct monitor_segment s = {.length = v[1], .captured = n};
        total -= MIN(v[1], total);
        if (n && copy_from_user(data, v[0], n)) {
            head->flags |= MONITOR_FAULT;
            break;
        }
        size_t len = c->len;
        if (!capture_put(c, &s, sizeof(s)) || !capture_put(c, data, n)) {
            c->len = len;
            break;
        }
    }
    head->flags |= count > SEGMENTS ? MONITOR_CUT : 0;
    head->length = (uint32_t)(c->len - before);
}

/* Those of a struct msghdr: its third and fourth words. */
static void message(struct capture *c, unsigned arg, uaddr_t at, uint64_t total, uint32_t snap)
{
    uint64_t v[4];
    if (at && !copy_from_user(v, at, sizeof(v)))
        segments(c, arg, v[2], v[3], total, snap);
}

/* The 32-bit length that a pointer leads to. */
static uint32_t length_at(uaddr_t at)
{
    uint32_t n;
    return at && !copy_from_user(&n, at, sizeof(n)) ? n : 0;
}

static void at_entry(struct capture *c, unsigned i, unsigned kind, const uint64_t args[6],
                     uint32_t snap)
{
    uint64_t next = i < 5 ? args[i + 1] : 0;
    switch (kind) {
    case ARG_PATH:
        string(c, i, args[i], PATH_SNAP);
        break;
    case ARG_STR:
        string(c, i, args[i], snap);
        break;
    case ARG_STRV:
        strings(c, i, args[i], snap);
        break;
    case ARG_BUF_IN:
        bytes(c, i, args[i], next, snap);
        break;
    case ARG_OPT_IN:
        bytes(c, i, args[i], (uint32_t)next, 64);
        break;
    case ARG_ADDR_IN:
        bytes(c, i, args[i], (uint32_t)next, 128);
        break;
    case ARG_MSGHDR_IN:
        message(c, i, args[i], UINT64_MAX, snap);
        break;
    case ARG_IOV_IN:
        segments(c, i, args[i], next, UINT64_MAX, snap);
        break;
    case ARG_POLL:
        bytes(c, i, args[i], 8 * MIN(next, UINT32_MAX), 8 * ITEMS);
        break;
    }
}

static void at_exit(struct capture *c, unsigned i, unsigned kind, const uint64_t args[6],
                    uint64_t result, uint32_t snap)
{
    uint64_t next = i < 5 ? args[i + 1] : 0;
    switch (kind) {
    case ARG_BUF_OUT:
        bytes(c, i, args[i], result, snap);
        break;
    case ARG_STR_OUT:
        string(c, i, args[i], PATH_SNAP);
        break;
    case ARG_OPT_OUT:
        bytes(c, i, args[i], length_at(next), 64);
        break;
    case ARG_ADDR_OUT:
        bytes(c, i, args[i], length_at(next), 128);
        break;
    case ARG_MSGHDR_OUT:
        message(c, i, args[i], result, snap);
        break;
    case ARG_IOV_OUT:
        segments(c, i, args[i], next, result, snap);
        break;
    case ARG_POLL:
        bytes(c, i, args[i], 8 * MIN(next, UINT32_MAX), 8 * ITEMS);
        break;
    case ARG_EVENTS_OUT:
        bytes(c, i, args[i], 12 * MIN(result, UINT32_MAX), 12 * ITEMS);
        break;
    }
}

void capture_args(struct capture *c, unsigned nr, const uint64_t args[6], const long *result,
                  uint32_t snap)
{
    snap = MIN(snap, MONITOR_SNAP_MAX);
    for (unsigned i = 0; i < 6; i++) {
        unsigned kind = signatures[nr][i + 1];
        bool is_fixed = kind < ARRAY_SIZE(fixed) && fixed[kind].size;
        if (is_fixed && fixed[kind].at_exit == (result != NULL) && (!result || *result >= 0))
            bytes(c, i, args[i], fixed[kind].size, fixed[kind].size);
        else if (!is_fixed && !result)
            at_entry(c, i, kind, args, snap);
        else if (!is_fixed && *result >= 0)
            at_exit(c, i, kind, args, (uint64_t)*result, snap);
    }
}
