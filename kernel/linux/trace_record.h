/* What arguments of a traced call point to, copied for its record (abi/monitor.h). */
#ifndef LINUX_TRACE_RECORD_H
#define LINUX_TRACE_RECORD_H

#include "core/base.h"

/* The payload of a record that is being put together. */
struct capture {
    size_t len;
    uint8_t data[8192];
};

/* Appends n bytes, filled up to a multiple of 8; what does not fit is left out whole. False then.
 */
bool capture_put(struct capture *c, const void *data, size_t n);
/* Appends a capture of each argument that leads somewhere: result NULL: at the entry, what the call
 * reads; else what it wrote. At most `snap` bytes of a buffer. Thread context of the caller. */
void capture_args(struct capture *c, unsigned nr, const uint64_t args[6], const long *result,
                  uint32_t snap);

#endif
