/* Channels on the host's side, against a client that reads what a QEMU reads. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/ivshmem.h"

/* Reads one message; its descriptor or -1 in *fd. False at the end. */
static bool message(int sock, int64_t *number, int *fd)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {number, sizeof(*number)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);

    *fd = -1;
    if (n == 0)
        return false;
    assert_int_equal(n, sizeof(*number));
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c && c->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(c), sizeof(*fd));
    return true;
}

/* What a domain has of a channel. */
struct client {
    int64_t id;
    uint8_t *mem;
    size_t size;
    int events[CHANNEL_ROLES][CHANNEL_QUEUES_MAX];
};

static struct client join(const struct ivshmem *s, enum channel_role role)
{
    int keep, sock = ivshmem_connect(s, role, &keep), fd;
    struct client c = {0};
    unsigned seen[CHANNEL_ROLES] = {0};
    int64_t number;
    struct stat st;

    assert_true(sock >= 0);
    assert_true(fcntl(sock, F_GETFD) & FD_CLOEXEC && fcntl(keep, F_GETFD) & FD_CLOEXEC);
    assert_true(message(sock, &number, &fd));
    assert_true(number == 0 && fd < 0);
    assert_true(message(sock, &c.id, &fd));
    assert_true(fd < 0);
    assert_true(message(sock, &number, &fd));
    assert_true(number == -1 && fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    c.size = (size_t)st.st_size;
    c.mem = mmap(NULL, c.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(c.mem, MAP_FAILED);
    assert_int_equal(ftruncate(fd, 4096), -1); /* sealed */
    assert_int_equal(ftruncate(fd, (off_t)c.size * 2), -1);
    close(fd);
    int64_t last = -1;
    close(keep);
    while (message(sock, &number, &fd)) {
        assert_true(fd >= 0);
        assert_int_equal(CHANNEL_PEER_SLOT(number), s->slot);
        unsigned of = CHANNEL_PEER_ROLE(number);
        assert_true(of < CHANNEL_ROLES && seen[of] < s->queues);
        c.events[of][seen[of]++] = fd;
        last = number;
    }
    for (unsigned i = 0; i < CHANNEL_ROLES; i++)
        assert_int_equal(seen[i], s->queues);
    assert_int_equal(last, c.id); /* our own come last: QEMU is then ready */
    close(sock);
    return c;
}

static void leave(struct client *c, const struct ivshmem *s)
{
    munmap(c->mem, c->size);
    for (unsigned role = 0; role < CHANNEL_ROLES; role++)
        for (unsigned q = 0; q < s->queues; q++)
            close(c->events[role][q]);
}

static bool rung(int fd)
{
    uint64_t n;

    return read(fd, &n, sizeof(n)) == sizeof(n);
}

static void domains_share_memory_and_doorbells(void **state)
{
    struct ivshmem s;
    uint64_t one = 1;

    (void)state;
    assert_int_equal(ivshmem_create(&s, 7, 2, 256), 0);
    struct client app = join(&s, CHANNEL_APP), server = join(&s, CHANNEL_SERVER);
    assert_int_equal(app.id, CHANNEL_PEER(7, CHANNEL_APP));
    assert_int_equal(server.id, CHANNEL_PEER(7, CHANNEL_SERVER));
    assert_int_equal(app.size, CHANNEL_SIZE_DEFAULT);
    app.mem[5000] = 42;
    assert_int_equal(server.mem[5000], 42);
    const struct channel_control *c = (void *)server.mem;
    assert_true(c->magic == CHANNEL_MAGIC && c->queues == 2 && c->size == app.size);

    assert_int_equal(write(app.events[CHANNEL_SERVER][1], &one, 8), 8);
    assert_false(rung(server.events[CHANNEL_SERVER][0]));
    assert_true(rung(server.events[CHANNEL_SERVER][1]));
    ivshmem_ring(&s, CHANNEL_APP, 0);
    assert_true(rung(app.events[CHANNEL_APP][0]));
    ivshmem_ring(&s, CHANNEL_APP, 99);

    /* A new server takes the place over: the application's doorbells reach it. */
    leave(&server, &s);
    server = join(&s, CHANNEL_SERVER);
    assert_int_equal(write(app.events[CHANNEL_SERVER][0], &one, 8), 8);
    assert_true(rung(server.events[CHANNEL_SERVER][0]));
    leave(&server, &s);
    leave(&app, &s);
    ivshmem_destroy(&s);
}

static void grants_and_pings(void **state)
{
    struct channel_grants g = {.mtu = 1500, .mode = CHANNEL_SHARED, .sequence = 77};
    struct ivshmem s;

    (void)state;
    assert_int_equal(ivshmem_create(&s, 0, 1, 256), 0);
    struct client app = join(&s, CHANNEL_APP);
    struct channel_control *c = (void *)app.mem;
    struct channel_side *side = (void *)(app.mem + 2 * CHANNEL_PAGE);
    ivshmem_grant(&s, &g);
    assert_int_equal(c->grants.sequence, 2);
    assert_int_equal(c->grants.mtu, 1500);
    c->grants.sequence = 12345; /* a guest's scribble does not confuse us */
    g.mtu = 9000;
    ivshmem_grant(&s, &g);
    assert_int_equal(c->grants.sequence, 4);
    ivshmem_ping(&s);
    assert_true(rung(app.events[CHANNEL_APP][0]));
    assert_false(ivshmem_answered(&s, CHANNEL_APP));
    side->pong = c->ping;
    assert_true(ivshmem_answered(&s, CHANNEL_APP));
    assert_false(ivshmem_answered(&s, CHANNEL_SERVER));
    leave(&app, &s);
    ivshmem_destroy(&s);
}

static void a_cleared_channel_tells_nothing(void **state)
{
    struct ivshmem s;

    (void)state;
    assert_int_equal(ivshmem_create(&s, 1, 1, 256), 0);
    struct client app = join(&s, CHANNEL_APP), server = join(&s, CHANNEL_SERVER);
    memset(app.mem, 0x55, app.size);
    ivshmem_ring(&s, CHANNEL_SERVER, 0);
    assert_int_equal(ivshmem_clear(&s, 1), 0);
    const struct channel_control *c = (void *)server.mem;
    assert_true(c->magic == CHANNEL_MAGIC && c->slots == 256 && c->grants.sequence == 0);
    for (size_t i = CHANNEL_PAGE; i < server.size; i++)
        assert_int_equal(server.mem[i], 0);
    assert_false(rung(server.events[CHANNEL_SERVER][0]));
    struct stat st;
    assert_int_equal(fstat(s.memfd, &st), 0);
    assert_true(st.st_blocks * 512 <= (long)server.size); /* the reads above may have filled it */
    leave(&app, &s);
    leave(&server, &s);
    ivshmem_destroy(&s);
}

static void sizes(void **state)
{
    struct ivshmem s;

    (void)state;
    assert_int_equal(ivshmem_create(&s, 0, 16, 256), 0);
    assert_int_equal(s.size, 4u << 20);
    struct client c = join(&s, CHANNEL_STANDBY); /* the most messages there are: all fit */
    leave(&c, &s);
    ivshmem_destroy(&s);
    assert_int_equal(ivshmem_create(&s, 0, 17, 256), -EINVAL);
    assert_int_equal(ivshmem_create(&s, 0, 1, 255), -EINVAL);
    assert_int_equal(ivshmem_create(&s, 0x10000, 1, 256), -EINVAL);
}

static int descriptors(void)
{
    int n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void nothing_leaks(void **state)
{
    int before = descriptors();
    struct ivshmem s;

    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(ivshmem_create(&s, i, 4, 256), 0);
        struct client c = join(&s, CHANNEL_APP);
        leave(&c, &s);
        int keep, unused = ivshmem_connect(&s, CHANNEL_SERVER, &keep); /* QEMU never came */
        close(unused);
        close(keep);
        ivshmem_destroy(&s);
    }
    assert_int_equal(descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(domains_share_memory_and_doorbells),
        cmocka_unit_test(grants_and_pings),
        cmocka_unit_test(a_cleared_channel_tells_nothing),
        cmocka_unit_test(sizes),
        cmocka_unit_test(nothing_leaks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
