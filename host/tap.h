/* Tap devices, for domains on the host's own network (root, or a device granted to the user). */
#ifndef HOST_TAP_H
#define HOST_TAP_H

#include <stdbool.h>

#define TAP_MAX_QUEUES 16

/* A tap device's queues, one descriptor each; n == 0: none. */
struct tap {
    int fd[TAP_MAX_QUEUES];
    unsigned n;
    char name[16]; /* of the device */
};

/*
 * Opens the existing tap device `dev`, or, with dev NULL, makes one, a port of the bridge, that
 * lives as long as its descriptors. It gets up to `queues` queues; an existing device only one
 * unless it was made with multi_queue. Returns 0, or -errno with *error an owned line that says
 * what to do.
 */
int tap_open(struct tap *t, const char *dev, const char *bridge, unsigned queues, char **error);
void tap_close(struct tap *t);
/*
 * The same, not waiting for it: with its last descriptor a device that was made here goes away, and
 * the kernel may take a second over that. Whoever must not stand still for so long gives others
 * copies, and closes its own last, so.
 */
void tap_close_aside(struct tap *t);
/* Copies the descriptors. Returns 0, or -errno with none copied. */
int tap_copy(const struct tap *from, struct tap *to);
/* Sets the device up or down: carries frames or not. Returns 0 or -errno. */
int tap_set_up(const char *dev, bool up);

#endif
