/*
 * virtio-console / virtio-serial (virtio 1.2, 5.3): byte-stream ports, drivers/console.h.
 *
 * Without MULTIPORT there is port 0, always open. With it, ports are announced over a control
 * queue: we answer each PORT_ADD with PORT_READY and PORT_OPEN, and learn by PORT_OPEN whether
 * somebody on the host is connected; until then the device would discard what we send, so writes
 * are not accepted.
 *
 * A write is copied into one buffer and sent as one descriptor; sent buffers are freed at the next
 * read or write. At most SEND_LIMIT bytes are in flight: beyond that the writer waits for an
 * interrupt. Received data stays in the pages the device filled until it is read.
 */
#include "core/deferred.h"
#include "core/lock.h"
#include "core/recheck.h"
#include "drivers/console.h"
#include "drivers/virtio.h"

#define CONSOLE_F_MULTIPORT (1ull << 1)
#define CONFIG_MAX_PORTS 4

enum {
    DEVICE_READY,
    PORT_ADD,
    PORT_REMOVE,
    PORT_READY,
    CONSOLE_PORT,
    RESIZE,
    PORT_OPEN,
    PORT_NAME
};

struct console_control {
    uint32_t id;
    uint16_t event;
    uint16_t value;
};

#define MAX_PORTS 4u /* further ones of a device are left alone */
#define RECEIVE_PAGES 16
#define SEND_LIMIT (128u * 1024)
#define SEND_CHUNK 65536u
#define CONTROL_BUFFERS 16
#define CONTROL_BUFFER 256u

struct send_buffer {
    uint32_t len;
    uint8_t data[];
};

struct port {
    struct char_port port;
    struct console *console;
    uint32_t number;
    bool present;    /* announced; its receive queue is filled */
    bool connected;  /* somebody on the host's side has it open */
    bool failed;     /* the device is gone or misbehaved */
    spinlock_t lock; /* receive and send state below; taken in thread context only */
    struct virtq rx, tx;
    struct page *page; /* received and partly read; descriptor `head` */
    int head;
    uint32_t at, end; /* what of it is unread */
    uint32_t in_flight;
};

struct console {
    struct virtio_device *dev;
    bool multiport;
    unsigned nports;
    struct irq irq;
    struct work work;       /* control messages */
    struct recheck recheck; /* of all queues, while there is a device */
    struct virtq control_rx, control_tx;
    struct port *ports[MAX_PORTS];
    struct console *next; /* retired */
};

static struct console *first_console;
/* Consoles whose device is gone. They wait for another one: holders of their ports may still look.
 */
static struct console *retired;

static uint16_t rx_queue(unsigned port)
{
    return (uint16_t)(port ? 2 * port + 2 : 0);
}

/* --- receive ---------------------------------------------------------------------------------- */

static int fill(struct port *p)
{
    for (int i = 0; i < RECEIVE_PAGES && p->rx.num_free; i++) {
        struct page *page = page_alloc(0, 0);
        if (!page)
            return i ? 0 : -ENOMEM;
        struct virtq_seg seg = {page_addr(page), PAGE_SIZE};
        virtq_add(&p->rx, &seg, 0, 1, page);
    }
    virtq_irq_enable(&p->rx);
    virtq_kick(&p->rx);
    return 0;
}

/* Makes sure there is unread data; false if nothing has arrived. Under the port's lock. */
static bool next_page(struct port *p)
{
    uint32_t len;

    while (p->at == p->end) {
        if (p->page) {
            virtq_requeue(&p->rx, (unsigned)p->head);
            p->page = NULL;
        }
        p->head = virtq_pop(&p->rx, &len);
        if (p->head < 0) {
            virtq_kick(&p->rx);
            if (!virtq_irq_enable(&p->rx))
                return false;
            continue;
        }
        if (len > PAGE_SIZE) {
            virtq_break(&p->rx, "more data than the buffer holds");
            len = 0;
        }
        p->page = p->rx.slots[p->head].cookie;
        p->at = 0;
        p->end = len;
    }
    return true;
}

static void reclaim(struct port *p)
{
    uint32_t len;
    int head;

    while ((head = virtq_pop(&p->tx, &len)) >= 0) {
        struct send_buffer *b = p->tx.slots[head].cookie;
        virtq_free(&p->tx, (unsigned)head);
        p->in_flight -= b->len;
        kfree(b);
    }
}

static ssize_t read_some(struct char_port *port, void *buf, size_t n)
{
    struct port *p = container_of(port, struct port, port);
    size_t done = 0;

    spin_lock(&p->lock);
    if (p->present && !p->failed) {
        while (done < n && next_page(p)) {
            uint32_t part = (uint32_t)MIN(n - done, (size_t)(p->end - p->at));
            memcpy((char *)buf + done, (char *)page_addr(p->page) + p->at, part);
            p->at += part;
            done += part;
        }
        reclaim(p);
        recheck_later(&p->console->recheck);
    }
    bool bad = p->failed || p->rx.broken;
    spin_unlock(&p->lock);
    return bad && !done ? -EIO : (ssize_t)done;
}

static bool can_read(struct char_port *port)
{
    struct port *p = container_of(port, struct port, port);

    return p->failed || p->rx.broken || (p->present && (p->at != p->end || virtq_pending(&p->rx)));
}

/* --- send ------------------------------------------------------------------------------------- */

/* Room for another buffer? If not, an interrupt is requested. Under the port's lock. */
static bool room(struct port *p)
{
    do {
        reclaim(p);
        if (p->in_flight < SEND_LIMIT && p->tx.num_free)
            return true;
    } while (virtq_irq_enable(&p->tx));
    recheck_later(&p->console->recheck);
    return false;
}

static ssize_t send_chunk(struct port *p, const void *buf, uint32_t n)
{
    struct send_buffer *b;

    while (!(b = kmalloc(sizeof(*b) + n))) {
        if (n <= 1024)
            return 0;
        n /= 2; /* no contiguous memory: smaller pieces do as well */
    }
    b->len = n;
    memcpy(b->data, buf, n);
    struct virtq_seg seg = {b->data, n};
    virtq_add(&p->tx, &seg, 1, 0, b);
    p->in_flight += n;
    return (ssize_t)n;
}

static ssize_t write_some(struct char_port *port, const void *buf, size_t n)
{
    struct port *p = container_of(port, struct port, port);
    size_t done = 0;

    spin_lock(&p->lock);
    while (done < n && p->connected && !p->failed && !p->tx.broken && room(p)) {
        uint32_t part = (uint32_t)MIN(n - done, (size_t)MIN(SEND_CHUNK, SEND_LIMIT - p->in_flight));
        ssize_t sent = send_chunk(p, (const char *)buf + done, part);
        if (sent <= 0)
            break;
        done += (size_t)sent;
    }
    if (done) {
        virtq_kick(&p->tx);
        recheck_later(&p->console->recheck);
    }
    bool bad = p->failed || p->tx.broken;
    spin_unlock(&p->lock);
    return bad ? -EIO : (ssize_t)done;
}

static bool can_write(struct char_port *port)
{
    struct port *p = container_of(port, struct port, port);
    bool yes;

    spin_lock(&p->lock);
    yes = p->failed || p->tx.broken || (p->connected && room(p));
    spin_unlock(&p->lock);
    return yes;
}

/* Has the host taken everything? If not, an interrupt is requested. */
static bool all_sent(struct char_port *port)
{
    struct port *p = container_of(port, struct port, port);
    bool yes;

    spin_lock(&p->lock);
    do {
        reclaim(p);
        yes = !p->in_flight || p->failed || p->tx.broken;
    } while (!yes && virtq_irq_enable(&p->tx));
    if (!yes)
        recheck_later(&p->console->recheck);
    spin_unlock(&p->lock);
    return yes;
}

static const struct char_port_ops port_ops = {
    .read_some = read_some,
    .write_some = write_some,
    .can_read = can_read,
    .can_write = can_write,
    .all_sent = all_sent,
};

/* --- control messages ------------------------------------------------------------------------- */

static void control_send(struct console *c, uint32_t id, uint16_t event, uint16_t value)
{
    struct virtq *vq = &c->control_tx;
    struct console_control *m;
    uint32_t len;
    int head;

    while ((head = virtq_pop(vq, &len)) >= 0) {
        kfree(vq->slots[head].cookie);
        virtq_free(vq, (unsigned)head);
    }
    m = kmalloc(sizeof(*m));
    if (m) {
        *m = (struct console_control){id, event, value};
        struct virtq_seg seg = {m, sizeof(*m)};
        if (virtq_add(vq, &seg, 1, 0, m)) {
            virtq_kick(vq);
            return;
        }
    }
    kfree(m);
    klog(LOG_ERROR, "%s: port %u: control message %u lost", c->dev->name, id, event);
}

static void wake_port(struct port *p)
{
    wake_up(&p->port.readable);
    wake_up(&p->port.writable);
}

static void port_add(struct console *c, struct port *p)
{
    if (p->present)
        return;
    if (fill(p)) {
        control_send(c, p->number, PORT_READY, 0);
        return;
    }
    p->failed = false;
    p->present = true;
    control_send(c, p->number, PORT_READY, 1);
    control_send(c, p->number, PORT_OPEN, 1);
}

static void control_message(struct console *c, const struct console_control *m)
{
    struct port *p = m->id < c->nports ? c->ports[m->id] : NULL;

    if (!p)
        return; /* a port we do not use */
    switch (m->event) {
    case PORT_ADD:
        port_add(c, p);
        break;
    case PORT_REMOVE:
        p->connected = false;
        p->failed = true;
        break;
    case CONSOLE_PORT:
        control_send(c, p->number, PORT_OPEN, 1);
        break;
    case PORT_OPEN:
        p->connected = m->value;
        break;
    default: /* names and sizes are of no interest */
        return;
    }
    wake_port(p);
}

static void control_work(struct work *w)
{
    struct console *c = container_of(w, struct console, work);
    uint32_t len;
    int head;

    if (!c->control_rx.ring)
        return; /* the device was removed, by this same thread */
    do {
        while ((head = virtq_pop(&c->control_rx, &len)) >= 0) {
            struct console_control m;
            memcpy(&m, c->control_rx.slots[head].cookie, sizeof(m));
            virtq_requeue(&c->control_rx, (unsigned)head);
            if (len >= sizeof(m))
                control_message(c, &m);
        }
        virtq_kick(&c->control_rx);
    } while (virtq_irq_enable(&c->control_rx));
    recheck_later(&c->recheck);
}

/* One vector for all queues: whoever waits looks for himself. */
static void console_irq(struct irq *irq)
{
    struct console *c = irq->owner;

    if (c->multiport && virtq_pending(&c->control_rx))
        work_schedule(&c->work);
    for (unsigned i = 0; i < c->nports; i++)
        wake_port(c->ports[i]);
}

/* See core/recheck.h. No lock: threads that hold a port's are not disturbed by what is done here.
 */
static void console_look(struct recheck *r)
{
    struct console *c = container_of(r, struct console, recheck);

    if (c->multiport) {
        virtq_kick_again(&c->control_rx);
        virtq_kick_again(&c->control_tx);
        if (virtq_pending(&c->control_rx))
            work_schedule(&c->work);
    }
    for (unsigned i = 0; i < c->nports; i++) {
        struct port *p = c->ports[i];
        if (!p->present || p->failed)
            continue;
        virtq_kick_again(&p->rx);
        virtq_kick_again(&p->tx);
        if (virtq_pending(&p->rx))
            wake_up(&p->port.readable);
        if (virtq_pending(&p->tx))
            wake_up(&p->port.writable);
    }
}

/* --- set-up ----------------------------------------------------------------------------------- */

static int control_init(struct console *c)
{
    int err = virtio_queue(c->dev, 2, CONTROL_BUFFERS, 0, &c->control_rx);

    if (!err)
        err = virtio_queue(c->dev, 3, CONTROL_BUFFERS, 0, &c->control_tx);
    for (unsigned i = 0; !err && i < CONTROL_BUFFERS && c->control_rx.num_free; i++) {
        struct virtq_seg seg = {kmalloc(CONTROL_BUFFER), CONTROL_BUFFER};
        if (!seg.addr)
            return -ENOMEM;
        virtq_add(&c->control_rx, &seg, 0, 1, seg.addr);
    }
    if (!err)
        virtq_irq_disable(&c->control_tx);
    return err;
}

static int port_init(struct console *c, unsigned number)
{
    struct port *p = c->ports[number];
    int err;

    if (!p) {
        p = kzalloc(sizeof(*p));
        if (!p)
            return -ENOMEM;
        p->port.ops = &port_ops;
        wait_queue_init(&p->port.readable);
        wait_queue_init(&p->port.writable);
        spin_init(&p->lock);
        p->console = c;
        p->number = number;
        c->ports[number] = p;
    }
    p->failed = false;
    err = virtio_queue(c->dev, rx_queue(number), 64, 0, &p->rx);
    if (!err)
        err = virtio_queue(c->dev, rx_queue(number) + 1, 64, 0, &p->tx);
    if (!err)
        virtq_irq_disable(&p->tx);
    return err;
}

/* Frees what the device held. The port objects stay: somebody may still hold a pointer to them. */
static void queues_free(struct console *c)
{
    void *b;

    recheck_stop(&c->recheck);
    for (unsigned i = 0; i < MAX_PORTS && c->ports[i]; i++) {
        struct port *p = c->ports[i];
        spin_lock(&p->lock);
        p->failed = true;
        p->present = p->connected = false;
        if (p->page)
            page_put(p->page);
        p->page = NULL;
        p->at = p->end = 0;
        while ((b = virtq_drain(&p->rx)))
            page_put(b);
        while ((b = virtq_drain(&p->tx)))
            kfree(b);
        p->in_flight = 0;
        virtq_destroy(&p->rx);
        virtq_destroy(&p->tx);
        spin_unlock(&p->lock);
        wake_port(p);
    }
    while ((b = virtq_drain(&c->control_rx)))
        kfree(b);
    while ((b = virtq_drain(&c->control_tx)))
        kfree(b);
    virtq_destroy(&c->control_rx);
    virtq_destroy(&c->control_tx);
}

static int start(struct console *c)
{
    struct virtio_device *dev = c->dev;
    uint32_t max_ports = 1;
    int err = 0;

    c->multiport = virtio_has(dev, CONSOLE_F_MULTIPORT);
    if (c->multiport)
        virtio_config(dev, CONFIG_MAX_PORTS, &max_ports, sizeof(max_ports));
    c->nports = MAX(1u, MIN(max_ports, MAX_PORTS));
    work_init(&c->work, control_work);
    recheck_init(&c->recheck, console_look);
    c->irq = (struct irq){.handler = console_irq, .owner = c, .name = dev->name};
    if (c->multiport)
        err = control_init(c);
    for (unsigned i = 0; i < c->nports && !err; i++)
        err = port_init(c, i);
    if (!err) /* not before: the handler looks at all of them */
        err = virtio_vector(dev, 0, &c->irq, 0);
    if (!err)
        return 0;
    virtio_fail(dev);
    queues_free(c);
    return err;
}

static void retire(struct console *c)
{
    c->next = retired;
    retired = c;
}

static int console_probe(struct virtio_device *dev)
{
    struct console *c = retired;
    int err = virtio_negotiate(dev, VIRTIO_F_EVENT_IDX | CONSOLE_F_MULTIPORT);

    if (err)
        return err;
    if (c)
        retired = c->next;
    else if (!(c = kzalloc(sizeof(*c))))
        return -ENOMEM;
    c->dev = dev;
    err = start(c);
    if (err) {
        retire(c);
        return err;
    }
    dev->data = c;
    virtio_ready(dev);
    if (c->multiport) {
        virtq_irq_enable(&c->control_rx);
        virtq_kick(&c->control_rx);
        control_send(c, 0, DEVICE_READY, 1);
        recheck_later(&c->recheck);
    } else {
        c->ports[0]->present = c->ports[0]->connected = !fill(c->ports[0]);
    }
    if (!first_console)
        first_console = c;
    return 0;
}

static void console_remove(struct virtio_device *dev)
{
    struct console *c = dev->data;

    virtio_reset(dev);
    virtio_vector_free(dev, 0, &c->irq);
    queues_free(c);
    if (first_console == c)
        first_console = NULL;
    retire(c);
}

struct char_port *char_port_find(int number)
{
    struct console *c = first_console;

    if (!c || number < 0 || (unsigned)number >= c->nports)
        return NULL;
    return &c->ports[number]->port;
}

const struct virtio_driver virtio_console_driver = {
    .id = VIRTIO_ID_CONSOLE,
    .name = "virtio-console",
    .probe = console_probe,
    .remove = console_remove,
};
