/*
 * Character devices by number, the file system on /dev that names them, and the devices that are
 * only memory: null, zero, full, random, urandom.
 */
#include "core/rand.h"
#include "fs/internal.h"

struct device {
    struct list link;
    const char *name;
    uint64_t rdev;
    uint32_t mode;
    const struct file_ops *ops;
    int (*open)(struct vnode *v, struct file *f);
};

/* Devices are registered at start, drivers first, and never go: no lock for readers. */
static struct list devices = LIST_INIT(devices);
static spinlock_t devices_lock;
static struct filesystem *devfs;

static struct device *find_device(uint64_t rdev)
{
    struct device *d;
    list_for_each (d, &devices, link) {
        if (d->rdev == rdev)
            return d;
    }
    return NULL;
}

int device_open(struct vnode *v, struct file *f)
{
    struct device *d = find_device(v->attr.rdev);
    if (!d)
        return -ENXIO;
    f->ops = d->ops;
    return d->open ? d->open(v, f) : 0;
}

/* A name in /dev, below directories that are made: "pts/0". */
static int make_node(const char *name, uint32_t mode, uint64_t rdev, const char *link)
{
    struct vnode *dir = devfs->root;
    const char *slash;
    for (; (slash = strchr(name, '/')) != NULL; name = slash + 1) {
        struct vnode *sub = tmpfs_find(dir, name, slash - name);
        if (!sub) {
            sub = tmpfs_new(devfs, MODE_DIR | 0755, 0);
            int err = sub ? tmpfs_add(dir, name, slash - name, sub) : -ENOMEM;
            if (sub)
                vnode_put(sub);
            if (err)
                return err;
        }
        dir = sub;
    }
    if (tmpfs_find(dir, name, strlen(name)))
        return -EEXIST;
    struct vnode *v = tmpfs_new(devfs, mode, rdev);
    if (!v)
        return -ENOMEM;
    int err = link ? tmpfs_set_link(v, link, strlen(link)) : 0;
    rwlock_write(&dir->lock);
    if (!err)
        err = tmpfs_add(dir, name, strlen(name), v);
    rwlock_write_done(&dir->lock);
    vnode_put(v);
    return err;
}

int device_register(const char *name, uint64_t rdev, uint32_t mode, const struct file_ops *ops,
                    int (*open)(struct vnode *v, struct file *f))
{
    if (find_device(rdev))
        return -EEXIST;
    struct device *d = kmalloc(sizeof(*d));
    if (!d)
        return -ENOMEM;
    *d = (struct device){.name = name, .rdev = rdev, .mode = mode, .ops = ops, .open = open};
    spin_lock(&devices_lock);
    list_push_back(&devices, &d->link);
    spin_unlock(&devices_lock);
    return devfs ? make_node(name, MODE_CHR | mode, rdev, NULL) : 0;
}

/* --- memory devices --------------------------------------------------------------------------- */

static ssize_t null_read(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)f, (void)u, (void)pos;
    return 0;
}

static ssize_t null_write(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)f, (void)pos;
    size_t n = u->resid;
    uio_skip(u, n);
    return n;
}

static ssize_t zero_read(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)f, (void)pos;
    size_t n = u->resid;
    int err = uio_zero(u, n);
    return u->resid < n ? (ssize_t)(n - u->resid) : err;
}

static ssize_t full_write(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)f, (void)u, (void)pos;
    return -ENOSPC;
}

static ssize_t random_read(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)f, (void)pos;
    uint8_t chunk[256];
    size_t n = u->resid;
    int err = 0;
    while (u->resid && !err) {
        size_t part = MIN(sizeof(chunk), u->resid);
        rand_bytes(chunk, part);
        err = uio_write(u, chunk, part);
    }
    return u->resid < n ? (ssize_t)(n - u->resid) : err;
}

/* Seeking in these devices succeeds and means nothing. */
static int64_t null_seek(struct file *f, int64_t offset, int whence)
{
    (void)offset, (void)whence;
    f->pos = 0;
    return 0;
}

static const struct file_ops null_ops = {
    .name = "null", .read = null_read, .write = null_write, .seek = null_seek};
static const struct file_ops zero_ops = {
    .name = "zero", .read = zero_read, .write = null_write, .seek = null_seek};
static const struct file_ops full_ops = {
    .name = "full", .read = zero_read, .write = full_write, .seek = null_seek};
static const struct file_ops random_ops = {
    .name = "random", .read = random_read, .write = null_write, .seek = null_seek};

#define DEVICE(major, minor) ((uint64_t)(major) << 32 | (minor))

static const struct device memory_devices[] = {
    {.name = "null", .rdev = DEVICE(1, 3), .mode = 0666, .ops = &null_ops},
    {.name = "zero", .rdev = DEVICE(1, 5), .mode = 0666, .ops = &zero_ops},
    {.name = "full", .rdev = DEVICE(1, 7), .mode = 0666, .ops = &full_ops},
    {.name = "random", .rdev = DEVICE(1, 8), .mode = 0666, .ops = &random_ops},
    {.name = "urandom", .rdev = DEVICE(1, 9), .mode = 0666, .ops = &random_ops},
};

static const struct {
    const char *name, *target;
} dev_links[] = {
    {"fd", "/proc/self/fd"},
    {"stdin", "/proc/self/fd/0"},
    {"stdout", "/proc/self/fd/1"},
    {"stderr", "/proc/self/fd/2"},
};

struct filesystem *devfs_filesystem(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(memory_devices); i++) {
        const struct device *d = &memory_devices[i];
        int err = device_register(d->name, d->rdev, d->mode, d->ops, NULL);
        if (err && err != -EEXIST)
            return NULL;
    }
    devfs = tmpfs_create(0);
    if (!devfs)
        return NULL;
    devfs->type = "devtmpfs";
    struct device *d;
    list_for_each (d, &devices, link) {
        if (make_node(d->name, MODE_CHR | d->mode, d->rdev, NULL))
            return NULL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(dev_links); i++) {
        if (make_node(dev_links[i].name, MODE_LNK | 0777, 0, dev_links[i].target))
            return NULL;
    }
    return devfs;
}
