/* Ports of bridges (bridgeport.h): rtnetlink(7), packet(7), tuntap.rst. */
#include "bridgeport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_bridge.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define VNET_FRAME_MAX 65550u /* with GSO */
#define MOVE_MAX 4096         /* more than queues hold */

/* Sends one request, and awaits the kernel's answer. Returns 0 or -errno. */
static int rtnetlink(struct nlmsghdr *request)
{
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
        char rest[256];
    } answer;
    int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), err = 0;

    if (s < 0)
        return -errno;
    if (send(s, request, request->nlmsg_len, 0) < 0)
        err = -errno;
    ssize_t n = err ? 0 : recv(s, &answer, sizeof(answer), 0);
    if (!err && n < 0)
        err = -errno;
    else if (!err && (n < (ssize_t)NLMSG_LENGTH(sizeof(answer.error)) ||
                      answer.header.nlmsg_type != NLMSG_ERROR))
        err = -EPROTO;
    else if (!err)
        err = answer.error.error;
    close(s);
    return err;
}

int bridgeport_set_learning(const char *dev, bool on)
{
    struct {
        struct nlmsghdr header;
        struct ifinfomsg link;
        struct rtattr port;
        struct rtattr learning;
        uint8_t value, padding[3];
    } m = {
        .header = {.nlmsg_len = sizeof(m),
                   .nlmsg_type = RTM_SETLINK,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
        .link = {.ifi_family = AF_BRIDGE, .ifi_index = (int)if_nametoindex(dev)},
        .port = {.rta_len = 2 * RTA_LENGTH(0) + 4, .rta_type = IFLA_PROTINFO | NLA_F_NESTED},
        .learning = {.rta_len = RTA_LENGTH(1), .rta_type = IFLA_BRPORT_LEARNING},
        .value = on,
    };

    return m.link.ifi_index ? rtnetlink(&m.header) : -ENODEV;
}

/* The length of what precedes a frame on this device, 0 if it is none that we know. */
static int header_length(int fd)
{
    int n = 0;

    return !ioctl(fd, TUNGETVNETHDRSZ, &n) && n >= (int)sizeof(struct virtio_net_hdr) &&
                   n <= (int)sizeof(struct virtio_net_hdr_mrg_rxbuf)
               ? n
               : 0;
}

int bridgeport_announce(const struct tap *port, const uint8_t mac[6])
{
    struct {
        struct ether_header eth;
        struct ether_arp arp;
        uint8_t padding[18]; /* to the least length of a frame */
    } __attribute__((packed)) frame = {
        .eth.ether_type = htons(ETHERTYPE_REVARP),
        .arp.ea_hdr = {htons(ARPHRD_ETHER), htons(ETHERTYPE_IP), 6, 4, htons(ARPOP_RREQUEST)},
    };
    struct virtio_net_hdr_mrg_rxbuf none = {0};
    int header = port->n ? header_length(port->fd[0]) : 0;
    const struct iovec parts[] = {{&none, (size_t)header}, {&frame, sizeof(frame)}};

    memset(frame.eth.ether_dhost, 0xff, 6);
    memcpy(frame.eth.ether_shost, mac, 6);
    memcpy(frame.arp.arp_sha, mac, 6);
    memcpy(frame.arp.arp_tha, mac, 6);
    if (!header)
        return -EINVAL;
    return writev(port->fd[0], parts, 2) < 0 ? -errno : 0;
}

/* A socket whose frames go to who reads the device. Returns it or -errno. */
static int open_sender(const char *dev)
{
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(dev)};
    int one = 1, s = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (s >= 0 && !setsockopt(s, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) &&
        !bind(s, (struct sockaddr *)&to, sizeof(to)))
        return s;
    int err = -errno;
    if (s >= 0)
        close(s);
    return err;
}

int bridgeport_sacrifice(const char *dev)
{
    struct {
        struct virtio_net_hdr header;
        uint8_t to[ETH_ALEN], from[ETH_ALEN];
        uint16_t type;
        uint8_t zeros[46];
    } __attribute__((packed)) frame = {.to = {2}, .from = {2}, .type = htons(ETH_P_802_EX1)};
    int s = open_sender(dev);

    if (s < 0)
        return s;
    int err = write(s, &frame, sizeof(frame)) < 0 ? -errno : 0;
    close(s);
    return err;
}

/* Both have a struct virtio_net_hdr before the frame, the device perhaps a longer one. */
static bool move_frame(int fd, int header, int s)
{
    uint8_t frame[sizeof(struct virtio_net_hdr_mrg_rxbuf) + VNET_FRAME_MAX];
    ssize_t n = read(fd, frame, sizeof(frame));
    const struct iovec parts[] = {{frame, sizeof(struct virtio_net_hdr)},
                                  {frame + header, (size_t)(n - header)}};

    return n > header && writev(s, parts, 2) > 0;
}

int bridgeport_move(const struct tap *from, const char *to)
{
    int s = open_sender(to), moved = 0;

    if (s < 0)
        return s;
    for (unsigned i = 0; i < from->n; i++) {
        int header = header_length(from->fd[i]);
        while (header && moved < MOVE_MAX && move_frame(from->fd[i], header, s))
            moved++;
    }
    close(s);
    return moved;
}
