/*
 * System V shared memory. A segment is a file without a name on the file system of shared anonymous
 * memory; attaching it is a mapping of that file, and the mappings are what counts as attachments.
 */
#include <linux/shm.h>

#include "core/mem.h"
#include "linux/sysv_ipc.h"
#include "linux/mm.h"
#include "linux/syscall.h"

#define SEGMENT_MAX (1ULL << 46)
#define SHM_DEST 01000 /* in the mode: goes with the last attachment */

struct segment {
    struct ipc_object ipc;
    struct vnode *vnode;
    size_t size;
    int creator, last_pid;
    int64_t attach_time, detach_time, change_time;
};

static struct ipc_set segments = {.objects = LIST_INIT(segments.objects)};
static int removed_segments; /* that are still mapped */

static struct segment *segment_of(struct ipc_object *o)
{
    return container_of(o, struct segment, ipc);
}

static void segment_free(struct ipc_object *o)
{
    vnode_put(segment_of(o)->vnode);
    kfree(segment_of(o));
}

static struct ipc_object *segment_create(const struct ipc_request *r)
{
    if (r->size < SHMMIN || r->size > SEGMENT_MAX)
        return ERR_PTR(-EINVAL);
    if (r->flags & SHM_HUGETLB)
        return ERR_PTR(-ENOMEM); /* no pages are reserved for that */
    struct segment *s = kzalloc(sizeof(*s));
    struct vnode *v = s ? mm_shared_vnode(ROUND_UP(r->size, PAGE_SIZE)) : NULL;
    if (!v) {
        kfree(s);
        return ERR_PTR(-ENOMEM);
    }
    s->ipc.free = segment_free;
    s->vnode = v;
    s->size = r->size;
    s->creator = current_process()->pid;
    s->change_time = ipc_now();
    return &s->ipc;
}

static int segment_check(const struct ipc_object *o, const struct ipc_request *r)
{
    return container_of(o, struct segment, ipc)->size < r->size ? -EINVAL : 0;
}

static uint64_t attachments(struct segment *s)
{
    uint64_t n = 0;
    struct vnode_mapping *m;
    mutex_lock(&s->vnode->mappings_lock);
    list_for_each (m, &s->vnode->mappings, link)
        n++;
    mutex_unlock(&s->vnode->mappings_lock);
    return n;
}

void shm_sweep(void)
{
    struct ipc_object *o, *tmp;
    if (!removed_segments)
        return;
    list_for_each_safe (o, tmp, &segments.objects, link) {
        if ((o->mode & SHM_DEST) && !attachments(segment_of(o))) {
            removed_segments--;
            ipc_remove(&segments, o);
        }
    }
}

long sys_shmget(int key, size_t size, int flags)
{
    return ipc_get(&segments, &(struct ipc_request){.key = key,
                                                    .flags = flags,
                                                    .size = size,
                                                    .create = segment_create,
                                                    .check = segment_check});
}

/* Where shmat(2) maps: 0, or -EINVAL. */
static int check_place(uaddr_t *addr, int flags)
{
    if (!*addr)
        return flags & SHM_REMAP ? -EINVAL : 0;
    if (*addr & ~PAGE_MASK) {
        if (!(flags & SHM_RND))
            return -EINVAL;
        *addr &= PAGE_MASK;
        if (!*addr && (flags & SHM_REMAP))
            return -EINVAL;
    }
    return 0;
}

static long attach(struct segment *s, uaddr_t addr, int flags)
{
    bool writable = !(flags & SHM_RDONLY);
    struct map_request m = {
        .addr = addr,
        .len = ROUND_UP(s->size, PAGE_SIZE),
        .prot = PROT_R | (writable ? PROT_W : 0) | (flags & SHM_EXEC ? PROT_X : 0),
        .flags = REGION_SHARED | (writable ? REGION_MAYWRITE : 0),
        .fixed = addr != 0,
        .noreplace = !(flags & SHM_REMAP),
        .vnode = s->vnode,
    };
    long at = mm_map(current_process()->mm, &m);
    if (at > 0) {
        s->attach_time = ipc_now();
        s->last_pid = current_process()->pid;
    }
    return at == -EEXIST ? -EINVAL : at;
}

long sys_shmat(int id, uaddr_t addr, int flags)
{
    unsigned access = flags & SHM_RDONLY ? IPC_READ : IPC_READ | IPC_WRITE;
    int err = check_place(&addr, flags);
    if (err)
        return err;
    if (flags & SHM_EXEC)
        access |= 0111;
    mutex_lock(&ipc_lock);
    struct ipc_object *o = ipc_find(&segments, id, access);
    long res = IS_ERR(o) ? PTR_ERR(o) : attach(segment_of(o), addr, flags);
    mutex_unlock(&ipc_lock);
    return res;
}

/* The segment whose attachment begins at addr, or NULL. */
static struct segment *attached_at(struct mm *mm, uaddr_t addr)
{
    struct ipc_object *o;
    struct segment *found = NULL;
    rwlock_read(&mm->lock);
    struct region *r = region_find(mm, addr);
    if (r && r->start <= addr && r->vnode && r->pgoff == (r->start - addr) >> PAGE_SHIFT) {
        list_for_each (o, &segments.objects, link) {
            if (segment_of(o)->vnode == r->vnode)
                found = segment_of(o);
        }
    }
    rwlock_read_done(&mm->lock);
    return found;
}

/* Unmaps what is left of the attachment at addr: other mappings may have taken its place in part.
 */
static int detach(struct mm *mm, struct segment *s, uaddr_t addr)
{
    int err = 0;
    uaddr_t end = addr + ROUND_UP(s->size, PAGE_SIZE);
    rwlock_write(&mm->lock);
    struct region *next;
    for (struct region *r = region_find(mm, addr); r && r->start < end && !err; r = next) {
        uaddr_t from = r->start, to = MIN(r->end, end);
        next = region_next(r);
        if (r->vnode == s->vnode && r->pgoff << PAGE_SHIFT == r->start - addr)
            err = mm_unmap_locked(mm, from, to);
    }
    rwlock_write_done(&mm->lock);
    return err;
}

long sys_shmdt(uaddr_t addr)
{
    struct mm *mm = current_process()->mm;
    int err = -EINVAL;
    if (addr & ~PAGE_MASK)
        return -EINVAL;
    mutex_lock(&ipc_lock);
    struct segment *s = attached_at(mm, addr);
    if (s)
        err = detach(mm, s, addr);
    if (!err) {
        s->detach_time = ipc_now();
        s->last_pid = current_process()->pid;
        shm_sweep();
    }
    mutex_unlock(&ipc_lock);
    return err;
}

static void stat_segment(struct segment *s, struct shmid64_ds *out)
{
    *out = (struct shmid64_ds){
        .shm_segsz = s->size,
        .shm_atime = s->attach_time,
        .shm_dtime = s->detach_time,
        .shm_ctime = s->change_time,
        .shm_cpid = s->creator,
        .shm_lpid = s->last_pid,
        .shm_nattch = attachments(s),
    };
    ipc_stat(&s->ipc, &out->shm_perm);
}

/* IPC_RMID: nobody finds it by its key any more, and it goes with its last attachment. */
static void remove_segment(struct segment *s)
{
    if (!(s->ipc.mode & SHM_DEST))
        removed_segments++;
    s->ipc.mode |= SHM_DEST;
    s->ipc.key = IPC_PRIVATE;
    shm_sweep();
}

static long control_locked(int id, int cmd, struct shmid64_ds *ds)
{
    struct ipc_object *o = ipc_find_for(&segments, id, cmd, SHM_STAT, SHM_STAT_ANY);
    if (IS_ERR(o))
        return PTR_ERR(o);
    struct segment *s = segment_of(o);
    switch (cmd) {
    case IPC_STAT:
        stat_segment(s, ds);
        return 0;
    case SHM_STAT:
    case SHM_STAT_ANY:
        stat_segment(s, ds);
        return o->id;
    case IPC_SET:
        ipc_change(o, &ds->shm_perm);
        s->change_time = ipc_now();
        return 0;
    case IPC_RMID:
        remove_segment(s);
        return 0;
    default: /* SHM_LOCK, SHM_UNLOCK: memory is never swapped */
        return 0;
    }
}

static void get_info(struct shm_info *out)
{
    struct ipc_object *o;
    *out = (struct shm_info){.used_ids = segments.count};
    list_for_each (o, &segments.objects, link)
        out->shm_tot += DIV_ROUND_UP(segment_of(o)->size, PAGE_SIZE);
}

/* IPC_INFO and SHM_INFO. */
static long info(int cmd, uaddr_t buf)
{
    struct shminfo64 limits = {.shmmax = SEGMENT_MAX,
                               .shmmin = SHMMIN,
                               .shmmni = IPC_OBJECTS_MAX,
                               .shmseg = IPC_OBJECTS_MAX,
                               .shmall = SEGMENT_MAX / PAGE_SIZE};
    struct shm_info used;
    mutex_lock(&ipc_lock);
    get_info(&used);
    long highest = ipc_highest(&segments);
    mutex_unlock(&ipc_lock);
    int err = cmd == IPC_INFO ? copy_to_user(buf, &limits, sizeof(limits))
                              : copy_to_user(buf, &used, sizeof(used));
    return err ? err : highest;
}

long sys_shmctl(int id, int cmd, uaddr_t buf)
{
    struct shmid64_ds ds = {0};
    bool stat = cmd == IPC_STAT || cmd == SHM_STAT || cmd == SHM_STAT_ANY;
    if (id < 0)
        return -EINVAL;
    if (cmd == IPC_INFO || cmd == SHM_INFO)
        return info(cmd, buf);
    if (!stat && cmd != IPC_SET && cmd != IPC_RMID && cmd != SHM_LOCK && cmd != SHM_UNLOCK)
        return -EINVAL;
    if (cmd == IPC_SET && copy_from_user(&ds, buf, sizeof(ds)))
        return -EFAULT;
    mutex_lock(&ipc_lock);
    long res = control_locked(id, cmd, &ds);
    mutex_unlock(&ipc_lock);
    return stat && res >= 0 && copy_to_user(buf, &ds, sizeof(ds)) ? -EFAULT : res;
}

static void show_segment(struct text_buf *b, struct ipc_object *o)
{
    struct segment *s = segment_of(o);
    text_printf(
        b, "%10d %10d  %4o %21lu %5d %5d  %5lu %5u %5u %5u %5u %10ld %10ld %10ld %21lu %21lu\n",
        o->key, o->id, o->mode, s->size, s->creator, s->last_pid, (unsigned long)attachments(s),
        o->uid, o->gid, o->cuid, o->cgid, (long)s->attach_time, (long)s->detach_time,
        (long)s->change_time, s->size, 0ul);
}

void shm_init(void)
{
    static struct ipc_table table = {
        .name = "shm",
        .heading =
            "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  "
            "cuid  cgid      atime      dtime      ctime                   rss                "
            "  swap",
        .set = &segments,
        .line = show_segment,
    };
    ipc_table_register(&table);
}
