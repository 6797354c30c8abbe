/* Waiting for children in all forms; pidfds; groups, sessions and orphans. */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static pid_t exiting(int status)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(status);
    return pid;
}

static void options_are_checked(void)
{
    siginfo_t si;
    CHECK_ERRNO(waitid(P_ALL, 0, &si, 0), EINVAL);
    CHECK_ERRNO(waitid(P_ALL, 0, &si, WNOHANG), EINVAL);
    CHECK_ERRNO(waitid(P_ALL, 0, &si, WEXITED | 0x40), EINVAL);
    CHECK_ERRNO(waitid((idtype_t)17, 0, &si, WEXITED), EINVAL);
    CHECK_ERRNO(waitid(P_PID, 0, &si, WEXITED), EINVAL);
    CHECK_ERRNO(waitid(P_PIDFD, 999, &si, WEXITED), EBADF);
    CHECK_ERRNO(waitpid(-1, NULL, 0x100), EINVAL);
    CHECK_ERRNO(waitpid(-1, NULL, 0), ECHILD);
    CHECK_ERRNO(waitpid(getpid(), NULL, 0), ECHILD);
    CHECK_ERRNO(waitid(P_PID, 1, &si, WEXITED), ECHILD);
    CHECK_ERRNO(syscall(SYS_wait4, 0x80000000, NULL, 0, NULL), ESRCH);
}

static void waitid_describes_the_end(void)
{
    siginfo_t si = {0};
    pid_t pid = exiting(300);
    CHECK(waitid(P_PID, (id_t)pid, &si, WEXITED) == 0);
    CHECK(si.si_signo == SIGCHLD && si.si_code == CLD_EXITED && si.si_pid == pid);
    CHECK(si.si_status == (300 & 0xff) && si.si_uid == getuid());
    pid = idle_child();
    kill(pid, SIGTERM);
    CHECK(waitid(P_ALL, 0, &si, WEXITED) == 0);
    CHECK(si.si_code == CLD_KILLED && si.si_status == SIGTERM && si.si_pid == pid);
}

static void wnowait_leaves_the_child(void)
{
    siginfo_t si = {0};
    int status;
    pid_t pid = exiting(5);
    CHECK(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT) == 0 && si.si_status == 5);
    CHECK(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT) == 0 && si.si_status == 5);
    CHECK(kill(pid, 0) == 0); /* a zombie is there */
    CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 5);
    CHECK_ERRNO(kill(pid, 0), ESRCH);
    CHECK_ERRNO(waitpid(pid, &status, 0), ECHILD);
}

static void wnohang_tells_nothing(void)
{
    siginfo_t si;
    memset(&si, 0xff, sizeof(si));
    pid_t pid = idle_child();
    CHECK(waitpid(pid, NULL, WNOHANG) == 0);
    CHECK(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOHANG) == 0);
    CHECK(si.si_pid == 0 && si.si_signo == 0);
    end_child(pid);
}

static void stops_are_told_once(void)
{
    siginfo_t si = {0};
    pid_t pid = idle_child();
    kill(pid, SIGSTOP);
    CHECK(waitid(P_PID, (id_t)pid, &si, WSTOPPED | WNOWAIT) == 0);
    CHECK(si.si_code == CLD_STOPPED && si.si_status == SIGSTOP);
    CHECK(waitid(P_PID, (id_t)pid, &si, WSTOPPED) == 0 && si.si_pid == pid);
    CHECK(waitid(P_PID, (id_t)pid, &si, WSTOPPED | WNOHANG) == 0 && si.si_pid == 0);
    kill(pid, SIGCONT);
    CHECK(waitid(P_PID, (id_t)pid, &si, WCONTINUED) == 0);
    CHECK(si.si_code == CLD_CONTINUED && si.si_status == SIGCONT);
    CHECK(waitid(P_PID, (id_t)pid, &si, WCONTINUED | WNOHANG) == 0 && si.si_pid == 0);
    end_child(pid);
}

static void groups_are_waited_for(void)
{
    siginfo_t si = {0};
    pid_t a = idle_child(), b = exiting(1);
    CHECK(setpgid(a, a) == 0);
    CHECK(waitid(P_PGID, (id_t)a, &si, WEXITED | WNOHANG) == 0 && si.si_pid == 0);
    CHECK(waitpid(-getpgrp(), NULL, 0) == b);
    CHECK_ERRNO(waitpid(0, NULL, 0), ECHILD);
    kill(-a, SIGKILL);
    CHECK(waitpid(-a, NULL, 0) == a);
    CHECK_ERRNO(waitpid(-a, NULL, 0), ECHILD);
}

static void pidfds_are_polled_and_waited_for(void)
{
    siginfo_t si = {0};
    pid_t pid = idle_child();
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    CHECK(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC));
    CHECK(poll(&p, 1, 0) == 0);
    CHECK(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) == 0);
    CHECK(syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0) == 0);
    CHECK(poll(&p, 1, 5000) == 1 && (p.revents & POLLIN));
    CHECK(waitid((idtype_t)P_PIDFD, (id_t)fd, &si, WEXITED) == 0 && si.si_pid == pid);
    CHECK(si.si_status == SIGTERM);
    CHECK_ERRNO(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0), ESRCH);
    CHECK_ERRNO(waitid((idtype_t)P_PIDFD, (id_t)fd, &si, WEXITED), ECHILD);
    close(fd);
}

static int caught;

static void on_usr1(int signo)
{
    caught = signo;
}

static void a_directory_of_proc_names_a_process(void)
{
    int fd = open("/proc/self", O_RDONLY | O_DIRECTORY), other = open("/proc", O_RDONLY);
    signal(SIGUSR1, on_usr1);
    CHECK(syscall(SYS_pidfd_send_signal, fd, SIGUSR1, NULL, 0) == 0 && caught == SIGUSR1);
    signal(SIGUSR1, SIG_DFL);
    CHECK_ERRNO(syscall(SYS_pidfd_send_signal, other, 0, NULL, 0), EBADF);
    CHECK_ERRNO(syscall(SYS_pidfd_getfd, fd, 0, 0), EBADF);
    close(fd);
    close(other);
}

static void nonblocking_pidfds_do_not_wait(void)
{
    siginfo_t si = {0};
    pid_t pid = idle_child();
    int fd = (int)syscall(SYS_pidfd_open, pid, O_NONBLOCK);
    CHECK(fd >= 0);
    CHECK_ERRNO(waitid((idtype_t)P_PIDFD, (id_t)fd, &si, WEXITED), EAGAIN);
    end_child(pid);
    close(fd);
}

static void pidfd_arguments_are_checked(void)
{
    CHECK_ERRNO(syscall(SYS_pidfd_open, 0, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_pidfd_open, -1, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_pidfd_open, getpid(), 0x10000), EINVAL);
    CHECK_ERRNO(syscall(SYS_pidfd_open, 99999, 0), ESRCH);
    int fd = open("/", O_RDONLY | O_DIRECTORY);
    CHECK_ERRNO(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0), EBADF);
    close(fd);
    fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    CHECK_ERRNO(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0x1000), EINVAL);
    CHECK_ERRNO(syscall(SYS_pidfd_send_signal, fd, 65, NULL, 0), EINVAL);
    CHECK_ERRNO(read(fd, &fd, 4), EINVAL);
    close(fd);
}

static void pidfd_getfd_copies_a_descriptor(void)
{
    int fds[2];
    char c = 0;
    CHECK(pipe(fds) == 0);
    pid_t pid = idle_child();
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    close(fds[1]); /* the child's is the only one */
    int copy = (int)syscall(SYS_pidfd_getfd, fd, fds[1], 0);
    CHECK(copy >= 0 && (fcntl(copy, F_GETFD) & FD_CLOEXEC));
    CHECK(write(copy, "k", 1) == 1 && read(fds[0], &c, 1) == 1 && c == 'k');
    CHECK_ERRNO(syscall(SYS_pidfd_getfd, fd, 999, 0), EBADF);
    CHECK_ERRNO(syscall(SYS_pidfd_getfd, fds[0], 0, 0), EBADF);
    CHECK_ERRNO(syscall(SYS_pidfd_getfd, fd, 0, 1), EINVAL);
    end_child(pid);
    CHECK_ERRNO(syscall(SYS_pidfd_getfd, fd, 0, 0), ESRCH);
    close(copy);
    close(fds[0]);
    close(fd);
}

static void usage_of_children_is_summed(void)
{
    struct rusage own, all;
    pid_t pid = fork();
    if (pid == 0) {
        struct rusage r;
        do
            getrusage(RUSAGE_SELF, &r);
        while (r.ru_utime.tv_usec + r.ru_stime.tv_usec < 30000);
        _exit(0);
    }
    CHECK(wait4(pid, NULL, 0, &own) == pid);
    CHECK(own.ru_utime.tv_usec + own.ru_stime.tv_usec >= 30000);
    CHECK(getrusage(RUSAGE_CHILDREN, &all) == 0);
    CHECK(all.ru_utime.tv_sec + all.ru_stime.tv_sec > 0 ||
          all.ru_utime.tv_usec + all.ru_stime.tv_usec >= 30000);
    CHECK_ERRNO(getrusage(7, &all), EINVAL);
}

static void ignoring_sigchld_reaps(void)
{
    signal(SIGCHLD, SIG_IGN);
    exiting(1);
    exiting(2);
    CHECK_ERRNO(waitpid(-1, NULL, 0), ECHILD); /* waits for both */
    struct sigaction sa = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
    sigaction(SIGCHLD, &sa, NULL);
    pid_t pid = exiting(1);
    CHECK_ERRNO(waitpid(pid, NULL, 0), ECHILD);
    signal(SIGCHLD, SIG_DFL);
}

static volatile int chld;

static void on_chld(int signo)
{
    (void)signo;
    chld++;
}

static void nocldstop_is_silent_on_stops(void)
{
    struct sigaction sa = {.sa_handler = on_chld, .sa_flags = SA_NOCLDSTOP};
    sigaction(SIGCHLD, &sa, NULL);
    chld = 0;
    pid_t pid = idle_child();
    kill(pid, SIGSTOP);
    CHECK(waitpid(pid, NULL, WUNTRACED) == pid && chld == 0);
    end_child(pid);
    CHECK(chld == 1);
    signal(SIGCHLD, SIG_DFL);
}

static void *wait_in_thread(void *arg)
{
    return (void *)(long)(waitpid((pid_t)(long)arg, NULL, 0) == (pid_t)(long)arg);
}

static void any_thread_may_wait(void)
{
    pthread_t t;
    void *ok;
    pid_t pid = idle_child();
    CHECK(!pthread_create(&t, NULL, wait_in_thread, (void *)(long)pid));
    usleep(10000);
    kill(pid, SIGKILL);
    CHECK(!pthread_join(t, &ok) && ok);
}

static void subreaper(void)
{
    int fds[2], got;
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    CHECK(prctl(PR_GET_CHILD_SUBREAPER, &got) == 0 && got == 1);
    CHECK(pipe(fds) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        pid_t grandchild = fork();
        if (grandchild == 0) {
            while (getppid() == getpid())
                ;
            sleep_ms(50);
            pid_t now = getppid();
            write(fds[1], &now, sizeof(now));
            _exit(44);
        }
        _exit(0);
    }
    pid_t now;
    int status;
    CHECK(waitpid(pid, NULL, 0) == pid);
    CHECK(read(fds[0], &now, sizeof(now)) == sizeof(now) && now == getpid());
    CHECK(wait(&status) > 0 && WEXITSTATUS(status) == 44);
}

static void subreapers_take_orphans(void)
{
    CHECK(in_child(subreaper) == 0);
}

static void pdeathsig(void)
{
    int fds[2], status;
    char c;
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 && pipe(fds) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGUSR1);
            write(fds[1], "r", 1);
            for (;;)
                pause();
        }
        read(fds[0], &c, 1);
        _exit(0);
    }
    CHECK(waitpid(pid, NULL, 0) == pid);
    CHECK(wait(&status) > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
}

static void a_parents_death_is_a_signal(void)
{
    int got = -1;
    CHECK_ERRNO(prctl(PR_SET_PDEATHSIG, 65), EINVAL);
    CHECK(prctl(PR_SET_PDEATHSIG, SIGHUP) == 0 && prctl(PR_GET_PDEATHSIG, &got) == 0);
    CHECK(got == SIGHUP && prctl(PR_SET_PDEATHSIG, 0) == 0);
    CHECK(in_child(pdeathsig) == 0);
}

static void new_session(void)
{
    CHECK(setsid() == getpid() && getsid(0) == getpid() && getpgrp() == getpid());
    CHECK_ERRNO(setsid(), EPERM);
    CHECK_ERRNO(setpgid(0, 0), EPERM); /* a session leader */
    int fd = open("/dev/tty", O_RDWR);
    CHECK(fd == -1 && errno == ENXIO);
}

static void sessions_begin_without_a_terminal(void)
{
    CHECK(in_child(new_session) == 0);
}

static void setpgid_has_rules(void)
{
    pid_t other = fork();
    if (other == 0) {
        setsid();
        for (;;)
            pause();
    }
    pid_t pid = idle_child();
    while (getsid(other) != other)
        usleep(1000);
    CHECK_ERRNO(setpgid(pid, -1), EINVAL);
    CHECK_ERRNO(setpgid(99999, 0), ESRCH);
    CHECK_ERRNO(setpgid(1, 0), ESRCH);
    CHECK_ERRNO(setpgid(pid, 99999), EPERM);
    CHECK_ERRNO(setpgid(other, 0), EPERM);
    CHECK(setpgid(pid, 0) == 0 && getpgid(pid) == pid);
    CHECK(setpgid(pid, getpgrp()) == 0 && getpgid(pid) == getpgrp());
    CHECK_ERRNO(getpgid(99999), ESRCH);
    CHECK_ERRNO(getsid(99999), ESRCH);
    CHECK_ERRNO(getpgid(-1), ESRCH);
    end_child(pid);
    end_child(other);
}

static void setpgid_after_execve_is_refused(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "proc_wait", "pause", NULL);
        _exit(1);
    }
    until_asleep(pid);
    CHECK_ERRNO(setpgid(pid, pid), EACCES);
    end_child(pid);
}

static void orphans(void)
{
    int fds[2], status;
    char c;
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 && pipe(fds) == 0);
    pid_t pid = fork();
    if (pid == 0) { /* in a session of its own: its group becomes an orphan with its death */
        setsid();
        pid_t stopped = fork();
        if (stopped == 0) {
            setpgid(0, 0);
            raise(SIGSTOP);
            _exit(1); /* SIGHUP comes first */
        }
        waitpid(stopped, NULL, WUNTRACED);
        _exit(0);
    }
    (void)c;
    CHECK(waitpid(pid, NULL, 0) == pid);
    CHECK(wait(&status) > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP);
}

static void stopped_orphans_are_hung_up(void)
{
    CHECK(in_child(orphans) == 0);
}

static void orphan_ignores_tstp(void)
{
    setsid();
    raise(SIGTSTP); /* nobody could continue it */
    raise(SIGTTIN);
    raise(SIGTTOU);
    _exit(12);
}

static void orphaned_groups_do_not_stop(void)
{
    int status;
    pid_t pid = child_start(orphan_ignores_tstp);
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFEXITED(status) &&
          WEXITSTATUS(status) == 12);
}

static void clone_exit_signals(void)
{
    pid_t pid = (pid_t)syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
    if (pid == 0)
        _exit(2);
    CHECK(pid > 0);
    CHECK_ERRNO(waitpid(pid, NULL, 0), ECHILD); /* it is a clone child */
    CHECK(waitpid(pid, NULL, __WCLONE) == pid);
    signal(SIGUSR1, on_chld);
    pid = (pid_t)syscall(SYS_clone, SIGUSR1, NULL, NULL, NULL, NULL);
    if (pid == 0)
        _exit(2);
    CHECK(waitpid(pid, NULL, __WALL) == pid);
    signal(SIGUSR1, SIG_DFL);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        for (;;)
            pause();
    }
    CASE(options_are_checked);
    CASE(waitid_describes_the_end);
    CASE(wnowait_leaves_the_child);
    CASE(wnohang_tells_nothing);
    CASE(stops_are_told_once);
    CASE(groups_are_waited_for);
    CASE(pidfds_are_polled_and_waited_for);
    CASE(a_directory_of_proc_names_a_process);
    CASE(nonblocking_pidfds_do_not_wait);
    CASE(pidfd_arguments_are_checked);
    CASE(pidfd_getfd_copies_a_descriptor);
    CASE(usage_of_children_is_summed);
    CASE(ignoring_sigchld_reaps);
    CASE(nocldstop_is_silent_on_stops);
    CASE(any_thread_may_wait);
    CASE(subreapers_take_orphans);
    CASE(a_parents_death_is_a_signal);
    CASE(sessions_begin_without_a_terminal);
    CASE(setpgid_has_rules);
    CASE(setpgid_after_execve_is_refused);
    CASE(stopped_orphans_are_hung_up);
    CASE(orphaned_groups_do_not_stop);
    CASE(clone_exit_signals);
    return check_result();
}
