/* A thread's registers in a core file, as Linux lays them out on x86-64: linux/core_dump.h. */
#include <linux/elf.h>

#include "core/mem.h"
#include "linux/core_dump.h"

/* struct elf_prstatus */
struct prstatus {
    int32_t signo, code, err;
    int16_t cursig, pad;
    uint64_t pending, blocked;
    int32_t pid, ppid, pgrp, sid;
    int64_t times[4][2]; /* user, system, children's: struct timeval */
    struct user_regs regs;
    uint64_t fs_base, gs_base, ds, es, fs, gs;
    int32_t fp_valid, pad2;
};
_Static_assert(sizeof(struct prstatus) == 336, "struct elf_prstatus");

int core_registers(struct core_thread *t)
{
    /* Aligned to 64 bytes, as XSAVE wants it. */
    uint8_t *buf = kmalloc(user_fpu_size() + 64);
    if (!buf)
        return -ENOMEM;
    uint8_t *area = (uint8_t *)ROUND_UP((uintptr_t)buf, 64);
    user_fpu_save(area);
    memcpy(t->fpregs, area, sizeof(t->fpregs));
    kfree(buf);
    t->regs = *user_regs_current();
    t->fs_base = user_tls_get();
    t->gs_base = user_gs_get();
    return 0;
}

void core_notes_thread(struct core_notes *n, const struct process *p, const struct core_thread *t,
                       const struct siginfo_k *info)
{
    struct prstatus s = {.pending = t->pending,
                         .blocked = t->blocked,
                         .pid = t->tid,
                         .ppid = p->parent ? p->parent->pid : 0,
                         .pgrp = p->pgid,
                         .sid = p->sid,
                         .regs = t->regs,
                         .fs_base = t->fs_base,
                         .gs_base = t->gs_base,
                         .fp_valid = 1};
    if (info) {
        s.signo = info->signo;
        s.code = info->code;
        s.err = info->err;
    }
    s.cursig = (int16_t)p->exit_status;
    core_note(n, "CORE", NT_PRSTATUS, &s, sizeof(s));
    core_note(n, "CORE", NT_PRFPREG, t->fpregs, sizeof(t->fpregs));
}
