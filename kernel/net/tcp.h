/*
 * TCP's own data structures and the functions its files share. RFC 9293 unless another number is
 * named.
 *
 *   tcp_socket.c    system calls: bind, listen, accept, connect, shutdown, poll, close
 *   tcp_conn.c      the connection object and its states
 *   tcp_send.c      system calls: send, sendpage
 *   tcp_recv.c      receive queues; system call: recv
 *   tcp_input.c     received segments of a connection
 *   tcp_listen.c    received segments of a listener, children, segments for nobody
 *   tcp_ack.c       acknowledgements: RTT, recovery, congestion control
 *   tcp_sack.c      SACK scoreboard            tcp_rack.c  RACK-TLP loss detection
 *   tcp_output.c    segments to send           tcp_timer.c deadlines
 *   tcp_table.c     who owns which 4-tuple     tcp_bind.c  who owns which port
 *   tcp_timewait.c, tcp_memory.c, tcp_syncookie.c, tcp_sockopt.c, tcp_proc.c, cc_cubic.c, cc_reno.c
 *
 * Units: sequence numbers and windows in bytes (congestion windows too), times in ns.
 *
 * Locks, outermost first: a listener's socket lock, a connection's socket lock, then a lock of the
 * connection table or of the port table, then the list of TIME-WAIT entries. All are bh locks.
 *
 * References to a struct tcp: one of the file (or of the listener's queues until accept), one of
 * the connection table, one of the armed timer, and those that look-ups hand out.
 */
#ifndef NET_TCP_H
#define NET_TCP_H

#include "core/rbtree.h"
#include "core/timer.h"
#include "fs/file.h"
#include "net/socket.h"
#include "net/stats.h"

/* The numbers are Linux's: TCP_INFO and /proc/net/tcp show them. */
enum tcp_state {
    TCP_ESTABLISHED = 1,
    TCP_SYN_SENT,
    TCP_SYN_RECV,
    TCP_FIN_WAIT1,
    TCP_FIN_WAIT2,
    TCP_TIME_WAIT,
    TCP_CLOSE,
    TCP_CLOSE_WAIT,
    TCP_LAST_ACK,
    TCP_LISTEN,
    TCP_CLOSING,
};
#define TCPF(state) (1u << (state))
/* States in which we may still send data / the peer may still send data. */
#define TCPF_CAN_SEND (TCPF(TCP_ESTABLISHED) | TCPF(TCP_CLOSE_WAIT))
#define TCPF_CAN_RECV (TCPF(TCP_ESTABLISHED) | TCPF(TCP_FIN_WAIT1) | TCPF(TCP_FIN_WAIT2))

enum tcp_flag {
    TH_FIN = 0x01,
    TH_SYN = 0x02,
    TH_RST = 0x04,
    TH_PSH = 0x08,
    TH_ACK = 0x10,
    TH_URG = 0x20,
    TH_ECE = 0x40,
    TH_CWR = 0x80,
};

/* The header on the wire, big-endian. */
struct tcp_header {
    uint16_t sport, dport;
    uint32_t seq, ack;
    uint8_t doff; /* header length in words, upper 4 bits */
    uint8_t flags;
    uint16_t window, csum, urgent;
} __attribute__((packed, aligned(2), may_alias));

#define TCP_HEADER 20u
#define TCP_MAX_HEADER 60u
#define TCP_MAX_SACKS 4
#define TCP_MIN_MSS 88u /* smallest MSS we believe a peer (Linux: 48; 88 keeps options sane) */
#define TCP_DEFAULT_MSS4 536u /* 3.7.1 */
#define TCP_DEFAULT_MSS6 1220u
#define TCP_MAX_WSCALE 14u
#define TCP_TS_SHIFT 20  /* the timestamp clock ticks every 2^20 ns, 1.05 ms (RFC 7323 5.4) */
#define TCP_TS_BYTES 12u /* of the option with its padding */

/* Largest payload of one packet handed to the IP layer: leaves room for 60 + 40 bytes of headers.
 */
#define TCP_MAX_PAYLOAD (65535u - 100u)
#define TCP_SEG_FRAGS (PKT_MAX_FRAGS - 1)

/* When memory is short: what a connection may have unsent or offers as a window, */
#define TCP_SCARCE_BUFFER 16384u
/* and always: how many segments its queue may be cut into before small ones wait. */
#define TCP_MANY_SEGS 4096u

#define TCP_RTO_INITIAL NSEC_PER_SEC
#define TCP_RTO_SYN_LOST (3 * NSEC_PER_SEC) /* without a better idea: RFC 6298 5.7 */
#define TCP_RTO_MIN (200 * NSEC_PER_MSEC)
#define TCP_RTO_MAX (120 * NSEC_PER_SEC)
#define TCP_DELACK (40 * NSEC_PER_MSEC)
#define TCP_TIMEWAIT_LEN (60 * NSEC_PER_SEC)

static inline bool seq_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}
static inline bool seq_after(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) > 0;
}
static inline bool seq_between(uint32_t x, uint32_t low, uint32_t high)
{
    return high - low >= x - low;
}

/* --- tables ----------------------------------------------------------------------------------- */

struct tcp;
struct tcp_tw;

/* Membership in the connection table; the first member of struct tcp and struct tcp_tw's key. */
struct tcp_entry {
    struct tcp_entry *next, **prev; /* prev NULL: not in the table */
    struct ip_addr local, remote;
    uint16_t lport, rport; /* host byte order */
    uint32_t hash;
    bool time_wait;
};

struct tcp_port;
/* Membership in the port table, with all that decides about conflicts. */
struct tcp_bind {
    struct list link;
    struct tcp_port *port; /* NULL: not bound */
    struct ip_addr addr;
    int ifindex;
    uint32_t uid;
    bool reuse_addr, reuse_port, v6only, listening, time_wait;
};

/* --- segments --------------------------------------------------------------------------------- */

enum seg_state {
    SEG_SACKED = 1,  /* the peer has it */
    SEG_LOST = 2,    /* to be sent again */
    SEG_RETRANS = 4, /* sent again and, as far as we know, in flight */
    SEG_EVER = 8,    /* was retransmitted once: no RTT sample (Karn) */
};

/* A run of payload in the send queue; sent as one packet, of several MSS where the path segments.
 * The data stay referenced until acknowledged, so that sending again copies nothing. */
struct tcp_seg {
    struct list link;      /* the connection's queue, by sequence number */
    struct list sent_link; /* in flight, by time of the last transmission */
    nsec_t sent_at;
    uint32_t seq, len; /* payload */
    uint8_t flags;     /* TH_FIN, TH_PSH, TH_URG */
    uint8_t state;     /* enum seg_state */
    uint8_t nfrags;
    struct pkt_frag frags[TCP_SEG_FRAGS];
};
/* Sequence space it takes. */
static inline uint32_t seg_space(const struct tcp_seg *g)
{
    return g->len + (g->flags & TH_FIN);
}
static inline uint32_t seg_end(const struct tcp_seg *g)
{
    return g->seq + seg_space(g);
}

/* A packet in the receive queues: what its cb[] holds. */
struct tcp_rcb {
    struct rb_node node; /* out-of-order tree */
    uint32_t seq, end;   /* of the payload that is left */
    uint32_t cost;       /* memory it was counted with */
    bool fin;
};
static inline struct tcp_rcb *tcp_rcb(struct pkt *p)
{
    return (struct tcp_rcb *)(void *)p->cb;
}
_Static_assert(sizeof(struct tcp_rcb) <= sizeof(((struct pkt *)0)->cb), "cb too small");

/* What a received header says, in host byte order. */
struct tcp_rx {
    struct pkt *p;
    nsec_t now;
    uint32_t seq, end, ack; /* end: sequence number after the segment, SYN and FIN counted */
    uint32_t window;        /* as sent, not scaled */
    uint16_t sport, dport, urgent;
    uint8_t flags, hlen, nsacks;
    bool has_ts, ce;
    uint32_t tsval, tsecr;
    uint32_t
        isn_floor; /* a SYN that reuses a TIME-WAIT 4-tuple: our ISN must be after this; 0: none */
    struct tcp_sack_block {
        uint32_t start, end;
    } sacks[TCP_MAX_SACKS];
};

/* Options of a SYN. */
struct tcp_syn_opts {
    uint16_t mss;  /* 0: none */
    int8_t wscale; /* -1: none */
    bool sack, ts;
    uint32_t tsval, tsecr;
};

/* --- congestion control ----------------------------------------------------------------------- */

struct tcp_cc {
    const char *name;
    void (*init)(struct tcp *t);
    /* cwnd bytes were acknowledged while the window was in use and no recovery is going on. */
    void (*acked)(struct tcp *t, uint32_t bytes, nsec_t now);
    /* A loss or an ECN mark: the new slow-start threshold. */
    uint32_t (*ssthresh)(struct tcp *t);
    /* RTO: the history counts no more. May be NULL. */
    void (*restart)(struct tcp *t);
};
extern const struct tcp_cc tcp_cubic, tcp_reno;
extern const struct tcp_cc *tcp_cc_default; /* of new connections */
const struct tcp_cc *tcp_cc_find(const char *name, size_t len);
/* The names of all, in the order of their ids. NULL ends them. */
const char *tcp_cc_name(unsigned id);
/* The slow-start part of a window's growth (RFC 5681 with byte counting, L = 2 MSS at most per ACK
 * but for stretched ACKs); returns the bytes not used up by it. */
uint32_t tcp_slow_start(struct tcp *t, uint32_t bytes);

/* --- the connection --------------------------------------------------------------------------- */

enum tcp_timer_kind {
    TIMER_SEND, /* retransmission, loss probe, reordering or persist: see send_mode */
    TIMER_DELACK,
    TIMER_KEEP,   /* keepalive, SYN-ACK for deferred accept */
    TIMER_LINGER, /* FIN-WAIT-2 of an orphan, user timeout, cork */
    TIMER_BURST,  /* what was held back so as not to make a burst */
    TIMER_KINDS,
};
enum tcp_send_mode { SEND_RTO, SEND_PROBE, SEND_REORDER, SEND_PERSIST };

enum tcp_ca_state { CA_OPEN, CA_DISORDER, CA_CWR, CA_RECOVERY, CA_LOSS };

struct tcp {
    struct tcp_entry e; /* first: the table hands out entries */
    struct socket s;
    struct tcp_bind bind;

    uint8_t state; /* enum tcp_state */
    uint8_t ca_state;
    uint8_t send_mode;
    uint8_t snd_wscale, rcv_wscale;
    bool ts_on, sack_on, ecn_on, wscale_on;
    bool orphan;              /* no file refers to it any more */
    bool fin_queued;          /* our FIN is in the queue or was sent */
    bool nodelay, cork, more; /* TCP_NODELAY, TCP_CORK, MSG_MORE on the last send */
    bool woken_in;            /* told the readers, none has come yet */
    bool want_space;          /* a writer waits for room in the send buffer */
    bool cwnd_limited;
    bool fin_received;
    bool user_bound; /* bind() was called: the port stays ours until close */
    bool connecting; /* connect() has not reported the result yet */

    /* Receive side */
    uint32_t rcv_nxt;
    uint32_t copied;    /* next byte the program reads */
    uint32_t rcv_wup;   /* rcv_nxt when the window was last told */
    uint32_t rcv_wnd;   /* the window told then */
    uint32_t ts_recent; /* RFC 7323 */
    nsec_t ts_recent_at;
    nsec_t last_rcv;
    uint32_t ts_offset;
    uint32_t rcv_mss;   /* estimate of the peer's segment size, for ACK decisions */
    uint8_t quick_acks; /* so many full segments are acknowledged at once */
    bool ack_now;
    bool dsack_due;
    uint32_t dsack_start, dsack_end;
    struct tcp_sack_block sack_order[TCP_MAX_SACKS]; /* to report, the latest first */
    uint8_t sack_count;
    uint32_t urg_seq;
    bool urg_valid;
    struct pkt_queue rcv_queue;
    struct rb_tree ooo;
    uint32_t ooo_count, ooo_bytes;
    uint32_t rcv_space_seq; /* receive buffer autotuning: `copied` at the last measurement */
    nsec_t rcv_space_at;
    nsec_t rcv_rtt;     /* round trips seen by the receiver, smoothed; 0: none */
    uint32_t rcv_tsecr; /* the echo that the last one was of */
    uint32_t advmss;

    /* Send side */
    uint32_t snd_una, snd_nxt, snd_wnd, snd_wl1, snd_wl2, snd_max_wnd;
    uint32_t write_seq; /* after the last byte in the queue, FIN not counted */
    uint32_t snd_sml;   /* end of the last small segment sent (Minshall's Nagle) */
    uint32_t snd_up;
    uint32_t mss;           /* payload per segment now, options deducted */
    uint32_t mss_peer;      /* the peer's MSS option */
    uint32_t mss_user;      /* TCP_MAXSEG */
    uint32_t max_payload;   /* per packet: several MSS where the path segments */
    struct list queue;      /* struct tcp_seg: all that is not acknowledged */
    struct tcp_seg *unsent; /* first that was never sent, or NULL */
    uint32_t segs;          /* in the queue */
    struct list sent;       /* in flight, by time of transmission */
    nsec_t burst_at;        /* limits bursts: what was sent for the first time since then */
    uint32_t burst_sent;
    struct ip_flow flow;

    /* Congestion control and recovery */
    uint32_t cwnd, ssthresh;
    uint32_t sacked_out, lost_out, retrans_out; /* bytes of the flight that are in these states */
    uint32_t reno_dups;                         /* duplicate ACKs without SACK */
    struct tcp_sack_block last_sacks[TCP_MAX_SACKS]; /* of the last ACK: known already */
    uint32_t recover;                                /* end of recovery: snd_nxt when it began */
    uint32_t prior_cwnd, prior_ssthresh;
    uint32_t retrans_low, retrans_high; /* what was sent again in the last recovery is in between */
    uint32_t undo_retrans; /* bytes retransmitted in this recovery and not yet reported duplicate */
    bool undo_valid;
    uint32_t retrans_tsval; /* timestamp of the first retransmission (Eifel); 0: none */
    uint32_t prr_delivered, prr_out, prr_flight; /* RFC 6937 */
    uint32_t delivered;                          /* bytes delivered, wraps */
    uint32_t flight_max, flight_end; /* largest flight in the round that ends when this is acked */
    bool ece_pending;                /* echo congestion to the peer until CWR */
    bool cwr_due;
    const struct tcp_cc *cc;
    uint64_t cc_state[9];

    /* RTT */
    nsec_t srtt, rttvar, rto, min_rtt, min_rtt_at, last_rtt;
    uint8_t backoff, keep_probes;
    uint8_t probes, unanswered; /* of a closed window: all, and those in a row without an answer */
    nsec_t probe_at;            /* last keepalive or window probe */
    nsec_t last_sent;
    nsec_t first_unacked_at; /* when what is sent again now was sent first; 0: nothing is */

    /* RACK (RFC 8985) */
    nsec_t rack_sent_at, rack_rtt, rack_reo_wnd;
    uint32_t rack_end, rack_fack;
    uint8_t rack_reo_mult, rack_reo_persist;
    uint32_t rack_reo_round; /* rack_reo_widened: the round trip in which it was ends here */
    bool rack_reo_widened, rack_seen_reordering;
    uint32_t tlp_end;
    bool tlp_active, tlp_retrans;

    /* Path MTU */
    uint8_t blackhole_probes; /* timeouts in a row of full segments; from 2 on segments are small */
    uint8_t blackhole_found;
    int soft_error;

    /* Rate limits of answers to suspicious segments */
    nsec_t challenge_at, oow_at;
    uint32_t oow_count;

    /* Timers */
    nsec_t deadline[TIMER_KINDS];
    nsec_t timer_at; /* when `timer` fires; NSEC_NEVER: not armed */
    struct timer timer;

    /* Connection set-up */
    uint32_t iss, irs;
    nsec_t syn_at, created_at;
    struct tcp *listener;    /* referenced, while in SYN-RECEIVED of a passive open */
    struct list accept_link; /* in one of the listener's queues */
    bool syn_acked;          /* SYN-RECEIVED, but TCP_DEFER_ACCEPT waits for data */
    bool syn_repeated;       /* it was sent more than once: no RTT sample (Karn) */
    /* Listener */
    struct list syn_queue, accept_queue;
    uint32_t syn_count, accept_count, backlog;
    nsec_t cookies_sent_at;

    /* Options */
    int keep_idle_s, keep_intvl_s, keep_cnt, linger2_s, syncnt, defer_accept_s;
    uint32_t user_timeout_ms, notsent_lowat, window_clamp;

    /* TCP_INFO */
    uint32_t total_retrans, dsacks; /* segments sent again; duplicates that the peer reported */
    uint64_t bytes_acked, bytes_received;
    uint32_t segs_in, segs_out;
};

static inline struct tcp *tcp_of(struct socket *s)
{
    return container_of(s, struct tcp, s);
}
static inline struct tcp *tcp_of_entry(struct tcp_entry *e)
{
    return container_of(e, struct tcp, e);
}
/* Above this many bytes that were not sent yet a socket is not writable. */
static inline uint32_t tcp_notsent_lowat(const struct tcp *t)
{
    return t->notsent_lowat ? t->notsent_lowat : net_tunables.notsent_lowat;
}
static inline bool tcp_in(const struct tcp *t, uint32_t states)
{
    return (TCPF(READ_ONCE(t->state)) & states) != 0;
}
static inline uint32_t tcp_flight(const struct tcp *t)
{
    return t->snd_nxt - t->snd_una;
}
/* How many segments on the wire a packet with n bytes of payload stands for. */
static inline uint32_t tcp_segments(const struct pkt *p, uint32_t n)
{
    return p->gso && p->gso_size ? DIV_ROUND_UP(n, (uint32_t)p->gso_size) : 1;
}
/* RFC 6675's pipe: bytes that we believe to be in the network. */
static inline uint32_t tcp_pipe(const struct tcp *t)
{
    return t->snd_nxt - t->snd_una - t->sacked_out - t->lost_out + t->retrans_out;
}
/* Payload that is queued and not acknowledged. */
static inline uint32_t tcp_queued(const struct tcp *t)
{
    int32_t n = (int32_t)(READ_ONCE(t->write_seq) - READ_ONCE(t->snd_una));

    return n > 0 ? (uint32_t)n : 0; /* our FIN may be acknowledged too */
}
/* Payload that the program can read. */
static inline uint32_t tcp_readable(const struct tcp *t)
{
    return READ_ONCE(t->rcv_nxt) - READ_ONCE(t->copied) - READ_ONCE(t->fin_received);
}
/* The largest window we can offer: half of the buffer size, as SO_RCVBUF counts overhead too. */
static inline uint32_t tcp_full_window(const struct tcp *t)
{
    return t->s.rcvbuf / 2;
}
static inline uint32_t tcp_ts_now(const struct tcp *t, nsec_t now)
{
    return (uint32_t)((uint64_t)now >> TCP_TS_SHIFT) + t->ts_offset;
}
/* The RTO after n doublings: RFC 6298 5.5. */
static inline nsec_t tcp_backoff(const struct tcp *t, unsigned n)
{
    return MIN(t->rto << MIN(n, 12u), TCP_RTO_MAX); /* 12 of the least RTO are beyond the maximum */
}
static inline struct tcp_seg *tcp_head(struct tcp *t)
{
    return list_empty(&t->queue) ? NULL : list_first(&t->queue, struct tcp_seg, link);
}

/* TIME-WAIT: what is left of a connection that was closed (tcp_timewait.c). */
struct tcp_tw {
    struct tcp_entry e;
    struct tcp_bind bind;
    refcount_t refs;
    struct list link; /* by expiry */
    nsec_t expires;
    uint32_t rcv_nxt, snd_nxt, rcv_wnd;
    uint32_t received; /* bytes before rcv_nxt, 2^31 at most */
    uint32_t ts_recent, ts_offset;
    nsec_t ts_recent_at, last_ack;
    uint32_t scope;
    bool ts_on;
    uint8_t wscale, tos;
};

/* --- tcp_memory.c ----------------------------------------------------------------------------- */

enum tcp_memory { TCP_MEMORY_OK, TCP_MEMORY_LOW, TCP_MEMORY_FULL };
#define TCP_MEMORY_STEP 18 /* the sum is looked at when a CPU's count passes a multiple of 2^18 */

extern PERCPU int64_t tcp_memory_here;
extern uint64_t tcp_memory_limit; /* bytes */

void tcp_memory_init(void);
uint64_t tcp_memory_held(void);
enum tcp_memory tcp_memory_update(void);
/* How short memory is. Any context. */
enum tcp_memory tcp_memory(void);

/* Counts n bytes (negative: freed) that a queue holds. bh disabled. */
static inline void tcp_memory_add(int64_t n)
{
    int64_t *here = cpu_local(tcp_memory_here), old = *here;

    *here = old + n;
    if (unlikely((old ^ *here) >> TCP_MEMORY_STEP))
        tcp_memory_update();
}

/* --- tcp_table.c: bh disabled ----------------------------------------------------------------- */

int tcp_table_init(void);
/* The entry with this 4-tuple with a reference on it (socket_get / tcp_tw_put), or NULL. */
struct tcp_entry *tcp_table_lookup(const struct ip_addr *local, uint16_t lport,
                                   const struct ip_addr *remote, uint16_t rport);
/* Puts a connection whose e.local ... are filled in into the table, which takes a reference.
 * -EADDRNOTAVAIL if the 4-tuple is there; a TIME-WAIT entry that tcp_tw_reusable() tells to be
 * is replaced and handed over in *reuse, for tcp_tw_replaced(), if `reuse` is not NULL. */
int tcp_table_insert(struct tcp *t, struct tcp_tw **reuse);
/* Takes the entry out; true if it was in the table: the caller then owns the table's reference. */
bool tcp_table_remove(struct tcp_entry *e);
/* Puts a TIME-WAIT entry in the place of its connection; the caller then owns the connection's
 * table reference. */
void tcp_table_replace(struct tcp_entry *old, struct tcp_entry *with);
/* Every entry with a reference taken; fn runs with bh disabled and without locks and drops it.
 * Entries that come and go meanwhile may be missed. Thread or bh context. */
void tcp_table_for_each(void (*fn)(struct tcp_entry *e, void *arg), void *arg);
uint32_t tcp_table_count(void);
void tcp_entry_put(struct tcp_entry *e);

/* --- tcp_bind.c: bh disabled, under the socket's lock ----------------------------------------- */

int tcp_bind_init(void);
/* Binds to s.local.ip and `port`, 0: any free one. -EADDRINUSE. */
int tcp_bind_port(struct tcp *t, uint16_t port);
/* For an active open: a port with which (local, remote) is not in use; fills in e and enters the
 * connection table. -EADDRNOTAVAIL. reuse: as for tcp_table_insert(). */
int tcp_bind_connect(struct tcp *t, struct tcp_tw **reuse);
/* Makes `to` (unbound) a further owner of from's port, with from's rights. */
void tcp_bind_inherit(struct tcp_bind *to, const struct tcp_bind *from, const struct ip_addr *addr);
void tcp_bind_release(struct tcp_bind *b);
/* A bound socket begins to listen. -EADDRINUSE if another one does on the same address. */
int tcp_bind_listen(struct tcp *t);
/* The listener for this local address, or NULL; with a reference. */
struct tcp *tcp_bind_lookup_listener(const struct ip_addr *local, uint16_t port,
                                     const struct ip_addr *remote, uint16_t rport, int ifindex);
/* Every bound socket that is not in the connection table (listeners) with a reference. */
void tcp_bind_for_each_listener(void (*fn)(struct tcp *t, void *arg), void *arg);

/* --- tcp_socket.c ----------------------------------------------------------------------------- */

extern const struct socket_ops tcp_ops;
/* A connection object in state CLOSE with one reference. NULL: out of memory. */
struct tcp *tcp_alloc(int family);
static inline void tcp_get(struct tcp *t)
{
    ref_get(&t->s.refs);
}
static inline void tcp_put(struct tcp *t)
{
    socket_put(&t->s);
}
/* Locks for a system call: what it sends goes out, in one batch, after the lock was given back. */
static inline void tcp_lock(struct tcp *t)
{
    net_batch_begin();
    spin_lock(&t->s.lock);
}
static inline void tcp_unlock(struct tcp *t)
{
    spin_unlock(&t->s.lock);
    net_batch_end();
}
/* Ends the connection at once: out of the tables, state CLOSE, wakes everybody. s.error as given
 * (positive errno, 0: none). Locked; the caller holds a reference of its own. */
void tcp_done(struct tcp *t, int error);
/* Sends a RST if the peer has heard of us, then tcp_done. */
void tcp_abort(struct tcp *t, int error);
/* Wakes waiters with these POLL_* bits, if there are any. Locked or not. */
void tcp_wake(struct tcp *t, unsigned key);
/* Room in the send buffer may have become free. Locked. */
void tcp_wake_writers(struct tcp *t);
/* How much may be queued now: SO_SNDBUF, or less when memory is short. */
uint32_t tcp_send_limit(const struct tcp *t);
/* Whether poll says that it takes data. */
bool tcp_writable(const struct tcp *t);
/* The window scale to offer, for the largest buffer that it may get. */
uint8_t tcp_choose_wscale(const struct socket *s);
void tcp_enter_state(struct tcp *t, enum tcp_state state);
/* Initialises what depends on the peer's SYN options and the route: MSS, windows, SACK, ... */
void tcp_setup_options(struct tcp *t, const struct tcp_syn_opts *o);
/* The connection is established: windows, timers, congestion control. */
void tcp_established(struct tcp *t, nsec_t now);
void tcp_free_seg(struct tcp *t, struct tcp_seg *g);
struct tcp_seg *tcp_alloc_seg(struct tcp *t);
/* Frees the send queue / the receive queues. Locked. */
void tcp_purge_send(struct tcp *t);
void tcp_purge_receive(struct tcp *t);
/* Forgets what is out of order. */
void tcp_reset_ooo(struct tcp *t);
/* Initial sequence number (RFC 6528) and timestamp offset (RFC 7323 7.1) for e's 4-tuple. */
uint32_t tcp_make_isn(const struct tcp_entry *e, nsec_t now);
uint32_t tcp_make_ts_offset(const struct ip_addr *local, const struct ip_addr *remote);

/* --- tcp_send.c ------------------------------------------------------------------------------- */

ssize_t tcp_send(struct socket *s, struct uio *u, const struct sock_addr *to, unsigned flags);
ssize_t tcp_sendpages(struct socket *s, const struct page_part *parts, unsigned n, unsigned flags);
/* Queues our FIN behind the data. Locked. */
void tcp_queue_fin(struct tcp *t);

/* --- tcp_recv.c ------------------------------------------------------------------------------- */

ssize_t tcp_recv(struct socket *s, struct uio *u, struct sock_recv_info *info, unsigned flags);
unsigned tcp_poll(struct socket *s);
/* Payload in order or not, FIN included; takes ownership of the packet. Locked; input only. */
void tcp_receive_data(struct tcp *t, struct tcp_rx *r);

/* --- tcp_input.c ------------------------------------------------------------------------------ */

/* A segment for a connection; takes ownership of the packet. bh. */
void tcp_connection_input(struct tcp *t, struct tcp_rx *r);
void tcp_parse_syn_options(const struct tcp_rx *r, struct tcp_syn_opts *o);
/* The part of input that follows the acceptability test: ACK, data, FIN. Takes ownership. Locked.
 */
void tcp_process_segment(struct tcp *t, struct tcp_rx *r);
/* Sends the ACK that is due or schedules it. Locked. */
void tcp_ack_check(struct tcp *t, nsec_t now);
/* RFC 5961: an ACK to a suspicious segment, rate limited. */
void tcp_challenge_ack(struct tcp *t, nsec_t now);
bool tcp_challenge_allowed(nsec_t now);

/* --- tcp_listen.c ----------------------------------------------------------------------------- */

/* Takes ownership of r->p. */
void tcp_listener_input(struct tcp *l, struct tcp_rx *r);
/* A child in SYN-RECEIVED got its ACK: moves it to the accept queue. Both locked. */
void tcp_child_established(struct tcp *l, struct tcp *child);
/* Takes a child that dies in SYN-RECEIVED off its listener's queue. Both locked. */
void tcp_child_unlink(struct tcp *l, struct tcp *child);
/* Locks the connection, and its listener first if it is a child in SYN-RECEIVED. The listener
 * (referenced, to be given to tcp_unlock_both) or NULL. */
struct tcp *tcp_lock_both(struct tcp *t);
void tcp_unlock_both(struct tcp *t, struct tcp *listener);
/* A RST in answer to a segment that belongs to nobody (3.5.2). */
void tcp_reset_reply(const struct tcp_rx *r);

/* --- tcp_ack.c -------------------------------------------------------------------------------- */

/* Processes the acknowledgement; false if the segment is to be dropped. Locked. */
bool tcp_ack(struct tcp *t, const struct tcp_rx *r);
void tcp_rtt_sample(struct tcp *t, nsec_t rtt, nsec_t now);
void tcp_set_rto(struct tcp *t);
/* Counts a segment as lost. */
void tcp_mark_lost(struct tcp *t, struct tcp_seg *g);
void tcp_enter_loss(struct tcp *t, nsec_t now);
/* One reduction per window: ECN, loss repaired by a probe. */
void tcp_enter_cwr(struct tcp *t);
/* Segments were marked lost: fast recovery begins unless it is on. */
void tcp_start_recovery(struct tcp *t, nsec_t now);
uint32_t tcp_initial_cwnd(uint32_t mss);

/* --- tcp_sack.c ------------------------------------------------------------------------------- */

struct tcp_sack_result {
    uint32_t sacked; /* bytes newly SACKed */
    nsec_t rtt_sent; /* newest among those sent once; 0: none */
    bool dsack;
    uint32_t dsack_end;
    uint32_t dsack_retrans; /* bytes of it that we sent twice, not the network; 0: none */
    bool reordered;         /* a segment below the highest SACKed one arrived that was sent once */
};
void tcp_sack_receive(struct tcp *t, const struct tcp_rx *r, struct tcp_sack_result *res);
/* Writes the SACK option for what is out of order (RFC 2018, RFC 2883); bytes written, padding
 * included, at most `room`. */
uint32_t tcp_sack_option(struct tcp *t, uint8_t *opt, uint32_t room);
/* An out-of-order packet is in the tree: it is to be reported first. */
void tcp_sack_note(struct tcp *t, struct pkt *p);
/* rcv_nxt advanced: forgets what it passed. */
void tcp_sack_advance(struct tcp *t);
/* The state of the segment changed to SACKed or acknowledged. */
void tcp_seg_unaccount(struct tcp *t, struct tcp_seg *g);

/* --- tcp_rack.c ------------------------------------------------------------------------------- */

/* A transmission was delivered: the newest by send time counts. */
void tcp_rack_delivered(struct tcp *t, nsec_t sent_at, uint32_t end, bool retrans, nsec_t now);
/* Marks what was sent long enough before it as lost; arms the reordering timer. True if anything
 * was newly marked. */
bool tcp_rack_detect(struct tcp *t, nsec_t now);
void tcp_rack_update_window(struct tcp *t, const struct tcp_sack_result *res);
/* Deadline of the loss probe, NSEC_NEVER if none is due. */
nsec_t tcp_tlp_deadline(struct tcp *t, nsec_t now);
void tcp_tlp_fire(struct tcp *t, nsec_t now);
void tcp_tlp_acked(struct tcp *t, const struct tcp_rx *r, const struct tcp_sack_result *res,
                   bool duplicate);

/* --- tcp_output.c ----------------------------------------------------------------------------- */

/* Sends what the windows, Nagle and cork allow of the queue. Locked. */
void tcp_push(struct tcp *t, nsec_t now);
/* Sends lost segments again as far as the congestion window allows. */
void tcp_retransmit_lost(struct tcp *t, nsec_t now);
/* Sends (again) up to `limit` bytes of this segment. 0 or the error of ip_output. */
int tcp_retransmit(struct tcp *t, struct tcp_seg *g, uint32_t limit, nsec_t now);
int tcp_transmit_seg(struct tcp *t, struct tcp_seg *g, nsec_t now);
void tcp_send_ack(struct tcp *t, nsec_t now);
/* A segment without payload outside the window: keepalive and window probe. */
void tcp_send_probe(struct tcp *t, nsec_t now);
void tcp_send_reset(struct tcp *t, nsec_t now);
/* SYN or SYN-ACK, first or again. */
int tcp_send_syn(struct tcp *t, nsec_t now);
/* Splits a segment after n bytes; NULL when out of memory. The new one follows it in the queue. */
struct tcp_seg *tcp_split_seg(struct tcp *t, struct tcp_seg *g, uint32_t n);
/* Cuts n bytes off the front. */
void tcp_trim_seg(struct tcp_seg *g, uint32_t n);
/* Route and MTU may have changed: looks the route up and recomputes mss. */
int tcp_refresh_route(struct tcp *t);
void tcp_update_mss(struct tcp *t);
/* The window we can offer now, not scaled down, never shrinking what was told. */
uint32_t tcp_select_window(struct tcp *t);
/* `at`, or when the user timeout (RFC 5482) ends before. */
nsec_t tcp_user_limit(const struct tcp *t, nsec_t at, nsec_t now);
/* Whether TIMER_SEND should run, and for what, after the flight changed. */
void tcp_rearm_send_timer(struct tcp *t, nsec_t now);

/* A segment without a connection: RST, ACK of TIME-WAIT, SYN-ACK with a cookie. */
struct tcp_reply {
    const struct ip_addr *src, *dst;
    uint16_t sport, dport;
    uint32_t seq, ack;
    uint16_t window;
    uint8_t flags;
    uint8_t tos;
    uint32_t scope;
    uint8_t opts[40];
    uint32_t opts_len;
};
void tcp_send_reply(const struct tcp_reply *reply);
uint32_t tcp_write_syn_options(uint8_t *opt, uint16_t mss, int wscale, bool sack, bool ts,
                               uint32_t tsval, uint32_t tsecr);
void tcp_write_timestamp(uint8_t *opt, uint32_t tsval, uint32_t tsecr);

/* --- tcp_timer.c ------------------------------------------------------------------------------ */

void tcp_timer_init(struct tcp *t);
/* Sets one of the deadlines; NSEC_NEVER clears it. Moving one later touches no timer queue. Locked.
 */
void tcp_set_deadline(struct tcp *t, enum tcp_timer_kind kind, nsec_t at);
/* Disarms all; the reference of the timer is given back. Locked, and the caller holds a reference.
 */
void tcp_stop_timers(struct tcp *t);
/* Deadlines of many connections rounded alike, so that one interrupt serves them. */
static inline nsec_t tcp_coarse(nsec_t at)
{
    return at & ~((nsec_t)(1 << 23) - 1);
}
void tcp_schedule_ack(struct tcp *t, nsec_t now);
void tcp_reset_keepalive(struct tcp *t, nsec_t now);
/* How long an orphan may stay in FIN-WAIT-2. */
nsec_t tcp_fin_timeout(const struct tcp *t);

/* --- tcp_timewait.c --------------------------------------------------------------------------- */

int tcp_timewait_init(void);
/* Turns the connection into a TIME-WAIT entry and ends it. Locked. */
void tcp_time_wait(struct tcp *t);
/* A segment for the entry. True: it is a new SYN that may reuse the 4-tuple, with r->isn_floor set:
 * if there is a listener, tcp_tw_kill makes room. Otherwise takes ownership of the packet. */
bool tcp_tw_input(struct tcp_tw *tw, struct tcp_rx *r);
void tcp_tw_put(struct tcp_tw *tw);
/* Takes the entry out of the table and off the list. */
void tcp_tw_kill(struct tcp_tw *tw);
/* Whether an active open may have the 4-tuple (RFC 6191, from the other side): with timestamps, of
 * which the peer has not seen a later one, old segments will not be taken for new ones. */
bool tcp_tw_reusable(const struct tcp_tw *tw, nsec_t now);
/* An active open replaced the entry in the table: its end. Returns the least ISN for the new
 * connection. */
uint32_t tcp_tw_replaced(struct tcp_tw *tw);
uint32_t tcp_tw_count(void);

/* --- tcp_syncookie.c -------------------------------------------------------------------------- */

#define TCP_COOKIE_LIFE (128 * NSEC_PER_SEC) /* at most */
/* The initial sequence number that says what must be remembered of the SYN. */
uint32_t tcp_cookie_isn(const struct tcp_rx *r, const struct tcp_syn_opts *o);
void tcp_cookie_send(struct tcp *l, const struct tcp_rx *r, const struct tcp_syn_opts *o);
/* Checks the ACK of a cookie and recovers the options. */
bool tcp_cookie_check(const struct tcp_rx *r, struct tcp_syn_opts *o);

/* --- tcp_sockopt.c ---------------------------------------------------------------------------- */

int tcp_setopt(struct socket *s, int level, int name, const void *val, uint32_t len);
int tcp_getopt(struct socket *s, int level, int name, void *val, uint32_t *len);
int tcp_ioctl(struct socket *s, unsigned cmd, int *value);

/* A path became usable again: connections with data in flight over this interface (NULL: any) probe
 * at once instead of waiting for a backed-off retransmission timer. Any context. */
void tcp_path_changed(struct netif *n);

#endif
