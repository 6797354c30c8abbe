/* librettos trace: the system calls and signals of a domain's programs. */
#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "client.h"

#define SNAP_DEFAULT 32

static const char help[] =
    "usage: librettos trace [OPTIONS] DOMAIN\n"
    "\n"
    "Shows the system calls and signals of a running domain's programs, until they end or Ctrl-C.\n"
    "It does not stop them: what is not taken in time is lost, and counted. From a program's "
    "start:\n"
    "`librettos run --trace FILE`.\n"
    "\n"
    "  -f, --follow         processes that are started meanwhile, too\n"
    "  -p, --pid PID        only this process (default: all that there are)\n"
    "  -e, --calls LIST     only these calls: open,read ... or all but !read,write ... or the\n"
    "                       classes %file, %desc, %network, %process; repeatable\n"
    "  -s, --strings N      at most N bytes of a string or buffer (default: 32; paths whole)\n"
    "  -t, --times          the time of day of each call\n"
    "  -T, --durations      the time that each call took\n"
    "  -c, --count          only a summary: calls, errors and time of each system call\n"
    "  -o, --output FILE    write to this file instead of standard output\n";

static const struct option long_options[] = {
    {"help", no_argument, NULL, 'h'},          {"follow", no_argument, NULL, 'f'},
    {"pid", required_argument, NULL, 'p'},     {"calls", required_argument, NULL, 'e'},
    {"strings", required_argument, NULL, 's'}, {"times", no_argument, NULL, 't'},
    {"durations", no_argument, NULL, 'T'},     {"count", no_argument, NULL, 'c'},
    {"output", required_argument, NULL, 'o'},  {NULL, 0, NULL, 0},
};

struct tracer {
    int fd;
    bool count;
    struct buf out;
    struct trace_lines lines;
    struct trace_summary summary;
    bool any; /* there were records */
    uint64_t lost;
};

static int flush(void *arg)
{
    struct tracer *t = arg;

    trace_lines_unfinished(&t->lines, false, &t->out);
    int err = write_all(t->fd, buf_head(&t->out), buf_used(&t->out));
    buf_consume(&t->out, buf_used(&t->out));
    return err;
}

/* What is under way now will take long. */
static void idle(void *arg)
{
    struct tracer *t = arg;

    trace_lines_unfinished(&t->lines, true, &t->out);
    flush(t); /* an error will come again */
}

static int on_record(void *arg, const struct record *r)
{
    struct tracer *t = arg;
    uint64_t lost;

    if (r->head.type == MONITOR_LOST && r->size >= sizeof(lost)) {
        memcpy(&lost, r->payload, sizeof(lost));
        t->lost += lost;
    }
    t->any = true;
    if (t->count)
        trace_summary_record(&t->summary, r);
    else
        trace_lines_record(&t->lines, r, &t->out);
    return 0;
}

static int run(struct tracer *t, const struct ctl_monitor *ask, const char *domain)
{
    struct monitor_run m = {
        .domain = domain, .ask = *ask, .record = on_record, .pause = flush, .idle = idle, .arg = t};
    int status = monitor_run(&m);

    if (t->count && t->any)
        trace_summary_put(&t->summary, &t->out);
    trace_lines_unfinished(&t->lines, true, &t->out);
    int err = flush(t);
    if (err && err != -EPIPE) {
        warn("cannot write the trace: %s", strerror(-err));
        status = STATUS_OURS;
    }
    if (t->lost)
        warn("%llu records lost: they came faster than they were taken",
             (unsigned long long)t->lost);
    return status;
}

/* Takes the options. 0, or -EINVAL after a warning; 1 after --help. */
static int parse(int argc, char **argv, struct tracer *t, struct ctl_monitor *ask,
                 const char **path)
{
    uint64_t n;
    bool chosen = false;
    int opt;

    while ((opt = getopt_long(argc, argv, "hfp:e:s:tTco:", long_options, NULL)) != -1) {
        if (opt == 'h') {
            fputs(help, stdout);
            return 1;
        } else if (opt == 'f') {
            ask->flags |= MONITOR_FOLLOW;
        } else if (opt == 't') {
            t->lines.options.times = true;
        } else if (opt == 'T') {
            t->lines.options.durations = true;
        } else if (opt == 'c') {
            t->count = true;
        } else if (opt == 'o') {
            *path = optarg;
        } else if (opt == 'p' && !parse_u64(optarg, 1, INT32_MAX, &n)) {
            ask->pid = (uint32_t)n;
        } else if (opt == 's' && !parse_u64(optarg, 0, MONITOR_SNAP_MAX, &n)) {
            ask->snap = (uint32_t)n;
        } else if (opt == 'e') {
            chosen = true;
            if (trace_select(ask->calls, optarg))
                return -EINVAL;
        } else {
            if (opt == 'p')
                warn("-p %s: not a process number", optarg);
            else if (opt == 's')
                warn("-s %s: expected a number up to %u", optarg, MONITOR_SNAP_MAX);
            return -EINVAL;
        }
    }
    if (!chosen)
        memset(ask->calls, 0xff, sizeof(ask->calls));
    if (argc - optind == 1 && name_is_valid(argv[optind]))
        return 0;
    warn("usage: librettos trace [OPTIONS] DOMAIN; `librettos trace --help` lists the options");
    return -EINVAL;
}

bool trace_can_write(const char *file)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);

    if (fd < 0)
        warn("%s: %s", file, strerror(errno));
    else
        close(fd);
    return fd >= 0;
}

pid_t trace_start(const char *domain, const char *file, int fd, bool detached)
{
    char *argv[] = {"trace", "-f", "-o", (char *)file, (char *)domain, NULL};
    pid_t pid = fork();

    if (pid < 0)
        warn("cannot start the tracer: %s", strerror(errno));
    if (pid)
        return pid > 0 ? pid : 0;
    setsid(); /* the terminal's signals are for the program */
    close(fd);
    int null = detached ? open("/dev/null", O_RDWR) : -1;
    for (int i = 0; i < 3 && null >= 0; i++)
        dup2(null, i);
    optind = 0; /* begin again */
    _exit(cmd_trace(ARRAY_SIZE(argv) - 1, argv));
}

int cmd_trace(int argc, char **argv)
{
    struct tracer t = {.fd = STDOUT_FILENO};
    struct ctl_monitor ask = {.kind = MONITOR_TRACE, .snap = SNAP_DEFAULT};
    const char *path = NULL;
    int status = parse(argc, argv, &t, &ask, &path);

    if (status)
        return status < 0 ? STATUS_OURS : 0;
    if (path)
        t.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (t.fd < 0) {
        warn("%s: %s", path, strerror(errno));
        return STATUS_OURS;
    }
    status = run(&t, &ask, argv[optind]);
    trace_lines_free(&t.lines);
    buf_free(&t.out);
    if (path)
        close(t.fd);
    return status;
}
