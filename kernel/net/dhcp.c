/*
 * DHCP client (RFC 2131, options of RFC 2132).
 *
 *   SELECTING --OFFER--> REQUESTING --ACK--> BOUND --T1--> RENEWING --T2--> REBINDING --expired--+
 *       ^                     |NAK                            |NAK              |NAK             |
 *       +---------------------+-------------------------------+-----------------+----------------+
 *
 * Messages are sent and received below the sockets, since there is no address yet. Until it is
 * bound the client asks for broadcast answers. Everything that comes in is checked: transaction,
 * hardware address, magic, and every option's length; a lease is used only if its address and mask
 * make sense.
 */
#include "net/dhcp.h"

#include "core/rand.h"
#include "core/wait.h"
#include "net/ipimpl.h"
#include "net/netif_impl.h"

#define DHCP_SERVER_PORT 67u
#define BOOTP_LEN 236u
#define MAGIC 0x63825363u
#define MESSAGE_MIN (BOOTP_LEN + 4)
#define MESSAGE_PADDED 300u /* RFC 1542 2.1: some relays drop what is shorter */
#define MESSAGE_MAX 1500u
#define BROADCAST_FLAG 0x8000u

enum { DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK };
enum {
    OPT_PAD = 0,
    OPT_MASK = 1,
    OPT_ROUTER = 3,
    OPT_DNS = 6,
    OPT_HOSTNAME = 12,
    OPT_DOMAIN = 15,
    OPT_MTU = 26,
    OPT_REQUESTED_ADDR = 50,
    OPT_LEASE = 51,
    OPT_MESSAGE = 53,
    OPT_SERVER = 54,
    OPT_PARAMETERS = 55,
    OPT_MAX_SIZE = 57,
    OPT_T1 = 58,
    OPT_T2 = 59,
    OPT_CLIENT_ID = 61,
    OPT_END = 255,
};

enum dhcp_state { SELECTING, REQUESTING, BOUND, RENEWING, REBINDING };

struct lease {
    uint32_t addr, mask, router, server; /* network byte order; router 0: none */
    uint32_t dns[DHCP_MAX_DNS];
    int ndns;
    uint32_t lease_s, t1_s, t2_s;
    uint16_t mtu;
    char domain[64];
};

struct dhcp {
    struct netif *netif;
    spinlock_t lock; /* bh */
    enum dhcp_state state;
    struct timer timer;
    uint32_t xid;
    int tries;
    nsec_t began, bound_at;
    struct lease lease;
    bool had_lease;
    uint8_t message[MESSAGE_MAX]; /* the one being processed */
};

/* Interfaces that never had a lease, and who waits for that. */
static atomic_uint waiting_for_lease;
static struct wait_queue first_leases = WAIT_QUEUE_INIT(first_leases);

/* --- messages out ----------------------------------------------------------------------------- */

struct message {
    uint8_t b[MESSAGE_PADDED];
    uint32_t len;
};

static void put_option(struct message *m, uint8_t code, const void *data, uint8_t n)
{
    m->b[m->len++] = code;
    m->b[m->len++] = n;
    memcpy(m->b + m->len, data, n);
    m->len += n;
}

static void build(const struct dhcp *d, struct message *m, uint8_t type)
{
    static const uint8_t wanted[] = {OPT_MASK, OPT_ROUTER, OPT_DNS, OPT_DOMAIN,
                                     OPT_MTU,  OPT_T1,     OPT_T2};
    bool have_addr = d->state == RENEWING || d->state == REBINDING;
    uint8_t id[7] = {1};
    uint8_t max_size[2] = {MESSAGE_MAX >> 8, MESSAGE_MAX & 0xff};
    nsec_t secs = (time_now() - d->began) / NSEC_PER_SEC;

    memset(m->b, 0, sizeof(m->b));
    m->b[0] = 1; /* BOOTREQUEST */
    m->b[1] = 1; /* Ethernet */
    m->b[2] = MAC_LEN;
    put32(m->b + 4, d->xid);
    put16(m->b + 8, (uint16_t)MIN(secs, (nsec_t)0xffff));
    if (have_addr)
        memcpy(m->b + 12, &d->lease.addr, 4);
    else
        put16(m->b + 10, BROADCAST_FLAG);
    memcpy(m->b + 28, d->netif->mac, MAC_LEN);
    put32(m->b + BOOTP_LEN, MAGIC);
    m->len = MESSAGE_MIN;
    put_option(m, OPT_MESSAGE, &type, 1);
    memcpy(id + 1, d->netif->mac, MAC_LEN);
    put_option(m, OPT_CLIENT_ID, id, sizeof(id));
    put_option(m, OPT_MAX_SIZE, max_size, sizeof(max_size));
    if (type == REQUEST && !have_addr) {
        put_option(m, OPT_REQUESTED_ADDR, &d->lease.addr, 4);
        put_option(m, OPT_SERVER, &d->lease.server, 4);
    }
    put_option(m, OPT_PARAMETERS, wanted, sizeof(wanted));
    m->b[m->len++] = OPT_END;
}

/* To the broadcast address from an interface that may have no address: below ip_output. */
static void send_broadcast(struct netif *n, const struct message *m, uint32_t src)
{
    static const uint8_t everybody[MAC_LEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct pkt *p = pkt_alloc(ETH_HEADER + IP4_HEADER + 8);
    uint8_t h[28] = {0x45, [8] = 64, IPPROTO_UDP_N};
    struct ip_addr s = ip_from_v4(src), b = ip_from_v4(0xffffffffu);

    if (!p)
        return;
    put16(h + 2, (uint16_t)(sizeof(h) + MESSAGE_PADDED));
    memcpy(h + 12, &src, 4);
    memset(h + 16, 0xff, 4);
    *(wire16 *)(h + 10) = csum_fold(csum_add(h, IP4_HEADER, 0));
    put16(h + 20, DHCP_CLIENT_PORT);
    put16(h + 22, DHCP_SERVER_PORT);
    put16(h + 24, 8 + MESSAGE_PADDED);
    pkt_append(p, m->b, MESSAGE_PADDED);
    memcpy(pkt_push(p, sizeof(h)), h, sizeof(h));
    uint32_t sum = ip_pseudo_csum(&s, &b, IPPROTO_UDP_N, 8 + MESSAGE_PADDED);
    uint16_t folded = csum_fold(csum_add(p->data + IP4_HEADER, 8 + MESSAGE_PADDED, sum));
    *(wire16 *)(p->data + 26) = folded ? folded : 0xffff;
    ether_output(n, p, everybody, ETH_TYPE_IP4);
}

/* Renewing: to the server that gave the lease. */
static void send_unicast(const struct dhcp *d, const struct message *m)
{
    struct ip_flow f = {
        .src = ip_from_v4(d->lease.addr),
        .dst = ip_from_v4(d->lease.server),
        .proto = IPPROTO_UDP_N,
        .ttl = 64,
    };
    struct pkt *p = ip_route(&f) ? NULL : pkt_alloc(ETH_HEADER + IP4_HEADER + 8);
    uint8_t h[8];

    if (p) {
        put16(h, DHCP_CLIENT_PORT);
        put16(h + 2, DHCP_SERVER_PORT);
        put16(h + 4, 8 + MESSAGE_PADDED);
        put16(h + 6, 0);
        pkt_append(p, m->b, MESSAGE_PADDED);
        memcpy(pkt_push(p, sizeof(h)), h, sizeof(h));
        ip_csum_partial(p, &f, 6);
        ip_output(&f, p);
    }
    ip_flow_release(&f);
}

static void transmit(struct dhcp *d, uint8_t type)
{
    struct message m;

    build(d, &m, type);
    if (d->state == RENEWING)
        send_unicast(d, &m);
    else
        send_broadcast(d->netif, &m, d->state == REBINDING ? d->lease.addr : 0);
}

/* --- states ----------------------------------------------------------------------------------- */

/* 4, 8, 16, 32, then 64 seconds, each give or take one (RFC 2131 4.1); the first sooner, since a
 * boot waits for it. */
static nsec_t backoff(int tries)
{
    nsec_t base = tries == 0 ? NSEC_PER_SEC : NSEC_PER_SEC << MIN(tries + 1, 6);

    return base + (nsec_t)(rand_u32() % NSEC_PER_SEC) - NSEC_PER_SEC / 2;
}

static void select_server(struct dhcp *d)
{
    d->state = SELECTING;
    d->xid = rand_u32();
    d->tries = 0;
    d->began = time_now();
    transmit(d, DISCOVER);
    timer_arm(&d->timer, time_now() + backoff(0));
}

static nsec_t lease_point(const struct dhcp *d, uint32_t seconds)
{
    return seconds == UINT32_MAX ? NSEC_NEVER : d->bound_at + seconds * NSEC_PER_SEC;
}

/* What of the lease is in force on the interface is taken away. */
static void unconfigure(struct dhcp *d)
{
    struct ip_addr a = ip_from_v4(d->lease.addr);

    route_flush(d->netif, ROUTE_DHCP);
    netif_del_addr(d->netif, &a);
    klog(LOG_WARN, "%s: DHCP lease lost", d->netif->name);
}

static void configure(struct dhcp *d)
{
    struct ip_addr any = ip_from_v4(0), router = ip_from_v4(d->lease.router);
    struct netif_addr a = {
        .addr = ip_from_v4(d->lease.addr),
        .prefix = (uint8_t)(d->lease.mask ? 32 - __builtin_ctz(net32(d->lease.mask)) : 0),
        .state = ADDR_PREFERRED,
        .origin = ADDR_DHCP,
        .valid_until = NSEC_NEVER,
        .preferred_until = NSEC_NEVER,
    };
    char text[48];

    if (netif_add_addr_full(d->netif, &a))
        return;
    if (d->lease.mtu && d->lease.mtu < d->netif->mtu) {
        d->netif->mtu = d->lease.mtu;
        view_touch();
    }
    if (d->lease.router)
        route_add(d->netif, &any, 0, &router, 100, ROUTE_DHCP);
    arp_announce(d->netif, &a.addr);
    net_dns_changed();
    ip_format(text, sizeof(text), &a.addr);
    klog(LOG_INFO, "%s: %s/%d by DHCP, lease %u s", d->netif->name, text, a.prefix,
         d->lease.lease_s);
    if (!d->had_lease) {
        d->had_lease = true;
        waiting_for_lease--;
        wake_up(&first_leases);
    }
}

static void renew_timer(struct dhcp *d, uint8_t next_state, uint32_t end_s)
{
    nsec_t now = time_now(), end = lease_point(d, end_s);

    d->state = next_state;
    transmit(d, REQUEST);
    /* Half of what is left, at least a minute (RFC 2131 4.4.5). */
    nsec_t wait = MAX((end - now) / 2, 60 * NSEC_PER_SEC);
    timer_arm(&d->timer, MIN(now + wait, end));
}

static void tick(struct dhcp *d)
{
    nsec_t now = time_now();

    switch (d->state) {
    case SELECTING:
        transmit(d, DISCOVER);
        timer_arm(&d->timer, now + backoff(++d->tries));
        break;
    case REQUESTING:
        if (++d->tries > 4) {
            select_server(d);
            break;
        }
        transmit(d, REQUEST);
        timer_arm(&d->timer, now + backoff(d->tries));
        break;
    case BOUND:
    case RENEWING:
    case REBINDING:
        if (now >= lease_point(d, d->lease.lease_s)) {
            unconfigure(d);
            select_server(d);
        } else if (now >= lease_point(d, d->lease.t2_s)) {
            renew_timer(d, REBINDING, d->lease.lease_s);
        } else {
            if (d->state == BOUND)
                d->xid = rand_u32();
            renew_timer(d, RENEWING, d->lease.t2_s);
        }
        break;
    }
}

static void dhcp_timer(struct timer *t)
{
    struct dhcp *d = container_of(t, struct dhcp, timer);

    net_batch_begin();
    spin_lock(&d->lock);
    tick(d);
    spin_unlock(&d->lock);
    net_batch_end();
}

/* --- messages in ------------------------------------------------------------------------------ */

static uint32_t option_addr(const uint8_t *o)
{
    uint32_t a;
    memcpy(&a, o + 2, 4);
    return a;
}

static void parse_text(char *out, size_t size, const uint8_t *o)
{
    size_t n = MIN((size_t)o[1], size - 1);

    /* It goes to resolv.conf: nothing that could start a line of its own. */
    for (size_t i = 0; i < n; i++) {
        if (o[2 + i] <= ' ' || o[2 + i] >= 0x7f)
            n = i;
    }
    memcpy(out, o + 2, n);
    out[n] = 0;
}

static void parse_option(struct lease *l, uint8_t *type, const uint8_t *o)
{
    switch (o[0]) {
    case OPT_MESSAGE:
        if (o[1] == 1)
            *type = o[2];
        break;
    case OPT_MASK:
        if (o[1] == 4)
            l->mask = option_addr(o);
        break;
    case OPT_ROUTER:
        if (o[1] >= 4)
            l->router = option_addr(o);
        break;
    case OPT_SERVER:
        if (o[1] == 4)
            l->server = option_addr(o);
        break;
    case OPT_DNS:
        for (l->ndns = 0; l->ndns < DHCP_MAX_DNS && 4 * l->ndns + 4 <= o[1]; l->ndns++)
            memcpy(&l->dns[l->ndns], o + 2 + 4 * l->ndns, 4);
        break;
    case OPT_DOMAIN:
        parse_text(l->domain, sizeof(l->domain), o);
        break;
    case OPT_MTU:
        if (o[1] == 2 && get16(o + 2) >= IP4_MIN_MTU)
            l->mtu = get16(o + 2);
        break;
    case OPT_LEASE:
        if (o[1] == 4)
            l->lease_s = get32(o + 2);
        break;
    case OPT_T1:
        if (o[1] == 4)
            l->t1_s = get32(o + 2);
        break;
    case OPT_T2:
        if (o[1] == 4)
            l->t2_s = get32(o + 2);
        break;
    default:
        break;
    }
}

/* The message's type and lease, or 0 if it is not a well-formed answer to us. */
static uint8_t parse(const struct dhcp *d, const uint8_t *m, uint32_t len, struct lease *l)
{
    uint8_t type = 0;

    if (len < MESSAGE_MIN || m[0] != 2 || m[1] != 1 || m[2] != MAC_LEN || get32(m + 4) != d->xid ||
        !mac_equal(m + 28, d->netif->mac) || get32(m + BOOTP_LEN) != MAGIC)
        return 0;
    memset(l, 0, sizeof(*l));
    memcpy(&l->addr, m + 16, 4);
    for (uint32_t at = MESSAGE_MIN; at < len && m[at] != OPT_END;) {
        if (m[at] == OPT_PAD) {
            at++;
            continue;
        }
        if (at + 2 > len || at + 2u + m[at + 1] > len)
            return 0;
        parse_option(l, &type, m + at);
        at += 2u + m[at + 1];
    }
    return type;
}

/* An address a host can have, a mask of ones then zeros, and times in order. */
static bool usable(struct lease *l)
{
    uint32_t host = net32(l->addr), mask = net32(l->mask);
    struct ip_addr a = ip_from_v4(l->addr);

    if (!host || ip_is_loopback(&a) || (host >> 28) >= 14 || !l->server || l->lease_s < 60)
        return false;
    if (!mask) /* by class (RFC 2132 3.3 says MUST be there; be lenient) */
        mask = host >> 31 == 0 ? 0xff000000 : host >> 30 == 2 ? 0xffff0000 : 0xffffff00;
    if (~mask & (~mask + 1))
        return false;
    l->mask = net32(mask);
    if (l->t1_s == 0 || l->t1_s >= l->lease_s)
        l->t1_s = l->lease_s == UINT32_MAX ? UINT32_MAX : l->lease_s / 2;
    if (l->t2_s <= l->t1_s || l->t2_s >= l->lease_s)
        l->t2_s = l->lease_s == UINT32_MAX ? UINT32_MAX : l->lease_s - l->lease_s / 8;
    return true;
}

static void bound(struct dhcp *d, const struct lease *l)
{
    bool renewed = d->state != REQUESTING;

    if (renewed && l->addr != d->lease.addr)
        return; /* not what we asked for */
    d->lease = *l;
    d->state = BOUND;
    d->bound_at = time_now();
    timer_cancel(&d->timer);
    if (l->t1_s != UINT32_MAX)
        timer_arm(&d->timer, lease_point(d, l->t1_s));
    if (!renewed)
        configure(d);
}

static void process(struct dhcp *d, const uint8_t *m, uint32_t len)
{
    struct lease l;
    uint8_t type = parse(d, m, len, &l);

    if (type == OFFER && d->state == SELECTING && usable(&l)) {
        d->lease = l;
        d->state = REQUESTING;
        d->tries = 0;
        transmit(d, REQUEST);
        timer_arm(&d->timer, time_now() + backoff(0));
    } else if (type == ACK && d->state != SELECTING && d->state != BOUND && usable(&l) &&
               l.addr == d->lease.addr) {
        bound(d, &l);
    } else if (type == NAK && d->state != SELECTING && d->state != BOUND) {
        if (d->state != REQUESTING)
            unconfigure(d);
        select_server(d);
    } else {
        net_count(NET_Librettos_DhcpInvalid);
    }
}

void dhcp_input(struct netif *n, struct pkt *p)
{
    struct dhcp *d = n->dhcp;
    uint32_t len = MIN(p->len, MESSAGE_MAX);

    spin_lock(&d->lock);
    pkt_copy_out(p, 0, d->message, len);
    process(d, d->message, len);
    spin_unlock(&d->lock);
    pkt_free(p);
}

bool dhcp_wait(nsec_t deadline)
{
    return wait_event_timeout(&first_leases, !waiting_for_lease, deadline) == 0;
}

int dhcp_start(struct netif *n)
{
    struct dhcp *d = kzalloc(sizeof(*d));

    if (!d)
        return -ENOMEM;
    d->netif = n;
    spin_init(&d->lock);
    timer_init(&d->timer, dhcp_timer);
    n->dhcp = d;
    waiting_for_lease++;
    net_batch_begin();
    spin_lock(&d->lock);
    select_server(d);
    spin_unlock(&d->lock);
    net_batch_end();
    return 0;
}

int dhcp_dns_servers(const struct netif *n, struct ip_addr *out, int max, char *domain,
                     size_t domain_size)
{
    struct dhcp *d = n->dhcp;
    int count = 0;

    if (!d)
        return 0;
    spin_lock_bh(&d->lock);
    if (d->state >= BOUND) {
        for (; count < d->lease.ndns && count < max; count++)
            out[count] = ip_from_v4(d->lease.dns[count]);
        str_copy(domain, d->lease.domain, domain_size);
    }
    spin_unlock_bh(&d->lock);
    return count;
}
