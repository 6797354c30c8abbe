/* The kernel command line: split in place into KEY=VALUE words (abi/boot.h). */
#include "core/bootargs.h"

#include "abi/boot.h"

#define MAX_ARGS 64

static struct {
    const char *key, *value;
    bool known;
} args[MAX_ARGS];
static int arg_count;
static const char *program;
static char words[BOOT_CMDLINE_MAX];

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

void bootargs_init(const char *cmdline)
{
    str_copy(words, cmdline, sizeof(words));
    arg_count = 0;
    program = NULL;
    for (char *p = words; *p;) {
        if (is_blank(*p)) {
            p++;
            continue;
        }
        char *word = p;
        while (*p && !is_blank(*p))
            p++;
        bool last = !*p;
        if (p - word == 2 && word[0] == '-' && word[1] == '-') {
            while (is_blank(*p))
                p++;
            program = *p ? p : NULL;
            return;
        }
        *p = 0;
        char *equals = strchr(word, '=');
        if (equals)
            *equals = 0;
        if (arg_count < MAX_ARGS) {
            args[arg_count].key = word;
            args[arg_count].value = equals ? equals + 1 : "";
            args[arg_count++].known = false;
        } else {
            klog(LOG_WARN, "too many boot arguments: %s ignored", word);
        }
        if (!last)
            p++;
    }
}

const char *bootarg(const char *key)
{
    for (int i = 0; i < arg_count; i++) {
        if (strcmp(args[i].key, key) == 0) {
            args[i].known = true;
            return args[i].value;
        }
    }
    return NULL;
}

void bootargs_each(const char *prefix, void (*fn)(const char *key, const char *value, void *arg),
                   void *arg)
{
    size_t n = strlen(prefix);

    for (int i = 0; i < arg_count; i++)
        if (strncmp(args[i].key, prefix, n) == 0) {
            args[i].known = true;
            fn(args[i].key + n, args[i].value, arg);
        }
}

const char *bootarg_program(void)
{
    return program;
}

void bootargs_report_unknown(void)
{
    for (int i = 0; i < arg_count; i++) {
        if (!args[i].known)
            klog(LOG_WARN, "unknown boot argument %s ignored", args[i].key);
    }
}
