/*
 * Core dumps: an ELF file of a program that a signal killed, sent to the supervisor piece by piece
 * (abi/control.h, CTL_CORE). core_dump.c stops the program and sends; core_image.c lays the file
 * out; linux/x86_64/core_notes.c knows the registers' layout.
 */
#ifndef LINUX_CORE_DUMP_H
#define LINUX_CORE_DUMP_H

#include "linux/process.h"

/* One thread, as it stopped. */
struct core_thread {
    struct list link;
    int tid;
    sigset_k pending, blocked;
    struct user_regs regs;
    uaddr_t fs_base, gs_base;
    uint8_t *fpu; /* of user_fpu_size(), in the form of XSAVE; core_registers_free() */
};

void core_dump_init(void);
/* The current task is about to die of this signal: writes a core if the process' limit allows one,
 * and says so in its exit status. Returns in any case. */
void core_dump(const struct siginfo_k *info);
/* The current task is to leave since its process ends: if a core is being written, is part of it
 * and waits until it is done. */
void core_wait(void);

/* --- the file ------------------------------------------------------------------------------------
 */

struct core_region {
    uaddr_t start, end;
    uint64_t dumped; /* bytes from the start that are in the file */
    unsigned prot;
    bool by_fault; /* pages that are not mapped yet have content: a file's */
};

struct core_image {
    struct core_region *regions;
    size_t region_count;
    uint8_t *head; /* ELF header, program headers, notes */
    size_t head_size;
    uint64_t size; /* of the file; memory begins at head_size rounded up to a page */
};

/* Lays the file out. threads: the one that died first. -ENOMEM. core_image_free() in any case. */
int core_image_make(struct core_image *c, struct process *p, const struct list *threads,
                    const struct siginfo_k *info);
void core_image_free(struct core_image *c);

/* Appends notes to a growing buffer. */
struct core_notes {
    uint8_t *data;
    size_t len, size;
    bool failed; /* out of memory */
};
void core_note(struct core_notes *n, const char *owner, uint32_t type, const void *data,
               size_t len);

/* NT_PRSTATUS, NT_FPREGSET and NT_X86_XSTATE of a thread. */
void core_notes_thread(struct core_notes *n, const struct process *p, const struct core_thread *t,
                       const struct siginfo_k *info);
/* Fills in the registers of the current task. -ENOMEM. */
int core_registers(struct core_thread *t);
void core_registers_free(struct core_thread *t);

#endif
