/*
 * From a file to an address space that can run: #! scripts, ELF segments, the interpreter, the
 * stack with arguments, environment and auxiliary vector (System V ABI x86-64, 3.4).
 */
#include <linux/auxvec.h>

#include "core/rand.h"
#include "linux/elf_image.h"
#include "linux/mm.h"
#include "linux/proc.h"
#include "linux/vdso.h"

#define SCRIPT_DEPTH 5
#define HEAD_SIZE 256 /* of a script's first line, as BINPRM_BUF_SIZE */
#define PIE_BASE 0x555555554000UL

static uint64_t random_pages(unsigned bits)
{
    return (rand_u64() & ((1ULL << bits) - 1)) << PAGE_SHIFT;
}

/* Reads up to n bytes of a program file; short at its end. */
static ssize_t read_at(struct file *f, uint64_t off, void *buf, size_t n)
{
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, buf, n);
    size_t done = 0;
    if (!f->ops->read)
        return -EACCES;
    while (u.resid) {
        ssize_t got = f->ops->read(f, &u, &off);
        if (got < 0)
            return got;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

static int open_program(const struct exec_request *req, const struct path *at, const char *name,
                        struct file **out)
{
    struct path path;
    int err = vfs_lookup(req->ctx, at, name, req->nofollow ? 0 : LOOKUP_FOLLOW, &path);
    if (err)
        return err;
    struct vnode *v = path_vnode(&path);
    if (vnode_type(v) == MODE_LNK)
        err = -ELOOP;
    else if (vnode_type(v) != MODE_REG || (v->fs->flags & MOUNT_NOEXEC))
        err = -EACCES;
    else
        err = vnode_access(v, req->ctx->cred, ACCESS_X);
    if (!err) /* the right to execute is enough: the kernel reads it */
        err = vfs_open_path(vfs_root_context(), &path, OPEN_RDONLY, out);
    path_put(&path);
    return err;
}

/* --- arguments -------------------------------------------------------------------------------- */

#define ARGS_MAX (2UL << 20)
#define ARG_MAX_STRING (32 * PAGE_SIZE)

static int args_reserve(struct exec_args *a, size_t more)
{
    if (a->len + more > ARGS_MAX)
        return -E2BIG;
    if (a->len + more <= a->size)
        return 0;
    size_t size = a->size ? a->size : 4096;
    while (size < a->len + more)
        size *= 2;
    char *strings = krealloc(a->strings, size);
    if (!strings)
        return -ENOMEM;
    a->strings = strings;
    a->size = size;
    return 0;
}

int exec_args_add(struct exec_args *a, const char *s)
{
    size_t n = strlen(s) + 1;
    int err = args_reserve(a, n);
    if (err)
        return err;
    memcpy(a->strings + a->len, s, n);
    a->len += n;
    return 0;
}

int exec_args_add_user(struct exec_args *a, uaddr_t s)
{
    size_t room = 512;
    for (;;) {
        int err = args_reserve(a, room);
        if (err)
            return err;
        size_t space = MIN(a->size - a->len, ARG_MAX_STRING);
        ssize_t n = strncpy_from_user(a->strings + a->len, s, space);
        if (n >= 0) {
            a->len += (size_t)n + 1;
            return 0;
        }
        if (n != -ENAMETOOLONG)
            return (int)n;
        if (space == ARG_MAX_STRING)
            return -E2BIG;
        room = space * 2;
    }
}

void exec_args_free(struct exec_args *a)
{
    kfree(a->strings);
    a->strings = NULL;
}

/* Puts the interpreter (with its argument) and the script's path in the place of argv[0]. */
static int args_prepend(struct exec_args *a, const char *interp, const char *arg,
                        const char *script)
{
    struct exec_args n = {0};
    int err = exec_args_add(&n, interp);
    if (!err && arg)
        err = exec_args_add(&n, arg);
    if (!err)
        err = exec_args_add(&n, script);
    size_t skip = a->argc ? strlen(a->strings) + 1 : 0;
    if (!err)
        err = args_reserve(&n, a->len - skip);
    if (err) {
        exec_args_free(&n);
        return err;
    }
    size_t added = n.len;
    memcpy(n.strings + n.len, a->strings + skip, a->len - skip);
    n.len += a->len - skip;
    n.env_offset = a->env_offset - skip + added;
    n.argc = (a->argc ? a->argc - 1 : 0) + 2 + (arg ? 1 : 0);
    n.envc = a->envc;
    exec_args_free(a);
    *a = n;
    return 0;
}

/* Parses "#! interpreter [one argument]" in place. */
static int parse_script(char *head, size_t n, char **interp, char **arg)
{
    head[n] = '\0';
    char *end = strchr(head, '\n');
    if (!end && n >= HEAD_SIZE)
        return -ENOEXEC; /* a longer line would be cut */
    if (end)
        *end = '\0';
    char *s = head + 2;
    while (*s == ' ' || *s == '\t')
        s++;
    char *last = s + strlen(s);
    while (last > s && (last[-1] == ' ' || last[-1] == '\t'))
        *--last = '\0';
    if (!*s)
        return -ENOEXEC;
    *interp = s;
    while (*s && *s != ' ' && *s != '\t')
        s++;
    *arg = NULL;
    if (*s) {
        *s++ = '\0';
        while (*s == ' ' || *s == '\t')
            s++;
        *arg = s;
    }
    return 0;
}

/* --- segments --------------------------------------------------------------------------------- */

static int parse_file(struct file *f, struct elf_info *info)
{
    char head[ELF_HEADER_SIZE];
    uint64_t size = f->vnode->attr.size;
    ssize_t n = read_at(f, 0, head, sizeof(head));
    if (n < 0)
        return (int)n;
    int err = elf_parse_header(head, (size_t)n, size, info);
    if (err)
        return err;
    size_t len = info->phnum * ELF_PHDR_SIZE;
    char *phdrs = kmalloc(len);
    if (!phdrs)
        return -ENOMEM;
    n = read_at(f, info->phoff, phdrs, len);
    err = n < 0 ? (int)n : (size_t)n < len ? -ENOEXEC : 0;
    if (!err)
        err = elf_parse_segments(phdrs, size, USER_MAX, info);
    kfree(phdrs);
    return err;
}

static int map_segment(struct mm *mm, struct file *f, const struct elf_segment *s, uint64_t bias)
{
    uaddr_t vaddr = s->vaddr + bias, start = vaddr & PAGE_MASK;
    uaddr_t file_end = vaddr + s->filesz, end = ROUND_UP(vaddr + s->memsz, PAGE_SIZE);
    uaddr_t file_pages_end = s->filesz ? ROUND_UP(file_end, PAGE_SIZE) : start;
    if (s->filesz) {
        struct map_request m = {
            .addr = start,
            .len = file_pages_end - start,
            .prot = s->prot,
            .fixed = true,
            .noreplace = true,
            .vnode = f->vnode,
            .file = f,
            .pgoff = s->offset >> PAGE_SHIFT,
        };
        long res = mm_map(mm, &m);
        if (res < 0)
            return (int)res;
    }
    if (end > file_pages_end) {
        struct map_request m = {.addr = file_pages_end,
                                .len = end - file_pages_end,
                                .prot = s->prot,
                                .fixed = true,
                                .noreplace = true};
        long res = mm_map(mm, &m);
        if (res < 0)
            return (int)res;
    }
    if (s->memsz > s->filesz && file_end < file_pages_end && (s->prot & PROT_W)) {
        static const char zeroes[PAGE_SIZE];
        size_t n = file_pages_end - file_end;
        if (mm_access(mm, file_end, (void *)zeroes, n, true) != n)
            return -ENOMEM;
    }
    return 0;
}

static int map_segments(struct mm *mm, struct file *f, const struct elf_info *info, uint64_t bias)
{
    for (unsigned i = 0; i < info->nsegs; i++) {
        int err = map_segment(mm, f, &info->segs[i], bias);
        if (err)
            return err;
    }
    return 0;
}

/* Where a shared object is put in the mapping area: the value to add to its addresses. 0: no room.
 */
static uint64_t place_shared(struct mm *mm, const struct elf_info *info)
{
    uint64_t len = info->high - info->low;
    uint64_t slack = info->align - PAGE_SIZE;
    uaddr_t at = len + slack < len ? 0 : mm_find_gap(mm, len + slack, false);
    return at ? ROUND_UP(at, info->align) - info->low : 0;
}

static int load_interpreter(const struct exec_request *req, struct mm *mm, struct file *program,
                            const struct elf_info *main, uaddr_t *base, uaddr_t *entry)
{
    char *path = kmalloc(main->interp_len + 1);
    struct elf_info *info = kmalloc(sizeof(*info));
    struct file *f = NULL;
    int err = -ENOMEM;
    if (!path || !info)
        goto out;
    ssize_t n = read_at(program, main->interp_off, path, main->interp_len);
    err = n < 0 ? (int)n : -ENOEXEC;
    if (n != (ssize_t)main->interp_len || path[n - 1] != '\0')
        goto out;
    err = open_program(req, NULL, path, &f);
    if (!err)
        err = parse_file(f, info);
    if (err)
        goto out;
    uint64_t bias = info->shared ? place_shared(mm, info) : 0;
    err = info->shared && !bias ? -ENOMEM : map_segments(mm, f, info, bias);
    *base = bias + info->low;
    *entry = bias + info->entry;
out:
    if (f)
        file_put(f);
    kfree(path);
    kfree(info);
    return err;
}

static void note_segments(struct mm *mm, const struct elf_info *info, uint64_t bias)
{
    for (unsigned i = 0; i < info->nsegs; i++) {
        const struct elf_segment *s = &info->segs[i];
        uaddr_t start = s->vaddr + bias, end = start + s->filesz;
        if ((s->prot & PROT_X) && !mm->code_start)
            mm->code_start = start, mm->code_end = end;
        if (s->prot & PROT_W) {
            mm->data_start = start;
            mm->data_end = end;
        }
    }
}

struct loaded {
    uint64_t bias;
    uaddr_t entry; /* where it starts: the interpreter's, if there is one */
    uaddr_t interp_base;
};

static int load_elf(const struct exec_request *req, struct mm *mm, struct file *f,
                    const struct elf_info *info, struct loaded *out)
{
    *out = (struct loaded){0};
    if (info->shared && info->interp_len)
        out->bias = ROUND_UP(PIE_BASE + random_pages(28), info->align) - info->low;
    else if (info->shared)
        out->bias = place_shared(mm, info);
    int err = map_segments(mm, f, info, out->bias);
    if (err)
        return err;
    note_segments(mm, info, out->bias);
    /* A shared object that runs by itself lies among the mappings: its heap goes elsewhere. */
    uaddr_t heap =
        info->shared && !info->interp_len ? PIE_BASE + random_pages(28) : info->high + out->bias;
    mm->brk_start = mm->brk = heap + random_pages(13);
    out->entry = out->bias + info->entry;
    if (info->interp_len)
        return load_interpreter(req, mm, f, info, &out->interp_base, &out->entry);
    return 0;
}

/* --- the stack -------------------------------------------------------------------------------- */

static int map_stack(struct mm *mm, uint64_t limit, size_t args_len, bool exec)
{
    mm->stack_top = USER_MAX - PAGE_SIZE - random_pages(22);
    uint64_t gap = MIN(MAX(limit, 128UL << 20), USER_MAX / 6 * 5) + (1UL << 20);
    mm->mmap_base = ROUND_DOWN(mm->stack_top - gap - random_pages(28), PAGE_SIZE);
    uint64_t size = ROUND_UP(args_len + (132UL << 10), PAGE_SIZE);
    struct map_request m = {
        .addr = mm->stack_top - size,
        .len = size,
        .prot = PROT_R | PROT_W | (exec ? PROT_X : 0),
        .flags = REGION_GROWSDOWN,
        .fixed = true,
        .name = "[stack]",
    };
    long res = mm_map(mm, &m);
    return res < 0 ? (int)res : 0;
}

static void auxv_fill(struct mm *mm, const struct elf_info *info, const struct loaded *l,
                      const struct cred *cred, bool secure, uaddr_t random, uaddr_t platform,
                      uaddr_t execfn)
{
    const uint64_t v[] = {
        AT_SYSINFO_EHDR, mm->vdso,
        AT_HWCAP,        personality_hwcap(),
        AT_PAGESZ,       PAGE_SIZE,
        AT_CLKTCK,       100,
        AT_PHDR,         info->phdr_vaddr ? info->phdr_vaddr + l->bias : 0,
        AT_PHENT,        ELF_PHDR_SIZE,
        AT_PHNUM,        info->phnum,
        AT_BASE,         l->interp_base,
        AT_FLAGS,        0,
        AT_ENTRY,        info->entry + l->bias,
        AT_UID,          cred->uid,
        AT_EUID,         cred->euid,
        AT_GID,          cred->gid,
        AT_EGID,         cred->egid,
        AT_SECURE,       secure,
        AT_RANDOM,       random,
        AT_HWCAP2,       personality_hwcap2(),
        AT_EXECFN,       execfn,
        AT_PLATFORM,     platform,
        AT_MINSIGSTKSZ,  personality_minsigstksz(),
        AT_NULL,         0,
    };
    _Static_assert(ARRAY_SIZE(v) <= MM_AUXV_MAX, "room for the auxiliary vector");
    memset(mm->auxv, 0, sizeof(mm->auxv));
    memcpy(mm->auxv, v, sizeof(v));
}

/* A pointer per string that starts at `at`; the strings are n, back to back, `text` is a copy of
 * them. */
static uint64_t *point(uint64_t *vec, const char *text, int n, uaddr_t at)
{
    for (int i = 0; i < n; i++) {
        size_t len = strlen(text) + 1;
        *vec++ = at;
        at += len;
        text += len;
    }
    *vec++ = 0;
    return vec;
}

#define PLATFORM "x86_64"

static int build_stack(struct mm *mm, const char *path, const struct exec_args *a,
                       const struct elf_info *info, const struct loaded *l, const struct cred *cred,
                       bool secure, uaddr_t *sp)
{
    struct {
        uint8_t random[16];
        char platform[8];
    } tail = {.platform = PLATFORM};
    rand_bytes(tail.random, sizeof(tail.random));
    size_t path_len = strlen(path) + 1;
    uaddr_t execfn = mm->stack_top - 8 - path_len;
    uaddr_t strings = execfn - a->len;
    uaddr_t tail_at = ROUND_DOWN(strings - sizeof(tail), 16) - (rand_u32() & 0x1ff0);
    auxv_fill(mm, info, l, cred, secure, tail_at + offsetof(__typeof__(tail), random),
              tail_at + offsetof(__typeof__(tail), platform), execfn);
    size_t auxv_words = 2;
    while (mm->auxv[auxv_words - 2] != AT_NULL)
        auxv_words += 2;
    size_t words = 1 + (size_t)a->argc + 1 + (size_t)a->envc + 1 + auxv_words;
    *sp = ROUND_DOWN(tail_at - words * 8, 16);
    if (*sp < mm->stack_top - a->len - (100UL << 10) - words * 8 || *sp < USER_MIN)
        return -E2BIG;
    uint64_t *block = kmalloc(words * 8);
    if (!block)
        return -ENOMEM;
    block[0] = (uint64_t)a->argc;
    uint64_t *at = point(block + 1, a->strings, a->argc, strings);
    at = point(at, a->strings + a->env_offset, a->envc, strings + a->env_offset);
    memcpy(at, mm->auxv, auxv_words * 8);
    bool ok = mm_access(mm, execfn, (void *)path, path_len, true) == path_len &&
              mm_access(mm, strings, a->strings, a->len, true) == a->len &&
              mm_access(mm, tail_at, &tail, sizeof(tail), true) == sizeof(tail) &&
              mm_access(mm, *sp, block, words * 8, true) == words * 8;
    kfree(block);
    mm->stack_start = *sp;
    mm->arg_start = strings;
    mm->arg_end = mm->env_start = strings + a->env_offset;
    mm->env_end = strings + a->len;
    return ok ? 0 : -ENOMEM;
}

/* --- putting it together ---------------------------------------------------------------------- */

static int load_image(const struct exec_request *req, struct file *f, const char *path,
                      const struct elf_info *info, struct exec_image *out)
{
    struct mm *mm = mm_create();
    if (!mm)
        return -ENOMEM;
    struct exec_args *a = req->args;
    /* Pointers count too, as on Linux: else a million empty strings would not fit. */
    size_t args_len = a->len + 8 * ((size_t)a->argc + (size_t)a->envc + 2) + strlen(path);
    struct loaded l;
    int err = args_len > MAX(req->stack_limit / 4, 32 * PAGE_SIZE) ? -E2BIG : 0;
    if (!err)
        err = map_stack(mm, req->stack_limit, args_len, info->exec_stack);
    if (!err)
        err = load_elf(req, mm, f, info, &l);
    if (!err)
        err = vdso_map(mm);
    if (!err)
        err = build_stack(mm, path, a, info, &l, out->cred, out->secure, &out->sp);
    if (err) {
        mm_put(mm);
        return err;
    }
    out->mm = mm;
    out->entry = l.entry;
    return 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

int exec_load(const struct exec_request *req, struct exec_image *out)
{
    char head[HEAD_SIZE + 1], *interp, *arg;
    char *path = kstrdup(req->path);
    struct elf_info *info = kmalloc(sizeof(*info));
    struct file *f = NULL;
    int err = path && info ? 0 : -ENOMEM;
    *out = (struct exec_image){0};
    if (!err)
        err = open_program(req, req->at, path, &f);
    str_copy(out->comm, base_name(req->path), sizeof(out->comm));
    for (int depth = 0; !err; depth++) {
        ssize_t n = read_at(f, 0, head, HEAD_SIZE);
        if (n < 2 || head[0] != '#' || head[1] != '!') {
            err = n < 0 ? (int)n : 0;
            break;
        }
        err = depth == SCRIPT_DEPTH ? -ELOOP : parse_script(head, (size_t)n, &interp, &arg);
        if (!err)
            err = args_prepend(req->args, interp, arg, path);
        file_put(f);
        f = NULL;
        kfree(path);
        path = err ? NULL : kstrdup(interp);
        if (!err)
            err = path ? open_program(req, NULL, path, &f) : -ENOMEM;
    }
    if (!err)
        err = parse_file(f, info);
    if (!err)
        err = exec_cred(req->ctx->cred, f->vnode, req->no_new_privs, out);
    if (!err)
        err = load_image(req, f, req->path, info, out);
    if (err && f)
        file_put(f);
    out->file = err ? NULL : f;
    kfree(path);
    kfree(info);
    return err;
}
