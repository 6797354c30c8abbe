/* Parsing of option values: cli.h tells their forms. */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "pack.h"

#define SYSCTL_MAX 127   /* of a name, and of a value */
#define SYSCTLS_MAX 2000 /* of all: half of the command line (abi/boot.h) */

static int bad_port(const char *arg)
{
    warn("-p %s: expected [ADDRESS:]HOST:GUEST[/tcp|/udp], e.g. -p 8080:80", arg);
    return -EINVAL;
}

int parse_port(const char *arg, struct vnet_forward *out)
{
    char text[128];
    struct in6_addr any;
    uint64_t host, guest;

    memset(out, 0, sizeof(*out));
    if (strlen(arg) >= sizeof(text))
        return bad_port(arg);
    strcpy(text, arg);
    char *slash = strchr(text, '/');
    if (slash) {
        *slash++ = 0;
        out->udp = !strcmp(slash, "udp");
        if (!out->udp && strcmp(slash, "tcp"))
            return bad_port(arg);
    }
    char *guest_text = strrchr(text, ':');
    if (!guest_text)
        return bad_port(arg);
    *guest_text++ = 0;
    char *host_text = strrchr(text, ':');
    const char *ip = "127.0.0.1";
    if (host_text) {
        *host_text++ = 0;
        ip = text;
        size_t n = strlen(ip);
        if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
            text[n - 1] = 0;
            ip = text + 1;
        }
    } else {
        host_text = text;
    }
    if (parse_u64(host_text, 1, 65535, &host) || parse_u64(guest_text, 1, 65535, &guest) ||
        strlen(ip) >= sizeof(out->host_ip) ||
        (inet_pton(AF_INET, ip, &any) != 1 && inet_pton(AF_INET6, ip, &any) != 1))
        return bad_port(arg);
    strcpy(out->host_ip, ip);
    out->host_port = (uint16_t)host;
    out->guest_port = (uint16_t)guest;
    return 0;
}

/* True for an address of either kind; with `prefix`, "/LEN" follows. */
static bool is_address(const char *text, bool prefix)
{
    char host[INET6_ADDRSTRLEN + 4];
    struct in6_addr any;
    uint64_t len;

    if (strlen(text) >= sizeof(host))
        return false;
    strcpy(host, text);
    char *slash = strchr(host, '/');
    if (!slash != !prefix)
        return false;
    if (slash)
        *slash++ = 0;
    int bits = inet_pton(AF_INET, host, &any) == 1    ? 32
               : inet_pton(AF_INET6, host, &any) == 1 ? 128
                                                      : 0;
    return bits && (!slash || !parse_u64(slash, 1, (uint64_t)bits, &len));
}

int check_ip(const char *arg)
{
    static const char *const keys[] = {"gw=", "gw6=", "dns="};
    char *text = xstrdup(arg), *save = NULL;
    bool ok = true, has_address = false;

    for (char *w = strtok_r(text, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
        const char *value = NULL;
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
            if (starts_with(w, keys[i]))
                value = w + strlen(keys[i]);
        ok &= is_address(value ? value : w, !value);
        has_address |= !value;
    }
    free(text);
    if (ok && has_address)
        return 0;
    warn("--ip %s: expected ADDRESS/LEN[,gw=ADDRESS][,dns=ADDRESS], e.g. 10.1.0.5/24,gw=10.1.0.1",
         arg);
    return -EINVAL;
}

int parse_memory(const char *arg, unsigned *mib)
{
    char digits[24];
    size_t n = strspn(arg, "0123456789");
    const char *unit = arg + n;
    uint64_t v = 0, scale = 0;

    if (!*unit || !strcasecmp(unit, "m") || !strcasecmp(unit, "mb") || !strcasecmp(unit, "mib"))
        scale = 1;
    else if (!strcasecmp(unit, "g") || !strcasecmp(unit, "gb") || !strcasecmp(unit, "gib"))
        scale = 1024;
    if (n && n < sizeof(digits)) {
        memcpy(digits, arg, n);
        digits[n] = 0;
        if (scale && !parse_u64(digits, 1, (1u << 20) / scale, &v)) {
            *mib = (unsigned)(v * scale);
            return 0;
        }
    }
    warn("-m %s: expected an amount of memory, e.g. -m 256M or -m 1G", arg);
    return -EINVAL;
}

/* Why a host directory cannot be a volume, or NULL. */
static const char *volume_problem(const char *path, bool read_only)
{
    struct stat st;

    if (!path || stat(path, &st) < 0)
        return strerror(errno);
    if (!S_ISDIR(st.st_mode))
        return strerror(ENOTDIR);
    if (strchr(path, ','))
        return "the path has a comma in it";
    if (access(path, R_OK | X_OK) < 0)
        return strerror(errno);
    if (!read_only && access(path, W_OK) < 0)
        return "you may not write there; append :ro";
    return NULL;
}

int parse_volume(const char *arg, struct qemu_volume *out)
{
    bool read_only = ends_with(arg, ":ro");
    char *path = xstrndup(arg, strlen(arg) - (read_only ? 3 : 0));
    char *guest = strrchr(path, ':');

    memset(out, 0, sizeof(*out));
    if (!guest || guest == path || guest[1] != '/' || !guest[1 + strspn(guest + 1, "/")] ||
        strpbrk(guest, ", \t\n")) {
        warn("-v %s: expected HOSTPATH:GUESTPATH[:ro], GUESTPATH absolute, without blank or comma",
             arg);
        free(path);
        return -EINVAL;
    }
    *guest++ = 0;
    out->host = realpath(path, NULL);
    const char *problem = volume_problem(out->host, read_only);
    if (problem) {
        warn("-v %s: %s", path, problem);
        free(out->host);
        out->host = NULL;
    } else {
        out->guest = xstrdup(guest);
        for (size_t n = strlen(out->guest); n > 1 && out->guest[n - 1] == '/'; n--)
            out->guest[n - 1] = 0;
        out->read_only = read_only;
    }
    free(path);
    return problem ? -EINVAL : 0;
}

int add_env(struct strv *env, const char *arg)
{
    const char *eq = strchr(arg, '=');
    size_t n = eq ? (size_t)(eq - arg) : strlen(arg);
    const char *here = eq ? NULL : getenv(arg);
    char *word;

    if (!n) {
        warn("-e %s: expected NAME=VALUE", arg);
        return -EINVAL;
    }
    if (!eq && !here)
        return 0;
    word = eq ? xstrdup(arg) : xasprintf("%s=%s", arg, here);
    for (size_t i = 0; i < env->n; i++)
        if (!strncmp(env->v[i], word, n) && env->v[i][n] == '=') {
            free(env->v[i]);
            env->v[i] = word;
            return 0;
        }
    strv_add(env, word);
    return 0;
}

int add_sysctl(struct strv *sysctls, const char *arg)
{
    static const char name_chars[] = "abcdefghijklmnopqrstuvwxyz"
                                     "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/";
    static const char value_chars[] = "abcdefghijklmnopqrstuvwxyz"
                                      "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._- \t,";
    size_t n = strspn(arg, name_chars), size = 0;

    for (size_t i = 0; i < sysctls->n; i++)
        size += strlen(sysctls->v[i]);
    if (!n || arg[n] != '=' || !arg[n + 1] || arg[n + 1 + strspn(arg + n + 1, value_chars)] ||
        n > SYSCTL_MAX || strlen(arg + n + 1) > SYSCTL_MAX) {
        warn("--sysctl %s: expected NAME=VALUE, e.g. net.core.somaxconn=1024", arg);
        return -EINVAL;
    }
    if (size + strlen(arg) > SYSCTLS_MAX) {
        warn("--sysctl: more than %d bytes of settings", SYSCTLS_MAX);
        return -EINVAL;
    }
    char *word = xstrdup(arg);
    for (char *c = word + n; *c; c++) /* a blank would end the word on the command line */
        if (*c == ' ' || *c == '\t')
            *c = ',';
    strv_add(sysctls, word);
    return 0;
}

void default_env(struct strv *env, bool tty)
{
    const char *term = getenv("TERM");

    strv_addf(env, "PATH=" DOMAIN_PATH);
    strv_addf(env, "HOME=/root");
    if (tty)
        strv_addf(env, "TERM=%s", term ? term : "linux");
}

int parse_signal(const char *arg)
{
    uint64_t n;

    if (!parse_u64(arg, 1, 64, &n))
        return (int)n;
    if (!strncasecmp(arg, "SIG", 3))
        arg += 3;
    for (int i = 1; i < 32; i++) {
        const char *name = sigabbrev_np(i);
        if (name && !strcasecmp(name, arg))
            return i;
    }
    return -EINVAL;
}

int parse_loglevel(const char *arg)
{
    static const char *const names[] = {"emerg", "alert",  "crit", "error",
                                        "warn",  "notice", "info", "debug"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (!strcmp(arg, names[i]))
            return (int)i;
    warn("%s is no log level: use emerg, alert, crit, error, warn, notice, info or debug", arg);
    return -EINVAL;
}
