/* A hostile application domain against the server's end of a channel. */
#include "channel_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_channel(data, size, true);
}
