/* Tap devices, for domains on the host's own network (root, or a device granted to the user). */
#ifndef HOST_TAP_H
#define HOST_TAP_H

/*
 * Opens the existing tap device `dev`, or, with dev NULL, makes one and makes it a port of the
 * bridge. Returns the descriptor for QEMU, or -1 with *error an owned line that says what to do.
 * *made becomes the owned name of a device that tap_remove() must remove later, or NULL.
 */
int tap_open(const char *dev, const char *bridge, char **error);

#endif
