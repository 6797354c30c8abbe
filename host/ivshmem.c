/* Channels on the host's side (ivshmem.h; QEMU's docs/specs/ivshmem-spec.rst, client-server
 * protocol).
 */
#include "ivshmem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROTOCOL_VERSION 0
#define MEMORY_FOLLOWS (-1)
#define FEATURES CHANNEL_FEATURES /* that every network server has */

static void write_control(struct ivshmem *s)
{
    struct channel_control *c = s->control;

    c->version = CHANNEL_VERSION;
    c->size = s->size;
    c->queues = s->queues;
    c->slots = s->slots;
    c->features = FEATURES;
    c->ping = s->ping;
    __atomic_store_n(&c->magic, CHANNEL_MAGIC, __ATOMIC_RELEASE);
}

static int make_memory(struct ivshmem *s)
{
    s->memfd = memfd_create("librettos-channel", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (s->memfd < 0 || ftruncate(s->memfd, (off_t)s->size) < 0)
        return -errno;
    /* A domain that could change the size would make accesses of the others fault. */
    if (fcntl(s->memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -errno;
    s->memory = mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_SHARED, s->memfd, 0);
    if (s->memory == MAP_FAILED) {
        s->memory = NULL;
        return -errno;
    }
    return 0;
}

static int make_eventfds(struct ivshmem *s)
{
    for (unsigned role = 0; role < CHANNEL_ROLES; role++) {
        for (unsigned q = 0; q < s->vectors; q++) {
            s->eventfd[role][q] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
            if (s->eventfd[role][q] < 0)
                return -errno;
        }
    }
    return 0;
}

int ivshmem_create_region(struct ivshmem *s, unsigned slot, unsigned vectors, uint64_t size)
{
    if (CHANNEL_PEER(slot, CHANNEL_ROLES) > UINT16_MAX || vectors > CHANNEL_QUEUES_MAX)
        return -EINVAL;
    *s = (struct ivshmem){.slot = slot, .vectors = vectors, .size = size, .memfd = -1};
    memset(s->eventfd, -1, sizeof(s->eventfd));
    int err = make_memory(s);
    if (!err)
        err = make_eventfds(s);
    if (err)
        ivshmem_destroy(s);
    return err;
}

int ivshmem_create(struct ivshmem *s, unsigned slot, unsigned vectors, unsigned slots)
{
    struct channel_layout layout;
    uint64_t size = CHANNEL_SIZE_DEFAULT;

    while (size <= CHANNEL_SIZE_DEFAULT * 64ull && !channel_layout(&layout, size, vectors, slots))
        size *= 2;
    if (!channel_layout(&layout, size, vectors, slots))
        return -EINVAL;
    int err = ivshmem_create_region(s, slot, vectors, size);
    if (err)
        return err;
    s->queues = vectors;
    s->slots = slots;
    write_control(s);
    return 0;
}

void ivshmem_destroy(struct ivshmem *s)
{
    for (unsigned role = 0; role < CHANNEL_ROLES; role++) {
        for (unsigned q = 0; q < s->vectors; q++) {
            if (s->eventfd[role][q] >= 0)
                close(s->eventfd[role][q]);
            s->eventfd[role][q] = -1;
        }
    }
    if (s->memory)
        munmap(s->memory, s->size);
    s->memory = NULL;
    if (s->memfd >= 0)
        close(s->memfd);
    s->memfd = -1;
}

unsigned ivshmem_descriptors(const struct ivshmem *s, int *fds)
{
    unsigned n = 0;

    fds[n++] = s->memfd;
    for (unsigned role = 0; role < CHANNEL_ROLES; role++)
        for (unsigned q = 0; q < s->vectors; q++)
            fds[n++] = s->eventfd[role][q];
    return n;
}

int ivshmem_adopt(struct ivshmem *s, const int *fds, unsigned count)
{
    bool ok = s->vectors <= CHANNEL_QUEUES_MAX && count == 1 + CHANNEL_ROLES * s->vectors &&
              lseek(fds[0], 0, SEEK_END) == (off_t)s->size;
    void *p = ok ? mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0) : MAP_FAILED;

    s->memory = NULL;
    s->memfd = -1;
    memset(s->eventfd, -1, sizeof(s->eventfd));
    if (p == MAP_FAILED) {
        for (unsigned i = 0; i < count; i++)
            close(fds[i]);
        return -EPROTO;
    }
    s->memory = p;
    s->memfd = *fds++;
    for (unsigned role = 0; role < CHANNEL_ROLES; role++)
        for (unsigned q = 0; q < s->vectors; q++)
            s->eventfd[role][q] = *fds++;
    return 0;
}

int ivshmem_clear(struct ivshmem *s, unsigned queues)
{
    uint64_t counter;

    if (queues < 1 || queues > s->vectors)
        return -EINVAL;
    if (fallocate(s->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)s->size) < 0)
        return -errno;
    for (unsigned role = 0; role < CHANNEL_ROLES; role++) /* no doorbell of the past is left */
        for (unsigned q = 0; q < s->vectors; q++)
            while (read(s->eventfd[role][q], &counter, sizeof(counter)) > 0)
                ;
    s->sequence = 0;
    s->queues = queues;
    write_control(s);
    return 0;
}

/* One message: a number and perhaps a descriptor. The socket is new and has room. */
static int send_message(int sock, int64_t number, int fd)
{
    int64_t wire = (int64_t)htole64((uint64_t)number);
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {&wire, sizeof(wire)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (fd >= 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    }
    n = sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n == sizeof(wire) ? 0 : n < 0 ? -errno : -EIO;
}

static int announce(const struct ivshmem *s, int sock, unsigned role)
{
    int err = 0;

    for (unsigned q = 0; q < s->vectors && !err; q++)
        err = send_message(sock, CHANNEL_PEER(s->slot, role), s->eventfd[role][q]);
    return err;
}

int ivshmem_connect(const struct ivshmem *s, enum channel_role role, int *keep)
{
    int pair[2];
    int err = 0;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    err = send_message(pair[0], PROTOCOL_VERSION, -1);
    if (!err)
        err = send_message(pair[0], CHANNEL_PEER(s->slot, role), -1);
    if (!err)
        err = send_message(pair[0], MEMORY_FOLLOWS, s->memfd);
    for (unsigned other = 0; other < CHANNEL_ROLES && !err; other++)
        err = other == role ? 0 : announce(s, pair[0], other);
    if (!err)
        err = announce(s, pair[0], role);
    if (err) {
        close(pair[0]);
        close(pair[1]);
        return err;
    }
    *keep = pair[0];
    return pair[1];
}

void ivshmem_grant(struct ivshmem *s, const struct channel_grants *g)
{
    struct channel_grants *shared = &s->control->grants;
    const size_t first = sizeof(g->sequence);

    __atomic_store_n(&shared->sequence, s->sequence + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    memcpy((char *)shared + first, (const char *)g + first, sizeof(*g) - first);
    s->sequence += 2;
    __atomic_store_n(&shared->sequence, s->sequence, __ATOMIC_RELEASE);
}

void ivshmem_ring(const struct ivshmem *s, enum channel_role role, unsigned vector)
{
    uint64_t one = 1;

    /* A full counter means that it is rung already. */
    if (vector < s->vectors && write(s->eventfd[role][vector], &one, sizeof(one)) < 0)
        return;
}

void ivshmem_ping(struct ivshmem *s)
{
    __atomic_store_n(&s->control->ping, ++s->ping, __ATOMIC_RELEASE);
    ivshmem_ring(s, CHANNEL_APP, 0);
    ivshmem_ring(s, CHANNEL_SERVER, 0);
}

bool ivshmem_answered(const struct ivshmem *s, enum channel_role role)
{
    return __atomic_load_n(&ivshmem_side(s, role)->pong, __ATOMIC_ACQUIRE) == s->ping;
}

const struct channel_side *ivshmem_side(const struct ivshmem *s, enum channel_role role)
{
    return (const void *)((const char *)s->control + (role == CHANNEL_APP ? 2 : 1) * CHANNEL_PAGE);
}
