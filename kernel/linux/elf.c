/* ELF parsing; see elf_image.h. The file is hostile: every offset and sum is checked before use. */
#include "linux/elf_image.h"

#include <linux/elf-em.h>
#include <linux/elf.h>

_Static_assert(sizeof(Elf64_Phdr) == ELF_PHDR_SIZE, "program header size");
_Static_assert(sizeof(Elf64_Ehdr) == ELF_HEADER_SIZE, "header size");

int elf_parse_header(const void *header, size_t n, uint64_t file_size, struct elf_info *out)
{
    Elf64_Ehdr h;
    if (n < sizeof(h))
        return -ENOEXEC;
    memcpy(&h, header, sizeof(h));
    *out = (struct elf_info){0};
    if (memcmp(h.e_ident, ELFMAG, SELFMAG) || h.e_ident[EI_CLASS] != ELFCLASS64 ||
        h.e_ident[EI_DATA] != ELFDATA2LSB || h.e_machine != EM_X86_64)
        return -ENOEXEC;
    if (h.e_type != ET_EXEC && h.e_type != ET_DYN)
        return -ENOEXEC;
    if (h.e_phentsize != sizeof(Elf64_Phdr) || h.e_phnum == 0 || h.e_phnum > ELF_MAX_PHDRS)
        return -ENOEXEC;
    uint64_t size = (uint64_t)h.e_phnum * sizeof(Elf64_Phdr);
    if (h.e_phoff > file_size || size > file_size - h.e_phoff)
        return -ENOEXEC;
    out->shared = h.e_type == ET_DYN;
    out->entry = h.e_entry;
    out->phoff = h.e_phoff;
    out->phnum = h.e_phnum;
    return 0;
}

static int add_segment(const Elf64_Phdr *ph, uint64_t file_size, uint64_t user_max,
                       struct elf_info *out)
{
    uint64_t align = ph->p_align < PAGE_SIZE ? PAGE_SIZE : ph->p_align;
    if (ph->p_memsz == 0)
        return 0;
    if (out->nsegs == ELF_MAX_SEGMENTS || ph->p_memsz < ph->p_filesz || (align & (align - 1)))
        return -ENOEXEC;
    if (ph->p_vaddr >= user_max || ph->p_memsz > user_max - ph->p_vaddr)
        return -ENOEXEC;
    if (ph->p_offset > file_size || ph->p_filesz > file_size - ph->p_offset)
        return -ENOEXEC;
    if ((ph->p_vaddr ^ ph->p_offset) & ~PAGE_MASK)
        return -ENOEXEC;
    uint64_t start = ph->p_vaddr & PAGE_MASK, end = ROUND_UP(ph->p_vaddr + ph->p_memsz, PAGE_SIZE);
    if (out->nsegs == 0)
        out->low = start;
    else if (start < out->high)
        return -ENOEXEC; /* overlapping or not ascending */
    out->high = end;
    out->align = MAX(out->align, align);
    out->segs[out->nsegs++] = (struct elf_segment){
        .vaddr = ph->p_vaddr,
        .offset = ph->p_offset,
        .filesz = ph->p_filesz,
        .memsz = ph->p_memsz,
        .prot = (ph->p_flags & PF_R ? 1u : 0) | (ph->p_flags & PF_W ? 2u : 0) |
                (ph->p_flags & PF_X ? 4u : 0),
    };
    uint64_t phdrs_size = (uint64_t)out->phnum * sizeof(Elf64_Phdr);
    if (out->phoff >= ph->p_offset && out->phoff - ph->p_offset <= ph->p_filesz &&
        phdrs_size <= ph->p_filesz - (out->phoff - ph->p_offset))
        out->phdr_vaddr = ph->p_vaddr + (out->phoff - ph->p_offset);
    return 0;
}

int elf_parse_segments(const void *phdrs, uint64_t file_size, uint64_t user_max,
                       struct elf_info *out)
{
    for (unsigned i = 0; i < out->phnum; i++) {
        Elf64_Phdr ph;
        memcpy(&ph, (const char *)phdrs + i * sizeof(ph), sizeof(ph));
        if (ph.p_type == PT_LOAD) {
            int err = add_segment(&ph, file_size, user_max, out);
            if (err)
                return err;
        } else if (ph.p_type == PT_INTERP && !out->interp_len) {
            if (ph.p_filesz < 2 || ph.p_filesz > 4096 || ph.p_offset > file_size ||
                ph.p_filesz > file_size - ph.p_offset)
                return -ENOEXEC;
            out->interp_off = ph.p_offset;
            out->interp_len = ph.p_filesz;
        } else if (ph.p_type == PT_GNU_STACK) {
            out->exec_stack = ph.p_flags & PF_X;
        }
    }
    if (out->nsegs == 0)
        return -ENOEXEC;
    return 0;
}
