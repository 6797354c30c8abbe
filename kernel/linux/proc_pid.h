/* /proc/PID and /proc/self. */
#ifndef LINUX_PROC_PID_H
#define LINUX_PROC_PID_H

void proc_pid_init(void);

#endif
