/* Signals: handlers, masks, restart, alternate stacks, faults, job control, timers. */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "check.h"

static volatile int seen, last, code;
static volatile pid_t sender;
static void *volatile where;
static sigjmp_buf back;

static void note(int signo, siginfo_t *si, void *uc)
{
    (void)uc;
    seen++;
    last = signo;
    code = si->si_code;
    sender = si->si_pid;
}

static void handle(int signo, int flags)
{
    struct sigaction sa = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | flags};
    sigaction(signo, &sa, NULL);
    seen = 0;
}

static void handlers_get_information(void)
{
    handle(SIGUSR1, 0);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    CHECK(seen == 1 && last == SIGUSR1 && code == SI_USER && sender == getpid());
    CHECK(raise(SIGUSR1) == 0 && seen == 2 && code == SI_TKILL);
    union sigval v = {.sival_int = 77};
    CHECK(sigqueue(getpid(), SIGUSR1, v) == 0 && seen == 3 && code == SI_QUEUE);
    CHECK_ERRNO(kill(getpid(), 65), EINVAL);
    CHECK_ERRNO(kill(99999, 0), ESRCH);
}

static void blocked_signals_wait(void)
{
    sigset_t set, old, pending;
    handle(SIGUSR1, 0);
    handle(SIGRTMIN, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN);
    CHECK(sigprocmask(SIG_BLOCK, &set, &old) == 0);
    for (int i = 0; i < 3; i++) {
        kill(getpid(), SIGUSR1);
        kill(getpid(), SIGRTMIN);
    }
    CHECK(seen == 0 && sigpending(&pending) == 0);
    CHECK(sigismember(&pending, SIGUSR1) && sigismember(&pending, SIGRTMIN));
    CHECK(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
    CHECK(seen == 4); /* the standard one once, the real-time one three times */
}

static void sigsuspend_lets_in(void)
{
    sigset_t set, old;
    handle(SIGUSR1, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, &old);
    kill(getpid(), SIGUSR1);
    CHECK(seen == 0);
    sigset_t open = old;
    sigdelset(&open, SIGUSR1);
    CHECK_ERRNO(sigsuspend(&open), EINTR);
    CHECK(seen == 1);
    kill(getpid(), SIGUSR1);
    CHECK(seen == 1); /* blocked again */
    struct timespec zero = {0, 0};
    siginfo_t si;
    CHECK(sigtimedwait(&set, &si, &zero) == SIGUSR1 && si.si_pid == getpid());
    CHECK_ERRNO(sigtimedwait(&set, &si, &zero), EAGAIN);
    sigprocmask(SIG_SETMASK, &old, NULL);
}

/* Sends a signal to the parent as soon as *turn changes; ends when it is negative. */
static void send_at_each_turn(atomic_int *turn)
{
    for (int sent = 0, now; (now = atomic_load(turn)) >= 0;) {
        if (now != sent) {
            kill(getppid(), SIGUSR1);
            sent = now;
        }
    }
    _exit(0);
}

/* The sender meets each point of the way into sigsuspend(), which lets the signal in. */
static void sigsuspend_misses_nothing(void)
{
    sigset_t set, open;
    atomic_int *turn = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(turn != MAP_FAILED);
    handle(SIGALRM, 0);
    handle(SIGUSR1, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, &open);
    pid_t pid = fork();
    if (pid == 0)
        send_at_each_turn(turn);
    alarm(20); /* for a signal that got lost */
    for (time_t end = time(NULL) + 2; time(NULL) < end && last != SIGALRM;) {
        int delay = atomic_fetch_add(turn, 1) % 997;
        for (volatile int i = 0; i < delay; i++)
            ;
        sigsuspend(&open);
    }
    alarm(0);
    int rounds = *turn;
    *turn = -1;
    waitpid(pid, NULL, 0);
    sigprocmask(SIG_SETMASK, &open, NULL);
    munmap(turn, 4096);
    CHECK(last == SIGUSR1 && seen == rounds);
}

/* A child that sends the signal once this process sleeps. */
static pid_t kick(int signo)
{
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        until_asleep(parent);
        kill(parent, signo);
        _exit(0);
    }
    return pid;
}

static void reads_restart_or_fail(void)
{
    int fds[2];
    char c;
    CHECK(pipe(fds) == 0);
    handle(SIGUSR1, 0);
    pid_t pid = kick(SIGUSR1);
    CHECK_ERRNO(read(fds[0], &c, 1), EINTR);
    CHECK(seen == 1);
    waitpid(pid, NULL, 0);
    handle(SIGUSR1, SA_RESTART);
    pid_t parent = getpid();
    pid = fork();
    if (pid == 0) {
        until_asleep(parent);
        kill(parent, SIGUSR1);
        until_asleep(parent);
        write(fds[1], "z", 1);
        _exit(0);
    }
    CHECK(read(fds[0], &c, 1) == 1 && c == 'z' && seen == 1);
    waitpid(pid, NULL, 0);
    close(fds[0]);
    close(fds[1]);
}

static void nanosleep_tells_the_rest(void)
{
    struct timespec t = {20, 0}, rem = {0, 0};
    handle(SIGUSR1, SA_RESTART);
    pid_t pid = kick(SIGUSR1);
    CHECK_ERRNO(nanosleep(&t, &rem), EINTR);
    CHECK(rem.tv_sec >= 1 && rem.tv_sec < 20);
    waitpid(pid, NULL, 0);
}

static void nested(int signo)
{
    if (++seen < 3)
        raise(signo);
}

static void nodefer_and_resethand(void)
{
    struct sigaction sa = {.sa_handler = nested, .sa_flags = SA_NODEFER}, now;
    seen = 0;
    sigaction(SIGUSR2, &sa, NULL);
    raise(SIGUSR2);
    CHECK(seen == 3);
    sa.sa_flags = (int)SA_RESETHAND;
    sigaction(SIGUSR2, &sa, NULL);
    seen = 5;
    raise(SIGUSR2);
    sigaction(SIGUSR2, NULL, &now);
    CHECK(seen == 6 && now.sa_handler == SIG_DFL);
    CHECK_ERRNO(sigaction(SIGKILL, &sa, NULL), EINVAL);
}

static void fault(int signo, siginfo_t *si, void *uc)
{
    (void)uc;
    last = signo;
    code = si->si_code;
    where = si->si_addr;
    siglongjmp(back, 1);
}

static void faults_tell_their_cause(void)
{
    struct sigaction sa = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO};
    int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    for (int i = 0; i < 4; i++)
        sigaction(signals[i], &sa, NULL);
    if (!sigsetjmp(back, 1))
        *(volatile int *)0x1234 = 1;
    CHECK(last == SIGSEGV && code == SEGV_MAPERR && where == (void *)0x1234);
    char *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!sigsetjmp(back, 1))
        *(volatile char *)(p + 5) = 1;
    CHECK(last == SIGSEGV && code == SEGV_ACCERR && where == p + 5);
    volatile int zero = 0, one = 1;
    if (!sigsetjmp(back, 1))
        one = one / zero;
    CHECK(last == SIGFPE && code == FPE_INTDIV);
    if (!sigsetjmp(back, 1))
        __asm__ volatile("ud2");
    CHECK(last == SIGILL);
    if (!sigsetjmp(back, 1))
        *(volatile int *)0x8000000000000000 = 1;
    CHECK(last == SIGSEGV && code == SI_KERNEL);
    if (!sigsetjmp(back, 1)) {
        void (*f)(void) = (void (*)(void))p;
        f();
    }
    CHECK(last == SIGSEGV && code == SEGV_ACCERR && where == p); /* NX */
    for (int i = 0; i < 4; i++)
        signal(signals[i], SIG_DFL);
    munmap(p, 4096);
}

static char *alt;
static void on_stack(int signo)
{
    char here;
    (void)signo;
    seen = &here >= alt && &here < alt + 65536;
}

static void alternate_stacks(void)
{
    alt = malloc(65536);
    stack_t ss = {.ss_sp = alt, .ss_size = 65536}, old, tiny = {.ss_sp = alt, .ss_size = 100};
    struct sigaction sa = {.sa_handler = on_stack, .sa_flags = SA_ONSTACK};
    CHECK(sigaltstack(&ss, &old) == 0 && (old.ss_flags & SS_DISABLE));
    CHECK_ERRNO(sigaltstack(&tiny, NULL), ENOMEM);
    sigaction(SIGUSR1, &sa, NULL);
    seen = 0;
    raise(SIGUSR1);
    CHECK(seen == 1);
    ss.ss_flags = SS_DISABLE;
    CHECK(sigaltstack(&ss, &old) == 0 && old.ss_sp == alt && old.ss_size == 65536);
    free(alt);
}

static void change_context(int signo, siginfo_t *si, void *arg)
{
    ucontext_t *uc = arg;
    (void)signo;
    (void)si;
    uc->uc_mcontext.gregs[REG_RIP] += 2; /* over the ud2 */
    uc->uc_mcontext.gregs[REG_RBX] = 4711;
}

static void handlers_may_change_registers(void)
{
    struct sigaction sa = {.sa_sigaction = change_context, .sa_flags = SA_SIGINFO};
    long rbx = 1;
    sigaction(SIGILL, &sa, NULL);
    __asm__ volatile("ud2" : "+b"(rbx));
    CHECK(rbx == 4711);
    signal(SIGILL, SIG_DFL);
}

static void clobber(int signo)
{
    volatile double x = 1.0;
    (void)signo;
    for (int i = 0; i < 100; i++)
        x = x * 1.5 + 2.0;
    __asm__ volatile("pxor %%xmm7, %%xmm7; pxor %%xmm15, %%xmm15" ::: "xmm7", "xmm15");
}

static void vector_registers_survive(void)
{
    long in = 0x1122334455667788, out = 0;
    signal(SIGUSR1, clobber);
    long nr = SYS_kill, me = getpid();
    __asm__ volatile("movq %[in], %%xmm15\n\tsyscall\n\tmovq %%xmm15, %[out]"
                     : [out] "=&r"(out), "+a"(nr)
                     : [in] "r"(in), "D"(me), "S"((long)SIGUSR1)
                     : "rcx", "r11", "memory", "xmm15");
    CHECK(nr == 0 && out == in);
}

static void deaths_are_reported(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGTERM, SIG_DFL);
        raise(SIGTERM);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    pid = fork();
    if (pid == 0)
        abort();
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void job_control_stops_and_continues(void)
{
    int status;
    handle(SIGCHLD, 0);
    pid_t pid = fork();
    if (pid == 0) {
        for (;;)
            usleep(1000);
    }
    CHECK(kill(pid, SIGSTOP) == 0);
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) &&
          WSTOPSIG(status) == SIGSTOP);
    CHECK(last == SIGCHLD && code == CLD_STOPPED);
    CHECK(waitpid(pid, &status, WUNTRACED | WNOHANG) == 0);
    CHECK(kill(pid, SIGCONT) == 0);
    CHECK(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
    CHECK(kill(pid, SIGSTOP) == 0 && waitpid(pid, &status, WUNTRACED) == pid);
    CHECK(kill(pid, SIGKILL) == 0);
    CHECK(waitpid(pid, &status, 0) == pid && WTERMSIG(status) == SIGKILL);
    signal(SIGCHLD, SIG_DFL);
}

static void timers_send_signals(void)
{
    struct itimerval it = {{0, 5000}, {0, 5000}}, off = {{0, 0}, {0, 0}};
    handle(SIGALRM, 0);
    CHECK(setitimer(ITIMER_REAL, &it, NULL) == 0);
    while (seen < 5)
        pause();
    CHECK(setitimer(ITIMER_REAL, &off, &it) == 0 && it.it_interval.tv_usec == 5000);
    CHECK(alarm(100) == 0 && alarm(0) == 100);
    timer_t id;
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec its = {{0, 3000000}, {0, 3000000}};
    handle(SIGUSR1, 0);
    CHECK(timer_create(CLOCK_MONOTONIC, &ev, &id) == 0 && timer_settime(id, 0, &its, NULL) == 0);
    while (seen < 4)
        pause();
    CHECK(code == SI_TIMER);
    CHECK(timer_delete(id) == 0);
    CHECK_ERRNO(syscall(SYS_timer_delete, 12345), EINVAL);
}

static void *block_and_wait(void *arg)
{
    sigset_t set;
    int signo = 0;
    (void)arg;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigwait(&set, &signo);
    return (void *)(long)signo;
}

static void threads_share_and_divide(void)
{
    sigset_t set;
    pthread_t t;
    void *res;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    CHECK(!pthread_create(&t, NULL, block_and_wait, NULL));
    usleep(5000);
    CHECK(kill(getpid(), SIGUSR2) == 0);
    CHECK(!pthread_join(t, &res) && res == (void *)(long)SIGUSR2);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

int main(void)
{
    CASE(handlers_get_information);
    CASE(blocked_signals_wait);
    CASE(sigsuspend_lets_in);
    CASE(sigsuspend_misses_nothing);
    CASE(reads_restart_or_fail);
    CASE(nanosleep_tells_the_rest);
    CASE(nodefer_and_resethand);
    CASE(faults_tell_their_cause);
    CASE(alternate_stacks);
    CASE(handlers_may_change_registers);
    CASE(vector_registers_survive);
    CASE(deaths_are_reported);
    CASE(job_control_stops_and_continues);
    CASE(timers_send_signals);
    CASE(threads_share_and_divide);
    return check_result();
}
