/* The table of a dead supervisor: see nettable.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "keeper.h"
#include "nettable.h"

/* Takes over a region whose numbers are in *r. Returns 0 or -errno. */
static int take_region(const struct nettable *t, const char *what, struct ivshmem *r)
{
    char *key = xasprintf("%s %s", t->key, what);
    int fds[FDPASS_MAX], n = keeper_get(key, fds, FDPASS_MAX);

    free(key);
    r->memory = NULL;
    r->memfd = -1;
    memset(r->eventfd, -1, sizeof(r->eventfd));
    return n < 0 ? n : ivshmem_adopt(r, fds, (unsigned)n);
}

static int take_private(struct nettable *t)
{
    char *key = xasprintf("%s private", t->key);
    int n = keeper_get(key, &t->memfd, 1);

    free(key);
    if (n != 1)
        return n < 0 ? n : -EPROTO;
    if (lseek(t->memfd, 0, SEEK_END) != sizeof(*t->kept))
        return -EPROTO;
    int err = nettable_map(t);
    return err                                                               ? err
           : t->kept->size == sizeof(*t->kept) && t->kept->made <= NET_SLOTS ? 0
                                                                             : -EPROTO;
}

/* Its owner died while it was given a block. */
static void complete_block(struct nettable *t, unsigned block)
{
    for (unsigned i = 0; i < 2 * NET_BLOCK_PORTS; i++)
        t->owners[i & 1][NET_BLOCK_FIRST + block * NET_BLOCK_PORTS + (i >> 1)] = t->blocks[block];
}

/* The numbers that follow from who owns which port; what nobody has any more is free. */
static void count_ports(struct nettable *t)
{
    for (unsigned i = 0; i < NET_SLOTS; i++)
        t->channels[i].blocks = t->channels[i].claims = 0;
    for (unsigned b = 0; b < NET_BLOCKS; b++) {
        unsigned slot = t->blocks[b] - 1u;
        if (slot < t->made && t->channels[slot].state == SLOT_GRANTED) {
            t->channels[slot].blocks++;
            complete_block(t, b);
        } else {
            t->blocks[b] = 0;
        }
    }
    for (unsigned i = 0; i < 2 * 65536; i++) {
        uint16_t *owner = &t->owners[i & 1][i >> 1];
        unsigned slot = *owner - 1u;
        if (slot >= t->made || t->channels[slot].state != SLOT_GRANTED)
            *owner = 0;
        else if (nettable_is_claimed(t, slot, i & 1, (uint16_t)(i >> 1)))
            t->channels[slot].claims++;
    }
}

int nettable_restore(struct nettable *t, const char *key)
{
    memset(t, 0, sizeof(*t));
    snprintf(t->key, sizeof(t->key), "%s", key);
    t->memfd = t->region.memfd = -1;
    t->region =
        (struct ivshmem){.slot = NET_TABLE_SLOT, .vectors = 1, .size = NET_TABLE_SIZE, .memfd = -1};
    int err = take_private(t);
    if (!err)
        err = take_region(t, "table", &t->region);
    while (!err && t->made < t->kept->made) {
        char *what = xasprintf(NETTABLE_CHANNEL "%u", t->made);
        err = take_region(t, what, &t->channels[t->made].region);
        free(what);
        t->made += !err;
    }
    if (err)
        return err;
    count_ports(t);
    nettable_rewrite(t);
    t->ping = ((const struct net_table *)t->region.memory)->ping;
    return 0;
}

void nettable_sweep(struct nettable *t, const bool used[NET_SLOTS])
{
    for (unsigned i = 0; i < t->made; i++)
        if (t->channels[i].state == SLOT_GRANTED && !used[i])
            nettable_revoke(t, i);
    nettable_ring(t);
}

void nettable_set_note(struct nettable *t, const void *note, size_t n)
{
    unsigned next = !t->kept->current;

    memcpy(t->kept->note[next], note, n);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    t->kept->current = next;
}

const void *nettable_note(const struct nettable *t)
{
    return t->kept->note[t->kept->current & 1];
}
