/* A thread's registers in a core file, as Linux lays them out on x86-64: linux/core_dump.h. */
#include <linux/elf.h>

#include "core/mem.h"
#include "linux/core_dump.h"

#define FXSAVE_SIZE 512     /* where the extended state begins */
#define FEATURES_OFFSET 464 /* XCR0, in the part of FXSAVE that is software's */

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
    t->fpu = kmalloc(user_fpu_size());
    if (buf && t->fpu) {
        uint8_t *area = (uint8_t *)ROUND_UP((uintptr_t)buf, 64);
        uint64_t features = user_fpu_features();
        user_fpu_save(area);
        memcpy(area + FEATURES_OFFSET, &features, sizeof(features)); /* as Linux has it there */
        memcpy(t->fpu, area, user_fpu_size());
    }
    t->regs = *user_regs_current();
    t->fs_base = user_tls_get();
    t->gs_base = user_gs_get();
    int err = buf && t->fpu ? 0 : -ENOMEM;
    kfree(buf);
    return err;
}

void core_registers_free(struct core_thread *t)
{
    kfree(t->fpu);
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
    core_note(n, "CORE", NT_PRFPREG, t->fpu, FXSAVE_SIZE);
    if (user_fpu_features())
        core_note(n, "LINUX", NT_X86_XSTATE, t->fpu, user_fpu_size());
}
