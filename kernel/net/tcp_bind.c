/*
 * The port table: which sockets and TIME-WAIT entries own which local port, and which of them
 * listen.
 *
 * Whether a new owner fits beside those that are there follows Linux: SO_REUSEADDR lets everybody
 * in who has it set as long as nobody listens, SO_REUSEPORT lets those in that have it set and the
 * same user. An IPv6 wildcard without IPV6_V6ONLY takes the port for IPv4 too.
 */
#include "core/lock.h"
#include "core/rand.h"
#include "net/port.h"
#include "net/shared.h"
#include "net/tcp.h"

#define PORT_BUCKETS 1024u

/* A port in use; freed with its last owner. */
struct tcp_port {
    struct list link;
    struct list owners;    /* struct tcp_bind, listeners not included */
    struct list listeners; /* struct tcp_bind */
    uint16_t port;
};

struct port_bucket {
    spinlock_t lock;
    struct list ports;
};

static struct port_bucket ports[PORT_BUCKETS];
static struct slab *port_slab;

static struct port_bucket *bucket_of(uint16_t port)
{
    return &ports[port & (PORT_BUCKETS - 1)];
}

static struct tcp_port *find_port(struct port_bucket *b, uint16_t port)
{
    struct tcp_port *p;

    list_for_each (p, &b->ports, link)
        if (p->port == port)
            return p;
    return NULL;
}

static struct tcp_port *make_port(struct port_bucket *b, uint16_t port)
{
    struct tcp_port *p = slab_alloc(port_slab);

    if (!p)
        return NULL;
    p->port = port;
    list_init(&p->owners);
    list_init(&p->listeners);
    list_push_front(&b->ports, &p->link);
    return p;
}

static void drop_port_if_unused(struct tcp_port *p)
{
    if (!list_empty(&p->owners) || !list_empty(&p->listeners))
        return;
    list_remove(&p->link);
    shared_port_unused(IPPROTO_TCP_N, p->port);
    slab_free(port_slab, p);
}

bool tcp_port_in_use(uint16_t port)
{
    struct port_bucket *b = bucket_of(port);

    spin_lock_bh(&b->lock);
    bool used = find_port(b, port) != NULL;
    spin_unlock_bh(&b->lock);
    return used;
}

static bool covers_v4(const struct tcp_bind *b)
{
    return ip_is_v4(&b->addr) || (ip_is_any(&b->addr) && !b->v6only);
}

static bool overlap(const struct tcp_bind *a, const struct tcp_bind *b)
{
    bool any_a = ip_is_any(&a->addr), any_b = ip_is_any(&b->addr);

    if (a->ifindex && b->ifindex && a->ifindex != b->ifindex)
        return false;
    if (any_a && any_b)
        return (covers_v4(a) && covers_v4(b)) || (!ip_is_v4(&a->addr) && !ip_is_v4(&b->addr));
    if (any_a)
        return ip_is_v4(&b->addr) ? covers_v4(a) : !ip_is_v4(&a->addr);
    if (any_b)
        return ip_is_v4(&a->addr) ? covers_v4(b) : !ip_is_v4(&b->addr);
    return ip_equal(&a->addr, &b->addr);
}

/* Whether `b`, about to bind (or to listen), conflicts with an owner. */
static bool conflicts(const struct tcp_bind *b, const struct tcp_bind *owner, bool to_listen)
{
    if (owner == b || !overlap(b, owner))
        return false;
    if (b->reuse_port && owner->reuse_port && (owner->uid == b->uid || owner->time_wait))
        return false;
    if (b->reuse_addr && owner->reuse_addr && !owner->listening)
        return false;
    return !(to_listen && !owner->listening);
}

static bool port_conflicts(const struct tcp_bind *b, const struct tcp_port *p, bool to_listen)
{
    const struct tcp_bind *o;

    list_for_each (o, &p->listeners, link)
        if (conflicts(b, o, to_listen))
            return true;
    if (to_listen)
        return false; /* was checked when it was bound */
    list_for_each (o, &p->owners, link)
        if (conflicts(b, o, to_listen))
            return true;
    return false;
}

static void bind_from_socket(struct tcp_bind *b, const struct socket *s)
{
    b->addr = s->local.ip;
    b->ifindex = s->bound_ifindex;
    b->uid = s->uid;
    b->reuse_addr = s->reuse_addr;
    b->reuse_port = s->reuse_port;
    b->v6only = s->v6only;
}

static int bind_exact(struct tcp *t, uint16_t port)
{
    struct port_bucket *b = bucket_of(port);
    struct tcp_port *p;
    int err = 0;

    bind_from_socket(&t->bind, &t->s);
    spin_lock(&b->lock);
    p = find_port(b, port);
    if (p && port_conflicts(&t->bind, p, false))
        err = -EADDRINUSE;
    else if (!p && !(p = make_port(b, port)))
        err = -ENOMEM;
    if (!err) {
        t->bind.port = p;
        list_push_back(&p->owners, &t->bind.link);
    }
    spin_unlock(&b->lock);
    return err;
}

static bool try_bind(uint16_t port, void *arg)
{
    struct tcp *t = arg;
    bool reuse = t->s.reuse_addr, ok;

    t->s.reuse_addr = false; /* port 0 asks for one that nobody has */
    ok = bind_exact(t, port) == 0;
    t->s.reuse_addr = t->bind.reuse_addr = reuse;
    return ok;
}

int tcp_bind_port(struct tcp *t, uint16_t port)
{
    if (port) {
        int err = bind_exact(t, port);

        if (!err)
            t->s.local.port = t->e.lport = port;
        return err;
    }
    port = port_choose(&t->s.local.ip, NULL, 0, try_bind, t);
    if (!port)
        return -EADDRINUSE;
    t->s.local.port = t->e.lport = port;
    return 0;
}

struct taker {
    struct tcp *t;
    struct tcp_tw **reuse;
};

/* Becomes an owner of a port for connect: one that nobody has, or (`share`) one whose owners all
 * came from connect or allow it, as long as no other connection has the same peer. */
static bool take_port(struct taker *taker, uint16_t port, bool share)
{
    struct tcp *t = taker->t;
    struct port_bucket *b = bucket_of(port);
    const struct tcp_bind *o;
    struct tcp_port *p;
    bool usable;

    spin_lock(&b->lock);
    p = find_port(b, port);
    usable = share ? p && list_empty(&p->listeners) : !p && (p = make_port(b, port));
    if (usable && share) {
        list_for_each (o, &p->owners, link)
            usable &= o->reuse_addr;
    }
    if (usable) {
        t->bind.port = p;
        list_push_back(&p->owners, &t->bind.link);
    }
    spin_unlock(&b->lock);
    if (!usable)
        return false;
    t->e.lport = port;
    if (tcp_table_insert(t, taker->reuse) == 0)
        return true;
    tcp_bind_release(&t->bind);
    return false;
}

static bool try_connect(uint16_t port, void *taker)
{
    return take_port(taker, port, false);
}

/* When every port of the range is taken. */
static bool try_share(uint16_t port, void *taker)
{
    return take_port(taker, port, true);
}

int tcp_bind_connect(struct tcp *t, struct tcp_tw **reuse)
{
    struct taker taker = {t, reuse};
    uint16_t port;

    bind_from_socket(&t->bind, &t->s);
    t->bind.reuse_addr = true; /* of a port chosen here: other connections may share it */
    port = port_choose(&t->e.local, &t->e.remote, t->e.rport, try_connect, &taker);
    if (!port)
        port = port_choose(&t->e.local, &t->e.remote, t->e.rport, try_share, &taker);
    if (!port)
        return -EADDRNOTAVAIL;
    t->s.local.port = port;
    return 0;
}

void tcp_bind_inherit(struct tcp_bind *to, const struct tcp_bind *from, const struct ip_addr *addr)
{
    struct tcp_port *p = from->port;
    struct port_bucket *b;

    if (!p)
        return;
    b = bucket_of(p->port);
    *to = *from;
    to->addr = *addr;
    to->listening = false;
    spin_lock(&b->lock);
    list_push_back(&p->owners, &to->link);
    spin_unlock(&b->lock);
}

void tcp_bind_release(struct tcp_bind *bind)
{
    struct tcp_port *p = bind->port;
    struct port_bucket *b;

    if (!p)
        return;
    b = bucket_of(p->port);
    spin_lock(&b->lock);
    list_remove(&bind->link);
    drop_port_if_unused(p);
    bind->port = NULL;
    bind->listening = false;
    spin_unlock(&b->lock);
}

int tcp_bind_listen(struct tcp *t)
{
    struct tcp_port *p = t->bind.port;
    struct port_bucket *b = bucket_of(p->port);
    int err = 0;

    bind_from_socket(&t->bind, &t->s);
    spin_lock(&b->lock);
    if (port_conflicts(&t->bind, p, true)) {
        err = -EADDRINUSE;
    } else {
        t->bind.listening = true;
        list_remove(&t->bind.link);
        list_push_back(&p->listeners, &t->bind.link);
    }
    spin_unlock(&b->lock);
    return err;
}

/* How well a listener fits: 0 not at all, more for a bound address, interface and its own family.
 */
static int score(const struct tcp_bind *b, const struct ip_addr *local, int ifindex)
{
    int s = 1;

    if (b->ifindex) {
        if (b->ifindex != ifindex)
            return 0;
        s += 4;
    }
    if (!ip_is_any(&b->addr))
        return ip_equal(&b->addr, local) ? s + 8 : 0;
    if (ip_is_v4(local))
        return covers_v4(b) ? s + (ip_is_v4(&b->addr) ? 2 : 0) : 0;
    return ip_is_v4(&b->addr) ? 0 : s;
}

struct tcp *tcp_bind_lookup_listener(const struct ip_addr *local, uint16_t port,
                                     const struct ip_addr *remote, uint16_t rport, int ifindex)
{
    struct port_bucket *b = bucket_of(port);
    struct tcp_bind *o, *best = NULL;
    struct tcp *t = NULL;
    struct tcp_port *p;
    int best_score = 0;
    uint32_t ties = 0;
    /* SO_REUSEPORT: peers are spread over the group by address and port, always alike. */
    uint32_t pick = (remote->w[0] ^ remote->w[2] ^ remote->w[3] ^ rport) * 0x9e3779b1u;

    spin_lock(&b->lock);
    p = find_port(b, port);
    if (p) {
        list_for_each (o, &p->listeners, link) {
            int sc = score(o, local, ifindex);

            if (sc > best_score) {
                best = o;
                best_score = sc;
                ties = 1;
            } else if (sc && sc == best_score) {
                ties++;
                pick = pick * 0x85ebca6bu + 0x9e3779b9u;
                if (((uint64_t)pick * ties) >> 32 == 0)
                    best = o;
            }
        }
    }
    if (best) {
        t = container_of(best, struct tcp, bind);
        if (!ref_get_unless_zero(&t->s.refs))
            t = NULL;
    }
    spin_unlock(&b->lock);
    return t;
}

void tcp_bind_for_each_listener(void (*fn)(struct tcp *t, void *arg), void *arg)
{
    for (unsigned i = 0; i < PORT_BUCKETS; i++) {
        struct tcp *found[16];
        unsigned n = 0;
        struct tcp_port *p;
        struct tcp_bind *o;

        spin_lock_bh(&ports[i].lock);
        list_for_each (p, &ports[i].ports, link) {
            list_for_each (o, &p->listeners, link) {
                struct tcp *t = container_of(o, struct tcp, bind);

                if (n < ARRAY_SIZE(found) && ref_get_unless_zero(&t->s.refs))
                    found[n++] = t;
            }
        }
        spin_unlock_bh(&ports[i].lock);
        for (unsigned k = 0; k < n; k++) {
            fn(found[k], arg);
            tcp_put(found[k]);
        }
    }
}

int tcp_bind_init(void)
{
    for (unsigned i = 0; i < PORT_BUCKETS; i++) {
        spin_init(&ports[i].lock);
        list_init(&ports[i].ports);
    }
    port_slab = slab_create("tcp_port", sizeof(struct tcp_port), 16);
    return port_slab ? 0 : -ENOMEM;
}
