/* The keeper's process: see keeper.h. It stays small: what outlives all must not die of a bug. */
#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dirs.h"

#define EARLY_NS 1000000000u /* a supervisor that dies sooner makes the next one wait ... */
#define PAUSE_MIN_MS 10      /* ... so long, and twice as long each time ... */
#define PAUSE_MAX_MS 1000
#define EARLY_MAX 12 /* ... and so many in a row are enough */

/* ---- entries ---- */

static struct keeper_entry **find(struct keeper *k, const char *name)
{
    struct keeper_entry **p = &k->entries;

    while (*p && strcmp((*p)->name, name))
        p = &(*p)->next;
    return p;
}

static int drop(struct keeper *k, const char *name)
{
    struct keeper_entry **p = find(k, name), *e = *p;

    if (!e)
        return -ENOENT;
    *p = e->next;
    fdpass_close(e->fds, e->count);
    free(e->fds);
    free(e);
    return 0;
}

static void clear(struct keeper *k, const char *prefix)
{
    for (struct keeper_entry *e = k->entries, *next; e; e = next) {
        next = e->next;
        if (starts_with(e->name, prefix))
            drop(k, e->name);
    }
}

static void put(struct keeper *k, const char *name, const int *fds, unsigned count)
{
    struct keeper_entry *e = xcalloc(1, sizeof(*e));

    drop(k, name);
    strcpy(e->name, name);
    e->count = count;
    e->fds = xmalloc(count * sizeof(int));
    for (unsigned i = 0; i < count; i++)
        e->fds[i] = fds[i];
    e->next = k->entries;
    k->entries = e;
}

static const struct keeper_entry *nth(const struct keeper *k, int n)
{
    const struct keeper_entry *e = k->entries;

    while (e && n-- > 0)
        e = e->next;
    return e;
}

/* ---- requests ---- */

static void list(const struct keeper *k, int n, struct keeper_answer *a)
{
    const struct keeper_entry *e = n < 0 ? NULL : nth(k, n);

    a->error = e ? 0 : -ENOENT;
    if (e)
        memcpy(a->name, e->name, sizeof(a->name));
}

int wait_status(pid_t pid, int *status)
{
    siginfo_t info = {0};

    if (pid <= 0 || waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
        return -ECHILD;
    if (!info.si_pid)
        return 0;
    *status =
        info.si_code == CLD_EXITED ? W_EXITCODE(info.si_status, 0) : W_EXITCODE(0, info.si_status);
    return 1;
}

static void wait_for(pid_t pid, struct keeper_answer *a)
{
    int n = wait_status(pid, &a->status);

    a->error = n > 0 ? 0 : n < 0 ? n : -EAGAIN;
}

const struct keeper_entry *keeper_handle(struct keeper *k, const struct keeper_request *rq,
                                         const int *fds, unsigned count, struct keeper_answer *a)
{
    const struct keeper_entry *e = NULL;

    *a = (struct keeper_answer){0};
    if (!memchr(rq->name, 0, sizeof(rq->name)) || (count && rq->op != KEEPER_PUT)) {
        a->error = -EINVAL;
        fdpass_close(fds, count);
        return NULL;
    }
    switch (rq->op) {
    case KEEPER_PUT:
        put(k, rq->name, fds, count);
        break;
    case KEEPER_GET:
        e = *find(k, rq->name);
        a->error = e ? 0 : -ENOENT;
        break;
    case KEEPER_DROP:
        a->error = drop(k, rq->name);
        break;
    case KEEPER_CLEAR:
        clear(k, rq->name);
        break;
    case KEEPER_LIST:
        list(k, rq->number, a);
        break;
    case KEEPER_WAIT:
        wait_for(rq->number, a);
        break;
    case KEEPER_REAP:
        a->error = rq->number > 0 && waitpid(rq->number, NULL, WNOHANG) > 0 ? 0 : -ECHILD;
        break;
    case KEEPER_READY:
        k->ready = true;
        break;
    default:
        a->error = -ENOSYS;
    }
    return e;
}

/* False when nobody is there any more. */
static bool serve(struct keeper *k, int sock)
{
    struct keeper_request rq;
    struct keeper_answer a;
    int fds[FDPASS_MAX];
    unsigned count = FDPASS_MAX;
    ssize_t n = fdpass_recv(sock, &rq, sizeof(rq), fds, &count, MSG_DONTWAIT);

    if (n == 0 || (n < 0 && n != -EMSGSIZE && n != -EAGAIN))
        return false;
    if (n == -EAGAIN)
        return true;
    if (n != sizeof(rq)) { /* descriptors that there was no room for, say */
        fdpass_close(fds, count);
        a = (struct keeper_answer){.error = n < 0 ? -EMFILE : -EINVAL};
        fdpass_send(sock, &a, sizeof(a), NULL, 0, MSG_DONTWAIT);
        return true;
    }
    const struct keeper_entry *e = keeper_handle(k, &rq, fds, count, &a);
    fdpass_send(sock, &a, sizeof(a), e ? e->fds : NULL, e ? e->count : 0, MSG_DONTWAIT);
    return true;
}

/* ---- supervisors ---- */

/* In the child: becomes a supervisor. */
static void become_supervisor(const struct keeper *k, int sock, unsigned restarts, int ready_fd,
                              pid_t parent)
{
    const struct keeper_entry *binary = *find((struct keeper *)k, KEEPER_BINARY);
    char *fd = xasprintf("%d", sock), *n = xasprintf("%u", restarts);
    char *ready = xasprintf("%d", ready_fd);
    char *const argv[] = {"librettos",
                          "supervisor",
                          "--keeper-fd",
                          fd,
                          "--restarts",
                          n,
                          ready_fd >= 0 ? "--ready-fd" : NULL,
                          ready,
                          NULL};
    extern char **environ;
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(STATUS_OURS);
    set_cloexec(sock, false);
    if (ready_fd >= 0)
        set_cloexec(ready_fd, false);
    fexecve(binary->fds[0], argv, environ);
    warn("the supervisor cannot be started: %s", strerror(errno));
    _exit(STATUS_OURS);
}

/* Passes on what asks us to end. True if a child has ended. */
static bool read_signals(int signals, pid_t pid)
{
    struct signalfd_siginfo si;
    bool ended = false;

    while (read(signals, &si, sizeof(si)) == sizeof(si))
        if (si.ssi_signo == SIGCHLD)
            ended = true;
        else
            kill(pid, SIGTERM);
    return ended;
}

/* Serves a supervisor until it has ended. Returns its wait status. */
static int attend(struct keeper *k, pid_t pid, int sock, int signals)
{
    struct pollfd p[] = {{.fd = sock, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
    int status;

    for (;;) {
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            exit(STATUS_OURS);
        if (p[0].revents && !serve(k, sock))
            p[0].fd = -1; /* it has ended, or is about to */
        /* Only the supervisor is waited for unasked: how others ended, its successor wants to know.
         */
        if (p[1].revents && read_signals(signals, pid) && waitpid(pid, &status, WNOHANG) == pid)
            return status;
    }
}

/* Runs one supervisor. Returns its wait status. */
static int run_supervisor(struct keeper *k, unsigned restarts, int ready_fd, int signals)
{
    int pair[2];
    pid_t parent = getpid();

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        exit(STATUS_OURS);
    k->ready = false;
    pid_t pid = fork();
    if (pid == 0)
        become_supervisor(k, pair[1], restarts, ready_fd, parent);
    close(pair[1]);
    int status = pid < 0 ? STATUS_OURS << 8 : attend(k, pid, pair[0], signals);
    close(pair[0]);
    return status;
}

/* ---- the process ---- */

static int open_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int take_lock(const char *dir)
{
    char *path = xasprintf("%s/supervisor.lock", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    free(path);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static void write_log_to(const char *dir)
{
    char *path = xasprintf("%s/supervisor.log", dir);
    int log = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);

    free(path);
    if (log >= 0) {
        dup2(log, STDERR_FILENO);
        close(log);
    }
}

/* A channel takes many descriptors (one for each doorbell), here and in the server's QEMU. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* This program itself is what supervisors are started from, until one says otherwise. */
static int keep_binary(struct keeper *k)
{
    int fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);

    if (fd >= 0)
        put(k, KEEPER_BINARY, &fd, 1);
    return fd < 0 ? -errno : 0;
}

static void say_how_it_ended(int status)
{
    if (WIFSIGNALED(status))
        warn("the supervisor was killed by signal %d", WTERMSIG(status));
    else
        warn("the supervisor ended with status %d", WEXITSTATUS(status));
}

/* Starts supervisors until one ends on purpose, or too many die at once. Returns the exit status.
 */
static int keep_running(struct keeper *k, int ready_fd, int signals)
{
    unsigned early = 0, pause_ms = PAUSE_MIN_MS;

    for (unsigned restarts = 0;; restarts++) {
        uint64_t since = now_ns();
        int status = run_supervisor(k, restarts, ready_fd, signals);
        bool again = WIFEXITED(status) && WEXITSTATUS(status) == KEEPER_AGAIN;
        if (ready_fd >= 0)
            close(ready_fd);
        ready_fd = -1;
        if (WIFEXITED(status) && !WEXITSTATUS(status))
            return 0;
        if (!restarts && !k->ready) /* it never worked, and said why */
            return STATUS_OURS;
        if (again)
            continue;
        say_how_it_ended(status);
        if (!k->ready && keep_binary(k))
            return STATUS_OURS;
        bool short_lived = now_ns() - since < EARLY_NS;
        early = short_lived ? early + 1 : 0;
        pause_ms = early < 2                     ? PAUSE_MIN_MS
                   : pause_ms < PAUSE_MAX_MS / 2 ? 2 * pause_ms
                                                 : PAUSE_MAX_MS;
        if (early > EARLY_MAX) {
            warn("supervisors die as soon as they are started; giving up, and with them all "
                 "domains");
            return STATUS_OURS;
        }
        if (early)
            usleep(pause_ms * 1000);
    }
}

int keeper_main(int ready_fd)
{
    struct keeper k = {0};
    char *dir = dirs_runtime();
    int lock = dir ? take_lock(dir) : -1;

    if (dir && lock < 0)
        warn("a supervisor runs already");
    if (lock < 0) {
        free(dir);
        return STATUS_OURS;
    }
    prctl(PR_SET_NAME, "librettos-keep");
    if (ready_fd >= 0) {
        set_cloexec(ready_fd, true);
        write_log_to(dir);
    }
    free(dir);
    raise_descriptor_limit();
    int signals = open_signals();
    if (signals < 0 || keep_binary(&k)) {
        warn("the keeper cannot start: %s", strerror(errno));
        return STATUS_OURS;
    }
    int status = keep_running(&k, ready_fd, signals);
    while (k.entries)
        drop(&k, k.entries->name);
    close(signals);
    close(lock);
    return status;
}
