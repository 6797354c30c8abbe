/* Streams fill what they are given: a short read tells a program that nothing is left. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "check.h"

#define SIZE 24576

static void tcp_pair(int fd[2])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(listener, (void *)&a, sizeof(a)) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (void *)&a, &(socklen_t){sizeof(a)}) == 0);
    fd[0] = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd[0], (void *)&a, sizeof(a)) == 0);
    fd[1] = accept(listener, NULL, NULL);
    CHECK(fd[1] >= 0);
    close(listener);
}

/* Memory that no page was ever put into, beginning in the middle of one. */
static char *untouched(void)
{
    char *m = mmap(NULL, SIZE + 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(m != MAP_FAILED);
    return m + 3000;
}

static void check_filled(int from, int to)
{
    static char data[SIZE];
    for (int i = 0; i < SIZE; i++)
        data[i] = (char)(i * 7 + i / 251);
    CHECK(write(to, data, SIZE) == SIZE);
    usleep(20000);
    char *m = untouched();
    CHECK(read(from, m, SIZE / 2) == SIZE / 2);
    struct iovec v[2] = {{untouched(), 5000}, {untouched(), SIZE / 2 - 5000}};
    CHECK(readv(from, v, 2) == SIZE / 2);
    CHECK(memcmp(m, data, SIZE / 2) == 0);
    CHECK(memcmp(v[0].iov_base, data + SIZE / 2, 5000) == 0);
    CHECK(memcmp(v[1].iov_base, data + SIZE / 2 + 5000, SIZE / 2 - 5000) == 0);
    close(from);
    close(to);
}

static void tcp_fills_untouched_memory(void)
{
    int fd[2];
    tcp_pair(fd);
    check_filled(fd[1], fd[0]);
}

static void unix_fills_untouched_memory(void)
{
    int fd[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
    check_filled(fd[1], fd[0]);
}

static void pipe_fills_untouched_memory(void)
{
    int fd[2];
    CHECK(pipe(fd) == 0);
    check_filled(fd[0], fd[1]);
}

static void what_faults_later_is_returned_first(void)
{
    int fd[2];
    char data[8192] = {1, 2, 3};
    tcp_pair(fd);
    CHECK(write(fd[0], data, sizeof(data)) == sizeof(data));
    usleep(20000);
    char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(m != MAP_FAILED && munmap(m + 4096, 4096) == 0);
    CHECK_ERRNO(read(fd[1], m + 4096, 100), EFAULT);
    CHECK(read(fd[1], m, 4000) == 4000);
    CHECK(read(fd[1], m, 4000) == 4000);
    CHECK(read(fd[1], m, 4000) == 192);
}

int main(void)
{
    CASE(tcp_fills_untouched_memory);
    CASE(unix_fills_untouched_memory);
    CASE(pipe_fills_untouched_memory);
    CASE(what_faults_later_is_returned_first);
    return check_result();
}
