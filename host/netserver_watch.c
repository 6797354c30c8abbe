/*
 * The heartbeat of a network server's instances: each is asked every BEAT_MS and answers from where
 * it does its work. One that has not answered for HANG_MS hangs, unless it is the machine that has
 * no time for it: then it is given as much longer as one of its threads waited for a processor, but
 * no more than GIVE_UP_MS in all. A false alarm costs a short stall and no connection, as every
 * other change of instances.
 *
 * What hangs gets a non-maskable interrupt first: its kernel panics, which writes where it was into
 * its console. Then it is killed: two instances must never serve at once.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "lease.h"
#include "qmp.h"

#define BEAT_MS 40
#define HANG_MS 200
#define GIVE_UP_MS 1000
#define LAST_WORD_MS 30 /* for the panic */

/* How long that thread of a process has waited for a processor that waited most. */
static uint64_t time_waited(pid_t pid)
{
    char *path = xasprintf("/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    uint64_t most = 0;

    free(path);
    for (struct dirent *e; tasks && (e = readdir(tasks));) {
        unsigned long long ran, waited;
        char *file = xasprintf("/proc/%d/task/%s/schedstat", (int)pid, e->d_name);
        FILE *f = e->d_name[0] == '.' ? NULL : fopen(file, "re");
        if (f && fscanf(f, "%llu %llu", &ran, &waited) == 2)
            most = waited > most ? waited : most;
        if (f)
            fclose(f);
        free(file);
    }
    if (tasks)
        closedir(tasks);
    return most;
}

static void last_word_over(struct timer *t)
{
    struct instance *i = (struct instance *)((char *)t - offsetof(struct instance, last_word));

    if (i->domain)
        domain_kill(i->domain);
}

static void hangs(struct instance *i, uint64_t ms)
{
    struct domain *d = i->domain;

    i->hung = true;
    warn("%s hangs: no answer for %u ms", d->name, (unsigned)ms);
    if (!d->reason)
        d->reason = xasprintf("hung: no answer for %u ms", (unsigned)ms);
    qmp_command(d, "inject-nmi", NULL, -1, NULL, NULL);
    i->last_word.fire = last_word_over;
    loop_timer(d->loop, &i->last_word, LAST_WORD_MS);
}

static bool is_up(const struct instance *i)
{
    return i->domain && domain_is_live(i->domain) && !i->domain->stopping && !i->hung &&
           nettable_server(&i->ns->table, i->role).state != NET_SERVER_DOWN;
}

/* `late` is how much later than it wanted this look comes: nobody had the processor, perhaps. */
static void look(struct instance *i, uint64_t now, uint64_t late)
{
    if (!is_up(i))
        return;
    if (!i->answered_ns || nettable_answered(&i->ns->table, i->role)) {
        i->answered_ns = now;
        i->late_ns = i->waited_ns = 0;
        return;
    }
    i->late_ns += late;
    uint64_t real = now - i->answered_ns, silent = real - i->late_ns;
    if (real >= GIVE_UP_MS * 1000000ull) {
        hangs(i, real / 1000000u);
        return;
    }
    if (silent < HANG_MS * 1000000u / 2)
        return;
    if (!i->waited_ns) { /* half the time is over: begin to count */
        i->waited_ns = time_waited(i->domain->pid) + 1;
    } else if (silent >= HANG_MS * 1000000u) {
        uint64_t waited = time_waited(i->domain->pid) + 1 - i->waited_ns;
        if (silent - HANG_MS * 1000000u >= waited)
            hangs(i, silent / 1000000u);
    }
}

static void beat(struct timer *t)
{
    struct netserver *ns = (struct netserver *)((char *)t - offsetof(struct netserver, beat));
    uint64_t now = now_ns(), passed = now - ns->beat_ns;
    uint64_t late = passed > BEAT_MS * 1000000u ? passed - BEAT_MS * 1000000u : 0;
    bool all = true;

    for (unsigned n = 0; n < 2; n++) {
        struct instance *i = &ns->instances[n];
        look(i, now, late);
        all &= !is_up(i) || nettable_answered(&ns->table, i->role);
    }
    ns->beat_ns = now;
    if (all)
        nettable_ping(&ns->table);
    else
        nettable_ring(&ns->table);
    if (ns->instances[0].domain || ns->instances[1].domain)
        loop_timer(&ns->sv->loop, &ns->beat, BEAT_MS);
}

void netserver_watch(struct netserver *ns)
{
    ns->beat.fire = beat;
    if (ns->beat.at_ns)
        return;
    ns->beat_ns = now_ns();
    loop_timer(&ns->sv->loop, &ns->beat, BEAT_MS);
}
