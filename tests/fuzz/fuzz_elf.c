/* libFuzzer target: the ELF parser must refuse or produce segments that keep its promises. */
#include "linux/elf_image.h"

#define FUZZ_USER_MAX 0x7ffffffff000ull

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct elf_info info;
    if (elf_parse_header(data, size, size, &info))
        return 0;
    if (elf_parse_segments(data + info.phoff, size, FUZZ_USER_MAX, &info))
        return 0;
    uint64_t at = info.low;
    for (unsigned i = 0; i < info.nsegs; i++) {
        const struct elf_segment *s = &info.segs[i];
        ASSERT((s->vaddr & PAGE_MASK) >= at && s->memsz >= s->filesz && s->filesz <= size);
        ASSERT(s->offset <= size - s->filesz && s->vaddr + s->memsz <= FUZZ_USER_MAX);
        ASSERT(((s->vaddr ^ s->offset) & ~PAGE_MASK) == 0);
        at = ROUND_UP(s->vaddr + s->memsz, PAGE_SIZE);
    }
    ASSERT(at == info.high && (info.align & (info.align - 1)) == 0 && info.align >= PAGE_SIZE);
    ASSERT(info.interp_len <= size && info.interp_off <= size - info.interp_len);
    return 0;
}
