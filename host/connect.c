/* The command's way to the supervisor: connect, or start it first. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dirs.h"
#include "supervisor.h"
#include "util.h"

#define START_TIMEOUT_NS 10000000000ull
#define RETRY_STEP_US 10000u
#define RETRY_MAX_US 100000u

static int try_connect(const char *dir)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    char *path = xasprintf("%s/supervisor.sock", dir);
    int err = strlen(path) < sizeof(sa.sun_path) ? 0 : -ENAMETOOLONG;
    int fd = err ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (!err) {
        strcpy(sa.sun_path, path);
        if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
            err = -errno;
    }
    free(path);
    if (err && fd >= 0)
        close(fd);
    return err ? err : fd;
}

/* Makes the process that becomes the supervisor a daemon: own session, no terminal, no directory.
 */
static void become_supervisor(int ready_fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    char fd[16];

    setsid();
    if (fork() != 0)
        _exit(0);
    if (chdir("/") < 0 || null < 0)
        _exit(STATUS_OURS);
    dup2(null, 0);
    dup2(null, 1);
    dup2(null, 2);
    dup2(ready_fd, 3);
    for (int i = 4; i < 256; i++)
        close(i);
    snprintf(fd, sizeof(fd), "%d", 3);
    execl("/proc/self/exe", "librettos", "supervisor", "--ready-fd", fd, NULL);
    _exit(STATUS_OURS);
}

static int start_supervisor(void)
{
    int fd[2];
    char byte;

    if (pipe2(fd, O_CLOEXEC) < 0)
        return -errno;
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0)
        become_supervisor(fd[1]);
    close(fd[1]);
    waitpid(pid, NULL, 0);
    ssize_t n;
    do
        n = read(fd[0], &byte, 1); /* a byte or the end: either way one runs now, or never will */
    while (n < 0 && errno == EINTR);
    close(fd[0]);
    return 0;
}

static bool is_absent(int err)
{
    return err == -ENOENT || err == -ECONNREFUSED || err == -ECONNRESET;
}

int supervisor_connect(int start)
{
    char *dir = dirs_runtime();
    int fd = dir ? try_connect(dir) : -EACCES;

    /* One that is just ending, or that another command is just starting, holds the lock a while. */
    for (uint64_t end = now_ns() + START_TIMEOUT_NS, wait = 0; dir && start && is_absent(fd);) {
        int err = start_supervisor();
        fd = err ? err : try_connect(dir);
        if (!is_absent(fd) || now_ns() > end)
            break;
        wait = wait < RETRY_MAX_US ? wait + RETRY_STEP_US : wait;
        usleep((useconds_t)wait);
    }
    if (dir && fd < 0 && (start || !is_absent(fd)))
        warn("cannot reach the supervisor at %s/supervisor.sock: %s", dir, strerror(-fd));
    else if (is_absent(fd))
        fd = -ENOENT;
    free(dir);
    return fd;
}
