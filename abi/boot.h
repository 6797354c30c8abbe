/*
 * Boot arguments: what the supervisor tells a kernel through the PVH command line.
 *
 * The command line is a list of blank-separated KEY=VALUE words, optionally followed by "--" and
 * the program to run with its arguments. Unknown keys are reported in the log and ignored, so that
 * an older kernel boots under a newer supervisor. A key is given at most once, except net0, net1,
 * ...
 *
 *   role=app|net|storage   what this domain is (default: app)
 *   hostname=NAME          uname(2)'s nodename (default: librettos)
 *   net0=dhcp              configure the first NIC by DHCP, or
 *   net0=ADDR/LEN[,gw=ADDR][,dns=ADDR][,ADDR6/LEN][,gw6=ADDR6]
 *                          configure it statically: IPv4 and IPv6 in any order
 *   nic=MAC                role=net: the NIC, with this MAC address (12 hexadecimal digits), is
 *                          plugged in when this instance is to serve (abi/net_table.h)
 *   control=1              a virtio-console port speaks abi/control.h; programs come through it
 *   volumes=TAG:PATH[:ro][:owner=HUID.HGID.UID.GID][,...]
 *                          mount the virtio-9p device with mount tag TAG at PATH, which holds no
 * ',' or ':'; ro: read-only; owner: the device acts as the host's user HUID and group HGID, who are
 * UID and GID in the domain (others are nobody)
 *   loglevel=error|warn|info|debug   least severe kernel message to print (default: info)
 *   sysctl.NAME=V[,V...]   set /proc/sys/NAME ('.' for '/'), e.g. sysctl.net.core.somaxconn=1024,
 *                          before the first program starts; any number of them
 *   -- PROGRAM ARGS...     without control: run this with stdio on the console, then power off;
 *                          words are split at blanks, there is no quoting
 *
 * Module 0 (QEMU's -initrd) is the boot image: a cpio "newc" archive that becomes the writable
 * root. File data in it may be aligned to 4096 bytes by padding names with further NUL bytes; such
 * data is used in place, without a copy.
 *
 * How a domain ends:
 *   - power-off (ACPI S5, or isa-debug-exit with BOOT_EXIT_OK where there is no ACPI): orderly end.
 *   - BOOT_EXIT_PANIC written to isa-debug-exit at BOOT_EXIT_PORT: the kernel panicked.
 *   - BOOT_EXIT_FAIL + n: the program given behind "--" ended with a status of n != 0 (1..63).
 * QEMU's own exit status is then (value << 1) | 1.
 */
#ifndef ABI_BOOT_H
#define ABI_BOOT_H

#define BOOT_EXIT_PORT 0xf4 /* -device isa-debug-exit,iobase=0xf4,iosize=0x04 */
#define BOOT_EXIT_OK 0x00
#define BOOT_EXIT_FAIL 0x00 /* + program status */
#define BOOT_EXIT_PANIC 0x7e
#define BOOT_PVPANIC_PORT 0x505 /* QEMU's pvpanic: bit 0 written means "panicked" */

#define BOOT_IMAGE_ALIGN 4096u
#define BOOT_CMDLINE_MAX 4096u

#endif
