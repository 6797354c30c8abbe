/* The frames of the domain's interfaces as records of a monitor (linux/monitor.h, MONITOR_FRAMES).
 */
#include "abi/control.h"
#include "core/timer.h"
#include "linux/monitor.h"
#include "net/netif.h"

static void add_packet(struct monitor *m, const struct pkt *p, uint32_t n)
{
    uint32_t part = MIN(n, p->linear);
    monitor_add(m, p->data, part);
    n -= part;
    for (unsigned i = 0; n; i++) {
        part = MIN(n, p->frags[i].len);
        monitor_add(m, pkt_frag_addr(p, &p->frags[i]), part);
        n -= part;
    }
}

/* In the middle of sending or receiving: does not wait. */
static void on_frame(const struct net_path *path, const struct pkt *p, bool out)
{
    struct monitor *m = path->kind == PATH_LOOPBACK ? NULL : monitor_get(MONITOR_FRAMES);
    if (!m)
        return;
    uint32_t room =
        MONITOR_RECORD_MAX - sizeof(struct monitor_record) - sizeof(struct monitor_frame);
    struct monitor_frame f = {
        .length = p->len,
        .captured = MIN(MIN(p->len, monitor_asked(m)->snap), room),
        .out = out,
        .path = path->kind == PATH_SERVER ? CTL_PATH_SERVER : CTL_PATH_DIRECT,
    };
    struct monitor_record h = {.type = MONITOR_FRAME, .time = (uint64_t)time_realtime()};
    h.length = (uint32_t)(sizeof(h) + sizeof(f) + f.captured + 7) & ~7u;
    if (monitor_begin(m, &h)) {
        monitor_add(m, &f, sizeof(f));
        add_packet(m, p, f.captured);
        monitor_end(m);
    }
    monitor_put(m);
}

int frames_arm(const struct ctl_monitor *ask)
{
    __atomic_store_n(&netif_frame_hook, ask ? on_frame : NULL, __ATOMIC_RELEASE);
    return 0;
}
