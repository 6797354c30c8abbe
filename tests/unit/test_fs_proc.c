/* Text files of /proc and /sys, dynamic directories, devices. */
#include "test_fs_util.h"

#include "core/thread.h"
#include "core/timer.h"

/* The host floor has no scheduler statistics. */
void cpu_times(int cpu, nsec_t *user_ns, nsec_t *system_ns, nsec_t *idle_ns)
{
    (void)cpu;
    *user_ns = 3 * NSEC_PER_SEC;
    *system_ns = NSEC_PER_SEC / 2;
    *idle_ns = 7 * NSEC_PER_SEC;
}

static int mount_all(void **state)
{
    if (make_root(state))
        return 1;
    must_mkdir("/proc", 0755);
    must_mkdir("/sys", 0755);
    must_mkdir("/dev", 0755);
    assert_int_equal(vfs_mount(root(), procfs_filesystem("proc"), "/proc", "proc", 0), 0);
    assert_int_equal(vfs_mount(root(), procfs_filesystem("sys"), "/sys", "sysfs", 0), 0);
    assert_int_equal(vfs_mount(root(), devfs_filesystem(), "/dev", "devtmpfs", 0), 0);
    proc_files_init();
    return 0;
}

static int counter;

static void show_counter(struct text_buf *b, void *arg)
{
    text_printf(b, "%s %d\n", (const char *)arg, counter++);
}

static int store_counter(const char *text, void *arg)
{
    (void)arg;
    uint64_t v;
    int err = parse_u64(text, &v);
    if (!err)
        counter = v;
    return err;
}

static void show_long(struct text_buf *b, void *arg)
{
    (void)arg;
    for (int i = 0; i < 5000; i++)
        text_printf(b, "line %d of a text that is longer than any buffer\n", i);
}

static void registered_files(void **state)
{
    (void)state;
    assert_int_equal(procfs_register("proc/test/a/count", 0644, show_counter, store_counter, "n"),
                     0);
    assert_int_equal(procfs_register("nowhere/file", 0444, show_counter, NULL, NULL), -ENOMEM);
    assert_int_equal(procfs_register("proc/test/a", 0444, show_counter, NULL, NULL), -ENOMEM);
    counter = 5;
    assert_string_equal(text_of("/proc/test/a/count"), "n 5\n");
    put_file("/proc/test/a/count", "41\n");
    struct file *f = must_open("/proc/test/a/count", OPEN_RDWR, 0);
    char buf[16] = {0};
    assert_int_equal(read_at(f, buf, 3, 0), 3); /* pieces of one text */
    assert_int_equal(read_at(f, buf + 3, 9, 3), 2);
    assert_string_equal(buf, "n 41\n");
    assert_int_equal(read_at(f, buf, 9, 5), 0);
    assert_int_equal(read_at(f, buf, 9, 0), 5); /* from the start: a new one */
    assert_memory_equal(buf, "n 42", 4);
    assert_int_equal(write_at(f, "junk", 4, 0), -EINVAL);
    static char large[5000];
    assert_int_equal(write_at(f, large, sizeof(large), 0), -EINVAL);
    file_put(f);
    assert_string_equal(list_dir("/proc/test"), ". .. a ");
    assert_int_equal(try_open(root(), "/proc/new", OPEN_CREAT | OPEN_WRONLY), -EACCES);
    assert_int_equal(vfs_mkdir(root(), NULL, "/proc/new", 0755), -EPERM);
    assert_int_equal(vfs_unlink(root(), NULL, "/proc/test/a/count", false), -EPERM);
    struct cred c;
    struct fs_context u = user(&c, 1, 1, -1);
    assert_int_equal(try_open(&u, "/proc/test/a/count", OPEN_WRONLY), -EACCES);

    assert_int_equal(procfs_register("sys/long", 0444, show_long, NULL, NULL), 0);
    f = must_open("/sys/long", OPEN_RDONLY, 0);
    size_t all = 0;
    ssize_t n;
    while ((n = read_at(f, large, sizeof(large), all)) > 0)
        all += n;
    assert_int_equal(n, 0);
    assert_true(all > 200000);
    file_put(f);
    floor_fail_alloc(3);
    if (!vfs_open(root(), NULL, "/sys/long", OPEN_RDONLY, 0, &f)) {
        assert_int_equal(read_at(f, large, 10, 0), -ENOMEM);
        file_put(f);
    }
    floor_fail_alloc(0);
}

static void system_files(void **state)
{
    (void)state;
    assert_string_equal(text_of("/proc/sys/vm/overcommit_memory"), "1\n");
    put_file("/proc/sys/vm/overcommit_memory", "1");
    assert_string_equal(text_of("/proc/sys/vm/overcommit_memory"), "1\n");
    struct file *f = must_open("/proc/sys/vm/overcommit_memory", OPEN_WRONLY, 0);
    assert_int_equal(write_at(f, "3", 1, 0), -EINVAL);
    file_put(f);
    assert_string_equal(text_of("/sys/kernel/mm/transparent_hugepage/enabled"),
                        "always madvise [never]\n");
    assert_string_equal(text_of("/proc/sys/fs/nr_open"), "1048576\n");
    assert_non_null(strstr(text_of("/proc/mounts"), "proc /proc proc rw"));
    assert_non_null(strstr(text_of("/proc/meminfo"), "MemTotal:        4194304 kB\n"));
    assert_non_null(strstr(text_of("/proc/stat"), "cpu  300 0 50 700 "));
    assert_non_null(strstr(text_of("/proc/cpuinfo"), "processor\t: 0\n"));
    assert_non_null(strstr(text_of("/proc/uptime"), " 7.00\n"));
    assert_string_equal(text_of("/sys/devices/system/cpu/online"), "0\n");
    char first[64];
    str_copy(first, text_of("/proc/sys/kernel/random/boot_id"), sizeof(first));
    assert_int_equal(strlen(first), 37);
    assert_int_equal(first[14], '4');
    assert_string_equal(text_of("/proc/sys/kernel/random/boot_id"), first);
}

/* --- dynamic entries: "process" 7 lives while alive7 ------------------------------------------ */

static bool alive7 = true;
static int released;

static void release(void *arg)
{
    (void)arg;
    released++;
}

static ssize_t target(char *buf, size_t size, void *arg)
{
    size_t n = MIN(size, strlen(arg));
    memcpy(buf, arg, n);
    return n;
}

static struct file *magic_file;

static int follow(void *arg, struct path *path, struct file **file)
{
    if (!strcmp(arg, "file")) {
        *file = magic_file;
        file_get(magic_file);
        return 0;
    }
    return vfs_lookup(vfs_root_context(), NULL, "/sys", 0, path);
}

static int lookup7(struct filesystem *fs, void *arg, const char *name, size_t len,
                   struct vnode **out)
{
    (void)arg;
    if (len == 6 && !memcmp(name, "status", 6)) {
        *out = procfs_text_vnode(fs, 70, 0444, show_counter, NULL, "seven", release);
    } else if (len == 3 && !memcmp(name, "exe", 3)) {
        *out = procfs_link_vnode(fs, 71, target, "/proc/version", NULL);
    } else if (len == 4 && (!memcmp(name, "root", 4) || !memcmp(name, "file", 4))) {
        *out = procfs_link_vnode(fs, 72, target, name[0] == 'r' ? "gone" : "file", NULL);
        procfs_link_follow(*out, follow);
    } else {
        return -ENOENT;
    }
    return 0;
}

static int list7(void *arg, uint64_t *pos, char *name, size_t size, unsigned *type)
{
    (void)arg;
    static const char *names[] = {"status", "exe", "root", "file"};
    if (*pos >= ARRAY_SIZE(names))
        return 0;
    str_copy(name, names[*pos], size);
    *type = *pos ? MODE_LNK : MODE_REG;
    return 1;
}

static int lookup_pid(struct filesystem *fs, const char *name, size_t len, struct vnode **out)
{
    if (len != 1 || *name != '7' || !alive7)
        return -ENOENT;
    *out = procfs_dir_vnode(fs, 7, 0555, lookup7, list7, NULL, release);
    return 0;
}

static bool next_pid(uint64_t *pid)
{
    if (*pid > 7 || !alive7)
        return false;
    *pid = 7;
    return true;
}

static int reopen(struct file *f, unsigned flags, struct file **out)
{
    *out = file_alloc(f->ops, NULL, flags);
    return IS_ERR(*out) ? (int)PTR_ERR(*out) : 0;
}

static void dynamic_directories(void **state)
{
    (void)state;
    static const char *const links[] = {"self", NULL};
    static const struct procfs_dynamic d = {lookup_pid, next_pid, links};
    procfs_set_dynamic(&d);
    counter = 1;
    assert_string_equal(text_of("/proc/7/status"), "seven 1\n");
    assert_int_equal(released, 2);
    assert_string_equal(list_dir("/proc/7"), ". .. status exe root file ");
    assert_non_null(strstr(list_dir("/proc"), " self 7 "));
    assert_non_null(strstr(text_of("/proc/7/exe"), "Linux version"));
    assert_int_equal(look(root(), "/proc/7/root/kernel/mm", 0), 0); /* through the object */
    assert_int_equal(look(root(), "/proc/7/root", LOOKUP_FOLLOW | LOOKUP_DIRECTORY), 0);
    assert_int_equal(look(root(), "/proc/7/root/..", 0), 0);

    static const struct file_ops pipe_ops = {.name = "pipe", .reopen = reopen}, no_ops = {0};
    magic_file = file_alloc(&pipe_ops, NULL, OPEN_RDWR);
    struct file *f;
    assert_int_equal(vfs_open(root(), NULL, "/proc/7/file", OPEN_RDONLY, 0, &f), 0);
    assert_ptr_not_equal(f, magic_file);
    assert_int_equal(f->flags, OPEN_RDONLY);
    file_put(f);
    unsigned flags = OPEN_WRONLY | OPEN_CREAT | OPEN_NONBLOCK;
    assert_int_equal(vfs_open(root(), NULL, "/proc/7/file", flags, 0, &f), 0);
    assert_int_equal(f->flags, OPEN_WRONLY | OPEN_NONBLOCK);
    file_put(f);
    assert_int_equal(try_open(root(), "/proc/7/file", OPEN_DIRECTORY), -ENOTDIR);
    assert_int_equal(try_open(root(), "/proc/7/file", OPEN_PATH), -ENXIO);
    magic_file->ops = &no_ops;
    assert_int_equal(try_open(root(), "/proc/7/file", OPEN_RDONLY), -ENXIO);
    assert_int_equal(look(root(), "/proc/7/file", LOOKUP_FOLLOW), -ENXIO);
    assert_int_equal(look(root(), "/proc/7/file/x", 0), -ENOTDIR);
    assert_int_equal(try_open(root(), "/proc/7/file", OPEN_NOFOLLOW), -ELOOP);
    assert_int_equal(ref_count(&magic_file->refs), 1);
    file_put(magic_file);

    struct path cwd;
    assert_int_equal(vfs_lookup(root(), NULL, "/proc/7", 0, &cwd), 0);
    char text[32];
    assert_true(vfs_path_text(root(), &cwd, text, sizeof(text)) > 0);
    assert_string_equal(text, "/proc/7");
    path_put(&cwd);
    alive7 = false; /* and nothing remembers it */
    assert_int_equal(look(root(), "/proc/7", 0), -ENOENT);
    assert_null(strstr(list_dir("/proc"), " 7 "));
    alive7 = true;
    assert_int_equal(look(root(), "/proc/7/status", 0), 0);
    alive7 = false;
}

static int opened;

static int count_open(struct vnode *v, struct file *f)
{
    (void)v, (void)f;
    opened++;
    return 0;
}

static void devices(void **state)
{
    (void)state;
    char buf[64];
    memset(buf, 'x', sizeof(buf));
    struct file *f = must_open("/dev/null", OPEN_RDWR, 0);
    assert_int_equal(read_at(f, buf, 8, 0), 0);
    assert_int_equal(write_at(f, buf, 8, 0), 8);
    file_put(f);
    f = must_open("/dev/zero", OPEN_RDWR, 0);
    assert_int_equal(read_at(f, buf, 8, 0), 8);
    assert_memory_equal(buf, "\0\0\0\0\0\0\0\0x", 9);
    file_put(f);
    f = must_open("/dev/full", OPEN_RDWR, 0);
    assert_int_equal(write_at(f, buf, 8, 0), -ENOSPC);
    file_put(f);
    f = must_open("/dev/urandom", OPEN_RDONLY, 0);
    char other[64];
    assert_int_equal(read_at(f, buf, 64, 0), 64);
    assert_int_equal(read_at(f, other, 64, 0), 64);
    assert_memory_not_equal(buf, other, 64);
    file_put(f);

    static const struct file_ops ops = {.name = "test"};
    assert_int_equal(device_register("bus/unit0", 200ull << 32 | 1, 0600, &ops, count_open), 0);
    assert_int_equal(device_register("bus/unit1", 200ull << 32 | 1, 0600, &ops, NULL), -EEXIST);
    f = must_open("/dev/bus/unit0", OPEN_RDONLY, 0);
    assert_ptr_equal(f->ops, &ops);
    assert_int_equal(opened, 1);
    file_put(f);
    /* The number counts, not the name. */
    assert_int_equal(vfs_mknod(root(), NULL, "/node", MODE_CHR | 0600, 200ull << 32 | 1, NULL), 0);
    assert_int_equal(try_open(root(), "/node", OPEN_RDONLY), 0);
    assert_int_equal(opened, 2);
    assert_int_equal(attr_of("/dev/stdin").mode, MODE_LNK | 0777);
    assert_non_null(strstr(list_dir("/dev"), " null zero full random urandom "));
}

/* /proc itself is looked up anew every time: what lies below is too, so nothing of it may be kept.
 */
static void names_below_proc_are_not_kept(void **state)
{
    (void)state;
    assert_int_equal(procfs_register("proc/kept/or/not", 0444, show_counter, NULL, "n"), 0);
    dcache_shrink(SIZE_MAX, NULL);
    for (int i = 0; i < 100; i++)
        text_of("/proc/kept/or/not");
    assert_true(dcache_shrink(SIZE_MAX, NULL) < 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registered_files), cmocka_unit_test(names_below_proc_are_not_kept),
        cmocka_unit_test(system_files),     cmocka_unit_test(dynamic_directories),
        cmocka_unit_test(devices),
    };
    return cmocka_run_group_tests(tests, mount_all, NULL);
}
