/*
 * The boot image: a cpio "newc" archive (cpio(5)) that fills a tmpfs.
 *
 * An entry is a header of 110 characters ("070701" and 13 fields of 8 hexadecimal digits), the name
 * (c_namesize bytes, NUL included, more NULs allowed), padding to 4 bytes, the data, padding to 4
 * bytes. The entry named TRAILER!!! ends the archive.
 *
 * File data that begins on a page of memory is not copied: its pages move into the page cache. The
 * last of them also holds what follows the data in the archive (it reads as zeroes in the file), so
 * it is cleared only when the parser has moved past it. Everything in the archive is checked before
 * use:
 *
 *   1. header, name and data lie within the image, and all header fields are hexadecimal
 *   2. a name is relative, has no empty, "." or ".." component, and components of at most NAME_MAX
 *   3. its directory is not a file; missing directories are made
 *   4. only regular files and symbolic links have data; a link's is 1 to PATH_MAX - 1 bytes, no NUL
 *   5. hard links: same device and inode number, a link count above 1, same type
 */
#include "fs/internal.h"

#define HEADER_SIZE 110u
#define NOT_HEX 0x10
#define NAME_SIZE_MAX (VFS_PATH_MAX + PAGE_SIZE) /* with padding to a page */

enum {
    C_INO,
    C_MODE,
    C_UID,
    C_GID,
    C_NLINK,
    C_MTIME,
    C_FILESIZE,
    C_DEVMAJOR,
    C_DEVMINOR,
    C_RDEVMAJOR,
    C_RDEVMINOR,
    C_NAMESIZE,
    C_CHECK,
    C_FIELDS
};

struct hard_link {
    struct rb_node node;
    uint64_t dev;
    uint32_t ino;
    struct vnode *vnode; /* the tree keeps it alive */
};

struct entry {
    uint32_t field[C_FIELDS];
    const char *name; /* without "./"; "" for the root */
    size_t name_len;
    const char *data;
    size_t size, next; /* offset of the next entry */
};

struct unpack {
    struct filesystem *fs;
    const char *image;
    size_t size, offset;
    const char *problem;
    /* The directory of the last entry: the next one is mostly in the same. */
    struct vnode *dir;
    size_t dir_len;
    /* The part of a page in use that is still to be cleared. */
    char *tail, *tail_end;
    struct rb_tree links;
    uint8_t hex[256]; /* values of digits */
    char dir_name[VFS_PATH_MAX];
};

static int damaged(struct unpack *u, const char *problem)
{
    u->problem = problem;
    return -EINVAL;
}

/* --- parsing ---------------------------------------------------------------------------------- */

static void hex_init(uint8_t *values)
{
    memset(values, NOT_HEX, 256);
    for (int i = 0; i < 10; i++)
        values['0' + i] = i;
    for (int i = 0; i < 6; i++)
        values['a' + i] = values['A' + i] = 10 + i;
}

static bool parse_fields(const uint8_t *hex, const char *text, uint32_t *fields)
{
    const uint8_t *p = (const uint8_t *)text;
    uint8_t all = 0;
    for (int i = 0; i < C_FIELDS; i++) {
        uint32_t value = 0;
        for (int j = 0; j < 8; j++) {
            uint8_t digit = hex[*p++];
            all |= digit;
            value = value << 4 | (digit & 15);
        }
        fields[i] = value;
    }
    return !(all & NOT_HEX);
}

static bool name_is_safe(const char *name, size_t len)
{
    const char *end = name + len;
    if (len == 0 || len >= VFS_PATH_MAX)
        return false;
    for (const char *p = name; p <= end; p++) {
        const char *slash = memchr(p, '/', end - p);
        size_t n = (slash ? slash : end) - p;
        if (n == 0 || n > VFS_NAME_MAX || (p[0] == '.' && (n == 1 || (n == 2 && p[1] == '.'))))
            return false;
        p += n;
    }
    return true;
}

static int parse_entry(struct unpack *u, struct entry *e)
{
    size_t left = u->size - u->offset;
    const char *header = u->image + u->offset;
    if (left < HEADER_SIZE)
        return damaged(u, "cut off in a header");
    if (memcmp(header, "070701", 6) != 0)
        return damaged(u, "not a newc header");
    if (!parse_fields(u->hex, header + 6, e->field))
        return damaged(u, "a header field is not a number");

    size_t name_size = e->field[C_NAMESIZE],
           data = ROUND_UP(u->offset + HEADER_SIZE + name_size, 4);
    if (name_size == 0 || name_size > NAME_SIZE_MAX || name_size > left - HEADER_SIZE)
        return damaged(u, "bad name size");
    e->name = header + HEADER_SIZE;
    e->name_len = strnlen(e->name, name_size);
    if (e->name_len == name_size)
        return damaged(u, "the name does not end");
    if (e->name_len > 1 && e->name[0] == '.' && e->name[1] == '/') {
        e->name += 2;
        e->name_len -= 2;
    } else if (e->name_len == 1 && e->name[0] == '.') {
        e->name_len = 0;
    }
    e->size = e->field[C_FILESIZE];
    if (data > u->size || e->size > u->size - data)
        return damaged(u, "data behind the end of the image");
    e->data = u->image + data;
    e->next = MIN(ROUND_UP(data + e->size, 4), u->size);
    return 0;
}

/* --- building --------------------------------------------------------------------------------- */

/* Finds or makes one directory on the way to an entry. */
static int enter_dir(struct unpack *u, struct vnode **dir, const char *name, size_t len)
{
    struct vnode *v = tmpfs_find(*dir, name, len);
    if (v && vnode_type(v) != MODE_DIR)
        return damaged(u, "below something that is not a directory");
    if (!v) {
        v = tmpfs_new(u->fs, MODE_DIR | 0755, 0);
        if (!v)
            return -ENOMEM;
        int err = tmpfs_add(*dir, name, len, v);
        vnode_put(v);
        if (err)
            return err;
    }
    *dir = v;
    return 0;
}

/* The directory of an entry, and its last component. */
static int find_dir(struct unpack *u, const struct entry *e, struct vnode **dir, const char **last)
{
    size_t len = e->name_len;
    while (len && e->name[len - 1] != '/')
        len--;
    *last = e->name + len;
    if (len == u->dir_len && !memcmp(e->name, u->dir_name, len)) {
        *dir = u->dir;
        return 0;
    }
    struct vnode *d = u->fs->root;
    for (const char *p = e->name; p < *last;) {
        const char *slash = memchr(p, '/', *last - p);
        int err = enter_dir(u, &d, p, slash - p);
        if (err)
            return err;
        p = slash + 1;
    }
    memcpy(u->dir_name, e->name, len);
    u->dir_len = len;
    *dir = u->dir = d;
    return 0;
}

static int copy_page(struct vnode *v, uint64_t index, const char *data, size_t n)
{
    struct page *page = page_alloc(0, 0);
    if (!page)
        return -ENOMEM;
    memcpy(page_addr(page), data, n);
    memset((char *)page_addr(page) + n, 0, PAGE_SIZE - n);
    int err = page_cache_insert(v, index, page);
    if (err)
        page_put(page);
    return err;
}

/* A page that the file may have: whole, of the allocator, not used by another entry already. */
static bool usable_in_place(const struct unpack *u, const char *data)
{
    if ((size_t)(u->image + u->size - data) < PAGE_SIZE)
        return false;
    struct page *page = page_of(data);
    return page && !page->owner && page->order == 0 && ref_count(&page->refs) == 1;
}

/* Moves the pages at the start of the data that may move into the file; the number of them. */
static ssize_t use_pages(struct unpack *u, struct vnode *v, const struct entry *e)
{
    size_t n = 0;
    if ((uintptr_t)e->data % PAGE_SIZE)
        return 0;
    while (n * PAGE_SIZE < e->size && usable_in_place(u, e->data + n * PAGE_SIZE))
        n++;
    int err = n ? page_cache_insert_run(v, 0, e->data, n) : 0;
    if (err)
        return err;
    if (n * PAGE_SIZE > e->size) {
        u->tail = (char *)(uintptr_t)e->data + e->size;
        u->tail_end = (char *)(uintptr_t)e->data + n * PAGE_SIZE;
    }
    return n;
}

static int add_data(struct unpack *u, struct vnode *v, const struct entry *e)
{
    ssize_t n = use_pages(u, v, e);
    if (n < 0)
        return n;
    for (size_t index = n, at = n * PAGE_SIZE; at < e->size; index++, at += PAGE_SIZE) {
        int err = copy_page(v, index, e->data + at, MIN(PAGE_SIZE, e->size - at));
        if (err)
            return err;
    }
    v->attr.size = e->size;
    return 0;
}

static int compare_links(const struct rb_node *x, const struct rb_node *y)
{
    const struct hard_link *a = container_of(x, struct hard_link, node);
    const struct hard_link *b = container_of(y, struct hard_link, node);
    if (a->dev != b->dev)
        return a->dev < b->dev ? -1 : 1;
    return a->ino < b->ino ? -1 : a->ino > b->ino;
}

static uint64_t entry_dev(const struct entry *e)
{
    return (uint64_t)e->field[C_DEVMAJOR] << 32 | e->field[C_DEVMINOR];
}

static struct vnode *find_link(struct unpack *u, const struct entry *e)
{
    struct hard_link key = {.dev = entry_dev(e), .ino = e->field[C_INO]};
    struct rb_node *n = u->links.root;
    while (n) {
        int order = compare_links(&key.node, n);
        if (order == 0)
            return container_of(n, struct hard_link, node)->vnode;
        n = order < 0 ? n->left : n->right;
    }
    return NULL;
}

static int remember_link(struct unpack *u, const struct entry *e, struct vnode *v)
{
    struct hard_link *l = kmalloc(sizeof(*l));
    if (!l)
        return -ENOMEM;
    l->dev = entry_dev(e);
    l->ino = e->field[C_INO];
    l->vnode = v;
    vnode_get(v);
    rb_insert(&u->links, &l->node, compare_links);
    return 0;
}

static void forget_links(struct unpack *u)
{
    struct rb_node *n;
    while ((n = u->links.root) != NULL) {
        struct hard_link *l = container_of(n, struct hard_link, node);
        rb_remove(&u->links, n);
        vnode_put(l->vnode);
        kfree(l);
    }
}

static void set_attributes(struct vnode *v, const struct entry *e)
{
    v->attr.mode = e->field[C_MODE] & (MODE_FMT | 07777);
    v->attr.uid = e->field[C_UID];
    v->attr.gid = e->field[C_GID];
    v->attr.mtime_ns = (int64_t)e->field[C_MTIME] * NSEC_PER_SEC;
}

static int check_type(struct unpack *u, const struct entry *e)
{
    switch (e->field[C_MODE] & MODE_FMT) {
    case MODE_REG:
        return 0;
    case MODE_LNK:
        if (e->size == 0 || e->size >= VFS_PATH_MAX || memchr(e->data, 0, e->size))
            return damaged(u, "bad symbolic link");
        return 0;
    case MODE_DIR:
    case MODE_CHR:
    case MODE_BLK:
    case MODE_FIFO:
    case MODE_SOCK:
        return e->size ? damaged(u, "data where there can be none") : 0;
    default:
        return damaged(u, "unknown file type");
    }
}

/* A new file of the entry's type with its data, and its name. */
static int add_new(struct unpack *u, const struct entry *e, struct vnode *dir, const char *last,
                   size_t len)
{
    uint32_t type = e->field[C_MODE] & MODE_FMT;
    uint64_t rdev = (uint64_t)e->field[C_RDEVMAJOR] << 32 | e->field[C_RDEVMINOR];
    struct vnode *v = tmpfs_new(u->fs, e->field[C_MODE] & (MODE_FMT | 07777), rdev);
    if (!v)
        return -ENOMEM;
    set_attributes(v, e);
    int err = 0;
    if (type == MODE_LNK)
        err = tmpfs_set_link(v, e->data, e->size);
    else if (type == MODE_REG)
        err = add_data(u, v, e);
    if (!err && type != MODE_DIR && e->field[C_NLINK] > 1)
        err = remember_link(u, e, v);
    if (!err)
        err = tmpfs_add(dir, last, len, v);
    vnode_put(v);
    return err;
}

/* A further name of a file that is there; its data may come with any of its names. */
static int add_link(struct unpack *u, const struct entry *e, struct vnode *v, struct vnode *dir,
                    const char *last, size_t len)
{
    if (vnode_type(v) != (e->field[C_MODE] & MODE_FMT))
        return damaged(u, "hard link to a file of another type");
    if (vnode_type(v) == MODE_REG && e->size && !v->attr.size) {
        int err = add_data(u, v, e);
        if (err)
            return err;
    }
    return tmpfs_add(dir, last, len, v);
}

static int add_entry(struct unpack *u, const struct entry *e)
{
    int err = check_type(u, e);
    if (err)
        return err;
    bool is_dir = (e->field[C_MODE] & MODE_FMT) == MODE_DIR;
    if (!e->name_len) {
        if (!is_dir)
            return damaged(u, "the root is not a directory");
        set_attributes(u->fs->root, e);
        return 0;
    }
    if (!name_is_safe(e->name, e->name_len))
        return damaged(u, "bad name");
    struct vnode *dir;
    const char *last;
    err = find_dir(u, e, &dir, &last);
    if (err)
        return err;
    size_t len = e->name + e->name_len - last;
    struct vnode *there = tmpfs_find(dir, last, len);
    if (there && is_dir && vnode_type(there) == MODE_DIR) {
        set_attributes(there, e);
        return 0;
    }
    if (there)
        return damaged(u, "a name occurs twice");
    struct vnode *linked = !is_dir && e->field[C_NLINK] > 1 ? find_link(u, e) : NULL;
    if (linked)
        return add_link(u, e, linked, dir, last, len);
    return add_new(u, e, dir, last, len);
}

/* Adds an entry, and clears the tail of a page of earlier data once the parser is past it. */
static int add_and_clear(struct unpack *u, const struct entry *e)
{
    char *tail = u->tail, *tail_end = u->tail_end;
    u->tail = NULL;
    int err = add_entry(u, e);
    if (!tail)
        return err;
    if (u->tail || err || u->image + e->next >= tail_end)
        memset(tail, 0, tail_end - tail);
    else {
        u->tail = tail;
        u->tail_end = tail_end;
    }
    return err;
}

static int unpack_all(struct unpack *u)
{
    static const char trailer[] = "TRAILER!!!";
    for (;;) {
        struct entry e;
        int err = parse_entry(u, &e);
        if (err)
            return err;
        if (e.name_len == sizeof(trailer) - 1 && !memcmp(e.name, trailer, e.name_len))
            return 0;
        err = add_and_clear(u, &e);
        if (err)
            return err;
        u->offset = e.next;
    }
}

int bootimage_unpack(struct filesystem *tmpfs, const void *image, size_t size)
{
    struct unpack *u = kzalloc(sizeof(*u));
    if (!u)
        return -ENOMEM;
    hex_init(u->hex);
    u->fs = tmpfs;
    u->image = image;
    u->size = size;
    u->dir = tmpfs->root;
    int err = unpack_all(u);
    if (err == -EINVAL)
        klog(LOG_ERROR, "boot image: %s, in the entry at offset %zu", u->problem, u->offset);
    else if (err)
        klog(LOG_ERROR, "boot image: error %d in the entry at offset %zu", err, u->offset);
    if (u->tail)
        memset(u->tail, 0, u->tail_end - u->tail);
    forget_links(u);
    kfree(u);
    return err;
}
