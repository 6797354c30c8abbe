/* A hostile domain: arbitrary bytes as the records of a monitor, shown as lines and as a summary.
 */
#include <stdlib.h>

#include "host/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf stream = {0}, out = {0};
    struct trace_lines lines = {.options = {.times = true, .durations = true}};
    struct trace_summary *summary = xcalloc(1, sizeof(*summary));
    struct record r;

    buf_append(&stream, data, size);
    while (record_next(&stream, &r) > 0) {
        trace_lines_record(&lines, &r, &out);
        trace_summary_record(summary, &r);
    }
    trace_lines_unfinished(&lines, true, &out);
    trace_summary_put(summary, &out);
    for (size_t i = 0; i < out.len; i++)
        if (out.data[i] != '\n' && (out.data[i] < 0x20 || out.data[i] >= 0x7f))
            abort(); /* what would reach a terminal */
    trace_lines_free(&lines);
    free(summary);
    buf_free(&stream);
    buf_free(&out);
    return 0;
}
