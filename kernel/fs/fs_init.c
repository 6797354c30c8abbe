/* Start of the file systems: the boot image becomes the root, the others are mounted on it. */
#include "core/bootargs.h"
#include "core/init.h"
#include "core/timer.h"
#include "fs/9p.h"
#include "fs/internal.h"

/* Part of the memory that files in the root may take, beside what the boot image brings. */
#define ROOT_SHARE 2
#define TMPFS_SHARE 2

/* Gives back the pages of the image that did not become pages of files. */
static void free_rest_of_image(const char *image, size_t size)
{
    for (size_t at = 0; at < size; at += PAGE_SIZE) {
        struct page *page = page_of(image + at);
        if (page && !page->owner)
            page_put(page);
    }
}

static struct filesystem *make_root(void)
{
    struct filesystem *root = tmpfs_create(0);
    if (!root)
        panic("no memory for the root file system");
    size_t size;
    const char *image = boot_image(&size);
    nsec_t start = time_now();
    if (!image) {
        klog(LOG_WARN, "no boot image: the root is empty");
    } else if (bootimage_unpack(root, image, size) == 0) {
        free_rest_of_image(image, size);
        klog(LOG_DEBUG, "boot image: %zu KiB unpacked in %lld us", size / 1024,
             (long long)(time_now() - start) / 1000);
    } else {
        panic("the boot image is damaged");
    }
    struct mem_stats mem;
    mem_stats(&mem);
    root->max_pages = atomic_load(&root->pages) + mem.total_pages / ROOT_SHARE;
    return root;
}

static void make_dir(const char *where, uint32_t mode)
{
    struct fs_context ctx = *vfs_root_context();
    ctx.umask = 0;
    int err = vfs_mkdir(&ctx, NULL, where, mode);
    if (err && err != -EEXIST)
        klog(LOG_ERROR, "cannot make %s: error %d", where, err);
}

/* Mounts fs on a directory that is made if it is not there. */
static void mount_on(struct filesystem *fs, const char *where, unsigned flags)
{
    make_dir(where, 0755);
    int err = fs ? vfs_mount(vfs_root_context(), fs, where, fs->type, flags) : -ENOMEM;
    if (err)
        klog(LOG_ERROR, "cannot mount %s: error %d", where, err);
}

static struct filesystem *new_tmpfs(uint32_t mode)
{
    struct mem_stats mem;
    mem_stats(&mem);
    struct filesystem *fs = tmpfs_create(mem.total_pages / TMPFS_SHARE * PAGE_SIZE);
    if (fs)
        fs->root->attr.mode = MODE_DIR | mode;
    return fs;
}

/* The four numbers of "owner=HUID.HGID.UID.GID". */
static int parse_owner(char *text, struct p9_owner *o)
{
    uint32_t *const ids[] = {&o->server_uid, &o->server_gid, &o->uid, &o->gid};
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        char *dot = strchr(text, '.');
        uint64_t value;
        if (!dot != (i + 1 == ARRAY_SIZE(ids)))
            return -EINVAL;
        char *rest = dot ? dot + 1 : NULL;
        if (dot)
            *dot = 0;
        if (parse_u64(text, &value) || value > UINT32_MAX)
            return -EINVAL;
        *ids[i] = (uint32_t)value;
        text = rest;
    }
    return 0;
}

/* Makes a directory and those above it. */
static void make_dirs(char *path)
{
    for (char *p = path + 1; *p; p++) {
        if (*p == '/') {
            *p = 0;
            make_dir(path, 0755);
            *p = '/';
        }
    }
    make_dir(path, 0755);
}

/* One TAG:PATH[:OPTION...] of volumes=; the directories on the way are made. */
static int mount_volume(const char *volume, size_t len)
{
    char text[384], *path, *option;
    unsigned flags = MOUNT_NOSUID | MOUNT_NODEV;
    struct p9_owner owner, *owned = NULL;
    if (len >= sizeof(text))
        return -ENAMETOOLONG;
    str_copy(text, volume, len + 1);
    path = strchr(text, ':');
    if (!path || path[1] != '/')
        return -EINVAL;
    *path++ = 0;
    option = strchr(path, ':');
    while (option) {
        *option++ = 0;
        char *next = strchr(option, ':');
        if (next)
            *next = 0;
        if (!strcmp(option, "ro"))
            flags |= MOUNT_RDONLY;
        else if (!strncmp(option, "owner=", 6) && !parse_owner(option + 6, &owner))
            owned = &owner;
        else
            return -EINVAL;
        option = next;
    }
    struct p9_transport *t = p9_transport_find(text, strlen(text));
    if (!t)
        return -ENODEV;
    make_dirs(path);
    struct filesystem *fs = p9_create(t, owned);
    if (IS_ERR(fs))
        return PTR_ERR(fs);
    return vfs_mount(vfs_root_context(), fs, path, t->tag, flags);
}

static void mount_volumes(void)
{
    const char *p = bootarg("volumes");
    while (p && *p) {
        const char *comma = strchr(p, ',');
        size_t len = comma ? (size_t)(comma - p) : strlen(p);
        int err = mount_volume(p, len);
        if (err)
            klog(LOG_ERROR, "cannot mount volume %.*s: error %d", (int)len, p, err);
        p += comma ? len + 1 : len;
    }
}

void fs_init(void)
{
    vfs_init();
    struct filesystem *root = make_root();
    int err = vfs_mount(vfs_root_context(), root, "/", "tmpfs", 0);
    if (err)
        panic("cannot mount the root: error %d", err);
    mount_on(procfs_filesystem("proc"), "/proc", MOUNT_NOSUID | MOUNT_NODEV | MOUNT_NOEXEC);
    mount_on(procfs_filesystem("sys"), "/sys", MOUNT_NOSUID | MOUNT_NODEV | MOUNT_NOEXEC);
    mount_on(devfs_filesystem(), "/dev", MOUNT_NOSUID);
    mount_on(new_tmpfs(MODE_STICKY | 0777), "/dev/shm", MOUNT_NOSUID | MOUNT_NODEV);
    /* The root is in memory already: what the image put into these stays visible. */
    make_dir("/tmp", MODE_STICKY | 0777);
    make_dir("/run", 0755);
    mount_volumes();
    proc_files_init();
    mem_register_shrinker(vfs_shrink);
}
