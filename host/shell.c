/* The commands that a shell in a domain finds: see shell.h. */
#include <stdio.h>
#include <string.h>

#include "shell.h"

bool is_shell(const char *path)
{
    char line[512];
    bool found = false;
    FILE *f = fopen("/etc/shells", "re");

    while (f && !found && fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = 0;
        found = line[0] == '/' && !strcmp(line, path);
    }
    if (f)
        fclose(f);
    return found;
}

static bool is_command(const char *path)
{
    static const char *const dirs[] = {"/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/"};

    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
        if (starts_with(path, dirs[i]))
            return true;
    return false;
}

static void add_commands(struct dpkg_package *pkg, void *arg)
{
    for (size_t i = 0; pkg->essential && i < pkg->files.n; i++)
        if (is_command(pkg->files.v[i]))
            fileset_add(arg, pkg->files.v[i], NULL);
}

void add_essential_commands(struct dpkg_db *db, struct fileset *fs)
{
    fileset_depend(fs, "/etc/shells");
    dpkg_for_each(db, add_commands, fs);
}
