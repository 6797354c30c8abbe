/* Leases: see lease.h. */
#include "lease.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pathswitch.h"

#define TAP_MTU 1500
#define QUEUES_MAX CHANNEL_QUEUES_DEFAULT

/* ---- addresses ---- */

/* A locally administered address for a NIC on the host's network: the same whenever a domain of
 * this name runs on this machine, so that a DHCP server knows it again, and another everywhere
 * else. */
static void own_mac(const char *name, uint8_t mac[6])
{
    struct buf id = {0};

    read_file("/etc/machine-id", &id, 64);
    uint64_t hash = fnv1a(fnv1a(FNV_START, id.data, id.len), name, strlen(name));
    mac[0] = 0x02;
    for (int i = 1; i < 6; i++)
        mac[i] = (uint8_t)(hash >> 8 * i);
    buf_free(&id);
}

/* One word of an --ip option, which was checked: ADDR/LEN, or KEY=ADDR. */
static void take_address(char *word, struct channel_grants *g)
{
    char *value = strchr(word, '='), *slash = strchr(word, '/');
    uint8_t ip[16];

    if (slash)
        *slash++ = 0;
    bool v6 = inet_pton(AF_INET6, value ? value + 1 : word, ip) == 1;
    if (!v6 && inet_pton(AF_INET, value ? value + 1 : word, ip) != 1)
        return;
    if (!value && v6) {
        memcpy(g->ipv6, ip, 16);
        g->ipv6_prefix = slash ? (uint8_t)atoi(slash) : 128;
    } else if (!value) {
        memcpy(g->ipv4, ip, 4);
        g->ipv4_prefix = slash ? (uint8_t)atoi(slash) : 32;
    } else if (starts_with(word, "gw") && v6) {
        memcpy(g->ipv6_gateway, ip, 16);
    } else if (starts_with(word, "gw")) {
        memcpy(g->ipv4_gateway, ip, 4);
    }
}

/* What a domain owns on a tap device or bridge: `ip` is its --ip, or NULL for DHCP. */
static void tap_grants(const char *ip, const char *name, struct channel_grants *g)
{
    char *text = xstrdup(ip ? ip : ""), *save = NULL;

    *g = (struct channel_grants){.mtu = TAP_MTU};
    own_mac(name, g->mac);
    for (char *w = strtok_r(text, ",", &save); w; w = strtok_r(NULL, ",", &save))
        take_address(w, g);
    free(text);
}

char *lease_option_address(const char *ip)
{
    return xstrndup(ip ? ip : "", ip ? strcspn(ip, "/,") : 0);
}

/* Reserves a number of the virtual network. Returns it, or -errno with *error set. */
static int take_number(struct vnet *v, const char *wanted, char **error)
{
    int host = wanted ? vnet_alloc_address(v, wanted) : vnet_alloc(v);

    if (host == -EINVAL)
        *error =
            xasprintf("--address dedicated=%s: the virtual network's addresses for domains are "
                      "10.0.2.%d to 10.0.2.%d",
                      wanted, VNET_FIRST_HOST, VNET_FIRST_HOST + VNET_SERVER - 1);
    else if (host == -EADDRINUSE)
        *error = xasprintf("--address dedicated=%s: another domain has this address", wanted);
    else if (host < 0)
        *error = xstrdup("no free address: too many domains run already; stop some, or use "
                         "--address shared");
    return host;
}

/* ---- the paths ---- */

/* What the domain will own, whichever path leads there. Returns 0 or -errno with *error set. */
static int choose_address(struct lease *l, const struct lease_request *rq,
                          const struct domain_spec *spec, char **error)
{
    struct channel_grants *g = &l->grants;

    if (l->user_net && l->shared) {
        vnet_grants(VNET_SERVER, g);
        l->net0 = vnet_boot_arg(VNET_SERVER);
        l->address = vnet_address(VNET_SERVER);
    } else if (l->user_net) {
        l->host = take_number(l->sv->vnet, rq->wanted, error);
        if (l->host < 0)
            return l->host;
        vnet_grants(l->host, g);
        l->net0 = vnet_boot_arg(l->host);
        l->address = vnet_address(l->host);
    } else {
        tap_grants(rq->ip, spec->name, g);
        l->net0 = xstrdup(rq->ip ? rq->ip : "dhcp");
        l->address = lease_option_address(rq->ip);
    }
    g->mode = l->shared ? CHANNEL_SHARED : CHANNEL_DEDICATED;
    return 0;
}

static void direct_path(struct lease *l, const struct lease_request *rq, struct domain_spec *spec,
                        char **error)
{
    spec->nic = l->host;
    if (!l->user_net)
        tap_open(&spec->tap, rq->net.tap, rq->net.bridge, spec->qemu.cpus, error);
    memcpy(l->tap_name, spec->tap.name, sizeof(l->tap_name));
}

/* The server of the network, made if there is none. */
static struct netserver *find_server(struct lease *l, char **error)
{
    const struct network net = {.tap = l->tap, .bridge = l->bridge};
    struct netserver *ns = netserver_find(l->sv, &net);
    struct channel_grants own;

    if (ns)
        return ns;
    if (l->user_net) {
        char *ip = vnet_boot_arg(VNET_SERVER);
        vnet_grants(VNET_SERVER, &own);
        ns = netserver_new(l->sv, &net, &l->like, ip, &own, error);
        free(ip);
        return ns;
    }
    const char *ip = l->shared ? l->ip : NULL;
    char *name = xasprintf("net-%s", l->tap ? l->tap : l->bridge);
    tap_grants(ip, name, &own);
    free(name);
    return netserver_new(l->sv, &net, &l->like, ip, &own, error);
}

/* On a tap device or bridge the first domain that shares brings the server's address. */
static bool check_shared(const struct netserver *ns, const char *ip, char **error)
{
    if (!ns->ip && !ip)
        *error = xstrdup("--address shared: tell the address to share with --ip ADDRESS/LEN");
    else if (!ns->ip)
        *error = xasprintf("the network server %s runs without an address to share; stop its "
                           "domains, then `librettos stop %s`",
                           ns->name, ns->name);
    else if (ip && strcmp(ip, ns->ip))
        *error = xasprintf("the network server %s shares %s; leave --ip out, or use --address "
                           "dedicated",
                           ns->name, ns->ip);
    return !*error;
}

/* Ports that lead to the shared address are of use only if the domain can have them. */
static bool check_ports(const struct netserver *ns, const struct domain_spec *spec, char **error)
{
    for (size_t i = 0; i < spec->forward_count && !*error; i++) {
        const struct vnet_forward *f = &spec->forwards[i];
        if (nettable_owner(&ns->table, f->udp, f->guest_port) >= 0)
            *error = xasprintf("-p %u:%u: another domain that shares the address has port %u; let "
                               "the program use another, or use --address dedicated",
                               f->host_port, f->guest_port, f->guest_port);
    }
    return !*error;
}

/* A channel to this server, with what the lease grants. */
static bool take_channel(struct lease *l, struct netserver *ns, char **error)
{
    unsigned queues = l->like.cpus < QUEUES_MAX ? l->like.cpus : QUEUES_MAX;
    int slot = netserver_grant(ns, queues, &l->grants, error);

    if (slot < 0)
        return false;
    l->server = ns;
    l->slot = (unsigned)slot;
    l->server_path = true;
    return lease_connect(l, error);
}

bool lease_connect(struct lease *l, char **error)
{
    const struct ivshmem *region = &l->server->table.channels[l->slot].region;

    l->device = (struct qemu_ivshmem){.fd = ivshmem_connect(region, CHANNEL_APP, &l->keep),
                                      .vectors = region->vectors,
                                      .place = -1};
    if (l->device.fd < 0)
        *error = xasprintf("no channel to the network server: %s", strerror(-l->device.fd));
    return l->device.fd >= 0;
}

bool lease_add_channel(struct lease *l, char **error)
{
    struct netserver *ns = find_server(l, error);

    return ns && take_channel(l, ns, error);
}

static void server_path(struct lease *l, struct domain_spec *spec, char **error)
{
    struct netserver *ns = find_server(l, error);

    if (!ns)
        return;
    if (l->shared && (!check_ports(ns, spec, error) || !check_shared(ns, l->ip, error))) {
        if (!ns->users && !ns->active->domain)
            netserver_destroy(ns);
        return;
    }
    if (l->shared && !l->user_net) {
        l->grants = ns->own;
        l->grants.mode = CHANNEL_SHARED;
        free(l->net0);
        free(l->address);
        l->net0 = xstrdup(ns->ip);
        l->address = lease_option_address(ns->ip);
    }
    if (take_channel(l, ns, error)) {
        spec->held = &l->keep;
        spec->held_count = 1;
        spec->qemu.ivshmem = &l->device;
        spec->qemu.ivshmem_count = 1;
    }
}

static void remember(struct lease *l, const struct lease_request *rq, const struct qemu_config *q)
{
    l->tap = xstrdup_opt(rq->net.tap);
    l->bridge = xstrdup_opt(rq->net.bridge);
    l->ip = xstrdup_opt(rq->ip);
    l->like = (struct qemu_config){.binary = xstrdup_opt(q->binary),
                                   .kernel = xstrdup_opt(q->kernel),
                                   .accel = xstrdup_opt(q->accel),
                                   .cpu = xstrdup_opt(q->cpu),
                                   .loglevel = xstrdup_opt(q->loglevel),
                                   .cpus = q->cpus};
}

struct lease *lease_open(struct supervisor *sv, const struct lease_request *rq,
                         struct domain_spec *spec, char **error)
{
    struct lease *l = xcalloc(1, sizeof(*l));

    *error = NULL;
    l->sv = sv;
    l->shared = rq->shared;
    l->user_net = !rq->net.tap && !rq->net.bridge;
    l->host = l->keep = l->device.fd = -1;
    spec->nic = -1;
    remember(l, rq, &spec->qemu);
    if (!choose_address(l, rq, spec, error)) {
        if (rq->server_path)
            server_path(l, spec, error);
        else
            direct_path(l, rq, spec, error);
    }
    if (*error) {
        lease_end(l);
        lease_free(l);
        return NULL;
    }
    memcpy(spec->mac, l->grants.mac, sizeof(spec->mac));
    spec->net0 = l->net0;
    spec->qemu.fixed_paths = l->shared;
    spec->forward_to = l->shared ? VNET_SERVER : l->host;
    return l;
}

void lease_started(struct lease *l)
{
    if (l->device.fd >= 0)
        close(l->device.fd);
    l->device.fd = -1;
}

void lease_drop_channel(struct lease *l)
{
    lease_started(l);
    if (l->keep >= 0)
        close(l->keep);
    l->keep = -1;
    if (l->server) {
        l->last = nettable_counters(&l->server->table, l->slot);
        netserver_release(l->server, l->slot);
    }
    l->server = NULL;
}

void lease_end(struct lease *l)
{
    if (l->path)
        pathswitch_end(l->path);
    lease_drop_channel(l);
    if (l->host >= 0)
        vnet_release(l->sv->vnet, l->host);
    l->host = -1;
}

void lease_free(struct lease *l)
{
    char *const texts[] = {l->net0, l->address, l->tap, l->bridge, l->ip};
    const char *const config[] = {l->like.binary, l->like.kernel, l->like.accel, l->like.cpu,
                                  l->like.loglevel};

    pathswitch_free(l->path);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        free(texts[i]);
    for (size_t i = 0; i < ARRAY_SIZE(config); i++)
        free((char *)config[i]);
    free(l);
}

int lease_slot(const struct lease *l, const struct netserver *ns)
{
    return l->server == ns ? (int)l->slot : -1;
}

void lease_claim(struct lease *l, struct ctl_claim *c)
{
    if (l->server)
        nettable_claim(&l->server->table, l->slot, c);
    else
        c->error = EINVAL;
}

struct net_counters lease_counters(const struct lease *l)
{
    return l->server ? nettable_counters(&l->server->table, l->slot) : l->last;
}
