/* The control channel: frame codec, sessions and their flow control, a hostile domain. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/domain.h"

/* ---- frames ---- */

static void frames_round_trip(void **state)
{
    struct buf b = {0};
    struct frame f;
    uint32_t v;

    (void)state;
    frame_put(&b, CTL_OUT, 7, "hello", 5);
    frame_put(&b, CTL_IN, 8, NULL, 0);
    frame_put_u32(&b, CTL_CREDIT, 9, 1234);
    assert_int_equal(frame_next(&b, &f), 1);
    assert_int_equal(f.type, CTL_OUT);
    assert_int_equal(f.session, 7);
    assert_memory_equal(f.payload, "hello", 5);
    assert_int_equal(frame_u32(&f, &v), -EPROTO);
    assert_int_equal(frame_next(&b, &f), 1);
    assert_int_equal(f.length, 0);
    assert_int_equal(frame_next(&b, &f), 1);
    assert_int_equal(frame_u32(&f, &v), 0);
    assert_int_equal(v, 1234);
    assert_int_equal(frame_next(&b, &f), 0);
    buf_free(&b);
}

static void frames_arrive_in_pieces(void **state)
{
    struct buf whole = {0}, b = {0};
    struct frame f;

    (void)state;
    frame_put(&whole, CTL_ERR, 1, "abc", 3);
    for (size_t i = 0; i < whole.len - 1; i++) {
        buf_append(&b, whole.data + i, 1);
        assert_int_equal(frame_next(&b, &f), 0);
    }
    buf_append(&b, whole.data + whole.len - 1, 1);
    assert_int_equal(frame_next(&b, &f), 1);
    buf_free(&whole);
    buf_free(&b);
}

static void frame_too_long_is_an_error(void **state)
{
    struct ctl_header h = {.length = CTL_MAX_PAYLOAD + 1, .type = CTL_OUT};
    struct buf b = {0};
    struct frame f;

    (void)state;
    buf_append(&b, &h, sizeof(h));
    assert_int_equal(frame_next(&b, &f), -EPROTO);
    buf_free(&b);
}

static void exec_frame_has_its_strings(void **state)
{
    struct strv argv = {0}, env = {0};
    struct buf b = {0};
    struct frame f;
    struct ctl_exec head;

    (void)state;
    strv_addf(&argv, "prog");
    strv_addf(&argv, "two words");
    strv_addf(&env, "A=1");
    struct exec_spec spec = {.flags = CTL_EXEC_STDIN,
                             .cwd = "/",
                             .user = "",
                             .program = "/bin/prog",
                             .argv = &argv,
                             .env = &env};
    assert_int_equal(frame_put_exec(&b, 1, &spec), 0);
    assert_int_equal(frame_next(&b, &f), 1);
    memcpy(&head, f.payload, sizeof(head));
    assert_int_equal(head.argc, 2);
    assert_int_equal(head.envc, 1);
    static const char strings[] = "/\0\0/bin/prog\0prog\0two words\0A=1";
    assert_int_equal(f.length, sizeof(head) + sizeof(strings));
    assert_memory_equal(f.payload + sizeof(head), strings, sizeof(strings));
    char *huge = xmalloc(CTL_MAX_PAYLOAD + 1);
    memset(huge, 'x', CTL_MAX_PAYLOAD);
    huge[CTL_MAX_PAYLOAD] = 0;
    strv_add(&argv, huge);
    assert_int_equal(frame_put_exec(&b, 1, &spec), -E2BIG);
    strv_free(&argv);
    strv_free(&env);
    buf_free(&b);
}

/* ---- a domain whose machine is this test ---- */

struct fixture {
    struct loop loop;
    struct domain d;
    int peer;
    struct buf from_supervisor;
    char output[200000];
    size_t output_len;
    uint32_t in_credit;
    struct ctl_exit exit;
    int started, exited, events[8];
};

static void on_event(struct domain *d, enum domain_event what, const void *data)
{
    struct fixture *x = d->arg;

    (void)data;
    x->events[what]++;
}

static void started(struct session *s, uint32_t pid)
{
    struct fixture *x = s->arg;

    (void)pid;
    x->started++;
}

static void output(struct session *s, uint16_t type, const void *data, size_t n)
{
    struct fixture *x = s->arg;

    (void)type;
    memcpy(x->output + x->output_len, data, n);
    x->output_len += n;
}

static void in_credit(struct session *s, uint32_t n)
{
    ((struct fixture *)s->arg)->in_credit += n;
}

static void exited(struct session *s, const struct ctl_exit *e)
{
    struct fixture *x = s->arg;

    x->exited++;
    x->exit = *e;
}

static const struct session_listener listener = {
    .started = started, .output = output, .in_credit = in_credit, .exited = exited};

static void begin(struct domain *d)
{
    struct strv none = {0};
    struct exec_spec spec = {.cwd = "/", .user = "", .program = "p", .argv = &none, .env = &none};

    assert_int_equal(control_begin(d, &spec), 0);
}

static int setup(void **state)
{
    struct fixture *x = xcalloc(1, sizeof(*x));
    struct domain *d = &x->d;
    int fd[2];

    assert_int_equal(loop_init(&x->loop), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    x->peer = fd[1];
    d->loop = &x->loop;
    d->name = xstrdup("test");
    d->event = on_event;
    d->arg = x;
    d->next_session = 2;
    d->output_log.fd = d->kernel_log.fd = -1;
    d->nic = -1;
    d->qmp.watch.fd = d->console.watch.fd = d->qmp.memfd = d->console.memfd = -1;
    assert_int_equal(
        stream_open(&d->control, &x->loop, fd[0], &domain_control_sizes, control_ready), 0);
    begin(d);
    d->sessions = xcalloc(1, sizeof(*d->sessions));
    *d->sessions = (struct session){
        .id = 1, .in_credit = CTL_WINDOW, .domain = d, .listener = &listener, .arg = x};
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *x = *state;

    loop_timer_stop(&x->loop, &x->d.deadline);
    session_free_all(&x->d);
    stream_close(&x->d.control);
    close(x->peer);
    loop_close(&x->loop);
    buf_free(&x->from_supervisor);
    free(x->d.name);
    free(x->d.reason);
    free(x);
    return 0;
}

/* Sends a frame as the domain. */
static void say(struct fixture *x, uint16_t type, uint16_t session, const void *p, size_t n)
{
    struct buf b = {0};

    frame_put(&b, type, session, p, n);
    assert_int_equal(write_all(x->peer, b.data, b.len), 0);
    buf_free(&b);
    loop_once(&x->loop, 0);
}

static void say_u32(struct fixture *x, uint16_t type, uint16_t session, uint32_t v)
{
    say(x, type, session, &v, sizeof(v));
}

/* The next frame the supervisor sent; type 0 if there is none. */
static struct frame hear(struct fixture *x)
{
    struct frame f = {0};
    struct buf *b = &x->from_supervisor;
    ssize_t n = recv(x->peer, buf_reserve(b, 100000), 100000, 0);

    if (n > 0)
        b->len += (size_t)n;
    if (frame_next(b, &f) != 1)
        f.type = 0;
    return f;
}

static void hello(struct fixture *x)
{
    struct ctl_hello h = {.version = CTL_VERSION, .cpus = 1};

    say(x, CTL_HELLO, 0, &h, sizeof(h));
}

static void hello_brings_welcome_and_program(void **state)
{
    struct fixture *x = *state;

    session_input(x->d.sessions, "early", 5); /* must not overtake EXEC */
    hello(x);
    assert_int_equal(x->events[DOMAIN_EV_BOOTED], 1);
    struct frame f = hear(x);
    assert_int_equal(f.type, CTL_WELCOME);
    assert_int_equal(f.length, sizeof(struct ctl_welcome));
    assert_int_equal(hear(x).type, CTL_EXEC);
    assert_int_equal(hear(x).type, CTL_IN);
    say_u32(x, CTL_STARTED, 1, 42);
    assert_int_equal(x->started, 1);
    assert_int_equal(x->d.state, DOMAIN_RUNNING);
}

static void output_and_exit(void **state)
{
    struct fixture *x = *state;
    struct ctl_exit e = {.kind = CTL_EXIT_SIGNAL, .value = 9};

    hello(x);
    say(x, CTL_OUT, 1, "out", 3);
    say(x, CTL_ERR, 1, "err", 3);
    assert_memory_equal(x->output, "outerr", 6);
    assert_int_equal(x->d.sessions->out_unread, 6);
    assert_int_equal(session_consumed(x->d.sessions, 7), -EPROTO);
    assert_int_equal(session_consumed(x->d.sessions, 6), 0);
    while (hear(x).type != CTL_CREDIT)
        ;
    say(x, CTL_EXIT, 1, &e, sizeof(e));
    assert_int_equal(x->exited, 1);
    assert_int_equal(exit_status(&x->exit), 137);
    assert_null(x->d.sessions);
    say(x, CTL_OUT, 1, "late", 4); /* for a session that is gone: dropped */
    assert_false(x->d.killed);
}

static void output_beyond_the_window_ends_the_domain(void **state)
{
    struct fixture *x = *state;
    static char data[CTL_MAX_PAYLOAD];

    hello(x);
    say(x, CTL_OUT, 1, data, sizeof(data));
    assert_false(x->d.killed);
    say(x, CTL_OUT, 1, "x", 1);
    assert_true(x->d.killed);
    assert_non_null(x->d.reason);
}

static void input_is_limited_by_credit(void **state)
{
    struct fixture *x = *state;
    static char data[CTL_WINDOW + 1];

    hello(x);
    assert_int_equal(session_input(x->d.sessions, data, CTL_WINDOW + 1), -EPROTO);
    assert_int_equal(session_input(x->d.sessions, data, CTL_WINDOW), 0);
    assert_int_equal(session_input(x->d.sessions, data, 1), -EPROTO);
    say_u32(x, CTL_CREDIT, 1, 10);
    assert_int_equal(x->in_credit, 10);
    assert_int_equal(session_input(x->d.sessions, data, 10), 0);
    say_u32(x, CTL_CREDIT, 1, CTL_WINDOW + 1); /* more than was ever used */
    assert_true(x->d.killed);
}

static void a_detached_session_is_read_for_ever(void **state)
{
    struct fixture *x = *state;
    static char data[CTL_MAX_PAYLOAD];

    hello(x);
    say(x, CTL_OUT, 1, data, sizeof(data));
    session_detach(x->d.sessions);
    for (int i = 0; i < 4; i++) {
        say(x, CTL_OUT, 1, data, sizeof(data));
        while (hear(x).type)
            ;
    }
    assert_false(x->d.killed);
}

static void further_programs_get_sessions(void **state)
{
    struct fixture *x = *state;
    struct strv argv = {0}, env = {0};
    struct exec_spec spec = {.cwd = "/", .user = "", .program = "p", .argv = &argv, .env = &env};
    int err;

    assert_null(domain_exec(&x->d, &spec, &listener, x, NULL, &err));
    assert_int_equal(err, -ENOTCONN);
    hello(x);
    struct session *s = domain_exec(&x->d, &spec, &listener, x, NULL, &err);
    assert_non_null(s);
    assert_int_equal(s->id, 2);
    s = domain_exec(&x->d, &spec, &listener, x, NULL, &err);
    assert_int_equal(s->id, 3);
    while (hear(x).session != 3)
        ;
    struct ctl_exit e = {.kind = CTL_EXIT_EXEC, .value = ENOENT};
    say(x, CTL_EXIT, 3, &e, sizeof(e));
    assert_int_equal(exit_status(&x->exit), STATUS_NOTFOUND);
    assert_false(x->d.has_exit);
}

/* Frames that break the rules, each to a fresh domain; all must end it and none may crash us. */
static void rule_breakers(void **state)
{
    static const struct {
        bool after_hello;
        uint16_t type, session;
        uint32_t n;
    } bad[] = {
        {false, CTL_OUT, 1, 3},     {false, CTL_HELLO, 0, 5}, {true, CTL_HELLO, 0, 24},
        {true, CTL_STARTED, 1, 3},  {true, CTL_EXIT, 1, 7},   {true, CTL_EXIT, 1, 0},
        {true, CTL_LISTEN, 0, 5},   {true, CTL_CREDIT, 1, 2}, {true, CTL_CLAIM, 0, 15},
        {true, CTL_SWITCHED, 0, 8}, {true, CTL_PATH, 0, 7},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        void *p;
        uint8_t junk[64];
        memset(junk, 0xee, sizeof(junk));
        setup(&p);
        struct fixture *x = p;
        if (bad[i].after_hello)
            hello(x);
        say(x, bad[i].type, bad[i].session, junk, bad[i].n);
        assert_true(x->d.killed);
        teardown(&p);
    }
}

static void unknown_frames_are_dropped(void **state)
{
    struct fixture *x = *state;

    hello(x);
    say(x, 999, 1, "x", 1);
    say(x, CTL_OUT, 77, "x", 1);
    say(x, CTL_STATS, 0, "{\"a\":1}", 7);
    assert_int_equal(x->events[DOMAIN_EV_STATS], 1);
    assert_false(x->d.killed);
}

static void another_version_is_refused(void **state)
{
    struct fixture *x = *state;
    struct ctl_hello h = {.version = CTL_VERSION + 1};

    say(x, CTL_HELLO, 0, &h, sizeof(h));
    assert_true(x->d.killed);
    assert_non_null(strstr(x->d.reason, "version"));
}

static void qmp_tells_why(void **state)
{
    struct fixture *x = *state;
    static const char *const lines[] = {
        "{\"event\":\"GUEST_PANICKED\"}",
        "not json",
        "{}",
        "[1]",
        "{\"event\":7}",
        "{\"event\":\"SHUTDOWN\",\"data\":{\"reason\":\"guest-reset\"}}"};

    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        qmp_line(&x->d, lines[i], strlen(lines[i]));
    assert_true(x->d.panicked);
    assert_non_null(strstr(x->d.reason, "reset"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_round_trip),
        cmocka_unit_test(frames_arrive_in_pieces),
        cmocka_unit_test(frame_too_long_is_an_error),
        cmocka_unit_test(exec_frame_has_its_strings),
        T(hello_brings_welcome_and_program),
        T(output_and_exit),
        T(output_beyond_the_window_ends_the_domain),
        T(input_is_limited_by_credit),
        T(a_detached_session_is_read_for_ever),
        T(further_programs_get_sessions),
        cmocka_unit_test(rule_breakers),
        T(unknown_frames_are_dropped),
        T(another_version_is_refused),
        T(qmp_tells_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
