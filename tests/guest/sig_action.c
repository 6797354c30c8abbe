/* Handlers: their flags, stacks and masks, and what becomes of the calls they interrupt. */
#define _GNU_SOURCE
#include <semaphore.h>
#include <setjmp.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "disturb.h"

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

static stack_t in_handler;
static int altstack_errno;

static int fds[2];

static void write_byte(void)
{
    if (write(fds[1], "x", 1) != 1)
        _exit(1);
}

static void sockets_restart(void)
{
    char c;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    let_go = write_byte;
    handle(SA_RESTART);
    pid_t pid = disturb();
    CHECK(recv(fds[0], &c, 1, 0) == 1 && seen == 1);
    CHECK(child_status(pid) == 0);
    let_go = NULL;
    handle(0);
    pid = disturb();
    CHECK_ERRNO(recv(fds[0], &c, 1, 0), EINTR);
    CHECK(child_status(pid) == 0);
    close(fds[0]);
    close(fds[1]);
}

static void waits_restart(void)
{
    int status;
    let_go = NULL;
    handle(SA_RESTART);
    pid_t slow = fork();
    if (slow == 0) {
        sleep_ms(150);
        _exit(3);
    }
    pid_t pid = disturb();
    CHECK(waitpid(slow, &status, 0) == slow && WEXITSTATUS(status) == 3 && seen == 1);
    CHECK(child_status(pid) == 0);
    handle(0);
    slow = idle_child();
    pid = disturb();
    CHECK_ERRNO(waitpid(slow, &status, 0), EINTR);
    end_child(slow);
    CHECK(child_status(pid) == 0);
}

static sem_t *shared_sem;

static void post(void)
{
    sem_post(shared_sem);
}

static void futexes_restart(void)
{
    shared_sem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    sem_init(shared_sem, 1, 0);
    let_go = post;
    handle(SA_RESTART);
    pid_t pid = disturb();
    CHECK(sem_wait(shared_sem) == 0 && seen == 1);
    CHECK(child_status(pid) == 0);
    munmap(shared_sem, 4096);
}

static void flock_restarts(void)
{
    int fd = open("lock", O_RDWR | O_CREAT, 0600), other = open("lock", O_RDWR);
    CHECK(fd >= 0 && other >= 0 && flock(other, LOCK_EX) == 0);
    let_go = NULL;
    handle(0);
    pid_t pid = disturb();
    CHECK_ERRNO(flock(fd, LOCK_EX), EINTR);
    CHECK(child_status(pid) == 0);
    close(fd);
    close(other);
    unlink("lock");
}

static void ignored_signals_interrupt_nothing(void)
{
    struct timespec t = {0, 100000000}, before, after;
    signal(SIGUSR1, SIG_IGN);
    let_go = NULL;
    clock_gettime(CLOCK_MONOTONIC, &before);
    pid_t pid = disturb();
    CHECK(nanosleep(&t, NULL) == 0);
    clock_gettime(CLOCK_MONOTONIC, &after);
    CHECK(after.tv_sec > before.tv_sec || after.tv_nsec - before.tv_nsec >= 100000000);
    CHECK(child_status(pid) == 0);
}

static void stop_and_continue_interrupt_no_sleep(void)
{
    pid_t me = getpid(), pid = fork();
    if (pid == 0) {
        until_asleep(me);
        kill(me, SIGSTOP);
        usleep(20000);
        kill(me, SIGCONT);
        _exit(0);
    }
    struct timespec t = {0, 200000000}, rem = {-1, -1};
    CHECK(nanosleep(&t, &rem) == 0);
    CHECK(child_status(pid) == 0);
}

static void the_mask_of_the_action_applies(void)
{
    struct sigaction sa = {.sa_handler = count}, now;
    sigemptyset(&sa.sa_mask);
    sigaddset(&sa.sa_mask, SIGUSR2);
    sigaddset(&sa.sa_mask, SIGKILL);
    CHECK(sigaction(SIGUSR1, &sa, NULL) == 0 && sigaction(SIGUSR1, NULL, &now) == 0);
    CHECK(sigismember(&now.sa_mask, SIGUSR2) && !sigismember(&now.sa_mask, SIGKILL));
    CHECK(now.sa_handler == count);
    signal(SIGUSR1, SIG_DFL);
}

static sigset_t mask_seen;

static void note_mask(int signo)
{
    (void)signo;
    sigprocmask(SIG_SETMASK, NULL, &mask_seen);
}

static void handlers_block_themselves(void)
{
    sigset_t after;
    struct sigaction sa = {.sa_handler = note_mask};
    sigaddset(&sa.sa_mask, SIGHUP);
    sigaction(SIGUSR1, &sa, NULL);
    raise(SIGUSR1);
    CHECK(sigismember(&mask_seen, SIGUSR1) && sigismember(&mask_seen, SIGHUP));
    sigprocmask(SIG_SETMASK, NULL, &after);
    CHECK(!sigismember(&after, SIGUSR1) && !sigismember(&after, SIGHUP));
    sa.sa_flags = SA_NODEFER;
    sigaction(SIGUSR1, &sa, NULL);
    raise(SIGUSR1);
    CHECK(!sigismember(&mask_seen, SIGUSR1) && sigismember(&mask_seen, SIGHUP));
    signal(SIGUSR1, SIG_DFL);
}

static char alt[65536];

static void note_altstack(int signo)
{
    char other[8192];
    stack_t ss = {.ss_sp = other, .ss_size = sizeof(other)};
    (void)signo;
    sigaltstack(NULL, &in_handler);
    errno = 0;
    altstack_errno = sigaltstack(&ss, NULL) ? errno : 0;
    if (!altstack_errno) {
        ss.ss_flags = SS_DISABLE;
        sigaltstack(&ss, NULL);
    }
}

static void a_stack_in_use_cannot_be_changed(void)
{
    stack_t ss = {.ss_sp = alt, .ss_size = sizeof(alt)}, now;
    struct sigaction sa = {.sa_handler = note_altstack, .sa_flags = SA_ONSTACK};
    CHECK(sigaltstack(&ss, NULL) == 0);
    sigaction(SIGUSR1, &sa, NULL);
    raise(SIGUSR1);
    CHECK((in_handler.ss_flags & SS_ONSTACK) && in_handler.ss_sp == alt);
    CHECK(altstack_errno == EPERM);
    CHECK(sigaltstack(NULL, &now) == 0 && now.ss_flags == 0 && now.ss_sp == alt);
    ss.ss_flags = SS_DISABLE;
    CHECK(sigaltstack(&ss, NULL) == 0);
}

static void autodisarm_frees_the_stack(void)
{
    stack_t ss = {.ss_sp = alt, .ss_size = sizeof(alt), .ss_flags = (int)SS_AUTODISARM}, now;
    struct sigaction sa = {.sa_handler = note_altstack, .sa_flags = SA_ONSTACK};
    CHECK(sigaltstack(&ss, NULL) == 0);
    CHECK(sigaltstack(NULL, &now) == 0 && now.ss_flags == (int)SS_AUTODISARM);
    sigaction(SIGUSR1, &sa, NULL);
    raise(SIGUSR1);
    CHECK((in_handler.ss_flags & SS_DISABLE) && altstack_errno == 0);
    CHECK(sigaltstack(NULL, &now) == 0 && now.ss_flags == (int)SS_AUTODISARM && now.ss_sp == alt);
    ss.ss_flags = SS_DISABLE;
    CHECK(sigaltstack(&ss, NULL) == 0);
}

static void altstack_arguments_are_checked(void)
{
    stack_t bad = {.ss_sp = alt, .ss_size = sizeof(alt), .ss_flags = 4};
    stack_t small = {.ss_sp = alt, .ss_size = 1024};
    CHECK_ERRNO(sigaltstack(&bad, NULL), EINVAL);
    CHECK_ERRNO(sigaltstack(&small, NULL), ENOMEM);
    CHECK_ERRNO(syscall(SYS_sigaltstack, 8, NULL), EFAULT);
    CHECK_ERRNO(syscall(SYS_sigaltstack, NULL, 8), EFAULT);
}

static sigjmp_buf back;

static void escape(int signo)
{
    (void)signo;
    siglongjmp(back, 1);
}

static int overflow(int n)
{
    volatile char frame[4096];
    frame[0] = (char)n;
    return n < 1000000 ? overflow(n + 1) + frame[0] : 0;
}

static void a_stack_overflow_can_be_handled(void)
{
    stack_t ss = {.ss_sp = alt, .ss_size = sizeof(alt)};
    struct sigaction sa = {.sa_handler = escape, .sa_flags = SA_ONSTACK};
    CHECK(sigaltstack(&ss, NULL) == 0 && sigaction(SIGSEGV, &sa, NULL) == 0);
    if (!sigsetjmp(back, 1)) {
        overflow(0);
        CHECK(0);
    }
    signal(SIGSEGV, SIG_DFL);
    ss.ss_flags = SS_DISABLE;
    sigaltstack(&ss, NULL);
}

static void overflow_without_stack(void)
{
    struct sigaction sa = {.sa_handler = escape};
    sigaction(SIGSEGV, &sa, NULL);
    overflow(0);
}

static void an_overflow_without_another_stack_kills(void)
{
    int status = in_child(overflow_without_stack);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void blocked_fault(void)
{
    sigset_t s;
    sigfillset(&s);
    signal(SIGSEGV, SIG_IGN);
    sigprocmask(SIG_SETMASK, &s, NULL);
    *(volatile int *)8 = 1;
}

static void faults_cannot_be_ignored(void)
{
    int status = in_child(blocked_fault);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void sigpipe(void)
{
    CHECK(pipe(fds) == 0 && close(fds[0]) == 0);
    signal(SIGPIPE, SIG_IGN);
    CHECK_ERRNO(write(fds[1], "x", 1), EPIPE);
    signal(SIGPIPE, SIG_DFL);
    CHECK(write(fds[1], "x", 1) == 0);
}

static void writing_to_nobody_is_sigpipe(void)
{
    int status = in_child(sigpipe);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
}

static void execve_resets_handlers_and_keeps_ignored(void)
{
    handle(0);
    signal(SIGUSR2, SIG_IGN);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "sig_action", "actions", NULL);
        _exit(7);
    }
    CHECK(child_status(pid) == 0);
    signal(SIGUSR2, SIG_DFL);
}

static int actions_after_execve(void)
{
    struct sigaction a, b;
    stack_t ss;
    sigaction(SIGUSR1, NULL, &a);
    sigaction(SIGUSR2, NULL, &b);
    sigaltstack(NULL, &ss);
    return a.sa_handler != SIG_DFL ? 1 : b.sa_handler != SIG_IGN ? 2 : !(ss.ss_flags & SS_DISABLE);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1)
        return actions_after_execve();
    own_directory();
    CASE(sockets_restart);
    CASE(waits_restart);
    CASE(futexes_restart);
    CASE(flock_restarts);
    CASE(ignored_signals_interrupt_nothing);
    CASE(stop_and_continue_interrupt_no_sleep);
    CASE(the_mask_of_the_action_applies);
    CASE(handlers_block_themselves);
    CASE(a_stack_in_use_cannot_be_changed);
    CASE(autodisarm_frees_the_stack);
    CASE(altstack_arguments_are_checked);
    CASE(a_stack_overflow_can_be_handled);
    CASE(an_overflow_without_another_stack_kills);
    CASE(faults_cannot_be_ignored);
    CASE(writing_to_nobody_is_sigpipe);
    CASE(execve_resets_handlers_and_keeps_ignored);
    return check_result();
}
