/* snprintf: the subset of C99 that core/base.h names. */
#include "core/base.h"

struct out {
    char *buf;
    size_t size, n;
};

struct spec {
    bool left, zero, plus, space, alternate;
    int width, precision; /* -1: none */
};

static void put(struct out *o, char c)
{
    if (o->n + 1 < o->size)
        o->buf[o->n] = c;
    o->n++;
}

static void pad(struct out *o, char c, int n)
{
    while (n-- > 0)
        put(o, c);
}

static void put_text(struct out *o, const struct spec *s, const char *text, size_t len)
{
    int fill = s->width - (int)len;

    if (!s->left)
        pad(o, ' ', fill);
    for (size_t i = 0; i < len; i++)
        put(o, text[i]);
    if (s->left)
        pad(o, ' ', fill);
}

static void put_number(struct out *o, const struct spec *s, uint64_t v, unsigned base, bool upper,
                       bool negative)
{
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    char text[24];
    int n = 0;
    char prefix[3] = {0};
    int prefix_len = 0;

    if (negative)
        prefix[prefix_len++] = '-';
    else if (s->plus || s->space)
        prefix[prefix_len++] = s->plus ? '+' : ' ';
    if (s->alternate && v && base == 16) {
        prefix[prefix_len++] = '0';
        prefix[prefix_len++] = upper ? 'X' : 'x';
    }
    for (; v; v /= base)
        text[n++] = digits[v % base];
    int zeroes = (s->precision < 0 ? 1 : s->precision) - n;
    if (s->alternate && base == 8 && zeroes <= 0)
        zeroes = 1;
    zeroes = MAX(zeroes, 0);
    int fill = s->width - n - zeroes - prefix_len;
    if (s->zero && !s->left && s->precision < 0) {
        zeroes += MAX(fill, 0);
        fill = 0;
    }
    if (!s->left)
        pad(o, ' ', fill);
    for (int i = 0; i < prefix_len; i++)
        put(o, prefix[i]);
    pad(o, '0', zeroes);
    while (n > 0)
        put(o, text[--n]);
    if (s->left)
        pad(o, ' ', fill);
}

static const char *parse_spec(const char *f, struct spec *s, va_list *ap)
{
    *s = (struct spec){.precision = -1};
    for (;; f++) {
        if (*f == '-')
            s->left = true;
        else if (*f == '0')
            s->zero = true;
        else if (*f == '+')
            s->plus = true;
        else if (*f == ' ')
            s->space = true;
        else if (*f == '#')
            s->alternate = true;
        else
            break;
    }
    if (*f == '*') {
        s->width = va_arg(*ap, int);
        if (s->width < 0) {
            s->left = true;
            s->width = -s->width;
        }
        f++;
    }
    for (; *f >= '0' && *f <= '9'; f++)
        s->width = s->width * 10 + (*f - '0');
    if (*f == '.') {
        s->precision = 0;
        f++;
        if (*f == '*') {
            s->precision = va_arg(*ap, int);
            f++;
        }
        for (; *f >= '0' && *f <= '9'; f++)
            s->precision = s->precision * 10 + (*f - '0');
    }
    return f;
}

/* Bytes of an integer argument: hh h none l ll z t j. */
static const char *parse_length(const char *f, int *bytes)
{
    *bytes = 4;
    if (*f == 'h') {
        *bytes = f[1] == 'h' ? 1 : 2;
        f += f[1] == 'h' ? 2 : 1;
    } else if (*f == 'l') {
        *bytes = 8;
        f += f[1] == 'l' ? 2 : 1;
    } else if (*f == 'z' || *f == 't' || *f == 'j') {
        *bytes = 8;
        f++;
    }
    return f;
}

int vsnprintf(char *buf, size_t size, const char *fmt, va_list args)
{
    struct out o = {buf, size, 0};
    struct spec s;
    va_list ap;

    va_copy(ap, args);
    for (const char *f = fmt; *f; f++) {
        if (*f != '%') {
            put(&o, *f);
            continue;
        }
        int bytes;
        f = parse_length(parse_spec(f + 1, &s, &ap), &bytes);
        switch (*f) {
        case 'd':
        case 'i': {
            int64_t v = bytes == 8 ? va_arg(ap, int64_t) : va_arg(ap, int);
            v = bytes == 1 ? (int8_t)v : bytes == 2 ? (int16_t)v : v;
            put_number(&o, &s, v < 0 ? -(uint64_t)v : (uint64_t)v, 10, false, v < 0);
            break;
        }
        case 'u':
        case 'x':
        case 'X':
        case 'o': {
            uint64_t v = bytes == 8 ? va_arg(ap, uint64_t) : va_arg(ap, unsigned);
            v = bytes == 1 ? (uint8_t)v : bytes == 2 ? (uint16_t)v : v;
            s.plus = s.space = false;
            put_number(&o, &s, v, *f == 'u' ? 10 : *f == 'o' ? 8 : 16, *f == 'X', false);
            break;
        }
        case 'p':
            s.alternate = true;
            put_number(&o, &s, (uint64_t)va_arg(ap, void *), 16, false, false);
            break;
        case 'c': {
            char c = (char)va_arg(ap, int);
            put_text(&o, &s, &c, 1);
            break;
        }
        case 's': {
            const char *text = va_arg(ap, const char *);
            if (!text)
                text = "(null)";
            put_text(&o, &s, text,
                     s.precision < 0 ? strlen(text) : strnlen(text, (size_t)s.precision));
            break;
        }
        case '%':
            put(&o, '%');
            break;
        default: /* not ours: print it as it stands */
            put(&o, '%');
            if (!*f)
                f--;
            else
                put(&o, *f);
        }
    }
    va_end(ap);
    if (size)
        buf[MIN(o.n, size - 1)] = 0;
    return (int)o.n;
}

int snprintf(char *buf, size_t size, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(buf, size, fmt, ap);
    va_end(ap);
    return n;
}
