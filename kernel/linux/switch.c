/*
 * The supervisor moves the domain between its paths (abi/control.h, SWITCH): one switch at a time,
 * in a thread of its own, since waiting for a device would hold up the control channel.
 */
#include "core/mem.h"
#include "core/thread.h"
#include "core/timer.h"
#include "linux/control.h"
#include "net/netif.h"

static struct {
    _Atomic bool busy;
    struct ctl_switch asked;
} now;

_Static_assert((int)CTL_PATH_ASKED == PATH_ASKED && (int)CTL_PATH_ATTACHED == PATH_ATTACHED,
               "the reasons are the same numbers");

static uint32_t wire_kind(enum path_kind kind)
{
    return kind == PATH_DIRECT   ? CTL_PATH_DIRECT
           : kind == PATH_SERVER ? CTL_PATH_SERVER
                                 : CTL_PATH_NONE;
}

/* The interface that has paths to choose from. */
static bool take_first(struct netif *n, void *arg)
{
    struct netif **out = arg;

    *out = n->flags & NETIF_LOOPBACK ? NULL : n;
    return !*out;
}

static struct netif *interface(void)
{
    struct netif *n = NULL;

    netif_for_each(take_first, &n);
    return n;
}

static void answer(const struct ctl_switch *asked, const struct netif_switched *s, int err)
{
    struct ctl_switched a = {.id = asked->id,
                             .path = wire_kind(s->kind),
                             .error = (uint32_t)-err,
                             .moved = s->stall > 0,
                             .stall_ns = (uint64_t)s->stall,
                             .drain_ns = (uint64_t)s->drain};

    control_send(CTL_SWITCHED, 0, &a, sizeof(a));
}

static void switch_thread(void *arg)
{
    enum path_kind kind = now.asked.path == CTL_PATH_DIRECT ? PATH_DIRECT : PATH_SERVER;
    nsec_t deadline = time_now() + now.asked.timeout_ms * NSEC_PER_MSEC;
    struct ctl_switch asked = now.asked;
    struct netif_switched s = {0};
    struct netif *n = interface();
    int err = n ? netif_switch(n, kind, deadline, &s) : -ENODEV;

    (void)arg;
    now.busy = false;
    answer(&asked, &s, err);
    thread_exit();
}

void switch_path(const uint8_t *payload, size_t len)
{
    struct ctl_switch asked = {0};
    int err = 0;

    memcpy(&asked, payload, MIN(len, sizeof(asked)));
    if (len != sizeof(asked) || asked.timeout_ms > CTL_SWITCH_TIMEOUT_MAX ||
        (asked.path != CTL_PATH_DIRECT && asked.path != CTL_PATH_SERVER))
        err = -EINVAL;
    else if (atomic_exchange(&now.busy, true))
        err = -EBUSY;
    if (!err) {
        now.asked = asked;
        err = thread_create(NULL, switch_thread, NULL, "switch");
        if (err)
            now.busy = false;
    }
    if (err)
        answer(&asked, &(struct netif_switched){0}, err);
}

static void on_path(struct netif *n, enum path_kind kind, enum path_reason why)
{
    struct ctl_path c = {.path = wire_kind(kind), .reason = why};

    klog(LOG_INFO, "%s: path %s", n->name,
         kind == PATH_DIRECT   ? "direct"
         : kind == PATH_SERVER ? "server"
                               : "none");
    if (n == interface())
        control_send(CTL_PATH, 0, &c, sizeof(c));
}

void switch_init(void)
{
    netif_path_hook = on_path;
}
