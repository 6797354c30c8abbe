/*
 * /etc/resolv.conf tells the domain's name servers, not those of the host that the file was packed
 * on. It is replaced in one step, so that nobody reads half of it; with no name server known it
 * stays.
 */
#include "linux/resolv.h"

#include "core/klog.h"
#include "core/uio.h"
#include "fs/file.h"
#include "fs/vfs.h"
#include "net/dhcp.h"
#include "net/ip.h"

#define RESOLV_CONF "/etc/resolv.conf"

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

static int replace(char *text, size_t n)
{
    const struct fs_context *ctx = vfs_root_context();
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, text, n);
    struct file *f;

    int err =
        vfs_open(ctx, NULL, RESOLV_CONF ".new", OPEN_WRONLY | OPEN_CREAT | OPEN_TRUNC, 0644, &f);
    if (err)
        return err;
    ssize_t written = f->ops->write(f, &u, &(uint64_t){0});
    file_put(f);
    if (written < 0)
        return (int)written;
    return vfs_rename(ctx, NULL, RESOLV_CONF ".new", NULL, RESOLV_CONF, 0);
}

static void write_resolv_conf(void)
{
    char text[640]; /* a search line of 64 and 6 servers of 56 bytes fit */
    struct net_dns dns;

    net_dns(&dns);
    int err = dns.count ? replace(text, make_text(text, sizeof(text), &dns)) : 0;
    if (err && err != -ENOENT) /* an image without /etc needs none */
        klog(LOG_WARN, "cannot write " RESOLV_CONF ": error %d", -err);
}

void resolv_init(void)
{
    net_dns_hook = write_resolv_conf;
    write_resolv_conf();
}
