/*
 * Random numbers: per CPU a ChaCha20 generator (RFC 8439's block function) that replaces its key
 * with the first 32 bytes of every batch of output, so earlier output cannot be computed from its
 * state
 * ("fast key erasure").
 */
#include "core/rand.h"

#include "arch/arch.h"
#include "arch/clock.h"
#include "core/main.h"
#include "core/timer.h"

#define BATCH_BLOCKS 4
#define JITTER_ROUNDS 64

struct generator {
    uint32_t key[8];
    uint8_t output[BATCH_BLOCKS * 64];
    uint32_t left; /* unused bytes at the end of output */
    bool seeded;
};
static PERCPU struct generator generator;

static uint64_t pool[4]; /* what CPUs are seeded from */
static spinlock_t pool_lock;

#define ROTL32(x, n) ((x) << (n) | (x) >> (32 - (n)))

static void quarter(uint32_t *x, int a, int b, int c, int d)
{
    x[a] += x[b];
    x[d] = ROTL32(x[d] ^ x[a], 16);
    x[c] += x[d];
    x[b] = ROTL32(x[b] ^ x[c], 12);
    x[a] += x[b];
    x[d] = ROTL32(x[d] ^ x[a], 8);
    x[c] += x[d];
    x[b] = ROTL32(x[b] ^ x[c], 7);
}

static void chacha_block(const uint32_t key[8], uint32_t counter, uint8_t out[64])
{
    uint32_t in[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}, x[16];

    memcpy(in + 4, key, 32);
    in[12] = counter;
    memcpy(x, in, sizeof(x));
    for (int i = 0; i < 10; i++) {
        quarter(x, 0, 4, 8, 12);
        quarter(x, 1, 5, 9, 13);
        quarter(x, 2, 6, 10, 14);
        quarter(x, 3, 7, 11, 15);
        quarter(x, 0, 5, 10, 15);
        quarter(x, 1, 6, 11, 12);
        quarter(x, 2, 7, 8, 13);
        quarter(x, 3, 4, 9, 14);
    }
    for (int i = 0; i < 16; i++)
        x[i] += in[i];
    memcpy(out, x, 64);
}

/* Mixes a value into the pool. */
static void stir(uint64_t value)
{
    for (uint64_t i = 0; i < 4; i++)
        pool[i] = siphash(&value, sizeof(value), (uint64_t[2]){pool[i] ^ i, pool[(i + 1) & 3]});
}

void rand_init(void)
{
    uint64_t value;

    for (int i = 0; i < 4; i++) {
        if (arch_entropy(&value))
            stir(value);
    }
    /* Without an instruction for it: the jitter of the counter, which an emulator has plenty of. */
    for (int i = 0; i < JITTER_ROUNDS; i++)
        stir(arch_counter());
    stir((uint64_t)time_realtime());
}

static void seed(struct generator *g)
{
    unsigned long flags = spin_lock_irqsave(&pool_lock);
    stir(arch_counter());
    memcpy(g->key, pool, sizeof(g->key));
    stir(arch_counter());
    spin_unlock_irqrestore(&pool_lock, flags);
    g->seeded = true;
}

static void refill(struct generator *g)
{
    if (!g->seeded)
        seed(g);
    for (uint32_t i = 0; i < BATCH_BLOCKS; i++)
        chacha_block(g->key, i, g->output + (size_t)i * 64);
    memcpy(g->key, g->output, sizeof(g->key));
    memset(g->output, 0, sizeof(g->key));
    g->left = sizeof(g->output) - sizeof(g->key);
}

void rand_bytes(void *buf, size_t n)
{
    uint8_t *p = buf;

    while (n) {
        unsigned long flags = arch_irq_save();
        struct generator *g = cpu_local(generator);
        if (!g->left)
            refill(g);
        uint32_t part = (uint32_t)MIN(n, (size_t)g->left);
        uint8_t *from = g->output + sizeof(g->output) - g->left;
        memcpy(p, from, part);
        memset(from, 0, part);
        g->left -= part;
        arch_irq_restore(flags);
        p += part;
        n -= part;
    }
}
