/*
 * The supervisor: one process per user that owns the running domains and the virtual network
 * between them. The `librettos` command talks to it over a Unix socket, in the frames of frame.h.
 *
 * Requests (HOST_REQUEST, one JSON object with "op") and their answers (HOST_REPLY: {"ok": true,
 * ...} or {"error": "...", "status": N}, the last frame):
 *
 *   run     name, program, image, kernel, qemu, accel, cpu, memory, cpus, loglevel, ports, volumes,
 *           tap, bridge, ip, server_path, shared, address, argv, env, cwd, user, tty, stdin,
 *           detach, qemu_args, owner, owner_group, auto
 *           HOST_EVENT "created", "booted", "started", "listen"; OUT, ERR, EXIT of the main program
 *           unless detach; the reply comes when the domain has ended (detach: see run.c)
 *   exec    name, program, argv, env, cwd, user, tty, stdin; the same frames for the session
 *   ps      HOST_EVENT "domain" for each, with "domain"; then the reply
 *   stop    name, grace_ms, force; the reply comes when the domain has ended
 *   upgrade name of a network server, kernel (none: the same); reply: "handover_ms", "kernel"
 *   signal  name, signal
 *   switch  name, path ("direct", "server" or "auto"), device; reply: "path", "moved", "stall_ns",
 *           "drain_ns", "total_ns"
 *   stats   name; reply: "stats"
 *
 * In run and exec the command sends IN, CREDIT, SIGNAL, WINSIZE and SHUTDOWN frames in between.
 * When a command goes away without SHUTDOWN (it was killed), its domain goes on.
 */
#ifndef HOST_SUPERVISOR_H
#define HOST_SUPERVISOR_H

/*
 * Runs the supervisor until there is nothing more to do. ready_fd (or -1): gets one byte when the
 * socket accepts connections; closed without one if another supervisor runs already. Returns the
 * exit status of the process.
 */
int supervisor_main(int ready_fd);

/*
 * Connects to the supervisor; with `start`, starts one if none runs. Returns the socket, -ENOENT if
 * none runs, or another -errno after a warning.
 */
int supervisor_connect(int start);

#endif
