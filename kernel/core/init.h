/* Boot order. core's kernel_main runs these after memory, scheduler, clock and the other CPUs are
 * up, in the first kernel thread. Each floor provides its own function; they may sleep. */
#ifndef CORE_INIT_H
#define CORE_INIT_H

void pci_init(void); /* drivers: enumerate, assign BARs, probe */
/* drivers: brings up in the background what could wait at boot: empty ports, a server's pool. */
void pci_start_background(void);
void net_init(void);      /* net: loopback; before drivers attach interfaces */
void fs_init(void);       /* fs: unpack the boot image as root, mount proc, dev, sys */
void linux_init(void);    /* linux: process table, init program or control channel */
void net_configure(void); /* net: addresses from the boot arguments, DHCP in the background */
/* servers, with role=net: before devices are found, and once the network is configured. */
void net_server_init(void);
void net_server_run(void);
/* Waits a few seconds at most for the first DHCP leases: the first program wants its network. */
void net_configure_wait(void);

#endif
