/*
 * AF_UNIX sockets: what the files on connecting (unix_socket.c), names (unix_name.c), options
 * (unix_options.c), data (unix_data.c) and passed descriptors (unix_scm.c) share.
 *
 * Data is a queue of messages at the receiver. A sender may have so much under way (`inflight`,
 * counted until the receiver has consumed it); that is what makes it wait. A connected stream or
 * seqpacket socket keeps its peer, referenced, until it is closed itself; closing marks the peer,
 * not more.
 */
#ifndef LINUX_UNIX_H
#define LINUX_UNIX_H

#include "fs/vfs.h"
#include "linux/sock.h"

#define UNIX_PATH_MAX 108
#define UNIX_SNDBUF 212992u
#define UNIX_SNDBUF_MIN 4608u
#define UNIX_RCVBUF_MIN 2304u
#define UNIX_SNDBUF_MAX (4u << 20)

struct ucred_k {
    int32_t pid;
    uint32_t uid, gid;
};

/* sun_path as given: a path with its NUL, or an abstract name that begins with a NUL byte. */
struct unix_name {
    uint8_t len; /* 0: unnamed */
    char path[UNIX_PATH_MAX];
};

enum unix_state { UNIX_IDLE, UNIX_LISTENING, UNIX_CONNECTED };
enum { UNIX_SHUT_READ = 1, UNIX_SHUT_WRITE = 2 };

struct unix_socket {
    struct list all; /* every socket there is: unix_name.c */
    refcount_t refs; /* its file, peers, messages it sent, names */
    uint8_t type;    /* SOCK_*_N */
    spinlock_t lock; /* everything below up to `wait` */
    enum unix_state state;
    uint8_t shut;
    bool closed;
    int error;                /* positive, told once */
    struct unix_socket *peer; /* referenced */
    struct list queue;        /* struct unix_message; listeners: unix_socket.pending */
    struct list pending;      /* in a listener's queue */
    size_t queued;            /* bytes, or connections waiting */
    size_t inflight;          /* sent and not yet consumed */
    uint32_t sndbuf, rcvbuf;
    int backlog;
    struct wait_queue wait; /* everybody who waits for this socket */
    struct mutex read_lock; /* one reader at a time: it copies without `lock` */
    struct unix_name name;  /* set once, under unix_bind_lock */
    struct path bound;      /* referenced; if name is a path */
    struct list abstract_link;
    struct ucred_k peer_cred;
    bool passcred;
    int32_t priority, linger[2]; /* told, but without meaning here */
    uint32_t rcv_lowat;
    uint64_t cookie;       /* SO_COOKIE; 0: nobody has asked yet */
    uint64_t flag_options; /* bit n: boolean SOL_SOCKET option n without effect here */
    nsec_t rcv_timeout, snd_timeout;
};

struct unix_scm; /* passed descriptors: unix_scm.c */

struct unix_message {
    struct list link;
    struct unix_socket *from; /* referenced */
    size_t len, off;          /* off: consumed part (streams) */
    struct unix_scm *scm;     /* NULL: none */
    struct ucred_k cred;
    uint8_t data[];
};

static inline struct unix_socket *unix_of(const struct file *f)
{
    return f->data;
}
static inline void unix_get(struct unix_socket *s)
{
    ref_get(&s->refs);
}
void unix_put(struct unix_socket *s);
static inline bool unix_connection_type(const struct unix_socket *s)
{
    return s->type != SOCK_DGRAM_N;
}
struct ucred_k unix_current_cred(void);
/* SO_RCVTIMEO/SNDTIMEO: when waiting ends. */
nsec_t unix_deadline(nsec_t timeout);

/* unix_name.c */
int unix_bind(struct file *f, const struct sockaddr_k *addr, uint32_t len);
/* Sockets that want credentials have a name, by which they can be answered. */
int unix_autobind(struct unix_socket *s);
/* The socket ends: nobody finds it any more. */
void unix_unbind(struct unix_socket *s);
/* A new socket, and one whose memory goes. */
void unix_enlist(struct unix_socket *s);
void unix_delist(struct unix_socket *s);
/* Each socket in turn, for sock_diag and /proc/net/unix; a lock is held, its own is not. */
void unix_for_each(void (*fn)(struct unix_socket *s, void *arg), void *arg);
/* The socket an address names, referenced; type is checked. */
int unix_find(const struct sockaddr_k *addr, uint32_t len, int type, struct unix_socket **out);
/* A name as an address; its length. unix_name_of: a socket's, which may be given one just now. */
uint32_t unix_name_out(const struct unix_name *name, struct sockaddr_k *out);
uint32_t unix_name_of(struct unix_socket *s, struct sockaddr_k *out);

/* unix_options.c: see sock_ops. */
int unix_setopt(struct file *f, int level, int name, const void *val, uint32_t len);
int unix_getopt(struct file *f, int level, int name, void *val, uint32_t *len);

/* unix_data.c */
void unix_data_init(void);
/* What may be under way from s, in bytes: its send buffer, or little if the messages of all sockets
 * hold their share of memory. */
uint32_t unix_room(const struct unix_socket *s);
ssize_t unix_send(struct file *f, struct sock_msg *m);
ssize_t unix_recv(struct file *f, struct sock_msg *m);
ssize_t unix_read(struct file *f, struct uio *u, uint64_t *pos);
ssize_t unix_write(struct file *f, struct uio *u, uint64_t *pos);
/* Frees a message that nobody reads, or after it was read. */
void unix_message_free(struct unix_message *m);
static inline bool unix_writable(const struct unix_socket *s)
{
    return READ_ONCE(s->inflight) <= unix_room(s) / 4;
}

/* unix_scm.c */
/* From the ancillary data of a sendmsg: *out (NULL if no descriptors), *cred changed if given.
 * -EINVAL, -EBADF, -EPERM, -ETOOMANYREFS, -ENOMEM. */
int unix_scm_collect(const struct cmsg_in *c, struct unix_scm **out, struct ucred_k *cred);
/* Gives them to the receiver of m: descriptors are installed. They stay with scm (MSG_PEEK and
 * errors). */
int unix_scm_deliver(struct unix_scm *scm, struct sock_msg *m);
/* Drops them; never recurses into the release of what was passed. */
void unix_scm_free(struct unix_scm *scm);

#endif
