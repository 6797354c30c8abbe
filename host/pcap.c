/*
 * librettos pcap: the frames that a domain's interface sends and receives, as a pcapng file
 * (draft-ietf-opsawg-pcapng): one interface for each path, so that a switch between them can be
 * seen.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "client.h"
#include "monitor.h"

#define SNAP_DEFAULT 262144u
#define LINKTYPE_ETHERNET 1u
#define NANOSECONDS 9u /* if_tsresol: 10^-9 */

enum block {
    BLOCK_INTERFACE = 1,
    BLOCK_STATISTICS = 5,
    BLOCK_PACKET = 6,
    BLOCK_SECTION = 0x0a0d0d0a
};
enum option_code {
    OPT_END = 0,
    OPT_IF_NAME = 2,
    OPT_FLAGS = 2,
    OPT_IF_DROP = 5,
    OPT_IF_TSRESOL = 9
};

static const char help[] =
    "usage: librettos pcap [-w FILE] [-c COUNT] [-s SNAPLEN] DOMAIN\n"
    "\n"
    "Writes the frames that a running domain (or a network server) sends and receives, on either\n"
    "path and across a switch, as pcapng, which tcpdump and Wireshark read:\n"
    "    librettos pcap web | tcpdump -n -r -\n"
    "Ends with the domain, or at Ctrl-C. Frames that nobody took in time are lost and counted.\n"
    "\n"
    "  -w, --write FILE   write to this file instead of standard output\n"
    "  -c, --count COUNT  end after so many frames\n"
    "  -s, --snaplen N    at most N bytes of each frame (default: all)\n";

static const struct option long_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"write", required_argument, NULL, 'w'},
    {"count", required_argument, NULL, 'c'},
    {"snaplen", required_argument, NULL, 's'},
    {NULL, 0, NULL, 0},
};

struct pcap {
    int fd;
    struct buf out;
    uint64_t frames, lost, limit; /* limit 0: none */
    uint64_t last;                /* time of the last record */
};

/* ---- the file's format ---- */

static void put_u32(struct buf *b, uint32_t v)
{
    buf_append(b, &v, sizeof(v));
}

static void put_padded(struct buf *b, const void *data, size_t n)
{
    static const uint8_t zeros[4];

    buf_append(b, data, n);
    buf_append(b, zeros, -n % 4);
}

static void put_option(struct buf *b, enum option_code code, const void *data, uint16_t n)
{
    uint16_t head[2] = {(uint16_t)code, n};

    buf_append(b, head, sizeof(head));
    put_padded(b, data, n);
}

/* A block around its body. */
static void put_block(struct buf *out, enum block type, struct buf *body)
{
    uint32_t length = (uint32_t)buf_used(body) + 12;

    put_u32(out, type);
    put_u32(out, length);
    buf_append(out, buf_head(body), buf_used(body));
    put_u32(out, length);
    buf_free(body);
    *body = (struct buf){0};
}

static void put_time(struct buf *b, uint64_t ns)
{
    put_u32(b, (uint32_t)(ns >> 32));
    put_u32(b, (uint32_t)ns);
}

static void put_interface(struct buf *out, const char *name, uint32_t snap)
{
    struct buf b = {0};
    uint8_t resolution = NANOSECONDS;

    put_u32(&b, LINKTYPE_ETHERNET);
    put_u32(&b, snap);
    put_option(&b, OPT_IF_NAME, name, (uint16_t)strlen(name));
    put_option(&b, OPT_IF_TSRESOL, &resolution, 1);
    put_option(&b, OPT_END, NULL, 0);
    put_block(out, BLOCK_INTERFACE, &b);
}

static void put_beginning(struct pcap *p, uint32_t snap)
{
    struct buf b = {0};

    put_u32(&b, 0x1a2b3c4d); /* byte order */
    put_u32(&b, 1);          /* version 1.0 */
    put_u32(&b, UINT32_MAX); /* the section's length is not known */
    put_u32(&b, UINT32_MAX);
    put_block(&p->out, BLOCK_SECTION, &b);
    put_interface(&p->out, "direct", snap);
    put_interface(&p->out, "server", snap);
}

static void put_packet(struct pcap *p, const struct record *r, const struct monitor_frame *f)
{
    struct buf b = {0};
    uint32_t flags = f->out ? 2 : 1; /* outbound, inbound */

    put_u32(&b, f->path == CTL_PATH_SERVER);
    put_time(&b, r->head.time);
    put_u32(&b, f->captured);
    put_u32(&b, f->length);
    put_padded(&b, r->payload + sizeof(*f), f->captured);
    put_option(&b, OPT_FLAGS, &flags, sizeof(flags));
    put_option(&b, OPT_END, NULL, 0);
    put_block(&p->out, BLOCK_PACKET, &b);
}

static void put_statistics(struct pcap *p)
{
    struct buf b = {0};

    put_u32(&b, 0);
    put_time(&b, p->last);
    put_option(&b, OPT_IF_DROP, &p->lost, sizeof(p->lost));
    put_option(&b, OPT_END, NULL, 0);
    put_block(&p->out, BLOCK_STATISTICS, &b);
}

/* ---- the command ---- */

static int flush(void *arg)
{
    struct pcap *p = arg;
    int err = write_all(p->fd, buf_head(&p->out), buf_used(&p->out));

    buf_consume(&p->out, buf_used(&p->out));
    return err;
}

static int on_record(void *arg, const struct record *r)
{
    struct pcap *p = arg;
    struct monitor_frame f;
    uint64_t lost;

    p->last = r->head.time;
    if (r->head.type == MONITOR_LOST && r->size >= sizeof(lost)) {
        memcpy(&lost, r->payload, sizeof(lost));
        p->lost += lost;
    }
    if (r->head.type != MONITOR_FRAME || r->size < sizeof(f) || (p->limit && p->frames == p->limit))
        return 0;
    memcpy(&f, r->payload, sizeof(f));
    if (f.captured > r->size - sizeof(f) || f.captured > f.length)
        return -EPROTO;
    put_packet(p, r, &f);
    p->frames++;
    if (p->frames != p->limit)
        return 0;
    int err = flush(p);
    return err ? err : -EPIPE; /* enough */
}

/* Opens where to write. Returns the descriptor or -1 after a warning. */
static int open_output(const char *path)
{
    if (!path && isatty(STDOUT_FILENO)) {
        warn("a capture is no text for a terminal: use -w FILE, or a pipe to `tcpdump -r -`");
        return -1;
    }
    if (!path || !strcmp(path, "-"))
        return STDOUT_FILENO;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        warn("%s: %s", path, strerror(errno));
    return fd;
}

static int capture(const char *domain, const char *path, uint32_t snap, uint64_t limit)
{
    struct pcap p = {.limit = limit, .fd = open_output(path)};
    struct monitor_run run = {.domain = domain,
                              .ask = {.kind = MONITOR_FRAMES, .snap = snap},
                              .record = on_record,
                              .pause = flush,
                              .arg = &p};
    int status = STATUS_OURS;

    if (p.fd < 0)
        return STATUS_OURS;
    put_beginning(&p, snap);
    status = monitor_run(&run);
    if (limit && p.frames == limit)
        status = 0; /* all that was asked for, however the domain fared then */
    if (!status || p.frames) {
        put_statistics(&p);
        int err = flush(&p);
        if (err && err != -EPIPE) {
            warn("cannot write the capture: %s", strerror(-err));
            status = STATUS_OURS;
        }
        dprintf(STDERR_FILENO, "%llu frames captured, %llu lost\n", (unsigned long long)p.frames,
                (unsigned long long)p.lost);
    }
    buf_free(&p.out);
    if (p.fd != STDOUT_FILENO)
        close(p.fd);
    return status;
}

int cmd_pcap(int argc, char **argv)
{
    const char *path = NULL;
    uint64_t count = 0, snap = SNAP_DEFAULT;
    int opt;

    while ((opt = getopt_long(argc, argv, "hw:c:s:", long_options, NULL)) != -1) {
        if (opt == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (opt == 'w')
            path = optarg;
        else if (opt == 'c' && !parse_u64(optarg, 1, UINT64_MAX, &count))
            continue;
        else if (opt == 's' && !parse_u64(optarg, 14, SNAP_DEFAULT, &snap))
            continue;
        else {
            if (opt != '?')
                warn("-%c %s: not a number that makes sense there", opt, optarg);
            return STATUS_OURS;
        }
    }
    if (argc - optind != 1 || !name_is_valid(argv[optind])) {
        warn("usage: librettos pcap [-w FILE] [-c COUNT] [-s SNAPLEN] DOMAIN");
        return STATUS_OURS;
    }
    return capture(argv[optind], path, (uint32_t)snap, count);
}
