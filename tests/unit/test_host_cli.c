/* Option values, QEMU's command line and version, names, the event loop, log files. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/cli.h"
#include "host/client.h"
#include "host/logfile.h"
#include "host/qemu.h"

static void ports(void **state)
{
    struct vnet_forward f;
    static const char *const bad[] = {"",      "80",         "80:",      ":80",         "0:80",
                                      "a:b",   "80:80/sctp", "80:65536", "1.2.3:80:80", "80:80/",
                                      "-1:80", "[::1:80:80", "80 :80",   "1.2.3.4::80"};

    (void)state;
    assert_int_equal(parse_port("8080:80", &f), 0);
    assert_string_equal(f.host_ip, "127.0.0.1");
    assert_int_equal(f.host_port, 8080);
    assert_int_equal(f.guest_port, 80);
    assert_false(f.udp);
    assert_int_equal(parse_port("0.0.0.0:53:5353/udp", &f), 0);
    assert_string_equal(f.host_ip, "0.0.0.0");
    assert_true(f.udp);
    assert_int_equal(parse_port("[::1]:1:2/tcp", &f), 0);
    assert_string_equal(f.host_ip, "::1");
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(parse_port(bad[i], &f), -EINVAL);
}

static void memory(void **state)
{
    static const char *const bad[] = {"", "0", "M", "12X", "-1", "1.5G", "99999999999G", "2000000"};
    unsigned m;

    (void)state;
    assert_int_equal(parse_memory("64", &m), 0);
    assert_int_equal(m, 64);
    assert_int_equal(parse_memory("64M", &m), 0);
    assert_int_equal(m, 64);
    assert_int_equal(parse_memory("2g", &m), 0);
    assert_int_equal(m, 2048);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(parse_memory(bad[i], &m), -EINVAL);
}

static void addresses(void **state)
{
    static const char *const good[] = {"10.1.0.5/24", "10.1.0.5/24,gw=10.1.0.1,dns=9.9.9.9",
                                       "fd00::5/64,gw6=fd00::1", "10.1.0.5/24,fd00::5/64"};
    static const char *const bad[] = {"",
                                      "10.1.0.5",
                                      "10.1.0.5/33",
                                      "gw=10.1.0.1",
                                      "10.1.0.5/24,gw=x",
                                      "10.1.0.5/24 control=0",
                                      "10.1.0.5/24,gw=10.1.0.1/8",
                                      "300.1.0.5/24"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        assert_int_equal(check_ip(good[i]), 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(check_ip(bad[i]), -EINVAL);
}

static void volumes(void **state)
{
    static const char *const bad[] = {
        "",          "/tmp",      "/tmp:",   "/tmp:data",         ":/data", "/no/such:/data",
        "/tmp:/a,b", "/tmp:/a b", "/tmp:ro", "/etc/passwd:/data", "/tmp:/"};
    struct qemu_volume v;

    (void)state;
    assert_int_equal(parse_volume("/tmp/..//tmp:/data", &v), 0);
    assert_string_equal(v.host, "/tmp");
    assert_string_equal(v.guest, "/data");
    assert_false(v.read_only);
    free(v.host);
    free(v.guest);
    assert_int_equal(parse_volume("/tmp:/data/:ro", &v), 0);
    assert_string_equal(v.guest, "/data");
    assert_true(v.read_only);
    free(v.host);
    free(v.guest);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(parse_volume(bad[i], &v), -EINVAL);
}

static void environment(void **state)
{
    struct strv env = {0};

    (void)state;
    default_env(&env, false);
    size_t n = env.n;
    assert_int_equal(add_env(&env, "HOME=/home"), 0); /* replaces */
    assert_int_equal(env.n, n);
    assert_true(strv_has(&env, "HOME=/home"));
    setenv("TEST_HOST_CLI", "x", 1);
    unsetenv("TEST_HOST_NONE");
    assert_int_equal(add_env(&env, "TEST_HOST_CLI"), 0);
    assert_true(strv_has(&env, "TEST_HOST_CLI=x"));
    assert_int_equal(add_env(&env, "TEST_HOST_NONE"), 0);
    assert_int_equal(env.n, n + 1);
    assert_int_equal(add_env(&env, "=x"), -EINVAL);
    strv_free(&env);
}

static void signals(void **state)
{
    (void)state;
    assert_int_equal(parse_signal("HUP"), SIGHUP);
    assert_int_equal(parse_signal("sigusr1"), SIGUSR1);
    assert_int_equal(parse_signal("15"), 15);
    assert_int_equal(parse_signal("0"), -EINVAL);
    assert_int_equal(parse_signal("NOSUCH"), -EINVAL);
}

static void names(void **state)
{
    char name[65];

    (void)state;
    assert_true(name_is_valid("nginx"));
    assert_true(name_is_valid("a.b_c-9"));
    assert_false(name_is_valid(""));
    assert_false(name_is_valid("-x"));
    assert_false(name_is_valid("a/b"));
    assert_false(name_is_valid("a b"));
    assert_false(name_is_valid(".."));
    memset(name, 'a', 64);
    name[64] = 0;
    assert_false(name_is_valid(name));
}

static void qemu_versions(void **state)
{
    unsigned major, minor;

    (void)state;
    assert_int_equal(qemu_parse_version("QEMU emulator version 7.2.22 (Debian)\n", &major, &minor),
                     0);
    assert_int_equal(major, 7);
    assert_int_equal(minor, 2);
    assert_int_equal(qemu_parse_version("something else", &major, &minor), -EINVAL);
}

static bool follows(const struct strv *argv, const char *option, const char *part)
{
    for (size_t i = 0; i + 1 < argv->n; i++)
        if (!strcmp(argv->v[i], option) && strstr(argv->v[i + 1], part))
            return true;
    return false;
}

static void qemu_command_line(void **state)
{
    struct qemu_volume v = {.host = (char *)"/srv", .guest = (char *)"/data", .read_only = true};
    const uint8_t mac[6] = {2, 3, 4, 5, 6, 7};
    struct qemu_config c = {.binary = "qemu",
                            .kernel = "/k",
                            .image = "/i",
                            .name = "web",
                            .accel = "tcg",
                            .memory_mib = 64,
                            .cpus = 2,
                            .loglevel = "warn",
                            .net0 = "dhcp",
                            .mac = mac,
                            .volumes = &v,
                            .volume_count = 1,
                            .control_fd = 10,
                            .qmp_fd = 11,
                            .console_fd = 12,
                            .net_fd = 13};
    struct strv argv = {0};

    (void)state;
    qemu_command(&c, &argv);
    assert_string_equal(argv.v[0], "qemu");
    assert_true(follows(&argv, "-accel", "tcg,thread=multi"));
    assert_true(follows(&argv, "-m", "64"));
    assert_true(follows(&argv, "-sandbox", "spawn=deny"));
    assert_true(follows(&argv, "-netdev", "addr.str=13"));
    assert_true(follows(&argv, "-device", "mac=02:03:04:05:06:07"));
    assert_true(follows(&argv, "-device", "host_mtu=65520"));
    assert_true(follows(&argv, "-append", "hostname=web"));
    assert_true(follows(&argv, "-append", "net0=dhcp"));
    assert_true(follows(&argv, "-append", "volumes=volume0:/data"));
    strv_free(&argv);
    c.accel = "kvm";
    c.net_fd = -1;
    qemu_command(&c, &argv);
    assert_true(follows(&argv, "-cpu", "host"));
    assert_false(follows(&argv, "-device", "virtio-net"));
    strv_free(&argv);
    assert_null(qemu_choose_accel("hvf"));
    assert_string_equal(qemu_choose_accel("tcg"), "tcg");
}

static void logs_are_bounded(void **state)
{
    char path[] = "/tmp/librettos-log-XXXXXX";
    struct logfile l;
    static char block[65536];

    (void)state;
    close(mkstemp(path));
    memset(block, 'x', sizeof(block));
    assert_int_equal(logfile_open(&l, path, false), 0);
    for (size_t n = 0; n < LOGFILE_MAX + sizeof(block); n += sizeof(block))
        logfile_write(&l, block, sizeof(block));
    logfile_write(&l, "the end", 7);
    assert_true(l.size < LOGFILE_MAX);
    char *tail = logfile_tail(path, 7);
    assert_string_equal(tail, "the end");
    free(tail);
    tail = logfile_tail("/no/such/file", 7);
    assert_string_equal(tail, "");
    free(tail);
    logfile_close(&l);
    char *old = xasprintf("%s.1", path);
    assert_int_equal(unlink(old), 0);
    unlink(path);
    free(old);
}

/* ---- the event loop ---- */

struct pipe_watch {
    struct watch w;
    struct loop *loop;
    struct pipe_watch *victim;
    int calls;
};

static void remove_victim(struct watch *w, uint32_t events)
{
    struct pipe_watch *p = (struct pipe_watch *)w;

    (void)events;
    p->calls++;
    loop_del(p->loop, &p->victim->w);
}

static int fired[3], fire_count;
static void fire_a(struct timer *t)
{
    (void)t, fired[fire_count++] = 'a';
}
static void fire_b(struct timer *t)
{
    (void)t, fired[fire_count++] = 'b';
}

static void loop_watches_and_timers(void **state)
{
    struct loop l;
    struct pipe_watch p[2];
    struct timer a = {.fire = fire_a}, b = {.fire = fire_b}, never = {.fire = fire_a};
    int fd[2][2];

    (void)state;
    assert_int_equal(loop_init(&l), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pipe(fd[i]), 0);
        p[i] = (struct pipe_watch){.w = {.fd = fd[i][0], .events = EPOLLIN, .ready = remove_victim},
                                   .loop = &l};
        p[i].victim = &p[1 - i];
        assert_int_equal(loop_add(&l, &p[i].w), 0);
        assert_int_equal(write(fd[i][1], "x", 1), 1);
    }
    loop_once(&l,
              0); /* whichever comes first removes the other, whose event must not be delivered */
    assert_int_equal(p[0].calls + p[1].calls, 1);
    loop_timer(&l, &a, 1);
    loop_timer(&l, &b, 0);
    loop_timer(&l, &never, 0);
    loop_timer_stop(&l, &never);
    for (uint64_t until = now_ns() + 2000000000u; fire_count < 2 && now_ns() < until;)
        loop_once(&l, 5);
    assert_int_equal(fire_count, 2);
    assert_int_equal(fired[0], 'b');
    for (int i = 0; i < 2; i++) {
        close(fd[i][0]);
        close(fd[i][1]);
    }
    loop_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ports),
        cmocka_unit_test(memory),
        cmocka_unit_test(addresses),
        cmocka_unit_test(volumes),
        cmocka_unit_test(environment),
        cmocka_unit_test(signals),
        cmocka_unit_test(names),
        cmocka_unit_test(qemu_versions),
        cmocka_unit_test(qemu_command_line),
        cmocka_unit_test(logs_are_bounded),
        cmocka_unit_test(loop_watches_and_timers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
