/*
 * The supervisor: one process per user that owns the running domains and the virtual network
 * between them. The `librettos` command talks to it over a Unix socket, in the frames of frame.h.
 *
 * Requests (HOST_REQUEST, one JSON object with "op") and their answers (HOST_REPLY: {"ok": true,
 * ...} or {"error": "...", "status": N}, the last frame):
 *
 *   run     name, program, image, kernel, qemu, accel, cpu, memory, cpus, loglevel, ports, volumes,
 *           tap, bridge, ip, server_path, shared, address, argv, env, cwd, user, tty, stdin,
 *           detach, qemu_args, owner, owner_group, auto,
 *           trace, core
 *           HOST_EVENT "created", "booted", "started", "listen"; OUT, ERR, EXIT of the main program
 *           unless detach; the reply comes when the domain has ended (detach: see run.c)
 *   exec    name, program, argv, env, cwd, user, tty, stdin; the same frames for the session
 *   monitor name, and what abi/monitor.h asks for: kind, pid, snap, follow, calls (in hexadecimal);
 *           the same frames, of a session without a program
 *   ps      HOST_EVENT "domain" for each, with "domain"; then the reply
 *   stop    name, grace_ms, force; the reply comes when the domain has ended
 *   upgrade name of a network server, kernel (none: the same); reply: "handover_ms", "kernel"
 *   signal  name, signal
 *   gdb     name; HOST_EVENT "gdb" with "socket", where QEMU listens for gdb until the command goes
 *   switch  name, path ("direct", "server" or "auto"), device; reply: "path", "moved", "stall_ns",
 *           "drain_ns", "total_ns"
 *   stats   name; reply: "stats"
 *   restart state_version, binary; the reply comes from the next supervisor, which the keeper
 *           starts from that file
 *
 * In run and exec the command sends IN, CREDIT, SIGNAL, WINSIZE and SHUTDOWN frames in between.
 * When a command goes away without SHUTDOWN (it was killed), its domain goes on.
 */
#ifndef HOST_SUPERVISOR_H
#define HOST_SUPERVISOR_H

#include <stdint.h>

/* Of all that one supervisor leaves for the next: they understand each other if this is equal. */
uint32_t supervisor_state_version(void);

/*
 * Runs the supervisor until there is nothing more to do. keeper_fd: the way to the keeper, which
 * started it after `restarts` others. ready_fd (or -1): gets one byte when the socket accepts
 * connections. Returns the exit status of the process.
 */
int supervisor_main(int keeper_fd, unsigned restarts, int ready_fd);

/*
 * Connects to the supervisor; with `start`, starts one if none runs. Returns the socket, -ENOENT if
 * none runs, or another -errno after a warning.
 */
int supervisor_connect(int start);

#endif
