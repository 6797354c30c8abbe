/*
 * A network server that fails when it is told to: our own kernel, linked with
 * --wrap=net_server_table_rung. A test writes a word behind the server's page of the table, which
 * every heartbeat has looked at: 1 makes the kernel panic, 2 makes it loop with interrupts off.
 */
#include "servers/net_internal.h"

#define WORD 2048u /* from the page's start; no product code looks there */

void __real_net_server_table_rung(void);
void __wrap_net_server_table_rung(void);

void __wrap_net_server_table_rung(void)
{
    if (server.table) {
        uint32_t *word = (uint32_t *)((uint8_t *)server_page() + WORD);
        uint32_t order = READ_ONCE(*word);

        WRITE_ONCE(*word, 0);
        if (order == 1)
            panic("the test wants a panic");
        for (volatile bool for_ever = order == 2; for_ever;)
            ;
    }
    __real_net_server_table_rung();
}
