/* 9P messages: building requests, sending them, and reading replies, every field checked. */
#ifndef FS_9P_RPC_H
#define FS_9P_RPC_H

#include "fs/9p.h"
#include "fs/vfs.h"

enum p9_type {
    P9_LERROR = 6,
    P9_STATFS = 8,
    P9_LOPEN = 12,
    P9_LCREATE = 14,
    P9_SYMLINK = 16,
    P9_MKNOD = 18,
    P9_READLINK = 22,
    P9_GETATTR = 24,
    P9_SETATTR = 26,
    P9_READDIR = 40,
    P9_FSYNC = 50,
    P9_LINK = 70,
    P9_MKDIR = 72,
    P9_RENAMEAT = 74,
    P9_UNLINKAT = 76,
    P9_VERSION = 100,
    P9_ATTACH = 104,
    P9_WALK = 110,
    P9_READ = 116,
    P9_WRITE = 118,
    P9_CLUNK = 120,
};

#define P9_NOFID 0xffffffffu
#define P9_HEADER 7u         /* size[4] type[1] tag[2] */
#define P9_IO_HEADER 11u     /* and the count of Rread, Rreaddir; also a whole Rlerror */
#define P9_MESSAGE_SIZE 8192 /* of messages without file data */

struct p9_qid {
    uint8_t type;
    uint32_t version;
    uint64_t path;
};

/* One request and its reply. */
struct p9_msg {
    struct p9_transport *transport;
    uint8_t type;
    uint16_t tag;
    size_t len;  /* of the request, as built so far */
    size_t at;   /* how far the reply is read */
    size_t size; /* of the reply */
    bool bad;    /* something did not fit */
    uint8_t *tx, *rx;
};

/* Begins a request; -ENOMEM. p9_end frees it in any case. */
int p9_begin(struct p9_msg *m, struct p9_transport *t, enum p9_type type);
void p9_end(struct p9_msg *m);
void p9_put(struct p9_msg *m, uint64_t value, unsigned bytes);
void p9_put_text(struct p9_msg *m, const char *text, size_t len);
/* Sends it and receives the reply: 0, the server's error, -EPROTO for a malformed reply, or the
 * transport's error. */
int p9_call(struct p9_msg *m);
/* The same with file data: `out` bytes behind the request, or up to `in` bytes behind an Rread or
 * Rreaddir. The number of bytes moved. */
ssize_t p9_call_data(struct p9_msg *m, const void *out, size_t out_len, void *in, size_t in_len);
/* Reading the reply; too short a reply sets m->bad. */
uint64_t p9_get(struct p9_msg *m, unsigned bytes);
void p9_get_qid(struct p9_msg *m, struct p9_qid *qid);
/* Text in the reply, not terminated. */
const char *p9_get_text(struct p9_msg *m, size_t *len);
/* After reading: 0 or -EPROTO. */
int p9_check(const struct p9_msg *m);

#endif
