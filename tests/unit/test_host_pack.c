/* The packer: ELF reader, loader cache, dpkg database, file set, cpio writer, image cache,
 * collection. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/boot.h"
#include "host/cache.h"
#include "host/cpio.h"
#include "host/dpkg.h"
#include "host/elfinfo.h"
#include "host/ldso.h"
#include "host/pack.h"

static char root[] = "/tmp/librettos-test-XXXXXX";

static char *at(const char *name)
{
    return xasprintf("%s/%s", root, name);
}

static void put(const char *name, const char *text)
{
    char *path = at(name);

    for (char *s = path + strlen(root) + 1; (s = strchr(s, '/')); s++) {
        *s = 0;
        mkdir(path, 0755);
        *s = '/';
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    free(path);
}

static int make_root(void **state)
{
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    char *cmd = xasprintf("rm -rf '%s'", root);
    int err = system(cmd);

    (void)state;
    free(cmd);
    return err;
}

/* ---- ELF ---- */

static void elf_of_a_real_program(void **state)
{
    struct elf_info e;

    (void)state;
    assert_int_equal(elf_read("/proc/self/exe", &e), 0);
    assert_true(e.x86_64);
    assert_string_equal(e.interp, "/lib64/ld-linux-x86-64.so.2");
    assert_true(strv_has(&e.needed, "libc.so.6"));
    elf_free(&e);
}

static void elf_rejects_what_is_none(void **state)
{
    struct elf_info e;
    uint8_t text[200] = "#!/bin/sh\n";

    (void)state;
    assert_int_equal(elf_parse(text, sizeof(text), &e), -ENOEXEC);
    assert_int_equal(elf_parse(text, 0, &e), -ENOEXEC);
    memcpy(text, ELFMAG, SELFMAG);
    text[EI_CLASS] = ELFCLASS32;
    assert_int_equal(elf_parse(text, sizeof(text), &e), 0);
    assert_false(e.x86_64);
    assert_int_equal(elf_read("/etc", &e), -ENOEXEC);
    assert_int_equal(elf_read("/no/such/file", &e), -ENOENT);
}

/* Every prefix of a program, and every byte of its headers damaged: an error or not, but no crash.
 */
static void elf_survives_damage(void **state)
{
    struct buf b = {0};
    struct elf_info e;

    (void)state;
    assert_int_equal(read_file("/proc/self/exe", &b, 64 << 20), 0);
    for (size_t n = 0; n < 2048 && n < b.len; n++) {
        elf_parse(b.data, n, &e);
        elf_free(&e);
    }
    for (size_t i = 0; i < 1024; i++) {
        uint8_t old = b.data[i];
        b.data[i] = 0xff;
        elf_parse(b.data, b.len, &e);
        elf_free(&e);
        b.data[i] = old;
    }
    buf_free(&b);
}

/* ---- the loader's search ---- */

static void ldso_cache_knows_libc(void **state)
{
    struct ldso_cache c;

    (void)state;
    ldso_cache_read(&c, "/etc/ld.so.cache");
    const char *path = ldso_cache_find(&c, "libc.so.6");
    assert_non_null(path);
    assert_true(ends_with(path, "/libc.so.6"));
    assert_null(ldso_cache_find(&c, "libnothing.so.99"));
    ldso_cache_free(&c);
}

static void ldso_bad_cache_is_empty(void **state)
{
    struct ldso_cache c;
    char *path = at("cache");

    (void)state;
    put("cache",
        "glibc-ld.so.cache1.1 but then nothing of the kind follows, at some length .......");
    ldso_cache_read(&c, path);
    assert_null(ldso_cache_find(&c, "libc.so.6"));
    ldso_cache_free(&c);
    free(path);
}

static void ldso_expands_origin(void **state)
{
    struct ldso_cache none = {0};
    struct elf_info info = {.runpath = (char *)"/nowhere:$ORIGIN/../lib"};
    char *object = at("app/bin/prog"), *want = at("app/bin/../lib/libx.so");

    (void)state;
    put("app/lib/libx.so", "");
    put("app/bin/prog", "");
    char *found = ldso_find(&none, "libx.so", object, &info, NULL);
    assert_non_null(found);
    assert_string_equal(found, want);
    free(found);
    free(want);
    free(object);
}

/* ---- dpkg ---- */

static void make_dpkg(void)
{
    put("dpkg/status", "Package: web\nStatus: install ok installed\nArchitecture: amd64\n"
                       "Depends: libc6 (>= 2.34), web-common (= 1) | web-other,\n tool:any\n\n"
                       "Package: web-common\nStatus: install ok installed\nSource: web (1.0)\n\n"
                       "Package: tool\nStatus: install ok installed\nDescription: x\n more\n\n"
                       "Package: gone\nStatus: deinstall ok config-files\n");
    put("dpkg/info/web.list", "/.\n/bin\n/bin/web\n/etc\n/etc/web\n");
    put("dpkg/info/web-common.list", "/.\n/etc\n/etc/web\n/etc/web/conf\n");
    put("dpkg/info/tool:amd64.list", "/.\n/etc\n/usr\n/usr/bin\n/usr/bin/tool");
}

static void dpkg_finds_owners(void **state)
{
    char *path = at("dpkg");
    struct dpkg_package *set[9] = {0};

    (void)state;
    make_dpkg();
    struct dpkg_db *db = dpkg_open(path);
    assert_non_null(db);
    assert_null(dpkg_find(db, "gone"));
    /* A merged /usr: the list says /bin/web. */
    assert_string_equal(dpkg_owner(db, "/usr/bin/web")->name, "web");
    assert_string_equal(dpkg_owner(db, "/bin/web")->name, "web");
    assert_string_equal(dpkg_owner(db, "/bin/tool")->name, "tool");
    assert_null(dpkg_owner(db, "/usr/bin/none"));
    dpkg_closure(db, dpkg_find(db, "web"), set, 8);
    assert_string_equal(set[0]->name, "web");
    assert_string_equal(set[1]->name, "web-common");
    assert_null(set[2]); /* the tool is of another source */
    assert_int_equal(dpkg_other_owners(db, "/etc/web", set), 0);
    assert_int_equal(dpkg_other_owners(db, "/etc", set), 1);
    dpkg_free(db);
    free(path);
}

static void dpkg_follows_dependencies(void **state)
{
    char *path = at("dpkg");
    struct dpkg_package *set[9] = {0};

    (void)state;
    put("dpkg/status", "Package: app\nStatus: install ok installed\n"
                       "Depends: lib (>= 2), none | b, debconf\nRecommends: not-needed\n\n"
                       "Package: lib\nStatus: install ok installed\nSection: libs\n"
                       "Depends: data\n\n"
                       "Package: data\nStatus: install ok installed\nSection: misc\n\n"
                       "Package: b\nStatus: install ok installed\nPre-Depends: app\n\n"
                       "Package: debconf\nStatus: install ok installed\nDepends: perl\n\n"
                       "Package: perl\nStatus: install ok installed\n\n"
                       "Package: not-needed\nStatus: install ok installed\n");
    struct dpkg_db *db = dpkg_open(path);
    assert_non_null(db);
    dpkg_dependencies(db, dpkg_find(db, "app"), set, 8);
    assert_string_equal(set[0]->name, "data");
    assert_string_equal(set[1]->name, "b");
    assert_string_equal(set[2]->name, "app"); /* a circle ends */
    assert_null(set[3]);
    dpkg_free(db);
    free(path);
}

static void dpkg_parses_dependencies(void **state)
{
    static const char field[] = "libc6 (>= 2.34), a | b:any [amd64],c,, g++-12 (<< 3)";
    struct strv v = {0};

    (void)state;
    dpkg_parse_depends(field, strlen(field), &v);
    assert_int_equal(v.n, 5);
    assert_string_equal(v.v[0], "libc6");
    assert_string_equal(v.v[2], "b");
    assert_string_equal(v.v[4], "g++-12");
    strv_free(&v);
}

static void dpkg_none_is_no_error(void **state)
{
    (void)state;
    assert_null(dpkg_open("/no/such/dir"));
}

/* ---- file set and archive ---- */

static void fileset_follows_links(void **state)
{
    struct fileset fs = {0};
    char *dir = at("links"), *link = at("links/a/l"), *up = at("links/a/up/b/file");
    char *file = at("links/b/file"), *loop = at("links/loop"), *final;

    (void)state;
    put("links/a/x", "");
    put("links/b/file", "data");
    assert_int_equal(symlink("../b/file", link), 0);
    char *up_link = at("links/a/up");
    assert_int_equal(symlink("..", up_link), 0);
    assert_int_equal(symlink("loop", loop), 0);
    assert_int_equal(fileset_add(&fs, link, &final), 0);
    assert_string_equal(final, file);
    free(final);
    assert_non_null(fileset_find(&fs, link));
    assert_non_null(fileset_find(&fs, file));
    assert_non_null(fileset_find(&fs, dir));
    assert_int_equal(fileset_add(&fs, up, &final), 0);
    assert_string_equal(final, file);
    free(final);
    assert_int_equal(fileset_add(&fs, loop, NULL), -ELOOP);
    assert_int_equal(fileset_add(&fs, "/no/such/file", NULL), -ENOENT);
    assert_int_equal(fileset_add(&fs, "relative", NULL), -EINVAL);
    fileset_free(&fs);
    free(up_link);
    free(dir);
    free(link);
    free(up);
    free(file);
    free(loop);
}

static void cpio_namesize_aligns(void **state)
{
    (void)state;
    for (uint64_t off = 0; off < 9000; off += 4)
        for (size_t len = 1; len < 40; len += 7) {
            size_t n = cpio_namesize(off, len, true);
            assert_true(n > len && n <= len + BOOT_IMAGE_ALIGN);
            assert_int_equal((off + 110 + n) % BOOT_IMAGE_ALIGN, 0);
            assert_int_equal(cpio_namesize(off, len, false), len + 1);
        }
}

static unsigned field(const uint8_t *h, int i)
{
    char text[9] = {0};

    memcpy(text, h + 6 + i * 8, 8);
    return (unsigned)strtoul(text, NULL, 16);
}

static void cpio_keeps_hard_links(void **state)
{
    struct fileset fs = {0};
    struct cpio_stats stats;
    const char *culprit;
    char *image = at("links.cpio"), *a = at("hard/a"), *b = at("hard/b"), *c = at("hard/c");

    (void)state;
    put("hard/a", "shared\n");
    put("hard/c", "alone\n");
    assert_int_equal(link(a, b), 0);
    assert_int_equal(fileset_add_as(&fs, a, "/a"), 0);
    assert_int_equal(fileset_add_as(&fs, b, "/b"), 0);
    assert_int_equal(fileset_add_as(&fs, c, "/c"), 0);
    fileset_sort(&fs);
    int fd = open(image, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(cpio_write(fd, &fs, &stats, &culprit), 0);
    close(fd);
    char *cmd = xasprintf("mkdir '%s/out' && cd '%s/out' && cpio -idm --quiet <'%s' && "
                          "grep -q shared a && grep -q alone c && test a -ef b && ! test a -ef c",
                          root, root, image);
    assert_int_equal(system(cmd), 0);
    free(cmd);
    free(image);
    free(a);
    free(b);
    free(c);
    strv_free(&stats.skipped);
    fileset_free(&fs);
}

static void cpio_is_aligned_and_ordered(void **state)
{
    struct fileset fs = {0};
    struct cpio_stats stats;
    struct buf b = {0};
    const char *culprit;
    char *image = at("image.cpio"), *big = xmalloc(10000);
    size_t off = 0, seen = 0;
    bool trailer = false;

    (void)state;
    memset(big, 'b', 10000);
    fileset_put_dir(&fs, "/", 0755, 0, 0);
    fileset_put_file(&fs, "/x/small", 0644, "hello", 5);
    fileset_put_file(&fs, "/x/big", 0600, big, 10000);
    fileset_put_link(&fs, "/x/link", "small");
    fileset_put_dir(&fs, "/x/dir", 01777, 1, 2);
    fileset_sort(&fs);
    int fd = open(image, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(cpio_write(fd, &fs, &stats, &culprit), 0);
    close(fd);
    assert_int_equal(read_file(image, &b, 1 << 20), 0);
    assert_int_equal(b.len, stats.bytes);
    while (!trailer) {
        const uint8_t *h = b.data + off;
        assert_memory_equal(h, "070701", 6);
        const char *name = (const char *)h + 110;
        unsigned size = field(h, 6), namesize = field(h, 11);
        size_t data = (off + 110 + namesize + 3) & ~3ul;
        assert_true(memchr(name, 0, namesize) != NULL);
        trailer = !strcmp(name, "TRAILER!!!");
        if (size >= BOOT_IMAGE_ALIGN) {
            assert_int_equal(data % BOOT_IMAGE_ALIGN, 0);
            assert_memory_equal(b.data + data, big, size);
        }
        if (!strcmp(name, "x/link"))
            assert_memory_equal(b.data + data, "small", size);
        if (!strcmp(name, "x/dir")) {
            assert_int_equal(field(h, 1), S_IFDIR | 01777);
            assert_int_equal(field(h, 2), 1);
            assert_int_equal(field(h, 3), 2);
        }
        off = (data + size + 3) & ~3ul;
        seen += !trailer;
    }
    assert_int_equal(seen, 6); /* ".", "x" and what is in it */
    char *cmd =
        xasprintf("test \"$(cpio -t --quiet <'%s' | sort | tr '\\n' ' ')\" = '. x x/big x/dir "
                  "x/link x/small '",
                  image);
    assert_int_equal(system(cmd), 0);
    free(cmd);
    free(image);
    free(big);
    buf_free(&b);
    strv_free(&stats.skipped);
    fileset_free(&fs);
}

static void unreadable_files_are_skipped_or_fatal(void **state)
{
    struct fileset fs = {0};
    struct cpio_stats stats;
    const char *culprit = NULL;
    char *path = at("vanishing");
    int fd = open("/dev/null", O_WRONLY);

    (void)state;
    put("vanishing", "x");
    assert_int_equal(fileset_add(&fs, path, NULL), 0);
    unlink(path);
    assert_int_equal(cpio_write(fd, &fs, &stats, &culprit), 0);
    assert_int_equal(stats.skipped.n, 1);
    strv_free(&stats.skipped);
    fileset_find(&fs, path)->essential = true;
    assert_int_equal(cpio_write(fd, &fs, &stats, &culprit), -ENOENT);
    assert_string_equal(culprit, path);
    strv_free(&stats.skipped);
    fileset_free(&fs);
    close(fd);
    free(path);
}

static void manifest_notices_changes(void **state)
{
    struct fileset fs = {0};
    struct buf m = {0};
    char *tree = at("tree"), *file = at("tree/sub/f");

    (void)state;
    put("tree/sub/f", "one");
    assert_int_equal(fileset_add_tree(&fs, tree, NULL, NULL), 0);
    cache_manifest(&fs, "key", &m);
    assert_true(cache_manifest_holds(&m, "key"));
    assert_false(cache_manifest_holds(&m, "kex"));
    put("tree/sub/f", "three");
    assert_false(cache_manifest_holds(&m, "key"));
    m.len = 0;
    fileset_free(&fs);
    assert_int_equal(fileset_add_tree(&fs, tree, NULL, NULL), 0);
    cache_manifest(&fs, "key", &m);
    put("tree/sub/new", "");
    assert_false(cache_manifest_holds(&m, "key"));
    for (size_t n = 0; n < m.len; n++) { /* cut short: no crash */
        struct buf cut = {.data = m.data, .len = n};
        cache_manifest_holds(&cut, "key");
    }
    buf_free(&m);
    fileset_free(&fs);
    free(tree);
    free(file);
}

/* ---- the whole ---- */

static void excludes_what_a_domain_does_not_need(void **state)
{
    (void)state;
    assert_true(pack_excluded("/usr/share/doc/nginx/README"));
    assert_true(pack_excluded("/usr/share/doc"));
    assert_false(pack_excluded("/usr/share/docs"));
    assert_true(pack_excluded("/etc/init.d/nginx"));
    assert_true(pack_excluded("/etc/nginx/nginx.conf.dpkg-old"));
    assert_false(pack_excluded("/etc/nginx/nginx.conf"));
}

static void collects_a_shell_script(void **state)
{
    struct strv none = {0};
    char *script = at("script");
    struct pack_request rq = {
        .program = script, .files = &none, .packages = &none, .user_net = true};
    struct fileset fs = {0};

    (void)state;
    put("script", "#! /bin/sh -e\nexit 0\n");
    chmod(script, 0755);
    assert_int_equal(pack_collect(&rq, script, &fs), 0);
    assert_non_null(fileset_find(&fs, script));
    assert_non_null(fileset_find(&fs, "/usr/bin/sh"));
    assert_non_null(fileset_find(&fs, "/usr/lib/x86_64-linux-gnu/libc.so.6"));
    assert_non_null(fileset_find(&fs, "/usr/lib64/ld-linux-x86-64.so.2"));
    assert_non_null(fileset_find(&fs, "/tmp"));
    struct file_entry *passwd = fileset_find(&fs, "/etc/passwd");
    assert_non_null(passwd);
    assert_non_null(memmem(passwd->data, (size_t)passwd->st.st_size, "root:x:0:0", 10));
    struct file_entry *shadow = fileset_find(&fs, "/etc/shadow");
    assert_non_null(shadow);
    assert_memory_equal(shadow->data, "root:*:1:", 9);
    assert_null(memchr(shadow->data, '$', (size_t)shadow->st.st_size)); /* no hashes */
    for (size_t i = 1; i < fs.count; i++)
        assert_true(strcmp(fs.entries[i - 1].path, fs.entries[i].path) < 0);
    fileset_free(&fs);
    free(script);
}

static void argument_files(void **state)
{
    char *file = at("arg.conf"), *option = xasprintf("--conf=%s", file);

    (void)state;
    put("arg.conf", "");
    assert_string_equal(pack_argument_file(file), file);
    assert_string_equal(pack_argument_file(option), file);
    assert_null(pack_argument_file("--conf=/no/such"));
    assert_null(pack_argument_file(""));
    assert_null(pack_argument_file("-"));
    free(file);
    free(option);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elf_of_a_real_program),
        cmocka_unit_test(elf_rejects_what_is_none),
        cmocka_unit_test(elf_survives_damage),
        cmocka_unit_test(ldso_cache_knows_libc),
        cmocka_unit_test(ldso_bad_cache_is_empty),
        cmocka_unit_test(ldso_expands_origin),
        cmocka_unit_test(dpkg_finds_owners),
        cmocka_unit_test(dpkg_follows_dependencies),
        cmocka_unit_test(dpkg_parses_dependencies),
        cmocka_unit_test(dpkg_none_is_no_error),
        cmocka_unit_test(fileset_follows_links),
        cmocka_unit_test(cpio_namesize_aligns),
        cmocka_unit_test(cpio_keeps_hard_links),
        cmocka_unit_test(cpio_is_aligned_and_ordered),
        cmocka_unit_test(unreadable_files_are_skipped_or_fatal),
        cmocka_unit_test(manifest_notices_changes),
        cmocka_unit_test(excludes_what_a_domain_does_not_need),
        cmocka_unit_test(collects_a_shell_script),
        cmocka_unit_test(argument_files),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
