/*
 * Reading ELF executables: from the bytes of a file to what is to be mapped. Knows nothing of
 * processes or memory, so it is tested and fuzzed on the host. Specification: System V ABI, x86-64
 * supplement.
 */
#ifndef LINUX_ELF_IMAGE_H
#define LINUX_ELF_IMAGE_H

#include "core/base.h"

#define ELF_MAX_PHDRS 64
#define ELF_MAX_SEGMENTS 32
#define ELF_PHDR_SIZE 56u
#define ELF_HEADER_SIZE 64u

struct elf_segment {
    uint64_t vaddr;  /* as linked; add the load bias for a shared object */
    uint64_t offset; /* in the file; congruent with vaddr modulo the page size */
    uint64_t filesz, memsz;
    unsigned prot; /* 1 read, 2 write, 4 execute */
};

struct elf_info {
    bool shared; /* ET_DYN: may be loaded anywhere */
    uint64_t entry;
    uint64_t phoff, phdr_vaddr; /* phdr_vaddr: 0 if no segment holds the program headers */
    unsigned phnum;
    uint64_t low, high; /* page-aligned range of all segments */
    uint64_t align;     /* largest segment alignment, a power of two >= the page size */
    uint64_t interp_off, interp_len; /* of the interpreter's path, NUL included; 0: none */
    bool exec_stack;
    unsigned nsegs;
    struct elf_segment segs[ELF_MAX_SEGMENTS]; /* ascending, not overlapping pages' ranges */
};

/* Checks the first n bytes of a file of file_size bytes and fills in phoff, phnum, shared and
 * entry. -ENOEXEC for anything that is not an x86-64 executable. */
int elf_parse_header(const void *header, size_t n, uint64_t file_size, struct elf_info *out);
/* Takes the program headers (phnum of them, at phoff) and fills in the rest. user_max: first
 * address that is not the program's. -ENOEXEC. */
int elf_parse_segments(const void *phdrs, uint64_t file_size, uint64_t user_max,
                       struct elf_info *out);

#endif
