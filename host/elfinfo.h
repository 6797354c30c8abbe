/*
 * What the packer needs to know of an ELF file (System V ABI, "Object Files" and "Program Loading
 * and Dynamic Linking"): its interpreter and the libraries it asks for. The file is hostile input.
 */
#ifndef HOST_ELF_H
#define HOST_ELF_H

#include "util.h"

struct elf_info {
    bool x86_64;        /* a 64-bit little-endian x86-64 executable or shared object */
    char *interp;       /* PT_INTERP, or NULL */
    char *rpath;        /* DT_RPATH, or NULL */
    char *runpath;      /* DT_RUNPATH, or NULL */
    struct strv needed; /* DT_NEEDED, in order */
};

/* True if the bytes begin with the ELF magic. */
bool elf_is_elf(const uint8_t *data, size_t size);
/*
 * Reads an ELF image of `size` bytes. Returns 0, or -ENOEXEC if it is no ELF file or a malformed
 * one; a well-formed file of another machine gives 0 with x86_64 false and nothing else. The caller
 * frees with elf_free() in every case.
 */
int elf_parse(const uint8_t *data, size_t size, struct elf_info *out);
/* elf_parse() of a file. Also -errno of open, fstat or mmap. */
int elf_read(const char *path, struct elf_info *out);
void elf_free(struct elf_info *e);

#endif
