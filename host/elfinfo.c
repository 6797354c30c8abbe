/* The ELF reader of elfinfo.h: every offset is checked against the file's size before it is used.
 */
#include "elfinfo.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_PHDRS 256
#define MAX_NEEDED 1024

bool elf_is_elf(const uint8_t *data, size_t size)
{
    return size >= SELFMAG && !memcmp(data, ELFMAG, SELFMAG);
}

/* A copy of the NUL-terminated string at `off`, or NULL if it does not end within `end`. */
static char *string_at(const uint8_t *data, size_t end, uint64_t off)
{
    if (off >= end)
        return NULL;
    const uint8_t *nul = memchr(data + off, 0, end - off);
    return nul ? xstrdup((const char *)data + off) : NULL;
}

/* File offset of a virtual address, or UINT64_MAX. */
static uint64_t file_offset(const Elf64_Phdr *ph, size_t n, uint64_t vaddr)
{
    for (size_t i = 0; i < n; i++)
        if (ph[i].p_type == PT_LOAD && vaddr >= ph[i].p_vaddr &&
            vaddr - ph[i].p_vaddr < ph[i].p_filesz)
            return ph[i].p_offset + (vaddr - ph[i].p_vaddr);
    return UINT64_MAX;
}

static int parse_dynamic(const uint8_t *data, size_t size, const Elf64_Phdr *ph, size_t n,
                         const Elf64_Phdr *dyn, struct elf_info *out)
{
    if (dyn->p_offset > size || dyn->p_filesz > size - dyn->p_offset)
        return -ENOEXEC;
    size_t count = dyn->p_filesz / sizeof(Elf64_Dyn);
    uint64_t strtab = UINT64_MAX;
    Elf64_Dyn d;

    for (size_t i = 0; i < count; i++) {
        memcpy(&d, data + dyn->p_offset + i * sizeof(d), sizeof(d));
        if (d.d_tag == DT_NULL)
            break;
        if (d.d_tag == DT_STRTAB)
            strtab = file_offset(ph, n, d.d_un.d_ptr);
    }
    if (strtab >= size)
        return count ? -ENOEXEC : 0;
    for (size_t i = 0; i < count; i++) {
        memcpy(&d, data + dyn->p_offset + i * sizeof(d), sizeof(d));
        if (d.d_tag == DT_NULL)
            break;
        if (d.d_tag != DT_NEEDED && d.d_tag != DT_RPATH && d.d_tag != DT_RUNPATH)
            continue;
        if (d.d_un.d_val > size)
            return -ENOEXEC;
        char *s = string_at(data, size, strtab + d.d_un.d_val);
        if (!s)
            return -ENOEXEC;
        if (d.d_tag == DT_NEEDED && out->needed.n < MAX_NEEDED) {
            strv_add(&out->needed, s);
        } else if (d.d_tag == DT_RPATH && !out->rpath) {
            out->rpath = s;
        } else if (d.d_tag == DT_RUNPATH && !out->runpath) {
            out->runpath = s;
        } else {
            free(s);
        }
    }
    return 0;
}

int elf_parse(const uint8_t *data, size_t size, struct elf_info *out)
{
    Elf64_Ehdr eh;
    Elf64_Phdr ph[MAX_PHDRS];

    memset(out, 0, sizeof(*out));
    if (!elf_is_elf(data, size) || size < EI_NIDENT)
        return -ENOEXEC;
    if (data[EI_CLASS] != ELFCLASS64 || data[EI_DATA] != ELFDATA2LSB)
        return 0;
    if (size < sizeof(eh))
        return -ENOEXEC;
    memcpy(&eh, data, sizeof(eh));
    if (eh.e_machine != EM_X86_64)
        return 0;
    if ((eh.e_type != ET_EXEC && eh.e_type != ET_DYN) || eh.e_phentsize != sizeof(Elf64_Phdr) ||
        !eh.e_phnum || eh.e_phnum > MAX_PHDRS || eh.e_phoff > size ||
        eh.e_phnum * sizeof(Elf64_Phdr) > size - eh.e_phoff)
        return -ENOEXEC;
    memcpy(ph, data + eh.e_phoff, eh.e_phnum * sizeof(Elf64_Phdr));

    out->x86_64 = true;
    for (size_t i = 0; i < eh.e_phnum; i++) {
        if (ph[i].p_type == PT_INTERP && !out->interp) {
            if (ph[i].p_offset > size || ph[i].p_filesz > size - ph[i].p_offset)
                return -ENOEXEC;
            out->interp = string_at(data, ph[i].p_offset + ph[i].p_filesz, ph[i].p_offset);
            if (!out->interp)
                return -ENOEXEC;
        }
        if (ph[i].p_type == PT_DYNAMIC) {
            int err = parse_dynamic(data, size, ph, eh.e_phnum, &ph[i], out);
            if (err)
                return err;
        }
    }
    return 0;
}

int elf_read(const char *path, struct elf_info *out)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    memset(out, 0, sizeof(*out));
    if (fd < 0)
        return -errno;
    int err = fstat(fd, &st) < 0 ? -errno : 0;
    if (!err && (!S_ISREG(st.st_mode) || st.st_size < EI_NIDENT))
        err = -ENOEXEC;
    if (!err) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            err = -errno;
        } else {
            err = elf_parse(p, (size_t)st.st_size, out);
            munmap(p, (size_t)st.st_size);
        }
    }
    close(fd);
    return err;
}

void elf_free(struct elf_info *e)
{
    free(e->interp);
    free(e->rpath);
    free(e->runpath);
    strv_free(&e->needed);
    memset(e, 0, sizeof(*e));
}
