/*
 * The supervisor's event loop: file descriptors (epoll), timers, and one external poller, libslirp,
 * which brings its own descriptors and deadline. One thread; callbacks must not block. A callback
 * may remove and free any watch or timer, its own included.
 */
#ifndef HOST_LOOP_H
#define HOST_LOOP_H

#include <poll.h>
#include <sys/epoll.h>

#include "util.h"

struct watch {
    int fd;
    uint32_t events; /* EPOLLIN, EPOLLOUT */
    void (*ready)(struct watch *w, uint32_t events);
};

struct timer {
    uint64_t at_ns; /* CLOCK_MONOTONIC; 0 while not armed */
    void (*fire)(struct timer *t);
    struct timer *next;
};

struct pollfds {
    struct pollfd *v;
    size_t n, cap;
};

struct poller {
    /* Adds what to wait for and lowers *timeout_ms. */
    void (*fill)(struct poller *p, struct pollfds *fds, uint32_t *timeout_ms);
    /* Called after every wait with the same array; failed: the wait itself returned an error. */
    void (*polled)(struct poller *p, struct pollfds *fds, bool failed);
};

struct loop {
    int epfd;
    bool stop;
    struct timer *timers; /* armed ones, unsorted: there are few */
    struct poller *poller;
    struct pollfds fds;
    struct epoll_event *batch; /* events being delivered */
    int batch_n;
};

/* Returns 0 or -errno. */
int loop_init(struct loop *l);
void loop_close(struct loop *l);
/* Starts watching w->fd. Returns 0 or -errno. */
int loop_add(struct loop *l, struct watch *w);
/* Changes what is watched for; does nothing if it is that already. */
void loop_want(struct loop *l, struct watch *w, uint32_t events);
/* Stops watching; pending events of this round are dropped. The descriptor stays open. */
void loop_del(struct loop *l, struct watch *w);
/* Arms (or re-arms) a timer to fire once, delay_ms from now. */
void loop_timer(struct loop *l, struct timer *t, uint64_t delay_ms);
void loop_timer_stop(struct loop *l, struct timer *t);
/* Runs until l->stop. */
void loop_run(struct loop *l);
/* One wait of at most max_ms and the callbacks it brings. */
void loop_once(struct loop *l, uint32_t max_ms);

#endif
