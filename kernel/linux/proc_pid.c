/* /proc/PID and /proc/self. */
#include "linux/proc_pid.h"

void proc_pid_init(void) {}
