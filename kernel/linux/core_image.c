/*
 * The layout of a core file (System V ABI, ELF; the notes as Linux writes them): the ELF header, a
 * program header for the notes and one for each region, the notes, and then the memory. What a file
 * holds anyway (program text) is left out but for its first page, by which a debugger finds the
 * file that it belongs to; a region that the program wrote to is there as a whole.
 */
#include <linux/auxvec.h>
#include <linux/elf.h>

#include "core/mem.h"
#include "linux/core_dump.h"
#include "linux/mm.h"
#include "linux/signals.h"

#define NT_SIGINFO_TYPE 0x53494749u
#define NT_FILE_TYPE 0x46494c45u
#define MAX_REGIONS 65000u

/* --- notes ------------------------------------------------------------------------------------ */

static void *grow(struct core_notes *n, size_t len)
{
    if (n->len + len > n->size) {
        size_t size = MAX(n->len + len, 2 * n->size + PAGE_SIZE);
        uint8_t *data = krealloc(n->data, size);
        if (!data) {
            n->failed = true;
            return NULL;
        }
        n->data = data;
        n->size = size;
    }
    void *at = n->data + n->len;
    memset(at, 0, len);
    n->len += len;
    return at;
}

void core_note(struct core_notes *n, const char *owner, uint32_t type, const void *data, size_t len)
{
    size_t name = strlen(owner) + 1;
    Elf64_Nhdr h = {
        .n_namesz = (uint32_t)name, .n_descsz = (uint32_t)len, .n_type = (uint32_t)type};
    uint8_t *at = grow(n, sizeof(h) + ROUND_UP(name, 4) + ROUND_UP(len, 4));
    if (!at)
        return;
    memcpy(at, &h, sizeof(h));
    memcpy(at + sizeof(h), owner, name);
    memcpy(at + sizeof(h) + ROUND_UP(name, 4), data, len);
}

struct prpsinfo {
    char state, sname, zombie, nice;
    uint64_t flags;
    uint32_t uid, gid;
    int32_t pid, ppid, pgrp, sid;
    char name[16], args[80];
};
_Static_assert(sizeof(struct prpsinfo) == 136, "struct elf_prpsinfo");

static void note_process(struct core_notes *n, struct process *p)
{
    const struct task *t = (struct task *)thread_current();
    struct mm *mm = p->mm;
    struct prpsinfo i = {.sname = 'R',
                         .uid = p->fs.cred->uid,
                         .gid = p->fs.cred->gid,
                         .pid = p->pid,
                         .ppid = p->parent ? p->parent->pid : 0,
                         .pgrp = p->pgid,
                         .sid = p->sid};
    str_copy(i.name, t->comm, sizeof(i.name));
    size_t len = MIN(sizeof(i.args) - 1, (size_t)(mm->arg_end - mm->arg_start));
    len = mm_access(mm, mm->arg_start, i.args, len, false);
    for (size_t k = 0; k + 1 < len; k++)
        i.args[k] = i.args[k] ? i.args[k] : ' ';
    core_note(n, "CORE", NT_PRPSINFO, &i, sizeof(i));
}

static void note_auxv(struct core_notes *n, const struct mm *mm)
{
    size_t words = 2;
    while (words < MM_AUXV_MAX && mm->auxv[words - 2] != AT_NULL)
        words += 2;
    core_note(n, "CORE", NT_AUXV, mm->auxv, words * sizeof(*mm->auxv));
}

/* Which files are mapped where: numbers first, then the names. mm->lock held for reading. */
static void note_files(struct core_notes *n, const struct mm *mm)
{
    struct core_notes table = {0}, names = {0};
    char *path = kmalloc(VFS_PATH_MAX);
    uint64_t *head = grow(&table, 2 * sizeof(*head)), count = 0;
    for (struct region *r = region_find(mm, 0); r && path && head; r = region_next(r)) {
        struct path at = r->file ? file_path(r->file) : (struct path){NULL, NULL};
        if (!at.dentry || vfs_path_text(vfs_root_context(), &at, path, VFS_PATH_MAX) <= 0)
            continue;
        uint64_t *entry = grow(&table, 3 * sizeof(*entry));
        char *name = grow(&names, strlen(path) + 1);
        if (!entry || !name)
            break;
        entry[0] = r->start;
        entry[1] = r->end;
        entry[2] = r->pgoff;
        memcpy(name, path, strlen(path) + 1);
        count++;
    }
    void *at = path && !table.failed ? grow(&table, names.len) : NULL;
    if (at && !names.failed) {
        memcpy(at, names.data, names.len);
        head = (uint64_t *)table.data;
        head[0] = count;
        head[1] = PAGE_SIZE;
        core_note(n, "CORE", NT_FILE_TYPE, table.data, table.len);
    }
    n->failed |= !at || names.failed;
    kfree(path);
    kfree(table.data);
    kfree(names.data);
}

static void note_all(struct core_notes *n, struct process *p, const struct list *threads,
                     const struct siginfo_k *info)
{
    uint8_t siginfo[128];
    const struct core_thread *t;
    bool first = true;
    siginfo_export(info, siginfo);
    list_for_each (t, threads, link) {
        core_notes_thread(n, p, t, first ? info : NULL);
        if (first) {
            note_process(n, p);
            core_note(n, "CORE", NT_SIGINFO_TYPE, siginfo, sizeof(siginfo));
            note_auxv(n, p->mm);
            rwlock_read(&p->mm->lock);
            note_files(n, p->mm);
            rwlock_read_done(&p->mm->lock);
        }
        first = false;
    }
}

/* --- regions ---------------------------------------------------------------------------------- */

/* How much of a region is written. */
static uint64_t dumped(const struct region *r)
{
    if (!r->vnode || r->flags & REGION_HAS_ANON)
        return r->end - r->start;
    return r->pgoff || r->prot & PROT_W ? 0 : PAGE_SIZE;
}

static int take_regions(struct core_image *c, struct mm *mm)
{
    rwlock_read(&mm->lock);
    size_t count = MIN((size_t)mm->region_count, (size_t)MAX_REGIONS);
    c->regions = kzalloc(MAX(count, (size_t)1) * sizeof(*c->regions));
    struct region *r = c->regions ? region_find(mm, 0) : NULL;
    for (; r && c->region_count < count; r = region_next(r))
        c->regions[c->region_count++] = (struct core_region){.start = r->start,
                                                             .end = r->end,
                                                             .dumped = dumped(r),
                                                             .prot = r->prot,
                                                             .by_fault = r->vnode};
    rwlock_read_done(&mm->lock);
    return c->regions ? 0 : -ENOMEM;
}

/* --- headers ---------------------------------------------------------------------------------- */

static void put_headers(struct core_image *c, size_t notes_at, size_t notes_len)
{
    Elf64_Ehdr *e = (Elf64_Ehdr *)c->head;
    Elf64_Phdr *ph = (Elf64_Phdr *)(e + 1);
    memcpy(e->e_ident, ELFMAG, SELFMAG);
    e->e_ident[EI_CLASS] = ELFCLASS64;
    e->e_ident[EI_DATA] = ELFDATA2LSB;
    e->e_ident[EI_VERSION] = EV_CURRENT;
    e->e_type = ET_CORE;
    e->e_machine = EM_X86_64;
    e->e_version = EV_CURRENT;
    e->e_phoff = sizeof(*e);
    e->e_ehsize = sizeof(*e);
    e->e_phentsize = sizeof(*ph);
    e->e_phnum = (uint16_t)(c->region_count + 1);
    *ph++ =
        (Elf64_Phdr){.p_type = PT_NOTE, .p_offset = notes_at, .p_filesz = notes_len, .p_align = 4};
    uint64_t offset = ROUND_UP(c->head_size, PAGE_SIZE);
    for (size_t i = 0; i < c->region_count; i++) {
        const struct core_region *r = &c->regions[i];
        *ph++ =
            (Elf64_Phdr){.p_type = PT_LOAD,
                         .p_offset = offset,
                         .p_vaddr = r->start,
                         .p_filesz = r->dumped,
                         .p_memsz = r->end - r->start,
                         .p_flags = (r->prot & PROT_R ? PF_R : 0u) |
                                    (r->prot & PROT_W ? PF_W : 0u) | (r->prot & PROT_X ? PF_X : 0u),
                         .p_align = PAGE_SIZE};
        offset += r->dumped;
    }
    c->size = offset;
}

int core_image_make(struct core_image *c, struct process *p, const struct list *threads,
                    const struct siginfo_k *info)
{
    struct core_notes notes = {0};
    int err = take_regions(c, p->mm);
    if (err)
        return err;
    note_all(&notes, p, threads, info);
    size_t notes_at = sizeof(Elf64_Ehdr) + (c->region_count + 1) * sizeof(Elf64_Phdr);
    c->head_size = notes_at + notes.len;
    c->head = notes.failed ? NULL : kzalloc(c->head_size);
    if (c->head) {
        put_headers(c, notes_at, notes.len);
        memcpy(c->head + notes_at, notes.data, notes.len);
    }
    kfree(notes.data);
    return c->head ? 0 : -ENOMEM;
}

void core_image_free(struct core_image *c)
{
    kfree(c->regions);
    kfree(c->head);
}
