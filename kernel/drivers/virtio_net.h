/* What the files of the virtio-net driver share (virtio 1.2, 5.1). */
#ifndef DRIVERS_VIRTIO_NET_H
#define DRIVERS_VIRTIO_NET_H

#include "core/deferred.h"
#include "core/recheck.h"
#include "core/thread.h"
#include "core/wait.h"
#include "drivers/virtio.h"
#include "net/netif.h"

#define NET_F_CSUM (1ull << 0)
#define NET_F_GUEST_CSUM (1ull << 1)
#define NET_F_MTU (1ull << 3)
#define NET_F_MAC (1ull << 5)
#define NET_F_GUEST_TSO4 (1ull << 7)
#define NET_F_GUEST_TSO6 (1ull << 8)
#define NET_F_GUEST_ECN (1ull << 9)
#define NET_F_HOST_TSO4 (1ull << 11)
#define NET_F_HOST_TSO6 (1ull << 12)
#define NET_F_HOST_ECN (1ull << 13)
#define NET_F_MRG_RXBUF (1ull << 15)
#define NET_F_STATUS (1ull << 16)
#define NET_F_CTRL_VQ (1ull << 17)
#define NET_F_CTRL_RX (1ull << 18)
#define NET_F_MQ (1ull << 22)
#define NET_F_CTRL_MAC_ADDR (1ull << 23)

/* In front of every frame, 5.1.6. */
struct vnet_hdr {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t hdr_len;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
    uint16_t num_buffers;
} __attribute__((packed));
#define VNET_HDR_LEN sizeof(struct vnet_hdr)
#define VNET_HDR_NEEDS_CSUM 1u
#define VNET_HDR_DATA_VALID 2u
#define VNET_GSO_NONE 0u
#define VNET_GSO_TCPV4 1u
#define VNET_GSO_TCPV6 4u
#define VNET_GSO_ECN 0x80u

#define VNET_MAX_PAIRS 64
#define VNET_QUEUE_SIZE 256
/* What is sent waits behind all that is in the ring, whoever's it is, so the ring is no longer than
 * keeps the device busy; the rest waits in the backlog or with its sender. */
#define VNET_TX_QUEUE_SIZE 64
#define VNET_MIN_QUEUE 32                  /* fewer cannot hold the longest packet */
#define VNET_MAX_CHAIN (PKT_MAX_FRAGS + 2) /* header, linear part, fragments */

/* A receive buffer: one page, whose descriptor has the same number for good. */
struct vnet_buf {
    struct page *page;
    uint8_t *addr;
};

/* A queue pair: its interrupt, its bottom half and its counters belong to one CPU; only the
 * transmit side is used by others too (when there are more CPUs than pairs), under tx_lock. */
struct vnet_pair {
    struct vnet *net;
    int index;
    struct virtq rx;
    struct vnet_buf *bufs;
    struct bottom_half bh;
    struct irq irq;
    bool irq_set;
    struct recheck recheck; /* of both rings */

    spinlock_t tx_lock; /* bh */
    bool tx_stopped;    /* a packet was refused: say when there is room */
    bool tx_awaited;    /* what was sent is to be freed as soon as it is */
    struct virtq tx;
    struct vnet_hdr *tx_hdrs; /* for packets without headroom for one; by head */

    struct path_stats stats; /* tx_* under tx_lock, the others the bottom half's */
    uint64_t tx_doorbells;
};

struct vnet {
    struct net_path path;
    struct virtio_device *dev;
    bool running;    /* between start and detach */
    bool negotiated; /* by the probe; the device was not reset since */
    bool mergeable;
    int npairs;
    uint16_t max_pairs; /* of the device */
    struct irq config_irq;
    bool config_irq_set;
    struct bottom_half config_bh;

    struct mutex ctrl_lock;
    struct virtq ctrl;
    struct wait_queue ctrl_wait;
    struct vnet_ctrl *ctrl_buf;
    bool promiscuous;

    struct vnet_pair *pairs;
};

/* virtio_net_rx.c. Fill: gives the device a buffer for every descriptor; -ENOMEM. Poll: takes up to
 * `budget` frames and hands them to the stack; returns their number. bh context. Drain: after a
 * reset, frees all buffers. */
int vnet_rx_fill(struct vnet_pair *q);
int vnet_rx_poll(struct vnet_pair *q, int budget);
void vnet_rx_drain(struct vnet_pair *q);

/* virtio_net_tx.c. Poll: frees what was sent and tells the stack if there is room again. bh. */
bool vnet_transmit(struct net_path *path, int queue, struct pkt *p);
void vnet_flush(struct net_path *path, int queue);
void vnet_reclaim(struct net_path *path, bool tell);
void vnet_tx_poll(struct vnet_pair *q);
/* Everything was sent. */
bool vnet_tx_empty(struct vnet_pair *q);
void vnet_tx_drain(struct vnet_pair *q);

/* virtio_net_ctrl.c: the control queue. Thread context; 0, -EOPNOTSUPP, -EIO (the device refused or
 * does not answer). */
int vnet_ctrl_init(struct vnet *net, uint16_t queue, uint16_t vector);
void vnet_ctrl_exit(struct vnet *net);
int vnet_ctrl_pairs(struct vnet *net, uint16_t pairs);
int vnet_set_mac(struct net_path *path, const uint8_t mac[MAC_LEN]);
int vnet_set_multicast(struct net_path *path, const uint8_t (*macs)[MAC_LEN], int n);

#endif
