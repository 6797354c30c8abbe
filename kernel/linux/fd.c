/*
 * Descriptor tables. The arrays grow by doubling; three bitmaps' worth of state per descriptor: a
 * file pointer, "open" (taken, perhaps only reserved) and close-on-exec.
 *
 * A table with one user is changed and read by the current task only, so its readers need neither a
 * lock nor a reference: other processes look at it (fd_table_next) under the lock and only add
 * references. Changes take the lock always. Sharing begins in a system call of the sole user, never
 * during another one of its. Look-ups in a shared table take a reference, but no lock: get_shared.
 */
#include "linux/fd.h"
#include "core/mem.h"
#include "linux/process.h"
#include "linux/syscall.h"

#define FD_INLINE 64
#define BITS 64u
#define RLIMIT_NOFILE_N 7
#define OUTGROWN_MAX 13 /* FD_MAX / FD_INLINE is 2^13 */
_Static_assert(FD_INLINE << OUTGROWN_MAX == FD_MAX, "each growth at least doubles");

struct fd_table {
    refcount_t refs;
    spinlock_t lock;
    uint32_t size;      /* descriptors there is room for: multiple of BITS */
    uint32_t full_upto; /* all words of `open` below this one are full */
    struct file **files;
    uint64_t *open, *cloexec;     /* one allocation with files when not inline */
    void *outgrown[OUTGROWN_MAX]; /* former arrays: another task may be reading there */
    unsigned outgrown_count;
    struct file *inline_files[FD_INLINE];
    uint64_t inline_open[FD_INLINE / BITS], inline_cloexec[FD_INLINE / BITS];
};

static inline struct fd_table *current_files(void)
{
    return current_process()->files;
}

static inline struct file *read_slot(struct fd_table *t, uint32_t fd)
{
    struct file **files = __atomic_load_n(&t->files, __ATOMIC_ACQUIRE);
    return __atomic_load_n(&files[fd], __ATOMIC_ACQUIRE);
}
static inline void write_slot(struct fd_table *t, uint32_t fd, struct file *f)
{
    __atomic_store_n(&t->files[fd], f, __ATOMIC_RELEASE);
}

static inline bool bit_test(const uint64_t *map, uint32_t n)
{
    return map[n / BITS] >> n % BITS & 1;
}
static inline void bit_set(uint64_t *map, uint32_t n)
{
    map[n / BITS] |= 1ull << n % BITS;
}
static inline void bit_clear(uint64_t *map, uint32_t n)
{
    map[n / BITS] &= ~(1ull << n % BITS);
}

struct fd_table *fd_table_create(void)
{
    struct fd_table *t = kzalloc(sizeof(*t));
    if (!t)
        return NULL;
    ref_init(&t->refs, 1);
    spin_init(&t->lock);
    t->size = FD_INLINE;
    t->files = t->inline_files;
    t->open = t->inline_open;
    t->cloexec = t->inline_cloexec;
    return t;
}

static size_t arrays_bytes(uint32_t size)
{
    return size * sizeof(struct file *) + size / 8 * 2;
}

/* Points *t at arrays of the given size within `block`, copying its present contents. */
static void adopt_arrays(struct fd_table *t, void *block, uint32_t size)
{
    struct file **files = block;
    uint64_t *open = (uint64_t *)(files + size), *cloexec = open + size / BITS;
    memcpy(files, t->files, t->size * sizeof(*files));
    memcpy(open, t->open, t->size / 8);
    memcpy(cloexec, t->cloexec, t->size / 8);
    __atomic_store_n(&t->files, files, __ATOMIC_RELEASE);
    t->open = open;
    t->cloexec = cloexec;
    __atomic_store_n(&t->size, size, __ATOMIC_RELEASE); /* seen with the files, or later */
}

/* The array that the table had before. */
static void drop_array(struct fd_table *t, struct file **files)
{
    if (files == t->inline_files)
        return;
    if (ref_count(&t->refs) == 1)
        kfree(files);
    else
        t->outgrown[t->outgrown_count++] = files;
}

/* Makes room for descriptor fd. Takes and leaves the lock held, but lets it go for the allocation.
 */
static int grow(struct fd_table *t, uint32_t fd)
{
    while (fd >= t->size) {
        uint32_t size = t->size;
        while (size <= fd)
            size *= 2;
        if (size > FD_MAX)
            return -EMFILE;
        spin_unlock(&t->lock);
        void *block = kzalloc(arrays_bytes(size));
        spin_lock(&t->lock);
        if (!block)
            return -ENOMEM;
        struct file **old = t->files;
        if (size > t->size) {
            adopt_arrays(t, block, size);
            drop_array(t, old);
        } else {
            kfree(block);
        }
    }
    return 0;
}

struct fd_table *fd_table_clone(struct fd_table *from)
{
    struct fd_table *t = fd_table_create();
    if (!t)
        return NULL;
    spin_lock(&t->lock);
    spin_lock(&from->lock);
    while (t->size < from->size) {
        uint32_t size = from->size;
        spin_unlock(&from->lock);
        int err = grow(t, size - 1);
        spin_lock(&from->lock);
        if (err) {
            spin_unlock(&from->lock);
            spin_unlock(&t->lock);
            kfree(t);
            return NULL;
        }
    }
    for (uint32_t w = 0; w < from->size / BITS; w++) {
        for (uint64_t bits = from->open[w]; bits; bits &= bits - 1) {
            uint32_t fd = w * BITS + (uint32_t)__builtin_ctzll(bits);
            struct file *f = from->files[fd];
            if (!f) /* reserved by a task that shares `from`: not open yet */
                continue;
            file_get(f);
            t->files[fd] = f;
            bit_set(t->open, fd);
            if (bit_test(from->cloexec, fd))
                bit_set(t->cloexec, fd);
        }
    }
    spin_unlock(&from->lock);
    spin_unlock(&t->lock);
    return t;
}

void fd_table_get(struct fd_table *t)
{
    ref_get(&t->refs);
}

static void close_file(struct fd_table *t, struct file *f)
{
    file_closed(f, t);
    file_put(f);
}

void fd_table_put(struct fd_table *t)
{
    if (!ref_put(&t->refs))
        return;
    for (uint32_t fd = 0; fd < t->size; fd++)
        if (t->files[fd])
            close_file(t, t->files[fd]);
    for (unsigned i = 0; i < t->outgrown_count; i++)
        kfree(t->outgrown[i]);
    if (t->files != t->inline_files)
        kfree(t->files);
    kfree(t);
}

unsigned fd_table_size(struct fd_table *t)
{
    return t->size;
}

/* Takes the file out of the table; NULL if fd is not open. With the lock held. */
static struct file *take(struct fd_table *t, uint32_t fd)
{
    struct file *f = fd < t->size ? t->files[fd] : NULL;
    if (!f)
        return NULL;
    write_slot(t, fd, NULL);
    bit_clear(t->open, fd);
    bit_clear(t->cloexec, fd);
    t->full_upto = MIN(t->full_upto, fd / BITS);
    return f;
}

void fd_close_on_exec(struct fd_table *t)
{
    for (uint32_t fd = 0; fd < t->size; fd++) {
        spin_lock(&t->lock);
        struct file *f = bit_test(t->cloexec, fd) ? take(t, fd) : NULL;
        spin_unlock(&t->lock);
        if (f)
            close_file(t, f);
    }
}

/* --- look-up ---------------------------------------------------------------------------------- */

/*
 * A descriptor of a table that other tasks may be changing. What was read from the table may have
 * been closed since, and even be another file by now; so it is referenced only if it is alive, and
 * taken only if the table still has it then. Arrays that the table has outgrown stay readable.
 */
static struct file *get_shared(struct fd_table *t, uint32_t fd)
{
    while (fd < __atomic_load_n(&t->size, __ATOMIC_ACQUIRE)) {
        struct file *f = read_slot(t, fd);
        if (!f)
            return NULL;
        if (ref_get_unless_zero(&f->refs)) {
            atomic_thread_fence(memory_order_seq_cst); /* the reference before the second look */
            if (likely(read_slot(t, fd) == f))
                return f;
            file_put(f);
        }
        cpu_relax();
    }
    return NULL;
}

struct fd_hold fd_hold_path(int fd)
{
    struct fd_table *t = current_files();
    struct fd_hold h = {0};
    if (likely(ref_count(&t->refs) == 1)) {
        if (likely((uint32_t)fd < t->size))
            h.file = t->files[fd];
        return h;
    }
    h.file = get_shared(t, (uint32_t)fd);
    h.counted = h.file != NULL;
    return h;
}

struct fd_hold fd_hold(int fd)
{
    struct fd_hold h = fd_hold_path(fd);
    if (h.file && unlikely(h.file->flags & OPEN_PATH)) {
        fd_drop(h);
        h = (struct fd_hold){0};
    }
    return h;
}

struct file *fd_get_path(int fd)
{
    struct fd_hold h = fd_hold_path(fd);
    if (h.file && !h.counted)
        file_get(h.file);
    return h.file;
}

struct file *fd_get(int fd)
{
    struct fd_hold h = fd_hold(fd);
    if (h.file && !h.counted)
        file_get(h.file);
    return h.file;
}

int fd_table_next(struct fd_table *t, int from, struct file **out)
{
    int found = -1;
    spin_lock(&t->lock);
    for (uint32_t fd = (uint32_t)MAX(from, 0); fd < t->size && found < 0; fd++) {
        if (t->files[fd]) {
            *out = t->files[fd];
            file_get(*out);
            found = (int)fd;
        }
    }
    spin_unlock(&t->lock);
    return found;
}

/* --- changes ---------------------------------------------------------------------------------- */

static uint32_t fd_limit(void)
{
    uint64_t cur = current_process()->rlimits[RLIMIT_NOFILE_N].cur;
    return (uint32_t)MIN(cur, (uint64_t)FD_MAX);
}

/* The lowest descriptor >= from that is not taken; perhaps behind the table's end. */
static uint32_t lowest_free(const struct fd_table *t, uint32_t from)
{
    uint32_t words = t->size / BITS;
    uint32_t w = MAX(from / BITS, t->full_upto);
    uint64_t below = w == from / BITS ? (1ull << from % BITS) - 1 : 0; /* not wanted in this word */
    for (; w < words; w++, below = 0) {
        uint64_t free = ~(t->open[w] | below);
        if (free)
            return w * BITS + (uint32_t)__builtin_ctzll(free);
    }
    return MAX(from, t->size);
}

int fd_reserve(int from, bool cloexec)
{
    struct fd_table *t = current_files();
    uint32_t limit = fd_limit();
    if (from < 0 || (uint32_t)from >= limit)
        return -EMFILE;
    spin_lock(&t->lock);
    uint32_t fd;
    int err = 0;
    while (!err && (fd = lowest_free(t, (uint32_t)from)) >= t->size && fd < limit)
        err = grow(t, fd);
    if (!err && fd >= limit)
        err = -EMFILE;
    if (!err) {
        bit_set(t->open, fd);
        if (cloexec)
            bit_set(t->cloexec, fd);
        while (t->full_upto < t->size / BITS && t->open[t->full_upto] == UINT64_MAX)
            t->full_upto++;
    }
    spin_unlock(&t->lock);
    return err ? err : (int)fd;
}

void fd_commit(int fd, struct file *f)
{
    struct fd_table *t = current_files();
    spin_lock(&t->lock);
    ASSERT((uint32_t)fd < t->size && bit_test(t->open, (uint32_t)fd) && !t->files[fd]);
    write_slot(t, (uint32_t)fd, f);
    spin_unlock(&t->lock);
}

void fd_unreserve(int fd)
{
    struct fd_table *t = current_files();
    spin_lock(&t->lock);
    bit_clear(t->open, (uint32_t)fd);
    bit_clear(t->cloexec, (uint32_t)fd);
    t->full_upto = MIN(t->full_upto, (uint32_t)fd / BITS);
    spin_unlock(&t->lock);
}

int fd_install(struct file *f, int from, bool cloexec)
{
    int fd = fd_reserve(from, cloexec);
    if (fd >= 0)
        fd_commit(fd, f);
    return fd;
}

int fd_table_set(struct fd_table *t, int fd, struct file *f, bool cloexec)
{
    if (fd < 0)
        return -EBADF;
    spin_lock(&t->lock);
    int err = grow(t, (uint32_t)fd);
    if (!err && !t->files[fd] && bit_test(t->open, (uint32_t)fd))
        err = -EBUSY; /* another task is about to install there */
    if (err) {
        spin_unlock(&t->lock);
        return err;
    }
    struct file *old = t->files[fd];
    write_slot(t, (uint32_t)fd, f); /* others see one or the other */
    bit_set(t->open, (uint32_t)fd);
    if (cloexec)
        bit_set(t->cloexec, (uint32_t)fd);
    else
        bit_clear(t->cloexec, (uint32_t)fd);
    spin_unlock(&t->lock);
    if (old)
        close_file(t, old);
    return 0;
}

int fd_install_at(struct file *f, int fd, bool cloexec)
{
    if (fd < 0 || (uint32_t)fd >= fd_limit())
        return -EBADF;
    int err = fd_table_set(current_files(), fd, f, cloexec);
    return err ? err : fd;
}

int fd_close(int fd)
{
    struct fd_table *t = current_files();
    spin_lock(&t->lock);
    struct file *f = take(t, (uint32_t)fd);
    spin_unlock(&t->lock);
    if (!f)
        return -EBADF;
    close_file(t, f);
    return 0;
}

int fd_table_cloexec(struct fd_table *t, int fd)
{
    spin_lock(&t->lock);
    int r = (uint32_t)fd < t->size && t->files[fd] ? bit_test(t->cloexec, (uint32_t)fd) : -EBADF;
    spin_unlock(&t->lock);
    return r;
}

int fd_get_cloexec(int fd)
{
    return fd_table_cloexec(current_files(), fd);
}

int fd_set_cloexec(int fd, bool on)
{
    struct fd_table *t = current_files();
    int err = 0;
    spin_lock(&t->lock);
    if ((uint32_t)fd >= t->size || !t->files[fd])
        err = -EBADF;
    else if (on)
        bit_set(t->cloexec, (uint32_t)fd);
    else
        bit_clear(t->cloexec, (uint32_t)fd);
    spin_unlock(&t->lock);
    return err;
}

void fd_close_range(unsigned first, unsigned last, bool cloexec_only)
{
    struct fd_table *t = current_files();
    for (uint32_t fd = first; fd <= last && fd < t->size; fd++) {
        spin_lock(&t->lock);
        struct file *f = NULL;
        if (!cloexec_only)
            f = take(t, fd);
        else if (fd < t->size && t->files[fd])
            bit_set(t->cloexec, fd);
        spin_unlock(&t->lock);
        if (f)
            close_file(t, f);
    }
}

int fd_unshare(void)
{
    struct process *p = current_process();
    if (ref_count(&p->files->refs) == 1)
        return 0;
    if (p->task_count > 1) /* one table per process here: a task cannot have its own */
        return -EINVAL;
    struct fd_table *t = fd_table_clone(p->files);
    if (!t)
        return -ENOMEM;
    struct fd_table *old = p->files;
    p->files = t;
    fd_table_put(old);
    return 0;
}

/* --- system calls ----------------------------------------------------------------------------- */

#define CLOSE_RANGE_UNSHARE_FLAG 2u
#define CLOSE_RANGE_CLOEXEC_FLAG 4u

long sys_close(int fd)
{
    return fd_close(fd);
}

long sys_close_range(unsigned first, unsigned last, unsigned flags)
{
    if (flags & ~(CLOSE_RANGE_UNSHARE_FLAG | CLOSE_RANGE_CLOEXEC_FLAG) || first > last)
        return -EINVAL;
    if (flags & CLOSE_RANGE_UNSHARE_FLAG) {
        int err = fd_unshare();
        if (err)
            return err;
    }
    fd_close_range(first, last, flags & CLOSE_RANGE_CLOEXEC_FLAG);
    return 0;
}

long sys_dup(int fd)
{
    struct file *f = fd_get_path(fd);
    if (!f)
        return -EBADF;
    int n = fd_install(f, 0, false);
    if (n < 0)
        file_put(f);
    return n;
}

static long dup_to(int old, int new, bool cloexec)
{
    struct file *f = fd_get_path(old);
    if (!f)
        return -EBADF;
    int n = fd_install_at(f, new, cloexec);
    if (n < 0)
        file_put(f);
    return n;
}

long sys_dup2(int old, int new)
{
    if (old == new)
        return fd_get_cloexec(old) < 0 ? -EBADF : new;
    return dup_to(old, new, false);
}

long sys_dup3(int old, int new, int flags)
{
    if (flags & ~(int)OPEN_CLOEXEC || old == new)
        return -EINVAL;
    return dup_to(old, new, flags);
}
