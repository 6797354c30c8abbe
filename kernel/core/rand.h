/* Random numbers: a ChaCha20 generator seeded from RDRAND/RDSEED, timing jitter and the supervisor.
 */
#ifndef CORE_RAND_H
#define CORE_RAND_H

#include "core/base.h"

/* Cryptographically strong; any context. */
void rand_bytes(void *buf, size_t n);
static inline uint32_t rand_u32(void)
{
    uint32_t v;
    rand_bytes(&v, sizeof(v));
    return v;
}
static inline uint64_t rand_u64(void)
{
    uint64_t v;
    rand_bytes(&v, sizeof(v));
    return v;
}
/* Keyed hash for tables whose keys come from outside (SipHash-2-4). */
uint64_t siphash(const void *data, size_t n, const uint64_t key[2]);

#endif
