/* The processes of child.h. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

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

pid_t child_start(int log_fd)
{
    pid_t parent = getpid(), pid = fork();

    if (pid == 0)
        prepare(log_fd, parent);
    return pid < 0 ? -errno : pid;
}

bool child_ended(pid_t pid, int *status)
{
    return waitpid(pid, status, WNOHANG) == pid;
}
