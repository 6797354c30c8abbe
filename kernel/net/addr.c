/* Addresses: classes and text forms. */
#include "net/view.h"

bool ip_is_loopback(const struct ip_addr *a)
{
    if (ip_is_v4(a))
        return a->b[12] == 127;
    return a->q[0] == 0 && a->w[2] == 0 && a->w[3] == net32(1);
}

bool ip_is_multicast(const struct ip_addr *a)
{
    return ip_is_v4(a) ? (a->b[12] & 0xf0) == 0xe0 : a->b[0] == 0xff;
}

bool ip_is_link_local(const struct ip_addr *a)
{
    if (ip_is_v4(a))
        return a->b[12] == 169 && a->b[13] == 254;
    return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

bool ip_is_broadcast(const struct netif *n, const struct ip_addr *a)
{
    bool found = false;

    if (!ip_is_v4(a))
        return false;
    if (a->w[3] == 0xffffffffu)
        return true;
    net_batch_begin();
    const struct view *v = net_view();
    for (int i = 0; i < v->naddrs && !found; i++)
        found = v->addrs[i].broadcast == a->w[3] && (!n || v->addrs[i].netif == n);
    net_batch_end();
    return found;
}

/* RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups as "::". */
static size_t format_v6(char *buf, size_t size, const struct ip_addr *a)
{
    int best = -1, best_len = 1;
    char text[48];
    int n = 0;

    for (int i = 0; i < 8; i++) {
        int run = 0;
        while (i + run < 8 && !a->b[2 * (i + run)] && !a->b[2 * (i + run) + 1])
            run++;
        if (run > best_len) {
            best = i;
            best_len = run;
        }
        i += run;
    }
    for (int i = 0; i < 8; i++) {
        if (i == best) {
            n += snprintf(text + n, sizeof(text) - (size_t)n, "::");
            i += best_len - 1;
            continue;
        }
        bool sep = i && i != best + best_len;
        n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%x", sep || (i && best < 0) ? ":" : "",
                      a->b[2 * i] << 8 | a->b[2 * i + 1]);
    }
    return str_copy(buf, text, size);
}

size_t ip_format(char *buf, size_t size, const struct ip_addr *a)
{
    if (ip_is_v4(a))
        return (size_t)snprintf(buf, size, "%u.%u.%u.%u", a->b[12], a->b[13], a->b[14], a->b[15]);
    return format_v6(buf, size, a);
}

/* Dotted quad, decimal only; the text after it through *end. */
static int parse_v4(const char *t, uint8_t out[4], const char **end)
{
    for (int i = 0; i < 4; i++) {
        unsigned v = 0, digits = 0;
        for (; *t >= '0' && *t <= '9'; t++) {
            if (++digits > 3)
                return -EINVAL;
            v = v * 10 + (unsigned)(*t - '0');
        }
        if (!digits || v > 255 || (i < 3 && *t++ != '.'))
            return -EINVAL;
        out[i] = (uint8_t)v;
    }
    *end = t;
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One group of up to four hexadecimal digits; the number of digits. */
static int parse_group(const char *t, unsigned *value)
{
    int n = 0;

    *value = 0;
    for (; n < 4 && hex_digit(t[n]) >= 0; n++)
        *value = *value << 4 | (unsigned)hex_digit(t[n]);
    return n;
}

static int parse_v6(const char *t, struct ip_addr *out)
{
    int at = 0, gap = -1;

    memset(out, 0, sizeof(*out));
    if (t[0] == ':' && t[1] == ':') {
        gap = 0;
        t += 2;
    }
    while (*t) {
        unsigned v;
        int n = parse_group(t, &v);
        if (!n || at > 14)
            return -EINVAL;
        if (t[n] == '.') { /* an IPv4 address in the last 32 bits */
            if (at > 12 || parse_v4(t, out->b + at, &t) || *t)
                return -EINVAL;
            at += 4;
            break;
        }
        t += n;
        out->b[at++] = (uint8_t)(v >> 8);
        out->b[at++] = (uint8_t)v;
        if (!*t)
            break;
        if (*t++ != ':' || (!*t))
            return -EINVAL;
        if (*t == ':') {
            if (gap >= 0)
                return -EINVAL;
            gap = at;
            t++;
        }
    }
    if (gap < 0)
        return at == 16 ? 0 : -EINVAL;
    if (at > 14)
        return -EINVAL;
    memmove(out->b + 16 - (at - gap), out->b + gap, (size_t)(at - gap));
    memset(out->b + gap, 0, (size_t)(16 - at));
    return 0;
}

int ip_parse(const char *text, struct ip_addr *out)
{
    if (strchr(text, ':'))
        return parse_v6(text, out);
    uint8_t v4[4];
    const char *end;
    if (parse_v4(text, v4, &end) || *end)
        return -EINVAL;
    uint32_t be;
    memcpy(&be, v4, 4);
    *out = ip_from_v4(be);
    return 0;
}
