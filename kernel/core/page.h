/* The page allocator's interface to arch: where struct pages lie. */
#ifndef CORE_PAGE_H
#define CORE_PAGE_H

#include "core/mem.h"

#define PAGE_MAX_ORDER 10
/* The largest block. arch maps the struct pages of whole such blocks. */
#define PAGE_BLOCK_SIZE (PAGE_SIZE << PAGE_MAX_ORDER)

/* Asks the caches for memory; true if they gave some. False at once where one may not sleep. */
bool page_reclaim(void);

#endif
