/* The packer's second step: Debian packages, and what their configuration names (pack.c's head). */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base.h"
#include "pack_internal.h"
#include "shell.h"

#define MAX_CONFIG (1 << 20)
#define MAX_FILE (1ull << 30) /* a larger one belongs on a volume */

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
        "/etc/shadow",
        "/etc/gshadow",
        "/dev",
        "/proc",
        "/sys",
    };

    for (size_t i = 0; i < ARRAY_SIZE(trees); i++)
        if (starts_with(path, trees[i]) && strchr("/", path[strlen(trees[i])]))
            return true;
    return strstr(path, ".dpkg-");
}

bool pack_is_covered(const struct packer *p, const char *path)
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
    if (pack_excluded(path) || pack_is_covered(arg, path))
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

int pack_depth_of(const char *path)
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
            return pack_depth_of(path) >= 2 && !dpkg_other_owners(p->db, path, p->set);
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

    if (pack_excluded(word) || pack_is_covered(p, word) || pack_depth_of(word) < 2)
        return;
    if (lstat(word, &st) < 0) {
        /* What the program will write: only the directory can be there already. */
        *strrchr(word, '/') = 0;
        if (lstat(word, &st) < 0 || !S_ISDIR(st.st_mode) || pack_depth_of(word) < 2)
            return;
    }
    if (S_ISDIR(st.st_mode) && is_own_dir(p, word))
        fileset_add_tree(p->fs, word, take_entry, p);
    else if (S_ISREG(st.st_mode) && take_entry(word, &st, p))
        st.st_mode &S_IXUSR ? pack_add_program(p, word) : fileset_add(p->fs, word, NULL);
}

/* Packs what a text names below one of these directories (ended by NULL), comments aside. */
static void scan_text(struct packer *p, const char *path, const char *const *below)
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
            for (size_t i = 0; below[i]; i++)
                if (starts_with(word, below[i])) {
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
    static const char *const for_data[] = {"/var/lib/", "/srv/", NULL};
    char *path = xasprintf("/var/lib/dpkg/info/%s.postinst", pkg->name);

    scan_text(p, path, for_data);
    free(path);
}

/* What configuration names is below one of these. */
static const char *const places[] = {"/etc/", "/var/", "/srv/", "/opt/", "/usr/share/", NULL};

/* Reads the configuration files found so far, from entry `from` on. Returns how many there are. */
static size_t scan_configs(struct packer *p, size_t from)
{
    for (; from < p->fs->count; from++) {
        struct file_entry *e = &p->fs->entries[from];
        if (S_ISREG(e->st.st_mode) && e->source && starts_with(e->path, "/etc/") &&
            e->st.st_size <= MAX_CONFIG)
            scan_text(p, e->path, places);
    }
    return from;
}

/* Adds a package with those of the same source, and what it depends on if that was asked for. */
static void add_package(struct packer *p, struct dpkg_package *pkg)
{
    dpkg_closure(p->db, pkg, p->set, PACK_PACKAGES_MAX);
    /* What a script imports is not written in it as libraries are in an ELF file. */
    if (p->rq->depends || p->script)
        dpkg_dependencies(p->db, pkg, p->set, PACK_PACKAGES_MAX);
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
            add_package(p, owner);
        free(final);
        free(dir);
    }
}

/* Every name on the way from a program to its file may be another package's (alternatives). */
static void add_owners(struct packer *p, const char *program)
{
    char *at = xstrdup(program), target[PATH_MAX];

    for (int hops = 0; hops < 8; hops++) {
        struct dpkg_package *owner = dpkg_owner(p->db, at);
        if (owner)
            add_package(p, owner);
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
}

int pack_add_packages(struct packer *p)
{
    if (!p->db)
        return 0;
    fileset_depend(p->fs, "/var/lib/dpkg/status");
    for (size_t i = 0; p->rq->packages && i < p->rq->packages->n; i++) {
        struct dpkg_package *pkg = dpkg_find(p->db, p->rq->packages->v[i]);
        if (!pkg) {
            warn("package %s is not installed: apt install %s", p->rq->packages->v[i],
                 p->rq->packages->v[i]);
            return STATUS_OURS;
        }
        add_package(p, pkg);
    }
    for (size_t owned = 0, done = 0, scanned = 0; owned < p->programs.n || p->set[done];) {
        for (; owned < p->programs.n; owned++) {
            add_owners(p, p->programs.v[owned]);
            if (starts_with(p->programs.v[owned],
                            "/usr/share/")) /* a helper of the configuration */
                scan_text(p, p->programs.v[owned], places);
        }
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
