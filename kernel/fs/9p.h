/*
 * 9P2000.L client: directories of the host as file systems (volumes).
 *
 * The protocol runs over a transport that a driver provides (virtio-9p). Requests may be
 * outstanding in any number; each rpc call sleeps until its own reply is there.
 */
#ifndef FS_9P_H
#define FS_9P_H

#include "core/list.h"
#include "core/uio.h"

#define P9_TAG_MAX 64

struct p9_transport {
    char tag[P9_TAG_MAX];  /* the device's mount tag */
    uint32_t max_message;  /* bytes of one message, at least 8 KiB */
    unsigned max_segments; /* of tx and rx together, at least 4 */
    /* Sends the message in tx and fills rx with the reply; the segments are kernel addresses in the
     * direct map, valid until it returns. The reply's length or negative errno (-EIO: the device is
     * gone). Thread context, not interruptible. */
    ssize_t (*rpc)(struct p9_transport *t, const struct iovec_k *tx, unsigned ntx,
                   const struct iovec_k *rx, unsigned nrx);
    struct list link; /* fs/9p's own */
};

/* A driver found a device; it stays. Before fs_init for volumes= to see it. Thread context. */
void p9_transport_register(struct p9_transport *t);
struct p9_transport *p9_transport_find(const char *tag, size_t len);

/* Of a server that runs as an ordinary user of its machine: that user and group, who can own files
 * there and nobody else, and who they are here. Everybody else is P9_NOBODY. */
struct p9_owner {
    uint32_t server_uid, server_gid, uid, gid;
};
#define P9_NOBODY 65534u

struct filesystem;
/* Speaks version and attach; the file system, or ERR_PTR. owner NULL: users are the same on both
 * sides. */
struct filesystem *p9_create(struct p9_transport *t, const struct p9_owner *owner);

#endif
