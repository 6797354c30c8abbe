/*
 * What the arguments of system calls are, for tracing: the domain captures what pointers of these
 * kinds lead to (abi/monitor.h), the command shows it. abi/syscalls.def has them for each call.
 */
#ifndef ABI_SYSCALLS_H
#define ABI_SYSCALLS_H

enum syscall_arg {
    ARG_NONE,
    /* pointers, captured at the entry */
    ARG_PATH, /* a string, shown in full */
    ARG_STR,
    ARG_BUF_IN,    /* as many bytes as the next argument says */
    ARG_OPT_IN,    /* the same, of a socket option */
    ARG_STRV,      /* strings, the last followed by NULL; captured with their NULs */
    ARG_IOV_IN,    /* as many struct iovec as the next argument says */
    ARG_MSGHDR_IN, /* the same segments, of a struct msghdr */
    ARG_ADDR_IN,   /* a socket address, as long as the next argument says */
    ARG_POLL,      /* as many struct pollfd as the next argument says; at the exit too */
    ARG_TIMESPEC_IN,
    ARG_TIMEVAL_IN,
    ARG_SIGSET_IN,
    ARG_SIGACTION,
    ARG_EVENT_IN, /* struct epoll_event */
    ARG_RLIMIT_IN,
    ARG_CLONE_ARGS, /* struct clone_args: its flags */
    /* pointers, captured at the exit of a call that did not fail */
    ARG_BUF_OUT, /* as many bytes as the result says */
    ARG_STR_OUT,
    ARG_OPT_OUT, /* as many as the number says that the next argument points to */
    ARG_IOV_OUT,
    ARG_MSGHDR_OUT,
    ARG_ADDR_OUT, /* a socket address, as long as the number that the next one points to says */
    ARG_STAT_OUT,
    ARG_FDS_OUT,    /* two descriptors */
    ARG_STATUS_OUT, /* of wait(2) */
    ARG_EVENTS_OUT, /* as many struct epoll_event as the result says */
    ARG_TIMESPEC_OUT,
    ARG_SIGSET_OUT,
    ARG_RLIMIT_OUT,
    /* numbers */
    ARG_INT,
    ARG_UINT,
    ARG_SIZE,
    ARG_OFFSET,
    ARG_HEX,
    ARG_PTR,
    ARG_FD,
    ARG_MODE,
    ARG_SIGNAL,
    /* names, of one value or of bits */
    ARG_OPEN,
    ARG_AT,
    ARG_ACCESS,
    ARG_WHENCE,
    ARG_PROT,
    ARG_MAP,
    ARG_MADVICE,
    ARG_SIGHOW,
    ARG_IOCTL,
    ARG_FCNTL,
    ARG_FAMILY,
    ARG_SOCKTYPE,
    ARG_MSG,
    ARG_SHUT,
    ARG_SOL,
    ARG_SOCKOPT, /* depends on the argument before */
    ARG_CLONE,
    ARG_WAIT,
    ARG_RLIMIT,
    ARG_PRCTL,
    ARG_ARCH_PRCTL,
    ARG_FUTEX,
    ARG_EPOLL_OP,
    ARG_CLOCK,
};

#endif
