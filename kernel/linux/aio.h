/* Native asynchronous I/O: what belongs to an address space. */
#ifndef LINUX_AIO_H
#define LINUX_AIO_H

struct mm;

/* The address space ends, and its contexts with it. Thread context. */
void aio_release(struct mm *mm);

#endif
