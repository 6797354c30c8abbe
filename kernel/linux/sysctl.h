/* The settings of /proc/sys that the command line makes (abi/boot.h). */
#ifndef LINUX_SYSCTL_H
#define LINUX_SYSCTL_H

/* Makes them. Once, when /proc is complete and before the first program. */
void sysctl_apply(void);

#endif
