/* The kernel command line (abi/boot.h), parsed once at boot. */
#ifndef CORE_BOOTARGS_H
#define CORE_BOOTARGS_H

#include "core/base.h"

/* Takes the command line; it is copied. Called once, first thing. */
void bootargs_init(const char *cmdline);
/* The value of KEY=VALUE, or NULL. Marks the key as known. */
const char *bootarg(const char *key);
/* fn for each argument whose key begins with `prefix`, without it; marks these keys as known. */
void bootargs_each(const char *prefix, void (*fn)(const char *key, const char *value, void *arg),
                   void *arg);
/* What stands behind "--", or NULL. */
const char *bootarg_program(void);
/* Logs keys that nobody asked for; called when boot has finished. */
void bootargs_report_unknown(void);

/* The boot image (module 0); NULL and 0 if there is none. Its pages stay allocated. */
const void *boot_image(size_t *size);

#endif
