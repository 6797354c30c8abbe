/*
 * /etc/resolv.conf tells the domain's name servers, not those of the host that the file was packed
 * on. It is replaced in one step, so that nobody reads half of it; with no name server known it
 * stays. /etc/hosts gets the domain's own name, which is not known when the image is made.
 */
#include "linux/resolv.h"

#include "core/bootargs.h"
#include "core/klog.h"
#include "fs/vfs.h"
#include "net/dhcp.h"
#include "net/ip.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define HOSTS "/etc/hosts"

static size_t make_text(char *text, size_t size, const struct net_dns *dns)
{
    size_t n = 0;
    char addr[64];

    if (dns->domain[0])
        n += (size_t)snprintf(text, size, "search %s\n", dns->domain);
    for (int i = 0; i < dns->count; i++) {
        ip_format(addr, sizeof(addr), &dns->servers[i]);
        n += (size_t)snprintf(text + n, size - n, "nameserver %s\n", addr);
    }
    return n;
}

/* A file of the image; one on a volume is the host's and stays as it is: -EXDEV. */
static int write_text(const char *name, unsigned flags, char *text, size_t n)
{
    struct fs_context ctx = *vfs_root_context();
    ctx.resolve = WALK_NO_XDEV;
    return vfs_write_text(&ctx, name, flags, 0644, text, n);
}

static int replace(char *text, size_t n)
{
    const struct fs_context *ctx = vfs_root_context();
    int err = write_text(RESOLV_CONF ".new", OPEN_CREAT | OPEN_TRUNC, text, n);
    return err ? err : vfs_rename(ctx, NULL, RESOLV_CONF ".new", NULL, RESOLV_CONF, 0);
}

/* An image without /etc needs none. */
static void complain(const char *name, int err)
{
    if (err && err != -ENOENT && err != -EXDEV)
        klog(LOG_WARN, "cannot write %s: error %d", name, -err);
}

static void write_resolv_conf(void)
{
    char text[640]; /* a search line of 64 and 6 servers of 56 bytes fit */
    struct net_dns dns;

    net_dns(&dns);
    int err = dns.count ? replace(text, make_text(text, sizeof(text), &dns)) : 0;
    complain(RESOLV_CONF, err);
}

/* As Debian's installer writes it. */
static void add_own_name(void)
{
    const char *name = bootarg("hostname");
    char text[96];
    if (!name || strlen(name) > 64)
        return;
    size_t n = (size_t)snprintf(text, sizeof(text), "127.0.1.1\t%s\n", name);
    int err = write_text(HOSTS, OPEN_APPEND, text, n);
    complain(HOSTS, err);
}

void resolv_init(void)
{
    add_own_name();
    net_dns_hook = write_resolv_conf;
    write_resolv_conf();
}
