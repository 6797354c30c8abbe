/* O_ASYNC: SIGIO to the owner (F_SETOWN) when a file becomes ready. */
#ifndef LINUX_ASYNC_H
#define LINUX_ASYNC_H

#include "fs/file.h"

/* Sets or clears O_ASYNC. Files that cannot be polled: -ENOTTY. -ENOMEM. */
int async_set(struct file *f, bool on);
/* The file is being released. */
void async_release(struct file *f);

#endif
