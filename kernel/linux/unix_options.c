/* AF_UNIX sockets: their options. */
#include "linux/pidfd.h"
#include "linux/unix.h"
#include "net/socket.h"

enum {
    OPT_REUSEADDR = 2,
    OPT_TYPE = 3,
    OPT_ERROR = 4,
    OPT_BROADCAST = 6,
    OPT_SNDBUF = 7,
    OPT_RCVBUF = 8,
    OPT_KEEPALIVE = 9,
    OPT_OOBINLINE = 10,
    OPT_PRIORITY = 12,
    OPT_LINGER = 13,
    OPT_REUSEPORT = 15,
    OPT_PASSCRED = 16,
    OPT_PEERCRED = 17,
    OPT_RCVLOWAT = 18,
    OPT_ACCEPTCONN = 30,
    OPT_SNDBUFFORCE = 32,
    OPT_PROTOCOL = 38,
    OPT_DOMAIN = 39,
    OPT_COOKIE = 57,
    OPT_PEERPIDFD = 77,
};
/* Kept and told, but without meaning for these sockets. */
#define FLAG_OPTIONS                                                                               \
    (1ull << OPT_REUSEADDR | 1ull << OPT_BROADCAST | 1ull << OPT_KEEPALIVE |                       \
     1ull << OPT_OOBINLINE | 1ull << OPT_REUSEPORT)

static int set_linger(struct unix_socket *s, const void *val, uint32_t len)
{
    if (len < sizeof(s->linger))
        return -EINVAL;
    memcpy(s->linger, val, sizeof(s->linger));
    return 0;
}

int unix_setopt(struct file *f, int level, int name, const void *val, uint32_t len)
{
    struct unix_socket *s = unix_of(f);
    int v;
    if (level != SOL_SOCKET_N)
        return -EOPNOTSUPP;
    if (is_timeout_option(name))
        return timeout_option_set(is_recv_timeout(name) ? &s->rcv_timeout : &s->snd_timeout, val,
                                  len);
    if (name == OPT_LINGER)
        return set_linger(s, val, len);
    if (len < sizeof(v))
        return -EINVAL;
    memcpy(&v, val, sizeof(v));
    switch (name) {
    case OPT_PRIORITY:
        s->priority = v;
        return 0;
    case OPT_RCVLOWAT:
        s->rcv_lowat = v < 0 ? INT32_MAX : (uint32_t)MAX(v, 1);
        return 0;
    case OPT_PASSCRED:
        s->passcred = v;
        return 0;
    case OPT_SNDBUF:
    case OPT_SNDBUFFORCE:
        v = MAX(MIN(v, (int)UNIX_SNDBUF_MAX / 2), 0) * 2;
        s->sndbuf = MAX((uint32_t)v, UNIX_SNDBUF_MIN);
        return 0;
    case OPT_RCVBUF: /* the sender's limit counts, as on Linux */
        s->rcvbuf = MAX((uint32_t)MAX(MIN(v, (int)UNIX_SNDBUF_MAX / 2), 0) * 2, UNIX_RCVBUF_MIN);
        return 0;
    default:
        if (name < 0 || name > 63 || !(FLAG_OPTIONS >> name & 1))
            return -ENOPROTOOPT;
        s->flag_options = (s->flag_options & ~(1ull << name)) | (uint64_t) !!v << name;
        return 0;
    }
}

static int told(void *val, uint32_t *len, const void *from, size_t size)
{
    *len = MIN(*len, (uint32_t)size);
    memcpy(val, from, *len);
    return 0;
}

/* A descriptor of the process that connected or listened. */
static int peer_pidfd(struct unix_socket *s)
{
    struct file *f;
    if (!s->peer_cred.pid)
        return -ENODATA;
    struct process *p = process_find(s->peer_cred.pid);
    if (!p)
        return -ESRCH;
    int fd = pidfd_create(p, &f);
    if (!fd) {
        fd = fd_install(f, 0, true);
        if (fd < 0)
            file_put(f);
    }
    process_put(p);
    return fd;
}

int unix_getopt(struct file *f, int level, int name, void *val, uint32_t *len)
{
    struct unix_socket *s = unix_of(f);
    int v;
    if (level != SOL_SOCKET_N)
        return -EOPNOTSUPP;
    if (is_timeout_option(name))
        return timeout_option_get(is_recv_timeout(name) ? s->rcv_timeout : s->snd_timeout, val,
                                  len);
    switch (name) {
    case OPT_TYPE:
        v = s->type;
        break;
    case OPT_ERROR:
        spin_lock(&s->lock);
        v = s->error;
        s->error = 0;
        spin_unlock(&s->lock);
        break;
    case OPT_SNDBUF:
        v = (int)s->sndbuf;
        break;
    case OPT_RCVBUF:
        v = (int)s->rcvbuf;
        break;
    case OPT_PRIORITY:
        v = s->priority;
        break;
    case OPT_RCVLOWAT:
        v = (int)s->rcv_lowat;
        break;
    case OPT_LINGER:
        return told(val, len, s->linger, sizeof(s->linger));
    case OPT_COOKIE: {
        uint64_t cookie = socket_cookie(&s->cookie);
        return *len < sizeof(cookie) ? -EINVAL : told(val, len, &cookie, sizeof(cookie));
    }
    case OPT_PEERPIDFD:
        v = peer_pidfd(s);
        if (v < 0)
            return v;
        break;
    case OPT_PASSCRED:
        v = s->passcred;
        break;
    case OPT_PEERCRED: {
        struct ucred_k c = s->peer_cred;
        if (!c.pid) /* never connected */
            c.uid = c.gid = ~0u;
        return told(val, len, &c, sizeof(c));
    }
    case OPT_ACCEPTCONN:
        v = s->state == UNIX_LISTENING;
        break;
    case OPT_PROTOCOL:
        v = 0;
        break;
    case OPT_DOMAIN:
        v = AF_UNIX_N;
        break;
    default:
        if (name < 0 || name > 63 || !(FLAG_OPTIONS >> name & 1))
            return -ENOPROTOOPT;
        v = (int)(s->flag_options >> name & 1);
    }
    return told(val, len, &v, sizeof(v));
}
