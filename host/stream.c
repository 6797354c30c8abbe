/* The streams of stream.h. */
#include "stream.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keeper.h"

#define MAGIC 0x324d5453u /* "STM2": another layout needs another number */
#define PAGE 4096u
#define SLOT_ALIGN 64u

/* How far the socket's end of a ring has got. The kernel writes message.msg_len. */
struct end {
    volatile uint32_t position; /* before the last call, or after it: see finish() */
    volatile uint32_t at;       /* where that call began */
    struct mmsghdr message;
};

struct stream_memory {
    uint32_t magic;
    struct stream_sizes sizes;
    volatile uint32_t current; /* which of the two slots counts */
    struct end rx, tx;
};

/* How far the owner has got. */
struct slot {
    uint64_t number;
    uint32_t rx_head, tx_tail;
    uint8_t note[];
};

static uint64_t commits; /* so far, here and in the processes before */

static size_t slot_size(const struct stream_sizes *z)
{
    return (sizeof(struct slot) + z->note + SLOT_ALIGN - 1) / SLOT_ALIGN * SLOT_ALIGN;
}

static struct slot *slot(const struct stream_memory *m, unsigned i)
{
    return (struct slot *)((char *)m + sizeof(*m) + i * slot_size(&m->sizes));
}

static size_t head_size(const struct stream_sizes *z)
{
    return (sizeof(struct stream_memory) + 2 * slot_size(z) + PAGE - 1) / PAGE * PAGE;
}

/* ---- memory ---- */

/* Maps `size` bytes of the file at `offset` twice in a row. Returns 0 or -errno. */
static int map_ring(struct stream_ring *r, int memfd, size_t offset, uint32_t size)
{
    uint8_t *p = mmap(NULL, 2 * (size_t)size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return -errno;
    r->data = p;
    r->size = size;
    for (int i = 0; i < 2; i++)
        if (mmap(p + i * (size_t)size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memfd,
                 (off_t)offset) == MAP_FAILED)
            return -errno;
    return 0;
}

static void unmap_ring(struct stream_ring *r)
{
    if (r->data)
        munmap(r->data, 2 * (size_t)r->size);
    r->data = NULL;
}

static int map_all(struct stream *s, const struct stream_sizes *z)
{
    size_t head = head_size(z);
    void *p = mmap(NULL, head, PROT_READ | PROT_WRITE, MAP_SHARED, s->memfd, 0);

    if (p == MAP_FAILED)
        return -errno;
    s->memory = p;
    int err = map_ring(&s->rx, s->memfd, head, z->rx);
    return err ? err : map_ring(&s->tx, s->memfd, head + z->rx, z->tx);
}

static size_t file_size(const struct stream_sizes *z)
{
    return head_size(z) + z->rx + z->tx;
}

/* Watches the socket; after an error so far, closes everything. */
static int begin(struct stream *s, int err)
{
    if (!err) {
        set_nonblock(s->watch.fd);
        err = loop_add(s->loop, &s->watch);
    }
    if (!err)
        return 0;
    close(s->watch.fd);
    s->watch.fd = -1;
    stream_close(s);
    return err;
}

int stream_open(struct stream *s, struct loop *loop, int fd, const struct stream_sizes *sizes,
                void (*ready)(struct watch *w, uint32_t events))
{
    *s = (struct stream){.watch = {.fd = fd, .events = EPOLLIN, .ready = ready},
                         .loop = loop,
                         .memfd = memfd_create("librettos-stream", MFD_CLOEXEC)};
    int err = s->memfd < 0 || ftruncate(s->memfd, (off_t)file_size(sizes)) < 0 ? -errno : 0;
    if (!err)
        err = map_all(s, sizes);
    if (!err) {
        s->memory->sizes = *sizes;
        s->memory->magic = MAGIC;
    }
    return begin(s, err);
}

static bool is_same(const struct stream_memory *m, const struct stream_sizes *z)
{
    return m->magic == MAGIC && !memcmp(&m->sizes, z, sizeof(*z)) && m->current <= 1;
}

/* The position after the last call, whether or not the process lived to write it. */
static uint32_t finish(struct end *e)
{
    if (e->message.msg_len)
        e->position = e->at + e->message.msg_len;
    return e->position;
}

static bool is_sane(const struct stream_ring *r)
{
    return r->tail - r->head <= r->size;
}

int stream_restore(struct stream *s, struct loop *loop, int fd, int memfd,
                   const struct stream_sizes *sizes,
                   void (*ready)(struct watch *w, uint32_t events))
{
    *s = (struct stream){
        .watch = {.fd = fd, .events = EPOLLIN, .ready = ready}, .loop = loop, .memfd = memfd};
    int err = lseek(memfd, 0, SEEK_END) == (off_t)file_size(sizes) ? map_all(s, sizes) : -EPROTO;
    if (!err && !is_same(s->memory, sizes))
        err = -EPROTO;
    if (!err) {
        const struct slot *now = slot(s->memory, s->memory->current);
        s->rx.head = now->rx_head;
        s->tx.tail = now->tx_tail;
        s->committed = now->number;
        commits = now->number > commits ? now->number : commits;
        s->rx.tail = finish(&s->memory->rx);
        s->tx.head = finish(&s->memory->tx);
        err = is_sane(&s->rx) && is_sane(&s->tx) ? 0 : -EPROTO;
    }
    if (!err && stream_unsent(s))
        s->watch.events |= EPOLLOUT;
    return begin(s, err);
}

int stream_keep(const struct stream *s, const char *name)
{
    return keeper_put(name, (int[]){s->watch.fd, s->memfd}, 2);
}

void stream_hang_up(struct stream *s)
{
    if (s->watch.fd < 0)
        return;
    loop_del(s->loop, &s->watch);
    close(s->watch.fd);
    s->watch.fd = -1;
}

void stream_close(struct stream *s)
{
    stream_hang_up(s);
    unmap_ring(&s->rx);
    unmap_ring(&s->tx);
    if (s->memory)
        munmap(s->memory, head_size(&s->memory->sizes));
    s->memory = NULL;
    if (s->memfd >= 0)
        close(s->memfd);
    s->memfd = -1;
}

/* ---- the socket's ends ---- */

/* Moves up to n bytes between the socket and p. Returns bytes, 0 at the end, or -errno. */
static ssize_t transfer(struct stream *s, struct end *e, uint8_t *p, size_t n,
                        int (*call)(int, struct mmsghdr *, int))
{
    struct iovec iov = {p, n};
    volatile uint32_t *moved = &e->message.msg_len;
    int done;

    *moved = 0;
    e->at = e->position;
    e->message.msg_hdr = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1};
    do
        done = call(s->watch.fd, &e->message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (done < 0 && errno == EINTR);
    if (done < 0)
        return -errno;
    e->position = e->at + *moved;
    return *moved;
}

static int receive(int fd, struct mmsghdr *m, int flags)
{
    return recvmmsg(fd, m, 1, flags & ~MSG_NOSIGNAL, NULL);
}

static int transmit(int fd, struct mmsghdr *m, int flags)
{
    return sendmmsg(fd, m, 1, flags);
}

ssize_t stream_read(struct stream *s)
{
    struct stream_ring *r = &s->rx;
    size_t room = r->size - stream_used(s);

    if (s->watch.fd < 0)
        return -EPIPE;
    if (!room)
        return 0;
    ssize_t n = transfer(s, &s->memory->rx, r->data + (r->tail & (r->size - 1)), room, receive);
    if (n == -EAGAIN)
        return 0;
    if (n <= 0)
        return n ? n : -EPIPE;
    r->tail = s->memory->rx.position;
    return n;
}

void stream_flush(struct stream *s)
{
    struct stream_ring *r = &s->tx;

    while (s->watch.fd >= 0 && stream_unsent(s)) {
        ssize_t n = transfer(s, &s->memory->tx, r->data + (r->head & (r->size - 1)),
                             stream_unsent(s), transmit);
        if (n <= 0)
            break; /* later; if the other end is gone, reading tells */
        r->head = s->memory->tx.position;
    }
    if (s->watch.fd >= 0)
        loop_want(s->loop, &s->watch, EPOLLIN | (stream_unsent(s) ? EPOLLOUT : 0));
}

/* ---- the owner's ends ---- */

void stream_consume(struct stream *s, size_t n)
{
    s->rx.head += (uint32_t)n;
}

int stream_frame(struct stream *s, struct frame *f)
{
    struct buf view = {.data = stream_head(s), .len = stream_used(s)};
    int err = frame_next(&view, f);

    if (err > 0)
        stream_consume(s, view.start);
    return err;
}

void stream_put(struct stream *s, const void *data, size_t n)
{
    struct stream_ring *r = &s->tx;

    if (s->overflow || n > r->size - stream_unsent(s)) {
        s->overflow = true;
        return;
    }
    if (n)
        memcpy(r->data + (r->tail & (r->size - 1)), data, n);
    r->tail += (uint32_t)n;
}

void stream_put_frame(struct stream *s, uint16_t type, uint16_t session, const void *payload,
                      size_t n)
{
    struct ctl_header h = {.length = (uint32_t)n, .type = type, .session = session};

    if (sizeof(h) + n > s->tx.size - stream_unsent(s)) /* all of it or nothing */
        s->overflow = true;
    stream_put(s, &h, sizeof(h));
    stream_put(s, payload, n);
}

void stream_put_u32(struct stream *s, uint16_t type, uint16_t session, uint32_t value)
{
    stream_put_frame(s, type, session, &value, sizeof(value));
}

void stream_commit(struct stream *s, const void *note, size_t n)
{
    unsigned next = !s->memory->current;
    struct slot *to = slot(s->memory, next);

    to->number = s->committed = ++commits;
    to->rx_head = s->rx.head;
    to->tx_tail = s->tx.tail;
    if (n)
        memcpy(to->note, note, n);
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* killed before this line: the last one counts */
    s->memory->current = next;
}

int stream_set_cursors(struct stream *s, uint32_t rx_head, uint32_t tx_tail)
{
    s->rx.head = rx_head;
    s->tx.tail = tx_tail;
    return is_sane(&s->rx) && is_sane(&s->tx) ? 0 : -EPROTO;
}

const void *stream_note(const struct stream *s)
{
    return slot(s->memory, s->memory->current)->note;
}
