/* What the network server's files share: slots, parsed frames, and who calls whom. */
#ifndef SERVERS_NET_INTERNAL_H
#define SERVERS_NET_INTERNAL_H

#include "abi/net_table.h"
#include "channel/ring.h"
#include "core/deferred.h"
#include "core/lock.h"
#include "core/timer.h"
#include "net/ether.h"
#include "net/ipimpl.h"
#include "servers/net_server.h"

/* A channel's place. All but `dev` and `number` under server.lock. */
struct server_slot {
    unsigned number;
    struct channel_device *dev; /* NULL: not plugged in yet; then constant */
    bool serving;
    uint32_t epoch; /* of the table that we have acted on */
    struct channel_grants grants;
    uint8_t eui64[8];    /* interface identifier of the granted MAC (RFC 4291, appendix A) */
    uint8_t free_ip4[4]; /* without a granted IPv4 address: one that was found to be nobody's */
    uint32_t nqueues;
    uint32_t first_queue; /* that the next turn begins with */
    struct channel_queue queues[CHANNEL_QUEUES_DEFAULT];
    struct pkt_lender lender;                       /* of the channel's memory */
    struct pkt_loan *loans[CHANNEL_QUEUES_DEFAULT]; /* by slot of the ring that we consume */
    uint32_t app_features;                          /* what it takes (enum channel_feature) */
    uint32_t dirty;               /* queues with frames that it was not rung for */
    int32_t deficit;              /* bytes it may still send in this round */
    bool active;                  /* on server.active: being polled */
    bool recent;                  /* had frames since the last second look */
    bool warned;                  /* its first broken rule is in the log */
    nsec_t mend_at;               /* when a broken queue gets its next generation; 0: none is */
    uint32_t needless;            /* doorbells without a frame since the last second look, about */
    bool muted;                   /* too many of them: not listened to until then */
    struct net_counters *counts;  /* in the table: written, never read for a decision */
    struct list link;             /* server.active */
    struct server_slot *next_mac; /* in a bucket of server.by_mac */
};

#define MAC_BUCKETS 256u
#define PENDING_WORDS (NET_SLOTS / 64)

struct net_server {
    bool enabled;
    struct netif *nic; /* NULL: not there yet */
    uint8_t *table;    /* NULL: no table yet */
    struct channel_device *table_dev;
    unsigned role;         /* which of the two instances this is; with the table */
    bool pinged;           /* the heartbeat is to be answered */
    bool paused;           /* nothing is taken out of the channels; under lock */
    spinlock_t lock;       /* bh */
    struct bottom_half bh; /* polls */
    struct work table_work;
    struct timer timer; /* second looks, mending */
    struct list active; /* slots with frames, in the order of their turns */
    struct pkt *local;  /* for the own stack, once the lock is released */
    struct pkt **local_tail;
    struct server_slot *by_mac[MAC_BUCKETS];
    uint64_t pending[PENDING_WORDS]; /* slots that were rung; atomic */
    struct server_slot *slots[NET_SLOTS];
    uint32_t attached;
    nsec_t serves_since; /* when this instance took over */
    bool blocked;        /* the NIC takes no more for now */
    nsec_t busy_until;   /* the channels are polled, whether there is something or not, */
    uint32_t polls_left; /* so many times yet */
};
extern struct net_server server;

/* What a frame of a domain costs it in its turn: bytes, and an overhead for each segment and copy,
 * so that many small ones are no cheaper than they are. */
#define FRAME_OVERHEAD 512u
static inline void server_charge(struct server_slot *s, uint32_t len, uint32_t gso_size)
{
    uint32_t frames = gso_size ? DIV_ROUND_UP(len, gso_size) : 1;

    s->deficit -= (int32_t)(len + frames * FRAME_OVERHEAD);
}

static inline struct net_server_page *server_page(void)
{
    return (struct net_server_page *)(server.table + NET_TABLE_SERVER(server.role));
}
static inline uint32_t server_bit(unsigned queue)
{
    return 1u << queue;
}

/* --- net_parse.c: frames -------------------------------------------------------------------- */

#define PARSE_MAX 160u

struct frame_info {
    uint8_t copy[PARSE_MAX];
    const uint8_t *h; /* the frame's first n bytes, private */
    uint32_t n;       /* ends where the IP packet does, at the latest */
    uint32_t end;     /* of the IP packet, from the frame's start; may lie behind n */
    uint16_t type;    /* Ethernet */
    bool v6, fragment, first;
    uint8_t proto;     /* transport, extension headers passed over */
    uint32_t l4;       /* where it begins */
    uint32_t frag_id;  /* of a fragment */
    bool has_ports;    /* TCP or UDP, and not a later fragment */
    uint16_t src_port; /* host order */
    uint16_t dst_port;
};

/* False: not a frame that makes sense. Lengths of the headers are checked against the frame. */
bool frame_parse(const struct pkt *p, struct frame_info *f);
/* The IP addresses of a parsed IP frame. */
static inline struct ip_addr frame_addr(const struct frame_info *f, bool src)
{
    struct ip_addr a;

    if (!f->v6)
        return ip_from_v4(*(const wire32 *)(f->h + ETH_HEADER + (src ? 12 : 16)));
    memcpy(&a, f->h + ETH_HEADER + (src ? 8 : 24), sizeof(a));
    return a;
}
static inline bool frame_is_icmp(const struct frame_info *f)
{
    return f->proto == (f->v6 ? IPPROTO_ICMPV6_N : IPPROTO_ICMP_N);
}
/* The TCP or UDP packet that an ICMP error is about. */
struct frame_quote {
    uint8_t proto;
    uint16_t src_port, dst_port;
};
/* False: the frame is no ICMP error, or quotes no such packet. */
bool frame_quoted(const struct frame_info *f, struct frame_quote *q);

/* --- net_check.c: what a domain may send ------------------------------------------------------ */

/* Counts why not. */
bool server_may_send(struct server_slot *s, const struct pkt *p, const struct frame_info *f);

/* --- net_owner.c: who owns a port, an echo, a fragmented datagram of the shared address ------- */

/* The slot that owns a port of the shared address and is served, or NULL. */
struct server_slot *server_port_owner(uint8_t proto, uint16_t port);
/* Whether a domain owns it, served or not yet. */
bool server_port_is_owned(uint8_t proto, uint16_t port);
/* A fragmented datagram that a domain sends: remembered by its first fragment (false: another
 * domain has one under way that could not be told from it), and whose the others are. */
bool server_sends_fragments(const struct frame_info *f, struct server_slot *s);
struct server_slot *server_fragments_of(const struct frame_info *f);
/* The same for one to the domain `to`; it came from `from`, NULL: the NIC. */
bool server_gets_fragments(const struct frame_info *f, struct server_slot *to,
                           const struct server_slot *from);
struct server_slot *server_fragments_for(const struct frame_info *f);
/* The same for echo requests and their replies. */
bool server_sends_echo(const struct frame_info *f, struct server_slot *s);
struct server_slot *server_echo_owner(const struct frame_info *f);
/* The slot is another domain's from now on. */
void server_forget(const struct server_slot *s);

/* --- net_forward.c: where frames go. server.lock held; take ownership ------------------------- */

/* From a domain: checked, then to another domain, the NIC or the own stack (server.local). */
void server_from_slot(struct server_slot *s, struct pkt *p);
/* From the NIC, and from the own stack. Frames for the own stack, or that are to leave by the NIC,
 * are given back; NULL: taken. */
struct pkt *server_from_nic(struct pkt *p);
struct pkt *server_from_stack(struct pkt *p);
/* A frame of the server's own for a domain, whatever its destination says. */
void server_deliver(struct server_slot *s, struct pkt *p);
/* Rings whoever has got frames. */
void server_flush(void);

/* --- net_poll.c ------------------------------------------------------------------------------- */

void server_poll_init(void);
/* The slot is to be looked at soon. Any context. */
void server_wake(struct server_slot *s);
/* The slot is polled from now on. server.lock held. */
static inline void server_activate(struct server_slot *s)
{
    if (s->active)
        return;
    s->active = true;
    list_push_back(&server.active, &s->link);
}
/* A loan of a slot's memory is over. */
void server_loan_returned(struct pkt_lender *l);
/* Starts generations on all queues of a slot. server.lock held. */
void server_start_queues(struct server_slot *s);
/* Whether queue i of a slot is to be used: both sides agree on its generation. server.lock held. */
bool server_check_queue(struct server_slot *s, uint32_t i);

/* Takes nothing out of the channels from now on, or again. Thread context. */
void server_pause(bool on);

/* --- net_instance.c: which of the two instances serves -----------------------------------------
 */

/* Takes over, or hands over, as the table says. Whether this one serves now. The work's thread. */
bool server_follow_active(void);
/* Starts the NIC, and takes frames out of the channels. Thread context. */
void server_begin(void);
/* Makes the interface of a NIC that is plugged in later. At boot. */
void server_make_interface(void);
/* Tells the supervisor what this build can do, and that it does not know a table's version. */
void server_say_what_it_is(void);
void server_refuse(struct channel_device *dev);
void server_ring_supervisor(void);

/* --- net_slots.c ------------------------------------------------------------------------------ */

/* Whether the NIC has data that lies in a channel; it is told to give it back. Thread context. */
bool server_has_lent(void);
/* Lets go of all slots, for the other instance: their pages stay as they are. The work's thread. */
void server_leave_slots(void);
/* The dedicated domain that has this MAC address, or NULL. server.lock held. */
struct server_slot *server_by_mac(const uint8_t *mac);
/* Whether a domain without a granted IPv4 address may use this one: it is neither ours nor granted
 * to another. server.lock held, inside a batch. */
bool server_ip4_is_free(struct server_slot *s, const uint8_t *ip);

#endif
