/* AF_UNIX sockets: their options. */
#include "linux/unix.h"

enum {
    OPT_REUSEADDR = 2,
    OPT_TYPE = 3,
    OPT_ERROR = 4,
    OPT_BROADCAST = 6,
    OPT_SNDBUF = 7,
    OPT_RCVBUF = 8,
    OPT_KEEPALIVE = 9,
    OPT_OOBINLINE = 10,
    OPT_REUSEPORT = 15,
    OPT_PASSCRED = 16,
    OPT_PEERCRED = 17,
    OPT_ACCEPTCONN = 30,
    OPT_SNDBUFFORCE = 32,
    OPT_PROTOCOL = 38,
    OPT_DOMAIN = 39,
};
/* Kept and told, but without meaning for these sockets. */
#define FLAG_OPTIONS                                                                               \
    (1ull << OPT_REUSEADDR | 1ull << OPT_BROADCAST | 1ull << OPT_KEEPALIVE |                       \
     1ull << OPT_OOBINLINE | 1ull << OPT_REUSEPORT)

int unix_setopt(struct file *f, int level, int name, const void *val, uint32_t len)
{
    struct unix_socket *s = unix_of(f);
    int v;
    if (level != SOL_SOCKET_N)
        return -EOPNOTSUPP;
    if (is_timeout_option(name))
        return timeout_option_set(is_recv_timeout(name) ? &s->rcv_timeout : &s->snd_timeout, val,
                                  len);
    if (len < sizeof(v))
        return -EINVAL;
    memcpy(&v, val, sizeof(v));
    switch (name) {
    case OPT_PASSCRED:
        s->passcred = v;
        return 0;
    case OPT_SNDBUF:
    case OPT_SNDBUFFORCE:
        v = MAX(MIN(v, (int)UNIX_SNDBUF_MAX / 2), 0) * 2;
        s->sndbuf = MAX((uint32_t)v, UNIX_SNDBUF_MIN);
        return 0;
    case OPT_RCVBUF:
        return 0; /* the sender's limit counts, as on Linux */
    default:
        if (name < 0 || name > 63 || !(FLAG_OPTIONS >> name & 1))
            return -ENOPROTOOPT;
        s->flag_options = (s->flag_options & ~(1ull << name)) | (uint64_t) !!v << name;
        return 0;
    }
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
    case OPT_RCVBUF:
        v = (int)s->sndbuf;
        break;
    case OPT_PASSCRED:
        v = s->passcred;
        break;
    case OPT_PEERCRED: {
        struct ucred_k c = s->peer_cred;
        if (!c.pid) /* never connected */
            c.uid = c.gid = ~0u;
        *len = MIN(*len, (uint32_t)sizeof(c));
        memcpy(val, &c, *len);
        return 0;
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
    *len = MIN(*len, (uint32_t)sizeof(v));
    memcpy(val, &v, *len);
    return 0;
}
