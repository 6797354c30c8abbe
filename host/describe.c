/*
 * Domains as `librettos ps` shows them. What the network server counted is the word of a domain
 * that may be wrong or hostile: numbers to show.
 */
#include <stdlib.h>
#include <string.h>

#include "lease.h"
#include "pathswitch.h"

#define CLAIMED_SHOWN 64
#define LOOK_NS 1000000000u /* rates are averages over at least that long */

static json_t *describe_ports(const struct domain *d)
{
    json_t *ports = json_array();

    for (size_t i = 0; i < d->forward_count; i++) {
        const struct vnet_forward *f = &d->forwards[i];
        json_array_append_new(ports,
                              json_pack("{s:s, s:i, s:i, s:s}", "host_ip", f->host_ip, "host_port",
                                        (int)f->host_port, "guest_port", (int)f->guest_port,
                                        "protocol", f->udp ? "udp" : "tcp"));
    }
    return ports;
}

/* The ports of the shared address that the domain claimed: the first ones. */
static json_t *describe_claimed(const struct lease *l)
{
    json_t *ports = json_array();

    if (!l->server || !l->shared)
        return ports;
    for (unsigned i = 0; i < 2 * 65536 && json_array_size(ports) < CLAIMED_SHOWN; i++)
        if (nettable_is_claimed(&l->server->table, l->slot, i & 1, (uint16_t)(i >> 1)))
            json_array_append_new(ports, json_pack("{s:i, s:s}", "port", (int)(i >> 1), "protocol",
                                                   i & 1 ? "udp" : "tcp"));
    return ports;
}

static json_t *describe_traffic(const struct traffic *t)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "rx_frames", (json_int_t)t->rx_frames,
                     "rx_bytes", (json_int_t)t->rx_bytes, "tx_frames", (json_int_t)t->tx_frames,
                     "tx_bytes", (json_int_t)t->tx_bytes, "drop_full", (json_int_t)t->drop_full,
                     "drop_bad", (json_int_t)t->drop_bad);
}

/* Frames per second since the last look; two looks in quick succession count as one. */
static void look(struct domain *d, const struct traffic *t)
{
    uint64_t now = now_ns(), passed = now - d->look.at_ns;

    if (passed < LOOK_NS)
        return;
    bool back = t->rx_frames < d->look.rx || t->tx_frames < d->look.tx;
    d->look.rx_rate = back ? 0 : (double)(t->rx_frames - d->look.rx) * 1e9 / (double)passed;
    d->look.tx_rate = back ? 0 : (double)(t->tx_frames - d->look.tx) * 1e9 / (double)passed;
    d->look.rx = t->rx_frames;
    d->look.tx = t->tx_frames;
    d->look.at_ns = now;
}

static void put(json_t *o, const char *key, uint64_t value)
{
    json_object_set_new(o, key, json_integer((json_int_t)value));
}

static json_t *describe_channel(const struct lease *l)
{
    struct net_counters c = lease_counters(l);
    const struct {
        const char *name;
        uint64_t value;
    } counters[] = {
        {"tx_frames", c.tx_frames},       {"tx_bytes", c.tx_bytes},
        {"rx_frames", c.rx_frames},       {"rx_bytes", c.rx_bytes},
        {"drop_mac", c.drop_mac},         {"drop_ip", c.drop_ip},
        {"drop_port", c.drop_port},       {"drop_malformed", c.drop_malformed},
        {"drop_full", c.drop_full},       {"drop_memory", c.drop_memory},
        {"doorbells_in", c.doorbells_in}, {"doorbells_out", c.doorbells_out},
        {"generations", c.generations},   {"broken", c.broken},
    };
    json_t *o = json_object();

    put(o, "slot", l->slot);
    for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
        put(o, counters[i].name, counters[i].value);
    return o;
}

static json_t *describe_server(const struct domain *d)
{
    struct netserver *ns = d->server;
    struct net_server_page p = netserver_page(ns, d);
    json_t *o = json_object(), *ends = json_object();
    unsigned restarts = 0;

    for (unsigned i = 0; i < NET_ENDS; i++) {
        put(ends, net_end_names[i], ns->ends[i]);
        restarts += ns->ends[i];
    }
    json_object_set_new(o, "role", json_string(ns->active->domain == d ? "active" : "standby"));
    json_object_set_new(o, "standby", json_string(netserver_standby_state(ns)));
    json_object_set_new(o, "kernel", json_string(netserver_instance(ns, d)->kernel));
    json_object_set_new(o, "ends", ends);
    json_object_set_new(o, "up", json_boolean(p.state == NET_SERVER_UP));
    put(o, "domains", ns->users);
    put(o, "channels", ns->table.made);
    put(o, "attached", p.attached);
    put(o, "restarts", restarts);
    put(o, "rx_frames", p.rx_frames);
    put(o, "rx_bytes", p.rx_bytes);
    put(o, "tx_frames", p.tx_frames);
    put(o, "tx_bytes", p.tx_bytes);
    put(o, "drop_no_owner", p.drop_no_owner);
    put(o, "drop_malformed", p.drop_malformed);
    put(o, "drop_memory", p.drop_memory);
    if (ns->reason)
        json_object_set_new(o, "last_end", json_string(ns->reason));
    return o;
}

static void describe_address(const struct domain *d, json_t *o)
{
    char *address = d->server  ? lease_option_address(d->server->ip)
                    : d->lease ? xstrdup(d->lease->address)
                               : xstrdup("");
    const char *mode = d->is_server || (d->lease && d->lease->shared) ? "shared" : "dedicated";

    json_object_set_new(o, "path", json_string("none"));
    if (d->lease && d->lease->path)
        pathswitch_describe(d->lease->path, o);
    json_object_set_new(o, "address", json_string(address));
    json_object_set_new(o, "mode", json_string(mode));
    free(address);
}

json_t *describe(struct domain *d)
{
    uint64_t end = domain_is_live(d) ? now_ns() : d->ended_ns;
    struct traffic traffic;
    json_t *o = json_pack(
        "{s:s, s:s, s:s, s:s, s:o, s:i, s:i, s:f, s:i}", "name", d->name, "kind",
        d->is_server ? "network server" : "application", "state",
        d->stopping && domain_is_live(d) ? "stopping" : domain_state_name(d->state), "program",
        d->program, "ports", describe_ports(d), "cpus", (int)d->cpus, "memory_mib",
        (int)d->memory_mib, "uptime_s", (double)(end - d->started_ns) / 1e9, "pid", (int)d->pid);

    describe_address(d, o);
    json_object_set_new(o, "network", json_null());
    if (traffic_of(d, &traffic)) {
        look(d, &traffic);
        json_object_set_new(o, "network", describe_traffic(&traffic));
        json_object_set_new(o, "rx_rate", json_real(d->look.rx_rate));
        json_object_set_new(o, "tx_rate", json_real(d->look.tx_rate));
    }
    if (d->lease && d->lease->server_path) {
        json_object_set_new(o, "channel", describe_channel(d->lease));
        json_object_set_new(o, "claimed", describe_claimed(d->lease));
    }
    if (d->server)
        json_object_set_new(o, "server", describe_server(d));
    if (!domain_is_live(d))
        json_object_set_new(o, "status", json_integer(domain_status(d)));
    if (d->reason)
        json_object_set_new(o, "reason", json_string(d->reason));
    return o;
}
