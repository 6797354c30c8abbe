# Links the kernel twice: the function names of the first image become a table (kernel/core/symbols.h)
# in the second, at the end of its read-only data, so that no function moves. Backtraces name functions
# by it. kernel.debug.elf is for gdb; kernel.elf, which QEMU reads at each start, is the same, stripped.
# Both are replaced in one step, so that a domain started during a build finds the old one or the new.

KERNEL_LINK_DEFINED := 1

$(BUILD)/kernel.plain.elf: $(KERNEL_OBJS) kernel/kernel.lds
	$(CC) $(KERNEL_LDFLAGS) $(KERNEL_OBJS) -o $@

$(BUILD)/symbols.S: $(BUILD)/kernel.plain.elf scripts/symbols.awk
	nm -n $< | awk -f scripts/symbols.awk > $@

$(BUILD)/symbols.o: $(BUILD)/symbols.S
	$(CC) -c $< -o $@

$(BUILD)/kernel.debug.elf: $(BUILD)/symbols.o
	$(CC) $(KERNEL_LDFLAGS) $(KERNEL_OBJS) $< -o $@.new
	mv $@.new $@

$(BUILD)/kernel.elf: $(BUILD)/kernel.debug.elf
	objcopy --strip-all $< $@.new
	mv $@.new $@
