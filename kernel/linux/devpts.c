/* The names of terminals: the file system on /dev/pts, a device for each terminal that has a
 * number. */
#include "core/mem.h"
#include "fs/vfs.h"
#include "linux/process.h"
#include "linux/tty_internal.h"

#define TERMINALS_MAX 256
#define PTS_MAJOR 136u
#define GROUP_TTY 5

static struct vnode *terminals[TERMINALS_MAX]; /* by number; vnode->data: the tty, referenced */
static spinlock_t terminals_lock = SPINLOCK_INIT;
static struct filesystem devpts;

static int terminal_open(struct vnode *v, struct file *f)
{
    struct tty *t = v->data;
    if (READ_ONCE(t->hung_up) || READ_ONCE(t->locked))
        return -EIO;
    tty_open_as(t, f);
    if (!(f->flags & OPEN_NOCTTY))
        tty_take(t, false); /* where it may not it is just a terminal */
    return 0;
}

static void terminal_release(struct vnode *v)
{
    tty_put(v->data);
}

static const struct vnode_ops terminal_ops = {.open = terminal_open, .release = terminal_release};

/* The lowest number that is free, now v's; -ENOSPC. */
static int take_number(struct vnode *v)
{
    int n = 0;
    spin_lock(&terminals_lock);
    while (n < TERMINALS_MAX && terminals[n])
        n++;
    if (n < TERMINALS_MAX) {
        struct tty *t = v->data;
        t->number = n;
        t->dev = PTS_MAJOR << 8 | (uint32_t)n; /* TERMINALS_MAX of them fit */
        v->attr.ino = (uint64_t)n + 3;
        v->attr.rdev = (uint64_t)PTS_MAJOR << 32 | (uint32_t)n;
        terminals[n] = v;
    }
    spin_unlock(&terminals_lock);
    return n < TERMINALS_MAX ? 0 : -ENOSPC;
}

int devpts_add(struct tty *t, uint32_t uid)
{
    struct vnode *v = vnode_alloc(&devpts, &terminal_ops, 0, MODE_CHR | 0620);
    if (!v)
        return -ENOMEM;
    v->attr.uid = uid;
    v->attr.gid = GROUP_TTY;
    tty_get(t);
    v->data = t;
    int err = take_number(v);
    if (err)
        vnode_put(v);
    return err;
}

void devpts_remove(struct tty *t)
{
    spin_lock(&terminals_lock);
    struct vnode *v = terminals[t->number];
    terminals[t->number] = NULL;
    spin_unlock(&terminals_lock);
    vnode_put(v);
}

void devpts_set_owner(struct tty *t, uint32_t uid)
{
    terminals[t->number]->attr.uid = uid;
}

struct file *devpts_open(struct tty *t, unsigned flags)
{
    char name[24];
    struct file *f;
    snprintf(name, sizeof(name), "/dev/pts/%d", t->number);
    int err = vfs_open(vfs_root_context(), NULL, name, flags, 0, &f);
    return err ? ERR_PTR(err) : f;
}

static int find(struct filesystem *fs, void *arg, const char *name, size_t len, struct vnode **out)
{
    (void)fs;
    (void)arg;
    char text[8];
    uint64_t number;
    if (len >= sizeof(text) || (len > 1 && name[0] == '0'))
        return -ENOENT;
    str_copy(text, name, len + 1);
    if (parse_u64(text, &number) || number >= TERMINALS_MAX)
        return -ENOENT;
    spin_lock(&terminals_lock);
    *out = terminals[number];
    if (*out)
        vnode_get(*out);
    spin_unlock(&terminals_lock);
    return *out ? 0 : -ENOENT;
}

static int list(void *arg, uint64_t *pos, char *name, size_t size, unsigned *type)
{
    (void)arg;
    for (; *pos < TERMINALS_MAX; ++*pos) {
        if (READ_ONCE(terminals[*pos])) {
            snprintf(name, size, "%d", (int)*pos);
            *type = MODE_CHR;
            return 1;
        }
    }
    return 0;
}

int devpts_mount(void)
{
    filesystem_init(&devpts, "devpts");
    devpts.root = procfs_dir_vnode(&devpts, 1, 0755, find, list, NULL, NULL);
    if (!devpts.root)
        return -ENOMEM;
    int err = vfs_mkdir(vfs_root_context(), NULL, "/dev/pts", 0755);
    if (err && err != -EEXIST)
        return err;
    return vfs_mount(vfs_root_context(), &devpts, "/dev/pts", "devpts",
                     MOUNT_NOSUID | MOUNT_NOEXEC);
}
