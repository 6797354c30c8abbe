/* What the files of the host floor share. */
#ifndef FLOOR_INTERNAL_H
#define FLOOR_INTERNAL_H

#include "core/base.h"

/* Keeps an allocation that is never freed reachable, so that LeakSanitizer does not report it. */
void floor_keep(void *ptr);
/* One step each; false: there was nothing to do. */
bool floor_work_step(void);
bool floor_thread_step(void);
/* Runs the timer that is due next if it is due at or before `limit`, moving the clock to it. */
bool floor_timer_step(nsec_t limit);
void floor_clock_set(nsec_t now);

#endif
