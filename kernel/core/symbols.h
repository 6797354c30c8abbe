/* The table of function names, made from the linked image (mk/symbols.mk). Empty in the first link.
 */
#ifndef CORE_SYMBOLS_H
#define CORE_SYMBOLS_H

#include <stdint.h>

struct symbol_table {
    uint32_t count;
    uint32_t names;               /* offset of the names from the table's beginning */
    uint32_t base_low, base_high; /* the image's start */
    struct {
        uint32_t start; /* from base */
        uint32_t name;  /* from names */
    } entries[];
};
extern const struct symbol_table kernel_symbols __attribute__((weak));

#endif
