/* A hostile domain on the virtual network: arbitrary bytes on its port's stream. */
#define _GNU_SOURCE
#include <stdlib.h>

#include "host/netport.h"
#include "host/synack.h"

struct sink {
    struct switch_port port;
    uint64_t bytes;
};

static struct synack_memory synacks;
static uint8_t copy[SYNACK_MAX];

static bool take(struct switch_port *p, const uint8_t *frame, size_t n)
{
    struct sink *s = (struct sink *)p;

    if (n < ETH_HEADER || n > ETH_FRAME_MAX)
        abort();
    for (size_t i = 0; i < n; i++)
        s->bytes += frame[i];
    synack_without_repeated_mss(&synacks, frame, n, copy);
    return s->bytes & 7;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct net_switch sw = {0};
    struct sink sinks[2] = {{.port.deliver = take}, {.port.deliver = take}};
    struct netport p = {.sw = &sw, .port.deliver = take};

    switch_add_port(&sw, &p.port);
    switch_add_port(&sw, &sinks[0].port);
    switch_add_port(&sw, &sinks[1].port);
    /* In two parts, as a stream may bring it. */
    size_t half = size ? data[0] * size / 256 : 0;
    buf_append(&p.rx, data, half);
    if (!netport_parse(&p, &p.rx)) {
        buf_append(&p.rx, data + half, size - half);
        netport_parse(&p, &p.rx);
    }
    switch_flush(&sw);
    buf_free(&p.rx);
    return 0;
}
