/* File data: the page cache, reads and writes, holes, truncation, limits. */
#include "test_fs_util.h"

static uint8_t pattern(uint64_t at)
{
    return (uint8_t)(at * 31 + (at >> 12) * 7 + 1);
}

static void random_io_matches_a_plain_array(void **state)
{
    (void)state;
    enum { SIZE = 40 * 4096 };
    static uint8_t model[SIZE], buf[SIZE];
    uint64_t size = 0;
    size_t pages = floor_pages_in_use();
    struct file *f = must_open("/io", OPEN_RDWR | OPEN_CREAT, 0644);
    for (int step = 0; step < 4000; step++) {
        uint64_t at = rand() % SIZE;
        size_t n = rand() % (rand() % 4 ? 5000 : SIZE / 4);
        n = MIN(n, SIZE - at);
        if (rand() % 3 == 0) {
            at = ROUND_DOWN(at, PAGE_SIZE);
            n = MIN(ROUND_UP(n, PAGE_SIZE), SIZE - at);
        }
        switch (rand() % 8) {
        case 0: {
            assert_int_equal(vnode_truncate(f->vnode, at), 0);
            if (at < size)
                memset(model + at, 0, size - at);
            size = at;
            break;
        }
        case 1:
            if (n) {
                assert_int_equal(vnode_fallocate(f->vnode, 3, at, n), 0);
                memset(model + at, 0, n);
            }
            break;
        case 2:
            if (n) {
                assert_int_equal(vnode_fallocate(f->vnode, rand() % 2, at, n), 0);
                size = f->vnode->attr.size;
            }
            break;
        case 3:
        case 4:
        case 5:
            for (size_t i = 0; i < n; i++)
                buf[i] = pattern(at + i + step);
            assert_int_equal(write_at(f, buf, n, at), n);
            memcpy(model + at, buf, n);
            if (n)
                size = MAX(size, at + n);
            break;
        default: {
            ssize_t want = at < size ? (ssize_t)MIN(n, size - at) : 0;
            assert_int_equal(read_at(f, buf, n, at), want);
            assert_memory_equal(buf, model + at, want);
        }
        }
        assert_int_equal(f->vnode->attr.size, size);
        assert_int_equal(attr_of("/io").blocks % 8, 0);
    }
    file_put(f);
    assert_int_equal(vfs_unlink(root(), NULL, "/io", false), 0);
    assert_int_equal(floor_pages_in_use(), pages);
}

static void far_offsets_and_holes(void **state)
{
    (void)state;
    struct file *f = must_open("/far", OPEN_RDWR | OPEN_CREAT, 0644);
    const uint64_t at[] = {0,          63ull << 12,      64ull << 12,
                           1ull << 30, (1ull << 40) + 5, INT64_MAX - 10};
    for (size_t i = 0; i < ARRAY_SIZE(at); i++)
        assert_int_equal(write_at(f, "data", 4, at[i]), 4);
    assert_int_equal(f->vnode->attr.size, INT64_MAX - 6);
    assert_int_equal(attr_of("/far").blocks, ARRAY_SIZE(at) * 8);
    assert_int_equal(write_at(f, "data", 8, INT64_MAX - 4), -EFBIG);
    char buf[8];
    for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
        assert_int_equal(read_at(f, buf, 4, at[i]), 4);
        assert_memory_equal(buf, "data", 4);
    }
    assert_int_equal(read_at(f, buf, 4, 1ull << 35), 4);
    assert_memory_equal(buf, "\0\0\0\0", 4);

    int64_t (*seek)(struct file *, int64_t, int) = f->ops->seek;
    assert_int_equal(seek(f, 0, WHENCE_DATA), 0);
    assert_int_equal(seek(f, 0, WHENCE_HOLE), 4096);
    assert_int_equal(seek(f, 4096, WHENCE_DATA), 63 << 12);
    assert_int_equal(seek(f, 63 << 12, WHENCE_HOLE), 65 << 12);
    assert_int_equal(seek(f, 65 << 12, WHENCE_DATA), 1 << 30);
    assert_int_equal(seek(f, INT64_MAX, WHENCE_DATA), -ENXIO);
    assert_int_equal(seek(f, -1, WHENCE_DATA), -ENXIO);
    assert_int_equal(seek(f, 7, WHENCE_SET), 7);
    assert_int_equal(seek(f, -8, WHENCE_CUR), -EINVAL);
    assert_int_equal(seek(f, 3, WHENCE_CUR), 10);
    assert_int_equal(seek(f, 10, WHENCE_END), -EOVERFLOW);
    assert_int_equal(seek(f, -6, WHENCE_END), INT64_MAX - 12);
    assert_int_equal(seek(f, 0, 9), -EINVAL);
    assert_int_equal(vnode_truncate(f->vnode, 3), 0);
    assert_int_equal(attr_of("/far").blocks, 8);
    assert_int_equal(vnode_truncate(f->vnode, 1ull << 62), 0);
    assert_int_equal(read_at(f, buf, 8, 0), 8);
    assert_memory_equal(buf, "dat\0\0\0\0\0", 8);
    assert_int_equal(seek(f, 4096, WHENCE_DATA), -ENXIO);
    assert_int_equal(vnode_truncate(f->vnode, 1ull << 63), -EFBIG);
    file_put(f);
}

static void appends_and_faults(void **state)
{
    (void)state;
    struct file *f = must_open("/app", OPEN_RDWR | OPEN_CREAT | OPEN_APPEND, 0644);
    uint64_t pos = 0;
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, "one", 3);
    assert_int_equal(f->ops->write(f, &u, &pos), 3);
    pos = 0;
    u = uio_kernel(&seg, "two", 3);
    assert_int_equal(f->ops->write(f, &u, &pos), 3);
    assert_int_equal(pos, 6);
    assert_string_equal(text_of("/app"), "onetwo");

    u = uio_user(&seg, 16, 3); /* a bad address */
    pos = 0;
    assert_int_equal(f->ops->write(f, &u, &pos), -EFAULT);
    u = uio_user(&seg, 16, 3);
    pos = 0;
    assert_int_equal(f->ops->read(f, &u, &pos), -EFAULT);
    assert_int_equal(pos, 0);
    assert_string_equal(text_of("/app"), "onetwo");

    /* A fault in the middle of a new page: what was copied counts, the rest reads as zeroes. */
    static char whole[6000];
    memset(whole, 'w', sizeof(whole));
    struct iovec_k parts[2] = {{(uint64_t)(uintptr_t)whole, 2000}, {16, 2096}};
    u = (struct uio){.segs = parts, .nsegs = 2, .user = true, .resid = 4096};
    struct file *g = must_open("/fault", OPEN_RDWR | OPEN_CREAT, 0644);
    pos = 0;
    assert_int_equal(g->ops->write(g, &u, &pos), 2000);
    assert_int_equal(g->vnode->attr.size, 2000);
    assert_int_equal(vnode_truncate(g->vnode, 4096), 0);
    assert_int_equal(read_at(g, whole, 4096, 0), 4096);
    for (int i = 0; i < 4096; i++)
        assert_int_equal(whole[i], i < 2000 ? 'w' : 0);
    file_put(g);
    file_put(f);
}

static void limits(void **state)
{
    (void)state;
    must_mkdir("/small", 0755);
    struct filesystem *fs = tmpfs_create(4 * PAGE_SIZE);
    assert_int_equal(vfs_mount(root(), fs, "/small", "tmpfs", 0), 0);
    static char data[8 * 4096];
    struct file *f = must_open("/small/f", OPEN_RDWR | OPEN_CREAT, 0644);
    assert_int_equal(write_at(f, data, sizeof(data), 0), 4 * PAGE_SIZE);
    assert_int_equal(write_at(f, data, 1, 4 * PAGE_SIZE), -ENOSPC);
    assert_int_equal(vnode_fallocate(f->vnode, 0, 0, 5 * PAGE_SIZE), -ENOSPC);
    assert_int_equal(vnode_fallocate(f->vnode, 0, 0, 1ull << 50), -ENOSPC);
    assert_int_equal(f->vnode->attr.size, 4 * PAGE_SIZE);
    struct path p = file_path(f);
    struct vfs_statfs st;
    assert_int_equal(vfs_statfs(&p, &st), 0);
    assert_int_equal(st.blocks, 4);
    assert_int_equal(st.blocks_free, 0);
    assert_int_equal(st.type_magic, 0x01021994);
    assert_int_equal(vnode_fallocate(f->vnode, 3, PAGE_SIZE, PAGE_SIZE), 0);
    assert_int_equal(f->vnode->attr.size, 4 * PAGE_SIZE);
    /* One page is free, two are asked for: the one that was found is given back. */
    assert_int_equal(vnode_fallocate(f->vnode, 0, 4 * PAGE_SIZE, 2 * PAGE_SIZE), -ENOSPC);
    assert_int_equal(f->vnode->attr.size, 4 * PAGE_SIZE);
    assert_int_equal(atomic_load(&fs->pages), 3);
    assert_int_equal(write_at(f, data, 100, 9 * PAGE_SIZE), 100);
    assert_int_equal(vnode_fallocate(f->vnode, 2, 0, 1), -EOPNOTSUPP);
    assert_int_equal(vnode_fallocate(f->vnode, 0x20, 0, 1), -EOPNOTSUPP);
    assert_int_equal(vnode_fallocate(f->vnode, 0, 0, 0), -EINVAL);
    assert_int_equal(vnode_fallocate(f->vnode, 0, INT64_MAX, 10), -EFBIG);
    assert_int_equal(vfs_umount(root(), "/small"), -EBUSY);
    file_put(f);
    must_mkdir("/small/d", 0755);
    put_file("/small/d/deep", "");
    size_t pages = floor_pages_in_use();
    assert_int_equal(vfs_umount(root(), "/small"), 0);
    assert_int_equal(floor_pages_in_use(), pages - 4);
}

struct test_mapping {
    struct vnode_mapping m;
    uint64_t first, last;
    int calls;
};

static void note(struct vnode_mapping *m, uint64_t first, uint64_t last)
{
    struct test_mapping *t = container_of(m, struct test_mapping, m);
    t->first = first;
    t->last = last;
    t->calls++;
}

static void mappings_hear_of_truncation(void **state)
{
    (void)state;
    struct file *f = must_open("/map", OPEN_RDWR | OPEN_CREAT, 0644);
    struct vnode *v = f->vnode;
    struct test_mapping t = {.m.invalidate = note};
    vnode_add_mapping(v, &t.m);
    assert_int_equal(vnode_truncate(v, 5 * PAGE_SIZE + 1), 0);
    struct page *page, *again;
    assert_int_equal(vnode_get_page(v, 6, true, &page), -ENXIO);
    assert_int_equal(vnode_get_page(v, 5, false, &page), -ENOENT);
    assert_null(vnode_find_page(v, 5));
    assert_int_equal(vnode_get_page(v, 5, true, &page), 0);
    ((char *)page_addr(page))[0] = 'm'; /* a store through a mapping */
    assert_int_equal(vnode_get_page(v, 5, false, &again), 0);
    assert_ptr_equal(page, again);
    page_put(again);
    char c;
    assert_int_equal(read_at(f, &c, 1, 5 * PAGE_SIZE), 1);
    assert_int_equal(c, 'm');
    assert_int_equal(t.calls, 0);
    assert_int_equal(vnode_truncate(v, 2 * PAGE_SIZE + 1), 0);
    assert_int_equal(t.calls, 1);
    assert_int_equal(t.first, 3);
    assert_true(t.last == UINT64_MAX);
    assert_int_equal(vnode_get_page(v, 5, true, &again), -ENXIO);
    assert_null(page->owner); /* out of the cache, alive by our reference */
    page_put(page);
    assert_int_equal(vnode_fallocate(v, 3, PAGE_SIZE, PAGE_SIZE), 0);
    assert_int_equal(t.calls, 2);
    assert_int_equal(t.first, 1);
    assert_true(t.last == 1);
    vnode_remove_mapping(v, &t.m);
    file_put(f);
}

/* --- a file system with storage: readpage, writepage ------------------------------------------ */

static uint8_t disk[8][4096];
static int reads, writes, write_error;

static int disk_read(struct vnode *v, struct page *page, uint64_t index)
{
    (void)v;
    reads++;
    memcpy(page_addr(page), disk[index], 4096);
    return 0;
}

static int disk_write(struct vnode *v, struct page *page, uint64_t index)
{
    (void)v;
    if (write_error)
        return write_error;
    writes++;
    memcpy(disk[index], page_addr(page), 4096);
    return 0;
}

static void storage_is_read_and_written(void **state)
{
    (void)state;
    static const struct vnode_ops ops = {.readpage = disk_read, .writepage = disk_write};
    struct filesystem fs;
    filesystem_init(&fs, "disk");
    struct vnode *v = vnode_alloc(&fs, &ops, 1, MODE_REG | 0644);
    v->attr.size = 6 * PAGE_SIZE;
    memset(disk, 'd', sizeof(disk));
    struct file f = {.vnode = v, .ops = &regular_file_ops};
    uint8_t buf[3 * 4096];
    assert_int_equal(read_at(&f, buf, 10, 4090), 10);
    assert_int_equal(reads, 2);
    assert_int_equal(buf[9], 'd');
    assert_int_equal(read_at(&f, buf, 10, 4090), 10);
    assert_int_equal(reads, 2);
    assert_int_equal(write_at(&f, "new", 3, 8192 + 5), 3);
    assert_int_equal(reads, 3);
    assert_int_equal(write_at(&f, "new", 3, 0), 3);
    write_error = -EIO;
    assert_int_equal(f.ops->fsync(&f, false), -EIO);
    write_error = 0;
    assert_int_equal(f.ops->fsync(&f, false), 0);
    assert_int_equal(writes, 2);
    assert_memory_equal(disk[2] + 4, "dnewd", 5);
    assert_int_equal(f.ops->fsync(&f, false), 0);
    assert_int_equal(writes, 2);
    assert_int_equal(vnode_truncate(v, 3 * PAGE_SIZE + 100), 0); /* reads the page it cuts */
    assert_int_equal(reads, 4);
    assert_int_equal(f.ops->fsync(&f, false), 0);
    assert_int_equal(disk[3][99], 'd');
    assert_int_equal(disk[3][100], 0);
    assert_int_equal(vnode_fallocate(v, 0, 0, 100), -EOPNOTSUPP);
    vnode_put(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_io_matches_a_plain_array),
        cmocka_unit_test(far_offsets_and_holes),
        cmocka_unit_test(appends_and_faults),
        cmocka_unit_test(limits),
        cmocka_unit_test(mappings_hear_of_truncation),
        cmocka_unit_test(storage_is_read_and_written),
    };
    return cmocka_run_group_tests(tests, make_root, NULL);
}
