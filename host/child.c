/* The processes of child.h. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keeper.h"

#define KILL_STEP_US 500u
#define KILL_TRIES 10000 /* 5 s: one that hangs in the kernel is left to it */

static void prepare(int log_fd, pid_t parent)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    sigset_t none;

    sigemptyset(&none);
    signal(SIGPIPE, SIG_DFL); /* all that is not at its default in the supervisor */
    signal(SIGHUP, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || null < 0)
        _exit(STATUS_CANNOT);
    dup2(null, STDIN_FILENO);
    dup2(log_fd, STDOUT_FILENO);
    dup2(log_fd, STDERR_FILENO);
}

/* As fork(2), but with our parent as the child's. */
static pid_t fork_sibling(void)
{
    return (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
}

pid_t child_start(int log_fd)
{
    pid_t parent = keeper_attached() ? getppid() : getpid();
    pid_t pid = keeper_attached() ? fork_sibling() : fork();

    if (pid == 0)
        prepare(log_fd, parent);
    return pid < 0 ? -errno : pid;
}

bool child_ended(pid_t pid, int *status)
{
    return keeper_attached() ? keeper_wait(pid, status) > 0 : wait_status(pid, status) > 0;
}

void child_forget(pid_t pid)
{
    if (keeper_attached())
        keeper_reap(pid);
    else
        waitpid(pid, NULL, WNOHANG);
}

void child_kill(pid_t pid)
{
    int status;

    kill(pid, SIGKILL);
    for (int i = 0; i < KILL_TRIES && !child_ended(pid, &status); i++)
        usleep(KILL_STEP_US);
    child_forget(pid);
}

void child_kill_others(bool (*known)(void *arg, pid_t pid), void *arg)
{
    char *path = xasprintf("/proc/%d/task/%d/children", getppid(), getppid());
    struct buf text = {0};
    int used, pid;

    if (keeper_attached() && !read_file(path, &text, 1u << 20))
        for (char *at = (char *)text.data; sscanf(at, "%d%n", &pid, &used) == 1; at += used)
            if (pid != getpid() && !known(arg, pid)) {
                warn("process %d belongs to nothing that is known; ending it", pid);
                child_kill(pid);
            }
    buf_free(&text);
    free(path);
}
