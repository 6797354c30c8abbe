/* The boot image: good archives of all kinds, and damaged ones. */
#include "test_fs_util.h"

#define IMAGE_MAX (64 * 4096)

static struct {
    char *data;
    size_t size;
} image;

static void start(void)
{
    if (!image.data)
        image.data = aligned_alloc(PAGE_SIZE, IMAGE_MAX);
    memset(image.data, 0, IMAGE_MAX);
    image.size = 0;
}

struct item {
    const char *name, *data;
    uint32_t mode, ino, nlink, size, major, minor;
    bool align; /* the data to a page */
};

static void add(struct item it)
{
    size_t name_size = strlen(it.name) + 1;
    if (it.data && !it.size)
        it.size = strlen(it.data);
    if (it.align)
        name_size = ROUND_UP(image.size + 110 + name_size, PAGE_SIZE) - image.size - 110;
    image.size += snprintf(image.data + image.size, 111,
                           "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", it.ino,
                           it.mode, 3, 4, it.nlink ? it.nlink : 1, 1000, it.size, 8, 1, it.major,
                           it.minor, (unsigned)name_size, 0);
    memset(image.data + image.size, 0, name_size);
    memcpy(image.data + image.size, it.name, strlen(it.name));
    image.size = ROUND_UP(image.size + name_size, 4);
    if (it.data)
        memcpy(image.data + image.size, it.data, it.size);
    image.size = ROUND_UP(image.size + it.size, 4);
    assert_true(image.size < IMAGE_MAX);
}

static void finish(void)
{
    add((struct item){.name = "TRAILER!!!"});
}

/* Unpacks into a tmpfs mounted on /image; `where` it is then, or the error. */
static int unpack(void)
{
    if (look(root(), "/image", 0))
        must_mkdir("/image", 0755);
    struct filesystem *fs = tmpfs_create(0);
    int err = bootimage_unpack(fs, image.data, image.size);
    assert_int_equal(vfs_mount(root(), fs, "/image", "none", 0), 0);
    return err;
}

static void forget(void)
{
    assert_int_equal(vfs_umount(root(), "/image"), 0);
}

static void all_types(void **state)
{
    (void)state;
    start();
    add((struct item){.name = ".", .mode = MODE_DIR | 0711});
    add((struct item){.name = "etc", .mode = MODE_DIR | 0755});
    add((struct item){.name = "etc/passwd", .mode = MODE_REG | 0644, .data = "root:x:0:0\n"});
    add((struct item){.name = "./etc/empty", .mode = MODE_REG | 04755});
    add((struct item){.name = "etc/link", .mode = MODE_LNK | 0777, .data = "passwd"});
    add((struct item){.name = "etc/tty", .mode = MODE_CHR | 0620, .major = 4, .minor = 64});
    add((struct item){.name = "etc/fifo", .mode = MODE_FIFO | 0600});
    add((struct item){.name = "no/such/dir/file", .mode = MODE_REG | 0600, .data = "made"});
    add((struct item){.name = "no/such", .mode = MODE_DIR | 0700}); /* afterwards */
    finish();
    assert_int_equal(unpack(), 0);
    assert_int_equal(attr_of("/image").mode, MODE_DIR | 0711);
    assert_string_equal(list_dir("/image/etc"), ". .. passwd empty link tty fifo ");
    assert_string_equal(text_of("/image/etc/link"), "root:x:0:0\n");
    assert_string_equal(text_of("/image/no/such/dir/file"), "made");
    assert_int_equal(attr_of("/image/no/such").mode, MODE_DIR | 0700);
    struct vattr a = attr_of("/image/etc/passwd");
    assert_int_equal(a.mode, MODE_REG | 0644);
    assert_int_equal(a.uid, 3);
    assert_int_equal(a.gid, 4);
    assert_int_equal(a.nlink, 1);
    assert_int_equal(a.mtime_ns, 1000 * NSEC_PER_SEC);
    assert_int_equal(attr_of("/image/etc/empty").mode, MODE_REG | 04755);
    assert_true(attr_of("/image/etc/tty").rdev == (4ull << 32 | 64));
    put_file("/image/etc/passwd", "changed");
    assert_string_equal(text_of("/image/etc/link"), "changed");
    forget();
}

static void hard_links(void **state)
{
    (void)state;
    start();
    add((struct item){.name = "first", .mode = MODE_REG | 0644, .ino = 7, .nlink = 3});
    add((struct item){.name = "other", .mode = MODE_REG | 0644, .ino = 8, .nlink = 2, .data = "o"});
    add((struct item){.name = "second", .mode = MODE_REG | 0644, .ino = 7, .nlink = 3});
    add((struct item){.name = "last", .mode = MODE_REG | 0644, .ino = 7, .nlink = 3, .data = "L"});
    finish();
    assert_int_equal(unpack(), 0);
    assert_string_equal(text_of("/image/first"), "L");
    assert_string_equal(text_of("/image/second"), "L");
    assert_int_equal(attr_of("/image/last").nlink, 3);
    assert_int_equal(attr_of("/image/other").nlink, 1);
    forget();

    start();
    add((struct item){.name = "f", .mode = MODE_REG | 0644, .ino = 7, .nlink = 2});
    add((struct item){.name = "l", .mode = MODE_LNK | 0777, .ino = 7, .nlink = 2, .data = "f"});
    finish();
    assert_int_equal(unpack(), -EINVAL);
    forget();
}

static void pages_in_place(void **state)
{
    (void)state;
    static char big[3 * 4096 + 100], small[] = "copied";
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = (char)(i * 13 + i / 4096 + 1);
    start();
    add((struct item){.name = "d", .mode = MODE_DIR | 0755});
    add((struct item){
        .name = "d/big", .mode = MODE_REG | 0644, .data = big, .size = sizeof(big), .align = true});
    const char *at = image.data + image.size - sizeof(big); /* rounded up to 4 already */
    add((struct item){.name = "d/small", .mode = MODE_REG | 0644, .data = small});
    add((struct item){
        .name = "d/exact", .mode = MODE_REG | 0644, .data = big, .size = 4096, .align = true});
    add((struct item){
        .name = "d/again", .mode = MODE_REG | 0644, .data = big, .size = 5000, .align = true});
    finish();
    size_t pages = DIV_ROUND_UP(image.size, PAGE_SIZE), before = floor_pages_in_use();
    image.size = pages * PAGE_SIZE;
    floor_adopt_pages(image.data, pages);
    assert_int_equal(unpack(), 0);
    assert_int_equal(floor_pages_in_use(), before + pages + 1); /* only the small one is copied */

    struct file *f = must_open("/image/d/big", OPEN_RDWR, 0);
    struct page *page;
    assert_int_equal(vnode_get_page(f->vnode, 1, false, &page), 0);
    assert_ptr_equal(page_addr(page), at + 4096);
    page_put(page);
    static char got[4 * 4096];
    assert_int_equal(read_at(f, got, sizeof(got), 0), sizeof(big));
    assert_memory_equal(got, big, sizeof(big));
    /* What lay behind the data in the image is not in the file. */
    assert_int_equal(vnode_truncate(f->vnode, sizeof(got)), 0);
    assert_int_equal(read_at(f, got, sizeof(got), 0), sizeof(got));
    for (size_t i = sizeof(big); i < sizeof(got); i++)
        assert_int_equal(got[i], 0);
    assert_int_equal(vnode_get_page(f->vnode, 3, false, &page), 0);
    for (size_t i = 100; i < 4096; i++)
        assert_int_equal(((char *)page_addr(page))[i], 0);
    page_put(page);
    assert_int_equal(write_at(f, "in place", 8, 4096), 8);
    assert_memory_equal(at + 4096, "in place", 8);
    file_put(f);
    assert_string_equal(text_of("/image/d/small"), "copied");
    assert_int_equal(attr_of("/image/d/again").size, 5000);
    f = must_open("/image/d/again", OPEN_RDONLY, 0);
    assert_int_equal(read_at(f, got, sizeof(got), 0), 5000);
    assert_memory_equal(got, big, 5000);
    file_put(f);

    /* The pages the files did not take go back as the kernel's start does it; the others go when
     * their files go. */
    for (size_t i = 0; i < pages; i++) {
        page = page_of(image.data + i * PAGE_SIZE);
        assert_non_null(page);
        if (!page->owner)
            page_put(page);
    }
    forget();
    assert_int_equal(floor_pages_in_use(), before);
}

/* Each case is a good archive with one thing changed. */
static void expect_damaged(const char *why)
{
    unsigned lines = floor_log_lines();
    int err = unpack();
    forget();
    if (err != -EINVAL)
        fail_msg("%s: %d", why, err);
    assert_int_equal(floor_log_lines(), lines + 1);
    assert_non_null(strstr(floor_log_last(), "offset"));
}

static void one(struct item it, const char *why)
{
    start();
    add((struct item){.name = "ok", .mode = MODE_REG | 0644, .data = "ok"});
    add(it);
    finish();
    expect_damaged(why);
}

static void damaged(void **state)
{
    (void)state;
    const char *bad_names[] = {"",     "/abs", "..",   "../x",  "a/../x", "a/..",
                               "a//b", "a/",   "./..", "a/./b", "./",     "././x"};
    for (size_t i = 0; i < ARRAY_SIZE(bad_names); i++)
        one((struct item){.name = bad_names[i], .mode = MODE_REG | 0644}, bad_names[i]);
    static char long_name[300];
    memset(long_name, 'n', 256);
    one((struct item){.name = long_name, .mode = MODE_REG}, "name too long");
    one((struct item){.name = ".", .mode = MODE_REG}, "the root a file");
    one((struct item){.name = "ok", .mode = MODE_REG}, "twice");
    one((struct item){.name = "ok/below", .mode = MODE_REG}, "below a file");
    one((struct item){.name = "ok", .mode = MODE_DIR}, "file, then directory");
    one((struct item){.name = "l", .mode = MODE_LNK}, "empty link");
    one((struct item){.name = "l", .mode = MODE_LNK, .data = "a\0b", .size = 3}, "link with NUL");
    one((struct item){.name = "d", .mode = MODE_DIR, .data = "x"}, "directory with data");
    one((struct item){.name = "c", .mode = MODE_CHR, .data = "x"}, "device with data");
    one((struct item){.name = "t", .mode = 0, .data = "x"}, "no type");

    /* Cut off anywhere: an error, never a crash. */
    start();
    add((struct item){.name = "f", .mode = MODE_REG | 0644, .data = "some data"});
    finish();
    size_t whole = image.size;
    for (size_t n = 0; n + 4 < whole; n++) {
        image.size = n;
        expect_damaged("cut off");
    }
    /* Any one byte of a header changed. */
    for (size_t at = 0; at < 110; at++) {
        for (int value = 0; value < 256; value += 15) {
            image.size = whole;
            char old = image.data[at];
            image.data[at] = (char)value;
            unpack();
            forget();
            image.data[at] = old;
        }
    }
    assert_int_equal(unpack(), 0);
    forget();
    /* Sizes that are too large by far. */
    const size_t fields[] = {6 + 6 * 8, 6 + 11 * 8};
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        char old[8];
        memcpy(old, image.data + fields[i], 8);
        memcpy(image.data + fields[i], "ffffffff", 8);
        expect_damaged("size");
        memcpy(image.data + fields[i], "fffffffc", 8);
        expect_damaged("size");
        memcpy(image.data + fields[i], old, 8);
    }
}

static void out_of_memory(void **state)
{
    (void)state;
    start();
    add((struct item){.name = "a/b/f", .mode = MODE_REG, .ino = 1, .nlink = 2, .data = "data"});
    add((struct item){.name = "a/l", .mode = MODE_LNK, .data = "b"});
    finish();
    for (unsigned n = 1; n < 20; n++) {
        struct filesystem *fs = tmpfs_create(0);
        floor_fail_alloc(n);
        int err = bootimage_unpack(fs, image.data, image.size);
        floor_fail_alloc(0);
        assert_true(!err || err == -ENOMEM);
        fs->destroy(fs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_types),      cmocka_unit_test(hard_links),
        cmocka_unit_test(pages_in_place), cmocka_unit_test(damaged),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, make_root, NULL);
}
