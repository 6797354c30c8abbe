/*
 * The packer. What goes into an image, in this order:
 *
 *  1. the program, found as a shell finds it; for a script, its interpreter;
 *  2. what its Debian package owns, and the packages of the same source it depends on (nginx and
 *     nginx-common): files, and the whole present content of the directories that belong to these
 *     packages only, because that is where maintainer scripts and administrators put things
 *     (/etc/nginx/sites-enabled); and what their configuration files in /etc and their maintainer
 *     scripts name by absolute paths (/var/www/html, /var/lib/redis, certificates). Packages whose
 * files such a directory links to (enabled modules) come in whole. Documentation, translations,
 * init scripts, logs and caches stay out;
 *  3. what the user named: --file, --package, and arguments that are names of existing files;
 *  4. the libraries of every ELF file found so far, as ld.so would find them, and the few that
 * glibc opens by name at run time;
 *  5. the base of a root file system (base.h).
 */
#include "pack.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base.h"
#include "cache.h"
#include "dpkg.h"
#include "ldso.h"
#include "shell.h"

#define MAX_PACKAGES 64
#define MAX_SCRIPT_DEPTH 4
#define MAX_CONFIG (1 << 20)
#define MAX_FILE (1ull << 30) /* a larger one belongs on a volume */

struct packer {
    const struct pack_request *rq;
    struct fileset *fs;
    struct ldso_cache ldso;
    struct dpkg_db *db;
    struct dpkg_package *set[MAX_PACKAGES + 1];
    size_t elf_done; /* entries below this index have their libraries */
    char *exe_rpath;
    bool shell; /* the program or a script's interpreter is one */
};

/* ---- the program ---- */

static bool is_program(const char *path)
{
    struct stat st;

    return !stat(path, &st) && S_ISREG(st.st_mode) && !access(path, X_OK);
}

char *pack_find_program(const char *name)
{
    const char *env = getenv("PATH");
    char *path = xasprintf("%s:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin",
                           env ? env : "");
    char *save = NULL, *found = NULL;

    if (strchr(name, '/')) {
        char cwd[PATH_MAX];
        free(path);
        if (name[0] == '/')
            return xstrdup(name);
        return getcwd(cwd, sizeof(cwd)) ? xasprintf("%s/%s", cwd, name) : NULL;
    }
    for (char *dir = strtok_r(path, ":", &save); dir && !found; dir = strtok_r(NULL, ":", &save)) {
        char *file = xasprintf("%s/%s", dir, name);
        if (dir[0] == '/' && is_program(file))
            found = file;
        else
            free(file);
    }
    free(path);
    return found;
}

/* The interpreter of a script (what follows "#!"), or NULL; *arg becomes its argument or NULL. */
static char *script_interpreter(const char *path, char **arg)
{
    char line[256] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);

    if (fd >= 0)
        close(fd);
    *arg = NULL;
    if (n < 3 || line[0] != '#' || line[1] != '!')
        return NULL;
    line[strcspn(line, "\n")] = 0;
    char *save = NULL, *word = strtok_r(line + 2, " \t", &save);
    char *next = word ? strtok_r(NULL, " \t", &save) : NULL;
    *arg = next ? xstrdup(next) : NULL;
    return word ? xstrdup(word) : NULL;
}

/* Adds a program and, for scripts, the interpreters it needs. */
static int add_program(struct packer *p, const char *path, int depth)
{
    char *final, *arg;
    int err = fileset_add(p->fs, path, &final);

    if (err)
        return err;
    fileset_find(p->fs, final)->essential = true;
    p->shell |= is_shell(path);
    char *interp = script_interpreter(final, &arg);
    free(final);
    if (interp && depth < MAX_SCRIPT_DEPTH) {
        err = add_program(p, interp, depth + 1);
        const char *base = strrchr(interp, '/');
        if (!err && arg && base && !strcmp(base, "/env")) {
            char *real = pack_find_program(arg);
            err = real ? add_program(p, real, depth + 1) : -ENOENT;
            free(real);
        }
    }
    free(interp);
    free(arg);
    return err;
}

/* ---- packages ---- */

bool pack_excluded(const char *path)
{
    static const char *const trees[] = {
        "/usr/share/doc",
        "/usr/share/man",
        "/usr/share/info",
        "/usr/share/locale",
        "/usr/share/lintian",
        "/usr/share/bash-completion",
        "/usr/share/zsh",
        "/usr/share/fish",
        "/usr/share/bug",
        "/usr/share/icons",
        "/usr/share/applications",
        "/usr/share/pixmaps",
        "/usr/share/menu",
        "/usr/share/gtk-doc",
        "/usr/share/apport",
        "/usr/share/doc-base",
        "/usr/share/metainfo",
        "/usr/share/vim",
        "/etc/init.d",
        "/etc/init",
        "/lib/systemd",
        "/usr/lib/systemd",
        "/etc/systemd",
        "/etc/logrotate.d",
        "/etc/ufw",
        "/etc/apparmor.d",
        "/usr/lib/tmpfiles.d",
        "/usr/lib/sysusers.d",
        "/etc/cron.d",
        "/etc/cron.daily",
        "/etc/cron.weekly",
        "/etc/cron.monthly",
        "/etc/cron.hourly",
        "/dev",
        "/proc",
        "/sys",
    };

    for (size_t i = 0; i < ARRAY_SIZE(trees); i++)
        if (starts_with(path, trees[i]) && strchr("/", path[strlen(trees[i])]))
            return true;
    return strstr(path, ".dpkg-");
}

/* True for what a volume will hide: packing it would be for nothing. */
static bool is_covered(const struct packer *p, const char *path)
{
    for (size_t i = 0; p->rq->volumes && i < p->rq->volumes->n; i++) {
        const char *volume = p->rq->volumes->v[i];
        if (starts_with(path, volume) && strchr("/", path[strlen(volume)]))
            return true;
    }
    return false;
}

/* Which entries of a package's own directories are packed; arg is the packer. */
static bool take_entry(const char *path, const struct stat *st, void *arg)
{
    if (pack_excluded(path) || is_covered(arg, path))
        return false;
    if (S_ISREG(st->st_mode) &&
        (starts_with(path, "/var/log/") || starts_with(path, "/var/cache/")))
        return false;
    if (S_ISREG(st->st_mode) && (uint64_t)st->st_size > MAX_FILE) {
        warn("%s is left out: it is larger than 1 GiB; give it to the domain with -v", path);
        return false;
    }
    return true;
}

/* Depth of a path: 1 for "/etc". */
static int depth_of(const char *path)
{
    int n = 0;

    for (; *path; path++)
        n += *path == '/';
    return n;
}

/* True for a directory whose content belongs to the packed packages alone. */
static bool is_own_dir(struct packer *p, const char *path)
{
    static const char *const places[] = {"/etc/", "/var/", "/srv/", "/usr/share/"};

    if (starts_with(path, "/var/www/"))
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
        if (starts_with(path, places[i]))
            return depth_of(path) >= 2 && !dpkg_other_owners(p->db, path, p->set);
    return false;
}

static void add_package_files(struct packer *p, struct dpkg_package *pkg)
{
    for (size_t i = 0; i < pkg->files.n; i++) {
        const char *path = pkg->files.v[i];
        struct stat st;
        if (ends_with(path, ".service") && strstr(path, "/systemd/system/"))
            base_add_unit(p->fs, path);
        if (pack_excluded(path))
            continue;
        if (lstat(path, &st) < 0) {
            if (errno == EACCES)
                strv_addf(&p->fs->unreadable, "%s", path);
            continue;
        }
        if (S_ISDIR(st.st_mode) && is_own_dir(p, path))
            fileset_add_tree(p->fs, path, take_entry, p);
        else if (take_entry(path, &st, p) && !starts_with(path, "/run/"))
            fileset_add(p->fs, path, NULL);
    }
}

/* A path named in a configuration file: a document root, a certificate, where data is kept. */
static void add_config_word(struct packer *p, char *word)
{
    struct stat st;

    if (pack_excluded(word) || is_covered(p, word) || depth_of(word) < 2)
        return;
    if (lstat(word, &st) < 0) {
        /* What the program will write: only the directory can be there already. */
        *strrchr(word, '/') = 0;
        if (lstat(word, &st) < 0 || !S_ISDIR(st.st_mode) || depth_of(word) < 2)
            return;
    }
    if (S_ISDIR(st.st_mode) && is_own_dir(p, word))
        fileset_add_tree(p->fs, word, take_entry, p);
    else if (S_ISREG(st.st_mode) && take_entry(word, &st, p))
        fileset_add(p->fs, word, NULL);
}

/* Packs what a text names below one of the places (ended by NULL), comments aside. */
static void scan_text(struct packer *p, const char *path, const char *const *places)
{
    struct buf text = {0};
    char *lines = NULL, *words;

    if (read_file(path, &text, MAX_CONFIG) || memchr(text.data, 0, text.len))
        text.len = 0;
    char *line = text.len ? strtok_r((char *)text.data, "\n", &lines) : NULL;
    for (; line; line = strtok_r(NULL, "\n", &lines)) {
        if (line[strspn(line, " \t")] == '#')
            continue;
        char *word = strtok_r(line, " \t\"';=,(){}<>", &words);
        for (; word; word = strtok_r(NULL, " \t\"';=,(){}<>", &words))
            for (size_t i = 0; places[i]; i++)
                if (starts_with(word, places[i])) {
                    add_config_word(p, word);
                    break;
                }
    }
    buf_free(&text);
}

/* The directories for data that the package's maintainer script made. The configuration names them
 * too, but not everybody may read it. */
static void scan_script(struct packer *p, const struct dpkg_package *pkg)
{
    static const char *const places[] = {"/var/lib/", "/srv/", NULL};
    char *path = xasprintf("/var/lib/dpkg/info/%s.postinst", pkg->name);

    scan_text(p, path, places);
    free(path);
}

/* Reads the configuration files found so far, from entry `from` on. Returns how many there are. */
static size_t scan_configs(struct packer *p, size_t from)
{
    static const char *const places[] = {"/etc/", "/var/", "/srv/", "/opt/", "/usr/share/", NULL};

    for (; from < p->fs->count; from++) {
        struct file_entry *e = &p->fs->entries[from];
        if (S_ISREG(e->st.st_mode) && e->source && starts_with(e->path, "/etc/") &&
            e->st.st_size <= MAX_CONFIG)
            scan_text(p, e->path, places);
    }
    return from;
}

/* Packages that own what a link in an own directory leads to: enabled modules and the like. */
static void add_linked_packages(struct packer *p)
{
    for (size_t i = 0; i < p->fs->count; i++) {
        struct file_entry *e = &p->fs->entries[i];
        if (!S_ISLNK(e->st.st_mode) || !starts_with(e->path, "/etc/"))
            continue;
        char *slash = strrchr(e->path, '/');
        char *dir = xstrndup(e->path, (size_t)(slash - e->path));
        struct file_entry *parent = fileset_find(p->fs, dir);
        char *final = realpath(e->path, NULL);
        struct dpkg_package *owner = NULL;
        if (parent && parent->listed && final)
            owner = dpkg_owner(p->db, final);
        if (owner)
            dpkg_closure(p->db, owner, p->set, MAX_PACKAGES);
        free(final);
        free(dir);
    }
}

static int add_packages(struct packer *p, const char *program)
{
    char *at = xstrdup(program), target[PATH_MAX];

    if (!p->db)
        return 0;
    fileset_depend(p->fs, "/var/lib/dpkg/status");
    /* Every name on the way from the program to its file may be another package's (alternatives).
     */
    for (int hops = 0; hops < 8; hops++) {
        struct dpkg_package *owner = dpkg_owner(p->db, at);
        if (owner)
            dpkg_closure(p->db, owner, p->set, MAX_PACKAGES);
        ssize_t n = readlink(at, target, sizeof(target) - 1);
        if (n <= 0)
            break;
        target[n] = 0;
        char *slash = strrchr(at, '/');
        char *next = target[0] == '/' ? xstrdup(target)
                                      : xasprintf("%.*s/%s", (int)(slash - at), at, target);
        free(at);
        at = next;
    }
    free(at);
    for (size_t i = 0; p->rq->packages && i < p->rq->packages->n; i++) {
        struct dpkg_package *pkg = dpkg_find(p->db, p->rq->packages->v[i]);
        if (!pkg) {
            warn("package %s is not installed: apt install %s", p->rq->packages->v[i],
                 p->rq->packages->v[i]);
            return STATUS_OURS;
        }
        dpkg_closure(p->db, pkg, p->set, MAX_PACKAGES);
    }
    for (size_t done = 0, scanned = 0; p->set[done];) {
        for (; p->set[done]; done++) {
            add_package_files(p, p->set[done]);
            scan_script(p, p->set[done]);
        }
        add_linked_packages(p);
        scanned = scan_configs(p, scanned);
    }
    if (p->shell)
        add_essential_commands(p->db, p->fs);
    return 0;
}

/* ---- what the user named ---- */

static int add_named(struct packer *p, const char *path, bool required)
{
    char *abs = path[0] == '/' ? xstrdup(path) : realpath(path, NULL);
    struct stat st;
    int err = !abs ? -ENOENT : stat(abs, &st) < 0 ? -errno : 0;

    if (!err && pack_excluded(abs) && !required)
        err = -EPERM;
    if (!err && S_ISDIR(st.st_mode) && depth_of(abs) < 2)
        err = -EPERM; /* "/", "/etc": surely no part of what the user meant to pack */
    if (!err && !S_ISDIR(st.st_mode) && access(abs, R_OK) < 0)
        err = -errno;
    if (!err)
        err = S_ISDIR(st.st_mode) ? fileset_add_tree(p->fs, abs, NULL, NULL)
                                  : fileset_add(p->fs, abs, NULL);
    free(abs);
    return err;
}

const char *pack_argument_file(const char *arg)
{
    struct stat st;

    if (arg[0] == '-' && strchr(arg, '='))
        arg = strchr(arg, '=') + 1;
    if (!*arg)
        return NULL;
    if (stat(arg, &st) < 0)
        return arg[0] == '/' && errno == EACCES ? arg : NULL; /* there, but not for this user */
    return S_ISREG(st.st_mode) ? arg : NULL;
}

/* One --file option: PATH, or PATH:GUESTPATH. Returns 0 or -errno. */
static int add_file_option(struct packer *p, const char *option)
{
    const char *colon = strrchr(option, ':');

    if (!colon || colon[1] != '/' || colon == option)
        return add_named(p, option, true);
    char *from = xstrndup(option, (size_t)(colon - option)), *path = realpath(from, NULL);
    int err = path ? fileset_add_as(p->fs, path, colon + 1) : -errno;
    free(path);
    free(from);
    return err;
}

static int add_user_files(struct packer *p)
{
    for (size_t i = 0; p->rq->files && i < p->rq->files->n; i++) {
        int err = add_file_option(p, p->rq->files->v[i]);
        if (err) {
            warn("cannot pack %s: %s", p->rq->files->v[i], strerror(-err));
            return STATUS_OURS;
        }
    }
    for (char *const *a = p->rq->args; a && *a; a++) {
        struct stat st;
        /* A directory that the program is told of is there, but empty: `ls /` shall not pack this
         * host. */
        if ((*a)[0] == '/' && !stat(*a, &st) && S_ISDIR(st.st_mode) && !is_covered(p, *a))
            fileset_add(p->fs, *a, NULL);
        const char *path = pack_argument_file(*a);
        int err = path && !is_covered(p, path) ? add_named(p, path, false) : 0;
        if (err && err != -EPERM) {
            warn("cannot read %s: %s", path, strerror(-err));
            return STATUS_OURS;
        }
    }
    return 0;
}

/* ---- libraries ---- */

/* Adds one library by soname on behalf of an object. False if it cannot be found. */
static bool add_library(struct packer *p, const char *soname, const char *object,
                        const struct elf_info *info, bool essential)
{
    char *path = ldso_find(&p->ldso, soname, object, info, p->exe_rpath);
    char *final = NULL;
    bool ok = path && !fileset_add(p->fs, path, &final);

    if (ok && essential)
        fileset_find(p->fs, final)->essential = true;
    free(final);
    free(path);
    return ok;
}

/* Adds what one ELF file asks for. */
static int add_needed(struct packer *p, const char *path, bool essential)
{
    struct elf_info info;
    int err = elf_read(path, &info), status = 0;

    if (!err && info.interp)
        fileset_add(p->fs, info.interp, NULL);
    for (size_t i = 0; !err && !status && i < info.needed.n; i++) {
        if (add_library(p, info.needed.v[i], path, &info, essential) || !essential)
            continue;
        warn("%s needs the library %s, which is not installed", path, info.needed.v[i]);
        status = STATUS_CANNOT;
    }
    if (!err && strv_has(&info.needed, "libc.so.6")) {
        /* glibc opens these by name: to unwind a cancelled thread, and for name services. */
        static const char *const companions[] = {"libgcc_s.so.1", "libnss_files.so.2",
                                                 "libnss_dns.so.2", "libresolv.so.2"};
        for (size_t i = 0; i < ARRAY_SIZE(companions); i++)
            add_library(p, companions[i], path, &info, false);
    }
    elf_free(&info);
    return status;
}

static bool has_elf_magic(const char *path)
{
    uint8_t magic[4];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool yes = fd >= 0 && read(fd, magic, sizeof(magic)) == sizeof(magic) &&
               elf_is_elf(magic, sizeof(magic));

    if (fd >= 0)
        close(fd);
    return yes;
}

/* Goes over all entries, including those it adds, until every ELF file has its libraries. */
static int add_libraries(struct packer *p)
{
    for (; p->elf_done < p->fs->count; p->elf_done++) {
        struct file_entry *e = &p->fs->entries[p->elf_done];
        if (!S_ISREG(e->st.st_mode) || !e->source || e->st.st_size < 64 ||
            !has_elf_magic(e->source))
            continue;
        int status = add_needed(p, p->fs->entries[p->elf_done].source, e->essential);
        if (status)
            return status;
    }
    return 0;
}

static bool has_file_like(const struct fileset *fs, const char *part)
{
    for (size_t i = 0; i < fs->count; i++)
        if (strstr(fs->entries[i].path, part))
            return true;
    return false;
}

/* A program with OpenSSL in it wants its configuration and the certificate authorities. */
static void add_tls_files(struct packer *p)
{
    static const char *const files[] = {
        "/etc/ssl/openssl.cnf", "/etc/ssl/certs/ca-certificates.crt", "/usr/lib/ssl/openssl.cnf",
        "/usr/lib/ssl/certs", "/usr/lib/ssl/private"};

    for (size_t i = 0; has_file_like(p->fs, "/libcrypto.so") && i < ARRAY_SIZE(files); i++)
        fileset_add(p->fs, files[i], NULL);
}

/* What LANG=C.UTF-8 names: glibc has the plain C locale alone in itself. */
static void add_locale(struct packer *p)
{
    static const char tree[] = "/usr/lib/locale/C.utf8";

    if (has_file_like(p->fs, "/libc.so.6") && !access(tree, R_OK))
        fileset_add_tree(p->fs, tree, NULL, NULL);
}

/* ---- all together ---- */

static int check_program(const char *name, const char *path)
{
    struct elf_info info;
    struct stat st;

    if (!path || stat(path, &st) < 0) {
        warn("%s: no such program; install it, or give its path", name);
        return STATUS_NOTFOUND;
    }
    if (!is_program(path)) {
        warn("%s is not an executable file", path);
        return STATUS_CANNOT;
    }
    if (access(path, R_OK) < 0) {
        warn("%s cannot be read: %s", path, strerror(errno));
        return STATUS_CANNOT;
    }
    int err = has_elf_magic(path) ? elf_read(path, &info) : 1;
    if (err == 1) {
        char *arg, *interp = script_interpreter(path, &arg);
        bool ok = interp;
        free(interp);
        free(arg);
        if (ok)
            return 0;
        warn("%s is neither an x86-64 program nor a script that names its interpreter", path);
        return STATUS_CANNOT;
    }
    bool ok = !err && info.x86_64;
    elf_free(&info);
    if (!ok) {
        warn("%s is not a well-formed x86-64 program", path);
        return STATUS_CANNOT;
    }
    return 0;
}

int pack_collect(const struct pack_request *rq, const char *program, struct fileset *fs)
{
    struct packer p = {.rq = rq, .fs = fs};
    struct elf_info info = {0};
    int status = 0;

    ldso_cache_read(&p.ldso, "/etc/ld.so.cache");
    p.db = dpkg_open("/var/lib/dpkg");
    int err = add_program(&p, program, 0);
    if (err) {
        warn("%s: its interpreter is not there: %s", program, strerror(-err));
        status = STATUS_CANNOT;
    }
    if (!status && !elf_read(program, &info) && info.rpath)
        p.exe_rpath = xstrdup(info.rpath);
    elf_free(&info);
    if (!status)
        status = add_packages(&p, program);
    if (!status)
        status = add_user_files(&p);
    if (!status)
        status = add_libraries(&p);
    if (!status) {
        add_tls_files(&p);
        add_locale(&p);
        base_add(fs, rq->user_net);
        fileset_sort(fs);
    }
    free(p.exe_rpath);
    dpkg_free(p.db);
    ldso_cache_free(&p.ldso);
    return status;
}

/* The directory the program starts in: the user's if an argument is a file named relative to it. */
static char *choose_cwd(const struct pack_request *rq)
{
    char cwd[PATH_MAX];
    struct stat st;

    for (char *const *a = rq->args; a && *a; a++)
        if ((*a)[0] && (*a)[0] != '/' && (*a)[0] != '-' && !stat(*a, &st) && S_ISREG(st.st_mode) &&
            getcwd(cwd, sizeof(cwd)))
            return xstrdup(cwd);
    return xstrdup("/");
}

int pack_program(const char *name, char **path)
{
    *path = pack_find_program(name);
    int status = check_program(name, *path);

    if (status) {
        free(*path);
        *path = NULL;
    }
    return status;
}

int pack(const struct pack_request *rq, struct pack_result *out)
{
    memset(out, 0, sizeof(*out));
    int status = pack_program(rq->program, &out->program);

    if (!status) {
        out->cwd = choose_cwd(rq);
        status = cache_image(rq, out->program, out->cwd, out);
    }
    return status;
}
