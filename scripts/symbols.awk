# From `nm -n` of the kernel to the assembly source of its symbol table: see kernel/core/symbols.h.

BEGIN { count = 0 }

$2 ~ /^[tT]$/ && $3 !~ /^\.L/ && substr($1, 1, 8) == "ffffffff" && $1 != last {
    if (!count) first = $1
    address[count] = $1
    name[count] = $3
    last = $1
    count++
}

END {
    print "        .section .symbols, \"a\""
    print "        .balign 8"
    print "        .globl kernel_symbols"
    print "kernel_symbols:"
    print "        .long " count ", names - kernel_symbols, 0x" substr(first, 9) ", 0x" substr(first, 1, 8)
    offset = 0
    for (i = 0; i < count; i++) {
        print "        .long 0x" substr(address[i], 9) " - 0x" substr(first, 9) ", " offset
        offset += length(name[i]) + 1
    }
    print "names:"
    for (i = 0; i < count; i++)
        print "        .asciz \"" name[i] "\""
    print "        .section .note.GNU-stack, \"\", @progbits"
}
