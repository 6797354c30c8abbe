/* SO_ATTACH_FILTER and its kin, on internet and packet sockets. */
#include "core/mem.h"
#include "linux/sock.h"
#include "net/filter.h"
#include "net/socket.h"

struct sock_fprog_k {
    uint16_t count;
    uint8_t pad[6];
    uaddr_t insns;
};

static int attach(struct socket *s, const void *val, uint32_t len)
{
    struct sock_fprog_k prog;
    if (len != sizeof(prog))
        return -EINVAL;
    memcpy(&prog, val, sizeof(prog));
    if (!prog.count || prog.count > FILTER_MAX)
        return -EINVAL;
    size_t size = prog.count * sizeof(struct filter_insn);
    struct filter_insn *insns = kmalloc(size);
    if (!insns)
        return -ENOMEM;
    int err = copy_from_user(insns, prog.insns, size);
    if (!err)
        err = socket_attach_filter(s, insns, prog.count);
    kfree(insns);
    return err;
}

/* Filters cannot be unlocked. */
static int lock_filter(struct socket *s, const void *val, uint32_t len)
{
    int v;
    if (len < sizeof(v))
        return -EINVAL;
    memcpy(&v, val, sizeof(v));
    if (s->filter_locked && !v)
        return -EPERM;
    s->filter_locked = v;
    return 0;
}

bool filter_option_set(struct socket *s, int name, const void *val, uint32_t len, int *err)
{
    switch (name) {
    case SO_ATTACH_FILTER_N:
        *err = attach(s, val, len);
        return true;
    case SO_DETACH_FILTER_N:
        *err = socket_attach_filter(s, NULL, 0);
        return true;
    case SO_LOCK_FILTER_N:
        *err = lock_filter(s, val, len);
        return true;
    default:
        return false;
    }
}
