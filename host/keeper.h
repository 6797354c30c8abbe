/*
 * The keeper: the small process above the supervisor, which outlives it. It starts the supervisor,
 * and again when that died; it keeps the descriptors that the next one needs to go on; and it is
 * the parent of all long-lived processes (child.h), so that they live as long as it does and no
 * longer. It reads nothing but its supervisor's messages.
 *
 * Descriptors are kept in entries: a name, and an ordered set of descriptors.
 */
#ifndef HOST_KEEPER_H
#define HOST_KEEPER_H

#include "fdpass.h"

#define KEEPER_NAME 128        /* bytes of a name, with its NUL */
#define KEEPER_BINARY "binary" /* the entry with the file that supervisors are started from */
#define KEEPER_AGAIN 75        /* a supervisor's exit status: start the next one */

enum keeper_op {
    KEEPER_PUT,   /* name, descriptors: replaces an entry of that name */
    KEEPER_GET,   /* name: answered with copies of the descriptors */
    KEEPER_DROP,  /* name */
    KEEPER_CLEAR, /* the beginning of names */
    KEEPER_LIST,  /* number: answered with the name of that entry */
    KEEPER_WAIT,  /* number, a child's pid: its wait status if it has ended */
    KEEPER_REAP,  /* number: forgets a child that has ended */
    KEEPER_READY, /* the supervisor works */
};

/* One message over a SOCK_SEQPACKET socket, and its answer. */
struct keeper_request {
    uint32_t op;
    int32_t number;
    char name[KEEPER_NAME];
};
struct keeper_answer {
    int32_t error;  /* 0 or -errno */
    int32_t status; /* of KEEPER_WAIT */
    char name[KEEPER_NAME];
};

/* As waitpid(2) without waiting, but the child stays to be waited for: 1 with its status if it has
 * ended, 0, or -ECHILD. */
int wait_status(pid_t pid, int *status);

/* ---- the keeper's side ---- */

struct keeper_entry {
    char name[KEEPER_NAME];
    unsigned count;
    int *fds;
    struct keeper_entry *next;
};

struct keeper {
    struct keeper_entry *entries;
    bool ready; /* the present supervisor said so */
};

/*
 * Carries out one request; `fds` came with it and are taken over. Returns the entry whose
 * descriptors go with the answer, or NULL. For keeper_main() and tests.
 */
const struct keeper_entry *keeper_handle(struct keeper *k, const struct keeper_request *rq,
                                         const int *fds, unsigned count, struct keeper_answer *a);
/*
 * The process: runs supervisors until one ends on purpose. ready_fd (or -1): what the first one
 * writes a byte to when it accepts connections. Returns the exit status. All its children die
 * with the process.
 */
int keeper_main(int ready_fd);

/* ---- the supervisor's side; one process has one keeper ---- */

/* From now on the process has a keeper, at the other end of this socket. Without one, what is below
 * does nothing, successfully, and keeps nothing. */
void keeper_attach(int sock);
bool keeper_attached(void);
/* Keeps copies of descriptors. Returns 0 or -errno. */
int keeper_put(const char *name, const int *fds, unsigned count);
/* Copies of an entry's descriptors, at most max: the caller's, close-on-exec. Returns how many, or
 * -errno (-ENOENT). */
int keeper_get(const char *name, int *fds, unsigned max);
void keeper_drop(const char *name);
/* Drops all entries whose names begin so. */
void keeper_clear(const char *prefix);
/* The name of the i-th entry; false if there are fewer. */
bool keeper_list(unsigned i, char name[KEEPER_NAME]);
/* Whether a child of the keeper has ended: 1 with its wait status; 0; -ECHILD. */
int keeper_wait(pid_t pid, int *status);
/* Lets go of it. */
void keeper_reap(pid_t pid);
void keeper_ready(void);

#endif
