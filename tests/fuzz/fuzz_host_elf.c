/* What the packer reads of files it does not trust: ELF images and dpkg's dependency fields. */
#define _GNU_SOURCE
#include "host/dpkg.h"
#include "host/elfinfo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct elf_info e;
    struct strv names = {0};

    elf_parse(data, size, &e);
    elf_free(&e);
    dpkg_parse_depends((const char *)data, size, &names);
    strv_free(&names);
    return 0;
}
