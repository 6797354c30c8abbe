/* The base files of base.h. */
#include "base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_PERSON 1000 /* below: system users (Debian Policy 9.2.2) */
#define NOBODY 65534
#define SMALL_FILE (4u << 20)

static const struct {
    const char *path;
    mode_t mode;
} dirs[] = {
    {"/", 0755},          {"/dev", 0755},     {"/etc", 0755},      {"/home", 0755},
    {"/mnt", 0755},       {"/proc", 0555},    {"/root", 0700},     {"/run", 0755},
    {"/run/lock", 01777}, {"/sys", 0555},     {"/tmp", 01777},     {"/usr", 0755},
    {"/usr/bin", 0755},   {"/usr/lib", 0755}, {"/usr/sbin", 0755}, {"/var", 0755},
    {"/var/cache", 0755}, {"/var/lib", 0755}, {"/var/log", 0755},  {"/var/tmp", 01777},
};

static const char *const host_files[] = {
    "/etc/ld.so.cache",    "/etc/services",   "/etc/protocols",          "/etc/localtime",
    "/etc/debian_version", "/etc/os-release", "/usr/share/zoneinfo/UTC",
};

static const char *const merged[] = {"/bin", "/sbin", "/lib", "/lib64"};

/* The n-th colon-separated field of a line, as a number; -1 if there is none. */
static long field_number(const char *line, int n)
{
    while (n-- && (line = strchr(line, ':')))
        line++;
    if (!line || *line < '0' || *line > '9')
        return -1;
    return strtol(line, NULL, 10);
}

static bool owns_entry(const struct fileset *fs, long id, bool group)
{
    for (size_t i = 0; i < fs->count; i++)
        if ((long)(group ? fs->entries[i].st.st_gid : fs->entries[i].st.st_uid) == id)
            return true;
    return false;
}

/* An /etc/shadow in which nobody has a password: PAM wants a line for each user. The user may have
 * packed another. */
static void add_shadow(struct fileset *fs, const struct buf *passwd)
{
    struct buf out = {0};
    const char *line = (const char *)passwd->data, *end = line + passwd->len;

    for (; line < end; line = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1)
        buf_printf(&out, "%.*s:*:1:0:99999:7:::\n", (int)strcspn(line, ":"), line);
    if (!fileset_find(fs, "/etc/shadow"))
        fileset_put_file(fs, "/etc/shadow", 0600, out.data, out.len);
    buf_free(&out);
}

/*
 * Copies the lines of /etc/passwd or /etc/group whose id is a system one or owns a file in the set.
 * The password field becomes "x": hashes (very old systems keep them there) stay on the host.
 */
static void add_database(struct fileset *fs, const char *path, bool group)
{
    struct buf in = {0}, out = {0};
    char *save = NULL;

    fileset_depend(fs, path);
    if (read_file(path, &in, SMALL_FILE) || !in.len)
        buf_printf(&in, group ? "root:x:0:\n" : "root:x:0:0:root:/root:/bin/sh\n");
    *buf_reserve(&in, 1) = 0;
    for (char *line = strtok_r((char *)in.data, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        long id = field_number(line, 2);
        const char *colon = strchr(line, ':');
        const char *rest = colon ? strchr(colon + 1, ':') : NULL;
        if (!rest || id < 0 || (id >= FIRST_PERSON && id != NOBODY && !owns_entry(fs, id, group)))
            continue;
        buf_printf(&out, "%.*s:x%s\n", (int)(colon - line), line, rest);
    }
    fileset_put_file(fs, path, 0644, out.data, out.len);
    if (!group)
        add_shadow(fs, &out);
    buf_free(&in);
    buf_free(&out);
}

static void put_text(struct fileset *fs, const char *path, const char *text)
{
    fileset_put_file(fs, path, 0644, text, strlen(text));
}

/* The host's name servers, without those that listen on the host's own loopback. */
static void add_host_resolvers(struct fileset *fs)
{
    struct buf in = {0}, out = {0};
    char *save = NULL;

    fileset_depend(fs, "/etc/resolv.conf");
    if (!read_file("/etc/resolv.conf", &in, SMALL_FILE))
        for (char *l = strtok_r((char *)in.data, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
            if (!starts_with(l, "nameserver 127.") && !starts_with(l, "nameserver ::1"))
                buf_printf(&out, "%s\n", l);
    fileset_put_file(fs, "/etc/resolv.conf", 0644, out.data, out.len);
    buf_free(&in);
    buf_free(&out);
}

void base_add(struct fileset *fs, bool user_net)
{
    struct stat st;

    /* On a host whose /usr is merged the image's is too, whatever was packed so far. */
    for (size_t i = 0; i < ARRAY_SIZE(merged); i++)
        if (!lstat(merged[i], &st))
            fileset_add(fs, merged[i], NULL);
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
        if (!fileset_find(fs, dirs[i].path))
            fileset_put_dir(fs, dirs[i].path, dirs[i].mode, 0, 0);
    for (size_t i = 0; i < ARRAY_SIZE(host_files); i++)
        fileset_add(fs, host_files[i], NULL);
    if (!fileset_find(fs, "/var/run"))
        fileset_put_link(fs, "/var/run", "/run");
    if (!fileset_find(fs, "/var/lock"))
        fileset_put_link(fs, "/var/lock", "/run/lock");
    put_text(fs, "/etc/hostname", "librettos\n");
    put_text(fs, "/etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    put_text(fs, "/etc/nsswitch.conf",
             "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"
             "networks: files\nprotocols: files\nservices: files\n");
    if (user_net)
        put_text(fs, "/etc/resolv.conf", "nameserver 10.0.2.3\n");
    else
        add_host_resolvers(fs);
    add_database(fs, "/etc/passwd", false);
    add_database(fs, "/etc/group", true);
}

int base_user(const char *name, uid_t *uid, gid_t *gid)
{
    struct buf in = {0};
    size_t n = strlen(name);
    int err = read_file("/etc/passwd", &in, SMALL_FILE) ? -ENOENT : 0;
    const char *line = err ? NULL : (const char *)in.data;

    while (line && !(!strncmp(line, name, n) && line[n] == ':'))
        if ((line = strchr(line, '\n')))
            line++;
    if (line && field_number(line, 2) >= 0 && field_number(line, 3) >= 0) {
        *uid = (uid_t)field_number(line, 2);
        *gid = (gid_t)field_number(line, 3);
    } else {
        err = -ENOENT;
    }
    buf_free(&in);
    return err;
}

void base_add_unit(struct fileset *fs, const char *unit_path)
{
    struct buf in = {0};
    char *save = NULL, *words = NULL;
    const char *user = "root";
    unsigned long mode = 0755;
    uid_t uid = 0;
    gid_t gid = 0;

    fileset_depend(fs, unit_path);
    if (!read_file(unit_path, &in, SMALL_FILE)) {
        for (char *l = strtok_r((char *)in.data, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
            if (starts_with(l, "RuntimeDirectory="))
                words = strchr(l, '=') + 1;
            else if (starts_with(l, "RuntimeDirectoryMode="))
                mode = strtoul(strchr(l, '=') + 1, NULL, 8);
            else if (starts_with(l, "User="))
                user = strchr(l, '=') + 1;
        }
    }
    base_user(user, &uid, &gid);
    for (char *w = words ? strtok_r(words, " ", &save) : NULL; w; w = strtok_r(NULL, " ", &save)) {
        char *path = xasprintf("/run/%s", w);
        if (!strchr(w, '%') && !strstr(w, "..")) /* template units: %i is unknown here */
            fileset_put_dir(fs, path, (mode_t)mode & 07777, uid, gid);
        free(path);
    }
    buf_free(&in);
}
