/* A hostile or broken server against the application's end of a channel. */
#include "channel_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_channel(data, size, false);
}
