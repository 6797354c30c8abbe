/*
 * Which of a network server's two instances serves (abi/net_table.h). Both are booted, attached to
 * the table and to the channels; the one that does not serve has not started its NIC, so that the
 * network does not see it, and leaves the channels alone. To take over is to begin generations, and
 * when the domains have answered, to start the NIC: what came meanwhile has waited in front of it.
 */
#include "core/bootargs.h"
#include "core/init.h"
#include "core/thread.h"
#include "net/mcast.h"
#include "net/transmit.h"
#include "servers/net_internal.h"

#define HAND_OVER_LIMIT (50 * NSEC_PER_MSEC) /* for the NIC to send what it has of the domains' */
#define HAND_OVER_LOOK (200 * NSEC_PER_USEC)

void server_ring_supervisor(void)
{
    server.table_dev->ring(server.table_dev, CHANNEL_PEER(NET_TABLE_SLOT, CHANNEL_APP), 0);
}

static unsigned other_role(void)
{
    return server.role == CHANNEL_SERVER ? CHANNEL_STANDBY : CHANNEL_SERVER;
}

static bool other_serves(void)
{
    const struct net_server_page *page = (void *)(server.table + NET_TABLE_SERVER(other_role()));
    uint32_t state = __atomic_load_n(&page->state, __ATOMIC_ACQUIRE);

    return state == NET_SERVER_STARTING || state == NET_SERVER_UP;
}

static void set_state(enum net_server_state state)
{
    __atomic_store_n(&server_page()->state, state, __ATOMIC_RELEASE);
}

void server_say_what_it_is(void)
{
    struct net_server_page *page = server_page();

    WRITE_ONCE(page->features, CHANNEL_FEATURES);
    WRITE_ONCE(page->version, NET_TABLE_VERSION);
}

void server_refuse(struct channel_device *dev)
{
    struct net_server_page *page =
        (void *)(dev->mem + NET_TABLE_SERVER(CHANNEL_PEER_ROLE(dev->id)));

    WRITE_ONCE(page->version, NET_TABLE_VERSION);
    __atomic_store_n(&page->state, NET_SERVER_REFUSED, __ATOMIC_RELEASE);
    dev->ring(dev, CHANNEL_PEER(NET_TABLE_SLOT, CHANNEL_APP), 0);
}

void server_begin(void)
{
    struct net_path *path = server.nic->path;

    netif_start_later = false;
    int err = path && path->ops->start ? path->ops->start(path) : 0;
    if (err)
        klog(LOG_ERROR, "network server: the NIC cannot be started: error %d", -err);
    mcast_program(server.nic); /* the link is up now: the rest follows from that */
    server_pause(false);
}

/* What was taken out of the channels is sent, what the NIC has received is delivered: it polls
 * while we wait. What it has not sent by then is given up and comes back by its loans: the other
 * instance sends it. */
static void hand_over(void)
{
    struct net_path *path = server.nic->path;
    nsec_t limit = time_now() + HAND_OVER_LIMIT;

    netif_start_later = true;
    server_pause(true);
    do
        thread_sleep_until(time_now() + HAND_OVER_LOOK, false);
    while ((server_has_lent() || (path && !path_is_drained(path))) && time_now() < limit);
    if (path && path->ops->detach)
        path->ops->detach(path);
    netif_drain(server.nic);
    server_leave_slots();
    set_state(NET_SERVER_QUIESCED);
    klog(LOG_INFO, "network server: handed over");
    server.table_dev->ring(server.table_dev, CHANNEL_PEER(NET_TABLE_SLOT, other_role()), 0);
    server_ring_supervisor();
}

bool server_follow_active(void)
{
    const struct net_table *t = (void *)server.table;
    struct net_server_page *page = server_page();
    uint32_t state = READ_ONCE(page->state);
    bool wanted = READ_ONCE(t->active) == server.role;

    if (state == NET_SERVER_STARTING || state == NET_SERVER_UP) {
        if (!wanted)
            hand_over();
        return wanted;
    }
    if (wanted && !other_serves()) {
        set_state(NET_SERVER_STARTING);
        server.serves_since = time_now();
        return true;
    }
    if (state == NET_SERVER_DOWN) {
        set_state(NET_SERVER_STANDBY);
        klog(LOG_INFO, "network server: standby");
        server_ring_supervisor();
    }
    return false;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_mac(const char *text, uint8_t mac[MAC_LEN])
{
    for (unsigned i = 0; i < MAC_LEN; i++, text += 2) {
        int high = hex_digit(text[0]), low = high < 0 ? -1 : hex_digit(text[1]);
        if (low < 0)
            return false;
        mac[i] = (uint8_t)(high << 4 | low);
    }
    return !*text && !(mac[0] & 1);
}

/* Without a NIC, its MAC address is told: the interface is there, and configured, before the NIC,
 * which comes when this instance is to serve. */
void server_make_interface(void)
{
    const char *text = bootarg("nic");
    uint8_t mac[MAC_LEN];

    if (!text)
        return;
    struct netif *nic = parse_mac(text, mac) ? netif_create("eth0", mac) : ERR_PTR(-EINVAL);
    if (IS_ERR(nic))
        klog(LOG_ERROR, "network server: no interface for nic=%s", text);
}

void net_server_run(void)
{
    struct netif *nic = netif_by_name("eth0");
    int err = nic ? netif_set_up(nic, true) : -ENODEV; /* without an address it is not yet */

    if (!err)
        err = net_server_start(nic);

    if (err)
        klog(LOG_ERROR, "network server: no NIC to share (error %d)", -err);
}
