/*
 * The event loop of loop.h. poll(2) waits for the epoll descriptor and libslirp's sockets together;
 * libslirp has no other interface, and with only a few sockets of its own that is cheap.
 */
#include "loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH 64

int loop_init(struct loop *l)
{
    memset(l, 0, sizeof(*l));
    l->epfd = epoll_create1(EPOLL_CLOEXEC);
    return l->epfd < 0 ? -errno : 0;
}

void loop_close(struct loop *l)
{
    close(l->epfd);
    free(l->fds.v);
}

int loop_add(struct loop *l, struct watch *w)
{
    struct epoll_event e = {.events = w->events, .data.ptr = w};

    return epoll_ctl(l->epfd, EPOLL_CTL_ADD, w->fd, &e) < 0 ? -errno : 0;
}

void loop_want(struct loop *l, struct watch *w, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = w};

    if (w->events == events)
        return;
    w->events = events;
    epoll_ctl(l->epfd, EPOLL_CTL_MOD, w->fd, &e);
}

void loop_del(struct loop *l, struct watch *w)
{
    epoll_ctl(l->epfd, EPOLL_CTL_DEL, w->fd, NULL);
    for (int i = 0; i < l->batch_n; i++)
        if (l->batch[i].data.ptr == w)
            l->batch[i].data.ptr = NULL;
}

void loop_timer(struct loop *l, struct timer *t, uint64_t delay_ms)
{
    if (!t->at_ns) {
        t->next = l->timers;
        l->timers = t;
    }
    t->at_ns = now_ns() + delay_ms * 1000000u;
}

void loop_timer_stop(struct loop *l, struct timer *t)
{
    struct timer **p = &l->timers;

    while (*p && *p != t)
        p = &(*p)->next;
    if (*p)
        *p = t->next;
    t->at_ns = 0;
}

static uint32_t next_timer_ms(const struct loop *l, uint32_t max_ms)
{
    uint64_t now = l->timers ? now_ns() : 0;

    for (struct timer *t = l->timers; t; t = t->next) {
        uint64_t left = t->at_ns > now ? (t->at_ns - now + 999999) / 1000000 : 0;
        if (left < max_ms)
            max_ms = (uint32_t)left;
    }
    return max_ms;
}

static void fire_timers(struct loop *l)
{
    uint64_t now = l->timers ? now_ns() : 0;

    for (;;) {
        struct timer *t = l->timers;
        while (t && t->at_ns > now)
            t = t->next;
        if (!t)
            return;
        loop_timer_stop(l, t);
        t->fire(t);
    }
}

static void deliver(struct loop *l)
{
    struct epoll_event events[BATCH];
    int n = epoll_wait(l->epfd, events, BATCH, 0);

    l->batch = events;
    l->batch_n = n;
    for (int i = 0; i < n; i++) {
        struct watch *w = events[i].data.ptr;
        if (w)
            w->ready(w, events[i].events);
    }
    l->batch_n = 0;
}

void loop_once(struct loop *l, uint32_t max_ms)
{
    struct pollfds *fds = &l->fds;
    uint32_t timeout = next_timer_ms(l, max_ms);

    if (!fds->cap) {
        fds->cap = 64;
        fds->v = xmalloc(fds->cap * sizeof(*fds->v));
    }
    fds->v[0] = (struct pollfd){.fd = l->epfd, .events = POLLIN};
    fds->n = 1;
    if (l->poller)
        l->poller->fill(l->poller, fds, &timeout);
    int n = poll(fds->v, fds->n, (int)timeout);
    bool ready = n > 0 && fds->v[0].revents;
    if (l->poller)
        l->poller->polled(l->poller, fds, n < 0);
    if (ready)
        deliver(l);
    fire_timers(l);
}

void loop_run(struct loop *l)
{
    while (!l->stop)
        loop_once(l, 60000);
}
