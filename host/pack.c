/*
 * The packer. What goes into an image, in this order:
 *
 *  1. the program, found as a shell finds it; for a script, its interpreter with its package, and
 *     what the script's package depends on;
 *  2. what its Debian package owns, and the packages of the same source it depends on (nginx and
 *     nginx-common): files, and the whole present content of the directories that belong to these
 *     packages only, because that is where maintainer scripts and administrators put things
 *     (/etc/nginx/sites-enabled); and what their configuration files in /etc and their maintainer
 *     scripts name by absolute paths (/var/www/html, /var/lib/redis, certificates). Packages whose
 * files such a directory links to (enabled modules) come in whole. Documentation, translations,
 * init scripts, logs and caches stay out;
 *  3. what the user named: --file, --package, and arguments that are names of existing files;
 *  4. the libraries of every ELF file found so far, as ld.so would find them, and what these open
 * by name at run time;
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
#include "pack_internal.h"
#include "shell.h"

#define MAX_SCRIPT_DEPTH 4

/* ---- the program ---- */

static bool is_program(const char *path)
{
    struct stat st;

    return !stat(path, &st) && S_ISREG(st.st_mode) && !access(path, X_OK);
}

/* The program of this name in the directories of a search path; or NULL. */
static char *find_in(const char *path, const char *name)
{
    char *dirs = xstrdup(path), *save = NULL, *found = NULL;

    for (char *dir = strtok_r(dirs, ":", &save); dir && !found; dir = strtok_r(NULL, ":", &save)) {
        char *file = xasprintf("%s/%s", dir, name);
        if (dir[0] == '/' && is_program(file))
            found = file;
        else
            free(file);
    }
    free(dirs);
    return found;
}

char *pack_find_program(const char *name)
{
    const char *env = getenv("PATH");

    if (strchr(name, '/')) {
        char cwd[PATH_MAX];
        if (name[0] == '/')
            return xstrdup(name);
        return getcwd(cwd, sizeof(cwd)) ? xasprintf("%s/%s", cwd, name) : NULL;
    }
    char *found = env ? find_in(env, name) : NULL;
    return found ? found : find_in(DOMAIN_PATH, name);
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

static int add_program(struct packer *p, const char *path, int depth)
{
    char *final, *arg;
    int err = fileset_add(p->fs, path, &final);

    if (err)
        return err;
    fileset_find(p->fs, final)->essential = true;
    strv_addf(&p->programs, "%s", path);
    p->shell |= is_shell(path);
    char *interp = script_interpreter(final, &arg);
    free(final);
    if (interp && depth < MAX_SCRIPT_DEPTH) {
        err = add_program(p, interp, depth + 1);
        const char *base = strrchr(interp, '/');
        if (!err && arg && base && !strcmp(base, "/env")) {
            char *real = find_in(DOMAIN_PATH, arg); /* as env will in the domain */
            err = real ? add_program(p, real, depth + 1) : -ENOENT;
            free(real);
        }
    }
    free(interp);
    free(arg);
    return err;
}

int pack_add_program(struct packer *p, const char *path)
{
    return add_program(p, path, 0);
}

/* ---- what the user named ---- */

static int add_named(struct packer *p, const char *path, bool required)
{
    char *abs = path[0] == '/' ? xstrdup(path) : realpath(path, NULL);
    struct stat st;
    int err = !abs ? -ENOENT : stat(abs, &st) < 0 ? -errno : 0;

    if (!err && pack_excluded(abs) && !required)
        err = -EPERM;
    if (!err && S_ISDIR(st.st_mode) && pack_depth_of(abs) < 2)
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
        if ((*a)[0] == '/' && !stat(*a, &st) && S_ISDIR(st.st_mode) && !pack_is_covered(p, *a))
            fileset_add(p->fs, *a, NULL);
        const char *path = pack_argument_file(*a);
        int err = path && !pack_is_covered(p, path) ? add_named(p, path, false) : 0;
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
        fileset_add(p->fs, "/bin/sh", NULL); /* for system() and popen() */
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

/* What libraries open by name: configuration, modules, descriptions of terminals. */
static int add_library_files(struct packer *p)
{
    static const struct {
        const char *library, *path;
    } files[] = {
        {"/libcrypto.so", "/etc/ssl/openssl.cnf"},
        {"/libcrypto.so", "/etc/ssl/certs/ca-certificates.crt"},
        {"/libcrypto.so", "/usr/lib/ssl/openssl.cnf"},
        {"/libcrypto.so", "/usr/lib/ssl/certs"},
        {"/libcrypto.so", "/usr/lib/ssl/private"},
        {"/libpam.so", "/etc/login.defs"},
        {"/libpam.so", "/etc/pam.d"},
        {"/libpam.so", "/etc/security"},
        {"/libpam.so", "/usr/lib/x86_64-linux-gnu/security"},
        {"/libtinfo.so", "/lib/terminfo"},
        {"/libc.so.6", "/usr/lib/locale/C.utf8"}, /* of LANG=C.UTF-8 */
    };
    struct stat st;

    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        if (!has_file_like(p->fs, files[i].library) || lstat(files[i].path, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode))
            fileset_add_tree(p->fs, files[i].path, NULL, NULL);
        else
            fileset_add(p->fs, files[i].path, NULL);
    }
    return add_libraries(p); /* of modules among them */
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
    int err = pack_add_program(&p, program);
    p.script = p.programs.n > 1;
    if (err) {
        warn("%s: its interpreter is not there: %s", program, strerror(-err));
        status = STATUS_CANNOT;
    }
    if (!status && !elf_read(program, &info) && info.rpath)
        p.exe_rpath = xstrdup(info.rpath);
    elf_free(&info);
    if (!status)
        status = pack_add_packages(&p);
    if (!status)
        status = add_user_files(&p);
    if (!status)
        status = add_libraries(&p);
    if (!status)
        status = add_library_files(&p);
    if (!status) {
        base_add(fs, rq->user_net);
        fileset_sort(fs);
    }
    free(p.exe_rpath);
    strv_free(&p.programs);
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
