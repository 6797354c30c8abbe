/* Pseudo-terminals, controlling terminals and job control. */
#define _GNU_SOURCE
#include <poll.h>
#include <stdbool.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <utmp.h>
#include <unistd.h>

#include "child.h"

static int master, slave;

static void open_pair(void)
{
    CHECK(openpty(&master, &slave, NULL, NULL, NULL) == 0);
}

static void close_pair(void)
{
    close(slave);
    close(master);
}

/* What the master reads within 5 s contains this text. */
static void expect(const char *text)
{
    static char got[4096];
    size_t len = 0;
    struct pollfd p = {.fd = master, .events = POLLIN};
    got[0] = 0;
    while (!strstr(got, text)) {
        CHECK(poll(&p, 1, 5000) == 1 && len < sizeof(got) - 1);
        ssize_t n = read(master, got + len, sizeof(got) - 1 - len);
        CHECK(n > 0);
        len += (size_t)n;
        got[len] = 0;
    }
}

static void type(const char *text)
{
    CHECK(write(master, text, strlen(text)) == (ssize_t)strlen(text));
}

static void ptmx_gives_a_name(void)
{
    struct stat st;
    char name[64], again[64];
    int m = posix_openpt(O_RDWR | O_NOCTTY), n = -1;
    CHECK(m >= 0 && ioctl(m, TIOCGPTN, &n) == 0 && n >= 0);
    CHECK(ptsname_r(m, name, sizeof(name)) == 0);
    snprintf(again, sizeof(again), "/dev/pts/%d", n);
    CHECK(!strcmp(name, again));
    CHECK_ERRNO(open(name, O_RDWR | O_NOCTTY), EIO); /* locked */
    CHECK(grantpt(m) == 0 && unlockpt(m) == 0);
    CHECK(stat(name, &st) == 0 && S_ISCHR(st.st_mode) && (st.st_mode & 0600) == 0600);
    CHECK(st.st_rdev == (136u << 8 | (unsigned)n) && st.st_uid == 0);
    int s = open(name, O_RDWR | O_NOCTTY);
    CHECK(s >= 0 && isatty(s) && ttyname_r(s, again, sizeof(again)) == 0 && !strcmp(name, again));
    CHECK(isatty(m));
    close(s);
    close(m);
    CHECK_ERRNO(stat(name, &st), ENOENT);
}

static void numbers_are_used_again(void)
{
    int a = -1, b = -1, c = -1;
    int m = posix_openpt(O_RDWR | O_NOCTTY), k = posix_openpt(O_RDWR | O_NOCTTY);
    CHECK(ioctl(m, TIOCGPTN, &a) == 0 && ioctl(k, TIOCGPTN, &b) == 0 && a != b);
    close(m);
    m = posix_openpt(O_RDWR | O_NOCTTY);
    CHECK(ioctl(m, TIOCGPTN, &c) == 0 && c == a);
    close(m);
    close(k);
}

static void text_goes_both_ways(void)
{
    char buf[64] = "";
    open_pair();
    type("hello\n");
    CHECK(read(slave, buf, sizeof(buf)) == 6 && !strcmp(buf, "hello\n"));
    expect("hello\r\n"); /* the echo */
    CHECK(write(slave, "a\nb", 3) == 3);
    expect("a\r\nb");
    close_pair();
}

static void lines_are_edited(void)
{
    char buf[64] = "";
    open_pair();
    type("hallx\x7f\x7f\x7f\x7f"
         "ello\n");
    CHECK(read(slave, buf, sizeof(buf)) == 6 && !strcmp(buf, "hello\n"));
    type("gone\x15 here\n");
    memset(buf, 0, sizeof(buf));
    CHECK(read(slave, buf, sizeof(buf)) == 6 && !strcmp(buf, " here\n"));
    type("\x04");
    CHECK(read(slave, buf, sizeof(buf)) == 0); /* end of file */
    close_pair();
}

static void raw_mode_passes_everything(void)
{
    char buf[64] = "";
    struct termios t;
    open_pair();
    CHECK(tcgetattr(slave, &t) == 0 && (t.c_lflag & ICANON));
    cfmakeraw(&t);
    CHECK(tcsetattr(slave, TCSANOW, &t) == 0);
    type("\x03\x04q");
    CHECK(read(slave, buf, 3) == 3 && !memcmp(buf, "\x03\x04q", 3));
    CHECK(write(slave, "x\n", 2) == 2);
    CHECK(read(master, buf, sizeof(buf)) == 2 && buf[1] == '\n'); /* no echo, no CR */
    CHECK(tcgetattr(master, &t) == 0 && !(t.c_lflag & ICANON));   /* both sides show it */
    close_pair();
}

static void the_old_form_of_settings(void)
{
    struct termio old;
    struct termios t;
    open_pair();
    CHECK(ioctl(slave, TCGETA, &old) == 0 && (old.c_lflag & ECHO) && old.c_cc[VINTR] == 3);
    old.c_lflag &= (unsigned short)~ECHO;
    old.c_cc[VINTR] = 5;
    CHECK(ioctl(slave, TCSETAW, &old) == 0 && tcgetattr(slave, &t) == 0);
    CHECK(!(t.c_lflag & ECHO) && t.c_cc[VINTR] == 5 && t.c_cc[VSUSP] == 26);
    CHECK_ERRNO(ioctl(slave, TCSETA, 8), EFAULT);
    close_pair();
}

static void vmin_and_vtime(void)
{
    char buf[64];
    struct termios t;
    open_pair();
    tcgetattr(slave, &t);
    cfmakeraw(&t);
    t.c_cc[VMIN] = 0;
    t.c_cc[VTIME] = 1;
    CHECK(tcsetattr(slave, TCSANOW, &t) == 0 && read(slave, buf, 10) == 0);
    t.c_cc[VTIME] = 0;
    CHECK(tcsetattr(slave, TCSANOW, &t) == 0 && read(slave, buf, 10) == 0);
    type("ab");
    CHECK(read(slave, buf, 10) == 2);
    close_pair();
}

static void a_closed_side_is_noticed(void)
{
    char buf[64];
    struct pollfd p;
    open_pair();
    CHECK(write(slave, "last", 4) == 4);
    close(slave);
    CHECK(read(master, buf, sizeof(buf)) == 4); /* what was written can be read */
    p = (struct pollfd){.fd = master, .events = POLLIN};
    CHECK(poll(&p, 1, 0) == 1 && (p.revents & POLLHUP));
    CHECK_ERRNO(read(master, buf, sizeof(buf)), EIO);
    close(master);
    open_pair();
    close(master);
    p = (struct pollfd){.fd = slave, .events = POLLIN};
    CHECK(poll(&p, 1, 0) == 1 && (p.revents & POLLHUP));
    CHECK(read(slave, buf, sizeof(buf)) == 0);
    CHECK_ERRNO(write(slave, "x", 1), EIO);
    close(slave);
}

static void nonblocking_sides_do_not_wait(void)
{
    char buf[64], block[4096] = "";
    open_pair();
    fcntl(master, F_SETFL, O_NONBLOCK);
    fcntl(slave, F_SETFL, O_NONBLOCK);
    CHECK_ERRNO(read(master, buf, sizeof(buf)), EAGAIN);
    CHECK_ERRNO(read(slave, buf, sizeof(buf)), EAGAIN);
    struct pollfd p = {.fd = slave, .events = POLLOUT};
    CHECK(poll(&p, 1, 0) == 1);
    int writes = 0;
    while (write(slave, block, sizeof(block)) > 0)
        CHECK(++writes < 1000);
    CHECK(errno == EAGAIN);
    while (read(master, block, sizeof(block)) > 0)
        ;
    CHECK(poll(&p, 1, 0) == 1 && write(slave, "x", 1) == 1);
    close_pair();
}

static void a_writer_waits_for_its_reader(void)
{
    char block[4096];
    open_pair();
    pid_t pid = fork();
    if (pid == 0) {
        struct termios t;
        tcgetattr(slave, &t);
        cfmakeraw(&t);
        tcsetattr(slave, TCSANOW, &t);
        memset(block, 'w', sizeof(block));
        for (int i = 0; i < 16; i++) {
            if (write(slave, block, sizeof(block)) != sizeof(block))
                _exit(1);
        }
        _exit(0);
    }
    size_t total = 0;
    while (total < 16 * sizeof(block)) {
        ssize_t n = read(master, block, sizeof(block));
        CHECK(n > 0 && block[0] == 'w');
        total += (size_t)n;
    }
    CHECK(child_status(pid) == 0);
    close_pair();
}

static volatile int winched;

static void on_winch(int signo)
{
    (void)signo;
    winched++;
}

/* Number and foreground group of our terminal, from /proc. */
static void stat_has_terminal(unsigned dev, int group)
{
    unsigned tty;
    int foreground;
    FILE *f = fopen("/proc/self/stat", "r");
    CHECK(f && fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %u %d", &tty, &foreground) == 2);
    fclose(f);
    CHECK(tty == dev && foreground == group);
}

static void session_with_tty(void)
{
    struct stat st;
    CHECK(setsid() == getpid());
    stat_has_terminal(0, -1);
    CHECK(ioctl(slave, TIOCSCTTY, 0) == 0 && ioctl(slave, TIOCSCTTY, 0) == 0);
    CHECK(fstat(slave, &st) == 0);
    stat_has_terminal((unsigned)st.st_rdev, getpid());
    CHECK(tcgetpgrp(slave) == getpid() && tcgetsid(slave) == getpid());
    int fd = open("/dev/tty", O_RDWR);
    CHECK(fd >= 0 && tcgetpgrp(fd) == getpid());
    pid_t group = -1;
    CHECK(ioctl(master, TIOCGPGRP, &group) == 0 && group == getpid());
    CHECK(ioctl(master, TIOCGSID, &group) == 0 && group == getpid());
    CHECK(ioctl(slave, TIOCNOTTY) == 0);
    signal(SIGHUP, SIG_IGN);
    CHECK_ERRNO(open("/dev/tty", O_RDWR), ENXIO);
    CHECK_ERRNO(tcgetpgrp(slave), ENOTTY);
    close(fd);
}

static void member_with_tty(void)
{
    CHECK_ERRNO(ioctl(slave, TIOCSCTTY, 0), EPERM); /* not a leader */
    CHECK_ERRNO(tcgetpgrp(slave), ENOTTY);
}

static short master_events(void)
{
    struct pollfd p = {.fd = master, .events = POLLIN | POLLPRI};
    CHECK(poll(&p, 1, 0) >= 0);
    return p.revents;
}

/* Types a key and waits until output goes on (or not): on Linux keys take a moment. */
static void key_starts(const char *key, bool on)
{
    struct pollfd p = {.fd = slave, .events = POLLOUT};
    type(key);
    for (int i = 0; i < 500 && poll(&p, 1, 0) != on; i++)
        usleep(10000);
    CHECK(poll(&p, 1, 0) == on);
}

static void output_is_stopped_by_keys_and_calls(void)
{
    char c;
    open_pair();
    CHECK(fcntl(slave, F_SETFL, O_NONBLOCK) == 0 && fcntl(master, F_SETFL, O_NONBLOCK) == 0);
    key_starts("\023", false); /* ^S */
    CHECK_ERRNO(write(slave, "x", 1), EAGAIN);
    key_starts("\021", true);
    CHECK(write(slave, "x", 1) == 1);
    expect("x");
    CHECK(tcflow(slave, TCOOFF) == 0);
    CHECK_ERRNO(write(slave, "y", 1), EAGAIN);
    CHECK(tcflow(slave, TCOON) == 0 && write(slave, "y", 1) == 1);
    expect("y");
    CHECK(tcflow(slave, TCIOFF) == 0);
    expect("\023");
    CHECK(tcflow(slave, TCION) == 0);
    expect("\021");
    CHECK_ERRNO(ioctl(slave, TCXONC, 4), EINVAL);
    type("lost\n");
    expect("lost");
    CHECK(tcflush(slave, TCIFLUSH) == 0);
    CHECK_ERRNO(read(slave, &c, 1), EAGAIN);
    CHECK_ERRNO(ioctl(slave, TCFLSH, 3), EINVAL);
    struct termios t;
    CHECK(tcgetattr(slave, &t) == 0);
    t.c_iflag &= ~IXON;
    CHECK(tcsetattr(slave, TCSANOW, &t) == 0);
    key_starts("\023", true);
    CHECK(write(slave, "x", 1) == 1);
    close_pair();
}

static void start_keys_wake_a_stopped_writer(void)
{
    open_pair();
    key_starts("\023", false);
    pid_t pid = fork();
    if (pid == 0)
        _exit(write(slave, "late", 4) == 4 ? 0 : 1);
    until_asleep(pid);
    CHECK(master_events() == 0);
    type("\021");
    expect("late");
    CHECK(child_status(pid) == 0);
    close_pair();
}

/* The next read of the master is this status, alone. */
static void status_is(int status)
{
    unsigned char buf[8];
    CHECK(master_events() == (POLLIN | POLLPRI));
    CHECK(read(master, buf, sizeof(buf)) == 1 && buf[0] == status);
}

static void packet_mode_tells_the_master(void)
{
    char buf[16];
    int on = 1, off = 0, is = -1;
    struct termios t;
    open_pair();
    CHECK(ioctl(master, TIOCPKT, &on) == 0 && ioctl(master, TIOCGPKT, &is) == 0 && is == 1);
    CHECK_ERRNO(ioctl(slave, TIOCPKT, &on), ENOTTY);
    CHECK(fcntl(master, F_SETFL, O_NONBLOCK) == 0);
    CHECK_ERRNO(read(master, buf, sizeof(buf)), EAGAIN);
    CHECK(write(slave, "data", 4) == 4 && master_events() == POLLIN);
    CHECK(read(master, buf, 3) == 3 && buf[0] == TIOCPKT_DATA && !memcmp(buf + 1, "da", 2));
    CHECK(read(master, buf, sizeof(buf)) == 3 && buf[0] == TIOCPKT_DATA && buf[1] == 't');

    CHECK(tcflow(slave, TCOOFF) == 0);
    status_is(TIOCPKT_STOP);
    CHECK(tcflow(slave, TCOON) == 0);
    status_is(TIOCPKT_START);
    CHECK(tcflush(slave, TCIFLUSH) == 0);
    status_is(TIOCPKT_FLUSHREAD);
    CHECK(tcflush(slave, TCIOFLUSH) == 0);
    status_is(TIOCPKT_FLUSHREAD | TIOCPKT_FLUSHWRITE);
    CHECK(tcgetattr(slave, &t) == 0 && t.c_iflag & IXON);
    t.c_iflag &= ~IXON;
    CHECK(tcsetattr(slave, TCSANOW, &t) == 0);
    status_is(TIOCPKT_NOSTOP);
    t.c_lflag &= ~ECHO;
    CHECK(tcsetattr(slave, TCSANOW, &t) == 0 && master_events() == 0); /* nothing that matters */
    t.c_iflag |= IXON;
    CHECK(tcsetattr(slave, TCSANOW, &t) == 0);
    CHECK(write(slave, "x", 1) == 1);
    status_is(TIOCPKT_DOSTOP); /* before what is written */
    CHECK(read(master, buf, sizeof(buf)) == 2 && buf[0] == TIOCPKT_DATA && buf[1] == 'x');

    CHECK(ioctl(master, TIOCPKT, &off) == 0 && write(slave, "x", 1) == 1);
    CHECK(read(master, buf, sizeof(buf)) == 1 && buf[0] == 'x');
    CHECK_ERRNO(ioctl(master, TIOCPKT, NULL), EFAULT);
    close_pair();
}

static void leaders_take_terminals(void)
{
    open_pair();
    CHECK(in_child(member_with_tty) == 0);
    signal(SIGHUP, SIG_IGN);
    CHECK(in_child(session_with_tty) == 0);
    signal(SIGHUP, SIG_DFL);
    close_pair();
}

static void opens_as_terminal(void)
{
    char name[64];
    CHECK(ptsname_r(master, name, sizeof(name)) == 0 && setsid() == getpid());
    close(slave);
    slave = open(name, O_RDWR | O_NOCTTY);
    CHECK_ERRNO(open("/dev/tty", O_RDWR), ENXIO);
    int fd = open(name, O_RDWR);
    CHECK(fd >= 0 && tcgetsid(fd) == getpid());
    CHECK((fcntl(slave, F_GETFL) & O_NOCTTY) == 0);
    CHECK(close(open("/dev/tty", O_RDWR)) == 0);
}

static void opening_takes_the_terminal(void)
{
    open_pair();
    CHECK(in_child(opens_as_terminal) == 0);
    close_pair();
}

static void size(void)
{
    struct winsize w = {.ws_row = 40, .ws_col = 100}, got;
    struct sigaction sa = {.sa_handler = on_winch};
    sigaction(SIGWINCH, &sa, NULL);
    CHECK(setsid() == getpid() && ioctl(slave, TIOCSCTTY, 0) == 0);
    CHECK(ioctl(master, TIOCSWINSZ, &w) == 0);
    CHECK(ioctl(slave, TIOCGWINSZ, &got) == 0 && got.ws_row == 40 && got.ws_col == 100);
    CHECK(winched == 1);
    CHECK(ioctl(master, TIOCSWINSZ, &w) == 0 && winched == 1); /* no change */
}

static void sizes_are_told(void)
{
    open_pair();
    CHECK(in_child(size) == 0);
    close_pair();
}

/* Starts fn in a session on the terminal. */
static pid_t on_terminal(void (*fn)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        close(master);
        if (login_tty(slave) == 0)
            fn();
        _exit(99);
    }
    close(slave);
    return pid;
}

static void wait_typed(void)
{
    printf("ready\n");
    fflush(stdout);
    for (;;)
        pause();
}

static void keys_send_signals(void)
{
    const struct {
        const char *key;
        int signo;
    } keys[] = {{"\x03", SIGINT}, {"\x1c", SIGQUIT}};
    for (int i = 0; i < 2; i++) {
        open_pair();
        pid_t pid = on_terminal(wait_typed);
        expect("ready");
        type(keys[i].key);
        int status = child_status(pid);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == keys[i].signo);
        close(master);
    }
}

static void closing_the_master_hangs_up(void)
{
    open_pair();
    pid_t pid = on_terminal(wait_typed);
    expect("ready");
    close(master);
    int status = child_status(pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP);
}

/* A shell in short: a background child reads and is stopped, then comes to the foreground. */
static void shell(void)
{
    int status;
    signal(SIGTTOU, SIG_IGN);
    pid_t job = fork();
    if (job == 0) {
        char c;
        signal(SIGTTOU, SIG_DFL);
        setpgid(0, 0);
        _exit(read(0, &c, 1) == 1 && c == 'j' ? 7 : 1);
    }
    setpgid(job, job);
    if (waitpid(job, &status, WUNTRACED) != job || !WIFSTOPPED(status) ||
        WSTOPSIG(status) != SIGTTIN)
        _exit(1);
    if (tcsetpgrp(0, job) || kill(-job, SIGCONT))
        _exit(2);
    printf("fg\n");
    fflush(stdout);
    if (waitpid(job, &status, WUNTRACED) != job || !WIFEXITED(status) || WEXITSTATUS(status) != 7)
        _exit(3);
    _exit(tcsetpgrp(0, getpid()) ? 4 : 0);
}

static void background_readers_stop(void)
{
    open_pair();
    pid_t pid = on_terminal(shell);
    expect("fg");
    type("j\n");
    CHECK(child_status(pid) == 0);
    close(master);
}

static void tostop(void)
{
    int status;
    struct termios t;
    tcgetattr(0, &t);
    t.c_lflag |= TOSTOP;
    tcsetattr(0, TCSANOW, &t);
    pid_t job = fork();
    if (job == 0) {
        setpgid(0, 0);
        _exit(write(1, "never", 5) == 5);
    }
    if (waitpid(job, &status, WUNTRACED) != job || !WIFSTOPPED(status) ||
        WSTOPSIG(status) != SIGTTOU)
        _exit(1);
    kill(job, SIGKILL);
    waitpid(job, &status, 0);
    job = fork();
    if (job == 0) { /* setting the terminal stops in any case */
        setpgid(0, 0);
        tcsetattr(0, TCSANOW, &t);
        _exit(0);
    }
    if (waitpid(job, &status, WUNTRACED) != job || !WIFSTOPPED(status))
        _exit(2);
    kill(job, SIGKILL);
    _exit(0);
}

static void background_writers_stop_if_told_so(void)
{
    open_pair();
    pid_t pid = on_terminal(tostop);
    CHECK(child_status(pid) == 0);
    close(master);
}

static void suspend_key(void)
{
    int status;
    pid_t job = fork();
    if (job == 0) {
        setpgid(0, 0);
        signal(SIGTTOU, SIG_IGN);
        tcsetpgrp(0, getpid());
        printf("running\n");
        fflush(stdout);
        pause();
    }
    if (waitpid(job, &status, WUNTRACED) != job || !WIFSTOPPED(status) ||
        WSTOPSIG(status) != SIGTSTP)
        _exit(1);
    kill(job, SIGKILL);
    _exit(0);
}

static void the_suspend_key_stops_the_foreground(void)
{
    open_pair();
    pid_t pid = on_terminal(suspend_key);
    expect("running");
    type("\x1a");
    CHECK(child_status(pid) == 0);
    close(master);
}

static void foreground_errors(void)
{
    signal(SIGTTOU, SIG_IGN);
    errno = 0;
    if (tcsetpgrp(0, 99999) != -1 || errno != ESRCH)
        _exit(1);
    if (tcsetpgrp(0, getppid()) != -1 || errno != EPERM)
        _exit(2);
    if (ioctl(0, TIOCSPGRP, &(pid_t){-1}) != -1 || errno != EINVAL)
        _exit(3);
    _exit(0);
}

static void foreground_groups_are_checked(void)
{
    open_pair();
    pid_t pid = on_terminal(foreground_errors);
    CHECK(child_status(pid) == 0);
    close(master);
}

static void leader_leaves(void)
{
    if (fork() == 0) { /* in the foreground group */
        printf("waiting\n");
        fflush(stdout);
        pause();
    }
    sleep_ms(100);
    _exit(0);
}

static void a_leaders_end_hangs_up_the_foreground(void)
{
    char buf[64];
    open_pair();
    pid_t pid = on_terminal(leader_leaves);
    expect("waiting");
    CHECK(child_status(pid) == 0);
    ssize_t n;
    while ((n = read(master, buf, sizeof(buf))) > 0)
        ;
    CHECK(n == -1 && errno == EIO); /* the other one is gone, too */
    close(master);
}

static void requests_are_checked(void)
{
    int n;
    open_pair();
    CHECK_ERRNO(ioctl(slave, TIOCGPTN, &n), ENOTTY);
    CHECK_ERRNO(ioctl(slave, 0x54ff, &n), ENOTTY);
    CHECK_ERRNO(ioctl(master, TIOCGPTN, 8), EFAULT);
    CHECK_ERRNO(tcflush(slave, 9), EINVAL);
    type("unread\n");
    CHECK(poll(&(struct pollfd){.fd = slave, .events = POLLIN}, 1, 5000) == 1);
    CHECK(ioctl(slave, FIONREAD, &n) == 0 && n == 7);
    CHECK(tcflush(slave, TCIFLUSH) == 0 && ioctl(slave, FIONREAD, &n) == 0 && n == 0);
    CHECK_ERRNO(lseek(slave, 0, SEEK_SET), ESPIPE);
    int peer = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
    CHECK(peer >= 0 && isatty(peer));
    close(peer);
    close_pair();
}

int main(void)
{
    CASE(ptmx_gives_a_name);
    CASE(numbers_are_used_again);
    CASE(text_goes_both_ways);
    CASE(lines_are_edited);
    CASE(raw_mode_passes_everything);
    CASE(the_old_form_of_settings);
    CASE(vmin_and_vtime);
    CASE(a_closed_side_is_noticed);
    CASE(nonblocking_sides_do_not_wait);
    CASE(a_writer_waits_for_its_reader);
    CASE(output_is_stopped_by_keys_and_calls);
    CASE(start_keys_wake_a_stopped_writer);
    CASE(packet_mode_tells_the_master);
    CASE(leaders_take_terminals);
    CASE(opening_takes_the_terminal);
    CASE(sizes_are_told);
    CASE(keys_send_signals);
    CASE(closing_the_master_hangs_up);
    CASE(background_readers_stop);
    CASE(background_writers_stop_if_told_so);
    CASE(the_suspend_key_stops_the_foreground);
    CASE(foreground_groups_are_checked);
    CASE(a_leaders_end_hangs_up_the_foreground);
    CASE(requests_are_checked);
    return check_result();
}
