/* The database reader of dpkg.h. Two hash tables: package by name, owners by normalised path. */
#include "dpkg.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MAX (64u << 20)

/* One (path, owner) pair; pairs with the same hash slot are chained. */
struct owner {
    const char *path; /* as in the .list file */
    uint32_t package;
    uint32_t next; /* index + 1 of the next pair, 0 at the end */
};

struct dpkg_db {
    char *root;
    struct buf status;
    struct dpkg_package *packages;
    size_t count, cap;
    uint32_t *by_name; /* index + 1, open addressing, name_slots of them */
    size_t name_slots;
    struct owner *owners;
    size_t owner_count, owner_cap;
    uint32_t *by_path; /* head of a chain, path_slots of them */
    size_t path_slots;
};

/* Never packed, so their (many) paths are not indexed. */
static const char *const unindexed[] = {"/usr/share/doc/", "/usr/share/man/", "/usr/share/locale/"};

static bool is_unindexed(const char *path)
{
    for (size_t i = 0; i < ARRAY_SIZE(unindexed); i++)
        if (starts_with(path, unindexed[i]))
            return true;
    return false;
}

/* "/usr" if the path begins with one of the directories merged into /usr, else "". */
static const char *merged_prefix(const char *path)
{
    static const char *const dirs[] = {"/bin", "/sbin", "/lib", "/lib64"};

    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
        size_t n = strlen(dirs[i]);
        if (!strncmp(path, dirs[i], n) && (path[n] == '/' || !path[n]))
            return "/usr";
    }
    return "";
}

static uint64_t path_hash(const char *path)
{
    const char *prefix = merged_prefix(path);

    return fnv1a(fnv1a(FNV_START, prefix, strlen(prefix)), path, strlen(path));
}

static bool same_path(const char *a, const char *b)
{
    size_t na = strlen(merged_prefix(a)), nb = strlen(merged_prefix(b));

    if (na == nb)
        return !strcmp(a, b);
    return na ? starts_with(b, "/usr") && !strcmp(a, b + 4)
              : starts_with(a, "/usr") && !strcmp(a + 4, b);
}

void dpkg_parse_depends(const char *field, size_t len, struct strv *names)
{
    const char *p = field, *end = field + len;

    while (p < end) {
        while (p < end && (isspace((unsigned char)*p) || *p == ',' || *p == '|'))
            p++;
        const char *name = p;
        while (p < end && (isalnum((unsigned char)*p) || strchr("+-.", *p)))
            p++;
        if (p > name)
            strv_add(names, xstrndup(name, (size_t)(p - name)));
        while (p < end && *p != ',' && *p != '|')
            p++;
    }
}

static struct dpkg_package *add_package(struct dpkg_db *db)
{
    if (db->count == db->cap) {
        db->cap = db->cap ? db->cap * 2 : 256;
        db->packages = xrealloc(db->packages, db->cap * sizeof(*db->packages));
    }
    struct dpkg_package *p = &db->packages[db->count++];
    memset(p, 0, sizeof(*p));
    return p;
}

/* The first word of a field's value. */
static char *first_word(const char *value, size_t len)
{
    size_t n = 0;

    while (n < len && !isspace((unsigned char)value[n]))
        n++;
    return xstrndup(value, n);
}

/* Parses one stanza of the status file; continuation lines belong to the field before them. */
static void parse_stanza(struct dpkg_db *db, const char *p, const char *end)
{
    struct dpkg_package pkg = {0};
    bool installed = false;

    while (p < end) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        while (eol && eol + 1 < end && (eol[1] == ' ' || eol[1] == '\t'))
            eol = memchr(eol + 1, '\n', (size_t)(end - eol - 1));
        if (!eol)
            eol = end;
        const char *colon = memchr(p, ':', (size_t)(eol - p));
        if (colon) {
            size_t n = (size_t)(colon - p);
            const char *value = colon + 1;
            while (value < eol && *value == ' ')
                value++;
            size_t len = (size_t)(eol - value);
            if (n == 7 && !memcmp(p, "Package", n) && !pkg.name)
                pkg.name = first_word(value, len);
            else if (n == 6 && !memcmp(p, "Source", n) && !pkg.source)
                pkg.source = first_word(value, len);
            else if (n == 9 && !memcmp(p, "Essential", n))
                pkg.essential = len >= 3 && !memcmp(value, "yes", 3);
            else if (n == 6 && !memcmp(p, "Status", n))
                installed = len >= 10 && memmem(value, len, " installed", 10);
            else if (n == 7 && !memcmp(p, "Section", n))
                pkg.library = len >= 4 && !memcmp(value + len - 4, "libs", 4);
            else if ((n == 7 && !memcmp(p, "Depends", n)) ||
                     (n == 11 && !memcmp(p, "Pre-Depends", n)))
                dpkg_parse_depends(value, len, &pkg.depends);
            else if (n == 10 && !memcmp(p, "Recommends", n))
                dpkg_parse_depends(value, len, &pkg.recommends);
        }
        p = eol + 1;
    }
    if (pkg.name && installed) {
        if (!pkg.source)
            pkg.source = xstrdup(pkg.name);
        *add_package(db) = pkg;
        return;
    }
    free(pkg.name);
    free(pkg.source);
    strv_free(&pkg.depends);
    strv_free(&pkg.recommends);
}

static void parse_status(struct dpkg_db *db)
{
    const char *p = (const char *)db->status.data, *end = p + db->status.len;

    while (p < end) {
        const char *stop = memmem(p, (size_t)(end - p), "\n\n", 2);
        if (!stop)
            stop = end;
        parse_stanza(db, p, stop);
        p = stop + 2;
    }
}

static void index_names(struct dpkg_db *db)
{
    for (db->name_slots = 64; db->name_slots < db->count * 2;)
        db->name_slots *= 2;
    db->by_name = xcalloc(db->name_slots, sizeof(*db->by_name));
    for (size_t i = 0; i < db->count; i++) {
        const char *name = db->packages[i].name;
        size_t slot = fnv1a(FNV_START, name, strlen(name)) & (db->name_slots - 1);
        while (db->by_name[slot])
            slot = (slot + 1) & (db->name_slots - 1);
        db->by_name[slot] = (uint32_t)i + 1;
    }
}

struct dpkg_package *dpkg_find(struct dpkg_db *db, const char *name)
{
    size_t slot = fnv1a(FNV_START, name, strlen(name)) & (db->name_slots - 1);

    for (; db->by_name[slot]; slot = (slot + 1) & (db->name_slots - 1)) {
        struct dpkg_package *p = &db->packages[db->by_name[slot] - 1];
        if (!strcmp(p->name, name))
            return p;
    }
    return NULL;
}

void dpkg_for_each(struct dpkg_db *db, void (*fn)(struct dpkg_package *pkg, void *arg), void *arg)
{
    for (size_t i = 0; i < db->count; i++)
        fn(&db->packages[i], arg);
}

/* Splits a .list file (in place) into its paths and remembers who owns each. */
static void index_list(struct dpkg_db *db, struct dpkg_package *pkg)
{
    char *p = (char *)buf_head(&pkg->list), *end = p + buf_used(&pkg->list);

    while (p < end) {
        char *eol = memchr(p, '\n', (size_t)(end - p));
        if (!eol)
            eol = end; /* read_file() put a NUL there */
        *eol = 0;
        if (*p == '/' && strcmp(p, "/.") && !is_unindexed(p)) {
            if (pkg->files.n + 2 > pkg->files.cap) {
                pkg->files.cap = pkg->files.cap ? pkg->files.cap * 2 : 32;
                pkg->files.v = xrealloc(pkg->files.v, pkg->files.cap * sizeof(char *));
            }
            pkg->files.v[pkg->files.n++] = p;
            if (db->owner_count == db->owner_cap) {
                db->owner_cap = db->owner_cap ? db->owner_cap * 2 : 4096;
                db->owners = xrealloc(db->owners, db->owner_cap * sizeof(*db->owners));
            }
            db->owners[db->owner_count++] =
                (struct owner){.path = p, .package = (uint32_t)(pkg - db->packages)};
        }
        p = eol + 1;
    }
}

static void read_lists(struct dpkg_db *db)
{
    char *dir = xasprintf("%s/info", db->root);
    DIR *d = opendir(dir);
    struct dirent *e;

    while (d && (e = readdir(d))) {
        if (!ends_with(e->d_name, ".list"))
            continue;
        char *name = xstrndup(e->d_name, strcspn(e->d_name, ":"));
        if (ends_with(name, ".list"))
            name[strlen(name) - 5] = 0;
        struct dpkg_package *pkg = dpkg_find(db, name);
        free(name);
        if (!pkg || pkg->list.data)
            continue;
        char *path = xasprintf("%s/%s", dir, e->d_name);
        if (!read_file(path, &pkg->list, LIST_MAX))
            index_list(db, pkg);
        free(path);
    }
    if (d)
        closedir(d);
    free(dir);

    for (db->path_slots = 1024; db->path_slots < db->owner_count;)
        db->path_slots *= 2;
    db->by_path = xcalloc(db->path_slots, sizeof(*db->by_path));
    for (size_t i = 0; i < db->owner_count; i++) {
        uint32_t *head = &db->by_path[path_hash(db->owners[i].path) & (db->path_slots - 1)];
        db->owners[i].next = *head;
        *head = (uint32_t)i + 1;
    }
}

struct dpkg_db *dpkg_open(const char *root)
{
    struct dpkg_db *db = xcalloc(1, sizeof(*db));
    char *status = xasprintf("%s/status", root);
    int err = read_file(status, &db->status, LIST_MAX);

    free(status);
    if (err) {
        dpkg_free(db);
        return NULL;
    }
    db->root = xstrdup(root);
    parse_status(db);
    index_names(db);
    read_lists(db);
    return db;
}

void dpkg_free(struct dpkg_db *db)
{
    if (!db)
        return;
    for (size_t i = 0; i < db->count; i++) {
        struct dpkg_package *p = &db->packages[i];
        free(p->name);
        free(p->source);
        strv_free(&p->depends);
        strv_free(&p->recommends);
        free(p->files.v);
        buf_free(&p->list);
    }
    free(db->packages);
    free(db->by_name);
    free(db->owners);
    free(db->by_path);
    buf_free(&db->status);
    free(db->root);
    free(db);
}

struct dpkg_package *dpkg_owner(struct dpkg_db *db, const char *path)
{
    uint32_t i = db->by_path[path_hash(path) & (db->path_slots - 1)];

    for (; i; i = db->owners[i - 1].next)
        if (same_path(db->owners[i - 1].path, path))
            return &db->packages[db->owners[i - 1].package];
    return NULL;
}

static bool in_set(struct dpkg_package *const *set, const struct dpkg_package *p)
{
    for (; *set; set++)
        if (*set == p)
            return true;
    return false;
}

size_t dpkg_other_owners(struct dpkg_db *db, const char *path, struct dpkg_package *const *set)
{
    uint32_t i = db->by_path[path_hash(path) & (db->path_slots - 1)];
    size_t n = 0;

    for (; i; i = db->owners[i - 1].next)
        if (same_path(db->owners[i - 1].path, path) &&
            !in_set(set, &db->packages[db->owners[i - 1].package]))
            n++;
    return n;
}

/* False if the set has the package, or no room for it. */
static bool append(struct dpkg_package **set, size_t max, struct dpkg_package *p)
{
    size_t n = 0;

    while (set[n])
        n++;
    if (in_set(set, p) || n >= max)
        return false;
    set[n] = p;
    set[n + 1] = NULL;
    return true;
}

void dpkg_closure(struct dpkg_db *db, struct dpkg_package *from, struct dpkg_package **set,
                  size_t max)
{
    const struct strv *lists[] = {&from->depends, &from->recommends};

    if (!append(set, max, from))
        return;
    for (size_t k = 0; k < ARRAY_SIZE(lists); k++)
        for (size_t i = 0; i < lists[k]->n; i++) {
            struct dpkg_package *p = dpkg_find(db, lists[k]->v[i]);
            if (p && !strcmp(p->source, from->source))
                dpkg_closure(db, p, set, max);
        }
}

static bool is_for_maintainer_scripts(const char *name)
{
    static const char *const names[] = {
        "adduser",   "debconf",  "dpkg",           "init-system-helpers",
        "logrotate", "lsb-base", "sysvinit-utils", "ucf"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (!strcmp(name, names[i]))
            return true;
    return false;
}

void dpkg_dependencies(struct dpkg_db *db, struct dpkg_package *from, struct dpkg_package **set,
                       size_t max)
{
    if (from->visited)
        return;
    from->visited = true;
    for (size_t i = 0; i < from->depends.n; i++) {
        struct dpkg_package *p = dpkg_find(db, from->depends.v[i]);
        if (!p || is_for_maintainer_scripts(p->name))
            continue;
        if (!p->library)
            dpkg_closure(db, p, set, max);
        dpkg_dependencies(db, p, set, max);
    }
}
