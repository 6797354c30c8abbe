/* Boot images out of nothing: whatever the bytes, unpacking ends with success or -EINVAL, and what
 * was made can be listed, read and thrown away. */
#include <stdlib.h>

#include "floor.h"
#include "fs/internal.h"

#define IMAGE_MAX (256 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool visit(struct dir_emit *d, const char *name, size_t len, uint64_t ino, unsigned type,
                  uint64_t next_pos)
{
    (void)d, (void)ino, (void)type, (void)next_pos;
    if (len == 0 || len > VFS_NAME_MAX || memchr(name, '/', len) || memchr(name, 0, len))
        abort();
    return true;
}

static void use(struct vnode *dir)
{
    struct dir_emit d = {.emit = visit};
    uint64_t pos = DIR_FIRST_POS;
    dir->ops->readdir(dir, &pos, &d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > IMAGE_MAX)
        return 0;
    size_t pages = DIV_ROUND_UP(size, PAGE_SIZE), before = floor_pages_in_use();
    char *image = aligned_alloc(PAGE_SIZE, pages * PAGE_SIZE);
    memcpy(image, data, size);
    memset(image + size, 0, pages * PAGE_SIZE - size);
    floor_adopt_pages(image, pages);
    struct filesystem *fs = tmpfs_create(0);
    int err = bootimage_unpack(fs, image, data[0] & 1 ? pages * PAGE_SIZE : size);
    if (err && err != -EINVAL)
        abort();
    use(fs->root);
    for (size_t i = 0; i < pages; i++) {
        struct page *page = page_of(image + i * PAGE_SIZE);
        if (page && !page->owner)
            page_put(page);
    }
    fs->destroy(fs);
    if (floor_pages_in_use() != before)
        abort();
    free(image);
    return 0;
}
