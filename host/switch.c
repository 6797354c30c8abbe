/* The switch of switch.h. Addresses are kept in a small hash table with four places to look at. */
#include "switch.h"

#include <errno.h>
#include <string.h>

#define WAYS 4

int switch_add_port(struct net_switch *sw, struct switch_port *port)
{
    for (int i = 0; i < SWITCH_PORTS; i++)
        if (!sw->ports[i]) {
            sw->ports[i] = port;
            port->index = i;
            return 0;
        }
    return -ENOSPC;
}

void switch_del_port(struct net_switch *sw, struct switch_port *port)
{
    sw->ports[port->index] = NULL;
    for (size_t i = 0; i < SWITCH_MACS; i++)
        if (sw->macs[i].port == port->index + 1)
            sw->macs[i].port = 0;
}

static size_t bucket(const uint8_t *mac)
{
    return fnv1a(FNV_START, mac, 6) & (SWITCH_MACS - WAYS);
}

static void learn(struct net_switch *sw, const uint8_t *mac, int port)
{
    size_t at = bucket(mac), place = at;

    for (size_t i = at; i < at + WAYS; i++) {
        if (sw->macs[i].port && !memcmp(sw->macs[i].mac, mac, 6)) {
            sw->macs[i].port = (uint8_t)(port + 1);
            return;
        }
        if (!sw->macs[i].port)
            place = i;
    }
    /* With no free place the first of the bucket is forgotten: its frames are flooded until
     * relearned. */
    memcpy(sw->macs[place].mac, mac, 6);
    sw->macs[place].port = (uint8_t)(port + 1);
}

static struct switch_port *lookup(const struct net_switch *sw, const uint8_t *mac)
{
    size_t at = bucket(mac);

    for (size_t i = at; i < at + WAYS; i++)
        if (sw->macs[i].port && !memcmp(sw->macs[i].mac, mac, 6))
            return sw->ports[sw->macs[i].port - 1];
    return NULL;
}

static void send_to(struct switch_port *port, const uint8_t *frame, size_t n)
{
    if (!port->deliver(port, frame, n)) {
        port->traffic.drop_full++;
        return;
    }
    port->dirty = true;
    port->traffic.tx_frames++;
    port->traffic.tx_bytes += n;
}

void switch_input(struct net_switch *sw, struct switch_port *from, const uint8_t *frame, size_t n)
{
    /* Destination address at 0, source at 6; bit 0 of the first byte marks a group address. */
    if (n < ETH_HEADER || n > ETH_FRAME_MAX || (frame[6] & 1) ||
        (from->only_mac && memcmp(frame + 6, from->only_mac, 6))) {
        from->traffic.drop_bad++;
        return;
    }
    from->traffic.rx_frames++;
    from->traffic.rx_bytes += n;
    learn(sw, frame + 6, from->index);
    struct switch_port *to = frame[0] & 1 ? NULL : lookup(sw, frame);
    if (to == from) {
        from->traffic.drop_local++;
        return;
    }
    if (to) {
        send_to(to, frame, n);
        return;
    }
    for (int i = 0; i < SWITCH_PORTS; i++)
        if (sw->ports[i] && sw->ports[i] != from)
            send_to(sw->ports[i], frame, n);
}

void switch_flush(struct net_switch *sw)
{
    for (int i = 0; i < SWITCH_PORTS; i++) {
        struct switch_port *p = sw->ports[i];
        if (!p || !p->dirty)
            continue;
        p->dirty = false;
        if (p->flush)
            p->flush(p);
    }
}

bool switch_is_full(const struct net_switch *sw, const struct switch_port *from)
{
    for (int i = 0; i < SWITCH_PORTS; i++) {
        struct switch_port *p = sw->ports[i];
        if (p && p != from && p->is_full && p->is_full(p))
            return true;
    }
    return false;
}
