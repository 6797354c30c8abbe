/*
 * Random numbers: ChaCha20 (RFC 8439 2.3) in counter mode with fast key erasure: each block's first
 * half becomes the next key, so that what was handed out cannot be computed from a later state. One
 * generator per CPU; all are seeded from the machine's entropy instruction, the clock and each
 * other.
 */
#include "core/rand.h"

#include "arch/arch.h"
#include "arch/cpu.h"
#include "core/timer.h"

#define BLOCK 64
#define KEY 32

struct generator {
    uint32_t key[KEY / 4];
    uint64_t nonce;
    uint8_t ready[BLOCK - KEY]; /* unused output; what was used is cleared */
    unsigned left;
    bool seeded;
};

static PERCPU struct generator generator;

static inline uint32_t rotl(uint32_t x, int n)
{
    return x << n | x >> (32 - n);
}

static inline void quarter(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d)
{
    *a += *b;
    *d = rotl(*d ^ *a, 16);
    *c += *d;
    *b = rotl(*b ^ *c, 12);
    *a += *b;
    *d = rotl(*d ^ *a, 8);
    *c += *d;
    *b = rotl(*b ^ *c, 7);
}

static void chacha_block(const uint32_t key[8], uint64_t nonce, uint32_t out[16])
{
    uint32_t in[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    memcpy(in + 4, key, KEY);
    memcpy(in + 14, &nonce, sizeof(nonce));
    memcpy(out, in, BLOCK);
    for (int i = 0; i < 10; i++) {
        for (int j = 0; j < 4; j++)
            quarter(&out[j], &out[4 + j], &out[8 + j], &out[12 + j]);
        for (int j = 0; j < 4; j++)
            quarter(&out[j], &out[4 + (j + 1) % 4], &out[8 + (j + 2) % 4], &out[12 + (j + 3) % 4]);
    }
    for (int i = 0; i < 16; i++)
        out[i] += in[i];
}

static void seed(struct generator *g)
{
    static _Atomic uint64_t boot_count;
    for (int i = 0; i < KEY / 8; i++) {
        uint64_t v = 0;
        if (!arch_entropy(&v))
            v = (uint64_t)time_now() * 0x9e3779b97f4a7c15ULL;
        v ^= (uint64_t)time_now() << 17 ^ (uint64_t)time_realtime() ^ ++boot_count << 56;
        g->key[2 * i] ^= (uint32_t)v;
        g->key[2 * i + 1] ^= (uint32_t)(v >> 32);
    }
    g->seeded = true;
}

static void refill(struct generator *g)
{
    uint32_t block[16];
    chacha_block(g->key, g->nonce++, block);
    memcpy(g->key, block, KEY);
    memcpy(g->ready, block + KEY / 4, sizeof(g->ready));
    g->left = sizeof(g->ready);
    memset(block, 0, sizeof(block));
}

void rand_bytes(void *buf, size_t n)
{
    uint8_t *to = buf;
    while (n) {
        /* Off for one block at a time: rand_bytes is used in any context. */
        unsigned long flags = arch_irq_save();
        struct generator *g = cpu_local(generator);
        if (!g->seeded)
            seed(g);
        if (!g->left)
            refill(g);
        size_t part = MIN(n, (size_t)g->left);
        uint8_t *from = g->ready + sizeof(g->ready) - g->left;
        memcpy(to, from, part);
        memset(from, 0, part);
        g->left -= (unsigned)part;
        arch_irq_restore(flags);
        to += part;
        n -= part;
    }
}
